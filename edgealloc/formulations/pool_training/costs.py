"""Closed formulas of the parallelisms: memory, the textbook estimate of the time, and the bound of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.bounds import PipelineTimes, pipeline_bound
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import in_flight, messages_between

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining
    from edgealloc.formulations.pool_training.schedule import Schedule

__all__ = [
    "energy_parts_j", "estimate_s", "memory_bytes", "pipeline_times", "plan_bound_s", "stage_seconds", "work_units",
]

FloatArray = npt.NDArray[np.float64]


def work_units(problem: PoolTraining, parallelism: str) -> int:
    """Units that the devices of a one-stage plan share: samples, tokens or heads."""
    return {"sequence": problem.tokens, "tensor": problem.heads}.get(parallelism, problem.batch)


def energy_parts_j(problem: PoolTraining, plan: Plan, run: Schedule) -> tuple[float, float, float]:
    """Energy of an iteration by its schedule (J): participants computing, participants waiting, bytes sent."""
    members = list(plan.devices)
    busy = run.busy_s[members]
    compute = float((problem.busy_power_w[members] * busy).sum())
    # in data parallel plans a rounding may put the end before that of the busiest device
    idle = float((problem.idle_power_w[members] * np.maximum(run.time_s - busy, 0.0)).sum())
    network = 0.0
    for (i, j), size in run.traffic.items():
        network += size * float(problem.network.joules_per_byte[i, j])
    return compute, idle, network


def memory_bytes(problem: PoolTraining, plan: Plan) -> FloatArray:
    r"""Peak memory of every device (D,) by the formulas of the parallelisms; 0 for those that do not take part.

    With states :math:`\sigma`, activations per sample :math:`a`, batch B, micro-batch b and share x of the work:

    ========  ==========================================================
    single    :math:`\sigma + B a`
    data      :math:`\sigma + B_i a`
    sequence  :math:`\sigma + x_i B a`
    tensor    :math:`x_i \sigma + B (\bar a + x_i (a - \bar a))`, where :math:`\bar a` is kept in whole by everybody
    pipeline  :math:`\sigma_p + K_p b\, a_p` of the layers of the stage, :math:`K_p = \min(M, S - p)`
    hybrid    :math:`\sigma_p + K_p b_i\, a_p`, :math:`K_p = \min(M, 2 (S - p) - 1)`
    ========  ==========================================================

    and `overhead_bytes` for everybody who takes part.
    """
    result = np.zeros(problem.devices)
    whole = float(problem.state_bytes.sum()) - problem.tied_state_bytes
    kept = float(problem.activation_bytes.sum())
    starts = plan.first_layers
    limits = in_flight(plan.parallelism, len(plan.stages), problem.micro_batches)
    for p, (group, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)):
        for device, share in zip(group, shares, strict=True):
            if plan.parallelism in ("pipeline", "hybrid"):
                part = slice(starts[p], starts[p + 1])
                states = float(problem.state_bytes[part].sum())
                states -= problem.tied_state_bytes if len(plan.stages) == 1 else 0.0
                amount = states + limits[p] * share * float(problem.activation_bytes[part].sum())
            elif plan.parallelism == "sequence":
                amount = whole + problem.batch * share / problem.tokens * kept
            elif plan.parallelism == "tensor":
                part_of = share / problem.heads
                replicated = float(problem.replicated_activation_bytes.sum())
                amount = part_of * whole + problem.batch * (replicated + part_of * (kept - replicated))
            else:
                amount = whole + share * kept
            result[device] = problem.overhead_bytes[device] + amount
    return result


def stage_seconds(problem: PoolTraining, plan: Plan) -> tuple[list[float], list[float]]:
    """Forward and backward pass of every stage for one micro-batch: that of its slowest device (s)."""
    starts = plan.first_layers
    forward, backward = [], []
    for p, (group, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)):
        part = slice(starts[p], starts[p + 1])
        slowest = max(share / float(problem.flops_per_s[i]) for i, share in zip(group, shares, strict=True))
        forward.append(slowest * float(problem.forward_flops[part].sum()))
        backward.append(slowest * float(problem.backward_flops[part].sum()))
    return forward, backward


def pipeline_times(problem: PoolTraining, plan: Plan) -> PipelineTimes:
    """Durations of a pipeline or hybrid plan, for `pipeline_bound`."""
    network, stages, starts = problem.network, len(plan.stages), plan.first_layers
    forward, backward = stage_seconds(problem, plan)
    over: list[tuple[float, float]] = []
    back: list[tuple[float, float]] = []
    handed, reduced, first = [0.0] * network.media, [0.0] * network.media, [-1] * network.media
    for p in range(stages - 1):
        messages = messages_between(plan.stages[p], plan.shares[p], plan.stages[p + 1], plan.shares[p + 1],
                                    problem.boundary_bytes)
        for way, sent in ((over, messages), (back, [(j, i, size) for i, j, size in messages])):
            way.append(network.phase(sent))
            for medium in network.media_of(sent):
                handed[medium] += problem.micro_batches * way[-1][0]
                if way is back and first[medium] < 0:
                    first[medium] = p
    reduce = []
    for p, group in enumerate(plan.stages):
        size = float(problem.gradient_bytes[starts[p]:starts[p + 1]].sum())
        seconds = network.all_reduce(group, size + (problem.tied_bytes if stages == 1 else 0.0))
        reduce.append(seconds)
        if seconds > 0.0:
            ring = [(i, j, 1.0) for i, j in zip(group, [*group[1:], group[0]], strict=True)]
            for medium in network.media_of(ring):
                reduced[medium] += seconds
    tied = network.all_reduce((*plan.stages[0], *plan.stages[-1]), problem.tied_bytes) if stages > 1 else 0.0
    return PipelineTimes(forward, backward, over, back, reduce,
                         in_flight(plan.parallelism, stages, problem.micro_batches), problem.micro_batches,
                         list(zip(handed, reduced, first, strict=True)), tied)


def plan_bound_s(problem: PoolTraining, plan: Plan) -> float | None:
    """Lower bound on the time of a pipeline or hybrid plan (s); None for the others, whose formulas are exact."""
    if plan.parallelism not in ("pipeline", "hybrid"):
        return None
    return pipeline_bound(pipeline_times(problem, plan))


def estimate_s(problem: PoolTraining, plan: Plan) -> float:
    r"""The textbook formula for the time of an iteration (s).

    single :math:`B W/C`; data :math:`\max_i B_i W/C_i + 2 (g-1)(N/(gR) + \ell)`; sequence and tensor: slowest device
    of every layer, ring collectives of equal parts; pipeline :math:`(M + S - 1) \max_p t_p`, hybrid the same and its
    longest all-reduce. For pipelines it is no bound and can be wrong by a factor of six (docs/pool_training.md): stages
    differ, and hand-overs take time.
    """
    ring, shares = plan.stages[0], plan.shares[0]
    network, g = problem.network, len(ring)
    per_sample = problem.forward_flops + problem.backward_flops
    gradients = float(problem.gradient_bytes.sum()) + problem.tied_bytes
    if plan.parallelism in ("pipeline", "hybrid"):
        times = pipeline_times(problem, plan)
        slowest = max(f + b for f, b in zip(times.forward, times.backward, strict=True))
        return (problem.micro_batches + len(plan.stages) - 1) * slowest + max(times.reduce)
    if plan.parallelism in ("single", "data"):
        compute = max(share * float(per_sample.sum()) / float(problem.flops_per_s[i])
                      for i, share in zip(ring, shares, strict=True))
        return compute + network.all_reduce(ring, gradients)
    units = work_units(problem, plan.parallelism)
    slowest = max(share / units / float(problem.flops_per_s[i]) for i, share in zip(ring, shares, strict=True))
    compute = problem.batch * slowest * float(per_sample.sum())
    if plan.parallelism == "tensor":
        return compute + 4 * problem.layers * network.all_reduce(ring, problem.batch * problem.boundary_bytes)
    occupancy, latency = network.all_gather(ring, [1.0 / g] * g)
    keys = problem.batch * problem.key_value_bytes
    gathers = occupancy * float(keys.sum()) + latency * int((keys > 0.0).sum())
    return compute + 3.0 * gathers + network.all_reduce(ring, gradients)
