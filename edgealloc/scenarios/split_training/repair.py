"""From the diagnosis of an infeasible split-training problem to the keys of the file that mend it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgealloc.scenarios.builders.limits import group_size, server_bytes, server_need, server_room
from edgealloc.scenarios.repair import FileChange, round_up
from edgealloc.scenarios.split_training.report import split_document

if TYPE_CHECKING:
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.scenarios.scenario import Scenario
    from edgealloc.scenarios.split_training.schema import ServerGroup, UserGroup

__all__ = ["file_changes"]


def file_changes(scenario: Scenario, diagnosis: Diagnosis) -> tuple[FileChange, ...]:
    """The changes of a scenario that make it feasible: ``scenario.changed({c.path: c.value for c in ...})``.

    Values are rounded to the safe side. A user that no server hears has no key of its own in the file, so
    what is said then has an empty path.
    """
    changes = diagnosis.changes
    found: list[FileChange] = []
    if "stability_limit" in changes:
        found.append(
            FileChange(
                "limits.stability_limit",
                round_up(float(np.max(changes["stability_limit"]))),
                "the instability of the user with the fewest samples at its smallest cut",
            )
        )
    found += _deadlines(scenario, changes)
    found += _servers(scenario, changes)
    memory = scenario.problem().device_memory_bytes if "device_memory_bytes" in changes else None
    for i, part in _parts(split_document(scenario).users):
        group = split_document(scenario).users[i]
        if memory is not None:
            found += _memory(scenario, i, memory[part], changes["device_memory_bytes"][part])
        for key, pick in (("min_local_layers", np.min), ("max_local_layers", np.max)):
            if key in changes:
                value, old = int(pick(changes[key][part])), getattr(group, key)
                if value != old and old is not None:
                    found.append(FileChange(f"users.{i}.{key}", value, "cuts that some user of the group can have"))
    if "gain" in changes:
        found.append(FileChange("", "", "some users hear no server: correct their gains, move them, or add a server"))
    return tuple(found)


def _parts(groups: Sequence[UserGroup | ServerGroup]) -> Iterator[tuple[int, slice]]:
    """Which entries of an array over users or servers belong to each group."""
    first = 0
    for i, group in enumerate(groups):
        last = first + group_size(group)
        yield i, slice(first, last)
        first = last


def _deadlines(scenario: Scenario, changes: Mapping[str, Any]) -> list[FileChange]:
    """Later deadlines, where they stand: in the group, or under [limits] for all groups without their own."""
    if "deadline_s" not in changes:
        return []
    document, wanted = split_document(scenario), np.asarray(changes["deadline_s"], dtype=np.float64)
    why = "seconds; what an allocation was found to keep for every user it is for"
    latest: dict[str, float] = {}
    for i, part in _parts(document.users):
        own = document.users[i].deadline
        old = document.limits.deadline if own is None else own
        new = float(wanted[part].max())
        if old is None or new <= old:
            continue
        path = "limits.deadline" if own is None else f"users.{i}.deadline"
        latest[path] = max(latest.get(path, 0.0), new)
    return [FileChange(path, "none" if math.isinf(new) else round_up(new), why) for path, new in latest.items()]


def _servers(scenario: Scenario, changes: Mapping[str, Any]) -> list[FileChange]:
    """More users and more memory per server."""
    found: list[FileChange] = []
    document = split_document(scenario)
    need = server_need(document, scenario.catalog) if "server_memory_bytes" in changes else None
    for i, part in _parts(document.servers):
        group = document.servers[i]
        if "users_per_server" in changes and group.users_max is not None:
            cap = int(np.max(changes["users_per_server"][part]))
            if cap > group.users_max:
                found.append(FileChange(f"servers.{i}.users_max", cap, "every user needs a place"))
        if need is None:
            continue
        wanted, had = float(np.max(changes["server_memory_bytes"][part])), server_room(group, scenario.catalog, need)
        if wanted <= had:
            continue
        total = server_bytes(group, scenario.catalog)
        share = (wanted + need.base_bytes) / total if total > 0.0 else math.inf
        if math.isfinite(share) and round_up(share) <= 1.0:
            found.append(FileChange(f"servers.{i}.memory_share", round_up(share), "what users need there has to fit"))
        else:
            memory = round_up((wanted + need.base_bytes) / group.memory_share)
            found.append(FileChange(f"servers.{i}.memory", memory, "bytes; or lower model.batch or model.tokens"))
    return found


def _memory(scenario: Scenario, i: int, had: Any, needed: Any) -> list[FileChange]:
    """More of the device's memory for training if that is enough, else a device with more memory."""
    group = split_document(scenario).users[i]
    share = group.memory_share * float(np.max(needed / np.maximum(had, 1e-300)))
    if share <= group.memory_share:
        return []
    where = f"users.{i}"
    if round_up(share) <= 1.0:
        return [FileChange(f"{where}.memory_share", round_up(share), "the smallest cut has to fit")]
    need = round_up(float(np.max(needed)) / group.memory_share)
    return [FileChange(f"{where}.memory", need, "bytes; or lower model.batch, model.tokens or min_local_layers")]
