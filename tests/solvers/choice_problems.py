"""Small problems of choices, ties, zeros and tight capacities among them, and the best choice by looking at all."""

from __future__ import annotations

import itertools
import math

import numpy as np

from edgealloc.solvers.choices import Choices

SHARES = (
    (0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0),
    (0.0, 1 / 3, 1 / 7, 2 / 3, 1 / 6),
)


def small(seed: int) -> Choices:
    """At most 6 agents with 5 options each, 4 capacities."""
    rng = np.random.default_rng(seed)
    agents, capacities = int(rng.integers(1, 7)), int(rng.integers(0, 5))
    slots = min(int(rng.integers(1, 4)), capacities)
    count = rng.integers(1, 6, agents)
    start = np.concatenate([[0], np.cumsum(count)])
    size = int(start[-1])
    cost = (
        lambda: rng.integers(0, 4, size).astype(float),  # ties
        lambda: rng.normal(0.0, 3.0, size),
        lambda: np.zeros(size),
        lambda: 10.0 ** rng.uniform(-6.0, 6.0, size),
        lambda: 1e6 + rng.random(size),
        lambda: rng.random(size),
    )[rng.integers(0, 6)]()
    kind = rng.integers(0, 4)
    if kind < 2:
        use = rng.choice(SHARES[kind], (size, slots))
    else:
        use = rng.random((size, slots)) * rng.choice([0.0, 1.0, 1.5] if kind == 2 else [1.0], (size, slots))
    use = use * rng.choice([0.0, 1.0], (size, 1), p=[0.2, 0.8])
    capacity = np.array([rng.permutation(capacities)[:slots] for _ in range(size)], dtype=int).reshape(size, slots)
    problem = Choices(start, cost, use, capacity, capacities)
    if capacities and rng.random() < 0.3:  # some choice meets its capacities to the last bit
        load = problem.load(np.array([rng.integers(start[i], start[i + 1]) for i in range(agents)]))
        problem = Choices(start, cost, use / np.where(load > 0.0, load, 1.0)[capacity], capacity, capacities)
    return problem


def exact_load(problem: Choices, choice: tuple[int, ...], c: int) -> float:
    """Use of a capacity, exactly rounded."""
    return math.fsum(
        problem.use[o, r] for o in choice for r in range(problem.use.shape[1]) if problem.capacity[o, r] == c
    )


def least_cost(problem: Choices, tolerance: float) -> float:
    """The optimum over all choices that exceed no capacity by more than the tolerance; inf if there is none."""
    best = math.inf
    for choice in itertools.product(*(range(a, b) for a, b in itertools.pairwise(problem.start))):
        cost = math.fsum(problem.cost[list(choice)])
        if cost < best and all(
            exact_load(problem, choice, c) <= 1.0 + tolerance for c in range(problem.capacities)
        ):
            best = cost
    return best


def fleet(agents: int, methods: int, servers: int, tight: float = 0.5, seed: int = 0) -> Choices:
    """Jobs with a method each, at home or on a server with three capacities; `tight` scales what there is of these."""
    rng = np.random.default_rng(seed)
    work = rng.lognormal(0.0, 1.0, (agents, 1)) * rng.lognormal(0.0, 0.7, (1, methods))
    need = rng.lognormal(0.0, 0.5, (agents, 1)) * rng.lognormal(0.0, 0.7, (1, methods))
    loss = 0.5 * rng.random((1, methods)) + 0.3 * rng.random((agents, methods))
    link = rng.lognormal(0.0, 1.0, (agents, servers))
    cost = np.empty((agents, methods, 1 + servers))
    cost[:, :, 0] = work * rng.lognormal(1.0, 0.8, (agents, 1)) + 2.0 * loss
    cost[:, :, 1:] = 0.4 * work[:, :, None] + 0.3 * link[:, None, :] + 2.0 * loss[:, :, None]
    use = np.zeros((*cost.shape, 3))
    capacity = np.zeros(use.shape, dtype=np.int64)
    for s in range(servers):
        use[:, :, s + 1, 0], use[:, :, s + 1, 1], use[:, :, s + 1, 2] = need, 0.4 * work, link[:, s, None]
        capacity[:, :, s + 1] = 3 * s + np.arange(3)
    use *= servers / (agents * tight)
    allowed = rng.random(cost.shape) > 0.2
    allowed[:, 0, 0] = True
    start = np.concatenate([[0], np.cumsum(allowed.reshape(agents, -1).sum(axis=1))])
    return Choices(start, cost[allowed], use[allowed], capacity[allowed], 3 * servers)
