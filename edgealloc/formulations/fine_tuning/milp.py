"""Method "milp": job x method x place as one MILP, written with PuLP and solved by HiGHS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.formulations.fine_tuning.agents import JobChoices
from edgealloc.formulations.fine_tuning.certified import outcome
from edgealloc.solvers.choices import milp_choices, warm_up

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["run"]


def run(problem: FineTuning, run: Run) -> Outcome:
    """The whole model, without prices of ours: a check on the other methods.

    Options that another one of the same job makes needless are left out. HiGHS's own bound is reported, with what its
    tolerances leave open taken off.
    """
    warm_up(run)
    jobs = JobChoices(problem)
    return outcome(jobs, milp_choices(jobs.choices, run), [])
