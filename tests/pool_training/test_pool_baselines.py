"""Baselines: what each rule promises, and that one that cannot be carried out says why."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from edge_pools import tiny_pool
from pool_brute import Brute
from pools import TOPOLOGIES, plain_pool, plan_of, random_pool

import edgealloc as ea
from edgealloc.formulations.pool_training.baselines import RULES
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.partition import best_partition, partitions
from edgealloc.formulations.pool_training.search.rings import ring_order, rings


@pytest.mark.parametrize("name", sorted(RULES))
def test_never_below_the_optimum(name: str) -> None:
    """No baseline beats the enumeration, and each keeps all limits or says what is missing."""
    for seed in range(12):
        problem = tiny_pool(seed)
        if problem.diagnose() is not None:
            continue
        solution = problem.solve(name)
        if solution.objective is None:
            assert solution.attempts, seed
            continue
        assert solution.bound is None
        assert solution.objective >= Brute(problem).best()[0] * (1.0 - 1e-9), seed


def test_shares_follow_speed_and_memory() -> None:
    """Samples in proportion to speed; who lacks memory takes fewer."""
    problem = plain_pool(2, flops_per_s=[3e12, 1e12])
    assert plan_of(problem.solve("data")).shares == ((6, 2),)
    # states 600 MB and 60 MB per sample: memory for 3 samples on the fast device
    problem = problem.replace(memory_bytes=[8e8, 1e10])
    assert plan_of(problem.solve("data")).shares == ((3, 5),)
    assert problem.solve("data-equal").status == ea.Status.NO_SOLUTION


def test_what_does_not_fit_is_told() -> None:
    """The device and the missing bytes, or the units that there are too few of."""
    problem = plain_pool(3, memory_bytes=[1e10, 5e8, 1e10])
    solution = problem.solve("data")
    assert solution.status == ea.Status.NO_SOLUTION
    assert solution.attempts == ("data: device 1 (device-1) lacks 160 MB",)
    assert "3 devices cannot share 2 heads" in plain_pool(3, heads=2).solve("tensor").attempts[0]
    assert "7 devices cannot share 6 layers" in plain_pool(7).solve("pipeline").attempts[0]
    only = plain_pool(2, parallelisms=("data",))
    assert "not among the allowed" in only.solve("pipeline-equal").attempts[0]
    small = plain_pool(2, memory_bytes=8e8)
    assert "the nearest, device 0 (device-0), lacks 280 MB" in small.solve("single-best").attempts[0]
    assert plan_of(small.solve("pipeline-equal")).layers == (3, 3)


def test_greedy_adds_while_it_helps() -> None:
    """A fast network: everybody; one that is slow: the fastest alone."""
    fast = plain_pool(4, flops_per_s=[1e12, 3e12, 2e12, 1e12], topology=ea.Topology.mesh(4, 1e12))
    assert len(plan_of(fast.solve("greedy")).devices) == 4
    slow = fast.replace(topology=ea.Topology.mesh(4, 1e3))
    assert plan_of(slow.solve("greedy")).devices == (1,)


def test_partition_is_the_best_of_all_layers() -> None:
    """For a given order, against all ways to cut: the smallest bound 1, and the best plan by the schedule."""
    found = []
    for seed in range(30):
        problem = random_pool(seed, 3, 7, TOPOLOGIES[seed % 4], memory_bytes=2e10)
        cost, groups, shares = FastCost(problem), [(0,), (1,), (2,)], [(problem.micro_batch,)] * 3
        exact = []
        for a, b in itertools.combinations(range(1, 7), 2):
            counts = (a, b - a, 7 - b)
            one = ea.Plan("pipeline", tuple(groups), counts, tuple(shares))
            exact.append((_first_bound(problem, cost, counts), problem.evaluate(one).objective))
        first = partitions(cost, "pipeline", groups, shares)[0]
        assert _first_bound(problem, cost, first) == pytest.approx(min(exact)[0], rel=1e-9), seed
        best = best_partition(cost, "pipeline", groups)
        assert best is not None
        value, plan = best
        assert value == pytest.approx(problem.evaluate(plan).objective, rel=1e-12)
        found.append(value / min(objective for _, objective in exact))
    assert min(found) >= 1.0 - 1e-12
    assert np.mean(found) < 1.02


def _first_bound(problem: ea.PoolTraining, cost: FastCost, counts: tuple[int, ...]) -> float:
    """``max_p [M t_p + sum_{q<p} (t_q + c_q + c'_q)]`` for devices 0, 1, 2 in this order."""
    first, bound, before = 0, 0.0, 0.0
    size = problem.micro_batch
    for p, count in enumerate(counts):
        flops = (problem.forward_flops + problem.backward_flops)[first:first + count].sum()
        time = size * flops / problem.flops_per_s[p]
        bound = max(bound, problem.micro_batches * time + before)
        if p < 2:
            (over, back) = cost.hops((p,), (size,), (p + 1,), (size,))
            before += time + over[0] + over[1] + back[0] + back[1]
        first += count
    return float(bound)


def test_rings() -> None:
    """All orders once; the heuristic is at most a little slower than the best of them."""
    assert len(list(rings((0, 1, 2, 3)))) == 6
    ratios = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        ends = np.array([(i, j) for i in range(5) for j in range(5) if i != j])
        problem = plain_pool(5, topology=ea.Topology(tuple("abcde"), ends, 10 ** draw.uniform(6, 9, len(ends))))
        best = min(problem.network.all_reduce(ring, 1e6) for ring in rings(range(5)))
        ratios.append(problem.network.all_reduce(ring_order(problem, range(5)), 1e6) / best)
    assert np.median(ratios) < 1.01
    assert ring_order(problem, (2,)) == (2,)


def test_compare_has_all_of_them() -> None:
    """One table: no method below the optimum."""
    problem = tiny_pool(7, devices=3, layers=4)
    table = ea.compare(problem, methods=["exact", *RULES])
    assert table.methods == ("exact", *RULES)
    assert set(table.solutions) == {"exact", *RULES}
    assert table.best is not None
    assert table.best.objective == table.solutions["exact"].objective
