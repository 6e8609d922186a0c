r"""Two metrics against each other: rollouts of which none is better in both, and the region that none can reach.

Epsilon-constraint method (Haimes, Lasdon & Wismer 1971): one metric is minimised under a limit :math:`\epsilon` on the
other, for limits between the two ends of the front. Unlike weighted sums it also finds what lies in a hollow of the
front. Solved with a bound, :math:`\min f \text{ s.t. } g \le \epsilon` proves that nothing with :math:`g \le \epsilon`
has an f below the bound. The ends are the least of either metric, each with the least of the other beside it; then the
limit in the middle of the two neighbours with most room between them is next.
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
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Progress
from edgealloc.core.solution import Solution
from edgealloc.core.status import Termination
from edgealloc.core.tables import markdown_table, text_table
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, nearest
from edgealloc.formulations.deployment.rollout import DeploymentCosts, Rollout

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["METRICS", "DeploymentFront", "Metric", "pareto_front"]

FloatArray = npt.NDArray[np.float64]
Answer = Solution[Rollout, DeploymentCosts]

#: Weight of the other metric, relative to its share, that picks the better one of rollouts that tie at an end.
_TIE: Final = 1e-4
#: Points that differ by less than this share are one.
_SAME: Final = 1e-9
#: Neighbours with less room than this share of the whole are not looked between.
_LEAST_ROOM: Final = 1e-6
#: Where a limit found nothing new the next one is nearer to the next point, by this share of what is between.
_NEAR: Final = 0.01


@dataclass(frozen=True)
class Metric:
    """What a front can be of.

    Attributes
    ----------
    name, label : str
    amount : str
        What of `DeploymentCosts` is minimised.
    weight : str
        What of a problem weighs it; "delay" and "energy" are weights of its `Weights`.
    limit : str
        The limit of its mean; empty for the delay, which has none.
    shown : str
        What of `DeploymentCosts` tables and pictures show; 1 - amount where it is another one.
    unit : str
    """

    name: str
    label: str
    amount: str
    weight: str
    limit: str
    shown: str
    unit: str = ""

    @property
    def flipped(self) -> bool:
        """More of what is shown is better."""
        return self.shown != self.amount

    def seen(self, amount: Any) -> Any:
        """Amounts as they are shown."""
        return 1.0 - amount if self.flipped else amount

    @property
    def minimised(self) -> str:
        """What is minimised, in words."""
        return {"error": "share of wrong answers", "inaccessible": "share of devices without access"}.get(
            self.amount, self.label)

    @property
    def axis(self) -> str:
        """Label with the unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


METRICS: Final[dict[str, Metric]] = {one.name: one for one in (
    Metric("delay", "mean delay of a query", "mean_delay_s", "delay", "", "mean_delay_s", "s"),
    Metric("energy", "mean energy of a query", "mean_energy_j", "energy", "energy_limit_j", "mean_energy_j", "J"),
    Metric("hallucination", "hallucination rate", "hallucination", "hallucination_weight", "hallucination_limit",
           "hallucination"),
    Metric("accuracy", "accuracy", "error", "error_weight", "error_limit", "accuracy"),
    Metric("accessibility", "accessibility", "inaccessible", "inaccessible_weight", "inaccessible_limit",
           "accessibility"),
)}


@dataclass(frozen=True, eq=False)
class DeploymentFront:
    """Rollouts of which none is better in both metrics, best x first, and what is proven about all others.

    Attributes
    ----------
    problem : Deployment
        Its own weights play no part here; its limits hold.
    method : str
    x, y : Metric
    solutions : tuple of Solution
        One for every point: of the problem with the weight and the limit with which it was found.
    x_amount, y_amount : (P,)
        What is minimised, 1 - accuracy and 1 - accessibility included: x rises strictly and y falls strictly.
    bounds : (K, 2)
        Rows (limit, bound) in ascending order: nothing that keeps the limits of the problem has less than `bound` of
        the metric that was minimised, `goal`, and no more than `limit` of the other one. inf: out of reach.
    goal : str
        Name of the metric that was minimised.
    complete : bool
        No two neighbours have room between them that was not looked at.
    interrupted : bool
        Ctrl-C ended the sweep early.
    seconds : float
    """

    problem: Deployment
    method: str
    x: Metric
    y: Metric
    solutions: tuple[Answer, ...]
    x_amount: FloatArray
    y_amount: FloatArray
    bounds: FloatArray
    goal: str
    complete: bool
    interrupted: bool
    seconds: float

    # ---- what is proven -------------------------------------------------------------------------------------------

    def lower(self, other: npt.ArrayLike) -> FloatArray:
        """Least amount of the metric `goal` that anything with no more than `other` of the other one can have; inf
        where nothing can be, 0 where nothing is proven."""
        amount = np.asarray(other, dtype=np.float64)
        least = np.zeros(amount.shape)
        for limit, bound in self.bounds:
            least = np.where(amount <= limit, np.maximum(least, bound), least)
        return np.asarray(least)

    @property
    def gaps(self) -> FloatArray:
        """By what share the minimised metric of a point could still be better at most, with no more of the other (P,);
        1 where nothing is proven."""
        goal, other = (self.x_amount, self.y_amount) if self.goal == self.x.name else (self.y_amount, self.x_amount)
        least = self.lower(other)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(goal > 0.0, np.clip(1.0 - least / goal, 0.0, 1.0), 0.0))

    # ---- tables ---------------------------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """One row per point with all metrics; ``gap`` is what `gaps` says."""
        import pandas as pd

        costs = [solution.found()[1] for solution in self.solutions]
        columns: dict[str, Any] = {name: np.array([float(getattr(one, name)) for one in costs]) for name in (
            "mean_delay_s", "mean_energy_j", "hallucination", "accuracy", "accessibility", "offloaded_share")}
        return pd.DataFrame(columns | {"gap": self.gaps})

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        header = ["delay s", "energy J", "halluc.", "accuracy", "access", "offloaded", "gap %"]
        rows = []
        for solution, gap in zip(self.solutions, self.gaps, strict=True):
            costs = solution.found()[1]
            rows.append([f"{costs.mean_delay_s:.4g}", f"{costs.mean_energy_j:.4g}", f"{costs.hallucination:.2%}",
                         f"{costs.accuracy:.2%}", f"{costs.accessibility:.1%}", f"{costs.offloaded_share:.1%}",
                         f"{100.0 * float(gap):.2g}" if len(self.bounds) else "-"])
        return header, rows

    def to_markdown(self) -> str:
        """The points as a Markdown table."""
        return markdown_table(*self._rows())

    def summary(self) -> str:
        """The points, and what is proven about them."""
        other = self.y if self.goal == self.x.name else self.x
        lines = [self.problem.describe(), f"{self.x.label} against {self.y.label}", "", text_table(*self._rows()), ""]
        if len(self.bounds):
            lines.append(f"gap: by how much the {METRICS[self.goal].minimised} of a point could be lower at most, with "
                         f"no higher {other.minimised} ({len(self.bounds)} proven limits).")
        else:
            lines.append(f"Nothing is proven: '{self.method}' gives no bounds.")
        if not self.complete:
            lines.append("The sweep ended " + ("by interruption" if self.interrupted else "at its limit of points or "
                         "time") + ": there may be more points between these.")
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

    def plot(self, ax: Any = None) -> Any:
        """Points, and the region that is proven to be out of reach; the matplotlib figure.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; axes of a new figure by default.
        """
        figure, ax = new_figure(width=8.0) if ax is None else (ax.figure, ax)
        spans = [_span(self.x_amount), _span(self.y_amount)]
        if len(self.bounds):
            self._shade(ax, *spans)
        x, y = (metric.seen(amount) for metric, amount in ((self.x, self.x_amount), (self.y, self.y_amount)))
        # with no more of x there is nothing better until the next point
        ax.step(x, y, where="post", color=GREY, linewidth=0.9, zorder=2)
        ax.plot(x, y, linestyle="", marker="o", markersize=7.0, color=COLOURS[0], zorder=4,
                label=f"rollouts ({self.method})")
        title = f"{self.x.label} against {self.y.label}"
        style_axes(ax, title[0].upper() + title[1:], self.x.axis, self.y.axis)
        for metric, (low, high), limit in ((self.x, spans[0], ax.set_xlim), (self.y, spans[1], ax.set_ylim)):
            limit(*sorted((metric.seen(low), metric.seen(high))))
        place_legend(ax)
        return figure

    def _shade(self, ax: Any, x_span: tuple[float, float], y_span: tuple[float, float]) -> None:
        """What cannot be, as steps from limit to limit."""
        upright = self.goal == self.y.name
        goal, other = (self.y, self.x) if upright else (self.x, self.y)
        (g0, g1), (o0, o1) = (y_span, x_span) if upright else (x_span, y_span)
        inner = self.bounds[(self.bounds[:, 0] >= o0) & (self.bounds[:, 0] < o1), 0]
        edges = np.concatenate([[o0], np.repeat(inner, 2), [o1]])
        # on a limit its own bound holds; just beyond it the next one
        edges[2:-1:2] = np.nextafter(edges[2:-1:2], math.inf)
        least = np.clip(self.lower(edges), g0, g1)
        fill = ax.fill_between if upright else ax.fill_betweenx
        fill(other.seen(edges), goal.seen(np.full(edges.shape, g0)), goal.seen(least), color=GREY, alpha=0.18,
             linewidth=0.0, zorder=1, label="nothing can be here (proven)")


def _span(amount: FloatArray) -> tuple[float, float]:
    """Amounts that a picture shows."""
    low, high = float(amount.min()), float(amount.max())
    wide = (high - low) or abs(high) or 1.0
    return max(low - 0.12 * wide, 0.0) if low >= 0.0 else low - 0.12 * wide, high + 0.12 * wide


# ---- the sweep ------------------------------------------------------------------------------------------------------


def pareto_front(
    problem: Deployment,
    method: str | None = None,
    *,
    x: str = "delay",
    y: str = "energy",
    points: int = 12,
    gap: float = 1e-3,
    time_limit_s: float | None = 120.0,
    seed: int = 0,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    warm_start: Rollout | Answer | None = None,
) -> DeploymentFront:
    """The trade-off between two metrics of a fleet.

    Parameters
    ----------
    problem : Deployment
        Its weights are replaced; its limits hold.
    method : str, optional
        Of `Deployment.methods`; "certified" by default. Only methods that prove something give bounds.
    x, y : str
        "delay", "energy", "hallucination", "accuracy" or "accessibility". The first is minimised (or 1 less it) under
        limits on the second; if the second is the delay, which has no limit, the second.
    points : int
        Problems to solve at most, >= 4.
    gap, seed, threads
        As for `solve`.
    time_limit_s : float or None
        For the whole sweep.
    on_progress : callable, optional
        Called with a `Progress` now and then; KeyboardInterrupt in it ends the sweep with what is there.
    warm_start : Rollout or Solution, optional
        A rollout that may be on the front.

    Returns
    -------
    DeploymentFront

    Raises
    ------
    DataError
        An unknown metric, twice the same one, or another faulty option.
    InfeasibleError, SolverError
        No rollout was found at all.
    """
    for name, metric in (("x", x), ("y", y)):
        if metric not in METRICS:
            raise DataError(f"pareto_front: {name} is '{metric}', no metric; {nearest(str(metric), METRICS)}")
    if x == y:
        raise DataError(f"pareto_front: x and y are both '{x}'; give two metrics")
    wanted: Any = points
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 4:
        raise DataError(f"points: is {points!r}; give an integer >= 4")
    limit = math.inf if time_limit_s is None else time_limit_s
    sweep = _Sweep(problem, method or problem.DEFAULT_METHOD, METRICS[x], METRICS[y], points, limit, on_progress,
                   {"gap": gap, "seed": seed, "threads": threads})
    start = warm_start.allocation if isinstance(warm_start, Solution) else warm_start
    return sweep.run(None if start is None else problem.check_allocation(start))


class _Sweep:
    """State of a sweep: what was found with its amounts, and limits with the bounds that are proven for them."""

    def __init__(self, problem: Deployment, method: str, x: Metric, y: Metric, points: int, limit_s: float,
                 on_progress: Callable[[Progress], None] | None, options: dict[str, Any]) -> None:
        self.problem, self.method, self.x, self.y = problem, method, x, y
        self.goal, self.other = (y, x) if not y.limit else (x, y)
        self.points, self.limit_s, self.on_progress, self.options = points, limit_s, on_progress, options
        self.started = time.perf_counter()
        #: (amount of the goal, amount of the other, solution)
        self.found: list[tuple[float, float, Answer]] = []
        #: limit of the other -> bound of the goal.
        self.limits: dict[float, float] = {}
        self.least_other = -math.inf
        self.solved = 0
        self.interrupted = False

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def weighted(self, metric: Metric, *, second: Metric | None = None, share: float = 0.0) -> dict[str, Any]:
        """Weights that mean one metric alone, or a share of another one beside it."""
        worth = {metric.weight: 1.0} | ({second.weight: share} if second is not None else {})
        return {"weights": Weights(worth.get("delay", 0.0), worth.get("energy", 0.0), 0.0)} | {
            name: worth.get(name, 0.0) for name in ("hallucination_weight", "error_weight", "inaccessible_weight")}

    def limited(self, metric: Metric, amount: float) -> dict[str, float]:
        """A limit, which no problem's own is loosened by; empty if it cannot be given."""
        if not metric.limit:
            return {}
        own = getattr(self.problem, metric.limit)
        return {metric.limit: amount if own is None else min(amount, own)}

    def solve(self, changes: dict[str, Any], start: Rollout | None) -> Answer | None:
        """One problem; None when time is up."""
        left = self.limit_s - self.seconds
        if self.interrupted or (self.found and left <= 0.0):
            return None
        problem = self.problem.replace(**changes)
        if start is not None and problem.relative_violation(start) > FEASIBILITY_TOLERANCE:
            start = None
        number, self.solved = self.solved + 1, self.solved + 1
        share = max(left, 1e-3) / max(self.points + 1 - number, 1)

        def relay(line: Progress) -> None:
            if self.on_progress is not None:
                self.on_progress(dataclasses.replace(line, stage=f"point {number}: {line.stage}",
                                                     seconds=self.seconds))

        try:
            solution = problem.solve(self.method, warm_start=start, on_progress=relay,
                                     time_limit_s=None if math.isinf(share) else share, **self.options)
        except KeyboardInterrupt:
            if not self.found:
                raise
            self.interrupted = True
            return None
        if not self.found:
            solution.require()
        if solution.allocation is not None:
            costs = solution.found()[1]
            self.found.append((getattr(costs, self.goal.amount), getattr(costs, self.other.amount), solution))
        if solution.termination is Termination.INTERRUPTED:
            self.interrupted = True
        return solution

    def at_limit(self, limit: float) -> None:
        """The least of the goal with no more than a limit of the other; inf: without a limit."""
        fits = [one for one in self.found if one[1] <= limit]
        best = min(fits, key=lambda one: one[:2], default=None)
        changes = self.weighted(self.goal) | ({} if math.isinf(limit) else self.limited(self.other, limit))
        solution = self.solve(changes, None if best is None else best[2].allocation)
        if solution is not None:
            self.limits[limit] = -math.inf if solution.bound is None else solution.bound

    def run(self, start: Rollout | None) -> DeploymentFront:
        """Both ends, then the middle of the neighbours with most room, again and again."""
        first = self.solve(self.weighted(self.other), start)
        if first is not None and first.bound is not None:
            self.least_other = first.bound
        self.at_limit(math.inf)
        low = min(self.found, key=lambda one: one[1])
        high = min(self.found, key=lambda one: one[:2])
        # the least of the goal at the one end, and of the other at the other end
        self.at_limit(_just_above(low[1], self.other))
        fixed = self.limited(self.goal, _just_above(high[0], self.goal))
        if fixed:
            self.solve(self.weighted(self.other) | fixed, high[2].allocation)
        elif high[1] > 0.0:
            share = _TIE * max(high[0], 1e-300) / high[1]
            self.solve(self.weighted(self.goal, second=self.other, share=share), high[2].allocation)
        complete = False
        while self.solved < self.points and not self.interrupted and self.seconds < self.limit_s:
            limit = self.widest()
            if limit is None:
                complete = True
                break
            self.at_limit(limit)
        complete = complete or (not self.interrupted and self.widest() is None)
        return self.front(complete)

    def widest(self) -> float | None:
        """The middle of the two limits, or points, with most room between them; None if they are too near."""
        limits = {limit for limit in self.limits if math.isfinite(limit)}
        places = sorted(limits | {one[1] for one in self.undominated()})
        least = [min((one[0] for one in self.found if one[1] <= place), default=math.inf) for place in places]
        if len(places) < 2 or not math.isfinite(least[0]):
            return None
        best, where = _LEAST_ROOM * (places[-1] - places[0]) * (least[0] - least[-1]), None
        for (a, b), (above, below) in zip(itertools.pairwise(places), itertools.pairwise(least), strict=True):
            room = (b - a) * (above - below)
            if room > best and above - below > max(_SAME, self.options["gap"]) * abs(above):
                # what was found with a limit of a lies far below it: there may be nothing until b
                last = max(one[1] for one in self.found if one[1] <= a and one[0] == above)
                best, where = room, b - (_NEAR if a - last > 0.5 * (b - a) else 0.5) * (b - a)
        return where

    def undominated(self) -> list[tuple[float, float, Answer]]:
        """What no other beats in both, the least of the goal first."""
        kept: list[tuple[float, float, Answer]] = []
        for one in sorted(self.found, key=lambda one: one[:2]):
            if not kept or one[1] < kept[-1][1] - _SAME * abs(kept[-1][1]):
                kept.append(one)
        return kept

    def front(self, complete: bool) -> DeploymentFront:
        """What is known."""
        first, kept = self.goal is self.x, self.undominated()
        if not first:
            kept.reverse()
        goals, others = np.array([one[0] for one in kept]), np.array([one[1] for one in kept])
        rows = [(limit, bound) for limit, bound in self.limits.items() if bound > -math.inf]
        if self.least_other > 0.0:
            # nothing at all has less of the other, but for what a limit may be exceeded by
            rows.append((self.least_other * (1.0 - FEASIBILITY_TOLERANCE), math.inf))
        return DeploymentFront(
            self.problem, self.method, self.x, self.y, tuple(one[2] for one in kept), goals if first else others,
            others if first else goals, np.array(sorted(rows), dtype=np.float64).reshape(-1, 2), self.goal.name,
            complete, self.interrupted, self.seconds,
        )


def _just_above(amount: float, metric: Metric) -> float:
    """A limit that an amount keeps for sure."""
    above = amount * (1.0 + 1e-12)
    return above if metric.unit else min(above, 1.0)
