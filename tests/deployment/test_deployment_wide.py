"""Fleets whose options are too many to list: what is done for them, on small ones, against every rollout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from deployment_oracle import FLEET, least_objective, random_deployment, seeds

from edgealloc import Deployment, Progress, Status, Termination
from edgealloc.core.run import Run
from edgealloc.formulations.deployment import certified, wide
from edgealloc.formulations.deployment.agents import DeviceChoices


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few options there are."""
    monkeypatch.setattr(certified, "MOST_OPTIONS", 0)


def limited(seed: int, **changes: Any) -> Deployment:
    """A small deployment with a limit of the fleet, if only one that everything keeps."""
    problem = random_deployment(seed, 3, 3, 2, seed % 3, **changes)
    if any(getattr(problem, name) is not None for name in FLEET):
        return problem
    return problem.replace(error_limit=1.0)


@pytest.mark.parametrize("near", [3, 1000])
def test_by_brute_force(near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimal to the gap, with bounds below the optimum, for a few options near the best and for all."""
    monkeypatch.setattr(wide, "_NEAR", 1)
    monkeypatch.setattr(wide, "_AT_LEAST", near)
    feasible = 0
    for seed in seeds(40):
        easy = {"load_limit": 0.9, "accuracy_floor": 0.0, "deadline_s": None, "hallucination_ceiling": 1.0}
        problem = limited(seed, **(easy if seed % 3 else {}))
        optimum, gap = least_objective(problem), (1e-7, 1e-2)[seed % 2]
        solution = problem.solve(gap=gap)
        if math.isinf(optimum):
            assert solution.status == Status.INFEASIBLE
            continue
        feasible += 1
        assert solution.objective is not None
        assert solution.bound is not None
        assert solution.bound <= optimum * (1.0 + 1e-9)
        assert optimum * (1.0 - 1e-9) <= solution.objective <= optimum * (1.0 + 1.01 * gap)
        known = [line.bound for line in solution.history if line.bound is not None]
        assert all(one <= optimum * (1.0 + 1e-9) for one in known)
    assert feasible > 10


def test_the_list_is_of_what_costs_least() -> None:
    """At any prices: all options if as many are asked for, else those of least cost, and what others cost more."""
    problem = limited(2, runs=True, device_memory_bytes=8e9)
    devices = DeviceChoices(problem)
    parts = wide._Parts(devices, math.inf)
    prices = np.random.default_rng(0).uniform(0.0, 2.0, len(devices.limited))
    everything, beyond = parts.near(prices, 10_000)
    assert math.isinf(beyond)
    assert devices.count == devices.choices.options == everything[0].size
    for mine, theirs in zip(everything, devices.parts, strict=True):
        assert np.array_equal(mine, theirs)
    choices = devices.choices
    priced = choices.cost + (choices.use * prices[choices.capacity]).sum(axis=1)
    few, beyond = parts.near(prices, 4)
    listed = set(zip(*(one.tolist() for one in few), strict=True))
    least, rest = [], []
    for i in range(problem.devices):
        mine = np.flatnonzero(choices.owner == i)
        order = mine[np.argsort(priced[mine], kind="stable")]
        assert {tuple(int(one[o]) for one in devices.parts) for o in order[:4]} <= listed
        least.append(priced[order[0]])
        rest += [priced[o] - least[-1] for o in mine if tuple(int(one[o]) for one in devices.parts) not in listed]
    assert beyond == pytest.approx(min(rest))
    # the bound at these prices: everybody's best, and of every server the best load by trying them all
    answer = parts.ask(prices)
    total = sum(least) - prices.sum()
    for s in range(problem.servers):
        limit = float(problem.load_limit[s])
        load = np.linspace(0.0, limit, 200_001)
        scale = problem.delay_weight / problem.total_rate_per_s
        total += (scale * load**2 / (1.0 - load) + prices[s] * (1.0 - load / limit)).min()
    assert answer.total - prices.sum() == pytest.approx(total, rel=1e-7)
    assert answer.value.sum() == pytest.approx(answer.total, rel=1e-7)


@pytest.mark.parametrize("word", ["prices", "near the best"])
def test_stops(word: str) -> None:
    """Ctrl-C at either stage leaves a rollout and a bound."""
    easy = {"accuracy_floor": 0.0, "deadline_s": None, "hallucination_ceiling": 1.0, "runs": True, "load_limit": 0.9,
            "device_memory_bytes": 8e9, "device_load_limit": math.inf, "query_rate_per_s": 0.01}
    problem = random_deployment(4, 40, 3, 2, 2, **dict.fromkeys(FLEET) | easy | {"error_limit": 0.4})

    def stop(line: Progress) -> None:
        if line.stage.startswith(word) and line.bound is not None:
            raise KeyboardInterrupt

    solution = problem.solve(gap=0.0, on_progress=stop)
    assert solution.termination == Termination.INTERRUPTED
    assert solution.objective is not None
    assert solution.bound is not None
    late = problem.solve(gap=0.0, time_limit_s=1e-9, warm_start=solution)
    assert late.termination == Termination.TIME_LIMIT
    assert late.objective is not None
    assert late.objective <= solution.objective
    first, second = (problem.solve(gap=1e-3, threads=threads) for threads in (1, 2))
    assert first.status == Status.OPTIMAL
    assert (first.objective, first.bound) == (second.objective, second.bound)


def test_nothing_fits() -> None:
    """What no list of options fits is left to the whole problem."""
    problem = limited(1, query_rate_per_s=0.2, load_limit=0.1, device_memory_bytes=0.0, uplink_bps=1e6,
                      downlink_bps=1e6, runs=False, deadline_s=None, accuracy_floor=0.0, hallucination_ceiling=1.0)
    if problem.diagnose() is None:
        assert wide.run_wide(problem, Run()) is None
    assert problem.solve().status == Status.INFEASIBLE
