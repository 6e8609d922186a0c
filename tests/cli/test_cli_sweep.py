"""Claims about `edgealloc sweep`: values as written, tables and files, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import edgealloc as ea
from edgealloc.cli import app
from edgealloc.cli.sweep import parse_vary


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["sweep", *(str(arg) for arg in args)])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return ea.Scenario.random(users=6, servers=2, seed=1).save(tmp_path / "small.toml")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=1:10:10", list(range(1, 11))),
        ("a.b=0:1:3", [0.0, 0.5, 1.0]),
        ("a.b=1.0:3.0:2", [1.0, 3.0]),
        ("a.b=5:1:3", [5, 3, 1]),
        ("a.b = 1, 2.5 ,1e-3", [1, 2.5, 1e-3]),
        ("a.b=20 MHz,none", ["20 MHz", "none"]),
        ("a.b=true,false", [True, False]),
    ],
)
def test_values(text: str, values: list[object]) -> None:
    key, parsed = parse_vary(text)
    assert key == "a.b"
    assert parsed == values
    assert [type(one) for one in parsed] == [type(one) for one in values]


def test_table_csv_and_plot(small: Path, tmp_path: Path) -> None:
    done = run(small, "--vary", "weights.energy=1:3:2", "--samples", 2, "--methods", "certified,greedy",
               "--out", tmp_path / "rows.csv", "--plot", tmp_path / "curves.png", "--y", "total_energy_j")
    assert done.exit_code == 0, done.output
    assert "weights.energy  method     samples" in done.stdout
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert list(frame["value"]) == [1, 1, 1, 1, 3, 3, 3, 3]
    assert list(frame["seed"]) == [1, 1, 2, 2] * 2
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_json(small: Path) -> None:
    done = run(small, "--vary", "users.0.count=3,5", "--methods", "greedy", "--json")
    document = json.loads(done.stdout)
    assert document["values"] == [3, 5]
    assert [row["objective"] for row in document["rows"]] == [
        ea.Scenario.load(small).changed({"users.0.count": count}).problem().solve("greedy", seed=1).objective
        for count in (3, 5)
    ]
    assert document["summary"][0]["objective_ci"] is None


def test_plugin_in_workers(small: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import edgealloc as ea\n"
        "from edgealloc.formulations.split_training.baselines import greedy\n"
        "ea.register_method('split-training', ea.Method('mine', 'greedy by another name', run=greedy))\n",
        encoding="utf-8",
    )
    done = run(small, "--vary", "weights.energy=1,2", "--methods", "mine,greedy", "--plugin", plugin, "--workers", 2,
               "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert [row["method"] for row in rows] == ["mine", "greedy"] * 2
    assert rows[0]["objective"] == rows[1]["objective"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--vary", "weights.energy"], "is not KEY=VALUES"),
        (["--vary", "weights.energy=1:10"], "START:STOP:COUNT"),
        (["--vary", "weights.energy=1:10:1"], "at least 2"),
        (["--vary", "weights.energy=,"], "names no values"),
        (["--vary", "weights.enrgy=1,2"], "did you mean 'energy'"),
        (["--vary", "weights.energy=cheap"], "weights.energy"),
        (["--vary", "weights.energy=1,2", "--methods", "gredy"], "did you mean 'greedy'"),
        (["--vary", "weights.energy=1,2", "--y", "objectiv"], "did you mean 'objective'"),
        (["--vary", "weights.energy=1,2", "--level", "95"], "between 0 and 1"),
        (["--vary", "weights.energy=1,2", "--out", "rows.txt"], "must end in .csv"),
        (["--vary", "weights.energy=1,2", "--samples", "0"], "samples is 0"),
    ],
)
def test_bad_input(small: Path, options: list[str], expected: str) -> None:
    done = run(small, *options)
    assert done.exit_code == 2
    assert expected in done.stderr


def test_infeasible_everywhere(small: Path) -> None:
    done = run(small, "--vary", "limits.deadline=1 ms,2 ms", "--methods", "greedy")
    assert done.exit_code == 3
    assert "2 of 2 rows have no allocation" in done.stdout
