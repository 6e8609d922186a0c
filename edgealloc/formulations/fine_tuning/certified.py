"""Method "certified": the engine of choices, with jobs as agents and the servers' limits as capacities.

`solvers.choices` says what is done; its bounds hold for every assignment that keeps the limits to the tolerance with
which answers are checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run
from edgealloc.formulations.fine_tuning.agents import JobChoices
from edgealloc.formulations.fine_tuning.feasibility import shortage
from edgealloc.solvers.choices import ChoicesAnswer, solve_choices, warm_up

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["outcome", "run"]


def run(problem: FineTuning, run: Run) -> Outcome:
    """The best assignment to within the gap, with a proof. Time limit and Ctrl-C return the best so far."""
    attempts: list[str] = []
    warm_up(run)
    jobs = JobChoices(problem)
    answer = solve_choices(jobs.choices, run, start=_start(jobs, run, attempts))
    return outcome(jobs, answer, attempts)


def _start(jobs: JobChoices, run: Run, attempts: list[str]) -> npt.NDArray[np.int64] | None:
    """The caller's assignment as a choice, unless it breaks a limit."""
    if run.warm_start is None:
        return None
    if jobs.problem.relative_violation(run.warm_start) > FEASIBILITY_TOLERANCE:
        attempts.append("warm start violates a limit and was not used")
        return None
    return jobs.choice(run.warm_start)


def outcome(jobs: JobChoices, answer: ChoicesAnswer, attempts: list[str]) -> Outcome:
    """What an answer of the engine means for the jobs; a proof that they do not fit together comes with a repair."""
    lines = (*attempts, *answer.attempts)
    if answer.infeasible:
        assert answer.nearest is not None
        diagnosis = shortage(jobs.problem, jobs.assignment(answer.nearest))
        return Outcome(diagnosis=diagnosis, termination=answer.termination, attempts=lines)
    proven = np.isfinite(answer.bound)
    return Outcome(
        None if answer.choice is None else jobs.assignment(answer.choice),
        bound=answer.bound if proven else None, termination=answer.termination,
        bound_prices=jobs.prices(answer.prices) if proven and answer.prices is not None else {}, attempts=lines,
    )
