"""What a run returns: the allocation, what it costs, what is proven, and what more resources would be worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from edgealloc.core.constraints import Diagnosis
from edgealloc.core.run import Progress
from edgealloc.core.status import Status, Termination
from edgealloc.core.tables import frame
from edgealloc.errors import InfeasibleError, SolverError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Explanation", "Solution", "check_found"]

A = TypeVar("A")
C = TypeVar("C")


class Explanation(Protocol):
    """Why a solution is what it is: a text, and the tables behind it."""

    def text(self) -> str:
        """A page that a person can read."""

    def to_frame(self) -> pd.DataFrame:
        """One row per agent."""

    def servers_frame(self) -> pd.DataFrame:
        """One row per shared resource."""

    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""


@dataclass(frozen=True, eq=False)
class Solution(Generic[A, C]):
    """The answer to a problem.

    Attributes
    ----------
    problem : Problem
    method : str
    status : Status
        What is known about the answer.
    termination : Termination
        Why the method stopped.
    objective, bound, gap : float or None
        ``bound <= optimum <= objective`` and ``gap = (objective - bound)/|objective|``; None where nothing was found
        or nothing is proven.
    allocation : object or None
    costs : object or None
        `problem.evaluate(allocation)`.
    prices : mapping
        By constraint name: objective saved per extra unit, at the returned association and cuts.
    bound_prices : mapping
        Same keys: the multipliers that prove the bound.
    history : tuple of Progress
    violations : mapping
        Worst violation of each limit, SI.
    diagnosis : Diagnosis or None
        For an infeasible problem: which limits conflict, and the repair.
    attempts : tuple of str
        Fallbacks and failures on the way.
    seconds : float
    seed : int
    """

    problem: Any
    method: str
    status: Status
    termination: Termination
    objective: float | None
    bound: float | None
    gap: float | None
    allocation: A | None
    costs: C | None
    prices: Mapping[str, Any]
    bound_prices: Mapping[str, Any]
    history: tuple[Progress, ...]
    violations: Mapping[str, float]
    diagnosis: Diagnosis | None
    attempts: tuple[str, ...]
    seconds: float
    seed: int

    def require(self) -> Solution[A, C]:
        """This solution if it has an allocation; otherwise raise what is known.

        Raises
        ------
        InfeasibleError
            Proven infeasible; the message names the limits and the repair.
        SolverError
            No allocation was found.
        """
        check_found(self)
        return self

    def found(self) -> tuple[A, C]:
        """Allocation and costs; otherwise raise what is known.

        Raises
        ------
        InfeasibleError, SolverError
            As `require`.
        """
        check_found(self)
        if self.allocation is None or self.costs is None:  # a solution of a run has both or neither
            raise SolverError(f"the solution of method '{self.method}' has no costs")
        return self.allocation, self.costs

    def to_frame(self) -> pd.DataFrame:
        """One row per agent (user, device): what it does and what it costs (SI units in the column names)."""
        self.require()
        return frame(self.problem.agents_table(self))

    def servers_frame(self) -> pd.DataFrame:
        """One row per resource that is shared (server, link): load, use, and prices where there are any."""
        self.require()
        return frame(self.problem.servers_table(self))

    def summary(self) -> str:
        """A page that a person can read."""
        lines = [f"{self.problem.describe()}", ""]
        lines += [f"method       {self.method}", f"status       {self.status} (stopped by: {self.termination})"]
        if self.objective is not None:
            lines.append(f"objective    {self.objective:.9g}")
        if self.bound is not None:
            lines.append(f"lower bound  {self.bound:.9g}   (proven)")
        if self.gap is not None:
            lines.append(f"gap          {self.gap:.3g}   (the objective is at most {100 * self.gap:.3g} % of itself "
                         "above the optimum)")
        elif self.objective is not None:
            lines.append("gap          unknown (this method proves nothing)")
        lines.append(f"time         {self.seconds:.3g} s")
        if self.diagnosis is not None:
            lines += ["", "No allocation satisfies every limit:", self.diagnosis.text()]
        if self.allocation is not None:
            lines += ["", *self.problem.summary_lines(self)]
        if self.attempts:
            lines += ["", "attempts", *(f"  - {line}" for line in self.attempts)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        shown = "None" if self.objective is None else f"{self.objective:.6g}"
        gap = "None" if self.gap is None else f"{self.gap:.2g}"
        return f"Solution(method={self.method!r}, status={self.status.value!r}, objective={shown}, gap={gap})"

    def explain(self) -> Explanation:
        """Why the gap is what it is, and what holds every decision where it is; print it, or read its frames.

        Returns
        -------
        Explanation
            Of the formulation; for split training see `edgealloc.formulations.split_training.explain`.

        Raises
        ------
        InfeasibleError, SolverError
            There is no allocation to explain.
        """
        self.require()
        result: Explanation = self.problem.explain(self)
        return result

    def plot(self, what: str | None = None, ax: Any = None) -> Any:
        """Draw the solution and return the matplotlib figure.

        Parameters
        ----------
        what : str, optional
            "convergence" (bound and objective over time) or one of ``problem.PLOTS``, of which the first is the
            default: "map" for split training.
        ax : matplotlib.axes.Axes, optional

        Raises
        ------
        DataError
            No such plot; the message lists what there is.
        InfeasibleError, SolverError
            There is no allocation to draw.
        """
        what = self.problem.check_plot(what)
        if what == "convergence":
            from edgealloc.core.figures import plot_convergence

            return plot_convergence(self.history, ax=ax, title=f"{self.method}: {self.problem.describe()}")
        self.require()
        return self.problem.plot_solution(self, what, ax)

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz file (no pickle); an existing file is replaced only when all is written.

        Parameters
        ----------
        path : path
            Ends in ``.npz``.

        Returns
        -------
        Path
            The file.
        """
        from edgealloc.core.storage import save_solution

        return save_solution(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> Solution[Any, Any]:
        """Read a solution that `save` wrote; costs and violations are computed anew from the stored allocation.

        Parameters
        ----------
        path : path
            A file that `save` wrote.

        Returns
        -------
        Solution

        Raises
        ------
        DataError
            No such file, not a saved solution, or one of a newer version.
        """
        from edgealloc.core.storage import load_solution

        return load_solution(Path(path))


class _Result(Protocol):
    """What `check_found` looks at."""

    @property
    def allocation(self) -> Any: ...
    @property
    def diagnosis(self) -> Diagnosis | None: ...
    @property
    def attempts(self) -> tuple[str, ...]: ...
    @property
    def termination(self) -> Termination: ...
    @property
    def method(self) -> str: ...


def check_found(result: _Result) -> None:
    """Raise what is known if a result holds no allocation: InfeasibleError where proven, else SolverError."""
    if result.diagnosis is not None:
        raise InfeasibleError(f"the problem is infeasible:\n{result.diagnosis.text()}")
    if result.allocation is None:
        why = "; ".join(result.attempts) or f"stopped by {result.termination}"
        raise SolverError(f"method '{result.method}' found no allocation: {why}")
