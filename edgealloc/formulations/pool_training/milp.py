r"""Method "milp": devices, order and layers of a pipeline as one mixed-integer linear programme, solved by HiGHS.

The model (`milp_model`) is a relaxation, so the dual bound of HiGHS is a lower bound of all pipelines and single
devices, also when time runs out; the plan behind its solution is simulated and improved by moving layers. The bound is

.. math::

    \min(U, \; \mathrm{dual} - g),

with U the best objective known (beyond which T was cut off in the model) and g for the tolerances of HiGHS: it holds
rows, bounds and integrality to 1e-9 in units in which times and loads are about 1; a millionth of U is taken off.
HiGHS itself computes in floating point: method "certified" is rigorous in that respect, too.

Data, sequence and tensor plans are bounded by `whole_pool`, the smallest bound counts. Nothing is proven where
"hybrid" is allowed: groups are not in the model. What remains between bound and plan is the difference between the
schedule and the bounds of the model, which branching does not close.

HiGHS runs on one thread, so that the result does not depend on `threads`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Status, Termination
from edgealloc.formulations.pool_training.feasibility import diagnosis
from edgealloc.formulations.pool_training.milp_model import PipelineModel
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost, warm_up
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.partition import best_partition, improved
from edgealloc.formulations.pool_training.search.starts import starting_plans
from edgealloc.solvers.milp import solve_milp

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["MOST_BINARIES", "TOLERANCE", "run"]

#: Larger models are not worth beginning with.
MOST_BINARIES: Final = 20_000
#: Primal, dual and integrality tolerance of HiGHS.
TOLERANCE: Final = 1e-9
#: Share of the objective taken off the dual bound.
GUARD: Final = 1e-6


def run(problem: PoolTraining, run: Run) -> Outcome:
    """Solve; see the module's text. Time limit and Ctrl-C return the best so far."""
    cost = FastCost(problem)
    best = Incumbent(problem, cost, run)
    attempts: list[str] = []
    termination, bound = Termination.STAGES_EXHAUSTED, -math.inf
    try:
        warm_up(run)
        if run.warm_start is not None:
            best.offer(run.warm_start)
        # groups are not in the model: without them the heuristics propose what the model is about
        narrow = _without_groups(problem)
        for plan in starting_plans(narrow, FastCost(narrow), run) if narrow is not None else ():
            best.offer(plan)
        if "pipeline" in problem.parallelisms or "single" in problem.parallelisms:
            bound = _pipelines(problem, cost, best, run, attempts)
        else:
            bound = math.inf
        bound = min(bound, _others(problem, best, attempts))
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    if best.plan is None and bound == math.inf:
        return Outcome(diagnosis=diagnosis(problem), termination=termination, attempts=tuple(attempts))
    bound = min(bound, best.value)
    if best.plan is not None and bound >= best.value - run.gap * abs(best.value):
        termination = Termination.GAP
    elif termination == Termination.STAGES_EXHAUSTED and run.seconds_left <= 0.0:
        termination = Termination.TIME_LIMIT
    return Outcome(best.plan, bound=bound if math.isfinite(bound) else None, termination=termination,
                   attempts=tuple(attempts))


def _without_groups(problem: PoolTraining) -> PoolTraining | None:
    allowed = tuple(one for one in problem.parallelisms if one != "hybrid")
    return problem.replace(parallelisms=allowed) if allowed else None


def _pipelines(problem: PoolTraining, cost: FastCost, best: Incumbent, run: Run, attempts: list[str]) -> float:
    """Lower bound of pipelines and single devices; the plans found go to `best`."""
    run.check_time()
    model = PipelineModel(problem, cost, *_scales(problem, cost, best))
    if not model.devices:
        return math.inf
    if len(model.has) + len(model.begin) > MOST_BINARIES:
        attempts.append(f"milp: {len(model.has) + len(model.begin)} binaries are more than {MOST_BINARIES}; "
                        "use 'certified'")
        return -math.inf
    start = None
    if best.plan is not None and best.plan.parallelism in ("single", "pipeline"):
        start = model.start_of(best.plan)
    run.report("model", len(model.has) + len(model.begin), best.value)
    left = run.seconds_left
    result = solve_milp(model.model, time_limit_s=None if math.isinf(left) else max(left, 1e-3), gap=0.1 * run.gap,
                        tolerance=TOLERANCE, start=start)
    if result.status != Status.OPTIMAL:
        attempts.extend(result.attempts)
    if result.values is not None:
        _offer(problem, cost, best, model, result.values)
    bound = -math.inf
    if result.bound is not None:
        proven = min(result.bound * model.unit, best.value)
        bound = proven - GUARD * abs(proven) if math.isfinite(proven) else proven
    run.report("solved", 0, best.value, bound)
    return bound


def _scales(problem: PoolTraining, cost: FastCost, best: Incumbent) -> tuple[float, float, float, float]:
    """Units of time and objective; longest and shortest time of a pipeline that is better than the best plan."""
    soonest = problem.batch * cost.work / sum(cost.speed) * (1.0 - 1e-12)
    latest = best.latest_s
    joules = problem.batch * cost.work * min((busy - idle) / speed for busy, idle, speed in zip(
        cost.busy, cost.idle, cost.speed, strict=True))
    rate = problem.per_second + problem.per_joule * min(cost.idle)
    if rate > 0.0 and math.isfinite(best.value):
        latest = min(latest, (best.value - problem.per_joule * joules) / rate * (1.0 + 1e-9))
    unit = max(soonest, 1e-300)
    if math.isfinite(latest):
        unit = max(latest, unit)
        latest = max(latest, soonest)
    value = best.value if math.isfinite(best.value) else rate * unit + problem.per_joule * joules
    return unit, max(value, 1e-300), latest, soonest


def _offer(
    problem: PoolTraining, cost: FastCost, best: Incumbent, model: PipelineModel, values: Mapping[str, float]
) -> None:
    """The plan of a solution, its layers moved, its order with other layers, and its device alone."""
    plan = model.plan_of(values)
    if "pipeline" in problem.parallelisms:
        best.offer(plan)
        if best.plan == plan:
            best.offer(improved(cost, best.value, plan)[1])
        other = best_partition(cost, "pipeline", plan.stages)
        if other is not None:
            best.offer(other[1])
    if "single" in problem.parallelisms and len(plan.devices) == 1:
        best.offer(Plan("single", plan.stages, plan.layers, ((problem.batch,),)))


def _others(problem: PoolTraining, best: Incumbent, attempts: list[str]) -> float:
    """Lower bound of the allowed parallelisms that are not in the model."""
    if "hybrid" in problem.parallelisms:
        attempts.append("milp: hybrid plans are not in the model; nothing is proven about them")
        return -math.inf
    from edgealloc.formulations.pool_training.certificate.device_types import DeviceTypes, PoolData, gather
    from edgealloc.formulations.pool_training.certificate.whole_pool import offer_sets, one_stage

    wanted = [one for one in problem.parallelisms if one not in ("single", "pipeline")]
    if not wanted:
        return math.inf
    data = PoolData(problem)
    types = max((one for one in (DeviceTypes(data, kinds) for kinds in gather(data, most=16))
                 if one.codes <= 1 << 14), key=lambda one: one.types)
    bounds = (offer_sets(types, one_stage(types, one), best, 200, best.run.gap) for one in wanted)
    return min(bounds) * (1.0 - GUARD)
