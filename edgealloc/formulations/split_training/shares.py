"""Resources by rule: equal or random shares of every server, and the best power for a given bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.reduced import device_clock, radio_weights

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "Division",
    "best_power_w",
    "divided",
    "equal_allocation",
    "equal_division",
    "hand_out",
    "random_division",
    "solve_q",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Random resources draw from a stream of their own, so that they do not depend on what else is drawn.
_RESOURCES: Final = 2
#: The least of a random quantity, as a share of its maximum or mean.
_LEAST: Final = 0.1


def best_power_w(
    problem: SplitTraining, n: IntArray, gain: FloatArray, bandwidth_hz: FloatArray
) -> FloatArray:
    r"""Transmit power that minimises the cost of the upload at a given bandwidth.

    .. math::

        \min_{p_{min} \le p \le p_{max}} (a_t + a_e p) \frac{s}{r(b, p)}, \qquad
        x e^x - e^x + 1 = \frac{a_t g}{a_e N_0 b}, \quad p = \frac{b N_0}{g} (e^x - 1),

    clipped to the bounds: the cost falls before its one stationary point and grows after it.

    Parameters
    ----------
    problem : SplitTraining
    n : int array (K,)
        Users.
    gain, bandwidth_hz : array (K,)
        Their gains (> 0) and bandwidths in Hz (> 0).

    Returns
    -------
    array (K,)
        Watts; p_max where energy costs nothing, p_min where only energy counts.
    """
    per_second, per_joule = (weight[n] for weight in radio_weights(problem))
    low, high = problem.power_min_w[n], problem.power_max_w[n]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # sums of logarithms: products of gains, noise densities and bandwidths leave the range of floats
        log_noise_power = np.log(bandwidth_hz) + np.log(problem.noise_psd_w_per_hz) - np.log(gain)
        log_t = np.log(per_second) - np.log(per_joule) - log_noise_power
        x = solve_q(np.clip(np.where(np.isfinite(log_t), log_t, 0.0), -600.0, 1e6))
        # log(e^x - 1) without overflow
        log_power = log_noise_power + x + np.log(-np.expm1(-x))
        interior = np.exp(np.clip(log_power, -745.0, 700.0))
    power = np.clip(interior, low, high)
    power = np.where(per_second <= 0.0, low, power)
    return np.asarray(np.where(per_joule <= 0.0, high, power))


def solve_q(log_t: FloatArray) -> FloatArray:
    """Solve ``q(x) = x e^x - e^x + 1 = T`` for x > 0, given log T.

    Newton's method on (log x, log q): that curve is convex with slopes between 2 (small x) and x, so it
    descends monotonically from the upper start min(sqrt(2 T), 1 + log(1 + T)). The Lambert function loses
    every digit for small T.
    """
    with np.errstate(over="ignore"):
        u = np.minimum(0.5 * (np.log(2.0) + log_t), np.log1p(np.logaddexp(0.0, log_t)))
    for _ in range(12):
        x = np.exp(u)
        # q(x) = e^x (x - 1 + e^-x); the bracket cancels for small x, where its series is used
        series = x * x * (0.5 - x / 6 + x**2 / 24 - x**3 / 120 + x**4 / 720 - x**5 / 5040 + x**6 / 40320)
        bracket = np.where(x < 0.05, series, x + np.expm1(-x))
        # d log q / d log x = x (x e^x) / q
        step = (x + np.log(bracket) - log_t) * bracket / (x * x)
        u = u - step
    return np.asarray(np.exp(u))


@dataclass(frozen=True, eq=False)
class Division:
    """How servers, power and device clocks are set by rule, known before anybody's cut is.

    Attributes
    ----------
    bandwidth_weight, clock_weight : (N,)
        > 0; a user's share of its server is its weight over that of all who share it. So those who leave hand theirs
        to the others in proportion.
    power_w : (N,) or None
        None: the best one for the bandwidth.
    user_frequency_hz : (N,)
        Device clock.
    """

    bandwidth_weight: FloatArray
    clock_weight: FloatArray
    power_w: FloatArray | None
    user_frequency_hz: FloatArray


def equal_division(problem: SplitTraining, _run: Run | None = None) -> Division:
    """Equal shares; the best power for them, the best device clock."""
    ones = np.ones(problem.users)
    return Division(ones, ones, None, device_clock(problem))


def random_division(problem: SplitTraining, run: Run) -> Division:
    """Everything at random, but nothing so small that its cost has no end; the ranges are our choice.

    Weights of shares are 0.1 + Exp(1): shares spread like a Dirichlet draw of parameter 1, mixed with a tenth of an
    equal share. Power and device clock are uniform from a tenth of their maximum (or the minimum, if that is more) to
    the maximum. Every user's numbers depend on the seed and its place in the list alone.
    """
    rng = np.random.default_rng([run.seed, _RESOURCES])
    band, clock = (_LEAST + rng.exponential(size=problem.users) for _ in range(2))
    drawn = [
        rng.uniform(np.maximum(low, _LEAST * high), high)
        for low, high in ((problem.power_min_w, problem.power_max_w),
                          (problem.user_frequency_min_hz, problem.user_frequency_max_hz))
    ]
    return Division(band, clock, drawn[0], drawn[1])


def divided(
    problem: SplitTraining, server: IntArray, split: BoolArray, division: Division
) -> tuple[FloatArray, FloatArray]:
    """Bandwidth and server clock (N,), Hz, of the users of `split`, who have the servers to themselves; 0 for others.

    A server is handed out whole, and its limit is not exceeded by a single bit.
    """
    m = server[split]
    count = np.bincount(m, minlength=problem.servers)
    # K weights added, shares of K users added again: the sum is off by less than 2 K + 4 roundings
    whole = 1.0 - (2.0 * count + 4.0) * np.finfo(float).eps
    shares = []
    for weight, limit in ((division.bandwidth_weight, problem.bandwidth_max_hz),
                          (division.clock_weight, problem.server_frequency_max_hz)):
        share, total = np.zeros(problem.users), np.bincount(m, weights=weight[split], minlength=problem.servers)
        share[split] = weight[split] / total[m] * (whole * limit)[m]
        shares.append(share)
    return shares[0], shares[1]


def hand_out(problem: SplitTraining, server: IntArray, local_layers: IntArray, division: Division) -> Allocation:
    """The allocation in which the users with a cut below `layers` divide their servers by rule.

    Parameters
    ----------
    problem : SplitTraining
    server : int array (N,)
        Ignored for users whose cut is `layers`.
    local_layers : int array (N,)
    division : Division

    Returns
    -------
    Allocation
    """
    split = local_layers < problem.layers
    bandwidth, clock = divided(problem, server, split, division)
    n = np.flatnonzero(split)
    power = np.zeros(problem.users)
    if division.power_w is None:
        power[n] = best_power_w(problem, n, problem.gain[n, server[n]], bandwidth[n])
    else:
        power[n] = division.power_w[n]
    return Allocation(
        server=np.where(split, server, -1), local_layers=local_layers, power_w=power, bandwidth_hz=bandwidth,
        user_frequency_hz=division.user_frequency_hz, server_frequency_hz=clock,
    )


def equal_allocation(problem: SplitTraining, server: IntArray, local_layers: IntArray) -> Allocation:
    """Equal shares of band and clock among the users of each server, then the best power and device clock.

    Parameters
    ----------
    problem : SplitTraining
    server : int array (N,)
        Ignored for users whose cut is `layers`.
    local_layers : int array (N,)

    Returns
    -------
    Allocation
    """
    return hand_out(problem, server, local_layers, equal_division(problem))
