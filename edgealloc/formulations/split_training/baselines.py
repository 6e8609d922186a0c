"""Baselines: an association, a cut and a resource rule each; a further one is one line of `BASELINES`.

The rules are those of Liu & Zhao (arXiv 2409.20247, section 6). They prove nothing: the bound is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.rules import (
    best_cut,
    best_rate,
    can_split,
    largest_cut,
    random_server,
    smallest_cut,
)
from edgealloc.formulations.split_training.shares import best_power_w, equal_allocation, optimal

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "ASSOCIATION_RULES",
    "BASELINES",
    "CUT_RULES",
    "RESOURCE_RULES",
    "Baseline",
    "best_power_w",
    "can_split",
    "edge_only",
    "equal_allocation",
    "greedy",
    "local_only",
    "random",
    "run_baseline",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Baseline:
    """One baseline: the names of its three rules in the tables at the end of this module.

    Attributes
    ----------
    association : str
        Which server a user is put on: a key of `ASSOCIATION_RULES`.
    cut : str
        How many layers stay on the device: a key of `CUT_RULES`.
    resources : str
        How bandwidth, clocks and power are set: a key of `RESOURCE_RULES`.
    """

    association: str
    cut: str
    resources: str


#: name -> (problem, run) -> server (N,); the entries of users without a link mean nothing.
ASSOCIATION_RULES: Final[dict[str, Callable[[SplitTraining, Run], IntArray]]] = {
    "best-rate": best_rate,
    "random": random_server,
}
#: name -> (problem, server, users that can be split) -> cut (N,), `layers` for fully local.
CUT_RULES: Final[dict[str, Callable[[SplitTraining, IntArray, BoolArray], IntArray]]] = {
    "smallest": smallest_cut,
    "largest": largest_cut,
    "best": best_cut,
}
#: name -> (problem, server, cut) -> allocation.
RESOURCE_RULES: Final[dict[str, Callable[[SplitTraining, IntArray, IntArray], Allocation]]] = {
    "equal": equal_allocation,
    "optimal": optimal,
}
#: name -> its three rules.
BASELINES: Final[dict[str, Baseline]] = {
    "edge-only": Baseline("best-rate", "smallest", "optimal"),
    "local-only": Baseline("best-rate", "largest", "optimal"),
    "greedy": Baseline("best-rate", "best", "equal"),
    "random": Baseline("random", "best", "equal"),
}


def run_baseline(name: str, problem: SplitTraining, run: Run) -> Outcome:
    """Apply the three rules of a baseline of the table one after the other.

    Users that no server hears, or that have no cut left below `layers`, train fully locally whatever the
    rules; that this is allowed is known, because an infeasible problem never gets here.
    """
    rules = BASELINES[name]
    split = can_split(problem)
    server = ASSOCIATION_RULES[rules.association](problem, run)
    local_layers = CUT_RULES[rules.cut](problem, server, split)
    allocation = RESOURCE_RULES[rules.resources](problem, server, local_layers)
    run.report(name, objective=problem.evaluate(allocation).objective)
    return Outcome(allocation=allocation)


def edge_only(problem: SplitTraining, run: Run) -> Outcome:
    """Smallest allowed cut on the server of best rate, resources optimised."""
    return run_baseline("edge-only", problem, run)


def local_only(problem: SplitTraining, run: Run) -> Outcome:
    """Fully local where allowed, else the largest cut on the server of best rate, resources optimised."""
    return run_baseline("local-only", problem, run)


def greedy(problem: SplitTraining, run: Run) -> Outcome:
    """Server of best rate, best cut, equal shares."""
    return run_baseline("greedy", problem, run)


def random(problem: SplitTraining, run: Run) -> Outcome:
    """Random server, best cut, equal shares."""
    return run_baseline("random", problem, run)
