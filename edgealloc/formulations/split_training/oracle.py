r"""The price oracle: at given prices of bandwidth and clock, every user picks its best server and cut alone.

.. math:: v_n(\lambda, \mu) = \min\Big(\text{local}_n,\; \min_{m,\alpha} \big[A_n\alpha + S_n h(\alpha) + \text{fixed}_{nm}
          + R_{nm}(\lambda_m) + S_{nm}(W_n(\alpha); \mu_m)\big]\Big)

The radio response does not depend on the cut and the server response not on the link, so a user costs M radio responses
(most of them skipped by a bound from an earlier call) and M x Y square roots. Values are rigorous lower bounds up to the
rounding of a few additions, which `certified` guards against.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.options import fixed_cost, link_response
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.system.responses import server_response

__all__ = ["Answers", "Oracle", "best_cut"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@kernel
def best_cut(data: Reduced, n: int, m: int, price: float, work_root: FloatArray) -> tuple[float, int, float]:
    """Cheapest cut of user n on server m at a clock price: (value without radio and fixed cost, cut, clock share).

    `work_root` is scratch: (Y+1,) with sqrt of the server FLOP of every cut, filled by `fill_roots`.
    """
    time_weight, per_cycle = data.user[n].time_weight, data.server[m].per_cycle
    cap, kappa = data.server[m].clock, data.server[m].kappa * data.user[n].energy_weight
    per_flop = data.user[n].energy_weight * data.server[m].joules / per_cycle
    layers = data.factor.size - 1
    best, chosen, share = np.inf, -1, 0.0
    if kappa <= 0.0:
        # time-shared: 2 sqrt(a_t W mu/CD), linear beyond the work that would take the whole clock
        slope = 2.0 * math.sqrt(time_weight * price / per_cycle)
        whole = math.sqrt(price * cap * cap * per_cycle / time_weight)  # sqrt of that work
        linear = time_weight / (per_cycle * cap)
        for cut in range(data.user[n].low, data.user[n].high + 1):
            root = work_root[cut]
            work = root * root
            value = data.user[n].device * cut + data.user[n].instability * data.factor[cut] + work * per_flop
            value += slope * root if root <= whole else work * linear + price * cap
            if value < best:
                best, chosen = value, cut
        if chosen >= 0:
            root = work_root[chosen]
            share = cap if root >= whole else cap * root / whole
    else:
        for cut in range(data.user[n].low, data.user[n].high + 1):
            work = (layers - cut) * data.user[n].layer + data.user[n].head
            value, clock = server_response(price, cap, work / per_cycle, time_weight, 0.0, kappa)
            value += data.user[n].device * cut + data.user[n].instability * data.factor[cut]
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
def _ask(
    data: Reduced, start: int, stop: int, price_b: FloatArray, price_f: FloatArray, known: npt.NDArray[np.float32],
    known_at: npt.NDArray[np.float32], value: FloatArray, server: IntArray, cut: IntArray, band: FloatArray,
    share: FloatArray,
) -> None:
    """Best option of users start..stop-1; `known` remembers radio values and `known_at` their prices (of the whole band)."""
    servers = data.server.size
    root = np.empty(data.factor.size)
    for n in range(start, stop):
        best, at_server, at_cut, at_band, at_share = data.user[n].local_cost, -1, data.factor.size - 1, 0.0, 0.0
        if data.user[n].low <= data.user[n].high:
            fill_roots(data, n, root)
            first = max(server[n], 0)  # the last answer is probably good still, and makes the others easy to skip
            for step in range(servers):
                m = first if step == 0 else (step - 1 if step - 1 < first else step)
                if data.gain[n, m] <= 0.0:
                    continue
                total, chosen, clock = best_cut(data, n, m, price_f[m], root)
                total += fixed_cost(data, n, m)
                if total >= best:
                    continue
                # the radio value is concave in its price and >= 0: it is at least known * min(1, price/known_at)
                floor = known[n, m]
                whole_band = price_b[m] * data.server[m].bandwidth
                if whole_band < known_at[n, m]:
                    floor *= whole_band / known_at[n, m]
                if total + floor * (1.0 - 1e-6) >= best:
                    continue
                radio, hertz, _ = link_response(data, n, m, price_b[m])
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
        v_n, a rigorous lower bound of the user's priced cost.
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
        self.threads = max(1, min(threads, self.users // 256))
        self._known = np.zeros((self.users, self.servers), dtype=np.float32)
        self._known_at = np.zeros((self.users, self.servers), dtype=np.float32)
        self._last = np.zeros(self.users, dtype=np.int64)

    def ask(self, price_b: FloatArray, price_f: FloatArray) -> Answers:
        """Best options at prices per Hz of bandwidth and of clock, each (M,), >= 0."""
        n = self.users
        answers = Answers(np.empty(n), self._last.copy(), np.empty(n, dtype=np.int64), np.empty(n), np.empty(n))
        edges = np.linspace(0, n, self.threads + 1).astype(int)

        def part(start: int, stop: int) -> None:
            _ask(self.data, start, stop, price_b, price_f, self._known, self._known_at, answers.value, answers.server,
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
        jobs = [pool.submit(part, int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        for job in jobs:
            job.result()
