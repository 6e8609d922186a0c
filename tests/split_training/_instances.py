"""Problems for the tests of SplitTraining: random ones of every model variant, and extreme ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgealloc.core.weights import Weights
from edgealloc.formulations.split_training.problem import SplitTraining
from edgealloc.system.stability import Stability


def random_problem(
    seed: int, users: int = 6, servers: int = 2, layers: int = 5, **changes: Any
) -> SplitTraining:
    """A problem of physical size; even seeds are time-shared, every third can be fully local."""
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "layers": layers,
        "layer_flops": rng.uniform(1e12, 3e12, users),
        "head_flops": rng.uniform(0.0, 4e12, users),
        "upload_bits": rng.uniform(1e7, 1e8, users),
        "user_flops_per_cycle": rng.uniform(200.0, 2000.0, users),
        "user_kappa": rng.uniform(1e-28, 5e-27, users),
        "user_frequency_min_hz": 1e7,
        "user_frequency_max_hz": rng.uniform(5e8, 1.5e9, users),
        "power_max_w": rng.uniform(0.1, 1.0, users),
        "samples": rng.uniform(50.0, 500.0, users),
        "server_flops_per_cycle": rng.uniform(5e3, 2e4, servers),
        "server_frequency_max_hz": rng.uniform(1e9, 3e9, servers),
        "bandwidth_max_hz": rng.uniform(1e7, 4e7, servers),
        "gain": 10.0 ** rng.uniform(-13.0, -9.0, (users, servers)),
        "noise_psd_w_per_hz": 4e-21,
        "fixed_delay_s": rng.uniform(0.0, 0.1, (users, servers)),
        "amplifier_efficiency": 0.4,
        "circuit_power_w": 0.1,
        "idle_power_w": 0.05,
        "weights": Weights(1.0, 0.5, 20.0),
    }
    if seed % 2 == 0:
        fields["server_joules_per_flop"] = rng.uniform(1e-12, 1e-11, servers)
    else:
        fields["server_kappa"] = rng.uniform(1e-27, 1e-25, servers)
    if seed % 3 == 0:
        fields["stability"] = Stability("fu", lambda_min=0.5)
    fields.update(changes)
    return SplitTraining(**fields)


def extreme_problem(seed: int) -> SplitTraining:
    """Few users and servers, gains from 1e-20 to 1 or none at all, weights and bounds at their ends."""
    rng = np.random.default_rng(seed)
    users, servers, layers = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 5))
    gain = 10.0 ** rng.uniform(-20.0, 0.0, (users, servers))
    gain[rng.random(gain.shape) < 0.2] = 0.0
    if rng.random() < 0.3:
        gain[:] = gain[0, 0]
    power_min = np.where(rng.random(users) < 0.3, 0.1, 0.0)
    energy = float(rng.choice([0.0, 1e-6, 1.0, 1e3]))
    counted = bool(rng.random() < 0.7) or energy == 0.0
    return random_problem(
        seed, users, servers, layers,
        gain=gain,
        power_min_w=power_min if counted else 0.01,
        user_kappa=float(rng.choice([0.0, 1e-27])),
        circuit_power_w=float(rng.choice([0.0, 0.1])),
        head_flops=float(rng.choice([0.0, 1e12])),
        min_local_layers=int(rng.integers(0, min(2, layers) + 1)),
        weights=Weights(float(rng.choice([1e-6, 1.0])), energy, float(rng.choice([0.0, 1.0]))),
        count_upload_delay=counted,
    )
