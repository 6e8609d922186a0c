"""Where the gap of a solution comes from: its parts at prices, and what the bound mixes; see `explain`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.ascent import GUARD
from edgealloc.formulations.split_training.options import EXACT, job_bytes, respond, timed_option
from edgealloc.formulations.split_training.priced import Capacities
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.formulations.split_training.resources import Settled, members_of
from edgealloc.formulations.split_training.site import site_cost
from edgealloc.formulations.split_training.tree import list_options

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.allocation import Costs
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "RESOURCES", "Buffers", "Gap", "Mixed", "State", "attribute", "mixture", "open_options", "price_matrix",
    "site_value", "split_table", "worth_of",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Resources of a server, as in `Capacities`: short name and constraint.
RESOURCES: Final[Mapping[str, str]] = {
    "bandwidth": "bandwidth_hz", "clock": "server_frequency_hz", "users": "users_per_server",
    "memory": "server_memory_bytes",
}
#: The fractional optimum mixes at most this many options, those of least reduced cost.
_MIXED: Final = 10_000


class State(NamedTuple):
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


class Gap(NamedTuple):
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


def price_matrix(problem: SplitTraining, prices: Mapping[str, Any]) -> FloatArray:
    price = np.zeros((problem.servers, 4))
    for column, name in enumerate(RESOURCES.values()):
        if name in prices:
            price[:, column] = prices[name]
    return price


class Buffers:
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


def attribute(state: State, objective: float, costs: Costs) -> Gap:
    """The parts of objective - D(price)."""
    data, server, cut, price = state.data, state.server, state.cut, state.price
    users, servers = data.gain.shape
    chosen, least = np.empty(users), np.empty(users)
    best_server, best_cut, options = (np.empty(users, dtype=np.int64) for _ in range(3))
    buffers = Buffers(data)
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
    worth = worth_of(data, price)
    # a server that must be used up if it is used at all gives back what its prices are below 0
    idle = np.where(data.server["whole"] > 0.0, np.minimum(worth[:, 0] + worth[:, 1], 0.0), 0.0)
    site = np.zeros(servers)
    order, offsets = members_of(server, servers)
    for m in range(servers):
        members = order[offsets[m] : offsets[m + 1]]
        site[m], _ = site_value(state, members, m, cut)
    priced = np.bincount(server[server >= 0], weights=chosen[server >= 0], minlength=servers)
    capacity = np.maximum(site - priced + worth.sum(axis=1) - idle, 0.0)
    whole_round = costs.round_objective
    if state.problem.delay == "max":
        # what little time costs by itself in `reduce` is taken off the price of the round
        whole_round -= float(data.user["device_time"].sum() * costs.response_s.max())
    alone = server < 0
    best_cost = math.fsum([*site, *data.user["local_cost"][alone]])
    bound = math.fsum([*least, *(-worth.ravel()), *idle]) + whole_round
    return Gap(bound, max(objective - bound, 0.0), chosen, least, chosen - least, best_server, best_cut, options,
                capacity, site, worth, max(objective - whole_round - best_cost, 0.0))


def worth_of(data: Reduced, price: FloatArray) -> FloatArray:
    """Prices per whole capacity (M, 4) of prices per unit; 0 where there is no limit."""
    size = Capacities.of(data).size
    return np.asarray(np.where(np.isfinite(size), price * np.where(np.isfinite(size), size, 0.0), 0.0))


def _option(data: Reduced, n: int, m: int, cut: int, price: FloatArray) -> float:
    """Priced cost of one option."""
    if m < 0:
        return float(data.user["local_cost"][n])
    value = timed_option(data, n, m, cut, price[m, 0], price[m, 1], 0.0, EXACT)[0]
    return float(value + price[m, 2] + price[m, 3] * job_bytes(data, n, cut))


def site_value(state: State, members: IntArray, m: int, cut: IntArray) -> tuple[float, bool]:
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


class Mixed(NamedTuple):
    """Options (O,) that may be part of the fractional optimum."""

    user: IntArray
    server: IntArray
    cut: IntArray
    reduced: FloatArray


def open_options(state: State, gap: Gap) -> tuple[IntArray, Mixed]:
    """How many options (N,) reduced costs leave open, and the cheapest of them."""
    buffers = Buffers(state.data)
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
    mixed = Mixed(user, server, cut, np.concatenate(reduced_rows))
    first = np.append(True, np.diff(user) > 0)
    if user.size > _MIXED + state.server.size:
        rank = np.argsort(np.where(first, -1.0, mixed.reduced), kind="stable")[: _MIXED + state.server.size]
        rank.sort()
        mixed = Mixed(mixed.user[rank], mixed.server[rank], mixed.cut[rank], mixed.reduced[rank])
    return count, mixed


def _uses(state: State, mixed: Mixed) -> FloatArray:
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


def mixture(state: State, mixed: Mixed, objective: float) -> tuple[FloatArray, float]:
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
    worth = worth_of(state.data, state.price).ravel()
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


def split_table(state: State, mixed: Mixed, weights: FloatArray) -> dict[str, Any]:
    """Options of users that the mixture splits, each user's heaviest first."""
    part = weights > 1e-6
    several = np.bincount(mixed.user[part], minlength=state.server.size) > 1
    rows = np.flatnonzero(part & several[mixed.user])
    rows = rows[np.lexsort((-weights[rows], mixed.user[rows]))]
    n = mixed.user[rows]
    return {"user": n, "server": mixed.server[rows], "local_layers": mixed.cut[rows], "weight": weights[rows],
            "reduced_cost": mixed.reduced[rows],
            "chosen": (mixed.server[rows] == state.server[n]) & (mixed.cut[rows] == state.cut[n])}
