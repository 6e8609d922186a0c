"""The gallery's scripts run as plain scripts, use what is public, and are listed in the order of the pages."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "gallery_scripts"
SCRIPTS = sorted(FOLDER.glob("*/plot_*.py"))
#: One of every kind of problem; the site's build runs all, and so does EDGEALLOC_GALLERY=all.
RUN = ("what_if", "dropout", "fleet_placement", "clinic_fleet")
ALL = os.environ.get("EDGEALLOC_GALLERY") == "all"
CHOSEN = [one for one in SCRIPTS if ALL or one.stem.removeprefix("plot_") in RUN]
#: What axes show that has no unit.
PURE = {
    "users", "local layers", "weight of energy", "certified relative gap", "accuracy, mean over the queries",
    "format of the weights", "mean quality of the jobs",
}
#: Parts of the library that are no public names, and are documented for use all the same.
ALLOWED = re.compile(r"edgealloc(\.reproduce\.\w+\.figures)?$")


@pytest.mark.parametrize("script", CHOSEN, ids=lambda one: one.stem)
def test_script_runs(script: Path, tmp_path: Path) -> None:
    """It ends well in any folder, without a screen, and leaves nothing behind."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", str(script)], cwd=tmp_path, capture_output=True,
        text=True, check=False, env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_those_that_run_are_there() -> None:
    """Names of the scripts that are run are names of scripts."""
    assert {one.stem.removeprefix("plot_") for one in SCRIPTS} >= set(RUN)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.stem)
def test_script_uses_public_names(script: Path) -> None:
    """What a reader copies are public names, and units are said on every axis that a script labels itself."""
    text = script.read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("edgealloc"):
            assert ALLOWED.match(node.module), node.module
        if isinstance(node, ast.Import):
            assert all("." not in one.name for one in node.names if one.name.startswith("edgealloc"))
    assert "# %%" in text
    assert re.search(r"plt\.show\(\)|\.plot\(", text)
    for label in re.findall(r"(?:xlabel=|ylabel=|set_xlabel\(|set_ylabel\()f?\"([^\"]+)\"", text):
        assert label in PURE or re.search(r"\[.+\]", label), label


def test_every_script_has_its_place() -> None:
    """The order of the pages names every script once, and every folder has a header."""
    source = (ROOT / "docs" / "_ext" / "gallery_figures.py").read_text(encoding="utf-8")
    named = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Tuple):
            named[node.targets[0].id] = ast.literal_eval(node.value)
    assert sorted(named["SCRIPTS"]) == sorted(one.name for one in SCRIPTS)
    assert sorted(named["SECTIONS"]) == sorted(one.name for one in FOLDER.iterdir() if one.is_dir())
    for folder in (FOLDER, *(FOLDER / one for one in named["SECTIONS"])):
        assert (folder / "GALLERY_HEADER.rst").is_file(), folder
