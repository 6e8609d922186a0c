r"""Lower bounds and plans of all pipelines, by the dynamic program of `layered` over types of devices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.certificate.device_types import DeviceTypes, PoolData
from edgealloc.formulations.pool_training.certificate.fronts import fronts
from edgealloc.formulations.pool_training.certificate.layered import Tables, sweep, work_ahead
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import in_flight
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.rings import ring_order
from edgealloc.formulations.pool_training.sharing import best_shares

__all__ = ["Layered", "fluid_bound", "group_plan", "solve_layered", "work_of"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Bounds are sums and maxima of some hundred numbers: this share covers their rounding, and that of the truth.
GUARD: Final = 1e-9
#: Work of one call of the kernel, between two looks at the clock.
CHUNK: Final = 2e7
#: Intervals of the time of an iteration that fronts are known for, where energy has a weight.
CELLS: Final = 8
#: Bytes of a label, and those that all labels or all fronts may take.
LABEL_BYTES: Final = 32.0
MOST_BYTES: Final = 8e8


@dataclass(frozen=True)
class Layered:
    """A finished dynamic program.

    Attributes
    ----------
    bound : float
        Of all plans of the parallelism that cost less than the target, or the target.
    root : (N,)
        Least objective of the plans that use exactly a multiset of devices.
    """

    types: DeviceTypes
    tables: Tables
    origin: npt.NDArray[np.int32]
    root: FloatArray
    how: IntArray
    bound: float

    @property
    def parallelism(self) -> str:
        """ "pipeline" or "hybrid"."""
        return "hybrid" if self.tables.hybrid else "pipeline"

    def plans(self, cost: FastCost, most: int, below: float) -> Iterator[Plan]:
        """Plans behind the best labels, those with the least bound first."""
        order = np.argsort(self.root, kind="stable")[:most]
        for z in order:
            if not self.root[z] < below:
                return
            plan = self._plan(cost, self._stages(int(z)))
            if plan is not None:
                yield plan

    def _stages(self, z: int) -> list[tuple[int, int]]:
        """(option, end) of the stages behind the root label of z, following the labels with the least H."""
        option, end, label = self.how[z].tolist()
        stages = [(option, end)]
        while label >= 0:
            option, end, label = self.origin[label].tolist()
            stages.append((option, end))
        return stages

    def _plan(self, cost: FastCost, stages: list[tuple[int, int]]) -> Plan | None:
        types, problem = self.types, self.types.data.problem
        free = [sorted(np.flatnonzero(types.kinds == a).tolist(), key=lambda i: (-problem.flops_per_s[i], i))
                for a in range(types.types)]
        groups: list[tuple[int, ...]] = []
        for option, _ in stages:
            code, group = int(self.tables.group[option]), []
            for a in range(types.types):
                for _ in range(code // int(types.stride[a]) % (int(types.count[a]) + 1)):
                    group.append(free[a].pop(0))
            groups.append(tuple(group))
        edges = [0, *(end for _, end in stages)]
        return group_plan(cost, self.parallelism, groups, tuple(b - a for a, b in itertools.pairwise(edges)))


def group_plan(
    cost: FastCost, parallelism: str, groups: list[tuple[int, ...]], layers: tuple[int, ...]
) -> Plan | None:
    """A plan with these devices and layers in every stage: rings ordered, shares the best for time and energy."""
    problem = cost.problem
    limits = in_flight(parallelism, len(groups), problem.micro_batches)
    waiting = sum(cost.idle[i] for group in groups for i in group)
    per_second = problem.per_second + problem.per_joule * waiting
    stages: list[tuple[int, ...]] = []
    shares: list[tuple[int, ...]] = []
    start = 0
    for p, group in enumerate(groups):
        end = start + layers[p]
        if len(group) == 1:
            stages.append(group)
            shares.append((problem.micro_batch,))
        else:
            ring = ring_order(problem, group)
            flops = (cost.forward[end] - cost.forward[start] + cost.backward[end] - cost.backward[start])
            flops *= problem.micro_batches
            states = cost.state[end] - cost.state[start] - (problem.tied_state_bytes if len(groups) == 1 else 0.0)
            each = limits[p] * (cost.kept[end] - cost.kept[start])
            caps = [_cap(cost.free[i] - states, each, problem.micro_batch) for i in ring]
            best = best_shares(problem.micro_batch, [flops / cost.speed[i] for i in ring], caps,
                               [flops * (cost.busy[i] - cost.idle[i]) / cost.speed[i] for i in ring],
                               per_second, problem.per_joule) if flops > 0.0 else None
            if best is None:
                return None
            stages.append(ring)
            shares.append(best)
        start = end
    return Plan(parallelism, tuple(stages), layers, tuple(shares))


def _cap(room: float, each: float, samples: int) -> int:
    if room < 0.0:
        return 0
    return samples if each <= 0.0 else min(samples, math.floor(room / each))


def work_of(types: DeviceTypes, *, hybrid: bool, buckets: int) -> float:
    """Rough number of labels that are made, before any is dropped."""
    problem = types.data.problem
    spans = problem.layers * (problem.layers + 1) / 2.0
    spans *= 0.8 + 0.2 * buckets  # of more buckets more are empty
    singles = float(types.codes) * types.types**2
    if not hybrid:
        return singles * spans
    options = 1.0 if problem.per_joule <= 0.0 else 2.0
    return (singles + types.pairs_up_to(min(problem.micro_batch, problem.devices)) * options) * spans


def fluid_bound(data: PoolData, *, hybrid: bool) -> float:
    r"""Least objective of pipelines or hybrids if work could be divided at will; inf if the deadline is out of reach.

    Stages of n devices, as fast as the n fastest and with the n smallest idle powers, do at most the work of
    `layered.work_ahead` in T seconds ("work in front" of nothing); the energy beyond idling is at least that of
    the most frugal device. The smallest over n. Quick for any number of devices,
    and the better the longer the pipeline must be.
    """
    problem, micro = data.problem, data.problem.micro_batches
    together = min(problem.micro_batch, problem.devices) if hybrid else 1
    trip, need = data.trip(together), data.work * problem.micro_batch
    speed, idle = np.sort(problem.flops_per_s)[::-1], np.sort(problem.idle_power_w)
    energy = problem.per_joule * float(data.active.min()) * problem.batch * data.work
    best = math.inf
    for n in range(1, problem.devices + 1):
        blocks = np.add.reduceat(speed[:n], np.arange(0, n, together))
        low, high = 0.0, micro * need / float(speed[0])  # the fastest device alone
        for _ in range(60):
            middle = 0.5 * (low + high)
            done = work_ahead(blocks, len(blocks), micro, trip, middle, -trip)  # nothing is behind the last stage
            low, high = (middle, high) if done * (1.0 + GUARD) < need else (low, middle)
        if problem.deadline_s is None or low <= problem.deadline_s * (1.0 + 4.0 * GUARD):
            best = min(best, (problem.per_second + problem.per_joule * float(idle[:n].sum())) * low + energy)
    return best * (1.0 - GUARD)


def solve_layered(types: DeviceTypes, best: Incumbent, *, hybrid: bool, buckets: int, gap: float) -> Layered | None:
    """The dynamic program; None if its labels would not fit into memory.

    Raises
    ------
    TimeUpError
    KeyboardInterrupt
    """
    problem, run = types.data.problem, best.run
    classes = types.types + 2 if hybrid else types.types
    target = best.value * (1.0 - 0.9 * gap) if math.isfinite(best.value) else math.inf
    tables = types.tables(hybrid=hybrid)
    per_second = problem.per_second + float(types.idle.min())
    least_energy = tables.joule_flop * types.data.work
    most_s = (target - least_energy) / per_second * (1.0 + GUARD) if per_second > 0.0 else math.inf
    if problem.deadline_s is not None:
        most_s = min(most_s, problem.deadline_s * (1.0 + 4.0 * GUARD))
    cells = _cells(types, most_s)
    if 4.0 * types.codes * problem.layers * (2 * classes + len(cells) * (types.types + 3)) + 24.0 * types.codes * (
        types.types + 2
    ) * problem.layers * run.threads > MOST_BYTES:
        return None
    front_s = np.empty((len(cells), types.codes, types.types + 1, problem.layers), dtype=np.float32)
    front_a = np.empty((len(cells), types.codes, problem.layers), dtype=np.float32)
    front_j = np.empty((len(cells), types.codes, problem.layers), dtype=np.float32)
    root, how = np.full(types.codes, np.inf), np.full((types.codes, 3), -1, dtype=np.int64)
    starts = np.zeros((types.codes, classes, problem.layers), dtype=np.int32)
    ends = np.zeros_like(starts)
    values, origin = np.empty((0, 5), dtype=np.float32), np.empty((0, 3), dtype=np.int32)
    step = max(1, int(types.codes * CHUNK / max(work_of(types, hybrid=hybrid, buckets=buckets), 1.0)))
    shape = (types.codes, types.types + 2, problem.layers)

    def front(i: int) -> None:
        fronts(tables, cells[i, 0], cells[i, 1], target, np.empty(shape), np.empty(shape), np.empty(shape),
               front_s[i], front_a[i], front_j[i])

    def labels(codes: IntArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        return sweep(tables, values, starts, ends, codes, cells, front_s, front_a, front_j, buckets, most_s, target,
                     root, how)

    with ThreadPoolExecutor(run.threads) as pool:
        list(pool.map(front, range(len(cells))))
        run.check_time()
        for devices in range(1, int(types.size.max()) + 1):
            # codes with as many devices do not see each other: any number of threads gives the same labels
            level, total = np.flatnonzero(types.size == devices), len(values)
            new_values, new_origin = [values], [origin]
            for first in range(0, len(level), step * run.threads):
                parts = [level[k : first + step * run.threads : run.threads] for k in range(first, first + run.threads)]
                for codes, (part, source) in zip(parts, pool.map(labels, parts), strict=True):
                    starts[codes] += total
                    ends[codes] += total
                    total += len(part)
                    new_values.append(part)
                    new_origin.append(source)
                run.check_time()
                if LABEL_BYTES * total > MOST_BYTES:
                    return None
            values, origin = np.concatenate(new_values), np.concatenate(new_origin)
            run.report(f"{'hybrid' if hybrid else 'pipeline'} bound, {types.types} types", devices, best.value)
    bound = min(float(root.min()), target) * (1.0 - GUARD)
    return Layered(types, tables, origin, root, how, bound)


def _cells(types: DeviceTypes, most_s: float) -> FloatArray:
    """Intervals (C, 2) of the time of an iteration, together all that is of interest."""
    problem = types.data.problem
    least = problem.batch * types.data.work / float(problem.flops_per_s.sum()) * (1.0 - GUARD)
    if problem.per_joule <= 0.0 or not least < most_s < math.inf:
        return np.array([[0.0, most_s]])
    edges = np.geomspace(least, most_s, CELLS + 1)
    edges[0] = 0.0
    edges[-1] = most_s
    return np.stack([edges[:-1], edges[1:]], axis=1)
