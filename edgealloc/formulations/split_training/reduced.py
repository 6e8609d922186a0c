"""SplitTraining boiled down to what a price sees: coefficients of the three forces on every user."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.system.compute import optimal_clock_hz

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["Reduced", "device_clock", "reduce"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Reduced(NamedTuple):
    r"""Coefficients of user n's cost at cut alpha on server m (a named tuple, because compiled kernels take it whole).

    .. math:: A_n \alpha + S_n h(\alpha) + \text{fixed}_{nm} + \text{radio}(K_1, K_2/G) + W_n(\alpha)\,[\ldots]

    Attributes
    ----------
    low, high : (N,) int
        Split cuts; none if low > high.
    local_cost : (N,)
        Cost of training fully locally, inf where that is not allowed.
    device : (N,)
        A_n: time and energy of one layer on the device at its best clock.
    instability : (N,)
        S_n = w_s / k_n.
    factor : (Y+1,)
        h(alpha) = AS(alpha/Y, 1).
    layer, head : (N,)
        FLOP of a layer and of the head.
    k1, k2 : (N,)
        a_t s ln 2 and a_e s ln 2: radio weights times nats to send; K2 of `responses.radio_response` is k2/G.
    power_low, power_high : (N,)
        Transmit power, W.
    time_weight, energy_weight : (N,)
        Objective per second of server time (device idling included), and per joule.
    gain : (N, M)
        Linear gain.
    inverse_noise : float
        1/N0; G = gain/N0.
    fixed : (N, M) or (1, 1)
        Cost of the fixed delay; the small shape means none.
    bandwidth, clock : (M,)
        b_m and F_m, Hz.
    per_cycle : (M,)
        FLOP/cycle.
    joules, kappa : (M,)
        J/cycle of a time-shared server (else 0) and kappa of a clock-scaled one (else 0).
    """

    low: IntArray
    high: IntArray
    local_cost: FloatArray
    device: FloatArray
    instability: FloatArray
    factor: FloatArray
    layer: FloatArray
    head: FloatArray
    k1: FloatArray
    k2: FloatArray
    power_low: FloatArray
    power_high: FloatArray
    time_weight: FloatArray
    energy_weight: FloatArray
    gain: FloatArray
    inverse_noise: float
    fixed: FloatArray
    bandwidth: FloatArray
    clock: FloatArray
    per_cycle: FloatArray
    joules: FloatArray
    kappa: FloatArray


def device_clock(problem: SplitTraining) -> FloatArray:
    """f* (N,): the best device clock depends on nothing else, as long as no deadline binds."""
    users = problem.users
    return optimal_clock_hz(
        problem.weights.effective("delay", users), problem.weights.effective("energy", users), problem.user_kappa,
        problem.user_frequency_min_hz, problem.user_frequency_max_hz,
    )


def reduce(problem: SplitTraining) -> Reduced:
    """Coefficients of a problem; memory is that of a few arrays of length N beside the gains."""
    users, layers = problem.users, problem.layers
    time = problem.weights.effective("delay", users)
    energy = problem.weights.effective("energy", users)
    clock = device_clock(problem)
    per_flop = (time / clock + energy * problem.user_kappa * clock**2) / problem.user_flops_per_cycle
    device = per_flop * problem.layer_flops
    instability = problem.weights.effective("stability", users) / problem.samples
    with np.errstate(divide="ignore"):
        factor = np.asarray(problem.stability.value(np.arange(layers + 1) / layers, np.ones(layers + 1)))
    cuts = problem.cuts
    local_cost = np.full(users, np.inf)
    local_cost[cuts.local] = (
        per_flop * (layers * problem.layer_flops + problem.head_flops) + instability * factor[layers]
    )[cuts.local]
    nats = problem.upload_bits * math.log(2.0)
    upload_time = (time if problem.count_upload_delay else 0.0) + energy * problem.circuit_power_w
    server_time = time + energy * problem.idle_power_w
    fixed = np.zeros((1, 1))
    if problem.fixed_delay_s.any():
        fixed = server_time[:, None] * problem.fixed_delay_s
    zeros = np.zeros(problem.servers)
    time_shared = problem.server_joules_per_flop is not None
    return Reduced(
        low=cuts.low, high=cuts.high, local_cost=local_cost, device=device, instability=instability,
        factor=np.where(np.isfinite(factor), factor, 0.0), layer=problem.layer_flops, head=problem.head_flops,
        k1=upload_time * nats, k2=energy / problem.amplifier_efficiency * nats,
        power_low=problem.power_min_w, power_high=problem.power_max_w, time_weight=server_time,
        energy_weight=np.ascontiguousarray(energy), gain=problem.gain, inverse_noise=1.0 / problem.noise_psd_w_per_hz,
        fixed=fixed, bandwidth=problem.bandwidth_max_hz, clock=problem.server_frequency_max_hz,
        per_cycle=problem.server_flops_per_cycle,
        joules=problem.server_joules_per_flop * problem.server_flops_per_cycle if time_shared else zeros,
        kappa=zeros if time_shared else problem.server_kappa,
    )
