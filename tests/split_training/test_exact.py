"""The enumeration of the library against the enumeration of the twin."""

from __future__ import annotations

import pytest
from instances import chunks, instance, sized
from twin import Twin

import edgealloc as ea


@pytest.mark.parametrize("seeds", chunks(60, 4), ids=str)
def test_exact_is_the_enumerated_optimum(seeds: range) -> None:
    """`exact` returns the optimum, proves it (bound = objective to rounding) and says OPTIMAL."""
    for seed in seeds:
        problem = instance(seed, users=3)
        optimum = Twin(problem).optimum()
        solution = problem.solve("exact", gap=1e-9)
        assert solution.objective == pytest.approx(optimum, rel=1e-9), seed
        assert solution.bound is not None
        assert solution.bound <= optimum * (1.0 + 1e-9), seed
        assert solution.bound == pytest.approx(optimum, rel=1e-9), seed
        assert solution.status == ea.Status.OPTIMAL, seed
        assert not solution.attempts, seed


def test_exact_agrees_with_certified() -> None:
    """Two methods, one optimum, on problems a little larger than the twin can enumerate in a test."""
    for seed in range(6):
        problem = sized(seed, 5, 2, 4, extreme=False)
        exact, certified = problem.solve("exact"), problem.solve("certified", gap=0.0)
        assert exact.objective is not None
        assert certified.objective is not None
        assert certified.bound is not None
        assert certified.objective == pytest.approx(exact.objective, rel=1e-9), seed
        assert certified.bound <= exact.objective * (1.0 + 1e-9), seed


def test_exact_refuses_large_problems() -> None:
    """Beyond what can be enumerated it says so at once, with the number of combinations and the way out."""
    problem = sized(1, 30, 4, 12, extreme=False)
    with pytest.raises(ea.DataError, match="certified"):
        problem.solve("exact")
