"""Formats of weights: how many bytes a model takes when it is stored in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.inference.blocks import BLOCKS
from edgealloc.system.inference.mixes import MIXES, storage_type
from edgealloc.system.inference.tensors import Tensor
from edgealloc.system.transformer import Transformer

__all__ = ["FORMATS", "Format", "format_named"]

Family = Literal["plain", "llama.cpp", "groups", "executorch"]


@dataclass(frozen=True)
class Format:
    """How weights are stored.

    A matrix of a block takes `bits` per weight and, for every group of `group` weights of a row (the whole row where
    it is None), `group_bits` for scale and zero point; tables (embedding and output) likewise with `table_bits` and
    `table_group`; vectors take `vector_bits`. The mixes of llama.cpp have their own types per tensor instead
    (:func:`edgealloc.system.inference.mixes.storage_type`).

    Attributes
    ----------
    name : str
    family : {"plain", "llama.cpp", "groups", "executorch"}
        What reads it: anything, llama.cpp, kernels for grouped integers (GPTQ, AWQ, bitsandbytes), ExecuTorch.
    bits : float
        Nominal bits of a weight in a matrix, without scales.
    text : str
        What it is, with its source.
    group : int or None
    group_bits : float
    table_bits, table_group_bits, vector_bits : float
    table_group : int or None
    untied : bool
        A tied table is stored twice, as embedding and as output.
    """

    name: str
    family: Family
    bits: float
    text: str
    group: int | None = None
    group_bits: float = 0.0
    table_bits: float = 16.0
    table_group: int | None = None
    table_group_bits: float = 0.0
    vector_bits: float = 16.0
    untied: bool = False

    def tensor_bytes(self, tensor: Tensor, shape: Transformer) -> float:
        """Bytes of one tensor of a model of this shape."""
        if self.family == "llama.cpp":
            block = BLOCKS[storage_type(self.name, tensor, shape)]
            return tensor.weights * block.bytes / block.weights
        if tensor.kind == "vectors":
            return tensor.weights * self.vector_bits / 8.0
        table = tensor.kind in ("embedding", "output")
        bits, group, group_bits = (
            (self.table_bits, self.table_group, self.table_group_bits)
            if table
            else (self.bits, self.group, self.group_bits)
        )
        groups = tensor.rows * -(-tensor.columns // (group or tensor.columns))
        return (tensor.weights * bits + groups * group_bits) / 8.0


def _groups(name: str, bits: float, group: int | None, group_bits: float, text: str) -> Format:
    return Format(name, "groups", bits, text, group, group_bits)


def _llamacpp(mix: str) -> Format:
    base = MIXES[mix]
    digits = next((float(one) for one in base if one.isdigit()), 16.0)
    bits = {"F32": 32.0, "F16": 16.0, "BF16": 16.0}.get(mix, digits)
    return Format(mix, "llama.cpp", bits, f"llama.cpp's mix {mix}: {base} and what its rules keep in more bits")


_ZEROS: Final = "a half-precision scale and an integer zero point per group; tables in half precision"
_OWN: Final = (
    Format("f32", "plain", 32.0, "single precision", table_bits=32.0, vector_bits=32.0),
    Format("f16", "plain", 16.0, "half precision"),
    Format("bf16", "plain", 16.0, "half precision, bfloat16"),
    _groups("int8-rows", 8.0, None, 16.0, "8-bit rows with a half-precision scale (LLM.int8, SmoothQuant W8A8)"),
    _groups("int4-g128", 4.0, 128, 16.0 + 4.0, f"GPTQ, AWQ, AutoRound with groups of 128: {_ZEROS}"),
    _groups("int4-g64", 4.0, 64, 16.0 + 4.0, f"GPTQ, AWQ with groups of 64: {_ZEROS}"),
    _groups("int4-rows", 4.0, None, 16.0 + 4.0, f"GPTQ, AWQ with one group per row: {_ZEROS}"),
    _groups("int3-g128", 3.0, 128, 16.0 + 3.0, f"GPTQ, AWQ with groups of 128: {_ZEROS}"),
    _groups("int3-g64", 3.0, 64, 16.0 + 3.0, f"GPTQ, AWQ with groups of 64: {_ZEROS}"),
    _groups("int3-rows", 3.0, None, 16.0 + 3.0, f"GPTQ, AWQ with one group per row: {_ZEROS}"),
    _groups("int2-g128", 2.0, 128, 16.0 + 2.0, f"GPTQ, AWQ with groups of 128: {_ZEROS}"),
    _groups("int2-g64", 2.0, 64, 16.0 + 2.0, f"GPTQ with groups of 64: {_ZEROS}"),
    _groups("nf4", 4.0, 64, 32.0, "QLoRA's NormalFloat4, a single-precision scale per 64 (arXiv 2305.14314)"),
    _groups(
        "nf4-dq", 4.0, 64, 8.0 + 32.0 / 256.0, "NormalFloat4 with double quantisation: 4.127 bits (arXiv 2305.14314)"
    ),
    Format(
        "executorch-int4",
        "executorch",
        4.0,
        "Llama 3.2 SpinQuant and QAT+LoRA: 4 bits in groups of 32, tables 8 bits by row, each stored on its own; "
        "that scales are single precision is our reading of the published file sizes",
        group=32,
        group_bits=32.0,
        table_bits=8.0,
        table_group_bits=32.0,
        untied=True,
    ),
    Format(
        "executorch-int4-g128",
        "executorch",
        4.0,
        "ExecuTorch 8da4w: 4 bits in groups of 128 with single-precision scales, output too; embedding in groups of "
        "32 (taken as 4 bits in groups of 128 like the rest)",
        group=128,
        group_bits=32.0,
        table_bits=4.0,
        table_group=128,
        table_group_bits=32.0,
        untied=True,
    ),
)

#: Formats by name; those of llama.cpp in capitals.
FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {**{one.name: one for one in _OWN}, **{mix: _llamacpp(mix) for mix in MIXES}}
)
_ALIASES: Final = {
    "int8": "Q8_0",
    "int4": "int4-g128",
    "gptq": "int4-g128",
    "awq": "int4-g128",
    "fp16": "f16",
    "fp32": "f32",
}


def format_named(name: str | Format) -> Format:
    """Look a format up; capitals do not matter for those of llama.cpp, and a Format is returned as it is.

    Parameters
    ----------
    name : str or Format
        As in `FORMATS`, in any case.

    Returns
    -------
    Format

    Raises
    ------
    DataError
        An unknown name, with the nearest known ones.

    Examples
    --------
    >>> format_named("q4_k_m").name, format_named("int8").name, format_named("awq").name
    ('Q4_K_M', 'Q8_0', 'int4-g128')
    """
    if isinstance(name, Format):
        return name
    exact = _ALIASES.get(name.lower(), name)
    if exact in FORMATS:
        return FORMATS[exact]
    capitals = {one.lower(): one for one in MIXES if one not in ("F16", "F32", "BF16")}
    if name.lower() in capitals:
        return FORMATS[capitals[name.lower()]]
    raise DataError([Fault("format", f"'{name}' is not known; {nearest(name, FORMATS)}")])
