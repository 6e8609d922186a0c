"""What would be cheaper for a job than what it does, and what stands against it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.formulations.fine_tuning.assignment import DEVICE, Assignment, FineTuningCosts
from edgealloc.formulations.fine_tuning.options import REASONS
from edgealloc.units import format_si, format_time

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["FREE", "FULL", "NOTHING", "Wishes", "amount_words", "option_words", "wishes"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A job has the cheapest option that there is for it.
NOTHING: Final = "nothing"
#: Nothing stands against a cheaper option: the method did not look, or the gap asked for did not need it.
FREE: Final = "could move"
#: What is said of a shared resource that others use.
FULL: Final = "used by others"
#: Costs that differ by less than this share are the same.
_SAME: Final = 1e-9
#: Reasons that no change of a limit would mend.
_FIXED: Final = ("forbidden", "out of reach")


@dataclass(frozen=True, eq=False)
class Wishes:
    """The cheapest options of every job, numbered ``method (1 + S) + 1 + place`` as in a flat (K, 1 + S) table.

    Attributes
    ----------
    problem : FineTuning
    allocation : Assignment or None
    wanted : (N,) of int
        The cheapest of the options that exist at all (the method runs there, the server is in reach), limits or not;
        -1 where none exists.
    alone : (N,) of int
        The cheapest that the job could have if it were alone; -1 where there is none.
    """

    problem: FineTuning
    allocation: Assignment | None
    wanted: IntArray
    alone: IntArray

    def split(self, option: int) -> tuple[int, int]:
        """Method and place of an option."""
        return option // (1 + self.problem.servers), option % (1 + self.problem.servers) - 1

    @cached_property
    def chosen(self) -> IntArray:
        """(N,) the options that the jobs have."""
        if self.allocation is None:
            raise ValueError("there is no assignment to compare with")
        return np.asarray(self.allocation.method * (1 + self.problem.servers) + 1 + self.allocation.place)

    def _cost(self, option: IntArray, cost: FloatArray) -> FloatArray:
        flat = cost.reshape(self.problem.jobs, -1)
        picked = flat[np.arange(self.problem.jobs), np.maximum(option, 0)]
        return np.where(option >= 0, picked, np.inf)

    @cached_property
    def cost(self) -> FloatArray:
        """(N,) contribution of the jobs to the objective."""
        return self._cost(self.chosen, self.problem.options.costs.cost)

    @cached_property
    def wanted_cost(self) -> FloatArray:
        """(N,) what the wanted option would cost."""
        return self._cost(self.wanted, self.problem.options.costs.cost)

    @cached_property
    def alone_cost(self) -> FloatArray:
        """(N,) what the cheapest allowed option would cost."""
        return self._cost(self.alone, self.problem.options.costs.cost)

    @cached_property
    def saving(self) -> FloatArray:
        """(N,) what the wanted option would save; 0 where the job has one as cheap."""
        saved = self.cost - self.wanted_cost
        return np.where(saved > _SAME * np.maximum(np.abs(self.cost), 1e-300), saved, 0.0)

    @cached_property
    def lost_to_sharing(self) -> FloatArray:
        """(N,) what a job pays since others are there: its cost less that of its best option alone."""
        return np.maximum(self.cost - self.alone_cost, 0.0)

    def reason(self, i: int) -> str:
        """What stands between job i and its wanted option: names of limits with "+", `NOTHING` or `FREE`."""
        if not self.saving[i] > 0.0:
            return NOTHING
        k, place = self.split(int(self.wanted[i]))
        against = [name for name in REASONS if self.problem.options.out[name][i, k, 1 + place]]
        if against:
            return "+".join(against)
        return "+".join(f"{name} {FULL}" for name in self.crowded(i, k, place)) or FREE

    @cached_property
    def used(self) -> FineTuningCosts | None:
        """What the assignment uses of every server."""
        return None if self.allocation is None else self.problem.evaluate(self.allocation)

    def crowded(self, i: int, method: int, place: int) -> list[str]:
        """What job i would find too full at another option, with all others where they are."""
        problem, allocation, used = self.problem, self.allocation, self.used
        if allocation is None or used is None or problem.servers == 0:
            return []
        options = problem.options
        k, p, home = int(allocation.method[i]), int(allocation.place[i]), int(problem.home_cell[i])
        shared: tuple[tuple[str, FloatArray, FloatArray, FloatArray, int, int], ...] = (
            ("server_memory_bytes", used.server_memory_bytes, problem.memory_bytes[i, k],
             problem.memory_bytes[i, method], p, place),
            ("server_busy_s", used.server_busy_s, options.costs.compute_s[i, k, 1 + p],
             options.costs.compute_s[i, method, 1 + place], p, place),
            ("airtime_s", used.airtime_s, options.airtime_s[i, k, 1 + p], options.airtime_s[i, method, 1 + place],
             p if p >= 0 else home, place if place >= 0 else home),
        )
        found = []
        for name, total, mine, new, here, there in shared:
            limit = getattr(problem, name)
            if there < 0 or limit is None or not np.isfinite(limit[there]):
                continue
            others = total[there] - (mine if here == there else 0.0)
            if others + new > limit[there] * (1.0 + FEASIBILITY_TOLERANCE):
                found.append(name)
        return found

    def objection(self, i: int, method: int, place: int) -> str:
        """What stands against an option of job i, with amounts: "memory 21.5 GB of 8 GB"; empty if nothing does."""
        problem = self.problem
        options, costs = problem.options, problem.options.costs
        at = (i, method, 1 + place)
        cell = place if place >= 0 else int(problem.home_cell[i])
        needs = {
            "device_memory_bytes": ("memory", problem.memory_bytes[i, method], problem.device_memory_bytes[i], "B"),
            "deadline_s": ("time", costs.time_s[at], problem.deadline_s[i], "s"),
            "energy_limit_j": ("energy", costs.device_energy_j[at], problem.energy_limit_j[i], "J"),
        }
        if cell >= 0:
            for name, (word, amount, unit) in {
                "server_memory_bytes": ("memory", problem.memory_bytes[i, method], "B"),
                "server_busy_s": ("computing", costs.compute_s[at], "s"),
                "airtime_s": ("airtime", options.airtime_s[at], "s"),
            }.items():
                limit = getattr(problem, name)
                needs[name] = (word, amount, np.inf if limit is None else limit[cell], unit)
        against = []
        for name in REASONS:
            if not options.out[name][at]:
                continue
            if name == "quality_floor":
                against.append(f"quality {problem.quality[i, method]:.4g} of {problem.quality_floor[i]:.4g}")
            elif name in needs:
                word, amount, limit, unit = needs[name]
                against.append(f"{word} {amount_words(float(amount), unit)} of {amount_words(float(limit), unit)}")
            else:
                against.append(name)
        if not against:
            against = [f"no {needs[name][0]} left at {problem.server_names[cell]}"
                       for name in self.crowded(i, method, place)]
        return ", ".join(against)

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """`reason` of every job."""
        return tuple(self.reason(i) for i in range(self.problem.jobs))

    def held(self) -> dict[str, int]:
        """How many jobs are kept from their wanted option by what; the most frequent first."""
        return dict(Counter(self.reasons).most_common())


def wishes(problem: FineTuning, allocation: Assignment | None) -> Wishes:
    """The cheapest options of all jobs, beside what they do."""
    options = problem.options
    exists = ~np.logical_or.reduce([options.out[name] for name in _FIXED])
    result = []
    for may in (exists, options.allowed):
        cost = np.where(may, options.costs.cost, np.inf).reshape(problem.jobs, -1)
        best = cost.argmin(axis=1)
        result.append(np.where(np.isfinite(cost[np.arange(problem.jobs), best]), best, -1))
    return Wishes(problem, allocation, result[0], result[1])


def option_words(problem: FineTuning, method: int, place: int) -> str:
    """ "lora on its device", "full-adam at edge-1"."""
    where = "on its device" if place == DEVICE else f"at {problem.server_names[place]}"
    return f"{problem.method_names[method]} {where}"


def amount_words(value: float, unit: str) -> str:
    """ "21.5 GB", "46 min"."""
    return format_time(value) if unit == "s" else format_si(value, unit)
