r"""Method "exact": every association and every cut, for problems small enough to look at all of them.

The radio cost of a server depends only on *which* users it serves, not on their cuts, so it is solved once for each of
the 2^N subsets; the clock cost of a time-shared server is a closed form. What remains is counting through all
combinations.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.formulations.split_training.options import own_cost
from edgealloc.formulations.split_training.reduced import Reduced, reduce
from edgealloc.formulations.split_training.resources import optimal_allocation, settle
from edgealloc.formulations.split_training.site import band_cost, clock_cost, is_timed, overload, site_cost

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["MOST_COMBINATIONS", "MOST_USERS", "run"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MOST_USERS: Final = 16
MOST_COMBINATIONS: Final = 200_000_000
_BLOCK: Final = 200_000


@kernel
def _radio_of_subsets(data: Reduced, users: int) -> FloatArray:
    """(M, 2^N) optimal radio cost of every server and set of users; inf if one of them has no link."""
    servers = data.server.size
    table = np.zeros((servers, 1 << users))
    members = np.zeros(users, dtype=np.int64)
    for m in range(servers):
        for subset in range(1, 1 << users):
            size, linked = 0, True
            for n in range(users):
                if subset >> n & 1:
                    members[size] = n
                    size += 1
                    linked = linked and data.gain[n, m] > 0.0
            table[m, subset] = band_cost(data, members, size, m, 0.0)[0] if linked else np.inf
    return table


@kernel
def _count_through(
    data: Reduced, radio: FloatArray, server: IntArray, cut: IntArray, first: IntArray, digit: IntArray, most: int,
    best: float, best_digit: IntArray,
) -> tuple[float, bool]:
    """Try up to `most` combinations from `digit` (an odometer over each user's options); (best cost, ended)."""
    users, servers = digit.size, data.server.size
    members = np.zeros(users, dtype=np.int64)
    at_cut = np.zeros(users, dtype=np.int64)
    price, theta = np.zeros((servers, 4)), np.zeros(users)
    for _ in range(most):
        cost = 0.0
        for n in range(users):
            option = first[n] + digit[n]
            at_cut[n] = cut[option]
            if server[option] < 0:
                cost += own_cost(data, n, -1, cut[option])
        for m in range(servers):
            size, subset = 0, 0
            for n in range(users):
                if server[first[n] + digit[n]] == m:
                    members[size] = n
                    size += 1
                    subset |= 1 << n
            if size == 0 or cost >= best:
                continue
            over = overload(data, members, size, m, at_cut)[0]
            if over > 0.0:
                cost = np.inf
            elif is_timed(data, members, size):
                cost += site_cost(data, members, size, m, at_cut, price[m], theta)
            else:
                cost += radio[m, subset] + clock_cost(data, members, size, m, at_cut)[0]
                for i in range(size):
                    cost += own_cost(data, members[i], m, at_cut[members[i]])
        if cost < best:
            best = cost
            best_digit[:] = digit
        place = 0
        while place < users:
            digit[place] += 1
            if first[place] + digit[place] < first[place + 1]:
                break
            digit[place] = 0
            place += 1
        if place == users:
            return best, True
    return best, False


def run(problem: SplitTraining, run: Run) -> Outcome:
    """Enumerate. A problem with too many combinations is refused with their number; time-out returns the best so far.

    Raises
    ------
    DataError
        More than `MOST_USERS` users or `MOST_COMBINATIONS` combinations, or synchronous rounds.
    """
    if problem.delay != "sum":
        raise DataError("method 'exact' knows no synchronous rounds (delay='max'); use 'certified'")
    cuts = problem.cuts
    count = cuts.local + (problem.gain > 0.0).sum(axis=1) * np.maximum(cuts.high - cuts.low + 1, 0)
    digits = float(np.log10(count.astype(np.float64)).sum())
    if problem.users > MOST_USERS or digits > math.log10(MOST_COMBINATIONS):
        raise DataError(
            f"method 'exact' would try 10^{digits:.1f} combinations of {problem.users} users; it takes up to "
            f"{MOST_COMBINATIONS:.0e} of {MOST_USERS}. Use 'certified', which proves its gap"
        )
    combinations = math.prod(int(one) for one in count)
    data = reduce(problem)
    options = [
        ([(-1, problem.layers)] if cuts.local[n] else [])
        + [(m, alpha) for m in range(problem.servers) if problem.gain[n, m] > 0.0
           for alpha in range(cuts.low[n], cuts.high[n] + 1)]
        for n in range(problem.users)
    ]
    server, cut = (np.array(column, dtype=np.int64) for column in zip(*itertools.chain(*options), strict=True))
    first = np.concatenate([[0], np.cumsum([len(one) for one in options])]).astype(np.int64)
    digit, best_digit = np.zeros(problem.users, dtype=np.int64), np.zeros(problem.users, dtype=np.int64)
    best, ended, tried = math.inf, False, 0
    termination = Termination.STAGES_EXHAUSTED
    # once per machine the kernels are compiled: that is not the problem's time
    _count_through(data, _radio_of_subsets(data, 0), server, cut, first, digit, 0, best, best_digit)
    run.restart_clock()
    try:
        radio = _radio_of_subsets(data, problem.users)
        while not ended:
            best, ended = _count_through(data, radio, server, cut, first, digit, _BLOCK, best, best_digit)
            tried = min(tried + _BLOCK, combinations)
            run.report("enumeration", tried, best, best * (1.0 - 1e-12) if ended else None)
            if not ended and run.seconds_left <= 0.0:
                termination = Termination.TIME_LIMIT
                break
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    if not math.isfinite(best):
        why = "no combination keeps every limit" if ended else "stopped before the first combination"
        return Outcome(termination=termination, attempts=(why,))
    chosen = first[:-1] + best_digit
    if not settle(data, server[chosen], cut[chosen]).kept:
        # the best there is misses a deadline, whatever is paid for keeping it
        return Outcome(termination=termination, attempts=("no combination keeps every deadline",))
    allocation = optimal_allocation(problem, server[chosen], cut[chosen], data=data)
    # costs are exact to about 1e-14; the guard keeps the bound on the safe side of that
    return Outcome(allocation=allocation, bound=best - 1e-12 * abs(best) if ended else None, termination=termination,
                   attempts=() if ended else (f"{tried} of {combinations} combinations were tried",))
