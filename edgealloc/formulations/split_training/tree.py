r"""Nodes of the branch and bound: what is left of every user's options, bounded, thinned out, and where to branch.

A node is a set of options of every user. Its bound is improved from its parent's prices for just these options
(`ascent`); users with two large weights in what that mixes are those to branch on.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.ascent import GUARD, Options, ascend, least
from edgealloc.formulations.split_training.options import (
    ROUGH,
    cut_range,
    job_bytes,
    job_response,
    link_response,
    own_cost,
    timed_option,
)
from edgealloc.formulations.split_training.reduced import Reduced

__all__ = ["drop_late", "list_options", "work_interval", "work_node"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MaskArray = npt.NDArray[np.uint8]


@kernel
def _order_twins(options: Options, mask: MaskArray) -> None:
    """Drop options that no assignment can have in which twins are in the order of their options."""
    users = options.first.size - 1
    for n in range(users):
        twin = options.twin[n]
        if twin >= 0:
            place, count = 0, options.first[n + 1] - options.first[n]
            while place < count and mask[options.first[twin] + place] == 0:
                mask[options.first[n] + place] = 0
                place += 1
    for back in range(users):
        n = users - 1 - back
        twin = options.twin[n]
        if twin >= 0:
            place = options.first[n + 1] - options.first[n] - 1
            while place >= 0 and mask[options.first[n] + place] == 0:
                mask[options.first[twin] + place] = 0
                place -= 1


@kernel
def work_node(
    data: Reduced, options: Options, mask: MaskArray, prices: FloatArray, cutoff: float, slack: float, effort: int,
    pick: IntArray, share: FloatArray,
) -> tuple[float, int, int, int]:
    """Bound a node, drop options that its bound excludes, and say where to branch.

    Parameters
    ----------
    mask : (O,)
        Options that are left; thinned out in place.
    prices : (4M,)
        The parent's prices; replaced by the best found.
    cutoff : float
        Costs that are of no interest any more.
    slack : float
        About how far the bound is from the cutoff: the scale of the smoothing.
    pick : (N,)
        Filled with every user's likeliest option.
    share : (O,)
        Filled with the weights of the options.

    Returns
    -------
    bound, user, server, cut
        User -1: every user has one option left. Server >= -1 with cut -1: branch on "on that server or not". Otherwise
        on "at most that cut or more" (on any server).
    """
    total = options.server.size
    value, use, theta = np.zeros(total), np.zeros((total, 4)), np.zeros(total)
    _order_twins(options, mask)
    bound = ascend(data, options, mask, prices, cutoff, slack, share, value, use, theta, effort)
    if bound >= cutoff:
        return bound, -2, -2, -1
    for n in range(options.first.size - 1):
        start, stop = options.first[n], options.first[n + 1]
        best = least(mask, value, start, stop)
        for o in range(start, stop):
            # what is dropped costs at least bound + (value - best), on the safe side of rounding
            if mask[o] != 0 and bound + (value[o] - best) * (1.0 - 1e-9) >= cutoff:
                mask[o] = 0
    user, server, cut = _branching(data, options, mask, prices, value, use, share, pick)
    return bound, user, server, cut


@kernel
def drop_late(data: Reduced, options: Options, mask: MaskArray) -> None:
    """Drop options that cannot keep a hard deadline of `data` even alone."""
    for n in range(options.first.size - 1):
        at, low, high = -2, 0, -1
        for o in range(options.first[n], options.first[n + 1]):
            m = options.server[o]
            if m < 0:
                if data.user[n].local_cost == np.inf:
                    mask[o] = 0
                continue
            if m != at:
                low, high = cut_range(data, n, m)
                at = m
            if not low <= options.cut[o] <= high:
                mask[o] = 0


@kernel
def work_interval(
    data: Reduced, options: Options, mask: MaskArray, prices: FloatArray, cutoff: float, slack: float, effort: int,
    pick: IntArray, share: FloatArray, local_slope: FloatArray, weight: float, start: float, end: float,
) -> tuple[float, float, int, int, int]:
    """A node of a synchronous round whose length lies in [start, end]; `data` is that of a round of length `end`.

    Like `work_node`, with `weight` per second of the round. The bound is the least at the two ends, by the tangents at
    `end` (see `rounds`); so is what options are dropped by. `local_slope` (N,) is the multiplier of training fully
    locally.
    Returns (bound, difference between the ends, user, server, cut).
    """
    total, users = options.server.size, options.first.size - 1
    value, use, theta = np.zeros(total), np.zeros((total, 4)), np.zeros(total)
    _order_twins(options, mask)
    at_end = (
        ascend(data, options, mask, prices, cutoff - weight * end, slack, share, value, use, theta, effort)
        + weight * end
    )
    if at_end == np.inf:
        return at_end, 0.0, -2, -2, -1
    back = end - start
    tilted = np.zeros(total)
    rise, magnitude = 0.0, 0.0
    for n in range(users):
        moves = data.user[n].deadline >= end  # otherwise its own deadline is the shorter one
        first, last = options.first[n], options.first[n + 1]
        for o in range(first, last):
            if mask[o] != 0:
                slope = theta[o] if options.server[o] >= 0 else local_slope[n]
                tilted[o] = value[o] + (back * slope if moves else 0.0)
        best_tilted = least(mask, tilted, first, last)
        rise += best_tilted - least(mask, value, first, last)
        magnitude += abs(best_tilted)
    at_start = at_end + rise - weight * back - GUARD * (magnitude + weight * end)
    bound = min(at_end, at_start)
    if bound >= cutoff:
        return bound, 0.0, -2, -2, -1
    for n in range(users):
        first, last = options.first[n], options.first[n + 1]
        best, best_tilted = least(mask, value, first, last), least(mask, tilted, first, last)
        for o in range(first, last):
            if mask[o] != 0:
                costs = min(
                    at_end + (value[o] - best) * (1.0 - 1e-9), at_start + (tilted[o] - best_tilted) * (1.0 - 1e-9)
                )
                if costs >= cutoff:
                    mask[o] = 0
    user, server, cut = _branching(data, options, mask, prices, value, use, share, pick)
    return bound, abs(at_end - at_start), user, server, cut


@kernel
def _branching(
    data: Reduced,
    options: Options,
    mask: MaskArray,
    prices: FloatArray,
    value: FloatArray,
    use: FloatArray,
    share: FloatArray,
    pick: IntArray,
) -> tuple[int, int, int]:
    """The user whose split moves most, and how to split it: between servers first, then between cuts."""
    servers = data.server.size
    weight, mean = np.empty(servers + 1), np.empty((servers + 1, 4))
    chosen, at_server, at_cut, worst = -1, -2, -1, -1.0
    single = True
    for n in range(options.first.size - 1):
        start, stop = options.first[n], options.first[n + 1]
        weight[:] = 0.0
        mean[:, :] = 0.0
        likeliest, least = -1, np.inf
        count, total = 0, 0.0
        for o in range(start, stop):
            if mask[o] == 0:
                share[o] = 0.0
                continue
            count += 1
            total += share[o]
            if likeliest < 0 or share[o] > share[likeliest]:
                likeliest = o
            least = min(least, value[o])
        if count == 0:
            continue
        if share[likeliest] <= 0.0:
            for o in range(start, stop):
                if mask[o] != 0 and value[o] <= least:
                    likeliest = o
            share[likeliest] = 1.0
            total = 1.0
        pick[n] = likeliest
        if count == 1:
            continue
        single = False
        low_cut, high_cut, mean_cut, spread = 10**9, -1, 0.0, 0.0
        for o in range(start, stop):
            if mask[o] != 0:
                m = options.server[o] + 1
                p = share[o] / total
                weight[m] += p
                for i in range(4):
                    mean[m, i] += p * use[o, i]
                low_cut, high_cut = min(low_cut, options.cut[o]), max(high_cut, options.cut[o])
                mean_cut += p * options.cut[o]
        top = 0
        for m in range(servers + 1):
            if weight[m] > weight[top]:
                top = m
        rest = 1.0 - weight[top]
        score = 0.0
        other_servers = False
        for o in range(start, stop):
            if mask[o] != 0 and options.server[o] + 1 != top:
                other_servers = True
        if other_servers:
            amount = 0.0
            for m in range(servers + 1):
                if m > 0:
                    for i in range(4):
                        k = 4 * (m - 1) + i
                        amount += abs(prices[k]) * mean[m, i] * (1.0 - weight[m])
            # a server split weighs more than one between cuts: it is what separates bound and optimum
            score = 10.0 * (rest + 1e-9) * (amount + 1e-6 * abs(least))
            if score > worst:
                worst, chosen, at_server, at_cut = score, n, top - 1, -1
        if high_cut > low_cut:
            floor_cut = min(math.floor(mean_cut + 1e-9), high_cut - 1)
            floor_cut = max(floor_cut, low_cut)
            for o in range(start, stop):
                if mask[o] != 0 and options.server[o] >= 0:
                    p = share[o] / total
                    k = 4 * options.server[o]
                    spread += p * abs(options.cut[o] - mean_cut) * (abs(prices[k + 1]) * use[o, 1] + 1e-6 * abs(least))
            score = (spread + 1e-12 * abs(least)) / (data.factor.size - 1)
            if score > worst:
                worst, chosen, at_server, at_cut = score, n, -2, floor_cut
    if single:
        return -1, -2, -1
    return chosen, at_server, at_cut


@kernel
def list_options(
    data: Reduced, n: int, price: FloatArray, value: FloatArray, server: IntArray, cut: IntArray
) -> int:
    """Priced value of every option of user n at prices (M, 4), fully local included; returns how many there are."""
    size, layers = 0, data.factor.size - 1
    if data.user[n].local_cost < np.inf:
        value[0], server[0], cut[0] = data.user[n].local_cost, -1, layers
        size = 1
    timed = data.user[n].deadline < np.inf
    for m in range(data.server.size):
        if data.gain[n, m] <= 0.0:
            continue
        low, high = data.user[n].low, data.user[n].high
        if timed:
            low, high = cut_range(data, n, m)
        theta = 0.0
        radio = 0.0
        if not timed:
            radio = link_response(data, n, m, price[m, 0], 0.0)[0]
        for alpha in range(low, high + 1):
            if timed:
                total, _, _, theta = timed_option(data, n, m, alpha, price[m, 0], price[m, 1], theta, ROUGH)
            else:
                work, _ = job_response(data, n, m, alpha, price[m, 1], 0.0)
                total = radio + work + own_cost(data, n, m, alpha)
            value[size] = total + price[m, 2] + price[m, 3] * job_bytes(data, n, alpha)
            server[size], cut[size] = m, alpha
            size += 1
    return size
