"""Methods for fine-tuning jobs against looking at all assignments, and what the rules of thumb do."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from fleets import by_hand, random_fleet_problem

import edgealloc as ea
from edgealloc import Assignment, DataError, FineTuning, Progress, Status, Termination, Weights

PROVEN = ("certified", "exact", "milp")
RULES = ("full-server", "lora-device", "largest", "greedy-memory", "random")


def least_objective(problem: FineTuning) -> float:
    """The optimum by looking at all assignments with loops that share no code with the package; inf: none fits."""
    best = math.inf
    options = [
        [(k, s) for k in range(problem.tunings) for s in range(-1, problem.servers)
         if (problem.on_device if s < 0 else problem.on_server)[i, k]]
        for i in range(problem.jobs)
    ]
    for chosen in itertools.product(*options):
        method, place = (np.array([one[part] for one in chosen]) for part in (0, 1))
        objective, fits = by_hand(problem, Assignment(method, place))
        if fits:
            best = min(best, objective)
    return best


def shared_problem(jobs: int, room: float, seed: int = 0, **changes: Any) -> FineTuning:
    """Jobs whose devices hold small methods only, and two servers that hold `room` of what they would like."""
    numbers = np.random.default_rng([seed, jobs])
    memory = np.array([20e9, 9e9, 3e9]) * numbers.uniform(0.8, 1.2, (jobs, 1))
    rate = numbers.uniform(1e6, 5e7, (jobs, 2))
    fields: dict[str, Any] = {
        "device_flops_per_s": numbers.uniform(1e12, 4e12, jobs), "device_memory_bytes": 4e9,
        "device_power_w": 8.0, "transmit_power_w": 0.2, "data_bytes": numbers.uniform(1e6, 1e9, jobs),
        "quality_weight": numbers.uniform(1e3, 1e5, jobs), "memory_bytes": memory,
        "work_flops": numbers.uniform(0.5, 2.0, (jobs, 3)) * 1e15, "result_bytes": memory / 100.0,
        "quality": np.array([0.9, 0.85, 0.7]) * numbers.uniform(0.95, 1.05, (jobs, 1)),
        "server_flops_per_s": [5e13, 1e14], "server_power_w": 300.0, "server_memory_bytes": 10e9 * jobs * room,
        "server_busy_s": 10.0 * jobs * room, "airtime_s": 30.0 * jobs * room, "uplink_bps": rate,
        "downlink_bps": 2.0 * rate, "weights": Weights(1.0, 0.1, 0.0),
        "method_names": ("full-adam", "lora", "mezo"),
    }
    return FineTuning(**fields | changes)


@pytest.mark.parametrize("method", PROVEN)
def test_by_brute_force(method: str) -> None:
    """Optimal to the gap, bounds never above the optimum, infeasible exactly where nothing fits."""
    feasible = 0
    for seed in range(60 if method == "certified" else 24):
        numbers = np.random.default_rng(seed)
        jobs, methods, servers = (int(one) for one in numbers.integers([1, 1, 0], [4, 4, 3]))
        problem = random_fleet_problem(seed, jobs, methods, servers)
        optimum, gap = least_objective(problem), (0.0, 1e-3)[seed % 2]
        solution = problem.solve(method, gap=gap)
        if math.isinf(optimum):
            assert solution.status == Status.INFEASIBLE
            continue
        feasible += 1
        assert solution.objective is not None
        assert solution.bound is not None
        assert optimum * (1.0 - 1e-12) <= solution.objective <= optimum * (1.0 + 1.01 * gap + 1e-9)
        assert solution.bound <= optimum * (1.0 + 1e-12)
    assert feasible > 7


@pytest.mark.parametrize("room", [0.2, 0.5])
def test_methods_agree_where_servers_are_full(room: float) -> None:
    """Four jobs for servers that do not hold them all: three methods, one optimum, and it is that of brute force."""
    for seed in range(3):
        problem = shared_problem(4, room, seed)
        optimum = least_objective(problem)
        for method in PROVEN:
            solution = problem.solve(method, gap=0.0)
            assert solution.objective == pytest.approx(optimum, rel=1e-9)
            assert solution.bound is not None
            assert optimum * (1.0 - 1e-6) <= solution.bound <= optimum * (1.0 + 1e-12)


def test_a_fleet_is_certified() -> None:
    """Six hundred jobs to half a percent; the answer and the prices are what the pages say."""
    problem = shared_problem(600, 0.1)
    solution = problem.solve(gap=5e-3)
    assert solution.status == Status.OPTIMAL
    assert solution.allocation is not None
    assert solution.objective is not None
    assert solution.bound is not None
    assert solution.gap is not None
    assert solution.gap <= 5e-3
    again = problem.solve(gap=5e-3, threads=1)
    assert (again.objective, again.bound) == (solution.objective, solution.bound)
    # the prices prove the bound: everybody's best at the prices, less what all capacities cost
    options = problem.options
    priced = options.cost.copy()
    priced[:, :, 1:] += solution.bound_prices["server_memory_bytes"] * problem.memory_bytes[:, :, None]
    priced[:, :, 1:] += solution.bound_prices["server_busy_s"] * options.costs.compute_s[:, :, 1:]
    priced[:, :, 1:] += solution.bound_prices["airtime_s"] * options.airtime_s[:, :, 1:]
    paid = sum(float((price * getattr(problem, name)).sum()) for name, price in solution.bound_prices.items())
    assert solution.bound == pytest.approx(priced.min(axis=(1, 2)).sum() - paid, rel=1e-6)
    # what it is compared with
    for rule in RULES:
        compared = problem.solve(rule)
        if compared.objective is not None:
            assert compared.objective >= solution.bound


def test_warm_start_and_stops() -> None:
    """A start is kept if nothing better turns up; Ctrl-C and no time leave what is known."""
    problem = shared_problem(40, 0.2)
    good = problem.solve(gap=1e-2)

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    for solution in (problem.solve(gap=0.0, warm_start=good, on_progress=stop),
                     problem.solve(gap=0.0, warm_start=good, time_limit_s=1e-9)):
        assert solution.termination in (Termination.INTERRUPTED, Termination.TIME_LIMIT)
        assert good.objective is not None
        assert solution.objective is not None
        assert solution.bound is not None
        assert solution.bound <= solution.objective <= good.objective
    full = Assignment(np.zeros(40, dtype=int), np.zeros(40, dtype=int))
    assert any("warm start" in line for line in problem.solve(warm_start=full, gap=1e-2).attempts)


def test_exact_refuses_what_is_too_large() -> None:
    with pytest.raises(DataError, match="certified"):
        shared_problem(20_000, 1.0).solve("exact")


@pytest.mark.parametrize("rule", RULES)
def test_rules_keep_limits_or_say_which_they_break(rule: str) -> None:
    """A rule's assignment keeps all limits, or it is refused by the name of a limit; same seed, same answer."""
    kept = 0
    for seed in range(8):
        for room in (0.1, 0.6, 3.0):
            problem = shared_problem(8, room, seed)
            solution = problem.solve(rule, seed=seed)
            if solution.allocation is None:
                assert any("breaks" in line for line in solution.attempts)
                continue
            kept += 1
            assert solution.bound is None
            objective, fits = by_hand(problem, solution.allocation)
            assert fits
            assert solution.objective == pytest.approx(objective)
            again = problem.solve(rule, seed=seed)
            assert again.allocation is not None
            assert np.array_equal(again.allocation.method, solution.allocation.method)
            assert np.array_equal(again.allocation.place, solution.allocation.place)
    assert kept or rule == "lora-device"


def test_what_the_rules_do() -> None:
    """Two jobs, one server: each rule by what it is called."""
    problem = FineTuning(
        device_flops_per_s=1e12, device_memory_bytes=[10e9, 5e9], device_power_w=5.0,
        memory_bytes=[[20e9, 8e9, 3e9]] * 2,
        work_flops=[[1e15, 2e15, 4e15]] * 2, quality=[[0.9, 0.85, 0.8]] * 2, server_flops_per_s=[1e13],
        server_memory_bytes=[40e9], uplink_bps=1e7, downlink_bps=1e7, method_names=("full-adam", "lora", "mezo"),
    )
    expected = {"full-server": ([0, 0], [0, 0]), "largest": ([1, 2], [-1, -1]), "greedy-memory": ([0, 0], [0, 0])}
    for rule, (method, place) in expected.items():
        solution = problem.solve(rule)
        assert solution.allocation is not None
        assert solution.allocation.method.tolist() == method
        assert solution.allocation.place.tolist() == place
    # the second device does not hold what low-rank adapters need
    refused = problem.solve("lora-device")
    assert refused.allocation is None
    assert "device_memory_bytes" in refused.attempts[-1]
    roomy = problem.replace(device_memory_bytes=10e9).solve("lora-device")
    assert roomy.allocation is not None
    assert roomy.allocation.method.tolist() == [1, 1]
    # one of them has no room: the rule wants it there all the same
    narrow = problem.replace(server_memory_bytes=[30e9]).solve("full-server")
    assert narrow.allocation is None
    assert "server_memory_bytes" in narrow.attempts[-1]
    unnamed = problem.replace(method_names=("a", "b", "c")).solve("lora-device")
    assert unnamed.allocation is None
    assert "lora" in unnamed.attempts[-1]


@pytest.mark.parametrize("method", PROVEN)
def test_more_room_never_hurts(method: str) -> None:
    """The optimum falls, or stays, as servers grow."""
    objectives = [shared_problem(5, room).solve(method, gap=0.0).objective for room in (0.1, 0.3, 0.9, 5.0)]
    assert None not in objectives
    for before, after in itertools.pairwise(objectives):
        assert after <= before * (1.0 + 1e-12)  # type: ignore[operator]


def test_compare_names_the_best() -> None:
    """`ea.compare` runs what is not slow, and the certified method is never behind."""
    frame = ea.compare(shared_problem(10, 0.3), ["certified", *RULES]).to_frame()
    best = frame.set_index("method")["objective"]
    assert best["certified"] <= best.min() * 1.002
