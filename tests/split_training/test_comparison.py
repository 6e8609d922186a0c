"""The table of methods: right numbers, and a row for whatever happens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instances import sized

import edgealloc as ea
from edgealloc.core.figures import save_figure

Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Register a method for this test only."""
    monkeypatch.setattr("edgealloc.core.method._REGISTERED", {})

    def add(name: str, run: Any, **fields: Any) -> None:
        ea.register_method("split-training", ea.Method(name, "", run=run, **fields))

    return add


@pytest.fixture
def problem() -> ea.SplitTraining:
    return sized(1, 8, 2, extreme=False)


def bounded(bound: float) -> Any:
    def run(problem: ea.SplitTraining, run: ea.Run) -> ea.Outcome:
        return dataclasses.replace(problem.methods()["greedy"](problem, run), bound=bound)

    return run


def test_numbers_of_the_table(problem: ea.SplitTraining, register: Register) -> None:
    """Gap to the best bound of the table, also for methods that prove nothing; loss against the best objective."""
    value = problem.solve("greedy").objective
    assert value is not None
    register("weak", bounded(0.5 * value))
    register("strong", bounded(0.9 * value))
    table = ea.compare(problem, ["random", "weak", "strong", "greedy", "random"], seed=3)
    frame = table.to_frame().set_index("method")
    assert list(frame.index) == ["random", "weak", "strong", "greedy"]
    assert table.bound == pytest.approx(0.9 * value)
    best = min(frame["objective"])
    for name, row in frame.iterrows():
        objective = row["objective"]
        assert row["gap"] == pytest.approx((objective - 0.9 * value) / objective, abs=1e-12)
        assert row["loss_percent"] == pytest.approx(100.0 * (objective / best - 1.0), abs=1e-9)
        assert row["objective"] == table.solutions[str(name)].objective
    assert frame["best"].sum() == 1
    assert table.best is not None
    assert table.best.objective == best
    assert table.solutions["random"].seed == 3


def test_default_is_every_method_that_is_not_slow(problem: ea.SplitTraining, register: Register) -> None:
    register("mine", bounded(0.0))
    register("mine-slow", bounded(0.0), slow=True)
    table = ea.compare(problem, gap=1e-2)
    expected = tuple(name for name, method in problem.methods().items() if not method.slow)
    assert table.methods == expected
    assert table.methods[0] == "certified"
    assert "mine" in expected
    assert "mine-slow" not in expected
    assert table.bound is not None


def test_failures_become_rows(problem: ea.SplitTraining, register: Register) -> None:
    def breaks(problem: Any, run: Any) -> ea.Outcome:
        raise ZeroDivisionError("by | nothing_at all\nsecond line")

    register("breaks", breaks)
    register("needs", bounded(0.0), needs=("no_such_package",))
    register("gives-up", lambda *_: ea.Outcome(attempts=("tried hard",)))
    register("returns-nonsense", lambda *_: 3)
    table = ea.compare(problem, ["breaks", "needs", "gives-up", "returns-nonsense", "greedy"])
    frame = table.to_frame().set_index("method")
    assert frame.loc["breaks", "message"] == "ZeroDivisionError: by | nothing_at all"
    assert frame.loc["breaks", "status"] == "failed"
    assert "no_such_package is not installed" in str(frame.loc["needs", "message"])
    assert frame.loc["gives-up", "status"] == "no_solution"
    assert frame.loc["gives-up", "message"] == "tried hard"
    assert "TypeError" in str(frame.loc["returns-nonsense", "message"])
    assert frame["objective"].notna().tolist() == [False] * 4 + [True]
    assert table.best is table.solutions["greedy"]
    assert r"by \| nothing" in table.to_markdown()
    assert r"nothing\_at" in table.to_latex()
    assert "ZeroDivisionError" in str(table)


def test_nothing_runs_before_all_is_checked(problem: ea.SplitTraining, register: Register) -> None:
    ran = []
    register("counts", lambda *_: ran.append(1))
    with pytest.raises(ea.DataError, match="did you mean 'greedy'"):
        ea.compare(problem, ["counts", "gredy"])
    with pytest.raises(ea.DataError, match="gap: is -1"):
        ea.compare(problem, ["counts"], gap=-1.0)
    with pytest.raises(ea.DataError, match="no methods"):
        ea.compare(problem, [])
    assert ran == []


def test_one_name_is_a_list_of_one(problem: ea.SplitTraining) -> None:
    assert ea.compare(problem, "greedy").methods == ("greedy",)


def test_infeasible_problem_is_solved_once(problem: ea.SplitTraining, register: Register) -> None:
    never: list[int] = []
    register("never", lambda *_: never.append(1))
    broken = problem.replace(stability_limit=1e-12)
    table = ea.compare(broken, ["greedy", "random", "never"])
    frame = table.to_frame()
    assert (frame["status"] == "infeasible").all()
    assert frame["message"].str.contains("stability_limit").all()
    assert table.best is None
    assert table.bound is None
    assert never == []
    assert "infeasible" in table.to_text()


def test_interruption_keeps_the_rows_so_far(problem: ea.SplitTraining, register: Register) -> None:
    def raises(problem: Any, run: Any) -> ea.Outcome:
        raise KeyboardInterrupt

    def returns(problem: Any, run: Any) -> ea.Outcome:
        greedy: ea.Outcome = problem.methods()["greedy"](problem, run)
        return dataclasses.replace(greedy, termination=ea.Termination.INTERRUPTED)

    register("raises", raises)
    register("returns", returns)
    for name, kept in (("raises", ["greedy"]), ("returns", ["greedy", "returns"])):
        table = ea.compare(problem, ["greedy", name, "random"])
        assert table.interrupted
        assert list(table.solutions) == kept
        assert "interrupted" in str(table)
        assert table.to_frame()["status"].tolist()[-1] == "not run"
    assert not ea.compare(problem, ["greedy"]).interrupted


def test_every_face_of_the_table(problem: ea.SplitTraining, tmp_path: Path) -> None:
    table = ea.compare(problem, ["greedy", "random"])
    text, markdown, latex = str(table), table.to_markdown(), table.to_latex()
    assert "gap to bound" not in text  # nothing is proven, so there is no such column
    assert " *" in text
    assert len({line.count("|") for line in markdown.splitlines()}) == 1
    assert len({line.count("&") for line in latex.splitlines() if line.endswith(r"\\")}) == 1
    assert table._repr_html_().count("<tr>") == 3
    assert repr(table).startswith("Comparison(methods=['greedy', 'random'], best=")
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.interrupted = True  # type: ignore[misc]


@pytest.mark.filterwarnings("error::UserWarning")
def test_chart(problem: ea.SplitTraining, register: Register, tmp_path: Path) -> None:
    """Bars at the objectives, the bound as a line, the loss in words."""
    value = problem.solve("greedy").objective
    assert value is not None
    register("proves", bounded(0.8 * value))
    register("gives-up", lambda *_: ea.Outcome())
    table = ea.compare(problem, ["proves", "random", "gives-up"])
    figure = table.plot()
    ax = figure.axes[0]
    objectives = np.nan_to_num(table.to_frame()["objective"].to_numpy(), nan=0.0)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(objectives.tolist())
    assert [line.get_xdata()[0] for line in ax.get_lines()] == pytest.approx([0.8 * value])
    texts = [one.get_text() for one in ax.texts]
    assert sum("best" in one for one in texts) == 1
    assert "no solution" in texts
    assert save_figure(figure, tmp_path / "x.png").stat().st_size > 5000
    assert table.plot(ax=ax) is figure
