"""Plans with which searches begin: what baselines and heuristics propose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.baselines import greedy_plans, single_plans
from edgealloc.formulations.pool_training.hybrid import hybrid_plans, sizes_to_try
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["starting_plans"]

#: Of larger pools fewer numbers and orders of devices are tried.
MOST_IN_DETAIL: Final = 12


def starting_plans(problem: PoolTraining, cost: FastCost, run: Run) -> Iterator[Plan]:
    """Single devices, some numbers of the fastest devices under the best parallelism, and pipelines of groups.

    Raises
    ------
    TimeUpError
    """
    if "single" in problem.parallelisms:
        yield from single_plans(problem)
    quick = problem.devices > MOST_IN_DETAIL
    for _, plan in greedy_plans(problem, cost, sizes_to_try(problem.devices, quick)):
        yield plan
        run.check_time()
    if "hybrid" in problem.parallelisms:
        yield from (plan for _, plan in hybrid_plans(problem, cost, run, quick))
