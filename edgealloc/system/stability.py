"""Average-replace-one stability of fine-tuning a fraction of the parameters: smaller is more stable.

Two bounds from the literature, for a fraction a of the parameters trained on k samples with an L-Lipschitz
loss:

- ``"liu-zhao"``: ``2 L^2 / (k (1 - a))`` (Liu & Zhao, arXiv 2409.20247, Theorem 1); infinite at a = 1.
- ``"fu"``: ``2 L^2 / ((Lambda_min + 2 (1 - a)) k)`` (Fu et al., AAAI 2023, arXiv 2211.15583); finite at a = 1
  when Lambda_min > 0. At Lambda_min = 0 it is half of the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, nearest

__all__ = ["Stability", "StabilityModel"]

StabilityModel = Literal["liu-zhao", "fu"]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stability:
    """A stability bound and its constants.

    Parameters
    ----------
    model : {"liu-zhao", "fu"}
    lipschitz : float
        L > 0, the Lipschitz constant of the loss (the paper's L, rho in Fu et al.).
    lambda_min : float, optional
        Smallest eigenvalue Lambda_min >= 0 of the loss's Hessian at the pretrained model; required by
        "fu", and refused by "liu-zhao", which has no such term.

    Raises
    ------
    DataError
        Faulty constants; every fault is named with its value and the fix.

    Examples
    --------
    >>> float(Stability("liu-zhao").value(0.5, 100))
    0.04
    >>> float(Stability("fu", lambda_min=0.5).value(1.0, 100))
    0.04
    """

    model: StabilityModel = "liu-zhao"
    lipschitz: float = 1.0
    lambda_min: float | None = None

    def __post_init__(self) -> None:
        faults: list[Fault] = []
        known: tuple[str, ...] = get_args(StabilityModel)
        if self.model not in known:
            faults.append(
                Fault("stability.model", f"{self.model!r} is not known; {nearest(str(self.model), known)}")
            )
        if not _number(self.lipschitz) or self.lipschitz <= 0.0:
            faults.append(
                Fault("stability.lipschitz", f"{self.lipschitz!r} must be a finite number > 0, such as 1.0")
            )
        if self.model == "liu-zhao" and self.lambda_min is not None:
            faults.append(
                Fault(
                    "stability.lambda_min",
                    f"{self.lambda_min!r} has no meaning for 'liu-zhao'; drop it or use model 'fu'",
                )
            )
        if self.model == "fu":
            if self.lambda_min is None:
                faults.append(Fault("stability.lambda_min", "missing; 'fu' needs a number >= 0, such as 0.5"))
            elif not _number(self.lambda_min) or self.lambda_min < 0.0:
                faults.append(
                    Fault(
                        "stability.lambda_min",
                        f"{self.lambda_min!r} must be a finite number >= 0, such as 0.5",
                    )
                )
        if faults:
            raise DataError(faults)

    @property
    def finite_when_local(self) -> bool:
        """Whether the bound is finite when every layer is trained on the device (a = 1)."""
        return self.lambda_min is not None and self.lambda_min > 0.0

    def value(self, fraction: npt.ArrayLike, samples: npt.ArrayLike) -> Array:
        """Bound at a trained fraction.

        Parameters
        ----------
        fraction : array_like
            a in [0, 1]: the share of the layers that is trained on the device.
        samples : array_like
            k > 0.

        Returns
        -------
        ndarray
            Dimensionless, broadcast shape, increasing and convex in a; inf at a = 1 unless
            :attr:`finite_when_local`.
        """
        a, k = np.asarray(fraction, dtype=np.float64), np.asarray(samples, dtype=np.float64)
        with np.errstate(divide="ignore"):
            return np.asarray(2.0 * self.lipschitz**2 / (k * self._curvature(a)))

    def _curvature(self, a: Array) -> Array:
        if self.lambda_min is None:
            return np.asarray(1.0 - a)
        return np.asarray(self.lambda_min + 2.0 * (1.0 - a))

    def largest_fraction(self, limit: npt.ArrayLike, samples: npt.ArrayLike) -> Array:
        """Largest fraction in [0, 1] whose bound does not exceed `limit`: the inverse of :meth:`value`, to
        rounding.

        Parameters
        ----------
        limit : array_like
            Largest bound allowed.
        samples : array_like
            k >= 1, samples of a user.

        Returns
        -------
        ndarray
            a in [0, 1], broadcast shape, and nan where even a = 0 exceeds the limit. "liu-zhao"
            reaches 1 only for an infinite limit. To decide on whole layers compare :meth:`value` with the
            limit, not this fraction.

        Examples
        --------
        >>> round(float(Stability("liu-zhao").largest_fraction(0.04, 100)), 12)
        0.5
        """
        bound, k = np.asarray(limit, dtype=np.float64), np.asarray(samples, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = 2.0 * self.lipschitz**2 / (k * bound)
        slack = needed if self.lambda_min is None else (needed - self.lambda_min) / 2.0
        possible = bound >= self.value(0.0, k)  # the same arithmetic as value, so a = 0 is found again
        return np.asarray(np.where(possible, 1.0 - np.clip(slack, 0.0, 1.0), np.nan), dtype=np.float64)


def _number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        return False
    return math.isfinite(value)
