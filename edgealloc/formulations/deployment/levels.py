r"""Queues of servers as agents of the engine: their cost is convex in the load, and the engine knows only options.

For every server one more agent picks the level :math:`\rho_k` up to which the server is loaded. It uses the rest,
:math:`(L - \rho_k)/L`, of the server's capacity, and pays :math:`f(\rho_{k-1})`, what the queue costs at the next lower
level: whatever the load, there is a level that pays no more than the queue costs, so that bounds of the engine are
bounds of the problem. They lack what the queue costs between two levels, and what prices cannot see of a convex
function where its levels become sparse: after every answer the levels are drawn anew, dense around the loads that it
has and geometrically sparser away from them. Where few loads are possible at all, they are the levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.deployment.costs import queueing
from edgealloc.solvers.choices import Choices
from edgealloc.solvers.choices.data import RELAXED

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.agents import DeviceChoices

__all__ = ["Levels"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Levels of a server before anything is known, evenly spaced by cost.
FIRST: Final = 128
#: By what the distance between levels grows away from a load that matters, in the rounds of refinement.
GROWTH: Final = (1.1, 1.03, 1.01)
#: The distance next to it, as a share of that growth and of the cost there.
_NEAREST: Final = 1e-3
#: A load that an answer has is a level, and so is one that is lower by this share of the limit: it pays what it costs.
#: More than what bounds of the engine allow every capacity to be exceeded by, or the lower one would do for the load.
_BELOW: Final = 3.0 * RELAXED
#: A server with no more loads than this that are possible at all has them for levels.
_LISTED: Final = 2_000
#: Loads that are kept as levels in later rounds, per server.
_KEPT: Final = 64
#: The highest level exceeds what can be sent by a rounding.
_ROUNDING: Final = 1e-9


def load_of(cost: FloatArray) -> FloatArray:
    r"""The load at which `costs.queueing` is `cost`: :math:`2F/(F + \sqrt{F^2 + 4F})`."""
    return np.asarray(2.0 * cost / (cost + np.sqrt(cost * (cost + 4.0)) + 1e-300))


@dataclass(eq=False)
class Levels:
    """Levels of all servers, redrawn around loads that turn out to matter.

    Attributes
    ----------
    devices : DeviceChoices
    levels : list of (K,)
        Of every server, rising; the last is the highest load that it can have.
    """

    devices: DeviceChoices
    levels: list[FloatArray]

    @classmethod
    def first(cls, devices: DeviceChoices) -> Levels:
        """All loads that are possible, where they are few; otherwise levels evenly spaced by cost."""
        found = cls(devices, [])
        found._seen = [np.zeros(0) for _ in range(devices.problem.servers)]
        sums = [found._all_loads(s) for s in range(devices.problem.servers)]
        found.exact = all(one is not None for one in sums)
        if found.exact:
            found.levels = [np.append(one, found._below(one, s)) for s, one in enumerate(sums) if one is not None]
        else:
            found.levels = [load_of(np.linspace(0.0, cost, FIRST + 1)[1:]) for cost in queueing(found.top)]
        found._close()
        return found

    def _all_loads(self, s: int) -> FloatArray | None:
        """Every load that a server can have, up to the highest; None if there are too many."""
        options = self.devices.problem.options
        sums = np.zeros(1)
        for load, allowed in zip(options.sent_load[:, s], options.sent_allowed[:, s], strict=True):
            sums = np.unique(np.add.outer(sums, np.append(0.0, load[allowed])))
            # sums in another order differ by a rounding; they share the higher of the two levels
            sums = sums[np.append(np.diff(sums) > _BELOW * self.devices.problem.load_limit[s], True)]
            sums = sums[sums <= self.top[s] * (1.0 + _ROUNDING)]
            if sums.size > _LISTED:
                return None
        return np.asarray(np.minimum(sums[1:], self.top[s]))

    def __post_init__(self) -> None:
        problem, options = self.devices.problem, self.devices.problem.options
        most = np.where(options.sent_allowed, options.sent_load, 0.0).max(axis=2).sum(axis=0)
        self.top: FloatArray = np.minimum(problem.load_limit, most * (1.0 + _ROUNDING))
        self._seen: list[FloatArray] = []
        #: Whether every load that is possible is a level, so that nothing lies between levels.
        self.exact = False

    def refine(self, loads: list[FloatArray], number: int) -> None:
        """Draw the levels anew around loads (S,), those seen before included; `number` counts rounds from 0."""
        growth = GROWTH[min(number, len(GROWTH) - 1)]
        for s, top in enumerate(self.top):
            here = np.array([load[s] for load in loads])
            self._seen[s] = np.unique(np.concatenate([self._seen[s], here]))[-_KEPT:]
            costs = queueing(here)
            highest = float(queueing(np.array([top]))[0])
            step = _NEAREST * (growth - 1.0) * max(float(costs.mean()), 1e-3 * highest, 1e-12)
            count = int(np.ceil(np.log1p(highest / step * (growth - 1.0)) / np.log(growth))) + 1
            away = step * np.expm1(np.arange(count) * np.log(growth)) / (growth - 1.0)
            points = np.concatenate([costs.min() - away, costs.max() + away,
                                     np.linspace(costs.min(), costs.max(), count)])
            self.levels[s] = np.concatenate([load_of(points[(points > 0.0) & (points < highest)]), self._seen[s],
                                             self._below(self._seen[s], s)])
        self._close()

    def _below(self, load: FloatArray, s: int) -> FloatArray:
        return np.asarray(load - _BELOW * self.devices.problem.load_limit[s])

    def _close(self) -> None:
        """Levels rise, and end with the highest load."""
        for s, top in enumerate(self.top):
            level = np.unique(self.levels[s])
            self.levels[s] = np.append(level[(level > 0.0) & (level < top)], top)

    def choices(self) -> Choices:
        """The choices of the devices, and after them those of the levels."""
        problem, choices = self.devices.problem, self.devices.choices
        limit = problem.load_limit
        sizes = [level.size for level in self.levels]
        use = np.zeros((sum(sizes), choices.use.shape[1]))
        capacity = np.zeros(use.shape, dtype=np.int64)
        use[:, 0] = np.concatenate([np.maximum(1.0 - level / limit[s], 0.0) for s, level in enumerate(self.levels)])
        capacity[:, 0] = np.repeat(np.arange(len(sizes)), sizes)
        costs = [problem.queue_weight * queueing(np.append(0.0, level[:-1])) for level in self.levels]
        start = np.concatenate([choices.start, choices.options + np.cumsum(sizes)])
        return Choices(start, np.concatenate([choices.cost, *costs]), np.concatenate([choices.use, use]),
                       np.concatenate([choices.capacity, capacity]), choices.capacities)

    def complete(self, choice: IntArray) -> IntArray:
        """A choice of the devices with the lowest levels that leave room for it."""
        load = self.devices.load(choice)
        first = self.devices.choices.options
        picked = []
        for level, amount in zip(self.levels, load, strict=True):
            picked.append(first + min(int(np.searchsorted(level, amount)), level.size - 1))
            first += level.size
        return np.concatenate([choice, np.array(picked, dtype=np.int64)])
