"""What the catalog holds: typed, frozen entries in which every number carries a mark of how well it is
known."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.transformer import Transformer

__all__ = ["LEGEND", "SUFFIX", "DeviceEntry", "Entry", "Mark", "ModelEntry", "PowerMode", "RadioEntry"]

Mark = Literal["seen", "recall", "derived", "assumption", "user"]

#: What is printed after a number of each mark.
SUFFIX: dict[Mark, str] = {"seen": "", "recall": "*", "derived": "~", "assumption": "?", "user": "+"}
LEGEND = (
    "no mark: read in the named source; * from memory; ~ computed from other numbers; "
    "? our assumption; + given by you"
)

_BOOKKEEPING = (
    "name",
    "source",
    "confidence",
    "note",
    "recall_fields",
    "derived_fields",
    "assumption_fields",
    "user_fields",
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What every entry has.

    Attributes
    ----------
    name, source : str
    confidence : {"seen", "recall", "user"}
        Of every field that none of the following lists names.
    recall_fields, derived_fields, assumption_fields, user_fields : tuple of str
        Fields that are from memory, computed, assumed, or set by the user.
    note : str
    """

    section: ClassVar[str] = ""

    name: str
    source: str = ""
    confidence: Mark = "seen"
    recall_fields: tuple[str, ...] = ()
    derived_fields: tuple[str, ...] = ()
    assumption_fields: tuple[str, ...] = ()
    user_fields: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def data_fields(cls) -> tuple[str, ...]:
        """Names of the fields that hold facts."""
        return tuple(f.name for f in dataclasses.fields(cls) if f.name not in _BOOKKEEPING)

    def mark(self, field: str) -> Mark:
        """How well a field's value is known.

        Raises
        ------
        DataError
            There is no such field, or it has no value.
        """
        self.require(field)
        # The weakest statement wins, except that a user's own value replaces all others.
        lists: tuple[tuple[Mark, tuple[str, ...]], ...] = (
            ("user", self.user_fields),
            ("assumption", self.assumption_fields),
            ("recall", self.recall_fields),
            ("derived", self.derived_fields),
        )
        return next((mark for mark, names in lists if field in names), self.confidence)

    def require(self, field: str) -> Any:
        """Value of a field that must have one.

        Raises
        ------
        DataError
            No such field; or no public number was found, in which case the message says what to set.
        """
        if field not in self.data_fields():
            raise DataError(
                [
                    Fault(
                        f"{self.section}.{self.name}",
                        f"there is no field '{field}'; {nearest(field, self.data_fields())}",
                    )
                ]
            )
        value = getattr(self, field)
        if value is None:
            raise DataError(
                [
                    Fault(
                        f"{self.section}.{self.name}.{field}",
                        f"the catalog has no value for it; set '{field}' under "
                        f"[{self.section}.{self.name}] in the scenario file",
                    )
                ]
            )
        return value

    def marks(self) -> dict[str, Mark]:
        """Mark of every field that has a value."""
        return {name: self.mark(name) for name in self.data_fields() if getattr(self, name) is not None}


@dataclass(frozen=True, kw_only=True)
class ModelEntry(Entry):
    """A language model's architecture.

    Attributes
    ----------
    kind : str
        "decoder", "encoder" or "encoder-decoder" (whose `layers` are per stack).
    family : str
        The block's design, see :data:`edgealloc.system.transformer.FAMILIES`.
    layers, hidden, heads, kv_heads, head_dim, ffn, vocab, max_context : int
    mlp : str
        "swiglu", "geglu" (three matrices), "gelu" or "relu" (two).
    tied_embeddings : bool
    params : int
        Parameters in all.
    kv_bytes_per_token : float
        Key-value cache of one token in half precision; 0 for an encoder.
    """

    section: ClassVar[str] = "models"

    kind: str
    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    mlp: str
    vocab: int
    max_context: int
    tied_embeddings: bool
    params: int
    kv_bytes_per_token: float

    def transformer(self) -> Transformer:
        """Shape for :mod:`edgealloc.system.transformer`.

        Examples
        --------
        >>> from edgealloc.catalog import default_catalog
        >>> default_catalog().model("llama3.2-1b").transformer().layers
        16
        """
        return Transformer.of_family(
            self.family,
            layers=self.layers,
            hidden=self.hidden,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            ffn=self.ffn,
            vocab=self.vocab,
            tied_embeddings=self.tied_embeddings,
            max_context=self.max_context,
            gated=self.mlp in ("swiglu", "geglu"),
        )


@dataclass(frozen=True, kw_only=True)
class PowerMode:
    """One power mode of a board; a cap that is None is no cap. Modes are not monotone in watts.

    Attributes
    ----------
    name : str
        As the maker calls it.
    nominal_w : float or None
        Power that it is named after, W.
    cpu_cores_online, tpc_pg_mask : int or None
        Processor cores in use, and a mask of switched-off parts of the GPU.
    cpu_max_hz, gpu_max_hz, memory_clock_max_hz : float or None
        Highest clocks, Hz.
    """

    name: str
    nominal_w: float | None = None
    cpu_cores_online: int | None = None
    tpc_pg_mask: int | None = None
    cpu_max_hz: float | None = None
    gpu_max_hz: float | None = None
    memory_clock_max_hz: float | None = None


@dataclass(frozen=True, kw_only=True)
class DeviceEntry(Entry):
    """A device or server. Rates are peaks: say what part is reached with a utilisation.

    Attributes
    ----------
    device_class : str
        "phone", "edge-gpu", "edge-cpu", "server-gpu" or "server-cpu".
    flops_per_s : float
        Peak rate of half-precision training; `flops_basis` names which of the known rates it is. Where no
        half-precision rate is known it is the single-precision one, marked as an assumption.
    clock_hz : float
        Clock that goes with it; 1 GHz, marked as an assumption, where none is known: only the product of
        clock and FLOP per cycle matters then.
    memory_bytes, memory_bandwidth_bytes_per_s, power_w, idle_power_w : float or None
        Decimal gigabytes, so RAM sold as 8 GB counts as 8e9 bytes (up to 7 % low, the safe side). `power_w`
        is the module's or board's power limit.
    cpu_flops_per_s : float or None
        Half-precision peak of the CPU cores' vector units, for frameworks that run on them.
    Others
        Rates and counts as published, for the record.
    """

    section: ClassVar[str] = "devices"

    device_class: str
    flops_per_s: float
    flops_basis: str
    clock_hz: float
    memory_bytes: float | None = None
    memory_bandwidth_bytes_per_s: float | None = None
    power_w: float | None = None
    idle_power_w: float | None = None
    fp32_flops_per_s: float | None = None
    fp16_flops_per_s: float | None = None
    fp16_tensor_flops_per_s: float | None = None
    fp16_tensor_fp16_accumulate_flops_per_s: float | None = None
    tf32_flops_per_s: float | None = None
    gpu_fp32_flops_per_s: float | None = None
    gpu_fp16_flops_per_s: float | None = None
    gpu_fp16_measured_flops_per_s: float | None = None
    cpu_flops_per_s: float | None = None
    int8_ops_per_s: float | None = None
    int8_marketing_ops_per_s: float | None = None
    npu_ops_per_s: float | None = None
    memory_bandwidth_measured_bytes_per_s: float | None = None
    memory_bandwidth_other_source_bytes_per_s: float | None = None
    cuda_cores: int | None = None
    tensor_cores: int | None = None
    cpu: str | None = None
    gpu: str | None = None
    power_modes: tuple[PowerMode, ...] | None = None

    def flops_per_cycle(self, utilisation: float = 1.0) -> float:
        """``C D eta = utilisation x flops_per_s / clock_hz``.

        Examples
        --------
        >>> from edgealloc.catalog import default_catalog
        >>> round(default_catalog().device("jetson-nano-4gb").flops_per_cycle(0.5), 3)
        256.076
        """
        return utilisation * self.flops_per_s / self.clock_hz

    def kappa(self) -> float:
        """``kappa = P_max / f_max^3`` in W s^3; all power counts as dynamic.

        Raises
        ------
        DataError
            No power is known; the message says what to set.
        """
        return float(self.require("power_w")) / self.clock_hz**3

    def joules_per_flop(self, utilisation: float = 1.0) -> float:
        """Energy of a FLOP at full power, ``P_max / (utilisation x flops_per_s)``; raises as
        :meth:`kappa`."""
        return float(self.require("power_w")) / (utilisation * self.flops_per_s)


@dataclass(frozen=True, kw_only=True)
class RadioEntry(Entry):
    """A radio fact: a formula or a value with its unit.

    Attributes
    ----------
    kind : str
        "path-loss", "los-probability" or "constant".
    value, unit : float, str or None
        Of a constant; in the source's unit, such as dBm.
    formula : str or None
        As in the source (carrier in GHz, distances in m, loss in dB).
    shadowing_sigma_db : float or None
    path_loss_model : str or None
        The model of :data:`edgealloc.system.pathloss.PATH_LOSS_MODELS` that implements it, if any.
    """

    section: ClassVar[str] = "radio"

    kind: str
    value: float | None = None
    unit: str | None = None
    formula: str | None = None
    shadowing_sigma_db: float | None = None
    path_loss_model: str | None = None
