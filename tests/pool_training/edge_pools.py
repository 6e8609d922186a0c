"""Tiny random pools with everything that goes wrong at the edges: ties, no memory, no bytes, lines, one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import edgealloc as ea


def tiny_pool(seed: int, devices: int | None = None, layers: int | None = None,
              parallelisms: Sequence[str] | None = None, shape: str | None = None, **fixed: Any) -> ea.PoolTraining:
    """A pool that `brute` can search; the same for the same arguments."""
    draw = np.random.default_rng(seed)
    D = devices or int(draw.integers(1, 4))
    Y = layers or int(draw.integers(1, 5))
    M = int(draw.choice([1, 2, 3, 4]))
    ties = draw.random() < 0.3
    rate, latency = 10 ** draw.uniform(5.5, 9.5), float(draw.choice([0.0, 1e-3, 0.05]))
    joules = float(draw.choice([0.0, 1e-8, 1e-6]))
    drawn = ("shared", "star", "line", "mesh", "graph")[int(draw.integers(0, 5))]
    shape = shape or drawn
    if shape == "graph":
        ends = [(i, j) for i in range(D) for j in range(D) if i != j]
        topology = ea.Topology(tuple(f"d{k}" for k in range(D)), np.array(ends).reshape(-1, 2),
                               rate * draw.uniform(0.1, 1.0, len(ends)), draw.uniform(0.0, 0.01, len(ends)),
                               draw.integers(0, max(len(ends) // 2, 1), len(ends)), 1.0,
                               joules * draw.uniform(0.0, 1.0, len(ends)))
    elif shape == "star":
        topology = ea.Topology.star(D, rate * draw.uniform(0.2, 1.0, D), latency, joules)
    else:
        topology = getattr(ea.Topology, shape)(D, rate, latency, joules)

    def per(count: int, low: float, high: float) -> npt.NDArray[np.float64]:
        return np.full(count, low + high) / 2.0 if ties else draw.uniform(low, high, count)

    activation = per(Y, 0.5e6, 2e6)
    memory = per(D, 0.2, 1.0) * 10 ** draw.uniform(7.4, 9.0)
    if draw.random() < 0.2:
        memory[int(draw.integers(0, D))] = 0.0
    data: dict[str, Any] = {
        "flops_per_s": per(D, 0.2, 2.0) * 1e12, "memory_bytes": memory, "busy_power_w": per(D, 4.0, 20.0),
        "idle_power_w": per(D, 0.0, 4.0), "overhead_bytes": float(draw.choice([0.0, 2e6])),
        "topology": topology, "layers": Y,
        "forward_flops": per(Y, 0.5e10, 2e10), "backward_flops": per(Y, 1e10, 4e10), "state_bytes": per(Y, 5e6, 2e7),
        "gradient_bytes": per(Y, 0.5, 2.0) * 10 ** draw.uniform(3.0, 7.0), "checkpoint_bytes": 1e6,
        "activation_bytes": activation, "replicated_activation_bytes": 0.3 * activation,
        "key_value_bytes": per(Y, 0.0, 1e5) * float(draw.choice([0.0, 1.0])),
        "boundary_bytes": float(draw.choice([0.0, 1e4, 1e6])), "tied_bytes": float(draw.choice([0.0, 1e6])),
        "tied_state_bytes": float(draw.choice([0.0, 4e6])),
        "batch": M * int(draw.choice([1, 2, 3])), "micro_batches": M,
        "tokens": int(draw.choice([2, 5])), "heads": int(draw.choice([2, 4])),
        "weights": ea.Weights(*((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.1, 0.0))[int(draw.integers(0, 3))]),
    }
    if parallelisms is not None:
        data["parallelisms"] = tuple(parallelisms)
    data.update(fixed)
    problem = ea.PoolTraining(**data)
    if "deadline_s" not in fixed and draw.random() < 0.25:
        plan = ea.Plan("single", ((0,),), (Y,), ((problem.batch,),))
        alone = problem if "single" in problem.parallelisms else problem.replace(parallelisms=("single",))
        problem = problem.replace(deadline_s=alone.evaluate(plan).time_s * float(draw.uniform(0.3, 1.2)))
    return problem


def random_plan(problem: ea.PoolTraining, seed: int) -> ea.Plan:
    """A plan of a random allowed parallelism, whether it fits or not."""
    draw = np.random.default_rng(seed)
    kind = str(draw.choice(problem.parallelisms))
    units = {"sequence": problem.tokens, "tensor": problem.heads, "pipeline": problem.micro_batch,
             "hybrid": problem.micro_batch}.get(kind, problem.batch)

    def split(total: int, count: int) -> tuple[int, ...]:
        cuts = np.sort(draw.choice(np.arange(1, total), count - 1, replace=False)).tolist() if count > 1 else []
        return tuple(int(one) for one in np.diff([0, *cuts, total]))

    order = [int(i) for i in draw.permutation(problem.devices)]
    if kind in ("pipeline", "hybrid"):
        stages = []
        most = 1 if kind == "pipeline" else units
        for _ in range(int(draw.integers(1, min(problem.devices, problem.layers) + 1))):
            if not order:
                break
            size = int(draw.integers(1, min(most, len(order)) + 1))
            stages.append(tuple(order[:size]))
            order = order[size:]
    else:
        stages = [tuple(order[:1 if kind == "single" else int(draw.integers(1, min(len(order), units) + 1))])]
    return ea.Plan(kind, tuple(stages), split(problem.layers, len(stages)),
                   tuple(split(units, len(stage)) for stage in stages))
