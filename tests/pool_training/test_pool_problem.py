"""PoolTraining: the whole input is checked, costs by hand, prices by differences, refusals with what is missing."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from pools import TOPOLOGIES, plain_pool, random_pool

from edgealloc import DataError, Plan, Topology, Weights
from edgealloc.formulations.pool_training.costs import memory_bytes, plan_bound_s
from edgealloc.formulations.pool_training.feasibility import diagnosis, least_missing, memory_caps


def test_every_fault_at_once() -> None:
    """One error lists them all: field, index, value, unit and range."""
    with pytest.raises(DataError) as error:
        plain_pool(flops_per_s=[1e12, 0.0, 1e12], memory_bytes=-1.0, batch=6, micro_batches=4, heads=0,
                   parallelisms=("pipe",), idle_power_w=20.0, weights=Weights(0.0, 0.0, 0.0), boundary_bytes=None)
    text = str(error.value)
    for part in ("flops_per_s[1]: is 0 FLOP/s", "memory_bytes", "must divide the batch of 6: one of 1, 2, 3, 6",
                 "heads: is 0", "holds 'pipe'", "'pipeline'", "idle_power_w[0]: is 20 W, above busy_power_w[0] = 10 W",
                 "delay and energy are both 0", "boundary_bytes: is missing"):
        assert part in text, part


def test_disconnected_pools_are_refused() -> None:
    """The devices that cannot be reached are named."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(["a", "b", "c"])
    graph.add_edge("a", "b", rate_bits_per_s=1e6)
    with pytest.raises(DataError, match="no route from 'a' to 'c'; cut off from 'a': 'c'"):
        plain_pool(3, topology=graph, device_names=("a", "b", "c"))


def test_names_and_sizes() -> None:
    """Names come from the topology, must be distinct, and must be nodes."""
    assert plain_pool(2, topology=Topology.star(("tv", "pc"), 1e6)).device_names == ("tv", "pc")
    with pytest.raises(DataError, match="'pc' is the name of device 0, too"):
        plain_pool(2, device_names=("pc", "pc"), topology=Topology.star(("pc", "tv"), 1e6))
    with pytest.raises(DataError, match="3 devices"):
        plain_pool(3, topology=Topology.mesh(2, 1e6))
    with pytest.raises(DataError, match="has 2 devices and 1 relay, while 3 devices"):
        plain_pool(3, topology=Topology.star(2, 1e6))  # the switch is no device


@pytest.mark.parametrize(("plan", "message"), [
    (Plan("data", ((0, 1),), (6,), ((4, 3),)), "8 in all"),
    (Plan("data", ((0, 0),), (6,), ((4, 4),)), "a second time"),
    (Plan("pipeline", ((0,), (5,)), (3, 3), ((2,), (2,))), "names device 5"),
    (Plan("pipeline", ((0,), (1,)), (3, 4), ((2,), (2,))), "sum to 6"),
    (Plan("pipeline", ((0, 1),), (6,), ((1, 1),)), "have one"),
    (Plan("tensor", ((0,), (1,)), (3, 3), ((4,), (4,))), "tensor plans have one"),
    (Plan("magic", ((0,),), (6,), ((8,),)), "is 'magic'"),
    (Plan("data", (), (), ()), "at least one"),
])
def test_faulty_plans(plan: Plan, message: str) -> None:
    """What is wrong with a plan is said."""
    with pytest.raises(DataError, match=message):
        plain_pool().evaluate(plan)


def test_costs_by_hand() -> None:
    """Two equal devices, data parallel: 4 samples each are 4 * 18 GFLOP, then 6 MB of gradients at 1 MB/s."""
    problem = plain_pool(2, weights=Weights(2.0, 0.5, 0.0))
    costs = problem.evaluate(Plan("data", ((0, 1),), (6,), ((4, 4),)))
    # ring of two: 2 steps of 3 MB
    assert costs.time_s == pytest.approx(4 * 0.018 + 6.0)
    assert costs.energy_j == pytest.approx(2 * (10.0 * 0.072 + 2.0 * 6.0))
    assert costs.objective == pytest.approx(2.0 * costs.time_s + 0.5 * costs.energy_j)
    assert costs.sent_bytes.tolist() == [6e6, 6e6]
    assert costs.memory_bytes.tolist() == [6e8 + 4 * 6e7] * 2
    assert costs.time_per_sample_s == costs.time_s / 8
    assert costs.co2_g(360.0) == pytest.approx(costs.energy_j * 1e-4)
    assert costs.bound_s == costs.time_s == costs.estimate_s


def test_those_who_do_not_take_part_spend_nothing() -> None:
    """A third device changes nothing for two."""
    plan = Plan("pipeline", ((1,), (0,)), (3, 3), ((2,), (2,)))
    two, three = plain_pool(2).evaluate(plan), plain_pool(3).evaluate(plan)
    assert two.energy_j == three.energy_j
    assert three.memory_bytes[2] == three.busy_s[2] == three.sent_bytes[2] == 0.0


@pytest.mark.parametrize("seed", range(12))
def test_prices_are_differences(seed: int) -> None:
    """Speed and rate: objective saved by one percent of a percent more, under the same plan."""
    problem = random_pool(seed, 3, 5, TOPOLOGIES[seed % 4], weights=Weights(1.0, 0.01, 0.0))
    share = problem.micro_batch
    plan = (Plan("pipeline", ((1,), (2,), (0,)), (2, 1, 2), ((share,),) * 3) if seed % 3 else
            Plan("hybrid", ((1, 2), (0,)), (2, 3), ((1, share - 1), (share,))))
    prices = problem.prices(plan)
    base = problem.evaluate(plan).objective
    for i in range(3):
        speed = problem.flops_per_s.copy()
        speed[i] *= 1.0001
        saved = base - problem.replace(flops_per_s=speed).evaluate(plan).objective
        saved /= speed[i] - problem.flops_per_s[i]
        assert saved == pytest.approx(prices["flops_per_s"][i], rel=2e-3, abs=1e-18)
    assert (prices["rate_bits_per_s"] >= 0.0).all()
    used = problem.evaluate(plan).link_bytes > 0.0
    assert not prices["rate_bits_per_s"][np.logical_not(used)].any()


def test_no_room_is_said_with_missing_bytes_and_repaired() -> None:
    """What fits nowhere is refused; with the repair it fits."""
    problem = plain_pool(3, memory_bytes=1.5e8)
    found = problem.diagnose()
    assert found is not None
    assert {conflict.constraint for conflict in found} == {"memory_bytes"}
    assert all(conflict.amount > 0.0 and "device" in conflict.where for conflict in found)
    mended = problem.replace(**found.changes)
    plan, lacks = least_missing(mended)
    assert not lacks.any()
    assert mended.violations(plan)["memory_bytes"] == 0.0
    assert mended.diagnose() is None


def test_late_plans_are_repaired_with_the_deadline() -> None:
    """A diagnosis for a plan names its lateness."""
    problem = plain_pool(2, deadline_s=1e-3)
    plan = Plan("data", ((0, 1),), (6,), ((4, 4),))
    found = diagnosis(problem, plan)
    assert [conflict.constraint for conflict in found] == ["deadline_s"]
    assert max(problem.replace(**found.changes).violations(plan).values()) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_caps_are_what_the_memory_formula_allows(seed: int) -> None:
    """One more unit than the cap breaks the memory, the cap does not."""
    problem = random_pool(seed, 2, 4, memory_bytes=[10 ** np.random.default_rng(seed).uniform(8.3, 9.2), 1e12])
    for parallelism, units in (("data", problem.batch), ("sequence", problem.tokens), ("tensor", problem.heads)):
        cap = int(memory_caps(problem, parallelism)[0])
        for share in range(1, units):
            plan = Plan(parallelism, ((0, 1),), (4,), ((share, units - share),))
            fits = memory_bytes(problem, plan)[0] <= problem.memory_bytes[0]
            assert fits == (share <= cap)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_bound_of_a_plan_is_below_its_time(topology: str) -> None:
    """Random pipelines and groups: the bound holds, and the memory trace peaks where the formula says."""
    numbers = np.random.default_rng(7)
    for seed in range(40):
        problem = random_pool(seed, 4, 6, topology)
        share = problem.micro_batch
        order = [int(i) for i in numbers.permutation(4)]
        if seed % 2:
            plan = Plan("pipeline", tuple((i,) for i in order[:3]), (1, 3, 2), ((share,),) * 3)
        else:
            plan = Plan("hybrid", (tuple(order[:2]), tuple(order[2:])), (2, 4), ((1, share - 1), (share - 1, 1)))
        costs, bound = problem.evaluate(plan), plan_bound_s(problem, plan)
        assert bound is not None
        assert bound <= costs.time_s * (1.0 + 1e-12)
        np.testing.assert_allclose(costs.memory_bytes, memory_bytes(problem, plan), rtol=1e-12)
