"""Method "exact": every rollout, by branch and bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.errors import DataError
from edgealloc.formulations.deployment.agents import DeviceChoices
from edgealloc.formulations.deployment.certified import Rounds, outcome
from edgealloc.solvers.choices import Choices, ChoicesAnswer, search_choices, warm_up
from edgealloc.solvers.choices.state import Judge

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["MOST_OPTIONS", "run"]

IntArray = npt.NDArray[np.int64]
#: More options than this are refused: the search would not end.
MOST_OPTIONS: Final = 100_000


def run(problem: Deployment, run: Run) -> Outcome:
    """The best rollout by branch and bound, queues by levels. Time limit and Ctrl-C return the best so far.

    Raises
    ------
    DataError
        There are more than `MOST_OPTIONS` options.
    """
    devices = DeviceChoices(problem)
    count = devices.choices.options
    if count > MOST_OPTIONS:
        raise DataError(f"method 'exact' would have to search {count} options; it takes up to {MOST_OPTIONS}. Use "
                        "'certified', which proves its gap")
    warm_up(run)
    return outcome(devices, Rounds(devices, run, _search).solve(None), [])


def _search(choices: Choices, run: Run, judge: Judge, start: IntArray | None, highs: bool) -> ChoicesAnswer:
    del judge, start, highs  # the search looks at everything anyway
    return search_choices(choices, run)
