"""Devices that no option fits: which limits stand against each of their options, and the least change of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Conflict
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["ROUNDING", "Repairs", "quantity"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A limit is raised to what is needed and a rounding more.
ROUNDING: Final = 1e-12
#: What changing one more limit counts as, beside the logarithm of its ratio; the most that a ratio counts as; and what
#: it counts as that software or hardware must change.
_ONE_MORE, _MOST, _RUNS = 0.05, 14.0, 1e3
#: Devices for which other ways are said, too: telling them takes longer than finding the least change.
_TOLD: Final = 50


def quantity(value: float, unit: str) -> str:
    """A value with its unit, in words; shares plainly."""
    return format_si(value, unit, 4) if unit else f"{value:.6g}"


class Repairs:
    """The least changes for devices that have no option at all.

    A change counts as the logarithm of the ratio of what is needed to the limit. The parts of an option, on the device
    and at a server, are added up by the set of classes that is sent, and the cheapest pair is made possible. Every
    change relaxes a limit, so that what others may do stays allowed.

    Attributes
    ----------
    conflicts : list of Conflict
    changes : dict
        Field -> new value.
    """

    def __init__(self, problem: Deployment, stuck: IntArray) -> None:
        self.problem, self.stuck = problem, stuck
        self.conflicts: list[Conflict] = []
        self.changes: dict[str, Any] = {}
        local, sent = self._local_steps(), self._sent_steps()
        asked = problem.options.asked[stuck]
        at_home, away = (np.sum(list(steps.values()), axis=0) for steps in (local, sent))
        best_home, best_away = at_home.min(axis=1), away.min(axis=1)
        total = np.where(asked, best_home + best_away, math.inf)
        sets = total.argmin(axis=1)
        rows = np.arange(stuck.size)
        variants = at_home[rows, :, sets].argmin(axis=1)
        places = away[rows, :, sets].argmin(axis=1)
        for k in range(stuck.size):
            option = (int(variants[k]), int(places[k]), int(sets[k]))
            kinds = self._kinds(local, sent, k, option)
            others = ""
            if k < _TOLD:
                others = self._others(local, sent, k, set(kinds), best_home[k], best_away[k], asked[k])
            self._open(int(stuck[k]), option, others)

    # ---- how much must change ----------------------------------------------------------------------------------------

    def _local_steps(self) -> dict[str, FloatArray]:
        """(n, 1 + V, 2^C) change of every limit that a variant needs which answers what is not sent."""
        problem, options, at = self.problem, self.problem.options, self.stuck
        kept = (~options.masks).astype(np.float64)
        asked = problem.query_rate_per_s[at] > 0.0
        out = {name: value[at] for name, value in options.local_out.items()}
        needs = {
            "accuracy_floor": (problem.accuracy[None], problem.accuracy_floor[at][:, None]),
            "hallucination_ceiling": (problem.hallucination[None], problem.hallucination_ceiling[at][:, None]),
            "deadline_s": (problem.local_delay_s[at], problem.deadline_s[at][:, None]),
        }
        shape = (at.size, 1 + problem.variants, kept.shape[0])
        steps = {}
        for name, (need, limit) in needs.items():
            step = np.where(out[name] & asked[:, None], _size(need, limit), 0.0)
            steps[name] = _with_nothing(step @ kept.T)
        memory = np.where(out["device_memory_bytes"][:, :, 0],
                          _size(problem.memory_bytes, problem.device_memory_bytes[at][:, None]), 0.0)
        steps["device_memory_bytes"] = np.broadcast_to(_with_nothing(memory[:, :, None]), shape)
        # of variants that would have to be made to run, a small one
        largest = max(float(problem.memory_bytes.max()), 1.0)
        runs = np.where(problem.runs[at], 0.0, _RUNS + problem.memory_bytes / largest)
        # nothing installed answers nothing
        idle = ~((asked[:, None, :] & ~options.masks[None]).any(axis=2))
        steps["runs"] = np.broadcast_to(_with_nothing(runs[:, :, None]), shape).copy()
        steps["runs"][:, 0][~idle] = math.inf
        load = options.device_load[at]
        limit = problem.device_load_limit
        steps["device_load_limit"] = np.where(load > limit * (1.0 + FEASIBILITY_TOLERANCE), _size(load, limit), 0.0)
        return steps

    def _sent_steps(self) -> dict[str, FloatArray]:
        """(n, 1 + S, 2^C) change of every limit that a server needs which answers what is sent; the first: nowhere."""
        problem, options, at = self.problem, self.problem.options, self.stuck
        sets = options.masks.astype(np.float64)
        out = {name: value[at] for name, value in options.sent_out.items()}
        needs = {
            "accuracy_floor": (problem.server_accuracy[None], problem.accuracy_floor[at][:, None]),
            "hallucination_ceiling": (problem.server_hallucination[None], problem.hallucination_ceiling[at][:, None]),
            "deadline_s": (options.promised_s[at], problem.deadline_s[at][:, None]),
        }
        steps = {name: _with_nothing(np.where(out[name], _size(need, limit), 0.0) @ sets.T)
                 for name, (need, limit) in needs.items()}
        for name, amount, most in (("load_limit", options.sent_load, problem.load_limit),
                                   ("airtime_limit", options.sent_airtime, problem.airtime_limit)):
            if most is not None:
                over = amount[at] > most[:, None] * (1.0 + FEASIBILITY_TOLERANCE)
                steps[name] = _with_nothing(np.where(over, _size(amount[at], most[:, None]), 0.0))
        # a server that is out of reach stays there, and what is sent is sent somewhere
        far = np.where(out["out of reach"].any(axis=2), math.inf, 0.0)
        nowhere = np.zeros((at.size, 1 + problem.servers, sets.shape[0]))
        nowhere[:, 1:] = far[:, :, None]
        nowhere[:, 1:, 0] = math.inf
        nowhere[:, 0, 1:] = math.inf
        steps["out of reach"] = nowhere
        return steps

    # ---- what is said, and what is changed ---------------------------------------------------------------------------

    def _kinds(self, local: dict[str, FloatArray], sent: dict[str, FloatArray], k: int,
               option: tuple[int, int, int]) -> list[str]:
        v, s, mask = option
        return [*(name for name, step in local.items() if step[k, v, mask] > 0.0),
                *(name for name, step in sent.items() if step[k, s, mask] > 0.0)]

    def _others(self, local: dict[str, FloatArray], sent: dict[str, FloatArray], k: int, used: set[str],
                home: FloatArray, away: FloatArray, asked: BoolArray) -> str:
        """Other single limits that would do, the nearest first."""
        found: list[tuple[float, str]] = []
        for steps, other, here in ((local, away, True), (sent, home, False)):
            total = sum(step[k] for step in steps.values())
            for name, step in steps.items():
                alone = (step[k] > 0.0) & (step[k] == total) & (other == 0.0) & asked & np.isfinite(total)
                if not alone.any() or used == {name}:
                    continue
                best = np.unravel_index(int(np.where(alone, total, math.inf).argmin()), total.shape)
                place, mask = int(best[0]), int(best[1])
                option = (place, 0, mask) if here else (0, place, mask)
                words = [one[3] for one in self._needed(int(self.stuck[k]), option, local=here, sent=not here)]
                found.append((float(total[best]), " and ".join(words)))
        found.sort()
        return "".join(f"; or {words}" for _, words in found[:2])

    def _open(self, i: int, option: tuple[int, int, int], others: str) -> None:
        """Note what stands against an option of a device, and change it."""
        label = self.problem.device_label(i)
        for name, where, amount, words, index, value in self._needed(i, option):
            at = label if not where else f"{label} at {where}"
            unit = _UNITS.get(name, "")
            self.conflicts.append(Conflict(name, at, amount, unit, words + others))
            others = ""
            self._change(name, index, value)

    def _change(self, name: str, index: Any, value: float) -> None:
        if name == "device_load_limit":
            self.changes[name] = max(self.changes.get(name, 0.0), value * (1.0 + ROUNDING))
            return
        if name == "load_limit":
            # as fast as is needed: a higher limit would break the promises of others
            for field in ("busy_s", "service_s"):
                whole = np.array(self.changes.get(field, getattr(self.problem, field)))
                whole[index] = np.minimum(whole[index], getattr(self.problem, field)[index] * value)
                self.changes[field] = whole
            return
        whole = np.array(self.changes.get(name, getattr(self.problem, name)))
        if name == "runs":
            whole[index] = True
        elif name == "accuracy_floor":
            whole[index] = min(whole[index], value)
        elif name == "hallucination_ceiling":
            whole[index] = max(whole[index], value)
        else:
            whole[index] = max(whole[index], value * (1.0 + ROUNDING))
        self.changes[name] = whole

    def _needed(self, i: int, option: tuple[int, int, int], *, local: bool = True, sent: bool = True
                ) -> list[tuple[str, str, float, str, Any, float]]:
        """(limit, server, amount, words, index, new value) of everything that an option needs."""
        problem, options = self.problem, self.problem.options
        v, s, mask = option[0] - 1, option[1] - 1, options.masks[option[2]]
        asked = problem.query_rate_per_s[i] > 0.0
        found: list[tuple[str, str, float, str, Any, float]] = []
        if local and v >= 0:
            what = problem.variant_names[v]
            if not problem.runs[i, v]:
                found.append(("runs", "", 0.0, f"make {what} run on it, or bring a server within reach", (i, v), 1.0))
            memory = float(problem.memory_bytes[v])
            if options.local_out["device_memory_bytes"][i, v, 0]:
                have = float(problem.device_memory_bytes[i])
                found.append(("device_memory_bytes", "", memory - have,
                              f"give it {format_si(memory, 'B', 4)} instead of {format_si(have, 'B', 4)} for {what}",
                              i, memory))
            load = float(options.device_load[i, 1 + v, option[2]])
            if load > problem.device_load_limit * (1.0 + FEASIBILITY_TOLERANCE):
                found.append(("device_load_limit", "", load - problem.device_load_limit,
                              f"allow devices to be busy {load:.6g} of the time, or ask it less: {what} answers too "
                              "slowly", None, load))
            for c in np.flatnonzero(asked & ~mask):
                found += self._of_class(i, int(c), float(problem.accuracy[v, c]), float(problem.hallucination[v, c]),
                                        float(problem.local_delay_s[i, v, c]), f"{what} on the device",
                                        {name: bool(out[i, v, c]) for name, out in options.local_out.items()})
        if sent and s >= 0:
            where = problem.server_names[s]
            for c in np.flatnonzero(mask):
                found += self._of_class(i, int(c), float(problem.server_accuracy[s, c]),
                                        float(problem.server_hallucination[s, c]), float(options.promised_s[i, s, c]),
                                        where, {name: bool(out[i, s, c]) for name, out in options.sent_out.items()})
            load, limit = float(options.sent_load[i, s, option[2]]), float(problem.load_limit[s])
            if load > limit * (1.0 + FEASIBILITY_TOLERANCE):
                found.append(("load_limit", where, load - limit,
                              f"a server {load / limit:.4g} times as fast is needed for its queries alone", s,
                              limit / load * (1.0 - ROUNDING)))
            if problem.airtime_limit is not None:
                air, most = float(options.sent_airtime[i, s, option[2]]), float(problem.airtime_limit[s])
                if air > most * (1.0 + FEASIBILITY_TOLERANCE):
                    found.append(("airtime_limit", where, air - most,
                                  f"allow the cell {air:.6g} of the time instead of {most:g}, or give the device a "
                                  "faster link", s, air))
        return found

    def _of_class(self, i: int, c: int, accuracy: float, hallucination: float, delay: float, who: str,
                  out: dict[str, bool]) -> list[tuple[str, str, float, str, Any, float]]:
        """What stands against a class of a device that somebody is to answer."""
        problem, name = self.problem, self.problem.class_names[c]
        found: list[tuple[str, str, float, str, Any, float]] = []
        if out["accuracy_floor"]:
            found.append(("accuracy_floor", "", float(problem.accuracy_floor[i, c]) - accuracy,
                          f"lower its accuracy floor for {name} to {accuracy:g}, that of {who}", (i, c), accuracy))
        if out["hallucination_ceiling"]:
            found.append(("hallucination_ceiling", "", hallucination - float(problem.hallucination_ceiling[i, c]),
                          f"raise its hallucination ceiling for {name} to {hallucination:g}, that of {who}", (i, c),
                          hallucination))
        if out["deadline_s"]:
            found.append(("deadline_s", "", delay - float(problem.deadline_s[i, c]),
                          f"allow {name} {format_si(delay, 's', 4)} by {who}", (i, c), delay))
        return found


_UNITS: Final = {"device_memory_bytes": "B", "deadline_s": "s"}


def _size(need: FloatArray, limit: FloatArray | float) -> FloatArray:
    """What a change of a limit counts as."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(np.log(need / limit))
    return np.asarray(_ONE_MORE + np.where(size <= _MOST, size, _MOST))


def _with_nothing(step: FloatArray) -> FloatArray:
    """(n, 1 + k, m) of (n, k, m): nothing installed, or nothing sent, needs nothing."""
    return np.concatenate([np.zeros((step.shape[0], 1, step.shape[2])), step], axis=1)
