"""Pictures of a PoolTraining solution: timetable, memory, network, and the front of time and energy."""

from __future__ import annotations

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
    time_unit,
)
from edgealloc.core.links import resolve
from edgealloc.formulations.pool_training.network import Message
from edgealloc.formulations.pool_training.plan import Plan, PoolCosts
from edgealloc.formulations.pool_training.schedule import Event, Schedule, messages_between
from edgealloc.formulations.pool_training.topology_plot import draw_topology
from edgealloc.formulations.pool_training.views import medium_name
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["PLOTS", "plot"]

FloatArray = npt.NDArray[np.float64]

#: Lanes of media in a timetable: the busiest ones.
MEDIA_SHOWN: Final = 10
#: Where a lane has more boxes than this, lanes show shares of time in columns of at least three boxes.
BOXES_UP_TO: Final = 100
COLUMNS_UP_TO: Final = 240
#: Micro-batches are named in boxes wider than this share of the picture, in pictures of few lanes.
NAMED_FROM: Final = 0.018
NAMED_LANES: Final = 12
#: Memory over time is drawn for this many devices, the fullest.
TRACES: Final = 8

#: Groups of events as they are drawn; the kinds are those of `Event`.
KINDS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("forward", ("forward",), COLOURS[5]),
    ("backward", ("backward",), COLOURS[0]),
    ("activations", ("activations",), COLOURS[1]),
    ("gradients of activations", ("gradients",), COLOURS[3]),
    ("keys and values", ("gather",), COLOURS[1]),
    ("sums inside layers", ("reduce",), COLOURS[1]),
    ("all-reduce of gradients", ("all-reduce",), COLOURS[2]),
)


def plot(problem: PoolTraining, solution: Solution[Plan, PoolCosts], what: str, ax: Any = None) -> Any:
    """Draw one of `PLOTS` and return the matplotlib figure.

    Parameters
    ----------
    problem : PoolTraining
    solution : Solution
        With a plan.
    what : str
        "gantt": who computes what when, and when the busiest media carry bytes; "memory": peak memory by part against
        capacity; "memory-trace": memory over the iteration; "topology": the network with stages and traffic;
        "pareto": the front of time and energy, for which the problem is solved anew at several weights.
    ax : matplotlib.axes.Axes, optional

    Raises
    ------
    DataError
        Unknown name; the message lists what there is.
    """
    return PLOTS[problem.check_plot(what)](problem, solution, ax)


# ---- timetable ----------------------------------------------------------------------------------------------------


def _draw_gantt(problem: PoolTraining, solution: Solution[Plan, PoolCosts], ax: Any) -> Any:
    plan, _ = solution.found()
    run = problem.schedule(plan)
    scale, unit = time_unit(run.time_s)
    names, lanes = _lanes(problem, plan, run)
    if ax is None:
        figure, ax = new_figure(width=9.0, height=float(np.clip(1.4 + 0.3 * len(lanes), 2.8, 13.0)))
    else:
        figure = ax.figure
    boxes = max(sum(len(spans) for spans in lane.values()) for lane in lanes)
    shares, columns = boxes > BOXES_UP_TO, int(np.clip(boxes // 3, 30, COLUMNS_UP_TO))
    used: set[str] = set()
    for row, lane in enumerate(lanes):
        for label, _, colour in KINDS:
            spans = lane.get(label, [])
            if spans:
                used.add(label)
            if spans and not shares:
                named = len(lanes) <= NAMED_LANES
                _boxes(ax, row, spans, colour, scale, run.time_s, named)
        if shares:
            _columns(ax, row, lane, scale, np.linspace(0.0, run.time_s, columns + 1))
    title = f"One iteration: {run.time_s * scale:.3g} {unit}, {plan.parallelism}"
    height = "; filled height of a lane: share of the time" if shares else ""
    style_axes(ax, f"{title} ({solution.method})", f"time [{unit}]{height}", "", grid="x")
    small = len(lanes) > 30
    for row, lane in enumerate(lanes):
        busy = sum(end - start for spans in lane.values() for start, end, _ in spans)
        ax.annotate(f"{100.0 * busy / run.time_s:.2g} %" if run.time_s > 0.0 else "", (1.0, row), color=GREY,
                    xycoords=("axes fraction", "data"), xytext=(3.0, 0.0), textcoords="offset points", va="center",
                    fontsize=6.5 if small else 8.0, annotation_clip=False)
    ax.set_xlim(0.0, run.time_s * scale * 1.002 or 1.0)
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    ax.set_yticks(range(len(lanes)), names, fontsize=7.0 if small else 9.0)
    ax.tick_params(axis="y", length=0.0)
    if len(plan.devices) < len(lanes):
        ax.axhline(len(plan.devices) - 0.5, color=GREY, linewidth=0.8)
    handles, labels = _legend(used)
    place_legend(ax, handles=handles, labels=labels, title="% of the time busy, and what with", alignment="left",
                 bbox_to_anchor=(1.07, 1.0))
    return figure


def _legend(used: set[str]) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    shown = [(label, colour) for label, _, colour in KINDS if label in used]
    return [Patch(facecolor=colour, edgecolor="none") for _, colour in shown], [label for label, _ in shown]


Span = tuple[float, float, int]


def _lanes(problem: PoolTraining, plan: Plan, run: Schedule) -> tuple[list[str], list[dict[str, list[Span]]]]:
    """Names and (start, end, micro-batch) by label of every lane: devices in the order of the plan, then media."""
    label_of = {kind: label for label, kinds, _ in KINDS for kind in kinds}
    devices: dict[int, dict[str, list[Span]]] = {i: {} for i in plan.devices}
    media: dict[int, dict[str, list[Span]]] = {}
    for event in run.events:
        label = label_of[event.kind]
        if event.kind in ("forward", "backward"):
            devices[event.devices[0]].setdefault(label, []).append((event.start_s, event.end_s, event.micro_batch))
            continue
        messages = _messages(problem, plan, event)
        # latency blocks no medium in a hand-over; in a ring the next step waits for it
        end = event.end_s
        if event.kind in ("activations", "gradients"):
            end = event.start_s + problem.network.phase(messages)[0]
        for medium in problem.network.media_of(messages):
            media.setdefault(medium, {}).setdefault(label, []).append((event.start_s, end, event.micro_batch))
    busy = {medium: sum(end - start for spans in lane.values() for start, end, _ in spans)
            for medium, lane in media.items()}
    shown = sorted(sorted(busy, key=lambda one: (-busy[one], one))[:MEDIA_SHOWN])
    staged = plan.parallelism in ("pipeline", "hybrid")
    names = [f"{short_label(problem.device_names[i])} · {p}" if staged else short_label(problem.device_names[i])
             for p, group in enumerate(plan.stages) for i in group]
    names += [short_label(medium_name(problem, medium), 30) for medium in shown]
    if len(busy) > len(shown):
        names[-1] += f"\n({len(busy) - len(shown)} less busy not shown)"
    return names, [*devices.values(), *(media[medium] for medium in shown)]


def _messages(problem: PoolTraining, plan: Plan, event: Event) -> list[Message]:
    """Who sends to whom in a transfer."""
    p = event.stage
    if event.kind == "activations":
        return messages_between(plan.stages[p], plan.shares[p], plan.stages[p + 1], plan.shares[p + 1],
                                problem.boundary_bytes)
    if event.kind == "gradients":
        there = messages_between(plan.stages[p - 1], plan.shares[p - 1], plan.stages[p], plan.shares[p],
                                 problem.boundary_bytes)
        return [(j, i, size) for i, j, size in there]
    return [(i, j, 1.0) for i, j in zip(event.devices, [*event.devices[1:], event.devices[0]], strict=True)]


def _boxes(ax: Any, row: int, spans: Sequence[Span], colour: str, scale: float, whole: float, named: bool) -> None:
    """A box per event, with its micro-batch where there is room."""
    # white edges part neighbours, and would hide boxes that are narrower than they are
    thin = min(end - start for start, end, _ in spans) < 0.006 * whole
    ax.broken_barh([(start * scale, (end - start) * scale) for start, end, _ in spans], (row - 0.38, 0.76),
                   facecolors=colour, edgecolors=colour if thin else "white", linewidth=0.25 if thin else 0.4)
    for start, end, micro_batch in spans:
        if named and micro_batch >= 0 and end - start >= NAMED_FROM * whole:
            ax.text((start + end) / 2.0 * scale, row, str(micro_batch), ha="center", va="center", fontsize=7.5,
                    color="white" if colour in (COLOURS[0], COLOURS[3]) else "black", clip_on=True)


def _columns(ax: Any, row: int, lane: dict[str, list[Span]], scale: float, edges: FloatArray) -> None:
    """The share of every short interval that each kind of event takes, stacked: nothing is left out or widened."""
    bottom = np.full(len(edges) - 1, row + 0.38)
    for label, _, colour in KINDS:
        spans = lane.get(label)
        if not spans:
            continue
        top = bottom - 0.76 * covered(np.array([one[:2] for one in spans]), edges)
        ax.fill_between(np.repeat(edges, 2)[1:-1] * scale, np.repeat(bottom, 2), np.repeat(top, 2), color=colour,
                        linewidth=0.3)
        bottom = top


def covered(spans: FloatArray, edges: FloatArray) -> FloatArray:
    """Share of every interval between `edges` (n + 1,) that disjoint spans (k, 2) cover, (n,).

    >>> covered(np.array([[0.5, 1.0], [1.5, 3.0]]), np.array([0.0, 1.0, 2.0, 4.0])).tolist()
    [0.5, 0.5, 0.5]
    """
    starts, ends = np.sort(spans[:, 0]), np.sort(spans[:, 1])
    before = np.concatenate([[0.0], np.cumsum(ends - starts)])

    def until(moment: FloatArray) -> FloatArray:
        k = np.searchsorted(starts, moment, side="right")
        last = np.maximum(k - 1, 0)
        partly = np.where(k > 0, np.clip(moment, starts[last], ends[last]) - starts[last], 0.0)
        return np.asarray(np.where(k > 0, before[last], 0.0) + partly)

    width = np.diff(edges)
    return np.asarray(np.where(width > 0.0, np.diff(until(edges)) / np.where(width > 0.0, width, 1.0), 0.0))


# ---- memory -------------------------------------------------------------------------------------------------------


def _draw_memory(problem: PoolTraining, solution: Solution[Plan, PoolCosts], ax: Any) -> Any:
    plan, costs = solution.found()
    run = problem.schedule(plan)
    order = list(plan.devices)
    if ax is None:
        figure, ax = new_figure(width=8.0, height=float(np.clip(1.5 + 0.32 * len(order), 2.6, 13.0)))
    else:
        figure = ax.figure
    scale, unit = byte_unit(float(costs.memory_bytes.max()))
    overhead, states = problem.overhead_bytes[order], run.resident_bytes[order] - problem.overhead_bytes[order]
    parts = (("states (weights, gradients, optimiser)", states, COLOURS[0]),
             ("activations at the peak", costs.memory_bytes[order] - run.resident_bytes[order], COLOURS[1]),
             ("framework and buffers", overhead, COLOURS[4]))
    rows, left = np.arange(len(order)), np.zeros(len(order))
    for label, values, colour in parts:
        if values.any():
            ax.barh(rows, values * scale, left=left, height=0.62, color=colour, label=label)
            left = left + values * scale
    # a server's memory may be a hundred times a phone's: the axis follows what is used, numbers say the rest
    capacity = problem.memory_bytes[order] * scale
    reach = 1.06 * max(float(left.max()), float(capacity[capacity <= 2.5 * left.max()].max(initial=0.0)))
    ax.barh(rows, np.minimum(capacity, 2.0 * reach), height=0.86, color="none", edgecolor=GREY, linewidth=1.1,
            label="capacity")
    for row, i in enumerate(order):
        share = costs.memory_bytes[i] / problem.memory_bytes[i] if problem.memory_bytes[i] > 0.0 else np.inf
        ax.annotate(f"{100.0 * share:.0f} % of {format_si(float(problem.memory_bytes[i]), 'B')}", (1.0, row),
                    xycoords=("axes fraction", "data"), xytext=(4.0, 0.0), textcoords="offset points", va="center",
                    fontsize=8.5 if len(order) <= 30 else 6.5, color=COLOURS[3] if share > 1.0 + 1e-9 else "black",
                    annotation_clip=False)
    style_axes(ax, f"Peak memory of the participants ({solution.method})", f"memory [{unit}]", "", grid="x")
    ax.set_xlim(0.0, reach or 1.0)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.set_yticks(rows, _device_ticks(problem, plan), fontsize=9.0 if len(order) <= 30 else 7.0)
    ax.tick_params(axis="y", length=0.0)
    below = -0.16 if ax.figure.get_figheight() > 5.0 else -0.30
    place_legend(ax, "below", bbox_to_anchor=(0.5, below), ncols=2)
    return figure


def _device_ticks(problem: PoolTraining, plan: Plan) -> list[str]:
    staged = plan.parallelism in ("pipeline", "hybrid")
    return [f"{short_label(problem.device_names[i])} · {p}" if staged else short_label(problem.device_names[i])
            for p, group in enumerate(plan.stages) for i in group]


def _draw_trace(problem: PoolTraining, solution: Solution[Plan, PoolCosts], ax: Any) -> Any:
    plan, costs = solution.found()
    run = problem.schedule(plan)
    figure, ax = new_figure(width=8.0) if ax is None else (ax.figure, ax)
    order = list(plan.devices)
    share = costs.memory_bytes[order] / np.maximum(problem.memory_bytes[order], 1e-300)
    fullest = set(np.argsort(-share, kind="stable")[:TRACES].tolist())
    scale, unit = time_unit(run.time_s)
    for k, i in enumerate(order):
        if k not in fullest:
            continue
        moments, levels = np.array(run.memory_trace(i)).T
        colour = COLOURS[len([one for one in fullest if one < k]) % len(COLOURS)]
        ax.step(np.append(moments, run.time_s) * scale,
                100.0 * np.append(levels, levels[-1]) / max(float(problem.memory_bytes[i]), 1e-300), where="post",
                color=colour, linewidth=1.4, label=f"{short_label(problem.device_names[i])}: "
                                                   f"{format_si(float(costs.memory_bytes[i]), 'B')}")
    top = 100.0 * float(share.max())
    if top > 45.0:
        ax.axhline(100.0, color=GREY, linewidth=1.1, linestyle="--")
    text = "Memory over one iteration"
    if len(order) > TRACES:
        text += f", the {TRACES} fullest of {len(order)}"
    style_axes(ax, f"{text} ({solution.method})", f"time [{unit}]", "used [% of capacity]")
    ax.set_xlim(0.0, run.time_s * scale or 1.0)
    ax.set_ylim(0.0, 106.0 if top > 45.0 else 1.15 * top)
    place_legend(ax, title="device: peak", alignment="left")
    return figure


# ---- network, front -----------------------------------------------------------------------------------------------


def _draw_topology(problem: PoolTraining, solution: Solution[Plan, PoolCosts], ax: Any) -> Any:
    plan, _ = solution.found()
    return draw_topology(problem, plan, f"Plan and traffic on the network ({solution.method})", ax)


def _draw_pareto(problem: PoolTraining, solution: Solution[Plan, PoolCosts], ax: Any) -> Any:
    _, costs = solution.found()
    front = resolve("edgealloc.formulations.pool_training.questions.pareto:pareto_front")(
        problem, solution.method, points=7, time_limit_s=60.0, seed=solution.seed, warm_start=solution)
    figure = front.plot(ax)
    axes = figure.axes[0] if ax is None else ax
    axes.plot(costs.time_s * front.time_scale[0], costs.energy_j * front.energy_scale[0], marker="*", markersize=15.0,
              linestyle="", color=COLOURS[3], markeredgecolor="black", zorder=6, label="this solution")
    axes.get_legend().remove()
    place_legend(axes, title="number: devices", alignment="left")
    return figure


#: name -> (problem, solution, axes or None) -> figure.
PLOTS: Final[dict[str, Callable[[PoolTraining, Solution[Plan, PoolCosts], Any], Any]]] = {
    "gantt": _draw_gantt,
    "memory": _draw_memory,
    "memory-trace": _draw_trace,
    "topology": _draw_topology,
    "pareto": _draw_pareto,
}
