"""Methods for deployments against looking at all rollouts, and what the rules of thumb do."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from deployment_oracle import by_hand, least_objective, random_deployment, seeds

import edgealloc as ea
from edgealloc import DataError, Deployment, Progress, Rollout, Status, Termination, Weights

PROVEN = ("certified", "exact", "milp")
RULES = ("threshold", "device-only", "edge-only", "greedy", "random")
#: What most random problems cannot keep.
EASY: dict[str, Any] = {"load_limit": 0.9, "accuracy_floor": 0.0, "deadline_s": None, "hallucination_ceiling": 1.0,
                        "airtime_limit": None, "device_memory_bytes": 8e9}


def fleet(devices: int, room: float = 1.0, seed: int = 0, **changes: Any) -> Deployment:
    """Phones with three variants and three classes, and two servers that `room` of them would fill."""
    numbers = np.random.default_rng([seed, devices])
    speed = numbers.uniform(0.5, 2.0, (devices, 1, 1))
    rate = numbers.uniform(0.0, 0.02, (devices, 3)) * (numbers.random((devices, 3)) < 0.9)
    rate[0, 0] = 0.01
    size = np.array([8e9, 4e9, 2e9])
    fields: dict[str, Any] = {
        "device_memory_bytes": numbers.choice([1e9, 3e9, 6e9, 12e9], devices), "transmit_power_w": 0.5,
        "query_rate_per_s": rate, "memory_bytes": size, "tokens_per_s": 40e9 / size / speed[:, :, 0],
        "usable_tokens_per_s": 8.0, "local_delay_s": speed * size[:, None] / 1e9 * np.array([1.0, 2.0, 4.0]),
        "local_energy_j": speed * size[:, None] / 2e8 * np.array([1.0, 2.0, 4.0]),
        "accuracy": [[0.8, 0.7, 0.5], [0.75, 0.62, 0.4], [0.6, 0.45, 0.2]],
        "hallucination": [[0.2, 0.25, 0.3], [0.22, 0.3, 0.4], [0.3, 0.4, 0.5]],
        "busy_s": np.array([[0.5, 1.0, 2.0], [0.8, 1.5, 3.0]]) / room / max(devices, 1) * 60.0,
        "service_s": [[1.0, 2.0, 4.0], [1.2, 2.4, 5.0]], "server_energy_j": 200.0,
        "server_accuracy": [[0.9, 0.85, 0.8]] * 2, "server_hallucination": 0.1,
        "uplink_bps": numbers.uniform(1e6, 5e7, (devices, 2)), "downlink_bps": 2e7, "prompt_bytes": 2e3,
        "answer_bytes": 4e3, "device_load_limit": math.inf, "weights": Weights(1.0, 0.02, 0.0), "error_weight": 20.0,
        "hallucination_weight": 5.0, "inaccessible_weight": 2.0,
    }
    return Deployment(**fields | changes)


@pytest.mark.parametrize("method", PROVEN)
def test_by_brute_force(method: str) -> None:
    """Optimal to the gap, bounds never above the optimum, infeasible exactly where nothing fits."""
    feasible = 0
    for seed in seeds(80 if method == "certified" else 50):
        numbers = np.random.default_rng(seed)
        devices, variants, classes, servers = (int(one) for one in numbers.integers([1, 1, 1, 0], [4, 4, 3, 3]))
        problem = random_deployment(seed, devices, variants, classes, servers, **({} if seed % 3 == 0 else EASY))
        optimum, gap = least_objective(problem), (1e-9, 1e-3)[seed % 2]
        solution = problem.solve(method, gap=gap)
        if math.isinf(optimum):
            assert solution.status == Status.INFEASIBLE
            assert solution.diagnosis is not None
            assert math.isfinite(least_objective(problem.replace(**solution.diagnosis.changes)))
            continue
        feasible += 1
        assert solution.objective is not None
        assert solution.bound is not None
        assert solution.gap is not None
        assert optimum * (1.0 - 1e-12) <= solution.objective <= optimum * (1.0 + 1.01 * gap + 1e-9)
        assert solution.bound <= optimum * (1.0 + 1e-9)
        # HiGHS proves to its tolerances
        assert solution.gap <= max(gap, 1e-5 if method == "milp" else 5e-8)
    assert feasible > 20


@pytest.mark.parametrize("room", [0.4, 1.5])
def test_methods_agree_where_servers_are_busy(room: float) -> None:
    """Three phones whose queries fill the servers: three methods, one optimum, and it is that of brute force."""
    for seed in (1,):
        for limits in ({}, {"error_limit": 0.35}, {"energy_limit_j": 150.0, "hallucination_limit": 0.35}):
            problem = fleet(3, room, seed, **limits)
            optimum = least_objective(problem)
            for method in PROVEN:
                solution = problem.solve(method, gap=1e-6)
                if math.isinf(optimum):
                    assert solution.status == Status.INFEASIBLE
                    continue
                assert solution.objective == pytest.approx(optimum, rel=1.1e-6)
                assert solution.bound is not None
                assert optimum * (1.0 - 1e-5) <= solution.bound <= optimum * (1.0 + 1e-9)


def test_a_fleet_is_certified() -> None:
    """Eight hundred phones to a percent, the same bits for any number of threads; rules of thumb lie above the
    bound."""
    problem = fleet(800, 0.6)
    solution = problem.solve(gap=1e-2)
    assert solution.status == Status.OPTIMAL
    assert solution.bound is not None
    again = problem.solve(gap=1e-2, threads=1)
    assert (again.objective, again.bound) == (solution.objective, solution.bound)
    assert again.allocation is not None
    assert solution.allocation is not None
    assert np.array_equal(again.allocation.variant, solution.allocation.variant)
    objective, fits = by_hand(problem, solution.allocation)
    assert fits
    assert solution.objective == pytest.approx(objective)
    for rule in RULES:
        compared = problem.solve(rule)
        assert compared.objective is not None
        assert compared.objective >= solution.bound


def test_warm_start_and_stops() -> None:
    """A start is kept if nothing better turns up; Ctrl-C and no time leave what is known."""
    problem = fleet(40, 0.5)
    good = problem.solve(gap=1e-3)

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    for solution in (problem.solve(gap=0.0, warm_start=good, on_progress=stop),
                     problem.solve(gap=0.0, warm_start=good, time_limit_s=1e-9)):
        assert solution.termination in (Termination.INTERRUPTED, Termination.TIME_LIMIT)
        assert good.objective is not None
        assert solution.objective is not None
        assert solution.objective <= good.objective
        assert solution.bound is None or solution.bound <= solution.objective
    broken = Rollout(np.full(40, -1), np.zeros(40, dtype=int), problem.query_rate_per_s > 0.0)
    if problem.relative_violation(broken) > 1e-9:
        assert any("warm start" in line for line in problem.solve(warm_start=broken, gap=1e-2).attempts)


def test_a_start_with_a_variant_that_is_left_out() -> None:
    """Of two variants that need the same energy one is left out; the cheap one, which is kept, needs too much."""
    problem = Deployment(device_memory_bytes=[8e9], query_rate_per_s=[[0.1]], memory_bytes=[1e9, 1e9, 1e9],
                         local_delay_s=[[[3.0], [3.0], [1.0]]], local_energy_j=[[[1.0], [1.0], [9.0]]],
                         energy_limit_j=1.0, busy_s=[[1.0]], uplink_bps=1e6, downlink_bps=1e6, server_energy_j=9.0)
    start = Rollout(np.array([1]), np.array([-1]), np.array([[False]]))
    for limit in (None, 1e-9):
        solution = problem.solve(warm_start=start, time_limit_s=limit)
        assert solution.objective == 3.0
        assert not any("rejected" in line for line in solution.attempts)


@pytest.mark.parametrize("method", PROVEN)
def test_progress_comes_as_lines(method: str) -> None:
    """Bounds rise and objectives fall, and the last line is what is returned, or less."""
    lines: list[Progress] = []
    solution = fleet(12, 0.5).solve(method, gap=1e-3, on_progress=lines.append)
    assert lines
    assert list(solution.history) == lines
    known = [one.bound for one in lines if one.bound is not None]
    assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(known))
    assert solution.bound is not None
    assert all(one <= solution.objective * (1.0 + 1e-9) for one in known)  # type: ignore[operator]


@pytest.mark.parametrize("rule", RULES)
def test_rules_keep_limits_or_say_which_they_break(rule: str) -> None:
    """A rule's rollout keeps all limits, or it is refused by the name of a limit; same seed, same answer."""
    kept = refused = 0
    for seed in range(30):
        problem = random_deployment(seed, 4, 3, 2, 2, **({} if seed % 3 == 0 else EASY))
        solution = problem.solve(rule, seed=seed)
        if solution.status == Status.INFEASIBLE:
            continue
        if solution.allocation is None:
            refused += 1
            assert any("breaks" in line for line in solution.attempts)
            continue
        kept += 1
        assert solution.bound is None
        objective, fits = by_hand(problem, solution.allocation)
        assert fits
        assert solution.objective == pytest.approx(objective)
        again = problem.solve(rule, seed=seed)
        assert again.allocation is not None
        for name in ("variant", "server", "offload"):
            assert np.array_equal(getattr(again.allocation, name), getattr(solution.allocation, name))
    assert kept > 8


def test_what_the_rules_do() -> None:
    """Two phones, two servers of which the nearer has room for one: each rule by what it is called."""
    problem = Deployment(
        device_memory_bytes=[8e9, 8e9], query_rate_per_s=[[0.1, 0.1], [0.05, 0.05]], memory_bytes=[6e9, 2e9],
        local_delay_s=[[2.0, 8.0], [1.0, 4.0]], busy_s=[[1.0, 2.0], [1.0, 2.0]], load_limit=0.4,
        uplink_bps=[[1e7, 1e6], [1e7, 1e6]], downlink_bps=1e7, class_names=["easy", "hard"],
        variant_names=["large", "small"],
    )
    expected: dict[str, tuple[list[int], list[list[bool]]]] = {
        "device-only": ([-1, -1], [[False, False]] * 2), "edge-only": ([0, 1], [[True, True]] * 2),
        "threshold": ([0, 0], [[False, True]] * 2),
    }
    for rule, (server, offload) in expected.items():
        solution = problem.solve(rule)
        assert solution.allocation is not None, rule
        assert solution.allocation.server.tolist() == server, rule
        assert solution.allocation.offload.tolist() == offload, rule
    assert problem.solve("device-only").allocation.variant.tolist() == [1, 1]  # type: ignore[union-attr]
    attempts = problem.solve("threshold").attempts
    assert attempts == ("threshold 1: classes from hard on are sent",)
    # a phone that holds nothing cannot follow "device only": it is named
    bare = problem.replace(device_memory_bytes=[8e9, 1e9], device_names=["anna", "ben"]).solve("device-only")
    assert bare.allocation is not None
    assert bare.allocation.offload.tolist() == [[False, False], [True, True]]
    assert "device 1 (ben) cannot and sends the nearest set of classes" in bare.attempts[0]
    # nothing is allowed on phones, and servers have no room: refused by name
    full = problem.replace(device_memory_bytes=1e9, load_limit=[0.3, 0.05], uplink_bps=[[1e7, 0.0], [1e7, 0.0]])
    refused = full.solve("edge-only")
    assert refused.allocation is None
    assert "load_limit" in refused.attempts[-1]


def test_greedy_counts_the_queue() -> None:
    """One server: the first phone sends, the second would wait too long and keeps its queries."""
    problem = Deployment(device_memory_bytes=[4e9, 4e9], query_rate_per_s=[[0.3], [0.29]], memory_bytes=[2e9],
                         local_delay_s=[[[3.0]], [[3.0]]], busy_s=[[2.0]], load_limit=0.99, uplink_bps=1e7,
                         downlink_bps=1e7, device_load_limit=math.inf)
    # alone at the server: 2 / (1 - 0.58) = 4.8 s, more than 3 s; nobody sends
    assert not problem.solve("greedy").allocation.offload.any()  # type: ignore[union-attr]
    less = problem.replace(query_rate_per_s=[[0.15], [0.14]]).solve("greedy")
    assert less.allocation is not None
    assert less.allocation.offload.tolist() == [[True], [False]]


def test_rules_keep_room_for_limits_of_the_fleet() -> None:
    """With a limit of errors that only large variants and servers keep, greedy and random still find a rollout."""
    found = 0
    for seed in range(10):
        problem = fleet(30, 2.0, seed, device_memory_bytes=12e9)
        problem = problem.replace(error_limit=0.36)
        for rule in ("greedy", "random", "threshold"):
            solution = problem.solve(rule, seed=seed)
            found += solution.allocation is not None
            assert solution.costs is None or solution.costs.error <= 0.36 * (1 + 1e-9)
    assert found > 20


def test_exact_refuses_what_is_too_large() -> None:
    with pytest.raises(DataError, match="certified"):
        fleet(12_000).solve("exact")


@pytest.mark.parametrize("method", ["certified", "milp"])
def test_more_room_never_hurts(method: str) -> None:
    """The optimum falls, or stays, as servers become faster and limits looser."""
    for problems in ([fleet(4, room, 1) for room in (0.8, 1.5, 4.0)],
                     [fleet(4, 1.5, 1, error_limit=limit) for limit in (0.35, 0.45, 1.0)]):
        objectives = [one.solve(method, gap=1e-6).objective for one in problems]
        found = [one for one in objectives if one is not None]
        assert len(found) >= 2
        for before, after in itertools.pairwise(found):
            assert after <= before * (1.0 + 2e-6)


def test_compare_names_the_best() -> None:
    """`ea.compare` runs what is not slow, and the certified method is never behind."""
    frame = ea.compare(fleet(10, 0.5), ["certified", *RULES]).to_frame()
    best = frame.set_index("method")["objective"]
    assert best["certified"] <= best.min() * 1.002
