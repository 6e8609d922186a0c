"""Every number of a deployment scenario with its unit, where it is from, and how well it is known."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import numpy.typing as npt

from edgealloc.core.weights import TERMS
from edgealloc.scenarios.deployment import facts
from edgealloc.scenarios.deployment.names import device_base, member_names
from edgealloc.scenarios.deployment.schema import (
    DEFAULT_DEVICE_SHARE,
    DEFAULT_SERVER_SHARE,
    SCHEMA,
    DeviceGroup,
    Document,
    ServerGroup,
)
from edgealloc.scenarios.deployment.variants import QUALITIES, Compact, longest_context, served, variants
from edgealloc.scenarios.report import Number, device_numbers, model_numbers, section_numbers, shown
from edgealloc.units import format_count, format_si, format_time

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment
    from edgealloc.scenarios.scenario import Scenario

__all__ = [
    "entries",
    "headline",
    "implied_assumptions",
    "limit_lines",
    "numbers",
    "reference_lines",
    "rollout_document",
]

FloatArray = npt.NDArray[np.float64]

#: marks of numbers that come from the catalog's rows
_PUBLISHED: Final = frozenset({"seen", "recall", "derived", "assumption"})
#: keys that are decided, not known: they need no source
_CHOICES: Final = frozenset(
    {
        "count", "accelerators", "batch", "load_limit", "airtime", "sparsity", "deadline", "accuracy_floor",
        "hallucination_ceiling", "delay", "energy", "hallucination", "accuracy", "accessibility", "device_load",
        "usable_speed",
    }
)  # fmt: skip
#: keys that carry no number, or whose numbers are told elsewhere
_NO_NUMBERS: Final = frozenset(
    {
        "name", "model", "format", "formats", "framework", "device", "variants", "benchmark", "reference", "queries",
        "speed", "prompt_speed", "energy_per_token", "uplink_to", "downlink_from",
    }
)  # fmt: skip
#: shares by class, told with the variant or server that has them
_SHARES: Final = frozenset({"accuracy", "hallucination"})
#: defaults that are no facts: why they are what they are
_ASSUMED: Final = {
    "classes.prompt_tokens": "128 tokens; count those of your queries",
    "classes.answer_tokens": "128 tokens; count those of your answers",
    "devices.memory_share": f"{DEFAULT_DEVICE_SHARE:g} of the memory is edgealloc's default; measure what is left",
    "servers.memory_share": f"{DEFAULT_SERVER_SHARE:g} of the memory is edgealloc's default",
    "servers.batch": "8 queries come together at a busy server; measure it",
    "network.round_trip": "20 ms to an edge server; measure it",
    "network.bytes_per_token": "4 B: four letters of text",
    "network.transmit_power": "0: the energy of sending is not counted; give the power of a device while it sends",
    "metrics.usable_speed": "5 token/s, about as fast as people read",
}


def rollout_document(scenario: Scenario) -> Document:
    """The declaration of a deployment scenario."""
    return cast(Document, scenario.document)


# ---- assumptions ----------------------------------------------------------------------------------------------------


def implied_assumptions(scenario: Scenario) -> dict[str, str]:
    """What the fleet depends on and nobody has measured: path of a key -> reason."""
    document = rollout_document(scenario)
    said = document.assumptions.keys() | document.sources.keys()
    found: dict[str, str] = {}
    for path, reason in _ASSUMED.items():
        section, key = path.split(".")
        groups = getattr(document, section)
        if not isinstance(groups, tuple):
            if key not in groups.model_fields_set and path not in said and (document.servers or section != "network"):
                found[path] = reason
            continue
        missing = [
            i
            for i, group in enumerate(groups)
            if key not in group.model_fields_set and not {path, f"{section}.{i}.{key}"} & said
        ]
        if missing and len(missing) == len(groups):
            found[path] = reason
        else:
            found |= {f"{section}.{i}.{key}": reason for i in missing}
    return found | {path: reason for path, reason in _proxies(scenario).items() if path not in said}


def _proxies(scenario: Scenario) -> dict[str, str]:
    """What stands for something else: benchmarks for queries, whole models for compressed ones, devices for others."""
    from edgealloc.scenarios.builders.deployment import group_answers

    document = rollout_document(scenario)
    models = [one for _, one in _models(scenario)]
    marks = {key: {known.mark for one in models for known in one.quality[key]} for key in QUALITIES}
    found: dict[str, str] = {}
    if marks["accuracy"] & _PUBLISHED:
        found["classes.benchmark"] = (
            "accuracy at a published benchmark stands for accuracy in a class of queries: "
            + ", ".join(f"{one.benchmark or facts.DEFAULT_BENCHMARK} for {one.name}" for one in document.classes)
        )
    if marks["hallucination"] & _PUBLISHED:
        found["variants.hallucination"] = (
            f"a proxy: {facts.PROXY}; the same for every class, and divided as accuracy is for compressed models"
        )
    if "assumption" in marks["accuracy"]:
        found["variants.accuracy"] = (
            "of compressed models without a published number: what the whole model has above guessing, divided by the "
            "ratio of their perplexities"
        )
    if any(one.difficulty for one in document.classes):
        found["classes.difficulty"] = (
            "the odds of a right answer fall by exp(difficulty), and those of a hallucination rise by it (Rasch 1960)"
        )
    for i, group in enumerate(document.devices):
        rows = [one for _, row in group_answers(document, scenario.catalog, i, variants(document, scenario.catalog))
                for one in row]  # fmt: skip
        text = next((one.source for one in rows if "(assumption)" in one.source), None)
        if group.power is None and text is not None:
            found[f"devices.{i}.power"] = f"power while answering {text.partition('power: ')[2]}"
    return found


def _models(scenario: Scenario) -> Iterator[tuple[str, Compact]]:
    """Variants and what servers answer with, by the paths that tables give them."""
    document = rollout_document(scenario)
    for one in variants(document, scenario.catalog):
        yield f"variants.{one.name}", one
    for group, one in zip(document.servers, served(document, scenario.catalog), strict=True):
        yield f"servers.{member_names(group.name, group.device, group.count, 'server')[0]}.{one.name}", one


# ---- numbers --------------------------------------------------------------------------------------------------------


def numbers(scenario: Scenario) -> list[Number]:
    """The table behind `Scenario.table`."""
    document, rows = rollout_document(scenario), list[Number]()
    for section in ("variants", "classes", "devices", "servers"):
        groups = getattr(document, section)
        left_out = _NO_NUMBERS | _SHARES if section != "classes" else _NO_NUMBERS
        for i, group in enumerate(groups):
            where = section if len(groups) == 1 else f"{section}.{i}"
            rows += section_numbers(SCHEMA, document, group, (section,), where, _CHOICES, left_out)
            rows += _by_name(document, group, section, where)
    for name in dict.fromkeys(one.model.base for _, one in _models(scenario)):
        rows += model_numbers(scenario.catalog, name)
    rows += _devices(scenario)
    for name in ("network", "metrics", "weights", "limits"):
        left_out = _NO_NUMBERS | _SHARES if name == "metrics" else _NO_NUMBERS
        rows += section_numbers(SCHEMA, document, getattr(document, name), (name,), name, _CHOICES, left_out)
    assumed = implied_assumptions(scenario)
    return [_marked(row, assumed) for row in rows] + list(_derived(scenario))


_UNITS: Final = {
    "queries": "1/s", "speed": "token/s", "prompt_speed": "token/s", "energy_per_token": "J/token",
    "uplink_to": "bit/s", "downlink_from": "bit/s",
}  # fmt: skip


def _by_name(document: Document, group: object, section: str, where: str) -> Iterator[Number]:
    """Numbers of single variants, classes and servers."""
    for key, unit in _UNITS.items():
        given = getattr(group, key, None)
        if not isinstance(given, dict):
            if isinstance(given, float):
                yield Number(f"{where}.{key}", given, unit, shown(given, unit), *_origin(document, section, where, key))
            continue
        for name, value in given.items():
            plain = list(value) if isinstance(value, tuple) else value
            yield Number(
                f"{where}.{key}.{name}", plain, unit, shown(value, unit), *_origin(document, section, where, key)
            )


def _origin(document: Document, section: str, where: str, key: str) -> tuple[str, str]:
    """(source, mark) of a number of the file."""
    for path in (f"{where}.{key}", f"{section}.{key}"):
        if path in document.sources:
            return document.sources[path], "cited"
        if path in document.assumptions:
            return "file", "assumption"
    return "file", "file"


def _marked(row: Number, assumed: dict[str, str]) -> Number:
    """Defaults that are assumptions are marked as such."""
    general = re.sub(r"\.\d+\.", ".", row.path)
    return dataclasses.replace(row, mark="assumption") if {row.path, general} & assumed.keys() else row


def _devices(scenario: Scenario) -> list[Number]:
    """What the catalog says of devices and of frameworks on them."""
    document, rows = rollout_document(scenario), list[Number]()
    told: set[tuple[str, str]] = set()
    used: list[tuple[DeviceGroup | ServerGroup, str]] = [
        (group, name) for group in document.devices for name in group.device
    ]
    for group, name in [*used, *((one, one.device) for one in document.servers)]:
        wanted = [("flops_per_s", "FLOP/s"), ("memory_bandwidth_bytes_per_s", "B/s")]
        wanted += [("memory_bytes", "B")] if group.memory is None else []
        wanted += [("power_w", "W")] if group.power is None else []
        fresh = [(field, unit) for field, unit in wanted if (name, field) not in told]
        told |= {(name, field) for field, _ in fresh}
        rows += device_numbers(scenario.catalog, name, fresh)
    return rows


def _derived(scenario: Scenario) -> Iterator[Number]:
    """What follows: sizes, accuracy and speed of the variants, what queries take of servers, the reference."""
    document = rollout_document(scenario)
    problem: Deployment = scenario.problem()
    context = longest_context(document.classes)
    for where, one in _models(scenario):
        yield from _of_model(document, where, one, context)
    first = 0
    for i, group in enumerate(document.devices):
        own = slice(first, first + group.count)
        first += group.count
        where = f"fleet.{group.name or device_base(i, len(document.devices))}"
        yield _spread(
            f"{where}.memory_bytes", problem.device_memory_bytes[own], "B", "memory_share x (memory - memory_reserved)"
        )
        yield _spread(
            f"{where}.query_rate_per_s", problem.query_rate_per_s[own].sum(axis=1), "1/s", "activity x rates of classes"
        )
    yield from _speeds(scenario)
    yield from _served(scenario)
    given = document.weights.reference.model_dump(exclude_none=True) if document.weights.reference else {}
    for term, amount in (problem.weights.reference or {}).items():
        from_file = term in given
        yield Number(
            f"weights.reference.{term}", amount, TERMS[term], format_si(amount, TERMS[term], 4),
            "file" if from_file else "average of the fastest answer to every query, whatever its limits",
            "file" if from_file else "derived",
        )  # fmt: skip


def _speeds(scenario: Scenario) -> Iterator[Number]:
    """How fast every kind of device answers with every variant, once for groups that say nothing else."""
    from edgealloc.scenarios.builders.deployment import group_answers

    document = rollout_document(scenario)
    models = variants(document, scenario.catalog)
    told: set[tuple[str, str, str]] = set()
    for i, group in enumerate(document.devices):
        own = bool(group.speed or group.prompt_speed or group.energy_per_token or group.power)
        for entry, row in group_answers(document, scenario.catalog, i, models):
            name = group.name or device_base(i, len(document.devices))
            at = f"fleet.{name}.{entry.name}" if own else f"speed.{entry.name}"
            for model, one in zip(models, row, strict=True):
                key = (at, one.framework, model.name)
                if key in told or (group.variants is not None and model.name not in group.variants):
                    continue
                told.add(key)
                path = f"{at}.{model.name}"
                if one.reason:
                    yield Number(path, None, "token/s", "cannot run", one.reason, "derived")
                else:
                    text = f"{one.framework}, {one.power_w:.3g} W, {one.origin}: {one.source}"
                    shown_speed = f"{one.tokens_per_s:.3g} token/s"
                    yield Number(path, one.tokens_per_s, "token/s", shown_speed, text, one.mark)


def _served(scenario: Scenario) -> Iterator[Number]:
    """How many queries a server answers."""
    from edgealloc.scenarios.builders.deployment import server_answers

    document = rollout_document(scenario)
    for group, (model, one) in zip(document.servers, server_answers(document, scenario.catalog), strict=True):
        name = member_names(group.name, group.device, group.count, "server")[0]
        for busy, query in zip(one.busy_s.tolist(), document.classes, strict=True):
            text = f"at full load with {model.name}, {one.framework}, {one.power_w:.3g} W, {one.origin}: {one.source}"
            path = f"servers.{name}.queries_per_s.{query.name}"
            yield Number(path, 1.0 / busy, "1/s", f"{1.0 / busy:.3g}/s", text, one.mark)


def _of_model(document: Document, where: str, one: Compact, context: int) -> Iterator[Number]:
    """Size and quality of a variant, or of what a server answers with."""
    yield Number(f"{where}.size", one.size.value, "B", format_si(one.size.value, "B", 4), one.size.source,
                 one.size.mark)  # fmt: skip
    memory = one.memory_bytes(context)
    yield Number(f"{where}.memory_bytes", memory, "B", format_si(memory, "B", 4),
                 f"with keys and values of {context} tokens", "derived")  # fmt: skip
    if one.perplexity is not None:
        yield Number(f"{where}.perplexity", one.perplexity.value, "", f"{one.perplexity.value:.4g}",
                     one.perplexity.source, one.perplexity.mark)  # fmt: skip
    for key in ("accuracy", "hallucination"):
        alike = len(set(one.quality[key])) == 1
        for query, known in zip(document.classes, one.quality[key], strict=True):
            path = f"{where}.{key}" if alike else f"{where}.{key}.{query.name}"
            yield Number(path, known.value, "", f"{known.value:.4g}", known.source, known.mark)
            if alike:
                break


def _spread(path: str, values: FloatArray, unit: str, source: str) -> Number:
    """A number, or the lowest and the highest of several."""
    low, high = float(values.min()), float(values.max())
    texts = [shown(one, unit) if unit == "1/s" else format_si(one, unit, 4) for one in (low, high)]
    alone = low == high
    text = texts[0] if alone else " to ".join(texts)
    return Number(path, low if alone else [low, high], unit, text, source, "derived")


# ---- words ----------------------------------------------------------------------------------------------------------


def headline(scenario: Scenario) -> str:
    """Who, where, which models, in one line."""
    document = rollout_document(scenario)
    models = list(dict.fromkeys(table.model for table in document.variants))
    devices = sum(group.count for group in document.devices)
    servers = sum(one.count for one in document.servers)
    beside = f" beside {format_count(servers, 'edge server')}" if servers else ""
    formats = sum(len(table.formats) for table in document.variants)
    return (
        f"{scenario.name or 'scenario'}: {format_count(devices, 'device')}{beside}, "
        f"{format_count(formats, 'variant')} of {', '.join(models)}, "
        f"{format_count(len(document.classes), 'class')} of queries"
    )


def limit_lines(scenario: Scenario, problem: Deployment) -> list[str]:
    """The limits in words, and who can run nothing."""
    document = rollout_document(scenario)
    lines = [f"memory for a model: {_range(problem.device_memory_bytes, 'B')} per device; variants take "
             f"{_range(problem.memory_bytes, 'B')}"]  # fmt: skip
    for one in document.classes:
        said = [
            *([f"answered within {format_time(one.deadline)}"] if one.deadline not in (None, np.inf) else []),
            *([f"accuracy at least {one.accuracy_floor:g}"] if one.accuracy_floor > 0.0 else []),
            *([f"hallucination at most {one.hallucination_ceiling:g}"] if one.hallucination_ceiling < 1.0 else []),
        ]
        if said:
            lines.append(f"{one.name}: {', '.join(said)}")
    if problem.servers:
        lines.append(f"a server is busy at most {_shares(problem.load_limit)} of the time")
        if problem.airtime_limit is not None and np.isfinite(problem.airtime_limit).any():
            finite = problem.airtime_limit[np.isfinite(problem.airtime_limit)]
            of = "" if len(finite) == problem.servers else f" ({len(finite)} of {problem.servers})"
            lines.append(f"a cell transmits at most {_shares(finite)} of the time{of}")
    limits = document.limits
    for value, words in (
        (None if limits.energy in (None, np.inf) else format_si(float(limits.energy or 0.0), "J"),
         "the average query takes at most {}"),
        (limits.hallucination, "the average hallucination rate is at most {}"),
        (limits.accuracy, "the average accuracy is at least {}"),
        (limits.accessibility, "the share of devices with a variant of usable speed is at least {}"),
    ):  # fmt: skip
        if value is not None:
            lines.append(words.format(value if isinstance(value, str) else f"{value:g}"))
    if np.isfinite(problem.device_load_limit):
        lines.append(f"a device answers at most {problem.device_load_limit:g} of the time")
    lines.append(f"access: a variant that answers at {document.metrics.usable_speed:g} token/s or faster")
    return lines + _bare(document, problem)


def _bare(document: Document, problem: Deployment) -> list[str]:
    """Groups of devices that can run nothing."""
    lines, first = [], 0
    able = np.asarray(problem.options.installable[:, 1:].any(axis=1))
    for i, group in enumerate(document.devices):
        own = slice(first, first + group.count)
        first += group.count
        count = int((~able[own]).sum())
        if count:
            name = group.name or device_base(i, len(document.devices))
            of = "" if count == group.count else f" of {group.count}"
            lines.append(f"{name}: {format_count(count, 'device')}{of} can run no variant at all")
    return lines


def _range(values: FloatArray, unit: str) -> str:
    low, high = (format_si(float(one), unit) for one in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _shares(values: FloatArray) -> str:
    low, high = f"{float(values.min()):g}", f"{float(values.max()):g}"
    return low if low == high else f"{low} to {high}"


def reference_lines(scenario: Scenario, problem: Deployment) -> list[str]:
    """What the weights are relative to."""
    reference = problem.weights.reference or {}
    declared = rollout_document(scenario).weights.reference
    given = {} if declared is None else declared.model_dump(exclude_none=True)
    amounts = f"{format_time(reference['delay'])} and {format_si(reference['energy'], 'J', 4)}"
    if {"delay", "energy"} <= given.keys():
        return [f"weights are relative to weights.reference: {amounts}, as the file says"]
    part = f" (the file's own {next(iter(given))})" if given else ""
    return [
        f"weights are relative to weights.reference: {amounts}{part}, average time and energy of the fastest",
        "answer to every query, whatever its limits; the other weights are per unit of a share",
    ]


def entries(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Catalog entries that the scenario uses: models, devices."""
    document = rollout_document(scenario)
    models = [table.model for table in document.variants] + [one.model for one in document.servers]
    devices = [name for group in document.devices for name in group.device]
    return models, devices + [one.device for one in document.servers]
