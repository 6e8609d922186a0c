"""What must hold whatever the numbers are: more never hurts, fewer never help, models are split or refused.

Optima are those of `exact`, which other tests compare with an enumeration; `certified` must never contradict them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from edge_pools import tiny_pool
from pools import draws, objective_of, plain_pool, plan_of

import edgealloc as ea

#: Slack of two optima that are compared.
SLACK = 1e-8


def optimum(problem: ea.PoolTraining) -> float:
    """Objective of the best plan, inf if none fits."""
    solution = problem.solve("exact", gap=1e-10)
    if solution.objective is None:
        assert solution.status == ea.Status.INFEASIBLE
        return math.inf
    return solution.objective


def bound(problem: ea.PoolTraining) -> float:
    """What is proven about the best plan, inf if that there is none."""
    solution = problem.solve("certified", gap=1e-3)
    if solution.objective is None and solution.status == ea.Status.INFEASIBLE:
        return math.inf
    assert solution.bound is not None
    return solution.bound


def faster(topology: ea.Topology, factors: np.ndarray[tuple[int], np.dtype[np.float64]]) -> ea.Topology:
    """The same network with the rates of its links multiplied."""
    return ea.Topology(topology.nodes, topology.ends, topology.rate_bits_per_s * factors, topology.latency_s,
                       topology.medium, topology.metric, topology.joules_per_byte)


@pytest.mark.parametrize("turn", range(2))
def test_removing_a_device_never_improves_the_optimum(turn: int) -> None:
    """Without memory a device trains nothing, though it relays: no plan is better than with it."""
    for seed in draws(10, turn, 2):
        problem = tiny_pool(2_000 + seed, devices=2 + seed % 3, layers=2 + seed % 3)
        best = optimum(problem)
        least = bound(problem)
        for i in range(problem.devices):
            without = problem.replace(memory_bytes=np.where(np.arange(problem.devices) == i, 0.0, problem.memory_bytes))
            left = optimum(without)
            assert left >= best * (1.0 - SLACK), (seed, i)
            assert least <= left * (1.0 + 1e-12), (seed, i)


@pytest.mark.parametrize("what", ["bandwidth", "memory"])
def test_more_never_hurts(what: str) -> None:
    """More of it on some links or devices, or on all: the optimum does not rise."""
    for seed in draws(20):
        problem = tiny_pool(3_000 + seed, devices=2 + seed % 2)
        draw = np.random.default_rng(seed)
        if what == "memory":
            more = np.where(draw.random(problem.devices) < 0.6, draw.uniform(1.0, 4.0, problem.devices), 1.0)
            better = problem.replace(memory_bytes=problem.memory_bytes * more)
        else:
            links = problem.topology.links
            more = np.where(draw.random(links) < 0.6, 10 ** draw.uniform(0.0, 2.0, links), 1.0)
            better = problem.replace(topology=faster(problem.topology, more))
        after = optimum(better)
        assert after <= optimum(problem) * (1.0 + SLACK), seed
        assert bound(better) <= after * (1.0 + 1e-12), seed


def test_energy_weight_up_energy_down() -> None:
    """The dearer a joule, the fewer joules and the more seconds the best plan takes; somewhere it does change."""
    weights, changed = (0.0, 1e-3, 1e-2, 0.1, 1.0, 100.0), 0
    for seed in draws(8):
        problem = tiny_pool(4_000 + seed, devices=3, layers=3, deadline_s=None, memory_bytes=1e9)
        plans = [problem.replace(weights=ea.Weights(1.0, weight, 0.0)).solve("exact", gap=1e-10) for weight in weights]
        costs = [problem.evaluate(plan_of(one)) for one in plans]
        for k in range(len(weights) - 1):
            # what two plans, each within the gap of its optimum, may differ by
            slack = 1e-9 * (objective_of(plans[k]) + objective_of(plans[k + 1])) / (weights[k + 1] - weights[k])
            assert costs[k + 1].energy_j <= costs[k].energy_j + slack, (seed, weights[k])
            assert costs[k + 1].time_s >= costs[k].time_s - weights[k + 1] * slack, (seed, weights[k])
        changed += costs[-1].energy_j < costs[0].energy_j * (1.0 - 1e-6)
    assert changed > 0


@pytest.mark.parametrize("method", ["certified", "exact", "milp", "hybrid", "edgeshard", "pipeline", "greedy"])
def test_a_model_that_fits_no_device_is_planned_on_several(method: str) -> None:
    """600 MB of states on devices of 500 MB."""
    problem = plain_pool(3, memory_bytes=5e8)
    alone = problem.solve("single-best")
    assert alone.allocation is None
    assert "lacks" in alone.attempts[0]
    plan = plan_of(problem.solve(method))
    assert len(plan.devices) > 1
    assert problem.violations(plan)["memory_bytes"] == 0.0
    assert (problem.evaluate(plan).memory_bytes <= 5e8).all()


@pytest.mark.parametrize("method", ["certified", "exact"])
def test_a_model_that_fits_nowhere_is_refused_with_the_bytes_of_every_device(method: str) -> None:
    """Tensor parallelism over two devices of 400 MB.

    Two heads of four each: half of 600 MB of states, and for 8 samples 12 MB in whole and half of the other 48 MB of
    activations: 300 + 8 x (12 + 24) = 588 MB. Each lacks 188 MB; one alone would lack 600 + 480 - 400 = 680 MB.
    """
    problem = plain_pool(2, memory_bytes=4e8, parallelisms=("single", "tensor"))
    solution = problem.solve(method)
    assert solution.status == ea.Status.INFEASIBLE
    assert solution.diagnosis is not None
    missing = {conflict.where: conflict.amount for conflict in solution.diagnosis}
    assert missing == pytest.approx({"device 0 (device-0)": 188e6, "device 1 (device-1)": 188e6}, rel=1e-9)
    with pytest.raises(ea.InfeasibleError, match=r"(?s)device-0\) by 1.88e\+08 B.*device-1\) by 1.88e\+08 B"):
        solution.require()
    assert problem.replace(**solution.diagnosis.changes).solve(method).allocation is not None
