"""Figures on the methods that Dong et al. (arXiv 2408.10691) review: memory, what fits, first against zeroth order.

The public text of the paper has no plotted value, so ours have names. What is said about them is computed: the paper's
findings hold on our numbers or do not, and are reported as found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.run import Progress
from edgealloc.reproduce.dong_2024 import runs
from edgealloc.reproduce.dong_2024 import trends as say
from edgealloc.reproduce.dong_2024.settings import (
    DEVICES,
    FLEET,
    MATRIX_MODELS,
    METHODS,
    MODELS,
    PREFERENCE,
    TARGET,
    WORKLOADS,
    check_workload,
    choices,
)
from edgealloc.reproduce.results import ToldResult, choices_lines, find_figure, save_result
from edgealloc.reproduce.trend import TrendResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIGURES", "Figure", "FigureResult", "listing", "run_figure", "run_figures"]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name, title : str
    quantity : str
        What is drawn.
    methods : tuple of str
    models : tuple of str
        Catalog models that it shows; empty where it has a setting of its own.
    draw : str
        Name of its function in `drawing`.
    judges : tuple of callable
        Statements about its rows.
    workload : bool
        Whether it depends on the workload; otherwise it is run for one edition alone.
    """

    name: str
    title: str
    quantity: str
    methods: tuple[str, ...]
    models: tuple[str, ...]
    draw: str
    judges: tuple[Callable[[say.Rows], TrendResult], ...]
    workload: bool = True

    def choices(self, models: Sequence[str]) -> list[str]:
        """What was chosen for this figure alone."""
        if self.name == "memory":
            return [f"models: {', '.join(models)}; inference: one forward pass in half precision"]
        if self.name == "fits":
            return [f"models: {', '.join(models)}; devices: {', '.join(DEVICES)}",
                    f"the best of those that fit: {', '.join(PREFERENCE)}, in this order"]
        if self.name == "target":
            return [
                f"{TARGET.model} on {TARGET.device} at {TARGET.utilisation:g} of its peak rate and its power limit",
                *(f"{name} order: {row.steps} steps, batches of {row.batch}: {row.model} in {row.source} "
                  f"({row.confidence}), taken for every method of that order"
                  for name, row in (("first", TARGET.published(1)), ("zeroth", TARGET.published(0)))),
                f"federation: {TARGET.rounds} rounds over {TARGET.rate_bps / 1e6:g} Mbit/s each way; updates in half "
                "precision, zeroth order by a seed (8 B) and a scalar (4 B) per step; energy is that of computing",
            ]
        if self.name == "published":
            return ["every published row of the catalog's facts (* from memory); what a source does not say (batch, "
                    "number format) is assumed as the facts say, and no number of the model was fitted to a row",
                    "judged are totals, and GaLore's weights and optimiser states; not the components of LOMO's totals",
                    "share of peak: FLOP of the step over seconds x GPUs x peak rate of an A100"]
        jobs, servers, seed = FLEET
        return [f"fleet: {jobs} jobs, {servers} servers, drawn with seed {seed} (`Scenario.random_fleet`), with "
                "workloads, qualities and weights of its own"]


#: Every figure.
FIGURES: Final[dict[str, Figure]] = {
    one.name: one
    for one in (
        Figure(
            "memory", "Peak memory of fine-tuning by method and model", "memory_bytes", METHODS, MODELS, "draw_memory",
            (say.too_large, say.much_more_than_inference, say.like_inference, say.smaller_than_full, say.small_formats,
             say.grows_with_text, say.trained_share_is_not_memory),
        ),
        Figure(
            "fits", "The best method that fits, by model and device", "fits", PREFERENCE, MATRIX_MODELS, "draw_matrix",
            (say.on_mainstream, say.more_becomes_possible, say.runs_and_trains),
        ),
        Figure(
            "target", "First and zeroth order to a target, in a federation", "time, energy, memory, bytes",
            TARGET.methods, (), "draw_target",
            (say.less_memory, say.first_order_is_faster, say.fewer_bytes, say.device_hours),
        ),
        Figure(
            "published", "Published memory beside the model's, and published steps", "memory_gb, share_of_peak",
            ("those of the rows",), (), "draw_published",
            (say.close_to_published, say.close_on_one_device, say.within_a_factor, say.shares_of_peak), workload=False,
        ),
        Figure(
            "fleet", "A small fleet by method of allocation", "jobs, objective", ("certified", "baselines"), (),
            "draw_fleet", (say.best_of_all, say.above_bound, say.devices_alone), workload=False,
        ),
    )
}


@dataclass(frozen=True, eq=False, repr=False)
class FigureResult(ToldResult):
    """A figure with its data, what was found, and what was chosen.

    Attributes
    ----------
    figure : Figure
    edition : str
        The workload.
    rows : tuple of dict
    trends : tuple of TrendResult
    choices : tuple of str
        How this figure was run.
    assumptions : tuple of str
        What the public text leaves open and we chose.
    interrupted : bool
    """

    figure: Figure
    edition: str
    rows: tuple[dict[str, Any], ...]
    trends: tuple[TrendResult, ...]
    choices: tuple[str, ...]
    assumptions: tuple[str, ...]
    interrupted: bool = False

    def to_frame(self) -> pd.DataFrame:
        """All rows; what is nested is left to `record`."""
        import pandas as pd

        return pd.DataFrame([{key: value for key, value in row.items() if not isinstance(value, dict)}
                             for row in self.rows])

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"dong_{self.figure.name}" + (f"_{self.edition}" if self.figure.workload else "")

    def plot(self) -> Any:
        """Draw it.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from edgealloc.reproduce.dong_2024 import drawing

        workload = f": {WORKLOADS[self.edition].text}" if self.figure.workload else ""
        return getattr(drawing, self.figure.draw)(self.rows, title=f"{self.figure.title}{workload}")

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
            ``dong_<name>_<workload>.<format>`` and ``.csv``.

        Raises
        ------
        DataError
            Another format, or a folder that cannot be written.
        """
        return save_result(folder, self.stem, format, self.plot, {"": self.to_frame()})

    def text(self, *, assumptions: bool = True) -> str:
        """A page: what was found and what was chosen, with or without what every figure of the workload shares."""
        lines = [f"Figure {self.figure.name}: {self.figure.title}"]
        lines += [f"workload {self.edition}: {WORKLOADS[self.edition].text}"] if self.figure.workload else []
        if self.figure.name in runs.TABLES and self.rows:
            lines += ["", *runs.TABLES[self.figure.name](self.rows).splitlines()]
        lines += ["", "findings", *(f"  - {trend}" for trend in self.trends)]
        lines += choices_lines(self.choices, self.assumptions if assumptions else (), interrupted=self.interrupted)
        return "\n".join(lines)


def listing() -> list[dict[str, Any]]:
    """What the command line lists: a row per figure."""
    return [{"name": one.name, "title": one.title, "quantity": one.quantity, "methods": one.methods,
             "models": one.models, "editions": tuple(WORKLOADS) if one.workload else ("the same for all",)}
            for one in FIGURES.values()]


def run_figure(
    name: str, edition: str = "short", *, models: Sequence[str] | None = None, gap: float = 1e-3,
    time_limit_s: float | None = 20.0, on_progress: Callable[[Progress], None] | None = None,
) -> FigureResult:
    """Run what a figure shows.

    Parameters
    ----------
    name : str
        A key of `FIGURES`.
    edition : {"short", "long"}
        The workload.
    models : sequence of str, optional
        Instead of the figure's models, where it has any.
    gap, time_limit_s
        At which the methods of the fleet stop.
    on_progress : callable, optional
        Called with a `Progress` now and then.

    Returns
    -------
    FigureResult

    Raises
    ------
    DataError
        Unknown figure, workload or model, or a faulty option.
    """
    return next(run_figures([name], [edition], models=models, gap=gap, time_limit_s=time_limit_s,
                            on_progress=on_progress))


def run_figures(
    names: Sequence[str], editions: Sequence[str] = tuple(WORKLOADS), *, models: Sequence[str] | None = None,
    gap: float = 1e-3, time_limit_s: float | None = 20.0, on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[FigureResult]:
    """Run several figures, one result after the other; those without a workload once.

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
    from edgealloc.catalog import default_catalog

    figures = [find_figure(name, FIGURES) for name in names]
    chosen = [check_workload(one) for one in editions]
    for name in models or ():
        default_catalog().model(name)
    return _results(figures, chosen, models, gap, time_limit_s, on_progress)


def _results(
    figures: Sequence[Figure], editions: Sequence[str], models: Sequence[str] | None, gap: float,
    time_limit_s: float | None, on_progress: Callable[[Progress], None] | None,
) -> Iterator[FigureResult]:
    start = time.perf_counter()
    for edition in editions:
        for figure in figures:
            if not figure.workload and edition != editions[0]:
                continue
            wanted = figure.models if models is None or not figure.models else tuple(models)
            rows: list[dict[str, Any]] = []
            interrupted = False

            def tell(what: str, name: str = figure.name) -> None:
                if on_progress is not None:
                    on_progress(Progress(f"{name} {what}", time.perf_counter() - start, 0))

            try:
                for row in runs.ROWS[figure.name](edition, wanted, gap, time_limit_s, tell):
                    rows.append(row)
            except KeyboardInterrupt:
                interrupted = True
            trends = tuple(judge(rows) for judge in figure.judges) if rows else ()
            shared = choices(edition) if figure.workload else ()
            yield FigureResult(figure, edition, tuple(rows), trends, tuple(figure.choices(wanted)), tuple(shared),
                               interrupted)
            if interrupted:
                return
