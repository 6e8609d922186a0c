"""Claims about bad input: exit 2 and one message with every fault; exit 3 with a repair that works; no
traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import edgealloc as ea
from edgealloc.cli import app

COMMANDS = ("check", "solve", "compare")
GOOD = """
problem = "split-training"
version = 1
[model]
name = "llama3.2-1b"
[area]
size = "300 m"
[radio]
path_loss = "umi"
noise_figure_db = 5
power_max = "23 dBm"
[[users]]
count = 3
device = "apple-a17-pro"
samples = 500
[[servers]]
count = 2
device = "t4"
bandwidth = "20 MHz"
"""


def run(*args: object) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert "Traceback" not in result.output + result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def edited(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (edited("samples = 500", ""), "users.0.samples: is missing"),
        (edited('"23 dBm"', "-0.2"), "radio.power_max: is -0.2 W"),
        (edited('"23 dBm"', '"20 MHz"'), "radio.power_max: '20 MHz' is in Hz, but W is needed"),
        (edited("llama3.2-1b", "llama-3.2-1b"), "did you mean 'llama3.2-1b'"),
        (edited("noise_figure_db", "noise_figure"), "radio.noise_figure: is an unknown key; did you mean"),
        (edited('[[servers]]\ncount = 2\ndevice = "t4"\nbandwidth = "20 MHz"\n', ""), "servers: is missing"),
        (GOOD + "[[servers]\n", "not valid TOML"),
        ("", "empty"),
        ("\x00\x01", "binary"),
    ],
)
def test_faults_exit_2(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text, encoding="utf-8")
    for command in COMMANDS:
        result = run(command, file)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert said in result.stderr
        assert str(file) in result.stderr


def test_empty_server_list(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    raw = ea.Scenario.random(users=3, servers=1).mapping()
    file.write_text(json.dumps({**raw, "servers": []}), encoding="utf-8")
    result = run("check", file)
    assert result.exit_code == 2
    assert "servers: is empty" in result.stderr


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (np.array([[np.nan, 1e-9]] * 3), r"gain_file\[0, 0\]: is nan"),
        (np.array([[1e-9, 2.0]] * 3), r"gain_file\[0, 1\]: is 2 .*3 such entries"),
        (np.full((2, 2), 1e-9), r"shape \(2, 2\); it must be \(users, servers\) = \(3, 2\)"),
    ],
)
def test_gains_exit_2(tmp_path: Path, gain: np.ndarray[tuple[int, int], np.dtype[np.float64]], said: str) -> None:
    np.save(tmp_path / "g.npy", gain)
    file = tmp_path / "s.toml"
    file.write_text(edited('path_loss = "umi"', 'gain_file = "g.npy"'), encoding="utf-8")
    result = run("solve", file)
    assert result.exit_code == 2
    assert re.search(said, result.stderr)


def test_every_fault_in_one_message(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    text = edited('"23 dBm"', "-1").replace("size", "sise").replace("t4", "t5").replace("20 MHz", "20 W")
    file.write_text(text, encoding="utf-8")
    result = run("check", file)
    assert result.exit_code == 2
    for path in ("radio.power_max", "area.sise", "servers.0.device", "servers.0.bandwidth"):
        assert f"- {path}: " in result.stderr
    assert "5 faults" in result.stderr or "4 faults" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--gap", "x"), ("--gap", "-1"), ("--gap", "nan"), ("--time-limit", "0"), ("--seed", "-1"),
        ("--threads", "0"), ("--method", "gredy"), ("--nothing",), ("--out", "x.pdf"), ("--out",
        "none/x.npz"), ("--warm-start", "none.npz"), ("--plot", "."),
    ],
)  # fmt: skip
def test_bad_options_exit_2(tmp_path: Path, options: tuple[str, ...]) -> None:
    file = tmp_path / "good.toml"
    file.write_text(GOOD, encoding="utf-8")
    result = run("solve", file, *options)
    assert result.exit_code == 2
    assert result.stderr


def test_a_warm_start_of_another_problem_exits_2(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(GOOD, encoding="utf-8")
    other = ea.Scenario.random(users=5, servers=2).problem().solve("greedy").save(tmp_path / "o.npz")
    assert run("solve", file, "--warm-start", other).exit_code == 2


@pytest.mark.parametrize("limit", ["stability_limit = 1e-4", ""])
def test_infeasible_exits_3_and_the_repair_works(tmp_path: Path, limit: str) -> None:
    """A stability limit or a memory that nobody can meet: apply what is printed, and it is feasible."""
    text = GOOD + f"[limits]\n{limit}\n"
    if not limit:
        text = text.replace("samples = 500", "samples = 500\nmemory_share = 0.05")
    file = tmp_path / "tight.toml"
    file.write_text(text, encoding="utf-8")
    for command in COMMANDS:
        result = run(command, file)
        assert result.exit_code == 3
        assert "repair" in result.stdout
        document = json.loads(run(command, file, "--json").stdout)
        changes = document["diagnosis"]["changes"]
        assert changes
    printed = re.findall(r"set (\S+) = (\S+)", result.stdout)
    assert printed == [(change["path"], str(change["value"])) for change in changes]
    mended = ea.Scenario.load(file).changed({path: float(value) for path, value in printed})
    mended.save(file)
    for command in COMMANDS:
        assert run(command, file).exit_code == 0
