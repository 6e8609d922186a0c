"""Bytes of a model in a format: the file, what one token reads of it, and memory at a context."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault
from edgealloc.system.inference.formats import Format, format_named
from edgealloc.system.inference.sparsity import DENSE, Sparsity
from edgealloc.system.inference.tensors import MATRICES, Tensor, tensors
from edgealloc.system.transformer import Transformer, kv_bytes_per_token, total_params

__all__ = ["bits_per_weight", "memory_bytes", "read_bytes", "weight_bytes", "weight_bytes_by_tensor"]

Array = npt.NDArray[np.float64]


def weight_bytes_by_tensor(
    shape: Transformer, form: str | Format, sparsity: Sparsity = DENSE, supported: bool = False
) -> Mapping[str, float]:
    """Bytes by kind of tensor.

    Parameters
    ----------
    shape : Transformer
        A decoder or an encoder.
    form : str or Format
        A name of :data:`edgealloc.system.inference.FORMATS`, see :func:`format_named`.
    sparsity : Sparsity
        Of the matrices in blocks.
    supported : bool
        Whether zeros are stored compactly.

    Returns
    -------
    mapping of str to float
        Keys "embedding", "output", "q", "k", "v", "o", "gate", "up", "down", "vectors", those that the model has.

    Raises
    ------
    DataError
        An unknown format; an encoder-decoder.
    """
    return dict(_by_kind(shape, format_named(form), sparsity, supported))


@functools.lru_cache(maxsize=4096)
def _by_kind(shape: Transformer, chosen: Format, sparsity: Sparsity, supported: bool) -> Mapping[str, float]:
    result: Counter[str] = Counter()
    for tensor in tensors(shape):
        result[tensor.kind] += _bytes(tensor, shape, chosen, sparsity, supported)  # type: ignore[assignment]
    if chosen.untied and shape.tied_embeddings:
        result["output"] = result["embedding"]
    return dict(result)


def _bytes(tensor: Tensor, shape: Transformer, form: Format, sparsity: Sparsity, supported: bool) -> float:
    dense = form.tensor_bytes(tensor, shape)
    if tensor.kind not in MATRICES:
        return dense
    bits = 8.0 * dense / tensor.weights
    return tensor.weights * sparsity.stored_bits(bits, supported) / 8.0


def weight_bytes(shape: Transformer, form: str | Format, sparsity: Sparsity = DENSE, supported: bool = False) -> float:
    """Bytes of all weights: the file without its header (vocabulary and names, about 1 to 8 MB).

    Parameters and errors as :func:`weight_bytes_by_tensor`.

    Examples
    --------
    >>> llama = Transformer(32, 4096, 32, 32, 128, 11008, 32000)
    >>> round(weight_bytes(llama, "Q4_K_M") / 2**30, 2), round(weight_bytes(llama, "F16") / 2**30, 2)
    (3.8, 12.55)
    """
    return sum(weight_bytes_by_tensor(shape, form, sparsity, supported).values())


def bits_per_weight(shape: Transformer, form: str | Format) -> float:
    """``8 weight_bytes / parameters``, as llama.cpp prints it.

    Parameters
    ----------
    shape : Transformer
        The model.
    form : str or Format
        Format of the weights.

    Examples
    --------
    >>> round(bits_per_weight(Transformer(32, 4096, 32, 32, 128, 11008, 32000), "Q4_K_M"), 2)
    4.84
    """
    return 8.0 * weight_bytes(shape, form) / total_params(shape)


def read_bytes(shape: Transformer, form: str | Format, sparsity: Sparsity = DENSE, supported: bool = False) -> float:
    """Bytes of weights that one decoded token reads: all but the embedding, of which it reads one row.

    A tied table is read in full, as output. Parameters and errors as :func:`weight_bytes_by_tensor`.
    """
    parts = weight_bytes_by_tensor(shape, form, sparsity, supported)
    total = sum(parts.values())
    return total if "output" not in parts else total - parts["embedding"]


def memory_bytes(
    shape: Transformer,
    form: str | Format,
    context: npt.ArrayLike,
    *,
    batch: npt.ArrayLike = 1,
    kv_bytes_per_element: float = 2.0,
    overhead_bytes: float = 0.0,
) -> Array:
    """Memory to answer with a model, ``weights + batch context kv + overhead``.

    Parameters
    ----------
    shape, form
        As :func:`weight_bytes`.
    context, batch : array_like
        Tokens of prompt and answer whose keys and values are kept, and queries at a time; they broadcast.
    kv_bytes_per_element : float
        2 for half precision, 1 for 8 bits.
    overhead_bytes : float
        What the framework takes besides: code, buffers, logits. None by default: give what you measured.

    Returns
    -------
    ndarray
        Bytes, in the shape of `context` and `batch`.

    Raises
    ------
    DataError
        Negative arguments, an unknown format.
    """
    tokens, queries = np.asarray(context, dtype=np.float64), np.asarray(batch, dtype=np.float64)
    faults = [
        Fault(name, f"{np.min(value)!s} must be >= 0")
        for name, value in (
            ("context", tokens),
            ("batch", queries),
            ("kv_bytes_per_element", np.asarray(kv_bytes_per_element)),
            ("overhead_bytes", np.asarray(overhead_bytes)),
        )
        if value.size and not np.min(value) >= 0.0
    ]
    if faults:
        raise DataError(faults)
    kept = kv_bytes_per_token(shape, kv_bytes_per_element)
    return np.asarray(weight_bytes(shape, form) + overhead_bytes + queries * tokens * kept)
