"""The rules that baselines are made of: which server a user is put on, and where it is cut.

They price the sum of delays, energy and stability, and know nothing of deadlines, rounds, caps and server memory: an
answer that breaks one of these is rejected when it is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.formulations.split_training.reduced import radio_weights
from edgealloc.formulations.split_training.shares import Division, best_power_w, divided
from edgealloc.system.radio import rate_bits_per_s

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "best_cut",
    "best_cut_on_server",
    "best_rate",
    "can_split",
    "largest_cut",
    "local_cost",
    "placed",
    "random_cut",
    "random_server",
    "smallest_cut",
    "split_cost",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Random cuts draw from a stream of their own, so that they do not depend on what else is drawn.
_CUTS: Final = 1


def can_split(problem: SplitTraining) -> BoolArray:
    """Users (N,) that some server hears and that have a cut below `layers`."""
    cuts = problem.cuts
    return np.asarray((problem.gain > 0.0).any(axis=1) & (cuts.low <= cuts.high))


def placed(problem: SplitTraining, server: IntArray) -> BoolArray:
    """Users (N,) that an association puts on a server: those it gives one, and who can make use of it."""
    return can_split(problem) & (server >= 0)


# ---- association --------------------------------------------------------------------------------------------


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


# ---- cut ----------------------------------------------------------------------------------------------------


def smallest_cut(problem: SplitTraining, server: IntArray, _division: Division, _run: Run) -> IntArray:
    """As few layers on the device as allowed."""
    return np.where(placed(problem, server), problem.cuts.low, problem.layers)


def largest_cut(problem: SplitTraining, server: IntArray, _division: Division, _run: Run) -> IntArray:
    """Fully local where allowed, else as many layers on the device as allowed."""
    return np.where(placed(problem, server) & ~problem.cuts.local, problem.cuts.high, problem.layers)


def random_cut(problem: SplitTraining, server: IntArray, _division: Division, run: Run) -> IntArray:
    """A cut drawn uniformly among those allowed, fully local training being one of them."""
    cuts, split = problem.cuts, placed(problem, server)
    count = np.where(split, cuts.high - cuts.low + 1, 0)
    options = np.maximum(count + cuts.local, 1)
    # one number per user, as for servers
    uniform = np.random.default_rng([run.seed, _CUTS]).random(problem.users)
    drawn = np.minimum((uniform * options).astype(np.int64), options - 1)
    return np.where(drawn < count, cuts.low + drawn, problem.layers)


def best_cut(problem: SplitTraining, server: IntArray, division: Division, _run: Run) -> IntArray:
    """The cut, or fully local training, of least cost at the shares that a division gives.

    The share is that among *all* users put on the server: who ends up fully local is not known yet. Those who stay
    divide the server anew afterwards, so their shares are at least as large as those priced here.
    """
    cost, cut = _cost_on_server(problem, server, division)
    # costs beyond the largest float compare as equal: a user that may not train alone keeps its smallest cut
    alone = local_cost(problem, division.user_frequency_hz) < cost
    return np.where(placed(problem, server) & ~alone, cut, problem.layers)


def best_cut_on_server(problem: SplitTraining, server: IntArray, division: Division, _run: Run) -> IntArray:
    """The split cut of least cost for everybody on a server: who trains fully locally was the association's choice."""
    _, cut = _cost_on_server(problem, server, division)
    return np.where(placed(problem, server), cut, problem.layers)


def _cost_on_server(
    problem: SplitTraining, server: IntArray, division: Division
) -> tuple[FloatArray, IntArray]:
    """Least cost (N,) over the split cuts at the shares of everybody placed, inf for others, and the cut."""
    split = placed(problem, server)
    n = np.flatnonzero(split)
    bandwidth, clock = divided(problem, server, split, division)
    power = None if division.power_w is None else division.power_w[n]
    cost, cut = np.full(problem.users, np.inf), np.full(problem.users, problem.layers, dtype=np.int64)
    cost[n], cut[n] = split_cost(
        problem, n, server[n], bandwidth[n], clock[n], power, division.user_frequency_hz[n]
    )
    return cost, cut


def split_cost(
    problem: SplitTraining, n: IntArray, m: IntArray, bandwidth_hz: FloatArray, clock_hz: FloatArray,
    power_w: FloatArray | None, user_frequency_hz: FloatArray,
) -> tuple[FloatArray, IntArray]:
    """Least cost of users over their split cuts at given resources, and the cut (the smallest of equals).

    Parameters
    ----------
    problem : SplitTraining
    n, m : int array (K,)
        Users, with an allowed split cut each, and servers that hear them.
    bandwidth_hz, clock_hz, user_frequency_hz : array (K,)
    power_w : array (K,), optional
        By default the best one for the bandwidth.

    Returns
    -------
    cost : array (K,)
        Objective, the delay counted as in a sum; inf where it exceeds the largest float.
    cut : int array (K,)
    """
    layers = problem.layers
    time, energy, stability = (
        problem.weights.effective(term, problem.users)[n] for term in ("delay", "energy", "stability")
    )
    waiting = time + energy * problem.idle_power_w[n]
    if problem.server_joules_per_flop is not None:
        joules = problem.server_joules_per_flop[m]
    else:
        joules = problem.server_kappa[m] * clock_hz**2 / problem.server_flops_per_cycle[m]
    on_server = waiting / (clock_hz * problem.server_flops_per_cycle[m]) + energy * joules
    on_device = _device_cost_per_flop(problem, user_frequency_hz, n)
    shared = _radio_cost(problem, n, m, bandwidth_hz, power_w) + waiting * problem.fixed_delay_s[n, m]
    low, high = problem.cuts.low[n], problem.cuts.high[n]
    best, choice = np.full(n.size, np.inf), low.copy()
    # one cut at a time: (K, Y) arrays would be the only large thing in memory
    for cut in range(layers):
        with np.errstate(invalid="ignore", over="ignore"):
            cost = shared + on_device * cut * problem.layer_flops[n]
            cost = cost + on_server * ((layers - cut) * problem.layer_flops[n] + problem.head_flops[n])
            cost = cost + stability * problem.stability.value(cut / layers, problem.samples[n])
        better = (low <= cut) & (cut <= high) & (cost < best)
        best[better], choice[better] = cost[better], cut
    return best, choice


def local_cost(problem: SplitTraining, user_frequency_hz: FloatArray) -> FloatArray:
    """Objective (N,) of training fully locally at a device clock; inf where that is not allowed."""
    n = np.flatnonzero(problem.cuts.local)
    cost = np.full(problem.users, np.inf)
    stability = problem.weights.effective("stability", problem.users)[n]
    cost[n] = _device_cost_per_flop(problem, user_frequency_hz[n], n) * (
        problem.layers * problem.layer_flops[n] + problem.head_flops[n])
    cost[n] += stability * problem.stability.value(1.0, problem.samples[n])
    return cost


def _device_cost_per_flop(problem: SplitTraining, clock_hz: FloatArray, n: IntArray) -> FloatArray:
    """Objective per FLOP (K,) on the devices of users `n`: (w_t / f + w_e kappa f^2) / (C D)."""
    time, energy = (problem.weights.effective(term, problem.users)[n] for term in ("delay", "energy"))
    per_cycle = time / clock_hz + energy * problem.user_kappa[n] * clock_hz**2
    return np.asarray(per_cycle / problem.user_flops_per_cycle[n], dtype=np.float64)


def _radio_cost(
    problem: SplitTraining, n: IntArray, m: IntArray, bandwidth_hz: FloatArray, power_w: FloatArray | None
) -> FloatArray:
    """Objective (K,) of the upload at a bandwidth and a power, by default the best."""
    per_second, per_joule = (weight[n] for weight in radio_weights(problem))
    gain = problem.gain[n, m]
    power = best_power_w(problem, n, gain, bandwidth_hz) if power_w is None else power_w
    rate = rate_bits_per_s(bandwidth_hz, power, gain, problem.noise_psd_w_per_hz)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = per_second + per_joule * power
        return np.where(weight > 0.0, weight * problem.upload_bits[n] / rate, 0.0)
