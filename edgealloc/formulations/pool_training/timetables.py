"""In which order stages work and media serve, settled before anything starts.

Where hand-overs of several stages meet on a medium, somebody must go first. Serving whoever is ready first is what a
radio does, but then a faster link can make an iteration longer (anomalies of list scheduling, Graham 1966). Here the
coordinator draws up a few *timetables*: orders in which the work would be done first come, first served, if a
hand-over took a given part of a stage's time. They depend on the computing times and not on the links, so in each of
them every start is a maximum of sums of durations, and more bandwidth can only help; so it can in the best of them,
which is the one that is used.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

__all__ = [
    "BACKWARD",
    "FORWARD",
    "RATIOS",
    "SEND_BACKWARD",
    "SEND_FORWARD",
    "TICKS",
    "Operation",
    "hand_over_ticks",
    "meet",
    "ticks",
    "timetables",
]

#: Operations of a timetable: (what, stage, micro-batch); a stage sends what it has computed.
Operation = tuple[int, int, int]
FORWARD, BACKWARD, SEND_FORWARD, SEND_BACKWARD = range(4)

#: Seconds of a hand-over per mean second of a stage (forward and backward) that timetables are drawn up for. The best
#: of these is on average as fast as first come, first served, and 1.6 % slower in one of a hundred random pipelines.
RATIOS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)


def meet(media: Sequence[Sequence[int]]) -> bool:
    """Whether two hand-overs use a medium in common: only then the order matters."""
    used = [one for single in media for one in single]
    return len(used) > len(set(used))


#: Ticks of a mean stage. Timetables reckon in whole ticks, so that stages of equal times tie whatever the rounding.
TICKS: Final = 1_000_000


def ticks(forward: Sequence[float], backward: Sequence[float]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Passes of the stages in whole ticks."""
    mean = (sum(forward) + sum(backward)) / len(forward)
    ahead, home = (tuple(round(one / mean * TICKS) for one in way) for way in (forward, backward))
    return ahead, home


def hand_over_ticks(media: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Durations of a hand-over that timetables are drawn up for; one where no two hand-overs meet."""
    return tuple(round(ratio * TICKS) for ratio in (RATIOS if meet(media) else RATIOS[:1]))


@lru_cache(maxsize=4096)
def timetables(
    ahead: tuple[int, ...],
    home: tuple[int, ...],
    limits: tuple[int, ...],
    micro_batches: int,
    media: tuple[tuple[int, ...], ...],
) -> tuple[tuple[Operation, ...], ...]:
    """The timetables of a pipeline, each an order that keeps all dependencies; one where no hand-overs meet.

    Parameters
    ----------
    ahead, home : (S,)
        Forward and backward passes of the stages in `ticks`.
    limits : (S,)
        Micro-batches in flight.
    micro_batches : int
    media : (2 (S - 1),)
        Media of the hand-overs: forward over every boundary, then back over every boundary.
    """
    found = [_first_come(ahead, home, limits, micro_batches, media, one) for one in hand_over_ticks(media)]
    return tuple(dict.fromkeys(found))


def _first_come(
    ahead: Sequence[int], home: Sequence[int], limits: Sequence[int], micro_batches: int,
    media: Sequence[Sequence[int]], hand_over: int,
) -> tuple[Operation, ...]:
    """The order in which operations begin when media serve those that have waited longest.

    Ties go to the lower stage, then to activations, then to the earlier micro-batch.
    """
    stages = len(ahead)
    orders: list[list[tuple[int, int]]] = []
    for limit in limits:
        order = [(FORWARD, m) for m in range(limit)]
        for m in range(micro_batches):
            order.append((BACKWARD, m))
            if limit + m < micro_batches:
                order.append((FORWARD, limit + m))
        orders.append(order)
    at, working = [0] * stages, [False] * stages
    held: set[int] = set()
    here = {(FORWARD, 0, m) for m in range(micro_batches)}
    waiting: list[tuple[int, int, int, int]] = []  # since when, stage, what, micro-batch
    ends: list[tuple[int, int, int, int, int]] = []  # when, pass or hand-over, stage, what, micro-batch
    begun: list[Operation] = []
    now = 0
    while True:
        for p in range(stages):
            if not working[p] and at[p] < len(orders[p]):
                what, m = orders[p][at[p]]
                if (what, p, m) in here:
                    working[p] = True
                    begun.append((what, p, m))
                    heapq.heappush(ends, (now + (ahead[p] if what == FORWARD else home[p]), 0, p, what, m))
        waiting.sort()
        for one in list(waiting):
            _, p, what, m = one
            used = media[p if what == SEND_FORWARD else stages - 2 + p]
            if held.isdisjoint(used):
                waiting.remove(one)
                held.update(used)
                begun.append((what, p, m))
                heapq.heappush(ends, (now + hand_over, 1, p, what, m))
        if not ends:
            return tuple(begun)
        now = ends[0][0]
        while ends and ends[0][0] == now:
            _, _, p, what, m = heapq.heappop(ends)
            if what == SEND_FORWARD:
                held.difference_update(media[p])
                here.add((FORWARD, p + 1, m))
            elif what == SEND_BACKWARD:
                held.difference_update(media[stages - 2 + p])
                here.add((BACKWARD, p - 1, m))
            else:
                working[p] = False
                at[p] += 1
                if what == FORWARD and p + 1 < stages:
                    waiting.append((now, p, SEND_FORWARD, m))
                elif what == FORWARD:
                    here.add((BACKWARD, p, m))
                elif p > 0:
                    waiting.append((now, p, SEND_BACKWARD, m))
