"""The papers whose figures can be drawn: the one table that the command line reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from edgealloc.core.links import resolve
from edgealloc.core.run import Progress
from edgealloc.errors import DataError, nearest

__all__ = ["PAPERS", "FigureLike", "Paper", "find_paper"]


class FigureLike(Protocol):
    """What the command line needs of a figure that was run."""

    @property
    def edition(self) -> str:
        """The setting that it was run in."""

    @property
    def interrupted(self) -> bool:
        """Whether its data is incomplete."""

    def text(self, *, assumptions: bool = True) -> str:
        """A page: what was found and what was chosen.

        Parameters
        ----------
        assumptions : bool
            Print the assumptions of the setting, too.
        """

    def save(self, folder: str | Path, format: str = "png") -> tuple[Path, ...]:
        """Write picture and tables.

        Parameters
        ----------
        folder : path
            Where to write.
        format : str
            png, pdf or svg.

        Returns
        -------
        tuple of Path
            The files.
        """

    def record(self) -> dict[str, Any]:
        """All of it for machines."""


@dataclass(frozen=True)
class Paper:
    """A paper whose figures can be drawn.

    Attributes
    ----------
    name, title : str
    figures : str
        "module:NAME" of a mapping from the names of its figures to objects with a `title`.
    run : str
        "module:function": ``(names, editions, **options, on_progress)`` gives an iterator of `FigureLike`.
    listing : str
        "module:function": the rows of ``--list``, a mapping of texts or lists for each figure.
    editions : str
        "module:NAME" of a mapping from the names of its settings to what they are.
    options : tuple of str
        Options of the command that `run` knows.
    example : str
    explain : str
        "module:function" of ``--explain`` (a record, a text), or nothing.
    """

    name: str
    title: str
    figures: str
    run: str
    listing: str
    editions: str
    options: tuple[str, ...]
    example: str
    explain: str = ""

    def figure_names(self) -> list[str]:
        """Names of the figures, in order."""
        return list(resolve(self.figures))

    def edition_names(self) -> list[str]:
        """Names of the settings, in order."""
        return list(resolve(self.editions))

    def rows(self) -> list[dict[str, Any]]:
        """What ``--list`` shows."""
        return list(resolve(self.listing)())

    def results(
        self, names: Sequence[str], editions: Sequence[str], options: Mapping[str, Any],
        on_progress: Callable[[Progress], None] | None,
    ) -> Iterator[FigureLike]:
        """Run figures, one after the other.

        Parameters
        ----------
        names : sequence of str
            Figures.
        editions : sequence of str
            Settings.
        options : mapping
            Options of the command by name.
        on_progress : callable or None
            Called with a `Progress` now and then.

        Returns
        -------
        iterator of FigureLike
            One per figure and setting, run when it is asked for.

        Raises
        ------
        DataError
            An option that this paper's figures do not have; whatever else is faulty.
        """
        for name in options:
            if name not in self.options:
                known = ", ".join(_flag(one) for one in self.options)
                raise DataError(f"{_flag(name)}: the figures of {self.name} have no such option; they have {known}")
        for name in names:
            other = next((one.name for one in PAPERS.values() if name in one.figure_names()), self.name)
            if name not in self.figure_names() and other != self.name:
                raise DataError(f"figure: '{name}' is a figure of {other}; add --paper {other}")
        found: Iterator[FigureLike] = resolve(self.run)(names, editions, **options, on_progress=on_progress)
        return found


def _flag(option: str) -> str:
    """"time_limit_s" -> "--time-limit"."""
    return "--" + option.removesuffix("_s").replace("_", "-")


_LIU: Final = "edgealloc.reproduce.liu_zhao_2024"
_ZENG: Final = "edgealloc.reproduce.zeng_2024"
_DONG: Final = "edgealloc.reproduce.dong_2024"
_ZHANG: Final = "edgealloc.reproduce.zhang_2024"

PAPERS: Final[dict[str, Paper]] = {
    one.name: one
    for one in (
        Paper(
            "liu-zhao-2024", "Liu & Zhao, MobiHoc 2024, arXiv 2409.20247: split training",
            f"{_LIU}.figures:FIGURES", f"{_LIU}.figures:run_figures", f"{_LIU}.figures:listing",
            f"{_LIU}.settings:EDITIONS",
            ("samples", "users", "servers", "values", "gap", "time_limit_s", "workers"),
            "edgealloc figure 3a --out figures   (or: all; --edition literal|physical|both; --explain)",
            f"{_LIU}.defects:explained",
        ),
        Paper(
            "zeng-2024", "Zeng et al., IEEE Wireless Communications 2024, arXiv 2404.17766: pool training",
            f"{_ZENG}.figures:FIGURES", f"{_ZENG}.figures:run_figures", f"{_ZENG}.figures:listing",
            f"{_ZENG}.settings:TESTBEDS",
            ("values", "models", "gap", "time_limit_s"),
            "edgealloc figure time --paper zeng-2024 --out figures   (or: all; --edition nano|mixed|both)",
        ),
        Paper(
            "dong-2024", "Dong et al., arXiv 2408.10691: fine-tuning at the edge",
            f"{_DONG}.figures:FIGURES", f"{_DONG}.figures:run_figures", f"{_DONG}.figures:listing",
            f"{_DONG}.settings:WORKLOADS",
            ("models", "gap", "time_limit_s"),
            "edgealloc figure memory --paper dong-2024 --out figures   (or: all; --edition short|long|both)",
        ),
        Paper(
            "zhang-2024", "Zhang et al., arXiv 2411.09148: compact models at the edge",
            f"{_ZHANG}.figures:FIGURES", f"{_ZHANG}.figures:run_figures", f"{_ZHANG}.figures:listing",
            f"{_ZHANG}.settings:BASES",
            ("gap", "time_limit_s"),
            "edgealloc figure offloading --paper zhang-2024 --out figures   (or: all; --edition llama3|llama2|both)",
        ),
    )
}


def find_paper(name: str) -> Paper:
    """The paper of a name, or a DataError that says which was probably meant."""
    if name not in PAPERS:
        raise DataError(f"--paper: no paper '{name}'; {nearest(str(name), PAPERS)}")
    return PAPERS[name]
