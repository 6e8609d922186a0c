"""Claims about faulty scenarios: each fault is named with its path, and all of them at once."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgealloc as ea

GOOD: dict[str, Any] = {
    "problem": "split-training",
    "version": 1,
    "model": {"name": "llama3.2-1b"},
    "area": {"size": 300},
    "radio": {"path_loss": "umi", "noise_figure_db": 5, "power_max": 0.2},
    "users": [{"count": 3, "device": "apple-a17-pro", "samples": 100}],
    "servers": [{"count": 2, "device": "t4", "bandwidth": 20e6}],
}
DROP = object()


def with_changes(**changes: Any) -> dict[str, Any]:
    """GOOD with `path__to__key=value`; DROP removes the key."""
    raw = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, key = path.split("__")
        place: Any = raw
        for parent in parents:
            place = place[int(parent)] if parent.isdigit() else place.setdefault(parent, {})
        if value is DROP:
            del place[key]
        else:
            place[key] = value
    return raw


def faults(raw: dict[str, Any], folder: Path = Path()) -> dict[str, str]:
    with pytest.raises(ea.DataError) as caught:
        ea.Scenario.from_mapping(raw, folder)
    return {fault.field: fault.message for fault in caught.value.faults}


def test_the_good_one_is_good() -> None:
    assert ea.Scenario.from_mapping(GOOD).problem().users == 3


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"model__name": DROP}, "model.name", "is missing"),
        ({"model": DROP}, "model", r"table \[model\] is needed"),
        ({"radio__power_max": -0.2}, "radio.power_max", "-0.2 W; it must be > 0 W"),
        ({"radio__power_max": "20 MHz"}, "radio.power_max", "in Hz, but W is needed"),
        ({"radio__power_max": float("nan")}, "radio.power_max", "not finite"),
        ({"radio__power_min": 0.3}, "radio.power_max", "below radio.power_min"),
        ({"users__0__power_max": 0.1, "radio__power_min": 0.15}, "users.0.power_max", "below"),
        ({"radio__pathloss": "umi"}, "radio.pathloss", "did you mean 'path_loss'"),
        ({"radio__path_loss": "ummi"}, "radio.path_loss", "did you mean 'umi'"),
        ({"radio__path_loss": DROP}, "radio.path_loss", "missing"),
        ({"radio__noise_density": 1e-20}, "radio.noise_density", "one of the two"),
        ({"radio__noise_figure_db": DROP}, "radio.noise_figure_db", "missing"),
        ({"radio__count_upload_delay": False}, "radio.power_min", "no best power"),
        ({"model__name": "lama3.2-1b"}, "model.name", "did you mean 'llama3.2-1b'"),
        ({"model__name": "t5-base"}, "model.name", "."),
        ({"model__lora_targets": ["x"]}, "model.lora_targets", "no matrix"),
        ({"model__lora_targets": "q"}, "model.lora_targets", "must be a list"),
        ({"model__optimizer_states": "adam"}, "model.optimizer_states", "did you mean"),
        ({"users__0__device": "aple-a17-pro"}, "users.0.device", "did you mean 'apple-a17-pro'"),
        (
            {"users__0__device": "dimensity-9300-gpu", "users__0__memory": 8e9},
            "users.0.power",
            "the catalog has no power",
        ),
        ({"users__0__count": 0}, "users.0.count", ">= 1"),
        ({"users__0__count": DROP}, "users.0.count", "missing"),
        ({"users__0__positions": [[1, 2]]}, "users.0.count", "1 positions"),
        ({"users__0__min_local_layers": 17}, "users.0.min_local_layers", "16 layers"),
        (
            {"users__0__min_local_layers": 5, "users__0__max_local_layers": 3},
            "users.0.min_local_layers",
            "above",
        ),
        ({"users": {"count": 3}}, "users", r"\[\[users\]\]"),
        ({"users": []}, "users", "is empty"),
        ({"servers": []}, "servers", "is empty"),
        ({"servers": DROP}, "servers", r"\[\[servers\]\] table is needed"),
        ({"servers__0__energy": "free"}, "servers.0.energy", "expected"),
        ({"area__size": DROP}, "area.size", "missing"),
        ({"area__radius": 100}, "area.radius", "one of the two"),
        ({"stability": {"model": "fu"}}, "stability.lambda_min", "missing"),
        ({"limits": {"stability_limit": 0}}, "limits.stability_limit", "> 0"),
        ({"weights": {"delay": 0}}, "weights.delay", "> 0"),
        ({"version": 2}, "version", "expected 1"),
        ({"version": True}, "version", "expected 1"),
        ({"problem": "split"}, "problem", "did you mean 'split-training'"),
        ({"seed": -1}, "seed", ">= 0"),
        ({"catalog": {"devices": {"mine": {"flops": 1}}}}, "catalog.devices.mine.flops", "flops_per_s"),
        ({"users__0__count": 10**9}, "users", "more links"),
    ],
)
def test_one_fault_by_path(changes: dict[str, Any], field: str, said: str) -> None:
    found = faults(with_changes(**changes))
    assert field in found, found
    assert re.search(said, found[field]), found[field]
    assert len(found) == 1, found


def test_mixed_server_energies_are_refused() -> None:
    raw = with_changes()
    raw["servers"].append({"count": 1, "device": "l4", "bandwidth": 1e6, "energy": "clock-scaled"})
    assert "same model" in faults(raw)["servers"]


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Faults of single keys hide neither each other nor what only several keys can get wrong."""
    np.save(tmp_path / "g.npy", np.full((5, 2), np.nan))
    raw = with_changes(
        model__name="lama",
        radio__power_max="5 s",
        radio__gain_file="g.npy",
        users__0__device="pixel",
        users__0__power=-3,
        servers__0__bandwidth=DROP,
        extra=1,
        stability={"model": "fu"},
    )
    found = faults(raw, tmp_path)
    assert set(found) == {
        "model.name", "radio.power_max", "radio.gain_file", "radio.gain_file[0, 0]", "users.0.device",
        "users.0.power", "servers.0.bandwidth", "extra", "stability.lambda_min",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gain", "field", "said"),
    [
        (np.full((3, 2), 1.5), "radio.gain_file[0, 0]", "is 1.5"),
        (np.full((3, 2), np.nan), "radio.gain_file[0, 0]", "nan"),
        (np.full((3, 2), -90.0), "radio.gain_file[0, 0]", "gain_unit = 'dB'"),
        (
            np.full((2, 3), 1e-9),
            "radio.gain_file",
            r"shape \(2, 3\); it must be \(users, servers\) = \(3, 2\)",
        ),
        (np.full(6, 1e-9), "radio.gain_file", "shape"),
        (np.array([["a", "b"]]), "radio.gain_file", "not real numbers"),
    ],
)
def test_gain_matrices(tmp_path: Path, gain: Any, field: str, said: str) -> None:
    np.save(tmp_path / "g.npy", gain)
    raw = with_changes(radio__gain_file="g.npy", radio__path_loss=DROP)
    assert re.search(said, faults(raw, tmp_path)[field])


@pytest.mark.parametrize("content", [b"", b"1,2\n3\n", b"a,b\n", b"\x93\xff\x00", b"1;2\n"])
def test_broken_gain_csv(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.csv").write_bytes(content)
    raw = with_changes(radio__gain_file="g.csv", radio__path_loss=DROP)
    assert "g.csv" in faults(raw, tmp_path)["radio.gain_file"]


def test_missing_gain_file(tmp_path: Path) -> None:
    for name in ("g.npy", "g.mat"):
        raw = with_changes(radio__gain_file=name, radio__path_loss=DROP)
        assert name in faults(raw, tmp_path)["radio.gain_file"] or "suffix" in faults(raw, tmp_path)["radio.gain_file"]
