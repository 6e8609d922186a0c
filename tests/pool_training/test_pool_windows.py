"""Windows of stages against the longest path of their operations, and fronts against the optimum of tiny pools."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from edge_pools import tiny_pool
from pools import draws

from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.bounds import PipelineTimes, pipeline_bound
from edgealloc.formulations.pool_training.certificate.device_types import DeviceTypes, PoolData, gather
from edgealloc.formulations.pool_training.certificate.layered import steps, turning
from edgealloc.formulations.pool_training.certificate.pipelines import solve_layered
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent


def longest_path(micro: int, outer: int, inner: int, forward: float, backward: float, trip: float) -> float:
    """End of a stage with `outer` micro-batches in flight, one forward and one backward pass in turn.

    Backward pass j ends no sooner than a round trip after forward pass ``j + inner - 1`` began.
    """
    order = [(0, m) for m in range(outer)]
    for m in range(micro):
        order += [(1, m)] + ([(0, outer + m)] if outer + m < micro else [])
    now, began = 0.0, {}
    for what, m in order:
        if what == 0:
            began[m] = now
            now += forward
        else:
            now += backward
            entered = m + inner - 1
            if entered in began:
                now = max(now, began[entered] + trip)
    return now


def test_windows_are_the_longest_path() -> None:
    """Never above it, and equal where the last stage of the window keeps one micro-batch."""
    for micro, outer, (forward, backward) in itertools.product(
        range(1, 10), range(1, 10), [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0)]
    ):
        for inner, extra in itertools.product(range(1, outer + 1), (0.0, 0.5, 2.0, 9.0, 40.0)):
            if outer > micro:
                continue
            both = forward + backward
            trip = both + extra
            path = longest_path(micro, outer, inner, forward, backward, trip)
            step, most = steps(micro, outer, inner)
            bound = turning(micro, step, most, both, max(forward, backward), trip)
            assert bound <= path + 1e-9
            if inner == 1:
                assert max(bound, micro * both) == pytest.approx(path)


def test_one_round_trip_and_the_rest_of_the_backward_passes() -> None:
    # stage 0 fills its window of 3 with forward passes and waits for the first gradients, which come at 1 + 10 + 10;
    # then 1 forward pass and 4 backward passes of 5 s
    times = PipelineTimes([1.0, 0.0], [5.0, 0.0], [(0.0, 10.0)], [(0.0, 10.0)], [0.0, 0.0], [3, 1], 4)
    assert pipeline_bound(times) == pytest.approx(max(21.0 + 1.0 + 20.0, 2 * 26.0))


@pytest.mark.parametrize("hybrid", [False, True])
def test_fronts_drop_nothing_that_is_better_than_the_target(hybrid: bool) -> None:
    """With a target a little above the optimum, at it and below it, for any number of types and buckets."""
    for seed in draws(20):
        pool = tiny_pool(400_000 + seed, devices=4, parallelisms=("hybrid" if hybrid else "pipeline",))
        exact = pool.solve("exact", gap=1e-9)
        optimum = math.inf if exact.objective is None else exact.objective
        data = PoolData(pool)
        for kinds in gather(data, 4):
            for buckets, share in ((1, 1.0), (3, 1.0 + 1e-6), (2, 1.3), (1, 0.97)):
                best = Incumbent(pool, FastCost(pool), Run(gap=0.0, time_limit_s=math.inf))
                best.value = optimum * share
                found = solve_layered(DeviceTypes(data, kinds), best, hybrid=hybrid, buckets=buckets, gap=0.0)
                assert found is not None
                assert found.bound <= optimum * (1.0 + 1e-12), (seed, kinds)
                assert not np.isnan(found.bound)
