"""The pictures: bars over one device, hollow where memory does not suffice, and curves over what is varied."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.figures import COLOURS, GREY, legend_below, new_figure, style_axes
from edgealloc.reproduce.zeng_2024.settings import VERSIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LABELS", "draw_bars", "draw_curves"]

#: what the legends call the methods.
LABELS: Final[Mapping[str, str]] = {
    "data": "data", "sequence": "sequence", "tensor": "tensor", "pipeline": "pipeline",
    "best time": "least time (certified)", "best energy": "least energy (certified)",
}
_STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "data": {"color": COLOURS[0], "marker": "o"},
    "sequence": {"color": COLOURS[1], "marker": "D"},
    "tensor": {"color": COLOURS[3], "marker": "v"},
    "pipeline": {"color": COLOURS[2], "marker": "^"},
    "best time": {"color": COLOURS[4], "marker": "s"},
    "best energy": {"color": COLOURS[5], "marker": "P"},
}
_BOUNDS: Final = {"relative_time": ("best time", "bound_time_per_sample_s", "time_per_sample_s"),
                  "relative_energy": ("best energy", "bound_energy_per_sample_j", "energy_per_sample_j")}
_TITLES: Final = {"switch": "switch", "wifi": "one shared Wi-Fi channel"}

Rows = Sequence[Mapping[str, Any]]


def _log_axis(ax: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log")
    decades = math.log10(high / low) if high > low > 0.0 else 1.0
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=14))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _relative_bound(rows: Rows, case: Mapping[str, Any], quantity: str) -> float:
    """The proven bound over one device, for the case of a row; nan where there is none."""
    method, bound, own = _BOUNDS[quantity]
    if case["method"] != method or not math.isfinite(case[bound]):
        return math.nan
    keys = ("testbed", "version", "network", "rate_mbit", "batch", "training", "model")
    single = next(row for row in rows if row["method"] == "single" and all(row[key] == case[key] for key in keys))
    return float(case[bound] / single[own])


def draw_bars(
    rows: Rows, quantity: str, methods: Sequence[str], models: Sequence[str], *, title: str, y: str
) -> Figure:
    """Groups of bars, a group per model: a row of panels for GPUs and CPUs, a column for every rate."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    versions = [one for one in VERSIONS if any(row["version"] == one for row in rows)] or ["gpu"]
    rates = sorted({row["rate_mbit"] for row in rows}) or [0.0]
    figure, axes = new_figure(len(versions), len(rates), width=11.0 if len(rates) > 1 else 8.5,
                              height=3.1 * len(versions) + 0.9, squeeze=False, sharey=True)
    known = [row[quantity] for row in rows if row["method"] in methods and row[quantity] > 0.0]
    low, high = (min([*known, 1.0]), max([*known, 1.0])) if known else (0.1, 10.0)
    for i, version in enumerate(versions):
        for j, rate in enumerate(rates):
            ax = axes[i][j]
            here = [row for row in rows if row["version"] == version and row["rate_mbit"] == rate]
            _log_axis(ax, low, high)
            ax.set_ylim(low / 1.5, high * 2.2)
            _draw_groups(ax, here, quantity, methods, models, low / 1.5)
            ax.axhline(1.0, color=GREY, linewidth=1.2, zorder=1)
            name = f"{VERSIONS[version]}s" if quantity == "memory_share" else f"{VERSIONS[version]}s, {rate:g} Mbit/s"
            style_axes(ax, "" if quantity == "memory_share" else name, "", y if j == 0 else "", grid="y")
    extra: list[tuple[Any, str]] = [(Patch(facecolor="white", edgecolor=GREY, hatch="////"), "OOM: out of memory")]
    if quantity in _BOUNDS:
        extra.append((Line2D([], [], color="black", marker="_", markersize=10.0, linestyle=""), "proven bound"))
    _title(figure, title)
    legend_below(figure, axes[0][0], extra=extra, columns=4)
    return figure


def _draw_groups(
    ax: Axes, rows: Rows, quantity: str, methods: Sequence[str], models: Sequence[str], floor: float
) -> None:
    width = 0.84 / len(methods)
    at = {(row["model"], row["method"]): row for row in rows}
    for k, method in enumerate(methods):
        colour = _STYLES[method]["color"]
        for m, model in enumerate(models):
            row, x = at.get((model, method)), m + (k - 0.5 * (len(methods) - 1)) * width
            if row is None:
                continue
            value = row[quantity]
            if not math.isfinite(value):
                ax.text(x, floor * 1.1, "no plan", rotation=90, ha="center", va="bottom", fontsize=6.5, color=GREY)
                continue
            if row["fits"]:
                ax.bar(x, value, width * 0.92, color=colour)
            else:
                ax.bar(x, value, width * 0.92, facecolor="white", edgecolor=colour, hatch="////", linewidth=0.9)
                ax.text(x, value * 1.08, "OOM", rotation=90, ha="center", va="bottom", fontsize=6.5, color=colour)
            if quantity in _BOUNDS:
                bound = _relative_bound(rows, row, quantity)
                if bound > 0.0:
                    ax.plot([x - 0.6 * width, x + 0.6 * width], [bound] * 2, color="black", linewidth=1.6, zorder=4)
        ax.bar(0.0, math.nan, color=colour, label=LABELS[method])  # for the legend
    ax.set_xticks(range(len(models)), [model.replace("-uncased", "") for model in models], fontsize=8.0, rotation=25,
                  ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(models) - 0.4)


def draw_curves(rows: Rows, x: str, label: str, methods: Sequence[str], *, title: str) -> Figure:
    """Time and energy over what is varied, a column for every network; hollow marks are out of memory."""
    from matplotlib.lines import Line2D

    networks = [one for one in _TITLES if any(row["network"] == one for row in rows)] or ["switch"]
    wide = len(networks) == 1  # time and energy side by side, else one above the other
    shape = (1, 2) if wide else (2, len(networks))
    figure, axes = new_figure(*shape, width=10.0, height=4.2 if wide else 6.6, squeeze=False, sharex=True)
    for i, quantity in enumerate(_BOUNDS):
        known = [row[quantity] for row in rows if row["method"] in methods and row[quantity] > 0.0]
        for j, network in enumerate(networks):
            ax = axes[0][i] if wide else axes[i][j]
            here = [row for row in rows if row["network"] == network]
            for method in methods:
                _draw_line(ax, [row for row in here if row["method"] == method], x, quantity, method)
            _draw_bound(ax, here, x, quantity)
            ax.set_xscale("log")
            ticks = sorted({row[x] for row in rows})
            ax.set_xticks(ticks, [f"{one:g}" for one in ticks])
            ax.tick_params(axis="x", which="minor", bottom=False)
            if known:
                _log_axis(ax, min(known), max(known))
                ax.set_ylim(min(*known, 1.0) / 1.3, max(*known, 1.0) * 1.3)
            ax.axhline(1.0, color=GREY, linewidth=1.2, zorder=1)
            y = f"{quantity.removeprefix('relative_')} per sample / one device's"
            style_axes(ax, "" if wide or i > 0 else _TITLES[network], label if wide or i == 1 else "",
                       y if wide or j == 0 else "")
    extra = [(Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle=""), "OOM: out of memory"),
             (Line2D([], [], color="black", linestyle=":"), "proven bound")]
    _title(figure, title)
    legend_below(figure, axes[0][0], extra=extra, columns=4)
    return figure


def _title(figure: Figure, title: str) -> None:
    width = round(11.0 * float(figure.get_figwidth()))
    figure.suptitle(textwrap.fill(title, width), x=0.01, ha="left", fontsize=11.0, fontweight="bold")


def _draw_line(ax: Axes, rows: Rows, x: str, quantity: str, method: str) -> None:
    line = sorted((row for row in rows if math.isfinite(row[quantity])), key=lambda row: float(row[x]))
    style = dict(_STYLES[method])
    marker = style.pop("marker")
    dashed: dict[str, Any] = {"linestyle": "--", "zorder": 3} if method in ("best time", "best energy") else {}
    ax.plot([row[x] for row in line], [row[quantity] for row in line], label=LABELS[method], **dashed, **style)
    for fits in (True, False):
        here = [row for row in line if row["fits"] is fits]
        ax.plot([row[x] for row in here], [row[quantity] for row in here], linestyle="", marker=marker, markersize=5.5,
                color=style["color"], markerfacecolor=style["color"] if fits else "white", zorder=3)


def _draw_bound(ax: Axes, rows: Rows, x: str, quantity: str) -> None:
    method = _BOUNDS[quantity][0]
    line = sorted((row for row in rows if row["method"] == method), key=lambda row: float(row[x]))
    points = [(row[x], _relative_bound(rows, row, quantity)) for row in line]
    known = [(a, b) for a, b in points if b > 0.0]
    ax.plot([a for a, _ in known], [b for _, b in known], color="black", linestyle=":", linewidth=1.4, zorder=4)
