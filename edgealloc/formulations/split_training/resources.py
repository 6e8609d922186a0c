r"""Exact resources at a fixed association and cut: bandwidth and clock of every server split by one price each.

With the cut fixed, a server's users couple only through sum b <= b_m and sum F <= F_m, and both problems are convex and
separate: the split is the response to the price at which the sum meets the limit. The price is the multiplier, hence the
value of one more Hz.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.reduced import Reduced, device_clock, reduce
from edgealloc.system.responses import (
    best_received_power,
    radio_cost,
    radio_response,
    radio_slope,
    server_cost,
    server_response,
)

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["band_price", "clock_price", "marginal_prices", "optimal_allocation", "split"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@kernel
def _band_sum(data: Reduced, members: IntArray, count: int, m: int, price: float) -> float:
    total = 0.0
    for i in range(count):
        n = members[i]
        gain = data.gain[n, m] * data.inverse_noise
        _, hertz, _ = radio_response(price, data.bandwidth[m], data.power_low[n] * gain, data.power_high[n] * gain,
                                     data.k1[n], data.k2[n] / gain)
        total += hertz
    return total


@kernel
def band_price(data: Reduced, members: IntArray, count: int, m: int, guess: float) -> float:
    """Price per Hz at which the first `count` members' bandwidths sum to b_m.

    The sum falls with the price with an elasticity near -1/2, so a secant on log price and log sum takes a few steps;
    bracketing keeps it safe. A single member takes the whole band at the marginal cost there.
    """
    cap = data.bandwidth[m]
    if count == 0:
        return 0.0
    if count == 1:
        n = members[0]
        gain = data.gain[n, m] * data.inverse_noise
        k2 = data.k2[n] / gain
        received = best_received_power(cap, data.power_low[n] * gain, data.power_high[n] * gain, data.k1[n], k2)
        return -radio_slope(cap, received, data.k1[n], k2)
    price = guess
    if not (price > 0.0 and math.isfinite(price)):
        # the mean marginal cost at equal shares is a fair start
        price = 0.0
        for i in range(count):
            n = members[i]
            gain = data.gain[n, m] * data.inverse_noise
            k2 = data.k2[n] / gain
            b = cap / count
            received = best_received_power(b, data.power_low[n] * gain, data.power_high[n] * gain, data.k1[n], k2)
            price -= radio_slope(b, received, data.k1[n], k2) / count
    low, high = -np.inf, np.inf  # log prices with sum above and below the cap
    y = math.log(price)
    target = math.log(cap)
    y_old, excess_old = 0.0, np.inf
    for step in range(200):
        total = _band_sum(data, members, count, m, math.exp(y))
        excess = math.log(total) - target
        if abs(excess) < 1e-14:
            break
        if excess > 0.0:
            low = y
        else:
            high = y
        slope = -0.5
        if step > 0 and y != y_old:
            slope = (excess - excess_old) / (y - y_old)
            # a member at its cap b <= b_m does not respond, so the slope can be near 0
            slope = min(max(slope, -2.0), -0.05)
        y_old, excess_old = y, excess
        y = y - excess / slope
        if not low < y < high:
            y = 0.5 * (low + high)
        if y in (low, high) or high - low < 4e-16 * max(1.0, abs(low)):
            break
    return math.exp(y)


@kernel
def clock_price(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> float:
    """Price per Hz of clock at which the members' shares sum to F_m; 0 if they want less."""
    cap, layers = data.clock[m], data.factor.size - 1
    if data.kappa[m] <= 0.0:
        # closed form: F_n = F_m sqrt(a_t W)/sum sqrt(a_t W)
        root = 0.0
        for i in range(count):
            n = members[i]
            cycles = ((layers - cut[n]) * data.layer[n] + data.head[n]) / data.per_cycle[m]
            root += math.sqrt(data.time_weight[n] * cycles)
        return (root / cap) ** 2
    low, high, price = 0.0, np.inf, 0.0
    total_old, price_old = 0.0, -1.0
    for _ in range(200):
        total, wanted = 0.0, 0.0
        for i in range(count):
            n = members[i]
            cycles = ((layers - cut[n]) * data.layer[n] + data.head[n]) / data.per_cycle[m]
            _, share = server_response(price, cap, cycles, data.time_weight[n], 0.0,
                                       data.kappa[m] * data.energy_weight[n])
            total += share
            wanted += math.sqrt(data.time_weight[n] * cycles)
        if price == 0.0 and total <= cap:
            if count == 1 and total >= cap:
                n = members[0]  # the clock's own limit holds it: the price is the marginal cost there
                cycles = ((layers - cut[n]) * data.layer[n] + data.head[n]) / data.per_cycle[m]
                return max(0.0, cycles * (data.time_weight[n] / cap**2
                                          - 2.0 * data.kappa[m] * data.energy_weight[n] * cap))
            return 0.0
        if abs(total - cap) <= 1e-14 * cap:
            break
        if total > cap:
            low = price
        else:
            high = price
        # 1/F^2 is nearly linear in the price: secant there, from the price of a server without energy cost
        if price_old < 0.0:
            step = (wanted / cap) ** 2
        else:
            a, b = 1.0 / total_old**2, 1.0 / total**2
            step = price + (1.0 / cap**2 - b) * (price - price_old) / (b - a) if b != a else 0.5 * (low + high)
        total_old, price_old = total, price
        price = step
        if not low < price < high:
            price = 0.5 * (low + high) if high < np.inf else 2.0 * low
        if high < np.inf and high - low <= 4e-16 * high:
            break
    return price


@kernel
def split(
    data: Reduced, members: IntArray, count: int, m: int, cut: IntArray, price_b: float, price_f: float,
    band: FloatArray, power: FloatArray, share: FloatArray,
) -> float:
    """Write the members' bandwidth, power and clock at the prices, scaled to the limits; return their cost there.

    The cost excludes device, stability and fixed terms, which the split does not change.
    """
    layers = data.factor.size - 1
    total_b, total_f = 0.0, 0.0
    for i in range(count):
        n = members[i]
        gain = data.gain[n, m] * data.inverse_noise
        _, band[n], _ = radio_response(price_b, data.bandwidth[m], data.power_low[n] * gain,
                                       data.power_high[n] * gain, data.k1[n], data.k2[n] / gain)
        cycles = ((layers - cut[n]) * data.layer[n] + data.head[n]) / data.per_cycle[m]
        _, share[n] = server_response(price_f, data.clock[m], cycles, data.time_weight[n], 0.0,
                                      data.kappa[m] * data.energy_weight[n])
        total_b += band[n]
        total_f += share[n]
    cost = 0.0
    scale_b = data.bandwidth[m] / total_b  # more bandwidth never hurts, so all of it is handed out
    scale_f = min(1.0, data.clock[m] / total_f) if total_f > 0.0 else 1.0
    if data.kappa[m] <= 0.0 and total_f > 0.0:
        scale_f = data.clock[m] / total_f
    for i in range(count):
        n = members[i]
        gain = data.gain[n, m] * data.inverse_noise
        band[n] *= scale_b
        share[n] *= scale_f
        received = best_received_power(band[n], data.power_low[n] * gain, data.power_high[n] * gain, data.k1[n],
                                       data.k2[n] / gain)
        power[n] = min(max(received / gain, data.power_low[n]), data.power_high[n])
        cost += radio_cost(band[n], power[n] * gain, data.k1[n], data.k2[n] / gain)
        cycles = ((layers - cut[n]) * data.layer[n] + data.head[n]) / data.per_cycle[m]
        if cycles > 0.0:
            cost += server_cost(share[n], cycles, data.time_weight[n], data.joules[m] * data.energy_weight[n],
                                data.kappa[m] * data.energy_weight[n])
    return cost


def members_of(server: IntArray, servers: int) -> tuple[IntArray, IntArray]:
    """Users sorted by server, and the (M+1,) offsets of each server's run; fully local users come first, cut off."""
    order = np.argsort(server, kind="stable").astype(np.int64)
    offsets = np.searchsorted(server[order], np.arange(servers + 1)).astype(np.int64)
    return order, offsets


def server_prices(
    data: Reduced, server: IntArray, cut: IntArray, guess: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Multipliers (M,), (M,) of bandwidth and clock at a fixed association and cut."""
    servers = data.bandwidth.size
    order, offsets = members_of(server, servers)
    price_b, price_f = np.zeros(servers), np.zeros(servers)
    for m in range(servers):
        members = order[offsets[m] : offsets[m + 1]]
        if members.size:
            price_b[m] = band_price(data, members, members.size, m, 0.0 if guess is None else float(guess[m]))
            price_f[m] = clock_price(data, members, members.size, m, cut)
    return price_b, price_f


def optimal_allocation(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, *, data: Reduced | None = None,
    prices: tuple[FloatArray, FloatArray] | None = None,
) -> Allocation:
    """Optimal power, bandwidth and clocks at a fixed association and cut.

    Parameters
    ----------
    problem : SplitTraining
    server, local_layers : (N,) int
        Server -1 where fully local.
    data : Reduced, optional
        `reduce(problem)` if at hand.
    prices : pair of (M,), optional
        Guess of the multipliers.

    Returns
    -------
    Allocation
        Globally optimal for these integers, to about 1e-14 of the objective.
    """
    data = reduce(problem) if data is None else data
    server = np.ascontiguousarray(server, dtype=np.int64)
    cut = np.ascontiguousarray(local_layers, dtype=np.int64)
    price_b, price_f = server_prices(data, server, cut, None if prices is None else prices[0])
    band, power, share = np.zeros(problem.users), np.zeros(problem.users), np.zeros(problem.users)
    order, offsets = members_of(server, problem.servers)
    for m in range(problem.servers):
        members = order[offsets[m] : offsets[m + 1]]
        if members.size:
            split(data, members, members.size, m, cut, float(price_b[m]), float(price_f[m]), band, power, share)
    return Allocation(server=server, local_layers=cut, power_w=power, bandwidth_hz=band,
                      user_frequency_hz=device_clock(problem), server_frequency_hz=share)


def marginal_prices(problem: SplitTraining, allocation: Allocation) -> dict[str, FloatArray]:
    r"""Multipliers of the continuous problem at the association and cuts of an allocation.

    Returns
    -------
    dict
        "bandwidth_hz" (M,) and "server_frequency_hz" (M,): objective saved per extra Hz of b_m and F_m;
        "power_w" (N,) and "user_frequency_hz" (N,): per extra W of p_max and Hz of f_max. All >= 0, and equal to finite
        differences of the optimal objective with the integers held.
    """
    data = reduce(problem)
    price_b, price_f = server_prices(data, allocation.server, allocation.local_layers)
    best = optimal_allocation(problem, allocation.server, allocation.local_layers, data=data)
    n = np.flatnonzero(best.server >= 0)
    m = best.server[n]
    per_watt = np.zeros(problem.users)
    gain = data.gain[n, m] * data.inverse_noise
    band = best.bandwidth_hz[n]
    growth = best.power_w[n] * gain / band
    x = np.log1p(growth)
    # d cost/d p, counted where the limit p_max holds the power back
    slope = (data.k2[n] - (data.k1[n] + data.k2[n] * best.power_w[n]) * gain / (band * (1.0 + growth) * x)) / (
        band * x)
    at_limit = best.power_w[n] >= problem.power_max_w[n]
    per_watt[n] = np.where(at_limit, np.maximum(-slope, 0.0), 0.0)
    time = problem.weights.effective("delay", problem.users)
    energy = problem.weights.effective("energy", problem.users)
    local = best.server < 0
    cycles = (best.local_layers * problem.layer_flops + np.where(local, problem.head_flops, 0.0)) / (
        problem.user_flops_per_cycle)
    f = problem.user_frequency_max_hz
    per_hertz = cycles * (time / f**2 - 2.0 * energy * problem.user_kappa * f)
    return {"bandwidth_hz": price_b, "server_frequency_hz": price_f, "power_w": per_watt,
            "user_frequency_hz": np.maximum(per_hertz, 0.0)}
