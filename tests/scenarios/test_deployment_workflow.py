"""Claims about the workflow's four calls: each table is right by hand, and each call takes what the last returned."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgealloc as ea
from edgealloc import workflow
from edgealloc.catalog.compression_facts import rate, variant
from edgealloc.system.inference import query_cost

MODELS = ["llama3.2-1b", "llama3.2-3b"]
FORMATS = ["f16", "Q4_K_M"]
PHONE = "snapdragon-865-12gb"


@pytest.fixture(scope="module")
def compact() -> workflow.Optimised:
    return workflow.optimise(MODELS, FORMATS)


@pytest.fixture(scope="module")
def compiled(compact: workflow.Optimised) -> workflow.Compiled:
    return workflow.compile_target(compact, {PHONE: 3, "raspberry-pi-5-8gb": 1}, memory_share=0.5, context=768)


@pytest.fixture(scope="module")
def deployed(compiled: workflow.Compiled) -> workflow.Deployed:
    return workflow.deploy(compiled, weights={"delay": 0.1, "energy": 1, "hallucination": 10, "accuracy": 10})


def test_optimise(compact: workflow.Optimised) -> None:
    """Sizes, accuracy and hallucination of the catalog's variants, with their marks and sources."""
    assert [row.variant for row in compact] == [f"{model}-{form}" for model in MODELS for form in FORMATS]
    row = compact["llama3.2-3b-Q4_K_M"]
    known = variant("llama3.2-3b", "Q4_K_M")
    assert (row.bits, row.size_bytes) == (4.0, known.weight_bytes)
    assert [row.accuracy[name] for name in ("piqa", "mmlu", "gsm8k")] == known.class_values()
    assert row.sources["hallucination"][0] == "assumption"
    assert compact["llama3.2-3b-f16"].sources["hallucination"][0] == "seen"
    assert compact["llama3.2-3b-f16"].hallucination == 0.079
    frame = compact.to_frame()
    assert list(frame["size_bytes"]) == [one.size_bytes for one in compact]
    text = str(compact)
    assert "7.9%" in text
    assert "Vectara HHEM" in text
    assert "*: by assumption" in text
    # nothing is known of GPT-2's hallucinations: it is told, and stays open
    assert workflow.optimise("gpt2-xl", "f16")["gpt2-xl-f16"].hallucination is None


def test_compile_target(compiled: workflow.Compiled) -> None:
    """What runs, in how much memory, how fast; what is missing where it does not."""
    assert len(compiled) == 8
    assert compiled.running == ("llama3.2-1b-f16", "llama3.2-1b-Q4_K_M", "llama3.2-3b-Q4_K_M")
    row = compiled["llama3.2-3b-f16"]
    need = variant("llama3.2-3b", "f16").memory_bytes(768)
    assert (row.device, row.runs, row.limit_bytes) == (PHONE, False, 6e9)
    assert row.memory_bytes == pytest.approx(need)
    assert row.missing == f"{(need - 6e9) / 1e6:.3g} MB of memory"
    good = compiled["llama3.2-1b-Q4_K_M"]
    found = rate(variant("llama3.2-1b", "Q4_K_M"), PHONE, "llama.cpp-cpu", context=768)
    assert good.tokens_per_s == pytest.approx(found.tokens_per_s)
    assert good.joules_per_token == pytest.approx(found.joules_per_token)
    assert (good.framework, good.origin, good.missing) == ("llama.cpp-cpu", "roofline", "")
    assert "roofline" in str(compiled)
    assert compiled.to_frame()["runs"].sum() == 6


def test_measured_rows_and_formats_that_do_not_run() -> None:
    """The catalog's measured rows count before the roofline; a format that no software there reads does not run."""
    table = workflow.optimise("llama3.2-3b", ["executorch-int4", "awq-int4-g128"], accuracy=0.6, hallucination=0.1)
    rows = workflow.compile_target(table, "snapdragon-8-gen-3")
    measured = rows["llama3.2-3b-executorch-int4"]
    assert (measured.origin, measured.framework) == ("measured", "executorch-cpu")
    assert 15.0 < measured.tokens_per_s < 19.7
    other = rows["llama3.2-3b-awq-int4-g128"]
    assert not other.runs
    assert math.isnan(other.tokens_per_s)
    assert "cannot run awq-int4-g128" in other.missing
    assert workflow.deploy(rows).best == "llama3.2-3b-executorch-int4"
    own = [{"name": "p", "device": "snapdragon-8-gen-3", "speed": {"llama3.2-3b-awq-int4-g128": 12.0}, "power": 3.0}]
    given = workflow.compile_target(table, own)["llama3.2-3b-awq-int4-g128"]
    assert (given.runs, given.origin) == (True, "given")
    assert given.joules_per_token == pytest.approx(3.0 / given.tokens_per_s)


def test_deploy(deployed: workflow.Deployed) -> None:
    """The four metrics by hand: one query at a time, on three phones and a board."""
    share = np.array([20.0, 8.0, 3.0]) / 31.0
    queries = ((64, 48), (256, 128), (512, 256))
    for name, base, form in (("llama3.2-1b-Q4_K_M", "llama3.2-1b", "Q4_K_M"),
                             ("llama3.2-3b-Q4_K_M", "llama3.2-3b", "Q4_K_M")):  # fmt: skip
        row, known = deployed[name], variant(base, form)
        joules, seconds, fast = 0.0, 0.0, 0
        for device, count in ((PHONE, 3), ("raspberry-pi-5-8gb", 1)):
            found = rate(known, device, "llama.cpp-cpu", context=768)
            for (prompt, answer), part in zip(queries, share, strict=True):
                cost = query_cost(found.work, found.machine, prompt, answer)
                joules += count / 4 * part * float(cost.energy_j)
                seconds += count / 4 * part * float(cost.seconds)
            fast += count * (found.tokens_per_s >= 5.0)
        assert row.energy_j == pytest.approx(joules)
        assert row.delay_s == pytest.approx(seconds)
        accuracy = [one for one in known.class_values() if one is not None]
        assert row.accuracy == pytest.approx(float(share @ accuracy))
        assert known.hallucination is not None
        assert row.hallucination == pytest.approx(known.hallucination.value)
        assert row.accessibility == pytest.approx(fast / 4)
        reference = deployed.scenario.deployment().weights.reference
        assert reference is not None
        value = 0.1 * seconds / reference["delay"] + joules / reference["energy"]
        value += 10.0 * row.hallucination + 10.0 * (1.0 - row.accuracy) + (1.0 - row.accessibility)
        assert row.objective == pytest.approx(value)
    assert deployed["llama3.2-3b-f16"].objective == math.inf
    assert deployed.best == min(deployed, key=lambda row: row.objective).variant
    text = str(deployed)
    assert f"best by the weights: {deployed.best}" in text
    assert "assumed: classes.benchmark" in text
    columns = list(deployed.to_frame().columns)
    assert columns[:5] == ["variant", "energy_j", "hallucination", "accuracy", "accessibility"]


def test_offload(deployed: workflow.Deployed, tmp_path: Path) -> None:
    """The proven answer is no worse than either extreme, and the tables say what it is."""
    answer = workflow.offload(deployed, "a100-sxm-80gb", model="llama3.1-8b", network={"transmit_power": 1.0})
    best = answer["offloading"]
    assert answer.solution.gap is not None
    assert answer.solution.gap <= 1e-3
    assert [row.strategy for row in answer] == ["offloading", "device-only", "edge-only"]
    for row in answer:
        assert row.found
        assert best.objective <= row.objective * (1.0 + 1e-9)
        assert answer.gain(row.strategy) == pytest.approx(1.0 - best.objective / row.objective)
    assert answer["device-only"].offloaded == 0.0
    assert answer["edge-only"].offloaded == pytest.approx(1.0)
    assert set(answer.classes) == {"simple", "medium", "complex"}
    assert sum(answer.installed.values()) == 4
    # with a single variant per device, everything on the devices is the evaluation of the call before
    alone = workflow.deploy(workflow.compile_target(workflow.optimise("llama3.2-1b", "Q4_K_M"), PHONE))
    only = workflow.offload(alone, "l4", format="int4-g128")["device-only"]
    assert only.energy_j == pytest.approx(alone["llama3.2-1b-Q4_K_M"].energy_j)
    assert only.accuracy == pytest.approx(alone["llama3.2-1b-Q4_K_M"].accuracy)
    text = str(answer)
    assert "at the edge: simple" in text
    assert "proven within" in text
    assert len(answer.to_frame()) == 3
    # what was built up is a scenario: saved, loaded, solved
    file = answer.scenario.save(tmp_path / "built.toml")
    again = ea.Scenario.load(file).deployment().solve()
    assert again.objective == pytest.approx(answer.solution.objective, rel=2e-3)


def test_a_tight_server_and_limits(deployed: workflow.Deployed) -> None:
    """A server without time for everything gets what gains most; limits are kept."""
    server = [{"name": "s", "device": "jetson-agx-orin-64gb", "model": "llama3.1-8b", "format": "int4-g128", "batch": 1,
               "load_limit": 0.02}]  # fmt: skip
    answer = workflow.offload(deployed, server, limits={"accuracy": 0.66})
    assert answer["edge-only"].offloaded < 1.0
    assert answer.gain("edge-only") > 0.0
    assert 0.0 < answer["offloading"].offloaded < 1.0
    assert answer["offloading"].accuracy >= 0.66 - 1e-9
    with pytest.raises(ea.InfeasibleError):
        workflow.offload(deployed, server, limits={"accuracy": 0.99})
    # phones that nothing is left on cannot serve themselves
    bare = [{"name": "p", "device": PHONE, "memory_share": 0.02}]
    nothing = workflow.deploy(workflow.compile_target(workflow.optimise("llama3.2-1b", "Q4_K_M"), bare))
    assert nothing.best == ""
    assert "no device can run any of them" in str(nothing)
    edge = workflow.offload(nothing, "l4", model="llama3.1-8b", format="int4-g128")
    assert edge["device-only"].offloaded == 1.0
    assert edge.installed == {"": 1}
    assert "installed: nothing on 1" in str(edge)
    lost = workflow.OffloadedRow("device-only", False, *[math.nan] * 7)
    assert lost.cells()[-1] == "cannot serve all queries"


@pytest.mark.parametrize(("call", "message"), [
    (lambda: workflow.optimise("llama3.2-1"), r"model: 'llama3\.2-1' is not in the catalog; did you mean"),
    (lambda: workflow.optimise("llama3.2-1b", "Q4_K_N"), r"formats: 'Q4_K_N' is not known"),
    (lambda: workflow.optimise([]), r"model: is empty"),
    (lambda: workflow.optimise("llama3.2-1b", []), r"formats: is empty"),
    (lambda: workflow.optimise("t5-base", "f16"), r"encoder"),
    (lambda: workflow.compile_target(workflow.optimise("gpt2-xl", "f16"), "iphone"), r"'iphone' is not in the catalog"),
    (lambda: workflow.compile_target(workflow.optimise("gpt2-xl", "f16"), PHONE, context=1), r"context: is 1"),
    (lambda: workflow.compile_target(workflow.optimise("gpt2-xl", "f16"), PHONE, memory_share=2.0), r"memory_share"),
    (lambda: workflow.compile_target(workflow.optimise("gpt2-xl", "f16"), PHONE, framework="x"), r"'x' is not known"),
    (lambda: workflow.deploy(workflow.compile_target(workflow.optimise("gpt2-xl", "f16"), PHONE)), r"no accuracy at"),
])  # fmt: skip
def test_faults(call: Any, message: str) -> None:
    with pytest.raises(ea.DataError, match=message):
        call()


def test_each_call_takes_what_the_last_returned(compact: workflow.Optimised, deployed: workflow.Deployed) -> None:
    wrong: Any = compact
    with pytest.raises(ea.DataError, match=r"workflow\.compile_target returned is needed, not a Optimised"):
        workflow.deploy(wrong)
    with pytest.raises(ea.DataError, match=r"workflow\.deploy returned is needed"):
        workflow.offload(wrong, "l4")
    with pytest.raises(ea.DataError, match="did you mean 'llama3"):
        _ = compact["llama3.2-1b-Q4"]
    with pytest.raises(ea.DataError, match="beside tables of servers"):
        workflow.offload(deployed, [{"device": "l4", "model": "llama3.1-8b"}], model="llama3.1-8b")
    with pytest.raises(ea.DataError, match=r"weights\.delaay: is an unknown key"):
        workflow.deploy(workflow.compile_target(compact, PHONE), weights={"delaay": 1.0})


def test_own_models_and_devices() -> None:
    """A catalog of one's own goes through all calls."""
    own: dict[str, dict[str, Any]] = {
        "models": {"mine": {"like": "llama3.2-1b", "layers": 8}},
        "devices": {"brick": {"like": PHONE, "memory_bytes": "6 GB"}},
    }
    table = workflow.optimise("mine", "Q4_K_M", accuracy=0.4, hallucination=0.3, source="our test set", catalog=own)
    rows = workflow.compile_target(table, "brick")
    assert rows["mine-Q4_K_M"].limit_bytes == 3e9
    found = workflow.deploy(rows)
    assert found["mine-Q4_K_M"].accuracy == pytest.approx(0.4)
    assert "our test set" in found.scenario.document.sources.values()
    assert workflow.offload(found, "l4", model="llama3.1-8b", format="int4-g128")["offloading"].found


def test_the_public_door() -> None:
    import edgealloc.scenarios as package

    assert ea.workflow is workflow
    with pytest.raises(AttributeError, match="no attribute 'workflaw'"):
        _ = package.workflaw
