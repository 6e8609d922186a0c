"""From the diagnosis of an infeasible pool-training problem to the keys of the file that mend it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgealloc.scenarios.pool_training.report import pool_document
from edgealloc.scenarios.repair import FileChange, round_up

if TYPE_CHECKING:
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["file_changes"]


def file_changes(scenario: Scenario, diagnosis: Diagnosis) -> tuple[FileChange, ...]:
    """The changes of a scenario that make it feasible, values rounded to the safe side."""
    from edgealloc.scenarios.builders.pool_training import usable_bytes

    document, changes = pool_document(scenario), diagnosis.changes
    found: list[FileChange] = []
    if "memory_bytes" in changes:
        wanted = np.broadcast_to(
            np.asarray(changes["memory_bytes"], dtype=np.float64), (sum(group.count for group in document.devices),)
        )
        first = 0
        for i, group in enumerate(document.devices):
            need = float(wanted[first : first + group.count].max())
            first += group.count
            had = usable_bytes(group, scenario.catalog)
            if need <= had:
                continue
            share = group.memory_share * need / had if had > 0.0 else math.inf
            if math.isfinite(share) and round_up(share) <= 1.0:
                found.append(FileChange(f"devices.{i}.memory_share", round_up(share), "what it is to hold has to fit"))
            else:
                memory = round_up(need / group.memory_share + group.memory_reserved)
                why = "bytes; or lower model.batch or model.tokens, or add devices"
                found.append(FileChange(f"devices.{i}.memory", memory, why))
    if changes.get("deadline_s") is not None:
        value = round_up(float(changes["deadline_s"]))
        found.append(FileChange("limits.deadline", value, "seconds; what a plan was found to keep"))
    if "parallelisms" in changes:
        allowed = list(changes["parallelisms"])
        found.append(FileChange("limits.parallelisms", allowed, "the others fit no device"))
    return tuple(found)
