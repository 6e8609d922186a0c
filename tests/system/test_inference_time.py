"""Time of a query: closed forms against loops over tokens, by hand, and what must grow with what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgealloc.errors import DataError
from edgealloc.system.inference import (
    Machine,
    Sparsity,
    Work,
    busy_seconds,
    decode_seconds,
    decode_token_seconds,
    inference_work,
    largest_batch,
    prefill_seconds,
    query_cost,
    read_bytes,
    service_seconds,
    tokens_per_second,
)
from edgealloc.system.transformer import Transformer

LLAMA_7B = Transformer(32, 4096, 32, 32, 128, 11008, 32000)
positive = st.floats(1e-3, 1e3)


def loop(work: Work, machine: Machine, prompt: int, answer: int, batch: int) -> float:
    """Decoding token by token, written anew."""
    total = 0.0
    for step in range(1, answer + 1):
        context = prompt + step
        flops = batch * (2 * work.active_params + work.attention_flops_per_token * context)
        moved = work.read_bytes + batch * context * work.kv_bytes_per_token
        total += max(
            flops / (machine.flops_per_s * machine.eta_flops),
            moved / (machine.bandwidth_bytes_per_s * machine.eta_bandwidth),
        )
    return total


@settings(max_examples=300, deadline=None)
@given(
    params=positive, read=positive, kv=st.floats(0, 10), attention=st.floats(0, 10), flops=positive, bandwidth=positive,
    etas=st.tuples(st.floats(0.05, 1.2), st.floats(0.05, 1.2)), prompt=st.integers(0, 60), answer=st.integers(0, 60),
    batch=st.integers(1, 9),
)  # fmt: skip
def test_decoding_is_the_loop(
    params: float, read: float, kv: float, attention: float, flops: float, bandwidth: float,
    etas: tuple[float, float], prompt: int, answer: int, batch: int,
) -> None:  # fmt: skip
    """Wherever arithmetic and memory cross, the closed form is the sum over tokens; so are the batch formulas."""
    work, machine = Work(params, read, kv, attention), Machine(flops, bandwidth, *etas)
    expected = loop(work, machine, prompt, answer, batch)
    np.testing.assert_allclose(decode_seconds(work, machine, prompt, answer, batch), expected, rtol=1e-12)
    first = sum(2 * params + attention * token for token in range(1, prompt + 1)) / machine.compute
    first = max(first, read / machine.bandwidth) if prompt else 0.0
    np.testing.assert_allclose(prefill_seconds(work, machine, prompt), first, rtol=1e-12)
    busy = busy_seconds(work, machine, prompt, answer, batch)
    np.testing.assert_allclose(busy, first + expected / batch, rtol=1e-12)
    np.testing.assert_allclose(service_seconds(work, machine, prompt, answer, batch), first + expected, rtol=1e-12)


def test_crossing_inside_an_answer() -> None:
    """Arithmetic binds up to a context, memory beyond; and the other way round, when attention costs more."""
    machine = Machine(100.0, 10.0)
    grows = Work(50.0, 1.0, 0.2)  # 1 s of arithmetic; (1 + 0.2 c) / 10 s of memory: equal at c = 45
    each = decode_token_seconds(grows, machine, np.arange(41, 61))
    assert each[0] == 1.0
    assert each[-1] == pytest.approx(1.3)
    assert decode_seconds(grows, machine, 40, 20) == pytest.approx(each.sum(), rel=1e-13)
    turned = Work(5.0, 10.0, 0.0, 2.0)  # 1 s of memory; (10 + 2 c) / 100 s of arithmetic: equal at c = 45
    assert decode_seconds(turned, machine, 40, 20) == pytest.approx(loop(turned, machine, 40, 20, 1), rel=1e-13)


def test_arrays_and_mean_lengths() -> None:
    """Arguments broadcast; half a token between two whole ones lies between them."""
    work, machine = inference_work(LLAMA_7B, "Q4_0"), Machine(1e12, 5e10, power_w=3.0)
    found = decode_seconds(work, machine, [[0], [100]], [10, 10.5, 11])
    assert found.shape == (2, 3)
    assert np.all(np.diff(found, axis=1) > 0)
    assert found[1, 2] == pytest.approx(loop(work, machine, 100, 11, 1), rel=1e-12)
    cost = query_cost(work, machine, [10, 100], 20)
    np.testing.assert_allclose(cost.energy_j, 3.0 * cost.seconds)
    assert prefill_seconds(work, machine, 0) == 0.0


def test_work_by_hand() -> None:
    """N without the embedding, k and A from the shape; 2:4 halves the FLOP of blocks where it is supported."""
    blocks = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    work = inference_work(LLAMA_7B, "f16")
    assert work.active_params == blocks + 32000 * 4096
    assert work.kv_bytes_per_token == 2 * 32 * 4096 * 2
    assert work.attention_flops_per_token == 4 * 32 * 4096
    assert work.read_bytes == read_bytes(LLAMA_7B, "f16")
    half = Sparsity("2:4", 0.5)
    assert inference_work(LLAMA_7B, "f16", sparsity=half) == work
    sparse = inference_work(LLAMA_7B, "f16", sparsity=half, supported=True)
    assert sparse.active_params == blocks / 2 + 32000 * 4096
    assert sparse.read_bytes < 0.6 * work.read_bytes
    assert inference_work(LLAMA_7B, "f16", kv_bytes_per_element=1.0).kv_bytes_per_token == 32 * 4096 * 2


def test_roofline_without_attention_is_the_formula() -> None:
    """max(2 N / (eta C), (weights + kv context) / (eta B)), at both ends."""
    work = Work(1e9, 5e8, 1e5)
    assert tokens_per_second(work, Machine(1e11, 1e10, 0.5, 0.5)) == pytest.approx(1 / max(0.04, 0.1))
    assert tokens_per_second(work, Machine(1e10, 1e11, 0.5, 0.5), 100) == pytest.approx(1 / 0.4)
    assert tokens_per_second(work, Machine(1e12, 1e10), 1000) == pytest.approx(1e10 / 6e8)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_monotone(data: st.DataObject) -> None:
    """More tokens never take less, a faster machine never more; a larger batch takes no more per query."""
    numbers = data.draw(st.lists(positive, min_size=4, max_size=4))
    work = Work(numbers[0], numbers[1], data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1)))
    machine, faster = Machine(numbers[2], numbers[3]), Machine(2 * numbers[2], 2 * numbers[3])
    prompt, answer, batch = (data.draw(st.integers(1, 50)) for _ in range(3))
    slack = 1 + 1e-12
    base = decode_seconds(work, machine, prompt, answer, batch)
    assert base <= slack * decode_seconds(work, machine, prompt + 1, answer, batch)
    assert base <= slack * decode_seconds(work, machine, prompt, answer + 1, batch)
    assert base <= slack * decode_seconds(work, machine, prompt, answer, batch + 1)
    assert 2 * decode_seconds(work, faster, prompt, answer, batch) == pytest.approx(float(base))
    more = busy_seconds(work, machine, prompt, answer, batch + 1)
    assert more <= slack * busy_seconds(work, machine, prompt, answer, batch)
    assert batch * busy_seconds(work, machine, prompt, answer, batch) * slack >= service_seconds(
        work, machine, prompt, answer, batch
    )


def test_largest_batch() -> None:
    """The last query that fits fits, one more does not; nothing fits where the weights do not."""
    memory, weights, kv, context = 24e9, 8e9, 131072.0, 3000.0
    count = int(largest_batch(memory, weights, kv, context))
    assert weights + count * kv * context <= memory < weights + (count + 1) * kv * context
    assert largest_batch([4e9, 8e9, 9e9], 8e9, 1e6, [1000, 1000, 500]).tolist() == [0, 0, 2]


def test_faulty_input() -> None:
    """Every message names the field, the place and the value."""
    work, machine = Work(1.0, 1.0, 0.0), Machine(1.0, 1.0)
    with pytest.raises(DataError, match=r"prompt\[1\]: -1"):
        decode_seconds(work, machine, [0, -1], 5)
    with pytest.raises(DataError, match=r"batch: 0\.0 must be a number >= 1"):
        busy_seconds(work, machine, 0, 5, 0)
    with pytest.raises(DataError, match=r"answer\[0, 1\]: nan"):
        query_cost(work, machine, 1, [[1, float("nan")]])
    with pytest.raises(DataError, match="prompt"):
        prefill_seconds(work, machine, float("inf"))
    for field in ("flops_per_s", "bandwidth_bytes_per_s", "eta_flops", "eta_bandwidth"):
        with pytest.raises(DataError, match=f"{field}: 0.0"):
            Machine(**{"flops_per_s": 1.0, "bandwidth_bytes_per_s": 1.0, field: 0.0})
    with pytest.raises(DataError, match="power_w"):
        Machine(1.0, 1.0, power_w=-1.0)
    with pytest.raises(DataError, match="active_params"):
        Work(0.0, 1.0, 0.0)
    with pytest.raises(DataError, match="kv_bytes_per_token"):
        Work(1.0, 1.0, -1.0)
    with pytest.raises(DataError, match="context"):
        largest_batch(1e9, 1e8, 1e3, 0)
