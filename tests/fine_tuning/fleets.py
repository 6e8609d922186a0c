"""Small fleets of fine-tuning jobs for tests: random ones, and costs by loops that share no code with the package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgealloc import Assignment, FineTuning, Weights

__all__ = ["by_hand", "random_fleet_problem"]


def random_fleet_problem(seed: int, jobs: int = 5, methods: int = 3, servers: int = 2, **changes: Any) -> FineTuning:
    """Jobs with every feature at once: federations, floors, deadlines, batteries, servers out of reach, ties."""
    numbers = np.random.default_rng([seed, jobs, methods, servers])
    uplink = numbers.uniform(1e6, 5e7, (jobs, servers)) * (numbers.random((jobs, servers)) > 0.2)
    work = numbers.uniform(0.5, 3.0, (jobs, methods)) * 1e15
    fields: dict[str, Any] = {
        "device_flops_per_s": numbers.choice([1e12, 2e12, 4e12], jobs),
        "device_memory_bytes": numbers.choice([0.0, 4e9, 8e9, 16e9], jobs),
        "device_power_w": numbers.uniform(2.0, 20.0, jobs), "transmit_power_w": numbers.uniform(0.0, 1.0, jobs),
        "data_bytes": numbers.choice([0.0, 1e7, 1e9], jobs), "rounds": numbers.integers(0, 3, jobs) * 10,
        "quality_floor": numbers.choice([0.0, 0.0, 0.7], jobs), "quality_weight": numbers.choice([0.0, 1e3], jobs),
        "deadline_s": numbers.choice([math.inf, 2e3], jobs), "energy_limit_j": numbers.choice([math.inf, 2e4], jobs),
        "memory_bytes": numbers.choice([2e9, 5e9, 12e9, 20e9], (jobs, methods)), "work_flops": work,
        "message_bytes": numbers.choice([0.0, 12.0, 1e7], (jobs, methods)),
        "result_bytes": numbers.choice([0.0, 1e8], (jobs, methods)),
        "quality": numbers.uniform(0.6, 0.95, (jobs, methods)).round(2),
        "on_device": numbers.random((jobs, methods)) > 0.1, "on_server": numbers.random((jobs, methods)) > 0.1,
        "server_flops_per_s": numbers.uniform(2e13, 1e14, servers), "server_power_w": 300.0,
        "server_memory_bytes": numbers.choice([20e9, 30e9, 60e9, math.inf], servers),
        "server_busy_s": numbers.choice([50.0, 200.0, math.inf], servers),
        "airtime_s": numbers.choice([100.0, 1000.0, math.inf], servers),
        "uplink_bps": uplink, "downlink_bps": uplink * 2.0,
        "weights": Weights(1.0, numbers.choice([0.0, 0.1, 1.0]), 0.0),
    }
    return FineTuning(**fields | changes)


def by_hand(problem: FineTuning, assignment: Assignment) -> tuple[float, bool]:
    """Objective of an assignment, and whether it keeps every limit; inf and False where something cannot be sent."""
    total, fits = 0.0, True
    memory, busy, air = ([0.0] * problem.servers for _ in range(3))
    for i in range(problem.jobs):
        k, s = int(assignment.method[i]), int(assignment.place[i])
        rates = [float(one) for one in problem.uplink_bps[i]]
        cell = s if s >= 0 else (rates.index(max(rates)) if rates and max(rates) > 0.0 else -1)
        if s >= 0:
            sent, back, speed = problem.data_bytes[i], problem.result_bytes[i, k], problem.server_flops_per_s[s]
        else:
            sent = back = problem.rounds[i] * problem.message_bytes[i, k]
            speed = problem.device_flops_per_s[i]
        up = down = 0.0
        for size, table in ((sent, problem.uplink_bps), (back, problem.downlink_bps)):
            if size > 0.0 and (cell < 0 or table[i, cell] == 0.0):
                return math.inf, False
            seconds = 8.0 * size / table[i, cell] if size > 0.0 else 0.0
            up, down = (seconds, down) if table is problem.uplink_bps else (up, seconds)
        compute = problem.work_flops[i, k] / speed
        own = problem.transmit_power_w[i] * up + (problem.device_power_w[i] * compute if s < 0 else 0.0)
        energy = own + (problem.server_power_w[s] * compute if s >= 0 else 0.0)
        time = compute + up + down
        total += float(problem.weights.delay) * time + float(problem.weights.energy) * energy
        total += problem.quality_weight[i] * (1.0 - problem.quality[i, k])
        fits &= bool((problem.on_device if s < 0 else problem.on_server)[i, k])
        fits &= bool(problem.quality[i, k] >= problem.quality_floor[i] and time <= problem.deadline_s[i])
        fits &= bool(own <= problem.energy_limit_j[i])
        if s < 0:
            fits &= bool(problem.memory_bytes[i, k] <= problem.device_memory_bytes[i])
        else:
            memory[s] += problem.memory_bytes[i, k]
            busy[s] += compute
        if cell >= 0:
            air[cell] += up + down
    for s in range(problem.servers):
        fits &= bool(memory[s] <= problem.server_memory_bytes[s] and busy[s] <= problem.server_busy_s[s])
        fits &= bool(air[s] <= problem.airtime_s[s])
    return float(total), fits
