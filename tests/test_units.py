"""Quantities at the edges: every unit against its definition, and what cannot be a quantity."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgealloc.units import (
    UNITS,
    db_to_linear,
    dbm_to_watt,
    format_percent,
    format_price,
    format_si,
    parse_quantity,
    watt_to_dbm,
)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("20 MHz", "Hz", 20e6),
        ("20MHz", "Hz", 20e6),
        ("  2.5e3 kHz ", "Hz", 2.5e6),
        ("1_000 Hz", "Hz", 1000.0),
        ("23 dBm", "W", 10.0**2.3 / 1e3),
        ("-3 dBW", "W", 10.0**-0.3),
        ("200 mW", "W", 0.2),
        ("-174 dBm/Hz", "W/Hz", 10.0**-17.4 / 1e3),
        ("7 dB", "", 10.0**0.7),
        ("30 %", "", 0.3),
        ("0.3", "", 0.3),
        ("1e-9", "J/FLOP", 1e-9),
        ("3.6 pJ/FLOP", "J/FLOP", 3.6e-12),
        ("50 ms", "s", 0.05),
        ("50 µs", "s", 5e-5),
        ("2 min", "s", 120.0),
        ("1.5 h", "s", 5400.0),
        ("8 GB", "B", 8e9),
        ("8 GiB", "B", 8 * 2.0**30),
        ("512 MiB", "B", 2.0**29),
        ("33 Mbit", "bit", 33e6),
        ("2 PFLOP", "FLOP", 2e15),
        ("4.3 TFLOP/s", "FLOP/s", 4.3e12),
        ("4.3 TFLOPS", "FLOP/s", 4.3e12),
        ("1024 FLOP/cycle", "FLOP/cycle", 1024.0),
        ("1e-27 W*s^3", "W*s^3", 1e-27),
        ("1e-27 J*s^2", "W*s^3", 1e-27),
        ("1.2 km", "m", 1200.0),
        ("100 Mbit/s", "bit/s", 1e8),
        (".5 W", "W", 0.5),
        ("+5 W", "W", 5.0),
        ("-5 W", "W", -5.0),
        (5, "W", 5.0),
        (2.5e7, "Hz", 2.5e7),
    ],
)
def test_quantities(text: object, unit: str, value: float) -> None:
    """A number with a unit becomes the SI value; a number without one is in the SI unit already."""
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("20 MHz", "W", "is in Hz, but W is needed"),
        ("20 dBm", "", "plain number"),
        ("7 dB", "W", "plain number"),
        ("-174 dBm", "W/Hz", "W/Hz is needed"),
        ("8 GB", "bit", "is in B"),
        ("20 MHZ", "Hz", "unknown unit 'MHZ'"),
        ("20 parsec", "m", "unknown unit"),
        ("fast", "Hz", "not a quantity"),
        ("", "Hz", "not a quantity"),
        ("Hz", "Hz", "not a quantity"),
        ("1e999 Hz", "Hz", "not finite"),
        ("nan", "Hz", "not a quantity"),
        ("inf", "Hz", "not a quantity"),
        (math.nan, "Hz", "not finite"),
        (math.inf, "Hz", "not finite"),
        (True, "Hz", "not a quantity"),
        (None, "Hz", "not a quantity"),
        ([1.0], "Hz", "not a quantity"),
        ("1 2 Hz", "Hz", "not a quantity|unknown unit"),
    ],
)
def test_what_is_no_quantity(text: object, unit: str, message: str) -> None:
    """Refused with the value, what is wrong, and an example that would do."""
    with pytest.raises(ValueError, match=message) as caught:
        parse_quantity(text, unit)
    assert "'" in str(caught.value)


@given(st.floats(-200.0, 200.0))
def test_decibel_round_trip(value: float) -> None:
    """dBm -> W -> dBm is the identity, and decibels add where powers multiply."""
    assert watt_to_dbm(dbm_to_watt(value)) == pytest.approx(value, abs=1e-10)
    assert dbm_to_watt(value) == pytest.approx(1e-3 * db_to_linear(value), rel=1e-12)
    assert db_to_linear(value + 3.0) == pytest.approx(db_to_linear(value) * db_to_linear(3.0), rel=1e-12)


@given(st.floats(1e-12, 1e12), st.sampled_from(sorted(unit for unit in UNITS if unit)))
def test_every_unit_is_its_factor(number: float, unit: str) -> None:
    """A text in any unit of the table is the number times its factor, in the unit's own dimension."""
    dimension, factor = UNITS[unit]
    assert parse_quantity(f"{number!r} {unit}", dimension) == pytest.approx(number * factor, rel=1e-14)


@given(st.floats(1e-11, 1e16), st.sampled_from(["Hz", "W", "s", "J", "B", "FLOP"]))
def test_printed_values_can_be_read(value: float, unit: str) -> None:
    """`format_si` keeps the digits asked for, with at most three before the point."""
    text = format_si(value, unit, digits=6)
    number, symbol = text.split(" ")
    prefix = symbol.removesuffix(unit)
    factor = {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
    assert float(number) * factor[prefix] == pytest.approx(value, rel=1e-5)
    assert 1.0 - 1e-9 <= float(number) <= 1000.0


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 Hz"), (2e7, "20 MHz"), (math.inf, "inf Hz"), (-1.5e3, "-1.5 kHz"), (999.9999, "1 kHz")]
)
def test_printed_examples(value: float, text: str) -> None:
    assert format_si(value, "Hz") == text


@given(st.floats(0.0, 10.0), st.floats(1e-6, 1e6))
def test_percentages_are_near_the_share(share: float, whole: float) -> None:
    """What is read back is the share to the digits shown, and a small part is not shown as nothing."""
    text = format_percent(share * whole, whole)
    number, sign = text.split(" ")
    assert sign == "%"
    if number == "<0.1":
        assert 0.0 < share < 0.001 * (1.0 + 1e-12)
    else:
        assert float(number) == pytest.approx(100.0 * share, abs=0.5 if share > 0.9994 else 0.0500001)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(1.0, 3.0, "33.3 %"), (0.0, 2.0, "0.0 %"), (1.0, 0.0, "0 %"), (0.9994, 1.0, "99.9 %"), (0.9996, 1.0, "100 %"),
     (5.0, 2.0, "250 %"), (1e-9, 1.0, "<0.1 %"), (-1.0, 8.0, "-12.5 %")],
)
def test_percent_examples(part: float, whole: float, text: str) -> None:
    assert format_percent(part, whole) == text


@given(st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300))
def test_prices_keep_three_digits(value: float) -> None:
    """Read back, a price is right to three digits, and it has an exponent only where it would be unreadable."""
    text = format_price(value)
    assert float(text) == pytest.approx(value, rel=5.001e-3, abs=0.0)
    if 1e-3 <= abs(value) < 999.0:
        assert "e" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (0.000123456, "0.000123"), (0.0000123456, "1.23e-05"), (-2.5e7, "-2.50e+07"),
     (math.inf, "-"), (math.nan, "-")],
)
def test_price_examples(value: float, text: str) -> None:
    assert format_price(value) == text
