"""The problem against its twin: objective, feasible cuts and resources, by code that shares nothing with
it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from instances import choose, chunks, instance, problems, sized
from scipy.optimize import minimize
from twin import Twin

import edgealloc as ea
from edgealloc.formulations.split_training.resources import optimal_allocation


def random_allocation(problem: ea.SplitTraining, rng: np.random.Generator) -> ea.Allocation:
    """Any positive resources at a random association; capacities may be exceeded."""
    server, cut = choose(problem, rng)
    remote = server >= 0
    n = problem.users
    power = rng.uniform(0.0, 1.0, n) * (problem.power_max_w - problem.power_min_w) + problem.power_min_w
    capacity = problem.bandwidth_max_hz[server], problem.server_frequency_max_hz[server]
    return ea.Allocation(
        server=server,
        local_layers=cut,
        power_w=np.where(remote, np.maximum(power, 1e-6), 0.0),
        bandwidth_hz=np.where(remote, rng.uniform(0.01, 1.0, n) * capacity[0], 0.0),
        user_frequency_hz=rng.uniform(0.1, 1.0, n) * problem.user_frequency_max_hz,
        server_frequency_hz=np.where(remote, rng.uniform(0.01, 1.0, n) * capacity[1], 0.0),
    )


@pytest.mark.parametrize("seeds", chunks(300, 3), ids=str)
def test_evaluate_is_the_formula(seeds: range) -> None:
    """`evaluate` equals the scalar formula of Liu & Zhao, with every extension, to 1e-12, at any
    allocation."""
    for seed in seeds:
        problem = instance(seed)
        allocation = random_allocation(problem, np.random.default_rng(seed))
        costs = problem.evaluate(allocation)
        assert costs.objective == pytest.approx(Twin(problem).objective(allocation), rel=1e-12), seed
        assert np.all(costs.delay_s > 0.0) or problem.layers == 1
        assert float(costs.user_objective.sum()) == costs.objective


@pytest.mark.parametrize("seeds", chunks(300, 3), ids=str)
def test_allowed_cuts_are_those_of_the_twin(seeds: range) -> None:
    """A cut is offered if and only if privacy, range, stability limit and memory all allow it."""
    for seed in seeds:
        problem = instance(seed)
        twin, cuts = Twin(problem), problem.cuts
        for n in range(problem.users):
            split = [c for c in range(problem.layers) if twin.cut_allowed(n, c)]
            assert split == list(range(int(cuts.low[n]), int(cuts.high[n]) + 1)), (seed, n)
            assert bool(cuts.local[n]) == twin.cut_allowed(n, problem.layers), (seed, n)


@pytest.mark.parametrize("seeds", chunks(45, 3), ids=str)
def test_resources_are_those_of_the_twin(seeds: range) -> None:
    """The resource solve at a fixed association and cut is globally optimal: the twin's dual has the same
    value."""
    for seed in seeds:
        problem = instance(seed)
        server, cut = choose(problem, np.random.default_rng(seed))
        allocation = optimal_allocation(problem, server, cut)
        assert problem.relative_violation(allocation) <= 1e-12, seed
        assert problem.evaluate(allocation).objective == pytest.approx(Twin(problem).at(server, cut), rel=1e-9), seed


@given(problem=problems())
def test_resources_of_degenerate_problems(problem: ea.SplitTraining) -> None:
    """The same for whatever Hypothesis makes of the variants: ties, one user, one server, gains down to
    1e-20."""
    server, cut = choose(problem, np.random.default_rng(0))
    allocation = optimal_allocation(problem, server, cut)
    assert problem.relative_violation(allocation) <= 1e-12
    assert problem.evaluate(allocation).objective == pytest.approx(Twin(problem).at(server, cut), rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_the_twin_itself(seed: int) -> None:
    """The twin's band cost is below every split that a general solver (SLSQP) finds, and one comes within
    1e-6."""
    problem = sized(seed, 3, 1, extreme=False, dead_links=False, max_local="split")
    twin = Twin(problem)
    cost, price = twin.band_costs(np.ones((1, 3), dtype=bool), np.array([0]))
    cap = float(problem.bandwidth_max_hz[0])

    def split_cost(z: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        share = np.exp(z - z.max())
        share *= cap / share.sum()
        return sum(twin.power_cost(n, 0, float(b)) for n, b in enumerate(share)) / float(cost[0])

    rng = np.random.default_rng(seed)
    found = [float(minimize(split_cost, rng.normal(size=3), method="SLSQP", tol=1e-12).fun) for _ in range(2)]
    assert min(found) == pytest.approx(1.0, abs=1e-6)
    assert min(found + [split_cost(rng.normal(size=3)) for _ in range(20)]) >= 1.0 - 1e-10
    assert price[0] > 0.0
