"""Every number of a fine-tuning scenario with its unit, where it is from, and how well it is known."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import numpy.typing as npt

from edgealloc.catalog.tuning_facts import steps_rows
from edgealloc.core.weights import TERMS
from edgealloc.scenarios.fine_tuning.names import job_base, member_names
from edgealloc.scenarios.fine_tuning.schema import (
    DEFAULT_DEVICE_SHARE,
    DEFAULT_SERVER_SHARE,
    DEFAULT_UTILISATION,
    EPOCHS,
    SCHEMA,
    ZEROTH_ORDER_STEPS,
    Document,
    JobGroup,
    ServerGroup,
)
from edgealloc.scenarios.fine_tuning.settings import group_model, method_tables, steps_of
from edgealloc.scenarios.report import Number, device_numbers, model_numbers, section_numbers
from edgealloc.units import format_count, format_si, format_time

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning
    from edgealloc.scenarios.builders.fine_tuning import Setting
    from edgealloc.scenarios.scenario import Scenario

__all__ = [
    "entries",
    "fleet_document",
    "headline",
    "implied_assumptions",
    "limit_lines",
    "numbers",
    "reference_lines",
]

FloatArray = npt.NDArray[np.float64]

#: keys that are decided, not known: they need no source
_CHOICES: Final = frozenset(
    {
        "batch", "tokens", "optimizer_states", "checkpointing", "fused_attention", "rank", "bottleneck",
        "virtual_tokens", "blocks", "precision", "count", "accelerators", "slots", "horizon", "rounds", "quality_floor",
        "deadline", "place", "delay", "energy", "convention",
    }
)  # fmt: skip
#: keys that carry no number, or whose numbers are told elsewhere
_NO_NUMBERS: Final = frozenset(
    {
        "name", "method", "model", "device", "targets", "reference", "task", "quality_model", "quality", "steps_of",
        "uplink_to", "downlink_from",
    }
)  # fmt: skip
#: defaults that were published: key -> (default, row of the published steps, its field)
_PUBLISHED: Final = {
    "epochs": (EPOCHS, "mezo-opt-ft-steps", "examples"),
    "zeroth_order_steps": (ZEROTH_ORDER_STEPS, "mezo-opt-30b-ratio", "steps_ratio"),
}
_UTILISATION: Final = f"{DEFAULT_UTILISATION:g} of the peak rate is edgealloc's default; measure it, or give the rate"
#: defaults that are no facts: why they are what they are
_ASSUMED: Final = {
    "model.memory_overhead": "0: framework and buffers are not counted; measure them and put your number here",
    "model.bytes_per_token": "4 B: a token of training data is sent as one 32-bit index",
    "jobs.utilisation": _UTILISATION,
    "jobs.memory_share": f"{DEFAULT_DEVICE_SHARE:g} of the memory is edgealloc's default; measure what is left",
    "servers.utilisation": _UTILISATION,
    "servers.memory_share": f"{DEFAULT_SERVER_SHARE:g} of the memory is edgealloc's default",
    "radio.transmit_power": "0: the energy of sending is not counted; give the power of a device while it sends",
}


def fleet_document(scenario: Scenario) -> Document:
    """The declaration of a fine-tuning scenario."""
    return cast(Document, scenario.document)


# ---- assumptions ----------------------------------------------------------------------------------------------------


def implied_assumptions(scenario: Scenario) -> dict[str, str]:
    """Defaults that the fleet depends on and that nobody has measured: path of a key -> reason."""
    document = fleet_document(scenario)
    said = document.assumptions.keys() | document.sources.keys()
    found: dict[str, str] = {}
    for path, reason in _ASSUMED.items():
        section, key = path.split(".")
        groups = getattr(document, section)
        if not isinstance(groups, tuple):
            if key not in groups.model_fields_set and path not in said and _counts(document, key):
                found[path] = reason
            continue
        missing = [
            i
            for i, group in enumerate(groups)
            if key not in group.model_fields_set
            and not {path, f"{section}.{i}.{key}"} & said
            and not (key == "utilisation" and group.flops_per_s is not None)
        ]
        if missing and len(missing) == len(groups):
            found[path] = reason
        else:
            found |= {f"{section}.{i}.{key}": reason for i in missing}
    return found | _taken_over(document, said)


def _counts(document: Document, key: str) -> bool:
    """Something depends on a default of [model] or [radio]."""
    if key == "transmit_power":
        return bool(document.servers) and any(group.transmit_power is None for group in document.jobs)
    if key == "bytes_per_token":
        return bool(document.servers) and any(group.data is None and group.place != "device" for group in document.jobs)
    return True


def _taken_over(document: Document, said: set[str]) -> dict[str, str]:
    """Qualities and steps that were published for something else than what is trained here."""
    found: dict[str, str] = {}
    for i, group in enumerate(document.jobs):
        model, other = group_model(document, group), group.quality_model
        path = f"jobs.{i}.quality_model"
        if group.task is not None and other not in (None, model) and not {path, "jobs.quality_model"} & said:
            found[path] = f"{model} is taken to reach on {group.task} what was published for {other}"
    return found


# ---- numbers --------------------------------------------------------------------------------------------------------


def numbers(scenario: Scenario) -> list[Number]:
    """The table behind `Scenario.table`."""
    document, rows = fleet_document(scenario), list[Number]()
    rows += section_numbers(SCHEMA, document, document.model, ("model",), "model", _CHOICES, _NO_NUMBERS)
    for name in dict.fromkeys(group_model(document, group) for group in document.jobs):
        rows += model_numbers(scenario.catalog, name)
    for section in ("methods", "jobs", "servers"):
        groups = getattr(document, section)
        for i, group in enumerate(groups):
            where = section if len(groups) == 1 else f"{section}.{i}"
            rows += section_numbers(SCHEMA, document, group, (section,), where, _CHOICES, _NO_NUMBERS)
            rows += _single_rates(document, group, where) if section == "jobs" else ()
    rows += _devices(scenario)
    for name in ("radio", "weights", "limits"):
        choices = _CHOICES | {"quality"} if name == "weights" else _CHOICES
        left_out = _NO_NUMBERS - {"quality"}
        rows += section_numbers(SCHEMA, document, getattr(document, name), (name,), name, choices, left_out)
    assumed = implied_assumptions(scenario)
    return [_marked(row, assumed) for row in rows] + _derived(scenario)


def _single_rates(document: Document, group: JobGroup, where: str) -> list[Number]:
    """Rates to and from single servers."""
    from edgealloc.scenarios.report import shown

    rows = []
    for key in ("uplink_to", "downlink_from"):
        general = re.sub(r"\.\d+$", "", where)
        mark = "assumption" if {f"{where}.{key}", f"{general}.{key}"} & document.assumptions.keys() else "file"
        for name, rate in getattr(group, key).items():
            value = list(rate) if isinstance(rate, tuple) else rate
            rows.append(Number(f"{where}.{key}.{name}", value, "bit/s", shown(rate, "bit/s"), "file", mark))
    return rows


def _marked(row: Number, assumed: dict[str, str]) -> Number:
    """Defaults are marked as what they are: published, or assumptions."""
    key = row.path.split(".")[-1]
    if key in _PUBLISHED and row.mark == "default" and row.value == _PUBLISHED[key][0]:
        _, name, field = _PUBLISHED[key]
        fact = next(one for one in steps_rows() if one.name == name)
        return dataclasses.replace(row, mark=fact.mark(field), source=f"{fact.source}: {fact.setting}")
    general = re.sub(r"\.\d+\.", ".", row.path)
    return dataclasses.replace(row, mark="assumption") if {row.path, general} & assumed.keys() else row


def _devices(scenario: Scenario) -> list[Number]:
    """What the catalog says of the devices, where the file gives no number of its own."""
    document, rows = fleet_document(scenario), list[Number]()
    told: set[tuple[str, str]] = set()
    used: list[tuple[JobGroup | ServerGroup, str]] = [
        (group, name) for group in document.jobs for name in group.device or ()
    ]
    used += [(one, name) for one in document.servers if (name := one.device) is not None]
    for group, name in used:
        wanted = [
            field
            for key, field in (
                ("flops_per_s", ("flops_per_s", "FLOP/s")),
                ("memory", ("memory_bytes", "B")),
                ("power", ("power_w", "W")),
            )
            if getattr(group, key) is None and (name, field[0]) not in told
        ]
        told |= {(name, field) for field, _ in wanted}
        rows += device_numbers(scenario.catalog, name, wanted)
    return rows


def _derived(scenario: Scenario) -> list[Number]:
    """What follows: what each method takes from the jobs of each group, the servers as the problem sees them."""
    from edgealloc.scenarios.builders.fine_tuning import settings

    document = fleet_document(scenario)
    problem: FineTuning = scenario.problem()
    rows: list[Number] = []
    first = 0
    for i, row in enumerate(settings(document, scenario.catalog)):
        group = document.jobs[i]
        own = slice(first, first + group.count)
        first += group.count
        where = f"fleet.{group.name or job_base(i, len(document.jobs))}"
        rows.append(
            _spread(
                f"{where}.flops_per_s",
                problem.device_flops_per_s[own],
                "FLOP/s",
                "measured" if group.flops_per_s is not None else "utilisation x peak rate",
            )
        )
        rows.append(
            _spread(
                f"{where}.memory_bytes",
                problem.device_memory_bytes[own],
                "B",
                "memory_share x (memory - memory_reserved)",
            )
        )
        rows.append(
            _spread(
                f"{where}.data_bytes",
                problem.data_bytes[own],
                "B",
                "file" if group.data is not None else "samples x tokens x bytes_per_token",
            )
        )
        for k, setting in enumerate(row):
            rows += _of_method(document, i, k, setting, f"{where}.{setting.tuning.name}")
    first = 0
    for server in document.servers:
        name = member_names(server.name, server.device, server.count, "server")[0]
        rate = float(problem.server_flops_per_s[first])
        memory = float(problem.server_memory_bytes[first])
        rows.append(_spread(f"servers.{name}.flops_per_s", np.array([rate]), "FLOP/s", "for each of its slots"))
        rows.append(_spread(f"servers.{name}.memory_bytes", np.array([memory]), "B", "for all of its jobs together"))
        first += server.count
    given = document.weights.reference.model_dump(exclude_none=True) if document.weights.reference else {}
    for term, amount in (problem.weights.reference or {}).items():
        from_file = term in given
        rows.append(
            Number(
                f"weights.reference.{term}",
                amount,
                TERMS[term],
                format_si(amount, TERMS[term], 4),
                "file" if from_file else "average of the fastest option of every job, whatever its limits",
                "file" if from_file else "derived",
            )
        )
    return rows


def _spread(path: str, values: FloatArray, unit: str, source: str) -> Number:
    """A number, or the lowest and the highest of several."""
    low, high = float(values.min()), float(values.max())
    texts = [format_si(one, unit, 4) if unit else f"{one:.0f}" for one in (low, high)]
    alone = low == high
    return Number(
        path, low if alone else [low, high], unit, texts[0] if alone else " to ".join(texts), source, "derived"
    )


def _of_method(document: Document, i: int, k: int, setting: Setting, path: str) -> list[Number]:
    from edgealloc.scenarios.builders.fine_tuning import group_samples

    if setting.reason:
        return [Number(path, None, "", "cannot be used", setting.reason, "derived")]
    words = ", ".join(f"{name} {format_si(value, 'B')}" for name, value in setting.memory.items() if value)
    steps = steps_of(document, document.jobs[i], method_tables(document)[k], setting.tuning, group_samples(document, i))
    quality = setting.quality
    return [
        _spread(f"{path}.memory_bytes", np.array([setting.memory_bytes]), "B", words),
        _spread(f"{path}.trained", np.array([float(setting.trainable)]), "", "parameters that are trained"),
        _spread(f"{path}.step_flops", np.array([setting.step_flops]), "FLOP", "of a step"),
        _spread(f"{path}.steps", steps.count, "", steps.rule),
        _spread(f"{path}.result_bytes", np.array([setting.result_bytes]), "B", "what a server returns"),
        Number(
            f"{path}.quality",
            quality.value if quality.mark else None,
            "",
            f"{quality.value:.4g}" if quality.mark else "unknown",
            quality.source,
            quality.mark or "default",
        ),
    ]


# ---- words ----------------------------------------------------------------------------------------------------------


def headline(scenario: Scenario) -> str:
    """Who, where, which models, in one line."""
    document = fleet_document(scenario)
    models = list(dict.fromkeys(group_model(document, group) for group in document.jobs))
    jobs, servers = sum(group.count for group in document.jobs), sum(one.count for one in document.servers)
    beside = f" beside {format_count(servers, 'edge server')}" if servers else ""
    return (
        f"{scenario.name or 'scenario'}: {format_count(jobs, 'job')} on devices{beside}, {', '.join(models)}, "
        f"{format_count(len(method_tables(document)), 'method')}"
    )


def limit_lines(scenario: Scenario, problem: FineTuning) -> list[str]:
    """The limits in words, and what is not known."""
    from edgealloc.scenarios.builders.fine_tuning import settings

    document = fleet_document(scenario)
    lines = [f"memory for training: {_range(problem.device_memory_bytes, 'B')} per device"]
    if problem.servers:
        lines.append(f"memory of a server for all of its jobs: {_range(problem.server_memory_bytes, 'B')}")
    for values, unit, words in (
        (problem.server_busy_s, "s", "computing time of a server (slots x horizon)"),
        (problem.airtime_s, "s", "transmission time in a cell"),
        (problem.deadline_s, "s", "time to the target at most"),
        (problem.energy_limit_j, "J", "energy of a device at most"),
    ):
        if values is not None and np.isfinite(values).any():
            count = int(np.isfinite(values).sum())
            of = "" if count == len(values) else f" ({count} of {len(values)})"
            lines.append(f"{words}: {_range(values[np.isfinite(values)], unit)}{of}")
    floors = problem.quality_floor[problem.quality_floor > 0.0]
    if floors.size:
        low, high = f"{floors.min():g}", f"{floors.max():g}"
        lines.append(
            f"quality at least {low if low == high else f'{low} to {high}'} for {format_count(floors.size, 'job')}"
        )
    for i, row in enumerate(settings(document, scenario.catalog)):
        unknown = [one.tuning.name for one in row if not one.quality.mark and not one.reason]
        name = document.jobs[i].name or job_base(i, len(document.jobs))
        if unknown and len(unknown) == sum(not one.reason for one in row):
            lines.append(f"{name}: nobody has published a quality of these methods for them, so it does not count")
        elif unknown:
            lines.append(f"{name}: quality unknown, and counted as 0, of {', '.join(unknown)}")
    return lines


def _range(values: FloatArray, unit: str) -> str:
    texts = (
        format_time(float(one)) if unit == "s" else format_si(float(one), unit) for one in (values.min(), values.max())
    )
    low, high = texts
    return low if low == high else f"{low} to {high}"


def reference_lines(scenario: Scenario, problem: FineTuning) -> list[str]:
    """What the weights are relative to."""
    reference = problem.weights.reference or {}
    declared = fleet_document(scenario).weights.reference
    given = {} if declared is None else declared.model_dump(exclude_none=True)
    amounts = f"{format_time(reference['delay'])} and {format_si(reference['energy'], 'J', 4)}"
    if {"delay", "energy"} <= given.keys():
        return [f"weights are relative to weights.reference: {amounts}, as the file says"]
    part = f" (the file's own {next(iter(given))})" if given else ""
    return [
        f"weights are relative to weights.reference: {amounts}{part}, average time and energy of the fastest",
        "method and place of every job, whatever its limits; weights.quality is per unit of quality",
    ]


def entries(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Catalog entries that the scenario uses: models, devices."""
    document = fleet_document(scenario)
    models = [group_model(document, group) for group in document.jobs]
    devices = [name for group in document.jobs for name in group.device or ()]
    return models, devices + [one.device for one in document.servers if one.device is not None]
