"""Claims about faulty pool-training files: each fault is named with its path, and all of them at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import edgealloc as ea

GOOD: dict[str, Any] = {
    "problem": "pool-training",
    "version": 1,
    "model": {"name": "gpt2-small", "batch": 8, "micro_batches": 4, "tokens": 64},
    "devices": [
        {"name": "orin", "device": "jetson-orin-nano-8gb", "count": 2},
        {"name": "pi", "device": "raspberry-pi-5-8gb"},
    ],
    "network": {"kind": "switch", "rate": "1 Gbit/s"},
}
LINKS: dict[str, Any] = {
    "kind": "links",
    "rate": "100 Mbit/s",
    "relays": ["router"],
    "links": [{"a": "orin-1", "b": "router"}, {"a": "orin-2", "b": "router"}, {"a": "pi", "b": "router"}],
}
OWN: dict[str, Any] = {"name": "box", "flops_per_s": "1 TFLOP/s", "memory": "8 GB", "busy_power": "20 W"}
DROP = object()


def with_changes(changes: dict[str, Any], base: dict[str, Any] = GOOD) -> dict[str, Any]:
    """The base with `path.to.key: value`; DROP removes the key."""
    raw = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, key = path.split(".")
        place: Any = raw
        for parent in parents:
            place = place[int(parent)] if parent.isdigit() else place.setdefault(parent, {})
        if value is DROP:
            del place[key]
        else:
            place[key] = value
    return raw


def faults(raw: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ea.DataError) as caught:
        ea.Scenario.from_mapping(raw)
    return {fault.field: fault.message for fault in caught.value.faults}


def test_the_good_ones_are_good() -> None:
    assert ea.Scenario.from_mapping(GOOD).devices == 3
    assert ea.Scenario.from_mapping({**GOOD, "network": LINKS}).problem().devices == 3
    assert ea.Scenario.from_mapping({**GOOD, "devices": [OWN]}).problem().devices == 1


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"model.name": "gpt2-smal"}, "model.name", "did you mean 'gpt2-small'"),
        ({"model.micro_batches": 3}, "model.micro_batches", "divide the batch of 8 evenly: one of 1, 2, 4, 8"),
        ({"model.micro_batches": 20000, "model.batch": 20000}, "model.micro_batches", "from 1 to 10000"),
        ({"model.tokens": 2000}, "model.tokens", "has 1024 learned positions"),
        ({"model.optimizer_states": "adamw"}, "model.optimizer_states", "is not known"),
        ({"model.lora_targets": ["gate"], "model.training": "frozen"}, "model.lora_targets", "not a matrix"),
        ({"model.tokens": [10, 20]}, "model.tokens", "must be a number"),
        ({"devices": []}, "devices", r"at least one [[devices]]"),
        ({"devices": DROP}, "devices", r"at least one [[devices]]"),
        ({"devices.0.device": "jetson-orin-nan"}, "devices.0.device", "did you mean"),
        ({"devices.0.devise": 1}, "devices.0.devise", "did you mean 'device'"),
        ({"devices.0.count": 0}, "devices.0.count", ">= 1"),
        ({"devices.0.count": 100000}, "devices.0.count", "more than 2000 devices"),
        ({"devices.1.name": "orin-2"}, "devices.1.name", "name of a device of devices.0"),
        ({"devices.0.memory": 0}, "devices.0.memory", "without memory"),
        ({"devices.0.memory_reserved": "9 GB"}, "devices.0.memory_reserved", "nothing is left for training"),
        ({"devices.0.utilisation": 1.2}, "devices.0.utilisation", "at most 1"),
        ({"devices.0.utilisation": 0.4, "devices.0.flops_per_s": 1e12}, "devices.0.utilisation", "beside flops_per_s"),
        ({"devices.0.idle_power": "40 W"}, "devices.0.idle_power", "above the power while training, 15 W"),
        ({"devices.0.idle_power": 3, "devices.0.idle_share": 0.2}, "devices.0.idle_share", "beside idle_power"),
        ({"devices.0.failure_probability": 1.5}, "devices.0.failure_probability", "from 0 to 1"),
        ({"devices.0.device": "dimensity-9300-gpu"}, "devices.0.memory", "the catalog has no number"),
        ({"devices.0.device": DROP}, "devices.0.flops_per_s", "without a catalog entry"),
        ({"network": DROP}, "network", r"a table [network] is needed"),
        ({"network.kind": "wify"}, "network.kind", "did you mean 'wifi'"),
        ({"network.rate": 0}, "network.rate", "> 0 bit/s"),
        ({"network.rate": DROP}, "network.rate", "is missing (bit/s of a port"),
        ({"network.rate": "20 MHz"}, "network.rate", "in Hz, but bit/s is needed"),
        ({"network.latency": -1}, "network.latency", ">= 0 s"),
        ({"network.links": LINKS["links"]}, "network.links", "use kind = 'links'"),
        ({"network.relays": ["router"]}, "network.relays", "use kind = 'links'"),
        ({"network.access_point": True}, "network.access_point", "of kind 'switch'"),
        ({"network.kind": "links"}, "network.links", "is missing"),
        ({"devices.1.name": "switch"}, "devices.1.name", "name of a device and of a relay"),
        ({"weights.delay": 0, "weights.energy": 0}, "weights.delay", "give one of them a weight"),
        ({"weights.stability": 1}, "weights.stability", "unknown key"),
        ({"limits.parallelisms": ["pipelin"]}, "limits.parallelisms", "did you mean 'pipeline'"),
        ({"limits.parallelisms": []}, "limits.parallelisms", "is empty"),
        ({"limits.deadline": 0}, "limits.deadline", "> 0 s"),
        ({"carbon_g_per_kwh": -1}, "carbon_g_per_kwh", ">= 0"),
        ({"version": 2}, "version", "expected 1"),
        ({"radio": {}}, "radio", "unknown key"),
    ],
)
def test_fault(changes: dict[str, Any], field: str, said: str) -> None:
    found = faults(with_changes(changes))
    assert field in found, found
    assert said in found[field], found[field]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"network.links.0.b": "ruter"}, "network.links.0.b", "did you mean 'router'"),
        ({"network.links.0.a": "pi-2"}, "network.links.0.a", "no device and no relay; did you mean"),
        ({"network.links.0.rate": 0}, "network.links.0.rate", "> 0 bit/s"),
        ({"network.rate": DROP}, "network.links.0.rate", "[network] has none"),
        ({"network.links.0.b": "orin-1"}, "network.links.0.b", "the other end"),
        ({"network.links.1.a": "orin-1"}, "network.links.1", "as network.links.0 does"),
        ({"network.links.2.one_way": True}, "network.links", "'pi' cannot be reached from 'orin-1'"),
        ({"network.links": LINKS["links"][:2]}, "network.links", "'pi' cannot be reached from 'orin-1'"),
        ({"network.links": LINKS["links"][2:]}, "network.links", "'orin-2', 'pi' cannot be reached"),
        (
            {"network.links": [*LINKS["links"][:2], {"a": "router", "b": "pi", "one_way": True}]},
            "network.links",
            "'pi' cannot reach 'orin-1'",
        ),
        ({"network.relays": ["router", "router"]}, "network.relays.1", "given twice"),
        ({"network.relays": ["router", "pi"]}, "network.relays.1", "name of a device and of a relay"),
        ({"network.links.0.speed": 5}, "network.links.0.speed", "unknown key"),
        ({"network.links": []}, "network.links", "cannot be reached"),
    ],
)
def test_fault_of_links(changes: dict[str, Any], field: str, said: str) -> None:
    found = faults(with_changes(changes, {**GOOD, "network": LINKS}))
    assert field in found, found
    assert said in found[field], found[field]


def test_all_faults_at_once() -> None:
    """A faulty key hides no other fault."""
    found = faults(
        with_changes(
            {
                "model.micro_batches": 3,
                "devices.0.count": -1,
                "devices.1.device": "raspberry",
                "network.rate": 0,
                "limits.parallelisms": ["magic"],
                "weights.energy": "much",
            }
        )
    )
    assert set(found) == {
        "model.micro_batches",
        "devices.0.count",
        "devices.1.device",
        "network.rate",
        "limits.parallelisms",
        "weights.energy",
    }


def test_an_unknown_or_missing_kind() -> None:
    """The kinds are listed, and the tables say which one the rest is checked as."""
    told = faults(with_changes({"problem": "pool-trainning"}))["problem"]
    assert "expected 'split-training' or 'pool-training'" in told
    assert "did you mean 'pool-training'" in told
    found = faults(with_changes({"problem": DROP, "network.rate": 0}))
    assert found.keys() == {"problem", "network.rate"}
    assert "is missing" in found["problem"]


def test_the_other_kinds_problem_is_refused() -> None:
    pool, split = ea.Scenario.from_mapping(GOOD), ea.Scenario.random(3, 1)
    with pytest.raises(ea.DataError, match=r"'pool-training', not 'split-training'; use scenario.pool_training\(\)"):
        pool.split_training()
    with pytest.raises(ea.DataError, match=r"'split-training', not 'pool-training'; use scenario.split_training\(\)"):
        split.pool_training()
    with pytest.raises(ea.DataError, match="has devices, no users"):
        _ = pool.users
    with pytest.raises(ea.DataError, match="has users and servers, no devices"):
        _ = split.devices


def test_what_only_the_problem_can_find_names_the_key() -> None:
    """An override is checked by the problem; a fault of a file is said of the file's key."""
    with pytest.raises(ea.DataError, match="deadline_s"):
        ea.Scenario.from_mapping(GOOD).pool_training(deadline_s=-1.0)


JUNK: tuple[Any, ...] = (None, True, -1, 0, 10**30, float("nan"), float("inf"), "x", "no", [], [1, 2], {}, {"a": 1})


def paths(value: Any, path: str = "") -> list[str]:
    """Every path of nested tables and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, one in items:
        here = f"{path}.{key}".lstrip(".")
        found += [here, *paths(one, here)]
    return found


def test_junk_is_a_data_error() -> None:
    """Whatever stands in place of any value, there is a problem and a table, or a DataError."""
    full = {
        **copy.deepcopy(GOOD),
        "network": copy.deepcopy(LINKS),
        "weights": {"delay": 1, "energy": 1, "reference": {"delay": 2}},
        "limits": {"deadline": 5, "parallelisms": ["data"]},
        "catalog": {"devices": {"box": {"flops_per_s": 1e12, "memory_bytes": 8e9, "power_w": 20}}},
    }
    refused: list[str] = []
    for path in paths(full):
        for junk in JUNK:
            raw = copy.deepcopy(full)
            *parents, key = path.split(".")
            place: Any = raw
            for parent in parents:
                place = place[int(parent)] if isinstance(place, list) else place[parent]
            place[int(key) if isinstance(place, list) else key] = junk
            try:
                ea.Scenario.from_mapping(raw).table()
            except ea.DataError as error:
                refused.append(str(error))
    assert all(refused)
    assert len(refused) > 300
