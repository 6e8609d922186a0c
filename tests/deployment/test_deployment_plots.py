"""Pictures of deployments: every one for small and large fleets, and that what they show is what was decided."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deployment_oracle import random_deployment

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.core.figures import new_figure, save_figure
from edgealloc.formulations.deployment.plots import ROWS_SHOWN, _style

Found = ea.Solution[ea.Rollout, ea.DeploymentCosts]


def _fixed(problem: ea.Deployment, run: ea.Run) -> ea.Outcome:
    return ea.Outcome(run.warm_start)


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method of these tests is gone after them."""
    monkeypatch.setitem(registry._REGISTERED, "deployment",
                        {"fixed": ea.Method("fixed", "the rollout that is given", slow=True, run=_fixed)})


@lru_cache
def case(devices: int, variants: int, classes: int, servers: int) -> Found:
    """A fleet in which everything fits everywhere, spread over all variants, servers and sets of classes."""
    changes: dict[str, Any] = {
        "device_memory_bytes": 1e12, "runs": True, "query_rate_per_s": 0.5 / devices, "deadline_s": None,
        "accuracy_floor": 0.0, "hallucination_ceiling": 1.0, "device_load_limit": math.inf, "energy_limit_j": None,
        "hallucination_limit": None, "error_limit": None, "inaccessible_limit": None}
    if servers:
        changes |= {"uplink_bps": 1e7, "downlink_bps": 1e7, "load_limit": 0.99, "busy_s": 0.5, "service_s": None,
                    "airtime_limit": np.where(np.arange(servers) % 2, 0.5, np.inf)}
    problem = random_deployment(7, devices, variants, classes, servers, **changes)
    numbers = np.arange(devices)
    mask = numbers % 2**classes if servers else np.zeros(devices, dtype=np.int64)
    offload = (mask[:, None] >> np.arange(classes) & 1).astype(bool)
    server = np.where(mask > 0, numbers % max(servers, 1), -1)
    variant = numbers // 2 % (variants + 1) - 1
    variant = np.where((variant < 0) & (mask < 2**classes - 1), 0, variant)
    return problem.solve("fixed", warm_start=ea.Rollout(variant, server, offload)).require()


SIZES = [(1, 1, 1, 0), (24, 3, 2, 2), (600, 24, 3, 20)]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("what", ea.Deployment.PLOTS)
@pytest.mark.parametrize("size", SIZES)
def test_draws(size: tuple[int, int, int, int], what: str, tmp_path: Path) -> None:
    solution = case(*size)
    figure = solution.plot(what)
    assert figure.axes[0].get_title(loc="left")
    if size[0] == 24:  # drawing to pixels is what takes long
        assert save_figure(figure, tmp_path / "x.png").stat().st_size > 5000
        _, ax = new_figure()
        assert solution.plot(what, ax=ax) is ax.figure


def test_names() -> None:
    solution = case(*SIZES[1])
    assert ea.Deployment.PLOTS[0] == "quality"
    with pytest.raises(ea.DataError, match="did you mean 'coverage'"):
        solution.plot("coverge")


def _widths(ax: Any) -> np.ndarray[Any, Any]:
    """Length of the bars of every row."""
    total = np.zeros(len(ax.get_yticks()))
    for bar in ax.patches:
        total[round(bar.get_y() + bar.get_height() / 2.0)] += bar.get_width()
    return total


@pytest.mark.parametrize("size", SIZES)
def test_coverage_counts_every_device(size: tuple[int, int, int, int]) -> None:
    solution = case(*size)
    assert solution.allocation is not None
    assert solution.costs is not None
    ax = solution.plot("coverage").axes[0]
    widths = _widths(ax)
    assert widths.sum() == pytest.approx(size[0])
    kinds = set(solution.allocation.variant.tolist()) - {-1}
    nothing = -1 in solution.allocation.variant
    assert len(widths) == min(len(kinds), ROWS_SHOWN) + (len(kinds) > ROWS_SHOWN) + nothing
    if nothing:
        assert widths[-1] == int((solution.allocation.variant < 0).sum())
    assert f"{100 * solution.costs.accessibility:.0f}" in ax.get_title(loc="left")


@pytest.mark.parametrize("size", SIZES)
def test_offloading_adds_up(size: tuple[int, int, int, int]) -> None:
    """Every class is answered as a whole, the device's part first."""
    solution = case(*size)
    problem, costs = solution.problem, solution.costs
    assert costs is not None
    ax = solution.plot("offloading").axes[0]
    widths = _widths(ax)
    assert widths[:problem.classes] == pytest.approx(100.0)
    for c in range(problem.classes):
        kept = costs.share[~costs.offloaded[:, c], c].sum() / costs.share[:, c].sum()
        first = [bar.get_width() for bar in ax.patches
                 if round(bar.get_y() + bar.get_height() / 2.0) == c and bar.get_x() == 0.0]
        assert kept == 0.0 or first == [pytest.approx(100.0 * kept)]


def test_variants_are_told_apart() -> None:
    assert len({_style(k) for k in range(60)}) == 60


@pytest.mark.parametrize("size", SIZES)
def test_chosen_variants_are_filled(size: tuple[int, int, int, int]) -> None:
    """Filled points are (memory, accuracy over the fleet's mix) of what was chosen."""
    solution = case(*size)
    problem, allocation = solution.problem, solution.allocation
    assert allocation is not None
    ax = solution.plot("quality").axes[0]
    filled = [one for one in ax.collections
              if len(one.get_facecolors()) and not (one.get_facecolors()[0, :3] == 1).all()]
    points = sorted((round(float(x), 9), round(float(y), 9))
                    for one in filled for x, y in np.asarray(one.get_offsets()))
    mix = problem.query_rate_per_s.sum(axis=0) / problem.query_rate_per_s.sum()
    chosen = sorted(set(allocation.variant.tolist()) - {-1})
    expected = sorted((round(float(problem.memory_bytes[k]) * 1e-9, 9), round(float(problem.accuracy[k] @ mix), 9))
                      for k in chosen)
    assert points == expected


def test_load_is_the_share_of_time() -> None:
    solution = case(*SIZES[1])
    frame = solution.servers_frame()
    ax = solution.plot("load").axes[0]
    widths = sorted(bar.get_width() for bar in ax.patches)
    assert widths == pytest.approx(sorted(100.0 * frame[["load", "airtime"]].to_numpy().ravel()))
    assert sum("queue" in text.get_text() for text in ax.texts) == 2
