"""How the engine of choices grows: agents against seconds, gap and memory, and against HiGHS on the whole model.

    python benchmarks/choices.py                                # 100 to 100,000 agents with 70 options each
    python benchmarks/choices.py --agents 10000 --methods 60 --gap 1e-4
    python benchmarks/choices.py --highs 1000                   # the whole model by HiGHS, up to so many agents
    python benchmarks/choices.py --agents 100,1000,10000,100000 --fleets 100x5,1000x10,10000x20 --highs 1000 \
        --markdown docs/benchmarks/choices.md                   # the table of the docs

Every agent picks one of METHODS methods at home or on one of SERVERS servers, which have three capacities each; about a
fifth of the options is missing, and `--room` scales the capacities. `--fleets` adds fine-tuning fleets as
`Scenario.random_fleet` draws them, JOBSxSERVERS. Times are wall clock, after compiling; the peak
memory is that of the process so far.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.core.tables import markdown_table
from edgealloc.formulations.fine_tuning.agents import JobChoices
from edgealloc.solvers.choices import Choices, ChoicesAnswer, milp_choices, reduced, solve_choices, warm_up

HEADER = ["problem", "agents", "options", "not dominated", "method", "seconds", "objective", "gap", "ended by",
          "peak MB"]


def fleet(agents: int, methods: int, servers: int, room: float, seed: int) -> Choices:
    """A random problem."""
    rng = np.random.default_rng(seed)
    work = rng.lognormal(0.0, 1.0, (agents, 1)) * rng.lognormal(0.0, 0.7, (1, methods))
    need = rng.lognormal(0.0, 0.5, (agents, 1)) * rng.lognormal(0.0, 0.7, (1, methods))
    loss = 2.0 * (0.5 * rng.random((1, methods)) + 0.3 * rng.random((agents, methods)))
    link = rng.lognormal(0.0, 1.0, (agents, servers))
    speed = rng.lognormal(-1.0, 0.3, servers)
    cost = np.empty((agents, methods, 1 + servers))
    cost[:, :, 0] = work * rng.lognormal(1.0, 0.8, (agents, 1)) + loss
    cost[:, :, 1:] = work[:, :, None] * speed + 0.3 * link[:, None, :] + loss[:, :, None]
    use = np.zeros((*cost.shape, 3))
    use[:, :, 1:, 0], use[:, :, 1:, 1] = need[:, :, None], work[:, :, None] * speed
    use[:, :, 1:, 2] = link[:, None, :]
    use *= servers / (agents * room)
    capacity = np.zeros(use.shape, dtype=np.int64)
    capacity[:, :, 1:] = 3 * np.arange(servers)[:, None] + np.arange(3)
    there = rng.random(cost.shape) > 0.2
    there[:, 0, 0] = True
    start = np.concatenate([[0], np.cumsum(there.reshape(agents, -1).sum(axis=1))])
    return Choices(start, cost[there], use[there], capacity[there], 3 * servers)


def line(
    what: str, problem: Choices, name: str, method: Callable[[Choices, Run], ChoicesAnswer], run: Run
) -> list[str]:
    """One row of the table."""
    kept = reduced(problem)[0].options
    begun = time.perf_counter()
    run.restart_clock()
    answer = method(problem, run)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return [what, f"{problem.agents}", f"{problem.options}", f"{kept}", name, f"{seconds:.2f}",
            f"{answer.objective:.8g}", f"{answer.gap:.2g}", answer.termination.value, f"{peak:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default="100,1000,10000,100000")
    parser.add_argument("--methods", type=int, default=14)
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--room", type=float, default=0.5)
    parser.add_argument("--gap", type=float, default=1e-2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--highs", type=int, default=0, help="whole models by HiGHS up to so many agents")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fleets", default="", help="fine-tuning fleets: JOBSxSERVERS,...")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    given = parser.parse_args()
    warm_up(Run())
    rows = []
    for what, problem in problems(given):
        methods = {"certified": solve_choices} | ({"milp": milp_choices} if problem.agents <= given.highs else {})
        for name, method in methods.items():
            run = Run(gap=given.gap, time_limit_s=given.seconds, threads=given.threads)
            rows.append(line(what, problem, name, method, run))
            print(*rows[-1], file=sys.stderr)
    table = markdown_table(HEADER, rows)
    print(table)
    if given.markdown:
        given.markdown.write_text(table + "\n", encoding="utf-8")


def problems(given: argparse.Namespace) -> Iterator[tuple[str, Choices]]:
    """What is asked for, one after the other."""
    for agents in filter(None, given.agents.split(",")):
        yield f"{given.methods} x {given.servers}", fleet(int(agents), given.methods, given.servers, given.room,
                                                         given.seed)
    for size in filter(None, given.fleets.split(",")):
        jobs, servers = map(int, size.split("x"))
        tuning = ea.Scenario.random_fleet(jobs=jobs, servers=servers, seed=given.seed).problem()
        yield f"fleet, {servers} servers", JobChoices(tuning).choices


if __name__ == "__main__":
    main()
