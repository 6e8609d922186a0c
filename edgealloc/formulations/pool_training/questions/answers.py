"""Answers to the questions of collaborative training: who takes part, how, and in which order (Zeng et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.solution import Solution
from edgealloc.core.tables import text_table
from edgealloc.formulations.pool_training.plan import Plan, PoolCosts
from edgealloc.formulations.pool_training.questions.faults import FaultReport
from edgealloc.formulations.pool_training.views import plan_words
from edgealloc.units import format_si

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["Arrangements", "Membership", "Parallelisms", "Participants", "PoolReport", "PoolSolution"]

#: Characters of a plan in a table of text.
PLAN_SHOWN: Final = 70
#: Devices that are left out are explained one by one up to this many.
EXPLAINED: Final = 30

PoolSolution = Solution[Plan, PoolCosts]


def _shown(problem: PoolTraining, plan: Plan | None) -> str:
    words = "-" if plan is None else plan_words(problem, plan)
    return words if len(words) <= PLAN_SHOWN else words[: PLAN_SHOWN - 3] + "..."


def _more(value: float, base: float) -> str:
    return f"{100.0 * (value / base - 1.0):+.2f} %" if base > 0.0 else f"{value - base:+.4g}"


# ---- who takes part -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Membership:
    """What one device is worth to the pool.

    Attributes
    ----------
    device : int
    chosen : bool
        It takes part in the plan.
    objective_without, bound_without : float or None
        Best objective found, and proven lower bound, of plans without the device; of a device that is not chosen those
        of the plan itself. None: no plan was found; nothing is proven.
    objective_with, plan_with
        The best plan found in which it takes part, the plan itself if it is chosen; None where none fits.
    indispensable : bool
        It is proven that there is no plan without it.
    why : str
        In words.
    """

    device: int
    chosen: bool
    objective_without: float | None
    bound_without: float | None
    objective_with: float | None
    plan_with: Plan | None
    indispensable: bool
    why: str


@dataclass(frozen=True, eq=False)
class Participants:
    """The participants of a plan, what each is worth, and why the others are left out.

    Attributes
    ----------
    problem : PoolTraining
    plan : Plan
    objective : float
    bound : float or None
        On the objective of any plan.
    members : tuple of Membership
        One per device, in the order of the problem; missing ones were not asked for when time was up.
    interrupted : bool
    """

    problem: PoolTraining
    plan: Plan
    objective: float
    bound: float | None
    members: tuple[Membership, ...]
    interrupted: bool = False

    def value(self, member: Membership) -> tuple[float, float]:
        """Least and most that the optimum can rise by if the device is not there: what it is worth to the pool.

        0 at least, because removing a device never improves the optimum; inf where nothing limits it.
        """
        if member.indispensable:
            return math.inf, math.inf
        if not member.chosen:
            low, high = 0.0, math.inf if self.bound is None else self.objective - self.bound
            return low, high
        low = 0.0 if member.bound_without is None else max(member.bound_without - self.objective, 0.0)
        if member.objective_without is None or self.bound is None:
            return low, math.inf
        return low, max(member.objective_without - self.bound, low)

    def to_frame(self) -> pd.DataFrame:
        """One row per device."""
        import pandas as pd

        rows = []
        for one in self.members:
            low, high = self.value(one)
            rows.append({
                "device": one.device, "device_name": self.problem.device_names[one.device], "chosen": one.chosen,
                "objective_without": _number(one.objective_without), "bound_without": _number(one.bound_without),
                "objective_with": _number(one.objective_with), "value_at_least": low, "value_at_most": high,
                "indispensable": one.indispensable,
                "plan_with": "" if one.plan_with is None else plan_words(self.problem, one.plan_with), "why": one.why,
            })
        return pd.DataFrame(rows)

    def text(self) -> str:
        """A paragraph that a person can read."""
        chosen = [one for one in self.members if one.chosen]
        others = [one for one in self.members if not one.chosen]
        lines = [f"who          {len(self.plan.devices)} of {self.problem.devices} devices take part"]
        if chosen:
            rows = [[str(self.problem.device_names[one.device]), one.why] for one in chosen]
            lines += text_table(["participant", "without it"], rows).splitlines()
        if others:
            rows = [[str(self.problem.device_names[one.device]), one.why] for one in others[:EXPLAINED]]
            lines += ["", *text_table(["left out", "because"], rows).splitlines()]
        if len(others) > EXPLAINED:
            lines.append(f"... and {len(others) - EXPLAINED} more; `to_frame()` has all of them")
        if self.interrupted:
            lines.append("interrupted: devices are missing")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def _number(value: float | None) -> float:
    return math.nan if value is None else value


# ---- which parallelism ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Parallelisms:
    """The best plan of every parallelism.

    Attributes
    ----------
    problem : PoolTraining
    solutions : mapping
        Parallelism -> Solution of the problem with that parallelism alone.
    interrupted : bool
    """

    problem: PoolTraining
    solutions: Mapping[str, PoolSolution]
    interrupted: bool = False

    @property
    def best(self) -> PoolSolution | None:
        """The solution with the smallest objective; None if there is no plan."""
        found = [one for one in self.solutions.values() if one.objective is not None]
        return min(found, key=lambda one: _number(one.objective), default=None)

    def to_frame(self) -> pd.DataFrame:
        """One row per parallelism, SI units in the column names."""
        import pandas as pd

        rows = []
        for name, one in self.solutions.items():
            costs = one.costs
            rows.append({
                "parallelism": name, "objective": _number(one.objective), "bound": _number(one.bound),
                "gap": _number(one.gap), "time_s": math.nan if costs is None else costs.time_s,
                "energy_j": math.nan if costs is None else costs.energy_j,
                "energy_per_sample_j": math.nan if costs is None else costs.energy_per_sample_j,
                "devices": 0 if one.allocation is None else len(one.allocation.devices), "status": str(one.status),
                "plan": "" if one.allocation is None else plan_words(self.problem, one.allocation),
                "message": self._message(one),
            })
        return pd.DataFrame(rows)

    @staticmethod
    def _message(one: PoolSolution) -> str:
        if one.diagnosis is not None:
            lacks = sum(conflict.amount for conflict in one.diagnosis.conflicts if conflict.unit == "B")
            return f"fits nowhere: {format_si(lacks, 'B')} missing" if lacks else one.diagnosis.text(at_most=1)
        return "" if one.allocation is not None else "no plan found"

    def text(self) -> str:
        """A table that a person can read."""
        best = self.best
        header = ["parallelism", "objective", "", "proven >=", "time", "energy", "plan"]
        rows = []
        for name, one in sorted(self.solutions.items(), key=lambda item: _number(item[1].objective)
                                if item[1].objective is not None else math.inf):
            costs = one.costs
            if costs is None or one.objective is None or best is None or best.objective is None:
                rows.append([name, "-", "", "-", "-", "-", self._message(one)])
                continue
            rows.append([name, f"{one.objective:.6g}", "best" if one is best else _more(one.objective, best.objective),
                         "-" if one.bound is None else f"{one.bound:.6g}", format_si(costs.time_s, "s"),
                         format_si(costs.energy_j, "J"), _shown(self.problem, one.allocation)])
        lines = ["how          the best plan of every parallelism", *text_table(header, rows).splitlines()]
        return "\n".join([*lines, *(["interrupted: parallelisms are missing"] if self.interrupted else [])])

    def __str__(self) -> str:
        return self.text()


# ---- in which order -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Arrangements:
    """The participants of a plan in other orders.

    Attributes
    ----------
    problem : PoolTraining
    plan : Plan
        The plan whose participants, groups and shares are kept.
    best, worst, as_given : Plan or None
        By objective; `as_given` has the stages, or the ring, in the order in which the problem lists the devices; None
        if that order fits in no way.
    objective_best, objective_worst, objective_as_given : float
    tried, fitting : int
        Orders looked at, and those in which the model fits.
    every_order : bool
        No order was left out.
    """

    problem: PoolTraining
    plan: Plan
    best: Plan
    worst: Plan
    as_given: Plan | None
    objective_best: float
    objective_worst: float
    objective_as_given: float
    tried: int
    fitting: int
    every_order: bool

    def to_frame(self) -> pd.DataFrame:
        """One row each for the best, the worst and the given order."""
        import pandas as pd

        rows = [{"arrangement": name, "objective": objective,
                 "plan": "" if plan is None else plan_words(self.problem, plan)} for name, plan, objective in (
            ("best", self.best, self.objective_best), ("worst", self.worst, self.objective_worst),
            ("as given", self.as_given, self.objective_as_given))]
        return pd.DataFrame(rows)

    def text(self) -> str:
        """A paragraph that a person can read."""
        base = self.objective_best
        what = "order" if self.tried == 1 else "orders"
        lines = [f"arrangement  {self.tried} {what} of the participants tried, "
                 f"{'all there are' if self.every_order else 'not all there are'}; {self.fitting} fit into memory"]
        if self.fitting > 1:
            rows = [["best", f"{base:.6g}", "", _shown(self.problem, self.best)],
                    ["as given", "-" if self.as_given is None else f"{self.objective_as_given:.6g}",
                     "does not fit" if self.as_given is None else _more(self.objective_as_given, base),
                     _shown(self.problem, self.as_given)],
                    ["worst", f"{self.objective_worst:.6g}", _more(self.objective_worst, base),
                     _shown(self.problem, self.worst)]]
            lines += text_table(["order", "objective", "", "plan"], rows).splitlines()
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


# ---- everything at once ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PoolReport:
    """A plan and the answers to all questions about it.

    Attributes
    ----------
    solution : Solution
    participants : Participants
    parallelisms : Parallelisms
    arrangements : Arrangements
    faults : FaultReport
    """

    solution: PoolSolution
    participants: Participants
    parallelisms: Parallelisms
    arrangements: Arrangements
    faults: FaultReport

    def text(self) -> str:
        """Everything, for a person to read."""
        parts: tuple[Any, ...] = (self.solution.summary(), self.participants.text(), self.parallelisms.text(),
                                  self.arrangements.text(), self.faults.text())
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.text()
