"""FineTuning: costs against loops, limits, prices by finite differences, tables of options, bad input."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from fleets import by_hand, random_fleet_problem

from edgealloc import Assignment, DataError, FineTuning


def every_assignment(problem: FineTuning, numbers: np.random.Generator, count: int) -> list[Assignment]:
    return [Assignment(numbers.integers(0, problem.tunings, problem.jobs),
                       numbers.integers(-1, problem.servers, problem.jobs)) for _ in range(count)]


@pytest.mark.parametrize("servers", [0, 1, 3])
def test_costs_and_limits_are_those_of_loops(servers: int) -> None:
    judged = fitting = 0
    for seed in range(60):
        problem = random_fleet_problem(seed, jobs=1 + seed % 4, servers=servers)
        for one in every_assignment(problem, np.random.default_rng(seed), 20):
            objective, fits = by_hand(problem, one)
            try:
                costs = problem.evaluate(one)
            except DataError:
                assert not fits
                continue
            judged += 1
            fitting += fits
            assert costs.objective == pytest.approx(objective, rel=1e-12)
            assert (problem.relative_violation(one) <= 1e-9) == fits, problem.violations(one)
            assert (max(problem.violations(one).values()) == 0.0) == fits
            assert costs.energy_j.sum() == pytest.approx(costs.total_energy_j)
    assert judged > 200
    assert fitting > 20


def test_options_are_what_a_lone_job_may_do() -> None:
    for seed in range(60):
        problem = random_fleet_problem(seed, jobs=1)
        options = problem.options
        for k in range(problem.tunings):
            for place in range(-1, problem.servers):
                objective, fits = by_hand(problem, Assignment(np.array([k]), np.array([place])))
                assert options.allowed[0, k, 1 + place] == fits
                assert options.cost[0, k, 1 + place] == pytest.approx(objective if fits else math.inf)


def test_prices_are_derivatives() -> None:
    problem = random_fleet_problem(3, jobs=6, servers=2, on_device=True, on_server=True, data_bytes=1e7, rounds=5,
                                   uplink_bps=np.random.default_rng(0).uniform(1e6, 1e7, (6, 2)), downlink_bps=2e6,
                                   deadline_s=None, energy_limit_j=None)
    one = Assignment(np.array([0, 1, 2, 0, 1, 2]), np.array([-1, 0, 1, -1, 0, 1]))
    prices = problem.prices(one)
    cell = np.where(one.place >= 0, one.place, problem.home_cell)
    for name in ("device_flops_per_s", "server_flops_per_s", "uplink_bps", "downlink_bps"):
        for k in range(prices[name].size):
            value = getattr(problem, name).copy()
            where: Any = (k, cell[k]) if name.endswith("bps") else k
            step = 1e-6 * value[where]
            value[where] += step
            if name == "uplink_bps":  # the home cell must stay the same
                assert np.array_equal(problem.replace(uplink_bps=value).home_cell, problem.home_cell)
            saved = (problem.evaluate(one).objective - problem.replace(**{name: value}).evaluate(one).objective) / step
            assert prices[name][k] == pytest.approx(saved, rel=1e-3, abs=1e-12 * abs(problem.evaluate(one).objective)
                                                    / step), (name, k)


def test_numbers_and_rows_are_broadcast() -> None:
    problem = FineTuning(device_flops_per_s=[1e12, 2e12], device_memory_bytes=8e9, device_power_w=5.0,
                         memory_bytes=[1e9, 2e9, 3e9], work_flops=[[1e12, 2e12, 3e12]], on_device=[True, False, True])
    assert (problem.jobs, problem.tunings, problem.servers) == (2, 3, 0)
    assert problem.memory_bytes.shape == problem.on_device.shape == (2, 3)
    assert problem.uplink_bps.shape == (2, 0)
    assert problem.method_names == ("method 0", "method 1", "method 2")
    assert problem.evaluate(Assignment(np.array([0, 2]), np.array([-1, -1]))).compute_s.tolist() == [1.0, 1.5]
    with pytest.raises(ValueError, match="read-only"):
        problem.memory_bytes[0, 0] = 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device_flops_per_s": [1e12, 0.0]}, r"device_flops_per_s[1]: is 0 FLOP/s"),
        ({"quality": 91.4}, "give shares"),
        ({"quality_floor": [0.5, -0.1]}, r"quality_floor[1]: is -0.1"),
        ({"rounds": 2.5}, "must be an integer"),
        ({"memory_bytes": [1.0, math.nan]}, "memory_bytes[0, 1]: is nan"),
        ({"work_flops": math.inf}, "work_flops"),
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"job_names": ["a", "a"]}, "job_names[1]: 'a' is the name of job 0, too"),
        ({"method_names": "lora"}, "method_names: is 'lora'; give a sequence"),
        ({"on_device": "yes"}, "neither true nor false"),
        ({"uplink_bps": [[1.0, 2.0]], "server_flops_per_s": [1.0, 2.0, 3.0]}, "uplink_bps"),
        ({"weights": 3}, "edgealloc.Weights"),
        ({"device_power_w": None}, "device_power_w: is missing"),
    ],
)
def test_bad_input_is_told_by_field_and_value(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"device_flops_per_s": [1e12, 1e12], "device_memory_bytes": 1e10, "device_power_w": 1.0,
                              "memory_bytes": [1e9, 2e9], "work_flops": 1e15}
    with pytest.raises(DataError, match=re.escape(message)):
        FineTuning(**fields | changes)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(DataError) as caught:
        FineTuning(device_flops_per_s=-1.0, device_memory_bytes=-1.0, device_power_w=-1.0, memory_bytes=-1.0,
                   work_flops=-1.0)
    assert len(caught.value.faults) == 5


@pytest.mark.parametrize(
    ("method", "place", "message"),
    [
        ([0, 0], [0, 2], r"place[1]: is 2; it must be in [-1, 1]"),
        ([0, 3], [0, 0], r"method[1]: is 3; it must be in [0, 1]"),
        ([0.0, 0.0], [0, 0], "give whole numbers"),
        ([0], [0], "one for each of 2 jobs"),
        ([1, 0], [0, 0], "method[0]: is method 1, which job 0 cannot run on servers"),
        ([0, 0], [0, 1], "place[1]: puts job 1 where it cannot reach server 1"),
    ],
)
def test_bad_assignments_are_told(method: list[Any], place: list[Any], message: str) -> None:
    problem = FineTuning(
        device_flops_per_s=[1e12, 1e12], device_memory_bytes=1e10, device_power_w=1.0, memory_bytes=[1e9, 2e9],
        work_flops=1e15, data_bytes=1e6, on_server=[True, False], server_flops_per_s=[1e13, 1e13],
        uplink_bps=[[1e6, 1e6], [1e6, 0.0]], downlink_bps=1e6,
    )
    with pytest.raises(DataError, match=re.escape(message)):
        problem.evaluate(Assignment(np.array(method), np.array(place)))
