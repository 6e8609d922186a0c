"""Memory of fine-tuning a model on one device, by component."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.memory import head_bytes
from edgealloc.system.transformer import Transformer, total_params
from edgealloc.system.tuning.counts import (
    block_matrices,
    largest_tensor_params,
    matrix_params,
    require_applicable,
    require_sizes,
    trainable_params,
)
from edgealloc.system.tuning.framework import Framework, framework_of
from edgealloc.system.tuning.graph import Step, training_step
from edgealloc.system.tuning.methods import WEIGHT_BYTES, Tuning

__all__ = ["TuningMemory", "inference_memory", "kept_bytes", "tuning_memory", "weight_bytes"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TuningMemory:
    """Bytes by component; arrays over batch and tokens.

    Attributes
    ----------
    weights_bytes : ndarray
        Model and adapters as the passes compute with them.
    gradient_bytes : ndarray
        Gradients that are in memory at a time.
    optimizer_bytes : ndarray
        Master copy, moments, projections.
    activation_bytes : ndarray
        Kept for the backward pass; with checkpointing the blocks' inputs and one block's activations; without a
        backward pass the working set of one block.
    logits_bytes : ndarray
        Logits over the vocabulary and their softmax.
    overhead_bytes : ndarray
        The caller's number.
    """

    weights_bytes: Array
    gradient_bytes: Array
    optimizer_bytes: Array
    activation_bytes: Array
    logits_bytes: Array
    overhead_bytes: Array

    @property
    def total_bytes(self) -> Array:
        """Sum of the components."""
        return np.asarray(sum(self.parts().values(), np.zeros(())))

    def parts(self) -> dict[str, Array]:
        """Components by name, in the order of the attributes."""
        return {field.name.removesuffix("_bytes"): getattr(self, field.name) for field in fields(self)}


def weight_bytes(shape: Transformer, precision: str) -> float:
    """Bytes of the model's weights.

    "fp32" and "bf16": all parameters. "int8" and "nf4": the blocks' matrices in that format, all else (embedding,
    head, norms, biases) in half precision.

    Parameters
    ----------
    shape : Transformer
        The model.
    precision : str
        fp32, bf16, int8 or nf4.

    Raises
    ------
    DataError
        Unknown precision; an encoder-decoder.

    Examples
    --------
    >>> llama3 = Transformer.of_family("llama", layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, vocab=128256)
    >>> round(weight_bytes(llama3, "nf4") / total_params(llama3), 3)
    0.71
    """
    if precision not in WEIGHT_BYTES:
        raise DataError([Fault("precision", f"{precision!r} is not known; {nearest(str(precision), WEIGHT_BYTES)}")])
    matrices, half = matrix_params(shape), WEIGHT_BYTES["bf16"]
    rest = WEIGHT_BYTES[precision] if precision in ("fp32", "bf16") else half
    return WEIGHT_BYTES[precision] * matrices + rest * (total_params(shape) - matrices)


def tuning_memory(
    shape: Transformer,
    tuning: Tuning,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    overhead_bytes: npt.ArrayLike = 0.0,
    convention: str = "torch",
    family: str | None = None,
) -> TuningMemory:
    r"""Memory of one training step.

    With M parameters, T trained ones (:func:`trainable_params`), w, g, o bytes per trained parameter of weights,
    gradient and optimiser (:data:`STATE_PARTS`) and b bytes of the base's precision:

    ==================  ====================  ===================  ==========================================
    method              weights               gradient             optimiser
    ==================  ====================  ===================  ==========================================
    full-adam           w M                   g M                  o M
    full-sgd            w M                   g M                  master copy only
    lomo                b M                   largest tensor       none
    galore              w M                   g M                  see below
    badam               w M                   g M / D              o M / D
    frozen base         base + w T            g T                  o T
    mezo, mezo-lora     base (+ adapters)     none                 none
    ==================  ====================  ===================  ==========================================

    BitFit's trained biases are part of the base: it counts ``M - T`` parameters as frozen. GaLore with rank r keeps,
    for each m x n matrix of the blocks (m <= n), a projection of m r values in the precision of the weights and the
    moments of the r x n projected gradient; all other parameters have full moments; a master copy, if the convention
    has one, is of all parameters. BAdam with D blocks of Adam with 18 bytes is the published ``2 M + 16 M / D``.

    Activations are counted tensor by tensor (:mod:`edgealloc.system.tuning.graph`); in the convention "textbook" they
    are :func:`edgealloc.system.memory.activation_bytes_per_layer` with the inner activations of adapters added. What
    methods change, per token and block, with e bytes per element:

    - lora: frozen matrices keep nothing, those with adapters their input, and e r for each adapter;
    - adapters: twice the adapter's input e h and its inner activation before and after the function, 2 e m;
    - prefix: nothing but the frozen block's own; keys and values are l tokens longer;
    - prompt: the frozen block's own, for d + l tokens;
    - ia3: what its factors multiply: keys, values (2 e k) and the input of the last matrix (e f);
    - bitfit: nothing but the frozen block's own: the gradient of a bias is a sum over the gradient of its output.

    Without a backward pass nothing is kept; one block's working set is counted, about ``4 h + 3 f`` elements per token
    in a gated block, ``4 h + 2 f`` in a plain one. Logits: 6 bytes per token and word (half precision, and their
    softmax in single precision).

    Not counted: temporary tensors of single operations, such as a 4-bit matrix while it is expanded; buffers of
    libraries and fragmentation: give them as `overhead_bytes`.

    Parameters
    ----------
    shape : Transformer
    tuning : Tuning
    batch, tokens : array_like
        B sequences of d tokens; they broadcast.
    overhead_bytes : array_like
    convention : {"torch", "peft", "textbook"}
        Which tensors count as kept, see :mod:`edgealloc.system.tuning.framework`.
    family : str, optional
        The model's design, where the shape does not tell it.

    Returns
    -------
    TuningMemory

    Raises
    ------
    DataError
        The method does not apply to the model; batch or tokens out of range; unknown convention or family.

    Examples
    --------
    >>> from edgealloc.system.tuning.methods import TUNING_METHODS
    >>> llama = Transformer.of_family("llama", layers=32, hidden=4096, heads=32, ffn=11008, vocab=32000)
    >>> memory = tuning_memory(llama, TUNING_METHODS["lora"], 1, 512)
    >>> [f"{name} {float(part) / 1e9:.2f}" for name, part in memory.parts().items()]
    ['weights 13.49', 'gradient 0.01', 'optimizer 0.05', 'activation 2.29', 'logits 0.10', 'overhead 0.00']
    """
    require_applicable(shape, tuning)
    b, d = require_sizes(batch, tokens)
    framework = framework_of(shape, convention, family)
    weights, gradient, optimizer = _states(shape, tuning, family)
    if tuning.order == 0:
        activation = _working_set(shape, framework, tuning, b, d)
    else:
        activation = _kept(shape, tuning, training_step(shape, tuning, framework, b, d), with_working_set=True)
    seen = d + tuning.virtual_tokens if tuning.method == "prompt" else d
    # what head_bytes has beside states and inputs: the logits
    logits = head_bytes(shape, b, seen, states=0.0, bytes_per_element=0.0)
    if tuning.precision == "fp32":
        logits = np.asarray(logits * (8.0 / 6.0))
    return TuningMemory(
        weights_bytes=np.asarray(weights),
        gradient_bytes=np.asarray(gradient),
        optimizer_bytes=np.asarray(optimizer),
        activation_bytes=activation,
        logits_bytes=logits,
        overhead_bytes=np.asarray(overhead_bytes, dtype=np.float64),
    )


def inference_memory(
    shape: Transformer,
    precision: str,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    convention: str = "torch",
    family: str | None = None,
) -> TuningMemory:
    """Memory of one forward pass without a graph: weights, one block's working set, logits in half precision.

    No key-value cache: :func:`edgealloc.system.transformer.kv_bytes_per_token` has it.

    Parameters and errors as :func:`tuning_memory`.

    Examples
    --------
    >>> opt = Transformer.of_family("opt", layers=40, hidden=5120, heads=40, ffn=20480, vocab=50272,
    ...                             tied_embeddings=True, max_context=2048)
    >>> round(float(inference_memory(opt, "bf16", 1, 400).total_bytes) / 1e9, 1)
    25.8
    """
    b, d = require_sizes(batch, tokens)
    weights = weight_bytes(shape, precision)
    tuning = Tuning("inference", "mezo-lora", precision=precision)
    zero = np.zeros(np.broadcast_shapes(b.shape, d.shape))
    return TuningMemory(
        weights_bytes=np.asarray(weights),
        gradient_bytes=zero,
        optimizer_bytes=zero,
        activation_bytes=_working_set(shape, framework_of(shape, convention, family), tuning, b, d),
        logits_bytes=np.asarray(b * d * tuning.element_bytes * shape.vocab),
        overhead_bytes=zero,
    )


def kept_bytes(
    shape: Transformer,
    tuning: Tuning,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    convention: str = "torch",
    family: str | None = None,
) -> Array:
    """Bytes that the forward pass leaves for the backward pass: activations and, in single precision, the softmax.

    What hooks on saved tensors measure (each storage once, without parameters). With checkpointing the working set of
    the block that is computed again is not among them. Parameters and errors as :func:`tuning_memory`.

    Raises
    ------
    DataError
        Also: a method without a backward pass.
    """
    require_applicable(shape, tuning)
    if tuning.order == 0:
        raise DataError([Fault("method", f"{tuning.name} has no backward pass and keeps nothing for one")])
    b, d = require_sizes(batch, tokens)
    step = training_step(shape, tuning, framework_of(shape, convention, family), b, d)
    seen = d + tuning.virtual_tokens if tuning.method == "prompt" else d
    return np.asarray(_kept(shape, tuning, step, with_working_set=False) + 4.0 * shape.vocab * b * seen)


def _states(shape: Transformer, tuning: Tuning, family: str | None) -> tuple[float, float, float]:
    """Weights, gradient and optimiser."""
    total, trained = float(total_params(shape)), float(trainable_params(shape, tuning, family))
    parts, base = tuning.state_parts, weight_bytes(shape, tuning.precision)
    if tuning.method == "lomo":
        return base, parts.gradient * largest_tensor_params(shape), 0.0
    if tuning.method == "mezo":
        return base, 0.0, 0.0
    if tuning.method == "galore":
        return parts.weights * total, parts.gradient * total, _galore_optimizer(shape, tuning)
    if tuning.method == "badam":
        active = total / (tuning.blocks or shape.layers)
        return parts.weights * total, parts.gradient * active, parts.optimizer * active
    if tuning.trains_base:
        return parts.weights * total, parts.gradient * total, parts.optimizer * total
    own = base - (WEIGHT_BYTES["fp32" if tuning.precision == "fp32" else "bf16"] * trained
                  if tuning.method == "bitfit" else 0.0)  # fmt: skip
    return own + parts.weights * trained, parts.gradient * trained, parts.optimizer * trained


def _galore_optimizer(shape: Transformer, tuning: Tuning) -> float:
    parts, rank = tuning.state_parts, tuning.rank
    projected = sum(
        parts.weights * min(size) * rank + parts.moments * rank * max(size) for size in block_matrices(shape).values()
    )
    total = total_params(shape)
    return parts.master * total + shape.layers * projected + parts.moments * (total - matrix_params(shape))


def _kept(shape: Transformer, tuning: Tuning, step: Step, *, with_working_set: bool) -> Array:
    if not tuning.checkpointing:
        return step.kept_bytes
    kept = shape.layers * step.input_bytes + step.outside_bytes
    return np.asarray(kept + (step.working_bytes if with_working_set else 0.0))


def _working_set(shape: Transformer, framework: Framework, tuning: Tuning, b: Array, d: Array) -> Array:
    """The most that one block has in memory without a graph: in attention or in the feed-forward.

    Beside the block's input, its norm and what the caller holds: queries, keys, values and the output; unfused the
    scores, their softmax (in single precision with a copy of the scores) and the mask; or the tensors inside the
    feed-forward, of which fused functions have two (gated: and the product), and separate operations four.
    """
    e, h, q, k, f = tuning.element_bytes, shape.hidden, shape.query_width, shape.key_width, shape.ffn
    inputs, held = e * (2 + framework.held_inputs) * h, np.zeros_like(d)
    if tuning.fused_attention:
        attention = np.asarray(inputs + e * (2 * q + 2 * k))
    else:
        softmax = 8.0 if framework.softmax_upcast and e < 4.0 else e
        keys = q if framework.repeats_keys else k
        scores = (e + softmax) * shape.heads + (e if framework.masks else 0.0)
        attention = inputs + e * (q + 2 * keys) + scores * d
        if framework.held_inputs:
            held = e * (shape.heads + 1) * d  # the block's attention weights and the mask live on
    inner = 3 if shape.gated else 4 if framework.activation == "gelu-steps" else 2
    return np.asarray(b * d * np.maximum(attention, inputs + held + e * inner * f))
