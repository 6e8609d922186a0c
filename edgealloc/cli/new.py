"""edgealloc new: write a complete scenario to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

__all__ = ["new"]

#: kind of problem -> the maker of `Scenario` for it, and the options that the maker takes.
_MAKERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "split-training": ("random", ("users", "servers", "model", "load", "preset")),
    "pool-training": ("random_pool", ("devices", "model", "network")),
    "fine-tuning": ("random_fleet", ("jobs", "servers", "model")),
    "deployment": ("random_deployment", ("devices", "servers")),
}


def new(
    path: Annotated[Path, typer.Argument(help="File to write; ends in .toml.")],
    kind: Annotated[
        str, typer.Option(help="split-training, pool-training, fine-tuning or deployment.")
    ] = "split-training",
    users: Annotated[int | None, typer.Option(help="Split training: number of users (50).")] = None,
    servers: Annotated[
        int | None, typer.Option(help="Split training, fine-tuning, deployment: number of edge servers (5; 2; 2).")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="Pool training, deployment: number of devices (6; 50).")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Fine-tuning: number of jobs (20).")] = None,
    model: Annotated[str | None, typer.Option(help="Catalog name of the model; see edgealloc catalog models.")] = None,
    load: Annotated[
        str | None,
        typer.Option(help="Split training: 'proportional' capacity (the default), or 'congested': a quarter."),
    ] = None,
    network: Annotated[str | None, typer.Option(help="Pool training: what connects the devices ('wifi').")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    preset: Annotated[
        str | None,
        typer.Option(help="Split training: 'physical' (the default), or 'paper': Liu & Zhao, section 6, literally "
                          "(it has 10 servers)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> int | None:
    """Write a complete scenario file with explanations, to be edited."""
    from edgealloc.errors import DataError, nearest
    from edgealloc.scenarios.scenario import Scenario

    if kind not in _MAKERS:
        raise DataError(f"--kind: '{kind}' is no kind of problem; {nearest(kind, _MAKERS)}")
    maker, takes = _MAKERS[kind]
    options: dict[str, Any] = {
        "users": users, "servers": servers, "devices": devices, "jobs": jobs, "model": model, "load": load,
        "network": network, "preset": preset,
    }
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in takes:
            raise DataError(f"--{name}: a {kind} scenario has none; it takes {', '.join(f'--{one}' for one in takes)}")
    if path.exists() and not force:
        raise DataError(f"{path} exists already; --force replaces it")
    scenario: Scenario = getattr(Scenario, maker)(**given, seed=seed)
    scenario.save(path)
    typer.echo(f"wrote {path}: {scenario.describe()}")
    typer.echo(f"next: edit it, then  edgealloc check {path}  and  edgealloc solve {path}")
    return 0
