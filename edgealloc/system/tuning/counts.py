"""Parameters that a fine-tuning method trains, and those that a number format compresses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.transformer import (
    FAMILIES,
    Transformer,
    lora_params_per_layer,
    matrix_params_per_layer,
    require_uniform,
    total_params,
)
from edgealloc.system.tuning.methods import Tuning

__all__ = [
    "bias_params",
    "block_matrices",
    "largest_tensor_params",
    "matrix_params",
    "not_applicable",
    "require_applicable",
    "require_family",
    "require_sizes",
    "trainable_params",
]


Array = npt.NDArray[np.float64]


def require_family(family: str | None) -> None:
    """Refuse a design that is not known; None is fine."""
    if family is not None and family not in FAMILIES:
        raise DataError([Fault("family", f"{family!r} is not known; {nearest(str(family), FAMILIES)}")])


def require_sizes(batch: npt.ArrayLike, tokens: npt.ArrayLike) -> tuple[Array, Array]:
    """Batch and tokens as arrays; refuse what is below 1 or not finite."""
    sizes = [np.asarray(x, dtype=np.float64) for x in (batch, tokens)]
    faults = [
        Fault(name, f"{size.flat[int(np.argmin(size >= 1.0))]:g} must be >= 1")
        for name, size in zip(("batch", "tokens"), sizes, strict=True)
        if not np.all(size >= 1.0) or not np.all(np.isfinite(size))
    ]
    if faults:
        raise DataError(faults)
    return sizes[0], sizes[1]


def block_matrices(shape: Transformer) -> dict[str, tuple[int, int]]:
    """Matrices of one block, (inputs, outputs) by name."""
    h, q, k, f = shape.hidden, shape.query_width, shape.key_width, shape.ffn
    gate = {"gate": (h, f)} if shape.gated else {}
    return {"q": (h, q), "k": (h, k), "v": (h, k), "o": (q, h), **gate, "up": (h, f), "down": (f, h)}


def matrix_params(shape: Transformer) -> int:
    """Parameters of the blocks' matrices: what int8 and nf4 compress."""
    require_uniform(shape)
    return shape.layers * matrix_params_per_layer(shape)


def bias_params(shape: Transformer) -> int:
    """Biases of matrices and norms (what BitFit trains); 0 for Llama.

    Examples
    --------
    >>> bias_params(Transformer.of_family("llama", layers=2, hidden=8, heads=2, ffn=16, vocab=50))
    0
    >>> bias_params(Transformer.of_family("opt", layers=1, hidden=8, heads=2, ffn=16, vocab=50, max_context=4))
    80
    """
    require_uniform(shape)
    h, f = shape.hidden, shape.ffn
    block = 0
    if shape.attention_bias != "none":
        block += shape.query_width + 2 * shape.key_width
    if shape.attention_bias == "all":
        block += h
    if shape.ffn_bias:
        block += (2 if shape.gated else 1) * f + h
    norms = shape.layers * shape.norms_per_layer + shape.final_norm + shape.embedding_norm
    outside = h * shape.pooler + shape.vocab * shape.head_bias
    return shape.layers * block + norms * h * shape.norm_bias + outside


def largest_tensor_params(shape: Transformer) -> int:
    """Parameters of the largest single tensor: of LOMO, the one whose gradient is in memory at a time."""
    return max(shape.vocab * shape.hidden, *(a * b for a, b in block_matrices(shape).values()))


def not_applicable(shape: Transformer, tuning: Tuning) -> str:
    """Why the method cannot be run on the model; empty if it can.

    Parameters
    ----------
    shape : Transformer
        The model.
    tuning : Tuning
        The method.

    Examples
    --------
    >>> from edgealloc.system.tuning.methods import TUNING_METHODS
    >>> llama = Transformer.of_family("llama", layers=2, hidden=8, heads=2, ffn=16, vocab=50)
    >>> not_applicable(llama, TUNING_METHODS["bitfit"])
    'the model has no biases'
    """
    if shape.encoder_decoder:
        return "the memory of an encoder-decoder is not modelled for it"
    if tuning.method == "bitfit" and bias_params(shape) == 0:
        return "the model has no biases"
    if tuning.has_lora and "gate" in tuning.targets and not shape.gated:
        return "the model has no 'gate' matrix, which is among the targets"
    if tuning.method == "badam" and tuning.blocks is not None and tuning.blocks > shape.layers:
        return f"the model has {shape.layers} layers, fewer than the {tuning.blocks} blocks"
    if tuning.method == "galore":
        smallest = min(min(size) for size in block_matrices(shape).values())
        if tuning.rank > smallest:
            return f"rank {tuning.rank} is more than the smallest side of a matrix, {smallest}"
    return ""


def require_applicable(shape: Transformer, tuning: Tuning) -> None:
    """Raise a DataError where :func:`not_applicable` has a reason."""
    reason = not_applicable(shape, tuning)
    if reason:
        raise DataError([Fault("method", f"{tuning.name}: {reason}; choose another method")])


def trainable_params(shape: Transformer, tuning: Tuning, family: str | None = None) -> int:
    r"""Parameters that are trained.

    ===========================  ==========================================================
    method                       count
    ===========================  ==========================================================
    full-\*, lomo, galore, mezo  all
    badam                        all, one of D blocks at a time
    bitfit                       biases of matrices, norms and head
    lora, qlora, mezo-lora       ``Y sum over targets r (d_in + d_out)``
    adapters                     ``2 Y (2 h m + m + h)``: one after attention, one after the feed-forward
    prefix                       ``2 Y l k``, with key width k
    prompt                       ``l h``
    ia3                          ``Y (2 k + f)``
    ===========================  ==========================================================

    Parameters
    ----------
    shape : Transformer
    tuning : Tuning
    family : str, optional
        "gpt2" computes queries, keys and values by one matrix: an adapter on any of them is one of
        ``r (h + q + 2 k)``, and (IA)^3 scales all three.

    Returns
    -------
    int
        The counts of the PEFT library for lora, prefix, prompt and ia3. 0: the method does not apply, see
        :func:`not_applicable`.

    Raises
    ------
    DataError
        A target that the model has not; an encoder-decoder; an unknown family.

    Examples
    --------
    >>> from edgealloc.system.tuning.methods import TUNING_METHODS
    >>> llama = Transformer.of_family("llama", layers=32, hidden=4096, heads=32, ffn=11008, vocab=32000)
    >>> trainable_params(llama, TUNING_METHODS["lora"])
    4194304
    """
    require_uniform(shape)
    require_family(family)
    h, k, m = shape.hidden, shape.key_width, tuning.bottleneck
    together = shape.query_width + 2 * k
    if tuning.has_lora:
        outside = [target for target in tuning.targets if family != "gpt2" or target not in ("q", "k", "v")]
        block = lora_params_per_layer(shape, tuning.rank, outside)
        if len(outside) < len(tuning.targets):
            block += tuning.rank * (h + together)
        return shape.layers * block
    counts = {
        "bitfit": bias_params(shape),
        "adapters": 2 * shape.layers * (2 * h * m + m + h),
        "prefix": 2 * shape.layers * tuning.virtual_tokens * k,
        "prompt": tuning.virtual_tokens * h,
        "ia3": shape.layers * ((together if family == "gpt2" else 2 * k) + shape.ffn),
    }
    return counts.get(tuning.method, total_params(shape))
