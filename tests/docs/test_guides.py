"""The code of the guides runs as it is written, each page in an empty folder, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GUIDES = sorted(path for path in (DOCS / "guides").glob("*.md") if path.name != "index.md")
PAGES = [*GUIDES, DOCS / "start" / "install.md"]
RUNNER = Path(__file__).with_name("guide_runner.py")
#: What a page must have printed by its end.
PRINTED = {
    "bring_your_own": ("two-nearest", "optimal", "own-devices", "pool"),
    "units": ("saved per MHz", "Hz is needed"),
    "reproducibility": ("optimal", "mark"),
    "cite": ("@inproceedings{liu2024resource", "@misc{edgealloc"),
    "faq": ("deadline_s", "optimal"),
    "install": ("edgealloc ", "status       optimal"),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_runs(page: Path, tmp_path: Path) -> None:
    """Every block, one after the other."""
    if not re.search(r"^```(python|bash)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        pytest.skip("no code on this page")
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(page)], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for part in PRINTED[page.stem]:
        assert part in done.stdout, part


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_title_and_purpose(page: Path) -> None:
    """A title, then one line in italics."""
    assert re.match(r"# [^\n]+\n\n\*[^\n*]+\*\n", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MyST make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((DOCS / "methods").glob("*.md"))], ids=lambda page: f"{page.parent.name}-{page.stem}"
)
def test_links(page: Path) -> None:
    """Relative links name files that exist, and headings that exist in them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_named_file_of_a_guide_is_saved(tmp_path: Path) -> None:
    """Blocks that begin with a file's name are saved under it, so that the commands below them find it."""
    page = tmp_path / "page.md"
    page.write_text("# T\n\n```python\n# one.py\nx = 1\n```\n\n```python\nassert x == 1\n```\n", encoding="utf-8")
    subprocess.run([sys.executable, str(RUNNER), str(page)], cwd=tmp_path, check=True)
    assert (tmp_path / "one.py").read_text(encoding="utf-8") == "# one.py\nx = 1\n"
