"""Claims about the pages of the methods: every method has one, and what is generated on them is what the code says."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgealloc.core.kinds import KINDS, problem_class

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "methods").glob("*.md"))
ALL = [(kind, method.name) for kind in KINDS for method in problem_class(kind).METHODS]
SECTIONS = ("Idea", "What it guarantees", "Cost", "When to use it", "Options that matter", "What it returns")


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "update_methods.py"))


def heads(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"<!-- method:([\w-]+)/([\w-]+) -->", page.read_text(encoding="utf-8"))


def test_no_method_lacks_a_page() -> None:
    """Every method of METHODS is described exactly once, and nothing else is."""
    found = Counter(one for page in PAGES for one in heads(page))
    assert found == Counter(ALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_generated_parts_are_up_to_date(page: Path, generator: dict[str, Any]) -> None:
    """What `python docs/update_methods.py` would write is there."""
    text = page.read_text(encoding="utf-8")
    assert generator["updated"](text) == text, "run `python docs/update_methods.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_shape_of_a_page(page: Path) -> None:
    """A title and a purpose in italics; a page of one method has all sections, one of several an anchor for each."""
    text = page.read_text(encoding="utf-8")
    assert re.match(r"# [^\n]+\n\n\*[^\n*]+\*\n", text)
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    names = [name for _, name in heads(page)]
    if len(names) == 1:
        assert titles == list(SECTIONS)
    elif names:
        assert titles == names


def test_every_head_names_its_kind_proof_and_citation(generator: dict[str, Any]) -> None:
    """A head says what the table of methods says."""
    for kind, name in ALL:
        method, head = generator["find"](kind, name), generator["head"](kind, name)
        assert method.summary in head
        assert f"`edgealloc cite {name}`" in head
        assert ("a lower bound" in head) == method.proves
        assert ("no, name it" in head) == method.slow
        module = re.search(r"\]\(\.\./\.\./([\w/]+\.py)\)", head)
        assert module is not None
        assert (DOCS.parent / module[1]).is_file()


def test_rows_of_a_benchmark(generator: dict[str, Any]) -> None:
    """Rows are chosen by columns, which are then left out; a row that is not there is an error."""
    table = generator["measured"]("methods method=greedy").splitlines()
    assert len(table) == 3
    assert not table[0].startswith("| method")
    with pytest.raises(SystemExit, match="no row"):
        generator["measured"]("methods method=nobody")


def test_check_says_what_differs() -> None:
    """`--check` writes nothing and is silent where all is well."""
    done = subprocess.run(
        [sys.executable, str(DOCS / "update_methods.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
