"""Run the code of one page as a reader would: ``python guide_runner.py PAGE`` in an empty folder.

Blocks of Python run one after the other in one module; a block of Python or TOML whose first line is ``# NAME.py`` or
``# NAME.toml`` is saved under that name first. Of shell blocks the lines that begin with ``edgealloc`` run.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(python|toml|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"# ([\w-]+\.(?:py|toml))\n")


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Language, text and line of every block of code that runs."""
    text = page.read_text(encoding="utf-8")
    return [(one[1], one[2], text.count("\n", 0, one.start()) + 2) for one in FENCE.finditer(text)]


def command(line: str) -> None:
    """One command line of edgealloc; anything but success ends the page."""
    from typer.testing import CliRunner

    from edgealloc.cli import app

    done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
    sys.stdout.write(done.output)
    if done.exit_code:
        raise SystemExit(f"{line}: exit status {done.exit_code}\n{done.output}")


def main(page: Path) -> None:
    """Run a page."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for language, text, line in blocks(page):
        named = NAME.match(text)
        if named is not None:
            Path(named[1]).write_text(text, encoding="utf-8")
        if language == "python":
            # lines as in the page, so that a traceback names them
            exec(compile("\n" * (line - 1) + text, str(page), "exec"), space)
        elif language == "bash":
            for one in text.splitlines():
                if one.startswith("edgealloc "):
                    command(one)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
