"""What is computed for one setting: one device, the four parallelisms on all boards, and the proven best plans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.core.weights import Weights
from edgealloc.formulations.pool_training.plan import Plan

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.pool_training.plan import PoolCosts
    from edgealloc.formulations.pool_training.problem import PoolTraining
    from edgealloc.reproduce.zeng_2024.settings import Setting

__all__ = ["BEST", "CERTIFIED", "PARALLELISMS", "fastest_device", "measure", "unlimited"]

#: The four of the paper: as every method of a figure, by the name of the parallelism.
PARALLELISMS: Final = ("data", "sequence", "tensor", "pipeline")
#: The plans with the least time and with the least energy, over all subsets, parallelisms, splits and orders.
CERTIFIED: Final = {"best time": Weights(delay=1.0, energy=0.0), "best energy": Weights(delay=0.0, energy=1.0)}
#: quantity of a figure -> the certified plan that goes with it.
BEST: Final = {"relative_time": "best time", "relative_energy": "best energy"}
#: No board has as much.
_UNLIMITED_BYTES: Final = 1e18


def unlimited(problem: PoolTraining) -> PoolTraining:
    """The same problem with boards whose memory holds everything."""
    return problem.replace(memory_bytes=np.full(problem.devices, _UNLIMITED_BYTES))


def fastest_device(problem: PoolTraining) -> tuple[Plan, PoolCosts, bool]:
    """Training on one device, the fastest: its plan, its costs, and whether its memory suffices.

    The first of equal ones. It takes the batch micro-batch by micro-batch and adds up the gradients, a pipeline of one
    stage: the same work in less memory. Where the model does not fit, the costs are those of a device with more.
    """
    alone = ((problem.layers,), ((problem.micro_batch,),))
    plans = [Plan("pipeline", ((i,),), *alone) for i in range(problem.devices)]
    costs = [problem.evaluate(plan) for plan in plans]
    best = min(range(problem.devices), key=lambda i: (costs[i].time_s, i))
    return plans[best], costs[best], not problem.violations(plans[best]).get("memory_bytes", 0.0) > 0.0


def measure(
    setting: Setting, *, certified: tuple[str, ...] = tuple(CERTIFIED), gap: float = 1e-2,
    time_limit_s: float | None = 20.0,
) -> list[dict[str, Any]]:
    """Every method's row for one setting.

    Parameters
    ----------
    setting : Setting
    certified : tuple of str
        Which of `CERTIFIED` are solved.
    gap, time_limit_s
        Of the certified solves.

    Returns
    -------
    list of dict
        ``method``, ``fits`` (the plan keeps every memory; of one device: that of the fastest), ``parallelism``,
        ``devices`` (how many take part), ``time_per_sample_s``, ``energy_per_sample_j`` (of a plan that does not fit:
        with unlimited memory), ``relative_time``, ``relative_energy`` (over one device), ``memory_share`` (peak memory
        over capacity, of the fullest device), ``bound_time_per_sample_s``, ``bound_energy_per_sample_j`` (proven; nan
        where nothing is), ``message``, and the setting's own values.
    """
    problem = setting.problem()
    free = unlimited(problem)
    plan, reference, fits = fastest_device(problem)
    rows = [{**_row(problem, "single", plan, reference, reference, fits), "parallelism": "single"}]
    plans = [plan] if fits else []
    for name in PARALLELISMS:
        solution = _parallel(problem, name)
        plans += [] if solution.allocation is None else [solution.allocation]
        found = solution.allocation
        shown = found if found is not None else _parallel(free, name).allocation
        rows.append(_row(problem, name, shown, None if shown is None else problem.evaluate(shown), reference,
                         found is not None, "" if found is not None else _reason(solution)))
    for name in certified:
        rows.append(_certified(problem.replace(weights=CERTIFIED[name]), name, reference, plans, gap, time_limit_s))
    whole = {
        "testbed": setting.testbed, "version": setting.version, "network": setting.network,
        "rate_mbit": setting.rate_mbit, "batch": setting.batch, "training": setting.training, "model": setting.model,
    }
    return [{**whole, **row} for row in rows]


def _parallel(problem: PoolTraining, name: str) -> Solution[Any, Any]:
    """A pure parallelism with all devices, as the library's baseline of that name plans it."""
    return problem.solve(name)


def _certified(
    problem: PoolTraining, name: str, reference: PoolCosts, plans: list[Plan], gap: float, time_limit_s: float | None
) -> dict[str, Any]:
    """The certified plan, started from the best of the other plans and of the library's rule for hybrids."""
    hybrid = problem.solve("hybrid", time_limit_s=time_limit_s).allocation
    known = plans if hybrid is None else [*plans, hybrid]
    start = min(known, key=lambda one: problem.evaluate(one).objective, default=None)
    solution = problem.solve("certified", gap=gap, time_limit_s=time_limit_s, warm_start=start)
    plan = solution.allocation
    bound = math.nan if solution.bound is None else solution.bound / problem.batch
    row = _row(problem, name, plan, None if plan is None else problem.evaluate(plan), reference, plan is not None,
               "" if plan is not None else _reason(solution))
    key = "bound_time_per_sample_s" if name == "best time" else "bound_energy_per_sample_j"
    return {**row, key: bound, "status": solution.status.value}


def _reason(solution: Solution[Any, Any]) -> str:
    if solution.attempts:
        return solution.attempts[-1]
    if solution.diagnosis is None:
        return solution.status.value
    return "; ".join(f"{one.where}: {one.repair}" for one in solution.diagnosis.conflicts)


def _row(
    problem: PoolTraining, method: str, plan: Plan | None, costs: PoolCosts | None, reference: PoolCosts, fits: bool,
    message: str = "",
) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "fits": fits, "parallelism": "", "devices": 0, "status": ""}
    numbers = dict.fromkeys(
        ("time_per_sample_s", "energy_per_sample_j", "relative_time", "relative_energy", "memory_share",
         "bound_time_per_sample_s", "bound_energy_per_sample_j"), math.nan)
    if plan is not None and costs is not None:
        here = list(plan.devices)
        row |= {"parallelism": plan.parallelism, "devices": len(here)}
        numbers |= {
            "time_per_sample_s": float(costs.time_per_sample_s),
            "energy_per_sample_j": float(costs.energy_per_sample_j),
            "relative_time": float(costs.time_s / reference.time_s),
            "relative_energy": float(costs.energy_j / reference.energy_j),
            "memory_share": float(np.max(costs.memory_bytes[here] / problem.memory_bytes[here])),
        }
    return {**row, **numbers, "message": message}
