"""A transformer as a row of layers that can be cut anywhere: work, states and activations of each.

The embedding is folded into the first layer and the output head into the last. Of an encoder-decoder the row is the
encoder's layers, then the decoder's, which have cross-attention. Per sample means per sequence (per pair of
sequences, of an encoder-decoder).

Approximations, beyond those of :mod:`edgealloc.system.transformer` and :mod:`edgealloc.system.memory`:

- both sequences of an encoder-decoder have the same number of tokens;
- a boundary inside its decoder carries the encoder's output beside the decoder's activations, one inside the encoder
  does not: every boundary counts with the average of all of them;
- the decoder's embedded input is looked up in the table of the first layer, and its way to the decoder is free;
- every decoder layer keeps the encoder's output, even where several on one device would share it (the safe side);
- the head is counted as logits over the vocabulary, also for a pooled encoder (masked-language training).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.system.memory import LOGSUMEXP_BYTES, activation_bytes_per_layer, head_bytes, state_bytes
from edgealloc.system.transformer import (
    LORA_TARGETS,
    Training,
    Transformer,
    embedding_params,
    head_flops,
    head_params,
    layer_params,
    lora_params_per_layer,
    matrix_params_per_layer,
    require_training,
)

__all__ = ["GRADIENT_BYTES", "LayerLoads", "layer_loads", "layer_parameters"]

Array = npt.NDArray[np.float64]

#: Of the bytes per trained parameter (:data:`edgealloc.system.memory.STATE_BYTES`), those of the gradient, which no
#: device hands over to another one that takes its place.
GRADIENT_BYTES: Final[Mapping[str, float]] = MappingProxyType(
    {"bf16-adam": 2.0, "mixed-adam": 2.0, "mixed-adam-fp32-gradient": 4.0, "mixed-sgd": 2.0}
)


@dataclass(frozen=True, eq=False)
class LayerLoads:
    """What every layer costs; arrays (Y,), bytes and FLOP.

    Attributes
    ----------
    forward_flops, backward_flops : ndarray (Y,)
        Per sample; with recomputation the second forward pass is in the backward one.
    state_bytes : ndarray (Y,)
        Weights, gradients and optimiser states. A tied table is in the first and in the last layer.
    gradient_bytes : ndarray (Y,)
        What replicas exchange per step, without a tied table.
    checkpoint_bytes : ndarray (Y,)
        Weights and optimiser states: what a device that takes over the layer must receive.
    activation_bytes : ndarray (Y,)
        Per sample, kept from the forward to the backward pass.
    replicated_activation_bytes : ndarray (Y,)
        The part of it that tensor parallelism does not divide: 10 of the 34 h bytes per token of Korthikanti et al.
        2022, arXiv 2205.05198, section 4.2.
    key_value_bytes : ndarray (Y,)
        Keys and values per sample.
    boundary_bytes : float
        Per sample, what goes from a layer to the next.
    tied_bytes, tied_state_bytes : float
        Gradient and state of a table that first and last layer share; 0 without one.
    working_bytes : float
        With recomputation: per sample, the activations of the largest layer while it is computed again; else 0.
    """

    forward_flops: Array
    backward_flops: Array
    state_bytes: Array
    gradient_bytes: Array
    checkpoint_bytes: Array
    activation_bytes: Array
    replicated_activation_bytes: Array
    key_value_bytes: Array
    boundary_bytes: float
    tied_bytes: float
    tied_state_bytes: float
    working_bytes: float


def layer_parameters(shape: Transformer) -> npt.NDArray[np.int64]:
    """Parameters of every layer (Y,), embedding and head included; a tied table counts in the first layer only.

    Parameters
    ----------
    shape : Transformer
        The model.

    Examples
    --------
    >>> from edgealloc.system.transformer import total_params
    >>> t5 = Transformer.of_family("t5", layers=2, hidden=8, heads=2, ffn=16, vocab=50, tied_embeddings=True)
    >>> int(layer_parameters(t5).sum()) == total_params(t5)
    True
    """
    block = layer_params(shape)
    counts = np.full(shape.layers, block, dtype=np.int64)
    head = head_params(shape)
    if shape.encoder_decoder:
        norm = (2 if shape.norm_bias else 1) * shape.hidden
        counts = np.concatenate([counts, counts + _cross_matrices(shape) + norm])
        # a table of relative positions in the first layer of each stack, a final norm in the last of each
        counts[[0, shape.layers]] += shape.relative_buckets * shape.heads
        final = norm if shape.final_norm else 0
        counts[shape.layers - 1] += final
        head -= final
    counts[0] += embedding_params(shape)
    counts[-1] += head
    return counts


def layer_loads(
    shape: Transformer,
    tokens: int,
    *,
    training: Training = "full",
    lora_rank: int = 16,
    lora_targets: Iterable[str] = ("q", "v"),
    states: str = "mixed-adam",
    fused_attention: bool = True,
    recompute: bool = False,
    bytes_per_element: float = 2.0,
    count_head: bool = True,
) -> LayerLoads:
    r"""Work, states and activations of every layer.

    Per sample of d tokens, with P matrix parameters and A adapter parameters of the layer and query width q: forward
    :math:`2 d (P + A) + 4 d^2 q`; backward twice that, less :math:`2 d P` where the matrices are frozen (Narayanan et
    al. 2021, arXiv 2104.04473; frozen: ours). The head adds :math:`2 d h V` and twice (frozen: once) that. A decoder
    layer of an encoder-decoder has another :math:`2 h (q + k)` matrix parameters and :math:`4 d^2 q` of attention.

    Parameters
    ----------
    shape : Transformer
    tokens : int
        d, of each sequence.
    training : {"full", "frozen"}
        "frozen": adapters are trained, the base is kept in half precision and never exchanged.
    lora_rank, lora_targets
        Of the adapters, used if frozen; adapters on q, k, v, o sit on cross-attention, too.
    states : str
        A name of :data:`edgealloc.system.memory.STATE_BYTES`.
    fused_attention, recompute : bool
    bytes_per_element : float
        Of activations, and of gradients on the network.
    count_head : bool
        False: the output head and its loss cost no FLOP and keep no logits (a small classifier instead).

    Returns
    -------
    LayerLoads

    Raises
    ------
    DataError
        Unknown training, states or target.
    """
    require_training(training)
    frozen, e, d = training == "frozen", bytes_per_element, float(tokens)
    targets = tuple(lora_targets)
    stacks = 2 if shape.encoder_decoder else 1
    count, decoder = stacks * shape.layers, slice(shape.layers, None)

    # ---- work
    matrices = np.full(count, matrix_params_per_layer(shape), dtype=np.float64)
    adapters = np.full(count, lora_params_per_layer(shape, lora_rank, targets) if frozen else 0, dtype=np.float64)
    attention = np.full(count, 4.0 * d * d * shape.query_width)
    if shape.encoder_decoder:
        matrices[decoder] += _cross_matrices(shape)
        attention[decoder] *= 2.0
        if frozen:
            of_attention = tuple(one for one in targets if one in ("q", "k", "v", "o"))
            adapters[decoder] += lora_params_per_layer(shape, lora_rank, of_attention)
    forward = 2.0 * d * (matrices + adapters) + attention
    backward = 2.0 * forward - (2.0 * d * matrices if frozen else 0.0)
    if recompute:
        backward = backward + forward
    if count_head:
        whole = float(head_flops(shape, 1, tokens, training))
        head = float(head_flops(shape, 1, tokens)) / 3.0
        forward[-1] += head
        backward[-1] += whole - head

    # ---- states
    counts = layer_parameters(shape).astype(np.float64)
    table = float(shape.vocab * shape.hidden) if shape.tied_embeddings else 0.0
    counts[-1] += table  # the last layer has a copy where it is on another device than the first
    held = state_bytes(counts, states, training) + state_bytes(adapters, states)
    trained = adapters if frozen else counts
    exchanged = trained * e
    tied = 0.0 if frozen else table * e
    exchanged[0] -= tied
    exchanged[-1] -= tied

    # ---- activations
    kept, whole_kept = _activations(shape, d, training, targets, fused_attention, e)
    working = 0.0
    if recompute:
        working = float(kept.max())
        kept = np.full(count, e * shape.hidden * d)
        if shape.encoder_decoder:
            kept[decoder] *= 2.0  # its own input, and the encoder's output
        whole_kept = kept.copy()
    if count_head:
        logits = float(head_bytes(shape, 1, tokens, training=training, states=states, bytes_per_element=e))
        logits -= float(state_bytes(head_params(shape), states, training))
        kept[-1] += logits
        whole_kept[-1] += 2.0 * e * shape.hidden * d  # inputs of norm and table; the logits are divided
    keys = np.full(count, 2.0 * d * shape.key_width * e)
    boundary = d * shape.hidden * e
    if shape.encoder_decoder:
        keys[decoder] *= 2.0
        boundary *= 1.0 + (shape.layers - 1) / (count - 1)
    return LayerLoads(
        forward_flops=forward,
        backward_flops=backward,
        state_bytes=held,
        gradient_bytes=exchanged,
        checkpoint_bytes=held - GRADIENT_BYTES[states] * trained,
        activation_bytes=kept,
        replicated_activation_bytes=whole_kept,
        key_value_bytes=keys,
        boundary_bytes=boundary,
        tied_bytes=tied,
        tied_state_bytes=float(state_bytes(table, states, training)),
        working_bytes=working,
    )


def _cross_matrices(shape: Transformer) -> int:
    """Matrix parameters of cross-attention: queries and output, keys and values."""
    return 2 * shape.hidden * (shape.query_width + shape.key_width)


def _activations(
    shape: Transformer, d: float, training: Training, targets: tuple[str, ...], fused: bool, e: float
) -> tuple[Array, Array]:
    """Kept activations of every layer per sample (Y,), and the part that tensor parallelism leaves whole.

    Whole are the inputs of the norms, what they hand to the matrices, and the dropout masks after the blocks: all that
    is not inside attention or feed-forward.
    """
    stacks = 2 if shape.encoder_decoder else 1
    trained = set(LORA_TARGETS) if training == "full" else set(targets)
    block = dataclasses.replace(shape, encoder_decoder=False)
    one = float(
        activation_bytes_per_layer(
            block, 1, d, training=training, targets=targets, fused_attention=fused, bytes_per_element=e
        )
    )
    h, q, k, dropout = shape.hidden, shape.query_width, shape.key_width, not shape.gated
    reads = [bool(trained & {"q", "k", "v"}), bool(trained & {"gate", "up"})]
    inputs = shape.norms_per_layer + (any(reads) if shape.norms_per_layer == 1 else sum(reads))
    whole = d * (e * h * inputs + 2.0 * h * dropout)
    kept, replicated = np.full(stacks * shape.layers, one), np.full(stacks * shape.layers, whole)
    if shape.encoder_decoder:
        # norm input, its output where queries are trained, the encoder's output, the dropout mask after the block
        outside = d * (e * h * (2 + ("q" in trained)) + h * dropout)
        inside = d * e * (q + 2 * k + q * ("o" in trained or fused))
        scores = LOGSUMEXP_BYTES * shape.heads if fused else (e + (1.0 + e) * dropout) * shape.heads * d
        kept[shape.layers :] += outside + inside + d * scores
        replicated[shape.layers :] += outside
    return kept, replicated
