r"""Method "certified": lower bounds and plans by dynamic programming over sets of devices, then local search.

1. At once: all participants together cannot compute faster than the whole pool, nor more frugally than its most frugal
   device. Valid for every plan, and what is reported if time is up early.
2. Parallelisms with one stage: a bound for every set of devices, and plans of the best sets (`whole_pool`).
3. Pipelines and hybrids: dynamic programs over multisets of device types (`layered`), from few types to one type per
   device as far as time allows; what cannot beat the best plan by more than the gap asked for is dropped on the way.
   The plans behind the best labels start a local search on the exact schedule (`search.plan_search`).

The bound is the smallest over the allowed parallelisms of the best bound of each. It holds in floating point: labels
are rounded down, and the rounding of sums is covered by a guard.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.pool_training.certificate.device_types import DeviceTypes, PoolData, gather, multisets
from edgealloc.formulations.pool_training.certificate.pipelines import GUARD, fluid_bound, solve_layered, work_of
from edgealloc.formulations.pool_training.certificate.whole_pool import ONE_STAGE, offer_sets, one_stage
from edgealloc.formulations.pool_training.feasibility import diagnosis, least_missing
from edgealloc.formulations.pool_training.search.fastcost import FastCost, warm_up
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.plan_search import PlanSearch

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["run"]

#: Rounds of the dynamic programs: labels made at most (before any is dropped) and buckets per state.
ROUNDS: Final = {
    "pipeline": ((3e6, 1), (4e7, 1), (1e9, 4), (4e9, 32)),
    "hybrid": ((3e6, 1), (6e7, 1), (1e9, 1), (4e9, 8), (2e10, 32)),
}
#: A round is begun if what it will take, judged by the last one, is at most this share of the time that is left.
WORTH_BEGINNING: Final = 0.9
#: Multisets of types whose one-stage plans are bounded.
MOST_SETS: Final = 1 << 14
#: Multisets of types that a dynamic program may have.
MOST_CODES: Final = 1 << 16
#: Sets whose plans are tried, and labels that are traced back in a round.
TRIED_SETS: Final = 200
TRACED: Final = 6


class _Bounds:
    """The best proven bound of every allowed parallelism."""

    def __init__(self, problem: PoolTraining, best: Incumbent) -> None:
        self.best = best
        work = problem.batch * float(problem.forward_flops.sum() + problem.backward_flops.sum())
        least = problem.per_second * work / float(problem.flops_per_s.sum())
        least += problem.per_joule * work * float((problem.busy_power_w / problem.flops_per_s).min())
        self.of = dict.fromkeys(problem.parallelisms, least * (1.0 - GUARD))

    @property
    def value(self) -> float:
        """Of all plans."""
        return min(self.of.values())

    @property
    def enough(self) -> float:
        """Objective that closes the gap."""
        return self.value / max(1.0 - self.best.run.gap, 1e-300)

    def raise_to(self, parallelism: str, bound: float, stage: str) -> None:
        """Take a bound and report."""
        self.of[parallelism] = max(self.of[parallelism], bound)
        self.best.run.report(stage, 0, self.best.value, self.value)

    def open(self, parallelism: str) -> bool:
        """Whether a parallelism may hold a plan that is better by more than the gap."""
        return self.of[parallelism] < self.best.value * (1.0 - self.best.run.gap)


def run(problem: PoolTraining, run: Run) -> Outcome:
    """Solve with a proof; see the module's text. Time limit and Ctrl-C return the best so far with its gap."""
    cost = FastCost(problem)
    best = Incumbent(problem, cost, run)
    bounds = _Bounds(problem, best)
    attempts: list[str] = []
    termination = Termination.STAGES_EXHAUSTED
    try:
        warm_up(run, _compile_kernels)
        _stages(problem, cost, best, bounds, run, attempts)
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    if best.plan is None and bounds.value == math.inf:
        return Outcome(diagnosis=diagnosis(problem), termination=Termination.STAGES_EXHAUSTED, attempts=tuple(attempts))
    if best.plan is not None and bounds.value >= best.value * (1.0 - run.gap):
        termination = Termination.GAP
    if best.plan is None:
        attempts.append("no plan that keeps all limits was found, and none is proven not to exist")
    bound = bounds.value if math.isfinite(bounds.value) else None
    return Outcome(allocation=best.plan, bound=bound, termination=termination, attempts=tuple(attempts))


def _stages(
    problem: PoolTraining, cost: FastCost, best: Incumbent, bounds: _Bounds, run: Run, attempts: list[str]
) -> None:
    """All stages; `best` and `bounds` hold what is known also if an exception ends them."""
    run.report("start", 0, None, bounds.value)
    if run.warm_start is not None and not (
        problem.relative_violation(run.warm_start) <= FEASIBILITY_TOLERANCE and best.offer(run.warm_start)
    ):
        attempts.append("warm start violates a limit and was not used")
    best.offer(least_missing(problem)[0])
    data = PoolData(problem)
    choices = [DeviceTypes(data, kinds) for kinds in gather(data, most=16) if multisets(kinds) <= MOST_CODES]
    widest = max((one for one in choices if one.codes <= MOST_SETS), key=lambda one: one.types)
    for parallelism in ONE_STAGE:
        if parallelism in problem.parallelisms:
            sets = one_stage(widest, parallelism)
            bound = offer_sets(widest, sets, best, TRIED_SETS, run.gap)
            bounds.raise_to(parallelism, bound * (1.0 - GUARD), parallelism)
    layered = [one for one in ("pipeline", "hybrid") if one in problem.parallelisms]
    if not layered:
        return
    for parallelism in layered:
        least = fluid_bound(data, hybrid=parallelism == "hybrid")
        bounds.raise_to(parallelism, least, f"{parallelism}, divisible work")
    search = PlanSearch(cost, best, layered)
    search.begin(bounds.enough)
    run.report("first plans", 0, best.value, bounds.value)
    rounds = _Rounds(search, bounds, choices)
    for parallelism in layered:
        rounds.next(parallelism)
    while True:
        parallelism = min(layered, key=lambda one: bounds.of[one])  # it bounds all plans: no other is worth raising
        if not bounds.open(parallelism) or not rounds.next(parallelism):
            break
    if any(bounds.open(parallelism) for parallelism in layered):
        search.finish(bounds.enough)
        run.report("search", 0, best.value, bounds.value)
    if rounds.cut:
        raise TimeUpError


class _Rounds:
    """Dynamic programs of more and more types, one after another for every parallelism.

    Attributes
    ----------
    cut : bool
        A round was left out because it would not have ended in time.
    """

    def __init__(self, search: PlanSearch, bounds: _Bounds, choices: list[DeviceTypes]) -> None:
        self.search, self.bounds, self.choices = search, bounds, choices
        self.done: dict[str, list[tuple[int, int]]] = {}
        self.begun: dict[str, int] = {}
        self.pace: dict[str, float] = {}
        self.cut = False

    def next(self, parallelism: str) -> bool:
        """Run the next round, then local search from the plans behind it; False if there is none."""
        hybrid, run, done = parallelism == "hybrid", self.search.best.run, self.done.setdefault(parallelism, [])
        for number in range(self.begun.get(parallelism, 0), len(ROUNDS[parallelism])):
            budget, buckets = ROUNDS[parallelism][number]
            affordable = [one for one in self.choices if work_of(one, hybrid=hybrid, buckets=buckets) <= budget]
            types = max(affordable, key=lambda one: one.types, default=None)
            if types is None or (types.types, buckets) in done:
                continue
            work = work_of(types, hybrid=hybrid, buckets=buckets)
            if work * self.pace.get(parallelism, 0.0) > WORTH_BEGINNING * run.seconds_left:
                self.cut = True
                return False
            began, self.begun[parallelism] = run.seconds, number + 1
            found = solve_layered(types, self.search.best, hybrid=hybrid, buckets=buckets, gap=run.gap)
            done.append((types.types, buckets))
            if found is None:  # its labels do not fit into memory
                continue
            self.pace[parallelism] = (run.seconds - began) / work
            self.bounds.raise_to(parallelism, found.bound, f"{parallelism}, {types.types} types")
            if self.bounds.open(parallelism):
                self.search.after(found.plans(self.search.cost, TRACED, self.search.best.value), self.bounds.enough)
            run.report(f"{parallelism} search", 0, self.search.best.value, self.bounds.value)
            return True
        return False


@cache
def _compile_kernels() -> None:
    """Compile (or load) every kernel by a tiny problem, so that no run's clock counts it."""
    from edgealloc.formulations.pool_training.network import Topology
    from edgealloc.formulations.pool_training.problem import PoolTraining

    tiny = PoolTraining(
        flops_per_s=[1e12, 2e12, 1e12], memory_bytes=1e9, busy_power_w=2.0, idle_power_w=1.0,
        topology=Topology.shared(3, 1e8), layers=3, forward_flops=1e9, backward_flops=2e9, state_bytes=1e6,
        gradient_bytes=1e6, checkpoint_bytes=1e6, activation_bytes=1e6, boundary_bytes=1e4, batch=4, micro_batches=2,
        tokens=128, heads=2,
    )
    quiet = Run(gap=0.0, time_limit_s=math.inf)
    best = Incumbent(tiny, FastCost(tiny), quiet)
    _stages(tiny, best.cost, best, _Bounds(tiny, best), quiet, [])
