"""The first pages run as written and print what they show; tables of formulations are those of the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
START = ["start/quickstart.md", "start/concepts.md"]
FORMULATIONS = ["split_training.md", "service_cost_ratio.md", "pool_training.md", "fine_tuning.md", "deployment.md"]
PAGES = [DOCS / name for name in (*START, *FORMULATIONS, "certificate.md")]
SCRIPT = DOCS / "update_start.py"
#: Blocks of docs/update_numbers.py that take no time, and the pages that have them.
TABLES = {
    "split-fields": "split_training.md", "split-solvers": "split_training.md",
    "pool-fields": "pool_training.md", "pool-methods": "pool_training.md",
    "tuning-fields": "fine_tuning.md", "tuning-solvers": "fine_tuning.md",
    "deployment-fields": "deployment.md", "deployment-solvers": "deployment.md",
}
HEAD = "method  gap  seconds  status"


def test_pages_print_what_they_show() -> None:
    """Every block of the quickstart and of the concepts runs; what is shown below it is what it prints."""
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize(("one", "other", "same"), [
    ("gap 0.5\ntime  0.2 s\nend", "gap 0.5\ntime  9.1 s\nend", True),
    ("gap 0.5", "gap 0.52", False),
    (f"{HEAD}\na       0.5     0.20  optimal", f"{HEAD}\na       0.5     9.99  optimal", True),
    (f"{HEAD}\na       0.5     0.20  optimal", f"{HEAD}\na       0.5     0.20  feasible", False),
    ("a b", "a b c", False),
])
def test_times_are_no_difference(one: str, other: str, same: bool) -> None:
    """Runs may take any time; everything else counts."""
    sys.path.insert(0, str(DOCS))
    try:
        from update_start import different  # type: ignore[import-not-found]  # a script beside the pages
    finally:
        sys.path.remove(str(DOCS))
    assert (different(one, other) == "") is same


def test_generated_tables_are_those_of_the_code() -> None:
    """Symbols and methods of every formulation are what `python docs/update_numbers.py` would write."""
    code = ("import sys, json; sys.path.insert(0, sys.argv[1]); import update_numbers as u; "
            "print(json.dumps({name: u.BLOCKS[name]() for name in sys.argv[2:]}))")
    done = subprocess.run([sys.executable, "-c", code, str(DOCS), *TABLES], capture_output=True, text=True, check=True)
    for name, text in json.loads(done.stdout).items():
        page = (DOCS / TABLES[name]).read_text(encoding="utf-8")
        shown = re.search(rf"<!-- numbers:{name} -->\n(.*?)\n<!-- end -->", page, re.DOTALL)
        assert shown is not None, name
        assert shown[1] == text, f"{name}: run python docs/update_numbers.py {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_title_and_purpose_of_a_page(page: Path) -> None:
    """A title, then one sentence in italics."""
    assert re.match(r"# [^\n]+\n\n\*[^*]+\*\n\n", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [DOCS / name for name in FORMULATIONS], ids=lambda page: page.stem)
def test_what_a_formulation_says(page: Path) -> None:
    """Model, symbols, limits, methods, a figure, how to cite."""
    text = page.read_text(encoding="utf-8")
    titles = "\n".join(re.findall(r"^#+ (.+)$", text, re.MULTILINE)).lower()
    for part in ("limits and prices", "how to cite"):
        assert part in titles
    assert re.search(r"!\[[^\]]+\]\(images/", text)
    for word in ("symbols", "methods"):
        assert word in text.lower()


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page(page: Path) -> None:
    """Relative links name files of the repository and headings in them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_mathematics_reads_on_github_and_on_the_site(page: Path) -> None:
    """Formulas in pairs of dollars; none has what GitHub takes for an escape, or a bar inside a table."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    pattern = re.compile(r"^ *\$\$\n(.*?)\n *\$\$$", re.DOTALL | re.MULTILINE)
    displayed, inline = pattern.findall(text), pattern.sub("", text)
    assert "$$" not in inline
    for paragraph in re.split(r"\n\n|(?<=\|)\n", inline):
        assert paragraph.count("$") % 2 == 0, paragraph
    for formula in [*displayed, *re.findall(r"\$([^$]+)\$", inline)]:
        assert not re.search(r"\\[^A-Za-z]", formula), formula
        assert formula.count("{") == formula.count("}"), formula
