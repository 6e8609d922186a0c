"""Fields of a problem as rows of a table (symbol, shape, unit, range), and the check of a value by its row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgealloc.errors import Fault

__all__ = ["Field", "as_array", "checked", "checked_count", "checked_flags", "checked_names", "plain",
           "positive", "read_only", "short"]


@dataclass(frozen=True)
class Field:
    """One row of the symbol table.

    Attributes
    ----------
    name, symbol, unit : str
    shape : str
        What it has an entry for, in the formulation's words: "user", "server", "scalar", ...
    low, high : float
        Allowed range, ends included unless `open_low`.
    open_low : bool
    default : float or None
        None: the field is required, or (see `optional`) absent.
    optional : bool
        None is allowed and means that there is no such limit.
    integer : bool
    endless : bool
        inf is allowed, and means that there is no such limit there.
    smallest : float
        Values between 0 and this are too small to mean anything.
    hint : str
        Said with a fault.
    text : str
        Meaning.
    """

    name: str
    symbol: str
    unit: str
    shape: str
    text: str
    low: float = 0.0
    high: float = math.inf
    open_low: bool = False
    default: float | None = None
    optional: bool = False
    integer: bool = False
    endless: bool = False
    smallest: float = 0.0
    hint: str = ""


def positive(name: str, symbol: str, unit: str, shape: str, text: str) -> Field:
    """A required field in (0, inf)."""
    return Field(name, symbol, unit, shape, text, open_low=True)


def as_array(value: Any, name: str, faults: list[Fault]) -> npt.NDArray[np.float64] | None:
    """A float array of its own, or None and a fault."""
    if value is None:
        faults.append(Fault(name, "is missing"))
        return None
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        faults.append(Fault(name, f"is {short(value)}, not an array of numbers"))
        return None


def short(value: Any) -> str:
    """A value as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _range(field: Field) -> str:
    unit = "" if field.unit == "1" else f" {field.unit}"
    bracket = "(" if field.open_low else "["
    high = f"{field.high:g}]" if math.isfinite(field.high) else "inf]" if field.endless else "inf)"
    return f"{bracket}{field.low:g}, {high}{unit}"


def checked(field: Field, value: Any, shape: tuple[int, ...], axes: str, faults: list[Fault]) -> Any:
    """A field's value as a read-only array of `shape` (a float for ()), or None and a fault.

    Parameters
    ----------
    field : Field
    value : array_like
        As given; broadcast.
    shape : tuple of int
    axes : str
        What the shape is in words, such as "(users,)".
    faults : list of Fault
        Where faults are added.
    """
    if value is None and field.optional:
        return None
    array = as_array(value, field.name, faults)
    if array is None:
        return None
    try:
        array = np.broadcast_to(array, shape).copy()
    except ValueError:
        faults.append(Fault(field.name, f"has shape {array.shape}; it must be {axes} = {shape}, or a number"))
        return None
    low_bad = (array <= field.low) if field.open_low else (array < field.low)
    missing = np.isnan(array) if field.endless else ~np.isfinite(array)
    bad = missing | low_bad | (array > field.high)
    bad |= (array > 0.0) & (array < field.smallest)
    if field.integer:
        bad |= array != np.floor(array)
    if bad.any():
        where = np.argwhere(bad)
        index = "" if not shape else "[" + ", ".join(str(int(i)) for i in where[0]) + "]"
        more = f" ({len(where)} such entries)" if len(where) > 1 else ""
        kind = "an integer in" if field.integer else "in"
        hint = f"; {field.hint}" if field.hint else ""
        unit = "" if field.unit == "1" else f" {field.unit}"
        faults.append(Fault(f"{field.name}{index}", f"is {float(array[bad][0]):g}{unit}; it must be {kind} "
                                                    f"{_range(field)}{hint}{more}"))
        return None
    if not shape:
        return float(array)
    if field.integer:
        array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def checked_count(name: str, value: Any, faults: list[Fault]) -> int:
    """A whole number >= 1, or 1 and a fault."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        faults.append(Fault(name, f"is {value!r}; it must be an integer >= 1"))
        return 1
    return int(value)


def checked_names(
    name: str, value: Any, noun: str, count: int | None, faults: list[Fault], *, unique: bool = True
) -> tuple[str, ...] | None:
    """Names as texts; None where none are given, and where the value is no sequence (then with a fault).

    Parameters
    ----------
    name : str
        Of the field.
    value : sequence or None
        As given.
    noun : str
        What is named: "device".
    count : int or None
        How many there must be; None for any number.
    faults : list of Fault
        Where faults are added.
    unique : bool
        Whether two of them may not bear the same name.
    """
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)):
        faults.append(Fault(name, f"is {short(value)}; give a sequence of names"))
        return None
    names = tuple(str(one) for one in value)
    if count is not None and len(names) != count:
        faults.append(Fault(name, f"has {len(names)} names for {count} {noun}{'es' if noun.endswith('s') else 's'}"))
    first: dict[str, int] = {}
    for k, one in enumerate(names):
        if first.setdefault(one, k) != k and unique:
            faults.append(Fault(f"{name}[{k}]", f"'{one}' is the name of {noun} {first[one]}, too; give every {noun} "
                                                "its own"))
    return names


def checked_flags(name: str, value: Any, shape: tuple[int, ...], axes: str, give: str, faults: list[Fault]) -> Any:
    """What is true or false as a read-only array of `shape` (`axes` in words), or None and a fault; `give` says what
    else may be given."""
    try:
        array = np.broadcast_to(np.asarray(value), shape).copy()
    except (TypeError, ValueError):
        faults.append(Fault(name, f"cannot be given for {axes} = {shape}; give true or false, {give}"))
        return None
    if array.dtype != np.bool_ and not (good := np.isin(array, (0, 1))).all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        faults.append(Fault(name, f"holds something that is neither true nor false: {list(where)} is {array[where]!s}"))
        return None
    return read_only(array.astype(np.bool_))


def plain(value: Any) -> Any:
    """A value as an array, to see its shape; a number where it is none at all (its fault is told elsewhere)."""
    try:
        return np.asarray(value, dtype=np.float64) if value is not None else 0.0
    except (TypeError, ValueError):
        return 0.0


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, which nobody can write to from now on."""
    array.setflags(write=False)
    return array
