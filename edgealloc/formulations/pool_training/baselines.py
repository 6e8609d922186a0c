"""Baselines: one rule each. They prove nothing; what a rule proposes is re-checked by `solve` like every answer.

A rule that cannot be carried out (a device lacks memory, there are more devices than units of work) ends without a
plan and says why, naming the device and the missing bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.formulations.pool_training.costs import memory_bytes, work_units
from edgealloc.formulations.pool_training.feasibility import memory_caps
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost, warm_up
from edgealloc.formulations.pool_training.search.partition import best_partition, score
from edgealloc.formulations.pool_training.search.rings import ring_order
from edgealloc.formulations.pool_training.sharing import best_shares, equal_shares
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = [
    "RULES", "NoPlanError", "greedy_plans", "pipeline_orders", "pipeline_plan", "require_memory", "run_rule",
    "shared_plan", "single_plans", "unit_costs",
]


class NoPlanError(Exception):
    """A rule cannot be carried out; the text says why."""


def unit_costs(problem: PoolTraining, parallelism: str, members: Sequence[int]) -> tuple[list[float], list[float]]:
    """Seconds and joules (above those of waiting) of one unit on every member."""
    flops = float((problem.forward_flops + problem.backward_flops).sum()) * problem.batch
    seconds = flops / work_units(problem, parallelism) / problem.flops_per_s[list(members)]
    power = (problem.busy_power_w - problem.idle_power_w)[list(members)]
    return seconds.tolist(), (seconds * power).tolist()


# ---- plans that rules propose -----------------------------------------------------------------------------------


def single_plans(problem: PoolTraining) -> Iterator[Plan]:
    """One device does everything, for every device that can."""
    caps = memory_caps(problem, "single")
    for i in range(problem.devices):
        if caps[i] >= problem.batch:
            yield Plan("single", ((i,),), (problem.layers,), ((problem.batch,),))


def shared_plan(problem: PoolTraining, parallelism: str, members: Sequence[int], equal: bool = False) -> Plan:
    """Data, sequence or tensor parallelism of given devices: a short ring, the best shares that fit into memory.

    Raises
    ------
    NoPlanError
        More devices than units, or a device that lacks memory.
    """
    units, names = work_units(problem, parallelism), {"data": "samples", "sequence": "tokens", "tensor": "heads"}
    if len(members) > units:
        raise NoPlanError(f"{len(members)} devices cannot share {units} {names[parallelism]}")
    ring = ring_order(problem, members)
    seconds, joules = unit_costs(problem, parallelism, ring)
    caps = memory_caps(problem, parallelism)[list(ring)].tolist()
    idle = float(problem.idle_power_w[list(ring)].sum())
    per_second = problem.per_second + problem.per_joule * idle
    shares = None if equal else best_shares(units, seconds, caps, joules, per_second, problem.per_joule)
    if shares is None:  # tell what is missing at equal shares, or refuse those
        shares = equal_shares(units, len(ring))
        plan = Plan(parallelism, (ring,), (problem.layers,), (shares,))
        if not equal:
            # where even one unit does not fit, that is what is missing; else it is the sum that does not
            fewest = tuple(max(int(cap), 1) for cap in caps)
            tight = Plan(parallelism, (ring,), (problem.layers,), (fewest,)) if min(caps) < 1 else plan
            require_memory(problem, tight)
            raise NoPlanError(f"its devices have memory for {sum(caps)} of {units} {names[parallelism]}")
        require_memory(problem, plan)
    return Plan(parallelism, (ring,), (problem.layers,), (shares,))


def require_memory(problem: PoolTraining, plan: Plan) -> None:
    """Raise NoPlanError naming the devices that lack memory for a plan."""
    missing = memory_bytes(problem, plan) - problem.memory_bytes
    short = [f"{problem.device_label(int(i))} lacks {format_si(float(missing[i]), 'B')}"
             for i in np.flatnonzero(missing > 1e-9 * np.maximum(problem.memory_bytes, 1.0))]
    if short:
        raise NoPlanError("; ".join(short[:4]) + (f"; and {len(short) - 4} more devices" if len(short) > 4 else ""))


def pipeline_orders(problem: PoolTraining, members: Sequence[int]) -> list[tuple[int, ...]]:
    """Orders worth trying: by speed, by memory, and as chains of fast links from every end of them."""
    speed, free = problem.flops_per_s, problem.memory_bytes - problem.overhead_bytes
    fast = tuple(sorted(members, key=lambda i: (-speed[i], i)))
    roomy = tuple(sorted(members, key=lambda i: (-free[i], i)))
    ring = ring_order(problem, members)
    turned = [ring[k:] + ring[:k] for k in range(len(ring))] if len(ring) <= 8 else [ring]
    return list(dict.fromkeys([fast, fast[::-1], roomy, roomy[::-1], *turned, *(one[::-1] for one in turned)]))


def pipeline_plan(problem: PoolTraining, cost: FastCost, members: Sequence[int]) -> Plan:
    """A pipeline of given devices: several orders, the best partition of each."""
    if len(members) > problem.layers:
        raise NoPlanError(f"{len(members)} devices cannot share {problem.layers} layers")
    found = [best_partition(cost, "pipeline", [(i,) for i in order], keep=2)
             for order in pipeline_orders(problem, members)]
    plans = [one for one in found if one is not None]
    if not plans:
        plan = _equal_pipeline(problem, sorted(members, key=lambda i: (-problem.memory_bytes[i], i)))
        try:
            require_memory(problem, plan)
        except NoPlanError as error:
            raise NoPlanError(f"no partition fits in the orders tried; with equal stages {error}") from None
        return plan
    return min(plans, key=lambda one: one[0])[1]


def _equal_pipeline(problem: PoolTraining, order: Sequence[int]) -> Plan:
    return Plan("pipeline", tuple((int(i),) for i in order), equal_shares(problem.layers, len(order)),
                ((problem.micro_batch,),) * len(order))


def greedy_plans(problem: PoolTraining, cost: FastCost, counts: Iterable[int]) -> Iterator[tuple[float, Plan]]:
    """For some numbers of the fastest devices the best of the allowed parallelisms without groups."""
    order = sorted(range(problem.devices), key=lambda i: (-problem.flops_per_s[i], i))
    for count in counts:
        found: list[tuple[float, Plan]] = []
        for parallelism in problem.parallelisms:
            try:
                if parallelism == "single" and count == 1:
                    plan = next((one for one in single_plans(problem) if one.devices == (order[0],)), None)
                elif parallelism == "pipeline":
                    plan = pipeline_plan(problem, cost, order[:count])
                elif parallelism in ("data", "sequence", "tensor") and count > 1:
                    plan = shared_plan(problem, parallelism, order[:count])
                else:
                    continue
            except NoPlanError:
                continue
            if plan is not None:
                found.append((score(cost, plan), plan))
        if found:
            yield min(found, key=lambda one: one[0])


# ---- the rules ----------------------------------------------------------------------------------------------------


def _single_best(problem: PoolTraining, _run: Run) -> Plan:
    cost = FastCost(problem)
    plans = list(single_plans(problem))
    if not plans:
        missing = problem.overhead_bytes + float(problem.state_bytes.sum()) - problem.tied_state_bytes
        missing = missing + problem.batch * float(problem.activation_bytes.sum()) - problem.memory_bytes
        i = int(np.argmin(missing))
        raise NoPlanError(f"no device holds the model; the nearest, {problem.device_label(i)}, lacks "
                          f"{format_si(float(missing[i]), 'B')}")
    return min(plans, key=lambda plan: score(cost, plan))


def _shared(parallelism: str, equal: bool, problem: PoolTraining, _run: Run) -> Plan:
    return shared_plan(problem, parallelism, range(problem.devices), equal)


def _pipeline(problem: PoolTraining, _run: Run) -> Plan:
    return pipeline_plan(problem, FastCost(problem), range(problem.devices))


def _pipeline_equal(problem: PoolTraining, _run: Run) -> Plan:
    if problem.devices > problem.layers:
        raise NoPlanError(f"{problem.devices} devices cannot share {problem.layers} layers")
    plan = _equal_pipeline(problem, range(problem.devices))
    require_memory(problem, plan)
    return plan


def _edgeshard(problem: PoolTraining, run: Run) -> Plan:
    from edgealloc.formulations.pool_training.edgeshard import bottleneck_plan

    plan = bottleneck_plan(problem, run)
    if plan is None:
        raise NoPlanError("no pipeline of the devices considered fits into their memories")
    return plan


def _greedy(problem: PoolTraining, run: Run) -> Plan:
    best: tuple[float, Plan] | None = None
    for value, plan in greedy_plans(problem, FastCost(problem), range(1, problem.devices + 1)):
        if best is not None and value >= best[0]:
            break
        best = (value, plan)
        if run.seconds_left <= 0.0:
            break
    if best is None:
        raise NoPlanError("no number of the fastest devices has memory for any of the allowed parallelisms")
    return best[1]


#: name -> (parallelism that must be allowed or "", rule).
RULES: Final[dict[str, tuple[str, Callable[[PoolTraining, Run], Plan]]]] = {
    "single-best": ("single", _single_best),
    "data": ("data", partial(_shared, "data", False)),
    "data-equal": ("data", partial(_shared, "data", True)),
    "sequence": ("sequence", partial(_shared, "sequence", False)),
    "tensor": ("tensor", partial(_shared, "tensor", False)),
    "pipeline": ("pipeline", _pipeline),
    "pipeline-equal": ("pipeline", _pipeline_equal),
    "edgeshard": ("pipeline", _edgeshard),
    "greedy": ("", _greedy),
}


def run_rule(name: str, problem: PoolTraining, run: Run) -> Outcome:
    """Apply one rule of the table."""
    parallelism, rule = RULES[name]
    if parallelism and parallelism not in problem.parallelisms:
        return Outcome(attempts=(f"{name}: '{parallelism}' is not among the allowed parallelisms",))
    plan = None
    try:
        warm_up(run)
        plan = rule(problem, run)
        run.report(name, objective=problem.evaluate(plan).objective)
    except NoPlanError as error:
        return Outcome(attempts=(f"{name}: {error}",))
    except KeyboardInterrupt:
        return Outcome(plan, termination=Termination.INTERRUPTED)
    return Outcome(plan, termination=Termination.CONVERGED)


# What `methods` names; their summaries say what each does.
single_best = partial(run_rule, "single-best")
data = partial(run_rule, "data")
data_equal = partial(run_rule, "data-equal")
sequence = partial(run_rule, "sequence")
tensor = partial(run_rule, "tensor")
pipeline = partial(run_rule, "pipeline")
pipeline_equal = partial(run_rule, "pipeline-equal")
edgeshard = partial(run_rule, "edgeshard")
greedy = partial(run_rule, "greedy")
