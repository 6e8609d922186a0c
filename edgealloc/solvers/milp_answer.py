"""What goes to a MILP solver beside the model, and what it says when it has ended."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgealloc.core.status import Termination

if TYPE_CHECKING:
    import pulp

__all__ = ["RawAnswer", "Settings", "rows_of"]


@dataclass
class RawAnswer:
    """A solver's own account: everything in the sense of a minimum without the objective's constant.

    Attributes
    ----------
    message : str
        Its status in its own words.
    termination : Termination
    values : dict or None
        What it calls its best point, unchecked.
    bound : float
        What it proved, -inf for nothing, inf for infeasible.
    unbounded : bool
        The relaxation has no least value.
    """

    message: str
    termination: Termination
    values: dict[str, float] | None = None
    bound: float = -math.inf
    unbounded: bool = False


@dataclass(frozen=True)
class Settings:
    """What a solver is asked to keep to.

    Attributes
    ----------
    until : float
        Reading of the clock at which to stop, s.
    gap, gap_abs : float
        Relative and absolute gap at which to stop.
    threads : int
    tolerance : float
        By how much rows and whole numbers may be missed.
    start : mapping
        Name of a variable -> value to begin with.
    """

    until: float
    gap: float
    gap_abs: float
    threads: int
    tolerance: float
    start: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        return max(self.until - time.perf_counter(), 0.0)


def rows_of(model: pulp.LpProblem) -> list[Any]:
    """The rows of a model; PuLP 3.3 made `constraints` a method on its way to version 4."""
    rows = model.constraints
    return list(rows()) if callable(rows) else list(rows.values())
