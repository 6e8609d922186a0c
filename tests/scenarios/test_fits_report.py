"""Claims about `ea.fits`: what fits, what is left and missing, and that each remedy is one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import edgealloc as ea
from edgealloc.core.figures import save_figure
from edgealloc.scenarios.fits import MEMORY_SHARES
from edgealloc.system.tuning import TUNING_METHODS, Tuning, tuning_memory, tuning_step_flops


def test_the_table_by_hand() -> None:
    """Limit, memory by component, headroom and time of a step; who fits is who has headroom."""
    report = ea.fits("opt-1.3b", "snapdragon-8-gen-3", batch=2, tokens=256, memory_share=0.4, utilisation=0.25,
                     memory_overhead="300 MB")  # fmt: skip
    entry = ea.default_catalog().model("opt-1.3b")
    assert report.limit_bytes == pytest.approx(6.4e9)
    assert report.flops_per_s == pytest.approx(0.25 * 4.314e12)
    assert tuple(row.name for row in report) == tuple(TUNING_METHODS)
    for row in report:
        shape, tuning = entry.transformer(), TUNING_METHODS[row.name]
        memory = tuning_memory(shape, tuning, 2, 256, overhead_bytes=3e8, family="opt")
        assert row.total_bytes == pytest.approx(float(memory.total_bytes))
        assert row.headroom_bytes == pytest.approx(6.4e9 - row.total_bytes)
        assert row.fits == (row.total_bytes <= 6.4e9)
        work = float(tuning_step_flops(shape, tuning, 2, 256, family="opt"))
        assert row.step_s == pytest.approx(work / report.flops_per_s)
    assert report.fitting == tuple(row.name for row in report if row.headroom_bytes >= 0.0)
    assert {"mezo", "lora"} <= set(report.fitting)
    assert "full-adam" not in report.fitting
    assert report.assumed == ()
    # 16 bytes per parameter, 2.63 GB of them weights
    assert report["full-adam"].memory["weights"] == pytest.approx(2 * entry.params, rel=0.01)
    assert report["full-adam"].memory["optimizer"] == pytest.approx(12 * entry.params, rel=0.01)


@pytest.mark.parametrize(("model", "device", "batch", "tokens"), [
    ("llama2-7b", "jetson-orin-nano-8gb", 1, 512), ("llama3.2-1b", "snapdragon-8-gen-3", 8, 512),
    ("gpt2-xl", "raspberry-pi-5-8gb", 4, 1024), ("qwen2-1.5b", "jetson-nano-4gb", 16, 1024),
])  # fmt: skip
def test_every_remedy_is_one(model: str, device: str, batch: int, tokens: int) -> None:
    """With its changes a method fits; a batch or length one larger would not."""
    report = ea.fits(model, device, batch=batch, tokens=tokens)
    missing = [row for row in report if not row.fits and not row.reason]
    assert missing
    for row in missing:
        assert row.remedy
        changes = dict(row.changes)
        if not changes:
            assert "more than any device" in row.remedy
            continue
        place = str(changes.pop("device", device))
        size, length = int(changes.pop("batch", batch)), int(changes.pop("tokens", tokens))
        tuning = row.tuning.changed(**changes)
        again = ea.fits(model, place, methods=[tuning], batch=size, tokens=length)
        assert again.fitting == (row.name,), row.verdict
        if size < batch and length == tokens:
            assert not ea.fits(model, place, methods=[tuning], batch=size + 1, tokens=length).fitting
        if length < tokens:
            assert size == 1
            assert not ea.fits(model, place, methods=[tuning], batch=1, tokens=length + 1).fitting


def test_cheaper_remedies_come_first() -> None:
    """Checkpointing before a smaller batch, that before a base of 4 bits, and another device at the end."""
    told = {row.name: row.remedy for row in ea.fits("llama3.2-1b", "snapdragon-8-gen-3", batch=4)}
    assert told["lomo"] == "fits with checkpointing"
    assert told["galore"] == "fits with batch 1"
    assert told["full-adam"] == "fits on jetson-agx-orin-64gb"
    told = {row.name: row.remedy for row in ea.fits("llama2-7b", "jetson-orin-nano-8gb")}
    assert told["mezo-lora"] == "fits with a base of 4 bits (nf4)"
    assert told["lora"] == "fits with a base of 4 bits (nf4) and checkpointing"
    assert told["mezo"].startswith("fits on ")


def test_what_cannot_be_used_says_why() -> None:
    """Methods that a model has not, that contradict the options, or that nobody modelled."""
    report = ea.fits("llama3.2-1b", "l4", precision="nf4")
    assert report["bitfit"].verdict == "cannot be used: the model has no biases"
    assert report["full-adam"].verdict.startswith("cannot be used: full-adam changes the base itself")
    assert report["lora"].tuning.precision == "nf4"
    assert math.isnan(report["bitfit"].headroom_bytes)
    assert not report["bitfit"].fits
    assert ea.fits("t5-base", "l4").fitting == ()
    with pytest.raises(ea.DataError, match="'lore' is not in this table; did you mean"):
        _ = report["lore"]


def test_own_methods_devices_and_models() -> None:
    """Tunings with options, entries of an own catalog, and what is assumed where nobody says."""
    catalog = ea.default_catalog().extended(
        devices={"mine": {"flops_per_s": 1e12, "memory_bytes": "3 GB", "power_w": 5, "device_class": "phone"}}
    )
    wide = Tuning("wide", "lora", rank=64, targets=("q", "k", "v", "o"), checkpointing=True)
    report = ea.fits("gpt2-small", "mine", methods=[wide, "mezo"], catalog=catalog)
    assert [row.name for row in report] == ["wide", "mezo"]
    assert report.limit_bytes == MEMORY_SHARES["phone"] * 3e9
    assert len(report.assumed) == 3
    same = ea.fits(catalog.model("gpt2-small"), catalog.device("mine"), methods=[wide, "mezo"])
    assert same.records() == report.records()
    textbook, torch = (
        ea.fits("gpt2-small", "mine", methods="lora", convention=one, catalog=catalog) for one in ("textbook", "torch")
    )
    assert textbook["lora"].total_bytes != torch["lora"].total_bytes
    assert ea.fits("gpt2-small", "l4", checkpointing=True)["lora"].tuning.checkpointing


def test_shown_and_drawn(tmp_path: Path) -> None:
    """Text, Markdown, frame and picture of the same rows."""
    report = ea.fits("llama3.2-1b", "jetson-orin-nano-8gb", batch=2)
    text = str(report)
    assert text.splitlines()[0] == f"llama3.2-1b on jetson-orin-nano-8gb: {len(report.fitting)} of 14 methods fit"
    for row in report:
        assert any(line.startswith(row.name) and row.verdict in line for line in text.splitlines())
    assert "assumed: training may use 0.75 of the memory" in text
    assert "overhead" not in text.split("assumed", maxsplit=1)[0]
    markdown = report.to_markdown().splitlines()
    assert len(markdown) == 2 + len(report)
    assert markdown[0].startswith("| method | weights")
    frame = report.to_frame()
    assert list(frame["method"]) == [row.name for row in report]
    assert frame.loc[frame["fits"], "headroom_bytes"].min() >= 0.0
    names = ("weights", "gradient", "optimizer", "activation", "logits", "overhead")
    parts = frame[[f"{part}_bytes" for part in names]]
    assert parts.sum(axis=1, min_count=1).to_numpy() == pytest.approx(frame["total_bytes"].to_numpy(), nan_ok=True)
    assert save_figure(report.plot(), tmp_path / "fits.png").stat().st_size > 5000


@pytest.mark.parametrize(("options", "message"), [
    ({"model": "lama2-7b"}, "model: 'lama2-7b' is not a known model; did you mean 'llama2-7b'"),
    ({"device": "jetson-orin-nano"}, "device: 'jetson-orin-nano' is not a known device; did you mean"),
    ({"device": 7}, "device: is 7; give a catalog name"),
    ({"device": "dimensity-9300-gpu"}, "the catalog has no value for it"),
    ({"methods": ["lore"]}, "method: 'lore' is not a fine-tuning method; did you mean"),
    ({"methods": []}, "methods: is empty"),
    ({"methods": [3]}, "methods: holds 3"),
    ({"precision": "int3"}, "precision: 'int3' is not known; did you mean 'int8'"),
    ({"convention": "torchy"}, "convention: is 'torchy'; did you mean 'torch'"),
    ({"batch": 0}, "batch: is 0; give a whole number >= 1"),
    ({"batch": 1.5}, "batch: is 1.5; give a whole number >= 1"),
    ({"tokens": True}, "tokens: is True"),
    ({"tokens": 5000}, "tokens: is 5000; 'opt-1.3b' has 2048 learned positions"),
    ({"memory_share": 1.5}, "memory_share: is 1.5; give a share above 0 and at most 1"),
    ({"memory_share": float("nan")}, "memory_share: is nan"),
    ({"utilisation": 0}, "utilisation: is 0"),
    ({"memory_overhead": "-1 GB"}, "memory_overhead: is -1e+09 B; it must be >= 0"),
    ({"memory_overhead": "1 GHz"}, "memory_overhead: '1 GHz' is in Hz, but B is needed"),
])  # fmt: skip
def test_bad_input(options: dict[str, object], message: str) -> None:
    arguments = {"model": "opt-1.3b", "device": "l4", **options}
    with pytest.raises(ea.DataError) as error:
        ea.fits(**arguments)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(ea.DataError) as error:
        ea.fits("x", "y", methods=["z"], batch=0, tokens=-1, utilisation=2.0, memory_overhead="q")
    assert len(error.value.faults) == 7
