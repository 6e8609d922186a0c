"""edgealloc figure: the figures of Liu & Zhao, with the certified bound, and what was found and chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgealloc.cli.common import INTERRUPTED, load_plugin, print_json, progress
from edgealloc.errors import DataError, nearest

if TYPE_CHECKING:
    from edgealloc.reproduce.liu_zhao_2024.figures import FigureResult

__all__ = ["figure"]

_EDITIONS: Final = ("literal", "physical", "both")
_FORMATS: Final = ("png", "pdf", "svg")


def figure(
    name: Annotated[str | None, typer.Argument(help="2a, 2b, 3a, 3b, 3c, 4, 5a, 5b, with commas between, or all.")]
    = None,
    edition: Annotated[str, typer.Option(help="literal, physical or both.")] = "both",
    samples: Annotated[int, typer.Option(help="Monte-Carlo samples at every point.")] = 5,
    users: Annotated[int, typer.Option(help="Usual number of users; figure 4 has twice as many.")] = 50,
    servers: Annotated[int, typer.Option(help="Usual number of servers.")] = 10,
    values: Annotated[str | None, typer.Option(help="Other x values, with commas between.")] = None,
    gap: Annotated[float, typer.Option(help="Relative gap at which certified stops.")] = 2e-3,
    time_limit: Annotated[float, typer.Option(help="Seconds for each method at each point.")] = 300.0,
    out: Annotated[Path, typer.Option(help="Folder for pictures and tables; made if it is not there.")] = Path(),
    picture: Annotated[str, typer.Option("--format", help="png, pdf or svg.")] = "png",
    workers: Annotated[int, typer.Option(help="Processes, each with one thread.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    plugin: Annotated[Path | None, typer.Option(help="A Python file that registers methods (one process).")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="The defects of the literal problem, by numbers.")] = False,
) -> int | None:
    """Reproduce figures of Liu & Zhao (MobiHoc 2024): picture, CSV, trends, rankings, choices that are ours."""
    if explain:
        return _explain(as_json)
    from edgealloc.reproduce.liu_zhao_2024.figures import FIGURES, run_figures

    if listed or name is None:
        return _list(as_json)
    if edition not in _EDITIONS:
        raise DataError(f"--edition: is '{edition}'; {nearest(edition, _EDITIONS)}")
    if picture not in _FORMATS:
        raise DataError(f"--format: is '{picture}'; give one of {', '.join(_FORMATS)}")
    if out.exists() and not out.is_dir():
        raise DataError(f"--out: {out} is no folder")
    load_plugin(plugin)
    names = list(FIGURES) if name == "all" else [one.strip() for one in name.split(",") if one.strip()]
    editions = ("literal", "physical") if edition == "both" else (edition,)
    records: list[dict[str, Any]] = []
    told: set[str] = set()  # editions whose assumptions were printed
    interrupted = False
    with progress() as report:
        for result in run_figures(
            names, editions, samples, users=users, servers=servers, values=_numbers(values), gap=gap,
            time_limit_s=time_limit, workers=workers, on_progress=report,
        ):
            files = result.save(out, picture)
            interrupted = interrupted or result.sweep.interrupted
            records.append(_record(result, files))
            if not as_json:
                typer.echo(result.text(assumptions=result.edition not in told))
                if result.edition in told:
                    typer.echo(f"  - the assumptions of the {result.edition} edition: see above")
                typer.echo("\nfiles\n" + "".join(f"  - {path}\n" for path in files))
                told.add(result.edition)
    if as_json:
        print_json({"figures": records})
    return INTERRUPTED if interrupted else 0


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(one) for one in text.split(",") if one.strip()]
    except ValueError as error:
        raise DataError(f"--values: {text!r} are no numbers; write 1,5,10") from error


def _record(result: FigureResult, files: tuple[Path, ...]) -> dict[str, Any]:
    return {
        "figure": result.figure.name, "title": result.figure.title, "edition": result.edition,
        "interrupted": result.sweep.interrupted, "trends": result.trends, "rankings": result.rankings,
        "choices": result.choices, "assumptions": result.assumptions, "summary": result.summary.to_dict("records"),
        "files": [str(path) for path in files],
    }


def _list(as_json: bool) -> int:
    from edgealloc.core.tables import text_table
    from edgealloc.reproduce.liu_zhao_2024.figures import FIGURES

    if as_json:
        print_json({"figures": [
            {"name": one.name, "title": one.title, "quantity": one.quantity, "methods": one.runs.methods,
             "values": one.runs.values, "trends": [trend.statement for trend in one.trends]}
            for one in FIGURES.values()
        ]})
        return 0
    rows = [[one.name, one.title, one.quantity, ", ".join(one.runs.methods)] for one in FIGURES.values()]
    typer.echo(text_table(["figure", "what", "draws", "methods"], rows))
    typer.echo("\nedgealloc figure 3a --out figures   (or: all; --edition literal|physical|both; --explain)")
    return 0


def _explain(as_json: bool) -> int:
    from edgealloc.reproduce.liu_zhao_2024 import defects

    found = defects.defects()
    if as_json:
        print_json({"defects": found})
    else:
        typer.echo(defects.text(found))
    return 0
