r"""Cone programs of method "convex": solver calls with fallbacks, and the cones of an upload.

The upload of a user with bandwidth b at the natural rate R = b x, x = log(1 + g p / (N0 b)), takes 1/R per nat
and radiates :math:`\max(k_2 (e^x - 1)/x,\; k_3/R)`, in the variables b, v <= log b, rho = log R and
x >= exp(rho - v), with R <= b log(1 + P/b), P = p_max g / N0. (e^x - 1)/x, the integral of e^{xt} over [0, 1], has no
finite form in exponential cones; Gauss-Legendre nodes bound it from below to 1e-11. The power floor is the maximum:
below it more rate costs no more power.

Every user is scaled by its own reference point, and the exponential cones are shifted by it: unscaled, cone
solvers fail from a hundred users on. Signals far below the noise make the cone of the power limit
degenerate; there ``b log(1 + P/b)`` is written as an integral of 1/(b + t P), again by Gauss-Legendre nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["SOLVERS", "FailedError", "InfeasibleError", "Log", "Uploads", "cone_solve", "upload_cones"]

FloatArray = npt.NDArray[np.float64]

#: Nodes of the two quadratures: enough for 1e-11 at x <= 50, and for 1e-12 at signal/noise <= 3.
PHI_NODES: Final = 20
RATE_NODES: Final = 14

#: (label, solver, options), tried in this order; everything after the first is recorded in `attempts`.
_TIGHT: Final = {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9}
SOLVERS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("Clarabel", "CLARABEL", _TIGHT),
    ("Clarabel without equilibration", "CLARABEL", {**_TIGHT, "equilibrate_enable": False}),
    ("Clarabel with max_step_fraction=0.9", "CLARABEL", {"max_step_fraction": 0.9}),
    ("Clarabel at 1e-7", "CLARABEL", {"max_step_fraction": 0.9, "tol_gap_abs": 1e-7, "tol_gap_rel": 1e-7}),
    ("SCS", "SCS", {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 50_000}),
)


class FailedError(Exception):
    """No solver brought one of the small problems to its optimum; the text says what each answered."""


class InfeasibleError(Exception):
    """A solver has a certificate that nothing satisfies the constraints, to its tolerance."""


@dataclass
class Log:
    """Which problems the first solver finished, and every deviation from that."""

    done: dict[str, int]
    deviations: list[str]

    def lines(self) -> tuple[str, ...]:
        solved = tuple(f"{what}: {count} x {SOLVERS[0][0]} optimal" for what, count in self.done.items())
        return solved + tuple(self.deviations)


def _nodes(count: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    t, w = np.polynomial.legendre.leggauss(count)
    return (t + 1.0) / 2.0, w / 2.0


def cone_solve(objective: Any, constraints: list[Any], what: str, log: Log) -> bool:
    """Minimise by the first of `SOLVERS` that ends with an optimum, which the variables then hold; was it the first?"""
    import warnings

    import cvxpy as cp

    problem = cp.Problem(cp.Minimize(objective), constraints)
    answers: list[str] = []
    for label, solver, options in SOLVERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "may be inaccurate" is in the status
                # a warm start would be Clarabel's own object with the options of the attempt before
                problem.solve(solver=solver, warm_start=False, **options)
            answer = str(problem.status)
        except cp.error.SolverError as error:
            answer = str(error).split(".", maxsplit=1)[0]
        answers.append(f"{label} {answer}")
        if answer == cp.INFEASIBLE:
            raise InfeasibleError(f"{what}: {'; '.join(answers)}")
        if answer == cp.OPTIMAL:
            kind = what.split(" of ", maxsplit=1)[0]
            if len(answers) > 1:
                log.deviations.append(f"{what}: {'; '.join(answers)}")
            else:
                log.done[kind] = log.done.get(kind, 0) + 1
            return len(answers) == 1
    raise FailedError(f"{what}: {'; '.join(answers)}")


@dataclass(frozen=True)
class Uploads:
    """Coefficients (K,) of some uploads."""

    k2: FloatArray  # a_e s ln2 N0 / g, objective
    k3: FloatArray  # a_e p_min s ln2, objective x natural rate
    cap_hz: FloatArray  # P = p_max g / N0


def upload_cones(uploads: Uploads, b0: FloatArray, r0: FloatArray, total: float) -> tuple[Any, Any, Any, list[Any]]:
    """Cones around a reference point: variables b/b0, log(R/R0) and radiated energy (objective/total), constraints."""
    import cvxpy as cp

    count, constraints = b0.size, []
    x0, snr = r0 / b0, uploads.cap_hz / b0
    beta = cp.Variable(count, pos=True)  # b / b0
    rho, rate, energy = cp.Variable(count), cp.Variable(count), cp.Variable(count)  # log(R / R0), R / R0
    constraints.append(cp.exp(rho) <= rate)
    # Where k2 (e^x - 1)/x cannot move the total by 1e-9, x would be a variable that nothing holds in place.
    flat = uploads.k2 * np.expm1(x0) < 1e-9 * total
    if flat.any():
        constraints.append(energy[flat] >= (uploads.k2 * np.expm1(x0) / x0 / total)[flat])
    bent = np.flatnonzero(~flat)
    if bent.size:
        nu, xi = cp.Variable(bent.size), cp.Variable(bent.size)  # v = log(b / b0) or less, x / x0
        t, w = _nodes(PHI_NODES)
        exponent = x0[bent, None] * t[None, :]
        log_weight = np.log(uploads.k2[bent] / total)[:, None] + np.log(w)[None, :] + exponent
        spread = cp.reshape(xi - 1.0, (bent.size, 1), order="C") @ np.ones((1, t.size))
        terms = cp.exp(cp.multiply(exponent, spread) + log_weight)
        constraints += [nu <= cp.log(beta[bent]), cp.exp(rho[bent] - nu) <= xi]
        constraints.append(cp.sum(terms, axis=1) <= energy[bent])
    floored = np.flatnonzero(uploads.k3 > 0.0)
    if floored.size:
        constraints.append(cp.exp(np.log((uploads.k3 / r0)[floored] / total) - rho[floored]) <= energy[floored])
    loud, quiet = np.flatnonzero(snr > 1.0), np.flatnonzero(snr <= 1.0)
    if loud.size:
        shift = np.log1p(snr[loud])
        small = np.exp(-shift)
        constraints.append(
            cp.ExpCone(
                cp.multiply(x0[loud], rate[loud]) - cp.multiply(shift, beta[loud]),
                beta[loud],
                snr[loud] * small + cp.multiply(small, beta[loud]),
            )
        )
    if quiet.size:
        t, w = _nodes(RATE_NODES)
        column = cp.reshape(beta[quiet], (quiet.size, 1), order="C") @ np.ones((1, t.size))
        load = snr[quiet, None] * t[None, :]
        lost = cp.sum(cp.multiply(load * w[None, :], cp.inv_pos(column + load)), axis=1)
        constraints.append(rate[quiet] <= cp.multiply(uploads.cap_hz[quiet] / r0[quiet], 1.0 - lost))
    return beta, rho, energy, constraints
