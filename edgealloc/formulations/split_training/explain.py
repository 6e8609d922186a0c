r"""Why a solution is what it is: where its gap comes from, and which force holds every cut where it is.

**The gap.** At prices :math:`\pi` of the capacities, with :math:`v_o` the priced cost of an option (server, cut) and
:math:`v_n` the least over the options of user n,

.. math:: \text{objective} - D(\pi) = \sum_n [v_{o(n)} - v_n]
          + \sum_m \Big[\Phi_m(S_m) - \sum_{n \in S_m} v_{o(n)} + \pi_m \cdot \text{cap}_m\Big]
          + \Big[\text{objective} - \sum_m \Phi_m(S_m)\Big]

with :math:`\Phi_m(S_m)` the least cost of the users of a server: what users pay for not doing what is best for them at
the prices (reduced costs), what capacities lose by not being used as their prices assume, and what shares lose that are
not optimal. No term is negative, so each says how much of the gap lies at a user or a server.

**The cuts.** One local layer more or less changes time and energy on device and server, the clock that is asked for,
instability, server memory and lateness. At the prices these changes show which way every cut is pulled, and by what.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import frame, text_table
from edgealloc.formulations.split_training.explain_cuts import forces
from edgealloc.formulations.split_training.explain_gap import (
    RESOURCES,
    Gap,
    State,
    attribute,
    mixture,
    open_options,
    price_matrix,
    split_table,
    worth_of,
)
from edgealloc.formulations.split_training.limits import server_memory_need
from edgealloc.formulations.split_training.reduced import reduce
from edgealloc.formulations.split_training.resources import settle
from edgealloc.formulations.split_training.views import server_label
from edgealloc.units import format_count, format_percent, format_price

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.core.solution import Solution
    from edgealloc.formulations.split_training.allocation import Allocation, Costs
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["Explanation", "explain"]

FloatArray = npt.NDArray[np.float64]

#: Rows of the tables in the text.
_SERVERS, _SPLIT, _HELD, _USERS = 8, 6, 7, 6


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the gap of a solution comes from, and what holds its cuts. Print it for a page of text.

    Attributes
    ----------
    solution : Solution
    proven : bool
        The prices are those that prove the solution's bound; otherwise they are the solution's own.
    totals : mapping
        `objective`, `bound`, `price_bound` (D at the prices); what separates the objective from that: `reduced_costs`,
        `capacity_losses`, `resource_losses`; `beyond_prices` (bound - price_bound: what branching proved; below 0 where
        rounds of another length might be better); `price_share` (capacity prices over the objective), `options`,
        `open_options`, `open_users`, `split_users`, `imbalance` (what the fractional optimum uses more or less than
        there is, as a share of the worth of all capacities).
    users, servers, split : mapping
        Columns of the frames; `split` has one row per option of which a user that the fractional optimum splits takes a
        part.
    held : mapping
        How many users are held by what.
    """

    solution: Solution[Allocation, Costs]
    proven: bool
    totals: Mapping[str, Any]
    users: Mapping[str, Any]
    servers: Mapping[str, Any]
    split: Mapping[str, Any]
    held: Mapping[str, int]

    def to_frame(self) -> pd.DataFrame:
        """One row per user: its part in the gap, the cost of one local layer more and less by force, the verdict.

        A step to or from "fully local" stands in for one layer where the next cut is that.
        """
        return frame(self.users)

    def servers_frame(self) -> pd.DataFrame:
        """One row per server: use and prices of every resource, what they are worth, and its part in the gap."""
        return frame(self.servers)

    def split_frame(self) -> pd.DataFrame:
        """Options that the fractional optimum behind the bound mixes: user, server, cut, weight, reduced cost."""
        return frame(self.split)

    def text(self) -> str:
        """At most 60 lines for a terminal, whatever the size of the problem."""
        return "\n".join([*_gap_lines(self), "", *_server_lines(self), *_split_lines(self), "", *_cut_lines(self)])

    def record(self) -> dict[str, Any]:
        """Everything as plain columns, for JSON."""
        return {"proven": self.proven, **self.totals, "held": dict(self.held),
                **{name: frame(columns).to_dict("records") for name, columns in
                   (("users", self.users), ("servers", self.servers), ("split", self.split))}}

    def __str__(self) -> str:
        return self.text()


def explain(problem: SplitTraining, solution: Solution[Allocation, Costs]) -> Explanation:
    """Explain a solution that has an allocation.

    Parameters
    ----------
    problem : SplitTraining
    solution : Solution
        Of any method. Without `bound_prices` (nothing proven, or by enumeration) the solution's own take their place.

    Returns
    -------
    Explanation
    """
    allocation, costs = solution.allocation, solution.costs
    if allocation is None or costs is None or solution.objective is None:
        raise ValueError("a solution without an allocation cannot be explained")
    # a synchronous round of the solution's length has the problem's own cost but for that of the round
    data = reduce(problem, round_s=float(costs.response_s.max()) if problem.delay == "max" else None)
    server, cut = np.array(allocation.server), np.array(allocation.local_layers)
    settled = settle(data, server, cut)
    proven = solution.bound is not None and bool(solution.bound_prices)
    price = price_matrix(problem, solution.bound_prices) if proven else settled.price * np.array([1.0, 1.0, 0.0, 0.0])
    state = State(problem, data, server, cut, settled, np.ascontiguousarray(price))
    gap = attribute(state, solution.objective, costs)
    open_count, mixed = open_options(state, gap)
    weights, imbalance = mixture(state, mixed, solution.objective)
    users, held = forces(state)
    split = split_table(state, mixed, weights)
    whole = {"objective": solution.objective, "bound": solution.bound, "price_bound": gap.price_bound,
             "reduced_costs": float(gap.reduced.sum()), "capacity_losses": float(gap.capacity.sum()),
             "resource_losses": gap.resource,
             "beyond_prices": solution.bound - gap.price_bound if proven and solution.bound is not None else None,
             "price_share": float(gap.worth.sum()) / max(abs(solution.objective), 1e-300),
             "options": int(gap.options.sum()), "open_options": int(open_count.sum()),
             "open_users": int((open_count > 1).sum()), "split_users": int(np.unique(split["user"]).size),
             "imbalance": imbalance}
    head: dict[str, Any] = {"user": np.arange(problem.users)}
    if problem.user_names is not None:
        head["user_name"] = np.array(problem.user_names, dtype=object)
    is_split = np.isin(head["user"], split["user"])
    head |= {"server": server, "local_layers": cut, "priced_cost": gap.chosen, "reduced_cost": gap.reduced,
             "best_server": gap.best_server, "best_local_layers": gap.best_cut, "options": gap.options,
             "open_options": open_count, "split": is_split}
    return Explanation(solution=solution, proven=proven, totals=whole, users=head | users,
                       servers=_servers_table(state, gap, solution, split), split=split, held=held)


def _servers_table(
    state: State, gap: Gap, solution: Solution[Allocation, Costs], split: Mapping[str, Any]
) -> dict[str, Any]:
    """Columns of the servers' frame, each (M,)."""
    problem, allocation, costs = state.problem, solution.allocation, solution.costs
    assert allocation is not None
    assert costs is not None
    servers, remote = problem.servers, state.server >= 0
    m = state.server[remote]

    def total(amount: Any) -> FloatArray:
        return np.asarray(np.bincount(m, weights=np.asarray(amount, dtype=np.float64)[remote], minlength=servers))

    nothing = np.full(servers, np.nan)
    used = {"bandwidth": total(allocation.bandwidth_hz) / problem.bandwidth_max_hz,
            "clock": total(allocation.server_frequency_hz) / problem.server_frequency_max_hz,
            "users": nothing, "memory": nothing}
    count = np.bincount(m, minlength=servers)
    with np.errstate(divide="ignore", invalid="ignore"):
        if problem.users_per_server is not None:
            used["users"] = np.where(problem.users_per_server > 0, count / problem.users_per_server, 0.0)
        if problem.server_memory_bytes is not None:
            used["memory"] = total(server_memory_need(problem, state.cut)) / problem.server_memory_bytes
    objective = max(abs(solution.objective or 0.0), 1e-300)
    table: dict[str, Any] = {"server": np.arange(servers)}
    if problem.server_names is not None:
        table["server_name"] = np.array(problem.server_names, dtype=object)
    table["users"] = count
    for column, (name, constraint) in enumerate(RESOURCES.items()):
        known = solution.bound_prices.get(constraint) if solution.bound_prices else None
        table |= {f"{name}_share": used[name], f"{name}_price": solution.prices.get(constraint, nothing),
                  f"{name}_bound_price": nothing if known is None else np.asarray(known),
                  f"{name}worth_of": gap.worth[:, column] / objective}
    table["price_share"] = gap.worth.sum(axis=1) / objective
    table["solution_price_share"] = worth_of(state.data, state.settled.price)[:, :2].sum(axis=1) / objective
    table["reduced_costs"] = total(gap.reduced)
    table["capacity_loss"] = gap.capacity
    table["resource_loss"] = np.maximum(total(costs.user_objective) - gap.site, 0.0)
    table["split_users"] = np.bincount(split["server"][split["server"] >= 0], minlength=servers)
    return table


# ---- text -----------------------------------------------------------------------------------------------------------


def _gap_lines(e: Explanation) -> list[str]:
    """The parts of the gap, and what reduced costs leave open."""
    totals, solution = e.totals, e.solution
    objective, floor = totals["objective"], totals["price_bound"]
    distance = max(objective - floor, 0.0)
    if e.proven:
        lines = ["why the gap is what it is",
                 f"  objective {objective:.9g}, proven bound {solution.bound:.9g}, gap {solution.gap:.3g}; "
                 f"the bound's prices alone prove {floor:.9g}"]
    elif solution.bound is not None:
        lines = ["where better may lie",
                 f"  objective {objective:.9g}, bound {solution.bound:.9g}, gap {solution.gap:.3g}, proven by method "
                 f"'{solution.method}' without prices: seen at the solution's own"]
    else:
        lines = ["where better may lie",
                 f"  method '{solution.method}' proves no bound: nothing here is proven, prices are its own.",
                 "  Method 'certified' (the default) finds the prices that prove a bound."]
    what = "gap" if e.proven else "distance"
    rows = [["choices: users would do better at the prices", totals["reduced_costs"]],
            ["capacities not used as their prices assume", totals["capacity_losses"]],
            ["shares not optimal for these servers and cuts", totals["resource_losses"]]]
    table = [[text, format_price(amount), format_percent(amount, distance)] for text, amount in rows]
    table.append([f"together: objective - {floor:.9g}", format_price(distance),
                  f"{format_percent(distance, objective)} of objective"])
    beyond = totals["beyond_prices"]
    if beyond is not None and beyond > 1e-9 * abs(objective):
        table.append(["of this, ruled out by branch and bound", format_price(beyond), format_percent(beyond, distance)])
    elif beyond is not None and beyond < -1e-9 * abs(objective):
        table.append(["further: rounds of other lengths", format_price(-beyond), ""])
    lines += ["  " + line for line in text_table([f"part of the {what}", "amount", "share"], table).splitlines()]
    users = e.users["user"].size
    if e.proven:
        options = format_count(totals["options"], "option")
        lines.append(f"  reduced costs leave {totals['open_options']} of {options} open to a better solution; "
                     f"{users - totals['open_users']} of {format_count(users, 'user')} are decided")
    n = int(np.argmax(e.users["reduced_cost"]))
    amount = float(e.users["reduced_cost"][n])
    if amount > 1e-12 * abs(objective):
        best = _place(solution.problem, int(e.users["best_server"][n]), int(e.users["best_local_layers"][n]))
        lines.append(f"  largest part of a user: {solution.problem.user_label(n)}, {format_price(amount)} "
                     f"({format_percent(amount, distance)}); it does {_does(e, n)}, best at the prices {best}")
    return lines


def _place(problem: SplitTraining, m: int, cut: int) -> str:
    """A name alone is short enough for a table."""
    if m < 0:
        return "fully local"
    return f"{problem.server_names[m] if problem.server_names else f'server {m}'} cut {cut}"


def _does(e: Explanation, n: int) -> str:
    return _place(e.solution.problem, int(e.users["server"][n]), int(e.users["local_layers"][n]))


def _server_lines(e: Explanation) -> list[str]:
    """Congestion: use, prices, worth and losses of the servers that matter most."""
    table, problem = e.servers, e.solution.problem
    kind = "bound" if e.proven else "own"
    lines = [f"congestion: the prices of all capacities make {format_percent(e.totals['price_share'], 1.0)} of the "
             f"objective ({'prices of the bound' if e.proven else 'own prices'})"]
    limited = [name for name in ("users", "memory") if not np.isnan(table[f"{name}_share"]).all()]
    header = ["server", "users", "band", "clock", *(f"{name} limit" for name in limited), "per MHz", f"({kind})",
              "per GHz", f"({kind})", "prices", "loses", "split"]
    order = np.argsort(-table["price_share"], kind="stable")
    rows = []
    for m in order[:_SERVERS].tolist():
        cells = [str(problem.server_names[m]) if problem.server_names else str(m), str(int(table["users"][m]))]
        for name in ("bandwidth", "clock", *limited):
            share = float(table[f"{name}_share"][m])
            cells.append("-" if math.isnan(share) else format_percent(share, 1.0))
        for name, scale in (("bandwidth", 1e6), ("clock", 1e9)):
            here = table[f"{name}_bound_price"] if e.proven else e.servers[f"{name}_price"]
            cells += [format_price(float(table[f"{name}_price"][m]) * scale), format_price(float(here[m]) * scale)]
        cells += [format_percent(float(table["price_share"][m]), 1.0), format_price(float(table["capacity_loss"][m])),
                  str(int(table["split_users"][m]))]
        rows.append(cells)
    lines += ["  " + line for line in text_table(header, rows).splitlines()]
    if len(order) > _SERVERS:
        rest = format_percent(float(table["price_share"][order[_SERVERS:]].sum()), 1.0)
        lines.append(f"  and {format_count(len(order) - _SERVERS, 'server')} more with {rest} of the objective in "
                     "prices")
    for name in limited:
        price = table[f"{name}_bound_price"]
        if not np.isnan(price).all() and (price > 0.0).any():
            m, unit = int(np.nanargmax(price)), "user" if name == "users" else "GB"
            worth = float(price[m]) * (1.0 if name == "users" else 1e9)
            lines.append(f"  highest price of one {unit} in the bound: {format_price(worth)} at "
                         f"{server_label(problem, m)}")
    return lines


def _split_lines(e: Explanation) -> list[str]:
    """Users that the fractional optimum splits, those first that pay most for it."""
    split, problem = e.split, e.solution.problem
    names = np.unique(split["user"])
    if not names.size:
        return ["", "no user is split in the fractional optimum at these prices"]
    lines = ["", f"{format_count(names.size, 'user')} split in the fractional optimum at these prices "
             f"(it balances capacities to within {format_percent(e.totals['imbalance'], 1.0)} of their worth"
             f"{'; better prices would balance more' if e.totals['imbalance'] > 0.02 else ''}):"]
    cost = e.users["reduced_cost"][names]
    heaviest = np.array([split["weight"][split["user"] == n].max() for n in names])
    rows = []
    for n in names[np.lexsort((heaviest, -cost))][:_SPLIT].tolist():
        mine = np.flatnonzero(split["user"] == n)[:3]
        parts = []
        for o in mine.tolist():
            place = _place(problem, int(split["server"][o]), int(split["local_layers"][o]))
            parts.append(f"{place}: {format_percent(float(split['weight'][o]), 1.0)}")
        pays = format_price(float(e.users["reduced_cost"][n]))
        rows.append([problem.user_label(n), _does(e, n), pays, ", ".join(parts)])
    lines += ["  " + line for line in text_table(["user", "does", "pays", "fractional optimum"], rows).splitlines()]
    if names.size > _SPLIT:
        lines.append(f"  and {format_count(names.size - _SPLIT, 'user')} more (split_frame(), or --json)")
    return lines


def _cut_lines(e: Explanation) -> list[str]:
    """How many cuts are held by what, and the users who pull hardest."""
    users, problem = e.users, e.solution.problem
    total = users["user"].size
    own = e.totals["resource_losses"] > 1e-6 * abs(e.totals["objective"])
    lines = ["what holds each cut: 'A against B' means that one more local layer is dearer by A most, one less by B"
             f"{' (at the best shares for these servers and cuts)' if own else ''}"]
    rows = [[str(count), format_percent(count, total), text] for text, count in list(e.held.items())[:_HELD]]
    lines += ["  " + line for line in text_table(["users", "share", "held by"], rows).splitlines()]
    rest = list(e.held.values())[_HELD:]
    if rest:
        lines.append(f"  and {format_count(sum(rest), 'user')} more held by {format_count(len(rest), 'other reason')}")
    gain = np.nan_to_num(users["saved_by_a_layer"])
    movers = int((users["verdict"] == "would move").sum())
    if movers:
        early = ", which the gap asked for did not need" if e.solution.status == "optimal" else ""
        lines.append(f"  {format_count(movers, 'user')} would still gain by a single move: at most "
                     f"{format_price(float(gain[users['verdict'] == 'would move'].max()))} each{early}")
    slack = np.fmin(users["more_total"], users["less_total"])
    order = np.lexsort((np.where(np.isnan(slack), np.inf, slack), -gain, users["verdict"] != "would move"))
    shown = []
    for n in order[:_USERS].tolist():
        more, less = float(users["more_total"][n]), float(users["less_total"][n])
        shown.append([problem.user_label(n), _does(e, n), _signed(more), users["against_more"][n] or "-", _signed(less),
                      users["against_less"][n] or "-", _verdict(users["verdict"][n], users["held_by"][n])])
    header = ["user", "does", "one more", "dearer by", "one less", "dearer by", "held by"]
    lines += ["", *("  " + line for line in text_table(header, shown).splitlines())]
    if total > _USERS:
        lines.append(f"  and {format_count(total - _USERS, 'user')} more (to_frame(), or --json)")
    return lines


def _verdict(verdict: str, by: str) -> str:
    return "balance" if verdict == "balanced" else f"{verdict}: {by}" if by else verdict


def _signed(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "inf" if math.isinf(value) else f"{'+' if value >= 0.0 else '-'}{format_price(abs(value))}"
