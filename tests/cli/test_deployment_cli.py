"""The commands on a deployment file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import edgealloc as ea
from edgealloc.cli import app

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "scenarios" / "clinic.toml"


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def document(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.toml"
    done = run("new", file, "--kind", "deployment", "--devices", 12, "--servers", 2, "--seed", 4)
    assert done.exit_code == 0, done.output
    return file


def test_new_and_check(fleet: Path) -> None:
    """A new file is that of `random_deployment`; its page says what is in it, and from where."""
    scenario = ea.Scenario.load(fleet)
    assert scenario.mapping() == ea.Scenario.random_deployment(12, 2, seed=4).mapping()
    page = run("check", fleet)
    assert page.exit_code == 0, page.output
    for words in ("12 devices beside 2 edge servers, 12 variants of qwen2.5-0.5b", "memory for a model",
                  "weights are relative to", "llama.cpp-cpu", "Vectara HHEM", "access: a variant that answers at",
                  "assumptions"):  # fmt: skip
        assert words in page.stdout, words
    checked = document(run("check", fleet, "--json"))
    assert (checked["kind"], checked["devices"], checked["servers"]) == ("deployment", 12, 2)
    assert (checked["variants"], checked["classes"]) == (12, 3)
    assert {"delay", "energy"} == set(checked["weights_reference"])
    assert "variants.accuracy" in checked["assumptions"]


@pytest.mark.parametrize(("options", "message"), [
    (("--kind", "deployment", "--users", 4), "--users: a deployment scenario has none; it takes --devices, --servers"),
    (("--kind", "deployment", "--model", "llama3.2-1b"), "--model: a deployment scenario has none"),
    (("--kind", "deploymnt"), "did you mean 'deployment'"),
    (("--kind", "deployment", "--devices", 0), "devices: is 0; give a whole number >= 1"),
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
    assert len(told["devices"]) == 175
    assert len(told["servers"]) == 2
    assert ea.Solution.load(out).objective == told["objective"]
    page = run("solve", EXAMPLE, "--explain", "--plot", tmp_path / "p.png")
    assert page.exit_code == 0, page.output
    assert "40 devices can run no variant" in page.stdout
    assert (tmp_path / "p.png").stat().st_size > 5000
    table = run("compare", EXAMPLE, "--methods", "certified,threshold,random")
    assert table.exit_code == 0, table.output
    assert "offloaded" in table.stdout
    methods = document(run("methods", EXAMPLE, "--json"))
    assert methods["kind"] == "deployment"
    assert {"certified", "milp", "threshold", "device-only"} <= {one["name"] for one in methods["methods"]}


def test_sweep(fleet: Path) -> None:
    """More weight on energy draws less."""
    rows = document(run("sweep", fleet, "--vary", "weights.energy=0,10", "--methods", "certified", "--json"))["rows"]
    assert [row["value"] for row in rows] == [0, 10]
    assert rows[0]["mean_energy_j"] >= rows[1]["mean_energy_j"]


def test_a_fleet_that_cannot_answer(fleet: Path) -> None:
    """A floor that nobody reaches ends with 3 and the key to change, which mends it."""
    scenario = ea.Scenario.load(fleet).changed({"classes.2.accuracy_floor": 0.99})
    scenario.save(fleet)
    done = run("check", fleet)
    assert done.exit_code == 3
    assert "set classes.2.accuracy_floor = " in done.stdout
    told = document(run("solve", fleet, "--json"), 3)["diagnosis"]
    mended = scenario.changed({one["path"]: one["value"] for one in told["changes"]})
    assert mended.problem().diagnose() is None
