"""edgealloc check: is the file right, what does it say, where are its numbers from, can its limits be met?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgealloc.cli.common import INFEASIBLE, diagnosis_record, diagnosis_text, print_json

if TYPE_CHECKING:
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["check"]


def check(
    file: Annotated[Path, typer.Argument(help="Scenario file (TOML, YAML or JSON).")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> int | None:
    """Check a scenario file: faults, every number with its source, assumptions, feasibility."""
    from edgealloc.scenarios.scenario import Scenario

    scenario = Scenario.load(file)
    problem = scenario.problem()
    diagnosis = problem.diagnose()
    if as_json:
        print_json(_document(scenario, problem, diagnosis))
    else:
        typer.echo(_page(scenario, problem))
        typer.echo("")
        if diagnosis is None:
            typer.echo(problem.unjudged()[1])
        else:
            typer.echo(diagnosis_text(scenario, diagnosis))
    return INFEASIBLE if diagnosis is not None else 0


def _page(scenario: Scenario, problem: Any) -> str:
    from edgealloc.core.tables import text_table
    from edgealloc.scenarios.report import MARKS, limit_lines, marks_line, reference_lines, sources

    rows = scenario.table()
    lines = [scenario.describe()]
    if scenario.document.description:
        lines.append(scenario.document.description)
    lines += [
        problem.describe(),
        *problem.facts(),
        "",
        "limits",
        *(f"  {line}" for line in limit_lines(scenario, problem) or ["none"]),
        "",
        text_table(["number", "value", "mark", "from"], [[row.path, row.shown, row.mark, row.source] for row in rows]),
        "",
        f"{len(rows)} numbers: {marks_line(rows)}",
        *(f"  {mark:<10}  {meaning}" for mark, meaning in MARKS.items() if any(row.mark == mark for row in rows)),
        *reference_lines(scenario, problem),
        "",
        "catalog entries and where they were read",
        *(f"  {name}: {source}" for name, source in sources(scenario)),
    ]
    if scenario.assumptions():
        lines += [
            "",
            "assumptions",
            *(f"  {path}: {reason}" for path, reason in scenario.assumptions().items()),
        ]
    return "\n".join(lines)


def _document(scenario: Scenario, problem: Any, diagnosis: Any) -> dict[str, Any]:
    from edgealloc.scenarios.report import limit_lines

    return {
        "scenario": scenario.name,
        "description": scenario.document.description,
        "kind": problem.kind,
        "problem": problem.describe(),
        **problem.sizes(),
        "limits": [line.strip() for line in limit_lines(scenario, problem)],
        "numbers": [row.as_dict() for row in scenario.table()],
        "assumptions": scenario.assumptions(),
        "weights_reference": dict(problem.weights.reference or {}),
        "feasible": False if diagnosis is not None else problem.unjudged()[0] or None,
        "diagnosis": None if diagnosis is None else diagnosis_record(scenario, diagnosis),
    }
