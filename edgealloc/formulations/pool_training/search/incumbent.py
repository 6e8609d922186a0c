"""The best plan that a search has found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["Incumbent"]


class Incumbent:
    """Keeps the best plan that fits.

    Attributes
    ----------
    value : float
        Its objective by `FastCost`, inf before there is one.
    plan : Plan or None
    latest_s : float
        The deadline, a rounding above; inf without one.
    """

    def __init__(self, problem: PoolTraining, cost: FastCost, run: Run) -> None:
        self.problem, self.cost, self.run = problem, cost, run
        self.value = math.inf
        self.plan: Plan | None = None
        self.latest_s = math.inf if problem.deadline_s is None else float(problem.deadline_s) * (1.0 + 1e-12)
        self._looked = 0

    def offer(self, plan: Plan) -> bool:
        """Take a plan if it is better and keeps all limits."""
        time, energy = self.cost.time_and_energy(plan)
        return self.take(plan, time, energy)

    def take(self, plan: Plan, time: float, energy: float) -> bool:
        """`offer` of a plan whose time and energy are known."""
        value = self.objective(time, energy)
        if value >= self.value or time > self.latest_s or not self.cost.fits(plan):
            return False
        self.value, self.plan = value, plan
        self.run.report("plan", objective=value)
        return True

    def objective(self, time: float, energy: float) -> float:
        """``w_t T + w_e E``."""
        return float(self.cost.per_second * time + self.cost.per_joule * energy)

    def beyond(self, time: float, energy: float) -> bool:
        """Whether lower bounds of time and energy show that a plan is no better, or late."""
        return time * (1.0 - 1e-12) > self.latest_s or self.objective(time, energy) * (1.0 - 1e-12) >= self.value

    def tick(self) -> None:
        """Look at the clock now and then.

        Raises
        ------
        TimeUpError
        """
        self._looked += 1
        if self._looked % 256 == 0:
            self.run.check_time()
