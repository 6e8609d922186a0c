"""The kinds of scenario file: what each says, how it is checked, built, reported and mended.

A new kind is a folder beside this file with a `Kind`, a builder in `builders`, and a line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.links import resolve
from edgealloc.core.weights import Weights
from edgealloc.errors import Fault
from edgealloc.scenarios.schema import Schema

if TYPE_CHECKING:
    from edgealloc.catalog import Catalog
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.scenarios.repair import FileChange
    from edgealloc.scenarios.report import Number
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["KINDS", "Kind", "kind_named"]

#: what a file calls its problem -> the kind; texts, so that one kind of file loads nothing of another
KINDS: Final[dict[str, str]] = {
    "split-training": "edgealloc.scenarios.split_training.kind:KIND",
    "pool-training": "edgealloc.scenarios.pool_training.kind:KIND",
    "fine-tuning": "edgealloc.scenarios.fine_tuning.kind:KIND",
    "deployment": "edgealloc.scenarios.deployment.kind:KIND",
}


@dataclass(frozen=True)
class Kind:
    """One kind of scenario file. Functions that need the formulation import it themselves, when they are called.

    Attributes
    ----------
    schema : Schema
        Its tables.
    check : callable ``(raw, folder, catalog, faults) -> extra``
        Adds what only several keys can get wrong together to `faults`; returns what belongs to the scenario beside
        its document (measured gains), or None.
    build : callable ``(scenario, source, weights) -> problem``
        The problem, its weights relative to the file's reference unless they bring their own.
    size : callable ``(scenario) -> dict``
        How many of what there are: ``{"users": 50, "servers": 5}``.
    headline : callable ``(scenario) -> str``
        Who, where, which model, in one line.
    numbers : callable ``(scenario) -> list of Number``
        Every number with its unit, source and mark.
    limit_lines : callable ``(scenario, problem) -> list of str``
        The limits in words.
    reference_lines : callable ``(scenario, problem) -> list of str``
        What the weights are relative to.
    entries : callable ``(scenario) -> (models, devices)``
        Catalog entries that it uses.
    changes : callable ``(scenario, diagnosis) -> tuple of FileChange``
        Keys that mend an infeasible problem.
    assumptions : callable ``(scenario) -> dict``
        Assumptions that nobody wrote down: defaults of ours that are no facts.
    """

    schema: Schema
    check: Callable[[Mapping[str, Any], Path, Catalog, list[Fault]], Any]
    build: Callable[[Scenario, str, Weights | None], Any]
    size: Callable[[Scenario], dict[str, int]]
    headline: Callable[[Scenario], str]
    numbers: Callable[[Scenario], list[Number]]
    limit_lines: Callable[[Scenario, Any], list[str]]
    reference_lines: Callable[[Scenario, Any], list[str]]
    entries: Callable[[Scenario], tuple[list[str], list[str]]]
    changes: Callable[[Scenario, Diagnosis], tuple[FileChange, ...]]
    assumptions: Callable[[Scenario], dict[str, str]]


def kind_named(name: str) -> Kind:
    """The kind of that name, loaded on first use."""
    kind: Kind = resolve(KINDS[name])
    return kind
