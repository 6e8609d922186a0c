r"""One server with its users: the least cost of a set of users at given cuts, and the prices that split the server.

.. math:: \Phi_m(S) = \max_{\lambda, \mu}\; \sum_{n \in S} v_n(\lambda, \mu) - \lambda b_m - \mu F_m

(plus what an overloaded server pays, see `Reduced`). The users couple only through sum b <= b_m and sum F <= F_m, and
the problem is convex. Without deadlines bandwidth and clock separate: one root each. With a deadline they do not; the
two prices are then found together. By weak duality a value is a lower bound whatever the rounding of its prices.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.options import (
    EXACT,
    job_bytes,
    job_cycles,
    job_response,
    link_response,
    own_cost,
    timed_option,
)
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.system.responses import best_received_power, radio_slope

__all__ = [
    "PRICES",
    "band_cost",
    "band_price",
    "clock_cost",
    "clock_price",
    "excess_demand",
    "is_timed",
    "joint_prices",
    "overload",
    "site_cost",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Prices of a server: per Hz of bandwidth and of clock, per user, per byte of memory.
PRICES: Final = ("band", "clock", "user", "byte")

#: A price that has fallen by this many powers of e is none: the limit does not bind.
_NOTHING: Final = 40.0


@kernel
def _band_sum(data: Reduced, members: IntArray, count: int, m: int, price: float) -> float:
    total = 0.0
    for i in range(count):
        total += link_response(data, members[i], m, price, 0.0)[1]
    return total


@kernel
def _marginal(data: Reduced, n: int, m: int, band: float, theta: float) -> float:
    """What one more Hz saves user n at a bandwidth and its best power there."""
    gain = data.gain[n, m] * data.inverse_noise
    user = data.user[n]
    k1, k2 = user.k1 + theta * user.nats, user.k2 / gain
    if k1 + k2 <= 0.0:
        return 0.0
    received = best_received_power(band, user.power_low * gain, user.power_high * gain, k1, k2)
    return -radio_slope(band, received, k1, k2)


@kernel
def _next_root(y: float, excess: float, low: float, high: float, slope: float) -> float:
    """A step towards the root of a falling function of y, kept inside its bracket."""
    # where a member holds its cap whatever the price, the sum hardly responds: the slope can be next to nothing
    y = y - min(max(excess / min(slope, -1e-7), -4.0), 4.0)
    if low < y < high:
        return y
    if low > -np.inf and high < np.inf:
        return 0.5 * (low + high)
    return high - 4.0 if low == -np.inf else low + 4.0


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
        return _marginal(data, members[0], m, cap, 0.0)
    price = guess
    if not (price > 0.0 and math.isfinite(price)):
        # the mean marginal cost at equal shares is a fair start
        price = 0.0
        for i in range(count):
            price += _marginal(data, members[i], m, cap / count, 0.0) / count
        if price <= 0.0:
            return 0.0
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
        y_old, excess_old = y, excess
        y = _next_root(y, excess, low, high, slope)
        if y in (low, high) or high - low < 4e-16 * max(1.0, abs(low)):
            break
    return math.exp(y)


@kernel
def _most_negative(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> float:
    """A price of the clock so low that some member takes all of it."""
    worst = np.inf
    for i in range(count):
        n = members[i]
        kappa = data.server[m].kappa * data.user[n].energy_weight
        worst = min(worst, 2.0 * kappa * data.server[m].clock * job_cycles(data, n, m, cut[n]))
    return -worst


@kernel
def clock_price(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> float:
    """Price per Hz of clock at which the members' shares sum to F_m.

    If they want less, 0; or, where the clock has to be handed out whole, the negative price that makes them take it.
    """
    cap = data.server[m].clock
    wanted = 0.0
    for i in range(count):
        n = members[i]
        wanted += math.sqrt(data.user[n].time_weight * job_cycles(data, n, m, cut[n]))
    without_energy = (wanted / cap) ** 2  # closed form of a time-shared server: F_n = F_m sqrt(a_t W)/sum sqrt(a_t W)
    if data.server[m].kappa <= 0.0:
        return without_energy
    if count == 1 and data.server[m].whole > 0.0:
        user, cycles = data.user[members[0]], job_cycles(data, members[0], m, cut[members[0]])
        return cycles * (user.time_weight / cap**2 - 2.0 * data.server[m].kappa * user.energy_weight * cap)
    low, high, price = 0.0, np.inf, 0.0
    total_old, price_old = 0.0, -1.0
    for _ in range(200):
        total = 0.0
        for i in range(count):
            total += job_response(data, members[i], m, cut[members[i]], price, 0.0)[1]
        if price == 0.0 and total <= cap:
            if data.server[m].whole > 0.0 and total < cap:
                return _negative_price(data, members, count, m, cut)
            # the single user's own limit holds it: the price is the marginal cost there
            if count == 1 and total >= cap:
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
def _negative_price(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> float:
    """Root of sum F = F_m below 0, by regula falsi with halving (Illinois)."""
    cap = data.server[m].clock
    low, high = _most_negative(data, members, count, m, cut), 0.0
    at_low, at_high, side = np.inf, -np.inf, 0.0
    price = low
    for step in range(200):
        total = 0.0
        for i in range(count):
            total += job_response(data, members[i], m, cut[members[i]], price, 0.0)[1]
        excess = total / cap - 1.0
        if abs(excess) <= 1e-14:
            break
        if excess > 0.0:
            low, at_low = price, excess
            at_high = 0.5 * at_high if side > 0.0 else at_high
            side = 1.0
        else:
            high, at_high = price, excess
            at_low = 0.5 * at_low if side < 0.0 else at_low
            side = -1.0
        if at_high == -np.inf:
            price = 0.5 * (low + high) if step > 0 else 0.5 * low
        else:
            price = low + (high - low) * at_low / (at_low - at_high)
        if not low < price < high or high - low <= 4e-16 * abs(low):
            break
    return price


@kernel
def band_cost(data: Reduced, members: IntArray, count: int, m: int, guess: float) -> tuple[float, float]:
    """Optimal radio cost of a set of users without deadlines on server m, and the price of its bandwidth.

    By weak duality the value is a lower bound whatever the price's rounding, and it is exact at the optimum.
    """
    if count == 0:
        return 0.0, 0.0
    price = band_price(data, members, count, m, guess)
    total = -price * data.server[m].bandwidth
    for i in range(count):
        total += link_response(data, members[i], m, price, 0.0)[0]
    return total, price


@kernel
def clock_cost(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> tuple[float, float]:
    """Optimal server cost (time and energy) of a set of users without deadlines, and the price of the clock."""
    if count == 0:
        return 0.0, 0.0
    price = clock_price(data, members, count, m, cut)
    total = -price * data.server[m].clock
    for i in range(count):
        n = members[i]
        total += job_response(data, n, m, cut[n], price, 0.0)[0]
    return total, price


# ---- with deadlines ---------------------------------------------------------------------------------------------


@kernel
def is_timed(data: Reduced, members: IntArray, count: int) -> bool:
    """Whether somebody in the set has a deadline."""
    for i in range(count):  # noqa: SIM110 - kernels have no generators
        if data.user[members[i]].deadline < np.inf:
            return True
    return False


@kernel
def _demand(
    data: Reduced,
    members: IntArray,
    count: int,
    m: int,
    cut: IntArray,
    price_b: float,
    price_f: float,
    theta: FloatArray,
) -> tuple[float, float, float]:
    """Dual value, and how much bandwidth and clock is wanted at two prices; `theta` remembers every user's
    multiplier."""
    value, band, clock = -price_b * data.server[m].bandwidth - price_f * data.server[m].clock, 0.0, 0.0
    for i in range(count):
        n = members[i]
        v, b, f, theta[n] = timed_option(data, n, m, cut[n], price_b, price_f, theta[n], EXACT)
        value += v
        band += b
        clock += f
    return value, band, clock


@kernel
def _clock_root(
    data: Reduced, members: IntArray, count: int, m: int, cut: IntArray, price_b: float, guess: float, theta: FloatArray
) -> tuple[float, float, float]:
    """Price of the clock that fits the server at a price of bandwidth: (dual value, bandwidth wanted, price)."""
    server = data.server[m]
    sign = 1.0
    if server.kappa > 0.0:
        value, band, clock = _demand(data, members, count, m, cut, price_b, 0.0, theta)
        if clock <= server.clock:
            if server.whole <= 0.0 or clock == server.clock:
                return value, band, 0.0
            sign = -1.0
    y = (
        math.log(guess)
        if guess > 0.0 and math.isfinite(guess)
        else math.log(max(_first_clock(data, members, count, m, cut), 1e-300))
    )
    if sign < 0.0:
        y = math.log(0.5 * abs(_most_negative(data, members, count, m, cut)))
    low, high, floor = -np.inf, np.inf, y - _NOTHING
    y_old, excess_old, slope = 0.0, np.inf, -0.5
    value, band = -np.inf, 0.0
    for _ in range(200):
        value, band, clock = _demand(data, members, count, m, cut, price_b, sign * math.exp(y), theta)
        excess = sign * math.log(max(clock, 1e-300) / server.clock)
        if abs(excess) <= 1e-14:
            break
        if excess > 0.0:
            low = y
        else:
            high = y
        if y != y_old and excess_old < np.inf:
            slope = (excess - excess_old) / (y - y_old)
        y_old, excess_old = y, excess
        y = _next_root(y, excess, low, high, slope)
        if y in (low, high) or high - low < 4e-16 * max(1.0, abs(low)) or y < floor:
            break
    return value, band, sign * math.exp(y)


@kernel
def _first_clock(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> float:
    """A price of the clock of about the right size: that of a time-shared server, at the multipliers of before."""
    wanted = 0.0
    for i in range(count):
        n = members[i]
        weight = data.user[n].time_weight
        if weight <= 0.0:
            weight = 1e-6 * data.user[n].penalty
        wanted += math.sqrt(weight * job_cycles(data, n, m, cut[n]))
    return (wanted / data.server[m].clock) ** 2


@kernel
def _first_band(data: Reduced, members: IntArray, count: int, m: int) -> float:
    """A price of bandwidth of about the right size: the mean marginal cost at equal shares."""
    price = 0.0
    for i in range(count):
        n = members[i]
        theta = 0.0 if data.user[n].k1 > 0.0 else 1e-6 * data.user[n].penalty
        price += _marginal(data, n, m, data.server[m].bandwidth / count, theta) / count
    return price


@kernel
def _alone(
    data: Reduced, n: int, m: int, cut: IntArray, theta: FloatArray
) -> tuple[float, float, float]:
    """A single user with a deadline has the whole server: (value, prices = marginal costs)."""
    server, user = data.server[m], data.user[n]
    cycles = job_cycles(data, n, m, cut[n])
    kappa = server.kappa * user.energy_weight
    price_f = -2.0 * kappa * server.clock * cycles if server.whole > 0.0 else 0.0
    value, _, share, theta[n] = timed_option(data, n, m, cut[n], 0.0, price_f, theta[n], EXACT)
    value -= price_f * server.clock
    marginal_f = 0.0
    if share > 0.0 and (share >= server.clock or server.whole > 0.0):
        marginal_f = cycles * ((user.time_weight + theta[n]) / share**2 - 2.0 * kappa * share)
        if server.whole <= 0.0:
            marginal_f = max(marginal_f, 0.0)
    return value, _marginal(data, n, m, server.bandwidth, theta[n]), marginal_f


@kernel
def joint_prices(
    data: Reduced,
    members: IntArray,
    count: int,
    m: int,
    cut: IntArray,
    guess_b: float,
    guess_f: float,
    theta: FloatArray,
) -> tuple[float, float, float]:
    """Dual value and both prices of a set in which somebody has a deadline.

    Broyden's method on (log sum b, log sum F) as functions of the log prices, whose derivatives are near -1/2; where
    it does not settle (a clock that nobody wants, demands that deadlines hold fast), a root in the one price inside a
    root in the other.
    """
    server = data.server[m]
    if count == 1:
        return _alone(data, members[0], m, cut, theta)
    u = guess_b if guess_b > 0.0 and math.isfinite(guess_b) else max(_first_band(data, members, count, m), 1e-300)
    v = guess_f if guess_f > 0.0 and math.isfinite(guess_f) else max(_first_clock(data, members, count, m, cut), 1e-300)
    u, v = math.log(u), math.log(v)
    a, b, c, d = -2.0, 0.0, 0.0, -2.0  # inverse of the Jacobian
    r, s, du, dv = 0.0, 0.0, 0.0, 0.0
    for step in range(30 if server.kappa <= 0.0 else 0):
        value, band, clock = _demand(data, members, count, m, cut, math.exp(u), math.exp(v), theta)
        if not (band > 0.0 and clock > 0.0):
            break
        r_new, s_new = math.log(band / server.bandwidth), math.log(clock / server.clock)
        if abs(r_new) <= 2e-13 and abs(s_new) <= 2e-13:
            return value, math.exp(u), math.exp(v)
        if step > 0:
            # good Broyden update of the inverse
            yr, ys = r_new - r, s_new - s
            hr, hs = a * yr + b * ys, c * yr + d * ys
            bottom = du * hr + dv * hs
            if abs(bottom) > 1e-300:
                tr, ts = (du - hr) / bottom, (dv - hs) / bottom
                pa, pb = du * a + dv * c, du * b + dv * d
                a, b, c, d = a + tr * pa, b + tr * pb, c + ts * pa, d + ts * pb
        r, s = r_new, s_new
        du, dv = -(a * r + b * s), -(c * r + d * s)
        size = max(abs(du), abs(dv))
        if not size < 1e3:
            break
        if size > 3.0:
            du, dv = du * 3.0 / size, dv * 3.0 / size
        u, v = u + du, v + dv
        if not (abs(u) < 600.0 and abs(v) < 600.0):
            break
    y = math.log(
        guess_b if guess_b > 0.0 and math.isfinite(guess_b) else max(_first_band(data, members, count, m), 1e-300)
    )
    price_f = guess_f
    low, high, floor = -np.inf, np.inf, y - _NOTHING
    y_old, excess_old, slope = 0.0, np.inf, -0.5
    value = -np.inf
    for _ in range(200):
        value, band, price_f = _clock_root(data, members, count, m, cut, math.exp(y), price_f, theta)
        excess = math.log(max(band, 1e-300) / server.bandwidth)
        if abs(excess) <= 1e-13:
            break
        if excess > 0.0:
            low = y
        else:
            high = y
        if y != y_old and excess_old < np.inf:
            slope = (excess - excess_old) / (y - y_old)
        y_old, excess_old = y, excess
        y = _next_root(y, excess, low, high, slope)
        if y in (low, high) or high - low < 4e-16 * max(1.0, abs(low)) or y < floor:
            break
    return value, math.exp(y), price_f


# ---- everything together ------------------------------------------------------------------------------------------


@kernel
def overload(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> tuple[float, float, float]:
    """What a set pays for users and bytes beyond the server's limits, and whether it does: prices per user and byte."""
    server = data.server[m]
    cost, user_price, byte_price = 0.0, 0.0, 0.0
    if count > server.users:
        cost += (count - server.users) * server.user_penalty
        user_price = server.user_penalty
    if server.bytes < np.inf:
        total = 0.0
        for i in range(count):
            total += job_bytes(data, members[i], cut[members[i]])
        if total > server.bytes * (1.0 + 1e-12):
            cost += (total - server.bytes) * server.byte_penalty
            byte_price = server.byte_penalty
    return cost, user_price, byte_price


@kernel
def site_cost(
    data: Reduced, members: IntArray, count: int, m: int, cut: IntArray, price: FloatArray, theta: FloatArray
) -> float:
    """Least cost of a set of users with their cuts on server m, all that they pay included.

    `price` (4,) holds a guess of the prices and afterwards those found, `theta` (N,) the multipliers of deadlines.
    """
    if count == 0:
        price[:] = 0.0
        return 0.0
    total, price[2], price[3] = overload(data, members, count, m, cut)
    if is_timed(data, members, count):
        value, price[0], price[1] = joint_prices(data, members, count, m, cut, price[0], price[1], theta)
        return total + value
    band, price[0] = band_cost(data, members, count, m, price[0])
    clock, price[1] = clock_cost(data, members, count, m, cut)
    for i in range(count):
        total += own_cost(data, members[i], m, cut[members[i]])
    return total + band + clock


@kernel
def excess_demand(
    data: Reduced, members: IntArray, count: int, m: int, cut: IntArray, price: FloatArray, theta: FloatArray
) -> float:
    """By how much a set with deadlines wants more than there is at the prices found, relative: 0 unless the search for
    them failed."""
    if count < 2 or not is_timed(data, members, count):
        return 0.0
    _, band, clock = _demand(data, members, count, m, cut, price[0], price[1], theta)
    return max(band / data.server[m].bandwidth, clock / data.server[m].clock) - 1.0

