"""The pool-training kind of scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgealloc.core.weights import Weights
from edgealloc.scenarios.kinds import Kind
from edgealloc.scenarios.pool_training import repair, report
from edgealloc.scenarios.pool_training.checks import check_pool_training
from edgealloc.scenarios.pool_training.schema import SCHEMA

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["KIND"]


def _build(scenario: Scenario, source: str, weights: Weights | None) -> PoolTraining:
    from edgealloc.scenarios.builders.pool_training import build

    return build(report.pool_document(scenario), scenario.catalog, source, weights)


def _size(scenario: Scenario) -> dict[str, int]:
    return {"devices": report.device_count(scenario)}


KIND: Final = Kind(
    schema=SCHEMA,
    check=check_pool_training,
    build=_build,
    size=_size,
    headline=report.headline,
    numbers=report.numbers,
    limit_lines=report.limit_lines,
    reference_lines=report.reference_lines,
    entries=report.entries,
    changes=repair.file_changes,
    assumptions=report.implied_assumptions,
)
