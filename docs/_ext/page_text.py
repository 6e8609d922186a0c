"""Small pieces of Markdown for generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["cell", "page", "table"]


def cell(text: str) -> str:
    """A text as a cell of a table: nothing in it is taken for markup, code in backticks is kept."""
    parts = " ".join(str(text).split()).split("`")
    for k in range(0, len(parts), 2):  # outside of backticks
        for sign in ("\\", "*", "<", "$", "{", "["):
            parts[k] = parts[k].replace(sign, "\\" + sign)
    return "`".join(parts).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def page(title: str, purpose: str, *parts: str) -> str:
    """A page: its title, what it is for in one sentence, and the rest."""
    return "\n\n".join([f"# {title}", f"*{purpose}*", *(part.strip("\n") for part in parts)]) + "\n"
