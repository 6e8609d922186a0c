"""Plain, Markdown and LaTeX tables from rows of texts: a dozen lines each, so no further dependency."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "frame", "latex_table", "markdown_table", "text_table"]


@dataclass(frozen=True)
class Column:
    """One quantity of a table of results.

    Attributes
    ----------
    name : str
        Column of frames and files, with its SI unit: "mean_delay_s".
    heading : str
        For people: "mean delay s".
    label : str
        At an axis: "mean delay [s]"; the heading where it is empty.
    digits : str
        Format of its numbers.
    number : bool
        False for a text, of which no mean can be taken and no curve drawn.
    """

    name: str
    heading: str
    label: str = ""
    digits: str = ".4g"
    number: bool = True

    def shown(self, value: Any) -> str:
        """A value as a cell of a table.

        >>> Column("energy_j", "energy J").shown(12.34567)
        '12.35'
        """
        return format(value, self.digits) if self.number else str(value)


def frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A data frame of columns by name."""
    import pandas as pd

    return pd.DataFrame(dict(columns))


_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
          "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], separator: str) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return separator.join(padded).rstrip()


def _numeric(rows: Sequence[Sequence[str]], columns: int) -> list[bool]:
    """A column is set flush right if all of its filled cells begin like a number."""
    def like_number(cell: str) -> bool:
        return cell[:1].isdigit() or (cell[:1] in "+-." and cell[1:2].isdigit()) or cell in ("", "-", "inf")

    return [bool(rows) and all(like_number(row[i]) for row in rows) for i in range(columns)]


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded with spaces under a ruled header."""
    widths, right = _widths(header, rows), _numeric(rows, len(header))
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([_line(header, widths, right, "  "), rule, *(_line(row, widths, right, "  ") for row in rows)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub-flavoured Markdown table."""
    rule = ["---:" if right else "---" for right in _numeric(rows, len(header))]
    head, *body = ([_escaped(cell) for cell in line] for line in [header, *rows])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *body])


def _escaped(cell: str) -> str:
    """A cell in which bars and the stars of products ("W*s^3") are themselves; in code only bars are escaped."""
    cell = cell.replace("|", "\\|")
    return cell if "`" in cell else re.sub(r"(?<=\w)\*(?=\w)", r"\\*", cell)


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX tabular with booktabs rules; special characters are escaped."""
    def escape(cell: str) -> str:
        return "".join(_LATEX.get(character, character) for character in cell)

    columns = "".join("r" if r else "l" for r in _numeric(rows, len(header)))
    body = [" & ".join(escape(cell) for cell in row) + r" \\" for row in [header, *rows]]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule",
                      r"\end{tabular}"])
