r"""One option (user, server, cut) at prices: the small kernels that oracle, resources, moves and branching share.

A deadline D adds a multiplier theta, the objective per second that the user would pay to be faster:

.. math:: v(\lambda, \mu) = \max_{0 \le \theta \le \Theta}\; A(w_t + \theta) + R(c_t w_t + \theta; \lambda)
          + S(w_t + \theta; \mu) - \theta (D - d),

where every piece is the known response with another delay weight. The slope T(theta) - D falls with theta, and *any*
theta gives a valid lower bound, so that the search for the best one needs no more care than speed asks for.
"""

from __future__ import annotations

import math
from typing import Final

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.system.responses import radio_response, server_response

__all__ = [
    "cut_range", "device_response", "is_finite_at_zero", "job_bytes", "job_cycles", "job_response", "link_delay",
    "link_response", "own_cost", "respond", "timed_option", "without_option",
]

#: relative error of T(theta) = D at which the search for theta ends, where only the value matters, and where shares do
ROUGH: Final = 1e-6
EXACT: Final = 1e-13


@kernel
def link_response(data: Reduced, n: int, m: int, price: float, theta: float) -> tuple[float, float, float]:
    """Least radio cost of user n on server m at a price per Hz (rigorous lower bound), its bandwidth and received
    power."""
    gain = data.gain[n, m] * data.inverse_noise
    user = data.user[n]
    return radio_response(price, data.server[m].bandwidth, user.power_low * gain, user.power_high * gain,
                          user.k1 + theta * user.nats, user.k2 / gain)


@kernel
def job_cycles(data: Reduced, n: int, m: int, cut: int) -> float:
    """Cycles of server m for the layers beyond the cut, and the head."""
    return ((data.factor.size - 1 - cut) * data.user[n].layer + data.user[n].head) / data.server[m].per_cycle


@kernel
def job_response(data: Reduced, n: int, m: int, cut: int, price: float, theta: float) -> tuple[float, float]:
    """Least server cost of user n at a cut and a price per Hz of clock (rigorous lower bound), and its clock."""
    user, server = data.user[n], data.server[m]
    return server_response(price, server.clock, job_cycles(data, n, m, cut), user.time_weight + theta,
                           server.joules * user.energy_weight, server.kappa * user.energy_weight)


@kernel
def job_bytes(data: Reduced, n: int, cut: int) -> float:
    """Server memory of user n at a cut."""
    return data.user[n].fixed_bytes + (data.factor.size - 1 - cut) * data.user[n].layer_bytes


@kernel
def link_delay(data: Reduced, n: int, m: int) -> float:
    """Fixed delay of a link, s; the (1, 1) array of a problem without one holds 0."""
    return data.delay[n, m] if data.delay.size > 1 else data.delay[0, 0]


@kernel
def own_cost(data: Reduced, n: int, m: int, cut: int) -> float:
    """The part of a user's cost that no price touches: device, stability, fixed delay; all of it if fully local.

    At the best device clock without a deadline; with one see `respond`.
    """
    user = data.user[n]
    if m < 0:
        return user.local_cost
    return user.device * cut + user.instability * data.factor[cut] + user.time_weight * link_delay(data, n, m)


@kernel
def device_response(data: Reduced, n: int, cut: int, theta: float) -> tuple[float, float]:
    """Least cost of `cut` layers on the device if a second costs w_t + theta, and the clock."""
    user = data.user[n]
    weight = user.device_time + theta
    f = user.clock_high
    if user.kappa > 0.0:
        f = min(max((weight / (2.0 * user.kappa)) ** (1.0 / 3.0), user.clock_low), user.clock_high)
    if cut == 0:
        return 0.0, f
    if f <= 0.0:
        return 0.0, f
    return cut * user.cycles * (weight / f + user.kappa * f * f), f


@kernel
def respond(
    data: Reduced, n: int, m: int, cut: int, price_b: float, price_f: float, theta: float
) -> tuple[float, float, float, float]:
    """Priced cost of an option at any theta >= 0 (a rigorous lower bound), bandwidth, clock and elapsed time T."""
    user = data.user[n]
    radio, band, received = link_response(data, n, m, price_b, theta)
    work, share = job_response(data, n, m, cut, price_f, theta)
    device, f = device_response(data, n, cut, theta)
    fixed = link_delay(data, n, m)
    elapsed = math.inf
    if band > 0.0 and share > 0.0 and (f > 0.0 or cut == 0):
        elapsed = fixed + user.nats / (band * math.log1p(received / band)) + job_cycles(data, n, m, cut) / share
        if cut > 0:
            elapsed += cut * user.cycles / f
    value = radio + work + device + user.instability * data.factor[cut] + user.time_weight * fixed
    if theta > 0.0:
        # large terms cancel here: what they may have lost is taken off
        late = theta * (user.deadline - fixed)
        value = value - late - 2e-15 * (abs(value) + abs(late))
    return value, band, share, elapsed


@kernel
def is_finite_at_zero(data: Reduced, n: int) -> bool:
    """Whether T(0) is finite: otherwise no time at all is paid for, and everything takes for ever."""
    user = data.user[n]
    return user.time_weight > 0.0 and (user.k1 > 0.0 or user.power_low > 0.0)


@kernel
def timed_option(
    data: Reduced, n: int, m: int, cut: int, price_b: float, price_f: float, guess: float, tolerance: float
) -> tuple[float, float, float, float]:
    """Priced cost of an option under the user's deadline: (value, bandwidth, clock, theta).

    `guess` is a theta to start from (0: none), `tolerance` the relative error of the time at which to stop.
    """
    user = data.user[n]
    deadline, top = user.deadline, user.penalty
    free = is_finite_at_zero(data, n)
    value, band, share, elapsed = -math.inf, 0.0, 0.0, math.inf
    if free or deadline == math.inf:
        value, band, share, elapsed = respond(data, n, m, cut, price_b, price_f, 0.0)
        if elapsed <= deadline:
            return value, band, share, 0.0
    best, best_band, best_share, best_theta = value, band, share, 0.0
    # theta is sought on the scale of log(base + theta): of what it adds to, the smallest
    base = min(user.time_weight, user.k1 / user.nats)
    theta = guess
    if not 0.0 < theta <= top:
        theta = base * ((elapsed / deadline) ** 2 - 1.0) if free and base > 0.0 else 1e-6 * top
        theta = min(max(theta, 1e-12 * top), top)
    # log(base + theta) with T above and below the deadline
    low, high = math.log(base) if free and base > 0.0 else -math.inf, math.inf
    y = math.log(base + theta)
    y_old, excess_old = 0.0, math.inf
    most = math.log(base + top)
    for _ in range(100):
        theta = min(max(math.exp(y) - base, 0.0), top)
        if y >= most:
            theta = top
        value, band, share, elapsed = respond(data, n, m, cut, price_b, price_f, theta)
        if value > best:
            best, best_band, best_share, best_theta = value, band, share, theta
        excess = math.log(elapsed / deadline)
        if abs(excess) <= tolerance or (excess > 0.0 and theta >= top):
            return value, band, share, theta
        if excess > 0.0:
            low = y
        else:
            high = y
        slope = -0.4
        if y != y_old and excess_old < math.inf:
            slope = min((excess - excess_old) / (y - y_old), -1e-7)
        y_old, excess_old = y, excess
        y = min(y - min(max(excess / slope, -4.0), 4.0), most)
        if not low < y < high:
            y = (
                0.5 * (low + high)
                if low > -math.inf and high < math.inf
                else (high - 3.0 if low == -math.inf else low + 3.0)
            )
            y = min(y, most)
        if y in (low, high):
            break
    return best, best_band, best_share, best_theta


@kernel
def cut_range(data: Reduced, n: int, m: int) -> tuple[int, int]:
    """Cuts low..high of user n that server m can finish in time at all: whole server, full power, full clock."""
    user, server = data.user[n], data.server[m]
    low, high = user.low, user.high
    if user.hard <= 0.0 or low > high:
        return low, high
    received = user.power_high * data.gain[n, m] * data.inverse_noise
    spare = user.deadline * (1.0 + 1e-12) - link_delay(data, n, m)
    spare -= user.nats / (server.bandwidth * math.log1p(received / server.bandwidth))
    # the fastest time is linear in the cut, so what is too slow lies at the ends
    while low <= high and low * user.cycles / user.clock_high + job_cycles(data, n, m, low) / server.clock > spare:
        low += 1
    while low <= high and high * user.cycles / user.clock_high + job_cycles(data, n, m, high) / server.clock > spare:
        high -= 1
    return low, high


@kernel
def without_option(data: Reduced) -> int:
    """The first user that no option is left for, -1 if there is none."""
    for n in range(data.user.size):
        possible = data.user[n].local_cost < math.inf
        for m in range(data.server.size):
            if not possible and data.gain[n, m] > 0.0:
                low, high = cut_range(data, n, m)
                possible = low <= high
        if not possible:
            return n
    return -1
