"""Statements about the figures' data that hold or do not hold; nothing is tuned to make one hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgealloc.reproduce.trend import TrendResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Trend", "TrendResult", "above_bound", "evaluate", "few_iterations", "least", "monotone", "never_rises", "ranking",
]

#: Means may go against a trend by this share: methods stop within a gap of the optimum.
SLACK = 5e-3


@dataclass(frozen=True)
class Trend:
    """A statement and its test.

    Attributes
    ----------
    statement : str
        A plain sentence.
    check : callable
        ``check(frame) -> bool`` on the rows (or, for convergence, on the history).
    found : callable
        ``found(frame) -> str``: the numbers behind it.
    needs : tuple of str
        Methods that must have a result everywhere; else the statement is not judged.
    history : bool
        It is about the history, not about the rows.
    """

    statement: str
    check: Callable[[pd.DataFrame], bool]
    found: Callable[[pd.DataFrame], str]
    needs: tuple[str, ...] = ()
    history: bool = False


def evaluate(trends: Sequence[Trend], rows: pd.DataFrame, history: pd.DataFrame | None) -> tuple[TrendResult, ...]:
    """Judge the statements on the data."""
    results = []
    for trend in trends:
        missing = [name for name in trend.needs if _missing(rows, name)]
        frame = history if trend.history else rows
        if missing or frame is None or frame.empty:
            why = f"no result of {', '.join(missing)} at some points" if missing else "no history"
            results.append(TrendResult(trend.statement, None, why))
        else:
            results.append(TrendResult(trend.statement, bool(trend.check(frame)), trend.found(frame)))
    return tuple(results)


def _missing(rows: pd.DataFrame, method: str) -> bool:
    mine = rows.loc[rows["method"] == method, "objective"]
    return bool(mine.empty or mine.isna().any())


def means(rows: pd.DataFrame, method: str, quantity: str) -> list[float]:
    """Mean over the samples at every value, in ascending order of the values."""
    mine = rows[rows["method"] == method]
    return [float(one) for one in mine.groupby("value", sort=True)[quantity].mean()]


# ---- statements -------------------------------------------------------------------------------------------


def monotone(statement: str, method: str, quantity: str, sign: int) -> Trend:
    """The mean of a quantity rises (sign 1) or falls (-1) over the values, steps against it within `SLACK`."""

    def check(rows: pd.DataFrame) -> bool:
        line = means(rows, method, quantity)
        steps = itertools.pairwise(line)
        ends = sign * (line[-1] - line[0]) > SLACK * abs(line[0]) if len(line) > 1 else False
        return ends and all(sign * (after - before) >= -SLACK * abs(before) for before, after in steps)

    def found(rows: pd.DataFrame) -> str:
        line = means(rows, method, quantity)
        return f"{line[0]:.4g} -> {line[-1]:.4g}"

    return Trend(f"{statement} ({method})", check, found, (method,))


def least(statement: str, method: str, quantity: str, others: Sequence[str]) -> Trend:
    """A method's mean is not above that of any other, at any value, within `SLACK`."""

    def check(rows: pd.DataFrame) -> bool:
        mine = means(rows, method, quantity)
        return all(
            a <= b * (1.0 + SLACK) for other in others for a, b in zip(mine, means(rows, other, quantity), strict=True)
        )

    def found(rows: pd.DataFrame) -> str:
        mine = means(rows, method, quantity)
        worst = {
            other: max(a / b for a, b in zip(mine, means(rows, other, quantity), strict=True)) for other in others
        }
        return "at most " + ", ".join(f"{ratio:.3g} of {other}'s" for other, ratio in worst.items())

    return Trend(statement, check, found, (method, *others))


def above_bound() -> Trend:
    """No objective lies below the proven bound: a check of the library, not of the paper."""
    return Trend(
        "no objective lies below the certified bound",
        lambda rows: bool((rows["over_bound"].dropna() >= 1.0 - 1e-12).all()),
        lambda rows: f"least ratio {rows['over_bound'].min():.6f} over {int(rows['over_bound'].count())} solutions",
        ("certified",),
    )


def _runs(history: pd.DataFrame, method: str) -> list[list[float]]:
    """Objective at the start and after every outer iteration, of every run."""
    mine = history[history["method"] == method]
    runs = []
    for _, lines in mine.groupby(["value", "seed"], sort=False):
        known = [float(one) for one in lines["objective"] if math.isfinite(one)]
        outer = [float(one) for one in lines.loc[lines["stage"] == "cccp", "objective"]]
        runs.append([*known[:1], *outer])
    return runs


def never_rises(method: str) -> Trend:
    """The objective after each iteration of the outer loop is not above the one before."""

    def rises(history: pd.DataFrame) -> list[float]:
        return [(b - a) / a for run in _runs(history, method) for a, b in itertools.pairwise(run)]

    return Trend(
        f"the objective never rises along the iterations ({method})",
        lambda history: all(step <= 1e-9 for step in rises(history)),
        lambda history: f"largest relative step {max(rises(history), default=0.0):.2g}",
        (method,), history=True,
    )


def few_iterations(method: str, most: int) -> Trend:
    """Every run settles within a number of iterations of the outer loop."""

    def counts(history: pd.DataFrame) -> list[int]:
        return [len(run) - 1 for run in _runs(history, method)]

    return Trend(
        f"at most {most} iterations, as in the paper ({method})",
        lambda history: max(counts(history), default=0) <= most,
        lambda history: f"ours took {min(counts(history))} to {max(counts(history))}",
        (method,), history=True,
    )


def ranking(rows: pd.DataFrame, quantity: str, methods: Sequence[str]) -> str:
    """The methods by their mean of a quantity over all values and samples where everybody has a result."""
    wide: Any = rows.pivot_table(index=["value", "seed"], columns="method", values=quantity, aggfunc="first")
    known = [name for name in methods if name in wide.columns]
    everybody = wide[known].dropna()
    if everybody.empty:
        return "none: no point where every method has a result"
    mean = everybody.mean().sort_values(kind="stable")
    return " < ".join(f"{name} {value:.4g}" for name, value in mean.items())
