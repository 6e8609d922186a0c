"""The commands on a pool-training file: what they print, draw and write is that kind's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import edgealloc as ea
from edgealloc.cli import app

#: A method of a user's own, so that nothing here depends on how the built-in ones search.
PLUGIN = """
import edgealloc as ea
from edgealloc.formulations.pool_training.feasibility import least_missing

def fits(problem, run):
    return ea.Outcome(least_missing(problem)[0], converged=True)

def alone(problem, run):
    return ea.Outcome(attempts=("no device holds the model alone",))

ea.register_method("pool-training", ea.Method("fits", "some plan that fits", run=fits))
ea.register_method("pool-training", ea.Method("alone", "one device", run=alone))
"""


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    file = tmp_path / "pool.toml"
    done = run("new", file, "--kind", "pool-training", "--devices", 4, "--network", "switch", "--seed", 1)
    assert done.exit_code == 0, done.output
    return file


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from edgealloc.core import method

    monkeypatch.setattr(method, "_REGISTERED", {})
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_new_and_check(pool: Path) -> None:
    scenario = ea.Scenario.load(pool)
    assert scenario.kind == "pool-training"
    page = run("check", pool)
    assert page.exit_code == 0, page.output
    for words in ("pool training", "memory: ", "weights are relative to", "feasible: a ", "plan of 4 devices"):
        assert words in page.stdout, words
    checked = document(run("check", pool, "--json"))
    assert (checked["devices"], checked["kind"], checked["feasible"]) == (4, "pool-training", True)
    assert "users" not in checked


@pytest.mark.parametrize(("options", "message"), [
    (("--kind", "pool-training", "--users", 4), "--users: a pool-training scenario has none"),
    (("--devices", 4), "--devices: a split-training scenario has none"),
    (("--kind", "pool-traning"), "did you mean 'pool-training'"),
])
def test_new_refuses_what_the_kind_has_not(options: tuple[object, ...], message: str, tmp_path: Path) -> None:
    done = run("new", tmp_path / "x.toml", *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "x.toml").exists()


def test_solve(pool: Path, plugin: Path, tmp_path: Path) -> None:
    """The plan and its totals in the document, pictures by name, and a file that comes back."""
    out, picture, memory = tmp_path / "s.npz", tmp_path / "gantt.png", tmp_path / "memory.png"
    page = run("solve", pool, "--method", "fits", "--plugin", plugin, "--out", out, "--plot", picture)
    assert page.exit_code == 0, page.output
    drawn = run("solve", pool, "--method", "fits", "--plugin", plugin, "--plot", memory, "--what", "memory")
    assert drawn.exit_code == 0, drawn.output
    assert picture.stat().st_size > 5000
    assert memory.stat().st_size > 5000
    assert picture.read_bytes() != memory.read_bytes()
    told = document(run("solve", pool, "--method", "fits", "--plugin", plugin, "--json"))
    loaded = ea.Solution.load(out)
    assert loaded.allocation is not None
    assert loaded.costs is not None
    assert told["objective"] == loaded.objective
    assert told["allocation"]["stages"] == [list(stage) for stage in loaded.allocation.stages]
    assert told["time_s"] == loaded.costs.time_s
    assert told["parallelism"] == loaded.allocation.parallelism
    assert len(told["devices"]) == 4
    assert len(told["links"]) == loaded.problem.topology.links
    assert {"users", "servers"}.isdisjoint(told)
    hint = run("solve", pool, "--method", "fits", "--plugin", plugin).stdout.splitlines()[-1]
    assert "--plot gantt.png" in hint
    assert "every device" in hint


def test_what_is_not_there_is_refused_before_solving(pool: Path, plugin: Path) -> None:
    for options, message in ((("--what", "map"), "known: convergence, gantt"), (("--explain",), "cannot be explained")):
        done = run("solve", pool, "--method", "fits", "--plugin", plugin, *options)
        assert done.exit_code == 2, options
        assert message in done.stderr
        assert done.stdout == ""


def test_compare_and_sweep(pool: Path, plugin: Path, tmp_path: Path) -> None:
    table = run("compare", pool, "--plugin", plugin, "--methods", "fits,alone")
    assert table.exit_code == 0, table.output
    for words in ("parallelism", "J / sample", "no device holds the model alone", "--plot gantt.png"):
        assert words in table.stdout, words
    for words in ("offloaded", "instability"):
        assert words not in table.stdout, words
    out, picture = tmp_path / "t.csv", tmp_path / "t.png"
    swept = document(run(
        "sweep", pool, "--plugin", plugin, "--methods", "fits", "--vary", "network.rate=100 Mbit/s,1 Gbit/s",
        "--json", "--out", out, "--plot", picture, "--y", "time_s"))
    slow, fast = (row["time_s"] for row in swept["rows"])
    assert fast < slow
    assert "energy_j" in out.read_text("utf-8").splitlines()[0]
    assert picture.stat().st_size > 5000
    wrong = run("sweep", pool, "--vary", "network.latency=0.001,0.01", "--y", "mean_delay_s")
    assert wrong.exit_code == 2
    assert "no quantity 'mean_delay_s'" in wrong.stderr


def test_methods_and_cite(pool: Path) -> None:
    listed = run("methods", pool)
    assert listed.stdout == run("methods", "pool-training").stdout
    assert "certified" in listed.stdout
    assert "edgealloc methods split-training" in listed.stdout
    assert "@article{zeng2024implementation" in run("cite", "pool-training").stdout
