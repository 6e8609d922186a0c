"""Baselines: an association, a cut and a resource rule each; a further one is one line of `BASELINES`.

The rules are those of Liu & Zhao (arXiv 2409.20247, section 6). They prove nothing: the bound is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.reduced import device_clock, device_cost_per_flop, radio_weights
from edgealloc.system.radio import rate_bits_per_s

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "ASSOCIATION_RULES",
    "BASELINES",
    "CUT_RULES",
    "RESOURCE_RULES",
    "Baseline",
    "best_power_w",
    "edge_only",
    "equal_allocation",
    "greedy",
    "local_only",
    "random",
    "run_baseline",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Baseline:
    """One baseline: the names of its three rules in the tables at the end of this module.

    Attributes
    ----------
    association : str
        Which server a user is put on: a key of `ASSOCIATION_RULES`.
    cut : str
        How many layers stay on the device: a key of `CUT_RULES`.
    resources : str
        How bandwidth, clocks and power are set: a key of `RESOURCE_RULES`.
    """

    association: str
    cut: str
    resources: str


# ---- association ------------------------------------------------------------------------------------------


def can_split(problem: SplitTraining) -> BoolArray:
    """Users (N,) that some server hears and that have a cut below `layers`."""
    cuts = problem.cuts
    return np.asarray((problem.gain > 0.0).any(axis=1) & (cuts.low <= cuts.high))


def _best_rate(problem: SplitTraining, _run: Run) -> IntArray:
    """The server of largest rate at its whole band and p_max; the first one of equals."""
    rate = rate_bits_per_s(
        problem.bandwidth_max_hz, problem.power_max_w[:, None], problem.gain, problem.noise_psd_w_per_hz
    )
    # a link so weak that its rate underflows is still better than none
    rate = np.where(problem.gain > 0.0, rate, -1.0)
    return np.asarray(rate.argmax(axis=1), dtype=np.int64)


def _random_server(problem: SplitTraining, run: Run) -> IntArray:
    """A server drawn uniformly among those that hear the user."""
    reachable = problem.gain > 0.0
    count = reachable.sum(axis=1)
    # one number per user, so that a user's draw does not depend on what the others can reach
    uniform = np.random.default_rng(run.seed).random(problem.users)
    drawn = np.minimum((uniform * count).astype(np.int64), count - 1)
    return np.asarray((reachable.cumsum(axis=1) > drawn[:, None]).argmax(axis=1), dtype=np.int64)


# ---- cut --------------------------------------------------------------------------------------------------


def _smallest_cut(problem: SplitTraining, _server: IntArray, split: BoolArray) -> IntArray:
    return np.where(split, problem.cuts.low, problem.layers)


def _largest_cut(problem: SplitTraining, _server: IntArray, split: BoolArray) -> IntArray:
    return np.where(split & ~problem.cuts.local, problem.cuts.high, problem.layers)


def _best_cut(problem: SplitTraining, server: IntArray, split: BoolArray) -> IntArray:
    """The cut, or fully local training, of least cost at equal shares.

    The share is that of *all* users associated with the server (everybody who can be split): who ends up
    fully local is not known yet. Those who stay divide the resources anew afterwards, so their shares are at
    least as large as those priced here.
    """
    n = np.flatnonzero(split)
    bandwidth, clock = _equal_shares(problem, server, split)
    alone, shared = device_cost_per_flop(problem), np.full(problem.users, np.inf)
    shared[n] = _radio_cost(problem, server, bandwidth, n)
    time, energy = (problem.weights.effective(term, problem.users) for term in ("delay", "energy"))
    stability = problem.weights.effective("stability", problem.users)
    waiting = time + energy * problem.idle_power_w
    per_flop = np.zeros(problem.users)
    m, f = server[n], clock[n]
    speed = f * problem.server_flops_per_cycle[m]
    if problem.server_joules_per_flop is not None:
        joules = problem.server_joules_per_flop[m]
    else:
        joules = problem.server_kappa[m] * f**2 / problem.server_flops_per_cycle[m]
    per_flop[n] = waiting[n] / speed + energy[n] * joules
    shared[n] += waiting[n] * problem.fixed_delay_s[n, m]

    cuts, layers = problem.cuts, problem.layers
    best = np.full(problem.users, np.inf)
    choice = np.full(problem.users, layers, dtype=np.int64)
    # one cut at a time: (N, Y) arrays would be the only large thing in memory
    for cut in range(layers):
        allowed = split & (cuts.low <= cut) & (cut <= cuts.high)
        with np.errstate(invalid="ignore"):
            cost = shared + alone * cut * problem.layer_flops
            cost = cost + per_flop * ((layers - cut) * problem.layer_flops + problem.head_flops)
            cost = cost + stability * problem.stability.value(cut / layers, problem.samples)
        better = allowed & (cost < best)
        best[better], choice[better] = cost[better], cut
    local = cuts.local & split
    instability = problem.stability.value(1.0, problem.samples[local])
    cost = alone[local] * (layers * problem.layer_flops[local] + problem.head_flops[local])
    choice[np.flatnonzero(local)[cost + stability[local] * instability < best[local]]] = layers
    # costs beyond the largest float compare as equal: a user that may not train alone keeps its smallest cut
    return np.where(split & (choice == layers) & ~cuts.local, cuts.low, choice)


def _radio_cost(
    problem: SplitTraining, server: IntArray, bandwidth_hz: FloatArray, n: IntArray
) -> FloatArray:
    """Objective of the upload of users `n` at a bandwidth (N,) and the best power for it."""
    per_second, per_joule = radio_weights(problem)
    gain = problem.gain[n, server[n]]
    power = best_power_w(problem, n, gain, bandwidth_hz[n])
    rate = rate_bits_per_s(bandwidth_hz[n], power, gain, problem.noise_psd_w_per_hz)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = per_second[n] + per_joule[n] * power
        return np.where(weight > 0.0, weight * problem.upload_bits[n] / rate, 0.0)


# ---- resources --------------------------------------------------------------------------------------------


def best_power_w(
    problem: SplitTraining, n: IntArray, gain: FloatArray, bandwidth_hz: FloatArray
) -> FloatArray:
    r"""Transmit power that minimises the cost of the upload at a given bandwidth.

    .. math::

        \min_{p_{min} \le p \le p_{max}} (a_t + a_e p) \frac{s}{r(b, p)}, \qquad
        x e^x - e^x + 1 = \frac{a_t g}{a_e N_0 b}, \quad p = \frac{b N_0}{g} (e^x - 1),

    clipped to the bounds: the cost falls before its one stationary point and grows after it.

    Parameters
    ----------
    problem : SplitTraining
    n : int array (K,)
        Users.
    gain, bandwidth_hz : array (K,)
        Their gains (> 0) and bandwidths in Hz (> 0).

    Returns
    -------
    array (K,)
        Watts; p_max where energy costs nothing, p_min where only energy counts.
    """
    per_second, per_joule = (weight[n] for weight in radio_weights(problem))
    low, high = problem.power_min_w[n], problem.power_max_w[n]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # sums of logarithms: products of gains, noise densities and bandwidths leave the range of floats
        log_noise_power = np.log(bandwidth_hz) + np.log(problem.noise_psd_w_per_hz) - np.log(gain)
        log_t = np.log(per_second) - np.log(per_joule) - log_noise_power
        x = _solve_q(np.clip(np.where(np.isfinite(log_t), log_t, 0.0), -600.0, 1e6))
        # log(e^x - 1) without overflow
        log_power = log_noise_power + x + np.log(-np.expm1(-x))
        interior = np.exp(np.clip(log_power, -745.0, 700.0))
    power = np.clip(interior, low, high)
    power = np.where(per_second <= 0.0, low, power)
    return np.asarray(np.where(per_joule <= 0.0, high, power))


def _solve_q(log_t: FloatArray) -> FloatArray:
    """Solve ``q(x) = x e^x - e^x + 1 = T`` for x > 0, given log T.

    Newton's method on (log x, log q): that curve is convex with slopes between 2 (small x) and x, so it
    descends monotonically from the upper start min(sqrt(2 T), 1 + log(1 + T)). The Lambert function loses
    every digit for small T.
    """
    with np.errstate(over="ignore"):
        u = np.minimum(0.5 * (np.log(2.0) + log_t), np.log1p(np.logaddexp(0.0, log_t)))
    for _ in range(12):
        x = np.exp(u)
        # q(x) = e^x (x - 1 + e^-x); the bracket cancels for small x, where its series is used
        series = x * x * (0.5 - x / 6 + x**2 / 24 - x**3 / 120 + x**4 / 720 - x**5 / 5040 + x**6 / 40320)
        bracket = np.where(x < 0.05, series, x + np.expm1(-x))
        # d log q / d log x = x (x e^x) / q
        step = (x + np.log(bracket) - log_t) * bracket / (x * x)
        u = u - step
    return np.asarray(np.exp(u))


def _equal_shares(
    problem: SplitTraining, server: IntArray, split: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """b_m / K_m and F_m / K_m (N,) for the K_m users of `split` on each server, 0 for the others."""
    count = np.bincount(server[split], minlength=problem.servers)
    share = np.zeros(problem.users)
    # K additions round by up to K eps: the sum must not exceed the limit by a single bit
    share[split] = ((1.0 - count * np.finfo(float).eps) / np.maximum(count, 1))[server[split]]
    return share * problem.bandwidth_max_hz[server], share * problem.server_frequency_max_hz[server]


def equal_allocation(problem: SplitTraining, server: IntArray, local_layers: IntArray) -> Allocation:
    """Equal shares of band and clock among the users of each server, then the best power and device clock.

    Parameters
    ----------
    problem : SplitTraining
    server : int array (N,)
        Ignored for users whose cut is `layers`.
    local_layers : int array (N,)

    Returns
    -------
    Allocation
    """
    split = local_layers < problem.layers
    bandwidth, clock = _equal_shares(problem, server, split)
    n = np.flatnonzero(split)
    power = np.zeros(problem.users)
    power[n] = best_power_w(problem, n, problem.gain[n, server[n]], bandwidth[n])
    return Allocation(
        server=np.where(split, server, -1), local_layers=local_layers, power_w=power, bandwidth_hz=bandwidth,
        user_frequency_hz=device_clock(problem), server_frequency_hz=clock,
    )


def _optimal(problem: SplitTraining, server: IntArray, local_layers: IntArray) -> Allocation:
    from edgealloc.formulations.split_training.resources import optimal_allocation

    placed = np.where(local_layers < problem.layers, server, -1)
    found: Allocation = optimal_allocation(problem, placed, local_layers)
    return found


# ---- the tables -------------------------------------------------------------------------------------------

#: name -> (problem, run) -> server (N,); the entries of users without a link mean nothing.
ASSOCIATION_RULES: Final[dict[str, Callable[[SplitTraining, Run], IntArray]]] = {
    "best-rate": _best_rate,
    "random": _random_server,
}
#: name -> (problem, server, users that can be split) -> cut (N,), `layers` for fully local.
CUT_RULES: Final[dict[str, Callable[[SplitTraining, IntArray, BoolArray], IntArray]]] = {
    "smallest": _smallest_cut,
    "largest": _largest_cut,
    "best": _best_cut,
}
#: name -> (problem, server, cut) -> allocation.
RESOURCE_RULES: Final[dict[str, Callable[[SplitTraining, IntArray, IntArray], Allocation]]] = {
    "equal": equal_allocation,
    "optimal": _optimal,
}
#: name -> its three rules.
BASELINES: Final[dict[str, Baseline]] = {
    "edge-only": Baseline("best-rate", "smallest", "optimal"),
    "local-only": Baseline("best-rate", "largest", "optimal"),
    "greedy": Baseline("best-rate", "best", "equal"),
    "random": Baseline("random", "best", "equal"),
}


def run_baseline(name: str, problem: SplitTraining, run: Run) -> Outcome:
    """Apply the three rules of a baseline of the table one after the other.

    Users that no server hears, or that have no cut left below `layers`, train fully locally whatever the
    rules; that this is allowed is known, because an infeasible problem never gets here.
    """
    rules = BASELINES[name]
    split = can_split(problem)
    server = ASSOCIATION_RULES[rules.association](problem, run)
    local_layers = CUT_RULES[rules.cut](problem, server, split)
    allocation = RESOURCE_RULES[rules.resources](problem, server, local_layers)
    run.report(name, objective=problem.evaluate(allocation).objective)
    return Outcome(allocation=allocation)


def edge_only(problem: SplitTraining, run: Run) -> Outcome:
    """Smallest allowed cut on the server of best rate, resources optimised."""
    return run_baseline("edge-only", problem, run)


def local_only(problem: SplitTraining, run: Run) -> Outcome:
    """Fully local where allowed, else the largest cut on the server of best rate, resources optimised."""
    return run_baseline("local-only", problem, run)


def greedy(problem: SplitTraining, run: Run) -> Outcome:
    """Server of best rate, best cut, equal shares."""
    return run_baseline("greedy", problem, run)


def random(problem: SplitTraining, run: Run) -> Outcome:
    """Random server, best cut, equal shares."""
    return run_baseline("random", problem, run)
