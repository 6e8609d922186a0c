"""Pages of the site: each begins with its title and what it is for, and links lead to files that are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from site_modules import site_module

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINKS = site_module("site_links")
PAGES_OF_THE_SITE = site_module("site_pages")
MEASURED = site_module("measured_page")

#: written when the site is built, or tables whose head is written then
NOT_HERE = ("_build/", "source/", "gallery/", "reference/api/", "benchmarks/")
GENERATED = set(PAGES_OF_THE_SITE.generated_pages())
PAGES = sorted(
    name
    for path in DOCS.rglob("*.md")
    if not (name := path.relative_to(DOCS).as_posix()).startswith(NOT_HERE) and name not in GENERATED
)
SCRIPTS = sorted((DOCS / "gallery_scripts").rglob("plot_*.py"))


def without_code(text: str) -> str:
    return re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_page_has_title_and_purpose(name: str) -> None:
    """`# Title`, then one sentence in italics."""
    text = re.sub(r"\A---\n.*?\n---\n+", "", (DOCS / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.match(r"# \S[^\n]*\n\n\*[A-Z`][^*]+\.\*\n(\n|\Z)", text), f"docs/{name} has no title and purpose line"


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_lead_somewhere(name: str) -> None:
    """Every relative link names a file of the repository, or a page that is written when the site is built."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code((DOCS / name).read_text(encoding="utf-8"))):
        target = link.partition("#")[0]
        if not target or ":" in target:
            continue
        path = (DOCS / name).parent.joinpath(target).resolve()
        inside = path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else ""
        built = inside in GENERATED or inside.startswith("gallery/")
        assert built or path.exists(), f"docs/{name} links to {link}"


def test_tables_have_a_title_each() -> None:
    """Tables of docs/benchmarks are pages with a title of their own, and the script that writes each is there."""
    for path in sorted((DOCS / "benchmarks").glob("*.md")):
        assert path.stem in MEASURED.MEASURED, path.stem
        assert (ROOT / "benchmarks" / f"{MEASURED.MEASURED[path.stem][0]}.py").is_file()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_gallery_script_says_what_it_is_for(script: Path) -> None:
    """Title, and a paragraph before the code."""
    text = script.read_text(encoding="utf-8")
    assert re.match(r'r?"""\n?(\S[^\n]*)\n=+\n\n\S', text), script.name


def test_links_out_of_the_docs_become_pages() -> None:
    """A link to an example is turned to the page that shows it; links within docs stay."""
    text = "[x](../examples/quickstart.py) [y](methods.md#top) [z](../README.md#install) [w](https://a.b/../c)"
    assert LINKS.turned(text, "methods") == (
        "[x](source/examples/quickstart.py.md) [y](methods.md#top) [z](index.md) [w](https://a.b/../c)"
    )
    assert LINKS.turned("[x](../../examples/quickstart.py)", "guides/faq") == (
        "[x](../source/examples/quickstart.py.md)"
    )
    page = LINKS.source_page(Path("examples/quickstart.py"))
    assert "{literalinclude} ../../../examples/quickstart.py" in page


def test_broken_links_are_found(tmp_path: Path) -> None:
    """The check of the built site sees missing files and anchors, and nothing else."""
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<a href="#top">4</a><a href="https://example.org/x">5</a>',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text('<p id="there">x</p>', encoding="utf-8")
    script = DOCS / "check_links.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "index.html: b.html#gone: there is no such anchor",
        "index.html: c.html: there is no such file",
        "2 pages, 2 broken links",
    ]
