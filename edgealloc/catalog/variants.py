"""Compact variants of a base model: sizes from its shape, quality from published rows, each with where it is from.

Quality that no row has follows from perplexity by a named assumption (:func:`accuracy_after`), or stays None.
"""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from edgealloc.catalog.compression_rows import (
    AccuracyRow,
    Label,
    PerplexityRow,
    accuracy_rows,
    compact_models,
    hallucination_rows,
    label_of,
    perplexity_rows,
    require_model,
    student_rows,
)
from edgealloc.catalog.entries import Mark, ModelEntry
from edgealloc.errors import DataError, Fault
from edgealloc.system.inference import Work, inference_work, structured, weight_bytes
from edgealloc.system.transformer import Transformer, kv_bytes_per_token, total_params

__all__ = [
    "FORMATS_OF_A_FLEET",
    "QUERY_CLASSES",
    "Quality",
    "QueryClass",
    "Variant",
    "accuracy_after",
    "hallucination_after",
    "perplexity_ratio",
    "variant",
    "variants",
]

Origin = Literal["published", "published change", "derived", "assumption"]

#: Formats that :func:`variants` offers for every base beside what was published for it.
FORMATS_OF_A_FLEET: Final = (
    "f16",
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q4_K_M",
    "Q4_0",
    "Q3_K_M",
    "Q2_K",
    "awq-int4-g128",
    "gptq-int4-g128",
    "executorch-int4",
)


@dataclass(frozen=True)
class QueryClass:
    """A class of queries, and the benchmark whose accuracy stands for the answers to it.

    Attributes
    ----------
    name : str
    benchmark : str
        Whose published accuracy is taken.
    chance : float
        Accuracy of guessing.
    also : tuple of str
        Benchmarks whose published *change* by compression is taken where `benchmark` has none.
    """

    name: str
    benchmark: str
    chance: float
    also: tuple[str, ...] = ()


#: Simple: everyday physics with two answers. Medium: school and university knowledge with four. Hard: word problems
#: in several steps, answered freely. A proxy, and the benchmarks' numbers depend on shots and harness.
QUERY_CLASSES: Final = (
    QueryClass("simple", "piqa", 0.5, ("arc_easy", "winogrande")),
    QueryClass("medium", "mmlu", 0.25, ("arc_challenge", "average_of_11")),
    QueryClass("hard", "gsm8k", 0.0),
)


@dataclass(frozen=True)
class Quality:
    """A number of quality, and where it is from.

    Attributes
    ----------
    value : float
    benchmark : str
    origin : {"published", "published change", "derived", "assumption"}
        "published change": the uncompressed model's value plus what a table shows compression to change.
    source : str
        The rows' sources, and the assumption in words.
    mark : {"seen", "recall"}
        "recall" where a row that it rests on is from memory.
    """

    value: float
    benchmark: str
    origin: Origin
    source: str
    mark: Mark = "seen"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A compact model.

    Attributes
    ----------
    name : str
        "BASE-LABEL", such as "llama3.2-1b-Q4_K_M".
    base : str
        A model of :func:`edgealloc.catalog.compression_rows.compact_models`.
    label : Label
        Format, zeros, method.
    shape : Transformer
        Narrower than the base's after structured pruning.
    params : int
    weight_bytes : float
        As stored; zeros are stored like other weights (see :meth:`work` for frameworks that do better).
    kv_bytes_per_token : float
        In half precision.
    perplexity, perplexity_ratio : Quality or None
        As published, and to the uncompressed model.
    accuracy : mapping of str to Quality
        Published accuracy of this very variant by benchmark.
    class_accuracy : mapping of str to Quality or None
        By name of :data:`QUERY_CLASSES`.
    hallucination : Quality or None
        Rate in [0, 1] of the benchmark it names.
    teacher : str or None
        Whose distilled student the base is.
    """

    name: str
    base: str
    label: Label
    shape: Transformer
    params: int
    weight_bytes: float
    kv_bytes_per_token: float
    perplexity: Quality | None
    perplexity_ratio: Quality | None
    accuracy: Mapping[str, Quality]
    class_accuracy: Mapping[str, Quality | None]
    hallucination: Quality | None
    teacher: str | None = None

    @property
    def bits(self) -> float:
        """Nominal bits of a weight, without scales."""
        return self.label.form.bits

    def memory_bytes(self, context: int = 2048, batch: int = 1, overhead_bytes: float = 0.0) -> float:
        """Weights, keys and values of `batch` queries of `context` tokens, and the framework's own memory.

        Parameters
        ----------
        context : array_like
            Tokens of prompt and answer.
        batch : array_like
            Queries at the same time.
        overhead_bytes : float
            Framework and buffers in bytes.
        """
        return self.weight_bytes + batch * context * self.kv_bytes_per_token + overhead_bytes

    def work(self, supported: bool = False) -> Work:
        """Work of a token; `supported` where framework and hardware make use of zeros."""
        return inference_work(self.shape, self.label.form, sparsity=self.label.sparsity, supported=supported)

    def class_values(self, field: str = "accuracy") -> list[float | None]:
        """Accuracy by class, in the order of :data:`QUERY_CLASSES`; or, for "hallucination", its rate for all.

        Parameters
        ----------
        field : str
            "accuracy" or "hallucination".
        """
        if field == "hallucination":
            rate = None if self.hallucination is None else self.hallucination.value
            return [rate for _ in QUERY_CLASSES]
        found = (self.class_accuracy[one.name] for one in QUERY_CLASSES)
        return [None if one is None else one.value for one in found]


def accuracy_after(accuracy: float, ratio: float, chance: float = 0.0) -> float:
    """Accuracy after compression by our assumption: what is above guessing falls as perplexity rises.

    ``chance + (accuracy - chance) / max(1, ratio)``, never above `accuracy`; at or below chance nothing changes.
    It has no source; :func:`edgealloc.catalog.compression_facts.accuracy_errors` shows it beside published changes.

    Parameters
    ----------
    accuracy : float
        Of the uncompressed model, in [0, 1].
    ratio : float
        Perplexity after compression to before, > 0.
    chance : float
        Accuracy of guessing.

    Raises
    ------
    DataError
        Arguments out of range.

    Examples
    --------
    >>> round(accuracy_after(0.65, 1.25, chance=0.25), 6), accuracy_after(0.2, 1.25, chance=0.25)
    (0.57, 0.2)
    """
    _require(ratio, accuracy=accuracy, chance=chance)
    return accuracy if accuracy <= chance else chance + (accuracy - chance) / max(1.0, ratio)


def hallucination_after(rate: float, ratio: float) -> float:
    """Hallucination rate after compression by our assumption, ``min(1, rate max(1, ratio))``.

    It has no source, and one against it: pruned models were seen to hallucinate less in summaries (Chrysostomou et
    al., TACL 2024, arXiv 2311.09335), as they copy more.

    Parameters
    ----------
    rate : float
        Of the uncompressed model, in [0, 1].
    ratio : float
        Perplexity after compression to before, > 0.

    Raises
    ------
    DataError
        Arguments out of range.

    Examples
    --------
    >>> hallucination_after(0.1, 1.5), hallucination_after(0.1, 0.9)
    (0.15000000000000002, 0.1)
    """
    _require(ratio, rate=rate)
    return min(1.0, rate * max(1.0, ratio))


def _require(ratio: float, **shares: float) -> None:
    faults = [Fault(name, f"{value!r} must be in [0, 1]") for name, value in shares.items() if not 0.0 <= value <= 1.0]
    if not ratio > 0.0:
        faults.append(Fault("ratio", f"{ratio!r} must be > 0"))
    if faults:
        raise DataError(faults)


def perplexity_ratio(base: str, label: str | Label) -> Quality | None:
    """Perplexity after compression to before.

    From the base's rows of this label, else of the same format and zeros by any method (median). Else, as an
    assumption, that of the model of the same family that is nearest in size; without one, the largest of all models,
    as small models lose more. 1 for an uncompressed model; None where no model has a row.

    Raises
    ------
    DataError
        An unknown base or label.

    Examples
    --------
    >>> found = perplexity_ratio("llama3-8b", "Q4_K_M")
    >>> round(found.value, 3), found.origin
    (1.028, 'published')
    >>> perplexity_ratio("llama3.2-3b", "Q4_K_M").origin
    'assumption'
    """
    entry = require_model(base, compact_models())
    wanted = label if isinstance(label, Label) else label_of(label)
    if wanted.dense:
        return Quality(1.0, "perplexity ratio", "derived", "not compressed")
    for alike in (_same_label, _same_weights):
        rows = [row for row in _perplexity_by_model().get(base, ()) if alike(row, wanted)]
        if rows:
            return _ratio(rows, "published", "")
    for alike in (_same_label, _same_weights):
        found = {
            model: _ratio([row for row in rows if alike(row, wanted)], "assumption", f"the ratio of {model} is taken; ")
            for model, rows in _perplexity_by_model().items()
            if any(alike(row, wanted) for row in rows)
        }
        if found:
            return _transferred(base, entry.params, found)
    return None


def _transferred(base: str, params: int, found: Mapping[str, Quality]) -> Quality:
    """Of the same family (llama3 of llama3.2-1b) and nearest in size; else the largest ratio."""
    models = compact_models()
    family = re.split(r"[.-]", base, maxsplit=1)[0]
    kin = [name for name in found if re.split(r"[.-]", name, maxsplit=1)[0] == family]
    if kin:
        return found[min(kin, key=lambda name: (abs(math.log(models[name].params / params)), name))]
    return found[max(found, key=lambda name: (found[name].value, name))]


def _ratio(rows: list[PerplexityRow], origin: Origin, words: str) -> Quality:
    value = statistics.median(row.ratio for row in rows)
    return Quality(value, f"perplexity ratio, {rows[0].dataset}", origin, words + _sources(rows))


def _same_label(row: PerplexityRow, label: Label) -> bool:
    return row.label == label.text


def _same_weights(row: PerplexityRow, label: Label) -> bool:
    return label_of(row.label).same_weights(label)


@functools.cache
def _perplexity_by_model() -> Mapping[str, list[PerplexityRow]]:
    found: dict[str, list[PerplexityRow]] = {}
    for row in perplexity_rows():
        found.setdefault(row.model, []).append(row)
    return found


@functools.cache
def _accuracy_by_model() -> Mapping[str, list[AccuracyRow]]:
    found: dict[str, list[AccuracyRow]] = {}
    for row in accuracy_rows():
        found.setdefault(row.model, []).append(row)
    return found


def _sources(rows: Iterable[PerplexityRow | AccuracyRow]) -> str:
    return "; ".join(dict.fromkeys(row.source for row in rows))


def variant(base: str, label: str, models: Mapping[str, ModelEntry] | None = None) -> Variant:
    """Build a variant of a base model.

    Parameters
    ----------
    base : str
        A model of the catalog or of the published rows.
    label : str
        See :func:`edgealloc.catalog.compression_rows.label_of`: "Q4_K_M", "awq-int4-g128", "wanda-2:4", ...
    models : mapping of str to ModelEntry, optional
        Models to look `base` up in; default :func:`edgealloc.catalog.compression_rows.compact_models`.

    Returns
    -------
    Variant

    Raises
    ------
    DataError
        An unknown base or label; an encoder-decoder.

    Examples
    --------
    >>> compact = variant("llama3.2-1b", "Q4_K_M")
    >>> round(compact.weight_bytes / 1e6), round(compact.memory_bytes(context=2048) / 1e6)
    (800, 867)
    >>> [(name, round(one.value, 3), one.origin) for name, one in compact.class_accuracy.items()]
    [('simple', 0.741, 'assumption'), ('medium', 0.486, 'assumption'), ('hard', 0.432, 'assumption')]
    """
    entry = require_model(base, {**compact_models(), **(models or {})})
    wanted = label_of(label)
    shape = entry.transformer()
    if wanted.narrower:
        shape = structured(shape, wanted.narrower)
    known = base in compact_models()
    ratio = perplexity_ratio(base, wanted) if known else None
    return Variant(
        name=f"{base}-{wanted.text}",
        base=base,
        label=wanted,
        shape=shape,
        params=total_params(shape),
        weight_bytes=weight_bytes(shape, wanted.form),
        kv_bytes_per_token=kv_bytes_per_token(shape),
        perplexity=_perplexity(base, wanted),
        perplexity_ratio=ratio,
        accuracy=_accuracy(base, wanted),
        class_accuracy={one.name: _class_accuracy(base, wanted, one, ratio) for one in QUERY_CLASSES},
        hallucination=_hallucination(base, wanted, ratio),
        teacher=next((row.teacher for row in student_rows() if row.name == base), None),
    )


def variants(
    base: str | None = None,
    labels: Iterable[str] | None = None,
    models: Mapping[str, ModelEntry] | None = None,
) -> list[Variant]:
    """Variants of one base model, or of all that have a published quality.

    Parameters
    ----------
    base : str, optional
        Default: every decoder with a row of accuracy or hallucination.
    labels : iterable of str, optional
        Default: :data:`FORMATS_OF_A_FLEET`, and what has a row of perplexity or accuracy for the base.
    models : mapping of str to ModelEntry, optional
        As in :func:`variant`.

    Returns
    -------
    list of Variant
        In the order of the bases and labels.

    Raises
    ------
    DataError
        An unknown base or label.

    Examples
    --------
    >>> [one.name for one in variants("llama3.2-1b", ["f16", "Q4_K_M"])]
    ['llama3.2-1b-f16', 'llama3.2-1b-Q4_K_M']
    """
    known = compact_models()
    if base is not None:
        bases = [base]
    else:
        rated = {*_accuracy_by_model(), *(row.model for row in hallucination_rows())}
        bases = [name for name, entry in known.items() if name in rated and entry.kind == "decoder"]
    given = None if labels is None else tuple(labels)
    return [variant(one, label, models) for one in bases for label in (_labels(one) if given is None else given)]


def _labels(base: str) -> list[str]:
    rows = (*_perplexity_by_model().get(base, ()), *_accuracy_by_model().get(base, ()))
    published = (row.label for row in rows if not label_of(row.label).dense)
    return list(dict.fromkeys((*FORMATS_OF_A_FLEET, *published)))


def _perplexity(base: str, label: Label) -> Quality | None:
    rows = [row for row in _perplexity_by_model().get(base, ()) if row.dense > 1.0]
    exact = [row for row in rows if row.label == label.text]
    if exact:
        row = exact[0]
        where = ", ".join(text for text in (row.dataset, row.setting) if text)
        return Quality(row.value, f"perplexity, {where}", "published", row.source)
    if label.dense and rows:
        where = ", ".join(text for text in (rows[0].dataset, rows[0].setting) if text)
        return Quality(rows[0].dense, f"perplexity, {where}", "published", rows[0].source)
    return None


def _accuracy(base: str, label: Label) -> dict[str, Quality]:
    result: dict[str, Quality] = {}
    for row in sorted(_accuracy_by_model().get(base, ()), key=_rank):
        if row.label == label.text or (label.dense and label_of(row.label).dense):
            result.setdefault(
                row.task, Quality(row.value, f"{row.task} ({row.setting})", "published", row.source, row.confidence)
            )
    return result


def _rank(row: AccuracyRow) -> tuple[bool, bool]:
    """Few-shot first for MMLU, whose published numbers are; then what was read before what is from memory."""
    return (row.task == "mmlu" and "zero-shot" in row.setting, row.confidence != "seen")


def _base_accuracy(base: str, task: str) -> AccuracyRow | None:
    rows = [row for row in _accuracy_by_model().get(base, ()) if row.task == task and label_of(row.label).dense]
    return min(rows, key=_rank) if rows else None


def _class_accuracy(base: str, label: Label, query: QueryClass, ratio: Quality | None) -> Quality | None:
    whole = _base_accuracy(base, query.benchmark)
    if whole is None:
        return None
    name = f"{query.benchmark} ({whole.setting})"
    if label.dense:
        return Quality(whole.value, name, "published", whole.source, whole.confidence)
    for task in (query.benchmark, *query.also):
        for row in _accuracy_by_model().get(base, ()):
            if row.task == task and row.label == label.text and row.dense is not None:
                value = min(1.0, max(0.0, whole.value + row.value - row.dense))
                words = f"{whole.source}; change of {task}: {row.source}"
                return Quality(value, name, "published change", words, whole.confidence)
    if ratio is None:
        return None
    value = accuracy_after(whole.value, ratio.value, query.chance)
    words = f"{whole.source}; above chance divided by the perplexity ratio {ratio.value:.3f} ({ratio.source})"
    return Quality(value, name, "assumption", words, whole.confidence)


def _hallucination(base: str, label: Label, ratio: Quality | None) -> Quality | None:
    row = next((one for one in hallucination_rows() if one.model == base), None)
    if row is None:
        return None
    if label.dense:
        origin: Origin = "assumption" if row.assumption_fields else "published"
        return Quality(row.value, row.benchmark, origin, "; ".join(filter(None, (row.source, row.note))))
    if ratio is None:
        return None
    value = hallucination_after(row.value, ratio.value)
    words = f"{row.source}; times the perplexity ratio {ratio.value:.3f} ({ratio.source})"
    return Quality(value, row.benchmark, "assumption", words)
