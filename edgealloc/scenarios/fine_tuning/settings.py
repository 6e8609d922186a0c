"""What a fine-tuning file says of methods and targets: the methods, the steps of each, and what quality is known."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog.tuning_facts import QualityRow, quality_rows
from edgealloc.scenarios.fine_tuning.schema import Document, JobGroup, MethodTable
from edgealloc.system.tuning import TUNING_METHODS, Tuning, tuning_named

__all__ = [
    "UNKNOWN",
    "Quality",
    "Steps",
    "group_batch",
    "group_model",
    "group_tokens",
    "known_quality",
    "method_places",
    "method_tables",
    "published_models",
    "published_tasks",
    "steps_of",
    "tuning_of",
    "tunings",
]

FloatArray = npt.NDArray[np.float64]

#: keys of a [[methods]] table that change a method, and what `Tuning` calls them
_CHANGES: Final = {
    "rank": "rank", "targets": "targets", "bottleneck": "bottleneck", "virtual_tokens": "virtual_tokens",
    "blocks": "blocks", "precision": "precision",
}  # fmt: skip
#: keys that [model] has for all methods
_SHARED: Final = {"optimizer_states": "states", "checkpointing": "checkpointing", "fused_attention": "fused_attention"}


# ---- methods --------------------------------------------------------------------------------------------------------


def method_tables(document: Document) -> tuple[MethodTable, ...]:
    """The methods of a file; all that edgealloc knows where it names none."""
    return document.methods or tuple(MethodTable(method=name) for name in TUNING_METHODS)


def tuning_of(table: Any, model: Any) -> Tuning:
    """A method as a file describes it.

    Parameters
    ----------
    table, model
        Objects with the keys of [[methods]] and of [model].

    Raises
    ------
    DataError
        An unknown method, precision or convention.
    """
    changes = {field: getattr(table, key) for key, field in _CHANGES.items() if getattr(table, key) is not None}
    for key, field in _SHARED.items():
        own = getattr(table, key)
        chosen = getattr(model, key) if own is None else own
        if chosen is not None:
            changes[field] = chosen
    return dataclasses.replace(tuning_named(table.method, **changes), name=table.name or table.method)


def tunings(document: Document) -> tuple[Tuning, ...]:
    """All methods of a file, in the order of the problem."""
    return tuple(tuning_of(table, document.model) for table in method_tables(document))


def method_places(table: MethodTable, group: JobGroup) -> tuple[bool, bool]:
    """Whether a method may train the jobs of a group on their devices, and on servers."""
    said = {table.place, group.place}
    return "server" not in said, "device" not in said


# ---- jobs -----------------------------------------------------------------------------------------------------------


def group_model(document: Document, group: JobGroup) -> str:
    """Catalog name of the model that a group trains."""
    return str(group.model or document.model.name)


def group_batch(document: Document, group: JobGroup) -> int:
    """Sequences per step."""
    return int(group.batch or document.model.batch)


def group_tokens(document: Document, group: JobGroup) -> int:
    """Tokens per sequence."""
    return int(group.tokens or document.model.tokens)


@dataclass(frozen=True)
class Steps:
    """Steps of a method to the target, one number per job, and the rule that they follow."""

    count: FloatArray
    rule: str


def steps_of(
    document: Document, group: JobGroup, table: MethodTable, tuning: Tuning, samples: FloatArray | None
) -> Steps:
    """Steps of a method to the target of every job of a group.

    The group's own number for the method counts first, then the method's, then the group's for first-order methods,
    then epochs x samples / batch, rounded up; zeroth-order methods take `zeroth_order_steps` times as many of the last
    two.
    """
    size = group.count
    if tuning.name in group.steps_of:
        return Steps(np.full(size, float(group.steps_of[tuning.name])), f"steps_of.{tuning.name}")
    if table.steps is not None:
        return Steps(np.full(size, float(table.steps)), "steps of the method")
    factor = document.model.zeroth_order_steps if tuning.order == 0 else 1.0
    if group.steps is not None:
        first, rule = np.full(size, float(group.steps)), "steps"
    else:
        epochs = document.model.epochs if group.epochs is None else group.epochs
        each = np.zeros(size) if samples is None else samples
        first = np.maximum(np.ceil(epochs * each / group_batch(document, group)), 1.0)
        rule = "epochs x samples / batch"
    return Steps(np.ceil(first * factor), rule if factor == 1.0 else f"{rule} x {factor:g} (zeroth order)")


# ---- quality --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quality:
    """A quality, where it is from, and how well it is known ("" if it is not known at all)."""

    value: float
    source: str
    mark: str


UNKNOWN: Final = Quality(0.0, "nobody has published it: 0 until you give a number", "")


def known_quality(document: Document, i: int, k: int, tuning: Tuning) -> Quality:
    """What is known of the quality that method k reaches in the jobs of group i.

    The job's own number counts before a published one, and that before the method's.
    """
    group = document.jobs[i]
    if tuning.name in group.quality:
        return _said(
            document,
            group.quality[tuning.name],
            (
                f"jobs.{i}.quality.{tuning.name}",
                f"jobs.quality.{tuning.name}",
                f"jobs.{i}.quality",
                "jobs.quality",
            ),
        )
    if group.task is not None:
        found = _published(group.quality_model or group_model(document, group), group.task, tuning)
        if found is not None:
            return found
    table = method_tables(document)[k]
    if table.quality is not None:
        return _said(document, table.quality, (f"methods.{k}.quality", "methods.quality"))
    return UNKNOWN


def _said(document: Document, value: float, paths: tuple[str, ...]) -> Quality:
    for path in paths:
        if path in document.sources:
            return Quality(value, document.sources[path], "cited")
    return Quality(
        value,
        next((document.assumptions[path] for path in paths if path in document.assumptions), "file"),
        "assumption",
    )


def _published(model: str, task: str, tuning: Tuning) -> Quality | None:
    """What was published for a method on a base of the same number format; its other options are not compared."""
    method = "lora" if tuning.method == "qlora" else tuning.method
    for row in _shares():
        known = "lora" if row.method == "qlora" else row.method
        if (row.model, row.task, known) == (model, task, method) and _same_base(row, tuning.precision):
            said = "" if row.label == row.method else f" ({row.label})"
            return Quality(float(row.quality or 0.0), f"{row.source}: {model} on {task}{said}, {row.setting}",
                           row.mark("value"))  # fmt: skip
    return None


def _same_base(row: QualityRow, precision: str) -> bool:
    """A row says in its label which number format the base has, if it is not half precision."""
    formats = {"int8": "int8", "nf4": "nf4"}
    found = next((one for text, one in formats.items() if text in row.label), None)
    if found is None and ("fp4" in row.label or "float4" in row.label):
        return False
    if found is None and row.method == "qlora":
        found = "nf4"
    return found == (precision if precision in formats else None)


@functools.cache
def _shares() -> tuple[QualityRow, ...]:
    """Published rows whose metric is a share of right answers (or F1), of methods that can be chosen."""
    return tuple(row for row in quality_rows() if row.quality is not None and row.method in TUNING_METHODS)


def published_models() -> list[str]:
    """Models for which qualities have been published."""
    return list(dict.fromkeys(row.model for row in _shares()))


def published_tasks(model: str) -> list[str]:
    """Tasks for which qualities of a model have been published."""
    return list(dict.fromkeys(row.task for row in _shares() if row.model == model))
