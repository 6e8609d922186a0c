r"""Simulated annealing over pipelines of groups, on the exact schedule.

A step changes groups, layers, shares or the order of stages by chance (`neighbours`). Layers of new groups are those
of a dynamic program for the given order (bound 1 of `bounds.pipeline_bound` and the all-reduce), shares the best for
time and energy that fit into memory. Steps that cost more are taken with the probability :math:`e^{-\Delta/(h v)}`,
where v is the objective and the heat h falls geometrically. What a lower bound of the step shows to be refused is not
simulated. Lengths are counted in steps, so that a seed always gives the same plans.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import in_flight
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.neighbours import Draft, Neighbours
from edgealloc.formulations.pool_training.search.rings import ring_order
from edgealloc.formulations.pool_training.sharing import equal_shares, share_options

__all__ = ["Annealing"]

FloatArray = npt.NDArray[np.float64]

#: Heat of the last step.
COLD: Final = 2e-4
#: How many times the objective is added to itself for every deadline that passes.
LATE: Final = 10.0
#: Tables that are remembered.
MOST_TABLES: Final = 4000


class Annealing:
    """Searches of one problem, with what they share remembered.

    Parameters
    ----------
    cost : FastCost
    best : Incumbent
        Everything better is offered to it.
    """

    def __init__(self, cost: FastCost, best: Incumbent) -> None:
        self.cost, self.best, self.problem = cost, best, cost.problem
        self.numbers = Random(best.run.seed)
        self.able = [i for i in range(self.problem.devices) if cost.free[i] >= 0.0]
        total = np.array(cost.forward) + np.array(cost.backward)
        self._work = total[None, :] - total[:, None]
        self._state = np.array(cost.state)[None, :] - np.array(cost.state)[:, None]
        self._kept = np.array(cost.kept)[None, :] - np.array(cost.kept)[:, None]
        self._gradient = np.array(cost.gradient)[None, :] - np.array(cost.gradient)[:, None]
        self._some = np.zeros_like(self._work)
        self._some[np.tril_indices(self.problem.layers + 1)] = np.inf  # a stage has a layer
        self._rings: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._options: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[float, float, tuple[int, ...]]]] = {}
        self._tables: dict[tuple[tuple[int, ...], int, bool], tuple[FloatArray, FloatArray]] = {}

    def anneal(self, plan: Plan, steps: int, heat: float, until_s: float = math.inf, enough: float = -math.inf) -> Plan:
        """The best plan met on the way from `plan`; it is offered to the incumbent, also if time runs out.

        Parameters
        ----------
        plan : Plan
            A pipeline or hybrid that fits into memory.
        steps : int
        heat : float
            Of the first step: share of the objective that a step may well lose.
        until_s : float
            When to stop, in seconds of the run.
        enough : float
            Objective that ends the search.

        Raises
        ------
        TimeUpError
        KeyboardInterrupt
        """
        numbers, kind, run = self.numbers, plan.parallelism, self.best.run
        room = self.problem.micro_batch if kind == "hybrid" else 1
        neighbours = Neighbours(numbers, self.able, room, self.problem.layers)
        at = Draft(list(plan.stages), plan.layers, list(plan.shares))
        value = self._value(kind, at, math.inf)
        found, found_value = at, value
        cooling = (COLD / heat) ** (1.0 / max(steps, 1))
        try:
            for step in range(steps):
                if step % 16 == 0:
                    run.check_time()
                    if found_value <= enough or run.seconds > until_s:
                        break
                heat *= cooling
                draft = neighbours.draw(at)
                worst = value - heat * value * math.log(1.0 - numbers.random())
                other = None if draft is None else self._complete(kind, draft)
                if other is None:
                    continue
                now = self._value(kind, other, worst)
                if now <= worst:
                    at, value = other, now
                    if value < found_value * (1.0 - 1e-12):
                        found, found_value = at, value
        finally:
            plan = _plan(kind, found)
            if found_value < self.best.value:
                self.best.offer(plan)
        return plan

    # ---- drafts -----------------------------------------------------------------------------------------------------

    def _complete(self, kind: str, draft: Draft) -> Draft | None:
        """With rings, layers and shares; None if it does not fit into memory."""
        stages = [group if share is not None else self._ring(group)
                  for group, share in zip(draft.stages, draft.shares, strict=True)]
        limits = in_flight(kind, len(stages), self.problem.micro_batches)
        layers = draft.layers or self._layers(stages, limits)
        if layers is None:
            return None
        seconds = self.cost.per_second
        if self.cost.per_joule > 0.0:
            seconds += self.cost.per_joule * sum(self.cost.idle[i] for group in stages for i in group)
        shares: list[tuple[int, ...] | None] = []
        start = 0
        for p, (group, given) in enumerate(zip(stages, draft.shares, strict=True)):
            end = start + layers[p]
            state, each = self._bytes(start, end, limits[p], len(stages))
            share = given
            if share is None or any(
                    state + units * each > self.cost.free[i] for i, units in zip(group, share, strict=True)):
                share = self._share(group, state, each, seconds)
                if share is None:
                    return None
            shares.append(share)
            start = end
        return Draft(stages, layers, shares)

    def _bytes(self, a: int, b: int, limit: int, stages: int) -> tuple[float, float]:
        """States of layers a to b - 1, and activations of a sample of all micro-batches in flight."""
        state = self.cost.state[b] - self.cost.state[a]
        if stages == 1:
            state -= self.problem.tied_state_bytes
        return state, limit * (self.cost.kept[b] - self.cost.kept[a])

    def _ring(self, group: tuple[int, ...]) -> tuple[int, ...]:
        members = tuple(sorted(group))
        if len(members) < 3:
            return members
        known = self._rings.get(members)
        if known is None:
            known = self._rings[members] = ring_order(self.problem, members)
        return known

    def _ways(self, group: tuple[int, ...], caps: tuple[int, ...]) -> list[tuple[float, float, tuple[int, ...]]]:
        """Trade-offs of sharing a micro-batch: seconds and joules per FLOP of a sample."""
        known = self._options.get((group, caps))
        if known is None:
            speed, cost = self.cost.speed, self.cost
            known = self._options[group, caps] = list(share_options(
                self.problem.micro_batch, [1.0 / speed[i] for i in group],
                [(cost.busy[i] - cost.idle[i]) / speed[i] for i in group], caps))
        return known

    def _share(self, group: tuple[int, ...], state: float, each: float, seconds: float) -> tuple[int, ...] | None:
        whole = self.problem.micro_batch
        caps = tuple(_cap(self.cost.free[i] - state, each, whole) for i in group)
        if len(group) == 1:
            return (whole,) if caps[0] == whole else None
        ways = self._ways(group, caps)
        if not ways:
            return None
        joules = self.cost.per_joule
        if joules == 0.0:
            return ways[0][2]
        return min(ways, key=lambda way: seconds * way[0] + joules * way[1])[2]

    # ---- layers -----------------------------------------------------------------------------------------------------

    def _layers(self, stages: list[tuple[int, ...]], limits: tuple[int, ...]) -> tuple[int, ...] | None:
        """Numbers of layers with the least bound for these groups in this order; None if nothing fits."""
        count, layers = len(stages), self.problem.layers
        if count > layers:
            return None
        joules = self.cost.per_joule
        weight = self.cost.per_second + joules * sum(self.cost.idle[i] for group in stages for i in group)
        after, spent = np.full(layers + 1, np.inf), np.zeros(layers + 1)
        after[layers] = 0.0
        cuts = []
        following: tuple[int, ...] | None = None
        for p in reversed(range(count)):
            seconds, alone = self._table(stages[p], limits[p], count == 1)
            if following is not None:
                after = after + self._trip(stages[p], following)
            total = np.maximum(alone, seconds + after)
            if joules > 0.0:
                power = self._power(stages[p])
                price = weight * total + joules * (power * self._work + spent)
                at = price.argmin(axis=1)
                rows = np.arange(layers + 1)
                spent = power * self._work[rows, at] + spent[at]
            else:
                at = total.argmin(axis=1)
                rows = np.arange(layers + 1)
            after = total[rows, at]
            cuts.append(at)
            following = stages[p]
        if not math.isfinite(after[0]):
            return None
        ends, a = [], 0
        for at in reversed(cuts):
            b = int(at[a])
            ends.append(b - a)
            a = b
        return tuple(ends) if a == layers else None

    def _ideal(self, group: tuple[int, ...]) -> tuple[int, ...] | None:
        ways = self._ways(group, (self.problem.micro_batch,) * len(group))
        return ways[0][2] if ways else None

    def _power(self, group: tuple[int, ...]) -> float:
        """Joules per FLOP of a sample in all micro-batches."""
        ways = self._ways(group, (self.problem.micro_batch,) * len(group))
        return self.problem.micro_batches * ways[0][1]

    def _trip(self, group: tuple[int, ...], following: tuple[int, ...]) -> float:
        one, other = self._ideal(group), self._ideal(following)
        if one is None or other is None:
            return math.inf
        over, back = self.cost.hops(group, one, following, other)
        return over[0] + over[1] + back[0] + back[1]

    def _table(self, group: tuple[int, ...], limit: int, alone: bool) -> tuple[FloatArray, FloatArray]:
        """(Y+1, Y+1) passes of layers a to b - 1 for one micro-batch; and for all, with the all-reduce."""
        known = self._tables.get((group, limit, alone))
        if known is not None:
            return known
        whole = self.problem.micro_batch
        ideal = self._ideal(group)
        seconds = np.full_like(self._work, np.inf)
        if ideal is not None:
            state = self._state - (self.problem.tied_state_bytes if alone else 0.0)
            # the fastest shares, and where they do not fit others that are easier on the memory
            trials = {ideal: None}
            if len(group) > 1:
                trials[equal_shares(whole, len(group))] = None
                free = [max(self.cost.free[i], 1.0) for i in group]
                rest = whole - len(group)
                extra = [int(rest * one / sum(free)) for one in free]
                extra[int(np.argmax(free))] += rest - sum(extra)
                trials[tuple(1 + one for one in extra)] = None
            for shares in trials:
                fits = np.ones_like(seconds, dtype=bool)
                for i, share in zip(group, shares, strict=True):
                    fits &= state + limit * share * self._kept <= self.cost.free[i]
                unit = max(share / self.cost.speed[i] for i, share in zip(group, shares, strict=True))
                seconds = np.where(fits, np.minimum(seconds, unit * self._work), seconds)
            seconds = seconds + self._some
        reduced: float | FloatArray = 0.0
        if len(group) > 1:
            per_byte, once, *_ = self.cost.ring(group)
            reduced = np.where(self._gradient > 0.0, per_byte * self._gradient + once, 0.0)
        if len(self._tables) >= MOST_TABLES:
            self._tables.clear()
        known = self._tables[group, limit, alone] = seconds, self.problem.micro_batches * seconds + reduced
        return known

    # ---- prices -----------------------------------------------------------------------------------------------------

    def _value(self, kind: str, draft: Draft, worst: float) -> float:
        """Objective by the schedule, more if the deadline is missed; inf where a bound is above `worst`."""
        cost, micro = self.cost, self.problem.micro_batches
        assert draft.layers is not None
        starts, shares = [0], [share for share in draft.shares if share is not None]
        for one in draft.layers:
            starts.append(starts[-1] + one)
        if worst < math.inf and self._bound(draft.stages, starts, shares, micro) > worst:
            return math.inf
        time, energy = cost.pipeline(kind, draft.stages, starts, shares)
        value = cost.per_second * time + cost.per_joule * energy
        return value if time <= self.best.latest_s else value * (1.0 + LATE * time / self.best.latest_s)

    def _bound(
        self, stages: list[tuple[int, ...]], starts: list[int], shares: list[tuple[int, ...]], micro: int
    ) -> float:
        """Below the objective: no stage and no medium is busy for longer than the iteration takes."""
        cost = self.cost
        longest = ahead = joules = waiting = 0.0
        last = len(stages) - 1
        media: dict[int, float] = {}
        for p, group in enumerate(stages):
            a, b = starts[p], starts[p + 1]
            flops = cost.forward[b] - cost.forward[a] + cost.backward[b] - cost.backward[a]
            units = [share / cost.speed[i] for i, share in zip(group, shares[p], strict=True)]
            time = flops * max(units)
            own = micro * time
            if len(group) > 1:
                size = cost.gradient[b] - cost.gradient[a]
                if size > 0.0:
                    per_byte, once, used, _ = cost.ring(group)
                    own += per_byte * size + once
                    for medium in used:
                        media[medium] = media.get(medium, 0.0) + per_byte * size + once
            # the first forward pass of the stage waits for those before it; its all-reduce for its last backward pass
            longest = max(longest, ahead + micro * time, own)
            ahead += time
            if p < last:
                over, back = cost.hops(group, shares[p], stages[p + 1], shares[p + 1])
                ahead += over[0] + over[1] + back[0] + back[1]
                joules += micro * (over[3] + back[3])
                for hop in (over, back):
                    for medium in hop[2]:
                        media[medium] = media.get(medium, 0.0) + micro * hop[0]
            if cost.per_joule > 0.0:
                joules += micro * flops * sum(
                    (cost.busy[i] - cost.idle[i]) * unit for i, unit in zip(group, units, strict=True))
                waiting += sum(cost.idle[i] for i in group)
        longest = max(longest, max(media.values(), default=0.0))
        return (cost.per_second + cost.per_joule * waiting) * longest + cost.per_joule * joules


def _plan(kind: str, draft: Draft) -> Plan:
    assert draft.layers is not None
    return Plan(kind, tuple(draft.stages), draft.layers, tuple(share for share in draft.shares if share is not None))


def _cap(room: float, each: float, samples: int) -> int:
    if room < 0.0:
        return 0
    return samples if each <= 0.0 else min(samples, math.floor(room / each))

