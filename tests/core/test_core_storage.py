"""Solutions on disk: what comes back is what was saved, and nothing else is accepted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgealloc as ea
from edgealloc.core import storage
from edgealloc.core.files import write_atomically


def problem(**changes: Any) -> ea.SplitTraining:
    fields: dict[str, Any] = {
        "layers": 3, "layer_flops": 1e12, "upload_bits": [1e6, 2e6, 3e6], "user_flops_per_cycle": 1000.0,
        "user_kappa": 1e-28, "user_frequency_max_hz": 1e9, "power_max_w": 1.0, "samples": 100.0,
        "server_flops_per_cycle": [1e4, 2e4], "server_frequency_max_hz": 1e9, "bandwidth_max_hz": 1e6,
        "server_joules_per_flop": 1e-12, "gain": np.full((3, 2), 1e-9), "noise_psd_w_per_hz": 1e-15,
        "weights": ea.Weights(1.0, np.array([0.5, 1.0, 2.0]), 3.0, reference={"delay": 2.0}),
        "stability": ea.Stability("fu", lambda_min=0.5), "user_names": ["Ä", "b", "c"],
        "server_names": ["s|1", "s&2"], "user_xy_m": np.arange(6.0).reshape(3, 2),
        "server_xy_m": np.zeros((2, 2)), "source": "test",
    }
    return ea.SplitTraining(**{**fields, **changes})


def same(a: Any, b: Any) -> bool:
    """Equality that looks into arrays, mappings and dataclasses."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.asarray(a).dtype == np.asarray(b).dtype and np.array_equal(a, b)
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    """Every field of the solution and of its problem comes back bit by bit, types included."""
    solution = problem().solve("greedy", seed=5)
    path = solution.save(tmp_path / "answer")
    assert path.name == "answer.npz"
    loaded = ea.Solution.load(path)
    for field in dataclasses.fields(ea.Solution):
        assert same(getattr(solution, field.name), getattr(loaded, field.name)), field.name
    assert loaded.summary() == solution.summary()
    assert [one.name for one in tmp_path.iterdir()] == ["answer.npz"]


def test_infeasible_solution_keeps_its_diagnosis(tmp_path: Path) -> None:
    """The repair that was saved still mends the problem that was saved."""
    broken = problem(stability_limit=1e-9)
    loaded = ea.Solution.load(broken.solve("greedy").save(tmp_path / "x.npz"))
    assert loaded.status is ea.Status.INFEASIBLE
    assert loaded.allocation is None
    with pytest.raises(ea.InfeasibleError):
        loaded.require()
    assert loaded.diagnosis is not None
    mended = loaded.problem.replace(**loaded.diagnosis.changes)
    assert mended.solve("greedy").status is ea.Status.FEASIBLE


def test_solution_with_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound, gap, both kinds of price and the history of a method that proves something."""
    monkeypatch.setattr("edgealloc.core.method._REGISTERED", {})

    def proves(of: ea.SplitTraining, run: ea.Run) -> ea.Outcome:
        run.report("only", 1, None, 0.5)
        greedy = of.methods()["greedy"](of, run)
        return dataclasses.replace(greedy, bound=0.5, bound_prices={"bandwidth_hz": np.array([1e-9, np.inf])},
                                   attempts=("ä",))

    ea.register_method("split-training", ea.Method("storage-test", "", run=proves))
    solution = problem().solve("storage-test")
    loaded = ea.Solution.load(solution.save(tmp_path / "x.npz"))
    assert loaded.bound == 0.5
    assert loaded.gap == solution.gap
    assert loaded.attempts == ("ä",)
    assert loaded.history == solution.history
    assert same(dict(loaded.bound_prices), dict(solution.bound_prices))
    assert same(dict(loaded.prices), dict(solution.prices))


def tampered(path: Path, change: Any) -> None:
    """Rewrite the manifest of a saved solution."""
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    manifest = json.loads(arrays["manifest"].tobytes().decode())
    change(manifest)
    arrays["manifest"] = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return problem().solve("greedy").save(tmp_path / "x.npz")


def test_newer_and_foreign_formats(saved: Path) -> None:
    tampered(saved, lambda manifest: manifest.update(schema_version=storage.SCHEMA_VERSION + 1))
    with pytest.raises(ea.DataError, match="upgrade edgealloc"):
        ea.Solution.load(saved)
    tampered(saved, lambda manifest: manifest.update(schema_version=1, format="other"))
    with pytest.raises(ea.DataError, match="'other'"):
        ea.Solution.load(saved)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.npz"
    text.write_text("not a zip file")
    empty = tmp_path / "empty.npz"
    empty.write_bytes(b"")
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, a=np.zeros(3))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, manifest=np.array([{"a": 1}], dtype=object))
    one_array = tmp_path / "one.npz"
    with one_array.open("wb") as stream:
        np.save(stream, np.zeros(3))
    for path in (text, empty, foreign, pickled, one_array, tmp_path / "absent.npz", tmp_path):
        with pytest.raises(ea.DataError):
            ea.Solution.load(path)


def test_truncated_and_corrupted_files(saved: Path) -> None:
    """Whatever is cut off or flipped gives a DataError or the right answer, never another exception."""
    whole = saved.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 25)):
        saved.write_bytes(whole[:length])
        with pytest.raises(ea.DataError):
            ea.Solution.load(saved)
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(whole), 60):
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        saved.write_bytes(bytes(broken))
        try:
            ea.Solution.load(saved)
        except ea.DataError:
            continue


@pytest.mark.parametrize("change", [
    lambda manifest: manifest.pop("problem"),
    lambda manifest: manifest.update(kind="unknown-kind"),
    lambda manifest: manifest["problem"]["fields"].pop("gain"),
    lambda manifest: manifest["problem"]["fields"].update(surprise=1),
    lambda manifest: manifest["problem"].update({"$type": "os:system"}),
    lambda manifest: manifest["problem"]["fields"].update(gain={"$array": "a999"}),
    lambda manifest: manifest["problem"].update({"$type": "weights"}),
    lambda manifest: manifest["solution"].update(status="splendid"),
    lambda manifest: manifest["solution"].pop("seed"),
    lambda manifest: manifest["solution"].update(surprise=1),
    lambda manifest: manifest["solution"].update(allocation=3),
    lambda manifest: manifest.update(solution=[1, 2]),
])
def test_damaged_manifests(saved: Path, change: Any) -> None:
    tampered(saved, change)
    with pytest.raises(ea.DataError):
        ea.Solution.load(saved)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"old")

    def fail(stream: Any) -> None:
        stream.write(b"new")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ea.DataError, match="cannot write"):
        write_atomically(tmp_path / "absent" / "x.npz", fail)


def test_what_cannot_be_saved_says_so() -> None:
    with pytest.raises(TypeError, match="cannot save a object"):
        storage._encode(object(), {})


def test_every_type_of_the_table_resolves() -> None:
    from edgealloc.core.links import resolve

    for path in storage.TYPES.values():
        assert dataclasses.is_dataclass(resolve(path))
