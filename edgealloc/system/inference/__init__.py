"""Answering with a compact model: sizes of formats, memory, time and energy of a query, batches on a server."""

from edgealloc.system.inference.batching import busy_seconds, largest_batch, service_seconds
from edgealloc.system.inference.blocks import BLOCKS, Block
from edgealloc.system.inference.formats import FORMATS, Format, format_named
from edgealloc.system.inference.roofline import (
    Machine,
    QueryCost,
    Work,
    decode_seconds,
    decode_token_seconds,
    inference_work,
    prefill_seconds,
    query_cost,
    tokens_per_second,
)
from edgealloc.system.inference.sizes import (
    bits_per_weight,
    memory_bytes,
    read_bytes,
    weight_bytes,
    weight_bytes_by_tensor,
)
from edgealloc.system.inference.sparsity import DENSE, Sparsity, structured
from edgealloc.system.inference.tensors import Tensor, tensors

__all__ = [
    "BLOCKS",
    "DENSE",
    "FORMATS",
    "Block",
    "Format",
    "Machine",
    "QueryCost",
    "Sparsity",
    "Tensor",
    "Work",
    "bits_per_weight",
    "busy_seconds",
    "decode_seconds",
    "decode_token_seconds",
    "format_named",
    "inference_work",
    "largest_batch",
    "memory_bytes",
    "prefill_seconds",
    "query_cost",
    "read_bytes",
    "service_seconds",
    "structured",
    "tensors",
    "tokens_per_second",
    "weight_bytes",
    "weight_bytes_by_tensor",
]
