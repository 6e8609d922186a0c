"""How deployments grow: devices against seconds, gap and memory, and against HiGHS and rules of thumb.

    python benchmarks/deployment.py                              # 10,000 devices x 30 variants x 3 classes, 20 servers
    python benchmarks/deployment.py --sizes 1000x10,10000x20,100000x20 --rules --highs 1000
    python benchmarks/deployment.py --sizes 1000x10,10000x10,10000x20,30000x20,100000x20 --highs 1000 --rules \
        --markdown docs/benchmarks/deployment.md                 # the table of the docs
    python benchmarks/deployment.py --small                      # seconds: that everything still runs

Phones of a range of memory bandwidths get one of 30 variants of a model family (five sizes, six formats) or none, and
ask simple, medium and complex queries; servers have room for `--room` of all queries. ``--limits error`` also limits
the mean share of wrong answers, which makes every variant matter: between what the cheapest answers and what the best
ones give. ``ratio`` is the objective relative to that of "certified". Times are wall clock, after compiling; the peak
memory is that of the process so far, so sizes should rise.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from pathlib import Path

import numpy as np

from edgealloc import Deployment, Weights
from edgealloc.core.run import Run
from edgealloc.core.tables import markdown_table, text_table
from edgealloc.formulations.deployment.feasibility import least_means
from edgealloc.solvers.choices import warm_up

HEADER = ["devices", "servers", "error limit", "method", "seconds", "objective", "gap", "ratio", "ended by", "load",
          "peak MB"]
RULES = ("threshold", "device-only", "edge-only", "greedy", "random")
#: Parameters of the sizes, and bits per weight of the formats.
SIZES, BITS = np.array([0.5e9, 1.5e9, 3e9, 7e9, 14e9]), np.array([2.6, 3.4, 4.5, 5.5, 6.6, 8.5])
#: Tokens of a prompt and of an answer of every class, and how many of a device's queries are of it.
PROMPT, ANSWER, MIX = np.array([60.0, 200.0, 600.0]), np.array([40.0, 150.0, 400.0]), np.array([0.6, 0.3, 0.1])
HARD = np.array([0.15, 0.4, 0.7])


def fleet(devices: int, servers: int, room: float, seed: int) -> Deployment:
    """A random fleet; roofline speeds: decoding reads all weights for every token."""
    rng = np.random.default_rng(seed)
    size, bits = np.repeat(SIZES, BITS.size), np.tile(BITS, SIZES.size)
    weights = size * bits / 8.0
    memory = rng.choice([4e9, 6e9, 8e9, 12e9, 16e9], devices, p=[0.15, 0.25, 0.3, 0.2, 0.1]) * 0.6
    bandwidth = memory / 0.6 * rng.uniform(3.0, 7.0, devices) * 0.5
    flops, power = bandwidth * rng.uniform(20.0, 60.0, devices), rng.uniform(3.0, 9.0, devices)
    decode = weights / bandwidth[:, None]
    delay = decode[:, :, None] * ANSWER + 2.0 * size[None, :, None] * PROMPT / flops[:, None, None]
    skill = np.clip(0.16 * np.log(size / 1e8) - 0.5 / bits**1.2, 0.05, 0.95)
    accuracy = np.clip(skill[:, None] * (1.2 - HARD), 0.0, 0.95)
    # faster servers for larger fleets, so that `room` of all queries fills them
    rate = rng.gamma(2.0, 0.002, (devices, 1)) * MIX * rng.uniform(0.5, 1.5, (devices, 3))
    work = (PROMPT * 0.1 + ANSWER) * rng.uniform(0.7, 1.4, (servers, 1))
    busy = work * 0.9 * room * servers / float((rate.sum(axis=0) * work.mean(axis=0)).sum())
    uplink = rng.lognormal(16.0, 0.8, (devices, servers)) * (rng.random((devices, servers)) < 0.6)
    return Deployment(
        device_memory_bytes=memory, transmit_power_w=0.8, query_rate_per_s=rate, deadline_s=[20.0, 60.0, 180.0],
        memory_bytes=weights + 0.3e9, tokens_per_s=1.0 / decode, local_delay_s=delay,
        local_energy_j=delay * power[:, None, None], accuracy=accuracy, hallucination=0.5 * (1.0 - accuracy),
        busy_s=busy, service_s=np.maximum(busy, ANSWER / 60.0), server_energy_j=busy * 400.0 + ANSWER * 0.3,
        server_accuracy=[0.9, 0.8, 0.65], server_hallucination=[0.05, 0.1, 0.2], uplink_bps=uplink, downlink_bps=5e7,
        round_trip_s=0.05, prompt_bytes=4.0 * PROMPT, answer_bytes=4.0 * ANSWER, usable_tokens_per_s=5.0,
        device_load_limit=np.inf, weights=Weights(1.0, 0.05, 0.0), hallucination_weight=10.0, error_weight=20.0,
        inaccessible_weight=2.0,
    )


def limited(problem: Deployment, limit: str, free: float) -> Deployment:
    """With a limit of wrong answers in the middle of what is possible and what is cheapest without one."""
    if limit == "none":
        return problem
    least = least_means(problem.replace(error_limit=1.0))["error_limit"]
    return problem.replace(error_limit=0.5 * (least + free))


def peak_mb() -> float:
    """Most memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000x20", help="DEVICESxSERVERS,...")
    parser.add_argument("--limits", default="none", help="none, error, or both")
    parser.add_argument("--room", type=float, default=0.6)
    parser.add_argument("--gap", type=float, default=1e-2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--highs", type=int, default=0, help="whole models by HiGHS up to so many devices")
    parser.add_argument("--rules", action="store_true", help="rules of thumb as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="30 devices, every method")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    given = parser.parse_args()
    if given.small:
        given.sizes, given.limits, given.highs, given.rules, given.seconds = "30x2", "none,error", 30, True, 10.0
    warm_up(Run())
    rows: list[list[str]] = []
    for size in filter(None, given.sizes.split(",")):
        devices, servers = map(int, size.split("x"))
        problem, free = fleet(devices, servers, given.room, given.seed), np.nan
        for limit in given.limits.split(","):
            if limit != "none" and np.isnan(free):
                costs = problem.solve(gap=given.gap, time_limit_s=given.seconds, threads=given.threads).costs
                free = 1.0 if costs is None else costs.error
            asked, best = limited(problem, limit, free), np.nan
            methods = ["certified", *(["milp"] if devices <= given.highs else []), *(RULES if given.rules else ())]
            for method in methods:
                gc.collect()  # tables of the last problem, which know their problem
                fresh = asked.replace()  # tables of options count
                begun = time.perf_counter()
                solution = fresh.solve(method, gap=given.gap, time_limit_s=given.seconds, threads=given.threads)
                seconds = time.perf_counter() - begun
                objective = np.nan if solution.objective is None else solution.objective
                costs = solution.costs
                if method == "certified":
                    best = objective
                    free = free if costs is None or limit != "none" else costs.error
                rows.append([
                    f"{devices}", f"{servers}", "none" if asked.error_limit is None else f"{asked.error_limit:.3f}",
                    method, f"{seconds:.2f}", "-" if solution.objective is None else f"{objective:.6g}",
                    "-" if solution.gap is None else f"{solution.gap:.2g}",
                    "-" if solution.objective is None else f"{objective / best:.4f}", solution.termination.value,
                    "-" if costs is None else f"{costs.server_load.max(initial=0.0):.2f}", f"{peak_mb():.0f}",
                ])
                print(*rows[-1], file=sys.stderr)
    print(text_table(HEADER, rows))
    if given.markdown:
        given.markdown.write_text(markdown_table(HEADER, rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
