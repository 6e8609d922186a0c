"""pydantic's findings in the words of a scenario file: dotted path, value, what is expected, the likely
name."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgealloc.errors import Fault, nearest
from edgealloc.scenarios.quantities import short, unit_of
from edgealloc.scenarios.schema import (
    AreaSection,
    CatalogSection,
    Document,
    LimitsSection,
    ModelSection,
    RadioSection,
    ReferenceSection,
    ServerGroup,
    StabilitySection,
    UserGroup,
    WeightsSection,
)

__all__ = ["SECTIONS", "described", "document_faults", "field_unit"]

#: path without list indices -> the table it names
SECTIONS: Final[Mapping[tuple[str, ...], type[BaseModel]]] = {
    (): Document,
    ("model",): ModelSection,
    ("area",): AreaSection,
    ("radio",): RadioSection,
    ("users",): UserGroup,
    ("servers",): ServerGroup,
    ("weights",): WeightsSection,
    ("weights", "reference"): ReferenceSection,
    ("stability",): StabilitySection,
    ("limits",): LimitsSection,
    ("catalog",): CatalogSection,
}
_LISTS: Final = ("users", "servers")


def described(section: tuple[str, ...], key: str) -> str:
    """What a key of a table means; "" if there is no such key."""
    model = SECTIONS.get(section)
    info = None if model is None else model.model_fields.get(key)
    return "" if info is None else info.description or ""


def field_unit(section: tuple[str, ...], key: str) -> str | None:
    """SI unit of a key, "" for plain numbers, None if it is no quantity."""
    model = SECTIONS.get(section)
    info = None if model is None else model.model_fields.get(key)
    if info is None:
        return None
    metadata: list[Any] = [*info.metadata]
    for part in (info.annotation, *typing.get_args(info.annotation)):
        metadata += getattr(part, "__metadata__", ())
    return unit_of(metadata)


def document_faults(error: ValidationError) -> list[Fault]:
    """Every finding as a Fault, in the order of the file's schema."""
    found = error.errors(include_url=False)
    # a list whose entries are all at fault also counts as too short, which it is not
    return [_fault(one) for one in found if not (one["type"] == "too_short" and one["input"])]


def _fault(error: ErrorDetails) -> Fault:
    location = error["loc"]
    path = ".".join(str(part) for part in location if part != "[key]")
    return Fault(path, _message(error, tuple(str(part) for part in location if not isinstance(part, int))))


def _message(error: ErrorDetails, names: tuple[str, ...]) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    section, key = names[:-1], names[-1] if names else ""
    if kind == "missing":
        text = described(section, key)
        if key in _LISTS and not section:
            text = f"at least one [[{key}]] table is needed"
        elif names in SECTIONS:
            text = f"a table [{'.'.join(names)}] is needed"
        return f"is missing ({text})" if text else "is missing"
    if kind == "extra_forbidden":
        known = SECTIONS[section].model_fields if section in SECTIONS else ()
        return f"is an unknown key; {nearest(key, known)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"is {short(value)}; expected {context['expected']}{_close(value, context['expected'])}"
    if kind == "too_short":
        return f"is empty; at least one [[{key}]] table is needed"
    if kind in ("tuple_type", "list_type"):
        example = f" of tables ([[{key}]] in TOML)" if key in _LISTS else ""
        return f"is {short(value)}; it must be a list{example}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"is {short(value)}; it must be a table of keys and values"
    return f"is {short(value)}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _close(value: object, expected: str) -> str:
    """A suggestion after the list of allowed words, where one of them is near."""
    if not isinstance(value, str):
        return ""
    words = [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]
    guess = nearest(value, words)
    return f"; {guess}" if guess.startswith("did") else ""
