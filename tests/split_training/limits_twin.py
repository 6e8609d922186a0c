"""An independent optimum of SplitTraining under every limit, by enumeration, for tiny instances.

`LimitsTwin(problem).optimum()` gives the least objective, the association and the cuts. Like `twin`, it reads
the numbers of a problem and shares no code with the library. Where the library prices deadlines (a dual), this
goes the primal way:

- who is where and every cut are enumerated within the integer limits, best lower bound first. The bound is the
  twin's own cost without deadlines; under ``delay="max"`` the round is bounded below by a weighted sum of delays;
- at a given association and cuts, the rest is convex in (log b, log p, F, log f, lateness, round): cost and
  upload time are log-convex in (log b, log p), everything else is convex term by term, and every sum of shares
  is convex too. A log-barrier Newton method solves a whole batch of such problems at once (`Barrier`): first for
  the least lateness where a deadline is hard, then for the cost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from twin import Twin, section

import edgealloc as ea

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Where a user of a batch is if it takes no part.
ABSENT = -2
#: Variables of a user: log of its share of the band, log p/p_max, share of the clock, log f/f_max, lateness.
_Q, _Y, _F, _G, _L = range(5)
_EDGE = 1e-7  # lateness relative to the deadline that nobody can tell from 0


class Priced(Twin):
    """The twin with delay weights of one's own, those of the upload apart, and clocks that must be handed out."""

    def __init__(self, problem: ea.SplitTraining, delay: FloatArray, upload: FloatArray) -> None:
        super().__init__(problem)
        self.w_t, self.w_up = delay, upload

    def _radio_terms(self, n: FloatArray, m: FloatArray) -> tuple[FloatArray, ...]:
        _, k2, low, high = super()._radio_terms(n, m)
        users = n.astype(int)
        nats = self.p.upload_bits[users] * math.log(2.0)
        return (self.w_up[users] + self.w_e[users] * self.p.circuit_power_w[users]) * nats, k2, low, high

    def clock_costs(self, users: list[int], m: int, cuts: IntArray) -> FloatArray:
        """Least server cost; with clock-scaled energy and "exactly" the price of the clock may be negative."""
        data = self.p
        if data.resource_sense == "at_most" or self.time_shared:
            return super().clock_costs(users, m, cuts)
        work = (data.layers - cuts) * data.layer_flops[users] + data.head_flops[users]
        cycles = work / float(data.server_flops_per_cycle[m])
        waiting = np.maximum(self.w_t[users] + self.w_e[users] * data.idle_power_w[users], 1e-300)
        kappa = np.maximum(self.w_e[users] * float(data.server_kappa[m]), 1e-300)
        cap = float(data.server_frequency_max_hz[m])

        def shares(price: FloatArray) -> FloatArray:
            # in y = 1/F: y^3 - P y - Q = 0, P of either sign, one positive root
            linear, constant = price[:, None] / (waiting * cycles), 2.0 * kappa / waiting
            size = np.maximum(np.abs(linear), 1e-60 * np.cbrt(constant) ** 2)
            with np.errstate(over="ignore"):
                angle = 1.5 * constant / size * np.sqrt(3.0 / size)
            up = np.where(angle >= 1.0, np.cosh(np.arccosh(np.maximum(angle, 1.0)) / 3.0),
                          np.cos(np.arccos(np.minimum(angle, 1.0)) / 3.0))
            down = np.sinh(np.arcsinh(np.minimum(angle, 1e250)) / 3.0)
            y = np.where(angle < 1e60, 2.0 * np.sqrt(size / 3.0) * np.where(linear > 0.0, up, down), np.cbrt(constant))
            return np.asarray(1.0 / np.maximum(y, 1e-3 / cap))

        low = -(2.0 * kappa * cycles * cap).max(axis=1)
        high = (np.sqrt(waiting * cycles).sum(axis=1) / cap) ** 2
        for _ in range(60):
            middle = 0.5 * (low + high)
            over = shares(middle).sum(axis=1) > cap
            low, high = np.where(over, middle, low), np.where(over, high, middle)
        f = shares(0.5 * (low + high))
        f *= cap / f.sum(axis=1)[:, None]
        return np.asarray((cycles * (waiting / f + kappa * f**2)).sum(axis=1))


@dataclass(frozen=True)
class Goal:
    """What one run of the barrier minimises: weights of the terms, and which limits count; see `Barrier`."""

    device_time: FloatArray  # cost per 1/f
    device_energy: FloatArray  # per f^2
    upload: FloatArray  # per second
    radiated: FloatArray  # per second and p/p_max
    server_time: FloatArray  # per 1/F
    server_energy: FloatArray  # per F^2
    late: FloatArray  # per unit of lateness
    common: FloatArray  # (K,) per unit of the common variable
    dead: BoolArray  # deadline counts
    dead_scale: FloatArray
    dead_time: FloatArray
    dead_common: FloatArray  # how much of the common variable is added to the deadline
    round: BoolArray  # the common variable is the round, in units of `round_scale`
    round_scale: FloatArray


@dataclass
class Point:
    """Value, slacks, gradients and curvatures at one point of the batch."""

    value: FloatArray
    slack: FloatArray
    time: FloatArray
    parts: dict[str, FloatArray] = field(default_factory=dict)


class Barrier:
    """A batch of convex problems at fixed association and cuts: place and cut (K, N), -1 local, ABSENT nowhere."""

    def __init__(self, twin: Twin, place: IntArray, cut: IntArray) -> None:
        data = twin.p
        self.twin, self.place, self.cut = twin, place, cut
        self.k, self.n, self.m = len(place), twin.n, twin.m
        self.present, self.remote = place > ABSENT, place >= 0
        self.at = place[:, None, :] == np.arange(self.m)[None, :, None]  # (K, M, N)
        m = np.maximum(place, 0)
        users = np.arange(self.n)
        local = place == -1
        work = cut * data.layer_flops + np.where(local, data.head_flops, 0.0)
        self.device_s = np.where(self.present, work / (data.user_flops_per_cycle * data.user_frequency_max_hz), 0.0)
        self.device_j = data.user_kappa * data.user_frequency_max_hz**3 * self.device_s
        rest = np.where(self.remote, (data.layers - cut) * data.layer_flops + data.head_flops, 0.0)
        cycles = rest / data.server_flops_per_cycle[m]
        self.server_s = cycles / data.server_frequency_max_hz[m]
        self.server_j = np.zeros_like(self.server_s)
        self.constant_j = np.zeros_like(self.server_s)
        if twin.time_shared:
            self.constant_j = data.server_joules_per_flop[m] * rest
        else:
            self.server_j = data.server_kappa[m] * data.server_frequency_max_hz[m] ** 2 * cycles
        band = data.bandwidth_max_hz[m]
        self.nats_s = np.where(self.remote, data.upload_bits * math.log(2.0) / band, 0.0)
        gain = np.where(self.remote, data.gain[users, m], 1.0)
        self.log_snr = np.log(gain * data.power_max_w / (twin.noise * band))
        self.fixed_s = np.where(self.remote, data.fixed_delay_s[users, m], 0.0)
        self.exactly = data.resource_sense == "exactly" and not twin.time_shared
        self._boxes()

    def _boxes(self) -> None:
        """Bounds, and which variables move. Sums already bound the shares from above."""
        data, shape = self.twin.p, (self.k, self.n)
        with np.errstate(divide="ignore"):
            low_p = np.maximum(np.log(data.power_min_w / data.power_max_w), -70.0)
            low_f = np.maximum(np.log(data.user_frequency_min_hz / data.user_frequency_max_hz), -40.0)
        self.low = np.stack([np.full(shape, -35.0), np.broadcast_to(low_p, shape), np.full(shape, 1e-14),
                             np.broadcast_to(low_f, shape), np.zeros(shape)], axis=2)
        self.high = np.stack([np.full(shape, np.inf), np.zeros(shape), np.full(shape, np.inf), np.zeros(shape),
                              np.full(shape, np.inf)], axis=2)
        count = np.maximum(self.at.sum(axis=2), 1)
        alone = 1.0 / np.take_along_axis(count, np.maximum(self.place, 0), axis=1)
        self.moves = np.stack([self.remote, self.remote, self.remote, self.device_s > 0.0,
                               np.zeros(shape, dtype=bool)], axis=2) & (self.high - self.low > 1e-12)
        share = alone * (1.0 if self.exactly else 0.9)
        self.start = np.stack([np.log(0.9 * alone), np.maximum(0.5 * low_p, -0.1) + np.zeros(shape), share,
                               np.maximum(0.5 * low_f, -0.1) + np.zeros(shape), np.zeros(shape)], axis=2)

    # ---- one point -------------------------------------------------------------------------------

    def look(self, goal: Goal, x: FloatArray, common: FloatArray, moves: BoolArray) -> Point:
        """Value and slacks (K, everything) at x (K, N, 5); slacks that do not count are 1."""
        q, y, share, g, late = (x[:, :, i] for i in range(5))
        with np.errstate(over="ignore", invalid="ignore"):
            b, p, f = np.exp(q), np.exp(y), np.exp(g)
            v = self.log_snr + y - q
            snr = np.exp(v)
            nats = np.log1p(snr)
            tau = self.nats_s / (b * nats)
            bend = snr / ((1.0 + snr) * nats)
            device, server = self.device_s / f, np.where(self.remote, self.server_s / share, 0.0)
            time = device + tau + server
            each = goal.device_time / f + goal.device_energy * f**2 + goal.upload * tau + goal.radiated * tau * p
            each = each + np.where(self.remote, goal.server_time / share + goal.server_energy * share**2, 0.0)
            each = each + goal.late * late
            value = np.where(self.present, each, 0.0).sum(axis=1) + goal.common * common
            dead = goal.dead_time + late + goal.dead_common * common[:, None] - time / goal.dead_scale
            over = common[:, None] - (time + self.fixed_s) / goal.round_scale[:, None]
            band = 1.0 - np.where(self.at, b[:, None, :], 0.0).sum(axis=2)
            clock = 1.0 - np.where(self.at, share[:, None, :], 0.0).sum(axis=2)
        used = self.at.any(axis=2)
        slack = np.concatenate([
            np.where(goal.dead, dead, 1.0), np.where(goal.round, over, 1.0), np.where(used, band, 1.0),
            np.where(used & (not self.exactly), clock, 1.0),
            np.where(moves, x - self.low, 1.0).reshape(self.k, -1),
            np.where(moves & np.isfinite(self.high), self.high - x, 1.0).reshape(self.k, -1),
        ], axis=1)
        parts = {"b": b, "p": p, "f": f, "snr": snr, "tau": tau, "bend": bend, "device": device, "server": server}
        return Point(np.where(np.isfinite(value), value, np.inf), slack, time, parts)

    def newton(
        self, goal: Goal, x: FloatArray, moves: BoolArray, shared: BoolArray, t: FloatArray, point: Point
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Direction (K, N, 5), direction of the common variable (K,), squared decrement (K,)."""
        k, n, size = self.k, self.n, 5 * self.n + 1
        z = point.parts
        tau, bend, p, f = z["tau"], z["bend"], z["p"], z["f"]
        share = np.where(self.remote, x[:, :, _F], 1.0)
        curve = -bend * (1.0 / (1.0 + z["snr"]) - bend)  # of log tau along (1, -1)
        inverse = 1.0 / point.slack
        by_dead, by_round = inverse[:, :n] * goal.dead, inverse[:, n:2 * n] * goal.round
        # weight of one second of each user in the gradient: of the limits only
        limit = by_dead / goal.dead_scale + by_round / goal.round_scale[:, None]
        tk = t[:, None]
        per_tau, per_tau_p = tk * goal.upload + limit, tk * goal.radiated * p
        per_device, per_f2 = tk * goal.device_time / f + limit * z["device"], tk * goal.device_energy * f**2
        per_server = tk * np.where(self.remote, goal.server_time, 0.0) + limit * self.server_s
        per_clock = tk * np.where(self.remote, goal.server_energy, 0.0)
        gradient = np.zeros((k, size))
        hessian = np.zeros((k, size, size))
        cells = gradient[:, :-1].reshape(k, n, 5)  # views: what is written here lands in `gradient`
        base = 5 * np.arange(n)
        first = bend - 1.0  # d log tau / dq; -bend is d/dy
        both = per_tau + per_tau_p
        cells[:, :, _Q] = tau * both * first
        cells[:, :, _Y] = tau * (per_tau * -bend + per_tau_p * -first)
        cells[:, :, _F] = -per_server / share**2 + 2.0 * per_clock * share
        cells[:, :, _G] = -per_device + 2.0 * per_f2
        cells[:, :, _L] = tk * goal.late - by_dead
        gradient[:, -1] = t * goal.common - (by_dead * goal.dead_common).sum(axis=1) - by_round.sum(axis=1)
        hessian[:, base + _Q, base + _Q] = tau * both * (first**2 + curve)
        mixed = tau * (per_tau * (-first * bend - curve) + per_tau_p * (-(first**2) - curve))
        hessian[:, base + _Q, base + _Y] = hessian[:, base + _Y, base + _Q] = mixed
        hessian[:, base + _Y, base + _Y] = tau * (per_tau * (bend**2 + curve) + per_tau_p * (first**2 + curve))
        hessian[:, base + _F, base + _F] = 2.0 * per_server / share**3 + 2.0 * per_clock
        hessian[:, base + _G, base + _G] = per_device + 4.0 * per_f2
        # gradients of the slacks that couple variables
        jacobian = np.zeros((k, 2 * n + 2 * self.m, size))
        rows = np.arange(n)
        slopes = {_Q: -tau * first, _Y: tau * bend, _F: self.server_s / share**2, _G: z["device"]}
        for i, slope in slopes.items():
            jacobian[:, rows, base + i] = np.where(goal.dead, slope / goal.dead_scale, 0.0)
            jacobian[:, n + rows, base + i] = np.where(goal.round, slope / goal.round_scale[:, None], 0.0)
        jacobian[:, rows, base + _L] = goal.dead
        jacobian[:, :n, -1] = goal.dead * goal.dead_common
        jacobian[:, n:2 * n, -1] = goal.round
        b = np.where(self.at, z["b"][:, None, :], 0.0)
        jacobian[:, 2 * n:2 * n + self.m, base + _Q] = -b
        band = inverse[:, 2 * n:2 * n + self.m]
        pull = (b * band[:, :, None]).sum(axis=1)
        cells[:, :, _Q] += pull
        hessian[:, base + _Q, base + _Q] += pull
        if not self.exactly:
            jacobian[:, 2 * n + self.m:, base + _F] = -self.at.astype(float)
            cells[:, :, _F] += (self.at * inverse[:, 2 * n + self.m:2 * n + 2 * self.m, None]).sum(axis=1)
        scaled = jacobian * inverse[:, :2 * n + 2 * self.m, None]
        hessian += np.swapaxes(scaled, 1, 2) @ scaled
        edge = 2 * n + 2 * self.m
        down, up = inverse[:, edge:edge + 5 * n], inverse[:, edge + 5 * n:]
        bounded = (moves & np.isfinite(self.high)).reshape(k, -1)
        down, up = np.where(moves.reshape(k, -1), down, 0.0), np.where(bounded, up, 0.0)
        gradient[:, :-1] += up - down
        diagonal = np.arange(size - 1)
        hessian[:, diagonal, diagonal] += up**2 + down**2
        still = ~np.concatenate([moves.reshape(k, -1), shared[:, None]], axis=1)
        step = self._solve(gradient, hessian, share, still)
        return step[:, :-1].reshape(k, n, 5), step[:, -1], -(np.where(step == 0.0, 0.0, gradient) * step).sum(axis=1)

    def _solve(self, gradient: FloatArray, hessian: FloatArray, share: FloatArray, still: BoolArray) -> FloatArray:
        """Newton step; where clocks must be handed out, the largest share of a server takes what the others leave."""
        size = gradient.shape[1]
        diagonal = np.arange(size)
        base = np.broadcast_to(np.eye(size), hessian.shape)
        still = still.copy()
        if self.exactly:
            base = base.copy()
            for m in range(self.m):
                rows = np.flatnonzero(self.at[:, m].any(axis=1))
                last = 5 * np.where(self.at[rows, m], share[rows], -1.0).argmax(axis=1) + _F
                base[rows, last] = 0.0
                base[rows[:, None], last[:, None], 5 * np.arange(self.n) + _F] = -self.at[rows, m].astype(float)
                base[rows, last, last] = 0.0
                still[rows, last] = True
            turned = np.swapaxes(base, 1, 2)
            hessian, reduced = turned @ hessian @ base, (turned @ gradient[:, :, None])[:, :, 0]
        else:
            reduced = gradient.copy()
        reduced[still] = 0.0
        hessian[still[:, :, None] | still[:, None, :]] = 0.0
        spot, i = np.nonzero(still)
        hessian[spot, i, i] = 1.0
        scale = 1.0 / np.sqrt(np.maximum(hessian[:, diagonal, diagonal], 1e-300))
        matrix = hessian * scale[:, :, None] * scale[:, None, :]
        matrix[:, diagonal, diagonal] += 1e-14
        step = np.linalg.solve(matrix, -(reduced * scale)[:, :, None])[:, :, 0] * scale
        return np.asarray((base @ step[:, :, None])[:, :, 0] if self.exactly else step)

    # ---- the method ------------------------------------------------------------------------------

    def minimise(
        self, goal: Goal, x: FloatArray, common: FloatArray, lateness: BoolArray, *, gap: float,
        offset: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray, Point, FloatArray]:
        """From a strictly feasible point to within `gap` of the least value plus `offset`, relative; `lateness`
        (K, N) tells who may be late. Without an offset the common variable is the lateness itself, and all that
        is asked is whether it is below 1. Returns x, common variable, point and t: 1/(t slack) are multipliers."""
        moves = self.moves.copy()
        moves[:, :, _L] = lateness
        shared = np.asarray((goal.round | (goal.dead & (goal.dead_common > 0.0))).any(axis=1))
        point = self.look(goal, x, common, moves)
        limits = (point.slack != 1.0).sum(axis=1) + 1.0
        whole = np.zeros(self.k) if offset is None else offset
        t = limits / np.maximum(np.abs(point.value), 1e-3)
        done = np.zeros(self.k, dtype=bool)
        for _ in range(400):
            last = limits / (gap * np.maximum(np.abs(point.value + whole), 1e-100))
            t = np.minimum(t, last)
            step, step_common, decrement = self.newton(goal, x, moves, shared, t, point)
            centred = np.asarray(decrement <= np.where(t >= last, 1e-5, 0.3))
            done |= centred & (t >= last)
            if offset is None:  # deadlines surely kept, or surely missed
                done |= (common < 0.98) | (centred & (common - 2.0 * limits / t > 1.0 + _EDGE))
            if done.all():
                break
            x, common, point = self._advance(goal, moves, t, (x, common, point), (step, step_common, decrement), done)
            t = np.where(centred & ~done, np.minimum(20.0 * t, last), t)
        else:
            # at the last t a decrement of 1 is a small part of `gap` in the value (prices want less): rounding may
            # forbid the rest
            if (~done & ~((t >= last) & (decrement <= 1.0))).any():
                raise ArithmeticError(f"the barrier has not converged: decrement {decrement[~done]}")
        return x, common, point, t

    def _advance(
        self, goal: Goal, moves: BoolArray, t: FloatArray, here: tuple[FloatArray, FloatArray, Point],
        way: tuple[FloatArray, FloatArray, FloatArray], done: BoolArray,
    ) -> tuple[FloatArray, FloatArray, Point]:
        """Backtracking on the barrier function."""
        x, common, point = here
        step, step_common, decrement = way
        merit = t * point.value - np.log(point.slack).sum(axis=1)
        noise = 1e-14 * np.abs(t * point.value) + 1e-12  # what rounding alone does to the merit
        longest = np.abs(step[:, :, [_Q, _Y, _G]]).max(axis=(1, 2))
        length = np.where(done, 0.0, np.minimum(1.0, 6.0 / np.maximum(longest, 1e-300)))
        for _ in range(60):
            trial = x + length[:, None, None] * step
            trial_common = common + length * step_common
            fresh = self.look(goal, trial, trial_common, moves)
            inside = np.asarray((fresh.slack > 0.0).all(axis=1))
            with np.errstate(invalid="ignore", divide="ignore"):
                changed = t * fresh.value - np.log(np.where(inside[:, None], fresh.slack, 1.0)).sum(axis=1)
            good = inside & (changed <= merit - 0.1 * length * decrement + noise)
            if good.all():
                break
            length = np.where(good, length, 0.5 * length)
        return trial, trial_common, fresh

    def solve(self, gap: float = 1e-9) -> Solved:
        """Least cost of every problem of the batch; inf where deadlines cannot be kept."""
        twin, data = self.twin, self.twin.p
        shape = (self.k, self.n)
        in_rounds = data.delay == "max"
        w_t = np.zeros(self.n) if in_rounds else twin.w_t
        counted = w_t if data.count_upload_delay else np.zeros(self.n)
        limit = np.full(shape, np.inf) if data.deadline_s is None else np.broadcast_to(data.deadline_s, shape)
        limit = np.where(self.present, limit, np.inf) - self.fixed_s
        penalty = np.full(self.n, np.inf)
        if data.deadline_penalty_per_s is not None:
            penalty = np.asarray(data.deadline_penalty_per_s)
        hard = np.isfinite(limit) & np.isinf(penalty)
        soft = np.isfinite(limit) & np.isfinite(penalty)
        constant = self._constant(w_t)
        x, common = self.start.copy(), np.ones(self.k)
        lost = (hard & (limit <= 0.0)).any(axis=1)
        limit = np.where(hard & (limit <= 0.0), 1e30, limit)  # a lost problem must not spoil the batch
        nothing = np.zeros(shape)
        if hard.any():
            x, late = self._least_lateness(hard, limit, x)
            lost |= late
            limit = np.where(late[:, None] & hard, 1e30, limit)
        goal = Goal(
            w_t * self.device_s, twin.w_e * self.device_j, counted + twin.w_e * data.circuit_power_w + nothing,
            twin.w_e * data.power_max_w / data.amplifier_efficiency + nothing,
            (w_t + twin.w_e * data.idle_power_w) * self.server_s, twin.w_e * self.server_j, nothing,
            np.zeros(self.k), hard | soft, np.where(hard, limit, 1.0), nothing, nothing,
            self.present & in_rounds, np.ones(self.k),
        )
        first = self.look(goal, x, common, self.moves)
        time = first.time
        scale = first.value + constant + (twin.w_t[0] * (time + self.fixed_s).max(axis=1) if in_rounds else 0.0)
        scale = np.maximum(scale, 1e-300)
        unit = np.where(soft, time, np.where(hard, limit, 1.0))
        round_unit = np.where(self.present, time + self.fixed_s, 0.0).max(axis=1)
        wanted: dict[str, Any] = {name: getattr(goal, name) / scale[:, None] for name in (
            "device_time", "device_energy", "upload", "radiated", "server_time", "server_energy")}
        wanted["late"] = np.where(soft, np.where(soft, penalty, 0.0) * unit, 0.0) / scale[:, None]
        wanted["common"] = (twin.w_t[0] * round_unit / scale) if in_rounds else np.zeros(self.k)
        wanted["dead_scale"], wanted["dead_time"] = unit, np.where(hard | soft, limit / unit, 0.0)
        wanted["round_scale"] = round_unit
        goal = replace(goal, **wanted)
        x[:, :, _L] = np.where(soft, np.maximum((time - limit) / unit, 0.0) + 0.1, 0.0)
        common = np.full(self.k, 1.1)
        x, common, point, t = self.minimise(goal, x, common, soft, gap=gap, offset=constant / scale)
        by_slack = (scale / t)[:, None] / point.slack
        price = np.where(goal.dead, by_slack[:, :self.n] / unit, 0.0)
        price = np.where(soft, np.minimum(price, penalty), price)
        weight = np.where(goal.round, by_slack[:, self.n:2 * self.n] / round_unit[:, None], 0.0)
        total = np.where(lost, np.inf, self._true_cost(x, constant, in_rounds, soft, limit, penalty))
        sums = by_slack[:, 2 * self.n:2 * (self.n + self.m)]
        return Solved(total, x, price, weight, sums[:, :self.m], sums[:, self.m:],
                      np.asarray(scale * (point.slack != 1.0).sum(axis=1) / t))

    def _constant(self, w_t: FloatArray) -> FloatArray:
        """Cost (K,) that no resource changes: instability, fixed delay, energy per FLOP."""
        twin, data = self.twin, self.twin.p
        table = np.array([[twin.w_s[n] * twin.instability(n, c) if twin.w_s[n] and twin.cut_allowed(n, c) else 0.0
                           for c in range(data.layers + 1)] for n in range(self.n)])
        each = table[np.arange(self.n), self.cut] + (w_t + twin.w_e * data.idle_power_w) * self.fixed_s
        return np.asarray(np.where(self.present, each + twin.w_e * self.constant_j, 0.0).sum(axis=1))

    def _true_cost(
        self, x: FloatArray, constant: FloatArray, in_rounds: bool, soft: BoolArray, limit: FloatArray,
        penalty: FloatArray,
    ) -> FloatArray:
        """The cost itself at the point found, lateness and round being what they are."""
        twin, data = self.twin, self.twin.p
        b, p, share, f = np.exp(x[:, :, _Q]), np.exp(x[:, :, _Y]), x[:, :, _F], np.exp(x[:, :, _G])
        tau = self.nats_s / (b * np.log1p(np.exp(self.log_snr) * p / b))
        device, server = self.device_s / f, np.where(self.remote, self.server_s / share, 0.0)
        time = device + tau + server
        energy = self.device_j * f**2 + self.server_j * share**2
        energy = energy + tau * (p * data.power_max_w / data.amplifier_efficiency + data.circuit_power_w)
        energy = energy + data.idle_power_w * server
        each = twin.w_e * energy + np.where(soft, np.where(soft, penalty, 0.0) * np.maximum(
            time - np.where(soft, limit, 0.0), 0.0), 0.0)
        if not in_rounds:
            each = each + twin.w_t * (device + server + (tau if data.count_upload_delay else 0.0))
        total = np.where(self.present, each, 0.0).sum(axis=1) + constant
        if in_rounds:
            total = total + (twin.w_t * np.where(self.present, time + self.fixed_s, 0.0)).max(axis=1)
        return np.asarray(total)

    def _least_lateness(self, hard: BoolArray, limit: FloatArray, x: FloatArray) -> tuple[FloatArray, BoolArray]:
        """A point that keeps the hard deadlines, and where there is none (K,)."""
        nothing, shape = np.zeros((self.k, self.n)), (self.k, self.n)
        goal = Goal(nothing, nothing, nothing, nothing, nothing, nothing, nothing, np.ones(self.k), hard,
                    np.where(hard, limit, 1.0), nothing, np.ones(shape), np.zeros(shape, dtype=bool), np.ones(self.k))
        point = self.look(goal, x, np.ones(self.k), self.moves)
        worst = np.where(hard, point.time / np.where(hard, limit, 1.0), 0.0).max(axis=1)
        start = np.where(hard.any(axis=1), 1.1 * worst, 0.0)
        x, _, point, _ = self.minimise(goal, x, start, np.zeros(shape, dtype=bool), gap=1e-9)
        worst = np.where(hard, point.time / np.where(hard, limit, 1.0), 0.0).max(axis=1)
        return x, worst >= 1.0 - 1e-9


@dataclass(frozen=True)
class Solved:
    """A batch of continuous optima: cost (K,), point (K, N, 5), objective per second of each deadline and of each
    user's part of the round (K, N), objective per whole band and whole clock of each server (K, M; nothing for a
    clock that must be handed out), and how far the cost may be above the optimum (K,)."""

    cost: FloatArray
    x: FloatArray
    deadline_price: FloatArray
    round_price: FloatArray
    band_price: FloatArray
    clock_price: FloatArray
    gap: FloatArray


@dataclass
class Cell:
    """A set of users on one server, with every choice of cuts that whole-number limits leave: cuts (C, users),
    lower bounds of the cost (C,), and where these are the cost itself."""

    cuts: IntArray
    lower: FloatArray
    exact: BoolArray


@dataclass(frozen=True)
class Best:
    """The optimum; inf and no users where there is none."""

    objective: float
    server: IntArray
    cut: IntArray


class LimitsTwin:
    """Enumeration within every limit; see the top of this file."""

    def __init__(self, problem: ea.SplitTraining) -> None:
        self.twin = Twin(problem)
        self.p: Any = problem
        self.n, self.m = self.twin.n, self.twin.m
        self.counted = 1.0 if problem.count_upload_delay else 0.0
        self.deadline = np.full(self.n, np.inf) if self.p.deadline_s is None else np.asarray(self.p.deadline_s)
        penalty = self.p.deadline_penalty_per_s
        self.penalty = np.full(self.n, np.inf) if penalty is None else np.asarray(penalty)
        self.hard = np.isfinite(self.deadline) & np.isinf(self.penalty)
        self.binding = np.isfinite(self.deadline)
        #: How many continuous problems were solved.
        self.solves = 0

    # ---- one association -------------------------------------------------------------------------

    def allowed(self, server: IntArray, cut: IntArray) -> bool:
        """Every limit that only association and cuts decide."""
        data = self.p
        for n in range(self.n):
            place, layers = int(server[n]), int(cut[n])
            if (place < 0) != (layers == data.layers) or not self.twin.cut_allowed(n, layers):
                return False
            if place >= 0 and not data.gain[n, place] > 0.0:
                return False
        for m in range(self.m):
            users = [n for n in range(self.n) if server[n] == m]
            if data.users_per_server is not None and len(users) > data.users_per_server[m]:
                return False
            if not self._memory_fits(m, users, cut[users][None, :])[0]:
                return False
        return True

    def _memory_fits(self, m: int, users: list[int], cuts: IntArray) -> BoolArray:
        if self.p.server_memory_bytes is None or not users:
            return np.ones(len(cuts), dtype=bool)
        need = self.p.server_memory_bytes_fixed[users] + (
            self.p.layers - cuts) * self.p.server_memory_bytes_per_layer[users]
        return np.asarray(need.sum(axis=1) <= self.p.server_memory_bytes[m])

    def at(self, server: IntArray, cut: IntArray) -> float:
        """Least objective at an association and cuts; inf where a limit forbids them."""
        return self.allocation(server, cut)[0]

    def allocation(self, server: IntArray, cut: IntArray) -> tuple[float, ea.Allocation | None]:
        """Least objective at an association and cuts, and resources that have it to about 1e-9."""
        server, cut = np.asarray(server, dtype=np.int64), np.asarray(cut, dtype=np.int64)
        if not self.allowed(server, cut):
            return math.inf, None
        solved = Barrier(self.twin, server[None, :], cut[None, :]).solve()
        if math.isinf(solved.cost[0]):
            return math.inf, None
        x, m, remote, data = solved.x[0], np.maximum(server, 0), server >= 0, self.p
        band, clock = np.where(remote, np.exp(x[:, _Q]), 0.0), np.where(remote, x[:, _F], 0.0)
        if data.resource_sense == "exactly":  # the barrier stops short of the whole; more is never dearer
            band = band / np.maximum(np.bincount(m, weights=band)[m], 1e-300)
            clock = clock / np.maximum(np.bincount(m, weights=clock)[m], 1e-300)
        return float(solved.cost[0]), ea.Allocation(
            server=server,
            local_layers=cut,
            power_w=np.where(remote, np.exp(x[:, _Y]) * data.power_max_w, 0.0),
            bandwidth_hz=band * data.bandwidth_max_hz[m],
            user_frequency_hz=np.exp(x[:, _G]) * data.user_frequency_max_hz,
            server_frequency_hz=clock * data.server_frequency_max_hz[m],
        )

    def prices(self, server: IntArray, cut: IntArray) -> FloatArray:
        """Objective per second (N,) of every deadline at an association and cuts."""
        return np.asarray(Barrier(self.twin, np.asarray(server)[None, :], np.asarray(cut)[None, :])
                          .solve().deadline_price[0])

    def bound_at(self, server: IntArray, cut: IntArray, price: FloatArray) -> float:
        """Lower bound of `at` from prices of the deadlines, by the plain twin: its delay weights are raised."""
        place = tuple(int(m) for m in server)
        cells = {key: Cell(np.asarray(cut)[None, list(key[1])], np.zeros(1), np.zeros(1, dtype=bool))
                 for key in _keys(place)}
        bounds, local = self._bounds(cells, self.twin.w_t, price)
        return float(sum(bounds[key][0] for key in cells) + sum(local[n] for n in range(self.n) if place[n] < 0))

    # ---- lower bounds without deadlines ------------------------------------------------------------

    def _cells(self) -> dict[tuple[int, tuple[int, ...]], Cell]:
        """Every set of users that a server may have, with the cuts it may have; bounds are still 0."""
        data = self.p
        cuts = [[c for c in range(data.layers) if self.twin.cut_allowed(n, c)] for n in range(self.n)]
        cells = {}
        for m in range(self.m):
            most = self.n if data.users_per_server is None else min(self.n, int(data.users_per_server[m]))
            for size in range(1, most + 1):
                for users in itertools.combinations(range(self.n), size):
                    if not all(data.gain[n, m] > 0.0 and cuts[n] for n in users):
                        continue
                    table = np.array(list(itertools.product(*(cuts[n] for n in users))), dtype=np.int64)
                    table = table[self._memory_fits(m, list(users), table)]
                    table = table[self._in_time(m, list(users), table)]
                    if len(table):
                        cells[m, users] = Cell(table, np.zeros(len(table)), np.zeros(len(table), dtype=bool))
        return cells

    def _in_time(self, m: int, users: list[int], cuts: IntArray) -> BoolArray:
        """Necessary: each user's share of the clock if it had the whole band, and of the band if the whole
        clock, have room beside each other."""
        data = self.p
        hard = self.hard[users]
        flops = data.user_flops_per_cycle[users] * data.user_frequency_max_hz[users]
        left = self.deadline[users] - data.fixed_delay_s[users, m] - cuts * data.layer_flops[users] / flops
        left = np.where(hard, left, 1.0)
        work = (data.layers - cuts) * data.layer_flops[users] + data.head_flops[users]
        served = work / (data.server_flops_per_cycle[m] * data.server_frequency_max_hz[m])
        snr = data.gain[users, m] * data.power_max_w[users] / (self.twin.noise * data.bandwidth_max_hz[m])
        nats_s = data.upload_bits[users] * math.log(2.0) / data.bandwidth_max_hz[m]
        clock_left, band_left = left - nats_s / np.log1p(snr), left - served
        possible = (~hard | ((clock_left > 0.0) & (band_left > 0.0))).all(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            clock = np.where(hard & (clock_left > 0.0), served / clock_left, 0.0).sum(axis=1)
        low, high = np.full(cuts.shape, -60.0), np.zeros(cuts.shape)
        for _ in range(50):
            b = np.exp(0.5 * (low + high))
            slow = nats_s / (b * np.log1p(snr / b)) > band_left
            low, high = np.where(slow, 0.5 * (low + high), low), np.where(slow, high, 0.5 * (low + high))
        band = np.where(hard, np.exp(low), 0.0).sum(axis=1)
        return np.asarray(possible & (clock <= 1.0 + 1e-9) & (band <= 1.0 + 1e-9))

    def _bounds(
        self, cells: dict[tuple[int, tuple[int, ...]], Cell], delay: FloatArray, dead: FloatArray
    ) -> tuple[dict[tuple[int, tuple[int, ...]], FloatArray], FloatArray]:
        """Least cost of every cell and of every user alone, for delay weights (N,) and a price per second (N,)
        by which a user is later than its deadline: a lower bound of the limited cost for any price >= 0."""
        priced = Priced(self.p, delay + dead, delay * self.counted + dead)
        back = np.where(dead > 0.0, dead * np.where(dead > 0.0, self.deadline, 0.0), 0.0)
        layers = self.p.layers
        own = np.array([[priced.fixed_cost(n, c) if self.twin.cut_allowed(n, c) else math.inf
                         for c in range(layers + 1)] for n in range(self.n)])
        found = {}
        if cells:
            inside = np.zeros((len(cells), self.n), dtype=bool)
            for row, (_, users) in enumerate(cells):
                inside[row, list(users)] = True
            radio, _ = priced.band_costs(inside, np.array([m for m, _ in cells]))
            for cost, ((m, users), cell) in zip(radio, cells.items(), strict=True):
                members = list(users)
                total = priced.clock_costs(members, m, cell.cuts) + own[members, cell.cuts].sum(axis=1)
                total += cost + sum(priced.delay_cost(n, m) - float(back[n]) for n in members)
                found[m, users] = total
        return found, own[:, layers] - back

    def _alone(self, n: int) -> float:
        """Least cost of a fully local user, its deadline kept or paid for."""
        data, twin = self.p, self.twin
        if not twin.cut_allowed(n, data.layers):
            return math.inf
        cycles = (data.layers * data.layer_flops[n] + data.head_flops[n]) / data.user_flops_per_cycle[n]
        high = float(data.user_frequency_max_hz[n])
        low = max(float(data.user_frequency_min_hz[n]), 1e-12 * high)
        fine = 0.0
        if self.hard[n]:
            if cycles / high > self.deadline[n] * (1.0 + 1e-12):
                return math.inf
            low = min(max(low, cycles / float(self.deadline[n])), high)
        elif self.binding[n]:
            fine = float(self.penalty[n])

        def cost(log_f: FloatArray) -> FloatArray:
            seconds = cycles / np.exp(log_f)
            late = np.maximum(seconds - self.deadline[n], 0.0) if fine else 0.0
            energy = data.user_kappa[n] * np.exp(log_f) ** 2 * cycles
            return np.asarray(twin.w_t[n] * seconds + twin.w_e[n] * energy + fine * late)

        ends = np.log(np.array([low, high]))
        best = float(min(cost(section(cost, ends[:1], ends[1:], 80)).min(), cost(ends).min()))
        return best + (float(twin.w_s[n]) * twin.instability(n, data.layers) if twin.w_s[n] else 0.0)

    def _places(self, cells: Iterable[tuple[int, tuple[int, ...]]]) -> list[tuple[int, ...]]:
        """Associations of which every server has a cell."""
        known = set(cells)
        return [place for place in itertools.product(range(-1, self.m), repeat=self.n)
                if all(key in known for key in _keys(place))]

    # ---- the optimum -----------------------------------------------------------------------------

    def optimum(self) -> Best:
        """The least objective over everything, where the users are and their cuts."""
        return self._rounds() if self.p.delay == "max" else self._sums()

    def _solved(self, jobs: list[tuple[IntArray, IntArray]]) -> Solved:
        self.solves += len(jobs)
        return Barrier(self.twin, np.array([a for a, _ in jobs]), np.array([b for _, b in jobs])).solve()

    def _sums(self) -> Best:
        """Servers are independent at a given association: the best cuts of each, cheapest association first."""
        cells = self._cells()
        bounds, _ = self._bounds(cells, self.twin.w_t, np.zeros(self.n))
        for key, cell in cells.items():
            cell.lower = bounds[key]
            cell.exact[:] = not self.binding[list(key[1])].any()
        alone = [self._alone(n) for n in range(self.n)]
        places = [place for place in self._places(cells)
                  if all(alone[n] < math.inf for n in range(self.n) if place[n] < 0)]
        while places:
            least = {key: int(cell.lower.argmin()) for key, cell in cells.items()}
            totals = [sum(alone[n] for n in range(self.n) if place[n] < 0)
                      + sum(float(cells[key].lower[least[key]]) for key in _keys(place)) for place in places]
            order = sorted(range(len(places)), key=totals.__getitem__)
            if math.isinf(totals[order[0]]):
                break
            place = places[order[0]]
            if all(cells[key].exact[least[key]] for key in _keys(place)):
                cut = np.full(self.n, self.p.layers)
                for key in _keys(place):
                    cut[list(key[1])] = cells[key].cuts[least[key]]
                return Best(totals[order[0]], np.array(place), cut)
            self._refine(cells, [places[i] for i in order[:6] if totals[i] < math.inf], least)
        return Best(math.inf, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

    def _refine(
        self, cells: dict[tuple[int, tuple[int, ...]], Cell], places: list[tuple[int, ...]],
        least: dict[tuple[int, tuple[int, ...]], int],
    ) -> None:
        """Replace the lowest bounds of the cells of these associations by the cost itself."""
        wanted = {key: None for place in places for key in _keys(place) if not cells[key].exact[least[key]]}
        jobs, where = [], []
        for key in wanted:
            cell = cells[key]
            open_rows = np.flatnonzero(~cell.exact & np.isfinite(cell.lower))
            for row in open_rows[np.argsort(cell.lower[open_rows])][:8]:
                server, cut = np.full(self.n, ABSENT), np.zeros(self.n, dtype=np.int64)
                server[list(key[1])], cut[list(key[1])] = key[0], cell.cuts[row]
                jobs.append((server, cut))
                where.append((cell, row))
        for (cell, row), cost in zip(where, self._solved(jobs).cost, strict=True):
            cell.lower[row], cell.exact[row] = cost, True

    def _rounds(self) -> Best:
        """The round couples all servers: whole associations with all cuts, cheapest bound first."""
        cells = self._cells()
        places = self._places(cells)
        table = [(place, cut) for place in places for cut in self._all_cuts(place, cells)]
        if not table:
            return Best(math.inf, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        lower = self._round_bounds(places, cells, np.full(self.n, 1.0 / self.n), np.zeros(self.n))
        exact = np.zeros(len(lower), dtype=bool)
        for turn in range(10**6):
            row = int(lower.argmin())
            if exact[row] or math.isinf(lower[row]):
                break
            todo = np.where(exact, np.inf, lower)
            rows = np.argsort(todo, kind="stable")[:32]
            rows = rows[np.isfinite(todo[rows])]
            solved = self._solved([(np.array(table[i][0]), np.array(table[i][1])) for i in rows])
            lower[rows], exact[rows] = solved.cost, True
            good = int(solved.cost.argmin())
            if turn < 8 and math.isfinite(solved.cost[good]) and (~exact & (lower < lower[exact].min())).sum() > 100:
                share = np.maximum(solved.round_price[good], 1e-9 * solved.round_price[good].max())
                fresh = self._round_bounds(places, cells, share / share.sum(), solved.deadline_price[good])
                lower = np.where(exact, lower, np.maximum(lower, fresh))
        row = int(lower.argmin())
        if math.isinf(lower[row]):
            return Best(math.inf, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        return Best(float(lower[row]), np.array(table[row][0]), np.array(table[row][1]))

    def _all_cuts(self, place: tuple[int, ...], cells: dict[tuple[int, tuple[int, ...]], Cell]) -> IntArray:
        """Cuts (C, N) of an association, in the order of `_round_bounds`."""
        keys = _keys(place)
        rows = np.array(list(itertools.product(*(range(len(cells[key].cuts)) for key in keys))), dtype=np.int64)
        cut = np.full((len(rows), self.n), self.p.layers)
        for i, key in enumerate(keys):
            cut[:, list(key[1])] = cells[key].cuts[rows[:, i]]
        return cut

    def _round_bounds(
        self, places: list[tuple[int, ...]], cells: dict[tuple[int, tuple[int, ...]], Cell], share: FloatArray,
        dead: FloatArray,
    ) -> FloatArray:
        """Lower bounds with the round replaced by a weighted mean of delays."""
        bounds, local = self._bounds(cells, self.twin.w_t * share, dead)
        local = np.where([math.isfinite(self._alone(n)) for n in range(self.n)], local, np.inf)
        found = []
        for place in places:
            total = np.array(sum(local[n] for n in range(self.n) if place[n] < 0))
            for key in _keys(place):
                total = np.add.outer(total, bounds[key])
            found.append(np.ravel(total))
        return np.concatenate(found)


def _keys(place: tuple[int, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """The cells of an association."""
    return [(m, tuple(n for n, at in enumerate(place) if at == m)) for m in sorted(set(place) - {-1})]


def optimum(problem: ea.SplitTraining) -> tuple[float, IntArray, IntArray]:
    """Least objective within every limit, association and cuts; inf and empty arrays where there is none."""
    best = LimitsTwin(problem).optimum()
    return best.objective, best.server, best.cut
