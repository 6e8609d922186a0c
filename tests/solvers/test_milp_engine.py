"""The MILP engine against brute force, and what it says when a solver has nothing good to say."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import edgealloc as ea
from edgealloc.core.status import Termination
from edgealloc.solvers.milp import solve_milp

pulp = pytest.importorskip("pulp")
FloatArray = npt.NDArray[np.float64]


def knapsack(seed: int, items: int, rows: int, *, maximise: bool) -> tuple[Any, FloatArray, FloatArray, FloatArray]:
    """A random knapsack with several limits and an objective constant: (model, value, weight, room)."""
    rng = np.random.default_rng([seed, items, rows])
    value, weight = rng.uniform(0.1, 1.0, items), rng.uniform(0.0, 1.0, (rows, items))
    room = weight.sum(axis=1) * 0.45
    model = pulp.LpProblem("knapsack", pulp.LpMaximize if maximise else pulp.LpMinimize)
    x = [model.add_variable(f"x{i}", 0, 1, pulp.LpInteger) for i in range(items)]
    sign = 1.0 if maximise else -1.0
    model += pulp.lpSum(sign * v * c for v, c in zip(value, x, strict=True)) + sign * 3.5
    for row, limit in zip(weight, room, strict=True):
        model += pulp.lpSum(w * c for w, c in zip(row, x, strict=True)) <= limit
    return model, value, weight, room


def brute_force(value: FloatArray, weight: FloatArray, room: FloatArray) -> float:
    chosen = np.array(list(itertools.product([0.0, 1.0], repeat=value.size)))
    return float((chosen @ value)[(chosen @ weight.T <= room).all(axis=1)].max())


def market_split(seed: int, rows: int, items: int) -> Any:
    """Find binaries that halve every row exactly: hardly ever possible, and hard to disprove."""
    rng = np.random.default_rng([seed, rows, items])
    model = pulp.LpProblem("split", pulp.LpMinimize)
    x = [model.add_variable(f"x{i}", 0, 1, pulp.LpInteger) for i in range(items)]
    model += pulp.lpSum(float(c) * v for c, v in zip(rng.random(items), x, strict=True))
    for _ in range(rows):
        row = rng.integers(0, 100, items)
        model += pulp.lpSum(int(c) * v for c, v in zip(row, x, strict=True)) == int(row.sum()) // 2
    return model


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize("maximise", [False, True])
def test_optimum_and_bound_of_knapsacks(solver: str, maximise: bool) -> None:
    """At every gap the bound is beyond the enumerated optimum, and the values are as good as is said."""
    sign = -1.0 if maximise else 1.0
    for seed, gap in itertools.product(range(4), (0.0, 0.1)):
        model, value, weight, room = knapsack(seed, 12, 3, maximise=maximise)
        best = -sign * (brute_force(value, weight, room) + 3.5)
        result = solve_milp(model, solver=solver, gap=gap)
        assert result.status == ea.Status.OPTIMAL or (solver == "cbc" and gap == 0.0)  # its pruning leaves a bit open
        assert result.objective is not None
        assert result.bound is not None
        assert result.values is not None
        assert sign * result.bound <= sign * best + 1e-9
        assert sign * result.objective >= sign * best - 1e-6
        assert sign * (result.objective - result.bound) <= gap * abs(result.objective) + 1e-4
        x = np.array([result.values[f"x{i}"] for i in range(12)])
        assert set(x) <= {0.0, 1.0}
        assert (weight @ x <= room + 1e-5).all()
        assert result.objective == pytest.approx(-sign * (value @ x + 3.5), rel=1e-12)


def test_both_solvers_agree_on_mixed_models() -> None:
    """Free and general-integer variables, equalities, a pure LP: one optimum, two solvers."""
    rng = np.random.default_rng(7)
    for whole in (True, False):
        model = pulp.LpProblem("mixed", pulp.LpMinimize)
        x = [model.add_variable(f"x{i}", -5, 9, pulp.LpInteger if whole else pulp.LpContinuous) for i in range(4)]
        y = [model.add_variable(f"y{i}", None, None) for i in range(3)]
        model += pulp.lpSum(float(c) * v for c, v in zip(rng.normal(size=7), x + y, strict=True))
        for _ in range(3):
            row = pulp.lpSum(float(c) * v for c, v in zip(rng.normal(size=7), x + y, strict=True))
            model += row == float(rng.normal())
        for v in y:
            model += v <= 10.3
            model += v >= -7.7
        results = [solve_milp(model, solver=name, gap=0.0) for name in ("highs", "cbc")]
        assert results[0].objective == pytest.approx(results[1].objective, abs=1e-5)
        for result in results:
            assert result.bound == pytest.approx(result.objective, abs=1e-4)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_fractions_at_time_out_are_not_passed_off_as_a_solution(solver: str) -> None:
    """CBC writes the relaxation's fractions into its solution file when time is up: no values come back, and the
    bound is that of the relaxation at least."""
    model = market_split(1, 6, 50)
    result = solve_milp(model, solver=solver, time_limit_s=0.3)
    assert result.status == ea.Status.NO_SOLUTION
    assert result.termination == Termination.TIME_LIMIT
    assert result.values is None
    assert result.objective is None
    assert result.integral is None
    if result.bound is not None:
        assert result.bound < 50.0


def test_the_recheck_stands_on_its_own() -> None:
    """Whatever a solver claims, fractional or infeasible values are rejected."""
    from edgealloc.solvers.milp import Matrix
    from edgealloc.solvers.milp_answer import RawAnswer, Settings

    model, *_ = knapsack(0, 4, 1, maximise=False)
    settings = Settings(math.inf, 0.0, 0.0, 1, 1e-6)
    for values, integral, feasible in (
        ([0.0, 0.5, 0.0, 0.0], False, True), ([1.0, 1.0, 1.0, 1.0], True, False), ([0.0, 0.0, 0.0, 1e-7], True, True),
        ([math.nan, 0.0, 0.0, 0.0], False, False),
    ):
        raw = RawAnswer("Optimal", Termination.GAP, {f"x{i}": v for i, v in enumerate(values)}, -2.0)
        result = Matrix(model).judge("highs", raw, settings)
        assert (result.integral, result.feasible) == (integral, feasible)
        assert (result.values is not None) == (integral and feasible)
        assert result.bound is not None


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_what_is_proven_without_values(solver: str) -> None:
    def model(low: float | None, high: float | None, kind: str, coefficient: float) -> tuple[Any, Any]:
        made = pulp.LpProblem("small", pulp.LpMinimize)
        v, y = made.add_variable("v", low, high, kind), made.add_variable("y", 0, 1)
        made += coefficient * v + y
        return made, v

    infeasible, v = model(0, 10, pulp.LpContinuous, 1.0)
    infeasible += v >= 11
    assert solve_milp(infeasible, solver=solver).status == ea.Status.INFEASIBLE
    odd, v = model(0, 10, pulp.LpInteger, 1.0)
    odd += 2 * v == 3
    result = solve_milp(odd, solver=solver)
    assert (result.status, result.bound) == (ea.Status.INFEASIBLE, math.inf)
    endless, _ = model(None, 5, pulp.LpContinuous, 1.0)
    assert solve_milp(endless, solver=solver).status in (ea.Status.UNBOUNDED, ea.Status.NO_SOLUTION)
    whole, _ = model(0, None, pulp.LpInteger, -1.0)
    result = solve_milp(whole, solver=solver)
    assert result.status == ea.Status.NO_SOLUTION  # proven for its relaxation only
    assert result.bound is None


def test_start_is_used_and_model_unchanged() -> None:
    """A start is feasible from the first moment on (here it is the optimum, which is hard to find), and the model's own
    variables stay as they were."""
    model = pulp.LpProblem("start", pulp.LpMinimize)
    items = 40
    rng = np.random.default_rng(5)
    x = [model.add_variable(f"x{i}", 0, 1, pulp.LpInteger) for i in range(items)]
    slack = [model.add_variable(f"s{i}", 0) for i in range(10)]
    model += pulp.lpSum(slack)
    planted = rng.integers(0, 2, items)
    for k in range(5):
        row = rng.integers(0, 100, items)
        mixed = pulp.lpSum(int(c) * v for c, v in zip(row, x, strict=True))
        model += mixed + slack[2 * k] - slack[2 * k + 1] == int(row @ planted)
    start = {f"x{i}": float(planted[i]) for i in range(items)} | {f"s{i}": 0.0 for i in range(10)}
    for solver in ("highs", "cbc"):
        again = solve_milp(model, solver=solver, time_limit_s=20.0, start=start)
        assert again.objective is not None
        assert again.objective <= 1e-6
    assert all(v.varValue is None for v in x)


def test_fallback_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model, *_ = knapsack(1, 8, 2, maximise=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "highspy" else True)
    with pytest.raises(ea.MissingDependencyError, match="highspy"):
        solve_milp(model)
    result = solve_milp(model, solver=("highs", "cbc"))
    assert result.solver == "cbc"
    assert len(result.attempts) == 2
    assert "highspy" in result.attempts[0]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ea.MissingDependencyError, match="pulp"):
        solve_milp(model)


def test_faults_are_named() -> None:
    model, *_ = knapsack(1, 4, 1, maximise=True)
    with pytest.raises(ea.DataError, match="gurobi"):
        solve_milp(model, solver="gurobi")
    with pytest.raises(ea.DataError, match="gap"):
        solve_milp(model, gap=-1.0)
    with pytest.raises(ea.DataError, match="time_limit_s"):
        solve_milp(model, time_limit_s=0.0)
    with pytest.raises(ea.DataError, match="empty"):
        solve_milp(model, solver=())
    x = model.add_variable("x0", 0, 1)
    model += x <= 0.5
    with pytest.raises(ea.DataError, match="two variables"):
        solve_milp(model)
    model, *_ = knapsack(1, 4, 1, maximise=True)
    model += pulp.LpAffineExpression({model.variables()[0]: math.inf}) <= 1.0
    with pytest.raises(ea.DataError, match="not finite"):
        solve_milp(model)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_interrupts_pass_through(solver: str) -> None:
    """Ctrl-C ends the solver and reaches the caller within moments."""
    import _thread
    import time

    model = market_split(2, 7, 60)
    threading.Timer(0.4, _thread.interrupt_main).start()
    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        solve_milp(model, solver=solver, time_limit_s=30.0)
    assert time.perf_counter() - begun < 20.0


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    model, *_ = knapsack(3, 10, 2, maximise=True)
    for solver in ("highs", "cbc"):
        solve_milp(model, solver=solver)
    out = capfd.readouterr()
    assert out.out == ""
    assert out.err == ""


def test_constant_objectives_and_empty_models() -> None:
    model = pulp.LpProblem("constant", pulp.LpMinimize)
    model += 4.0
    x = model.add_variable("x", 0, 5, pulp.LpInteger)
    model += 2 * x >= 3
    for solver in ("highs", "cbc"):
        result = solve_milp(model, solver=solver, gap_abs=1e-3)
        assert result.objective == 4.0
        assert result.bound == pytest.approx(4.0, abs=1e-4)
        assert result.status == ea.Status.OPTIMAL
