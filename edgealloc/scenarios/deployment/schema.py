"""What a deployment scenario file may say, section by section (version 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator

from edgealloc.scenarios.quantities import (
    Bytes,
    Count,
    Deadline,
    EndlessQuantity,
    Fraction,
    Mixture,
    Number,
    Positive,
    PositiveWatts,
    Quantity,
    Spread,
    SpreadValue,
    Text,
    Watts,
)
from edgealloc.scenarios.schema import CatalogSection, Heading, Schema, Section

__all__ = [
    "DEFAULT_DEVICE_SHARE",
    "DEFAULT_SERVER_SHARE",
    "SCHEMA",
    "ClassTable",
    "DeviceGroup",
    "Document",
    "LimitsSection",
    "MetricsSection",
    "NetworkSection",
    "ReferenceSection",
    "ServerGroup",
    "VariantTable",
    "WeightsSection",
]

#: What nobody has measured: assumptions, said as such in tables and in `Scenario.assumptions`.
DEFAULT_DEVICE_SHARE: Final = 0.5
DEFAULT_SERVER_SHARE: Final = 0.9


def _shares(value: Any) -> dict[str, float]:
    """One share for every class of queries, or a table ``{class = share}``; kept as a table, "" is every class."""
    one = Quantity(high=1.0)
    if not isinstance(value, Mapping):
        return {"": one.parse(value)}
    shares: dict[str, float] = {}
    for name, share in value.items():
        try:
            shares[str(name)] = one.parse(share)
        except ValueError as error:
            raise ValueError(f"of '{name}': {error}") from None
    if not shares:
        raise ValueError("is empty; give a share, or a table such as { simple = 0.8, complex = 0.5 }")
    return shares


Share = Annotated[float, Quantity(high=1.0)]
Shares = Annotated[dict[str, float], PlainValidator(_shares)]
Rate = Annotated[float, Quantity("1/s")]
TokenRate = Annotated[float, Quantity("token/s", open_low=True)]
TokenEnergy = Annotated[float, Quantity("J/token")]
RateSpread = Annotated[float | tuple[float, float], SpreadValue(Quantity("bit/s"))]
Seconds = Annotated[float, Quantity("s")]
Energy = Annotated[float, EndlessQuantity("J", open_low=True)]
Load = Annotated[float, Quantity(high=0.999, open_low=True)]
EndlessShare = Annotated[float, EndlessQuantity(open_low=True)]
AnyNumber = Annotated[float, Quantity(low=-50.0, high=50.0)]


class VariantTable(Section):
    """Compact models that devices may get: one base model in one or several formats."""

    model: Text = Field(
        description="catalog name of the base model or student (`edgealloc catalog models` lists them), or of one "
        "under [catalog.models.NAME]"
    )
    formats: tuple[Text, ...] = Field(
        default=("f16",),
        description="what is done to its weights, each of which makes a variant: a format (f16, Q8_0, Q4_K_M, "
        "executorch-int4), a method and a format (awq-int4-g128), or what is pruned (wanda-2:4, sparsegpt-50)",
    )
    name: Text | None = Field(default=None, description="name of the variant, if it is one; 'model-format' by default")
    size: Bytes | None = Field(default=None, description="size of the file, if known; else computed from the format")
    perplexity: Positive | None = Field(default=None, description="instead of the published one; told, not counted")
    accuracy: Shares | None = Field(
        default=None,
        description="in [0, 1], or { class = share }, instead of the published one; say where it is from under "
        "[sources] or [assumptions]",
    )
    hallucination: Shares | None = Field(
        default=None, description="rate in [0, 1], or { class = rate }, instead of the published proxy"
    )


class ClassTable(Section):
    """Queries that are alike; from the simplest to the most complex."""

    name: Text = Field(description="name of the class")
    rate: Rate = Field(description="queries of a device per time, such as '12/h'")
    prompt_tokens: Count = Field(default=128, description="tokens of a prompt with its context")
    answer_tokens: Count = Field(default=128, description="tokens of an answer")
    prompt: Bytes | None = Field(default=None, description="what is sent; by default prompt_tokens x bytes_per_token")
    answer: Bytes | None = Field(
        default=None, description="what is sent back; by default answer_tokens x bytes_per_token"
    )
    benchmark: Text | None = Field(
        default=None,
        description="published benchmark whose accuracy counts here: piqa for simple queries, mmlu for knowledge (the "
        "default), gsm8k for calculations in several steps",
    )
    difficulty: AnyNumber = Field(
        default=0.0,
        description="how much harder than what has been published, in logits: 1 turns odds of 4:1 for a right answer "
        "into 1.5:1 (Rasch); shares given by class are left alone",
    )
    deadline: Deadline | None = Field(default=None, description="longest time to the end of an answer, or 'none'")
    accuracy_floor: Share = Field(default=0.0, description="least accuracy of whoever answers")
    hallucination_ceiling: Share = Field(default=1.0, description="highest hallucination rate of whoever answers")


class DeviceGroup(Section):
    """Devices that are alike, each of which gets at most one variant."""

    name: Text | None = Field(default=None, description="name of the device, or of several 'name-1', 'name-2', ...")
    count: Count = Field(default=1, description="how many of them")
    device: Mixture = Field(
        description="catalog device, or { name = share, ... } from which each is drawn (`edgealloc catalog devices`)"
    )
    memory: Bytes | None = Field(default=None, description="memory, instead of the catalog's")
    memory_reserved: Bytes = Field(
        default=0.0, description="memory that operating system and other programs keep for themselves"
    )
    memory_share: Fraction = Field(default=DEFAULT_DEVICE_SHARE, description="share of the rest that a model may have")
    framework: Text | None = Field(
        default=None, description="software that answers; by default the usual one of the class of device"
    )
    power: PositiveWatts | None = Field(
        default=None, description="power while answering, instead of the catalog's power limit"
    )
    variants: tuple[Text, ...] | None = Field(
        default=None, description="names of what may be installed; all by default, [] for nothing"
    )
    speed: dict[Text, TokenRate] = Field(
        default_factory=dict, description="measured speeds of answering, in token/s, by variant"
    )
    prompt_speed: dict[Text, TokenRate] = Field(
        default_factory=dict, description="measured speeds of reading a prompt, in token/s, by variant"
    )
    energy_per_token: dict[Text, TokenEnergy] = Field(
        default_factory=dict, description="measured energies of an answered token, in J/token, by variant"
    )
    activity: Spread = Field(
        default=1.0, description="how often these ask, times the rate of each class; [low, high] is drawn per device"
    )
    queries: dict[Text, Rate] = Field(
        default_factory=dict, description="rates of single classes by name, instead of theirs; 0: never"
    )
    uplink: RateSpread | None = Field(default=None, description="rate to every server, instead of that of [network]")
    downlink: RateSpread | None = Field(
        default=None, description="rate from every server, instead of that of [network]"
    )
    uplink_to: dict[Text, RateSpread] = Field(
        default_factory=dict, description="rate to single servers by name; 0: out of reach"
    )
    downlink_from: dict[Text, RateSpread] = Field(
        default_factory=dict, description="rate from single servers by name; 0: out of reach"
    )
    round_trip: Seconds | None = Field(default=None, description="instead of that of [network]")
    transmit_power: Watts | None = Field(default=None, description="instead of that of [network]")


class ServerGroup(Section):
    """Edge servers that are alike, each with one model."""

    name: Text | None = Field(
        default=None,
        description="name of the server, or of several 'name-1', 'name-2', ...; its catalog name by default",
    )
    count: Count = Field(default=1, description="how many of them")
    device: Text = Field(description="catalog device")
    accelerators: Count = Field(default=1, description="how many such devices are in it, each with its own copy")
    model: Text = Field(description="catalog name of the model that it serves")
    format: Text = Field(default="f16", description="format of its weights")
    framework: Text | None = Field(
        default=None, description="software that answers; by default the usual one of the class of device"
    )
    batch: Count = Field(default=8, description="queries that an accelerator answers at the same time when it is busy")
    memory: Bytes | None = Field(default=None, description="memory of an accelerator, instead of the catalog's")
    memory_share: Fraction = Field(default=DEFAULT_SERVER_SHARE, description="share of it for model and contexts")
    power: PositiveWatts | None = Field(
        default=None, description="power of an accelerator while it answers, instead of the catalog's power limit"
    )
    speed: TokenRate | None = Field(
        default=None, description="measured speed of an accelerator over all queries of a batch, in token/s"
    )
    prompt_speed: TokenRate | None = Field(default=None, description="measured speed of reading prompts, in token/s")
    load_limit: Load = Field(default=0.9, description="largest share of the time that it may be busy")
    airtime: EndlessShare | None = Field(
        default=None, description="largest share of the time that its cell may transmit, or 'none'"
    )
    accuracy: Shares | None = Field(default=None, description="as for [[variants]]")
    hallucination: Shares | None = Field(default=None, description="as for [[variants]]")


class NetworkSection(Section):
    """What carries prompts and answers between devices and servers."""

    uplink: RateSpread | None = Field(
        default=None, description="rate from a device to a server, or [low, high] from which each is drawn"
    )
    downlink: RateSpread | None = Field(default=None, description="rate from a server to a device")
    round_trip: Seconds = Field(default=0.02, description="latency there and back")
    transmit_power: Watts = Field(default=0.0, description="power of a device while it sends")
    bytes_per_token: Positive = Field(default=4.0, description="size of a token of text on the way")


class MetricsSection(Section):
    """What counts as access."""

    usable_speed: Annotated[float, Quantity("token/s")] = Field(
        default=5.0, description="speed from which a variant counts as access; people read some 5 tokens per second"
    )


class ReferenceSection(Section):
    """Amounts that make the weights comparable; computed from the scenario where not given."""

    delay: Positive | None = Field(
        default=None, description="s; by default the average over the queries of the fastest answer"
    )
    energy: Positive | None = Field(default=None, description="J; by default the average energy of the same answers")


class WeightsSection(Section):
    """What matters how much."""

    delay: Number = Field(default=1.0, description="weight of the mean delay of a query")
    energy: Number = Field(default=1.0, description="weight of its mean energy, on the device and at servers")
    hallucination: Number = Field(
        default=10.0, description="per unit of the mean hallucination rate: 10 makes a tenth worth the reference"
    )
    accuracy: Number = Field(default=10.0, description="objective per unit of accuracy that the mean answer lacks")
    accessibility: Number = Field(
        default=1.0, description="objective per unit of the share of devices without a variant of usable speed"
    )
    reference: ReferenceSection | None = Field(default=None, description="amounts the weights are relative to")


class LimitsSection(Section):
    """Optional limits of the whole fleet. Memory, load of servers and what the classes say always count."""

    energy: Energy | None = Field(default=None, description="most energy of the average query, or 'none'")
    hallucination: Share | None = Field(default=None, description="highest hallucination rate of the average answer")
    accuracy: Share | None = Field(default=None, description="least accuracy of the average answer")
    accessibility: Share | None = Field(default=None, description="least share of devices with a usable variant")
    device_load: EndlessShare = Field(
        default=1.0, description="largest share of the time that a device may be busy answering, or 'none'"
    )


class Document(Heading):
    """A whole scenario file."""

    problem: Literal["deployment"] = Field(description="kind of problem")
    variants: tuple[VariantTable, ...] = Field(min_length=1)
    classes: tuple[ClassTable, ...] = Field(min_length=1)
    devices: tuple[DeviceGroup, ...] = Field(min_length=1)
    servers: tuple[ServerGroup, ...] = Field(default=())
    network: NetworkSection = Field(default_factory=NetworkSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    weights: WeightsSection = Field(default_factory=WeightsSection)
    limits: LimitsSection = Field(default_factory=LimitsSection)


SCHEMA: Final = Schema(
    document=Document,
    sections={
        (): Document,
        ("variants",): VariantTable,
        ("classes",): ClassTable,
        ("devices",): DeviceGroup,
        ("servers",): ServerGroup,
        ("network",): NetworkSection,
        ("metrics",): MetricsSection,
        ("weights",): WeightsSection,
        ("weights", "reference"): ReferenceSection,
        ("limits",): LimitsSection,
        ("catalog",): CatalogSection,
    },
    lists=("variants", "classes", "devices", "servers"),
    problem_keys={
        "device_memory_bytes": ("devices.memory",),
        "transmit_power_w": ("devices.transmit_power", "network.transmit_power"),
        "query_rate_per_s": ("devices.activity",),
        "uplink_bps": ("devices.uplink", "network.uplink"),
        "downlink_bps": ("devices.downlink", "network.downlink"),
        "round_trip_s": ("devices.round_trip", "network.round_trip"),
        "load_limit": ("servers.load_limit",),
        "airtime_limit": ("servers.airtime",),
        "usable_tokens_per_s": ("metrics.usable_speed",),
        "device_load_limit": ("limits.device_load",),
        "energy_limit_j": ("limits.energy",),
        "hallucination_limit": ("limits.hallucination",),
        "error_limit": ("limits.accuracy",),
        "inaccessible_limit": ("limits.accessibility",),
        "hallucination_weight": ("weights.hallucination",),
        "error_weight": ("weights.accuracy",),
        "inaccessible_weight": ("weights.accessibility",),
        "device_names": ("devices.name",),
        "server_names": ("servers.name",),
    },
)
