"""How far the textbook formulas and the bounds of a plan are from the schedule, over random pools and plans."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from edgealloc.core.weights import Weights
from edgealloc.formulations.pool_training.costs import estimate_s, plan_bound_s
from edgealloc.formulations.pool_training.network import Topology
from edgealloc.formulations.pool_training.plan import PARALLELISMS, Plan
from edgealloc.formulations.pool_training.problem import PoolTraining
from edgealloc.formulations.pool_training.sharing import best_shares, equal_shares

__all__ = ["estimate_errors", "estimate_table", "random_plan", "random_pool"]

_TOKENS: Final = 128
_BYTES: Final = 2.0


def random_pool(rng: np.random.Generator) -> PoolTraining:
    """A pool of 2 to 8 devices within a factor of 10 in speed, on a channel, a switch, a line or a mesh.

    12 to 32 layers of 512 to 2048 channels, 50 to 1000 Mbit/s with up to 2 ms; layers differ by up to 20 %, the last
    carries a head. Memory is without limit: it is times that are compared.
    """
    devices, layers = int(rng.integers(2, 9)), int(rng.integers(12, 33))
    hidden = int(rng.choice([512, 768, 1024, 2048]))
    micro = int(rng.choice([2, 4, 8]))
    batch = micro * int(rng.choice([4, 8]))
    rate, latency = 1e6 * 50.0 * 20.0 ** rng.random(), 2e-3 * rng.random()
    make = (Topology.shared, Topology.star, Topology.line, Topology.mesh)[int(rng.integers(4))]
    parameters = 12.0 * hidden**2 * rng.uniform(0.9, 1.1, layers)
    forward = 2.0 * _TOKENS * parameters + 4.0 * _TOKENS**2 * hidden
    forward[-1] += 2.0 * _TOKENS * hidden * 32000.0
    boundary = _TOKENS * hidden * _BYTES
    table = 32000.0 * hidden * _BYTES * float(rng.integers(2))
    return PoolTraining(
        flops_per_s=1e11 * 10.0 ** rng.random(devices), memory_bytes=np.full(devices, 1e15),
        busy_power_w=np.full(devices, 10.0), idle_power_w=np.full(devices, 2.0), topology=make(devices, rate, latency),
        layers=layers, forward_flops=forward, backward_flops=2.0 * forward, state_bytes=16.0 * parameters,
        gradient_bytes=_BYTES * parameters, checkpoint_bytes=14.0 * parameters, activation_bytes=20.0 * boundary,
        replicated_activation_bytes=5.0 * boundary, key_value_bytes=2.0 * boundary, boundary_bytes=boundary,
        tied_bytes=table, batch=batch, micro_batches=micro, tokens=_TOKENS, heads=hidden // 64,
        weights=Weights(delay=1.0, energy=0.0),
    )


def random_plan(problem: PoolTraining, parallelism: str, rng: np.random.Generator) -> Plan:
    """A sensible plan of a parallelism: random participants in random order, work in proportion to their speed."""
    order = [int(i) for i in rng.permutation(problem.devices)]
    if parallelism == "single":
        return Plan("single", ((order[0],),), (problem.layers,), ((problem.batch,),))
    units = {"data": problem.batch, "sequence": problem.tokens, "tensor": problem.heads}
    count = int(rng.integers(2, problem.devices + 1))
    if parallelism in units:
        ring = tuple(order[: min(count, units[parallelism])])
        return Plan(parallelism, (ring,), (problem.layers,), (_shares(problem, ring, units[parallelism]),))
    b = problem.micro_batch
    groups: list[tuple[int, ...]] = []
    left = order[:count]
    while left:
        size = 1 if parallelism == "pipeline" else int(rng.integers(1, min(len(left), b, 3) + 1))
        groups.append(tuple(left[:size]))
        left = left[size:]
    shares = [_shares(problem, group, b) for group in groups]
    speed = [1.0 / max(s / problem.flops_per_s[i] for i, s in zip(group, mine, strict=True))
             for group, mine in zip(groups, shares, strict=True)]
    return Plan(parallelism, tuple(groups), _partition(problem, speed), tuple(shares))


def _shares(problem: PoolTraining, ring: tuple[int, ...], units: int) -> tuple[int, ...]:
    seconds = [1.0 / float(problem.flops_per_s[i]) for i in ring]
    return best_shares(units, seconds, [units] * len(ring)) or equal_shares(units, len(ring))


def _partition(problem: PoolTraining, speed: list[float]) -> tuple[int, ...]:
    """Layers cut where the work reaches the cumulated share of the speed; every stage has one at least."""
    work = np.cumsum(problem.forward_flops + problem.backward_flops)
    wanted = np.cumsum(speed)[:-1] / sum(speed) * work[-1]
    cuts = [0]
    for p, amount in enumerate(wanted):
        cut = int(np.argmin(np.abs(work - amount))) + 1
        cuts.append(min(max(cut, cuts[-1] + 1), problem.layers - (len(speed) - 1 - p)))
    return tuple(np.diff([*cuts, problem.layers]).tolist())


def estimate_errors(pools: int = 400, seed: int = 0) -> list[dict[str, Any]]:
    """Ratios of estimate and bound to the time of the schedule, for a plan of every parallelism in every pool.

    Returns
    -------
    list of dict
        ``parallelism``, ``estimate`` (textbook formula / schedule), ``bound`` (bound of the plan / schedule).
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(pools):
        problem = random_pool(rng)
        for parallelism in PARALLELISMS:
            plan = random_plan(problem, parallelism, rng)
            seconds, bound = problem.schedule(plan).time_s, plan_bound_s(problem, plan)
            rows.append({"parallelism": parallelism, "estimate": estimate_s(problem, plan) / seconds,
                         "bound": 1.0 if bound is None else bound / seconds})
    return rows


def estimate_table(pools: int = 400, seed: int = 0) -> str:
    """The ratios as a Markdown table."""
    rows = estimate_errors(pools, seed)
    lines = [
        "| parallelism | plans | estimate / schedule: least | median | largest | off by more than 10 % "
        "| bound / schedule: least | median | largest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in PARALLELISMS:
        estimate, bound = (np.array([row[key] for row in rows if row["parallelism"] == name])
                           for key in ("estimate", "bound"))
        off = np.mean(np.abs(estimate - 1.0) > 0.1)
        proven = (f"{bound.min():.3f} | {np.median(bound):.3f} | {bound.max():.3f}" if name in ("pipeline", "hybrid")
                  else "exact | | ")
        lines.append(f"| {name} | {estimate.size} | {estimate.min():.3f} | {np.median(estimate):.3f} | "
                     f"{estimate.max():.3f} | {off:.0%} | {proven} |")
    return "\n".join(lines)
