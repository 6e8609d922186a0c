"""Deployment as a MILP, written with PuLP and solved by HiGHS.

Queues are variables above tangents of `costs.queueing`; tangents at the loads of an answer are added until the answer's
own queues show that the gap is proven. Tangents lie below a convex function, so that every bound is one of the problem.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.formulations.deployment.costs import queueing, queueing_slope
from edgealloc.solvers.choices import Choices, ChoicesAnswer, choices_milp, milp_choices, reduced
from edgealloc.solvers.choices.data import RELAXED
from edgealloc.solvers.choices.milp import MOST_BINARIES, STRICT, TOLERANCE, Rounded
from edgealloc.solvers.milp import solve_milp
from edgealloc.solvers.pricing import GUARD, relative_gap

if TYPE_CHECKING:
    import pulp

    from edgealloc.formulations.deployment.agents import DeviceChoices

__all__ = ["TangentModel", "solve_tangents"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Tangents of every server to begin with, evenly spaced in the load.
_FIRST: Final = 8
_MOST_ROUNDS: Final = 60
#: Of the gap asked for, what HiGHS must reach; the rest is for what lies above the tangents.
_SHARE: Final = 0.5


class TangentModel:
    """The devices' choices as a PuLP model with a variable ``queue_s`` per server, in units of the largest cost.

    Parameters
    ----------
    devices : DeviceChoices
    choices : Choices
        Those of the devices, or some of them.
    rounded : {"down", "up", ""}
        Of uses, see `choices_milp`: bounds hold only with the first, for which capacities are larger by `RELAXED`, too.
    """

    def __init__(self, devices: DeviceChoices, choices: Choices, *, rounded: Rounded = "down") -> None:
        import pulp

        problem = devices.problem
        least = choices.cost[choices.cheapest()]
        self.base = math.fsum(least)
        beyond = choices.cost - least[choices.owner]
        #: What bounds lose to rounding.
        self.guard = GUARD * (math.fsum(np.abs(least)) + float(np.abs(beyond).max(initial=0.0)))
        self.weight = problem.queue_weight
        self.scale = float(beyond.max(initial=0.0)) or 1.0
        # an answer may exceed a capacity by a hair's breadth, and bounds must hold for it
        room = RELAXED if rounded == "down" else 0.0
        loose = Choices(choices.start, beyond / self.scale, choices.use / (1.0 + room), choices.capacity,
                        choices.capacities)
        self.choices = choices
        self.model, self.variables = choices_milp(loose, "deployment", rounded=rounded)
        self.queue = [self.model.add_variable(f"queue_{s}", 0) for s in range(problem.servers)]
        self.model.setObjective(self.model.objective + pulp.lpSum(self.queue))
        self.load = [self._load(s, float(problem.load_limit[s])) for s in range(problem.servers)]
        self.tangents = 0
        #: Largest number that a row of a tangent was divided by: what the solver's tolerance means there.
        self.largest = 1.0
        for s, limit in enumerate(problem.load_limit):
            for load in np.linspace(0.0, limit, _FIRST + 1)[1:]:
                self.add_tangent(s, float(load))

    def _load(self, s: int, limit: float) -> pulp.LpAffineExpression:
        import pulp

        option, slot = np.nonzero((self.choices.capacity == s) & (self.choices.use > 0.0))
        return pulp.LpAffineExpression([
            (self.variables[int(o)], limit * float(self.choices.use[o, r])) for o, r in zip(option, slot, strict=True)
        ])

    def add_tangent(self, s: int, load: float) -> None:
        """The queue of a server costs at least what the tangent at a load says."""
        height, slope = (float(one(np.array([load]))[0]) for one in (queueing, queueing_slope))
        factor = self.weight / self.scale
        # the row is divided by its largest coefficient, so that the solver's tolerance means the same everywhere
        size = max(1.0, factor * slope)
        self.largest = max(self.largest, size)
        row = self.queue[s] - factor * slope * self.load[s]
        self.model.addConstraint((row * (1.0 / size)) >= factor * (height - slope * load) / size,
                                 f"tangent_{s}_{self.tangents}")
        self.tangents += 1

    def bound(self, proven: float) -> float:
        """What a bound of the solver proves about the problem."""
        rows = self.choices.agents + self.choices.capacities + len(self.queue) * self.largest
        return self.base + self.scale * (proven - 2.0 * TOLERANCE * rows) - self.guard


def solve_tangents(
    devices: DeviceChoices, run: Run, *, keep: IntArray | None = None, start: IntArray | None = None
) -> ChoicesAnswer:
    """The best choice of the devices to within the gap; time limit and Ctrl-C return what is known.

    Parameters
    ----------
    devices : DeviceChoices
    run : Run
    keep : (E',) of int, optional
        Options that are worth a thought, at least one of every device; all that are not dominated unless given.
    start : (N,) of int, optional
        A choice to begin with.
    """
    smaller, option = reduced(devices.choices, run.threads) if keep is None else _only(devices.choices, keep)
    if smaller.options > MOST_BINARIES:
        words = f"no model was written: it would have {smaller.options} binaries, more than {MOST_BINARIES}"
        return ChoicesAnswer(attempts=(words,))
    search = _Search(devices, run, smaller, option)
    try:
        if start is not None:
            search.offer(start)
        for number in range(_MOST_ROUNDS):
            if not search.round(number):
                break
    except KeyboardInterrupt:
        search.termination = Termination.INTERRUPTED
    if search.best is None and search.bound == math.inf:
        # the capacities alone decide: the model without queues says by how much they are exceeded
        return milp_choices(devices.choices, run)
    return ChoicesAnswer(search.best, search.objective, min(search.bound, search.objective),
                         termination=search.termination, attempts=tuple(search.attempts))


def _only(choices: Choices, keep: IntArray) -> tuple[Choices, IntArray]:
    """The choices with some of their options, and which these are."""
    option = np.unique(keep)
    count = np.bincount(choices.owner[option], minlength=choices.agents)
    start = np.concatenate([[0], np.cumsum(count)])
    smaller = Choices(start, choices.cost[option], choices.use[option], choices.capacity[option], choices.capacities)
    return smaller, option


class _Search:
    """Solve, add tangents where the answer's queues are above them, and again."""

    def __init__(self, devices: DeviceChoices, run: Run, choices: Choices, option: IntArray) -> None:
        self.devices, self.run, self.choices, self.option = devices, run, choices, option
        self.tangent = TangentModel(devices, choices)
        self.best: IntArray | None = None
        self.objective, self.bound = math.inf, -math.inf
        self.attempts: list[str] = []
        self.termination = Termination.STAGES_EXHAUSTED

    def offer(self, choice: IntArray) -> FloatArray:
        """Keep a choice if it is the best so far and keeps the limits; returns its loads (S,)."""
        objective = self.devices.objective(choice)
        if objective < self.objective:
            if self.devices.problem.relative_violation(self.devices.rollout(choice)) <= FEASIBILITY_TOLERANCE:
                self.best, self.objective = choice, objective
            else:
                self.attempts.append("HiGHS found a choice that exceeds a limit by its tolerances")
        return self.devices.load(choice)

    def _left(self) -> float | None:
        return self.run.seconds_left if math.isfinite(self.run.time_limit_s) else None

    def _strictly(self) -> None:
        """HiGHS once more, with capacities as they are, then with uses rounded up, for a choice that fits."""
        for rounded in STRICT:
            left = self._left()
            if self.best is not None or (left is not None and left <= 0.0):
                return
            strict = TangentModel(self.devices, self.choices, rounded=rounded)
            result = solve_milp(strict.model, gap=_SHARE * self.run.gap, threads=1, time_limit_s=left,
                                tolerance=TOLERANCE)
            self.attempts.append(f"HiGHS for a choice that fits: {result.message}")
            if result.values is not None:
                self.offer(self._picked(strict, result.values))

    def _picked(self, tangent: TangentModel, values: Mapping[str, float]) -> IntArray:
        """Options of the devices that HiGHS chose."""
        chosen = [values[tangent.variables[o].name] > 0.5 for o in range(self.choices.options)]
        return np.asarray(self.option[np.flatnonzero(chosen)])

    def round(self, number: int) -> bool:
        """One answer of HiGHS; returns whether another one is of use."""
        left = self._left()
        if left is not None and left <= 0.0:
            self.termination = Termination.TIME_LIMIT
            return False
        tangent = self.tangent
        result = solve_milp(tangent.model, gap=_SHARE * self.run.gap, threads=1, time_limit_s=left,
                            tolerance=TOLERANCE, start=self._values())
        self.attempts.append(f"HiGHS with {tangent.tangents} tangents: {result.message}")
        if result.bound is not None:
            self.bound = max(self.bound, tangent.bound(result.bound))
        if result.values is None:
            self.termination = result.termination
            return False
        load = self.offer(self._picked(tangent, result.values))
        self._strictly()
        self.run.report("tangents", number, self.objective, min(self.bound, self.objective))
        if relative_gap(self.objective, self.bound) <= self.run.gap:
            self.termination = Termination.GAP
            return False
        if result.termination == Termination.TIME_LIMIT:
            self.termination = Termination.TIME_LIMIT
            return False
        return _add(tangent, load, result.values)

    def _values(self) -> dict[str, float] | None:
        """The best choice as values of the model; None if the model does not have its options."""
        if self.best is None or not np.isin(self.best, self.option).all():
            return None
        tangent = self.tangent
        chosen = np.isin(self.option, self.best)
        values = {tangent.variables[o].name: float(there) for o, there in enumerate(chosen)}
        for variable, cost in zip(tangent.queue, queueing(self.devices.load(self.best)), strict=True):
            values[variable.name] = tangent.weight / tangent.scale * float(cost)
        return values


def _add(tangent: TangentModel, load: FloatArray, values: Any) -> bool:
    """Tangents where queues are above what the model thinks; returns whether there were any."""
    added = False
    for s, amount in enumerate(load):
        true = tangent.weight / tangent.scale * float(queueing(np.array([amount]))[0])
        if amount > 0.0 and true > float(values[tangent.queue[s].name]) + TOLERANCE:
            tangent.add_tangent(s, float(amount))
            added = True
    return added
