"""Plans with which searches begin: what baselines and heuristics propose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.baselines import greedy_plans, single_plans
from edgealloc.formulations.pool_training.fastcost import FastCost
from edgealloc.formulations.pool_training.hybrid import hybrid_plans
from edgealloc.formulations.pool_training.plan import Plan

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["starting_plans"]


def starting_plans(problem: PoolTraining, cost: FastCost, run: Run) -> Iterator[Plan]:
    """Single devices, the fastest 1, 2, ... devices under the best parallelism, and pipelines of groups.

    Raises
    ------
    TimeUpError
    """
    if "single" in problem.parallelisms:
        yield from single_plans(problem)
    for _, plan in greedy_plans(problem, cost):
        yield plan
        run.check_time()
    if "hybrid" in problem.parallelisms:
        yield from (plan for _, plan in hybrid_plans(problem, cost, run, quick=problem.devices > 12))
