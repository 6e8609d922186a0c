"""An independent twin of SplitTraining: objective, resources and enumeration, written from the formulas
alone.

It reads the numbers of a problem and shares no code with the library: not the objective, not the
responses, not the resource solve, not the cuts that limits leave. What it does is slow and plain:

- the *objective* user by user in scalar Python;
- the *bandwidth* of a set of users by the dual, max over the price of sum of min over (b, p), both by
  golden section (or into more parts) on values only. At a given spectral efficiency x = ln(1 + P/b) the best b is a
  clipped square root; the rest is convex in log(P/b), because the cost is convex in (log b, log P);
- the *clock* of a set of users by the Cauchy inequality (time-shared) or by bisection on the price with
  the closed-form root of a cubic (clock-scaled);
- the *optimum* by enumeration over who is where and every cut, server by server.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

import edgealloc as ea

FloatArray = npt.NDArray[np.float64]

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def golden(function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray, steps: int) -> FloatArray:
    """Minimisers of unimodal functions, one per entry, by golden section (two values kept, one new per
    step)."""
    a, b = low.copy(), high.copy()
    left, right = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        down = at_left <= at_right  # keep [a, right]
        b = np.where(down, right, b)
        a = np.where(down, a, left)
        fresh = np.where(down, b - _GOLDEN * (b - a), a + _GOLDEN * (b - a))
        at_fresh = function(fresh)
        left, right = np.where(down, fresh, right), np.where(down, left, fresh)
        at_left, at_right = np.where(down, at_fresh, at_right), np.where(down, at_left, at_fresh)
    return np.where(at_left <= at_right, left, right)


def section(function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray, steps: int) -> FloatArray:
    """`golden` for functions that take a further axis in front: 15 points at once, and again between the best's
    neighbours, until the interval is as short."""
    parts = 16
    at = np.arange(1.0, parts).reshape(-1, *[1] * low.ndim) / parts
    a, best, width = low, low, high - low
    for _ in range(math.ceil(steps * math.log(_GOLDEN) / math.log(2.0 / parts))):
        points = a + at * width
        values = function(points)
        first = np.argmin(np.where(np.isnan(values), np.inf, values), axis=0)
        best = np.take_along_axis(points, first[None], axis=0)[0]
        a, width = best - width / parts, width * (2.0 / parts)
    return best


class Twin:
    """The numbers of a problem, and everything that is computed from them anew."""

    def __init__(self, problem: ea.SplitTraining) -> None:
        self.p: Any = problem
        self.n, self.m = problem.gain.shape
        reference = problem.weights.reference or {}

        def weight(value: object, term: str) -> FloatArray:
            return np.broadcast_to(np.asarray(value, dtype=float) / reference.get(term, 1.0), (self.n,))

        self.w_t = weight(problem.weights.delay, "delay")
        self.w_e = weight(problem.weights.energy, "energy")
        self.w_s = weight(problem.weights.stability, "stability")
        self.noise = float(problem.noise_psd_w_per_hz)
        self.time_shared = problem.server_joules_per_flop is not None

    # ---- the objective, term by term -------------------------------------------------------------

    def instability(self, n: int, cut: int) -> float:
        """AS of user n when `cut` of the layers are trained on the device."""
        stability = self.p.stability
        rest = 1.0 - cut / self.p.layers
        if stability.model == "liu-zhao":
            below = float(self.p.samples[n]) * rest
        else:
            below = float(self.p.samples[n]) * (stability.lambda_min + 2.0 * rest)
        return math.inf if below == 0.0 else 2.0 * stability.lipschitz**2 / below

    def cost(self, n: int, m: int, cut: int, p: float, b: float, f: float, big_f: float) -> float:
        """Weighted delay, energy and instability of one user; m = -1 is fully local."""
        data = self.p
        local = m < 0
        work = cut * float(data.layer_flops[n]) + (float(data.head_flops[n]) if local else 0.0)
        delay = work / (f * float(data.user_flops_per_cycle[n])) if work else 0.0
        energy = float(data.user_kappa[n]) * f**2 * work / float(data.user_flops_per_cycle[n])
        if not local:
            snr = float(data.gain[n, m]) * p / (self.noise * b)
            seconds = float(data.upload_bits[n]) / (b * math.log1p(snr) / math.log(2.0))
            watts = p / float(data.amplifier_efficiency[n]) + float(data.circuit_power_w[n])
            delay += seconds if data.count_upload_delay else 0.0
            energy += watts * seconds
            rest = (data.layers - cut) * float(data.layer_flops[n]) + float(data.head_flops[n])
            cycles = rest / float(data.server_flops_per_cycle[m])
            waiting = (cycles / big_f if cycles else 0.0) + float(data.fixed_delay_s[n, m])
            delay += waiting
            energy += float(data.idle_power_w[n]) * waiting
            if self.time_shared:
                energy += float(data.server_joules_per_flop[m]) * rest
            else:
                energy += float(data.server_kappa[m]) * big_f**2 * cycles
        unstable = self.instability(n, cut)
        if math.isinf(unstable):
            return math.inf
        return float(self.w_t[n] * delay + self.w_e[n] * energy + self.w_s[n] * unstable)

    def objective(self, a: ea.Allocation) -> float:
        """Sum over users of the plain formula."""
        return math.fsum(
            self.cost(
                n,
                int(a.server[n]),
                int(a.local_layers[n]),
                float(a.power_w[n]),
                float(a.bandwidth_hz[n]),
                float(a.user_frequency_hz[n]),
                float(a.server_frequency_hz[n]),
            )
            for n in range(self.n)
        )

    # ---- what limits leave -----------------------------------------------------------------------

    def cut_allowed(self, n: int, cut: int) -> bool:
        """Privacy, the largest cut, stability limit and memory; a cut of all layers is fully local."""
        data = self.p
        unstable = self.instability(n, cut)
        if cut < int(data.min_local_layers[n]) or math.isinf(unstable):
            return False
        if data.max_local_layers is not None and cut > int(data.max_local_layers[n]):
            return False
        if data.stability_limit is not None and unstable > float(data.stability_limit[n]):
            return False
        if data.device_memory_bytes is not None:
            need = float(data.memory_bytes_fixed[n]) + cut * float(data.memory_bytes_per_layer[n])
            need += float(data.memory_bytes_head[n]) if cut == data.layers else 0.0
            return need <= float(data.device_memory_bytes[n])
        return True

    # ---- the device ------------------------------------------------------------------------------

    @cached_property
    def device_per_cycle(self) -> FloatArray:
        """Least w_t/f + w_e kappa f^2 over the clock range, per cycle of the device."""
        high = np.asarray(self.p.user_frequency_max_hz)
        low = np.maximum(np.asarray(self.p.user_frequency_min_hz), 1e-9 * high)

        def cost(log_f: FloatArray) -> FloatArray:
            f = np.exp(log_f)
            return np.asarray(self.w_t / f + self.w_e * self.p.user_kappa * f**2)

        best = cost(section(cost, np.log(low), np.log(high), 60))
        return np.asarray(np.minimum(best, np.minimum(cost(np.log(low)), cost(np.log(high)))))

    def fixed_cost(self, n: int, cut: int) -> float:
        """Device and instability at the best device clock."""
        work = cut * float(self.p.layer_flops[n])
        work += float(self.p.head_flops[n]) if cut == self.p.layers else 0.0
        return float(
            self.device_per_cycle[n] * work / self.p.user_flops_per_cycle[n]
            + (self.w_s[n] * self.instability(n, cut) if self.w_s[n] else 0.0)
        )

    # ---- bandwidth -------------------------------------------------------------------------------

    def _radio_terms(self, n: FloatArray, m: FloatArray) -> tuple[FloatArray, ...]:
        """K1, K2 (per hertz of P = p g/N0), P range, at user and server index arrays; dead links made
        harmless."""
        users, servers = n.astype(int), m.astype(int)
        gain = self.p.gain[users, servers]
        ratio = np.where(gain > 0.0, gain, 1.0) / self.noise
        nats = self.p.upload_bits[users] * math.log(2.0)
        counted = self.w_t[users] if self.p.count_upload_delay else 0.0
        k1 = (counted + self.w_e[users] * self.p.circuit_power_w[users]) * nats
        k2 = self.w_e[users] / self.p.amplifier_efficiency[users] * nats / ratio
        return k1, k2, self.p.power_min_w[users] * ratio, self.p.power_max_w[users] * ratio

    def band_dual(
        self, sets: npt.NDArray[np.bool_], server: npt.NDArray[np.int64]
    ) -> tuple[Callable[[FloatArray], FloatArray], FloatArray]:
        """For sets of users (S, N), each on the band of its server (S,): the dual function of the price,
        sum of min over (b, p) of radio cost + price b, minus price b_m; and a price surely too high (S,)."""
        n = np.broadcast_to(np.arange(self.n, dtype=float), sets.shape)
        m = np.broadcast_to(server.astype(float)[:, None], sets.shape)
        k1, k2, low, high = self._radio_terms(n, m)
        cap = np.asarray(self.p.bandwidth_max_hz)[server]
        band = cap[:, None]
        with np.errstate(divide="ignore", over="ignore"):
            # where power is free the spectral efficiency at the whole band solves q(x) = K1/(b K2), q <=
            # x^2 e^x/2; a smaller band only raises it
            wanted = np.sqrt(np.minimum(k1 / np.maximum(band * k2, 1e-300), 1.0)) * 0.3
            floor = np.minimum(np.log(np.maximum(wanted, 1e-30)), np.log(high / band))
        start = np.where(low > 0.0, np.maximum(np.log(np.maximum(low, 1e-300) / band), floor), floor)
        stop = np.maximum(np.log(high / band), 0.0) + 50.0

        def priced(log_ratio: FloatArray, price: FloatArray) -> FloatArray:
            growth = np.exp(log_ratio)
            x = np.log1p(growth)
            with np.errstate(divide="ignore"):
                b = np.sqrt(k1 / (price[:, None] * x))
            b = np.minimum(np.maximum(b, low / growth), np.minimum(band, high / growth))
            return np.asarray(k1 / (b * x) + k2 * growth / x + price[:, None] * b)

        def dual(price: FloatArray) -> FloatArray:
            best = priced(section(lambda s: priced(s, price), start, stop, 40), price)
            for corner in (start, np.log(high / band)):  # kinks, which golden section only comes near to
                best = np.minimum(best, priced(corner, price))
            return np.asarray(np.where(sets, best, 0.0).sum(axis=1) - price * cap)

        count = np.maximum(sets.sum(axis=1), 1)
        share = (cap / count)[:, None]
        equal = (k1 + k2 * high) / (share * np.log1p(high / share))
        return dual, 3.0 * np.maximum(np.where(sets, equal, 0.0).max(axis=1), 1e-300) * count / cap

    def band_costs(self, sets: npt.NDArray[np.bool_], server: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Least radio cost (S,) of sets of users (S, N) that share the band of their server, and its price.

        The value is the best of the dual, which strong duality makes the optimum (the cost is convex in
        log b and log p, and so is the sum of b).
        """
        dual, high = self.band_dual(sets, server)
        top = np.log(high)
        price = np.exp(golden(lambda y: -dual(np.exp(y)), top - 40.0, top, 38))
        return dual(price), price

    def power_cost(self, n: int, m: int, b: float) -> float:
        """Least radio cost of one upload at a given bandwidth, by golden section over the power."""
        k1, k2, low, high = (float(v) for v in self._radio_terms(np.array(n, float), np.array(m, float)))

        def cost(log_p: FloatArray) -> FloatArray:
            received = np.exp(log_p)
            return np.asarray((k1 + k2 * received) / (b * np.log1p(received / b)))

        ends = np.log(np.array([max(low, 1e-18 * high), high]))
        best = cost(section(cost, ends[:1], ends[1:], 60))
        return float(min(best[0], *cost(ends)))

    # ---- server clock ----------------------------------------------------------------------------

    def clock_costs(self, users: list[int], m: int, cuts: npt.NDArray[np.int64]) -> FloatArray:
        """Least server cost (C,) of users that share the clock of server m, for rows of cuts (C, users)."""
        data = self.p
        work = (data.layers - cuts) * data.layer_flops[users] + data.head_flops[users]
        cycles = work / float(data.server_flops_per_cycle[m])
        waiting = self.w_t[users] + self.w_e[users] * data.idle_power_w[users]
        cap = float(data.server_frequency_max_hz[m])
        # Cauchy: sum a_n c_n/F_n with sum F_n <= F_m is least at F_n proportional to sqrt(a_n c_n)
        whole = np.sqrt(waiting * cycles).sum(axis=1)
        if self.time_shared:
            return np.asarray(
                whole**2 / cap + (self.w_e[users] * float(data.server_joules_per_flop[m]) * work).sum(axis=1)
            )
        kappa = self.w_e[users] * float(data.server_kappa[m])
        if not kappa.any():
            return np.asarray(whole**2 / cap)
        kappa = np.maximum(kappa, 1e-300)

        def shares(price: FloatArray) -> FloatArray:
            # stationary: a/F^2 = 2 kappa F + price/c, in y = 1/F: y^3 - P y - Q = 0, one positive root
            linear = np.maximum(price[:, None], 1e-300) / (waiting * np.maximum(cycles, 1e-300))
            constant = 2.0 * kappa / waiting
            with np.errstate(invalid="ignore", over="ignore"):
                angle = 1.5 * constant / linear * np.sqrt(3.0 / linear)
                root = np.where(
                    angle >= 1.0,
                    np.cosh(np.arccosh(np.maximum(angle, 1.0)) / 3.0),
                    np.cos(np.arccos(np.minimum(angle, 1.0)) / 3.0),
                )
            y = np.where(angle < 1e100, 2.0 * np.sqrt(linear / 3.0) * root, np.cbrt(constant))
            return np.where(cycles > 0.0, np.minimum(1.0 / y, cap), 0.0)

        def value(price: FloatArray) -> FloatArray:
            f = np.maximum(shares(price), 1e-300)
            each = np.where(cycles > 0.0, cycles * (waiting / f + kappa * f**2) + price[:, None] * f, 0.0)
            return np.asarray(each.sum(axis=1) - price * cap)

        low, high = np.zeros(len(cuts)), (whole / cap) ** 2
        for _ in range(44):
            middle = 0.5 * (low + high)
            over = shares(middle).sum(axis=1) > cap
            low, high = np.where(over, middle, low), np.where(over, high, middle)
        return np.asarray(np.maximum(value(low), value(high)))

    # ---- everything together ---------------------------------------------------------------------

    def at(self, server: npt.NDArray[np.int64], cut: npt.NDArray[np.int64]) -> float:
        """Least objective over all resources at an association and cuts."""
        total = sum(self.fixed_cost(n, int(cut[n])) for n in range(self.n))
        for m in range(self.m):
            users = [n for n in range(self.n) if server[n] == m]
            if users:
                inside = np.zeros((1, self.n), dtype=bool)
                inside[0, users] = True
                total += float(self.band_costs(inside, np.array([m]))[0][0])
                total += float(self.clock_costs(users, m, np.array([[int(cut[n]) for n in users]]))[0])
                total += sum(self.delay_cost(n, m) for n in users)
        return total

    def delay_cost(self, n: int, m: int) -> float:
        """Fixed delay of a link, idling included."""
        return float((self.w_t[n] + self.w_e[n] * self.p.idle_power_w[n]) * self.p.fixed_delay_s[n, m])

    def dual(self, price_b: FloatArray, price_f: FloatArray) -> float:
        """The Lagrangian bound at prices (M,) per hertz: every user takes its cheapest option alone."""
        data = self.p
        total = -float(price_b @ data.bandwidth_max_hz + price_f @ data.server_frequency_max_hz)
        for n in range(self.n):
            values = [self.fixed_cost(n, data.layers)] if self.cut_allowed(n, data.layers) else []
            cuts = np.array([c for c in range(data.layers) if self.cut_allowed(n, c)])
            for m in map(int, np.flatnonzero(data.gain[n] > 0.0)):
                if not cuts.size:
                    continue
                band, _ = self.band_dual(np.arange(self.n)[None, :] == n, np.array([m]))
                radio = float(band(price_b[m : m + 1])[0] + price_b[m] * data.bandwidth_max_hz[m])
                work = (data.layers - cuts) * data.layer_flops[n] + data.head_flops[n]
                cycles = work / data.server_flops_per_cycle[m]
                waiting = self.w_t[n] + self.w_e[n] * data.idle_power_w[n]
                kappa = 0.0 if self.time_shared else self.w_e[n] * data.server_kappa[m]
                joules = self.w_e[n] * data.server_joules_per_flop[m] if self.time_shared else 0.0

                def clock(
                    log_f: FloatArray, c: FloatArray = cycles, a: float = waiting, k: float = kappa, m: int = m
                ) -> FloatArray:
                    f = np.exp(log_f)
                    return np.asarray(np.where(c > 0.0, c * (a / f + k * f**2) + price_f[m] * f, 0.0))

                top = np.full(cuts.size, math.log(data.server_frequency_max_hz[m]))
                served = np.minimum(clock(section(clock, top - 40.0, top, 60)), clock(top)) + joules * work
                own = np.array([self.fixed_cost(n, int(c)) for c in cuts])
                values.append(float((own + served).min()) + radio + self.delay_cost(n, m))
            total += min(values)
        return total

    def optimum(self) -> float:
        """Least objective over everything, by enumeration; inf if there is no allocation."""
        cuts = [[c for c in range(self.p.layers) if self.cut_allowed(n, c)] for n in range(self.n)]
        local = [
            self.fixed_cost(n, self.p.layers) if self.cut_allowed(n, self.p.layers) else math.inf for n in range(self.n)
        ]
        groups = [list(users) for size in range(1, self.n + 1) for users in itertools.combinations(range(self.n), size)]
        jobs = [
            (m, users)
            for m in range(self.m)
            for users in groups
            if all(self.p.gain[n, m] > 0.0 and cuts[n] for n in users)
        ]
        best: dict[tuple[int, tuple[int, ...]], float] = {}
        if jobs:
            inside = np.zeros((len(jobs), self.n), dtype=bool)
            for row, (_, users) in enumerate(jobs):
                inside[row, users] = True
            radio, _ = self.band_costs(inside, np.array([m for m, _ in jobs]))
            for (m, users), cost in zip(jobs, radio, strict=True):
                table = np.array(list(itertools.product(*(cuts[n] for n in users))))
                own = np.array([[self.fixed_cost(n, c) for c in range(self.p.layers)] for n in users])
                total = self.clock_costs(users, m, table) + own[np.arange(len(users)), table].sum(axis=1)
                best[m, tuple(users)] = float(cost + total.min()) + sum(self.delay_cost(n, m) for n in users)
        lowest = math.inf
        for place in itertools.product(range(-1, self.m), repeat=self.n):
            total_cost = sum(local[n] for n in range(self.n) if place[n] < 0)
            for m in set(place) - {-1}:
                total_cost += best.get((m, tuple(n for n in range(self.n) if place[n] == m)), math.inf)
            lowest = min(lowest, total_cost)
        return lowest
