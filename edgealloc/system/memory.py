"""Memory that training takes on a device, as a function of the number of local layers.

Weights, gradients and optimiser states are bytes per parameter by convention (:data:`STATE_BYTES`);
activations kept for the backward pass are counted tensor by tensor (:func:`activation_bytes_per_layer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.transformer import (
    LORA_TARGETS,
    Training,
    Transformer,
    embedding_params,
    head_params,
    layer_params,
    require_training,
    require_uniform,
)

__all__ = [
    "LOGSUMEXP_BYTES",
    "STATE_BYTES",
    "DeviceMemory",
    "activation_bytes_per_layer",
    "device_memory",
    "head_bytes",
    "state_bytes",
]

Array = npt.NDArray[np.float64]

#: Bytes per *trained* parameter: weights, gradient and optimiser states together.
STATE_BYTES: Final[Mapping[str, float]] = MappingProxyType(
    {
        "bf16-adam": 8.0,  # weight 2, gradient 2, two moments 2 + 2
        "mixed-adam": 16.0,  # weight 2, gradient 2, single-precision copy 4 and two moments 4 + 4
        "mixed-adam-fp32-gradient": 18.0,  # the same with the gradient in single precision: 2 + 4 + 4 + 4 + 4
        "mixed-sgd": 8.0,  # weight 2, gradient 2, single-precision copy 4
    }
)
#: Bytes per parameter that is not trained: its half-precision weight.
_FROZEN_BYTES: Final = 2.0
#: B per head and token: of its scores fused attention keeps for the backward pass the logarithm of the softmax's
#: denominator alone, in single precision (Dao 2023, FlashAttention-2, arXiv 2307.08691, section 3.1).
LOGSUMEXP_BYTES: Final = 4.0
#: Logits in half precision, and their softmax (later their gradient, in place) in single precision.
_LOGIT_BYTES: Final = 2.0 + 4.0


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on a device: ``fixed + layers x per_layer``, plus the head when no layer is left to a server.

    Attributes
    ----------
    fixed_bytes : ndarray
        Embedding, the caller's overhead and, with recomputation, the working set of one block.
    per_layer_bytes : ndarray
        States and kept activations of one block.
    head_bytes : ndarray
        What the output head adds for a fully local user.
    layers : int
        Blocks of the model.
    """

    fixed_bytes: Array
    per_layer_bytes: Array
    head_bytes: Array
    layers: int

    def total_bytes(self, local_layers: npt.ArrayLike) -> Array:
        """Bytes with `local_layers` on the device (broadcasts); the head counts where that is every layer."""
        local = np.asarray(local_layers, dtype=np.float64)
        head = np.where(local >= self.layers, self.head_bytes, 0.0)
        return np.asarray(self.fixed_bytes + local * self.per_layer_bytes + head)


def state_bytes(
    params: npt.ArrayLike, states: str | float = "mixed-adam", training: Training = "full"
) -> Array:
    """Bytes of weights, gradients and optimiser states of `params` parameters.

    Parameters
    ----------
    params : array_like
    states : str or float
        A name of :data:`STATE_BYTES`, or one's own bytes per trained parameter.
    training : {"full", "frozen"}
        Frozen parameters take 2 bytes each and no states.

    Examples
    --------
    >>> float(state_bytes(1e9)), float(state_bytes(1e9, training="frozen"))
    (16000000000.0, 2000000000.0)
    """
    require_training(training)
    count = np.asarray(params, dtype=np.float64)
    per_param = _bytes_per_parameter(states)  # validated even where it is not used
    return np.asarray(count * (per_param if training == "full" else _FROZEN_BYTES))


def _bytes_per_parameter(states: str | float) -> float:
    if isinstance(states, str):
        if states not in STATE_BYTES:
            raise DataError(
                [
                    Fault(
                        "states",
                        f"'{states}' is not a convention; {nearest(states, STATE_BYTES)}; "
                        "or give bytes per trained parameter",
                    )
                ]
            )
        return STATE_BYTES[states]
    if not states >= 0.0:
        raise DataError([Fault("states", f"{states!r} bytes per trained parameter must be >= 0")])
    return float(states)


def activation_bytes_per_layer(
    shape: Transformer,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    training: Training = "full",
    targets: Iterable[str] = ("q", "v"),
    fused_attention: bool = False,
    bytes_per_element: float = 2.0,
) -> Array:
    r"""Activations of one block that the backward pass needs.

    Per token, with e bytes per element (dropout masks take 1 byte; q, k, f: query, key and feed-forward
    widths):

    ==========================================  ==================  =================
    tensor                                      plain block (GPT)   gated block
    ==========================================  ==================  =================
    inputs of the two norms                     2 e h               2 e h
    input of q, k, v                            e h (if trained)    e h (if trained)
    queries, keys, values                       e (q + 2 k)         e (q + 2 k)
    softmax output                              e a d               e a d
    attention dropout: mask, output             (1 + e) a d         none
    input of the output projection              e q (if trained)    e q (if trained)
    dropout mask after it                       h                   none
    input of the feed-forward                   e h (if trained)    e h (if trained)
    inside it                                   e f                 3 e f
    input of the last matrix                    e f (if trained)    e f (if trained)
    dropout mask after it                       h                   none
    ==========================================  ==================  =================

    A plain block keeps the activation function's input. A gated one multiplies ``silu(g)`` and ``u``: the
    function needs g, the product needs both of its factors, hence g, silu(g), u (3 e f), and the last matrix
    the product. "If trained": the weight gradient of a matrix needs its input, the gradient of its input does
    not, so a frozen matrix keeps nothing unless an adapter sits on it. For GPT in half precision that is

    - full: ``d B h (34 + 5 a d / h)`` (Korthikanti et al. 2022, arXiv 2205.05198);
    - frozen with adapters on q, v: ``d B h (22 + 5 a d / h)``, 12 h less for three frozen inputs;

    and a gated block has ``8 h + 4 q + 4 k + 8 f + 2 a d`` bytes per token in full and
    ``6 h + 2 q + 4 k + 6 f + 2 a d`` frozen. Not counted: the rank-sized inner activations of adapters, keys
    and values repeated for grouped queries, and single-precision copies inside norms; all depend on the
    framework.

    Parameters
    ----------
    shape : Transformer
    batch, tokens : array_like
        B sequences of d tokens; they broadcast.
    training : {"full", "frozen"}
    targets : iterable of str
        With a frozen base: the matrices with adapters.
    fused_attention : bool
        No a x d matrices are kept; instead the attention's output (the input of the projection, now needed
        even if that is frozen) and 4 bytes per head and token.
    bytes_per_element : float

    Returns
    -------
    ndarray
        Bytes per layer.

    Raises
    ------
    DataError
        An unknown matrix with adapters.

    Examples
    --------
    >>> gpt = Transformer(
    ...     layers=1, hidden=1024, heads=16, kv_heads=16, head_dim=64, ffn=4096, vocab=50257, gated=False
    ... )
    >>> float(activation_bytes_per_layer(gpt, 1, 512)) == 512 * 1024 * (34 + 5 * 16 * 512 / 1024)
    True
    """
    require_uniform(shape)
    require_training(training)
    trained = set(LORA_TARGETS) if training == "full" else set(targets)
    unknown = trained - set(LORA_TARGETS)
    if unknown:
        raise DataError(
            [Fault("targets", f"'{t}' is not a matrix; {nearest(t, LORA_TARGETS)}") for t in sorted(unknown)]
        )
    b, d = np.asarray(batch, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    e, h, q, k, f = bytes_per_element, shape.hidden, shape.query_width, shape.key_width, shape.ffn
    dropout = not shape.gated

    per_token = e * (shape.norms_per_layer * h + q + 2 * k + (3 if shape.gated else 1) * f)
    reads_norm = [bool(trained & {"q", "k", "v"}), bool(trained & {"gate", "up"})]
    # A parallel block has one norm, whose output both halves read: it is kept once.
    per_token += e * h * (any(reads_norm) if shape.norms_per_layer == 1 else sum(reads_norm))
    per_token += e * q * ("o" in trained or fused_attention) + e * f * ("down" in trained) + 2 * h * dropout
    if fused_attention:
        attention = np.asarray(LOGSUMEXP_BYTES * shape.heads)
    else:
        attention = (e + (1.0 + e) * dropout) * shape.heads * d
    return np.asarray(b * d * (per_token + attention))


def head_bytes(
    shape: Transformer,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    training: Training = "full",
    states: str | float = "mixed-adam",
    bytes_per_element: float = 2.0,
) -> Array:
    """Bytes that the output head adds to a fully local device.

    ``states(final norm and, if not tied, V h) + B d (6 V + 2 e h)``: logits in half precision with their
    softmax in single precision, and the inputs of the final norm and of the table. A tied table is in the
    embedding already.

    Parameters as :func:`device_memory`.
    """
    b, d = np.asarray(batch, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    kept = b * d * (_LOGIT_BYTES * shape.vocab + 2.0 * bytes_per_element * shape.hidden)
    return np.asarray(state_bytes(head_params(shape), states, training) + kept)


def device_memory(
    shape: Transformer,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    training: Training = "full",
    states: str | float = "mixed-adam",
    adapter_params_per_layer: npt.ArrayLike = 0,
    targets: Iterable[str] = ("q", "v"),
    fused_attention: bool = False,
    recompute: bool = False,
    overhead_bytes: npt.ArrayLike = 0.0,
    bytes_per_element: float = 2.0,
) -> DeviceMemory:
    """Memory of split training on a device: embedding and first layers there, the rest on a server.

    Parameters
    ----------
    shape : Transformer
    batch, tokens : array_like
        B sequences of d tokens; one entry per user where they differ.
    training : {"full", "frozen"}
        Everything trained, embedding included; or a frozen base (2 bytes per parameter) with adapters.
    states : str or float
        Bytes per trained parameter, by name (:data:`STATE_BYTES`) or number.
    adapter_params_per_layer : array_like
        Trained adapter parameters, with `states` bytes each.
    targets : iterable of str
        Which frozen matrices carry adapters, see :func:`activation_bytes_per_layer`.
    fused_attention : bool
        No attention matrix is kept.
    recompute : bool
        Checkpointing: a layer keeps only its input, and one block's activations are a fixed working set.
    overhead_bytes : array_like
        Framework, buffers, operating system: the caller's number.
    bytes_per_element : float
        Of activations.

    Returns
    -------
    DeviceMemory

    Raises
    ------
    DataError
        Unknown convention, training mode or target; an encoder-decoder.

    Examples
    --------
    >>> llama = Transformer.of_family("llama", layers=16, hidden=2048, heads=32, kv_heads=8, head_dim=64,
    ...                               ffn=8192, vocab=128256, tied_embeddings=True)
    >>> memory = device_memory(llama, 1, 512, training="frozen", fused_attention=True)
    >>> round(float(memory.total_bytes(4)) / 1e9, 2)
    1.16
    """
    kept = activation_bytes_per_layer(
        shape,
        batch,
        tokens,
        training=training,
        targets=targets,
        fused_attention=fused_attention,
        bytes_per_element=bytes_per_element,
    )
    fixed = state_bytes(embedding_params(shape), states, training) + np.asarray(
        overhead_bytes, dtype=np.float64
    )
    per_layer = state_bytes(layer_params(shape), states, training) + state_bytes(
        adapter_params_per_layer, states
    )
    if recompute:
        fixed = fixed + kept
        tokens_in_step = np.asarray(batch, dtype=np.float64) * np.asarray(tokens, dtype=np.float64)
        kept = np.asarray(tokens_in_step * bytes_per_element * shape.hidden)
    head = head_bytes(
        shape, batch, tokens, training=training, states=states, bytes_per_element=bytes_per_element
    )
    return DeviceMemory(np.asarray(fixed), np.asarray(per_layer + kept), head, shape.layers)
