"""A baseline of your own: nearest server, smallest cut, exact resources. It joins every table.

    python examples/own_baseline.py
    edgealloc compare examples/scenarios/campus.toml --plugin examples/own_baseline.py
"""

from __future__ import annotations

import numpy as np

import edgealloc as ea
from edgealloc.formulations.split_training.resources import optimal_allocation


def nearest(problem: ea.SplitTraining, run: ea.Run) -> ea.Outcome:
    """Everybody uses the closest server that hears them; the library re-checks what comes back."""
    distance = np.linalg.norm(problem.user_xy_m[:, None] - problem.server_xy_m[None], axis=2)
    server = np.argmin(np.where(problem.gain > 0, distance, np.inf), axis=1)
    return ea.Outcome(allocation=optimal_allocation(problem, server, problem.cuts.low))


ea.register_method("split-training", ea.Method("nearest", "closest server, smallest cut", run=nearest))

if __name__ == "__main__":
    print(ea.compare(ea.Scenario.random(users=20, servers=3, seed=0).split_training()))
