"""Every number of a split-training scenario with its unit, where it is from, and how well it is known."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

from pydantic import BaseModel

from edgealloc.core.weights import TERMS
from edgealloc.scenarios.builders.limits import RESOURCE_SENSES, deadlines, group_size, server_need, server_room
from edgealloc.scenarios.report import Number, device_numbers, model_numbers, section_numbers, training_words
from edgealloc.scenarios.split_training.schema import SCHEMA, Document
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["entries", "headline", "limit_lines", "numbers", "reference_lines", "split_document"]

#: keys that are decided, not known: they need no source
_CHOICES: Final = frozenset(
    {
        "training",
        "lora_rank",
        "batch",
        "tokens",
        "optimizer_states",
        "fused_attention",
        "recompute",
        "path_loss",
        "shadowing",
        "fading",
        "count_upload_delay",
        "count_head",
        "count",
        "min_local_layers",
        "max_local_layers",
        "energy",
        "delay",
        "stability",
        "model",
        "stability_limit",
        "device_memory",
        "deadline",
        "deadline_penalty",
        "users_max",
        "server_memory",
        "shared_base",
        "resources",
        "delay_over_users",
        "activation_bytes",
        "carrier",
    }
)
#: keys that nothing reads unless limits.server_memory is on
_OF_SERVER_MEMORY: Final = frozenset({"servers.memory", "servers.memory_share", "limits.shared_base"})
#: keys that nothing reads where the memory of devices has no limit, and where nobody's memory has
_OF_DEVICE_MEMORY: Final = frozenset({"users.memory", "users.memory_share", "model.memory_overhead"})
_OF_MEMORY: Final = frozenset({"model.optimizer_states", "model.fused_attention"})
#: keys that nothing reads where every parameter is trained
_OF_ADAPTERS: Final = frozenset({"model.lora_rank", "model.lora_targets"})
#: keys that carry no number: names, places, switches with a catalog number behind them
_NO_NUMBERS: Final = frozenset({"name", "positions", "gain_file", "gain_unit", "lora_targets", "reference"})


def split_document(scenario: Scenario) -> Document:
    """The declaration of a split-training scenario."""
    return cast(Document, scenario.document)


def numbers(scenario: Scenario) -> list[Number]:
    """The table behind `Scenario.table`."""
    document = split_document(scenario)
    rows: list[Number] = []
    for name in ("model", "area", "radio"):
        rows += _section(document, getattr(document, name), (name,), name)
        if name == "model":
            rows += model_numbers(scenario.catalog, document.model.name)
    rows += _groups(scenario, "users")
    rows += _groups(scenario, "servers")
    for name in ("weights", "stability", "limits"):
        rows += _section(document, getattr(document, name), (name,), name)
    if document.limits.server_memory:
        rows += _server_memory(scenario)
    unread = _unread(document)
    rows = [row for row in rows if re.sub(r"\.\d+\.", ".", row.path) not in unread]
    given = document.weights.reference.model_dump(exclude_none=True) if document.weights.reference else {}
    reference = scenario.problem().weights.reference or {}
    for term, amount in reference.items():
        unit = TERMS[term] if TERMS[term] != "1" else ""
        average = "average of the reference allocation"
        if term == "delay" and document.weights.delay_over_users == "max":
            average = "round of the reference allocation / users"
        source, mark = ("file", "file") if term in given else (average, "derived")
        rows.append(
            Number(
                f"weights.reference.{term}",
                amount,
                unit,
                format_si(amount, unit, 4) if unit else f"{amount:.4g}",
                source,
                mark,
            )
        )
    return rows


def _unread(document: Document) -> set[str]:
    """Keys that have a value which nothing depends on."""
    limits = document.limits
    return {
        *(() if limits.server_memory else _OF_SERVER_MEMORY),
        *(() if limits.device_memory else _OF_DEVICE_MEMORY),
        *(() if limits.device_memory or limits.server_memory else _OF_MEMORY),
        *(() if document.model.training == "frozen" else _OF_ADAPTERS),
    }


def _server_memory(scenario: Scenario) -> list[Number]:
    """What one user takes on a server, by the memory model."""
    need = server_need(split_document(scenario), scenario.catalog)
    amounts = {"per_user": need.fixed_bytes, "per_user_and_layer": need.per_layer_bytes, "shared_base": need.base_bytes}
    return [
        Number(f"server_memory.{name}", amount, "B", format_si(amount, "B", 4), "memory model", "derived")
        for name, amount in amounts.items()
        if amount
    ]


def _groups(scenario: Scenario, kind: str) -> Iterator[Number]:
    told: set[tuple[str, str]] = set()
    fields = {
        "flops": ("flops_per_s", "FLOP/s"),
        "clock": ("clock_hz", "Hz"),
        "power": ("power_w", "W"),
        "memory": ("memory_bytes", "B"),
    }
    limits = split_document(scenario).limits
    if not (limits.device_memory if kind == "users" else limits.server_memory):
        del fields["memory"]
    groups = getattr(split_document(scenario), kind)
    for i, group in enumerate(groups):
        where = kind if len(groups) == 1 else f"{kind}.{i}"
        yield from _section(split_document(scenario), group, (kind,), where)
        for name in [group.device] if isinstance(group.device, str) else group.device or ():
            wanted = [
                field for key, field in fields.items() if getattr(group, key) is None and (name, field[0]) not in told
            ]
            told |= {(name, field) for field, _ in wanted}
            yield from device_numbers(scenario.catalog, name, wanted)


def _section(document: Document, section: BaseModel, names: tuple[str, ...], where: str) -> Iterator[Number]:
    return section_numbers(SCHEMA, document, section, names, where, _CHOICES, _NO_NUMBERS)


# ---- limits in words ----------------------------------------------------------------------------------------------


def limit_lines(scenario: Scenario, problem: SplitTraining) -> list[str]:
    """What the limits of a scenario say, one line each, with what is assumed behind them."""
    document = split_document(scenario)
    lines: list[str] = []
    if document.limits.stability_limit is not None:
        lines.append(f"instability: at most {document.limits.stability_limit:g} for every user")
    if document.limits.device_memory:
        lines.append("device memory: the layers of a user fit into its memory_share")
    lines += _deadline_lines(scenario, problem)
    if problem.users_per_server is not None:
        caps = [
            f"{_servers_named(scenario, i)} {'any' if group.users_max is None else group.users_max}"
            for i, group in enumerate(document.servers)
        ]
        lines.append(f"users per server, at most: {', '.join(caps)}")
    if document.limits.server_memory:
        need = server_need(document, scenario.catalog)
        room = [
            f"{_servers_named(scenario, i)} {format_si(server_room(group, scenario.catalog, need), 'B')}"
            for i, group in enumerate(document.servers)
        ]
        lines.append(f"server memory, room for users: {', '.join(room)}")
        lines += [f"  {part}" for part in need.describe().split("; ")]
    if RESOURCE_SENSES[document.limits.resources] == "exactly":
        lines.append("resources: a server that serves somebody hands out all of its bandwidth and clock")
    if document.weights.delay_over_users == "max":
        lines.append("synchronous rounds: only the slowest user's delay counts")
    return lines


def _servers_named(scenario: Scenario, i: int) -> str:
    group = split_document(scenario).servers[i]
    size = group_size(group)
    return f"{group.name or group.device or 'server'}{f' (each of {size})' if size > 1 else ''}"


def _deadline_lines(scenario: Scenario, problem: SplitTraining) -> list[str]:
    seconds, weights = deadlines(split_document(scenario))
    if seconds is None:
        return []
    low, high = (format_si(float(one), "s") for one in (seconds.min(), seconds[seconds < math.inf].max()))
    span = low if low == high else f"{low} to {high}"
    some = int((seconds < math.inf).sum())
    soft = 0 if weights is None else int((weights < math.inf).sum())
    kind = "must be kept" if not soft else "soft" if soft == some else f"{soft} of them soft, the others must be kept"
    lines = [f"deadlines: {span} for {some} of {problem.users} users ({kind}), upload counted"]
    if weights is not None:
        per_second = problem.deadline_penalty_per_s
        prices = sorted(
            {
                f"{price:.4g} of the objective (deadline_penalty {weight:g} / weights.reference.delay)"
                for weight, price in zip(weights.tolist(), per_second.tolist(), strict=True)
                if weight < math.inf
            }
        )
        lines.append(f"  a second late costs {'; '.join(prices)}")
    return lines


# ---- the lines above and below the table --------------------------------------------------------------------------


def entries(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Catalog entries that the scenario uses: models, devices."""
    document = split_document(scenario)
    devices = [name for group in document.users for name in group.device or ()]
    devices += [group.device for group in document.servers if group.device is not None]
    return [document.model.name], devices


def headline(scenario: Scenario) -> str:
    """Who, where, which model, in one line."""
    document = split_document(scenario)
    radio = (
        "measured gains"
        if scenario.gains is not None
        else f"{document.radio.path_loss} at {format_si(document.radio.carrier, 'Hz')}"
    )
    return (
        f"{scenario.name or 'scenario'}: {scenario.users} users, {scenario.servers} servers, "
        f"{document.model.name} ({training_words(document.model)}), {radio}"
    )


def reference_lines(scenario: Scenario, problem: SplitTraining) -> list[str]:
    """What the weights are relative to."""
    del scenario
    return [
        "weights are relative to weights.reference: averages over the users when everyone is at the server with the "
        "best gain,",
        "cut in the middle, with equal shares, full power and full clock"
        + ("; the delay is that of a round / users" if problem.delay == "max" else ""),
    ]
