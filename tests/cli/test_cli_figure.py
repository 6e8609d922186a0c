"""Claims about `edgealloc figure`: pictures and tables in a folder, the page, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edgealloc.cli import app
from edgealloc.reproduce.liu_zhao_2024.figures import FIGURES


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["figure", *(str(arg) for arg in args)])


SMALL = ("--samples", 1, "--users", 4, "--servers", 2)


def test_one_figure(tmp_path: Path) -> None:
    """Both editions by default; assumptions of each are printed once."""
    done = run("2a,2b", *SMALL, "--out", tmp_path / "new" / "folder", "--format", "svg")
    assert done.exit_code == 0, done.output
    written = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    stems = {f"figure_{name}_{edition}" for name in ("2a", "2b") for edition in ("literal", "physical")}
    assert written == {stem + end for stem in stems for end in (".svg", ".csv", "_summary.csv")}
    for word in ("choices that are ours", "rankings as found", "holds: ", "users.kappa: not given"):
        assert word in done.stdout
    assert done.stdout.count("users.kappa: not given") == 1
    assert done.stdout.count("assumptions of the literal edition: see above") == 1


def test_json(tmp_path: Path) -> None:
    done = run("5a", *SMALL, "--edition", "literal", "--values", "3,6", "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    (figure,) = json.loads(done.stdout)["figures"]
    assert figure["figure"] == "5a"
    assert {line["value"] for line in figure["summary"]} == {3, 6}
    assert all(isinstance(trend["holds"], bool) for trend in figure["trends"])
    assert all(Path(path).is_file() for path in figure["files"])


def test_list() -> None:
    text = run("--list").stdout
    assert run().stdout == text
    for name, figure in FIGURES.items():
        assert name in text
        assert figure.title in text
    assert [one["name"] for one in json.loads(run("--list", "--json").stdout)["figures"]] == list(FIGURES)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["9z"], "no figure '9z'; known: 2a"),
        (["3a", "--edition", "litteral"], "did you mean 'literal'"),
        (["3a", "--format", "gif"], "one of png, pdf, svg"),
        (["3a", "--samples", "0"], "samples is 0"),
        (["3a", "--users", "0"], "users: is 0"),
        (["3a", "--values", "a"], "are no numbers"),
        (["3a", "--workers", "0"], "workers is 0"),
    ],
)
def test_bad_input(options: list[str], expected: str, tmp_path: Path) -> None:
    done = run(*options, "--out", tmp_path)
    assert done.exit_code == 2, done.output
    assert expected in done.stderr
    assert not list(tmp_path.iterdir())
