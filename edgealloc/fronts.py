"""The trade-off between two metrics, for every kind of problem that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from edgealloc.core.links import resolve
from edgealloc.core.solution import Solution
from edgealloc.errors import DataError

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.front import DeploymentFront
    from edgealloc.formulations.deployment.problem import Deployment
    from edgealloc.formulations.pool_training.problem import PoolTraining
    from edgealloc.formulations.pool_training.questions.pareto import ParetoFront

__all__ = ["pareto_front"]


@overload
def pareto_front(problem: PoolTraining, method: str | None = None, **options: Any) -> ParetoFront: ...
@overload
def pareto_front(problem: Deployment, method: str | None = None, **options: Any) -> DeploymentFront: ...
def pareto_front(problem: Any, method: str | None = None, **options: Any) -> Any:
    """Solutions of which none is better in two metrics, and what is proven about all others.

    Parameters
    ----------
    problem : PoolTraining or Deployment
        Its weights are replaced; its limits hold.
    method : str, optional
        "certified" by default.
    **options
        ``points``, ``gap``, ``time_limit_s``, ``seed``, ``threads``, ``on_progress`` and ``warm_start`` for both kinds;
        for deployments ``x`` and ``y``, two of "delay", "energy", "hallucination", "accuracy" and "accessibility".
        Pools trade time for energy.

    Returns
    -------
    ParetoFront or DeploymentFront

    Raises
    ------
    DataError
        Another kind of problem, or a faulty option.
    InfeasibleError, SolverError
        No solution was found at all.
    """
    if isinstance(problem, Solution):
        raise DataError("pareto_front: is given a solution; give its problem, solution.problem")
    link = getattr(type(problem), "FRONT", "")
    if not link:
        hint = "; scenario.problem() makes one" if hasattr(problem, "problem") else ""
        raise DataError(f"pareto_front: is given a {type(problem).__name__}; give an edgealloc.PoolTraining or an "
                        f"edgealloc.Deployment{hint}")
    return resolve(link)(problem, method, **options)
