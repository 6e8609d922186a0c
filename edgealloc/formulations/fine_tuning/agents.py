"""Fine-tuning as the engine of choices sees it: jobs pick options, and servers' limits are the capacities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.fine_tuning.assignment import Assignment
from edgealloc.formulations.fine_tuning.feasibility import LIMITS
from edgealloc.solvers.choices import Choices

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["JobChoices"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class JobChoices:
    """Options of all jobs as one ragged list, by job, method and place.

    Every job must have an option (`feasibility.diagnose` finds those that have none).

    Attributes
    ----------
    problem : FineTuning
    """

    problem: FineTuning

    @cached_property
    def parts(self) -> tuple[IntArray, IntArray, IntArray]:
        """Job, method and place (0 for the device) of every option, (E,) each."""
        job, method, place = np.nonzero(self.problem.options.allowed)
        return job, method, place

    @cached_property
    def limited(self) -> list[tuple[str, int]]:
        """(name of the limit, server) of every capacity."""
        problem = self.problem
        return [
            (name, s) for name in LIMITS for s in range(problem.servers)
            if (limit := getattr(problem, name)) is not None and np.isfinite(limit[s])
        ]

    @cached_property
    def choices(self) -> Choices:
        """The problem of the engine; uses are shares of the limits."""
        problem, options = self.problem, self.problem.options
        job, method, place = self.parts
        count = np.bincount(job, minlength=problem.jobs)
        number = {pair: c for c, pair in enumerate(self.limited)}
        server = place - 1
        amounts = {
            "server_memory_bytes": (server, problem.memory_bytes[job, method]),
            "server_busy_s": (server, options.costs.compute_s[job, method, place]),
            "airtime_s": (np.where(server >= 0, server, problem.home_cell[job]),
                          options.airtime_s[job, method, place]),
        }
        names = [name for name in LIMITS if any(pair[0] == name for pair in self.limited)]
        use, capacity = np.zeros((job.size, len(names))), np.zeros((job.size, len(names)), dtype=np.int64)
        for r, name in enumerate(names):
            where, amount = amounts[name]
            which = np.array([number.get((name, s), -1) for s in range(problem.servers)] + [-1])[where]
            limit = getattr(problem, name)[np.where(where >= 0, where, 0)]
            # what needs something of a limit of 0 is not allowed
            share = np.divide(amount, limit, out=np.zeros(job.size), where=(which >= 0) & (limit > 0.0))
            use[:, r], capacity[:, r] = share, np.maximum(which, 0)
        return Choices(np.concatenate([[0], np.cumsum(count)]), options.cost[job, method, place], use, capacity,
                       len(self.limited))

    def assignment(self, choice: IntArray) -> Assignment:
        """The assignment that a choice of options is."""
        _, method, place = self.parts
        return Assignment(method[choice], place[choice] - 1)

    def choice(self, assignment: Assignment) -> IntArray | None:
        """The options of an assignment; None if one of them is not allowed."""
        shape = self.problem.options.allowed.shape
        job, method, place = self.parts
        number = np.full(shape, -1, dtype=np.int64)
        number[job, method, place] = np.arange(job.size)
        found = number[np.arange(shape[0]), assignment.method, assignment.place + 1]
        return None if (found < 0).any() else found

    def prices(self, per_whole: FloatArray) -> dict[str, FloatArray]:
        """Prices per whole capacity as prices per byte and second, (S,) by the name of the limit."""
        result = {name: np.zeros(self.problem.servers) for name in LIMITS}
        for price, (name, s) in zip(per_whole, self.limited, strict=True):
            limit = float(getattr(self.problem, name)[s])
            result[name][s] = price / limit if limit > 0.0 else 0.0
        return result
