r"""Exact resources at a fixed association and cut: bandwidth and clock of every server split by one price each.

With the cut fixed, a server's users couple only through sum b <= b_m and sum F <= F_m, and the problem is convex: the
split is the response to the prices at which the sums meet the limits (`site`). These prices are the multipliers,
hence the value of one more Hz.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.moves import assignment_cost, worst_excess
from edgealloc.formulations.split_training.options import (
    EXACT,
    device_response,
    job_cycles,
    link_delay,
    respond,
    timed_option,
)
from edgealloc.formulations.split_training.reduced import Reduced, local_cycles, reduce, round_weight
from edgealloc.system.responses import best_received_power

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "Settled",
    "best_round",
    "local_multiplier",
    "marginal_prices",
    "members_of",
    "optimal_allocation",
    "settle",
    "split",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Settled(NamedTuple):
    """An assignment's optimal cost (what broken limits cost included), prices (M, 4), multipliers (N,), and whether it
    keeps every hard limit."""

    cost: float
    price: FloatArray
    theta: FloatArray
    kept: bool


def members_of(server: IntArray, servers: int) -> tuple[IntArray, IntArray]:
    """Users sorted by server, and the (M+1,) offsets of each server's run; fully local users come first, cut off."""
    order = np.argsort(server, kind="stable").astype(np.int64)
    offsets = np.searchsorted(server[order], np.arange(servers + 1)).astype(np.int64)
    return order, offsets


def settle(data: Reduced, server: IntArray, cut: IntArray, guess: FloatArray | None = None) -> Settled:
    """Optimal cost and prices of an assignment; `guess` (M, 4) are prices to start from."""
    servers = data.server.size
    # writable copies: kernels are compiled for one kind of array
    server, cut = np.array(server, dtype=np.int64), np.array(cut, dtype=np.int64)
    order, offsets = members_of(server, servers)
    price = np.zeros((servers, 4)) if guess is None else np.array(guess)
    theta = np.zeros(server.size)
    cost = float(assignment_cost(data, server, cut, order, offsets, price, theta))
    late = (theta >= data.user["penalty"]) & (data.user["hard"] > 0.0) & (theta > 0.0)
    broken = late.any() or price[:, 2:].any() or not math.isfinite(cost)
    if not broken and data.timed:
        # where two prices could not be found exactly, the cost is a bound and nobody's cost
        broken = worst_excess(data, cut, order, offsets, price, theta.copy()) > 1e-8
    return Settled(cost, price, theta, not broken)


@kernel
def _device_clock(data: Reduced, n: int, cut: int, theta: float, rest: float) -> float:
    """Device clock of user n at its multiplier; faster if rounding elsewhere would make the deadline slip."""
    clock = device_response(data, n, cut, theta)[1]
    user = data.user[n]
    if cut > 0 and theta < user.penalty and user.deadline < np.inf and user.deadline > rest:
        clock = max(clock, min(cut * user.cycles / (user.deadline - rest), user.clock_high))
    return clock


@kernel
def split(
    data: Reduced, members: IntArray, m: int, cut: IntArray, price: FloatArray, theta: FloatArray, band: FloatArray,
    power: FloatArray, share: FloatArray, device: FloatArray,
) -> None:
    """Write the members' bandwidth, power and clocks at the prices, scaled to the limits."""
    server = data.server[m]
    total_b, total_f = 0.0, 0.0
    alone = members.size == 1
    for n in members:
        # a single user takes all that is useful to it whatever the rounding of the prices
        price_b, price_f = price[0], price[1]
        if alone:
            price_b, price_f = 0.0, price_f if server.whole > 0.0 else 0.0
        if data.user[n].deadline < np.inf:
            _, band[n], share[n], theta[n] = timed_option(data, n, m, cut[n], price_b, price_f, theta[n], EXACT)
        else:
            _, band[n], share[n], _ = respond(data, n, m, cut[n], price_b, price_f, 0.0)
        total_b += band[n]
        total_f += share[n]
    # more bandwidth never hurts, so all of it is handed out; the clock only where it costs nothing by itself
    scale_b, scale_f = server.bandwidth / total_b, server.clock / total_f
    if server.kappa > 0.0 and server.whole <= 0.0:
        scale_f = min(1.0, scale_f)
    for n in members:
        user = data.user[n]
        gain = data.gain[n, m] * data.inverse_noise
        band[n] *= scale_b
        share[n] *= scale_f
        received = best_received_power(band[n], user.power_low * gain, user.power_high * gain,
                                       user.k1 + theta[n] * user.nats, user.k2 / gain)
        power[n] = min(max(received / gain, user.power_low), user.power_high)
        rest = user.nats / (band[n] * math.log1p(power[n] * gain / band[n])) + job_cycles(data, n, m, cut[n]) / share[n]
        device[n] = _device_clock(data, n, cut[n], theta[n], rest + link_delay(data, n, m))


def optimal_allocation(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, *, data: Reduced | None = None
) -> Allocation:
    """Optimal power, bandwidth and clocks at a fixed association and cut.

    Parameters
    ----------
    problem : SplitTraining
    server, local_layers : (N,) int
        Server -1 where fully local.
    data : Reduced, optional
        `reduce(problem)` if at hand; of a synchronous round of the length that it should have, the best one by default.

    Returns
    -------
    Allocation
        Globally optimal for these integers, to about 1e-14 of the objective. Where no resources keep the deadlines it
        keeps all other limits and comes near.
    """
    return _allocated(problem, server, local_layers, data)[0]


def _allocated(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, data: Reduced | None
) -> tuple[Allocation, Reduced, Settled]:
    server, cut = np.array(server, dtype=np.int64), np.array(local_layers, dtype=np.int64)
    if data is None and problem.delay == "max":
        # at the best length the multipliers can be steep as a cliff: a hair beyond it the shares are better defined
        data, _ = best_round(problem, server, cut)
        length = float(data.user["deadline"].max())
        tries = [_allocated(problem, server, cut, data)]
        tries += [
            _allocated(problem, server, cut, reduce(problem, round_s=length * (1.0 + more))) for more in (1e-9, 1e-7)
        ]
        kept = [problem.relative_violation(one[0]) for one in tries]
        return min(
            zip(kept, tries, strict=True),
            key=lambda one: (one[0] > FEASIBILITY_TOLERANCE, problem.evaluate(one[1][0]).objective),
        )[1]
    data = reduce(problem) if data is None else data
    settled = settle(data, server, cut)
    band, power, share = np.zeros(problem.users), np.zeros(problem.users), np.zeros(problem.users)
    device = np.array(data.user["local_clock"])
    order, offsets = members_of(server, problem.servers)
    theta = settled.theta.copy()
    for m in range(problem.servers):
        members = order[offsets[m] : offsets[m + 1]]
        if members.size:
            split(data, members, m, cut, settled.price[m], theta, band, power, share, device)
    theta[server < 0] = local_multiplier(problem, data)[server < 0]
    allocation = Allocation(server=server, local_layers=cut, power_w=power, bandwidth_hz=band,
                            user_frequency_hz=device, server_frequency_hz=share)
    return allocation, data, settled._replace(theta=theta)


def local_multiplier(problem: SplitTraining, data: Reduced) -> FloatArray:
    """Multiplier (N,) of the deadline of training fully locally: what makes the clock the best one."""
    user = data.user
    clock = user["local_clock"]
    bound = np.isfinite(user["deadline"]) & (local_cycles(problem) >= user["deadline"] * clock * (1.0 - 1e-12))
    theta = np.clip(2.0 * user["kappa"] * clock**3 - user["device_time"], 0.0, user["penalty"])
    return np.asarray(np.where(bound & (clock > user["clock_low"]), theta, 0.0))


def best_round(problem: SplitTraining, server: IntArray, cut: IntArray) -> tuple[Reduced, float]:
    r"""Coefficients of a synchronous round of the best length for an assignment, and its least objective.

    The least cost within a round of length T is convex in T with slope :math:`w_t - \sum_n \theta_n`: its root by
    bisection on log T with secant steps.
    """
    weight = round_weight(problem)

    def slope(y: float) -> tuple[float, Reduced, float]:
        data = reduce(problem, round_s=math.exp(y))
        settled = settle(data, server, cut)
        theta = settled.theta.copy()
        alone = np.asarray(server) < 0
        theta[alone] = local_multiplier(problem, data)[alone]
        binding = np.ones(problem.users, dtype=bool) if problem.deadline_s is None else problem.deadline_s > math.exp(y)
        total = settled.cost + weight * math.exp(y)
        if math.isinf(total):  # somebody who trains alone is too slow
            return math.inf, data, total
        return math.log(max(float(theta[binding].sum()), 1e-300) / weight), data, total

    low, high = -math.inf, math.inf
    y = math.log(_fair_round(problem, server, cut))
    excess, data, total = slope(y)
    best, least = data, total
    y_old = excess_old = math.inf
    for step in range(200):
        if abs(excess) <= 1e-11:
            break
        if excess > 0.0:
            low = y
        else:
            high = y
        bracketed = math.isfinite(low) and math.isfinite(high)
        # near what is feasible at all the multipliers rise steeply: now and then the bracket is just halved
        tangent = -2.0
        if math.isfinite(excess_old) and math.isfinite(excess) and excess != excess_old:
            tangent = min((excess - excess_old) / (y - y_old), -0.2)
        y_old, excess_old = y, excess
        y = y - max(min(excess / tangent, 2.0), -2.0)
        if bracketed and (step % 4 == 3 or not low < y < high):
            y = 0.5 * (low + high)
        if y in (low, high) or (bracketed and high - low <= 1e-15 * max(abs(low), 1.0)):
            break
        excess, data, total = slope(y)
        if total < least:
            best, least = data, total
    return best, least


def _fair_round(problem: SplitTraining, server: IntArray, cut: IntArray) -> float:
    """Longest delay at full power and clock with equal shares."""
    remote = np.asarray(server) >= 0
    m = np.where(remote, server, 0)
    load = np.maximum(np.bincount(m[remote], minlength=problem.servers), 1)[m]
    allocation = Allocation(
        server=np.asarray(server), local_layers=np.asarray(cut), power_w=problem.power_max_w,
        bandwidth_hz=problem.bandwidth_max_hz[m] / load, user_frequency_hz=problem.user_frequency_max_hz,
        server_frequency_hz=problem.server_frequency_max_hz[m] / load,
    )
    return float(problem.evaluate(allocation).response_s.max())


def marginal_prices(problem: SplitTraining, allocation: Allocation) -> dict[str, FloatArray]:
    r"""Multipliers of the continuous problem at the association and cuts of an allocation.

    Returns
    -------
    dict
        "bandwidth_hz" (M,) and "server_frequency_hz" (M,): objective saved per extra Hz of b_m and F_m;
        "power_w" (N,) and "user_frequency_hz" (N,): per extra W of p_max and Hz of f_max; "deadline_s" (N,), if there
        are deadlines: per extra second. Equal to finite differences of the optimal objective with the integers held,
        and >= 0, but for the clock where it has to be handed out whole. "users_per_server" and "server_memory_bytes"
        (M,), if limited, are 0: with the integers held, more of them changes nothing (`bound_prices` has what they
        are worth).
    """
    best, data, settled = _allocated(problem, allocation.server, allocation.local_layers, None)
    theta = settled.theta
    n = np.flatnonzero(best.server >= 0)
    m = best.server[n]
    user = data.user[n]
    k1, k2 = user["k1"] + theta[n] * user["nats"], user["k2"]
    gain = data.gain[n, m] * data.inverse_noise
    band = best.bandwidth_hz[n]
    growth = best.power_w[n] * gain / band
    x = np.log1p(growth)
    per_watt = np.zeros(problem.users)
    # d cost/d p, counted where the limit p_max holds the power back
    slope = (k2 - (k1 + k2 * best.power_w[n]) * gain / (band * (1.0 + growth) * x)) / (band * x)
    at_limit = best.power_w[n] >= problem.power_max_w[n] * (1.0 - 1e-12)  # the kernel rounds p g/N0
    per_watt[n] = np.where(at_limit, np.maximum(-slope, 0.0), 0.0)
    local = best.server < 0
    cycles = (best.local_layers * problem.layer_flops + np.where(local, problem.head_flops, 0.0)) / (
        problem.user_flops_per_cycle)
    f = problem.user_frequency_max_hz
    per_hertz = cycles * ((data.user["device_time"] + theta) / f**2 - 2.0 * data.user["kappa"] * f)
    prices = {"bandwidth_hz": settled.price[:, 0].copy(), "server_frequency_hz": settled.price[:, 1].copy(),
              "power_w": per_watt, "user_frequency_hz": np.maximum(per_hertz, 0.0)}
    if problem.deadline_s is not None:
        prices["deadline_s"] = np.where(problem.deadline_s <= data.user["deadline"], theta, 0.0)
    for name in ("users_per_server", "server_memory_bytes"):
        if getattr(problem, name) is not None:
            prices[name] = np.zeros(problem.servers)
    return prices

