"""pydantic's findings in the words of a scenario file: dotted path, value, what is expected, the likely
name."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgealloc.errors import Fault, nearest
from edgealloc.scenarios.quantities import short, unit_of, word_of
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

__all__ = ["SECTIONS", "described", "document_faults", "field_unit", "field_word", "problem_faults"]

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
    return unit_of(_metadata(section, key))


def field_word(section: tuple[str, ...], key: str) -> str | None:
    """What a key says for infinity ("none" for a deadline), None if it cannot be infinite."""
    return word_of(_metadata(section, key))


def _metadata(section: tuple[str, ...], key: str) -> list[Any]:
    model = SECTIONS.get(section)
    info = None if model is None else model.model_fields.get(key)
    if info is None:
        return []
    metadata: list[Any] = [*info.metadata]
    for part in (info.annotation, *typing.get_args(info.annotation)):
        metadata += getattr(part, "__metadata__", ())
    return metadata


#: field of the problem -> keys of a file that it comes from, a group's before the general one
_PROBLEM_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "user_flops_per_cycle": ("users.flops_per_cycle", "users.flops"),
    "user_kappa": ("users.kappa", "users.power"),
    "user_frequency_min_hz": ("users.clock_min",),
    "user_frequency_max_hz": ("users.clock",),
    "power_min_w": ("radio.power_min",),
    "power_max_w": ("users.power_max", "radio.power_max"),
    "samples": ("users.samples",),
    "min_local_layers": ("users.min_local_layers",),
    "max_local_layers": ("users.max_local_layers",),
    "idle_power_w": ("users.idle_power",),
    "device_memory_bytes": ("users.memory",),
    "deadline_s": ("users.deadline", "limits.deadline"),
    "deadline_penalty_per_s": ("users.deadline_penalty", "limits.deadline_penalty"),
    "server_flops_per_cycle": ("servers.flops_per_cycle", "servers.flops"),
    "server_kappa": ("servers.kappa", "servers.power"),
    "server_joules_per_flop": ("servers.kappa", "servers.power"),
    "server_frequency_max_hz": ("servers.clock",),
    "bandwidth_max_hz": ("servers.bandwidth",),
    "users_per_server": ("servers.users_max",),
    "server_memory_bytes": ("servers.memory",),
    "stability_limit": ("limits.stability_limit",),
    "resource_sense": ("limits.resources",),
    "delay": ("weights.delay_over_users",),
    "gain": ("radio.gain_file",),
    "noise_psd_w_per_hz": ("radio.noise_density",),
    "fixed_delay_s": ("radio.downlink_rate",),
    "amplifier_efficiency": ("radio.amplifier_efficiency",),
    "circuit_power_w": ("radio.circuit_power",),
    "count_upload_delay": ("radio.count_upload_delay",),
    "upload_bits": ("model.activation_bytes",),
}
_ENTRY: Final = re.compile(r"^(\w+)(?:\[(\d+)[^\]]*\])?$")


def problem_faults(document: Document, faults: Iterable[Fault]) -> list[Fault]:
    """What the problem says of its fields, said of the keys of the file that they come from.

    Faults that only the numbers of the catalog and the file together can have are found there: a lowest clock above
    the highest of the device. What no key stands for keeps its name.
    """
    return [_in_file(document, fault) for fault in faults]


def _in_file(document: Document, fault: Fault) -> Fault:
    match = _ENTRY.match(fault.field)
    keys = _PROBLEM_KEYS.get(match[1], ()) if match else ()
    if match is None or not keys:
        return fault
    path = ""
    for one in keys:
        path = one
        section, _, key = one.partition(".")
        if section not in _LISTS:
            break
        groups = getattr(document, section)
        i = _group_of(groups, int(match[2] or 0))
        path = f"{section}.{i}.{key}"
        if getattr(groups[i], key) is not None:
            break
    return Fault(path, f"{fault.message} ({fault.field} of the problem)")


def _group_of(groups: Sequence[UserGroup | ServerGroup], index: int) -> int:
    """The group of a user or server."""
    for i, group in enumerate(groups):
        index -= group.count or len(group.positions or ())
        if index < 0:
            return i
    return len(groups) - 1


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
