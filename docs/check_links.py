"""Check every internal link of the built site: the file that it names is there, and so is the anchor.

python docs/check_links.py docs/_build/html
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["broken_links", "main"]


class _Page(HTMLParser):
    """Links and anchors of one page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in ("href", "src") and tag in ("a", "img", "link", "script", "source", "iframe"):
                self.links.append(value)


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_links(site: Path) -> Iterator[tuple[Path, str, str]]:
    """(page, link, what is wrong) of every relative link that leads nowhere."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link in ("", "#"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield path, link, "there is no such file"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield path, link, "there is no such anchor"


def main(arguments: list[str]) -> int:
    """Print what is broken; the exit status says whether anything is."""
    if len(arguments) != 1 or not Path(arguments[0], "index.html").is_file():
        sys.stderr.write("usage: python docs/check_links.py FOLDER-OF-THE-SITE   (make -C docs html builds it)\n")
        return 2
    site = Path(arguments[0]).resolve()
    found = list(broken_links(site))
    for path, link, wrong in found:
        sys.stdout.write(f"{path.relative_to(site)}: {link}: {wrong}\n")
    sys.stdout.write(f"{len(list(site.rglob('*.html')))} pages, {len(found)} broken links\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
