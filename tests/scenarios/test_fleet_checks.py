"""Claims about faulty fine-tuning files: every fault is told, by its key, with its value and what would mend it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

import edgealloc as ea

RAW: dict[str, Any] = {
    "problem": "fine-tuning",
    "version": 1,
    "model": {"name": "opt-125m", "batch": 4, "tokens": 64},
    "methods": [{"method": "full-adam"}, {"method": "lora"}, {"method": "mezo"}],
    "jobs": [{"name": "a", "count": 2, "device": "jetson-orin-nano-8gb", "samples": 100}],
    "servers": [{"name": "s", "device": "l4"}],
    "radio": {"uplink": "10 Mbit/s", "downlink": "20 Mbit/s"},
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The file with some keys set, or left out where the value is None."""
    raw = copy.deepcopy(RAW)
    for path, value in changes.items():
        *parents, key = path.split(".")
        place: Any = raw
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        if value is None:
            del place[key]
        elif isinstance(place, list):
            place[int(key)] = value
        else:
            place[key] = value
    return raw


def faults(changes: dict[str, Any]) -> list[str]:
    with pytest.raises(ea.DataError) as error:
        ea.Scenario.from_mapping(changed(changes)).problem()
    return [str(fault) for fault in error.value.faults]


@pytest.mark.parametrize(("changes", "message"), [
    # names
    ({"model.name": "opt-12m"}, "model.name: 'opt-12m' is not in the catalog; did you mean 'opt-125m'"),
    ({"model.name": None}, "jobs.0.model: is missing, and [model] has no name"),
    ({"model.name": "t5-base"}, "model.name: 't5-base' has an encoder and a decoder"),
    ({"jobs.0.model": "opt-125"}, "jobs.0.model: 'opt-125' is not in the catalog; did you mean 'opt-125m'"),
    ({"jobs.0.device": "jetson"}, "jobs.0.device: 'jetson' is not in the catalog; did you mean 'jetson-"),
    ({"jobs.0.device": {"t4": 1, "l5": 2}}, "jobs.0.device: 'l5' is not in the catalog; did you mean 'l4'"),
    ({"servers.0.device": "l5"}, "servers.0.device: 'l5' is not in the catalog; did you mean 'l4'"),
    ({"methods.1.method": "lore"}, "methods.1.method: 'lore' is no method; did you mean"),
    ({"methods.1.rnk": 4}, "methods.1.rnk: is an unknown key; did you mean 'rank'"),
    ({"methods.1.targets": ["query"]}, "methods.1.targets: 'query' is not a matrix; known: down"),
    ({"methods.1.precision": "int3"}, "methods.1.precision: 'int3' is not known; did you mean 'int8'"),
    ({"model.optimizer_states": "adam"}, "model.optimizer_states: 'adam' is not known; did you mean 'fp32-adam'"),
    ({"model.convention": "torchy"}, "did you mean 'torch'"),
    ({"jobs.0.place": "devic"}, "jobs.0.place: is 'devic'; expected 'anywhere', 'device' or 'server'; did you mean"),
    ({"jobs.0.steps_of": {"lore": 3}}, "jobs.0.steps_of.lore: 'lore' is no method of this file; did you mean 'lora'"),
    ({"jobs.0.uplink_to": {"x": 1e6}}, "jobs.0.uplink_to.x: 'x' is no server; known: s"),
    ({"jobs.0.task": "SST-2"}, "Give that as quality_model"),
    ({"jobs.0.task": "SST", "jobs.0.quality_model": "opt-13b"}, "jobs.0.task: 'SST' has no published qualities of"),
    ({"jobs.0.task": "RTE", "jobs.0.quality_model": "opt-13c"}, "jobs.0.quality_model: nobody has published"),
    ({"jobs.0.quality_model": "opt-13b"}, "jobs.0.task: is missing: quality_model says whose"),
    # numbers
    ({"jobs.0.count": 1.5}, "jobs.0.count: is 1.5; it must be a whole number"),
    ({"jobs.0.count": -1}, "jobs.0.count: is -1; it must be a whole number >= 1"),
    ({"jobs.0.count": 2_000_000}, "jobs.0.count: makes more than 1000000 jobs"),
    ({"jobs.0.samples": -3}, "jobs.0.samples: is -3"),
    ({"jobs.0.samples": [5, 2]}, "jobs.0.samples: is [5, 2]; the first of the pair must not be above"),
    ({"jobs.0.steps_of": {"lora": 3.5}}, "jobs.0.steps_of.lora: is 3.5; it must be a whole number"),
    ({"jobs.0.rounds": 0.5}, "jobs.0.rounds: is 0.5; it must be a whole number"),
    ({"jobs.0.deadline": -1}, "jobs.0.deadline: is -1 s; it must be > 0 s, or 'none'"),
    ({"jobs.0.battery": "5 Wh"}, "jobs.0.battery: '5 Wh' has an unknown unit 'Wh'"),
    ({"jobs.0.memory_share": 1.5}, "jobs.0.memory_share: is 1.5; it must be above 0 and at most 1"),
    ({"jobs.0.memory_reserved": "9 GB"}, "jobs.0.memory_reserved: is 9 GB of 8 GB: nothing is left for training"),
    ({"jobs.0.uplink_to": {"s": "-1 Mbit/s"}}, "jobs.0.uplink_to.s: is -1e+06 bit/s"),
    ({"jobs.0.tokens": 3000}, "jobs.0.tokens: is 3000; 'opt-125m' has 2048 learned positions"),
    ({"model.tokens": 3000}, "model.tokens: is 3000; 'opt-125m' has 2048 learned positions"),
    ({"methods.1.rank": 0}, "methods.1.rank: is 0; it must be a whole number >= 1"),
    ({"methods.1.rank": 2.5}, "methods.1.rank: is 2.5; it must be a whole number"),
    ({"servers.0.slots": 0}, "servers.0.slots: is 0"),
    ({"servers.0.utilisation": 0}, "servers.0.utilisation: is 0; it must be above 0"),
    # what is missing, empty, or no table
    ({"jobs": None}, "jobs: is missing (at least one [[jobs]] table is needed)"),
    ({"jobs": []}, "jobs: is empty; at least one [[jobs]] table is needed"),
    ({"methods": []}, "methods: is empty; leave it out for all methods"),
    ({"jobs": "x"}, "jobs: is 'x'; it must be a list of tables ([[jobs]] in TOML)"),
    ({"jobs.0": "x"}, "jobs.0: is 'x'; it must be a table"),
    ({"servers.0": 3}, "servers.0: is 3; it must be a table"),
    ({"servers": 3}, "servers: is 3; it must be a list of tables"),
    ({"radio": "x"}, "radio: is 'x'; it must be a table"),
    ({"model": 3}, "model: is 3; it must be a table"),
    ({"radio": None}, "radio.uplink: is missing, and jobs.0 has no uplink of its own"),
    ({"jobs.0.device": None}, "jobs.0.flops_per_s: is missing: a device without a catalog entry needs it"),
    ({"servers.0.device": None, "servers.0.name": None}, "servers.0.name: is missing"),
    ({"jobs.0.device": "dimensity-9300-gpu"}, "jobs.0.power: is missing: the catalog has no number for"),
    ({"jobs.0.samples": None}, "jobs.0.samples: is missing: give samples (steps are epochs x samples / batch)"),
    ({"jobs.0.samples": None, "jobs.0.steps": 9}, "jobs.0.samples: is missing: give samples or data"),
    # what contradicts
    ({"methods.1.name": "mezo"}, "methods.2.name: 'mezo' is the name of methods.1, too"),
    ({"methods.0.precision": "nf4"}, "methods.0.precision: full-adam changes the base itself"),
    ({"model.optimizer_states": "mixed-sgd"}, "methods.0.optimizer_states: 'mixed-sgd' has no moments"),
    ({"methods": None, "model.optimizer_states": "mixed-sgd"}, "model.optimizer_states: 'mixed-sgd' has no moments"),
    ({"methods.1.targets": ["gate"]}, "methods.1: can train no job: the model has no 'gate' matrix"),
    ({"jobs.0.flops_per_s": 1e12, "jobs.0.utilisation": 0.3}, "jobs.0.utilisation: is given beside flops_per_s"),
    ({"servers": [], "jobs.0.place": "server"}, "jobs.0.place: is 'server', but there are no [[servers]]"),
    ({"servers": [], "jobs.0.rounds": 3}, "jobs.0.rounds: is given, but there are no [[servers]]"),
    ({"weights": {"delay": 0, "energy": 0, "quality": 0}}, "weights.delay: is 0, and so are weights.energy and"),
    # numbers of unknown origin
    ({"jobs.0.quality": {"lora": 0.9}}, 'jobs.0.quality.lora: is given, but not where it is from: put "jobs.quality"'),
    ({"methods.1.quality": 0.9}, "methods.1.quality: is given, but not where it is from"),
    ({"jobs.0.quality": {"lora": 90}, "assumptions": {"jobs.quality": "x"}}, "lora: is 90; it must be from 0 to 1"),
])  # fmt: skip
def test_a_fault_is_told_by_its_key(changes: dict[str, Any], message: str) -> None:
    found = faults(changes)
    assert any(message in one for one in found), found


def test_no_fault_hides_another() -> None:
    """All of a file's faults come at once, those of faulty tables' other keys too."""
    found = faults({
        "model.name": "opt-12m", "jobs.0.count": 1.5, "jobs.0.device": "jetson", "methods.1.method": "lore",
        "servers.0.device": "l5", "jobs.0.quality": {"mezzo": 0.5},
    })  # fmt: skip
    assert {one.split(":")[0] for one in found} == {
        "model.name", "jobs.0.count", "jobs.0.device", "methods.1.method", "servers.0.device", "jobs.0.quality.mezzo",
    }  # fmt: skip


def test_names_of_groups_must_differ() -> None:
    second = {"name": "a-2", "device": "t4", "samples": 3}
    found = faults({"jobs": [*RAW["jobs"], second]})
    assert found == ["jobs.1.name: 'a-2' is the name of one of jobs.0, too; give each its own"]
    again = faults({"servers": [{"device": "l4"}, {"device": "l4"}]})
    assert again == ["servers.1.name: 'l4' is the name of one of servers.0, too; give each its own"]


def test_what_is_fine() -> None:
    """Things that look odd and are right."""
    for changes in (
        {"radio": None, "jobs.0.place": "device"},
        {"jobs.0.samples": None, "jobs.0.steps": 9, "jobs.0.data": "1 MB"},
        {"jobs.0.quality": {"lora": 0.9}, "sources": {"jobs.0.quality": "measured"}},
        {"jobs.0.uplink_to": {"s": 0}},
        {"servers.0.horizon": "none"},
        {"jobs.0.memory": 0},
    ):
        assert ea.Scenario.from_mapping(changed(changes)).problem().jobs == 2


@pytest.mark.parametrize(("text", "message"), [
    ("problem = 'fine-tunning'\nversion = 1\n[[jobs]]\n", "did you mean 'fine-tuning'"),
    ("version = 1\n[[jobs]]\ndevice = 't4'\n", "problem: is missing"),
    ("problem = 'fine-tuning'\n[[jobs]]\nsamples = 3\n", "version: is missing"),
])  # fmt: skip
def test_the_kind_is_found(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ea.DataError, match=message):
        ea.Scenario.load(file)
