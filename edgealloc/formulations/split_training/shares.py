"""How a server is shared by rule, and the best power for a given bandwidth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.reduced import device_clock, radio_weights

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["best_power_w", "equal_allocation", "equal_shares", "optimal", "solve_q"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


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


def equal_shares(
    problem: SplitTraining, server: IntArray, split: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """b_m / K_m and F_m / K_m (N,) for the K_m users of `split` on each server, 0 for the others."""
    count = np.bincount(server[split], minlength=problem.servers)
    share = np.zeros(problem.users)
    # K additions round by up to K eps: the sum must not exceed the limit by a single bit
    share[split] = ((1.0 - count * np.finfo(float).eps) / np.maximum(count, 1))[server[split]]
    return share * problem.bandwidth_max_hz[server], share * problem.server_frequency_max_hz[server]


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
    split = local_layers < problem.layers
    bandwidth, clock = equal_shares(problem, server, split)
    n = np.flatnonzero(split)
    power = np.zeros(problem.users)
    power[n] = best_power_w(problem, n, problem.gain[n, server[n]], bandwidth[n])
    return Allocation(
        server=np.where(split, server, -1), local_layers=local_layers, power_w=power, bandwidth_hz=bandwidth,
        user_frequency_hz=device_clock(problem), server_frequency_hz=clock,
    )


def optimal(problem: SplitTraining, server: IntArray, local_layers: IntArray) -> Allocation:
    from edgealloc.formulations.split_training.resources import optimal_allocation

    placed = np.where(local_layers < problem.layers, server, -1)
    found: Allocation = optimal_allocation(problem, placed, local_layers)
    return found
