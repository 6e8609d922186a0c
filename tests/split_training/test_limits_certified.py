"""The certified method under limits: deadlines, penalties, caps, server memory, "exactly" and rounds, against
enumeration by `limits_twin`, which shares no code with it."""

from __future__ import annotations

import math

import pytest
from instances import chunks
from limits_instances import limited
from limits_twin import LimitsTwin

import edgealloc as ea

#: One limit alone: the traits of `limited`.
ALONE = {
    "deadlines": {"deadlines": True, "penalties": False},
    "penalties": {"deadlines": True, "penalties": True},
    "caps": {"deadlines": False, "caps": True},
    "server_memory": {"deadlines": False, "server_memory": True},
    "exactly": {"deadlines": False, "exactly": True},
}


def only(name: str) -> dict[str, bool]:
    """Traits with nothing but this limit."""
    off = {"caps": False, "server_memory": False, "exactly": False, "rounds": False, "penalties": False}
    return off | ALONE[name]


def enumerated(problem: ea.SplitTraining) -> float | None:
    """The optimum by enumeration, inf if there is none; None where the twin gives up (one in a thousand)."""
    try:
        return LimitsTwin(problem).optimum().objective
    except ArithmeticError:
        return None


def check_infeasible(solution: ea.Solution, label: object) -> None:  # type: ignore[type-arg]
    """No allocation, and either a diagnosis or the word that nothing is proven."""
    assert solution.objective is None, label
    assert solution.allocation is None, label
    assert solution.status in (ea.Status.INFEASIBLE, ea.Status.NO_SOLUTION), label
    if solution.status == ea.Status.INFEASIBLE:
        assert solution.diagnosis is not None, label
        assert len(solution.diagnosis) > 0, label


def check_allocation(solution: ea.Solution, optimum: float, gap: float, label: object) -> None:  # type: ignore[type-arg]
    """What holds for every answer with an allocation, also when time ran out."""
    assert solution.allocation is not None, label
    assert solution.objective is not None, label
    assert solution.problem.relative_violation(solution.allocation) <= 1e-9, label
    assert solution.objective == solution.problem.evaluate(solution.allocation).objective, label
    assert solution.objective >= optimum * (1.0 - 2e-7), label
    assert (solution.status == ea.Status.OPTIMAL) == (solution.gap is not None and solution.gap <= gap), label


def check_bound(solution: ea.Solution, optimum: float, label: object) -> None:  # type: ignore[type-arg]
    """Never above the optimum."""
    if solution.bound is not None:
        assert solution.bound <= optimum * (1.0 + 1e-7), label


def check(problem: ea.SplitTraining, label: object) -> None:
    """Sums of delays: the optimum to 2e-6, proven, or no optimum and why."""
    optimum = enumerated(problem)
    if optimum is None:
        return
    solution = problem.solve("certified", gap=1e-6, threads=1, time_limit_s=None)
    check_bound(solution, optimum, label)
    if math.isinf(optimum):
        check_infeasible(solution, label)
        return
    check_allocation(solution, optimum, 1e-6, label)
    assert solution.objective is not None
    assert solution.objective <= optimum * (1.0 + 2e-6), label
    assert solution.status == ea.Status.OPTIMAL, (label, solution.termination, solution.attempts)


@pytest.mark.parametrize("seeds", chunks(40, 5), ids=str)
def test_certified_is_the_enumerated_optimum(seeds: range) -> None:
    """Every mix of limits on sums of delays."""
    for seed in seeds:
        check(limited(seed, rounds=False), seed)


@pytest.mark.parametrize("seeds", chunks(6, 1), ids=str)
@pytest.mark.parametrize("name", ALONE)
def test_one_limit_alone(name: str, seeds: range) -> None:
    """Each limit without the others, at other seeds than the mixes."""
    for seed in seeds:
        check(limited(10_000 + seed, **only(name)), (name, 10_000 + seed))


@pytest.mark.parametrize("seeds", chunks(12, 4), ids=str)
def test_rounds_are_the_enumerated_optimum(seeds: range) -> None:
    """Synchronous rounds with every mix of the other limits."""
    for seed in seeds:
        problem = limited(seed, rounds=True)
        optimum = enumerated(problem)
        if optimum is None:
            continue
        solution = problem.solve("certified", gap=1e-3, threads=1, time_limit_s=None)
        check_bound(solution, optimum, seed)
        if math.isinf(optimum):
            check_infeasible(solution, seed)
            continue
        check_allocation(solution, optimum, 1e-3, seed)
        assert solution.status == ea.Status.OPTIMAL, (seed, solution.attempts)
        assert solution.objective is not None
        assert solution.objective <= optimum * (1.0 + 2e-3), seed


@pytest.mark.parametrize("limit", ["deadlines", "caps", "server_memory"])
def test_out_of_reach_is_infeasible(limit: str) -> None:
    """What cannot be kept whatever the association is proven infeasible, with a diagnosis, by both methods."""
    for seed in range(2):
        problem = limited(seed, feasible=False, **only(limit))
        for method in ("certified", "prove"):
            solution = problem.solve(method, threads=1, time_limit_s=None)
            assert solution.status == ea.Status.INFEASIBLE, (method, seed)
            check_infeasible(solution, (method, seed))


def test_limits_that_do_not_bind_change_no_answer() -> None:
    """Deadlines of a day, room for everybody and memory without end: the objective without them."""
    for seed in range(4):
        plain = limited(seed, feasible=True, **only("exactly")).replace(resource_sense="at_most")
        loose = plain.replace(
            deadline_s=[1e12] * plain.users, users_per_server=[plain.users] * plain.servers,
            server_memory_bytes=[1e30] * plain.servers, server_memory_bytes_per_layer=1.0,
        )
        first, second = (problem.solve(gap=1e-9, threads=1).require() for problem in (plain, loose))
        assert second.objective == pytest.approx(first.objective, rel=2e-9), seed
