"""From the diagnosis of an infeasible fine-tuning problem to the keys of the file that mend it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.scenarios.fine_tuning.report import fleet_document
from edgealloc.scenarios.fine_tuning.schema import Document, JobGroup, ServerGroup
from edgealloc.scenarios.repair import FileChange, round_up

if TYPE_CHECKING:
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["file_changes"]

#: limit of the problem -> (key of a group of jobs, why)
_OF_JOBS: Final = {
    "deadline_s": ("deadline", "seconds; what the fastest method and place in reach takes"),
    "energy_limit_j": ("battery", "joules; what the most sparing method and place in reach draws"),
}


def file_changes(scenario: Scenario, diagnosis: Diagnosis) -> tuple[FileChange, ...]:
    """The changes of a scenario that make it feasible, values rounded to the safe side."""
    document, changes = fleet_document(scenario), dict(diagnosis.changes)
    problem: Any = scenario.problem()
    found: list[FileChange] = []
    for i, own in _members(document.jobs):
        group = document.jobs[i]
        if "device_memory_bytes" in changes:
            need, had = _both(changes, problem, "device_memory_bytes", own)
            found += _more_memory(f"jobs.{i}", group.memory_share, group.memory_reserved, need, had)
        for name, (key, why) in _OF_JOBS.items():
            if changes.get(name) is not None:
                need, had = _both(changes, problem, name, own)
                late = need > had
                if late.any():
                    value = float(need[late].max())
                    found.append(FileChange(f"jobs.{i}.{key}", "none" if math.isinf(value) else round_up(value), why))
        if "quality_floor" in changes:
            need, had = _both(changes, problem, "quality_floor", own)
            if (need < had).any():
                value = math.floor(float(need[need < had].min()) * 1e5) / 1e5
                found.append(FileChange(f"jobs.{i}.quality_floor", value, "what a method in reach is known to have"))
        found += _openings(document, changes, problem, i, own)
    for i, own in _members(document.servers):
        server = document.servers[i]
        for name, key, divisor, why in (
            (
                "server_busy_s",
                "horizon",
                server.slots or server.accelerators,
                "seconds; slots x horizon has to suffice",
            ),
            ("airtime_s", "airtime", 1, "seconds of transmission"),
        ):
            if changes.get(name) is not None:
                need, had = _both(changes, problem, name, own)
                if (need > had).any():
                    value = float(need.max())
                    found.append(FileChange(f"servers.{i}.{key}", _endless(value / divisor), why))
        if changes.get("server_memory_bytes") is not None:
            need, had = _both(changes, problem, "server_memory_bytes", own)
            found += _more_memory(f"servers.{i}", server.memory_share, 0.0, need, had)
    if not found:
        said = [f"{name} of the problem" for name in changes]
        found = [FileChange("", None, f"no single key mends it; change {', '.join(said) or 'the limits named above'}")]
    return tuple(found)


def _openings(
    document: Document, changes: dict[str, Any], problem: Any, i: int, own: slice
) -> list[FileChange]:
    """What lets jobs of a group run somewhere at all."""
    found: list[FileChange] = []
    if "on_device" in changes:
        more = np.asarray(changes["on_device"])[own] & ~problem.on_device[own]
        if more.any() and document.jobs[i].place == "server":
            found.append(FileChange(f"jobs.{i}.place", "anywhere", "no server is in reach of some of them"))
        for k in np.flatnonzero(more.any(axis=0)):
            if document.methods and document.methods[k].place == "server":
                found.append(FileChange(f"methods.{k}.place", "anywhere", "no other method runs where these jobs are"))
    if "rounds" in changes and (np.asarray(changes["rounds"])[own] < problem.rounds[own]).any():
        found.append(FileChange(f"jobs.{i}.rounds", 0, "no server is in reach of the federation"))
    return found


def _endless(value: float) -> float | str:
    return "none" if math.isinf(value) else round_up(value)


def _members(groups: Sequence[JobGroup | ServerGroup]) -> Iterator[tuple[int, slice]]:
    """Index of every group, and its members in the problem."""
    first = 0
    for i, group in enumerate(groups):
        yield i, slice(first, first + group.count)
        first += group.count


def _both(
    changes: dict[str, Any], problem: Any, name: str, own: slice
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a field should be, and what it is, for the members of a group."""
    had = np.asarray(getattr(problem, name), dtype=np.float64)
    need = np.broadcast_to(np.asarray(changes[name], dtype=np.float64), had.shape)
    return need[own], had[own]


def _more_memory(
    where: str, share: float, reserved: float, need: npt.NDArray[np.float64], had: npt.NDArray[np.float64]
) -> list[FileChange]:
    short = need > had
    if not short.any():
        return []
    wanted = float((need[short] / np.maximum(had[short], 1e-300)).max()) * share
    if math.isfinite(wanted) and round_up(wanted) <= 1.0:
        return [FileChange(f"{where}.memory_share", round_up(wanted), "what it is to hold has to fit")]
    memory = round_up(float(need[short].max()) / share + reserved)
    return [FileChange(f"{where}.memory", memory, "bytes; or a smaller batch, fewer tokens, checkpointing")]
