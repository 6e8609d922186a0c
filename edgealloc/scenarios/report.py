"""Every number of a scenario with its unit, where it is from, and how well it is known."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from edgealloc.catalog import DeviceEntry
from edgealloc.core.weights import TERMS
from edgealloc.scenarios.builders.limits import RESOURCE_SENSES, deadlines, group_size, server_need, server_room
from edgealloc.scenarios.faults import field_unit, field_word
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining
    from edgealloc.scenarios.scenario import Scenario
    from edgealloc.scenarios.schema import Document

__all__ = ["MARKS", "Number", "headline", "limit_lines", "marks_line", "numbers", "sources"]

#: mark -> what it says
MARKS: Final = {
    "seen": "read in the catalog's source",
    "recall": "in the catalog from memory",
    "derived": "computed from other numbers",
    "user": "the file's own catalog entry",
    "cited": "read in the source beside it, as the file says",
    "file": "given in the file",
    "choice": "what you decide",
    "assumption": "assumption, see the list",
    "default": "edgealloc's default",
}


@dataclass(frozen=True)
class Number:
    """One number of a scenario.

    Attributes
    ----------
    path : str
        Key in the file, or field of a catalog entry.
    value : object
        In the SI unit.
    unit : str
    shown : str
        For people.
    source : str
        "file", "default", the catalog entry, or what the file says under [sources].
    mark : str
        A key of `MARKS`.
    """

    path: str
    value: Any
    unit: str
    shown: str
    source: str
    mark: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


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
#: units that no SI prefix makes more readable
_UNPREFIXED: Final = frozenset({"W*s^3", "FLOP/cycle", "W/Hz"})
#: keys that carry no number: names, places, switches with a catalog number behind them
_NO_NUMBERS: Final = frozenset({"name", "positions", "gain_file", "gain_unit", "lora_targets", "reference"})


def numbers(scenario: Scenario) -> list[Number]:
    """The table behind `Scenario.table`."""
    document = scenario.document
    rows: list[Number] = []
    for name in ("model", "area", "radio"):
        rows += _section(document, getattr(document, name), (name,), name)
        if name == "model":
            entry = scenario.catalog.model(document.model.name)
            rows += [
                Number(
                    f"models.{entry.name}.{field}",
                    getattr(entry, field),
                    "",
                    f"{getattr(entry, field)}",
                    f"catalog {entry.name}",
                    entry.mark(field),
                )
                for field in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab")
            ]
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
    need = server_need(scenario.document, scenario.catalog)
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
    limits = scenario.document.limits
    if not (limits.device_memory if kind == "users" else limits.server_memory):
        del fields["memory"]
    groups = getattr(scenario.document, kind)
    for i, group in enumerate(groups):
        where = kind if len(groups) == 1 else f"{kind}.{i}"
        yield from _section(scenario.document, group, (kind,), where)
        for name in [group.device] if isinstance(group.device, str) else group.device or ():
            entry: DeviceEntry = scenario.catalog.device(name)
            for key, (field, unit) in fields.items():
                if getattr(group, key) is None and (name, field) not in told:
                    told.add((name, field))
                    value = entry.require(field)
                    yield Number(
                        f"devices.{name}.{field}",
                        value,
                        unit,
                        format_si(value, unit, 4),
                        f"catalog {name}",
                        entry.mark(field),
                    )


def _section(document: Document, section: BaseModel, names: tuple[str, ...], where: str) -> Iterator[Number]:
    for key in type(section).model_fields:
        value = getattr(section, key)
        if key in _NO_NUMBERS or value is None:
            continue
        if key == "device" and (isinstance(value, str) or len(value) < 2):
            continue
        unit = field_unit(names, key) or ""
        paths = (f"{where}.{key}", f"{names[0]}.{key}")
        source = "file" if key in section.model_fields_set else "default"
        cited = next((document.sources[path] for path in paths if path in document.sources), None)
        if cited is not None:
            mark, source = "cited", cited
        elif any(path in document.assumptions for path in paths):
            mark = "assumption"
        elif key in _CHOICES:
            mark = "choice"
        else:
            mark = source
        yield Number(
            f"{where}.{key}",
            list(value) if isinstance(value, tuple) else value,
            unit,
            _shown(value, unit, field_word(names, key)),
            source,
            mark,
        )


def _shown(value: Any, unit: str, endless: str | None = None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        total = sum(value.values())
        return ", ".join(f"{100.0 * share / total:.3g} % {name}" for name, share in value.items())
    if isinstance(value, tuple):
        low, high = (_shown(one, unit) for one in value)
        return low if low == high else f"{low} to {high}"
    if isinstance(value, float):
        if endless is not None and math.isinf(value):
            return endless
        if unit == "dB":
            return f"{value:g} dB"
        if not unit:
            return f"{value:.4g}"
        if unit in _UNPREFIXED:
            return f"{value:.4g} {unit}"
        return format_si(value, unit, 4) if math.isfinite(value) else str(value)
    return str(value)


# ---- limits in words ----------------------------------------------------------------------------------------------


def limit_lines(scenario: Scenario, problem: SplitTraining) -> list[str]:
    """What the limits of a scenario say, one line each, with what is assumed behind them."""
    document = scenario.document
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
    group = scenario.document.servers[i]
    size = group_size(group)
    return f"{group.name or group.device or 'server'}{f' (each of {size})' if size > 1 else ''}"


def _deadline_lines(scenario: Scenario, problem: SplitTraining) -> list[str]:
    seconds, weights = deadlines(scenario.document)
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


def sources(scenario: Scenario) -> list[tuple[str, str]]:
    """(catalog entry, where its numbers were read) for every entry that the scenario uses."""
    document, catalog = scenario.document, scenario.catalog
    found = {document.model.name: catalog.model(document.model.name).source}
    for user_group in document.users:
        found |= {name: catalog.device(name).source for name in user_group.device or ()}
    for server_group in document.servers:
        if server_group.device is not None:
            found[server_group.device] = catalog.device(server_group.device).source
    return list(found.items())


def marks_line(rows: list[Number]) -> str:
    """How many numbers of each mark, in one line."""
    counts = {mark: sum(row.mark == mark for row in rows) for mark in MARKS}
    words = {
        "seen": "read in a named source",
        "recall": "from memory",
        "derived": "computed",
        "user": "your entries",
        "cited": "from sources that the file names",
        "file": "from the file",
        "choice": "choices",
        "assumption": "assumptions",
        "default": "defaults",
    }
    return ", ".join(f"{count} {words[mark]}" for mark, count in counts.items() if count)


def headline(scenario: Scenario) -> str:
    """Who, where, which model, in one line."""
    document = scenario.document
    training = f"LoRA rank {document.model.lora_rank}" if document.model.training == "frozen" else "full fine-tuning"
    radio = (
        "measured gains"
        if scenario.gains is not None
        else f"{document.radio.path_loss} at {format_si(document.radio.carrier, 'Hz')}"
    )
    return (
        f"{scenario.name or 'scenario'}: {scenario.users} users, {scenario.servers} servers, "
        f"{document.model.name} ({training}), {radio}"
    )
