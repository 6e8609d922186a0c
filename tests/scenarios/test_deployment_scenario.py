"""Claims about deployment scenarios: the problem is what the file says, by hand; nothing is lost in a file."""

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
from edgealloc.catalog.compression_facts import rate, variant
from edgealloc.scenarios.deployment.schema import SCHEMA
from edgealloc.scenarios.deployment.variants import shifted
from edgealloc.scenarios.report import limit_lines, marks_line, reference_lines, sources
from edgealloc.system.inference import Machine, Work, decode_token_seconds

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "scenarios" / "clinic.toml"
RAW: dict[str, Any] = {
    "problem": "deployment",
    "version": 1,
    "name": "two groups",
    "variants": [
        {"model": "llama3.2-1b", "formats": ["Q4_K_M", "q8_0"]},
        {"model": "qwen2.5-0.5b", "name": "tiny", "size": "300 MB", "accuracy": 0.5,
         "hallucination": {"simple": 0.1, "hard": 0.4}},
        {"model": "llama3.2-1b", "formats": ["executorch-int4"], "name": "tuned", "accuracy": 0.45,
         "hallucination": 0.2},
    ],
    "classes": [
        {"name": "simple", "rate": "36/h", "benchmark": "piqa", "prompt_tokens": 20, "answer_tokens": 30,
         "deadline": "9 s"},
        {"name": "hard", "rate": "3.6/h", "prompt_tokens": 200, "answer_tokens": 100, "difficulty": 1.0,
         "prompt": "2 kB", "accuracy_floor": 0.2, "hallucination_ceiling": 0.9},
    ],
    "devices": [
        {"name": "phone", "count": 2, "device": "snapdragon-8-gen-3", "memory_share": 0.25, "memory_reserved": "4 GB",
         "activity": 2.0, "speed": {"tiny": "80 token/s"}, "prompt_speed": {"tiny": 400},
         "energy_per_token": {"tiny": 0.05}},
        {"device": "raspberry-pi-5-8gb", "memory": "1 GB", "power": "6 W", "queries": {"hard": 0},
         "variants": ["tiny", "tuned"], "transmit_power": "2 W", "round_trip": "50 ms", "uplink": "1 Mbit/s",
         "uplink_to": {"den": 0}},
    ],
    "servers": [
        {"name": "den", "count": 2, "device": "l4", "accelerators": 3, "model": "llama3.1-8b", "format": "int4-g128",
         "batch": 4, "load_limit": 0.5, "power": "100 W", "accuracy": {"simple": 0.9, "hard": 0.8},
         "hallucination": 0.05},
        {"device": "t4", "model": "llama3.2-1b", "batch": 2, "speed": "60 token/s", "prompt_speed": 1000,
         "airtime": 0.2},
    ],
    "network": {"uplink": "4 Mbit/s", "downlink": "5 Mbit/s", "transmit_power": "1 W", "round_trip": 0.01,
                "bytes_per_token": 5},
    "metrics": {"usable_speed": "8 token/s"},
    "weights": {"delay": 2, "energy": 3, "hallucination": 4, "accuracy": 5, "accessibility": 6,
                "reference": {"delay": 0.5, "energy": 10}},
    "limits": {"energy": "40 J", "hallucination": 0.3, "accuracy": 0.6, "accessibility": 0.5, "device_load": 0.8},
    "sources": {"variants.1.accuracy": "our own test set", "variants.hallucination": "our own test set"},
    "assumptions": {"variants.accuracy": "a guess", "servers.accuracy": "a guess", "servers.hallucination": "a guess"},
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


def decoding(work: Work, machine: Machine, prompt: int, answer: int, batch: int = 1) -> float:
    """Token by token: the loop that the closed form stands for."""
    return float(sum(decode_token_seconds(work, machine, prompt + k, batch) for k in range(1, answer + 1)))


def prefill(work: Work, machine: Machine, prompt: int) -> float:
    """The roofline of a prompt, written out."""
    flops = 2.0 * work.active_params * prompt + work.attention_flops_per_token * prompt * (prompt + 1) / 2.0
    return max(flops / (machine.eta_flops * machine.flops_per_s),
               work.read_bytes / (machine.eta_bandwidth * machine.bandwidth_bytes_per_s))  # fmt: skip


def test_devices_classes_and_links_by_hand() -> None:
    """Memory, rates, limits and links, from the file's own words."""
    problem = fleet().deployment()
    assert problem.device_names == ("phone-1", "phone-2", "device-group-1")
    assert problem.server_names == ("den-1", "den-2", "t4")
    assert problem.variant_names == ("llama3.2-1b-Q4_K_M", "llama3.2-1b-Q8_0", "tiny", "tuned")
    assert problem.class_names == ("simple", "hard")
    np.testing.assert_allclose(problem.device_memory_bytes, [3e9, 3e9, 0.5e9])
    np.testing.assert_allclose(problem.query_rate_per_s, [[0.02, 0.002], [0.02, 0.002], [0.01, 0.0]])
    np.testing.assert_allclose(problem.transmit_power_w, [1.0, 1.0, 2.0])
    np.testing.assert_allclose(problem.deadline_s, [[9.0, math.inf]] * 3)
    np.testing.assert_allclose(problem.accuracy_floor, [[0.0, 0.2]] * 3)
    np.testing.assert_allclose(problem.hallucination_ceiling, [[1.0, 0.9]] * 3)
    np.testing.assert_allclose(problem.prompt_bytes, [100.0, 2000.0])
    np.testing.assert_allclose(problem.answer_bytes, [150.0, 500.0])
    np.testing.assert_allclose(problem.uplink_bps, [[4e6] * 3, [4e6] * 3, [0.0, 0.0, 1e6]])
    np.testing.assert_allclose(problem.downlink_bps, 5e6)
    np.testing.assert_allclose(problem.round_trip_s, [[0.01] * 3, [0.01] * 3, [0.05] * 3])
    np.testing.assert_allclose(problem.load_limit, [0.5, 0.5, 0.9])
    np.testing.assert_allclose(problem.airtime_limit, [math.inf, math.inf, 0.2])
    assert problem.usable_tokens_per_s == 8.0
    assert problem.device_load_limit == 0.8
    limits = (problem.energy_limit_j, problem.hallucination_limit, problem.error_limit, problem.inaccessible_limit)
    np.testing.assert_allclose([float(one) for one in limits], [40.0, 0.3, 0.4, 0.5])
    assert problem.runs[:2].all()
    assert problem.runs[2].tolist() == [False, False, True, True]
    terms = (problem.hallucination_weight, problem.error_weight, problem.inaccessible_weight)
    assert [float(one) for one in terms] == [4.0, 5.0, 6.0]
    assert (problem.delay_weight, problem.energy_weight) == pytest.approx((2 / 0.5, 3 / 10))


def test_variants_by_hand() -> None:
    """Bytes, accuracy and hallucination rates of variants: published, given, and at a difficulty."""
    problem = fleet().deployment()
    catalog = default_catalog()
    kv = 2 * 2 * 16 * 8 * 64  # keys and values, half precision, layers, heads, width
    four, eight = variant("llama3.2-1b", "Q4_K_M"), variant("llama3.2-1b", "Q8_0")
    np.testing.assert_allclose(problem.memory_bytes[:2], [one.weight_bytes + 300 * kv for one in (four, eight)])
    tiny = catalog.model("qwen2.5-0.5b")
    np.testing.assert_allclose(problem.memory_bytes[2], 3e8 + 300 * 2 * 2 * tiny.layers * tiny.kv_heads * tiny.head_dim)
    simple, medium = four.class_accuracy["simple"], four.class_accuracy["medium"]
    assert simple is not None
    assert medium is not None
    odds = medium.value / (1.0 - medium.value) / math.e
    np.testing.assert_allclose(problem.accuracy[0], [simple.value, odds / (1.0 + odds)])
    # one number for all is shifted; numbers by class are left alone
    np.testing.assert_allclose(problem.accuracy[2], [0.5, 1.0 / (1.0 + math.e)])
    np.testing.assert_allclose(problem.hallucination[2], [0.1, 0.4])
    np.testing.assert_allclose(problem.hallucination[3], [0.2, 0.25 * math.e / (1.0 + 0.25 * math.e)])
    np.testing.assert_allclose(problem.server_accuracy, [[0.9, 0.8]] * 2 + [problem.server_accuracy[2]])
    whole = variant("llama3.2-1b", "f16").class_accuracy["simple"]
    assert whole is not None
    assert problem.server_accuracy[2, 0] == whole.value


def test_speed_on_devices_by_hand() -> None:
    """Delay and energy by the roofline token by token, by measured rows, and by the file's own numbers."""
    problem = fleet().deployment()
    for v, name, framework in ((0, "Q4_K_M", "llama.cpp-cpu"), (1, "Q8_0", "llama.cpp-cpu"),
                               (3, "executorch-int4", "executorch-cpu")):  # fmt: skip
        for i, device in ((0, "snapdragon-8-gen-3"), (2, "raspberry-pi-5-8gb")):
            found = rate(variant("llama3.2-1b", name), device, framework)
            power = 6.0 if i == 2 else found.machine.power_w
            for c, (prompt, answer) in enumerate(((20, 30), (200, 100))):
                seconds = prefill(found.work, found.machine, prompt)
                seconds += decoding(found.work, found.machine, prompt, answer)
                assert problem.local_delay_s[i, v, c] == pytest.approx(seconds)
                assert problem.local_energy_j[i, v, c] == pytest.approx(power * seconds)
            slowest = 1.0 / decode_token_seconds(found.work, found.machine, 300)
            assert problem.tokens_per_s[i, v] == pytest.approx(slowest)
    # a measured row of the catalog: 50 token/s at a short context
    assert 45.0 < problem.tokens_per_s[0, 3] < 50.2
    # measured by the user: 80 token/s at a short context, prompts 400 token/s, 50 mJ a token
    assert 70.0 < problem.tokens_per_s[0, 2] < 80.0
    delay = problem.local_delay_s[0, 2]
    assert 20 / 400 + 30 / 80 < delay[0] < 1.05 * (20 / 400 + 30 / 80)
    plain = rate(variant("qwen2.5-0.5b", "f16"), "snapdragon-8-gen-3", "llama.cpp-cpu").machine.power_w
    np.testing.assert_allclose(problem.local_energy_j[0, 2], [plain * 20 / 400 + 1.5, plain * 200 / 400 + 5.0])


def test_servers_by_hand() -> None:
    """Time of a server and of a query in a batch, on several accelerators and with measured speeds."""
    problem = fleet().deployment()
    found = rate(variant("llama3.1-8b", "int4-g128"), "l4", "server-gpu")
    for c, (prompt, answer) in enumerate(((20, 30), (200, 100))):
        first = prefill(found.work, found.machine, prompt)
        batch = decoding(found.work, found.machine, prompt, answer, 4)
        np.testing.assert_allclose(problem.service_s[:2, c], first + batch)
        np.testing.assert_allclose(problem.busy_s[:2, c], (first + batch / 4) / 3)
        np.testing.assert_allclose(problem.server_energy_j[:2, c], 100.0 * (first + batch / 4))
        # two at a time make 60 token/s together, a little less as contexts grow
        assert prompt / 1000 + answer / 60 < problem.busy_s[2, c] < prompt / 1000 + 1.05 * answer / 60
        assert prompt / 1000 + answer / 30 < problem.service_s[2, c] < prompt / 1000 + 1.05 * answer / 30
        assert problem.server_energy_j[2, c] == pytest.approx(70.0 * problem.busy_s[2, c])


def test_weights_are_relative_to_the_fastest_answers() -> None:
    """The default reference, from the problem's own arrays, one query at a time."""
    problem = fleet(weights={}, limits={}).deployment()
    seconds, joules, total = 0.0, 0.0, 0.0
    for i in range(3):
        for c in range(2):
            ways = [(problem.local_delay_s[i, v, c], problem.local_energy_j[i, v, c])
                    for v in range(4) if problem.runs[i, v]]  # fmt: skip
            for s in range(3):
                if problem.uplink_bps[i, s] > 0.0:
                    up = 8.0 * problem.prompt_bytes[c] / problem.uplink_bps[i, s]
                    down = 8.0 * problem.answer_bytes[c] / problem.downlink_bps[i, s]
                    time = up + down + problem.round_trip_s[i, s] + problem.service_s[s, c]
                    ways.append((time, problem.transmit_power_w[i] * up + problem.server_energy_j[s, c]))
            time, energy = min(ways)
            share = problem.query_rate_per_s[i, c]
            seconds, joules, total = seconds + share * time, joules + share * energy, total + share
    assert problem.weights.reference == pytest.approx({"delay": seconds / total, "energy": joules / total})
    # limits leave it alone, and a caller's weights are relative to it, too
    limited = fleet(weights={}).deployment()
    assert limited.weights.reference == problem.weights.reference
    own = fleet(weights={}).deployment(ea.Weights(7.0, 0.0, 0.0))
    assert own.delay_weight == pytest.approx(7.0 * total / seconds)


def test_draws_are_in_range_and_stay_put() -> None:
    """What is drawn lies between its ends; another line of the file leaves it alone; a seed makes it again."""
    group = {"name": "p", "count": 400, "device": {"snapdragon-8-gen-2": 3, "snapdragon-8-gen-3": 1},
             "activity": [0.5, 2.0], "uplink": [1e6, 9e6], "uplink_to": {"t4": [2e6, 3e6]}}  # fmt: skip
    one = fleet(devices=[group], limits={}).deployment()
    per_device = one.query_rate_per_s[:, 0] / 0.01
    assert 0.5 <= per_device.min() < 0.52
    assert 1.98 < per_device.max() <= 2.0
    assert 0.18 < np.mean(one.device_memory_bytes == 8e9) < 0.32
    assert one.uplink_bps[:, :2].min() >= 1e6
    assert one.uplink_bps[:, :2].max() <= 9e6
    assert np.all((one.uplink_bps[:, 2] >= 2e6) & (one.uplink_bps[:, 2] <= 3e6))
    other = fleet(devices=[{**group, "memory_share": 0.3, "uplink_to": {}}], limits={}, seed=0).deployment()
    np.testing.assert_array_equal(one.query_rate_per_s, other.query_rate_per_s)
    np.testing.assert_array_equal(one.uplink_bps[:, :2], other.uplink_bps[:, :2])
    again = fleet(devices=[group], limits={}, seed=1).deployment()
    assert not np.array_equal(one.uplink_bps, again.uplink_bps)


def test_rasch() -> None:
    """Odds fall by exp(difficulty); difficulties add up; the ends stay."""
    for share in (0.01, 0.3, 0.9):
        assert shifted(share, 0.0) == share
        odds = shifted(share, 1.5) / (1.0 - shifted(share, 1.5))
        assert odds == pytest.approx(share / (1.0 - share) * math.exp(-1.5))
        assert shifted(shifted(share, 2.0), -2.0) == pytest.approx(share)
    assert [shifted(one, 50.0) for one in (0.0, 1.0)] == [0.0, 1.0]


@pytest.mark.parametrize("comments", [True, False])
def test_round_trip(comments: bool, tmp_path: Path) -> None:
    """A saved scenario loads to the same problem, bit for bit."""
    for name, scenario in (("own", fleet()), ("random", ea.Scenario.random_deployment(9, 2, seed=5)),
                           ("example", ea.Scenario.load(EXAMPLE))):  # fmt: skip
        file = scenario.save(tmp_path / f"{name}.toml", comments=comments)
        again = ea.Scenario.load(file)
        assert again.mapping() == scenario.mapping()
        same(scenario.deployment(), again.deployment())
        assert again.save(tmp_path / "twice.toml", comments=comments).read_bytes() == file.read_bytes()


def test_the_report_names_every_number() -> None:
    """Units, sources and marks of all numbers; published, measured, given and assumed ones are told apart."""
    scenario = fleet()
    table = {row.path: row for row in scenario.table()}
    assert len(table) == len(scenario.table())
    assert table["classes.0.rate"].shown == "36/h"
    assert table["variants.tiny.accuracy.simple"].mark == "cited"
    assert table["variants.tiny.accuracy.simple"].source == "our own test set"
    assert table["variants.tiny.accuracy.hard"].mark == "assumption"
    assert "difficulty of 1" in table["variants.tiny.accuracy.hard"].source
    assert table["variants.tuned.accuracy.simple"].mark == "assumption"
    assert table["variants.llama3.2-1b-Q4_K_M.accuracy.simple"].mark == "assumption"
    assert table["variants.llama3.2-1b-Q4_K_M.size"].mark == "derived"
    assert table["servers.t4.llama3.2-1b-f16.accuracy.simple"].mark == "recall"
    assert table["fleet.phone.snapdragon-8-gen-3.tuned"].mark == "seen"
    assert "pytorch/executorch" in table["fleet.phone.snapdragon-8-gen-3.tuned"].source
    assert table["fleet.phone.snapdragon-8-gen-3.tiny"].mark == "file"
    assert table["fleet.phone.snapdragon-8-gen-3.llama3.2-1b-Q4_K_M"].mark == "derived"
    assert table["devices.0.energy_per_token.tiny"].unit == "J/token"
    assert table["devices.1.uplink_to.den"].value == 0.0
    assert table["servers.1.prompt_speed"].unit == "token/s"
    assert table["weights.reference.energy"].source == "file"
    assert "from memory" in marks_line(scenario.table())
    assumed = scenario.assumptions()
    assert "Rasch" in assumed["classes.difficulty"]
    assert "piqa for simple, mmlu for hard" in assumed["classes.benchmark"]
    assert "Vectara HHEM" in fleet(sources={"variants.1.accuracy": "x", "variants.1.hallucination": "x",
                                            "variants.2.hallucination": "x"}).assumptions()["variants.hallucination"]
    assert "as measured on" in assumed["devices.0.power"]
    assert "devices.1.power" not in assumed
    words = "\n".join(limit_lines(scenario, scenario.deployment()))
    for text in (
        "simple: answered within 9 s",
        "hard: accuracy at least 0.2, hallucination at most 0.9",
        "the average accuracy is at least 0.6",
        "a cell transmits at most 0.2 of the time (1 of 3)",
    ):
        assert text in words, text
    assert reference_lines(scenario, scenario.deployment())[0].endswith("as the file says")
    assert [name for name, _ in sources(scenario)][:2] == ["llama3.2-1b", "qwen2.5-0.5b"]
    assert scenario.describe() == (
        "two groups: 3 devices beside 3 edge servers, 4 variants of llama3.2-1b, qwen2.5-0.5b, 2 classes of queries"
    )


def test_every_key_is_described() -> None:
    """Every key of the file has a meaning to be written beside it."""
    for path, model in SCHEMA.sections.items():
        for key, field in model.model_fields.items():
            assert field.description or (*path, key) in SCHEMA.sections, (path, key)


def test_devices_that_can_run_nothing_are_named() -> None:
    scenario = ea.Scenario.load(EXAMPLE)
    problem = scenario.deployment()
    assert "bedside: 40 devices can run no variant at all" in limit_lines(scenario, problem)
    solution = problem.solve().require()
    assert solution.gap is not None
    assert solution.gap <= 1e-3
    assert solution.costs is not None
    bare = [i for i, name in enumerate(problem.device_names) if name.startswith("bedside")]
    rollout = solution.allocation
    assert rollout is not None
    assert (rollout.variant[bare] == -1).all()
    assert (rollout.server[bare] >= 0).all()
    assert len(set(rollout.variant.tolist())) >= 4
    assert 0.1 < solution.costs.offloaded_share < 0.95
    assert (solution.costs.server_load > 0.99 * problem.load_limit).all()


# ---- repair ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "path"), [
    ({"classes.1.accuracy_floor": 0.99}, "classes.1.accuracy_floor"),
    ({"classes.0.hallucination_ceiling": 0.01}, "classes.0.hallucination_ceiling"),
    ({"classes.0.deadline": "10 ms"}, "classes.0.deadline"),
    ({"limits.accuracy": 0.95}, "limits.accuracy"),
    ({"limits.hallucination": 0.001}, "limits.hallucination"),
    ({"limits.accessibility": 1.0, "devices.1.variants": []}, "limits.accessibility"),
    ({"limits.energy": "0.5 J"}, "limits.energy"),
    ({"devices.1.uplink": 0, "devices.1.variants": []}, "devices.1.variants"),
    ({"devices.1.uplink": 0, "devices.1.memory_share": 0.1}, "devices.1.memory_share"),
    ({"devices.1.uplink": 0, "devices.1.memory": "100 MB"}, "devices.1.memory"),
])  # fmt: skip
def test_the_repair_of_a_file_works(changes: dict[str, Any], path: str) -> None:
    """Keys that are written as told make the fleet feasible."""
    scenario = fleet(limits={}).changed(changes)
    diagnosis = scenario.problem().diagnose()
    assert diagnosis is not None
    told = scenario.repair(diagnosis)
    assert path in [one.path for one in told], told
    mended = scenario.changed({one.path: one.value for one in told})
    assert mended.problem().diagnose() is None
    assert mended.deployment().solve().allocation is not None


def test_a_server_that_is_asked_too_much_gets_more_accelerators() -> None:
    """Devices that can run nothing ask more than both servers can answer."""
    bare = {"name": "bare", "count": 40, "device": "raspberry-pi-5-8gb", "variants": [], "activity": 100.0}
    scenario = fleet(devices=[bare], limits={}, classes=[{**RAW["classes"][0], "deadline": "none"}],
                     variants=RAW["variants"][:1], sources={}, assumptions={
                         "servers.accuracy": "x", "servers.hallucination": "x"},
                     servers=[{**RAW["servers"][0], "count": 1, "accuracy": 0.9}])  # fmt: skip
    diagnosis = scenario.deployment().solve().diagnosis
    assert diagnosis is not None
    told = scenario.repair(diagnosis)
    assert [(one.path, one.value) for one in told] == [("servers.0.accelerators", 16)]
    mended = scenario.changed({one.path: one.value for one in told}).deployment()
    assert mended.solve().allocation is not None


def test_the_framework_is_told_where_a_format_does_not_run() -> None:
    group = {"name": "p", "device": "snapdragon-8-gen-3", "framework": "executorch-cpu"}
    scenario = fleet(devices=[group], servers=[], network={}, limits={}, variants=RAW["variants"][:1], sources={},
                     assumptions={})  # fmt: skip
    diagnosis = scenario.problem().diagnose()
    assert diagnosis is not None
    told = scenario.repair(diagnosis)
    assert ("devices.0.framework", "llama.cpp-cpu") in [(one.path, one.value) for one in told]
    mended = scenario.changed({one.path: one.value for one in told}).problem()
    assert mended.diagnose() is None


# ---- random fleets --------------------------------------------------------------------------------------------------


def test_random_deployment() -> None:
    """The same seed gives the same problem; sizes are as asked; faults come at once."""
    one = ea.Scenario.random_deployment(devices=13, servers=3, seed=2)
    assert (one.devices, one.servers) == (13, 3)
    same(one.deployment(), ea.Scenario.random_deployment(devices=13, servers=3, seed=2).deployment())
    assert ea.Scenario.random_deployment(3, 0).deployment().servers == 0
    own = ea.Scenario.random_deployment(4, 1, variants=["llama3.2-3b", "gemma-2b"], accuracy=0.3)
    assert own.deployment().variant_names == tuple(
        f"{model}-{form}" for model in ("llama3.2-3b", "gemma-2b") for form in ("Q8_0", "Q4_K_M")
    )
    assert own.deployment().error_limit == pytest.approx(0.7)
    with pytest.raises(ea.DataError) as error:
        ea.Scenario.random_deployment(0, -1, variants=[3], seed=1.5)  # type: ignore[list-item, arg-type]
    assert [fault.field for fault in error.value.faults] == ["devices", "servers", "seed", "variants"]
    with pytest.raises(ea.DataError, match=r"did you mean 'llama3\.2-1b'"):
        ea.Scenario.random_deployment(2, 1, variants=["llama3.2-1"])


def test_large_fleets_are_built_quickly() -> None:
    """Ten thousand devices are a matter of a second: what devices of a kind share is computed once."""
    problem = ea.Scenario.random_deployment(10_000, 20, seed=1).deployment()
    assert (problem.devices, problem.variants, problem.servers) == (10_000, 12, 20)
    assert problem.local_delay_s.shape == (10_000, 12, 3)


def test_other_kinds_are_told_apart() -> None:
    with pytest.raises(ea.DataError, match=r"is 'deployment', not 'fine-tuning'; use scenario\.deployment"):
        fleet().fine_tuning()
    with pytest.raises(ea.DataError, match="a deployment scenario has devices and servers, no jobs"):
        _ = fleet().jobs
    assert fleet().deployment(energy_limit_j=3.0).energy_limit_j == 3.0
