"""What a split-training scenario file may say, section by section (version 1).

The descriptions of the fields are the documentation: `edgealloc new` writes them beside the values. Every
quantity is a plain SI number or a text with a unit.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from edgealloc.scenarios.quantities import (
    BitRate,
    Bytes,
    Count,
    CycleSpread,
    Deadline,
    Decibel,
    Flag,
    FlopRate,
    Fraction,
    Hertz,
    HertzSpread,
    KappaSpread,
    Layers,
    Metres,
    Mixture,
    Number,
    Penalty,
    Points,
    Positive,
    PositiveWatts,
    Quantity,
    Spread,
    Text,
    Watts,
    WattsPerHertz,
    WattsSpread,
    Whole,
    WholeSpread,
)
from edgealloc.scenarios.schema import CatalogSection, Heading, Schema, Section

__all__ = [
    "SCHEMA",
    "AreaSection",
    "Document",
    "LimitsSection",
    "ModelSection",
    "RadioSection",
    "ServerGroup",
    "StabilitySection",
    "UserGroup",
    "WeightsSection",
]


class ModelSection(Section):
    """The model that is fine-tuned, and how."""

    name: Text = Field(description="catalog name of the model (`edgealloc catalog models` lists them)")
    training: Literal["frozen", "full"] = Field(
        default="frozen",
        description="'frozen': a frozen base with low-rank adapters; 'full': every parameter is trained",
    )
    lora_rank: Layers = Field(default=16, description="rank of the adapters, used if training = 'frozen'")
    lora_targets: tuple[Text, ...] = Field(
        default=("q", "v"), description="matrices with adapters, of q k v o gate up down"
    )
    batch: Count = Field(default=2, description="sequences per training step and user")
    tokens: WholeSpread = Field(
        default=512, description="tokens per sequence, one number or [low, high] to draw each user's from"
    )
    activation_bytes: Positive = Field(default=2.0, description="bytes per element of the uploaded activations")
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
        default=True, description="false: output head and loss cost nothing, as printed in the paper"
    )
    memory_overhead: Bytes = Field(default=0.0, description="device memory for framework and buffers, whatever the cut")


class AreaSection(Section):
    """Where users and servers without given positions are placed."""

    size: Metres | None = Field(default=None, description="side of a square area")
    radius: Metres | None = Field(default=None, description="radius of a round area, instead of size")


def _no_is_none(value: Any) -> Any:
    """`fading: no` reaches us as False from YAML."""
    return "none" if value is False else value


def _short_name(value: Any) -> Any:
    """The system model says "3gpp-umi"; both names are good."""
    return value.removeprefix("3gpp-") if isinstance(value, str) else value


def _spaced(value: Any) -> Any:
    """The problem's field says "at_most"; both spellings are good."""
    return value.replace("_", " ") if isinstance(value, str) else value


class RadioSection(Section):
    """The uplink: path loss or measured gains, noise, power."""

    path_loss: Annotated[Literal["umi", "uma", "inh", "legacy-macro"] | None, BeforeValidator(_short_name)] = Field(
        default=None,
        description="path loss: umi, uma, inh (3GPP TR 38.901) or legacy-macro (128.1 + 37.6 log10 d_km)",
    )
    carrier: Hertz = Field(default=3.5e9, description="carrier frequency")
    shadowing: Flag = Field(default=True, description="log-normal shadowing with the deviation of the path-loss model")
    fading: Annotated[Literal["none", "rayleigh"], BeforeValidator(_no_is_none)] = Field(
        default="none", description="'rayleigh': one draw of fast fading per link; 'none': average channels"
    )
    antenna_gain_db: Decibel = Field(default=0.0, description="sum of the antenna gains of both ends, dB")
    gain_file: Text | None = Field(
        default=None,
        description="measured gains (users x servers) from a .npy or .csv file, instead of path_loss",
    )
    gain_unit: Literal["linear", "dB"] = Field(default="linear", description="unit of gain_file")
    noise_figure_db: Decibel | None = Field(
        default=None, description="noise figure of the receiver over -174 dBm/Hz, dB"
    )
    noise_density: WattsPerHertz | None = Field(default=None, description="noise density, instead of noise_figure_db")
    power_min: Watts = Field(default=0.0, description="lowest transmit power")
    power_max: WattsSpread = Field(
        description="highest transmit power (23 dBm = power class 3); one number or [low, high] to draw from"
    )
    amplifier_efficiency: Fraction = Field(default=1.0, description="radiated over consumed power of the amplifier")
    circuit_power: Watts = Field(default=0.0, description="power of the radio circuits while uploading")
    downlink_rate: BitRate | None = Field(
        default=None,
        description="rate at which each user receives the gradients (as many bits as it uploads)",
    )
    count_upload_delay: Flag = Field(
        default=True, description="false: the upload costs energy only, as printed in the paper"
    )


class UserGroup(Section):
    """Users that are alike: device, data and position."""

    name: Text | None = Field(default=None, description="name of the group in tables; the device by default")
    count: Count | None = Field(default=None, description="how many users; or give their positions")
    positions: Points | None = Field(
        default=None, description="positions [x, y] in metres; random in the area by default"
    )
    device: Mixture | None = Field(
        default=None,
        description="catalog device, or a table of devices and shares to draw from; without one give clock, "
        "flops_per_cycle, kappa (and cores), each a number or [low, high] to draw from",
    )
    utilisation: Fraction = Field(default=0.35, description="share of the device's peak rate that training reaches")
    flops: FlopRate | None = Field(default=None, description="measured peak rate, instead of the catalog's")
    clock: HertzSpread | None = Field(
        default=None, description="highest clock, instead of the catalog's; one number or [low, high] to draw from"
    )
    clock_min: Annotated[float, Quantity("Hz")] = Field(default=0.0, description="lowest clock")
    cores: WholeSpread | None = Field(default=None, description="cores of a device that is in no catalog; 1 by default")
    flops_per_cycle: CycleSpread | None = Field(
        default=None, description="FLOP per cycle and core of a device that is in no catalog"
    )
    kappa: KappaSpread | None = Field(
        default=None, description="power kappa f^3 of a whole device that is in no catalog, W s^3"
    )
    power: PositiveWatts | None = Field(
        default=None, description="device power at the highest clock, instead of the catalog's"
    )
    memory: Bytes | None = Field(default=None, description="device memory, instead of the catalog's")
    memory_share: Fraction = Field(default=0.5, description="share of the memory that training may use")
    idle_power: Watts = Field(default=0.0, description="device power while it waits for server and download")
    samples: Spread = Field(description="fine-tuning samples per user, one number or [low, high] to draw from")
    min_local_layers: Layers = Field(default=1, description="fewest layers on the device; 1 keeps raw embeddings there")
    max_local_layers: Layers | None = Field(
        default=None, description="most layers on the device; all that are allowed by default"
    )
    power_max: WattsSpread | None = Field(
        default=None, description="highest transmit power of this group, instead of the radio's"
    )
    deadline: Deadline | None = Field(
        default=None, description="deadline of this group's users, instead of that in [limits]; 'none': no deadline"
    )
    deadline_penalty: Penalty | None = Field(
        default=None, description="price of being late for this group, instead of that in [limits]; 'hard': never late"
    )


class ServerGroup(Section):
    """Edge servers that are alike."""

    name: Text | None = Field(default=None, description="name of the group in tables; the device by default")
    count: Count | None = Field(default=None, description="how many servers; or give their positions")
    positions: Points | None = Field(
        default=None, description="positions [x, y] in metres; on a jittered grid by default"
    )
    device: Text | None = Field(
        default=None,
        description="catalog device of its accelerators; without one give clock, flops_per_cycle, kappa (and cores), "
        "each a number or [low, high] to draw from",
    )
    accelerators: Positive = Field(default=1.0, description="accelerators per server")
    utilisation: Fraction = Field(default=0.35, description="share of the peak rate that training reaches")
    flops: FlopRate | None = Field(
        default=None, description="measured peak rate of one accelerator, instead of the catalog's"
    )
    clock: HertzSpread | None = Field(
        default=None, description="clock, instead of the catalog's; one number or [low, high] to draw from"
    )
    cores: WholeSpread | None = Field(
        default=None, description="cores of an accelerator that is in no catalog; 1 by default"
    )
    flops_per_cycle: CycleSpread | None = Field(
        default=None, description="FLOP per cycle and core of an accelerator that is in no catalog"
    )
    kappa: KappaSpread | None = Field(
        default=None, description="power kappa F^3 of an accelerator that is in no catalog, W s^3"
    )
    power: PositiveWatts | None = Field(default=None, description="power of one accelerator, instead of the catalog's")
    bandwidth: Hertz = Field(description="uplink bandwidth shared by the users of one server")
    energy: Literal["time-shared", "clock-scaled"] = Field(
        default="time-shared",
        description="'time-shared': constant energy per FLOP; 'clock-scaled': a share F draws kappa F^3",
    )
    users_max: Whole | None = Field(default=None, description="most users that one server takes; no cap by default")
    memory: Bytes | None = Field(
        default=None, description="memory of one server in all, instead of the catalog's times accelerators"
    )
    memory_share: Fraction = Field(
        default=0.9, description="share of the memory that layers, adapters and activations of its users may take"
    )


_TYPICAL_DELAY = "typical delay of a user, s; with delay_over_users = 'max': of a round, divided by the number of users"


class ReferenceSection(Section):
    """Typical amounts that make the weights comparable; computed from the scenario where not given."""

    delay: Positive | None = Field(default=None, description=_TYPICAL_DELAY)
    energy: Positive | None = Field(default=None, description="typical energy of a user, J")
    stability: Positive | None = Field(default=None, description="typical instability of a user")


class WeightsSection(Section):
    """What matters how much."""

    delay: Positive = Field(default=1.0, description="weight of the delay")
    energy: Number = Field(default=1.0, description="weight of the energy")
    stability: Number = Field(default=1.0, description="weight of the instability")
    delay_over_users: Literal["sum", "max"] = Field(
        default="sum",
        description="'sum': every user's delay counts; 'max': synchronous rounds, only the slowest user's does",
    )
    reference: ReferenceSection | None = Field(default=None, description="amounts the weights are relative to")


class StabilitySection(Section):
    """The bound on the instability of fine-tuning."""

    model: Literal["liu-zhao", "fu"] = Field(default="liu-zhao", description="stability bound")
    lipschitz: Positive = Field(default=1.0, description="Lipschitz constant of the loss")
    lambda_min: Number | None = Field(
        default=None, description="smallest eigenvalue of the loss's Hessian, for 'fu' only"
    )


class LimitsSection(Section):
    """Optional limits."""

    stability_limit: Positive | None = Field(default=None, description="largest instability allowed for any user")
    device_memory: Flag = Field(default=True, description="layers on the device must fit into its memory")
    deadline: Deadline | None = Field(
        default=None,
        description="longest time of a user's training step: device, upload (always counted), server, download",
    )
    deadline_penalty: Penalty | None = Field(
        default=None,
        description="makes deadlines soft: weight of a second late, in the units of weights.delay, so that 10 costs "
        "ten times a second of delay at weights.delay = 1 (in the objective: divided by weights.reference.delay)",
    )
    server_memory: Flag = Field(
        default=False, description="the layers that a server trains for its users must fit into its memory together"
    )
    shared_base: Flag = Field(
        default=False,
        description="a server keeps the frozen model once for all of its users; false, the safe side: every user "
        "brings a copy of its layers there",
    )
    resources: Annotated[Literal["at most", "exactly"], BeforeValidator(_spaced)] = Field(
        default="at most",
        description="'exactly': a server that serves somebody hands out all of its bandwidth and clock (as in the "
        "paper); 'at most': as much as pays",
    )


class Document(Heading):
    """A whole scenario file."""

    problem: Literal["split-training"] = Field(description="kind of problem")
    model: ModelSection
    area: AreaSection = Field(default_factory=AreaSection)
    radio: RadioSection
    users: tuple[UserGroup, ...] = Field(min_length=1)
    servers: tuple[ServerGroup, ...] = Field(min_length=1)
    weights: WeightsSection = Field(default_factory=WeightsSection)
    stability: StabilitySection = Field(default_factory=StabilitySection)
    limits: LimitsSection = Field(default_factory=LimitsSection)


#: field of the problem -> keys of a file that it comes from, a group's before the general one
_PROBLEM_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "user_flops_per_cycle": ("users.flops_per_cycle", "users.flops"),
    "user_kappa": ("users.kappa", "users.power"),
    "user_frequency_min_hz": ("users.clock_min",),
    "user_frequency_max_hz": ("users.clock",),
    "power_min_w": ("radio.power_min",),
    "power_max_w": ("users.power_max", "radio.power_max"),
    "samples": ("users.samples",),
    "min_local_layers": ("users.min_local_layers",),
    "max_local_layers": ("users.max_local_layers",),
    "idle_power_w": ("users.idle_power",),
    "device_memory_bytes": ("users.memory",),
    "deadline_s": ("users.deadline", "limits.deadline"),
    "deadline_penalty_per_s": ("users.deadline_penalty", "limits.deadline_penalty"),
    "server_flops_per_cycle": ("servers.flops_per_cycle", "servers.flops"),
    "server_kappa": ("servers.kappa", "servers.power"),
    "server_joules_per_flop": ("servers.kappa", "servers.power"),
    "server_frequency_max_hz": ("servers.clock",),
    "bandwidth_max_hz": ("servers.bandwidth",),
    "users_per_server": ("servers.users_max",),
    "server_memory_bytes": ("servers.memory",),
    "stability_limit": ("limits.stability_limit",),
    "resource_sense": ("limits.resources",),
    "delay": ("weights.delay_over_users",),
    "gain": ("radio.gain_file",),
    "noise_psd_w_per_hz": ("radio.noise_density",),
    "fixed_delay_s": ("radio.downlink_rate",),
    "amplifier_efficiency": ("radio.amplifier_efficiency",),
    "circuit_power_w": ("radio.circuit_power",),
    "count_upload_delay": ("radio.count_upload_delay",),
    "upload_bits": ("model.activation_bytes",),
}

SCHEMA: Final = Schema(
    document=Document,
    sections={
        (): Document,
        ("model",): ModelSection,
        ("area",): AreaSection,
        ("radio",): RadioSection,
        ("users",): UserGroup,
        ("servers",): ServerGroup,
        ("weights",): WeightsSection,
        ("weights", "reference"): ReferenceSection,
        ("stability",): StabilitySection,
        ("limits",): LimitsSection,
        ("catalog",): CatalogSection,
    },
    lists=("users", "servers"),
    problem_keys=_PROBLEM_KEYS,
)
