"""edgealloc: resource allocation with a proof for large language models at the mobile edge.

>>> import edgealloc as ea
>>> problem = ea.Scenario.random(users=8, servers=2, seed=0).split_training()
>>> solution = problem.solve()
>>> solution.bound <= solution.objective
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: public name -> module; loaded on first use, so that `import edgealloc` stays light.
_PUBLIC = {
    "Allocation": "edgealloc.formulations.split_training.allocation",
    "Assignment": "edgealloc.formulations.fine_tuning.assignment",
    "Catalog": "edgealloc.catalog",
    "Comparison": "edgealloc.comparison",
    "Costs": "edgealloc.formulations.split_training.allocation",
    "DataError": "edgealloc.errors",
    "Deployment": "edgealloc.formulations.deployment.problem",
    "DeploymentCosts": "edgealloc.formulations.deployment.rollout",
    "DeploymentFront": "edgealloc.formulations.deployment.front",
    "Diagnosis": "edgealloc.core.constraints",
    "EdgeallocError": "edgealloc.errors",
    "FaultReport": "edgealloc.formulations.pool_training.questions.faults",
    "FineTuning": "edgealloc.formulations.fine_tuning.problem",
    "FineTuningCosts": "edgealloc.formulations.fine_tuning.assignment",
    "FitsReport": "edgealloc.scenarios.fits_report",
    "InfeasibleError": "edgealloc.errors",
    "Method": "edgealloc.core.method",
    "MissingDependencyError": "edgealloc.errors",
    "Outcome": "edgealloc.core.method",
    "ParetoFront": "edgealloc.formulations.pool_training.questions.pareto",
    "Plan": "edgealloc.formulations.pool_training.plan",
    "PoolCosts": "edgealloc.formulations.pool_training.plan",
    "PoolReport": "edgealloc.formulations.pool_training.questions.answers",
    "PoolTraining": "edgealloc.formulations.pool_training.problem",
    "Progress": "edgealloc.core.run",
    "Rollout": "edgealloc.formulations.deployment.rollout",
    "Run": "edgealloc.core.run",
    "Scenario": "edgealloc.scenarios.scenario",
    "ServiceCostRatio": "edgealloc.formulations.split_training.service_ratio",
    "Solution": "edgealloc.core.solution",
    "SolverError": "edgealloc.errors",
    "SplitTraining": "edgealloc.formulations.split_training.problem",
    "Stability": "edgealloc.system.stability",
    "Status": "edgealloc.core.status",
    "Sweep": "edgealloc.sweeps.result",
    "Termination": "edgealloc.core.status",
    "Topology": "edgealloc.formulations.pool_training.network",
    "Weights": "edgealloc.core.weights",
    "arrangements": "edgealloc.formulations.pool_training.questions.questions",
    "compare": "edgealloc.comparison",
    "default_catalog": "edgealloc.catalog",
    "faults": "edgealloc.formulations.pool_training.questions.fault_search",
    "fits": "edgealloc.scenarios.fits",
    "parallelisms": "edgealloc.formulations.pool_training.questions.questions",
    "pareto_front": "edgealloc.fronts",
    "participants": "edgealloc.formulations.pool_training.questions.questions",
    "plan_pool": "edgealloc.formulations.pool_training.questions.questions",
    "register_method": "edgealloc.core.method",
    "service_cost_ratio": "edgealloc.formulations.split_training.service_ratio",
    "sweep": "edgealloc.sweeps.engine",
    "workflow": "edgealloc.scenarios",
}

if TYPE_CHECKING:
    from edgealloc.catalog import Catalog, default_catalog
    from edgealloc.comparison import Comparison, compare
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.core.method import Method, Outcome, register_method
    from edgealloc.core.run import Progress, Run
    from edgealloc.core.solution import Solution
    from edgealloc.core.status import Status, Termination
    from edgealloc.core.weights import Weights
    from edgealloc.errors import DataError, EdgeallocError, InfeasibleError, MissingDependencyError, SolverError
    from edgealloc.formulations.deployment.front import DeploymentFront
    from edgealloc.formulations.deployment.problem import Deployment
    from edgealloc.formulations.deployment.rollout import DeploymentCosts, Rollout
    from edgealloc.formulations.fine_tuning.assignment import Assignment, FineTuningCosts
    from edgealloc.formulations.fine_tuning.problem import FineTuning
    from edgealloc.formulations.pool_training.network import Topology
    from edgealloc.formulations.pool_training.plan import Plan, PoolCosts
    from edgealloc.formulations.pool_training.problem import PoolTraining
    from edgealloc.formulations.pool_training.questions.answers import PoolReport
    from edgealloc.formulations.pool_training.questions.fault_search import faults
    from edgealloc.formulations.pool_training.questions.faults import FaultReport
    from edgealloc.formulations.pool_training.questions.pareto import ParetoFront
    from edgealloc.formulations.pool_training.questions.questions import (
        arrangements,
        parallelisms,
        participants,
        plan_pool,
    )
    from edgealloc.formulations.split_training.allocation import Allocation, Costs
    from edgealloc.formulations.split_training.problem import SplitTraining
    from edgealloc.formulations.split_training.service_ratio import ServiceCostRatio, service_cost_ratio
    from edgealloc.fronts import pareto_front
    from edgealloc.scenarios import workflow
    from edgealloc.scenarios.fits import fits
    from edgealloc.scenarios.fits_report import FitsReport
    from edgealloc.scenarios.scenario import Scenario
    from edgealloc.sweeps.engine import sweep
    from edgealloc.sweeps.result import Sweep
    from edgealloc.system.stability import Stability

__all__ = [
    "Allocation", "Assignment", "Catalog", "Comparison", "Costs", "DataError", "Deployment", "DeploymentCosts",
    "DeploymentFront", "Diagnosis", "EdgeallocError", "FaultReport", "FineTuning", "FineTuningCosts", "FitsReport",
    "InfeasibleError", "Method", "MissingDependencyError", "Outcome", "ParetoFront", "Plan", "PoolCosts", "PoolReport",
    "PoolTraining", "Progress", "Rollout", "Run", "Scenario", "ServiceCostRatio", "Solution", "SolverError",
    "SplitTraining", "Stability", "Status", "Sweep", "Termination", "Topology", "Weights", "__version__",
    "arrangements", "compare", "default_catalog", "faults", "fits", "parallelisms", "pareto_front", "participants",
    "plan_pool", "register_method", "service_cost_ratio", "sweep", "workflow",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgealloc' has no attribute '{name}'")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
