"""The certified method against enumeration on thousands of tiny problems of every variant, with and without limits.

    python benchmarks/enumeration.py [COUNT] [--first SEED] [--seconds S] [--processes P] [--markdown table.md]

Every fifth problem has no limits, the others at least one of deadlines, penalties for being late, caps on users,
server memory, clocks that must be handed out whole, and synchronous rounds. The optimum is that of the tests' twins,
which enumerate every association and cut and share no code with the library. Sums are solved to 1e-6, rounds to 1e-3.

A problem counts in the row of each of its limits. Exits 1 if a bound is above the optimum, or if a problem that has an
optimum is called infeasible. With --seconds it stops after that time, however many were asked for.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests" / "split_training"
sys.path.insert(0, str(TESTS))

from instances import instance  # noqa: E402
from limits_instances import limited  # noqa: E402
from limits_twin import LimitsTwin  # noqa: E402
from twin import Twin  # noqa: E402

import edgealloc as ea  # noqa: E402
from edgealloc.core.tables import markdown_table, text_table  # noqa: E402

HEADER = ["limit", "instances", "infeasible", "bound above", "highest bound", "not proven", "undecided",
          "worst objective", "seconds each", "longest"]
LIMITS = ("none", "deadlines", "penalties", "caps", "server memory", "exactly", "rounds")

#: Bounds and objectives this near the optimum, relative, are on it: the twin's own precision.
BOUND_SLACK = 1e-7
OBJECTIVE_SLACK = 2e-7


@dataclass(frozen=True)
class Checked:
    """One problem: optimum by enumeration (NaN where the twin gave up), and what the method said."""

    seed: int
    limits: tuple[str, ...]
    optimum: float
    objective: float | None
    bound: float | None
    status: str
    seconds: float

    @property
    def above(self) -> bool:
        """A bound above the optimum, or a proof that there is none although there is."""
        if self.bound is not None and self.bound > self.optimum * (1.0 + BOUND_SLACK):
            return True
        return self.status == ea.Status.INFEASIBLE and math.isfinite(self.optimum)

    @property
    def below(self) -> bool:
        """An allocation better than the optimum: the twin or the problem's `evaluate` is wrong."""
        return self.objective is not None and self.objective < self.optimum * (1.0 - OBJECTIVE_SLACK)

    @property
    def open(self) -> bool:
        """Neither proven optimal nor proven infeasible."""
        return self.status not in (ea.Status.OPTIMAL, ea.Status.INFEASIBLE)


def limits_of(problem: ea.SplitTraining) -> tuple[str, ...]:
    """Which limits a problem has."""
    present = {
        "deadlines": problem.deadline_s is not None,
        "penalties": problem.deadline_penalty_per_s is not None,
        "caps": problem.users_per_server is not None,
        "server memory": problem.server_memory_bytes is not None,
        "exactly": problem.resource_sense == "exactly",
        "rounds": problem.delay == "max",
    }
    return tuple(name for name, there in present.items() if there) or ("none",)


def check(seed: int) -> Checked:
    """Solve and enumerate one problem."""
    plain = seed % 5 == 4
    problem = instance(seed) if plain else limited(seed)
    try:
        optimum = Twin(problem).optimum() if plain else LimitsTwin(problem).optimum().objective
    except ArithmeticError:
        optimum = math.nan
    rounds = problem.delay == "max"
    began = time.perf_counter()
    solution = problem.solve("certified", gap=1e-3 if rounds else 1e-6, threads=1, time_limit_s=5.0 if rounds else 20.0)
    return Checked(seed, limits_of(problem), optimum, solution.objective, solution.bound, str(solution.status),
                   time.perf_counter() - began)


def run(seeds: Iterable[int], processes: int, until: float) -> Iterator[Checked]:
    """Results as they come; a few problems per process wait, so that `until` (perf_counter) is kept."""
    pending: set[Future[Checked]] = set()
    left = iter(seeds)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        while True:
            while len(pending) < 3 * processes and time.perf_counter() < until:
                seed = next(left, None)
                if seed is None:
                    break
                pending.add(pool.submit(check, seed))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def row(name: str, checked: list[Checked]) -> list[str]:
    """Counts and extremes of a group."""
    known = [one for one in checked if not math.isnan(one.optimum)]
    finite = [one for one in known if math.isfinite(one.optimum)]
    bounds = [one.bound / one.optimum - 1.0 for one in finite if one.bound is not None]
    excess = [one.objective / one.optimum - 1.0 for one in finite if one.objective is not None]
    seconds = [one.seconds for one in checked]
    infeasible = sum(math.isinf(one.optimum) for one in known)
    return [
        name, str(len(checked)), str(infeasible), str(sum(one.above for one in known)),
        f"{max(bounds):+.1e}" if bounds else "", str(sum(one.open for one in finite)),
        str(len(checked) - len(known) + sum(one.open for one in known if math.isinf(one.optimum))),
        f"{max(excess):+.1e}" if excess else "",
        f"{sum(seconds) / max(len(seconds), 1):.2f}", f"{max(seconds, default=0.0):.1f}",
    ]


def tell(one: Checked) -> None:
    """A line about a problem that is not as it should be."""
    optimum = one.optimum
    words = "a bound above" if one.above else "better than the optimum" if one.below else "not proven"
    print(f"seed {one.seed} ({', '.join(one.limits)}): {words}: optimum {optimum:.9g}, status {one.status}, "
          f"objective {one.objective}, bound {one.bound}, {one.seconds:.1f} s", flush=True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    ea.Scenario.random(users=4, servers=2, seed=0).split_training().solve()  # compile once, for all processes
    began = time.perf_counter()
    checked: list[Checked] = []
    every = max(1, options.count // 20)
    for one in run(range(options.first, options.first + options.count), options.processes, began + options.seconds):
        checked.append(one)
        if one.above or one.below or (one.open and math.isfinite(one.optimum)):
            tell(one)
        if len(checked) % every == 0:
            wrong = sum(done.above for done in checked)
            print(f"{len(checked)} of {options.count} after {time.perf_counter() - began:.0f} s: {wrong} bounds above",
                  flush=True)
    rows = [row(name, [one for one in checked if name in one.limits]) for name in LIMITS] + [row("all", checked)]
    print(f"\n{len(checked)} problems in {time.perf_counter() - began:.0f} s\n")
    print(text_table(HEADER, rows))
    if options.markdown:
        options.markdown.write_text(markdown_table(HEADER, rows) + "\n", encoding="utf-8")
    return 1 if any(one.above for one in checked) else 0


if __name__ == "__main__":
    sys.exit(main())
