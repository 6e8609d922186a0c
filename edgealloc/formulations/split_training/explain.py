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
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import text_table
from edgealloc.formulations.split_training.limits import highest_cut, memory_need, server_memory_need
from edgealloc.formulations.split_training.options import (
    EXACT,
    device_response,
    job_bytes,
    job_cycles,
    job_response,
    link_delay,
    link_response,
    respond,
    timed_option,
)
from edgealloc.formulations.split_training.priced import Capacities
from edgealloc.formulations.split_training.reduced import Reduced, reduce
from edgealloc.formulations.split_training.resources import Settled, members_of, settle
from edgealloc.formulations.split_training.site import site_cost
from edgealloc.formulations.split_training.tree import GUARD, list_options
from edgealloc.formulations.split_training.views import _count, _percent, _price, server_label

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.core.solution import Solution
    from edgealloc.formulations.split_training.allocation import Allocation, Costs
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["FORCES", "LIMITS", "Explanation", "explain"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: What a user pays for, in the order of the columns; names for people.
FORCES: Final[Mapping[str, str]] = {
    "device_time": "device time", "device_energy": "device energy", "server_time": "server time",
    "server_energy": "server energy", "clock_price": "clock price", "stability": "stability",
    "memory_price": "memory price", "deadline": "deadline", "radio": "radio",
}
#: Limits that can hold a cut; names for people.
LIMITS: Final[Mapping[str, str]] = {
    "min_local_layers": "privacy (min_local_layers)", "max_local_layers": "max_local_layers",
    "no_layer_left": "no local layer left", "finite_stability": "stability has no finite value fully local",
    "stability_limit": "stability limit", "device_memory_bytes": "device memory",
    "server_memory_bytes": "server memory", "deadline_s": "deadline", "users_per_server": "users per server",
    "no_server": "no server possible",
}
#: Resources of a server, as in `Capacities`: short name and constraint.
RESOURCES: Final[Mapping[str, str]] = {
    "bandwidth": "bandwidth_hz", "clock": "server_frequency_hz", "users": "users_per_server",
    "memory": "server_memory_bytes",
}
#: A force below this share of what the user pays is rounding.
_ROUNDING: Final = 1e-9
#: The fractional optimum mixes at most this many options, those of least reduced cost.
_MIXED: Final = 20_000
#: Moves that prices recommend are evaluated exactly for at most this many users, the keenest.
_EXACT_MOVES: Final = 2_000
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
        return _frame(self.users)

    def servers_frame(self) -> pd.DataFrame:
        """One row per server: use and prices of every resource, what they are worth, and its part in the gap."""
        return _frame(self.servers)

    def split_frame(self) -> pd.DataFrame:
        """Options that the fractional optimum behind the bound mixes: user, server, cut, weight, reduced cost."""
        return _frame(self.split)

    def text(self) -> str:
        """At most 60 lines for a terminal, whatever the size of the problem."""
        return "\n".join([*_gap_lines(self), "", *_server_lines(self), *_split_lines(self), "", *_cut_lines(self)])

    def record(self) -> dict[str, Any]:
        """Everything as plain columns, for JSON."""
        return {"proven": self.proven, **self.totals, "held": dict(self.held),
                **{name: _frame(columns).to_dict("records") for name, columns in
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
    price = _price_matrix(problem, solution.bound_prices) if proven else settled.price * np.array([1.0, 1.0, 0.0, 0.0])
    state = _State(problem, data, server, cut, settled, np.ascontiguousarray(price))
    gap = _attribute(state, solution.objective, costs)
    open_count, mixed = _open_options(state, gap)
    weights, imbalance = _mixture(state, mixed, solution.objective)
    users, held = _forces(state)
    split = _split_table(state, mixed, weights)
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


class _State(NamedTuple):
    """A problem, what was chosen, its optimal resources, and the prices (M, 4) at which the gap is looked at."""

    problem: SplitTraining
    data: Reduced
    server: IntArray
    cut: IntArray
    settled: Settled
    price: FloatArray

    @property
    def layers(self) -> int:
        return self.data.factor.size - 1

    @property
    def forces(self) -> list[str]:
        """Names of the forces for people; in a synchronous round the only deadline that is paid for is its end."""
        return [self.late if name == "deadline" else text for name, text in FORCES.items()]

    @property
    def late(self) -> str:
        """What limits everybody's time."""
        return "end of the round" if self.problem.delay == "max" else LIMITS["deadline_s"]


class _Gap(NamedTuple):
    """Parts of objective - D; per user (N,) unless said otherwise."""

    price_bound: float
    room: float
    chosen: FloatArray
    least: FloatArray
    reduced: FloatArray
    best_server: IntArray
    best_cut: IntArray
    options: IntArray
    #: (M,) and (M, 4)
    capacity: FloatArray
    site: FloatArray
    worth: FloatArray
    #: objective less the optimal cost of the assignment
    resource: float


def _price_matrix(problem: SplitTraining, prices: Mapping[str, Any]) -> FloatArray:
    price = np.zeros((problem.servers, 4))
    for column, name in enumerate(RESOURCES.values()):
        if name in prices:
            price[:, column] = prices[name]
    return price


# ---- the gap ------------------------------------------------------------------------------------------------------


class _Buffers:
    """All options of one user after another, in the same arrays."""

    def __init__(self, data: Reduced) -> None:
        width = data.server.size * data.factor.size + 1
        self.data = data
        self.value, self.server = np.empty(width), np.empty(width, np.int64)
        self.cut = np.empty(width, np.int64)

    def list(self, n: int, price: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
        """Priced value, server and cut of every option of user n."""
        size = list_options(self.data, n, price, self.value, self.server, self.cut)
        return self.value[:size], self.server[:size], self.cut[:size]


def _attribute(state: _State, objective: float, costs: Costs) -> _Gap:
    """The parts of objective - D(price)."""
    data, server, cut, price = state.data, state.server, state.cut, state.price
    users, servers = data.gain.shape
    chosen, least = np.empty(users), np.empty(users)
    best_server, best_cut, options = (np.empty(users, dtype=np.int64) for _ in range(3))
    buffers = _Buffers(data)
    for n in range(users):
        value, at, alpha = buffers.list(n, price)
        mine = np.flatnonzero((at == server[n]) & (alpha == cut[n]))
        # what rounding makes a trifle too slow for its deadline is not listed
        chosen[n] = value[mine[0]] if mine.size else _option(data, n, int(server[n]), int(cut[n]), price)
        best = int(np.argmin(value)) if value.size else -1
        least[n], best_server[n], best_cut[n] = (value[best], at[best], alpha[best]) if value.size else (
            chosen[n], server[n], cut[n])
        if chosen[n] <= least[n]:
            least[n], best_server[n], best_cut[n] = chosen[n], server[n], cut[n]
        options[n] = max(value.size, 1)
    worth = _worth(data, price)
    # a server that must be used up if it is used at all gives back what its prices are below 0
    idle = np.where(data.server["whole"] > 0.0, np.minimum(worth[:, 0] + worth[:, 1], 0.0), 0.0)
    site = np.zeros(servers)
    order, offsets = members_of(server, servers)
    for m in range(servers):
        members = order[offsets[m] : offsets[m + 1]]
        site[m], _ = _site(state, members, m, cut)
    priced = np.bincount(server[server >= 0], weights=chosen[server >= 0], minlength=servers)
    capacity = np.maximum(site - priced + worth.sum(axis=1) - idle, 0.0)
    alone = server < 0
    best_cost = math.fsum([*site, *data.user["local_cost"][alone]])
    bound = math.fsum([*least, *(-worth.ravel()), *idle]) + costs.round_objective
    return _Gap(bound, max(objective - bound, 0.0), chosen, least, chosen - least, best_server, best_cut, options,
                capacity, site, worth, max(objective - costs.round_objective - best_cost, 0.0))


def _worth(data: Reduced, price: FloatArray) -> FloatArray:
    """Prices per whole capacity (M, 4) of prices per unit; 0 where there is no limit."""
    size = Capacities.of(data).size
    return np.asarray(np.where(np.isfinite(size), price * np.where(np.isfinite(size), size, 0.0), 0.0))


def _option(data: Reduced, n: int, m: int, cut: int, price: FloatArray) -> float:
    """Priced cost of one option."""
    if m < 0:
        return float(data.user["local_cost"][n])
    value = timed_option(data, n, m, cut, price[m, 0], price[m, 1], 0.0, EXACT)[0]
    return float(value + price[m, 2] + price[m, 3] * job_bytes(data, n, cut))


def _site(state: _State, members: IntArray, m: int, cut: IntArray) -> tuple[float, bool]:
    """Least cost of a set of users on a server, and whether some hard deadline cannot be kept.

    Every value is a lower bound, so where deadlines make the search for prices hard the better of two starts counts.
    """
    data, user = state.data, state.data.user[members]
    starts = [(state.settled.price[m].copy(), state.settled.theta.copy())]
    if np.isfinite(user["deadline"]).any():
        starts.append((np.zeros(4), np.zeros(cut.size)))
    best, broken = -math.inf, False
    for price, theta in starts:
        value = float(site_cost(data, members, members.size, m, cut, price, theta))
        if value > best:
            paid = theta[members]
            best, broken = value, bool(((user["hard"] > 0.0) & (paid > 0.0) & (paid >= user["penalty"])).any())
    return best, broken


class _Mixed(NamedTuple):
    """Options (O,) that may be part of the fractional optimum."""

    user: IntArray
    server: IntArray
    cut: IntArray
    reduced: FloatArray


def _open_options(state: _State, gap: _Gap) -> tuple[IntArray, _Mixed]:
    """How many options (N,) reduced costs leave open, and the cheapest of them."""
    buffers = _Buffers(state.data)
    room = gap.room * (1.0 + 1e-9) + GUARD * (abs(gap.price_bound) + gap.room)
    count = np.ones(state.server.size, dtype=np.int64)
    rows: list[tuple[IntArray, ...]] = []
    reduced_rows: list[FloatArray] = []
    for n in range(state.server.size):
        value, at, alpha = buffers.list(n, state.price)
        reduced = np.maximum(value - gap.least[n], 0.0)
        kept = np.flatnonzero(reduced <= room)
        count[n] = max(kept.size, 1)
        if not kept.size:
            rows.append((np.array([n]), state.server[n : n + 1], state.cut[n : n + 1]))
            reduced_rows.append(np.zeros(1))
            continue
        kept = kept[np.argsort(reduced[kept], kind="stable")[:16]]  # no user mixes more than a few
        rows.append((np.full(kept.size, n), at[kept], alpha[kept]))
        reduced_rows.append(reduced[kept])
    user, server, cut = (np.concatenate(column).astype(np.int64) for column in zip(*rows, strict=True))
    mixed = _Mixed(user, server, cut, np.concatenate(reduced_rows))
    first = np.append(True, np.diff(user) > 0)
    if user.size > _MIXED + state.server.size:
        rank = np.argsort(np.where(first, -1.0, mixed.reduced), kind="stable")[: _MIXED + state.server.size]
        rank.sort()
        mixed = _Mixed(mixed.user[rank], mixed.server[rank], mixed.cut[rank], mixed.reduced[rank])
    return count, mixed


def _uses(state: _State, mixed: _Mixed) -> FloatArray:
    """Share (O, 4) of its server's capacities that each option takes at the prices."""
    data, price, size = state.data, state.price, Capacities.of(state.data).size
    use = np.zeros((mixed.user.size, 4))
    timed = np.isfinite(data.user["deadline"])
    for o, (n, m, cut) in enumerate(zip(mixed.user.tolist(), mixed.server.tolist(), mixed.cut.tolist(), strict=True)):
        if m < 0:
            continue
        answer = timed_option if timed[n] else respond
        extra = (0.0, EXACT) if timed[n] else (0.0,)
        _, band, clock, _ = answer(data, n, m, cut, price[m, 0], price[m, 1], *extra)
        use[o] = np.array([band, clock, 1.0, job_bytes(data, n, cut)]) / size[m]
    return use


def _mixture(state: _State, mixed: _Mixed, objective: float) -> tuple[FloatArray, float]:
    """Weights (O,) of the options in the fractional optimum, and the share of the capacities' worth that they miss.

    The linear programme behind the bound: the weights of every user sum to 1; reduced costs are paid, and so is (at its
    price) what the mixture uses more or less of a capacity than there is. A vertex splits no more users than there are
    capacities.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    users, servers = state.data.gain.shape
    use = _uses(state, mixed)
    limited = np.isfinite(Capacities.of(state.data).size).ravel()
    worth = _worth(state.data, state.price).ravel()
    count = np.bincount(mixed.user, minlength=users)
    choice = count[mixed.user] > 1
    weights = np.ones(mixed.user.size)
    cell = (np.maximum(mixed.server, 0)[:, None] * 4 + np.arange(4)).ravel()
    rows = np.flatnonzero(limited)
    if choice.any() and rows.size:
        place = np.full(4 * servers, -1)
        place[rows] = np.arange(rows.size)
        fixed = np.bincount(cell, weights=(use * ~choice[:, None]).ravel(), minlength=4 * servers)[rows]
        picked = np.flatnonzero(choice)
        _, agent = np.unique(mixed.user[picked], return_inverse=True)
        columns = np.repeat(np.arange(picked.size), 4)
        where = place[cell.reshape(-1, 4)[picked].ravel()]
        amount = use[picked].ravel()
        real = (where >= 0) & (amount > 0.0)
        capacity = sparse.csr_matrix((amount[real], (where[real], columns[real])), shape=(rows.size, picked.size))
        one = sparse.csr_matrix((np.ones(picked.size), (agent, np.arange(picked.size))))
        unit = sparse.eye(rows.size, format="csr")
        nothing = sparse.csr_matrix((one.shape[0], rows.size))
        equal: Any = sparse.vstack([sparse.hstack([one, nothing, nothing]), sparse.hstack([capacity, unit, -unit])])
        scale = max(float(np.abs(worth[rows]).max()), float(mixed.reduced.max()), 1e-300)
        under = np.abs(worth[rows]) / scale
        # more than there is of something free is not free
        over = np.maximum(under * 1.001, 1e-3)
        cost = np.concatenate([mixed.reduced[picked] / scale, under, over])
        solved = linprog(cost, A_eq=equal, b_eq=np.concatenate([np.ones(one.shape[0]), 1.0 - fixed]), method="highs-ds")
        if solved.x is None:
            # the cheapest option of everybody is what is left
            weights[choice] = np.append(True, np.diff(mixed.user) > 0)[choice].astype(np.float64)
        else:
            weights[picked] = np.clip(solved.x[: picked.size], 0.0, 1.0)
    used = np.bincount(cell, weights=(use * weights[:, None]).ravel(), minlength=4 * servers)
    # weighted by worth: a price of next to nothing says that its capacity need not be used
    missed = float((np.abs(worth) * np.abs(used - 1.0))[limited].sum())
    return weights, missed / max(float(np.abs(worth).sum()), 1e-6 * float(np.abs(objective)), 1e-300)


def _split_table(state: _State, mixed: _Mixed, weights: FloatArray) -> dict[str, Any]:
    """Options of users that the mixture splits, each user's heaviest first."""
    part = weights > 1e-6
    several = np.bincount(mixed.user[part], minlength=state.server.size) > 1
    rows = np.flatnonzero(part & several[mixed.user])
    rows = rows[np.lexsort((-weights[rows], mixed.user[rows]))]
    n = mixed.user[rows]
    return {"user": n, "server": mixed.server[rows], "local_layers": mixed.cut[rows], "weight": weights[rows],
            "reduced_cost": mixed.reduced[rows],
            "chosen": (mixed.server[rows] == state.server[n]) & (mixed.cut[rows] == state.cut[n])}


def _servers_table(
    state: _State, gap: _Gap, solution: Solution[Allocation, Costs], split: Mapping[str, Any]
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
                  f"{name}_worth": gap.worth[:, column] / objective}
    table["price_share"] = gap.worth.sum(axis=1) / objective
    table["solution_price_share"] = _worth(state.data, state.settled.price)[:, :2].sum(axis=1) / objective
    table["reduced_costs"] = total(gap.reduced)
    table["capacity_loss"] = gap.capacity
    table["resource_loss"] = np.maximum(total(costs.user_objective) - gap.site, 0.0)
    table["split_users"] = np.bincount(split["server"][split["server"] >= 0], minlength=servers)
    return table


# ---- the forces on the cuts -----------------------------------------------------------------------------------------

_DEVICE_TIME, _DEVICE_ENERGY, _SERVER_TIME, _SERVER_ENERGY, _CLOCK, _STABILITY, _MEMORY, _DEADLINE, _RADIO = range(9)


def _split_level(
    state: _State, n: IntArray, m: IntArray, cut: IntArray, theta: FloatArray, price: FloatArray
) -> FloatArray:
    """What users n pay for on servers m at cuts below Y, by force (len, 9); prices (M, 4), deadlines' theta (len,)."""
    data = state.data
    user, server = data.user[n], data.server[m]
    device, share, radio, upload, fixed = (np.zeros(n.size) for _ in range(5))
    for i, (a, b, c, t) in enumerate(zip(n.tolist(), m.tolist(), cut.tolist(), theta.tolist(), strict=True)):
        device[i] = device_response(data, a, max(c, 1), t)[1]
        share[i] = job_response(data, a, b, c, price[b, 1], t)[1]
        cost, band, received = link_response(data, a, b, price[b, 0], t)
        if band > 0.0:
            upload[i] = user["nats"][i] / (band * math.log1p(received / band))
        fixed[i] = link_delay(data, a, b)
        radio[i] = cost - t * upload[i] + user["time_weight"][i] * fixed[i]
    cycles = ((state.layers - cut) * user["layer"] + user["head"]) / server["per_cycle"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        elapsed = np.where(cut > 0, cut * user["cycles"] / device, 0.0)
        served = np.where(cycles > 0.0, cycles / share, 0.0)
        late = elapsed + served + upload + fixed - user["deadline"]
    level = np.zeros((n.size, len(FORCES)))
    level[:, _DEVICE_TIME] = _times(user["device_time"], elapsed)
    level[:, _DEVICE_ENERGY] = cut * user["cycles"] * user["kappa"] * device**2
    level[:, _SERVER_TIME] = _times(user["time_weight"], served)
    level[:, _SERVER_ENERGY] = cycles * user["energy_weight"] * (server["joules"] + server["kappa"] * share**2)
    level[:, _CLOCK] = price[m, 1] * share
    level[:, _STABILITY] = user["instability"] * data.factor[cut]
    # a place on the server is an opportunity, like its bytes
    level[:, _MEMORY] = price[m, 2] + price[m, 3] * (user["fixed_bytes"] + (state.layers - cut) * user["layer_bytes"])
    level[:, _DEADLINE] = _times(theta, late)
    level[:, _RADIO] = radio
    return level


def _local_level(state: _State) -> tuple[FloatArray, BoolArray]:
    """What every user would pay for fully local, by force (N, 9), and whether its hard deadline forbids it.

    As if it were allowed; instability is inf where it has no finite value.
    """
    problem, user = state.problem, state.data.user
    cycles = state.layers * user["cycles"] + problem.head_flops / problem.user_flops_per_cycle
    hard = user["hard"] > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        natural, most = (np.where(user["kappa"] > 0.0, np.cbrt(weight / (2.0 * user["kappa"])), user["clock_high"])
                         for weight in (user["device_time"], user["device_time"] + user["penalty"]))
        needed = cycles / user["deadline"]
        clock = np.maximum(natural, np.where(hard, needed, np.minimum(needed, most)))
        clock = np.clip(clock, user["clock_low"], user["clock_high"])
        elapsed = np.where(clock > 0.0, cycles / clock, np.inf)
        late = np.where(np.isfinite(user["deadline"]), np.maximum(elapsed - user["deadline"], 0.0), 0.0)
        instability = np.asarray(problem.stability.value(1.0, problem.samples))
    level = np.zeros((problem.users, len(FORCES)))
    level[:, _DEVICE_TIME] = _times(user["device_time"], elapsed)
    level[:, _DEVICE_ENERGY] = cycles * user["kappa"] * clock**2
    level[:, _STABILITY] = np.where(np.isfinite(instability), user["instability"] * state.data.factor[-1], np.inf)
    level[:, _DEADLINE] = np.where(hard, 0.0, _times(user["penalty"], late))
    return level, hard & (late > 1e-12 * user["deadline"])


def _times(weight: Any, amount: FloatArray) -> FloatArray:
    """weight * amount with 0 inf = 0."""
    return np.where(weight > 0.0, weight * np.where(weight > 0.0, amount, 0.0), 0.0)


def _obstacles(state: _State, cut: IntArray, local_late: BoolArray) -> dict[str, BoolArray]:
    """Limits that forbid the users (N,) these cuts on the servers where they are, by name."""
    problem, remote = state.problem, state.server >= 0
    layers, whole = state.layers, cut == state.layers
    inside = np.clip(cut, 0, layers)
    instability = np.asarray(problem.stability.value(inside / layers, problem.samples))
    names = {"no_layer_left": cut < 0, "min_local_layers": (cut >= 0) & (cut < problem.min_local_layers),
             "finite_stability": whole & ~np.isfinite(instability)}
    top = highest_cut(problem)
    # without a limit of its own, the range ends where stability does
    names["max_local_layers"] = (cut > top) & ~(names["finite_stability"] & (problem.max_local_layers is None))
    if problem.stability_limit is not None:
        names["stability_limit"] = np.isfinite(instability) & (instability > problem.stability_limit)
    if problem.device_memory_bytes is not None:
        names["device_memory_bytes"] = memory_need(problem, inside) > problem.device_memory_bytes
    if problem.server_memory_bytes is not None:
        m = np.maximum(state.server, 0)
        need = np.where(remote, server_memory_need(problem, state.cut), 0.0)
        used = np.bincount(m, weights=need, minlength=problem.servers)[m]
        after = used - need + np.where(whole, 0.0, server_memory_need(problem, inside))
        names["server_memory_bytes"] = remote & (cut < state.cut) & (after > problem.server_memory_bytes[m])
    late = whole & local_late
    data, user = state.data, state.data.user
    for n in np.flatnonzero(remote & ~whole & (cut >= 0) & (user["hard"] > 0.0)).tolist():
        # `cut_range` asks this of the allowed cuts only; here it is asked beyond them, too
        at, c = int(state.server[n]), int(cut[n])
        band, clock = data.server["bandwidth"][at], data.server["clock"][at]
        received = user["power_high"][n] * data.gain[n, at] * data.inverse_noise
        fastest = user["nats"][n] / (band * math.log1p(received / band)) + link_delay(data, n, at)
        fastest += c * user["cycles"][n] / user["clock_high"][n] + job_cycles(data, n, at, c) / clock
        late[n] = fastest > user["deadline"][n] * (1.0 + 1e-12)
    names["deadline_s"] = late
    return names


def _forces(state: _State) -> tuple[dict[str, Any], dict[str, int]]:
    """Columns of the users' frame about their cuts, and how many users are held by what."""
    users, layers = state.server.size, state.layers
    local, local_late = _local_level(state)
    price = state.settled.price.copy()
    # users and bytes have no price at held integers: the bound's says what they are worth
    price[:, 2:] = state.price[:, 2:]
    remote = np.flatnonzero(state.server >= 0)
    theta = state.settled.theta
    now = local.copy()
    now[remote] = _split_level(state, remote, state.server[remote], state.cut[remote], theta[remote], price)
    change = np.full((2, users, len(FORCES)), np.nan)  # of one more and of one less
    for side, step in ((0, 1), (1, -1)):
        cut = state.cut[remote] + step
        n = remote[(cut >= 0) & (cut < layers)]
        change[side, n] = _split_level(state, n, state.server[n], state.cut[n] + step, theta[n], price) - now[n]
        n = remote[cut == layers]
        change[side, n] = local[n] - now[n]
    alone = np.flatnonzero(state.server < 0)
    verdicts = ["" for _ in range(users)]
    held_by = ["" for _ in range(users)]
    saved = np.full(users, np.nan)
    judge = _Judge(state, price, change, now, local_late)
    best = {n: judge.leave(n, now[n]) for n in alone.tolist()}
    tested = judge.keenest(remote)
    for user in range(users):
        verdict = best[user] if user in best else judge.split(user, user in tested)
        verdicts[user], held_by[user], saved[user] = verdict
    columns: dict[str, Any] = {}
    for side, name in ((0, "more"), (1, "less")):
        columns[f"{name}_total"] = change[side].sum(axis=1)
        columns |= {f"{name}_{force}": change[side, :, i] for i, force in enumerate(FORCES)}
        columns[f"against_{name}"] = np.array([_strongest(row, state.forces) for row in change[side]], dtype=object)
    columns["verdict"] = np.array(verdicts, dtype=object)
    columns["held_by"] = np.array(held_by, dtype=object)
    columns["saved_by_a_layer"] = saved
    held = Counter(f"{verdict}: {by}" if by else verdict for verdict, by in zip(verdicts, held_by, strict=True))
    return columns, dict(sorted(held.items(), key=lambda item: (-item[1], item[0])))


def _strongest(change: FloatArray, names: list[str]) -> str:
    """Name of the force that makes a step dearer most."""
    return names[int(np.nanargmax(change))] if (change > 0.0).any() else ""


class _Judge:
    """What holds each cut, from the changes (2, N, 9) of one local layer more and less."""

    def __init__(
        self, state: _State, price: FloatArray, change: FloatArray, now: FloatArray, local_late: BoolArray
    ) -> None:
        self.state, self.price, self.change = state, price, change
        self.rounding = _ROUNDING * np.abs(np.where(np.isfinite(now), now, 0.0)).sum(axis=1)
        self.obstacles = [_obstacles(state, state.cut + step, local_late) for step in (1, -1)]
        forbidden = [np.any(list(side.values()), axis=0) for side in self.obstacles]
        self.forbidden = np.array(forbidden)
        # what a step changes in the objective: memory is an opportunity, not a cost; where the model has no finite
        # stability fully local, that is a limit and no force
        wanted = change.copy()
        wanted[:, :, _MEMORY] = 0.0
        wanted[np.isinf(wanted)] = 0.0
        self.wanted = wanted.sum(axis=2)
        # below 0 layers there is nothing; the pull is that of the last one
        nothing = self.obstacles[1]["no_layer_left"]
        self.wanted[1, nothing] = -self.wanted[0, nothing]
        self.without_deadline = self.wanted - np.nan_to_num(wanted[:, :, _DEADLINE])
        self.order, self.offsets = members_of(state.server, state.data.server.size)

    def keenest(self, remote: IntArray) -> set[int]:
        """Users whose free moves are worth an exact look."""
        pull = np.where(self.forbidden, np.inf, self.wanted)[:, remote].min(axis=0, initial=np.inf)
        pull = np.where(np.isnan(pull), np.inf, pull)
        rank = remote[np.argsort(pull, kind="stable")[:_EXACT_MOVES]]
        return set(rank.tolist())

    def split(self, n: int, exactly: bool) -> tuple[str, str, float]:
        """Verdict about a user on a server: (verdict, by what, what a layer would save)."""
        state, rounding = self.state, self.rounding[n]
        limits: list[tuple[float, str]] = []
        weight, late = False, False
        for side, step in ((0, 1), (1, -1)):
            pull = float(self.wanted[side, n])
            if pull >= -rounding or math.isnan(pull):
                late |= bool(self.without_deadline[side, n] < -rounding)
                continue
            if self.forbidden[side, n]:
                names = [state.late if name == "deadline_s" else LIMITS[name]
                         for name, mask in self.obstacles[side].items() if mask[n]]
                limits.append((-pull, " and ".join(names)))
                continue
            if not exactly:
                return "might move", "one layer more" if step > 0 else "one layer less", -pull
            cut = int(state.cut[n]) + step
            if self._later(n, cut) >= -rounding:
                late = True
                continue
            change, broken = self._exact(n, cut)
            if change < -rounding:
                return "would move", "one layer more" if step > 0 else "one layer less", -change
            # at the prices it would be in time, but then there is not enough for all on the server
            late, weight = late or broken, weight or not broken
        if limits:
            gain, by = max(limits)
            return "limit", by, gain
        if late:
            return "limit", state.late, 0.0
        if weight:
            return "own weight", "prices would move with it", 0.0
        more, less = (_strongest(self.change[side, n], state.forces) for side in (0, 1))
        return "balanced", f"{more or 'nothing'} against {less or 'nothing'}", 0.0

    def _later(self, n: int, cut: int) -> float:
        """Change of the priced cost with the user's deadline multiplier adapted; -inf without a deadline."""
        state, m = self.state, int(self.state.server[n])
        if not math.isfinite(state.data.user["deadline"][n]) or cut == state.layers:
            return -math.inf
        theta = float(state.settled.theta[n])
        before, after = (timed_option(state.data, n, m, c, self.price[m, 0], self.price[m, 1], theta, EXACT)[0]
                         for c in (int(state.cut[n]), cut))
        return float(after - before)

    def _members(self, m: int) -> IntArray:
        return self.order[self.offsets[m] : self.offsets[m + 1]]

    def _exact(self, n: int, cut: int) -> tuple[float, bool]:
        """Change of the optimal cost when a user takes another cut or trains alone; whether a deadline is lost."""
        state, m = self.state, int(self.state.server[n])
        members, moved = self._members(m), state.cut.copy()
        before, _ = _site(state, members, m, state.cut)
        if cut == state.layers:
            after, _ = _site(state, members[members != n], m, state.cut)
            return after + float(state.data.user["local_cost"][n]) - before, False
        moved[n] = cut
        after, broken = _site(state, members, m, moved)
        return after - before, broken

    def leave(self, n: int, now: FloatArray) -> tuple[str, str, float]:
        """Verdict about a fully local user; writes its cheapest option on a server as its step "less"."""
        state, data = self.state, self.state.data
        own_price = self.price * np.array([1.0, 1.0, 0.0, 0.0])
        value, at, cut = _Buffers(data).list(n, own_price)
        options = np.flatnonzero(at >= 0)
        if not options.size:
            reachable = (data.gain[n] > 0.0).any() and state.problem.cuts.low[n] <= state.problem.cuts.high[n]
            late = reachable and data.user["hard"][n] > 0.0
            return "fully local", state.late if late else LIMITS["no_server"], math.nan
        own, rounding = float(data.user["local_cost"][n]), self.rounding[n]
        best = options[int(np.argmin(value[options]))]
        m, alpha = int(at[best]), int(cut[best])
        theta = 0.0
        if math.isfinite(data.user["deadline"][n]):
            theta = float(timed_option(data, n, m, alpha, self.price[m, 0], self.price[m, 1], 0.0, EXACT)[3])
        who, where, at_cut = (np.array([k]) for k in (n, m, alpha))
        self.change[1, n] = _split_level(state, who, where, at_cut, np.array([theta]), self.price)[0] - now
        full = ""
        for m in np.unique(at[options]).tolist():
            mine = options[at[options] == m]
            choice = mine[int(np.argmin(value[mine]))]
            if value[choice] - own >= -rounding:
                continue
            moved = state.cut.copy()
            moved[n] = cut[choice]
            members = self._members(m)
            joined = np.sort(np.append(members, n))
            after, broken = _site(state, joined, m, moved)
            change = after - _site(state, members, m, state.cut)[0] - own
            if change < -rounding:
                return "would move", f"to {server_label(state.problem, m)}", -change
            if members.size >= data.server["users"][m]:
                full = LIMITS["users_per_server"]
            elif sum(float(job_bytes(data, k, int(moved[k]))) for k in joined.tolist()) > data.server["bytes"][m]:
                full = LIMITS["server_memory_bytes"]
            else:
                full = full or (state.late if broken else "prices would move with it")
        return "fully local", full or "cheaper than any server", 0.0


# ---- text -----------------------------------------------------------------------------------------------------------


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(columns))


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
    table = [[text, _price(amount), _percent(amount, distance)] for text, amount in rows]
    table.append([f"together: objective - {floor:.9g}", _price(distance),
                  f"{_percent(distance, objective)} of objective"])
    beyond = totals["beyond_prices"]
    if beyond is not None and beyond > 1e-9 * abs(objective):
        table.append(["of this, ruled out by branch and bound", _price(beyond), _percent(beyond, distance)])
    elif beyond is not None and beyond < -1e-9 * abs(objective):
        table.append(["further: rounds of other lengths", _price(-beyond), ""])
    lines += ["  " + line for line in text_table([f"part of the {what}", "amount", "share"], table).splitlines()]
    users = e.users["user"].size
    if e.proven:
        lines.append(f"  reduced costs leave {totals['open_options']} of {_count(totals['options'], 'option')} open "
                     f"to a better solution; {users - totals['open_users']} of {_count(users, 'user')} are decided")
    n = int(np.argmax(e.users["reduced_cost"]))
    amount = float(e.users["reduced_cost"][n])
    if amount > 1e-12 * abs(objective):
        best = _place(solution.problem, int(e.users["best_server"][n]), int(e.users["best_local_layers"][n]))
        lines.append(f"  largest part of a user: {solution.problem.user_label(n)}, {_price(amount)} "
                     f"({_percent(amount, distance)}); it does {_does(e, n)}, best at the prices {best}")
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
    lines = [f"congestion: the prices of all capacities make {_percent(e.totals['price_share'], 1.0)} of the objective "
             f"({'prices of the bound' if e.proven else 'own prices'})"]
    limited = [name for name in ("users", "memory") if not np.isnan(table[f"{name}_share"]).all()]
    header = ["server", "users", "band", "clock", *(f"{name} limit" for name in limited), "per MHz", f"({kind})",
              "per GHz", f"({kind})", "prices", "loses", "split"]
    order = np.argsort(-table["price_share"], kind="stable")
    rows = []
    for m in order[:_SERVERS].tolist():
        cells = [str(problem.server_names[m]) if problem.server_names else str(m), str(int(table["users"][m]))]
        for name in ("bandwidth", "clock", *limited):
            share = float(table[f"{name}_share"][m])
            cells.append("-" if math.isnan(share) else _percent(share, 1.0))
        for name, scale in (("bandwidth", 1e6), ("clock", 1e9)):
            here = table[f"{name}_bound_price"] if e.proven else e.servers[f"{name}_price"]
            cells += [_price(float(table[f"{name}_price"][m]) * scale), _price(float(here[m]) * scale)]
        cells += [_percent(float(table["price_share"][m]), 1.0), _price(float(table["capacity_loss"][m])),
                  str(int(table["split_users"][m]))]
        rows.append(cells)
    lines += ["  " + line for line in text_table(header, rows).splitlines()]
    if len(order) > _SERVERS:
        lines.append(f"  and {_count(len(order) - _SERVERS, 'server')} more with "
                     f"{_percent(float(table['price_share'][order[_SERVERS:]].sum()), 1.0)} of the objective in prices")
    for name in limited:
        price = table[f"{name}_bound_price"]
        if not np.isnan(price).all() and (price > 0.0).any():
            m, unit = int(np.nanargmax(price)), "user" if name == "users" else "GB"
            worth = float(price[m]) * (1.0 if name == "users" else 1e9)
            lines.append(f"  one {unit} more is worth at most {_price(worth)} at {server_label(problem, m)}")
    return lines


def _split_lines(e: Explanation) -> list[str]:
    """Users that the fractional optimum splits, those first that pay most for it."""
    split, problem = e.split, e.solution.problem
    names = np.unique(split["user"])
    if not names.size:
        return ["", "no user is split in the fractional optimum at these prices"]
    lines = ["", f"{_count(names.size, 'user')} split in the fractional optimum at these prices "
             f"(it balances capacities to within {_percent(e.totals['imbalance'], 1.0)} of their worth"
             f"{'; a smaller gap sharpens this' if e.totals['imbalance'] > 0.02 and e.proven else ''}):"]
    cost = e.users["reduced_cost"][names]
    heaviest = np.array([split["weight"][split["user"] == n].max() for n in names])
    rows = []
    for n in names[np.lexsort((heaviest, -cost))][:_SPLIT].tolist():
        mine = np.flatnonzero(split["user"] == n)[:3]
        parts = []
        for o in mine.tolist():
            place = _place(problem, int(split["server"][o]), int(split["local_layers"][o]))
            parts.append(f"{place}: {_percent(float(split['weight'][o]), 1.0)}")
        rows.append([problem.user_label(n), _does(e, n), _price(float(e.users["reduced_cost"][n])), ", ".join(parts)])
    lines += ["  " + line for line in text_table(["user", "does", "pays", "fractional optimum"], rows).splitlines()]
    if names.size > _SPLIT:
        lines.append(f"  and {_count(names.size - _SPLIT, 'user')} more (split_frame(), or --json)")
    return lines


def _cut_lines(e: Explanation) -> list[str]:
    """How many cuts are held by what, and the users who pull hardest."""
    users, problem = e.users, e.solution.problem
    total = users["user"].size
    own = e.totals["resource_losses"] > 1e-6 * abs(e.totals["objective"])
    lines = ["what holds each cut: 'A against B' means that one more local layer is dearer by A most, one less by B"
             f"{' (at the best shares for these servers and cuts)' if own else ''}"]
    rows = [[str(count), _percent(count, total), text] for text, count in list(e.held.items())[:_HELD]]
    lines += ["  " + line for line in text_table(["users", "share", "held by"], rows).splitlines()]
    rest = list(e.held.values())[_HELD:]
    if rest:
        lines.append(f"  and {_count(sum(rest), 'user')} more held by {_count(len(rest), 'other reason')}")
    gain = np.nan_to_num(users["saved_by_a_layer"])
    movers = int((users["verdict"] == "would move").sum())
    if movers:
        early = ", which the gap asked for did not need" if e.solution.status == "optimal" else ""
        lines.append(f"  {_count(movers, 'user')} would still gain by a single move: at most "
                     f"{_price(float(gain[users['verdict'] == 'would move'].max()))} each{early}")
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
        lines.append(f"  and {_count(total - _USERS, 'user')} more (to_frame(), or --json)")
    return lines


def _verdict(verdict: str, by: str) -> str:
    return "balance" if verdict == "balanced" else f"{verdict}: {by}" if by else verdict


def _signed(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "inf" if math.isinf(value) else f"{'+' if value >= 0.0 else '-'}{_price(abs(value))}"
