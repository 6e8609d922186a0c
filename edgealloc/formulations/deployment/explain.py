"""Why a rollout is not proven better, why devices do what they do, and what the loads of servers cost them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import frame, text_table
from edgealloc.formulations.deployment.costs import queueing
from edgealloc.formulations.deployment.options import FLEET
from edgealloc.formulations.deployment.rollout import DeploymentCosts, Rollout
from edgealloc.formulations.deployment.views import FLEET_WORDS, reason_words, servers_table
from edgealloc.formulations.deployment.wishes import Choice, Wishes, cheapest, fleet_use, option_words, wishes
from edgealloc.units import format_count, format_percent, format_price

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.core.solution import Solution
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["Explanation", "Prices", "explain"]

FloatArray = npt.NDArray[np.float64]

#: Rows of the tables in the text, and alternatives that are shown of a device.
_SERVERS: Final = 8
_HELD: Final = 10
_DEVICES: Final = 5
_ALTERNATIVES: Final = 2
#: Costs that differ by less than this share of the objective are the same.
_SAME: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Prices:
    r"""Costs of all options at prices of what is shared, and the bound that these prices prove.

    .. math::

        D = \sum_i \min_o \left( c_{io} + \sum_s (\mu_s \ell_{iso} + \nu_s a_{iso}) + \sum_k \lambda_k u_{iko} \right)
        + \sum_s \min_{0 \le \rho \le L_s} \left( f(\rho) - \mu_s \rho \right) - \sum_s \nu_s A_s - \sum_k \lambda_k U_k

    Attributes
    ----------
    problem : Deployment
    load, airtime : (S,)
        Objective per unit of the share of time of a server, and of its cell.
    fleet : mapping
        By `FLEET`: objective per unit of a limited mean.
    """

    problem: Deployment
    load: FloatArray
    airtime: FloatArray
    fleet: Mapping[str, float]

    @cached_property
    def kept(self) -> FloatArray:
        """(N, 1 + V, 2^C) of what devices answer; inf for what is not allowed."""
        options = self.problem.options
        total: FloatArray = options.local_cost
        for name, price in self.fleet.items():
            total = total + price * options.local_use[name]
        return np.where(options.local_allowed, total, np.inf)

    @cached_property
    def sent(self) -> FloatArray:
        """(N, S, 2^C) of what they send; inf for what is not allowed."""
        options = self.problem.options
        with np.errstate(invalid="ignore"):
            total = options.sent_cost + self.load[:, None] * options.sent_load
            # nothing is worth nothing, however long its transmission
            total = total + np.where(self.airtime[:, None] > 0.0, self.airtime[:, None] * options.sent_airtime, 0.0)
            for name, price in self.fleet.items():
                total = total + price * options.sent_use[name]
        return np.where(options.sent_allowed, total, np.inf)

    def cost_of(self, choice: Choice) -> FloatArray:
        """(N,) of options; inf for what is not allowed."""
        devices = np.arange(self.problem.devices)
        total = self.kept[devices, choice.variant + 1, choice.mask]
        if self.problem.servers:
            sent = self.sent[devices, np.maximum(choice.server, 0), choice.mask]
            total = total + np.where(choice.server >= 0, sent, 0.0)
        return np.asarray(total)

    @cached_property
    def best(self) -> tuple[Choice, FloatArray]:
        """The cheapest allowed option of every device, and its cost."""
        return cheapest(self.kept, self.sent)

    @cached_property
    def scale(self) -> float:
        """Objective per second that queries wait longer in a second."""
        return self.problem.queue_weight

    @cached_property
    def wanted_load(self) -> FloatArray:
        r"""(S,) where :math:`f(\rho) - \mu \rho` is least: :math:`1 - \rho = 1/\sqrt{1 + \mu/\mathrm{scale}}`."""
        problem = self.problem
        most = np.where(problem.options.sent_allowed, problem.options.sent_load, 0.0).max(axis=2, initial=0.0)
        top = np.minimum(problem.load_limit, most.sum(axis=0))
        if self.scale == 0.0:
            return np.where(self.load > 0.0, top, 0.0)
        return np.asarray(np.minimum(1.0 - 1.0 / np.sqrt(1.0 + self.load / self.scale), top))

    def queue(self, load: FloatArray) -> FloatArray:
        r"""(S,) :math:`f(\rho) - \mu \rho`."""
        waiting = self.scale * queueing(load) if self.scale > 0.0 else np.zeros(load.shape)
        return np.asarray(waiting - self.load * load)

    @cached_property
    def limits(self) -> float:
        """Worth of all that is priced and limited."""
        problem = self.problem
        air = np.zeros(problem.servers) if problem.airtime_limit is None else problem.airtime_limit
        total = float((self.airtime * np.where(self.airtime > 0.0, air, 0.0)).sum())
        return total + sum(price * float(getattr(problem, name)) for name, price in self.fleet.items())

    @cached_property
    def bound(self) -> float:
        """D; inf where a device has no option."""
        return float(self.best[1].sum()) + float(self.queue(self.wanted_load).sum()) - self.limits


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the gap of a rollout comes from, and what its devices would rather do. Print it for a page of text.

    Attributes
    ----------
    solution : Solution
    proven : bool
        The prices are those that prove the solution's bound; otherwise they are 0, and what is compared is every device
        at its best with idle servers.
    prices : Prices
    totals : mapping
        `objective`, `bound`, `price_bound` (D at the prices); what separates the objective from that: `reduced_costs`
        of devices, `queues` (servers loaded otherwise than the prices want), `unused` (airtime and limits of the fleet
        that are priced and left); `beyond_prices` (bound - price_bound: what branching proved; None where nothing is
        proven); `lost_to_sharing` (what devices would save if each were alone).
    devices, servers : mapping
        Columns of the frames.
    held : mapping
        How many devices are kept from their cheapest option by what.
    wish : Wishes
    """

    solution: Solution[Rollout, DeploymentCosts]
    proven: bool
    prices: Prices
    totals: Mapping[str, Any]
    devices: Mapping[str, Any]
    servers: Mapping[str, Any]
    held: Mapping[str, int]
    wish: Wishes

    def to_frame(self) -> pd.DataFrame:
        """One row per device: its cost, its part in the gap, its cheapest option and what stands against that."""
        return frame(self.devices)

    def servers_frame(self) -> pd.DataFrame:
        """One row per server: use, prices, the load that the prices want, and its part in the gap."""
        return frame(self.servers)

    def alternatives(self, i: int, count: int = 8) -> list[tuple[float, tuple[int, int, int], str]]:
        """(cost at the prices less that of what it does, option, what stands against it) of device i, cheapest first.

        Of every variant its best use, and of every set of classes that can be sent the best way to send it: options are
        (variant, mask of the classes sent, server), as in `wishes.Choice`.
        """
        prices, problem = self.prices, self.solution.problem
        kept, sent = self.wish.kept_cost[i], self.wish.sent_cost[i]
        price, exists = self._unlimited(i), np.isfinite(kept)
        best_kept = np.where(exists, price[0], np.inf)
        best_sent = np.where(np.isfinite(sent), price[1], np.inf)
        now = self.wish.now.at(i)
        mine = float(prices.cost_of(self.wish.now)[i])
        found: dict[tuple[int, int, int], float] = {}
        server = best_sent.argmin(axis=0) if problem.servers else np.zeros(kept.shape[1], dtype=np.int64)
        away = np.concatenate([[0.0], best_sent.min(axis=0)[1:] if problem.servers else
                               np.full(kept.shape[1] - 1, np.inf)])
        total = best_kept + away
        for mask in range(total.shape[1]):
            k = int(total[:, mask].argmin())
            found[k - 1, mask, int(server[mask]) if mask else -1] = float(total[k, mask])
        for k in range(total.shape[0]):
            mask = int(total[k].argmin())
            found[k - 1, mask, int(server[mask]) if mask else -1] = float(total[k, mask])
        found.pop(now, None)
        order = sorted((cost - mine, option) for option, cost in found.items() if np.isfinite(cost))
        return [(cost, option, self.wish.objection(i, *option)) for cost, option in order[:count]]

    def _unlimited(self, i: int) -> tuple[FloatArray, FloatArray]:
        """(1 + V, 2^C) and (S, 2^C) costs of device i at the prices, whether allowed or not."""
        options, prices = self.solution.problem.options, self.prices
        kept = options.local_cost[i] + sum(price * options.local_use[name][i] for name, price in prices.fleet.items())
        with np.errstate(invalid="ignore"):
            air = np.where(prices.airtime[:, None] > 0.0, prices.airtime[:, None] * options.sent_airtime[i], 0.0)
            sent = options.sent_cost[i] + prices.load[:, None] * options.sent_load[i] + air + sum(
                price * options.sent_use[name][i] for name, price in prices.fleet.items())
        return kept, sent

    def device_text(self, i: int, count: int = 8) -> str:
        """Why device i does what it does: its alternatives, what each costs more at the prices, what forbids it."""
        return "\n".join(_device_lines(self, i, count))

    def text(self) -> str:
        """At most 60 lines for a terminal, whatever the size of the problem."""
        return "\n".join([*_gap_lines(self), "", *_server_lines(self), "", *_held_lines(self), "",
                          *_dearest_lines(self)])

    def record(self) -> dict[str, Any]:
        """Everything as plain columns, for JSON."""
        return {"proven": self.proven, **self.totals, "held": dict(self.held),
                "devices": frame(self.devices).to_dict("records"), "servers": frame(self.servers).to_dict("records")}

    def __str__(self) -> str:
        return self.text()


def explain(problem: Deployment, solution: Solution[Rollout, DeploymentCosts]) -> Explanation:
    """Explain a solution of any method.

    Parameters
    ----------
    problem : Deployment
    solution : Solution
        Without `bound_prices` (nothing proven, or by enumeration) prices of 0 take their place.

    Returns
    -------
    Explanation
    """
    allocation, costs = solution.found()
    if solution.objective is None:
        raise ValueError("a solution without an objective cannot be explained")
    proven = solution.bound is not None and bool(solution.bound_prices)
    prices = _prices(problem, solution if proven else None)
    wish = wishes(problem, allocation)
    best, least = prices.best
    with np.errstate(invalid="ignore"):
        reduced = np.maximum(np.nan_to_num(prices.cost_of(wish.now) - least, nan=0.0), 0.0)
    queues = np.maximum(prices.queue(costs.server_load) - prices.queue(prices.wanted_load), 0.0)
    air = np.zeros(problem.servers) if problem.airtime_limit is None else problem.airtime_limit
    idle = prices.airtime * np.maximum(np.where(prices.airtime > 0.0, air - costs.airtime, 0.0), 0.0)
    used = fleet_use(costs)
    left = sum(price * max(float(getattr(problem, name)) - used[name], 0.0) for name, price in prices.fleet.items())
    totals = {
        "objective": solution.objective, "bound": solution.bound, "price_bound": prices.bound,
        "reduced_costs": float(reduced.sum()), "queues": float(queues.sum()), "unused": float(idle.sum()) + left,
        "beyond_prices": solution.bound - prices.bound if proven and solution.bound is not None else None,
        "lost_to_sharing": float(wish.lost_to_sharing.sum()),
    }
    devices = {
        "device": np.arange(problem.devices),
        "device_name": np.array(problem.device_names, dtype=object),
        **_option_columns(problem, "does", wish.now), "cost": wish.cost,
        **_option_columns(problem, "cheapest", wish.wanted), "cheapest_cost": wish.wanted_cost,
        "against_cheapest": np.array(wish.reasons, dtype=object),
        **_option_columns(problem, "best_alone", wish.alone), "best_alone_cost": wish.alone_cost,
        "lost_to_sharing": wish.lost_to_sharing,
        "reduced_cost": reduced, **_option_columns(problem, "best_at_prices", best),
    }
    servers = {**servers_table(problem, solution), "load_at_prices": prices.wanted_load,
               "queue_cost": prices.scale * queueing(costs.server_load) if prices.scale > 0.0 else
               np.zeros(problem.servers),
               "part_of_gap": queues + idle}
    return Explanation(solution=solution, proven=proven, prices=prices, totals=totals, devices=devices, servers=servers,
                       held=wish.held(), wish=wish)


def _prices(problem: Deployment, solution: Solution[Rollout, DeploymentCosts] | None) -> Prices:
    """The prices of a solution, or prices of 0."""
    found = {} if solution is None else solution.bound_prices

    def of(name: str, size: int) -> FloatArray:
        price = np.zeros(size) if name not in found else np.asarray(found[name], dtype=np.float64).ravel()
        return np.asarray(np.maximum(price, 0.0))

    fleet = {name: float(of(name, 1)[0]) for name in FLEET if getattr(problem, name) is not None}
    return Prices(problem, of("load_limit", problem.servers), of("airtime_limit", problem.servers), fleet)


def _option_columns(problem: Deployment, name: str, choice: Choice) -> dict[str, Any]:
    """Variant, classes that are sent ("+" between) and server of options, as words."""
    variants = np.array([*problem.variant_names, ""], dtype=object)
    servers = np.array([*problem.server_names, ""], dtype=object)
    sets = np.array(["+".join(str(one) for c, one in enumerate(problem.class_names) if mask >> c & 1)
                     for mask in range(2**problem.classes)], dtype=object)
    return {f"{name}_variant": variants[choice.variant], f"{name}_sends": sets[choice.mask],
            f"{name}_server": servers[choice.server]}


# ---- text -----------------------------------------------------------------------------------------------------------


def _gap_lines(e: Explanation) -> list[str]:
    totals, solution = e.totals, e.solution
    objective, floor = totals["objective"], totals["price_bound"]
    distance = max(objective - floor, 0.0)
    if e.proven:
        lines = ["why the gap is what it is",
                 f"  objective {objective:.9g}, proven bound {solution.bound:.9g}, gap {solution.gap:.3g}: no rollout "
                 "that keeps the limits costs less than the bound",
                 f"  the bound's prices alone prove {floor:.9g}"]
    else:
        lines = ["what sharing the servers costs",
                 f"  objective {objective:.9g}; with every device at its best and servers always idle it would be "
                 f"{floor:.9g}, which no rollout can be below"]
        if solution.bound is not None:
            lines.append(f"  bound {solution.bound:.9g}, gap {solution.gap:.3g}, proven by method '{solution.method}' "
                         "without prices")
        else:
            lines.append(f"  method '{solution.method}' proves nothing more; method 'certified' (the default) finds "
                         "prices that prove a better bound")
    rows = [["devices would do better at the prices" if e.proven else "devices would do better with idle servers",
             totals["reduced_costs"]],
            ["servers are loaded otherwise than the prices want" if e.proven else "queues at the servers",
             totals["queues"]]]
    if e.proven:
        rows.append(["priced and not used: airtime, limits of the fleet", totals["unused"]])
    table = [[text, format_price(amount), format_percent(amount, distance)] for text, amount in rows]
    table.append([f"together: objective - {floor:.9g}", format_price(distance),
                  f"{format_percent(distance, objective)} of objective"])
    beyond = totals["beyond_prices"]
    if beyond is not None and beyond > 1e-9 * abs(objective):
        table.append(["of this, ruled out by branch and bound", format_price(beyond), format_percent(beyond, distance)])
    lines += ["  " + line for line in text_table([f"part of the {'gap' if e.proven else 'distance'}", "amount",
                                                  "share"], table).splitlines()]
    # what is worth less than rounding binds nothing
    binding = [f"{FLEET_WORDS[name]} {format_price(price)}" for name, price in e.prices.fleet.items()
               if price * float(getattr(solution.problem, name)) > 1e-9 * abs(objective)]
    if binding:
        lines.append(f"  limits of the fleet that bind, with what one more unit is worth: {', '.join(binding)}")
    return lines


def _server_lines(e: Explanation) -> list[str]:
    """Loads, what the prices want, and the cost of queues, of the servers that matter most."""
    table, problem = e.servers, e.solution.problem
    if problem.servers == 0:
        return ["there are no servers: every device is by itself"]
    objective = max(abs(e.totals["objective"]), 1e-300)
    queues = float(np.sum(table["queue_cost"]))
    lines = [f"servers: waiting in queues is {format_percent(queues, objective)} of the objective"]
    header = ["server", "devices", "load", "limit"]
    header += ["at prices", "per % of load", "queues cost", "part of gap"] if e.proven else ["queues cost"]
    order = np.argsort(-table["load"], kind="stable")
    rows = []
    for s in order[:_SERVERS].tolist():
        cells = [str(problem.server_names[s]), str(int(table["devices"][s])), format_percent(table["load"][s], 1.0),
                 format_percent(table["load_limit"][s], 1.0)]
        if e.proven:
            cells += [format_percent(table["load_at_prices"][s], 1.0), format_price(e.prices.load[s] / 100.0)]
        cells.append(format_percent(table["queue_cost"][s], objective))
        rows.append(cells + ([format_price(table["part_of_gap"][s])] if e.proven else []))
    lines += ["  " + line for line in text_table(header, rows).splitlines()]
    if len(order) > _SERVERS:
        lines.append(f"  and {format_count(len(order) - _SERVERS, 'server')} more (servers_frame(), or --json)")
    return lines


def _held_lines(e: Explanation) -> list[str]:
    """How many devices are kept from their cheapest option by what, and what that would save."""
    devices = len(e.devices["device"])
    lines = [f"what keeps {format_count(devices, 'device')} from the cheapest option there is, limits or not"]
    reasons = np.array(e.wish.reasons, dtype=object)
    rows = []
    for reason, count in list(e.held.items())[:_HELD]:
        saved = float(e.wish.saving[reasons == reason].sum())
        rows.append([str(count), format_percent(count, devices), reason_words(reason), format_price(saved)])
    header = ["devices", "share", "because of", "would save"]
    lines += ["  " + line for line in text_table(header, rows).splitlines()]
    if len(e.held) > _HELD:
        rest = sum(list(e.held.values())[_HELD:])
        lines.append(f"  and {format_count(rest, 'device')} for {format_count(len(e.held) - _HELD, 'other reason')}")
    return lines


def _dearest_lines(e: Explanation) -> list[str]:
    """The dearest device of every kind of choice, with its nearest alternatives."""
    now, order = e.wish.now, np.argsort(-e.wish.cost, kind="stable")
    options = np.column_stack([now.variant, now.mask, now.server])[order]
    kinds, first, count = np.unique(options, axis=0, return_index=True, return_counts=True)
    # the kinds of the dearest devices first
    shown = np.argsort(first, kind="stable")[:_DEVICES]
    lines = [f"the dearest device of {len(shown)} of {format_count(len(kinds), 'choice')}, and what alternatives cost "
             f"more {'at the prices' if e.proven else 'with idle servers'}"]
    for k in shown.tolist():
        lines += ["  " + line for line in _device_lines(e, int(order[first[k]]), _ALTERNATIVES, int(count[k]))]
    lines.append("  every device: to_frame(), or --json; one of them: device_text(i)")
    return lines


def _device_lines(e: Explanation, i: int, count: int, alike: int = 1) -> list[str]:
    problem, wish = e.solution.problem, e.wish
    others = f", like {format_count(alike - 1, 'other')}" if alike > 1 else ""
    lines = [f"{problem.device_label(i)}{others}: {option_words(problem, *wish.now.at(i))}, adds "
             f"{format_price(float(wish.cost[i]))}"]
    every = e.alternatives(i, 10**6)
    shown = every[:count]
    # the first that the device could have must not be missing
    shown += [one for one in every[count:] if not wish.against(i, *one[1])][:1] if all(
        wish.against(i, *one[1]) for one in shown) else []
    for difference, option, objection in shown:
        same = abs(difference) <= _SAME * abs(e.totals["objective"])
        more = 0.0 if same else difference
        why = objection or ("as cheap" if same else "dearer" if more > 0.0 else
                            "nothing; the gap asked for did not need it")
        sign = "+" if more >= 0.0 else "-"
        lines.append(f"  {sign}{format_price(abs(more))} {option_words(problem, *option)}: {why}")
    return lines
