"""The commands on a fine-tuning file, and `edgealloc fits`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import edgealloc as ea
from edgealloc.cli import app

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "scenarios" / "field_teams.toml"


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def document(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.toml"
    done = run("new", file, "--kind", "fine-tuning", "--jobs", 9, "--servers", 2, "--seed", 4)
    assert done.exit_code == 0, done.output
    return file


def test_new_and_check(fleet: Path) -> None:
    """A new file is that of `random_fleet`; its page says what is in it, and from where."""
    scenario = ea.Scenario.load(fleet)
    assert scenario.mapping() == ea.Scenario.random_fleet(9, 2, seed=4).mapping()
    page = run("check", fleet)
    assert page.exit_code == 0, page.output
    for words in ("9 jobs on devices beside 2 edge servers", "memory of a server for all of its jobs", "2305.17333",
                  "weights are relative to", "quality unknown, and counted as 0, of", "assumptions"):  # fmt: skip
        assert words in page.stdout, words
    checked = document(run("check", fleet, "--json"))
    assert (checked["kind"], checked["jobs"], checked["servers"]) == ("fine-tuning", 9, 2)
    assert {"delay", "energy"} == set(checked["weights_reference"])


@pytest.mark.parametrize(("options", "message"), [
    (("--kind", "fine-tuning", "--users", 4), "--users: a fine-tuning scenario has none; it takes --jobs"),
    (("--jobs", 4), "--jobs: a split-training scenario has none"),
    (("--kind", "fine-tunning"), "did you mean 'fine-tuning'"),
    (("--kind", "fine-tuning", "--jobs", 0), "jobs: is 0; give a whole number >= 1"),
    (("--kind", "fine-tuning", "--model", "opt-1b"), "model.name: 'opt-1b' is not in the catalog; did you mean"),
])  # fmt: skip
def test_new_refuses_what_is_not_there(options: tuple[object, ...], message: str, tmp_path: Path) -> None:
    done = run("new", tmp_path / "x.toml", *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "x.toml").exists()


def test_the_example_solves(tmp_path: Path) -> None:
    """Every command works on the example by its kind."""
    out = tmp_path / "s.npz"
    told = document(run("solve", EXAMPLE, "--json", "--out", out))
    assert told["bound"] <= told["objective"]
    assert told["gap"] <= 1e-3
    assert len(told["jobs"]) == 61
    assert len(told["servers"]) == 2
    loaded = ea.Solution.load(out)
    assert loaded.objective == told["objective"]
    page = run("solve", EXAMPLE, "--plot", tmp_path / "p.png")
    assert page.exit_code == 0, page.output
    assert (tmp_path / "p.png").stat().st_size > 5000
    table = run("compare", EXAMPLE, "--methods", "certified,greedy-memory,random")
    assert table.exit_code == 0, table.output
    assert "on device" in table.stdout


def test_sweep(fleet: Path, tmp_path: Path) -> None:
    rows = document(run("sweep", fleet, "--vary", "weights.quality=0,10", "--methods", "certified", "--json"))["rows"]
    assert [row["value"] for row in rows] == [0, 10]
    assert rows[0]["mean_quality"] <= rows[1]["mean_quality"]


def test_a_fleet_that_cannot_be_trained(fleet: Path) -> None:
    """A floor that no method is known to reach ends with 3 and the key to change."""
    raw = ea.Scenario.load(fleet).changed({"limits.quality_floor": 0.99, "jobs.0.quality_floor": 0.99})
    raw.save(fleet)
    done = run("check", fleet)
    assert done.exit_code == 3
    assert "set jobs.0.quality_floor = " in done.stdout


def test_fits(tmp_path: Path) -> None:
    picture = tmp_path / "fits.png"
    page = run("fits", "llama3.2-1b", "jetson-orin-nano-8gb", "--batch", 2, "--plot", picture)
    assert page.exit_code == 0, page.output
    assert page.stdout.startswith("llama3.2-1b on jetson-orin-nano-8gb: ")
    assert picture.stat().st_size > 5000
    names = ("llama3.2-1b", "jetson-orin-nano-8gb")
    told = document(run("fits", *names, "--batch", 2, "--json", "--methods", "lora, mezo"))
    report = ea.fits(*names, batch=2, methods=["lora", "mezo"])
    assert told["fitting"] == list(report.fitting)
    assert [row["total_bytes"] for row in told["methods"]] == [row.total_bytes for row in report]
    # none fits: 3, and what would
    none = document(run("fits", "llama2-13b", "jetson-nano-4gb", "--json"), 3)
    assert none["fitting"] == []
    assert none["methods"][0]["changes"] == {"device": "xeon-platinum-8380"}


@pytest.mark.parametrize(("arguments", "message"), [
    (("lama2-7b", "l4"), "did you mean 'llama2-7b'"),
    (("llama2-7b", "l5"), "did you mean 'l4'"),
    (("llama2-7b", "l4", "--methods", "lore"), "did you mean"),
    (("llama2-7b", "l4", "--batch", 0), "batch: is 0"),
    (("llama2-7b", "l4", "--precision", "int3"), "did you mean 'int8'"),
    (("llama2-7b", "l4", "--memory-share", 2), "memory_share: is 2.0"),
    (("llama2-7b", "l4", "--plot", "x.txt"), "--plot: x.txt must end in"),
])  # fmt: skip
def test_fits_refuses(arguments: tuple[object, ...], message: str) -> None:
    done = run("fits", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
