"""What is left to decide of a problem: agents with more than one option, and the room that the others leave them."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.solvers.choices.data import RELAXED, Choices
from edgealloc.solvers.choices.kernels import ask, survivors
from edgealloc.solvers.pricing import GUARD

__all__ = ["RANGES", "Answer", "Part", "in_threads", "reduced", "whole_part"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Ranges of agents that are worked in threads; fixed, so that results do not depend on the number of threads.
RANGES: Final = 16
#: Fewer options than this are not worth a thread.
_THREADED: Final = 100_000


@dataclass(frozen=True, eq=False)
class Answer:
    """What everybody picks at prices.

    Attributes
    ----------
    choice, value : (n,)
        Options of the part, and their priced costs beyond the cheapest.
    load : (C,)
        What the agents of the part use.
    bound : float
        Proven lower bound of the part, valid in floating point and for capacities larger by `RELAXED`.
    """

    choice: IntArray
    value: FloatArray
    load: FloatArray
    bound: float


@dataclass(frozen=True, eq=False)
class Part:
    """Agents that are still to be decided, with their options sorted by cost.

    Attributes
    ----------
    agent : (n,) of int
        Who they are in the problem.
    option : (E',) of int
        What their options are in the problem.
    start, cost, use, capacity
        As in `Choices`; costs are beyond the agent's cheapest option here, so that all are >= 0.
    limit : (C,)
        Share of every capacity that the decided agents leave; can be a little below 0.
    template : (N,) of int
        A choice of the problem that has the options of the decided agents.
    base : float
        Cost of the cheapest options of all agents.
    size : float
        Sum of the absolute values of what `base` was added up from, for the rounding guard.
    """

    agent: IntArray
    option: IntArray
    start: IntArray
    cost: FloatArray
    use: FloatArray
    capacity: IntArray
    limit: FloatArray
    template: IntArray
    base: float
    size: float

    @property
    def agents(self) -> int:
        """How many are to be decided."""
        return self.agent.size

    @property
    def options(self) -> int:
        """How many options they have in all."""
        return self.cost.size

    @property
    def owner(self) -> IntArray:
        """(E',) agent of every option, counted within the part."""
        return np.repeat(np.arange(self.agents), np.diff(self.start))

    def whole(self, choice: IntArray) -> IntArray:
        """A choice of the part as a choice of the problem."""
        result = self.template.copy()
        result[self.agent] = self.option[choice]
        return result

    def load(self, choice: IntArray) -> FloatArray:
        """(C,) what a choice uses of every capacity."""
        if self.use.size == 0:
            return np.zeros(self.limit.size)
        return np.asarray(np.bincount(self.capacity[choice].ravel(), weights=self.use[choice].ravel(),
                                      minlength=self.limit.size), dtype=np.float64)

    def ask(self, prices: FloatArray, threads: int, *, costly: bool = True) -> Answer:
        """Everybody's best option at prices per whole capacity; without costs if these are not `costly`.

        Without costs the bound is one of the sum of the excesses, if no price exceeds 1: above 0, nothing fits.
        """
        cost = self.cost if costly else np.zeros(self.options)
        choice, value = np.empty(self.agents, dtype=np.int64), np.empty(self.agents)
        edges = np.linspace(0, self.agents, RANGES + 1).astype(np.int64)
        loads = np.zeros((RANGES, max(self.limit.size, 1)))

        def work(k: int) -> None:
            if costly:
                ask(edges[k], edges[k + 1], self.start, cost, self.use, self.capacity, prices, choice, value, loads[k])
            else:
                _least_use(edges[k], edges[k + 1], self, prices, choice, value, loads[k])

        in_threads(work, threads if self.options > _THREADED else 1)
        room = self.limit + RELAXED
        total = math.fsum(value) - math.fsum(prices * room)
        slack = math.fsum(value) + math.fsum(prices * (np.abs(room) + 1.0))
        base, size = (self.base, self.size) if costly else (0.0, 0.0)
        bound = math.fsum((base, total, -GUARD * (slack + size)))
        return Answer(choice, value, loads.sum(axis=0)[: self.limit.size], bound)

    def priced(self, prices: FloatArray) -> FloatArray:
        """(E',) what every option costs at prices beyond the agent's best one, >= 0."""
        total = self.cost.copy()
        for r in range(self.use.shape[1]):
            total += prices[self.capacity[:, r]] * self.use[:, r]
        least = np.minimum.reduceat(total, self.start[:-1])
        return np.asarray(total - least[self.owner])

    def only(self, keep: BoolArray) -> Part | None:
        """The part with some options alone; whoever has one left is decided. None if somebody has none left."""
        left = np.add.reduceat(keep.astype(np.int64), self.start[:-1]) if self.agents else np.zeros(0, dtype=np.int64)
        if (left == 0).any():
            return None
        owner = self.owner
        alone = keep & (left[owner] == 1)
        picked = np.flatnonzero(alone)
        template = self.template.copy()
        template[self.agent[owner[picked]]] = self.option[picked]
        taken = np.zeros(self.limit.size)
        if picked.size and self.use.size:
            taken += np.bincount(self.capacity[picked].ravel(), weights=self.use[picked].ravel(),
                                 minlength=self.limit.size)
        stay = left > 1
        kept = keep & ~alone
        start = np.concatenate([[0], np.cumsum(left[stay])]).astype(np.int64)
        cost = self.cost[kept]
        fixed = self.cost[picked]
        lower = np.minimum.reduceat(cost, start[:-1]) if start.size > 1 else np.zeros(0)
        if start.size > 1:
            cost = cost - np.repeat(lower, np.diff(start))
        base = math.fsum((self.base, *fixed, *lower))
        size = math.fsum((self.size, abs(self.base), *fixed, *lower))
        return Part(self.agent[stay], self.option[kept], start, cost, np.ascontiguousarray(self.use[kept]),
                    np.ascontiguousarray(self.capacity[kept]), self.limit - taken, template, base, size)


def _least_use(
    begin: int, end: int, part: Part, prices: FloatArray, choice: IntArray, value: FloatArray, load: FloatArray
) -> None:
    """Like the kernel `ask`, without costs: then options are not sorted by what they cost."""
    if begin == end:
        return
    first, last = part.start[begin], part.start[end]
    total = np.zeros(last - first)
    for r in range(part.use.shape[1]):
        total += prices[part.capacity[first:last, r]] * part.use[first:last, r]
    begins = part.start[begin:end] - first
    least = np.minimum.reduceat(total, begins)
    places = np.where(total == np.repeat(least, np.diff(part.start[begin:end + 1])), np.arange(first, last), last)
    picked = np.minimum.reduceat(places, begins)
    choice[begin:end], value[begin:end] = picked, least
    load += np.bincount(part.capacity[picked].ravel(), weights=part.use[picked].ravel(), minlength=load.size)


def in_threads(work: Callable[[int], None], threads: int) -> None:
    """Work all ranges of agents."""
    if threads > 1:
        with ThreadPoolExecutor(min(threads, RANGES)) as pool:
            list(pool.map(work, range(RANGES)))
    else:
        for k in range(RANGES):
            work(k)


def _surviving(problem: Choices, threads: int) -> tuple[IntArray, BoolArray]:
    """Options by agent and cost, and which of them fit alone and are not dominated."""
    order, keep = np.empty(problem.options, dtype=np.int64), np.zeros(problem.options, dtype=np.bool_)
    limit = np.full(max(problem.capacities, 1), 1.0 + RELAXED)
    edges = np.linspace(0, problem.agents, RANGES + 1).astype(np.int64)

    def work(k: int) -> None:
        survivors(edges[k], edges[k + 1], problem.start, problem.cost, problem.use, problem.capacity, limit, order,
                  keep)

    in_threads(work, threads if problem.options > _THREADED else 1)
    return order, keep


def reduced(problem: Choices, threads: int = 1) -> tuple[Choices, IntArray]:
    """The problem without options that cannot be needed, and what its options were before.

    Left out is what exceeds a capacity by itself, and what costs no less than another option of its agent that uses
    no more of any capacity. An agent that fits nowhere keeps its option of least excess.

    Parameters
    ----------
    problem : Choices
        Agents, options and capacities.
    threads : int
        Worker threads.

    Examples
    --------
    >>> three = Choices([0, 3], [1.0, 2.0, 3.0], [[0.5], [0.2], [0.3]], [[0], [0], [0]], 1)
    >>> smaller, option = reduced(three)
    >>> smaller.cost.tolist(), option.tolist()
    ([1.0, 2.0], [0, 1])
    """
    order, keep = _surviving(problem, threads)
    chosen = np.zeros(problem.options, dtype=np.bool_)
    chosen[order[keep]] = True
    if problem.agents:
        none = np.flatnonzero(np.add.reduceat(keep.astype(np.int64), problem.start[:-1]) == 0)
        for i in none:
            low, high = problem.start[i], problem.start[i + 1]
            excess = np.maximum(problem.use[low:high] - 1.0, 0.0).sum(axis=1)
            chosen[low + int(np.argmin(excess))] = True
    option = np.flatnonzero(chosen)
    count = np.bincount(problem.owner[option], minlength=problem.agents)
    start = np.concatenate([[0], np.cumsum(count)])
    return Choices(start, problem.cost[option], problem.use[option], problem.capacity[option],
                   problem.capacities), option


def whole_part(problem: Choices, threads: int, *, all_options: bool = False) -> Part | None:
    """The whole problem, reduced (if not `all_options`) and sorted, as a part; None if some agent fits nowhere."""
    order, keep = _surviving(problem, threads)
    if all_options:
        keep[:] = True
    least = problem.cost[order][problem.start[:-1]]
    cost = problem.cost[order] - np.repeat(least, np.diff(problem.start))
    part = Part(
        np.arange(problem.agents), order, problem.start, cost, problem.use[order], problem.capacity[order],
        np.ones(problem.capacities), problem.cheapest(), math.fsum(least), math.fsum(np.abs(least)),
    )
    return part.only(keep)
