"""A PoolTraining solution as tables and as text for a person to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgealloc.formulations.pool_training.plan import Plan, PoolCosts

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["comparison_columns", "devices_table", "links_table", "summary_lines"]


def comparison_columns(costs: PoolCosts) -> dict[str, float]:
    """What a table of methods shows of each, beside its objective (SI units in the names)."""
    return {
        "time_s": costs.time_s,
        "energy_j": costs.energy_j,
        "energy_per_sample_j": costs.energy_per_sample_j,
        "devices": float((costs.memory_bytes > 0.0).sum()),
    }


def devices_table(problem: PoolTraining, allocation: Plan, costs: PoolCosts) -> dict[str, Any]:
    """Columns of the per-device frame, each (D,)."""
    return {"device": np.arange(problem.devices), "device_name": np.array(problem.device_names, dtype=object),
            "busy_s": costs.busy_s, "memory_bytes": costs.memory_bytes}


def links_table(problem: PoolTraining, solution: Solution[Plan, PoolCosts]) -> Mapping[str, Any]:
    """Columns of the per-link frame, each (L,)."""
    costs = solution.costs
    return {"link": np.arange(problem.topology.links), "bytes": None if costs is None else costs.link_bytes}


def summary_lines(problem: PoolTraining, solution: Solution[Plan, PoolCosts]) -> list[str]:
    """The page of a solution after its status."""
    return [str(solution.allocation)]
