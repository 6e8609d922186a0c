"""Claims about reading and writing: three formats say the same, broken files say where, saving loses
nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import edgealloc as ea
from edgealloc.scenarios.files import read_gains, read_mapping

SMALL: dict[str, Any] = {
    "problem": "split-training",
    "version": 1,
    "name": "small",
    "seed": 3,
    "model": {"name": "llama3.2-1b"},
    "area": {"size": "300 m"},
    "radio": {"path_loss": "umi", "noise_figure_db": 5, "power_max": "23 dBm"},
    "users": [{"count": 4, "device": "apple-a17-pro", "samples": [100, 200]}],
    "servers": [{"count": 2, "device": "t4", "bandwidth": "20 MHz"}],
}


def same_problem(a: Any, b: Any) -> bool:
    """Every field equal, bit for bit."""
    for field in dataclasses.fields(a):
        one, two = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray):
            if not np.array_equal(one, two):
                return False
        elif field.name == "weights":
            if dataclasses.astuple(one) != dataclasses.astuple(two):
                return False
        elif one != two:
            return False
    return True


@pytest.mark.parametrize("options", [{}, {"users": 7, "servers": 1}, {"load": "congested", "seed": 5, "batch": 4}])
def test_a_saved_random_scenario_gives_the_same_problem(tmp_path: Path, options: dict[str, Any]) -> None:
    scenario = ea.Scenario.random(**options)
    loaded = ea.Scenario.load(scenario.save(tmp_path / "s.toml"))
    assert same_problem(scenario.problem(), loaded.problem())
    bare = ea.Scenario.load(scenario.save(tmp_path / "bare.toml", comments=False))
    assert same_problem(scenario.problem(), bare.problem())
    assert loaded.assumptions() == scenario.assumptions()


def test_toml_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    toml = ea.Scenario.from_mapping(SMALL).save(tmp_path / "s.toml")
    (tmp_path / "s.json").write_text(json.dumps(SMALL), encoding="utf-8")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8-sig")
    problems = [ea.Scenario.load(tmp_path / name).problem() for name in (toml.name, "s.json", "s.yaml")]
    assert same_problem(problems[0], problems[1])
    assert same_problem(problems[0], problems[2])


def test_yaml_traps(tmp_path: Path) -> None:
    """`1e-9`, `20e6` are text to PyYAML, `no` and `on` truth values; all mean what was written."""
    text = yaml.safe_dump(SMALL).replace("20 MHz", "20e6").replace("noise_figure_db: 5", "noise_density: 1e-20")
    text = text.replace("path_loss: umi", "path_loss: umi\n  fading: no\n  shadowing: on")
    file = tmp_path / "s.yml"
    file.write_text(text, encoding="utf-8")
    problem = ea.Scenario.load(file).problem()
    assert problem.bandwidth_max_hz[0] == 20e6
    assert problem.noise_psd_w_per_hz == 1e-20
    file.write_text(text.replace("name: small", "name: no"), encoding="utf-8")
    with pytest.raises(ea.DataError, match=r"name: is False, not a text .*quotes"):
        ea.Scenario.load(file)
    file.write_text(text + "\non: 3\n", encoding="utf-8")
    with pytest.raises(ea.DataError, match="key True"):
        ea.Scenario.load(file)
    file.write_text(text + "\nseed: 4\n", encoding="utf-8")
    with pytest.raises(ea.DataError, match=r"'seed' occurs twice .*line"):
        ea.Scenario.load(file)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.toml", b"a = 1\nb = = 2\n", "line 2, column 5"),
        ("a.yaml", b"a: 1\nb: [1, 2\n", r"line 3, column 1"),
        ("a.json", b'{"a": 1,\n "b"}', "line 2 column 5"),
        ("a.json", b'{"a": 1, "a": 2}', "'a' occurs twice"),
        ("a.toml", b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "not UTF-8"),
        ("a.yaml", b"a: \x00\x00", "NUL"),
        ("a.toml", b"  \n", "empty"),
        ("a.yaml", b"- 1\n- 2\n", "holds a list"),
        ("a.json", b"3", "holds a int"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"a: &a [x]\nb: *c\n", "undefined alias"),
        ("a.txt", b"a = 1", "suffix"),
    ],
)
def test_broken_files_say_what_and_where(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ea.DataError, match=said) as caught:
        read_mapping(file)
    assert str(file) in str(caught.value)


def test_yaml_aliases_cannot_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ea.DataError, match="millions"):
        read_mapping(file)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ea.DataError, match="No such file"):
        ea.Scenario.load(tmp_path / "none.toml")
    with pytest.raises(ea.DataError, match="folder"):
        ea.Scenario.load(tmp_path)


def test_gains_from_files(tmp_path: Path) -> None:
    """.npy and .csv, linear and dB, with -inf dB for no link; names are relative to the scenario."""
    gain = np.array([[1e-9, 0.0], [1e-10, 1e-11], [1e-9, 1e-9], [2e-9, 1e-7]])
    np.save(tmp_path / "g.npy", gain)
    with np.errstate(divide="ignore"):
        np.savetxt(tmp_path / "g.csv", 10.0 * np.log10(gain), delimiter=",")
    for name, unit in (("g.npy", "linear"), ("g.csv", "dB")):
        raw = {
            **SMALL,
            "radio": {"gain_file": name, "gain_unit": unit, "noise_figure_db": 5, "power_max": 0.2},
        }
        scenario = ea.Scenario.from_mapping(raw, tmp_path)
        problem = scenario.problem()
        np.testing.assert_allclose(problem.gain, gain, rtol=1e-12)
        assert problem.user_xy_m is None
        (tmp_path / "sub").mkdir(exist_ok=True)
        again = ea.Scenario.load(scenario.save(tmp_path / "sub" / "s.toml"))
        assert same_problem(problem, again.problem())


def test_gain_files_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot read"):
        read_gains(tmp_path / "g.npy", "linear")


def test_save_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    scenario = ea.Scenario.from_mapping(SMALL)
    with pytest.raises(ea.DataError, match=r"ends in \.toml"):
        scenario.save(tmp_path / "s.yaml")
    with pytest.raises(ea.DataError, match="cannot write"):
        scenario.save(tmp_path / "none" / "s.toml")
