"""Pictures of fine-tuning: every one for small and large fleets, and that what they show is what was decided."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleets import random_fleet_problem

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.core.figures import new_figure, save_figure
from edgealloc.formulations.fine_tuning.plots import PLACES_SHOWN, _style

Found = ea.Solution[ea.Assignment, ea.FineTuningCosts]


def _fixed(problem: ea.FineTuning, run: ea.Run) -> ea.Outcome:
    return ea.Outcome(run.warm_start)


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method of these tests is gone after them."""
    fixed = ea.Method("fixed", "the assignment that is given", slow=True, run=_fixed)
    monkeypatch.setitem(registry._REGISTERED, "fine-tuning", {"fixed": fixed})


@lru_cache
def case(jobs: int, methods: int, servers: int) -> Found:
    """A fleet in which everything fits everywhere, spread over all methods and places."""
    changes: dict[str, Any] = {"device_memory_bytes": 1e12, "deadline_s": None, "energy_limit_j": None,
                               "quality_floor": 0.0,
                               "on_device": True, "on_server": True, "rounds": 0}
    if servers:
        changes |= {"uplink_bps": 1e7, "downlink_bps": 1e7, "server_memory_bytes": 1e9 * (20 + 20 * jobs),
                    "server_busy_s": np.where(np.arange(servers) % 2, 1e4 * jobs, np.inf), "airtime_s": None}
    problem = random_fleet_problem(7, jobs, methods, servers, **changes)
    numbers = np.arange(jobs)
    place = numbers % (1 + servers) - 1 if servers else np.full(jobs, -1)
    return problem.solve("fixed", warm_start=ea.Assignment(numbers // 2 % methods, place)).require()


SIZES = [(1, 1, 0), (8, 3, 2), (600, 12, 20)]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("what", ea.FineTuning.PLOTS)
@pytest.mark.parametrize("size", SIZES)
def test_draws(size: tuple[int, int, int], what: str, tmp_path: Path) -> None:
    solution = case(*size)
    figure = solution.plot(what)
    assert figure.axes[0].get_title(loc="left")
    if size[0] == 8:  # drawing to pixels is what takes long
        assert save_figure(figure, tmp_path / "x.png").stat().st_size > 5000
        _, ax = new_figure()
        assert solution.plot(what, ax=ax) is ax.figure


def test_names() -> None:
    solution = case(*SIZES[1])
    assert ea.FineTuning.PLOTS[0] == "placement"
    with pytest.raises(ea.DataError, match="did you mean 'quality'"):
        solution.plot("qualty")


@pytest.mark.parametrize("size", SIZES[1:])
def test_placement_counts_every_job(size: tuple[int, int, int]) -> None:
    """The bars of a place are as long as it has jobs, and all of them together as there are jobs."""
    solution = case(*size)
    assert solution.allocation is not None
    ax = solution.plot("placement").axes[0]
    widths = np.zeros(len(ax.get_yticks()))
    for bar in ax.patches:
        widths[round(bar.get_y() + bar.get_height() / 2.0)] += bar.get_width()
    assert widths.sum() == pytest.approx(size[0])
    assert widths[0] == int((solution.allocation.place < 0).sum())
    assert len(widths) == 1 + min(size[2], PLACES_SHOWN) + (size[2] > PLACES_SHOWN)


def test_methods_are_told_apart() -> None:
    assert len({_style(k) for k in range(20)}) == 20


@pytest.mark.parametrize("size", SIZES[1:])
def test_chosen_points_are_filled(size: tuple[int, int, int]) -> None:
    """Filled points are the distinct (memory, quality) of what was chosen."""
    solution = case(*size)
    costs = solution.costs
    assert costs is not None
    ax = solution.plot("quality").axes[0]
    filled = [one for one in ax.collections if len(one.get_facecolors())]
    points = {(round(x * 1e9), round(y, 9)) for one in filled for x, y in np.asarray(one.get_offsets())}
    assert points == {(round(m), round(q, 9)) for m, q in zip(costs.memory_bytes, costs.quality, strict=True)}


def test_load_is_the_share_of_the_limit() -> None:
    solution = case(*SIZES[1])
    frame = solution.servers_frame()
    ax = solution.plot("load").axes[0]
    widths = sorted(bar.get_width() for bar in ax.patches)
    shares = frame[["memory_share", "busy_share", "airtime_share"]].fillna(0.0).to_numpy().ravel()
    assert widths == pytest.approx(sorted(100.0 * shares))
    said = {text.get_text() for text in ax.texts}
    assert sum("no limit" in one for one in said) >= 2
