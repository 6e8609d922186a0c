"""Memory: the published activation formula, a list of saved tensors, and the cut."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from edgealloc.catalog import default_catalog
from edgealloc.errors import DataError
from edgealloc.system.memory import (
    STATE_BYTES,
    activation_bytes_per_layer,
    device_memory,
    head_bytes,
    state_bytes,
)
from edgealloc.system.transformer import Transformer, layer_params, total_params

GPT = Transformer(
    layers=12, hidden=768, heads=12, kv_heads=12, head_dim=64, ffn=3072, vocab=50257, gated=False
)
LLAMA = Transformer(layers=4, hidden=10, heads=4, kv_heads=2, head_dim=3, ffn=17, vocab=23)


def test_published_activation_formula() -> None:
    """d B h (34 + 5 a d/h) in full, 22 instead of 34 with a frozen base and adapters on q and v."""
    b, d, h, a = 3, 512, 768, 12
    assert float(activation_bytes_per_layer(GPT, b, d)) == pytest.approx(d * b * h * (34 + 5 * a * d / h))
    frozen = activation_bytes_per_layer(GPT, b, d, training="frozen")
    assert float(frozen) == pytest.approx(d * b * h * (22 + 5 * a * d / h))
    fused = activation_bytes_per_layer(GPT, b, d, fused_attention=True)
    assert float(fused) == pytest.approx(d * b * (34 * h + 4 * a))


def test_gated_block_by_listing_tensors() -> None:
    """The tensors that a Llama block saves, listed one by one with their shapes."""
    b, d, h, q, k, f, a = 2, 7, 10, 12, 6, 17, 4
    always = {
        "norm 1 input": (b, d, h),
        "queries": (b, d, q),
        "keys": (b, d, k),
        "values": (b, d, k),
        "norm 2 input": (b, d, h),
        "gate": (b, d, f),
        "silu(gate)": (b, d, f),
        "up": (b, d, f),
        "input of q and v": (b, d, h),
    }
    trained = {"input of o": (b, d, q), "input of gate and up": (b, d, h), "input of down": (b, d, f)}
    scores = {"softmax": (b, a, d, d)}

    def size(*groups: Mapping[str, tuple[int, ...]]) -> float:
        return 2.0 * sum(int(np.prod(shape)) for group in groups for shape in group.values())

    assert float(activation_bytes_per_layer(LLAMA, b, d)) == size(always, trained, scores)
    assert float(activation_bytes_per_layer(LLAMA, b, d, training="frozen")) == size(always, scores)
    fused = activation_bytes_per_layer(LLAMA, b, d, training="frozen", fused_attention=True)
    assert float(fused) == size(always, {"input of o": (b, d, q)}) + 4 * b * d * a


def test_more_targets_keep_more() -> None:
    """An adapter on every matrix keeps what full training keeps; one on o alone does not need the norm's
    output."""
    every = ("q", "k", "v", "o", "gate", "up", "down")
    full = float(activation_bytes_per_layer(LLAMA, 2, 7))
    assert float(activation_bytes_per_layer(LLAMA, 2, 7, training="frozen", targets=every)) == full
    only_o = float(activation_bytes_per_layer(LLAMA, 2, 7, training="frozen", targets=("o",)))
    default = float(activation_bytes_per_layer(LLAMA, 2, 7, training="frozen"))
    assert default - only_o == 2 * 2 * 7 * (10 - 12)


def test_states() -> None:
    """16 bytes of mixed-precision Adam; 2 of a frozen weight; one's own number."""
    assert float(state_bytes(1e6)) == 16e6
    assert float(state_bytes(1e6, "bf16-adam")) == 8e6
    assert float(state_bytes(1e6, training="frozen")) == 2e6
    assert float(state_bytes(1e6, 4.5)) == 4.5e6
    assert set(STATE_BYTES.values()) == {8.0, 16.0, 18.0}


@pytest.mark.parametrize("name", ["llama3.2-1b", "gpt2-small", "qwen2-0.5b", "phi-2"])
def test_fully_local_states_are_the_whole_model(name: str) -> None:
    """Embedding, all layers and head hold every parameter once, tied or not."""
    shape = default_catalog().model(name).transformer()
    memory = device_memory(shape, 0, 512)  # an empty batch leaves the states alone
    assert float(memory.total_bytes(shape.layers)) == pytest.approx(16.0 * total_params(shape), rel=1e-14)


def test_cut_by_cut() -> None:
    """Affine in the cut, plus the head at the last one; users broadcast; overhead is added once."""
    memory = device_memory(LLAMA, 2, np.array([5.0, 9.0]), overhead_bytes=1000.0)
    assert memory.per_layer_bytes.shape == (2,)
    totals = np.stack([memory.total_bytes(cut) for cut in range(5)])
    np.testing.assert_allclose(np.diff(totals, axis=0)[:3], np.broadcast_to(memory.per_layer_bytes, (3, 2)))
    np.testing.assert_allclose(totals[4] - totals[3], memory.per_layer_bytes + memory.head_bytes)
    np.testing.assert_allclose(memory.fixed_bytes, 23 * 10 * 16 + 1000)
    np.testing.assert_allclose(head_bytes(LLAMA, 2, 5), 16 * (10 + 230) + 2 * 5 * (6 * 23 + 4 * 10))


def test_adapters_and_recomputation() -> None:
    """2 bytes per frozen and 16 per adapter parameter; a checkpoint keeps the input, and one working set."""
    frozen = device_memory(LLAMA, 2, 7, training="frozen", adapter_params_per_layer=50)
    kept = float(activation_bytes_per_layer(LLAMA, 2, 7, training="frozen"))
    assert float(frozen.per_layer_bytes) == 2 * layer_params(LLAMA) + 16 * 50 + kept
    light = device_memory(LLAMA, 2, 7, training="frozen", adapter_params_per_layer=50, recompute=True)
    assert float(frozen.per_layer_bytes - light.per_layer_bytes) == kept - 2 * 7 * 10 * 2
    assert float(light.fixed_bytes - frozen.fixed_bytes) == kept


def test_faults() -> None:
    """Unknown conventions, targets and negative bytes are refused."""
    with pytest.raises(DataError, match="mixed-adam"):
        device_memory(LLAMA, 1, 7, states="mixed-adm")
    with pytest.raises(DataError, match=">= 0"):
        state_bytes(1.0, -1.0)
    with pytest.raises(DataError, match="targets"):
        activation_bytes_per_layer(LLAMA, 1, 7, training="frozen", targets=("w",))
