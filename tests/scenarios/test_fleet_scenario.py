"""Claims about fine-tuning scenarios: the problem is what the file says, by hand; nothing is lost in a file."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgealloc as ea
from edgealloc.catalog import default_catalog
from edgealloc.catalog.tuning_facts import quality_rows, steps_rows
from edgealloc.core.constraints import Diagnosis
from edgealloc.scenarios.fine_tuning.schema import EPOCHS, ZEROTH_ORDER_STEPS
from edgealloc.scenarios.report import limit_lines, marks_line, reference_lines, sources
from edgealloc.system.tuning import TUNING_METHODS, tuning_memory, tuning_step_flops

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "scenarios"
RAW: dict[str, Any] = {
    "problem": "fine-tuning",
    "version": 1,
    "name": "two groups",
    "model": {"name": "opt-125m", "batch": 4, "tokens": 64, "epochs": 3, "memory_overhead": "100 MB"},
    "methods": [
        {"method": "full-adam", "place": "server"},
        {"method": "lora", "name": "lora-r4", "rank": 4, "quality": 0.7},
        {"method": "mezo", "steps": 999},
        {"method": "mezo-lora"},
    ],
    "jobs": [
        {
            "name": "board", "count": 2, "device": "jetson-orin-nano-8gb", "utilisation": 0.25, "samples": 101,
            "memory_reserved": "1 GB", "memory_share": 0.5, "quality": {"full-adam": 0.9}, "quality_floor": 0.6,
            "deadline": "2 h", "rounds": 7,
        },
        {
            "flops_per_s": "1 TFLOP/s", "memory": "9 GB", "power": "20 W", "model": "gpt2-small", "batch": 2,
            "tokens": 32, "steps": 50, "data": "3 MB", "steps_of": {"lora-r4": 11}, "battery": "5 kJ",
            "transmit_power": "2 W", "uplink": "1 Mbit/s", "uplink_to": {"den": "8 Mbit/s"},
        },
    ],
    "servers": [
        {"name": "den", "count": 2, "device": "l4", "accelerators": 2, "slots": 3, "utilisation": 0.5,
         "memory_share": 0.75, "horizon": "2 h", "airtime": "10 min"},
        {"name": "box", "flops_per_s": 5e12, "memory": 4e9, "power": 50},
    ],
    "radio": {"uplink": "4 Mbit/s", "downlink": "5 Mbit/s", "transmit_power": "1 W"},
    "limits": {"deadline": "1 h"},
    "sources": {"jobs.quality": "our own test set"},
    "assumptions": {"methods.quality": "a guess"},
}  # fmt: skip


def fleet(**changes: Any) -> ea.Scenario:
    return ea.Scenario.from_mapping({**copy.deepcopy(RAW), **changes})


def same(one: Any, other: Any) -> None:
    """Every field of two problems is the same, bit for bit."""
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "weights":
            assert dataclasses.asdict(a) == dataclasses.asdict(b)
        else:
            np.testing.assert_array_equal(a, b)


def test_devices_servers_and_links_by_hand() -> None:
    """Rates, memory, powers, limits and links, from the file's own words."""
    problem = fleet().fine_tuning()
    assert problem.job_names == ("board-1", "board-2", "job-group-1")
    assert problem.server_names == ("den-1", "den-2", "box")
    assert problem.method_names == ("full-adam", "lora-r4", "mezo", "mezo-lora")
    np.testing.assert_allclose(problem.device_flops_per_s, [0.25 * 2.56e12, 0.25 * 2.56e12, 1e12])
    np.testing.assert_allclose(problem.device_memory_bytes, [3.5e9, 3.5e9, 4.5e9])
    np.testing.assert_allclose(problem.device_power_w, [15.0, 15.0, 20.0])
    np.testing.assert_allclose(problem.transmit_power_w, [1.0, 1.0, 2.0])
    np.testing.assert_allclose(problem.data_bytes, [101 * 64 * 4, 101 * 64 * 4, 3e6])
    np.testing.assert_allclose(problem.rounds, [7, 7, 0])
    np.testing.assert_allclose(problem.quality_floor, [0.6, 0.6, 0.0])
    np.testing.assert_allclose(problem.deadline_s, [7200.0, 7200.0, 3600.0])
    np.testing.assert_allclose(problem.energy_limit_j, [math.inf, math.inf, 5000.0])
    # two L4 of 121 TFLOP/s, 24 GB and 72 W, for three jobs at a time
    np.testing.assert_allclose(problem.server_flops_per_s, [2 * 0.5 * 121e12 / 3] * 2 + [5e12])
    np.testing.assert_allclose(problem.server_power_w, [2 * 72 / 3] * 2 + [50.0])
    np.testing.assert_allclose(problem.server_memory_bytes, [0.75 * 48e9] * 2 + [0.9 * 4e9])
    np.testing.assert_allclose(problem.server_busy_s, [3 * 7200.0] * 2 + [math.inf])
    np.testing.assert_allclose(problem.airtime_s, [600.0] * 2 + [math.inf])
    np.testing.assert_allclose(problem.uplink_bps, [[4e6] * 3, [4e6] * 3, [8e6, 8e6, 1e6]])
    np.testing.assert_allclose(problem.downlink_bps, 5e6)
    assert not problem.on_device[:, 0].any()
    assert problem.on_device[:, 1:].all()
    assert problem.on_server.all()


def test_work_memory_and_messages_by_hand() -> None:
    """Steps times the work of a step, memory with the overhead, and what a round of a federation sends."""
    problem = fleet().fine_tuning()
    catalog = default_catalog()
    first = math.ceil(3 * 101 / 4)
    steps = np.array([[first, first, 999, 32 * first]] * 2 + [[50, 11, 999, 32 * 50]], dtype=float)
    names = ("full-adam", "lora", "mezo", "mezo-lora")
    for i, (model, batch, tokens) in enumerate([("opt-125m", 4, 64)] * 2 + [("gpt2-small", 2, 32)]):
        entry = catalog.model(model)
        for k, name in enumerate(names):
            tuning = dataclasses.replace(TUNING_METHODS[name], rank=4) if name == "lora" else TUNING_METHODS[name]
            shape = entry.transformer()
            each = float(tuning_step_flops(shape, tuning, batch, tokens, family=entry.family))
            memory = tuning_memory(shape, tuning, batch, tokens, family=entry.family)
            assert problem.work_flops[i, k] == pytest.approx(steps[i, k] * each)
            assert problem.memory_bytes[i, k] == pytest.approx(float(memory.total_bytes) + 1e8)
    h, layers, trained = 768, 12, 125239296
    lora = layers * 2 * 4 * (h + h)
    np.testing.assert_allclose(problem.result_bytes[0], [2 * trained, 2 * lora, 2 * trained, 2 * 2 * lora])
    # seeds and scalars of 12 B for every step of a round, rounded up
    per_round = [math.ceil(999 / 7) * 12, math.ceil(32 * first / 7) * 12]
    np.testing.assert_allclose(problem.message_bytes[0], [2 * trained, 2 * lora, *per_round])
    np.testing.assert_allclose(problem.message_bytes[2], 0.0)


def test_quality_and_where_it_is_from() -> None:
    """The job's number, then a published one, then the method's; where nobody knows any, it does not count."""
    scenario = fleet()
    problem = scenario.fine_tuning()
    np.testing.assert_allclose(problem.quality, [[0.9, 0.7, 0, 0], [0.9, 0.7, 0, 0], [0, 0.7, 0, 0]])
    rows = {row.path: row for row in scenario.table()}
    assert (rows["fleet.board.full-adam.quality"].mark, rows["fleet.board.full-adam.quality"].source) == (
        "cited", "our own test set")  # fmt: skip
    assert (rows["fleet.board.lora-r4.quality"].mark, rows["fleet.board.lora-r4.quality"].source) == (
        "assumption", "a guess")  # fmt: skip
    assert rows["fleet.board.mezo.quality"].value is None
    assert rows["fleet.board.mezo.quality"].shown == "unknown"
    raw = copy.deepcopy(RAW)
    raw["jobs"][0] |= {"task": "SST-2", "quality_model": "opt-13b"}
    raw["jobs"][1] |= {"quality": {}}
    raw["methods"][1].pop("quality")
    problem = ea.Scenario.from_mapping(raw).fine_tuning()
    published = {row.method: row.quality for row in quality_rows() if (row.model, row.task) == ("opt-13b", "SST-2")}
    assert problem.quality[0].tolist() == [0.9, 0.0, published["mezo"], published["mezo-lora"]]
    assert published["mezo"] == pytest.approx(0.914)  # MeZO, table 1
    assert (problem.quality[2] == 0.0).all()
    assert problem.quality_weight.tolist() == [10.0, 10.0, 0.0]
    lines = limit_lines(ea.Scenario.from_mapping(raw), problem)
    assert any("job-group-1: nobody has published" in line for line in lines)
    assert any("board: quality unknown, and counted as 0, of lora-r4" in line for line in lines)


def test_a_base_in_another_format_is_another_method() -> None:
    """What was published for adapters on a half-precision base says nothing of one in 4 bits."""
    raw = copy.deepcopy(RAW)
    raw["jobs"] = [{"device": "l4", "model": "bert-large-uncased", "task": "SST-2", "quality_model": "roberta-large",
                    "samples": 8}]  # fmt: skip
    raw["methods"] = [{"method": "lora"}, {"method": "lora", "name": "coarse", "precision": "nf4"}]
    quality = ea.Scenario.from_mapping(raw).fine_tuning().quality[0]
    assert quality[0] == pytest.approx(0.942)  # MeZO, table 18
    assert quality[1] == 0.0
    # QLoRA, tables 3 and 4: int8 has a number of its own, fp4 is not nf4
    raw["jobs"][0] |= {"task": "GLUE"}
    raw["methods"] = [{"method": "lora", "precision": "int8"}, {"method": "qlora"}, {"method": "full-adam"}]
    assert ea.Scenario.from_mapping(raw).fine_tuning().quality[0] == pytest.approx([0.888, 0.0, 0.886])
    raw["jobs"][0] |= {"task": "MMLU after Alpaca", "quality_model": "llama-7b"}
    raw["methods"] = [{"method": "lora"}, {"method": "qlora"}, {"method": "lora", "name": "b", "precision": "nf4"}]
    assert ea.Scenario.from_mapping(raw).fine_tuning().quality[0] == pytest.approx([0.384, 0.39, 0.39])


def test_the_reference_of_the_weights() -> None:
    """Time and energy of every job's fastest option, whatever its limits, found by a plain loop."""
    problem = fleet().fine_tuning()
    seconds, joules = [], []
    for i in range(problem.jobs):
        options = []
        for k in range(problem.tunings):
            for s in range(-1, problem.servers):
                if not (problem.on_device if s < 0 else problem.on_server)[i, k]:
                    continue
                home = int(np.argmax(problem.uplink_bps[i])) if s < 0 else s
                message = problem.rounds[i] * problem.message_bytes[i, k]
                up = 8 * (message if s < 0 else problem.data_bytes[i]) / problem.uplink_bps[i, home]
                down = 8 * (message if s < 0 else problem.result_bytes[i, k]) / problem.downlink_bps[i, home]
                rate = problem.device_flops_per_s[i] if s < 0 else problem.server_flops_per_s[s]
                power = problem.device_power_w[i] if s < 0 else problem.server_power_w[s]
                work = problem.work_flops[i, k] / rate
                options.append((work + up + down, power * work + problem.transmit_power_w[i] * up))
        best = min(options)
        seconds.append(best[0])
        joules.append(best[1])
    assert problem.weights.reference == pytest.approx({"delay": np.mean(seconds), "energy": np.mean(joules)})
    given = fleet(weights={"reference": {"delay": 5.0}}).fine_tuning().weights.reference
    assert given == pytest.approx({"delay": 5.0, "energy": np.mean(joules)})
    own = fleet().fine_tuning(weights=ea.Weights(2.0, 0.0, 0.0, {"delay": 1.0, "energy": 1.0}))
    assert own.weights.reference == {"delay": 1.0, "energy": 1.0}


def test_defaults_are_the_published_ones() -> None:
    """Steps of zeroth order per step of first order, and the epochs of first order, are those of the MeZO paper."""
    facts = {row.name: row for row in steps_rows()}
    assert facts["mezo-opt-30b-ratio"].steps_ratio == ZEROTH_ORDER_STEPS
    first, zeroth = facts["mezo-opt-ft-steps"], facts["mezo-opt-steps"]
    assert first.steps == EPOCHS * (first.examples or 0) / (first.batch or 1)
    assert zeroth.steps == ZEROTH_ORDER_STEPS * (first.steps or 0)


def test_what_is_drawn() -> None:
    """Devices, samples and rates are drawn in their ranges, per job; one more group leaves the draws alone."""
    raw = copy.deepcopy(RAW)
    raw["jobs"] = [{"name": "phone", "count": 200, "device": {"snapdragon-8-gen-3": 3, "apple-a17-pro": 1},
                    "samples": [10, 20], "uplink_to": {"box": ["1 Mbit/s", "2 Mbit/s"]}}]  # fmt: skip
    raw["radio"] = {"uplink": ["5 Mbit/s", "6 Mbit/s"], "downlink": ["7 Mbit/s", "9 Mbit/s"]}
    problem = ea.Scenario.from_mapping(raw).fine_tuning()
    share = (problem.device_memory_bytes == 0.5 * 16e9).mean()
    assert 0.6 < share < 0.9
    assert set(problem.data_bytes / 256) == set(range(10, 21))
    assert ((problem.uplink_bps[:, :2] >= 5e6) & (problem.uplink_bps[:, :2] <= 6e6)).all()
    assert ((problem.uplink_bps[:, 2] >= 1e6) & (problem.uplink_bps[:, 2] <= 2e6)).all()
    assert np.unique(problem.uplink_bps).size == 600
    assert problem.downlink_bps.min() >= 7e6
    raw["jobs"].append({"name": "other", "device": "l4", "samples": 5})
    more = ea.Scenario.from_mapping(raw).fine_tuning()
    np.testing.assert_array_equal(more.uplink_bps[:200], problem.uplink_bps)
    np.testing.assert_array_equal(more.work_flops[:200], problem.work_flops)
    raw["seed"] = 1
    assert (ea.Scenario.from_mapping(raw).fine_tuning().uplink_bps[:200] != problem.uplink_bps).all()


def test_options_of_methods_reach_the_numbers() -> None:
    """[model] says it for all methods, [[methods]] for one."""
    raw = copy.deepcopy(RAW)
    raw["methods"] = [
        {"method": "full-adam"}, {"method": "full-adam", "name": "again", "checkpointing": True},
        {"method": "lora", "precision": "nf4"}, {"method": "lora", "name": "wide", "rank": 64},
    ]  # fmt: skip
    raw["jobs"][0]["quality"], raw["jobs"][1]["steps_of"] = {}, {}
    plain = ea.Scenario.from_mapping(raw).fine_tuning()
    assert plain.memory_bytes[0, 1] < plain.memory_bytes[0, 0]
    assert plain.work_flops[0, 1] > plain.work_flops[0, 0]
    assert plain.memory_bytes[0, 2] < plain.memory_bytes[0, 3]
    raw["model"] |= {"checkpointing": True, "optimizer_states": "bf16-adam"}
    again = ea.Scenario.from_mapping(raw).fine_tuning()
    assert again.work_flops[0, 0] == again.work_flops[0, 1] == plain.work_flops[0, 1]
    trained = 125239296
    assert plain.memory_bytes[0, 1] - again.memory_bytes[0, 1] == pytest.approx(8.0 * trained)


def test_methods_that_a_model_has_not_are_out() -> None:
    """Llama has no biases: BitFit is out for its jobs, and stays for others."""
    raw = copy.deepcopy(RAW)
    raw["methods"] = [{"method": "bitfit"}, {"method": "lora"}]
    raw["jobs"][0]["quality"] = raw["jobs"][1]["steps_of"] = {}
    raw["jobs"][0]["model"] = "llama3.2-1b"
    scenario = ea.Scenario.from_mapping(raw)
    problem = scenario.fine_tuning()
    assert problem.on_device[:, 0].tolist() == problem.on_server[:, 0].tolist() == [False, False, True]
    row = next(one for one in scenario.table() if one.path == "fleet.board.bitfit")
    assert (row.value, row.source) == (None, "the model has no biases")


def test_without_servers() -> None:
    """Devices alone need neither radio nor data; all methods are there where none is named."""
    raw = {"problem": "fine-tuning", "version": 1, "jobs": [{"device": "t4", "model": "gpt2-small", "steps": 10}]}
    scenario = ea.Scenario.from_mapping(raw)
    problem = scenario.problem()
    assert (problem.jobs, problem.servers, problem.method_names) == (1, 0, tuple(TUNING_METHODS))
    assert problem.job_names == ("job",)
    assert (scenario.jobs, scenario.servers) == (1, 0)
    assert scenario.table()
    assert "beside" not in scenario.describe()
    with pytest.raises(ea.DataError, match="has jobs and servers, no devices"):
        _ = scenario.devices


def test_save_and_load(tmp_path: Path) -> None:
    """A written file gives the same problem, with and without explanations."""
    for scenario in (fleet(), ea.Scenario.random_fleet(9, 2, seed=3), ea.Scenario.load(EXAMPLES / "field_teams.toml")):
        for comments in (True, False):
            path = scenario.save(tmp_path / "fleet.toml", comments=comments)
            same(ea.Scenario.load(path).problem(), scenario.problem())
            assert ea.Scenario.load(path).mapping() == scenario.mapping()
        text = scenario.save(tmp_path / "fleet.toml").read_text(encoding="utf-8")
        assert "# sequences of training data, or [low, high]" in text


def test_random_fleets() -> None:
    """Seeded; every job has an option; arguments are checked, all at once."""
    one = ea.Scenario.random_fleet(40, 3, seed=5)
    same(one.problem(), ea.Scenario.random_fleet(40, 3, seed=5).problem())
    assert (one.jobs, one.servers, one.kind) == (40, 3, "fine-tuning")
    for seed in range(5):
        allowed = ea.Scenario.random_fleet(200, 3, seed=seed).fine_tuning().options.allowed
        assert allowed.any(axis=(1, 2)).all()
        assert 0.1 < allowed.mean() < 0.9
    assert ea.Scenario.random_fleet(1, 0).fine_tuning().servers == 0
    assert ea.Scenario.random_fleet(3, 1, "gpt2-small", checkpointing=True).problem().jobs == 3
    with pytest.raises(ea.DataError) as error:
        ea.Scenario.random_fleet(0, -1, seed=1.5)  # type: ignore[arg-type]
    assert len(error.value.faults) == 3


def test_every_number_says_where_it_is_from() -> None:
    """Defaults that were published, assumptions of ours, catalog marks; nothing is left without a mark."""
    scenario = fleet()
    rows = {row.path: row for row in scenario.table()}
    assert len(rows) == len(scenario.table())
    assert all(row.mark for row in rows.values())
    assert rows["model.zeroth_order_steps"].mark == "seen"
    assert "2305.17333" in rows["model.zeroth_order_steps"].source
    assert rows["model.epochs"].mark == "file"
    assert rows["devices.l4.flops_per_s"].mark == "derived"
    assert rows["jobs.1.uplink_to.den"].value == 8e6
    assert rows["fleet.board.mezo.steps"].value == 999.0
    assumed = scenario.assumptions()
    assert {"jobs.1.memory_share", "servers.1.memory_share", "model.bytes_per_token"} <= assumed.keys()
    assert "radio.transmit_power" not in assumed
    assert "jobs.0.memory_share" not in assumed
    assert rows["jobs.1.memory_share"].mark == "assumption"
    assert "assumptions" in marks_line(scenario.table())
    assert {name for name, _ in sources(scenario)} == {"opt-125m", "gpt2-small", "jetson-orin-nano-8gb", "l4"}
    assert "as the file says" not in " ".join(reference_lines(scenario, scenario.problem()))


def test_qualities_of_another_model_are_an_assumption() -> None:
    raw = copy.deepcopy(RAW)
    raw["jobs"][0] |= {"task": "SST-2", "quality_model": "opt-13b"}
    scenario = ea.Scenario.from_mapping(raw)
    assert "what was published for opt-13b" in scenario.assumptions()["jobs.0.quality_model"]
    raw["assumptions"]["jobs.quality_model"] = "ours"
    assert "jobs.0.quality_model" not in ea.Scenario.from_mapping(raw).assumptions()


def test_repairs_name_keys_of_the_file() -> None:
    """Every field of a diagnosis becomes a key, and the file with it has the field's value or more."""
    scenario = fleet()
    problem = scenario.fine_tuning()
    wanted = {
        "device_memory_bytes": problem.device_memory_bytes * np.array([1.0, 1.5, 3.0]),
        "deadline_s": problem.deadline_s * np.array([1.0, 1.0, 2.0]),
        "energy_limit_j": np.array([np.inf, np.inf, 7000.0]),
        "quality_floor": np.array([0.6, 0.51234567, 0.0]),
        "server_memory_bytes": problem.server_memory_bytes * np.array([1.0, 1.2, 5.0]),
        "server_busy_s": np.array([30000.0, 1.0, np.inf]),
        "airtime_s": np.array([600.0, 700.0, np.inf]),
    }
    changes = {change.path: change.value for change in scenario.repair(Diagnosis((), wanted))}
    assert changes == pytest.approx({
        "jobs.0.memory_share": 0.75, "jobs.1.memory": 27e9, "jobs.1.deadline": 7200.0, "jobs.1.battery": 7000.0,
        "jobs.0.quality_floor": 0.51234, "servers.0.memory_share": 0.9, "servers.1.memory": 2e10,
        "servers.0.horizon": 10000.0, "servers.0.airtime": 700.0,
    }, rel=1e-4)  # fmt: skip
    mended = scenario.changed(changes).fine_tuning()
    for name in ("device_memory_bytes", "deadline_s", "energy_limit_j", "server_memory_bytes", "server_busy_s"):
        assert (getattr(mended, name) >= wanted[name] * (1.0 - 1e-12)).all(), name
    assert (mended.quality_floor <= wanted["quality_floor"]).all()
    (nothing,) = scenario.repair(Diagnosis((), {"uplink_bps": 1.0}))
    assert nothing.path == ""


@pytest.mark.parametrize("harm", [
    {"limits.deadline": 0.03, "jobs.0.deadline": 0.02},
    {"jobs.0.quality_floor": 0.97, "jobs.1.quality_floor": 0.99},
    {"jobs.0.memory_share": 0.01, "servers.0.memory_share": 0.001, "servers.1.memory": 1e6},
    {"jobs.1.battery": 0.1, "jobs.1.place": "device"},
    {"jobs.0.place": "server", "servers.0.horizon": 1e-3, "servers.1.horizon": 1e-3},
    {"jobs.0.place": "server", "jobs.0.uplink": 0.0, "jobs.0.rounds": 0},
    {"jobs.0.place": "device", "jobs.0.uplink": 0.0},
    {"jobs.0.place": "server", "servers.0.airtime": 0.01, "servers.1.airtime": 0.01, "jobs.0.count": 9},
])  # fmt: skip
def test_a_repaired_file_is_feasible(harm: dict[str, Any]) -> None:
    """What `edgealloc check` tells to write into the file makes it feasible: every job has an option then."""
    scenario = fleet().changed(harm)
    diagnosis = scenario.fine_tuning().diagnose()
    solution = scenario.fine_tuning().solve() if diagnosis is None else None
    diagnosis = diagnosis if solution is None else solution.diagnosis
    assert diagnosis is not None
    mended = scenario.changed({change.path: change.value for change in scenario.repair(diagnosis)})
    solution = mended.fine_tuning().solve()
    assert solution.diagnosis is None
    assert solution.allocation is not None


def test_keys_can_be_swept() -> None:
    """Keys of the file change by their paths, as a sweep changes them."""
    scenario = fleet()
    assert scenario.changed({"jobs.0.count": 5}).fine_tuning().jobs == 6
    assert scenario.changed({"servers.0.horizon": "none"}).fine_tuning().server_busy_s[0] == math.inf
    assert scenario.changed({"limits.deadline": 60}).fine_tuning().deadline_s.tolist() == [7200.0, 7200.0, 60.0]


def test_other_kinds_are_told_apart() -> None:
    with pytest.raises(ea.DataError, match=r"is 'fine-tuning', not 'split-training'; use scenario.fine_tuning\(\)"):
        fleet().split_training()
    with pytest.raises(ea.DataError, match="is 'pool-training', not 'fine-tuning'"):
        ea.Scenario.random_pool(3).fine_tuning()


def test_the_example() -> None:
    """Every job of the example has an option, some of them on their devices and some at servers only."""
    scenario = ea.Scenario.load(EXAMPLES / "field_teams.toml")
    problem = scenario.fine_tuning()
    allowed = problem.options.allowed
    assert allowed.any(axis=(1, 2)).all()
    assert not allowed[:, :, 1:][problem.rounds > 0].any()
    assert problem.diagnose() is None
    assert set(scenario.assumptions()) == set(scenario.document.assumptions)
