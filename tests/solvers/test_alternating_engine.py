"""Block-coordinate descent on problems whose answers are known, and blocks that break their promises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from edgealloc.core.run import TimeUpError
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.solvers.alternating import Alternated, Block, BlockError, alternate

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, ...]


def quadratic_blocks(matrix: FloatArray, right: FloatArray) -> list[Block[FloatArray]]:
    """One block per coordinate of x' A x / 2 - b' x, solved exactly: Gauss and Seidel's iteration."""

    def block(i: int) -> Block[FloatArray]:
        def solve(x: FloatArray) -> FloatArray:
            y = x.copy()
            y[i] += (right[i] - matrix[i] @ x) / matrix[i, i]
            return y

        return Block(f"x{i}", solve)

    return [block(i) for i in range(right.size)]


def test_exact_blocks_reach_the_minimum_of_a_convex_quadratic() -> None:
    """The end is A^-1 b by numpy's solver, objectives never rise, and no block is ever rejected."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(4, 4))
        matrix, right = root @ root.T + np.eye(4), rng.normal(size=4)

        def value(x: FloatArray, matrix: FloatArray = matrix, right: FloatArray = right) -> float:
            return float(0.5 * x @ matrix @ x - right @ x)

        start: FloatArray = np.zeros(4)
        found = alternate(quadratic_blocks(matrix, right), value, [start], tolerance=1e-14, max_sweeps=5000)
        exact: FloatArray = np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
        assert found.state is not None
        assert found.converged
        assert found.termination is Termination.CONVERGED
        assert found.objective == pytest.approx(value(exact), rel=1e-9)
        np.testing.assert_allclose(found.state, exact, atol=1e-4)
        objectives = found.history[0].objectives
        assert all(after <= before for before, after in pairwise(objectives))
        assert all(block.rejected == block.failed == 0 for block in found.blocks)


def test_nonnegative_factorisation_finds_a_rank_one_matrix() -> None:
    """Alternating least squares with a product of two positive vectors: the residual vanishes."""
    left, right = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])
    matrix = np.outer(left, right)
    blocks: list[Block[tuple[FloatArray, FloatArray]]] = [
        Block("left", lambda s: (np.maximum(matrix @ s[1] / (s[1] @ s[1]), 0.0), s[1])),
        Block("right", lambda s: (s[0], np.maximum(s[0] @ matrix / (s[0] @ s[0]), 0.0))),
    ]
    found = alternate(blocks, lambda s: float(((matrix - np.outer(*s)) ** 2).sum()), [(np.ones(3), np.ones(2))])
    assert found.state is not None
    np.testing.assert_allclose(np.outer(*found.state), matrix, rtol=1e-12)


#: Coordinate-wise minima of a function on a grid: (0, 0) costs 1, (3, 3) costs 0, and lines through them cost more.
GRID = np.array([[1.0, 5, 5, 5], [5, 5, 5, 4], [5, 5, 3, 2], [5, 4, 2, 0]])
ROWS = Block("row", lambda s: (int(GRID[:, s[1]].argmin()), s[1]))
COLUMNS = Block("column", lambda s: (s[0], int(GRID[s[0]].argmin())))


def on_grid(starts: list[tuple[int, int]]) -> Alternated[tuple[int, int]]:
    return alternate([ROWS, COLUMNS], lambda s: float(GRID[s]), starts)


def test_restarts_keep_the_best_end_and_the_first_of_equals() -> None:
    assert on_grid([(1, 0)]).objective == 1.0
    found = on_grid([(1, 0), (3, 2), (2, 3)])
    assert (found.state, found.objective, found.converged) == ((3, 3), 0.0, True)
    assert [descent.objectives[-1] for descent in found.history] == [1.0, 0.0, 0.0]
    assert [descent.objectives[0] for descent in found.history] == [5.0, 2.0, 2.0]
    assert on_grid([]).state is None


def liar(s: Point) -> Point:
    return (s[0] + 1.0,)


def test_answers_that_are_worse_are_rejected_and_counted() -> None:
    """Worse beyond rounding: rejected. Worse by rounding: kept out, counted as no change. No number: rejected."""
    blocks = [
        Block[Point]("better", lambda s: (0.5 * s[0],)),
        Block[Point]("liar", liar),
        Block[Point]("rounding", lambda s: (s[0] * (1.0 + 1e-13),)),
        Block[Point]("nonsense", lambda _: (math.nan,)),
    ]
    found = alternate(blocks, lambda s: 1.0 + s[0], [(8.0,)], tolerance=0.1)
    better, lies, rounding, nonsense = found.blocks
    sweeps = len(found.history[0].objectives) - 1
    assert found.state == (8.0 * 0.5**sweeps,)
    assert better.improved == lies.rejected == rounding.kept == nonsense.rejected == sweeps
    assert lies.worst_rise == pytest.approx(1.0 / found.objective)
    assert math.isinf(nonsense.worst_rise)
    assert "rejected (worse by up to" in lies.text()
    assert better.text() == f"better: {sweeps} improved, 0 kept"


def test_a_block_that_fails_leaves_the_state() -> None:
    def fails(s: Point) -> Point:
        raise BlockError("no link")

    def divides(s: Point) -> Point:
        return (1 / int(0.0 * s[0]),)

    found = alternate([Block("a", fails), Block("b", divides)], lambda s: s[0], [(3.0,)])
    assert found.state == (3.0,)
    assert found.converged
    assert [block.failed for block in found.blocks] == [1, 1]
    assert found.blocks[0].text() == "a: 0 improved, 0 kept, 1 failed (no link)"


def test_other_errors_of_a_block_are_not_swallowed() -> None:
    def broken(s: Point) -> Point:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        alternate([Block("a", broken)], lambda s: s[0], [(3.0,)])


def test_infeasible_states_may_be_left() -> None:
    """inf and nan are no objectives to stay at: the first finite one is an improvement."""
    for first in (math.inf, math.nan):

        def value(s: Point, first: float = first) -> float:
            return first if s[0] > 1.0 else s[0]

        found = alternate([Block[Point]("a", lambda _: (1.0,))], value, [(3.0,)])
        assert found.objective == 1.0
        assert found.history[0].objectives == (math.inf, 1.0, 1.0)
    stuck = alternate([Block[Point]("a", lambda s: s)], lambda _: math.inf, [(3.0,)])
    assert stuck.state == (3.0,)
    assert stuck.objective == math.inf


def halve(s: Point) -> Point:
    return (0.5 * s[0],)


def test_sweeps_run_out() -> None:
    found = alternate([Block("a", halve)], lambda s: s[0], [(1.0,)], max_sweeps=5, tolerance=0.1)
    assert found.termination is Termination.ITERATIONS
    assert not found.converged
    assert found.objective == 0.5**5


def test_time_limit_keeps_the_best_so_far() -> None:
    """Time may run out between blocks, inside one, or while a start is made."""
    left = [3]

    def clock() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise TimeUpError

    found = alternate([Block("a", halve)], lambda s: s[0], [(1.0,)], check_time=clock)
    assert (found.objective, found.termination) == (0.125, Termination.TIME_LIMIT)
    assert found.history[0].objectives == (1.0, 0.5, 0.25, 0.125)
    assert not found.converged

    def late(s: Point) -> Point:
        if s[0] < 0.3:
            raise TimeUpError
        return halve(s)

    inside = alternate([Block("a", late)], lambda s: s[0], [(1.0,)])
    assert (inside.objective, inside.termination) == (0.25, Termination.TIME_LIMIT)

    def starts() -> Iterator[Point]:
        yield (7.0,)
        raise TimeUpError

    unmade = alternate([Block[Point]("a", lambda s: s)], lambda s: s[0], starts())
    assert (unmade.state, unmade.termination, unmade.converged) == ((7.0,), Termination.TIME_LIMIT, True)


def test_interruption_keeps_the_best_so_far() -> None:
    seen: list[tuple[int, int, float]] = []

    def stop(start: int, sweep: int, state: Point, objective: float) -> None:
        seen.append((start, sweep, objective))
        if (start, sweep) == (1, 2):
            raise KeyboardInterrupt

    found = alternate([Block("a", halve)], lambda s: s[0], [(1.0,), (0.5,)], on_sweep=stop, max_sweeps=2)
    assert found.termination is Termination.INTERRUPTED
    assert seen == [(0, 0, 1.0), (0, 1, 0.5), (0, 2, 0.25), (1, 0, 0.25), (1, 1, 0.25), (1, 2, 0.125)]
    assert found.state == (0.125,)


def test_bad_options_are_named() -> None:
    with pytest.raises(DataError, match=r"blocks.*\n.*tolerance.*\n.*max_sweeps"):
        alternate([], lambda _: 0.0, [0], tolerance=-1.0, max_sweeps=0)
    with pytest.raises(DataError, match="blocks"):
        alternate([Block("a", halve), Block("a", halve)], lambda s: s[0], [(1.0,)])
