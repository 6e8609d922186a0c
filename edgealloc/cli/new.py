"""edgealloc new: write a complete scenario to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["new"]


def new(
    path: Annotated[Path, typer.Argument(help="File to write; ends in .toml.")],
    users: Annotated[int, typer.Option(help="Number of users.")] = 50,
    servers: Annotated[int, typer.Option(help="Number of edge servers.")] = 5,
    model: Annotated[
        str | None, typer.Option(help="Catalog name of the model; llama3.2-1b, or the paper's, by default.")
    ] = None,
    load: Annotated[
        str | None, typer.Option(help="'proportional' capacity (the default), or 'congested': a quarter.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of positions, channels, devices and samples.")] = 0,
    preset: Annotated[
        str, typer.Option(help="'physical', or 'paper': Liu & Zhao, section 6, literally (it has 10 servers).")
    ] = "physical",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> int | None:
    """Write a complete scenario file with explanations, to be edited."""
    from edgealloc.errors import DataError
    from edgealloc.scenarios.scenario import Scenario

    if path.exists() and not force:
        raise DataError(f"{path} exists already; --force replaces it")
    scenario = Scenario.random(users, servers, model, load, seed, preset)
    scenario.save(path)
    typer.echo(f"wrote {path}: {scenario.describe()}")
    typer.echo(f"next: edit it, then  edgealloc check {path}  and  edgealloc solve {path}")
    return 0
