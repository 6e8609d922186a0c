"""edgealloc solve: an allocation for a scenario file, with what is proven about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgealloc.cli.common import (
    FAILED,
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
    from edgealloc.core.solution import Solution
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["solve"]


def solve(
    file: Annotated[Path, typer.Argument(help="Scenario file (TOML, YAML or JSON).")],
    method: Annotated[str | None, typer.Option(help="A name from `edgealloc methods`.")] = None,
    gap: Annotated[float, typer.Option(help="Relative gap at which to stop.")] = 1e-3,
    time_limit: Annotated[float, typer.Option(help="Seconds; the best so far is kept.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of methods that draw random numbers.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Worker threads; all processors by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Where the gap comes from, what holds the cuts.")] = False,
    out: Annotated[Path | None, typer.Option(help="Save the solution (.npz) or its users or devices (.csv).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the allocation (.png, .pdf or .svg); see --what.")] = None,
    what: Annotated[
        str | None,
        typer.Option(help="What --plot draws, such as map or convergence; an unknown name lists what there is."),
    ] = None,
    plot_convergence: Annotated[Path | None, typer.Option(help="Draw objective and bound over time.")] = None,
    warm_start: Annotated[Path | None, typer.Option(help="A saved solution (.npz) to start from.")] = None,
    plugin: Annotated[Path | None, typer.Option(help="A Python file that registers methods.")] = None,
) -> int | None:
    """Solve a scenario: who does what with which resources, and what is proven about it."""
    from edgealloc.core.figures import SUFFIXES
    from edgealloc.core.solution import Solution
    from edgealloc.core.status import Termination
    from edgealloc.scenarios.scenario import Scenario

    for path, option in ((plot, "--plot"), (plot_convergence, "--plot-convergence")):
        writable(path, option, SUFFIXES)
    writable(out, "--out", (".npz", ".csv"))
    load_plugin(plugin)
    scenario = Scenario.load(file)
    problem = scenario.problem()
    what = problem.check_plot(what)
    if explain:
        problem.check_explained()
    start = None if warm_start is None else Solution.load(warm_start)
    with progress(method or problem.DEFAULT_METHOD) as report:
        solution = problem.solve(
            method,
            gap=gap,
            time_limit_s=time_limit,
            seed=seed,
            threads=threads,
            on_progress=report,
            warm_start=start,
        )
    written = _write(solution, out, ((plot, what), (plot_convergence, "convergence")))
    if as_json:
        print_json(_document(scenario, solution, written, explain))
    else:
        _print(scenario, solution, written, file, explain)
    if solution.termination == Termination.INTERRUPTED:
        return INTERRUPTED
    if solution.diagnosis is not None:
        return INFEASIBLE
    return FAILED if solution.allocation is None else 0


def _write(
    solution: Solution[Any, Any], out: Path | None, plots: tuple[tuple[Path | None, str], ...]
) -> list[Path]:
    """Write what was asked for; an answer that does not exist is not drawn."""
    written: list[Path] = []
    if any(path is not None for path, _ in plots):
        import matplotlib as mpl

        from edgealloc.core.figures import save_figure

        mpl.use("Agg")  # no display is needed to write a file
    for path, what in plots:
        if path is not None and solution.allocation is not None:
            save_figure(solution.plot(what), path)
            written.append(path)
    if out is not None and out.suffix.lower() == ".npz":
        written.append(solution.save(out))
    elif out is not None and solution.allocation is not None:
        solution.to_frame().to_csv(out, index=False)
        written.append(out)
    return written


def _print(scenario: Scenario, solution: Solution[Any, Any], written: list[Path], file: Path, explain: bool) -> None:
    if solution.diagnosis is not None:
        typer.echo(scenario.describe())
        typer.echo("")
        typer.echo(diagnosis_text(scenario, solution.diagnosis))
    else:
        typer.echo(solution.summary())
        if explain and solution.allocation is not None:
            typer.echo("")
            typer.echo(solution.explain().text())
    for path in written:
        typer.echo(f"wrote {path}")
    if not written and solution.allocation is not None:
        typer.echo("")
        picture, agent = solution.problem.check_plot(None), solution.problem.TABLES[0].removesuffix("s")
        command = f"edgealloc solve {file} --out solution.npz --plot {picture}.png"
        typer.echo(f"next: {command}   (or --json for every {agent})")


def _document(scenario: Scenario, solution: Solution[Any, Any], written: list[Path], explain: bool) -> dict[str, Any]:
    solved = solution.allocation is not None
    problem, costs = solution.problem, solution.costs
    totals = dict.fromkeys(one.name for one in problem.COLUMNS)
    agents, shared = problem.TABLES
    return {
        "scenario": scenario.name,
        "kind": problem.kind,
        "problem": problem.describe(),
        "method": solution.method,
        "status": solution.status,
        "termination": solution.termination,
        "objective": solution.objective,
        "bound": solution.bound,
        "gap": solution.gap,
        "seconds": solution.seconds,
        "seed": solution.seed,
        **(totals if costs is None else problem.comparison_columns(solution.allocation, costs)),
        "allocation": solution.allocation,
        "violations": dict(solution.violations),
        "prices": dict(solution.prices),
        "bound_prices": dict(solution.bound_prices),
        agents: solution.to_frame().to_dict("records") if solved else [],
        shared: solution.servers_frame().to_dict("records") if solved else [],
        "explanation": solution.explain().record() if explain and solved else None,
        "diagnosis": None if solution.diagnosis is None else diagnosis_record(scenario, solution.diagnosis),
        "attempts": list(solution.attempts),
        "files": [str(path) for path in written],
    }
