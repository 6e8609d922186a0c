"""The weights of a decoder or encoder, tensor by tensor: what a file format stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgealloc.system.transformer import (
    Transformer,
    embedding_params,
    head_params,
    layer_params,
    matrix_params_per_layer,
    require_uniform,
)

__all__ = ["MATRICES", "Tensor", "tensors"]

#: Matrices of a block, in llama.cpp's words attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down.
MATRICES: Final[tuple[str, ...]] = ("q", "k", "v", "o", "gate", "up", "down")


@dataclass(frozen=True)
class Tensor:
    """Weights that are stored alike.

    Attributes
    ----------
    kind : str
        One of :data:`MATRICES`, "embedding", "output", or "vectors": norms, biases and learned positions together.
    layer : int
        Block it belongs to; -1 outside of blocks.
    rows, columns : int
        A block of a storage type lies within a row; `columns` is the input's width.
    """

    kind: str
    layer: int
    rows: int
    columns: int

    @property
    def weights(self) -> int:
        """Parameters of the tensor."""
        return self.rows * self.columns


def tensors(shape: Transformer) -> list[Tensor]:
    """Every tensor of a model; their weights are all of its parameters.

    Matrices of a block one by one, the embedding, the output table unless it is tied, and everything of one
    dimension of a place (a block, before the first, after the last) as one row of kind "vectors".

    Parameters
    ----------
    shape : Transformer
        The model.

    Raises
    ------
    DataError
        An encoder-decoder, whose blocks are not alike.

    Examples
    --------
    >>> from edgealloc.system.transformer import total_params
    >>> gpt = Transformer(1, 10, 2, 2, 5, 40, 50, gated=False)
    >>> [(one.kind, one.weights) for one in tensors(gpt)][:4]
    [('embedding', 500), ('q', 100), ('k', 100), ('v', 100)]
    >>> sum(one.weights for one in tensors(gpt)) == total_params(gpt)
    True
    """
    require_uniform(shape)
    h, q, k, f = shape.hidden, shape.query_width, shape.key_width, shape.ffn
    ends = {"q": (q, h), "k": (k, h), "v": (k, h), "o": (h, q), "gate": (f, h), "up": (f, h), "down": (h, f)}
    found = [Tensor("embedding", -1, shape.vocab, h)]
    found += _vectors(embedding_params(shape) - shape.vocab * h, -1)
    for layer in range(shape.layers):
        found += [Tensor(kind, layer, *ends[kind]) for kind in MATRICES if shape.gated or kind != "gate"]
        found += _vectors(layer_params(shape) - matrix_params_per_layer(shape), layer)
    table = 0 if shape.tied_embeddings else shape.vocab * h
    if table:
        found.append(Tensor("output", -1, shape.vocab, h))
    return found + _vectors(head_params(shape) - table, -1)


def _vectors(weights: int, layer: int) -> list[Tensor]:
    return [Tensor("vectors", layer, 1, weights)] if weights else []
