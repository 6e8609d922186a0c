r"""Depth-first branch and bound with fixed prices: exact for parts that are small or whose prices are nearly tight.

Agents are decided one after the other, those with the most to regret first, options by what they cost at the prices.
With D the bound at these prices and r the priced cost of an option beyond the agent's best, everything below a node
costs at least

.. math:: D + \sum_{\text{decided } i} r_{o_i},

and it cannot fit if the uses so far and the least uses of the others exceed a capacity, or if a second vector of
prices, without costs, says so. Choices within the callers' tolerance but not ours are not taken; they lower the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.core.run import Run
from edgealloc.solvers.choices.data import FITS, RELAXED
from edgealloc.solvers.choices.part import Part
from edgealloc.solvers.choices.state import State
from edgealloc.solvers.pricing import GUARD

__all__ = ["Searched", "decided_bound", "search_part"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Nodes between looks at the clock.
_CHUNK: Final = 300_000


@dataclass(frozen=True)
class Searched:
    """What a search proved.

    Attributes
    ----------
    bound : float
        Lower bound of the part, inf if nothing in it fits.
    complete : bool
        Nothing of interest is left.
    """

    bound: float
    complete: bool


def search_part(
    part: Part, prices: FloatArray, ray: FloatArray | None, state: State, run: Run, *, gap: float, nodes: int
) -> Searched:
    """Search a part, and offer what is found; stops after so many nodes, or when time is up (without raising).

    Parameters
    ----------
    prices, ray : (C,)
        Prices with costs, and without (None: not used).
    gap : float
        Relative gap below the best choice within which nodes are of no interest.
    """
    if part.agents == 0:
        return Searched(decided_bound(part, state), True)
    tree = _Tree(part, prices, ray)
    spent = 0
    while not tree.done and spent < nodes and run.seconds_left > 0.0:
        spent += tree.work(min(_CHUNK, nodes - spent), state, gap)
        run.report("search", spent, state.objective, max(state.bound, min(tree.bound(), state.objective)))
    return Searched(tree.bound(), tree.done)


class _Tree:
    """Arrays of the search in the order in which agents are decided."""

    def __init__(self, part: Part, prices: FloatArray, ray: FloatArray | None) -> None:
        self.part = part
        answer = part.ask(prices, 1)
        self.root = answer.bound
        extra = part.priced(prices)
        order, self.option = _order(part, extra)
        count = np.diff(part.start)[order]
        self.order = order
        self.start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        self.cost, self.extra = part.cost[self.option], extra[self.option]
        self.use, self.capacity = part.use[self.option], part.capacity[self.option]
        begins, size = self.start[:-1], part.limit.size
        n = order.size
        # least uses of all agents from d on
        self.least = np.zeros((n + 1, size))
        _least_uses(self.start, self.use, self.capacity, self.least)
        # what the second prices say: need of every option beyond its agent's least, and the room for all of that
        self.need, self.room = np.zeros(self.cost.size), math.inf
        if ray is not None:
            total = np.zeros(self.cost.size)
            for r in range(self.use.shape[1]):
                total += ray[self.capacity[:, r]] * self.use[:, r]
            self.need = total - np.repeat(np.minimum.reduceat(total, begins), count)
            top = float(np.maximum.reduceat(total, begins).sum())
            self.room = max(0.0, -part.ask(ray, 1, costly=False).bound) + GUARD * top
        self.guard = GUARD * float(np.sum(answer.value) + np.maximum.reduceat(self.extra, begins).sum())
        self.pointer = self.start[:-1].copy()
        self.load = np.zeros(size)
        self.saved = np.zeros((n + 1, max(self.use.shape[1], 1)))
        self.sums = np.zeros((3, n + 1))  # of costs, priced costs and needs of what is decided
        self.best = np.zeros(n, dtype=np.int64)
        self.depth = 0
        self.done = bool((self.least[0] > part.limit + RELAXED).any())
        self.cut = math.inf  # lowest cutoff that was ever used
        self.grey = math.inf  # least cost of choices that only a caller's tolerance would take

    def work(self, budget: int, state: State, gap: float) -> int:
        """Work so many nodes; returns how many were."""
        part = self.part
        cutoff = state.cutoff(gap)
        self.cut = min(self.cut, cutoff)
        spent, self.depth, self.done, found, self.grey = _explore(
            budget, self.depth, cutoff, gap, part.base, self.root - self.guard, self.start,
            self.cost, self.extra, self.need, self.use, self.capacity, part.limit, self.least, self.room,
            self.pointer, self.load, self.saved, self.sums, self.best, self.grey,
        )
        if found < math.inf:
            choice = np.empty(part.agents, dtype=np.int64)
            choice[self.order] = self.option[self.best]
            objective = part.base + found
            self.cut = min(self.cut, objective - gap * abs(objective) - GUARD * (abs(objective) + part.size))
            state.offer(part.whole(choice))
        return int(spent)

    def bound(self) -> float:
        """Lower bound of the part by what is open, was cut off, or is left to tolerance."""
        lowest = min(self.cut, self.part.base + self.grey - GUARD * (self.part.size + abs(self.part.base)))
        if self.done:
            return lowest
        for d in range(self.depth + 1):
            # the option that is being worked counts with what is open below it
            o = self.pointer[d] + (1 if d < self.depth else 0)
            if o < self.start[d + 1]:
                lowest = min(lowest, self.root + self.sums[1, d] + self.extra[o] - self.guard)
        return max(lowest, min(self.root, self.cut))


def _order(part: Part, extra: FloatArray) -> tuple[IntArray, IntArray]:
    """Agents by falling regret at the prices, and options in that order, by rising priced cost."""
    by_extra = np.lexsort((part.cost, extra, part.owner))
    begins = part.start[:-1]
    regret = extra[by_extra][begins + 1]
    heavy = np.maximum.reduceat(part.use.sum(axis=1), begins)
    order = np.lexsort((-heavy, -regret))
    pieces = [by_extra[part.start[i]:part.start[i + 1]] for i in order]
    return order, np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)


def decided_bound(part: Part, state: State) -> float:
    """Offer the only choice of a part in which all is decided; what it costs at least, inf if it does not fit."""
    if (part.limit < -RELAXED).any():
        return math.inf
    state.offer(part.template)
    return part.base - GUARD * (part.size + abs(part.base))


@kernel
def _least_uses(start: IntArray, use: FloatArray, capacity: IntArray, least: FloatArray) -> None:
    """Add up what all agents from d on use at least of every capacity, (n + 1, C)."""
    slots = use.shape[1]
    for d in range(start.size - 2, -1, -1):
        least[d] = least[d + 1]
        first = start[d]
        for r in range(slots):
            lowest = use[first, r]
            for o in range(first + 1, start[d + 1]):
                here = 0.0
                for s in range(slots):
                    if capacity[o, s] == capacity[first, r] and use[o, s] > 0.0:
                        here = use[o, s]
                lowest = min(lowest, here)
            least[d, capacity[first, r]] += lowest


@kernel
def _explore(
    budget: int, depth: int, cutoff: float, gap: float, base: float, root: float, start: IntArray, cost: FloatArray,
    extra: FloatArray, need: FloatArray, use: FloatArray, capacity: IntArray, limit: FloatArray, least: FloatArray,
    need_room: float, pointer: IntArray, load: FloatArray, saved: FloatArray, sums: FloatArray, best: IntArray,
    grey: float,
) -> tuple[int, int, bool, float, float]:
    """Go on with the search for `budget` nodes: (nodes, depth, done, cost of the best choice found, grey).

    Choices must cost less than `cutoff`; `base` is added to costs, `root` to priced costs.
    """
    room = cutoff - root
    n, slots = start.size - 1, use.shape[1]
    found = np.inf
    spent = 0
    while spent < budget:
        o = pointer[depth]
        if o >= start[depth + 1] or sums[1, depth] + extra[o] >= room:
            if depth == 0:
                return spent, depth, True, found, grey
            depth -= 1
            o = pointer[depth]
            for r in range(slots - 1, -1, -1):
                if use[o, r] > 0.0:
                    load[capacity[o, r]] = saved[depth, r]
            pointer[depth] += 1
            continue
        spent += 1
        good = sums[2, depth] + need[o] <= need_room
        if good:
            for r in range(slots):
                c = capacity[o, r]
                if use[o, r] > 0.0 and load[c] + use[o, r] + least[depth + 1, c] > limit[c] + RELAXED:
                    good = False
                    break
        if not good:
            pointer[depth] += 1
            continue
        for r in range(slots):
            if use[o, r] > 0.0:
                saved[depth, r] = load[capacity[o, r]]
                load[capacity[o, r]] += use[o, r]
        sums[0, depth + 1] = sums[0, depth] + cost[o]
        sums[1, depth + 1] = sums[1, depth] + extra[o]
        sums[2, depth + 1] = sums[2, depth] + need[o]
        depth += 1
        if depth < n:
            pointer[depth] = start[depth]
            continue
        total = sums[0, depth]
        if base + total < cutoff:
            fits = True
            for c in range(limit.size):
                if load[c] > limit[c] + FITS:
                    fits = False
                    break
            if fits:
                found = total
                best[:] = pointer
                cutoff = base + total - gap * abs(base + total)
                room = cutoff - root
            else:
                grey = min(grey, total)
        depth -= 1
        for r in range(slots - 1, -1, -1):
            if use[o, r] > 0.0:
                load[capacity[o, r]] = saved[depth, r]
        pointer[depth] += 1
    return spent, depth, False, found, grey
