"""Storage types of llama.cpp: how many bytes a block of weights takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["BLOCKS", "FALLBACK", "Block"]


@dataclass(frozen=True)
class Block:
    """A storage type: `weights` consecutive weights of a row take `bytes` bytes, scales included.

    Examples
    --------
    >>> BLOCKS["Q4_K"].bits_per_weight
    4.5
    """

    weights: int
    bytes: int

    @property
    def bits_per_weight(self) -> float:
        """8 bytes / weights."""
        return 8.0 * self.bytes / self.weights


#: Type -> block. Source: the block structures of ggml-common.h (llama.cpp); a half-precision scale is 2 bytes,
#: a super-block of a k-quant holds 256 weights with 6-bit (Q2_K: 4-bit) sub-block scales.
BLOCKS: Final[Mapping[str, Block]] = MappingProxyType(
    {
        "F32": Block(1, 4),
        "F16": Block(1, 2),
        "BF16": Block(1, 2),
        "Q4_0": Block(32, 2 + 16),
        "Q4_1": Block(32, 4 + 16),
        "Q5_0": Block(32, 2 + 4 + 16),
        "Q5_1": Block(32, 4 + 4 + 16),
        "Q8_0": Block(32, 2 + 32),
        "Q2_K": Block(256, 16 + 64 + 4),
        "Q3_K": Block(256, 32 + 64 + 12 + 2),
        "Q4_K": Block(256, 4 + 12 + 128),
        "Q5_K": Block(256, 4 + 12 + 32 + 128),
        "Q6_K": Block(256, 128 + 64 + 16 + 2),
        "IQ1_S": Block(256, 2 + 32 + 16),
        "IQ1_M": Block(256, 32 + 16 + 8),
        "IQ2_XXS": Block(256, 2 + 64),
        "IQ2_XS": Block(256, 2 + 64 + 8),
        "IQ2_S": Block(256, 2 + 64 + 8 + 8),
        "IQ3_XXS": Block(256, 2 + 64 + 32),
        "IQ3_S": Block(256, 2 + 64 + 8 + 32 + 4),
        "IQ4_NL": Block(32, 2 + 16),
        "IQ4_XS": Block(256, 2 + 2 + 4 + 128),
        "TQ1_0": Block(256, 48 + 4 + 2),
        "TQ2_0": Block(256, 64 + 2),
    }
)

#: Type of a tensor whose rows are no multiple of 256 -> the type of blocks of 32 that is taken instead.
FALLBACK: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Q4_K": "Q5_0",
        "Q5_K": "Q5_1",
        "Q6_K": "Q8_0",
        "TQ1_0": "Q4_0",
        "TQ2_0": "Q4_0",
        **dict.fromkeys(
            (
                "Q2_K",
                "Q3_K",
                "IQ1_S",
                "IQ1_M",
                "IQ2_XXS",
                "IQ2_XS",
                "IQ2_S",
                "IQ3_XXS",
                "IQ3_S",
                "IQ4_XS",
            ),
            "IQ4_NL",
        ),
    }
)
