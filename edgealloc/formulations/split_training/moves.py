r"""Local search at exact cost: single moves and pair swaps, filtered by prices.

A server's cost :math:`\Phi_m(S)` of a set of users is the value of a convex problem, so for the multipliers of the
current set S the dual function is a lower bound for *any* other set: putting n in costs at least its priced value, and
taking n out saves at most that. Hence a move improves only if its priced cost falls, a swap only if the sum of both
does. The filter costs one pass of the oracle; what passes it is evaluated exactly, by solving the two servers anew.
Broken limits cost what `Reduced` says, so that the search finds its way back to what is feasible.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.options import (
    ROUGH,
    cut_range,
    job_bytes,
    job_cycles,
    job_response,
    link_response,
    own_cost,
    timed_option,
)
from edgealloc.formulations.split_training.oracle import best_option, fill_roots
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.formulations.split_training.site import (
    band_cost,
    excess_demand,
    is_timed,
    overload,
    site_cost,
)

__all__ = ["State", "assignment_cost", "make_state", "search", "total_cost", "worst_excess"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


#: Up to this many users the search goes on until nothing helps; beyond, until a pass saves too little.
SMALL: Final = 300


class State(NamedTuple):
    """An assignment with each server's members, costs and prices (arrays are changed in place by the kernels)."""

    server: IntArray
    cut: IntArray
    members: IntArray  # (M, N): the first load[m] entries of row m
    place: IntArray  # (N,): index of a user in its server's row
    load: IntArray  # (M,): how many members each server has
    cost: FloatArray  # (M,): everything that a server's users pay
    price: FloatArray  # (M, 4): of bandwidth, clock, users and bytes
    theta: FloatArray  # (N,): multipliers of deadlines, as guesses
    trial_price: FloatArray  # (4,)
    scratch: IntArray  # (N+1,)
    scratch_cut: IntArray  # (N,)
    root: FloatArray  # (Y+1,)


@kernel
def fill_state(data: Reduced, state: State) -> None:
    """Members, costs and prices of every server from `server` and `cut`."""
    state.load[:] = 0
    for n in range(state.server.size):
        m = state.server[n]
        if m >= 0:
            state.place[n] = state.load[m]
            state.members[m, state.load[m]] = n
            state.load[m] += 1
    for m in range(state.load.size):
        _refresh(data, state, m)


@kernel
def _refresh(data: Reduced, state: State, m: int) -> None:
    state.cost[m] = site_cost(data, state.members[m], state.load[m], m, state.cut, state.price[m], state.theta)


@kernel
def total_cost(data: Reduced, state: State) -> float:
    """Objective of the state, with what broken limits cost."""
    total = 0.0
    for n in range(state.server.size):
        if state.server[n] < 0:
            total += data.user[n].local_cost
    for m in range(state.load.size):
        total += state.cost[m]
    return total


@kernel
def _put(state: State, n: int, m: int) -> None:
    """Take n off its server, if any, and put it on m (-1: none)."""
    old = state.server[n]
    if old >= 0:
        state.load[old] -= 1
        last = state.members[old, state.load[old]]
        state.members[old, state.place[n]] = last
        state.place[last] = state.place[n]
    state.server[n] = m
    if m >= 0:
        state.place[n] = state.load[m]
        state.members[m, state.load[m]] = n
        state.load[m] += 1


@kernel
def _set_after(state: State, m: int, out: int, new: int) -> int:
    """Members of m in `scratch` without `out` and with `new` (-1: nobody), their cuts in `scratch_cut`; how many."""
    size = 0
    for i in range(state.load[m]):
        if state.members[m, i] != out:
            state.scratch[size] = state.members[m, i]
            size += 1
    if new >= 0:
        state.scratch[size] = new
        size += 1
    for i in range(size):
        state.scratch_cut[state.scratch[i]] = state.cut[state.scratch[i]]
    return size


@kernel
def _set_cost(data: Reduced, state: State, size: int, m: int) -> float:
    """Exact cost of the set in `scratch`."""
    state.trial_price[:] = state.price[m]
    return site_cost(data, state.scratch, size, m, state.scratch_cut, state.trial_price, state.theta)


@kernel
def _best_cut_in_set(data: Reduced, state: State, size: int, m: int, n: int, guess: int) -> tuple[float, int]:
    """Least cost of the set in `scratch` over the cuts of n, the others' cuts held: (cost, cut).

    Time-shared servers without deadlines have a closed form for every cut; others are solved near `guess`, stepwise
    downhill.
    """
    low, high = cut_range(data, n, m)
    best, chosen = np.inf, -1
    if low > high:
        return best, chosen
    guess = min(max(guess, low), high)
    if data.server[m].kappa <= 0.0 and not is_timed(data, state.scratch, size):
        root, linear, own = 0.0, 0.0, 0.0
        for i in range(size):
            j = state.scratch[i]
            if j != n:
                cycles = job_cycles(data, j, m, state.cut[j])
                root += math.sqrt(data.user[j].time_weight * cycles)
                linear += cycles * data.server[m].joules * data.user[j].energy_weight
                own += own_cost(data, j, m, state.cut[j])
        band, _ = band_cost(data, state.scratch, size, m, state.price[m, 0])
        state.scratch_cut[n] = high
        over, _, _ = overload(data, state.scratch, size, m, state.scratch_cut)
        crowded = over > 0.0 or data.server[m].bytes < np.inf
        for cut in range(low, high + 1):
            cycles = job_cycles(data, n, m, cut)
            sums = root + math.sqrt(data.user[n].time_weight * cycles)
            cost = (
                sums * sums / data.server[m].clock
                + linear
                + cycles * data.server[m].joules * data.user[n].energy_weight
            )
            cost += own_cost(data, n, m, cut) + own + band
            if crowded:
                state.scratch_cut[n] = cut
                cost += overload(data, state.scratch, size, m, state.scratch_cut)[0]
            if cost < best:
                best, chosen = cost, cut
        return best, chosen
    for direction in (0, 1, -1):
        cut = guess + direction
        while low <= cut <= high:
            state.scratch_cut[n] = cut
            cost = _set_cost(data, state, size, m)
            if cost >= best:
                break
            best, chosen = cost, cut
            if direction == 0:
                break
            cut += direction
    return best, chosen


@kernel
def _priced(data: Reduced, state: State, n: int, m: int, cut: int) -> float:
    """Priced cost of user n as it stands, at the prices of server m (no radio and clock if fully local)."""
    if m < 0:
        return data.user[n].local_cost
    price = state.price[m]
    value = price[2] + price[3] * job_bytes(data, n, cut)
    if state.load[m] == 1:
        # alone on a server whose clock has to be handed out whole: that duty ends, too, when the user leaves
        value += max(0.0, -price[0] * data.server[m].bandwidth - price[1] * data.server[m].clock)
    if data.user[n].deadline < np.inf:
        return value + timed_option(data, n, m, cut, price[0], price[1], state.theta[n], ROUGH)[0]
    radio, _, _ = link_response(data, n, m, price[0], 0.0)
    work, _ = job_response(data, n, m, cut, price[1], 0.0)
    return value + radio + work + own_cost(data, n, m, cut)


@kernel
def _priced_best(data: Reduced, state: State, n: int, m: int) -> tuple[float, int]:
    """Least priced cost of user n on server m over its cuts; `root` must hold its work."""
    value, cut, _, _, _ = best_option(data, n, m, state.price[m], state.root, state.theta[n], np.inf)
    if cut < 0:
        return np.inf, -1
    return value, cut


@kernel
def _without(data: Reduced, state: State, n: int) -> float:
    """Cost saved by taking n off its server."""
    m = state.server[n]
    if m < 0:
        return data.user[n].local_cost
    size = _set_after(state, m, n, -1)
    return state.cost[m] - _set_cost(data, state, size, m)


@kernel
def _with(data: Reduced, state: State, n: int, m: int, out: int, guess: int) -> tuple[float, int]:
    """Exact change of server m's cost if `out` leaves (-1: nobody) and n joins at its best cut."""
    size = _set_after(state, m, out, n)
    cost, cut = _best_cut_in_set(data, state, size, m, n, guess)
    return cost - state.cost[m], cut


@kernel
def improve_user(data: Reduced, state: State, n: int, least: float) -> float:
    """Make the best single move of user n if it saves more than `least`; returns the saving (0: none)."""
    here, here_cut = state.server[n], state.cut[n]
    if data.user[n].deadline == np.inf:
        fill_roots(data, n, state.root)
    now = _priced(data, state, n, here, here_cut)
    best, to, to_cut = -least, -2, 0
    saved = -1.0
    if here >= 0 and data.user[n].local_cost < now - least:
        saved = _without(data, state, n)
        change = data.user[n].local_cost - saved
        if change < best:
            best, to, to_cut = change, -1, data.factor.size - 1
    for m in range(state.load.size):
        priced, guess = _priced_best(data, state, n, m)
        if priced >= now - least:
            continue
        if m == here:
            change, cut = _recut(data, state, n, m, guess)
        else:
            if saved < 0.0:
                saved = _without(data, state, n)
            cost, cut = _with(data, state, n, m, -1, guess)
            change = cost - saved
        if change < best:
            best, to, to_cut = change, m, cut
    if to == -2:
        return 0.0
    if to != here:
        _put(state, n, to)
        if here >= 0:
            _refresh(data, state, here)
    state.cut[n] = to_cut
    if to >= 0:
        _refresh(data, state, to)
    return -best


@kernel
def _recut(data: Reduced, state: State, n: int, m: int, guess: int) -> tuple[float, int]:
    """Exact change if n stays on its server with its best cut."""
    size = _set_after(state, m, -1, -1)
    cost, cut = _best_cut_in_set(data, state, size, m, n, guess)
    return cost - state.cost[m], cut


@kernel
def sweep(data: Reduced, state: State, start: int, stop: int, least: float) -> float:
    """One pass of best single moves over users start..stop-1; returns what was saved."""
    saved = 0.0
    for n in range(start, stop):
        saved += improve_user(data, state, n, least)
    return saved


@kernel
def priced_changes(data: Reduced, state: State, change: FloatArray, guess: IntArray) -> None:
    """(N, M): by how much every user's priced cost would change on every server, and its best cut there."""
    users, servers = change.shape
    for n in range(users):
        if data.user[n].deadline == np.inf:
            fill_roots(data, n, state.root)
        now = _priced(data, state, n, state.server[n], state.cut[n])
        for m in range(servers):
            priced, cut = _priced_best(data, state, n, m)
            change[n, m] = priced - now
            guess[n, m] = cut


@kernel
def swap_pass(
    data: Reduced, state: State, change: FloatArray, guess: IntArray, start: int, stop: int, least: float
) -> float:
    """Try pairs (n, other) on different servers, n in start..stop-1, whose priced costs together fall; the saving."""
    servers = change.shape[1]
    saved = 0.0
    for n in range(start, stop):
        for to in range(servers):
            here = state.server[n]
            if here < 0 or to == here or change[n, to] == np.inf:
                continue
            i = 0
            while i < state.load[to]:
                other = state.members[to, i]
                i += 1
                # each pair once: from the side whose own move is the better one
                if change[other, here] < change[n, to] or change[n, to] + change[other, here] >= -least:
                    continue
                back, cut_other = _with(data, state, other, here, n, guess[other, here])
                delta, cut_n = _with(data, state, n, to, other, guess[n, to])
                delta += back
                if delta < -least:
                    _put(state, n, to)
                    _put(state, other, here)
                    state.cut[n], state.cut[other] = cut_n, cut_other
                    _refresh(data, state, here)
                    _refresh(data, state, to)
                    saved -= delta
                    break
    return saved


def make_state(data: Reduced, server: IntArray, cut: IntArray) -> State:
    """State of an assignment; arrays are copied."""
    users, servers = data.gain.shape
    state = State(
        server=np.array(server, dtype=np.int64), cut=np.array(cut, dtype=np.int64),
        # a server may end up with everybody
        members=np.zeros((servers, users), dtype=np.int64), place=np.zeros(users, dtype=np.int64),
        load=np.zeros(servers, dtype=np.int64), cost=np.zeros(servers), price=np.zeros((servers, 4)),
        theta=np.zeros(users), trial_price=np.zeros(4), scratch=np.zeros(users + 1, dtype=np.int64),
        scratch_cut=np.zeros(users, dtype=np.int64), root=np.zeros(data.factor.size),
    )
    fill_state(data, state)
    return state


def search(
    data: Reduced, state: State, *, least: float, out_of_time: Callable[[], bool], swaps_up_to: int = 5000
) -> float:
    """Single moves until none helps, then swaps, and over again; returns the final objective.

    Parameters
    ----------
    least : float
        Smallest saving worth a move.
    out_of_time : callable
        ``() -> bool``, asked between blocks of users.
    swaps_up_to : int
        Largest N for which pairs are tried.
    """
    users = state.server.size
    block = max(1, min(64, 20_000 // users))  # a look at the clock every few milliseconds
    enough = 0.0 if users <= SMALL else 10.0 * least
    change = guess = None
    for _ in range(100):
        saved = 0.0
        for start in range(0, users, block):
            saved += sweep(data, state, start, min(start + block, users), least)
            if out_of_time():
                return float(total_cost(data, state))
        if saved <= enough:
            if users > swaps_up_to:
                break
            if change is None or guess is None:
                change = np.empty(data.gain.shape)
                guess = np.zeros(data.gain.shape, dtype=np.int64)
            priced_changes(data, state, change, guess)
            for start in range(users):
                saved += swap_pass(data, state, change, guess, start, start + 1, least)
                if out_of_time():
                    return float(total_cost(data, state))
            if saved <= enough:
                break
    return float(total_cost(data, state))


@kernel
def worst_excess(
    data: Reduced, cut: IntArray, order: IntArray, offsets: IntArray, price: FloatArray, theta: FloatArray
) -> float:
    """Largest `excess_demand` of a server after `assignment_cost`."""
    worst = 0.0
    for m in range(data.server.size):
        count = offsets[m + 1] - offsets[m]
        worst = max(worst, excess_demand(data, order[offsets[m] : offsets[m + 1]], count, m, cut, price[m], theta))
    return worst


@kernel
def assignment_cost(
    data: Reduced,
    server: IntArray,
    cut: IntArray,
    order: IntArray,
    offsets: IntArray,
    price: FloatArray,
    theta: FloatArray,
) -> float:
    """Optimal cost of an assignment, broken limits included: one solve per server.

    `order` and `offsets` are `resources.members_of(server)`; `price` (M, 4) and `theta` (N,) hold guesses, then what
    was found.
    """
    total = 0.0
    for n in range(server.size):
        if server[n] < 0:
            total += data.user[n].local_cost
    for m in range(data.server.size):
        count = offsets[m + 1] - offsets[m]
        total += site_cost(data, order[offsets[m] : offsets[m + 1]], count, m, cut, price[m], theta)
    return total
