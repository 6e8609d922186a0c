"""From plain dicts (package data, a user's file) to entries, collecting every fault on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

from edgealloc.catalog.entries import DeviceEntry, Entry, Mark, ModelEntry, PowerMode, RadioEntry
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.transformer import FAMILIES, Transformer, kv_bytes_per_token, total_params
from edgealloc.units import parse_quantity

__all__ = ["read_device", "read_entry", "read_model", "read_user_device", "read_user_model"]

E = TypeVar("E", bound=Entry)

_KINDS: Final = ("decoder", "encoder", "encoder-decoder")
_MLPS: Final = ("swiglu", "geglu", "gelu", "relu")
_LISTS: Final = ("recall_fields", "derived_fields", "assumption_fields")
#: Ending of a field's name -> SI unit of its value.
_UNIT_OF_ENDING: Final = {
    "_bytes_per_s": None,  # units knows no byte rate: a plain number
    "_flops_per_s": "FLOP/s",
    "flops_per_s": "FLOP/s",
    "_ops_per_s": None,
    "_bytes": "B",
    "_hz": "Hz",
    "_w": "W",
    "_db": "",
}


def read_entry(cls: type[E], data: Mapping[str, object]) -> E:
    """Build an entry of `cls` from a complete dict; raise a DataError with every fault."""
    faults: list[Fault] = []
    values = _fields(cls, data, f"{cls.section}.{data.get('name', '?')}", faults, own_marks=True)
    if not faults:
        faults += _missing(cls, values)
    if faults:
        raise DataError(faults, source="catalog")
    return cls(**values)


def read_model(data: Mapping[str, object]) -> ModelEntry:
    """Build a model entry from a complete dict."""
    return read_entry(ModelEntry, data)


def read_device(data: Mapping[str, object]) -> DeviceEntry:
    """Build a device entry from a complete dict."""
    return read_entry(DeviceEntry, data)


def read_user_device(name: str, data: Mapping[str, object], known: Mapping[str, DeviceEntry]) -> DeviceEntry:
    """Build or overlay a device from a user's dict, see :meth:`edgealloc.catalog.Catalog.extended`."""
    faults: list[Fault] = []
    base, values = _user_fields(DeviceEntry, name, data, known, faults)
    if base is None and not faults:
        values.setdefault("device_class", "user")
        _assume(values, {"clock_hz": 1.0e9})
    if base is None or "flops_per_s" in values:
        values.setdefault("flops_basis", "given")  # the base's wording is about another rate
    return _finish(DeviceEntry, name, base, values, faults)


def read_user_model(name: str, data: Mapping[str, object], known: Mapping[str, ModelEntry]) -> ModelEntry:
    """Build or overlay a model from a user's dict, see :meth:`edgealloc.catalog.Catalog.extended`."""
    faults: list[Fault] = []
    base, values = _user_fields(ModelEntry, name, data, known, faults)
    given = set(values)
    if base is None and not faults:
        gated = values.get("mlp", "swiglu") in ("swiglu", "geglu")
        assumed: dict[str, Any] = {
            "kind": "decoder",
            "mlp": "swiglu",
            "family": "llama" if gated else "gpt2",
            "tied_embeddings": False,
            "max_context": 2048,
        }
        if "heads" in values:
            assumed["kv_heads"] = values["heads"]
            if "hidden" in values and values["hidden"] % values["heads"] == 0:
                assumed["head_dim"] = values["hidden"] // values["heads"]
        _assume(values, assumed)
    # Counts follow from the shape: unless they are given, or nothing changed, compute them anew.
    computed = (
        []
        if base is not None and given <= {"params", "kv_bytes_per_token"}
        else [field for field in ("params", "kv_bytes_per_token") if field not in given]
    )
    for field in computed:
        values[field] = 0
    entry = _finish(ModelEntry, name, base, values, faults)
    try:
        shape = entry.transformer()
    except DataError as error:
        raise DataError([Fault(f"models.{name}.{f.field}", f.message) for f in error.faults]) from None
    return _with_counts(entry, shape, computed)


def _assume(values: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Fill in what a new entry leaves open, and mark it as assumed."""
    filled = {field: value for field, value in defaults.items() if field not in values}
    values.update(filled)
    values["assumption_fields"] = tuple(filled)


def _with_counts(entry: ModelEntry, shape: Transformer, computed: Sequence[str]) -> ModelEntry:
    counts: dict[str, Any] = {
        "params": total_params(shape),
        "kv_bytes_per_token": 0.0 if entry.kind == "encoder" else kv_bytes_per_token(shape),
    }
    derived = tuple(dict.fromkeys((*entry.derived_fields, *computed)))
    user = tuple(field for field in entry.user_fields if field not in computed)
    return dataclasses.replace(
        entry, derived_fields=derived, user_fields=user, **{field: counts[field] for field in computed}
    )


def _user_fields(
    cls: type[E], name: str, data: object, known: Mapping[str, E], faults: list[Fault]
) -> tuple[E | None, dict[str, Any]]:
    where = f"{cls.section}.{name}"
    if not isinstance(data, Mapping):
        faults.append(Fault(where, f"{data!r} must be a table of fields"))
        return None, {}
    rest = dict(data)
    like = rest.pop("like", None)
    if rest.pop("name", name) != name:
        faults.append(Fault(f"{where}.name", f"{data['name']!r} differs from the name it is filed under"))
    base = known.get(name)
    if like is not None:
        if isinstance(like, str) and like in known:
            base = known[like]
        else:
            faults.append(
                Fault(f"{where}.like", f"{like!r} is not in the catalog; {nearest(str(like), known)}")
            )
    return base, _fields(cls, rest, where, faults, own_marks=False)


def _finish(cls: type[E], name: str, base: E | None, values: dict[str, Any], faults: list[Fault]) -> E:
    if base is None and not faults:
        faults += _missing(cls, {"name": name, **values})
    if faults:
        raise DataError(faults)
    if base is None:
        # No mark of ours on a user's numbers, except for those that were filled in.
        return cls(**{"source": "given by the user", **values, "name": name, "confidence": "user"})
    given = tuple(field for field in values if field in cls.data_fields())
    source = values.pop("source", f"{base.source}; fields marked + given by the user")
    return dataclasses.replace(
        base,
        **values,
        name=name,
        source=source,
        user_fields=tuple(dict.fromkeys((*base.user_fields, *given))),
    )


def _fields(
    cls: type[Entry], data: Mapping[str, object], where: str, faults: list[Fault], *, own_marks: bool
) -> dict[str, Any]:
    types = {f.name: str(f.type) for f in dataclasses.fields(cls)}
    allowed = {*cls.data_fields(), "source", "note"}
    if own_marks:
        allowed |= {"name", "confidence", *_LISTS}
    values: dict[str, Any] = {}
    for key, raw in data.items():
        if key not in allowed:
            offered = allowed if own_marks else allowed | {"like"}
            faults.append(Fault(f"{where}.{key}", f"unknown field; {nearest(str(key), offered)}"))
            continue
        try:
            values[key] = _value(cls, key, types[key], raw)
        except ValueError as error:
            faults.append(Fault(f"{where}.{key}", str(error)))
    return values


def _value(cls: type[Entry], key: str, kind: str, raw: object) -> Any:
    if key in _LISTS:
        return _names(cls, raw)
    if key == "power_modes":
        return _power_modes(raw)
    for name, choices in (
        ("kind", _KINDS if cls is ModelEntry else ()),
        ("mlp", _MLPS),
        ("family", FAMILIES),
        ("confidence", get_args(Mark)),
    ):
        if key == name and choices and raw not in choices:
            raise ValueError(f"{raw!r} is not known; {nearest(str(raw), choices)}")
    reader: Callable[[str, object], Any] = {"i": _whole, "f": _quantity, "b": _flag}.get(kind[0], _text)
    return reader(key, raw)


def _whole(key: str, raw: object) -> int:
    del key
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 1:
        raise ValueError(f"{raw!r} must be a whole number >= 1")
    return raw


def _quantity(key: str, raw: object) -> float:
    unit = next((unit for ending, unit in _UNIT_OF_ENDING.items() if key.endswith(ending)), None)
    number = parse_quantity(raw, unit or "")
    anything = key == "value"  # dBm may be negative
    zero_is_fine = key in ("idle_power_w", "kv_bytes_per_token", "shadowing_sigma_db")
    if not anything and (number < 0.0 or (number == 0.0 and not zero_is_fine)):
        raise ValueError(f"{raw!r} must be {'>= 0' if zero_is_fine else '> 0'}{f' {unit}' if unit else ''}")
    return number


def _flag(key: str, raw: object) -> bool:
    del key
    if not isinstance(raw, bool):
        raise ValueError(f"{raw!r} must be true or false")
    return raw


def _text(key: str, raw: object) -> str:
    del key
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"{raw!r} must be a text")
    return raw


def _names(cls: type[Entry], raw: object) -> tuple[str, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ValueError(f"{raw!r} must be a list of field names")
    for name in raw:
        if name not in cls.data_fields():
            raise ValueError(f"{name!r} is not a field; {nearest(str(name), cls.data_fields())}")
    return tuple(raw)


def _power_modes(raw: object) -> tuple[PowerMode, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ValueError("must be a list of power modes")
    known = {f.name for f in dataclasses.fields(PowerMode)}
    for mode in raw:
        if not isinstance(mode, Mapping) or "name" not in mode or not set(mode) <= known:
            raise ValueError(f"{mode!r} is not a power mode; its fields are {', '.join(sorted(known))}")
    return tuple(PowerMode(**mode) for mode in raw)


def _missing(cls: type[Entry], values: Mapping[str, object]) -> list[Fault]:
    needed = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    where = f"{cls.section}.{values.get('name', '?')}"
    hint = "" if cls is RadioEntry else ', or start from a catalog entry with like = "NAME"'
    return [Fault(f"{where}.{name}", f"missing; it is needed{hint}") for name in needed if name not in values]
