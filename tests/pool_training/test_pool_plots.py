"""Pictures of pool training: every one for every kind of plan, and that what they show is what happens."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pools import FIXED, fixed, pipeline, tiny_pool

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.core.figures import new_figure, save_figure
from edgealloc.formulations.pool_training.plots import BOXES_UP_TO, MEDIA_SHOWN, covered

PICTURES = ("gantt", "memory", "memory-trace", "topology")


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method of these tests is gone after them."""
    monkeypatch.setitem(registry._REGISTERED, "pool-training", {FIXED.name: FIXED})


def tree() -> ea.Topology:
    import networkx as nx

    graph: Any = nx.Graph()
    graph.add_nodes_from(f"device-{i}" for i in range(4))
    for a, b, rate in (("device-0", "ap", 3e8), ("device-1", "ap", 1e8), ("ap", "switch", 1e9),
                       ("device-2", "switch", 1e9), ("device-3", "switch", 1e9)):
        graph.add_edge(a, b, rate_bits_per_s=rate)
    return ea.Topology.of_graph(graph, [f"device-{i}" for i in range(4)])


@lru_cache
def case(name: str) -> ea.Solution[ea.Plan, ea.PoolCosts]:
    if name == "single":
        problem = tiny_pool(1, 2, "mesh")
        return fixed(problem, ea.Plan("single", ((0,),), (2,), ((4,),)))
    if name == "tree":
        problem = tiny_pool(4, 4, tree(), memory_bytes=[64e9, 4e9, 4e9, 999e9])
        return fixed(problem, pipeline(problem, (0, 2, 1), (1, 2, 1)))
    if name == "line":
        problem = tiny_pool(10, 4, "line")
        return fixed(problem, pipeline(problem, (3, 4, 5), (1, 2, 1)))
    if name == "hybrid":
        problem = tiny_pool(5, 4, "mesh")
        return fixed(problem, ea.Plan("hybrid", ((4, 0), (2,)), (3, 1), ((1, 1), (2,))))
    if name == "many":
        problem = tiny_pool(40, 40, "star")
        return fixed(problem, pipeline(problem, tuple(range(35)), (1,) * 30 + (2,) * 5))
    if name == "long":
        problem = tiny_pool(8, 60, "star", heads=8)
        return fixed(problem, ea.Plan("tensor", (tuple(range(8)),), (60,), ((1,) * 8,)))
    kind, units = name, {"data": (2, 1, 1), "sequence": (2, 1, 1), "tensor": (1, 2, 1)}
    problem = tiny_pool(4, 4, "shared")
    return fixed(problem, ea.Plan(kind, ((0, 3, 1),), (4,), (units[kind],)))


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("what", PICTURES)
@pytest.mark.parametrize("name", ["single", "tree", "line", "hybrid", "data", "sequence", "tensor", "many", "long"])
def test_draws(name: str, what: str, tmp_path: Path) -> None:
    solution = case(name)
    figure = solution.plot(what)
    assert figure.axes[0].get_title(loc="left")
    if name not in ("tree", "hybrid"):  # drawing to pixels is what takes long
        return
    assert save_figure(figure, tmp_path / "x.png").stat().st_size > 5000
    _, ax = new_figure()
    assert solution.plot(what, ax=ax) is ax.figure
    assert ax.get_title(loc="left")


def test_names() -> None:
    solution = case("single")
    assert ea.PoolTraining.PLOTS[0] == "gantt"
    with pytest.raises(ea.DataError, match="did you mean 'gantt'"):
        solution.plot("gant")


def boxes(ax: Any) -> float:
    """Area of all boxes, which are 0.76 high."""
    total = 0.0
    for one in ax.collections:
        for path in one.get_paths():
            low, high = path.vertices.min(axis=0), path.vertices.max(axis=0)
            total += (high[0] - low[0]) * (high[1] - low[1])
    return total / 0.76


def test_timetable_shows_all_work() -> None:
    """The boxes of the devices are as long as they compute, those of the media as long as they carry bytes."""
    solution = case("tree")
    problem, costs = solution.problem, solution.costs
    assert costs is not None
    ax = solution.plot("gantt").axes[0]
    airtime = solution.servers_frame()["airtime_s"].sum()
    drawn = boxes(ax)
    # a hand-over holds every link of its route for as long as the slowest: at least the airtime
    assert drawn >= costs.busy_s.sum() + airtime * (1.0 - 1e-9)
    hold = sum(problem.micro_batches * problem.network.phase([(i, j, problem.micro_batch * 2e6)])[0]
               * len(problem.network.route(i, j)) for i, j in ((0, 2), (2, 0), (2, 1), (1, 2)))
    assert drawn == pytest.approx(costs.busy_s.sum() + hold, rel=1e-6)
    assert [text.get_text() for text in ax.get_yticklabels()][:3] == ["device-0 · 0", "device-2 · 1", "device-1 · 2"]


def test_large_timetables_are_shares_of_time() -> None:
    """Nothing is left out: the filled area is the time that is spent."""
    solution = case("long")
    costs = solution.costs
    assert costs is not None
    assert BOXES_UP_TO < 2 * 60
    ax = solution.plot("gantt").axes[0]
    assert "share of the time" in ax.get_xlabel()
    assert len(ax.get_yticks()) == 8 + MEDIA_SHOWN
    area = 0.0
    for one in ax.collections:
        for path in one.get_paths():
            x, y = path.vertices[:-1].T
            area += 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    scale = ax.get_xlim()[1] / 1.002 / costs.time_s
    events = solution.problem.schedule(solution.allocation).events
    reduce = costs.time_s - sum(event.end_s - event.start_s for event in events
                                if event.kind in ("forward", "backward") and event.devices == (slowest(solution),))
    assert area / 0.76 / scale == pytest.approx(costs.busy_s.sum() + MEDIA_SHOWN * reduce, rel=1e-6)


def slowest(solution: ea.Solution[ea.Plan, ea.PoolCosts]) -> int:
    assert solution.costs is not None
    return int(solution.costs.busy_s.argmax())


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12, unique=True), st.integers(1, 9))
def test_covered(moments: list[float], intervals: int) -> None:
    """Shares of intervals against a sum over spans and intervals."""
    points = sorted(moments[: len(moments) // 2 * 2])
    spans = np.array(points).reshape(-1, 2)
    edges = np.linspace(0.0, 1.0, intervals + 1)
    expected = [sum(max(min(b, high) - max(a, low), 0.0) for a, b in spans) / (high - low)
                for low, high in pairwise(edges)]
    assert covered(spans, edges) == pytest.approx(expected, abs=1e-12)


def test_memory_bars_are_the_peaks() -> None:
    solution = case("tree")
    costs, plan = solution.costs, solution.allocation
    assert costs is not None
    assert plan is not None
    ax = solution.plot("memory").axes[0]
    filled = [bar for bar in ax.patches if bar.get_facecolor()[3] > 0.0]
    ends = [max(bar.get_x() + bar.get_width() for bar in filled if abs(bar.get_y() + bar.get_height() / 2 - row) < 0.01)
            for row in range(3)]
    assert np.array(ends) * 1e9 == pytest.approx(costs.memory_bytes[list(plan.devices)])


def test_memory_over_time_peaks_at_the_peak() -> None:
    solution = case("hybrid")
    costs = solution.costs
    assert costs is not None
    ax = solution.plot("memory-trace").axes[0]
    highest = max(line.get_ydata().max() for line in ax.lines if line.get_drawstyle().startswith("steps"))
    share = costs.memory_bytes / solution.problem.memory_bytes
    assert highest == pytest.approx(100.0 * share.max())


def test_arrows_are_the_traffic() -> None:
    """One arrow per link that carries bytes, the widest for the most."""
    from matplotlib.patches import FancyArrowPatch

    solution = case("tree")
    costs = solution.costs
    assert costs is not None
    ax = solution.plot("topology").axes[0]
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == int((costs.link_bytes > 0.0).sum())
    assert max(one.get_linewidth() for one in arrows) > min(one.get_linewidth() for one in arrows)
    names = {text.get_text() for text in ax.texts}
    assert {"device-0", "device-3", "ap", "switch", "0", "1", "2"} <= names
