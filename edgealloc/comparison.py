"""Several methods on one problem, side by side: what each finds and what that loses against the best."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.method import find_method
from edgealloc.core.problem import Problem
from edgealloc.core.run import Progress, Run
from edgealloc.core.solution import Solution
from edgealloc.core.status import Termination
from edgealloc.core.tables import Column, latex_table, markdown_table, text_table
from edgealloc.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "compare"]

log = logging.getLogger(__name__)

#: Columns of every kind of problem; between the two groups stand those of the kind, `Problem.COLUMNS`.
_FIRST: Final = (
    Column("method", "method", number=False),
    Column("objective", "objective", digits=".7g"),
    Column("gap", "gap to bound", digits=".2e"),
    Column("loss_percent", "loss %", digits=".3f"),
)
_LAST: Final = (Column("seconds", "seconds", digits=".2f"), Column("status", "status", number=False))


@dataclass(frozen=True, eq=False)
class Comparison:
    """The table of methods on one problem.

    Attributes
    ----------
    problem : Problem
    methods : tuple of str
        In the order of the rows.
    solutions : mapping
        Method -> Solution; a method that failed is missing here and in `failures`.
    failures : mapping
        Method -> why there is no solution of it.
    interrupted : bool
        Ctrl-C ended the table before every method had its turn.
    """

    problem: Problem[Any, Any]
    methods: tuple[str, ...]
    solutions: Mapping[str, Solution[Any, Any]]
    failures: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def best(self) -> Solution[Any, Any] | None:
        """The solution of least objective (the first of equals); None if no method found one."""
        found = [one for one in self.solutions.values() if one.objective is not None]
        return min(found, key=lambda one: float(one.objective), default=None)  # type: ignore[arg-type]

    @property
    def bound(self) -> float | None:
        """The best lower bound that any of the methods proved and no other's allocation disproves."""
        bounds = [one.bound for one in self.solutions.values() if one.bound is not None and not self._disproved(one)]
        return max(bounds, default=None)

    def _disproved(self, solution: Solution[Any, Any]) -> bool:
        """Its bound lies above an objective that is attained: the method that gave it is wrong."""
        best = self.best
        if best is None or best.objective is None or solution.bound is None:
            return False
        return solution.bound > best.objective + 1e-9 * abs(best.objective)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per method with the columns of `to_frame`."""
        best = self.best
        floor = None if best is None else best.objective
        return [self._row(name, floor) for name in self.methods]

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the table shows, in order: the columns of every kind of problem and those of this one."""
        return (*_FIRST, *self.problem.COLUMNS, *_LAST)

    def _row(self, name: str, floor: float | None) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys((one.name for one in self.columns), math.nan)
        row |= {"method": name, "best": False, "bound": math.nan, "message": self.failures.get(name, "")}
        solution = self.solutions.get(name)
        if solution is None:
            row["status"] = "failed" if name in self.failures else "not run"
            return row
        row |= {"seconds": solution.seconds, "status": str(solution.status)}
        if solution.bound is not None:
            row["bound"] = solution.bound
        if solution.diagnosis is not None:
            row["message"] = solution.diagnosis.text(at_most=1).strip(" -")
        elif solution.objective is None:
            row["message"] = _one_line("; ".join(solution.attempts)) or f"stopped by: {solution.termination}"
        if self._disproved(solution):
            row["message"] = f"its bound {solution.bound:.9g} is disproved by {getattr(self.best, 'method', '')}"
            log.error("%s: %s", name, row["message"])
        if solution.objective is None or floor is None:
            return row
        scale = max(abs(solution.objective), 1e-300)
        row["objective"] = solution.objective
        if self.bound is not None:
            row["gap"] = max(0.0, solution.objective - self.bound) / scale
        row["loss_percent"] = 100.0 * (solution.objective - floor) / max(abs(floor), 1e-300)
        row["best"] = solution is self.best
        return row | dict(self.problem.comparison_columns(solution.allocation, solution.costs))

    def to_frame(self) -> pd.DataFrame:
        """One row per method: numbers in SI units, nan where there is none, and why in `message`."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        rows = self.rows()
        filled = {one.name for one in self.columns for row in rows if not _missing(row[one.name])}
        shown = [one for one in self.columns if one.name in filled or one.name in ("method", "status")]
        with_message = any(row["message"] for row in rows)
        cells = [[_cell(one, row) for one in shown] + [row["message"]] * with_message for row in rows]
        return [one.heading for one in shown] + ["message"] * with_message, cells

    def _notes(self) -> list[str]:
        notes = []
        if self.best is not None:
            notes.append("* best objective of the table")
        if self.bound is not None:
            notes.append(f"best proven bound {self.bound:.9g}; gap = (objective - bound) / objective")
        if self.interrupted:
            notes.append("interrupted: the table is incomplete")
        return notes

    def to_text(self) -> str:
        """The table for a terminal."""
        lines = [self.problem.describe(), "", text_table(*self._cells()), "", *self._notes()]
        return "\n".join(lines).rstrip()

    def to_markdown(self) -> str:
        """The table as GitHub-flavoured Markdown."""
        return markdown_table(*self._cells())

    def to_latex(self) -> str:
        """The table as a LaTeX tabular (package booktabs)."""
        return latex_table(*self._cells())

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        best = "None" if self.best is None else f"{self.best.method!r}"
        return f"Comparison(methods={list(self.methods)}, best={best})"

    def _repr_html_(self) -> str:
        import html

        header, cells = self._cells()
        head = "".join(f"<th>{html.escape(one)}</th>" for one in header)
        lines = ("".join(f"<td>{html.escape(one)}</td>" for one in row) for row in cells)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        notes = "<br>".join(html.escape(note) for note in self._notes())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{notes}</p>"

    def plot(self, ax: Any = None) -> Any:
        """Objective of every method as a bar, the proven bound as a line, the loss written at the bars.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; axes of a new figure by default.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from edgealloc.core.figures import COLOURS, GREY, new_figure, place_legend, style_axes

        if ax is None:
            figure, ax = new_figure(height=1.6 + 0.42 * len(self.methods))
        else:
            figure = ax.figure
        rows = self.rows()
        values = [0.0 if math.isnan(row["objective"]) else row["objective"] for row in rows]
        colours = [COLOURS[0] if row["best"] else COLOURS[5] for row in rows]
        ax.barh(range(len(rows)), values, color=colours, height=0.66)
        span = max((abs(value) for value in values), default=0.0) or 1.0
        for i, (row, value) in enumerate(zip(rows, values, strict=True)):
            if math.isnan(row["objective"]):
                text = row["status"].replace("_", " ")
            else:
                text = f"{value:.4g}" + ("  best" if row["best"] else f"  +{_short(row['loss_percent'])} %")
            ax.text(max(value, 0.0) + 0.01 * span, i, text, va="center", fontsize=9.0,
                    color="black" if value else GREY)
        ax.set_yticks(range(len(rows)), [row["method"] for row in rows])
        ax.invert_yaxis()
        ax.set_xlim(min(0.0, *values) * 1.05, max(0.0, *values) * 1.22 or 1.0)
        if self.bound is not None:
            ax.axvline(self.bound, color=COLOURS[3], linewidth=1.6, linestyle="--",
                       label=f"proven lower bound {self.bound:.6g}")
        style_axes(ax, self.problem.describe(), "objective (+ %: loss against the best)", "", grid="x")
        ax.tick_params(axis="y", length=0)
        place_legend(ax, "below")
        return figure


def compare(
    problem: Problem[Any, Any],
    methods: Sequence[str] | None = None,
    *,
    gap: float = 1e-3,
    time_limit_s: float | None = 60.0,
    seed: int = 0,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Solve one problem by several methods.

    Parameters
    ----------
    problem : Problem
    methods : sequence of str, optional
        Names from ``problem.methods()``, in the order of the rows; by default all that are not slow.
    gap, time_limit_s, seed, threads, on_progress
        As for `Problem.solve`, for each method.

    Returns
    -------
    Comparison
        A method that raises becomes a row with its message, and Ctrl-C keeps the rows so far. For an
        infeasible problem every row says so.

    Raises
    ------
    DataError
        An unknown method, none at all, or a faulty option, before anything runs.
    """
    if isinstance(methods, str):
        methods = [methods]
    known = problem.methods()
    names = [name for name, method in known.items() if not method.slow] if methods is None else list(methods)
    names = list(dict.fromkeys(names))
    if not names:
        raise DataError("compare: no methods given; leave `methods` out for all that are not slow")
    for name in names:
        find_method(problem.kind, problem.METHODS, name)
    options: dict[str, Any] = {
        "gap": gap, "time_limit_s": time_limit_s, "seed": seed, "threads": threads,
        "on_progress": on_progress,
    }
    Run.create(**options, warm_start=None)
    solutions: dict[str, Solution[Any, Any]] = {}
    failures: dict[str, str] = {}
    if problem.diagnose() is not None:
        # the same proof answers for every method
        proof = problem.solve(names[0], **options)
        return Comparison(problem, tuple(names), dict.fromkeys(names, proof))
    interrupted = False
    for name in names:
        try:
            solutions[name] = problem.solve(name, **options)
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception as error:  # a table survives whatever a user's method does
            failures[name] = _one_line(f"{type(error).__name__}: {error}")
            log.warning("compare: method '%s' failed: %s", name, failures[name])
            log.debug("compare: where method '%s' failed", name, exc_info=True)
            continue
        if solutions[name].termination is Termination.INTERRUPTED:
            interrupted = True
            break
    return Comparison(problem, tuple(names), solutions, failures, interrupted)


def _one_line(text: str) -> str:
    """The first line: a message of several would tear the table."""
    return next(iter(text.splitlines()), "")


def _missing(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _short(percent: float) -> str:
    return f"{percent:.0f}" if percent >= 99.5 else f"{percent:.2g}"


def _cell(column: Column, row: Mapping[str, Any]) -> str:
    value = row[column.name]
    if _missing(value):
        return "-"
    return f"{column.shown(value)} *" if column.name == "method" and row["best"] else column.shown(value)
