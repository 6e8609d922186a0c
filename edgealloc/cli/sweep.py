"""edgealloc sweep: a key of a scenario over a range, several samples, several methods, one table."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgealloc.cli.common import INFEASIBLE, INTERRUPTED, load_plugin, print_json, progress, writable
from edgealloc.errors import DataError

if TYPE_CHECKING:
    from edgealloc.sweeps.result import Sweep

__all__ = ["parse_vary", "sweep"]


def sweep(
    file: Annotated[Path, typer.Argument(help="Scenario file (TOML, YAML or JSON).")],
    vary: Annotated[
        str,
        typer.Option(
            help="KEY=START:STOP:COUNT (evenly spaced) or KEY=a,b,c; keys as in the file, such as weights.energy, "
            "users.0.count or network.rate."
        ),
    ],
    samples: Annotated[int, typer.Option(help="Monte-Carlo samples: seeds from the scenario's own on.")] = 1,
    methods: Annotated[str | None, typer.Option(help="Names, with commas between; else all fast ones.")] = None,
    gap: Annotated[float, typer.Option(help="Relative gap at which a method may stop.")] = 1e-3,
    time_limit: Annotated[float, typer.Option(help="Seconds for each method at each point.")] = 60.0,
    threads: Annotated[int | None, typer.Option(help="Threads of one solve; all processors by default.")] = None,
    workers: Annotated[int, typer.Option(help="Processes, each with one thread.")] = 1,
    level: Annotated[float, typer.Option(help="Level of the confidence intervals.")] = 0.95,
    y: Annotated[str, typer.Option(help="What --plot draws: a column of the table.")] = "objective",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write all rows to a .csv file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves (.png, .pdf or .svg).")] = None,
    plugin: Annotated[Path | None, typer.Option(help="A Python file that registers methods.")] = None,
) -> int | None:
    """Solve a scenario over the values of one key, with samples and confidence intervals."""
    from edgealloc.core.figures import SUFFIXES, save_figure
    from edgealloc.core.kinds import problem_class
    from edgealloc.core.method import find_method
    from edgealloc.errors import nearest
    from edgealloc.scenarios.scenario import Scenario
    from edgealloc.sweeps.engine import sweep as run_sweep
    from edgealloc.sweeps.points import LABELS, columns_of
    from edgealloc.sweeps.statistics import mean_and_half_width

    writable(out, "--out", (".csv",))
    writable(plot, "--plot", SUFFIXES)
    mean_and_half_width([], level)
    key, values = parse_vary(vary)
    load_plugin(plugin)
    scenario = Scenario.load(file)
    kind = problem_class(scenario.kind)
    texts = (*LABELS, *(one.name for one in kind.COLUMNS if not one.number))
    quantities = [name for name in columns_of(kind.COLUMNS) if name not in texts]
    if y not in quantities:
        raise DataError(f"--y: no quantity '{y}'; {nearest(y, quantities)}")
    names = None if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    for name in names or ():
        find_method(scenario.kind, kind.METHODS, name)
    setup: Callable[[], object] | None = None if plugin is None else functools.partial(load_plugin, plugin.absolute())
    with progress("sweep") as report:
        table = run_sweep(
            scenario, key, values, methods=names, samples=samples, gap=gap, time_limit_s=time_limit, threads=threads,
            workers=workers, setup=setup, on_progress=report,
        )
    if out is not None:
        table.to_csv(out)
    if plot is not None:
        save_figure(table.plot(y, level=level), plot)
    if as_json:
        print_json(
            {
                "scenario": scenario.name, "parameter": key, "values": table.values, "seeds": table.seeds,
                "methods": table.methods, "interrupted": table.interrupted, "level": level, "rows": table.rows,
                "summary": table.summary(level).to_dict("records"),
            }
        )
    else:
        typer.echo(f"{scenario.describe()}\n\n{table.to_text(level=level)}")
    return INTERRUPTED if table.interrupted else _nothing_feasible(table)


def _nothing_feasible(table: Sweep) -> int:
    infeasible = bool(table.rows) and all(row["status"] == "infeasible" for row in table.rows)
    return INFEASIBLE if infeasible else 0


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """What ``--vary`` says: a dotted key and its values.

    Whole numbers stay whole; what is no number is kept as a text for the key to understand ("20 MHz").

    Raises
    ------
    DataError
        No key, no values, or a range that is none.

    Examples
    --------
    >>> parse_vary("weights.energy=1:10:4")
    ('weights.energy', [1, 4, 7, 10])
    >>> parse_vary("servers.0.bandwidth=20 MHz,40 MHz")
    ('servers.0.bandwidth', ['20 MHz', '40 MHz'])
    """
    key, sign, right = text.partition("=")
    key, right = key.strip(), right.strip()
    if not sign or not key or not right:
        raise DataError(f"--vary: {text!r} is not KEY=VALUES; write weights.energy=1:10:10 or users.0.count=20,50,100")
    values = _range(right) if ":" in right else [_value(one.strip()) for one in right.split(",") if one.strip()]
    if not values:
        raise DataError(f"--vary: {text!r} names no values; write {key}=1,2,5")
    return key, values


def _range(text: str) -> list[Any]:
    parts = [part.strip() for part in text.split(":")]
    fix = f"--vary: {text!r} is no range; write START:STOP:COUNT, such as 1:10:10, with a COUNT of at least 2"
    try:
        start, stop, count = float(parts[0]), float(parts[1]), int(parts[2])
    except (ValueError, IndexError) as error:
        raise DataError(fix) from error
    if len(parts) != 3 or count < 2 or not (math.isfinite(start) and math.isfinite(stop)):
        raise DataError(fix)
    values = [start + (stop - start) * i / (count - 1) for i in range(count - 1)] + [stop]
    whole = all(part.lstrip("+-").isdigit() for part in parts[:2]) and all(value == round(value) for value in values)
    return [round(value) for value in values] if whole else values


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
