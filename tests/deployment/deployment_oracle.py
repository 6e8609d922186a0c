"""Small random deployments for tests; their costs, limits and optima by loops that share no code with the package."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgealloc import Deployment, Rollout, Weights

__all__ = ["FLEET", "by_hand", "every_option", "every_rollout", "least_objective", "random_deployment",
           "random_rollouts", "rollout_of", "seeds"]

#: Limits of the fleet's means.
FLEET = ("energy_limit_j", "hallucination_limit", "error_limit", "inaccessible_limit")
#: What an answer may exceed a limit by.
TOLERANCE = 1e-9
#: Variant, server and classes sent of a device.
Choice = tuple[int, int, tuple[bool, ...]]


def seeds(usual: int) -> range:
    """Seeds of random problems: `usual` of them, EDGEALLOC_NIGHTLY times as many, or EDGEALLOC_SHARE of them."""
    wanted = usual * max(1, int(os.environ.get("EDGEALLOC_NIGHTLY", "0")))
    return range(max(40, round(wanted * float(os.environ.get("EDGEALLOC_SHARE", "1")))))


def random_deployment(
    seed: int, devices: int = 3, variants: int = 2, classes: int = 2, servers: int = 2, **changes: Any
) -> Deployment:
    """Everything at once: ties, classes that are never asked, devices without memory, servers out of reach, floors,
    deadlines, limits of the fleet, weights of 0."""
    numbers = np.random.default_rng([seed, devices, variants, classes, servers])

    def some(values: Any, shape: Any = ()) -> Any:
        return numbers.choice(values, shape)

    def maybe(share: float, value: Any) -> Any:
        return value if numbers.random() < share else None

    rate = some([0.0, 0.01, 0.02, 0.05, 0.1], (devices, classes))
    rate[0, 0] = 0.03
    reach = (devices, servers)
    busy = some([0.5, 1.0, 2.0, 4.0], (servers, classes)) * numbers.uniform(0.9, 1.1)
    fields: dict[str, Any] = {
        "device_memory_bytes": some([0.0, 2e9, 4e9, 8e9], devices), "transmit_power_w": some([0.0, 0.5, 2.0], devices),
        "query_rate_per_s": rate, "deadline_s": maybe(0.5, some([math.inf, 4.0, 9.0, 30.0], (devices, classes))),
        "accuracy_floor": some([0.0, 0.0, 0.5, 0.7], (devices, classes)),
        "hallucination_ceiling": some([1.0, 1.0, 0.3], (devices, classes)),
        "memory_bytes": some([1e9, 3e9, 6e9], variants), "runs": numbers.random((devices, variants)) > 0.15,
        "tokens_per_s": some([2.0, 5.0, 20.0], (devices, variants)),
        "usable_tokens_per_s": float(some([0.0, 5.0, 10.0])),
        "local_delay_s": some([1.0, 2.0, 6.0], (devices, variants, classes)) * numbers.uniform(0.8, 1.2),
        "local_energy_j": some([0.0, 5.0, 40.0], (devices, variants, classes)),
        "accuracy": numbers.uniform(0.4, 0.9, (variants, classes)).round(1),
        "hallucination": numbers.uniform(0.1, 0.5, (variants, classes)).round(2),
        "busy_s": busy if servers else (), "service_s": busy * 1.5 if servers and numbers.random() < 0.3 else None,
        "server_energy_j": some([0.0, 10.0, 50.0], (servers, classes)),
        "server_accuracy": numbers.uniform(0.6, 1.0, (servers, classes)).round(1),
        "server_hallucination": numbers.uniform(0.0, 0.3, (servers, classes)).round(2),
        "load_limit": some([0.1, 0.3, 0.6, 0.9], servers),
        "airtime_limit": maybe(0.4, some([math.inf, 0.02, 0.002], servers)),
        "uplink_bps": some([0.0, 1e4, 1e5, 1e6], reach), "downlink_bps": some([0.0, 1e5, 1e6, 1e6, 1e6], reach),
        "round_trip_s": some([0.0, 0.05], reach), "prompt_bytes": some([0.0, 100.0, 2e3], classes),
        "answer_bytes": some([0.0, 500.0, 4e3], classes), "device_load_limit": float(some([math.inf, 1.0, 0.3])),
        "energy_limit_j": maybe(0.2, numbers.uniform(5.0, 40.0)),
        "hallucination_limit": maybe(0.2, numbers.uniform(0.1, 0.35)),
        "error_limit": maybe(0.2, numbers.uniform(0.1, 0.45)), "inaccessible_limit": maybe(0.2, some([0.0, 0.4, 0.7])),
        "weights": Weights(float(some([0.0, 1.0, 1.0, 2.0])), float(some([0.0, 0.05, 0.2])), 0.0),
        "hallucination_weight": float(some([0.0, 5.0])), "error_weight": float(some([0.0, 0.0, 10.0])),
        "inaccessible_weight": float(some([0.0, 3.0])),
    }
    return Deployment(**fields | changes)


@dataclass
class _Part:
    """What a device's choice costs and uses; `fits`: it keeps the limits that are the device's own."""

    choice: Choice
    cost: float
    fits: bool
    load: float
    airtime: float
    means: dict[str, float]


def _part(problem: Deployment, i: int, choice: Choice) -> _Part | None:
    """Costs of a choice without queues; None for one that makes no sense."""
    v, s, sends = choice
    rate = [float(one) for one in problem.query_rate_per_s[i]]
    total = sum(float(one) for one in problem.query_rate_per_s.ravel())
    classes = range(len(rate))
    if any(sends[c] and rate[c] == 0.0 for c in classes) or any(sends) != (s >= 0):
        return None
    if v < 0 and any(rate[c] > 0.0 and not sends[c] for c in classes):
        return None
    if v >= 0 and not problem.runs[i, v]:
        return None
    if s >= 0 and (problem.uplink_bps[i, s] == 0.0 or problem.downlink_bps[i, s] == 0.0):
        return None
    fits = v < 0 or bool(problem.memory_bytes[v] <= problem.device_memory_bytes[i] * (1.0 + TOLERANCE))
    access = v >= 0 and fits and bool(problem.tokens_per_s[i, v] >= problem.usable_tokens_per_s)
    weights = problem.weights
    cost = 0.0 if access else problem.inaccessible_weight / problem.devices
    means = dict.fromkeys(FLEET, 0.0)
    means["inaccessible_limit"] = 0.0 if access else 1.0 / problem.devices
    own = load = airtime = 0.0
    for c in classes:
        if rate[c] == 0.0:
            continue
        share = rate[c] / total
        if sends[c]:
            up = 8.0 * problem.prompt_bytes[c] / problem.uplink_bps[i, s]
            down = 8.0 * problem.answer_bytes[c] / problem.downlink_bps[i, s]
            delay = problem.round_trip_s[i, s] + up + down + problem.service_s[s, c]
            most = float(problem.load_limit[s])
            promised = delay + problem.busy_s[s, c] * most / (1.0 - most)
            energy = problem.transmit_power_w[i] * up + problem.server_energy_j[s, c]
            right, wrong = problem.server_accuracy[s, c], problem.server_hallucination[s, c]
            load += rate[c] * problem.busy_s[s, c]
            airtime += rate[c] * (up + down)
        else:
            delay = promised = problem.local_delay_s[i, v, c]
            energy = problem.local_energy_j[i, v, c]
            right, wrong = problem.accuracy[v, c], problem.hallucination[v, c]
            own += rate[c] * delay
        fits &= bool(promised <= problem.deadline_s[i, c] * (1.0 + TOLERANCE))
        fits &= bool(right >= problem.accuracy_floor[i, c] - TOLERANCE)
        fits &= bool(wrong <= problem.hallucination_ceiling[i, c] + TOLERANCE)
        cost += share * (float(weights.delay) * delay + float(weights.energy) * energy
                         + problem.hallucination_weight * wrong + problem.error_weight * (1.0 - right))
        for name, amount in zip(FLEET, (energy, wrong, 1.0 - right), strict=False):
            means[name] += share * float(amount)
    fits &= bool(own <= problem.device_load_limit * (1.0 + TOLERANCE))
    return _Part(choice, float(cost), bool(fits), float(load), float(airtime), means)


def every_option(problem: Deployment, i: int) -> list[_Part]:
    """Everything that a device can do, whether it keeps the limits or not."""
    found = []
    for sends in itertools.product([False, True], repeat=problem.classes):
        for v in range(-1, problem.variants):
            for s in range(-1, problem.servers):
                part = _part(problem, i, (v, s, sends))
                if part is not None:
                    found.append(part)
    return found


def _whole(problem: Deployment, parts: tuple[_Part, ...]) -> tuple[float, bool]:
    """Objective of all devices together, and whether all limits hold."""
    total = sum(one.cost for one in parts)
    fits = all(one.fits for one in parts)
    rates = sum(float(one) for one in problem.query_rate_per_s.ravel())
    for s in range(problem.servers):
        load = sum(one.load for one in parts if one.choice[1] == s)
        air = sum(one.airtime for one in parts if one.choice[1] == s)
        fits = fits and bool(load <= problem.load_limit[s] * (1.0 + TOLERANCE))
        if problem.airtime_limit is not None:
            fits = fits and bool(air <= problem.airtime_limit[s] * (1.0 + TOLERANCE))
        if float(problem.weights.delay) > 0.0:
            total += float(problem.weights.delay) * (load * load / (1.0 - load) if load < 1.0 else math.inf) / rates
    for name in FLEET:
        limit = getattr(problem, name)
        if limit is not None:
            mean = sum(one.means[name] for one in parts)
            fits = fits and mean <= limit * (1.0 + TOLERANCE) + 1e-15
    return total, fits


def by_hand(problem: Deployment, rollout: Rollout) -> tuple[float, bool]:
    """Objective of a rollout, and whether it keeps every limit."""
    parts = []
    for i in range(problem.devices):
        choice = (int(rollout.variant[i]), int(rollout.server[i]), tuple(bool(one) for one in rollout.offload[i]))
        part = _part(problem, i, choice)
        assert part is not None, "the rollout makes no sense"
        parts.append(part)
    return _whole(problem, tuple(parts))


def rollout_of(choices: list[Choice]) -> Rollout:
    """A rollout from everybody's choice."""
    return Rollout(np.array([one[0] for one in choices]), np.array([one[1] for one in choices]),
                   np.array([one[2] for one in choices], dtype=np.bool_))


def least_objective(problem: Deployment) -> float:
    """The optimum by looking at every rollout, but for those of which a part costs too much already; inf: none keeps
    the limits."""
    lists = [sorted((one for one in every_option(problem, i) if one.fits), key=lambda one: one.cost)
             for i in range(problem.devices)]
    best = math.inf

    def look(chosen: tuple[_Part, ...], cost: float) -> None:
        nonlocal best
        if len(chosen) == problem.devices:
            objective, fits = _whole(problem, chosen)
            if fits and objective < best:
                best = objective
            return
        for part in lists[len(chosen)]:
            if cost + part.cost >= best:
                break
            look((*chosen, part), cost + part.cost)

    look((), 0.0)
    return best


def every_rollout(problem: Deployment) -> list[Rollout]:
    """All rollouts that keep the limits."""
    lists = [[one for one in every_option(problem, i) if one.fits] for i in range(problem.devices)]
    return [rollout_of([one.choice for one in parts]) for parts in itertools.product(*lists)
            if _whole(problem, parts)[1]]


def random_rollouts(problem: Deployment, seed: int, count: int = 1) -> list[Rollout]:
    """Something that every device can do, within its limits or not; nothing if one can do nothing."""
    numbers = np.random.default_rng(seed)
    lists = [every_option(problem, i) for i in range(problem.devices)]
    if not all(lists):
        return []
    return [rollout_of([one[int(numbers.integers(len(one)))].choice for one in lists]) for _ in range(count)]
