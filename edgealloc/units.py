"""Units at the edges: ``"20 MHz"``, ``"23 dBm"`` or ``"8 GB"`` become plain SI floats.

Inside the library every number is SI and every name says its unit (``_hz``, ``_w``, ``_s``, ``_j``, ``_bits``,
``_bytes``, ``_m``); nothing here is used in a formula. Quantities come in as a number (already in the SI unit of the
field) or as text with a unit, whose dimension must be the field's.
"""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = [
    "UNITS", "db_to_linear", "dbm_to_watt", "format_count", "format_percent", "format_price", "format_si",
    "format_time", "parse_quantity", "watt_to_dbm",
]

_PREFIX: Final = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9,
                  "T": 1e12, "P": 1e15}


def _scaled(symbol: str, prefixes: str, dimension: str) -> dict[str, tuple[str, float]]:
    wanted = ["", *prefixes]
    return {f"{prefix}{symbol}": (dimension, _PREFIX[prefix]) for prefix in wanted}


#: unit symbol -> (dimension named by its SI unit, factor to it); logarithmic units are handled by name.
UNITS: Final[dict[str, tuple[str, float]]] = {
    **_scaled("Hz", "kMGT", "Hz"),
    **_scaled("W", "pnuµmkM", "W"),
    **_scaled("J", "pnuµmkM", "J"),
    **_scaled("s", "nuµm", "s"), "min": ("s", 60.0), "h": ("s", 3600.0),
    **_scaled("m", "mk", "m"),
    **_scaled("bit", "kMGT", "bit"), "bits": ("bit", 1.0),
    **_scaled("B", "kMGT", "B"), "byte": ("B", 1.0), "bytes": ("B", 1.0),
    "KiB": ("B", 2.0**10), "MiB": ("B", 2.0**20), "GiB": ("B", 2.0**30),
    **_scaled("FLOP", "kMGTP", "FLOP"),
    **_scaled("FLOP/s", "kMGTP", "FLOP/s"), **_scaled("FLOPS", "kMGTP", "FLOP/s"),
    "FLOP/cycle": ("FLOP/cycle", 1.0),
    **_scaled("J/FLOP", "pnuµm", "J/FLOP"),
    **_scaled("bit/s", "kMGT", "bit/s"),
    "W/Hz": ("W/Hz", 1.0),
    "W*s^3": ("W*s^3", 1.0), "J*s^2": ("W*s^3", 1.0),
    "/s": ("1/s", 1.0), "/min": ("1/s", 1.0 / 60.0), "/h": ("1/s", 1.0 / 3600.0), "/day": ("1/s", 1.0 / 86400.0),
    "token/s": ("token/s", 1.0), "tokens/s": ("token/s", 1.0), "J/token": ("J/token", 1.0),
    "": ("", 1.0), "%": ("", 0.01),
}
#: logarithmic units -> dimension
_LOGARITHMIC: Final = {"dB": "", "dBm": "W", "dBW": "W", "dBm/Hz": "W/Hz", "dBW/Hz": "W/Hz"}

_QUANTITY: Final = re.compile(r"^\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)?\s*$")


def db_to_linear(value_db: float) -> float:
    """Power ratio of a value in decibel."""
    return float(10.0 ** (value_db / 10.0))


def dbm_to_watt(value_dbm: float) -> float:
    """Watts of a power in dBm (0 dBm = 1 mW).

    Parameters
    ----------
    value_dbm : array_like
        Power in dBm.
    """
    return float(10.0 ** ((value_dbm - 30.0) / 10.0))


def watt_to_dbm(value_w: float) -> float:
    """Power in dBm of watts.

    Parameters
    ----------
    value_w : array_like
        Power in W.
    """
    return 10.0 * math.log10(value_w) + 30.0


def parse_quantity(value: object, unit: str) -> float:
    """Turn a number or a text with a unit into a float in the SI `unit`.

    Parameters
    ----------
    value : int, float or str
        A number is taken to be in `unit` already; a text is a number and a unit symbol ("20 MHz"). A text without a
        unit is a number too, because YAML reads ``1e-9`` and ``20e6`` as text.
    unit : str
        The SI unit of the result: "Hz", "W", "J", "s", "m", "bit", "B", "FLOP", "FLOP/s", "FLOP/cycle", "J/FLOP",
        "bit/s", "W/Hz", "W*s^3", "1/s" (also "/min", "/h", "/day"), "token/s", "J/token" or "" (dimensionless,
        also "dB" and "%").

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Not a quantity, not finite, unknown unit, or a unit of another dimension; the message says what was expected.

    Examples
    --------
    >>> parse_quantity("20 MHz", "Hz")
    20000000.0
    >>> round(parse_quantity("23 dBm", "W"), 4)
    0.1995
    """
    expected = f"expected a number{f' in {unit}' if unit else ''} or a text such as {_example(unit)}"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a quantity; {expected}")
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None:
            raise ValueError(f"{value!r} is not a quantity; {expected}")
        number, symbol = float(match[1].replace("_", "")), (match[2] or "").strip()
        result = number if not symbol else _convert(number, symbol, unit, value)
    else:
        result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{value!r} is not finite; {expected}")
    return result


def _convert(number: float, symbol: str, unit: str, text: str) -> float:
    if symbol in _LOGARITHMIC:
        dimension = _LOGARITHMIC[symbol]
        result = db_to_linear(number) if symbol in ("dB", "dBW", "dBW/Hz") else dbm_to_watt(number)
    elif symbol in UNITS:
        dimension, factor = UNITS[symbol]
        result = number * factor
    else:
        raise ValueError(f"{text!r} has an unknown unit '{symbol}'; {_example(unit)} would do")
    if dimension != unit:
        named = {"": "a plain number"}
        raise ValueError(
            f"{text!r} is in {named.get(dimension, dimension)}, but {named.get(unit, unit)} is needed "
            f"(such as {_example(unit)})"
        )
    return result


def _example(unit: str) -> str:
    examples = {"Hz": "'20 MHz'", "W": "'23 dBm' or '0.2 W'", "J": "'5 J'", "s": "'50 ms'", "m": "'120 m'",
                "bit": "'33 Mbit'", "B": "'8 GB'", "FLOP": "'2 GFLOP'", "FLOP/s": "'4.3 TFLOP/s'",
                "FLOP/cycle": "'1024 FLOP/cycle'", "J/FLOP": "'3.6 pJ/FLOP'", "bit/s": "'100 Mbit/s'",
                "W/Hz": "'-174 dBm/Hz'", "W*s^3": "'1e-27 W*s^3'", "": "'0.3' or '7 dB'",
                "1/s": "'12/h'", "token/s": "'20 token/s'", "J/token": "'0.5 J/token'"}
    return examples.get(unit, f"'1 {unit}'")


def format_count(number: int, noun: str) -> str:
    """A number of things.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        Of what, in the singular.

    Examples
    --------
    >>> format_count(1, "device"), format_count(2, "device"), format_count(3, "micro-batch")
    ('1 device', '2 devices', '3 micro-batches')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith(('ch', 'ss')) else 's'}"


def format_percent(part: float, whole: float) -> str:
    """A part of a whole in percent; a part below a tenth of a percent is said to be one, and no whole is 0 %.

    Examples
    --------
    >>> format_percent(1, 8), format_percent(1, 5000), format_percent(3, 3), format_percent(0, 0)
    ('12.5 %', '<0.1 %', '100 %', '0 %')
    """
    if not whole:
        return "0 %"
    share = 100.0 * part / whole
    if 0.0 < share < 0.1:
        return "<0.1 %"
    return f"{share:.0f} %" if share >= 99.95 else f"{share:.1f} %"


def format_price(value: float) -> str:
    """Three digits, without an exponent where that is readable; "-" for what is not finite.

    Parameters
    ----------
    value : float
        In any unit.

    Examples
    --------
    >>> format_price(0.00123456), format_price(1.5e-7), format_price(float("nan"))
    ('0.00123', '1.50e-07', '-')
    """
    if not math.isfinite(value):
        return "-"
    return f"{value:.3g}" if value == 0.0 or 1e-4 <= abs(value) < 1e6 else f"{value:.2e}"


def format_time(seconds: float) -> str:
    """A duration as people say it: seconds with a prefix up to two minutes, then minutes, hours, days.

    Examples
    --------
    >>> format_time(0.0421), format_time(95.0), format_time(1800.0), format_time(1e4), format_time(1e6)
    ('42.1 ms', '95 s', '30 min', '2.78 h', '11.6 days')
    """
    for least, length, unit in ((172800.0, 86400.0, "days"), (7200.0, 3600.0, "h"), (120.0, 60.0, "min")):
        if least <= seconds < math.inf:
            return f"{format_price(seconds / length)} {unit}"
    return format_si(seconds, "s")


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """A value with the SI prefix that keeps it short, as text.

    Parameters
    ----------
    value : float
        In the unit.
    unit : str
        SI unit.
    digits : int
        Significant digits.

    Examples
    --------
    >>> format_si(2.0e7, "Hz")
    '20 MHz'
    """
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    rounded = float(f"{value:.{digits}g}")  # 999.9999 is printed as 1 k, not as 1e+03
    exponent = math.floor(math.log10(abs(rounded)) / 3.0 + 1e-12) * 3
    prefixes = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
    exponent = min(max(exponent, -12), 15)
    return f"{value / 10.0**exponent:.{digits}g} {prefixes[exponent]}{unit}".rstrip()
