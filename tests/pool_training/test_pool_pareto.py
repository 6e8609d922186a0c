"""The front of time and energy against every plan of small pools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_pools import ENUMERATED, all_plans, tiny_pool

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.core.figures import save_figure
from edgealloc.formulations.pool_training.questions.pareto import pareto_front


@pytest.fixture(autouse=True)
def enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method of these tests is gone after them."""
    monkeypatch.setitem(registry._REGISTERED, "pool-training", {ENUMERATED.name: ENUMERATED})


def every_point(problem: ea.PoolTraining) -> np.ndarray:
    found = [problem.evaluate(plan) for plan in all_plans(problem) if problem.relative_violation(plan) <= 1e-9]
    return np.array([(one.time_s, one.energy_j) for one in found])


def convex_corners(points: np.ndarray) -> list[tuple[float, float]]:
    """Corners of the lower left hull, by asking every pair of points whether all others lie above their line."""
    distinct = sorted({(round(float(t), 9), round(float(e), 9)) for t, e in points})
    arrays = np.array(distinct)
    fast = min(distinct)
    slow = min(distinct, key=lambda one: (one[1], one[0]))
    corners = {fast, slow}
    for a in distinct:
        for b in distinct:
            if a[0] < b[0] and a[1] > b[1]:
                w = np.array([a[1] - b[1], b[0] - a[0]])
                worth = arrays @ w
                if worth.min() >= float(np.dot(w, a)) - 1e-9 * abs(float(np.dot(w, a))):
                    corners |= {a, b}
    return sorted(corners)


@pytest.mark.parametrize("seed", range(6))
def test_front_is_the_convex_front_of_all_plans(seed: int) -> None:
    """With an exact method the points are the corners of all plans, and no plan lies below a certified line."""
    problem = tiny_pool(3, 4, ["star", "shared", "line"][seed % 3], seed, memory_bytes=[3e9, 1.2e9, 64e9])
    points = every_point(problem)
    front = pareto_front(problem, "all-plans", points=30, gap=0.0, time_limit_s=None)
    assert front.complete
    assert not front.interrupted
    mine = np.column_stack([front.time_s, front.energy_j])
    for corner in convex_corners(points):
        assert np.isclose(mine, corner, rtol=1e-7).all(axis=1).any(), corner
    assert (np.diff(front.time_s) > 0.0).all()
    assert (np.diff(front.energy_j) < 0.0).all()
    worth = points @ front.bounds[:, :2].T
    assert (worth >= front.bounds[:, 2] * (1.0 - 1e-12)).all()
    assert (front.lower_energy_j(points[:, 0] * (1.0 + 1e-12)) <= points[:, 1] * (1.0 + 1e-9)).all()
    assert front.gaps.max() <= 1e-3  # also the points off the hull are close to it here
    # nothing on it is beaten by any plan
    for t, e in mine:
        assert not ((points[:, 0] < t * (1 - 1e-9)) & (points[:, 1] < e * (1 - 1e-9))).any()


def test_ends_are_exact() -> None:
    problem = tiny_pool(3, 4, seed=8)
    points = every_point(problem)
    front = pareto_front(problem, "all-plans", points=4)
    assert front.time_s[0] == pytest.approx(points[:, 0].min(), rel=1e-12)
    assert front.energy_j[-1] == pytest.approx(points[:, 1].min(), rel=1e-12)
    assert front.lower_energy_j(points[:, 0].min() * 0.99) == np.inf
    assert front.lower_energy_j(1e9) == pytest.approx(points[:, 1].min(), rel=1e-12)


def test_limits_hold_on_the_whole_front() -> None:
    problem = tiny_pool(3, 3, seed=1)
    free = pareto_front(problem, "all-plans")
    deadline = float(free.time_s[:2].mean())
    late = pareto_front(problem.replace(deadline_s=deadline), "all-plans")
    assert late.time_s.max() <= deadline * (1.0 + 1e-9)
    assert late.time_s[0] == pytest.approx(free.time_s[0])


def test_without_bounds_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    def unproven(problem: ea.PoolTraining, run: ea.Run) -> ea.Outcome:
        return dataclasses.replace(ENUMERATED(problem, run), bound=None)

    plain = ea.Method("unproven", "as all-plans, without bounds", run=unproven)
    monkeypatch.setitem(registry._REGISTERED, "pool-training", {"unproven": plain})
    front = pareto_front(tiny_pool(layers=3), "unproven", points=4)
    assert front.bounds.shape == (0, 3)
    assert (front.gaps == 1.0).all()
    assert (front.lower_energy_j(front.time_s) == 0.0).all()
    assert "Nothing is proven" in str(front)


def test_interruption_keeps_what_is_there() -> None:
    calls = []

    def stop(line: ea.Progress) -> None:
        calls.append(line)
        if len(calls) == 8:
            raise KeyboardInterrupt

    front = pareto_front(tiny_pool(), "all-plans", on_progress=stop)
    assert front.interrupted
    assert not front.complete
    assert len(front.plans) >= 1
    assert calls[0].stage == "weights 1: every plan"
    assert "interruption" in str(front)


def test_same_front_twice_and_from_a_warm_start() -> None:
    problem = tiny_pool(layers=3, seed=3)
    first, second = (pareto_front(problem, "all-plans") for _ in range(2))
    assert first.plans == second.plans
    assert (first.bounds == second.bounds).all()
    warm = pareto_front(problem, "all-plans", warm_start=first.plans[0])
    assert warm.time_s == pytest.approx(first.time_s)


def test_refuses() -> None:
    with pytest.raises(ea.DataError, match="points"):
        pareto_front(tiny_pool(), points=1)
    with pytest.raises(ea.InfeasibleError):
        pareto_front(tiny_pool(memory_bytes=1e6), "all-plans")
    with pytest.raises(ea.DataError, match=r"\.csv"):
        pareto_front(tiny_pool(), "all-plans", points=2).save("front.txt")


def test_tables_and_picture(tmp_path: Path) -> None:
    problem = tiny_pool(layers=3, carbon_g_per_kwh=400.0, parallelisms=("single", "data", "pipeline"))
    front = pareto_front(problem, "all-plans")
    frame = front.to_frame()
    assert frame["energy_per_sample_j"].to_numpy() * 4 == pytest.approx(front.energy_j)
    assert frame["co2_g_per_sample"].to_numpy() == pytest.approx(front.energy_j / 4 / 3.6e6 * 400.0)
    back = pd.read_csv(front.save(tmp_path / "front.csv"))
    assert back["time_s"].to_numpy() == pytest.approx(front.time_s, rel=1e-15)
    assert front.to_markdown().count("\n") == len(front.plans) + 1
    assert "CO2" in str(front)
    assert save_figure(front.plot(), tmp_path / "front.png").stat().st_size > 5000
    solution = problem.solve("all-plans")
    figure = solution.plot("pareto")
    assert "this solution" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
