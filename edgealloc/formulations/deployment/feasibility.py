"""Devices that no option fits, limits that a fleet cannot keep, and the least changes that mend either."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Conflict, Diagnosis
from edgealloc.core.links import resolve
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run
from edgealloc.formulations.deployment.options import FLEET
from edgealloc.formulations.deployment.repairs import ROUNDING, Repairs, quantity
from edgealloc.formulations.deployment.rollout import Rollout

if TYPE_CHECKING:
    from edgealloc.core.method import Outcome
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["FLEET_WORDS", "bare_devices", "diagnose", "least_means", "shortage"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Seconds for the question whether mended devices fit together.
_TOGETHER_S: Final = 10.0
#: Limits of the fleet: what they limit, and units.
FLEET_WORDS: Final = {
    "energy_limit_j": ("the mean energy of a query", "J"), "hallucination_limit": ("the mean hallucination rate", ""),
    "error_limit": ("the mean share of wrong answers", ""),
    "inaccessible_limit": ("the share of devices without access", ""),
}
#: Loads up to which a limit is raised; beyond, and where deadlines count on the limit, a server must be faster.
_HIGHEST_LOAD: Final = 0.95


def diagnose(problem: Deployment) -> Diagnosis | None:
    """Devices that no option fits even if they are alone, limits that everybody's best does not keep, and the least
    changes; None if there are none.

    Of a device's options the one is made possible that needs the smallest relative changes of limits. If the devices
    then do not fit together, limits of servers and of the fleet are raised, too, so that
    ``problem.replace(**changes)`` is feasible.
    """
    stuck = np.flatnonzero(~problem.options.possible.any(axis=1))
    conflicts: list[Conflict] = []
    changes: dict[str, Any] = {}
    if stuck.size:
        repairs = Repairs(problem, stuck)
        conflicts, changes = repairs.conflicts, repairs.changes
    mended = problem.replace(**changes) if changes else problem
    for name, least in least_means(mended).items():
        limit = float(getattr(problem, name))
        if least > limit * (1.0 + FEASIBILITY_TOLERANCE):
            conflicts.append(_fleet_conflict(name, limit, least, "the least that is possible"))
            changes[name] = _raised(name, least)
    if not conflicts:
        return None
    mended = problem.replace(**changes)
    more = _together(mended)
    conflicts += more.conflicts
    changes |= more.changes
    return Diagnosis(tuple(conflicts), changes)


def least_means(problem: Deployment) -> dict[str, float]:
    """The least mean of the fleet, by the limits that there are, if every device cares for nothing else."""
    options, result = problem.options, {}
    for name in FLEET:
        if getattr(problem, name) is None:
            continue
        local = np.where(options.local_allowed, options.local_use[name], math.inf).min(axis=1)
        with np.errstate(invalid="ignore"):
            sent = np.where(options.sent_allowed, options.sent_use[name], math.inf).min(axis=1, initial=math.inf)
        sent[:, 0] = 0.0
        result[name] = float((local + sent).min(axis=1).sum())
    return result


def bare_devices(problem: Deployment) -> IntArray:
    """Devices on which no variant can be installed: none runs there and fits the memory."""
    return np.flatnonzero(~problem.options.installable[:, 1:].any(axis=1))


def shortage(problem: Deployment, rollout: Rollout) -> Diagnosis:
    """What servers and limits of the fleet lack for a rollout whose options are all allowed, and what they must be
    given.

    The load of a server may grow as long as its queue stays short and no deadline counts on it; else a faster server
    is asked for: `busy_s` and `service_s` divided by a factor.
    """
    costs = problem.evaluate(rollout)
    conflicts: list[Conflict] = []
    changes: dict[str, Any] = {}
    load, limit = costs.server_load, problem.load_limit
    over = load > limit * (1.0 + FEASIBILITY_TOLERANCE)
    promised = bool(np.isfinite(problem.deadline_s).any())
    faster = over & ((load > _HIGHEST_LOAD) | promised)
    for s in np.flatnonzero(over):
        what = (f"a server {load[s] / limit[s]:.4g} times as fast is needed" if faster[s]
                else f"allow a load of {load[s]:.6g} instead of {limit[s]:g}")
        conflicts.append(Conflict("load_limit", problem.server_names[s], float(load[s] - limit[s]), "",
                                  f"{what}; another server, or less to answer, would help as well"))
    if (over & ~faster).any():
        changes["load_limit"] = np.where(over & ~faster, load * (1.0 + ROUNDING), limit)
    if faster.any():
        factor = np.where(faster, limit / np.where(faster, load, 1.0) * (1.0 - ROUNDING), 1.0)[:, None]
        changes["busy_s"], changes["service_s"] = problem.busy_s * factor, problem.service_s * factor
    if problem.airtime_limit is not None:
        air, most = costs.airtime, problem.airtime_limit
        lacking = air > most * (1.0 + FEASIBILITY_TOLERANCE)
        for s in np.flatnonzero(lacking):
            conflicts.append(Conflict("airtime_limit", problem.server_names[s], float(air[s] - most[s]), "",
                                      f"allow its cell {air[s]:.6g} of the time instead of {most[s]:g}, or give its "
                                      "devices faster links"))
        if lacking.any():
            changes["airtime_limit"] = np.where(lacking, air * (1.0 + ROUNDING), most)
    means = {"energy_limit_j": costs.mean_energy_j, "hallucination_limit": costs.hallucination,
             "error_limit": costs.error, "inaccessible_limit": costs.inaccessible}
    for name, mean in means.items():
        most = getattr(problem, name)
        if most is not None and mean > most * (1.0 + FEASIBILITY_TOLERANCE):
            conflicts.append(_fleet_conflict(name, most, mean, "what was found beside the other limits"))
            changes[name] = _raised(name, mean)
    return Diagnosis(tuple(conflicts), changes)


def _fleet_conflict(name: str, limit: float, value: float, why: str) -> Conflict:
    what, unit = FLEET_WORDS[name]
    return Conflict(name, "the fleet", value - limit, unit,
                    f"allow {what} {quantity(value, unit)} instead of {quantity(limit, unit)}: {why}")


def _raised(name: str, value: float) -> float:
    return value * (1.0 + ROUNDING) if name == "energy_limit_j" else min(value * (1.0 + ROUNDING), 1.0)


def _together(mended: Deployment) -> Diagnosis:
    """What devices lack together that all have an option alone; nothing if they fit."""
    here = "edgealloc.formulations.deployment"
    greedy = resolve(f"{here}.baselines:greedy")(mended, Run()).allocation
    if greedy is not None and mended.relative_violation(greedy) <= FEASIBILITY_TOLERANCE:
        return Diagnosis(())
    # with it come compiled kernels, which most problems do not need here
    found: Outcome = resolve(f"{here}.certified:run")(mended, Run(gap=1e12, time_limit_s=_TOGETHER_S))
    if found.allocation is not None:
        return Diagnosis(())
    if found.diagnosis is not None:
        return found.diagnosis
    return shortage(mended, greedy) if greedy is not None else Diagnosis(())
