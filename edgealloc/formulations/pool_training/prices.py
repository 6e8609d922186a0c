"""What more of a resource would be worth under the plan as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.costs import energy_parts_j
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import schedule
from edgealloc.formulations.pool_training.timetables import Operation

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["marginal_prices"]

FloatArray = npt.NDArray[np.float64]
Timetable = tuple[Operation, ...] | None

#: Relative step; the objective is a maximum of hyperbolas, and smooth to the right of every point.
_STEP: Final = 1e-6


def marginal_prices(problem: PoolTraining, plan: Plan) -> dict[str, FloatArray]:
    """Objective saved per extra unit of a resource under the same plan and timetable, by differences to one side.

    Parameters
    ----------
    problem : PoolTraining
    plan : Plan

    Returns
    -------
    dict
        "flops_per_s" (D,) per FLOP/s and "rate_bits_per_s" (L,) per bit/s; 0 where a resource is not used or does not
        hold the iteration up, >= 0 always. Memory has no price here: more of it changes nothing under the same plan.
    """
    run = schedule(problem, plan)
    timetable = run.timetable or None  # one more unit changes durations, and not who goes first
    base = _objective(problem, plan, timetable)
    speed, rate = np.zeros(problem.devices), np.zeros(problem.topology.links)
    for i in plan.devices:
        faster = problem.flops_per_s.copy()
        faster[i] *= 1.0 + _STEP
        speed[i] = _saved(problem, plan, timetable, base, faster[i] - problem.flops_per_s[i], flops_per_s=faster)
    used = {link for i, j in run.traffic for link in problem.network.route(i, j)}
    for link in sorted(used):
        wider = problem.topology.rate_bits_per_s.copy()
        wider[link] *= 1.0 + _STEP
        step = wider[link] - problem.topology.rate_bits_per_s[link]
        rate[link] = _saved(problem, plan, timetable, base, step, _network=problem.network.with_rates(wider))
    return {"flops_per_s": speed, "rate_bits_per_s": rate}


def _saved(
    problem: PoolTraining, plan: Plan, timetable: Timetable, base: float, step: float, **changes: Any
) -> float:
    # a copy that is not validated anew: the change is ours
    changed = copy.copy(problem)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return max((base - _objective(changed, plan, timetable)) / step, 0.0)


def _objective(problem: PoolTraining, plan: Plan, timetable: Timetable) -> float:
    """The objective alone: what `evaluate` says, without memory, bounds and tables."""
    run = schedule(problem, plan, timetable, told=False)
    return problem.per_second * run.time_s + problem.per_joule * sum(energy_parts_j(problem, plan, run))
