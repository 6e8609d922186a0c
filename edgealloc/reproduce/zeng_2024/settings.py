"""What the figures are drawn from: testbeds of Jetson boards, models, workload, network, and which of it is ours.

The paper's text that is public names the boards' family (NVIDIA Jetson), the four parallelisms and what was found, and
no number of its case study. So nearly every number here is our choice, made before anything was drawn and not changed
after, and said with every figure; what is varied is varied to show where a finding depends on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgealloc.catalog import default_catalog
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, nearest
from edgealloc.scenarios.scenario import Scenario

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = [
    "BATCH", "BOARDS", "MODELS", "RATES", "REPORTED", "TESTBEDS", "TOKENS", "VERSIONS", "Setting",
    "check_testbed", "choices",
]

#: testbed (the editions of the figures) -> what it is.
TESTBEDS: Final = {
    "nano": "four equal boards, Jetson Nano",
    "mixed": "five unequal boards, two Jetson Nano, two Jetson TX2, one Jetson Xavier NX",
}
#: testbed -> boards of the catalog and how many.
BOARDS: Final[dict[str, tuple[tuple[str, str, int], ...]]] = {
    "nano": (("nano", "jetson-nano-4gb", 4),),
    "mixed": (("nano", "jetson-nano-4gb", 2), ("tx2", "jetson-tx2-8gb", 2), ("nx", "jetson-xavier-nx-8gb", 1)),
}
#: what computes -> its name in the figures.
VERSIONS: Final = {"gpu": "GPU", "cpu": "CPU"}
#: The four families that the study is about, a small and a large one of each.
MODELS: Final = (
    "bert-base-uncased", "gpt2-small", "t5-base", "opt-125m",
    "bert-large-uncased", "gpt2-medium", "t5-large", "opt-1.3b",
)
#: Mbit/s.
RATES: Final = (100.0, 1000.0)

BATCH: Final = 16
MICRO_BATCHES: Final = 8
TOKENS: Final = 128
UTILISATION: Final = 0.4
CPU_FLOP_PER_CYCLE: Final = 8.0
CPU_POWER: Final = 0.5
IDLE_POWER: Final = 0.25
RESERVED_BYTES: Final = 0.5e9
PORT_LATENCY_S: Final = 2.5e-4
BYTES_PER_ELEMENT: Final = 4.0
#: 16 bytes per parameter: in single precision weight, gradient and two moments of 4 each.
STATES: Final = "mixed-adam"

#: What the paper reports, as far as its public text goes; the trends of the figures judge each on our numbers.
REPORTED: Final = (
    "data and pipeline parallelism are the most effective in energy and in throughput",
    "tensor and sequence parallelism are limited by communication and memory",
    "collaborative training is much faster than one device at an energy that is comparable",
    "with GPUs data and pipeline parallelism have a favourable energy efficiency",
    "models become trainable that no single device can hold",
)


def check_testbed(name: str) -> str:
    """The name, or a DataError that says which was probably meant."""
    if name not in TESTBEDS:
        raise DataError(f"edition: no testbed '{name}'; {nearest(str(name), TESTBEDS)}")
    return name


@dataclass(frozen=True)
class Setting:
    """One case: who trains what over which network.

    Attributes
    ----------
    testbed : {"nano", "mixed"}
    version : {"gpu", "cpu"}
    model : str
        Name in the catalog.
    rate_mbit : float
        Mbit/s of every port of the switch, or of the Wi-Fi channel.
    network : {"switch", "wifi"}
    batch : int
        Sequences of an iteration.
    training : {"full", "frozen"}
        Every parameter, or adapters on a frozen base.
    """

    testbed: str
    version: str
    model: str
    rate_mbit: float
    network: str = "switch"
    batch: int = BATCH
    training: str = "full"

    def scenario(self) -> Scenario:
        """The declaration, as a file would have it."""
        return Scenario.from_mapping(self.mapping(), source=f"zeng-2024 {self.testbed} {self.version}")

    def problem(self, weights: Weights | None = None) -> PoolTraining:
        """The problem; by default time alone counts."""
        return self.scenario().pool_training(weights=weights or Weights(delay=1.0, energy=0.0))

    def mapping(self) -> dict[str, Any]:
        """The content of the scenario file."""
        return {
            "problem": "pool-training",
            "version": 1,
            "name": f"zeng-2024 {self.testbed} {self.version}",
            "model": {
                "name": self.model, "training": self.training, "batch": self.batch,
                "micro_batches": min(MICRO_BATCHES, self.batch), "tokens": TOKENS,
                "precision": BYTES_PER_ELEMENT, "optimizer_states": STATES, "fused_attention": False,
            },
            "devices": [_group(name, board, count, self.version) for name, board, count in BOARDS[self.testbed]],
            "network": {
                "kind": self.network, "rate": self.rate_mbit * 1e6,
                "latency": PORT_LATENCY_S if self.network == "switch" else 2.0 * PORT_LATENCY_S,
            },
        }


def _group(name: str, board: str, count: int, version: str) -> dict[str, Any]:
    entry = default_catalog().device(board)
    power = float(entry.require("power_w"))
    rate = float(entry.require("fp32_flops_per_s")) if version == "gpu" else cpu_flops_per_s(board)
    return {
        "device": board, "count": count, "name": name, "flops_per_s": rate * UTILISATION,
        "busy_power": power * (1.0 if version == "gpu" else CPU_POWER), "idle_power": power * IDLE_POWER,
        "memory_reserved": RESERVED_BYTES, "memory_share": 1.0,
    }


def cpu_flops_per_s(board: str) -> float:
    """Peak single-precision rate of a board's processor: cores x clock x 8 FLOP per cycle.

    Cores and clock as the catalog names them ("4x Cortex-A57 @1.43 GHz").

    Examples
    --------
    >>> f"{cpu_flops_per_s('jetson-nano-4gb'):.3g}"
    '4.58e+10'
    """
    text = str(default_catalog().device(board).require("cpu"))
    clock = re.search(r"@\s*([\d.]+)\s*GHz", text)
    if clock is None:
        raise DataError(f"{board}: the catalog's cpu '{text}' names no clock in GHz")
    cores = sum(int(one) for one in re.findall(r"(\d+)x", text))
    return cores * float(clock.group(1)) * 1e9 * CPU_FLOP_PER_CYCLE


def choices(testbed: str) -> list[str]:
    """What the public text leaves open and we chose: one text each."""
    boards = ", ".join(f"{count} x {board}" for _, board, count in BOARDS[testbed])
    cpu = ", ".join(f"{name} {cpu_flops_per_s(board) / 1e9:.3g}" for name, board, _ in BOARDS[testbed])
    return [
        f"boards: {boards}; which and how many the public text does not say",
        f"rates: single precision; GPU as in the catalog, CPU cores x clock x {CPU_FLOP_PER_CYCLE:g} FLOP per cycle "
        f"(GFLOP/s: {cpu}); {UTILISATION:.0%} of the peak is reached",
        f"power: the board's limit while the GPU computes, {CPU_POWER:.0%} of it while the CPU does, "
        f"{IDLE_POWER:.0%} idle; a board waits at idle power for the others, and the network's energy is in these",
        f"memory: {RESERVED_BYTES / 1e9:g} GB of every board are kept for system and framework",
        f"training: all parameters, Adam, single precision (16 B per parameter, "
        f"{BYTES_PER_ELEMENT:g} B per element), nothing recomputed, attention not fused",
        "adapters: low-rank, of rank 16 on queries and values, on a frozen base in half precision (2 B per parameter)",
        f"workload: batches of {BATCH} sequences of {TOKENS} tokens, as BERT is fine-tuned on GLUE; pipelines cut "
        f"a batch into {MICRO_BATCHES} micro-batches; one sequence is one sample",
        f"network: a full-duplex switch, {PORT_LATENCY_S * 1e3:g} ms per port; or one Wi-Fi channel that all share, "
        "with the same latency from end to end",
        "the four parallelisms use all boards; shares, order and partition are the library's rule for the least time",
        "one device: the board that is fastest alone, adding up the gradients of the micro-batches; as if its memory "
        "were unlimited where the model does not fit",
        "a parallelism that does not fit is marked OOM; its hollow bar is what it would take with unlimited memory",
    ]
