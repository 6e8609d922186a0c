r"""Prices of capacities: the best bound that they prove, choices made on the way, and proofs that nothing fits.

.. math::

    D(\pi) = \sum_i \min_{o} \Big( c_o + \sum_k \pi_k u_{ok} \Big) - \sum_k \pi_k, \qquad \pi \ge 0.

(A convex cost :math:`f_k` of congestion would put :math:`\min_{0 \le l} f_k(l) - \pi_k l` in place of the last term.)
Many agents make D nearly smooth: Newton's method comes first (`smooth`), the bundle method after it or alone.
Without costs and with :math:`\pi \le 1` the same D is a lower bound of the sum of all excesses, so that a value above
0 proves that nothing fits.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.solvers.bundle import Bundle
from edgealloc.solvers.choices.kernels import mixed, overload_ratios
from edgealloc.solvers.choices.part import Answer, Part
from edgealloc.solvers.choices.smooth import smooth_prices
from edgealloc.solvers.choices.state import State

__all__ = ["find_prices", "prove_excess"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Up to this many agents every one has cuts of its own in the bundle; beyond, agents share `GROUPS` of them.
OWN_CUTS: Final = 64
GROUPS: Final = 16
#: From this many agents on, and up to so many capacities, prices are first looked for by Newton's method.
MANY: Final = 500
MOST_CURVED: Final = 512
#: Without a choice that fits, prices are looked for no longer: they may be rising to infinity.
BLIND: Final = 20
#: Prices go up to this multiple of what all agents' dearest options cost together.
FAR: Final = 1e4
#: A choice is made of the master's mixture in every so manieth iteration, and in the last.
MIX_EVERY: Final = 3
#: The first answers are all mended; beyond this many options, later ones only where a mixture is.
MEND_ALL: Final = 300_000


class _Bundled:
    """A part as the bundle method sees it: values in units of `scale`, with 1 added to the sum of all.

    The uses of the decided agents count as a part of the first group's. The 1 keeps the method's own scale, the best
    value, away from 0.
    """

    def __init__(self, part: Part, scale: float, start: FloatArray, high: FloatArray) -> None:
        count = part.agents if part.agents <= OWN_CUTS else GROUPS
        self.part, self.scale, self.groups = part, scale, count
        self.group = np.arange(part.agents) * count // max(part.agents, 1)
        self.bundle = Bundle(np.asarray(start / scale), count, np.zeros(start.size), np.asarray(high / scale))
        self.answers: list[npt.NDArray[np.int32]] = []

    @property
    def prices(self) -> FloatArray:
        return np.asarray(self.bundle.trial * self.scale)

    def add(self, answer: Answer) -> None:
        part, count = self.part, self.groups
        value = np.bincount(self.group, weights=answer.value, minlength=count) / self.scale + 1.0 / count
        use = np.zeros((count, part.limit.size))
        for r in range(part.use.shape[1]):
            np.add.at(use, (self.group, part.capacity[answer.choice, r]), part.use[answer.choice, r])
        decided = 1.0 - part.limit
        value[0] += float(decided @ self.bundle.trial)
        use[0] += decided
        self.answers.append(answer.choice.astype(np.int32))
        self.bundle.add(value, use)

    def mixture(self, prices: FloatArray) -> IntArray:
        """A choice whose loads are those of the master's mixture, as nearly as may be."""
        weight = self.bundle.mixture()
        busy = np.flatnonzero(weight.max(axis=0) > 1e-9)
        weight = np.ascontiguousarray(weight[:, busy])
        weight /= weight.sum(axis=1, keepdims=True)
        answers = np.stack([self.answers[a] for a in busy])
        choice, load = np.empty(self.part.agents, dtype=np.int64), np.zeros(self.part.limit.size)
        mixed(self.group, weight, answers, self.part.use, self.part.capacity, prices, choice, load)
        return choice


def find_prices(
    part: Part, state: State, run: Run, *, start: FloatArray | None = None, floor: float = math.inf,
    iterations: int = 150, share: float = 1e-3,
) -> tuple[float, FloatArray]:
    """Improve the bound of a part until it can rise by no more than a share of what it lacks; offers choices.

    Parameters
    ----------
    start : (C,), optional
        Prices to begin with.
    floor : float
        What everything that was left out of the part costs at least: the problem's bound is no higher.

    Returns
    -------
    bound, prices
        The best bound of the part and the prices (C,) that prove it.
    """
    capacities = part.limit.size
    best_prices = np.zeros(capacities)
    first = part.ask(best_prices, run.threads)
    best = first.bound
    state.prove(min(best, floor))
    if (first.load <= part.limit).all():
        state.offer(part.whole(first.choice))
        return best, best_prices
    most = float(np.maximum.reduceat(part.cost, part.start[:-1]).sum())
    if most == 0.0:
        return best, best_prices
    prices = _first_prices(part, first) if start is None else start
    if part.agents >= MANY and part.limit.size <= MOST_CURVED:
        best, best_prices = smooth_prices(part, state, run, prices, first, floor, share, hot=start is None)
        prices = best_prices
        if state.gap() <= run.gap:
            return best, best_prices
    scale = _scale(part, state, first)
    bundled = _Bundled(part, scale, prices, np.full(capacities, FAR * most))
    for iteration in range(iterations):
        run.check_time()
        prices = bundled.prices
        answer = part.ask(prices, run.threads)
        if answer.bound > best:
            best, best_prices = answer.bound, prices.copy()
            state.prove(min(best, floor))
        bundled.add(answer)
        if iteration < 3 or part.options <= MEND_ALL:
            state.mend(part, answer.choice, prices)
        if state.gap() <= run.gap or best - part.base > 1.001 * most:
            break  # done, or the bound is rising to infinity
        if state.choice is None and iteration >= BLIND:
            break
        bundled.bundle.propose()
        promised = bundled.bundle.predicted * scale
        lacking = min(state.objective - best, max(1e-2 * (best - first.bound), 0.0))
        done = bundled.bundle.failed or promised <= max(1e-10 * scale, share * lacking)
        if not bundled.bundle.failed and (done or iteration % MIX_EVERY == 0):
            state.mend(part, bundled.mixture(prices), prices)
        run.report("prices", iteration, state.objective, state.bound)
        if done:
            break
    return best, best_prices


def _first_prices(part: Part, first: Answer) -> FloatArray:
    """Every overloaded capacity's price at which enough agents would give way if it were the only one."""
    shape = (part.agents, part.use.shape[1])
    ratio, relief = np.empty(shape), np.empty(shape)
    overload_ratios(part.start, part.cost, part.use, part.capacity, first.choice, ratio, relief)
    which = part.capacity[first.choice]
    prices = np.zeros(part.limit.size)
    for c in np.flatnonzero(first.load > part.limit):
        here = (which == c) & np.isfinite(ratio)
        order = np.argsort(ratio[here], kind="stable")
        total = np.cumsum(relief[here][order])
        if order.size:
            enough = min(int(np.searchsorted(total, first.load[c] - part.limit[c])), order.size - 1)
            prices[c] = ratio[here][order][enough]
    busy = prices > 0.0
    typical = float(prices[busy].mean()) if busy.any() else float(part.cost.max(initial=0.0)) or 1.0
    return np.where(busy, prices, 0.1 * typical)


def _scale(part: Part, state: State, first: Answer) -> float:
    """A typical distance of the optimum from the sum of the cheapest options."""
    if math.isfinite(state.objective) and state.objective > first.bound:
        return state.objective - first.bound
    top = np.maximum.reduceat(part.cost, part.start[:-1])
    return max(0.1 * float(top.sum()), 1e-12 * abs(part.base), 1e-300)


def prove_excess(part: Part, state: State, run: Run, *, iterations: int = 60) -> tuple[float, FloatArray]:
    """Look for prices that prove that a part cannot fit, and for choices that do.

    Returns
    -------
    excess, prices
        Proven lower bound of the sum of all excesses (above 0: nothing fits) and its prices, in shares of capacities.
    """
    capacities = part.limit.size
    start = np.full(capacities, 0.5)
    bundled = _Bundled(part, 1.0, start, np.ones(capacities))
    best, best_prices = -math.inf, start
    for iteration in range(iterations):
        run.check_time()
        prices = bundled.prices
        answer = part.ask(prices, run.threads, costly=False)
        if answer.bound > best:
            best, best_prices = answer.bound, prices.copy()
        bundled.add(answer)
        state.mend(part, answer.choice, _tender(part, prices))
        bundled.bundle.propose()
        done = bundled.bundle.failed or bundled.bundle.predicted <= max(1e-10, 1e-2 * abs(best))
        if not bundled.bundle.failed:
            state.mend(part, bundled.mixture(prices), _tender(part, prices))
        run.report("phase one", iteration, state.objective, state.bound)
        if done or state.choice is not None:
            break
    return best, best_prices


def _tender(part: Part, prices: FloatArray) -> FloatArray:
    """Prices that make what is tight dear beside the costs of a part."""
    return np.asarray(prices * float(part.cost.max(initial=1.0)))
