"""Keys of a scenario file that mend an infeasible problem; what they are is for each kind to say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["FileChange", "round_up"]


@dataclass(frozen=True)
class FileChange:
    """One key to change.

    Attributes
    ----------
    path : str
        Dotted path of the key, "limits.stability_limit"; "" if no key of the file would help.
    value : object
        What to set it to.
    why : str
    """

    path: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"set {self.path} = {self.value}   ({self.why})" if self.path else self.why


def round_up(value: float, digits: int = 5) -> float:
    """The next number with a few digits that is not below `value`."""
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(value / step * (1.0 + 1e-12)) * step:.{digits}g}")
