"""SplitTraining boiled down to what a price sees: coefficients of the three forces on every user."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.limits import hard_deadlines
from edgealloc.system.compute import optimal_clock_hz

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "ELASTIC",
    "ROUND_MEAN",
    "SERVER",
    "USER",
    "Reduced",
    "device_clock",
    "device_cost_per_flop",
    "lateness_only",
    "radio_weights",
    "reduce",
    "stiffer", "without_deadlines",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Reduced(NamedTuple):
    r"""Coefficients of user n's cost at cut alpha on server m.

    .. math:: A_n \alpha + S_n h(\alpha) + w d_{nm} + \text{radio}(K_1, K_2/G) + W_n(\alpha)\,[\ldots]

    A named tuple of few arrays, users and servers as records, because compiled kernels take it whole and their compile
    time grows with the number of arrays.

    Every limit is *elastic* here: a second late costs `penalty`, a user or byte too many on a server `user_penalty` or
    `byte_penalty`. For limits that must be kept these are so large (`ELASTIC`) that no good answer pays them. So there
    is always something to improve, a bound of the elastic problem is a bound of the true one, and an answer that pays
    nothing is feasible.

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
    delay : (N, M) or (1, 1)
        Fixed delay of a link, s; the small shape means none.
    """

    user: npt.NDArray[Any]
    server: npt.NDArray[Any]
    factor: FloatArray
    gain: FloatArray
    inverse_noise: float
    delay: FloatArray

    @property
    def bandwidth(self) -> FloatArray:
        """b_m (M,), Hz."""
        return np.ascontiguousarray(self.server["bandwidth"])

    @property
    def clock(self) -> FloatArray:
        """F_m (M,), Hz."""
        return np.ascontiguousarray(self.server["clock"])

    @property
    def timed(self) -> bool:
        """Some user has a deadline."""
        return bool(np.isfinite(self.user["deadline"]).any())


#: One user: split cuts low..high (none if low > high); cost of training fully locally (inf: not allowed); A_n, time and
#: energy of one layer on the device at its best clock; S_n = w_s/k_n; FLOP of a layer and of the head; radio weights
#: times nats to send, k1 = a_t s ln 2 and k2 = a_e s ln 2 (K2 of `responses.radio_response` is k2/G); transmit power,
#: W; objective per second of server time (device idling included) and per joule. Then what deadlines need: nats s ln 2;
#: objective per second of device time; device cycles of a layer, w_e kappa and range of the clock; the deadline (inf:
#: none), objective per second beyond it, and whether it must be kept (1.0, else 0.0); server memory, bytes; best clock
#: of training fully locally.
USER: Final = np.dtype([(name, np.int64) for name in ("low", "high")] + [(name, np.float64) for name in (
    "local_cost", "device", "instability", "layer", "head", "k1", "k2", "power_low", "power_high", "time_weight",
    "energy_weight", "nats", "device_time", "cycles", "kappa", "clock_low", "clock_high", "deadline", "penalty", "hard",
    "fixed_bytes", "layer_bytes", "local_clock",
)])
#: One server: b_m and F_m, Hz; FLOP/cycle; J/cycle of a time-shared server (else 0), kappa of a clock-scaled one (else
#: 0); whether its clock must be handed out whole (1.0, else 0.0); most users and most bytes (inf: no limit) and the
#: objective per user and per byte beyond.
SERVER: Final = np.dtype([(name, np.float64) for name in (
    "bandwidth", "clock", "per_cycle", "joules", "kappa", "whole", "users", "bytes", "user_penalty", "byte_penalty",
)])

#: What breaking a limit costs, in typical costs of a user per user too many, memory doubled or deadline doubled.
ELASTIC: Final = 1e6


#: The longest delay is at least (1 - eps) times itself + eps times the mean: with this eps, rounds have a unique best
#: way to spend what they have in plenty, at the price of a bound that is loose by this share of the delay at most.
ROUND_MEAN: Final = 1e-7


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


def round_weight(problem: SplitTraining) -> float:
    """Objective per second of a synchronous round's length; the rest of w_t goes to the mean (`ROUND_MEAN`)."""
    return (1.0 - ROUND_MEAN) * float(problem.weights.effective("delay", problem.users)[0])


def local_cycles(problem: SplitTraining) -> FloatArray:
    """Device cycles (N,) of a whole step, head included."""
    work = problem.layers * problem.layer_flops + problem.head_flops
    return np.asarray(work / problem.user_flops_per_cycle, dtype=np.float64)


def reduce(problem: SplitTraining, *, round_s: float | None = None) -> Reduced:
    """Coefficients of a problem; memory is that of a few arrays of length N beside the gains.

    Parameters
    ----------
    problem : SplitTraining
    round_s : float, optional
        Length of a synchronous round: nobody may take longer, and time costs next to nothing (see `ROUND_MEAN`).
    """
    users, layers = problem.users, problem.layers
    time = problem.weights.effective("delay", users)
    deadline = np.full(users, np.inf) if problem.deadline_s is None else np.array(problem.deadline_s)
    hard = hard_deadlines(problem)
    counted = time if problem.count_upload_delay else np.zeros(users)
    if round_s is not None:
        time = counted = time * ROUND_MEAN / users
        deadline, hard = np.minimum(deadline, round_s), np.ones(users, dtype=np.bool_)
    energy = problem.weights.effective("energy", users)
    kappa, per_cycle = energy * problem.user_kappa, problem.user_flops_per_cycle
    f = optimal_clock_hz(time, energy, problem.user_kappa, problem.user_frequency_min_hz, problem.user_frequency_max_hz)
    device = (_times(time, 1.0 / np.maximum(f, 1e-300)) + kappa * f**2) / per_cycle * problem.layer_flops
    with np.errstate(divide="ignore"):
        factor = np.asarray(problem.stability.value(np.arange(layers + 1) / layers, np.ones(layers + 1)))
    factor = np.where(np.isfinite(factor), factor, 0.0)
    cuts, nats = problem.cuts, problem.upload_bits * math.log(2.0)
    per_joule = energy / problem.amplifier_efficiency
    user = np.zeros(users, dtype=USER)
    for name, values in {
        "low": cuts.low, "high": cuts.high, "device": device,
        "instability": problem.weights.effective("stability", users) / problem.samples,
        "layer": problem.layer_flops, "head": problem.head_flops,
        "k1": (counted + energy * problem.circuit_power_w) * nats, "k2": per_joule * nats,
        "power_low": problem.power_min_w, "power_high": problem.power_max_w,
        "time_weight": time + energy * problem.idle_power_w, "energy_weight": energy, "nats": nats,
        "device_time": time, "cycles": problem.layer_flops / per_cycle, "kappa": kappa,
        "clock_low": problem.user_frequency_min_hz, "clock_high": problem.user_frequency_max_hz, "deadline": deadline,
        "hard": hard, "fixed_bytes": problem.server_memory_bytes_fixed,
        "layer_bytes": problem.server_memory_bytes_per_layer,
    }.items():
        user[name] = values
    server = np.zeros(problem.servers, dtype=SERVER)
    server["bandwidth"], server["clock"] = problem.bandwidth_max_hz, problem.server_frequency_max_hz
    server["per_cycle"] = problem.server_flops_per_cycle
    if problem.server_joules_per_flop is not None:
        server["joules"] = problem.server_joules_per_flop * problem.server_flops_per_cycle
    else:
        server["kappa"] = problem.server_kappa
    server["whole"] = problem.resource_sense == "exactly"
    server["users"] = np.inf if problem.users_per_server is None else problem.users_per_server
    server["bytes"] = np.inf if problem.server_memory_bytes is None else problem.server_memory_bytes
    data = Reduced(user=user, server=server, factor=factor, gain=problem.gain,
                   inverse_noise=1.0 / problem.noise_psd_w_per_hz,
                   delay=np.array(problem.fixed_delay_s) if problem.fixed_delay_s.any() else np.zeros((1, 1)))
    _set_penalties(data, problem)
    _set_local_cost(data, problem)
    return data


def lateness_only(data: Reduced) -> Reduced:
    """The same limits with nothing to pay but their excess: 1 per deadline doubled, user too many or memory doubled.

    Its optimum is 1 (which everybody pays a part of, so that relative gaps mean something) if and only if every limit
    can be kept, and what it pays beyond is a repair.
    """
    user, server = data.user.copy(), data.server.copy()
    for name in ("device", "instability", "k1", "k2", "time_weight", "energy_weight", "device_time", "kappa"):
        user[name] = 0.0
    with np.errstate(divide="ignore"):
        user["penalty"] = np.where(data.user["hard"] > 0.0, 1.0 / data.user["deadline"], 0.0)
    user["deadline"] = np.where(data.user["hard"] > 0.0, data.user["deadline"], np.inf)
    user["hard"] = 0.0  # an option that is too slow alone has a lateness, too
    possible = np.isfinite(data.user["local_cost"])
    user["instability"] = 1.0 / user.size
    user["local_cost"] = np.where(possible, 1.0 / user.size, np.inf)
    server["user_penalty"] = 1.0
    server["byte_penalty"] = 1.0 / np.maximum(server["bytes"], 1.0)
    server["whole"] = 0.0
    return data._replace(user=user, server=server, factor=np.ones(data.factor.size))


def without_deadlines(data: Reduced) -> Reduced:
    """The same without any deadline."""
    user = data.user.copy()
    user["deadline"] = np.inf
    user["hard"] = 0.0
    return data._replace(user=user)


def stiffer(data: Reduced) -> Reduced:
    """The same with deadlines that are as dear to break again as they were dear to the first."""
    user = data.user.copy()
    user["penalty"] = np.where(user["hard"] > 0.0, ELASTIC * user["penalty"], user["penalty"])
    return data._replace(user=user)


def _times(weight: FloatArray, amount: FloatArray) -> FloatArray:
    """weight * amount with 0 inf = 0."""
    return np.where(weight > 0.0, weight * amount, 0.0)


def _typical_cost(data: Reduced, problem: SplitTraining) -> FloatArray:
    """A user's cost (N,) at full speed with a whole server: the scale of its penalties, in a round with its time all
    the same."""
    user = data.user
    half = problem.layers / 2.0
    time = problem.weights.effective("delay", problem.users)
    device = user["cycles"] * (time / user["clock_high"] + user["kappa"] * user["clock_high"] ** 2) * half
    m = problem.gain.argmax(axis=1)
    power = user["power_high"] * problem.gain[np.arange(problem.users), m] * data.inverse_noise
    band = data.server["bandwidth"][m]
    gain = np.maximum(problem.gain[np.arange(problem.users), m], 1e-300) * data.inverse_noise
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        radio = (time * user["nats"] + user["k2"] / gain * power) / (band * np.log1p(power / band))
    cycles = (half * user["layer"] + user["head"]) / data.server["per_cycle"][m]
    server = cycles * (time / data.server["clock"][m] + user["energy_weight"] * (
        data.server["joules"][m] + data.server["kappa"][m] * data.server["clock"][m] ** 2))
    cost = device + server + np.where(np.isfinite(radio), radio, 0.0)
    scale = max(float(cost.mean()), 1e-300)
    return np.asarray(np.maximum(cost, 1e-3 * scale), dtype=np.float64)


def _set_penalties(data: Reduced, problem: SplitTraining) -> None:
    typical = _typical_cost(data, problem)
    user, server = data.user, data.server
    given = problem.deadline_penalty_per_s
    timed = np.isfinite(user["deadline"])
    user["penalty"] = np.where(timed, ELASTIC * typical / np.where(timed, user["deadline"], 1.0), 0.0)
    if given is not None:
        soft = np.isfinite(given)
        user["penalty"] = np.where(soft, np.where(soft, given, 0.0), user["penalty"])
    server["user_penalty"] = ELASTIC * typical.mean()
    server["byte_penalty"] = ELASTIC * typical.mean() / np.maximum(server["bytes"], 1.0)


def _set_local_cost(data: Reduced, problem: SplitTraining) -> None:
    """Cost and clock of training fully locally, at the best clock that keeps a hard deadline and minds a soft one."""
    user, layers, cycles = data.user, problem.layers, local_cycles(problem)
    with np.errstate(divide="ignore", invalid="ignore"):
        slowest = cycles / user["deadline"]  # the clock that just keeps the deadline
        pulled = np.where(user["hard"] > 0.0, slowest, np.minimum(
            slowest, np.cbrt((user["device_time"] + user["penalty"]) / (2.0 * user["kappa"]))))
        f = optimal_clock_hz(user["device_time"], user["energy_weight"], problem.user_kappa, user["clock_low"],
                             user["clock_high"])
        f = np.minimum(np.maximum(f, pulled), user["clock_high"])
        elapsed = np.where(f > 0.0, cycles / np.where(f > 0.0, f, 1.0), np.inf)
    late = np.where(np.isfinite(user["deadline"]), np.maximum(elapsed - user["deadline"], 0.0), 0.0)
    kept = (user["hard"] <= 0.0) | (late <= 1e-12 * user["deadline"])
    late = np.where(user["hard"] > 0.0, 0.0, late)
    cost = _times(user["device_time"], elapsed) + cycles * user["kappa"] * f**2 + user["penalty"] * late
    cost = cost + user["instability"] * data.factor[layers]
    user["local_cost"], user["local_clock"] = np.where(problem.cuts.local & kept, cost, np.inf), f
