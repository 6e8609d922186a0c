"""The kinds of problem, by the name a scenario file uses. Texts, because core knows no formulation."""

from __future__ import annotations

from typing import Any, Final

from edgealloc.core.links import resolve

__all__ = ["KINDS", "problem_class"]

KINDS: Final[dict[str, str]] = {
    "split-training": "edgealloc.formulations.split_training.problem:SplitTraining",
    "pool-training": "edgealloc.formulations.pool_training.problem:PoolTraining",
    "fine-tuning": "edgealloc.formulations.fine_tuning.problem:FineTuning",
    "deployment": "edgealloc.formulations.deployment.problem:Deployment",
}


def problem_class(kind: str) -> Any:
    """The problem class of a kind, imported on first use."""
    return resolve(KINDS[kind])
