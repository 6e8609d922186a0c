"""The search for plans: complete plans only, prices of the schedule, the same from the same seed, and good ones."""

from __future__ import annotations

import itertools
import math
from random import Random

import numpy as np
import pytest
from pools import TOPOLOGIES, random_pool

from edgealloc import Plan, PoolTraining, Topology
from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.costs import memory_bytes
from edgealloc.formulations.pool_training.search.annealing import Annealing
from edgealloc.formulations.pool_training.search.fastcost import FastCost, warm_up
from edgealloc.formulations.pool_training.search.filling import complete, layers_of, share
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.moves import ALONE, GROUPED, draw, new_numbers
from edgealloc.formulations.pool_training.search.plan_search import PlanSearch
from edgealloc.formulations.pool_training.search.pricing import LATE, price
from edgealloc.formulations.pool_training.search.rings import ring_order
from edgealloc.formulations.pool_training.search.tables import (
    FIRST,
    LAYERS,
    OPEN,
    new_room,
    plan_of,
    pool_of,
    rows_of,
)
from edgealloc.formulations.pool_training.search.traffic import order_ring


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


@pytest.mark.parametrize("most", [1, 3])
def test_moves_use_every_device_once_and_every_layer(most: int) -> None:
    """What is left open is filled in by chance here."""
    numbers, chance = new_numbers(1), Random(1)
    pool = random_pool(0, 7, 9, "shared").replace(batch=6, micro_batches=2)
    arrays, net = pool_of(FastCost(pool), "hybrid" if most > 1 else "pipeline")
    assert (arrays.most, pool.micro_batch) == (most, 3)
    rows, count = rows_of(arrays, net, Plan("pipeline", ((0,), (1,), (2,)), (3, 3, 3), ((3,),) * 3)), 3
    stages_met, members_met = set(), set()
    for _ in range(3000):
        other = rows.copy()
        stages, relayer = draw(arrays.able, most, 9, GROUPED if most > 1 else ALONE, other, count, numbers)
        if stages == 0:
            continue
        plan = plan_of(arrays, other, stages)
        assert len(set(plan.devices)) == len(plan.devices)
        assert set(plan.devices) <= set(range(7))
        assert 1 <= stages <= min(7, 9)
        assert all(1 <= len(group) <= most for group in plan.stages)
        if relayer:
            ends = [0, *sorted(chance.sample(range(1, 9), stages - 1)), 9]
            other[:stages, LAYERS] = [b - a for a, b in itertools.pairwise(ends)]
        for p, group in enumerate(plan.stages):
            if other[p, OPEN]:
                first = FIRST + most
                other[p, first:first + len(group)] = [4 - len(group), *[1] * (len(group) - 1)]
                other[p, OPEN] = 0
        plan = plan_of(arrays, other, stages)
        assert sum(plan.layers) == 9
        assert min(plan.layers) >= 1
        assert all(sum(shares) == 3 and min(shares) >= 1 for shares in plan.shares)
        rows, count = other, stages
        stages_met.add(stages)
        members_met.add(max(map(len, plan.stages)))
    assert stages_met >= {1, 2, 3, 4, 5}
    assert members_met == set(range(1, most + 1))


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("kind", ["pipeline", "hybrid"])
def test_steps_are_priced_as_the_schedule_prices_them(topology: str, kind: str) -> None:
    """What is refused unseen costs more than allowed, and the rest exactly what `evaluate` says; also if it is late."""
    late = 0
    for seed in range(3):
        pool = random_pool(seed, 5, 7, topology)
        if seed % 2:
            pool = pool.replace(deadline_s=pool.evaluate(chain(pool, kind)).time_s)
        arrays, net = pool_of(FastCost(pool), kind)
        room, clock = new_room(arrays, net)
        numbers, weights = new_numbers(seed), GROUPED if arrays.most > 1 else ALONE
        rows, count = rows_of(arrays, net, chain(pool, kind)), 3
        for _ in range(120):
            other = rows.copy()
            stages, relayer = draw(arrays.able, arrays.most, pool.layers, weights, other, count, numbers)
            if stages == 0 or not complete(arrays, net, room, other, stages, relayer):
                continue
            plan = plan_of(arrays, other, stages)
            costs = pool.evaluate(plan)
            truth = costs.objective
            if costs.time_s > arrays.latest:
                truth, late = truth * (1.0 + LATE * costs.time_s / arrays.latest), late + 1
            for worst in (math.inf, truth * (1.0 + 1e-9)):
                assert price(arrays, net, room, clock, other, stages, worst) == pytest.approx(truth, rel=1e-12)
            if costs.time_s <= arrays.latest:
                assert price(arrays, net, room, clock, other, stages, truth * (1.0 - 1e-6)) == math.inf
                assert pool.relative_violation(plan) <= 1e-9
            rows, count = other, stages
    assert late > 0


def test_shares_of_a_step_are_the_best_ones() -> None:
    numbers = np.random.default_rng(2)
    for seed in range(40):
        pool = random_pool(seed, 5, 4, "star")
        arrays, net = pool_of(FastCost(pool), "hybrid")
        room, _ = new_room(arrays, net)
        members = tuple(numbers.permutation(5)[:numbers.integers(1, arrays.most + 1)].tolist())
        rows = rows_of(arrays, net, Plan("hybrid", (members,), (4,), ((1,) * len(members),)))
        caps = numbers.integers(1, pool.micro_batch + 1, len(members)).tolist()
        room.group[0, :len(members)] = caps
        per_time, per_energy = numbers.uniform(0.1, 1.0), float(seed % 2)
        seconds = [1.0 / float(pool.flops_per_s[i]) for i in members]
        joules = [float((pool.busy_power_w - pool.idle_power_w)[i] / pool.flops_per_s[i]) for i in members]
        ways = [shares for shares in itertools.product(range(1, pool.micro_batch + 1), repeat=len(members))
                if sum(shares) == pool.micro_batch and all(a <= b for a, b in zip(shares, caps, strict=True))]
        found = share(arrays.device, room.group, rows, 0, FIRST + arrays.most, pool.micro_batch, per_time, per_energy)
        assert found == bool(ways)
        if found:
            prices = [per_time * max(a * b for a, b in zip(shares, seconds, strict=True))
                      + per_energy * sum(a * b for a, b in zip(shares, joules, strict=True))
                      for shares in (*ways, plan_of(arrays, rows, 1).shares[0])]
            assert prices[-1] == pytest.approx(min(prices[:-1]), rel=1e-12)


def bound(cost: FastCost, plan: Plan, layers: tuple[int, ...]) -> float:
    """Bound 1 of a pipeline of single devices with other numbers of layers, and the energy."""
    pool, height, spent, a = cost.problem, 0.0, 0.0, cost.problem.layers
    for p in reversed(range(len(plan.stages))):
        (i,), b, a = plan.stages[p], a, a - layers[p]
        flops = sum(map(float, pool.forward_flops[a:b])) + sum(map(float, pool.backward_flops[a:b]))
        time, trip = pool.micro_batch * flops / cost.speed[i], 0.0
        if p + 1 < len(plan.stages):
            hops = cost.hops(plan.stages[p], plan.shares[p], plan.stages[p + 1], plan.shares[p + 1])
            trip = sum(hop[0] + hop[1] for hop in hops)
        height = max(pool.micro_batches * time, time + trip + height)
        spent += pool.micro_batches * time * (cost.busy[i] - cost.idle[i])
    idle = sum(cost.idle[i] for i in plan.devices)
    return (cost.per_second + cost.per_joule * idle) * height + cost.per_joule * spent


def test_layers_of_a_step_have_the_least_bound() -> None:
    """For single devices, against all partitions: bound 1 and the energy of the parts."""
    for seed in range(12):
        pool = random_pool(seed, 4, 7, TOPOLOGIES[seed % len(TOPOLOGIES)]).replace(deadline_s=None)
        cost = FastCost(pool)
        arrays, net = pool_of(cost, "pipeline")
        room, _ = new_room(arrays, net)
        plan = Plan("pipeline", ((2,), (0,), (3,)), (3, 2, 2), ((pool.micro_batch,),) * 3)
        rows = rows_of(arrays, net, plan)

        fitting = [(a, b, 7 - a - b) for a in range(1, 6) for b in range(1, 7 - a)
                   if (memory_bytes(pool, Plan("pipeline", plan.stages, (a, b, 7 - a - b), plan.shares))
                       <= pool.memory_bytes).all()]
        found = layers_of(arrays, net, room, rows, 3)
        assert found == bool(fitting)
        if found:
            least = min(bound(cost, plan, layers) for layers in fitting)
            # without trade-offs between time and energy it is near the best
            allowed = 1.0 + 1e-9 if cost.per_joule == 0.0 else 1.1
            assert bound(cost, plan, plan_of(arrays, rows, 3).layers) <= least * allowed


def test_rings_of_a_step_are_as_fast_as_those_of_the_network() -> None:
    numbers = np.random.default_rng(3)
    for seed in range(10):
        pool = random_pool(seed, 7, 4, TOPOLOGIES[seed % len(TOPOLOGIES)]).replace(batch=14, micro_batches=2)
        arrays, net = pool_of(FastCost(pool), "hybrid")
        room, _ = new_room(arrays, net)
        members = tuple(numbers.permutation(7)[:numbers.integers(2, 8)].tolist())
        rows = rows_of(arrays, net, Plan("hybrid", (members,), (4,), ((1,) * len(members),)))
        size = max(float(pool.gradient_bytes.sum()), 1.0)
        order_ring(net, room.use, room.media, rows, 0, size)
        ring = plan_of(arrays, rows, 1).stages[0]
        assert sorted(ring) == sorted(members)
        assert pool.network.all_reduce(ring, size) <= pool.network.all_reduce(ring_order(pool, members), size) * 1.02


def test_compiling_does_not_count() -> None:
    called, run = [], Run()
    run.started -= 100.0
    warm_up(run, lambda: called.append(True))
    assert called == [True]
    assert run.seconds < 50.0


def test_chains_are_filled_in_or_do_not_fit() -> None:
    pool = random_pool(0, 4, 6, "star")
    search = Annealing(FastCost(pool), Incumbent(pool, FastCost(pool), Run()))
    plan = search.filled("hybrid", [(0,), (1, 2), (3,)])
    assert plan is not None
    assert plan.stages == ((0,), (1, 2), (3,))
    assert pool.relative_violation(plan) <= 1e-9
    tight = pool.replace(memory_bytes=2e7)
    assert Annealing(FastCost(tight), Incumbent(tight, FastCost(tight), Run())).filled("hybrid", [(0,), (1,)]) is None


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
        certified, hybrid = pool.solve("certified", time_limit_s=None), pool.solve("hybrid")
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
