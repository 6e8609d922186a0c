"""Pool training: every method over the certified bound, and the certificate as pools grow.

    python benchmarks/pool_methods.py --markdown docs/benchmarks              # the tables of docs/benchmarks/pools*.md
    python benchmarks/pool_methods.py --sizes 12x32:2 --networks wifi --seconds 10 --methods certified
    python benchmarks/pool_methods.py --sizes 50x80:1 --networks wifi --weights time --seconds 60 \
        --methods certified --name large_pools --markdown docs/benchmarks

Sizes are DEVICESxLAYERS:INSTANCES. A pool is a random mix of boards of the catalog (`Scenario.random_pool`) with the
layers of a small decoder, on a network of each family: "wifi" is one channel of 300 Mbit/s that all share, "slow" the
same with 50 Mbit/s, "switch" full-duplex gigabit ports, "mixed" a mesh whose links have rates drawn between 50 Mbit/s
and 1 Gbit/s. "full" trains all parameters, "adapters" only low-rank ones, whose gradients are small. The weight of the
energy is 0 ("time") or such that time and energy of the best single device count the same ("both"). All methods see the
same instances in one run; "over bound" is the mean objective over the best proven bound.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import edgealloc as ea
from edgealloc.core.tables import markdown_table, text_table

SIZES = "8x24:1,12x32:1"
NETWORKS = ("wifi", "slow", "switch", "mixed")


def topology(network: str, devices: int, numbers: np.random.Generator) -> ea.Topology:
    """The network of a family."""
    if network in ("wifi", "slow"):
        return ea.Topology.shared(devices, 3e8 if network == "wifi" else 5e7, 2e-3, 5e-8)
    if network == "switch":
        return ea.Topology.star(devices, 1e9, 2e-4, 1e-8)
    mesh = ea.Topology.mesh(devices, 1e9, 5e-4, 1e-8)
    rates = 10 ** numbers.uniform(np.log10(5e7), 9.0, mesh.links)
    return ea.Topology(mesh.nodes, mesh.ends, rates, mesh.latency_s, mesh.medium, mesh.metric, mesh.joules_per_byte)


def make(devices: int, layers: int, network: str, training: str, weights: str, seed: int) -> ea.PoolTraining:
    """The pool of a seed: boards of 0.1 to 1.4 TFLOP/s (effective) and 3 to 26 GB, layers of a 1B-class model."""
    numbers = np.random.default_rng([seed, devices, layers, NETWORKS.index(network)])
    # effective rate (30 % of the half-precision peak), memory, busy and idle power of the Jetson boards of the catalog
    boards = [ea.default_catalog().device(name) for name in (
        "jetson-nano-4gb", "jetson-tx2-8gb", "jetson-xavier-nx-8gb", "jetson-agx-xavier-32gb", "jetson-orin-nano-8gb",
        "jetson-orin-nx-16gb")]
    chosen = [boards[k] for k in numbers.integers(0, len(boards), devices)]
    batch, tokens, hidden, kept = 32, 512, 2048, 34 * 512 * 2048
    full = training == "full"
    params, trained = 6e7, 6e7 if full else 2e5
    pool = ea.PoolTraining(
        flops_per_s=[0.3 * board.flops_per_s * numbers.uniform(0.8, 1.2) for board in chosen],
        memory_bytes=[0.8 * float(board.memory_bytes or 8e9) for board in chosen],
        busy_power_w=[float(board.power_w or 10.0) for board in chosen],
        idle_power_w=[0.3 * float(board.power_w or 10.0) for board in chosen],
        topology=topology(network, devices, numbers), layers=layers,
        forward_flops=2 * params * tokens, backward_flops=(4 if full else 2) * params * tokens,
        state_bytes=(16 if full else 2) * params + (0 if full else 16 * trained), gradient_bytes=2 * trained,
        checkpoint_bytes=2 * params + 12 * trained, activation_bytes=kept,
        replicated_activation_bytes=10 * tokens * hidden, key_value_bytes=2 * tokens * 512 * 2,
        boundary_bytes=2 * tokens * hidden, batch=batch, micro_batches=8, tokens=tokens, heads=32,
        weights=ea.Weights(1.0, 0.0, 0.0), source=f"{devices}x{layers} {network} {training} {seed}",
    )
    if weights == "time":
        return pool
    alone = pool.batch * float((pool.forward_flops + pool.backward_flops).sum()) / pool.flops_per_s
    best = int(np.argmin(alone))
    joules = float(alone[best] * pool.busy_power_w[best])
    reference = {"delay": float(alone[best]), "energy": joules}
    return pool.replace(weights=ea.Weights(1.0, 1.0, 0.0, reference))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--training", default="full,adapters")
    parser.add_argument("--weights", default="time,both")
    parser.add_argument("--methods", help="names, with commas between; all that are not slow by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="time limit of a solve")
    parser.add_argument("--gap", type=float, default=1e-2)
    parser.add_argument("--markdown", type=Path, help="folder for NAME.md and NAME_certificate.md")
    parser.add_argument("--name", default="pools", help="of the tables that are written")
    options = parser.parse_args()
    make(3, 4, "wifi", "full", "time", 0).solve()  # compile kernels before any clock runs
    rows: list[dict[str, Any]] = []
    for text in options.sizes.split(","):
        size, _, instances = text.partition(":")
        devices, layers = map(int, size.split("x"))
        for network in options.networks.split(","):
            for training in options.training.split(","):
                for weights in options.weights.split(","):
                    for seed in range(int(instances or 1)):
                        problem = make(devices, layers, network, training, weights, seed)
                        rows += measure(problem, options, size=size, network=network, training=training,
                                        weights=weights, seed=seed)
    frame = pd.DataFrame(rows)
    bound = frame.groupby(["size", "network", "training", "weights", "seed"])["bound"].transform("max")
    frame["over"] = frame["objective"] / bound
    below = int((frame["over"] < 1.0 - 1e-9).sum())
    certificate, methods = certificate_table(frame), methods_table(frame)
    for table in (certificate, methods):
        print(text_table(*table), end="\n\n")
    print(f"{int(frame['objective'].notna().sum())} answers; {below} below a proven bound")
    if options.markdown:
        for name, table in ((f"{options.name}_certificate", certificate), (options.name, methods)):
            (options.markdown / f"{name}.md").write_text(markdown_table(*table) + "\n", encoding="utf-8")
    sys.exit(1 if below else 0)


def measure(problem: ea.PoolTraining, options: argparse.Namespace, **labels: Any) -> list[dict[str, Any]]:
    """One row per method."""
    names = options.methods.split(",") if options.methods else [
        name for name, method in problem.methods().items() if not method.slow]
    rows = []
    for name in names:
        began = time.perf_counter()
        try:
            solution = problem.solve(name, gap=options.gap, time_limit_s=options.seconds)
        except ea.DataError:  # too large for an enumeration
            continue
        rows.append({**labels, "method": name, "objective": solution.objective, "bound": solution.bound,
                     "gap": solution.gap, "seconds": time.perf_counter() - began})
        print(f"{problem.source:32} {labels['weights']:5} {name:16} {rows[-1]['objective']} {rows[-1]['gap']} "
              f"{rows[-1]['seconds']:.2f} s", file=sys.stderr)
    for row in rows:
        row["objective"] = np.nan if row["objective"] is None else row["objective"]
        row["bound"] = np.nan if row["bound"] is None else row["bound"]
        row["gap"] = np.nan if row["gap"] is None else row["gap"]
    return rows


def certificate_table(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Gap and time of `certified` by size and network."""
    lines = frame[frame["method"] == "certified"]
    cells = [
        [str(size), str(network), str(len(group)), f"{100 * group['gap'].median():.2f}",
         f"{100 * group['gap'].max():.2f}", f"{group['seconds'].median():.1f}", f"{group['seconds'].max():.1f}"]
        for (size, network), group in lines.groupby(["size", "network"], sort=False)
    ]
    return ["devices x layers", "network", "pools", "median gap %", "largest gap %", "median s", "largest s"], cells


def methods_table(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Mean objective over the best bound, by method and size, and how many pools got an answer."""
    sizes = list(dict.fromkeys(frame["size"]))
    cells = []
    for method in dict.fromkeys(frame["method"]):
        row = [str(method)]
        for size in sizes:
            group = frame[(frame["method"] == method) & (frame["size"] == size)]
            solved = group[group["objective"].notna()]
            row.append("-" if solved.empty else f"{solved['over'].mean():.3f} ({len(solved)}/{len(group)})")
        row.append(f"{frame[frame['method'] == method]['seconds'].median():.2f}")
        cells.append(row)
    return ["method", *(f"{size} over bound (answered)" for size in sizes), "median s"], cells


if __name__ == "__main__":
    main()
