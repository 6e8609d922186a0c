"""What a pool-training scenario file may say, section by section (version 1)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from edgealloc.scenarios.quantities import (
    BitRate,
    Bytes,
    Count,
    Flag,
    FlopRate,
    Fraction,
    Layers,
    Number,
    Positive,
    PositiveWatts,
    Quantity,
    Text,
    Watts,
    WholeNumber,
)
from edgealloc.scenarios.schema import CatalogSection, Heading, Schema, Section

__all__ = [
    "DEFAULT_IDLE_SHARE",
    "DEFAULT_MEMORY_SHARE",
    "DEFAULT_UTILISATION",
    "SCHEMA",
    "DeviceGroup",
    "Document",
    "LimitsSection",
    "LinkTable",
    "ModelSection",
    "NetworkSection",
    "ReferenceSection",
    "WeightsSection",
]

Share = Annotated[float, Quantity(high=1.0)]
Seconds = Annotated[float, Quantity("s")]
Parts = Annotated[int, WholeNumber(low=1, high=10_000)]
Deadline = Annotated[float, Quantity("s", open_low=True)]

#: What nobody has measured: assumptions, said as such in tables and in `Scenario.assumptions`.
DEFAULT_UTILISATION: Final = 0.35
DEFAULT_MEMORY_SHARE: Final = 0.75
DEFAULT_IDLE_SHARE: Final = 0.3


class ModelSection(Section):
    """The model that the pool trains, and how."""

    name: Text = Field(
        description="catalog name of the model (`edgealloc catalog models` lists them), or of one under "
        "[catalog.models.NAME]"
    )
    training: Literal["full", "frozen"] = Field(
        default="full", description="'full': every parameter is trained; 'frozen': low-rank adapters on a frozen base"
    )
    lora_rank: Layers = Field(default=16, description="rank of the adapters, used if training = 'frozen'")
    lora_targets: tuple[Text, ...] = Field(
        default=("q", "v"), description="matrices with adapters, of q k v o gate up down"
    )
    batch: Count = Field(default=16, description="sequences per iteration, over all devices together")
    micro_batches: Parts = Field(
        default=4, description="parts of the batch that follow one another through a pipeline; they divide the batch"
    )
    tokens: Count = Field(default=128, description="tokens per sequence (of each sequence, in an encoder-decoder)")
    precision: Positive = Field(
        default=2.0, description="bytes per element of activations, and of gradients on the network: 2 half, 4 single"
    )
    optimizer_states: Text = Field(
        default="mixed-adam",
        description="bytes per trained parameter by convention: bf16-adam, mixed-adam, mixed-sgd, ...",
    )
    fused_attention: Flag = Field(default=True, description="attention matrices are not kept in device memory")
    recompute: Flag = Field(
        default=False,
        description="layers are recomputed in the backward pass: less memory, a third more work",
    )
    count_head: Flag = Field(
        default=True,
        description="false: output head and loss cost nothing (a small classifier instead of a vocabulary)",
    )
    memory_overhead: Bytes = Field(default=0.0, description="memory for framework and buffers on every device")


class DeviceGroup(Section):
    """Devices that are alike."""

    name: Text | None = Field(
        default=None,
        description="name of the device, or of several 'name-1', 'name-2', ...; its catalog name by default",
    )
    count: Count = Field(default=1, description="how many of them")
    device: Text | None = Field(
        default=None,
        description="catalog device; without one give name, flops_per_s, memory and busy_power",
    )
    utilisation: Fraction = Field(
        default=DEFAULT_UTILISATION, description="share of the catalog's peak rate that training reaches"
    )
    flops_per_s: FlopRate | None = Field(
        default=None, description="measured rate of training, instead of utilisation times the catalog's peak rate"
    )
    memory: Bytes | None = Field(default=None, description="memory, instead of the catalog's")
    memory_reserved: Bytes = Field(
        default=0.0, description="memory that operating system and other programs keep for themselves"
    )
    memory_share: Fraction = Field(default=DEFAULT_MEMORY_SHARE, description="share of the rest that training may use")
    busy_power: PositiveWatts | None = Field(
        default=None, description="power while training, instead of the catalog's power limit"
    )
    idle_power: Watts | None = Field(
        default=None, description="power of a participant while it waits; the catalog's, else idle_share of busy_power"
    )
    idle_share: Share = Field(
        default=DEFAULT_IDLE_SHARE, description="idle power as a share of busy_power, where nobody knows it"
    )
    failure_probability: Share = Field(default=0.0, description="chance that a device drops out during an iteration")


class LinkTable(Section):
    """A link between two devices or relays."""

    a: Text = Field(description="one end: name of a device or relay")
    b: Text = Field(description="other end")
    rate: BitRate | None = Field(default=None, description="bit/s in each direction; that of [network] by default")
    latency: Seconds | None = Field(default=None, description="delay of a message; that of [network] by default")
    medium: Text | None = Field(
        default=None,
        description="links (and directions) with the same medium take turns on it, such as one Wi-Fi channel; without "
        "one each direction is on its own",
    )
    one_way: Flag = Field(default=False, description="true: from a to b only")
    metric: Positive = Field(default=1.0, description="routes take the smallest sum of metrics; 1 counts hops")
    joules_per_byte: Number | None = Field(
        default=None, description="energy of sender and receiver per byte; that of [network] by default"
    )


class NetworkSection(Section):
    """How the devices reach each other."""

    kind: Literal["wifi", "switch", "line", "mesh", "links"] = Field(
        description="'wifi': one channel that all share; 'switch': full-duplex ports of one switch; 'line': each "
        "device linked to the next; 'mesh': a link of its own for every pair; 'links': as given by [[network.links]]"
    )
    rate: BitRate | None = Field(default=None, description="bit/s of the channel, of a port, or of each link")
    latency: Seconds = Field(default=0.0, description="delay of a message on each link, on top of its transmission")
    joules_per_byte: Number = Field(default=0.0, description="energy of sender and receiver per byte on each link")
    access_point: Flag = Field(
        default=False,
        description="wifi only. true: messages cross the air twice, through the access point; false: devices reach "
        "each other directly, or `rate` is what a transfer between two of them was measured to reach",
    )
    relays: tuple[Text, ...] = Field(
        default=(), description="names of switches and access points that [[network.links]] use"
    )
    links: tuple[LinkTable, ...] = Field(default=(), description="links, with kind = 'links'")


class ReferenceSection(Section):
    """Amounts that make the weights comparable; computed from the scenario where not given."""

    delay: Positive | None = Field(
        default=None, description="s; by default an iteration on the fastest device alone, whatever its memory"
    )
    energy: Positive | None = Field(default=None, description="J; by default of the same iteration on the same device")


class WeightsSection(Section):
    """What matters how much."""

    delay: Number = Field(default=1.0, description="weight of the time of an iteration")
    energy: Number = Field(default=1.0, description="weight of the energy of an iteration")
    reference: ReferenceSection | None = Field(default=None, description="amounts the weights are relative to")


class LimitsSection(Section):
    """Optional limits. The memory of every device always counts."""

    deadline: Deadline | None = Field(default=None, description="longest time of an iteration")
    parallelisms: tuple[Text, ...] | None = Field(
        default=None,
        description="parallelisms that may be used, of single data sequence tensor pipeline hybrid; all by default",
    )


class Document(Heading):
    """A whole scenario file."""

    problem: Literal["pool-training"] = Field(description="kind of problem")
    carbon_g_per_kwh: Number | None = Field(
        default=None, description="carbon intensity of the electricity, g CO2 per kWh, for reports only"
    )
    model: ModelSection
    devices: tuple[DeviceGroup, ...] = Field(min_length=1)
    network: NetworkSection
    weights: WeightsSection = Field(default_factory=WeightsSection)
    limits: LimitsSection = Field(default_factory=LimitsSection)


SCHEMA: Final = Schema(
    document=Document,
    sections={
        (): Document,
        ("model",): ModelSection,
        ("devices",): DeviceGroup,
        ("network",): NetworkSection,
        ("network", "links"): LinkTable,
        ("weights",): WeightsSection,
        ("weights", "reference"): ReferenceSection,
        ("limits",): LimitsSection,
        ("catalog",): CatalogSection,
    },
    lists=("devices", "network.links"),
    problem_keys={
        "flops_per_s": ("devices.flops_per_s",),
        "memory_bytes": ("devices.memory",),
        "busy_power_w": ("devices.busy_power",),
        "idle_power_w": ("devices.idle_power",),
        "failure_probability": ("devices.failure_probability",),
        "device_names": ("devices.name",),
        "batch": ("model.batch",),
        "micro_batches": ("model.micro_batches",),
        "tokens": ("model.tokens",),
        "boundary_bytes": ("model.precision",),
        "overhead_bytes": ("model.memory_overhead",),
        "deadline_s": ("limits.deadline",),
        "parallelisms": ("limits.parallelisms",),
        "carbon_g_per_kwh": ("carbon_g_per_kwh",),
        "topology": ("network.links",),
    },
)
