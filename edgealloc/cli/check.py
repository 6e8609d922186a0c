"""edgealloc check: is the file right, what does it say, where are its numbers from, can its limits be met?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgealloc.cli.common import INFEASIBLE, diagnosis_record, diagnosis_text, print_json

if TYPE_CHECKING:
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["check"]

_FEASIBLE: Final = "feasible: every user has a server and a cut that satisfy every limit"
_COUPLED: Final = (
    "no user is stuck by itself: each has a server and a cut that satisfy its own limits; whether all of them fit "
    "together\nunder the deadlines, caps and memory of the servers is for `edgealloc solve` to find out"
)


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
            typer.echo(_COUPLED if _coupled(problem) else _FEASIBLE)
        else:
            typer.echo(diagnosis_text(scenario, diagnosis))
    return INFEASIBLE if diagnosis is not None else 0


def _coupled(problem: Any) -> bool:
    """Users compete for what a limit leaves, so that a diagnosis user by user proves no feasibility."""
    fields = (problem.users_per_server, problem.server_memory_bytes)
    late = problem.deadline_s is not None and problem.deadline_penalty_per_s is None
    return late or any(field is not None for field in fields)


def _page(scenario: Scenario, problem: Any) -> str:
    from edgealloc.core.tables import text_table
    from edgealloc.scenarios.report import MARKS, limit_lines, marks_line, sources

    rows = scenario.table()
    cuts = problem.cuts
    lines = [scenario.describe()]
    if scenario.document.description:
        lines.append(scenario.document.description)
    lines += [
        problem.describe(),
        f"cuts left to the users by privacy, memory and stability: {cuts.low.min()} to {cuts.high.max()} of "
        f"{problem.layers} layers on the device",
        "",
        "limits",
        *(f"  {line}" for line in limit_lines(scenario, problem) or ["none"]),
        "",
        text_table(["number", "value", "mark", "from"], [[row.path, row.shown, row.mark, row.source] for row in rows]),
        "",
        f"{len(rows)} numbers: {marks_line(rows)}",
        *(f"  {mark:<10}  {meaning}" for mark, meaning in MARKS.items() if any(row.mark == mark for row in rows)),
        "weights are relative to weights.reference: averages over the users when everyone is at the server with the "
        "best gain,",
        "cut in the middle, with equal shares, full power and full clock"
        + ("; the delay is that of a round / users" if problem.delay == "max" else ""),
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
        "users": problem.users,
        "servers": problem.servers,
        "layers": problem.layers,
        "limits": [line.strip() for line in limit_lines(scenario, problem)],
        "numbers": [row.as_dict() for row in scenario.table()],
        "assumptions": scenario.assumptions(),
        "weights_reference": dict(problem.weights.reference or {}),
        "feasible": False if diagnosis is not None else None if _coupled(problem) else True,
        "diagnosis": None if diagnosis is None else diagnosis_record(scenario, diagnosis),
    }
