"""The table of a sweep: rows, means with confidence intervals, files and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgealloc.core.files import write_atomically
from edgealloc.core.tables import Column
from edgealloc.errors import DataError, nearest
from edgealloc.sweeps.points import LABELS, columns_of
from edgealloc.sweeps.statistics import mean_and_half_width

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep", "frame_to_csv"]


def frame_to_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame as CSV; an existing file is replaced only when all is written.

    Raises
    ------
    DataError
        A folder that does not exist or cannot be written.
    """
    path = Path(path)
    text = frame.to_csv(index=False, lineterminator="\n")
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))
    return path


@dataclass(frozen=True, eq=False)
class Sweep:
    """What `sweep` returns: a tidy table of value x seed x method.

    Attributes
    ----------
    parameter : str
        What was varied.
    values, seeds, methods : tuple
        In the order of the rows.
    rows : tuple of mapping
        Columns: parameter, value, seed, method, objective, bound (the method's own), gap (to the best bound at that
        value and seed), best_bound, over_bound (objective / best_bound), those of the kind of problem (for split
        training mean_delay_s, total_energy_j, mean_instability, users_offloaded), seconds, status, iterations (the
        count in the method's last report that has one), message, and those of `measure`. Numbers that do not exist
        are nan.
    columns : tuple of Column
        Those of the kind of problem.
    history : tuple of mapping
        What the methods reported, if it was kept.
    interrupted : bool
        Ctrl-C ended the sweep before every point had its turn.
    """

    parameter: str
    values: tuple[Any, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    columns: tuple[Column, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    interrupted: bool = False

    @property
    def failures(self) -> tuple[Mapping[str, Any], ...]:
        """Rows without an objective: failed methods, infeasible problems, nothing found in time."""
        return tuple(row for row in self.rows if math.isnan(row["objective"]))

    @property
    def quantities(self) -> tuple[str, ...]:
        """Columns that hold numbers of which a mean can be taken."""
        known = columns_of(self.columns)
        texts = (*LABELS, *(one.name for one in self.columns if not one.number))
        further = dict.fromkeys(name for row in self.rows for name in row if name not in known)
        return (*(name for name in known if name not in texts), *further)

    def to_frame(self) -> pd.DataFrame:
        """One row per value, seed and method; SI units in the column names."""
        import pandas as pd

        names = dict.fromkeys([*columns_of(self.columns), *self.quantities])
        return pd.DataFrame(list(self.rows), columns=list(names))

    def history_frame(self) -> pd.DataFrame:
        """One row per report of a method: parameter, value, seed, method, step, stage, iteration, seconds, objective,
        bound.

        Raises
        ------
        DataError
            The sweep was run without ``history=True``.
        """
        import pandas as pd

        if not self.history:
            raise DataError("history_frame: nothing was kept; call sweep(..., history=True)")
        return pd.DataFrame(list(self.history))

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Mean and confidence interval of every quantity, one row per value and method.

        Parameters
        ----------
        level : float
            Confidence level in (0, 1).

        Returns
        -------
        DataFrame
            parameter, value, method, samples (rows with an objective), failed (rows without), and for every quantity
            ``<quantity>_mean`` and ``<quantity>_ci``: half the width of Student's interval
            ``mean +- t_{(1 + level)/2, n - 1} s / sqrt(n)``, nan with fewer than two samples.

        Raises
        ------
        DataError
            A level outside (0, 1).
        """
        import pandas as pd

        groups: dict[tuple[Any, str], list[Mapping[str, Any]]] = {}
        for row in self.rows:
            groups.setdefault((row["value"], row["method"]), []).append(row)
        lines = []
        for (value, method), rows in groups.items():
            found = [row for row in rows if not math.isnan(row["objective"])]
            line = {"parameter": self.parameter, "value": value, "method": method, "samples": len(found),
                    "failed": len(rows) - len(found)}
            for name in self.quantities:
                numbers = [float(row[name]) for row in found if name in row and not math.isnan(float(row[name]))]
                line[f"{name}_mean"], line[f"{name}_ci"] = mean_and_half_width(numbers, level)
            lines.append(line)
        return pd.DataFrame(lines)

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows as CSV; an existing file is replaced only when all is written.

        Parameters
        ----------
        path : path
            Ends in ``.csv``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        DataError
            A folder that does not exist or cannot be written.
        """
        return frame_to_csv(self.to_frame(), path)

    def to_text(self, quantities: Sequence[str] | None = None, level: float = 0.95) -> str:
        """A table of means and confidence intervals for a terminal, and what failed.

        Parameters
        ----------
        quantities : sequence of str, optional
            By default objective, over_bound and the first two of the kind of problem.
        level : float
            Confidence level in (0, 1).
        """
        from edgealloc.core.tables import text_table

        if quantities is None:
            quantities = ("objective", "over_bound", *[one.name for one in self.columns if one.number][:2])
        summary = self.summary(level)
        header = [self.parameter, "method", "samples", *(name.replace("_", " ") for name in quantities)]
        cells = []
        for line in summary.to_dict("records"):
            row = [_shown(line["value"]), str(line["method"]), str(line["samples"])]
            row += [_with_interval(line[f"{name}_mean"], line[f"{name}_ci"]) for name in quantities]
            cells.append(row)
        notes = [f"mean over the samples +- half the {100 * level:g} % confidence interval (Student t)"]
        if self.failures:
            first = self.failures[0]
            why = first["message"] or first["status"]
            notes.append(f"{len(self.failures)} of {len(self.rows)} rows have no allocation; the first: "
                         f"{self.parameter}={_shown(first['value'])} seed {first['seed']} {first['method']}: {why}")
        if self.interrupted:
            notes.append("interrupted: the table is incomplete")
        return "\n".join([text_table(header, cells), "", *notes])

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return (f"Sweep(parameter={self.parameter!r}, values={len(self.values)}, seeds={len(self.seeds)}, "
                f"methods={list(self.methods)}, rows={len(self.rows)})")

    def plot(self, y: str = "objective", ax: Any = None, *, level: float = 0.95) -> Any:
        """Mean of a quantity over the values, one curve per method, with confidence intervals.

        Parameters
        ----------
        y : str
            One of `quantities`. With "objective" the mean of the best proven bounds is drawn in.
        ax : matplotlib.axes.Axes, optional
        level : float
            Confidence level in (0, 1).

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        DataError
            No such quantity.
        """
        from edgealloc.core.figures import new_figure, place_legend, style_axes
        from edgealloc.sweeps.drawing import draw_bound, draw_curves, quantity_label

        if y not in self.quantities:
            raise DataError(f"plot: no quantity '{y}'; {nearest(y, self.quantities)}")
        figure, ax = new_figure() if ax is None else (ax.figure, ax)
        summary = self.summary(level)
        draw_curves(ax, summary, y, self.values, self.methods)
        if y == "objective":
            draw_bound(ax, summary, self.values)
        style_axes(ax, "", self.parameter, quantity_label(y, self.columns))
        place_legend(ax)
        return figure


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _with_interval(mean: float, half_width: float) -> str:
    if math.isnan(mean):
        return "-"
    if math.isnan(half_width):
        return f"{mean:.5g}"
    return f"{mean:.5g} +- {half_width:.2g}"
