r"""Lower bounds and plans of the parallelisms with one stage: single, data, sequence, tensor.

For a set of devices (a multiset of types) the time is that of the slowest share plus that of the collectives on the
ring, each bounded by itself:

- shares: whole units, so the best ones are a staircase of trade-offs between time and energy (`groups`); many units
  (tokens) are taken as divisible at will.
- all-reduce of N bytes: :math:`2 (g-1)` steps of :math:`N/g` bytes from everybody, each no faster than the best link of
  the worst connected member; on one common medium than the best links of all members in turn.
- all-gather of N bytes in unequal parts: in each of g - 1 steps all N bytes move, so the largest part has N/g of them.

Sequence: one gather of keys and values in forward and two in backward for every layer, and the gradients; tensor: four
all-reduces of the activations for every layer. Sets are then looked at in the order of their bounds until the bound
reaches the best plan, so that with one type per device and a ring on which order does not matter the result is proven.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.certificate.device_types import MEMORY_SLACK, DeviceTypes
from edgealloc.formulations.pool_training.costs import work_units
from edgealloc.formulations.pool_training.feasibility import memory_caps
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.rings import ring_order
from edgealloc.formulations.pool_training.sharing import best_shares

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["ONE_STAGE", "OneStage", "offer_sets", "one_stage", "whole_plans"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ONE_STAGE: Final = ("single", "data", "sequence", "tensor")
#: Steps of the trade-off that are kept of a group, and units above which they are divisible at will.
OPTIONS: Final = 16
MOST_UNITS: Final = 64


@dataclass(frozen=True)
class OneStage:
    """Least objective of every multiset of devices under one parallelism.

    Attributes
    ----------
    parallelism : str
    code : (G,)
        Multisets with a plan, those with the least bound first.
    bound : (G,)
    """

    parallelism: str
    code: IntArray
    bound: FloatArray


def one_stage(types: DeviceTypes, parallelism: str) -> OneStage:
    """Bounds of all multisets of types."""
    problem = types.data.problem
    units = work_units(problem, parallelism)
    members = 1 if parallelism == "single" else min(units, problem.devices)
    caps = memory_caps(problem, parallelism, MEMORY_SLACK)
    code, seconds, joules = types.shares(units, caps, members, OPTIONS if problem.per_joule > 0.0 else 1,
                                         fluid=units > MOST_UNITS)
    flops = problem.batch * types.data.work / units
    latency, byte, least, air, ring_joules = types.rings(members)[code, :5].T
    g = types.size[code].astype(np.float64)
    time, energy = flops * seconds, flops * joules
    apart = g > 1.0
    gradient = float(problem.gradient_bytes.sum()) + problem.tied_bytes if parallelism != "tensor" else 0.0

    def reduced(size: float, times: float) -> None:
        """Add all-reduces."""
        nonlocal time, energy
        if size > 0.0:
            time = time + np.where(apart, times * 2.0 * (g - 1.0) * (latency + size / g * byte), 0.0)
            energy = energy + np.where(apart, times * 2.0 * (g - 1.0) / g * size * ring_joules, 0.0) * problem.per_joule

    reduced(gradient, 1.0)
    if parallelism == "tensor":
        reduced(problem.batch * problem.boundary_bytes, 4.0 * problem.layers)
    if parallelism == "sequence":
        keys = problem.batch * problem.key_value_bytes
        steps = 3.0 * (g - 1.0) * int((keys > 0.0).sum())
        with np.errstate(invalid="ignore"):
            slowest = np.where(apart, np.maximum(least / g, air), 0.0)
            time = time + np.where(apart, steps * latency + 3.0 * (g - 1.0) * float(keys.sum()) * slowest, 0.0)
    total = (problem.per_second + types.idle_of()[code]) * time + energy
    if problem.deadline_s is not None:
        soonest = time
        if units > MOST_UNITS:  # corners: what is between a late one and one in time may be in time, and cheaper
            least_time = np.full(types.codes, np.inf)
            np.minimum.at(least_time, code, time)
            soonest = least_time[code]
        late = soonest * (1.0 - 1e-12) > problem.deadline_s * (1.0 + MEMORY_SLACK)
        code, total = code[~late], total[~late]
    order = np.argsort(total, kind="stable")
    code, total = code[order], total[order]
    _, first = np.unique(code, return_index=True)  # the best option of every multiset
    first.sort()
    return OneStage(parallelism, code[first], total[first])


def whole_plans(problem: PoolTraining, parallelism: str, members: tuple[int, ...]) -> Iterator[Plan]:
    """Good shares of given devices on a good ring, by time and energy of computing and waiting; none if none fit."""
    units = work_units(problem, parallelism)
    ring = ring_order(problem, members)
    devices = list(ring)
    flops = problem.batch * float(problem.forward_flops.sum() + problem.backward_flops.sum()) / units
    seconds = flops / problem.flops_per_s[devices]
    joules = (problem.busy_power_w[devices] - problem.idle_power_w[devices]) * seconds
    caps = memory_caps(problem, parallelism)[devices]
    waiting = float(problem.idle_power_w[devices].sum())
    per_second = problem.per_second + problem.per_joule * waiting
    frugal = [(per_second, problem.per_joule)]
    if problem.per_joule > 0.0 and problem.deadline_s is not None:
        frugal.append((1.0, 0.0))
    for second, joule in frugal:
        shares = good_shares(units, seconds, joules, caps, second, joule)
        if shares is not None:
            yield Plan(parallelism, (ring,), (problem.layers,), (shares,))


def good_shares(
    units: int, seconds: FloatArray, joules: FloatArray, caps: IntArray, per_second: float, per_joule: float
) -> tuple[int, ...] | None:
    """Whole shares with a small ``per_second x longest time + per_joule x energy``: the smallest for few units."""
    if units <= MOST_UNITS:
        return best_shares(units, seconds.tolist(), caps.tolist(), joules.tolist(), per_second, per_joule)
    if len(seconds) > units or caps.min() < 1 or caps.sum() < units:
        return None

    def room(time: float) -> IntArray:
        return np.minimum(caps, np.floor(time / seconds * (1.0 + 1e-12)).astype(np.int64))

    low, high = 0.0, float(units * seconds.max())
    for _ in range(60):
        middle = 0.5 * (low + high)
        enough = room(middle).min() >= 1 and room(middle).sum() >= units
        low, high = (low, middle) if enough else (middle, high)
    best, chosen = float("inf"), None
    for stretch in (1.0, 1.05, 1.1, 1.2, 1.4, 1.7, 2.0, 3.0, 5.0) if per_joule > 0.0 else (1.0,):
        there = room(high * stretch)
        shares, left = np.ones(len(seconds), dtype=np.int64), units - len(seconds)
        for i in np.argsort(joules, kind="stable"):
            more = min(left, int(there[i]) - 1)
            shares[i] += more
            left -= more
        value = per_second * float((shares * seconds).max()) + per_joule * float((shares * joules).sum())
        if value < best:
            best, chosen = value, tuple(int(one) for one in shares)
    return chosen


def offer_sets(types: DeviceTypes, sets: OneStage, best: Incumbent, most: int, gap: float) -> float:
    """Offer plans of the sets with the least bounds; returns a bound of the parallelism.

    With one device per type a set whose bound is not below the best plan by more than `gap` of it ends the search.

    Raises
    ------
    TimeUpError
    """
    problem = types.data.problem
    for looked, (code, bound) in enumerate(zip(sets.code.tolist(), sets.bound.tolist(), strict=True)):
        if looked >= most or bound >= best.value * (1.0 - gap):
            break
        for plan in whole_plans(problem, sets.parallelism, types.devices_of(code)):
            best.offer(plan)
        best.run.check_time()
    return float(sets.bound[0]) if sets.bound.size else float("inf")
