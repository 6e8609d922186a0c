"""Claims about the commands: results on stdout, one JSON document with --json, exit codes, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import edgealloc as ea
from edgealloc.cli import app
from edgealloc.scenarios.scenario import Scenario

CAMPUS = Path(__file__).parents[2] / "examples" / "scenarios" / "campus.toml"


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return ea.Scenario.random(users=8, servers=2, seed=1).save(tmp_path / "small.toml")


def parsed(result: Result) -> Any:
    """stdout is exactly one JSON document, without NaN or infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in JSON")

    return json.loads(result.stdout, parse_constant=refuse)


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == f"edgealloc {ea.__version__}"
    text = run("--help").stdout
    for command in ("new", "check", "solve", "compare", "methods", "catalog"):
        assert command in text
        assert run(command, "--help").exit_code == 0


def test_new_then_check(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    done = run("new", file, "--users", 6, "--servers", 2, "--seed", 4)
    assert done.exit_code == 0, done.stderr
    assert ea.Scenario.load(file).users == 6
    assert "# how many users" in file.read_text("utf-8")
    before = file.read_bytes()
    again = run("new", file)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert file.read_bytes() == before
    assert run("new", file, "--force").exit_code == 0
    assert ea.Scenario.load(file).users == 50
    assert run("check", file).exit_code == 0


def test_check_prints_every_number_and_assumption() -> None:
    page = run("check", CAMPUS)
    assert page.exit_code == 0
    scenario = Scenario.load(CAMPUS)
    for row in scenario.table():
        assert row.path in page.stdout
    for path, reason in scenario.assumptions().items():
        assert f"{path}: {reason}" in page.stdout
    assert "feasible" in page.stdout
    document = parsed(run("check", CAMPUS, "--json"))
    assert document["feasible"] is True
    assert document["users"] == 200
    assert len(document["numbers"]) == len(scenario.table())


def test_check_shows_the_limits() -> None:
    """Every limit with what it counts; limits that users share are not called met before anybody has solved."""
    file = CAMPUS.with_name("deadlines.toml")
    page = run("check", file)
    assert page.exit_code == 0, page.stderr
    for words in ("limits\n", "1.7 s to 2 s for 12 of 12", "2 of them soft", "hall-l4 5", "room for users", "once per"):
        assert words in page.stdout, words
    assert "no user is stuck by itself" in page.stdout
    assert "feasible" not in page.stdout
    document = parsed(run("check", file, "--json"))
    assert document["feasible"] is None
    assert any("deadlines" in line for line in document["limits"])


def test_solve(small: Path, tmp_path: Path) -> None:
    out, csv = tmp_path / "s.npz", tmp_path / "s.csv"
    page = run("solve", small, "--out", out, "--gap", "1e-2", "--time-limit", "10")
    assert page.exit_code == 0, page.stderr
    assert "objective" in page.stdout
    assert "lower bound" in page.stdout
    saved = ea.Solution.load(out).objective
    assert saved is not None
    assert run("solve", small, "--method", "greedy", "--out", csv).exit_code == 0
    assert len(csv.read_text("utf-8").splitlines()) == 9
    document = parsed(run("solve", small, "--json", "--warm-start", out))
    assert document["bound"] <= document["objective"] <= saved * (1 + 1e-9)
    assert len(document["users"]) == 8
    assert len(document["servers"]) == 2
    assert document["diagnosis"] is None


def test_solve_json_without_a_bound_has_null(small: Path) -> None:
    document = parsed(run("solve", small, "--method", "random", "--seed", 3, "--json"))
    assert document["bound"] is None
    assert document["gap"] is None


def test_solve_explain_campus() -> None:
    """The page says where the gap comes from and what holds the cuts; --json has the same for every user."""
    plain_page = run("solve", CAMPUS)
    page = run("solve", CAMPUS, "--explain")
    assert page.exit_code == 0, page.stderr
    for words in ("why the gap is what it is", "congestion", "what holds each cut", "privacy (min_local_layers)"):
        assert words in page.stdout, words
        assert words not in plain_page.stdout, words
    assert len(page.stdout.splitlines()) <= len(plain_page.stdout.splitlines()) + 61
    document = parsed(run("solve", CAMPUS, "--explain", "--json"))
    explained = document["explanation"]
    assert explained["proven"] is True
    assert len(explained["users"]) == 200
    assert len(explained["servers"]) == 4
    parts = sum(explained[name] for name in ("reduced_costs", "capacity_losses", "resource_losses"))
    assert parts == pytest.approx(document["objective"] - explained["price_bound"], rel=1e-6)
    assert explained["price_bound"] == pytest.approx(document["bound"], rel=1e-6)
    assert sum(explained["held"].values()) == 200


def test_solve_explain_without_a_proof_says_so(small: Path) -> None:
    page = run("solve", small, "--method", "greedy", "--explain")
    assert page.exit_code == 0, page.stderr
    assert "nothing here is proven" in page.stdout
    assert "'certified'" in page.stdout
    document = parsed(run("solve", small, "--method", "greedy", "--explain", "--json"))
    assert document["explanation"]["proven"] is False
    assert document["explanation"]["beyond_prices"] is None
    assert parsed(run("solve", small, "--method", "greedy", "--json"))["explanation"] is None


def test_compare_first_command_of_the_readme() -> None:
    # without the paper's algorithm, which takes half a minute here
    quick = [name for name, method in ea.SplitTraining.methods().items() if not method.slow and name != "fp-cccp"]
    page = run("compare", CAMPUS, "--methods", ",".join(quick))
    assert page.exit_code == 0, page.stderr
    for word in (
        "campus",
        "certified",
        "greedy",
        "random",
        "edge-only",
        "local-only",
        "next:",
        "assumptions",
    ):
        assert word in page.stdout
    assert len(page.stdout.splitlines()) < 25


def test_compare_formats(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    rows = parsed(run("compare", small, "--methods", "greedy, random", "--json", "--out", out))["rows"]
    assert [row["method"] for row in rows] == ["greedy", "random"]
    assert out.read_text("utf-8").startswith("method")
    assert run("compare", small, "--methods", "greedy", "--markdown").stdout.startswith("| method")
    assert "tabular" in run("compare", small, "--methods", "greedy", "--latex").stdout
    assert run("compare", small, "--markdown", "--json").exit_code == 2


def test_methods_and_catalog(small: Path) -> None:
    assert "certified" in run("methods").stdout
    assert run("methods", small).stdout == run("methods", "split-training").stdout
    assert {one["name"] for one in parsed(run("methods", "--json"))["methods"]} >= {"certified", "greedy"}
    assert "jetson-agx-orin-64gb" in run("catalog").stdout
    assert "source" in run("catalog", "devices", "t4").stdout
    assert parsed(run("catalog", "devices", "t4", "--json"))["devices"][0]["power_w"] == 70
    assert set(parsed(run("catalog", "--json"))) == {"models", "devices", "radio"}
    for wrong in (
        ("catalog", "device"),
        ("catalog", "devices", "t5"),
        ("methods", "split"),
        ("methods", "no.toml"),
    ):
        result = run(*wrong)
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr


PLUGIN = """
import edgealloc as ea
def pick(problem, run):
    return ea.Outcome(allocation=problem.solve("greedy").allocation)
ea.register_method("split-training", ea.Method("mine", "my own", run=pick))
"""


def test_plugin(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgealloc.core import method

    monkeypatch.setattr(method, "_REGISTERED", {})
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    assert run("solve", small, "--method", "mine", "--plugin", plugin).exit_code == 0
    assert "mine" in run("methods", "--plugin", plugin).stdout
    assert "mine" in run("compare", small, "--methods", "mine,greedy", "--plugin", plugin).stdout
    for content in ("1/0", "def", "import edgealloc as ea\nea.register_method('x', None)"):
        plugin.write_text(content, encoding="utf-8")
        result = run("solve", small, "--plugin", plugin)
        assert result.exit_code == 2
        assert "plugin" in result.stderr or "register_method" in result.stderr
        assert "Traceback" not in result.stderr
    assert run("solve", small, "--plugin", tmp_path / "none.py").exit_code == 2


def test_interruption_keeps_the_best_so_far(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C inside a run prints what was found and exits with 130."""
    from edgealloc.core.method import Method, Outcome
    from edgealloc.core.run import Run
    from edgealloc.core.status import Termination
    from edgealloc.formulations.split_training.problem import SplitTraining

    def stopped(problem: Any, run: Run) -> Outcome:
        found = problem.solve("greedy").allocation
        return Outcome(allocation=found, termination=Termination.INTERRUPTED)

    def lost(problem: Any, run: Run) -> Outcome:
        raise KeyboardInterrupt

    methods = (*SplitTraining.METHODS, Method("stopped", "", run=stopped), Method("lost", "", run=lost))
    monkeypatch.setattr(SplitTraining, "METHODS", methods)
    result = run("solve", small, "--method", "stopped")
    assert result.exit_code == 130
    assert "objective" in result.stdout
    result = run("solve", small, "--method", "lost")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


WAITING = """
import sys, time
import edgealloc as ea
def wait(problem, run):
    try:
        print("ready", file=sys.stderr, flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    return ea.Outcome(problem.solve("greedy").allocation, termination=ea.Termination.INTERRUPTED)
ea.register_method("split-training", ea.Method("wait", "", run=wait))
"""


def test_a_real_interrupt_ends_the_process_with_130(small: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "wait.py"
    plugin.write_text(WAITING, encoding="utf-8")
    # a job in the background of a script ignores SIGINT, and its children inherit that: undo it
    restored = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{restored}\nfrom edgealloc.cli import main; main()"
    command = [sys.executable, "-c", code, "solve", str(small)]
    process = subprocess.Popen(
        [*command, "--method", "wait", "--plugin", str(plugin)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "objective" in out


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "from edgealloc.cli import main; main()", "catalog"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(write)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_the_command_line_starts_light() -> None:
    """Help and version load no solver, no frame, no picture library, not even the schema of scenarios."""
    code = "import sys, edgealloc.cli; print(*(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"cvxpy", "pulp", "pandas", "matplotlib", "numba", "networkx", "scipy", "pydantic", "numpy"}
    assert not heavy & set(done.stdout.split())
