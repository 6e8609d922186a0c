"""Method "exact": every assignment, by branch and bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.errors import DataError
from edgealloc.formulations.fine_tuning.agents import JobChoices
from edgealloc.formulations.fine_tuning.certified import outcome
from edgealloc.solvers.choices import search_choices, warm_up

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["MOST_OPTIONS", "run"]

#: More options than this are refused: the search would not end.
MOST_OPTIONS: Final = 100_000


def run(problem: FineTuning, run: Run) -> Outcome:
    """The best assignment by branch and bound. Time limit and Ctrl-C return the best so far, with its gap.

    Raises
    ------
    DataError
        There are more than `MOST_OPTIONS` options.
    """
    count = int(problem.options.allowed.sum())
    if count > MOST_OPTIONS:
        raise DataError(f"method 'exact' would have to search {count} options; it takes up to {MOST_OPTIONS}. Use "
                        "'certified', which proves its gap")
    warm_up(run)
    jobs = JobChoices(problem)
    return outcome(jobs, search_choices(jobs.choices, run), [])
