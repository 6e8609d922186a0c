"""How good is the proof, how fast, and in how much memory: gap, time and peak memory of "certified" by size and load.

    python benchmarks/certificate.py                      # (50, 5), (1000, 10), (100000, 50) in both load families
    python benchmarks/certificate.py --sizes 50x5,200x5 --seeds 3 --markdown table.md

Every row is a process of its own, so that the peak memory is that row's. Times exclude building the scenario and
compiling the kernels (once per machine); the time is what `solve` reports. The gap asked for is 0 up to 10,000 users,
so that the method does everything it knows; "first" is when the gap aimed at was reached.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgealloc.core.tables import markdown_table, text_table

#: gap aimed at by number of users (proportional family), from the design
AIMS = {50: 1e-3, 1000: 1e-5, 100_000: 1e-6}
HEADER = ["users", "servers", "load", "seed", "gap", "time s", "aim", "first at s", "calls", "build s", "peak MB"]


def one(users: int, servers: int, load: str, seed: int, limit: float) -> dict[str, Any]:
    """Solve one random scenario in this process."""
    import edgealloc as ea

    began = time.perf_counter()
    problem = ea.Scenario.random(users=users, servers=servers, load=load, seed=seed).split_training()
    build = time.perf_counter() - began
    aim = AIMS.get(users, 1e-4)
    # beyond ten thousand users the last digits cost minutes and say nothing: the aim is asked for
    solution = problem.solve(gap=0.0 if users <= 10_000 else aim, time_limit_s=limit).require()
    reached = [line.seconds for line in solution.history if line.gap is not None and line.gap <= aim]
    return {
        "gap": solution.gap, "seconds": solution.seconds, "first": reached[0] if reached else None, "aim": aim,
        "calls": sum(line.stage in ("start", "prices") for line in solution.history), "build": build,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="50x5,1000x10,100000x50")
    parser.add_argument("--loads", default="proportional,congested")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0..n-1 of every row")
    parser.add_argument("--time-limit", type=float, default=120.0)
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        users, servers, load, seed = options.one
        print(json.dumps(one(int(users), int(servers), load, int(seed), options.time_limit)))
        return
    rows = []
    for size in options.sizes.split(","):
        users, servers = size.split("x")
        for load in options.loads.split(","):
            for seed in range(options.seeds):
                command = [sys.executable, __file__, "--one", users, servers, load, str(seed), "--time-limit",
                           str(options.time_limit)]
                answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                first = "-" if answer["first"] is None else f"{answer['first']:.2f}"
                rows.append([users, servers, load, str(seed), f"{answer['gap']:.1e}", f"{answer['seconds']:.2f}",
                             f"{answer['aim']:.0e}", first, str(answer["calls"]), f"{answer['build']:.2f}",
                             f"{answer['peak']:.0f}"])
                print(".", end="", file=sys.stderr, flush=True)
    print("", file=sys.stderr)
    print(text_table(HEADER, rows))
    if options.markdown:
        options.markdown.write_text(markdown_table(HEADER, rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
