"""From the diagnosis of an infeasible deployment to the keys of the file that mend it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.scenarios.deployment import facts
from edgealloc.scenarios.deployment.report import rollout_document
from edgealloc.scenarios.deployment.schema import DeviceGroup, ServerGroup
from edgealloc.scenarios.deployment.variants import variants
from edgealloc.scenarios.repair import FileChange, round_up

if TYPE_CHECKING:
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["file_changes"]

BoolArray = npt.NDArray[np.bool_]

#: Digits behind the point of shares.
_DIGITS: Final = 1e5


def file_changes(scenario: Scenario, diagnosis: Diagnosis) -> tuple[FileChange, ...]:
    """The changes of a scenario that make it feasible, values rounded to the safe side."""
    document, changes = rollout_document(scenario), dict(diagnosis.changes)
    problem: Any = scenario.problem()
    found = [*_of_classes(changes, problem), *_of_fleet(changes)]
    for i, own in _members(document.devices):
        if "device_memory_bytes" in changes:
            found += _more_memory(document.devices[i], i, problem.device_memory_bytes[own],
                                  np.asarray(changes["device_memory_bytes"])[own])  # fmt: skip
        if "runs" in changes:
            found += _made_to_run(scenario, i, (np.asarray(changes["runs"]) & ~problem.runs)[own])
    for i, own in _members(document.servers):
        found += _of_servers(document.servers[i], i, own, changes, problem)
    if not found:
        said = [f"{name} of the problem" for name in changes]
        found = [FileChange("", None, f"no single key mends it; change {', '.join(said) or 'the limits named above'}")]
    return tuple(found)


def _members(groups: Sequence[DeviceGroup | ServerGroup]) -> Iterator[tuple[int, slice]]:
    """Index of every group, and its members in the problem."""
    first = 0
    for i, group in enumerate(groups):
        yield i, slice(first, first + group.count)
        first += group.count


def _down(value: float) -> float:
    """A share with a few digits that is not above `value`."""
    return max(math.floor(value * _DIGITS) / _DIGITS, 0.0)


def _up(value: float) -> float:
    """A share with a few digits that is not below `value`."""
    return min(math.ceil(value * _DIGITS) / _DIGITS, 1.0)


def _of_classes(changes: dict[str, Any], problem: Any) -> list[FileChange]:
    """Limits of single devices and classes become those of the class, as far as the furthest device needs."""
    found = []
    for name, key, why in (
        ("deadline_s", "deadline", "seconds; what whoever can answer needs"),
        ("accuracy_floor", "accuracy_floor", "what whoever can answer reaches"),
        ("hallucination_ceiling", "hallucination_ceiling", "what whoever can answer keeps"),
    ):
        if name not in changes:
            continue
        had = getattr(problem, name)
        need = np.broadcast_to(np.asarray(changes[name], dtype=np.float64), had.shape)
        for c in np.flatnonzero((need != had).any(axis=0)):
            off = need[:, c] != had[:, c]
            worst = float(need[off, c].min() if key == "accuracy_floor" else need[off, c].max())
            value: float | str = _down(worst) if key == "accuracy_floor" else _up(worst)
            if key == "deadline":
                value = "none" if math.isinf(worst) else round_up(worst)
            found.append(FileChange(f"classes.{c}.{key}", value, why))
    return found


def _of_fleet(changes: dict[str, Any]) -> list[FileChange]:
    found = []
    for name, key, make, why in (
        ("energy_limit_j", "energy", round_up, "joules per query, on average"),
        ("hallucination_limit", "hallucination", _up, "of the average answer"),
        ("error_limit", "accuracy", lambda value: _down(1.0 - value), "of the average answer"),
        ("inaccessible_limit", "accessibility", lambda value: _down(1.0 - value), "of the devices"),
        ("device_load_limit", "device_load", round_up, "or the devices are asked less"),
    ):
        if changes.get(name) is not None:
            found.append(FileChange(f"limits.{key}", make(float(changes[name])), why))
    return found


def _more_memory(group: DeviceGroup, i: int, had: npt.NDArray[np.float64], need: npt.NDArray[np.float64]
                 ) -> list[FileChange]:  # fmt: skip
    short = need > had
    if not short.any():
        return []
    wanted = float((need[short] / np.maximum(had[short], 1e-300)).max()) * group.memory_share
    if math.isfinite(wanted) and round_up(wanted) <= 1.0:
        return [FileChange(f"devices.{i}.memory_share", round_up(wanted), "the variant that is needed has to fit")]
    memory = round_up(float(need[short].max()) / group.memory_share + group.memory_reserved)
    return [FileChange(f"devices.{i}.memory", memory, "bytes; or give [[variants]] a smaller format")]


def _made_to_run(scenario: Scenario, i: int, more: BoolArray) -> list[FileChange]:
    """What lets variants run on the devices of a group."""
    if not more.any():
        return []
    document = rollout_document(scenario)
    group, models = document.devices[i], variants(document, scenario.catalog)
    wanted = [models[v] for v in np.flatnonzero(more.any(axis=0))]
    names = [one.name for one in wanted]
    entries = [scenario.catalog.device(name) for name in group.device]
    found = []
    if group.variants is not None and set(names) - set(group.variants):
        list_ = [one.name for one in models if one.name in group.variants or one.name in names]
        found.append(FileChange(f"devices.{i}.variants", list_, "somebody has to answer them"))
    blind = [one.model for one in wanted if any(facts.cannot_run(at, group.framework, one.model) for at in entries)]
    if blind:
        able = [name for name in facts.framework_names()
                if not any(facts.cannot_run(entry, name, model) for entry in entries for model in blind)]
        if able:
            found.append(FileChange(f"devices.{i}.framework", able[0], f"it can run {', '.join(names)}"))
    return found  # fmt: skip


def _of_servers(group: ServerGroup, i: int, own: slice, changes: dict[str, Any], problem: Any) -> list[FileChange]:
    found = []
    if "load_limit" in changes:
        need = np.asarray(changes["load_limit"])[own]
        if (need > problem.load_limit[own]).any():
            found.append(FileChange(f"servers.{i}.load_limit", round_up(float(need.max())), "or more accelerators"))
    if "busy_s" in changes:
        factor = float((problem.busy_s[own] / np.asarray(changes["busy_s"])[own]).max())
        if factor > 1.0:
            accelerators = math.ceil(group.accelerators * factor)
            found.append(FileChange(f"servers.{i}.accelerators", accelerators, "it is asked more than it can answer"))
    if changes.get("airtime_limit") is not None:
        need = np.asarray(changes["airtime_limit"])[own]
        if (need > problem.airtime_limit[own]).any():
            found.append(FileChange(f"servers.{i}.airtime", round_up(float(need.max())), "or faster links"))
    return found
