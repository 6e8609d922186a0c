"""What the figures of every paper share: names that are found, files that are written, the end of their page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edgealloc.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from edgealloc.reproduce.trend import TrendResult

__all__ = ["FORMATS", "ToldResult", "check_format", "choices_lines", "find_figure", "save_result"]

#: Formats of the pictures.
FORMATS: Final = ("png", "pdf", "svg")

T = TypeVar("T")


class ToldResult:
    """How a figure of rows is told: to people by `text`, to machines by `record`."""

    figure: Any
    edition: str
    rows: tuple[dict[str, Any], ...]
    trends: tuple[TrendResult, ...]
    choices: tuple[str, ...]
    assumptions: tuple[str, ...]
    interrupted: bool

    def text(self, *, assumptions: bool = True) -> str:
        """A page, with or without what every figure shares.

        Parameters
        ----------
        assumptions : bool
            Print the assumptions of the setting, too.
        """
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """All of it for machines."""
        return {"figure": self.figure.name, "title": self.figure.title, "edition": self.edition,
                "interrupted": self.interrupted, "trends": self.trends, "choices": self.choices,
                "assumptions": self.assumptions, "rows": self.rows}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"FigureResult({self.figure.name!r}, {self.edition!r}, rows={len(self.rows)})"


def find_figure(name: str, figures: Mapping[str, T]) -> T:
    """The figure of a name; "figure 3a" and "figure_3a" are "3a".

    Parameters
    ----------
    name : str
        As typed.
    figures : mapping
        Name -> figure.

    Raises
    ------
    DataError
        There is none; the message says which was probably meant.
    """
    key = str(name).removeprefix("figure").strip(" _")
    if key not in figures:
        raise DataError(f"figure: no figure '{name}'; {nearest(key, figures)}")
    return figures[key]


def check_format(format: str, field: str = "format") -> str:
    """The format of a picture, or a DataError that names the `field` and lists `FORMATS`."""
    if format not in FORMATS:
        raise DataError(f"{field}: is {format!r}; give one of {', '.join(FORMATS)}")
    return format


def save_result(
    folder: str | Path, stem: str, format: str, plot: Callable[[], Figure], tables: Mapping[str, pd.DataFrame]
) -> tuple[Path, ...]:
    """Write a picture and tables; existing files are replaced only when each is written.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    stem : str
        What the names of all files begin with.
    format : {"png", "pdf", "svg"}
    plot : callable
        Draws the picture, ``<stem>.<format>``.
    tables : mapping
        What ``.csv`` files add to the stem -> the table: "" for ``<stem>.csv``, "_summary" for ``<stem>_summary.csv``.

    Returns
    -------
    tuple of Path
        The picture, then the tables in their order.

    Raises
    ------
    DataError
        Another format, or a folder that cannot be written.
    """
    from edgealloc.core.figures import save_figure
    from edgealloc.sweeps.result import frame_to_csv

    check_format(format)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    picture = save_figure(plot(), folder / f"{stem}.{format}")
    return (picture, *(frame_to_csv(table, folder / f"{stem}{end}.csv") for end, table in tables.items()))


def choices_lines(choices: Sequence[str], assumptions: Sequence[str], *, interrupted: bool) -> list[str]:
    """How the page of a figure ends: whether data is missing, and what was chosen by us.

    Parameters
    ----------
    choices : sequence of str
        What was chosen by us.
    assumptions : sequence of str
        Assumptions of the setting.
    interrupted : bool
        Data is missing.
    """
    lines = ["", "interrupted: the data is incomplete"] if interrupted else []
    return [*lines, "", "choices that are ours", *(f"  - {one}" for one in (*choices, *assumptions))]
