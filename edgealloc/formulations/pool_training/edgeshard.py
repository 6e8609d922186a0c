r"""Baseline "edgeshard": which devices hold which layers, for throughput (after Zhang et al., arXiv 2405.14371).

The paper serves a model as a pipeline over edge devices and chooses devices and layers by dynamic programming over the
layers done, the set of devices used and the device used last; for throughput the longest stage or hand-over is as short
as possible. What is reconstructed for training: a stage takes forward and backward pass of a micro-batch, a hand-over
goes there and back, and the memory of a stage counts the micro-batches in flight, which depend on its place from the
end; so the recursion runs from the last layer to the first. The paper's source device, which must hold the first
layer, has no counterpart here. With U the set of devices of the suffix and j its first device,

.. math::

    g(U \cup \{i\}, i, a) = \min_{b, j} \max\{ t_i(a, b),\; c_{ij} + c_{ji},\; g(U, j, b) \}.

Of plans with the same bottleneck the one with the fewest devices. Sets are exponential: of pools with more than
`MOST_DEVICES` devices that can hold a layer, all are considered in falling order of speed, any of them left out.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run, TimeUpError
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import in_flight
from edgealloc.formulations.pool_training.search.fastcost import FastCost

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["MOST_DEVICES", "bottleneck_plan", "stage_tables"]

FloatArray = npt.NDArray[np.float64]

MOST_DEVICES: Final = 11


def stage_tables(problem: PoolTraining, device: int, place: int) -> FloatArray:
    """Seconds (Y+1, Y+1) of layers a to b - 1 on a device, `place` stages before the last; inf where they do not fit.

    A single stage (all layers) may count the tied table once.
    """
    work, state, kept = (np.concatenate([[0.0], np.cumsum(one)]) for one in (
        problem.forward_flops + problem.backward_flops, problem.state_bytes, problem.activation_bytes))
    limit = min(place + 1, problem.micro_batches)
    need = state[None, :] - state[:, None] + limit * problem.micro_batch * (kept[None, :] - kept[:, None])
    if place == 0:
        need[0, -1] -= problem.tied_state_bytes
    free = problem.memory_bytes[device] * (1.0 + 1e-12) - problem.overhead_bytes[device]
    seconds = (work[None, :] - work[:, None]) * problem.micro_batch / problem.flops_per_s[device]
    seconds[np.tril_indices(problem.layers + 1)] = np.inf
    seconds[need > free] = np.inf
    return np.asarray(seconds)


def bottleneck_plan(problem: PoolTraining, run: Run) -> Plan | None:
    """The pipeline whose longest stage or hand-over is shortest; None if none fits, or if there was no time for it."""
    cost, size = FastCost(problem), problem.micro_batch
    able = [i for i in range(problem.devices) if np.isfinite(stage_tables(problem, i, 0)).any()]
    devices = sorted(able, key=lambda i: (-problem.flops_per_s[i], i))
    count = len(devices)
    hop = np.zeros((count, count))
    for k, i in enumerate(devices):
        for n, j in enumerate(devices):
            if k != n:
                over, back = cost.hops((i,), (size,), (j,), (size,))
                hop[k, n] = over[0] + over[1] + back[0] + back[1]
    search = _Search(problem, devices, hop, run)
    with contextlib.suppress(TimeUpError):
        search.look()
    return search.plan()


class _Search:
    """Dynamic programme over sets of devices, or over positions in an order where there are too many sets.

    A state is (what is used, first device); `used` is a bitmask of all devices, or, in an order, the number of stages.
    `value[used][k, a]` is the bottleneck of the layers from a on, with device k first.
    """

    def __init__(self, problem: PoolTraining, devices: list[int], hop: FloatArray, run: Run) -> None:
        self.problem, self.devices, self.hop, self.run = problem, devices, hop, run
        self.sets = len(devices) <= MOST_DEVICES
        self.places = min(len(devices), problem.layers)
        self.limits = in_flight("pipeline", self.places, problem.micro_batches)[::-1] if self.places else ()
        self.tables: dict[tuple[int, int], FloatArray] = {}
        self.value: dict[int, FloatArray] = {}
        self.best: tuple[float, int, int] | None = None

    def table(self, k: int, place: int) -> FloatArray:
        """Seconds of device k at a place; places with the same number in flight share one, but for the last."""
        key = (k, self.limits[place] if place else 0)
        if key not in self.tables:
            self.tables[key] = stage_tables(self.problem, self.devices[k], place)
        return self.tables[key]

    def tail(self, k: int, used: int) -> FloatArray:
        """Bottleneck of hand-over and suffix (Y+1,) if device k comes before the devices of `used`."""
        if used == 0:
            return np.where(np.arange(self.problem.layers + 1) == self.problem.layers, 0.0, np.inf)
        behind = np.maximum(self.hop[k][:, None], self.value[used])
        if not self.sets:
            behind = behind[k + 1:]
        return np.asarray(behind.min(axis=0, initial=np.inf))

    def look(self) -> None:
        """Fill `value` and `best`."""
        count, level = len(self.devices), [0]
        for place in range(self.places):
            following: dict[int, None] = {}
            for used in level:
                self.run.check_time()
                for k in range(count):
                    if self.sets and used >> k & 1:
                        continue
                    new = used | 1 << k if self.sets else used + 1
                    row = np.maximum(self.table(k, place), self.tail(k, used)[None, :]).min(axis=1)
                    if new not in self.value:
                        self.value[new] = np.full((count, self.problem.layers + 1), np.inf)
                        following[new] = None
                    self.value[new][k] = row
                    if math.isfinite(row[0]) and (self.best is None or row[0] < self.best[0] * (1.0 - 1e-12)):
                        self.best = (float(row[0]), new, k)
            level = list(following)

    def plan(self) -> Plan | None:
        """The plan behind the best value, first stage first."""
        if self.best is None:
            return None
        goal, used, k = self.best
        start, stages, counts = 0, [], []
        while used:
            place = (used.bit_count() if self.sets else used) - 1
            rest = used & ~(1 << k) if self.sets else used - 1
            # the fewest layers that keep the bottleneck: later stages have fewer micro-batches in flight
            end = int(np.flatnonzero(np.maximum(self.table(k, place)[start], self.tail(k, rest)) <= goal)[0])
            stages.append((self.devices[k],))
            counts.append(end - start)
            if rest:
                behind = np.maximum(self.hop[k], self.value[rest][:, end])
                if not self.sets:
                    behind[: k + 1] = np.inf
                k = int(np.argmin(behind))
            start, used = end, rest
        return Plan("pipeline", tuple(stages), tuple(counts), ((self.problem.micro_batch,),) * len(stages))
