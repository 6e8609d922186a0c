"""Devices that nothing fits: who, by how much, and changes that mend it; what a fleet cannot keep together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from deployment_oracle import FLEET, least_objective, random_deployment, seeds

from edgealloc import Deployment, Rollout, Status, Weights
from edgealloc.formulations.deployment.feasibility import bare_devices, diagnose, least_means, shortage

CONSTRAINTS = {one.name for one in Deployment.CONSTRAINTS}


def phone(**changes: Any) -> Deployment:
    """One phone, a large and a small variant, one class, and a server that is out of reach."""
    fields: dict[str, Any] = {
        "device_memory_bytes": [8e9], "query_rate_per_s": [[0.02]], "memory_bytes": [6e9, 2e9],
        "local_delay_s": [[[10.0], [4.0]]], "accuracy": [[0.8], [0.6]], "hallucination": [[0.1], [0.3]],
        "tokens_per_s": [[5.0, 20.0]], "busy_s": [[2.0]], "server_accuracy": [[0.9]],
        "server_hallucination": [[0.05]], "uplink_bps": [[0.0]], "downlink_bps": [[1e6]],
        "variant_names": ["q8", "q2"], "class_names": ["chat"], "device_names": ["anna"], "server_names": ["edge"],
    }
    return Deployment(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "constraint", "amount", "words"),
    [
        ({"device_memory_bytes": [1.5e9]}, "device_memory_bytes", 0.5e9, "give it 2 GB instead of 1.5 GB for q2"),
        ({"accuracy_floor": 0.85}, "accuracy_floor", 0.05, "lower its accuracy floor for chat to 0.8, that of q8 on"),
        ({"accuracy_floor": 0.75, "device_memory_bytes": [4e9]}, "accuracy_floor", 0.15,
         "to 0.6, that of q2 on the device; or give it 6 GB instead of 4 GB for q8"),
        ({"hallucination_ceiling": 0.09}, "hallucination_ceiling", 0.01, "ceiling for chat to 0.1, that of q8"),
        ({"deadline_s": 3.0}, "deadline_s", 1.0, "allow chat 4 s by q2 on the device"),
        ({"device_load_limit": 0.05}, "device_load_limit", 0.03, "allow devices to be busy 0.08 of the time"),
        ({"runs": False}, "runs", 0.0, "make q2 run on it, or bring a server within reach"),
        ({"device_memory_bytes": [0.0], "uplink_bps": [[1e6]], "load_limit": 0.02}, "load_limit", 0.02,
         "a server 2 times as fast"),
        ({"runs": False, "uplink_bps": [[8e3]], "prompt_bytes": 1e3, "airtime_limit": 0.01}, "airtime_limit", 0.01,
         "allow the cell 0.02 of the time instead of 0.01"),
        ({"runs": False, "uplink_bps": [[1e6]], "deadline_s": 15.0}, "deadline_s", 5.0, "allow chat 20 s by edge"),
        ({"runs": False, "uplink_bps": [[1e6]], "accuracy_floor": 0.95}, "accuracy_floor", 0.05,
         "to 0.9, that of edge"),
    ],
)
def test_the_least_change(changes: dict[str, Any], constraint: str, amount: float, words: str) -> None:
    """One limit stands against the option that is nearest: it is named with its amount, and mended exactly."""
    problem = phone(**changes)
    found = problem.diagnose()
    assert found is not None
    assert [one.constraint for one in found] == [constraint]
    conflict = found.conflicts[0]
    assert conflict.amount == pytest.approx(amount)
    assert words in conflict.repair
    assert "device 0 (anna)" in conflict.where
    assert problem.solve().status == Status.INFEASIBLE
    mended = problem.replace(**found.changes)
    assert mended.diagnose() is None
    assert mended.solve().status == Status.OPTIMAL


def test_a_device_without_any_variant_is_served_by_the_edge() -> None:
    """Nothing fits the phone: it is named, and sends everything if a server is within reach."""
    problem = phone(device_memory_bytes=[1e9], uplink_bps=[[1e6]])
    assert bare_devices(problem).tolist() == [0]
    assert bare_devices(phone()).size == 0
    assert problem.diagnose() is None
    for method in ("certified", "exact", "milp", "threshold", "device-only", "edge-only", "greedy", "random"):
        solution = problem.solve(method)
        assert solution.allocation is not None
        assert solution.allocation.variant.tolist() == [-1]
        assert solution.allocation.server.tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "name", "least"),
    [
        ({"error_limit": 0.15}, "error_limit", 0.2), ({"hallucination_limit": 0.05}, "hallucination_limit", 0.1),
        ({"local_energy_j": [[[3.0], [5.0]]], "energy_limit_j": 1.0}, "energy_limit_j", 3.0),
        ({"usable_tokens_per_s": 30.0, "inaccessible_limit": 0.5}, "inaccessible_limit", 1.0),
        ({"error_limit": 0.15, "uplink_bps": [[1e6]], "server_accuracy": [[0.82]]}, "error_limit", 0.18),
    ],
)
def test_means_that_nobody_reaches(changes: dict[str, Any], name: str, least: float) -> None:
    """A limit below everybody's best: the least that is possible is named, and a limit of as much is feasible."""
    problem = phone(**changes)
    found = problem.diagnose()
    assert found is not None
    (conflict,) = found.conflicts
    assert conflict.constraint == name
    assert conflict.where == "the fleet"
    assert conflict.amount == pytest.approx(least - getattr(problem, name))
    assert "the least that is possible" in conflict.repair
    assert found.changes[name] == pytest.approx(least)
    assert least_means(problem)[name] == pytest.approx(least)
    assert problem.replace(**found.changes).solve().status == Status.OPTIMAL


def crowd(**changes: Any) -> Deployment:
    """Four phones that hold nothing, and one server for two of them."""
    fields: dict[str, Any] = {
        "device_memory_bytes": np.zeros(4), "query_rate_per_s": 0.1, "memory_bytes": [6e9], "local_delay_s": 1.0,
        "busy_s": [[2.0]], "load_limit": 0.5, "uplink_bps": 1e6, "downlink_bps": 1e6, "server_names": ["edge"],
    }
    return Deployment(**fields | changes)


@pytest.mark.parametrize("method", ["certified", "exact", "milp"])
def test_devices_that_do_not_fit_together(method: str) -> None:
    """Each phone fits the server alone, all together do not: a higher limit if the queue allows it, else a faster
    server."""
    problem = crowd()
    assert problem.diagnose() is None
    solution = problem.solve(method)
    assert solution.status == Status.INFEASIBLE
    assert solution.diagnosis is not None
    (conflict,) = solution.diagnosis.conflicts
    assert conflict.constraint == "load_limit"
    assert conflict.where == "edge"
    assert "allow a load of 0.8 instead of 0.5" in conflict.repair
    assert problem.replace(**solution.diagnosis.changes).solve(method).status == Status.OPTIMAL
    for changes in ({"query_rate_per_s": 0.2}, {"deadline_s": 4.1}):
        solution = crowd(**changes).solve(method)
        assert solution.diagnosis is not None
        assert set(solution.diagnosis.changes) == {"busy_s", "service_s"}
        assert "times as fast is needed" in solution.diagnosis.conflicts[0].repair
        assert crowd(**changes).replace(**solution.diagnosis.changes).solve(method).status == Status.OPTIMAL


def test_the_airtime_of_a_cell() -> None:
    problem = crowd(load_limit=0.9, prompt_bytes=1e4, airtime_limit=0.02)
    solution = problem.solve()
    assert solution.diagnosis is not None
    (conflict,) = solution.diagnosis.conflicts
    assert conflict.constraint == "airtime_limit"
    assert "0.032 of the time instead of 0.02" in conflict.repair
    assert problem.replace(**solution.diagnosis.changes).solve().status == Status.OPTIMAL


def test_shortage_makes_any_rollout_of_allowed_options_keep_the_limits() -> None:
    lacking = 0
    for seed in range(40):
        problem = random_deployment(seed, 4, 2, 2, 2, load_limit=0.2, airtime_limit=0.01, error_limit=0.3,
                                    inaccessible_limit=0.3, energy_limit_j=15.0)
        options = problem.options
        if not options.possible.any(axis=1).all():
            continue
        mask = options.possible.argmax(axis=1)
        devices = np.arange(4)
        server = np.where(mask > 0, options.sent_allowed[devices, :, mask].argmax(axis=1), -1)
        rollout = Rollout(options.local_allowed[devices, :, mask].argmax(axis=1) - 1, server, options.masks[mask])
        found = shortage(problem, rollout)
        mended = problem.replace(**found.changes)
        assert mended.relative_violation(rollout) <= 1e-9
        lacking += bool(found.changes)
    assert lacking > 3


def test_changes_mend_whatever_lacks() -> None:
    """Random fleets of which most lack something: after the changes a rollout exists, and limits only grow."""
    lacking = 0
    for seed in seeds(60):
        servers = seed % 3
        problem = random_deployment(seed, 3, 2, 2, servers, **({} if seed % 2 else dict.fromkeys(FLEET)))
        solution = problem.solve(gap=0.1)
        best = least_objective(problem)
        assert (solution.status == Status.INFEASIBLE) == math.isinf(best)
        if solution.diagnosis is None:
            continue
        diagnosis = solution.diagnosis
        lacking += 1
        assert len(diagnosis) > 0
        assert {one.constraint for one in diagnosis} <= CONSTRAINTS | {"runs"}
        assert diagnosis.text()
        assert all(math.isfinite(one.amount) and one.amount >= 0.0 for one in diagnosis)
        mended = problem.replace(**diagnosis.changes)
        assert mended.diagnose() is None
        assert math.isfinite(least_objective(mended))
        assert mended.solve(gap=0.1).objective is not None
        for name, value in diagnosis.changes.items():
            before = getattr(problem, name)
            if name in ("accuracy_floor", "busy_s", "service_s"):
                assert (value <= before).all()
            else:
                assert np.all(value >= before)
    assert lacking > 20


def test_many_stuck_devices_are_mended_at_once() -> None:
    """Three thousand devices, each without an option: one conflict each, in the time of tables."""
    numbers = np.random.default_rng(0)
    problem = Deployment(
        device_memory_bytes=numbers.uniform(1e9, 3e9, 3_000), query_rate_per_s=numbers.uniform(0.0, 0.01, (3_000, 2)),
        memory_bytes=[4e9, 5e9], local_delay_s=1.0, accuracy=[[0.5, 0.4], [0.6, 0.5]],
        weights=Weights(1.0, 0.0, 0.0),
    )
    found = diagnose(problem)
    assert found is not None
    assert len(found) == 3_000
    assert set(found.changes) == {"device_memory_bytes"}
    assert found.changes["device_memory_bytes"] == pytest.approx(4e9)
    assert problem.replace(**found.changes).diagnose() is None
