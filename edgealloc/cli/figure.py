"""edgealloc figure: the figures of a paper, with the certified bound, and what was found and chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgealloc.cli.common import INTERRUPTED, load_plugin, print_json, progress
from edgealloc.errors import DataError, nearest

if TYPE_CHECKING:
    from edgealloc.reproduce.papers import Paper

__all__ = ["figure"]


def figure(
    name: Annotated[str | None, typer.Argument(help="Names of figures with commas between, or all; see --list.")]
    = None,
    paper: Annotated[str, typer.Option(help="liu-zhao-2024 (split training), zeng-2024 (pools), dong-2024 (fleets) "
                                            "or zhang-2024 (deployment).")]
    = "liu-zhao-2024",
    edition: Annotated[str, typer.Option(help="Of liu-zhao-2024: literal or physical; of zeng-2024: nano or mixed; of "
                                              "dong-2024: short or long; of zhang-2024: llama3 or llama2; "
                                              "or both.")] = "both",
    samples: Annotated[int | None, typer.Option(help="Monte-Carlo samples at every point (5).")] = None,
    users: Annotated[int | None, typer.Option(help="Usual number of users (50); figure 4 has twice as many.")] = None,
    servers: Annotated[int | None, typer.Option(help="Usual number of servers (10).")] = None,
    values: Annotated[str | None, typer.Option(help="Other x values, with commas between.")] = None,
    models: Annotated[str | None, typer.Option(help="Other models of the catalog, with commas between.")] = None,
    gap: Annotated[float | None, typer.Option(help="Relative gap at which certified stops.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for each method at each point.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for pictures and tables; made if it is not there.")] = Path(),
    picture: Annotated[str, typer.Option("--format", help="png, pdf or svg.")] = "png",
    workers: Annotated[int | None, typer.Option(help="Processes (1), each with one thread.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    plugin: Annotated[Path | None, typer.Option(help="A Python file that registers methods (one process).")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="The defects of the literal problem, by numbers.")] = False,
) -> int | None:
    """Reproduce figures of a paper: picture, CSV, trends, rankings, choices that are ours."""
    from edgealloc.reproduce.papers import find_paper
    from edgealloc.reproduce.results import check_format

    source = find_paper(paper)
    if explain:
        return _explain(source, as_json)
    if listed or name is None:
        return _list(source, as_json)
    editions = source.edition_names()
    if edition not in (*editions, "both"):
        raise DataError(f"--edition: is '{edition}'; {nearest(edition, [*editions, 'both'])}")
    check_format(picture, "--format")
    if out.exists() and not out.is_dir():
        raise DataError(f"--out: {out} is no folder")
    load_plugin(plugin)
    names = source.figure_names() if name == "all" else _words(name)
    given = {
        "samples": samples, "users": users, "servers": servers, "values": _numbers(values), "gap": gap,
        "models": None if models is None else _words(models), "time_limit_s": time_limit, "workers": workers,
    }
    options = {key: value for key, value in given.items() if value is not None}
    records: list[dict[str, Any]] = []
    told: set[str] = set()  # editions whose assumptions were printed
    interrupted = False
    with progress() as report:
        for result in source.results(names, editions if edition == "both" else [edition], options, report):
            files = result.save(out, picture)
            interrupted = interrupted or result.interrupted
            records.append({**result.record(), "files": [str(path) for path in files]})
            if not as_json:
                typer.echo(result.text(assumptions=result.edition not in told))
                if result.edition in told:
                    typer.echo(f"  - the assumptions of the {result.edition} edition: see above")
                typer.echo("\nfiles\n" + "".join(f"  - {path}\n" for path in files))
                told.add(result.edition)
    if as_json:
        print_json({"figures": records})
    return INTERRUPTED if interrupted else 0


def _words(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(one) for one in _words(text)]
    except ValueError as error:
        raise DataError(f"--values: {text!r} are no numbers; write 1,5,10") from error


def _list(paper: Paper, as_json: bool) -> int:
    from edgealloc.core.tables import text_table
    from edgealloc.reproduce.papers import PAPERS

    rows = paper.rows()
    if as_json:
        print_json({"figures": rows})
        return 0
    typer.echo(paper.title)
    shown = [[row["name"], row["title"], row["quantity"], ", ".join(row["methods"])] for row in rows]
    typer.echo(text_table(["figure", "what", "draws", "methods"], shown))
    typer.echo(f"\n{paper.example}")
    others = [one.name for one in PAPERS.values() if one is not paper]
    typer.echo("".join(f"figures of another paper: edgealloc figure --paper {other} --list\n" for other in others),
               nl=False)
    return 0


def _explain(paper: Paper, as_json: bool) -> int:
    from edgealloc.core.links import resolve

    if not paper.explain:
        page = f"docs/{paper.name.replace('-', '_')}.md"
        raise DataError(f"--explain: there is no page of defects for {paper.name}; see {page}")
    record, text = resolve(paper.explain)()
    if as_json:
        print_json(record)
    else:
        typer.echo(text)
    return 0
