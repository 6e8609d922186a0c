"""Claims about faulty deployment files: every fault is told, by its key, with its value and what would mend it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

import edgealloc as ea

RAW: dict[str, Any] = {
    "problem": "deployment",
    "version": 1,
    "variants": [{"model": "llama3.2-1b", "formats": ["Q8_0", "Q4_K_M"]}, {"model": "qwen2.5-3b", "name": "three"}],
    "classes": [
        {"name": "simple", "rate": "12/h", "benchmark": "piqa"},
        {"name": "complex", "rate": "2/h", "prompt_tokens": 300, "answer_tokens": 200},
    ],
    "devices": [{"name": "a", "count": 2, "device": "snapdragon-8-gen-3"}],
    "servers": [{"name": "s", "device": "l4", "model": "qwen2.5-7b", "format": "int4-g128"}],
    "network": {"uplink": "10 Mbit/s", "downlink": "20 Mbit/s"},
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The file with some keys set, or left out where the value is None."""
    raw = copy.deepcopy(RAW)
    for path, value in changes.items():
        *parents, key = path.split("/")
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


OWN_PHONE = {"catalog": {"devices": {"mine": {"device_class": "phone", "flops_per_s": 1e12, "memory_bytes": 8e9,
                                              "memory_bandwidth_bytes_per_s": 4e10, "power_w": 5.0}}}}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), [
    # names
    ({"variants/0/model": "llama3.2-1"}, "variants.0.model: 'llama3.2-1' is not in the catalog; did you mean"),
    ({"variants/0/model": "t5-base"}, "variants.0.model: 't5-base' is no decoder and writes no answers"),
    ({"variants/0/model": "bert-base-uncased"}, "variants.0.model: 'bert-base-uncased' is no decoder"),
    ({"variants/0/formats/1": "Q4_K_N"}, "variants.0.formats.1: 'Q4_K_N' is not known; did you mean 'Q4_K_"),
    ({"variants/0/format": "f16"}, "variants.0.format: is an unknown key; did you mean 'formats'"),
    ({"classes/0/benchmark": "pika"}, "classes.0.benchmark: 'pika' is not known; did you mean 'piqa'"),
    ({"devices/0/device": "snapdragon"}, "devices.0.device: 'snapdragon' is not in the catalog; did you mean"),
    ({"devices/0/device": {"apple-a17-pro": 1, "apple-a18": 1}}, "'apple-a18' is not in the catalog; did you mean"),
    ({"devices/0/framework": "llama.cpp"}, "devices.0.framework: 'llama.cpp' is not known; did you mean 'llama.cpp-"),
    ({"devices/0/variants": ["three", "four"]}, "devices.0.variants.four: 'four' is no variant of this file; known:"),
    ({"devices/0/speed": {"thre": 3}}, "devices.0.speed.thre: 'thre' is no variant of this file; did you mean 'three'"),
    ({"devices/0/energy_per_token": {"x": 3}}, "devices.0.energy_per_token.x: 'x' is no variant of this file"),
    ({"devices/0/queries": {"simpel": 0}}, "devices.0.queries.simpel: 'simpel' is no class; did you mean 'simple'"),
    ({"devices/0/uplink_to": {"x": 1e6}}, "devices.0.uplink_to.x: 'x' is no server; known: s"),
    ({"servers/0/device": "l5"}, "servers.0.device: 'l5' is not in the catalog; did you mean 'l4'"),
    ({"servers/0/model": "qwen2.5-8b"}, "servers.0.model: 'qwen2.5-8b' is not in the catalog; did you mean"),
    ({"servers/0/format": "int4-g127"}, "servers.0.format: 'int4-g127' is not known; did you mean 'int4-g128'"),
    ({"servers/0/framework": "vllm"}, "servers.0.framework: 'vllm' is not known; known: executorch-cpu"),
    # numbers
    ({"classes/0/rate": "12 Hz"}, "classes.0.rate: '12 Hz' is in Hz, but 1/s is needed (such as '12/h')"),
    ({"classes/0/rate": -1}, "classes.0.rate: is -1 1/s; it must be >= 0"),
    ({"classes/0/prompt_tokens": 0}, "classes.0.prompt_tokens: is 0; it must be a whole number >= 1"),
    ({"classes/0/deadline": 0}, "classes.0.deadline: is 0 s; it must be > 0 s, or 'none'"),
    ({"classes/0/accuracy_floor": 80}, "classes.0.accuracy_floor: is 80; it must be from 0 to 1"),
    ({"classes/0/difficulty": 99}, "classes.0.difficulty: is 99; it must be from -50 to 50"),
    ({"devices/0/count": 1.5}, "devices.0.count: is 1.5; it must be a whole number"),
    ({"devices/0/count": 2_000_000}, "devices.0.count: makes more than 1000000 devices"),
    ({"devices/0/memory_share": 0}, "devices.0.memory_share: is 0; it must be above 0 and at most 1"),
    ({"devices/0/memory_reserved": "16 GB"}, "devices.0.memory_reserved: is 16 GB of 16 GB: nothing is left"),
    ({"devices/0/activity": [3, 1]}, "devices.0.activity: is [3, 1]; the first of the pair must not be above"),
    ({"devices/0/speed": {"three": 0}}, "devices.0.speed.three: is 0 token/s; it must be > 0 token/s"),
    ({"servers/0/load_limit": 1}, "servers.0.load_limit: is 1; it must be above 0 and at most 0.999"),
    ({"servers/0/batch": 0}, "servers.0.batch: is 0; it must be a whole number >= 1"),
    ({"servers/0/batch": 900}, "servers.0.batch: is 900; beside the model there is room for"),
    ({"servers/0/format": "f16", "servers/0/memory": "12 GB"}, "servers.0.model: 'qwen2.5-7b-f16' takes 15.3 GB with"),
    ({"limits": {"accuracy": 1.2}}, "limits.accuracy: is 1.2; it must be from 0 to 1"),
    ({"limits": {"energy": "0 J"}}, "limits.energy: is 0 J"),
    ({"variants/1/accuracy": 70}, "variants.1.accuracy: is 70; it must be from 0 to 1"),
    ({"variants/1/accuracy": {"simple": 7}}, "variants.1.accuracy: of 'simple': is 7; it must be from 0 to 1"),
    ({"variants/1/accuracy": {}}, "variants.1.accuracy: is empty; give a share, or a table such as"),
    # what is missing, empty, or no table
    ({"variants": []}, "variants: is empty; at least one [[variants]] table is needed"),
    ({"classes": None}, "classes: is missing (at least one [[classes]] table is needed)"),
    ({"devices": 3}, "devices: is 3; it must be a list of tables ([[devices]] in TOML)"),
    ({"servers/0": 3}, "servers.0: is 3; it must be a table"),
    ({"network": "x"}, "network: is 'x'; it must be a table"),
    ({"network": None}, "network.uplink: is missing, and devices.0 has no uplink of its own"),
    ({"variants/0/formats": []}, "variants.0.formats: is empty; give formats such as"),
    ({"devices/0/device": None}, "devices.0.device: is missing (catalog device"),
    ({"devices/0/device": "dimensity-9300-gpu"}, "devices.0.power: is missing: the catalog has no number for"),
    ({"variants/1/model": "gpt2-xl"}, "variants.1.accuracy: is missing: no accuracy at piqa and mmlu of 'gpt2-xl-f16'"),
    ({"variants/1/model": "tinyllama-1.1b"}, "variants.1.hallucination: is missing: no hallucination rate of"),
    ({"servers/0/model": "opt-13b", "servers/0/format": "f16"}, "servers.0.accuracy: is missing: no accuracy at piqa"),
    ({"classes/1/benchmark": "gsm8k", "variants/1/model": "tinyllama-1.1b"}, "no accuracy at gsm8k of 'tinyllama-1.1b"),
    # what contradicts
    ({"variants/1/name": "llama3.2-1b-Q8_0"}, "'llama3.2-1b-Q8_0' is the name of one of variants.0, too"),
    ({"variants/0/name": "x"}, "variants.0.name: is given for 2 formats; give each format a table"),
    ({"variants/0/size": "1 GB"}, "variants.0.size: is given for 2 formats"),
    ({"classes/1/name": "simple"}, "classes.1.name: 'simple' is the name of classes.0, too"),
    ({"classes/0/rate": 0, "classes/1/rate": 0}, "classes.0.rate: is 0, and so are all others; somebody must ask"),
    ({"classes/0/prompt_tokens": 40000}, "and answer_tokens are 40128 together; 'qwen2.5-3b' (variants.1.model)"),
    ({"devices/0/framework": "tinychat", "devices/0/variants": ["three"]},
     "devices.0.variants.three: tinychat on snapdragon-8-gen-3 cannot run f16"),
    ({"servers/0/format": "executorch-int4-g128"}, "servers.0.format: server-gpu and llama.cpp-cuda on l4 cannot run"),
    ({**OWN_PHONE, "devices/0/device": "mine", "devices/0/variants": ["three"]}, "'mine' has no cpu_flops_per_s"),
    ({"weights": dict.fromkeys(("delay", "energy", "hallucination", "accuracy", "accessibility"), 0)},
     "weights.delay: is 0, and so are all other weights"),
    ({"servers": [], "devices/0/uplink_to": {"s": 1e6}}, "'s' is no server; there are no [[servers]]"),
    # numbers of unknown origin, and of some classes alone
    ({"variants/1/accuracy": 0.7}, 'is given, but not where it is from: put "variants.1.accuracy" = "..." under'),
    ({"servers/0/hallucination": 0.1}, "servers.0.hallucination: is given, but not where it is from"),
    ({"variants/1/accuracy": {"simple": 0.7}, "sources": {"variants.accuracy": "x"}},
     "variants.1.accuracy: has no share for complex; give one for every class"),
    ({"variants/1/accuracy": {"simple": 0.7, "complx": 0.7}}, "'complx' is no class; did you mean 'complex'"),
])  # fmt: skip
def test_a_fault_is_told_by_its_key(changes: dict[str, Any], message: str) -> None:
    found = faults(changes)
    assert any(message in one for one in found), found


def test_no_fault_hides_another() -> None:
    """All of a file's faults come at once, those of faulty tables' other keys too."""
    found = faults({
        "variants/0/model": "llama", "variants/1/accuracy": 2, "classes/0/rate": "often", "devices/0/count": 1.5,
        "devices/0/device": "snapdragon", "devices/0/queries": {"simpel": 1}, "servers/0/device": "l5",
    })  # fmt: skip
    assert {one.split(":")[0] for one in found} == {
        "variants.0.model", "variants.1.accuracy", "classes.0.rate", "devices.0.count", "devices.0.device",
        "devices.0.queries.simpel", "servers.0.device",
    }  # fmt: skip


def test_names_of_groups_must_differ() -> None:
    second = {"name": "a-2", "device": "apple-a17-pro"}
    found = faults({"devices": [*RAW["devices"], second]})
    assert found == ["devices.1.name: 'a-2' is the name of one of devices.0, too; give each its own"]


def test_more_classes_than_can_be_divided() -> None:
    many = [{"name": f"c{k}", "rate": 1.0} for k in range(9)]
    assert "classes: has 9 tables; give up to 8 classes" in faults({"classes": many})


def test_what_is_fine() -> None:
    """Things that look odd and are right."""
    fine: tuple[dict[str, Any], ...] = (
        {"servers": [], "network": None},
        {"network": None, "devices/0/uplink": 0, "devices/0/downlink": 0},
        {"devices/0/variants": []},
        {"devices/0/framework": "tinychat"},
        {"devices/0/framework": "tinychat", "devices/0/variants": ["three"], "devices/0/speed": {"three": "9 token/s"}},
        {"classes/0/rate": 0},
        {"classes/0/rate": 0, "classes/1/rate": 0, "devices/0/queries": {"simple": 0.01}},
        {"variants/1/accuracy": 0.5, "sources": {"variants.1.accuracy": "our own test set"}},
        {"variants/1/model": "gpt2-xl", "variants/1/accuracy": 0.3, "variants/1/hallucination": 0.5,
         "assumptions": {"variants.accuracy": "a guess", "variants.hallucination": "a guess"}},
        {"servers/0/airtime": "none", "limits": {"energy": "none", "device_load": "none"}},
    )  # fmt: skip
    for changes in fine:
        assert ea.Scenario.from_mapping(changed(changes)).deployment().devices == 2


@pytest.mark.parametrize(("text", "message"), [
    ("problem = 'deploiment'\nversion = 1\n[[devices]]\n", "did you mean 'deployment'"),
    ("version = 1\n[[classes]]\nname = 'x'\n", "problem: is missing"),
    ("problem = 'deployment'\n[[classes]]\nname = 'x'\n", "version: is missing"),
])  # fmt: skip
def test_the_kind_is_found(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ea.DataError, match=message):
        ea.Scenario.load(file)
