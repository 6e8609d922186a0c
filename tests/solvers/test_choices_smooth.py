"""Smoothed prices: gradient and Hessian by differences, bounds against the bundle method, the rounding of shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from choice_problems import least_cost, small

from edgealloc.core.run import Run
from edgealloc.solvers.choices import Choices, prices, smooth
from edgealloc.solvers.choices.part import Part, whole_part
from edgealloc.solvers.choices.state import State


def crowd(agents: int, seed: int) -> Choices:
    """Agents with a dear option that uses nothing, and one on each of three pairs of capacities."""
    numbers = np.random.default_rng([seed, agents])
    cost = np.hstack([numbers.uniform(2.0, 9.0, (agents, 1)), numbers.uniform(0.0, 3.0, (agents, 3))])
    use = np.zeros((agents, 4, 2))
    use[:, 1:] = numbers.uniform(1.0, 3.0, (agents, 3, 2)) * 1.5 / agents
    capacity = np.broadcast_to(np.array([[0, 0], [0, 1], [2, 3], [4, 5]]), use.shape)
    return Choices(np.arange(agents + 1) * 4, cost.ravel(), use.reshape(-1, 2), capacity.reshape(-1, 2), 6)


def part_of(problem: Choices) -> Part:
    part = whole_part(problem, 1)
    assert part is not None
    return part


def test_gradient_and_curvature_are_derivatives() -> None:
    part, run = part_of(crowd(50, 0)), Run(time_limit_s=math.inf)
    at, temperature = np.linspace(1.0, 6.0, 6), 0.7
    value, slope, curvature = smooth._soft(part, at, temperature, run)
    step = 1e-5
    for k in range(6):
        moved = at.copy()
        moved[k] += step
        after, slope_after, _ = smooth._soft(part, moved, temperature, run)
        assert (after - value) / step == pytest.approx(slope[k], abs=1e-3)
        assert -(slope_after - slope) / step == pytest.approx(curvature[k] / temperature, abs=1e-3)


def test_softened_values_are_below_by_no_more_than_the_temperature_allows() -> None:
    part, run = part_of(crowd(80, 1)), Run(time_limit_s=math.inf)
    at = np.full(6, 3.0)
    exact = float(part.ask(at, 1).value.sum() - at @ part.limit)
    for temperature in (1.0, 0.1, 0.01):
        value, _, _ = smooth._soft(part, at, temperature, run)
        assert exact - temperature * math.log(4.0) * part.agents <= value <= exact + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_prices_are_as_good_as_those_of_the_bundle_method(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, bounds, objectives = crowd(900, seed), [], []
    for many, iterations in ((1, 0), (1, 150), (10**9, 150)):
        monkeypatch.setattr(prices, "MANY", many)
        state, run = State(problem), Run(gap=1e-6, time_limit_s=math.inf)
        bound, _ = prices.find_prices(part_of(problem), state, run, iterations=iterations)
        bounds.append(bound)
        objectives.append(state.objective)
        assert bound <= state.objective
        assert state.choice is not None
        assert problem.fits(state.choice)
    assert bounds[0] == pytest.approx(bounds[2], rel=1e-3)
    assert bounds[1] >= bounds[2] * (1.0 - 1e-5)
    assert objectives[0] <= bounds[0] * 1.01


def test_threads_do_not_matter() -> None:
    problem = crowd(700, 3)
    found = []
    for threads in (1, 3):
        state = State(problem)
        found.append((*prices.find_prices(part_of(problem), state, Run(gap=1e-4, threads=threads)), state.objective))
    assert found[0][0] == found[1][0]
    assert np.array_equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


def test_rounded_choices_have_the_loads_of_the_shares() -> None:
    part = part_of(crowd(2000, 5))
    share = smooth.shares_at(part, np.full(6, 4.0), 0.5)
    assert np.add.reduceat(share, part.start[:-1]) == pytest.approx(1.0)
    choice = np.empty(part.agents, dtype=np.int64)
    smooth.rounded(part.start, part.use, part.capacity, share, np.zeros(6), choice)
    wanted = np.bincount(part.capacity.ravel(), weights=(part.use * share[:, None]).ravel(), minlength=6)
    assert part.load(choice) == pytest.approx(wanted, abs=2.0 * part.use.max())


def test_bounds_of_small_and_degenerate_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MANY", 1)
    for seed in range(150):
        problem = small(seed)
        part = whole_part(problem, 1)
        if part is None or part.agents == 0 or problem.capacities == 0:
            continue
        state = State(problem)
        bound, _ = prices.find_prices(part, state, Run(gap=0.0, time_limit_s=math.inf))
        assert bound <= least_cost(problem, 4e-9), seed
