"""Figures: written whole or not at all, and drawn from whatever history there is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import edgealloc as ea
from edgealloc.core.figures import SUFFIXES, new_figure, place_legend, plot_convergence, save_figure


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save(tmp_path: Path, suffix: str) -> None:
    figure, ax = new_figure()
    ax.plot([0, 1], [1, 2], label="line")
    place_legend(ax)
    first = save_figure(figure, tmp_path / f"a{suffix}").read_bytes()
    assert len(first) > 1000
    assert save_figure(figure, tmp_path / f"A{suffix.upper()}").exists()


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.npz", "absent/a.png"])
def test_bad_path_creates_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ea.DataError):
        save_figure(new_figure()[0], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_no_global_state() -> None:
    """Drawing registers no figure with pyplot and changes no setting."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    plot_convergence([ea.Progress("a", 0.0, 0, 2.0, 1.0)])
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


HISTORIES = {
    "none": [],
    "one": [ea.Progress("a", 0.1, 0, 2.0, 1.0)],
    "objective only": [ea.Progress("a", 0.1 * i, i, 2.0 - i) for i in range(3)],
    "bound only": [ea.Progress("a", 0.1, 0, None, 1.0), ea.Progress("a", 0.2, 1, None, 2.0)],
    "nothing in it": [ea.Progress("a", 0.1), ea.Progress("b", 0.2)],
    "not finite": [ea.Progress("a", 0.1, 0, math.inf, -math.inf), ea.Progress("a", 0.2, 0, 3.0, math.nan)],
    "closed": [ea.Progress("a", 0.1, 0, 2.0, 2.0)],
    "not monotone": [ea.Progress("a", 0.1, 0, 2.0, 1.0), ea.Progress("a", 0.2, 0, 5.0, 0.0)],
    "long": [ea.Progress("a", 0.1 * i, i, 2.0 + 1.0 / (i + 1), 2.0 - 1.0 / (i + 1)) for i in range(500)],
}


@pytest.mark.parametrize("name", HISTORIES)
def test_convergence_draws_any_history(name: str, tmp_path: Path) -> None:
    figure = plot_convergence(HISTORIES[name], title=name)
    save_figure(figure, tmp_path / "x.png")
    _, ax = new_figure()
    assert plot_convergence(HISTORIES[name], ax=ax) is ax.figure


def test_convergence_keeps_the_best_so_far() -> None:
    upper = plot_convergence(HISTORIES["not monotone"]).axes[0]
    drawn = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in upper.get_lines()}
    assert drawn == {"best objective": [2.0, 2.0], "proven bound": [1.0, 1.0]}
