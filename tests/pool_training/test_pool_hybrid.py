"""Methods `hybrid` and `edgeshard`: what their dynamic programmes promise, against enumerations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from edge_pools import tiny_pool
from pool_brute import Brute, parts
from pools import TOPOLOGIES, objective_of, plain_pool, plan_of, random_pool

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.costs import memory_bytes
from edgealloc.formulations.pool_training.edgeshard import bottleneck_plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost


def test_hybrid_is_near_the_optimum_and_never_below() -> None:
    """On tiny pools the heuristic is mostly optimal among hybrids."""
    ratios = []
    for seed in range(30):
        problem = tiny_pool(seed, parallelisms=("hybrid",), deadline_s=None)
        optimum, plan = Brute(problem).best()
        solution = problem.solve("hybrid")
        if plan is None:
            assert solution.objective is None
            continue
        if solution.objective is not None:
            assert solution.status == ea.Status.LOCALLY_SOLVED
            assert solution.bound is None
        ratios.append((solution.objective or math.inf) / optimum)
    assert min(ratios) >= 1.0 - 1e-9
    assert np.median(ratios) < 1.001
    assert np.mean(np.array(ratios) < 1.05) > 0.8


def test_hybrid_beats_pipelines_of_single_devices() -> None:
    """Pairs of slow devices balance fast ones: groups help where devices differ and gradients are small."""
    problem = plain_pool(4, flops_per_s=[2e12, 1e12, 1e12, 2e12], memory_bytes=3e9, layers=4, boundary_bytes=1e3,
                         topology=ea.Topology.mesh(4, 1e9), parallelisms=("pipeline", "hybrid"), batch=32)
    assert objective_of(problem.solve("hybrid")) <= objective_of(problem.solve("pipeline"))


def test_hybrid_stops() -> None:
    """Time limit, Ctrl-C, a parallelism that is not allowed."""
    problem = random_pool(3, 12, 32, "mesh")
    stopped = problem.solve("hybrid", time_limit_s=0.05)
    assert stopped.termination == ea.Termination.TIME_LIMIT

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    stopped = problem.solve("hybrid", on_progress=stop)
    assert stopped.termination == ea.Termination.INTERRUPTED
    assert stopped.objective is not None
    only = problem.replace(parallelisms=("pipeline",)).solve("hybrid")
    assert "not among the allowed" in only.attempts[0]


def test_same_bits() -> None:
    """The same data give the same plan."""
    problem = random_pool(5, 6, 12, "star")
    for name in ("hybrid", "edgeshard", "greedy", "pipeline"):
        first, second = problem.solve(name), problem.solve(name)
        assert first.allocation == second.allocation
        assert first.objective == second.objective


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_edgeshard_has_the_smallest_bottleneck(topology: str) -> None:
    """Against all subsets, orders and partitions: the longest stage or hand-over is as short as can be."""
    for seed in range(6):
        problem = random_pool(seed, 4, 6, topology)
        cost = FastCost(problem)
        best = math.inf
        for count in range(1, 5):
            for order in itertools.permutations(range(4), count):
                for layers in parts(6, count):
                    plan = ea.Plan("pipeline", tuple((i,) for i in order), layers, ((problem.micro_batch,),) * count)
                    if (memory_bytes(problem, plan) <= problem.memory_bytes).all():
                        best = min(best, _bottleneck(problem, cost, plan))
        found = bottleneck_plan(problem, Run())
        assert (found is None) == math.isinf(best)
        if found is not None:
            assert _bottleneck(problem, cost, found) == pytest.approx(best, rel=1e-9)


def _bottleneck(problem: ea.PoolTraining, cost: FastCost, plan: ea.Plan) -> float:
    first, longest, size = 0, 0.0, problem.micro_batch
    for p, count in enumerate(plan.layers):
        flops = (problem.forward_flops + problem.backward_flops)[first:first + count].sum()
        longest = max(longest, size * flops / problem.flops_per_s[plan.stages[p][0]])
        if p:
            hops = cost.hops(plan.stages[p - 1], (size,), plan.stages[p], (size,))
            longest = max(longest, sum(hop[0] + hop[1] for hop in hops))
        first += count
    return float(longest)


def test_edgeshard_of_many_devices() -> None:
    """More devices than sets can be counted: in order of speed, and the plan fits."""
    problem = random_pool(4, 30, 32, "star")
    solution = problem.solve("edgeshard")
    assert solution.status == ea.Status.FEASIBLE
    speeds = problem.flops_per_s[list(plan_of(solution).devices)]
    assert (np.diff(speeds) <= 0.0).all()
