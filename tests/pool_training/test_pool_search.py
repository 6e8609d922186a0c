"""The search for plans: complete plans only, prices of the schedule, the same from the same seed, and good ones."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest
from pools import TOPOLOGIES, random_pool

from edgealloc import Plan, PoolTraining, Topology
from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.search.annealing import Annealing
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.neighbours import Draft, Neighbours
from edgealloc.formulations.pool_training.search.plan_search import PlanSearch


def searched(pool: PoolTraining, kinds: list[str], seed: int = 0) -> Incumbent:
    best = Incumbent(pool, FastCost(pool), Run(gap=0.0, time_limit_s=math.inf, seed=seed))
    search = PlanSearch(best.cost, best, kinds)
    search.begin(-math.inf)
    search.more(-math.inf)
    return best


def chain(pool: PoolTraining, kind: str) -> Plan:
    ends = [pool.layers * k // 3 for k in range(4)]
    layers = tuple(b - a for a, b in itertools.pairwise(ends))
    return Plan(kind, ((0,), (1,), (2,)), layers, ((pool.micro_batch,),) * 3)


@pytest.mark.parametrize("room", [1, 3])
def test_neighbours_use_every_device_once_and_every_layer(room: int) -> None:
    numbers = Random(1)
    neighbours = Neighbours(numbers, list(range(7)), room, 9)
    now = Draft([(0,), (1,), (2,)], (3, 3, 3), [(3,)] * 3)
    stages_met, members_met = set(), set()
    for _ in range(3000):
        draft = neighbours.draw(now)
        if draft is None:
            continue
        devices = [i for group in draft.stages for i in group]
        assert len(set(devices)) == len(devices)
        assert set(devices) <= set(range(7))
        assert 1 <= len(draft.stages) <= 9
        assert all(1 <= len(group) <= room for group in draft.stages)
        layers = draft.layers
        if layers is not None:
            assert sum(layers) == 9
            assert min(layers) >= 1
            assert len(layers) == len(draft.stages)
        else:
            ends = sorted(numbers.sample(range(1, 9), len(draft.stages) - 1))
            layers = tuple(b - a for a, b in itertools.pairwise([0, *ends, 9]))
        for group, share in zip(draft.stages, draft.shares, strict=True):
            assert share is None or (len(share) == len(group) and sum(share) == 3 and min(share) >= 1)
        shares = [share or (*(1,) * (len(group) - 1), 4 - len(group))
                  for group, share in zip(draft.stages, draft.shares, strict=True)]
        now = Draft(draft.stages, layers, [*shares])
        stages_met.add(len(now.stages))
        members_met.add(max(map(len, now.stages)))
    assert stages_met >= {1, 2, 3, 4, 5}
    assert members_met == set(range(1, room + 1))


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("kind", ["pipeline", "hybrid"])
def test_steps_are_priced_as_the_schedule_prices_them(topology: str, kind: str) -> None:
    """What is refused unseen costs more than allowed, and the rest exactly what `evaluate` says."""
    for seed in range(2):
        pool = random_pool(seed, 4, 6, topology)
        cost = FastCost(pool)
        search = Annealing(cost, Incumbent(pool, cost, Run(seed=seed)))
        neighbours = Neighbours(Random(seed), [0, 1, 2, 3], pool.micro_batch if kind == "hybrid" else 1, 6)
        first = chain(pool, kind)
        at = Draft(list(first.stages), first.layers, [*first.shares])
        for _ in range(60):
            draft = neighbours.draw(at)
            other = None if draft is None else search._complete(kind, draft)
            if other is None:
                continue
            assert other.layers is not None
            shares = tuple(share for share in other.shares if share is not None)
            plan = Plan(kind, tuple(other.stages), other.layers, shares)
            truth = pool.evaluate(plan).objective
            assert search._value(kind, other, math.inf) == pytest.approx(truth, rel=1e-9)
            assert search._value(kind, other, truth * (1.0 + 1e-9)) == pytest.approx(truth, rel=1e-9)
            assert pool.relative_violation(plan) <= 1e-9
            at = other


def best_pipeline(pool: PoolTraining, kind: str) -> float:
    """Of all orders, numbers of layers and, for hybrids of two devices a group at most, groups and shares."""
    values, samples = [], pool.micro_batch
    for count in range(1, pool.devices + 1):
        for order in itertools.permutations(range(pool.devices), count):
            for pairs in itertools.product((1, 2) if kind == "hybrid" else (1,), repeat=count):
                ends = list(itertools.accumulate(pairs))
                if count not in ends:
                    continue
                sizes = pairs[: ends.index(count) + 1]
                starts = [0, *itertools.accumulate(sizes)]
                groups = tuple(order[a:b] for a, b in itertools.pairwise(starts))
                for cuts in itertools.combinations(range(1, pool.layers), len(groups) - 1):
                    layers = tuple(b - a for a, b in itertools.pairwise([0, *cuts, pool.layers]))
                    ways = [[(samples,)] if size == 1 else [(k, samples - k) for k in range(1, samples)]
                            for size in sizes]
                    for shares in itertools.product(*ways):
                        plan = Plan(kind, groups, layers, shares)
                        if pool.relative_violation(plan) <= 1e-9:
                            values.append(pool.evaluate(plan).objective)
    return min(values, default=math.inf)


@pytest.mark.parametrize("topology", ["shared", "star"])
def test_small_pools_are_searched_to_the_best_plan(topology: str) -> None:
    for seed in range(3):
        pool = random_pool(seed, 3, 4, topology)
        for kind in ("pipeline", "hybrid"):
            optimum, found = best_pipeline(pool, kind), searched(pool, [kind]).value
            assert math.isfinite(optimum)
            assert found <= optimum * 1.005


def test_a_seed_gives_the_same_plans_and_others_are_not_far() -> None:
    pool = random_pool(3, 6, 12, "shared")
    one, again, other = (searched(pool, ["pipeline", "hybrid"], seed) for seed in (1, 1, 2))
    assert one.plan == again.plan
    assert one.value == again.value
    assert other.value <= one.value * 1.05


def test_a_deadline_that_the_first_chains_miss_is_met() -> None:
    pool = random_pool(3, 5, 10, "shared")
    fastest = searched(pool, ["hybrid"])
    assert fastest.plan is not None
    deadline = 1.02 * pool.evaluate(fastest.plan).time_s
    within = searched(pool.replace(deadline_s=deadline), ["hybrid"])
    assert within.plan is not None
    assert pool.evaluate(within.plan).time_s <= deadline


def test_certified_is_never_worse_than_the_method_hybrid() -> None:
    for seed in range(2):
        pool = random_pool(seed, 6, 12, "shared")
        certified, hybrid = pool.solve("certified", time_limit_s=5), pool.solve("hybrid")
        assert certified.objective is not None
        assert hybrid.objective is not None
        assert certified.objective <= hybrid.objective * (1.0 + 1e-9 + 1e-3)


def test_a_channel_of_many_groups_is_searched_well() -> None:
    """Twelve equal devices with little traffic: all of them are used, and evenly."""
    work = 1e12
    pool = PoolTraining(
        flops_per_s=[1e12] * 12, memory_bytes=1e12, busy_power_w=10.0, idle_power_w=2.0,
        topology=Topology.shared(12, 1e12), layers=12, forward_flops=work, backward_flops=2 * work, state_bytes=1e6,
        gradient_bytes=1e3, checkpoint_bytes=1e6, activation_bytes=1e6, boundary_bytes=1e3, batch=32, micro_batches=8,
        tokens=128, heads=4, parallelisms=("hybrid",),
    )
    best = searched(pool, ["hybrid"])
    assert best.plan is not None
    assert len(best.plan.devices) == 12
    assert best.value / pool.per_second <= 1.3 * 32 * 12 * 3.0 / 12
