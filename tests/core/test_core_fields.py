"""The checks of fields that every formulation uses: counts and names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgealloc.core.fields import checked_count, checked_names
from edgealloc.errors import Fault


@pytest.mark.parametrize(("value", "result", "faulty"), [
    (3, 3, False), (np.int64(1), 1, False), (0, 1, True), (-2, 1, True), (True, 1, True), (2.0, 1, True),
    ("4", 1, True), (None, 1, True),
])
def test_counts(value: Any, result: int, faulty: bool) -> None:
    """Whole numbers >= 1 as int; anything else is a fault that shows the value."""
    faults: list[Fault] = []
    found = checked_count("layers", value, faults)
    assert (type(found), found) == (int, result)
    assert [str(one) for one in faults] == ([f"layers: is {value!r}; it must be an integer >= 1"] if faulty else [])


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), np.array(["a", "b"])])
def test_names_of_every_kind_of_sequence(value: Any) -> None:
    faults: list[Fault] = []
    assert checked_names("device_names", value, "device", 2, faults) == ("a", "b")
    assert checked_names("device_names", value, "device", None, faults) == ("a", "b")
    assert checked_names("device_names", None, "device", 2, faults) is None
    assert faults == []


@pytest.mark.parametrize(("value", "count", "unique", "messages"), [
    ("ab", 2, True, ["device_names: is 'ab'; give a sequence of names"]),
    (7, 2, True, ["device_names: is 7; give a sequence of names"]),
    (["a"], 2, True, ["device_names: has 1 names for 2 devices"]),
    (["a", "b", "a", "a"], 4, True, [
        "device_names[2]: 'a' is the name of device 0, too; give every device its own",
        "device_names[3]: 'a' is the name of device 0, too; give every device its own"]),
    ([1, "1"], None, True, ["device_names[1]: '1' is the name of device 0, too; give every device its own"]),
    (["a", "a"], 2, False, []),
])
def test_faulty_names(value: Any, count: int | None, unique: bool, messages: list[str]) -> None:
    faults: list[Fault] = []
    checked_names("device_names", value, "device", count, faults, unique=unique)
    assert [str(one) for one in faults] == messages
