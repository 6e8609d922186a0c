"""A kind of problem that has nothing of the others: what the shared floors must serve without knowing it.

Items with a worth are put into bins in a certain order; the objective is the worth times the number of the bin, plus
a fee per bin, so that one bin is best.
"""

# ruff: noqa: ARG002 (a kind has to take what it does not need)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgealloc.core.constraints import Constraint, Diagnosis
from edgealloc.core.method import Method, Outcome
from edgealloc.core.problem import Problem
from edgealloc.core.run import Run
from edgealloc.core.solution import Solution
from edgealloc.core.tables import Column
from edgealloc.errors import DataError

__all__ = ["Bins", "BinsCosts", "Packing", "Tools"]


@dataclass(frozen=True)
class Tools:
    """A dataclass inside a problem."""

    names: tuple[str, ...]
    ends: Any


@dataclass(frozen=True)
class Bins:
    """Items of every bin, in order."""

    rule: str
    bins: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class BinsCosts:
    objective: float
    fees: float
    rule: str


def _one_bin(problem: Packing, run: Run) -> Outcome:
    run.report("one", 1, None, 0.0)
    return Outcome(Bins("together", (tuple(range(problem.items)),)), bound=0.0)


def _apart(problem: Packing, run: Run) -> Outcome:
    return Outcome(Bins("apart", tuple((i,) for i in range(problem.items))), converged=True)


def _finds_nothing(problem: Packing, run: Run) -> Outcome:
    return Outcome(attempts=("every bin is too small for item 2\nand for item 3",))


@dataclass(frozen=True, eq=False, kw_only=True)
class Packing(Problem[Bins, BinsCosts]):
    worth: Any
    fee: float = 1.0
    groups: tuple[tuple[int, ...], ...] = ()
    tools: Tools | None = None

    kind: ClassVar[str] = "packing"
    METHODS: ClassVar[tuple[Method, ...]] = (
        Method("together", "all in one bin", proves=True, run=_one_bin),
        Method("apart", "a bin for each", run=_apart),
        Method("hopeless", "finds nothing", run=_finds_nothing),
    )
    CONSTRAINTS: ClassVar[tuple[Constraint, ...]] = ()
    DEFAULT_METHOD: ClassVar[str] = "together"
    PLOTS: ClassVar[tuple[str, ...]] = ("bins", "fees")
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("fees", "fees paid", "fees [1]", ".1f"),
        Column("rule", "rule", number=False),
    )
    TABLES: ClassVar[tuple[str, str]] = ("items", "bins")

    def __post_init__(self) -> None:
        object.__setattr__(self, "worth", np.array(self.worth, dtype=np.float64))

    @property
    def items(self) -> int:
        return int(self.worth.shape[0])

    def evaluate(self, allocation: Bins) -> BinsCosts:
        fees = self.fee * len(allocation.bins)
        placed = sum(number * self.worth[i] for number, one in enumerate(allocation.bins) for i in one)
        return BinsCosts(float(placed) + fees, fees, allocation.rule)

    def violations(self, allocation: Bins) -> dict[str, float]:
        return {}

    def relative_violation(self, allocation: Bins) -> float:
        return 0.0

    def diagnose(self) -> Diagnosis | None:
        return None

    def prices(self, allocation: Bins) -> dict[str, Any]:
        return {}

    def check_allocation(self, allocation: Bins) -> Bins:
        if not isinstance(allocation, Bins):
            raise DataError(f"Bins are needed, not a {type(allocation).__name__}")
        return allocation

    def agents_table(self, solution: Solution[Bins, BinsCosts]) -> Mapping[str, Any]:
        order = [(i, number) for number, one in enumerate(solution.found()[0].bins) for i in one]
        return {"item": [i for i, _ in order], "bin": [number for _, number in order]}

    def servers_table(self, solution: Solution[Bins, BinsCosts]) -> Mapping[str, Any]:
        return {"items": [len(one) for one in solution.found()[0].bins]}

    def summary_lines(self, solution: Solution[Bins, BinsCosts]) -> list[str]:
        return ["bins"]

    def describe(self) -> str:
        return f"packing: {self.items} items"

    def plot_solution(self, solution: Solution[Bins, BinsCosts], what: str, ax: Any) -> Any:
        return what
