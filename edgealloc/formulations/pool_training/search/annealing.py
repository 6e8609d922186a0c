r"""Simulated annealing over pipelines of groups, on the exact schedule (compiled).

A step changes groups, layers, shares or the order of stages by chance (`moves`). Layers of new groups are those of a
dynamic program for the given order (bound 1 of `bounds.pipeline_bound` and the all-reduce), shares the best for time
and energy that fit into memory (`filling`). Steps that cost more are taken with the probability
:math:`e^{-\Delta/(h v)}`, where v is the objective and the heat h falls geometrically. What is sure to be refused is
not simulated to its end. Lengths are counted in steps, so that a seed always gives the same plans.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.clock import Clock
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.filling import complete
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.moves import ALONE, GROUPED, Numbers, chance, draw, new_numbers
from edgealloc.formulations.pool_training.search.pricing import price
from edgealloc.formulations.pool_training.search.tables import (
    OPEN,
    Net,
    Pool,
    Room,
    new_room,
    plan_of,
    pool_of,
    rows_of,
)

__all__ = ["Annealing"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Heat of the last step.
COLD: Final = 2e-4
#: Operations of a schedule (passes and hand-overs) between two looks at the clock.
CHUNK: Final = 40_000


@kernel
def copy_rows(of: IntArray, to: IntArray, stages: int) -> None:
    """Copy the rows of a pipeline."""
    for p in range(stages):
        for column in range(of.shape[1]):
            to[p, column] = of[p, column]


@kernel
def walk(
    q: Pool, net: Net, r: Room, c: Clock, weights: IntArray, now: IntArray, other: IntArray, found: IntArray,
    counts: IntArray, levels: FloatArray, cooling: float, numbers: Numbers, steps: int, enough: float,
) -> int:
    """Some steps; how many were left when a plan was good enough.

    Parameters
    ----------
    q, net, r, c, weights, numbers
    now, other, found : (S, 3 + 5 G)
        The pipeline, one to try, and the best.
    counts : (2,)
        Stages of `now` and `found`.
    levels : (3,)
        Their objectives, and the heat.
    cooling : float
        What the heat is multiplied by in every step.
    steps : int
    enough : float
        Objective that ends the search.
    """
    for step in range(steps):
        if levels[1] <= enough:
            return steps - step
        levels[2] *= cooling
        stages = counts[0]
        copy_rows(now, other, stages)
        stages, relayer = draw(q.able, q.most, q.layers, weights, other, stages, numbers)
        worst = levels[0] - levels[2] * levels[0] * math.log(1.0 - chance(numbers))
        if stages == 0 or not complete(q, net, r, other, stages, relayer):
            continue
        value = price(q, net, r, c, other, stages, worst)
        if value <= worst:
            copy_rows(other, now, stages)
            counts[0], levels[0] = stages, value
            if value < levels[1] * (1.0 - 1e-12):
                copy_rows(other, found, stages)
                counts[1], levels[1] = stages, value
    return 0


class Annealing:
    """Searches of one problem.

    Parameters
    ----------
    cost : FastCost
    best : Incumbent
        Everything better is offered to it.
    """

    def __init__(self, cost: FastCost, best: Incumbent) -> None:
        self.cost, self.best, self.problem = cost, best, cost.problem
        self.numbers = new_numbers(best.run.seed)
        self._known: dict[str, tuple[Pool, Net, Room, Clock]] = {}

    def arrays(self, kind: str) -> tuple[Pool, Net, Room, Clock]:
        """What kernels know of the problem, and where they reckon."""
        if kind not in self._known:
            pool, net = pool_of(self.cost, kind)
            self._known[kind] = pool, net, *new_room(pool, net)
        return self._known[kind]

    def filled(self, kind: str, groups: Sequence[tuple[int, ...]]) -> Plan | None:
        """The plan with these stages in this order whose layers have the least bound; None if none fits into memory."""
        pool, net, room, _ = self.arrays(kind)
        stages = len(groups)
        rows = rows_of(pool, net, Plan(kind, tuple(groups), (0,) * stages, tuple((0,) * len(one) for one in groups)))
        rows[:stages, OPEN] = 1
        return plan_of(pool, rows, stages) if complete(pool, net, room, rows, stages, True) else None

    def anneal(self, plan: Plan, steps: int, heat: float, until_s: float = math.inf, enough: float = -math.inf) -> Plan:
        """The best plan met on the way from `plan`; it is offered to the incumbent, also if time runs out.

        Parameters
        ----------
        plan : Plan
            A pipeline or hybrid that fits into memory.
        steps : int
        heat : float
            Of the first step: share of the objective that a step may well lose.
        until_s : float
            When to stop, in seconds of the run.
        enough : float
            Objective that ends the search.

        Raises
        ------
        TimeUpError
        KeyboardInterrupt
        """
        run = self.best.run
        pool, net, room, clock = self.arrays(plan.parallelism)
        now = rows_of(pool, net, plan)
        other, found = now.copy(), now.copy()
        value = price(pool, net, room, clock, now, len(plan.stages), math.inf)
        counts = np.array([len(plan.stages), len(plan.stages)])
        levels = np.array([value, value, heat])
        cooling = (COLD / heat) ** (1.0 / max(steps, 1))
        chunk = max(1, CHUNK // (pool.micro * now.shape[0]))
        weights = GROUPED if pool.most > 1 else ALONE
        try:
            while steps > 0:
                run.check_time()
                if levels[1] <= enough or run.seconds > until_s:
                    break
                walk(pool, net, room, clock, weights, now, other, found, counts, levels, cooling, self.numbers,
                     min(chunk, steps), enough)
                steps -= chunk
        finally:
            plan = plan_of(pool, found, int(counts[1]))
            if levels[1] < self.best.value:
                self.best.offer(plan)
        return plan
