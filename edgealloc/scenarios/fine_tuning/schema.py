"""What a fine-tuning scenario file may say, section by section (version 1)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from edgealloc.scenarios.quantities import (
    Bytes,
    Count,
    Deadline,
    EndlessQuantity,
    Flag,
    FlopRate,
    Fraction,
    Mixture,
    Number,
    Positive,
    PositiveWatts,
    Quantity,
    SpreadValue,
    Text,
    Watts,
    Whole,
    WholeSpread,
)
from edgealloc.scenarios.schema import CatalogSection, Heading, Schema, Section

__all__ = [
    "DEFAULT_DEVICE_SHARE",
    "DEFAULT_SERVER_SHARE",
    "DEFAULT_UTILISATION",
    "EPOCHS",
    "SCHEMA",
    "ZEROTH_ORDER_STEPS",
    "Document",
    "JobGroup",
    "LimitsSection",
    "MethodTable",
    "ModelSection",
    "RadioSection",
    "ReferenceSection",
    "ServerGroup",
    "WeightsSection",
]

Share = Annotated[float, Quantity(high=1.0)]
RateSpread = Annotated[float | tuple[float, float], SpreadValue(Quantity("bit/s"))]
Energy = Annotated[float, EndlessQuantity("J", open_low=True)]
Place = Literal["anywhere", "device", "server"]

#: What nobody has measured: assumptions, said as such in tables and in `Scenario.assumptions`.
DEFAULT_UTILISATION: Final = 0.35
DEFAULT_DEVICE_SHARE: Final = 0.5
DEFAULT_SERVER_SHARE: Final = 0.9
#: Epochs of first-order training, and steps of a zeroth-order method for each of its steps: OPT experiments of Malladi
#: et al. 2023 (MeZO), arXiv 2305.17333.
EPOCHS: Final = 5.0
ZEROTH_ORDER_STEPS: Final = 32.0


class ModelSection(Section):
    """What the jobs train, and how, where a job says nothing else."""

    name: Text | None = Field(
        default=None,
        description="catalog name of the model (`edgealloc catalog models` lists them), or of one under "
        "[catalog.models.NAME]",
    )
    batch: Count = Field(default=8, description="sequences per step")
    tokens: Count = Field(default=256, description="tokens per sequence")
    epochs: Positive = Field(
        default=EPOCHS, description="how often a first-order method sees every sample until the target is reached"
    )
    zeroth_order_steps: Positive = Field(
        default=ZEROTH_ORDER_STEPS, description="steps of a zeroth-order method (mezo) per step of a first-order one"
    )
    optimizer_states: Text | None = Field(
        default=None,
        description="bytes per trained parameter by convention, bf16-adam, mixed-adam, mixed-sgd, ...; each method's "
        "usual one by default (mixed-adam for most)",
    )
    checkpointing: Flag = Field(
        default=False, description="layers are recomputed in the backward pass: less memory, a third more work"
    )
    fused_attention: Flag = Field(default=True, description="attention matrices are not kept in memory")
    convention: Literal["torch", "peft", "textbook"] = Field(
        default="torch",
        description="which tensors count as kept for the backward pass: 'torch' as PyTorch does, 'peft' with adapters "
        "in single precision, 'textbook' with every operation fused",
    )
    memory_overhead: Bytes = Field(
        default=0.0, description="memory for framework and buffers wherever a job is trained"
    )
    bytes_per_token: Positive = Field(
        default=4.0, description="size of a token of training data on the air, where a job gives no `data`"
    )


class MethodTable(Section):
    """A fine-tuning method that jobs may choose; without any, all that edgealloc knows."""

    method: Text = Field(description="full-adam, lora, qlora, mezo, ...: `edgealloc fits` lists all names")
    name: Text | None = Field(default=None, description="name in tables; that of the method by default")
    rank: Count | None = Field(
        default=None, description="rank of adapters (lora, qlora, mezo-lora) or gradients (galore)"
    )
    targets: tuple[Text, ...] | None = Field(
        default=None, description="matrices with adapters, of q k v o gate up down"
    )
    bottleneck: Count | None = Field(default=None, description="width of serial adapters")
    virtual_tokens: Count | None = Field(default=None, description="length of a prefix or prompt")
    blocks: Count | None = Field(
        default=None, description="blocks that badam trains one after another; layers by default"
    )
    precision: Text | None = Field(default=None, description="of the base weights: fp32, bf16, int8 or nf4")
    optimizer_states: Text | None = Field(default=None, description="instead of that of [model]")
    checkpointing: Flag | None = Field(default=None, description="instead of that of [model]")
    fused_attention: Flag | None = Field(default=None, description="instead of that of [model]")
    steps: Count | None = Field(default=None, description="steps to the target, whatever the job")
    quality: Share | None = Field(
        default=None,
        description="quality in [0, 1] for jobs that have no number of their own; say where it is from "
        "under [sources] or [assumptions]",
    )
    place: Place = Field(default="anywhere", description="'device' or 'server': it cannot run elsewhere")


class JobGroup(Section):
    """Jobs that are alike: one device each, with its data."""

    name: Text | None = Field(default=None, description="name of the job, or of several 'name-1', 'name-2', ...")
    count: Count = Field(default=1, description="how many of them")
    device: Mixture | None = Field(
        default=None,
        description="catalog device, or { name = share, ... } from which each job's is drawn; without one give "
        "flops_per_s, memory and power",
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
    memory_share: Fraction = Field(default=DEFAULT_DEVICE_SHARE, description="share of the rest that training may use")
    power: PositiveWatts | None = Field(
        default=None, description="power while training, instead of the catalog's power limit"
    )
    model: Text | None = Field(default=None, description="instead of that of [model]")
    batch: Count | None = Field(default=None, description="instead of that of [model]")
    tokens: Count | None = Field(default=None, description="instead of that of [model]")
    samples: WholeSpread | None = Field(
        default=None, description="sequences of training data, or [low, high] from which each job's is drawn"
    )
    data: Bytes | None = Field(
        default=None, description="size of the training data; by default samples x tokens x bytes_per_token"
    )
    epochs: Positive | None = Field(default=None, description="instead of that of [model]")
    steps: Count | None = Field(
        default=None, description="steps to the target of a first-order method, instead of epochs x samples / batch"
    )
    steps_of: dict[Text, Count] = Field(
        default_factory=dict, description="steps to the target of single methods by name"
    )
    task: Text | None = Field(
        default=None, description="published qualities of this task are used, such as 'SST-2'; see quality_model"
    )
    quality_model: Text | None = Field(
        default=None, description="model whose published qualities are taken; the job's own by default"
    )
    quality: dict[Text, Share] = Field(
        default_factory=dict,
        description="quality in [0, 1] of methods by name; say where it is from under [sources] or [assumptions]",
    )
    quality_floor: Share | None = Field(default=None, description="least quality, instead of that of [limits]")
    deadline: Deadline | None = Field(
        default=None, description="longest time to the target, or 'none', instead of that of [limits]"
    )
    battery: Energy | None = Field(
        default=None, description="energy that the device itself may draw, or 'none', instead of that of [limits]"
    )
    rounds: Whole = Field(
        default=0, description="rounds of a federation that a job trained on its device takes part in; 0: none"
    )
    place: Place = Field(
        default="anywhere", description="'device': the data never leaves it; 'server': not on the device"
    )
    uplink: RateSpread | None = Field(default=None, description="rate to every server, instead of that of [radio]")
    downlink: RateSpread | None = Field(default=None, description="rate from every server, instead of that of [radio]")
    uplink_to: dict[Text, RateSpread] = Field(
        default_factory=dict, description="rate to single servers by name; 0: out of reach"
    )
    downlink_from: dict[Text, RateSpread] = Field(
        default_factory=dict, description="rate from single servers by name; 0: out of reach"
    )
    transmit_power: Watts | None = Field(default=None, description="instead of that of [radio]")


class ServerGroup(Section):
    """Edge servers that are alike."""

    name: Text | None = Field(
        default=None,
        description="name of the server, or of several 'name-1', 'name-2', ...; its catalog name by default",
    )
    count: Count = Field(default=1, description="how many of them")
    device: Text | None = Field(
        default=None, description="catalog device; without one give name, flops_per_s, memory and power"
    )
    accelerators: Count = Field(default=1, description="how many such devices are in it")
    slots: Count | None = Field(
        default=None, description="jobs that it trains at the same time, each with an equal part; one per accelerator"
    )
    utilisation: Fraction = Field(
        default=DEFAULT_UTILISATION, description="share of the catalog's peak rate that training reaches"
    )
    flops_per_s: FlopRate | None = Field(
        default=None,
        description="measured rate of training of the whole server, instead of utilisation times peak rate",
    )
    memory: Bytes | None = Field(default=None, description="memory of the whole server, instead of the catalog's")
    memory_share: Fraction = Field(default=DEFAULT_SERVER_SHARE, description="share of it that training may use")
    power: Watts | None = Field(
        default=None, description="power of an accelerator while training, instead of the catalog's power limit"
    )
    horizon: Deadline | None = Field(
        default=None,
        description="how long the server is at the jobs' disposal, or 'none': it has slots x horizon "
        "seconds of computing",
    )
    airtime: Deadline | None = Field(default=None, description="seconds of transmission in its cell, or 'none'")


class RadioSection(Section):
    """What carries data, results and updates between devices and servers."""

    uplink: RateSpread | None = Field(
        default=None, description="rate from a device to a server, or [low, high] from which each is drawn"
    )
    downlink: RateSpread | None = Field(default=None, description="rate from a server to a device")
    transmit_power: Watts = Field(default=0.0, description="power of a device while it sends")


class ReferenceSection(Section):
    """Amounts that make the weights comparable; computed from the scenario where not given."""

    delay: Positive | None = Field(
        default=None, description="s; by default the average over the jobs of the time of their fastest option"
    )
    energy: Positive | None = Field(default=None, description="J; by default the average energy of the same options")


class WeightsSection(Section):
    """What matters how much."""

    delay: Number = Field(default=1.0, description="weight of the time to the target")
    energy: Number = Field(default=1.0, description="weight of the energy of device and server")
    quality: Number = Field(
        default=10.0,
        description="objective per unit of quality lost: 10 makes a tenth of quality worth the reference time",
    )
    reference: ReferenceSection | None = Field(default=None, description="amounts the weights are relative to")


class LimitsSection(Section):
    """Optional limits of every job. Memory always counts."""

    deadline: Deadline | None = Field(default=None, description="longest time to the target")
    battery: Energy | None = Field(default=None, description="energy that a device itself may draw")
    quality_floor: Share = Field(default=0.0, description="least quality; methods of unknown quality are out above 0")


class Document(Heading):
    """A whole scenario file."""

    problem: Literal["fine-tuning"] = Field(description="kind of problem")
    model: ModelSection = Field(default_factory=ModelSection)
    methods: tuple[MethodTable, ...] = Field(default=(), description="methods that jobs may choose; all by default")
    jobs: tuple[JobGroup, ...] = Field(min_length=1)
    servers: tuple[ServerGroup, ...] = Field(default=())
    radio: RadioSection = Field(default_factory=RadioSection)
    weights: WeightsSection = Field(default_factory=WeightsSection)
    limits: LimitsSection = Field(default_factory=LimitsSection)


SCHEMA: Final = Schema(
    document=Document,
    sections={
        (): Document,
        ("model",): ModelSection,
        ("methods",): MethodTable,
        ("jobs",): JobGroup,
        ("servers",): ServerGroup,
        ("radio",): RadioSection,
        ("weights",): WeightsSection,
        ("weights", "reference"): ReferenceSection,
        ("limits",): LimitsSection,
        ("catalog",): CatalogSection,
    },
    lists=("methods", "jobs", "servers"),
    problem_keys={
        "device_flops_per_s": ("jobs.flops_per_s",),
        "device_memory_bytes": ("jobs.memory",),
        "device_power_w": ("jobs.power",),
        "transmit_power_w": ("jobs.transmit_power", "radio.transmit_power"),
        "data_bytes": ("jobs.data",),
        "rounds": ("jobs.rounds",),
        "quality_floor": ("jobs.quality_floor", "limits.quality_floor"),
        "deadline_s": ("jobs.deadline", "limits.deadline"),
        "energy_limit_j": ("jobs.battery", "limits.battery"),
        "memory_bytes": ("model.memory_overhead",),
        "server_flops_per_s": ("servers.flops_per_s",),
        "server_power_w": ("servers.power",),
        "server_memory_bytes": ("servers.memory",),
        "server_busy_s": ("servers.horizon",),
        "airtime_s": ("servers.airtime",),
        "uplink_bps": ("jobs.uplink", "radio.uplink"),
        "downlink_bps": ("jobs.downlink", "radio.downlink"),
        "job_names": ("jobs.name",),
        "server_names": ("servers.name",),
    },
)
