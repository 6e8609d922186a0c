"""The network of a pool as a picture: who takes part, which stage, how many bytes flow where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.figures import COLOURS, GREY, new_figure, place_legend, style_axes
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["draw_topology"]

FloatArray = npt.NDArray[np.float64]
Position = Mapping[int, tuple[float, float]]

#: Links are labelled with their rates up to this many pairs of nodes.
RATES_UP_TO: Final = 14
#: Links without traffic are drawn up to this many pairs of nodes.
UNUSED_UP_TO: Final = 400
#: Widest arrow, in points.
WIDEST: Final = 6.0
LEFT_OUT: Final = "#DDDDDD"


def draw_topology(problem: PoolTraining, plan: Plan, title: str, ax: Any = None) -> Any:
    """Nodes coloured by stage, arrows as wide as their traffic, rates where there is room."""
    count = len(problem.topology.nodes)
    place = _layout(problem, plan)
    if ax is None:
        side = float(np.clip(4.6 + 0.07 * count, 5.0, 9.0))
        extent = np.ptp(np.array(list(place.values())), axis=0) + 0.5
        figure, ax = new_figure(width=side + 2.4, height=float(np.clip(side * extent[1] / extent[0], 2.6, side + 0.4)))
    else:
        figure = ax.figure
    colours = _stage_colours(len(plan.stages))
    flow, unused = _flows(problem, plan)
    shared = _is_one_channel(problem)
    for a, b in unused if len(unused) <= UNUSED_UP_TO and not shared else ():
        ax.plot(*zip(place[a], place[b], strict=True), color="#CCCCCC", linewidth=0.8, zorder=1)
    largest = max(flow.values(), default=1.0)
    size = _node_size(count)
    for (a, b), amount in sorted(flow.items()):
        both = (b, a) in flow
        _arrow(ax, place[a], place[b], _widest(count) * max(amount / largest, 0.08), size, 0.13 if both else 0.0)
    _rates(problem, ax, place, shared)
    _nodes(problem, plan, ax, place, colours, size)
    style_axes(ax, title, grid="")
    _frame(ax, place)
    _legend(problem, plan, ax, colours, largest if flow else None)
    return figure


def _is_one_channel(problem: PoolTraining) -> bool:
    """Every device reaches every other directly, over one medium."""
    d = problem.devices
    return problem.topology.media == 1 and problem.topology.links == d * (d - 1) and d > 2


def _layout(problem: PoolTraining, plan: Plan) -> Position:
    """Where nodes stand: a ring where nothing else is to be seen, else by NetworkX from the graph."""
    import networkx as nx

    topology, d = problem.topology, problem.devices
    pairs = {tuple(sorted(end)) for end in topology.ends.tolist()}
    nodes = range(len(topology.nodes))
    order = [*plan.devices, *(i for i in range(d) if i not in set(plan.devices))]
    relays = [k for k in nodes if k >= d]
    complete = len(pairs) >= 0.9 * d * (d - 1) / 2 and not relays
    star = len(relays) == 1 and all(relays[0] in pair for pair in pairs)
    degree = np.bincount(np.array(sorted(pairs), dtype=np.int64).reshape(-1), minlength=len(nodes))
    if complete or star:
        place = _ring(order)
        if star:
            place[relays[0]] = (0.0, 0.0)
        return place
    if len(pairs) == len(nodes) - 1 and degree.max() <= 2 and len(nodes) > 2:
        return _snake(sorted(pairs), int(np.flatnonzero(degree == 1)[0]), len(nodes))
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(sorted(pairs))
    found = nx.kamada_kawai_layout(graph) if len(nodes) <= 120 else nx.spring_layout(graph, seed=0)
    return {int(k): (float(x), float(y)) for k, (x, y) in found.items()}


def _ring(order: list[int]) -> dict[int, tuple[float, float]]:
    first = math.pi if len(order) == 2 else math.pi / 2.0
    angle = first - 2.0 * math.pi * np.arange(len(order)) / max(len(order), 1)
    return {i: (float(np.cos(one)), float(np.sin(one))) for i, one in zip(order, angle, strict=True)}


def _snake(pairs: list[tuple[int, ...]], start: int, count: int) -> dict[int, tuple[float, float]]:
    """A chain of nodes, folded into rows of at most eight."""
    near: dict[int, list[int]] = {}
    for a, b in pairs:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    chain, before = [start], -1
    while len(chain) < count:
        following = next(one for one in near[chain[-1]] if one != before)
        before = chain[-1]
        chain.append(following)
    wide = math.ceil(count / math.ceil(count / 8))
    place = {}
    for k, node in enumerate(chain):
        row, column = divmod(k, wide)
        place[node] = (float(column if row % 2 == 0 else wide - 1 - column) / 2.5, -0.5 * row)
    return place


def _flows(problem: PoolTraining, plan: Plan) -> tuple[dict[tuple[int, int], float], list[tuple[int, int]]]:
    """Bytes over every link that has any, by its nodes, and the pairs of nodes whose links have none."""
    topology = problem.topology
    amount = np.zeros(topology.links)
    for (i, j), size in problem.schedule(plan).traffic.items():
        amount[list(problem.network.route(i, j))] += size
    flow = {(int(a), int(b)): float(one) for (a, b), one in zip(topology.ends, amount, strict=True) if one > 0.0}
    pairs = {(int(min(a, b)), int(max(a, b))) for a, b in topology.ends}
    return flow, sorted(pair for pair in pairs if pair not in flow and pair[::-1] not in flow)


def _node_size(count: int) -> float:
    """Diameter of a node in points."""
    return float(np.clip(110.0 / math.sqrt(max(count, 1)), 12.0, 26.0))


def _widest(count: int) -> float:
    """Width of the arrow with the most traffic, in points."""
    return float(np.clip(36.0 / max(count, 1), 2.0, WIDEST))


def _arrow(ax: Any, start: Any, end: Any, width: float, size: float, bend: float) -> None:
    from matplotlib.patches import FancyArrowPatch

    ax.add_patch(FancyArrowPatch(
        start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=5.0 + 2.0 * width,
        shrinkA=size / 2.0 + 1.0, shrinkB=size / 2.0 + 1.0, linewidth=width, color=COLOURS[1], alpha=0.85, zorder=2))


def _rates(problem: PoolTraining, ax: Any, place: Position, shared: bool) -> None:
    """Rates beside the links; where all are equal, or too many, one line below the picture."""
    topology = problem.topology
    rates = topology.rate_bits_per_s
    if not topology.links:
        return
    low, high = float(rates.min()), float(rates.max())
    by_pair: dict[tuple[int, int], list[float]] = {}
    for (a, b), rate in zip(topology.ends.tolist(), rates, strict=True):
        by_pair.setdefault((min(a, b), max(a, b)), []).append(float(rate))
    if shared or (topology.media == 1 and len(by_pair) > 1):
        note = f"one shared channel of {format_si(high, 'bit/s')}" if low == high else (
            f"one shared channel, {format_si(low, 'bit/s')} to {format_si(high, 'bit/s')}")
    elif low == high:
        note = f"all links {format_si(high, 'bit/s')}"
    elif len(by_pair) > RATES_UP_TO:
        note = f"links of {format_si(low, 'bit/s')} to {format_si(high, 'bit/s')}"
    else:
        note = ""
        for (a, b), both in by_pair.items():
            text = " / ".join(dict.fromkeys(format_si(one, "bit/s") for one in both))
            (x0, y0), (x1, y1) = place[a], place[b]
            ax.text((x0 + x1) / 2.0, (y0 + y1) / 2.0, text, ha="center", va="center", fontsize=7.5, color=GREY,
                    zorder=3, bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8})
    if note:
        ax.text(0.0, -0.02, note, transform=ax.transAxes, ha="left", va="top", fontsize=9.0, color=GREY)


def _nodes(problem: PoolTraining, plan: Plan, ax: Any, place: Position, colours: list[Any], size: float) -> None:
    stage_of = {i: p for p, group in enumerate(plan.stages) for i in group}
    staged = plan.parallelism in ("pipeline", "hybrid")
    many = len(place) > 25
    near: dict[int, list[int]] = {}
    for a, b in problem.topology.ends.tolist():
        near.setdefault(a, []).append(b)
    ring = _is_ring(place, problem.devices)
    for k, name in enumerate(problem.topology.nodes):
        x, y = place[k]
        p = stage_of.get(k)
        relay = k >= problem.devices
        face = "white" if relay else LEFT_OUT if p is None else colours[p]
        ax.plot(x, y, marker="s" if relay else "o", markersize=size * (0.8 if relay else 1.0), markerfacecolor=face,
                markeredgecolor=GREY if p is None else "black", markeredgewidth=1.2, linestyle="", zorder=4)
        if p is not None and staged:
            ax.text(x, y, str(p), ha="center", va="center", zorder=5, fontsize=min(0.42 * size, 10.0),
                    color=_ink(face), fontweight="bold")
        angle = math.atan2(y, x) if ring and not relay else _free_side(k, near.get(k, []), place)
        side, gap = (math.cos(angle), math.sin(angle)), size / 2.0 + 3.0
        options: dict[str, Any] = {"ha": "center" if abs(side[0]) < 0.35 else "left" if side[0] > 0.0 else "right",
                                   "va": "center" if abs(side[1]) < 0.35 else "bottom" if side[1] > 0.0 else "top"}
        if ring and many and not relay:  # like the spokes of a wheel, so that neighbours do not meet
            turned = math.degrees(angle)
            flip = abs(turned) > 90.0
            options = {"rotation": turned + 180.0 if flip else turned, "rotation_mode": "anchor", "va": "center",
                       "ha": "right" if flip else "left"}
        ax.annotate(name, (x, y), xytext=(gap * side[0], gap * side[1]), textcoords="offset points",
                    fontsize=7.0 if many else 9.0, zorder=6, color="black" if p is not None else GREY,
                    bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7}, **options)


def _is_ring(place: Position, devices: int) -> bool:
    """All devices stand on the unit circle."""
    return all(abs(math.hypot(*place[i]) - 1.0) < 1e-9 for i in range(devices))


def _free_side(node: int, near: list[int], place: Position) -> float:
    """The angle, of ten, that is farthest from the links of a node; below it among equals."""
    x, y = place[node]
    taken = [math.atan2(place[other][1] - y, place[other][0] - x) for other in near]
    angles = [math.radians(one) for one in (-90.0, 90.0, 0.0, 180.0, -45.0, -135.0, 45.0, 135.0, -22.5, 22.5)]

    def distance(angle: float) -> float:
        return min((abs(math.remainder(angle - one, 2.0 * math.pi)) for one in taken), default=math.pi)

    return max(angles, key=lambda angle: round(distance(angle), 6))


def _ink(face: Any) -> str:
    """Black or white, whichever is easier to read on a colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(face)
    return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"


def _stage_colours(count: int) -> list[Any]:
    if count <= len(COLOURS) - 1:
        return [COLOURS[k] for k in (0, 2, 4, 5, 6, 3, 1)][:count]
    import matplotlib as mpl

    return list(mpl.colormaps["viridis"](np.linspace(0.0, 1.0, count)))


def _frame(ax: Any, place: Position) -> None:
    points = np.array(list(place.values()))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.16 * max(float((high - low).max()), 0.5) + 0.06
    ax.set_xlim(low[0] - 1.5 * margin, high[0] + 1.5 * margin)
    ax.set_ylim(low[1] - margin, high[1] + margin)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_aspect("equal")


def _legend(problem: PoolTraining, plan: Plan, ax: Any, colours: list[Any], largest: float | None) -> None:
    from matplotlib.lines import Line2D

    def dot(colour: Any, marker: str = "o", edge: str = "black") -> Any:
        return Line2D([], [], linestyle="", marker=marker, markersize=8.0, markerfacecolor=colour, markeredgecolor=edge)

    handles, labels = [], []
    if plan.parallelism in ("pipeline", "hybrid"):
        starts = plan.first_layers
        wanted = range(len(plan.stages)) if len(plan.stages) <= 12 else (0, len(plan.stages) - 1)
        for p in wanted:
            handles.append(dot(colours[p]))
            labels.append(f"stage {p}: layers {starts[p]} to {starts[p + 1] - 1}")
    else:
        handles.append(dot(colours[0]))
        labels.append(f"{plan.parallelism}: {len(plan.devices)} devices" if len(plan.devices) > 1 else "trains alone")
    if len(plan.devices) < problem.devices:
        handles.append(dot(LEFT_OUT, edge=GREY))
        labels.append("does not take part")
    if len(problem.topology.nodes) > problem.devices:
        handles.append(dot("white", "s", GREY))
        labels.append("relay")
    if largest is not None:
        handles.append(Line2D([], [], color=COLOURS[1], linewidth=_widest(len(problem.topology.nodes)), alpha=0.85))
        labels.append(f"{format_si(largest, 'B')} an iteration")
    place_legend(ax, handles=handles, labels=labels)
