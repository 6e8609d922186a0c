"""Claims about pool-training scenarios: the problem is what the file says, by hand; nothing is lost in a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgealloc as ea
from edgealloc.core.constraints import Diagnosis
from edgealloc.scenarios.report import limit_lines, marks_line, reference_lines, sources

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "scenarios"
OWN = {"name": "box", "flops_per_s": "1 TFLOP/s", "memory": "9 GB", "busy_power": "20 W", "count": 2}
RAW: dict[str, Any] = {
    "problem": "pool-training",
    "version": 1,
    "name": "two kinds",
    "carbon_g_per_kwh": 300,
    "model": {"name": "gpt2-small", "batch": 8, "micro_batches": 4, "tokens": 64, "precision": 4},
    "devices": [
        {**OWN, "memory_reserved": "1 GB", "memory_share": 0.5, "failure_probability": 0.1},
        {"device": "jetson-orin-nano-8gb", "utilisation": 0.25, "idle_power": 4},
    ],
    "network": {"kind": "switch", "rate": "1 Gbit/s", "latency": "1 ms", "joules_per_byte": 1e-8},
    "limits": {"parallelisms": ["pipeline", "data"]},
}


def same(one: Any, other: Any) -> None:
    """Every field of two problems is the same, bit for bit."""
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "topology":
            for part in dataclasses.fields(a):
                np.testing.assert_array_equal(getattr(a, part.name), getattr(b, part.name))
        elif field.name == "weights":
            assert dataclasses.asdict(a) == dataclasses.asdict(b)
        else:
            np.testing.assert_array_equal(a, b)


def test_the_problem_by_hand() -> None:
    """Rates, memory, powers, work and bytes of a small file, from its own words and the paper's formulas."""
    problem = ea.Scenario.from_mapping(RAW).pool_training()
    assert problem.device_names == ("box-1", "box-2", "jetson-orin-nano-8gb")
    np.testing.assert_allclose(problem.flops_per_s, [1e12, 1e12, 0.25 * 2.56e12])
    np.testing.assert_allclose(problem.memory_bytes, [4e9, 4e9, 0.75 * 8e9])
    np.testing.assert_allclose(problem.busy_power_w, [20.0, 20.0, 15.0])
    np.testing.assert_allclose(problem.idle_power_w, [6.0, 6.0, 4.0])
    np.testing.assert_allclose(problem.failure_probability, [0.1, 0.1, 0.0])
    h, v, d = 768, 50257, 64
    block = 2 * d * 12 * h * h + 4 * d * d * h
    forward = np.full(12, float(block))
    forward[-1] += 2 * d * h * v
    np.testing.assert_allclose(problem.forward_flops, forward)
    np.testing.assert_allclose(problem.backward_flops, 2 * forward)
    params = 124439808
    assert problem.state_bytes.sum() - problem.tied_state_bytes == pytest.approx(16.0 * params)
    assert problem.gradient_bytes.sum() + problem.tied_bytes == pytest.approx(4.0 * params)
    assert problem.tied_bytes == 4.0 * v * h
    assert problem.boundary_bytes == d * h * 4.0
    assert (problem.batch, problem.micro_batches, problem.tokens, problem.heads) == (8, 4, 64, 12)
    assert problem.parallelisms == ("data", "pipeline")
    assert problem.carbon_g_per_kwh == 300.0
    assert problem.source == "two kinds"
    # the reference: an iteration on the fastest device alone
    seconds = 8 * 3 * forward.sum() / 1e12
    assert problem.weights.reference == pytest.approx({"delay": seconds, "energy": 20.0 * seconds})


def test_every_kind_of_network() -> None:
    """Links, media and relays of each kind; explicit ones with a shared medium, one way, and their own numbers."""
    names = ("box-1", "box-2", "jetson-orin-nano-8gb")

    def topology(**network: Any) -> Any:
        return ea.Scenario.from_mapping({**RAW, "network": {"rate": 1e8, **network}}).problem().topology

    for kind, links, media, relays in (
        ("wifi", 6, 1, ()),
        ("switch", 6, 6, ("switch",)),
        ("line", 4, 4, ()),
        ("mesh", 6, 6, ()),
    ):
        found = topology(kind=kind)
        assert (found.links, found.media, found.nodes[3:]) == (links, media, relays)
    access = topology(kind="wifi", access_point=True)
    assert (access.links, access.media, access.nodes[3:]) == (6, 1, ("access-point",))
    network = {
        "kind": "links",
        "latency": "2 ms",
        "relays": ["ap"],
        "links": [
            {"a": "box-1", "b": "ap", "medium": "air", "metric": 2},
            {"a": "box-2", "b": "ap", "medium": "air", "latency": 0, "joules_per_byte": 3e-7},
            {"a": "jetson-orin-nano-8gb", "b": "ap", "one_way": True},
            {"a": "ap", "b": "jetson-orin-nano-8gb", "one_way": True, "rate": "1 Gbit/s"},
        ],
    }
    found = topology(**network)
    assert found.nodes == (*names, "ap")
    assert found.ends.tolist() == [[0, 3], [3, 0], [1, 3], [3, 1], [2, 3], [3, 2]]
    np.testing.assert_allclose(found.rate_bits_per_s, [1e8] * 5 + [1e9])
    np.testing.assert_allclose(found.latency_s, [2e-3, 2e-3, 0, 0, 2e-3, 2e-3])
    assert found.medium.tolist() == [0, 0, 0, 0, 1, 2]
    np.testing.assert_allclose(found.metric, [2, 2, 1, 1, 1, 1])
    np.testing.assert_allclose(found.joules_per_byte, [0, 0, 3e-7, 3e-7, 0, 0])


@pytest.mark.parametrize("name", ["bert-base-uncased", "gpt2-medium", "t5-base", "t5-large", "opt-1.3b", "llama3.2-1b"])
@pytest.mark.parametrize("training", ["full", "frozen"])
def test_models_of_every_family_build(name: str, training: str) -> None:
    problem = ea.Scenario.random_pool(3, name, training=training).pool_training()
    stacks = 2 if name.startswith("t5") else 1
    assert problem.layers == stacks * ea.default_catalog().model(name).layers
    assert problem.describe()


def test_recomputation_takes_a_working_set() -> None:
    """One layer of one micro-batch is computed again, on every device."""
    plain = ea.Scenario.random_pool(3).problem()
    again = ea.Scenario.random_pool(3, recompute=True).problem()
    np.testing.assert_allclose(again.overhead_bytes, 300e6 + 2 * plain.activation_bytes[0])
    assert (again.activation_bytes[:-1] < 0.1 * plain.activation_bytes[:-1]).all()


def test_save_and_load(tmp_path: Path) -> None:
    """A written file gives the same problem, with and without explanations."""
    for scenario in (
        ea.Scenario.from_mapping(RAW),
        ea.Scenario.random_pool(5, seed=3),
        ea.Scenario.load(EXAMPLES / "smart_home.toml"),
    ):
        for comments in (True, False):
            path = scenario.save(tmp_path / "pool.toml", comments=comments)
            same(ea.Scenario.load(path).problem(), scenario.problem())
            assert ea.Scenario.load(path).mapping() == scenario.mapping()
        text = scenario.save(tmp_path / "pool.toml").read_text(encoding="utf-8")
        assert "# parts of the batch that follow one another through a pipeline" in text


def test_explicit_links_survive_a_file(tmp_path: Path) -> None:
    links = [{"a": "box-1", "b": "box-2", "rate": 1e9}, {"a": "box-2", "b": "jetson-orin-nano-8gb", "rate": 3e8}]
    scenario = ea.Scenario.from_mapping({**RAW, "network": {"kind": "links", "links": links}})
    path = scenario.save(tmp_path / "links.toml")
    assert "1 Gbit/s" in path.read_text(encoding="utf-8")
    same(ea.Scenario.load(path).problem(), scenario.problem())
    assert [row.shown for row in scenario.table() if row.path == "network.links.1.rate"] == ["300 Mbit/s"]


def test_changed_and_overridden() -> None:
    scenario = ea.Scenario.from_mapping(RAW)
    changed = scenario.changed({"model.batch": 16, "devices.1.count": 2, "limits.deadline": "30 s"})
    problem = changed.pool_training()
    assert (problem.batch, problem.devices, problem.deadline_s) == (16, 4, 30.0)
    assert scenario.pool_training(deadline_s=2.0).deadline_s == 2.0
    own = ea.Weights(1.0, 0.0, reference={"delay": 1.0, "energy": 1.0})
    assert scenario.pool_training(own).per_second == 1.0
    assert scenario.pool_training(ea.Weights(2.0, 0.0)).per_second == pytest.approx(2.0 * scenario.problem().per_second)
    given = scenario.changed({"weights.reference": {"delay": 4.0}}).problem()
    assert given.weights.reference["delay"] == 4.0
    assert given.weights.reference["energy"] == scenario.problem().weights.reference["energy"]


def test_every_number_has_a_source_and_a_mark() -> None:
    """Defaults that nobody has measured are assumptions, in the table and in words; measured ones are not."""
    scenario = ea.Scenario.from_mapping(RAW)
    marks = {row.path: row.mark for row in scenario.table()}
    assert marks["devices.0.idle_share"] == marks["devices.1.memory_share"] == "assumption"
    assert marks["devices.0.flops_per_s"] == "file"
    assert "devices.0.utilisation" not in marks
    assert "devices.1.idle_share" not in marks
    assert marks["devices.jetson-orin-nano-8gb.power_w"] == "seen"
    assert marks["pool.box-1.idle_power_w"] == "assumption"
    said = scenario.assumptions()
    assert set(said) == {"devices.0.idle_share", "devices.1.memory_share"}
    assert "idle_power" in said["devices.0.idle_share"]
    both = scenario.changed({"devices.0.memory_share": 0.75, "assumptions": {"devices.memory_share": "a guess"}})
    assert set(both.assumptions()) == {"devices.memory_share", "devices.0.idle_share"}
    bare = ea.Scenario.from_mapping({**RAW, "devices": [{"device": "jetson-nano-4gb"}, {"device": "jetson-tx2-8gb"}]})
    assert set(bare.assumptions()) == {"devices.utilisation", "devices.memory_share", "devices.idle_share"}
    for row in scenario.table():
        assert row.source
        assert row.shown


def test_words() -> None:
    scenario = ea.Scenario.from_mapping({**RAW, "limits": {"deadline": 60, "parallelisms": ["pipeline"]}})
    problem = scenario.problem()
    assert scenario.describe() == "two kinds: 3 devices on a switch at 1 Gbit/s, gpt2-small (full fine-tuning)"
    assert repr(scenario) == "Scenario('two kinds', devices=3, seed=0)"
    lines = limit_lines(scenario, problem)
    assert "4 GB to 6 GB per device" in lines[0]
    assert lines[1:] == ["an iteration takes at most 60 s", "parallelisms: pipeline only"]
    assert "'box-1'" in reference_lines(scenario, problem)[1]
    assert [name for name, _ in sources(scenario)] == ["gpt2-small", "jetson-orin-nano-8gb"]


def test_repair_in_the_file() -> None:
    """What the diagnosis wants of the problem becomes keys of the file that give at least that."""
    scenario = ea.Scenario.from_mapping(RAW)
    wanted = {"memory_bytes": np.array([4e9, 7e9, 20e9]), "deadline_s": 12.34567891}
    changes = {change.path: change.value for change in scenario.repair(Diagnosis((), wanted))}
    assert set(changes) == {"devices.0.memory_share", "devices.1.memory", "limits.deadline"}
    mended = scenario.changed(changes).problem()
    assert (mended.memory_bytes >= wanted["memory_bytes"]).all()
    assert mended.memory_bytes[1] < 7.01e9
    assert 12.34567891 <= mended.deadline_s < 12.35


def test_an_infeasible_file_and_its_repair() -> None:
    """A model that fits nowhere is diagnosed; the repair's keys give a pool on which it fits."""
    scenario = ea.Scenario.random_pool(2, "opt-6.7b", seed=1)
    diagnosis = scenario.problem().diagnose()
    assert diagnosis is not None
    mended = scenario.changed({change.path: change.value for change in scenario.repair(diagnosis)})
    assert mended.problem().diagnose() is None


def test_random_pools() -> None:
    """Seeded; a larger pool begins with the smaller one; every network builds."""
    small, large = ea.Scenario.random_pool(4, seed=5), ea.Scenario.random_pool(9, seed=5)
    same(small.problem(), ea.Scenario.random_pool(4, seed=5).problem())
    assert large.problem().device_names[:4] == small.problem().device_names
    np.testing.assert_array_equal(large.problem().flops_per_s[:4], small.problem().flops_per_s)
    for network in ("wifi", "switch", "line", "mesh"):
        assert ea.Scenario.random_pool(5, network=network).problem().devices == 5
    with pytest.raises(ea.DataError) as caught:
        ea.Scenario.random_pool(0, network="wify", seed=-1)
    assert {fault.field for fault in caught.value.faults} == {"devices", "network", "seed"}


def test_the_smart_home() -> None:
    """No device trains the model alone, a pipeline of some does, and every assumption is about a key of the file."""
    scenario = ea.Scenario.load(EXAMPLES / "smart_home.toml")
    problem = scenario.problem()
    for i in range(problem.devices):
        alone = ea.Plan("single", ((i,),), (problem.layers,), ((problem.batch,),))
        assert problem.violations(alone)["memory_bytes"] > 0.0
    half = (problem.micro_batch,)
    plan = ea.Plan("pipeline", ((0,), (1,), (2,), (3,)), (8, 9, 9, 10), (half,) * 4)
    assert problem.violations(plan)["memory_bytes"] == 0.0
    costs = problem.evaluate(plan)
    assert np.isfinite(costs.objective)
    assert costs.bound_s <= costs.time_s
    paths = {row.path for row in scenario.table()}
    general = paths | {".".join(part for part in path.split(".") if not part.isdigit()) for path in paths}
    assert set(scenario.assumptions()) <= general
    assert "assumptions" in marks_line(scenario.table())
    assert problem.diagnose() is None
