"""After a device is lost: the pool without it, a first repair of the plan, and what must be moved to go on.

What a device holds is a set of pieces of layers, [low, high) in heads: whole layers in most plans, a range of heads in
tensor parallel ones. A piece that a new holder lacks comes from a device that has it, or from a backup.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.formulations.pool_training.network import Message, Network
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.sharing import best_shares
from edgealloc.formulations.pool_training.validate import FIELDS

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = [
    "Holding", "Moves", "best_repair", "holdings", "moves_between", "pools_without", "renumbered", "repaired",
    "size_bytes", "sole_holdings",
]


@dataclass(frozen=True)
class Holding:
    """Part [low, high) of a layer, counted in heads, on a device."""

    device: int
    layer: int
    low: int
    high: int


@dataclass(frozen=True)
class Moves:
    """What is sent for a new plan.

    Attributes
    ----------
    messages : tuple of (sender, receiver, bytes)
    seconds, joules : float
        All messages at once on the network.
    from_backup_bytes : float
        Part of the bytes that only a backup had, whether or not it was sent: a keeper may become the holder.
    unsaved_bytes : float
        What nobody has any more; not in `messages`.
    """

    messages: tuple[Message, ...]
    seconds: float
    joules: float
    from_backup_bytes: float
    unsaved_bytes: float

    @property
    def moved_bytes(self) -> float:
        """Bytes sent."""
        return sum(size for _, _, size in self.messages)


# ---- who holds what -----------------------------------------------------------------------------------------------


def holdings(problem: PoolTraining, plan: Plan) -> list[Holding]:
    """Weights and optimiser states that a plan puts on every device."""
    heads, found = problem.heads, []
    for p, (group, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)):
        low = 0
        for device, share in zip(group, shares, strict=True):
            part = (low, low + share) if plan.parallelism == "tensor" else (0, heads)
            low += share
            found += [Holding(device, y, *part) for y in range(plan.first_layers[p], plan.first_layers[p + 1])]
    return found


def sole_holdings(problem: PoolTraining, plan: Plan) -> list[Holding]:
    """What is on one device only: all of a single, pipeline or tensor parallel plan, and stages of one device."""
    if plan.parallelism == "tensor":
        return holdings(problem, plan)
    alone = {stage[0] for stage in plan.stages if len(stage) == 1}
    return [one for one in holdings(problem, plan) if one.device in alone]


def size_bytes(problem: PoolTraining, pieces: Iterable[Holding]) -> float:
    """Bytes that a new holder of pieces must receive."""
    return sum(float(problem.checkpoint_bytes[one.layer]) * (one.high - one.low) / problem.heads for one in pieces)


def moves_between(
    problem: PoolTraining,
    network: Network,
    before: Sequence[Holding],
    after: Sequence[Holding],
    backup: Sequence[Holding] = (),
) -> Moves:
    """The transfers by which everybody gets what it needs and lacks.

    Parameters
    ----------
    problem : PoolTraining
    network : Network
        With the numbers of the devices as in the holdings.
    before : sequence of Holding
        Of the devices that are there.
    after : sequence of Holding
    backup : sequence of Holding
        Older copies, used where nobody has the piece.

    Returns
    -------
    Moves
        Every piece comes from the source that keeps the most loaded medium least loaded, largest pieces first: a way
        that works, not always the fastest one.
    """
    current, kept = _by_layer(before), _by_layer(backup)
    size_of_head = problem.checkpoint_bytes / problem.heads
    wanted: list[tuple[float, int, tuple[int, ...]]] = []
    total: dict[tuple[int, int], float] = {}
    restored = unsaved = 0.0
    for need in after:
        holders, copies = current.get(need.layer, []), kept.get(need.layer, [])
        cuts = {need.low, need.high}
        cuts |= {edge for one in (*holders, *copies) for edge in (one.low, one.high) if need.low < edge < need.high}
        edges = sorted(cuts)
        for low, high in itertools.pairwise(edges):
            sources = _having(holders, low, high)
            if need.device in sources:
                continue
            size = float(size_of_head[need.layer]) * (high - low)
            if not sources:
                sources = _having(copies, low, high)
                if not sources:
                    unsaved += size
                    continue
                restored += size
            if need.device not in sources:
                wanted.append((size, need.device, tuple(sorted(set(sources)))))
    use = np.zeros(network.media)
    for size, receiver, holders_of_it in sorted(wanted, key=lambda one: (-one[0], one[1], one[2])):
        peaks = {i: _peak(network, use, i, receiver, size) for i in holders_of_it}
        best = min(holders_of_it, key=lambda i: (peaks[i], float(network.seconds_per_byte[i, receiver]), i))
        for medium, seconds in network.airtime(best, receiver).items():
            use[medium] += size * seconds
        total[(best, receiver)] = total.get((best, receiver), 0.0) + size
    messages = tuple((i, j, size) for (i, j), size in sorted(total.items()))
    joules = sum(size * float(network.joules_per_byte[i, j]) for i, j, size in messages)
    return Moves(messages, sum(network.phase(messages)), joules, restored, unsaved)


def _by_layer(pieces: Iterable[Holding]) -> dict[int, list[Holding]]:
    layers: dict[int, list[Holding]] = {}
    for one in pieces:
        layers.setdefault(one.layer, []).append(one)
    return layers


def _having(pieces: Iterable[Holding], low: int, high: int) -> list[int]:
    return [one.device for one in pieces if one.low <= low and high <= one.high]


def _peak(network: Network, use: np.ndarray[tuple[int, ...], np.dtype[np.float64]], i: int, j: int,
          size: float) -> float:
    """Load of the most loaded medium of the route if one more piece takes it."""
    return max(float(use[medium]) + size * seconds for medium, seconds in network.airtime(i, j).items())


# ---- the pool without a device --------------------------------------------------------------------------------------


def pools_without(problem: PoolTraining, lost: int) -> list[tuple[PoolTraining, tuple[int, ...]]]:
    """What is left of a pool: problems of the devices that still reach each other, with their numbers before.

    The device is gone with its links; relays stay. A device on which others depended for their way splits the pool.
    """
    there = [i for i in range(problem.devices) if i != lost]
    if not there:
        return []
    network = Network(problem.topology.without([lost]), len(there))
    parts: list[list[int]] = []
    for k in range(len(there)):
        for part in parts:
            if network.connected(part[0], k) and network.connected(k, part[0]):
                part.append(k)
                break
        else:
            parts.append([k])
    pools = []
    for part in parts:
        kept = tuple(there[k] for k in part)
        gone = set(range(problem.devices)) - set(kept)
        changes = {field.name: getattr(problem, field.name)[list(kept)] for field in FIELDS if field.shape == "device"}
        pool = dataclasses.replace(problem, topology=problem.topology.without(gone),
                                   device_names=tuple(problem.device_names[i] for i in kept), **changes)
        pools.append((pool, kept))
    return pools


def renumbered(plan: Plan, number: Mapping[int, int]) -> Plan | None:
    """The plan with other numbers of the devices; None if one of them has none."""
    if not set(plan.devices) <= set(number):
        return None
    return dataclasses.replace(plan, stages=tuple(tuple(number[i] for i in stage) for stage in plan.stages))


def repaired(problem: PoolTraining, plan: Plan, lost: int) -> list[Plan]:
    """The plan without a device, in the numbers of the whole pool: its work goes to its group, or its neighbours.

    The members of a group share by their speed; a stage that is gone leaves its layers to the stages beside it, in
    every way to part them. Memory is not looked at.
    """
    p = next((p for p, stage in enumerate(plan.stages) if lost in stage), None)
    if p is None:
        return [plan]
    rest = tuple(i for i in plan.stages[p] if i != lost)
    if rest:
        units = sum(plan.shares[p])
        shares = best_shares(units, [1.0 / float(problem.flops_per_s[i]) for i in rest], [units] * len(rest))
        if shares is None:
            return []
        return [Plan(plan.parallelism, (*plan.stages[:p], rest, *plan.stages[p + 1:]), plan.layers,
                     (*plan.shares[:p], shares, *plan.shares[p + 1:]))]
    stages, others = plan.stages[:p] + plan.stages[p + 1:], plan.shares[:p] + plan.shares[p + 1:]
    layers = list(plan.layers[:p] + plan.layers[p + 1:])
    if not stages:
        return []
    options = []
    for first in range(plan.layers[p] + 1):
        counts = layers.copy()
        if (first and p == 0) or (first < plan.layers[p] and p == len(stages)):
            continue
        if first:
            counts[p - 1] += first
        if first < plan.layers[p]:
            counts[p] += plan.layers[p] - first
        options.append(Plan(plan.parallelism, stages, tuple(counts), others))
    return options


def best_repair(problem: PoolTraining, pool: PoolTraining, kept: Sequence[int], plan: Plan,
                device: int) -> Plan | None:
    """The best plan of the others that is the old one with the work of the lost device handed on; None if none fits."""
    number = {old: new for new, old in enumerate(kept)}
    best: tuple[float, Plan] | None = None
    for option in repaired(problem, plan, device):
        mine = renumbered(option, number)
        if mine is not None and pool.relative_violation(mine) <= FEASIBILITY_TOLERANCE:
            objective = pool.evaluate(mine).objective
            if best is None or objective < best[0]:
                best = (objective, mine)
    return None if best is None else best[1]
