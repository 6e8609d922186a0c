"""What the questions are asked about: a problem of this kind, or a solution of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.solution import Solution
from edgealloc.errors import DataError

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["problem_of"]

_KIND: Final = "pool-training"


def problem_of(given: Any, call: str, *, solved: bool = True) -> PoolTraining:
    """The problem that is given or, where `solved` is allowed, the one of the solution that is given.

    Raises
    ------
    DataError
        Anything else, in the name of the `call`.
    """
    problem = given.problem if isinstance(given, Solution) else given
    if getattr(problem, "kind", None) == _KIND and hasattr(problem, "evaluate"):
        if solved or problem is given:
            pool: PoolTraining = problem
            return pool
        raise DataError(f"{call}: is given a solution; give its problem, solution.problem")
    wanted = "an edgealloc.PoolTraining, or a solution of one" if solved else "an edgealloc.PoolTraining"
    hint = "; scenario.pool_training() makes one" if hasattr(given, "pool_training") else ""
    raise DataError(f"{call}: is given a {type(given).__name__}; give {wanted}{hint}")
