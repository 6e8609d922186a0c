"""The schedule against hand-computed pipelines and a simulator with an event queue; formulas and bounds against it."""

from __future__ import annotations

import numpy as np
import pytest
from edge_pools import random_plan, tiny_pool
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pool_brute import Brute
from pools import TOPOLOGIES, draws, plain_pool, random_pool

import edgealloc as ea
from edgealloc.formulations.pool_training.costs import memory_bytes, plan_bound_s
from edgealloc.formulations.pool_training.search.fastcost import FastCost


def test_two_stages_by_hand() -> None:
    """Two micro-batches over two stages of three layers.

    A micro-batch of 4 samples takes 4 x 3 GFLOP / 1 TFLOP/s = 12 ms forward and 24 ms backward on a stage, and
    4 x 0.1 MB / 1 MB/s = 0.4 s on the link. Stage 0 has forwards at 0-12 and 12-24 ms; they arrive at 412 and 812 ms
    (the link is busy until 412). Stage 1 does F0 412-424, B0 424-448, F1 812-824, B1 824-848. Gradients arrive at 848
    and 1248 ms; stage 0 ends at 872 and 1272 ms.
    """
    problem = plain_pool(2, micro_batches=2)
    costs = problem.evaluate(ea.Plan("pipeline", ((0,), (1,)), (3, 3), ((4,), (4,))))
    assert costs.time_s == pytest.approx(1.272, rel=1e-12)
    # each computes 2 x 36 ms at 10 W and waits the rest at 2 W
    assert costs.energy_j == pytest.approx(2 * (0.072 * 10.0 + 1.2 * 2.0), rel=1e-12)
    # 3 layers x 100 MB of states; stage 0 keeps 2 micro-batches, stage 1 one, of 4 samples x 3 layers x 10 MB
    assert costs.memory_bytes == pytest.approx([3e8 + 2.4e8, 3e8 + 1.2e8])
    assert costs.sent_bytes == pytest.approx([8e5, 8e5])


def test_hand_overs_take_turns_on_a_channel() -> None:
    """The same on one channel: activations of the second micro-batch and gradients of the first share it.

    In unit times (forward 1, backward 2) stage 0 is done at 1 and 2, so both activations go before any gradients.
    Activations are on the air 12-412 and 412-812 ms; gradients of the first, ready at 448, wait until 812 and arrive at
    1212 ms; those of the second, ready at 848, follow at 1212 and arrive at 1612; stage 0 ends at 1636 ms.
    """
    problem = plain_pool(2, micro_batches=2, topology=ea.Topology.shared(2, 8e6))
    costs = problem.evaluate(ea.Plan("pipeline", ((0,), (1,)), (3, 3), ((4,), (4,))))
    assert costs.time_s == pytest.approx(1.636, rel=1e-12)


def test_data_on_a_shared_channel_by_hand() -> None:
    """Three replicas of 4, 2 and 2 samples: 4 x 18 GFLOP = 72 ms, then 4 steps of 3 x 2 MB on the 1 MB/s channel."""
    problem = plain_pool(3, topology=ea.Topology.shared(3, 8e6, 0.01))
    costs = problem.evaluate(ea.Plan("data", ((0, 1, 2),), (6,), ((4, 2, 2),)))
    assert costs.time_s == pytest.approx(0.072 + 4 * (3 * 2.0 + 0.01), rel=1e-12)
    assert costs.busy_s == pytest.approx([0.072, 0.036, 0.036])
    assert costs.link_bytes.sum() == pytest.approx(4 * 3 * 2e6)
    assert costs.memory_bytes == pytest.approx([6e8 + 24e7, 6e8 + 12e7, 6e8 + 12e7])


def test_tensor_by_hand() -> None:
    """Two devices with 3 and 1 of 4 heads on a mesh of 1 MB/s.

    The slower has 3/4 of 8 x 18 GFLOP: 108 ms. Each of 6 layers has 4 all-reduces of 0.8 MB: 2 steps of 0.4 MB, 0.8 s.
    """
    problem = plain_pool(2)
    costs = problem.evaluate(ea.Plan("tensor", ((0, 1),), (6,), ((3, 1),)))
    assert costs.time_s == pytest.approx(0.108 + 6 * 4 * 0.8, rel=1e-12)
    # shares of 600 MB of states; of 8 x 6 x 10 MB of activations 8 x 6 x 2 MB are kept in whole
    assert costs.memory_bytes == pytest.approx([0.75 * 6e8 + 96e6 + 0.75 * 384e6, 0.25 * 6e8 + 96e6 + 0.25 * 384e6])


def test_against_the_event_queue() -> None:
    """Time, energy and peak memory of random plans of all parallelisms and topologies are those of the simulator."""
    for seed in draws(150):
        problem = tiny_pool(seed, devices=1 + seed % 5, layers=1 + seed % 6)
        plan = random_plan(problem, seed)
        costs = problem.evaluate(plan)
        time, energy, memory = Brute(problem).cost((plan.parallelism, plan.stages, plan.layers, plan.shares))
        assert costs.time_s == pytest.approx(time, rel=1e-10), seed
        assert costs.energy_j == pytest.approx(energy, rel=1e-10), seed
        for i, need in memory:
            assert costs.memory_bytes[i] == pytest.approx(need, rel=1e-12, abs=1e-3), seed


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_formulas_follow_the_schedule(topology: str) -> None:
    """The memory formula is the peak of the trace, the bound of a plan never above its time, `FastCost` the same."""
    for seed in draws(40):
        problem = random_pool(seed, 2 + seed % 5, 6 + seed % 4, topology)
        plan = random_plan(problem, seed)
        costs = problem.evaluate(plan)
        assert costs.memory_bytes == pytest.approx(memory_bytes(problem, plan), rel=1e-9)
        bound = plan_bound_s(problem, plan)
        assert bound is None or bound <= costs.time_s * (1.0 + 1e-12), seed
        assert FastCost(problem).time_and_energy(plan) == pytest.approx((costs.time_s, costs.energy_j), rel=1e-12)


def test_ties_are_broken_alike() -> None:
    """Equal devices and layers on a channel: `FastCost` draws up the timetables of the schedule to the last bit."""
    for seed in draws(60):
        draw = np.random.default_rng(seed)
        devices = 2 + seed % 4
        problem = plain_pool(devices, layers=6 + seed % 3, flops_per_s=np.full(devices, 0.7e12),
                             forward_flops=1.3e10 / 3, backward_flops=2.6e10 / 3, batch=24, micro_batches=8,
                             topology=ea.Topology.shared(devices, 10 ** float(draw.uniform(6.0, 9.0))),
                             memory_bytes=1e12, parallelisms=("pipeline", "hybrid"))
        plan = random_plan(problem, seed)
        time = problem.evaluate(plan).time_s
        assert FastCost(problem).time_and_energy(plan)[0] == pytest.approx(time, rel=1e-12), seed


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), what=st.sampled_from(["speed", "rate", "memory", "latency"]),
       factor=st.floats(1.0, 20.0))
def test_more_of_anything_never_hurts_a_plan(seed: int, what: str, factor: float) -> None:
    """A faster network, or more memory, never makes the iteration of a given plan longer.

    Neither does a faster device, but for one thing: where hand-overs meet on a medium, timetables follow the devices.
    """
    problem = tiny_pool(seed, devices=1 + seed % 5, layers=1 + seed % 7)
    plan = random_plan(problem, seed)
    chosen = np.ones(problem.devices)
    chosen[seed % problem.devices] = factor
    if what == "speed":
        if plan.parallelism in ("pipeline", "hybrid"):
            problem = problem.replace(topology=ea.Topology.mesh(problem.device_names, 1e7, 1e-3))
            assume(all(len(stage) == 1 for stage in plan.stages) or len(plan.stages) == 1)
        better = problem.replace(flops_per_s=problem.flops_per_s * chosen)
    elif what == "memory":
        better = problem.replace(memory_bytes=problem.memory_bytes * chosen)
    else:
        topology = problem.topology
        rates, latency = topology.rate_bits_per_s, topology.latency_s
        if what == "rate":
            rates = rates * np.where(np.arange(len(rates)) % 3 == seed % 3, factor, 1.0)
        else:
            latency = latency / factor
        better = problem.replace(topology=ea.Topology(topology.nodes, topology.ends, rates, latency, topology.medium,
                                                      topology.metric, topology.joules_per_byte))
    if what in ("rate", "latency"):
        assert FastCost(better).time_and_energy(plan)[0] == pytest.approx(better.evaluate(plan).time_s, rel=1e-12)
    assert better.evaluate(plan).time_s <= problem.evaluate(plan).time_s * (1.0 + 1e-12)
    assert better.violations(plan)["memory_bytes"] <= problem.violations(plan)["memory_bytes"]
