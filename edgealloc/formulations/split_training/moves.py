r"""Local search at exact cost: single moves and pair swaps, filtered by prices.

A server's cost :math:`\Phi_m(S)` of a set of users is the value of a convex problem, so for the multipliers of the
current set S the dual function is a lower bound for *any* other set: putting n in costs at least its priced value, and taking
n out saves at most that. Hence a move improves only if its priced cost falls, a swap only if the sum of both does. The
filter costs one pass of the oracle; what passes it is evaluated exactly, by solving the two servers anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.options import fixed_cost, job_cycles, job_response, link_response, own_cost
from edgealloc.formulations.split_training.oracle import best_cut, fill_roots
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.formulations.split_training.resources import band_price, clock_price, members_of

__all__ = ["State", "assignment_total", "band_cost", "clock_cost", "make_state", "search", "total_cost"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


#: Up to this many users the search goes on until nothing helps; beyond, until a pass saves too little.
SMALL: Final = 300

#: Radio and clock cost of a server's set of users, and their prices per Hz.
SITE: Final = np.dtype([
    ("band", np.float64), ("band_price", np.float64), ("clock", np.float64), ("clock_price", np.float64)
])


class State(NamedTuple):
    """An assignment with each server's members, costs and prices (arrays are changed in place by the kernels)."""

    server: IntArray
    cut: IntArray
    members: IntArray  # (M, N): the first load[m] entries of row m
    place: IntArray  # (N,): index of a user in its server's row
    load: IntArray  # (M,): how many members each server has
    site: npt.NDArray[Any]  # (M,) of SITE
    scratch: IntArray  # (N,)
    scratch_cut: IntArray  # (N,)
    root: FloatArray  # (Y+1,)


@kernel
def band_cost(data: Reduced, members: IntArray, count: int, m: int, guess: float) -> tuple[float, float]:
    """Optimal radio cost of a set of users on server m and the price of its bandwidth.

    By weak duality the value is a lower bound whatever the price's rounding, and it is exact at the optimum.
    """
    if count == 0:
        return 0.0, 0.0
    price = band_price(data, members, count, m, guess)
    total = -price * data.server[m].bandwidth
    for i in range(count):
        total += link_response(data, members[i], m, price)[0]
    return total, price


@kernel
def clock_cost(data: Reduced, members: IntArray, count: int, m: int, cut: IntArray) -> tuple[float, float]:
    """Optimal server cost (time and energy) of a set of users with their cuts, and the price of the clock."""
    if count == 0:
        return 0.0, 0.0
    price = clock_price(data, members, count, m, cut)
    total = -price * data.server[m].clock
    for i in range(count):
        n = members[i]
        total += job_response(data, n, m, cut[n], price)[0]
    return total, price


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
    state.site[m].band, state.site[m].band_price = band_cost(data, state.members[m], state.load[m], m, state.site[m].band_price)
    state.site[m].clock, state.site[m].clock_price = clock_cost(data, state.members[m], state.load[m], m, state.cut)


@kernel
def total_cost(data: Reduced, state: State) -> float:
    """Objective of the state."""
    total = 0.0
    for n in range(state.server.size):
        total += own_cost(data, n, state.server[n], state.cut[n])
    for m in range(state.load.size):
        total += state.site[m].band + state.site[m].clock
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
    """Members of m in `scratch` without `out` and with `new` (-1: nobody); returns how many."""
    size = 0
    for i in range(state.load[m]):
        if state.members[m, i] != out:
            state.scratch[size] = state.members[m, i]
            size += 1
    if new >= 0:
        state.scratch[size] = new
        size += 1
    return size


@kernel
def _best_cut_in_set(data: Reduced, state: State, size: int, m: int, n: int, guess: int) -> tuple[float, int]:
    """Least (clock cost of the set in `scratch` + own cost of n) over the cuts of n, the others' cuts held.

    Time-shared servers have a closed form for every cut; clock-scaled ones are solved near `guess`, stepwise downhill.
    """
    low, high = data.user[n].low, data.user[n].high
    best, chosen = np.inf, -1
    if data.server[m].kappa <= 0.0:
        root, linear = 0.0, 0.0
        for i in range(size):
            j = state.scratch[i]
            if j != n:
                cycles = job_cycles(data, j, m, state.cut[j])
                root += math.sqrt(data.user[j].time_weight * cycles)
                linear += cycles * data.server[m].joules * data.user[j].energy_weight
        for cut in range(low, high + 1):
            cycles = job_cycles(data, n, m, cut)
            sums = root + math.sqrt(data.user[n].time_weight * cycles)
            cost = sums * sums / data.server[m].clock + linear + cycles * data.server[m].joules * data.user[n].energy_weight
            cost += own_cost(data, n, m, cut)
            if cost < best:
                best, chosen = cost, cut
        return best, chosen
    for i in range(size):
        state.scratch_cut[state.scratch[i]] = state.cut[state.scratch[i]]
    for direction in (0, 1, -1):
        cut = guess + direction
        while low <= cut <= high:
            state.scratch_cut[n] = cut
            cost, _ = clock_cost(data, state.scratch, size, m, state.scratch_cut)
            cost += own_cost(data, n, m, cut)
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
    radio, _, _ = link_response(data, n, m, state.site[m].band_price)
    work, _ = job_response(data, n, m, cut, state.site[m].clock_price)
    return radio + work + own_cost(data, n, m, cut)


@kernel
def _priced_best(data: Reduced, state: State, n: int, m: int) -> tuple[float, int]:
    """Least priced cost of user n on server m over its cuts; `root` must hold its work."""
    if data.gain[n, m] <= 0.0 or data.user[n].low > data.user[n].high:
        return np.inf, -1
    value, cut, _ = best_cut(data, n, m, state.site[m].clock_price, state.root)
    radio, _, _ = link_response(data, n, m, state.site[m].band_price)
    return value + radio + fixed_cost(data, n, m), cut


@kernel
def _without(data: Reduced, state: State, n: int) -> float:
    """Cost saved by taking n off its server, its own cost included."""
    m = state.server[n]
    if m < 0:
        return data.user[n].local_cost
    size = _set_after(state, m, n, -1)
    band, _ = band_cost(data, state.scratch, size, m, state.site[m].band_price)
    clock, _ = clock_cost(data, state.scratch, size, m, state.cut)
    return state.site[m].band - band + state.site[m].clock - clock + own_cost(data, n, m, state.cut[n])


@kernel
def _with(data: Reduced, state: State, n: int, m: int, out: int, guess: int) -> tuple[float, int]:
    """Exact change of server m's cost, plus own cost, if `out` leaves (-1: nobody) and n joins at its best cut."""
    size = _set_after(state, m, out, n)
    band, _ = band_cost(data, state.scratch, size, m, state.site[m].band_price)
    clock, cut = _best_cut_in_set(data, state, size, m, n, guess)
    return band - state.site[m].band + clock - state.site[m].clock, cut


@kernel
def improve_user(data: Reduced, state: State, n: int, least: float) -> float:
    """Make the best single move of user n if it saves more than `least`; returns the saving (0: none)."""
    here, here_cut = state.server[n], state.cut[n]
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
            size = _set_after(state, m, -1, -1)
            cost, cut = _best_cut_in_set(data, state, size, m, n, guess)
            change = cost - state.site[m].clock - own_cost(data, n, m, here_cut)
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
                size = _set_after(state, here, n, other)
                band_here, _ = band_cost(data, state.scratch, size, here, state.site[here].band_price)
                clock_here, cut_other = _best_cut_in_set(data, state, size, here, other, guess[other, here])
                delta = (band_here - state.site[here].band + clock_here - state.site[here].clock
                         - own_cost(data, n, here, state.cut[n]))
                size = _set_after(state, to, other, n)
                band_to, _ = band_cost(data, state.scratch, size, to, state.site[to].band_price)
                clock_to, cut_n = _best_cut_in_set(data, state, size, to, n, guess[n, to])
                delta += (band_to - state.site[to].band + clock_to - state.site[to].clock
                          - own_cost(data, other, to, state.cut[other]))
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
    largest = users  # a server may end up with everybody
    state = State(
        server=np.array(server, dtype=np.int64), cut=np.array(cut, dtype=np.int64),
        members=np.zeros((servers, largest), dtype=np.int64), place=np.zeros(users, dtype=np.int64),
        load=np.zeros(servers, dtype=np.int64), site=np.zeros(servers, dtype=SITE), scratch=np.zeros(users + 1, dtype=np.int64),
        scratch_cut=np.zeros(users, dtype=np.int64), root=np.zeros(data.factor.size),
    )
    fill_state(data, state)
    return state


def search(data: Reduced, state: State, *, least: float, out_of_time: Callable[[], bool], swaps_up_to: int = 5000) -> float:
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


def assignment_total(data: Reduced, server: IntArray, cut: IntArray, guess: FloatArray | None = None) -> float:
    """Optimal cost of an assignment: one solve per server."""
    order, offsets = members_of(server, data.server.size)
    total = float(_own_total(data, server, cut))
    for m in range(data.server.size):
        members = order[offsets[m] : offsets[m + 1]]
        if members.size:
            total += band_cost(data, members, members.size, m, 0.0 if guess is None else float(guess[m]))[0]
            total += clock_cost(data, members, members.size, m, cut)[0]
    return total


@kernel
def _own_total(data: Reduced, server: IntArray, cut: IntArray) -> float:
    total = 0.0
    for n in range(server.size):
        total += own_cost(data, n, server[n], cut[n])
    return total
