r"""Method "alternating": cuts, resources and association in turns, each at its best with the others held.

The alternating optimisation that Liu & Zhao (arXiv 2409.20247, section 6) compare with, with exact blocks:

- *cuts* at given association and resources: every allowed cut of every user is evaluated, fully local training
  included, whose shares are freed. In a round the longest delay couples the users; the best length is found among all
  that some cut would give.
- *resources* at given association and cuts: `optimal_allocation`, the global optimum of a convex problem.
- *association* at given cuts: exact single moves, with the shares of both servers priced anew. With the old shares
  nobody could move where bandwidth is handed out whole. A user that trains alone has no cut to hold and joins with its
  best one; leaving for fully local training is a move, too. In a round the moves are exact at a given length, and a few
  lengths are tried.

Broken deadlines, caps and memory cost what `Reduced` says, so that a start that breaks them finds its way back.
Nothing is proven about the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.limits import hard_deadlines, server_memory_need
from edgealloc.formulations.split_training.moves import make_state, search
from edgealloc.formulations.split_training.reduced import Reduced, reduce, stiffer
from edgealloc.formulations.split_training.resources import optimal_allocation
from edgealloc.formulations.split_training.rules import (
    best_cut,
    best_rate,
    largest_cut,
    random_cut,
    random_server,
    smallest_cut,
)
from edgealloc.formulations.split_training.shares import equal_division
from edgealloc.formulations.split_training.stages import warm_up
from edgealloc.solvers.alternating import Alternated, Block, alternate

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["Turns", "best_cuts", "cuts_and_resources", "run"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: How many random associations with random cuts are started from, beside those by rule.
RANDOM_STARTS: Final = 3
#: A sweep that saves less than this share of the objective is the last.
TOLERANCE: Final = 1e-9
MOST_SWEEPS: Final = 200
#: Lengths at which the association of a round is improved, as shares of the length at hand.
ROUND_LENGTHS: Final = (1.0 + 1e-7, 0.9, 0.7)
#: Bisections on the price of a byte: 2^-40 of fifteen decades.
_PRICE_STEPS: Final = 40
#: Costs are capped here, so that sums and differences of them are numbers.
_DEAREST: Final = 1e290


class Turns:
    """The three blocks on one problem; a state is an allocation.

    Parameters
    ----------
    problem : SplitTraining
    run : Run
        Its clock stops the search for associations.
    """

    def __init__(self, problem: SplitTraining, run: Run) -> None:
        self.problem, self.run = problem, run
        self.data = reduce(problem)

    @cached_property
    def _stiffer(self) -> Reduced:
        return stiffer(self.data)

    # ---- what counts --------------------------------------------------------------------------------------------

    def keeps(self, a: Allocation) -> bool:
        """Whether an allocation breaks no limit."""
        return self.problem.relative_violation(a) <= FEASIBILITY_TOLERANCE

    def cost(self, a: Allocation) -> float:
        """The objective; where a limit is broken, plus what that costs, and more than any good answer does."""
        problem = self.problem
        costs = problem.evaluate(a)
        if self.keeps(a):
            return costs.objective
        m = a.server[a.server >= 0]
        count = np.bincount(m, minlength=problem.servers)
        need = np.bincount(m, weights=self._bytes(a.local_layers)[a.server >= 0], minlength=problem.servers)
        server, late = self.data.server, np.where(hard_deadlines(problem), costs.lateness_s, 0.0)
        broken = float(self.data.user["penalty"] @ late) + float(server["user_penalty"].mean())
        for used, kind in ((count, "user"), (need, "byte")):
            over = np.maximum(used - server["users" if kind == "user" else "bytes"], 0.0)
            broken += float(over @ server[f"{kind}_penalty"])
        return costs.objective + broken

    def _bytes(self, cut: IntArray) -> FloatArray:
        return server_memory_need(self.problem, cut)

    # ---- blocks -------------------------------------------------------------------------------------------------

    def cuts(self, a: Allocation) -> Allocation:
        """Everybody's best cut at the resources as they are."""
        return best_cuts(self.problem, a, self.data)

    def resources(self, a: Allocation) -> Allocation:
        """The best resources at the association and cuts as they are."""
        return self.at(a.server, a.local_layers)

    def at(self, server: IntArray, cut: IntArray) -> Allocation:
        """The allocation with the best resources at an association and cuts."""
        if self.problem.delay == "max":
            return optimal_allocation(self.problem, server, cut)
        found = optimal_allocation(self.problem, server, cut, data=self.data)
        if self.data.timed and not self.keeps(found):
            # a deadline that is kept by a hair costs more than an elastic one
            stiff = optimal_allocation(self.problem, server, cut, data=self._stiffer)
            return stiff if self.keeps(stiff) else found
        return found

    def association(self, a: Allocation) -> Allocation:
        """Single moves at exact cost, cuts held, until none helps."""
        if self.problem.delay == "sum":
            return self._moved(a, self.data)
        length = float(self.problem.evaluate(a).delay_s.max())
        tried = [self._moved(a, reduce(self.problem, round_s=share * length)) for share in ROUND_LENGTHS]
        return min(tried, key=self.cost)

    def _moved(self, a: Allocation, data: Reduced) -> Allocation:
        user, held = data.user.copy(), a.server >= 0
        user["low"][held] = user["high"][held] = a.local_layers[held]
        held_cuts = data._replace(user=user)
        state = make_state(held_cuts, a.server, a.local_layers)
        search(held_cuts, state, least=1e-12 * abs(self.cost(a)),
               out_of_time=lambda: self.run.seconds_left <= 0.0, swaps_up_to=0)
        same = (state.server == a.server).all() and (state.cut == a.local_layers).all()
        return a if same else self.at(state.server, state.cut)

    # ---- all together -------------------------------------------------------------------------------------------

    def starts(self) -> Iterator[Allocation]:
        """A warm start that keeps all limits; greedy; best rates with the fewest and most local layers; random ones."""
        problem, run = self.problem, self.run
        if run.warm_start is not None and self.keeps(run.warm_start):
            yield run.warm_start
        equal, rate = equal_division(problem), best_rate(problem, run)
        yield self._start(rate, best_cut(problem, rate, equal, run))
        yield self._start(rate, smallest_cut(problem, rate, equal, run))
        yield self._start(rate, largest_cut(problem, rate, equal, run))
        seeds = np.random.SeedSequence(run.seed).generate_state(RANDOM_STARTS)
        for seed in seeds:
            draw = Run(seed=int(seed))
            server = random_server(problem, draw)
            yield self._start(server, random_cut(problem, server, equal, draw))

    def _start(self, server: IntArray, cut: IntArray) -> Allocation:
        # fully local training that is always too late would have no finite cost
        possible = np.isfinite(self.data.user["local_cost"])
        can_split = (self.problem.gain > 0.0).any(axis=1) & (self.problem.cuts.low <= self.problem.cuts.high)
        cut = np.where((cut == self.problem.layers) & ~possible & can_split, self.problem.cuts.low, cut)
        return self.at(np.where(cut < self.problem.layers, server, -1), cut)

    def solve(self, blocks: list[Block[Allocation]], starts: Iterator[Allocation], stage: str) -> Outcome:
        """Alternate between blocks from every start; the clock begins once the kernels are compiled."""

        def compiled() -> Iterator[Allocation]:
            warm_up(self.run)
            yield from starts

        def report(_start: int, sweep: int, best: Allocation, value: float) -> None:
            self.run.report(stage, sweep, value if self.keeps(best) else None)

        found = alternate(
            blocks, self.cost, compiled(), tolerance=TOLERANCE, max_sweeps=MOST_SWEEPS, check_time=self.run.check_time,
            on_sweep=report,
        )
        return _outcome(found)


def _outcome(found: Alternated[Allocation]) -> Outcome:
    lines = [block.text() for block in found.blocks]
    sweeps = sum(len(one.objectives) - 1 for one in found.history)
    lines.insert(0, f"starts: {len(found.history)}, with {sweeps} sweeps together")
    return Outcome(
        allocation=found.state, termination=found.termination, converged=found.converged, attempts=tuple(lines)
    )


def run(problem: SplitTraining, run: Run) -> Outcome:
    """Alternate between cuts, resources and association from several starts; see the module's text.

    Time limit and Ctrl-C return the best so far. `attempts` tells what became of each block's answers.
    """
    turns = Turns(problem, run)
    blocks = [
        Block("cuts", turns.cuts), Block("resources", turns.resources), Block("association", turns.association)
    ]
    outcome = turns.solve(blocks, turns.starts(), "alternating")
    if run.warm_start is not None and not turns.keeps(run.warm_start):
        outcome = replace(outcome, attempts=("warm start violates a limit and was not used", *outcome.attempts))
    return outcome


def cuts_and_resources(problem: SplitTraining, server: IntArray, local_layers: IntArray, run: Run) -> Outcome:
    """Alternate between cuts and resources from one assignment, the association held (baseline "gucro").

    Parameters
    ----------
    problem : SplitTraining
    server, local_layers : int array (N,)
        Server -1 where fully local.
    run : Run

    Returns
    -------
    Outcome
    """
    turns = Turns(problem, run)
    blocks = [Block("cuts", turns.cuts), Block("resources", turns.resources)]
    start = (turns.at(*assignment) for assignment in [(server, local_layers)])
    return turns.solve(blocks, start, "cuts and resources")


# ---- the cut block ------------------------------------------------------------------------------------------


def best_cuts(problem: SplitTraining, a: Allocation, data: Reduced | None = None) -> Allocation:
    """The best cuts at the association and resources of an allocation.

    Exact for users that share nothing but time: of every user's allowed cuts the one of least cost, penalties for
    lateness included; in a round those of least objective together. Fully local users stay so. Where shares have to be
    handed out whole nobody leaves its server. Where a server's memory would be exceeded, which couples its users like a
    knapsack, two ways to fit are compared: nobody there takes more of it than now, or everybody pays the least price
    per byte at which they fit.

    Parameters
    ----------
    problem : SplitTraining
    a : Allocation
    data : Reduced, optional
        `reduce(problem)` if at hand.

    Returns
    -------
    Allocation
        Whoever becomes fully local frees its shares; all other resources are as before.
    """
    data = reduce(problem) if data is None else data
    cost, delay = _cut_table(problem, a, data)
    choice = _choose(problem, cost, delay, a)
    if problem.server_memory_bytes is not None and _overfull(problem, a, choice).any():
        choice = _fitting(problem, cost, delay, a, data)
    stays = choice < problem.layers
    return replace(
        a, server=np.where(stays, a.server, -1), local_layers=choice, power_w=np.where(stays, a.power_w, 0.0),
        bandwidth_hz=np.where(stays, a.bandwidth_hz, 0.0),
        server_frequency_hz=np.where(stays, a.server_frequency_hz, 0.0),
    )


def _cut_table(problem: SplitTraining, a: Allocation, data: Reduced) -> tuple[FloatArray, FloatArray]:
    """Cost and delay (Y+1, N) of every user at every cut by `evaluate`, resources held; inf where not allowed."""
    layers, cuts, remote = problem.layers, problem.cuts, a.server >= 0
    cost = np.full((layers + 1, problem.users), np.inf)
    delay = np.full((layers + 1, problem.users), np.inf)
    hard = np.where(hard_deadlines(problem), data.user["penalty"], 0.0)
    nothing, nobody = np.zeros(problem.users), np.full(problem.users, -1)
    for cut in range(layers + 1):
        if cut < layers:
            trial = replace(a, local_layers=np.where(remote, cut, layers))
            allowed = remote & (cuts.low <= cut) & (cut <= cuts.high)
        else:
            trial = Allocation(nobody, np.full(problem.users, layers), nothing, nothing, a.user_frequency_hz, nothing)
            leaves = np.isfinite(data.user["local_cost"])
            allowed = ~remote | (leaves if problem.resource_sense == "at_most" else np.zeros_like(leaves))
        if allowed.any():
            costs = problem.evaluate(trial)
            value = np.minimum(costs.user_objective + hard * costs.lateness_s, _DEAREST)
            cost[cut, allowed] = value[allowed]
            delay[cut, allowed] = costs.delay_s[allowed]
    return cost, delay


def _choose(problem: SplitTraining, cost: FloatArray, delay: FloatArray, a: Allocation) -> IntArray:
    """The cuts of least cost; the present one of equals, else the smallest."""
    if problem.delay == "max":
        delay = np.where(np.isfinite(cost), delay, np.inf)
        weight = float(problem.weights.effective("delay", problem.users)[0])
        cost = np.where(delay <= _best_length(cost, delay, weight), cost, np.inf)
    n = np.arange(problem.users)
    best = np.asarray(cost.argmin(axis=0), dtype=np.int64)
    return np.where(cost[a.local_layers, n] <= cost[best, n], a.local_layers, best)


def _best_length(cost: FloatArray, delay: FloatArray, weight: float) -> float:
    """The length T of a round that minimises weight T + the sum of everybody's least cost within T.

    The sum falls in steps, at the delays of options: so the best length is one of them.
    """
    order = np.argsort(delay, axis=0, kind="stable")
    late, least = (np.take_along_axis(table, order, axis=0) for table in (delay, cost))
    least = np.minimum.accumulate(least, axis=0)
    shortest = float(late[0].max())
    drop = np.zeros_like(least)
    finite = np.isfinite(least[:-1])
    drop[1:][finite] = (least[:-1] - least[1:])[finite]
    when, drop = late.ravel(), drop.ravel()
    sequence = np.argsort(when, kind="stable")
    when, saved = when[sequence], np.cumsum(drop[sequence])
    total = np.where((when >= shortest) & np.isfinite(when), weight * when - saved, np.inf)
    # delays that are equal have the savings of all of them only at the last: it is the least
    return float(when[total.argmin()]) if np.isfinite(total).any() else np.inf


def _fitting(
    problem: SplitTraining, cost: FloatArray, delay: FloatArray, a: Allocation, data: Reduced
) -> IntArray:
    """Cuts that fit the servers' memory, or come near: the better of the two ways that `best_cuts` names."""
    cuts = np.arange(problem.layers + 1)
    home = np.maximum(a.server, 0)
    full = _overfull(problem, a, _choose(problem, cost, delay, a))
    modest = np.where((full[home] & (a.server >= 0)) & (cuts[:, None] < a.local_layers), np.inf, cost)
    choices = [_choose(problem, modest, delay, a)]

    need = np.array([server_memory_need(problem, cut) if cut < problem.layers else np.zeros(problem.users)
                     for cut in cuts])
    low, high = 1e-15 * data.server["byte_penalty"], data.server["byte_penalty"].copy()
    for _ in range(_PRICE_STEPS):
        price = np.where(full, np.sqrt(low * high), 0.0)
        over = _overfull(problem, a, _choose(problem, cost + price[home] * need, delay, a))
        # whom a price drives off one server overloads no other, but a round's length couples all
        full = full | over
        low, high = np.where(over, price, low), np.where(over, high, np.where(full, price, high))
    choices.append(_choose(problem, cost + np.where(full, high, 0.0)[home] * need, delay, a))

    def merit(choice: IntArray) -> tuple[bool, float]:
        n = np.arange(problem.users)
        total = float(cost[choice, n].sum())
        if problem.delay == "max":
            total += float(problem.weights.effective("delay", problem.users)[0]) * float(delay[choice, n].max())
        return bool(_overfull(problem, a, choice).any()), total

    return min(choices, key=merit)


def _overfull(problem: SplitTraining, a: Allocation, cut: IntArray) -> BoolArray:
    """Servers (M,) whose memory the cuts exceed."""
    stays = (a.server >= 0) & (cut < problem.layers)
    need = np.bincount(
        a.server[stays], weights=server_memory_need(problem, cut)[stays], minlength=problem.servers
    )
    return np.asarray(need > problem.server_memory_bytes, dtype=np.bool_)
