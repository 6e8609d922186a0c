"""Deployment as the engine of choices sees it: devices pick options, servers and means of the fleet are capacities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.deployment.costs import queueing
from edgealloc.formulations.deployment.options import FLEET
from edgealloc.formulations.deployment.rollout import NONE, Rollout
from edgealloc.solvers.choices import Choices

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["LIMITS", "DeviceChoices"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Limits that devices share: of servers, and of the fleet.
LIMITS: Final = ("load_limit", "airtime_limit", *FLEET)
#: Use of a limit of 0 by an option that needs something of it: it fits for nobody.
_NEVER: Final = 2.0
#: Devices whose variants are compared at a time: keeps the tables in cache.
_CHUNK: Final = 512


@dataclass(frozen=True, eq=False)
class DeviceChoices:
    """Options of all devices as one ragged list, by device, classes that are sent, variant and server.

    Variants of a device that another one makes needless, whatever is sent where, are left out: no cheaper, and no less
    of any mean of the fleet that is limited. Every device must have an option (`feasibility.diagnose` finds those that
    have none).

    Attributes
    ----------
    problem : Deployment
    listed : tuple of (E,), optional
        What `parts` shall be: some of the options only.
    """

    problem: Deployment
    listed: tuple[IntArray, IntArray, IntArray, IntArray] | None = None

    @cached_property
    def limited(self) -> list[tuple[str, int]]:
        """(name of the limit, server or 0) of every capacity; those of the servers' loads come first, in order."""
        problem = self.problem
        result = [("load_limit", s) for s in range(problem.servers)]
        if problem.airtime_limit is not None:
            result += [("airtime_limit", s) for s in range(problem.servers) if np.isfinite(problem.airtime_limit[s])]
        return result + [(name, 0) for name in self.means]

    @cached_property
    def means(self) -> list[str]:
        """Limits of the fleet that there are."""
        return [name for name in FLEET if getattr(self.problem, name) is not None]

    @cached_property
    def parts(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Device, mask of the classes sent, variant (0: none) and server (-1: none) of every option, (E,) each."""
        if self.listed is not None:
            return self.listed
        device, mask, variant = np.nonzero(self.kept.transpose(0, 2, 1))
        places = self._places
        count = places.sum(axis=2).ravel()
        server = np.nonzero(places.reshape(count.size, -1))[1] - 1
        group = device * places.shape[1] + mask
        times = count[group]
        first = (np.cumsum(count) - count)[group]
        within = np.arange(int(times.sum())) - np.repeat(np.cumsum(times) - times, times)
        return (np.repeat(device, times), np.repeat(mask, times), np.repeat(variant, times),
                server[np.repeat(first, times) + within])

    @cached_property
    def _places(self) -> BoolArray:
        """(N, 2^C, 1 + S) where a set of classes can be sent; first nowhere, for the empty one."""
        options = self.problem.options
        nowhere = np.broadcast_to(np.arange(options.masks.shape[0]) == 0, options.asked.shape)
        return np.concatenate([nowhere[:, :, None], options.sent_allowed.transpose(0, 2, 1)], axis=2)

    @property
    def count(self) -> int:
        """E, without a list of them."""
        return int((self.kept.sum(axis=1) * self._places.sum(axis=2)).sum())

    @cached_property
    def kept(self) -> BoolArray:
        """(N, 1 + V, 2^C) variants worth a thought; the first of equals."""
        options = self.problem.options
        allowed, cost = options.local_allowed, options.local_cost
        if not self.means:
            best = np.where(allowed, cost, np.inf).argmin(axis=1)
            keep = np.zeros(allowed.shape, dtype=np.bool_)
            np.put_along_axis(keep, best[:, None, :], True, axis=1)
            return keep & allowed
        amounts = [cost, *(options.local_use[name] for name in self.means)]
        keep = allowed.copy()
        for begin in range(0, allowed.shape[0], _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            parts = [np.where(allowed[rows], amount[rows], np.inf) for amount in amounts]
            for k in range(allowed.shape[1]):
                worse = keep[rows, k][:, None, :] & allowed[rows]
                better = np.zeros(worse.shape, dtype=np.bool_)
                for part in parts:
                    worse &= part >= part[:, k][:, None, :]
                    better |= part > part[:, k][:, None, :]
                # of equals the first stays
                better[:, k + 1 :] = True
                keep[rows] &= ~(worse & better)
        return keep

    @cached_property
    def choices(self) -> Choices:
        """The problem of the engine, without queues; uses are shares of the limits."""
        problem, options = self.problem, self.problem.options
        device, mask, variant, server = self.parts
        sends, at = server >= 0, np.maximum(server, 0)
        cost = options.local_cost[device, variant, mask]
        names = list(dict.fromkeys(name for name, _ in self.limited))
        use, capacity = np.zeros((device.size, len(names))), np.zeros((device.size, len(names)), dtype=np.int64)
        if problem.servers:
            cost = cost + np.where(sends, options.sent_cost[device, at, mask], 0.0)
        for r, name in enumerate(names):
            number = np.full(max(problem.servers, 1), -1, dtype=np.int64)
            for c, (one, s) in enumerate(self.limited):
                if one == name:
                    number[s] = c
            if name in FLEET:
                amount = options.local_use[name][device, variant, mask]
                if problem.servers:
                    amount = amount + np.where(sends, options.sent_use[name][device, at, mask], 0.0)
                limit, which = np.full(device.size, float(getattr(problem, name))), np.full(device.size, number[0])
            else:
                table = options.sent_load if name == "load_limit" else options.sent_airtime
                amount = np.where(sends, table[device, at, mask], 0.0)
                limit, which = getattr(problem, name)[at], np.where(sends, number[at], -1)
            share = np.where(amount > 0.0, _NEVER, 0.0)
            share = np.divide(amount, limit, out=share, where=limit > 0.0)
            use[:, r], capacity[:, r] = np.where(which >= 0, share, 0.0), np.maximum(which, 0)
        count = np.bincount(device, minlength=problem.devices)
        return Choices(np.concatenate([[0], np.cumsum(count)]), cost, use, capacity, len(self.limited))

    def rollout(self, choice: IntArray) -> Rollout:
        """The rollout that a choice of options is."""
        _, mask, variant, server = self.parts
        return Rollout(variant[choice] - 1, server[choice], self.problem.options.masks[mask[choice]])

    def choice(self, rollout: Rollout) -> IntArray | None:
        """The options of a rollout, with a variant that is no worse for one that is left out; None if a device has
        none."""
        options = self.problem.options
        device, mask, variant, server = self.parts
        wanted = (rollout.offload * 2 ** np.arange(self.problem.classes)).sum(axis=1)
        same = np.flatnonzero((mask == wanted[device]) & (server == rollout.server[device]))
        given = rollout.variant[device[same]] + 1
        # the cheapest one may need more of a limit of the fleet
        for amount in (options.local_cost, *(options.local_use[name] for name in self.means)):
            no_more = (amount[device[same], variant[same], mask[same]] <= amount[device[same], given, mask[same]])
            same, given = same[no_more], given[no_more]
        other = variant[same] != rollout.variant[device[same]] + 1
        order = same[np.lexsort((self.choices.cost[same], other, device[same]))]
        found, first = np.unique(device[order], return_index=True)
        return order[first] if found.size == self.problem.devices else None

    def load(self, choice: IntArray) -> FloatArray:
        """(S,) loads of the servers under a choice."""
        problem = self.problem
        return np.asarray(self.choices.load(choice)[: problem.servers] * problem.load_limit)

    def objective(self, choice: IntArray) -> float:
        """What a choice costs, queues and all."""
        return self.choices.objective(choice) + self.problem.queue_weight * float(queueing(self.load(choice)).sum())

    def prices(self, per_whole: FloatArray) -> dict[str, FloatArray]:
        """Prices per whole capacity as prices per unit of every limit: (S,) of servers, (1,) of the fleet."""
        problem = self.problem
        result = {name: np.zeros(problem.servers) for name in LIMITS[:2]} | {name: np.zeros(1) for name in self.means}
        for price, (name, s) in zip(per_whole, self.limited, strict=True):
            limit = float(np.atleast_1d(getattr(problem, name))[s])
            result[name][s] = price / limit if limit > 0.0 else 0.0
        return result


assert NONE == -1  # masks and places count on it
