"""The certificate of pool training against brute force: no bound above the best plan, no plan lost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from edge_pools import tiny_pool
from pools import TOPOLOGIES, draws, plain_pool, random_pool

from edgealloc import Plan, PoolTraining, Topology, Weights
from edgealloc.core.run import Progress
from edgealloc.core.status import Status, Termination
from edgealloc.formulations.pool_training.certificate.device_types import DeviceTypes, PoolData, gather
from edgealloc.formulations.pool_training.certificate.pipelines import solve_layered
from edgealloc.formulations.pool_training.certificate.whole_pool import one_stage
from edgealloc.formulations.pool_training.plan import PARALLELISMS
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent

# ---- every plan there is, by nothing but the definition of a plan ---------------------------------------------------


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Whole numbers >= 1 with a given sum."""
    if parts == 1:
        yield (total,)
        return
    for first in range(1, total - parts + 2):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


def arrangements(devices: Sequence[int]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Lists of disjoint groups, the order within groups included."""
    yield ()
    for size in range(1, len(devices) + 1):
        for group in itertools.permutations(devices, size):
            for more in arrangements([i for i in devices if i not in group]):
                yield (group, *more)


def every_plan(problem: PoolTraining) -> Iterator[Plan]:
    everybody, layers = range(problem.devices), problem.layers
    for parallelism in problem.parallelisms:
        if parallelism in ("pipeline", "hybrid"):
            samples = problem.micro_batch
            largest = 1 if parallelism == "pipeline" else samples
            for stages in arrangements(everybody):
                if 1 <= len(stages) <= layers and max(len(group) for group in stages) <= largest:
                    for shares in itertools.product(*(list(compositions(samples, len(g))) for g in stages)):
                        for counts in compositions(layers, len(stages)):
                            yield Plan(parallelism, stages, counts, shares)
            continue
        units = {"sequence": problem.tokens, "tensor": problem.heads}.get(parallelism, problem.batch)
        for size in range(1, 2 if parallelism == "single" else min(units, problem.devices) + 1):
            for ring in itertools.permutations(everybody, size):
                if ring[0] == min(ring):
                    for one in compositions(units, size):
                        yield Plan(parallelism, (ring,), (layers,), (one,))


def optimum(problem: PoolTraining) -> float:
    """Objective of the best plan that keeps all limits."""
    values = sorted((problem.evaluate(plan).objective, k, plan) for k, plan in enumerate(every_plan(problem)))
    return next((value for value, _, plan in values if problem.relative_violation(plan) <= 1e-9), math.inf)


def odd_pool(seed: int) -> PoolTraining:
    """A tiny pool with whatever is awkward: ties, no memory, free layers, huge weights, deadlines, one parallelism."""
    numbers = np.random.default_rng(seed)
    devices = int(numbers.integers(1, 4)) if seed % 8 else 4
    topology = str(numbers.choice(TOPOLOGIES))
    pool = random_pool(seed, devices, int(numbers.integers(1, 5 if devices < 4 else 4)), topology)
    micro, samples = int(numbers.choice([1, 2, 3, 4])), int(numbers.choice([1, 2, 3] if devices < 4 else [1, 2]))
    delay, energy = [(1.0, 0.0), (1.0, 0.1), (0.0, 1.0), (1e-6, 1.0)][int(numbers.integers(4))]
    changes: dict[str, Any] = {
        "micro_batches": micro, "batch": micro * samples, "weights": Weights(delay, energy, 0.0),
        "tokens": int(numbers.choice([2, 4, 70])) if devices < 3 else 4,
    }
    dice = numbers.random(6)
    if dice[0] < 0.3:
        changes["memory_bytes"] = pool.memory_bytes * numbers.uniform(0.05, 0.6)
    elif dice[0] < 0.4:
        changes["memory_bytes"] = np.where(np.arange(devices) == numbers.integers(devices), 0.0, pool.memory_bytes)
    if dice[1] < 0.3:
        changes["flops_per_s"] = 1e12
    if dice[1] < 0.15:
        changes |= {"memory_bytes": float(pool.memory_bytes.mean()), "busy_power_w": 10.0, "idle_power_w": 2.0}
    if dice[2] < 0.3:
        changes["parallelisms"] = (str(numbers.choice(PARALLELISMS)),)
    if dice[3] < 0.3:
        changes["gradient_bytes"] = pool.gradient_bytes * float(numbers.choice([0.0, 1e-3, 100.0]))
    if dice[4] < 0.2 and pool.layers > 1:
        free = np.arange(pool.layers) > 0
        changes |= {"forward_flops": pool.forward_flops * free, "backward_flops": pool.backward_flops * free}
    if dice[5] < 0.3 and topology == "star":
        changes["topology"] = Topology.star(devices, 10 ** numbers.uniform(6, 9, devices), 1e-3)
    pool = pool.replace(**changes)
    if numbers.random() < 0.2:
        fastest = pool.solve(time_limit_s=None)
        if fastest.costs is not None:
            pool = pool.replace(deadline_s=fastest.costs.time_s * numbers.uniform(0.7, 1.2))
    return pool


@pytest.mark.parametrize("turn", range(5))
def test_bound_is_never_above_the_best_plan_and_nothing_feasible_is_refused(turn: int) -> None:
    reached = []
    for seed in draws(20, turn, 5):
        pool = odd_pool(seed)
        best = optimum(pool)
        gap = (1e-9, 1e-2, 0.2)[seed % 3]
        solution = pool.solve(gap=gap, time_limit_s=None)
        if not math.isfinite(best):
            assert solution.allocation is None
            continue
        assert solution.status != Status.INFEASIBLE, seed
        assert solution.bound is not None, seed
        assert solution.objective is not None, seed
        assert solution.bound <= best * (1.0 + 1e-12), seed
        assert solution.objective >= best * (1.0 - 1e-12), seed
        assert not any("withdrawn" in line for line in solution.attempts), seed
        reached.append(solution.objective <= best * (1.0 + 1e-9 + gap))
    assert np.mean(reached) > 0.85  # a good plan is missed rarely


@pytest.mark.parametrize("shape", [*TOPOLOGIES, "graph"])
def test_bound_is_never_above_the_exact_optimum(shape: str) -> None:
    """Hundreds of pools that `exact` solves, itself compared with an enumeration elsewhere; all shapes of networks."""
    for seed in draws(50):
        pool = tiny_pool(10_000 + seed, shape=shape)
        exact, solution = pool.solve("exact", gap=1e-9), pool.solve("certified", gap=(1e-6, 0.05)[seed % 2])
        if exact.objective is None:
            assert exact.status == Status.INFEASIBLE
            assert solution.allocation is None, seed
            continue
        assert solution.status != Status.INFEASIBLE, seed
        assert solution.bound is not None, seed
        assert solution.bound <= exact.objective * (1.0 + 1e-12), seed
        assert solution.objective is None or solution.objective >= exact.objective * (1.0 - 1e-9), seed


# ---- one parallelism at a time: every relaxation by itself ----------------------------------------------------------


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("parallelism", ["pipeline", "hybrid"])
def test_labels_stay_below_the_best_plan_of_every_set_of_devices(topology: str, parallelism: str) -> None:
    """Root labels, for one type per device and for fewer types, are below every plan that uses just these devices."""
    hybrid = parallelism == "hybrid"
    for seed in draws(8):
        energy = (0.0, 0.05)[seed % 2]
        micro = (1, 3, 5, 8)[seed % 4]
        pool = random_pool(seed, 3, 4, topology, parallelisms=(parallelism,), weights=Weights(1.0, energy, 0.0),
                           micro_batches=micro, batch=2 * micro)
        least: dict[tuple[int, ...], float] = {}
        for plan in every_plan(pool):
            if pool.relative_violation(plan) <= 1e-9:
                members = tuple(sorted(plan.devices))
                least[members] = min(least.get(members, math.inf), pool.evaluate(plan).objective)
        data = PoolData(pool)
        for kinds in gather(data, 3):
            types = DeviceTypes(data, kinds)
            for buckets in (1, 3):
                best = Incumbent(pool, FastCost(pool), run_without_end())
                found = solve_layered(types, best, hybrid=hybrid, buckets=buckets, gap=0.0)
                assert found is not None
                for members, value in least.items():
                    code = int(sum(types.stride[kinds[i]] for i in members))
                    assert found.root[code] <= value * (1.0 + 1e-12), (seed, members)


@pytest.mark.parametrize("parallelism", ["single", "data", "sequence", "tensor"])
def test_sets_of_one_stage_stay_below_their_best_plan(parallelism: str) -> None:
    for seed, topology in itertools.product(draws(4), TOPOLOGIES):
        pool = random_pool(seed, 3, 3, topology, parallelisms=(parallelism,), weights=Weights(1.0, 0.1 * (seed % 2), 0),
                           batch=4, micro_batches=1, tokens=(8, 66)[seed % 2 if parallelism == "sequence" else 0])
        data = PoolData(pool)
        types = DeviceTypes(data, np.arange(3))
        sets = one_stage(types, parallelism)
        bound = dict(zip(sets.code.tolist(), sets.bound.tolist(), strict=True))
        least: dict[int, float] = {}
        for plan in itertools.islice(every_plan(pool), 400):
            if pool.relative_violation(plan) <= 1e-9:
                code = sum(1 << i for i in plan.devices)
                least[code] = min(least.get(code, math.inf), pool.evaluate(plan).objective)
        for code, value in least.items():
            assert bound[code] <= value * (1.0 + 1e-12), (seed, topology, code)


# ---- behaviour ------------------------------------------------------------------------------------------------------


def run_without_end() -> Any:
    from edgealloc.core.run import Run

    return Run(gap=0.0, time_limit_s=math.inf)


def test_equal_devices_are_one_type() -> None:
    data = PoolData(plain_pool(9))
    assert [int(kinds.max()) + 1 for kinds in gather(data, 16)] == [1]
    solution = plain_pool(9).solve(gap=1e-6)
    assert solution.gap is not None
    assert solution.gap <= 0.3


def test_twelve_devices_are_proven_well_within_seconds() -> None:
    pool = random_pool(3, 12, 16, "star", parallelisms=("pipeline",), weights=Weights(1.0, 0.0, 0.0))
    solution = pool.solve(gap=1e-3, time_limit_s=20.0)
    assert solution.gap is not None
    assert solution.gap < 0.25
    again = pool.solve(gap=1e-3, time_limit_s=20.0)
    if Termination.TIME_LIMIT not in (solution.termination, again.termination):
        assert (again.objective, again.bound, again.allocation) == (
            solution.objective, solution.bound, solution.allocation)


def test_interrupt_keeps_the_best_plan() -> None:
    def stop(line: Progress) -> None:
        if line.objective is not None:
            raise KeyboardInterrupt

    solution = random_pool(1, 4, 6, "mesh").solve(on_progress=stop)
    assert solution.termination == Termination.INTERRUPTED
    assert solution.allocation is not None
    assert solution.bound is not None


def test_no_time_still_gives_a_bound() -> None:
    solution = random_pool(2, 6, 8, "mesh").solve(time_limit_s=1e-6)
    assert solution.termination in (Termination.TIME_LIMIT, Termination.GAP)
    assert solution.bound is not None
    assert solution.bound > 0.0


def test_pool_that_fits_nowhere_is_infeasible_and_the_repair_mends_it() -> None:
    pool = plain_pool(3, memory_bytes=1.5e8)
    solution = pool.solve()
    assert solution.status == Status.INFEASIBLE
    assert solution.diagnosis is not None
    mended = pool.replace(**solution.diagnosis.changes).solve()
    assert mended.allocation is not None


def test_deadline_that_no_plan_keeps_is_proven() -> None:
    pool = plain_pool(3)
    best = pool.solve(gap=1e-6)
    assert best.bound is not None
    late = pool.replace(deadline_s=0.5 * best.bound).solve()
    assert late.allocation is None
    assert late.status in (Status.INFEASIBLE, Status.NO_SOLUTION)
