"""Random pools: mixed boards, phones and computers of the catalog on one network, declared as in a file."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from edgealloc.errors import DataError, Fault, nearest

__all__ = ["DEFAULT_POOL_MODEL", "POOL_NETWORKS", "random_pool"]

#: The model of a random pool, where none is named.
DEFAULT_POOL_MODEL: Final = "gpt2-large"
#: kind of network -> rate and latency
POOL_NETWORKS: Final[dict[str, tuple[float, float]]] = {
    "wifi": (300e6, 2e-3),
    "switch": (1e9, 0.2e-3),
    "line": (1e9, 0.2e-3),
    "mesh": (1e9, 0.2e-3),
}
#: catalog device -> short name, how often, memory that the system keeps
_BOARDS: Final[dict[str, tuple[str, float, float]]] = {
    "jetson-nano-4gb": ("nano", 2.0, 1e9),
    "jetson-tx2-8gb": ("tx2", 2.0, 1e9),
    "jetson-xavier-nx-8gb": ("xavier-nx", 3.0, 1e9),
    "jetson-orin-nano-8gb": ("orin-nano", 3.0, 1e9),
    "jetson-orin-nx-16gb": ("orin-nx", 1.0, 1e9),
    "raspberry-pi-5-8gb": ("pi", 2.0, 1e9),
    "snapdragon-8-gen-3": ("phone", 2.0, 4e9),
}

_ASSUMPTIONS: Final = {
    "model.batch": "a batch that a pool finishes in seconds to minutes",
    "model.memory_overhead": "framework and buffers on every device",
    "network.rate": "what a transfer reaches: Wi-Fi 6 in one room, Gigabit Ethernet by cable",
    "network.latency": "order of magnitude of an idle network",
    "network.joules_per_byte": "order of magnitude of radios and network cards",
    "devices.utilisation": "training reaches 0.35 of the peak rate; measure it and put your number here",
    "devices.memory_reserved": "1 GB on a board, 4 GB on a phone for the operating system",
    "devices.memory_share": "the rest but for a tenth is left to training",
    "devices.idle_share": "a board that waits draws 0.3 of its power limit",
    "devices.failure_probability": "one iteration in a thousand",
}


def random_pool(devices: int, model: str | None, network: str, seed: int, **model_options: Any) -> dict[str, Any]:
    """The document of a random pool as a plain mapping; see `Scenario.random_pool`."""
    faults: list[Fault] = []
    whole: tuple[tuple[str, object, int], ...] = (("devices", devices, 1), ("seed", seed, 0))
    for name, value, low in whole:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            faults.append(Fault(name, f"is {value!r}; give a whole number >= {low}"))
    if network not in POOL_NETWORKS:
        faults.append(Fault("network", f"is {network!r}; {nearest(str(network), POOL_NETWORKS)}"))
    if faults:
        raise DataError(faults, "Scenario.random_pool")
    model = DEFAULT_POOL_MODEL if model is None else model
    rate, latency = POOL_NETWORKS[network]
    boards = list(_BOARDS)
    often = np.array([_BOARDS[board][1] for board in boards])
    numbers = np.random.default_rng([seed, 1])
    kinds = np.searchsorted(np.cumsum(often) / often.sum(), numbers.random(devices), side="right")
    drawn = [boards[min(int(kind), len(boards) - 1)] for kind in kinds]
    groups = [
        {
            "name": f"{_BOARDS[board][0]}-{drawn[:k].count(board) + 1}",
            "device": board,
            "utilisation": 0.35,
            "memory_reserved": _BOARDS[board][2],
            "memory_share": 0.9,
            "idle_share": 0.3,
            "failure_probability": 1e-3,
        }
        for k, board in enumerate(drawn)
    ]
    return {
        "problem": "pool-training",
        "version": 1,
        "name": f"pool-{devices}-{network}-{seed}",
        "description": f"{devices} mixed devices on {network} train {model} together",
        "seed": seed,
        "model": {
            "name": model,
            "training": "full",
            "batch": 16,
            "micro_batches": 8,
            "tokens": 128,
            "precision": 2.0,
            "memory_overhead": 300e6,
            **model_options,
        },
        "devices": groups,
        "network": {"kind": network, "rate": rate, "latency": latency, "joules_per_byte": 5e-8},
        "weights": {"delay": 1.0, "energy": 1.0},
        "assumptions": dict(_ASSUMPTIONS),
    }
