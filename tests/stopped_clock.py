"""A clock for tests of time limits: it stands still until a line of progress moves it past every limit.

What a method does under a time limit then depends neither on the machine nor on what else it is doing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from edgealloc.core import run as runs
from edgealloc.core.run import Progress

__all__ = ["StoppedClock"]


class StoppedClock:
    """In place of the clock of `Run`: solvers that are given the time left see the time limit whole, or none left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reset()
        monkeypatch.setattr(runs, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def reset(self) -> None:
        """For further runs within a test."""
        self.now = time.perf_counter()

    def run_out_at(
        self, stage: str, line: int = 1, then: Callable[[Progress], None] | None = None
    ) -> Callable[[Progress], None]:
        """An `on_progress`: at the `line`-th line of a stage (its start, where names go on) all time is over.

        "" is any stage.
        """
        left = line

        def report(progress: Progress) -> None:
            nonlocal left
            left -= progress.stage.startswith(stage)
            if left == 0:
                self.now += 1e9
            if then is not None:
                then(progress)

        return report
