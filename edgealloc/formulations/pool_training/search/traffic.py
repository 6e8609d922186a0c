"""Hand-overs and all-reduces of tables of `tables`, priced as `network` does (compiled)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.pool_training.search.tables import FIRST, JOULES, LATENCY_S, MINE, NEAR, SIZE, Net

__all__ = ["hop", "order_ring", "ring"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Pieces of a ring turned round to find a fast one.
MOST_TURNS: Final = 200


@kernel
def send(net: Net, use: FloatArray, media: IntArray, i: int, j: int, size: float, mine: int) -> int:
    """Add a message to the phase at hand; how many media that uses."""
    for e in range(net.route[i * net.devices + j], net.route[i * net.devices + j + 1]):
        k = net.medium[e]
        if use[k] < 0.0:
            use[k] = 0.0
            media[MINE, mine] = k
            mine += 1
        use[k] += size * net.air[e]
    return mine


@kernel
def phase(use: FloatArray, media: IntArray, mine: int) -> float:
    """Occupancy of the phase at hand; its media are free for the next."""
    longest = 0.0
    for e in range(mine):
        longest = max(longest, use[media[MINE, e]])
        use[media[MINE, e]] = -1.0
    return longest


@kernel
def hop(
    net: Net, use: FloatArray, media: IntArray, rows: IntArray, p: int, first: int, back: int
) -> tuple[float, float, float, int]:
    """Hand-over of a micro-batch from stage p to the next, or back: occupancy, latency, joules, number of its media.

    The media are in row MINE. The shares begin in column `first`.
    """
    latency = joules = 0.0
    mine = a = b = 0
    left, room = rows[p, first], rows[p + 1, first]
    while True:
        common = min(left, room)
        size = common * net.boundary
        i, j = rows[p, FIRST + a], rows[p + 1, FIRST + b]
        if back:
            i, j = j, i
        mine = send(net, use, media, i, j, size, mine)
        latency = max(latency, net.pair[LATENCY_S, i, j])
        joules += size * net.pair[JOULES, i, j]
        left -= common
        room -= common
        if left == 0:
            a += 1
            if a == rows[p, SIZE]:
                return phase(use, media, mine), latency, joules, mine
            left = rows[p, first + a]
        if room == 0:
            b += 1
            room = rows[p + 1, first + b]


@kernel
def ring(
    net: Net, use: FloatArray, media: IntArray, rows: IntArray, p: int
) -> tuple[float, float, float, int]:
    """All-reduce of N bytes in a group takes ``a N + b`` seconds and ``e N`` joules: (a, b, e, number of its media)."""
    latency = joules = 0.0
    mine, g = 0, rows[p, SIZE]
    for m in range(g):
        i, j = rows[p, FIRST + m], rows[p, FIRST + (m + 1 if m + 1 < g else 0)]
        mine = send(net, use, media, i, j, 1.0 / g, mine)
        latency = max(latency, net.pair[LATENCY_S, i, j])
        joules += net.pair[JOULES, i, j]
    return 2.0 * (g - 1) * phase(use, media, mine), 2.0 * (g - 1) * latency, 2.0 * (g - 1) / g * joules, mine


@kernel
def order_ring(net: Net, use: FloatArray, media: IntArray, rows: IntArray, p: int, size: float) -> None:
    """Put a group in the order of a fast ring for so many bytes: see `rings.ring_order`."""
    g = rows[p, SIZE]
    for a in range(1, g):
        one, b = rows[p, FIRST + a], FIRST + a
        while b > FIRST and rows[p, b - 1] > one:
            rows[p, b] = rows[p, b - 1]
            b -= 1
        rows[p, b] = one
    if g < 3:
        return
    for a in range(FIRST + 1, FIRST + g - 1):
        here, best = rows[p, a - 1], a
        for b in range(a + 1, FIRST + g):
            one, other = net.pair[NEAR, here, rows[p, b]], net.pair[NEAR, here, rows[p, best]]
            if one < other or (one == other and net.pair[LATENCY_S, here, rows[p, b]] <
                               net.pair[LATENCY_S, here, rows[p, best]]):
                best = b
        one = rows[p, best]
        for b in range(best, a, -1):
            rows[p, b] = rows[p, b - 1]
        rows[p, a] = one
    per_byte, once, _, _ = ring(net, use, media, rows, p)
    least = per_byte * size + once
    tries = 0
    a, b, since = 1, 3, 0
    pairs = (g - 1) * (g - 2) // 2
    while since < pairs and tries < MOST_TURNS:
        tries += 1
        since += 1
        low, high = FIRST + a, FIRST + b - 1
        while low < high:
            rows[p, low], rows[p, high] = rows[p, high], rows[p, low]
            low += 1
            high -= 1
        per_byte, once, _, _ = ring(net, use, media, rows, p)
        if per_byte * size + once < least * (1.0 - 1e-9):
            least, since = per_byte * size + once, 0
        else:
            low, high = FIRST + a, FIRST + b - 1
            while low < high:
                rows[p, low], rows[p, high] = rows[p, high], rows[p, low]
                low += 1
                high -= 1
        b += 1
        if b > g:
            a += 1
            b = a + 2
        if b > g:
            a, b = 1, 3
