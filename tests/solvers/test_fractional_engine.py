"""The majorisers of `solvers.fractional`: identities, descent, and stationary points known in closed form."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from edgealloc.errors import DataError, SolverError
from edgealloc.solvers.fractional import FractionalProgram, Product, Ratio


@pytest.mark.parametrize("seed", range(20))
def test_majorisers_touch(seed: int) -> None:
    """z a^2 + b^2/(4z) and v c^2 + 1/(4 v r^2) have the value and gradient of ab and c/r at the auxiliary optimum, and
    lie above elsewhere."""
    rng = np.random.default_rng(seed)
    a, b, c, r = rng.uniform(0.1, 10.0, 4)
    z, v = b / (2 * a), 1 / (2 * c * r)
    assert z * a**2 + b**2 / (4 * z) == pytest.approx(a * b, rel=1e-14)
    assert (2 * z * a, b / (2 * z)) == pytest.approx((b, a), rel=1e-14)
    assert v * c**2 + 1 / (4 * v * r**2) == pytest.approx(c / r, rel=1e-14)
    assert (2 * v * c, -1 / (2 * v * r**3)) == pytest.approx((1 / r, -c / r**2), rel=1e-14)
    x, y = rng.uniform(0.01, 20.0, (2, 1000))
    assert (z * x**2 + y**2 / (4 * z) >= x * y * (1 - 1e-12)).all()
    assert (v * x**2 + 1 / (4 * v * y**2) >= x / y * (1 - 1e-12)).all()


@pytest.mark.parametrize("seed", range(4))
def test_descent_and_surrogate(seed: int) -> None:
    """The objective never rises, and every surrogate optimum lies between the objectives before and after."""
    rng = np.random.default_rng(seed)
    n = 5
    x, y = cp.Variable(n, pos=True), cp.Variable(n, pos=True)
    target = rng.uniform(0.5, 2.0, n)
    program = FractionalProgram(
        cp.sum_squares(x - target),
        products=[Product(x, 1.0 + cp.square(y), rng.uniform(0.1, 1.0, n))],
        ratios=[Ratio(0.3 + cp.square(x), cp.sqrt(y))],
        constraints=[cp.sum(y) <= n, x <= 3.0, x >= 0.05, y >= 0.05],
    )
    found = program.minimise({x: np.full(n, 2.5), y: np.ones(n)}, tolerance=1e-7)
    assert found.status == "converged"
    history, surrogate = np.array(found.history), np.array(found.surrogate)
    assert (np.diff(history) <= 1e-6 * np.abs(history[:-1])).all()
    assert (surrogate <= history[:-1] * (1 + 1e-6)).all()
    assert (surrogate >= history[1:] * (1 - 1e-6)).all()
    assert found.objective == pytest.approx(program.value(), rel=1e-9)


def test_one_step_moves_the_odds() -> None:
    """min A x + B (Y - x): one step multiplies x/(Y - x) by B/A, whatever the start."""
    layers, a, b = 32.0, 3.0, 2.0
    x = cp.Variable(1, nonneg=True)
    program = FractionalProgram(0.0, products=[Product(x, a), Product(cp.pos(layers - x), b)],
                                constraints=[x <= layers])
    for start in (4.0, 16.0, 25.0):
        found = program.minimise({x: [start]}, iterations=1)
        after = float(found.values[x][0])
        assert after / (layers - after) == pytest.approx(start / (layers - start) * b / a, rel=1e-4)


def test_compiled_once() -> None:
    """A caller's parameters change the problem between calls: no new compilation, other stationary point."""
    speed, idle = cp.Variable(1, pos=True), cp.Parameter(1, pos=True)
    program = FractionalProgram(0.0, ratios=[Ratio(idle + cp.power(speed, 3), speed)], constraints=[speed <= 10])
    for burnt in (2.0, 16.0, 2.0):
        idle.value = np.array([burnt])
        found = program.minimise({speed: [5.0]}, tolerance=1e-10)
        assert found.values[speed][0] == pytest.approx(np.cbrt(burnt / 2), rel=1e-3)
    assert program.problem.is_dpp()


def test_faulty_terms() -> None:
    """A factor of the wrong curvature or sign is named."""
    x = cp.Variable(2)
    with pytest.raises(DataError, match=r"products\[0\].first is not known to be nonnegative"):
        FractionalProgram(0.0, products=[Product(x, 1.0)])
    with pytest.raises(DataError, match=r"ratios\[0\].denominator is not concave"):
        FractionalProgram(0.0, ratios=[Ratio(1.0, cp.square(x))])
    with pytest.raises(DataError, match="not convex"):
        FractionalProgram(cp.sqrt(cp.pos(x)))
    with pytest.raises(DataError, match=r"products\[0\].weight must be finite and >= 0"):
        FractionalProgram(0.0, products=[Product(cp.pos(x), 1.0, [1.0, -1.0])])
    with pytest.raises(DataError, match=r"products\[0\].weight holds variables"):
        FractionalProgram(0.0, products=[Product(cp.pos(x), 1.0, x)])
    with pytest.raises(DataError, match=r"shapes \(\(2,\), \(3,\), \(\)\)"):
        FractionalProgram(0.0, products=[Product(cp.pos(x), cp.Variable(3, nonneg=True))])


def test_faulty_starts() -> None:
    """What has no value, or one that does not fit, is named."""
    x, y = cp.Variable(2, nonneg=True, name="x"), cp.Variable(nonneg=True, name="y")
    price = cp.Parameter(nonneg=True, name="price")
    program = FractionalProgram(0.0, products=[Product(x, 1.0 + y, price)])
    with pytest.raises(DataError, match="no value for variable y"):
        program.minimise({x: [1.0, 1.0]})
    with pytest.raises(DataError, match=r"parameter price.* has no value"):
        program.minimise({x: [1.0, 1.0], y: 1.0})
    price.value = 1.0
    with pytest.raises(DataError, match="variable x: Invalid dimensions"):
        program.minimise({x: [1.0, 1.0, 1.0], y: 1.0})
    with pytest.raises(DataError, match="no variable of the program"):
        program.minimise({x: [1.0, 1.0], y: 1.0, cp.Variable(): 1.0})


def test_shapes() -> None:
    """Scalars, matrices and weights broadcast; c/r + r has its least value 2 sqrt(c) at r = sqrt(c)."""
    for shape in ((), (1,), (3,), (2, 3)):
        r, c = cp.Variable(shape, pos=True), np.array([1.0, 4.0, 9.0])
        program = FractionalProgram(cp.sum(r), ratios=[Ratio(1.0, r, c)], constraints=[r <= 100.0])
        found = program.minimise({r: np.full(shape, 2.0)}, tolerance=1e-9)
        least = 2.0 * np.sqrt(c.sum()) if r.size == 1 else 2.0 * np.sqrt(c).sum() * r.size / 3
        assert found.objective == pytest.approx(least, rel=1e-5)


def test_an_infeasible_start_is_no_answer() -> None:
    """x + 1/x over x >= 2 from x = 1: the start is better than any feasible point."""
    x = cp.Variable(pos=True)
    found = FractionalProgram(x, ratios=[Ratio(1.0, x)], constraints=[x >= 2.0]).minimise({x: 1.0})
    assert found.objective == pytest.approx(2.5, rel=1e-6)
    assert found.values[x] == pytest.approx(2.0, rel=1e-6)
    assert found.status == "converged"


def test_a_start_outside_the_domain() -> None:
    """1/x at x = 0 is inf, without a warning, and is left."""
    x = cp.Variable(nonneg=True)
    found = FractionalProgram(x, ratios=[Ratio(1.0, x)], constraints=[x <= 5.0]).minimise({x: 0.0})
    assert found.history[0] == np.inf
    assert found.objective == pytest.approx(2.0, rel=1e-5)


def test_infeasible_unbounded_stopped() -> None:
    x, y = cp.Variable(nonneg=True), cp.Variable(nonneg=True)
    start = {x: 1.0, y: 1.0}
    found = FractionalProgram(0.0, products=[Product(x, y)], constraints=[x >= 2.0, x <= 1.0]).minimise(start)
    assert (found.status, found.objective) == ("infeasible", np.inf)
    z = cp.Variable(nonneg=True)
    found = FractionalProgram(-z, products=[Product(x, y)]).minimise({**start, z: 1.0})
    assert (found.status, found.objective) == ("unbounded", -np.inf)
    seen: list[int] = []

    def second(iteration: int, _value: float) -> bool:
        seen.append(iteration)
        return iteration == 2

    found = FractionalProgram(x, ratios=[Ratio(1.0, x)]).minimise({x: 9.0}, tolerance=0.0, on_iteration=second)
    assert (found.status, seen) == ("stopped", [1, 2])
    left = iter([10.0, 10.0, 0.0])
    found = FractionalProgram(x, ratios=[Ratio(1.0, x)]).minimise(
        {x: 9.0}, tolerance=0.0, seconds_left=lambda: next(left))
    assert (found.status, len(found.surrogate)) == ("stopped", 2)


def test_no_finite_iterate() -> None:
    x = cp.Variable(nonneg=True)
    with pytest.raises(SolverError, match="no iterate"):
        FractionalProgram(0.0, ratios=[Ratio(1.0, x)], constraints=[x <= 1.0]).minimise({x: 0.0}, iterations=0)
