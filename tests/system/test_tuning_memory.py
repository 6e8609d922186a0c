"""Fine-tuning methods: counts, memory by component, work and messages, against formulas written a second time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgealloc.errors import DataError
from edgealloc.system.memory import STATE_BYTES, activation_bytes_per_layer, head_bytes
from edgealloc.system.transformer import (
    Transformer,
    head_flops,
    layer_flops,
    lora_params_per_layer,
    total_params,
)
from edgealloc.system.tuning import (
    STATE_PARTS,
    TUNING_METHODS,
    Tuning,
    inference_memory,
    kept_bytes,
    message_bytes,
    not_applicable,
    result_bytes,
    trainable_params,
    tuning_memory,
    tuning_named,
    tuning_step_flops,
    weight_bytes,
)

LLAMA = Transformer.of_family("llama", layers=3, hidden=64, heads=4, kv_heads=2, ffn=160, vocab=500)
GPT2 = Transformer.of_family(
    "gpt2", layers=2, hidden=32, heads=4, ffn=128, vocab=300, tied_embeddings=True, max_context=64
)
PHI = Transformer.of_family("phi", layers=4, hidden=48, heads=4, ffn=192, vocab=200)
QWEN = Transformer.of_family("qwen2", layers=2, hidden=64, heads=8, kv_heads=2, ffn=96, vocab=100, tied_embeddings=True)
SHAPES = {"llama": LLAMA, "gpt2": GPT2, "phi": PHI, "qwen2": QWEN}
LLAMA_7B = Transformer.of_family("llama", layers=32, hidden=4096, heads=32, ffn=11008, vocab=32000)
NAMES = [
    "full-adam",
    "full-sgd",
    "lomo",
    "galore",
    "badam",
    "bitfit",
    "lora",
    "qlora",
    "adapters",
    "prefix",
    "prompt",
    "ia3",
    "mezo",
    "mezo-lora",
]


def test_names_and_defaults() -> None:
    """The table has every method under its own name; two are zeroth order; six change the base."""
    assert list(TUNING_METHODS) == NAMES
    assert all(tuning.name == tuning.method == name for name, tuning in TUNING_METHODS.items())
    assert [n for n, t in TUNING_METHODS.items() if t.order == 0] == ["mezo", "mezo-lora"]
    trains = [n for n, t in TUNING_METHODS.items() if t.trains_base]
    assert trains == ["full-adam", "full-sgd", "lomo", "galore", "badam", "mezo"]
    assert all(tuning.summary and tuning.reference for tuning in TUNING_METHODS.values())


def test_states_are_the_known_conventions() -> None:
    """The parts of every convention that memory.py has sum to its bytes."""
    assert {name: STATE_PARTS[name].total for name in STATE_BYTES} == dict(STATE_BYTES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lore"}, "did you mean 'lora'|'lore'"),
        ({"method": "lora", "rank": 0}, "rank: 0 must be a whole number >= 1"),
        ({"method": "lora", "targets": ("q", "query")}, "'query' is not a matrix"),
        ({"method": "lora", "targets": ("q", "q")}, "none twice"),
        ({"method": "lora", "states": "adam"}, "states: 'adam' is not known"),
        ({"method": "full-adam", "precision": "nf4"}, "choose 'bf16' or 'fp32'"),
        ({"method": "mezo", "precision": "int8"}, "mezo changes the base itself"),
        ({"method": "full-adam", "precision": "fp32"}, "set states = 'fp32-adam'"),
        ({"method": "badam", "states": "mixed-sgd"}, "badam is Adam"),
        ({"method": "badam", "blocks": 1.5}, "blocks: 1.5"),
        ({"method": "lora", "name": ""}, "name: is empty"),
    ],
)
def test_bad_options_name_the_fix(options: dict[str, object], message: str) -> None:
    """Every fault names the field, the value and what to do."""
    with pytest.raises(DataError, match=message):
        Tuning(**{"name": "mine", **options})  # type: ignore[arg-type]


def test_named() -> None:
    """A default with changes; unknown names and options are refused with the nearest known."""
    assert tuning_named("lora", name="lora-r64", rank=64) == Tuning("lora-r64", "lora", rank=64)
    with pytest.raises(DataError, match="'qlora'"):
        tuning_named("qlore")
    with pytest.raises(DataError, match="'rank'"):
        tuning_named("lora", ranks=4)


def test_counts() -> None:
    """Trained parameters typed a second time, from the matrices' sizes."""
    h, k, f, v = 64, 32, 160, 500
    expected = {
        "lora": 3 * 8 * ((h + h) + (h + k)),
        "adapters": 3 * 2 * (2 * h * 64 + 64 + h),
        "prefix": 3 * 2 * 20 * k,
        "prompt": 20 * h,
        "ia3": 3 * (2 * k + f),
        "bitfit": 0,
        "full-adam": 2 * v * h + 3 * (2 * h * h + 2 * h * k + 3 * h * f + 2 * h) + h,
    }
    assert {name: trainable_params(LLAMA, TUNING_METHODS[name]) for name in expected} == expected
    assert trainable_params(GPT2, TUNING_METHODS["bitfit"]) == 2 * (3 * 32 + 32 + 128 + 32 + 2 * 32) + 32
    assert trainable_params(PHI, TUNING_METHODS["bitfit"]) == 4 * (4 * 48 + 192 + 48 + 48) + 48 + 200
    assert trainable_params(QWEN, TUNING_METHODS["bitfit"]) == 2 * (64 + 2 * 16)
    # one joint matrix in GPT-2: three targets share one adapter
    qkv = tuning_named("lora", targets=("q", "k", "v", "o"))
    assert trainable_params(GPT2, qkv, "gpt2") == 2 * 8 * ((32 + 96) + (32 + 32))
    assert trainable_params(GPT2, TUNING_METHODS["lora"], "gpt2") == trainable_params(GPT2, TUNING_METHODS["lora"])
    assert trainable_params(GPT2, TUNING_METHODS["ia3"], "gpt2") == 2 * (3 * 32 + 128)


def test_what_does_not_apply() -> None:
    """Each reason is said, and the memory model refuses with the same words."""
    t5 = Transformer.of_family("t5", layers=2, hidden=8, heads=2, ffn=16, vocab=50)
    cases = [
        (LLAMA, TUNING_METHODS["bitfit"], "no biases"),
        (GPT2, tuning_named("lora", targets=("gate",)), "no 'gate' matrix"),
        (LLAMA, tuning_named("badam", blocks=4), "3 layers"),
        (LLAMA, TUNING_METHODS["galore"], "rank 128"),
        (t5, TUNING_METHODS["lora"], "encoder-decoder"),
    ]
    for shape, tuning, words in cases:
        assert words in not_applicable(shape, tuning)
        with pytest.raises(DataError, match=words):
            tuning_memory(shape, tuning, 1, 8)
    assert not_applicable(LLAMA, TUNING_METHODS["lora"]) == ""


@pytest.mark.parametrize(("fused", "name"), list(itertools.product((True, False), SHAPES)))
def test_textbook_activations_are_those_of_the_memory_module(fused: bool, name: str) -> None:
    """Recorded operation by operation, a block keeps what the closed formula of memory.py says."""
    shape, batch, tokens = SHAPES[name], 3, 17
    outside = 2.0 * batch * tokens * shape.hidden * np.array([2, 1])  # inputs of the final norm and of the table
    softmax = 4.0 * shape.vocab * batch * tokens

    def block(tuning: Tuning, index: int) -> float:
        kept = kept_bytes(shape, tuning.changed(fused_attention=fused), batch, tokens, convention="textbook")
        return float(kept - outside[index] - softmax) / shape.layers

    full = activation_bytes_per_layer(shape, batch, tokens, fused_attention=fused)
    assert block(TUNING_METHODS["full-adam"], 0) == pytest.approx(float(full), rel=1e-12)
    names = ("q", "k", "v", "o", "up", "down")
    for targets in (("q", "v"), ("o",), ("down", "up"), names):
        frozen = activation_bytes_per_layer(
            shape, batch, tokens, training="frozen", targets=targets, fused_attention=fused
        )
        inner = 2.0 * batch * tokens * 8 * len(targets)
        assert block(tuning_named("lora", targets=targets), 1) == pytest.approx(float(frozen + inner), rel=1e-12)


def test_textbook_activations_of_other_methods() -> None:
    """Beside the frozen block: adapters e h + 2 e m twice, (IA)^3 2 e k + e f, longer keys or sequences; BitFit 0."""
    batch, tokens, h, k, f = 2, 9, 32, 32, 128
    frozen = float(activation_bytes_per_layer(GPT2, batch, tokens, training="frozen", targets=()))
    rows = batch * tokens

    def block(name: str, seen: int = tokens) -> float:
        tuning = TUNING_METHODS[name].changed(fused_attention=False)
        kept = float(kept_bytes(GPT2, tuning, batch, tokens, convention="textbook"))
        return (kept - batch * seen * (2.0 * h + 4.0 * 300)) / 2

    assert block("bitfit") == pytest.approx(frozen)
    assert block("adapters") == pytest.approx(frozen + rows * 2 * (2 * h + 2 * 2 * 64))
    assert block("ia3") == pytest.approx(frozen + rows * 2 * (2 * k + f))
    longer = float(activation_bytes_per_layer(GPT2, batch, tokens + 20, training="frozen", targets=()))
    assert block("prompt", tokens + 20) == pytest.approx(longer)
    more = batch * 20 * 2 * 2 * k + rows * 20 * 5 * 4  # keys and values; weights, mask and output of 4 heads
    assert block("prefix") == pytest.approx(frozen + more)


def test_components() -> None:
    """Weights, gradient and optimiser of LLaMA-7B, written out."""
    total, matrices = 6738415616, 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    rest = total - matrices

    def parts(tuning: Tuning) -> tuple[float, float, float]:
        memory = tuning_memory(LLAMA_7B, tuning, 1, 128)
        return float(memory.weights_bytes), float(memory.gradient_bytes), float(memory.optimizer_bytes)

    assert parts(TUNING_METHODS["full-adam"]) == (2 * total, 2 * total, 12 * total)
    for states, (w, g, o) in {
        "bf16-adam": (2, 2, 4),
        "mixed-adam-fp32-gradient": (2, 4, 12),
        "mixed-adam": (2, 2, 12),
    }.items():
        assert parts(tuning_named("full-adam", states=states)) == (w * total, g * total, o * total)
    assert parts(tuning_named("full-adam", states="fp32-adam", precision="fp32")) == (4 * total, 4 * total, 8 * total)
    assert parts(TUNING_METHODS["full-sgd"]) == (2 * total, 2 * total, 4 * total)
    assert parts(tuning_named("full-sgd", states="mixed-adam")) == (2 * total, 2 * total, 4 * total)
    assert parts(TUNING_METHODS["lomo"]) == (2 * total, 2 * 32000 * 4096, 0)
    assert sum(parts(TUNING_METHODS["badam"])) == pytest.approx((2 + 16 / 32) * total)
    assert sum(parts(tuning_named("badam", blocks=8))) == pytest.approx((2 + 16 / 8) * total)
    lora = 4194304
    assert parts(TUNING_METHODS["lora"]) == (2 * total + 2 * lora, 2 * lora, 12 * lora)
    assert parts(TUNING_METHODS["qlora"])[0] == pytest.approx(0.516 * matrices + 2 * rest + 2 * lora)
    assert parts(tuning_named("lora", precision="int8"))[0] == matrices + 2 * rest + 2 * lora
    assert parts(TUNING_METHODS["mezo"]) == (2 * total, 0, 0)
    assert parts(TUNING_METHODS["mezo-lora"]) == (2 * total + 2 * lora, 0, 0)
    r, h, f = 128, 4096, 11008
    projected = 4 * (2 * h * r + 4 * h * r) + 3 * (2 * h * r + 4 * f * r)
    assert parts(TUNING_METHODS["galore"]) == (2 * total, 2 * total, 32 * projected + 4 * rest)
    mixed = parts(tuning_named("galore", states="mixed-adam"))[2]
    assert mixed == 4 * total + 32 * (4 * (2 * h * r + 8 * h * r) + 3 * (2 * h * r + 8 * f * r)) + 8 * rest


def test_bitfit_trains_part_of_the_base() -> None:
    """The biases are not counted twice."""
    memory = tuning_memory(GPT2, TUNING_METHODS["bitfit"], 1, 8)
    assert float(memory.weights_bytes) == 2 * total_params(GPT2)


def test_bytes_per_parameter_of_4_bits() -> None:
    """0.71 B per parameter for Llama-3-8B, 0.83 for Llama-3.2-1B."""
    llama3 = Transformer.of_family("llama", layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, vocab=128256)
    small = Transformer.of_family(
        "llama", layers=16, hidden=2048, heads=32, kv_heads=8, head_dim=64, ffn=8192, vocab=128256, tied_embeddings=True
    )
    assert weight_bytes(llama3, "nf4") / total_params(llama3) == pytest.approx(0.71, abs=0.005)
    assert weight_bytes(small, "nf4") / total_params(small) == pytest.approx(0.83, abs=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_totals_arrays_and_order(name: str) -> None:
    """Arrays broadcast; parts come in order and sum to the total; more data never takes less; overhead is added."""
    shape = GPT2
    tuning = TUNING_METHODS[name].changed(rank=4)
    batch, tokens = np.array([1, 2, 4])[:, None], np.array([8, 16])[None, :]
    memory = tuning_memory(shape, tuning, batch, tokens, overhead_bytes=7.0)
    assert list(memory.parts()) == ["weights", "gradient", "optimizer", "activation", "logits", "overhead"]
    assert memory.total_bytes.shape == (3, 2)
    assert memory.total_bytes == pytest.approx(sum(part for part in memory.parts().values()))
    assert (np.diff(memory.total_bytes, axis=0) > 0).all()
    assert (np.diff(memory.total_bytes, axis=1) > 0).all()
    one = tuning_memory(shape, tuning, 4, 16, overhead_bytes=7.0).total_bytes
    assert memory.total_bytes[2, 1] == float(one)
    flops = tuning_step_flops(shape, tuning, batch, tokens)
    assert flops.shape == (3, 2)
    assert flops[2, 1] == float(tuning_step_flops(shape, tuning, 4, 16))


@pytest.mark.parametrize("convention", ["torch", "textbook"])
def test_checkpointing(convention: str) -> None:
    """Inputs of all blocks and what one keeps: less memory, one forward pass of the blocks more."""
    for name in ("full-adam", "lora", "adapters", "prefix"):
        plain = TUNING_METHODS[name]
        saving = plain.changed(checkpointing=True)
        before = tuning_memory(LLAMA_7B, plain, 2, 512, convention=convention)
        after = tuning_memory(LLAMA_7B, saving, 2, 512, convention=convention)
        assert float(after.activation_bytes) < 0.2 * float(before.activation_bytes)
        inputs = 32 * 2 * 512 * 4096 * 2.0
        assert float(after.activation_bytes) > inputs
        more = tuning_step_flops(LLAMA_7B, saving, 2, 512, convention="textbook") - tuning_step_flops(
            LLAMA_7B, plain, 2, 512, convention="textbook"
        )
        if name == "full-adam":
            assert float(more) == pytest.approx(32 * float(layer_flops(LLAMA_7B, 2, 512)) / 3)


def test_single_precision_doubles_activations() -> None:
    """Textbook: every tensor of a Llama block has 4 bytes instead of 2, but attention's logarithms."""
    single = tuning_named("lora", precision="fp32", fused_attention=False)
    half = tuning_named("lora", fused_attention=False)
    logits = 4.0 * 500 * 34
    two = [float(kept_bytes(LLAMA, t, 2, 17, convention="textbook")) - logits for t in (single, half)]
    assert two[0] == pytest.approx(2 * two[1])


@pytest.mark.parametrize("name", list(SHAPES))
def test_flops_are_those_of_the_transformer_module(name: str) -> None:
    """Full fine-tuning, LoRA and checkpointing, textbook convention: the closed formulas, head included."""
    shape, batch, tokens = SHAPES[name], 3, 17
    targets = ("q", "v", "down")
    adapters = lora_params_per_layer(shape, 8, targets)
    lora = tuning_named("lora", targets=targets)

    def mine(tuning: Tuning) -> float:
        return float(tuning_step_flops(shape, tuning, batch, tokens, convention="textbook"))

    full = shape.layers * layer_flops(shape, batch, tokens) + head_flops(shape, batch, tokens)
    frozen = shape.layers * layer_flops(shape, batch, tokens, "frozen", adapters)
    assert mine(TUNING_METHODS["full-adam"]) == pytest.approx(float(full), rel=1e-12)
    assert mine(lora) == pytest.approx(float(frozen + head_flops(shape, batch, tokens, "frozen")), rel=1e-12)
    again = shape.layers * layer_flops(shape, batch, tokens, recompute=True) + head_flops(shape, batch, tokens)
    assert mine(tuning_named("full-adam", checkpointing=True)) == pytest.approx(float(again), rel=1e-12)
    assert mine(TUNING_METHODS["mezo"]) == pytest.approx(float(full) * 2 / 3, rel=1e-12)


def test_torch_computes_no_gradient_that_nobody_needs() -> None:
    """Below the first adapter nothing is trained: a little less than the textbook, never more."""
    for name in ("lora", "prefix", "ia3", "adapters"):
        tuning = TUNING_METHODS[name]
        real = float(tuning_step_flops(LLAMA, tuning, 2, 32))
        book = float(tuning_step_flops(LLAMA, tuning, 2, 32, convention="textbook"))
        assert 0.8 * book < real < book
    order = [
        float(tuning_step_flops(LLAMA_7B, tuning_named(name), 1, 512)) for name in ("mezo", "lora", "badam", "lomo")
    ]
    assert order[1] < order[3]
    assert order[2] < order[1]  # half of the way back, on average
    assert order[0] < order[1]


def test_conventions_order() -> None:
    """PyTorch's unfused norms keep more than the textbook; adapters in single precision more again."""
    lora = TUNING_METHODS["lora"]
    book, torch, peft = (
        float(kept_bytes(LLAMA_7B, lora, 1, 512, convention=one)) for one in ("textbook", "torch", "peft")
    )
    assert book < torch < peft
    with pytest.raises(DataError, match="'torch'"):
        tuning_memory(LLAMA_7B, lora, 1, 8, convention="tourch")
    with pytest.raises(DataError, match="'gpt2'"):
        tuning_memory(GPT2, lora, 1, 8, family="gpt-2")


def test_forward_only() -> None:
    """Zeroth order and inference: weights and a working set that does not grow with the layers."""
    deep = Transformer.of_family("llama", layers=64, hidden=4096, heads=32, ffn=11008, vocab=32000)
    mezo = tuning_memory(LLAMA_7B, TUNING_METHODS["mezo"], 1, 512)
    assert float(mezo.activation_bytes) == 512 * 2 * (4 * 4096 + 3 * 11008)
    assert float(tuning_memory(deep, TUNING_METHODS["mezo"], 1, 512).activation_bytes) == float(mezo.activation_bytes)
    assert float(mezo.logits_bytes) == float(head_bytes(LLAMA_7B, 1, 512, states=0.0, bytes_per_element=0.0))
    only = inference_memory(LLAMA_7B, "bf16", 1, 512)
    assert float(only.total_bytes) < float(mezo.total_bytes)
    assert float(inference_memory(LLAMA_7B, "nf4", 1, 512).weights_bytes) == weight_bytes(LLAMA_7B, "nf4")
    with pytest.raises(DataError, match="no backward pass"):
        kept_bytes(LLAMA_7B, TUNING_METHODS["mezo"], 1, 8)
    with pytest.raises(DataError, match="precision"):
        inference_memory(LLAMA_7B, "fp8", 1, 8)


def test_bad_sizes() -> None:
    """Batch and tokens of at least one."""
    for batch, tokens, field in ((0, 8, "batch"), (1, [8, 0], "tokens"), (np.nan, 8, "batch")):
        with pytest.raises(DataError, match=field):
            tuning_memory(LLAMA, TUNING_METHODS["lora"], batch, tokens)
        with pytest.raises(DataError, match=field):
            tuning_step_flops(LLAMA, TUNING_METHODS["lora"], batch, tokens)


def test_messages() -> None:
    """First order: what is trained, in 16 bits; zeroth order: 12 bytes a step, until the update is smaller."""
    assert message_bytes(LLAMA, TUNING_METHODS["full-adam"]) == 2.0 * total_params(LLAMA)
    assert message_bytes(LLAMA, TUNING_METHODS["lora"], 50) == 2.0 * trainable_params(LLAMA, TUNING_METHODS["lora"])
    assert message_bytes(LLAMA, TUNING_METHODS["mezo"], 5) == 60.0
    many = 10**9
    assert message_bytes(LLAMA, TUNING_METHODS["mezo"], many) == result_bytes(LLAMA, TUNING_METHODS["mezo"])
    assert result_bytes(LLAMA, TUNING_METHODS["badam"]) == 2.0 * total_params(LLAMA)
    with pytest.raises(DataError, match="steps_per_round"):
        message_bytes(LLAMA, TUNING_METHODS["mezo"], 0)
