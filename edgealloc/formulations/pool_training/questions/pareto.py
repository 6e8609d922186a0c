r"""Time against energy: the plans of which none is better in both, and the region that no plan can reach.

Every weighted problem :math:`\min w_t T + w_e E` that is solved with a bound gives a certified half-plane
:math:`w_t T + w_e E \ge \text{bound}` in which every plan lies. The sweep starts with the two ends (least time, least
energy) and goes on where two neighbouring points leave most room, with the weights for which both cost the same
(Aneja & Nair 1979): it finds the corners of the convex front. Plans above the half-planes but between the corners may
exist; no weights would choose them.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.figures import COLOURS, GREY, new_figure, place_legend, style_axes
from edgealloc.core.files import write_csv
from edgealloc.core.run import Progress
from edgealloc.core.solution import Solution
from edgealloc.core.status import Termination
from edgealloc.core.tables import markdown_table, text_table
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError
from edgealloc.formulations.pool_training.plan import JOULES_PER_KWH, PARALLELISMS, Plan, PoolCosts
from edgealloc.formulations.pool_training.questions.given import problem_of
from edgealloc.formulations.pool_training.views import plan_words
from edgealloc.units import format_si

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["ParetoFront", "pareto_front"]

FloatArray = npt.NDArray[np.float64]

#: Weight of the other quantity, relative to its share, that picks the better one of plans that tie at an end.
_TIE: Final = 1e-4
#: Points that differ by less than this share are one.
_SAME: Final = 1e-9


@dataclass(frozen=True, eq=False)
class ParetoFront:
    """Plans of which none is better in both time and energy, fastest first, and what is proven about all others.

    Attributes
    ----------
    problem : PoolTraining
        Its own weights play no part here.
    method : str
    time_s, energy_j : (P,)
        Of an iteration; times rise strictly and energies fall strictly.
    plans : tuple of Plan
    bounds : (K, 3)
        Certified half-planes ``w_t T + w_e E >= bound``, one row (w_t, w_e, bound) for every problem that was solved
        with a bound: no plan that keeps the limits of the problem lies below any of them.
    complete : bool
        Nothing was left to solve: no plan found by the method lies below the line through the points.
    interrupted : bool
        Ctrl-C ended the sweep early.
    seconds : float
    """

    problem: PoolTraining
    method: str
    time_s: FloatArray
    energy_j: FloatArray
    plans: tuple[Plan, ...]
    bounds: FloatArray
    complete: bool
    interrupted: bool
    seconds: float

    # ---- what is proven -------------------------------------------------------------------------------------------

    def lower_energy_j(self, time_s: npt.ArrayLike) -> FloatArray:
        """Energy below which no plan with at most this time can be: inf where none can be that fast.

        Raises from 0, where nothing is proven.
        """
        moment = np.asarray(time_s, dtype=np.float64)
        lowest = np.zeros(moment.shape)
        for per_second, per_joule, bound in self.bounds:
            if per_joule > 0.0:
                lowest = np.maximum(lowest, (bound - per_second * moment) / per_joule)
            else:
                lowest = np.where(per_second * moment < bound, math.inf, lowest)
        return np.asarray(lowest)

    @property
    def gaps(self) -> FloatArray:
        """By what share of both its time and its energy a point of the front could still be improved at most (P,).

        The largest t for which ``((1 - t) T, (1 - t) E)`` keeps every half-plane; 1 where nothing is proven.
        """
        if not len(self.bounds):
            return np.ones(len(self.plans))
        worth = self.bounds[:, :1] * self.time_s + self.bounds[:, 1:2] * self.energy_j
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(worth > 0.0, 1.0 - self.bounds[:, 2:] / worth, 1.0)
        return np.asarray(np.clip(share.min(axis=0), 0.0, 1.0))

    # ---- tables ---------------------------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """One row per point, SI units in the column names; ``gap`` is what `gaps` says."""
        import pandas as pd

        samples = self.problem.batch
        columns: dict[str, Any] = {
            "time_s": self.time_s, "energy_j": self.energy_j,
            "time_per_sample_s": self.time_s / samples, "energy_per_sample_j": self.energy_j / samples,
        }
        if self.problem.carbon_g_per_kwh is not None:
            columns["co2_g_per_sample"] = self.energy_j / samples / JOULES_PER_KWH * self.problem.carbon_g_per_kwh
        columns |= {
            "gap": self.gaps,
            "parallelism": np.array([plan.parallelism for plan in self.plans], dtype=object),
            "devices": np.array([len(plan.devices) for plan in self.plans], dtype=np.int64),
            "plan": np.array([plan_words(self.problem, plan) for plan in self.plans], dtype=object),
        }
        return pd.DataFrame(columns)

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        carbon = self.problem.carbon_g_per_kwh
        header = ["time", "energy", "per sample", *(["CO2 / sample"] if carbon is not None else []), "gap %", "plan"]
        rows = []
        for seconds, joules, gap, plan in zip(self.time_s, self.energy_j, self.gaps, self.plans, strict=True):
            each = float(joules) / self.problem.batch
            rows.append([format_si(float(seconds), "s"), format_si(float(joules), "J"), format_si(each, "J"),
                         *([format_si(each / JOULES_PER_KWH * carbon, "g")] if carbon is not None else []),
                         f"{100.0 * float(gap):.2g}" if len(self.bounds) else "-", plan_words(self.problem, plan)])
        return header, rows

    def to_markdown(self) -> str:
        """The points as a Markdown table."""
        return markdown_table(*self._rows())

    def summary(self) -> str:
        """The points, and what is proven about them."""
        header, rows = self._rows()
        rows = [[*row[:-1], row[-1] if len(row[-1]) <= 90 else row[-1][:87] + "..."] for row in rows]
        lines = [self.problem.describe(), "", text_table(header, rows), ""]
        if len(self.bounds):
            lines.append(f"No plan lies below any of {len(self.bounds)} proven lines w_t T + w_e E >= bound; gap: what "
                         "a point could gain at most in both time and energy.")
        else:
            lines.append(f"Nothing is proven: '{self.method}' gives no bounds.")
        if not self.complete:
            lines.append("The sweep ended " + ("by interruption" if self.interrupted else "at its limit of points or "
                         "time") + ": there may be more corners between these.")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def save(self, path: str | Path) -> Path:
        """Write the points as .csv, in full precision; an existing file is replaced only when all is written.

        Parameters
        ----------
        path : path
            Ends in ``.csv``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        DataError
            Another suffix, or a folder that cannot be written.
        """
        return write_csv(self.to_frame(), path, "a front")

    # ---- picture --------------------------------------------------------------------------------------------------

    @property
    def time_scale(self) -> tuple[float, str]:
        """Factor and unit of the time axis of `plot`."""
        longest = float(self.time_s.max())
        return (1.0 / 3600.0, "h") if longest >= 1e4 else (1.0, "s") if longest >= 0.5 else (1e3, "ms")

    @property
    def energy_scale(self) -> tuple[float, str]:
        """Factor and unit of the energy axis of `plot`."""
        most = float(self.energy_j.max())
        return (1e-6, "MJ") if most >= 2e6 else (1e-3, "kJ") if most >= 2e3 else (1.0, "J")

    def plot(self, ax: Any = None) -> Any:
        """Points by parallelism, the region that is proven to be out of reach below them; the matplotlib figure.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; axes of a new figure by default.
        """
        figure, ax = new_figure(width=8.0) if ax is None else (ax.figure, ax)
        (scale, unit), (worth, joule) = self.time_scale, self.energy_scale
        x, y = self.time_s * scale, self.energy_j * worth
        wide, high = 0.08 * (np.ptp(x) or x[0] or 1.0), 0.10 * (np.ptp(y) or y[-1] or 1.0)
        left, right = max(float(x[0] - 1.6 * wide), 0.0), float(x[-1] + 2.0 * wide)
        bottom, top = max(float(y[-1] - 2.0 * high), 0.0), float(y[0] + 1.6 * high)
        if len(self.bounds):
            grid = np.unique(np.concatenate([np.linspace(left, right, 400), self._corners(left, right, scale)]))
            edge = np.minimum(self.lower_energy_j(grid / scale) * worth, 2.0 * top)
            ax.fill_between(grid, bottom, np.maximum(edge, bottom), color=GREY, alpha=0.18, linewidth=0.0, zorder=1,
                            label="no plan can be here (proven)")
        ax.step(np.append(x, right), np.append(y, y[-1]), where="post", color=GREY, linewidth=0.9, zorder=2)
        ax.plot([x[0], x[0]], [y[0], top], color=GREY, linewidth=0.9, zorder=2)
        colours = dict(zip(PARALLELISMS, (COLOURS[7], COLOURS[0], COLOURS[5], COLOURS[4], COLOURS[1], COLOURS[2]),
                           strict=True))
        for name in PARALLELISMS:
            mine = np.array([plan.parallelism == name for plan in self.plans], dtype=bool)
            if mine.any():
                ax.plot(x[mine], y[mine], linestyle="", marker="o", markersize=7.0, color=colours[name], zorder=4,
                        label=name)
        if len(x) <= 12:
            last = (-math.inf, math.inf)
            for a, b, plan in zip(x, y, self.plans, strict=True):
                if math.hypot((a - last[0]) / (right - left), (b - last[1]) / (top - bottom)) < 0.04:
                    continue  # would be written over the number of its neighbour
                last = (float(a), float(b))
                ax.annotate(str(len(plan.devices)), (a, b), xytext=(5.0, 5.0), textcoords="offset points", fontsize=8.0,
                            color=GREY)
        style_axes(ax, f"Time and energy of an iteration ({self.method})", f"time [{unit}]", f"energy [{joule}]")
        ax.set_xlim(left, right)
        ax.set_ylim(bottom, top)
        place_legend(ax, title="number: devices" if len(x) <= 12 else "", alignment="left")
        return figure

    def _corners(self, left: float, right: float, scale: float) -> FloatArray:
        """Times before which nothing can be, drawn as upright edges."""
        ends = [bound / per_second * scale for per_second, per_joule, bound in self.bounds
                if per_joule == 0.0 and per_second > 0.0]
        near = [x * (1.0 + side) for x in ends for side in (-1e-9, 1e-9)]
        return np.array([x for x in near if left <= x <= right])


# ---- the sweep ------------------------------------------------------------------------------------------------------


def pareto_front(
    problem: PoolTraining,
    method: str | None = None,
    *,
    points: int = 12,
    gap: float = 1e-3,
    time_limit_s: float | None = 120.0,
    seed: int = 0,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    warm_start: Plan | Solution[Plan, PoolCosts] | None = None,
) -> ParetoFront:
    """The trade-off between time and energy of an iteration.

    Parameters
    ----------
    problem : PoolTraining
        Its weights are replaced; its limits hold.
    method : str, optional
        Of `PoolTraining.methods`; "certified" by default. Only methods that prove something give half-planes.
    points : int
        Problems to solve at most, >= 2; the front has at most two points more.
    gap, seed, threads
        As for `solve`.
    time_limit_s : float or None
        For the whole sweep.
    on_progress : callable, optional
        Called with a `Progress` now and then; KeyboardInterrupt in it ends the sweep with what is there.
    warm_start : Plan or Solution, optional
        A plan that may be on the front.

    Returns
    -------
    ParetoFront

    Raises
    ------
    DataError
        A faulty option.
    InfeasibleError, SolverError
        No plan was found at all.
    """
    problem = problem_of(problem, "pareto_front", solved=False)
    wanted: Any = points
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 2:
        raise DataError(f"points: is {points!r}; give an integer >= 2")
    limit = math.inf if time_limit_s is None else time_limit_s
    sweep = _Sweep(problem, method or problem.DEFAULT_METHOD, points, limit, on_progress,
                   {"gap": gap, "seed": seed, "threads": threads})
    start = warm_start.allocation if isinstance(warm_start, Solution) else warm_start
    if start is not None:
        sweep.add(problem.check_allocation(start))
    return sweep.run()


class _Sweep:
    """State of a sweep: plans found so far with their times and energies, half-planes, weights solved."""

    def __init__(self, problem: PoolTraining, method: str, points: int, limit_s: float,
                 on_progress: Callable[[Progress], None] | None, options: dict[str, Any]) -> None:
        self.problem, self.method, self.points, self.limit_s = problem, method, points, limit_s
        self.on_progress, self.options = on_progress, options
        self.started = time.perf_counter()
        self.found: dict[Plan, tuple[float, float]] = {}
        self.bounds: list[tuple[float, float, float]] = []
        self.solved = 0
        self.interrupted = False

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def add(self, plan: Plan) -> None:
        """Remember a plan that keeps the limits."""
        if plan not in self.found and self.problem.relative_violation(plan) <= 1e-9:
            costs = self.problem.evaluate(plan)
            self.found[plan] = (costs.time_s, costs.energy_j)

    def solve(self, per_second: float, per_joule: float) -> Solution[Plan, PoolCosts] | None:
        """One weighted problem, started from the best plan so far; None when time is up."""
        left = self.limit_s - self.seconds
        if self.interrupted or (self.found and left <= 0.0):
            return None
        weighted = self.problem.replace(weights=Weights(per_second, per_joule, 0.0))
        start = min(self.found, key=lambda plan: per_second * self.found[plan][0] + per_joule * self.found[plan][1],
                    default=None)
        number, self.solved = self.solved + 1, self.solved + 1
        share = max(left, 1e-3) / max(self.points + 2 - number, 1)

        def relay(line: Progress) -> None:
            if self.on_progress is not None:
                self.on_progress(dataclasses.replace(line, stage=f"weights {number}: {line.stage}",
                                                     seconds=self.seconds))

        try:
            solution = weighted.solve(self.method, warm_start=start, on_progress=relay,
                                      time_limit_s=None if math.isinf(share) else max(share, 1e-3), **self.options)
        except KeyboardInterrupt:
            if not self.found:
                raise
            self.interrupted = True
            return None
        if not self.found:
            solution.require()
        if solution.bound is not None:
            self.bounds.append((per_second, per_joule, solution.bound))
        if solution.allocation is not None:
            self.add(solution.allocation)
        if solution.termination is Termination.INTERRUPTED:
            self.interrupted = True
        return solution

    def run(self) -> ParetoFront:
        """Both ends, then the widest pair of neighbours that is not settled, again and again."""
        self.solve(1.0, 0.0)
        self.solve(0.0, 1.0)
        corners = self.front()
        (fast_s, fast_j), (slow_s, slow_j) = self.found[corners[0]], self.found[corners[-1]]
        if self.points > 3 and fast_s > 0.0 and slow_j > 0.0:
            # plans that tie at an end, or nearly so, can differ much in the other quantity
            self.solve(1.0 / fast_s, _TIE / max(fast_j, 1e-300))
            self.solve(_TIE / max(slow_s, 1e-300), 1.0 / slow_j)
        settled: set[tuple[Plan, Plan]] = set()
        complete = False
        while self.solved < self.points and not self.interrupted and self.seconds < self.limit_s:
            pair = self.widest(settled)
            if pair is None:
                complete = True
                break
            settled.add(pair)
            (s0, j0), (s1, j1) = (self.found[plan] for plan in pair)
            worth = (j0 - j1) * s0 + (s1 - s0) * j0
            self.solve((j0 - j1) / worth, (s1 - s0) / worth)
        complete = complete or (self.widest(settled) is None and not self.interrupted)
        front = self.front()
        times, energies = (np.array([self.found[plan][k] for plan in front]) for k in (0, 1))
        return ParetoFront(self.problem, self.method, times, energies, tuple(front),
                           np.array(self.bounds, dtype=np.float64).reshape(-1, 3), complete, self.interrupted,
                           self.seconds)

    def front(self) -> list[Plan]:
        """Plans that no other beats in both, fastest first; of equal ones the first found."""
        front: list[Plan] = []
        least = math.inf
        for plan in sorted(self.found, key=lambda plan: self.found[plan]):
            if self.found[plan][1] < least * (1.0 - _SAME):
                front.append(plan)
                least = self.found[plan][1]
        return front

    def hull(self) -> list[Plan]:
        """The corners of the convex front."""
        hull: list[Plan] = []
        for plan in self.front():
            s, j = self.found[plan]
            while len(hull) >= 2:
                (s0, j0), (s1, j1) = self.found[hull[-2]], self.found[hull[-1]]
                if (s1 - s0) * (j - j0) - (j1 - j0) * (s - s0) > 0.0:
                    break
                hull.pop()
            hull.append(plan)
        return hull

    def widest(self, settled: set[tuple[Plan, Plan]]) -> tuple[Plan, Plan] | None:
        """Neighbouring corners with the most room between them that are not settled yet."""
        hull = self.hull()
        best: tuple[float, tuple[Plan, Plan]] | None = None
        for pair in itertools.pairwise(hull):
            (s0, j0), (s1, j1) = (self.found[plan] for plan in pair)
            room = (s1 - s0) * (j0 - j1)
            if pair not in settled and s1 - s0 > _SAME * s1 and (best is None or room > best[0]):
                best = (room, pair)
        return None if best is None else best[1]
