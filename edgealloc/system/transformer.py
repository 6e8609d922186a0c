"""Parameters, FLOP and activation sizes of a transformer, layer by layer.

Symbols: layers Y, hidden size h, heads a of head_dim each (query width q = a head_dim), kv_heads (key width
k = kv_heads head_dim), feed-forward width f, vocabulary V, batch B sequences of d tokens.

Sources: Narayanan et al. 2021, arXiv 2104.04473 (FLOP of training: a multiply-add is 2 FLOP, backward is
twice forward); general block, grouped queries and frozen bases: our derivation from the matrix shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault, nearest

__all__ = [
    "FAMILIES",
    "LORA_TARGETS",
    "AttentionBias",
    "Family",
    "Training",
    "Transformer",
    "activation_bits",
    "embedding_params",
    "forward_layer_flops",
    "head_flops",
    "head_params",
    "kv_bytes_per_token",
    "layer_flops",
    "layer_params",
    "lora_params_per_layer",
    "matrix_params_per_layer",
    "total_params",
]

Array = npt.NDArray[np.float64]
Training = Literal["full", "frozen"]
AttentionBias = Literal["none", "qkv", "all"]
Family = Literal["llama", "qwen2", "gpt2", "opt", "phi", "bert", "distilbert", "t5"]

#: Names of the published block designs; :meth:`Transformer.of_family` knows their biases, norms and
#: positions.
FAMILIES: Final[tuple[str, ...]] = get_args(Family)
#: Matrices of a block that may carry a low-rank adapter.
LORA_TARGETS: Final[tuple[str, ...]] = ("q", "k", "v", "o", "gate", "up", "down")


@dataclass(frozen=True)
class Transformer:
    """Shape of a transformer; hashable, no weights.

    Attributes
    ----------
    layers : int
        Blocks Y (for an encoder-decoder: of each stack).
    hidden, heads, kv_heads, head_dim, ffn, vocab : int
        kv_heads < heads is grouped-query attention; heads x head_dim need not be `hidden`.
    gated : bool
        Three feed-forward matrices (SwiGLU, GeGLU) instead of two.
    tied_embeddings : bool
        The output head shares the embedding table.
    attention_bias : {"none", "qkv", "all"}
    ffn_bias, head_bias, norm_bias : bool
        Biases of the feed-forward matrices, of the output head and of the norms (LayerNorm has them, RMSNorm
        not).
    norms_per_layer : int
        1 for a parallel block (Phi: attention and feed-forward read the same norm), else 2.
    final_norm, embedding_norm, pooler : bool
        Parameters after the last block, after the embedding, and BERT's pooling layer.
    position_rows : int
        Learned position (and token-type) rows of the embedding.
    relative_buckets : int
        Rows of T5's relative-position table, one per stack.
    encoder_decoder : bool
        Two stacks of `layers` blocks, the second with cross-attention.

    Examples
    --------
    >>> llama = Transformer.of_family("llama", layers=16, hidden=2048, heads=32, kv_heads=8, head_dim=64,
    ...                               ffn=8192, vocab=128256, tied_embeddings=True)
    >>> total_params(llama)
    1235814400
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    gated: bool = True
    tied_embeddings: bool = False
    attention_bias: AttentionBias = "none"
    ffn_bias: bool = False
    head_bias: bool = False
    norm_bias: bool = False
    norms_per_layer: int = 2
    final_norm: bool = True
    embedding_norm: bool = False
    pooler: bool = False
    position_rows: int = 0
    relative_buckets: int = 0
    encoder_decoder: bool = False

    def __post_init__(self) -> None:
        faults: list[Fault] = []
        for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                faults.append(Fault(name, f"{value!r} must be a whole number >= 1"))
        if not faults and self.heads % self.kv_heads:
            faults.append(Fault("kv_heads", f"{self.kv_heads} must divide heads ({self.heads})"))
        if faults:
            raise DataError(faults)

    @classmethod
    def of_family(
        cls,
        family: str,
        *,
        layers: int,
        hidden: int,
        heads: int,
        ffn: int,
        vocab: int,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        tied_embeddings: bool = False,
        max_context: int = 0,
        gated: bool | None = None,
    ) -> Transformer:
        """Shape of a published design: the family says which biases, norms and position rows it has.

        Parameters
        ----------
        family : str
            One of :data:`FAMILIES`.
        layers, hidden, heads, ffn, vocab : int
            Blocks, width, heads, width of the feed-forward part, tokens of the vocabulary.
        tied_embeddings : bool
            Input table and output head are one.
        kv_heads, head_dim : int, optional
            Default: `heads`, and ``hidden // heads``.
        max_context : int
            Rows of a learned position table; ignored where positions are computed (llama, qwen2, phi, t5).
        gated : bool, optional
            Default: gated for llama and qwen2 only.

        Raises
        ------
        DataError
            Unknown family, or sizes that are not whole numbers.
        """
        if family not in FAMILIES:
            raise DataError([Fault("family", f"'{family}' is not known; {nearest(family, FAMILIES)}")])
        rms = family in ("llama", "qwen2", "t5")
        bias: AttentionBias = "qkv" if family == "qwen2" else "none" if rms else "all"
        rows = {
            "gpt2": max_context,
            "opt": max_context + 2,
            "bert": max_context + 2,
            "distilbert": max_context,
        }
        return cls(
            layers=layers,
            hidden=hidden,
            heads=heads,
            kv_heads=heads if kv_heads is None else kv_heads,
            head_dim=hidden // max(heads, 1) if head_dim is None else head_dim,
            ffn=ffn,
            vocab=vocab,
            gated=family in ("llama", "qwen2") if gated is None else gated,
            tied_embeddings=tied_embeddings,
            attention_bias=bias,
            ffn_bias=not rms,
            head_bias=family == "phi",
            norm_bias=not rms,
            norms_per_layer=1 if family == "phi" else 2,
            final_norm=family not in ("bert", "distilbert"),
            embedding_norm=family in ("bert", "distilbert"),
            pooler=family == "bert",
            position_rows=rows.get(family, 0),
            relative_buckets=32 if family == "t5" else 0,
            encoder_decoder=family == "t5",
        )

    @property
    def query_width(self) -> int:
        """q = heads x head_dim."""
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        """k = kv_heads x head_dim."""
        return self.kv_heads * self.head_dim

    def __str__(self) -> str:
        own = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self)[:7])
        return f"Transformer({own})"


def require_uniform(shape: Transformer) -> None:
    """Refuse an encoder-decoder where every layer must cost the same (a cut counts layers)."""
    if shape.encoder_decoder:
        raise DataError(
            [
                Fault(
                    "model",
                    "an encoder-decoder has two kinds of layers, so a cut by layer count is not "
                    "defined for it; choose a decoder or an encoder model",
                )
            ]
        )


def matrix_params_per_layer(shape: Transformer) -> int:
    """Matrix parameters of one block (of the encoder, for an encoder-decoder): those that cost FLOP.

    ``2 h q + 2 h k + (3 if gated else 2) h f``: queries and output, keys and values, feed-forward. For GPT
    (q = k = h, f = 4h) that is ``12 h^2``.

    Parameters
    ----------
    shape : Transformer
        The model.

    Examples
    --------
    >>> matrix_params_per_layer(Transformer(1, 10, 2, 2, 5, 40, 100, gated=False))
    1200
    """
    attention = 2 * shape.hidden * (shape.query_width + shape.key_width)
    return attention + (3 if shape.gated else 2) * shape.hidden * shape.ffn


def layer_params(shape: Transformer) -> int:
    """All parameters of one block (of the encoder, for an encoder-decoder): matrices, biases and norms.

    Parameters
    ----------
    shape : Transformer
        The model.
    """
    biases = 0
    if shape.attention_bias != "none":
        biases += shape.query_width + 2 * shape.key_width
    if shape.attention_bias == "all":
        biases += shape.hidden
    if shape.ffn_bias:
        biases += (2 if shape.gated else 1) * shape.ffn + shape.hidden
    return matrix_params_per_layer(shape) + biases + shape.norms_per_layer * _norm_params(shape)


def _norm_params(shape: Transformer) -> int:
    return (2 if shape.norm_bias else 1) * shape.hidden


def embedding_params(shape: Transformer) -> int:
    """Parameters before the first block: ``V h``, learned positions, the embedding's norm.

    Parameters
    ----------
    shape : Transformer
        The model.
    """
    norm = _norm_params(shape) if shape.embedding_norm else 0
    return (shape.vocab + shape.position_rows) * shape.hidden + norm


def head_params(shape: Transformer) -> int:
    """Parameters after the last block: final norm, BERT's pooler, and ``V h`` unless the embedding is
    tied.

    Parameters
    ----------
    shape : Transformer
        The model.
    """
    stacks = 2 if shape.encoder_decoder else 1
    norm = stacks * _norm_params(shape) if shape.final_norm else 0
    pooler = shape.hidden * shape.hidden + shape.hidden if shape.pooler else 0
    table = 0 if shape.tied_embeddings else shape.vocab * shape.hidden
    return norm + pooler + table + (shape.vocab if shape.head_bias else 0)


def total_params(shape: Transformer) -> int:
    """All parameters: embedding, blocks, head.

    An encoder-decoder's second stack adds cross-attention ``2 h q + 2 h k`` and a norm to every block, and
    each stack has one table of relative positions.

    Parameters
    ----------
    shape : Transformer
        The model.

    Examples
    --------
    >>> gpt2 = Transformer.of_family("gpt2", layers=12, hidden=768, heads=12, ffn=3072, vocab=50257,
    ...                              tied_embeddings=True, max_context=1024)
    >>> total_params(gpt2)
    124439808
    """
    blocks = shape.layers * layer_params(shape)
    if shape.encoder_decoder:
        cross = 2 * shape.hidden * (shape.query_width + shape.key_width) + _norm_params(shape)
        blocks += shape.layers * (layer_params(shape) + cross) + 2 * shape.relative_buckets * shape.heads
    return embedding_params(shape) + blocks + head_params(shape)


def forward_layer_flops(
    shape: Transformer,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    adapter_params_per_layer: npt.ArrayLike = 0,
) -> Array:
    """FLOP of one block forward, ``2 B d (P + P_adapter) + 4 B d^2 q``.

    The second term is scores and weighted values, each ``2 B d^2 q`` whatever the number of key heads; a
    causal mask is not exploited, as in the source. Parameters as :func:`layer_flops`.
    """
    require_uniform(shape)
    b, d, adapter = (np.asarray(x, dtype=np.float64) for x in (batch, tokens, adapter_params_per_layer))
    return np.asarray(
        2.0 * b * d * (matrix_params_per_layer(shape) + adapter) + 4.0 * b * d * d * shape.query_width
    )


def layer_flops(
    shape: Transformer,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    training: Training = "full",
    adapter_params_per_layer: npt.ArrayLike = 0,
    recompute: bool = False,
) -> Array:
    """FLOP of one training step of one block, forward and backward, for the whole batch.

    - ``"full"``: ``6 B d P + 12 B d^2 q`` (forward is a third), for GPT ``72 B d h^2 + 12 B d^2 h``;
    - ``"frozen"``: ``4 B d P + 12 B d^2 q``: only the weight gradients of frozen matrices vanish, the
      gradients with respect to activations stay, and attention has no weights to freeze;
    - adapters are trained in both: ``+ 6 B d P_adapter``;
    - recomputation adds one forward pass: full GPT becomes ``96 B d h^2 + 16 B d^2 h``.

    Parameters
    ----------
    shape : Transformer
    batch, tokens : array_like
        Sequences B and tokens d of each; they broadcast.
    training : {"full", "frozen"}
    adapter_params_per_layer : array_like
        See :func:`lora_params_per_layer`.
    recompute : bool
        Activation checkpointing of whole blocks.

    Returns
    -------
    ndarray
        FLOP per step and layer. Source: Narayanan et al. 2021, arXiv 2104.04473, appendix (full); ours
        (frozen).

    Raises
    ------
    DataError
        An encoder-decoder (its layers are not alike), or an unknown `training`.

    Examples
    --------
    >>> gpt = Transformer(layers=1, hidden=10, heads=2, kv_heads=2, head_dim=5, ffn=40, vocab=50, gated=False)
    >>> float(layer_flops(gpt, 3, 7)) == 72 * 3 * 7 * 10**2 + 12 * 3 * 7**2 * 10
    True
    """
    require_training(training)
    forward = forward_layer_flops(shape, batch, tokens, adapter_params_per_layer)
    total = 3.0 * forward
    if training == "frozen":
        b, d = np.asarray(batch, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
        total = total - 2.0 * b * d * matrix_params_per_layer(shape)
    return np.asarray(total + forward if recompute else total)


def require_training(training: str) -> None:
    """Refuse an unknown training mode."""
    if training not in ("full", "frozen"):
        raise DataError([Fault("training", f"{training!r} is not known; use 'full' or 'frozen'")])


def head_flops(
    shape: Transformer, batch: npt.ArrayLike, tokens: npt.ArrayLike, training: Training = "full"
) -> Array:
    """FLOP of the output head per step: ``6 B d h V``, or ``4 B d h V`` with a frozen head.

    A frozen head still computes logits and the gradient of its input; only its weight gradient vanishes.

    Parameters
    ----------
    shape : Transformer
        The model.
    batch : array_like
        B, sequences per step.
    tokens : array_like
        d, tokens per sequence.
    training : {"full", "frozen"}
        Whether the head is trained.

    Examples
    --------
    >>> float(head_flops(Transformer(1, 10, 2, 2, 5, 40, 50), 3, 7))
    63000.0
    """
    require_training(training)
    factor = 6.0 if training == "full" else 4.0
    b, d = np.asarray(batch, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    return np.asarray(factor * b * d * float(shape.hidden * shape.vocab))


def activation_bits(
    batch: npt.ArrayLike, tokens: npt.ArrayLike, hidden: npt.ArrayLike, bytes_per_element: npt.ArrayLike = 2
) -> Array:
    """Bits of the activations at a cut, ``s = 8 B d h bytes``; the gradient back has the same size.

    Parameters
    ----------
    batch : array_like
        B, sequences per step.
    tokens : array_like
        d, tokens per sequence.
    hidden : array_like
        h, width of the model.
    bytes_per_element : array_like
        Bytes of one number: 2 in half precision.

    Examples
    --------
    >>> float(activation_bits(1, 512, 2048))
    16777216.0
    """
    b, d, h, width = (np.asarray(x, dtype=np.float64) for x in (batch, tokens, hidden, bytes_per_element))
    return np.asarray(8.0 * b * d * h * width)


def kv_bytes_per_token(shape: Transformer, bytes_per_element: float = 2.0) -> float:
    """Bytes of the key-value cache that one token of context adds, ``2 Y k bytes``.

    Parameters
    ----------
    shape : Transformer
        The model.
    bytes_per_element : array_like
        Bytes of one number: 2 in half precision.
    """
    return 2.0 * shape.layers * shape.key_width * bytes_per_element


def lora_params_per_layer(shape: Transformer, rank: int, targets: Iterable[str] = ("q", "v")) -> int:
    """Parameters that low-rank adapters add to one block, ``sum over targets of rank (d_in + d_out)``.

    Parameters
    ----------
    shape : Transformer
    rank : int
        r >= 0.
    targets : iterable of str
        Of "q", "k", "v", "o", "up", "down" and, in a gated block, "gate".

    Raises
    ------
    DataError
        Unknown target, or "gate" in a block without one.

    Examples
    --------
    >>> lora_params_per_layer(Transformer(1, 4096, 32, 8, 128, 14336, 128256), 8)
    106496
    """
    h, q, k, f = shape.hidden, shape.query_width, shape.key_width, shape.ffn
    ends = {"q": h + q, "k": h + k, "v": h + k, "o": q + h, "gate": h + f, "up": h + f, "down": f + h}
    if not shape.gated:
        del ends["gate"]
    wanted = tuple(targets)
    faults = [
        Fault("targets", f"'{t}' is not a matrix of this block; {nearest(t, ends)}")
        for t in wanted
        if t not in ends
    ]
    if isinstance(rank, bool) or rank < 0:
        faults.append(Fault("rank", f"{rank!r} must be a whole number >= 0"))
    if faults:
        raise DataError(faults)
    return rank * sum(ends[target] for target in wanted)
