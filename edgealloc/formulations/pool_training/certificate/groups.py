r"""What groups of device types can do at best: shares, rings, memory (compiled).

A group is given by how many devices of every type it has. Work is shared in whole units, one at least for everybody,
so the longest time and the energy of a group are a staircase of trade-offs (`share_options`); a ring is at least as
slow as the best neighbours of its worst member, and on one common medium as all its members' best neighbours in turn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel

__all__ = ["Links", "group_reach", "group_rings", "group_shares", "group_sizes"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Links(NamedTuple):
    """Least price of a byte between two devices of two types (k, k); inf where there is no such pair."""

    seconds: FloatArray
    air: FloatArray  #: on the medium that all routes use; 0 without one
    latency: FloatArray
    joules: FloatArray
    egress: FloatArray  #: (k,) seconds per byte on what all routes from a device share
    ingress: FloatArray  #: (k,)


@kernel
def _counts(code: int, stride: IntArray, out: IntArray) -> int:
    """Counts of a code; their sum."""
    total = 0
    for a in range(stride.size - 1, -1, -1):
        out[a] = code // stride[a]
        code -= out[a] * stride[a]
        total += out[a]
    return total


@kernel
def group_sizes(codes: int, stride: IntArray) -> tuple[IntArray, IntArray]:
    """Devices of every code (N,), and the type of single ones (N,), k for others."""
    size, kind = np.zeros(codes, np.int64), np.full(codes, stride.size)
    counts = np.zeros(stride.size, np.int64)
    for z in range(codes):
        size[z] = _counts(z, stride, counts)
        if size[z] == 1:
            kind[z] = np.argmax(counts)
    return size, kind


@kernel
def _staircase(
    units: int, seconds: FloatArray, joules: FloatArray, caps: IntArray, most: int, out: FloatArray
) -> int:
    """Trade-offs (seconds, joules) of sharing whole units into `out` (most, 2); how many.

    Where there are more than `most`, neighbours are merged into the time of the first and the energy of the last.
    """
    members = seconds.size
    if members > units:
        return 0
    times = np.empty(members * units)
    count = 0
    for i in range(members):
        for share in range(1, min(units, caps[i]) + 1):
            times[count] = share * seconds[i]
            count += 1
    times = np.sort(times[:count])
    order = np.argsort(joules)
    slowest, base, cheapest, before = seconds.max(), joules.sum(), np.inf, -1.0
    room = np.zeros(members, np.int64)
    steps = np.empty((count, 2))
    found = 0
    for time in times:
        if time < slowest or time == before:
            continue
        before = time
        total = 0
        for i in range(members):
            room[i] = min(caps[i], units, int(time / seconds[i] * (1.0 + 1e-12)))
            total += room[i]
        if total < units:
            continue
        left, energy = units - members, base
        for i in order:
            more = min(left, room[i] - 1)
            left -= more
            energy += more * joules[i]
        if energy < cheapest:
            steps[found, 0], steps[found, 1] = time, energy
            cheapest = energy
            found += 1
    kept = min(found, most)
    for i in range(kept):
        out[i, 0], out[i, 1] = steps[i * found // kept, 0], steps[(i + 1) * found // kept - 1, 1]
    return kept


@kernel
def _fluid(units: float, rate: FloatArray, joules: FloatArray, out: FloatArray) -> int:
    """The same for work that can be divided at will: the corners of the trade-off, cheapest devices first in."""
    order = np.argsort(joules)
    together = 0.0
    spent = 0.0
    count = 0
    for i in order:
        # at the corner where the cheapest devices up to i are busy all the time
        together += rate[i]
        spent += rate[i] * joules[i]
        out[count, 0], out[count, 1] = units / together, units * spent / together
        count += 1
    return count


@kernel
def group_shares(
    size: IntArray, stride: IntArray, speed: FloatArray, joules: FloatArray, caps: IntArray, units: int, members: int,
    most: int, fluid: bool,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Options (code, seconds, joules) of all groups of up to `members` devices that can share `units` units of work.

    Parameters
    ----------
    speed : (k, most)
        Units per second of the members of a type, fastest first: n of them are no faster than its n fastest.
    joules : (k,)
        Per unit.
    caps : (k,)
        Most units of a device.
    most : int
        Trade-offs of whole units that are kept of a group.
    fluid : bool
        Shares need not be whole units: no longer than in truth, and much faster for many units.
    """
    k = stride.size
    counts = np.zeros(k, np.int64)
    room = size.size * most + 1
    code, seconds, energy = np.empty(room, np.int64), np.empty(room), np.empty(room)
    total = 0
    out = np.empty((max(most, members, 1), 2))
    for z in range(1, size.size):
        if size[z] > members or size[z] > units:
            continue
        _counts(z, stride, counts)
        each, cost, cap = np.empty(size[z]), np.empty(size[z]), np.empty(size[z], np.int64)
        i = held = 0
        least = units
        for a in range(k):
            for n in range(counts[a]):
                each[i], cost[i], cap[i] = 1.0 / speed[a, n], joules[a], caps[a]
                held += min(caps[a], units)
                least = min(least, caps[a])
                i += 1
        if held < units or least < 1:
            continue
        found = _fluid(units, 1.0 / each, cost, out) if fluid else _staircase(units, each, cost, cap, most, out)
        for i in range(found):
            if total == code.size:
                code, seconds = np.concatenate((code, code)), np.concatenate((seconds, seconds))
                energy = np.concatenate((energy, energy))
            code[total], seconds[total], energy[total] = z, out[i, 0], out[i, 1]
            total += 1
    return code[:total].copy(), seconds[:total].copy(), energy[:total].copy()


@kernel
def group_rings(size: IntArray, stride: IntArray, links: Links, members: int) -> FloatArray:
    """Least prices of a ring of every group (N, 7).

    Columns: latency of a step; seconds of a step per byte that everybody sends; the same if everybody sends as little
    as the fastest; seconds per byte on the common medium of the one that is nearest to its neighbour; joules of
    one byte sent by everybody; seconds per byte of a micro-batch out of the group, and into it.
    """
    k = stride.size
    counts = np.zeros(k, np.int64)
    out = np.zeros((size.size, 7))
    for z in range(1, size.size):
        if size[z] > members:
            continue
        _counts(z, stride, counts)
        leave = enter = shared = 0.0
        out[z, 2], out[z, 3] = np.inf, np.inf
        for a in range(k):
            if counts[a] == 0:
                continue
            leave += counts[a] / links.egress[a] if links.egress[a] > 0.0 else np.inf
            enter += counts[a] / links.ingress[a] if links.ingress[a] > 0.0 else np.inf
            late, sent, taken, air, joules = np.inf, np.inf, np.inf, np.inf, np.inf
            for c in range(k):
                if counts[c] > (1 if c == a else 0):
                    late, sent = min(late, links.latency[a, c]), min(sent, links.seconds[a, c])
                    taken, air = min(taken, links.seconds[c, a]), min(air, links.air[a, c])
                    joules = min(joules, links.joules[a, c])
            if size[z] > 1:
                out[z, 0], out[z, 1] = max(out[z, 0], late), max(out[z, 1], sent, taken)
                out[z, 2], out[z, 3] = min(out[z, 2], sent), min(out[z, 3], air)
                shared += counts[a] * air
                out[z, 4] += counts[a] * joules
        if size[z] > 1:
            out[z, 1] = max(out[z, 1], shared)
        out[z, 5], out[z, 6] = 1.0 / leave, 1.0 / enter
    return out


@kernel
def group_reach(
    stride: IntArray, group: IntArray, free: FloatArray, state: FloatArray, kept: FloatArray, tied: float,
    hybrid: bool, micro: int, samples: int, farthest: int, out: npt.NDArray[np.int16],
) -> None:
    """Last end of a stage that begins at a layer and whose memory suffices, for the r-th place from the end.

    `out` (N, farthest + 1, Y); -1 where not one layer fits. `state` and `kept` are running sums (Y+1,) of bytes of
    states and of activations per sample, `free` (k, most) bytes of the members of a type, largest first.
    """
    k, layers = stride.size, state.size - 1
    counts = np.zeros(k, np.int64)
    before = -1
    for g in group:
        if g == before:
            continue
        before = g
        _counts(g, stride, counts)
        for place in range(1, farthest + 1):
            limit = min(micro, 2 * place - 1 if hybrid else place)
            end = 0
            for y0 in range(layers):
                end = max(end, y0)
                while end < layers:
                    states = state[end + 1] - state[y0] - (tied if y0 == 0 and end + 1 == layers else 0.0)
                    each = (kept[end + 1] - kept[y0]) * limit
                    total, fits = 0, True
                    for a in range(k):
                        for n in range(counts[a]):
                            room = free[a, n] - states
                            cap = 0
                            if each * samples <= room:
                                cap = samples
                            elif each <= room:
                                cap = int(room / each * (1.0 + 1e-9))
                            fits = fits and cap >= 1
                            total += cap
                    if not fits or total < samples:
                        break
                    end += 1
                out[g, place, y0] = end if end > y0 else -1
