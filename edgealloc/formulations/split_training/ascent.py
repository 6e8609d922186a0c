r"""A bound for the options that are left: Lagrangian, its prices improved by Newton's method on a smoothed function.

.. math:: D_\tau(\pi) = \sum_n -\tau \log \sum_{o} e^{-v_o(\pi)/\tau} - \pi^T 1 \;\le\; D(\pi),

whose weights :math:`p_o \propto e^{-v_o/\tau}` are at the same time the fractional assignment that the bound mixes.
With tau -> 0 both become the bundle's, at the price of a few dozen evaluations over few options.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.options import (
    ROUGH,
    job_bytes,
    job_response,
    link_response,
    own_cost,
    timed_option,
)
from edgealloc.formulations.split_training.reduced import Reduced

__all__ = ["GUARD", "Options", "ascend", "least"]

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
        one has no earlier option are looked at.
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
def least(mask: MaskArray, value: FloatArray, start: int, stop: int) -> float:
    """Least value of the options start..stop-1 that are left, inf if none is."""
    best = np.inf
    for o in range(start, stop):
        if mask[o] != 0 and value[o] < best:
            best = value[o]
    return best


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
        for o in range(options.first[n], options.first[n + 1]):
            if mask[o] == 0:
                continue
            m, cut = options.server[o], options.cut[o]
            if m < 0:
                value[o] = data.user[n].local_cost
                use[o, :] = 0.0
                continue
            price_b = prices[4 * m] / options.size[4 * m]
            price_f = prices[4 * m + 1] / options.size[4 * m + 1]
            if timed:
                total, band, clock, theta[o] = timed_option(data, n, m, cut, price_b, price_f, theta[o], ROUGH)
            else:
                if m != at:
                    radio, band, _ = link_response(data, n, m, price_b, 0.0)
                    at = m
                work, clock = job_response(data, n, m, cut, price_f, 0.0)
                total = radio + work + own_cost(data, n, m, cut)
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
        best = least(mask, value, options.first[n], options.first[n + 1])
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
        best = least(mask, value, start, stop)
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
def _smooth_value(
    data: Reduced, options: Options, mask: MaskArray, prices: FloatArray, value: FloatArray, tau: float
) -> float:
    """D_tau alone."""
    total = 0.0
    for k in range(prices.size):
        total -= prices[k]
    for n in range(options.first.size - 1):
        best = least(mask, value, options.first[n], options.first[n + 1])
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
def ascend(
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
            # no price moves by much more than its own size, or than what is open: users and bytes have no curvature of
            # their own, and a step without end would spoil that of the others
            curve[k, k] += abs(slope[k]) / max(abs(here[k]), slack)
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
    return _bound(data, options, mask, prices, value)
