r"""Prices of many agents: Newton's method on a smoothed bound.

With everybody's choice softened by a temperature :math:`\mu`,

.. math::

    D_\mu(\pi) = -\mu \sum_i \log \sum_o e^{-(c_o + \sum_k \pi_k u_{ok})/\mu} - \sum_k \pi_k l_k,

the bound is concave and smooth: its gradient is what the agents use on average beyond the limits l, and its Hessian
minus the sum of the covariances of their uses over :math:`\mu`. :math:`D_\mu \le D \le D_\mu + \mu \sum_i \log O_i`, so
that prices for a small temperature are nearly the best; the bound that is reported is always D itself, by `Part.ask`.
Where thousands of agents share tens of capacities, tens of steps do what takes a bundle method hundreds. The averages
are also nearly feasible fractions, from which choices are rounded (`rounded`).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel
from edgealloc.core.run import Run
from edgealloc.solvers.choices.part import RANGES, Answer, Part, in_threads
from edgealloc.solvers.choices.state import State

__all__ = ["shares_at", "smooth_prices"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The temperature falls by this factor, from what an option costs beyond the cheapest on average to `COLDEST` of it.
COOLING: Final = 0.25
COLDEST: Final = 1e-5
#: Newton steps at a temperature, refused ones counted.
STEPS: Final = 30
#: Rounding starts at these shares of the first temperature, and fixes agents with at least this share of the largest
#: use at every level.
DIVES: Final = (1e-4, 3e-5)
LEVELS: Final = 4
LARGE: Final = 0.3
#: Options dearer than the best by this many temperatures weigh nothing.
_FAR: Final = 36.0
#: Options with a smaller share are not rounded to.
_RARE: Final = 1e-3


@kernel
def _weights(
    low: int, high: int, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray, temperature: float,
    out: FloatArray,
) -> tuple[float, float, int]:
    """Weights of an agent's options ``low : high`` into `out`: (least priced cost, sum, how many options count)."""
    least, count = np.inf, 0
    for o in range(low, high):
        if cost[o] >= least + _FAR * temperature:
            break
        amount = cost[o]
        for r in range(use.shape[1]):
            amount += prices[capacity[o, r]] * use[o, r]
        out[count] = amount
        count += 1
        least = min(least, amount)
    weight = 0.0
    for j in range(count):
        out[j] = math.exp(max((least - out[j]) / temperature, -700.0))
        weight += out[j]
    return least, weight, count


@kernel
def soften(
    begin: int, end: int, start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray,
    temperature: float, value: FloatArray, load: FloatArray, curvature: FloatArray,
) -> None:
    """Softened values (n,), average loads (C,) and the sum of the covariances (C, C) of agents."""
    slots, capacities = use.shape[1], load.size
    mean, touched = np.zeros(capacities), np.empty(capacities, np.int64)
    seen = np.zeros(capacities, np.bool_)
    longest = 0
    for i in range(begin, end):
        longest = max(longest, start[i + 1] - start[i])
    total = np.empty(longest)
    for i in range(begin, end):
        low = start[i]
        least, weight, count = _weights(low, start[i + 1], cost, use, capacity, prices, temperature, total)
        value[i] = least - temperature * math.log(weight)
        found = 0
        for j in range(count):
            share = total[j] / weight
            if share < 1e-14:
                continue
            for r in range(slots):
                c, u = capacity[low + j, r], use[low + j, r]
                if u > 0.0:
                    if not seen[c]:
                        seen[c] = True
                        touched[found] = c
                        found += 1
                    mean[c] += share * u
                    for s in range(slots):
                        curvature[c, capacity[low + j, s]] += share * u * use[low + j, s]
        for j in range(found):
            c = touched[j]
            load[c] += mean[c]
            for k in range(found):
                curvature[c, touched[k]] -= mean[c] * mean[touched[k]]
        for j in range(found):
            mean[touched[j]], seen[touched[j]] = 0.0, False


@kernel
def softened_shares(
    start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray, temperature: float,
    share: FloatArray,
) -> None:
    """Share (E',) of every option in its agent's softened choice; those below `_RARE` count as 0."""
    for i in range(start.size - 1):
        own = share[start[i] : start[i + 1]]
        _, weight, count = _weights(start[i], start[i + 1], cost, use, capacity, prices, temperature, own)
        kept = 0.0
        for j in range(count):
            own[j] = own[j] / weight if own[j] > _RARE * weight else 0.0
            kept += own[j]
        for j in range(count):
            own[j] /= kept


@kernel
def rounded(
    start: IntArray, use: FloatArray, capacity: IntArray, share: FloatArray, loads: FloatArray, choice: IntArray
) -> None:
    """Options (n,) by their shares, so that the loads stay near those of the shares; `loads` (C,) is room to work in.

    Agents are taken by the largest use that is open, those with small ones last: they make up for what is left.
    """
    slots, agents = use.shape[1], choice.size
    largest = np.zeros(agents)
    loads[:] = 0.0
    for i in range(agents):
        choice[i] = start[i]
        for o in range(start[i], start[i + 1]):
            if share[o] > share[choice[i]]:
                choice[i] = o
            if 0.0 < share[o] < 1.0:
                for r in range(slots):
                    largest[i] = max(largest[i], use[o, r])
    for i in np.argsort(-largest, kind="mergesort"):
        if largest[i] == 0.0:
            break
        for o in range(start[i], start[i + 1]):
            for r in range(slots):
                loads[capacity[o, r]] += share[o] * use[o, r]
        best = np.inf
        for o in range(start[i], start[i + 1]):
            if share[o] > 0.0:
                change = 0.0
                for r in range(slots):
                    change += use[o, r] * (use[o, r] - 2.0 * loads[capacity[o, r]])
                if change < best:
                    best, choice[i] = change, o
        for r in range(slots):
            loads[capacity[choice[i], r]] -= use[choice[i], r]


def shares_at(part: Part, prices: FloatArray, temperature: float) -> FloatArray:
    """(E',) share of every option in its agent's softened choice."""
    share = np.zeros(part.options)
    softened_shares(part.start, part.cost, part.use, part.capacity, prices, temperature, share)
    return share


def _rounded(part: Part, share: FloatArray) -> IntArray:
    """A choice (n,) whose loads are nearly those of the shares."""
    choice = np.empty(part.agents, dtype=np.int64)
    rounded(part.start, part.use, part.capacity, share, np.zeros(part.limit.size), choice)
    return choice


def smooth_prices(
    part: Part, state: State, run: Run, prices: FloatArray, first: Answer, floor: float, least: float,
    hot: bool = True,
) -> tuple[float, FloatArray]:
    """Improve prices by Newton steps at falling temperatures; offers choices, raises the bound of `state`.

    Parameters
    ----------
    prices : (C,)
        To begin with.
    first : Answer
        Without prices.
    floor : float
        What everything that was left out of the part costs at least.
    least : float
        The temperature falls no further when the bound gains less than this share of what it lacks.
    hot : bool
        False: the prices are nearly right, for a problem that was a little larger.

    Returns
    -------
    bound, prices
        The best bound of the part and its prices.
    """
    best, best_prices = first.bound, np.zeros(prices.size)
    # where agents go back and forth between options, they give up about as much as an option costs beyond the cheapest
    typical = float(part.cost.mean()) or 1.0
    temperature, low = typical if hot else COOLING**4 * typical, best
    while temperature > COLDEST * typical:
        prices = _climb(part, prices, temperature, run)
        answer = part.ask(prices, run.threads)
        gained = answer.bound - best
        if answer.bound > best:
            best, best_prices = answer.bound, prices.copy()
            state.prove(min(best, floor))
        state.mend(part, _rounded(part, shares_at(part, prices, temperature)), prices)
        run.report("smoothed prices", 0, state.objective, state.bound)
        if state.gap() <= run.gap:
            break
        lacking = min(state.objective - best, max(1e-2 * (best - low), 0.0))
        if 0.0 <= gained <= least * lacking:
            break
        temperature *= COOLING
    for cold in DIVES if hot else ():
        if state.gap() > run.gap:
            _dive(part, state, run, best_prices, cold * typical)
    return best, best_prices


def _dive(part: Part, state: State, run: Run, prices: FloatArray, temperature: float) -> None:
    """Round the agents of the largest uses, find prices for what they leave to the others, and so on."""
    for _ in range(LEVELS):
        run.check_time()
        share = shares_at(part, prices, temperature)
        choice = _rounded(part, share)
        state.mend(part, choice.copy(), prices)
        state.mend(part, choice, prices, thrifty=True)
        run.report("rounding", 0, state.objective, state.bound)
        largest = np.maximum.reduceat(np.where(share > 0.0, part.use.max(axis=1), 0.0), part.start[:-1])
        # the mended choice fits, so that what is fixed leaves a choice that fits to the others
        fixed = largest >= LARGE * largest.max()
        if state.gap() <= run.gap or fixed.all() or (part.load(choice) > part.limit).any():
            return
        keep = ~fixed[part.owner]
        keep[choice[fixed]] = True
        rest = part.only(keep)
        if rest is None or rest.agents == 0:
            return
        part = rest
        for warmth in (1.0 / COOLING**2, 1.0 / COOLING, 1.0):
            prices = _climb(part, prices, warmth * temperature, run)


def _climb(part: Part, prices: FloatArray, temperature: float, run: Run) -> FloatArray:
    """Projected Newton steps (Levenberg and Marquardt) to the best prices (>= 0) at a temperature."""
    # no price above what all agents' dearest options cost together is of use, times a thousand to be sure
    highest = 1e3 * float(np.maximum.reduceat(part.cost, part.start[:-1]).sum())
    value, slope, curvature = _soft(part, prices, temperature, run)
    damping = 1e-2
    for _ in range(STEPS):
        run.check_time()
        free = np.flatnonzero((prices > 0.0) | (slope > 0.0))
        if free.size == 0:
            break
        matrix = curvature[np.ix_(free, free)] / temperature
        spread = np.diag(matrix)
        # where nobody would leave or take a capacity at this temperature, steps are as long as they are elsewhere
        spread = np.maximum(spread, 1e-6 * float(spread.max(initial=0.0)) + 1e-300)
        step = np.linalg.solve(matrix + np.diag(damping * spread), slope[free])
        trial = prices.copy()
        trial[free] = np.clip(trial[free] + step, 0.0, highest)
        after, trial_slope, trial_curvature = _soft(part, trial, temperature, run)
        if not after > value:
            damping *= 8.0
            if damping > 1e8:
                break
            continue
        gained, damping = after - value, max(0.2 * damping, 1e-6)
        prices, value, slope, curvature = trial, after, trial_slope, trial_curvature
        # a hundredth of what softening itself may cost
        if gained <= 1e-2 * temperature * math.sqrt(part.agents):
            break
    return prices


def _soft(
    part: Part, prices: FloatArray, temperature: float, run: Run
) -> tuple[float, FloatArray, FloatArray]:
    """Value, gradient and minus the Hessian times the temperature."""
    capacities = part.limit.size
    value = np.empty(part.agents)
    loads, curvatures = np.zeros((RANGES, capacities)), np.zeros((RANGES, capacities, capacities))
    edges = np.linspace(0, part.agents, RANGES + 1).astype(np.int64)

    def work(k: int) -> None:
        soften(edges[k], edges[k + 1], part.start, part.cost, part.use, part.capacity, prices, temperature, value,
               loads[k], curvatures[k])

    in_threads(work, run.threads)
    slope = loads.sum(axis=0) - part.limit
    return float(value.sum() - prices @ part.limit), slope, curvatures.sum(axis=0)
