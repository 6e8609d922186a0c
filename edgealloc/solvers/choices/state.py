"""What is known while a problem is being solved; changed in place, so that an interruption loses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgealloc.core.status import Termination
from edgealloc.solvers.choices.data import Choices, ChoicesAnswer
from edgealloc.solvers.choices.kernels import fill, repair
from edgealloc.solvers.choices.part import Part
from edgealloc.solvers.pricing import relative_gap

__all__ = ["Judge", "State"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: Whether the caller accepts a choice that fits.
Judge = Callable[[IntArray], bool]


@dataclass
class State:
    """The best choice and the best bound so far.

    Attributes
    ----------
    problem : Choices
    judge : callable, optional
    choice, objective
        The best choice that fits.
    nearest, excess
        The choice with the least sum of excesses, and that sum.
    bound : float
        Proven lower bound of the problem.
    prices : (C,) or None
        Prices that prove the root bound.
    infeasible : bool
    highs : bool
        Whether HiGHS may be asked about what the search leaves open.
    """

    problem: Choices
    judge: Judge | None = None
    choice: IntArray | None = None
    objective: float = math.inf
    nearest: IntArray | None = None
    excess: float = math.inf
    bound: float = -math.inf
    prices: FloatArray | None = None
    infeasible: bool = False
    highs: bool = True
    termination: Termination = Termination.STAGES_EXHAUSTED
    attempts: list[str] = field(default_factory=list)

    def found(self) -> bool:
        """Whether a choice that fits is known."""
        return self.choice is not None

    def offer(self, choice: IntArray) -> bool:
        """Take a choice if it fits and is the best so far; returns whether it was taken."""
        objective = self.problem.objective(choice)
        if objective >= self.objective:
            return False
        if not self.problem.fits(choice):
            excess = float(np.maximum(self.problem.load(choice) - 1.0, 0.0).sum())
            if excess < self.excess:
                self.nearest, self.excess = choice.copy(), excess
            return False
        if self.judge is not None and not self.judge(choice):
            return False
        self.choice, self.objective = choice.copy(), objective
        return True

    def mend(self, part: Part, choice: IntArray, prices: FloatArray, *, thrifty: bool = False) -> bool:
        """Make a choice of a part fit, improve it by single moves and offer it; `choice` is changed."""
        load = part.load(choice)
        data = (part.start, part.cost, part.use, part.capacity)
        if repair(*data, prices, part.limit, choice, load, thrifty) <= 0.0:
            fill(*data, prices, part.limit, choice, load)
        return self.offer(part.whole(choice))

    def prove(self, bound: float) -> None:
        """Raise the bound; one that holds for choices that are within a caller's tolerance may exceed none of ours."""
        self.bound = max(self.bound, min(bound, self.objective))

    def gap(self) -> float:
        """Relative gap, inf before anything is known."""
        return relative_gap(self.objective, self.bound)

    def cutoff(self, gap: float) -> float:
        """Choices that cost at least this are of no interest; inf before a choice is known."""
        return self.objective - gap * abs(self.objective) if math.isfinite(self.objective) else math.inf

    def answer(self) -> ChoicesAnswer:
        """What is known, for the caller."""
        found = self.choice is not None
        overload = None
        if not found and self.nearest is not None:
            overload = np.maximum(self.problem.load(self.nearest) - 1.0, 0.0)
        return ChoicesAnswer(
            self.choice, self.objective, math.inf if self.infeasible else self.bound, self.prices, self.termination,
            self.infeasible, overload, None if found else self.nearest, tuple(self.attempts),
        )
