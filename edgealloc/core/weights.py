"""Weights that turn delay, energy and instability into one objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, nearest

__all__ = ["TERMS", "Weights"]

#: The three terms of the objective and the SI unit of each.
TERMS: dict[str, str] = {"delay": "s", "energy": "J", "stability": "1"}

WeightValue = float | npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the objective: effective weight = weight / reference.

    The objective of a user is ``sum over terms of (weight / reference) * amount`` with the amounts in s, J and 1, so
    that with a reference near a typical amount every term is of order one and a weight says what matters.

    Parameters
    ----------
    delay, energy, stability : float or array (N,)
        How much a user's delay, energy and instability matter, >= 0, dimensionless.
    reference : mapping, optional
        Typical amounts in SI units under the keys "delay" (s), "energy" (J) and "stability" (1). None means 1 s, 1 J
        and 1 for a problem built by hand; a scenario fills in its own and prints them.

    Raises
    ------
    DataError
        A negative or non-finite weight, a reference that is not positive, or an unknown term.
    """

    delay: WeightValue = 1.0
    energy: WeightValue = 1.0
    stability: WeightValue = 1.0
    reference: Mapping[str, float] | None = field(default=None)

    def __post_init__(self) -> None:
        faults: list[Fault] = []
        for term in TERMS:
            try:
                value = np.array(getattr(self, term), dtype=np.float64)
            except (TypeError, ValueError):
                faults.append(Fault(f"weights.{term}", f"is {getattr(self, term)!r}, not a number or one per user"))
                continue
            bad = ~np.isfinite(value) | (value < 0.0)
            if value.ndim > 1:
                faults.append(Fault(f"weights.{term}", f"has shape {value.shape}; give a number or one per user"))
            elif bad.any():
                where = "" if value.ndim == 0 else f"[{int(np.flatnonzero(bad)[0])}]"
                worst = float(value if value.ndim == 0 else value[bad][0])
                faults.append(Fault(f"weights.{term}{where}", f"is {worst:g}; it must be finite and >= 0"))
            if value.ndim == 0:
                object.__setattr__(self, term, float(value))
            else:
                value.setflags(write=False)
                object.__setattr__(self, term, value)
        if self.reference is not None:
            for name, amount in self.reference.items():
                if name not in TERMS:
                    faults.append(Fault(f"weights.reference.{name}", f"is no term; {nearest(name, TERMS)}"))
                elif not _positive(amount):
                    faults.append(
                        Fault(f"weights.reference.{name}", f"is {amount!r}; it must be finite and > 0 {TERMS[name]}")
                    )
            object.__setattr__(self, "reference", dict(self.reference))
        if faults:
            raise DataError(faults)

    def effective(self, term: str, users: int) -> npt.NDArray[np.float64]:
        """Weight / reference of one term as an array (users,), in 1/s, 1/J or 1."""
        scale = 1.0 if self.reference is None else self.reference.get(term, 1.0)
        return np.broadcast_to(np.asarray(getattr(self, term), dtype=np.float64) / scale, (users,))

    def with_reference(self, reference: Mapping[str, float]) -> Weights:
        """The same weights, measured against `reference` where none was given."""
        return self if self.reference is not None else Weights(self.delay, self.energy, self.stability, reference)


def _positive(amount: object) -> bool:
    return isinstance(amount, (int, float, np.number)) and bool(np.isfinite(amount)) and bool(amount > 0.0)
