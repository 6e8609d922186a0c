"""Jobs that no option fits, limits that all jobs together cannot keep, and the least changes that mend either."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Conflict, Diagnosis
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run
from edgealloc.formulations.fine_tuning.assignment import DEVICE, Assignment
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["LIMITS", "diagnose", "shortage"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Limits of a server that its jobs share.
LIMITS: Final = ("server_memory_bytes", "server_busy_s", "airtime_s")
#: Seconds for the question whether mended jobs fit together.
_TOGETHER_S: Final = 10.0
#: What changing one more limit counts as, beside the logarithm of its ratio; and the most that a ratio counts as.
_ONE_MORE, _MOST = 0.05, 14.0
#: Limits of one job: whose they are, and units.
_OWN: Final = {"device_memory_bytes": "B", "quality_floor": "", "deadline_s": "s", "energy_limit_j": "J"}
_UNITS: Final = {**_OWN, "server_memory_bytes": "B", "server_busy_s": "s", "airtime_s": "s"}
#: A limit is raised to what is needed and a rounding more.
_ROUNDING: Final = 1e-12


def diagnose(problem: FineTuning) -> Diagnosis | None:
    """Jobs that no option fits even if they are alone, and the least change for each; None if every job has one.

    Of a job's options the one is made possible that needs the smallest relative changes of limits. If the jobs then do
    not fit together, the limits of servers are raised, too, so that ``problem.replace(**changes)`` is feasible.
    """
    stuck = np.flatnonzero(~problem.options.allowed.any(axis=(1, 2)))
    if stuck.size == 0:
        return None
    # with them come compiled kernels, which most problems do not need here
    from edgealloc.formulations.fine_tuning.agents import JobChoices
    from edgealloc.solvers.choices import solve_choices

    conflicts, changes = _openings(problem, stuck)
    opened = problem.replace(**changes) if changes else problem
    for i in np.flatnonzero(~opened.options.allowed.any(axis=(1, 2))):
        method, place, words = _least_change(opened, int(i))
        needed = _needs(opened, int(i))
        for name, amount in needed.items():
            if opened.options.out[name][i, method, place + 1]:
                _raise(opened, conflicts, changes, name, int(i), method, place, float(amount[method, place + 1]), words)
                words = ""
    mended = problem.replace(**changes)
    jobs = JobChoices(mended)
    answer = solve_choices(jobs.choices, Run(gap=1e12, time_limit_s=_TOGETHER_S))
    if answer.choice is None and answer.nearest is not None:
        more = shortage(mended, jobs.assignment(answer.nearest))
        conflicts += more.conflicts
        changes |= more.changes
    return Diagnosis(tuple(conflicts), changes)


def shortage(problem: FineTuning, assignment: Assignment) -> Diagnosis:
    """What servers lack for an assignment whose options are all allowed, and what they must be given."""
    costs = problem.evaluate(assignment)
    conflicts: list[Conflict] = []
    changes: dict[str, Any] = {}
    words = {"server_memory_bytes": "memory", "server_busy_s": "of computing", "airtime_s": "of transmission"}
    for name in LIMITS:
        limit = getattr(problem, name)
        if limit is None:
            continue
        used = getattr(costs, name)
        for s in np.flatnonzero(used > limit * (1.0 + FEASIBILITY_TOLERANCE)):
            unit = _UNITS[name]
            conflicts.append(Conflict(
                name, problem.server_names[s], float(used[s] - limit[s]), unit,
                f"allow {format_si(float(used[s]), unit)} {words[name]} instead of {format_si(float(limit[s]), unit)}; "
                "fewer jobs, lower floors or later deadlines would help as well",
            ))
            changes[name] = np.where(used > limit, used * (1.0 + _ROUNDING), limit)
    return Diagnosis(tuple(conflicts), changes)


def _openings(problem: FineTuning, stuck: IntArray) -> tuple[list[Conflict], dict[str, Any]]:
    """What must be allowed to jobs that can run nothing anywhere, whatever the limits: their device, without a
    federation that cannot be reached."""
    out = problem.options.out
    possible = ~(out["forbidden"] | out["out of reach"])
    conflicts: list[Conflict] = []
    on_device, rounds = problem.on_device.copy(), problem.rounds.copy()
    for i in stuck:
        if possible[i].any():
            continue
        label = problem.job_label(int(i))
        if not on_device[i].any():
            k = int(np.argmin(problem.memory_bytes[i]))
            on_device[i, k] = True
            conflicts.append(Conflict("on_device", label, 0.0, "",
                                      f"allow {problem.method_names[k]} on its device, or bring a server within reach"))
        ways = on_device[i] & ~out["out of reach"][i, :, 0]
        if not ways.any():
            rounds[i] = 0
            conflicts.append(Conflict("rounds", label, 0.0, "",
                                      "no server is in reach of its federation: give it a rate, or no rounds"))
    changed: dict[str, Any] = {}
    if not np.array_equal(on_device, problem.on_device):
        changed["on_device"] = on_device
    if not np.array_equal(rounds, problem.rounds):
        changed["rounds"] = rounds
    return conflicts, changed


def _needs(problem: FineTuning, i: int) -> dict[str, FloatArray]:
    """(K, 1 + S) what every option of a job needs of each limit; of limits that are not its own, if it were alone."""
    options, costs = problem.options, problem.options.costs
    shape = options.allowed.shape[1:]
    memory = np.broadcast_to(problem.memory_bytes[i][:, None], shape)
    here = np.arange(shape[1]) == 0
    return {
        "device_memory_bytes": np.where(here, memory, 0.0),
        "quality_floor": np.broadcast_to(problem.quality[i][:, None], shape),
        "deadline_s": costs.time_s[i], "energy_limit_j": costs.device_energy_j[i],
        "server_memory_bytes": np.where(here, 0.0, memory),
        "server_busy_s": np.where(here, 0.0, costs.compute_s[i]), "airtime_s": options.airtime_s[i],
    }


def _limit(problem: FineTuning, name: str, i: int) -> FloatArray:
    """(1 + S,) the limit that a job meets at every place; inf where there is none."""
    places = 1 + problem.servers
    if name in _OWN:
        return np.full(places, float(getattr(problem, name)[i]))
    limit = np.full(places, math.inf)
    given = getattr(problem, name)
    if given is not None and problem.servers:
        limit[1:] = given
        if name == "airtime_s" and problem.home_cell[i] >= 0:
            limit[0] = given[problem.home_cell[i]]
    return limit


def _least_change(problem: FineTuning, i: int) -> tuple[int, int, str]:
    """The option (method, place) of a job that needs the smallest changes of limits, and what else would do."""
    out = problem.options.out
    possible = ~(out["forbidden"][i] | out["out of reach"][i])
    change = np.where(possible, 0.0, math.inf)
    steps: dict[str, FloatArray] = {}
    needs = _needs(problem, i)
    for name, need in needs.items():
        limit = np.broadcast_to(_limit(problem, name, i), need.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.minimum(np.abs(np.log(need / limit)), _MOST)
        step = np.where(out[name][i], _ONE_MORE + size, 0.0)
        steps[name] = step
        change = change + step
    best = np.unravel_index(int(np.argmin(change)), change.shape)
    k, place = int(best[0]), int(best[1]) - 1
    mine = {name for name, step in steps.items() if step[best] > 0.0}
    others = []
    for name, step in steps.items():
        alone = possible & (step > 0.0) & (step == change)
        if name in _OWN and mine != {name} and alone.any():
            other = np.unravel_index(int(np.argmin(np.where(alone, step, math.inf))), step.shape)
            amount = float(needs[name][other])
            others.append(_words(problem, name, i, int(other[0]), int(other[1]) - 1, amount))
    return k, place, "".join(f"; or {one}" for one in others[:2])


def _words(problem: FineTuning, name: str, i: int, method: int, place: int, amount: float) -> str:
    """What to change, in words."""
    what = f"for {problem.method_names[method]}"
    where = "on its device" if place == DEVICE else f"at {problem.server_names[place]}"
    if name == "quality_floor":
        return f"lower its quality floor to {amount:g} {what} {where}"
    needed = format_si(amount, _UNITS[name], 4)
    if name == "device_memory_bytes":
        return f"give its device {needed} instead of {format_si(float(problem.device_memory_bytes[i]), 'B', 4)} {what}"
    if name == "deadline_s":
        return f"allow it {needed} {what} {where}"
    if name == "energy_limit_j":
        return f"allow its device {needed} {what} {where}"
    holder = problem.server_names[place if place != DEVICE else int(problem.home_cell[i])]
    thing = {"server_memory_bytes": "memory", "server_busy_s": "of computing", "airtime_s": "of transmission"}[name]
    return f"give {holder} {needed} {thing} {what}"


def _raise(
    problem: FineTuning, conflicts: list[Conflict], changes: dict[str, Any], name: str, i: int, method: int,
    place: int, amount: float, more: str,
) -> None:
    """Note that a limit stands against an option of a job, and change it; `more` is what else would do."""
    values = np.array(_given(changes, problem, name))
    if name in _OWN:
        where, index = problem.job_label(i), i
    else:
        index = place if place != DEVICE else int(problem.home_cell[i])
        where = f"{problem.job_label(i)} at {problem.server_names[index]}"
    limit = float(getattr(problem, name)[index])
    conflicts.append(Conflict(name, where, abs(amount - limit), _UNITS[name],
                              _words(problem, name, i, method, place, amount) + more))
    if name == "quality_floor":
        values[index] = min(values[index], amount)
    else:
        values[index] = max(values[index], amount * (1.0 + _ROUNDING))
    changes[name] = values


def _given(changes: Mapping[str, Any], problem: FineTuning, name: str) -> Any:
    return changes[name] if name in changes else getattr(problem, name)
