"""Pictures of a solution: every one of them for every shape of answer, with what it shows checked where it can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instances import sized

import edgealloc as ea
from edgealloc.core.figures import new_figure, save_figure
from edgealloc.formulations.split_training.plots import LINES_UP_TO, PLOTS


def placed(seed: int, users: int, servers: int, **traits: Any) -> ea.SplitTraining:
    rng = np.random.default_rng(seed)
    problem = sized(seed, users, servers, extreme=False, **traits)
    return problem.replace(user_xy_m=rng.uniform(0, 800, (users, 2)), server_xy_m=rng.uniform(0, 800, (servers, 2)))


CASES = {
    "one": lambda: placed(0, 1, 1),
    "few": lambda: placed(1, 20, 4, dead_links=True),
    "many servers": lambda: placed(2, 40, 30),
    "many users": lambda: placed(3, LINES_UP_TO + 1, 5),
    "no coordinates": lambda: sized(4, 20, 3, extreme=False),
    "nobody offloads": lambda: placed(5, 3, 2).replace(
        gain=np.zeros((3, 2)), stability=ea.Stability("fu", lambda_min=1.0), max_local_layers=None,
        stability_limit=None, device_memory_bytes=None, memory_bytes_fixed=0.0, memory_bytes_per_layer=0.0,
        memory_bytes_head=0.0),
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("what", PLOTS)
@pytest.mark.parametrize("case", CASES)
def test_draws(case: str, what: str, tmp_path: Path) -> None:
    solution = CASES[case]().solve("greedy").require()
    figure = solution.plot(what)
    assert save_figure(figure, tmp_path / "x.png").stat().st_size > 5000
    _, ax = new_figure()
    assert solution.plot(what, ax=ax) is ax.figure
    assert ax.get_title(loc="left")


def test_unknown_name() -> None:
    solution = sized(1, 3, 2).solve("greedy")
    with pytest.raises(ea.DataError, match="did you mean 'map'"):
        solution.plot("mapp")
    with pytest.raises(ea.DataError, match="convergence"):
        solution.plot("zzz")


def test_lines_only_for_few_users() -> None:
    for users, drawn in ((50, True), (LINES_UP_TO + 1, False)):
        ax = placed(0, users, 3).solve("greedy").plot("map").axes[0]
        lines = [one for one in ax.collections if type(one).__name__ == "LineCollection"]
        assert bool(lines) is drawn


def test_map_stands_where_the_users_are() -> None:
    """Kilometres from 5 km on; every user and server is drawn once."""
    problem = placed(0, 30, 3)
    problem = problem.replace(user_xy_m=10.0 * problem.user_xy_m, server_xy_m=10.0 * problem.server_xy_m)
    ax = problem.solve("greedy").plot("map").axes[0]
    assert ax.get_xlabel() == "x [km]"
    points = np.vstack([np.asarray(one.get_offsets()) for one in ax.collections
                        if type(one).__name__ == "PathCollection"])
    expected = np.vstack([problem.user_xy_m, problem.server_xy_m]) / 1e3
    assert sorted(map(tuple, points.round(9))) == sorted(map(tuple, expected.round(9)))


def test_cuts_histogram_counts_everybody() -> None:
    solution = placed(1, 37, 4).solve("greedy").require()
    ax = solution.plot("cuts").axes[0]
    heights = sum(bar.get_height() for bar in ax.patches)
    assert heights == 37


def test_axes_have_units() -> None:
    solution = placed(1, 10, 3).solve("greedy")
    labels = [ax.get_ylabel() for ax in solution.plot("costs").axes]
    assert labels == ["delay [s]", "energy [J]"]
    labels = [ax.get_ylabel() for ax in solution.plot("loads").axes]
    assert labels == ["used [%]", "price\n[objective/MHz]", "price\n[objective/GHz]"]
