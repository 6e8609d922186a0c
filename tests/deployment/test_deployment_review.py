"""Cases in which deployments were once answered badly."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgealloc import Deployment, Weights
from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.formulations.deployment import wishes
from edgealloc.formulations.deployment.rollout import DeploymentCosts
from edgealloc.solvers.choices import Choices, milp_choices


@pytest.mark.parametrize("method", ["certified", "exact", "milp"])
def test_what_exceeds_a_load_limit_by_tolerances_is_mended(method: str) -> None:
    # both devices together exceed the limit by 3e-9 of it: too much for an answer, too little for HiGHS to notice
    problem = Deployment(
        device_memory_bytes=np.full(2, 2e9), query_rate_per_s=[[0.25], [0.25]], memory_bytes=[1e9],
        local_delay_s=[[[3.0]], [[3.5]]], busy_s=[[1.0]], load_limit=0.5 * (1.0 - 3e-9),
        uplink_bps=np.full((2, 1), 1e6), downlink_bps=1e6, weights=Weights(1.0, 0.0, 0.0))
    solution = problem.solve(method, gap=1e-6)
    assert solution.allocation is not None
    # the faster one answers itself: 3 s; the other waits 1 s and 1/3 s for the load
    assert solution.objective == pytest.approx(0.5 * (3.0 + 1.0 / 0.75), rel=1e-12)
    assert solution.bound is not None
    assert solution.bound <= 0.5 * (3.0 + 1.0 / 0.75) * (1.0 + 1e-12)


def nearly_equal(seed: int) -> Choices:
    """Agents whose uses differ by about the tolerances of a solver, and add up to about what there is."""
    numbers = np.random.default_rng([seed, 5])
    agents, capacities = int(numbers.integers(3, 9)), int(numbers.integers(1, 4))
    little = numbers.choice([1e-9, 3e-9, 1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 1e-5])
    numbers.integers(1, 3)

    def nearly(value: float) -> float:
        whole = numbers.random() < 0.8
        return float(value * (1.0 + little * (numbers.integers(-3, 4) if whole else numbers.uniform(-3.0, 3.0))))

    needs = numbers.choice([0.5, 1 / 3, 0.25, 0.2, 0.4, 0.3], capacities)
    costs = numbers.choice([1.0, 1.0, 2.0, 1.5], capacities + 1)
    start, cost, use = [0], [], []
    for _ in range(agents):
        cost.append(nearly(1.0) * numbers.choice([1.0, 1.0, 1.5]))
        use.append(np.zeros(capacities))
        for c in range(capacities):
            if numbers.random() < 0.8:
                use.append(np.zeros(capacities))
                use[-1][c] = nearly(needs[c])
                if capacities > 1 and numbers.random() < 0.3:
                    other = (c + 1) % capacities
                    use[-1][other] = nearly(needs[other])
                cost.append(nearly(costs[c]) * 0.3 * numbers.choice([1.0, 1.0, 0.5]))
        start.append(len(cost))
    return Choices(start, cost, use, np.tile(np.arange(capacities), (len(cost), 1)), capacities)


def least_cost(problem: Choices) -> float:
    """The optimum by adding up agent after agent."""
    sums = np.zeros((1, 1 + problem.capacities))
    for low, high in itertools.pairwise(problem.start):
        options = np.column_stack([problem.cost[low:high], problem.use[low:high]])
        sums = (sums[:, None] + options[None]).reshape(-1, sums.shape[1])
        sums = sums[(sums[:, 1:] <= 1.0).all(axis=1)]
    return float(sums[:, 0].min())


@pytest.mark.parametrize("seed", [3074, 3530, 3589, 3684, 3976, 4072, 4187])
def test_bounds_of_highs_hold_where_uses_are_nearly_equal(seed: int) -> None:
    # HiGHS cuts off choices that fit by less than some hundred times its tolerance; bounds were up to 58 % too high
    problem = nearly_equal(seed)
    answer = milp_choices(problem, Run(gap=1e-6))
    assert answer.bound <= least_cost(problem) * (1.0 + 1e-9)
    assert answer.bound >= least_cost(problem) * 0.3


def test_highs_that_breaks_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(highs: object) -> None:
        raise ValueError("vector::reserve")

    monkeypatch.setattr("highspy.Highs.run", broken)
    answer = milp_choices(nearly_equal(3074), Run(gap=1e-6))
    assert answer.choice is None
    assert answer.termination == Termination.NUMERICAL
    assert any("vector::reserve" in line for line in answer.attempts)


def one_device(**changes: Any) -> Deployment:
    """A device, a variant and two classes; nobody else."""
    fields: dict[str, Any] = {"device_memory_bytes": [2e9], "query_rate_per_s": [[0.1, 0.1]], "memory_bytes": [1e9],
                              "local_delay_s": [[[1.0, 2.0]]]}
    return Deployment(**fields | changes)


@pytest.mark.parametrize(("changes", "words"), [
    ({"runs": [[2]]}, r"runs: .* neither true nor false: \[0, 0\] is 2"),
    ({"runs": [["yes"]]}, r"runs: .* neither true nor false: \[0, 0\] is yes"),
    ({"class_names": ["easy"]}, "class_names: has 1 names for 2 classes"),
])
def test_faults_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        one_device(**changes)


def test_means_of_the_fleet_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # they were computed for every device: quadratic in the size of the fleet
    devices = 40
    problem = Deployment(
        device_memory_bytes=np.full(devices, 2e9), query_rate_per_s=np.full((devices, 1), 0.02), memory_bytes=[1e9],
        local_delay_s=np.full((devices, 1, 1), 3.0), busy_s=[[1.0]], load_limit=0.1, uplink_bps=1e6, downlink_bps=1e6)
    solution = problem.solve("greedy")
    calls = []

    def counted(costs: DeploymentCosts) -> dict[str, float]:
        calls.append(costs)
        return {}

    monkeypatch.setattr(wishes, "fleet_use", counted)
    held = wishes.wishes(problem, solution.allocation).held()
    assert any("load_limit" in reason for reason in held)
    assert len(calls) == 1


def test_servers_that_are_full_are_still_compared() -> None:
    """Three devices can only send to one server, each nearly fills it: infeasible, and what is said to mend it does."""
    problem = Deployment(
        device_memory_bytes=np.ones(3), query_rate_per_s=np.full((3, 1), 0.8), memory_bytes=[5.0], local_delay_s=1.0,
        busy_s=[[1.0]], uplink_bps=1e6, downlink_bps=1e6)
    for method in ("certified", "exact", "milp"):
        solution = problem.solve(method)
        assert solution.diagnosis is not None
        assert problem.replace(**solution.diagnosis.changes).solve().allocation is not None
    assert problem.solve("greedy").allocation is None
