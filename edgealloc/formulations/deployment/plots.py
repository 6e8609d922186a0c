"""Pictures of a Deployment solution: quality against size, where classes are answered, coverage, loads of servers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from edgealloc.formulations.deployment.rollout import DeploymentCosts, Rollout
from edgealloc.formulations.deployment.views import NOTHING_INSTALLED, servers_table
from edgealloc.units import format_count, format_percent, format_si, format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from edgealloc.core.solution import Solution
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["PLOTS", "plot"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Found = Any

#: Rows of a picture: servers, variants.
ROWS_SHOWN: Final = 16
#: Servers with a colour of their own; the rest share one.
SERVERS_NAMED: Final = 6
#: Chosen variants that the legend names, and memories of devices that are drawn as lines.
CHOSEN_NAMED: Final = 14
MEMORIES_SHOWN: Final = 5
#: Segments are named from this share of the axis on.
NAMED_FROM: Final = 0.055
_HATCHES: Final = ("", "///", "...", "xxx")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
#: Where a device's queries go -> colour.
_PLACES: Final = {
    "everything on the device": COLOURS[0], "some classes at a server": COLOURS[5],
    "everything at a server": COLOURS[1], "asked nothing": "#BBBBBB",
}
#: Devices whose variant is too slow to be of use.
_SLOW: Final = "///"


def plot(problem: Deployment, solution: Solution[Rollout, DeploymentCosts], what: str, ax: Any = None) -> Any:
    """Draw one of `PLOTS` and return the matplotlib figure.

    Parameters
    ----------
    problem : Deployment
    solution : Solution
        With a rollout.
    what : str
        "quality": accuracy against memory of the variants, what was chosen filled; "offloading": where queries are
        answered, by class and by variant; "coverage": devices by variant, with what they offload; "load": load of the
        servers against their limits, with the delay in queues.
    ax : matplotlib.axes.Axes, optional

    Raises
    ------
    DataError
        Unknown name; the message lists what there is.
    """
    return PLOTS[problem.check_plot(what)](problem, solution, ax)


def _style(position: int) -> tuple[str, str]:
    """Colour and marker; the first eighty variants have their own."""
    return COLOURS[position % len(COLOURS)], _MARKERS[(position + position // len(COLOURS)) % len(_MARKERS)]


def _axes(ax: Any, rows: int, width: float = 8.5, each: float = 0.36) -> tuple[Any, Any]:
    if ax is not None:
        return ax.figure, ax
    return new_figure(width=width, height=float(np.clip(1.7 + each * rows, 2.6, 13.0)))


def _rows(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_ylim(len(labels) - 0.45, -0.55)
    ax.set_yticks(range(len(labels)), list(labels))
    ax.tick_params(axis="y", length=0.0)


def _write(ax: Axes, x: float, y: float, text: str) -> None:
    """A number inside of a bar."""
    ax.text(x, y, text, ha="center", va="center", fontsize=8.0, color="black",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85})


def _beside(ax: Axes, y: float, text: str, colour: str = GREY) -> None:
    """A text to the right of the axes."""
    ax.annotate(text, (1.0, y), xycoords=("axes fraction", "data"), xytext=(6.0, 0.0), textcoords="offset points",
                fontsize=8.0, va="center", color=colour, annotation_clip=False)


def _below(figure: Any, ax: Axes, handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
    """A legend as many inches below the axes whatever their height."""
    place_legend(ax, "below", handles=list(handles), labels=list(labels), ncols=columns,
                 bbox_to_anchor=(0.5, -0.55 / max(figure.get_figheight() - 1.2, 1.0)))


# ---- quality ----------------------------------------------------------------------------------------------------


def _draw_quality(problem: Deployment, solution: Found, ax: Any) -> Any:
    """Points are variants at the fleet's mix of classes; lines span the classes."""
    from matplotlib.lines import Line2D

    allocation, costs = solution.found()
    figure, ax = new_figure(width=8.8, height=4.8) if ax is None else (ax.figure, ax)
    mix = problem.query_share.sum(axis=0)
    height = problem.accuracy @ mix
    if not problem.accuracy.any():
        write_note(ax, "no accuracy is given for any variant")
    count = np.bincount(allocation.variant[allocation.variant >= 0], minlength=problem.variants)
    fits: BoolArray = np.any(problem.options.installable[:, 1:], axis=0)
    scale, unit = byte_unit(float(np.median(problem.memory_bytes)))
    size = problem.memory_bytes * scale
    classes = problem.accuracy[:, mix > 0.0]
    ax.vlines(size, classes.min(axis=1), classes.max(axis=1), color="#BBBBBB", linewidth=0.9, zorder=1)
    handles: list[Any] = []
    labels: list[str] = []
    for k in np.argsort(-count, kind="stable").tolist():
        colour, marker = _style(k)
        if count[k]:
            look = {"facecolors": colour, "edgecolors": "black", "linewidth": 0.7, "zorder": 4}
            area = 30.0 + 160.0 * math.sqrt(count[k] / count.max())
        else:
            edge = GREY if fits[k] else "#BBBBBB"
            look = {"facecolors": "white", "edgecolors": edge, "linewidth": 0.9, "zorder": 3}
            area = 30.0
        ax.scatter(size[k], height[k], s=area, marker=marker, **look)
        if count[k] and len(handles) < CHOSEN_NAMED:
            handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, markeredgecolor="black",
                                  markersize=6.5))
            labels.append(f"{short_label(str(problem.variant_names[k]), 26)} ({int(count[k])})")
    hidden = int((count > 0).sum()) - len(handles)
    plain: dict[str, Any] = {"linestyle": "", "marker": "o", "markerfacecolor": "white", "markersize": 6.5}
    if hidden > 0:
        handles.append(Line2D([], [], linestyle="", color="none"))
        labels.append(f"and {hidden} more")
    more = [(Line2D([], [], markeredgecolor=GREY, **plain), "not chosen", bool(((count == 0) & fits).any())),
            (Line2D([], [], markeredgecolor="#BBBBBB", **plain), "fits no device", not bool(fits.all())),
            (Line2D([], [], color="#BBBBBB", linewidth=0.9), "from class to class", classes.shape[1] > 1)]
    handles += [handle for handle, _, there in more if there]
    labels += [label for _, label, there in more if there]
    if costs.offloaded.any():
        sent = costs.offloaded
        answered = float((costs.share * costs.answer_accuracy)[sent].sum() / costs.share[sent].sum())
        line = ax.axhline(answered, color="black", linestyle="--", linewidth=1.1, zorder=2)
        handles.append(line)
        labels.append("what servers answered")
    style_axes(ax, f"Accuracy against size of the variants ({solution.method})", f"memory on a device [{unit}]",
               "accuracy, mean over the fleet's queries")
    if size.min() > 0.0 and size.max() > 8.0 * size.min():
        _log_axis(ax)
    if _memory_lines(ax, problem, scale):
        handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1.1))
        labels.append("memory of devices")
    place_legend(ax, handles=handles, labels=labels, title="variant (devices)", alignment="left")
    return figure


def _log_axis(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=14))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _memory_lines(ax: Axes, problem: Deployment, scale: float) -> int:
    """What the devices have, the most frequent sizes; none of many that no two devices share."""
    sizes, count = np.unique(problem.device_memory_bytes, return_counts=True)
    if count.max() == 1 and sizes.size > MEMORIES_SHOWN:
        return 0
    low, high = ax.get_xlim()
    inside = [(int(n), float(size) * scale) for size, n in zip(sizes, count, strict=True)
              if low <= float(size) * scale <= high]
    shown = sorted(inside, key=lambda one: -one[0])[:MEMORIES_SHOWN]
    for _, x in shown:
        ax.axvline(x, color=GREY, linestyle=":", linewidth=1.1, zorder=1)
    ax.set_xlim(low, high)
    return len(shown)


# ---- offloading -------------------------------------------------------------------------------------------------


def _draw_offloading(problem: Deployment, solution: Found, ax: Any) -> Any:
    """Bars in percent of the queries of a class, then of the devices with a variant, by who answers."""
    from matplotlib.patches import Patch

    allocation, costs = solution.found()
    share = costs.share
    busiest = np.argsort(-costs.server_load, kind="stable")
    named = busiest[:SERVERS_NAMED] if problem.servers > SERVERS_NAMED + 1 else busiest
    others = np.setdiff1d(np.arange(problem.servers), named)
    # column 0: the device; then the servers with a colour, then the rest
    column = np.zeros(1 + problem.servers, dtype=np.int64)
    column[1 + named] = 1 + np.arange(named.size)
    column[1 + others] = 1 + named.size
    by = np.where(costs.offloaded, column[1 + allocation.server][:, None], 0)
    columns = 1 + named.size + bool(others.size)

    def split(mask: BoolArray) -> FloatArray:
        return np.bincount(by[mask], weights=share[mask], minlength=columns).astype(np.float64)

    rows = []
    for c, name in enumerate(problem.class_names):
        mask = np.zeros(share.shape, dtype=np.bool_)
        mask[:, c] = True
        rows.append((str(name), split(mask)))
    kinds = np.bincount(allocation.variant + 1, minlength=1 + problem.variants)
    order = [int(k) for k in np.argsort(-kinds, kind="stable") if kinds[k]]
    classes = len(rows)
    for k in order[:ROWS_SHOWN]:
        mask = np.repeat((allocation.variant == k - 1)[:, None], problem.classes, axis=1)
        label = str(problem.variant_names[k - 1]) if k else NOTHING_INSTALLED
        rows.append((label, split(mask)))
    colours = [COLOURS[0], *(COLOURS[1 + j % 6] for j in range(named.size)), "#BBBBBB"][:columns]
    hatches = ["", *(_HATCHES[(j // 6) % len(_HATCHES)] for j in range(named.size)), ""]
    figure, ax = _axes(ax, len(rows))
    for y, (_, amounts) in enumerate(rows):
        total = float(amounts.sum())
        left = 0.0
        for j, amount in enumerate(amounts.tolist() if total > 0.0 else []):
            width = 100.0 * amount / total
            if width > 0.0:
                ax.barh(y, width, left=left, height=0.7, color=colours[j], hatch=hatches[j], edgecolor="white",
                        linewidth=0.6)
            if width >= 100.0 * NAMED_FROM:
                _write(ax, left + width / 2.0, y, f"{width:.0f}")
            left += width
        _beside(ax, y, f"{total * problem.total_rate_per_s:.3g} queries/s" if total > 0.0 else "asked nothing")
    ax.axhline(classes - 0.5, color=GREY, linewidth=0.8)
    rest = len(order) - ROWS_SHOWN
    hidden = f", {format_count(rest, 'more variant')} not shown" if rest > 0 else ""
    style_axes(ax, f"Who answers, by class and by installed variant ({solution.method})",
               f"share of the queries [%]{hidden}", "", grid="x")
    ax.set_xlim(0.0, 100.0)
    _rows(ax, [short_label(name) for name, _ in rows])
    labels = ["the device", *(short_label(str(problem.server_names[s])) for s in named),
              f"{others.size} other servers"][:columns]
    handles = [Patch(facecolor=colour, hatch=hatch, edgecolor="white")
               for colour, hatch in zip(colours, hatches, strict=False)]
    _below(figure, ax, handles, labels, 4)
    return figure


# ---- coverage ---------------------------------------------------------------------------------------------------


def _draw_coverage(problem: Deployment, solution: Found, ax: Any) -> Any:
    """Bars are devices by variant, divided by what they send away; hatched where the variant is too slow to use."""
    from matplotlib.patches import Patch

    allocation, costs = solution.found()
    asked = (problem.query_rate_per_s > 0.0).sum(axis=1)
    sent = allocation.offload.sum(axis=1)
    where = np.select([asked == 0, sent == 0, sent == asked], [3, 0, 2], 1)
    kinds = np.bincount(allocation.variant + 1, minlength=1 + problem.variants)
    order = [int(k) for k in 1 + np.argsort(-kinds[1:], kind="stable") if kinds[k]]
    shown, rest = order[:ROWS_SHOWN], order[ROWS_SHOWN:]
    rows = [(str(problem.variant_names[k - 1]), allocation.variant == k - 1) for k in shown]
    if rest:
        rows.append((f"{len(rest)} other variants", np.isin(allocation.variant, np.array(rest) - 1)))
    if kinds[0]:
        rows.append((NOTHING_INSTALLED, allocation.variant < 0))
    figure, ax = _axes(ax, len(rows), width=9.4)
    longest = max(int(mask.sum()) for _, mask in rows)
    for y, (name, mask) in enumerate(rows):
        left = 0
        for j, colour in enumerate(_PLACES.values()):
            for usable in (True, False):
                number = int((mask & (where == j) & (costs.accessible == usable)).sum())
                if not number:
                    continue
                hatch = "" if usable else _SLOW
                ax.barh(y, number, left=left, height=0.7, color=colour, hatch=hatch, edgecolor="white", linewidth=0.6)
                if number >= NAMED_FROM * longest:
                    _write(ax, left + number / 2.0, y, str(number))
                left += number
        memory = problem.device_memory_bytes[mask]
        have = _range_words(memory)
        own = _range_words(costs.memory_bytes[mask])
        _beside(ax, y, f"devices have {have}" if name == NOTHING_INSTALLED else f"{own}; devices have {have}")
    share = format_percent(costs.accessibility, 1.0)
    style_axes(ax, f"Coverage of the fleet: {share} of the devices have access ({solution.method})", "devices", "",
               grid="x")
    ax.set_xlim(0.0, 1.02 * longest)
    ax.xaxis.get_major_locator().set_params(integer=True)
    _rows(ax, [short_label(name) for name, _ in rows])
    used = [j for j in range(len(_PLACES)) if (where == j).any()]
    names = list(_PLACES)
    handles = [Patch(facecolor=_PLACES[names[j]], edgecolor="white") for j in used]
    labels = [names[j] for j in used]
    if not costs.accessible.all():
        handles.append(Patch(facecolor="#888888", hatch=_SLOW, edgecolor="white"))
        labels.append("no variant of usable speed")
    _below(figure, ax, handles, labels, 3)
    return figure


def _range_words(amount: FloatArray) -> str:
    low, high = format_si(float(amount.min()), "B"), format_si(float(amount.max()), "B")
    return low if low == high else f"{low} to {high}"


# ---- load -------------------------------------------------------------------------------------------------------


def _draw_load(problem: Deployment, solution: Found, ax: Any) -> Any:
    """Bars of the share of the time, marks at the limits; delays beside them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    table = servers_table(problem, solution)
    order = np.argsort(-table["load"], kind="stable")
    shown = np.sort(order[:ROWS_SHOWN])
    limited = np.isfinite(table["airtime_limit"])
    figure, ax = _axes(ax, shown.size, width=9.4, each=0.5)
    if not problem.servers:
        write_note(ax, "there are no servers")
        style_axes(ax, f"Load of the servers ({solution.method})")
        return figure
    bars = [("load", "load", COLOURS[0], "busy")]
    if limited.any():
        bars.append(("airtime", "airtime", COLOURS[1], "cell transmits"))
    height = 0.7 / len(bars)
    for j, (name, _, colour, _) in enumerate(bars):
        offset = (j - (len(bars) - 1) / 2.0) * height
        at = np.arange(shown.size) + offset
        limit = 100.0 * table[f"{name}_limit"][shown]
        ax.barh(at, 100.0 * table[name][shown], height=0.92 * height, color=colour)
        known = np.isfinite(limit)
        ax.vlines(limit[known], at[known] - 0.5 * height, at[known] + 0.5 * height, color="black", linewidth=1.6)
    for y, s in enumerate(shown.tolist()):
        if table["devices"][s]:
            _beside(ax, y, f"{format_count(int(table['devices'][s]), 'device')}; queue "
                           f"{format_time(float(table['queue_s'][s]))} of {format_time(float(table['delay_s'][s]))}")
        else:
            _beside(ax, y, "not used")
    hidden = "" if order.size <= shown.size else f", the {shown.size} busiest of {order.size}"
    style_axes(ax, f"Load of the servers{hidden} ({solution.method})", "share of the time [%]", "", grid="x")
    ax.set_xlim(0.0, 100.0)
    _rows(ax, [short_label(str(problem.server_names[s])) for s in shown])
    handles: list[Any] = [Patch(facecolor=colour) for _, _, colour, _ in bars]
    handles.append(Line2D([], [], linestyle="", marker="|", color="black", markersize=11.0, markeredgewidth=1.6))
    _below(figure, ax, handles, [*(label for *_, label in bars), "limit"], 3)
    return figure


PLOTS: Final[dict[str, Callable[[Any, Any, Any], Any]]] = {
    "quality": _draw_quality,
    "offloading": _draw_offloading,
    "coverage": _draw_coverage,
    "load": _draw_load,
}
