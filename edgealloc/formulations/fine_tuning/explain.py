r"""Why an assignment is what it is: where its gap comes from, and what keeps every job from cheaper options.

**The gap.** At prices :math:`\pi` of what servers share (memory, seconds of computing, airtime; :math:`b` there is,
:math:`u_{io}` that option o of job i takes), with :math:`v_{io} = c_{io} + \pi \cdot u_{io}` the priced cost,

.. math:: \text{objective} - D(\pi) = \sum_i [v_{i o(i)} - \min_o v_{io}]
          + \sum \pi \, (b - \textstyle\sum_i u_{i o(i)})

No term is negative: what jobs pay for not doing what is best for them at the prices, and what is priced and not used.

**The jobs.** Each has a cheapest option, limits or not; what stands against it is said with its amounts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import frame, text_table
from edgealloc.formulations.fine_tuning.assignment import Assignment, FineTuningCosts
from edgealloc.formulations.fine_tuning.views import LIMITS, reason_words, server_limits, servers_table, worth
from edgealloc.formulations.fine_tuning.wishes import Wishes, option_words, wishes
from edgealloc.units import format_count, format_percent, format_price

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.core.solution import Solution
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["Explanation", "explain"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Rows of the tables in the text, and options that are shown of a job.
_SERVERS: Final = 8
_HELD: Final = 10
_JOBS: Final = 6
_OPTIONS: Final = 3


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the gap of an assignment comes from, and what its jobs would rather do. Print it for a page of text.

    Attributes
    ----------
    solution : Solution
    proven : bool
        The prices are those that prove the solution's bound; otherwise they are 0, and what is compared is every job at
        its best alone.
    totals : mapping
        `objective`, `bound`, `price_bound` (D at the prices); what separates the objective from that: `reduced_costs`
        and `unused`; `beyond_prices` (bound - price_bound: what branching proved; None where nothing is proven);
        `price_share` (the worth of all that is priced over the objective); `lost_to_sharing` (objective less every job
        at its best alone).
    jobs, servers : mapping
        Columns of the frames.
    held : mapping
        How many jobs are kept from their cheapest option by what.
    best : (N,) of int
        The best option of every job at the prices, numbered as in `wish`.
    wish : Wishes
    """

    solution: Solution[Assignment, FineTuningCosts]
    proven: bool
    totals: Mapping[str, Any]
    jobs: Mapping[str, Any]
    servers: Mapping[str, Any]
    held: Mapping[str, int]
    best: IntArray
    wish: Wishes

    def to_frame(self) -> pd.DataFrame:
        """One row per job: its cost, its part in the gap, its cheapest option and what stands against that."""
        return frame(self.jobs)

    def servers_frame(self) -> pd.DataFrame:
        """One row per server: use, prices, what they are worth, and its part in the gap."""
        return frame(self.servers)

    def text(self) -> str:
        """At most 60 lines for a terminal, whatever the size of the problem."""
        return "\n".join([*_gap_lines(self), "", *_server_lines(self), "", *_held_lines(self), "", *_job_lines(self)])

    def record(self) -> dict[str, Any]:
        """Everything as plain columns, for JSON."""
        return {"proven": self.proven, **self.totals, "held": dict(self.held),
                "jobs": frame(self.jobs).to_dict("records"), "servers": frame(self.servers).to_dict("records")}

    def __str__(self) -> str:
        return self.text()


def explain(problem: FineTuning, solution: Solution[Assignment, FineTuningCosts]) -> Explanation:
    """Explain a solution of any method.

    Parameters
    ----------
    problem : FineTuning
    solution : Solution
        Without `bound_prices` (nothing proven, or by enumeration) prices of 0 take their place.

    Returns
    -------
    Explanation
    """
    allocation, costs = solution.allocation, solution.costs
    if allocation is None or costs is None or solution.objective is None:
        raise ValueError("a solution without an assignment cannot be explained")
    proven = solution.bound is not None and bool(solution.bound_prices)
    price = {name: _price(solution, name, problem.servers) if proven else np.zeros(problem.servers) for name in LIMITS}
    priced = _priced(problem, price)
    wish = wishes(problem, allocation)
    flat = priced.reshape(problem.jobs, -1)
    best = flat.argmin(axis=1)
    jobs = np.arange(problem.jobs)
    reduced = np.maximum(flat[jobs, wish.chosen] - flat[jobs, best], 0.0)
    limits = server_limits(problem)
    unused = np.zeros(problem.servers)
    worth = np.zeros(problem.servers)
    for name in LIMITS:
        # what is not limited has no price
        there = np.where(price[name] > 0.0, limits[name], 0.0)
        worth += price[name] * there
        unused += price[name] * np.maximum(there - np.where(price[name] > 0.0, getattr(costs, name), 0.0), 0.0)
    price_bound = float(flat[jobs, best].sum() - worth.sum())
    whole = {
        "objective": solution.objective, "bound": solution.bound, "price_bound": price_bound,
        "reduced_costs": float(reduced.sum()), "unused": float(unused.sum()),
        "beyond_prices": solution.bound - price_bound if proven and solution.bound is not None else None,
        "price_share": float(worth.sum()) / max(abs(solution.objective), 1e-300),
        "lost_to_sharing": float(wish.lost_to_sharing.sum()),
    }
    table = {"reduced_cost": reduced, **_option_columns(problem, "best_at_prices", best)}
    return Explanation(solution=solution, proven=proven, totals=whole, jobs=_jobs_table(problem, wish) | table,
                       servers=_servers_table(problem, solution, worth, unused), held=wish.held(), best=best,
                       wish=wish)


def _price(solution: Solution[Assignment, FineTuningCosts], name: str, servers: int) -> FloatArray:
    found = solution.bound_prices.get(name)
    return np.zeros(servers) if found is None else np.asarray(found, dtype=np.float64)


def _priced(problem: FineTuning, price: Mapping[str, FloatArray]) -> FloatArray:
    """(N, K, 1 + S) cost of every allowed option with what it takes of the servers, at the prices."""
    options = problem.options
    if problem.servers == 0:
        return options.cost
    home = problem.home_cell
    extra = np.zeros(options.cost.shape)
    with np.errstate(invalid="ignore"):
        extra[:, :, 1:] = (price["server_memory_bytes"] * problem.memory_bytes[:, :, None]
                           + price["server_busy_s"] * options.costs.compute_s[:, :, 1:]
                           + price["airtime_s"] * options.airtime_s[:, :, 1:])
        at_home = np.where(home >= 0, price["airtime_s"][np.maximum(home, 0)], 0.0)
        extra[:, :, 0] = at_home[:, None] * options.airtime_s[:, :, 0]
        return np.where(options.allowed, options.costs.cost + extra, np.inf)


def _option_columns(problem: FineTuning, name: str, option: Any) -> dict[str, Any]:
    methods = np.array([*problem.method_names, ""], dtype=object)
    places = np.array([*problem.server_names, "device", ""], dtype=object)
    places_per_method = 1 + problem.servers
    known = option >= 0
    return {f"{name}_method": methods[np.where(known, option // places_per_method, -1)],
            f"{name}_place": places[np.where(known, option % places_per_method - 1, problem.servers + 1)
                                    if problem.servers else np.where(known, 0, 1)]}


def _jobs_table(problem: FineTuning, wish: Wishes) -> dict[str, Any]:
    """Columns of the jobs' frame, each (N,)."""
    return {
        "job": np.arange(problem.jobs),
        "job_name": np.array(problem.job_names, dtype=object),
        **_option_columns(problem, "does", wish.chosen),
        "objective": wish.cost,
        **_option_columns(problem, "cheapest", wish.wanted),
        "cheapest_objective": wish.wanted_cost,
        "against_cheapest": np.array(wish.reasons, dtype=object),
        **_option_columns(problem, "best_alone", wish.alone),
        "best_alone_objective": wish.alone_cost,
        "lost_to_sharing": wish.lost_to_sharing,
    }


def _servers_table(
    problem: FineTuning, solution: Solution[Assignment, FineTuningCosts], worth: FloatArray, unused: FloatArray
) -> dict[str, Any]:
    """The servers' frame of the solution, with what the priced limits are worth and how much of it is not used."""
    return {**servers_table(problem, solution), "worth": worth, "unused": unused}


# ---- text -----------------------------------------------------------------------------------------------------------


def _gap_lines(e: Explanation) -> list[str]:
    totals, solution = e.totals, e.solution
    objective, floor = totals["objective"], totals["price_bound"]
    distance = max(objective - floor, 0.0)
    if e.proven:
        lines = ["why the gap is what it is",
                 f"  objective {objective:.9g}, proven bound {solution.bound:.9g}, gap {solution.gap:.3g}; "
                 f"the bound's prices alone prove {floor:.9g}"]
    else:
        lines = ["what sharing the servers costs",
                 f"  objective {objective:.9g}; with every job at its best alone it would be {floor:.9g}, which no "
                 "assignment can be below"]
        if solution.bound is not None:
            lines.append(f"  bound {solution.bound:.9g}, gap {solution.gap:.3g}, proven by method '{solution.method}' "
                         "without prices")
        else:
            lines.append(f"  method '{solution.method}' proves nothing more; method 'certified' (the default) finds "
                         "prices that prove a better bound")
    rows = [["jobs would do better at the prices" if e.proven else "jobs would do better alone",
             totals["reduced_costs"]]]
    if e.proven:
        rows.append(["priced and not used", totals["unused"]])
    table = [[text, format_price(amount), format_percent(amount, distance)] for text, amount in rows]
    table.append([f"together: objective - {floor:.9g}", format_price(distance),
                  f"{format_percent(distance, objective)} of objective"])
    beyond = totals["beyond_prices"]
    if beyond is not None and beyond > 1e-9 * abs(objective):
        table.append(["of this, ruled out by branch and bound", format_price(beyond), format_percent(beyond, distance)])
    lines += ["  " + line for line in text_table([f"part of the {'gap' if e.proven else 'distance'}", "amount",
                                                  "share"], table).splitlines()]
    i = int(np.argmax(e.jobs["reduced_cost"]))
    amount = float(e.jobs["reduced_cost"][i])
    if amount > 1e-12 * abs(objective):
        best = option_words(solution.problem, *e.wish.split(int(e.best[i])))
        lines.append(f"  largest part of a job: {solution.problem.job_label(i)}, {format_price(amount)} "
                     f"({format_percent(amount, distance)}); best {'at the prices' if e.proven else 'alone'} is {best}")
    return lines


def _server_lines(e: Explanation) -> list[str]:
    """Use, prices and worth of the servers that matter most."""
    table, problem = e.servers, e.solution.problem
    if problem.servers == 0:
        return ["there are no servers: every job is by itself"]
    objective = max(abs(e.totals["objective"]), 1e-300)
    lines = [f"servers: all that is priced is worth {format_percent(e.totals['price_share'], 1.0)} of the objective"
             if e.proven else "servers: nothing is priced"]
    header = ["server", "jobs"]
    for word, _, _, unit in LIMITS.values():
        header += [word, *([f"per {unit}"] if e.proven else [])]
    header += ["worth", "not used"] if e.proven else []
    order = np.argsort(-table["worth"] if e.proven else -table["jobs"], kind="stable")
    rows = []
    for s in order[:_SERVERS].tolist():
        cells = [str(problem.server_names[s]), str(int(table["jobs"][s]))]
        for name, share in zip(LIMITS, ("memory_share", "busy_share", "airtime_share"), strict=True):
            cells.append("no limit" if math.isnan(table[share][s]) else format_percent(float(table[share][s]), 1.0))
            cells += [format_price(worth(problem, e.solution, name, s))] if e.proven else []
        if e.proven:
            cells += [format_percent(float(table["worth"][s]), objective), format_price(float(table["unused"][s]))]
        rows.append(cells)
    lines += ["  " + line for line in text_table(header, rows).splitlines()]
    if len(order) > _SERVERS:
        lines.append(f"  and {format_count(len(order) - _SERVERS, 'server')} more (servers_frame(), or --json)")
    return lines


def _held_lines(e: Explanation) -> list[str]:
    """How many jobs are kept from their cheapest option by what, and what that would save."""
    jobs = len(e.jobs["job"])
    lines = [f"what keeps {format_count(jobs, 'job')} from the cheapest option there is, limits or not"]
    reasons = np.array(e.wish.reasons, dtype=object)
    rows = []
    for reason, count in list(e.held.items())[:_HELD]:
        saved = float(e.wish.saving[reasons == reason].sum())
        rows.append([str(count), format_percent(count, jobs), reason_words(reason), format_price(saved)])
    header = ["jobs", "share", "because of", "would save"]
    lines += ["  " + line for line in text_table(header, rows).splitlines()]
    if len(e.held) > _HELD:
        rest = sum(list(e.held.values())[_HELD:])
        lines.append(f"  and {format_count(rest, 'job')} for {format_count(len(e.held) - _HELD, 'other reason')}")
    return lines


def _job_lines(e: Explanation) -> list[str]:
    """The dearest jobs, with their cheapest options and what stands against each."""
    problem, wish = e.solution.problem, e.wish
    dearest = np.argsort(-wish.cost, kind="stable")[:_JOBS].tolist()
    lines = [f"the dearest {format_count(len(dearest), 'job')}, and what stands against cheaper options"]
    for i in dearest:
        k, place = wish.split(int(wish.chosen[i]))
        cost = float(wish.cost[i])
        lines.append(f"  {problem.job_label(i)}: {option_words(problem, k, place)}, {format_price(cost)}")
        for option in _cheaper(problem, wish, i):
            k, place = wish.split(option)
            cost = float(problem.options.costs.cost.reshape(problem.jobs, -1)[i, option])
            lines.append(f"    {format_price(cost)} {option_words(problem, k, place)}: "
                         f"{wish.objection(i, k, place) or 'nothing; the gap asked for did not need it'}")
    if problem.jobs > len(dearest):
        lines.append(f"  and {format_count(problem.jobs - len(dearest), 'job')} more (to_frame(), or --json)")
    return lines


def _cheaper(problem: FineTuning, wish: Wishes, i: int) -> list[int]:
    """Of the methods that would be cheaper for a job, each at its cheapest place; what cannot exist is left out."""
    options = problem.options
    exists = ~(options.out["forbidden"][i] | options.out["out of reach"][i])
    cost = np.where(exists, options.costs.cost[i], np.inf)
    place = cost.argmin(axis=1)
    least = cost[np.arange(problem.tunings), place]
    order = np.argsort(least, kind="stable")[:_OPTIONS]
    return [int(k * (1 + problem.servers) + place[k]) for k in order if least[k] < wish.cost[i] * (1.0 - 1e-9)]
