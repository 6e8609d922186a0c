r"""Closing a small gap: enumerate every combination of options that the bound has not excluded.

At the prices of the bound, an assignment costs at least D + the sum of its reduced costs (priced value of the option taken
minus the user's best). So an assignment better than the incumbent has reduced costs that sum to less than incumbent - D: a
depth-first search over the few options of small reduced cost meets all of them, and if it ends, the incumbent is optimal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.moves import band_cost, clock_cost
from edgealloc.formulations.split_training.options import job_response, link_response, own_cost
from edgealloc.formulations.split_training.reduced import Reduced

__all__ = ["Closing", "close"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Users beyond this are left to branch and bound: the tree would not end.
MOST_USERS: Final = 400
#: Leaves times users: about two seconds of exact evaluations. A larger tree is not begun.
MOST_WORK: Final = 1_000_000
#: Nodes between two looks at the clock.
_STEPS: Final = 2_000


@dataclass(frozen=True, eq=False)
class Closing:
    """Outcome: best assignment seen, whether all were seen, and the bound that follows if so."""

    cost: float
    server: IntArray
    cut: IntArray
    complete: bool
    bound: float
    steps: int


@kernel
def _options(
    data: Reduced, n: int, price_b: FloatArray, price_f: FloatArray, value: FloatArray, server: IntArray, cut: IntArray
) -> int:
    """Priced value of every option of user n, fully local included; returns how many there are."""
    size, layers = 0, data.factor.size - 1
    if data.user[n].local_cost < np.inf:
        value[0], server[0], cut[0] = data.user[n].local_cost, -1, layers
        size = 1
    for m in range(data.server.size):
        if data.gain[n, m] <= 0.0:
            continue
        radio, _, _ = link_response(data, n, m, price_b[m])
        for alpha in range(data.user[n].low, data.user[n].high + 1):
            work, _ = job_response(data, n, m, alpha, price_f[m])
            value[size], server[size], cut[size] = radio + work + own_cost(data, n, m, alpha), m, alpha
            size += 1
    return size


@kernel
def _room(best: float, bound: float) -> float:
    """Largest sum of reduced costs of an assignment that may be better than `best`, on the safe side of rounding."""
    return (best - bound) * (1.0 + 1e-9) + 1e-12 * abs(best)


@kernel
def _descend(
    data: Reduced, order: IntArray, first: IntArray, extra: FloatArray, server: IntArray, cut: IntArray, bound: float,
    best: float, best_server: IntArray, best_cut: IntArray, pick: IntArray, spent: FloatArray, depth: int, steps: int,
) -> tuple[float, int]:
    """Depth-first over `order`, at most `steps` nodes from where `pick`, `spent` and `depth` stand: (best cost, depth).

    A depth of -1 says that the search has ended.
    """
    users, servers = order.size, data.server.size
    members = np.empty(users, dtype=np.int64)
    at_server, at_cut = np.empty(users, dtype=np.int64), np.empty(users, dtype=np.int64)
    guess = np.zeros(servers)
    budget = _room(best, bound)
    for place in range(depth):
        option = first[order[place]] + pick[place]
        at_server[order[place]], at_cut[order[place]] = server[option], cut[option]
    for _ in range(steps):
        if depth < 0:
            break
        n = order[depth]
        option = first[n] + pick[depth]
        if option >= first[n + 1] or spent[depth] + extra[option] > budget:
            depth -= 1  # options are sorted: all further ones cost more
            if depth >= 0:
                pick[depth] += 1
            continue
        spent[depth + 1] = spent[depth] + extra[option]
        at_server[n], at_cut[n] = server[option], cut[option]
        if depth + 1 < users:
            depth += 1
            pick[depth] = 0
            continue
        cost = 0.0
        for j in range(users):
            cost += own_cost(data, j, at_server[j], at_cut[j])
        for m in range(servers):
            size = 0
            for j in range(users):
                if at_server[j] == m:
                    members[size] = j
                    size += 1
            if size > 0 and cost < best:
                clock, _ = clock_cost(data, members, size, m, at_cut)
                radio, guess[m] = band_cost(data, members, size, m, guess[m])
                cost += radio + clock
        if cost < best:
            best, budget = cost, _room(cost, bound)
            best_server[:] = at_server
            best_cut[:] = at_cut
        pick[depth] += 1
    return best, depth


@kernel
def _count_leaves(
    order: IntArray, first: IntArray, extra: FloatArray, budget: float, pick: IntArray, spent: FloatArray, most: int
) -> int:
    """Leaves of the tree, or more than `most` (of leaves, or a hundred times as many nodes)."""
    leaves, depth, users = 0, 0, order.size
    for _ in range(100 * most):
        if depth < 0:
            return leaves
        n = order[depth]
        option = first[n] + pick[depth]
        if option >= first[n + 1] or spent[depth] + extra[option] > budget:
            depth -= 1
            if depth >= 0:
                pick[depth] += 1
            continue
        if depth + 1 == users:
            leaves += 1
            if leaves > most:
                return leaves
            pick[depth] += 1
            continue
        spent[depth + 1] = spent[depth] + extra[option]
        depth += 1
        pick[depth] = 0
    return most + 1


def close(
    data: Reduced, price_b: FloatArray, price_f: FloatArray, bound: float, cost: float, server: IntArray,
    cut: IntArray, *, out_of_time: Callable[[], bool], most_work: int = MOST_WORK,
) -> Closing:
    """Enumerate the assignments whose reduced costs fit between `bound` and `cost`.

    Parameters
    ----------
    price_b, price_f : (M,)
        Prices per Hz that prove `bound`.
    bound, cost : float
        Proven lower bound and cost of the incumbent (`server`, `cut`).

    Returns
    -------
    Closing
        With `complete` only if the search ended, in which case `bound` is the incumbent's cost less a rounding guard.
    """
    users, servers = data.gain.shape
    unfinished = Closing(cost, server, cut, False, bound, 0)
    if users > MOST_USERS:
        return unfinished
    budget = _room(cost, bound)
    width = servers * data.factor.size + 1
    value, option_server, option_cut = np.empty(width), np.empty(width, np.int64), np.empty(width, np.int64)
    kept: list[tuple[FloatArray, IntArray, IntArray]] = []
    for n in range(users):
        size = _options(data, n, price_b, price_f, value, option_server, option_cut)
        rise = value[:size] - value[:size].min()
        keep = np.flatnonzero(rise <= budget)
        if not keep.size:  # only nan could do that, and nothing must be proven by it
            return unfinished
        keep = keep[np.argsort(rise[keep], kind="stable")]
        kept.append((rise[keep], option_server[keep], option_cut[keep]))
    sizes = np.array([entry[0].size for entry in kept])
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    extra = np.concatenate([entry[0] for entry in kept])
    all_server = np.concatenate([entry[1] for entry in kept])
    all_cut = np.concatenate([entry[2] for entry in kept])
    # users with a clear second choice last: the search backtracks over cheap alternatives early
    second = np.array([entry[0][1] if entry[0].size > 1 else np.inf for entry in kept])
    order = np.argsort(-second, kind="stable").astype(np.int64)
    best_server, best_cut, best = server.copy(), cut.copy(), cost
    pick, spent, depth = np.zeros(users, dtype=np.int64), np.zeros(users + 1), 0
    most = most_work // users
    if _count_leaves(order, first, extra, budget, pick, spent, most) > most:
        return unfinished
    pick[:], steps = 0, 0
    while depth >= 0 and not out_of_time():
        best, depth = _descend(data, order, first, extra, all_server, all_cut, bound, best, best_server, best_cut, pick,
                               spent, depth, _STEPS)
        steps += _STEPS
    # costs are exact to about 1e-14; the guard keeps the bound on the safe side of that
    proven = best - 1e-12 * abs(best) if depth < 0 else bound
    return Closing(best, best_server, best_cut, depth < 0, proven, steps)
