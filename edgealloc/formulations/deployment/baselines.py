"""Baselines: rules of thumb that planners without a model follow; nothing is proven.

Every rule is an order of the options of a device, of which it takes the first that the room at the servers and the
limits of the fleet allow; devices that cannot do without a server come first. Of a limit of the fleet's means there is
room for what keeps back enough for the least that the devices after it need. Where nothing fits a rule takes the first
option all the same: the rollout then breaks a limit and is refused by name when it is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.deployment.costs import queueing
from edgealloc.formulations.deployment.options import FLEET
from edgealloc.formulations.deployment.rollout import Rollout
from edgealloc.units import format_count

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["device_only", "edge_only", "greedy", "random_choice", "threshold"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: For a device, the options that it may take (variant, place, set), one of them as (variant, place, set).
Rule = Callable[[int, BoolArray], tuple[int, int, int]]

#: Queues are compared up to this load of a server.
_FULL: Final = 1.0 - 1e-6
#: Sums that reach a limit exceed it by no more than this share.
_ROUNDING: Final = 1e-12
#: Devices between looks at the clock.
_CHUNK: Final = 256
_STOPPED: Final = "stopped before every device was equipped"


def threshold(problem: Deployment, run: Run) -> Outcome:
    """Queries by difficulty: classes below a threshold stay on the device, the others go to the server with the fastest
    uplink that has room; of all thresholds the one that costs least among those that keep the limits.

    One threshold for the whole fleet, as in the offloading of Zhang et al. (2024, arXiv 2411.09148). A device that
    cannot follow it, alone or beside the others, sends the set of classes that differs in fewest of them. Devices have
    the cheapest variant that may answer what they keep.
    """
    best: tuple[tuple[float, float], Rollout, str] | None = None
    tables = _Tables(problem)
    difficulty = np.arange(problem.classes)
    ending, least = Termination.STAGES_EXHAUSTED, float("inf")
    for theta in range(problem.classes + 1):
        found = _wanted(tables, run, difficulty >= theta)
        if found.allocation is None:
            ending = found.termination
            break
        broken = problem.relative_violation(found.allocation)
        cost = problem.evaluate(found.allocation).objective
        rank = (broken if broken > FEASIBILITY_TOLERANCE else 0.0, cost)
        if best is None or rank < best[0]:
            names = problem.class_names
            where = ("everything is sent" if theta == 0 else "nothing is sent" if theta == problem.classes
                     else f"classes from {names[theta]} on are sent")
            best = (rank, found.allocation, "; ".join([f"threshold {theta}: {where}", *found.attempts]))
        least = min(least, cost) if rank[0] == 0.0 else least
        try:
            run.report("threshold", theta, least)
        except KeyboardInterrupt:
            ending = Termination.INTERRUPTED
            break
    if best is None:
        return Outcome(termination=ending, attempts=(_STOPPED,))
    return Outcome(best[1], termination=ending, attempts=(best[2],))


def device_only(problem: Deployment, run: Run) -> Outcome:
    """Everything on the device, each with its cheapest variant; a device that cannot keeps as many classes as it
    can."""
    return _wanted(_Tables(problem), run, np.zeros(problem.classes, dtype=np.bool_))


def edge_only(problem: Deployment, run: Run) -> Outcome:
    """Everything at the server with the fastest uplink that still has room; a device that cannot sends as many classes
    as it can."""
    return _wanted(_Tables(problem), run, np.ones(problem.classes, dtype=np.bool_))


def greedy(problem: Deployment, run: Run) -> Outcome:
    """Devices by their rate of queries, the busiest first, each to the option that costs least as the servers are
    then, the queries that would wait longer included."""
    tables = _Tables(problem)
    order = np.argsort(-problem.query_rate_per_s.sum(axis=1), kind="stable")

    def rule(i: int, may: BoolArray) -> tuple[int, int, int]:
        cost = tables.cost(i) + tables.waiting(i)[None]
        return _place(int(np.where(may, cost, np.inf).argmin()), may.shape)

    return _outcome(tables, run, order, rule)


def random_choice(problem: Deployment, run: Run) -> Outcome:
    """Devices in random order, each to a random one of its options that still fit."""
    numbers = np.random.default_rng(run.seed)
    tables = _Tables(problem, every_variant=True)

    def rule(i: int, may: BoolArray) -> tuple[int, int, int]:
        del i
        possible = np.flatnonzero(may)
        return _place(int(possible[numbers.integers(possible.size)]), may.shape)

    return _outcome(tables, run, numbers.permutation(problem.devices), rule)


class _Tables:
    """Options of devices as (variant, place, set) tables, and what devices that have theirs use.

    Place 0 is nowhere, for the empty set. Without limits of the fleet only the cheapest variant of every set is there.
    """

    def __init__(self, problem: Deployment, *, every_variant: bool = False) -> None:
        self.problem, options = problem, problem.options
        self.fleet = [name for name in FLEET if getattr(problem, name) is not None]
        kept = np.where(options.local_allowed, options.local_cost, np.inf)
        uses = {name: options.local_use[name] for name in self.fleet}
        self.variant: IntArray | None = None
        if not self.fleet and not every_variant:
            self.variant = kept.argmin(axis=1)
            kept = np.take_along_axis(kept, self.variant[:, None], axis=1)
        self.kept, self.kept_allowed = kept, np.isfinite(kept)
        self.kept_use = uses
        shape = (problem.devices, 1, options.masks.shape[0])
        self.sent_allowed = np.concatenate([np.zeros(shape, dtype=np.bool_), options.sent_allowed], axis=1)
        self.sent_allowed[:, 0, 0] = True
        self.sent = self._with_nowhere(options.sent_cost)
        self.load, self.airtime = self._with_nowhere(options.sent_load), self._with_nowhere(options.sent_airtime)
        self.sent_use = {name: self._with_nowhere(options.sent_use[name]) for name in self.fleet}
        self.load_limit = np.append(np.inf, problem.load_limit * (1.0 + _ROUNDING))
        air = np.full(problem.servers, np.inf) if problem.airtime_limit is None else problem.airtime_limit
        self.airtime_limit = np.append(np.inf, air * (1.0 + _ROUNDING))
        #: What every device needs at least of every limit of the fleet.
        self.least = {}
        for name in self.fleet:
            here = np.where(self.kept_allowed, self.kept_use[name], np.inf).min(axis=1)
            away = np.where(self.sent_allowed, self.sent_use[name], np.inf).min(axis=1)
            self.least[name] = (here + away).min(axis=1)
        self.clear()

    def _with_nowhere(self, amount: FloatArray) -> FloatArray:
        return np.concatenate([np.zeros((amount.shape[0], 1, amount.shape[2])), amount], axis=1)

    def clear(self) -> None:
        """Nobody uses anything."""
        problem = self.problem
        self.loads, self.airs = np.zeros(1 + problem.servers), np.zeros(1 + problem.servers)
        self.used = {name: float(self.least[name].sum()) for name in self.fleet}

    def alone(self, i: int) -> BoolArray:
        """(V, 1 + S, 2^C) options of a device."""
        return np.asarray(self.kept_allowed[i][:, None, :] & self.sent_allowed[i][None])

    def fits(self, i: int) -> BoolArray:
        """(V, 1 + S, 2^C) options of a device that fit beside what is there."""
        there = (self.sent_allowed[i] & (self.loads[:, None] + self.load[i] <= self.load_limit[:, None])
                 & (self.airs[:, None] + self.airtime[i] <= self.airtime_limit[:, None]))
        may = self.kept_allowed[i][:, None, :] & there[None]
        for name in self.fleet:
            most = getattr(self.problem, name) * (1.0 + _ROUNDING) - self.used[name] + self.least[name][i]
            may &= self.kept_use[name][i][:, None, :] + self.sent_use[name][i][None] <= most
        return np.asarray(may)

    def cost(self, i: int) -> FloatArray:
        """(V, 1 + S, 2^C) what options add to the objective, without queues."""
        return np.asarray(self.kept[i][:, None, :] + self.sent[i][None])

    def waiting(self, i: int) -> FloatArray:
        """(1 + S, 2^C) what everybody would wait longer."""
        problem = self.problem
        if problem.delay_weight == 0.0:
            return np.zeros(self.load[i].shape)
        # a server without room is very dear rather than endlessly, so that costs can still be compared
        now = queueing(np.minimum(self.loads, _FULL))[:, None]
        then = queueing(np.minimum(self.loads[:, None] + self.load[i], _FULL))
        return np.asarray(problem.queue_weight * (then - now))

    def take(self, i: int, option: tuple[int, int, int]) -> None:
        """Count a device."""
        v, place, mask = option
        if place:
            self.loads[place] += self.load[i, place, mask]
            self.airs[place] += self.airtime[i, place, mask]
        for name in self.fleet:
            self.used[name] += float(self.kept_use[name][i, v, mask] + self.sent_use[name][i, place, mask]
                                     - self.least[name][i])

    def rollout(self, chosen: IntArray) -> Rollout:
        """Of options (3, N)."""
        devices = np.arange(self.problem.devices)
        variant = chosen[0] if self.variant is None else self.variant[devices, chosen[2]]
        return Rollout(variant - 1, chosen[1] - 1, self.problem.options.masks[chosen[2]])


def _place(flat: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    rest, mask = divmod(flat, shape[2])
    v, place = divmod(rest, shape[1])
    return v, place, mask


def _wanted(tables: _Tables, run: Run, target: BoolArray) -> Outcome:
    """Every device sends the set of classes that is nearest to a target."""
    problem, options = tables.problem, tables.problem.options
    tables.clear()
    asked = problem.query_rate_per_s > 0.0
    # (N, 2^C) classes that differ; then fewer sent classes first, then the simpler ones
    differ = ((options.masks[None] != (asked & target)[:, None, :]) & asked[:, None, :]).sum(axis=2)
    order = np.argsort(differ, axis=1, kind="stable")
    rank = np.zeros((problem.devices, 1 + problem.servers), dtype=np.int64)
    rank[:, 1:] = np.argsort(-problem.uplink_bps, axis=1, kind="stable") + 1

    def rule(i: int, may: BoolArray) -> tuple[int, int, int]:
        sets = np.asarray(may.any(axis=(0, 1)))
        mask = int(order[i][int(sets[order[i]].argmax())])
        places = np.asarray(may[:, :, mask].any(axis=0))
        place = int(rank[i][int(places[rank[i]].argmax())])
        cost = np.where(may[:, place, mask], tables.kept[i, :, mask], np.inf)
        return int(cost.argmin()), place, mask

    found = _outcome(tables, run, np.arange(problem.devices), rule)
    if found.allocation is None:
        return found
    strange = np.flatnonzero((found.allocation.offload != (asked & target)).any(axis=1))
    if not strange.size:
        return found
    label = problem.device_label(int(strange[0]))
    who = label if strange.size == 1 else f"{format_count(int(strange.size), 'device')}, {label} first,"
    verb = "cannot and sends" if strange.size == 1 else "cannot and send"
    return Outcome(found.allocation, termination=found.termination,
                   attempts=(f"{who} {verb} the nearest set of classes that fits", *found.attempts))


def _outcome(tables: _Tables, run: Run, order: IntArray, rule: Rule) -> Outcome:
    """Equip device after device by a rule; those that cannot do without a server come first."""
    problem = tables.problem
    first = problem.options.possible[order, 0]
    order = order[np.argsort(first, kind="stable")]
    chosen = np.zeros((3, problem.devices), dtype=np.int64)
    lacking = 0
    try:
        for count, i in enumerate(order.tolist()):
            if count % _CHUNK == 0:
                run.check_time()
            may = tables.fits(i)
            if not may.any():
                # what the device could have if it were alone
                may = tables.alone(i)
                lacking += 1
            option = rule(i, may)
            chosen[:, i] = option
            tables.take(i, option)
    except TimeUpError:
        return Outcome(termination=Termination.TIME_LIMIT, attempts=(_STOPPED,))
    except KeyboardInterrupt:
        return Outcome(termination=Termination.INTERRUPTED, attempts=(_STOPPED,))
    more = (f"{format_count(lacking, 'device')} found no room",) if lacking else ()
    return Outcome(tables.rollout(chosen), attempts=more)
