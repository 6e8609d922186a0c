r"""Least time and energy of what stands in front of a suffix of a pipeline (compiled).

A plan of T seconds (:math:`T^- < T \le T^+`) whose first stages hold layers 0..y-1 on the devices A has, for each of
these stages p, with its forward and backward pass :math:`t_p = f_p + b_p`, its all-reduce, and the hand-over
:math:`c_q` behind a stage q, there (:math:`o_q`) and back,

.. math:: \sum_{q<p} (t_q + c_q) + M t_p \le T^+, \qquad \sum_{q<p} (f_q + o_q) + M t_p + \mathrm{AR}_p \le T^+

so a dynamic program over (A, y, type of the last device) finds, each for itself, the least round trip :math:`P =
\sum_q t_q + \sum_q c_q` of such a front, the least time :math:`F = \sum_q (f_q + o_q)` until activations arrive, and
the least energy beyond idling, plus :math:`T^-` times the idle power: the less of each, the more can be added. A
suffix on the rest of the devices that takes H seconds from its first forward to its last backward pass, and S until all
that it does is done, is part of such a plan only if ``P + H <= T^+`` and ``F + S <= T^+``.

Fronts whose other layers the other devices cannot work on in time, or below the target, even if all of them were busy
all the time and as frugal as the most frugal one, are left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.pool_training.certificate.layered import Tables, digits, link, lowered

__all__ = ["fronts"]

FloatArray = npt.NDArray[np.float64]
SingleArray = npt.NDArray[np.float32]


@kernel
def fronts(
    t: Tables, soonest_s: float, latest_s: float, target: float, trip: FloatArray, arrive: FloatArray,
    joules: FloatArray, front_s: SingleArray, front_a: SingleArray, front_j: SingleArray,
) -> None:
    """Least round trips and energies of fronts that use some of the devices of a multiset.

    Parameters
    ----------
    soonest_s, latest_s : float
        The plan takes more than the one and no more than the other.
    target : float
        Plans that cost as much or more are of no interest.
    trip, arrive, joules : (N, k + 2, Y)
        Work space.
    front_s : (N, k + 1, Y)
        Seconds by the type of the first device behind the front (k: a group), the hand-over to it included; inf if
        there is no front.
    front_a : (N, Y)
        Seconds until activations can be handed over, at least.
    front_j : (N, Y)
        Weighted joules.
    """
    k, layers, samples, micro = t.number.size, t.forward.size - 1, t.samples, t.micro
    group, unit_s, unit_j, size, kinds, reach = t.group, t.unit_s, t.unit_j, t.size, t.kind, t.reach
    packed, guard, idle, gradient = t.packed, t.guard, t.idle, t.gradient
    forward = t.forward
    work = forward + t.backward
    place = min(2, reach.shape[1] - 1)
    every, inside, behind = np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(k, np.int64)
    trip[:] = np.inf
    arrive[:] = np.inf
    joules[:] = np.inf
    waits = max(soonest_s, 0.0)
    # what the devices that are left need at least for the other layers, in seconds and joules
    after_s, after_j = np.empty(layers), np.empty(layers)
    some = np.zeros((size.size, k + 2), np.bool_)
    for z in range(1, size.size):
        digits(t, z, every)
        speed = 0.0
        for a in range(k):
            for i in range(t.number[a] - every[a]):
                speed += t.members[a, i]
        for y in range(1, layers):
            left = work[layers] - work[y]
            after_s[y] = t.trip_s + micro * samples * left / speed * (1.0 - 1e-9) if speed > 0.0 else np.inf
            after_j[y] = t.per_s * waits + left * t.joule_flop * (1.0 - 1e-9)
        if not after_s[layers - 1] <= latest_s:
            continue
        for option in range(group.size):
            g = group[option]
            if g > z:
                break
            if ((packed[z] | guard) - packed[g]) & guard != guard:
                continue
            rest, own, unit = z - g, kinds[g], unit_s[option]
            if rest > 0 and not some[rest, k + 1]:
                continue
            digits(t, g, inside)
            still = 0.0
            for a in range(k):
                behind[a] = every[a] - inside[a]
                still += inside[a] * idle[a]
            still *= waits
            ring_s, ring_byte = 0.0, 0.0
            if size[g] > 1:
                ring_s = 2.0 * (size[g] - 1) * t.ring_latency[g]
                ring_byte = 2.0 * (size[g] - 1) * t.ring_byte[g]
            if rest == 0:
                for y1 in range(1, layers):
                    both = work[y1] * unit
                    bytes_ = gradient[y1]
                    reduce = ring_s + bytes_ * ring_byte if size[g] > 1 and bytes_ > 0.0 else 0.0
                    if micro * both + reduce > latest_s or reach[g, place, 0] < y1:
                        break
                    spent = work[y1] * unit_j[option] + still + (bytes_ * t.ring_joule[g] if size[g] > 1 else 0.0)
                    if both + after_s[y1] > latest_s or spent + after_j[y1] >= target:
                        continue
                    trip[z, own, y1] = min(trip[z, own, y1], both)
                    arrive[z, own, y1] = min(arrive[z, own, y1], forward[y1] * unit)
                    some[z, own] = some[z, k + 1] = True
                    joules[z, own, y1] = min(joules[z, own, y1], spent)
                continue
            for kind in range(k + 1 if own == k else 0, k + 2 if own == k else k + 1 if t.hybrid else k):
                if not some[rest, kind]:
                    continue
                over, back, late, late_back, sent = link(t, g, inside, rest, behind, kind)
                hop = over + back + late + late_back
                for y0 in range(1, layers - 1):
                    before = trip[rest, kind, y0]
                    if before == np.inf:
                        continue
                    before += hop
                    arrived = arrive[rest, kind, y0] + back + late_back  # from the rest to the group
                    for y1 in range(y0 + 1, layers):
                        both = (work[y1] - work[y0]) * unit
                        bytes_ = gradient[y1] - gradient[y0]
                        reduce = ring_s + bytes_ * ring_byte if size[g] > 1 and bytes_ > 0.0 else 0.0
                        if micro * both + max(before, arrived + reduce) > latest_s or reach[g, place, y0] < y1:
                            break
                        spent = joules[rest, kind, y0] + sent + (work[y1] - work[y0]) * unit_j[option] + still
                        if size[g] > 1:
                            spent += bytes_ * t.ring_joule[g]
                        if before + both + after_s[y1] > latest_s or spent + after_j[y1] >= target:
                            continue
                        trip[z, own, y1] = min(trip[z, own, y1], before + both)
                        arrive[z, own, y1] = min(arrive[z, own, y1], arrived + (forward[y1] - forward[y0]) * unit)
                        some[z, own] = some[z, k + 1] = True
                        joules[z, own, y1] = min(joules[z, own, y1], spent)
        for y in range(1, layers):
            for kind in range(k + 1):
                trip[z, k + 1, y] = min(trip[z, k + 1, y], trip[z, kind, y])
                arrive[z, k + 1, y] = min(arrive[z, k + 1, y], arrive[z, kind, y])
                joules[z, k + 1, y] = min(joules[z, k + 1, y], joules[z, kind, y])
    front_s[:] = np.inf
    front_a[:] = np.inf
    front_j[:] = np.inf
    for z in range(1, size.size):
        if not some[z, k + 1]:
            continue
        digits(t, z, every)
        for y in range(1, layers):
            if trip[z, k + 1, y] < np.inf:
                front_s[z, k, y] = lowered(trip[z, k + 1, y] + t.trip_s)
                front_a[z, y] = lowered(arrive[z, k + 1, y])
                front_j[z, y] = lowered(joules[z, k + 1, y])
        for first in range(k):
            if every[first] == t.number[first]:
                continue
            inside[:] = 0
            inside[first] = 1
            for kind in range(k + 1 if t.hybrid else k):
                if not some[z, kind]:
                    continue
                over, back, late, late_back, _ = link(t, t.stride[first], inside, z, every, kind)
                hop = over + back + late + late_back
                for y in range(1, layers):
                    if trip[z, kind, y] < np.inf:
                        front_s[z, first, y] = min(front_s[z, first, y], lowered(trip[z, kind, y] + hop))
    # fronts need not use all devices: the best of all that are contained
    for a in range(k):
        for z in range(1, size.size):
            if z // t.stride[a] % (t.number[a] + 1) == 0:
                continue
            fewer = z - t.stride[a]
            for y in range(1, layers):
                front_a[z, y] = min(front_a[z, y], front_a[fewer, y])
                front_j[z, y] = min(front_j[z, y], front_j[fewer, y])
                for first in range(k + 1):
                    front_s[z, first, y] = min(front_s[z, first, y], front_s[fewer, first, y])
