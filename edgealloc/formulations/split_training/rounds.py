r"""Synchronous rounds: the longest delay counts instead of the sum.

.. math:: \min_T\; w_t T + P(T), \qquad P(T) = \text{least cost of everything else if nobody may take longer than } T.

P(T) is a problem with deadlines, which `certified` bounds and solves; at fixed association and cuts it is convex in T
(`resources.best_round`). What is left is a search in one number. For every option the priced cost v_o(T) is convex in
T, with the slope -theta_o, so the tangents at T_2 bound it from below on an interval [T_1, T_2]; their minimum over
the options is concave in T, and hence so is the whole bound at fixed prices: it is least at an end,

.. math:: w_t T + P(T) \ge \min_{T' \in \{T_1, T_2\}} \Big[ w_t T'
          + \sum_n \min_o [v_o(T_2) + \theta_o (T_2 - T')] - \pi^T 1 \Big].

A node of the branch and bound is a range of lengths with the options that are left; it is split where it is looser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Diagnosis
from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.ascent import Options
from edgealloc.formulations.split_training.conflicts import explain_conflict, judge
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.proof import EFFORT, list_all, split_node
from edgealloc.formulations.split_training.reduced import Reduced, reduce, round_weight
from edgealloc.formulations.split_training.resources import best_round, local_multiplier, optimal_allocation
from edgealloc.formulations.split_training.stages import bound_prices, one_blas_thread, stages, warm_up
from edgealloc.formulations.split_training.tree import drop_late, work_interval
from edgealloc.solvers.branching import Tree, Worked
from edgealloc.solvers.pricing import GUARD, Pricing

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["solve_rounds"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Ranges narrower than this share of their end are not halved any more.
NARROWEST: Final = 1e-9
#: How many lengths' coefficients are kept at a time.
KEPT_LENGTHS: Final = 256
#: With more options than this a node takes seconds, and the tree is not begun.
MOST_OPTIONS: Final = 200_000


class _Rounds:
    """What is known: the best assignment with its round, and the intervals of T with their bounds."""

    def __init__(self, problem: SplitTraining, run: Run, attempts: list[str]) -> None:
        self.problem, self.run, self.attempts = problem, run, attempts
        self.weight = round_weight(problem)
        self.objective, self.bound = math.inf, -math.inf
        self.best: tuple[IntArray, IntArray] | None = None
        self.allocation: Allocation | None = None
        self.length = math.inf
        self.diagnosis: Diagnosis | None = None
        self.prices: dict[str, FloatArray] = {}
        self._seen: set[bytes] = set()

    def offer(self, server: IntArray, cut: IntArray) -> None:
        """The best round of an assignment, if it was not looked at before."""
        key = server.tobytes() + cut.tobytes()
        if key in self._seen:
            return
        self._seen.add(key)
        allocation = optimal_allocation(self.problem, server, cut)
        costs = self.problem.evaluate(allocation)
        if costs.objective < self.objective and self.problem.relative_violation(allocation) <= FEASIBILITY_TOLERANCE:
            self.objective, self.best, self.allocation = costs.objective, (server.copy(), cut.copy()), allocation
            self.length = float(costs.delay_s.max())

    def within(self, length: float) -> tuple[SplitPricing, Pricing]:
        """Solve P(T) with its bound, and offer what it found."""
        data = reduce(self.problem, round_s=length)
        pricing, state = SplitPricing(data, self.run.threads), Pricing()
        inner = Run(gap=self.run.gap, time_limit_s=max(self.run.seconds_left, 1e-3), threads=self.run.threads)
        try:
            if self.best is not None:
                pricing.offer(*self.best)
            stages(self.problem, pricing, state, inner, self.attempts, branch=False)
        finally:
            for found in pricing.best:
                self.offer(found.server, found.cut)
        return pricing, state


def solve_rounds(problem: SplitTraining, run: Run) -> Outcome:
    """Methods "certified" and "prove" for ``delay="max"``."""
    attempts: list[str] = []
    rounds = _Rounds(problem, run, attempts)
    termination = Termination.STAGES_EXHAUSTED
    try:
        warm_up(run)
        with one_blas_thread():
            _search_lengths(problem, rounds, run)
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    if rounds.best is not None and rounds.objective - rounds.bound <= run.gap * abs(rounds.objective):
        termination = Termination.GAP
    if rounds.diagnosis is not None:
        return Outcome(diagnosis=rounds.diagnosis, termination=termination, attempts=tuple(attempts))
    proven = math.isfinite(rounds.bound)
    return Outcome(allocation=rounds.allocation, bound=rounds.bound if proven else None, termination=termination,
                   bound_prices=rounds.prices if proven else {}, attempts=tuple(dict.fromkeys(attempts)))


def _search_lengths(problem: SplitTraining, rounds: _Rounds, run: Run) -> None:
    _first_assignments(problem, rounds, run)
    if rounds.best is None:
        verdict = judge(problem, run)
        if verdict.feasible is False:
            rounds.diagnosis = explain_conflict(problem, verdict, run, rounds.attempts)
            return
        rounds.offer(verdict.server, verdict.cut)
    if rounds.best is None:
        rounds.attempts.append("no assignment that keeps every limit was found, and none is proven not to exist")
        return
    # alternate: the best assignment within the best round, the best round of that assignment
    for _ in range(3):
        before = rounds.objective
        solved = rounds.within(rounds.length)
        rounds.prices = bound_prices(*solved)
        _report(rounds, run)
        run.check_time()
        if rounds.objective >= before * (1.0 - 1e-6):
            break
    _branch(rounds, run)


@dataclass(frozen=True, eq=False)
class _Node:
    """Options that are left (of all), prices (4M,), and the range of the round's length."""

    mask: npt.NDArray[np.uint8]
    prices: FloatArray
    start: float
    end: float


def _branch(rounds: _Rounds, run: Run) -> None:
    """Best-first over ranges of the length and options."""
    longest = rounds.objective / rounds.weight  # a longer round costs more by its time alone
    pricing, state = rounds.within(longest)
    if state.prices is None:
        return
    # what costs too much without any time is too dear in every round
    options = list_all(pricing, state.prices, rounds.objective - state.price_bound, MOST_OPTIONS)
    if options is None:
        rounds.bound = max(rounds.bound, state.bound)
        rounds.attempts.append("the length of the round was not branched on: too many options")
        return
    prover = _Prover(rounds, options)
    flat = np.zeros(options.size.size)
    flat[pricing.active] = state.prices
    goal = max(0.9 * run.gap, 2.0 * GUARD)
    # the time of a round costs at least nothing, everything else at least P of the longest one
    tree = Tree(
        _Node(np.ones(options.server.size, dtype=np.uint8), flat, 0.0, longest), state.bound, rounds.objective, goal
    )
    while not tree.closed:
        run.check_time()
        prover.slack = max(tree.cutoff - tree.bound, 1e-12 * abs(tree.objective))
        for server, cut in tree.round(prover.work, run.threads):
            rounds.offer(server, cut)
        tree.objective = min(tree.objective, rounds.objective)
        rounds.bound = max(rounds.bound, tree.bound)
        if tree.nodes % 32 < 4:
            _report(rounds, run)
    rounds.bound = max(rounds.bound, tree.bound)
    if tree.nodes:
        rounds.attempts.append(f"branch and bound: closed after {tree.nodes} nodes over {options.server.size} options")
    _report(rounds, run)


class _Prover:
    """Works the nodes: bounds them by the tangents at the longer end, and splits the range or the options."""

    def __init__(self, rounds: _Rounds, options: Options) -> None:
        self.rounds, self.options = rounds, options
        self.slack = math.inf
        self.owner = np.repeat(np.arange(options.first.size - 1), np.diff(options.first))
        self._data: dict[float, Reduced] = {}

    def _at(self, length: float) -> Reduced:
        """Coefficients of a round of this length; nodes share lengths, so the latest few are kept."""
        data = self._data.get(length)
        if data is None:
            if len(self._data) >= KEPT_LENGTHS:
                self._data.clear()
            data = reduce(self.rounds.problem, round_s=length)
            self._data[length] = data
        return data

    def work(self, node: _Node, cutoff: float) -> Worked:
        """Bound a node and split it."""
        options, rounds = self.options, self.rounds
        data = self._at(node.end)
        mask, prices = node.mask.copy(), node.prices.copy()
        drop_late(data, options, mask)
        pick, share = np.zeros(data.user.size, dtype=np.int64), np.zeros(options.server.size)
        slope = local_multiplier(rounds.problem, data)
        bound, apart, user, server, cut = work_interval(
            data,
            options,
            mask,
            prices,
            cutoff,
            self.slack,
            EFFORT,
            pick,
            share,
            slope,
            rounds.weight,
            node.start,
            node.end,
        )
        if user == -2:
            return Worked(bound)
        assignment = options.server[pick], options.cut[pick]
        if user == -1:
            # one assignment is left: its own best round, wherever that lies, is what it costs at least
            _, least = best_round(rounds.problem, *assignment)
            return Worked(max(bound, least - GUARD * abs(least)), suggestion=assignment)
        wide = node.end - node.start > NARROWEST * node.end
        if wide and apart > 0.3 * (cutoff - bound):
            middle = 0.5 * (node.start + node.end)
            length = rounds.length
            if node.start < length * (1.0 - 1e-2) and length * (1.0 + 1e-2) < node.end:
                middle = length  # the best round known divides well: the optimum is near
            halves = _Node(mask, prices, node.start, middle), _Node(mask, prices, middle, node.end)
            return Worked(bound, halves, suggestion=assignment)
        sides = split_node(options, mask, self.owner == user, server, cut)
        parts = tuple(_Node(side, prices, node.start, node.end) for side in sides)
        return Worked(bound, parts, suggestion=assignment)


def _first_assignments(problem: SplitTraining, rounds: _Rounds, run: Run) -> None:
    """Assignments to begin with: a warm start, and the best for the average delay."""
    if run.warm_start is not None:
        rounds.offer(run.warm_start.server, run.warm_start.local_layers)
    mean = problem.replace(delay="sum", weights=_averaged(problem))
    pricing, state = SplitPricing(reduce(mean), run.threads), Pricing()
    inner = Run(gap=max(run.gap, 1e-3), time_limit_s=max(run.seconds_left, 1e-3), threads=run.threads)
    try:
        stages(mean, pricing, state, inner, [], branch=False)
    finally:
        for found in pricing.best:
            rounds.offer(found.server, found.cut)
    _report(rounds, run)


def _averaged(problem: SplitTraining) -> Any:
    from edgealloc.core.weights import Weights

    terms = {name: problem.weights.effective(name, problem.users) for name in ("delay", "energy", "stability")}
    terms["delay"] = terms["delay"] / problem.users
    return Weights(terms["delay"], terms["energy"], terms["stability"])


def _report(rounds: _Rounds, run: Run) -> None:
    run.report("rounds", len(run.history), rounds.objective, rounds.bound)
