"""The deployment kind of scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgealloc.core.weights import Weights
from edgealloc.scenarios.deployment import repair, report
from edgealloc.scenarios.deployment.checks import check_deployment
from edgealloc.scenarios.deployment.schema import SCHEMA
from edgealloc.scenarios.kinds import Kind

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["KIND"]


def _build(scenario: Scenario, source: str, weights: Weights | None) -> Deployment:
    from edgealloc.scenarios.builders.deployment import build

    return build(report.rollout_document(scenario), scenario.catalog, source, weights)


def _size(scenario: Scenario) -> dict[str, int]:
    document = report.rollout_document(scenario)
    return {
        "devices": sum(group.count for group in document.devices),
        "servers": sum(one.count for one in document.servers),
    }


KIND: Final = Kind(
    schema=SCHEMA,
    check=check_deployment,
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
