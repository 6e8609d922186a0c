"""Figures on the strategies that Zhang et al. (arXiv 2411.09148) review, by the axes of their Fig. 1C, 4 and 5.

The values of the paper's figures could not be read, so ours are computed: the findings of its abstract hold on our
numbers or do not, and are reported as found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.run import Progress
from edgealloc.reproduce.results import ToldResult, choices_lines, find_figure, save_result
from edgealloc.reproduce.trend import TrendResult
from edgealloc.reproduce.zhang_2024 import runs
from edgealloc.reproduce.zhang_2024 import trends as say
from edgealloc.reproduce.zhang_2024.settings import BASES, DEVICES, PHONES, STRATEGIES, check_base, choices

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIGURES", "Figure", "FigureResult", "listing", "run_figure", "run_figures"]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name, title : str
    paper : str
        The figure of the paper whose axes it has.
    quantity : str
        What is drawn.
    methods : tuple of str
    draw : str
        Name of its function in `drawing`.
    judges : tuple of callable
        Statements about its rows.
    """

    name: str
    title: str
    paper: str
    quantity: str
    methods: tuple[str, ...]
    draw: str
    judges: tuple[Callable[[say.Rows], TrendResult], ...]

    def choices(self, edition: str) -> list[str]:
        """What was chosen for this figure alone."""
        if self.name in ("strategies", "server"):
            strategies = "; ".join(f"{one.name}: {one.text}" for one in STRATEGIES)
            return [
                f"axes: {self.paper}",
                f"strategies: {strategies}",
                f"energy and delay: one query at a time on {PHONES.server} at its power limit, whatever the strategy",
                f"devices of the accessibility: one each of {', '.join(DEVICES)}; with offload all, since all get "
                "answers (a Deployment counts variants of their own alone)",
            ]
        base, phones = BASES[edition], PHONES
        found = [
            f"axes: {self.paper}",
            f"phones: {phones.device}, {phones.phone_framework}, {', '.join((base.model, *base.students))} in "
            f"{', '.join(phones.labels)}; a query every {phones.query_interval_s:g} s; server: {phones.server} with "
            f"{base.model} in half precision, batches of {phones.batch}, busy at most 90 % of the time",
            f"radio: {phones.uplink_bps / 1e6:g} Mbit/s up, {phones.downlink_bps / 1e6:g} Mbit/s down, "
            f"{1e3 * phones.round_trip_s:g} ms there and back, {phones.transmit_power_w:g} W, "
            f"{phones.bytes_per_token:g} B a token",
            f"cost: delay / {phones.delay_reference_s:g} s + energy / {phones.energy_reference_j:g} J + "
            f"{phones.quality_weight:g} (hallucination rate + wrong answers) + {phones.access_weight:g} (phones "
            "without access); energy of phone and server counts alike",
        ]
        if self.name == "offloading":
            found.append(f"{phones.count} phones share the server, more than it can answer for alone; figure 'sharing' "
                         "has other numbers")
        return found


#: Every figure.
FIGURES: Final[dict[str, Figure]] = {
    one.name: one
    for one in (
        Figure(
            "strategies", "Strategies by metric: change against half precision", "Fig. 1C (arrows by strategy and "
            "metric)", "four metrics and their change", tuple(one.name for one in STRATEGIES), "draw_table",
            (say.less_energy, say.more_access, say.better_answers, say.zeros_alone_save_nothing, say.proxies_agree,
             say.no_free_lunch),
        ),
        Figure(
            "server", "Four metrics of strategies on a server", "Fig. 4 (four metrics by strategy)", "four metrics",
            tuple(one.name for one in STRATEGIES), "draw_bars", (say.four_bits_keep_quality, say.large_in_few_bits),
        ),
        Figure(
            "offloading", "On the device, at the edge, or both", "Fig. 5 (on-device, edge, offloading; a phone with a "
            "Snapdragon 865 and 12 GB, an A100)", "four metrics and the delay", tuple(runs.METHODS.values()),
            "draw_phones", (say.between, say.shared_work, say.complex_goes_to_the_edge, say.least_cost),
        ),
        Figure(
            "sharing", "On the device, at the edge, or both, by the number of phones", "none: Fig. 5 by the number of "
            "phones", "four metrics, delay, what is sent", tuple(runs.METHODS.values()), "draw_lines",
            (say.enough_server_takes_all, say.least_cost),
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
        The base model.
    rows : tuple of dict
    trends : tuple of TrendResult
    choices : tuple of str
        How this figure was run.
    assumptions : tuple of str
        What could not be read of the paper and we chose.
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
        return f"zhang_{self.figure.name}_{self.edition}"

    def plot(self) -> Any:
        """Draw it.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from edgealloc.reproduce.zhang_2024 import drawing

        title = f"{self.figure.title}: {BASES[self.edition].text}"
        return getattr(drawing, self.figure.draw)(self.rows, title=title)

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
            ``zhang_<name>_<base>.<format>`` and ``.csv``.

        Raises
        ------
        DataError
            Another format, or a folder that cannot be written.
        """
        return save_result(folder, self.stem, format, self.plot, {"": self.to_frame()})

    def text(self, *, assumptions: bool = True) -> str:
        """A page: what was found and what was chosen, with or without what every figure of the base shares."""
        lines = [f"Figure {self.figure.name}: {self.figure.title}", f"base {self.edition}: {BASES[self.edition].text}"]
        if self.rows:
            lines += ["", *runs.TABLES[self.figure.name](self.rows).splitlines()]
        lines += ["", "findings", *(f"  - {trend}" for trend in self.trends)]
        lines += choices_lines(self.choices, self.assumptions if assumptions else (), interrupted=self.interrupted)
        return "\n".join(lines)


def listing() -> list[dict[str, Any]]:
    """What the command line lists: a row per figure."""
    return [{"name": one.name, "title": one.title, "quantity": one.quantity, "methods": one.methods,
             "axes": one.paper, "editions": tuple(BASES)} for one in FIGURES.values()]


def run_figure(
    name: str, edition: str = "llama3", *, gap: float = 1e-3, time_limit_s: float | None = 20.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> FigureResult:
    """Run what a figure shows.

    Parameters
    ----------
    name : str
        A key of `FIGURES`.
    edition : {"llama3", "llama2"}
        The base model.
    gap, time_limit_s
        At which the methods stop, where phones are planned.
    on_progress : callable, optional
        Called with a `Progress` now and then.

    Returns
    -------
    FigureResult

    Raises
    ------
    DataError
        Unknown figure or base, or a faulty option.
    """
    return next(run_figures([name], [edition], gap=gap, time_limit_s=time_limit_s, on_progress=on_progress))


def run_figures(
    names: Sequence[str], editions: Sequence[str] = tuple(BASES), *, gap: float = 1e-3,
    time_limit_s: float | None = 20.0, on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[FigureResult]:
    """Run several figures, one result after the other.

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
    chosen = [check_base(one) for one in editions]
    return _results(figures, chosen, gap, time_limit_s, on_progress)


def _results(
    figures: Sequence[Figure], editions: Sequence[str], gap: float, time_limit_s: float | None,
    on_progress: Callable[[Progress], None] | None,
) -> Iterator[FigureResult]:
    start = time.perf_counter()
    for edition in editions:
        for figure in figures:
            rows: list[dict[str, Any]] = []
            interrupted = False

            def tell(what: str, name: str = figure.name) -> None:
                if on_progress is not None:
                    on_progress(Progress(f"{name} {what}", time.perf_counter() - start, 0))

            try:
                for row in runs.ROWS[figure.name](edition, gap, time_limit_s, tell):
                    rows.append(row)
            except KeyboardInterrupt:
                interrupted = True
            trends = tuple(judge(rows) for judge in figure.judges) if rows else ()
            yield FigureResult(figure, edition, tuple(rows), trends, tuple(figure.choices(edition)),
                               tuple(choices(edition)), interrupted)
            if interrupted:
                return
