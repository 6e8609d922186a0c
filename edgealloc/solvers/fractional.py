r"""Sums of products and ratios, minimised by convex majorisers with auxiliary variables.

For nonnegative convex a, b, c and positive concave r, and any z, v > 0,

.. math::

    a b \le z a^2 + \frac{b^2}{4 z}, \qquad \frac{c}{r} \le v c^2 + \frac{1}{4 v r^2},

with equality, and equal gradients, at :math:`z = b/(2a)` and :math:`v = 1/(2 c r)`. The right-hand sides are convex, so
solving the majorised problem and setting z and v anew at its solution never raises the objective, and ends at a
stationary point of the original one, not necessarily at its minimum. This is the transform that Liu & Zhao (arXiv
2409.20247, section 5) use, in the line of Shen & Yu's fractional programming (IEEE Trans. Signal Process. 66, 2018).

The majoriser is compiled by CVXPY once (if small); z and v, and whatever parameters the caller uses, are parameters of
it.

Examples
--------
The speed that takes least fuel per distance if a motor burns 2 + v^3 per hour: v = 1, 3 per unit of distance.

>>> import cvxpy as cp
>>> v = cp.Variable(1, pos=True)
>>> trip = FractionalProgram(0.0, ratios=[Ratio(2.0 + cp.power(v, 3), v)], constraints=[v <= 10])
>>> found = trip.minimise({v: [5.0]}, tolerance=1e-9)
>>> round(float(found.values[v][0]), 3), round(found.objective, 3), found.status
(1.0, 3.0, 'converged')
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, SolverError

if TYPE_CHECKING:
    import cvxpy as cp

__all__ = ["FractionalProgram", "FractionalResult", "Product", "Ratio"]

FloatArray = npt.NDArray[np.float64]

#: Auxiliaries keep this distance from 0 and infinity, relative to the largest term: a factor of exactly 0 would never
#: leave it. The majoriser is valid for any positive auxiliary, only its touching point moves by as little.
_FLOOR: Final = 1e-9
#: (solver, options), tried in this order.
_SOLVERS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("CLARABEL", {}),
    ("CLARABEL", {"max_step_fraction": 0.9}),
    ("SCS", {"eps_abs": 1e-7, "eps_rel": 1e-7, "max_iters": 20_000}),
)
_TIME_LIMIT: Final = {"CLARABEL": "time_limit", "SCS": "time_limit_secs"}


@dataclass(frozen=True)
class Product:
    """sum over entries of weight * first * second, both convex and >= 0; weight >= 0, numbers or a parameter.

    Shapes broadcast.
    """

    first: Any
    second: Any
    weight: Any = 1.0


@dataclass(frozen=True)
class Ratio:
    """sum over entries of weight * numerator / denominator: convex >= 0 over concave > 0; weight >= 0.

    Shapes broadcast. Where the concave function is not positive, the objective is inf.
    """

    numerator: Any
    denominator: Any
    weight: Any = 1.0


@dataclass(frozen=True)
class FractionalResult:
    """Where the iteration ended.

    Attributes
    ----------
    values : mapping
        Variable -> value (a copy), of the best iterate; of the start if there is none.
    objective : float
        The original objective there; inf if infeasible, -inf if unbounded.
    history : tuple of float
        The original objective at the start and after every iteration: from a feasible start it never rises beyond the
        solver's tolerance.
    surrogate : tuple of float
        Optimal values of the majorised problems; the original objective of an iterate is never above.
    status : {"converged", "iterations", "stopped", "numerical", "infeasible", "unbounded"}
        "stopped": by `on_iteration` or for want of time; "numerical": a majorised problem could not be solved, what
        came before is kept; the last two by a certificate of the solver for the first majorised problem.
    attempts : tuple of str
        Solver failures, and solutions of reduced accuracy, if any.
    """

    values: Mapping[Any, FloatArray]
    objective: float
    history: tuple[float, ...]
    surrogate: tuple[float, ...]
    status: str
    attempts: tuple[str, ...]


class FractionalProgram:
    r"""min convex(x) + sum of products + sum of ratios, subject to convex constraints.

    Parameters
    ----------
    convex : cvxpy expression or float
        The convex part; the entries of an array are summed.
    products : sequence of Product
    ratios : sequence of Ratio
    constraints : sequence of cvxpy constraints
        They may hold the caller's `cvxpy.Parameter` objects, in forms that follow CVXPY's rules for disciplined
        parametrised programming: change their values between calls of `minimise`, and nothing is compiled anew.
    compile_once : bool
        False compiles at every iteration: that takes time in proportion to the size, while the form with parameters,
        compiled once, grows with its square. From a few hundred entries on False is faster.

    Raises
    ------
    DataError
        A term that is not convex, concave or nonnegative as it must be, or shapes that do not broadcast.

    Notes
    -----
    Scale variables and terms to about 1; the solver's tolerances are absolute there.
    """

    def __init__(
        self,
        convex: Any,
        products: Sequence[Product] = (),
        ratios: Sequence[Ratio] = (),
        constraints: Sequence[Any] = (),
        *,
        compile_once: bool = True,
    ) -> None:
        import cvxpy as cp

        self._convex = cp.sum(cp.vec(_constant(convex), order="F"))
        self._terms: list[_Term] = []
        self._compile_once = compile_once
        whole = list(constraints)
        for i, product in enumerate(products):
            first = _checked(product.first, f"products[{i}].first", "convex", whole)
            second = _checked(product.second, f"products[{i}].second", "convex", whole)
            self._terms.append(
                _Term(f"products[{i}]", product.weight, product.first, product.second, first, second, ratio=False)
            )
        for i, ratio in enumerate(ratios):
            numerator = _checked(ratio.numerator, f"ratios[{i}].numerator", "convex", whole)
            denominator = _checked(ratio.denominator, f"ratios[{i}].denominator", "concave", whole)
            self._terms.append(
                _Term(f"ratios[{i}]", ratio.weight, ratio.numerator, ratio.denominator, numerator, denominator,
                      ratio=True)
            )
        majoriser = self._convex + sum(term.majoriser for term in self._terms)
        self._problem = cp.Problem(cp.Minimize(majoriser), whole)
        if not self._problem.is_dcp():
            raise DataError("FractionalProgram: convex part or constraints are not convex by CVXPY's rules")
        # the caller's, without ours: auxiliaries and what stands for a factor
        objective = [self._convex, *(part for term in self._terms for part in (term.first, term.second))]
        self._started = _unique(one for part in objective for one in part.variables())
        self._variables = _unique(one for part in (*objective, *constraints) for one in part.variables())
        parts = [*objective, *constraints, *(term.weight for term in self._terms)]
        self._parameters = _unique(one for part in parts for one in part.parameters())

    @property
    def problem(self) -> cp.Problem:
        """The majorised problem; its parameters are set by `minimise`."""
        return self._problem

    def value(self) -> float:
        """The original objective at the present values of the variables; inf where it is not defined."""
        with np.errstate(all="ignore"):
            value = float(self._convex.value) + sum(term.value() for term in self._terms)
        return math.inf if math.isnan(value) else value

    def minimise(
        self,
        start: Mapping[Any, Any],
        *,
        tolerance: float = 1e-6,
        iterations: int = 200,
        on_iteration: Callable[[int, float], object] | None = None,
        seconds_left: Callable[[], float] | None = None,
    ) -> FractionalResult:
        """Iterate from a point until the objective settles.

        Parameters
        ----------
        start : mapping
            Variable -> value, for every variable of the objective. Feasible, if the first entry of the history is to
            mean anything; and inside: from a factor of 0 the iteration hardly moves.
        tolerance : float
            Relative fall of the objective from one iterate to the next below which it has settled.
        iterations : int
            At most this many majorised problems.
        on_iteration : callable, optional
            ``(iteration, objective)``; stops if it returns something true. What it raises passes through.
        seconds_left : callable, optional
            The solver stops when that time is over, what is needed to compile not counted.

        Returns
        -------
        FractionalResult
            The last point, its objective, and why it stopped.

        Raises
        ------
        DataError
            A variable without a start, a parameter without a value, or values that do not fit.
        SolverError
            Not even the first majorised problem could be solved, and the start has no finite objective.
        """
        self._place(start)
        attempts: list[str] = []
        best = self._values()
        history, surrogate = [self.value()], []
        objective, status = math.inf, "iterations"
        for k in range(1, iterations + 1):
            for term in self._terms:
                term.touch()
            ended, least = _solve(self._problem, self._compile_once, attempts, seconds_left or (lambda: math.inf))
            if ended != "solved":
                status = ended if k == 1 or ended == "stopped" else "numerical"
                break
            surrogate.append(least)
            value = self.value()
            history.append(value)
            # the start may be infeasible, so that it neither counts as best nor as settled
            settled = k > 1 and history[-2] - value <= tolerance * abs(value)
            if value < objective:
                objective, best = value, self._values()
            stop = on_iteration is not None and on_iteration(k, value)
            if settled or stop:
                status = "converged" if settled else "stopped"
                break
        if not surrogate:
            objective = {"infeasible": math.inf, "unbounded": -math.inf}.get(status, history[0])
        if not math.isfinite(objective) and status not in ("infeasible", "unbounded"):
            raise SolverError(f"FractionalProgram: no iterate has a finite objective ({'; '.join(attempts) or status})")
        for variable, kept in best.items():
            variable.value = kept
        return FractionalResult(best, objective, tuple(history), tuple(surrogate), status, tuple(attempts))

    def _place(self, start: Mapping[Any, Any]) -> None:
        """Set the variables, and check that nothing is without a value."""
        known = {id(one) for one in self._variables}
        for variable, value in start.items():
            if id(variable) not in known:
                raise DataError(f"minimise: start names {variable}, which is no variable of the program")
            try:
                variable.value = np.asarray(value, dtype=np.float64)
            except ValueError as error:
                raise DataError(f"minimise: start of variable {variable.name()}: {error}") from None
        given = {id(one) for one in start}
        for variable in self._started:
            if id(variable) not in given:
                raise DataError(f"minimise: start has no value for variable {variable.name()}{variable.shape}")
        for parameter in self._parameters:
            if parameter.value is None:
                raise DataError(f"minimise: parameter {parameter.name()}{parameter.shape} has no value")

    def _values(self) -> dict[Any, FloatArray]:
        return {one: np.array(one.value) for one in self._variables if one.value is not None}


class _Term:
    """One product or ratio: its auxiliaries as parameters, and the majoriser with them."""

    def __init__(
        self, name: str, weight: Any, first: Any, second: Any, left: Any, right: Any, *, ratio: bool
    ) -> None:
        import cvxpy as cp

        self.name, self.ratio = name, ratio
        self.weight, self.first, self.second = _constant(weight), _constant(first), _constant(second)
        if self.weight.variables():
            raise DataError(f"FractionalProgram: {name}.weight holds variables; it must be numbers or a parameter")
        shapes = left.shape, right.shape, self.weight.shape
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise DataError(f"FractionalProgram: {name} has factors and weight of shapes {shapes}, which do not "
                            "broadcast") from None
        self.on_first = cp.Parameter(shape, nonneg=True)
        self.on_second = cp.Parameter(shape, nonneg=True)
        power = cp.power(right, -2) if ratio else cp.square(right)
        majorisers = cp.multiply(self.on_first, cp.square(left)), cp.multiply(self.on_second, power)
        self.majoriser = cp.sum(majorisers[0]) + cp.sum(majorisers[1])
        if not self.weight.parameters():
            self._weights()

    def value(self) -> float:
        """The original term at the present values."""
        first, second = np.asarray(self.first.value), np.asarray(self.second.value)
        entries = np.where(second > 0.0, first / second, np.inf) if self.ratio else first * second
        weight = self._weights()
        weighted = np.where(weight > 0.0, weight * entries, 0.0)
        return float(np.broadcast_to(weighted, self.on_first.shape).sum())

    def touch(self) -> None:
        """Set the auxiliaries so that the majoriser touches the term at the present values."""
        with np.errstate(all="ignore"):
            first = _floored(np.asarray(self.first.value, dtype=np.float64))
            second = _floored(np.asarray(self.second.value, dtype=np.float64))
        # z = b/(2a), or v = 1/(2 c r)
        auxiliary = 1.0 / (2.0 * first * second) if self.ratio else second / (2.0 * first)
        weight = np.broadcast_to(self._weights(), self.on_first.shape)
        self.on_first.value = weight * auxiliary
        self.on_second.value = weight / (4.0 * auxiliary)

    def _weights(self) -> FloatArray:
        weight = np.asarray(self.weight.value, dtype=np.float64)
        if not (np.isfinite(weight).all() and (weight >= 0.0).all()):
            raise DataError(f"FractionalProgram: {self.name}.weight must be finite and >= 0")
        return weight


def _unique(many: Iterable[Any]) -> list[Any]:
    return list({id(one): one for one in many}.values())


def _floored(value: FloatArray) -> FloatArray:
    value = np.nan_to_num(value, nan=1.0, posinf=1.0 / _FLOOR)
    return np.maximum(value, _FLOOR * max(float(np.max(value, initial=0.0)), _FLOOR))


def _constant(expression: Any) -> Any:
    import cvxpy as cp

    return cp.Expression.cast_to_const(expression)


def _checked(expression: Any, name: str, shape: str, constraints: list[Any]) -> Any:
    """The factor as a parameter-free expression: itself, or a variable that its curvature lets stand for it."""
    import cvxpy as cp

    expression = _constant(expression)
    right = expression.is_convex() if shape == "convex" else expression.is_concave()
    if not right:
        raise DataError(f"FractionalProgram: {name} is not {shape} by CVXPY's rules: {expression}")
    if shape == "convex" and not expression.is_nonneg():
        raise DataError(f"FractionalProgram: {name} is not known to be nonnegative; write it so that its sign is seen "
                        "(nonneg variables, cp.pos)")
    if not expression.parameters() and (shape == "convex" or expression.is_affine()):
        return expression
    # a product with an auxiliary parameter may hold no further parameter
    bound = cp.Variable(expression.shape, nonneg=True)
    constraints.append(bound >= expression if shape == "convex" else bound <= expression)
    return bound


def _solve(
    problem: cp.Problem, compile_once: bool, attempts: list[str], seconds_left: Callable[[], float]
) -> tuple[str, float]:
    """"solved", "infeasible", "unbounded", "stopped" or "numerical", and the optimal value."""
    import cvxpy as cp

    for solver, fixed in _SOLVERS:
        left = seconds_left()
        if left <= 0.0:
            return "stopped", math.nan
        options = fixed if left == math.inf else {**fixed, _TIME_LIMIT[solver]: left}
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                # an inaccurate majoriser still majorises: what counts is the original objective of its solution
                warnings.simplefilter("ignore")
                problem.solve(solver=solver, ignore_dpp=not compile_once, **options)
                value = problem.value
        except cp.SolverError as error:
            attempts.append(f"{solver}: {error}".splitlines()[0])
            continue
        if problem.status == cp.OPTIMAL:
            return "solved", float(value)
        if problem.status == cp.USER_LIMIT and seconds_left() <= 0.0:
            break
        attempts.append(f"{solver}: {problem.status}")
        if problem.status == cp.OPTIMAL_INACCURATE:
            return "solved", float(value)
        # a first-order method's certificates are not to be believed where the others failed
        if problem.status in (cp.INFEASIBLE, cp.UNBOUNDED) and solver != "SCS":
            return problem.status, float(value)
    return "stopped" if seconds_left() <= 0.0 else "numerical", math.nan
