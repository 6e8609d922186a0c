"""Neighbours of a pipeline of groups: what a search by chance changes in one step (compiled).

Pipelines are tables of `tables`. A move leaves open what it does not decide: the shares of changed groups (column
OPEN), and the layers if it says so.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.pool_training.search.tables import FIRST, LAYERS, OPEN, SIZE

__all__ = ["ALONE", "GROUPED", "Numbers", "chance", "draw", "new_numbers"]

IntArray = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint64]

#: How often moves are drawn, with groups and without: layers shifted, devices swapped, replaced by one not used, moved
#: to another group, one not used joined, one dropped, stage founded, split, merged, reordered, shares shifted.
GROUPED: Final = np.cumsum([20, 20, 8, 16, 6, 4, 8, 5, 5, 10, 6])
ALONE: Final = np.cumsum([30, 25, 12, 0, 0, 6, 12, 0, 0, 15, 0])


def new_numbers(seed: int) -> Numbers:
    """State of the random numbers of a seed."""
    return np.random.default_rng(seed).integers(1, 2**63, size=1, dtype=np.uint64)


@kernel
def chance(numbers: Numbers) -> float:
    """Uniform in [0, 1): xorshift64* (Vigna, ACM TOMS 42, 2016)."""
    x = numbers[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    numbers[0] = x
    return float((x * np.uint64(2685821657736338717)) >> np.uint64(11)) / 9007199254740992.0


@kernel
def below(numbers: Numbers, count: int) -> int:
    """Whole number of 0 to count - 1."""
    return min(int(chance(numbers) * count), count - 1)


@kernel
def _other(numbers: Numbers, count: int, p: int) -> int:
    """Whole number of 0 to count - 1 that is not p."""
    q = below(numbers, count - 1)
    return q if q < p else q + 1


@kernel
def _take(rows: IntArray, p: int, at: int) -> int:
    """Take the member at a place out of its group, which stays in order."""
    i = rows[p, FIRST + at]
    rows[p, SIZE] -= 1
    for m in range(at, rows[p, SIZE]):
        rows[p, FIRST + m] = rows[p, FIRST + m + 1]
    rows[p, OPEN] = 1
    return int(i)


@kernel
def _put(rows: IntArray, p: int, i: int) -> None:
    """Add a member to a group."""
    rows[p, FIRST + rows[p, SIZE]] = i
    rows[p, SIZE] += 1
    rows[p, OPEN] = 1


@kernel
def _insert(rows: IntArray, stages: int, p: int) -> None:
    """An empty stage in place p."""
    for k in range(stages, p, -1):
        for column in range(rows.shape[1]):
            rows[k, column] = rows[k - 1, column]
    rows[p, SIZE], rows[p, OPEN] = 0, 1


@kernel
def _remove(rows: IntArray, stages: int, p: int) -> None:
    """Without stage p."""
    for k in range(p, stages - 1):
        for column in range(rows.shape[1]):
            rows[k, column] = rows[k + 1, column]


@kernel
def _unused(able: IntArray, rows: IntArray, stages: int, numbers: Numbers) -> int:
    """A device that is not used, -1 if there is none."""
    used = 0
    for p in range(stages):
        used += rows[p, SIZE]
    left = able.size - used
    if left <= 0:
        return -1
    want = below(numbers, left)
    for i in able:
        taken = False
        for p in range(stages):
            for m in range(rows[p, SIZE]):
                taken = taken or rows[p, FIRST + m] == i
        if not taken:
            if want == 0:
                return int(i)
            want -= 1
    return -1


@kernel
def _reordered(rows: IntArray, stages: int, numbers: Numbers) -> None:
    """Two stages swapped, one moved, or some turned round."""
    p = below(numbers, stages)
    q = _other(numbers, stages, p)
    kind = below(numbers, 3)
    step = 1
    if kind == 1:  # by swaps with one neighbour after another
        step = 1 if q > p else -1
    elif p > q:
        p, q = q, p
    while p != q:
        other = p + step if kind == 1 else q
        for column in range(rows.shape[1]):
            rows[p, column], rows[other, column] = rows[other, column], rows[p, column]
        if kind == 0:
            return
        p += step
        if kind == 2:
            q -= 1
            if p >= q:
                return


@kernel
def _shares_shifted(rows: IntArray, stages: int, most: int, numbers: Numbers) -> bool:
    """A sample from one member of a group to another, or two members change places in the ring."""
    p = below(numbers, stages)
    if rows[p, SIZE] < 2:
        return False
    a = below(numbers, rows[p, SIZE])
    b = _other(numbers, rows[p, SIZE], a)
    here = FIRST + most
    if chance(numbers) < 0.5:
        if rows[p, here + a] < 2:
            return False
        rows[p, here + a] -= 1
        rows[p, here + b] += 1
        return True
    for first in (FIRST, here):
        rows[p, first + a], rows[p, first + b] = rows[p, first + b], rows[p, first + a]
    return True


@kernel
def _layers_shifted(rows: IntArray, stages: int, numbers: Numbers) -> bool:
    """One or two layers from any stage to any other, mostly the next."""
    if stages < 2:
        return False
    p = below(numbers, stages)
    q = _other(numbers, stages, p)
    if chance(numbers) < 0.5:
        q = p + 1 if p + 1 < stages else p - 1
    some = 1 if chance(numbers) < 0.8 else 2
    if rows[p, LAYERS] <= some:
        return False
    rows[p, LAYERS] -= some
    rows[q, LAYERS] += some
    return True


@kernel
def draw(
    able: IntArray, most: int, layers: int, weights: IntArray, rows: IntArray, stages: int, numbers: Numbers
) -> tuple[int, bool]:
    """Change a complete pipeline by a random move: stages it has then, and whether its layers are open.

    0 stages if the move that was drawn is not possible; the table may be changed then, too.

    Parameters
    ----------
    able : (n,)
        Devices that may take part.
    most : int
        Most devices in a group.
    layers : int
    weights : (11,)
        Running sums of how often moves are drawn.
    rows : (S, 3 + 5 G)
        Changed in place.
    stages : int
    numbers : (1,)
    """
    drawn, move = below(numbers, weights[-1]), 0
    while weights[move] <= drawn:
        move += 1
    if move == 0:
        return (stages if _layers_shifted(rows, stages, numbers) else 0), False
    if move == 9:
        if stages < 2:
            return 0, False
        _reordered(rows, stages, numbers)
        return stages, chance(numbers) < 0.5
    if move == 10:
        return (stages if _shares_shifted(rows, stages, most, numbers) else 0), False
    p = below(numbers, stages)
    size = rows[p, SIZE]
    at = below(numbers, size)
    if move in (2, 4):
        i = _unused(able, rows, stages, numbers)
        if i < 0 or (move == 4 and size >= most):
            return 0, False
        if move == 2:
            _take(rows, p, at)
        _put(rows, p, i)
        return stages, chance(numbers) < 0.5
    if move == 5:
        if stages == 1 and size == 1:
            return 0, False
        _take(rows, p, at)
    elif move == 6:
        if stages >= layers or stages >= rows.shape[0]:
            return 0, False
        i = -1
        if most == 1 or chance(numbers) < 0.5:
            i = _unused(able, rows, stages, numbers)
        if i < 0:
            if size == 1:
                return 0, False
            i = _take(rows, p, at)
        q = below(numbers, stages + 1)
        _insert(rows, stages, q)
        _put(rows, q, i)
        return stages + 1, True
    elif move == 7:
        if size < 2 or stages >= layers or stages >= rows.shape[0]:
            return 0, False
        _insert(rows, stages, p + 1)
        for _ in range(1 + below(numbers, size - 1)):
            _put(rows, p + 1, _take(rows, p, below(numbers, rows[p, SIZE])))
        return stages + 1, True
    else:
        if stages < 2:
            return 0, False
        q = _other(numbers, stages, p)
        if move == 1:
            other = below(numbers, rows[q, SIZE])
            i, j = _take(rows, p, at), _take(rows, q, other)
            _put(rows, p, j)
            _put(rows, q, i)
        elif move == 3:
            if rows[q, SIZE] >= most:
                return 0, False
            _put(rows, q, _take(rows, p, at))
        else:
            if size + rows[q, SIZE] > most:
                return 0, False
            while rows[p, SIZE] > 0:
                _put(rows, q, _take(rows, p, 0))
    if rows[p, SIZE] == 0:
        _remove(rows, stages, p)
        return stages - 1, True
    return stages, chance(numbers) < 0.5
