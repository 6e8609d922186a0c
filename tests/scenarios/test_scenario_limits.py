"""Claims about limits in scenario files: deadlines, caps, server memory, equal shares and synchronous rounds."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import edgealloc as ea
from edgealloc.core.constraints import Diagnosis
from edgealloc.scenarios.builders.split_training import reference_allocation
from edgealloc.scenarios.quantities import EndlessQuantity, written
from edgealloc.scenarios.report import limit_lines

DEADLINES = Path(__file__).parents[2] / "examples" / "scenarios" / "deadlines.toml"

BASE: dict[str, Any] = {
    "problem": "split-training",
    "version": 1,
    "name": "limits",
    "seed": 3,
    "model": {"name": "llama3.2-1b"},
    "area": {"size": "300 m"},
    "radio": {"path_loss": "umi", "noise_figure_db": 5, "power_max": "23 dBm"},
    "users": [
        {"count": 3, "device": "apple-a17-pro", "samples": 100},
        {"count": 2, "device": "snapdragon-865", "samples": 100},
    ],
    "servers": [
        {"count": 2, "device": "t4", "bandwidth": "20 MHz"},
        {"name": "big", "count": 1, "device": "l4", "accelerators": 2, "bandwidth": "20 MHz"},
    ],
}
EVERYTHING: dict[str, Any] = {
    "limits.deadline": "2 s",
    "limits.deadline_penalty": 3,
    "users.0.deadline": "300 ms",
    "users.0.deadline_penalty": "hard",
    "users.1.deadline": "none",
    "servers.0.users_max": 2,
    "servers.1.memory": "24 GB",
    "servers.1.memory_share": 0.5,
    "limits.server_memory": True,
    "limits.shared_base": True,
    "limits.resources": "exactly",
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """BASE with dotted paths set; None removes nothing and stands for "not given"."""
    raw = copy.deepcopy(BASE)
    for path, value in changes.items():
        *parents, key = path.split(".")
        place: Any = raw
        for parent in parents:
            place = place[int(parent)] if parent.isdigit() else place.setdefault(parent, {})
        place[key] = value
    return raw


def problem(changes: dict[str, Any]) -> ea.SplitTraining:
    return ea.Scenario.from_mapping(changed(changes)).split_training()


def faults(changes: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ea.DataError) as caught:
        ea.Scenario.from_mapping(changed(changes)).problem()
    return {fault.field: fault.message for fault in caught.value.faults}


def same(a: Any, b: Any) -> bool:
    for field in dataclasses.fields(a):
        one, two = getattr(a, field.name), getattr(b, field.name)
        if field.name == "weights":
            one, two = dataclasses.astuple(one), dataclasses.astuple(two)
        equal = np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two
        if not equal:
            return False
    return True


# ---- what the keys become -------------------------------------------------------------------------------------------


def test_no_limits_by_default() -> None:
    """A file of before says what it said: nothing new is limited."""
    plain = problem({})
    for name in ("deadline_s", "deadline_penalty_per_s", "users_per_server", "server_memory_bytes"):
        assert getattr(plain, name) is None, name
    assert not plain.server_memory_bytes_fixed.any()
    assert (plain.resource_sense, plain.delay) == ("at_most", "sum")


@pytest.mark.parametrize("value", ["300 ms", "0.3 s", 0.3, "0.3", "300000 us"])
def test_a_deadline_in_any_unit(value: Any) -> None:
    np.testing.assert_allclose(problem({"limits.deadline": value}).deadline_s, 0.3, rtol=1e-15)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"limits.deadline": "2 s", "users.1.deadline": "500 ms"}, [2, 2, 2, 0.5, 0.5]),
        ({"users.0.deadline": "1 min"}, [60, 60, 60, np.inf, np.inf]),
        ({"limits.deadline": "2 s", "users.0.deadline": "none"}, [np.inf, np.inf, np.inf, 2, 2]),
        ({"limits.deadline": "None", "users.1.deadline": 4}, [np.inf, np.inf, np.inf, 4, 4]),
    ],
)
def test_a_group_overrides_the_general_deadline(changes: dict[str, Any], expected: list[float]) -> None:
    built = problem(changes)
    np.testing.assert_array_equal(built.deadline_s, expected)
    assert built.deadline_penalty_per_s is None


def test_no_finite_deadline_is_none_at_all() -> None:
    assert problem({"limits.deadline": "none"}).deadline_s is None


def test_the_price_of_being_late_is_relative_to_the_reference_like_every_weight() -> None:
    changes = {"limits.deadline": 1, "limits.deadline_penalty": 4, "users.1.deadline_penalty": "hard"}
    built = problem(changes)
    reference = (built.weights.reference or {})["delay"]
    np.testing.assert_allclose(built.deadline_penalty_per_s[:3], 4 / reference)
    assert np.isinf(built.deadline_penalty_per_s[3:]).all()
    # so a second late costs four times a second of delay, whatever the weights are relative to
    own = ea.Scenario.from_mapping(changed(changes)).split_training(ea.Weights(1, 1, 1, reference={"delay": 0.5}))
    np.testing.assert_allclose(own.deadline_penalty_per_s[:3], 8.0)
    np.testing.assert_allclose(own.deadline_penalty_per_s[:3] / own.weights.effective("delay", 3), 4.0)


def test_a_price_without_a_deadline_of_ones_own_is_ignored() -> None:
    built = problem({"limits.deadline_penalty": 4, "users.0.deadline": 1})
    assert np.isinf(built.deadline_penalty_per_s[3:]).all()
    assert np.isfinite(built.deadline_penalty_per_s[:3]).all()


def test_caps_per_group_and_none_for_the_others() -> None:
    np.testing.assert_array_equal(problem({"servers.0.users_max": 2}).users_per_server, [2, 2, 5])
    np.testing.assert_array_equal(problem({"servers.1.users_max": "0"}).users_per_server, [5, 5, 0])


def test_server_memory_by_hand() -> None:
    """Llama-3.2-1B with rank-16 adapters on q and v, 2 x 512 tokens, fused attention, half precision.

    A server layer: 2 B per frozen parameter, 16 B per adapter parameter, activations by the table of
    `activation_bytes_per_layer`; once per user: final norm, an output table of its own (on the device it is tied to the
    embedding), logits.
    """
    h, k, f, vocab, tokens = 2048, 512, 8192, 128256, 2 * 512
    layer = 2 * (2 * h * (h + k) + 3 * h * f + 2 * h)
    adapters = 16 * 16 * ((h + h) + (h + k))
    kept = tokens * (2 * (2 * h + h + 2 * k + 3 * f) + 2 * h + 2 * h + 4 * 32)
    head, logits = 2 * (vocab * h + h), tokens * (6 * vocab + 4 * h)
    own = problem({"limits.server_memory": True})
    assert own.server_memory_bytes_per_layer[0] == layer + adapters + kept
    assert own.server_memory_bytes_fixed[0] == head + logits
    np.testing.assert_allclose(own.server_memory_bytes, [0.9 * 16e9, 0.9 * 16e9, 0.9 * 48e9])

    shared = problem({"limits.server_memory": True, "limits.shared_base": True})
    assert shared.server_memory_bytes_per_layer[0] == adapters + kept
    assert shared.server_memory_bytes_fixed[0] == logits
    np.testing.assert_allclose(own.server_memory_bytes - shared.server_memory_bytes, head + 16 * layer)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("training", ["frozen", "full"])
def test_server_layers_weigh_what_device_layers_weigh(training: str, recompute: bool) -> None:
    """One memory model for both ends: a layer takes the same bytes wherever it is trained."""
    built = problem({"limits.server_memory": True, "model.training": training, "model.recompute": recompute})
    np.testing.assert_array_equal(built.server_memory_bytes_per_layer, built.memory_bytes_per_layer)
    assert (built.server_memory_bytes_fixed > built.memory_bytes_head).all()  # the tied table is there once more


def test_recomputation_saves_server_memory() -> None:
    kept, again = (problem({"limits.server_memory": True, "model.recompute": value}) for value in (False, True))
    need = [one.server_memory_bytes_fixed[0] + 15 * one.server_memory_bytes_per_layer[0] for one in (kept, again)]
    assert need[1] < need[0]
    assert again.server_memory_bytes_fixed[0] > kept.server_memory_bytes_fixed[0]  # one layer's working set


def test_memory_of_a_server_in_all() -> None:
    """`memory` is the server's, not an accelerator's; memory_share applies to it."""
    built = problem({"limits.server_memory": True, "servers.1.memory": "24 GB", "servers.1.memory_share": 0.5})
    assert built.server_memory_bytes[2] == 12e9
    # what cannot even hold the model serves nobody
    tiny = problem({"limits.server_memory": True, "limits.shared_base": True, "servers.1.memory": "1 GB"})
    assert tiny.server_memory_bytes[2] == 0.0


@pytest.mark.parametrize("word", ["at most", "at_most", "exactly"])
def test_resources(word: str) -> None:
    assert problem({"limits.resources": word}).resource_sense == word.replace(" ", "_")


def test_synchronous_rounds() -> None:
    """The one delay of a round weighs as much as the energies of all users, at the reference allocation."""
    scenario = ea.Scenario.from_mapping(changed({"weights.delay_over_users": "max"}))
    built = scenario.problem()
    assert built.delay == "max"
    costs = built.evaluate(reference_allocation(built))
    assert (built.weights.reference or {})["delay"] == pytest.approx(float(costs.delay_s.max()) / built.users)
    assert costs.round_objective == pytest.approx(built.users)
    with pytest.raises(ea.DataError, match=r"weights\.delay: differs between users"):
        scenario.split_training(ea.Weights(np.arange(1.0, 6.0), 1, 1))


# ---- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"limits.deadline": "5 m"}, "limits.deadline", r"in m, but s is needed .*, or 'none'"),
        ({"limits.deadline": 0}, "limits.deadline", r"is 0 s; it must be > 0 s, or 'none'"),
        ({"limits.deadline": "-1 s"}, "limits.deadline", "must be > 0 s"),
        ({"limits.deadline": "soon"}, "limits.deadline", "not a quantity"),
        ({"limits.deadline": False}, "limits.deadline", "not a quantity"),
        ({"limits.deadline": float("nan")}, "limits.deadline", "not finite"),
        ({"users.1.deadline": [1, 2]}, "users.1.deadline", "must be a number in s"),
        ({"users.0.dead_line": 1}, "users.0.dead_line", "did you mean 'deadline'"),
        ({"limits.deadline": 1, "limits.deadline_penalty": 0}, "limits.deadline_penalty", "> 0, or 'hard'"),
        ({"limits.deadline": 1, "limits.deadline_penalty": "1 s"}, "limits.deadline_penalty", "in s"),
        ({"limits.deadline_penalty": 2}, "limits.deadline_penalty", "is 2, but nobody has a deadline"),
        ({"users.0.deadline_penalty": 2}, "users.0.deadline_penalty", "is 2, but these users have no deadline"),
        (
            {"limits.deadline": 1, "users.0.deadline": "none", "users.0.deadline_penalty": 2},
            "users.0.deadline_penalty",
            "no deadline",
        ),
        (
            {"limits.deadline": 1, "limits.deadline_penalty": 2, "weights.delay_over_users": "max"},
            "limits.deadline_penalty",
            "is 2 while weights.delay_over_users is 'max'",
        ),
        (
            {"users.0.deadline": 1, "users.0.deadline_penalty": 2, "weights.delay_over_users": "max"},
            "users.0.deadline_penalty",
            "hard deadlines only",
        ),
        (
            {"radio.count_upload_delay": False, "radio.power_min": 0.01, "weights.delay_over_users": "max"},
            "radio.count_upload_delay",
            "round ends",
        ),
        ({"weights.delay_over_users": "maximum"}, "weights.delay_over_users", "expected 'sum' or 'max'"),
        ({"limits.resources": "exact"}, "limits.resources", "did you mean 'exactly'"),
        ({"limits.resources": 1}, "limits.resources", "expected 'at most' or 'exactly'"),
        ({"servers.0.users_max": 2.5}, "servers.0.users_max", "whole number"),
        ({"servers.0.users_max": -1}, "servers.0.users_max", ">= 0"),
        ({"servers.0.max_users": 3}, "servers.0.max_users", "did you mean 'users_max'"),
        ({"servers.0.memory": "16 GB"}, "servers.0.memory", r"nothing uses it.*server_memory = true"),
        ({"servers.1.memory_share": 0.5}, "servers.1.memory_share", "nothing uses it"),
        ({"limits.shared_base": True}, "limits.shared_base", "nothing uses it"),
        ({"limits.server_memory": True, "servers.0.memory": "8 s"}, "servers.0.memory", "in s, but B is needed"),
        ({"limits.server_memory": True, "servers.0.memory_share": 1.5}, "servers.0.memory_share", "at most 1"),
        ({"limits.server_memory": "maybe"}, "limits.server_memory", "true or false"),
        (
            {"limits.server_memory": True, "limits.shared_base": True, "model.training": "full"},
            "limits.shared_base",
            "no frozen model",
        ),
        (
            {"limits.server_memory": True, "servers.0.device": "dimensity-9300-gpu", "servers.0.power": 10},
            "servers.0.memory",
            "the catalog has no memory",
        ),
    ],
)
def test_one_fault_by_path(changes: dict[str, Any], field: str, said: str) -> None:
    found = faults(changes)
    assert field in found, found
    assert re.search(said, found[field]), found[field]
    assert len(found) == 1, found


def test_all_faults_at_once() -> None:
    found = faults(
        {
            "limits.deadline": "1 Hz", "users.0.deadline_penalty": -1, "servers.0.users_max": "x",
            "servers.1.memory": "3 GB", "limits.resources": "all", "limits.shared_base": True,
        }
    )  # fmt: skip
    assert set(found) == {
        "limits.deadline", "users.0.deadline_penalty", "servers.0.users_max", "servers.1.memory", "limits.resources",
        "limits.shared_base",
    }  # fmt: skip


@pytest.mark.parametrize("servers", [3, "x", None, {"a": 1}, [4]])
def test_the_checks_survive_what_is_no_list_of_servers(servers: Any) -> None:
    with pytest.raises(ea.DataError):
        ea.Scenario.from_mapping({**BASE, "servers": servers, "limits": {"shared_base": True}})


def test_switched_off_by_name_the_memory_may_stay() -> None:
    assert problem({"limits.server_memory": False, "servers.0.memory": "16 GB"}).server_memory_bytes is None


def test_what_the_problem_finds_is_said_of_the_file() -> None:
    """A lowest clock above the device's is known only with the catalog; it is named by its group all the same."""
    found = faults({"users.1.clock_min": "9 GHz"})
    assert set(found) == {"users.1.clock_min"}
    assert "user_frequency_min_hz[3] of the problem" in found["users.1.clock_min"]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_toml_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    raw = changed(EVERYTHING)
    scenario = ea.Scenario.from_mapping(raw)
    scenario.save(tmp_path / "s.toml")
    (tmp_path / "s.json").write_text(json.dumps(raw), encoding="utf-8")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    for name in ("s.toml", "s.json", "s.yaml"):
        assert same(scenario.problem(), ea.Scenario.load(tmp_path / name).problem()), name


def test_yaml_words(tmp_path: Path) -> None:
    """`none`, `hard` and `at most` need no quotes; `no` is caught."""
    text = yaml.safe_dump(BASE) + "limits:\n  deadline: 2 s\n  deadline_penalty: hard\n  resources: at most\n"
    file = tmp_path / "s.yaml"
    file.write_text(text, encoding="utf-8")
    assert (ea.Scenario.load(file).problem().deadline_s == 2.0).all()
    file.write_text(text.replace("deadline: 2 s", "deadline: no"), encoding="utf-8")
    with pytest.raises(ea.DataError, match=r"limits\.deadline: is False, not a quantity.*quotes.*or 'none'"):
        ea.Scenario.load(file)


def test_what_is_saved_reads_well(tmp_path: Path) -> None:
    """Units and words, not bare numbers and inf; each key with what it means."""
    scenario = ea.Scenario.from_mapping(changed(EVERYTHING))
    text = scenario.save(tmp_path / "s.toml").read_text("utf-8")
    for line in ('deadline = "300 ms"', 'deadline = "none"', 'deadline_penalty = "hard"', 'deadline = "2 s"',
                 "users_max = 2", 'memory = "24 GB"', 'resources = "exactly"'):  # fmt: skip
        assert line in text, line
    assert "inf" not in text.replace("instability", "").split()
    assert "in the units of weights.delay" in text
    again = ea.Scenario.load(tmp_path / "s.toml")
    assert again.mapping() == scenario.mapping()


def test_infinity_by_word() -> None:
    kind = EndlessQuantity("s", open_low=True, word="none")
    assert kind.parse(" None ") == kind.parse(float("inf")) == np.inf
    assert written(0.3, "s") == "300 ms"
    with pytest.raises(ValueError, match="or 'none'"):
        kind.parse("nothing")


def test_random_scenarios_with_limits(tmp_path: Path) -> None:
    scenario = ea.Scenario.random(12, 3, deadline="5 s", users_per_server=5, server_memory=True)
    built = scenario.problem()
    assert (built.deadline_s == 5.0).all()
    assert (built.users_per_server == 5).all()
    assert built.server_memory_bytes is not None
    assert "servers.memory_share" in scenario.assumptions()
    assert same(built, ea.Scenario.load(scenario.save(tmp_path / "s.toml")).problem())
    # without them nothing changes, and with them nothing else is drawn differently
    np.testing.assert_array_equal(built.gain, ea.Scenario.random(12, 3).problem().gain)
    with pytest.raises(ea.DataError) as caught:
        ea.Scenario.random(users_per_server=0)
    assert [fault.field for fault in caught.value.faults] == ["users_per_server"]
    with pytest.raises(ea.DataError, match=r"limits\.deadline"):
        ea.Scenario.random(deadline="5 Hz")


# ---- reports and repairs --------------------------------------------------------------------------------------------


def test_the_report_says_every_limit_and_what_is_assumed() -> None:
    scenario = ea.Scenario.from_mapping(changed(EVERYTHING))
    text = "\n".join(limit_lines(scenario, scenario.problem()))
    for words in ("300 ms for 3 of 5 users", "t4 (each of 2) 2", "big any", "once per server", "hands out all"):
        assert words in text, text
    own = scenario.changed({"limits.shared_base": False, "users.0.deadline_penalty": 3, "limits.stability_limit": 0.5})
    text = "\n".join(limit_lines(own, own.problem()))
    for words in ("soft", "a second late costs", "a copy of the layers", "at most 0.5"):
        assert words in text, text
    rows = {row.path: row for row in scenario.table()}
    assert rows["users.1.deadline"].shown == "none"
    assert rows["users.0.deadline_penalty"].shown == "hard"
    assert rows["devices.t4.memory_bytes"].mark == "seen"
    assert rows["server_memory.shared_base"].mark == "derived"
    quiet = {row.path for row in ea.Scenario.from_mapping(BASE).table()}
    assert not any("server_memory." in path or (path.startswith("servers.") and "memory" in path) for path in quiet)


def repaired(changes: dict[str, Any], wanted: dict[str, Any]) -> tuple[dict[str, Any], ea.SplitTraining]:
    """The keys that a diagnosis with these changes names, and the problem of the repaired scenario."""
    scenario = ea.Scenario.from_mapping(changed(changes))
    found = {change.path: change.value for change in scenario.repair(Diagnosis((), wanted))}
    return found, scenario.changed(found).problem()


def test_repair_of_deadlines() -> None:
    changes = {"limits.deadline": 1, "users.1.deadline": "2 s"}
    found, built = repaired(changes, {"deadline_s": np.array([1, 1.2345678, 1, 2, 3.45678])})
    assert found == {"limits.deadline": 1.2346, "users.1.deadline": 3.4568}
    np.testing.assert_array_equal(built.deadline_s, [1.2346] * 3 + [3.4568] * 2)
    found, built = repaired(changes, {"deadline_s": np.array([1, np.inf, 1, 2, 2])})
    assert found == {"limits.deadline": "none"}
    assert np.isinf(built.deadline_s[:3]).all()


def test_repair_of_caps() -> None:
    found, built = repaired({"servers.0.users_max": 1}, {"users_per_server": np.array([1, 3, 5])})
    assert found == {"servers.0.users_max": 3}
    np.testing.assert_array_equal(built.users_per_server, [3, 3, 5])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("wanted", "key"), [(13e9 + 1 / 3, "memory_share"), (47e9 + 1 / 3, "memory")])
def test_repair_of_server_memory(shared: bool, wanted: float, key: str) -> None:
    """More of the memory where that is enough, else more memory; what the base takes comes on top."""
    changes = {"limits.server_memory": True, "limits.shared_base": shared, "servers.0.memory_share": 0.3}
    had = problem(changes).server_memory_bytes
    found, built = repaired(changes, {"server_memory_bytes": np.array([had[0], wanted, had[2]])})
    assert list(found) == [f"servers.0.{key}"]
    assert wanted <= built.server_memory_bytes[1] <= wanted * 1.001
    assert built.server_memory_bytes[2] == had[2]


# ---- the example ----------------------------------------------------------------------------------------------------


def test_the_example_bites_mildly_and_can_be_met() -> None:
    """Without its limits somebody is late and a cap is broken; one device moved, with more layers, keeps them all."""
    limited = ea.Scenario.load(DEADLINES).problem()
    assert (limited.users, limited.servers) == (12, 3)
    assert limited.diagnose() is None
    free = limited.replace(
        deadline_s=None, deadline_penalty_per_s=None, users_per_server=None, server_memory_bytes=None,
        server_memory_bytes_fixed=0.0, server_memory_bytes_per_layer=0.0,
    )  # fmt: skip
    solution = free.solve(time_limit_s=20).require()
    assert solution.allocation is not None
    broken = {name for name, amount in limited.violations(solution.allocation).items() if amount > 1e-6}
    assert broken == {"deadline_s", "users_per_server"}

    server = np.array(solution.allocation.server)
    server[11] = 2
    links = np.zeros_like(limited.gain)
    links[np.arange(12), server] = limited.gain[np.arange(12), server]
    cuts = np.array(limited.min_local_layers)
    cuts[11] = 5
    hurry = ea.Weights(np.where(np.arange(12) < 10, 2.0, 1.0), 1, 1, limited.weights.reference)
    witness = free.replace(gain=links, min_local_layers=cuts, weights=hurry).solve(time_limit_s=20).require()
    assert witness.allocation is not None
    assert limited.relative_violation(witness.allocation) <= 1e-9
