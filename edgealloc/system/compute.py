"""Delay and energy of computing at a clock f with a power of kappa f^3 (Liu & Zhao, arXiv 2409.20247).

``flops_per_cycle`` is the product C D eta everywhere: cores x FLOP per cycle and core x utilisation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "compute_delay_s",
    "compute_energy_j",
    "flops_per_cycle",
    "joules_per_flop",
    "kappa_from_power",
    "optimal_clock_hz",
    "shared_energy_j",
]

Array = npt.NDArray[np.float64]


def _arrays(*values: npt.ArrayLike) -> tuple[Array, ...]:
    return tuple(np.asarray(value, dtype=np.float64) for value in values)


def compute_delay_s(
    work_flop: npt.ArrayLike, clock_hz: npt.ArrayLike, flops_per_cycle: npt.ArrayLike
) -> Array:
    """Time to compute W FLOP, ``t = W / (f C D eta)`` in seconds.

    Parameters
    ----------
    work_flop, clock_hz, flops_per_cycle : array_like
        W (FLOP), f (Hz), C D eta (FLOP/cycle); they broadcast.

    Returns
    -------
    ndarray
        Seconds; 0 where there is no work, inf where there is work and no clock.

    Examples
    --------
    >>> float(compute_delay_s(8e12, 1e9, 4000.0))
    2.0
    """
    work, clock, width = _arrays(work_flop, clock_hz, flops_per_cycle)
    with np.errstate(divide="ignore", invalid="ignore"):
        delay = work / clock / width
    return np.asarray(np.where(work == 0.0, 0.0, delay), dtype=np.float64)


def compute_energy_j(
    work_flop: npt.ArrayLike, clock_hz: npt.ArrayLike, flops_per_cycle: npt.ArrayLike, kappa: npt.ArrayLike
) -> Array:
    """Energy to compute W FLOP at a scaled clock, ``E = kappa f^2 W / (C D eta)`` in joules.

    Parameters
    ----------
    work_flop, clock_hz, flops_per_cycle, kappa : array_like
        W (FLOP), f (Hz), C D eta (FLOP/cycle), kappa (W s^3); they broadcast.

    Examples
    --------
    >>> round(float(compute_energy_j(8e12, 1e9, 4000.0, 5e-27)), 6)  # 5 W for 2 s
    10.0
    """
    work, clock, width, k = _arrays(work_flop, clock_hz, flops_per_cycle, kappa)
    return np.asarray(k * clock * clock * (work / width))


def shared_energy_j(work_flop: npt.ArrayLike, joules_per_flop: npt.ArrayLike) -> Array:
    """Energy of W FLOP on a time-shared server, ``E = W e`` in joules, whatever the share of its time.

    Parameters
    ----------
    work_flop : array_like
        W in FLOP.
    joules_per_flop : array_like
        e in J/FLOP.
    """
    work, per_flop = _arrays(work_flop, joules_per_flop)
    return np.asarray(work * per_flop)


def flops_per_cycle(
    flops_per_s: npt.ArrayLike, frequency_hz: npt.ArrayLike, utilisation: npt.ArrayLike = 1.0
) -> Array:
    """FLOP per clock cycle that a data sheet's rate implies, ``C D eta = eta R / f``.

    Parameters
    ----------
    flops_per_s : array_like
        Rate at that clock in FLOP/s.
    frequency_hz : array_like
        Clock in Hz.
    utilisation : array_like
        eta, share of the peak rate that is reached.

    Examples
    --------
    >>> float(flops_per_cycle(4e12, 1e9, 0.5))
    2000.0
    """
    rate, frequency, eta = _arrays(flops_per_s, frequency_hz, utilisation)
    return np.asarray(eta * rate / frequency)


def kappa_from_power(power_w: npt.ArrayLike, frequency_hz: npt.ArrayLike) -> Array:
    """Energy coefficient from a data sheet, ``kappa = P_max / f_max^3`` in W s^3.

    All of the power counts as dynamic, so idle power is inside it.

    Parameters
    ----------
    power_w : array_like
        Power at the highest clock in W.
    frequency_hz : array_like
        Clock in Hz.

    Examples
    --------
    >>> float(kappa_from_power(8.0, 2e9))
    1e-27
    """
    power, frequency = _arrays(power_w, frequency_hz)
    return np.asarray(power / frequency**3)


def joules_per_flop(
    power_w: npt.ArrayLike, frequency_hz: npt.ArrayLike, flops_per_cycle: npt.ArrayLike
) -> Array:
    """Constant energy of a FLOP on a server shared in time, ``e = P_max / (f_max C D eta)`` in J/FLOP.

    Real accelerators run at one clock and give each user a share of the time; a share then changes the delay
    and not the energy.

    Parameters
    ----------
    power_w : array_like
        Power at the highest clock in W.
    frequency_hz : array_like
        Clock in Hz.
    flops_per_cycle : array_like
        C D eta in FLOP/cycle.

    Examples
    --------
    >>> f"{float(joules_per_flop(400.0, 1e9, 200e3)):.1e}"
    '2.0e-12'
    """
    power, frequency, width = _arrays(power_w, frequency_hz, flops_per_cycle)
    return np.asarray(power / (frequency * width))


def optimal_clock_hz(
    time_weight: npt.ArrayLike,
    energy_weight: npt.ArrayLike,
    kappa: npt.ArrayLike,
    frequency_min_hz: npt.ArrayLike,
    frequency_max_hz: npt.ArrayLike,
) -> Array:
    """Clock that minimises ``w_t / f + w_e kappa f^2`` on ``[f_min, f_max]``.

    ``f* = clip((w_t / (2 w_e kappa))^(1/3), f_min, f_max)``: the cost is convex in f, its derivative
    ``-w_t / f^2 + 2 w_e kappa f`` vanishes there. The work and the FLOP per cycle are common factors and drop
    out.

    Parameters
    ----------
    time_weight, energy_weight : array_like
        w_t per second and w_e per joule, >= 0.
    kappa : array_like
        W s^3, >= 0.
    frequency_min_hz, frequency_max_hz : array_like
        Hz, ``0 <= f_min <= f_max``.

    Returns
    -------
    ndarray
        Hz, broadcast shape. Where energy costs nothing (w_e = 0 or kappa = 0) it is f_max, even if time costs
        nothing either; where only energy counts (w_t = 0) it is f_min.

    Examples
    --------
    >>> round(float(optimal_clock_hz(2.0, 1.0, 1e-27, 1e8, 3e9)) / 1e9, 6)
    1.0
    """
    w_t, w_e, k, low, high = _arrays(time_weight, energy_weight, kappa, frequency_min_hz, frequency_max_hz)
    free = (w_e == 0.0) | (k == 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Root by root: w_e * kappa can underflow, the roots cannot.
        interior = np.cbrt(w_t) / (np.cbrt(2.0) * np.cbrt(w_e) * np.cbrt(k))
    return np.asarray(np.where(free, high, np.clip(interior, low, high)), dtype=np.float64)
