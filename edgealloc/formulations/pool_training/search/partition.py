r"""Layers of a pipeline whose stages and their order are given: dynamic programming, then the schedule.

A stage that holds layers a to b - 1 takes :math:`t` for a micro-batch, and hands over in :math:`c + c'` (there and
back). From the last stage to the first, with M micro-batches,

.. math::

    H_p(a) = \min_b \max\{ M t_p(a, b),\; t_p(a, b) + c_p + c'_p + H_{p+1}(b) \}

is the smallest bound 1 of `bounds.pipeline_bound` of the layers from a on. For joint objectives every state keeps the
trade-offs between H and the energy of its stages that no other one beats. The number of micro-batches in flight, and
so the memory that a stage needs, depends only on its place from the end. The best few partitions are simulated, and
layers moved between neighbours while that helps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import in_flight
from edgealloc.formulations.pool_training.search.fastcost import FastCost

__all__ = ["best_partition", "improved", "partitions", "pipeline_fits", "score"]

#: Trade-offs kept in a state.
KEEP: Final = 6

Groups = Sequence[tuple[int, ...]]


def pipeline_fits(cost: FastCost, parallelism: str, groups: Groups, starts: Sequence[int], shares: Groups) -> bool:
    """Whether every device of a pipeline has the memory it needs."""
    stages = len(groups)
    limits = in_flight(parallelism, stages, cost.problem.micro_batches)
    return all(
        _state(cost, a, b, stages) + limits[p] * share * (cost.kept[b] - cost.kept[a]) <= cost.free[i]
        for p, (a, b) in enumerate(itertools.pairwise(starts))
        for i, share in zip(groups[p], shares[p], strict=True)
    )


def _state(cost: FastCost, a: int, b: int, stages: int) -> float:
    """Bytes of states of layers a to b - 1; a single stage holds the tied table once."""
    return cost.state[b] - cost.state[a] - (cost.problem.tied_state_bytes if stages == 1 else 0.0)


def partitions(
    cost: FastCost, parallelism: str, groups: Groups, shares: Groups, keep: int = KEEP
) -> list[tuple[int, ...]]:
    """Numbers of layers of the stages, those with the smallest bound of the objective first.

    Parameters
    ----------
    cost : FastCost
    parallelism : str
        "pipeline" or "hybrid"; it says how many micro-batches are in flight.
    groups, shares
        Devices of every stage and their samples of a micro-batch.
    keep : int
        Most trade-offs per state, and most partitions that are returned.

    Returns
    -------
    list of tuple of int
        Empty if no partition fits into memory.
    """
    problem, stages, layers = cost.problem, len(groups), cost.problem.layers
    if stages > layers:
        return []
    count = problem.micro_batches
    limits = in_flight(parallelism, stages, count)
    seconds = problem.per_second + problem.per_joule * sum(cost.idle[i] for group in groups for i in group)
    joules = problem.per_joule
    # labels[y]: (H, E, layers) of what follows the stage, whose last layer is y - 1
    labels: list[list[tuple[float, float, tuple[int, ...]]]] = [[] for _ in range(layers)] + [[(0.0, 0.0, ())]]
    for p in reversed(range(stages)):
        trip = 0.0
        if p + 1 < stages:
            trip = sum(hop[0] + hop[1] for hop in cost.hops(groups[p], shares[p], groups[p + 1], shares[p + 1]))
        slowest = max(share / cost.speed[i] for i, share in zip(groups[p], shares[p], strict=True))
        power = sum((cost.busy[i] - cost.idle[i]) * share / cost.speed[i]
                    for i, share in zip(groups[p], shares[p], strict=True))
        new: list[list[tuple[float, float, tuple[int, ...]]]] = [[] for _ in range(layers + 1)]
        for b in range(p + 1, layers + 1):
            if not labels[b]:
                continue
            for a in range(b - 1, p - 1, -1) if p else (0,):
                state, kept = _state(cost, a, b, stages), limits[p] * (cost.kept[b] - cost.kept[a])
                if any(state + share * kept > cost.free[i] for i, share in zip(groups[p], shares[p], strict=True)):
                    break
                flops = cost.forward[b] - cost.forward[a] + cost.backward[b] - cost.backward[a]
                time, energy = slowest * flops, count * power * flops
                for height, spent, counts in labels[b]:
                    new[a].append((max(count * time, time + trip + height), energy + spent, (b - a, *counts)))
        labels = [_best(one, seconds, joules, keep) for one in new]
    return [counts for *_, counts in labels[0]]


def _best(
    labels: list[tuple[float, float, tuple[int, ...]]], seconds: float, joules: float, keep: int
) -> list[tuple[float, float, tuple[int, ...]]]:
    """The best labels of a state: by their objective, none of them beaten in both time and energy by a better one."""
    labels.sort(key=lambda label: (seconds * label[0] + joules * label[1], label))
    kept: list[tuple[float, float, tuple[int, ...]]] = []
    for label in labels:
        if len(kept) == keep:
            break
        if joules == 0.0 or not any(other[0] <= label[0] and other[1] < label[1] for other in kept):
            kept.append(label)
    return kept


def best_partition(
    cost: FastCost, parallelism: str, groups: Groups, shares: Groups | None = None, keep: int = KEEP
) -> tuple[float, Plan] | None:
    """The best plan found with these stages in this order, with its objective by the schedule; None if none fits.

    A plan that misses the deadline is returned only if all do: with the smallest time of those found.
    """
    given = shares or [(cost.problem.micro_batch,)] * len(groups)
    best: tuple[float, Plan] | None = None
    for counts in partitions(cost, parallelism, groups, given, keep):
        plan = Plan(parallelism, tuple(groups), counts, tuple(given))
        value = score(cost, plan)
        if best is None or value < best[0]:
            best = (value, plan)
    return None if best is None else improved(cost, *best)


def score(cost: FastCost, plan: Plan) -> float:
    """Objective of a plan; a missed deadline makes it worse than anything that keeps it."""
    time, energy = cost.time_and_energy(plan)
    deadline = cost.problem.deadline_s
    late = 0.0 if deadline is None else max(time / float(deadline) - (1.0 + 1e-12), 0.0)
    return cost.per_second * time + cost.per_joule * energy + (1e150 * (1.0 + late) if late else 0.0)


def improved(cost: FastCost, value: float, plan: Plan) -> tuple[float, Plan]:
    """Single layers moved between neighbouring stages while the objective falls."""
    moved = True
    while moved:
        moved = False
        for p in range(len(plan.layers) - 1):
            for step in (1, -1):
                counts = list(plan.layers)
                counts[p] += step
                counts[p + 1] -= step
                other = Plan(plan.parallelism, plan.stages, tuple(counts), plan.shares)
                if min(counts) < 1 or not pipeline_fits(cost, plan.parallelism, plan.stages, other.first_layers,
                                                        plan.shares):
                    continue
                now = score(cost, other)
                if now < value * (1.0 - 1e-12) and math.isfinite(now):
                    value, plan, moved = now, other, True
    return value, plan
