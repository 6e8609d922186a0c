"""Pictures of a SplitTraining solution: map, cuts, loads and costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.figures import COLOURS, GREY, new_figure, place_legend, style_axes
from edgealloc.formulations.split_training.allocation import Allocation, Costs
from edgealloc.formulations.split_training.views import servers_table

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["PLOTS", "plot"]

#: Lines from users to servers are drawn up to this many users.
LINES_UP_TO: Final = 2000
#: Legends name at most this many servers.
NAMED_UP_TO: Final = 12
#: Stacked costs have at most this many steps.
STEPS_UP_TO: Final = 300
LOCAL_COLOUR: Final = "#BBBBBB"


def plot(problem: SplitTraining, solution: Solution[Allocation, Costs], what: str, ax: Any = None) -> Any:
    """Draw one of `PLOTS` and return the matplotlib figure.

    Parameters
    ----------
    problem : SplitTraining
    solution : Solution
        With an allocation.
    what : str
        "map": users and servers where they stand (or side by side without coordinates), coloured by server,
        the larger the fewer layers stay on the device; "cuts": local layers by server; "loads": use and
        prices of band and clock; "costs": delay and energy of every user by part.
    ax : matplotlib.axes.Axes, optional
        "loads" and "costs" draw their first panel there.

    Raises
    ------
    DataError
        Unknown name; the message lists what there is.
    """
    return PLOTS[problem.check_plot(what)](problem, solution, ax)


def _server_names(problem: SplitTraining) -> list[str]:
    if problem.server_names is not None:
        return [str(name) for name in problem.server_names]
    return [f"server {m}" for m in range(problem.servers)]


def _server_colours(count: int) -> list[Any]:
    """Okabe & Ito's colours for few servers, evenly spaced ones of a perceptual map for many."""
    if count <= len(COLOURS) - 1:
        return list(COLOURS[:count])
    import matplotlib as mpl

    return list(mpl.colormaps["turbo"](np.linspace(0.05, 0.95, count)))


# ---- map --------------------------------------------------------------------------------------------------


def _draw_map(problem: SplitTraining, solution: Solution[Allocation, Costs], ax: Any) -> Any:
    allocation, _ = solution.found()
    figure, ax = new_figure(width=8.0, height=6.0) if ax is None else (ax.figure, ax)
    placed = problem.user_xy_m is not None and problem.server_xy_m is not None
    users, servers, unit = _metres(problem) if placed else _side_by_side(problem, allocation)
    colours, names = _server_colours(problem.servers), _server_names(problem)
    load = np.bincount(allocation.server[allocation.server >= 0], minlength=problem.servers)
    many = problem.users > LINES_UP_TO
    sizes = _marker_sizes(problem, allocation.local_layers)
    if not many:
        _draw_links(ax, users, servers, allocation.server, colours)
    alone = allocation.server < 0
    if alone.any():
        ax.scatter(*users[alone].T, s=sizes[alone], color=LOCAL_COLOUR, marker="o", linewidths=0.0, zorder=2,
                   label=f"fully local: {int(alone.sum())}", rasterized=many)
    for m in range(problem.servers):
        mine = allocation.server == m
        label = f"{names[m]}: {int(load[m])}" if problem.servers <= NAMED_UP_TO else None
        ax.scatter(*users[mine].T, s=sizes[mine], color=[colours[m]], linewidths=0.0, zorder=2, label=label,
                   alpha=0.7 if many else 0.9, rasterized=many)
    ax.scatter(*servers.T, s=110.0, marker="s", c=colours, edgecolors="black", linewidths=1.2, zorder=4)
    if problem.servers <= NAMED_UP_TO:
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
        for m, (x, y) in enumerate(servers):
            ax.annotate(names[m], (x, y), xytext=(0.0, 9.0), textcoords="offset points", ha="center",
                        zorder=5, fontsize=8.5, bbox=box)
    title = f"Association and cuts ({solution.method})"
    if placed:
        style_axes(ax, title, f"x [{unit}]", f"y [{unit}]")
        ax.set_aspect("equal", adjustable="datalim")
    else:
        style_axes(ax, f"{title}; no coordinates", "", "", grid="")
        ax.set_xticks([0.0, 1.0], ["users", "servers"])
        ax.set_yticks([])
        ax.set_xlim(-0.15, 1.15)
        ax.spines["left"].set_visible(False)
    place_legend(ax, title="users by server", alignment="left")
    _size_legend(problem, allocation, ax)
    return figure


def _metres(problem: SplitTraining) -> tuple[Any, Any, str]:
    """Coordinates in metres, or kilometres where that is shorter."""
    reach = float(np.ptp(np.vstack([problem.user_xy_m, problem.server_xy_m]), axis=0).max())
    scale, unit = (1e-3, "km") if reach >= 5e3 else (1.0, "m")
    return problem.user_xy_m * scale, problem.server_xy_m * scale, unit


def _side_by_side(problem: SplitTraining, allocation: Allocation) -> tuple[Any, Any, str]:
    """Users on the left, sorted by server, and servers on the right: needs no coordinates."""
    order = np.argsort(allocation.server, kind="stable")
    height = np.empty(problem.users)
    height[order] = np.linspace(0.0, 1.0, problem.users) if problem.users > 1 else 0.5
    step = np.linspace(0.0, 1.0, problem.servers) if problem.servers > 1 else np.array([0.5])
    return (np.column_stack([np.zeros(problem.users), height]),
            np.column_stack([np.ones(problem.servers), step]), "")


def _marker_sizes(problem: SplitTraining, local_layers: Any) -> Any:
    """Area of a marker: the more layers stay on the device, the larger; all smaller where there are many users."""
    scale = float(np.clip(4.0e4 / problem.users, 3.0, 70.0))
    return scale * (0.25 + 1.75 * np.asarray(local_layers) / problem.layers)


def _draw_links(ax: Any, users: Any, servers: Any, association: Any, colours: list[Any]) -> None:
    from matplotlib.collections import LineCollection

    n = np.flatnonzero(association >= 0)
    segments = np.stack([users[n], servers[association[n]]], axis=1)
    ax.add_collection(LineCollection(list(segments), colors=[colours[m] for m in association[n]],
                                     linewidths=0.6, alpha=0.35, zorder=1))


def _size_legend(problem: SplitTraining, allocation: Allocation, ax: Any) -> None:
    """A second legend: marker size by local layers."""
    from matplotlib.lines import Line2D

    found = np.unique(allocation.local_layers)
    shown = found[np.unique(np.linspace(0, found.size - 1, min(found.size, 4)).astype(int))]
    handles = [Line2D([], [], linestyle="", marker="o", color=GREY,
                      markersize=float(np.sqrt(_marker_sizes(problem, cut)))) for cut in shown]
    place_legend(ax, handles=handles, labels=[str(int(cut)) for cut in shown], title="local layers",
                 alignment="left", loc="lower left", bbox_to_anchor=(1.01, 0.0))


# ---- cuts -------------------------------------------------------------------------------------------------


def _draw_cuts(problem: SplitTraining, solution: Solution[Allocation, Costs], ax: Any) -> Any:
    allocation, _ = solution.found()
    figure, ax = new_figure(width=8.0) if ax is None else (ax.figure, ax)
    grid = np.arange(problem.layers + 1)
    bottom = np.zeros(problem.layers + 1)
    groups: list[tuple[str, Any, npt.NDArray[np.bool_]]] = []
    if problem.servers <= NAMED_UP_TO:
        colours, names = _server_colours(problem.servers), _server_names(problem)
        groups += [(names[m], colours[m], allocation.server == m) for m in range(problem.servers)]
    else:
        groups.append(("offloading", COLOURS[0], allocation.server >= 0))
    groups.append(("fully local", LOCAL_COLOUR, allocation.server < 0))
    for name, colour, mine in groups:
        count = np.bincount(allocation.local_layers[mine], minlength=problem.layers + 1)
        if count.any():
            ax.bar(grid, count, bottom=bottom, color=[colour], width=0.84, label=name)
            bottom += count
    cuts = problem.cuts
    top = np.where(cuts.local, problem.layers, cuts.high)
    low = np.where(cuts.low <= cuts.high, cuts.low, problem.layers)
    inside = int(((allocation.local_layers > low) & (allocation.local_layers < top)).sum())
    # how many users may choose a cut at all: the frame in which the histogram lives
    change = np.zeros(problem.layers + 2)
    splittable = cuts.low <= cuts.high
    np.add.at(change, cuts.low[splittable], 1.0)
    np.add.at(change, cuts.high[splittable] + 1, -1.0)
    allowed = np.cumsum(change)[:-1]
    allowed[problem.layers] += cuts.local.sum()
    ax.step(np.append(grid - 0.5, problem.layers + 0.5), np.append(allowed, allowed[-1]), where="post",
            color=GREY, linewidth=1.2, linestyle=":", label="users allowed this cut")
    style_axes(ax, f"Cuts; {inside} of {problem.users} strictly inside their range ({solution.method})",
               "local layers (cut)", "users", grid="y")
    ax.set_xlim(-0.7, problem.layers + 0.7)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.get_major_locator().set_params(integer=True)
    place_legend(ax)
    return figure


# ---- loads ------------------------------------------------------------------------------------------------


def _draw_loads(problem: SplitTraining, solution: Solution[Allocation, Costs], ax: Any) -> Any:
    table = servers_table(problem, solution)
    width = float(np.clip(3.0 + 0.55 * problem.servers, 6.5, 14.0))
    if ax is None:
        figure, panels = new_figure(3, 1, width=width, height=6.4, sharex=True, height_ratios=(3, 2, 2))
    else:
        figure, panels = ax.figure, [ax]
    x = np.arange(problem.servers)
    panels[0].bar(x - 0.2, 100.0 * table["bandwidth_share"], width=0.38, color=COLOURS[0], label="bandwidth")
    panels[0].bar(x + 0.2, 100.0 * table["server_frequency_share"], width=0.38, color=COLOURS[1],
                  label="clock")
    style_axes(panels[0], f"Load and prices of the servers ({solution.method})", "", "used [%]", grid="y")
    panels[0].set_ylim(0.0, 118.0)
    if problem.servers <= 25:
        for m in range(problem.servers):
            panels[0].text(x[m], 103.0, str(int(table["users"][m])), ha="center", fontsize=8.5, color=GREY)
    place_legend(panels[0], title="above the bars: users", alignment="left")
    kinds = (("price", "at this cut", "o"), ("bound_price", "proving the bound", "D"))
    if len(panels) == 3:
        for panel, name, unit, scale, colour in ((panels[1], "bandwidth", "MHz", 1e6, COLOURS[0]),
                                                 (panels[2], "server_frequency", "GHz", 1e9, COLOURS[1])):
            highest = 0.0
            for kind, label, marker in kinds:
                price = table[f"{kind}_{name}_per_hz"] * scale
                if np.isfinite(price).any():
                    panel.plot(x, price, linestyle="", marker=marker, color=colour, label=label,
                               markersize=7.0, markerfacecolor=colour if kind == "price" else "none")
                    highest = max(highest, float(np.nanmax(price)))
            style_axes(panel, "", "", f"price\n[objective/{unit}]")
            panel.set_ylim(-0.06 * (highest or 1.0), 1.18 * (highest or 1.0))
            place_legend(panel, title=f"one more {unit}", alignment="left")
    last = panels[-1]
    if problem.servers <= 25:
        long = max(len(name) for name in _server_names(problem)) * problem.servers > 60
        last.set_xticks(x, _server_names(problem), rotation=35 if long else 0,
                        ha="right" if long else "center")
    else:
        last.set_xlabel("server")
    return figure


# ---- costs ------------------------------------------------------------------------------------------------


def _draw_costs(problem: SplitTraining, solution: Solution[Allocation, Costs], ax: Any) -> Any:
    _, costs = solution.found()
    if ax is None:
        figure, panels = new_figure(2, 1, width=8.5, height=6.2)
    else:
        figure, panels = ax.figure, [ax]
    upload = "upload" if problem.count_upload_delay else "upload (not counted)"
    delays = {"device": costs.device_delay_s, upload: costs.upload_delay_s, "server": costs.server_delay_s,
              "fixed": costs.fixed_delay_s}
    energies = {"device": costs.device_energy_j, "upload": costs.upload_energy_j,
                "server": costs.server_energy_j, "idle": costs.idle_energy_j}
    title = "Delay and energy of every user" if len(panels) == 2 else "Delay of every user"
    _stack(panels[0], delays, "delay [s]", f"{title} ({solution.method})")
    if len(panels) == 2:
        _stack(panels[1], energies, "energy [J]", "")
    return figure


def _stack(ax: Any, parts: dict[str, Any], label: str, title: str) -> None:
    """Stacked areas over the users, sorted by the total."""
    total = np.sum(list(parts.values()), axis=0)
    order = np.argsort(-total, kind="stable")
    # one step per user, or per group of neighbours in this order where steps would be thinner than a dot
    edges = np.unique(np.linspace(0, order.size, min(order.size, STEPS_UP_TO) + 1).astype(int))
    sizes = np.diff(edges)
    bottom = np.zeros(sizes.size)
    colours = (COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[4])
    for (name, values), colour in zip(parts.items(), colours, strict=True):
        if not values.any():
            continue
        top = bottom + np.add.reduceat(values[order], edges[:-1]) / sizes
        ax.fill_between(edges + 0.5, np.append(bottom, bottom[-1]), np.append(top, top[-1]), step="post",
                        color=colour, linewidth=0.0, label=f"{name}: mean {values.mean():.3g}")
        bottom = top
    style_axes(ax, title, f"users, sorted by {label.split(' ', maxsplit=1)[0]}", label, grid="y")
    ax.set_xlim(0.5, order.size + 0.5)
    ax.set_ylim(bottom=0.0)
    if order.size <= 20:
        ax.set_xticks(np.arange(1, order.size + 1), [str(n) for n in order])
    place_legend(ax)


#: name -> (problem, solution, axes or None) -> figure.
PLOTS: Final[dict[str, Callable[[SplitTraining, Solution[Allocation, Costs], Any], Any]]] = {
    "map": _draw_map,
    "cuts": _draw_cuts,
    "loads": _draw_loads,
    "costs": _draw_costs,
}
