"""What would be cheaper for a device than what it does, and what stands against it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.formulations.deployment.costs import queueing
from edgealloc.formulations.deployment.options import FLEET, LOCAL_REASONS, SENT_REASONS
from edgealloc.formulations.deployment.rollout import NONE, DeploymentCosts, Rollout
from edgealloc.units import format_percent, format_si, format_time

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["FREE", "FULL", "NOTHING", "Choice", "Wishes", "cheapest", "chosen", "fleet_use", "option_words",
           "wishes"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A device has the cheapest option that there is for it.
NOTHING: Final = "nothing"
#: Nothing stands against a cheaper option: the method did not look, or the gap asked for did not need it.
FREE: Final = "could change"
#: What is said of a limit that others use.
FULL: Final = "used by others"
#: Costs that differ by less than this share are the same.
_SAME: Final = 1e-9
_LOOSE: Final = 1.0 + FEASIBILITY_TOLERANCE


class Choice(NamedTuple):
    """An option of every device: a variant (-1: none), classes that are sent (bit c: class c), a server (-1: none)."""

    variant: IntArray
    mask: IntArray
    server: IntArray

    def at(self, i: int) -> tuple[int, int, int]:
        """The option of device i."""
        return int(self.variant[i]), int(self.mask[i]), int(self.server[i])


def cheapest(kept: FloatArray, sent: FloatArray) -> tuple[Choice, FloatArray]:
    """The cheapest option of every device, and its cost; inf, and nothing at all, where there is none.

    Parameters
    ----------
    kept : (N, 1 + V, 2^C)
        Cost of what a device answers with a variant (0: none), by the set of classes that it sends.
    sent : (N, S, 2^C)
        Cost of what it sends to a server.
    """
    devices = np.arange(kept.shape[0])
    variant = kept.argmin(axis=1)
    total = np.take_along_axis(kept, variant[:, None, :], axis=1)[:, 0, :]
    server = np.full(total.shape, NONE, dtype=np.int64)
    if sent.shape[1]:
        server[:, 1:] = sent[:, :, 1:].argmin(axis=1)
        total[:, 1:] += np.take_along_axis(sent[:, :, 1:], server[:, None, 1:], axis=1)[:, 0, :]
    else:
        total[:, 1:] = np.inf
    mask = total.argmin(axis=1)
    cost = total[devices, mask]
    there = np.isfinite(cost)
    return Choice(np.where(there, variant[devices, mask] - 1, NONE), np.where(there, mask, 0),
                  np.where(there, server[devices, mask], NONE)), cost


def chosen(rollout: Rollout) -> Choice:
    """The options that a rollout holds."""
    bits = 2 ** np.arange(rollout.offload.shape[1])
    return Choice(rollout.variant, np.asarray((rollout.offload * bits).sum(axis=1), dtype=np.int64), rollout.server)


@dataclass(frozen=True, eq=False)
class Wishes:
    """What every device would do if it alone could change, at the loads of all others.

    Costs are changes of the objective as a whole: what a device adds to the queues of others is its cost, too.

    Attributes
    ----------
    problem : Deployment
    rollout : Rollout or None
        None: every device as if it were alone.
    """

    problem: Deployment
    rollout: Rollout | None

    @cached_property
    def used(self) -> DeploymentCosts | None:
        """What the rollout costs and uses."""
        return None if self.rollout is None else self.problem.evaluate(self.rollout)

    @cached_property
    def now(self) -> Choice:
        """What the devices do."""
        if self.rollout is None:
            raise ValueError("there is no rollout to compare with")
        return chosen(self.rollout)

    @cached_property
    def others_load(self) -> FloatArray:
        """(N, S) load of every server without what the device sends."""
        problem = self.problem
        if self.used is None:
            return np.zeros((problem.devices, problem.servers))
        mine = np.zeros((problem.devices, problem.servers))
        sends = self.now.server >= 0
        i, s, m = np.flatnonzero(sends), self.now.server[sends], self.now.mask[sends]
        mine[i, s] = problem.options.sent_load[i, s, m]
        return np.maximum(self.used.server_load - mine, 0.0)

    @cached_property
    def kept_cost(self) -> FloatArray:
        """(N, 1 + V, 2^C) what is answered on the device adds to the objective; inf where it cannot exist."""
        problem, options = self.problem, self.problem.options
        asked = problem.query_rate_per_s > 0.0
        # nothing installed answers nothing
        idle = ~(asked[:, None, :] & ~options.masks[None]).any(axis=2)
        exists = np.concatenate([idle[:, None, :], np.repeat(problem.runs[:, :, None], options.masks.shape[0], axis=2)],
                                axis=1)
        return np.where(exists & options.asked[:, None, :], options.local_cost, np.inf)

    @cached_property
    def sent_cost(self) -> FloatArray:
        """(N, S, 2^C) what is sent adds to the objective, queues of all included; inf where it cannot exist."""
        problem, options = self.problem, self.problem.options
        reached = ~(options.sent_out["out of reach"][:, :, None, :] & options.masks[None, None]).any(axis=3)
        cost = options.sent_cost
        if problem.delay_weight > 0.0:
            others = self.others_load[:, :, None]
            with np.errstate(invalid="ignore"):
                more = queueing(others + options.sent_load) - queueing(others)
            # what is overloaded without the device stays so
            more = np.where(np.isnan(more), np.inf, more)
            cost = cost + problem.queue_weight * more
        return np.where(reached & options.asked[:, None, :], cost, np.inf)

    def cost_of(self, choice: Choice) -> FloatArray:
        """(N,) what options add to the objective, queues of all included; inf for what cannot exist."""
        devices = np.arange(self.problem.devices)
        total = self.kept_cost[devices, choice.variant + 1, choice.mask]
        if self.problem.servers:
            sent = self.sent_cost[devices, np.maximum(choice.server, 0), choice.mask]
            total = total + np.where(choice.server >= 0, sent, 0.0)
        return np.asarray(total)

    @cached_property
    def cost(self) -> FloatArray:
        """(N,) what the devices add to the objective."""
        return self.cost_of(self.now)

    @cached_property
    def _wanted(self) -> tuple[Choice, FloatArray]:
        return cheapest(self.kept_cost, self.sent_cost)

    @property
    def wanted(self) -> Choice:
        """The cheapest options that exist at all (software runs, a server is in reach), limits or not."""
        return self._wanted[0]

    @property
    def wanted_cost(self) -> FloatArray:
        """(N,) what they would add to the objective."""
        return self._wanted[1]

    @cached_property
    def _alone(self) -> tuple[Choice, FloatArray]:
        options = self.problem.options
        alone = self if self.rollout is None else Wishes(self.problem, None)
        return cheapest(np.where(options.local_allowed, alone.kept_cost, np.inf),
                        np.where(options.sent_allowed, alone.sent_cost, np.inf))

    @property
    def alone(self) -> Choice:
        """The cheapest options that the devices could have if each were alone."""
        return self._alone[0]

    @property
    def alone_cost(self) -> FloatArray:
        """(N,) what they would cost; inf where a device has none."""
        return self._alone[1]

    @cached_property
    def saving(self) -> FloatArray:
        """(N,) what the wanted option would save; 0 where the device has one as cheap."""
        with np.errstate(invalid="ignore"):
            saved = self.cost - self.wanted_cost
        return np.where(saved > _SAME * np.maximum(np.abs(self.cost), 1e-300), saved, 0.0)

    @cached_property
    def lost_to_sharing(self) -> FloatArray:
        """(N,) what a device pays since others are there: its cost less that of its best option alone."""
        with np.errstate(invalid="ignore"):
            return np.maximum(np.nan_to_num(self.cost - self.alone_cost, nan=0.0), 0.0)

    # ---- what stands against an option ------------------------------------------------------------------------------

    def against(self, i: int, variant: int, mask: int, server: int) -> list[str]:
        """Limits that rule an option of device i out even if it is alone, by name."""
        problem, options = self.problem, self.problem.options
        kept = (problem.query_rate_per_s[i] > 0.0) & ~options.masks[mask]
        found = []
        if variant >= 0:
            found += [name for name in LOCAL_REASONS if (options.local_out[name][i, variant] & kept).any()]
            if not options.installable[i, 1 + variant] and "device_memory_bytes" not in found:
                found.append("device_memory_bytes")
            if options.device_load[i, 1 + variant, mask] > problem.device_load_limit * _LOOSE:
                found.append("device_load_limit")
        if server >= 0:
            sent = options.masks[mask]
            found += [name for name in SENT_REASONS
                      if (options.sent_out[name][i, server] & sent).any() and name not in found]
        return found

    def crowded(self, i: int, variant: int, mask: int, server: int) -> list[str]:
        """Limits that others share and that would be exceeded if device i alone changed to an option."""
        problem, used, options = self.problem, self.used, self.problem.options
        if used is None:
            return []
        now = self.now.at(i)
        found = []
        if server >= 0:
            mine = now[1] if now[2] == server else 0
            for name, total, use in (("load_limit", used.server_load, options.sent_load),
                                     ("airtime_limit", used.airtime, options.sent_airtime)):
                limit = getattr(problem, name)
                after = total[server] - use[i, server, mine] + use[i, server, mask]
                if limit is not None and after > limit[server] * _LOOSE:
                    found.append(name)
        for name, amount in self._means.items():
            limit = getattr(problem, name)
            if limit is None:
                continue
            after = amount - self._use(name, i, *now) + self._use(name, i, variant, mask, server)
            # a limit that is broken already forbids only what makes it worse
            if after > max(float(limit) * _LOOSE, amount):
                found.append(name)
        return found

    @cached_property
    def _means(self) -> dict[str, float]:
        """The fleet's means, computed once and not for every device."""
        return {} if self.used is None else fleet_use(self.used)

    def _use(self, name: str, i: int, variant: int, mask: int, server: int) -> float:
        options = self.problem.options
        use = float(options.local_use[name][i, 1 + variant, mask])
        return use + (float(options.sent_use[name][i, server, mask]) if server >= 0 else 0.0)

    def reason(self, i: int) -> str:
        """What stands between device i and its wanted option: names of limits with "+", `NOTHING` or `FREE`."""
        if not self.saving[i] > 0.0:
            return NOTHING
        option = self.wanted.at(i)
        names = self.against(i, *option)
        if names:
            return "+".join(names)
        return "+".join(f"{name} {FULL}" for name in self.crowded(i, *option)) or FREE

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """`reason` of every device."""
        return tuple(self.reason(i) for i in range(self.problem.devices))

    def held(self) -> dict[str, int]:
        """How many devices are kept from their wanted option by what; the most frequent first."""
        return dict(Counter(self.reasons).most_common())

    def objection(self, i: int, variant: int, mask: int, server: int) -> str:
        """What stands against an option of device i, with amounts: "memory 4.3 GB of 4 GB"; empty if nothing does."""
        problem, options = self.problem, self.problem.options
        names = self.against(i, variant, mask, server)
        if not names:
            return ", ".join(_FULL_WORDS[name].format(problem.server_names[server] if server >= 0 else "")
                             for name in self.crowded(i, variant, mask, server))
        words = []
        for name in names:
            if name == "device_memory_bytes":
                words.append(f"memory {format_si(float(problem.memory_bytes[variant]), 'B')} of "
                             f"{format_si(float(problem.device_memory_bytes[i]), 'B')}")
            elif name == "device_load_limit":
                words.append(f"device busy {format_percent(float(options.device_load[i, 1 + variant, mask]), 1.0)} of "
                             "the time")
            elif name in ("accuracy_floor", "hallucination_ceiling", "deadline_s"):
                words += self._class_words(name, i, variant, mask, server)
            else:
                words.append("does not run" if name == "runs" else name)
        return ", ".join(words)

    def _class_words(self, name: str, i: int, variant: int, mask: int, server: int) -> list[str]:
        """Amounts against a limit of classes, for each class that fails it."""
        problem, options = self.problem, self.problem.options
        sent = options.masks[mask]
        words = []
        for c in np.flatnonzero(problem.query_rate_per_s[i] > 0.0).tolist():
            at_server = bool(sent[c])
            out = options.sent_out[name][i, server, c] if at_server else options.local_out[name][i, variant, c]
            if not out:
                continue
            costs, where = (options.sent, server) if at_server else (options.local, variant)
            if name == "deadline_s":
                delay = options.promised_s[i, server, c] if at_server else costs.answer_s[i, where, c]
                said = f"{format_time(float(delay))} of {format_time(float(problem.deadline_s[i, c]))}"
            elif name == "accuracy_floor":
                said = f"accuracy {costs.accuracy[i, where, c]:.3g} of {problem.accuracy_floor[i, c]:.3g}"
            else:
                said = (f"hallucination {costs.hallucination[i, where, c]:.3g} of "
                        f"{problem.hallucination_ceiling[i, c]:.3g}")
            words.append(f"{problem.class_names[c]}: {said}")
        return words


_FULL_WORDS: Final = {
    "load_limit": "no time left at {}", "airtime_limit": "no airtime left at {}",
    "energy_limit_j": "the fleet's energy", "hallucination_limit": "the fleet's hallucination rate",
    "error_limit": "the fleet's errors", "inaccessible_limit": "the fleet's access",
}


def fleet_use(costs: DeploymentCosts) -> dict[str, float]:
    """The fleet's means by the names of their limits."""
    used = (costs.mean_energy_j, costs.hallucination, 1.0 - costs.accuracy, 1.0 - costs.accessibility)
    return dict(zip(FLEET, used, strict=True))


def wishes(problem: Deployment, rollout: Rollout | None) -> Wishes:
    """The cheapest options of all devices, beside what they do."""
    return Wishes(problem, rollout)


def option_words(problem: Deployment, variant: int, mask: int, server: int) -> str:
    """ "q4_k_m, sends hard to edge-1"; "nothing installed, sends everything to edge-1"."""
    model = "nothing installed" if variant < 0 else str(problem.variant_names[variant])
    if server < 0 or mask == 0:
        return f"{model}, sends nothing" if problem.servers else model
    names = [problem.class_names[c] for c in range(problem.classes) if mask >> c & 1]
    said = "everything" if len(names) == problem.classes else " and ".join(names)
    return f"{model}, sends {said} to {problem.server_names[server]}"
