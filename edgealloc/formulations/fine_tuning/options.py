"""Every option of every job: its costs, whether the job's own limits allow it, and what it takes from the servers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.formulations.fine_tuning.costs import OptionCosts, option_costs

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["REASONS", "Options"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Why an option is out, in the order in which it is said.
REASONS: Final = ("forbidden", "out of reach", "device_memory_bytes", "server_memory_bytes", "quality_floor",
                  "deadline_s", "energy_limit_j", "server_busy_s", "airtime_s")


@dataclass(frozen=True, eq=False)
class Options:
    """All options (job, method, place); arrays (N, K, 1 + S), the device first.

    What exceeds a limit of the job by no more than what an answer may exceed it by is allowed.
    """

    problem: FineTuning

    @cached_property
    def costs(self) -> OptionCosts:
        """Times, energies and contributions to the objective."""
        problem = self.problem
        job = np.arange(problem.jobs)[:, None, None]
        method = np.arange(problem.tunings)[None, :, None]
        place = np.arange(-1, problem.servers)[None, None, :]
        return option_costs(problem, job, method, place)

    @cached_property
    def airtime_s(self) -> FloatArray:
        """(N, K, 1 + S) seconds of transmission, of a device in its home cell."""
        return np.asarray(self.costs.upload_s + self.costs.download_s)

    @cached_property
    def out(self) -> dict[str, BoolArray]:
        """Options that each of `REASONS` rules out, alone."""
        problem, costs = self.problem, self.costs
        shape = costs.cost.shape
        tolerance = 1.0 + FEASIBILITY_TOLERANCE
        memory = problem.memory_bytes[:, :, None]
        at_device = np.zeros(shape, dtype=bool)
        at_device[:, :, 0] = True
        with np.errstate(invalid="ignore"):
            out = {
                "forbidden": ~np.where(at_device, problem.on_device[:, :, None], problem.on_server[:, :, None]),
                "out of reach": ~np.isfinite(self.airtime_s),
                "device_memory_bytes": at_device & (memory > problem.device_memory_bytes[:, None, None] * tolerance),
                "quality_floor": np.broadcast_to(
                    (problem.quality < problem.quality_floor[:, None] - FEASIBILITY_TOLERANCE)[:, :, None], shape
                ),
                "deadline_s": costs.time_s > problem.deadline_s[:, None, None] * tolerance,
                "energy_limit_j": costs.device_energy_j > problem.energy_limit_j[:, None, None] * tolerance,
            }
            alone = {
                "server_memory_bytes": (memory, problem.server_memory_bytes),
                "server_busy_s": (costs.compute_s[:, :, 1:], problem.server_busy_s),
                "airtime_s": (self.airtime_s[:, :, 1:], problem.airtime_s),
            }
        for name, (amount, limit) in alone.items():
            out[name] = np.zeros(shape, dtype=bool)
            if limit is not None and problem.servers:
                out[name][:, :, 1:] = amount > limit * tolerance
        if problem.airtime_s is not None and problem.servers:
            home = problem.home_cell
            limit = np.where(home >= 0, problem.airtime_s[np.maximum(home, 0)], np.inf)
            out["airtime_s"][:, :, 0] = self.airtime_s[:, :, 0] > limit[:, None] * tolerance
        return {name: out[name] for name in REASONS}

    @cached_property
    def allowed(self) -> BoolArray:
        """(N, K, 1 + S) options that a job could have if it were alone."""
        return np.asarray(~np.logical_or.reduce(list(self.out.values())))

    @cached_property
    def cost(self) -> FloatArray:
        """(N, K, 1 + S) contribution to the objective; inf where the option is not allowed."""
        return np.where(self.allowed, self.costs.cost, np.inf)
