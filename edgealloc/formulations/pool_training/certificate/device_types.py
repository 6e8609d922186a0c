r"""Devices gathered into types, each as good as the best of its members in every respect.

Whatever a plan does with devices, the same plan is possible, and no slower and no dearer, if every device is replaced
by its type: it has the speed of the fastest member, the memory of the largest, the power of the most frugal, the links
of the best connected. So a lower bound for the types is one for the devices, and a set of devices is just how many of
every type. Devices that are equal are gathered without loss. Of n devices of a type that work together the i-th fastest
is no faster than the i-th fastest of all its members, and so with memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.certificate.groups import (
    Links,
    group_reach,
    group_rings,
    group_shares,
    group_sizes,
)
from edgealloc.formulations.pool_training.certificate.layered import Tables

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["MEMORY_SLACK", "DeviceTypes", "PoolData", "gather", "multisets"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A plan may exceed a memory by `core.problem.FEASIBILITY_TOLERANCE` of it; bounds allow a little more.
MEMORY_SLACK = 4e-9
#: Most trade-offs between time and energy kept of a group.
OPTIONS = 4
#: Numbers of stages by which labels of hybrids are kept apart.
RANKS = 6


class PoolData:
    """What bounds need of a problem, computed once.

    Attributes
    ----------
    free : (D,)
        Memory without overhead, and a little more than is allowed.
    seconds, air, latency, joules : (D, D)
        Prices of a byte between devices; `air` on the medium that all routes use, 0 without one. inf on the diagonal.
    egress, ingress : (D,)
        Seconds per byte on the slowest medium that all routes from a device, or to it, use.
    common : bool
        There is a medium that all routes use.
    """

    def __init__(self, problem: PoolTraining) -> None:
        self.problem, network, devices = problem, problem.network, problem.devices
        self.free = problem.memory_bytes * (1.0 + MEMORY_SLACK) - problem.overhead_bytes
        self.active = (problem.busy_power_w - problem.idle_power_w) / problem.flops_per_s
        away = np.where(np.eye(devices, dtype=bool), math.inf, 0.0)
        self.seconds = network.seconds_per_byte + away
        self.latency = network.latency_s + away
        self.joules = network.joules_per_byte + away
        pairs = [(i, j) for i in range(devices) for j in range(devices) if i != j]
        airtime = {pair: network.airtime(*pair) for pair in pairs}
        self.air = away.copy()
        shared = self._shared(airtime[pair] for pair in pairs)
        self.common = bool(shared)
        if shared:
            medium = max(shared, key=lambda one: (shared[one], -one))
            for pair in pairs:
                self.air[pair] = airtime[pair][medium]
        self.egress, self.ingress = np.zeros(devices), np.zeros(devices)
        for i in range(devices if devices > 1 else 0):
            others = [j for j in range(devices) if j != i]
            self.egress[i] = max(self._shared(airtime[(i, j)] for j in others).values(), default=0.0)
            self.ingress[i] = max(self._shared(airtime[(j, i)] for j in others).values(), default=0.0)

    @staticmethod
    def _shared(uses: Iterable[Mapping[int, float]]) -> dict[int, float]:
        """Media that occur in all of the dictionaries, with the least airtime."""
        result: dict[int, float] | None = None
        for use in uses:
            result = dict(use) if result is None else {
                medium: min(seconds, use[medium]) for medium, seconds in result.items() if medium in use
            }
        return result or {}

    def running(self, values: npt.ArrayLike) -> FloatArray:
        """(Y+1,) sums of the first y values."""
        return np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])

    def trip(self, members: int) -> float:
        """Least seconds of handing a micro-batch over and back between two groups of up to `members` devices.

        Everything leaves a group through the ports of its members, the fastest ports in the best case, and comes back
        through them; on one common medium all of it is sent there.
        """
        if self.problem.devices < 2:
            return 0.0
        sent = self.problem.boundary_bytes * self.problem.micro_batch
        away = np.isfinite(self.latency)
        least = 0.0
        for ports in (np.sort(self.egress)[:members], np.sort(self.ingress)[:members]):
            least += 1.0 / float((1.0 / ports).sum()) if ports[0] > 0.0 else 0.0
        if self.common:
            least = max(least, 2.0 * float(self.air[away].min()))
        return float(sent * least + 2.0 * self.latency[away].min())

    @cached_property
    def work(self) -> float:
        """FLOP of a sample."""
        return float(self.problem.forward_flops.sum() + self.problem.backward_flops.sum())


def gather(data: PoolData, most: int) -> list[IntArray]:
    """Types of devices, one assignment (D,) for every number of types from the fewest to `most`.

    Equal devices are gathered first; then, step by step, the two types whose union overstates its members least: the
    sum over members of the logarithms by which speed, memory and links are overstated (and energy, if it has a weight).
    """
    problem, devices = data.problem, data.problem.devices
    energy = problem.per_joule > 0.0
    near = np.where(np.isfinite(data.seconds), data.seconds, np.nan)
    columns = [np.log(problem.flops_per_s), 0.3 * np.log(np.maximum(data.free, 1.0))]
    if devices > 1 and not data.common:
        columns += [-0.3 * np.log(np.maximum(np.nanmean(near, axis=1), 1e-15)),
                    -0.3 * np.log(np.maximum(np.nanmean(near, axis=0), 1e-15))]
    if energy:
        columns += [-np.log(np.maximum(data.active, 1e-15)), -0.3 * np.log(np.maximum(problem.idle_power_w, 1e-3))]
    features = np.array(columns)
    clusters = [[i] for i in range(devices)]

    def loss(members: list[int]) -> float:
        part = features[:, members]
        return float((part.max(axis=1, keepdims=True) - part).sum())

    losses = [0.0] * devices
    price = np.full((devices, devices), math.inf)
    for a in range(devices):
        for b in range(a):
            price[a, b] = price[b, a] = loss([a, b])
    alive = list(range(devices))
    result: list[IntArray] = []
    while True:
        if len(alive) <= most and not (len(alive) > 1 and _alike(data, clusters, price, alive)):
            kinds = np.zeros(devices, dtype=np.int64)
            for number, a in enumerate(alive):
                kinds[clusters[a]] = number
            result.append(kinds)
        if len(alive) == 1:
            break
        part = price[np.ix_(alive, alive)]
        row, column = np.unravel_index(int(np.argmin(part)), part.shape)
        a, b = sorted((alive[int(row)], alive[int(column)]))
        clusters[a] = clusters[a] + clusters[b]
        losses[a] = loss(clusters[a])
        alive.remove(b)
        for c in alive:
            if c != a:
                price[a, c] = price[c, a] = loss(clusters[a] + clusters[c]) - losses[a] - losses[c]
    return result[::-1]


def _alike(data: PoolData, clusters: list[list[int]], price: FloatArray, alive: list[int]) -> bool:
    """Whether the two types that would be gathered next are equal in everything, links included."""
    part = price[np.ix_(alive, alive)]
    row, column = np.unravel_index(int(np.argmin(part)), part.shape)
    if part[row, column] > 0.0:
        return False
    members = clusters[alive[int(row)]] + clusters[alive[int(column)]]
    problem = data.problem
    own = (problem.flops_per_s, data.free, problem.busy_power_w, problem.idle_power_w)
    if any(np.ptp(values[members]) > 0.0 for values in own):
        return False
    for values in (data.seconds, data.latency, data.joules, data.air):
        for i in members[1:]:
            for j in range(problem.devices):
                if j in (i, members[0]):
                    continue
                if values[i, j] != values[members[0], j] or values[j, i] != values[j, members[0]]:
                    return False
    return True


def multisets(kinds: IntArray) -> float:
    """How many multisets of types there are."""
    return float(np.prod(np.bincount(kinds) + 1.0))


class DeviceTypes:
    """k types with the best values of their members.

    Attributes
    ----------
    kinds : (D,)
        Type of every device.
    codes : int
        N: how many multisets of types there are; a multiset's code is ``sum_a count_a stride_a``.
    """

    def __init__(self, data: PoolData, kinds: IntArray) -> None:
        self.data, self.kinds = data, kinds
        self.count = np.bincount(kinds).astype(np.int64)
        self.types = len(self.count)
        self.stride = np.concatenate([[1], np.cumprod(self.count[:-1] + 1)]).astype(np.int64)
        self.codes = int(np.prod(self.count + 1))
        self.size, self.kind = group_sizes(self.codes, self.stride)
        self.speed = self._best(data.problem.flops_per_s, highest=True)
        self.members = self._sorted(data.problem.flops_per_s)
        self.free = self._sorted(data.free)
        self.idle = self._best(data.problem.idle_power_w, highest=False) * data.problem.per_joule
        self.joules = self._best(data.active, highest=False) * data.problem.per_joule
        self.links = Links(self._pairs(data.seconds), self._pairs(data.air), self._pairs(data.latency),
                           self._pairs(data.joules),
                           self._best(data.egress, highest=False), self._best(data.ingress, highest=False))

    def _best(self, values: npt.NDArray[np.generic], *, highest: bool) -> FloatArray:
        best = np.max if highest else np.min
        return np.array([best(values[self.kinds == a]) for a in range(self.types)])

    def _sorted(self, values: FloatArray) -> FloatArray:
        """(k, most) values of the members of every type, largest first; 0 where there are fewer."""
        result = np.zeros((self.types, int(self.count.max())))
        for a in range(self.types):
            result[a, : self.count[a]] = np.sort(values[self.kinds == a])[::-1]
        return result

    def _pairs(self, values: FloatArray) -> FloatArray:
        """Least entry between two types; the diagonal of devices is inf."""
        result = np.full((self.types, self.types), math.inf)
        np.minimum.at(result, (self.kinds[:, None], self.kinds[None, :]), values)
        return result

    def pairs_up_to(self, members: int) -> float:
        """How many pairs of a multiset and a group of up to `members` devices in it there are."""
        # coefficients by the size of the group: a type of n devices gives n - g + 1 multisets around g of its own
        ways = np.ones(1)
        for n in self.count:
            ways = np.convolve(ways, n + 1.0 - np.arange(n + 1))
        return float(ways[: members + 1].sum())

    def devices_of(self, code: int) -> tuple[int, ...]:
        """Devices that make up a code: of every type the fastest."""
        chosen: list[int] = []
        for a in range(self.types):
            count = code // int(self.stride[a]) % (int(self.count[a]) + 1)
            members = np.flatnonzero(self.kinds == a)
            speed = self.data.problem.flops_per_s[members]
            chosen += members[np.argsort(-speed, kind="stable")][:count].tolist()
        return tuple(sorted(chosen))

    def idle_of(self) -> FloatArray:
        """(N,) weighted idle power of all devices of a code."""
        codes = np.arange(self.codes)
        return np.asarray(sum(codes // self.stride[a] % (self.count[a] + 1) * self.idle[a] for a in range(self.types)))

    def shares(self, units: int, caps: IntArray | None, members: int, most: int,
               *, fluid: bool = False) -> tuple[IntArray, FloatArray, FloatArray]:
        """Options of all groups: code, seconds per FLOP of a unit, weighted joules per FLOP of a unit."""
        limit = np.full(self.types, units) if caps is None else self._best(caps, highest=True).astype(np.int64)
        return group_shares(self.size, self.stride, self.members, self.joules, limit, units, members, most, fluid)

    def rings(self, members: int) -> FloatArray:
        """Prices of rings (N, 7): see `groups.group_rings`."""
        return group_rings(self.size, self.stride, self.links, members)

    def tables(self, *, hybrid: bool) -> Tables:
        """What the kernels of `layered` need."""
        data, problem = self.data, self.data.problem
        samples, micro = problem.micro_batch, problem.micro_batches
        members = min(samples, problem.devices) if hybrid else 1
        group, unit_s, unit_j = self.shares(samples, None, members, OPTIONS if problem.per_joule > 0.0 else 1)
        rings = self.rings(members)
        size = self.size.astype(np.float64)
        farthest = min((micro + 2) // 2 if hybrid else micro, problem.devices)
        reach = np.full((self.codes, farthest + 1, problem.layers), -1, dtype=np.int16)
        group_reach(self.stride, group, self.free, data.running(problem.state_bytes),
                    data.running(problem.activation_bytes), problem.tied_state_bytes, hybrid, micro, samples, farthest,
                    reach)
        sent = problem.boundary_bytes * samples
        joules = self.links.joules + self.links.joules.T
        away = np.isfinite(data.air)
        air_least = 2.0 * sent * float(data.air[away].min()) if data.common else 0.0
        there = np.maximum(size, 1.0)
        tied_s, tied_j = self._tied()
        packed, guard = self._packed()
        trip_s = data.trip(samples if hybrid else 1) if self.data.problem.devices > 1 else 0.0
        return Tables(
            hybrid=hybrid, micro=micro, samples=samples, number=self.count, stride=self.stride, speed=self.speed,
            members=self.members, trip_s=trip_s, idle=self.idle,
            forward=data.running(problem.forward_flops), backward=data.running(problem.backward_flops),
            gradient=data.running(problem.gradient_bytes), tied=problem.tied_bytes, tied_s=tied_s, tied_j=tied_j,
            group=group, unit_s=unit_s, unit_j=unit_j * micro, packed=packed, guard=guard, size=self.size,
            kind=self.kind, egress_s=rings[:, 5] * sent,
            ingress_s=rings[:, 6] * sent, ring_latency=rings[:, 0].copy(), ring_byte=rings[:, 1] / there,
            ring_joule=2.0 * (size - 1.0).clip(0.0) / there * rings[:, 4] * problem.per_joule, reach=reach,
            occupancy=_times(self.links.seconds, sent), air=_times(self.links.air, sent), latency=self.links.latency,
            joules=_times(joules, sent * micro * problem.per_joule), air_least=air_least, common=data.common,
            ranks=min(farthest, RANKS) if hybrid else 1,
            per_s=problem.per_second, joule_flop=float(self.joules.min()) * problem.batch,
        )


    def _packed(self) -> tuple[IntArray, int]:
        """Counts of all codes in fields of bits, each with one to spare, and these spare bits.

        A multiset contains another if no field of ``(packed | guard) - other`` borrows its spare bit.
        """
        codes, packed, guard, shift = np.arange(self.codes), np.zeros(self.codes, dtype=np.int64), 0, 0
        for a, most in enumerate(self.count.tolist()):
            packed |= (codes // self.stride[a] % (most + 1)) << shift
            shift += most.bit_length() + 1
            guard |= 1 << (shift - 1)
        return packed, guard

    def _tied(self) -> tuple[float, float]:
        """Least seconds and weighted joules in which two or more devices reduce the tied table.

        An all-reduce of N bytes on a ring of g has ``2 (g - 1)`` steps of N/g bytes from everybody: N bytes or more
        over every edge, and 2 N or more in all.
        """
        size, links = self.data.problem.tied_bytes, self.links
        away = np.isfinite(links.seconds)
        if size <= 0.0 or not away.any():
            return 0.0, 0.0
        seconds = size * float(links.seconds[away].min())
        if self.data.common:
            seconds = max(seconds, 2.0 * size * float(links.air[away].min()))
        joules = 2.0 * size * float(links.joules[away].min())
        return 2.0 * float(links.latency[away].min()) + seconds, joules * self.data.problem.per_joule


def _times(matrix: FloatArray, factor: float) -> FloatArray:
    """A product in which inf, for pairs that do not exist, stays inf."""
    there = np.isfinite(matrix)
    result = np.full_like(matrix, math.inf)
    result[there] = matrix[there] * factor
    return result
