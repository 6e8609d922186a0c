"""The rules that baselines are made of: which server a user is put on, and where it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.formulations.split_training.reduced import device_cost_per_flop, radio_weights
from edgealloc.formulations.split_training.shares import best_power_w, equal_shares
from edgealloc.system.radio import rate_bits_per_s

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["best_cut", "best_rate", "can_split", "largest_cut", "random_server", "smallest_cut"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def can_split(problem: SplitTraining) -> BoolArray:
    """Users (N,) that some server hears and that have a cut below `layers`."""
    cuts = problem.cuts
    return np.asarray((problem.gain > 0.0).any(axis=1) & (cuts.low <= cuts.high))


def best_rate(problem: SplitTraining, _run: Run) -> IntArray:
    """The server of largest rate at its whole band and p_max; the first one of equals."""
    rate = rate_bits_per_s(
        problem.bandwidth_max_hz, problem.power_max_w[:, None], problem.gain, problem.noise_psd_w_per_hz
    )
    # a link so weak that its rate underflows is still better than none
    rate = np.where(problem.gain > 0.0, rate, -1.0)
    return np.asarray(rate.argmax(axis=1), dtype=np.int64)


def random_server(problem: SplitTraining, run: Run) -> IntArray:
    """A server drawn uniformly among those that hear the user."""
    reachable = problem.gain > 0.0
    count = reachable.sum(axis=1)
    # one number per user, so that a user's draw does not depend on what the others can reach
    uniform = np.random.default_rng(run.seed).random(problem.users)
    drawn = np.minimum((uniform * count).astype(np.int64), count - 1)
    return np.asarray((reachable.cumsum(axis=1) > drawn[:, None]).argmax(axis=1), dtype=np.int64)


# ---- cut --------------------------------------------------------------------------------------------------


def smallest_cut(problem: SplitTraining, _server: IntArray, split: BoolArray) -> IntArray:
    return np.where(split, problem.cuts.low, problem.layers)


def largest_cut(problem: SplitTraining, _server: IntArray, split: BoolArray) -> IntArray:
    return np.where(split & ~problem.cuts.local, problem.cuts.high, problem.layers)


def best_cut(problem: SplitTraining, server: IntArray, split: BoolArray) -> IntArray:
    """The cut, or fully local training, of least cost at equal shares.

    The share is that of *all* users associated with the server (everybody who can be split): who ends up
    fully local is not known yet. Those who stay divide the resources anew afterwards, so their shares are at
    least as large as those priced here.
    """
    n = np.flatnonzero(split)
    bandwidth, clock = equal_shares(problem, server, split)
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
