"""Jobs that no option fits, and the least change that would mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgealloc.core.constraints import Diagnosis

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["diagnose"]


def diagnose(problem: FineTuning) -> Diagnosis | None:
    """Why a job has no option, even alone; None if every job has one."""
    del problem
    return None
