"""Published figures of compact models, and our models beside them: sizes, speeds, the assumption on accuracy.

The figures mirror their sources: nothing is fitted to them but the efficiencies of frameworks, which are computed from
measured speeds. Rows are read in :mod:`edgealloc.catalog.compression_rows`, variants are built in
:mod:`edgealloc.catalog.variants`, speeds in :mod:`edgealloc.catalog.speed_facts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgealloc.catalog.compression_rows import (
    AccuracyRow,
    FrameworkEntry,
    HallucinationRow,
    Label,
    PerplexityRow,
    SizeRow,
    StudentRow,
    ThroughputRow,
    accuracy_rows,
    compact_models,
    frameworks,
    hallucination_rows,
    label_of,
    perplexity_rows,
    require_model,
    size_rows,
    student_rows,
    throughput_rows,
)
from edgealloc.catalog.speed_facts import (
    Efficiency,
    Rate,
    ThroughputCheck,
    efficiency,
    framework_named,
    rate,
    runs,
    throughput_errors,
)
from edgealloc.catalog.variants import (
    QUERY_CLASSES,
    Quality,
    QueryClass,
    Variant,
    accuracy_after,
    hallucination_after,
    perplexity_ratio,
    variant,
    variants,
)
from edgealloc.system.inference import bits_per_weight, weight_bytes

__all__ = [
    "QUERY_CLASSES",
    "AccuracyCheck",
    "AccuracyRow",
    "Efficiency",
    "FrameworkEntry",
    "HallucinationRow",
    "Label",
    "PerplexityRow",
    "Quality",
    "QueryClass",
    "Rate",
    "SizeCheck",
    "SizeRow",
    "StudentRow",
    "ThroughputCheck",
    "ThroughputRow",
    "Variant",
    "accuracy_after",
    "accuracy_errors",
    "accuracy_rows",
    "compact_models",
    "efficiency",
    "framework_named",
    "frameworks",
    "hallucination_after",
    "hallucination_rows",
    "label_of",
    "perplexity_ratio",
    "perplexity_rows",
    "rate",
    "runs",
    "size_errors",
    "size_rows",
    "student_rows",
    "throughput_errors",
    "throughput_rows",
    "variant",
    "variants",
]


@dataclass(frozen=True)
class SizeCheck:
    """The size model beside a published size, both in the row's unit."""

    row: SizeRow
    published: float
    model: float

    @property
    def error_percent(self) -> float:
        """Model less published, in percent of published."""
        return 100.0 * (self.model / self.published - 1.0)


@dataclass(frozen=True)
class AccuracyCheck:
    """The assumption on accuracy beside a published change.

    Attributes
    ----------
    row : AccuracyRow
        After compression; `row.dense` is before.
    ratio : Quality
        Perplexity ratio that was used.
    assumed : float
        Accuracy by :func:`accuracy_after`.
    """

    row: AccuracyRow
    ratio: Quality
    assumed: float

    @property
    def error_points(self) -> float:
        """Assumed less published, in percentage points."""
        return 100.0 * (self.assumed - self.row.value)


def size_errors(rows: Sequence[SizeRow] | None = None) -> list[SizeCheck]:
    """Model value and error of published sizes; nothing is fitted.

    Parameters
    ----------
    rows : sequence of SizeRow, optional
        Default: :func:`size_rows`.

    Raises
    ------
    DataError
        A row of an unknown model or label.

    Examples
    --------
    >>> check = next(one for one in size_errors() if one.row.label == "Q4_K_M")
    >>> check.published, round(check.model, 2)
    (3.8, 3.8)
    """
    return [_size_check(row) for row in (size_rows() if rows is None else rows)]


def _size_check(row: SizeRow) -> SizeCheck:
    shape = require_model(row.model, compact_models()).transformer()
    form = label_of(row.label).form
    unit = row.unit_bytes
    amount = bits_per_weight(shape, form) if unit is None else weight_bytes(shape, form) / unit
    return SizeCheck(row, row.published, amount)


def accuracy_errors() -> list[AccuracyCheck]:
    """The assumption of :func:`accuracy_after` beside published changes of the classes' benchmarks.

    Rows of a compressed model whose table has the uncompressed one, and whose perplexity ratio is published for this
    model and format; the ratio is not transferred from another model.
    """
    chances = {"piqa": 0.5, "arc_easy": 0.25, "mmlu": 0.25, "gsm8k": 0.0}
    found = []
    for row in accuracy_rows():
        label = label_of(row.label)
        if row.task not in chances or row.dense is None or label.dense:
            continue
        ratio = perplexity_ratio(row.model, label)
        if ratio is not None and ratio.origin == "published":
            found.append(AccuracyCheck(row, ratio, accuracy_after(row.dense, ratio.value, chances[row.task])))
    return found
