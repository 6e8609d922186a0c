"""What is wrong with the literal problem of Liu & Zhao, section 6, shown by numbers that are computed here.

Everything comes out of the preset "paper" and variations of it; nothing is typed in but the readings that are compared
(a thermal noise density, a kappa ten times as large). kappas are our choice, since the paper gives none, so the numbers
say which they hold for.

Examples
--------
>>> found = {defect.name: defect for defect in defects(Scenario.random(8, 2, preset="paper").split_training())}
>>> found["cut"].value("users with one layer on the device")
8.0
>>> found["association"].value("moves of one user that keep all sums")
0.0
"""

from __future__ import annotations

from typing import Any, cast

from edgealloc.errors import DataError
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.moves import make_state, search
from edgealloc.formulations.split_training.problem import SplitTraining
from edgealloc.formulations.split_training.reduced import reduce
from edgealloc.formulations.split_training.resources import optimal_allocation
from edgealloc.reproduce.liu_zhao_2024.defect import GAP, Amount, Case, Defect, markdown, text
from edgealloc.reproduce.liu_zhao_2024.defects_device import cut, local, power, tuned, work_and_size
from edgealloc.reproduce.liu_zhao_2024.defects_server import association, equalities, noise, penalty, shares
from edgealloc.scenarios.scenario import Scenario

__all__ = ["Amount", "Defect", "defects", "markdown", "text"]


def defects(problem: SplitTraining | None = None, seed: int = 0) -> list[Defect]:
    """The defects of the literal problem, each with the numbers that show it.

    Parameters
    ----------
    problem : SplitTraining, optional
        Of preset "paper", of any size and weights; 50 users and 10 servers by default, as in the paper.
    seed : int
        Of the preset, if no problem is given.

    Returns
    -------
    list of Defect

    Raises
    ------
    DataError
        A problem that is not the literal one: it counts the upload delay, has time-shared servers, or need not hand
        out all resources.
    """
    if problem is None:
        problem = Scenario.random(50, 10, seed=seed, preset="paper").split_training()
    if problem.count_upload_delay or problem.server_kappa is None or problem.resource_sense != "exactly":
        raise DataError(
            "defects: the problem is not the literal one of Liu & Zhao; give one of Scenario.random(preset='paper')"
        )
    case = _solved(problem)
    return [
        cut(case),
        power(case),
        local(case),
        tuned(case),
        association(case),
        penalty(case),
        noise(case),
        equalities(case),
        shares(case),
        *work_and_size(case),
    ]


def _solved(problem: SplitTraining) -> Case:
    """Certified to `GAP`, then improved by moves until none helps: quick, and the same every time."""
    solution = problem.solve(gap=GAP, time_limit_s=None).require()
    start = cast(Allocation, solution.allocation)
    data = reduce(problem)
    state = make_state(data, start.server, start.local_layers)
    search(data, state, least=0.0, out_of_time=lambda: False)
    moved = optimal_allocation(problem, state.server, state.cut, data=data)
    allocation = min(start, moved, key=lambda one: problem.evaluate(one).objective)
    return Case(problem, allocation, problem.evaluate(allocation), float(solution.bound or 0.0))


def explained() -> tuple[dict[str, Any], str]:
    """The page of `edgealloc figure --explain`, for machines and for people."""
    found = defects()
    return {"defects": found}, text(found)
