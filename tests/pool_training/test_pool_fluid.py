"""The bound of pools whose work can be divided at will, against every plan of tiny pools and against arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edge_pools import tiny_pool

import edgealloc as ea
from edgealloc.formulations.pool_training.certificate.device_types import PoolData
from edgealloc.formulations.pool_training.certificate.pipelines import fluid_bound


@pytest.mark.parametrize("seed", [145, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("hybrid", [False, True])
def test_no_plan_is_below(seed: int, hybrid: bool) -> None:
    problem = tiny_pool(200000 + seed, devices=3, layers=3, parallelisms=("hybrid" if hybrid else "pipeline",))
    best = problem.solve("exact", gap=0.0).objective
    assert fluid_bound(PoolData(problem), hybrid=hybrid) <= (math.inf if best is None else best * (1.0 + 1e-9))


def pool(devices: int, **other: object) -> ea.PoolTraining:
    """Equal devices that hand over at once."""
    data: dict[str, object] = {
        "flops_per_s": np.full(devices, 1e12), "memory_bytes": 1e12, "busy_power_w": 2.0, "idle_power_w": 1.0,
        "topology": ea.Topology.shared(devices, 1e12), "layers": 12, "forward_flops": 1e12, "backward_flops": 2e12,
        "state_bytes": 1.0, "gradient_bytes": 0.0, "checkpoint_bytes": 1.0, "activation_bytes": 1.0,
        "boundary_bytes": 0.0, "batch": 8, "micro_batches": 8, "tokens": 8, "heads": 8,
        "weights": ea.Weights(1.0, 0.0, 0.0),
    }
    return ea.PoolTraining(**(data | other))  # type: ignore[arg-type]


def test_triangle_of_equal_devices() -> None:
    # S stages in T seconds: t_1 = T/8, t_p = (7/8)^(p-1) t_1, so 36 s of work are T (1 - (7/8)^S)
    for devices in (1, 2, 5):
        assert fluid_bound(PoolData(pool(devices)), hybrid=False) == pytest.approx(36.0 / (1.0 - (7 / 8) ** devices))


def test_deadline_out_of_reach() -> None:
    problem = pool(2, deadline_s=36.0 / (1.0 - (7 / 8) ** 2) - 1.0, parallelisms=("pipeline",))
    assert fluid_bound(PoolData(problem), hybrid=False) == math.inf
    assert problem.solve(gap=0.0).status.value == "infeasible"
