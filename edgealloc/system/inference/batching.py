"""A server that decodes several queries together: what a query takes of it, and how long it stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault
from edgealloc.system.inference.roofline import Machine, Work, decode_seconds, prefill_seconds

__all__ = ["busy_seconds", "largest_batch", "service_seconds"]

Array = npt.NDArray[np.float64]


def busy_seconds(
    work: Work, machine: Machine, prompt: npt.ArrayLike, answer: npt.ArrayLike, batch: npt.ArrayLike = 1
) -> Array:
    """Server time that one query takes when `batch` alike decode together, ``T_prefill + T_decode(b) / b``.

    Reading the weights is shared by the batch; keys and values, arithmetic and the prompt are not. Decreasing in the
    batch until arithmetic binds. A server that is always full answers ``1 / busy`` queries per second.

    Parameters
    ----------
    work : Work
    machine : Machine
    prompt, answer, batch : array_like
        As :func:`edgealloc.system.inference.decode_seconds`.

    Returns
    -------
    ndarray
        Seconds of the machine.

    Raises
    ------
    DataError
        Arguments out of range.

    Examples
    --------
    >>> work, machine = Work(1e9, 2e9, 0.0), Machine(1e14, 1e12)
    >>> [round(float(busy_seconds(work, machine, 0, 100, b)), 6) for b in (1, 10, 100, 1000)]
    [0.2, 0.02, 0.002, 0.002]
    """
    queries = np.asarray(batch, dtype=np.float64)
    decode = decode_seconds(work, machine, prompt, answer, queries)
    return np.asarray(prefill_seconds(work, machine, prompt) + decode / queries)


def service_seconds(
    work: Work, machine: Machine, prompt: npt.ArrayLike, answer: npt.ArrayLike, batch: npt.ArrayLike = 1
) -> Array:
    """Latency of a query in such a batch without waiting, ``T_prefill + T_decode(b)``.

    Prompts of other queries that are read in between are not in it: they are the load of the server, which a queue
    model adds. (In a server that is always full a query stays ``b busy``, by Little's law.) Parameters, errors as
    :func:`busy_seconds`.

    Parameters
    ----------
    work : Work
        Work and bytes of a token.
    machine : Machine
        What answers: rates in FLOP/s and bytes/s.
    prompt : array_like
        Tokens of the prompt.
    answer : array_like
        Tokens of the answer.
    batch : array_like
        Queries that are answered together.
    """
    return np.asarray(prefill_seconds(work, machine, prompt) + decode_seconds(work, machine, prompt, answer, batch))


def largest_batch(
    memory_bytes: npt.ArrayLike,
    weight_bytes: npt.ArrayLike,
    kv_bytes_per_token: npt.ArrayLike,
    context: npt.ArrayLike,
) -> npt.NDArray[np.int64]:
    """Queries whose keys and values fit beside the weights, ``floor((memory - weights) / (k c))``.

    Parameters
    ----------
    memory_bytes, weight_bytes : array_like
        Memory for both, and the weights.
    kv_bytes_per_token, context : array_like
        k > 0 and tokens of context c > 0 that are kept for each query. All broadcast.

    Returns
    -------
    ndarray of int
        0 where the weights do not fit, or nothing beside them.

    Raises
    ------
    DataError
        Arguments out of range.

    Examples
    --------
    >>> int(largest_batch(80e9, 16e9, 131072, 2048))
    238
    """
    found = {
        "memory_bytes": (memory_bytes, False),
        "weight_bytes": (weight_bytes, False),
        "kv_bytes_per_token": (kv_bytes_per_token, True),
        "context": (context, True),
    }
    faults, arrays = [], []
    for name, (value, positive) in found.items():
        array = np.asarray(value, dtype=np.float64)
        if not np.all(np.isfinite(array) & ((array > 0.0) if positive else (array >= 0.0))):
            least = float(np.min(array)) if array.size else 0.0
            faults.append(Fault(name, f"{least!r} must be a number {'> 0' if positive else '>= 0'}"))
        arrays.append(array)
    if faults:
        raise DataError(faults)
    memory, weights, kept, tokens = arrays
    return np.asarray(np.maximum(np.floor((memory - weights) / (kept * tokens)), 0.0), dtype=np.int64)
