"""Links of pages to files of the repository outside ``docs``: on the site each leads to a page that shows the file.

On GitHub ``[x](../examples/x.py)`` is the file itself. For the site a page ``source/examples/x.py`` with the text and a
download is written for every file that some page links to, and the link is turned towards it before it is parsed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

__all__ = ["SOURCE_FOLDER", "outside_targets", "setup", "source_page", "turned"]

DOCS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = DOCS.parent
SOURCE_FOLDER: Final = "source"
_LINK: Final = re.compile(r"\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)")
_LANGUAGES: Final = {
    ".py": "python", ".toml": "toml", ".json": "json", ".md": "markdown", ".yaml": "yaml", ".yml": "yaml",
    ".cff": "yaml",
}  # fmt: skip
_SHOWN: Final = {*_LANGUAGES, ".csv", ".txt", ".tex"}
_LARGEST: Final = 200_000
#: what GitHub shows on its front page is the front page of the site
_FRONT: Final = "README.md"


def _inside(link: str, folder: Path) -> Path | None:
    """The file or folder of the repository, outside docs, that a relative link names; None for anything else."""
    target = Path(os.path.normpath(folder / link))
    if target.is_relative_to(DOCS) or not target.is_relative_to(ROOT) or not target.exists():
        return None
    return target.relative_to(ROOT)


def outside_targets(docs: Path = DOCS) -> list[Path]:
    """What the pages link to outside docs, relative to the repository, in order."""
    found: set[Path] = set()
    for page in sorted(docs.rglob("*.md")):
        if {"_build", SOURCE_FOLDER} & set(page.relative_to(docs).parts):
            continue
        for match in _LINK.finditer(page.read_text(encoding="utf-8")):
            target = _inside(match[1], page.parent)
            if target is not None and str(target) != _FRONT:
                found.add(target)
    for folder in [one for one in found if (ROOT / one).is_dir()]:
        found |= {path.relative_to(ROOT) for path in _files(folder)}
    return sorted(found)


def _files(folder: Path) -> list[Path]:
    files = (path for path in (ROOT / folder).iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix in _SHOWN)


def _page_name(target: Path) -> str:
    name = f"{SOURCE_FOLDER}/{target.as_posix()}"
    return name if (ROOT / target).is_file() else f"{name}/index"


def source_page(target: Path) -> str:
    """The page that shows a file, or lists a folder."""
    path = ROOT / target
    up = "../" * len(Path(_page_name(target)).parts)  # from the page to the root of the repository
    head = f"---\norphan: true\nhtml_theme.sidebar_secondary.remove: true\n---\n\n# `{target.as_posix()}`\n\n"
    if path.is_dir():
        rows = [f"- [`{one.name}`]({one.name}.md)" for one in _files(target)]
        return f"{head}*The files of this folder of the repository.*\n\n" + "\n".join(rows) + "\n"
    head += f"*A file of the repository.* {{download}}`Download it <{up}{target.as_posix()}>`\n\n"
    if path.suffix not in _LANGUAGES or path.stat().st_size > _LARGEST:
        return head
    language = _LANGUAGES[path.suffix]
    return f"{head}```{{literalinclude}} {up}{target.as_posix()}\n:language: {language}\n```\n"


def turned(text: str, docname: str) -> str:
    """The source of a page with its links out of docs turned to the pages that show the files."""
    folder = (DOCS / docname).parent
    up = "../" * (len(Path(docname).parts) - 1)

    def turn(match: re.Match[str]) -> str:
        target = _inside(match[1], folder)
        if target is None:
            return match[0]
        page = "index" if str(target) == _FRONT else _page_name(target)
        return f"]({up}{page}.md)"

    return _LINK.sub(turn, text)


def _write_pages(app: Any) -> None:
    from site_pages import write_folder

    pages = {f"{_page_name(target)}.md": source_page(target) for target in outside_targets()}
    write_folder(Path(app.srcdir), pages, SOURCE_FOLDER)


def _turn(_: Any, docname: str, source: list[str]) -> None:
    if not docname.startswith((f"{SOURCE_FOLDER}/", "gallery/")):
        source[0] = turned(source[0], docname)


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", _write_pages, priority=300)
    app.connect("source-read", _turn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
