"""A SplitTraining solution as tables and as text for a person to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import text_table
from edgealloc.formulations.split_training.allocation import Allocation, Costs
from edgealloc.units import format_count, format_percent, format_price, format_si

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["comparison_columns", "server_label", "servers_table", "summary_lines", "users_table"]

FloatArray = npt.NDArray[np.float64]

#: The summary shows a table of at most this many servers.
SERVERS_SHOWN: Final = 12
#: Heights of the one-line histogram.
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"


def server_label(problem: SplitTraining, m: int) -> str:
    """ "server 2 (roof-east)", or "server 2" where servers have no names."""
    return f"server {m} ({problem.server_names[m]})" if problem.server_names else f"server {m}"


def comparison_columns(costs: Costs) -> dict[str, float]:
    """What a table of methods shows of each, beside its objective (SI units in the names)."""
    return {
        "mean_delay_s": costs.mean_delay_s,
        "total_energy_j": costs.total_energy_j,
        "mean_instability": float(costs.instability.mean()),
        "users_offloaded": float((costs.server_delay_s > 0.0).sum()),
    }


def users_table(problem: SplitTraining, allocation: Allocation, costs: Costs) -> dict[str, Any]:
    """Columns of the per-user frame, each (N,): decisions, rate, parts of the cost."""
    from edgealloc.system.radio import rate_bits_per_s

    remote = allocation.server >= 0
    gain = problem.gain[np.arange(problem.users), np.where(remote, allocation.server, 0)]
    rate = rate_bits_per_s(allocation.bandwidth_hz, allocation.power_w, gain, problem.noise_psd_w_per_hz)
    table: dict[str, Any] = {"user": np.arange(problem.users)}
    if problem.user_names is not None:
        table["user_name"] = np.array(problem.user_names, dtype=object)
    table["server"] = allocation.server
    if problem.server_names is not None:
        # the entry at -1 is the last one
        table["server_name"] = np.array([*problem.server_names, "local"], dtype=object)[allocation.server]
    table |= {
        "local_layers": allocation.local_layers,
        "power_w": allocation.power_w,
        "bandwidth_hz": allocation.bandwidth_hz,
        "user_frequency_hz": allocation.user_frequency_hz,
        "server_frequency_hz": allocation.server_frequency_hz,
        "gain": np.where(remote, gain, np.nan),
        "rate_bits_per_s": np.where(remote, rate, 0.0),
    }
    for name in ("device_delay_s", "upload_delay_s", "server_delay_s", "fixed_delay_s", "delay_s",
                 "device_energy_j", "upload_energy_j", "server_energy_j", "idle_energy_j", "energy_j",
                 "instability"):
        table[name] = getattr(costs, name)
    table["objective"] = costs.user_objective
    return table


def servers_table(problem: SplitTraining, solution: Solution[Allocation, Costs]) -> dict[str, Any]:
    """Columns of the per-server frame, each (M,): load, use of band and clock, prices of both kinds.

    The price columns are objective per Hz; those of `bound_price` are the multipliers that prove the bound
    (nan where nothing is proven). The mean delay of a server without users is nan.
    """
    allocation, costs = solution.found()
    count = problem.servers
    remote = allocation.server >= 0
    m = allocation.server[remote]

    def per_server(amount: Any) -> FloatArray:
        weights = np.asarray(amount, dtype=np.float64)[remote]
        return np.asarray(np.bincount(m, weights=weights, minlength=count), dtype=np.float64)

    users = np.bincount(m, minlength=count)
    band, clock = per_server(allocation.bandwidth_hz), per_server(allocation.server_frequency_hz)
    table: dict[str, Any] = {"server": np.arange(count)}
    if problem.server_names is not None:
        table["server_name"] = np.array(problem.server_names, dtype=object)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_delay = per_server(costs.delay_s) / users
    table |= {
        "users": users,
        "layers_served": per_server(problem.layers - allocation.local_layers).astype(np.int64),
        "bandwidth_hz": band,
        "bandwidth_share": band / problem.bandwidth_max_hz,
        "server_frequency_hz": clock,
        "server_frequency_share": clock / problem.server_frequency_max_hz,
        "mean_delay_s": mean_delay,
        "energy_j": per_server(costs.server_energy_j),
        "objective": per_server(costs.user_objective),
    }
    for name in ("bandwidth_hz", "server_frequency_hz"):
        for prefix, prices in (("price", solution.prices), ("bound_price", solution.bound_prices)):
            known = np.asarray(prices.get(name, np.full(count, np.nan)), dtype=np.float64)
            table[f"{prefix}_{name.removesuffix('_hz')}_per_hz"] = known
    return table


def summary_lines(problem: SplitTraining, solution: Solution[Allocation, Costs]) -> list[str]:
    """The page of a solution after its status: totals, cuts, servers with loads and prices, worst users."""
    allocation, costs = solution.allocation, solution.costs
    if allocation is None or costs is None:
        return []
    lines = _totals(problem, costs)
    lines += ["", *_cut_lines(problem, allocation)]
    lines += ["", *_server_lines(problem, servers_table(problem, solution))]
    return [*lines, "", *_worst_lines(problem, allocation, costs)]


def _totals(problem: SplitTraining, costs: Costs) -> list[str]:
    delay = costs.delay_s
    energy = {"device": costs.device_energy_j, "upload": costs.upload_energy_j,
              "server": costs.server_energy_j, "idle": costs.idle_energy_j}
    parts = ", ".join(f"{part} {format_percent(float(value.sum()), costs.total_energy_j)}"
                      for part, value in energy.items() if value.any())
    amounts = {"delay": delay, "energy": costs.energy_j, "stability": costs.instability}
    weighted = {term: float((problem.weights.effective(term, problem.users) * amount).sum())
                for term, amount in amounts.items()}
    terms = ", ".join(f"{term} {format_percent(value, costs.objective)}" for term, value in weighted.items())
    counted = "" if problem.count_upload_delay else " (upload not counted)"
    return [
        f"terms        {terms} of the objective",
        f"delay        mean {format_si(costs.mean_delay_s, 's')}, "
        f"median {format_si(float(np.median(delay)), 's')}, "
        f"largest {format_si(float(delay.max()), 's')}{counted}",
        f"energy       total {format_si(costs.total_energy_j, 'J')}{f' ({parts})' if parts else ''}, "
        f"mean {format_si(float(costs.energy_j.mean()), 'J')} a user",
        f"instability  mean {float(costs.instability.mean()):.4g}, "
        f"largest {float(costs.instability.max()):.4g}",
    ]


def _cut_lines(problem: SplitTraining, allocation: Allocation) -> list[str]:
    cut, split = allocation.local_layers, allocation.server >= 0
    offloaded = int(split.sum())
    counts = np.bincount(cut, minlength=problem.layers + 1)
    low, high = problem.cuts.low, problem.cuts.high
    top = np.where(problem.cuts.local, problem.layers, high)
    inside = int((split & (low < cut) & (cut < top)).sum())
    lines = [f"users        {offloaded} offload, {problem.users - offloaded} train fully locally"]
    levels = np.ceil(8.0 * counts / max(int(counts.max()), 1)).astype(int)
    bars = "".join(_BLOCKS[level] for level in levels)
    if len(bars) <= 100:
        lines.append(f"cuts         0 |{bars}| {problem.layers} local layers (tallest bar: "
                     f"{format_count(int(counts.max()), 'user')} at {int(counts.argmax())})")
    if offloaded:
        lines.append(f"             mean {float(cut[split].mean()):.3g} local layers of those who offload; "
                     f"{inside} of {format_count(problem.users, 'cut')} strictly inside the allowed range")
    return lines


def _server_lines(problem: SplitTraining, table: Mapping[str, Any]) -> list[str]:
    users = table["users"]
    if not users.any():
        return ["servers      none is used"]
    band, clock = table["bandwidth_share"], table["server_frequency_share"]
    if problem.servers > SERVERS_SHOWN:
        used = users > 0
        return [
            f"servers      {int(used.sum())} of {problem.servers} used, {int(users[used].min())} to "
            f"{int(users.max())} users each; band used {format_percent(float(band[used].mean()), 1.0)}, clock "
            f"{format_percent(float(clock[used].mean()), 1.0)} on average",
            *_price_extremes(problem, table),
        ]
    header = ["server", "users", "layers", "band", "used", "clock", "used", "mean delay", "per MHz",
              "per GHz"]
    rows = []
    for m in range(problem.servers):
        name = str(problem.server_names[m]) if problem.server_names else str(m)
        rows.append([
            name, str(int(users[m])), str(int(table["layers_served"][m])),
            format_si(float(problem.bandwidth_max_hz[m]), "Hz"), format_percent(float(band[m]), 1.0),
            format_si(float(problem.server_frequency_max_hz[m]), "Hz"), format_percent(float(clock[m]), 1.0),
            format_si(float(table["mean_delay_s"][m]), "s") if users[m] else "-",
            format_price(float(table["price_bandwidth_per_hz"][m]) * 1e6),
            format_price(float(table["price_server_frequency_per_hz"][m]) * 1e9),
        ])
    return [*text_table(header, rows).splitlines(),
            "per MHz, per GHz: objective saved by one more MHz of band or GHz of server clock"]


def _price_extremes(problem: SplitTraining, table: Mapping[str, Any]) -> list[str]:
    """Where one more unit of band or clock would help most, for networks too large for a table."""
    lines = []
    for what, name, unit, scale in (("band", "price_bandwidth_per_hz", "MHz", 1e6),
                                    ("clock", "price_server_frequency_per_hz", "GHz", 1e9)):
        price = table[name] * scale
        if np.isfinite(price).any():
            m = int(np.nanargmax(price))
            lines.append(f"             one more {unit} of {what} saves most at {server_label(problem, m)}: "
                         f"{format_price(float(price[m]))}, median {format_price(float(np.nanmedian(price)))}")
    return lines


def _worst_lines(problem: SplitTraining, allocation: Allocation, costs: Costs) -> list[str]:
    """The user of largest cost and what it is made of, and the longest delay."""
    lines = []
    n = int(np.argmax(costs.user_objective))
    if problem.users > 1:
        share = format_percent(float(costs.user_objective[n]), costs.objective)
        lines.append(f"costliest    {problem.user_label(n)}: {share} of the objective, "
                     f"{_place(problem, allocation, n)}")
    n = int(np.argmax(costs.delay_s))
    parts = {"device": costs.device_delay_s, "upload": costs.upload_delay_s, "server": costs.server_delay_s,
             "fixed": costs.fixed_delay_s}
    shown = ", ".join(f"{part} {format_si(float(value[n]), 's')}"
                      for part, value in parts.items() if value[n] > 0.0)
    lines.append(f"slowest      {problem.user_label(n)}: {format_si(float(costs.delay_s[n]), 's')} "
                 f"({shown}), {_place(problem, allocation, n)}")
    return lines


def _place(problem: SplitTraining, allocation: Allocation, n: int) -> str:
    m, cut = int(allocation.server[n]), int(allocation.local_layers[n])
    if m < 0:
        return "fully local"
    return f"{cut} of {problem.layers} layers local, on {server_label(problem, m)}"
