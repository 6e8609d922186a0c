"""Every number of a pool-training scenario with its unit, where it is from, and how well it is known."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Final, cast

from edgealloc.core.weights import TERMS
from edgealloc.scenarios.names import member_names
from edgealloc.scenarios.pool_training.schema import (
    DEFAULT_IDLE_SHARE,
    DEFAULT_MEMORY_SHARE,
    DEFAULT_UTILISATION,
    SCHEMA,
    DeviceGroup,
    Document,
)
from edgealloc.scenarios.report import Number, device_numbers, model_numbers, section_numbers, training_words
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining
    from edgealloc.scenarios.scenario import Scenario

__all__ = [
    "device_count",
    "entries",
    "headline",
    "implied_assumptions",
    "limit_lines",
    "numbers",
    "pool_document",
    "reference_lines",
]

#: keys that are decided, not known: they need no source
_CHOICES: Final = frozenset(
    {
        "training", "lora_rank", "batch", "micro_batches", "tokens", "precision", "optimizer_states",
        "fused_attention", "recompute", "count_head", "count", "delay", "energy", "deadline", "parallelisms", "kind",
        "one_way", "metric", "access_point",
    }
)  # fmt: skip
#: keys that carry no number
_NO_NUMBERS: Final = frozenset({"name", "device", "lora_targets", "reference", "links", "relays", "a", "b", "medium"})
#: keys that nothing reads where every parameter is trained
_OF_ADAPTERS: Final = frozenset({"model.lora_rank", "model.lora_targets"})
#: defaults that are no facts: why they are what they are
_ASSUMED: Final = {
    "utilisation": f"{DEFAULT_UTILISATION:g} of the peak rate is edgealloc's default; measure it, or give flops_per_s",
    "memory_share": f"{DEFAULT_MEMORY_SHARE:g} of the memory is edgealloc's default; measure what training may use",
    "idle_share": f"the catalog knows no idle power: {DEFAULT_IDLE_SHARE:g} of the power while training is edgealloc's "
    "default; measure it, or give idle_power",
}


def pool_document(scenario: Scenario) -> Document:
    """The declaration of a pool-training scenario."""
    return cast(Document, scenario.document)


def device_count(scenario: Scenario) -> int:
    """D."""
    return sum(group.count for group in pool_document(scenario).devices)


def implied_assumptions(scenario: Scenario) -> dict[str, str]:
    """Defaults that the pool depends on and that nobody has measured: path of a key -> reason."""
    document = pool_document(scenario)
    several = len(document.devices) > 1
    found: dict[str, str] = {}
    for i, group in enumerate(document.devices):
        for key, reason in _ASSUMED.items():
            where = f"devices.{i}.{key}" if several else f"devices.{key}"
            said = {f"devices.{key}", f"devices.{i}.{key}"} & (document.assumptions.keys() | document.sources.keys())
            if key not in group.model_fields_set and not said and _read(scenario, group, key):
                found[where] = reason
    if len(found) > 1 and several:  # one line for a default that every group has
        for key, reason in _ASSUMED.items():
            paths = [f"devices.{i}.{key}" for i in range(len(document.devices))]
            if all(path in found for path in paths):
                for path in paths:
                    del found[path]
                found[f"devices.{key}"] = reason
    return found


def _read(scenario: Scenario, group: DeviceGroup, key: str) -> bool:
    """Something depends on a key of a group."""
    if key == "utilisation":
        return group.flops_per_s is None
    if key == "idle_share":
        known = None if group.device is None else scenario.catalog.device(group.device).idle_power_w
        return group.idle_power is None and known is None
    return True


def numbers(scenario: Scenario) -> list[Number]:
    """The table behind `Scenario.table`."""
    document = pool_document(scenario)
    rows = list(section_numbers(SCHEMA, document, document.model, ("model",), "model", _CHOICES, _NO_NUMBERS))
    if document.model.training == "full":
        rows = [row for row in rows if row.path not in _OF_ADAPTERS]
    rows += model_numbers(scenario.catalog, document.model.name)
    rows += _devices(scenario)
    rows += section_numbers(SCHEMA, document, document.network, ("network",), "network", _CHOICES, _NO_NUMBERS)
    for k, link in enumerate(document.network.links):
        where = f"network.links.{k}"
        rows += section_numbers(SCHEMA, document, link, ("network", "links"), where, _CHOICES, _NO_NUMBERS)
    for name in ("weights", "limits"):
        section = getattr(document, name)
        left_out = _NO_NUMBERS | {"parallelisms"}
        rows += section_numbers(SCHEMA, document, section, (name,), name, _CHOICES, left_out)
    if document.carbon_g_per_kwh is not None:
        every_other = frozenset(type(document).model_fields) - {"carbon_g_per_kwh"}
        for row in section_numbers(SCHEMA, document, document, (), "", _CHOICES, every_other):
            shown = f"{document.carbon_g_per_kwh:g} g/kWh"
            rows.append(dataclasses.replace(row, unit="g/kWh", shown=shown))
    assumed = implied_assumptions(scenario)
    rows = [_marked(_with_unit(row), assumed) for row in rows]
    return rows + _derived(scenario)


def _with_unit(row: Number) -> Number:
    """Units that the parser of quantities does not know."""
    if not row.path.endswith(".joules_per_byte"):
        return row
    return dataclasses.replace(row, unit="J/B", shown=f"{row.value:g} J/B")


def _marked(row: Number, assumed: dict[str, str]) -> Number:
    general = re.sub(r"\.\d+\.", ".", row.path)
    return dataclasses.replace(row, mark="assumption") if {row.path, general} & assumed.keys() else row


def _devices(scenario: Scenario) -> list[Number]:
    document, rows = pool_document(scenario), list[Number]()
    told: set[tuple[str, str]] = set()
    for i, group in enumerate(document.devices):
        where = "devices" if len(document.devices) == 1 else f"devices.{i}"
        unread = frozenset(key for key in _ASSUMED if not _read(scenario, group, key))
        rows += section_numbers(SCHEMA, document, group, ("devices",), where, _CHOICES, _NO_NUMBERS | unread)
        if group.device is None:
            continue
        wanted = [
            field
            for key, field in (
                ("flops_per_s", ("flops_per_s", "FLOP/s")),
                ("memory", ("memory_bytes", "B")),
                ("busy_power", ("power_w", "W")),
                ("idle_power", ("idle_power_w", "W")),
            )
            if getattr(group, key) is None
            and getattr(scenario.catalog.device(group.device), field[0]) is not None
            and (group.device, field[0]) not in told
        ]
        told |= {(group.device, field) for field, _ in wanted}
        rows += device_numbers(scenario.catalog, group.device, wanted)
    return rows


def _derived(scenario: Scenario) -> list[Number]:
    """What follows: each group's devices as the problem sees them, the model's size, the reference."""
    document = pool_document(scenario)
    problem: PoolTraining = scenario.problem()
    rows: list[Number] = []

    def add(path: str, value: float, unit: str, source: str, mark: str = "derived") -> None:
        shown = format_si(value, unit, 4) if unit else f"{value:.4g}"
        rows.append(Number(path, value, unit, shown, source, mark))

    first = 0
    assumed = implied_assumptions(scenario)
    for i, group in enumerate(document.devices):
        name = member_names(group.name, group.device, group.count, "device")[0]
        rate = "measured" if group.flops_per_s is not None else "utilisation x peak rate"
        add(f"pool.{name}.flops_per_s", float(problem.flops_per_s[first]), "FLOP/s", rate)
        room = "memory_share x (memory - memory_reserved)"
        add(f"pool.{name}.memory_bytes", float(problem.memory_bytes[first]), "B", room)
        if _read(scenario, group, "idle_share"):
            mark = "assumption" if {f"devices.{i}.idle_share", "devices.idle_share"} & assumed.keys() else "derived"
            add(f"pool.{name}.idle_power_w", float(problem.idle_power_w[first]), "W", "idle_share x busy_power", mark)
        first += group.count
    whole = float(problem.state_bytes.sum()) - problem.tied_state_bytes
    work = problem.batch * float((problem.forward_flops + problem.backward_flops).sum())
    add("model.layers", problem.layers, "", "layers in the order of the pipeline")
    add("model.state_bytes", whole, "B", "weights, gradients, optimiser states")
    add("model.activation_bytes", problem.batch * float(problem.activation_bytes.sum()), "B", "of the whole batch")
    add("model.flops", work, "FLOP", "of an iteration")
    boundary = "per sequence from layer to layer"
    if scenario.catalog.model(document.model.name).transformer().encoder_decoder:
        boundary += ", the average: in the decoder the encoder's output goes along"
    add("model.boundary_bytes", problem.boundary_bytes, "B", boundary)
    add("model.gradient_bytes", float(problem.gradient_bytes.sum()) + problem.tied_bytes, "B", "that replicas exchange")
    given = document.weights.reference.model_dump(exclude_none=True) if document.weights.reference else {}
    for term, amount in (problem.weights.reference or {}).items():
        from_file = term in given
        source = "file" if from_file else "iteration on the fastest device alone, whatever its memory"
        add(f"weights.reference.{term}", amount, TERMS[term], source, "file" if from_file else "derived")
    return rows


# ---- words --------------------------------------------------------------------------------------------------------

_NETWORKS: Final = {
    "wifi": "one Wi-Fi channel",
    "switch": "a switch",
    "line": "a line",
    "mesh": "a mesh",
    "links": "given links",
}


def headline(scenario: Scenario) -> str:
    """Who, where, which model, in one line."""
    document = pool_document(scenario)
    count, rate = device_count(scenario), document.network.rate
    network = _NETWORKS[document.network.kind]
    if document.network.kind == "links":
        network = f"{len(document.network.links)} {network}"
    elif rate is not None:
        network += f" at {format_si(rate, 'bit/s')}"
    return (
        f"{scenario.name or 'scenario'}: {count} device{'s' if count > 1 else ''} on {network}, "
        f"{document.model.name} ({training_words(document.model)})"
    )


def limit_lines(scenario: Scenario, problem: PoolTraining) -> list[str]:
    """The limits in words."""
    document = pool_document(scenario)
    low, high = (format_si(float(one), "B") for one in (problem.memory_bytes.min(), problem.memory_bytes.max()))
    overhead = float(problem.overhead_bytes.max())
    framework = f", of which framework and working buffers take {format_si(overhead, 'B')}" if overhead else ""
    lines = [f"memory for training: {low if low == high else f'{low} to {high}'} per device{framework}"]
    if document.limits.deadline is not None:
        lines.append(f"an iteration takes at most {format_si(document.limits.deadline, 's')}")
    if document.limits.parallelisms is not None:
        lines.append(f"parallelisms: {', '.join(problem.parallelisms)} only")
    return lines


def reference_lines(scenario: Scenario, problem: PoolTraining) -> list[str]:
    """What the weights are relative to."""
    from edgealloc.scenarios.builders.pool_training import fastest_alone

    reference = problem.weights.reference or {}
    declared = pool_document(scenario).weights.reference
    given = {} if declared is None else declared.model_dump(exclude_none=True)
    amounts = " and ".join(format_si(reference[term], TERMS[term], 4) for term in ("delay", "energy"))
    if {"delay", "energy"} <= given.keys():
        return [f"weights are relative to weights.reference: {amounts}, as the file says"]
    device, _, _ = fastest_alone(problem)
    part = f" (the file's own {next(iter(given))})" if given else ""
    return [
        f"weights are relative to weights.reference: {amounts}{part}, an iteration on the fastest device alone,",
        f"'{problem.device_names[device]}', as if the model fitted into its memory",
    ]


def entries(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Catalog entries that the scenario uses: models, devices."""
    document: Any = pool_document(scenario)
    return [document.model.name], [group.device for group in document.devices if group.device is not None]
