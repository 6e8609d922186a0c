"""Settings of the whole test suite.

``EDGEALLOC_NIGHTLY=20`` draws twenty times as many random instances as a usual run, and Hypothesis then
searches afresh instead of repeating the same examples. ``EDGEALLOC_SHARE=0.15`` draws so much less: for a second run of
the same draws, under another Python. Tests that are marked ``once`` are then left out (what takes long and depends on
no Python), and of a test with many cases the first ones are run.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from stopped_clock import StoppedClock

os.environ.setdefault("MPLBACKEND", "Agg")

NIGHTLY = int(os.environ.get("EDGEALLOC_NIGHTLY", "0"))

SHARE = float(os.environ.get("EDGEALLOC_SHARE", "1"))

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("ci", derandomize=True, max_examples=max(5, round(60 * SHARE)), **_COMMON)  # type: ignore[arg-type]
settings.register_profile("nightly", max_examples=60 * max(NIGHTLY, 1), **_COMMON)  # type: ignore[arg-type]
settings.load_profile("nightly" if NIGHTLY else "ci")


#: Cases of a parametrised test that a second run has.
CASES = 3


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked "once", and all but the first cases of the others, out of a second run."""
    if SHARE >= 1.0:
        return
    cases: Counter[str] = Counter()
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        once = item.get_closest_marker("once") is not None
        (left if once or cases[test] > CASES else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """Runs see this clock, which a test lets run out at a line of progress."""
    return StoppedClock(monkeypatch)
