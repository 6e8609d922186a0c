"""edgealloc methods: how a kind of problem can be solved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgealloc.cli.common import load_plugin, print_json

__all__ = ["methods"]


def methods(
    what: Annotated[str, typer.Argument(help="A kind of problem, or a scenario file.")] = "split-training",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    plugin: Annotated[Path | None, typer.Option(help="A Python file that registers methods.")] = None,
) -> int | None:
    """List the methods for a kind of problem: what each does, whether it proves a bound, where it is from."""
    from edgealloc.core.kinds import KINDS, problem_class
    from edgealloc.core.tables import text_table
    from edgealloc.errors import DataError, nearest

    load_plugin(plugin)
    kind = what
    if kind not in KINDS:
        if not (Path(what).suffix or Path(what).exists()):
            raise DataError(f"'{what}' is neither a kind of problem nor a file; {nearest(what, KINDS)}")
        from edgealloc.scenarios.scenario import Scenario

        kind = Scenario.load(what).kind
    known = problem_class(kind).methods().values()
    if as_json:
        print_json(
            {
                "kind": kind,
                "methods": [
                    {
                        "name": one.name,
                        "summary": one.summary,
                        "proves": one.proves,
                        "slow": one.slow,
                        "needs": one.needs,
                        "reference": one.reference,
                    }
                    for one in known
                ],
            }
        )
        return 0
    rows = [
        [one.name, "yes" if one.proves else "no", "no" if one.slow else "yes", one.summary, one.reference]
        for one in known
    ]
    typer.echo(text_table(["method", "proves", "in compare", "what it does", "from"], rows))
    others = [one for one in KINDS if one != kind]
    if others:
        typer.echo(f"\nthese solve {kind}; others: edgealloc methods {' | '.join(others)}")
    return 0
