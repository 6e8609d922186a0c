"""A second proof for middle sizes: outer approximation of SplitTraining as a MILP, solved by HiGHS.

Binaries x[n, m, cut]; shares b[n, m] and F[n, m] of a server; a cost e[n, m] held from below by

    e[n, m] >= sum over cuts of v(n, m, cut; l, u) x[n, m, cut] - l b[n, m] - u F[n, m]

where v is the least cost of an option that buys its band at price l and its clock at price u. Every pair of prices
gives a valid cut, with deadlines too: v may then be any value of the dual over the price of being late. Without
deadlines band and clock fall apart, and each has its own cost. Cuts are added at the prices of the linear program
and at those of each incumbent, for which they are exact.

The numbers v are the twin's kind: golden section on values. Incumbents are priced by the barrier of `limits_twin`.
Nothing comes from the library but the arrays of the problem. "exactly" and rounds are left to `limits_twin`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt
from limits_twin import Barrier, LimitsTwin, Solved
from twin import golden

import edgealloc as ea

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: What golden section may be above the minimum it looks for, relative: taken off every v.
_GUARD = 1e-9


@dataclass(frozen=True)
class Proof:
    """Lower bound, value and place of the best allocation found (inf, empty where none), seconds, rounds of MILPs."""

    bound: float
    objective: float
    server: IntArray
    cut: IntArray
    seconds: float
    rounds: int

    @property
    def gap(self) -> float:
        """Relative gap."""
        return (self.objective - self.bound) / self.objective if math.isfinite(self.objective) else math.inf


@dataclass(frozen=True)
class Options:
    """Every (user, server, cut) left, (O,) each; server -1 is fully local."""

    user: IntArray
    server: IntArray
    cut: IntArray
    link: IntArray  # row of (user, server), -1 if local
    links: IntArray  # (L, 2)


class Pricing:
    """Least costs of options at prices."""

    def __init__(self, limits: LimitsTwin, options: Options) -> None:
        self.limits, self.o = limits, options
        twin, data = limits.twin, limits.p
        n, m = options.links[options.link, 0], options.links[options.link, 1]
        self.k1, self.k2, self.low, self.high = twin._radio_terms(n.astype(float), m.astype(float))
        self.nats = data.upload_bits[n] * math.log(2.0)
        self.band, self.clock = data.bandwidth_max_hz[m], data.server_frequency_max_hz[m]
        work = (data.layers - options.cut) * data.layer_flops[n] + data.head_flops[n]
        self.cycles = work / data.server_flops_per_cycle[m]
        self.waiting = twin.w_t[n] + twin.w_e[n] * data.idle_power_w[n]
        self.kappa = np.zeros(n.size) if twin.time_shared else twin.w_e[n] * data.server_kappa[m]
        self.device = options.cut * data.layer_flops[n] / data.user_flops_per_cycle[n]
        self.w_t, self.device_kappa = twin.w_t[n], twin.w_e[n] * data.user_kappa[n]
        self.f_low, self.f_high = data.user_frequency_min_hz[n], data.user_frequency_max_hz[n]
        fixed_s = data.fixed_delay_s[n, m]
        joules = twin.w_e[n] * data.server_joules_per_flop[m] * work if twin.time_shared else 0.0
        unstable = np.array([twin.w_s[i] * twin.instability(int(i), int(c)) if twin.w_s[i] else 0.0
                             for i, c in zip(n, options.cut, strict=True)])
        self.constant = self.waiting * fixed_s + joules + unstable
        self.left = limits.deadline[n] - fixed_s
        self.penalty = limits.penalty[n]
        self.late = limits.binding[n]

    def radio(self, price: FloatArray, extra: FloatArray, rows: BoolArray) -> FloatArray:
        """Least radio cost + price x band, the upload's second dearer by `extra`."""
        k1, k2 = self.k1[rows] + extra * self.nats[rows], self.k2[rows]
        low, high, band = self.low[rows], self.high[rows], self.band[rows]
        price = np.maximum(price, 1e-300)
        with np.errstate(divide="ignore", over="ignore"):
            wanted = 0.3 * np.sqrt(np.minimum(k1 / np.maximum(band * k2, 1e-300), 1.0))
            floor = np.minimum(np.log(np.maximum(wanted, 1e-30)), np.log(high / band))
        start = np.where(low > 0.0, np.maximum(np.log(np.maximum(low, 1e-300) / band), floor), floor)
        stop = np.maximum(np.log(high / band), 0.0) + 50.0

        def priced(log_ratio: FloatArray) -> FloatArray:
            # at a ratio P/b the best b is a clipped square root, and the rest is convex in the ratio's logarithm
            growth = np.exp(log_ratio)
            x = np.log1p(growth)
            b = np.minimum(np.maximum(np.sqrt(k1 / (price * x)), low / growth), np.minimum(band, high / growth))
            return np.asarray(k1 / (b * x) + k2 * growth / x + price * b)

        with np.errstate(over="ignore"):  # a price of nothing
            best = priced(golden(priced, start, stop, 40))
            return np.minimum(best, np.minimum(priced(start), priced(np.log(high / band))))

    def served(self, price: FloatArray, extra: FloatArray, rows: BoolArray) -> FloatArray:
        """Least server cost + price x clock."""
        a, c, cap, kappa = self.waiting[rows] + extra, self.cycles[rows], self.clock[rows], self.kappa[rows]

        def cost(log_f: FloatArray) -> FloatArray:
            f = np.exp(log_f)
            return np.asarray(c * (a / f + kappa * f**2) + price * f)

        with np.errstate(divide="ignore", over="ignore"):
            free = np.minimum(np.sqrt(a * c / np.maximum(price, 1e-300)), cap)
        if not kappa.any():
            return cost(np.log(free))
        with np.errstate(divide="ignore", over="ignore"):
            # one of the two terms that oppose speed is at least half of what drives it
            least = np.minimum(np.sqrt(a * c / np.maximum(2.0 * price, 1e-300)), np.cbrt(a / np.maximum(
                4.0 * kappa, 1e-300)))
        ends = np.log(np.minimum(0.9 * least, free)), np.log(free)
        return np.minimum(cost(golden(cost, *ends, 40)), np.minimum(cost(ends[0]), cost(ends[1])))

    def own(self, extra: FloatArray, rows: BoolArray) -> FloatArray:
        """Device, instability and fixed costs."""
        w, kappa = self.w_t[rows] + extra, self.device_kappa[rows]
        best = np.cbrt(w / np.maximum(2.0 * kappa, 1e-300))
        f = np.clip(best, self.f_low[rows], self.f_high[rows])
        return np.asarray(self.device[rows] * (w / f + kappa * f**2) + self.constant[rows])

    def joint(self, band: FloatArray, clock: FloatArray) -> FloatArray:
        """v of every option at prices per hertz (O,), the deadline priced by golden section."""
        every, none = np.ones(band.size, dtype=bool), np.zeros(band.size)
        value = self.radio(band, none, every) + self.served(clock, none, every) + self.own(none, every)
        if not self.late.any():
            return value
        rows = self.late.copy()
        unit = value / np.where(np.isfinite(self.left) & (self.left > 0.0), self.left, 1.0)

        def dual(theta: FloatArray, rows: BoolArray) -> FloatArray:
            return np.asarray(self.radio(band[rows], theta, rows) + self.served(clock[rows], theta, rows)
                              + self.own(theta, rows) - theta * self.left[rows])

        tiny = np.minimum(1e-6 * unit, self.penalty)
        rows[rows] = dual(tiny[rows], rows) > value[rows]  # otherwise the deadline is kept for nothing
        if not rows.any():
            return value
        top = np.log(np.minimum(self.penalty[rows], 1e5 * unit[rows]))
        best = golden(lambda s: -dual(np.exp(s), rows), np.log(tiny[rows]), top, 26)
        found = dual(np.exp(best), rows)
        value[rows] = np.maximum(value[rows], np.maximum(found, dual(np.exp(top), rows)))
        return value


class MilpTwin:
    """Outer approximation of one problem; see the top of this file."""

    def __init__(self, problem: ea.SplitTraining) -> None:
        if problem.resource_sense != "at_most" or problem.delay != "sum":
            raise ValueError("only sums of delays with at-most resources are taken here")
        self.p: Any = problem
        self.limits = LimitsTwin(problem)
        self.o = self._options()
        self.split = self.o.server >= 0
        self.joint = bool(self.limits.binding.any())
        o, split = self.o, self.split
        remote = Options(o.user[split], o.server[split], o.cut[split], o.link[split], o.links)
        self.pricing = Pricing(self.limits, remote)
        self.remote = remote

    def _options(self) -> Options:
        limits, data = self.limits, self.p
        rows: list[tuple[int, int, int, int]] = []  # user, server, cut, link
        links: list[tuple[int, int]] = []
        for n in range(limits.n):
            if math.isfinite(limits._alone(n)):
                rows.append((n, -1, data.layers, -1))
            cuts = np.array([c for c in range(data.layers) if limits.twin.cut_allowed(n, c)], dtype=np.int64)
            for m in range(limits.m):
                if not cuts.size or not data.gain[n, m] > 0.0:
                    continue
                fits = limits._memory_fits(m, [n], cuts[:, None]) & limits._in_time(m, [n], cuts[:, None])
                rows += [(n, m, int(c), len(links)) for c in cuts[fits]]
                if fits.any():
                    links.append((n, m))
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)
        pairs = np.array(links, dtype=np.int64).reshape(-1, 2)
        return Options(table[:, 0], table[:, 1], table[:, 2], table[:, 3], pairs)

    # ---- the model -------------------------------------------------------------------------------

    def _build(self) -> None:
        """Columns: x (O), then per link b, F, e (and a cost of the clock where it stands apart)."""
        o, data = self.o, self.p
        links = len(o.links)
        self.x0, self.b0 = 0, o.user.size
        self.f0, self.e0 = self.b0 + links, self.b0 + 2 * links
        self.s0 = self.e0 + (0 if self.joint else links)
        columns = self.s0 + links
        cost = np.zeros(columns)
        alone = self.alone = np.array([self.limits._alone(n) for n in range(self.limits.n)])
        cost[: o.user.size] = np.where(self.split, 0.0, alone[o.user])
        if not self.joint:  # what no price changes is paid with x
            none = np.zeros(self.remote.user.size)
            cost[np.flatnonzero(self.split)] = self.pricing.own(none, np.ones(none.size, dtype=bool))
        cost[self.e0:] = 1.0
        fair = self._fair_prices()
        if not links:
            self.scale = float(alone.sum()) / self.limits.n
        else:
            value = self.pricing.joint(*(v[self.remote.server] for v in fair))
            least = np.full(self.limits.n, np.inf)
            np.minimum.at(least, self.remote.user, value)
            self.scale = float(np.minimum(least, alone).sum()) / self.limits.n
        cost[: o.user.size] /= self.scale
        self.h = h = highspy.Highs()
        h.setOptionValue("output_flag", False)
        h.setOptionValue("threads", 1)
        h.addVars(columns, np.zeros(columns), np.where(np.arange(columns) < self.e0, 1.0, highspy.kHighsInf))
        h.changeColsCost(columns, np.arange(columns, dtype=np.int32), cost)
        for n in range(self.limits.n):
            self._row(1.0, 1.0, {int(i): 1.0 for i in np.flatnonzero(o.user == n)})
        self.band_row = h.getNumRow()
        for first in (self.b0, self.f0):
            for m in range(self.limits.m):
                mine = np.flatnonzero(o.links[:, 1] == m)
                self._row(-highspy.kHighsInf, 1.0, {int(first + i): 1.0 for i in mine})
        for i in range(links):
            for first in (self.b0, self.f0):
                row = {int(j): -1.0 for j in np.flatnonzero(o.link == i)}
                self._row(-highspy.kHighsInf, 0.0, row | {first + i: 1.0})
        for m in range(self.limits.m):
            mine = np.flatnonzero(o.server == m)
            if data.users_per_server is not None:
                self._row(-highspy.kHighsInf, float(data.users_per_server[m]), {int(j): 1.0 for j in mine})
            if data.server_memory_bytes is not None and np.isfinite(data.server_memory_bytes[m]):
                need = data.server_memory_bytes_fixed[o.user[mine]] + (
                    data.layers - o.cut[mine]) * data.server_memory_bytes_per_layer[o.user[mine]]
                room = max(float(data.server_memory_bytes[m]), 1e-300)
                self._row(-highspy.kHighsInf, 1.0 + 1e-9, dict(zip(map(int, mine), need / room, strict=True)))

    def _row(self, low: float, high: float, row: dict[int, float]) -> None:
        self.h.addRow(low, high, len(row), np.array(list(row), dtype=np.int32), np.array(list(row.values())))

    def _fair_prices(self) -> tuple[FloatArray, FloatArray]:
        """Prices per hertz (M,) of the right size: what the mean user loses with its fair share."""
        pricing, m = self.pricing, self.remote.server
        share = self.limits.m / self.limits.n
        band, clock = np.zeros(self.limits.m), np.zeros(self.limits.m)
        for i in range(self.limits.m):
            mine = m == i
            if mine.any():
                part = share * pricing.band[mine]
                cost = (pricing.k1 + pricing.k2 * pricing.high)[mine] / (part * np.log1p(pricing.high[mine] / part))
                band[i] = np.median(cost / part)
                part = share * pricing.clock[mine]
                clock[i] = np.median(pricing.waiting[mine] * pricing.cycles[mine] / part**2)
        return band, clock

    def _cut(self, band: FloatArray, clock: FloatArray) -> float:
        """Cuts of every link at prices per hertz (M,); returns the Lagrangian bound at these prices, the limits on
        whole numbers left out."""
        m = self.remote.server
        every, none = np.ones(m.size, dtype=bool), np.zeros(m.size)
        if self.joint:
            kinds = [(self.pricing.joint(band[m], clock[m]), self.e0, True, True)]
        else:
            kinds = [(self.pricing.radio(band[m], none, every), self.e0, True, False),
                     (self.pricing.served(clock[m], none, every), self.s0, False, True)]
        columns = np.flatnonzero(self.split)
        whole = self.alone[self.o.user]
        whole[columns] = sum((value for value, *_ in kinds), start=np.zeros(m.size))
        if not self.joint:
            whole[columns] += self.pricing.own(none, every)
        least = np.full(self.limits.n, np.inf)
        np.minimum.at(least, self.o.user, whole)
        for value, first, by_band, by_clock in kinds:
            scaled = value * (1.0 - _GUARD) / self.scale
            order = np.argsort(self.remote.link, kind="stable")
            groups = np.split(order, np.cumsum(np.bincount(self.remote.link))[:-1])
            for i, rows in enumerate(groups):
                server = self.o.links[i, 1]
                row = {int(columns[j]): -float(scaled[j]) for j in rows} | {int(first + i): 1.0}
                if by_band:
                    row[self.b0 + i] = float(band[server] * self.p.bandwidth_max_hz[server] / self.scale)
                if by_clock:
                    row[self.f0 + i] = float(clock[server] * self.p.server_frequency_max_hz[server] / self.scale)
                self._row(0.0, highspy.kHighsInf, row)
        spent = band @ self.p.bandwidth_max_hz + clock @ self.p.server_frequency_max_hz
        return float(least.sum() * (1.0 - _GUARD) - spent)

    # ---- the method ------------------------------------------------------------------------------

    def prove(self, gap: float = 1e-4, seconds: float = 60.0) -> Proof:
        """Bound and incumbent until they are within `gap` or time is up."""
        began = time.perf_counter()
        empty = np.zeros(0, dtype=np.int64)
        best = Proof(-math.inf, math.inf, empty, empty, 0.0, 0)
        self.root, self.reduced = -math.inf, np.zeros(self.o.user.size)
        if set(self.o.user.tolist()) != set(range(self.limits.n)):
            return Proof(math.inf, math.inf, empty, empty, time.perf_counter() - began, 0)
        self._build()
        if len(self.o.links):
            fair = self._fair_prices()
            for factor in 10.0 ** np.linspace(-2.0, 2.0, 5 if self.joint else 9):
                self._cut(fair[0] * factor, fair[1] * factor)
            bound = self._root(gap, began + 0.4 * seconds)
            best = self._rounded(Proof(bound, math.inf, empty, empty, 0.0, 0))
            self._fix(best.objective)
        columns = np.arange(self.o.user.size, dtype=np.int32)
        self.h.changeColsIntegrality(columns.size, columns, np.array([highspy.HighsVarType.kInteger] * columns.size))
        self.h.setOptionValue("mip_rel_gap", 0.3 * gap)
        rounds = 0
        while best.gap > gap and time.perf_counter() - began < seconds:
            rounds += 1
            best = self._mip(best, began, seconds, rounds)
            self._fix(best.objective)
            if math.isinf(best.bound):
                break
        return best

    def _root(self, gap: float, until: float) -> float:
        """Cuts until the linear program stops rising: at its duals, and halfway to the best prices so far, which
        keeps the duals from swinging."""
        bound, stalled = -math.inf, 0
        centre, highest = np.concatenate(self._fair_prices()), -math.inf
        capacity = np.concatenate([self.p.bandwidth_max_hz, self.p.server_frequency_max_hz])
        for _ in range(60):
            self.h.run()
            if self.h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                break
            value = self.h.getInfo().objective_function_value * self.scale
            stalled = stalled + 1 if value <= bound + 0.1 * gap * abs(value) else 0
            bound = max(bound, value)
            solution = self.h.getSolution()
            self.root, self.reduced = bound, np.array(solution.col_dual)[: self.o.user.size] * self.scale
            if stalled >= 3 or time.perf_counter() > until:
                break
            dual = -np.array(solution.row_dual)[self.band_row:self.band_row + 2 * self.limits.m]
            wanted = np.maximum(dual, 0.0) * self.scale / capacity
            for prices in (wanted, 0.5 * (wanted + centre)):
                reached = self._cut(prices[: self.limits.m], prices[self.limits.m:])
                if reached > highest:
                    centre, highest = prices, reached
        return bound * (1.0 - 1e-7)  # tolerances of the linear program

    def _fix(self, objective: float) -> None:
        """Forbid options that the root's reduced costs price above the incumbent."""
        if math.isfinite(objective) and math.isfinite(self.root):
            dear = np.flatnonzero(self.root + self.reduced > objective * (1.0 + 1e-6)).astype(np.int32)
            if dear.size:
                self.h.changeColsBounds(dear.size, dear, np.zeros(dear.size), np.zeros(dear.size))

    def _mip(self, best: Proof, began: float, seconds: float, rounds: int) -> Proof:
        """One MILP; its incumbent gets its true cost, and cuts that hold it to that."""
        self.h.setOptionValue("time_limit", self.h.getRunTime() + max(1.0, seconds - (time.perf_counter() - began)))
        self.h.run()
        status, info = self.h.getModelStatus(), self.h.getInfo()
        spent = time.perf_counter() - began
        if status == highspy.HighsModelStatus.kInfeasible:
            # nothing is left: nothing at all, or nothing better than the incumbent
            return Proof(best.objective, best.objective, best.server, best.cut, spent, rounds)
        bound = max(best.bound, info.mip_dual_bound * self.scale * (1.0 - 1e-7))
        objective, server, cut = best.objective, best.server, best.cut
        chosen = np.flatnonzero(np.array(self.h.getSolution().col_value)[: self.o.user.size] > 0.5)
        if chosen.size == self.limits.n:
            objective, server, cut = self._priced(chosen, objective, server, cut)
        return Proof(min(bound, objective), objective, server, cut, time.perf_counter() - began, rounds)

    def _priced(self, chosen: IntArray, objective: float, server: IntArray, cut: IntArray) -> tuple[
            float, IntArray, IntArray]:
        """The true cost of a choice of options, with the cuts that hold it to that; the better of it and the best."""
        place, layers = self.o.server[chosen], self.o.cut[chosen]
        solved = Barrier(self.limits.twin, place[None, :], layers[None, :]).solve(gap=1e-8)
        if math.isinf(solved.cost[0]):  # deadlines cannot be kept together: this very choice is out
            self._row(-highspy.kHighsInf, chosen.size - 1.0, {int(j): 1.0 for j in chosen})
        elif len(self.o.links):
            self._cut(*self._prices(place, solved))
        if solved.cost[0] < objective and self.limits.allowed(place, layers):
            return float(solved.cost[0]), place, layers
        return objective, server, cut

    def _rounded(self, best: Proof) -> Proof:
        """The likeliest option of everybody in the linear program."""
        x = np.array(self.h.getSolution().col_value)[: self.o.user.size]
        if x.size < self.o.user.size:
            return best
        chosen = np.array([max(np.flatnonzero(self.o.user == n), key=lambda i: x[i]) for n in range(self.limits.n)])
        objective, server, cut = self._priced(chosen, best.objective, best.server, best.cut)
        return Proof(min(best.bound, objective), objective, server, cut, best.seconds, best.rounds)

    def _prices(self, server: IntArray, solved: Solved) -> tuple[FloatArray, FloatArray]:
        """Prices per hertz at an incumbent; a server that it does not use has its fair price."""
        used = np.bincount(server[server >= 0], minlength=self.limits.m) > 0
        fair = self._fair_prices()
        return (np.where(used, solved.band_price[0] / self.p.bandwidth_max_hz, fair[0]),
                np.where(used, solved.clock_price[0] / self.p.server_frequency_max_hz, fair[1]))


def prove(problem: ea.SplitTraining, gap: float = 1e-4, seconds: float = 60.0) -> Proof:
    """Lower bound and incumbent of a problem by outer approximation; both inf where it is infeasible."""
    return MilpTwin(problem).prove(gap, seconds)
