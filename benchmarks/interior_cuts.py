"""Where do cuts lie, what puts them there, and what does each baseline lose? Seeds 0-9 of the default scenario.

    python benchmarks/interior_cuts.py [--users 50 --servers 5 --seeds 10 --markdown table.md]

"inside" is the share of users whose cut is strictly inside the range their limits leave. The last column solves the
same scenario without the stability term: at a given price the server's cost is concave in the layers sent, so without
that convex term (and without deadlines) some optimum has every cut at an end of its range.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import edgealloc as ea
from edgealloc.core.tables import markdown_table, text_table

BASELINES = ["greedy", "edge-only", "local-only", "random"]


def inside(solution: Any) -> float:
    """Share of users with a cut strictly inside their range."""
    a, cuts = solution.require().allocation, solution.problem.cuts
    return float(((a.server >= 0) & (a.local_layers > cuts.low) & (a.local_layers < cuts.high)).mean())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--loads", default="proportional,congested")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    header = ["load", "seed", "gap", "inside %", *(f"{name} loses %" for name in BASELINES), "inside % without AS"]
    rows = []
    for load in options.loads.split(","):
        for seed in range(options.seeds):
            scenario = ea.Scenario.random(users=options.users, servers=options.servers, load=load, seed=seed)
            problem = scenario.split_training()
            table = ea.compare(problem, ["certified", *BASELINES], gap=1e-4)
            found = {name: float(table.solutions[name].objective or 0.0) for name in ["certified", *BASELINES]}
            losses = [100.0 * (found[name] / found["certified"] - 1.0) for name in BASELINES]
            weights = problem.weights
            without = problem.replace(
                weights=ea.Weights(weights.delay, weights.energy, 0.0, reference=weights.reference))
            rows.append([load, str(seed), f"{table.solutions['certified'].gap:.1e}",
                         f"{100 * inside(table.solutions['certified']):.0f}", *(f"{loss:.1f}" for loss in losses),
                         f"{100 * inside(without.solve(gap=1e-4)):.0f}"])
            print(".", end="", file=sys.stderr, flush=True)
    print("", file=sys.stderr)
    print(text_table(header, rows))
    if options.markdown:
        options.markdown.write_text(markdown_table(header, rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
