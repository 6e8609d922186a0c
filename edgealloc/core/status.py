"""How a run ended, at two levels: what is known about the answer, and why the method stopped."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Status", "Termination"]


class Status(StrEnum):
    """What is known about the answer."""

    OPTIMAL = "optimal"  #: feasible, and the gap to the proven bound is within the one asked for
    LOCALLY_SOLVED = "locally_solved"  #: an iterative method converged; nothing is proven
    FEASIBLE = "feasible"  #: violates nothing; see `gap` for what is proven
    INFEASIBLE = "infeasible"  #: proven: no allocation exists; see `diagnosis`
    UNBOUNDED = "unbounded"  #: proven: the objective has no lower bound
    NO_SOLUTION = "no_solution"  #: the method found nothing, and nothing is proven


class Termination(StrEnum):
    """Why the method stopped."""

    GAP = "gap"  #: the asked gap is proven
    STAGES_EXHAUSTED = "stages_exhausted"  #: everything the method knows was tried
    CONVERGED = "converged"  #: an iteration settled, or a rule was applied
    ITERATIONS = "iterations"  #: iteration limit
    TIME_LIMIT = "time_limit"
    INTERRUPTED = "interrupted"  #: Ctrl-C; the best allocation so far is returned
    NUMERICAL = "numerical"  #: a numerical failure; see `attempts`
