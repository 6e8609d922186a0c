"""Random fleets that answer queries: phones and boards of the catalog, declared as in a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from edgealloc.errors import DataError, Fault

__all__ = ["DEFAULT_VARIANTS", "random_deployment"]

#: kinds of device that take turns: name -> what a group of them says
_DEVICES: Final[tuple[dict[str, Any], ...]] = (
    {"name": "phone", "device": {"snapdragon-865-12gb": 1.0, "snapdragon-8-gen-2": 2.0, "snapdragon-8-gen-3": 1.0},
     "memory_share": 0.5},
    {"name": "small-phone", "device": {"apple-a17-pro": 1.0, "snapdragon-8-gen-1": 1.0}, "memory_share": 0.35},
    {"name": "board", "device": {"jetson-orin-nano-8gb": 1.0, "jetson-orin-nx-16gb": 1.0}, "memory_share": 0.8,
     "activity": [1.0, 5.0]},
    {"name": "kiosk", "device": {"raspberry-pi-5-8gb": 1.0}, "memory_share": 0.7},
)  # fmt: skip
#: model -> formats
DEFAULT_VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "qwen2.5-0.5b": ("Q8_0", "Q4_K_M"),
    "llama3.2-1b": ("Q8_0", "Q4_K_M"),
    "qwen2.5-1.5b": ("Q8_0", "Q4_K_M"),
    "llama3.2-3b": ("Q8_0", "Q4_K_M"),
    "qwen2.5-3b": ("Q8_0", "Q4_K_M"),
    "llama3.1-8b": ("Q4_K_M",),
    "qwen2.5-7b": ("Q4_K_M",),
}
_CLASSES: Final[tuple[dict[str, Any], ...]] = (
    {"name": "simple", "rate": 120.0 / 3600.0, "prompt_tokens": 64, "answer_tokens": 48, "benchmark": "piqa"},
    {"name": "medium", "rate": 30.0 / 3600.0, "prompt_tokens": 256, "answer_tokens": 128, "benchmark": "mmlu"},
    {"name": "complex", "rate": 8.0 / 3600.0, "prompt_tokens": 512, "answer_tokens": 256, "benchmark": "gsm8k"},
)
_SERVERS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "edge-l4", "device": "l4", "model": "qwen2.5-7b", "format": "int4-g128", "batch": 8},
    {"name": "edge-orin", "device": "jetson-agx-orin-64gb", "model": "qwen2.5-7b", "format": "int4-g128", "batch": 4},
)
#: One accelerator of every server for this many devices of its own: too few for all that they ask.
_DEVICES_PER_ACCELERATOR: Final = 120

_ASSUMPTIONS: Final = {
    "classes.rate": "an assistant that several apps of a device ask; measure it",
    "classes.prompt_tokens": "a short question, a question with a page, a question with several pages",
    "classes.answer_tokens": "a sentence, a paragraph, a page",
    "classes.benchmark": "everyday questions are as hard as PIQA, professional ones as MMLU, calculations as GSM8K",
    "devices.device": "phones and boards, drawn by these shares",
    "devices.activity": "some ask more than others",
    "devices.memory_share": "what the system leaves to one app",
    "servers.batch": "as many queries as come together when it is busy",
    "servers.accelerators": f"one accelerator for {_DEVICES_PER_ACCELERATOR} devices",
    "servers.memory_share": "a tenth of a server's memory is left to framework and buffers",
    "network.uplink": "between the edge and the middle of a cell",
    "network.downlink": "between the edge and the middle of a cell",
    "network.round_trip": "to an edge server in the same town",
    "network.transmit_power": "0.2 W radiated at an amplifier's efficiency of 0.2",
    "network.bytes_per_token": "4 B: four letters of text",
    "metrics.usable_speed": "as fast as people read",
}


def random_deployment(
    devices: int, servers: int, variants: Sequence[str] | None, seed: int, **limits: Any
) -> dict[str, Any]:
    """The document of a random fleet as a plain mapping; see `Scenario.random_deployment`."""
    faults: list[Fault] = []
    whole: tuple[tuple[str, object, int], ...] = (("devices", devices, 1), ("servers", servers, 0), ("seed", seed, 0))
    for name, value, low in whole:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            faults.append(Fault(name, f"is {value!r}; give a whole number >= {low}"))
    chosen = [variants] if isinstance(variants, str) else variants
    if chosen is not None and not all(isinstance(one, str) for one in chosen):
        faults.append(Fault("variants", f"is {variants!r}; give catalog names of models"))
    if faults:
        raise DataError(faults, "Scenario.random_deployment")
    tables = dict(DEFAULT_VARIANTS) if chosen is None else {
        name: DEFAULT_VARIANTS.get(name, ("Q8_0", "Q4_K_M")) for name in chosen
    }
    groups = [
        {"activity": [0.3, 3.0], **kind, "count": len(range(k, devices, len(_DEVICES)))}
        for k, kind in enumerate(_DEVICES)
        if k < devices
    ]
    accelerators = math.ceil(devices / (_DEVICES_PER_ACCELERATOR * max(servers, 1)))
    hosts = [
        {**kind, "count": len(range(k, servers, len(_SERVERS))), "accelerators": accelerators, "memory_share": 0.9}
        for k, kind in enumerate(_SERVERS)
        if k < servers
    ]
    assumptions = {path: why for path, why in _ASSUMPTIONS.items() if servers or not path.startswith("servers.")}
    return {
        "problem": "deployment",
        "version": 1,
        "name": f"deployment-{devices}x{servers}-{seed}",
        "description": f"{devices} phones and boards answer queries with compact models, beside {servers} edge servers",
        "seed": seed,
        "variants": [{"model": name, "formats": list(forms)} for name, forms in tables.items()],
        "classes": [dict(one) for one in _CLASSES],
        "devices": groups,
        **({"servers": hosts} if hosts else {}),
        "network": {
            "uplink": [5e6, 50e6],
            "downlink": [20e6, 200e6],
            "round_trip": 0.02,
            "transmit_power": 1.0,
            "bytes_per_token": 4.0,
        },
        "metrics": {"usable_speed": 5.0},
        "weights": {"delay": 0.3, "energy": 1.0, "hallucination": 10.0, "accuracy": 10.0, "accessibility": 1.0},
        **({"limits": limits} if limits else {}),
        "assumptions": assumptions,
    }
