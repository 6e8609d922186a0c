r"""Best-first branch and bound: always open the node of lowest bound, in small rounds whose nodes are worked in
threads.

The engine knows nothing of what a node is: `work` bounds it and splits it. The nodes of a round are chosen before any
of them is worked, and their results are taken in order, so that the number of threads changes no bit of the outcome.

Small example, free of phones and servers: the least ``(x - 2.7)^2`` over whole x in 0..7, by halving ranges.

>>> def work(node, cutoff):
...     low, high = node
...     nearest = min(max(2.7, low), high)
...     bound = (nearest - 2.7) ** 2
...     if low == high:
...         return Worked(bound, (), bound)
...     middle = (low + high) // 2
...     return Worked(bound, ((low, middle), (middle + 1, high)))
>>> tree = Tree((0, 7), 0.0, objective=100.0, gap=0.0)
>>> while not tree.closed:
...     suggestions = tree.round(work, threads=1)
>>> round(tree.objective, 6), round(tree.bound, 6)
(0.09, 0.09)
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ROUND", "Tree", "Worked"]

#: Nodes of a round. Fixed, because it decides the order in which nodes are worked.
ROUND: Final = 4


@dataclass(frozen=True, eq=False)
class Worked:
    """What came of a node.

    Attributes
    ----------
    bound : float
        A lower bound of every solution in the node, inf if there is none.
    children : tuple
        Nodes that together hold all of its solutions but the one of `objective`, and those of cost >= the cutoff.
    objective : float
        Cost of a solution found on the way, inf if none.
    suggestion : object
        Whatever the caller wants to look at after the round, such as a solution to be improved.
    """

    bound: float
    children: tuple[Any, ...] = ()
    objective: float = math.inf
    suggestion: Any = None


class Tree:
    """Open nodes and what is known.

    Parameters
    ----------
    root : object
    bound : float
        Lower bound known already.
    objective : float
        Cost of the best solution known, inf if none.
    gap : float
        Relative gap below which nodes are of no interest.

    Attributes
    ----------
    objective : float
        Lower it when a better solution turns up elsewhere.
    nodes : int
        How many were worked.
    """

    def __init__(self, root: Any, bound: float, objective: float, gap: float) -> None:
        self.objective = objective
        self.nodes = 0
        self._gap = gap
        self._proven = bound
        self._pruned = math.inf
        self._count = 0
        self._heap: list[tuple[float, int, Any]] = [(bound, 0, root)]

    @property
    def cutoff(self) -> float:
        """Nodes with a bound of at least this are dropped."""
        return self.objective - self._gap * abs(self.objective) if math.isfinite(self.objective) else math.inf

    @property
    def bound(self) -> float:
        """Lower bound of all solutions."""
        lowest = self._heap[0][0] if self._heap else math.inf
        return max(self._proven, min(lowest, self._pruned, self.objective))

    @property
    def closed(self) -> bool:
        """Nothing of interest is left."""
        return not self._heap or self._heap[0][0] >= self.cutoff

    @property
    def open(self) -> int:
        """How many nodes wait."""
        return len(self._heap)

    def round(self, work: Callable[[Any, float], Worked], threads: int) -> list[Any]:
        """Work the nodes of lowest bound and return their suggestions, in order.

        An exception in `work` (Ctrl-C) puts all nodes back.

        Parameters
        ----------
        work : callable ``(node, cutoff) -> Worked``
            What is done with a node.
        threads : int
            How many nodes are worked at the same time.
        """
        batch = [heapq.heappop(self._heap) for _ in range(min(ROUND, len(self._heap)))]
        cutoff = self.cutoff
        try:
            nodes = [node for _, _, node in batch]
            if threads > 1 and len(batch) > 1:
                with ThreadPoolExecutor(min(threads, len(batch))) as pool:
                    results = list(pool.map(lambda node: work(node, cutoff), nodes))
            else:
                results = [work(node, cutoff) for node in nodes]
        except BaseException:
            for entry in batch:
                heapq.heappush(self._heap, entry)
            raise
        for (bound, _, _), worked in zip(batch, results, strict=True):
            self._take(max(bound, worked.bound), worked)
        self.nodes += len(batch)
        # what was pruned counts with today's cutoff, which falls with the objective: what was proven before stays so
        self._proven = max(self._proven, self.bound)
        return [worked.suggestion for worked in results if worked.suggestion is not None]

    def _take(self, bound: float, worked: Worked) -> None:
        # what the node dropped on the way costs at least the cutoff that it was given
        self._pruned = min(self._pruned, self.cutoff)
        self.objective = min(self.objective, worked.objective)
        if bound >= self.cutoff or not worked.children:
            self._pruned = min(self._pruned, bound)
            return
        for child in worked.children:
            self._count += 1
            heapq.heappush(self._heap, (bound, self._count, child))
