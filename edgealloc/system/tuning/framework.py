"""How a framework evaluates a block: what decides which tensors automatic differentiation keeps.

Three conventions. "textbook": Korthikanti et al. 2022, arXiv 2205.05198: every operation fused, norms keep their input
alone, dropout in plain blocks; the numbers of :func:`edgealloc.system.memory.activation_bytes_per_layer`. "torch": the
model classes of the transformers library in PyTorch as they are, without dropout. "peft": the same with the adapters
of the PEFT library, which computes in single precision beside a half-precision base unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.transformer import Transformer
from edgealloc.system.tuning.counts import require_family

__all__ = ["CONVENTIONS", "Convention", "Framework", "framework_of"]

Convention = Literal["torch", "peft", "textbook"]
Activation = Literal["gelu", "gelu-steps", "relu"]

#: Which tensors count as kept for the backward pass.
CONVENTIONS: Final[tuple[str, ...]] = get_args(Convention)


@dataclass(frozen=True)
class Framework:
    """Habits of an implementation.

    Attributes
    ----------
    activation : {"gelu", "gelu-steps", "relu"}
        Of a plain block: one fused operation that keeps its input; the tanh approximation written in separate
        operations (GPT-2, Phi), which keeps four tensors; or ReLU, which keeps its output.
    rms_upcast : bool
        The norm without a mean is computed in single precision, in separate operations.
    statistics : bool
        Norms keep the mean and the spread of every token.
    softmax_upcast : bool
        Unfused attention has its softmax in single precision.
    repeats_keys : bool
        Unfused or masked attention copies keys and values for every query head of their group.
    rotary : bool
        Positions are rotations, whose factors are kept once for all layers.
    joint_qkv : bool
        One matrix yields queries, keys and values, which share one storage.
    post_norm : bool
        Norms after the residual sums (BERT).
    dropout : bool
        Masks of one byte, in plain blocks.
    first_input_free : bool
        With a frozen embedding the first block's input needs no gradient; False counts as if it did.
    labels : bool
        Token numbers and labels of 8 bytes are kept.
    copies_output : bool
        Fused attention's output is copied before the projection.
    stops_early : bool
        Computing a checkpointed block again ends with the last tensor that is kept: without the last matrix.
    hands_mask : bool
        A checkpointed block of unfused attention keeps the mask, one for all blocks.
    masks : bool
        Fused attention keeps a mask wherever it is not the plain causal one.
    held_inputs : int
        Without a graph: tensors of a block's input that the code around it still holds (the model's embedded input,
        the block's own).
    adapters_upcast : bool
        Adapters compute in single precision.
    """

    activation: Activation = "gelu"
    rms_upcast: bool = False
    statistics: bool = False
    softmax_upcast: bool = False
    repeats_keys: bool = False
    rotary: bool = False
    joint_qkv: bool = False
    post_norm: bool = False
    dropout: bool = False
    first_input_free: bool = False
    labels: bool = False
    copies_output: bool = False
    stops_early: bool = False
    hands_mask: bool = False
    masks: bool = False
    held_inputs: int = 0
    adapters_upcast: bool = False


def framework_of(shape: Transformer, convention: str = "torch", family: str | None = None) -> Framework:
    """Habits of a convention for a model.

    Parameters
    ----------
    shape : Transformer
    convention : {"torch", "peft", "textbook"}
    family : str, optional
        One of :data:`edgealloc.system.transformer.FAMILIES`. Default: told from the shape, where GPT-2 and OPT look
        alike and count as GPT-2, which keeps more.

    Raises
    ------
    DataError
        Unknown convention or family.

    Examples
    --------
    >>> gpt2 = Transformer.of_family("gpt2", layers=1, hidden=8, heads=2, ffn=32, vocab=50, max_context=16)
    >>> framework_of(gpt2).activation, framework_of(gpt2, family="opt").activation
    ('gelu-steps', 'relu')
    """
    if convention not in CONVENTIONS:
        raise DataError([Fault("convention", f"{convention!r} is not known; {nearest(str(convention), CONVENTIONS)}")])
    require_family(family)
    if convention == "textbook":
        return Framework(dropout=not shape.gated)
    name = family or _family(shape)
    steps = name in ("gpt2", "phi")
    return Framework(
        activation="gelu-steps" if steps else "relu" if name == "opt" else "gelu",
        rms_upcast=not shape.norm_bias,
        statistics=True,
        softmax_upcast=name != "gpt2",
        repeats_keys=shape.kv_heads < shape.heads,
        rotary=name in ("llama", "qwen2", "phi"),
        joint_qkv=name == "gpt2",
        post_norm=name in ("bert", "distilbert"),
        first_input_free=True,
        labels=True,
        copies_output=name == "phi",
        stops_early=True,
        hands_mask=name == "gpt2",
        masks=True,
        held_inputs=2,
        adapters_upcast=convention == "peft",
    )


def _family(shape: Transformer) -> str:
    if shape.gated:
        return "llama"
    if shape.norms_per_layer == 1:
        return "phi"
    if shape.embedding_norm:
        return "bert"
    return "gpt2" if shape.norm_bias else "llama"
