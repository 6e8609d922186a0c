"""The time of a pipeline in the best of its timetables (compiled): `timetables` and `schedule` without their events."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel

__all__ = ["pipeline_seconds"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).max


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
def first_come(
    forward: IntArray, backward: IntArray, limits: IntArray, micro: int, first: IntArray, media: IntArray,
    hand_over: int, held: npt.NDArray[np.bool_], order: IntArray,
) -> None:
    """Fill `order` (n, 3) with the operations in the order in which they begin; see `timetables`."""
    stages = forward.size
    at, ends = np.zeros(stages, np.int64), np.full(stages, NEVER)
    here = np.zeros((2, stages, micro), np.bool_)
    here[0, 0, :] = True
    sends = max(2 * (stages - 1), 1)
    arrives, carried = np.full(sends, NEVER), np.zeros(sends, np.int64)
    since, who = np.empty(2 * stages * micro, np.int64), np.empty((2 * stages * micro, 3), np.int64)
    waiting = begun = 0
    now = 0
    held[:] = False
    while True:
        for p in range(stages):
            if ends[p] == NEVER and at[p] < 2 * micro:
                what, m = turn(at[p], limits[p], micro)
                if here[what, p, m]:
                    ends[p] = now + (forward[p] if what == 0 else backward[p])
                    order[begun, 0], order[begun, 1], order[begun, 2] = what, p, m
                    begun += 1
        kept = 0
        for w in range(waiting):
            p, what, m = who[w, 0], who[w, 1], who[w, 2]
            h = p if what == 2 else stages - 2 + p
            free = True
            for e in range(first[h], first[h + 1]):
                free = free and not held[media[e]]
            if free:
                for e in range(first[h], first[h + 1]):
                    held[media[e]] = True
                arrives[h], carried[h] = now + hand_over, m
                order[begun, 0], order[begun, 1], order[begun, 2] = what, p, m
                begun += 1
            else:
                since[kept] = since[w]
                for c in range(3):
                    who[kept, c] = who[w, c]
                kept += 1
        waiting = kept
        now = min(ends.min(), arrives.min())
        if now == NEVER:
            return
        for h in range(2 * (stages - 1)):
            if arrives[h] == now:
                arrives[h] = NEVER
                for e in range(first[h], first[h + 1]):
                    held[media[e]] = False
                if h < stages - 1:
                    here[0, h + 1, carried[h]] = True
                else:
                    here[1, h - stages + 1, carried[h]] = True
        for p in range(stages):
            if ends[p] == now:
                what, m = turn(at[p], limits[p], micro)
                ends[p] = NEVER
                at[p] += 1
                if what == 0 and p == stages - 1:
                    here[1, p, m] = True
                elif what == 0 or p > 0:
                    # those of one moment by stage, activations first, and by micro-batch
                    w = waiting
                    while w > 0 and since[w - 1] == now and (
                        who[w - 1, 0] > p or (who[w - 1, 0] == p and (
                            who[w - 1, 1] > what + 2 or (who[w - 1, 1] == what + 2 and who[w - 1, 2] > m)))
                    ):
                        since[w] = since[w - 1]
                        for c in range(3):
                            who[w, c] = who[w - 1, c]
                        w -= 1
                    since[w], who[w, 0], who[w, 1], who[w, 2] = now, p, what + 2, m
                    waiting += 1


@kernel
def pipeline_seconds(
    forward: FloatArray, backward: FloatArray, ahead: IntArray, home: IntArray, limits: IntArray, micro: int,
    occupancy: FloatArray, latency: FloatArray,
    first: IntArray, media: IntArray, reduce_s: FloatArray, reducer: IntArray, ring_first: IntArray,
    ring_media: IntArray, count: int, hand_over: IntArray,
) -> float:
    """Time of an iteration (s).

    Parameters
    ----------
    forward, backward : (S,)
    ahead, home : (S,)
        The same in ticks, for the timetables.
    limits : (S,)
    occupancy, latency : (2 (S - 1),)
        Of the hand-overs forward over every boundary, then back.
    first, media : CSR
        Media of every hand-over.
    reduce_s : (A,)
        All-reduces in their order (s).
    reducer : (A,)
        Stage whose gradients they sum; -1 for the tied table, which waits for first and last stage.
    ring_first, ring_media : CSR
        Media of every all-reduce.
    count : int
        How many media there are.
    hand_over : (R,)
        Ticks of a hand-over that timetables are drawn up for.
    """
    stages = forward.size
    order = np.empty((2 * micro * (2 * stages - 1), 3), np.int64)
    held = np.zeros(count, np.bool_)
    free, busy = np.empty(stages), np.empty(count)
    done, arrived = np.empty((2, stages, micro)), np.empty((2, stages, micro))
    best = np.inf
    for ratio in range(hand_over.size):
        first_come(ahead, home, limits, micro, first, media, hand_over[ratio], held, order)
        free[:] = 0.0
        busy[:] = 0.0
        for step in range(order.shape[0]):
            what, p, m = order[step, 0], order[step, 1], order[step, 2]
            if what == 0:
                ready = arrived[0, p, m] if p > 0 else 0.0
                free[p] = max(free[p], ready) + forward[p]
                done[0, p, m] = free[p]
            elif what == 1:
                ready = arrived[1, p, m] if p + 1 < stages else done[0, p, m]
                free[p] = max(free[p], ready) + backward[p]
                done[1, p, m] = free[p]
            else:
                h = p if what == 2 else stages - 2 + p
                start = done[what - 2, p, m]
                for e in range(first[h], first[h + 1]):
                    start = max(start, busy[media[e]])
                end = start + occupancy[h]
                for e in range(first[h], first[h + 1]):
                    busy[media[e]] = end
                arrived[what - 2, p + 1 if what == 2 else p - 1, m] = end + latency[h]
        time = free.max()
        for a in range(reduce_s.size):
            p = reducer[a]
            start = free[p] if p >= 0 else max(free[0], free[stages - 1])
            for e in range(ring_first[a], ring_first[a + 1]):
                start = max(start, busy[ring_media[e]])
            end = start + reduce_s[a]
            for e in range(ring_first[a], ring_first[a + 1]):
                busy[ring_media[e]] = end
            if p >= 0:
                free[p] = end
            time = max(time, end)
        best = min(best, time)
    return best
