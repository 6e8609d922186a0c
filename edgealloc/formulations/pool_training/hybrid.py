r"""Method "hybrid": pipelines of groups by dynamic programming, after Asteroid (Ye et al., arXiv 2408.08015).

Devices are put in several orders (speed, memory, chains of fast links) and groups are neighbours in an order. From the
last stage to the first, a state is the first device and the first layer of the suffix; its label is bound 1 or 2 of
`bounds.pipeline_bound` with the all-reduce of the groups,

.. math::

    H(s, a) = \min_{s', b} \max\{ M t(s, s', a, b) + \mathrm{AR},\; t(s, s', a, b) + c + c' + H(s', b) \},

where t is the time of a group with the whole shares that are best for it and fit into its memories. Every prefix of an
order and every number of stages gives a candidate. The best of them by the schedule are improved by moving layers
between neighbours, and samples within groups. Nothing is proven: groups that are no neighbours in any order are not
looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.pool_training.baselines import pipeline_orders
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost, warm_up
from edgealloc.formulations.pool_training.search.partition import improved, pipeline_fits, score
from edgealloc.formulations.pool_training.search.rings import ring_order
from edgealloc.formulations.pool_training.sharing import best_shares

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["GroupTables", "hybrid_plans", "run", "sizes_to_try"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Larger groups and longer pipelines are not looked at.
MOST_IN_GROUP: Final = 8
MOST_STAGES: Final = 10
#: Candidates that are improved.
_IMPROVED: Final = 4


class GroupTables:
    """Times and shares of groups, computed when they are first asked for."""

    def __init__(self, problem: PoolTraining, cost: FastCost) -> None:
        self.problem, self.cost = problem, cost
        def between(sums: list[float]) -> FloatArray:
            return np.asarray(np.array(sums)[None, :] - np.array(sums)[:, None])

        self.work = between(cost.forward) + between(cost.backward)
        self.state, self.kept, self.gradient = between(cost.state), between(cost.kept), between(cost.gradient)
        self.empty = np.tril(np.ones_like(self.work, dtype=bool))
        self._tables: dict[tuple[tuple[int, ...], int, bool], FloatArray] = {}
        self._alone: dict[tuple[tuple[int, ...], int, bool], FloatArray] = {}
        self._shares: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, ...] | None] = {}

    def shares(self, group: tuple[int, ...], caps: tuple[int, ...]) -> tuple[int, ...] | None:
        """Best whole shares of a micro-batch within the caps."""
        if (group, caps) not in self._shares:
            seconds = [1.0 / self.cost.speed[i] for i in group]
            self._shares[group, caps] = best_shares(self.problem.micro_batch, seconds, caps)
        return self._shares[group, caps]

    def fitting_shares(self, group: tuple[int, ...], a: int, b: int, limit: int, alone: bool) -> tuple[int, ...] | None:
        """Best shares of a group that holds layers a to b - 1 with `limit` micro-batches in flight."""
        whole = self.problem.micro_batch
        kept = limit * float(self.kept[a, b])
        state = float(self.state[a, b]) - (self.problem.tied_state_bytes if alone else 0.0)
        caps = tuple(
            0 if state > self.cost.free[i] else
            whole if state + whole * kept <= self.cost.free[i] else int((self.cost.free[i] - state) / kept)
            for i in group)
        return self.shares(group, caps)

    def seconds(self, group: tuple[int, ...], limit: int, alone: bool = False) -> FloatArray:
        """(Y+1, Y+1) forward and backward pass of layers a to b - 1 for one micro-batch; inf where it does not fit."""
        known = self._tables.get((group, limit, alone))
        if known is not None:
            return known
        whole = (self.problem.micro_batch,) * len(group)
        free = [self.cost.free[i] for i in group]
        ideal = self.shares(group, whole)
        table = np.full_like(self.work, np.inf)
        if ideal is not None:
            tied = self.problem.tied_state_bytes if alone else 0.0
            least = self.state - tied + limit * self.kept  # with a single sample
            possible = (least <= min(free)) & ~self.empty
            fits = possible.copy()
            for share, room in zip(ideal, free, strict=True):
                fits &= self.state - tied + limit * share * self.kept <= room
            unit = max(share / self.cost.speed[i] for i, share in zip(group, ideal, strict=True))
            table[fits] = unit * self.work[fits]
            for a, b in np.argwhere(possible & ~fits).tolist():
                shares = self.fitting_shares(group, a, b, limit, alone)
                if shares is not None:
                    table[a, b] = self.work[a, b] * max(
                        share / self.cost.speed[i] for i, share in zip(group, shares, strict=True))
        self._tables[group, limit, alone] = table
        return table

    def alone(self, group: tuple[int, ...], limit: int, whole: bool) -> FloatArray:
        """(Y+1, Y+1) all micro-batches and the all-reduce of a group that never waits."""
        key = (group, limit, whole)
        if key not in self._alone:
            reduced: float | FloatArray = 0.0
            if len(group) > 1:
                per_byte, once, *_ = self.cost.ring(group)
                reduced = np.where(self.gradient > 0.0, per_byte * self.gradient + once, 0.0)
            self._alone[key] = self.problem.micro_batches * self.seconds(group, limit, whole) + reduced
        return self._alone[key]

    def trip(self, group: tuple[int, ...], following: tuple[int, ...]) -> float:
        """Hand-over there and back between two groups with their ideal shares."""
        whole = self.problem.micro_batch
        one, other = (self.shares(members, (whole,) * len(members)) for members in (group, following))
        if one is None or other is None:
            return math.inf
        over, back = self.cost.hops(group, one, following, other)
        return over[0] + over[1] + back[0] + back[1]


def _in_order(tables: GroupTables, order: tuple[int, ...]) -> Iterator[Plan]:
    """The best pipeline of groups of all devices in an order, for every number of stages."""
    problem, layers, count = tables.problem, tables.problem.layers, len(order)
    most = min(MOST_IN_GROUP, problem.micro_batch)
    # label[s]: (Y+1,) of the suffix that begins with device s; ends[s]: (end of its first group, next layer)
    label = {count: np.where(np.arange(layers + 1) == layers, 0.0, np.inf)}
    trace: list[dict[int, tuple[IntArray, IntArray]]] = []
    for place in range(min(count, layers, MOST_STAGES)):
        limit = min(problem.micro_batches, 2 * place + 1)
        new: dict[int, FloatArray] = {}
        ends: dict[int, tuple[IntArray, IntArray]] = {}
        for s in range(count - 1, -1, -1):
            best = np.full(layers + 1, np.inf)
            end, cut = np.zeros(layers + 1, dtype=np.int64), np.zeros(layers + 1, dtype=np.int64)
            for e in range(s + 1, min(s + most, count) + 1):
                if e not in label:
                    continue
                group = order[s:e]
                seconds = tables.seconds(group, limit, place == 0 and s == 0)
                after = label[e]
                if place:
                    following = trace[-1][e][0]
                    after = after.copy()
                    for f in np.unique(following[np.isfinite(after)]).tolist():
                        after[following == f] += tables.trip(group, order[e:f])
                total = np.maximum(tables.alone(group, limit, place == 0 and s == 0), seconds + after[None, :])
                total[:, ~np.isfinite(after)] = np.inf
                at = np.argmin(total, axis=1)
                value = total[np.arange(layers + 1), at]
                better = value < best
                best[better], end[better], cut[better] = value[better], e, at[better]
            if np.isfinite(best).any():
                new[s], ends[s] = best, (end, cut)
        trace.append(ends)
        label = new
        if 0 in label and math.isfinite(label[0][0]):
            plan = _traced(tables, order, trace)
            if plan is not None:
                yield plan


def _traced(
    tables: GroupTables, order: tuple[int, ...], trace: list[dict[int, tuple[IntArray, IntArray]]]
) -> Plan | None:
    s = a = 0
    stages, counts, shares = [], [], []
    for place in range(len(trace) - 1, -1, -1):
        end, cut = trace[place][s]
        e, b = int(end[a]), int(cut[a])
        limit = min(tables.problem.micro_batches, 2 * place + 1)
        given = tables.fitting_shares(order[s:e], a, b, limit, len(trace) == 1)
        if given is None:
            return None
        stages.append(order[s:e])
        counts.append(b - a)
        shares.append(given)
        s, a = e, b
    return Plan("hybrid", tuple(stages), tuple(counts), tuple(shares))


def hybrid_plans(
    problem: PoolTraining, cost: FastCost, run: Run, quick: bool = False
) -> Iterator[tuple[float, Plan]]:
    """Candidates with their scores: for prefixes of several orders, every number of stages; quick: of fewer.

    Raises
    ------
    TimeUpError
    """
    tables = GroupTables(problem, cost)
    able = [i for i in range(problem.devices) if cost.free[i] >= 0.0]
    if not able:
        return
    orders: dict[tuple[int, ...], None] = {}
    for count in sizes_to_try(len(able), quick):
        for order in _orders(problem, able, count, quick):
            orders.setdefault(order)
    for order in orders:
        for plan in _in_order(tables, order):
            yield score(cost, plan), plan
        run.check_time()


def sizes_to_try(count: int, quick: bool) -> list[int]:
    """How many devices take part: every number up to 8, then in growing steps."""
    sizes = list(range(1, min(count, 8) + 1))
    while sizes[-1] < count:
        sizes.append(min(count, sizes[-1] + sizes[-1] // (1 if quick else 4)))
    return sizes


def _orders(problem: PoolTraining, able: list[int], count: int, quick: bool) -> list[tuple[int, ...]]:
    """Orders of the fastest devices, and of those with the most memory."""
    fast = sorted(able, key=lambda i: (-problem.flops_per_s[i], i))[:count]
    roomy = sorted(able, key=lambda i: (-(problem.memory_bytes - problem.overhead_bytes)[i], i))[:count]
    if quick:
        return list(dict.fromkeys([tuple(fast), tuple(roomy), ring_order(problem, roomy)]))
    most = 6 if len(able) <= 16 else 4
    return list(dict.fromkeys([*pipeline_orders(problem, fast)[:most], *pipeline_orders(problem, roomy)[:most - 2],
                               ring_order(problem, roomy)]))


def shifted(cost: FastCost, value: float, plan: Plan) -> tuple[float, Plan]:
    """Single samples moved within groups while the objective falls."""
    moved = True
    while moved:
        moved = False
        for p, shares in enumerate(plan.shares):
            for k in range(len(shares)):
                for n in range(len(shares)):
                    if k == n or plan.shares[p][k] < 2:
                        continue
                    new = list(plan.shares[p])
                    new[k] -= 1
                    new[n] += 1
                    other = Plan(plan.parallelism, plan.stages, plan.layers,
                                 (*plan.shares[:p], tuple(new), *plan.shares[p + 1:]))
                    if not pipeline_fits(cost, plan.parallelism, plan.stages, plan.first_layers, other.shares):
                        continue
                    now = score(cost, other)
                    if now < value * (1.0 - 1e-12):
                        value, plan, moved = now, other, True
    return value, plan


def run(problem: PoolTraining, run: Run) -> Outcome:
    """The best candidate, improved. Time-out and Ctrl-C return the best so far."""
    if "hybrid" not in problem.parallelisms:
        return Outcome(attempts=("hybrid: 'hybrid' is not among the allowed parallelisms",))
    cost = FastCost(problem)
    found: list[tuple[float, Plan]] = []
    termination, best = Termination.CONVERGED, math.inf
    try:
        warm_up(run)
        for value, plan in hybrid_plans(problem, cost, run):
            found.append((value, plan))
            if value < best:
                best = value
                run.report("dynamic programme", len(found), value if value < 1e150 else None)
        found.sort(key=lambda one: one[0])
        for k in range(min(_IMPROVED, len(found))):
            value, plan = found[k]
            before = math.inf
            while value < before * (1.0 - 1e-12):
                run.check_time()
                before = value
                value, plan = shifted(cost, *improved(cost, value, plan))
            found[k] = value, plan
            if value < best:
                best = value
                run.report("local search", k, value)
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    if not found:
        return Outcome(termination=termination, attempts=("hybrid: no candidate fits into the memories",))
    return Outcome(min(found, key=lambda one: one[0])[1], termination=termination,
                   converged=termination == Termination.CONVERGED)
