"""No method below a proven bound: every method on thousands of tiny problems of every variant of the model.

    python benchmarks/never_below.py [COUNT] [--first SEED] [--methods a,b] [--workers P] [--markdown table.md]

The problems are those of the tests (`tests/split_training/instances.py`): degenerate and extreme numbers, both
stability models, clock-scaled and time-shared servers, upload counted or not, floors, ceilings and dead links. All
answers have passed the library's own re-check of feasibility. Exits 1 if an objective is below a bound that any method
proved.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "split_training"))

from instances import instance

import edgealloc as ea
from edgealloc.core.tables import markdown_table, text_table

HEADER = ["method", "problems", "answered", "below a bound", "mean over bound", "worst", "optimal to 1e-6 %", "time s"]
#: Objectives are good to about 1e-14, and the least bound is 0 where nothing costs anything.
ROUNDING = 1e-9


def make(value: Any, seed: int) -> ea.SplitTraining:
    """The tiny problem of a seed."""
    del value
    return instance(seed)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--methods", help="names, with commas between; all of the table but convex by default")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    every = [name for name in ea.SplitTraining.methods() if name not in ("convex", "exact", "prove")]
    swept = ea.sweep(
        make, "variant", ["all"], methods=options.methods.split(",") if options.methods else every, gap=1e-6,
        seeds=range(options.first, options.first + options.count), time_limit_s=10.0, workers=options.workers,
        on_progress=functools.partial(_tell, options.count),
    )
    print("", file=sys.stderr)
    rows = swept.to_frame()
    bound = rows.groupby("seed")["best_bound"].transform("max")
    rows = rows.assign(bound=bound, over=rows["objective"] / bound.where(bound > 0.0))
    cells, wrong = [], 0
    for method, group in rows.groupby("method", sort=False):
        found = group[group["objective"].notna()]
        below = found[found["objective"] < found["bound"] - ROUNDING * found["objective"].abs()]
        wrong += len(below)
        for seed in below["seed"]:
            print(f"{method} seed {seed}: objective below a bound", file=sys.stderr)
        optimal = 100.0 * float((found["over"] <= 1.0 + 1e-6).mean()) if len(found) else math.nan
        cells.append([str(method), str(len(group)), str(len(found)), str(len(below)), f"{found['over'].mean():.5g}",
                      f"{found['over'].max():.4g}", f"{optimal:.1f}", f"{found['seconds'].median():.3g}"])
    print(text_table(HEADER, cells))
    if options.markdown:
        options.markdown.write_text(markdown_table(HEADER, cells) + "\n", encoding="utf-8")
    sys.exit(1 if wrong else 0)


def _tell(count: int, line: ea.Progress) -> None:
    if line.stage.endswith(": done") and line.iteration % 10 == 0:
        print(f"\r{line.iteration} of {count}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
