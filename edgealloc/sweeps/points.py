"""One point of a sweep: make the problem of a value and a seed, solve it by every method, write tidy rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgealloc.comparison import Comparison, compare
from edgealloc.core.problem import Problem
from edgealloc.core.run import Progress
from edgealloc.core.solution import Solution
from edgealloc.core.status import Termination
from edgealloc.core.tables import Column
from edgealloc.errors import DataError
from edgealloc.scenarios.scenario import Scenario

__all__ = [
    "LABELS", "FromScenario", "Job", "Point", "PointResult", "columns_of", "failed_point", "from_scenario", "one_line",
    "solve_point",
]

#: Texts, and numbers that name a row: nothing of which a mean can be taken.
LABELS: Final = ("parameter", "value", "seed", "method", "status", "message")
_FIRST: Final = ("parameter", "value", "seed", "method", "objective", "bound", "gap", "best_bound", "over_bound")
_LAST: Final = ("seconds", "status", "iterations", "message")
_FROM_COMPARISON: Final = ("objective", "bound", "gap", "seconds", "status", "message")


def columns_of(kind: tuple[Column, ...]) -> tuple[str, ...]:
    """Columns of every row, in order: those of a kind of problem (`Problem.COLUMNS`) between those of all.

    A `measure` adds its own behind them.
    """
    return (*_FIRST, *(one.name for one in kind), *_LAST)


@dataclass(frozen=True)
class FromScenario:
    """The function ``(value, seed) -> problem`` of a scenario with one key changed; it can be sent to a process."""

    raw: Mapping[str, Any]
    folder: str
    key: str

    def __call__(self, value: Any, seed: int) -> Problem[Any, Any]:
        scenario = Scenario.from_mapping(copy.deepcopy(dict(self.raw)), self.folder, "sweep")
        problem: Problem[Any, Any] = scenario.changed({"seed": seed, self.key: value}).problem()
        return problem


@dataclass(frozen=True)
class Point:
    """One value and one seed."""

    value: Any
    seed: int


@dataclass(frozen=True)
class Job:
    """What is the same at every point of a sweep."""

    make: Callable[[Any, int], Any]
    parameter: str
    methods: tuple[str, ...]
    columns: tuple[Column, ...]
    options: Mapping[str, Any]
    measure: Callable[[Any], Mapping[str, float]] | None = None
    keep_history: bool = False


@dataclass(frozen=True)
class PointResult:
    """Rows of one point, one per method, and what the methods reported on the way."""

    rows: tuple[dict[str, Any], ...]
    history: tuple[dict[str, Any], ...] = ()
    interrupted: bool = field(default=False)


def solve_point(job: Job, point: Point, on_progress: Callable[[Progress], None] | None) -> PointResult:
    """Make the problem, compare the methods, and turn what came of it into rows.

    A problem that cannot be made becomes a failed row per method; Ctrl-C keeps the methods that are done, and drops the
    one that it stopped.

    Raises
    ------
    DataError
        An unknown method.
    """
    try:
        problem = job.make(point.value, point.seed)
    except KeyboardInterrupt:
        return PointResult((), interrupted=True)
    except Exception as error:  # a sweep survives whatever a user's function does
        return failed_point(job, point, f"no problem: {one_line(error)}")
    table = compare(problem, job.methods, seed=point.seed, on_progress=on_progress, **job.options)
    rows: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    for line in table.rows():
        name = line["method"]
        solution = table.solutions.get(name)
        if solution is None and name not in table.failures:
            continue  # interrupted before its turn
        if solution is not None and solution.termination is Termination.INTERRUPTED:
            continue  # what it had found so far would pass for its result in the means
        rows.append(_row(job, point, table, line, solution))
        if job.keep_history and solution is not None:
            history += _history(point, name, solution)
    return PointResult(tuple(rows), tuple(history), table.interrupted)


def failed_point(job: Job, point: Point, message: str) -> PointResult:
    """A row per method that says why there is no result."""
    rows = []
    for name in job.methods:
        row: dict[str, Any] = dict.fromkeys(columns_of(job.columns), math.nan)
        rows.append(row | _head(job, point, name) | {"status": "failed", "iterations": 0, "message": message})
    return PointResult(tuple(rows))


def one_line(error: BaseException) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _head(job: Job, point: Point, name: str) -> dict[str, Any]:
    return {"parameter": job.parameter, "value": point.value, "seed": point.seed, "method": name}


def _row(
    job: Job, point: Point, table: Comparison, line: Mapping[str, Any], solution: Solution[Any, Any] | None
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(columns_of(job.columns), math.nan)
    row |= _head(job, point, line["method"])
    row |= {name: line[name] for name in (*_FROM_COMPARISON, *(one.name for one in job.columns))}
    counts = [report.iteration for report in solution.history if report.iteration] if solution else []
    row["iterations"] = counts[-1] if counts else 0
    bound = table.bound
    if bound is not None:
        row["best_bound"] = bound
        # a ratio of costs means something only where the least possible cost is positive
        if bound > 0.0:
            row["over_bound"] = row["objective"] / bound
    if solution is None or solution.allocation is None:
        return row
    if job.measure is not None:
        try:
            row |= {str(name): float(value) for name, value in job.measure(solution).items()}
        except Exception as error:  # the row of the solution is worth more than a user's extra column
            row["message"] = f"{row['message']}; measure failed: {one_line(error)}".lstrip("; ")
    return row


def _history(point: Point, name: str, solution: Solution[Any, Any]) -> list[dict[str, Any]]:
    return [
        {
            "value": point.value, "seed": point.seed, "method": name, "step": step, "stage": report.stage,
            "iteration": report.iteration, "seconds": report.seconds,
            "objective": math.nan if report.objective is None else report.objective,
            "bound": math.nan if report.bound is None else report.bound,
        }
        for step, report in enumerate(solution.history)
    ]


def from_scenario(scenario: Scenario, key: str) -> FromScenario:
    """A scenario as a function of one key's value and the seed."""
    if key == "seed":
        raise DataError("sweep: the seed is varied by `samples` or `seeds`; give another key")
    return FromScenario(scenario.mapping(), str(Path(scenario.folder).absolute()), key)
