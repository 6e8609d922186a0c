"""Claims about single values: units, ranges, what YAML makes of numbers and words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgealloc.scenarios.quantities import (
    DecibelValue,
    FlagValue,
    MixtureValue,
    PointsValue,
    Quantity,
    SpreadValue,
    TextValue,
    WholeNumber,
    short,
    written,
)
from edgealloc.units import parse_quantity


@pytest.mark.parametrize(
    ("value", "expected"), [("1e-9", 1e-9), ("20e6", 20e6), ("20 MHz", 20e6), (3, 3.0), ("2_000 kHz", 2e6)]
)
def test_numbers_and_texts_are_the_same_quantity(value: Any, expected: float) -> None:
    """PyYAML hands `1e-9` and `20e6` over as text."""
    assert Quantity("Hz").parse(value) == expected


@pytest.mark.parametrize("value", [True, False, None, [1], "5 s", "abc", "nan", float("inf"), 10**400, -1, ""])
def test_everything_else_is_refused_in_words(value: Any) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Quantity("Hz").parse(value)
    assert "Hz" in str(caught.value) or "truth values" in str(caught.value) or "floating" in str(caught.value)


@pytest.mark.parametrize(("value", "expected"), [("2e2", 200), (200, 200), (200.0, 200), ("200", 200), (2**60, 2**60)])
def test_whole_numbers(value: Any, expected: int) -> None:
    assert WholeNumber(high=2**62).parse(value) == expected


@pytest.mark.parametrize("value", [True, 1.5, "x", -1, None])
def test_no_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        WholeNumber().parse(value)


@pytest.mark.parametrize(("value", "expected"), [("no", False), ("on", True), (True, True), ("False", False)])
def test_flags_in_all_spellings(value: Any, expected: bool) -> None:
    assert FlagValue().parse(value) is expected


def test_a_truth_value_is_no_text() -> None:
    with pytest.raises(ValueError, match="quotes"):
        TextValue().parse(False)


def test_decibel_spread_mixture_points() -> None:
    assert DecibelValue().parse("5 dB") == 5.0
    assert DecibelValue().parse("-5") == -5.0
    assert SpreadValue(Quantity()).parse([1, "2e1"]) == (1.0, 20.0)
    assert SpreadValue(Quantity()).parse(3) == 3.0
    assert SpreadValue(WholeNumber(low=1)).parse(["4", 6.0]) == (4, 6)
    assert MixtureValue().parse({"a": "1e-1"}) == {"a": 0.1}
    assert PointsValue().parse([[1, "2 km"]]) == ((1.0, 2000.0),)
    for type_, bad in (
        (SpreadValue(Quantity()), [3, 1]),
        (SpreadValue(Quantity()), [1]),
        (SpreadValue(WholeNumber(low=1)), [1, 2.5]),
        (MixtureValue(), {}),
        (MixtureValue(), {"a": 0}),
        (MixtureValue(), {True: 1}),
        (PointsValue(), [[1]]),
        (PointsValue(), [["x", 1]]),
        (PointsValue(), 3),
    ):
        with pytest.raises(ValueError, match=r"."):
            type_.parse(bad)


@given(st.floats(min_value=1e-12, max_value=1e15), st.sampled_from(["Hz", "W", "B", "m", "FLOP/s", "bit/s"]))
def test_what_is_written_reads_back_as_the_same_float(value: float, unit: str) -> None:
    assert parse_quantity(written(value, unit), unit) == value


def test_short_never_grows() -> None:
    nested: Any = "x"
    for _ in range(40):
        nested = [nested] * 9  # nine to the fortieth values when written out
    assert len(short(nested)) <= 60
