"""Baselines: rules of thumb that planners without a model follow; nothing is proven.

Every rule is an order of the options of a job, of which it takes the first that its own limits and the room at the
servers allow. Where none is allowed it takes the first all the same: the assignment then breaks a limit and is refused
by name when it is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.fine_tuning.assignment import Assignment

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["full_server", "greedy_memory", "largest", "lora_device", "random_choice"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: For a job and the methods and places (0: device) that it can have: an order of some of them.
Rule = Callable[[int, IntArray, IntArray], IntArray]

#: Sums that reach a limit exceed it by no more than this share.
_ROUNDING: Final = 1e-12
#: Jobs between looks at the clock.
_CHUNK: Final = 256


def full_server(problem: FineTuning, run: Run) -> Outcome:
    """Train everything at a server: of the methods called "full...", that of best quality (where none is called so,
    the one with most to send back), at the server with the fastest uplink that has room."""
    named = _named(problem, "full")

    def rule(i: int, method: IntArray, place: IntArray) -> IntArray:
        key = problem.quality[i, method] if named.any() else problem.result_bytes[i, method]
        possible = np.flatnonzero((place > 0) & (named[method] | ~named.any()))
        if possible.size == 0:
            return possible
        best = possible[int(np.argmax(key[possible]))]
        same = possible[method[possible] == method[best]]
        nearest: IntArray = same[np.argsort(-_nearness(problem, i, place[same]), kind="stable")]
        return nearest

    return _one_by_one(problem, run, range(problem.jobs), rule, "no server can train all of its model")


def lora_device(problem: FineTuning, run: Run) -> Outcome:
    """Low-rank adapters on every job's own device: the cheapest of the methods called "lora..."."""
    named = _named(problem, "lora")

    def rule(i: int, method: IntArray, place: IntArray) -> IntArray:
        here = np.flatnonzero((place == 0) & named[method])
        return here[np.argsort(problem.options.costs.cost[i, method[here], 0], kind="stable")]

    return _one_by_one(problem, run, range(problem.jobs), rule, "no method called 'lora' can run on its device")


def largest(problem: FineTuning, run: Run) -> Outcome:
    """The method with the most memory that the job's device can run, else the one with the most memory that the
    server with the fastest uplink has room for, else the next server."""

    def rule(i: int, method: IntArray, place: IntArray) -> IntArray:
        return np.lexsort((-problem.memory_bytes[i, method], place, -_nearness(problem, i, place)))

    return _one_by_one(problem, run, range(problem.jobs), rule, "it can run nothing anywhere")


def greedy_memory(problem: FineTuning, run: Run) -> Outcome:
    """Jobs by the least memory that they need, the neediest first, each to its cheapest option that still fits."""
    possible = problem.options.allowed.any(axis=2)
    need = np.where(possible, problem.memory_bytes, np.inf).min(axis=1)

    def rule(i: int, method: IntArray, place: IntArray) -> IntArray:
        return np.argsort(problem.options.costs.cost[i, method, place], kind="stable")

    return _one_by_one(problem, run, np.argsort(-need, kind="stable").tolist(), rule, "it can run nothing anywhere")


def random_choice(problem: FineTuning, run: Run) -> Outcome:
    """Jobs in random order, each to a random one of its options that still fit."""
    numbers = np.random.default_rng(run.seed)

    def rule(i: int, method: IntArray, place: IntArray) -> IntArray:
        del i, place
        return numbers.permutation(method.size)

    return _one_by_one(problem, run, numbers.permutation(problem.jobs).tolist(), rule, "it can run nothing anywhere")


def _named(problem: FineTuning, word: str) -> BoolArray:
    """(K,) whether the name of a method begins with a word."""
    return np.array([name.lower().startswith(word) for name in problem.method_names])


def _nearness(problem: FineTuning, i: int, place: IntArray) -> FloatArray:
    """Uplink rates of places; the device itself is nearest."""
    rates = np.concatenate([[np.inf], problem.uplink_bps[i]])
    return np.asarray(rates[place])


class _Room:
    """What jobs that have their place use of every server."""

    def __init__(self, problem: FineTuning) -> None:
        self.problem = problem
        self._limits = (problem.server_memory_bytes, problem.server_busy_s, problem.airtime_s)
        self._used = np.zeros((3, problem.servers + 1))  # the last is nowhere

    def _amounts(self, i: int, method: IntArray, place: IntArray) -> tuple[IntArray, FloatArray]:
        """Where options count (at their server, on the device in the home cell; -1: nowhere), and for what (3, n)."""
        problem, options = self.problem, self.problem.options
        there = place > 0
        amounts = np.stack([problem.memory_bytes[i, method] * there, options.costs.compute_s[i, method, place] * there,
                            options.airtime_s[i, method, place]])
        return np.where(there, place - 1, problem.home_cell[i]), amounts

    def allows(self, i: int, method: IntArray, place: IntArray) -> BoolArray:
        """Which options fit beside what is there."""
        good = self.problem.options.allowed[i, method, place]
        server, amounts = self._amounts(i, method, place)
        for limit, used, amount in zip(self._limits, self._used, amounts, strict=True):
            if limit is not None and self.problem.servers:
                most = np.append(limit, np.inf)[server] * (1.0 + _ROUNDING)
                good = good & ((amount == 0.0) | (used[server] + amount <= most))
        return np.asarray(good)

    def take(self, i: int, method: int, place: int) -> None:
        """Count a job."""
        server, amounts = self._amounts(i, np.array([method]), np.array([place]))
        self._used[:, server[0]] += amounts[:, 0]


def _one_by_one(problem: FineTuning, run: Run, order: Iterable[int], rule: Rule, why: str) -> Outcome:
    """Assign job after job by a rule; nothing if it has no option at all for one."""
    out = problem.options.out
    possible = ~(out["forbidden"] | out["out of reach"])
    room = _Room(problem)
    chosen = np.zeros((2, problem.jobs), dtype=np.int64)
    try:
        for count, i in enumerate(order):
            if count % _CHUNK == 0:
                run.check_time()
            method, place = np.nonzero(possible[i])
            wanted = rule(i, method, place)
            if wanted.size == 0:
                return Outcome(termination=Termination.CONVERGED, attempts=(f"{problem.job_label(i)}: {why}",))
            method, place = method[wanted], place[wanted]
            fits = room.allows(i, method, place)
            # where nothing fits: what the job could have if it were alone
            first = int(np.argmax(fits if fits.any() else problem.options.allowed[i, method, place]))
            chosen[:, i] = method[first], place[first]
            room.take(i, int(method[first]), int(place[first]))
    except TimeUpError:
        return Outcome(termination=Termination.TIME_LIMIT, attempts=("stopped before every job had a method",))
    except KeyboardInterrupt:
        return Outcome(termination=Termination.INTERRUPTED, attempts=("stopped before every job had a method",))
    return Outcome(Assignment(chosen[0], chosen[1] - 1))
