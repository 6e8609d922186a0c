"""Transformer: published parameter counts, FLOP by counting every matrix product of a tiny network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgealloc.catalog import default_catalog
from edgealloc.errors import DataError
from edgealloc.system.transformer import (
    Transformer,
    activation_bits,
    forward_layer_flops,
    head_flops,
    kv_bytes_per_token,
    layer_flops,
    layer_params,
    lora_params_per_layer,
    matrix_params_per_layer,
    total_params,
)

TINY = Transformer(layers=3, hidden=10, heads=4, kv_heads=2, head_dim=3, ffn=17, vocab=23)
GPT = Transformer(layers=2, hidden=24, heads=4, kv_heads=4, head_dim=6, ffn=96, vocab=50, gated=False)

#: Counts published outside this project, typed in here a second time.
PUBLISHED = {
    "gpt2-small": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "distilbert-base": 66_362_880,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-7b": 6_738_415_616,
    "llama3-8b": 8_030_261_248,
    "llama3.2-1b": 1_235_814_400,
    "qwen2-0.5b": 494_032_768,
    "qwen2-7b": 7_615_616_512,
    "mistral-7b-v0.1": 7_241_732_096,
    "gemma-2b": 2_506_172_416,
    "phi3-mini-4k": 3_821_079_552,
    "phi-2": 2_779_683_840,
    "opt-125m": 125_237_760 + 2 * 768,
    "opt-1.3b": 1_315_753_984 + 2 * 2048,
}


@pytest.mark.parametrize("name", sorted(default_catalog().models))
def test_parameter_counts(name: str) -> None:
    """The shape reproduces the catalog's count, and the published one where there is one, to the last
    parameter."""
    entry = default_catalog().model(name)
    count = total_params(entry.transformer())
    assert count == entry.params
    assert count == PUBLISHED.get(name, count)
    if entry.kind != "encoder":
        assert kv_bytes_per_token(entry.transformer()) == entry.kv_bytes_per_token


def _forward_products(shape: Transformer, batch: int, tokens: int) -> tuple[list[tuple[int, int, int]], int]:
    """(m, k, n) of every product with a weight, and the FLOP of those without, of one block forward."""
    rows = batch * tokens
    q, k, h, f = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.hidden, shape.ffn
    weights = [(rows, h, q), (rows, h, k), (rows, h, k), (rows, q, h)]
    weights += [(rows, h, f)] * (2 if shape.gated else 1) + [(rows, f, h)]
    attention = 0
    for _ in range(batch * shape.heads):
        attention += 2 * tokens * shape.head_dim * tokens  # scores
        attention += 2 * tokens * tokens * shape.head_dim  # weighted values
    return weights, attention


@pytest.mark.parametrize("shape", [TINY, GPT])
def test_flops_by_counting_products(shape: Transformer) -> None:
    """Forward: every product. Backward: one more per input gradient, one more per weight gradient if
    trained."""
    weights, attention = _forward_products(shape, 2, 7)
    forward = sum(2 * m * k * n for m, k, n in weights)
    assert float(forward_layer_flops(shape, 2, 7)) == forward + attention
    input_gradients = sum(2 * m * n * k for m, k, n in weights)
    weight_gradients = sum(2 * k * m * n for m, k, n in weights)
    # Both factors of a product without weights need a gradient: attention costs twice its forward.
    backward = input_gradients + weight_gradients + 2 * attention
    assert float(layer_flops(shape, 2, 7)) == forward + attention + backward
    assert float(layer_flops(shape, 2, 7, "frozen")) == forward + input_gradients + 3 * attention
    again = forward + attention
    assert (
        float(layer_flops(shape, 2, 7, "frozen", recompute=True))
        == forward + input_gradients + 3 * attention + again
    )
    assert matrix_params_per_layer(shape) == sum(k * n for _, k, n in weights)


def test_gpt_formulas() -> None:
    """72 B d h^2 + 12 B d^2 h, and 96 and 16 with recomputation."""
    b, d, h = 3, 11, 24
    assert float(layer_flops(GPT, b, d)) == 72 * b * d * h**2 + 12 * b * d**2 * h
    assert float(layer_flops(GPT, b, d, recompute=True)) == 96 * b * d * h**2 + 16 * b * d**2 * h
    assert (
        layer_params(dataclasses.replace(GPT, attention_bias="all", ffn_bias=True, norm_bias=True))
        == 12 * h**2 + 13 * h
    )


def test_adapters_are_trained_in_both_modes() -> None:
    """6 B d per adapter parameter; vectors of users broadcast."""
    lora = lora_params_per_layer(TINY, 4, ("q", "k", "v", "o", "gate", "up", "down"))
    assert lora == 4 * ((10 + 12) + 2 * (10 + 6) + (12 + 10) + 3 * (10 + 17))
    tokens = np.array([5, 9])
    for mode in ("full", "frozen"):
        more = layer_flops(TINY, 2, tokens, mode, adapter_params_per_layer=lora) - layer_flops(
            TINY, 2, tokens, mode
        )
        np.testing.assert_allclose(more, 6 * 2 * tokens * lora)


def test_head_and_activations() -> None:
    """6 B d h V (4 when frozen); 16 bits per element of B x d x h."""
    assert float(head_flops(TINY, 2, 7)) == 6 * 2 * 7 * 10 * 23
    assert float(head_flops(TINY, 2, 7, "frozen")) == 4 * 2 * 7 * 10 * 23
    assert float(activation_bits(2, 7, 10)) == 2 * 7 * 10 * 16


def test_llama_head_is_a_fifth() -> None:
    """The head is about a fifth of Llama-3.2-1B's training work at 512 tokens."""
    shape = default_catalog().model("llama3.2-1b").transformer()
    head = float(head_flops(shape, 1, 512))
    assert 0.19 < head / (head + shape.layers * float(layer_flops(shape, 1, 512))) < 0.23


def test_faults() -> None:
    """Sizes, families, targets and encoder-decoders are refused by name."""
    with pytest.raises(DataError) as caught:
        Transformer(layers=0, hidden=8, heads=2, kv_heads=1, head_dim=4, ffn=-1, vocab=9)
    assert [fault.field for fault in caught.value.faults] == ["layers", "ffn"]
    with pytest.raises(DataError, match="divide"):
        dataclasses.replace(TINY, kv_heads=3)
    with pytest.raises(DataError, match="llama"):
        Transformer.of_family("lama", layers=1, hidden=8, heads=2, ffn=9, vocab=9)
    with pytest.raises(DataError, match="gate"):
        lora_params_per_layer(GPT, 4, ("gate",))
    with pytest.raises(DataError, match="encoder-decoder"):
        layer_flops(default_catalog().model("t5-base").transformer(), 1, 8)
    with pytest.raises(DataError, match="training"):
        layer_flops(TINY, 1, 8, "lora")  # type: ignore[arg-type]
