r"""How one radio link and one server share respond to a price: the compiled heart of every bound.

With :math:`x = \ln(1 + P/b)`, P = p g / N0 (the received power over the noise density, in Hz) and the rate
r = b x / ln 2, uploading s bits costs

.. math:: \Phi(b, p; \lambda) = \frac{K_1 + K_2 P}{b x} + \lambda b,

K1 = a_t s ln 2 and K2 = a_e s ln 2 N0/g, where a_t (per second) and a_e (per radiated joule) are weights. The
radio part is log-convex in (log b, log p), so :math:`\Phi` is convex there, and a first-order bound at *any*
point of the box [b, p] is a rigorous lower bound of the minimum: that is what the functions here return as
value, whatever rounding did to the minimiser. The one-dimensional optimality conditions all have the form
h(x) = T with h increasing:

- both free:          q(x)/sqrt(x) = sqrt(K1 lambda)/K2,              b = sqrt(K1/(lambda x));
- power at a bound P: q(x) (e^x - 1)^2/(x^2 e^x) = lambda P/(K1/P + K2), b = P/(e^x - 1);
- bandwidth given:    q(x) = K1/(b K2),                               P = b (e^x - 1);

q(x) = x e^x - e^x + 1. They are solved by Newton in y = log x on log h, which is increasing and convex in y.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicHermiteSpline

from edgealloc.compiled import kernel

__all__ = [
    "best_received_power",
    "radio_cost",
    "radio_response",
    "radio_slope",
    "server_cost",
    "server_response",
]

#: Half-width, in units of log b and log p, of the box in which the optimum surely lies: a cost e^100 times
#: the best is not optimal. It multiplies first-order residuals of relative size 1e-16.
_WIDTH = 100.0

# The three conditions. Floats, because numba compiles a kernel anew for every integer that it can see in the text.
_BOTH_FREE: Final = 0.0
_GIVEN_POWER: Final = 1.0
_GIVEN_BAND: Final = 2.0


@kernel
def _one_minus(x: float) -> float:
    """x - 1 + e^-x without cancellation."""
    if x < 1e-2:
        return x * x * (0.5 - x * (1.0 / 6.0 - x * (1.0 / 24.0 - x * (1.0 / 120.0 - x / 720.0))))
    return x + math.expm1(-x)


@kernel
def _q(x: float, growth: float) -> float:
    """q(x) = x e^x - e^x + 1 given growth = e^x - 1; by its series below 0.3, where the closed form
    cancels."""
    if x < 0.3:
        # q = sum_{j>=0} x^(j+2) (j+1)/(j+2)!
        series = 1.0 / 3991680.0 + x * (1.0 / 43545600.0 + x / 518918400.0)
        series = 1.0 / 45360.0 + x * (1.0 / 403200.0 + x * series)
        series = 1.0 / 144.0 + x * (1.0 / 840.0 + x * (1.0 / 5760.0 + x * series))
        return x * x * (0.5 + x * (1.0 / 3.0 + x * (0.125 + x * (1.0 / 30.0 + x * series))))
    return x * (1.0 + growth) - growth


@kernel
def _newton_step(kind: float, x: float, log_t: float) -> float:
    """Newton step in y = log x for log h(x) = log_t; kind 0: q/sqrt(x), 1: q (e^x-1)^2/(x^2 e^x), 2: q."""
    if x > 300.0:  # in logs, where e^x would overflow
        value = x + math.log(x - 1.0)
        slope = x * x / (x - 1.0)
        if kind == _BOTH_FREE:
            return (log_t - value + 0.5 * math.log(x)) / (slope - 0.5)
        if kind == _GIVEN_POWER:
            return (log_t - value - x + 2.0 * math.log(x)) / (slope + x - 2.0)
        return (log_t - value) / slope
    growth = math.expm1(x)
    q = _q(x, growth)
    slope = x * x * (1.0 + growth) / q  # d log q/d log x
    if kind == _BOTH_FREE:
        return (log_t - math.log(q / math.sqrt(x))) / (slope - 0.5)
    if kind == _GIVEN_POWER:
        ratio = growth / x
        return (log_t - math.log(q * ratio * ratio / (1.0 + growth))) / (
            slope + x * (1.0 + 2.0 / growth) - 2.0
        )
    return (log_t - math.log(q)) / slope


@kernel
def _newton(kind: float, log_t: float) -> float:
    """x with log h(x) = log_t from scratch.

    log h is increasing and convex in y = log x, with slope 1.5 (kind 0) or 2 at -inf: Newton from a point on
    the right of the root falls onto it monotonically, and one step from the left lands on the right.
    """
    y = (log_t + math.log(2.0)) / (1.5 if kind == _BOTH_FREE else 2.0)
    if y > 0.0:
        y = min(y, math.log(max(1.0, 0.5 * log_t if kind == _GIVEN_POWER else log_t)))
    for _ in range(100):
        step = _newton_step(kind, math.exp(y), log_t)
        y += step
        if abs(step) < 1e-9:  # quadratic convergence: the next step would be below rounding
            break
    return math.exp(y)


def _make_table() -> npt.NDArray[np.float64]:
    """(kind 0 or 1, node, [y, dy/dlog T]) over a uniform grid of log T: start values good to 1e-8."""
    log_t = _TABLE_LOW + np.arange(_TABLE_SIZE) / _TABLE_DENSITY
    table = np.empty((2, _TABLE_SIZE, 2))
    for kind in (0, 1):
        y = np.linspace(-60.0, 6.5, 40001)
        x = np.exp(y)
        small = x < 0.05
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            log_q = np.where(
                small,
                2.0 * y + np.log(0.5 + x * (1 / 3 + x * (1 / 8 + x * (1 / 30 + x / 144)))),
                x + np.log(np.maximum(x - 1.0 + np.exp(-x), 1e-300)),
            )
            slope = (
                x
                * x
                / np.where(
                    small,
                    x * x * (0.5 - x * (1 / 6 - x * (1 / 24 - x / 120))),
                    np.maximum(x - 1.0 + np.exp(-x), 1e-300),
                )
            )
        shrink = -np.expm1(-x)
        value = log_q - 0.5 * y if kind == 0 else log_q + x + 2.0 * np.log(shrink / x)
        slope = slope - 0.5 if kind == 0 else slope + x * (2.0 / shrink - 1.0) - 2.0
        table[kind, :, 0] = CubicHermiteSpline(value, y, 1.0 / slope)(log_t)
        table[kind, :, 1] = np.interp(log_t, value, 1.0 / slope)
    table.setflags(write=False)
    return table


_TABLE_LOW: Final = -60.0
_TABLE_DENSITY: Final = 16.0
_TABLE_SIZE: Final = 2401  # up to log T = 90
_TABLE: Final = _make_table()


@kernel
def _solve(kind: float, log_t: float) -> float:
    """x with log h(x) = log_t, kind 0 or 1: cubic interpolation of y(log T) and one Newton step."""
    position = (log_t - _TABLE_LOW) * _TABLE_DENSITY
    if not 0.0 <= position < _TABLE_SIZE - 1.0:
        return _newton(kind, log_t)
    row = int(kind)
    i = int(position)
    u = position - i
    y0, d0 = _TABLE[row, i, 0], _TABLE[row, i, 1] / _TABLE_DENSITY
    y1, d1 = _TABLE[row, i + 1, 0], _TABLE[row, i + 1, 1] / _TABLE_DENSITY
    rise = y1 - y0
    y = y0 + u * (d0 + u * (3.0 * rise - 2.0 * d0 - d1 + u * (d0 + d1 - 2.0 * rise)))
    x = math.exp(y)
    step = _newton_step(kind, x, log_t)
    return x * (1.0 + step * (1.0 + 0.5 * step))


@kernel
def radio_cost(b: float, received: float, k1: float, k2: float) -> float:
    """(K1 + K2 P)/(b x), the radio cost at bandwidth b (Hz) and received power P (Hz)."""
    return (k1 + k2 * received) / (b * math.log1p(received / b))


@kernel
def radio_slope(b: float, received: float, k1: float, k2: float) -> float:
    """dC/db <= 0 at fixed power; by the envelope theorem also where the power is optimal.

    Parameters
    ----------
    b : float
        Bandwidth in Hz.
    received : float
        Received power P = p g/N0 in Hz.
    k1 : float
        K1 of the formula of this module.
    k2 : float
        K2 of the formula of this module.
    """
    x = math.log1p(received / b)
    return -(k1 + k2 * received) * _one_minus(x) / (b * x) ** 2


@kernel
def best_received_power(b: float, low: float, high: float, k1: float, k2: float) -> float:
    """Received power P in [low, high] of least cost at bandwidth b.

    Parameters
    ----------
    b : float
        Bandwidth in Hz.
    low : float
        Least received power p_min g/N0 in Hz.
    high : float
        Largest received power p_max g/N0 in Hz.
    k1 : float
        K1 of the formula of this module.
    k2 : float
        K2 of the formula of this module.
    """
    if k1 <= 0.0:
        return low
    if k2 <= 0.0:
        return high
    x = _newton(_GIVEN_BAND, math.log(k1) - math.log(b) - math.log(k2))
    if x > 700.0 or b * math.expm1(x) >= high:
        return high
    return max(low, b * math.expm1(x))


@kernel
def _at_power(price: float, cap: float, received: float, k1: float, k2: float) -> tuple[float, float, float]:
    """Best bandwidth b <= cap at a fixed received power, with x = log1p(P/b) and growth = e^x - 1 = P/b."""
    x = _solve(_GIVEN_POWER, math.log(price * received) + math.log(received / (k1 + k2 * received)))
    if x < 300.0:
        growth = math.expm1(x)
        if received < cap * growth:
            return received / growth, x, growth
    growth = received / cap
    return cap, math.log1p(growth), growth


@kernel
def _toward_power(b: float, received: float, x: float, growth: float, k1: float, k2: float) -> float:
    """d cost / d log p at fixed bandwidth."""
    return (k2 * received - (k1 + k2 * received) * growth / ((1.0 + growth) * x)) / (b * x)


@kernel
def radio_response(
    price: float, cap: float, low: float, high: float, k1: float, k2: float
) -> tuple[float, float, float]:
    """Least cost of one upload at a price per Hz, as a rigorous lower bound, and what it uses.

    Parameters
    ----------
    price : float
        lambda >= 0, objective per Hz.
    cap : float
        b_m, Hz.
    low, high : float
        Range of the received power P = p g/N0, Hz; high > 0.
    k1, k2 : float
        K1, K2 of the module's formula, >= 0.

    Returns
    -------
    value, bandwidth, received : float
        value <= min of the cost over the box, equal to it up to rounding.
    """
    if k1 + k2 <= 0.0:
        return 0.0, 0.0, high  # nothing to pay for: no bandwidth is needed
    b, received = cap, high
    growth = high / cap
    x = math.log1p(growth)
    settled = False
    # The problem is convex: whichever of the cases satisfies its own conditions is the optimum. Full power
    # comes first, because where delay matters it nearly always is.
    if price > 0.0:
        b, x, growth = _at_power(price, cap, high, k1, k2)
        settled = _toward_power(b, high, x, growth, k1, k2) <= 0.0
        if not settled and low > 0.0:
            received = low
            b, x, growth = _at_power(price, cap, low, k1, k2)
            settled = _toward_power(b, low, x, growth, k1, k2) >= 0.0
        if not settled:
            x = _solve(_BOTH_FREE, 0.5 * (math.log(k1) + math.log(price)) - math.log(k2))
            b = math.sqrt(k1 / (price * x))
            settled = b < cap
            if settled:
                growth = math.expm1(min(x, 700.0))
                received = min(max(b * growth, low), high)
    if not settled:
        b = cap
        received = best_received_power(cap, low, high, k1, k2)
        growth = received / cap
        x = math.log1p(growth)
    cost = (k1 + k2 * received) / (b * x)
    total = cost + price * b
    # first-order bound over the box of (log b, log p)
    toward_b = price * b - cost * (x - growth / (1.0 + growth) if x > 0.3 else _one_minus(x)) / x
    toward_p = _toward_power(b, received, x, growth, k1, k2)
    slack = 0.0
    if toward_b > 0.0 or b < cap:
        slack += abs(toward_b)
    if (toward_p > 0.0 and received > low) or (toward_p < 0.0 and received < high):
        slack += abs(toward_p)
    return total - _WIDTH * slack, b, received


@kernel
def server_cost(share: float, cycles: float, time_weight: float, energy: float, kappa: float) -> float:
    """Cost of `cycles` at clock share F: cycles (a_t/F + energy + kappa F^2); energy per cycle, kappa
    weighted.

    Parameters
    ----------
    share : float
        F, share of the clock in Hz.
    cycles : float
        Clock cycles of the job.
    time_weight : float
        a_t, objective per second.
    energy : float
        Weighted energy per cycle.
    kappa : float
        Weighted energy coefficient.
    """
    return cycles * (time_weight / share + energy + kappa * share * share)


@kernel
def server_response(
    price: float, cap: float, cycles: float, time_weight: float, energy: float, kappa: float
) -> tuple[float, float]:
    """Least cost of one server job at a price per Hz of clock (rigorous lower bound), and the clock it takes.

    Parameters
    ----------
    price : float
        mu, objective per Hz; negative where the clock has to be handed out whole and nobody wants it.
    cap : float
        F_m, Hz.
    cycles : float
        W/(C D), server cycles of the job.
    time_weight : float
        a_t >= 0, objective per second.
    energy : float
        Time-shared: objective per cycle, whatever the share.
    kappa : float
        Clock-scaled: w_e kappa_m; 0 for time-shared.
    """
    if cycles <= 0.0:
        return 0.0, 0.0
    if time_weight <= 0.0 and price >= 0.0:
        return cycles * energy, 0.0 if price > 0.0 else cap * (kappa <= 0.0)
    if kappa <= 0.0:
        # F = sqrt(a_t cycles/mu): the closed form is exact, no slack is needed beyond the caller's rounding
        # guard
        if price * cap * cap > time_weight * cycles:
            return cycles * energy + 2.0 * math.sqrt(time_weight * cycles * price), math.sqrt(
                time_weight * cycles / price
            )
        return cycles * (time_weight / cap + energy) + price * cap, cap
    if price < 0.0 and time_weight <= 0.0:
        share = min(-price / (2.0 * kappa * cycles), cap)
        return cycles * kappa * share * share + price * share - 1e-15 * abs(price * share), share
    natural = (time_weight / (2.0 * kappa)) ** (1.0 / 3.0)
    # F = natural z with z^3 + tau z^2 = 1
    tau = price / (2.0 * kappa * cycles * natural)
    z = 1.0 if tau < 1.0 else 1.0 / math.sqrt(tau)
    for _ in range(60):
        # Newton on tau + z - 1/z^2, increasing and concave in z: monotone from the left
        step = (1.0 / (z * z) - tau - z) / (1.0 + 2.0 / (z * z * z))
        z += step
        if abs(step) <= 1e-9 * z:
            break
    share = min(natural * z, cap)
    total = cycles * (time_weight / share + energy + kappa * share * share) + price * share
    slope = cycles * (2.0 * kappa * share * share - time_weight / share) + price * share
    if share >= cap and slope < 0.0:
        slope = 0.0
    if price < 0.0:
        # convex in F itself, not in log F: `slope` is F times the derivative, and F lies in (0, cap]
        return total - max(1.0, cap / share) * abs(slope), share
    return total - _WIDTH * abs(slope), share
