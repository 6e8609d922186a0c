"""The fine-tuning kind of scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgealloc.core.weights import Weights
from edgealloc.scenarios.fine_tuning import repair, report
from edgealloc.scenarios.fine_tuning.checks import check_fine_tuning
from edgealloc.scenarios.fine_tuning.schema import SCHEMA
from edgealloc.scenarios.kinds import Kind

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["KIND"]


def _build(scenario: Scenario, source: str, weights: Weights | None) -> FineTuning:
    from edgealloc.scenarios.builders.fine_tuning import build

    return build(report.fleet_document(scenario), scenario.catalog, source, weights)


def _size(scenario: Scenario) -> dict[str, int]:
    document = report.fleet_document(scenario)
    return {"jobs": sum(group.count for group in document.jobs), "servers": sum(one.count for one in document.servers)}


KIND: Final = Kind(
    schema=SCHEMA,
    check=check_fine_tuning,
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
