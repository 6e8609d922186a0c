"""What the figures of every paper share: found names, files that are written, the end of their page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import edgealloc as ea
from edgealloc.core.figures import legend_below, new_figure
from edgealloc.reproduce.results import FORMATS, choices_lines, find_figure, save_result


def drawn() -> Any:
    return new_figure()[0]


@pytest.mark.parametrize("format", FORMATS)
def test_files(tmp_path: Path, format: str) -> None:
    """Picture and tables lie in a folder that is made, in the order said, and are what was given."""
    tables = {"": pd.DataFrame({"a": [1, 2]}), "_summary": pd.DataFrame({"b": [0.5]})}
    paths = save_result(tmp_path / "new" / "folder", "stem", format, drawn, tables)
    assert [path.name for path in paths] == [f"stem.{format}", "stem.csv", "stem_summary.csv"]
    assert [path.read_text(encoding="utf-8") for path in paths[1:]] == ["a\n1\n2\n", "b\n0.5\n"]
    assert paths[0].stat().st_size > 100


def test_refusals(tmp_path: Path) -> None:
    """Nothing is drawn or made for a format that cannot be written; a folder that cannot be is named."""
    def never() -> Any:
        raise AssertionError("drawn")

    with pytest.raises(ea.DataError, match="format: is 'gif'; give one of png, pdf, svg"):
        save_result(tmp_path / "new", "stem", "gif", never, {})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ea.DataError, match="cannot make the folder"):
        save_result(tmp_path / "file", "stem", "png", never, {})


def test_names() -> None:
    figures = {"2a": 1, "time": 2}
    assert [find_figure(one, figures) for one in ("2a", "figure_2a", "figure 2a", "time")] == [1, 1, 1, 2]
    for name, expected in (("tiem", "no figure 'tiem'; did you mean 'time'"), ("9", "known: 2a, time")):
        with pytest.raises(ea.DataError, match=expected):
            find_figure(name, figures)


def test_end_of_a_page() -> None:
    assert choices_lines(["a"], ["b"], interrupted=False) == ["", "choices that are ours", "  - a", "  - b"]
    assert choices_lines([], [], interrupted=True)[:2] == ["", "interrupted: the data is incomplete"]


def test_legend_below_names_each_label_once() -> None:
    figure, axes = new_figure(1, 2)
    handles = [ax.plot([0, 1], [1, 2], label="line")[0] for ax in axes]
    legend_below(figure, *axes, extra=[(handles[0], "more")])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["line", "more"]
    empty = drawn()
    legend_below(empty, *empty.axes)
    assert empty.legends == []
