"""The shared floors serve a kind of problem that they have never seen: tables, sweeps, plots, files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from toy_kind import Bins, Packing, Tools

import edgealloc as ea
from edgealloc.core import storage
from edgealloc.core.kinds import KINDS
from edgealloc.core.method import Method
from edgealloc.core.problem import Problem
from edgealloc.core.tables import Column
from edgealloc.sweeps.points import columns_of


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "packing", "toy_kind:Packing")
    monkeypatch.setitem(storage.TYPES, "packing", "toy_kind:Packing")
    monkeypatch.setitem(storage.TYPES, "packing/bins", "toy_kind:Bins")
    monkeypatch.setitem(storage.TYPES, "packing/tools", "toy_kind:Tools")


def packing(value: float = 1.0, seed: int = 0) -> Packing:
    return Packing(worth=[2.0, 1.0 + seed, 3.0], fee=value)


def test_the_table_of_methods_has_the_columns_of_the_kind() -> None:
    table = ea.compare(packing(), ["together", "apart"])
    frame = table.to_frame().set_index("method")
    assert list(frame["fees"]) == [1.0, 3.0]
    assert list(frame["rule"]) == ["together", "apart"]
    assert "mean_delay_s" not in frame.columns
    head = table.to_text().splitlines()[2].split("  ")
    assert [word.strip() for word in head if word] == [
        "method", "objective", "gap to bound", "loss %", "fees paid", "rule", "seconds", "status"]
    assert "3.0" in table.to_text().splitlines()[5]


def test_what_was_found_comes_in_one_call() -> None:
    """Allocation and costs of a solution, or what is known where there are none."""
    solution = packing().solve("together")
    assert solution.found() == (solution.allocation, solution.costs)
    with pytest.raises(ea.SolverError, match="every bin is too small for item 2"):
        packing().solve("hopeless").found()


def test_a_method_that_finds_nothing_says_why_in_one_line() -> None:
    table = ea.compare(packing(), ["apart", "hopeless"])
    line = next(line for line in table.to_text().splitlines() if line.startswith("hopeless"))
    assert line.endswith("every bin is too small for item 2")
    assert "no_solution" in line
    assert table.to_frame().set_index("method").loc["hopeless", "rule"] is not None
    assert len({line.count("|") for line in table.to_markdown().splitlines()}) == 1


def test_a_method_that_fails_is_one_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback is there for those who ask for it."""

    def breaks(problem: Packing, run: ea.Run) -> ea.Outcome:
        raise ArithmeticError("does not add up\nat all")

    monkeypatch.setattr(Packing, "METHODS", (*Packing.METHODS, Method("breaks", "", run=breaks)))
    with caplog.at_level(logging.DEBUG, "edgealloc.comparison"):
        ea.compare(packing(), ["breaks"])
    (warning,) = (one for one in caplog.records if one.levelno >= logging.WARNING)
    assert warning.getMessage() == "compare: method 'breaks' failed: ArithmeticError: does not add up"
    assert warning.exc_info is None
    assert any(one.exc_info for one in caplog.records if one.levelno == logging.DEBUG)


def test_a_sweep_has_the_columns_of_the_kind(tmp_path: Path) -> None:
    """Means of its numbers, not of its texts; a problem that cannot be made has them, too."""

    def make(value: float, seed: int) -> Packing:
        if value == 5.0 and seed == 1:
            raise ValueError("no such fee")
        return packing(value, seed)

    table = ea.sweep(make, "fee", [1.0, 5.0], methods=["together", "apart"], samples=2)
    frame = table.to_frame()
    assert list(frame.columns)[9:11] == ["fees", "rule"]
    assert frame["fees"].tolist()[:4] == [1.0, 3.0, 1.0, 3.0]
    assert frame["fees"].isna().sum() == 2
    assert "fees" in table.quantities
    assert "rule" not in table.quantities
    assert table.summary()["fees_mean"].tolist() == [1.0, 3.0, 5.0, 15.0]
    assert "fees" in table.to_text()
    assert table.plot("fees").axes[0].get_ylabel() == "fees [1]"
    table.to_csv(tmp_path / "t.csv")
    with pytest.raises(ea.DataError, match="no quantity 'rule'"):
        table.plot("rule")


def test_plots_by_name() -> None:
    solution = packing().solve("apart")
    assert solution.plot() == "bins"
    assert solution.plot("fees") == "fees"
    assert solution.plot("convergence").axes
    with pytest.raises(ea.DataError, match="no plot 'map' of a packing solution; known: bins, convergence, fees"):
        solution.plot("map")


def test_tuples_of_tuples_come_back_from_a_file(tmp_path: Path) -> None:
    """Whole numbers stay whole, tuples tuples, also inside a dataclass of the problem."""
    problem = Packing(worth=[1.0, 2.0], groups=((0,), (), (1, 0)), tools=Tools(("a", "b"), np.eye(2, dtype=np.int64)))
    solution = problem.solve("apart")
    loaded = ea.Solution.load(solution.save(tmp_path / "x.npz"))
    assert loaded.allocation == Bins("apart", ((0,), (1,)))
    assert all(type(i) is int for one in loaded.allocation.bins for i in one)
    assert loaded.problem.groups == ((0,), (), (1, 0))
    assert loaded.problem.tools.names == ("a", "b")
    assert loaded.problem.tools.ends.dtype == np.int64
    assert np.array_equal(loaded.problem.tools.ends, np.eye(2))
    assert loaded.costs == solution.costs
    assert loaded.summary() == solution.summary()


def test_what_cannot_be_explained_is_refused_before_it_is_solved() -> None:
    ea.SplitTraining.check_explained()
    for ask in (Packing.check_explained, packing().solve("apart").explain):
        with pytest.raises(ea.DataError, match="solutions of kind 'packing' cannot be explained"):
            ask()


def test_cells_of_a_column() -> None:
    assert Column("x", "x").shown(1234567.0) == "1.235e+06"
    assert Column("n", "n", digits=".0f").shown(50.0) == "50"
    assert Column("name", "name", number=False).shown("hybrid") == "hybrid"


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_says_what_is_its_own(kind: str) -> None:
    """What the command line asks: plots that exist, columns, words."""
    from edgealloc.core.kinds import problem_class

    cls = problem_class(kind)
    assert cls.PLOTS
    assert "convergence" not in cls.PLOTS
    assert cls.check_plot(None) == cls.PLOTS[0]
    assert cls.COLUMNS
    # side by side in one JSON document, and in one row of a sweep
    taken = {*cls.TABLES, *columns_of(()), "scenario", "kind", "problem", "termination", "allocation", "prices"}
    assert not taken & {one.name for one in cls.COLUMNS}
    assert len({one.name for one in cls.COLUMNS}) == len(cls.COLUMNS)
    assert cls.TABLES != Problem.TABLES
    assert cls.ANSWERS != Problem.ANSWERS
