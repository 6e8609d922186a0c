r"""The price oracle: at given prices every user picks its best server and cut alone.

.. math:: v_n(\pi) = \min\Big(\text{local}_n,\; \min_{m,\alpha} \big[A_n\alpha + S_n h(\alpha) + \text{fixed}_{nm}
          + R_{nm}(\lambda_m) + S_{nm}(W_n(\alpha); \mu_m) + \nu_m + \rho_m\,\text{bytes}_n(\alpha)\big]\Big)

with prices of bandwidth, clock, users and bytes of every server; a deadline adds its multiplier (`options`). The radio
response does not depend on the cut and the server response not on the link, so a user without a deadline costs M
radio responses (most of them skipped by a bound from an earlier call) and M x Y square roots. Values are rigorous
lower bounds up to the rounding of a few additions, which `certified` guards against.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.options import (
    ROUGH,
    cut_range,
    is_finite_at_zero,
    job_bytes,
    link_delay,
    link_response,
    respond,
    timed_option,
)
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.system.responses import server_response

__all__ = ["Answers", "Oracle", "best_cut", "best_option", "fill_roots", "run_parts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@kernel
def best_cut(data: Reduced, n: int, m: int, price: FloatArray, work_root: FloatArray) -> tuple[float, int, float]:
    """Cheapest cut of user n on server m at its prices (4,): (value without radio and fixed cost, cut, clock share).

    `work_root` is scratch: (Y+1,) with sqrt of the server FLOP of every cut, filled by `fill_roots`. Deadlines are not
    looked at.
    """
    time_weight, per_cycle = data.user[n].time_weight, data.server[m].per_cycle
    cap, kappa = data.server[m].clock, data.server[m].kappa * data.user[n].energy_weight
    per_flop = data.user[n].energy_weight * data.server[m].joules / per_cycle
    layers = data.factor.size - 1
    best, chosen, share = np.inf, -1, 0.0
    mu = price[1]
    byte = price[3] * data.user[n].layer_bytes
    start = price[2] + price[3] * (data.user[n].fixed_bytes + layers * data.user[n].layer_bytes)
    if kappa <= 0.0 and mu >= 0.0 and time_weight > 0.0:
        # time-shared: 2 sqrt(a_t W mu/CD), linear beyond the work that would take the whole clock
        slope = 2.0 * math.sqrt(time_weight * mu / per_cycle)
        whole = math.sqrt(mu * cap * cap * per_cycle / time_weight)  # sqrt of that work
        linear = time_weight / (per_cycle * cap)
        for cut in range(data.user[n].low, data.user[n].high + 1):
            root = work_root[cut]
            work = root * root
            value = data.user[n].device * cut + data.user[n].instability * data.factor[cut] + work * per_flop
            value += slope * root if root <= whole else work * linear + mu * cap
            value += start - byte * cut
            if value < best:
                best, chosen = value, cut
        if chosen >= 0:
            root = work_root[chosen]
            share = cap if root >= whole else cap * root / whole
    else:
        for cut in range(data.user[n].low, data.user[n].high + 1):
            work = (layers - cut) * data.user[n].layer + data.user[n].head
            value, clock = server_response(
                mu, cap, work / per_cycle, time_weight, data.user[n].energy_weight * data.server[m].joules, kappa
            )
            value += data.user[n].device * cut + data.user[n].instability * data.factor[cut] + start - byte * cut
            if value < best:
                best, chosen, share = value, cut, clock
    return best, chosen, share


@kernel
def fill_roots(data: Reduced, n: int, work_root: FloatArray) -> None:
    """sqrt of the server FLOP of user n at every cut."""
    layers = data.factor.size - 1
    for cut in range(layers + 1):
        work_root[cut] = math.sqrt((layers - cut) * data.user[n].layer + data.user[n].head)


@kernel
def _best_timed(
    data: Reduced, n: int, m: int, price: FloatArray, guess: float, limit: float, floor: FloatArray
) -> tuple[float, int, float, float, float]:
    """Cheapest cut of a user with a deadline, if below `limit`: (value, cut, bandwidth, clock, theta).

    Every theta gives a lower bound: at the one guessed all cuts are bounded, and only those that may be the best are
    solved.
    """
    low, high = cut_range(data, n, m)
    best, chosen, band, share, theta = limit, -1, 0.0, 0.0, 0.0
    if not 0.0 < guess <= data.user[n].penalty:
        guess = 0.0
        if not is_finite_at_zero(data, n):
            guess = 1e-6 * data.user[n].penalty
    for cut in range(low, high + 1):
        floor[cut] = (
            respond(data, n, m, cut, price[0], price[1], guess)[0] + price[2] + price[3] * job_bytes(data, n, cut)
        )
    for _ in range(low, high + 1):
        cut = -1
        for other in range(low, high + 1):
            if floor[other] < best and (cut < 0 or floor[other] < floor[cut]):
                cut = other
        if cut < 0:
            break
        value, b, f, multiplier = timed_option(data, n, m, cut, price[0], price[1], guess, ROUGH)
        value += price[2] + price[3] * job_bytes(data, n, cut)
        floor[cut] = np.inf
        guess = multiplier if multiplier > 0.0 else guess
        if value < best:
            best, chosen, band, share, theta = value, cut, b, f, multiplier
    return best, chosen, band, share, theta


@kernel
def best_option(
    data: Reduced, n: int, m: int, price: FloatArray, root: FloatArray, guess: float, limit: float
) -> tuple[float, int, float, float, float]:
    """Cheapest cut of user n on server m at its prices (4,): (value, cut, bandwidth, clock, theta); cut -1 if none is
    below `limit`.

    `root` must hold its work (`fill_roots`) if it has no deadline, and is scratch if it has one.
    """
    if data.gain[n, m] <= 0.0 or data.user[n].low > data.user[n].high:
        return np.inf, -1, 0.0, 0.0, 0.0
    if data.user[n].deadline < np.inf:
        return _best_timed(data, n, m, price, guess, limit, root)
    value, cut, share = best_cut(data, n, m, price, root)
    value += data.user[n].time_weight * link_delay(data, n, m)
    if value >= limit:
        return value, -1, 0.0, 0.0, 0.0
    radio, band, _ = link_response(data, n, m, price[0], 0.0)
    return value + radio, cut, band, share, 0.0


@kernel
def _ask(
    data: Reduced, start: int, stop: int, price: FloatArray, known: npt.NDArray[np.float32],
    known_at: npt.NDArray[np.float32], value: FloatArray, server: IntArray, cut: IntArray, band: FloatArray,
    share: FloatArray,
) -> None:
    """Best option of users start..stop-1; `known` remembers radio values and `known_at` their prices (of the whole
    band).

    For users with a deadline `known` remembers multipliers instead.
    """
    servers = data.server.size
    root = np.empty(data.factor.size)
    for n in range(start, stop):
        best, at_server, at_cut, at_band, at_share = data.user[n].local_cost, -1, data.factor.size - 1, 0.0, 0.0
        timed = data.user[n].deadline < np.inf
        if data.user[n].low <= data.user[n].high:
            if not timed:
                fill_roots(data, n, root)
            first = max(server[n], 0)  # the last answer is probably good still, and makes the others easy to skip
            for step in range(servers):
                m = first if step == 0 else (step - 1 if step - 1 < first else step)
                if data.gain[n, m] <= 0.0:
                    continue
                if timed:
                    total, chosen, hertz, clock, theta = _best_timed(data, n, m, price[m], known[n, m], best, root)
                    if chosen >= 0:
                        best, at_server, at_cut, at_band, at_share = total, m, chosen, hertz, clock
                        known[n, m] = theta if 1e-30 < theta < 1e30 else 0.0
                    continue
                total, chosen, clock = best_cut(data, n, m, price[m], root)
                total += data.user[n].time_weight * link_delay(data, n, m)
                if total >= best:
                    continue
                # the radio value is concave in its price and >= 0: it is at least known * min(1, price/known_at)
                floor = known[n, m]
                whole_band = price[m, 0] * data.server[m].bandwidth
                if whole_band < known_at[n, m]:
                    floor *= whole_band / known_at[n, m]
                if total + floor * (1.0 - 1e-6) >= best:
                    continue
                radio, hertz, _ = link_response(data, n, m, price[m, 0], 0.0)
                # in single precision, which neither overflows nor vanishes in this range
                if 1e-30 < whole_band < 1e30 and radio < 1e30:
                    known[n, m] = radio
                    known_at[n, m] = whole_band
                else:
                    known[n, m] = 0.0
                    known_at[n, m] = 0.0
                total += radio
                if total < best:
                    best, at_server, at_cut, at_band, at_share = total, m, chosen, hertz, clock
        value[n] = best
        server[n] = at_server
        cut[n] = at_cut
        band[n] = at_band
        share[n] = at_share


@dataclass(frozen=True, eq=False)
class Answers:
    """What every user chose at some prices.

    Attributes
    ----------
    value : (N,)
        v_n, a rigorous lower bound of the user's priced cost; inf if no option is left.
    server, cut : (N,) int
    band, share : (N,)
        Hz of bandwidth and clock that the choice takes.
    """

    value: FloatArray
    server: IntArray
    cut: IntArray
    band: FloatArray
    share: FloatArray


class Oracle:
    """Asks all users, in threads. Every user's answer stands alone, so their number changes no bit of it.

    Parameters
    ----------
    data : Reduced
    threads : int
    """

    def __init__(self, data: Reduced, threads: int) -> None:
        self.data = data
        self.users, self.servers = data.gain.shape
        smallest = 16 if data.timed else 256  # users of a thread: fewer are done sooner than it starts
        self.threads = max(1, min(threads, self.users // smallest))
        self._known = np.zeros((self.users, self.servers), dtype=np.float32)
        self._known_at = np.zeros((self.users, self.servers), dtype=np.float32)
        self._last = np.zeros(self.users, dtype=np.int64)

    def ask(self, price: FloatArray) -> Answers:
        """Best options at prices (M, 4) per Hz of bandwidth and of clock, per user and per byte."""
        n = self.users
        answers = Answers(np.empty(n), self._last.copy(), np.empty(n, dtype=np.int64), np.empty(n), np.empty(n))
        edges = np.linspace(0, n, self.threads + 1).astype(int)

        def part(start: int, stop: int) -> None:
            _ask(self.data, start, stop, price, self._known, self._known_at, answers.value, answers.server,
                 answers.cut, answers.band, answers.share)

        run_parts(part, edges)
        self._last = answers.server
        return answers


def run_parts(part: Any, edges: npt.NDArray[np.int64]) -> None:
    """Call part(start, stop) between consecutive edges, one thread each; all have ended when this returns."""
    if len(edges) == 2:
        part(int(edges[0]), int(edges[1]))
        return
    with ThreadPoolExecutor(len(edges) - 1) as pool:
        jobs = [pool.submit(part, int(a), int(b)) for a, b in itertools.pairwise(edges)]
        for job in jobs:
            job.result()
