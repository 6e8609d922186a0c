"""The majorisers of `solvers.fractional`: identities, descent, and stationary points known in closed form."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from edgealloc.errors import DataError
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
