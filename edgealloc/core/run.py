"""What a method is told about one run: options, the clock, and where to report progress."""

from __future__ import annotations

import math
import numbers
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgealloc.errors import DataError, Fault

__all__ = ["Progress", "Run", "TimeUpError"]


def _real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


class TimeUpError(Exception):
    """Raised inside a method when its time is up; never leaves `solve`."""


@dataclass(frozen=True)
class Progress:
    """One line of a run's history.

    Attributes
    ----------
    stage : str
        What the method was doing.
    seconds : float
        Since the start of the run.
    iteration : int
        Count within the stage.
    objective, bound : float or None
        Best feasible objective and best proven bound so far.
    """

    stage: str
    seconds: float
    iteration: int = 0
    objective: float | None = None
    bound: float | None = None

    @property
    def gap(self) -> float | None:
        """Relative gap ``(objective - bound)/|objective|``, None until both exist."""
        if self.objective is None or self.bound is None:
            return None
        return max(0.0, (self.objective - self.bound) / max(abs(self.objective), 1e-300))


@dataclass
class Run:
    """Options and clock of one call to `solve`.

    Attributes
    ----------
    gap : float
        Relative gap at which the method may stop.
    time_limit_s : float
        Seconds, inf for none.
    seed : int
    threads : int
        Worker threads; results are the same for any number.
    warm_start : object or None
        An allocation to start from, already checked by the problem.
    history : list of Progress
    on_progress : callable or None
        Called with every `Progress`.
    started : float
        Reading of the clock when the run began, s.
    """

    gap: float = 1e-3
    time_limit_s: float = 60.0
    seed: int = 0
    threads: int = 1
    warm_start: Any = None
    on_progress: Callable[[Progress], None] | None = None
    history: list[Progress] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def create(
        cls,
        *,
        gap: Any,
        time_limit_s: Any,
        seed: Any,
        threads: Any,
        on_progress: Callable[[Progress], None] | None,
        warm_start: Any,
    ) -> Run:
        """Check the options of `solve` and start the clock.

        Parameters
        ----------
        gap : float
            Relative gap at which to stop, in [0, 1).
        time_limit_s : float or None
            Seconds; None for no limit.
        seed : int
            Of methods that draw random numbers.
        threads : int or None
            Worker threads; None for all processors.
        on_progress : callable or None
            Called with a `Progress` now and then.
        warm_start : object or None
            An allocation or solution to begin with.

        Returns
        -------
        Run

        Raises
        ------
        DataError
            With every faulty option.
        """
        faults = []
        if not (_real(gap) and math.isfinite(gap) and gap >= 0.0):
            faults.append(Fault("gap", f"is {gap!r}; give a relative gap >= 0 such as 1e-3"))
        limit = math.inf if time_limit_s is None else time_limit_s
        if not (_real(limit) and limit > 0.0):
            faults.append(Fault("time_limit_s", f"is {time_limit_s!r}; give seconds > 0, or None for no limit"))
        if not _whole(seed) or seed < 0:
            faults.append(Fault("seed", f"is {seed!r}; give an integer >= 0"))
        count = threads if threads is not None else min(os.cpu_count() or 1, 16)
        if not _whole(count) or count < 1:
            faults.append(Fault("threads", f"is {threads!r}; give an integer >= 1, or None for all processors"))
        if faults:
            raise DataError(faults, "solve")
        return cls(
            gap=float(gap), time_limit_s=float(limit), seed=int(seed), threads=int(count), warm_start=warm_start,
            on_progress=on_progress,
        )

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.started

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit (can be negative)."""
        return self.time_limit_s - self.seconds

    def restart_clock(self) -> None:
        """Start the clock anew: what came before (compiling kernels, once per machine) is not the problem's time."""
        self.started = time.perf_counter()
        self.history.clear()

    def check_time(self) -> None:
        """Raise TimeUpError when the time limit has passed."""
        if self.seconds > self.time_limit_s:
            raise TimeUpError

    def report(
        self, stage: str, iteration: int = 0, objective: float | None = None, bound: float | None = None
    ) -> None:
        """Append a line to the history and hand it to `on_progress`; what is not finite is not known yet.

        Parameters
        ----------
        stage : str
            What the method is doing.
        iteration : int
            How often it has done so.
        objective : float, optional
            Best objective so far.
        bound : float, optional
            Best proven bound so far.
        """
        line = Progress(stage, self.seconds, iteration, _known(objective), _known(bound))
        self.history.append(line)
        if self.on_progress is not None:
            self.on_progress(line)
