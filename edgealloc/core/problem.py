"""The base of every formulation: find the method, run it, re-check its answer, wrap it."""

from __future__ import annotations

import dataclasses
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Constraint, Diagnosis
from edgealloc.core.method import Method, Outcome, find_method, methods_of
from edgealloc.core.run import Progress, Run
from edgealloc.core.solution import Explanation, Solution
from edgealloc.core.status import Status, Termination
from edgealloc.core.tables import Column
from edgealloc.errors import DataError, nearest

__all__ = ["FEASIBILITY_TOLERANCE", "HasObjective", "Problem"]

log = logging.getLogger(__name__)

#: A returned allocation exceeds no limit by more than this share of it.
FEASIBILITY_TOLERANCE = 1e-9
#: A bound above the objective by more than this share of it is withdrawn: objectives are good to about 1e-14.
BOUND_TOLERANCE = 1e-11


class HasObjective(Protocol):
    """Costs of an allocation: whatever else they hold, they sum to one objective."""

    @property
    def objective(self) -> float: ...


A = TypeVar("A")
C = TypeVar("C", bound=HasObjective)


class Problem(ABC, Generic[A, C]):
    """What the four formulations share. Subclasses are frozen dataclasses of plain arrays in SI units.

    `evaluate` is the only definition of the objective, and `violations` of feasibility; neither shares code with any
    method, and every answer passes through both before it is returned.
    """

    kind: ClassVar[str]
    METHODS: ClassVar[tuple[Method, ...]]
    CONSTRAINTS: ClassVar[tuple[Constraint, ...]]
    DEFAULT_METHOD: ClassVar[str] = "certified"
    #: What `plot_solution` can draw, the default first; "convergence" is every kind's.
    PLOTS: ClassVar[tuple[str, ...]] = ()
    #: What tables of methods and sweeps show beside the objective; `comparison_columns` has the values.
    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    #: What the rows of `agents_table` and of `servers_table` are, in the plural.
    TABLES: ClassVar[tuple[str, str]] = ("agents", "servers")
    #: "module:function" that finds the trade-off between two metrics; empty for kinds that have none.
    FRONT: ClassVar[str] = ""
    #: What a solution says, in a few words.
    ANSWERS: ClassVar[str] = "who does what, and what it costs"

    # ---- what a formulation defines -------------------------------------------------------------------------------

    @abstractmethod
    def evaluate(self, allocation: A) -> C:
        """Costs of an allocation: the only definition of the objective."""

    @abstractmethod
    def violations(self, allocation: A) -> dict[str, float]:
        """Worst violation of every limit, in its SI unit; 0 where it holds.

        Parameters
        ----------
        allocation : object
            An allocation of this kind of problem.
        """

    @abstractmethod
    def relative_violation(self, allocation: A) -> float:
        """Worst violation over all limits, each relative to the limit.

        Parameters
        ----------
        allocation : object
            An allocation of this kind of problem.
        """

    @abstractmethod
    def diagnose(self) -> Diagnosis | None:
        """Conflicts that can be seen without solving; None if there are none."""

    @abstractmethod
    def prices(self, allocation: A) -> dict[str, npt.NDArray[np.float64]]:
        """Objective saved per extra unit of each priced limit, at the association and cuts of `allocation`."""

    @abstractmethod
    def check_allocation(self, allocation: A) -> A:
        """An allocation with the right shapes and types, or a DataError."""

    @abstractmethod
    def agents_table(self, solution: Solution[A, C]) -> Mapping[str, Any]:
        """Columns of the per-agent frame of a solution that has an allocation."""

    @abstractmethod
    def servers_table(self, solution: Solution[A, C]) -> Mapping[str, Any]:
        """Columns of the per-server frame of a solution that has an allocation."""

    @abstractmethod
    def summary_lines(self, solution: Solution[A, C]) -> list[str]:
        """What a person wants to read about the allocation, after the status lines.

        Parameters
        ----------
        solution : Solution
            An answer to this problem.
        """

    @abstractmethod
    def describe(self) -> str:
        """One line: sizes and what is modelled."""

    @abstractmethod
    def plot_solution(self, solution: Solution[A, C], what: str, ax: Any) -> Any:
        """Draw `what` on matplotlib axes and return the figure.

        Parameters
        ----------
        solution : Solution
            An answer to this problem.
        what : str
            One of `PLOTS`.
        ax : matplotlib axes, optional
            Where to draw; axes of a new figure by default.
        """

    def comparison_columns(self, allocation: A, costs: C) -> Mapping[str, Any]:  # noqa: ARG002
        """Values of `COLUMNS` by name; by default the attributes of the costs that bear these names.

        Parameters
        ----------
        allocation : object
            An allocation of this kind of problem.
        costs : object
            What it costs.
        """
        return {one.name: getattr(costs, one.name) for one in self.COLUMNS}

    def sizes(self) -> Mapping[str, int]:
        """How large the problem is, by the names of its sizes."""
        return {}

    def facts(self) -> list[str]:
        """What `edgealloc check` says beside `describe`: lines about what the limits leave to decide."""
        return []

    def unjudged(self) -> tuple[bool, str]:
        """What it means that `diagnose` finds nothing: whether the problem is feasible then, and a sentence."""
        return False, "no limit is out of reach by itself; whether all can be kept is for `edgealloc solve` to find out"

    def explain(self, solution: Solution[A, C]) -> Explanation:
        """Why the gap of a solution is what it is, and what holds its decisions where they are.

        Raises
        ------
        DataError
            Problems of this kind cannot be explained.
        """
        del solution
        raise DataError(f"explain: solutions of kind '{self.kind}' cannot be explained")

    # ---- what they all get ----------------------------------------------------------------------------------------

    @classmethod
    def methods(cls) -> Mapping[str, Method]:
        """Every method for this kind of problem by name, a user's own included."""
        return methods_of(cls.kind, cls.METHODS)

    @classmethod
    def check_explained(cls) -> None:
        """Refuse what `explain` would refuse, before anything is solved.

        Raises
        ------
        DataError
            Problems of this kind cannot be explained.
        """
        if cls.explain is Problem.explain:
            raise DataError(f"explain: solutions of kind '{cls.kind}' cannot be explained")

    @classmethod
    def check_plot(cls, what: str | None) -> str:
        """The name of a plot of this kind's solutions: `what`, or the default if it is None.

        Raises
        ------
        DataError
            There is no such plot; the message lists what there is.
        """
        known = (*cls.PLOTS, "convergence")
        if what is None:
            return known[0]
        if what not in known:
            raise DataError(f"no plot '{what}' of a {cls.kind} solution; {nearest(str(what), known)}")
        return what

    def replace(self, **changes: Any) -> Self:
        """A new problem with some fields changed, validated as a whole.

        Parameters
        ----------
        **changes
            Fields by name.

        Raises
        ------
        DataError
            There is no such field, or the new problem has faults.
        """
        fields = {f.name for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]
        unknown = sorted(set(changes) - fields)
        if unknown:
            raise DataError(f"replace: no field '{unknown[0]}'; {nearest(unknown[0], fields)}")
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def solve(
        self,
        method: str | None = None,
        *,
        gap: float = 1e-3,
        time_limit_s: float | None = 60.0,
        seed: int = 0,
        threads: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        warm_start: A | Solution[A, C] | None = None,
    ) -> Solution[A, C]:
        """Solve the problem and return what was found, however it ended.

        Parameters
        ----------
        method : str, optional
            A name from `methods()`; "certified" by default.
        gap : float
            Relative gap at which to stop.
        time_limit_s : float or None
            Seconds; the best allocation so far is returned with its gap when they are over.
        seed : int
            For methods that draw random numbers. Same data, seed and options give the same bits for any `threads`,
            unless time ran out.
        threads : int, optional
            Worker threads; None for one per processor.
        on_progress : callable, optional
            Called with a `Progress` now and then; raising KeyboardInterrupt in it stops the run.
        warm_start : allocation or Solution, optional
            Where to start.

        Returns
        -------
        Solution

        Raises
        ------
        DataError
            Unknown method, faulty option or warm start.
        MissingDependencyError
            The method needs a package that is not installed.
        """
        chosen = find_method(self.kind, self.METHODS, method or self.DEFAULT_METHOD)
        start = warm_start.allocation if isinstance(warm_start, Solution) else warm_start
        if start is not None:
            start = self.check_allocation(start)
        run = Run.create(
            gap=gap, time_limit_s=time_limit_s, seed=seed, threads=threads, on_progress=on_progress, warm_start=start
        )
        diagnosis = self.diagnose()
        if diagnosis is not None:
            outcome = Outcome(diagnosis=diagnosis, termination=Termination.STAGES_EXHAUSTED)
        else:
            outcome = chosen(self, run)
        return self._wrap(chosen, run, outcome)

    def _wrap(self, method: Method, run: Run, outcome: Outcome) -> Solution[A, C]:
        """Re-check an outcome by `violations` and `evaluate`, and make a Solution of it."""
        seconds = run.seconds  # before the checks below, which are no part of the method
        attempts = list(outcome.attempts)
        allocation: A | None = outcome.allocation
        costs: C | None = None
        violations: dict[str, float] = {}
        if allocation is not None:
            try:
                allocation = self.check_allocation(allocation)
            except DataError as error:
                attempts.append(f"{method.name}: its allocation was rejected ({error})")
                log.warning("%s", attempts[-1])
                allocation = None
        if allocation is not None:
            violations = self.violations(allocation)
            worst = self.relative_violation(allocation)
            costs = self.evaluate(allocation)
            if not (worst <= FEASIBILITY_TOLERANCE and math.isfinite(costs.objective)):
                # amounts below a millionth of a unit are rounding of what another limit is really broken by
                broken = ", ".join(name for name, amount in violations.items() if amount > 1e-6)
                attempts.append(
                    f"{method.name}: its allocation was rejected{f'; it breaks {broken}' if broken else ''} "
                    f"(relative violation {worst:.3g}, objective {costs.objective:g})"
                )
                log.warning("%s", attempts[-1])
                allocation, costs = None, None
        objective = None if costs is None else costs.objective
        bound, gap = outcome.bound, None
        if bound is not None and not math.isfinite(bound):
            bound = None
        if bound is not None and objective is not None:
            if bound > objective + BOUND_TOLERANCE * abs(objective):
                # Cannot happen with a valid bound; say it loudly instead of hiding it behind the clipping.
                attempts.append(f"{method.name}: bound {bound!r} above objective {objective!r}; bound withdrawn")
                log.error("%s", attempts[-1])
                bound = None
            else:
                bound = min(bound, objective)
                gap = (objective - bound) / max(abs(objective), 1e-300)
        status = _status(outcome, objective, gap, run.gap)
        return Solution(
            problem=self,
            method=method.name,
            status=status,
            termination=outcome.termination,
            objective=objective,
            bound=bound,
            gap=gap,
            allocation=allocation,
            costs=costs,
            prices={} if allocation is None else self.prices(allocation),
            bound_prices=dict(outcome.bound_prices) if bound is not None else {},
            history=tuple(run.history),
            violations=violations,
            diagnosis=outcome.diagnosis,
            attempts=tuple(attempts),
            seconds=seconds,
            seed=run.seed,
        )


def _status(outcome: Outcome, objective: float | None, gap: float | None, asked: float) -> Status:
    if outcome.diagnosis is not None:
        return Status.INFEASIBLE
    if objective is None:
        return Status.NO_SOLUTION
    if gap is not None and gap <= asked:
        return Status.OPTIMAL
    if gap is None and outcome.converged:
        return Status.LOCALLY_SOLVED
    return Status.FEASIBLE
