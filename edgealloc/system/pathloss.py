"""Path loss, line-of-sight probability and shadowing: 3GPP TR 38.901 and the legacy macro model.

Every path-loss function has the signature ``(distance_m, carrier_hz, bs_height_m, ue_height_m) -> loss_db``
with the *horizontal* distance, broadcasts over the distance, and neither clips nor judges it:
:attr:`PathLossModel.min_distance_m` and ``max_distance_m`` say where the formula is meant to hold.

Source: 3GPP TR 38.901, Tables 7.4.1-1 (loss, shadowing) and 7.4.2-1 (line-of-sight probability).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, nearest

__all__ = [
    "PATH_LOSS_MODELS",
    "PathLossModel",
    "inh_los_db",
    "inh_los_probability",
    "inh_nlos_db",
    "legacy_macro_db",
    "path_loss_model",
    "uma_los_db",
    "uma_los_probability",
    "uma_nlos_db",
    "umi_los_db",
    "umi_los_probability",
    "umi_nlos_db",
]

Array = npt.NDArray[np.float64]
PathLoss = Callable[[npt.ArrayLike, float, float, float], Array]
LosProbability = Callable[[npt.ArrayLike, float], Array]

#: TR 38.901 computes the breakpoint with this rounded speed of light.
_LIGHT_M_PER_S: Final = 3.0e8
#: Effective environment height: always 1 m in UMi, and in UMa for users at 13 m or below.
_ENVIRONMENT_HEIGHT_M: Final = 1.0


def _distance_3d_m(distance_m: npt.ArrayLike, bs_height_m: float, ue_height_m: float) -> Array:
    return np.hypot(np.asarray(distance_m, dtype=np.float64), bs_height_m - ue_height_m)


def _two_slopes_db(
    distance_m: npt.ArrayLike,
    carrier_hz: float,
    bs_height_m: float,
    ue_height_m: float,
    *,
    offset_db: float,
    slope: float,
    breakpoint_factor: float,
) -> Array:
    distance = np.asarray(distance_m, dtype=np.float64)
    distance_3d = _distance_3d_m(distance, bs_height_m, ue_height_m)
    breakpoint_m = (
        4.0
        * (bs_height_m - _ENVIRONMENT_HEIGHT_M)
        * (ue_height_m - _ENVIRONMENT_HEIGHT_M)
        * carrier_hz
        / _LIGHT_M_PER_S
    )
    frequency_db = offset_db + 20.0 * np.log10(carrier_hz / 1e9)
    near = frequency_db + slope * np.log10(distance_3d)
    # The far branch joins the near one at the breakpoint only to the rounding of the factors 9 and 9.5.
    far = (
        frequency_db
        + 40.0 * np.log10(distance_3d)
        - breakpoint_factor * np.log10(breakpoint_m**2 + (bs_height_m - ue_height_m) ** 2)
    )
    return np.asarray(np.where(distance <= breakpoint_m, near, far), dtype=np.float64)


def umi_los_db(
    distance_m: npt.ArrayLike, carrier_hz: float, bs_height_m: float = 10.0, ue_height_m: float = 1.5
) -> Array:
    """Path loss of an urban street canyon (UMi) in line of sight.

    ``32.4 + 21 log10(d3) + 20 log10(fc)`` up to the breakpoint ``4 (h_bs - 1)(h_ue - 1) f / c``, then
    ``32.4 + 40 log10(d3) + 20 log10(fc) - 9.5 log10(d_bp^2 + (h_bs - h_ue)^2)``, with fc in GHz.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance, any shape; valid from 10 m to 5 km.
    carrier_hz, bs_height_m, ue_height_m : float

    Returns
    -------
    ndarray
        Loss in dB, shape of `distance_m`. Source: 3GPP TR 38.901, Table 7.4.1-1.

    Examples
    --------
    >>> round(float(umi_los_db(100.0, 3.5e9)), 2)
    85.31
    """
    return _two_slopes_db(
        distance_m, carrier_hz, bs_height_m, ue_height_m, offset_db=32.4, slope=21.0, breakpoint_factor=9.5
    )


def umi_nlos_db(
    distance_m: npt.ArrayLike, carrier_hz: float, bs_height_m: float = 10.0, ue_height_m: float = 1.5
) -> Array:
    """Path loss of an urban street canyon (UMi) without line of sight.

    ``max(LOS, 22.4 + 35.3 log10(d3) + 21.3 log10(fc) - 0.3 (h_ue - 1.5))``; parameters, units and source as
    :func:`umi_los_db`.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    carrier_hz : float
        Carrier frequency in Hz.
    bs_height_m : float
        Height of the base station in m.
    ue_height_m : float
        Height of the user in m.
    """
    blocked = (
        22.4
        + 35.3 * np.log10(_distance_3d_m(distance_m, bs_height_m, ue_height_m))
        + 21.3 * np.log10(carrier_hz / 1e9)
        - 0.3 * (ue_height_m - 1.5)
    )
    return np.asarray(np.maximum(umi_los_db(distance_m, carrier_hz, bs_height_m, ue_height_m), blocked))


def uma_los_db(
    distance_m: npt.ArrayLike, carrier_hz: float, bs_height_m: float = 25.0, ue_height_m: float = 1.5
) -> Array:
    """Path loss of an urban macro cell (UMa) in line of sight.

    ``28 + 22 log10(d3) + 20 log10(fc)`` up to the breakpoint, then
    ``28 + 40 log10(d3) + 20 log10(fc) - 9 log10(d_bp^2 + (h_bs - h_ue)^2)``; the rest as :func:`umi_los_db`.
    The report draws the environment height in the breakpoint at random for users above 13 m; here it is 1 m
    always, exact for users at 13 m or below.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    carrier_hz : float
        Carrier frequency in Hz.
    bs_height_m : float
        Height of the base station in m.
    ue_height_m : float
        Height of the user in m.
    """
    return _two_slopes_db(
        distance_m, carrier_hz, bs_height_m, ue_height_m, offset_db=28.0, slope=22.0, breakpoint_factor=9.0
    )


def uma_nlos_db(
    distance_m: npt.ArrayLike, carrier_hz: float, bs_height_m: float = 25.0, ue_height_m: float = 1.5
) -> Array:
    """Path loss of an urban macro cell (UMa) without line of sight.

    ``max(LOS, 13.54 + 39.08 log10(d3) + 20 log10(fc) - 0.6 (h_ue - 1.5))``; the rest as :func:`umi_los_db`.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    carrier_hz : float
        Carrier frequency in Hz.
    bs_height_m : float
        Height of the base station in m.
    ue_height_m : float
        Height of the user in m.
    """
    blocked = (
        13.54
        + 39.08 * np.log10(_distance_3d_m(distance_m, bs_height_m, ue_height_m))
        + 20.0 * np.log10(carrier_hz / 1e9)
        - 0.6 * (ue_height_m - 1.5)
    )
    return np.asarray(np.maximum(uma_los_db(distance_m, carrier_hz, bs_height_m, ue_height_m), blocked))


def inh_los_db(
    distance_m: npt.ArrayLike, carrier_hz: float, bs_height_m: float = 3.0, ue_height_m: float = 1.0
) -> Array:
    """Path loss of an indoor office (InH) in line of sight, ``32.4 + 17.3 log10(d3) + 20 log10(fc)``.

    Valid for 3D distances from 1 m to 150 m; the rest as :func:`umi_los_db`.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    carrier_hz : float
        Carrier frequency in Hz.
    bs_height_m : float
        Height of the base station in m.
    ue_height_m : float
        Height of the user in m.
    """
    distance_3d = _distance_3d_m(distance_m, bs_height_m, ue_height_m)
    return np.asarray(32.4 + 17.3 * np.log10(distance_3d) + 20.0 * np.log10(carrier_hz / 1e9))


def inh_nlos_db(
    distance_m: npt.ArrayLike, carrier_hz: float, bs_height_m: float = 3.0, ue_height_m: float = 1.0
) -> Array:
    """Path loss of an indoor office (InH) without line of sight.

    ``max(LOS, 17.3 + 38.3 log10(d3) + 24.9 log10(fc))``; the rest as :func:`inh_los_db`.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    carrier_hz : float
        Carrier frequency in Hz.
    bs_height_m : float
        Height of the base station in m.
    ue_height_m : float
        Height of the user in m.
    """
    distance_3d = _distance_3d_m(distance_m, bs_height_m, ue_height_m)
    blocked = 17.3 + 38.3 * np.log10(distance_3d) + 24.9 * np.log10(carrier_hz / 1e9)
    return np.asarray(np.maximum(inh_los_db(distance_m, carrier_hz, bs_height_m, ue_height_m), blocked))


def legacy_macro_db(
    distance_m: npt.ArrayLike, carrier_hz: float = 2e9, bs_height_m: float = 32.0, ue_height_m: float = 1.5
) -> Array:
    """Path loss of the legacy macro cell, ``128.1 + 37.6 log10(d_km)`` dB.

    As in Liu & Zhao (arXiv 2409.20247). A fit for 2 GHz: carrier and heights are accepted, so that all models
    are called alike, and change nothing.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    carrier_hz : float
        Carrier frequency in Hz.
    bs_height_m : float
        Height of the base station in m.
    ue_height_m : float
        Height of the user in m.

    Examples
    --------
    >>> float(legacy_macro_db(1000.0))
    128.1
    """
    del carrier_hz, bs_height_m, ue_height_m
    return np.asarray(128.1 + 37.6 * np.log10(np.asarray(distance_m, dtype=np.float64) / 1e3))


def umi_los_probability(distance_m: npt.ArrayLike, ue_height_m: float = 1.5) -> Array:
    """Probability of line of sight in UMi: 1 up to 18 m, then ``18/d + exp(-d/36) (1 - 18/d)``.

    Source: 3GPP TR 38.901, Table 7.4.2-1; horizontal distance of any shape, same shape out.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    ue_height_m : float
        Height of the user in m.
    """
    del ue_height_m
    return _street_probability(distance_m, decay_m=36.0)


def uma_los_probability(distance_m: npt.ArrayLike, ue_height_m: float = 1.5) -> Array:
    """Probability of line of sight in UMa.

    1 up to 18 m, then ``[18/d + exp(-d/63) (1 - 18/d)] (1 + 5/4 C (d/100)^3 exp(-d/150))`` with
    ``C = ((h_ue - 13)/10)^1.5`` above 13 m and 0 below. Source: 3GPP TR 38.901, Table 7.4.2-1.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    ue_height_m : float
        Height of the user in m.
    """
    distance = np.asarray(distance_m, dtype=np.float64)
    height = (max(ue_height_m - 13.0, 0.0) / 10.0) ** 1.5
    raised = 1.0 + height * 1.25 * (distance / 100.0) ** 3 * np.exp(-distance / 150.0)
    return np.asarray(
        np.minimum(_street_probability(distance, decay_m=63.0) * np.where(distance <= 18.0, 1.0, raised), 1.0)
    )


def inh_los_probability(distance_m: npt.ArrayLike, ue_height_m: float = 1.0) -> Array:
    """Probability of line of sight in an open office.

    1 up to 5 m, ``exp(-(d - 5)/70.8)`` up to 49 m, then ``0.54 exp(-(d - 49)/211.7)``. Source: 3GPP TR
    38.901, Table 7.4.2-1.

    Parameters
    ----------
    distance_m : array_like
        Horizontal distance in m, any shape.
    ue_height_m : float
        Height of the user in m.
    """
    del ue_height_m
    distance = np.asarray(distance_m, dtype=np.float64)
    near = np.exp(-(np.maximum(distance, 5.0) - 5.0) / 70.8)
    return np.asarray(np.where(distance <= 49.0, near, 0.54 * np.exp(-(distance - 49.0) / 211.7)))


def _street_probability(distance_m: npt.ArrayLike, decay_m: float) -> Array:
    # At 18 m the formula gives 1, which is the value below.
    distance = np.maximum(np.asarray(distance_m, dtype=np.float64), 18.0)
    return np.asarray(18.0 / distance + np.exp(-distance / decay_m) * (1.0 - 18.0 / distance))


def _never_los(distance_m: npt.ArrayLike, ue_height_m: float = 1.5) -> Array:
    del ue_height_m
    return np.zeros_like(np.asarray(distance_m, dtype=np.float64))


@dataclass(frozen=True)
class PathLossModel:
    """One propagation scenario: the two losses, how likely each is, and the spread around them.

    Attributes
    ----------
    name : str
    los_db, nlos_db : callable
        ``(distance_m, carrier_hz, bs_height_m, ue_height_m) -> loss_db``.
    los_probability : callable
        ``(distance_m, ue_height_m) -> probability``.
    los_sigma_db, nlos_sigma_db : float
        Standard deviation of the log-normal shadowing.
    bs_height_m, ue_height_m : float
        Default antenna heights.
    min_distance_m, max_distance_m : float
        Horizontal distances for which the formula is stated (InH: 3D distances, of which the horizontal one
        is the larger part). Shorter distances are taken as the minimum by
        :func:`edgealloc.system.radio.sample_gain`; longer ones are extrapolated.
    source : str
    """

    name: str
    los_db: PathLoss
    nlos_db: PathLoss
    los_probability: LosProbability
    los_sigma_db: float
    nlos_sigma_db: float
    bs_height_m: float
    ue_height_m: float
    min_distance_m: float
    max_distance_m: float
    source: str


_TR38901: Final = "3GPP TR 38.901, Tables 7.4.1-1 and 7.4.2-1"

#: Name -> model.
PATH_LOSS_MODELS: Final[Mapping[str, PathLossModel]] = MappingProxyType(
    {
        model.name: model
        for model in (
            PathLossModel(
                "3gpp-umi",
                umi_los_db,
                umi_nlos_db,
                umi_los_probability,
                4.0,
                7.82,
                10.0,
                1.5,
                10.0,
                5000.0,
                f"{_TR38901}, UMi street canyon",
            ),
            PathLossModel(
                "3gpp-uma",
                uma_los_db,
                uma_nlos_db,
                uma_los_probability,
                4.0,
                6.0,
                25.0,
                1.5,
                10.0,
                5000.0,
                f"{_TR38901}, UMa",
            ),
            PathLossModel(
                "3gpp-inh",
                inh_los_db,
                inh_nlos_db,
                inh_los_probability,
                3.0,
                8.03,
                3.0,
                1.0,
                1.0,
                150.0,
                f"{_TR38901}, InH open office (default heights of Table 7.2-2, from memory)",
            ),
            # One state only: the fit is for blocked paths, so line of sight never occurs.
            PathLossModel(
                "legacy-macro",
                legacy_macro_db,
                legacy_macro_db,
                _never_los,
                8.0,
                8.0,
                32.0,
                1.5,
                35.0,
                float("inf"),
                "128.1 + 37.6 log10(d_km) at 2 GHz, 3GPP TR 36.814/36.942 (origin and the 35 m minimum "
                "from memory); used by Liu & Zhao, arXiv 2409.20247",
            ),
        )
    }
)


def path_loss_model(model: str | PathLossModel) -> PathLossModel:
    """Find a path-loss model by name; a model passes through.

    Returns
    -------
    PathLossModel

    Raises
    ------
    DataError
        Unknown name; the message suggests the nearest one.

    Examples
    --------
    >>> path_loss_model("3gpp-umi").nlos_sigma_db
    7.82
    """
    if isinstance(model, PathLossModel):
        return model
    if model not in PATH_LOSS_MODELS:
        fault = f"'{model}' is not a path-loss model; {nearest(model, PATH_LOSS_MODELS)}"
        raise DataError([Fault("path_loss", fault)])
    return PATH_LOSS_MODELS[model]
