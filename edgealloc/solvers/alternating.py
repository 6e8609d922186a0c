r"""Alternating optimisation: block-coordinate descent over named blocks, monotone by check, from several starts.

.. math:: x_i \leftarrow \arg\min_{x_i} f(x_1, \ldots, x_K) \quad \text{for } i = 1, \ldots, K, \text{ over and over.}

A block takes a state and hands back one in which its own part is better. Blocks that solve their part exactly never
raise f, so every sweep descends and the objectives converge; nothing is proven about the point they converge to, which
depends on the start. Whether a block keeps its promise is checked each time: an answer that is worse by more than
rounding is rejected and counted, never silently accepted (Tseng, "Convergence of a block coordinate descent method
for nondifferentiable minimization", 2001, says when the end is a stationary point; from memory).

Examples
--------
k-means is alternating optimisation: labels at given centres, centres at given labels.

>>> import numpy as np
>>> points = np.array([1.0, 2.0, 3.0, 10.0, 11.0, 12.0])
>>> def label(state):
...     centres, _ = state
...     return centres, np.abs(points[:, None] - centres).argmin(axis=1)
>>> def centre(state):
...     _, labels = state
...     return np.array([points[labels == k].mean() for k in range(2)]), labels
>>> def spread(state):
...     centres, labels = state
...     return float(((points - centres[labels]) ** 2).sum())
>>> start = np.array([1.0, 2.0]), np.array([0, 1, 1, 1, 1, 1])
>>> found = alternate([Block("label", label), Block("centre", centre)], spread, [start])
>>> found.state[0].tolist(), found.objective, found.converged
([2.0, 11.0], 4.0, True)
>>> found.history[0].objectives
(246.0, 89.2, 4.0, 4.0)
>>> [(block.name, block.improved, block.kept, block.rejected) for block in found.blocks]
[('label', 1, 2, 0), ('centre', 2, 1, 0)]
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from edgealloc.core.run import TimeUpError
from edgealloc.core.status import Termination
from edgealloc.errors import DataError, Fault

__all__ = ["Alternated", "Block", "BlockError", "BlockStatus", "Descent", "alternate"]

S = TypeVar("S")

#: A difference of objectives below this share of them is rounding.
ROUNDING: Final = 1e-11


class BlockError(Exception):
    """A block found no answer; the state stays as it was, and the reason is recorded."""


@dataclass(frozen=True)
class Block(Generic[S]):
    """One part of the decision.

    Attributes
    ----------
    name : str
    solve : callable
        ``solve(state) -> state``: the same state with this block's part at its best. Must not change its argument.
        `BlockError` or an ArithmeticError (floating point, division by zero) counts as a failure.
    """

    name: str
    solve: Callable[[S], S]


@dataclass
class BlockStatus:
    """What became of a block's answers, over all sweeps and starts.

    Attributes
    ----------
    name : str
    improved, kept, rejected, failed : int
        Answers that lowered the objective; that left it, but for rounding; that would have raised it, or whose
        objective is no number; and none at all.
    seconds : float
        Time spent in the block, evaluation of its answers included.
    worst_rise : float
        Largest relative rise of the objective that was rejected.
    notes : list of str
        Reasons of failures, each once.
    """

    name: str
    improved: int = 0
    kept: int = 0
    rejected: int = 0
    failed: int = 0
    seconds: float = 0.0
    worst_rise: float = 0.0
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line without times, so that equal runs give equal lines."""
        line = f"{self.name}: {self.improved} improved, {self.kept} kept"
        if self.rejected:
            line += f", {self.rejected} rejected (worse by up to {self.worst_rise:.2g})"
        if self.failed:
            line += f", {self.failed} failed ({'; '.join(self.notes)})"
        return line


@dataclass(frozen=True)
class Descent:
    """The objectives of one start: of the start itself and after every full sweep; they never rise.

    Attributes
    ----------
    objectives : tuple of float
    converged : bool
        The last sweep improved less than the tolerance.
    """

    objectives: tuple[float, ...]
    converged: bool


@dataclass(frozen=True)
class Alternated(Generic[S]):
    """What the alternation found.

    Attributes
    ----------
    state : object or None
        The best one over all starts, the first of equals; None if no start was reached.
    objective : float
        Its objective, inf without one.
    converged : bool
        The descent that led to `state` settled.
    history : tuple of Descent
        One per start.
    blocks : tuple of BlockStatus
    termination : Termination
        CONVERGED if every start settled, ITERATIONS if one ran out of sweeps, TIME_LIMIT, or INTERRUPTED.
    """

    state: S | None
    objective: float
    converged: bool
    history: tuple[Descent, ...]
    blocks: tuple[BlockStatus, ...]
    termination: Termination


def alternate(
    blocks: Sequence[Block[S]],
    objective: Callable[[S], float],
    starts: Iterable[S],
    *,
    tolerance: float = 1e-9,
    max_sweeps: int = 100,
    check_time: Callable[[], None] = lambda: None,
    on_sweep: Callable[[int, int, S, float], None] = lambda *_: None,
) -> Alternated[S]:
    """Improve block after block from every start until a sweep improves next to nothing; keep the best end.

    Parameters
    ----------
    blocks : sequence of Block
        In the order of a sweep; names are unique.
    objective : callable
        ``objective(state) -> float``; inf means that a limit is broken, nan that the state is of no use.
    starts : iterable of states
        Taken one by one when needed, so a generator need not build them all. A start for which there is no time left
        is not begun.
    tolerance : float
        A sweep that improves by less than this share of the objective is the last.
    max_sweeps : int
        Per start.
    check_time : callable
        Called before every block and start; raising `TimeUpError` ends the run with the best state so far.
    on_sweep : callable
        ``on_sweep(start, sweep, state, objective)`` after every sweep (0: the start itself) with the best state so far
        over all starts; raising KeyboardInterrupt ends the run with it.

    Returns
    -------
    Alternated
        `TimeUpError` and KeyboardInterrupt, wherever they were raised, end up in its `termination`.

    Raises
    ------
    DataError
        No block, or options out of range.
    """
    _check_options(blocks, tolerance, max_sweeps)
    search: _Alternation[S] = _Alternation(tuple(blocks), objective, tolerance, max_sweeps, check_time, on_sweep)
    termination = Termination.CONVERGED
    try:
        for start in starts:
            search.descend(start)
            check_time()
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    search.close()
    if termination is Termination.CONVERGED and not all(descent.converged for descent in search.history):
        termination = Termination.ITERATIONS
    return Alternated(search.best, search.least, search.settled, tuple(search.history), search.status, termination)


class _Alternation(Generic[S]):
    """The best state over all starts, and the descent under way, whatever ends it."""

    def __init__(
        self, blocks: tuple[Block[S], ...], objective: Callable[[S], float], tolerance: float, max_sweeps: int,
        check_time: Callable[[], None], on_sweep: Callable[[int, int, S, float], None],
    ) -> None:
        self.blocks, self.objective, self.tolerance, self.max_sweeps = blocks, objective, tolerance, max_sweeps
        self.check_time, self.on_sweep = check_time, on_sweep
        self.status = tuple(BlockStatus(block.name) for block in blocks)
        self.history: list[Descent] = []
        self.best: S | None = None
        self.least, self.settled, self.best_start = math.inf, False, 0
        self.values: list[float] = []  # of the descent under way, empty if there is none

    def _keep(self, state: S, value: float, *, settled: bool) -> None:
        """Remember a state that is better than the best, the first of all, or the best one's successor."""
        start = len(self.history)
        if self.best is None or value < self.least or (value == self.least and start == self.best_start):
            self.best, self.least, self.settled, self.best_start = state, value, settled, start

    def close(self) -> None:
        """File a descent that was cut short."""
        if self.values:
            self.history.append(Descent(tuple(self.values), False))
            self.values = []

    def descend(self, state: S) -> None:
        """Sweep from a start until it settles."""
        value = self.objective(state)
        if math.isnan(value):
            value = math.inf
        self.values = [value]
        start, converged = len(self.history), False
        self._keep(state, value, settled=False)
        self._report(start, 0)
        for sweep in range(1, self.max_sweeps + 1):
            before = value
            for block, status in zip(self.blocks, self.status, strict=True):
                self.check_time()
                began = time.perf_counter()
                state, value = self._improve(block, status, state, value)
                status.seconds += time.perf_counter() - began
                self._keep(state, value, settled=False)
            self.values.append(value)
            # inf - inf is no improvement either
            converged = not before - value > self.tolerance * abs(value)
            self._keep(state, value, settled=converged)
            self._report(start, sweep)
            if converged:
                break
        self.history.append(Descent(tuple(self.values), converged))
        self.values = []

    def _report(self, start: int, sweep: int) -> None:
        if self.best is not None:
            self.on_sweep(start, sweep, self.best, self.least)

    def _improve(self, block: Block[S], status: BlockStatus, state: S, value: float) -> tuple[S, float]:
        """The block's answer if it is no worse, else the state as it was."""
        try:
            answer = block.solve(state)
        except (BlockError, ArithmeticError) as failure:
            status.failed += 1
            note = str(failure) or type(failure).__name__
            if note not in status.notes:
                status.notes.append(note)
            return state, value
        found = self.objective(answer)
        rounding = ROUNDING * abs(value) if math.isfinite(value) else 0.0
        if found < value - rounding:
            status.improved += 1
        elif found <= value + rounding:
            status.kept += 1
        else:
            status.rejected += 1
            rise = (found - value) / max(abs(value), 1e-300)
            status.worst_rise = max(status.worst_rise, math.inf if math.isnan(rise) else rise)
        return (answer, found) if found <= value else (state, value)


def _check_options(blocks: Sequence[Block[Any]], tolerance: float, max_sweeps: int) -> None:
    faults = []
    names = [block.name for block in blocks]
    if not names or len(set(names)) < len(names):
        faults.append(Fault("blocks", f"are named {names}; give at least one, each with a name of its own"))
    if not (math.isfinite(tolerance) and tolerance >= 0.0):
        faults.append(Fault("tolerance", f"is {tolerance!r}; give a relative improvement >= 0 such as 1e-9"))
    if max_sweeps < 1:
        faults.append(Fault("max_sweeps", f"is {max_sweeps!r}; give an integer >= 1"))
    if faults:
        raise DataError(faults, "alternate")
