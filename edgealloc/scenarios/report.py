"""Every number of a scenario with its unit, where it is from, and how well it is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from edgealloc.catalog import DeviceEntry
from edgealloc.core.weights import TERMS
from edgealloc.scenarios.faults import field_unit
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["MARKS", "Number", "headline", "marks_line", "numbers", "sources"]

#: mark -> what it says
MARKS: Final = {
    "seen": "read in the catalog's source",
    "recall": "in the catalog from memory",
    "derived": "computed from other numbers",
    "user": "the file's own catalog entry",
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
        "file", "default" or the catalog entry.
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
        "count",
        "min_local_layers",
        "max_local_layers",
        "energy",
        "delay",
        "stability",
        "model",
        "stability_limit",
        "device_memory",
        "activation_bytes",
        "carrier",
    }
)
#: keys that carry no number: names, places, switches with a catalog number behind them
_NO_NUMBERS: Final = frozenset({"name", "positions", "gain_file", "gain_unit", "lora_targets", "reference"})


def numbers(scenario: Scenario) -> list[Number]:
    """The table behind `Scenario.table`."""
    document = scenario.document
    assumed = set(document.assumptions)
    rows: list[Number] = []
    for name in ("model", "area", "radio"):
        rows += _section(getattr(document, name), (name,), name, assumed)
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
    rows += _groups(scenario, "users", assumed)
    rows += _groups(scenario, "servers", assumed)
    for name in ("weights", "stability", "limits"):
        rows += _section(getattr(document, name), (name,), name, assumed)
    given = document.weights.reference.model_dump(exclude_none=True) if document.weights.reference else {}
    reference = scenario.problem().weights.reference or {}
    for term, amount in reference.items():
        unit = TERMS[term] if TERMS[term] != "1" else ""
        source, mark = ("file", "file") if term in given else ("average of the reference allocation", "derived")
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


def _groups(scenario: Scenario, kind: str, assumed: set[str]) -> Iterator[Number]:
    told: set[tuple[str, str]] = set()
    fields = {
        "flops": ("flops_per_s", "FLOP/s"),
        "clock": ("clock_hz", "Hz"),
        "power": ("power_w", "W"),
        "memory": ("memory_bytes", "B"),
    }
    if kind == "servers" or not scenario.document.limits.device_memory:
        del fields["memory"]
    groups = getattr(scenario.document, kind)
    for i, group in enumerate(groups):
        where = kind if len(groups) == 1 else f"{kind}.{i}"
        yield from _section(group, (kind,), where, assumed)
        for name in [group.device] if isinstance(group.device, str) else group.device:
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


def _section(section: BaseModel, names: tuple[str, ...], where: str, assumed: set[str]) -> Iterator[Number]:
    for key in type(section).model_fields:
        value = getattr(section, key)
        one_device = key == "device" and (isinstance(value, str) or len(value) < 2)
        if key in _NO_NUMBERS or value is None or one_device:
            continue
        unit = field_unit(names, key) or ""
        general = f"{names[0]}.{key}"
        if {f"{where}.{key}", general} & assumed:
            mark = "assumption"
        elif key in _CHOICES:
            mark = "choice"
        else:
            mark = "file" if key in section.model_fields_set else "default"
        source = "file" if key in section.model_fields_set else "default"
        yield Number(
            f"{where}.{key}",
            list(value) if isinstance(value, tuple) else value,
            unit,
            _shown(value, unit),
            source,
            mark,
        )


def _shown(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        total = sum(value.values())
        return ", ".join(f"{100.0 * share / total:.3g} % {name}" for name, share in value.items())
    if isinstance(value, tuple):
        low, high = value
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if isinstance(value, float):
        if unit == "dB":
            return f"{value:g} dB"
        if not unit:
            return f"{value:.4g}"
        return format_si(value, unit, 4) if math.isfinite(value) else str(value)
    return str(value)


def sources(scenario: Scenario) -> list[tuple[str, str]]:
    """(catalog entry, where its numbers were read) for every entry that the scenario uses."""
    document, catalog = scenario.document, scenario.catalog
    found = {document.model.name: catalog.model(document.model.name).source}
    for user_group in document.users:
        found |= {name: catalog.device(name).source for name in user_group.device}
    for server_group in document.servers:
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
