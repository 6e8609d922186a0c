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
micro-batches; in between stage p can be followed through whole micro-batches. Paths of the schedule with n turns take
:math:`n D + (M - 1 - (n-1) L)\, t_p` for :math:`2 \le n \le \lfloor (M-K_q)/L \rfloor + 1` (the first turn begins with
forward :math:`K_q - 1`, the last ends with backward :math:`M - K_q`, and what is left of the M - 1 other micro-batches
is worked on between two turns, before and after) and :math:`D + (M - L)\, t_p + (L - 1) \max(f_p, b_p)` for one (a
first turn waits for no backward pass and is followed by all but one; a last one the other way round). Of the paths with
two or more only the fewest and the most turns can be longest. Used are windows of two, three and all stages of the
suffix.

All transfers of the suffix happen between the first forward and the last backward pass of its first stage, so on one
common medium their airtime is a bound, too; all-reduces follow all of them there, also the last gradients that the
first stage waits for: these end a path of windows of all stages but for its last backward pass.

None of this depends on the order in which media serve transfers, so it holds for every timetable.

Labels are put into buckets of H, evenly between what the devices of the suffix need at least for its layers and what
the best front allows (`fronts`); hybrid ones with few stages are kept apart by r. A label is dropped if no front can
complete it to a plan below the target.

*Work in front* (`work_ahead`, for `pipelines.fluid_bound`). Stages with groups of at most b devices in front of a
suffix of H seconds hold :math:`M t_p + \sum_{q<p} (t_q + c) \le T` and :math:`\sum (t_q + c) + H \le T`, where c is
the least hand-over there and back. The work they can do is largest if the fastest b devices come first, then the next
b, each as busy as the stages before it allow: sort the :math:`t_q` from the longest: the constraints still hold (of
the k longest take the one that comes last in the pipeline: its own constraint counts the others before it), the k
longest belong to at most kb devices, so their groups have at most the speed of the kb fastest (Abel summation), and
every partial sum of the :math:`t_q` is largest if all constraints are tight.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel

__all__ = ["Tables", "digits", "link", "lowered", "sweep", "work_ahead"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
SingleArray = npt.NDArray[np.float32]
#: (n, 5) of H E R X r
Labels = npt.NDArray[np.float32]


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
    packed: IntArray  #: (N,) counts of a code in fields of bits, each with one to spare
    guard: int  #: the bits to spare
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
def lowered(value: float) -> float:
    """A little below `value`, so that its rounding to single precision is not above it."""
    return value * (1.0 - 1.2e-7) if value >= 0.0 else value * (1.0 + 1.2e-7)


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
def steps(micro: int, outer: int, inner: int) -> tuple[int, int]:
    """Micro-batches by which a turn of a window of stages advances, and most turns; see the module's text."""
    step = outer - inner + 1
    return step, (micro - inner) // step + 1


@kernel
def turning(micro: int, step: int, most: int, both: float, longest: float, trip: float) -> float:
    """Least time of a window of stages whose round trip is `trip`; see the module's text."""
    time = trip + (micro - step) * both + (step - 1) * longest
    if most >= 2:
        time = max(time, 2.0 * trip + (micro - 1 - step) * both)
        time = max(time, most * trip + (micro - 1 - (most - 1) * step) * both)
    return time


@kernel
def keep(
    scratch: FloatArray, source: IntArray, at: int, option: int, end: int, before: int,
    H: float, E: float, R: float, X: float, r: float,
) -> None:
    """Merge a label into its bucket; the bucket remembers where its least H comes from."""
    one = scratch[at]
    if one[0] > H:
        one[0] = H
        source[at, 0], source[at, 1], source[at, 2] = option, end, before
    one[1], one[2], one[3], one[4] = min(one[1], E), min(one[2], R), min(one[3], X), min(one[4], r)


@kernel
def hopeful(
    front_s: SingleArray, front_a: SingleArray, front_j: SingleArray, cells: FloatArray, c: int, kind: int, y0: int,
    H: float, E: float, T: float, per_s: float, target: float,
) -> bool:
    """Whether some front in some cell of times may complete a label to a plan below the target."""
    for i in range(cells.shape[0]):
        ready = H + front_s[i, c, kind, y0]
        if ready <= cells[i, 1]:
            least = max(T + front_a[i, c, y0], ready, cells[i, 0])
            if least <= cells[i, 1] and per_s * least + E + front_j[i, c, y0] < target:
                return True
    return False


@kernel
def sweep(
    t: Tables, values: Labels, starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32], codes: IntArray,
    cells: FloatArray, front_s: SingleArray, front_a: SingleArray, front_j: SingleArray, apart: int, most_s: float,
    target: float, root: FloatArray, how: IntArray,
) -> tuple[Labels, npt.NDArray[np.int32]]:
    """Labels of some codes from those with fewer devices; `root` (N,) is the least objective that uses just a code.

    Codes with as many devices do not depend on each other.

    Parameters
    ----------
    values : (L, 5)
        Labels of codes with fewer devices.
    starts, ends : (N, k or k + 2, Y)
        Where the labels of a state are; of `codes` it is set to where they are in the result.
    cells : (C, 2)
        Intervals of the time of an iteration; together all that is of interest.
    front_s, front_a, front_j : (C, N, k + 1, Y), (C, N, Y) and (C, N, Y)
        See `fronts`.
    apart : int
        Buckets of H in every state.
    most_s : float
        Plans that take longer are of no interest; inf for no such limit.
    target : float
        Plans that cost as much or more are of no interest.
    root : (N,), inf at first
    how : (N, 3)
        First stage of the root's label: option, end, label behind it (-1: none).

    Returns
    -------
    labels : (n, 5), and where the least H of each comes from (n, 3): like `how`.
    """
    k, layers, micro, samples, hybrid = t.number.size, t.forward.size - 1, t.micro, t.samples, t.hybrid
    group, unit_s, unit_j, size, kinds, reach = t.group, t.unit_s, t.unit_j, t.size, t.kind, t.reach
    packed, guard, gradient, common, ranks, air_least = t.packed, t.guard, t.gradient, t.common, t.ranks, t.air_least
    forward, backward = t.forward, t.backward
    work = forward + backward
    farthest = reach.shape[1] - 1
    classes = starts.shape[1]
    buckets = ranks * apart
    every, inside, behind = np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(k, np.int64)
    scratch = np.empty((classes * layers * buckets, 5))
    source = np.empty((classes * layers * buckets, 3), np.int64)
    high, low, scale = np.empty((k + 1, layers)), np.empty(layers), np.empty((k + 1, layers))
    out, origin = np.empty((1024, 5), np.float32), np.empty((1024, 3), np.int32)
    count = 0
    whole = size.size - 1
    # windows of all stages, by the number of stages (from (M + 1)/2 on the limit is M)
    step, most = np.zeros(micro + 2, np.int64), np.zeros(micro + 2, np.int64)
    for stages in range(2, micro + 2):
        step[stages], most[stages] = steps(micro, min(micro, 2 * stages - 1), 1)
    for z in codes:
        digits(t, z, every)
        c = whole - z
        per_s, speed = t.per_s, 0.0
        for a in range(k):
            per_s += every[a] * t.idle[a]
            for i in range(every[a]):
                speed += t.members[a, i]
        for y in range(1, layers):
            low[y] = (work[layers] - work[y]) * micro * samples / speed * (1.0 - 1e-9)
            for kind in range(k + 1):
                high[kind, y] = 0.0
                if kind < k and every[kind] == 0:
                    continue
                for i in range(cells.shape[0]):
                    room = cells[i, 1] - front_s[i, c, kind, y]
                    if room > high[kind, y] and per_s * cells[i, 0] + front_j[i, c, y] + (
                        work[layers] - work[y]
                    ) * t.joule_flop * (1.0 - 1e-9) < target:
                        high[kind, y] = room
                scale[kind, y] = apart / (high[kind, y] - low[y]) if low[y] < high[kind, y] < np.inf else 0.0
        scratch[:, 0] = np.inf
        scratch[:, 1:] = np.inf
        step_all = step_two = step_three = most_all = most_two = most_three = 0
        if not hybrid:
            limit = min(micro, size[z])
            step_all, most_all = steps(micro, limit, 1)
            if size[z] >= 2:
                step_two, most_two = steps(micro, limit, min(micro, size[z] - 1))
            if size[z] >= 3:
                step_three, most_three = steps(micro, limit, min(micro, size[z] - 2))
        front = c > 0
        for option in range(group.size):
            g = group[option]
            if g > z:
                break
            if ((packed[z] | guard) - packed[g]) & guard != guard:
                continue
            rest, own_kind, unit, joule = z - g, kinds[g], unit_s[option], unit_j[option]
            if rest > 0 and ends[rest, classes - 1, layers - 1] == starts[rest, 0, 1]:
                continue
            digits(t, g, inside)
            ring_s = ring_byte = ring_joule = 0.0
            many = size[g] > 1
            if many:
                ring_s = 2.0 * (size[g] - 1) * t.ring_latency[g]
                ring_byte, ring_joule = 2.0 * (size[g] - 1) * t.ring_byte[g], t.ring_joule[g]
            if rest == 0:
                for y0 in range(layers if front else 1):
                    if reach[g, 1, y0] < layers:
                        continue
                    own = (work[layers] - work[y0]) * unit
                    E = (work[layers] - work[y0]) * joule + (t.tied_j if y0 > 0 else 0.0)
                    reduce = 0.0
                    if many:
                        bytes_ = gradient[layers] - gradient[y0] + (t.tied if y0 == 0 else 0.0)
                        if bytes_ > 0.0:
                            reduce = ring_s + bytes_ * ring_byte
                            E += bytes_ * ring_joule
                    H = micro * own
                    if y0 == 0:
                        total = per_s * (H + reduce) + E
                        if H + reduce <= most_s and total < root[z]:
                            root[z] = total
                            how[z, 0], how[z, 1], how[z, 2] = option, layers, -1
                        continue
                    if high[own_kind, y0] < H or not hopeful(front_s, front_a, front_j, cells, c, own_kind, y0, H, E,
                                                             H + reduce, per_s, target):
                        continue
                    X = (reduce if common else H + reduce) if hybrid else own
                    at = max(min(int((H - low[y0]) * scale[own_kind, y0]), apart - 1), 0)
                    at += (own_kind * layers + y0) * buckets
                    if hybrid:
                        keep(scratch, source, at, option, layers, -1, H, E, own, X, 1.0)
                    else:
                        keep(scratch, source, at, option, layers, -1, H, E, own, X, np.inf)
                continue
            for a in range(k):
                behind[a] = every[a] - inside[a]
            # a group takes the labels of what is behind it merged over what comes first there
            begin = k + 1 if own_kind == k else 0
            stop = k if not hybrid else (k + 2 if own_kind == k else k + 1)
            for kind in range(begin, stop):
                if kind < k and behind[kind] == 0:
                    continue
                if ends[rest, kind, layers - 1] == starts[rest, kind, 1]:
                    continue
                over, back, late, late_back, joules = link(t, g, inside, rest, behind, kind)
                hop, busy = over + back + late + late_back, (micro - 1) * max(over, back)
                there, home = over + late, back
                for y1 in range(1, layers):
                    for label in range(starts[rest, kind, y1], ends[rest, kind, y1]):
                        H1, E1, R1 = values[label, 0] + hop, values[label, 1] + joules, values[label, 2] + hop
                        X1, r1 = values[label, 3], values[label, 4]
                        place = min(int(r1) + 1 if hybrid else size[z], farthest)
                        stages = int(r1) + 1 if hybrid else 0
                        handed = air_least * (r1 * micro if hybrid else (size[z] - 1) * micro)
                        rank = (min(stages, ranks) - 1) * apart if hybrid else 0
                        for y0 in range(y1 - 1, -1, -1):
                            if y0 > 0 and not front:
                                continue
                            done = work[y1] - work[y0]
                            both = done * unit
                            own = micro * both
                            if own > most_s or reach[g, place, y0] < y1:
                                break
                            trip = both + R1
                            h = max(own, both + H1, trip + busy, handed + both)
                            f = (forward[y1] - forward[y0]) * unit
                            longest = max(f, both - f)
                            if hybrid:
                                q = min(stages, micro + 1)
                                turn = turning(micro, step[q], most[q], both, longest, trip)
                                if stages > ranks:
                                    for other in range(q + 1, min(size[z], micro + 1) + 1):
                                        turn = min(turn, turning(micro, step[other], most[other], both, longest, trip))
                            else:
                                turn = turning(micro, step_all, most_all, both, longest, trip)
                                turn = max(turn, turning(micro, step_two, most_two, both, longest, both + hop + X1))
                                if size[z] >= 3:
                                    turn = max(turn, turning(micro, step_three, most_three, both, longest,
                                                             both + hop + r1))
                            h = max(h, turn)
                            if h > most_s:
                                break
                            if y0 > 0 and h > high[own_kind, y0]:
                                continue
                            E = E1 + done * joule
                            reduce = 0.0
                            if many:
                                bytes_ = gradient[y1] - gradient[y0]
                                if bytes_ > 0.0:
                                    reduce = ring_s + bytes_ * ring_byte
                                    E += bytes_ * ring_joule
                            T, X, r = h, both, both + hop + X1
                            if hybrid:
                                r = r1 + 1.0
                                if common:
                                    X = X1 + reduce
                                    last = max(f + there + H1 - hop + home, f + handed)
                                    if stages <= ranks:
                                        sent = trip + (micro - 1) * f + (micro - step[q]) * (both - f)
                                        if most[q] >= 2:
                                            sent = max(sent, 2.0 * trip + (micro - 1 - step[q]) * both)
                                            sent = max(sent, most[q] * trip + (
                                                micro - 1 - (most[q] - 1) * step[q]) * both)
                                        last = max(last, sent - (both - f) - late_back)
                                    T = max(h + reduce, last + X)
                                else:  # its own all-reduce follows its last backward pass
                                    X = max(h + reduce, f + there + X1)
                                    T = max(h, X)
                            if most_s < T:
                                break
                            if y0 > 0:
                                if hopeful(front_s, front_a, front_j, cells, c, own_kind, y0, h, E, T, per_s, target):
                                    at = max(min(int((h - low[y0]) * scale[own_kind, y0]), apart - 1), 0) + rank
                                    at += (own_kind * layers + y0) * buckets
                                    keep(scratch, source, at, option, y1, label, h, E, trip, X, r)
                                continue
                            # the tied table follows the last pass of the first stage, and all else on one medium
                            least = max(T + (t.tied_s if common else 0.0), h + t.tied_s)
                            if least <= most_s and per_s * least + E < root[z]:
                                root[z] = per_s * least + E
                                how[z, 0], how[z, 1], how[z, 2] = option, y1, label
        # labels of any first stage, for groups in front; then all without what is dominated
        if hybrid:
            for y in range(1, layers):
                for kind in range(k + 1):
                    for j in range(buckets):
                        at, into = (kind * layers + y) * buckets + j, ((k + 1) * layers + y) * buckets + j
                        one = scratch[at]
                        if one[0] < np.inf:
                            keep(scratch, source, into, source[at, 0], source[at, 1], source[at, 2], one[0], one[1],
                                 one[2], one[3], one[4])
        for kind in range(classes):
            starts[z, kind, 0] = ends[z, kind, 0] = count
            for y in range(1, layers):
                starts[z, kind, y] = count
                base = (kind * layers + y) * buckets
                for j in range(buckets):
                    one = scratch[base + j]
                    if one[0] == np.inf:
                        continue
                    better = False
                    for i in range(j // apart * apart, j):
                        other = scratch[base + i]
                        if other[0] <= one[0] and other[1] <= one[1] and other[2] <= one[2] and other[3] <= one[3] and (
                                other[4] <= one[4]):
                            better = True
                            break
                    if better:
                        one[0] = np.inf
                        continue
                    if count == out.shape[0]:
                        out, origin = np.concatenate((out, out)), np.concatenate((origin, origin))
                    for i in range(4):
                        out[count, i] = lowered(one[i])
                    out[count, 4] = one[4] if hybrid else lowered(one[4])
                    for i in range(3):
                        origin[count, i] = source[base + j, i]
                    count += 1
                ends[z, kind, y] = count
    return out[:count].copy(), origin[:count].copy()
