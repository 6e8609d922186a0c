r"""The pipelines of single devices as a mixed-integer linear programme: who, in which order, with which layers.

Places are counted from the end, r = 0 the last stage, so that the number of micro-batches in flight,
:math:`K_r = \min(M, r + 1)`, is known. Variables:

- :math:`x_{ir}` binary: device i has place r; at most one place per device and one device per place, no gaps.
- :math:`z_{ry}` binary: the stage at place r begins at layer y; unused places repeat the begin of the place behind, and
  the last of all begins at layer 0.
- :math:`w_{ir} \ge 0`: FLOP per sample of device i at place r, at most all of them if :math:`x_{ir} = 1`, else 0; their
  sum over devices is that of the layers from :math:`z_r` to :math:`z_{r-1}`. A micro-batch takes
  :math:`t_r = \sum_i b w_{ir}/C_i`. The same for the backward passes alone.
- :math:`h_{rij} \ge 0`: i at place r hands over to j at place r - 1 (row sums :math:`x_{ir}` where r - 1 is used,
  column sums at most :math:`x_{j,r-1}`); for large pools only :math:`c_r` with the least costs of either end.
- T, and :math:`e_i \ge P^{idle}_i (T - T_{\max} (1 - x_i))`, :math:`e_i \ge P^{idle}_i T_{\min} x_i` for the energy of
  waiting, :math:`x_i = \sum_r x_{ir}`.

Rows: memory of every stage with :math:`K_r`, exact also for the tied table of a single stage; T is at least bounds 1
and 3 of `bounds.pipeline_bound`, round trips as often as a window allows, and the hand-overs of every medium in turn.
Every pipeline with its time, energy and layers is a point of the model with an objective that is not larger, so that
its minimum is a lower bound. With the memory of a pipeline of one stage it is also one for single devices, which keep
more activations and take as long.

Numbers are scaled: work by that of the model, time by `unit_s`, the objective by `unit`, bytes by the largest memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["PipelineModel"]

#: With more pairs of devices at a place, links are relaxed to the least costs of either end.
MOST_PAIRS: Final = 150
#: Media beyond this get no row of their own.
MOST_MEDIA: Final = 80


class PipelineModel:
    """The model of one problem.

    Parameters
    ----------
    problem : PoolTraining
    cost : FastCost
    unit_s : float
        Unit of time, about the optimum.
    unit : float
        Unit of the objective: the model's is a multiple of it.
    latest_s : float
        No plan worth finding takes longer; inf if that is not known.
    soonest_s : float
        A lower bound on T.
    """

    def __init__(
        self, problem: PoolTraining, cost: FastCost, unit_s: float, unit: float, latest_s: float, soonest_s: float
    ) -> None:
        import pulp

        self.problem, self.cost, self.unit_s, self.unit = problem, cost, unit_s, unit
        states = float(problem.state_bytes.min()) - problem.tied_state_bytes
        self.devices = [i for i in range(problem.devices) if cost.free[i] >= states]
        self.places = min(len(self.devices), problem.layers)
        self.model = pulp.LpProblem("pipelines", pulp.LpMinimize)
        self._variables(pulp)
        self._order(pulp)
        self._memory(pulp)
        self._times(pulp)
        self._objective(pulp, latest_s, soonest_s)

    def _add(self, name: str, high: float | None, whole: bool = False) -> Any:
        import pulp

        return self.model.add_variable(name, 0, high, pulp.LpInteger if whole else pulp.LpContinuous)

    def _variables(self, pulp: Any) -> None:
        places, layers = range(self.places), self.problem.layers
        self.has = {(i, r): self._add(f"has_{i}_{r}", 1, True) for i in self.devices for r in places}
        self.begin = {(r, y): self._add(f"begin_{r}_{y}", 1, True) for r in places for y in range(layers)}
        self.work = {(i, r): self._add(f"work_{i}_{r}", 1) for i in self.devices for r in places}
        self.back = {key: self._add(f"back_{key[0]}_{key[1]}", 1) for key in self.has}
        self.time = self._add("time", None)
        self.used = [pulp.lpSum(self.has[i, r] for i in self.devices) for r in places]
        self.paired = len(self.devices) ** 2 <= MOST_PAIRS
        if self.paired:
            self.hand = {(r, i, j): self._add(f"hand_{r}_{i}_{j}", 1)
                         for r in places if r > 0 for i in self.devices for j in self.devices if i != j}
        else:
            self.trip = [None, *(self._add(f"trip_{r}", None) for r in places if r > 0)]

    def _sum_from(self, r: int, sums: list[float], scale: float) -> Any:
        """Of a running sum over layers, what lies on place r: from its begin to that of the place behind."""
        import pulp

        layers = self.problem.layers
        own = pulp.lpSum(sums[y] / scale * self.begin[r, y] for y in range(layers))
        if r == 0:
            return sums[layers] / scale - own
        return pulp.lpSum(sums[y] / scale * self.begin[r - 1, y] for y in range(layers)) - own

    def _order(self, pulp: Any) -> None:
        model, layers = self.model, self.problem.layers
        flops = [a + b for a, b in zip(self.cost.forward, self.cost.backward, strict=True)]
        for i in self.devices:
            model += pulp.lpSum(self.has[i, r] for r in range(self.places)) <= 1
        for r in range(self.places):
            model += self.used[r] == 1 if r == 0 else self.used[r] <= 1
            if r + 1 < self.places:
                model += self.used[r] >= self.used[r + 1]
            model += pulp.lpSum(self.begin[r, y] for y in range(layers)) == 1
            count = self._sum_from(r, [float(y) for y in range(layers + 1)], 1.0)
            model += count >= self.used[r]
            model += count <= layers * self.used[r]
            model += pulp.lpSum(self.work[i, r] for i in self.devices) == self._sum_from(r, flops, self.cost.work)
            model += (pulp.lpSum(self.back[i, r] for i in self.devices)
                      == self._sum_from(r, self.cost.backward, self.cost.work))
            for i in self.devices:
                model += self.work[i, r] <= self.has[i, r]
                model += self.back[i, r] <= self.work[i, r]
        model += self.begin[self.places - 1, 0] == 1
        if not self.paired:
            return
        for r in range(1, self.places):
            for i in self.devices:
                model += pulp.lpSum(self.hand[r, i, j] for j in self.devices if i != j) == self.has[i, r]
                model += pulp.lpSum(self.hand[r, j, i] for j in self.devices if i != j) <= self.has[i, r - 1]

    def _memory(self, pulp: Any) -> None:
        cost, problem = self.cost, self.problem
        largest = max(1.0, *cost.free)
        for r in range(self.places):
            kept = min(problem.micro_batches, r + 1) * problem.micro_batch
            need = self._sum_from(r, cost.state, largest) + kept * self._sum_from(r, cost.kept, largest)
            room = pulp.lpSum(cost.free[i] / largest * self.has[i, r] for i in self.devices)
            if r == 0 and problem.tied_state_bytes > 0.0:
                # a single stage holds the tied table once
                behind: Any = self.used[1] if self.places > 1 else 0.0
                room = room + problem.tied_state_bytes / largest * (1 - behind)
            self.model += need <= room

    def _times(self, pulp: Any) -> None:
        problem, cost, unit = self.problem, self.cost, self.unit_s
        count, size = problem.micro_batches, problem.micro_batch
        stage = [pulp.lpSum(size * cost.work / cost.speed[i] / unit * self.work[i, r] for i in self.devices)
                 for r in range(self.places)]
        hops = {(i, j): cost.hops((i,), (size,), (j,), (size,)) for i in self.devices for j in self.devices if i != j}
        both = {pair: (over[0] + over[1] + back[0] + back[1]) / unit for pair, (over, back) in hops.items()}
        trips: list[Any] = [0.0]
        for r in range(1, self.places):
            if self.paired:
                trips.append(pulp.lpSum(both[i, j] * self.hand[r, i, j] for i, j in both))
            else:
                for end, place in ((0, r), (1, r - 1)):
                    least = pulp.lpSum(min(c for pair, c in both.items() if pair[end] == i) * self.has[i, place]
                                       for i in self.devices)
                    # the device behind hands back only if there is one before it
                    gap = max(both.values()) * (1 - self.used[r]) if end else 0.0
                    self.model += self.trip[r] >= least - gap
                trips.append(self.trip[r])
        tied = 0.0
        if problem.tied_bytes > 0.0 and self.places > 1:
            tied = min(cost.all_reduce(pair, problem.tied_bytes)[0] for pair in hops) / unit * self.used[1]
        home = [pulp.lpSum(size * cost.work / cost.speed[i] / unit * self.back[i, r] for i in self.devices)
                for r in range(self.places)]
        lap = pulp.lpSum([*stage, *trips])
        for r in range(self.places):
            before = pulp.lpSum([*stage[r + 1:], *trips[r + 1:]])
            limit = min(count, r + 1)
            rounds = -(-count // limit)
            self.model += self.time >= before + count * stage[r] + tied
            behind = pulp.lpSum([*stage[:r + 1], *trips[1:r + 1]])
            rest = count - 1 - (rounds - 1) * limit
            self.model += self.time >= before + rounds * behind + rest * home[r] + tied
            if r > 0 and self.paired and count > 1:
                busy = pulp.lpSum(max(hops[pair][0][0], hops[pair][1][0]) / unit * self.hand[r, *pair] for pair in hops)
                self.model += self.time >= lap + (count - 1) * busy + tied
        if self.paired:
            for medium in range(min(problem.network.media, MOST_MEDIA)):
                load = {pair: sum(hop[0] for hop in both_ways if medium in hop[2]) for pair, both_ways in hops.items()}
                if any(load.values()):
                    self.model += self.time >= tied + pulp.lpSum(
                        count * load[pair] / unit * self.hand[r, *pair]
                        for r in range(1, self.places) for pair in hops if load[pair] > 0.0)

    def _objective(self, pulp: Any, latest_s: float, soonest_s: float) -> None:
        problem, cost, unit = self.problem, self.cost, self.unit_s
        terms: list[Any] = [problem.per_second * unit * self.time]
        self.model += self.time >= soonest_s / unit
        if math.isfinite(latest_s):
            self.model += self.time <= latest_s / unit
        if problem.per_joule > 0.0:
            for i in self.devices:
                joules = problem.batch * cost.work * (cost.busy[i] - cost.idle[i]) / cost.speed[i]
                terms += [problem.per_joule * joules * self.work[i, r] for r in range(self.places)]
                if cost.idle[i] > 0.0:
                    waiting = self._add(f"waiting_{i}", None)
                    here = pulp.lpSum(self.has[i, r] for r in range(self.places))
                    self.model += waiting >= soonest_s / unit * here
                    if math.isfinite(latest_s):
                        self.model += waiting >= self.time - latest_s / unit * (1 - here)
                    terms.append(problem.per_joule * cost.idle[i] * unit * waiting)
            if self.paired:
                size = problem.micro_batch
                for (_, i, j), hand in self.hand.items():
                    over, back = cost.hops((i,), (size,), (j,), (size,))
                    if over[3] + back[3] > 0.0:
                        terms.append(problem.per_joule * problem.micro_batches * (over[3] + back[3]) * hand)
        self.model += pulp.lpSum(terms) / self.unit

    # ---- points -----------------------------------------------------------------------------------------------------

    def order_of(self, values: Mapping[str, float]) -> list[int]:
        """Devices of a solution, first stage first."""
        found = [next((i for i in self.devices if values[f"has_{i}_{r}"] > 0.5), -1) for r in range(self.places)]
        return [i for i in reversed(found) if i >= 0]

    def plan_of(self, values: Mapping[str, float]) -> Plan:
        """The pipeline of a solution."""
        order, layers = self.order_of(values), self.problem.layers
        begins = [next(y for y in range(layers) if values[f"begin_{r}_{y}"] > 0.5) for r in range(len(order))]
        starts = [*reversed(begins), layers]
        return Plan("pipeline", tuple((i,) for i in order), tuple(int(one) for one in np.diff(starts)),
                    ((self.problem.micro_batch,),) * len(order))

    def start_of(self, plan: Plan) -> dict[str, float]:
        """Values of the binaries for a pipeline (the solver completes them)."""
        values = {variable.name: 0.0 for variable in (*self.has.values(), *self.begin.values())}
        order, starts = [stage[0] for stage in plan.stages][::-1], list(plan.first_layers[:-1])[::-1]
        for r in range(self.places):
            if r < len(order):
                values[f"has_{order[r]}_{r}"] = 1.0
            values[f"begin_{r}_{starts[r] if r < len(order) else 0}"] = 1.0
        return values
