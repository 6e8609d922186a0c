"""The objective of tables of `tables` (compiled): the expressions of `FastCost`, on the clock of `clock`."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.pool_training.search.clock import (
    AHEAD,
    BACKWARD,
    FIRST_MEDIUM,
    FORWARD,
    HOME,
    LATENCY,
    LIMIT,
    OCCUPANCY,
    REDUCE,
    REDUCER,
    SURE,
    Clock,
    fastest,
)
from edgealloc.formulations.pool_training.search.filling import in_flight_of
from edgealloc.formulations.pool_training.search.tables import (
    ACTIVE,
    FIRST,
    GRADIENT,
    HOPS,
    IDLE,
    LAYERS,
    MEDIUM,
    MINE,
    PLACE,
    SIZE,
    SPEED,
    Net,
    Pool,
    Room,
)
from edgealloc.formulations.pool_training.search.traffic import hop, ring
from edgealloc.formulations.pool_training.timetables import TICKS

__all__ = ["LATE", "price"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: How many times the objective is added to itself for every deadline that passes.
LATE: Final = 10.0


@kernel
def listed(c: Clock, media: IntArray, which: int, row: int, mine: int, known: int) -> int:
    """Write the media of the phase at hand as a row of lists, by their places in the pipeline; how many have one.

    `which` is 0 for hand-overs, 1 for all-reduces.
    """
    if row == 0:
        c.lists[FIRST_MEDIUM + which, 0] = 0
    at = c.lists[FIRST_MEDIUM + which, row]
    for e in range(mine):
        k = media[MINE, e]
        if media[PLACE, k] < 0:
            media[PLACE, k], media[MEDIUM, known], media[HOPS, known] = known, k, 0
            known += 1
        c.entries[which, at + e] = media[PLACE, k]
        media[HOPS, media[PLACE, k]] += 1 - which
    c.lists[FIRST_MEDIUM + which, row + 1] = at + mine
    return known


@kernel
def join(joined: IntArray, rows: IntArray, stages: int) -> None:
    """Members of the first and of the last stage as one group."""
    joined[0, SIZE] = 0
    for p in range(0, stages, max(stages - 1, 1)):
        for m in range(rows[p, SIZE]):
            joined[0, FIRST + joined[0, SIZE]] = rows[p, FIRST + m]
            joined[0, SIZE] += 1


@kernel
def fill_clock(
    q: Pool, net: Net, r: Room, c: Clock, rows: IntArray, stages: int
) -> tuple[float, float, float, int, int]:
    """Fill in the clock: (least time, joules without idling, idle W, all-reduces, media).

    No stage is busy for longer than the iteration takes, and it begins when all in front have handed over.
    """
    most, micro = q.most, q.micro
    media = reduces = b = 0
    energy = idle = least = begin = 0.0
    for p in range(stages):
        a, b = b, b + rows[p, LAYERS]
        ahead, home = q.flops[0, a, b], q.flops[1, a, b]
        forward = backward = 0.0
        for m in range(rows[p, SIZE]):
            i, units = rows[p, FIRST + m], rows[p, FIRST + most + m]
            forward = max(forward, units * ahead / q.device[SPEED, i])
            backward = max(backward, units * home / q.device[SPEED, i])
            energy += q.device[ACTIVE, i] * micro * units / q.device[SPEED, i] * (ahead + home)
            idle += q.device[IDLE, i]
        c.seconds[FORWARD, p], c.seconds[BACKWARD, p] = forward, backward
        c.counts[LIMIT, p] = in_flight_of(q, stages, p)
    hops = 2 * (stages - 1)
    a = q.layers
    for what in range(hops + stages + 1):
        # hand-overs to the next stage, then those back, then all-reduces from the last stage on, then the tied table
        row, which = what, 0
        if what < hops:
            p, back = what % (stages - 1), what // (stages - 1)
            over, late, joules, mine = hop(net, r.use, r.media, rows, p, FIRST + most, back)
            c.hops[OCCUPANCY, what], c.hops[LATENCY, what] = over, late
            energy += micro * joules
        else:
            p, table, at = hops + stages - 1 - what, rows, hops + stages - 1 - what
            size = q.tied if stages == 1 or p < 0 else 0.0
            if p >= 0:
                b, a = a, a - rows[p, LAYERS]
                size += q.sums[GRADIENT, b] - q.sums[GRADIENT, a]
                if rows[p, SIZE] < 2:
                    size = 0.0
            else:
                table, at = r.joined, p + 1
                join(r.joined, rows, stages)
                if stages == 1:
                    size = 0.0
            if size <= 0.0:
                continue
            per_byte, once, joules, mine = ring(net, r.use, r.media, table, at)
            c.hops[REDUCE, reduces], c.lists[REDUCER, reduces] = per_byte * size + once, p
            energy += joules * size
            if p >= 0:
                least = max(least, micro * (c.seconds[FORWARD, p] + c.seconds[BACKWARD, p]) + c.hops[REDUCE, reduces])
            row, which = reduces, 1
            reduces += 1
        media = listed(c, r.media, which, row, mine, media)
    for p in range(stages):
        time = c.seconds[FORWARD, p] + c.seconds[BACKWARD, p]
        least = max(least, begin + micro * time)
        if p + 1 < stages:
            h = p + stages - 1
            begin += time + c.hops[OCCUPANCY, p] + c.hops[LATENCY, p] + c.hops[OCCUPANCY, h] + c.hops[LATENCY, h]
    return least, energy, idle, reduces, media


@kernel
def price(q: Pool, net: Net, r: Room, c: Clock, rows: IntArray, stages: int, worst: float) -> float:
    """Objective of a complete pipeline, more if the deadline is missed; inf if it is above `worst`."""
    least, energy, idle, reduces, media = fill_clock(q, net, r, c, rows, stages)
    tables = 1
    for k in range(media):
        r.media[PLACE, r.media[MEDIUM, k]] = -1
        if r.media[HOPS, k] > 1:
            tables = q.ratios.size
    per_time, latest = q.per_s + q.per_j * idle, np.inf
    if worst < np.inf and per_time > 0.0:
        latest = (worst - q.per_j * energy) / per_time
    if least > latest * SURE:
        return np.inf
    ahead = home = 0.0
    for p in range(stages):
        ahead += c.seconds[FORWARD, p]
        home += c.seconds[BACKWARD, p]
    mean = (ahead + home) / stages
    for p in range(stages):
        c.counts[AHEAD, p] = round(c.seconds[FORWARD, p] / mean * TICKS)
        c.counts[HOME, p] = round(c.seconds[BACKWARD, p] / mean * TICKS)
    time, _ = fastest(c, stages, q.micro, reduces, media, q.ratios[:tables], latest)
    if not time < np.inf:
        return np.inf
    value = q.per_s * time + q.per_j * (energy + idle * time)
    return value if time <= q.latest else value * (1.0 + LATE * time / q.latest)
