"""Fine-tuning jobs that nothing fits: who, by how much, and changes that mend it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fleets import random_fleet_problem

from edgealloc import FineTuning, Status

CONSTRAINTS = {one.name for one in FineTuning.CONSTRAINTS} | {"on_device", "rounds"}


def alone(**changes: Any) -> FineTuning:
    """One job, two methods, one server that is as good as out of memory."""
    fields: dict[str, Any] = {
        "device_flops_per_s": [1e12], "device_memory_bytes": 8e9, "device_power_w": 10.0, "memory_bytes": [[20e9, 7e9]],
        "work_flops": [[1e15, 4e15]], "quality": [[0.9, 0.8]], "server_flops_per_s": [1e13],
        "server_memory_bytes": [1e9], "uplink_bps": 1e7, "downlink_bps": 1e7, "method_names": ("full-adam", "mezo"),
    }
    return FineTuning(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "constraint", "amount", "words"),
    [
        ({"device_memory_bytes": 6.5e9}, "device_memory_bytes", 0.5e9, "7 GB"),
        ({"quality_floor": 0.83}, "quality_floor", 0.03, "lower its quality floor to 0.8"),
        ({"deadline_s": 3600.0}, "deadline_s", 400.0, "4 ks"),
        ({"energy_limit_j": 30e3}, "energy_limit_j", 10e3, "40 kJ"),
        ({"device_memory_bytes": 0.0, "server_memory_bytes": [6e9]}, "server_memory_bytes", 1e9, "7 GB"),
    ],
)
def test_the_least_change(changes: dict[str, Any], constraint: str, amount: float, words: str) -> None:
    """One limit stands against the option that is nearest: it is named with its amount, and mended exactly."""
    problem = alone(**changes)
    found = problem.diagnose()
    assert found is not None
    assert [one.constraint for one in found] == [constraint]
    conflict = found.conflicts[0]
    assert conflict.amount == pytest.approx(amount)
    assert words in conflict.repair
    assert "job 0" in conflict.where
    assert set(found.changes) == {constraint}
    mended = problem.replace(**found.changes)
    assert mended.diagnose() is None
    assert mended.solve().status == Status.OPTIMAL


def test_other_ways_are_said() -> None:
    """Memory lacks for the good method, quality for the small one: the nearer is changed, the other is said."""
    problem = alone(quality_floor=0.85, device_memory_bytes=16e9)
    found = problem.diagnose()
    assert found is not None
    (conflict,) = found.conflicts
    assert conflict.constraint == "quality_floor"
    assert "or give its device 20 GB" in conflict.repair


def test_a_federation_out_of_reach() -> None:
    """Rounds without a server in reach, and a method that may run nowhere."""
    problem = alone(uplink_bps=0.0, downlink_bps=0.0, rounds=5, message_bytes=1e6, data_bytes=1e6)
    found = problem.diagnose()
    assert found is not None
    assert "rounds" in {one.constraint for one in found}
    assert problem.replace(**found.changes).solve().status == Status.OPTIMAL
    nowhere = alone(on_device=False, on_server=False)
    found = nowhere.diagnose()
    assert found is not None
    assert found.conflicts[0].constraint == "on_device"
    assert nowhere.replace(**found.changes).solve().status == Status.OPTIMAL


def test_jobs_that_do_not_fit_together() -> None:
    """Each job fits the server alone, all together do not: what the server lacks, and it is enough."""
    problem = FineTuning(
        device_flops_per_s=np.full(4, 1e12), device_memory_bytes=1e9, device_power_w=5.0, memory_bytes=[[6e9, 5e9]],
        work_flops=[[1e15, 2e15]], server_flops_per_s=[1e13], server_memory_bytes=[13e9], uplink_bps=1e7,
        downlink_bps=1e7,
    )
    assert problem.diagnose() is None
    for method in ("certified", "exact", "milp"):
        solution = problem.solve(method)
        assert solution.status == Status.INFEASIBLE
        assert solution.diagnosis is not None
        (conflict,) = solution.diagnosis.conflicts
        assert conflict.constraint == "server_memory_bytes"
        assert conflict.amount == pytest.approx(7e9)
        mended = problem.replace(**solution.diagnosis.changes).solve(method)
        assert mended.objective is not None


def test_changes_mend_whatever_lacks() -> None:
    """Random fleets of which most lack something: after the changes an assignment exists, and limits only grow."""
    lacking = 0
    for seed in range(40):
        problem = random_fleet_problem(seed, 4, 2, seed % 3)
        diagnosis = problem.solve(gap=0.1).diagnosis
        if diagnosis is None:
            continue
        lacking += 1
        assert len(diagnosis) > 0
        assert {one.constraint for one in diagnosis} <= CONSTRAINTS
        assert diagnosis.text()
        mended = problem.replace(**diagnosis.changes)
        assert mended.diagnose() is None
        assert mended.solve(gap=0.1).objective is not None
        for name, value in diagnosis.changes.items():
            before = getattr(problem, name)
            if name in ("quality_floor", "rounds"):
                assert (value <= before).all()
            else:
                assert (value >= before).all()
    assert lacking > 12
