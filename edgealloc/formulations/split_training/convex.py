r"""Method "convex": the resources at a fixed association and cut, by a cone solver.

A second opinion on the exact resource solve, with which it shares no code. At fixed association and cuts the
problem splits into one convex problem per server and resource, and one per device clock:

- **Bandwidth and power** of the users of a server (`convex_cones`):

  .. math::

      \min \sum_n \frac{k_1}{R} + \max\Big(k_2 \frac{e^x - 1}{x}, \frac{k_3}{R}\Big), \qquad
      k_1 = a_t s \ln 2,\; k_2 = a_e s \ln 2\, N_0/g,\; k_3 = a_e p_{min} s \ln 2,

  with the sum of b within the band.
- **Server clocks**: ``sum_n W (w / (F C D) + w_e kappa F^2 / (C D))`` with the sum of F within the clock, or
  equal to it.
- **Device clocks**: ``w_t / f + w_e kappa f^2`` on [f_min, f_max].

Where this misses a deadline, the server's users are solved anew, all resources at once; a synchronous round
always is, over all servers (`convex_joint`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Progress, Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.baselines import best_power_w, equal_allocation
from edgealloc.formulations.split_training.convex_cones import (
    FailedError,
    InfeasibleError,
    Log,
    Uploads,
    cone_solve,
    upload_cones,
)
from edgealloc.formulations.split_training.convex_joint import group, solve_jointly
from edgealloc.formulations.split_training.reduced import radio_weights
from edgealloc.system.radio import rate_bits_per_s

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["run"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Where the reference points are this far from the optimum, the problem is scaled anew and solved again.
RECENTRE_FACTOR: Final = 3.0
RECENTRE_ROUNDS: Final = 4

# ---- cone problems ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Radio:
    """One server's users: (a_t + a_e p) s / r(b, p) under one band. Arrays (K,)."""

    users: IntArray
    gain: FloatArray
    # k1 = a_t s ln2 and k3 = a_e p_min s ln2 (objective x natural rate), k2 = a_e s ln2 N0/g (objective) and
    # P = p_max g/N0; where p = p_min is known, k3 is part of k1, k2 is 0 and P that of p_min
    k1: FloatArray
    k2: FloatArray
    k3: FloatArray
    cap_hz: FloatArray
    band_hz: float


def _radio(problem: SplitTraining, m: int, users: IntArray) -> _Radio:
    per_second, per_joule = (weight[users] for weight in radio_weights(problem))
    bits = problem.upload_bits[users] * np.log(2.0)
    gain = problem.gain[users, m]
    over_noise = gain / problem.noise_psd_w_per_hz
    floor = per_joule * problem.power_min_w[users] * bits
    # Where time costs nothing p = p_min is best, k3/R the whole cost and p_min the power limit: said so, because
    # both sides of the maximum would otherwise meet at the optimum. So they would if p_min = p_max.
    fixed = (per_second <= 0.0) | (problem.power_min_w >= problem.power_max_w)[users]
    power = np.where(fixed, problem.power_min_w[users], problem.power_max_w[users])
    return _Radio(
        users=users, gain=gain,
        k1=per_second * bits + np.where(fixed, floor, 0.0),
        k2=np.where(fixed, 0.0, per_joule * bits / over_noise),
        k3=np.where(fixed, 0.0, floor),
        cap_hz=power * over_noise, band_hz=float(problem.bandwidth_max_hz[m]),
    )


def _radio_cost(problem: SplitTraining, radio: _Radio, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cost and natural rate R (K,) at a bandwidth and the best power for it."""
    power = best_power_w(problem, radio.users, radio.gain, b)
    rate = rate_bits_per_s(b, power, radio.gain, problem.noise_psd_w_per_hz) * np.log(2.0)
    per_second, per_joule = (weight[radio.users] for weight in radio_weights(problem))
    bits = problem.upload_bits[radio.users] * np.log(2.0)
    return (per_second + per_joule * power) * bits / rate, rate


def _reference_bandwidth(problem: SplitTraining, radio: _Radio) -> FloatArray:
    """Where to put the scales: a few rounds of b <- b sqrt(-C'(b)), exact for costs like 1/b."""
    b = np.full(radio.users.size, radio.band_hz / radio.users.size)
    for _ in range(8):
        cost, rate = _radio_cost(problem, radio, b)
        x = rate / b
        # -C'(b) at fixed power: C (log(1+S) - S/(1+S)) / (b log(1+S)), with S = e^x - 1
        slope = cost / b * np.maximum(1.0 + np.expm1(-x) / x, 1e-12)
        if not (slope > 0.0).all():
            break
        b = np.maximum(b * np.sqrt(slope / slope.max()), 1e-9 * radio.band_hz)
        b *= radio.band_hz / b.sum()
    return b


def _solve_radio(
    problem: SplitTraining, radio: _Radio, reference: FloatArray, what: str, log: Log
) -> FloatArray:
    """Bandwidths (K,) of one server by one cone problem, scaled by `reference` (Hz)."""
    import cvxpy as cp

    cost, r0 = _radio_cost(problem, radio, reference)
    total = float(cost.sum())
    beta, rho, energy, constraints = upload_cones(Uploads(radio.k2, radio.k3, radio.cap_hz), reference, r0, total)
    constraints.append(reference / radio.band_hz @ beta <= 1.0)
    # A coefficient in front of an exponential would leave cones far from unit size, on which Clarabel stalls:
    # all of them are folded into the exponents.
    timed = np.flatnonzero(radio.k1 > 0.0)
    objective = cp.sum(energy)
    if timed.size:
        objective += cp.sum(cp.exp(np.log((radio.k1 / r0)[timed] / total) - rho[timed]))
    cone_solve(objective, constraints, what, log)
    return np.asarray(beta.value * reference, dtype=np.float64)


def _bandwidth(problem: SplitTraining, m: int, users: IntArray, log: Log) -> FloatArray:
    """Optimal bandwidths of the users of server m, re-centred until the scales fit."""
    radio = _radio(problem, m, users)
    if users.size == 1:
        return np.array([radio.band_hz])  # the cost falls with the bandwidth
    b = _reference_bandwidth(problem, radio)
    for _ in range(RECENTRE_ROUNDS):
        reference = np.maximum(b, 1e-9 * radio.band_hz)
        b = np.maximum(_solve_radio(problem, radio, reference, f"bandwidth of server {m}", log), 0.0)
        if (np.abs(np.log(np.maximum(b, 1e-300) / reference)) < np.log(RECENTRE_FACTOR)).all():
            break
    return np.maximum(b, 1e-12 * radio.band_hz)


def _server_clock(problem: SplitTraining, m: int, users: IntArray, work: FloatArray, log: Log) -> FloatArray:
    """Optimal server clocks F (K,) of the users of server m; `work` in FLOP."""
    import cvxpy as cp

    time, energy = (problem.weights.effective(term, problem.users)[users] for term in ("delay", "energy"))
    cycles = work / problem.server_flops_per_cycle[m]
    weight = cycles * (time + energy * problem.idle_power_w[users])
    top = float(problem.server_frequency_max_hz[m])
    reference = np.sqrt(weight) / np.sqrt(weight).sum() * top
    square = np.zeros(users.size)
    if problem.server_kappa is not None:
        square = cycles * energy * problem.server_kappa[m]
        with np.errstate(divide="ignore"):
            alone = np.where(square > 0.0, np.cbrt(weight / (2.0 * square)), np.inf)
        reference = np.minimum(reference, alone)
    phi = cp.Variable(users.size, pos=True)
    total = (weight / reference + square * reference**2).sum()
    objective = cp.sum(cp.multiply(weight / reference / total, cp.inv_pos(phi)))
    if square.any():
        objective += cp.sum(cp.multiply(square * reference**2 / total, cp.square(phi)))
    used = reference / top @ phi
    # more never hurts a time-shared server: there `_within` hands out the rest
    whole = problem.resource_sense == "exactly" and square.any()
    cone_solve(objective, [used == 1.0 if whole else used <= 1.0], f"server clock of server {m}", log)
    return np.asarray(np.maximum(phi.value * reference, 1e-12 * top), dtype=np.float64)


def _device_clock(problem: SplitTraining, log: Log) -> FloatArray:
    """Optimal device clocks (N,): ``w_t / f + w_e kappa f^2`` on [f_min, f_max], each on its own scale."""
    import cvxpy as cp

    time, energy = (problem.weights.effective(term, problem.users) for term in ("delay", "energy"))
    low, high = problem.user_frequency_min_hz, problem.user_frequency_max_hz
    square = energy * problem.user_kappa
    with np.errstate(divide="ignore"):
        scale = np.clip(np.where(square > 0.0, np.cbrt(time / (2.0 * square)), np.inf), low, high)
    phi = cp.Variable(problem.users, pos=True)
    total = time / scale + square * scale**2
    objective = cp.sum(cp.multiply(time / scale / total, cp.inv_pos(phi)))
    objective += cp.sum(cp.multiply(square * scale**2 / total, cp.square(phi)))
    cone_solve(objective, [phi >= low / scale, phi <= high / scale], "device clocks", log)
    return np.asarray(np.clip(phi.value * scale, low, high), dtype=np.float64)


def _within(share: FloatArray, limit: float, whole: bool) -> FloatArray:
    """Shares scaled to the limit: to all of it, or (not `whole`) only where rounding let their sum exceed it."""
    factor = limit * (1.0 - share.size * np.finfo(float).eps) / share.sum()
    return np.asarray(share * (factor if whole else min(1.0, factor)), dtype=np.float64)


# ---- the method -------------------------------------------------------------------------------------------

#: Limits of association and cuts alone: a start that breaks one cannot be mended here.
_INTEGER_LIMITS: Final = ("server", "local_layers", "stability_limit", "device_memory_bytes", "users_per_server",
                          "server_memory_bytes")


def _start(problem: SplitTraining, run: Run) -> tuple[Allocation | None, list[str]]:
    """Association and cut to work at: those of the warm start, or of the `certified` method."""
    if run.warm_start is not None:
        violations = problem.violations(run.warm_start)
        broken = [name for name in _INTEGER_LIMITS if violations.get(name, 0.0) > 0.0]
        if broken:
            raise DataError(f"warm_start: its association and cuts violate {', '.join(broken)}; convex keeps "
                            "both, so start from a feasible allocation")
        return run.warm_start, ["association and cuts of the warm start"]

    def forward(line: Progress) -> None:
        run.report(f"certified: {line.stage}", line.iteration, line.objective)

    left = None if np.isinf(run.time_limit_s) else max(run.seconds_left, 1e-3)
    found = problem.solve("certified", gap=run.gap, time_limit_s=left, seed=run.seed, threads=run.threads,
                          on_progress=forward)
    shown = "no allocation" if found.objective is None else f"objective {found.objective:.9g}"
    note = f"association and cuts of certified ({found.status}, {shown})"
    if found.termination is Termination.INTERRUPTED:
        raise _InterruptedError(found.allocation)
    return found.allocation, [note, *(f"certified: {line}" for line in found.attempts)]


class _InterruptedError(Exception):
    """Ctrl-C while `certified` looked for association and cuts; its allocation comes along."""


def run(problem: SplitTraining, run: Run) -> Outcome:
    """Bandwidth, power and clocks at the association and cuts of the warm start, or of `certified`, by CVXPY.

    Parameters
    ----------
    problem : SplitTraining
    run : Run
        `warm_start` gives association and cuts; its resources are ignored.

    Returns
    -------
    Outcome
        Without a bound; `converged` if every cone problem was solved to its optimum. `attempts` tells which
        solver solved what. Where time ran out or every solver failed, the servers left keep equal shares.
        Without an allocation if these, or the users of a server whatever its resources, miss a hard deadline.
    """
    try:
        start, notes = _start(problem, run)
    except _InterruptedError as stop:
        return Outcome(allocation=stop.args[0], termination=Termination.INTERRUPTED)
    if start is None:
        return Outcome(termination=Termination.NUMERICAL, attempts=tuple(notes))
    best = equal_allocation(problem, np.maximum(start.server, 0), start.local_layers)
    log = Log({}, [])
    termination = Termination.CONVERGED
    for done, job in enumerate(_jobs(problem, best, log)):
        try:
            run.check_time()
            best = job(best)
            run.report("cone problems", done + 1, _objective(problem, best))
        except TimeUpError:
            termination = Termination.TIME_LIMIT
            break
        except KeyboardInterrupt:
            termination = Termination.INTERRUPTED
            break
        except FailedError as failure:
            log.deviations.append(str(failure))
            termination = Termination.NUMERICAL
        except InfeasibleError as failure:
            log.deviations.append(f"{failure}: no resources keep every deadline at this association and these cuts")
            return Outcome(termination=Termination.STAGES_EXHAUSTED, attempts=(*notes, *log.lines()))
    missed = problem.violations(best).get("deadline_s", 0.0)
    if problem.relative_violation(best) > FEASIBILITY_TOLERANCE:
        log.deviations.append(f"no allocation: what there is misses a deadline by {missed:.3g} s")
        return Outcome(termination=termination, attempts=(*notes, *log.lines()))
    return Outcome(allocation=best, termination=termination, converged=termination is Termination.CONVERGED,
                   attempts=(*notes, *log.lines()))


def _objective(problem: SplitTraining, a: Allocation) -> float | None:
    """Of a feasible allocation, for the history; None as long as deadlines are missed."""
    feasible = problem.relative_violation(a) <= FEASIBILITY_TOLERANCE
    return problem.evaluate(a).objective if feasible else None


def _jobs(problem: SplitTraining, start: Allocation, log: Log) -> list[Callable[[Allocation], Allocation]]:
    """One improvement of an allocation per cone problem.

    Of a round: one for all. Otherwise device clocks and every server in use as if there were no deadlines, then
    all resources of the servers that miss one: where nobody is late, deadlines change nothing.
    """
    if problem.delay == "max":
        everyone = group(problem, start, np.arange(problem.users))
        return [lambda a: solve_jointly(everyone, a, "resources of all users", log)]
    work = (problem.layers - start.local_layers) * problem.layer_flops + problem.head_flops
    exactly = problem.resource_sense == "exactly"
    time_shared = problem.server_kappa is None

    def device(a: Allocation) -> Allocation:
        return replace(a, user_frequency_hz=_device_clock(problem, log))

    def band(m: int, users: IntArray) -> Callable[[Allocation], Allocation]:
        def improve(a: Allocation) -> Allocation:
            b, p = a.bandwidth_hz.copy(), a.power_w.copy()
            b[users] = _within(_bandwidth(problem, m, users, log), float(problem.bandwidth_max_hz[m]), True)
            p[users] = best_power_w(problem, users, problem.gain[users, m], b[users])
            return replace(a, bandwidth_hz=b, power_w=p)

        return improve

    def clock(m: int, users: IntArray) -> Callable[[Allocation], Allocation]:
        def improve(a: Allocation) -> Allocation:
            f = a.server_frequency_hz.copy()
            found = _server_clock(problem, m, users, work[users], log)
            f[users] = _within(found, float(problem.server_frequency_max_hz[m]), exactly or time_shared)
            return replace(a, server_frequency_hz=f)

        return improve

    def together(users: IntArray, what: str) -> Callable[[Allocation], Allocation]:
        def improve(a: Allocation) -> Allocation:
            if not problem.evaluate(a).lateness_s[users].any():
                return a
            return solve_jointly(group(problem, a, users), a, what, log)

        return improve

    jobs: list[Callable[[Allocation], Allocation]] = [device]
    for m in range(problem.servers):
        users = np.flatnonzero(start.server == m)
        if users.size:
            jobs += [band(m, users), clock(m, users)]
    if problem.deadline_s is not None:
        for m in range(-1, problem.servers):
            timed = np.isfinite(problem.deadline_s) | (m >= 0)  # fully local users share nothing
            users = np.flatnonzero((start.server == m) & timed)
            if users.size:
                jobs.append(together(users, f"resources of server {m}" if m >= 0 else "clocks of fully local users"))
    return jobs
