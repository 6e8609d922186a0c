"""Baselines: an association, a cut and a resource rule each; a further one is one line of `BASELINES`.

The rules are those of Liu & Zhao (arXiv 2409.20247, section 6) and of Qian & Zhao (arXiv 2310.17872), whose acronyms
are expanded from memory: RUCAA and GUCAA are random and greedy user association with average allocation, AAUCO
optimised association with average allocation, GUCRO greedy association with optimised resources; each has its cuts
optimised.
Ranges of random draws are our choice. Baselines prove nothing: the bound is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.formulations.split_training.association import StoppedError, best_single_moves
from edgealloc.formulations.split_training.rules import (
    best_cut,
    best_cut_on_server,
    best_rate,
    can_split,
    largest_cut,
    random_cut,
    random_server,
    smallest_cut,
)
from edgealloc.formulations.split_training.shares import (
    Division,
    best_power_w,
    equal_allocation,
    equal_division,
    hand_out,
    random_division,
)

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "ASSOCIATION_RULES",
    "BASELINES",
    "CUT_RULES",
    "RESOURCE_RULES",
    "Baseline",
    "ResourceRule",
    "aauco",
    "alpha_only",
    "best_power_w",
    "can_split",
    "edge_only",
    "equal_allocation",
    "greedy",
    "gucaa",
    "gucro",
    "local_only",
    "random",
    "resource_only",
    "rucaa",
    "run_baseline",
]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Baseline:
    """One baseline: the names of its three rules in the tables at the end of this module.

    They work in this order: the association, how its servers would be divided, the cut at that division, and the
    resources at that cut.

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


@dataclass(frozen=True)
class ResourceRule:
    """How resources are set.

    Attributes
    ----------
    division : callable
        ``(problem, run) -> Division``: what the cut rule takes for granted.
    allocate : callable
        ``(problem, server, cut, division, run) -> Outcome``: the resources at the cuts that were chosen.
    """

    division: Callable[[SplitTraining, Run], Division]
    allocate: Callable[[SplitTraining, IntArray, IntArray, Division, Run], Outcome]


def _divided(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, division: Division, _run: Run
) -> Outcome:
    return Outcome(allocation=hand_out(problem, server, local_layers, division))


def _optimal(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, _division: Division, run: Run
) -> Outcome:
    from edgealloc.formulations.split_training.resources import optimal_allocation
    from edgealloc.formulations.split_training.stages import warm_up

    warm_up(run)
    on_server = np.where(local_layers < problem.layers, server, -1)
    return Outcome(allocation=optimal_allocation(problem, on_server, local_layers))


def _alternated(
    problem: SplitTraining, server: IntArray, local_layers: IntArray, _division: Division, run: Run
) -> Outcome:
    from edgealloc.formulations.split_training.alternating import cuts_and_resources

    return cuts_and_resources(problem, np.where(local_layers < problem.layers, server, -1), local_layers, run)


# ---- the tables ---------------------------------------------------------------------------------------------

#: name -> (problem, run) -> server (N,), -1 for whoever has to train alone; the entries of users without a link mean
#: nothing.
ASSOCIATION_RULES: Final[dict[str, Callable[[SplitTraining, Run], IntArray]]] = {
    "best-rate": best_rate,
    "random": random_server,
    "optimised": best_single_moves,
}
#: name -> (problem, server, division, run) -> cut (N,), `layers` for fully local.
CUT_RULES: Final[dict[str, Callable[[SplitTraining, IntArray, Division, Run], IntArray]]] = {
    "smallest": smallest_cut,
    "largest": largest_cut,
    "random": random_cut,
    "best": best_cut,
    "best-on-server": best_cut_on_server,
}
#: name -> how a server is divided before cuts are known, and its resources afterwards.
RESOURCE_RULES: Final[dict[str, ResourceRule]] = {
    "equal": ResourceRule(equal_division, _divided),
    "random": ResourceRule(random_division, _divided),
    "optimal": ResourceRule(equal_division, _optimal),
    "alternated": ResourceRule(equal_division, _alternated),
}
#: name -> its three rules.
BASELINES: Final[dict[str, Baseline]] = {
    "edge-only": Baseline("best-rate", "smallest", "optimal"),
    "local-only": Baseline("best-rate", "largest", "optimal"),
    "alpha-only": Baseline("best-rate", "best", "random"),
    "resource-only": Baseline("best-rate", "random", "optimal"),
    "greedy": Baseline("best-rate", "best", "equal"),
    "random": Baseline("random", "best", "equal"),
    "rucaa": Baseline("random", "best", "equal"),
    "gucaa": Baseline("best-rate", "best", "equal"),
    "aauco": Baseline("optimised", "best-on-server", "equal"),
    "gucro": Baseline("best-rate", "best", "alternated"),
}


def run_baseline(name: str, problem: SplitTraining, run: Run) -> Outcome:
    """Apply the three rules of a baseline of the table.

    Users that no server hears, or that have no cut left below `layers`, train fully locally whatever the
    rules; that this is allowed is known, because an infeasible problem never gets here.
    """
    rules = BASELINES[name]
    resources = RESOURCE_RULES[rules.resources]
    stopped = None
    try:
        server = ASSOCIATION_RULES[rules.association](problem, run)
    except StoppedError as early:
        server, stopped = early.server, early.termination
    division = resources.division(problem, run)
    local_layers = CUT_RULES[rules.cut](problem, server, division, run)
    outcome = resources.allocate(problem, server, local_layers, division, run)
    if stopped is not None:
        return replace(outcome, termination=stopped, converged=False)
    if outcome.allocation is None:
        return outcome
    try:
        run.report(name, objective=problem.evaluate(outcome.allocation).objective)
    except KeyboardInterrupt:
        return replace(outcome, termination=Termination.INTERRUPTED)
    return outcome


# What `methods` names; their summaries say what each does.
edge_only = partial(run_baseline, "edge-only")
local_only = partial(run_baseline, "local-only")
alpha_only = partial(run_baseline, "alpha-only")
resource_only = partial(run_baseline, "resource-only")
greedy = partial(run_baseline, "greedy")
random = partial(run_baseline, "random")
rucaa = partial(run_baseline, "rucaa")
gucaa = partial(run_baseline, "gucaa")
aauco = partial(run_baseline, "aauco")
gucro = partial(run_baseline, "gucro")
