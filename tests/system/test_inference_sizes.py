"""Sizes of formats: blocks typed a second time, whole files by hand, rules of the mixes, faulty input."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgealloc.errors import DataError
from edgealloc.system.inference import (
    BLOCKS,
    FORMATS,
    Sparsity,
    bits_per_weight,
    format_named,
    memory_bytes,
    read_bytes,
    structured,
    tensors,
    weight_bytes,
    weight_bytes_by_tensor,
)
from edgealloc.system.inference.mixes import MIXES, more_bits, storage_type
from edgealloc.system.transformer import Transformer, total_params

LLAMA_7B = Transformer(32, 4096, 32, 32, 128, 11008, 32000)
LLAMA_3B = Transformer(28, 3072, 24, 8, 128, 8192, 128256, tied_embeddings=True)
ODD = Transformer.of_family("qwen2", layers=24, hidden=896, heads=14, kv_heads=2, ffn=4864, vocab=1000)

#: Bits per weight as llama.cpp's documentation of k-quants and i-quants tells them.
BITS = {
    "Q4_0": 4.5, "Q4_1": 5.0, "Q5_0": 5.5, "Q5_1": 6.0, "Q8_0": 8.5,
    "Q2_K": 2.625, "Q3_K": 3.4375, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625,
    "IQ1_S": 1.5625, "IQ1_M": 1.75, "IQ2_XXS": 2.0625, "IQ2_XS": 2.3125, "IQ2_S": 2.5625,
    "IQ3_XXS": 3.0625, "IQ3_S": 3.4375, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "TQ1_0": 1.6875, "TQ2_0": 2.0625,
}  # fmt: skip


def test_bits_of_blocks() -> None:
    """Every block has the documented bits per weight."""
    assert {name: block.bits_per_weight for name, block in BLOCKS.items() if name in BITS} == BITS
    assert set(BLOCKS) == set(BITS) | {"F32", "F16", "BF16"}


@pytest.mark.parametrize("shape", [LLAMA_7B, LLAMA_3B, ODD])
def test_tensors_are_all_parameters(shape: Transformer) -> None:
    """No weight is left out or counted twice, with or without tied tables and biases."""
    assert sum(one.weights for one in tensors(shape)) == total_params(shape)
    assert weight_bytes(shape, "f32") == 4 * total_params(shape)
    assert weight_bytes(shape, "f16") == 2 * total_params(shape)


def test_q4_k_m_by_hand() -> None:
    """LLaMA-7B tensor by tensor: half of attn_v and ffn_down in Q6_K, the output too, norms in single precision."""
    h, f, v, layers = 4096, 11008, 32000, 32
    extra = [i for i in range(layers) if i < 4 or i >= 28 or (i - 4) % 3 == 2]
    assert len(extra) == 16
    assert [i for i in range(layers) if more_bits(i, layers)] == extra
    six = len(extra) * (h * h + h * f) + v * h
    four = layers * (4 * h * h + 3 * h * f) - len(extra) * (h * h + h * f) + v * h
    norms = (2 * layers + 1) * h
    assert weight_bytes(LLAMA_7B, "Q4_K_M") == four * 144 / 256 + six * 210 / 256 + norms * 4


def test_group_format_by_hand() -> None:
    """AWQ of LLaMA-7B: 4 bits, 20 more per 128, tables and norms in half precision; NF4 with double quantisation."""
    h, f, v, layers = 4096, 11008, 32000, 32
    blocks, rest = layers * (4 * h * h + 3 * h * f), 2 * v * h + (2 * layers + 1) * h
    assert weight_bytes(LLAMA_7B, "awq") == blocks * (4 + 20 / 128) / 8 + 2 * rest
    assert weight_bytes(LLAMA_7B, "nf4-dq") == pytest.approx(blocks * 4.126953125 / 8 + 2 * rest, rel=1e-12)


def test_executorch_stores_a_tied_table_twice() -> None:
    """4.x bits in blocks, 8 bits for both tables, which are apart."""
    parts = weight_bytes_by_tensor(LLAMA_3B, "executorch-int4")
    assert parts["output"] == parts["embedding"] == 128256 * (3072 + 4)
    assert parts["q"] == 28 * 3072 * 3072 * 5 / 8


def test_tied_output_keeps_more_bits() -> None:
    """The table that is also the output is stored as the output is; what is read per token follows."""
    parts = weight_bytes_by_tensor(LLAMA_3B, "Q4_K_M")
    assert parts["embedding"] == 128256 * 3072 * 210 / 256
    assert read_bytes(LLAMA_3B, "Q4_K_M") == weight_bytes(LLAMA_3B, "Q4_K_M")
    untied = weight_bytes_by_tensor(LLAMA_7B, "Q4_K_M")
    assert read_bytes(LLAMA_7B, "Q4_K_M") == weight_bytes(LLAMA_7B, "Q4_K_M") - untied["embedding"]


def test_rows_that_no_block_divides() -> None:
    """896 = 3.5 x 256: k-quants fall back to blocks of 32; an odd width falls back to half precision."""
    found = {one.kind: storage_type("Q4_K_M", one, ODD) for one in tensors(ODD) if one.layer in (-1, 5)}
    assert found == {
        "embedding": "Q5_0", "vectors": "F32", "q": "Q5_0", "k": "Q5_0", "v": "Q8_0", "o": "Q5_0", "gate": "Q5_0",
        "up": "Q5_0", "down": "Q6_K", "output": "Q8_0",
    }  # fmt: skip
    narrow = Transformer(8, 100, 2, 2, 50, 300, 50)
    assert {storage_type("Q4_K_S", one, narrow) for one in tensors(narrow) if one.kind == "q"} == {"F16"}


def test_big_models_and_grouped_queries() -> None:
    """80 layers: attn_v in Q5_K; four queries per key: more bits for attn_v in small mixes."""
    big = Transformer(80, 8192, 64, 8, 128, 28672, 32000)
    kinds = {one.layer: storage_type("Q4_K_S", one, big) for one in tensors(big) if one.kind == "v"}
    assert set(kinds.values()) == {"Q5_K"}
    grouped = Transformer(32, 4096, 32, 8, 128, 14336, 128256)
    for mix, plain, other in (("Q2_K", "Q3_K", "Q4_K"), ("IQ1_S", "Q2_K", "Q4_K"), ("IQ2_M", "IQ3_S", "Q4_K")):
        assert {storage_type(mix, one, LLAMA_7B) for one in tensors(LLAMA_7B) if one.kind == "v"} == {plain}
        assert {storage_type(mix, one, grouped) for one in tensors(grouped) if one.kind == "v"} == {other}


@pytest.mark.parametrize("shape", [LLAMA_7B, LLAMA_3B])
def test_order_of_mixes(shape: Transformer) -> None:
    """S is smaller than M, M than L; more bits are more bytes."""
    order = ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M",
             "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "F32"]  # fmt: skip
    found = [bits_per_weight(shape, mix) for mix in order]
    assert found == sorted(found)
    assert set(order) < set(MIXES)


def test_memory() -> None:
    """Weights, overhead and 2 x layers x key width x bytes for every token of every query."""
    kv = 2 * 28 * 8 * 128 * 2
    found = memory_bytes(LLAMA_3B, "Q8_0", [0, 1000], batch=[[1], [4]], overhead_bytes=5e8)
    base = weight_bytes(LLAMA_3B, "Q8_0") + 5e8
    np.testing.assert_array_equal(found, [[base, base + 1000 * kv], [base, base + 4000 * kv]])
    assert memory_bytes(LLAMA_3B, "Q8_0", 10, kv_bytes_per_element=1.0) == base - 5e8 + 5 * kv


def test_sparsity() -> None:
    """Zeros save bytes only where they are supported: half and an index, or a bitmap; tables stay dense."""
    half, any_half = Sparsity("2:4", 0.5), Sparsity("unstructured", 0.5)
    blocks = sum(one.weights for one in tensors(LLAMA_7B) if one.layer >= 0 and one.kind != "vectors")
    dense = weight_bytes(LLAMA_7B, "f16")
    assert weight_bytes(LLAMA_7B, "f16", half) == weight_bytes(LLAMA_7B, "f16", any_half) == dense
    assert weight_bytes(LLAMA_7B, "f16", half, supported=True) == dense - blocks * 2 + blocks * 9 / 8
    assert weight_bytes(LLAMA_7B, "f16", Sparsity("unstructured", 0.75), True) == dense - blocks * 2 + blocks * 5 / 8
    assert [one.compute_factor(True) for one in (half, any_half, Sparsity("4:8", 0.5), Sparsity())] == [0.5, 1, 1, 1]
    assert half.compute_factor(False) == 1.0


def test_structured_pruning_of_llm_pruner() -> None:
    """A fifth of LLaMA-7B's blocks: 5.47e9 parameters published (LLM-Pruner), 5.4e9 with the share in all blocks."""
    assert total_params(structured(LLAMA_7B, 0.2)) == pytest.approx(5.47e9, rel=0.01)
    grouped = structured(LLAMA_3B, 0.3)
    assert (grouped.heads, grouped.kv_heads) == (18, 6)
    assert structured(LLAMA_7B, 0.0) == LLAMA_7B
    assert structured(LLAMA_7B, 0.999).kv_heads == 1


@settings(max_examples=60, deadline=None)
@given(
    layers=st.integers(1, 40), width=st.integers(1, 12), group=st.sampled_from([1, 2, 4]), keys=st.integers(1, 4),
    tied=st.booleans(), gated=st.booleans(), form=st.sampled_from(sorted(FORMATS)),
)  # fmt: skip
def test_any_shape(
    layers: int, width: int, group: int, keys: int, tied: bool, gated: bool, form: str
) -> None:
    """Bytes are positive, at most single precision twice, and grow with every dimension."""
    base = Transformer(
        layers, 32 * width, group * keys, keys, 32, 96 * width, 100, gated=gated, tied_embeddings=tied
    )
    first = weight_bytes(base, form)
    assert 0 < first <= 8 * total_params(base)
    assert 0 < read_bytes(base, form) <= first
    for bigger in (
        dataclasses.replace(base, layers=layers + 1),
        dataclasses.replace(base, ffn=96 * width + 256),
        dataclasses.replace(base, vocab=200),
    ):
        assert weight_bytes(bigger, form) > first


def test_faulty_input() -> None:
    """Unknown formats name the nearest; shares, patterns and negative tokens are refused."""
    with pytest.raises(DataError, match="Q4_K_M"):
        format_named("Q4_KM")
    with pytest.raises(DataError, match="encoder-decoder"):
        weight_bytes(Transformer(2, 64, 2, 2, 32, 128, 100, encoder_decoder=True), "f16")
    with pytest.raises(DataError, match=r"share.*0\.5"):
        Sparsity("2:4", 0.25)
    with pytest.raises(DataError, match="share"):
        Sparsity("unstructured", 1.0)
    with pytest.raises(DataError, match="share"):
        Sparsity("none", 0.5)
    with pytest.raises(DataError, match="pattern"):
        Sparsity("2:3", 0.5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"context.*-1"):
        memory_bytes(LLAMA_3B, "f16", [-1, 5])
    for bad in (-0.1, 1.0, float("nan")):
        with pytest.raises(DataError, match="share"):
            structured(LLAMA_3B, bad)


def test_names() -> None:
    """Every format finds itself, capitals of llama.cpp's mixes do not matter, aliases are known."""
    assert all(format_named(name).name == name for name in FORMATS)
    assert all(format_named(name.lower()).bits == FORMATS[name].bits for name in MIXES)
    assert {name: format_named(name).name for name in ("int8", "int4", "gptq", "awq", "fp16", "fp32")} == {
        "int8": "Q8_0", "int4": "int4-g128", "gptq": "int4-g128", "awq": "int4-g128", "fp16": "f16", "fp32": "f32",
    }  # fmt: skip
    assert [FORMATS[name].bits for name in ("Q2_K", "IQ3_XS", "TQ2_0", "F16", "BF16")] == [2, 3, 2, 16, 16]
    assert len({one.text for one in FORMATS.values()}) > 20
    assert list(itertools.islice(FORMATS, 2)) == ["f32", "f16"]
