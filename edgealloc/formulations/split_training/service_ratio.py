r"""The service-cost ratio of split training: the most service per unit of delay and energy, with a proven upper bound.

**Reconstructed.** Qian & Zhao (arXiv 2310.17872) maximise a user service-cost ratio, service over weighted delay and
energy, by Dinkelbach's method. Their service and their limits are not rebuilt here from the paper's equations; what
this module maximises is our reading of the idea on the model of `SplitTraining`:

.. math::

    \max\; \frac{\sum_n \left( v_n - w_s \mathrm{AS}_n \right)}{\sum_n w_t T_n + w_e E_n}

over the same allocations and limits. The value v_n of a user that is served, and instability as what takes service
away, are our choices. With ``delay="max"`` the cost counts :math:`w_t \max_n T_n`, and a soft deadline's penalty is
part of the cost: both stay as they are in everything below.

At a ratio q Dinkelbach's inner problem is a SplitTraining of its own, with the stability weight divided by q:

.. math:: F(q) = \sum_n v_n - q \min \Big( \sum_n w_t T_n + w_e E_n + \frac{w_s}{q} \mathrm{AS}_n \Big),

so that a method with a proven lower bound of that minimum proves an upper bound of F(q), and with it of the ratio (see
`edgealloc.solvers.dinkelbach`); the certified least cost is D_min.
"""

from __future__ import annotations

import logging
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Diagnosis
from edgealloc.core.method import find_method
from edgealloc.core.run import Progress, Run, TimeUpError
from edgealloc.core.solution import check_found
from edgealloc.core.status import Status, Termination
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, Fault
from edgealloc.formulations.split_training.allocation import Allocation, Costs
from edgealloc.formulations.split_training.problem import SplitTraining
from edgealloc.formulations.split_training.views import users_table
from edgealloc.solvers.dinkelbach import RatioAnswer, RatioSearch, RatioStep, maximise_ratio
from edgealloc.units import format_si

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.core.solution import Solution

__all__ = ["ASSUMPTIONS", "DEFAULT_VALUE", "ServiceCostRatio", "service_cost_ratio"]

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

#: Value of a served user per unit of its stability weight: at the reference instability it keeps half of its service.
DEFAULT_VALUE: Final = 2.0

#: Printed with every result.
ASSUMPTIONS: Final = (
    "reconstructed after Qian & Zhao (arXiv 2310.17872), not their formulas: service is value - w_s AS per user, cost "
    "is w_t T + w_e E (with penalties of soft deadlines), over the allocations and limits of split training; the value "
    f"of a served user is our choice (unless given {DEFAULT_VALUE:g} times its stability weight, so that a user at the "
    "reference instability keeps half)"
)

#: Rounding guard of U = sum v - q L, relative to its two terms.
_GUARD: Final = 1e-12
#: An inner problem may use this share of the time that is left; below this share of the limit none is begun.
_TIME_SHARE, _TIME_REST = 0.5, 0.02


@dataclass(frozen=True, eq=False)
class ServiceCostRatio:
    """The answer to `service_cost_ratio`. Reconstructed: see `assumptions`.

    Attributes
    ----------
    problem : SplitTraining
    value : (N,)
        v_n, dimensionless.
    method : str
        What solved the inner problems.
    ratio, bound, gap : float or None
        ``ratio <= optimum <= bound`` and ``gap = (bound - ratio)/|ratio|``: service per unit of cost. None where
        nothing was found or nothing is proven.
    service, cost : float or None
        Numerator and denominator of the ratio at the allocation.
    allocation : Allocation or None
    costs : Costs or None
        `problem.evaluate(allocation)`.
    history : tuple of RatioStep
        What was asked, and the ratio and the bound after each answer.
    status : Status
        OPTIMAL (gap within the one asked for), LOCALLY_SOLVED (settled, by an inner method that settles), FEASIBLE,
        INFEASIBLE, NO_SOLUTION.
    termination : Termination
    diagnosis : Diagnosis or None
        For infeasible problems, as of `Solution`.
    attempts : tuple of str
    seconds : float
    seed : int
    assumptions : str
        What is ours in this reading of the paper.
    """

    problem: SplitTraining
    value: FloatArray
    method: str
    ratio: float | None
    bound: float | None
    gap: float | None
    service: float | None
    cost: float | None
    allocation: Allocation | None
    costs: Costs | None
    history: tuple[RatioStep, ...]
    status: Status
    termination: Termination
    diagnosis: Diagnosis | None
    attempts: tuple[str, ...]
    seconds: float
    seed: int
    assumptions: str = ASSUMPTIONS

    def require(self) -> ServiceCostRatio:
        """This result if it has an allocation; otherwise raise what is known.

        Raises
        ------
        InfeasibleError
            Proven infeasible; the message names the limits and the repair.
        SolverError
            No allocation was found.
        """
        check_found(self)
        return self

    def to_frame(self) -> pd.DataFrame:
        """One row per user: the columns of `Solution.to_frame`, then its value, service and cost (dimensionless).

        With ``delay="max"`` the cost of a user leaves out the delay, which is the round's.
        """
        import pandas as pd

        self.require()
        allocation, costs = cast(Allocation, self.allocation), cast(Costs, self.costs)
        columns = users_table(self.problem, allocation, costs)
        own = _without_stability(self.problem).evaluate(allocation).user_objective
        added = {"value": self.value, "service": _service(self.problem, self.value, costs), "cost": own}
        return pd.DataFrame({**columns, **added})

    def summary(self) -> str:
        """A page that a person can read."""
        lines = [self.problem.describe(), "service-cost ratio (reconstructed)", ""]
        lines += [f"method       {self.method}", f"status       {self.status} (stopped by: {self.termination})"]
        if self.ratio is not None and self.service is not None and self.cost is not None:
            lines.append(f"ratio        {self.ratio:.9g}   (service {self.service:.6g} over cost {self.cost:.6g})")
        if self.bound is not None:
            lines.append(f"upper bound  {self.bound:.9g}   (proven)")
        if self.gap is not None:
            lines.append(f"gap          {self.gap:.3g}   (no ratio is more than {100 * self.gap:.3g} % higher)")
        elif self.ratio is not None:
            lines.append("gap          unknown (nothing is proven)")
        lines.append(f"time         {self.seconds:.3g} s, {len(self.history)} ratios asked at")
        if self.diagnosis is not None:
            lines += ["", "No allocation satisfies every limit:", self.diagnosis.text()]
        if self.allocation is not None and self.costs is not None:
            service, split = _service(self.problem, self.value, self.costs), self.allocation.server >= 0
            lines += [
                "",
                f"service      mean {service.mean():.4g} of a value of {self.value.mean():.4g}, "
                f"least {service.min():.4g} (user {int(service.argmin())})",
                f"delay        mean {format_si(self.costs.mean_delay_s, 's')}, "
                f"largest {format_si(float(self.costs.delay_s.max()), 's')}",
                f"energy       total {format_si(self.costs.total_energy_j, 'J')}",
                f"instability  mean {float(self.costs.instability.mean()):.4g}, "
                f"largest {float(self.costs.instability.max()):.4g}",
                f"users        {int(split.sum())} offload, {int((~split).sum())} train fully locally; "
                f"mean cut {self.allocation.local_layers.mean():.3g} of {self.problem.layers} layers",
            ]
        if self.attempts:
            lines += ["", "attempts", *(f"  - {line}" for line in self.attempts)]
        text = textwrap.wrap(self.assumptions, 100, initial_indent="assumptions  ", subsequent_indent=" " * 13)
        return "\n".join([*lines, "", *text])

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        shown = "None" if self.ratio is None else f"{self.ratio:.6g}"
        gap = "None" if self.gap is None else f"{self.gap:.2g}"
        return f"ServiceCostRatio(method={self.method!r}, status={self.status.value!r}, ratio={shown}, gap={gap})"


def service_cost_ratio(
    problem: SplitTraining,
    value: float | npt.ArrayLike | None = None,
    *,
    method: str = "certified",
    gap: float = 1e-3,
    time_limit_s: float | None = 60.0,
    seed: int = 0,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ServiceCostRatio:
    r"""Maximise service over cost, ``sum(value - w_s AS) / sum(w_t T + w_e E)``, by Dinkelbach's method.

    Reconstructed after Qian & Zhao (arXiv 2310.17872); the text of this module says what is ours. Weights are the
    problem's own, effective ones (weight / reference).

    Parameters
    ----------
    problem : SplitTraining
        Its allocations and limits; with ``delay="max"`` the cost counts the longest delay.
    value : float or (N,), optional
        v_n >= 0, what a served user is worth before instability takes its part; dimensionless, in units of the weighted
        stability term. The default, an assumption, is twice the stability weight (2 where that is 0): a user at the
        reference instability keeps half of its service. Some users may be worth less than they lose, all together not.
    method : str
        Any method of the problem; those that prove a bound prove one for the ratio ("certified", "prove", "exact").
    gap : float
        Relative gap ``(bound - ratio)/|ratio|`` at which to stop.
    time_limit_s, seed, threads
        As in `problem.solve`. An inner problem gets half of the time that is left.
    on_progress : callable, optional
        Called with a `Progress` now and then, which is minimised everywhere: its objective is *minus* the best ratio
        and its bound minus the proven one. KeyboardInterrupt raised in it stops the search; the best so far is
        returned.

    Returns
    -------
    ServiceCostRatio
        An infeasible problem has its diagnosis in it.

    Raises
    ------
    DataError
        Unknown method, faulty option, or values that leave no service: their sum must exceed that of the weighted
        instabilities at every user's most stable cut.

    Examples
    --------
    >>> import edgealloc as ea
    >>> problem = ea.Scenario.random(users=6, servers=2, seed=0).split_training()
    >>> result = ea.service_cost_ratio(problem)
    >>> result.status.value, bool(result.ratio <= result.bound <= 1.001 * result.ratio)
    ('optimal', True)
    """
    if not isinstance(problem, SplitTraining):
        raise DataError(f"problem: is a {type(problem).__name__}; the service-cost ratio is of a SplitTraining")
    chosen = find_method(problem.kind, problem.METHODS, method)
    worth = _checked_value(problem, value)
    run = Run.create(
        gap=gap, time_limit_s=time_limit_s, seed=seed, threads=threads, on_progress=on_progress, warm_start=None
    )
    ascent = _Ascent(problem, worth, chosen.name, run)
    termination = Termination.CONVERGED
    try:
        if chosen.proves:
            _compile(run)
        termination = ascent.climb()
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    return ascent.result(termination)


def _compile(run: Run) -> None:
    """Compiling, once per machine, is not the search's time."""
    from edgealloc.formulations.split_training.stages import warm_up

    warm_up(run)


# ---- numerator and denominator ------------------------------------------------------------------------------------


def _without_stability(problem: SplitTraining) -> SplitTraining:
    """The problem whose objective is the cost alone."""
    weights = problem.weights
    return problem.replace(weights=Weights(weights.delay, weights.energy, 0.0, weights.reference))


def _service(problem: SplitTraining, value: FloatArray, costs: Costs) -> FloatArray:
    """value - w_s AS (N,)."""
    return np.asarray(value - problem.weights.effective("stability", problem.users) * costs.instability)


def _least_instability(problem: SplitTraining) -> FloatArray:
    """w_s AS (N,) at every user's most stable allowed cut; 0 for a user without one (which the solve diagnoses).

    Instability grows with the cut, so the smallest one is it. Whether a server hears the user is left open, which makes
    it a lower bound.
    """
    cuts, weight = problem.cuts, problem.weights.effective("stability", problem.users)
    split = cuts.low <= cuts.high
    possible = split | cuts.local
    fraction = np.where(possible, np.where(split, cuts.low, problem.layers) / problem.layers, 0.0)
    return np.asarray(np.where(possible, weight * problem.stability.value(fraction, problem.samples), 0.0))


def _checked_value(problem: SplitTraining, value: Any) -> FloatArray:
    """v_n (N,), read-only."""
    if value is None:
        weight = np.broadcast_to(np.asarray(problem.weights.stability, dtype=np.float64), (problem.users,))
        value = DEFAULT_VALUE * np.where(weight > 0.0, weight, 1.0)
    try:
        given = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError([Fault("value", f"is {value!r}, not a number or one per user")]) from None
    if given.shape not in ((), (problem.users,)):
        raise DataError([Fault("value", f"has shape {given.shape}; give a number or {problem.users} of them")])
    bad = np.argwhere(~(np.isfinite(given) & (given >= 0.0)))
    if bad.shape[0]:
        where = "" if given.ndim == 0 else f"[{int(bad[0][0])}]"
        wrong = float(given if given.ndim == 0 else given[bad[0][0]])
        raise DataError([Fault(f"value{where}", f"is {wrong:g}; it must be finite and >= 0")])
    worth = np.broadcast_to(given, (problem.users,)).copy()
    total, least = math.fsum(worth), math.fsum(_least_instability(problem))
    if not total > least:
        raise DataError([Fault("value", f"sums to {total:.6g}, and instability takes {least:.6g} of it even at every "
                               f"user's most stable cut, so there is no service: give more than "
                               f"{least / problem.users:.6g} a user on average, or lower weights.stability")])
    worth.setflags(write=False)
    return worth


# ---- the search ---------------------------------------------------------------------------------------------------


@dataclass
class _Ascent:
    """Dinkelbach's iteration around `problem.solve`; holds what is known also if an exception ends it."""

    problem: SplitTraining
    value: FloatArray
    method: str
    run: Run
    search: RatioSearch[Allocation] = field(default_factory=lambda: RatioSearch(0.0))
    diagnosis: Diagnosis | None = None
    attempts: list[str] = field(default_factory=list)
    inner_status: Status = Status.NO_SOLUTION
    cut_short: bool = False
    asked: int = 0

    def __post_init__(self) -> None:
        self.cost_only = _without_stability(self.problem)
        self.total_value = math.fsum(self.value)

    def climb(self) -> Termination:
        """Least cost first: it gives D_min, a first allocation, and with it the first ratio."""
        cheapest = self.solve(self.cost_only, self.run.gap)
        if cheapest.diagnosis is not None:
            self.diagnosis = cheapest.diagnosis
            return cheapest.termination
        if cheapest.allocation is None:
            return cheapest.termination
        least = cheapest.bound if cheapest.bound is not None and cheapest.bound > 0.0 else None
        # the bound is good to rounding; the denominators it is compared with are, too
        self.search.denominator_min = None if least is None else least * (1.0 - _GUARD)
        if least is not None:
            # nobody is more stable than at its most stable cut: an upper bound of F(0)
            best = math.fsum(self.value - _least_instability(self.problem))
            self.search.prove(0.0, best + _GUARD * self.total_value)
        self.search.offer(cheapest.allocation, *self.terms(cheapest.allocation))
        if cheapest.termination is Termination.INTERRUPTED:
            return Termination.INTERRUPTED
        if not self.search.ratio > 0.0:
            self.find_service()
            if not self.search.ratio > 0.0:
                self.attempts.append("no allocation with more service than none was found")
                return Termination.TIME_LIMIT if self.cut_short else Termination.STAGES_EXHAUSTED
        self.search.start = self.search.ratio
        if self.search.gap() <= self.run.gap:
            return Termination.GAP
        maximise_ratio(self.ask, self.search, self.run)
        if self.cut_short and self.search.gap() > self.run.gap:
            return Termination.TIME_LIMIT
        return self.search.termination

    def find_service(self) -> None:
        """Lower the ratio asked for until stability counts so much that the service is positive."""
        search, cheapest = self.search, self.search.denominator
        for power in range(8):
            q = self.total_value / cheapest * 10.0 ** (-2 * power)
            answer = self.ask(q)
            search.take(q, answer, self.run.seconds)
            if search.ratio > 0.0:
                return
            if answer.stopped is not None:
                raise KeyboardInterrupt

    def ask(self, q: float) -> RatioAnswer[Allocation]:
        """The inner problem at q > 0."""
        weights = self.problem.weights
        inner = self.problem.replace(
            weights=Weights(weights.delay, weights.energy, weights.stability / q, weights.reference)
        )
        solution = self.solve(inner, self.inner_gap())
        upper = None
        if solution.bound is not None:
            upper = self.total_value - q * solution.bound
            upper += _GUARD * (self.total_value + abs(q * solution.bound))
        stopped = Termination.INTERRUPTED if solution.termination is Termination.INTERRUPTED else None
        if solution.allocation is None:
            return RatioAnswer(None, upper=upper, stopped=stopped)
        service, cost = self.terms(solution.allocation)
        return RatioAnswer(solution.allocation, service, cost, upper, stopped)

    def inner_gap(self) -> float:
        """At the best ratio the inner objective is sum(v)/q, so an inner gap g leaves about g sum(v)/service."""
        share = self.search.numerator / self.total_value if self.search.ratio > 0.0 else 1.0
        return 0.5 * self.run.gap * min(1.0, share)

    def solve(self, problem: SplitTraining, gap: float) -> Solution[Allocation, Costs]:
        """Solve an inner problem in a part of the time that is left."""
        left = self.run.seconds_left
        if left <= (_TIME_REST * self.run.time_limit_s if math.isfinite(left) else 0.0):
            self.cut_short = True
            raise TimeUpError
        self.asked += 1
        solution = problem.solve(
            self.method, gap=gap, time_limit_s=_TIME_SHARE * left if math.isfinite(left) else None, seed=self.run.seed,
            threads=self.run.threads, on_progress=self.relay, warm_start=self.search.point,
        )
        self.cut_short = self.cut_short or solution.termination is Termination.TIME_LIMIT
        self.inner_status = solution.status
        self.attempts += [f"problem {self.asked}: {line}" for line in solution.attempts]
        return solution

    def relay(self, line: Progress) -> None:
        """What an inner problem does, in terms of the ratio."""
        self.run.report(f"problem {self.asked}: {line.stage}", line.iteration, -self.search.ratio, -self.search.bound)

    def terms(self, allocation: Allocation) -> tuple[float, float]:
        """(service, cost) of an allocation by `evaluate`."""
        costs = self.problem.evaluate(allocation)
        cost = self.cost_only.evaluate(allocation).objective
        return math.fsum(_service(self.problem, self.value, costs)), cost

    def result(self, termination: Termination) -> ServiceCostRatio:
        search, seconds = self.search, self.run.seconds
        found = search.point is not None
        bound = search.bound if math.isfinite(search.bound) else None
        gap = search.gap() if found and bound is not None else None
        status = Status.FEASIBLE if found else Status.NO_SOLUTION
        if self.diagnosis is not None:
            status = Status.INFEASIBLE
        elif gap is not None and gap <= self.run.gap:
            status, termination = Status.OPTIMAL, Termination.GAP
        elif found and gap is None and termination is Termination.CONVERGED and self.inner_status in (
                Status.LOCALLY_SOLVED, Status.OPTIMAL):
            status = Status.LOCALLY_SOLVED
        return ServiceCostRatio(
            problem=self.problem, value=self.value, method=self.method, ratio=search.ratio if found else None,
            bound=bound, gap=gap, service=search.numerator if found else None,
            cost=search.denominator if found else None, allocation=search.point,
            costs=None if search.point is None else self.problem.evaluate(search.point),
            history=tuple(search.history), status=status, termination=termination, diagnosis=self.diagnosis,
            attempts=(*self.attempts, *search.notes), seconds=seconds, seed=self.run.seed,
        )
