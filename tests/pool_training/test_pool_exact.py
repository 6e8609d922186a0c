"""Method `exact`, and the bound of `certified`, against an enumeration that shares no code with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edge_pools import tiny_pool
from pool_brute import Brute, parts
from pools import draws, objective_of, random_pool

import edgealloc as ea
from edgealloc.formulations.pool_training.exact import count_plans
from edgealloc.formulations.pool_training.exact_stages import compositions
from edgealloc.formulations.pool_training.plan import PARALLELISMS


def agrees(problem: ea.PoolTraining) -> None:
    """The optimum, its bound, or that there is none; and the certified bound is not above it."""
    optimum, plan = Brute(problem).best()
    solution, certified = problem.solve("exact", gap=1e-9), problem.solve("certified", gap=1e-3)
    if plan is None:
        assert solution.status == ea.Status.INFEASIBLE
        assert certified.allocation is None
        assert solution.diagnosis is not None
        repaired = problem.replace(**solution.diagnosis.changes)
        assert math.isfinite(Brute(repaired).best()[0])
        return
    assert solution.status == ea.Status.OPTIMAL
    assert solution.objective == pytest.approx(optimum, rel=1e-9)
    assert solution.bound is not None
    assert solution.bound <= optimum * (1.0 + 1e-12)
    assert certified.status != ea.Status.INFEASIBLE
    assert certified.bound is not None
    assert certified.bound <= optimum * (1.0 + 1e-12)


@pytest.mark.parametrize("turn", range(4))
def test_exact_is_the_optimum_of_all_plans(turn: int) -> None:
    """Ties, devices without memory, deadlines, one device, all topologies, time, energy and both."""
    for seed in draws(18, turn, 4):
        agrees(tiny_pool(seed))


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_every_parallelism_alone(parallelism: str) -> None:
    """The best plan of one parallelism."""
    for seed in range(200, 204):
        agrees(tiny_pool(seed, devices=3, layers=4, parallelisms=(parallelism,)))


def test_four_devices() -> None:
    """Longer pipelines and bigger rings."""
    for seed in (301, 305):
        agrees(tiny_pool(seed, devices=4, layers=4))


def test_the_number_of_plans() -> None:
    """Counted and enumerated; shares of data and tensor plans are not counted."""
    for seed in range(6):
        for parallelism in ("single", "sequence", "pipeline", "hybrid"):
            problem = tiny_pool(seed, devices=3, layers=4, parallelisms=(parallelism,))
            assert count_plans(problem, parallelism) == sum(1 for _ in Brute(problem).plans())


def test_compositions_in_blocks() -> None:
    """All ways to share out, whatever the size of the blocks."""
    for block in (1, 3, 1000):
        rows = np.concatenate(list(compositions(9, [5, 9, 4], block)))
        wanted = [one for one in parts(9, 3) if one[0] <= 5 and one[2] <= 4]
        assert sorted(map(tuple, rows.tolist())) == sorted(wanted)
    assert not list(compositions(9, [2, 3], 10))


def test_too_many_plans_are_refused() -> None:
    """The message names the number, the limit and what to use."""
    with pytest.raises(ea.DataError, match=r"pipeline plans of 12 devices; it takes up to 2e\+07. Use 'certified'"):
        random_pool(0, 12, 24, parallelisms=("pipeline",)).solve("exact")


def test_more_devices_with_one_stage() -> None:
    """Data and tensor plans of eight devices: never worse than any of the baselines."""
    problem = random_pool(1, 7, 8, "star", memory_bytes=1e11, parallelisms=("single", "data", "tensor"))
    solution = problem.solve("exact", gap=1e-9)
    assert solution.status == ea.Status.OPTIMAL
    for name in ("single-best", "data", "greedy"):
        other = problem.solve(name).objective
        assert other is None or objective_of(solution) <= other * (1.0 + 1e-12)


def test_time_limit_and_interrupt() -> None:
    """The best plan so far, without a bound."""
    problem = random_pool(2, 5, 12)
    solution = problem.solve("exact", time_limit_s=0.05)
    assert solution.termination == ea.Termination.TIME_LIMIT
    assert solution.bound is None

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    solution = problem.solve("exact", on_progress=stop)
    assert solution.termination == ea.Termination.INTERRUPTED
    assert solution.bound is None
    assert solution.allocation is not None
