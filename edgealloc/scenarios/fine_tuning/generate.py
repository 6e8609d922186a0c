"""Random fleets: phones and boards of the catalog with jobs of several kinds, declared as in a file."""

from __future__ import annotations

import math
from typing import Any, Final

from edgealloc.errors import DataError, Fault

__all__ = ["random_fleet"]

#: catalog device -> how often
_DEVICES: Final = {
    "snapdragon-8-gen-2": 2.0,
    "snapdragon-8-gen-3": 2.0,
    "apple-a17-pro": 1.0,
    "jetson-orin-nano-8gb": 2.0,
    "jetson-orin-nx-16gb": 1.0,
}
#: kinds of job: tasks with published qualities, of a model that is like the one that is trained; the floors leave out
#: methods of which nothing is known
_JOBS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "sentences", "model": "bert-large-uncased", "task": "MNLI", "quality_model": "roberta-large",
     "batch": 16, "tokens": 128, "samples": [500, 4000], "quality_floor": 0.78},
    {"name": "questions", "model": "bert-large-uncased", "task": "TREC", "quality_model": "roberta-large",
     "batch": 16, "tokens": 64, "samples": [300, 3000], "quality_floor": 0.9, "place": "device"},
    {"name": "reading", "model": "opt-1.3b", "task": "SQuAD", "quality_model": "opt-13b",
     "batch": 4, "tokens": 384, "samples": [300, 1500], "quality_floor": 0.8},
    {"name": "facts", "model": "opt-1.3b", "task": "BoolQ", "quality_model": "opt-13b",
     "batch": 8, "tokens": 256, "samples": [300, 2000], "quality_floor": 0.65},
)  # fmt: skip
#: methods with published qualities of these tasks; to compute activations again changes nothing of what is learned
_METHODS: Final[tuple[dict[str, Any], ...]] = (
    {"method": "full-adam"},
    {"method": "full-adam", "name": "full-adam-checkpointed", "checkpointing": True},
    {"method": "lora"},
    {"method": "lora", "name": "lora-checkpointed", "checkpointing": True},
    {"method": "prefix"},
    {"method": "mezo"},
    {"method": "mezo-lora"},
)
_SERVERS: Final = ("l4", "t4", "jetson-agx-orin-64gb")
#: A server has one accelerator for this many jobs.
_JOBS_PER_ACCELERATOR: Final = 5

_ASSUMPTIONS: Final = {
    "model.memory_overhead": "framework and buffers wherever a job is trained",
    "model.bytes_per_token": "4 B: a token of training data is sent as one 32-bit index",
    "jobs.device": "phones and boards, drawn by these shares",
    "jobs.utilisation": "training reaches 0.35 of the peak rate; measure it and put your number here",
    "jobs.memory_share": "0.6 of the memory is left to training",
    "jobs.samples": "what one person or one site has collected",
    "jobs.quality_model": "the model that is trained is taken to reach what was published for a similar, larger one",
    "servers.utilisation": "training steps of single jobs reach 0.3 of the peak rate of an accelerator",
    "servers.memory_share": "a tenth of a server's memory is left to framework and buffers",
    "servers.accelerators": f"one accelerator for {_JOBS_PER_ACCELERATOR} jobs",
    "servers.airtime": "a tenth of the horizon",
    "radio.uplink": "between the edge and the middle of a cell",
    "radio.downlink": "between the edge and the middle of a cell",
    "radio.transmit_power": "0.2 W radiated at an amplifier's efficiency of 0.2",
}


def random_fleet(jobs: int, servers: int, model: str | None, seed: int, **model_options: Any) -> dict[str, Any]:
    """The document of a random fleet as a plain mapping; see `Scenario.random_fleet`."""
    faults: list[Fault] = []
    whole: tuple[tuple[str, object, int], ...] = (("jobs", jobs, 1), ("servers", servers, 0), ("seed", seed, 0))
    for name, value, low in whole:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            faults.append(Fault(name, f"is {value!r}; give a whole number >= {low}"))
    if faults:
        raise DataError(faults, "Scenario.random_fleet")
    counts = [len(range(k, jobs, len(_JOBS))) for k in range(len(_JOBS))]
    groups = [
        {
            "name": kind["name"],
            "count": count,
            "device": dict(_DEVICES),
            "utilisation": 0.35,
            "memory_share": 0.6,
            **{key: value for key, value in kind.items() if key != "name" and (key != "model" or model is None)},
        }
        for kind, count in zip(_JOBS, counts, strict=True)
        if count
    ]
    accelerators = math.ceil(jobs / (_JOBS_PER_ACCELERATOR * max(servers, 1)))
    hosts = [
        {
            "name": f"edge-{kind}",
            "count": len(range(k, servers, len(_SERVERS))),
            "device": kind,
            "accelerators": accelerators,
            "utilisation": 0.3,
            "memory_share": 0.9,
            "horizon": 8.0 * 3600.0,
            "airtime": 0.8 * 3600.0,
        }
        for k, kind in enumerate(_SERVERS)
        if k < servers
    ]
    unread = "servers." if not servers else "nothing"
    assumptions = {path: why for path, why in _ASSUMPTIONS.items() if not path.startswith(unread)}
    return {
        "problem": "fine-tuning",
        "version": 1,
        "name": f"fleet-{jobs}x{servers}-{seed}",
        "description": f"{jobs} phones and boards fine-tune language models on their own data, beside {servers} edge "
        "servers",
        "seed": seed,
        "model": {
            **({} if model is None else {"name": model}),
            "memory_overhead": 300e6,
            "bytes_per_token": 4.0,
            **model_options,
        },
        "methods": [dict(one) for one in _METHODS],
        "jobs": groups,
        **({"servers": hosts} if hosts else {}),
        "radio": {"uplink": [5e6, 60e6], "downlink": [20e6, 200e6], "transmit_power": 1.0},
        "weights": {"delay": 1.0, "energy": 1.0, "quality": 10.0},
        "assumptions": assumptions,
    }
