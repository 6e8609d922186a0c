"""SplitTraining as the pricing engine sees it: capacities, answers at prices, and assignments made of answers."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.oracle import Answers, Oracle
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.formulations.split_training.resources import Settled, settle
from edgealloc.solvers.pricing import Priced

__all__ = ["Capacities", "Recovered", "SplitPricing"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Up to this many users every one has cuts of its own in the bundle; beyond, users share `GROUPS` of them.
OWN_CUTS: Final = 64
GROUPS: Final = 10
#: Local search starts from this many of the best recovered assignments.
SEARCH_FROM: Final = 3


@dataclass(frozen=True, eq=False)
class Capacities:
    """The limits that have a price, as a matrix (M, 4): bandwidth, clock, users, bytes.

    Attributes
    ----------
    size : (M, 4)
        b_m, F_m, U_m, Mem_m; inf where there is no limit.
    low, high : (M, 4)
        Range of the prices per whole capacity; both 0 where there is no limit.
    """

    size: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, data: Reduced) -> Capacities:
        """Capacities of a problem. A limit of nothing at all counts as next to nothing, which is a relaxation of it."""
        server = data.server
        need = data.user["fixed_bytes"] + data.user["layer_bytes"]
        least = 1e-3 * float(need[need > 0.0].min(initial=np.inf)) if (need > 0.0).any() else 1.0
        size = np.stack([server["bandwidth"], server["clock"], np.maximum(server["users"], 1e-3),
                         np.maximum(server["bytes"], least)], axis=1)
        high = np.full(size.shape, np.inf)
        high[:, 2] = server["user_penalty"] * np.where(np.isfinite(size[:, 2]), size[:, 2], 1.0)
        high[:, 3] = server["byte_penalty"] * np.where(np.isfinite(size[:, 3]), size[:, 3], 1.0)
        low = np.zeros(size.shape)
        low[:, 1] = np.where((server["whole"] > 0.0) & (server["kappa"] > 0.0), -np.inf, 0.0)
        endless = np.isinf(size)
        high[endless] = low[endless] = 0.0
        return cls(size, low, high)

    @property
    def active(self) -> IntArray:
        """Places (K,) in the flat matrix that have a price."""
        return np.flatnonzero((self.high > self.low).ravel())

    def per_unit(self, prices: FloatArray) -> FloatArray:
        """Prices (M, 4) per Hz, user and byte of prices (K,) per whole capacity."""
        flat = np.zeros(self.size.size)
        flat[self.active] = prices
        return np.asarray(flat.reshape(self.size.shape) / self.size)

    def per_whole(self, price: FloatArray) -> FloatArray:
        """The inverse of `per_unit`, within the range."""
        flat = np.where(np.isfinite(self.size), price * np.where(np.isfinite(self.size), self.size, 0.0), 0.0)
        return np.asarray(np.clip(flat, self.low, self.high).ravel()[self.active])


@dataclass(frozen=True, eq=False)
class Recovered:
    """An assignment, its cost with what broken limits cost, and whether it breaks none."""

    cost: float
    server: IntArray
    cut: IntArray
    kept: bool


class SplitPricing:
    """Asks the oracle at prices (K,) per whole capacity, and keeps the best assignments seen.

    Parameters
    ----------
    data : Reduced
    threads : int
    """

    def __init__(self, data: Reduced, threads: int) -> None:
        self.data = data
        self.users, self.servers = data.gain.shape
        self.threads = threads
        self.oracle = Oracle(data, threads)
        self.capacities = Capacities.of(data)
        self.active = self.capacities.active
        self.low = self.capacities.low.ravel()[self.active]
        self.high = self.capacities.high.ravel()[self.active]
        #: servers that must hand out everything if they serve anybody: unused ones are an agent of their own
        self._whole = bool((data.server["whole"] > 0.0).any())
        self._parts = self.users if self.users <= OWN_CUTS else GROUPS
        self.groups = self._parts + self._whole
        self._group = (np.arange(self.users) * self._parts) // self.users
        self.best: list[Recovered] = []
        self.kept: Recovered | None = None
        self._seen: set[bytes] = set()
        self._past: list[tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]] = []
        # a low-discrepancy number per user, to draw from a mixture evenly within every part of a group
        self._draw = (np.arange(self.users) * 0.6180339887498949 + 0.5) % 1.0

    def ask(self, prices: FloatArray) -> Priced:
        """Every user's best option at prices (K,) per whole capacity."""
        price = self.capacities.per_unit(prices)
        answers = self.oracle.ask(price)
        self._past.append((answers.server.astype(np.int16), answers.cut.astype(np.int16)))
        value = np.bincount(self._group, weights=answers.value, minlength=self._parts).astype(np.float64)
        use = self._use(answers)
        total = math.fsum(answers.value)
        magnitude = float(np.abs(answers.value).sum() + np.abs(prices) @ use.sum(axis=0))
        if self._whole:
            idle, gain = self._idle(prices)
            value, use = np.append(value, gain), np.vstack([use, idle])
            total += gain
        return Priced(total, value, use, magnitude, answers)

    def _use(self, answers: Answers) -> FloatArray:
        """Share of every capacity (groups, K) that the choices take."""
        size = self.capacities.size
        n = np.flatnonzero(answers.server >= 0)
        m = answers.server[n]
        layers = self.data.factor.size - 1
        user = self.data.user[n]
        amounts = (answers.band[n], answers.share[n], np.ones(n.size),
                   user["fixed_bytes"] + (layers - answers.cut[n]) * user["layer_bytes"])
        cell = self._group[n] * self.servers + m
        use = np.empty((self._parts, self.servers, 4))
        for column, amount in enumerate(amounts):
            total = np.bincount(cell, amount, self._parts * self.servers).reshape(self._parts, self.servers)
            use[:, :, column] = total / size[:, column]
        return np.asarray(use.reshape(self._parts, -1)[:, self.active])

    def _idle(self, prices: FloatArray) -> tuple[FloatArray, float]:
        """A server that need not be used: it gives back min(0, lambda + mu) of its constant; (supergradient (K,),
        value)."""
        flat = np.zeros(self.capacities.size.size)
        flat[self.active] = prices
        pair = flat.reshape(self.capacities.size.shape)[:, :2].sum(axis=1)
        unused = pair < 0.0
        mask = np.zeros(self.capacities.size.shape)
        mask[unused, :2] = 1.0
        return mask.ravel()[self.active], float(pair[unused].sum())

    def idle_gain(self, prices: FloatArray) -> float:
        """What D gains at prices (K,) because a server that must hand out everything need not be used at all: <= 0."""
        return self._idle(prices)[1] if self._whole else 0.0

    def recover(self, choices: Answers, prices: FloatArray) -> float:
        """Exact resources for what everybody chose."""
        self.offer(choices.server, choices.cut, self.capacities.per_unit(prices))
        return self.objective

    def recover_mixture(self, mixture: FloatArray) -> float:
        """Every user takes one of its past choices, in the proportions of its group (its likeliest, if it is one
        alone)."""
        if self._parts == self.users:
            pick = np.argmax(mixture[: self.users], axis=1)
        else:
            steps = np.cumsum(mixture, axis=1)
            steps[:, -1] = 1.0
            pick = np.empty(self.users, dtype=np.int64)
            for group in range(self._parts):
                mine = self._group == group
                pick[mine] = np.searchsorted(steps[group], self._draw[mine], side="right")
        server, cut = np.empty(self.users, dtype=np.int64), np.empty(self.users, dtype=np.int64)
        for past in np.unique(pick):
            mine = pick == past
            server[mine], cut[mine] = self._past[past][0][mine], self._past[past][1][mine]
        self.offer(server, cut)
        return self.objective

    def offer(self, server: IntArray, cut: IntArray, guess: FloatArray | None = None) -> Settled | None:
        """Settle an assignment and keep it if it is among the best; None if it was seen before."""
        key = hashlib.blake2b(server.tobytes() + cut.tobytes(), digest_size=16).digest()
        if key in self._seen:
            return None
        self._seen.add(key)
        settled = settle(self.data, server, cut, guess)
        found = Recovered(settled.cost, server.copy(), cut.copy(), settled.kept)
        if settled.kept and (self.kept is None or settled.cost < self.kept.cost):
            self.kept = found
        self.best.append(found)
        self.best.sort(key=lambda entry: entry.cost)
        del self.best[SEARCH_FROM:]
        return settled

    def keep_as_is(self, server: IntArray, cut: IntArray) -> None:
        """Keep an assignment that is known to be feasible although elastic limits would rather pay."""
        settled = settle(self.data, server, cut)
        self.kept = Recovered(settled.cost, server.copy(), cut.copy(), True)

    @property
    def objective(self) -> float:
        """Best objective of an assignment that breaks no limit, so far."""
        return self.kept.cost if self.kept is not None else math.inf
