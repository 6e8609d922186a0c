"""The pictures: the paper's quantity on the left, every method's objective over the certified bound on the right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.core.figures import COLOURS, GREY, legend_below, new_figure, style_axes
from edgealloc.sweeps.drawing import draw_curves

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LABELS", "draw_bars", "draw_iterations", "draw_sweep"]

#: what the legends call the methods.
LABELS: Final[Mapping[str, str]] = {"fp-cccp": "fp-cccp (proposed)"}
#: one look per method in all figures; the dashed line of `certified` lets what lies under it be seen.
_STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "fp-cccp": {"color": COLOURS[0], "marker": "o"},
    "certified": {"color": COLOURS[3], "marker": "s", "linestyle": "--", "markerfacecolor": "white", "zorder": 3},
    "alternating": {"color": COLOURS[2], "marker": "^"},
    "alpha-only": {"color": COLOURS[1], "marker": "D"},
    "resource-only": {"color": COLOURS[4], "marker": "v"},
    "edge-only": {"color": COLOURS[5], "marker": "P"},
    "local-only": {"color": GREY, "marker": "X"},
    "greedy": {"color": COLOURS[2], "marker": "^"},
    "random": {"color": COLOURS[1], "marker": "D"},
}
#: largest over smallest value from which on an axis is logarithmic
_WIDE: Final = 12.0
_RATIO: Final = "objective / certified bound"
#: what is this close to the bound is drawn on the bound, and ticks of the stretched axis
_CLOSE: Final = 1e-3
_RATIO_TICKS: Final = (1.0, 1.001, 1.003, 1.01, 1.03, 1.1, 1.3, 2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def _styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {name: {"label": LABELS.get(name, name), **_STYLES.get(name, {})} for name in methods}


def _two_panels(height: float = 4.3) -> tuple[Figure, Axes, Axes]:
    figure, (left, right) = new_figure(1, 2, width=9.6, height=height, width_ratios=(3, 2))
    return figure, left, right


def _scale(ax: Axes, values: Sequence[float]) -> bool:
    """Make the y axis logarithmic where the values ask for it; whether it is."""
    positive = [one for one in values if one > 0.0 and math.isfinite(one)]
    wide = bool(positive) and max(positive) > _WIDE * min(positive)
    if wide:
        ax.set_yscale("log")
        _few_log_ticks(ax, min(positive), max(positive))
    return wide


def _few_log_ticks(ax: Axes, low: float, high: float) -> None:
    """Decades, with 2 and 5 between them where there are few; plain numbers where they are short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = math.log10(high / low)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3.0 else (1.0,), numticks=12))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))


def _limits(ax: Axes, mean: Sequence[float], half: Sequence[float]) -> None:
    """Room for the data; intervals of few samples may reach far, but nothing lies below 0."""
    known = [(m, 0.0 if math.isnan(h) else h) for m, h in zip(mean, half, strict=True) if math.isfinite(m)]
    if not known:
        return
    top = max(m for m, _ in known)
    high = min(max(m + h for m, h in known), 2.5 * top)
    low = max(min(m - h for m, h in known), 0.0)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ax.set_ylim(low - room, high + room)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True, useOffset=False)


def _number(value: float) -> str:
    """Three digits, with the power of ten written small where plain digits would be many."""
    if value == 0.0 or 1e-2 <= abs(value) < 1e5:
        return f"{value:,.3g}" if abs(value) < 1e3 else f"{value:,.0f}"
    power = math.floor(math.log10(abs(value)))
    return rf"${value / 10.0**power:.3g}\times10^{{{power}}}$"


def _ratio_axis(ax: Axes, mean: Sequence[float], half: Sequence[float]) -> None:
    """A line at the certified bound, 1, and an axis on which 1.002, 1.02 and 1.2 can be told apart.

    It is logarithmic in ``ratio - 1 + 0.001``; intervals of few samples may be cut off at its ends.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    def stretch(ratio: Any) -> Any:
        return np.log10(np.maximum(np.asarray(ratio) - 1.0 + _CLOSE, 0.1 * _CLOSE))

    def back(height: Any) -> Any:
        return 1.0 + 10.0 ** np.asarray(height) - _CLOSE

    known = [(m, 0.0 if math.isnan(h) else h) for m, h in zip(mean, half, strict=True) if math.isfinite(m)]
    top = max([1.0 + 3.0 * _CLOSE, *(min(m + h, 1.0 + 2.0 * (m - 1.0)) for m, h in known)])
    high = stretch(top) + 0.1 * (stretch(top) - stretch(1.0))
    ax.set_yscale("function", functions=(stretch, back))
    ax.set_ylim(1.0 - 0.3 * _CLOSE, float(back(high)))
    ticks = [one for one in _RATIO_TICKS if one <= back(high)]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    ax.axhline(1.0, color=COLOURS[3], linewidth=1.4, linestyle="--", zorder=1, label="certified bound")


def draw_sweep(
    summary: pd.DataFrame, quantity: str, values: Sequence[Any], methods: Sequence[str], *, title: str, x: str, y: str
) -> Figure:
    """Curves of a quantity over the values, and of objective over bound."""
    figure, left, right = _two_panels()
    styles = _styles(methods)
    for ax, name in ((left, quantity), (right, "over_bound")):
        draw_curves(ax, summary, name, values, methods, styles)
        mine = summary["method"].isin(methods)
        shown, half = ([float(one) for one in summary.loc[mine, f"{name}{end}"]] for end in ("_mean", "_ci"))
        if name == "over_bound":
            _ratio_axis(ax, shown, half)
        elif not _scale(ax, shown):
            _limits(ax, shown, half)
    style_axes(left, title, x, y)
    style_axes(right, "", x, _RATIO)
    legend_below(figure, right, left)
    return figure


def draw_bars(
    summary: pd.DataFrame, quantity: str, methods: Sequence[str], *, title: str, y: str
) -> Figure:
    """One bar per method with its number, and objective over bound beside it."""
    figure, left, right = _two_panels(3.9)
    labels = [LABELS.get(name, name).replace(" (", "\n(") for name in methods]
    for ax, name in ((left, quantity), (right, "over_bound")):
        lines = summary.set_index("method")
        mean = [float(lines[f"{name}_mean"].get(method, math.nan)) for method in methods]
        half = [float(lines[f"{name}_ci"].get(method, math.nan)) for method in methods]
        colours = [_STYLES[method]["color"] if method in _STYLES else GREY for method in methods]
        bars = [0.0 if math.isnan(one) else one for one in half]
        known = [i for i, one in enumerate(mean) if math.isfinite(one)]
        shown = [mean[i] for i in known]
        if name == quantity:
            ax.bar(known, shown, yerr=[bars[i] for i in known] if any(bars) else None, width=0.62, capsize=3.0,
                   color=[colours[i] for i in known], error_kw={"elinewidth": 1.0})
        else:
            for i in known:
                ax.errorbar(i, mean[i], yerr=bars[i] or None, color=colours[i], marker="o", capsize=3.0)
        for i in known:
            text = f"{mean[i]:.3f}" if name == "over_bound" and mean[i] < 10.0 else _number(mean[i])
            # beside the error bar
            ax.annotate(text, (i, mean[i]), xytext=(4.0, 3.0), textcoords="offset points", ha="left", fontsize=8.5)
        for i in set(range(len(methods))) - set(known):
            ax.annotate("no result", (i, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=8.5,
                        color=GREY)
        ax.set_xticks(range(len(methods)), labels, fontsize=8.0 if name == "over_bound" else 9.0)
        ax.set_xlim(-0.6, len(methods) - 0.4)
        spread = [bars[i] for i in known]
        if name == "over_bound":
            _ratio_axis(ax, shown, spread)
        elif _scale(ax, shown):
            ax.set_ylim(min(shown) / 3.0, max(shown) * 2.5)
        else:
            _limits(ax, shown, spread)
            ax.set_ylim(0.0, 1.08 * ax.get_ylim()[1])
    right.tick_params(axis="x", rotation=30)
    style_axes(left, title, "", y, grid="y")
    style_axes(right, "", "", _RATIO, grid="y")
    return figure


def draw_iterations(
    runs: Mapping[Any, Sequence[Sequence[float]]], bounds: Mapping[Any, Sequence[float]], *, title: str, label: str
) -> Figure:
    """Mean objective over the outer iterations for each value, its certified bound as a dashed line.

    Parameters
    ----------
    runs : mapping
        value -> one list of objectives per sample, from the start on; a run that has settled stays where it is.
    bounds : mapping
        value -> certified bound of each of these samples.
    title, label : str
        `label` is what the value is, for the legend.
    """
    from matplotlib.ticker import MaxNLocator

    figure, left, right = _two_panels()
    length = max((len(run) for lines in runs.values() for run in lines), default=0)
    for i, (value, lines) in enumerate(runs.items()):
        style: dict[str, Any] = {"color": COLOURS[i % 6], "marker": "os^DvP"[i % 6], "markersize": 4.5}
        held = [[*run, *[run[-1]] * (length - len(run))] for run in lines]
        mean = [sum(column) / len(column) for column in zip(*held, strict=True)]
        left.plot(range(length), mean, label=f"{label} = {value}", **style)
        left.axhline(sum(bounds[value]) / len(bounds[value]), color=style["color"], linestyle="--", linewidth=1.1)
        over = [[one / bound for one in run] for run, bound in zip(held, bounds[value], strict=True)]
        right.plot(range(length), [sum(column) / len(column) for column in zip(*over, strict=True)], **style)
    left.plot([], [], color=GREY, linestyle="--", linewidth=1.1, label="certified bound")
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    shown = [float(one) for line in left.get_lines() for one in np.asarray(line.get_ydata())]
    ratios = [float(one) for line in right.get_lines() for one in np.asarray(line.get_ydata())]
    _scale(left, shown)
    _ratio_axis(right, ratios, [0.0] * len(ratios))
    style_axes(left, title, "iteration", "objective")
    style_axes(right, "", "iteration", _RATIO)
    legend_below(figure, left)
    return figure
