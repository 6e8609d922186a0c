r"""Maximise a ratio N(x)/D(x) with D > 0 by Dinkelbach's method, with a proven upper bound of the ratio.

.. math:: F(q) = \max_x\, N(x) - q D(x)

is convex and decreasing, and its root is the best ratio (Dinkelbach, Management Science 13, 1967). An oracle maximises
N - q D at a given q; the ratio of its answer is the next q, which is Newton's method for the root: it converges
superlinearly, from below after the first step. The oracle may be inexact: the best ratio seen is kept, so it never
falls.

**Bound.** An oracle that also proves F(q) <= U says of *every* x, with t = 1/D(x), that

.. math:: N(x)/D(x) = q + (N(x) - q D(x))/D(x) \le q + U t .

Over the t that are possible, 1/D_max <= t <= 1/D_min, that gives q + U/D_min if U >= 0 and q + U/D_max if U < 0 (with
D_max unknown: q). Two answers with U_i >= 0 > U_j hold for the same t, so every convex combination of the two lines
does too, and the one without slope in t needs to know nothing of D:

.. math:: N(x)/D(x) \le \frac{U_i q_j - U_j q_i}{U_i - U_j},

the root of the chord of F between q_i and q_j. These are all the vertices of the linear program in t, so the least of
them is the best that the answers prove together. Newton's steps alone stay below the root, where U >= 0; once they have
settled the engine asks *beyond* the ratio, for an answer with U < 0 that closes the chord.

Which projects have the best return on investment, if a fixed outlay of 4 is paid in any case?

>>> from edgealloc.core.run import Run
>>> profit, cost = [9.0, 7.0, 2.0], [3.0, 5.0, 4.0]
>>> def oracle(q):
...     chosen = [k for k in range(3) if profit[k] > q * cost[k]]
...     gain, outlay = sum(profit[k] for k in chosen), 4.0 + sum(cost[k] for k in chosen)
...     return RatioAnswer(chosen, gain, outlay, upper=gain - q * outlay)
>>> search = RatioSearch(start=0.0, denominator_min=4.0)
>>> maximise_ratio(oracle, search, Run(gap=1e-9))
>>> search.point, round(search.ratio, 6), round(search.bound, 6), search.termination.value
([0, 1], 1.333333, 1.333333, 'gap')
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.errors import DataError

__all__ = ["RatioAnswer", "RatioSearch", "RatioStep", "maximise_ratio"]

log = logging.getLogger(__name__)

P = TypeVar("P")

#: Rounding guard of the bound, relative to its terms: a few operations on numbers good to the last place.
GUARD: Final = 1e-14
#: A bound below the ratio by more than this share of it contradicts the ratio and is withdrawn.
CONTRADICTION: Final = 1e-10
#: Newton has settled when the ratio is within this share of the asked gap of the largest q below it.
SETTLED: Final = 0.1
#: The same where nothing is proven, and the limit of rounding.
_SETTLED_EXACTLY, _ROUNDING = 1e-12, 1e-14
#: A step beyond the ratio is in vain if it closes less than this share of what separates ratio and bound.
_WORTHWHILE: Final = 0.2


@dataclass(frozen=True, eq=False)
class RatioAnswer(Generic[P]):
    """An oracle's answer at q.

    Attributes
    ----------
    point : object or None
        A feasible x that (nearly) maximises N - q D; None if none was found.
    numerator, denominator : float
        N(x) and D(x) > 0; ignored without a point.
    upper : float or None
        A proven upper bound of F(q), valid in floating point; None where nothing is proven.
    stopped : Termination or None
        The oracle was stopped from outside: its answer is taken, and the search ends with this.
    """

    point: P | None
    numerator: float = math.nan
    denominator: float = math.nan
    upper: float | None = None
    stopped: Termination | None = None


@dataclass(frozen=True)
class RatioStep:
    """One line of the history: what was asked, and what is known after the answer.

    Attributes
    ----------
    q : float
        The ratio that was asked at.
    upper : float or None
        Proven upper bound of F(q).
    ratio, bound : float or None
        Best ratio found and best bound proven so far; None while there is none.
    seconds : float
    """

    q: float
    upper: float | None
    ratio: float | None
    bound: float | None
    seconds: float


@dataclass(frozen=True)
class _Proof:
    q: float
    upper: float
    denominator: float  # of the answer, nan without one


@dataclass
class RatioSearch(Generic[P]):
    """State of the search, also when it was stopped half-way.

    Attributes
    ----------
    start : float
        The first q. Any will do: the ratio of a known point, or 0 where N can be positive.
    denominator_min, denominator_max : float or None
        Proven bounds 0 < D_min <= D(x) <= D_max over all x; both may be unknown.
    point, numerator, denominator : object, float, float
        The best x, N(x) and D(x); None and nan before there is one.
    ratio, bound : float
        Best ratio (-inf before there is a point) and best proven upper bound (inf before there is one).
    history : list of RatioStep
    notes : list of str
        What went wrong on the way.
    termination : Termination
    """

    start: float
    denominator_min: float | None = None
    denominator_max: float | None = None
    point: P | None = None
    numerator: float = math.nan
    denominator: float = math.nan
    ratio: float = -math.inf
    bound: float = math.inf
    history: list[RatioStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    termination: Termination = Termination.STAGES_EXHAUSTED
    _proofs: list[_Proof] = field(default_factory=list)
    _asked: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        low, high = self.denominator_min, self.denominator_max
        if not math.isfinite(self.start):
            raise DataError(f"start: is {self.start!r}; give a finite ratio to start at")
        if low is not None and not (math.isfinite(low) and low > 0.0):
            raise DataError(f"denominator_min: is {low!r}; give a positive lower bound of the denominator, or None")
        if high is not None and not (high > 0.0 and high >= (low or 0.0)):
            raise DataError(f"denominator_max: is {high!r}; give an upper bound not below denominator_min, or None")

    # ---- what is known --------------------------------------------------------------------------------------------

    def offer(self, point: P, numerator: float, denominator: float) -> bool:
        """Note a feasible point; returns whether its ratio is the best so far.

        Parameters
        ----------
        point : object
            The point.
        numerator : float
            N at the point.
        denominator : float
            D at the point, positive.

        Raises
        ------
        DataError
            A denominator that is not positive, below `denominator_min` or above `denominator_max`.
        """
        low, high = self.denominator_min or 0.0, self.denominator_max or math.inf
        if not (denominator > 0.0 and low * (1.0 - 1e-9) <= denominator <= high * (1.0 + 1e-9)):
            raise DataError(f"denominator: is {denominator!r} at a point; it must be > 0, in [{low:g}, {high:g}]")
        if not numerator / denominator > self.ratio:
            return False
        self.point, self.numerator, self.denominator = point, numerator, denominator
        self.ratio = numerator / denominator
        self._reconcile()
        return True

    def prove(self, q: float, upper: float, denominator: float = math.nan) -> None:
        """Note a proof of F(q) <= upper, and take what it gives with all earlier ones.

        Parameters
        ----------
        q : float
            The ratio at which the oracle was asked.
        upper : float
            Proven: N - q D <= upper everywhere.
        denominator : float
            D at the point that proves it, if known.
        """
        if not (math.isfinite(q) and math.isfinite(upper)):
            return
        fresh = _Proof(q, upper, denominator)
        self.bound = min(self.bound, self._alone(fresh), *(self._together(fresh, other) for other in self._proofs))
        self._proofs.append(fresh)
        self._reconcile()

    def gap(self) -> float:
        """``(bound - ratio)/|ratio|``, inf before both are known."""
        if not (math.isfinite(self.ratio) and math.isfinite(self.bound)):
            return math.inf
        return max(0.0, self.bound - self.ratio) / max(abs(self.ratio), 1e-300)

    def _alone(self, proof: _Proof) -> float:
        """What one proof gives: q + U/D with the denominator at its worst end."""
        worst = self.denominator_min if proof.upper > 0.0 else self.denominator_max
        if proof.upper > 0.0 and worst is None:
            return math.inf
        added = 0.0 if worst is None or proof.upper == 0.0 else proof.upper / worst
        return proof.q + added + GUARD * (abs(proof.q) + abs(added))

    @staticmethod
    def _together(one: _Proof, other: _Proof) -> float:
        """Root of the chord through two proofs of opposite sign; inf if there is none."""
        above, below = (one, other) if one.upper >= 0.0 else (other, one)
        if not (above.upper >= 0.0 > below.upper):
            return math.inf
        share = above.upper / (above.upper - below.upper)
        chord = above.q * (1.0 - share) + below.q * share
        return chord + GUARD * (abs(above.q) + abs(below.q))

    def _reconcile(self) -> None:
        """A bound is at least the ratio; one far below it is wrong, and is withdrawn for good."""
        if self.bound < self.ratio - CONTRADICTION * abs(self.ratio):
            self.notes.append(f"a bound {self.bound!r} below the ratio {self.ratio!r} that was found; bound withdrawn")
            log.error("%s", self.notes[-1])
            self.bound = math.inf
            self._proofs.clear()
            self.denominator_min = self.denominator_max = None
        self.bound = max(self.bound, self.ratio)

    # ---- where to ask ---------------------------------------------------------------------------------------------

    def take(self, q: float, answer: RatioAnswer[P], seconds: float = 0.0) -> None:
        """Note an answer of the oracle at q.

        Parameters
        ----------
        q : float
            The ratio at which the oracle was asked.
        answer : RatioAnswer
            What the oracle said.
        seconds : float
            How long it took, for the history.
        """
        self._asked.append(q)
        if answer.point is not None:
            self.offer(answer.point, answer.numerator, answer.denominator)
        if answer.upper is not None:
            self.prove(q, answer.upper, answer.denominator)
        ratio, bound = (value if math.isfinite(value) else None for value in (self.ratio, self.bound))
        self.history.append(RatioStep(q, answer.upper, ratio, bound, seconds))

    def newton(self, gap: float) -> float | None:
        """The next q of Dinkelbach's method; None once the ratio has settled.

        Parameters
        ----------
        gap : float
            Relative gap at which to stop.
        """
        below = max((q for q in self._asked if q <= self.ratio), default=-math.inf)
        share = max(SETTLED * gap, _ROUNDING) if self._proofs else _SETTLED_EXACTLY
        return None if self.ratio - below <= share * abs(self.ratio) else self.ratio

    def beyond(self, gap: float) -> float | None:
        """A q above the ratio at which F is likely to be proven negative; None if there is none left to ask.

        Parameters
        ----------
        gap : float
            Relative gap at which to stop.
        """
        low = max((one for one in self._proofs if one.upper >= 0.0), key=lambda one: one.q, default=None)
        closed = any(one.upper < 0.0 for one in self._proofs)
        gulf = self.bound - self.ratio
        if closed or low is None:
            q = self.bound  # the root of the chord, where the true F is not positive
        else:
            slope = low.denominator if low.denominator > 0.0 else self.denominator
            # F falls by about the denominator per unit of q: twice as far as would do if it were linear
            q = max(low.q + 2.0 * low.upper / slope, self.ratio + 0.5 * gap * abs(self.ratio))
            if math.isfinite(gulf):
                q = min(q, self.ratio + 0.9 * gulf)
        if q in self._asked:
            q = self.ratio + 0.5 * gulf
        return q if math.isfinite(q) and q > self.ratio and q not in self._asked else None


def maximise_ratio(
    oracle: Callable[[float], RatioAnswer[P]], search: RatioSearch[P], run: Run, *, iterations: int = 60
) -> None:
    """Improve `search` until the gap is the one asked for, nothing more can be gained, or time is up.

    Parameters
    ----------
    oracle : callable
        ``q -> RatioAnswer``: a (near) maximiser of N - q D and, if it can, a proven upper bound of F(q).
    search : RatioSearch
        Changed in place, so that an interruption loses nothing.
    run : Run
        Gap, clock and progress. Progress is minimised everywhere, so reports carry *minus* the ratio as objective and
        minus the bound as bound. TimeUpError of its clock and KeyboardInterrupt of its reports are the caller's to
        catch.
    iterations : int
        Most calls of the oracle.

    Notes
    -----
    `search.termination` says how it ended: GAP, CONVERGED (the ratio has settled and the oracle proves nothing),
    STAGES_EXHAUSTED (settled, and the bound no longer moves: the oracle's own gap is left), ITERATIONS, or what
    stopped the oracle.
    """
    q, asked_beyond, stale = search.start, False, 0
    for iteration in range(iterations):
        run.check_time()
        gulf = search.bound - search.ratio
        answer = oracle(q)
        search.take(q, answer, run.seconds)
        run.report("ratio", iteration, -search.ratio, -search.bound)
        if search.gap() <= run.gap:
            search.termination = Termination.GAP
            return
        if answer.stopped is not None:
            search.termination = answer.stopped
            return
        if asked_beyond:
            in_vain = math.isfinite(gulf) and search.bound - search.ratio > (1.0 - _WORTHWHILE) * gulf
            stale = stale + 1 if in_vain else 0
        following = search.newton(run.gap) if math.isfinite(search.ratio) else None
        asked_beyond = following is None
        if following is None:
            if answer.upper is None or not math.isfinite(search.ratio):
                search.termination = Termination.CONVERGED if answer.point is not None else Termination.NUMERICAL
                return
            following = search.beyond(run.gap) if stale < 2 else None
            if following is None:
                search.termination = Termination.STAGES_EXHAUSTED
                return
        q = following
    search.termination = Termination.ITERATIONS
