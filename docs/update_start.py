"""Run the code of docs/start/*.md and write what it prints below it.

    python docs/update_start.py           write
    python docs/update_start.py --check   only say what differs; exit status 1 if anything does

Blocks of Python run one after the other in one module, lines of shell blocks that begin with ``edgealloc`` as commands,
each page in an empty folder that has ``examples`` in it. What the blocks before an ``<!-- output -->`` printed stands
between it and ``<!-- end -->``. Times are those of the machine that it was written on, and no difference.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["PAGES", "different", "main", "updated"]

DOCS = Path(__file__).resolve().parent
PAGES = (DOCS / "start" / "quickstart.md", DOCS / "start" / "concepts.md")
PART = re.compile(r"^```(python|bash)\n(.*?)^```|(<!-- output -->\n).*?(<!-- end -->)", re.DOTALL | re.MULTILINE)
#: How far two numbers may be apart to say the same.
CLOSE = 0.01


def _command(line: str) -> str:
    """What a command of edgealloc prints; anything but success is an error."""
    from typer.testing import CliRunner

    from edgealloc.cli import app

    done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
    if done.exit_code:
        raise SystemExit(f"{line}: exit status {done.exit_code}\n{done.output}")
    return done.output


def _printed(language: str, text: str, space: dict[str, Any]) -> str:
    if language == "bash":
        return "".join(_command(line) for line in text.splitlines() if line.startswith("edgealloc "))
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(text, "<page>", "exec"), space)
    return stream.getvalue()


def updated(text: str) -> str:
    """A page with what its code prints now."""
    space: dict[str, Any] = {"__name__": "__main__"}
    waiting: list[str] = []

    def one(match: re.Match[str]) -> str:
        if match[1]:
            waiting.append(_printed(match[1], match[2], space))
            return match[0]
        shown = "".join(waiting).rstrip()
        waiting.clear()
        lines = "\n".join(line.rstrip() for line in shown.splitlines())
        return f"{match[3]}```text\n{lines}\n```\n{match[4]}"

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "examples").symlink_to(DOCS.parent / "examples", target_is_directory=True)
        os.chdir(folder)
        try:
            return PART.sub(one, text)
        finally:
            os.chdir(here)


def _timeless(text: str) -> list[str]:
    """Words of a page without the times of runs."""
    text = re.sub(r"^time +\S+ s$", "", text, flags=re.MULTILINE)
    lines, column = [], -1
    for line in text.splitlines():
        column = line.index("seconds") if line.startswith("method ") and "seconds" in line else column
        table = column >= 0 and len(line) > column
        lines.append(line[:column] + line[column + len("seconds"):] if table else line)
        column = column if table else -1
    return " ".join(lines).split()


def _same(one: str, other: str) -> bool:
    try:
        a, b = float(one), float(other)
    except ValueError:
        return one == other
    return abs(a - b) <= CLOSE * max(abs(a), abs(b))


def different(one: str, other: str) -> str:
    """The first words in which two texts of a page differ by more than times and roundings; empty if none."""
    a, b = _timeless(one), _timeless(other)
    for k in range(max(len(a), len(b))):
        if k >= min(len(a), len(b)) or not _same(a[k], b[k]):
            return f"{' '.join(a[max(0, k - 5):k + 3])!r} is now {' '.join(b[max(0, k - 5):k + 3])!r}"
    return ""


def main(arguments: list[str]) -> int:
    """Write the pages, or say what differs."""
    wrong = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = updated(text)
        found = different(text, new)
        if "--check" in arguments:
            wrong += bool(found)
            sys.stdout.write(f"{page.name}: {found}\n" if found else "")
        elif found:
            page.write_text(new, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
