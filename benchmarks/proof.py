"""How far the branch and bound proves, how fast, with and without limits: gap, time and nodes of "prove".

    python benchmarks/proof.py                          # the table of docs/benchmarks/proof.md
    python benchmarks/proof.py --seconds 15 --seeds 1

Every instance is a random scenario with a 32-layer model; "root gap" is what "certified" leaves without branching. The
limits of the
lower rows are set around the unlimited optimum: deadlines at 0.9 to 1.3 of its response times, caps and server memory
at its own
loads (largest server cut by one user), so that they bind and usually can be kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

import edgealloc as ea
from edgealloc.core.tables import markdown_table, text_table

HEADER = [
    "users",
    "servers",
    "load",
    "limits",
    "seeds",
    "root gap, worst",
    "gap, worst",
    "proven",
    "time s, median",
    "time s, worst",
    "nodes, worst",
]


def limited(problem: ea.SplitTraining, which: str, seed: int) -> ea.SplitTraining:
    """The problem with limits around its own optimum."""
    if which == "none":
        return problem
    rng = np.random.default_rng(seed)
    free = problem.solve(gap=1e-3).require()
    assert free.allocation is not None
    assert free.costs is not None
    changes: dict[str, Any] = {}
    if which in ("deadlines", "all"):
        changes["deadline_s"] = free.costs.response_s * rng.uniform(
            0.9 if which == "deadlines" else 1.05, 1.3, problem.users
        )
    if which in ("caps + memory", "all"):
        load = np.bincount(free.allocation.server, minlength=problem.servers)
        fullest = int(load.argmax())
        changes["users_per_server"] = np.where(np.arange(problem.servers) == fullest, load - 1, load + 1)
        changes["server_memory_bytes_per_layer"] = rng.uniform(0.5, 1.5, problem.users) * 1e9
        need = changes["server_memory_bytes_per_layer"] * (problem.layers - free.allocation.local_layers)
        used = np.bincount(free.allocation.server, weights=need, minlength=problem.servers)
        changes["server_memory_bytes"] = used + need.mean()
    return problem.replace(**changes)


def row(users: int, servers: int, load: str, which: str, seeds: int, seconds: float) -> list[str]:
    """Solve some seeds; one line of the table."""
    roots: list[float] = []
    gaps: list[float] = []
    times: list[float] = []
    nodes: list[int] = []
    proven = 0
    for seed in range(seeds):
        scenario = ea.Scenario.random(users=users, servers=servers, load=load, model="llama2-7b", seed=seed)
        problem = limited(scenario.split_training(), which, seed)
        solution = problem.solve("prove", gap=1e-6, time_limit_s=seconds)
        if solution.gap is None:
            print(f"{users}x{servers} {load} {which} seed {seed}: {solution.status}", file=sys.stderr)
            continue
        branches = [line for line in solution.history if line.stage == "branches"]
        before = [line.gap for line in solution.history if line.stage != "branches" and line.gap is not None]
        roots.append(before[-1])
        gaps.append(solution.gap)
        times.append(solution.seconds)
        nodes.append(branches[-1].iteration if branches else 0)
        proven += solution.gap <= 1e-6
        print(".", end="", file=sys.stderr, flush=True)
    return [str(users), str(servers), load, which, str(len(gaps)), f"{max(roots):.1e}", f"{max(gaps):.1e}",
            f"{proven}/{len(gaps)}", f"{np.median(times):.2f}", f"{max(times):.2f}", str(max(nodes))]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of a solve")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0..n-1 of every row")
    parser.add_argument("--rows", default="50x5,100x10,200x10")
    parser.add_argument("--limits", default="none,deadlines,caps + memory,all")
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    options = parser.parse_args()
    # kernels are compiled before any clock runs
    ea.Scenario.random(users=4, servers=2, seed=0).split_training().solve()
    rows = []
    for size in options.rows.split(","):
        users, servers = map(int, size.split("x"))
        for which in options.limits.split(","):
            for load in ("proportional", "congested"):
                if which != "none" and users > 50:
                    continue
                rows.append(row(users, servers, load, which, options.seeds, options.seconds))
    print("", file=sys.stderr)
    print(text_table(HEADER, rows))
    if options.markdown:
        options.markdown.write_text(markdown_table(HEADER, rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
