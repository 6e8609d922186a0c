"""Fine-tuning methods: names, options, and the conventions of bytes per parameter.

Sources: LoRA, Hu et al., arXiv 2106.09685; QLoRA, Dettmers et al., arXiv 2305.14314; adapters, Houlsby et al., arXiv
1902.00751; prefix tuning, Li and Liang, arXiv 2101.00190; prompt tuning, Lester et al., arXiv 2104.08691; BitFit, Ben
Zaken et al., arXiv 2106.10199; (IA)^3, Liu et al., arXiv 2205.05638; LOMO, Lv et al., arXiv 2306.09782; GaLore, Zhao et
al., arXiv 2403.03507; BAdam, Luo et al., arXiv 2404.02827; MeZO, Malladi et al., arXiv 2305.17333.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.transformer import LORA_TARGETS

__all__ = ["STATE_PARTS", "TUNING_METHODS", "WEIGHT_BYTES", "StateParts", "Tuning", "tuning_named"]


@dataclass(frozen=True)
class StateParts:
    """Bytes per trained parameter, by what they are.

    Attributes
    ----------
    weights, gradient : float
        What the forward and the backward pass compute with.
    master : float
        Single-precision copy of the weights that the optimiser updates.
    moments : float
        Adam's two moments together; 0 for SGD.
    """

    weights: float
    gradient: float
    master: float
    moments: float

    @property
    def optimizer(self) -> float:
        """Master copy and moments."""
        return self.master + self.moments

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradient + self.optimizer


#: Conventions of states, split; the totals of those that :data:`edgealloc.system.memory.STATE_BYTES` has are the same.
STATE_PARTS: Final[Mapping[str, StateParts]] = MappingProxyType(
    {
        "bf16-adam": StateParts(2.0, 2.0, 0.0, 4.0),
        "mixed-adam": StateParts(2.0, 2.0, 4.0, 8.0),
        "mixed-adam-fp32-gradient": StateParts(2.0, 4.0, 4.0, 8.0),
        "mixed-sgd": StateParts(2.0, 2.0, 4.0, 0.0),
        "fp32-adam": StateParts(4.0, 4.0, 0.0, 8.0),
    }
)
#: Bytes per parameter of a base that is kept in a number format. nf4: 4 bits, and one doubly quantised scale for
#: every 64 parameters, 8/64 + 32/(64 x 256) = 0.127 bits (QLoRA, arXiv 2305.14314, section 3): 0.516 bytes. int8: one
#: byte, scales per row neglected. Both hold for the matrices of the blocks; all else is kept in half precision.
WEIGHT_BYTES: Final[Mapping[str, float]] = MappingProxyType({"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "nf4": 0.516})


@dataclass(frozen=True)
class _Formulas:
    summary: str
    reference: str
    order: int = 1
    trains_base: bool = False
    floating: bool = False  # the base is changed or differentiated itself: no int8, no nf4


_METHODS: Final[Mapping[str, _Formulas]] = MappingProxyType(
    {
        "full-adam": _Formulas("all parameters, Adam", "Kingma and Ba, arXiv 1412.6980", 1, True, True),
        "full-sgd": _Formulas("all parameters, SGD without momentum", "Robbins and Monro 1951", 1, True, True),
        "lomo": _Formulas(
            "all parameters, SGD that updates during the backward pass", "arXiv 2306.09782", 1, True, True
        ),
        "galore": _Formulas("all parameters, Adam on projected gradients", "arXiv 2403.03507", 1, True, True),
        "badam": _Formulas("all parameters, Adam on one block at a time", "arXiv 2404.02827", 1, True, True),
        "bitfit": _Formulas("biases only", "arXiv 2106.10199"),
        "lora": _Formulas("low-rank adapters beside matrices", "arXiv 2106.09685"),
        "qlora": _Formulas("low-rank adapters beside matrices in 4 bits", "arXiv 2305.14314"),
        "adapters": _Formulas("two serial adapters per block", "arXiv 1902.00751"),
        "prefix": _Formulas("virtual keys and values in every block", "arXiv 2101.00190"),
        "prompt": _Formulas("virtual tokens before the input", "arXiv 2104.08691"),
        "ia3": _Formulas("factors on keys, values and the feed-forward", "arXiv 2205.05638"),
        "mezo": _Formulas("all parameters, two forward passes per step", "arXiv 2305.17333", 0, True, True),
        "mezo-lora": _Formulas("low-rank adapters, two forward passes per step", "arXiv 2305.17333", 0),
    }
)
_WITH_RANK: Final = ("lora", "qlora", "mezo-lora", "galore")
_WITH_MOMENTS: Final = ("full-adam", "galore", "badam")


@dataclass(frozen=True)
class Tuning:
    """A fine-tuning method with its options.

    Attributes
    ----------
    name : str
        Unique, for instance "lora" or one's own "lora-r64".
    method : str
        A name of :data:`TUNING_METHODS`: which formulas.
    rank : int
        r of lora, qlora, mezo-lora, and of galore's projection.
    targets : tuple of str
        Matrices with adapters, see :data:`edgealloc.system.transformer.LORA_TARGETS`.
    bottleneck : int
        Width m inside an adapter.
    virtual_tokens : int
        Of prefix and prompt.
    blocks : int or None
        BAdam's number of blocks D; None: every layer is one.
    states : str
        A name of :data:`STATE_PARTS`, of what is trained. SGD takes it without the moments; methods without
        optimiser (lomo, mezo) ignore it.
    precision : str
        A name of :data:`WEIGHT_BYTES`, of the base. Activations have 4 bytes per element in "fp32", else 2.
    checkpointing : bool
        A block keeps its input alone and is computed again in the backward pass.
    fused_attention : bool
        No tokens x tokens matrices are kept.

    Raises
    ------
    DataError
        Unknown names; sizes that are not whole numbers >= 1; options that contradict each other.

    Examples
    --------
    >>> Tuning("lora-r64", "lora", rank=64).order
    1
    """

    name: str
    method: str
    rank: int = 8
    targets: tuple[str, ...] = ("q", "v")
    bottleneck: int = 64
    virtual_tokens: int = 20
    blocks: int | None = None
    states: str = "mixed-adam"
    precision: str = "bf16"
    checkpointing: bool = False
    fused_attention: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        faults = self._unknown_names()
        sizes = ["rank", "bottleneck", "virtual_tokens"] + ["blocks"] * (self.blocks is not None)
        for field in sizes:
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                faults.append(Fault(field, f"{value!r} must be a whole number >= 1"))
        if not faults:
            faults = self._contradictions()
        if faults:
            raise DataError(faults, source=f"fine-tuning method '{self.name}'" if self.name else "")

    def _unknown_names(self) -> list[Fault]:
        faults = [] if self.name else [Fault("name", "is empty; give the method a name")]
        for field, known in (("method", _METHODS), ("states", STATE_PARTS), ("precision", WEIGHT_BYTES)):
            value = getattr(self, field)
            if value not in known:
                faults.append(Fault(field, f"{value!r} is not known; {nearest(str(value), known)}"))
        faults += [
            Fault("targets", f"'{target}' is not a matrix; {nearest(str(target), LORA_TARGETS)}")
            for target in self.targets
            if target not in LORA_TARGETS
        ]
        if not self.targets or len(set(self.targets)) < len(self.targets):
            faults.append(Fault("targets", f"{self.targets!r} must name at least one matrix, and none twice"))
        return faults

    def _contradictions(self) -> list[Fault]:
        faults = []
        formulas, parts = _METHODS[self.method], STATE_PARTS[self.states]
        if formulas.floating and self.precision in ("int8", "nf4"):
            faults.append(
                Fault(
                    "precision",
                    f"{self.method} changes the base itself, which '{self.precision}' does not allow; "
                    "choose 'bf16' or 'fp32', or a method with a frozen base such as lora",
                )
            )
        elif self.method in (*_WITH_MOMENTS, "full-sgd") and WEIGHT_BYTES[self.precision] != parts.weights:
            fix = "fp32-adam" if self.precision == "fp32" else "mixed-adam"
            faults.append(
                Fault(
                    "states",
                    f"'{self.states}' trains weights of {parts.weights:g} bytes, but precision '{self.precision}' "
                    f"has {WEIGHT_BYTES[self.precision]:g}; set states = '{fix}' or change the precision",
                )
            )
        if self.method in _WITH_MOMENTS and parts.moments == 0.0:
            faults.append(
                Fault("states", f"'{self.states}' has no moments, but {self.method} is Adam; choose 'mixed-adam'")
            )
        return faults

    @property
    def order(self) -> int:
        """1: gradients by backpropagation; 0: from the loss alone."""
        return _METHODS[self.method].order

    @property
    def trains_base(self) -> bool:
        """Whether the model's own matrices are changed."""
        return _METHODS[self.method].trains_base

    @property
    def summary(self) -> str:
        """What the method does, in a few words."""
        return _METHODS[self.method].summary

    @property
    def reference(self) -> str:
        """The paper that introduced it."""
        return _METHODS[self.method].reference

    @property
    def has_lora(self) -> bool:
        """Whether low-rank adapters are trained."""
        return self.method in ("lora", "qlora", "mezo-lora")

    @property
    def element_bytes(self) -> float:
        """Bytes of an activation's element."""
        return 4.0 if self.precision == "fp32" else 2.0

    @property
    def state_parts(self) -> StateParts:
        """Bytes per trained parameter; of SGD and of methods without optimiser, without what they do not hold."""
        parts = STATE_PARTS[self.states]
        if self.method == "full-sgd":
            return dataclasses.replace(parts, moments=0.0)
        if self.method == "lomo":
            return StateParts(self.element_bytes, self.element_bytes, 0.0, 0.0)
        if self.order == 0:
            return StateParts(self.element_bytes, 0.0, 0.0, 0.0)
        return parts

    def changed(self, **changes: Any) -> Tuning:
        """The same with other options; an unknown one raises a DataError with the nearest known.

        Parameters
        ----------
        **changes
            Options by name.
        """
        known = [field.name for field in dataclasses.fields(self)]
        faults = [Fault(key, f"is not an option; {nearest(key, known)}") for key in changes if key not in known]
        if faults:
            raise DataError(faults, source=f"fine-tuning method '{self.name}'")
        return dataclasses.replace(self, **changes)


def _defaults(method: str) -> Tuning:
    # Options of the papers where ours would not be theirs: GaLore's moments are in half precision and its smallest
    # published rank is 128; BAdam's 16 bytes per parameter of the active block hold the gradient in single precision.
    special: dict[str, dict[str, Any]] = {
        "full-sgd": {"states": "mixed-sgd"},
        "galore": {"states": "bf16-adam", "rank": 128},
        "badam": {"states": "mixed-adam-fp32-gradient"},
        "qlora": {"precision": "nf4"},
    }
    return Tuning(method, method, **special.get(method, {}))


#: Every method with default options, by name.
TUNING_METHODS: Final[Mapping[str, Tuning]] = MappingProxyType({name: _defaults(name) for name in _METHODS})


def tuning_named(name: str, /, **changes: Any) -> Tuning:
    """A method of :data:`TUNING_METHODS`, with options changed.

    Parameters
    ----------
    name : str
    **changes
        Fields of :class:`Tuning`; ``name`` of the result stays unless it is among them.

    Raises
    ------
    DataError
        Unknown name or option, with the nearest known one; an option that is out of range.

    Examples
    --------
    >>> tuning_named("qlora", rank=16).precision
    'nf4'
    >>> tuning_named("lore")
    Traceback (most recent call last):
    edgealloc.errors.DataError: method: 'lore' is not a fine-tuning method; did you mean 'galore' or 'lora' or 'qlora'?
    """
    if name not in TUNING_METHODS:
        raise DataError([Fault("method", f"{name!r} is not a fine-tuning method; {nearest(str(name), _METHODS)}")])
    return TUNING_METHODS[name].changed(**changes)
