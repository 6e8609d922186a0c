"""Binaries by exact penalty: against enumeration, descent at equal penalty, honesty where nothing is found."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgealloc.errors import DataError
from edgealloc.solvers.cccp import BinaryProgram, minimise_binaries


def assignment(rng: np.random.Generator, users: int, sites: int, room: float) -> tuple[BinaryProgram, float]:
    """A generalised assignment problem and its optimum by enumeration (inf if there is none)."""
    cost, size = rng.random((users, sites)), rng.random((users, sites))
    rows: Any = [np.kron(np.eye(users), np.ones(sites))]
    rows += [(size * (np.arange(sites) == m)).reshape(1, -1) for m in range(sites)]
    least = np.inf
    for places in itertools.product(range(sites), repeat=users):
        x = np.zeros((users, sites))
        x[np.arange(users), places] = 1.0
        if ((size * x).sum(axis=0) <= room).all():
            least = min(least, float((cost * x).sum()))
    low = np.r_[np.ones(users), np.full(sites, -np.inf)]
    return BinaryProgram(cost.ravel(), np.vstack(rows), low, np.r_[np.ones(users), np.full(sites, room)]), least


def test_integral_feasible_and_not_below_enumeration() -> None:
    """Every answer is binary, keeps every row, and is no better than the optimum; most are the optimum."""
    rng = np.random.default_rng(0)
    best = answered = possible = 0
    for seed in range(60):
        program, least = assignment(rng, 4, 3, rng.uniform(0.7, 1.4))
        found = minimise_binaries(program, seed=seed)
        possible += np.isfinite(least)
        if found.x is None:
            continue
        answered += 1
        assert set(found.x.tolist()) <= {0.0, 1.0}
        assert program.holds(found.x)
        assert found.objective >= least - 1e-9
        best += found.objective <= least + 1e-9
    assert answered >= 0.8 * possible
    assert best >= 0.7 * answered


def test_without_coupling_it_is_exact() -> None:
    """Where only one row per user couples, every vertex is binary and the first linear program is the optimum."""
    rng = np.random.default_rng(1)
    cost = rng.random((6, 4))
    program = BinaryProgram(cost.ravel(), np.kron(np.eye(6), np.ones(4)), np.ones(6), np.ones(6))
    found = minimise_binaries(program, starts=3)
    assert found.objective == pytest.approx(cost.min(axis=1).sum(), abs=1e-12)
    assert set(found.starts) == {"integral"}


def test_penalised_objective_never_rises_while_rho_stays() -> None:
    rng = np.random.default_rng(2)
    for seed in range(10):
        program, _ = assignment(rng, 4, 3, 0.9)
        for history in minimise_binaries(program, seed=seed).history:
            for (rho, before), (after_rho, after) in itertools.pairwise(history):
                assert after_rho > rho or after <= before + 1e-9


def test_impossible_rows_are_said_to_be() -> None:
    """An infeasible relaxation is a proof; infeasible binaries with a feasible relaxation are just not found."""
    program = BinaryProgram([1.0, 1.0], [[1.0, 1.0]], [3.0], [4.0])
    assert minimise_binaries(program).starts == ("infeasible",)
    halves = BinaryProgram([1.0, 1.0], [[1.0, 1.0], [1.0, -1.0]], [1.0, 0.0], [1.0, 0.0])
    found = minimise_binaries(halves)
    assert found.x is None
    assert found.objective == np.inf
    assert set(found.starts) == {"fractional"}


def test_same_seed_same_answer() -> None:
    program, _ = assignment(np.random.default_rng(3), 5, 3, 1.0)
    first, second = (minimise_binaries(program, seed=7) for _ in range(2))
    assert first.history == second.history


def test_faulty_programs() -> None:
    with pytest.raises(DataError, match="matrix"):
        BinaryProgram([1.0], [[1.0, 2.0]], [0.0], [1.0])
    with pytest.raises(DataError, match="crossed"):
        BinaryProgram([1.0], [[1.0]], [2.0], [1.0])
    with pytest.raises(DataError, match="cost"):
        BinaryProgram([np.nan], [[1.0]], [0.0], [1.0])
    with pytest.raises(DataError, match="top"):
        BinaryProgram([1.0], [[1.0]], [0.0], [1.0], top=[0.5])
    with pytest.raises(DataError, match="cost"):
        BinaryProgram([], np.zeros((0, 0)), [], [])
    with pytest.raises(DataError, match="crossed"):
        BinaryProgram([1.0], [[1.0]], [-np.inf], [-np.inf])
    program = BinaryProgram([1.0], [[1.0]], [0.0], [1.0])
    with pytest.raises(DataError, match="start must hold 1"):
        minimise_binaries(program, start=[2.0])


@pytest.mark.parametrize("unit", [1e-15, 1e-9, 1e12, 1e25])
def test_units_of_the_cost_do_not_matter(unit: float) -> None:
    """The solver's tolerances are absolute; the answer is that of costs near 1."""
    for seed in range(4):
        program, least = assignment(np.random.default_rng(seed), 4, 3, 1.1)
        scaled = BinaryProgram(unit * program.cost, program.matrix, program.lower, program.upper)
        plain, found = minimise_binaries(program), minimise_binaries(scaled)
        assert plain.x is not None
        assert found.x is not None
        assert found.objective == pytest.approx(unit * plain.objective, rel=1e-9)
        assert found.objective >= unit * least * (1 - 1e-9)


def test_costs_that_say_nothing() -> None:
    """All the same, or huge where forbidden: the rows alone decide, and the penalty still works."""
    program, _ = assignment(np.random.default_rng(5), 4, 3, 1.2)
    for cost in (np.zeros(12), np.ones(12)):
        found = minimise_binaries(BinaryProgram(cost, program.matrix, program.lower, program.upper))
        assert found.x is not None
        assert "integral" in found.starts
    forbidden = np.ones(12)
    forbidden[0] = 0.0
    cost = np.where(forbidden > 0.0, program.cost, 1e30)
    found = minimise_binaries(BinaryProgram(cost, program.matrix, program.lower, program.upper, forbidden))
    assert found.x is not None
    assert found.x[0] == 0.0
