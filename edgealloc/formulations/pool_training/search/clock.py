"""The time of a pipeline in the best of its timetables (compiled): `timetables` and `schedule` without their events.

A timetable and the times in it are worked out in one go: the order in which operations begin hangs on ticks alone, and
an operation's time on those that began before it. Working a timetable out ends as soon as it is sure to be too late.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel

__all__ = ["Clock", "fastest", "new_clock"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).max
#: Times are sums in one order here and in another there: only what is later by more than this share is given up.
SURE: Final = 1.0 + 1e-9


#: Rows of `Clock.seconds`: passes of a micro-batch; end of the last one begun; those not yet begun; the least from the
#: last pass of a stage to the end.
FORWARD, BACKWARD, FREE, LEFT, TAIL = range(5)
#: Rows of `Clock.counts`: passes in ticks, for the timetables; micro-batches in flight; passes begun; tick at which the
#: pass ends; micro-batches that have come for forward and for backward passes.
AHEAD, HOME, LIMIT, AT, ENDS, HERE = range(6)
#: Rows of `Clock.hops`: hand-overs; all-reduces in their order.
OCCUPANCY, LATENCY, REDUCE = range(3)
#: Rows of `Clock.lists`: where the media of a hand-over and those of an all-reduce begin; stage whose gradients an
#: all-reduce sums (-1: the tied table, after first and last stage); tick at which a hand-over ends.
FIRST_MEDIUM, FIRST_OF_RING, REDUCER, ARRIVES = range(4)
#: Rows of `Clock.media`: end of the last transfer begun, seconds of all transfers, those not yet begun, 1 if in use.
BUSY, LOAD, DUE, HELD = range(4)


class Clock(NamedTuple):
    """What `fastest` reads and where it reckons, for at most S stages, X all-reduces or hand-overs and K media.

    Hand-over h < S - 1 is that of activations from stage h to the next; hand-over S - 1 + p is that of gradients from
    stage p + 1 to stage p, with the S that the pipeline has. Few arrays, because every one makes compiling slower.
    """

    seconds: FloatArray  #: (5, S)
    counts: IntArray  #: (7, S)
    hops: FloatArray  #: (3, X)
    lists: IntArray  #: (4, X + 1)
    entries: IntArray  #: (2, .) media of hand-overs, and of all-reduces
    media: FloatArray  #: (4, K)
    waits: IntArray  #: (2 S Mb, 3) waiting hand-overs: since when, 2 x stage + (0 forward or 1 back), micro-batch
    ends: FloatArray  #: (4, S, Mb) ends of forward and backward passes, of hand-overs forward and back


def new_clock(stages: int, micro: int, media: int, entries: int) -> Clock:
    """Room for pipelines of at most so many stages, media, and entries in their lists of media."""
    most = 2 * stages
    return Clock(
        np.zeros((5, stages)), np.zeros((7, stages), dtype=np.int64), np.zeros((3, most)),
        np.zeros((4, most + 1), dtype=np.int64), np.zeros((2, entries), dtype=np.int64), np.zeros((4, media)),
        np.zeros((2 * stages * micro, 3), dtype=np.int64), np.zeros((4, stages, micro)))


@kernel
def turn(k: int, limit: int, micro: int) -> tuple[int, int]:
    """The k-th pass of a stage: (0 forward or 1 backward, micro-batch)."""
    if k < limit:
        return 0, k
    j = k - limit
    pairs = micro - limit
    if j < 2 * pairs:
        return (1, j // 2) if j % 2 == 0 else (0, limit + j // 2)
    return 1, j - pairs


@kernel
def _start(c: Clock, stages: int, micro: int, media: int) -> None:
    """Nothing has begun."""
    for p in range(stages):
        c.counts[AT, p], c.counts[ENDS, p], c.counts[HERE, p], c.counts[HERE + 1, p] = 0, NEVER, 0, 0
        c.seconds[FREE, p], c.seconds[LEFT, p] = 0.0, micro * (c.seconds[FORWARD, p] + c.seconds[BACKWARD, p])
    c.counts[HERE, 0] = micro
    for h in range(2 * (stages - 1)):
        c.lists[ARRIVES, h] = NEVER
    for k in range(media):
        c.media[HELD, k], c.media[BUSY, k], c.media[DUE, k] = 0.0, 0.0, c.media[LOAD, k]


@kernel
def _timetable(c: Clock, stages: int, micro: int, hand_over: int, latest: float) -> bool:
    """All passes and hand-overs in the order in which they begin if a hand-over takes so many ticks.

    Ties go to the lower stage, then to activations, then to the earlier micro-batch. False if it is sure that the
    iteration ends after `latest`.
    """
    hops = 2 * (stages - 1)
    waiting = 0
    now = 0
    while True:
        for p in range(stages):
            if c.counts[ENDS, p] != NEVER or c.counts[AT, p] == 2 * micro:
                continue
            what, m = turn(c.counts[AT, p], c.counts[LIMIT, p], micro)
            if c.counts[HERE + what, p] <= m:
                continue
            ready = 0.0
            if what == 0:
                c.counts[ENDS, p] = now + c.counts[AHEAD, p]
                if p > 0:
                    ready = c.ends[2, p, m]
                took = c.seconds[FORWARD, p]
            else:
                c.counts[ENDS, p] = now + c.counts[HOME, p]
                ready = c.ends[3, p, m] if p + 1 < stages else c.ends[0, p, m]
                took = c.seconds[BACKWARD, p]
            c.seconds[FREE, p] = max(c.seconds[FREE, p], ready) + took
            c.ends[what, p, m] = c.seconds[FREE, p]
            c.seconds[LEFT, p] -= took
            if c.seconds[FREE, p] + c.seconds[LEFT, p] + c.seconds[TAIL, p] > latest:
                return False
        kept = 0
        for w in range(waiting):
            sender, back, m = c.waits[w, 1] // 2, c.waits[w, 1] % 2, c.waits[w, 2]
            h = stages - 2 + sender if back else sender
            idle = True
            for e in range(c.lists[FIRST_MEDIUM, h], c.lists[FIRST_MEDIUM, h + 1]):
                idle = idle and c.media[HELD, c.entries[0, e]] == 0.0
            if not idle:
                for column in range(3):
                    c.waits[kept, column] = c.waits[w, column]
                kept += 1
                continue
            start = c.ends[back, sender, m]
            for e in range(c.lists[FIRST_MEDIUM, h], c.lists[FIRST_MEDIUM, h + 1]):
                c.media[HELD, c.entries[0, e]] = 1.0
                start = max(start, c.media[BUSY, c.entries[0, e]])
            end = start + c.hops[OCCUPANCY, h]
            for e in range(c.lists[FIRST_MEDIUM, h], c.lists[FIRST_MEDIUM, h + 1]):
                k = c.entries[0, e]
                c.media[BUSY, k] = end
                c.media[DUE, k] -= c.hops[OCCUPANCY, h]
                if end + c.media[DUE, k] > latest:
                    return False
            c.ends[2 + back, sender - 1 if back else sender + 1, m] = end + c.hops[LATENCY, h]
            c.lists[ARRIVES, h] = now + hand_over
        waiting = kept
        now = NEVER
        for p in range(stages):
            now = min(now, c.counts[ENDS, p])
        for h in range(hops):
            now = min(now, c.lists[ARRIVES, h])
        if now == NEVER:
            return True
        for h in range(hops):
            if c.lists[ARRIVES, h] == now:
                c.lists[ARRIVES, h] = NEVER
                for e in range(c.lists[FIRST_MEDIUM, h], c.lists[FIRST_MEDIUM, h + 1]):
                    c.media[HELD, c.entries[0, e]] = 0.0
                if h < stages - 1:
                    c.counts[HERE, h + 1] += 1
                else:
                    c.counts[HERE + 1, h - stages + 1] += 1
        for p in range(stages):
            if c.counts[ENDS, p] != now:
                continue
            what, m = turn(c.counts[AT, p], c.counts[LIMIT, p], micro)
            c.counts[ENDS, p] = NEVER
            c.counts[AT, p] += 1
            if what == 0 and p == stages - 1:
                c.counts[HERE + 1, p] += 1
            elif what == 0 or p > 0:
                # those of one moment by stage, activations first
                w, key = waiting, 2 * p + what
                while w > 0 and c.waits[w - 1, 0] == now and c.waits[w - 1, 1] > key:
                    for column in range(3):
                        c.waits[w, column] = c.waits[w - 1, column]
                    w -= 1
                c.waits[w, 0], c.waits[w, 1], c.waits[w, 2] = now, key, m
                waiting += 1


@kernel
def _end(c: Clock, stages: int, reduces: int) -> float:
    """Time of the iteration with its all-reduces, when all else has begun."""
    time = 0.0
    for p in range(stages):
        time = max(time, c.seconds[FREE, p])
    for a in range(reduces):
        p = c.lists[REDUCER, a]
        start = c.seconds[FREE, p] if p >= 0 else max(c.seconds[FREE, 0], c.seconds[FREE, stages - 1])
        for e in range(c.lists[FIRST_OF_RING, a], c.lists[FIRST_OF_RING, a + 1]):
            start = max(start, c.media[BUSY, c.entries[1, e]])
        end = start + c.hops[REDUCE, a]
        for e in range(c.lists[FIRST_OF_RING, a], c.lists[FIRST_OF_RING, a + 1]):
            c.media[BUSY, c.entries[1, e]] = end
        if p >= 0:
            c.seconds[FREE, p] = end
        time = max(time, end)
    return time


@kernel
def fastest(
    c: Clock, stages: int, micro: int, reduces: int, media: int, hand_over: IntArray, latest: float
) -> tuple[float, int]:
    """Time of an iteration (s) in the best of its timetables, and which; inf if it is later than `latest`.

    Parameters
    ----------
    c : Clock
        With everything filled in that describes the pipeline.
    stages, micro, reduces, media : int
        How many there are.
    hand_over : (R,)
        Ticks of a hand-over that timetables are drawn up for.
    latest : float
        Seconds.
    """
    for k in range(media):
        c.media[LOAD, k] = 0.0
    for h in range(2 * (stages - 1)):
        for e in range(c.lists[FIRST_MEDIUM, h], c.lists[FIRST_MEDIUM, h + 1]):
            c.media[LOAD, c.entries[0, e]] += micro * c.hops[OCCUPANCY, h]
    for p in range(stages):
        c.seconds[TAIL, p] = 0.0
    for a in range(reduces):
        if c.lists[REDUCER, a] >= 0:
            c.seconds[TAIL, c.lists[REDUCER, a]] = c.hops[REDUCE, a]
        for e in range(c.lists[FIRST_OF_RING, a], c.lists[FIRST_OF_RING, a + 1]):
            c.media[LOAD, c.entries[1, e]] += c.hops[REDUCE, a]
    for p in range(1, stages):
        h = stages - 2 + p
        home = c.hops[OCCUPANCY, h] + c.hops[LATENCY, h] + c.seconds[BACKWARD, p - 1]
        c.seconds[TAIL, p] = max(c.seconds[TAIL, p], home + c.seconds[TAIL, p - 1])
    for k in range(media):
        if c.media[LOAD, k] > SURE * latest:
            return np.inf, -1
    best, which = np.inf, -1
    for one in range(hand_over.size):
        _start(c, stages, micro, media)
        if _timetable(c, stages, micro, hand_over[one], SURE * min(latest, best)):
            time = _end(c, stages, reduces)
            if time < best:
                best, which = time, one
    return best if best <= latest else np.inf, which
