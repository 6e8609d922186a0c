r"""Mixed-integer linear programmes by PuLP, HiGHS and CBC, with the truth about what came back.

PuLP writes models that people can read, but what it says about an ended solve cannot be relied on: a solver that was
stopped may hand back fractional binaries under a status that reads "Optimal", and the proven bound is not passed on at
all. Here the solver itself is asked, and whatever it returns is checked again:

- the *status* is the solver's own; a bound is reported as proven only if the solver proved it, with what its printing
  and its pruning leave open taken off;
- *values* are returned only if integer variables are whole and every row and bound holds to `tolerance`; the
  *objective* is computed anew from them.

Small example, from nobody's network: where to open depots so that four towns are served cheaply (opening 5 each,
serving by distance).

>>> import pulp
>>> distance = {("a", 0): 1, ("a", 1): 2, ("a", 2): 6, ("a", 3): 7, ("b", 0): 7, ("b", 1): 6, ("b", 2): 2, ("b", 3): 1}
>>> model = pulp.LpProblem("depots", pulp.LpMinimize)
>>> depot = {d: model.add_variable(f"open_{d}", 0, 1, pulp.LpInteger) for d in "ab"}
>>> serve = {(d, t): model.add_variable(f"serve_{d}_{t}", 0, 1) for d, t in distance}
>>> model += pulp.lpSum(5 * depot[d] for d in "ab") + pulp.lpSum(distance[k] * serve[k] for k in serve)
>>> for town in range(4):
...     model += serve["a", town] + serve["b", town] == 1
>>> for d, town in serve:
...     model += serve[d, town] <= depot[d]
>>> result = solve_milp(model, gap=0.0)
>>> result.status.value, round(result.objective, 6), round(result.bound, 6), result.values["open_a"]
('optimal', 16.0, 16.0, 1.0)
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.status import Status, Termination
from edgealloc.errors import DataError, Fault, MissingDependencyError
from edgealloc.solvers.milp_answer import RawAnswer, Settings, rows_of
from edgealloc.solvers.milp_cbc import run_cbc
from edgealloc.solvers.milp_highs import run_highs

if TYPE_CHECKING:
    import pulp

__all__ = ["MilpResult", "solve_milp"]

SOLVERS: Final = ("highs", "cbc")


@dataclass(frozen=True, eq=False)
class MilpResult:
    """What a solver proved and found, re-checked.

    Attributes
    ----------
    solver : str
        Who solved it: "highs" or "cbc".
    status : Status
        OPTIMAL: the gap between `objective` and `bound` is within the one asked for. FEASIBLE: `values` hold.
        INFEASIBLE, UNBOUNDED: the solver proved it; a model with integer variables whose *relaxation* is unbounded is
        NO_SOLUTION, because it may be infeasible as well. NO_SOLUTION: nothing usable came back; `bound` may be
        proven all the same.
    termination : Termination
        Why the solver stopped.
    message : str
        The solver's own words, and what the re-check found.
    objective : float or None
        Computed from `values`, constant included.
    bound : float or None
        Proven by the solver: a lower bound of a minimum, an upper bound of a maximum; inf (-inf for a maximum) where
        the model is infeasible. True to the solver's tolerances, not in exact arithmetic.
    gap : float or None
        ``|objective - bound| / |objective|``.
    values : mapping of str to float, or None
        By name of the variable; integer variables are whole. None where nothing came back that holds.
    integral, feasible : bool or None
        Whether integer variables were whole, and whether rows and bounds held, within the tolerance; None where the
        solver gave no values.
    violation : float
        The largest violation of a row (relative to its largest term) or bound by `values`.
    seconds : float
    attempts : tuple of str
        One line per solver that was tried, in order.
    """

    solver: str
    status: Status
    termination: Termination
    message: str
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    values: Mapping[str, float] | None = None
    integral: bool | None = None
    feasible: bool | None = None
    violation: float = 0.0
    seconds: float = 0.0
    attempts: tuple[str, ...] = ()


def solve_milp(
    model: pulp.LpProblem,
    *,
    solver: str | Sequence[str] = "highs",
    time_limit_s: float | None = None,
    gap: float = 1e-4,
    gap_abs: float = 0.0,
    threads: int = 1,
    tolerance: float = 1e-6,
    start: Mapping[str, float] | None = None,
) -> MilpResult:
    """Solve a PuLP model and say what is true of the result.

    Parameters
    ----------
    model : pulp.LpProblem
        It is read, not changed: values are in the result, not in its variables.
    solver : {"highs", "cbc"} or a sequence of them
        Of a sequence the next is tried only where the one before is missing, failed, or ended with neither values nor a
        proof that there are none.
    time_limit_s : float, optional
        Seconds for all solvers together. A solver looks at its clock now and then, so it may take a little longer.
    gap : float
        Relative gap at which to stop; CBC takes it relative to the objective without its constant.
    gap_abs : float
        Absolute gap at which to stop.
    threads : int
        Of the solver. HiGHS gives the same answer again for the same number of threads, unless time ran out.
    tolerance : float
        Primal, dual and integrality tolerance of the solver, and of the re-check.
    start : mapping, optional
        Values by name to start from; HiGHS completes a partial start, CBC takes what is missing as 0.

    Returns
    -------
    MilpResult

    Raises
    ------
    DataError
        An unknown solver, a faulty option, a coefficient that is not finite, two variables of one name, or special
        ordered sets, which PuLP does not hand on to HiGHS.
    MissingDependencyError
        PuLP, or the only solver asked for, is not installed.
    """
    names = (solver,) if isinstance(solver, str) else tuple(solver)
    _check_options(names, time_limit_s, gap, gap_abs, threads, tolerance)
    if importlib.util.find_spec("pulp") is None:
        raise MissingDependencyError("pulp")
    begun = time.perf_counter()
    matrix = Matrix(model)
    settings = Settings(begun + (math.inf if time_limit_s is None else float(time_limit_s)), float(gap), float(gap_abs),
                        int(threads), float(tolerance), dict(start or {}))
    attempts: list[str] = []
    best: MilpResult | None = None
    for place, name in enumerate(names):
        try:
            raw = _run(name, model, settings)
        except MissingDependencyError as error:
            if place + 1 == len(names) and best is None:
                raise
            attempts.append(f"{name}: {error}")
            continue
        found = matrix.judge(name, raw, settings)
        attempts.append(f"{name}: {found.message}")
        best = found if best is None else _better(best, found, matrix.sense)
        if found.values is not None or found.status in (Status.INFEASIBLE, Status.UNBOUNDED):
            break
    assert best is not None  # the last solver either answered or raised
    return replace(best, seconds=time.perf_counter() - begun, attempts=tuple(attempts))


def _check_options(
    names: tuple[str, ...], time_limit_s: Any, gap: Any, gap_abs: Any, threads: Any, tolerance: Any
) -> None:
    known = ", ".join(SOLVERS)
    faults = [Fault("solver", f"is {name!r}; give one of {known}") for name in names if name not in SOLVERS]
    if not names:
        faults.append(Fault("solver", f"is empty; give one of {known}"))
    if time_limit_s is not None and not time_limit_s > 0.0:
        faults.append(Fault("time_limit_s", f"is {time_limit_s!r}; give seconds > 0, or None for no limit"))
    for field_, value in (("gap", gap), ("gap_abs", gap_abs)):
        if not 0.0 <= value < math.inf:
            faults.append(Fault(field_, f"is {value!r}; give a number >= 0"))
    if not threads >= 1:
        faults.append(Fault("threads", f"is {threads!r}; give an integer >= 1"))
    if not 1e-10 <= tolerance <= 1e-3:
        faults.append(Fault("tolerance", f"is {tolerance!r}; give a number from 1e-10 to 1e-3"))
    if faults:
        raise DataError(faults, "solve_milp")


def _better(one: MilpResult, other: MilpResult, sense: float) -> MilpResult:
    """Of two accounts of the same model the later, with whatever the earlier proved beyond it."""
    if one.bound is None or (other.bound is not None and sense * other.bound >= sense * one.bound):
        return other
    return replace(other, bound=one.bound, gap=_gap(other.objective, one.bound))


def _gap(objective: float | None, bound: float | None) -> float | None:
    if objective is None or bound is None or not math.isfinite(bound):
        return None
    return abs(objective - bound) / max(abs(objective), 1e-300)


class Matrix:
    """A PuLP model as plain numbers: to judge what a solver returned without asking it."""

    def __init__(self, model: pulp.LpProblem) -> None:
        self.sense = float(model.sense)  # 1 to minimise, -1 to maximise
        self.variables = list(model.variables())
        self.objective = dict(model.objective or {})
        self.constant = float(model.objective.constant) if model.objective is not None else 0.0
        self.rows = rows_of(model)
        self.integer = [v.cat == "Integer" for v in self.variables]
        self._check(model)

    def _check(self, model: pulp.LpProblem) -> None:
        faults = []
        names = [v.name for v in self.variables]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})[0]
            faults.append(Fault(twice, "is the name of two variables; give each its own"))
        if model.sos1 or model.sos2:
            faults.append(Fault("sos", "special ordered sets do not reach every solver; write binaries instead"))
        for row in self.rows:
            if not all(map(math.isfinite, (*row.values(), row.constant))):
                faults.append(Fault(f"row '{row.name}'", "has a coefficient that is not finite"))
        if not all(map(math.isfinite, (*self.objective.values(), self.constant))):
            faults.append(Fault("objective", "has a coefficient that is not finite"))
        if faults:
            raise DataError(faults, f"model '{model.name}'")

    def judge(self, name: str, raw: RawAnswer, settings: Settings) -> MilpResult:
        """The solver's account with everything checked that can be."""
        sense, whole = self.sense, any(self.integer)
        bound = sense * raw.bound + (self.constant if math.isfinite(raw.bound) else 0.0)
        proven = None if raw.bound == -math.inf else bound
        message = raw.message
        result = MilpResult(name, Status.NO_SOLUTION, raw.termination, message, bound=proven)
        if raw.values is None:
            if raw.bound == math.inf:
                result = replace(result, status=Status.INFEASIBLE)
            elif raw.unbounded and not whole:
                result = replace(result, status=Status.UNBOUNDED, bound=-sense * math.inf)
            elif raw.unbounded:
                result = replace(result, message=f"{message} (the relaxation; integer points may not exist)")
            return result
        tolerance = 1.01 * settings.tolerance
        values, fraction = self._rounded(raw.values, tolerance)
        violation = self._violation(values)
        integral, feasible = fraction <= tolerance, violation <= tolerance
        result = replace(result, integral=integral, feasible=feasible, violation=violation)
        if not (integral and feasible):
            what = f"integer variables {fraction:.2g} off" if not integral else f"rows violated by {violation:.2g}"
            return replace(result, message=f"{message}; its values were rejected: {what}")
        objective = math.fsum([self.constant, *(c * values[v.name] for v, c in self.objective.items())])
        if proven is not None:  # a point within the tolerances can be better than what is proven, by as much
            proven = sense * min(sense * proven, sense * objective)
        gap = _gap(objective, proven)
        small = proven is not None and abs(objective - proven) <= settings.gap_abs
        closed = gap is not None and (gap <= settings.gap * (1.0 + 1e-9) + 1e-12 or small)
        status = Status.OPTIMAL if closed else Status.FEASIBLE
        return replace(result, status=status, objective=objective, bound=proven, gap=gap, values=values)

    def _rounded(self, raw: Mapping[str, float], tolerance: float) -> tuple[dict[str, float], float]:
        """Values with integer variables made whole where they nearly are, and the largest distance from that."""
        values, worst = {}, 0.0
        for variable, integer in zip(self.variables, self.integer, strict=True):
            value = float(raw[variable.name])
            if integer:
                distance = abs(value - round(value)) if math.isfinite(value) else math.inf
                worst = max(worst, distance)
                value = float(round(value)) if distance <= tolerance else value
            values[variable.name] = value
        return values, worst

    def _violation(self, values: Mapping[str, float]) -> float:
        """Largest violation of a bound, and of a row relative to its largest term (1 if that is smaller)."""
        worst = 0.0
        for variable in self.variables:
            value = values[variable.name]
            if not math.isfinite(value):
                return math.inf
            low = -math.inf if variable.lowBound is None else variable.lowBound
            high = math.inf if variable.upBound is None else variable.upBound
            worst = max(worst, (low - value) / max(1.0, abs(low)), (value - high) / max(1.0, abs(high)))
        for row in self.rows:
            terms = [c * values[v.name] for v, c in row.items()]
            excess = row.constant + math.fsum(terms)  # <= 0, >= 0 or = 0 by the row's sense
            excess = abs(excess) if row.sense == 0 else row.sense * -excess
            scale = max(1.0, abs(row.constant), *map(abs, terms)) if terms else 1.0
            worst = max(worst, excess / scale)
        return worst


def _run(name: str, model: pulp.LpProblem, settings: Settings) -> RawAnswer:
    if name == "highs":
        if importlib.util.find_spec("highspy") is None:
            raise MissingDependencyError("highspy")
        return run_highs(model, settings)
    return run_cbc(model, settings)
