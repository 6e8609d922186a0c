"""The problem "every agent picks one option, capacities couple" as ragged arrays, and the answer to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.status import Termination
from edgealloc.errors import DataError, Fault
from edgealloc.solvers.pricing import relative_gap

__all__ = ["FITS", "RELAXED", "Choices", "ChoicesAnswer"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A choice fits if it exceeds no capacity by more than this share of it: what rounding of a sum may add.
FITS: Final = 1e-12
#: Bounds hold for every choice that exceeds the capacities by up to this share: more than any caller tolerates.
RELAXED: Final = 4e-9
#: Agents whose uses are added up one after the other before the partial sums are.
_BLOCK: Final = 256


@dataclass(frozen=True, eq=False)
class Choices:
    r"""N agents pick one of their options each; C capacities couple them.

    .. math::

        \min \sum_i c_{o_i} \quad \text{s.t.} \quad \sum_i u_{o_i k} \le 1 \;\; \forall k,
        \qquad o_i \in \text{options of agent } i.

    A multiple-choice multi-dimensional knapsack in cost form (generalised assignment is a special case). The options
    of all agents lie one after the other in one list of E, and an option names the at most R capacities that it uses.

    Attributes
    ----------
    start : (N + 1,) of int
        Options of agent i are ``start[i] : start[i + 1]``; every agent has one at least.
    cost : (E,)
        Finite, of either sign.
    use : (E, R)
        Share of the capacity, >= 0; may exceed 1, then the option fits for nobody.
    capacity : (E, R) of int
        Which capacity, each at most once per option; slots that are not needed have use 0.
    capacities : int
        C, 0 if nothing couples the agents.

    Raises
    ------
    DataError
        Wrong shapes, an agent without options, a cost or use that is not finite, a negative use, an unknown
        capacity, or one named twice by an option.
    """

    start: Any
    cost: Any
    use: Any
    capacity: Any
    capacities: int

    def __post_init__(self) -> None:
        start, capacity = np.asarray(self.start), np.asarray(self.capacity)
        cost, use = np.asarray(self.cost, dtype=np.float64), np.asarray(self.use, dtype=np.float64)
        faults = []
        if start.ndim != 1 or start.size < 1 or (start.size > 1 and start.dtype.kind not in "iu"):
            faults.append(Fault("start", f"has shape {start.shape} and type {start.dtype}; give N + 1 integers"))
        elif start[0] != 0 or start[-1] != cost.size or (np.diff(start) < 1).any():
            faults.append(Fault("start", f"must rise from 0 to {cost.size}, the number of costs, by 1 or more"))
        if cost.ndim != 1 or not np.isfinite(cost).all():
            faults.append(Fault("cost", f"has shape {cost.shape}; give one finite number per option"))
        if use.ndim != 2 or use.shape[0] != cost.size or not np.isfinite(use).all() or (use < 0.0).any():
            faults.append(Fault("use", f"has shape {use.shape}; give {cost.size} rows of finite numbers >= 0"))
        elif capacity.shape != use.shape or capacity.dtype.kind not in "iu":
            faults.append(Fault("capacity", f"has shape {capacity.shape} and type {capacity.dtype}; give integers "
                                            f"of shape {use.shape}"))
        elif (capacity[use > 0.0] >= self.capacities).any() or (capacity < 0).any():
            faults.append(Fault("capacity", f"names a capacity that is not in 0..{self.capacities - 1}"))
        else:
            for r in range(use.shape[1]):
                for s in range(r):
                    if ((use[:, r] > 0.0) & (use[:, s] > 0.0) & (capacity[:, r] == capacity[:, s])).any():
                        faults.append(Fault("capacity", f"is the same in slots {s} and {r}; add the uses up"))
        if faults:
            raise DataError(faults, "Choices")
        capacity = np.where(use > 0.0, capacity, 0)
        for name, value, kind in (("start", start, np.int64), ("cost", cost, np.float64), ("use", use, np.float64),
                                  ("capacity", capacity, np.int64)):
            object.__setattr__(self, name, np.ascontiguousarray(value, dtype=kind))

    @property
    def agents(self) -> int:
        """N."""
        return int(self.start.size) - 1

    @property
    def options(self) -> int:
        """E, options of all agents."""
        return int(self.cost.size)

    @cached_property
    def owner(self) -> IntArray:
        """(E,) agent of every option."""
        return np.repeat(np.arange(self.agents), np.diff(self.start))

    def load(self, choice: IntArray) -> FloatArray:
        """(C,) share of every capacity that a choice (N,) of options uses."""
        used, which = self.use[choice], self.capacity[choice]
        blocks = -(-max(choice.size, 1) // _BLOCK)
        place = which + (np.arange(choice.size) // _BLOCK)[:, None] * self.capacities
        size = blocks * self.capacities
        if size == 0 or used.size == 0:
            return np.zeros(self.capacities)
        sums = np.bincount(place.ravel(), weights=used.ravel(), minlength=size)
        return np.asarray(sums.reshape(blocks, self.capacities).sum(axis=0))

    def objective(self, choice: IntArray) -> float:
        """Cost of a choice, exactly rounded."""
        return math.fsum(self.cost[choice])

    def fits(self, choice: IntArray, tolerance: float = FITS) -> bool:
        """Whether a choice exceeds no capacity by more than a share of `tolerance`."""
        return bool((self.load(choice) <= 1.0 + tolerance).all())

    def cheapest(self) -> IntArray:
        """(N,) everybody's cheapest option, the first of equals."""
        if self.agents == 0:
            return np.zeros(0, dtype=np.int64)
        least = np.repeat(np.minimum.reduceat(self.cost, self.start[:-1]), np.diff(self.start))
        places = np.where(self.cost == least, np.arange(self.options), self.options)
        return np.asarray(np.minimum.reduceat(places, self.start[:-1]), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ChoicesAnswer:
    """What is known about a problem at the end of a run.

    Attributes
    ----------
    choice : (N,) of int or None
        The best choice found that fits, as options 0..E-1.
    objective : float
        Its cost, inf without one.
    bound : float
        Proven lower bound, -inf if there is none, inf if the problem is proven infeasible.
    prices : (C,) or None
        Multipliers of the capacities that prove the root bound, in cost per whole capacity.
    termination : Termination
    infeasible : bool
        Proven: no choice fits, not even by the tolerance.
    overload : (C,) or None
        Where no choice was found: by what share of itself every capacity is exceeded by the choice `nearest`. With
        capacities larger by as much the problem is feasible.
    nearest : (N,) of int or None
        The choice with the least sum of excesses found; None where a choice fits.
    attempts : tuple of str
        What was tried and what came of it.
    """

    choice: IntArray | None = None
    objective: float = math.inf
    bound: float = -math.inf
    prices: FloatArray | None = None
    termination: Termination = Termination.STAGES_EXHAUSTED
    infeasible: bool = False
    overload: FloatArray | None = None
    nearest: IntArray | None = None
    attempts: tuple[str, ...] = field(default=())

    @property
    def gap(self) -> float:
        """Relative gap, inf before both ends are known."""
        return relative_gap(self.objective, self.bound)
