"""What a deployment file says of models: variants and servers, their sizes, and how good their answers are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog
from edgealloc.catalog.compression_facts import Variant
from edgealloc.scenarios.deployment import facts
from edgealloc.scenarios.deployment.facts import Known
from edgealloc.scenarios.deployment.names import variant_name
from edgealloc.scenarios.deployment.schema import ClassTable, Document, ServerGroup, VariantTable

__all__ = ["QUALITIES", "Compact", "longest_context", "served", "shifted", "variants"]

FloatArray = npt.NDArray[np.float64]
#: section of a file, and index of a table
Place = tuple[str, int]

#: What is known of answers, and whether a more difficult class lowers it or raises it.
QUALITIES: Final = {"accuracy": 1.0, "hallucination": -1.0}


@dataclass(frozen=True, eq=False)
class Compact:
    """A model in a format: a variant of a file, or what a server answers with.

    Attributes
    ----------
    name : str
    model : Variant
        As the catalog builds it.
    size : Known
        Bytes of the weights.
    perplexity : Known or None
        None where nobody has published any.
    quality : mapping
        "accuracy", "hallucination" -> what counts for every class of the file.
    """

    name: str
    model: Variant
    size: Known
    perplexity: Known | None
    quality: Mapping[str, tuple[Known, ...]]

    def memory_bytes(self, context: int) -> float:
        """Weights and the keys and values of a context."""
        return self.size.value + context * self.model.kv_bytes_per_token

    def by_class(self, key: str) -> FloatArray:
        """(C,) accuracy or hallucination rate of every class."""
        return np.array([one.value for one in self.quality[key]])


def longest_context(classes: tuple[ClassTable, ...]) -> int:
    """Tokens of the longest prompt and answer: what a device keeps room for."""
    return max(one.prompt_tokens + one.answer_tokens for one in classes)


def shifted(share: float, difficulty: float) -> float:
    """The share of right answers to harder questions, by the Rasch model: odds are divided by ``exp(difficulty)``.

    Source: Rasch 1960, Probabilistic Models for Some Intelligence and Attainment Tests.

    >>> round(shifted(0.8, 1.0), 3), shifted(0.8, 0.0), shifted(1.0, 3.0)
    (0.595, 0.8, 1.0)
    """
    if difficulty == 0.0 or share in (0.0, 1.0):
        return share
    return 1.0 / (1.0 + (1.0 - share) / share * math.exp(difficulty))


def variants(document: Document, catalog: Catalog) -> tuple[Compact, ...]:
    """All variants of a file, in the order of the problem."""
    found = []
    for k, table in enumerate(document.variants):
        for text in table.formats:
            name = variant_name(table.model, facts.label_text(text), len(table.formats), table.name)
            found.append(_compact(document, catalog, name, text, table, ("variants", k)))
    return tuple(found)


def served(document: Document, catalog: Catalog) -> tuple[Compact, ...]:
    """What every group of servers answers with."""
    return tuple(
        _compact(document, catalog, f"{one.model}-{facts.label_text(one.format)}", one.format, one, ("servers", i))
        for i, one in enumerate(document.servers)
    )


def _compact(
    document: Document, catalog: Catalog, name: str, label: str, table: VariantTable | ServerGroup, place: Place
) -> Compact:
    model = facts.compact(catalog.model(table.model), label)
    size, perplexity = getattr(table, "size", None), getattr(table, "perplexity", None)
    if size is None:
        stored = Known(model.weight_bytes, f"computed: {model.label.form.text}", "derived")
    else:
        stored = _said(document, size, "size", place)
    if perplexity is None:
        told = None if model.perplexity is None else facts.known(model.perplexity)
    else:
        told = _said(document, perplexity, "perplexity", place)
    quality = {
        key: tuple(_of_class(document, key, one, table, model, place) for one in document.classes) for key in QUALITIES
    }
    return Compact(name, model, stored, told, quality)


def _of_class(
    document: Document, key: str, query: ClassTable, table: VariantTable | ServerGroup, model: Variant, place: Place
) -> Known:
    """Of a class: its own number, or the general one at its difficulty."""
    given: dict[str, float] | None = getattr(table, key)
    if given is not None and query.name in given:
        return _said(document, given[query.name], key, place)
    if given is not None:
        found = _said(document, given[""], key, place)
    else:
        published = facts.published(model, key, query.benchmark or facts.DEFAULT_BENCHMARK)
        found = published or Known(0.0, "nobody has published it", "default")
    if query.difficulty == 0.0:
        return found
    value = shifted(found.value, QUALITIES[key] * query.difficulty)
    return Known(value, f"{found.source}; at a difficulty of {query.difficulty:g}", "assumption")


def _said(document: Document, value: Any, key: str, place: Place) -> Known:
    """A number of the file, with the source or the assumption that the file names."""
    section, k = place
    for path in (f"{section}.{k}.{key}", f"{section}.{key}"):
        if path in document.sources:
            return Known(float(value), document.sources[path], "cited")
        if path in document.assumptions:
            return Known(float(value), document.assumptions[path], "assumption")
    return Known(float(value), "file", "file")
