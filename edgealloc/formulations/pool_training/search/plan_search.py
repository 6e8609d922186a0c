"""Search for plans beside the bounds: good starts, then simulated annealing in rounds of a fixed number of steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Final

from edgealloc.formulations.pool_training.hybrid import hybrid_plans
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.annealing import Annealing
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.partition import pipeline_fits, score

__all__ = ["PlanSearch"]

#: Stages of the longest chain that is tried before anything is known.
MOST_FIRST: Final = 8
#: Steps of a round at least and at most, and by the square of the number of devices.
STEPS: Final = (6000, 20_000)
STEPS_PER_PAIR: Final = 140
#: Heats of the rounds in turn. A step changes less of a larger pool: heats fall with this power of its size over LARGE.
HEATS: Final = (0.1, 0.03, 0.3)
COOLER: Final = 1.5
#: Heat and share of the steps for plans that are good already.
WARM: Final = (0.004, 0.1)
#: Rounds without a better plan that end the search.
PATIENCE: Final = 6
#: Starts that are remembered for each parallelism.
KEPT: Final = 6
#: Seconds of a step for every device and micro-batch, with room to spare, and at least: they turn shares of the time
#: limit into numbers of steps, so that the clock does not decide what is found.
STEP_S: Final = (5e-7, 1e-5)
#: The part of that where every pair of devices has media of its own, and one timetable is enough.
APART: Final = 0.3
#: Shares of the time limit: candidates of the dynamic programs over orders (at most), first round, rounds after bounds.
ORDERS: Final = 0.06
FIRST: Final = 0.08
BETWEEN: Final = 0.04
#: Pools of more devices have weak bounds: there plans get this many times as much.
LARGE: Final = (12, 3.0)
#: Of the steps of a round, for pipelines if there are hybrids.
PIPELINES: Final = 0.25


class PlanSearch:
    """Pipelines and hybrids of one problem.

    Parameters
    ----------
    cost : FastCost
    best : Incumbent
        Everything better is offered to it.
    kinds : list of str
        The allowed ones of "pipeline" and "hybrid".
    """

    def __init__(self, cost: FastCost, best: Incumbent, kinds: list[str]) -> None:
        self.cost, self.best, self.kinds = cost, best, kinds
        self.annealing = Annealing(cost, best)
        devices = cost.problem.devices
        self.steps = min(max(STEPS_PER_PAIR * devices * devices, STEPS[0]), STEPS[1])
        self.starts: dict[str, list[tuple[float, Plan]]] = {kind: [] for kind in kinds}
        self._more = LARGE[1] if devices > LARGE[0] else 1.0
        self._rounds = itertools.count()

    def begin(self, enough: float) -> None:
        """Chains and groups of neighbours in a few orders, and a first round from the best of them.

        Raises
        ------
        TimeUpError
        KeyboardInterrupt
        """
        run, devices = self.best.run, self.cost.problem.devices
        self._chains()
        until = run.seconds + self._more * ORDERS * run.time_limit_s
        if "hybrid" in self.kinds and devices > LARGE[0]:
            for value, plan in hybrid_plans(self.cost.problem, self.cost, run, quick=True):
                self._keep(value, plan)
                if run.seconds > until:
                    break
        for kind in self.kinds:
            for _, plan in self.starts[kind][:1]:
                self.best.offer(plan)
        self.more(enough, FIRST)

    def after(self, plans: Iterable[Plan], enough: float) -> None:
        """Plans behind bounds, each followed by a short search, and a round from the best."""
        heat, share = WARM
        steps = max(20, int(share * self._steps(BETWEEN)))
        until = self._until(BETWEEN)
        for plan in plans:
            if self.best.value > enough and self._fits(plan) and self._keep(score(self.cost, plan), plan):
                self._anneal(plan, steps, heat, until, enough)
        self.more(enough, BETWEEN)

    def more(self, enough: float, share: float = 1.0) -> None:
        """One round for every parallelism, with a share of the time limit."""
        number = next(self._rounds)
        heat = HEATS[number % len(HEATS)] * min(1.0, LARGE[0] / self.cost.problem.devices) ** COOLER
        until, steps = self._until(share), self._steps(share)
        for kind in self.kinds:
            start = self._start(kind, number)
            if start is not None and self.best.value > enough:
                part = 1.0 if len(self.kinds) == 1 else PIPELINES if kind == "pipeline" else 1.0 - PIPELINES
                self._anneal(start, max(20, int(part * steps)), heat, until, enough)

    def finish(self, enough: float) -> None:
        """Rounds until the plan is good enough, or none of the last few found a better one."""
        idle = 0
        while idle < PATIENCE and self.best.value > enough:
            before = self.best.value
            self.more(enough)
            idle = 0 if self.best.value < before * (1.0 - 1e-9) else idle + 1

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _until(self, share: float) -> float:
        """For machines on which steps take longer than they should."""
        return self.best.run.seconds + 1.5 * self._more * share * self.best.run.time_limit_s

    def _steps(self, share: float) -> int:
        each, least = STEP_S
        problem = self.cost.problem
        if problem.network.media >= problem.devices * (problem.devices - 1):
            each *= APART
        seconds = self._more * share * self.best.run.time_limit_s
        return int(min(float(self.steps), seconds / max(each * problem.devices * problem.micro_batches, least)))

    def _start(self, kind: str, number: int) -> Plan | None:
        """The best in every other round, otherwise the others in turn."""
        known = self.starts[kind]
        if not known:
            return None
        return known[0 if number % 2 == 0 else (number + 1) // 2 % len(known)][1]

    def _anneal(self, plan: Plan, steps: int, heat: float, until_s: float, enough: float) -> None:
        """Search, and try what was found under the other name too: the windows differ."""
        found = self.annealing.anneal(plan, steps, heat, until_s, enough)
        self._keep(score(self.cost, found), found)
        for kind in self.kinds:
            if kind != found.parallelism and all(len(group) == 1 for group in found.stages):
                other = Plan(kind, found.stages, found.layers, found.shares)
                if self._fits(other):
                    self._keep(score(self.cost, other), other)
                    self.best.offer(other)

    def _keep(self, value: float, plan: Plan) -> bool:
        """Remember a plan if it is new and among the best; whether it is new."""
        known = self.starts[plan.parallelism]
        if any(other == plan for _, other in known):
            return False
        if math.isfinite(value):
            known.append((value, plan))
            known.sort(key=lambda one: one[0])
            del known[KEPT:]
        return True

    def _fits(self, plan: Plan) -> bool:
        return pipeline_fits(self.cost, plan.parallelism, plan.stages, plan.first_layers, plan.shares)

    def _chains(self) -> None:
        """Chains of the fastest devices and of those with the most memory, so that there is something to beat."""
        cost, problem = self.cost, self.cost.problem
        everybody = range(problem.devices)
        orders = (sorted(everybody, key=lambda i: (-cost.speed[i], i)),
                  sorted(everybody, key=lambda i: (-cost.free[i], i)))
        for count in range(1, min(problem.devices, problem.layers, MOST_FIRST) + 1):
            for kind in self.kinds:
                for order in orders:
                    plan = self.annealing.filled(kind, [(i,) for i in order[:count]])
                    if plan is not None:
                        self._keep(score(cost, plan), plan)
                        self.best.offer(plan)
                    self.best.run.check_time()
