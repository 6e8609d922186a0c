"""The one style of every figure, and the plots that every formulation shares.

Figures are made by matplotlib's objects, never by its global state: they appear where they are returned (a
notebook, `save_figure`), and drawing one changes no other.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.core.run import Progress
from edgealloc.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "GREY",
    "STYLE",
    "SUFFIXES",
    "byte_unit",
    "legend_below",
    "new_figure",
    "place_legend",
    "plot_convergence",
    "save_figure",
    "short_label",
    "style_axes",
    "time_unit",
    "write_note",
]

#: Okabe & Ito's palette: distinct under every common colour blindness, in the order in which it is used.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
GREY: Final = "#666666"

#: What every figure of edgealloc looks like; sizes in points.
STYLE: Final[Mapping[str, Any]] = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 160.0,
    "svg.fonttype": "none",
}

#: Characters of a line of a title.
TITLE_WIDTH: Final = 58

#: File types that can be written.
SUFFIXES: Final = (".png", ".pdf", ".svg")


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.0, height: float = 4.2, **options: Any
) -> tuple[Figure, Any]:
    """An empty figure in the shared style.

    Parameters
    ----------
    rows, columns : int
        Grid of axes.
    width, height : float
        Inches.
    **options
        For `matplotlib.figure.Figure.subplots`.

    Returns
    -------
    figure, axes
        One Axes, or an array of them as `Figure.subplots` returns it.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rc: Any = dict(STYLE)
    with mpl.rc_context(rc):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, **options)
    return figure, axes


def style_axes(ax: Axes, title: str = "", x: str = "", y: str = "", grid: str = "both") -> None:
    """Title and axis labels in the shared style, on axes of any origin; `grid` is "both", "x", "y" or ""."""
    if title:
        # long titles would reach into the legend beside the axes
        size = STYLE["axes.titlesize"] * (1.0 if len(title) <= TITLE_WIDTH else 0.85)
        width = round(TITLE_WIDTH * STYLE["axes.titlesize"] / size)
        ax.set_title(textwrap.fill(title, width), loc="left", fontsize=size, fontweight="bold")
    if x:
        ax.set_xlabel(x)
    if y:
        ax.set_ylabel(y)
    ax.set_axisbelow(True)
    ax.grid(False)
    if grid:
        ax.grid(True, axis=grid, color=STYLE["grid.color"], linewidth=STYLE["grid.linewidth"])  # type: ignore[arg-type]
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def place_legend(ax: Axes, where: str = "right", **options: Any) -> None:
    """Put the legend outside the data: "right" of the axes or "below" them."""
    handles, labels = (options.pop(name, found) for name, found in
                       zip(("handles", "labels"), ax.get_legend_handles_labels(), strict=True))
    if not handles:
        return
    if where == "right":
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    else:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": min(len(handles), 4)}
    earlier = ax.get_legend()
    if earlier is not None:
        # axes hold one legend; an earlier one stays as an artist, which must not be cut off at the axes
        ax.add_artist(earlier)
        earlier.set_clip_on(False)
    ax.legend(handles, labels, frameon=False, fontsize=STYLE["legend.fontsize"], **{**place, **options})


def write_note(ax: Axes, text: str) -> None:
    """A line in the middle of axes, such as why they are empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)


def short_label(name: str, at_most: int = 22) -> str:
    """A name that fits beside an axis: words from the end are left out, or the middle of a name that is one word.

    >>> short_label("a laptop in the living room"), short_label("jetson-agx-orin-64gb-17")
    ('a laptop in the…', 'jetson-agx…in-64gb-17')
    """
    if " " in name or len(name) <= at_most:
        return textwrap.shorten(name, at_most, placeholder="…") if " " in name else name
    half = (at_most - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def time_unit(seconds: float) -> tuple[float, str]:
    """Factor and unit that keep the numbers of a time axis short.

    >>> time_unit(0.02), time_unit(90.0), time_unit(600.0)[1]
    ((1000.0, 'ms'), (1.0, 's'), 'min')
    """
    for scale, unit, least in ((1.0 / 3600.0, "h", 3.0 * 3600.0), (1.0 / 60.0, "min", 300.0), (1.0, "s", 0.5)):
        if seconds >= least:
            return scale, unit
    return (1e3, "ms") if seconds >= 5e-4 else (1e6, "µs")


def byte_unit(size_bytes: float) -> tuple[float, str]:
    """Factor and unit that keep the numbers of an axis of bytes short.

    >>> byte_unit(8e9), byte_unit(6e8), byte_unit(100.0)
    ((1e-09, 'GB'), (1e-09, 'GB'), (1.0, 'B'))
    """
    for factor, unit in ((1e-12, "TB"), (1e-9, "GB"), (1e-6, "MB"), (1e-3, "kB")):
        if size_bytes * factor >= 0.5:
            return factor, unit
    return 1.0, "B"


def legend_below(figure: Figure, *axes: Axes, extra: Sequence[tuple[Any, str]] = (), columns: int = 6) -> None:
    """One legend below a figure for all `axes`: each label once, then `extra` (handle, label)."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    found |= {label: handle for handle, label in extra}
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=min(len(found), columns),
                      frameon=False, fontsize=STYLE["legend.fontsize"])


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as .png, .pdf or .svg; an existing file is replaced only when all is written.

    Raises
    ------
    DataError
        Another suffix, or a folder that does not exist or cannot be written; nothing is created then.
    """
    from edgealloc.core.files import write_atomically

    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"cannot write a figure to '{path}': give a name that ends in {', '.join(SUFFIXES)}")

    def write(stream: Any) -> None:
        # without the date the same figure gives the same bytes
        dated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
        figure.savefig(stream, format=path.suffix[1:].lower(), dpi=STYLE["savefig.dpi"], bbox_inches="tight",
                       metadata=dated.get(path.suffix.lower()))

    write_atomically(path, write)
    return path


def plot_convergence(history: Sequence[Progress], ax: Any = None, title: str = "") -> Figure:
    """Objective and proven bound over time, and the gap between them on a logarithmic axis below.

    Parameters
    ----------
    history : sequence of Progress
        As a Solution carries it; values may be missing, and there may be none at all.
    ax : matplotlib.axes.Axes, optional
        Draw objective and bound only, on these axes.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    if ax is None:
        figure, (upper, lower) = new_figure(2, 1, height=5.2, sharex=True, height_ratios=(3, 2))
    else:
        figure, upper, lower = ax.figure, ax, None
    seconds = np.array([line.seconds for line in history], dtype=np.float64)
    objective = _running(history, "objective", np.fmin)
    bound = _running(history, "bound", np.fmax)
    drawn = False
    curves = ((objective, "best objective", COLOURS[0]), (bound, "proven bound", COLOURS[3]))
    for values, label, colour in curves:
        known = np.isfinite(values)
        if known.any():
            # both only ever change at a report, so a step is the truth between two of them
            upper.step(seconds[known], values[known], where="post", color=colour, label=label, marker="o",
                       markersize=3.5 if known.sum() <= 60 else 0.0)
            drawn = True
    both = np.isfinite(objective) & np.isfinite(bound)
    if both.any():
        upper.fill_between(seconds[both], bound[both], objective[both], step="post", color=GREY, alpha=0.12,
                           linewidth=0.0)
    if not drawn:
        write_note(upper, "nothing was reported")
    style_axes(upper, title, "" if lower is not None else "time [s]", "objective")
    place_legend(upper)
    if lower is not None:
        _draw_gap(lower, seconds[both], objective[both], bound[both])
    return figure


def _draw_gap(ax: Axes, seconds: Any, objective: Any, bound: Any) -> None:
    gap = np.maximum(objective - bound, 0.0) / np.maximum(np.abs(objective), 1e-300)
    positive = gap > 0.0
    if positive.any():
        ax.set_yscale("log")
        ax.step(seconds[positive], gap[positive], where="post", color=COLOURS[2], marker="o",
                markersize=3.5 if positive.sum() <= 60 else 0.0)
        low, high = float(gap[positive].min()), float(gap[positive].max())
        ax.set_ylim(10.0 ** (math.floor(math.log10(low)) - 0.3), 10.0 ** (math.ceil(math.log10(high)) + 0.3))
    else:
        write_note(ax, "the gap is 0" if seconds.size else "no gap: nothing is proven")
    style_axes(ax, "", "time [s]", "relative gap")


def _running(history: Sequence[Progress], name: str, better: Any) -> Any:
    """The best value so far at every report, nan before the first."""
    values = [getattr(line, name) for line in history]
    array = np.array([math.nan if one is None else one for one in values], dtype=np.float64)
    array[~np.isfinite(array)] = math.nan
    return better.accumulate(array) if array.size else array
