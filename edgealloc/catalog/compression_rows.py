"""Published rows of compact models as typed entries: sizes, perplexity, accuracy, hallucination, speed, students."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

from edgealloc.catalog.catalog import default_catalog
from edgealloc.catalog.entries import Entry, ModelEntry
from edgealloc.catalog.reading import read_entry
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.inference import DENSE, FORMATS, Format, Sparsity, format_named

__all__ = [
    "AccuracyRow",
    "FrameworkEntry",
    "HallucinationRow",
    "Label",
    "PerplexityRow",
    "SizeRow",
    "StudentRow",
    "ThroughputRow",
    "accuracy_rows",
    "compact_models",
    "frameworks",
    "hallucination_rows",
    "label_of",
    "perplexity_rows",
    "size_rows",
    "student_rows",
    "throughput_rows",
]

#: Unit of a published size -> bytes; bits per weight are told apart by their name.
_UNITS: Final = {"GiB": 2.0**30, "MiB": 2.0**20, "GB": 1e9}


@dataclass(frozen=True)
class Label:
    """What was done to a model, read from a label such as "Q4_K_M", "awq-int4-g128", "wanda-2:4", "llm-pruner-20%".

    Attributes
    ----------
    text : str
    method : str
        "" where the format says all.
    form : Format
        Half precision for what was only pruned.
    sparsity : Sparsity
    narrower : float
        Share of heads and channels that were taken out.
    """

    text: str
    method: str
    form: Format
    sparsity: Sparsity = DENSE
    narrower: float = 0.0

    @property
    def dense(self) -> bool:
        """The base model in full, half or single precision."""
        return self.form.name.lower() in ("f32", "f16", "bf16") and self.sparsity == DENSE and not self.narrower

    def same_weights(self, other: Label) -> bool:
        """Same format, zeros and shape, whatever the method.

        Parameters
        ----------
        other : Label
            To compare with.
        """
        return (self.form.name, self.sparsity, self.narrower) == (other.form.name, other.sparsity, other.narrower)


@functools.cache
def label_of(text: str) -> Label:
    """Read a label: FORMAT, METHOD-FORMAT, METHOD-50, METHOD-4:8, METHOD-2:4 or METHOD-20%.

    Parameters
    ----------
    text : str
        Such as "Q4_K_M", "awq-int4-g128" or "wanda-2:4".

    Returns
    -------
    Label

    Raises
    ------
    DataError
        The end of the label is no known format and no pattern.

    Examples
    --------
    >>> label_of("awq-int4-g128").method, label_of("awq-int4-g128").form.name, label_of("Q4_K_M").method
    ('awq', 'int4-g128', '')
    >>> label_of("wanda-2:4").sparsity.pattern, label_of("llm-pruner-20%").narrower
    ('2:4', 0.2)
    """
    parts = text.split("-")
    for start in range(len(parts)):
        rest = "-".join(parts[start:])
        if _is_format(rest):
            return Label(text, "-".join(parts[:start]), format_named(rest))
    method, _, end = text.rpartition("-")
    half = FORMATS["f16"]
    if method and end in ("2:4", "4:8"):
        return Label(text, method, half, Sparsity(cast("Any", end), 0.5))
    if method and end.isdigit() and 0 < int(end) < 100:
        return Label(text, method, half, Sparsity("unstructured", int(end) / 100.0))
    if method and end.endswith("%") and end[:-1].isdigit() and 0 < int(end[:-1]) < 100:
        return Label(text, method, half, narrower=int(end[:-1]) / 100.0)
    return Label(text, "", format_named(text))  # unknown: the error says which formats there are


def _is_format(text: str) -> bool:
    try:
        format_named(text)
    except DataError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class SizeRow(Entry):
    """A published file size, or bits per weight.

    Attributes
    ----------
    model, label : str
    published : float
    unit : str
        "GiB", "MiB", "GB" or "bits/weight".
    reason : str
        Why the published number cannot be met, if it cannot.
    """

    section: ClassVar[str] = "sizes"

    model: str
    label: str
    published: float
    unit: str
    reason: str = ""

    @property
    def unit_bytes(self) -> float | None:
        """Bytes of the unit; None for bits per weight."""
        return _UNITS.get(self.unit)


@dataclass(frozen=True, kw_only=True)
class PerplexityRow(Entry):
    """Perplexity after compression, and of the uncompressed model in the same table (1 where the table has ratios).

    Attributes
    ----------
    model : str
        Of the catalog.
    label : str
        What was done to it, see `label_of`.
    dataset, setting : str
        Text, and how it was measured, in the source's words.
    value, dense : float
        After compression and before.
    """

    section: ClassVar[str] = "perplexity"

    model: str
    label: str
    dataset: str
    setting: str
    value: float
    dense: float

    @property
    def ratio(self) -> float:
        """value / dense."""
        return self.value / self.dense


@dataclass(frozen=True, kw_only=True)
class AccuracyRow(Entry):
    """A share of right answers in [0, 1], and that of the uncompressed model in the same table, if it is there.

    Attributes
    ----------
    model : str
        Of the catalog.
    label : str
        What was done to it, see `label_of`.
    task, setting : str
        Benchmark, and how it was run, in the source's words.
    value : float
        After compression.
    dense : float or None
        Before.
    """

    section: ClassVar[str] = "accuracy"

    model: str
    label: str
    task: str
    setting: str
    value: float
    dense: float | None = None


@dataclass(frozen=True, kw_only=True)
class HallucinationRow(Entry):
    """Share of a named benchmark's answers that are not supported, in [0, 1].

    Attributes
    ----------
    model : str
        Of the catalog.
    label : str
        The source's model; `note` says so where it is another version.
    benchmark : str
    value : float
    """

    section: ClassVar[str] = "hallucination"

    model: str
    label: str
    benchmark: str
    value: float


@dataclass(frozen=True, kw_only=True)
class ThroughputRow(Entry):
    """A measured speed; `device` and `model` are of the catalog, `setting` is in the source's words.

    Attributes
    ----------
    decode_tokens_per_s, prefill_tokens_per_s : float
    power_w, joules_per_token : float or None
    file_bytes, resident_bytes : float or None
    label : str
        What was done to the model, see `label_of`.
    framework : str
        Software that answered.
    """

    section: ClassVar[str] = "throughput"

    device: str
    model: str
    label: str
    framework: str
    setting: str
    decode_tokens_per_s: float
    prefill_tokens_per_s: float | None = None
    power_w: float | None = None
    joules_per_token: float | None = None
    file_bytes: float | None = None
    resident_bytes: float | None = None


@dataclass(frozen=True, kw_only=True)
class FrameworkEntry(Entry):
    """Software that answers.

    Attributes
    ----------
    unit : str
        "cpu", "gpu" or "npu": which rate of a device it computes with.
    families : tuple of str
        Of :class:`edgealloc.system.inference.Format` that it reads.
    sparse_2_4 : bool
        Whether it makes use of 2:4 zeros.
    eta_flops : float
        Part of the peak that prompts reach where no measured row says more.
    like : str or None
        Framework whose rows stand for it, where it has none.
    text : str
        What it is.
    """

    section: ClassVar[str] = "frameworks"

    unit: str
    families: tuple[str, ...]
    text: str
    eta_flops: float
    sparse_2_4: bool = False
    like: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudentRow(Entry):
    """A distilled model: a model of its own, and whose student it is.

    Attributes
    ----------
    teacher : str
        The model that it learned from.
    text : str
        How.
    """

    section: ClassVar[str] = "students"

    teacher: str
    text: str


@functools.cache
def _data() -> Mapping[str, list[dict[str, Any]]]:
    text = importlib.resources.files("edgealloc.catalog").joinpath("data", "compression.json").read_text("utf-8")
    data: dict[str, list[dict[str, Any]]] = json.loads(text)
    return data


@functools.cache
def compact_models() -> Mapping[str, ModelEntry]:
    """Models of the published rows: those of the catalog, and shapes of those that it has not."""
    own = (read_entry(ModelEntry, data) for data in _data()["models"])
    return {**default_catalog().models, **{entry.name: entry for entry in own}}


@functools.cache
def size_rows() -> tuple[SizeRow, ...]:
    """Published sizes: llama.cpp, MELT, ExecuTorch, GPTQ.

    Examples
    --------
    >>> row = next(row for row in size_rows() if row.label == "Q4_K_M")
    >>> row.model, row.published, row.unit
    ('llama-7b', 3.8, 'GiB')
    """
    return tuple(
        SizeRow(
            **_common(table, label, "label"),
            model=table["model"],
            label=label,
            published=float(value),
            unit=table["unit"],
            reason=table["reasons"].get(label, ""),
        )
        for table in _data()["sizes"]
        for label, value in table["rows"].items()
    )


@functools.cache
def perplexity_rows() -> tuple[PerplexityRow, ...]:
    """Published perplexity; tables of one model in different settings are not mixed."""
    return tuple(
        PerplexityRow(
            **_common(table, label, "label"),
            model=table["model"],
            label=label,
            dataset=table["dataset"],
            setting=table["setting"],
            value=float(value),
            dense=float(table["dense"]),
        )
        for table in _data()["perplexity"]
        for label, value in table["rows"].items()
    )


@functools.cache
def accuracy_rows() -> tuple[AccuracyRow, ...]:
    """Published accuracy by benchmark; the uncompressed model's rows have the label "f16" or "F16"."""
    return tuple(row for table in _data()["accuracy"] for row in _accuracy_table(table))


def _accuracy_table(table: Mapping[str, Any]) -> list[AccuracyRow]:
    scale, tasks, dense = float(table["scale"]), table["tasks"], table["rows"].get(table["dense"])
    return [
        AccuracyRow(
            **_common(table, f"{label}-{task}", "model"),
            model=table["model"],
            label=label,
            task=task,
            setting=table["setting"],
            value=value / scale,
            dense=None if dense is None or dense[index] is None else dense[index] / scale,
        )
        for label, values in table["rows"].items()
        for index, (task, value) in enumerate(zip(tasks, values, strict=True))
        if value is not None
    ]


@functools.cache
def hallucination_rows() -> tuple[HallucinationRow, ...]:
    """Published hallucination rates: Vectara HHEM."""
    return tuple(
        HallucinationRow(
            name=f"{table['name']}-{row['model']}",
            source=table["source"],
            confidence=table["confidence"],
            note=row.get("assumed", ""),
            assumption_fields=("model",) if "assumed" in row else (),
            model=row["model"],
            label=row["label"],
            benchmark=table["benchmark"],
            value=row["value"] / table["scale"],
        )
        for table in _data()["hallucination"]
        for row in table["rows"]
    )


def _common(table: Mapping[str, Any], suffix: str, assumed: str) -> dict[str, Any]:
    return {
        "name": f"{table['name']}-{suffix}",
        "source": table["source"],
        "confidence": table["confidence"],
        "note": table.get("assumed", ""),
        "assumption_fields": (assumed,) if "assumed" in table else (),
    }


@functools.cache
def throughput_rows() -> tuple[ThroughputRow, ...]:
    """Measured speeds, phones to servers."""
    return tuple(read_entry(ThroughputRow, data) for data in _data()["throughput"])


@functools.cache
def student_rows() -> tuple[StudentRow, ...]:
    """Distilled models and their teachers."""
    return tuple(read_entry(StudentRow, data) for data in _data()["students"])


@functools.cache
def frameworks() -> Mapping[str, FrameworkEntry]:
    """Frameworks by name."""
    lists = ("families", "assumption_fields")
    return {
        data["name"]: FrameworkEntry(**{**data, **{key: tuple(data[key]) for key in lists}})
        for data in _data()["frameworks"]
    }


def require_model(name: str, models: Mapping[str, ModelEntry]) -> ModelEntry:
    """Find a model, or raise a DataError with the nearest known ones."""
    if name not in models:
        raise DataError([Fault("base", f"'{name}' is not a known model; {nearest(str(name), models)}")])
    return models[name]
