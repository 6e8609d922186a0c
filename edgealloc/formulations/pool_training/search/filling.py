"""What a move leaves open is filled in: rings, shares within groups, numbers of layers (compiled)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.pool_training.search.tables import (
    ACTIVE,
    BEHIND,
    CAP,
    EQUAL,
    FIRST,
    FREE_BYTES,
    GRADIENT,
    IDEAL,
    IDLE,
    KEPT,
    LAYERS,
    NOW,
    OPEN,
    ORDER,
    ROOMY,
    SIZE,
    SPEED,
    SPENT,
    SPENT_NOW,
    STATE,
    TRIAL,
    WORK,
    Net,
    Pool,
    Room,
)
from edgealloc.formulations.pool_training.search.traffic import hop, order_ring, ring

__all__ = ["complete", "in_flight_of", "layers_of", "share"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@kernel
def share(
    device: FloatArray, group: IntArray, rows: IntArray, p: int, out: int, total: int, per_time: float,
    per_energy: float,
) -> bool:
    """Shares of a micro-batch within the caps with the least ``per_time t + per_energy e``, ties to the faster ones.

    Seconds t and joules e are those of a FLOP per sample. See `sharing.share_options`. They are written from column
    `out` on. False if there are none.
    """
    g = rows[p, SIZE]
    least, possible = 0.0, 0
    for m in range(g):
        if group[CAP, m] < 1:
            return False
        possible += group[CAP, m]
        least = max(least, 1.0 / device[SPEED, rows[p, FIRST + m]])
    if possible < total or g > total:
        return False
    if g == 1:
        rows[p, out] = total
        return True
    for m in range(g):
        i, n = rows[p, FIRST + m], m
        while n > 0:
            j = rows[p, FIRST + group[ORDER, n - 1]]
            one, other = device[ACTIVE, i] / device[SPEED, i], device[ACTIVE, j] / device[SPEED, j]
            if one > other or (one == other and device[SPEED, i] <= device[SPEED, j]):
                break
            group[ORDER, n] = group[ORDER, n - 1]
            n -= 1
        group[ORDER, n] = m
    found, best, fast = False, np.inf, np.inf
    for m in range(g):
        for k in range(1, min(group[CAP, m], total) + 1):
            time = k / device[SPEED, rows[p, FIRST + m]]
            if time < least or (per_energy == 0.0 and time > fast):
                continue
            room = 0
            for n in range(g):
                group[TRIAL, n] = min(group[CAP, n], int(time * device[SPEED, rows[p, FIRST + n]] * (1.0 + 1e-12)))
                room += group[TRIAL, n]
            if room < total:
                continue
            # everybody one, the rest to the cheapest first
            left, longest, energy = total - g, 0.0, 0.0
            for place in range(g):
                n = group[ORDER, place]
                more = min(left, group[TRIAL, n] - 1)
                left -= more
                group[TRIAL, n] = 1 + more
                seconds = (1 + more) / device[SPEED, rows[p, FIRST + n]]
                longest = max(longest, seconds)
                energy += seconds * device[ACTIVE, rows[p, FIRST + n]]
            value = per_time * longest + per_energy * energy
            if not found or value < best or (value == best and longest < fast):
                found, best, fast = True, value, longest
                for n in range(g):
                    rows[p, out + n] = group[TRIAL, n]
    return found


@kernel
def in_flight_of(q: Pool, stages: int, p: int) -> int:
    """Micro-batches in flight; see `schedule.in_flight`."""
    return min(q.micro, 2 * (stages - p) - 1 if q.hybrid else stages - p)


@kernel
def fit(q: Pool, rows: IntArray, stages: int, p: int, first: int, a: int, b: int) -> bool:
    """Whether stage p with the shares from column `first` on has room for layers a to b - 1."""
    state = q.sums[STATE, b] - q.sums[STATE, a] - (q.tied_state if stages == 1 else 0.0)
    each = in_flight_of(q, stages, p) * (q.sums[KEPT, b] - q.sums[KEPT, a])
    for m in range(rows[p, SIZE]):
        if state + rows[p, first + m] * each > q.device[FREE_BYTES, rows[p, FIRST + m]]:
            return False
    return True


# ---- layers ---------------------------------------------------------------------------------------------------------


@kernel
def other_shares(q: Pool, rows: IntArray, p: int) -> None:
    """Equal shares, and those by memory."""
    g, most, total, largest = rows[p, SIZE], q.most, 0.0, 0
    for m in range(g):
        room = q.device[FREE_BYTES, rows[p, FIRST + m]]
        rows[p, FIRST + EQUAL * most + m] = q.samples // g + (1 if m < q.samples % g else 0)
        total += max(room, 1.0)
        if room > q.device[FREE_BYTES, rows[p, FIRST + largest]]:
            largest = m
    left = q.samples - g
    for m in range(g):
        more = int((q.samples - g) * max(q.device[FREE_BYTES, rows[p, FIRST + m]], 1.0) / total)
        rows[p, FIRST + ROOMY * most + m] = 1 + more
        left -= more
    rows[p, FIRST + ROOMY * most + largest] += left


@kernel
def layers_of(q: Pool, net: Net, r: Room, rows: IntArray, stages: int) -> bool:
    """Fill in the numbers of layers with the least bound for these groups in this order; False if nothing fits.

    See `partition`, without trade-offs between time and energy.
    """
    layers, most = q.layers, q.most
    if stages > layers:
        return False
    waiting = 0.0
    for p in range(stages):
        for m in range(rows[p, SIZE]):
            waiting += q.device[IDLE, rows[p, FIRST + m]]
            r.group[CAP, m] = q.samples
        if not share(q.device, r.group, rows, p, FIRST + IDEAL * most, q.samples, 1.0, 0.0):
            return False
    weight = q.per_s + q.per_j * waiting
    for y in range(layers + 1):
        r.after[BEHIND, y], r.after[SPENT, y] = np.inf, 0.0
    r.after[BEHIND, layers] = 0.0
    for p in range(stages - 1, -1, -1):
        g, trip, per_byte, once, power = rows[p, SIZE], 0.0, 0.0, 0.0, 0.0
        if p + 1 < stages:
            for back in range(2):
                occupancy, latency, _, _ = hop(net, r.use, r.media, rows, p, FIRST + IDEAL * most, back)
                trip += occupancy + latency
        if g > 1:
            per_byte, once, _, _ = ring(net, r.use, r.media, rows, p)
            other_shares(q, rows, p)
        for m in range(g):
            i = rows[p, FIRST + m]
            power += q.micro * rows[p, FIRST + IDEAL * most + m] * q.device[ACTIVE, i] / q.device[SPEED, i]
        for y in range(layers + 1):
            r.after[NOW, y], r.after[SPENT_NOW, y] = np.inf, 0.0
        # the fastest shares, and where they do not fit others that are easier on the memory
        for block in range(IDEAL, ROOMY + 1 if g > 1 else IDEAL + 1):
            unit, first = 0.0, FIRST + block * most
            for m in range(g):
                unit = max(unit, rows[p, first + m] / q.device[SPEED, rows[p, FIRST + m]])
            open_left = False
            for a in range(p, layers - (stages - p) + 1 if p else 1):
                begin, end = (layers if p == stages - 1 else a + 1), layers - (stages - p - 1)
                low, high, middle = a, end + 1, end
                while high - low > 1:  # memory grows with the last layer; mostly all fits
                    if fit(q, rows, stages, p, first, a, middle):
                        low = middle
                    else:
                        high = middle
                    middle = (low + high) // 2
                open_left = open_left or low < end
                least = weight * r.after[NOW, a] + q.per_j * r.after[SPENT_NOW, a]
                for b in range(begin, low + 1):
                    flops = q.sums[WORK, b] - q.sums[WORK, a]
                    time, size = unit * flops, q.sums[GRADIENT, b] - q.sums[GRADIENT, a]
                    alone = q.micro * time
                    if g > 1 and size > 0.0:
                        alone += per_byte * size + once
                    if weight * alone + q.per_j * power * flops >= least:
                        break
                    total = max(alone, time + trip + r.after[BEHIND, b])
                    energy = power * flops + r.after[SPENT, b]
                    if weight * total + q.per_j * energy < least:
                        least = weight * total + q.per_j * energy
                        r.after[NOW, a], r.after[SPENT_NOW, a], r.cuts[p, a] = total, energy, b
            if not open_left:
                break
        for y in range(layers + 1):
            r.after[BEHIND, y], r.after[SPENT, y] = r.after[NOW, y], r.after[SPENT_NOW, y]
    if not r.after[BEHIND, 0] < np.inf:
        return False
    a = 0
    for p in range(stages):
        rows[p, LAYERS] = r.cuts[p, a] - a
        a = r.cuts[p, a]
    return True


@kernel
def complete(q: Pool, net: Net, r: Room, rows: IntArray, stages: int, relayer: bool) -> bool:
    """Fill in rings, layers and shares; False if it does not fit into memory."""
    seconds = q.per_s
    for p in range(stages):
        if rows[p, OPEN] and rows[p, SIZE] > 1:
            order_ring(net, r.use, r.media, rows, p, max(q.sums[GRADIENT, q.layers], 1.0))
        for m in range(rows[p, SIZE]):
            seconds += q.per_j * q.device[IDLE, rows[p, FIRST + m]]
    if relayer and not layers_of(q, net, r, rows, stages):
        return False
    b = 0
    for p in range(stages):
        a, b = b, b + rows[p, LAYERS]
        if rows[p, OPEN] or not fit(q, rows, stages, p, FIRST + q.most, a, b):
            state = q.sums[STATE, b] - q.sums[STATE, a] - (q.tied_state if stages == 1 else 0.0)
            each = in_flight_of(q, stages, p) * (q.sums[KEPT, b] - q.sums[KEPT, a])
            for m in range(rows[p, SIZE]):
                room = q.device[FREE_BYTES, rows[p, FIRST + m]] - state
                r.group[CAP, m] = 0 if room < 0.0 else q.samples if room >= q.samples * each else int(room / each)
            if not share(q.device, r.group, rows, p, FIRST + q.most, q.samples, seconds, q.per_j):
                return False
            rows[p, OPEN] = 0
    return True
