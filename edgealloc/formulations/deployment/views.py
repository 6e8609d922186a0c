"""A Deployment solution as tables and as text for a person to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import text_table
from edgealloc.formulations.deployment.rollout import DeploymentCosts, Rollout
from edgealloc.formulations.deployment.wishes import FULL, NOTHING, Wishes, fleet_use, option_words, wishes
from edgealloc.units import format_count, format_percent, format_price, format_si, format_time

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = [
    "FLEET_WORDS", "NOTHING_INSTALLED", "REASON_WORDS", "contributions", "devices_table", "facts", "near_limits",
    "reason_words", "runs_nothing", "servers_table", "summary_lines",
]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: What is said where a device has no variant.
NOTHING_INSTALLED: Final = "nothing installed"
#: Limits of the fleet's means, in words.
FLEET_WORDS: Final[Mapping[str, str]] = {
    "energy_limit_j": "energy per query", "hallucination_limit": "hallucination rate", "error_limit": "errors",
    "inaccessible_limit": "devices without access",
}
#: Reasons against an option, in words.
REASON_WORDS: Final[Mapping[str, str]] = {
    "runs": "software or hardware of the device",
    "out of reach": "no link",
    "device_memory_bytes": "memory of the device",
    "device_load_limit": "time of the device",
    "accuracy_floor": "floor of the accuracy",
    "hallucination_ceiling": "ceiling of the hallucination rate",
    "deadline_s": "deadline",
    "load_limit": "time of the server",
    "airtime_limit": "airtime of the cell",
    "energy_limit_j": "limit of the fleet's energy",
    "hallucination_limit": "limit of the fleet's hallucination rate",
    "error_limit": "limit of the fleet's errors",
    "inaccessible_limit": "limit of devices without access",
}
#: Rows of the tables in the summary, and names in a line.
VARIANTS_SHOWN: Final = 16
SERVERS_SHOWN: Final = 12
NEAR_SHOWN: Final = 5
NAMES_SHOWN: Final = 5
#: A device is near a limit from this share of it on.
NEAR: Final = 0.95


# ---- frames -----------------------------------------------------------------------------------------------------


def devices_table(problem: Deployment, allocation: Rollout, costs: DeploymentCosts) -> dict[str, Any]:
    """Columns of the per-device frame, each (N,); per query where nothing else is said, nan for who asks nothing.

    ``objective`` is what the device's queries, and its missing access, contribute to the objective (the contributions
    add up to it). For every class there is ``<class>_answered_by`` ("device", the name of a server, "" for classes that
    are never asked) and ``<class>_delay_s``. ``price_per_uplink_bps`` and ``price_per_downlink_bps`` are the objective
    saved by one more bit/s on the link that the device uses.
    """
    count = problem.devices
    rate = problem.query_rate_per_s
    total = rate.sum(axis=1)
    asked = rate > 0.0

    def mean(amount: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(asked, rate * amount, 0.0).sum(axis=1) / total)

    variant = allocation.variant
    speed = np.where(variant >= 0, problem.tokens_per_s[np.arange(count), np.maximum(variant, 0)], 0.0)
    # the entry at -1 is the last one
    variants = np.array([*problem.variant_names, ""], dtype=object)
    servers = np.array([*problem.server_names, ""], dtype=object)
    table: dict[str, Any] = {
        "device": np.arange(count),
        "device_name": np.array(problem.device_names, dtype=object),
        "variant": variant,
        "variant_name": variants[variant],
        "server": allocation.server,
        "server_name": servers[allocation.server],
        "query_rate_per_s": total,
        "offloaded_share": mean(allocation.offload.astype(np.float64)),
        "delay_s": mean(costs.delay_s),
        "energy_j": mean(costs.energy_j),
        "device_energy_j": mean(costs.device_energy_j),
        "accuracy": mean(costs.answer_accuracy),
        "hallucination": mean(costs.answer_hallucination),
        "memory_bytes": costs.memory_bytes,
        "memory_limit_bytes": problem.device_memory_bytes,
        "tokens_per_s": speed,
        "accessible": costs.accessible,
        "device_load": costs.device_load,
        "objective": contributions(problem, costs),
    }
    for c, name in enumerate(problem.class_names):
        by = np.where(allocation.offload[:, c], servers[allocation.server], "device")
        table[f"{name}_answered_by"] = np.where(asked[:, c], by, "")
        table[f"{name}_delay_s"] = np.where(asked[:, c], costs.delay_s[:, c], np.nan)
    prices = problem.prices(allocation)
    return table | {f"price_per_{name}": prices[name] for name in ("uplink_bps", "downlink_bps")}


def contributions(problem: Deployment, costs: DeploymentCosts) -> FloatArray:
    """(N,) what every device contributes to the objective; they add up to it."""
    cost = (problem.hallucination_weight * costs.answer_hallucination
            + problem.error_weight * (1.0 - costs.answer_accuracy))
    # a weight of 0 makes nothing of an infinite amount
    for weight, amount in ((problem.delay_weight, costs.delay_s), (problem.energy_weight, costs.energy_j)):
        if weight > 0.0:
            cost = cost + weight * amount
    missing = problem.inaccessible_weight * ~costs.accessible / problem.devices
    return np.asarray(np.where(costs.share > 0.0, costs.share * cost, 0.0).sum(axis=1) + missing)


def servers_table(problem: Deployment, solution: Solution[Rollout, DeploymentCosts]) -> dict[str, Any]:
    """Columns of the per-server frame, each (S,): who uses it, load and airtime against their limits, prices.

    ``queue_s`` is what a query there waits longer than on an idle server, on average; nan where nothing is sent.
    ``airtime_share`` is nan without a limit. ``price_per_speed`` is the objective saved per unit of relative speed-up,
    ``price_per_load`` per unit of load that is taken away. ``bound_price_load`` and ``bound_price_airtime`` are the
    multipliers that prove the bound (nan where nothing is proven): objective per unit of the share of time.
    """
    allocation, costs = solution.found()
    count = problem.servers
    sent = problem.query_rate_per_s * allocation.offload

    def there(amount: Any) -> FloatArray:
        """Sums over what is sent to every server."""
        per_device = np.where(sent > 0.0, sent * amount, 0.0).sum(axis=1)
        at = allocation.server >= 0
        return np.bincount(allocation.server[at], weights=per_device[at], minlength=count).astype(np.float64)

    queries = there(1.0)
    table: dict[str, Any] = {
        "server": np.arange(count),
        "server_name": np.array(problem.server_names, dtype=object),
        "devices": np.bincount(allocation.server[allocation.server >= 0], minlength=count),
        "query_rate_per_s": queries,
        "load": costs.server_load,
        "load_limit": problem.load_limit,
        "load_share": costs.server_load / problem.load_limit if count else np.zeros(0),
        "airtime": costs.airtime,
        "airtime_limit": np.full(count, np.inf) if problem.airtime_limit is None else problem.airtime_limit,
        "power_w": there(costs.server_energy_j),
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        limited = np.isfinite(table["airtime_limit"])
        table["airtime_share"] = np.where(limited, np.where(costs.airtime > 0.0, costs.airtime / table["airtime_limit"],
                                                            0.0), np.nan)
        table["queue_s"] = there(costs.queue_s) / queries
        table["delay_s"] = there(costs.delay_s) / queries
    unknown = np.full(count, np.nan)
    for name, short in (("server_speed", "speed"), ("server_load", "load")):
        table[f"price_per_{short}"] = np.asarray(solution.prices.get(name, unknown), dtype=np.float64)
    for name, short in (("load_limit", "load"), ("airtime_limit", "airtime")):
        table[f"bound_price_{short}"] = np.asarray(solution.bound_prices.get(name, unknown), dtype=np.float64)
    return table


# ---- what a problem leaves to decide ----------------------------------------------------------------------------


def runs_nothing(problem: Deployment) -> IntArray:
    """Devices that can run no variant at all: their software or hardware forbids it, or all are too large."""
    return np.flatnonzero(~problem.options.installable[:, 1:].any(axis=1))


def _names(problem: Deployment, devices: IntArray) -> str:
    """ "device 3 (alice), device 7 (bob) and 12 more"."""
    shown = ", ".join(problem.device_label(int(i)) for i in devices[:NAMES_SHOWN])
    return shown + (f" and {devices.size - NAMES_SHOWN} more" if devices.size > NAMES_SHOWN else "")


def facts(problem: Deployment) -> list[str]:
    """What the limits leave: variants that devices can run, who can answer what, what rules out most."""
    options, asked = problem.options, problem.query_rate_per_s > 0.0
    bad: BoolArray = np.logical_or.reduce(list(options.local_out.values()))
    good: BoolArray = ~bad & asked[:, None, :]
    total = int(asked.sum()) * problem.variants
    lines = [f"{int(good.sum())} of {total} pairs of a variant and a device's class of queries are within the limits"]
    out = {name: int((mask & asked[:, None, :]).sum()) for name, mask in options.local_out.items()}
    shown = sorted((name for name in out if out[name]), key=lambda name: -out[name])
    if shown:
        lines.append("ruled out, each alone: " + ", ".join(f"{REASON_WORDS[name]} {out[name]}" for name in shown))
    whole: BoolArray = np.any(options.local_allowed[:, :, 0], axis=1)
    needs = np.any(options.possible[:, 1:], axis=1) & ~whole
    lost: BoolArray = ~np.any(options.possible, axis=1)
    lines.append(f"{format_count(int(whole.sum()), 'device')} can answer everything asked, {int(needs.sum())} must "
                 f"offload something, {int(lost.sum())} have no option at all")
    idle = runs_nothing(problem)
    if idle.size:
        served = int((~lost[idle]).sum())
        lines.append(f"{format_count(idle.size, 'device')} can run no variant: {_names(problem, idle)}; "
                     f"{served} of them can be served by the edge")
    if problem.servers:
        want = wishes(problem, None).alone
        load = np.zeros(problem.servers)
        sends = want.server >= 0
        np.add.at(load, want.server[sends],
                  options.sent_load[np.flatnonzero(sends), want.server[sends], want.mask[sends]])
        crowded = int((load > problem.load_limit).sum())
        lines.append(f"if every device had its own best, {int(sends.sum())} would offload and "
                     + (f"{format_count(crowded, 'server')} would be too busy" if crowded else "no server would be too "
                        "busy"))
    return lines


# ---- text -------------------------------------------------------------------------------------------------------


def summary_lines(problem: Deployment, solution: Solution[Rollout, DeploymentCosts]) -> list[str]:
    """The page of a solution after its status: totals, variants, classes, servers, limits that bind, why not less."""
    allocation, costs = solution.allocation, solution.costs
    if allocation is None or costs is None:
        return []
    lines = _totals(problem, allocation, costs)
    lines += ["", *_variant_lines(problem, allocation, costs)]
    lines += ["", *_class_lines(problem, allocation, costs)]
    lines += ["", *_server_lines(problem, solution)]
    lines += ["", *_limit_lines(problem, solution), *_near_lines(problem, allocation, costs)]
    return [*lines, *_wish_lines(problem, wishes(problem, allocation))]


def _totals(problem: Deployment, allocation: Rollout, costs: DeploymentCosts) -> list[str]:
    objective = costs.objective
    parts = {"delay": problem.delay_weight * costs.mean_delay_s if problem.delay_weight > 0.0 else 0.0,
             "energy": problem.energy_weight * costs.mean_energy_j if problem.energy_weight > 0.0 else 0.0,
             "hallucination": problem.hallucination_weight * costs.hallucination,
             "errors": problem.error_weight * (1.0 - costs.accuracy),
             "no access": problem.inaccessible_weight * (1.0 - costs.accessibility)}
    terms = ", ".join(f"{name} {format_percent(value, objective)}" for name, value in parts.items() if value)
    share = costs.share
    delay = costs.mean_delay_s
    spent = {"network": costs.network_s, "answering": costs.answer_s, "queue": costs.queue_s}
    of = ", ".join(f"{name} {format_percent(float(np.where(share > 0.0, share * value, 0.0).sum()), delay)}"
                   for name, value in spent.items())
    i, c = np.unravel_index(int(np.where(share > 0.0, costs.delay_s, -1.0).argmax()), share.shape)
    own = float(np.where(share > 0.0, share * costs.device_energy_j, 0.0).sum())
    energy = costs.mean_energy_j
    installed = int((allocation.variant >= 0).sum())
    lines = [
        f"terms        {terms or 'nothing weighs anything'} of the objective",
        f"delay        mean {format_time(delay)} ({of}); longest {format_time(float(costs.delay_s[i, c]))} of "
        f"{problem.class_names[c]} at {problem.device_label(int(i))}",
        f"energy       {format_si(energy, 'J')} a query (devices {format_percent(own, energy)}, servers "
        f"{format_percent(energy - own, energy)})",
        f"answers      accuracy {costs.accuracy:.4g}, hallucination rate {costs.hallucination:.4g}, both means over "
        f"queries; {format_percent(costs.offloaded_share, 1.0)} of the queries offloaded",
        f"access       {int(costs.accessible.sum())} of {format_count(problem.devices, 'device')} "
        f"({format_percent(costs.accessibility, 1.0)}) have a variant of usable speed; nothing is installed on "
        f"{problem.devices - installed}",
    ]
    return lines + _idle_lines(problem, allocation)


def _idle_lines(problem: Deployment, allocation: Rollout) -> list[str]:
    """Devices that can run nothing, by name, and who answers for them."""
    idle = runs_nothing(problem)
    if not idle.size:
        return []
    by = np.bincount(allocation.server[idle] + 1, minlength=1 + problem.servers)
    order = 1 + np.argsort(-by[1:], kind="stable")[:NAMES_SHOWN]
    served = [f"{problem.server_names[s - 1]} ({int(by[s])})" for s in order.tolist() if by[s]]
    rest = int((by[1:] > 0).sum()) - len(served)
    served += [f"{format_count(rest, 'other server')}"] if rest > 0 else []
    served += [f"nobody, nothing is asked ({int(by[0])})"] if by[0] else []
    return [f"             {format_count(idle.size, 'device')} can run no variant: {_names(problem, idle)}",
            f"             served by {', '.join(served)}"]


def _weighted(amount: FloatArray, weight: FloatArray, mask: BoolArray) -> float:
    """Mean over queries; nan if there are none."""
    weight = np.where(mask, weight, 0.0)
    total = float(weight.sum())
    return float(np.where(weight > 0.0, weight * amount, 0.0).sum()) / total if total > 0.0 else np.nan


def _variant_lines(problem: Deployment, allocation: Rollout, costs: DeploymentCosts) -> list[str]:
    """A row per variant in use, the most used first; means over the queries that it answers."""
    count = np.bincount(allocation.variant + 1, minlength=1 + problem.variants)
    order = [int(k) for k in np.argsort(-count, kind="stable") if count[k]]
    header = ["variant", "devices", "memory", "token/s", "access", "answers", "delay", "energy", "accuracy",
              "hallucination"]
    devices = np.arange(problem.devices)
    rows = []
    for k in order[:VARIANTS_SHOWN]:
        mine = allocation.variant == k - 1
        kept = (costs.share > 0.0) & ~allocation.offload & mine[:, None]
        speed = problem.tokens_per_s[devices[mine], k - 1] if k else np.zeros(0)
        means = [_weighted(amount, costs.share, kept) for amount in
                 (costs.delay_s, costs.energy_j, costs.answer_accuracy, costs.answer_hallucination)]
        rows.append([
            str(problem.variant_names[k - 1]) if k else NOTHING_INSTALLED, str(int(count[k])),
            format_si(float(problem.memory_bytes[k - 1]), "B") if k else "-",
            f"{float(speed.mean()):.3g}" if k else "-", str(int(costs.accessible[mine].sum())),
            format_percent(float(np.where(kept, costs.share, 0.0).sum()), 1.0), *_mean_cells(means)])
    lines = text_table(header, rows).splitlines()
    if len(order) > VARIANTS_SHOWN:
        rest = int(count[order[VARIANTS_SHOWN:]].sum())
        lines.append(f"and {format_count(rest, 'device')} with {len(order) - VARIANTS_SHOWN} other variants")
    return lines


def _mean_cells(means: list[float]) -> list[str]:
    delay, energy, accuracy, hallucination = means
    if np.isnan(delay):
        return ["-"] * 4
    return [format_time(delay), format_si(energy, "J"), f"{accuracy:.3g}", f"{hallucination:.3g}"]


def _class_lines(problem: Deployment, allocation: Rollout, costs: DeploymentCosts) -> list[str]:
    """A row per class of queries: where it is answered, and how well."""
    header = ["class", "queries/s", "on devices", "at servers", "delay there", "delay here", "energy", "accuracy",
              "hallucination"]
    rows = []
    for c, name in enumerate(problem.class_names):
        share, sent = costs.share[:, c], allocation.offload[:, c]
        total = float(share.sum())
        every = np.ones(share.shape, dtype=np.bool_)
        away = float(np.where(sent, share, 0.0).sum())
        there, here = (_weighted(costs.delay_s[:, c], share, mask) for mask in (sent, ~sent))
        rest = [_weighted(amount[:, c], share, every) for amount in
                (costs.energy_j, costs.answer_accuracy, costs.answer_hallucination)]
        said = ["-"] * 3 if np.isnan(rest[0]) else [format_si(rest[0], "J"), f"{rest[1]:.3g}", f"{rest[2]:.3g}"]
        rows.append([str(name), f"{total * problem.total_rate_per_s:.4g}", format_percent(total - away, total),
                     format_percent(away, total),
                     *("-" if np.isnan(one) else format_time(one) for one in (there, here)), *said])
    return text_table(header, rows).splitlines()


def _server_lines(problem: Deployment, solution: Solution[Rollout, DeploymentCosts]) -> list[str]:
    if problem.servers == 0:
        return ["servers      none"]
    table = servers_table(problem, solution)
    used = np.flatnonzero(table["devices"] > 0)
    if not used.size:
        return ["servers      none is used"]
    order = used[np.argsort(-table["load"][used], kind="stable")]
    priced = [(name, short) for name, short in (("load_limit", "load"), ("airtime_limit", "airtime"))
              if name in solution.bound_prices and (short == "load" or np.isfinite(table["airtime_limit"]).any())]
    header = ["server", "devices", "queries/s", "load", "limit", "queue", "delay", "airtime", "limit", "power",
              *(f"per % of {short}" for _, short in priced)]
    rows = []
    for s in order[:SERVERS_SHOWN].tolist():
        limit = float(table["airtime_limit"][s])
        rows.append([
            str(problem.server_names[s]), str(int(table["devices"][s])), f"{table['query_rate_per_s'][s]:.4g}",
            format_percent(float(table["load"][s]), 1.0), format_percent(float(table["load_limit"][s]), 1.0),
            format_time(float(table["queue_s"][s])), format_time(float(table["delay_s"][s])),
            format_percent(float(table["airtime"][s]), 1.0),
            format_percent(limit, 1.0) if np.isfinite(limit) else "none", format_si(float(table["power_w"][s]), "W"),
            *(format_price(_worth(solution, float(table[f"bound_price_{short}"][s]))) for _, short in priced)])
    lines = text_table(header, rows).splitlines()
    if order.size > SERVERS_SHOWN:
        lines.append(f"... and {order.size - SERVERS_SHOWN} more servers in use; `servers_frame()` has all of them")
    if priced:
        lines.append("per %: what one more percent of the time of a server, or its cell, is worth (prices that prove "
                     "the bound)")
    return lines


def _worth(solution: Solution[Rollout, DeploymentCosts], price: float) -> float:
    """Price of a percent; 0 if it is worth less than rounding."""
    return price / 100.0 if price > 1e-9 * abs(solution.objective or 0.0) else 0.0


def _limit_lines(problem: Deployment, solution: Solution[Rollout, DeploymentCosts]) -> list[str]:
    """Use of the fleet's limits, with prices that prove the bound."""
    costs = solution.costs
    if costs is None:
        return []
    lines: list[str] = []
    for name, used in fleet_use(costs).items():
        limit = getattr(problem, name)
        if limit is None:
            continue
        unit = "J" if name == "energy_limit_j" else ""
        amounts = (f"{format_si(used, 'J')} of {format_si(float(limit), 'J')}" if unit else
                   f"{used:.4g} of {float(limit):.4g}")
        price = solution.bound_prices.get(name)
        worth = "" if price is None else f"; {_fleet_price(solution, name, float(np.asarray(price).ravel()[0]))}"
        head = "limits      " if not lines else "            "
        lines.append(f"{head} {FLEET_WORDS[name]} {amounts} ({format_percent(used, float(limit))} used{worth})")
    return lines


def _fleet_price(solution: Solution[Rollout, DeploymentCosts], name: str, price: float) -> str:
    """What one more unit of a limit of the fleet is worth."""
    if name == "energy_limit_j":
        return f"one more joule is worth {format_price(100.0 * _worth(solution, price))}"
    return f"one more percentage point is worth {format_price(_worth(solution, price))}"


def near_limits(
    problem: Deployment, allocation: Rollout, costs: DeploymentCosts
) -> list[tuple[float, int, str, str]]:
    """(share, device, limit, words) of limits of devices that are at least `NEAR` used, the tightest first.

    Deadlines count as they are promised: with the server as busy as it may be.
    """
    promised = costs.network_s + costs.answer_s
    if problem.servers:
        at = np.maximum(allocation.server, 0)
        most = (problem.load_limit / (1.0 - problem.load_limit))[at][:, None]
        promised = promised + np.where(allocation.offload, problem.busy_s[at] * most, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        strain = np.where((costs.share > 0.0) & np.isfinite(problem.deadline_s), promised / problem.deadline_s, 0.0)
    worst = strain.argmax(axis=1)
    devices = np.arange(problem.devices)
    # a delay and its deadline are those of the class that is tightest
    limits = (
        ("device_memory_bytes", costs.memory_bytes, problem.device_memory_bytes, "B"),
        ("device_load_limit", costs.device_load, np.full(problem.devices, float(problem.device_load_limit)), ""),
        ("deadline_s", np.where(strain.max(axis=1) > 0.0, promised[devices, worst], 0.0),
         problem.deadline_s[devices, worst], "s"),
    )
    found = []
    for name, amount, limit, unit in limits:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where((amount > 0.0) & np.isfinite(limit), amount / limit, 0.0)
        for i in np.flatnonzero(share >= NEAR).tolist():
            low, high = float(amount[i]), float(limit[i])
            text = (f"{format_time(low)} of {format_time(high)}, {problem.class_names[worst[i]]}" if unit == "s" else
                    f"{format_si(low, unit)} of {format_si(high, unit)}" if unit else
                    f"{format_percent(low, 1.0)} of {format_percent(high, 1.0)}")
            found.append((float(share[i]), i, name, text))
    return sorted(found, key=lambda one: (-one[0], one[1], one[2]))


def _near_lines(problem: Deployment, allocation: Rollout, costs: DeploymentCosts) -> list[str]:
    found = near_limits(problem, allocation, costs)
    if not found:
        return [f"tight        no device has used {format_percent(NEAR, 1.0)} of its memory, time or a deadline"]
    lines: list[str] = []
    for share, i, name, text in found[:NEAR_SHOWN]:
        head = "tight       " if not lines else "            "
        lines.append(f"{head} {problem.device_label(i)}: {REASON_WORDS[name]} {format_percent(share, 1.0)} used "
                     f"({text})")
    if len(found) > NEAR_SHOWN:
        lines.append(f"             and {len(found) - NEAR_SHOWN} more from {format_percent(NEAR, 1.0)} on")
    return lines


def _wish_lines(problem: Deployment, wish: Wishes) -> list[str]:
    """What keeps devices from options that would be cheaper."""
    held = wish.held()
    lines = [f"cheapest     {held.pop(NOTHING, 0)} of {format_count(problem.devices, 'device')} have the cheapest "
             "option there is for them, limits or not"]
    if held:
        said = ", ".join(f"{reason_words(reason)} {count}" for reason, count in held.items())
        lines.append(f"             what stands against that of the others: {said}")
        i = int(wish.saving.argmax())
        lines.append(f"             most would be saved by {problem.device_label(i)}: {format_price(wish.saving[i])} "
                     f"with {option_words(problem, *wish.wanted.at(i))}")
    return lines


def reason_words(reason: str) -> str:
    """Names of reasons with "+" between, as a person would say them."""
    return " + ".join(REASON_WORDS.get(one.removesuffix(FULL).strip(), one) + (f" {FULL}" if one.endswith(FULL) else "")
                      for one in reason.split("+"))
