"""Published figures of fine-tuning: memory, quality, steps; and the memory model beside the published memory.

The figures mirror their sources: nothing is fitted to them, and what a source leaves open (batch, number format) is
marked as an assumption or as from memory.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from edgealloc.catalog.catalog import default_catalog
from edgealloc.catalog.entries import Entry, ModelEntry
from edgealloc.catalog.reading import read_entry
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.tuning import TUNING_METHODS, Tuning, TuningMemory, tuning_memory

__all__ = [
    "MemoryCheck",
    "MemoryRow",
    "QualityRow",
    "StepTimeRow",
    "StepsRow",
    "memory_errors",
    "memory_rows",
    "published_models",
    "quality_rows",
    "step_time_rows",
    "steps_rows",
]

#: Metrics in percent, which are quality in [0, 1] when divided by 100.
_PERCENT: Final = ("accuracy", "F1")


@dataclass(frozen=True, kw_only=True)
class MemoryRow(Entry):
    """A published amount of memory, and the setting in which the model is compared with it.

    Attributes
    ----------
    model, method, label : str
        Our names of model and method (:data:`edgealloc.system.tuning.TUNING_METHODS`), and the source's words.
    part : str
        Components joined by "+", see :meth:`edgealloc.system.tuning.TuningMemory.parts`; or "total".
    published_gb, gb_bytes : float
        The figure, and what its GB are: 1e9 or 2^30 bytes.
    gpus : int
        How many it is the sum of.
    batch, tokens, rank, virtual_tokens : int
    states, precision : str
    checkpointing, fused_attention : bool
        Options that differ from the method's defaults.
    setting : str
    """

    section: ClassVar[str] = "memory"

    model: str
    method: str
    label: str
    part: str
    published_gb: float
    gb_bytes: float
    batch: int
    tokens: int
    setting: str
    gpus: int = 1
    rank: int | None = None
    virtual_tokens: int | None = None
    states: str | None = None
    precision: str | None = None
    checkpointing: bool = False
    fused_attention: bool = True

    def tuning(self) -> Tuning:
        """The method with the row's options."""
        given = ("rank", "virtual_tokens", "states", "precision")
        options = {name: getattr(self, name) for name in given if getattr(self, name) is not None}
        return TUNING_METHODS[self.method].changed(
            checkpointing=self.checkpointing, fused_attention=self.fused_attention, **options
        )


@dataclass(frozen=True, kw_only=True)
class QualityRow(Entry):
    """A published quality of one model on one task after one method.

    Attributes
    ----------
    model, task : str
    method : str
        A name of :data:`edgealloc.system.tuning.TUNING_METHODS`, or "zero-shot", "in-context", "linear-probe",
        "mezo-prefix".
    label : str
        The source's word for the method, which tells variants apart.
    metric : str
        "accuracy" and "F1" in percent, or what the source reports.
    value : float
    trainable_params : float or None
    setting : str
    """

    section: ClassVar[str] = "quality"

    model: str
    task: str
    method: str
    label: str
    metric: str
    value: float
    setting: str
    trainable_params: float | None = None

    @property
    def quality(self) -> float | None:
        """In [0, 1] where the metric is a share; None for BLEU, ROUGE-L and scores of judges."""
        return self.value / 100.0 if self.metric in _PERCENT else None


@dataclass(frozen=True, kw_only=True)
class StepsRow(Entry):
    """Published convergence: steps to the reported quality, or ratios to another method.

    Attributes
    ----------
    model, method, setting : str
    steps, batch, examples : int or None
    compared_with : str or None
        Method that the ratios are to.
    steps_ratio, step_time_ratio, gpus_ratio : float or None
        This method's steps, time per step and GPUs for one of the other's.
    """

    section: ClassVar[str] = "steps"

    model: str
    method: str
    setting: str
    steps: int | None = None
    batch: int | None = None
    examples: int | None = None
    compared_with: str | None = None
    steps_ratio: float | None = None
    step_time_ratio: float | None = None
    gpus_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class StepTimeRow(Entry):
    """A published time per step on one or more GPUs; `device` is the nearest device of the catalog.

    Attributes
    ----------
    model, method, setting : str
        What was trained, how, and with what settings, in the source's words.
    batch, gpus : int
        Sequences per step, and how many GPUs.
    seconds_per_step : float
    device : str
        Of the catalog.
    """

    section: ClassVar[str] = "step_times"

    model: str
    method: str
    setting: str
    batch: int
    gpus: int
    seconds_per_step: float
    device: str


@dataclass(frozen=True)
class MemoryCheck:
    """The memory model beside a published figure.

    Attributes
    ----------
    row : MemoryRow
    published_gb, model_gb : float
        Both in the row's GB.
    memory : TuningMemory
        By component.
    """

    row: MemoryRow
    published_gb: float
    model_gb: float
    memory: TuningMemory

    @property
    def error_percent(self) -> float:
        """Model less published, in percent of published."""
        return 100.0 * (self.model_gb / self.published_gb - 1.0)


@functools.cache
def _data() -> Mapping[str, list[dict[str, Any]]]:
    text = importlib.resources.files("edgealloc.catalog").joinpath("data", "finetuning.json").read_text("utf-8")
    data: dict[str, list[dict[str, Any]]] = json.loads(text)
    return data


@functools.cache
def published_models() -> Mapping[str, ModelEntry]:
    """Models of the published rows: those of the catalog, and shapes from memory of those that it has not."""
    own = (read_entry(ModelEntry, data) for data in _data()["models"])
    return {**default_catalog().models, **{entry.name: entry for entry in own}}


@functools.cache
def memory_rows() -> tuple[MemoryRow, ...]:
    """Published memory: MeZO's Table 22, LOMO, GaLore, BAdam, QLoRA, LLaMA-Factory.

    Examples
    --------
    >>> row = next(row for row in memory_rows() if row.model == "opt-13b" and row.method == "mezo")
    >>> row.published_gb, row.mark("published_gb"), row.mark("batch")
    (26.0, 'seen', 'assumption')
    """
    return tuple(read_entry(MemoryRow, data) for data in _data()["memory"])


@functools.cache
def quality_rows() -> tuple[QualityRow, ...]:
    """Published quality, one row for each model, task and variant of a method.

    Examples
    --------
    >>> [(row.quality, row.metric) for row in quality_rows()
    ...  if (row.model, row.task, row.method) == ("opt-13b", "SQuAD", "mezo")]
    [(0.847, 'F1')]
    """
    return tuple(row for table in _data()["quality"] for row in _quality_table(table))


@functools.cache
def steps_rows() -> tuple[StepsRow, ...]:
    """Published steps to the reported quality."""
    return tuple(read_entry(StepsRow, data) for data in _data()["steps"])


@functools.cache
def step_time_rows() -> tuple[StepTimeRow, ...]:
    """Published times per step: MeZO's Table 23."""
    return tuple(read_entry(StepTimeRow, data) for data in _data()["step_times"])


def memory_errors(rows: Sequence[MemoryRow] | None = None, convention: str = "torch") -> list[MemoryCheck]:
    """Model value and error of published rows; nothing is fitted.

    Parameters
    ----------
    rows : sequence of MemoryRow, optional
        Default: :func:`memory_rows`.
    convention : str
        Of :func:`edgealloc.system.tuning.tuning_memory`.

    Returns
    -------
    list of MemoryCheck
        In the order of the rows.

    Raises
    ------
    DataError
        A row of a model that neither the catalog nor :func:`published_models` has, or of an unknown component.

    Examples
    --------
    >>> check = next(one for one in memory_errors() if one.row.name == "lomo-1-adamw-ac-optimizer")
    >>> check.published_gb, round(check.model_gb, 2)
    (75.31, 75.31)
    """
    return [_check(row, convention) for row in (memory_rows() if rows is None else rows)]


def _check(row: MemoryRow, convention: str) -> MemoryCheck:
    models = published_models()
    if row.model not in models:
        raise DataError(
            [Fault(f"memory.{row.name}.model", f"'{row.model}' is not known; {nearest(row.model, models)}")]
        )
    entry = models[row.model]
    memory = tuning_memory(
        entry.transformer(), row.tuning(), row.batch, row.tokens, convention=convention, family=entry.family
    )
    parts = {"total": memory.total_bytes, **memory.parts()}
    wanted = row.part.split("+")
    faults = [
        Fault(f"memory.{row.name}.part", f"'{part}' is not a component; {nearest(part, parts)}")
        for part in wanted
        if part not in parts
    ]
    if faults:
        raise DataError(faults)
    amount = sum(float(parts[part]) for part in wanted) / row.gb_bytes
    return MemoryCheck(row, row.published_gb, amount, memory)


def _quality_table(table: Mapping[str, Any]) -> list[QualityRow]:
    """Rows of a table: one for each label and task that has a value; a label without a method is the method."""
    methods, counts = table.get("methods", {}), table.get("trainable_params", {})
    return [
        QualityRow(
            name=f"{table['name']}-{task}-{label}",
            source=table["source"],
            confidence=table["confidence"],
            model=table["model"],
            task=task,
            method=methods.get(label, label),
            label=label,
            metric=metric,
            value=float(value),
            setting=table["setting"],
            trainable_params=counts.get(label),
            assumption_fields=tuple(table.get("assumption_fields", ())),
            recall_fields=tuple(table.get("recall_fields", ())),
        )
        for label, values in table["rows"].items()
        for task, metric, value in zip(table["tasks"], table["metrics"], values, strict=True)
        if value is not None
    ]
