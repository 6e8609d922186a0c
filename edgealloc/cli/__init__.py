"""The command line: ``edgealloc new | check | solve | compare | sweep | fits | figure | methods | catalog | cite``.

Tables on stdout, progress and messages on stderr. Exit codes: 0 done, 1 no allocation found, 2 bad input,
3 infeasible, 130 interrupted (what was found so far is printed).
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import edgealloc
from edgealloc.cli.catalog import catalog
from edgealloc.cli.check import check
from edgealloc.cli.cite import cite
from edgealloc.cli.common import INTERRUPTED, guarded
from edgealloc.cli.compare import compare
from edgealloc.cli.figure import figure
from edgealloc.cli.fits import fits
from edgealloc.cli.methods import methods
from edgealloc.cli.new import new
from edgealloc.cli.solve import solve
from edgealloc.cli.sweep import sweep

__all__ = ["app", "main"]

app = typer.Typer(
    name="edgealloc",
    help="Resource allocation with a proof for large language models at the mobile edge.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (new, check, solve, compare, sweep, fits, figure, methods, catalog, cite):
    app.command(command.__name__)(guarded(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgealloc {edgealloc.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Resource allocation with a proof for large language models at the mobile edge."""


def main() -> None:
    """Entry point of the `edgealloc` command."""
    try:
        app(prog_name="edgealloc")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
