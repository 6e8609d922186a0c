"""The limits of SplitTraining: their table, the cuts they leave, violations, and the repair of what is infeasible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Conflict, Constraint, Diagnosis
from edgealloc.formulations.split_training.allocation import Allocation

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "CONSTRAINTS", "AllowedCuts", "allowed_cuts", "diagnose", "excesses", "fastest_s", "hard_deadlines", "highest_cut",
    "memory_need", "server_memory_need", "too_late",
]

CONSTRAINTS: Final[tuple[Constraint, ...]] = (
    Constraint("bandwidth_hz", "sum of b_n over the users of m <= b_m", "Hz", priced=True),
    Constraint("server_frequency_hz", "sum of F_n over the users of m <= F_m", "Hz", priced=True),
    Constraint("power_w", "p_min <= p_n <= p_max", "W", priced=True),
    Constraint("user_frequency_hz", "f_min <= f_n <= f_max", "Hz", priced=True),
    Constraint("local_layers", "alpha_min <= alpha_n <= alpha_max, whole", "1"),
    Constraint("server", "one server per user with a link to it; none if and only if alpha_n = Y", "1"),
    Constraint("stability_limit", "AS(alpha_n / Y, k_n) <= AS_max", "1"),
    Constraint("device_memory_bytes", "fixed + alpha_n per_layer (+ head if fully local) <= Mem_n", "B"),
    Constraint("deadline_s", "device + upload + server + fixed delay <= D_n", "s", priced=True),
    Constraint("users_per_server", "number of users of m <= U_m", "1", priced=True),
    Constraint("server_memory_bytes", "sum of fixed + (Y - alpha_n) per_layer over the users of m <= Mem_m", "B",
               priced=True),
)

#: Users whose links are looked at together: bounds the memory, not the answer.
_CHUNK: Final = 8192
#: A gain that any receiver hears (-120 dB): what the repair of an unreachable user writes down.
REPAIR_GAIN: Final = 1e-12


@dataclass(frozen=True, eq=False)
class AllowedCuts:
    """Cuts left to each user.

    Attributes
    ----------
    low, high : int array (N,)
        Split cuts low..high (none if low > high), all below `layers`.
    local : bool array (N,)
        Fully local is allowed.
    """

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    local: npt.NDArray[np.bool_]


def highest_cut(problem: SplitTraining) -> npt.NDArray[np.int64]:
    """alpha_max (N,), with its default filled in."""
    if problem.max_local_layers is not None:
        result: npt.NDArray[np.int64] = problem.max_local_layers
        return result
    top = problem.layers if problem.stability.finite_when_local else problem.layers - 1
    return np.maximum(np.int64(top), np.asarray(problem.min_local_layers, dtype=np.int64))


def memory_need(problem: SplitTraining, local_layers: Any) -> npt.NDArray[np.float64]:
    """Device memory (N,) at a cut, in bytes; the head counts if the cut is `layers`."""
    cut = np.asarray(local_layers)
    need: npt.NDArray[np.float64] = (
        problem.memory_bytes_fixed + cut * problem.memory_bytes_per_layer
        + np.where(cut == problem.layers, problem.memory_bytes_head, 0.0)
    )
    return need


def _cut_fits(problem: SplitTraining, cut: int) -> npt.NDArray[np.bool_]:
    """Users (N,) for whom stability and memory allow this cut."""
    instability = problem.stability.value(np.full(problem.users, cut / problem.layers), problem.samples)
    fits = np.isfinite(instability)
    if problem.stability_limit is not None:
        fits &= instability <= problem.stability_limit
    if problem.device_memory_bytes is not None:
        fits &= memory_need(problem, cut) <= problem.device_memory_bytes
    return np.asarray(fits, dtype=np.bool_)


def allowed_cuts(problem: SplitTraining) -> AllowedCuts:
    """Trim the range of cuts by the stability limit and the device memory; both grow with the cut."""
    layers, top = problem.layers, highest_cut(problem)
    low = np.asarray(problem.min_local_layers)
    high = np.full(problem.users, -1, dtype=np.int64)
    for cut in range(layers):
        fits = _cut_fits(problem, cut) & (low <= cut) & (cut <= top)
        high[fits] = cut
    local = _cut_fits(problem, layers) & (top == layers)
    for array in (low, high, local):
        array.setflags(write=False)
    return AllowedCuts(low=low, high=high, local=local)


def excesses(problem: SplitTraining, a: Allocation) -> list[tuple[str, float, float]]:
    """(constraint, worst excess in SI, worst excess relative to the limit) for every row of `CONSTRAINTS`."""
    remote = a.server >= 0
    m, n = a.server[remote], np.flatnonzero(remote)
    rows: list[tuple[str, float, float]] = []

    def add(name: str, used: Any, limit: Any, scale: Any = None) -> None:
        over = np.maximum(np.asarray(used, dtype=np.float64) - limit, 0.0)
        share = np.where(over > 0.0, over / np.maximum(np.abs(limit if scale is None else scale), 1e-300), 0.0)
        rows.append((name, float(over.max(initial=0.0)), float(share.max(initial=0.0))))

    def add_range(name: str, value: Any, low: Any, high: Any) -> None:
        over = np.maximum(np.maximum(value - high, low - value), 0.0)
        share = over / np.maximum(high, 1e-300)
        rows.append((name, float(over.max(initial=0.0)), float(share.max(initial=0.0))))

    for name, share, limit in (("bandwidth_hz", a.bandwidth_hz, problem.bandwidth_max_hz),
                               ("server_frequency_hz", a.server_frequency_hz, problem.server_frequency_max_hz)):
        # a negative share would let the others have more than there is
        if (share < 0.0).any():
            rows.append((name, float(-share.min()), float("inf")))
        else:
            used = np.bincount(m, weights=share[remote], minlength=problem.servers)
            add(name, used, limit)
            if problem.resource_sense == "exactly":
                idle = np.bincount(m, minlength=problem.servers) == 0
                add(name, np.where(idle, 0.0, limit - used), 0.0, limit)
    add_range("power_w", a.power_w[remote], problem.power_min_w[remote], problem.power_max_w[remote])
    add_range("user_frequency_hz", a.user_frequency_hz, problem.user_frequency_min_hz, problem.user_frequency_max_hz)
    top = highest_cut(problem)
    whole = np.maximum(np.maximum(a.local_layers - top, problem.min_local_layers - a.local_layers), 0)
    rows.append(("local_layers", float(whole.max()), float(whole.max())))
    misplaced = int(((a.server < 0) != (a.local_layers == problem.layers)).sum())
    misplaced += int((problem.gain[n, m] <= 0.0).sum())
    rows.append(("server", float(misplaced), float(misplaced)))
    if problem.stability_limit is not None:
        value = problem.stability.value(a.local_layers / problem.layers, problem.samples)
        add("stability_limit", value, problem.stability_limit)
    if problem.device_memory_bytes is not None:
        add("device_memory_bytes", memory_need(problem, a.local_layers), problem.device_memory_bytes)
    if problem.deadline_s is not None:
        late, hard = problem.evaluate(a).lateness_s, hard_deadlines(problem)
        add("deadline_s", np.where(hard, late, 0.0), 0.0, np.where(hard, problem.deadline_s, 1.0))
    if problem.users_per_server is not None:
        over = np.maximum(np.bincount(m, minlength=problem.servers) - problem.users_per_server, 0)
        rows.append(("users_per_server", float(over.max()), float(over.max())))
    if problem.server_memory_bytes is not None:
        need = np.bincount(m, weights=server_memory_need(problem, a.local_layers)[remote], minlength=problem.servers)
        add("server_memory_bytes", need, problem.server_memory_bytes)
    return _worst(rows)


def _worst(rows: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """One row per name: a limit may be looked at from both sides."""
    worst: dict[str, tuple[float, float]] = {}
    for name, amount, share in rows:
        before = worst.get(name, (0.0, 0.0))
        worst[name] = (max(amount, before[0]), max(share, before[1]))
    return [(name, *pair) for name, pair in worst.items()]


def hard_deadlines(problem: SplitTraining) -> npt.NDArray[np.bool_]:
    """Users (N,) with a deadline that must be kept."""
    if problem.deadline_s is None:
        return np.zeros(problem.users, dtype=np.bool_)
    hard = np.isfinite(problem.deadline_s)
    if problem.deadline_penalty_per_s is not None:
        hard &= ~np.isfinite(problem.deadline_penalty_per_s)
    return np.asarray(hard, dtype=np.bool_)


def server_memory_need(problem: SplitTraining, local_layers: Any) -> npt.NDArray[np.float64]:
    """Memory (N,) that a user takes on its server at a cut, in bytes."""
    need: npt.NDArray[np.float64] = problem.server_memory_bytes_fixed + (
        problem.layers - np.asarray(local_layers)) * problem.server_memory_bytes_per_layer
    return need


def diagnose(problem: SplitTraining) -> Diagnosis | None:
    """Find users without any option and the smallest change of each limit that gives them one."""
    cuts = problem.cuts
    linked = (problem.gain > 0.0).any(axis=1)
    stuck = np.flatnonzero(~(cuts.local | (linked & (cuts.low <= cuts.high))))
    if not stuck.size:
        return None
    conflicts: list[Conflict] = []
    changes: dict[str, Any] = {}

    def change(field: str, n: int, value: float, current: Any) -> None:
        changes.setdefault(field, np.array(current))[n] = value

    for n in map(int, stuck):
        who, cut = problem.user_label(n), int(problem.min_local_layers[n])
        if not linked[n] and problem.stability.finite_when_local:
            cut = problem.layers
        if cut == problem.layers and not problem.stability.finite_when_local:
            conflicts.append(Conflict("local_layers", who, 1.0, "layer",
                                      f"fully local training has no finite stability under '{problem.stability.model}':"
                                      f" lower min_local_layers to {cut - 1}, or use the 'fu' stability model"))
            cut -= 1
            change("min_local_layers", n, cut, problem.min_local_layers)
        if cut < problem.layers and not linked[n]:
            conflicts.append(Conflict("server", who, REPAIR_GAIN, "gain", "every gain of this user is 0, and it cannot "
                                      f"train alone: give it a link, such as gain >= {REPAIR_GAIN:g} to one server"))
            changes.setdefault("gain", np.array(problem.gain))[n, 0] = REPAIR_GAIN
        if cut > highest_cut(problem)[n]:
            conflicts.append(
                Conflict(
                    "local_layers",
                    who,
                    float(cut - highest_cut(problem)[n]),
                    "layers",
                    f"no server hears this user: raise max_local_layers to {cut} so that it may train "
                    "alone, or give it a link",
                )
            )
            change("max_local_layers", n, cut, highest_cut(problem))
        instability = float(problem.stability.value(cut / problem.layers, float(problem.samples[n])))
        if problem.stability_limit is not None and instability > problem.stability_limit[n]:
            conflicts.append(Conflict("stability_limit", who, instability - float(problem.stability_limit[n]), "",
                                      f"raise stability_limit to at least {instability:.6g} (its value at {cut} local "
                                      "layers), or give the user more samples"))
            change("stability_limit", n, instability, problem.stability_limit)
        need = float(memory_need(problem, cut)[n])
        if problem.device_memory_bytes is not None and need > problem.device_memory_bytes[n]:
            conflicts.append(Conflict("device_memory_bytes", who, need - float(problem.device_memory_bytes[n]), "B",
                                      f"{cut} local layers need {need:.6g} B: raise device_memory_bytes to that, or "
                                      "lower min_local_layers, the batch or the sequence length"))
            change("device_memory_bytes", n, need, problem.device_memory_bytes)
    return Diagnosis(tuple(conflicts), changes)


def fastest_s(problem: SplitTraining, users: Any) -> npt.NDArray[np.float64]:
    """Shortest time of a step of each of `users` (K,) over all options with a whole server; inf without an option.

    The time is linear in the cut, so the ends of its range are enough.
    """
    n = np.atleast_1d(users)
    cuts, speed = problem.cuts, (problem.user_flops_per_cycle * problem.user_frequency_max_hz)[n]
    whole = (problem.layers * problem.layer_flops[n] + problem.head_flops[n]) / speed
    best = np.where(cuts.local[n], whole, np.inf)
    linked = problem.gain[n] > 0.0
    if problem.users_per_server is not None:
        linked &= problem.users_per_server > 0
    band = problem.bandwidth_max_hz
    with np.errstate(divide="ignore"):
        snr = problem.power_max_w[n, None] * problem.gain[n] / (problem.noise_psd_w_per_hz * band)
        rest = problem.upload_bits[n, None] * np.log(2.0) / (band * np.log1p(snr)) + problem.fixed_delay_s[n]
    for cut in (cuts.low[n], cuts.high[n]):
        work = (problem.layers - cut) * problem.layer_flops[n] + problem.head_flops[n]
        device = cut * problem.layer_flops[n] / speed
        server = work[:, None] / (problem.server_flops_per_cycle * problem.server_frequency_max_hz)
        time = device[:, None] + server + rest
        possible = linked & (cuts.low[n] <= cuts.high[n])[:, None]
        best = np.minimum(best, np.where(possible, time, np.inf).min(axis=1))
    return np.asarray(best, dtype=np.float64)


def too_late(problem: SplitTraining) -> npt.NDArray[np.intp]:
    """Users that have options, but none within their hard deadline."""
    hard = np.flatnonzero(hard_deadlines(problem))
    late = []
    for first in range(0, hard.size, _CHUNK):
        some = hard[first : first + _CHUNK]
        fastest = fastest_s(problem, some)
        late.append(some[np.isfinite(fastest) & (fastest > problem.deadline_s[some] * (1.0 + 1e-12))])
    return np.concatenate(late) if late else hard
