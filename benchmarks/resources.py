"""The exact resource solve against CVXPY with Clarabel on the same numbers, in one run: times and objectives.

    python benchmarks/resources.py [--sizes 10,50,100,200] [--markdown table.md]

Association and cut are held: best gain, middle cut. CVXPY's time includes building its model, as a user of it pays for
that too; both objectives are those of `evaluate`. Growth with size is shown for the exact solve alone.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import edgealloc as ea
from edgealloc.core.tables import markdown_table, text_table
from edgealloc.formulations.split_training.resources import optimal_allocation

HEADER = ["users", "servers", "exact ms", "CVXPY ms", "ratio", "objective difference"]


def held(problem: ea.SplitTraining) -> ea.Allocation:
    """Best gain and middle cut, with exact resources."""
    server = np.argmax(problem.gain, axis=1)
    return optimal_allocation(problem, server, (problem.cuts.low + problem.cuts.high) // 2)


def milliseconds(function: Any, repeats: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,50,100,200")
    parser.add_argument("--growth", default="1000,10000,100000")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    held(ea.Scenario.random(users=10, servers=2, seed=0).split_training())  # compile
    rows = []
    for size in [*map(int, options.sizes.split(",")), *map(int, options.growth.split(","))]:
        servers = max(1, size // 50)
        problem = ea.Scenario.random(users=size, servers=min(servers, 50), seed=0).split_training()
        ours = held(problem)
        exact = milliseconds(partial(held, problem), 5)
        row = [str(size), str(problem.servers), f"{exact:.2f}"]
        if str(size) in options.sizes.split(","):
            started = time.perf_counter()
            theirs = problem.solve("convex", warm_start=ours).require()
            peer = (time.perf_counter() - started) * 1e3
            difference = float(theirs.objective or 0.0) / problem.evaluate(ours).objective - 1.0
            row += [f"{peer:.0f}", f"{peer / exact:.0f}", f"{difference:.1e}"]
        else:
            row += ["", "", ""]
        rows.append(row)
    print(text_table(HEADER, rows))
    if options.markdown:
        options.markdown.write_text(markdown_table(HEADER, rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
