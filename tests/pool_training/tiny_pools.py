"""Small pools, and every plan of them: what tests of pictures, fronts and faults compare with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

import edgealloc as ea

__all__ = ["ENUMERATED", "FIXED", "all_plans", "fixed", "pipeline", "tiny_pool"]


def tiny_pool(devices: int = 3, layers: int = 4, topology: str | ea.Topology = "star", seed: int = 0,
              **changes: Any) -> ea.PoolTraining:
    """A pool with round numbers where it matters to read them and random ones where it does not."""
    rng = np.random.default_rng(seed)
    names = [f"device-{i}" for i in range(devices)]
    network = topology
    if isinstance(network, str):
        network = getattr(ea.Topology, network)(names, 1e8, 1e-3, joules_per_byte=1e-8)
    fields: dict[str, Any] = {
        "flops_per_s": rng.uniform(0.5, 3.0, devices) * 1e12, "memory_bytes": 64e9,
        "busy_power_w": rng.uniform(8.0, 40.0, devices), "idle_power_w": 2.0, "overhead_bytes": 3e8,
        "topology": network, "layers": layers, "forward_flops": 3e11, "backward_flops": 6e11, "state_bytes": 3e8,
        "gradient_bytes": 4e7, "checkpoint_bytes": 2.5e8, "activation_bytes": 6e7, "replicated_activation_bytes": 2e7,
        "key_value_bytes": 2e6, "boundary_bytes": 2e6, "batch": 4, "micro_batches": 2, "tokens": 4, "heads": 4,
        "weights": ea.Weights(1.0, 0.01, 0.0),
    }
    return ea.PoolTraining(**{**fields, **changes})


def pipeline(problem: ea.PoolTraining, order: tuple[int, ...], layers: tuple[int, ...]) -> ea.Plan:
    return ea.Plan("pipeline", tuple((i,) for i in order), layers, ((problem.micro_batch,),) * len(order))


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as `parts` whole numbers >= 1, in order."""
    for cuts in itertools.combinations(range(1, total), parts - 1):
        edges = (0, *cuts, total)
        yield tuple(b - a for a, b in itertools.pairwise(edges))


def all_plans(problem: ea.PoolTraining) -> Iterator[ea.Plan]:
    """Every plan without groups, whether or not it fits: rings start anywhere, so their order matters."""
    units = {"data": problem.batch, "sequence": problem.tokens, "tensor": problem.heads}
    for kind in problem.parallelisms:
        for count in range(1, problem.devices + 1):
            for order in itertools.permutations(range(problem.devices), count):
                if kind == "single" and count == 1:
                    yield ea.Plan("single", (order,), (problem.layers,), ((problem.batch,),))
                elif kind == "pipeline":
                    for layers in compositions(problem.layers, count):
                        yield pipeline(problem, order, layers)
                elif kind in units:
                    for shares in compositions(units[kind], count):
                        yield ea.Plan(kind, (order,), (problem.layers,), (shares,))


def _enumerate(problem: ea.PoolTraining, run: ea.Run) -> ea.Outcome:
    best: tuple[float, ea.Plan] | None = None
    for number, plan in enumerate(all_plans(problem)):
        if problem.relative_violation(plan) <= 1e-9:
            objective = problem.evaluate(plan).objective
            if best is None or objective < best[0]:
                best = (objective, plan)
        if number % 100 == 0:
            run.report("every plan", number)
    if best is None:
        nothing = np.full(problem.devices, 1e9)
        return ea.Outcome(diagnosis=ea.Diagnosis((), {"memory_bytes": problem.memory_bytes + nothing}))
    return ea.Outcome(best[1], bound=best[0])


def _fixed(problem: ea.PoolTraining, run: ea.Run) -> ea.Outcome:
    return ea.Outcome(run.warm_start)


ENUMERATED = ea.Method("all-plans", "every plan of a small pool", proves=True, slow=True, run=_enumerate)
FIXED = ea.Method("fixed", "the plan that is given", slow=True, run=_fixed)


def fixed(problem: ea.PoolTraining, plan: ea.Plan) -> ea.Solution[ea.Plan, ea.PoolCosts]:
    return problem.solve("fixed", warm_start=plan).require()
