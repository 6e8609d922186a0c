"""Figures on the case study of Zeng et al. (arXiv 2404.17766), in two testbeds, with certified best plans beside.

The public text of the paper has no plotted value and no numbers of figures, so ours have names. What is said about
them is computed: the paper's findings hold on our numbers or do not, and are reported as found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.run import Progress
from edgealloc.errors import DataError
from edgealloc.reproduce.results import ToldResult, choices_lines, find_figure, save_result
from edgealloc.reproduce.trend import TrendResult
from edgealloc.reproduce.zeng_2024 import trends as say
from edgealloc.reproduce.zeng_2024.runs import BEST, CERTIFIED, PARALLELISMS, measure
from edgealloc.reproduce.zeng_2024.settings import (
    BATCH,
    MODELS,
    RATES,
    TESTBEDS,
    TOKENS,
    VERSIONS,
    Setting,
    check_testbed,
    choices,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIGURES", "Figure", "FigureResult", "listing", "run_figure", "run_figures"]

#: The model of the figures that vary something else: the smallest, which fits one device.
_MODEL: Final = "bert-base-uncased"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name, title : str
    quantity : str
        Column that is drawn (of the curves: the first of two).
    y : str
        Label of its axis.
    kind : {"bars", "memory", "curves"}
    values : tuple of float
        Rates (Mbit/s) of the bars; x values of the curves.
    models : tuple of str
    x, label : str
        Of the curves: the field of `Setting` that varies, and the label of the axis.
    training : {"full", "frozen"}
        As in `Setting`.
    """

    name: str
    title: str
    quantity: str
    y: str
    kind: str
    values: tuple[float, ...]
    models: tuple[str, ...] = MODELS
    x: str = ""
    label: str = ""
    training: str = "full"

    @property
    def methods(self) -> tuple[str, ...]:
        """What is drawn, in the order of the legend."""
        best = (BEST[self.quantity],) if self.kind == "bars" else tuple(CERTIFIED) if self.kind == "curves" else ()
        return (*PARALLELISMS, *best)

    def settings(self, testbed: str, values: Sequence[float], models: Sequence[str]) -> list[Setting]:
        """Every case of the figure, in order."""
        if self.kind == "curves" and self.x == "rate_mbit":
            return [Setting(testbed, "gpu", model, value, network)
                    for model in models for network in ("switch", "wifi") for value in values]
        if self.kind == "curves":
            return [Setting(testbed, "gpu", model, max(RATES), batch=round(value))
                    for model in models for value in values]
        versions = VERSIONS if self.kind == "bars" else ("gpu",)
        return [Setting(testbed, version, model, rate, training=self.training)
                for version in versions for rate in values for model in models]

    def judged(self, rows: say.Rows, values: Sequence[float]) -> tuple[TrendResult, ...]:
        """The findings that this figure shows, judged."""
        if self.kind == "memory":
            return (say.trainable(rows), say.many_cannot_hold(rows))
        if self.x == "rate_mbit":
            return (
                *(say.falls(rows, name, "time_per_sample_s", "time per sample")
                  for name in (*PARALLELISMS, "best time")),
                *(say.crossing(rows, "rate_mbit", "Mbit/s", name, "single") for name in PARALLELISMS),
                say.above_bounds(rows),
            )
        if self.x == "batch":
            return (say.crossing(rows, "batch", "samples", "data", "tensor"),
                    say.crossing(rows, "batch", "samples", "data", "single"),
                    say.crossing(rows, "batch", "samples", "data", "pipeline"), say.above_bounds(rows))
        what = "time per sample" if self.quantity == "relative_time" else "energy per sample"
        ranked = [judge(rows, self.quantity, what, rate) for judge in (say.one_wins, say.both_better)
                  for rate in sorted(values)]
        if self.quantity == "relative_time":
            low, high = min(values), max(values)
            links = [say.slow_links(rows, low, high)] if low < high else []
            ranked += [*links, say.slower_than_one(rows, low)]
            if self.training == "frozen":
                ranked += [say.one_wins(rows, "relative_energy", "energy per sample", rate) for rate in sorted(values)]
                ranked += [say.comparable_and_faster(rows, rate) for rate in sorted(values)]
        else:
            ranked += [*(say.comparable_and_faster(rows, rate) for rate in sorted(values)), say.by_version(rows)]
        return (*ranked, say.above_bounds(rows))


#: Every figure.
FIGURES: Final[dict[str, Figure]] = {
    one.name: one
    for one in (
        Figure("time", "Time per sample over one device", "relative_time", "time per sample / one device's", "bars",
               RATES),
        Figure("energy", "Energy per sample over one device", "relative_energy", "energy per sample / one device's",
               "bars", RATES),
        Figure("memory", "Peak memory of the fullest device", "memory_share", "peak memory / capacity", "memory",
               (max(RATES),)),
        Figure("bandwidth", "Time and energy over the rate of the links", "relative_time",
               "time per sample / one device's", "curves", (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0),
               (_MODEL,), "rate_mbit", "rate of the links [Mbit/s]"),
        Figure("batch", "Time and energy over the batch", "relative_time", "time per sample / one device's", "curves",
               (8.0, 16.0, 32.0, 64.0, 128.0, 256.0), (_MODEL,), "batch", "samples of an iteration"),
        Figure("adapters", "Time per sample over one device, adapters on a frozen base", "relative_time",
               "time per sample / one device's", "bars", RATES, training="frozen"),
    )
}


@dataclass(frozen=True, eq=False, repr=False)
class FigureResult(ToldResult):
    """A figure with its data, what was found, and what was chosen.

    Attributes
    ----------
    figure : Figure
    edition : str
        The testbed.
    rows : tuple of dict
        As `runs.measure` gives them.
    values : tuple of float
    models : tuple of str
    trends : tuple of TrendResult
    choices : tuple of str
        How this figure was run.
    assumptions : tuple of str
        What the public text leaves open and we chose.
    interrupted : bool
    gap : float
        Asked for of the certified plans.
    """

    figure: Figure
    edition: str
    rows: tuple[dict[str, Any], ...]
    values: tuple[float, ...]
    models: tuple[str, ...]
    trends: tuple[TrendResult, ...]
    choices: tuple[str, ...]
    assumptions: tuple[str, ...]
    interrupted: bool = False
    gap: float = 1e-2

    def to_frame(self) -> pd.DataFrame:
        """All rows."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    def gaps(self) -> list[float]:
        """Proven relative gap of every certified plan, in the quantity that it has least of."""
        values = (("best time", "time_per_sample_s"), ("best energy", "energy_per_sample_j"))
        found = [1.0 - row[f"bound_{name}"] / row[name] for row in self.rows for method, name in values
                 if row["method"] == method and row["fits"]]
        return [one for one in found if math.isfinite(one)]

    def proof(self) -> str:
        """How close the certified plans are to their bounds, in words."""
        gaps = sorted(self.gaps())
        within = sum(gap <= self.gap * (1.0 + 1e-9) for gap in gaps)
        return (f"{within} of {len(gaps)} within {self.gap:.0%} of the least possible, half of them within "
                f"{gaps[len(gaps) // 2]:.2%}, all within {gaps[-1]:.2%}")

    def plot(self) -> Any:
        """Draw it.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from edgealloc.reproduce.zeng_2024 import drawing

        title = f"{self.figure.title}: {TESTBEDS[self.edition]}"
        if self.figure.kind == "curves":
            return drawing.draw_curves(self.rows, self.figure.x, self.figure.label, self.figure.methods, title=title)
        return drawing.draw_bars(self.rows, self.figure.quantity, self.figure.methods, self.models, title=title,
                                 y=self.figure.y)

    def save(self, folder: str | Path, format: str = "png") -> tuple[Path, ...]:
        """Write the picture and the table; existing files are replaced only when each is written.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        format : {"png", "pdf", "svg"}

        Returns
        -------
        tuple of Path
            ``zeng_<name>_<testbed>.<format>`` and ``.csv``.

        Raises
        ------
        DataError
            Another format, or a folder that cannot be written.
        """
        return save_result(folder, f"zeng_{self.figure.name}_{self.edition}", format, self.plot, {"": self.to_frame()})

    def text(self, *, assumptions: bool = True) -> str:
        """A page: what was found and what was chosen, with or without what every figure of the testbed shares."""
        lines = [f"Figure {self.figure.name}: {self.figure.title}",
                 f"testbed {self.edition}: {TESTBEDS[self.edition]}", "", "findings"]
        lines += [f"  - {trend}" for trend in self.trends]
        if self.gaps():
            lines += ["", f"certified plans: {self.proof()}"]
        lines += choices_lines(self.choices, self.assumptions if assumptions else (), interrupted=self.interrupted)
        return "\n".join(lines)


def listing() -> list[dict[str, Any]]:
    """What the command line lists: a row per figure."""
    return [{"name": one.name, "title": one.title, "quantity": one.quantity, "methods": one.methods,
             "values": one.values, "models": one.models} for one in FIGURES.values()]


def run_figure(
    name: str, testbed: str = "nano", *, values: Sequence[float] | None = None, models: Sequence[str] | None = None,
    gap: float = 1e-2, time_limit_s: float | None = 20.0, on_progress: Callable[[Progress], None] | None = None,
) -> FigureResult:
    """Run what a figure shows.

    Parameters
    ----------
    name : str
        A key of `FIGURES`.
    testbed : {"nano", "mixed"}
    values : sequence of float, optional
        Instead of the figure's rates or x values.
    models : sequence of str, optional
        Instead of the figure's models.
    gap, time_limit_s
        At which the certified plans stop.
    on_progress : callable, optional
        Called with a `Progress` before every case.

    Returns
    -------
    FigureResult

    Raises
    ------
    DataError
        Unknown figure, testbed or model, or a faulty option.
    """
    return next(run_figures([name], [testbed], values=values, models=models, gap=gap, time_limit_s=time_limit_s,
                            on_progress=on_progress))


def run_figures(
    names: Sequence[str], testbeds: Sequence[str] = tuple(TESTBEDS), *, values: Sequence[float] | None = None,
    models: Sequence[str] | None = None, gap: float = 1e-2, time_limit_s: float | None = 20.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[FigureResult]:
    """Run several figures, one result after the other; figures that show the same cases share them.

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
    chosen = [check_testbed(one) for one in testbeds]
    for value in values or ():
        if not value > 0.0:
            raise DataError(f"values: {value!r} must be > 0")
    _check_models(models)
    return _results(figures, chosen, values, models, gap, time_limit_s, on_progress)


def _results(
    figures: Sequence[Figure], testbeds: Sequence[str], values: Sequence[float] | None, models: Sequence[str] | None,
    gap: float, time_limit_s: float | None, on_progress: Callable[[Progress], None] | None,
) -> Iterator[FigureResult]:
    done: dict[tuple[Setting, tuple[str, ...]], list[dict[str, Any]]] = {}
    start = time.perf_counter()
    for testbed in testbeds:
        for figure in figures:
            points = figure.values if values is None else tuple(values)
            wanted = figure.models if models is None else tuple(models)
            certified = () if figure.kind == "memory" else tuple(CERTIFIED)
            rows: list[dict[str, Any]] = []
            interrupted = False
            try:
                for count, setting in enumerate(figure.settings(testbed, points, wanted)):
                    if on_progress is not None:
                        stage = f"{figure.name} {testbed} {setting.version} {setting.model}"
                        on_progress(Progress(stage, time.perf_counter() - start, count))
                    key = (setting, certified)
                    if key not in done:
                        done[key] = measure(setting, certified=certified, gap=gap, time_limit_s=time_limit_s)
                    rows += done[key]
            except KeyboardInterrupt:
                interrupted = True
            yield _result(figure, testbed, rows, points, wanted, gap, time_limit_s, interrupted)
            if interrupted:
                return


def _result(
    figure: Figure, testbed: str, rows: list[dict[str, Any]], values: tuple[float, ...], models: tuple[str, ...],
    gap: float, time_limit_s: float | None, interrupted: bool,
) -> FigureResult:
    shown = ", ".join(f"{value:g}" for value in values)
    own = []
    if figure.kind == "curves":
        own.append(f"{figure.label}: {shown}; GPUs, {', '.join(models)}"
                   + ("" if figure.x == "rate_mbit" else f", a switch of {max(RATES):g} Mbit/s"))
        if figure.x == "rate_mbit":
            own.append(f"batches of {BATCH} x {TOKENS} tokens")
    else:
        own.append(f"models: {', '.join(models)}")
        if figure.kind == "bars":
            own.append(f"links of {shown} Mbit/s at a switch")
    if figure.kind != "memory":
        limit = "none" if time_limit_s is None else f"{time_limit_s:g} s"
        own.append("certified plans start from the best of the others and of the method hybrid, and stop at a gap of "
                   f"{gap:g}; time limit of each: {limit}")
    return FigureResult(figure, testbed, tuple(rows), values, models, figure.judged(rows, values) if rows else (),
                        tuple(own), tuple(choices(testbed)), interrupted, gap)


def _check_models(models: Sequence[str] | None) -> None:
    from edgealloc.catalog import default_catalog

    for name in models or ():
        default_catalog().model(name)
