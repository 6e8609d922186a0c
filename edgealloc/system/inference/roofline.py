"""Time and energy of answering one query: the roofline of memory bandwidth and arithmetic.

Symbols: N parameters that compute (matrices of blocks and the output table), R bytes of weights that a token reads,
k bytes of keys and values per token of context, A = 4 Y q FLOP of attention per token of context (Y layers, q query
width), C peak rate, B peak bandwidth, eta_C and eta_B the parts of them that a framework reaches, p tokens of prompt,
n tokens of answer. A token decoded at context c takes

    t(c) = max( (2 N + A c) / (eta_C C),  (R + k c) / (eta_B B) )

and a prompt, whose tokens share one reading of the weights,

    T_prefill(p) = max( (2 N p + A p (p + 1) / 2) / (eta_C C),  R / (eta_B B) ).

Both are the roofline of Williams, Waterman & Patterson (CACM 2009) with the efficiencies of a framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault
from edgealloc.system.inference.formats import Format
from edgealloc.system.inference.sizes import read_bytes
from edgealloc.system.inference.sparsity import DENSE, Sparsity
from edgealloc.system.transformer import Transformer, kv_bytes_per_token, matrix_params_per_layer

__all__ = [
    "Machine",
    "QueryCost",
    "Work",
    "decode_seconds",
    "decode_token_seconds",
    "inference_work",
    "prefill_seconds",
    "query_cost",
    "tokens_per_second",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """What a token costs, whatever the machine.

    Attributes
    ----------
    active_params : float
        N; a multiply-add is 2 FLOP. Pruned weights that save FLOP are not counted.
    read_bytes : float
        R, see :func:`edgealloc.system.inference.read_bytes`.
    kv_bytes_per_token : float
        k.
    attention_flops_per_token : float
        A; 0 gives the roofline without attention.
    """

    active_params: float
    read_bytes: float
    kv_bytes_per_token: float
    attention_flops_per_token: float = 0.0

    def __post_init__(self) -> None:
        _require(
            {"active_params": self.active_params, "read_bytes": self.read_bytes},
            {
                "kv_bytes_per_token": self.kv_bytes_per_token,
                "attention_flops_per_token": self.attention_flops_per_token,
            },
        )


@dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes
    ----------
    flops_per_s, bandwidth_bytes_per_s : float
        Peaks C and B.
    eta_flops, eta_bandwidth : float
        Parts of them that the framework reaches, > 0. Above 1 is allowed: integer arithmetic may beat the peak of
        half precision that a data sheet gives.
    power_w : float
        While it answers.
    """

    flops_per_s: float
    bandwidth_bytes_per_s: float
    eta_flops: float = 1.0
    eta_bandwidth: float = 1.0
    power_w: float = 0.0

    def __post_init__(self) -> None:
        _require(
            {
                "flops_per_s": self.flops_per_s,
                "bandwidth_bytes_per_s": self.bandwidth_bytes_per_s,
                "eta_flops": self.eta_flops,
                "eta_bandwidth": self.eta_bandwidth,
            },
            {"power_w": self.power_w},
        )

    @property
    def compute(self) -> float:
        """``eta_C C`` in FLOP/s."""
        return self.eta_flops * self.flops_per_s

    @property
    def bandwidth(self) -> float:
        """``eta_B B`` in bytes/s."""
        return self.eta_bandwidth * self.bandwidth_bytes_per_s


@dataclass(frozen=True, eq=False)
class QueryCost:
    """One query on one machine; arrays over prompt and answer.

    Attributes
    ----------
    prefill_s, decode_s : ndarray
        Time to the first token, and time of the answer's tokens.
    energy_j : ndarray
        ``power_w (prefill_s + decode_s)``.
    """

    prefill_s: Array
    decode_s: Array
    energy_j: Array

    @property
    def seconds(self) -> Array:
        """Prefill and decoding together."""
        return np.asarray(self.prefill_s + self.decode_s)


def inference_work(
    shape: Transformer,
    form: str | Format,
    *,
    sparsity: Sparsity = DENSE,
    supported: bool = False,
    kv_bytes_per_element: float = 2.0,
) -> Work:
    """Work of a token for a model in a format.

    ``N = Y P_layer + V h`` with P_layer the matrices of a block; ``R`` of :func:`read_bytes`; ``k = 2 Y k_width
    bytes``; ``A = 4 Y q``: scores and weighted values.

    Parameters
    ----------
    shape : Transformer
    form : str or Format
    sparsity : Sparsity
    supported : bool
        Whether framework and hardware make use of the zeros: bytes of every pattern, FLOP of 2:4 only.
    kv_bytes_per_element : float

    Raises
    ------
    DataError
        An unknown format, an encoder-decoder, a negative size.

    Examples
    --------
    >>> llama = Transformer(32, 4096, 32, 32, 128, 11008, 32000)
    >>> work = inference_work(llama, "Q4_0")
    >>> round(work.active_params / 1e9, 2), work.kv_bytes_per_token, work.attention_flops_per_token
    (6.61, 524288.0, 524288.0)
    """
    blocks = float(shape.layers * matrix_params_per_layer(shape))
    return Work(
        active_params=blocks * sparsity.compute_factor(supported) + float(shape.vocab * shape.hidden),
        read_bytes=read_bytes(shape, form, sparsity, supported),
        kv_bytes_per_token=kv_bytes_per_token(shape, kv_bytes_per_element),
        attention_flops_per_token=4.0 * shape.layers * shape.query_width,
    )


def decode_token_seconds(work: Work, machine: Machine, context: npt.ArrayLike, batch: npt.ArrayLike = 1) -> Array:
    """Time of one step of decoding at a context, for `batch` queries that decode together.

    ``max( b (2 N + A c) / (eta_C C), (R + b k c) / (eta_B B) )``: the weights are read once for all of them, keys and
    values are not shared.

    Parameters
    ----------
    work : Work
    machine : Machine
    context, batch : array_like
        Tokens before and including this one, >= 0, and queries, >= 1; they broadcast.

    Returns
    -------
    ndarray
        Seconds.

    Raises
    ------
    DataError
        Arguments out of range.
    """
    c, b = _arrays({"context": (context, 0.0), "batch": (batch, 1.0)})
    compute, memory = _lines(work, machine, b)
    return np.asarray(np.maximum(compute[0] + compute[1] * c, memory[0] + memory[1] * c))


def decode_seconds(
    work: Work, machine: Machine, prompt: npt.ArrayLike, answer: npt.ArrayLike, batch: npt.ArrayLike = 1
) -> Array:
    """Time to decode an answer, ``sum of t(c) over c = p + 1, ..., p + n``, in closed form.

    Both sides of the maximum are linear in the context, so they cross once at most; before and behind the crossing
    the sum is an arithmetic series. For whole numbers of tokens it equals the loop; in between (mean lengths) the
    series is continued.

    Parameters
    ----------
    work : Work
    machine : Machine
    prompt, answer : array_like
        Tokens p and n, >= 0.
    batch : array_like
        Queries of the same lengths that decode together, >= 1. The three broadcast.

    Returns
    -------
    ndarray
        Seconds until the answer is there (of each query of the batch).

    Raises
    ------
    DataError
        Arguments out of range.

    Examples
    --------
    >>> work, machine = Work(1e9, 5e8, 1e5), Machine(1e12, 5e10)
    >>> each = decode_token_seconds(work, machine, range(101, 121))
    >>> bool(abs(decode_seconds(work, machine, 100, 20) - each.sum()) < 1e-12)
    True
    """
    p, n, b = _arrays({"prompt": (prompt, 0.0), "answer": (answer, 0.0), "batch": (batch, 1.0)})
    compute, memory = _lines(work, machine, b)
    apart, turn = compute[0] - memory[0], compute[1] - memory[1]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        crossing = np.where(turn == 0.0, 0.0, -apart / turn)
    first = np.clip(np.floor(crossing - p), 0.0, n)
    sides = (compute, memory)
    before = [_series(line, p, first) for line in sides]
    behind = [_series(line, p + first, n - first) for line in sides]
    return np.asarray(np.maximum(*before) + np.maximum(*behind))


def _lines(work: Work, machine: Machine, batch: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Time of a step as constant and slope in the context: arithmetic, memory."""
    compute = (
        batch * (2.0 * work.active_params / machine.compute),
        batch * (work.attention_flops_per_token / machine.compute),
    )
    memory = (
        np.full_like(batch, work.read_bytes / machine.bandwidth),
        batch * (work.kv_bytes_per_token / machine.bandwidth),
    )
    return compute, memory


def _series(line: tuple[Array, Array], start: Array, tokens: Array) -> Array:
    """Sum of constant + slope c over c = start + 1 .. start + tokens."""
    constant, slope = line
    return np.asarray(tokens * (constant + slope * (start + 0.5 * (tokens + 1.0))))


def prefill_seconds(work: Work, machine: Machine, prompt: npt.ArrayLike) -> Array:
    """Time to read a prompt, ``max((2 N p + A p (p + 1) / 2) / (eta_C C), R / (eta_B B))``; 0 for no prompt.

    Attention is causal: token c looks at c tokens. Parameters and errors as :func:`decode_seconds`.
    """
    (p,) = _arrays({"prompt": (prompt, 0.0)})
    flops = p * (2.0 * work.active_params + 0.5 * work.attention_flops_per_token * (p + 1.0))
    once = work.read_bytes / machine.bandwidth
    return np.asarray(np.where(p > 0.0, np.maximum(flops / machine.compute, once), 0.0))


def query_cost(work: Work, machine: Machine, prompt: npt.ArrayLike, answer: npt.ArrayLike) -> QueryCost:
    """Time and energy of one query that has the machine to itself.

    Parameters and errors as :func:`decode_seconds`.

    Examples
    --------
    >>> cost = query_cost(Work(1e9, 5e8, 0.0), Machine(1e12, 5e10, power_w=4.0), 100, 50)
    >>> round(float(cost.prefill_s), 6), round(float(cost.decode_s), 6), round(float(cost.energy_j), 6)
    (0.2, 0.5, 2.8)
    """
    prefill = prefill_seconds(work, machine, prompt)
    decode = decode_seconds(work, machine, prompt, answer)
    return QueryCost(prefill, decode, np.asarray(machine.power_w * (prefill + decode)))


def tokens_per_second(work: Work, machine: Machine, context: npt.ArrayLike = 0) -> Array:
    """Decoding speed of one query at a context, ``1 / t(c)``.

    Parameters
    ----------
    work : Work
        Work and bytes of a token.
    machine : Machine
        What answers: rates in FLOP/s and bytes/s.
    context : array_like
        Tokens before the one that is decoded.
    """
    return np.asarray(1.0 / decode_token_seconds(work, machine, context))


def _arrays(arguments: Mapping[str, tuple[npt.ArrayLike, float]]) -> list[Array]:
    """Arguments as arrays of one shape, none below its least value."""
    found = {name: np.asarray(value, dtype=np.float64) for name, (value, _) in arguments.items()}
    faults = []
    for name, (_, least) in arguments.items():
        bad = np.argwhere(~((found[name] >= least) & np.isfinite(found[name])))
        if len(bad):
            where = f"[{', '.join(map(str, bad[0]))}]" if found[name].ndim else ""
            value = float(found[name][tuple(bad[0])])
            faults.append(Fault(f"{name}{where}", f"{value!r} must be a number >= {least:g}"))
    if faults:
        raise DataError(faults)
    return [np.array(one) for one in np.broadcast_arrays(*found.values())]


def _require(positive: Mapping[str, float], nonnegative: Mapping[str, float]) -> None:
    faults = [
        Fault(name, f"{value!r} must be a finite number > 0")
        for name, value in positive.items()
        if not (value > 0.0 and np.isfinite(value))
    ]
    faults += [
        Fault(name, f"{value!r} must be a finite number >= 0")
        for name, value in nonnegative.items()
        if not (value >= 0.0 and np.isfinite(value))
    ]
    if faults:
        raise DataError(faults)
