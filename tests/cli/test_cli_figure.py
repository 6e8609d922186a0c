"""Claims about `edgealloc figure`: pictures and tables in a folder, the page, clear refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edgealloc.cli import app
from edgealloc.reproduce.liu_zhao_2024.figures import FIGURES


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["figure", *(str(arg) for arg in args)])


EXAMPLES = Path(__file__).parents[2] / "examples" / "liu_zhao_2024"
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


def test_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the defects is printed; what it says is tested with the preset."""
    from edgealloc.reproduce.liu_zhao_2024 import defects

    monkeypatch.setattr(defects, "defects", list)
    monkeypatch.setattr(defects, "text", lambda found: f"page of {found}")
    assert run("--explain").stdout == "page of []\n"
    assert json.loads(run("--explain", "--json").stdout) == {"defects": []}


def test_scripts(tmp_path: Path) -> None:
    """One thin script per figure and one for all; they take a folder and the command's options."""
    names = {f"figure_{name}.py": name for name in FIGURES} | {"all_figures.py": "all"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(names)
    for file, name in names.items():
        assert f'app(["figure", "{name}", "--out"' in (EXAMPLES / file).read_text(encoding="utf-8")
    options = ["--samples", "1", "--users", "3", "--servers", "1", "--edition", "physical"]
    done = subprocess.run([sys.executable, str(EXAMPLES / "figure_2b.py"), str(tmp_path), *options],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figure_2b_physical.png").is_file()
