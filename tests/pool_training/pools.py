"""Small pools for tests: numbers that are easy to follow, and random ones."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edgealloc import Plan, PoolCosts, PoolTraining, Solution, Topology

__all__ = ["TOPOLOGIES", "draws", "objective_of", "plain_pool", "plan_of", "random_pool"]

TOPOLOGIES = ("shared", "star", "line", "mesh")


def draws(usual: int, turn: int = 0, turns: int = 1) -> range:
    """Seeds of random pools: `usual` of them, EDGEALLOC_NIGHTLY times as many, or EDGEALLOC_SHARE of them.

    `turn` of `turns` tests has every `turns`-th seed, so that none is drawn twice.
    """
    wanted = usual * max(1, int(os.environ.get("EDGEALLOC_NIGHTLY", "0")))
    wanted = max(4, round(wanted * float(os.environ.get("EDGEALLOC_SHARE", "1"))))
    return range(turn, turns * wanted, turns)


def plain_pool(devices: int = 3, **changes: Any) -> PoolTraining:
    """Equal devices of 1 TFLOP/s and 10 GB on a mesh of 8 Mbit/s (1 MB/s); six layers of 1 + 2 GFLOP per sample."""
    fields: dict[str, Any] = {
        "flops_per_s": np.full(devices, 1e12), "memory_bytes": 1e10, "busy_power_w": 10.0, "idle_power_w": 2.0,
        "topology": Topology.mesh(devices, 8e6), "layers": 6, "forward_flops": 1e9, "backward_flops": 2e9,
        "state_bytes": 1e8, "gradient_bytes": 1e6, "checkpoint_bytes": 6e7, "activation_bytes": 1e7,
        "replicated_activation_bytes": 2e6, "key_value_bytes": 1e5, "boundary_bytes": 1e5, "batch": 8,
        "micro_batches": 4, "tokens": 16, "heads": 4,
    }
    return PoolTraining(**fields | changes)


def plan_of(solution: Solution[Plan, PoolCosts]) -> Plan:
    """The plan that was found; there must be one."""
    assert solution.allocation is not None
    return solution.allocation


def objective_of(solution: Solution[Plan, PoolCosts]) -> float:
    """The objective of the plan that was found; there must be one."""
    assert solution.objective is not None
    return solution.objective


def random_pool(seed: int, devices: int, layers: int, topology: str = "shared", **changes: Any) -> PoolTraining:
    """Unequal devices, links between 1 Mbit/s and 3 Gbit/s, layers that differ."""
    numbers = np.random.default_rng(seed)
    maker = {"shared": Topology.shared, "star": Topology.star, "line": Topology.line, "mesh": Topology.mesh}[topology]
    micro_batches = int(numbers.choice([1, 2, 4]))
    kept = numbers.uniform(1e6, 5e7, layers)
    fields: dict[str, Any] = {
        "flops_per_s": numbers.uniform(0.2, 2.0, devices) * 1e12,
        "memory_bytes": numbers.uniform(0.5, 4.0, devices) * 1e9,
        "busy_power_w": numbers.uniform(5.0, 30.0, devices), "idle_power_w": numbers.uniform(0.0, 5.0, devices),
        "overhead_bytes": 1e7,
        "topology": maker(devices, 10 ** numbers.uniform(6.0, 9.5), float(numbers.choice([0.0, 2e-3])), 1e-8),
        "layers": layers, "forward_flops": numbers.uniform(0.5, 2.0, layers) * 1e10,
        "backward_flops": numbers.uniform(1.0, 4.0, layers) * 1e10,
        "state_bytes": numbers.uniform(0.5, 2.0, layers) * 1e8,
        "gradient_bytes": numbers.uniform(0.5, 2.0, layers) * 10 ** numbers.uniform(3.0, 7.5),
        "checkpoint_bytes": 6e7, "activation_bytes": kept, "replicated_activation_bytes": 0.3 * kept,
        "key_value_bytes": 1e5, "boundary_bytes": 10 ** numbers.uniform(4.0, 6.5), "batch": 4 * micro_batches,
        "micro_batches": micro_batches, "tokens": 8, "heads": 4,
    }
    if numbers.random() < 0.3:
        fields |= {"tied_bytes": 1e6, "tied_state_bytes": 4e7}
    return PoolTraining(**fields | changes)
