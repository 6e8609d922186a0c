"""Figures 2 to 5 of Liu & Zhao (MobiHoc 2024, arXiv 2409.20247), in two editions, with the certified bound.

No plotted value of the paper is available as a number, so the figures repeat its axes, curves and parameters. What is
said about them is computed: `Trend` statements hold or do not hold, and rankings are reported as found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.run import Progress
from edgealloc.errors import DataError
from edgealloc.reproduce.liu_zhao_2024.settings import (
    EDITIONS,
    SERVERS,
    USERS,
    Setting,
    check_edition,
    edition_choices,
    energy_parts,
)
from edgealloc.reproduce.liu_zhao_2024.trends import (
    Trend,
    above_bound,
    evaluate,
    few_iterations,
    least,
    monotone,
    never_rises,
    ranking,
)
from edgealloc.reproduce.results import choices_lines, find_figure, save_result
from edgealloc.reproduce.trend import TrendResult
from edgealloc.sweeps.engine import sweep
from edgealloc.sweeps.result import Sweep

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FAMILIES", "FIGURES", "Family", "Figure", "FigureResult", "run_figure", "run_figures"]

_P: Final = "fp-cccp"  # the proposed algorithm


@dataclass(frozen=True)
class Family:
    """Runs that one or two figures are drawn from.

    Attributes
    ----------
    varied : str
        As in `Setting`.
    label : str
        Of the x axis.
    methods : tuple of str
        In the order of the legend.
    values : tuple of float
        Weights as they are; numbers of users and servers as shares of the usual size.
    crowd : int
        So many times the usual number of users.
    history : bool
        Iterations are drawn.
    """

    varied: str
    label: str
    methods: tuple[str, ...]
    values: tuple[float, ...]
    crowd: int = 1
    history: bool = False

    def points(self, users: int, servers: int) -> tuple[int | float, ...]:
        """Values of the parameter at given sizes."""
        if self.varied not in ("users", "servers"):
            return self.values
        size = users if self.varied == "users" else servers
        return tuple(dict.fromkeys(max(1, round(share * size)) for share in self.values))


_WEIGHTS: Final = tuple(float(w) for w in range(1, 11))
_OF_WEIGHTS: Final = (_P, "certified", "alternating", "alpha-only", "resource-only")

#: name -> runs; figures that share a family share its runs.
FAMILIES: Final[dict[str, Family]] = {
    "methods": Family("users", "users N", (_P, "certified", "edge-only", "local-only"), (1.0,)),
    "energy weight": Family("energy", "weight of energy $w_e$", _OF_WEIGHTS, _WEIGHTS),
    "delay weight": Family("delay", "weight of delay $w_t$", _OF_WEIGHTS, _WEIGHTS),
    "stability weight": Family("stability", "weight of stability $w_s$", _OF_WEIGHTS, _WEIGHTS),
    "servers": Family("servers", "servers M", (_P, "certified"), (0.5, 1.0, 1.5, 2.0), crowd=2, history=True),
    "users": Family("users", "users N", (_P, "certified", "greedy", "random"), (0.4, 0.8, 1.2, 1.6, 2.0)),
}


@dataclass(frozen=True)
class Figure:
    """One figure of the paper.

    Attributes
    ----------
    name : str
        "2a", ...
    title : str
    family : str
        The runs: a key of `FAMILIES`.
    quantity : str
        Column that is drawn.
    y : str
        Label of the y axis.
    kind : {"bars", "curves", "iterations"}
    trends : tuple of Trend
    """

    name: str
    title: str
    family: str
    quantity: str
    y: str
    kind: str
    trends: tuple[Trend, ...]

    @property
    def runs(self) -> Family:
        """Parameter, values and methods."""
        return FAMILIES[self.family]


_ENERGY, _DELAY, _STABILITY = "total_energy_j", "mean_delay_s", "mean_instability"
_RIVALS: Final = ("alternating", "alpha-only", "resource-only")

#: Every figure of the paper's section 6 that shows results.
FIGURES: Final[dict[str, Figure]] = {
    one.name: one
    for one in (
        Figure("2a", "Energy by method", "methods", _ENERGY, "energy of all users and servers [J]", "bars", (
            least("edge-only spends least energy on the devices", "edge-only", "device_energy_j", (_P, "local-only")),
            least("the proposed method spends least energy", _P, _ENERGY, ("edge-only", "local-only")),
            above_bound(),
        )),
        Figure("2b", "Average delay by method", "methods", _DELAY, "average delay of a user [s]", "bars", (
            least("the proposed method has the least average delay", _P, _DELAY, ("edge-only", "local-only")),
            above_bound(),
        )),
        Figure("3a", "Energy over its weight", "energy weight", _ENERGY, "energy of all users and servers [J]",
               "curves", (
            monotone("energy falls as w_e grows", _P, _ENERGY, -1),
            monotone("energy falls as w_e grows", "certified", _ENERGY, -1),
            least("the proposed method spends least energy at every weight", _P, _ENERGY, _RIVALS),
            above_bound(),
        )),
        Figure("3b", "Delay over its weight", "delay weight", _DELAY, "average delay of a user [s]", "curves", (
            monotone("delay falls as w_t grows", _P, _DELAY, -1),
            monotone("delay falls as w_t grows", "certified", _DELAY, -1),
            least("the proposed method has the least delay at every weight", _P, _DELAY, _RIVALS),
            above_bound(),
        )),
        Figure("3c", "Stability over its weight", "stability weight", _STABILITY,
               "average-replace-one stability (lower is better)", "curves", (
            monotone("instability falls as w_s grows", _P, _STABILITY, -1),
            monotone("instability falls as w_s grows", "certified", _STABILITY, -1),
            least("the proposed method is the most stable at every weight", _P, _STABILITY, _RIVALS),
            above_bound(),
        )),
        Figure("4", "Convergence of the proposed method", "servers", "objective", "objective", "iterations", (
            never_rises(_P),
            few_iterations(_P, 13),
            above_bound(),
        )),
        Figure("5a", "Energy over the number of users", "users", _ENERGY, "energy of all users and servers [J]",
               "curves", (
            monotone("energy grows with the number of users", _P, _ENERGY, 1),
            least("the proposed method spends least energy at every size", _P, _ENERGY, ("greedy", "random")),
            above_bound(),
        )),
        Figure("5b", "Delay over the number of users", "users", _DELAY, "average delay of a user [s]", "curves", (
            monotone("the average delay grows with the number of users", _P, _DELAY, 1),
            least("the proposed method has the least delay at every size", _P, _DELAY, ("greedy", "random")),
            above_bound(),
        )),
    )
}


@dataclass(frozen=True, eq=False)
class FigureResult:
    """A figure with its data, what was found, and what was chosen.

    Attributes
    ----------
    figure : Figure
    edition : str
    sweep : Sweep
    trends : tuple of TrendResult
    choices : tuple of str
        How this figure was run: sizes, values, samples, gaps.
    assumptions : tuple of str
        What the paper leaves open, or the edition adds, and we filled in.
    """

    figure: Figure
    edition: str
    sweep: Sweep
    trends: tuple[TrendResult, ...]
    choices: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def summary(self) -> pd.DataFrame:
        """Means and 95 % confidence intervals per value and method."""
        return self.sweep.summary()

    @property
    def interrupted(self) -> bool:
        """Whether the runs were interrupted."""
        return self.sweep.interrupted

    @property
    def rankings(self) -> dict[str, str]:
        """Methods by what the figure shows and by their objective over the bound, as found."""
        rows = self.sweep.to_frame()
        return {name: ranking(rows, name, self.sweep.methods) for name in (self.figure.quantity, "over_bound")}

    def plot(self) -> Any:
        """Draw it.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from edgealloc.reproduce.liu_zhao_2024 import drawing

        figure, runs = self.figure, self.figure.runs
        title = f"{figure.name}  {figure.title}, {self.edition} edition"
        if figure.kind == "bars":
            return drawing.draw_bars(self.summary, figure.quantity, self.sweep.methods, title=title, y=figure.y)
        if figure.kind == "curves":
            return drawing.draw_sweep(self.summary, figure.quantity, self.sweep.values, self.sweep.methods,
                                      title=title, x=runs.label, y=figure.y)
        lines, bounds = self._iterations()
        return drawing.draw_iterations(lines, bounds, title=title, label="M")

    def _iterations(self) -> tuple[dict[Any, list[list[float]]], dict[Any, list[float]]]:
        """Objectives along the outer iterations and the bounds, per value, for samples that have both."""
        lines: dict[Any, list[list[float]]] = {}
        bounds: dict[Any, list[float]] = {}
        bound_of = {(row["value"], row["seed"]): row["best_bound"] for row in self.sweep.rows}
        reports: dict[tuple[Any, int], list[Mapping[str, Any]]] = {}
        for line in self.sweep.history:
            if line["method"] == _P and math.isfinite(line["objective"]):
                reports.setdefault((line["value"], line["seed"]), []).append(line)
        for (value, seed), found in reports.items():
            bound = bound_of.get((value, seed), math.nan)
            if math.isfinite(bound) and bound > 0.0:
                outer = [one["objective"] for one in found if one["stage"] == "cccp"]
                lines.setdefault(value, []).append([found[0]["objective"], *outer])
                bounds.setdefault(value, []).append(bound)
        return lines, bounds

    def save(self, folder: str | Path, format: str = "png") -> tuple[Path, ...]:
        """Write the picture and the tables; existing files are replaced only when each is written.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        format : {"png", "pdf", "svg"}

        Returns
        -------
        tuple of Path
            ``figure_<name>_<edition>.<format>``, ``.csv`` (every row), ``_summary.csv`` (means and intervals), and,
            where iterations are drawn, ``_history.csv``.

        Raises
        ------
        DataError
            Another format, or a folder that cannot be written.
        """
        tables = {"": self.sweep.to_frame(), "_summary": self.summary}
        if self.sweep.history:
            tables["_history"] = self.sweep.history_frame()
        return save_result(folder, f"figure_{self.figure.name}_{self.edition}", format, self.plot, tables)

    def text(self, *, assumptions: bool = True) -> str:
        """A page: what was found and what was chosen, with or without the edition's assumptions."""
        lines = [f"Figure {self.figure.name}: {self.figure.title}, {self.edition} edition ({EDITIONS[self.edition]})",
                 "", "trends"]
        lines += [f"  - {trend}" for trend in self.trends]
        lines += ["", "rankings as found (means over all points, best first)"]
        lines += [f"  - {name}: {text}" for name, text in self.rankings.items()]
        if self.sweep.failures:
            first = self.sweep.failures[0]
            lines += ["", f"{len(self.sweep.failures)} of {len(self.sweep.rows)} rows have no allocation; the first: "
                      f"{first['method']} at {first['value']}: {first['message'] or first['status']}"]
        lines += choices_lines(self.choices, self.assumptions if assumptions else (), interrupted=self.interrupted)
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """All of it for machines, the rows of the tables aside."""
        return {"figure": self.figure.name, "title": self.figure.title, "edition": self.edition,
                "interrupted": self.interrupted, "trends": self.trends, "rankings": self.rankings,
                "choices": self.choices, "assumptions": self.assumptions, "summary": self.summary.to_dict("records")}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"FigureResult({self.figure.name!r}, {self.edition!r}, rows={len(self.sweep.rows)})"


def listing() -> list[dict[str, Any]]:
    """What the command line lists: a row per figure."""
    return [
        {"name": one.name, "title": one.title, "quantity": one.quantity, "methods": one.runs.methods,
         "values": one.runs.values, "trends": [trend.statement for trend in one.trends]}
        for one in FIGURES.values()
    ]


def run_figure(
    name: str,
    edition: str = "physical",
    samples: int = 5,
    *,
    users: int = USERS,
    servers: int = SERVERS,
    values: Sequence[float] | None = None,
    methods: Sequence[str] | None = None,
    gap: float = 2e-3,
    time_limit_s: float | None = 300.0,
    workers: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> FigureResult:
    """Run what a figure shows.

    Parameters
    ----------
    name : str
        A key of `FIGURES`, such as "3a".
    edition : {"physical", "literal"}
    samples : int
        Monte-Carlo samples (seeds 0, 1, ...) at every point.
    users, servers : int
        Usual sizes; figure 4 has twice as many users. Where one of them is varied, the values scale with it.
    values : sequence of float, optional
        Instead of the figure's x values.
    methods : sequence of str, optional
        Instead of the figure's methods; the picture needs "certified" for the bound.
    gap, time_limit_s
        As for `Problem.solve`.
    workers : int
        Processes.
    on_progress : callable, optional
        As for `sweep`.

    Returns
    -------
    FigureResult

    Raises
    ------
    DataError
        Unknown figure, edition or method, or a faulty option.

    Examples
    --------
    >>> result = run_figure("5a", samples=1, users=5, servers=2, methods=["certified", "greedy", "random"])
    >>> result.sweep.values
    (2, 4, 6, 8, 10)
    """
    found = run_figures(
        [name], [edition], samples, users=users, servers=servers, values=values, methods=methods, gap=gap,
        time_limit_s=time_limit_s, workers=workers, on_progress=on_progress,
    )
    return next(iter(found))


def run_figures(
    names: Sequence[str],
    editions: Sequence[str] = ("literal", "physical"),
    samples: int = 5,
    *,
    users: int = USERS,
    servers: int = SERVERS,
    values: Sequence[float] | None = None,
    methods: Sequence[str] | None = None,
    gap: float = 2e-3,
    time_limit_s: float | None = 300.0,
    workers: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[FigureResult]:
    """Run several figures, one result after the other; figures of one family share their runs.

    Parameters are those of `run_figure`. Nothing is run before the first result is asked for, but every name is
    checked at once. After Ctrl-C the interrupted figure is the last.

    Returns
    -------
    iterator of FigureResult

    Raises
    ------
    DataError
        As `run_figure`.
    """
    figures = [find_figure(name, FIGURES) for name in names]
    chosen = [check_edition(edition) for edition in editions]
    for label, size in (("users", users), ("servers", servers)):
        if type(size) is not int or size < 1:
            raise DataError(f"{label}: is {size!r}; give a whole number >= 1")
    _check_methods([name for one in figures for name in one.runs.methods] if methods is None else methods)

    def results() -> Iterator[FigureResult]:
        done: dict[tuple[str, str], Sweep] = {}
        for edition in chosen:
            for figure in figures:
                family = figure.runs
                if methods is not None:
                    family = replace(family, methods=tuple(dict.fromkeys(methods)))
                size = family.crowd * users
                points = family.points(size, servers) if values is None else tuple(values)
                key = (edition, figure.family)
                if key not in done:
                    setting = Setting(edition, family.varied, size, servers)
                    done[key] = sweep(
                        setting, figure.family, points, methods=family.methods, samples=samples, gap=gap,
                        time_limit_s=time_limit_s, workers=workers, measure=energy_parts, history=family.history,
                        on_progress=_labelled(on_progress, f"figure {figure.name} {edition} "),
                    )
                table = done[key]
                yield _result(figure, family, edition, table, size, servers, samples, gap, time_limit_s)
                if table.interrupted:
                    return

    return results()


def _check_methods(methods: Sequence[str]) -> None:
    from edgealloc.core.method import find_method
    from edgealloc.formulations.split_training.problem import SplitTraining

    for name in dict.fromkeys(methods):
        find_method(SplitTraining.kind, SplitTraining.METHODS, name)


def _labelled(
    on_progress: Callable[[Progress], None] | None, label: str
) -> Callable[[Progress], None] | None:
    if on_progress is None:
        return None
    return lambda report: on_progress(replace(report, stage=label + report.stage))


def _result(
    figure: Figure, family: Family, edition: str, table: Sweep, users: int, servers: int, samples: int, gap: float,
    time_limit_s: float | None,
) -> FigureResult:
    rows = table.to_frame()
    history = table.history_frame() if table.history else None
    sizes = {"users": f"N = {users} users", "servers": f"M = {servers} servers"}
    sizes.pop(family.varied if len(table.values) > 1 else "", None)
    shown = ", ".join(f"{value:g}" for value in table.values)
    limit = "none" if time_limit_s is None else f"{time_limit_s:g} s"
    where = f"{family.varied} in {{{shown}}}" + (f", {', '.join(sizes.values())}" if sizes else "")
    own = (
        where + (": the range is not in the paper's text" if family.varied in ("users", "servers") else ""),
        f"{samples} sample{'s' if samples > 1 else ''} (seeds 0 to {samples - 1}) at every point, the same for every "
        "value and method; intervals are Student's at 95 %",
        f"certified stops at a gap of {gap:g}; time limit of every solve: {limit}",
    )
    return FigureResult(
        figure, edition, table, evaluate(figure.trends, rows, history),
        own, tuple(edition_choices(edition, users, servers)),
    )
