"""edgealloc compare: several methods on one scenario, one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgealloc.cli.common import (
    INFEASIBLE,
    INTERRUPTED,
    diagnosis_record,
    diagnosis_text,
    load_plugin,
    print_json,
    progress,
    writable,
)

if TYPE_CHECKING:
    from edgealloc.comparison import Comparison
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["compare"]


def compare(
    file: Annotated[Path, typer.Argument(help="Scenario file (TOML, YAML or JSON).")],
    methods: Annotated[str | None, typer.Option(help="Names, with commas between; else all fast ones.")] = None,
    gap: Annotated[float, typer.Option(help="Relative gap at which a method may stop.")] = 1e-3,
    time_limit: Annotated[float, typer.Option(help="Seconds for each method.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of methods that draw random numbers.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Worker threads; all processors by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Only the table, as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Only the table, as LaTeX.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the table to a .csv file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the comparison (.png, .pdf or .svg).")] = None,
    plugin: Annotated[Path | None, typer.Option(help="A Python file that registers methods.")] = None,
) -> int | None:
    """Compare methods on a scenario; gaps are to the best bound that any of them proved."""
    from edgealloc.comparison import compare as compare_methods
    from edgealloc.core.figures import SUFFIXES
    from edgealloc.errors import DataError
    from edgealloc.scenarios.scenario import Scenario

    if as_json + markdown + latex > 1:
        raise DataError("give only one of --json, --markdown and --latex")
    writable(out, "--out", (".csv",))
    writable(plot, "--plot", SUFFIXES)
    load_plugin(plugin)
    scenario = Scenario.load(file)
    problem = scenario.problem()
    diagnosis = problem.diagnose()
    if diagnosis is not None:
        if as_json:
            print_json(
                {
                    "scenario": scenario.name,
                    "feasible": False,
                    "diagnosis": diagnosis_record(scenario, diagnosis),
                }
            )
        else:
            typer.echo(f"{scenario.describe()}\n\n{diagnosis_text(scenario, diagnosis)}")
        return INFEASIBLE
    names = None if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    with progress("compare") as report:
        table = compare_methods(
            problem, names, gap=gap, time_limit_s=time_limit, seed=seed, threads=threads, on_progress=report
        )
    _write(table, out, plot)
    if as_json:
        print_json(
            {
                "scenario": scenario.name,
                "problem": problem.describe(),
                "feasible": True,
                "rows": table.to_frame().to_dict("records"),
            }
        )
    elif markdown or latex:
        typer.echo(table.to_markdown() if markdown else table.to_latex())
    else:
        typer.echo(_page(scenario, table, file))
    return INTERRUPTED if _interrupted(table) else 0


def _interrupted(table: Comparison) -> bool:
    from edgealloc.core.status import Termination

    ended = (solution.termination for solution in table.solutions.values())
    return table.interrupted or Termination.INTERRUPTED in ended


def _write(table: Comparison, out: Path | None, plot: Path | None) -> None:
    if out is not None:
        table.to_frame().to_csv(out, index=False)
    if plot is not None:
        import matplotlib as mpl

        from edgealloc.core.figures import save_figure

        mpl.use("Agg")  # no display is needed to write a file
        save_figure(table.plot(), plot)


def _page(scenario: Scenario, table: Any, file: Path) -> str:
    from edgealloc.scenarios.report import marks_line

    rows = scenario.table()
    lines = [scenario.describe()]
    if scenario.document.description:
        lines.append(scenario.document.description)
    lines += [
        "",
        table.to_text(),
        "",
        f"{len(rows)} numbers behind this: {marks_line(rows)}; all in: edgealloc check {file}",
        f"next: edgealloc solve {file} --plot {table.problem.check_plot(None)}.png   ({table.problem.ANSWERS})",
    ]
    return "\n".join(lines)
