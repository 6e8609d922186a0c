"""Pages that are written from the code when the site is built: command line, scenario files, symbols, API.

They are never committed, so they cannot say anything else than the code does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["generated_pages", "setup", "write_folder"]


def generated_pages() -> dict[str, str]:
    """Path below docs -> text, of every generated page of the reference."""
    import api_pages
    import cli_page
    import measured_page
    import scenario_pages
    import symbol_page

    sources = (cli_page, scenario_pages, symbol_page, api_pages, measured_page)
    return {name: text for source in sources for name, text in source.pages().items()}


def write_folder(docs: Path, pages: Mapping[str, str], folder: str) -> None:
    """Write pages where their text changed; pages of `folder` that are no longer made are removed."""
    for old in sorted((docs / folder).rglob("*.md")) if folder else ():
        if old.relative_to(docs).as_posix() not in pages:
            old.unlink()
    for name, text in pages.items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _write(app: Any) -> None:
    pages = generated_pages()
    write_folder(Path(app.srcdir), {name: text for name, text in pages.items() if "/api/" in name}, "reference/api")
    write_folder(Path(app.srcdir), {name: text for name, text in pages.items() if "/api/" not in name}, "")


def _put_head(_: Any, docname: str, source: list[str]) -> None:
    import measured_page

    folder, _, name = docname.rpartition("/")
    if folder == "benchmarks" and not source[0].startswith("#"):
        source[0] = measured_page.head(name) + source[0]


def _own_bases(_app: Any, _name: str, _obj: Any, _options: Any, bases: list[Any]) -> None:
    """Of the classes that a class is built on only ours and exceptions say something."""
    types = [one for one in bases if isinstance(one, type)]
    ours = [one for one in types if one.__module__.startswith("edgealloc") or issubclass(one, Exception)]
    bases[:] = ours or [object]


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", _write, priority=200)
    app.connect("source-read", _put_head)
    app.connect("autodoc-process-bases", _own_bases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
