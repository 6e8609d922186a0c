"""Method "milp": device x variant x classes x server as one MILP, written with PuLP and solved by HiGHS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run
from edgealloc.formulations.deployment.agents import DeviceChoices
from edgealloc.formulations.deployment.certified import outcome
from edgealloc.formulations.deployment.tangents import solve_tangents
from edgealloc.solvers.choices import milp_choices, warm_up

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["run"]


def run(problem: Deployment, run: Run) -> Outcome:
    """The whole model, without prices of ours: a check on the other methods.

    Options that another one of the same device makes needless are left out. HiGHS's own bound is reported, with what
    its tolerances leave open taken off.
    """
    warm_up(run)
    devices = DeviceChoices(problem)
    if problem.delay_weight == 0.0 or problem.servers == 0:
        return outcome(devices, milp_choices(devices.choices, run), [])
    return outcome(devices, solve_tangents(devices, run), [])


