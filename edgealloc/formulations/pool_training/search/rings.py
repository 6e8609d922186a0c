"""Orders of devices on a ring."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["ring_order", "rings"]


def rings(members: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All orders on a ring that are not turns of each other: the first member stays first."""
    first, *rest = members
    for order in itertools.permutations(rest):
        yield (first, *order)


def ring_order(problem: PoolTraining, members: Sequence[int]) -> tuple[int, ...]:
    """A ring of devices on which an all-reduce is fast: the nearest next, then pieces turned round while it helps.

    Devices are given in any order; among rings of the same speed the one found first.
    """
    network = problem.network
    if len(members) < 3:
        return tuple(sorted(int(i) for i in members))
    left = sorted(int(i) for i in members)
    ring = [left.pop(0)]
    near, late = network.seconds_per_byte, network.latency_s
    while left:
        nearest = min(left, key=lambda j: (near[ring[-1], j], late[ring[-1], j], j))
        left.remove(nearest)
        ring.append(nearest)
    size = max(float(problem.gradient_bytes.sum()), 1.0)
    best = network.all_reduce(ring, size)
    tries, moved = 0, True
    while moved and tries < 2000:
        moved = False
        for a, b in itertools.combinations(range(1, len(ring) + 1), 2):
            tries += 1
            other = ring[:a] + ring[a:b][::-1] + ring[b:]
            value = network.all_reduce(other, size)
            if value < best * (1.0 - 1e-9):
                ring, best, moved = other, value, True
    return tuple(ring)
