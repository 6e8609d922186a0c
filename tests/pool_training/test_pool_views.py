"""Frames and pages of pool training: sums against the costs, words against the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_pools import FIXED, fixed, pipeline, tiny_pool

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.formulations.pool_training.views import best_single_device, medium_name, memory_bar, plan_words


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method of these tests is gone after them."""
    monkeypatch.setitem(registry._REGISTERED, "pool-training", {FIXED.name: FIXED})


def plans(problem: ea.PoolTraining) -> dict[str, ea.Plan]:
    """One plan of every parallelism for five devices, four layers, a batch of 4 in 2 micro-batches."""
    return {
        "single": ea.Plan("single", ((2,),), (4,), ((4,),)),
        "data": ea.Plan("data", ((0, 3, 1),), (4,), ((2, 1, 1),)),
        "sequence": ea.Plan("sequence", ((4, 2),), (4,), ((3, 1),)),
        "tensor": ea.Plan("tensor", ((1, 2, 3),), (4,), ((1, 1, 2),)),
        "pipeline": pipeline(problem, (4, 0, 2), (1, 2, 1)),
        "hybrid": ea.Plan("hybrid", ((4, 0), (2,)), (3, 1), ((1, 1), (2,))),
    }


KINDS = ("single", "data", "sequence", "tensor", "pipeline", "hybrid")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("topology", ["star", "shared"])
def test_frames_sum_to_the_costs(kind: str, topology: str) -> None:
    """Energy of the devices is that of the iteration; bytes of the links and airtime are those of the plan."""
    problem = tiny_pool(5, 4, topology)
    plan = plans(problem)[kind]
    solution = fixed(problem, plan)
    costs = solution.costs
    assert costs is not None
    frame = solution.to_frame()
    assert len(frame) == 5
    assert frame["energy_j"].sum() == pytest.approx(costs.energy_j, rel=1e-12)
    for part in ("compute", "idle", "network"):
        assert frame[f"{part}_energy_j"].sum() == pytest.approx(getattr(costs, f"{part}_energy_j"), rel=1e-12)
    used = frame["stage"].to_numpy() >= 0
    assert sorted(np.flatnonzero(used)) == sorted(plan.devices)
    assert (frame.loc[~used, ["energy_j", "busy_s", "memory_bytes", "layers", "share"]].to_numpy() == 0.0).all()
    assert (frame.loc[~used, "role"] == "not used").all()
    assert frame.groupby("stage")["work_share"].sum().drop(-1, errors="ignore").to_numpy() == pytest.approx(1.0)
    assert (frame["utilisation"] <= 1.0 + 1e-12).all()
    assert (frame["price_per_flops"].to_numpy() == solution.prices["flops_per_s"]).all()
    links = solution.servers_frame()
    assert links["bytes"].to_numpy() == pytest.approx(costs.link_bytes)
    assert links["energy_j"].sum() == pytest.approx(costs.network_energy_j, rel=1e-12)
    assert (links["airtime_share"] <= 1.0 + 1e-9).all()
    for _, row in links.iterrows():
        same = links["medium"] == row["medium"]
        assert row["airtime_share"] == pytest.approx(links.loc[same, "airtime_s"].sum() / costs.time_s)
    assert (links["price_per_bit_per_s"] >= 0.0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_the_plan(kind: str) -> None:
    problem = tiny_pool(5, 4, carbon_g_per_kwh=380.0, deadline_s=1e4)
    plan = plans(problem)[kind]
    text = str(fixed(problem, plan))
    assert kind in text or kind == "single"
    for i in range(5):
        assert f"device-{i}" in text
    left_out = text.split("left out")[1].splitlines()[0]
    assert all((f"device-{i}" in left_out) == (i not in plan.devices) for i in range(5))
    for word in ("an iteration", "a sample", "CO2", "textbook formula", "one device", "allowed are"):
        assert word in text
    assert ("no schedule of these stages" in text) == (kind in ("pipeline", "hybrid"))
    assert ("busiest is" in text) == (kind != "single")
    assert "worth" in text


def test_best_single_device() -> None:
    """The best by the objective of those that have room; where none has, the one that lacks least."""
    problem = tiny_pool(3, 4, flops_per_s=[1e12, 2e12, 4e12], busy_power_w=[10.0, 10.0, 10.0],
                        memory_bytes=[64e9, 64e9, 1e9])
    work = 4 * 4 * 9e11
    alone = best_single_device(problem)
    assert (alone.device, alone.missing_bytes) == (1, 0.0)
    assert alone.time_s == pytest.approx(work / 2e12)
    assert alone.energy_j == pytest.approx(10.0 * work / 2e12)
    small = problem.replace(memory_bytes=[1e9, 1.2e9, 1e9])
    alone = best_single_device(small)
    assert alone.device == 1
    assert alone.missing_bytes == pytest.approx(3e8 + 4 * 3e8 + 4 * 4 * 6e7 - 1.2e9)
    solution = fixed(small, pipeline(small, (0, 2, 1), (1, 1, 2)))
    assert "none could train this alone: even device-1 lacks 1.26 GB of memory" in str(solution)


def test_speed_up_is_said() -> None:
    problem = tiny_pool(2, 4, flops_per_s=[1e12, 1e12], busy_power_w=10.0, batch=64, micro_batches=1)
    solution = fixed(problem, ea.Plan("data", ((0, 1),), (4,), ((32, 32),)))
    costs = solution.costs
    assert costs is not None
    speed = 64 * 4 * 9e11 / 1e12 / costs.time_s
    assert f"the plan is {speed:.3g} times as fast" in str(solution)
    alone = fixed(problem, ea.Plan("single", ((0,),), (4,), ((64,),)))
    assert "device-0 alone is the plan" in str(alone)


def test_words() -> None:
    problem = tiny_pool(5, 4)
    every = plans(problem)
    assert plan_words(problem, every["pipeline"]) == (
        "pipeline: device-4 (layer 0) > device-0 (layers 1 to 2) > device-2 (layer 3)")
    assert plan_words(problem, every["data"]) == "data: device-0 2 + device-3 1 + device-1 1 samples"
    assert plan_words(problem, every["single"]) == "single: device-2"
    assert memory_bar(1.0, 1.0) == "[" + "█" * 12 + "]"
    assert memory_bar(0.999, 1.0).count("█") == 11
    assert memory_bar(1.0, 0.0).count("█") == 12
    assert medium_name(problem, 0) == "device-0 → switch"
    assert medium_name(tiny_pool(4, 4, "shared"), 0) == "shared channel"
    assert medium_name(tiny_pool(2, 4, "shared"), 0) == "device-0 ↔ device-1"


def test_many_participants_are_counted() -> None:
    many: dict[str, Any] = {"batch": 60, "micro_batches": 1}
    problem = tiny_pool(60, 4, **many)
    text = str(fixed(problem, ea.Plan("data", (tuple(range(40)),), (4,), ((2,) * 20 + (1,) * 20,))))
    assert "and 16 more participants" in text
    assert "and 12 more" in text
    assert max(len(line) for line in text.splitlines()) <= 160


def test_one_device_without_a_network() -> None:
    problem = tiny_pool(1, 4, "mesh")
    solution = fixed(problem, ea.Plan("single", ((0,),), (4,), ((4,),)))
    assert "network      not used" in str(solution)
    assert len(solution.servers_frame()) == 0
