"""llama.cpp's mixes: which tensor of a model is stored in which type.

A file named Q4_K_M is not all Q4_K: tensors whose rounding hurts most keep more bits. Source: the function
llama_tensor_get_type of llama.cpp (src/llama-quant.cpp), for dense models with separate attention matrices; models
that store q, k and v as one tensor (Phi) get other types there for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from edgealloc.system.inference.blocks import BLOCKS, FALLBACK
from edgealloc.system.inference.tensors import Tensor
from edgealloc.system.transformer import Transformer

__all__ = ["MIXES", "more_bits", "storage_type"]

#: Mix -> type of the tensors without a rule of their own. "Q2_K-2023" is Q2_K as files of 2023 have it: with gate and
#: up in Q3_K, a rule that the source keeps as a comment.
MIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "F32": "F32",
        "F16": "F16",
        "BF16": "BF16",
        "Q4_0": "Q4_0",
        "Q4_1": "Q4_1",
        "Q5_0": "Q5_0",
        "Q5_1": "Q5_1",
        "Q8_0": "Q8_0",
        "Q2_K": "Q2_K",
        "Q2_K-2023": "Q2_K",
        "Q2_K_S": "Q2_K",
        "Q3_K_S": "Q3_K",
        "Q3_K_M": "Q3_K",
        "Q3_K_L": "Q3_K",
        "Q4_K_S": "Q4_K",
        "Q4_K_M": "Q4_K",
        "Q5_K_S": "Q5_K",
        "Q5_K_M": "Q5_K",
        "Q6_K": "Q6_K",
        "IQ1_S": "IQ1_S",
        "IQ1_M": "IQ1_M",
        "IQ2_XXS": "IQ2_XXS",
        "IQ2_XS": "IQ2_XS",
        "IQ2_S": "IQ2_XS",
        "IQ2_M": "IQ2_S",
        "IQ3_XXS": "IQ3_XXS",
        "IQ3_XS": "IQ3_S",
        "IQ3_S": "IQ3_S",
        "IQ3_M": "IQ3_S",
        "IQ4_NL": "IQ4_NL",
        "IQ4_XS": "IQ4_XS",
        "TQ1_0": "TQ1_0",
        "TQ2_0": "TQ2_0",
    }
)
_PLAIN: Final = ("F32", "F16", "BF16")
_LOW: Final = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
_EMBEDDING: Final = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0"), "Q4_K"),
}


def more_bits(layer: int, layers: int) -> bool:
    """Layers that a mix _M stores with more bits: the first and last eighth, and every third between.

    Examples
    --------
    >>> [layer for layer in range(16) if more_bits(layer, 16)]
    [0, 1, 4, 7, 10, 13, 14, 15]
    """
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def storage_type(mix: str, tensor: Tensor, shape: Transformer) -> str:
    """Type in which `mix` stores a tensor, a key of :data:`edgealloc.system.inference.blocks.BLOCKS`.

    Vectors stay single precision. Rows that a block of 256 does not divide fall back to blocks of 32, and to half
    precision where those do not fit either. Mixes IQ are those made with an importance matrix (some cannot be made
    without one), the others without.

    Parameters
    ----------
    mix : str
        A key of :data:`MIXES`.
    tensor : Tensor
    shape : Transformer
        Tells the number of layers, query heads per key head, and whether the embedding is also the output.
    """
    if tensor.kind == "vectors":
        return "F32"
    chosen = MIXES[mix]
    if mix in _PLAIN:
        return chosen
    if tensor.kind == "output" or (tensor.kind == "embedding" and shape.tied_embeddings):
        chosen = _output(mix, chosen, tensor)
    elif tensor.kind == "embedding":
        chosen = _EMBEDDING.get(mix, chosen)
    else:
        rules = _LOW_RULES if mix in _LOW else _RULES
        rule = rules.get(tensor.kind)
        chosen = (rule(mix.removesuffix("-2023"), tensor.layer, shape) if rule else None) or chosen
        if mix == "Q2_K-2023" and tensor.kind in ("gate", "up"):
            chosen = "Q3_K"
    return _fitting(chosen, tensor.columns)


def _output(mix: str, chosen: str, tensor: Tensor) -> str:
    if tensor.columns % BLOCKS[chosen].weights:
        return "Q8_0"
    if mix in _LOW or mix == "IQ3_XXS":
        return "Q5_K"
    return "Q8_0" if chosen == "Q8_0" else "Q6_K"


def _fitting(chosen: str, columns: int) -> str:
    if columns % BLOCKS[chosen].weights == 0:
        return chosen
    smaller = FALLBACK.get(chosen, "F16")
    return smaller if columns % BLOCKS[smaller].weights == 0 else "F16"


def _value(mix: str, layer: int, shape: Transformer) -> str | None:
    grouped = shape.heads // shape.kv_heads >= 4
    chosen = {
        "Q2_K": "Q4_K" if grouped else "Q3_K",
        "Q2_K_S": "Q4_K" if grouped else None,
        "IQ3_XXS": "Q4_K" if grouped else None,
        "IQ3_XS": "Q4_K" if grouped else None,
        "IQ3_S": "Q4_K" if grouped else None,
        "IQ3_M": "Q4_K",
        "Q3_K_M": "Q5_K" if layer < 2 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ4_NL": "Q5_K" if grouped else None,
        "IQ4_XS": "Q5_K" if grouped else None,
        "Q4_K_M": "Q6_K" if more_bits(layer, shape.layers) else None,
        "Q5_K_M": "Q6_K" if more_bits(layer, shape.layers) else None,
        "Q4_K_S": "Q5_K" if layer < 4 else None,
    }.get(mix)
    if shape.layers == 80 and (chosen or MIXES[mix]) in ("Q3_K", "Q4_K"):
        return "Q5_K"  # the 70B models, which llama.cpp knows by their 80 layers
    return chosen


def _down(mix: str, layer: int, shape: Transformer) -> str | None:
    first = layer < shape.layers // 8
    return {
        "Q2_K": "Q3_K",
        "Q2_K_S": "Q4_K" if first else None,
        "Q3_K_M": "Q5_K" if layer < shape.layers // 16 else "Q4_K",
        "IQ3_M": "Q4_K" if first else None,
        "Q3_K_L": "Q5_K",
        "Q4_K_M": "Q6_K" if more_bits(layer, shape.layers) else None,
        "Q5_K_M": "Q6_K" if more_bits(layer, shape.layers) else None,
        "Q4_K_S": "Q5_K" if first else None,
    }.get(mix)


def _attention_output(mix: str, layer: int, shape: Transformer) -> str | None:
    del layer, shape
    return {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}.get(mix)


def _query_key(mix: str, layer: int, shape: Transformer) -> str | None:
    del layer, shape
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(mix)


def _gate_up(mix: str, layer: int, shape: Transformer) -> str | None:
    inner = shape.layers // 8 <= layer < 7 * shape.layers // 8
    return "IQ3_XXS" if mix == "IQ3_XS" and inner else None


def _low_value(mix: str, layer: int, shape: Transformer) -> str | None:
    del layer
    if shape.heads // shape.kv_heads >= 4:
        return "Q4_K"
    return "IQ3_S" if mix in ("IQ2_S", "IQ2_M") else "Q2_K"


def _low_down(mix: str, layer: int, shape: Transformer) -> str | None:
    if layer >= shape.layers // 8:
        return None
    return "IQ3_S" if mix in ("IQ2_S", "IQ2_M") else "Q2_K"


def _low_attention_output(mix: str, layer: int, shape: Transformer) -> str | None:
    del layer, shape
    return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(mix)


_Rule = Callable[[str, int, Transformer], "str | None"]
_RULES: Final[dict[str, _Rule]] = {
    "v": _value,
    "down": _down,
    "o": _attention_output,
    "q": _query_key,
    "k": _query_key,
    "gate": _gate_up,
    "up": _gate_up,
}
_LOW_RULES: Final[dict[str, _Rule]] = {"v": _low_value, "down": _low_down, "o": _low_attention_output}
