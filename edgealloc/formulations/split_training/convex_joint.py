r"""All resources of some users at once by a cone program: what deadlines and synchronous rounds need.

A deadline ties the device clock, the upload and the server clock of a user together. With its device time t, rate R
(`convex_cones`) and server clock F, its cost at a fixed association and cut is

.. math::

    w_t t + w_e \kappa c^3/t^2 \;+\; \frac{k_1}{R} + \max\Big(k_2 \frac{e^x - 1}{x}, \frac{k_3}{R}\Big)
    \;+\; W\Big(\frac{w}{F} + w_e \kappa_m F^2\Big) \;+\; \Theta \ell,
    \qquad t + \frac{s \ln 2}{R} + \frac{W}{F} + d \le D + \ell,

with lateness :math:`\ell` = 0 under a hard deadline. A round replaces the weights of time by one T, which is the
deadline of all users. The cone program settles bandwidths and server clocks; given these, every user has one
multiplier :math:`\theta` that puts its device clock and power (`Group.respond`), so that what is handed back keeps the
deadlines in floating point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.convex_cones import (
    FailedError,
    Log,
    Uploads,
    cone_solve,
    upload_cones,
)
from edgealloc.formulations.split_training.shares import solve_q

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["Group", "group", "solve_jointly"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Scales further than this from the optimum are set anew and the problem is solved again.
RECENTRE_FACTOR: Final = 3.0
ROUNDS: Final = 6
#: Relative lateness that is left to rounding; beyond it the deadlines of the cone program are shortened.
KEPT: Final = 2e-10
#: Relative change of the cost at which the scales need not settle.
SETTLED: Final = 1e-9
NEARLY_SETTLED: Final = 1e-7
#: Bisection steps and range (in powers of e) for the multiplier of a deadline.
STEPS: Final = 110
RANGE: Final = 100.0


@dataclass(frozen=True)
class Group:
    """Users whose resources are chosen together. Arrays (K,) unless said otherwise."""

    users: IntArray
    server: IntArray  # -1: fully local
    timed: BoolArray  # has a deadline, or the round is one
    round_weight: float  # objective per second of the longest delay; 0: no round
    time: FloatArray  # objective per second on the device
    cycles: FloatArray  # on the device
    kappa: FloatArray  # w_e kappa of the device
    clock: tuple[FloatArray, FloatArray]  # range of the device clock
    per_second: FloatArray  # of upload: objective
    per_joule: FloatArray  # radiated: objective
    nats: FloatArray
    over_noise: FloatArray  # g / N0
    power: tuple[FloatArray, FloatArray]
    waiting: FloatArray  # objective per second on the server
    job: FloatArray  # cycles on the server
    square: FloatArray  # w_e kappa of the server
    fixed: FloatArray  # s
    deadline: FloatArray
    penalty: FloatArray  # objective per second late; inf: hard
    band_hz: FloatArray  # (M,)
    clock_hz: FloatArray  # (M,)
    whole: bool  # clocks must be handed out whole

    @property
    def remote(self) -> BoolArray:
        return self.server >= 0

    # ---- one user at a time: the response to a multiplier ------------------------------------------------

    def device_clock(self, theta: FloatArray) -> FloatArray:
        weight = self.time + theta
        with np.errstate(divide="ignore", invalid="ignore"):
            free = np.where(self.kappa > 0.0, np.cbrt(weight / (2.0 * self.kappa)), np.inf)
        return np.asarray(np.clip(free, *self.clock), dtype=np.float64)

    def best_power(self, theta: FloatArray, b: FloatArray) -> FloatArray:
        """Power that minimises (a_t + theta + a_e p)/R at a bandwidth, on [p_min, p_max]."""
        low, high = self.power
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_noise = np.log(b) - np.log(self.over_noise)
            log_t = np.log(self.per_second + theta) - np.log(self.per_joule) - log_noise
            x = solve_q(np.clip(np.where(np.isfinite(log_t), log_t, 0.0), -600.0, 1e6))
            free = np.exp(np.clip(log_noise + x + np.log(-np.expm1(-x)), -745.0, 700.0))
        power = np.where(self.per_second + theta <= 0.0, low, np.clip(free, low, high))
        return np.asarray(np.where(self.remote, np.where(self.per_joule <= 0.0, high, power), 0.0), dtype=np.float64)

    def rate(self, b: FloatArray, power: FloatArray) -> FloatArray:
        """Natural rate R in nats per second; 1 where there is no upload."""
        used = np.where(self.remote, b, 1.0)
        return np.where(self.remote, used * np.log1p(power * self.over_noise / used), 1.0)

    def elapsed(self, b: FloatArray, share: FloatArray, f: FloatArray, power: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            device = np.where(self.cycles > 0.0, self.cycles / f, 0.0)
            upload = np.where(self.remote, self.nats / self.rate(b, power), 0.0)
            server = np.where(self.remote, self.job / np.where(self.remote, share, 1.0), 0.0)
        return np.asarray(device + upload + server + self.fixed, dtype=np.float64)

    def fastest(self, b: FloatArray, share: FloatArray) -> FloatArray:
        return self.elapsed(b, share, self.clock[1], np.where(self.remote, self.power[1], 0.0))

    def respond(self, b: FloatArray, share: FloatArray, limit: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Best device clock and power at given shares within the time `limit`; full speed where it is too short."""

        def at(theta: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
            f, power = self.device_clock(theta), self.best_power(theta, b)
            return f, power, np.asarray(self.elapsed(b, share, f, power) <= limit)

        fast = self.clock[1], np.where(self.remote, self.power[1], 0.0)
        zero = np.zeros(self.users.size)
        f, power, within = at(zero)
        # beyond this multiplier both are at their limits
        used = np.where(self.remote, b, 1.0)
        x = np.log1p(self.power[1] * self.over_noise / used)
        log_q = x + np.log(np.maximum(x + np.expm1(-x), 1e-300))
        with np.errstate(over="ignore", divide="ignore"):
            most = np.where(self.remote, np.exp(np.minimum(
                np.log(self.per_joule) - np.log(self.over_noise) + np.log(used) + log_q, 700.0)), 0.0)
        most = np.maximum(np.maximum(most, 2.0 * self.kappa * self.clock[1] ** 3), 1e-290) * 1.001
        top = np.minimum(most, self.penalty)
        f_top, power_top, within_top = at(top)
        hopeless = ~within & ~within_top
        high = np.log(top)
        low = high - RANGE
        for _ in range(STEPS):
            middle = 0.5 * (low + high)
            slow = ~at(np.exp(middle))[2]
            low, high = np.where(slow, middle, low), np.where(slow, high, middle)
        f_root, power_root, _ = at(np.exp(high))
        f, power = np.where(within, f, f_root), np.where(within, power, power_root)
        # where the multiplier is at its end: the penalty of a soft deadline, or full speed
        soft = self.penalty <= most
        f = np.where(hopeless, np.where(soft, f_top, fast[0]), f)
        return f, np.where(hopeless, np.where(soft, power_top, fast[1]), power)

    def cost(self, b: FloatArray, share: FloatArray, f: FloatArray, power: FloatArray) -> float:
        """Objective of these users, but for what nothing here can change."""
        elapsed = self.elapsed(b, share, f, power)
        upload_s = np.where(self.remote, self.nats / self.rate(b, power), 0.0)
        upload = (self.per_second + self.per_joule * power) * upload_s
        used = np.where(self.remote, share, 1.0)
        server = np.where(self.remote, self.job * (self.waiting / used + self.square * used**2), 0.0)
        device = self.cycles * (self.time / np.where(self.cycles > 0.0, f, 1.0) + self.kappa * f**2)
        late = np.where(np.isfinite(self.penalty) & self.timed, np.maximum(elapsed - self.deadline, 0.0), 0.0)
        penalty = np.where(np.isfinite(self.penalty), self.penalty, 0.0) * late
        return float((device + upload + server + penalty).sum()) + self.round_weight * float(elapsed.max())


def group(problem: SplitTraining, start: Allocation, users: IntArray) -> Group:
    """Coefficients of some users at their association and cuts."""
    def of(values: Any) -> FloatArray:
        return np.asarray(values, dtype=np.float64)[users]

    server, cut = start.server[users], start.local_layers[users]
    m, remote = np.maximum(server, 0), server >= 0
    energy = of(problem.weights.effective("energy", problem.users))
    time = of(problem.weights.effective("delay", problem.users))
    rounds = problem.delay == "max"
    round_weight = float(time[0]) if rounds else 0.0
    time = np.zeros(users.size) if rounds else time
    counted = time if problem.count_upload_delay else np.zeros(users.size)
    deadline = np.full(users.size, np.inf) if problem.deadline_s is None else of(problem.deadline_s)
    given = problem.deadline_penalty_per_s
    penalty = np.full(users.size, np.inf) if given is None else of(given)
    flops = of(problem.layer_flops)
    work = cut * flops + np.where(remote, 0.0, of(problem.head_flops))
    rest = (problem.layers - cut) * flops + of(problem.head_flops)
    kappa = np.zeros(users.size) if problem.server_kappa is None else energy * problem.server_kappa[m]
    return Group(
        users=users, server=server, timed=np.isfinite(deadline) | rounds, round_weight=round_weight, time=time,
        cycles=work / of(problem.user_flops_per_cycle), kappa=energy * of(problem.user_kappa),
        clock=(of(problem.user_frequency_min_hz), of(problem.user_frequency_max_hz)),
        per_second=counted + energy * of(problem.circuit_power_w), per_joule=energy / of(problem.amplifier_efficiency),
        nats=of(problem.upload_bits) * np.log(2.0),
        over_noise=np.where(remote, problem.gain[users, m] / problem.noise_psd_w_per_hz, 1.0),
        power=(of(problem.power_min_w), of(problem.power_max_w)), waiting=time + energy * of(problem.idle_power_w),
        job=np.where(remote, rest / problem.server_flops_per_cycle[m], 0.0), square=kappa,
        fixed=np.where(remote, problem.fixed_delay_s[users, m], 0.0), deadline=deadline, penalty=penalty,
        band_hz=np.asarray(problem.bandwidth_max_hz), clock_hz=np.asarray(problem.server_frequency_max_hz),
        whole=problem.resource_sense == "exactly" and problem.server_kappa is not None,
    )


# ---- the cone program -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    """Shares (0 where fully local) and the length of the round (inf: none)."""

    b: FloatArray
    share: FloatArray
    round_s: float


def _solve(g: Group, at: _Point, margin: float, what: str, log: Log) -> tuple[_Point, bool]:
    """Solve the cone program scaled by a point, deadlines shortened by `margin`; do its scales fit the solution?"""
    import cvxpy as cp

    count = g.users.size
    f0, p0 = _own(g, at)
    r0 = g.rate(at.b, p0)
    remote = np.flatnonzero(g.remote)
    upload_s, server_s = np.zeros(count), np.zeros(count)
    upload_s[remote], server_s[remote] = (g.nats / r0)[remote], g.job[remote] / at.share[remote]
    total = g.cost(at.b, at.share, f0, p0)
    elapsed: list[Any] = [0.0] * count
    terms: list[Any] = []
    constraints: list[Any] = []
    scale = np.where(np.isfinite(g.deadline), g.deadline, np.where(g.round_weight > 0.0, at.round_s, 1.0))
    if remote.size:
        # Where p = p_min is known, k3/R is the whole energy and p_min the power limit: said so, because both sides of
        # the maximum would otherwise meet at the optimum.
        known = ((g.per_second <= 0.0) & ~g.timed) | (g.power[0] >= g.power[1])
        floor = g.per_joule * g.power[0] * g.nats
        cap = np.where(known, g.power[0], g.power[1]) * g.over_noise
        k1 = (g.per_second * g.nats + np.where(known, floor, 0.0))[remote]
        uploads = Uploads(k2=np.where(known, 0.0, g.per_joule * g.nats / g.over_noise)[remote],
                          k3=np.where(known, 0.0, floor)[remote], cap_hz=cap[remote])
        beta, rho, energy, cones = upload_cones(uploads, at.b[remote], r0[remote], total)
        slow, wait = cp.Variable(remote.size), cp.Variable(remote.size)  # upload and server time over those at `at`
        phi = cp.Variable(remote.size, pos=True)
        constraints += [*cones, cp.exp(-rho) <= slow, cp.inv_pos(phi) <= wait]
        terms += [cp.sum(energy), k1 / r0[remote] / total @ slow, (g.waiting * server_s)[remote] / total @ wait]
        square = (g.job * g.square)[remote] * at.share[remote] ** 2 / total
        if square.any():
            terms.append(cp.sum(cp.multiply(square, cp.square(phi))))
        for m in np.unique(g.server[remote]):
            here = np.flatnonzero(g.server[remote] == m)
            constraints.append(at.b[remote][here] / g.band_hz[m] @ beta[here] <= 1.0)
            used = at.share[remote][here] / g.clock_hz[m] @ phi[here]
            constraints.append(used == 1.0 if g.whole else used <= 1.0)
        for k, n in enumerate(remote.tolist()):
            elapsed[n] = upload_s[n] / scale[n] * slow[k] + server_s[n] / scale[n] * wait[k]
    worked = np.flatnonzero((g.cycles > 0.0) & g.timed)
    if worked.size:
        device_s = g.cycles[worked] / f0[worked]
        zeta = cp.Variable(worked.size, pos=True)  # device time over that at the point
        constraints.append(zeta >= f0[worked] / g.clock[1][worked])
        floor_hz = g.clock[0][worked]
        held = np.flatnonzero(floor_hz > 0.0)
        if held.size:
            constraints.append(zeta[held] <= f0[worked][held] / floor_hz[held])
        weight = g.cycles[worked] * g.kappa[worked] * f0[worked] ** 2 / total
        terms.append(g.time[worked] * device_s / total @ zeta)
        bent = np.flatnonzero(weight > 0.0)
        if bent.size:
            terms.append(cp.sum(cp.multiply(weight[bent], cp.power(zeta[bent], -2))))
        for k, n in enumerate(worked.tolist()):
            elapsed[n] = elapsed[n] + device_s[k] / scale[n] * zeta[k]
    length = cp.Variable() if g.round_weight > 0.0 else None  # of the round, over that at the point
    if length is not None:
        terms.append(g.round_weight * at.round_s / total * length)
    soft = [n for n in range(count) if np.isfinite(g.deadline[n]) and np.isfinite(g.penalty[n])]
    late = cp.Variable(max(len(soft), 1), nonneg=True)
    if soft:
        terms.append(g.penalty[soft] * scale[soft] / total @ late)
    for n in np.flatnonzero(g.timed).tolist():
        taken = elapsed[n] + g.fixed[n] / scale[n]
        if np.isfinite(g.deadline[n]):
            allowed = 1.0 + late[soft.index(n)] if n in soft else 1.0 - margin
            constraints.append(taken <= allowed)
        if length is not None:
            constraints.append(taken <= at.round_s / scale[n] * length)
    clean = cone_solve(sum(terms[1:], terms[0]), constraints, what, log)
    b, share, ratio = at.b.copy(), at.share.copy(), np.ones((3, count))  # ratio: b, F, upload time over those at `at`
    if remote.size:
        ratio[0, remote], ratio[1, remote] = np.asarray(beta.value), np.asarray(phi.value)
        ratio[2, remote] = np.asarray(slow.value)
        b, share = at.b * ratio[0], at.share * ratio[1]
    found = _scaled(g, _Point(b, share, at.round_s if length is None else at.round_s * float(length.value)))
    near = np.abs(np.log(np.maximum(ratio, 1e-300))) < np.log(RECENTRE_FACTOR)
    return found, clean and bool(near.all())


def _scaled(g: Group, at: _Point) -> _Point:
    """Shares scaled to the limits: bandwidth and time-shared clocks are handed out whole, since more hurts nobody."""
    b, share = at.b.copy(), at.share.copy()
    for m in np.unique(g.server[g.remote]):
        here = g.server == m
        b[here], share[here] = (np.maximum(x[here], 1e-12 * top[m]) for x, top in ((b, g.band_hz), (share, g.clock_hz)))
        slack = 1.0 - int(here.sum()) * np.finfo(float).eps
        b[here] *= g.band_hz[m] * slack / b[here].sum()
        factor = g.clock_hz[m] * slack / share[here].sum()
        share[here] *= min(1.0, factor) if g.square[here].any() and not g.whole else factor
    return replace(at, b=b, share=share)


def _equal(g: Group) -> _Point:
    m = np.maximum(g.server, 0)
    load = np.maximum(np.bincount(g.server[g.remote], minlength=g.band_hz.size), 1)[m]
    b, share = (np.where(g.remote, top[m] / load, 0.0) for top in (g.band_hz, g.clock_hz))
    return _Point(b, share, _round(g, b, share, 1.3))


def _round(g: Group, b: FloatArray, share: FloatArray, factor: float) -> float:
    return factor * float(g.fastest(b, share).max()) if g.round_weight > 0.0 else np.inf


def _recentred(g: Group, start: _Point, what: str, log: Log) -> _Point:
    """Solve, scaled anew until scales or cost settle and the deadlines are kept in floating point, too."""
    at, margin, before, change = start, 0.0, np.inf, np.inf
    hard = np.where(np.isfinite(g.penalty), np.inf, g.deadline)
    for _ in range(ROUNDS):
        at, fits = _solve(g, at, margin, what, log)
        excess = float((g.fastest(at.b, at.share) / hard - 1.0).max())
        value = g.cost(at.b, at.share, *_own(g, at))
        # what nothing holds in place, such as the upload of a user that saves nothing by it, never fits
        change, before = abs(value - before) / value, value
        if fits or change <= SETTLED:
            if excess <= KEPT:
                return at
            margin = max(2.0 * margin, 2.0 * excess)
    left = f"after {ROUNDS} rounds cost changes by {change:.1e}, deadlines are missed by {max(excess, 0.0):.1e}"
    if change > NEARLY_SETTLED or excess > KEPT:
        raise FailedError(f"{what}: {left}")
    log.deviations.append(f"{what}: {left}")
    return at


def _own(g: Group, at: _Point) -> tuple[FloatArray, FloatArray]:
    """Device clocks and powers that go with the shares of a point."""
    limit = g.deadline
    if g.round_weight > 0.0:
        # the same length for all; a little longer if the solver's tolerance has made it too short for somebody
        limit = np.minimum(limit, max(at.round_s, float(g.fastest(at.b, at.share).max())))
    return g.respond(at.b, at.share, limit)


def solve_jointly(g: Group, start: Allocation, what: str, log: Log) -> Allocation:
    """An allocation with the best resources for the users of a group; the others keep theirs.

    Raises
    ------
    InfeasibleError, FailedError
    """
    b, share = start.bandwidth_hz[g.users], start.server_frequency_hz[g.users]
    begin = _scaled(g, _Point(b, share, _round(g, b, share, 1.3)))
    try:
        found = _recentred(g, begin, what, log)
    except FailedError as failure:
        log.deviations.append(f"{failure}; scaled by equal shares instead")
        found = _recentred(g, _equal(g), what, log)
    f, power = _own(g, found)
    arrays = {"bandwidth_hz": found.b, "server_frequency_hz": found.share, "user_frequency_hz": f, "power_w": power}
    changed: dict[str, Any] = {}
    for name, values in arrays.items():
        changed[name] = getattr(start, name).copy()
        changed[name][g.users] = values
    return replace(start, **changed)
