"""Curves of a sweep: one per method, means with error bars, the proven bound as a dashed line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.figures import COLOURS, GREY
from edgealloc.core.tables import Column

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["draw_bound", "draw_curves", "method_style", "quantity_label"]

_LABELS: Final[Mapping[str, str]] = {
    "objective": "objective",
    "bound": "the method's proven bound",
    "gap": "gap to the best proven bound",
    "best_bound": "best proven bound",
    "over_bound": "objective / proven bound",
    "seconds": "time [s]",
    "iterations": "iterations",
}
#: yellow lines cannot be read on white, and vermilion is the bound's everywhere
_CURVE_COLOURS: Final = (COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[4], COLOURS[5], COLOURS[7], GREY)
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def quantity_label(name: str, columns: Sequence[Column] = ()) -> str:
    """Axis label of a column, `columns` being those of the kind of problem."""
    labels = {**_LABELS, **{one.name: one.label or one.heading for one in columns}}
    return labels.get(name, name.replace("_", " "))


def method_style(i: int) -> dict[str, Any]:
    """Colour and marker of the i-th method."""
    return {"color": _CURVE_COLOURS[i % len(_CURVE_COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}


def positions(ax: Axes, values: Sequence[Any]) -> dict[Any, float]:
    """Where the values lie on the x axis: at themselves, or side by side if some are texts."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        if len(values) <= 10:
            ax.set_xticks([float(value) for value in values], [f"{value:g}" for value in values])
        return {value: float(value) for value in values}
    ax.set_xticks(range(len(values)), [str(value) for value in values])
    return {value: float(i) for i, value in enumerate(values)}


def draw_curves(
    ax: Axes, summary: pd.DataFrame, quantity: str, values: Sequence[Any], methods: Sequence[str],
    styles: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """One curve with error bars per method; methods without any number are left out.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    summary : DataFrame
        As `Sweep.summary` gives it.
    quantity : str
    values, methods : sequence
        In the order of the axis and of the legend.
    styles : mapping, optional
        Options of `Axes.errorbar` by method, over the usual ones.
    """
    place = positions(ax, values)
    # a little beside each other, so that error bars of equal means can be told apart
    step = 0.008 * (max(place.values()) - min(place.values()))
    for i, method in enumerate(methods):
        lines = summary[summary["method"] == method]
        known = [
            (place[value], mean, half)
            for value, mean, half in zip(
                lines["value"], lines[f"{quantity}_mean"], lines[f"{quantity}_ci"], strict=True)
            if math.isfinite(mean)
        ]
        if not known:
            continue
        x, mean, half = (list(column) for column in zip(*sorted(known), strict=True))
        x = [one + step * (i - 0.5 * (len(methods) - 1)) for one in x]
        bars = [0.0 if math.isnan(one) else one for one in half]
        style: dict[str, Any] = {
            **method_style(i), "label": method, "markersize": 5.0, "capsize": 2.5, "linewidth": 1.6, "elinewidth": 1.0,
            **(dict(styles[method]) if styles and method in styles else {}),
        }
        ax.errorbar(x, mean, yerr=bars if any(bars) else None, **style)


def draw_bound(ax: Axes, summary: pd.DataFrame, values: Sequence[Any]) -> None:
    """Mean of the best proven bound over the samples, dashed; nothing where nothing is proven."""
    place = positions(ax, values)
    # every method at a value shares the bound, but those that failed at some samples average over fewer
    by_value: dict[float, float] = {}
    for line in summary.sort_values("samples", kind="stable").to_dict("records"):
        if math.isfinite(line["best_bound_mean"]):
            by_value[place[line["value"]]] = line["best_bound_mean"]
    if by_value:
        x = sorted(by_value)
        ax.plot(x, [by_value[one] for one in x], color=COLOURS[3], linestyle="--", linewidth=1.6,
                label="proven bound", zorder=1.5)
