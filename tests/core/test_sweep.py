"""Claims about sweeps: tidy rows, Student's intervals, failures that cost one row, processes that change nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import edgealloc as ea
from edgealloc.sweeps.points import columns_of
from edgealloc.sweeps.statistics import mean_and_half_width

FAST = ["certified", "greedy", "random"]


def scenario(users: int = 6) -> ea.Scenario:
    return ea.Scenario.random(users=users, servers=2, seed=3)


def weighted(value: float, seed: int) -> ea.SplitTraining:
    """A function of a module: what worker processes can be sent."""
    return ea.Scenario.random(users=5, servers=2, seed=seed).split_training(weights=ea.Weights(energy=value))


def local_layers(solution: Any) -> dict[str, float]:
    return {"mean_local_layers": float(np.mean(solution.allocation.local_layers))}


def broken(problem: ea.SplitTraining, run: ea.Run) -> ea.Outcome:
    raise ArithmeticError("it does not add up")


def register_broken() -> None:
    ea.register_method("split-training", ea.Method("broken", "always fails", run=broken))


@pytest.fixture
def with_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgealloc.core.method._REGISTERED", {})
    register_broken()


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="seconds")


def test_rows_are_what_solve_says() -> None:
    """Every row is the solution of its value, seed and method; seeds are common to all values."""
    table = ea.sweep(scenario(), "weights.energy", [1, 4], methods=FAST, samples=2)
    frame = table.to_frame()
    assert list(frame.columns) == list(columns_of(ea.SplitTraining.COLUMNS))
    assert table.seeds == (3, 4)
    assert len(frame) == 2 * 2 * 3
    assert list(frame["method"])[:3] == FAST
    for row in frame.to_dict("records"):
        problem = scenario().changed({"seed": row["seed"], "weights.energy": row["value"]}).problem()
        solution = problem.solve(row["method"], seed=row["seed"])
        assert solution.costs is not None
        assert row["objective"] == solution.objective
        assert row["total_energy_j"] == solution.costs.total_energy_j
        assert row["mean_instability"] == pytest.approx(solution.costs.instability.mean(), rel=1e-14)
        assert row["status"] == str(solution.status)
    for _, point in frame.groupby(["value", "seed"]):
        best = point["bound"].max()
        assert (point["best_bound"] == best).all()
        assert np.allclose(point["over_bound"], point["objective"] / best, rtol=1e-14)
        assert np.allclose(point["gap"], 1.0 - best / point["objective"], rtol=1e-9, atol=1e-15)


def test_summary_is_students_interval() -> None:
    """Mean and half width agree with scipy.stats on the rows, at any level."""
    table = ea.sweep(weighted, "energy weight", [1.0], methods=["greedy", "random"], samples=4)
    frame = table.to_frame()
    for level in (0.5, 0.95):
        for line in table.summary(level).to_dict("records"):
            sample = frame.loc[frame["method"] == line["method"], "total_energy_j"]
            low, high = stats.t.interval(level, 3, loc=sample.mean(), scale=stats.sem(sample))
            assert line["samples"] == 4
            assert line["total_energy_j_mean"] - line["total_energy_j_ci"] == pytest.approx(low, rel=1e-12)
            assert line["total_energy_j_mean"] + line["total_energy_j_ci"] == pytest.approx(high, rel=1e-12)
    assert mean_and_half_width([]) == pytest.approx((math.nan, math.nan), nan_ok=True)
    assert mean_and_half_width([2.0]) == pytest.approx((2.0, math.nan), nan_ok=True)
    assert mean_and_half_width([2.0, 2.0]) == (2.0, 0.0)
    for level in (0.0, 1.0, 95, math.nan, True):
        with pytest.raises(ea.DataError, match="confidence level"):
            mean_and_half_width([1.0, 2.0], level)


def test_a_failing_method_is_a_row(with_broken: None) -> None:
    table = ea.sweep(weighted, "energy weight", [1.0, 2.0], methods=["broken", "greedy"])
    frame = table.to_frame()
    failed = frame[frame["method"] == "broken"]
    assert list(failed["status"]) == ["failed", "failed"]
    assert failed["message"].str.contains("it does not add up").all()
    assert frame.loc[frame["method"] == "greedy", "objective"].notna().all()
    assert list(table.summary()["failed"]) == [1, 0, 1, 0]
    assert len(table.failures) == 2
    assert "2 of 4 rows have no allocation" in str(table)
    assert table.plot() is not None


def test_a_problem_that_cannot_be_made_is_a_row() -> None:
    def make(value: float, seed: int) -> ea.SplitTraining:
        if value == 2.0 and seed == 1:
            raise ZeroDivisionError("no such world")
        return weighted(value, seed)

    frame = ea.sweep(make, "x", [1.0, 2.0], methods=["greedy"], samples=2).to_frame()
    assert list(frame["status"]) == ["feasible", "feasible", "feasible", "failed"]
    assert frame["message"].iloc[3] == "no problem: ZeroDivisionError: no such world"


def test_infeasible_points_stay_in_the_table() -> None:
    table = ea.sweep(scenario(), "limits.deadline", ["1 ms", "1000 s"], methods=["certified", "greedy"])
    frame = table.to_frame()
    assert list(frame["status"][:2]) == ["infeasible", "infeasible"]
    assert frame["objective"][:2].isna().all()
    assert frame["objective"][2:].notna().all()
    assert table.plot() is not None  # texts as values


def test_measure_and_history() -> None:
    table = ea.sweep(weighted, "w", [1.0], methods=FAST, measure=local_layers, history=True)
    frame = table.to_frame()
    assert frame["mean_local_layers"].between(1, 16).all()
    assert "mean_local_layers_mean" in table.summary().columns
    history = table.history_frame()
    assert set(history["method"]) == set(FAST)
    last = history[history["method"] == "certified"].iloc[-1]
    assert last["objective"] == pytest.approx(frame["objective"][0], rel=1e-12)
    with pytest.raises(ea.DataError, match="history=True"):
        ea.sweep(weighted, "w", [1.0], methods=["greedy"]).history_frame()


def test_interrupts_keep_the_rows_so_far() -> None:
    told: list[ea.Progress] = []

    def stop(report: ea.Progress) -> None:
        told.append(report)
        if report.iteration == 2:
            raise KeyboardInterrupt

    table = ea.sweep(weighted, "w", [1.0, 2.0, 3.0], methods=["greedy"], on_progress=stop)
    assert table.interrupted
    assert len(table.rows) == 2
    assert "incomplete" in str(table)
    assert told[0].stage.startswith("0/3  w=1 seed 0: greedy")
    whole = ea.sweep(weighted, "w", [1.0, 2.0, 3.0], methods=["greedy"]).to_frame()
    pd.testing.assert_frame_equal(without_times(table.to_frame()), without_times(whole[:2]))

    def stop_inside(report: ea.Progress) -> None:
        if "certified" not in report.stage and report.bound is not None:
            raise KeyboardInterrupt

    # certified hands out what it has so far, which is no result of the method
    cut = ea.sweep(weighted, "w", [1.0, 2.0], methods=["greedy", "certified"], on_progress=stop_inside)
    assert cut.interrupted
    assert [row["method"] for row in cut.rows] == ["greedy"]

    def make(value: float, seed: int) -> ea.SplitTraining:
        if value == 3.0:
            raise KeyboardInterrupt
        return weighted(value, seed)

    assert len(ea.sweep(make, "w", [1.0, 2.0, 3.0], methods=["greedy"]).rows) == 2


def test_workers_change_nothing() -> None:
    """Two processes give the rows of one, in the same order; a plugin's methods reach them by `setup`."""
    values = [1.0, 3.0]
    options: dict[str, Any] = {"methods": FAST, "samples": 2, "measure": local_layers, "history": True}
    one = ea.sweep(weighted, "w", values, **options)
    told: list[int] = []
    two = ea.sweep(
        weighted, "w", values, workers=2, on_progress=lambda line: told.append(line.iteration), **options)
    pd.testing.assert_frame_equal(without_times(one.to_frame()), without_times(two.to_frame()), check_exact=True)
    pd.testing.assert_frame_equal(without_times(one.history_frame()), without_times(two.history_frame()))
    assert told == [1, 2, 3, 4]
    by_key = ea.sweep(scenario(), "weights.energy", [1, 4], methods=["greedy"], workers=2)
    same = ea.sweep(scenario(), "weights.energy", [1, 4], methods=["greedy"])
    pd.testing.assert_frame_equal(without_times(by_key.to_frame()), without_times(same.to_frame()))


def test_workers_need_functions_of_a_module() -> None:
    with pytest.raises(ea.DataError, match="make cannot be sent to worker processes"):
        ea.sweep(lambda value, seed: weighted(value, seed + 1), "w", [1.0, 2.0], methods=["greedy"], workers=2)


def test_interrupted_workers() -> None:
    def stop(report: ea.Progress) -> None:
        raise KeyboardInterrupt

    table = ea.sweep(weighted, "w", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], methods=["greedy"], workers=2,
                     on_progress=stop)
    assert table.interrupted == (len(table.rows) < 8)
    assert 1 <= len(table.rows) <= 8


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"values": []}, "no values"),
        ({"values": "1,2"}, "give a sequence"),
        ({"values": [1, 2, 1]}, r"values\[2\] = 1 is there twice"),
        ({"values": [1.0, math.nan]}, r"values\[1\] is nan"),
        ({"values": [[1]]}, r"values\[0\] is a list"),
        ({"values": [1, -2]}, r"weights\.energy = -2.*weights\.energy"),
        ({"parameter": ""}, "the parameter is ''"),
        ({"parameter": "seed"}, "varied by `samples`"),
        ({"parameter": "weights.enrgy"}, "weights.enrgy.*did you mean 'energy'"),
        ({"parameter": "users.7.count"}, r"there is no 'users\.7\.count'"),
        ({"methods": []}, "no methods"),
        ({"methods": ["gredy"]}, "did you mean 'greedy'"),
        ({"samples": 0}, "samples is 0"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 1]}, "repetitions"),
        ({"seeds": [-1]}, r"seeds\[0\] is -1"),
        ({"workers": 0}, "workers is 0"),
        ({"gap": -1.0}, "gap"),
        ({"make": 3}, "give a Scenario or a function"),
        ({"make": lambda *_: 3}, "returned a int, not a problem"),
    ],
)
def test_faults_are_found_before_anything_is_solved(options: dict[str, Any], expected: str) -> None:
    def never(report: ea.Progress) -> None:
        raise AssertionError("something was solved")

    asked: dict[str, Any] = {"make": scenario(), "parameter": "weights.energy", "values": [1, 2], **options}
    with pytest.raises(ea.DataError, match=f"(?s){expected}"):
        ea.sweep(asked.pop("make"), asked.pop("parameter"), asked.pop("values"), on_progress=never, **asked)


def test_files_and_figures(tmp_path: Path) -> None:
    table = ea.sweep(scenario(), "weights.energy", [1, 2], methods=["certified", "greedy"], samples=2)
    path = table.to_csv(tmp_path / "rows.csv")
    read = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in table.quantities})
    pd.testing.assert_frame_equal(read, table.to_frame(), check_dtype=False)
    with pytest.raises(ea.DataError, match="cannot write"):
        table.to_csv(tmp_path / "nowhere" / "rows.csv")
    figure = table.plot("objective")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert sorted(labels) == ["certified", "greedy", "proven bound"]
    assert figure.axes[0].get_xlabel() == "weights.energy"
    assert table.plot("total_energy_j", figure.axes[0]) is figure
    with pytest.raises(ea.DataError, match="did you mean 'objective'"):
        table.plot("objectiv")
