"""The pictures: stacks of memory against devices, what fits where, first against zeroth order, rows, a fleet."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.core.figures import COLOURS, GREY, legend_below, new_figure, style_axes
from edgealloc.reproduce.dong_2024.settings import DEVICES, LINES, PREFERENCE, TARGET, usable_bytes
from edgealloc.units import format_si, format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_fleet", "draw_matrix", "draw_memory", "draw_published", "draw_target"]

Rows = Sequence[Mapping[str, Any]]

#: components of memory in the order of the stacks -> (label, colour)
_PARTS: Final = {
    "weights": ("weights", COLOURS[0]),
    "gradient": ("gradients", COLOURS[5]),
    "optimizer": ("optimiser states", COLOURS[3]),
    "activation": ("activations", COLOURS[1]),
    "logits": ("logits", COLOURS[6]),
}
_DASHES: Final = ((0, (1, 1)), (0, (3, 2)), (0, (6, 2)), (0, (6, 2, 1, 2)))
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
#: What is trained, and how: kind -> (label, colour, methods).
_KINDS: Final = {
    "adam": ("all parameters, Adam", COLOURS[0], ("full-adam",)),
    "frugal": ("all parameters, first order, less memory", COLOURS[5], ("galore", "badam", "lomo", "full-sgd")),
    "frozen": ("frozen base, half precision", COLOURS[2],
               ("lora", "adapters", "prefix", "prompt", "ia3", "bitfit")),
    "four bits": ("frozen base, 4 bits", COLOURS[1], ("qlora",)),
    "zeroth": ("zeroth order", COLOURS[4], ("mezo", "mezo-lora")),
}


def _kind(method: str) -> tuple[str, str]:
    """Label and colour of the kind of a method."""
    return next((label, colour) for label, colour, methods in _KINDS.values() if method in methods)


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(textwrap.fill(text, 100), x=0.01, ha="left", fontsize=11.0, fontweight="bold")


def _clean(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), list(labels))
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0.0)


# ---- memory -------------------------------------------------------------------------------------------------------


def draw_memory(rows: Rows, *, title: str) -> Figure:
    """A panel per model: stacked components of every method, with what devices have as lines."""
    from matplotlib.lines import Line2D

    models = list(dict.fromkeys(row["model"] for row in rows))
    columns = min(len(models), 2)
    lines = math.ceil(len(models) / columns)
    figure, axes = new_figure(lines, columns, width=5.4 * columns + 0.4, height=3.9 * lines + 0.9, squeeze=False)
    for ax, model in zip(axes.ravel(), models, strict=False):
        mine = [row for row in rows if row["model"] == model]
        for y, row in enumerate(mine):
            if row["reason"]:
                ax.text(0.0, y, f" {row['reason']}", va="center", fontsize=8.0, color=GREY)
                continue
            left = 0.0
            for part, (label, colour) in _PARTS.items():
                size = row[f"{part}_bytes"] / 1e9
                if size > 0.0:
                    ax.barh(y, size, left=left, height=0.72, color=colour, label=label if y == 1 else None)
                left += size
            ax.annotate(f"{left:.3g}", (left, y), xytext=(3.0, 0.0), textcoords="offset points", va="center",
                        fontsize=8.0, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})
        most = max(row["total_bytes"] for row in mine if not row["reason"]) / 1e9
        ax.set_xlim(0.0, 1.12 * most)
        for dash, device in zip(_DASHES, LINES, strict=True):
            if usable_bytes(device) / 1e9 <= 1.12 * most:
                ax.axvline(usable_bytes(device) / 1e9, color="black", linestyle=dash, linewidth=1.1)
        style_axes(ax, f"{model}, {format_params(mine[0]['params'])} parameters", "peak memory [GB]", "", grid="x")
        _clean(ax, [row["method"] for row in mine])
    for ax in axes.ravel()[len(models):]:
        ax.axis("off")
    handles = [(Line2D([], [], color="black", linestyle=dash, linewidth=1.1),
                f"for training on {device}: {format_si(usable_bytes(device), 'B')}")
               for dash, device in zip(_DASHES, LINES, strict=True)]
    _title(figure, title)
    legend_below(figure, *axes.ravel()[:1], extra=handles, columns=3)
    return figure


def format_params(count: float) -> str:
    """A number of parameters as models are called.

    >>> format_params(1315758080), format_params(125239296)
    ('1.32 B', '125 M')
    """
    return f"{count / 1e9:.3g} B" if count >= 1e9 else f"{count / 1e6:.3g} M"


# ---- what fits ----------------------------------------------------------------------------------------------------


def draw_matrix(rows: Rows, *, title: str) -> Figure:
    """Models by devices: the best method that fits, in the colour of its kind, with its share of the memory."""
    from matplotlib.patches import Patch, Rectangle

    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, ax = new_figure(width=11.5, height=1.9 + 0.46 * len(models))
    for row in rows:
        x, y = DEVICES.index(row["device"]), models.index(row["model"])
        colour = _kind(row["best"])[1] if row["best"] else "#EEEEEE"
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, facecolor=colour, edgecolor="white", linewidth=1.5))
        share = row["memory_bytes"] / row["usable_bytes"]
        text = f"{row['best']}\n{share:.0%}" if row["best"] else f"none\n{share:.3g} times"
        dark = row["best"] and colour in (COLOURS[0], COLOURS[2])
        ax.text(x, y, text, ha="center", va="center", fontsize=7.5, linespacing=1.15,
                color="white" if dark else "black" if row["best"] else GREY)
    style_axes(ax, "", "", "", grid="")
    ax.set_xlim(-0.5, len(DEVICES) - 0.5)
    ax.set_xticks(range(len(DEVICES)), [f"{textwrap.fill(device.replace('-', ' '), 14)}\n"
                                        f"{format_si(usable_bytes(device), 'B')}" for device in DEVICES], fontsize=8.0)
    ax.xaxis.tick_top()
    _clean(ax, models)
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.tick_params(length=0.0)
    for side in ("bottom", "left"):
        ax.spines[side].set_visible(False)
    shown = {_kind(row["best"]) for row in rows if row["best"]}
    handles = [(Patch(facecolor=colour), label) for label, colour, _ in _KINDS.values() if (label, colour) in shown]
    handles.append((Patch(facecolor="#EEEEEE"), "none fits (times: the least that a method needs)"))
    _title(figure, title)
    legend_below(figure, extra=handles, columns=3)
    return figure


# ---- to a target --------------------------------------------------------------------------------------------------


def draw_target(rows: Rows, *, title: str) -> Figure:
    """Time, energy, memory and bytes of a federation, a bar per method."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure, axes = new_figure(1, 4, width=13.0, height=1.7 + 0.36 * len(rows), sharey=True)
    panels: tuple[tuple[str, float, str, Callable[[float], str], bool], ...] = (
        ("time_s", 3600.0, "time to the target [h]", format_time, True),
        ("energy_j", 1e3, "energy of computing [kJ]", lambda value: format_si(value, "J"), True),
        ("memory_bytes", 1e9, "peak memory [GB]", lambda value: format_si(value, "B"), False),
        ("federation_bytes", 1e6, "sent by a device [MB]", lambda value: format_si(value, "B"), True),
    )
    for ax, (column, unit, label, words, log) in zip(axes, panels, strict=True):
        values = np.array([row[column] for row in rows]) / unit
        if log:
            ax.set_xscale("log")
            low, high = float(values.min()), float(values.max())
            if column == "time_s":
                low = min(low, min(row["compute_s"] for row in rows) / unit)
            ax.set_xlim(low / 3.0, high * (high / low) ** 0.5 * 2.0)
        else:
            ax.set_xlim(0.0, 1.35 * float(values.max()))
        for y, (row, value) in enumerate(zip(rows, values, strict=True)):
            ax.barh(y, value - ax.get_xlim()[0] if log else value, left=ax.get_xlim()[0] if log else 0.0, height=0.66,
                    color=_kind(row["method"])[1])
            ax.annotate(words(row[column]), (value, y), xytext=(3.0, 0.0), textcoords="offset points", va="center",
                        fontsize=8.0)
            if column == "time_s":
                ax.plot([row["compute_s"] / unit] * 2, [y - 0.33, y + 0.33], color="black", linewidth=1.6)
        style_axes(ax, "", label, "", grid="x")
        ax.tick_params(axis="y", length=0.0)
    _clean(axes[0], [row["method"] for row in rows])
    shown = {_kind(row["method"]) for row in rows}
    handles: list[Any] = [(Patch(facecolor=colour), label) for label, colour, _ in _KINDS.values()
                          if (label, colour) in shown]
    handles.append((Line2D([], [], color="black", marker="|", markersize=11.0, markeredgewidth=1.6, linestyle=""),
                    f"without the exchange of {TARGET.rounds} rounds"))
    _title(figure, title)
    legend_below(figure, extra=handles, columns=5)
    return figure


# ---- published rows -----------------------------------------------------------------------------------------------


def draw_published(rows: Rows, *, title: str) -> Figure:
    """Model against published memory, a marker per source; and the share of the peak rate of published steps."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, (ax, right) = new_figure(1, 2, width=12.0, height=5.6, width_ratios=(5, 3))
    memory = [row for row in rows if row["quantity"] == "memory"]
    sources = list(dict.fromkeys(row["source_name"] for row in memory))
    amounts = [row[one] for row in memory for one in ("published_gb", "model_gb")]
    ends = np.array([min(amounts) / 1.5, max(amounts) * 1.5])
    ax.fill_between(ends, 0.8 * ends, 1.2 * ends, color=GREY, alpha=0.15, linewidth=0.0, label="within 20 %")
    ax.plot(ends, ends, color=GREY, linewidth=1.0)
    for row in memory:
        k = sources.index(row["source_name"])
        ax.plot([row["published_gb"]], [row["model_gb"]], linestyle="", marker=_MARKERS[k % len(_MARKERS)],
                color=COLOURS[k % len(COLOURS)], markersize=7.0 if row["whole"] else 4.0,
                markerfacecolor=COLOURS[k % len(COLOURS)] if row["whole"] else "none",
                markeredgecolor="white" if row["whole"] else COLOURS[k % len(COLOURS)], markeredgewidth=0.7)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=16))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    style_axes(ax, "Memory", "published memory [GB]", "memory of the model [GB]")
    steps = [row for row in rows if row["quantity"] == "step"]
    right.barh(range(len(steps)), [100.0 * row["share_of_peak"] for row in steps], height=0.66,
               color=[_kind(row["method"])[1] for row in steps])
    style_axes(right, "Published times of a step", "share of the peak rate [%]", "", grid="x")
    _clean(right, [f"{row['model']} {row['method']}, batch {row['batch']}, {row['gpus']} GPU" for row in steps])
    right.tick_params(axis="y", labelsize=8.0)
    handles: list[Any] = [
        (Line2D([], [], linestyle="", marker=_MARKERS[k % len(_MARKERS)], color=COLOURS[k % len(COLOURS)],
                markersize=7.0), source) for k, source in enumerate(sources)]
    handles.append((Line2D([], [], linestyle="", marker="o", color=GREY, markerfacecolor="none", markersize=4.0),
                    "component"))
    _title(figure, title)
    legend_below(figure, ax, extra=handles, columns=8)
    return figure


# ---- a fleet ------------------------------------------------------------------------------------------------------


def draw_fleet(rows: Rows, *, title: str) -> Figure:
    """Who trains how and where by method of allocation, and the objective of each over the proven bound."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure, (left, right) = new_figure(1, 2, width=11.5, height=1.9 + 0.42 * len(rows), sharey=True,
                                       width_ratios=(5, 3))
    names = list(dict.fromkeys(one for row in rows for one in row["jobs"]))
    order = [*(one for one in PREFERENCE if one in names), *(one for one in names if one not in PREFERENCE)]
    colour = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(order)}
    total = max(row["count"] for row in rows)
    for y, row in enumerate(rows):
        start = 0
        for name in order:
            for place, hatch in (("device", ""), ("server", "////")):
                number = row["jobs"].get(name, {}).get(place, 0)
                if number:
                    left.barh(y, number, left=start, height=0.7, color=colour[name], hatch=hatch, edgecolor="white",
                              linewidth=0.5)
                start += number
        if row["status"] in ("no_solution", "infeasible"):
            left.text(0.0, y, f" no assignment: {_why(row['message'])}", va="center", fontsize=8.0, color=GREY)
            continue
        right.plot([row["over_bound"]], [y], marker="o", color=COLOURS[0], markersize=6.0)
        right.annotate(f"{row['over_bound']:.4g}", (row["over_bound"], y), xytext=(6.0, 0.0),
                       textcoords="offset points", va="center", fontsize=8.0)
    left.set_xlim(0.0, total)
    right.axvline(1.0, color=GREY, linewidth=1.2)
    most = max((row["over_bound"] for row in rows if math.isfinite(row["over_bound"])), default=1.0)
    if most > 4.0:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        right.set_xscale("log")
        right.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        right.xaxis.set_minor_formatter(NullFormatter())
        right.set_xlim(0.9, most * most**0.3)
    else:
        right.set_xlim(1.0 - 0.06 * (most - 1.0 or 1.0), most + 0.25 * (most - 1.0 or 1.0))
    right.tick_params(axis="y", length=0.0)
    style_axes(left, "", "jobs", "", grid="x")
    style_axes(right, "", "objective / proven bound", "", grid="x")
    _clean(left, [row["method"] for row in rows])
    handles: list[Any] = [(Patch(facecolor=colour[name]), name) for name in order]
    handles += [(Patch(facecolor="#CCCCCC"), "on the device"),
                (Patch(facecolor="#CCCCCC", hatch="////", edgecolor="white"), "at a server"),
                (Line2D([], [], color=GREY, linewidth=1.2), "proven bound")]
    _title(figure, title)
    legend_below(figure, extra=handles, columns=6)
    return figure


def _why(message: str) -> str:
    """What a rule breaks, in short."""
    broken = message.partition("it breaks ")[2].partition(" (")[0]
    return f"the rule breaks {broken}" if broken else textwrap.shorten(message, 70, placeholder="...")
