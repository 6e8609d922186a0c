"""One training iteration, event by event: what every device and medium does when, and what lies in memory.

This is the truth that `PoolTraining.evaluate` reports; the closed formulas and bounds are checked against it. Stages
work in a fixed order (1F1B with a limit of micro-batches in flight), and media serve transfers in the order of the best
of a few timetables, which are drawn up without looking at links (`timetables`): in each all starts are maxima of sums
of durations, and a faster link never makes an iteration longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.network import Message
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.timetables import (
    BACKWARD,
    FORWARD,
    SEND_BACKWARD,
    Operation,
    ticks,
    timetables,
)

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["Event", "Schedule", "in_flight", "messages_between", "schedule"]

FloatArray = npt.NDArray[np.float64]

@dataclass(frozen=True)
class Event:
    """Something that takes time.

    Attributes
    ----------
    kind : str
        "forward", "backward" (a device computes); "activations", "gradients" (a stage hands over), "gather" (keys and
        values of sequence parallelism), "reduce" (activations of tensor parallelism), "all-reduce" (gradients of
        replicas).
    stage : int
        Which stage computes or sends.
    devices : tuple of int
        Who: the one that computes, or all that send.
    micro_batch : int
        -1 where it concerns all.
    layer : int
        First layer that it concerns.
    start_s, end_s : float
        A transfer ends when its last byte has arrived.
    size_bytes : float
        0 for computing.
    """

    kind: str
    stage: int
    devices: tuple[int, ...]
    micro_batch: int
    layer: int
    start_s: float
    end_s: float
    size_bytes: float = 0.0


@dataclass
class Schedule:
    """What happens in an iteration.

    Attributes
    ----------
    events : list of Event
    time_s : float
        End of the last event.
    busy_s : (D,)
        Computing time.
    traffic : mapping
        (i, j) -> bytes that i sent to j.
    held : list of (device, time, change)
        Activations coming into memory (bytes > 0) and leaving it (< 0).
    resident_bytes : (D,)
        What lies in memory all the time: states and overhead; 0 for those that do not take part.
    timetable : tuple
        Of a pipeline: the order of all operations.
    told : bool
        False: times and bytes only, no events.
    """

    devices: int
    events: list[Event] = field(default_factory=list)
    time_s: float = 0.0
    traffic: dict[tuple[int, int], float] = field(default_factory=dict)
    held: list[tuple[int, float, float]] = field(default_factory=list)
    timetable: tuple[Operation, ...] = ()
    told: bool = True

    def __post_init__(self) -> None:
        self.busy_s: FloatArray = np.zeros(self.devices)
        self.resident_bytes: FloatArray = np.zeros(self.devices)

    def add(self, event: Event) -> None:
        """Append an event; the iteration ends with its last one."""
        if self.told:
            self.events.append(event)
        self.time_s = max(self.time_s, event.end_s)

    def compute(self, kind: str, stage: int, layer: int, micro_batch: int, start: float,
                seconds: dict[int, float]) -> float:
        """Devices of a stage compute side by side; the stage is done when the last of them is."""
        for device, duration in seconds.items():
            if self.told:
                self.events.append(Event(kind, stage, (device,), micro_batch, layer, start, start + duration))
            self.busy_s[device] += duration
        end = start + max(seconds.values())
        self.time_s = max(self.time_s, end)
        return end

    def send(self, messages: Sequence[Message], times: float = 1.0) -> None:
        """Count bytes."""
        for i, j, size in messages:
            self.traffic[(i, j)] = self.traffic.get((i, j), 0.0) + times * size

    def memory_trace(self, device: int) -> list[tuple[float, float]]:
        """(time, bytes in memory from then on) of a device; what is freed at an instant makes room at that instant."""
        level = float(self.resident_bytes[device])
        trace = [(0.0, level)]
        for _, moment, change in sorted(one for one in self.held if one[0] == device):
            level += change
            trace.append((moment, level))
        return trace

    def peak_bytes(self) -> FloatArray:
        """Largest memory of every device (D,)."""
        return np.array([max(level for _, level in self.memory_trace(i)) for i in range(self.devices)])


def in_flight(parallelism: str, stages: int, micro_batches: int) -> tuple[int, ...]:
    """K_p: micro-batches of a stage between forward and backward, at most.

    1F1B pipelines keep ``min(Mb, S - p)``; hybrid ones ``min(Mb, 2 (S - p) - 1)``, which hides the hand-overs
    (Asteroid, arXiv 2408.08015).
    """
    if parallelism == "hybrid":
        return tuple(min(micro_batches, 2 * (stages - p) - 1) for p in range(stages))
    return tuple(min(micro_batches, stages - p) for p in range(stages))


def messages_between(
    senders: Sequence[int], sent: Sequence[int], receivers: Sequence[int], taken: Sequence[int], bytes_per_sample: float
) -> list[Message]:
    """Messages by which the samples of one group reach the next.

    The samples of a micro-batch lie in the order of the devices; what two devices both have goes from one to the other.

    Examples
    --------
    >>> messages_between((0, 1), (3, 1), (2, 5), (2, 2), 10.0)
    [(0, 2, 20.0), (0, 5, 10.0), (1, 5, 10.0)]
    """
    messages: list[Message] = []
    first = np.concatenate([[0], np.cumsum(sent)])
    second = np.concatenate([[0], np.cumsum(taken)])
    for a, i in enumerate(senders):
        for b, j in enumerate(receivers):
            common = int(min(first[a + 1], second[b + 1]) - max(first[a], second[b]))
            if common > 0:
                messages.append((int(i), int(j), common * bytes_per_sample))
    return messages


def schedule(
    problem: PoolTraining, plan: Plan, timetable: tuple[Operation, ...] | None = None, *, told: bool = True
) -> Schedule:
    """The iteration of a plan.

    Parameters
    ----------
    problem : PoolTraining
    plan : Plan
        Valid for the problem.
    timetable : tuple of Operation, optional
        Order of the operations of a pipeline; by default the fastest of `timetables`.
    told : bool
        False: times and bytes only, no events.
    """
    if plan.parallelism in ("pipeline", "hybrid"):
        return _pipeline(problem, plan, timetable, told=told)
    result = Schedule(problem.devices, told=told)
    for device in plan.devices:
        result.resident_bytes[device] = problem.overhead_bytes[device]
    if plan.parallelism in ("sequence", "tensor"):
        _inside_layers(problem, plan, result)
    else:
        _replicas(problem, plan, result)
    return result


def _all_reduce(problem: PoolTraining, result: Schedule, ring: Sequence[int], size: float, stage: int, layer: int,
                start: float) -> float:
    """Gradients of replicas summed on a ring; returns when that is done."""
    if len(ring) < 2 or size <= 0.0:
        return start
    end = start + problem.network.all_reduce(ring, size)
    share = 2.0 * (len(ring) - 1) * size / len(ring)
    result.send([(i, j, share) for i, j in zip(ring, [*ring[1:], ring[0]], strict=True)])
    result.add(Event("all-reduce", stage, tuple(ring), -1, layer, start, end, share * len(ring)))
    return end


def _replicas(problem: PoolTraining, plan: Plan, result: Schedule) -> None:
    """Single device, or data parallelism: everybody has the whole model and a part of the batch."""
    ring, shares = plan.stages[0], plan.shares[0]
    speed = problem.flops_per_s
    forward, backward = float(problem.forward_flops.sum()), float(problem.backward_flops.sum())
    kept = float(problem.activation_bytes.sum())
    states = float(problem.state_bytes.sum()) - problem.tied_state_bytes
    end = 0.0
    for device, share in zip(ring, shares, strict=True):
        result.resident_bytes[device] += states
        result.held.append((device, 0.0, share * kept))
        middle = result.compute("forward", 0, 0, -1, 0.0, {device: share * forward / speed[device]})
        done = result.compute("backward", 0, 0, -1, middle, {device: share * backward / speed[device]})
        result.held.append((device, done, -share * kept))
        end = max(end, done)
    _all_reduce(problem, result, ring, float(problem.gradient_bytes.sum()) + problem.tied_bytes, 0, 0, end)


def _inside_layers(problem: PoolTraining, plan: Plan, result: Schedule) -> None:
    """Sequence or tensor parallelism: every layer is shared, and begins or ends with traffic between all.

    Sequence: keys and values pass round the ring before a layer, in the backward pass with their gradients. Tensor: two
    all-reduces of the activations after every layer and pass (Shoeybi et al., arXiv 1909.08053).
    """
    ring, shares, g = plan.stages[0], plan.shares[0], len(plan.devices)
    batch, tensor = problem.batch, plan.parallelism == "tensor"
    parts = np.array(shares) / (problem.heads if tensor else problem.tokens)
    speed = problem.flops_per_s[list(ring)]
    states = float(problem.state_bytes.sum()) - problem.tied_state_bytes
    result.resident_bytes[list(ring)] += parts * states if tensor else states
    # one layer's traffic, per byte of keys and values (sequence) or as it is (tensor)
    occupancy, latency = (0.0, 0.0) if tensor else problem.network.all_gather(ring, parts.tolist())
    reducing = 2.0 * problem.network.all_reduce(ring, batch * problem.boundary_bytes) if tensor else 0.0
    now = moved = 0.0
    for backward in (False, True):
        flops = problem.backward_flops if backward else problem.forward_flops
        for y in reversed(range(problem.layers)) if backward else range(problem.layers):
            keys = batch * float(problem.key_value_bytes[y])
            if not tensor and g > 1 and keys > 0.0:
                began, times = now, 2.0 if backward else 1.0
                now += times * (occupancy * keys + latency)
                moved += times * keys
                result.add(Event("gather", 0, tuple(ring), -1, y, began, now, times * (g - 1) * keys))
            began = now
            seconds = parts * batch * flops[y] / speed
            now = result.compute("backward" if backward else "forward", 0, y, -1, now,
                                 dict(zip(ring, seconds.tolist(), strict=True)))
            whole = problem.replicated_activation_bytes[y] if tensor else 0.0
            kept = batch * (whole + parts * (problem.activation_bytes[y] - whole))
            for device, size in zip(ring, kept.tolist(), strict=True):
                result.held.append((device, now if backward else began, -size if backward else size))
            if reducing > 0.0:
                began, now = now, now + reducing
                size = 4.0 * (g - 1) * batch * problem.boundary_bytes
                moved += size / g
                result.add(Event("reduce", 0, tuple(ring), -1, y, began, now, size))
    following = [*ring[1:], ring[0]]
    if tensor and moved > 0.0:
        result.send([(i, j, moved) for i, j in zip(ring, following, strict=True)])
    elif moved > 0.0:
        # a member passes on all parts but that of the next one
        result.send([(i, j, moved * float(1.0 - parts[(m + 1) % g]))
                     for m, (i, j) in enumerate(zip(ring, following, strict=True))])
    if not tensor:
        _all_reduce(problem, result, ring, float(problem.gradient_bytes.sum()) + problem.tied_bytes, 0, 0, now)


@dataclass(frozen=True)
class _Pipeline:
    """Durations and sizes of a pipeline, stage by stage and boundary by boundary.

    Attributes
    ----------
    passes : (S,) of (forward, backward)
        Device -> seconds.
    kept : (S,)
        Device -> bytes of activations of a micro-batch.
    messages, price, media : (2 (S - 1),)
        Hand-overs forward over every boundary, then back: messages, (occupancy, latency) and media.
    """

    passes: list[tuple[dict[int, float], dict[int, float]]]
    kept: list[dict[int, float]]
    messages: list[list[Message]]
    price: list[tuple[float, float]]
    media: tuple[tuple[int, ...], ...]


def _parts(problem: PoolTraining, plan: Plan) -> _Pipeline:
    network, stages, starts = problem.network, len(plan.stages), plan.first_layers
    passes: list[tuple[dict[int, float], dict[int, float]]] = []
    kept: list[dict[int, float]] = []
    for p, (group, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)):
        part = slice(starts[p], starts[p + 1])
        work = [float(flops[part].sum()) for flops in (problem.forward_flops, problem.backward_flops)]
        forward, backward = ({i: share * flops / float(problem.flops_per_s[i])
                              for i, share in zip(group, shares, strict=True)} for flops in work)
        passes.append((forward, backward))
        held = float(problem.activation_bytes[part].sum())
        kept.append({i: share * held for i, share in zip(group, shares, strict=True)})
    over = [messages_between(plan.stages[p], plan.shares[p], plan.stages[p + 1], plan.shares[p + 1],
                             problem.boundary_bytes) for p in range(stages - 1)]
    messages = [*over, *([(j, i, size) for i, j, size in sent] for sent in over)]
    return _Pipeline(passes, kept, messages, [network.phase(sent) for sent in messages],
                     tuple(network.media_of(sent) for sent in messages))


def _pipeline(
    problem: PoolTraining, plan: Plan, timetable: tuple[Operation, ...] | None, *, told: bool
) -> Schedule:
    """Pipeline of devices or groups in the timetable that is done first."""
    parts, limits = _parts(problem, plan), in_flight(plan.parallelism, len(plan.stages), problem.micro_batches)
    forward, backward = ([max(one[way].values()) for one in parts.passes] for way in (0, 1))
    orders = (timetable,) if timetable is not None else timetables(
        *ticks(forward, backward), limits, problem.micro_batches, parts.media
    )
    return min((_walk(problem, plan, parts, order, told=told) for order in orders), key=lambda one: one.time_s)


def _walk(
    problem: PoolTraining, plan: Plan, parts: _Pipeline, timetable: tuple[Operation, ...], *, told: bool
) -> Schedule:
    """Micro-batch by micro-batch in the order of a timetable, then gradients of groups and the tied table."""
    result = Schedule(problem.devices, timetable=timetable, told=told)
    stages, starts = len(plan.stages), plan.first_layers
    for p, group in enumerate(plan.stages):
        states = float(problem.state_bytes[starts[p]:starts[p + 1]].sum())
        states -= problem.tied_state_bytes if stages == 1 else 0.0
        result.resident_bytes[list(group)] = problem.overhead_bytes[list(group)] + states
    stage_free, media_free = [0.0] * stages, [0.0] * problem.network.media
    finished: dict[Operation, float] = {}
    arrived: dict[Operation, float] = {}
    for what, p, m in timetable:
        if what in (FORWARD, BACKWARD):
            if what == FORWARD:
                ready = arrived[(FORWARD, p, m)] if p > 0 else 0.0
            else:
                ready = arrived[(BACKWARD, p, m)] if p + 1 < stages else finished[(FORWARD, p, m)]
            start = max(stage_free[p], ready)
            kind = "forward" if what == FORWARD else "backward"
            end = result.compute(kind, p, starts[p], m, start, parts.passes[p][what])
            stage_free[p] = finished[(what, p, m)] = end
            for device, size in parts.kept[p].items():
                result.held.append((device, start, size) if what == FORWARD else (device, end, -size))
            continue
        back = what == SEND_BACKWARD
        way, at, target = (BACKWARD, stages - 2 + p, p - 1) if back else (FORWARD, p, p + 1)
        messages, used, (occupancy, latency) = parts.messages[at], parts.media[at], parts.price[at]
        start = max([finished[(way, p, m)], *(media_free[one] for one in used)])
        for one in used:
            media_free[one] = start + occupancy
        arrived[(way, target, m)] = start + occupancy + latency
        result.send(messages)
        result.add(Event("gradients" if back else "activations", p, plan.stages[p], m, starts[p], start,
                         start + occupancy + latency, sum(size for *_, size in messages)))
    _synchronise(problem, plan, result, stage_free, media_free)
    return result


def _synchronise(
    problem: PoolTraining, plan: Plan, result: Schedule, ends: list[float], media_free: list[float]
) -> None:
    """Gradients of every group, last stage first, then the table that first and last layer share."""
    stages, starts = len(plan.stages), plan.first_layers

    def on_ring(ring: Sequence[int], size: float, stage: int, layer: int, ready: float) -> float:
        used = problem.network.media_of([(i, j, 1.0) for i, j in zip(ring, [*ring[1:], ring[0]], strict=True)])
        start = max([ready, *(media_free[one] for one in used)])
        end = _all_reduce(problem, result, ring, size, stage, layer, start)
        for one in used:
            media_free[one] = end
        return end

    for p in reversed(range(stages)):
        size = float(problem.gradient_bytes[starts[p]:starts[p + 1]].sum()) + (problem.tied_bytes if stages == 1 else 0)
        if len(plan.stages[p]) > 1 and size > 0.0:
            ends[p] = on_ring(plan.stages[p], size, p, starts[p], ends[p])
    if stages > 1 and problem.tied_bytes > 0.0:
        on_ring((*plan.stages[0], *plan.stages[-1]), problem.tied_bytes, 0, 0, max(ends[0], ends[-1]))
