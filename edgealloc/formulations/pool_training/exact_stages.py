"""All plans of one stage: which devices, in which order on the ring, with which shares."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.baselines import single_plans, unit_costs
from edgealloc.formulations.pool_training.costs import work_units
from edgealloc.formulations.pool_training.feasibility import memory_caps
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.rings import rings
from edgealloc.formulations.pool_training.sharing import share_options

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["compositions", "search_stages"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Shares priced at once.
_BLOCK: Final = 100_000


def search_stages(problem: PoolTraining, cost: FastCost, best: Incumbent, run: Run, parallelism: str) -> None:
    """Offer the best single, data, tensor or sequence plan.

    Raises
    ------
    TimeUpError
    """
    if parallelism == "single":
        for plan in single_plans(problem):
            best.offer(plan)
        return
    units, caps = work_units(problem, parallelism), memory_caps(problem, parallelism)
    able = [i for i in range(problem.devices) if caps[i] >= 1]
    for size in range(1, min(len(able), units) + 1):
        for members in itertools.combinations(able, size):
            best.tick()
            if int(caps[list(members)].sum()) < units:
                continue
            if parallelism == "sequence":
                _sequence(problem, best, run, members, caps)
            else:
                _rings_and_shares(problem, cost, best, parallelism, members, caps[list(members)].tolist())


def _rings_and_shares(
    problem: PoolTraining, cost: FastCost, best: Incumbent, parallelism: str, members: tuple[int, ...],
    caps: Sequence[int],
) -> None:
    """Data and tensor plans of a set of devices: network and computing meet in two sums only."""
    units = work_units(problem, parallelism)
    seconds, joules = unit_costs(problem, parallelism, members)
    options = list(share_options(units, seconds, joules, caps))
    idle = float(problem.idle_power_w[list(members)].sum())
    if not options or best.beyond(options[0][0], min(option[1] for option in options) + idle * options[0][0]):
        return
    if parallelism == "tensor":
        size, times = problem.batch * problem.boundary_bytes, 4 * problem.layers
    else:
        size, times = float(problem.gradient_bytes.sum()) + problem.tied_bytes, 1
    for ring in rings(members):
        best.tick()
        moving, spent = (times * one for one in cost.all_reduce(ring, size))
        for time, energy, shares in options:
            whole = time + moving
            if best.beyond(whole, energy + spent + idle * whole):
                continue
            given = dict(zip(members, shares, strict=True))
            best.offer(Plan(parallelism, (ring,), (problem.layers,), (tuple(given[i] for i in ring),)))


# ---- sequence parallelism -------------------------------------------------------------------------------------------


def _sequence(
    problem: PoolTraining, best: Incumbent, run: Run, members: tuple[int, ...], caps: IntArray
) -> None:
    """All rings and shares of a set of devices under sequence parallelism, in blocks."""
    units, g = problem.tokens, len(members)
    seconds, joules = unit_costs(problem, "sequence", members)
    idle = float(problem.idle_power_w[list(members)].sum())
    least = units / sum(1.0 / one for one in seconds)
    if best.beyond(least, idle * least + units * min(joules)):
        return
    # nobody can do more than fits into the time (and objective) of the best plan known
    longest = best.latest_s
    rate = problem.per_second + problem.per_joule * idle
    if np.isfinite(best.value) and rate > 0.0:
        longest = min(longest, (best.value - problem.per_joule * units * min(joules)) / rate)
    high = [int(min(caps[i], units - g + 1, longest / one * (1.0 + 1e-9))) for i, one in zip(members, seconds,
                                                                                              strict=True)]
    for block in compositions(units, high, _BLOCK):
        for ring in rings(members):
            run.check_time()
            order = [members.index(i) for i in ring]
            shares = block[:, order]
            time, energy = _sequence_costs(problem, ring, shares)
            value = problem.per_second * time + problem.per_joule * energy
            value[time > best.latest_s] = np.inf
            k = int(np.argmin(value))
            if value[k] * (1.0 - 1e-12) < best.value:
                best.offer(Plan("sequence", (ring,), (problem.layers,), (tuple(shares[k].tolist()),)))


def compositions(total: int, high: Sequence[int], block: int) -> Iterator[IntArray]:
    """All ways to write `total` as whole numbers from 1 to `high`, as arrays of about `block` rows at most."""
    if not high or min(high) < 1 or sum(high) < total or len(high) > total:
        return
    if len(high) == 1:
        yield np.array([[total]], dtype=np.int64)
        return
    if len(high) == 2:
        left = np.arange(max(1, total - high[1]), min(high[0], total - 1) + 1, dtype=np.int64)
        yield np.column_stack([left, total - left])
        return
    rest, most_rest = len(high) - 1, sum(high[1:])
    pieces: list[IntArray] = []
    rows = 0
    for first in range(max(1, total - most_rest), min(high[0], total - rest) + 1):
        for tail in compositions(total - first, high[1:], block):
            pieces.append(np.column_stack([np.full(len(tail), first, dtype=np.int64), tail]))
            rows += len(tail)
            if rows >= block:
                yield np.concatenate(pieces)
                pieces, rows = [], 0
    if pieces:
        yield np.concatenate(pieces)


def _sequence_costs(problem: PoolTraining, ring: Sequence[int], shares: IntArray) -> tuple[FloatArray, FloatArray]:
    """T and E of sequence plans on a ring with shares (n, g)."""
    network, g = problem.network, len(ring)
    seconds, joules = unit_costs(problem, "sequence", ring)
    time = (shares * np.array(seconds)).max(axis=1)
    energy = (shares * np.array(joules)).sum(axis=1)
    if g > 1:
        following = [*ring[1:], ring[0]]
        keys = problem.key_value_bytes * problem.batch / problem.tokens
        whole = float(keys.sum())
        latency = max(float(network.latency_s[i, j]) for i, j in zip(ring, following, strict=True))
        airtimes = [network.airtime(i, j) for i, j in zip(ring, following, strict=True)]
        media = sorted({medium for one in airtimes for medium in one})
        matrix = np.array([[one.get(medium, 0.0) for one in airtimes] for medium in media])
        for k in range(g - 1):
            sent = shares[:, [(m - k) % g for m in range(g)]] * whole
            time = time + 3.0 * (sent @ matrix.T).max(axis=1)
            energy = energy + 3.0 * sent @ np.array([float(network.joules_per_byte[i, j])
                                                     for i, j in zip(ring, following, strict=True)])
        time = time + 3.0 * (g - 1) * latency * int((keys > 0.0).sum())
        gradients = float(problem.gradient_bytes.sum()) + problem.tied_bytes
        if gradients > 0.0:
            per_step = [(i, j, gradients / g) for i, j in zip(ring, following, strict=True)]
            time = time + network.all_reduce(ring, gradients)
            energy = energy + 2.0 * (g - 1) * sum(size * float(network.joules_per_byte[i, j])
                                                  for i, j, size in per_step)
    return time, energy + float(problem.idle_power_w[list(ring)].sum()) * time
