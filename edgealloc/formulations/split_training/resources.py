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
from edgealloc.formulations.split_training.options import job_cycles, job_response, link_response
from edgealloc.formulations.split_training.reduced import Reduced, device_clock, reduce
from edgealloc.system.responses import best_received_power, radio_slope

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["band_price", "clock_price", "marginal_prices", "optimal_allocation", "split"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@kernel
def _band_sum(data: Reduced, members: IntArray, count: int, m: int, price: float) -> float:
    total = 0.0
    for i in range(count):
        total += link_response(data, members[i], m, price)[1]
    return total


@kernel
def _marginal(data: Reduced, n: int, m: int, band: float) -> float:
    """What one more Hz saves user n at a bandwidth and its best power there."""
    gain = data.gain[n, m] * data.inverse_noise
    user = data.user[n]
    k2 = user.k2 / gain
    received = best_received_power(band, user.power_low * gain, user.power_high * gain, user.k1, k2)
    return -radio_slope(band, received, user.k1, k2)


@kernel
def band_price(data: Reduced, members: IntArray, count: int, m: int, guess: float) -> float:
    """Price per Hz at which the first `count` members' bandwidths sum to b_m.

    The sum falls with the price with an elasticity near -1/2, so a secant on log price and log sum takes a few steps;
    bracketing keeps it safe. A single member takes the whole band at the marginal cost there.
    """
    cap = data.server[m].bandwidth
    if count == 0:
        return 0.0
    if count == 1:
        return _marginal(data, members[0], m, cap)
    price = guess
    if not (price > 0.0 and math.isfinite(price)):
        # the mean marginal cost at equal shares is a fair start
        price = 0.0
        for i in range(count):
            price += _marginal(data, members[i], m, cap / count) / count
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
    cap = data.server[m].clock
    wanted = 0.0
    for i in range(count):
        n = members[i]
        wanted += math.sqrt(data.user[n].time_weight * job_cycles(data, n, m, cut[n]))
    without_energy = (wanted / cap) ** 2  # closed form of a time-shared server: F_n = F_m sqrt(a_t W)/sum sqrt(a_t W)
    if data.server[m].kappa <= 0.0:
        return without_energy
    low, high, price = 0.0, np.inf, 0.0
    total_old, price_old = 0.0, -1.0
    for _ in range(200):
        total = 0.0
        for i in range(count):
            total += job_response(data, members[i], m, cut[members[i]], price)[1]
        if price == 0.0 and total <= cap:
            if count == 1 and total >= cap:  # the single user's own limit holds it: the price is the marginal cost there
                user, cycles = data.user[members[0]], job_cycles(data, members[0], m, cut[members[0]])
                kappa = data.server[m].kappa * user.energy_weight
                return max(0.0, cycles * (user.time_weight / cap**2 - 2.0 * kappa * cap))
            return 0.0
        if abs(total - cap) <= 1e-14 * cap:
            break
        if total > cap:
            low = price
        else:
            high = price
        # 1/F^2 is nearly linear in the price: secant there
        if price_old < 0.0:
            following = without_energy
        else:
            a, b = 1.0 / total_old**2, 1.0 / total**2
            following = price + (1.0 / cap**2 - b) * (price - price_old) / (b - a) if b != a else 0.5 * (low + high)
        total_old, price_old = total, price
        price = following
        if not low < price < high:
            price = 0.5 * (low + high) if high < np.inf else 2.0 * low
        if high < np.inf and high - low <= 4e-16 * high:
            break
    return price


@kernel
def split(
    data: Reduced, members: IntArray, m: int, cut: IntArray, price_b: float, price_f: float, band: FloatArray,
    power: FloatArray, share: FloatArray,
) -> None:
    """Write the members' bandwidth, power and clock at the prices, scaled to the limits."""
    total_b, total_f = 0.0, 0.0
    for n in members:
        band[n] = link_response(data, n, m, price_b)[1]
        share[n] = job_response(data, n, m, cut[n], price_f)[1]
        total_b += band[n]
        total_f += share[n]
    # more bandwidth never hurts, so all of it is handed out; the clock only where it costs nothing by itself
    scale_b = data.server[m].bandwidth / total_b
    scale_f = data.server[m].clock / total_f
    if data.server[m].kappa > 0.0:
        scale_f = min(1.0, scale_f)
    for n in members:
        user = data.user[n]
        gain = data.gain[n, m] * data.inverse_noise
        band[n] *= scale_b
        share[n] *= scale_f
        received = best_received_power(band[n], user.power_low * gain, user.power_high * gain, user.k1,
                                       user.k2 / gain)
        power[n] = min(max(received / gain, user.power_low), user.power_high)


def members_of(server: IntArray, servers: int) -> tuple[IntArray, IntArray]:
    """Users sorted by server, and the (M+1,) offsets of each server's run; fully local users come first, cut off."""
    order = np.argsort(server, kind="stable").astype(np.int64)
    offsets = np.searchsorted(server[order], np.arange(servers + 1)).astype(np.int64)
    return order, offsets


def server_prices(
    data: Reduced, server: IntArray, cut: IntArray, guess: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Multipliers (M,), (M,) of bandwidth and clock at a fixed association and cut."""
    servers = data.server.size
    order, offsets = members_of(server, servers)
    price_b, price_f = np.zeros(servers), np.zeros(servers)
    for m in range(servers):
        members = order[offsets[m] : offsets[m + 1]]
        if members.size:
            price_b[m] = band_price(data, members, members.size, m, 0.0 if guess is None else float(guess[m]))
            price_f[m] = clock_price(data, members, members.size, m, cut)
    return price_b, price_f


def optimal_allocation(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, *, data: Reduced | None = None
) -> Allocation:
    """Optimal power, bandwidth and clocks at a fixed association and cut.

    Parameters
    ----------
    problem : SplitTraining
    server, local_layers : (N,) int
        Server -1 where fully local.
    data : Reduced, optional
        `reduce(problem)` if at hand.

    Returns
    -------
    Allocation
        Globally optimal for these integers, to about 1e-14 of the objective.
    """
    return _solved(problem, server, local_layers, reduce(problem) if data is None else data)[0]


def _solved(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, data: Reduced
) -> tuple[Allocation, FloatArray, FloatArray]:
    """The optimal allocation and the multipliers (M,), (M,) that split the servers."""
    # writable copies: kernels are compiled for one kind of array
    server, cut = np.array(server, dtype=np.int64), np.array(local_layers, dtype=np.int64)
    price_b, price_f = server_prices(data, server, cut)
    band, power, share = np.zeros(problem.users), np.zeros(problem.users), np.zeros(problem.users)
    order, offsets = members_of(server, problem.servers)
    for m in range(problem.servers):
        members = order[offsets[m] : offsets[m + 1]]
        if members.size:
            split(data, members, m, cut, float(price_b[m]), float(price_f[m]), band, power, share)
    allocation = Allocation(server=server, local_layers=cut, power_w=power, bandwidth_hz=band,
                            user_frequency_hz=device_clock(problem), server_frequency_hz=share)
    return allocation, price_b, price_f


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
    best, price_b, price_f = _solved(problem, allocation.server, allocation.local_layers, data)
    n = np.flatnonzero(best.server >= 0)
    m = best.server[n]
    k1, k2 = data.user["k1"][n], data.user["k2"][n]
    gain = data.gain[n, m] * data.inverse_noise
    band = best.bandwidth_hz[n]
    growth = best.power_w[n] * gain / band
    x = np.log1p(growth)
    per_watt = np.zeros(problem.users)
    # d cost/d p, counted where the limit p_max holds the power back
    slope = (k2 - (k1 + k2 * best.power_w[n]) * gain / (band * (1.0 + growth) * x)) / (band * x)
    at_limit = best.power_w[n] >= problem.power_max_w[n] * (1.0 - 1e-12)  # the kernel rounds p g/N0
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
