r"""Linear programs over binaries by an exact penalty and the convex-concave procedure, from several starts.

.. math::

    \min_x\; c^\top x + \rho \sum_i x_i (1 - x_i) \quad \text{s.t.}\quad l \le A x \le u,\; 0 \le x \le \bar{x} \le 1.

For rho large enough the penalty is exact: minimisers are binary. It is concave, so replacing it by its tangent at the
last iterate, :math:`\rho (1 - 2 x^k)^\top x`, majorises it; each iteration is a linear program, and the penalised
objective never rises while rho stays. Vertices of the polytope need not be binary where A couples them, so the
procedure can end at a fractional point: rho is doubled, then fractional entries are fixed one by one, the largest first
at 1 (a dive), and other starts are tried. An answer is only given if it is binary and keeps every row when checked
again. Nothing is proven about its optimality.

Yuille & Rangarajan, "The concave-convex procedure", Neural Computation 15 (2003); as Liu & Zhao (arXiv 2409.20247,
section 5) use it for their association. Their first penalty divides by sum x (1 - x), which is 0 at binary points;
here it starts from the spread of the costs. They are scaled to 1 for the solver, whose tolerances are absolute.

Examples
--------
Three jobs, two machines of room 1.1 for jobs of size 0.6, 0.5 and 0.4: cheapest assignment that fits.

>>> import numpy as np
>>> cost = np.array([1.0, 3.0, 1.0, 2.0, 5.0, 2.0])      # job 0 on machines 0 and 1, job 1, job 2
>>> one_machine = np.kron(np.eye(3), np.ones(2))
>>> room = np.array([[0.6, 0, 0.5, 0, 0.4, 0], [0, 0.6, 0, 0.5, 0, 0.4]])
>>> program = BinaryProgram(cost, np.vstack([one_machine, room]), [1, 1, 1, 0, 0], [1, 1, 1, 1.1, 1.1])
>>> found = minimise_binaries(program)
>>> found.x.tolist(), found.objective
([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], 4.0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, SolverError

__all__ = ["BinaryProgram", "CccpResult", "minimise_binaries"]

FloatArray = npt.NDArray[np.float64]

#: How far from 0 and 1 an entry may be, and how far beyond its bounds a row, for an answer to count.
INTEGRALITY: Final = 1e-6
ROW_TOLERANCE: Final = 1e-7
#: rho starts at this share of the spread of the costs, and is doubled so many times at most.
_FIRST_PENALTY: Final = 0.05
_DOUBLINGS: Final = 12


@dataclass(frozen=True, eq=False)
class BinaryProgram:
    """min cost @ x over binary x with lower <= matrix @ x <= upper.

    Parameters
    ----------
    cost : (K,)
    matrix : (R, K)
        Dense or a SciPy sparse matrix.
    lower, upper : (R,)
        -inf and inf where there is none.
    top : (K,) optional
        Upper bounds 0 or 1 of the entries: 0 forbids one. 1 by default.

    Raises
    ------
    DataError
        Shapes that do not fit, costs that are not finite, crossed bounds.
    """

    cost: Any
    matrix: Any
    lower: Any
    upper: Any
    top: Any = None

    def __post_init__(self) -> None:
        from scipy import sparse

        cost = np.array(self.cost, dtype=np.float64)
        matrix = sparse.csr_array(self.matrix, dtype=np.float64)
        lower, upper = (np.array(one, dtype=np.float64) for one in (self.lower, self.upper))
        top = np.ones(cost.shape) if self.top is None else np.array(self.top, dtype=np.float64)
        faults = []
        if cost.ndim != 1 or not cost.size or not np.isfinite(cost).all():
            faults.append(Fault("cost", "must be one finite number per entry"))
        if matrix.shape != (lower.size, cost.size) or upper.shape != lower.shape or lower.ndim != 1:
            faults.append(
                Fault("matrix", f"has shape {matrix.shape} with {lower.size} lower and {upper.size} upper bounds; it "
                      f"must be (rows, {cost.size})")
            )
        elif (
            not np.isfinite(matrix.data).all() or not (lower <= upper).all() or np.isposinf(lower).any()
            or np.isneginf(upper).any()
        ):
            faults.append(Fault("lower, upper", "are crossed or hold numbers that are none"))
        if top.shape != cost.shape or not np.isin(top, (0.0, 1.0)).all():
            faults.append(Fault("top", "must be 0 or 1 for every entry"))
        if faults:
            raise DataError(faults, "BinaryProgram")
        for name, value in {"cost": cost, "matrix": matrix, "lower": lower, "upper": upper, "top": top}.items():
            object.__setattr__(self, name, value)

    def holds(self, x: FloatArray) -> bool:
        """Whether x is binary, within its bounds, and keeps every row, to tolerances."""
        row = self.matrix @ x
        scale = np.maximum(1.0, abs(self.matrix) @ np.abs(x))
        return bool(
            (np.abs(x - np.round(x)) <= INTEGRALITY).all()
            and (x <= self.top + INTEGRALITY).all()
            and (x >= -INTEGRALITY).all()
            and (row >= self.lower - ROW_TOLERANCE * scale).all()
            and (row <= self.upper + ROW_TOLERANCE * scale).all()
        )


@dataclass(frozen=True, eq=False)
class CccpResult:
    """What the starts led to.

    Attributes
    ----------
    x : (K,) or None
        The best binary point that keeps every row; None if no start led to one.
    objective : float
        cost @ x; inf without one.
    starts : tuple of str
        Per start: "integral" (by the penalty alone), "dived", "fractional", or "infeasible" (the linear relaxation
        already is: a proof).
    history : tuple of tuple of (float, float)
        Per start: (rho, penalised objective) after every linear program; never rising while rho stays.
    programs : int
        Linear programs solved.
    """

    x: FloatArray | None
    objective: float
    starts: tuple[str, ...]
    history: tuple[tuple[tuple[float, float], ...], ...] = field(repr=False)
    programs: int


def minimise_binaries(
    program: BinaryProgram,
    *,
    starts: int = 4,
    start: Any = None,
    seed: int = 0,
    iterations: int = 50,
    check: Callable[[], None] | None = None,
) -> CccpResult:
    """Run the procedure from several starts and keep the best binary point.

    Parameters
    ----------
    program : BinaryProgram
    starts : int
        How many: first `start` or the centre of the box, then points uniform in it.
    start : (K,) optional
        In [0, 1]; a binary point that keeps the rows mostly leads back to itself.
    seed : int
        Of the random starts.
    iterations : int
        Linear programs per start and penalty, at most.
    check : callable, optional
        Called before every linear program; what it raises passes through.

    Returns
    -------
    CccpResult
        The best binary point, or none, with the history of all starts.

    Raises
    ------
    DataError
        A start of another shape, or outside [0, 1].
    SolverError
        The linear-programming solver failed.
    """
    size = program.cost.size
    if start is not None:
        start = np.array(start, dtype=np.float64)
        if start.shape != (size,) or not ((start >= 0.0) & (start <= 1.0)).all():
            raise DataError(f"minimise_binaries: start must hold {size} numbers in [0, 1]")
    relaxation = _Relaxation(program)
    free = program.cost[program.top > 0.0]
    spread = float(np.ptp(free)) if free.size else 0.0
    # costs that are all the same leave the penalty alone: any will do
    first = _FIRST_PENALTY * (spread if spread > 1e-9 * relaxation.unit else relaxation.unit)
    random = np.random.default_rng(seed)
    best: FloatArray | None = None
    least, ends, histories = np.inf, [], []
    for k in range(max(starts, 1)):
        x = random.random(size) if k else np.full(size, 0.5) if start is None else start
        end, history, found = _one_start(program, relaxation, x * program.top, first, iterations, check)
        ends.append(end)
        histories.append(tuple(history))
        if found is not None and program.cost @ found < least:
            best, least = found, float(program.cost @ found)
        if end == "infeasible":
            break
    return CccpResult(best, least, tuple(ends), tuple(histories), relaxation.solved)


def _one_start(
    program: BinaryProgram,
    relaxation: _Relaxation,
    x: FloatArray,
    rho: float,
    iterations: int,
    check: Callable[[], None] | None,
) -> tuple[str, list[tuple[float, float]], FloatArray | None]:
    history: list[tuple[float, float]] = []
    mildest: FloatArray | None = None  # where the smallest penalty ended: still close to what is cheap
    for _ in range(_DOUBLINGS + 1):
        last = np.inf
        for _ in range(iterations):
            if check is not None:
                check()
            after = relaxation.solve(program.cost + rho * (1.0 - 2.0 * x))
            if after is None:
                return "infeasible", history, None
            value = float(program.cost @ after + rho * (after * (1.0 - after)).sum())
            history.append((rho, value))
            x, settled = after, value >= last - 1e-12 * max(abs(value), abs(rho))
            last = value
            if settled:
                break
        whole = _binary(program, x)
        if whole is not None:
            return "integral", history, whole
        mildest = x if mildest is None else mildest
        rho *= 2.0
    found = _dive(program, relaxation, x if mildest is None else mildest, check)
    return "fractional" if found is None else "dived", history, found


def _binary(program: BinaryProgram, x: FloatArray) -> FloatArray | None:
    whole = np.round(x)
    near = np.abs(x - whole).max(initial=0.0) <= INTEGRALITY
    return whole + 0.0 if near and program.holds(whole) else None  # -0 is 0


def _dive(
    program: BinaryProgram, relaxation: _Relaxation, x: FloatArray, check: Callable[[], None] | None
) -> FloatArray | None:
    """Keep the entries that are 1; fix the largest fractional one at 1, or at 0 if that leaves nothing, until none is
    left."""
    low, high = np.where(x >= 1.0 - INTEGRALITY, program.top, 0.0), program.top.copy()
    try:
        for _ in range(x.size):
            fractional = np.flatnonzero(np.abs(x - np.round(x)) > INTEGRALITY)
            if not fractional.size:
                break
            k = fractional[np.argmax(x[fractional])]
            for value in (1.0, 0.0):
                if check is not None:
                    check()
                low[k] = high[k] = value
                relaxation.bound(low, high)
                after = relaxation.solve(program.cost)
                if after is not None:
                    break
            if after is None:
                return None
            x = after
    finally:
        relaxation.bound(np.zeros(x.size), program.top)
    return _binary(program, x)


class _Relaxation:
    """The polytope in HiGHS, loaded once; every solve changes the costs and starts from the last basis.

    Costs are told in units of the largest one of an entry that is not forbidden.
    """

    def __init__(self, program: BinaryProgram) -> None:
        import highspy

        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        highs.setOptionValue("threads", 1)
        columns = program.matrix.tocsc()
        largest = float(np.abs(program.cost[program.top > 0.0]).max(initial=0.0))
        self.unit = largest if largest > 0.0 else 1.0
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = program.cost.size, program.lower.size
        lp.col_cost_ = np.zeros(program.cost.size)
        lp.col_lower_, lp.col_upper_ = np.zeros(program.cost.size), program.top
        lp.row_lower_ = np.where(np.isneginf(program.lower), -highspy.kHighsInf, program.lower)
        lp.row_upper_ = np.where(np.isposinf(program.upper), highspy.kHighsInf, program.upper)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = columns.indptr, columns.indices, columns.data
        if highs.passModel(lp) == highspy.HighsStatus.kError:
            raise SolverError("minimise_binaries: HiGHS refused the program; are its coefficients too large?")
        self._highs, self._top, self.solved = highs, program.top, 0

    def bound(self, low: FloatArray, high: FloatArray) -> None:
        """Change the bounds of the entries."""
        self._highs.changeColsBounds(low.size, np.arange(low.size, dtype=np.int32), low, high)

    def solve(self, cost: FloatArray) -> FloatArray | None:
        """A vertex of least cost, None if there is no point at all."""
        import highspy

        highs = self._highs
        scaled = np.where(self._top > 0.0, cost / self.unit, 0.0)
        highs.changeColsCost(scaled.size, np.arange(scaled.size, dtype=np.int32), scaled)
        self.solved += 1
        for _ in range(2):
            highs.run()
            status = highs.getModelStatus()
            # every entry is bounded, so that nothing is unbounded
            if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
                return None
            if status == highspy.HighsModelStatus.kOptimal:
                break
            highs.clearSolver()  # once more without the last basis
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"minimise_binaries: HiGHS ended with {highs.modelStatusToString(status)}")
        return np.clip(np.array(highs.getSolution().col_value, dtype=np.float64), 0.0, 1.0)
