"""Every number of a scenario with its unit, where it is from, and how well it is known: what all kinds share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from edgealloc.catalog import Catalog, DeviceEntry
from edgealloc.scenarios.kinds import kind_named
from edgealloc.scenarios.schema import Heading, Schema
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.scenarios.scenario import Scenario

__all__ = [
    "MARKS",
    "Number",
    "device_numbers",
    "limit_lines",
    "marks_line",
    "model_numbers",
    "reference_lines",
    "section_numbers",
    "shown",
    "sources",
    "training_words",
]

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


#: rates: from which on, seconds, and word of the time that they are told per
_RATES: Final = ((1.0, 1.0, "s"), (1.0 / 60.0, 60.0, "min"), (0.0, 3600.0, "h"))
#: units that no SI prefix makes more readable
_UNPREFIXED: Final = frozenset({"W*s^3", "FLOP/cycle", "W/Hz", "token/s", "J/token"})


# ---- by kind ------------------------------------------------------------------------------------------------------


def limit_lines(scenario: Scenario, problem: Any) -> list[str]:
    """What the limits of a scenario say, one line each, with what is assumed behind them."""
    return kind_named(scenario.kind).limit_lines(scenario, problem)


def reference_lines(scenario: Scenario, problem: Any) -> list[str]:
    """What the weights of a scenario are relative to."""
    return kind_named(scenario.kind).reference_lines(scenario, problem)


def sources(scenario: Scenario) -> list[tuple[str, str]]:
    """(catalog entry, where its numbers were read) for every entry that the scenario uses."""
    models, devices = kind_named(scenario.kind).entries(scenario)
    catalog = scenario.catalog
    found = {name: catalog.model(name).source for name in models}
    found |= {name: catalog.device(name).source for name in devices}
    return list(found.items())


# ---- rows ---------------------------------------------------------------------------------------------------------


def model_numbers(catalog: Catalog, name: str) -> list[Number]:
    """The shape of a model."""
    entry = catalog.model(name)
    return [
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


def device_numbers(catalog: Catalog, name: str, fields: Iterable[tuple[str, str]]) -> Iterator[Number]:
    """Some fields of a device, each with its unit."""
    entry: DeviceEntry = catalog.device(name)
    for field, unit in fields:
        value = entry.require(field)
        yield Number(
            f"devices.{name}.{field}", value, unit, format_si(value, unit, 4), f"catalog {name}", entry.mark(field)
        )


def section_numbers(
    schema: Schema,
    document: Heading,
    section: BaseModel,
    names: tuple[str, ...],
    where: str,
    choices: frozenset[str],
    left_out: frozenset[str],
) -> Iterator[Number]:
    """The keys of one table.

    Parameters
    ----------
    names, where
        The table's path without and with the index of a list.
    choices : set of str
        Keys that are decided, not known: they need no source.
    left_out : set of str
        Keys that carry no number.
    """
    for key in type(section).model_fields:
        value = getattr(section, key)
        if key in left_out or value is None:
            continue
        if key == "device" and (isinstance(value, str) or len(value) < 2):
            continue
        unit = schema.field_unit(names, key) or ""
        paths = tuple(f"{one}.{key}".lstrip(".") for one in (where, ".".join(names)))
        source = "file" if key in section.model_fields_set else "default"
        cited = next((document.sources[path] for path in paths if path in document.sources), None)
        if cited is not None:
            mark, source = "cited", cited
        elif any(path in document.assumptions for path in paths):
            mark = "assumption"
        elif key in choices:
            mark = "choice"
        else:
            mark = source
        yield Number(
            paths[0],
            list(value) if isinstance(value, tuple) else value,
            unit,
            shown(value, unit, schema.field_word(names, key)),
            source,
            mark,
        )


def shown(value: Any, unit: str, endless: str | None = None) -> str:
    """A value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        total = sum(value.values())
        return ", ".join(f"{100.0 * share / total:.3g} % {name}" for name, share in value.items())
    if isinstance(value, tuple):
        low, high = (shown(one, unit) for one in value)
        return low if low == high else f"{low} to {high}"
    if isinstance(value, float):
        if endless is not None and math.isinf(value):
            return endless
        if unit == "dB":
            return f"{value:g} dB"
        if not unit:
            return f"{value:.4g}"
        if unit == "1/s":
            _, length, name = next(one for one in _RATES if value >= one[0])
            return f"{value * length:.4g}/{name}"
        if unit in _UNPREFIXED:
            return f"{value:.4g} {unit}"
        return format_si(value, unit, 4) if math.isfinite(value) else str(value)
    return str(value)


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


def training_words(model: Any) -> str:
    """How a [model] is trained: "LoRA rank 16"."""
    return f"LoRA rank {model.lora_rank}" if model.training == "frozen" else "full fine-tuning"
