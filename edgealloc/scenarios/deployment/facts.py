"""What the catalog knows of compact models, in the terms of a deployment file: names, frameworks, sources.

Everything published comes through here; the rest of the package asks no catalog module but this one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from edgealloc.catalog import DeviceEntry, ModelEntry
from edgealloc.catalog.compression_facts import (
    QUERY_CLASSES,
    FrameworkEntry,
    Quality,
    Rate,
    Variant,
    accuracy_rows,
    frameworks,
    hallucination_rows,
    label_of,
    rate,
    runs,
    variant,
)
from edgealloc.errors import DataError
from edgealloc.system.inference import DENSE, largest_batch

__all__ = [
    "BENCHMARKS",
    "DEFAULT_BENCHMARK",
    "PROXY",
    "Known",
    "cannot_run",
    "compact",
    "framework_for",
    "framework_names",
    "known",
    "label_text",
    "published",
    "published_models",
    "room",
    "speed",
]

#: Benchmark -> the catalog's class of queries whose accuracy it is.
BENCHMARKS: Final[dict[str, str]] = {one.benchmark: one.name for one in QUERY_CLASSES}
#: What the hallucination rate is.
PROXY: Final = "share of summaries that the text does not support (Vectara HHEM)"
#: For classes of queries that name no benchmark.
DEFAULT_BENCHMARK: Final = "mmlu"
#: Class of device -> software that answers on it where the file names none; the first that reads a format.
_USUAL: Final[dict[str, tuple[str, ...]]] = {
    "phone": ("llama.cpp-cpu", "executorch-cpu"),
    "edge-cpu": ("llama.cpp-cpu", "executorch-cpu"),
    "server-cpu": ("llama.cpp-cpu", "executorch-cpu"),
    "edge-gpu": ("tinychat", "llama.cpp-cuda"),
    "server-gpu": ("server-gpu", "llama.cpp-cuda"),
}
#: How well the catalog knows a number -> mark in tables
_MARKS: Final = {"published": "seen", "published change": "derived", "derived": "derived", "assumption": "assumption"}


@dataclass(frozen=True)
class Known:
    """A number, where it is from, and how well it is known (a key of `report.MARKS`)."""

    value: float
    source: str
    mark: str


def known(quality: Quality) -> Known:
    """A number of the catalog; what its source was remembered for, and not read, is told apart."""
    mark = _MARKS[quality.origin]
    if mark == "seen" and any(source in quality.source for source in _remembered()):
        mark = "recall"
    return Known(quality.value, f"{quality.benchmark}: {quality.source}", mark)


@functools.cache
def _remembered() -> frozenset[str]:
    return frozenset(row.source for row in accuracy_rows() if row.confidence == "recall")


# ---- models ---------------------------------------------------------------------------------------------------------


def label_text(text: str) -> str:
    """A label as the catalog writes it: formats by their own names.

    >>> label_text("q4_k_m"), label_text("int8"), label_text("awq-int4-g128"), label_text("wanda-2:4")
    ('Q4_K_M', 'Q8_0', 'awq-int4-g128', 'wanda-2:4')
    """
    label = label_of(text)
    if label.sparsity != DENSE or label.narrower:
        return text
    return f"{label.method}-{label.form.name}".removeprefix("-")


def compact(entry: ModelEntry, label: str) -> Variant:
    """A model in a format, with all that has been published of it."""
    return variant(entry.name, label_text(label), {entry.name: entry})


def published(model: Variant, key: str, benchmark: str) -> Known | None:
    """Accuracy at a benchmark, or the hallucination rate; None where nothing follows from what has been published."""
    found = model.hallucination if key == "hallucination" else model.class_accuracy[BENCHMARKS[benchmark]]
    return None if found is None else known(found)


@functools.cache
def published_models(key: str, benchmark: str) -> tuple[str, ...]:
    """Models of which an accuracy at a benchmark, or a hallucination rate, has been published."""
    if key == "hallucination":
        rows: Iterable[str] = (row.model for row in hallucination_rows())
    else:
        rows = (row.model for row in accuracy_rows() if row.task == benchmark and label_of(row.label).dense)
    return tuple(sorted(set(rows)))


# ---- devices --------------------------------------------------------------------------------------------------------


def framework_names() -> tuple[str, ...]:
    """Frameworks that a file can name."""
    return tuple(frameworks())


def framework_for(entry: DeviceEntry, name: str | None, model: Variant) -> FrameworkEntry | None:
    """The named framework, or the usual one of the device's class that runs the model; None where none does."""
    known_ones: Mapping[str, FrameworkEntry] = frameworks()
    usual = _USUAL.get(entry.device_class, tuple(known_ones))
    return next((known_ones[one] for one in (usual if name is None else (name,)) if runs(model, entry, one)), None)


def cannot_run(entry: DeviceEntry, name: str | None, model: Variant) -> str:
    """Why a device cannot run a model, whatever its memory; "" if it can."""
    if framework_for(entry, name, model) is not None:
        return ""
    usual = _USUAL.get(entry.device_class, tuple(frameworks())) if name is None else (name,)
    chosen = [frameworks()[one] for one in usual]
    blind = entry.cpu_flops_per_s is None and not entry.device_class.endswith("cpu")
    if blind and all(one.unit == "cpu" for one in chosen):
        return f"'{entry.name}' has no cpu_flops_per_s, which {' and '.join(usual)} compute with"
    families = " or ".join(dict.fromkeys(family for one in chosen for family in one.families))
    return (
        f"{' and '.join(usual)} on {entry.name} cannot run {model.label.text}: formats are those of {families}"
    )


def speed(model: Variant, entry: DeviceEntry, framework: str, power_w: float | None) -> Rate:
    """Speed of a model on a device, measured or by the roofline; with a power of one's own, if given."""
    try:
        found = rate(model, entry, framework)
    except DataError as error:
        raise DataError(error.faults, f"{model.name} on {entry.name}") from error
    if power_w is None:
        return found
    machine = dataclasses.replace(found.machine, power_w=power_w)
    return dataclasses.replace(found, machine=machine, joules_per_token=power_w / found.tokens_per_s)


def room(model: Variant, memory_bytes: float, context: int) -> int:
    """Queries of a context that fit into a memory beside the weights of a model."""
    return int(largest_batch(memory_bytes, model.weight_bytes, model.kv_bytes_per_token, context))
