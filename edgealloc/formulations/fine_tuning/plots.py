"""Pictures of a FineTuning solution: who does what where, quality against memory, servers against their limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.figures import (
    COLOURS,
    GREY,
    byte_unit,
    new_figure,
    place_legend,
    short_label,
    style_axes,
    write_note,
)
from edgealloc.formulations.fine_tuning.assignment import Assignment, FineTuningCosts
from edgealloc.formulations.fine_tuning.views import LIMITS, server_limits
from edgealloc.formulations.fine_tuning.wishes import amount_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from edgealloc.core.solution import Solution
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["PLOTS", "plot"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Servers that a picture has rows for: those with most jobs, or the fullest.
PLACES_SHOWN: Final = 16
#: Memories of devices that are drawn as lines: the most frequent ones.
MEMORIES_SHOWN: Final = 5
#: Segments are named with their number of jobs from this share of the longest bar on.
NAMED_FROM: Final = 0.045
#: Points of a method from which on they have no edges.
CROWDED: Final = 60
#: Hatches of the second, third, ... eight methods.
_HATCHES: Final = ("", "///", "...", "xxx")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")


def plot(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts], what: str, ax: Any = None) -> Any:
    """Draw one of `PLOTS` and return the matplotlib figure.

    Parameters
    ----------
    problem : FineTuning
    solution : Solution
        With an assignment.
    what : str
        "placement": how many jobs every place trains, by method; "quality": quality against memory of every method,
        what was chosen filled; "load": memory, seconds and airtime of the servers against their limits.
    ax : matplotlib.axes.Axes, optional

    Raises
    ------
    DataError
        Unknown name; the message lists what there is.
    """
    return PLOTS[problem.check_plot(what)](problem, solution, ax)


def _style(position: int) -> tuple[str, str]:
    """Colour and hatch; every method has its own."""
    return COLOURS[position % len(COLOURS)], _HATCHES[position // len(COLOURS) % len(_HATCHES)]


# ---- placement --------------------------------------------------------------------------------------------------


def _draw_placement(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts], ax: Any) -> Any:
    from matplotlib.patches import Patch

    allocation, _ = solution.found()
    count = np.zeros((1 + problem.servers, problem.tunings), dtype=np.int64)
    np.add.at(count, (1 + allocation.place, allocation.method), 1)
    servers = 1 + np.argsort(-count[1:].sum(axis=1), kind="stable")
    shown, rest = [0, *sorted(servers[:PLACES_SHOWN].tolist())], servers[PLACES_SHOWN:]
    rows = [(short_label("own devices" if place == 0 else problem.server_names[place - 1]), count[place])
            for place in shown]
    if rest.size:
        idle = " idle" if not count[rest].any() else ""
        rows.append((f"{rest.size} other{idle} servers", count[rest].sum(axis=0)))
    if ax is None:
        figure, ax = new_figure(width=8.5, height=float(np.clip(1.6 + 0.34 * len(rows), 2.6, 13.0)))
    else:
        figure = ax.figure
    used = np.flatnonzero(count.sum(axis=0))
    longest = max(int(row.sum()) for _, row in rows)
    for y, (_, row) in enumerate(rows):
        left = 0
        for k in used.tolist():
            if not row[k]:
                continue
            colour, hatch = _style(k)
            ax.barh(y, row[k], left=left, height=0.7, color=colour, hatch=hatch, edgecolor="white", linewidth=0.6)
            if row[k] >= NAMED_FROM * longest:
                ax.text(left + row[k] / 2.0, y, str(int(row[k])), ha="center", va="center", fontsize=8.0,
                        color="black", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85})
            left += int(row[k])
        ax.annotate(str(left), (left, y), xytext=(4.0, 0.0), textcoords="offset points", va="center", fontsize=8.5,
                    color=GREY)
    style_axes(ax, f"Jobs by place and method ({solution.method})", "jobs", "", grid="x")
    ax.set_xlim(0.0, 1.08 * longest)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_ylim(len(rows) - 0.45, -0.55)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.tick_params(axis="y", length=0.0)
    handles = [Patch(facecolor=_style(k)[0], hatch=_style(k)[1], edgecolor="white") for k in used.tolist()]
    place_legend(ax, handles=handles, labels=[f"{problem.method_names[k]} ({int(count[:, k].sum())})" for k in used],
                 title="method (jobs)", alignment="left")
    return figure


# ---- quality ----------------------------------------------------------------------------------------------------


def _draw_quality(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts], ax: Any) -> Any:
    """Points are (memory, quality) of jobs under methods; those of many jobs at once are larger."""
    allocation, _ = solution.found()
    figure, ax = new_figure(width=8.5, height=4.8) if ax is None else (ax.figure, ax)
    if not problem.quality.any():
        write_note(ax, "no quality is given for any method")
    jobs = np.arange(problem.jobs)
    height, unknown = _heights(problem.quality)
    fits: BoolArray = np.asarray(problem.options.allowed.any(axis=2))
    chosen = np.zeros(fits.shape, dtype=bool)
    chosen[jobs, allocation.method] = True
    scale, unit = byte_unit(float(np.median(problem.memory_bytes)))
    together = [_points(problem.memory_bytes[chosen[:, k], k], height[chosen[:, k], k])[1].max(initial=1)
                for k in range(problem.tunings)]
    most = int(max(together))
    for k in range(problem.tunings):
        colour, _ = _style(k)
        marker = _MARKERS[k % len(_MARKERS)]
        looks: tuple[tuple[BoolArray, dict[str, Any]], ...] = (
            (~fits[:, k], {"facecolors": "none", "edgecolors": "#BBBBBB", "linewidth": 0.7, "zorder": 2}),
            (fits[:, k] & ~chosen[:, k], {"facecolors": "none", "edgecolors": colour, "linewidth": 1.0, "zorder": 3}),
            (chosen[:, k], {"facecolors": colour, "edgecolors": "black", "linewidth": 0.7, "zorder": 4}),
        )
        for mask, look in looks:
            where, count = _points(problem.memory_bytes[mask, k], height[mask, k])
            if count.size:
                grown = np.sqrt(count / most) if look["zorder"] == 4 and most > 2 else np.zeros(count.size)
                # so many points that they overlap are drawn without edges
                thin = {"linewidth": 0.15} if count.size > CROWDED else {}
                ax.scatter(where[:, 0] * scale, where[:, 1], s=26.0 + 150.0 * grown, marker=marker, **look | thin)
    style_axes(ax, f"Quality against memory ({solution.method})", f"peak memory of training [{unit}]", "quality")
    positive = problem.memory_bytes[problem.memory_bytes > 0.0]
    if positive.size and positive.max() > 8.0 * positive.min():
        _log_axis(ax)
    _memory_lines(ax, problem, scale)
    if unknown is not None:
        least = float(problem.quality[problem.quality > 0.0].min())
        ticks = [float(one) for one in ax.get_yticks() if least - 1e-9 <= one <= ax.get_ylim()[1]]
        ax.set_yticks([unknown, *ticks], ["unknown", *(f"{one:.3g}" for one in ticks)])
    _quality_legend(ax, problem, chosen)
    return figure


def _points(memory: FloatArray, height: FloatArray) -> tuple[FloatArray, IntArray]:
    """Distinct (memory, height) of jobs under a method, and how many jobs have each."""
    where, count = np.unique(np.column_stack([memory, height]), axis=0, return_counts=True)
    return np.asarray(where), np.asarray(count)


def _heights(quality: FloatArray) -> tuple[FloatArray, float | None]:
    """(N, K) where qualities are drawn; where nothing is known (0) below all that is, and that place."""
    known = quality > 0.0
    if known.all() or not known.any():
        return quality, None
    low, high = float(quality[known].min()), float(quality[known].max())
    unknown = low - 0.18 * max(high - low, 0.05)
    return np.where(known, quality, unknown), unknown


def _log_axis(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=14))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _memory_lines(ax: Axes, problem: FineTuning, scale: float) -> None:
    """What the devices have, the most frequent sizes, with their number above the axes."""
    sizes, count = np.unique(problem.device_memory_bytes, return_counts=True)
    low, high = ax.get_xlim()
    inside = [(int(n), float(size) * scale) for size, n in zip(sizes, count, strict=True)
              if low <= float(size) * scale <= high]
    for _, x in sorted(inside, key=lambda one: -one[0])[:MEMORIES_SHOWN]:
        ax.axvline(x, color=GREY, linestyle=":", linewidth=1.1, zorder=1)
    ax.set_xlim(low, high)


def _quality_legend(ax: Axes, problem: FineTuning, chosen: BoolArray) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="", marker=_MARKERS[k % len(_MARKERS)], color=_style(k)[0], markersize=6.5)
               for k in range(problem.tunings)]
    labels = [f"{problem.method_names[k]} ({int(chosen[:, k].sum())})" for k in range(problem.tunings)]
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6.5}
    handles += [Line2D([], [], color=GREY, markeredgecolor="black", **look),
                Line2D([], [], markerfacecolor="none", markeredgecolor=GREY, **look),
                Line2D([], [], markerfacecolor="none", markeredgecolor="#BBBBBB", **look),
                Line2D([], [], color=GREY, linestyle=":", linewidth=1.1)]
    labels += ["chosen (size: jobs)", "possible for its job", "fits nowhere", "memory of devices"]
    place_legend(ax, handles=handles, labels=labels, title="method (jobs)", alignment="left")


# ---- load -------------------------------------------------------------------------------------------------------


def _draw_load(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts], ax: Any) -> Any:
    """Bars in percent of the limits; amounts beside them, so that what has no limit is said, too."""
    _, costs = solution.found()
    limits = server_limits(problem)
    used = {name: np.asarray(getattr(costs, name)) for name in LIMITS}
    with np.errstate(divide="ignore", invalid="ignore"):
        share = {name: np.where(np.isfinite(limits[name]) & (used[name] > 0.0), used[name] / limits[name], 0.0)
                 for name in LIMITS}
    fullest = np.max(list(share.values()), axis=0) if problem.servers else np.zeros(0)
    order = np.argsort(-fullest, kind="stable")
    shown = np.sort(order[:PLACES_SHOWN])
    if ax is None:
        figure, ax = new_figure(width=9.0, height=float(np.clip(1.8 + 0.62 * shown.size, 2.6, 13.0)))
    else:
        figure = ax.figure
    if not problem.servers:
        write_note(ax, "there are no servers")
        style_axes(ax, f"Servers against their limits ({solution.method})")
        return figure
    for offset, (colour, (name, (word, unit, _, _))) in enumerate(zip(COLOURS[:3], LIMITS.items(), strict=True)):
        y = np.arange(shown.size) + 0.27 * (offset - 1)
        ax.barh(y, 100.0 * share[name][shown], height=0.24, color=colour, label=word)
        for row, s in zip(y, shown.tolist(), strict=True):
            limit = float(limits[name][s])
            text = amount_words(float(used[name][s]), unit)
            text += f" of {amount_words(limit, unit)}" if math.isfinite(limit) else ", no limit"
            ax.annotate(text, (1.0, row), xycoords=("axes fraction", "data"), xytext=(6.0, 0.0), fontsize=8.0,
                        textcoords="offset points", va="center", color=colour if offset != 1 else "#9A6A00",
                        annotation_clip=False)
    ax.axvline(100.0, color=GREY, linewidth=1.2)
    hidden = "" if order.size <= shown.size else f", the {shown.size} fullest of {order.size}"
    style_axes(ax, f"Servers against their limits{hidden} ({solution.method})", "used [% of the limit]", "", grid="x")
    ax.set_xlim(0.0, max(102.0, 102.0 * float(fullest.max())))
    ax.set_ylim(shown.size - 0.4, -0.6)
    ax.set_yticks(range(shown.size), [short_label(problem.server_names[s]) for s in shown])
    ax.tick_params(axis="y", length=0.0)
    # as many inches below the axes whatever their height
    place_legend(ax, "below", bbox_to_anchor=(0.5, -0.55 / max(figure.get_figheight() - 1.2, 1.0)), ncols=3)
    return figure


PLOTS: Final[dict[str, Callable[[Any, Any, Any], Any]]] = {
    "placement": _draw_placement,
    "quality": _draw_quality,
    "load": _draw_load,
}
