"""Types of scenario fields: a plain SI number or a text with a unit, in a range, turned into a float.

Every number of a file passes through here, so what YAML makes of numbers is handled in one place: ``1e-9``
and
``20e6`` arrive as text, ``no`` and ``on`` as truth values.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgealloc.units import UNITS, parse_quantity, watt_to_dbm

__all__ = [
    "BitRate",
    "Bytes",
    "Count",
    "CycleSpread",
    "Deadline",
    "Decibel",
    "Flag",
    "FlopRate",
    "Fraction",
    "Hertz",
    "HertzSpread",
    "KappaSpread",
    "Layers",
    "Metres",
    "Mixture",
    "Number",
    "Penalty",
    "Points",
    "Positive",
    "PositiveWatts",
    "Quantity",
    "Seed",
    "Spread",
    "Text",
    "Watts",
    "WattsPerHertz",
    "WattsSpread",
    "Whole",
    "WholeNumber",
    "WholeSpread",
    "short",
    "unit_of",
    "word_of",
    "written",
]

_YAML_HINT: Final = " (YAML reads yes, no, on and off as truth values: put the text in quotes)"


def short(value: object) -> str:
    """A value for a message: never more than some 60 characters, however deep the structure."""
    limited = reprlib.Repr()
    limited.maxstring = limited.maxother = 48
    limited.maxlist = limited.maxdict = 4
    limited.maxlevel, limited.maxlong = 2, 24
    text = limited.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Plain:
    """A field type whose whole validation is `parse(value)`, which raises ValueError in the user's words."""

    def parse(self, value: Any) -> Any:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(self.parse)


@dataclass(frozen=True)
class Quantity(_Plain):
    """A number in an SI unit, or a text with any unit of that dimension, in a range.

    Attributes
    ----------
    unit : str
        SI unit, "" for a plain number.
    low, high : float
        Allowed range, ends included unless `open_low`.
    open_low : bool
    """

    unit: str = ""
    low: float = 0.0
    high: float = math.inf
    open_low: bool = False

    def parse(self, value: Any) -> float:
        if isinstance(value, bool):
            raise ValueError(f"is {value}, not a quantity{_YAML_HINT}")
        if not isinstance(value, (int, float, str)) or (isinstance(value, str) and len(value) > 60):
            unit = f" in {self.unit}" if self.unit else ""
            raise ValueError(f"is {short(value)}; it must be a number{unit}, or a text with a unit")
        try:
            number = parse_quantity(value, self.unit)
        except OverflowError:
            raise ValueError(f"is {short(value)}, beyond every floating-point number") from None
        except ValueError as error:
            raise ValueError(str(error).replace("a number in  or", "a number or")) from None
        too_low = number <= self.low if self.open_low else number < self.low
        if too_low or number > self.high:
            said = f" (written {value!r})" if isinstance(value, str) and value.strip() != f"{number:g}" else ""
            raise ValueError(f"is {number:g}{self._unit}{said}; it must be {self.allowed}")
        return number

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""

    @property
    def allowed(self) -> str:
        """The range in words: "> 0 Hz", "from 0 to 1"."""
        low = f"{'>' if self.open_low else '>='} {self.low:g}"
        if math.isinf(self.high):
            return low + self._unit
        if math.isinf(self.low):
            return f"<= {self.high:g}{self._unit}"
        joint = (
            f"above {self.low:g} and at most {self.high:g}" if self.open_low else f"from {self.low:g} to {self.high:g}"
        )
        return joint + self._unit


@dataclass(frozen=True)
class EndlessQuantity(Quantity):
    """A quantity, or the word that stands for infinity: what a group says that wants no such limit.

    Attributes
    ----------
    word : str
    """

    word: str = "none"

    def parse(self, value: Any) -> float:
        text = value.strip().lower() if isinstance(value, str) else value
        # infinity itself is what `Scenario.mapping` hands back
        if text == self.word or (isinstance(value, float) and value == math.inf):
            return math.inf
        try:
            return super().parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or '{self.word}'") from None


@dataclass(frozen=True)
class DecibelValue(_Plain):
    """A level kept in decibel: ``5`` or ``"5 dB"``."""

    def parse(self, value: Any) -> float:
        text = value.strip().removesuffix("dB") if isinstance(value, str) else value
        number = Quantity("", low=-math.inf).parse(text)
        if abs(number) > 400.0:
            raise ValueError(f"is {number:g} dB; a level between -400 dB and 400 dB is expected")
        return number


@dataclass(frozen=True)
class WholeNumber(_Plain):
    """A whole number; ``2e2`` and ``"2e2"`` (YAML's text) are 200."""

    low: int = 0
    high: int = 2**53

    def parse(self, value: Any) -> int:
        number = Quantity("", low=-math.inf).parse(value)
        if number != math.floor(number):
            raise ValueError(f"is {short(value)}; it must be a whole number")
        # an int stays what it is: 2**60 has no exact float of its own, and a seed may be that large
        whole = value if isinstance(value, int) else int(number)
        if not self.low <= whole <= self.high:
            raise ValueError(
                f"is {short(whole)}; it must be from {self.low} to {self.high}"
                if self.high < 2**53
                else f"is {short(whole)}; it must be a whole number >= {self.low}"
            )
        return whole


@dataclass(frozen=True)
class FlagValue(_Plain):
    """true or false, also in the words of YAML 1.1."""

    def parse(self, value: Any) -> bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in words:
            return words[value.strip().lower()]
        raise ValueError(f"is {short(value)}; it must be true or false")


@dataclass(frozen=True)
class TextValue(_Plain):
    """A text, told apart from what YAML takes for a truth value, a date or a number."""

    def parse(self, value: Any) -> str:
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, bool):
            raise ValueError(f"is {value}, not a text{_YAML_HINT}")
        if not isinstance(value, str):
            raise ValueError(f"is {short(value)}, not a text; put it in quotes if it is meant as one")
        if "\0" in value:
            raise ValueError("holds a NUL character")
        return value


@dataclass(frozen=True)
class SpreadValue(_Plain):
    """One number for everybody, or ``[low, high]`` from which everyone's own is drawn, both ends included.

    Attributes
    ----------
    item : Quantity or WholeNumber
        What each end must be; between whole numbers a whole number is drawn.
    """

    item: Quantity | WholeNumber

    def parse(self, value: Any) -> float | tuple[float, float]:
        if not isinstance(value, (list, tuple)):
            return self.item.parse(value)
        if len(value) != 2:
            raise ValueError(f"is {short(value)}; give one number or a pair [low, high]")
        ends = []
        for name, one in zip(("low", "high"), value, strict=True):
            try:
                ends.append(self.item.parse(one))
            except ValueError as error:
                raise ValueError(f"{name} end of {short(value)}: {error}") from None
        low, high = ends
        if low > high:
            raise ValueError(f"is {short(value)}; the first of the pair must not be above the second")
        return low, high


@dataclass(frozen=True)
class MixtureValue(_Plain):
    """One name, or a table ``{name = share}`` from which each user's is drawn."""

    def parse(self, value: Any) -> dict[str, float]:
        if isinstance(value, str):
            return {value: 1.0}
        if not isinstance(value, Mapping) or not value:
            raise ValueError(
                f"is {short(value)}; give a catalog name, or a table such as "
                "{ 'snapdragon-865' = 0.4, 'apple-a17-pro' = 0.6 }"
            )
        shares: dict[str, float] = {}
        for name, share in value.items():
            if not isinstance(name, str):
                raise ValueError(
                    f"has the key {name!r}, which is no text{_YAML_HINT if isinstance(name, bool) else ''}"
                )
            try:
                shares[name] = Quantity("", open_low=True).parse(share)
            except ValueError as error:
                raise ValueError(f"share of '{name}': {error}") from None
        return shares


@dataclass(frozen=True)
class PointsValue(_Plain):
    """A list of ``[x, y]`` positions in metres (or texts with a unit of length)."""

    def parse(self, value: Any) -> tuple[tuple[float, float], ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"is {short(value)}; give a list of positions [x, y] in metres")
        metre = Quantity("m", low=-math.inf)
        points: list[tuple[float, float]] = []
        for index, point in enumerate(value):
            if not isinstance(point, (list, tuple)) or len(point) != 2:
                raise ValueError(f"entry {index} is {short(point)}; every position is a pair [x, y] in metres")
            try:
                points.append((metre.parse(point[0]), metre.parse(point[1])))
            except ValueError as error:
                raise ValueError(f"entry {index}: {error}") from None
        return tuple(points)


Hertz = Annotated[float, Quantity("Hz", open_low=True)]
Watts = Annotated[float, Quantity("W")]
PositiveWatts = Annotated[float, Quantity("W", open_low=True)]
WattsPerHertz = Annotated[float, Quantity("W/Hz", open_low=True)]
Metres = Annotated[float, Quantity("m", open_low=True)]
Bytes = Annotated[float, Quantity("B")]
BitRate = Annotated[float, Quantity("bit/s", open_low=True)]
FlopRate = Annotated[float, Quantity("FLOP/s", open_low=True)]
Number = Annotated[float, Quantity()]
Positive = Annotated[float, Quantity(open_low=True)]
Fraction = Annotated[float, Quantity(high=1.0, open_low=True)]
Deadline = Annotated[float, EndlessQuantity("s", open_low=True)]
Penalty = Annotated[float, EndlessQuantity(open_low=True, word="hard")]
Decibel = Annotated[float, DecibelValue()]
Count = Annotated[int, WholeNumber(low=1)]
Whole = Annotated[int, WholeNumber(low=0)]
Layers = Annotated[int, WholeNumber(low=0)]
Seed = Annotated[int, WholeNumber(low=0)]
Flag = Annotated[bool, FlagValue()]
Text = Annotated[str, TextValue()]
Spread = Annotated[float | tuple[float, float], SpreadValue(Quantity(open_low=True))]
WholeSpread = Annotated[int | tuple[int, int], SpreadValue(WholeNumber(low=1))]
HertzSpread = Annotated[float | tuple[float, float], SpreadValue(Quantity("Hz", open_low=True))]
WattsSpread = Annotated[float | tuple[float, float], SpreadValue(Quantity("W", open_low=True))]
CycleSpread = Annotated[float | tuple[float, float], SpreadValue(Quantity("FLOP/cycle", open_low=True))]
KappaSpread = Annotated[float | tuple[float, float], SpreadValue(Quantity("W*s^3"))]
Mixture = Annotated[dict[str, float], MixtureValue()]
Points = Annotated[tuple[tuple[float, float], ...], PointsValue()]


def unit_of(metadata: Sequence[Any]) -> str | None:
    """SI unit of a field by its pydantic metadata; None if it is no quantity."""
    for one in metadata:
        if isinstance(one, SpreadValue):
            return one.item.unit if isinstance(one.item, Quantity) else None
        if isinstance(one, Quantity):
            return one.unit
        if isinstance(one, DecibelValue):
            return "dB"
    return None


def word_of(metadata: Sequence[Any]) -> str | None:
    """The word for infinity of a field by its pydantic metadata; None if it has none."""
    return next((one.word for one in metadata if isinstance(one, EndlessQuantity)), None)


#: Units that a person would write, tried from the largest; the first that gives back the same float is taken.
_PREFERRED: Final[dict[str, tuple[str, ...]]] = {
    "Hz": ("GHz", "MHz", "kHz", "Hz"),
    "W": ("W", "mW"),
    "s": ("s", "ms"),
    "m": ("km", "m"),
    "bit/s": ("Gbit/s", "Mbit/s", "kbit/s"),
    "B": ("GB", "MB", "kB", "B"),
    "FLOP/s": ("TFLOP/s", "GFLOP/s", "MFLOP/s"),
    "W/Hz": ("W/Hz",),
    "1/s": ("/s", "/min", "/h"),
    "token/s": ("token/s",),
}


def written(value: float, unit: str) -> str | float:
    """A quantity as a text with a handy unit, if that reads back as exactly the same float; else the number.

    >>> written(2.0e7, "Hz")
    '20 MHz'
    """
    candidates: list[str] = []
    if unit in ("W", "W/Hz") and value > 0.0:
        candidates.append(f"{watt_to_dbm(value):.6g} dBm{unit[1:]}")
    for symbol in _PREFERRED.get(unit, ()):
        scaled = value / UNITS[symbol][1]
        if scaled >= 1.0 or symbol == _PREFERRED[unit][-1]:
            candidates.append(f"{scaled:.6g}{'' if symbol.startswith('/') else ' '}{symbol}")
    same: Callable[[str], bool] = lambda text: parse_quantity(text, unit) == value  # noqa: E731
    if unit == "W":  # watts read better than dBm where both are exact and short
        candidates.sort(key=len)
    return next((text for text in candidates if same(text)), value)
