"""The radio link: noise, achievable rate, random gains (path loss x shadowing x fading x antennas)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault
from edgealloc.system.pathloss import PATH_LOSS_MODELS, PathLossModel, path_loss_model
from edgealloc.units import dbm_to_watt

__all__ = [
    "PATH_LOSS_MODELS",
    "PathLossModel",
    "noise_psd_w_per_hz",
    "path_loss_model",
    "rate_bits_per_s",
    "sample_gain",
]

Array = npt.NDArray[np.float64]
Fading = Literal["rayleigh", "none"]


def rate_bits_per_s(
    bandwidth_hz: npt.ArrayLike,
    power_w: npt.ArrayLike,
    gain: npt.ArrayLike,
    noise_psd_w_per_hz: npt.ArrayLike,
) -> Array:
    """Shannon rate of a link, ``r = b log2(1 + g p / (N0 b))``.

    Parameters
    ----------
    bandwidth_hz : array_like
        b >= 0. Where it is 0 the rate is 0 (the limit of the formula).
    power_w : array_like
        Transmit power p >= 0.
    gain : array_like
        Linear channel gain g >= 0.
    noise_psd_w_per_hz : array_like
        Noise density N0 > 0.

    Returns
    -------
    ndarray
        Bit/s, in the broadcast shape. Accurate to rounding for any signal-to-noise ratio: below 1e-16 the
        rate is ``g p / (N0 ln 2)``, and ratios beyond the largest float are taken in logarithms. Source: Liu
        & Zhao, arXiv 2409.20247, system model (frequency division, no interference).

    Examples
    --------
    >>> round(float(rate_bits_per_s(1e6, 0.2, 1.5e-14, 1e-21)))  # a ratio of 3
    2000000
    """
    bandwidth, power, g, noise = (
        np.asarray(x, dtype=np.float64) for x in (bandwidth_hz, power_w, gain, noise_psd_w_per_hz)
    )
    with np.errstate(all="ignore"):
        # p / N0 first: g p alone can underflow. The product with 1/b comes last, so that b = 0 gives inf or
        # nan.
        ratio = g * (power / noise) / bandwidth
        nats = np.where(
            np.isfinite(ratio), np.log1p(ratio), np.log(g) + np.log(power) - np.log(noise) - np.log(bandwidth)
        )
        rate = bandwidth * nats / np.log(2.0)
    silent = (bandwidth == 0.0) | (power == 0.0) | (g == 0.0)
    return np.asarray(np.where(silent, 0.0, rate), dtype=np.float64)


def noise_psd_w_per_hz(noise_figure_db: float = 0.0, thermal_dbm_per_hz: float = -174.0) -> float:
    """Noise density of a receiver, thermal noise (-174 dBm/Hz at 290 K) plus its noise figure.

    Parameters
    ----------
    noise_figure_db, thermal_dbm_per_hz : float

    Returns
    -------
    float
        N0 in W/Hz.

    Examples
    --------
    >>> f"{noise_psd_w_per_hz():.3e}"
    '3.981e-21'
    """
    return dbm_to_watt(thermal_dbm_per_hz + noise_figure_db)


def sample_gain(
    model: str | PathLossModel,
    distance_m: npt.ArrayLike,
    carrier_hz: float,
    rng: np.random.Generator,
    *,
    shadowing: bool = True,
    fading: Fading = "rayleigh",
    ue_height_m: float | None = None,
    bs_height_m: float | None = None,
    antenna_gain_db: float = 0.0,
) -> Array:
    """Draw linear channel gains, independently for every entry of `distance_m`.

    ``g = min(1, 10^((G - PL(state, d) - X_sigma) / 10) |h|^2)`` with the state (line of sight or not) drawn
    with the model's probability, X_sigma ~ N(0, sigma(state)^2) and ``|h|^2`` ~ Exp(1) (Rayleigh).

    Parameters
    ----------
    model : str or PathLossModel
        A name of :data:`PATH_LOSS_MODELS`, or a model of one's own.
    distance_m : array_like
        Horizontal distance, any shape. Distances below the model's ``min_distance_m`` are taken as that
        minimum, because the formulas are not valid there; larger ones than its maximum are extrapolated.
    carrier_hz : float
        Carrier frequency (the legacy macro model ignores it).
    rng : numpy.random.Generator
        The same numbers are drawn whatever the options, so switching fading off changes neither the
        line-of-sight states nor the shadowing.
    shadowing : bool
    fading : {"rayleigh", "none"}
    ue_height_m, bs_height_m : float, optional
        Antenna heights; the model's own by default.
    antenna_gain_db : float
        Sum of the antenna gains G of both ends.

    Returns
    -------
    ndarray
        Gain in [0, 1] in the shape of `distance_m`. Source: 3GPP TR 38.901, section 7.4.

    Raises
    ------
    DataError
        Unknown model or fading, a distance that is negative or not finite, a carrier that is not positive.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> g = sample_gain("legacy-macro", [1000.0], 2e9, rng, shadowing=False, fading="none")
    >>> round(10 * float(np.log10(g[0])), 1)
    -128.1
    """
    found = path_loss_model(model)
    distance = np.asarray(distance_m, dtype=np.float64)
    faults: list[Fault] = []
    if not bool(np.all(np.isfinite(distance) & (distance >= 0.0))):
        faults.append(Fault("distance_m", "must be finite and >= 0 m everywhere"))
    if not (np.isfinite(carrier_hz) and carrier_hz > 0.0):
        faults.append(Fault("carrier_hz", f"{carrier_hz!r} must be finite and > 0 Hz"))
    if fading not in ("rayleigh", "none"):
        faults.append(Fault("fading", f"{fading!r} is not known; use 'rayleigh' or 'none'"))
    if faults:
        raise DataError(faults)

    bs_height = found.bs_height_m if bs_height_m is None else bs_height_m
    ue_height = found.ue_height_m if ue_height_m is None else ue_height_m
    distance = np.maximum(distance, found.min_distance_m)

    in_sight = rng.random(distance.shape) < found.los_probability(distance, ue_height)
    normal = rng.standard_normal(distance.shape)
    exponential = rng.standard_exponential(distance.shape)

    loss_db = np.where(
        in_sight,
        found.los_db(distance, carrier_hz, bs_height, ue_height),
        found.nlos_db(distance, carrier_hz, bs_height, ue_height),
    )
    if shadowing:
        loss_db = loss_db + normal * np.where(in_sight, found.los_sigma_db, found.nlos_sigma_db)
    gain = 10.0 ** ((antenna_gain_db - loss_db) / 10.0)
    if fading == "rayleigh":
        gain = gain * exponential
    return np.asarray(np.minimum(gain, 1.0), dtype=np.float64)
