"""Means of samples and how well they are known."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from edgealloc.errors import DataError

__all__ = ["mean_and_half_width"]


def mean_and_half_width(samples: Sequence[float], level: Any = 0.95) -> tuple[float, float]:
    r"""Mean and half the width of Student's confidence interval, for independent samples that are nearly normal.

    .. math::

        \bar x \pm t_{(1 + \text{level})/2,\, n - 1} \frac{s}{\sqrt{n}}, \qquad
        s^2 = \frac{1}{n - 1} \sum_i (x_i - \bar x)^2.

    Parameters
    ----------
    samples : sequence of float
        n numbers.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    mean, half_width : float
        nan where n is too small: below 1 for the mean, below 2 for the width.

    Raises
    ------
    DataError
        A level outside (0, 1).

    Examples
    --------
    >>> mean, half = mean_and_half_width([1.0, 2.0, 3.0])
    >>> mean, round(half, 4)
    (2.0, 2.4841)
    """
    if isinstance(level, bool) or not isinstance(level, numbers.Real) or not 0.0 < float(level) < 1.0:
        raise DataError(f"confidence level: is {level!r}; give a number between 0 and 1, such as 0.95")
    n = len(samples)
    if n == 0:
        return math.nan, math.nan
    mean = math.fsum(samples) / n
    if n == 1:
        return mean, math.nan
    from scipy.special import stdtrit

    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in samples) / (n - 1))
    return mean, float(stdtrit(n - 1, 0.5 * (1.0 + float(level)))) * deviation / math.sqrt(n)
