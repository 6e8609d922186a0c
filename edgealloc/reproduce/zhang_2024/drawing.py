"""The pictures: a table of arrows, four metrics as bars, and metrics by the number of phones that share a server."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.core.figures import COLOURS, GREY, legend_below, new_figure, style_axes
from edgealloc.reproduce.zhang_2024.runs import ARROWS, CLASSES, METHODS, METRICS
from edgealloc.units import format_si, format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_bars", "draw_lines", "draw_phones", "draw_table"]

Rows = Sequence[Mapping[str, Any]]

#: better, the same, worse: light enough for black letters
_VERDICT: Final = {1: "#A8D5EE", 0: "#EEEEEE", -1: "#F6CFA0"}
_PLACES: Final = dict(zip(METHODS, (COLOURS[0], COLOURS[1], COLOURS[4], COLOURS[2]), strict=True))
#: Of classes, from simple to complex.
_SHADES: Final = ("#BBBBBB", "#777777", "#222222")
_MARKERS: Final = dict(zip(METHODS, ("o", "s", "^", "D"), strict=True))
#: metric -> (label, words of a value)
_AXES: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "energy_j": ("energy per query [J]", lambda value: format_si(value, "J")),
    "hallucination": ("hallucination rate", lambda value: f"{value:.3f}"),
    "accuracy": ("generalisation accuracy", lambda value: f"{value:.3f}"),
    "accessibility": ("accessibility", lambda value: f"{value:.0%}"),
    "delay_s": ("delay of a query [s]", format_time),
}


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(textwrap.fill(text, 110), x=0.01, ha="left", fontsize=11.0, fontweight="bold")


def _clean(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), list(labels))
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0.0)


def draw_table(rows: Rows, *, title: str) -> Figure:
    """Strategies by metrics: arrow, change and value, coloured by whether that is better."""
    from matplotlib.patches import Patch, Rectangle

    figure, ax = new_figure(width=9.6, height=1.7 + 0.46 * len(rows))
    for y, row in enumerate(rows):
        if row["reason"]:
            ax.text(-0.45, y, row["reason"], va="center", fontsize=8.5, color=GREY)
            continue
        for x, (name, (_, up)) in enumerate(METRICS.items()):
            direction = row[f"{name}_arrow"]
            verdict = direction if up else -direction
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, facecolor=_VERDICT[verdict], edgecolor="white",
                                   linewidth=1.5))
            star = "*" if row.get(f"{name}_origin") == "assumption" else ""
            relative = row[f"{name}_change"]
            more = f" {100.0 * relative:+.0f} %" if direction and math.isfinite(relative) else ""
            ax.text(x, y, f"{ARROWS[direction]}{more}\n{_AXES[name][1](row[name])}{star}", ha="center", va="center",
                    fontsize=8.5, linespacing=1.2)
    style_axes(ax, "", "", "", grid="")
    ax.set_xlim(-0.5, len(METRICS) - 0.5)
    ax.set_xticks(range(len(METRICS)), [words for words, _ in METRICS.values()])
    ax.xaxis.tick_top()
    _clean(ax, [row["strategy"] for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(length=0.0)
    for side in ("bottom", "left"):
        ax.spines[side].set_visible(False)
    handles = [(Patch(facecolor=_VERDICT[key]), label) for key, label in
               ((1, "better than half precision"), (0, "within 1 %"), (-1, "worse (* by an assumption)"))]
    _title(figure, title)
    legend_below(figure, extra=handles, columns=3)
    return figure


def draw_bars(rows: Rows, *, title: str) -> Figure:
    """The four metrics of strategies on the server."""
    known = [row for row in rows if not row["reason"]]
    figure, axes = new_figure(1, len(METRICS), width=13.0, height=1.6 + 0.36 * len(known), sharey=True)
    colours = [GREY if row["strategy"] == "half" else COLOURS[1] if row["strategy"] == "offload" else
               COLOURS[2] if row["strategy"].startswith("distil") else
               COLOURS[4] if row["strategy"].startswith("prune") else COLOURS[0] for row in known]
    for ax, name in zip(axes, METRICS, strict=True):
        _bars(ax, known, name, colours)
    _clean(axes[0], [row["strategy"] for row in known])
    _title(figure, title)
    return figure


def _bars(ax: Axes, rows: Rows, name: str, colours: Sequence[str]) -> None:
    """One panel: a bar and its value per row."""
    label, words = _AXES[name]
    values = np.array([row[name] for row in rows])
    ax.barh(range(len(rows)), values, height=0.66, color=list(colours))
    most = float(np.nanmax(np.where(np.isfinite(values), values, np.nan), initial=0.0)) or 1.0
    for y, (row, value) in enumerate(zip(rows, values, strict=True)):
        star = "*" if row.get(f"{name}_origin") == "assumption" else ""
        ax.annotate(f"{words(float(value))}{star}" if math.isfinite(value) else "no answer",
                    (value if math.isfinite(value) else 0.0, y), xytext=(3.0, 0.0), textcoords="offset points",
                    va="center", fontsize=8.0)
    ax.set_xlim(0.0, 1.38 * most)
    if name in ("accuracy", "accessibility"):
        ax.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0])
        ax.set_xlim(0.0, 1.3)
    style_axes(ax, "", label, "", grid="x")
    ax.tick_params(axis="y", length=0.0)


def draw_phones(rows: Rows, *, title: str) -> Figure:
    """Who answers: four metrics and the delay, and what is sent of every class."""
    figure, axes = new_figure(2, 3, width=12.5, height=2.6 + 0.62 * len(rows), sharey=True)
    colours = [_PLACES[row["where"]] for row in rows]
    for ax, name in zip(axes.ravel(), _AXES, strict=False):
        _bars(ax, rows, name, colours)
    ax = axes.ravel()[-1]
    height = 0.7 / len(CLASSES)
    for c, name in enumerate(CLASSES):
        y = np.arange(len(rows)) + (c - (len(CLASSES) - 1) / 2.0) * height
        ax.barh(y, [100.0 * row[name] for row in rows], height=0.9 * height, color=_SHADES[c % 3],
                label=f"{name} queries")
    ax.set_xlim(0.0, 100.0)
    style_axes(ax, "", "sent to the server [%]", "", grid="x")
    ax.tick_params(axis="y", length=0.0)
    _clean(axes[0, 0], [row["where"] for row in rows])
    _title(figure, title)
    legend_below(figure, ax, columns=3)
    return figure


def draw_lines(rows: Rows, *, title: str) -> Figure:
    """The same metrics, and the load of the server, by the number of phones."""
    figure, axes = new_figure(2, 3, width=12.5, height=6.4)
    counts: list[int] = sorted({row["phones"] for row in rows})
    for ax, name in zip(axes.ravel(), [*_AXES, "offloaded"], strict=True):
        label = _AXES[name][0] if name in _AXES else "share of queries that are sent"
        most = 0.0
        for where in METHODS:
            mine = [row for row in rows if row["where"] == where and math.isfinite(row["objective"])]
            # evenly spaced, whatever the numbers
            ax.plot([counts.index(row["phones"]) for row in mine], [row[name] for row in mine], color=_PLACES[where],
                    marker=_MARKERS[where], markersize=5.0, label=where, alpha=0.9)
            most = max([most, *(row[name] for row in mine)])
        ax.set_xticks(range(len(counts)), [str(count) for count in counts])
        if name != "accuracy":
            ax.set_ylim(0.0, 1.08 * most or 1.0)
        style_axes(ax, "", "phones that share the server", label)
    _title(figure, title)
    legend_below(figure, axes[0, 0], columns=4)
    return figure
