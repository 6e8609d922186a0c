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


@kernel
def log_q(x: float) -> float:
    """log(x e^x - e^x + 1), by its series below 1e-2, where the closed form cancels, and free of overflow."""
    if x < 1e-2:
        # q = sum_{k>=2} x^k (k-1)/k!
        return math.log(x * x * (0.5 + x * (1.0 / 3.0 + x * (0.125 + x * (1.0 / 30.0 + x * (1.0 / 144.0))))))
    if x < 30.0:
        return math.log(x * math.exp(x) - math.expm1(x))
    return x + math.log(x - 1.0)  # the rest is below e^-30


@kernel
def _log_q_slope(x: float) -> float:
    """d log q / d log x = x^2 e^x / q: 2 at 0, x + 1 + ... for large x."""
    if x < 1e-2:
        return (1.0 + x * (1.0 + x * (0.5 + x / 6.0))) / (0.5 + x * (1.0 / 3.0 + x * (0.125 + x / 30.0)))
    return x * x / (x - 1.0 + math.exp(-x)) if x < 30.0 else x * x / (x - 1.0)


@kernel
def _solve(kind: int, log_t: float) -> float:
    """x with log h(x) = log_t; kind 0: q/sqrt(x), 1: q (e^x-1)^2/(x^2 e^x), 2: q.

    log h is increasing and convex in y = log x, with slope 1.5, 2 or 2 at -inf. Newton from a point on the
    right of the root falls onto it monotonically, and one step from the left lands on the right.
    """
    slope0 = 1.5 if kind == 0 else 2.0
    # h ~ x^slope0/2 for small x; for large x log h ~ x (2 x for kind 1): take the smaller of both guesses
    y = (log_t + math.log(2.0)) / slope0
    if y > 0.0:
        x = max(1.0, 0.5 * log_t if kind == 1 else log_t - 0.5 * math.log(max(log_t, 1.0)))
        y = min(y, math.log(x))
    x = math.exp(y)
    for _ in range(60):
        value = log_q(x)
        slope = _log_q_slope(x)
        if kind == 0:
            value -= 0.5 * y
            slope -= 0.5
        elif kind == 1:
            if x < 1e-2:
                # ((e^x-1)/x)^2 e^-x = (sinh(x/2)/(x/2))^2 = 1 + x^2/12 + x^4/360 + ...
                value += math.log1p(x * x * (1.0 / 12.0 + x * x / 360.0))
                slope += x * x / 6.0
            else:
                shrink = -math.expm1(-x)
                value += x + 2.0 * math.log(shrink / x)
                slope += x + 2.0 * (x * math.exp(-x) / shrink - 1.0)
        step = (log_t - value) / slope
        y += step
        x = math.exp(y)
        if abs(step) < 1e-9:  # quadratic convergence: the next step would be below rounding
            break
    return x


@kernel
def _one_minus(x: float) -> float:
    """x - 1 + e^-x without cancellation."""
    if x < 1e-2:
        return x * x * (0.5 - x * (1.0 / 6.0 - x * (1.0 / 24.0 - x * (1.0 / 120.0 - x / 720.0))))
    return x + math.expm1(-x)


@kernel
def radio_cost(b: float, received: float, k1: float, k2: float) -> float:
    """(K1 + K2 P)/(b x), the radio cost at bandwidth b (Hz) and received power P (Hz)."""
    return (k1 + k2 * received) / (b * math.log1p(received / b))


@kernel
def radio_slope(b: float, received: float, k1: float, k2: float) -> float:
    """dC/db <= 0 at fixed power; by the envelope theorem also where the power is optimal."""
    x = math.log1p(received / b)
    return -(k1 + k2 * received) * _one_minus(x) / (b * x) ** 2


@kernel
def best_received_power(b: float, low: float, high: float, k1: float, k2: float) -> float:
    """Received power P in [low, high] of least cost at bandwidth b."""
    if k1 <= 0.0:
        return low
    if k2 <= 0.0:
        return high
    x = _solve(2, math.log(k1) - math.log(b) - math.log(k2))
    if x > 700.0 or b * math.expm1(x) >= high:
        return high
    return max(low, b * math.expm1(x))


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
    b, received = cap, -1.0
    if price > 0.0:
        if k1 <= 0.0:
            received = low
        elif k2 <= 0.0:
            received = high
        else:
            x = _solve(0, 0.5 * (math.log(k1) + math.log(price)) - math.log(k2))
            if x < 700.0:
                b = math.sqrt(k1 / (price * x))
                free = b * math.expm1(x)
                received = min(max(free, low), high)
                if received == free:
                    received = -2.0  # interior: b is final, P follows from x
            else:
                received = high
        if received == -2.0:
            received = b * math.expm1(x)
        else:
            # k2 = 0 and k1 = 0 are both handled: one of them is positive whenever the cost is
            weight = k1 / received + k2
            if weight <= 0.0:
                b = 0.0
            else:
                x = _solve(1, math.log(price) + math.log(received) - math.log(weight))
                b = received / math.expm1(x) if x < 700.0 else received * math.exp(-x)
        if k1 + k2 <= 0.0:
            return 0.0, 0.0, high  # nothing to pay for: no bandwidth is needed
    if b >= cap or price <= 0.0:
        b = cap
        received = best_received_power(b, low, high, k1, k2)
    x = math.log1p(received / b)
    cost = (k1 + k2 * received) / (b * x)
    total = cost + price * b
    # first-order bound over the box of (log b, log p)
    toward_b = price * b - (k1 + k2 * received) * _one_minus(x) / (b * x * x)
    toward_p = k2 * received / (b * x) + cost / x * math.expm1(-x)
    slack = 0.0
    if toward_b > 0.0 or b < cap:
        slack += abs(toward_b)
    if (toward_p > 0.0 and received > low) or (toward_p < 0.0 and received < high):
        slack += abs(toward_p)
    return total - _WIDTH * slack, b, received


@kernel
def server_cost(share: float, cycles: float, time_weight: float, energy: float, kappa: float) -> float:
    """Cost of `cycles` at clock share F: cycles (a_t/F + energy + kappa F^2); energy per cycle, kappa
    weighted."""
    return cycles * (time_weight / share + energy + kappa * share * share)


@kernel
def server_response(
    price: float, cap: float, cycles: float, time_weight: float, energy: float, kappa: float
) -> tuple[float, float]:
    """Least cost of one server job at a price per Hz of clock (rigorous lower bound), and the clock it takes.

    Parameters
    ----------
    price : float
        mu >= 0, objective per Hz.
    cap : float
        F_m, Hz.
    cycles : float
        W/(C D), server cycles of the job.
    time_weight : float
        a_t > 0, objective per second.
    energy : float
        Time-shared: objective per cycle, whatever the share.
    kappa : float
        Clock-scaled: w_e kappa_m; 0 for time-shared.
    """
    if cycles <= 0.0:
        return 0.0, 0.0
    if kappa <= 0.0:
        # F = sqrt(a_t cycles/mu): the closed form is exact, no slack is needed beyond the caller's rounding
        # guard
        if price * cap * cap > time_weight * cycles:
            return cycles * energy + 2.0 * math.sqrt(time_weight * cycles * price), math.sqrt(
                time_weight * cycles / price
            )
        return cycles * (time_weight / cap + energy) + price * cap, cap
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
    return total - _WIDTH * abs(slope), share
