"""The questions of collaborative training, one call each: participants, parallelism, arrangement, and all at once."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Progress
from edgealloc.core.solution import Solution
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.formulations.pool_training.certificate.whole_pool import whole_plans
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.questions.answers import (
    Arrangements,
    Membership,
    Parallelisms,
    Participants,
    PoolReport,
    PoolSolution,
)
from edgealloc.formulations.pool_training.questions.fault_search import faults
from edgealloc.formulations.pool_training.questions.given import problem_of
from edgealloc.formulations.pool_training.questions.recovery import best_repair
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.partition import best_partition, score
from edgealloc.formulations.pool_training.sharing import best_shares
from edgealloc.formulations.pool_training.views import plan_words
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["arrangements", "excluding", "parallelisms", "participants", "plan_pool"]

#: Orders of the participants that are tried: all where there are no more.
ORDERS: Final = 720
#: Plans looked at for a device that is left out, at most.
TRIALS: Final = 80
#: Share of an objective by which a plan must be better to count as better.
_BETTER: Final = 1e-9


class _Clock:
    """Options of a call that solves several problems, and what is left of its time."""

    def __init__(self, time_limit_s: float | None, method: str | None, on_progress: Callable[[Progress], None] | None,
                 **options: Any) -> None:
        self.limit_s = math.inf if time_limit_s is None else time_limit_s
        self.started, self.method = time.perf_counter(), method
        self.on_progress, self.options = on_progress, options

    @property
    def left_s(self) -> float:
        return self.limit_s - (time.perf_counter() - self.started)

    def solve(self, problem: PoolTraining, stage: str, remaining: float, start: Plan | None = None) -> PoolSolution:
        """Solve within 1/remaining of the time that is left; KeyboardInterrupt if that was interrupted."""
        def relay(line: Progress) -> None:
            if self.on_progress is not None:
                self.on_progress(dataclasses.replace(line, stage=f"{stage}: {line.stage}",
                                                     seconds=time.perf_counter() - self.started))

        share = None if math.isinf(self.limit_s) else max(self.left_s / remaining, 1e-2)
        if start is not None and problem.relative_violation(start) > FEASIBILITY_TOLERANCE:
            start = None
        solution = problem.solve(self.method, time_limit_s=share, on_progress=relay, warm_start=start, **self.options)
        if solution.termination is Termination.INTERRUPTED:
            raise KeyboardInterrupt
        return solution


def _solved(given: PoolTraining | PoolSolution, clock: _Clock, remaining: float) -> PoolSolution:
    """The solution that is given, or one of the problem that is given; an error where there is no plan."""
    solution = given if isinstance(given, Solution) else clock.solve(given, "plan", remaining)
    return solution.require()


def excluding(problem: PoolTraining, device: int) -> PoolTraining:
    """The problem in which a device cannot take part; it goes on passing on what others send."""
    memory, overhead = problem.memory_bytes.copy(), problem.overhead_bytes.copy()
    memory[device], overhead[device] = 0.0, max(float(overhead[device]), 1.0)
    return problem.replace(memory_bytes=memory, overhead_bytes=overhead)


# ---- participants ---------------------------------------------------------------------------------------------------


def participants(
    given: PoolTraining | PoolSolution, *, method: str | None = None, gap: float = 1e-2,
    time_limit_s: float | None = 60.0, seed: int = 0, threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Participants:
    """Who should take part, what each participant is worth, and why the others are left out.

    Every participant is excluded in turn and the problem solved again, with its bound. For the others the best plan
    that has them is searched for among the neighbours of the plan (in its place, beside, between its participants).

    Parameters
    ----------
    given : PoolTraining or Solution
        A problem is solved first.
    method, gap, time_limit_s, seed, threads, on_progress
        As for `solve`; the time is that of all searches together.

    Returns
    -------
    Participants

    Raises
    ------
    InfeasibleError, SolverError
        There is no plan.
    """
    clock = _Clock(time_limit_s, method, on_progress, gap=gap, seed=seed, threads=threads)
    problem = problem_of(given, "participants")
    solution = _solved(given, clock, 3.0)
    plan, costs = solution.found()
    objective = costs.objective
    cost = FastCost(problem)
    without: dict[int, PoolSolution] = {}
    known: list[tuple[float, Plan]] = []
    interrupted = False
    objective, plan, beside = _neighbourhood(problem, cost, clock, objective, plan)
    try:
        queue = list(plan.devices)
        while queue:
            device = queue.pop(0)
            name = problem.device_names[device]
            less = excluding(problem, device)
            start = best_repair(problem, less, range(problem.devices), plan, device)
            found = clock.solve(less, f"without {name}", len(queue) + 2.0, start)
            options = [(less.evaluate(one).objective, one) for one in (found.allocation, start) if one is not None]
            best = min(options, key=lambda option: option[0], default=None)
            without[device] = found
            known += options
            if best is not None and best[0] < objective * (1.0 - _BETTER):
                # the search without the device found what the first one missed: that is the plan from now on
                objective, plan, beside = _neighbourhood(problem, cost, clock, *best)
                queue = [i for i in plan.devices if i not in without]
    except KeyboardInterrupt:
        interrupted = True
    members = []
    for device in range(problem.devices):
        if device not in plan.devices:
            members.append(_left_out(problem, plan, objective, device, solution.bound, beside))
        elif device in without:
            others = [option for option in known if device not in option[1].devices]
            best = min(others, key=lambda option: option[0], default=None)
            members.append(_chosen(problem, plan, objective, device, without[device], best))
    return Participants(problem, plan, objective, solution.bound, tuple(members), interrupted)


def _neighbourhood(
    problem: PoolTraining, cost: FastCost, clock: _Clock, objective: float, plan: Plan
) -> tuple[float, Plan, dict[int, tuple[float, Plan] | None]]:
    """The best plan with every device that is left out; one that is better than the plan takes its place."""
    beside: dict[int, tuple[float, Plan] | None] = {}
    for device in range(problem.devices):
        if device in plan.devices or clock.left_s < 0.0:
            continue
        best: tuple[float, Plan] | None = None
        for option in itertools.islice(_plans_with(problem, cost, plan, device), TRIALS):
            if problem.relative_violation(option) <= FEASIBILITY_TOLERANCE:
                value = problem.evaluate(option).objective
                if best is None or value < best[0]:
                    best = (value, option)
        if best is not None and best[0] < objective * (1.0 - _BETTER):
            return _neighbourhood(problem, cost, clock, *best)
        beside[device] = best
    return objective, plan, beside


def _chosen(problem: PoolTraining, plan: Plan, objective: float, device: int, found: PoolSolution,
            best: tuple[float, Plan] | None) -> Membership:
    if best is None:
        proven = found.diagnosis is not None
        why = "nothing fits: it is indispensable" if proven else "no plan was found"
        return Membership(device, True, None, found.bound, objective, plan, proven, why)
    more = best[0] - objective
    rise = f"{100.0 * more / objective:.2f} % more" if objective > 0.0 else f"{more:.4g} more"
    words = "a plan as good" if more <= _BETTER * abs(objective) else f"the best plan found costs {rise}"
    if found.bound is not None and found.bound > objective:
        words += f", any at least {100.0 * (found.bound / objective - 1.0):.2f} % (proven)"
    costs = problem.evaluate(best[1])
    words += f": {format_si(costs.time_s, 's')}, {format_si(costs.energy_j, 'J')}"
    return Membership(device, True, best[0], found.bound, objective, plan, False, words)


def _left_out(
    problem: PoolTraining, plan: Plan, objective: float, device: int, bound: float | None,
    beside: Mapping[int, tuple[float, Plan] | None],
) -> Membership:
    best = beside.get(device)
    if best is None:
        lacks = _smallest_piece(problem) + float(problem.overhead_bytes[device]) - float(problem.memory_bytes[device])
        why = (f"its memory lacks {format_si(lacks, 'B')} for even the smallest piece of work" if lacks > 0.0 else
               "no plan with it was found that keeps the limits" if device in beside else "not looked at")
        return Membership(device, False, objective, bound, None, None, False, why)
    value, option = best
    costs = problem.evaluate(option)
    rise = f"{100.0 * (value / objective - 1.0):.2f} %" if objective > 0.0 else f"{value:.4g}"
    why = (f"the best plan found with it costs {rise} more: {format_si(costs.time_s, 's')}, "
           f"{format_si(costs.energy_j, 'J')} ({_reason(problem, plan, option)})")
    return Membership(device, False, objective, bound, value, option, False, why)


def _reason(problem: PoolTraining, plan: Plan, option: Plan) -> str:
    words = plan_words(problem, option)
    short = f"{option.parallelism} of {len(option.devices)} devices instead of {len(plan.devices)}"
    return words if len(words) <= 60 else short


def _smallest_piece(problem: PoolTraining) -> float:
    """Bytes that the least demanding participant of any allowed plan needs, its overhead aside."""
    whole = float(problem.state_bytes.sum()) - problem.tied_state_bytes
    kept = float(problem.activation_bytes.sum())
    replicated = float(problem.replicated_activation_bytes.sum())
    need = []
    for kind in problem.parallelisms:
        if kind in ("pipeline", "hybrid"):
            samples = problem.micro_batch if kind == "pipeline" else 1
            piece = problem.state_bytes + samples * problem.activation_bytes
            need.append(float(piece.min()) if problem.layers > 1 else float(piece[0]) - problem.tied_state_bytes)
        elif kind == "tensor":
            need.append((whole + problem.batch * (kept - replicated)) / problem.heads + problem.batch * replicated)
        elif kind == "sequence":
            need.append(whole + problem.batch * kept / problem.tokens)
        else:
            need.append(whole + (problem.batch if kind == "single" else 1) * kept)
    return min(need)


def _plans_with(problem: PoolTraining, cost: FastCost, plan: Plan, device: int) -> Iterator[Plan]:
    """Plans that have a device: alone, with all participants on one ring, in a place or between places of the plan."""
    if "single" in problem.parallelisms:
        yield Plan("single", ((device,),), (problem.layers,), ((problem.batch,),))
    fastest = max(plan.devices, key=lambda i: (float(problem.flops_per_s[i]), -i))
    for kind in ("data", "sequence", "tensor"):
        if kind in problem.parallelisms:
            for members in dict.fromkeys([(*plan.devices, device), (fastest, device)]):
                yield from whole_plans(problem, kind, members)
    staged = plan.parallelism in ("pipeline", "hybrid")
    stages = plan.stages if staged else ((fastest,),)
    shares = plan.shares if staged else ((problem.micro_batch,),)
    grouped = any(len(stage) > 1 for stage in stages)
    for kind in ("pipeline", "hybrid"):
        if kind not in problem.parallelisms or (grouped and kind == "pipeline"):
            continue
        options: list[tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]] = []
        for p in range(len(stages) + 1):
            options.append(((*stages[:p], (device,), *stages[p:]), (*shares[:p], (problem.micro_batch,), *shares[p:])))
        for p, stage in enumerate(stages):
            for at in range(len(stage)):
                swapped = (*stage[:at], device, *stage[at + 1:])
                options.append(((*stages[:p], swapped, *stages[p + 1:]), shares))
            if kind == "hybrid" and len(stage) < problem.micro_batch:
                joined = (*stage, device)
                units = best_shares(problem.micro_batch, [1.0 / float(problem.flops_per_s[i]) for i in joined],
                                    [problem.micro_batch] * len(joined))
                if units is not None:
                    options.append(((*stages[:p], joined, *stages[p + 1:]), (*shares[:p], units, *shares[p + 1:])))
        for groups, parts in options:
            found = best_partition(cost, kind, groups, parts, 2)
            if found is not None:
                yield found[1]


# ---- parallelism ----------------------------------------------------------------------------------------------------


def parallelisms(
    problem: PoolTraining, *, method: str | None = None, gap: float = 1e-2, time_limit_s: float | None = 60.0,
    seed: int = 0, threads: int | None = None, on_progress: Callable[[Progress], None] | None = None,
) -> Parallelisms:
    """The best plan of every allowed parallelism, each with its own bound.

    Parameters
    ----------
    problem : PoolTraining
    method, gap, time_limit_s, seed, threads, on_progress
        As for `solve`; the time is that of all parallelisms together.

    Returns
    -------
    Parallelisms
        Also of parallelisms in which the model fits nowhere.
    """
    problem = problem_of(problem, "parallelisms", solved=False)
    clock = _Clock(time_limit_s, method, on_progress, gap=gap, seed=seed, threads=threads)
    solutions: dict[str, PoolSolution] = {}
    interrupted = False
    for number, name in enumerate(problem.parallelisms):
        try:
            alone = problem.replace(parallelisms=(name,))
            solutions[name] = clock.solve(alone, name, float(len(problem.parallelisms) - number))
        except KeyboardInterrupt:
            interrupted = True
            break
    return Parallelisms(problem, solutions, interrupted)


# ---- arrangement ----------------------------------------------------------------------------------------------------


def arrangements(
    given: PoolTraining | PoolSolution, *, orders: int = ORDERS, method: str | None = None, gap: float = 1e-2,
    time_limit_s: float | None = 60.0, seed: int = 0, threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Arrangements:
    """What the order of the participants on the network is worth: the best, the worst, and the one of the problem.

    The stages of a pipeline change places with their groups and shares, and every order gets the best partition of
    the layers that dynamic programming and moves of single layers find; on a ring the participants change places with
    their shares. Which order is best of all is part of `solve`, with its bound.

    Parameters
    ----------
    given : PoolTraining or Solution
        A problem is solved first.
    orders : int
        Orders to try: all where there are no more, else that many, drawn by the seed.
    method, gap, time_limit_s, seed, threads, on_progress
        As for `solve`.

    Returns
    -------
    Arrangements

    Raises
    ------
    DataError
        A faulty option.
    InfeasibleError, SolverError
        There is no plan.
    """
    wanted: Any = orders
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise DataError(f"orders: is {wanted!r}; give an integer >= 1")
    clock = _Clock(time_limit_s, method, on_progress, gap=gap, seed=seed, threads=threads)
    problem = problem_of(given, "arrangements")
    plan = _solved(given, clock, 2.0).allocation
    if plan is None:
        raise AssertionError("`require` has raised")
    cost = FastCost(problem)
    staged = plan.parallelism in ("pipeline", "hybrid")
    count = len(plan.stages) if staged else len(plan.stages[0])
    firsts = [min(stage) for stage in plan.stages] if staged else list(plan.stages[0])
    as_given = tuple(sorted(range(count), key=lambda k: firsts[k]))
    best: tuple[float, Plan] | None = None
    worst: tuple[float, Plan] | None = None
    listed: tuple[float, Plan] | None = None
    tried = fitting = 0
    places = list(_orders(count, wanted, seed, as_given, staged))
    for order in places:
        if clock.left_s < 0.0 and best is not None:
            break
        tried += 1
        found = _arranged(problem, cost, plan, order, staged)
        if found is None:
            continue
        fitting += 1
        if best is None or found[0] < best[0]:
            best = found
        if worst is None or found[0] > worst[0]:
            worst = found
        if order == as_given:
            listed = found
    own = (score(cost, plan), plan)
    best = own if best is None or own[0] < best[0] else best
    worst = own if worst is None else worst
    whole = math.factorial(count) if staged else math.factorial(max(count - 1, 0))
    return Arrangements(problem, plan, best[1], worst[1], None if listed is None else listed[1], best[0], worst[0],
                        math.nan if listed is None else listed[0], tried, max(fitting, 1), tried == whole)


def _orders(count: int, most: int, seed: int, as_given: tuple[int, ...], staged: bool) -> Iterator[tuple[int, ...]]:
    """Places of the participants: the given order first, then the plan's own, then all others or some of them.

    A ring may start anywhere: only orders with the first of the given order in the first place are different.
    """
    own = tuple(range(count))
    at = 0 if staged else own.index(as_given[0])
    seen = [as_given, own if staged else own[at:] + own[:at]]
    seen = list(dict.fromkeys(seen))[:most]
    yield from seen
    head, rest = ((), list(own)) if staged else (as_given[:1], [k for k in own if k != as_given[0]])
    if math.factorial(len(rest)) <= most:
        yield from (one for one in ((*head, *tail) for tail in itertools.permutations(rest)) if one not in seen)
        return
    rng = np.random.default_rng(seed)
    drawn = set(seen)
    while len(drawn) < most:
        one = (*head, *(int(k) for k in rng.permutation(rest)))
        if one not in drawn:
            drawn.add(one)
            yield one


def _arranged(
    problem: PoolTraining, cost: FastCost, plan: Plan, order: tuple[int, ...], staged: bool
) -> tuple[float, Plan] | None:
    """The plan with its stages, or the places of its ring, in another order; None where that does not fit."""
    if staged:
        found = best_partition(cost, plan.parallelism, tuple(plan.stages[k] for k in order),
                               tuple(plan.shares[k] for k in order))
    else:
        other = dataclasses.replace(plan, stages=(tuple(plan.stages[0][k] for k in order),),
                                    shares=(tuple(plan.shares[0][k] for k in order),))
        found = (score(cost, other), other)
    if found is None or problem.relative_violation(found[1]) > FEASIBILITY_TOLERANCE:
        return None
    return found


# ---- all of them ----------------------------------------------------------------------------------------------------


def plan_pool(
    problem: PoolTraining, *, method: str | None = None, gap: float = 1e-2, time_limit_s: float | None = 120.0,
    seed: int = 0, threads: int | None = None, on_progress: Callable[[Progress], None] | None = None,
    **fault_options: Any,
) -> PoolReport:
    """The plan, and the answers to all questions about it: who, how, in which order, and what if one drops out.

    Parameters
    ----------
    problem : PoolTraining
    method, gap, time_limit_s, seed, threads, on_progress
        As for `solve`; the time is that of everything together.
    **fault_options
        Of `faults`: replication, storage, every, iterations, outage_s.

    Returns
    -------
    PoolReport
        Print it, or look at its parts.

    Raises
    ------
    InfeasibleError
        The model fits nowhere; the message has the missing bytes per device.
    SolverError
        No plan was found.
    """
    problem = problem_of(problem, "plan_pool", solved=False)
    clock = _Clock(time_limit_s, method, on_progress, gap=gap, seed=seed, threads=threads)
    options: dict[str, Any] = {"method": method, "gap": gap, "seed": seed, "threads": threads,
                               "on_progress": on_progress}

    def part(share: float) -> float | None:
        return None if math.isinf(clock.limit_s) else max(clock.left_s * share, 1e-2)

    kinds = parallelisms(problem, time_limit_s=part(0.3), **options)
    start = None if kinds.best is None else kinds.best.allocation
    solution = clock.solve(problem, "plan", 3.0, start).require()
    who = participants(solution, time_limit_s=part(0.4), **options)
    for _ in range(3):
        if who.plan == solution.allocation:
            break
        # a better plan was found on the way
        solution = clock.solve(problem, "plan", 4.0, who.plan).require()
        who = participants(solution, time_limit_s=part(0.3), **options)
    order = arrangements(solution, time_limit_s=part(0.3), **options)
    lost = faults(solution, time_limit_s=part(1.0), **options, **fault_options)
    return PoolReport(solution, who, kinds, order, lost)
