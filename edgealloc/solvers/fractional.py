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

import warnings
from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True)
class Product:
    """sum over entries of weight * first * second, both convex and >= 0; weight >= 0, numbers or a parameter."""

    first: Any
    second: Any
    weight: Any = 1.0


@dataclass(frozen=True)
class Ratio:
    """sum over entries of weight * numerator / denominator: convex >= 0 over concave > 0; weight >= 0."""

    numerator: Any
    denominator: Any
    weight: Any = 1.0


@dataclass(frozen=True)
class FractionalResult:
    """Where the iteration ended.

    Attributes
    ----------
    values : mapping
        Variable -> value (a copy), of the best iterate.
    objective : float
        The original objective there.
    history : tuple of float
        The original objective at the start and after every iteration: it never rises beyond the solver's tolerance.
    surrogate : tuple of float
        Optimal values of the majorised problems; the original objective of an iterate is never above.
    status : {"converged", "iterations", "numerical"}
        "numerical": a majorised problem could not be solved; what came before is kept.
    attempts : tuple of str
        Solver failures, if any.
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
        The convex part.
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
        A term that is not convex, concave or nonnegative as it must be.

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

        self._convex = cp.sum(cp.vec(cp.Expression.cast_to_const(convex), order="F"))
        self._terms: list[_Term] = []
        self._compile_once = compile_once
        whole = list(constraints)
        for i, product in enumerate(products):
            first = _checked(product.first, f"products[{i}].first", "convex", whole)
            second = _checked(product.second, f"products[{i}].second", "convex", whole)
            self._terms.append(_Term(product.weight, product.first, product.second, first, second, ratio=False))
        for i, ratio in enumerate(ratios):
            numerator = _checked(ratio.numerator, f"ratios[{i}].numerator", "convex", whole)
            denominator = _checked(ratio.denominator, f"ratios[{i}].denominator", "concave", whole)
            self._terms.append(
                _Term(ratio.weight, ratio.numerator, ratio.denominator, numerator, denominator, ratio=True)
            )
        majoriser = self._convex + sum(term.majoriser for term in self._terms)
        self._problem = cp.Problem(cp.Minimize(majoriser), whole)
        if not self._problem.is_dcp():
            raise DataError("FractionalProgram: convex part or constraints are not convex by CVXPY's rules")

    @property
    def problem(self) -> cp.Problem:
        """The majorised problem; its parameters are set by `minimise`."""
        return self._problem

    def value(self) -> float:
        """The original objective at the present values of the variables."""
        return float(self._convex.value) + sum(term.value() for term in self._terms)

    def minimise(
        self,
        start: Mapping[Any, Any],
        *,
        tolerance: float = 1e-6,
        iterations: int = 200,
        on_iteration: Callable[[int, float], None] | None = None,
    ) -> FractionalResult:
        """Iterate from a point until the objective settles.

        Parameters
        ----------
        start : mapping
            Variable -> value. Feasible, if the first entry of the history is to mean anything.
        tolerance : float
            Relative fall of the objective within one iteration below which it has settled.
        iterations : int
            At most this many majorised problems.
        on_iteration : callable, optional
            ``(iteration, objective)``; what it raises passes through.

        Raises
        ------
        SolverError
            Not even the first majorised problem could be solved, and the start has no finite objective.
        """
        for variable, value in start.items():
            variable.value = np.asarray(value, dtype=np.float64)
        variables = [one for one in self._problem.variables() if one in start]
        attempts: list[str] = []
        best = {one: np.array(one.value) for one in variables}
        objective = self.value()
        history, surrogate = [objective], []
        status = "iterations"
        for k in range(1, iterations + 1):
            for term in self._terms:
                term.touch()
            if not _solve(self._problem, self._compile_once, attempts):
                status = "numerical"
                break
            surrogate.append(float(self._problem.value))
            value = self.value()
            history.append(value)
            if on_iteration is not None:
                on_iteration(k, value)
            before, objective = objective, min(objective, value)
            if value <= objective or k == 1:
                best = {one: np.array(one.value) for one in variables}
            if before - value <= tolerance * abs(value):
                status = "converged"
                break
        if not np.isfinite(objective):
            raise SolverError(f"FractionalProgram: no iterate has a finite objective ({'; '.join(attempts) or status})")
        for variable, value in best.items():
            variable.value = value
        return FractionalResult(best, objective, tuple(history), tuple(surrogate), status, tuple(attempts))


class _Term:
    """One product or ratio: its auxiliaries as parameters, and the majoriser with them."""

    def __init__(self, weight: Any, first: Any, second: Any, left: Any, right: Any, *, ratio: bool) -> None:
        import cvxpy as cp

        self.weight, self.first, self.second, self.ratio = weight, _constant(first), _constant(second), ratio
        shape = np.broadcast_shapes(left.shape, right.shape)
        self.on_first = cp.Parameter(shape, nonneg=True)
        self.on_second = cp.Parameter(shape, nonneg=True)
        power = cp.power(right, -2) if ratio else cp.square(right)
        majorisers = cp.multiply(self.on_first, cp.square(left)), cp.multiply(self.on_second, power)
        self.majoriser = cp.sum(majorisers[0]) + cp.sum(majorisers[1])

    def value(self) -> float:
        """The original term at the present values."""
        first, second = np.asarray(self.first.value), np.asarray(self.second.value)
        with np.errstate(divide="ignore", invalid="ignore"):
            entries = first / second if self.ratio else first * second
        weighted = np.where(_numbers(self.weight) > 0.0, _numbers(self.weight) * entries, 0.0)
        return float(np.broadcast_to(weighted, self.on_first.shape).sum())

    def touch(self) -> None:
        """Set the auxiliaries so that the majoriser touches the term at the present values."""
        first = _floored(np.asarray(self.first.value, dtype=np.float64))
        second = _floored(np.asarray(self.second.value, dtype=np.float64))
        # z = b/(2a), or v = 1/(2 c r)
        auxiliary = 1.0 / (2.0 * first * second) if self.ratio else second / (2.0 * first)
        weight = np.broadcast_to(_numbers(self.weight), self.on_first.shape)
        self.on_first.value = weight * auxiliary
        self.on_second.value = weight / (4.0 * auxiliary)


def _numbers(weight: Any) -> FloatArray:
    return np.asarray(getattr(weight, "value", weight), dtype=np.float64)


def _floored(value: FloatArray) -> FloatArray:
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


def _solve(problem: cp.Problem, compile_once: bool, attempts: list[str]) -> bool:
    import cvxpy as cp

    for solver, options in _SOLVERS:
        try:
            with warnings.catch_warnings():
                # an inaccurate majoriser still majorises: what counts is the original objective of its solution
                warnings.simplefilter("ignore", UserWarning)
                problem.solve(solver=solver, ignore_dpp=not compile_once, **options)
        except cp.SolverError as error:
            attempts.append(f"{solver}: {error}".splitlines()[0])
            continue
        if problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            return True
        attempts.append(f"{solver}: {problem.status}")
        if problem.status in (cp.INFEASIBLE, cp.UNBOUNDED):
            return False
    return False
