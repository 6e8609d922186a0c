"""A FineTuning solution as tables and as text for a person to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import text_table
from edgealloc.formulations.fine_tuning.assignment import DEVICE, Assignment, FineTuningCosts
from edgealloc.formulations.fine_tuning.costs import option_costs
from edgealloc.formulations.fine_tuning.wishes import FULL, NOTHING, Wishes, amount_words, option_words, wishes
from edgealloc.units import format_count, format_percent, format_price, format_si, format_time

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = [
    "LIMITS", "REASON_WORDS", "facts", "jobs_table", "near_limits", "place_name", "reason_words", "server_limits",
    "servers_table", "summary_lines", "worth",
]

FloatArray = npt.NDArray[np.float64]

#: What servers run out of: field -> (word, unit, scale of the unit that prices are said for, its name).
LIMITS: Final[Mapping[str, tuple[str, str, float, str]]] = {
    "server_memory_bytes": ("memory", "B", 1e9, "GB"),
    "server_busy_s": ("computing", "s", 3600.0, "h"),
    "airtime_s": ("airtime", "s", 60.0, "min"),
}
#: The same limits in the columns of the servers' frame: field, word, unit.
_COLUMNS: Final = (("server_memory_bytes", "memory", "bytes"), ("server_busy_s", "busy", "s"),
                   ("airtime_s", "airtime", "s"))
#: Reasons against an option, in words.
REASON_WORDS: Final[Mapping[str, str]] = {
    "forbidden": "the method cannot run there",
    "out of reach": "no link",
    "device_memory_bytes": "memory of the device",
    "server_memory_bytes": "memory of the server",
    "quality_floor": "floor of the quality",
    "deadline_s": "deadline",
    "energy_limit_j": "battery",
    "server_busy_s": "computing seconds of the server",
    "airtime_s": "airtime of the cell",
}
#: Rows of the tables in the summary.
METHODS_SHOWN: Final = 16
SERVERS_SHOWN: Final = 12
NEAR_SHOWN: Final = 5
#: A job is near a limit from this share of it on.
NEAR: Final = 0.95


def server_limits(problem: FineTuning) -> dict[str, FloatArray]:
    """(S,) what every server has, by the names of `LIMITS`; inf where there is no limit."""
    found = {}
    for name in LIMITS:
        limit = getattr(problem, name)
        found[name] = np.full(problem.servers, np.inf) if limit is None else np.asarray(limit, dtype=np.float64)
    return found


def place_name(problem: FineTuning, place: int) -> str:
    """ "edge-1" for a server, "device" for a job's own."""
    return "device" if place == DEVICE else str(problem.server_names[place])


# ---- frames -----------------------------------------------------------------------------------------------------


def jobs_table(problem: FineTuning, allocation: Assignment, costs: FineTuningCosts) -> dict[str, Any]:
    """Columns of the per-job frame, each (N,).

    ``memory_limit_bytes`` is what the place has: the device for its job, a server for all of its jobs together.
    ``price_per_flops`` is the objective saved by one more FLOP/s where the job is trained, for this job alone;
    ``price_per_uplink_bps`` and ``price_per_downlink_bps`` by one more bit/s on its links.
    """
    jobs = np.arange(problem.jobs)
    own = allocation.place == DEVICE
    limit = problem.device_memory_bytes
    if problem.servers:
        limit = np.where(own, limit, server_limits(problem)["server_memory_bytes"][np.where(own, 0, allocation.place)])
    chosen = option_costs(problem, jobs, allocation.method, allocation.place)
    prices = problem.prices(allocation)
    speed = problem.device_flops_per_s
    power = problem.device_power_w
    if problem.servers:
        at = np.where(own, 0, allocation.place)
        speed = np.where(own, speed, problem.server_flops_per_s[at])
        power = np.where(own, power, problem.server_power_w[at])
    per_second = problem.weights.effective("delay", problem.jobs)
    per_joule = problem.weights.effective("energy", problem.jobs)
    return {
        "job": jobs,
        "job_name": np.array(problem.job_names, dtype=object),
        "method": allocation.method,
        "method_name": np.array(problem.method_names, dtype=object)[allocation.method],
        "place": allocation.place,
        # the entry at -1 is the last one
        "place_name": np.array([*problem.server_names, "device"], dtype=object)[allocation.place],
        "quality": costs.quality,
        "quality_floor": problem.quality_floor,
        "memory_bytes": costs.memory_bytes,
        "memory_limit_bytes": limit,
        "compute_s": costs.compute_s,
        "upload_s": costs.upload_s,
        "download_s": costs.download_s,
        "time_s": costs.time_s,
        "deadline_s": problem.deadline_s,
        "device_energy_j": costs.device_energy_j,
        "energy_limit_j": problem.energy_limit_j,
        "server_energy_j": costs.server_energy_j,
        "energy_j": costs.energy_j,
        "objective": chosen.cost,
        "price_per_flops": (per_second + per_joule * power) * costs.compute_s / speed,
        "price_per_uplink_bps": prices["uplink_bps"],
        "price_per_downlink_bps": prices["downlink_bps"],
    }


def servers_table(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts]) -> dict[str, Any]:
    """Columns of the per-server frame, each (S,): jobs, use of memory, seconds and airtime, prices of both kinds.

    Shares are nan where there is no limit. ``price_per_flops`` is the objective saved by one more FLOP/s for every job
    at the server; ``bound_price_..._per_...`` are the multipliers that prove the bound (nan where nothing is proven):
    what one more byte of memory, second of computing or of airtime is worth.
    """
    allocation, costs = solution.found()
    count = problem.servers
    there = allocation.place[allocation.place >= 0]
    energy = np.bincount(there, weights=costs.server_energy_j[allocation.place >= 0], minlength=count)
    table: dict[str, Any] = {
        "server": np.arange(count),
        "server_name": np.array(problem.server_names, dtype=object),
        "jobs": np.bincount(there, minlength=count),
    }
    limits = server_limits(problem)
    for name, short, unit in _COLUMNS:
        used, limit = np.asarray(getattr(costs, name)), limits[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(np.isfinite(limit), np.where(used > 0.0, used / limit, 0.0), np.nan)
        table |= {f"{short}_{unit}": used, f"{short}_limit_{unit}": limit, f"{short}_share": share}
    table["energy_j"] = energy
    unknown = np.full(count, np.nan)
    table["price_per_flops"] = np.asarray(solution.prices.get("server_flops_per_s", unknown), dtype=np.float64)
    for name, short, unit in _COLUMNS:
        known = np.asarray(solution.bound_prices.get(name, unknown), dtype=np.float64)
        table[f"bound_price_{short}_per_{'byte' if unit == 'bytes' else unit}"] = known
    return table


# ---- what a problem leaves to decide ----------------------------------------------------------------------------


def facts(problem: FineTuning) -> list[str]:
    """How many options the limits leave, what rules out most, and what all jobs would want of the servers."""
    options = problem.options
    total, allowed = options.allowed.size, int(options.allowed.sum())
    lines = [f"{allowed} of {total} options (job, method, place) are within the limits of a job that is alone"]
    out = {name: int(mask.sum()) for name, mask in options.out.items()}
    shown = sorted((name for name in out if out[name]), key=lambda name: -out[name])
    if shown:
        lines.append("ruled out, each alone: " + ", ".join(f"{REASON_WORDS[name]} {out[name]}" for name in shown))
    at_device, at_server = options.allowed[:, :, 0].any(axis=1), options.allowed[:, :, 1:].any(axis=(1, 2))
    lines.append(f"{format_count(int((at_device & ~at_server).sum()), 'job')} can be trained on their devices alone, "
                 f"{int((at_server & ~at_device).sum())} at servers alone, {int((at_device & at_server).sum())} at "
                 f"both, {int((~at_device & ~at_server).sum())} nowhere")
    if problem.servers:
        want = wishes(problem, None).alone
        place = np.where(want >= 0, want % (1 + problem.servers) - 1, DEVICE)
        method = np.where(want >= 0, want // (1 + problem.servers), 0)
        there = place >= 0
        memory = np.bincount(place[there], weights=problem.memory_bytes[np.arange(problem.jobs), method][there],
                             minlength=problem.servers)
        limit = server_limits(problem)["server_memory_bytes"]
        known = np.isfinite(limit) & (memory > limit)
        lines.append(f"if every job had its own best, {int(there.sum())} would be at servers"
                     + (f" and {format_count(int(known.sum()), 'server')} would lack memory" if known.any() else
                        ", and no server would lack memory"))
    return lines


# ---- text -------------------------------------------------------------------------------------------------------


def summary_lines(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts]) -> list[str]:
    """The page of a solution after its status: totals, methods and places, servers, limits that bind, why not less."""
    allocation, costs = solution.allocation, solution.costs
    if allocation is None or costs is None:
        return []
    lines = _totals(problem, costs)
    lines += ["", *_method_lines(problem, allocation, costs)]
    lines += ["", *_server_lines(problem, solution)]
    lines += ["", *_near_lines(problem, allocation, costs)]
    return [*lines, *_wish_lines(problem, wishes(problem, allocation))]


def _totals(problem: FineTuning, costs: FineTuningCosts) -> list[str]:
    time, energy, quality = costs.time_s, costs.energy_j, costs.quality
    weights = {name: problem.weights.effective(term, problem.jobs) for name, term in
               (("time", "delay"), ("energy", "energy"))}
    parts = {"time": float((weights["time"] * time).sum()), "energy": float((weights["energy"] * energy).sum()),
             "lost quality": float((problem.quality_weight * (1.0 - quality)).sum())}
    terms = ", ".join(f"{name} {format_percent(value, costs.objective)}" for name, value in parts.items())
    spent = {"computing": costs.compute_s, "upload": costs.upload_s, "download": costs.download_s}
    shares = ", ".join(f"{name} {format_percent(float(value.sum()), float(time.sum()))}"
                       for name, value in spent.items() if value.any())
    own = float(costs.device_energy_j.sum())
    lines = [
        f"terms        {terms} of the objective",
        f"time         mean {format_time(costs.mean_delay_s)}, median {format_time(float(np.median(time)))}, "
        f"largest {format_time(float(time.max()))} of {problem.job_label(int(time.argmax()))}"
        + (f" ({shares})" if shares else ""),
        f"energy       total {format_si(costs.total_energy_j, 'J')} (devices "
        f"{format_percent(own, costs.total_energy_j)}, servers "
        f"{format_percent(costs.total_energy_j - own, costs.total_energy_j)}), mean "
        f"{format_si(costs.total_energy_j / problem.jobs, 'J')} a job",
    ]
    if quality.any():
        # 0 says that nothing is known
        known = quality > 0.0
        i = int(np.where(known, quality, np.inf).argmin())
        unknown = int((~known).sum())
        lines.append(f"quality      mean {float(quality[known].mean()):.4g}, least {quality[i]:.4g} of "
                     f"{problem.job_label(i)}"
                     + (f"; nothing is known of {format_count(unknown, 'job')}" if unknown else ""))
    return lines


def _method_lines(problem: FineTuning, allocation: Assignment, costs: FineTuningCosts) -> list[str]:
    """A row per method in use, the most used first."""
    own = allocation.place == DEVICE
    count = np.bincount(allocation.method, minlength=problem.tunings)
    order = [int(k) for k in np.argsort(-count, kind="stable") if count[k]]
    header = ["method", "jobs", "on devices", "at servers", "memory of a job", "mean time", "mean energy", "quality"]
    rows = []
    for k in order[:METHODS_SHOWN]:
        mine = allocation.method == k
        low, high = float(costs.memory_bytes[mine].min()), float(costs.memory_bytes[mine].max())
        memory = format_si(low, "B") if low == high else f"{format_si(low, 'B')} to {format_si(high, 'B')}"
        rows.append([str(problem.method_names[k]), str(int(count[k])), str(int((mine & own).sum())),
                     str(int((mine & ~own).sum())), memory, format_time(float(costs.time_s[mine].mean())),
                     format_si(float(costs.energy_j[mine].mean()), "J"), _quality_words(costs.quality[mine])])
    lines = text_table(header, rows).splitlines()
    if len(order) > METHODS_SHOWN:
        rest = int(count[order[METHODS_SHOWN:]].sum())
        lines.append(f"and {format_count(rest, 'job')} by {len(order) - METHODS_SHOWN} other methods")
    return lines


def _quality_words(quality: FloatArray) -> str:
    """Mean of what is known."""
    known = quality[quality > 0.0]
    return f"{float(known.mean()):.3g}" if known.size else "-"


def _server_lines(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts]) -> list[str]:
    if problem.servers == 0:
        return ["servers      none"]
    table = servers_table(problem, solution)
    used = np.flatnonzero((table["jobs"] > 0) | (table["airtime_s"] > 0.0))
    if not used.size:
        return ["servers      none is used"]
    order = used[np.argsort(-table["jobs"][used], kind="stable")]
    header = ["server", "jobs", "memory", "used", "computing", "used", "airtime", "used"]
    priced = [name for name in LIMITS if name in solution.bound_prices]
    header += [f"per {LIMITS[name][3]}" for name in priced]
    rows = []
    for s in order[:SERVERS_SHOWN].tolist():
        cells = [str(problem.server_names[s]), str(int(table["jobs"][s]))]
        for _, short, unit in _COLUMNS:
            share, amount = float(table[f"{short}_share"][s]), float(table[f"{short}_{unit}"][s])
            cells += [amount_words(amount, "B" if unit == "bytes" else unit),
                      "no limit" if np.isnan(share) else format_percent(share, 1.0)]
        cells += [format_price(worth(problem, solution, name, s)) for name in priced]
        rows.append(cells)
    lines = text_table(header, rows).splitlines()
    if order.size > SERVERS_SHOWN:
        lines.append(f"... and {order.size - SERVERS_SHOWN} more servers in use; `servers_frame()` has all of them")
    if priced:
        units = ", ".join(f"{LIMITS[name][3]} of {LIMITS[name][0]}" for name in priced)
        lines.append(f"per unit: what one more {units} is worth (prices that prove the bound)")
    return lines


def worth(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts], name: str, s: int) -> float:
    """Bound price of a server's limit per unit of `LIMITS`; 0 if all of it is worth less than rounding."""
    prices = solution.bound_prices.get(name)
    price = 0.0 if prices is None else float(prices[s])
    whole = price * float(server_limits(problem)[name][s]) if price > 0.0 else 0.0
    return price * LIMITS[name][2] if whole > 1e-9 * abs(solution.objective or 0.0) else 0.0


def near_limits(
    problem: FineTuning, allocation: Assignment, costs: FineTuningCosts
) -> list[tuple[float, int, str, str]]:
    """(share, job, limit, words) of limits of jobs that are at least `NEAR` used, the tightest first."""
    own = allocation.place == DEVICE
    limits = (
        ("device_memory_bytes", np.where(own, costs.memory_bytes, 0.0), problem.device_memory_bytes, "B"),
        ("deadline_s", costs.time_s, problem.deadline_s, "s"),
        ("energy_limit_j", costs.device_energy_j, problem.energy_limit_j, "J"),
    )
    found = []
    for name, amount, limit, unit in limits:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where((amount > 0.0) & np.isfinite(limit), amount / limit, 0.0)
        for i in np.flatnonzero(share >= NEAR).tolist():
            text = f"{amount_words(float(amount[i]), unit)} of {amount_words(float(limit[i]), unit)}"
            found.append((float(share[i]), i, name, text))
    return sorted(found, key=lambda one: (-one[0], one[1], one[2]))


def _near_lines(problem: FineTuning, allocation: Assignment, costs: FineTuningCosts) -> list[str]:
    found = near_limits(problem, allocation, costs)
    if not found:
        return [f"tight        no job has used {format_percent(NEAR, 1.0)} of its memory, deadline or battery"]
    lines: list[str] = []
    for share, i, name, text in found[:NEAR_SHOWN]:
        head = "tight       " if not lines else "            "
        lines.append(f"{head} {problem.job_label(i)}: {REASON_WORDS[name]} {format_percent(share, 1.0)} used ({text})")
    if len(found) > NEAR_SHOWN:
        lines.append(f"             and {len(found) - NEAR_SHOWN} more from {format_percent(NEAR, 1.0)} on")
    return lines


def _wish_lines(problem: FineTuning, wish: Wishes) -> list[str]:
    """What keeps jobs from options that would be cheaper."""
    held = wish.held()
    lines = [f"cheapest     {held.pop(NOTHING, 0)} of {format_count(problem.jobs, 'job')} have the cheapest option "
             "there is for them, limits or not"]
    if held:
        said = ", ".join(f"{reason_words(reason)} {count}" for reason, count in held.items())
        lines.append(f"             what stands against that of the others: {said}")
        i = int(wish.saving.argmax())
        k, place = wish.split(int(wish.wanted[i]))
        lines.append(f"             most would be saved by {problem.job_label(i)}: {format_price(wish.saving[i])} with "
                     f"{option_words(problem, k, place)}")
    return lines


def reason_words(reason: str) -> str:
    """Names of reasons with "+" between, as a person would say them."""
    return " + ".join(REASON_WORDS.get(one.removesuffix(FULL).strip(), one) + (f" {FULL}" if one.endswith(FULL) else "")
                      for one in reason.split("+"))
