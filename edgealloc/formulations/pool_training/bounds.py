"""What the time of one pipeline cannot be below, whatever the order in which things happen.

The bounds hold for every schedule that keeps the order of a stage (`schedule.in_flight`), so for the one that is
simulated. They need nothing but durations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PipelineTimes", "pipeline_bound"]


@dataclass(frozen=True)
class PipelineTimes:
    """Durations of a pipeline of S stages, one micro-batch each (s).

    Attributes
    ----------
    forward, backward : (S,)
        Passes of a stage.
    over, back : (S-1,) of (occupancy, latency)
        Hand-over of activations from stage p to p + 1, and of gradients from p + 1 to p.
    reduce : (S,)
        All-reduce of a stage's gradients, once per iteration; 0 for single devices.
    limits : (S,) of int
        Micro-batches in flight.
    micro_batches : int
    media_load_s : sequence of (handed, reduced, boundary)
        For every medium: occupancy by all hand-overs of the iteration, by all all-reduces, and the first boundary whose
        hand-overs use it (-1: none).
    tied_s : float
        Exchange of the tied table at the end.
    """

    forward: Sequence[float]
    backward: Sequence[float]
    over: Sequence[tuple[float, float]]
    back: Sequence[tuple[float, float]]
    reduce: Sequence[float]
    limits: Sequence[int]
    micro_batches: int
    media_load_s: Sequence[tuple[float, float, int]] = ()
    tied_s: float = 0.0


def pipeline_bound(times: PipelineTimes) -> float:
    r"""Largest of six lower bounds on the time of an iteration (s).

    With :math:`t_p = f_p + b_p`, hand-overs :math:`c_p` forward and :math:`c'_p` back (occupancy and latency), micro-
    batches :math:`M` and in-flight limits :math:`K_p`:

    1. busy stage: :math:`\sum_{q<p} (t_q + c_q + c'_q) + M t_p`. The first forward pass of stage p waits for the
       stages before it, and its last backward pass is followed by theirs.
    2. busy stage, then the replicas of one before it: :math:`\sum_{q<p} (f_q + c_q) + \mathrm{AR}_p + \max_{r \ge p}
       \{\sum_{p \le q < r} (t_q + c_q + c'_q) + M t_r\}`: bound 1 of the stages from p on, which end with a backward
       pass of stage p.
    3. busy hand-over: :math:`\sum_q (t_q + c_q + c'_q) + (M-1) o_p`, where :math:`o_p` is the occupancy of one hand-
       over: the first cannot begin before the stages up to p have worked, and after the last its micro-batch finishes
       the round trip.
    4. window: micro-batch :math:`m + K_p` enters stage p only when micro-batch m has left it after its round trip
       :math:`R_p = \sum_{q \ge p} (t_q + c_q + c'_q)`, and in between stage p can be followed through whole micro-
       batches. So, after :math:`\sum_{q<p} (t_q + c_q + c'_q)`, with one round trip :math:`R_p + (M - K_p)\, t_p +
       (K_p - 1) \max(f_p, b_p)` (the first waits for no backward pass, the last for no forward pass), and with
       :math:`2 \le n \le \lceil M/K_p \rceil` of them :math:`n R_p + (M - 1 - (n-1) K_p)\, t_p`.
    5. busy medium: a hand-over happens after :math:`f_0` and is followed by :math:`b_0`; all-reduces come after all
       hand-overs of a medium.
    6. busy stage and medium: the last gradients cross boundary q of a medium only when the stages behind it have
       worked, and all all-reduces of that medium come after them: :math:`\sum_{r<p} (f_r + c_r) + M t_p +
       \sum_{q<r<p} (b_r + c'_r) + o'_q` and what the medium reduces, for every :math:`p > q`.

    The tied table is exchanged after everything that first and last stage do: it adds to their bounds. Source of 1
    (without all-reduce): docs/pool_training.md; 3 to 6 are ours.

    Examples
    --------
    >>> pipeline_bound(PipelineTimes([1.0], [2.0], [], [], [0.0], [1], 4))
    12.0
    """
    stages, m = len(times.forward), times.micro_batches
    total = [f + b for f, b in zip(times.forward, times.backward, strict=True)]
    over = [sum(cost) for cost in times.over]
    trips = [there + sum(home) for there, home in zip(over, times.back, strict=True)]
    round_trip = sum(total) + sum(trips)
    behind = [m * total[-1]] * stages  # bound 1 of the stages from p on
    for p in reversed(range(stages - 1)):
        behind[p] = max(m * total[p], total[p] + trips[p] + behind[p + 1])
    best = before = arrive = 0.0
    tail = round_trip
    for p in range(stages):
        ends = times.tied_s if p == 0 else 0.0  # all that stage 0 does is followed by the tied table
        best = max(best, before + m * total[p] + times.tied_s)
        best = max(best, arrive + behind[p] + times.reduce[p] + ends)
        limit = times.limits[p]
        window = tail + (m - limit) * total[p] + (limit - 1) * max(times.forward[p], times.backward[p])
        for turns in {2, -(-m // limit)} if m > limit else ():
            window = max(window, turns * tail + (m - 1 - (turns - 1) * limit) * total[p])
        best = max(best, before + window + times.tied_s)
        if p + 1 < stages:
            busy = max(times.over[p][0], times.back[p][0])
            best = max(best, round_trip + (m - 1) * busy + times.tied_s)
            before += total[p] + trips[p]
            arrive += times.forward[p] + over[p]
            tail -= total[p] + trips[p]
    for handed, reduced, q in times.media_load_s:
        if q < 0:
            continue
        after = max(reduced, times.backward[0] + times.tied_s)
        best = max(best, times.forward[0] + handed + after)
        if reduced > 0.0:
            best = max(best, _last_gradients(times, q) + times.back[q][0] + reduced)
    return best


def _last_gradients(times: PipelineTimes, q: int) -> float:
    """Earliest moment at which the last gradients leave stage q + 1 (s)."""
    best = arrive = home = 0.0
    for p in range(len(times.forward)):
        if p > q:
            best = max(best, arrive + times.micro_batches * (times.forward[p] + times.backward[p]) + home)
            home += times.backward[p] + (sum(times.back[p]) if p + 1 < len(times.forward) else 0.0)
        if p + 1 < len(times.forward):
            arrive += times.forward[p] + sum(times.over[p])
    return best
