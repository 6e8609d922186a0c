"""What the figures are drawn from: base models, strategies, queries, devices, and which of it is ours.

What could be read of the paper is its abstract and the beginning of its introduction; the values of its figures could
not. So the axes are those of its Fig. 1C, 4 and 5, and every number is computed from published rows of others (each
with its source) and from choices of ours, made before anything was drawn - but for two, which `choices` names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from edgealloc.catalog import default_catalog
from edgealloc.errors import DataError, nearest
from edgealloc.scenarios.fits import MEMORY_SHARES

__all__ = [
    "BASES", "DEVICES", "MIX", "PHONES", "QUERIES", "REPORTED", "STRATEGIES", "USABLE_TOKENS_PER_S", "Base", "Phones",
    "Query", "Strategy", "check_base", "choices", "usable_bytes",
]


@dataclass(frozen=True)
class Base:
    """A model that is made compact.

    Attributes
    ----------
    model : str
    students : tuple of str
        Distilled from it, the larger one first; empty where none is known.
    labels : dict
        Strategy -> label that takes the place of the strategy's own, where rows were published for it.
    text : str
    """

    model: str
    students: tuple[str, ...]
    text: str
    labels: dict[str, str] = field(default_factory=dict)


#: editions of the figures
BASES: Final[dict[str, Base]] = {
    "llama3": Base("llama3.1-8b", ("llama3.2-3b", "llama3.2-1b"), "Llama 3.1 8B with its students of 3B and 1B"),
    "llama2": Base("llama2-7b", (), "Llama 2 7B, for which most rows of quantisation and pruning are published",
                   {"prune-50": "retrained-50"}),
}


@dataclass(frozen=True)
class Strategy:
    """A way to make a model compact, or to use one that is not.

    Attributes
    ----------
    name, text : str
    gpu, cpu : str
        Label of the weights for software that runs on graphics processors, and on processors.
    student : int
        Which student takes the place of the base; -1: the base itself.
    offload : bool
        The base stays at the server, and devices send their queries.
    """

    name: str
    text: str
    gpu: str = "f16"
    cpu: str = "f16"
    student: int = -1
    offload: bool = False


#: Rows of the table, the uncompressed model first.
STRATEGIES: Final = (
    Strategy("half", "none: half precision"),
    Strategy("quantise-4", "4 bits (AWQ; Q4_K_M on processors)", "awq-int4-g128", "Q4_K_M"),
    Strategy("quantise-3", "3 bits (AWQ; Q3_K_M on processors)", "awq-int3-g128", "Q3_K_M"),
    Strategy("prune-50", "half of the weights 0, anywhere", "wanda-50", "wanda-50"),
    Strategy("prune-2:4", "2 of 4 weights 0", "wanda-2:4", "wanda-2:4"),
    Strategy("prune-20%", "a fifth of heads and channels taken out, tuned", "llm-pruner-tuned-20%",
             "llm-pruner-tuned-20%"),
    Strategy("distil", "the larger student", student=0),
    Strategy("distil-small", "the smaller student", student=1),
    Strategy("distil+4", "the larger student in 4 bits", "awq-int4-g128", "Q4_K_M", student=0),
    Strategy("offload", "the base at the server, for everybody", offload=True),
)


@dataclass(frozen=True)
class Query:
    """A class of queries: tokens of prompt and answer, and its share of all queries."""

    prompt: int
    answer: int
    share: float


#: By the classes of the catalog (`edgealloc.catalog.variants.QUERY_CLASSES`), from simple to complex.
QUERIES: Final[dict[str, Query]] = {
    "simple": Query(64, 64, 0.5), "medium": Query(256, 128, 0.3), "hard": Query(512, 256, 0.2),
}
#: Shares of the classes, in their order.
MIX: Final = tuple(one.share for one in QUERIES.values())
#: A variant is of use from this speed on: about as fast as people read.
USABLE_TOKENS_PER_S: Final = 5.0
#: One of each: phones, boards and laptops of the catalog.
DEVICES: Final = (
    "snapdragon-865-12gb", "snapdragon-8-gen-1", "snapdragon-8-gen-2", "snapdragon-8-gen-3", "kirin-9000e",
    "dimensity-9300", "raspberry-pi-4b-8gb", "raspberry-pi-5-8gb", "jetson-nano-4gb", "jetson-orin-nano-8gb",
    "jetson-orin-nx-16gb", "jetson-agx-orin-32gb", "apple-m1-pro", "snapdragon-x-elite",
)


@dataclass(frozen=True)
class Phones:
    """Phones and a server that they share.

    Attributes
    ----------
    device, server : str
        Of the catalog.
    count : int
        Phones in the bars: more than the server can answer for alone.
    counts : tuple of int
        Phones along the axis.
    query_interval_s : float
        Between two queries of a phone, on average.
    uplink_bps, downlink_bps, round_trip_s, transmit_power_w : float
        Radio of a phone.
    bytes_per_token : float
        Of the text that is sent.
    batch : int
        Queries that the server decodes together.
    phone_framework, server_framework : str
    labels : tuple of str
        Formats of the base on the phone; its students are there in the first one.
    delay_reference_s, energy_reference_j : float
        What counts as much as a tenth more hallucinations, or a tenth more wrong answers.
    """

    device: str = "snapdragon-865-12gb"
    server: str = "a100-sxm-80gb"
    count: int = 480
    counts: tuple[int, ...] = (1, 60, 240, 300, 480, 960, 1920)
    query_interval_s: float = 60.0
    uplink_bps: float = 20e6
    downlink_bps: float = 50e6
    round_trip_s: float = 0.05
    transmit_power_w: float = 0.2
    bytes_per_token: float = 4.0
    batch: int = 8
    phone_framework: str = "llama.cpp-cpu"
    server_framework: str = "server-gpu"
    labels: tuple[str, ...] = ("Q4_K_M", "Q3_K_M", "Q2_K")
    delay_reference_s: float = 10.0
    energy_reference_j: float = 100.0

    @property
    def quality_weight(self) -> float:
        """Objective per unit of hallucination rate, and of wrong answers."""
        return 10.0

    @property
    def access_weight(self) -> float:
        """Objective per share of phones without access: so small that a variant is installed where it costs nothing."""
        return 1e-3


PHONES: Final = Phones()

#: What the paper reports, as far as its abstract goes, and the design that it proposes.
REPORTED: Final = (
    "quantisation, pruning and distillation make models that mobile devices can run",
    "they improve generalisation accuracy, hallucination rate, accessibility and resource consumption",
    "simple queries are answered on the device, complex ones at the edge (the design that it proposes)",
)


def check_base(name: str) -> str:
    """The name, or a DataError that says which was probably meant."""
    if name not in BASES:
        raise DataError(f"edition: no base model '{name}'; {nearest(str(name), BASES)}")
    return name


def usable_bytes(device: str) -> float:
    """Memory that a model may use on a device of the catalog: a share of it, by its class.

    Examples
    --------
    >>> usable_bytes("snapdragon-865-12gb")
    6000000000.0
    """
    entry = default_catalog().device(device)
    return MEMORY_SHARES[entry.device_class] * float(entry.require("memory_bytes"))


def choices(edition: str) -> list[str]:
    """What could not be read of the paper and we chose: one text each."""
    queries = ", ".join(f"{name} {one.prompt} + {one.answer} tokens ({one.share:.0%})" for name, one in QUERIES.items())
    shares = ", ".join(f"{kind} {share:g}" for kind, share in MEMORY_SHARES.items())
    return [
        f"base model: {BASES[edition].text}",
        f"queries (prompt + answer, share): {queries}",
        "generalisation accuracy: published PIQA for simple, MMLU for medium and GSM8K for hard queries, weighted by "
        "those shares; what has no row follows from perplexity by an assumption (above chance, divided by the ratio)",
        "hallucination rate: Vectara's rate of unsupported summaries, a proxy; what has no row is the base's rate "
        "times the ratio of perplexities, an assumption",
        f"accessibility: devices on which the variant fits and decodes at {USABLE_TOKENS_PER_S:g} token/s or more",
        f"memory for a model is a share of a device's memory, by class ({shares})",
        "speed by roofline with efficiencies of measured rows; power is measured where known, else the device's limit",
        f"{PHONES.count} phones share the server in 'offloading': chosen after a first run with 60, whose server "
        "answered everything; 'sharing' shows other numbers of phones, those among them",
        f"a weight of {PHONES.access_weight:g} on phones without access, after that run too: so that a variant is "
        "installed where that costs nothing",
    ]
