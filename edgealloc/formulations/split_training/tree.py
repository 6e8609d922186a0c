r"""Nodes of the branch and bound: a bound for the options that are left, and what it says about where to branch.

A node is a set of options of every user. Its bound is the Lagrangian one over these options, improved from its
parent's prices by
Newton's method on the smoothed function

.. math:: D_\tau(\pi) = \sum_n -\tau \log \sum_{o} e^{-v_o(\pi)/\tau} - \pi^T 1 \;\le\; D(\pi),

whose weights :math:`p_o \propto e^{-v_o/\tau}` are at the same time the fractional assignment that the bound mixes:
users with two
large weights are those to branch on. With tau -> 0 both become the bundle's, at the price of a few dozen evaluations
over the few
options that reduced costs leave.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.options import (
    ROUGH,
    cut_range,
    job_bytes,
    job_cycles,
    link_delay,
    link_response,
    timed_option,
)
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.system.responses import server_response

__all__ = ["GUARD", "Options", "drop_late", "list_options", "work_interval", "work_node"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MaskArray = npt.NDArray[np.uint8]

#: share of all magnitudes that rounding may have cost, as in `solvers.pricing`
GUARD: Final = 1e-12


class Options(NamedTuple):
    """Every option that the root leaves, user by user and server by server, and the capacities they use.

    Attributes
    ----------
    first : (N+1,)
        User n has options first[n] .. first[n+1]-1.
    server, cut : (O,)
        -1 and Y where fully local.
    twin : (N,)
        An earlier user with the same data and hence the same options, -1 if none: only assignments in which the later
        one has
        no earlier option are looked at.
    size, low, high : (4M,)
        Capacities and the range of their prices per whole, see `Capacities`.
    """

    first: IntArray
    server: IntArray
    cut: IntArray
    twin: IntArray
    size: FloatArray
    low: FloatArray
    high: FloatArray


@kernel
def _values(
    data: Reduced,
    options: Options,
    mask: MaskArray,
    prices: FloatArray,
    value: FloatArray,
    use: FloatArray,
    theta: FloatArray,
) -> None:
    """Priced value of every option that is left, and what it uses of its server's four capacities, as shares (O, 4)."""
    for n in range(options.first.size - 1):
        at, radio, band = -2, 0.0, 0.0
        timed = data.user[n].deadline < np.inf
        user = data.user[n]
        for o in range(options.first[n], options.first[n + 1]):
            if mask[o] == 0:
                continue
            m, cut = options.server[o], options.cut[o]
            if m < 0:
                value[o] = user.local_cost
                use[o, :] = 0.0
                continue
            price_b = prices[4 * m] / options.size[4 * m]
            price_f = prices[4 * m + 1] / options.size[4 * m + 1]
            if timed:
                total, band, clock, theta[o] = timed_option(data, n, m, cut, price_b, price_f, theta[o], ROUGH)
            else:
                if m != at:
                    radio, band, _ = link_response(data, n, m, price_b, 0.0)
                    radio += user.time_weight * link_delay(data, n, m)
                    at = m
                work, clock = server_response(
                    price_f, data.server[m].clock, job_cycles(data, n, m, cut), user.time_weight,
                    data.server[m].joules * user.energy_weight, data.server[m].kappa * user.energy_weight)
                total = radio + work + user.device * cut + user.instability * data.factor[cut]
            use[o, 0] = band / options.size[4 * m]
            use[o, 1] = clock / options.size[4 * m + 1]
            use[o, 2] = 1.0 / options.size[4 * m + 2]
            use[o, 3] = job_bytes(data, n, cut) / options.size[4 * m + 3]
            value[o] = total + prices[4 * m + 2] * use[o, 2] + prices[4 * m + 3] * use[o, 3]


@kernel
def _bound(data: Reduced, options: Options, mask: MaskArray, prices: FloatArray, value: FloatArray) -> float:
    """D at the prices, less a guard against rounding; inf if some user has nothing left."""
    total, magnitude = 0.0, 0.0
    for n in range(options.first.size - 1):
        best = np.inf
        for o in range(options.first[n], options.first[n + 1]):
            if mask[o] != 0 and value[o] < best:
                best = value[o]
        if best == np.inf:
            return np.inf
        total += best
        magnitude += abs(best)
    for k in range(prices.size):
        total -= prices[k]
        magnitude += 2.0 * abs(prices[k])
    for m in range(data.server.size):
        if data.server[m].whole > 0.0:
            total += min(0.0, prices[4 * m] + prices[4 * m + 1])
    return total - GUARD * magnitude


@kernel
def _smooth(
    data: Reduced,
    options: Options,
    mask: MaskArray,
    prices: FloatArray,
    value: FloatArray,
    use: FloatArray,
    tau: float,
    share: FloatArray,
    slope: FloatArray,
    curve: FloatArray,
) -> float:
    """D_tau with its gradient (K,) and minus its (approximate) Hessian (K, K); `share` (O,) holds the weights."""
    count = prices.size
    total = 0.0
    for k in range(count):
        slope[k] = -1.0
        total -= prices[k]
        for j in range(count):
            curve[k, j] = 0.0
    for n in range(options.first.size - 1):
        start, stop = options.first[n], options.first[n + 1]
        best = np.inf
        for o in range(start, stop):
            if mask[o] != 0 and value[o] < best:
                best = value[o]
        weight = 0.0
        for o in range(start, stop):
            share[o] = 0.0
            if mask[o] != 0:
                share[o] = math.exp(-(value[o] - best) / tau)
                weight += share[o]
        total += best - tau * math.log(weight)
        for o in range(start, stop):
            share[o] /= weight
            if share[o] < 1e-9 or options.server[o] < 0:
                continue
            base = 4 * options.server[o]
            for i in range(4):
                slope[base + i] += share[o] * use[o, i]
            # responses like sqrt(price) have the second derivative -use/(2 price)
            for i in range(2):
                curve[base + i, base + i] += share[o] * use[o, i] * 0.5 / max(abs(prices[base + i]), 1e-300)
        if weight <= 1.0 + 1e-9:
            continue
        for o in range(start, stop):
            if share[o] < 1e-9 or options.server[o] < 0:
                continue
            base = 4 * options.server[o]
            for other in range(start, stop):
                if share[other] < 1e-9 or options.server[other] < 0:
                    continue
                there = 4 * options.server[other]
                factor = (share[o] * ((1.0 if o == other else 0.0) - share[other])) / tau
                for i in range(4):
                    for j in range(4):
                        curve[base + i, there + j] += factor * use[o, i] * use[other, j]
    for m in range(data.server.size):
        if data.server[m].whole > 0.0:
            # min(0, c) smoothed likewise
            c = prices[4 * m] + prices[4 * m + 1]
            unused = 1.0 / (1.0 + math.exp(min(max(c / tau, -500.0), 500.0)))
            total += min(0.0, c) - tau * math.log1p(math.exp(-abs(c) / tau))
            for i in range(2):
                slope[4 * m + i] += unused
                for j in range(2):
                    curve[4 * m + i, 4 * m + j] += unused * (1.0 - unused) / tau
    return total


@kernel
def _newton_direction(
    curve: FloatArray, slope: FloatArray, free: MaskArray, step: FloatArray, scratch: FloatArray
) -> None:
    """step = curve^-1 slope over the free places, by Cholesky with a small ridge."""
    count = slope.size
    for k in range(count):
        step[k] = 0.0
    for k in range(count):
        if free[k] == 0:
            continue
        for j in range(k + 1):
            if free[j] == 0:
                continue
            total = curve[k, j]
            if j == k:
                total += 1e-10 * curve[k, k] + 1e-300
            for i in range(j):
                if free[i] != 0:
                    total -= scratch[k, i] * scratch[j, i]
            if j == k:
                scratch[k, k] = math.sqrt(max(total, 1e-12 * curve[k, k] + 1e-300))
            else:
                scratch[k, j] = total / scratch[j, j]
    for k in range(count):
        if free[k] != 0:
            total = slope[k]
            for i in range(k):
                if free[i] != 0:
                    total -= scratch[k, i] * step[i]
            step[k] = total / scratch[k, k]
    for k in range(count - 1, -1, -1):
        if free[k] != 0:
            total = step[k]
            for i in range(k + 1, count):
                if free[i] != 0:
                    total -= scratch[i, k] * step[i]
            step[k] = total / scratch[k, k]


@kernel
def _ascend(
    data: Reduced,
    options: Options,
    mask: MaskArray,
    prices: FloatArray,
    cutoff: float,
    slack: float,
    share: FloatArray,
    value: FloatArray,
    use: FloatArray,
    theta: FloatArray,
    effort: int,
) -> float:
    """Improve `prices` (K,) in place until the bound reaches `cutoff` or settles; returns it, `value` being at these
    prices."""
    count = prices.size
    slope, step, trial = np.empty(count), np.empty(count), prices.copy()
    curve, scratch = np.empty((count, count)), np.zeros((count, count))
    free = np.empty(count, dtype=np.uint8)
    _values(data, options, mask, trial, value, use, theta)
    best = _bound(data, options, mask, trial, value)
    if best >= cutoff:
        return best
    tau = 0.25 * max(slack, 1e-14 * abs(best)) / max(1.0, math.sqrt(options.first.size - 1.0))
    here = trial.copy()
    before = best
    for _ in range(effort):
        smooth = _smooth(data, options, mask, here, value, use, tau, share, slope, curve)
        for k in range(count):
            stuck = (here[k] <= options.low[k] and slope[k] <= 0.0) or (here[k] >= options.high[k] and slope[k] >= 0.0)
            free[k] = 0 if stuck or options.high[k] <= options.low[k] else 1
            # a price of nothing that is wanted: let it rise
        _newton_direction(curve, slope, free, step, scratch)
        gain = 0.0
        for k in range(count):
            gain += slope[k] * step[k]
        length = 1.0
        moved = False
        for _ in range(8):
            for k in range(count):
                to = here[k] + length * step[k]
                if here[k] > 0.0 and k % 4 < 2 and options.low[k] >= 0.0:
                    to = max(to, 0.2 * here[k])  # a price of bandwidth or clock does not vanish in one step
                trial[k] = min(max(to, options.low[k]), options.high[k])
            _values(data, options, mask, trial, value, use, theta)
            bound = _bound(data, options, mask, trial, value)
            if bound > best:
                best = bound
                prices[:] = trial
                if best >= cutoff:
                    return best
            after = _smooth_value(data, options, mask, trial, value, tau)
            if after >= smooth + 1e-4 * length * gain - 1e-13 * abs(smooth):
                moved = True
                break
            length *= 0.35
        if moved:
            here[:] = trial
        else:
            _values(data, options, mask, here, value, use, theta)
        # the smoothed problem is solved as well as its smoothing deserves: less of it
        if not moved or 0.5 * gain < 0.5 * tau:
            if best - before < 0.01 * (cutoff - best) and tau < 1e-3 * slack:
                break
            before = best
            tau *= 0.3
            if tau < 1e-4 * slack:
                break
    _values(data, options, mask, prices, value, use, theta)
    return max(best, _bound(data, options, mask, prices, value))


@kernel
def _smooth_value(
    data: Reduced, options: Options, mask: MaskArray, prices: FloatArray, value: FloatArray, tau: float
) -> float:
    """D_tau alone."""
    total = 0.0
    for k in range(prices.size):
        total -= prices[k]
    for n in range(options.first.size - 1):
        best = np.inf
        for o in range(options.first[n], options.first[n + 1]):
            if mask[o] != 0 and value[o] < best:
                best = value[o]
        weight = 0.0
        for o in range(options.first[n], options.first[n + 1]):
            if mask[o] != 0:
                weight += math.exp(-(value[o] - best) / tau)
        total += best - tau * math.log(weight)
    for m in range(data.server.size):
        if data.server[m].whole > 0.0:
            c = prices[4 * m] + prices[4 * m + 1]
            total += min(0.0, c) - tau * math.log1p(math.exp(-abs(c) / tau))
    return total


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
        on
        "at most that cut or more" (on any server).
    """
    total = options.server.size
    value, use, theta = np.zeros(total), np.zeros((total, 4)), np.zeros(total)
    _order_twins(options, mask)
    bound = _ascend(data, options, mask, prices, cutoff, slack, share, value, use, theta, effort)
    if bound >= cutoff:
        return bound, -2, -2, -1
    users = options.first.size - 1
    left = 0
    for n in range(users):
        start, stop = options.first[n], options.first[n + 1]
        best = np.inf
        for o in range(start, stop):
            if mask[o] != 0 and value[o] < best:
                best = value[o]
        for o in range(start, stop):
            # what is dropped costs at least bound + (value - best), on the safe side of rounding
            if mask[o] != 0:
                if bound + (value[o] - best) * (1.0 - 1e-9) >= cutoff:
                    mask[o] = 0
                else:
                    left += 1
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
    `end` (see
    `rounds`); so is what options are dropped by. `local_slope` (N,) is the multiplier of training fully locally.
    Returns (bound, difference between the ends, user, server, cut).
    """
    total, users = options.server.size, options.first.size - 1
    value, use, theta = np.zeros(total), np.zeros((total, 4)), np.zeros(total)
    _order_twins(options, mask)
    at_end = (
        _ascend(data, options, mask, prices, cutoff - weight * end, slack, share, value, use, theta, effort)
        + weight * end
    )
    if at_end == np.inf:
        return at_end, 0.0, -2, -2, -1
    back = end - start
    tilted = np.zeros(total)
    rise, magnitude = 0.0, 0.0
    for n in range(users):
        moves = data.user[n].deadline >= end  # otherwise its own deadline is the shorter one
        best, best_tilted = np.inf, np.inf
        for o in range(options.first[n], options.first[n + 1]):
            if mask[o] != 0:
                slope = theta[o] if options.server[o] >= 0 else local_slope[n]
                tilted[o] = value[o] + (back * slope if moves else 0.0)
                best, best_tilted = min(best, value[o]), min(best_tilted, tilted[o])
        rise += best_tilted - best
        magnitude += abs(best_tilted)
    at_start = at_end + rise - weight * back - GUARD * (magnitude + weight * end)
    bound = min(at_end, at_start)
    if bound >= cutoff:
        return bound, 0.0, -2, -2, -1
    for n in range(users):
        first, last = options.first[n], options.first[n + 1]
        best, best_tilted = np.inf, np.inf
        for o in range(first, last):
            if mask[o] != 0:
                best, best_tilted = min(best, value[o]), min(best_tilted, tilted[o])
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
            radio = link_response(data, n, m, price[m, 0], 0.0)[0] + data.user[n].time_weight * link_delay(data, n, m)
        for alpha in range(low, high + 1):
            if timed:
                total, _, _, theta = timed_option(data, n, m, alpha, price[m, 0], price[m, 1], theta, ROUGH)
            else:
                work, _ = server_response(
                    price[m, 1],
                    data.server[m].clock,
                    job_cycles(data, n, m, alpha),
                    data.user[n].time_weight,
                    data.server[m].joules * data.user[n].energy_weight,
                    data.server[m].kappa * data.user[n].energy_weight,
                )
                total = radio + work + data.user[n].device * alpha + data.user[n].instability * data.factor[alpha]
            value[size] = total + price[m, 2] + price[m, 3] * job_bytes(data, n, alpha)
            server[size], cut[size] = m, alpha
            size += 1
    return size
