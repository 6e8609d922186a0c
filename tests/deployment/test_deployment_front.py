"""Fronts of two metrics against every rollout of tiny fleets."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deployment_oracle import every_rollout, random_deployment

import edgealloc as ea
from edgealloc import DataError, Deployment, Progress
from edgealloc.core.figures import save_figure

AMOUNTS = {"delay": "mean_delay_s", "energy": "mean_energy_j", "hallucination": "hallucination", "accuracy": "error",
           "accessibility": "inaccessible"}
PAIRS = [("delay", "energy"), ("delay", "accuracy"), ("hallucination", "delay"), ("accuracy", "energy"),
         ("accessibility", "energy"), ("hallucination", "accessibility")]
EASY: dict[str, Any] = {"load_limit": 0.9, "accuracy_floor": 0.0, "deadline_s": None, "hallucination_ceiling": 1.0,
                        "airtime_limit": None, "device_memory_bytes": 8e9, "usable_tokens_per_s": 10.0, "runs": True,
                        "energy_limit_j": None, "error_limit": None, "hallucination_limit": None,
                        "inaccessible_limit": None}


def tiny(seed: int, **changes: Any) -> Deployment:
    return random_deployment(seed, 2, 3, 2, 1, **EASY | changes)


def every_point(problem: Deployment, x: str, y: str) -> np.ndarray:
    """(R, 2) amounts of all rollouts that keep the limits."""
    found = [problem.evaluate(one) for one in every_rollout(problem)]
    return np.array([(getattr(one, AMOUNTS[x]), getattr(one, AMOUNTS[y])) for one in found])


def corners(points: np.ndarray) -> np.ndarray:
    """What no other point beats in both, by asking every pair; differences of a billionth are none."""
    rounded = np.unique(points.round(9), axis=0)
    kept = [one for one in rounded
            if not ((rounded <= one).all(axis=1) & (rounded < one).any(axis=1)).any()]
    return np.array(sorted(map(tuple, kept)))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_front_is_that_of_all_rollouts(pair: tuple[str, str]) -> None:
    """Points are undominated among all rollouts, the ends are the least of either metric, nothing lies in the region
    that is proven to be out of reach, and a complete front has every point."""
    x, y = pair
    for seed in (2, 6):
        problem = tiny(seed)
        points = every_point(problem, x, y)
        expected = corners(points)
        front = ea.pareto_front(problem, x=x, y=y, points=100, gap=1e-7, time_limit_s=None)
        mine = np.column_stack([front.x_amount, front.y_amount])
        assert (np.diff(front.x_amount) > 0.0).all()
        assert (np.diff(front.y_amount) < 0.0).all()
        scale = np.maximum(np.ptp(expected, axis=0), 1e-5 * np.abs(expected).max(axis=0) + 1e-6)
        for one in mine:
            assert (np.abs(expected - one) / scale).max(axis=1).min() < 1e-4, one
        # the ends, to the gap
        assert front.x_amount[0] == pytest.approx(points[:, 0].min(), rel=1e-6, abs=1e-9)
        assert front.y_amount[-1] == pytest.approx(points[:, 1].min(), rel=1e-6, abs=1e-9)
        goal, other = (0, 1) if front.goal == x else (1, 0)
        least = front.lower(points[:, other] * (1.0 + 1e-9))
        assert (points[:, goal] >= least * (1.0 - 1e-9) - 1e-12).all()
        assert front.complete
        assert (front.gaps <= 1e-3).all()
        for one in expected:
            assert (np.abs(mine - one) / scale).max(axis=1).min() < 2e-3, one


def test_limits_of_the_problem_hold() -> None:
    """A front under a limit of errors is that of the rollouts that keep it."""
    problem = tiny(3, error_limit=0.35)
    points = every_point(problem, "delay", "energy")
    front = ea.pareto_front(problem, x="delay", y="energy", points=30, gap=1e-7)
    assert len(front.solutions) > 1
    for solution in front.solutions:
        assert solution.costs is not None
        assert solution.costs.error <= 0.35 * (1.0 + 1e-9)
    assert front.x_amount[0] == pytest.approx(points[:, 0].min(), rel=1e-6)
    loose = ea.pareto_front(problem, x="accuracy", y="delay", points=30, gap=1e-7)
    assert loose.goal == "delay"
    assert loose.x_amount.max() <= 0.35 * (1.0 + 1e-9)


def test_tables_files_and_pictures(tmp_path: Path) -> None:
    problem = tiny(3)
    front = ea.pareto_front(problem, x="accuracy", y="energy", points=6, gap=1e-3)
    frame = front.to_frame()
    assert list(frame) == ["mean_delay_s", "mean_energy_j", "hallucination", "accuracy", "accessibility",
                           "offloaded_share", "gap"]
    assert frame["accuracy"].to_numpy() == pytest.approx(1.0 - front.x_amount)
    assert frame["mean_energy_j"].to_numpy() == pytest.approx(front.y_amount)
    assert pd.read_csv(front.save(tmp_path / "front.csv")).equals(frame)
    with pytest.raises(DataError, match=r"ends in \.csv"):
        front.save(tmp_path / "front.txt")
    text = str(front)
    assert "accuracy against mean energy of a query" in text
    assert "proven limits" in text
    assert front.to_markdown().count("\n") == len(front.solutions) + 1
    for x, y in (("accuracy", "energy"), ("delay", "energy"), ("energy", "delay"), ("energy", "accuracy")):
        one = ea.pareto_front(problem, x=x, y=y, points=5)
        figure = one.plot()
        save_figure(figure, tmp_path / f"{x}-{y}.png")
        axes = figure.axes[0]
        assert axes.get_xlabel().startswith(one.x.label)
        points = axes.lines[1].get_xydata()
        assert points[:, 0] == pytest.approx(one.x.seen(one.x_amount))
        assert points[:, 1] == pytest.approx(one.y.seen(one.y_amount))
        # the shaded region holds nothing that is a little worse than a point
        worse = [metric.seen(amount + 1e-3 * (np.ptp(amount) or amount[0])) for metric, amount in
                 ((one.x, one.x_amount), (one.y, one.y_amount))]
        paths = [path for area in axes.collections for path in area.get_paths()]
        assert paths
        assert not any(path.contains_point(point) for path in paths for point in np.column_stack(worse))


def test_front_of_a_method_without_bounds() -> None:
    front = ea.pareto_front(tiny(3), "greedy", x="delay", y="energy", points=5)
    assert len(front.bounds) == 0
    assert (front.gaps == 1.0).all()
    assert "Nothing is proven" in str(front)
    assert front.plot() is not None


def test_stops_and_starts() -> None:
    """Ctrl-C and no time leave the points that are there; the same call gives the same bits."""
    problem = tiny(3)
    calls = itertools.count()
    lines: list[Progress] = []

    def stop(line: Progress) -> None:
        lines.append(line)
        if line.stage.startswith("point 3") or next(calls) > 400:
            raise KeyboardInterrupt

    front = ea.pareto_front(problem, x="delay", y="energy", points=20, on_progress=stop)
    assert front.interrupted
    assert not front.complete
    assert front.solutions
    assert "by interruption" in str(front)
    assert lines[0].stage.startswith("point ")
    short = ea.pareto_front(problem, x="delay", y="energy", points=20, time_limit_s=1e-6,
                            warm_start=front.solutions[0])
    assert len(short.solutions) >= 1
    first, second = (ea.pareto_front(problem, x="delay", y="accuracy", points=6) for _ in range(2))
    assert np.array_equal(first.x_amount, second.x_amount)
    assert np.array_equal(first.bounds, second.bounds)


def test_bad_questions_are_told() -> None:
    problem = tiny(3)
    with pytest.raises(DataError, match="x is 'latency', no metric"):
        ea.pareto_front(problem, x="latency")
    with pytest.raises(DataError, match="x and y are both 'energy'"):
        ea.pareto_front(problem, x="energy", y="energy")
    with pytest.raises(DataError, match="points: is 3; give an integer >= 4"):
        ea.pareto_front(problem, points=3)
    with pytest.raises(ea.InfeasibleError):
        ea.pareto_front(problem.replace(accuracy_floor=1.0, server_accuracy=0.5))
    split: Any = ea.Scenario.random(users=2, servers=1, seed=0).split_training()
    with pytest.raises(DataError, match="is given a SplitTraining; give an edgealloc"):
        ea.pareto_front(split)
    assert math.isinf(ea.pareto_front(problem, points=4).lower([-1.0])[0])
