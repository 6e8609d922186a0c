"""Every method against the certified one: objective over proven bound, share of instances where best, and time.

    python benchmarks/methods.py                                   # the tables of docs/benchmarks/methods.md
    python benchmarks/methods.py --sizes 20x3:10 --loads congested --methods certified,greedy
    python benchmarks/methods.py --plugin examples/own_baseline.py --methods certified,nearest --sizes 20x3:10

Sizes are USERSxSERVERS:INSTANCES, load families those of `Scenario.random`, or "paper" for its literal preset. All
methods see the same instances, in one run. "over bound" is the mean (and the worst) of objective / best proven bound of
the instance, so 1 is optimal; "best" the share of instances on which no other method was better (by more than 1e-6).
"certified is there after" is the median of the time until `certified` had an allocation at least as good as the final
one of the method, and "speed-up" the median of the ratio of both times.
"""

from __future__ import annotations

import argparse
import functools
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import edgealloc as ea
from edgealloc.core.tables import latex_table, markdown_table, text_table

#: What is a tie: two methods that reach the optimum differ by rounding and by the gap they stop at.
TIE = 1e-6
SIZES = "8x2:1000,50x5:50"
LOADS = "proportional,congested,paper"


def make(size: tuple[int, int], load: Any, seed: int) -> ea.SplitTraining:
    """The instance of a seed."""
    users, servers = size
    if load == "paper":
        return ea.Scenario.random(users, servers, preset="paper", seed=seed).split_training()
    return ea.Scenario.random(users, servers, load=load, seed=seed).split_training()


def warm(plugin: Path | None) -> None:
    """Compile (or load) every kernel before any clock runs, and register the user's methods."""
    if plugin is not None:
        runpy.run_path(str(plugin), run_name="plugin")
    ea.Scenario.random(users=4, servers=2, seed=0).split_training().solve()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def until_as_good(rows: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Seconds after which `certified` had an objective at most that of each row; nan where it never had."""
    reports: dict[tuple[Any, Any], list[tuple[float, float]]] = {}
    for line in records(history[(history["method"] == "certified") & history["objective"].notna()]):
        reports.setdefault((line["value"], line["seed"]), []).append((line["seconds"], line["objective"]))
    for line in records(rows[rows["method"] == "certified"]):
        reports.setdefault((line["value"], line["seed"]), []).append((line["seconds"], line["objective"]))

    def first(row: dict[str, Any]) -> float:
        aim = row["objective"] * (1.0 + TIE)
        return min((s for s, value in reports.get((row["value"], row["seed"]), []) if value <= aim), default=np.nan)

    return pd.Series([first(row) for row in records(rows)], index=rows.index, dtype=float)


def table(rows: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """One line per load family and method."""
    rows = rows.assign(until=until_as_good(rows, history))
    least = rows.groupby(["value", "seed"])["objective"].transform("min")
    bound = rows.groupby(["value", "seed"])["best_bound"].transform("max")
    rows = rows.assign(
        ratio=rows["objective"] / bound,
        best=(rows["objective"] <= least * (1.0 + TIE)).astype(float),
        speedup=rows["seconds"] / rows["until"],
    )
    lines = []
    for (load, method), group in rows.groupby(["value", "method"], sort=False):
        found = group[group["objective"].notna()]
        lines.append(
            {
                "load": load,
                "method": method,
                "instances": len(group),
                "answered": len(found),
                "over_bound": found["ratio"].mean(),
                "worst": found["ratio"].max(),
                "best": group["best"].mean(),
                "seconds": found["seconds"].median(),
                "until": found["until"].median(),
                "speedup": found["speedup"].median(),
                "below_bound": int((found["ratio"] < 1.0 - 1e-9).sum()),
            }
        )
    return pd.DataFrame(lines)


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"


def quality(tables: dict[str, pd.DataFrame]) -> tuple[list[str], list[list[str]]]:
    """Methods x (size, load): mean objective over bound, and the share of instances where best."""
    columns = [(size, load) for size, lines in tables.items() for load in dict.fromkeys(lines["load"])]
    methods = list(dict.fromkeys(name for lines in tables.values() for name in lines["method"]))
    cells = []
    for method in methods:
        row = [method]
        for size, load in columns:
            lines = tables[size]
            line = lines[(lines["load"] == load) & (lines["method"] == method)]
            row.append("-" if line.empty or not line["answered"].iloc[0] else
                       f"{line['over_bound'].iloc[0]:.4f} ({100 * line['best'].iloc[0]:.0f} %)")
        cells.append(row)
    return ["method", *(f"{size} {load}" for size, load in columns)], cells


def details(tables: dict[str, pd.DataFrame]) -> tuple[list[str], list[list[str]]]:
    """One line per size, load and method, with times."""
    header = ["size", "load", "method", "answered", "over bound", "worst", "best %", "time s",
              "certified is there after s", "speed-up"]
    cells = [
        [size, line["load"], line["method"], f"{line['answered']}/{line['instances']}",
         _number(line["over_bound"], ".5f"), _number(line["worst"], ".4f"), f"{100 * line['best']:.0f}",
         _number(line["seconds"], ".3f"),
         _number(line["until"], ".3f"), _number(line["speedup"], ".3g")]
        for size, lines in tables.items()
        for line in records(lines)
    ]
    return header, cells


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--loads", default=LOADS)
    parser.add_argument("--methods", help="names, with commas between; all that are not slow by default")
    parser.add_argument("--gap", type=float, default=1e-4, help="relative gap asked of methods that prove one")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of a solve")
    parser.add_argument("--workers", type=int, default=1, help="processes; times are best taken with 1")
    parser.add_argument("--plugin", type=Path, help="a Python file that registers methods")
    parser.add_argument("--out", type=Path, help="folder for methods.* and method_times.* (.md, .tex, .csv)")
    options = parser.parse_args()
    warm(options.plugin)
    names = None if options.methods is None else options.methods.split(",")
    tables, frames = {}, []
    for text in options.sizes.split(","):
        size, _, instances = text.partition(":")
        users, servers = map(int, size.split("x"))
        swept = ea.sweep(
            functools.partial(make, (users, servers)), "load", options.loads.split(","), methods=names,
            samples=int(instances or 10), gap=options.gap, time_limit_s=options.seconds, workers=options.workers,
            setup=functools.partial(warm, options.plugin), history=True,
            on_progress=lambda line: print(f"\r{line.stage:100.100}", end="", file=sys.stderr, flush=True)
            if line.stage.endswith(": done") else None,
        )
        print("", file=sys.stderr)
        tables[size] = table(swept.to_frame(), swept.history_frame())
        frames.append(swept.to_frame().assign(size=size))
    below = sum(int(lines["below_bound"].sum()) for lines in tables.values())
    solved = sum(int(lines["answered"].sum()) for lines in tables.values())
    print("mean objective over the best proven bound (share of instances where best)\n")
    print(text_table(*quality(tables)), end="\n\n")
    print(text_table(*details(tables)))
    print(f"\n{solved} answers; {below} below a proven bound")
    if options.out:
        for name, content in (("methods", quality(tables)), ("method_times", details(tables))):
            (options.out / f"{name}.md").write_text(markdown_table(*content) + "\n", encoding="utf-8")
            (options.out / f"{name}.tex").write_text(latex_table(*content) + "\n", encoding="utf-8")
        pd.concat(frames).to_csv(options.out / "methods.csv", index=False)
    sys.exit(1 if below else 0)


if __name__ == "__main__":
    main()
