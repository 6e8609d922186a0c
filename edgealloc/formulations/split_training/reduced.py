"""SplitTraining boiled down to what a price sees: coefficients of the three forces on every user."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.system.compute import optimal_clock_hz

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "SERVER", "USER", "Reduced", "device_clock", "device_cost_per_flop", "radio_weights", "reduce",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Reduced(NamedTuple):
    r"""Coefficients of user n's cost at cut alpha on server m.

    .. math:: A_n \alpha + S_n h(\alpha) + \text{fixed}_{nm} + \text{radio}(K_1, K_2/G) + W_n(\alpha)\,[\ldots]

    A named tuple of few arrays, users and servers as records, because compiled kernels take it whole and their compile
    time grows with the number of arrays.

    Attributes
    ----------
    user : (N,) of USER
        See `USER`.
    server : (M,) of SERVER
        See `SERVER`.
    factor : (Y+1,)
        h(alpha) = AS(alpha/Y, 1).
    gain : (N, M)
        Linear gain.
    inverse_noise : float
        1/N0; G = gain/N0.
    fixed : (N, M) or (1, 1)
        Cost of the fixed delay; the small shape means none.
    """

    user: npt.NDArray[Any]
    server: npt.NDArray[Any]
    factor: FloatArray
    gain: FloatArray
    inverse_noise: float
    fixed: FloatArray

    @property
    def bandwidth(self) -> FloatArray:
        """b_m (M,), Hz."""
        return np.ascontiguousarray(self.server["bandwidth"])

    @property
    def clock(self) -> FloatArray:
        """F_m (M,), Hz."""
        return np.ascontiguousarray(self.server["clock"])


#: One user: split cuts low..high (none if low > high); cost of training fully locally (inf: not allowed); A_n, time and
#: energy of one layer on the device at its best clock; S_n = w_s/k_n; FLOP of a layer and of the head; radio weights
#: times nats to send, k1 = a_t s ln 2 and k2 = a_e s ln 2 (K2 of `responses.radio_response` is k2/G); transmit power, W;
#: objective per second of server time (device idling included) and per joule.
USER: Final = np.dtype([
    ("low", np.int64), ("high", np.int64), ("local_cost", np.float64), ("device", np.float64),
    ("instability", np.float64), ("layer", np.float64), ("head", np.float64), ("k1", np.float64), ("k2", np.float64),
    ("power_low", np.float64), ("power_high", np.float64), ("time_weight", np.float64), ("energy_weight", np.float64),
])
#: One server: b_m and F_m, Hz; FLOP/cycle; J/cycle of a time-shared server (else 0), kappa of a clock-scaled one (else 0).
SERVER: Final = np.dtype([
    ("bandwidth", np.float64), ("clock", np.float64), ("per_cycle", np.float64), ("joules", np.float64),
    ("kappa", np.float64),
])


def device_clock(problem: SplitTraining) -> FloatArray:
    """f* (N,): the best device clock depends on nothing else, as long as no deadline binds."""
    users = problem.users
    return optimal_clock_hz(
        problem.weights.effective("delay", users), problem.weights.effective("energy", users), problem.user_kappa,
        problem.user_frequency_min_hz, problem.user_frequency_max_hz,
    )


def device_cost_per_flop(problem: SplitTraining) -> FloatArray:
    """Objective per FLOP (N,) on the device at its best clock: (w_t / f + w_e kappa f^2) / (C D)."""
    time, energy = (problem.weights.effective(term, problem.users) for term in ("delay", "energy"))
    f = device_clock(problem)
    return np.asarray((time / f + energy * problem.user_kappa * f**2) / problem.user_flops_per_cycle, dtype=np.float64)


def radio_weights(problem: SplitTraining) -> tuple[FloatArray, FloatArray]:
    """Objective per second of upload and per radiated joule, each (N,).

    The upload costs ``(a_t + a_e p) s / r(b, p)`` with a_t = w_t (if the upload delay counts) + w_e P_circuit
    and a_e = w_e / eta_pa.
    """
    time, energy = (problem.weights.effective(term, problem.users) for term in ("delay", "energy"))
    counted = time if problem.count_upload_delay else 0.0
    return counted + energy * problem.circuit_power_w, energy / problem.amplifier_efficiency


def reduce(problem: SplitTraining) -> Reduced:
    """Coefficients of a problem; memory is that of a few arrays of length N beside the gains."""
    users, layers = problem.users, problem.layers
    time = problem.weights.effective("delay", users)
    energy = problem.weights.effective("energy", users)
    per_flop = device_cost_per_flop(problem)
    device = per_flop * problem.layer_flops
    instability = problem.weights.effective("stability", users) / problem.samples
    with np.errstate(divide="ignore"):
        factor = np.asarray(problem.stability.value(np.arange(layers + 1) / layers, np.ones(layers + 1)))
    cuts = problem.cuts
    local_cost = np.full(users, np.inf)
    whole = per_flop * (layers * problem.layer_flops + problem.head_flops)
    local_cost[cuts.local] = whole[cuts.local] + instability[cuts.local] * factor[layers]
    nats = problem.upload_bits * math.log(2.0)
    per_second, per_joule = radio_weights(problem)
    server_time = time + energy * problem.idle_power_w
    fixed = np.zeros((1, 1))
    if problem.fixed_delay_s.any():
        fixed = server_time[:, None] * problem.fixed_delay_s
    user = np.zeros(users, dtype=USER)
    for name, values in {
        "low": cuts.low, "high": cuts.high, "local_cost": local_cost, "device": device, "instability": instability,
        "layer": problem.layer_flops, "head": problem.head_flops, "k1": per_second * nats,
        "k2": per_joule * nats, "power_low": problem.power_min_w,
        "power_high": problem.power_max_w, "time_weight": server_time, "energy_weight": energy,
    }.items():
        user[name] = values
    server = np.zeros(problem.servers, dtype=SERVER)
    server["bandwidth"], server["clock"] = problem.bandwidth_max_hz, problem.server_frequency_max_hz
    server["per_cycle"] = problem.server_flops_per_cycle
    if problem.server_joules_per_flop is not None:
        server["joules"] = problem.server_joules_per_flop * problem.server_flops_per_cycle
    else:
        server["kappa"] = problem.server_kappa
    return Reduced(user=user, server=server, factor=np.where(np.isfinite(factor), factor, 0.0), gain=problem.gain,
                   inverse_noise=1.0 / problem.noise_psd_w_per_hz, fixed=fixed)
