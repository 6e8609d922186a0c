"""The certified method: enumeration by code that shares nothing with it, the bound, time, threads, interruption."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from instances import choose, chunks, count, instance, problems, sized
from stopped_clock import StoppedClock
from twin import Twin

import edgealloc as ea
from edgealloc.formulations.split_training.resources import optimal_allocation


def check_solution(solution: ea.Solution, gap: float) -> None:  # type: ignore[type-arg]
    """What holds for every answer with an allocation, whatever the problem."""
    assert solution.objective is not None
    assert solution.bound is not None
    assert solution.gap is not None
    assert solution.allocation is not None
    assert solution.bound <= solution.objective
    assert solution.gap == (solution.objective - solution.bound) / max(abs(solution.objective), 1e-300)
    assert solution.problem.relative_violation(solution.allocation) <= 1e-9
    assert solution.objective == solution.problem.evaluate(solution.allocation).objective
    assert (solution.status == ea.Status.OPTIMAL) == (solution.gap <= gap)
    assert all(line.startswith("branch and bound: ") for line in solution.attempts), solution.attempts


def check_optimal(problem: ea.SplitTraining, label: object) -> None:
    optimum = Twin(problem).optimum()
    solution = problem.solve("certified", gap=0.0, threads=1)
    check_solution(solution, 0.0)
    assert solution.objective == pytest.approx(optimum, rel=1e-7), label
    assert solution.bound is not None
    assert solution.bound <= optimum * (1.0 + 1e-9), label


@pytest.mark.parametrize("seeds", chunks(120, 6), ids=str)
def test_certified_is_the_enumerated_optimum(seeds: range) -> None:
    """On tiny problems of every variant the certified objective is the optimum by enumeration, and the bound is never
    above it: ``bound <= optimum (1 + 1e-9)``."""
    for seed in seeds:
        check_optimal(instance(seed), seed)


@settings(max_examples=count(24))
@given(problem=problems(users=3))
def test_certified_on_degenerate_problems(problem: ea.SplitTraining) -> None:
    """The same for whatever Hypothesis makes of the variants: ties, dead links, gains of 1e-20, free energy."""
    check_optimal(problem, problem.describe())


@pytest.mark.parametrize("seeds", chunks(30, 2), ids=str)
def test_a_looser_gap_is_kept(seeds: range) -> None:
    """With a gap asked for, the answer is optimal within it, and its bound is still below the optimum."""
    for seed in seeds:
        problem = instance(seed)
        solution = problem.solve(gap=1e-2, threads=1)
        check_solution(solution, 1e-2)
        optimum = Twin(problem).optimum()
        assert solution.bound is not None
        assert solution.objective is not None
        assert solution.bound <= optimum * (1.0 + 1e-9), seed
        assert solution.objective >= optimum * (1.0 - 1e-9), seed
        if solution.status == ea.Status.OPTIMAL:
            assert solution.objective <= optimum * (1.0 + 1.02e-2), seed


@pytest.mark.parametrize("seeds", chunks(12, 3), ids=str)
def test_bound_is_below_every_feasible_allocation(seeds: range, clock: StoppedClock) -> None:
    """Weak duality on middle-sized problems: no allocation that anybody finds costs less than the bound."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        problem = sized(seed, int(rng.integers(10, 80)), int(rng.integers(1, 8)), int(rng.integers(2, 20)))
        # a bound holds whenever it is looked at: at the first word from the tree at the latest
        solution = problem.solve(gap=1e-4, threads=1, on_progress=clock.run_out_at("branches"))
        clock.reset()
        check_solution(solution, 1e-4)
        assert solution.bound is not None
        for _ in range(20):
            allocation = optimal_allocation(problem, *choose(problem, rng))
            assert solution.bound <= problem.evaluate(allocation).objective, seed
        for method in ("greedy", "random", "edge-only", "local-only"):
            other = problem.solve(method)
            if other.objective is not None:
                assert solution.bound <= other.objective, (seed, method)
                assert solution.objective is not None
                assert solution.objective <= other.objective * (1.0 + 1e-4), (seed, method)


@pytest.mark.parametrize("seed", range(count(8)))
def test_more_never_hurts_the_optimum(seed: int) -> None:
    """More bandwidth, server clock or gain never raises the optimum, and a tighter limit never lowers it."""
    problem = sized(seed, 3, 2, 4)

    def solved(changed: ea.SplitTraining) -> float:
        objective = changed.solve(gap=0.0, threads=1).objective
        assert objective is not None
        return objective

    before = solved(problem)
    for field in ("bandwidth_max_hz", "server_frequency_max_hz", "gain", "power_max_w", "user_frequency_max_hz"):
        more = np.minimum(np.asarray(getattr(problem, field)) * 1.3, 1.0 if field == "gain" else np.inf)
        assert solved(problem.replace(**{field: more})) <= before * (1.0 + 1e-9), field
    lower = np.minimum(problem.cuts.low, problem.layers)
    assert solved(problem.replace(max_local_layers=np.maximum(problem.cuts.high, lower))) >= before * (1.0 - 1e-9)


def same_bits(first: ea.Solution, second: ea.Solution) -> None:  # type: ignore[type-arg]
    assert first.objective == second.objective
    assert first.bound == second.bound
    assert first.allocation is not None
    assert second.allocation is not None
    for field in fields(ea.Allocation):
        ours, theirs = (np.asarray(getattr(one.allocation, field.name)) for one in (first, second))
        assert ours.tobytes() == theirs.tobytes(), field.name
    for prices in ("prices", "bound_prices"):
        for name, value in getattr(first, prices).items():
            assert value.tobytes() == getattr(second, prices)[name].tobytes(), (prices, name)


@pytest.mark.parametrize("clock_scaled", [False, True])
def test_threads_and_repetition_change_no_bit(clock_scaled: bool) -> None:
    """Same data, seed and options give the same bits for 1 and 3 threads, and again for 1."""
    problem = sized(4, 2500, 6, 12, extreme=False, clock_scaled=clock_scaled)
    # capacity in proportion to the load, so that the gap is proven in a second
    problem = problem.replace(
        server_flops_per_cycle=problem.server_flops_per_cycle * 400.0,
        bandwidth_max_hz=problem.bandwidth_max_hz * 400.0,
    )
    first = problem.solve(gap=1e-4, threads=1, seed=1, time_limit_s=None)
    assert first.status == ea.Status.OPTIMAL
    for threads in (3, 1):
        same_bits(first, problem.solve(gap=1e-4, threads=threads, seed=1, time_limit_s=None))


@pytest.mark.parametrize("limit", [1e-9, 1e-3, 1e-2, 0.05])
@pytest.mark.parametrize("users", [5, 3000])
def test_time_limit_returns_the_best_so_far(limit: float, users: int) -> None:
    """However little time there is, `solve` returns: what it found with its gap, or NO_SOLUTION."""
    solution = sized(2, users, 4, 8, extreme=False).solve(gap=0.0, time_limit_s=limit)
    if solution.status == ea.Status.NO_SOLUTION:
        assert solution.objective is None
        assert solution.gap is None
        assert solution.termination == ea.Termination.TIME_LIMIT
        with pytest.raises(ea.SolverError):
            solution.require()
    else:
        assert solution.status in (ea.Status.FEASIBLE, ea.Status.OPTIMAL)
        assert solution.problem.relative_violation(solution.allocation) <= 1e-9
        assert solution.objective is not None
        if solution.bound is not None:
            assert solution.bound <= solution.objective
    assert solution.seconds < limit + 20.0
    assert str(solution)


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_interruption_keeps_the_best_so_far(after: int) -> None:
    """KeyboardInterrupt at any report ends the run as INTERRUPTED, with what was found and proven until then."""
    problem = sized(5, 60, 3, 8, extreme=False)
    seen: list[ea.Progress] = []

    def stop(progress: ea.Progress) -> None:
        seen.append(progress)
        if len(seen) > after:
            raise KeyboardInterrupt

    solution = problem.solve(gap=0.0, on_progress=stop)
    assert len(seen) == after + 1
    assert solution.termination == ea.Termination.INTERRUPTED
    check_solution(solution, 0.0)
    assert solution.objective is not None
    best = min(line.objective for line in seen if line.objective is not None)
    assert solution.objective <= best * (1.0 + 1e-9)


def test_history_is_monotone() -> None:
    """Along a run the bound never falls, the objective never rises, and the one stays below the other."""
    solution = sized(6, 40, 3, 8, extreme=False).solve(gap=0.0)
    bounds = [line.bound for line in solution.history if line.bound is not None]
    objectives = [line.objective for line in solution.history if line.objective is not None]
    assert bounds == sorted(bounds)
    assert objectives == sorted(objectives, reverse=True)
    assert bounds[-1] <= objectives[-1] * (1.0 + 1e-12)
    assert [line.seconds for line in solution.history] == sorted(line.seconds for line in solution.history)


def test_warm_start_is_never_worse_than_it() -> None:
    """A warm start (allocation or solution) is accepted, and the answer costs no more than it."""
    problem = sized(7, 30, 3, 8, extreme=False)
    greedy = problem.solve("greedy")
    for start in (greedy, greedy.allocation):
        solution = problem.solve(warm_start=start)
        check_solution(solution, 1e-3)
        assert solution.objective is not None
        assert greedy.objective is not None
        assert solution.objective <= greedy.objective * (1.0 + 1e-12)
    best = problem.solve(gap=0.0)
    again = problem.solve(gap=0.0, warm_start=best)
    assert again.objective == pytest.approx(best.objective, rel=1e-12)


def test_unusable_warm_start_is_told() -> None:
    """A warm start that violates a limit is left aside and recorded in `attempts`; a wrong shape is a DataError."""
    problem = sized(7, 30, 3, 8, extreme=False)
    greedy = problem.solve("greedy").allocation
    assert greedy is not None
    wide = ea.Allocation(
        greedy.server,
        greedy.local_layers,
        greedy.power_w,
        greedy.bandwidth_hz * 10.0,
        greedy.user_frequency_hz,
        greedy.server_frequency_hz,
    )
    solution = problem.solve(warm_start=wide)
    assert solution.status == ea.Status.OPTIMAL
    assert any("warm start" in line for line in solution.attempts)
    short = ea.Allocation(*(getattr(greedy, field.name)[:5] for field in fields(ea.Allocation)))
    with pytest.raises(ea.DataError, match="shape"):
        problem.solve(warm_start=short)


@pytest.mark.parametrize("seed", range(count(8)))
def test_both_kinds_of_price(seed: int) -> None:
    """`prices` are the multipliers at the returned integers; `bound_prices` prove the bound: the Lagrangian
    at them, by the twin, is the bound to rounding, or less where enumeration closed the gap."""
    problem = sized(seed, 3, 2, 4, extreme=False)
    solution = problem.solve(gap=0.0, threads=1)
    for name in ("bandwidth_hz", "server_frequency_hz", "power_w", "user_frequency_hz"):
        assert (solution.prices[name] >= 0.0).all()
    assert solution.bound is not None
    prices = [solution.bound_prices[name] for name in ("bandwidth_hz", "server_frequency_hz")]
    for price in prices:
        assert price.shape == (2,)
        assert (price >= 0.0).all()
    priced = [line.bound for line in solution.history if line.stage in ("start", "prices")][-1]
    assert priced is not None
    assert Twin(problem).dual(*prices) == pytest.approx(priced, rel=1e-9)
    assert priced <= solution.bound


def test_one_of_everything() -> None:
    """One user, one server, one layer and nothing to choose: still an answer, with gap 0 to rounding."""
    problem = sized(0, 1, 1, 1, min_local=0, max_local="split", extreme=False)
    solution = problem.solve(gap=1e-9)
    assert solution.status == ea.Status.OPTIMAL
    assert solution.gap is not None
    assert math.isclose(solution.gap, 0.0, abs_tol=1e-9)
