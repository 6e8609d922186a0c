"""What the figures are drawn from: workloads, models, devices, methods, and which of it is ours.

The paper is a survey. Its public text (abstract, summaries) says which methods there are and why, and has no number
that could be plotted; so the numbers here are our choices, made before anything was drawn and not changed after, and
published numbers of the papers it reviews, each with its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgealloc.catalog import default_catalog
from edgealloc.catalog.tuning_facts import StepsRow, steps_rows
from edgealloc.errors import DataError, nearest
from edgealloc.scenarios.fits import MEMORY_SHARES
from edgealloc.system.tuning import TUNING_METHODS

__all__ = [
    "ADAPTERS", "DEVICES", "FLEET", "FRUGAL", "LINES", "MAINSTREAM", "MATRIX_MODELS", "METHODS", "MODELS",
    "PREFERENCE", "REPORTED", "TARGET", "WORKLOADS", "Target", "Workload", "check_workload", "choices", "usable_bytes",
]


@dataclass(frozen=True)
class Workload:
    """What a step trains on.

    Attributes
    ----------
    batch, tokens : int
        Sequences of a step, and tokens of each.
    text : str
    """

    batch: int
    tokens: int
    text: str


#: editions of the figures
WORKLOADS: Final[dict[str, Workload]] = {
    "short": Workload(8, 128, "8 sequences of 128 tokens a step, as sentences are classified"),
    "long": Workload(8, 512, "8 sequences of 512 tokens a step, as texts are read"),
}
#: One family from small to large, in which every method applies, and the one of the published memory tables.
MODELS: Final = ("opt-125m", "opt-1.3b", "opt-2.7b", "opt-6.7b")
#: Every method with its default options, in the library's order.
METHODS: Final = tuple(TUNING_METHODS)
#: Frozen base, something small trained beside it.
ADAPTERS: Final = ("bitfit", "lora", "qlora", "adapters", "prefix", "prompt", "ia3")
#: All parameters, with less than Adam's memory.
FRUGAL: Final = ("full-sgd", "lomo", "galore", "badam", "mezo")
#: Which method is the best of those that fit: what trains most, by the method nearest to Adam on all parameters.
PREFERENCE: Final = ("full-adam", "galore", "badam", "lomo", "lora", "qlora", "mezo")
#: Devices of the matrix, by memory.
DEVICES: Final = (
    "jetson-nano-4gb", "apple-a17-pro", "jetson-orin-nano-8gb", "snapdragon-8-gen-3", "jetson-orin-nx-16gb", "l4",
    "jetson-agx-orin-32gb", "jetson-agx-orin-64gb", "a100-sxm-80gb",
)
#: Mainstream hardware: what people carry and small boards, up to 16 GB.
MAINSTREAM: Final = ("jetson-nano-4gb", "apple-a17-pro", "jetson-orin-nano-8gb", "snapdragon-8-gen-3",
                     "jetson-orin-nx-16gb")
#: Devices that are lines in the picture of memory.
LINES: Final = ("apple-a17-pro", "snapdragon-8-gen-3", "l4", "jetson-agx-orin-64gb")
MATRIX_MODELS: Final = (
    "opt-125m", "smollm2-360m", "qwen2-0.5b", "llama3.2-1b", "opt-1.3b", "llama3.2-3b", "opt-6.7b", "llama3-8b",
    "opt-13b",
)


@dataclass(frozen=True)
class Target:
    """Training to a target on one device, in a federation.

    Attributes
    ----------
    device, model : str
    methods : tuple of str
    rounds : int
        Of the federation.
    rate_bps : float
        Uplink and downlink.
    utilisation : float
        Share of the device's peak rate.
    """

    device: str = "jetson-agx-orin-64gb"
    model: str = "opt-1.3b"
    methods: tuple[str, ...] = ("full-adam", "lomo", "lora", "qlora", "prefix", "mezo", "mezo-lora")
    rounds: int = 20
    rate_bps: float = 20e6
    utilisation: float = 0.35

    def published(self, order: int) -> StepsRow:
        """Published steps and batch of the one method of an order that has both: MeZO's paper, OPT."""
        method = "full-adam" if order else "mezo"
        return next(row for row in steps_rows() if row.method == method and row.steps and row.batch)

    def steps(self, order: int) -> int:
        """Steps to the target, taken for every method of an order."""
        return int(self.published(order).steps or 0)

    def larger(self, order: int) -> int:
        """How many times as large the batches are as those of first order."""
        return int(self.published(order).batch or 1) // int(self.published(1).batch or 1)


TARGET: Final = Target()
#: Jobs, servers and seed of the random fleet.
FLEET: Final = (24, 3, 0)

#: What the paper reports, as far as its public text goes (abstract; summaries of introduction and sections).
REPORTED: Final = (
    "fine-tuning by first-order methods takes more memory than mainstream hardware has",
    "it takes much more than inference, since backpropagation keeps what inference does not",
    "parameter-efficient methods make fine-tuning possible with the resources of network edges, and reduce what "
    "devices exchange",
    "zeroth-order methods, which need no backpropagation, fine-tune all parameters in little memory",
    "smaller number formats lower the cost further",
)


def check_workload(name: str) -> str:
    """The name, or a DataError that says which was probably meant."""
    if name not in WORKLOADS:
        raise DataError(f"edition: no workload '{name}'; {nearest(str(name), WORKLOADS)}")
    return name


def usable_bytes(device: str) -> float:
    """Memory that training may use on a device of the catalog: a share of it, by its class.

    Examples
    --------
    >>> usable_bytes("apple-a17-pro")
    4000000000.0
    """
    entry = default_catalog().device(device)
    return MEMORY_SHARES[entry.device_class] * float(entry.require("memory_bytes"))


def choices(edition: str) -> list[str]:
    """What the public text leaves open and we chose: one text each."""
    workload = WORKLOADS[edition]
    shares = ", ".join(f"{kind} {share:g}" for kind, share in MEMORY_SHARES.items())
    return [
        f"workload: {workload.text}",
        "methods: the library's default options (rank 8 on queries and values, 20 virtual tokens, bottleneck of 64, "
        "mixed-precision Adam, GaLore of rank 128), half-precision base (4 bits for qlora), fused attention, nothing "
        "recomputed",
        f"memory for training is a share of a device's memory, by class ({shares}); framework and buffers are not "
        "counted",
        "memory is the library's model, tensor by tensor; its errors against published rows are figure 'published'",
    ]
