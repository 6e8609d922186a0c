"""Everything that is drawn has its own stream of random numbers (seed, purpose, group).

So a change of one part of a scenario leaves the draws of the others alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["drawn", "stream"]

FloatArray = npt.NDArray[np.float64]

#: What is drawn, by the key that it is drawn for. The place in this list is part of the seed: append only.
_PURPOSES: Final = (
    "users.positions",
    "servers.positions",
    "users.device",
    "users.samples",
    "channels",
    "users.clock",
    "users.cores",
    "users.flops_per_cycle",
    "users.kappa",
    "users.power_max",
    "users.tokens",
    "servers.clock",
    "servers.cores",
    "servers.flops_per_cycle",
    "servers.kappa",
    "jobs.device",
    "jobs.samples",
    "jobs.uplink",
    "jobs.downlink",
    "devices.device",
    "devices.activity",
    "devices.uplink",
    "devices.downlink",
)


def stream(seed: int, purpose: str, group: int = 0) -> np.random.Generator:
    """The random numbers of one purpose and group of users or servers."""
    return np.random.default_rng([seed, 1 + _PURPOSES.index(purpose), group])


def drawn(value: float | tuple[float, float], size: int, seed: int, purpose: str, group: int) -> FloatArray:
    """One value per member of a group: the number itself, or uniform draws from ``(low, high)``.

    Whole numbers are drawn between whole ends, both included.

    Returns
    -------
    array (size,)
        In the unit of `value`.
    """
    if not isinstance(value, tuple):
        return np.full(size, float(value))
    low, high = value
    if low == high:
        return np.full(size, float(low))
    numbers = stream(seed, purpose, group)
    if isinstance(low, int) and isinstance(high, int):
        return numbers.integers(low, high, size, endpoint=True).astype(np.float64)
    return np.asarray(numbers.uniform(low, high, size))
