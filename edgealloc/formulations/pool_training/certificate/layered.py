r"""Lower bounds for all pipelines at once: dynamic programming over suffixes of the pipeline (compiled).

A suffix is described by how many devices of every type it uses (a mixed-radix *code*; with one device per type a
subset), by the type of its first device (or "a group"), and by its first layer. It carries *labels* of five numbers,
each of which is a lower bound and can only make things worse when it rises, so that labels may be merged by their
componentwise minimum. With forward and backward pass :math:`t_s = f_s + b_s` of the new first stage, hand-overs
:math:`c, c'` to the suffix (occupancy and latency), M micro-batches and limits :math:`K`:

====  =====================================================  ==========================================================
H     time from the first forward pass of the suffix's       :math:`\max\{M t_s,\; t_s + c + c' + H,\; t_s + c + c' + R
      first stage to its last backward pass                  + (M-1)\,\mathrm{occ}, \text{windows}\}`
E     weighted energy beyond idling                          sum
R     round trip of one micro-batch                          :math:`t_s + c + c' + R`
X     hybrid, one common medium: all all-reduces             sum
      hybrid otherwise: end of pass and all-reduce           :math:`\max\{H + AR_s,\; f_s + c + X\}`
      pipeline: :math:`t` of the first stage
r     hybrid: number of stages
      pipeline: round trip of the first two stages
====  =====================================================  ==========================================================

*Windows.* Stage q works on backward j after forward :math:`j + K_q - 1`, and stage p on forward :math:`j + K_p` after
backward j. Going round stages p..q once takes the round trip D of that window and advances by :math:`L = K_p - K_q + 1`
micro-batches, so :math:`(K_q-1) t_p + n D + \rho \max(f_p, b_p)` with :math:`n = \lfloor (M-K_q)/L \rfloor + 1` and
:math:`\rho = M - K_q - (n-1) L` is a path of the schedule. Used are windows of two, three and all stages of the suffix.
All transfers of the suffix happen between the first forward and the last backward pass of its first stage, so on one
common medium their airtime is a bound, too; all-reduces follow all of them there.

None of this depends on the order in which media serve transfers, so it holds for every timetable.

What stands in front of a suffix adds at least its own round trips (H) and must be worked on by the devices that are
left; labels that cannot come below the target are dropped.

*Work in front.* The stages in front, with groups of at most b devices, hold
:math:`M t_p + \sum_{q<p} (t_q + c) \le T` and :math:`\sum (t_q + c) + H \le T`, where c is the least hand-over
there and back. The work they can do is largest if the fastest b devices come first, then the next b, each as busy as
the stages before it allow: with the :math:`t_q` sorted from the longest, the constraints still hold (of the k longest
take the one that comes last in the pipeline: its own constraint counts the others before it), the k longest belong to
at most kb devices, so their groups have at most the speed of the kb fastest (Abel summation), and every partial sum of
the :math:`t_q` is largest if all constraints are tight. Where that is less than the work in front of the suffix, no
plan with the label takes T or less.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel

__all__ = ["Tables", "sweep", "trace", "work_ahead"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: (codes, first stage's type, first layer, bucket, H E R X r)
Labels = npt.NDArray[np.float32]


#: Labels below this share of the largest time of interest are merged.
EASY: Final = 0.4


class Tables(NamedTuple):
    """What the kernels know of devices, groups and layers; every entry is optimistic for all that it stands for.

    k types, N codes, G options (a group and one trade-off of its shares), Y layers.
    """

    hybrid: bool
    micro: int  #: micro-batches
    samples: int  #: of a micro-batch
    number: IntArray  #: (k,) devices of a type
    stride: IntArray  #: (k,)
    speed: FloatArray  #: (k,) FLOP/s
    members: FloatArray  #: (k, most) FLOP/s of the members of a type, fastest first
    trip_s: float  #: least seconds of a hand-over there and back between any two stages
    idle: FloatArray  #: (k,) weighted idle power (1/s)
    forward: FloatArray  #: (Y+1,) running sum of FLOP per sample
    backward: FloatArray  #: (Y+1,)
    gradient: FloatArray  #: (Y+1,) bytes
    tied: float  #: bytes reduced in addition by a single stage
    tied_s: float  #: least seconds in which the first and the last of several stages reduce them at the end
    tied_j: float  #: least weighted joules of that
    group: IntArray  #: (G,) code, ascending
    unit_s: FloatArray  #: (G,) seconds of a micro-batch per FLOP per sample
    unit_j: FloatArray  #: (G,) weighted joules of an iteration per FLOP per sample
    size: IntArray  #: (N,) devices
    kind: IntArray  #: (N,) type of a single device, k otherwise
    egress_s: FloatArray  #: (N,) least seconds in which a group sends a micro-batch
    ingress_s: FloatArray  #: (N,)
    ring_latency: FloatArray  #: (N,) of a step
    ring_byte: FloatArray  #: (N,) seconds of a step per byte of the whole
    ring_joule: FloatArray  #: (N,) weighted joules per byte of the whole
    reach: npt.NDArray[np.int16]  #: (N, r, Y) last end of a stage that begins at a layer; r-th from the end
    occupancy: FloatArray  #: (k, k) seconds of a micro-batch from type to type
    air: FloatArray  #: (k, k) seconds of that on the common medium
    latency: FloatArray  #: (k, k)
    joules: FloatArray  #: (k, k) weighted, both ways, whole iteration
    air_least: float  #: seconds on the common medium of one hand-over of a micro-batch, both ways
    common: bool  #: all routes use one medium
    ranks: int  #: numbers of stages that labels are kept apart by; the last stands for all larger ones
    per_s: float  #: weight of time
    joule_flop: float  #: least weighted joules of an iteration per FLOP per sample


@kernel
def digits(t: Tables, code: int, out: IntArray) -> None:
    """Counts (k,) of a code."""
    for a in range(t.number.size - 1, -1, -1):
        out[a] = code // t.stride[a]
        code -= out[a] * t.stride[a]


@kernel
def link(
    t: Tables, g: int, inside: IntArray, rest: int, behind: IntArray, kind: int
) -> tuple[float, float, float, float, float]:
    """Least occupancy and latency from group g to a suffix, and back: (occ, occ back, latency, latency back, joules).

    Between single devices of known type this is exact. Otherwise at most g + g' - 1 messages carry the samples, so one
    carries its part of them; on a common medium they add up, and a device sends all through what its routes share.
    """
    k = t.number.size
    first = t.kind[g]
    if first < k and kind < k:
        return (t.occupancy[first, kind], t.occupancy[kind, first], t.latency[first, kind], t.latency[kind, first],
                t.joules[first, kind])
    over, back, late, late_back, joules, air, air_back = np.inf, np.inf, np.inf, np.inf, np.inf, np.inf, np.inf
    for a in range(k):
        if inside[a] == 0:
            continue
        for c in range(k):
            if behind[c] == 0 or (kind < k and c != kind):
                continue
            over, back = min(over, t.occupancy[a, c]), min(back, t.occupancy[c, a])
            late, late_back = min(late, t.latency[a, c]), min(late_back, t.latency[c, a])
            air, air_back = min(air, t.air[a, c]), min(air_back, t.air[c, a])
            joules = min(joules, t.joules[a, c])
    messages = t.size[g] + (1 if kind < k else min(t.size[rest], t.samples)) - 1
    part = math.ceil(t.samples / messages) / t.samples
    return (max(over * part, air, t.egress_s[g]), max(back * part, air_back, t.ingress_s[g]), late, late_back, joules)


@kernel
def window(micro: int, outer: int, inner: int, forward: float, backward: float, trip: float) -> float:
    """Going round a window of stages; see the module's text."""
    step = outer - inner + 1
    rounds = (micro - inner) // step + 1
    rest = micro - inner - (rounds - 1) * step
    return (inner - 1) * (forward + backward) + rounds * trip + rest * max(forward, backward)


@kernel
def extend(
    t: Tables, option: int, size: int, y0: int, y1: int, over: float, back: float, late: float, late_back: float,
    H: float, E: float, R: float, X: float, r: float, last: bool,
) -> tuple[float, float, float, float, float, float]:
    """Label (H, E, R, X, r) of a suffix with a stage of layers y0..y1-1 put in front, and the least T of any plan.

    `size` counts the devices of the longer suffix. A `last` stage has nothing behind it.
    """
    g = t.group[option]
    unit = t.unit_s[option]
    ahead, home = t.forward[y1] - t.forward[y0], t.backward[y1] - t.backward[y0]
    f, b = ahead * unit, home * unit
    both, micro = f + b, t.micro
    own = micro * both
    E += (ahead + home) * t.unit_j[option]
    reduce = 0.0
    if t.size[g] > 1:
        gradient = t.gradient[y1] - t.gradient[y0] + (t.tied if last and y0 == 0 else 0.0)
        if gradient > 0.0:
            reduce = 2.0 * (t.size[g] - 1) * (t.ring_latency[g] + gradient * t.ring_byte[g])
            E += gradient * t.ring_joule[g]
    if last:
        if y0 > 0:  # there will be other stages, and a table tied to the first of them
            E += t.tied_j
        if not t.hybrid:
            return own, E, both, both, np.inf, own
        return own, E, both, (reduce if t.common else own + reduce), 1.0, own + reduce
    trip = both + over + back + late + late_back
    round_trip = trip + R
    h = max(own, trip + H, round_trip + (micro - 1) * max(over, back))
    if not t.hybrid:
        limit = min(micro, size)
        h = max(h, window(micro, limit, 1, f, b, round_trip), t.air_least * (size - 1) * micro + both)
        h = max(h, window(micro, limit, min(micro, size - 1), f, b, trip + X))
        if size >= 3:
            h = max(h, window(micro, limit, min(micro, size - 2), f, b, trip + r))
        return h, E, round_trip, both, trip + X, h
    # where not all labels of a bucket have as many stages, the least over all numbers that they may have
    stages = int(r) + 1
    limit, most = min(micro, 2 * stages - 1), min(micro, 2 * size - 1)
    turn = window(micro, limit, 1, f, b, round_trip)
    if stages > t.ranks:
        for other in range(limit + 2, most + 2, 2):
            turn = min(turn, window(micro, min(other, most), 1, f, b, round_trip))
    h = max(h, turn)
    handed = t.air_least * r * micro
    h = max(h, handed + both)
    if t.common:
        x = X + reduce
        return h, E, round_trip, x, r + 1.0, max(h + reduce, max(f + over + late + H + back, f + handed) + x)
    # its own all-reduce follows its last backward pass
    x = max(h + reduce, f + over + late + X)
    return h, E, round_trip, x, r + 1.0, max(h, x)


@kernel
def blocks(t: Tables, every: IntArray, out: FloatArray) -> int:
    """Speeds of the devices that a multiset leaves, in blocks of as many as a group has, fastest first; how many."""
    rest = np.empty(t.number.sum())
    count = 0
    for a in range(t.number.size):
        for i in range(t.number[a] - every[a]):
            rest[count] = t.members[a, i]
            count += 1
    rest = np.sort(rest[:count])
    together = min(t.samples, count) if t.hybrid else 1
    found = 0
    for i in range(0, count, max(together, 1)):
        out[found] = 0.0
        for j in range(i, min(i + together, count)):
            out[found] += rest[count - 1 - j]
        found += 1
    return found


@kernel
def work_ahead(speeds: FloatArray, count: int, micro: int, trip: float, most_s: float, H: float) -> float:
    """Most work per micro-batch (FLOP) that stages in front of a suffix can do; see the module's text."""
    elapsed = work = 0.0
    for q in range(count):
        busy = min((most_s - elapsed) / micro, most_s - H - elapsed - trip)
        if busy <= 0.0:
            break
        work += busy * speeds[q]
        elapsed += busy + trip
    return work


@kernel
def lowered(value: float) -> float:
    """A little below `value`, so that its rounding to single precision is not above it."""
    return value * (1.0 - 1.2e-7) if value >= 0.0 else value * (1.0 + 1.2e-7)


@kernel
def put(
    t: Tables, labels: Labels, z: int, kind: int, y0: int, label: tuple[float, float, float, float, float, float],
    per_s: float, left: float, fastest: float, most_s: float, scale_s: float, target: float, ahead_speeds: FloatArray,
    stages: int,
) -> None:
    """Keep a label of a suffix that is no whole pipeline, unless it cannot come below the target."""
    H, E, R, X, r, T = label
    work = t.forward[y0] + t.backward[y0]
    if left <= 0.0:
        return
    head = work * t.samples / (left if t.hybrid else fastest)
    ahead = t.forward[y0] * t.samples / (left if t.hybrid else fastest)
    least = max(T + ahead, H + head, work * t.micro * t.samples / left)
    if least > most_s or per_s * least + E + work * t.joule_flop >= target:
        return
    buckets = labels.shape[3] // t.ranks
    j = max(min(int((T / scale_s - EASY) / (1.0 - EASY) * buckets), buckets - 1), 0)
    if t.hybrid:
        j += (min(int(r), t.ranks) - 1) * buckets
    one = labels[z, kind, y0, j]
    if one[0] <= H and one[1] <= E and one[2] <= R and one[3] <= X and one[4] <= r:
        return
    latest = min(most_s, (target - E - work * t.joule_flop) / per_s) if per_s > 0.0 else most_s
    if latest < np.inf and work_ahead(ahead_speeds, stages, t.micro, t.trip_s, latest * (1.0 + 1e-9), H) < (
        work * t.samples * (1.0 - 1e-9)
    ):
        return
    one[0] = min(one[0], lowered(H))
    one[1] = min(one[1], lowered(E))
    one[2] = min(one[2], lowered(R))
    one[3] = min(one[3], lowered(X))
    one[4] = min(one[4], r if t.hybrid else lowered(r))


@kernel
def merge(t: Tables, labels: Labels, z: int) -> None:
    """Labels of a finished code: those of any first stage (for groups in front), without what is dominated."""
    k, buckets = t.number.size, labels.shape[3]
    apart = buckets // t.ranks  # fewer stages are no better: less memory, but other windows
    for y in range(1, labels.shape[2]):
        if t.hybrid:
            for kind in range(k + 1):
                for j in range(buckets):
                    if labels[z, kind, y, j, 0] < np.inf:
                        for c in range(5):
                            labels[z, k + 1, y, j, c] = min(labels[z, k + 1, y, j, c], labels[z, kind, y, j, c])
        for kind in range(labels.shape[1]):
            for j in range(1, buckets):
                for i in range(j // apart * apart, j):
                    better = labels[z, kind, y, i, 0] < np.inf
                    for c in range(5):
                        better = better and labels[z, kind, y, i, c] <= labels[z, kind, y, j, c]
                    if better:
                        labels[z, kind, y, j, 0] = np.inf
                        break


@kernel
def sweep(
    t: Tables, labels: Labels, codes: IntArray, most_s: float, scale_s: float, target: float, root: FloatArray,
    how: IntArray,
) -> None:
    """Labels of some codes from those with fewer devices; `root` (N,) is the least objective that uses just a code.

    Codes with as many devices do not depend on each other.

    Parameters
    ----------
    labels : (N, k or k + 2, Y, ranks x buckets, 5), inf where there is none yet
    most_s : float
        Plans that take longer are of no interest; inf for no such limit.
    scale_s : float
        H above which all labels share a bucket.
    target : float
        Plans that cost as much or more are of no interest.
    root : (N,), inf at first
    how : (N, 4)
        First stage of the root's label: option, end, type behind it, bucket.
    """
    k, layers, buckets = t.number.size, t.forward.size - 1, labels.shape[3]
    farthest = t.reach.shape[1] - 1
    every, inside, behind = np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(k, np.int64)
    ahead_speeds = np.empty(t.number.sum() + 1)
    for z in codes:
        digits(t, z, every)
        per_s, left, fastest = t.per_s, 0.0, 0.0
        for a in range(k):
            per_s += every[a] * t.idle[a]
            if every[a] < t.number[a]:
                fastest = max(fastest, t.speed[a])
        stages = blocks(t, every, ahead_speeds)
        for q in range(stages):
            left += ahead_speeds[q] * (1.0 + 1e-9)
        for option in range(t.group.size):
            g = t.group[option]
            if g > z:
                break
            digits(t, g, inside)
            fits = True
            for a in range(k):
                behind[a] = every[a] - inside[a]
                fits = fits and behind[a] >= 0
            if not fits:
                continue
            rest, own_kind = z - g, t.kind[g]
            if rest == 0:
                for y0 in range(layers if fastest > 0.0 else 1):
                    if t.reach[g, 1, y0] >= layers:
                        label = extend(t, option, t.size[g], y0, layers, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                                       True)
                        if y0 > 0:
                            put(t, labels, z, own_kind, y0, label, per_s, left, fastest, most_s, scale_s, target,
                                ahead_speeds, stages)
                        elif label[5] <= most_s and per_s * label[5] + label[1] < root[z]:
                            root[z] = per_s * label[5] + label[1]
                            how[z, 0], how[z, 1], how[z, 2], how[z, 3] = option, layers, -1, -1
                continue
            # a group takes the labels of what is behind it merged over what comes first there
            begin = k + 1 if own_kind == k else 0
            stop = k if not t.hybrid else (k + 2 if own_kind == k else k + 1)
            for kind in range(begin, stop):
                if kind < k and behind[kind] == 0:
                    continue
                over, back, late, late_back, joules = link(t, g, inside, rest, behind, kind)
                for y1 in range(1, layers):
                    for j in range(buckets):
                        one = labels[rest, kind, y1, j]
                        if one[0] == np.inf:
                            continue
                        place = min(int(one[4]) + 1 if t.hybrid else t.size[z], farthest)
                        for y0 in range(y1 - 1 if fastest > 0.0 else 0, -1, -1):
                            work = t.forward[y1] - t.forward[y0] + t.backward[y1] - t.backward[y0]
                            if t.micro * t.unit_s[option] * work > most_s or t.reach[g, place, y0] < y1:
                                break
                            label = extend(t, option, t.size[z], y0, y1, over, back, late, late_back, one[0],
                                           one[1] + joules, one[2], one[3], one[4], False)
                            if label[5] > most_s:
                                break
                            if y0 > 0:
                                put(t, labels, z, own_kind, y0, label, per_s, left, fastest, most_s, scale_s, target,
                                ahead_speeds, stages)
                                continue
                            # the tied table follows the last pass of the first stage, and all else on one medium
                            least = max(label[5] + (t.tied_s if t.common else 0.0), label[0] + t.tied_s)
                            if least <= most_s and per_s * least + label[1] < root[z]:
                                root[z] = per_s * least + label[1]
                                how[z, 0], how[z, 1], how[z, 2], how[z, 3] = option, y1, kind, j
        merge(t, labels, z)


@kernel
def trace(t: Tables, labels: Labels, z: int, how: IntArray, stages: IntArray) -> int:
    """Stages (option, first layer, end) of a pipeline whose labels lead to the root label of z; how many, 0: none.

    Merged labels have no pipeline of their own: at every step the one that exceeds the label least is followed.
    """
    k, layers, buckets = t.number.size, t.forward.size - 1, labels.shape[3]
    farthest = t.reach.shape[1] - 1
    every, inside, behind = np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(k, np.int64)
    option, y1, kind, j = how[z, 0], how[z, 1], how[z, 2], how[z, 3]
    stages[0, 0], stages[0, 1], stages[0, 2] = option, 0, y1
    count = 1
    rest = z - t.group[option]
    while rest > 0:
        digits(t, rest, every)
        aim = labels[rest, kind, y1, j]
        least, best_option, best_end, best_kind, best_j = np.inf, -1, -1, -1, -1
        for option in range(t.group.size):
            g = t.group[option]
            if g > rest:
                break
            own_kind = t.kind[g]
            if kind <= k and own_kind != kind:
                continue
            digits(t, g, inside)
            fits = True
            for a in range(k):
                behind[a] = every[a] - inside[a]
                fits = fits and behind[a] >= 0
            if not fits:
                continue
            left = rest - g
            begin = k + 1 if own_kind == k else 0
            stop = k if not t.hybrid else (k + 2 if own_kind == k else k + 1)
            for other in range(begin if left > 0 else 0, stop if left > 0 else 1):
                if left > 0 and other < k and behind[other] == 0:
                    continue
                over, back, late, late_back, joules = 0.0, 0.0, 0.0, 0.0, 0.0
                if left > 0:
                    over, back, late, late_back, joules = link(t, g, inside, left, behind, other)
                for end in range(y1 + 1, layers + 1):
                    if (left == 0) != (end == layers):
                        continue
                    for i in range(buckets if left > 0 else 1):
                        H, E, R, X, r = 0.0, 0.0, 0.0, 0.0, 0.0
                        if left > 0:
                            one = labels[left, other, end, i]
                            if one[0] == np.inf:
                                continue
                            H, E, R, X, r = one[0], one[1] + joules, one[2], one[3], one[4]
                        place = min(int(r) + 1 if t.hybrid or left == 0 else t.size[rest], farthest)
                        if t.reach[g, place, y1] < end:
                            continue
                        label = extend(t, option, t.size[rest], y1, end, over, back, late, late_back, H, E, R, X, r,
                                       left == 0)
                        excess = max(label[0] / aim[0] - 1.0, 0.0)
                        if aim[1] > 0.0:
                            excess += max(label[1] / aim[1] - 1.0, 0.0)
                        if t.hybrid and aim[3] > 0.0:
                            excess += max(label[3] / aim[3] - 1.0, 0.0)
                        if excess < least:
                            least, best_option, best_end, best_kind, best_j = excess, option, end, other, i
        if best_option < 0:
            return 0
        stages[count, 0], stages[count, 1], stages[count, 2] = best_option, y1, best_end
        count += 1
        rest -= t.group[best_option]
        y1, kind, j = best_end, best_kind, best_j
    return count if y1 == layers else 0
