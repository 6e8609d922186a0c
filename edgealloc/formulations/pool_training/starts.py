"""Plans with which searches begin: what the baselines propose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.baselines import greedy_plans, single_plans
from edgealloc.formulations.pool_training.fastcost import FastCost
from edgealloc.formulations.pool_training.plan import Plan

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["starting_plans"]


def starting_plans(problem: PoolTraining, cost: FastCost, run: Run) -> Iterator[Plan]:
    """Single devices, and the fastest 1, 2, ... devices under the best parallelism.

    Raises
    ------
    TimeUpError
    """
    if "single" in problem.parallelisms:
        yield from single_plans(problem)
    for _, plan in greedy_plans(problem, cost):
        yield plan
        run.check_time()
