"""The split-training kind of scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.weights import Weights
from edgealloc.scenarios.kinds import Kind
from edgealloc.scenarios.split_training import repair, report
from edgealloc.scenarios.split_training.checks import check_split_training
from edgealloc.scenarios.split_training.schema import SCHEMA

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["KIND"]


def _build(scenario: Scenario, source: str, weights: Weights | None) -> SplitTraining:
    from edgealloc.scenarios.builders.split_training import build

    return build(report.split_document(scenario), scenario.catalog, scenario.gains, source, weights)


def _size(scenario: Scenario) -> dict[str, int]:
    document = report.split_document(scenario)
    groups: dict[str, Any] = {"users": document.users, "servers": document.servers}
    return {what: sum(one.count or len(one.positions or ()) for one in some) for what, some in groups.items()}


def _no_assumptions(scenario: Scenario) -> dict[str, str]:
    del scenario
    return {}


KIND: Final = Kind(
    schema=SCHEMA,
    check=check_split_training,
    build=_build,
    size=_size,
    headline=report.headline,
    numbers=report.numbers,
    limit_lines=report.limit_lines,
    reference_lines=report.reference_lines,
    entries=report.entries,
    changes=repair.file_changes,
    assumptions=_no_assumptions,
)
