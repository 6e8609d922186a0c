"""Entries as rows of text (each number with its mark's suffix) and as plain records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from edgealloc.catalog.entries import SUFFIX, Entry
from edgealloc.units import format_si

__all__ = ["details", "overview", "record"]

#: section -> columns of the overview: (heading, field, unit)
_COLUMNS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "models": (
        ("parameters", "params", ""),
        ("layers", "layers", "#"),
        ("hidden", "hidden", "#"),
        ("heads", "heads", "#"),
        ("kv heads", "kv_heads", "#"),
        ("ffn", "ffn", "#"),
        ("vocab", "vocab", "#"),
        ("context", "max_context", "#"),
        ("kind", "kind", "#"),
    ),
    "devices": (
        ("class", "device_class", "#"),
        ("training rate", "flops_per_s", "FLOP/s"),
        ("clock", "clock_hz", "Hz"),
        ("power", "power_w", "W"),
        ("memory", "memory_bytes", "B"),
        ("memory bandwidth", "memory_bandwidth_bytes_per_s", "B/s"),
        ("rate is", "flops_basis", "#"),
    ),
    "radio": (
        ("kind", "kind", "#"),
        ("value", "value", "#"),
        ("unit", "unit", "#"),
        ("formula", "formula", "#"),
        ("shadowing (dB)", "shadowing_sigma_db", "#"),
        ("model", "path_loss_model", "#"),
    ),
}
#: Ending of a field's name -> unit to print.
_UNIT_OF_ENDING: Final = {
    "_bytes_per_s": "B/s",
    "flops_per_s": "FLOP/s",
    "_ops_per_s": "op/s",
    "_bytes": "B",
    "_hz": "Hz",
    "_w": "W",
    "_db": "dB",
}


def overview(entries: Iterable[Entry]) -> list[dict[str, str]]:
    """One row per entry: name, key numbers with marks, source; "-" where there is no value."""
    return [
        {
            "name": entry.name,
            **{head: _cell(entry, field, unit) for head, field, unit in _COLUMNS[entry.section]},
            "source": entry.source,
        }
        for entry in entries
    ]


def details(entry: Entry) -> list[dict[str, str]]:
    """One row per field of an entry (field, value with suffix, mark in words), then its source and note."""
    marks = entry.marks()
    rows = [
        {"field": field, "value": _cell(entry, field, _unit(field)), "mark": mark}
        for field, mark in marks.items()
    ]
    rows.append({"field": "source", "value": entry.source, "mark": ""})
    if entry.note:
        rows.append({"field": "note", "value": entry.note, "mark": ""})
    return rows


def record(entry: Entry) -> dict[str, Any]:
    """Plain values without gaps: name, every field with a value, source, note, and the mark of each field."""
    values = {field: getattr(entry, field) for field in entry.marks()}
    if "power_modes" in values:
        values["power_modes"] = [
            {key: value for key, value in dataclasses.asdict(mode).items() if value is not None}
            for mode in values["power_modes"]
        ]
    return {
        "name": entry.name,
        **values,
        "source": entry.source,
        "note": entry.note,
        "marks": dict(entry.marks()),
    }


def _unit(field: str) -> str:
    return next((unit for ending, unit in _UNIT_OF_ENDING.items() if field.endswith(ending)), "#")


def _cell(entry: Entry, field: str, unit: str) -> str:
    value = getattr(entry, field)
    if value is None:
        return "-"
    if field == "power_modes":
        text = ", ".join(mode.name for mode in value)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, str):
        text = value
    else:
        text = f"{value:g}" if unit == "#" and isinstance(value, float) else str(value)
        if unit == "" and isinstance(value, (int, float)):
            text = _count(float(value))
        elif unit not in ("#", "dB"):
            text = format_si(float(value), unit, 4)
    return text + SUFFIX[entry.mark(field)]


def _count(value: float) -> str:
    for factor, letter in ((1e9, "B"), (1e6, "M")):
        if value >= factor:
            return f"{value / factor:.4g} {letter}"
    return f"{value:g}"
