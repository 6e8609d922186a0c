"""pydantic's findings in the words of a scenario file: dotted path, value, what is expected, the likely
name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgealloc.errors import Fault, nearest
from edgealloc.scenarios.quantities import short
from edgealloc.scenarios.schema import Heading, Schema

__all__ = ["close_word", "document_faults", "problem_faults"]

_ENTRY: Final = re.compile(r"^(\w+)(?:\[(\d+)[^\]]*\])?$")


def problem_faults(document: Heading, schema: Schema, faults: Iterable[Fault]) -> list[Fault]:
    """What the problem says of its fields, said of the keys of the file that they come from.

    Faults that only the numbers of the catalog and the file together can have are found there: a lowest clock above
    the highest of the device. What no key stands for keeps its name.
    """
    return [_in_file(document, schema, fault) for fault in faults]


def _in_file(document: Heading, schema: Schema, fault: Fault) -> Fault:
    match = _ENTRY.match(fault.field)
    keys = schema.problem_keys.get(match[1], ()) if match else ()
    if match is None or not keys:
        return fault
    path = ""
    for one in keys:
        path = one
        section, _, key = one.partition(".")
        if section not in schema.lists:
            break
        groups = getattr(document, section)
        i = _group_of(groups, int(match[2] or 0))
        path = f"{section}.{i}.{key}"
        if getattr(groups[i], key) is not None:
            break
    return Fault(path, f"{fault.message} ({fault.field} of the problem)")


def _group_of(groups: Sequence[Any], index: int) -> int:
    """The group of a member: of a user, a server or a device."""
    for i, group in enumerate(groups):
        index -= group.count or len(group.positions or ())
        if index < 0:
            return i
    return len(groups) - 1


def document_faults(error: ValidationError, schema: Schema) -> list[Fault]:
    """Every finding as a Fault, in the order of the file's schema."""
    found = error.errors(include_url=False)
    # a list whose entries are all at fault also counts as too short, which it is not
    return [_fault(one, schema) for one in found if not (one["type"] == "too_short" and one["input"])]


def _fault(error: ErrorDetails, schema: Schema) -> Fault:
    location = error["loc"]
    path = ".".join(str(part) for part in location if part != "[key]")
    return Fault(path, _message(error, tuple(str(part) for part in location if not isinstance(part, int)), schema))


def _message(error: ErrorDetails, names: tuple[str, ...], schema: Schema) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    section, key = names[:-1], names[-1] if names else ""
    if kind == "missing":
        text = schema.described(section, key)
        if ".".join(names) in schema.lists:
            text = f"at least one [[{'.'.join(names)}]] table is needed"
        elif names in schema.sections:
            text = f"a table [{'.'.join(names)}] is needed"
        return f"is missing ({text})" if text else "is missing"
    if kind == "extra_forbidden":
        known = schema.sections[section].model_fields if section in schema.sections else ()
        return f"is an unknown key; {nearest(key, known)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"is {short(value)}; expected {context['expected']}{close_word(value, context['expected'])}"
    if kind == "too_short":
        return f"is empty; at least one [[{'.'.join(names)}]] table is needed"
    if kind in ("tuple_type", "list_type"):
        example = f" of tables ([[{'.'.join(names)}]] in TOML)" if ".".join(names) in schema.lists else ""
        return f"is {short(value)}; it must be a list{example}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"is {short(value)}; it must be a table of keys and values"
    return f"is {short(value)}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def close_word(value: object, expected: str) -> str:
    """A suggestion after the list of allowed words, where one of them is near."""
    if not isinstance(value, str):
        return ""
    words = [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]
    guess = nearest(value, words)
    return f"; {guess}" if guess.startswith("did") else ""
