"""Congested problems, where prices fall far and many options tie: the gap must close all the same."""

from __future__ import annotations

import numpy as np
import pytest
from instances import sized

import edgealloc as ea


@pytest.mark.parametrize(("seed", "users", "servers", "layers"), [(4, 2500, 6, 12), (7, 2000, 5, 8), (11, 600, 4, 16)])
def test_near_ties_are_mixed(seed: int, users: int, servers: int, layers: int) -> None:
    """Where whole groups of users tie between servers, only a mixture of the answers fits the capacities."""
    problem = sized(seed, users, servers, layers, extreme=False, clock_scaled=False)
    solution = problem.solve(gap=1e-3, time_limit_s=None)
    assert solution.status == ea.Status.OPTIMAL


@pytest.mark.parametrize(("seed", "users"), [(3, 200), (10, 200), (3, 400)])
def test_prices_that_start_far_too_high(seed: int, users: int) -> None:
    """Where most users train locally, start prices must fall by orders of magnitude, and the master still solves."""
    solution = sized(seed, users, 4, 12, extreme=False, clock_scaled=False).solve(gap=1e-3, time_limit_s=None)
    assert solution.gap is not None
    assert solution.gap <= 5e-3
    assert solution.termination != ea.Termination.NUMERICAL


def test_interrupted_moves_are_kept() -> None:
    """Ctrl-C in the local search returns what its moves have gained."""
    problem = sized(11, 600, 4, 16, extreme=False, clock_scaled=False)
    before: list[float] = []

    def stop(line: ea.Progress) -> None:
        if line.stage == "moves":
            raise KeyboardInterrupt
        if line.objective is not None:
            before.append(line.objective)

    solution = problem.solve(gap=0.0, on_progress=stop)
    assert solution.termination == ea.Termination.INTERRUPTED
    assert solution.objective is not None
    assert solution.objective <= min(before) * (1.0 + 1e-12)


def test_exact_refuses_any_size() -> None:
    """However many combinations there are, `exact` says so instead of counting them."""
    with pytest.raises(ea.DataError, match="combinations"):
        sized(0, 300, 5, 4, extreme=False).solve("exact")


def test_a_disproved_bound_is_no_bound() -> None:
    """A method that claims too high a bound does not become the best bound of a table."""
    problem = sized(11, 20, 2, 4, extreme=False)

    def boaster(problem: ea.SplitTraining, run: ea.Run) -> ea.Outcome:
        allocation = problem.solve("random", seed=3).allocation
        return ea.Outcome(allocation=allocation, bound=problem.evaluate(allocation).objective)  # type: ignore[arg-type]

    ea.register_method("split-training", ea.Method("boaster", "", run=boaster))
    table = ea.compare(problem, ["certified", "boaster"])
    assert table.bound == table.solutions["certified"].bound
    assert "disproved" in {row["method"]: row["message"] for row in table.rows()}["boaster"]


def test_a_users_method_may_fail() -> None:
    """An allocation that is no allocation is rejected and recorded, not raised."""
    problem = sized(11, 5, 2, 4, extreme=False)

    def broken(problem: ea.SplitTraining, run: ea.Run) -> ea.Outcome:
        nothing = np.full(problem.users, np.nan)
        server = np.zeros(problem.users, dtype=np.int64)
        return ea.Outcome(allocation=ea.Allocation(server, server + 1, nothing, nothing, nothing, nothing))

    ea.register_method("split-training", ea.Method("broken", "", run=broken))
    solution = problem.solve("broken")
    assert solution.status == ea.Status.NO_SOLUTION
    assert "rejected" in solution.attempts[0]
