"""Claims about the row of layers: it adds up to the whole model, and says what the papers say of one block."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from edgealloc.catalog import default_catalog
from edgealloc.system.layers import GRADIENT_BYTES, layer_loads, layer_parameters
from edgealloc.system.memory import STATE_BYTES
from edgealloc.system.transformer import Transformer, head_flops, layer_flops, lora_params_per_layer

MODELS = sorted(default_catalog().models)


def shape_of(name: str) -> Transformer:
    return default_catalog().model(name).transformer()


@pytest.mark.parametrize("name", MODELS)
def test_parameters_of_the_layers_are_those_of_the_model(name: str) -> None:
    """Every model of the catalog, encoder-decoders included: the published count, to the last parameter."""
    entry = default_catalog().model(name)
    counts = layer_parameters(entry.transformer())
    assert counts.sum() == entry.params
    assert len(counts) == entry.layers * (2 if entry.kind == "encoder-decoder" else 1)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{}, {"training": "frozen", "recompute": True, "fused_attention": False}])
def test_every_model_builds(name: str, options: dict[str, Any]) -> None:
    """Every model of the catalog: finite, non-negative, the whole part within the kept one."""
    loads = layer_loads(shape_of(name), 128, **options)
    for field in dataclasses.fields(loads):
        value = np.asarray(getattr(loads, field.name))
        assert np.isfinite(value).all(), field.name
        assert (value >= 0.0).all(), field.name
    assert (loads.forward_flops > 0.0).all()
    assert (loads.replicated_activation_bytes <= loads.activation_bytes * (1.0 + 1e-12)).all()
    assert (loads.checkpoint_bytes <= loads.state_bytes).all()


@pytest.mark.parametrize("name", ["gpt2-small", "bert-base-uncased", "opt-1.3b", "llama3.2-1b", "phi-2"])
@pytest.mark.parametrize("training", ["full", "frozen"])
@pytest.mark.parametrize("recompute", [False, True])
def test_work_is_that_of_the_whole_step(name: str, training: Any, recompute: bool) -> None:
    """Forward and backward of a uniform model are `layer_flops` times layers, and the head's."""
    shape = shape_of(name)
    loads = layer_loads(shape, 256, training=training, lora_rank=8, recompute=recompute)
    adapters = lora_params_per_layer(shape, 8) if training == "frozen" else 0
    whole = shape.layers * layer_flops(shape, 1, 256, training, adapters, recompute)
    whole = whole + head_flops(shape, 1, 256, training)
    assert float((loads.forward_flops + loads.backward_flops).sum()) == pytest.approx(float(whole), rel=1e-12)


def test_t5_by_hand() -> None:
    """Two encoder and two decoder layers, counted matrix by matrix."""
    h, a, f, v, d = 8, 2, 32, 50, 3
    shape = Transformer.of_family("t5", layers=2, hidden=h, heads=a, ffn=f, vocab=v, tied_embeddings=True)
    loads = layer_loads(shape, d, bytes_per_element=4.0, states="mixed-sgd", fused_attention=False)
    encoder = 2 * d * (4 * h * h + 2 * h * f) + 2 * (2 * d * d * h)
    decoder = 2 * d * (8 * h * h + 2 * h * f) + 4 * (2 * d * d * h)
    np.testing.assert_allclose(loads.forward_flops, [encoder, encoder, decoder, decoder + 2 * d * h * v])
    np.testing.assert_allclose(loads.backward_flops, 2 * loads.forward_flops)
    blocks = [4 * h * h + 2 * h * f + 2 * h] * 2 + [8 * h * h + 2 * h * f + 3 * h] * 2
    extra = [32 * a, h, 32 * a, h]  # relative positions, final norms
    params = np.array(blocks) + np.array(extra)
    table = np.array([v * h, 0, 0, v * h])
    np.testing.assert_allclose(loads.state_bytes, 8.0 * (params + table))
    np.testing.assert_allclose(loads.gradient_bytes, 4.0 * params)
    np.testing.assert_allclose(loads.checkpoint_bytes, 6.0 * (params + table))
    assert (loads.tied_bytes, loads.tied_state_bytes) == (4.0 * v * h, 8.0 * v * h)
    # boundaries: encoder, encoder to decoder, decoder with the encoder's output
    assert loads.boundary_bytes == pytest.approx(d * h * 4.0 * (1 + 1 + 2) / 3)
    np.testing.assert_allclose(loads.key_value_bytes, 2 * d * h * 4.0 * np.array([1, 1, 2, 2]))


def test_activations_are_those_of_korthikanti() -> None:
    """Half precision, GPT: s b h (34 + 5 a s / h) of which 10 s b h stay whole under tensor parallelism."""
    s, h, a = 64, 1024, 16
    shape = Transformer.of_family("gpt2", layers=3, hidden=h, heads=a, ffn=4 * h, vocab=100, tied_embeddings=True)
    loads = layer_loads(shape, s, fused_attention=False)
    np.testing.assert_allclose(loads.activation_bytes[:-1], s * h * (34 + 5 * a * s / h))
    np.testing.assert_allclose(loads.replicated_activation_bytes[:-1], 10 * s * h)
    head = s * (6 * 100 + 4 * h)
    assert loads.activation_bytes[-1] == pytest.approx(loads.activation_bytes[0] + head)
    bare = layer_loads(shape, s, fused_attention=False, count_head=False)
    assert bare.activation_bytes[-1] == bare.activation_bytes[0]
    assert bare.forward_flops[-1] == bare.forward_flops[0]


def test_frozen_training_exchanges_adapters_only() -> None:
    """Gradients of adapters go over the network; the frozen base is two bytes a parameter, tied or not."""
    shape = shape_of("llama3.2-1b")
    loads = layer_loads(shape, 128, training="frozen", lora_rank=4, states="mixed-adam")
    adapters = lora_params_per_layer(shape, 4)
    np.testing.assert_allclose(loads.gradient_bytes, 2.0 * adapters)
    assert loads.tied_bytes == 0.0
    assert loads.tied_state_bytes == 2.0 * shape.vocab * shape.hidden
    total = 2.0 * default_catalog().model("llama3.2-1b").params + 16.0 * 16 * adapters
    assert loads.state_bytes.sum() - loads.tied_state_bytes == pytest.approx(total)
    np.testing.assert_allclose(loads.state_bytes - loads.checkpoint_bytes, 2.0 * adapters)


def test_recomputation_keeps_inputs_only() -> None:
    """A checkpointed layer keeps its input, which no tensor parallelism divides; the rest is a working set."""
    shape = shape_of("gpt2-small")
    loads = layer_loads(shape, 100, recompute=True)
    np.testing.assert_allclose(loads.activation_bytes[:-1], 100 * 768 * 2)
    np.testing.assert_allclose(loads.replicated_activation_bytes[:-1], 100 * 768 * 2)
    assert loads.working_bytes == pytest.approx(float(layer_loads(shape, 100).activation_bytes[0]))


def test_every_convention_says_its_gradient() -> None:
    assert set(GRADIENT_BYTES) == set(STATE_BYTES)
    assert all(GRADIENT_BYTES[name] < STATE_BYTES[name] for name in STATE_BYTES)
