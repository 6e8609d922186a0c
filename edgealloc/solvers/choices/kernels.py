"""Compiled loops over options: answers at prices, dominated options, and choices that are mended and improved.

Everywhere the options of an agent are sorted by cost, and `limit` (C,) is the share of every capacity that there is.
A kernel that takes agents ``begin : end`` writes only what belongs to them, so that ranges can be worked in threads.
"""

from __future__ import annotations

import heapq
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import kernel

__all__ = ["ask", "fill", "mixed", "overload_ratios", "pairs", "place", "repair", "survivors"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Half of what a choice may exceed a capacity by: running sums drift.
_SLACK: Final = 5e-13


@kernel
def ask(
    begin: int, end: int, start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray,
    choice: IntArray, value: FloatArray, load: FloatArray,
) -> None:
    """Everybody's best option at prices (>= 0), its value, and the sum of the uses (added to `load`)."""
    slots = use.shape[1]
    for i in range(begin, end):
        least, pick = np.inf, start[i]
        for o in range(start[i], start[i + 1]):
            if cost[o] >= least:
                break
            total = cost[o]
            for r in range(slots):
                total += prices[capacity[o, r]] * use[o, r]
            if total < least:
                least, pick = total, o
        choice[i], value[i] = pick, least
        for r in range(slots):
            load[capacity[pick, r]] += use[pick, r]


@kernel
def _use_of(o: int, c: int, use: FloatArray, capacity: IntArray) -> float:
    """What option o uses of capacity c."""
    for r in range(use.shape[1]):
        if capacity[o, r] == c and use[o, r] > 0.0:
            return float(use[o, r])
    return 0.0


@kernel
def survivors(
    begin: int, end: int, start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, limit: FloatArray,
    order: IntArray, keep: BoolArray,
) -> None:
    """Options of every agent by cost (`order`), and which of them to keep: they fit alone and nothing dominates them.

    An option dominates another if neither its cost nor its use of any capacity is larger; of equals the first stays.
    """
    slots = use.shape[1]
    for i in range(begin, end):
        low, high = start[i], start[i + 1]
        by_cost = low + np.argsort(cost[low:high], kind="mergesort")
        for place in range(high - low):
            o = by_cost[place]
            order[low + place] = o
            good = True
            for r in range(slots):
                if use[o, r] > limit[capacity[o, r]]:
                    good = False
                    break
            before = place - 1
            while good and before >= 0:
                if keep[low + before]:
                    k = by_cost[before]
                    inside = True
                    for r in range(slots):
                        if use[k, r] > 0.0 and use[k, r] > _use_of(o, capacity[k, r], use, capacity):
                            inside = False
                            break
                    if inside:
                        good = False
                before -= 1
            keep[low + place] = good
            before = place - 1
            while good and before >= 0 and cost[by_cost[before]] == cost[o]:
                if keep[low + before]:
                    k = by_cost[before]
                    inside = True
                    for r in range(slots):
                        if use[o, r] > 0.0 and use[o, r] > _use_of(k, capacity[o, r], use, capacity):
                            inside = False
                            break
                    if inside:
                        keep[low + before] = False
                before -= 1


@kernel
def overload_ratios(
    start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, choice: IntArray, ratio: FloatArray,
    relief: FloatArray,
) -> None:
    """By agent and slot of its option: least cost per unit of relief of that capacity, and the relief that gives."""
    for i in range(choice.size):
        now = choice[i]
        for r in range(use.shape[1]):
            ratio[i, r], relief[i, r] = np.inf, 0.0
            if use[now, r] > 0.0:
                for o in range(start[i], start[i + 1]):
                    less = use[now, r] - _use_of(o, capacity[now, r], use, capacity)
                    if less > 0.0 and (cost[o] - cost[now]) < ratio[i, r] * less:
                        ratio[i, r], relief[i, r] = (cost[o] - cost[now]) / less, less


@kernel
def _shift(now: int, new: int, use: FloatArray, capacity: IntArray, load: FloatArray) -> None:
    """Exchange an option for another in the loads."""
    for r in range(use.shape[1]):
        load[capacity[now, r]] -= use[now, r]
    for r in range(use.shape[1]):
        load[capacity[new, r]] += use[new, r]


@kernel
def _allowed(o: int, now: int, use: FloatArray, capacity: IntArray, limit: FloatArray, load: FloatArray) -> bool:
    """Whether o fits in place of `now` (-1: of nothing); capacities that it does not load more are not its fault."""
    for r in range(use.shape[1]):
        if use[o, r] > 0.0:
            c = capacity[o, r]
            own = _use_of(now, c, use, capacity) if now >= 0 else 0.0
            if use[o, r] > own and load[c] - own + use[o, r] > limit[c] + _SLACK:
                return False
    return True


@kernel
def _best_relief(
    i: int, start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray,
    limit: FloatArray, choice: IntArray, load: FloatArray, thrifty: bool,
) -> tuple[float, int]:
    """The agent's move with the least priced cost per unit by which the sum of all excesses falls; (inf, -1): none.

    If `thrifty`, no more than the excess of a capacity is worth its price: what a large move frees beyond it may stay
    idle.
    """
    slots = use.shape[1]
    now = choice[i]
    saved, here = 0.0, cost[now]
    for r in range(slots):
        c, u = capacity[now, r], use[now, r]
        less = max(0.0, load[c] - limit[c]) - max(0.0, load[c] - u - limit[c])
        here += prices[c] * (less if thrifty and load[c] > limit[c] else u)
        saved += less
    least, pick = np.inf, -1
    if saved <= 0.0:
        return least, pick
    for o in range(start[i], start[i + 1]):
        gain, there = saved, cost[o]
        for r in range(slots):
            c, u = capacity[o, r], use[o, r]
            if u > 0.0:
                there += prices[c] * u
                without = load[c] - _use_of(now, c, use, capacity)
                gain -= max(0.0, without + u - limit[c]) - max(0.0, without - limit[c])
        if gain > 1e-15 and there - here < least * gain:
            least, pick = (there - here) / gain, o
    return least, pick


@kernel
def repair(
    start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray, limit: FloatArray,
    choice: IntArray, load: FloatArray, thrifty: bool,
) -> float:
    """Move agents off what is overloaded, cheapest relief first (see `_best_relief`); returns the excess that is left.

    Keys wait in a heap and are computed anew before they are used.
    """
    agents = choice.size
    for _ in range(12):
        excess = 0.0
        for c in range(limit.size):
            excess += max(0.0, load[c] - limit[c] - _SLACK)
        if excess <= 0.0:
            return 0.0
        waiting = [(0.0, 0)]
        waiting.pop()
        for i in range(agents):
            ratio, pick = _best_relief(i, start, cost, use, capacity, prices, limit, choice, load, thrifty)
            if pick >= 0:
                waiting.append((ratio, i))
        heapq.heapify(waiting)
        moved, budget = False, 20 * agents + 1000
        while len(waiting) > 0 and budget > 0:
            budget -= 1
            _, i = heapq.heappop(waiting)
            ratio, pick = _best_relief(i, start, cost, use, capacity, prices, limit, choice, load, thrifty)
            if pick < 0:
                continue
            if len(waiting) > 0 and ratio > waiting[0][0]:
                heapq.heappush(waiting, (ratio, i))
                continue
            _shift(choice[i], pick, use, capacity, load)
            choice[i] = pick
            moved = True
            over = False
            for c in range(limit.size):
                if load[c] > limit[c] + _SLACK:
                    over = True
                    break
            if not over:
                return 0.0
            heapq.heappush(waiting, (ratio, i))
        if not moved:
            break
    excess = 0.0
    for c in range(limit.size):
        excess += max(0.0, load[c] - limit[c] - _SLACK)
    return excess


@kernel
def _best_saving(
    i: int, start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray,
    limit: FloatArray, choice: IntArray, load: FloatArray,
) -> tuple[float, int]:
    """The agent's cheaper option that fits and is best at the prices; (-inf, -1): none."""
    now = choice[i]
    here = cost[now]
    for r in range(use.shape[1]):
        here += prices[capacity[now, r]] * use[now, r]
    best, pick = -np.inf, -1
    for o in range(start[i], start[i + 1]):
        if cost[o] >= cost[now]:
            break
        there = cost[o]
        for r in range(use.shape[1]):
            there += prices[capacity[o, r]] * use[o, r]
        if here - there > best and _allowed(o, now, use, capacity, limit, load):
            best, pick = here - there, o
    return best, pick


@kernel
def fill(
    start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, prices: FloatArray, limit: FloatArray,
    choice: IntArray, load: FloatArray,
) -> None:
    """Single moves to cheaper options that fit, best at the prices first, until there are none."""
    agents = choice.size
    saving = np.empty(agents)
    for _ in range(30):
        for i in range(agents):
            saving[i], _ = _best_saving(i, start, cost, use, capacity, prices, limit, choice, load)
        moved = False
        for i in np.argsort(-saving, kind="mergesort"):
            if saving[i] == -np.inf:
                break
            _, pick = _best_saving(i, start, cost, use, capacity, prices, limit, choice, load)
            if pick >= 0:
                _shift(choice[i], pick, use, capacity, load)
                choice[i] = pick
                moved = True
        if not moved:
            return


@kernel
def pairs(
    start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, limit: FloatArray, choice: IntArray,
    load: FloatArray, budget: int,
) -> bool:
    """Moves of two agents at once that fit and lower the cost: one that does not fit alone, and who makes room for it.

    Looks at no more than `budget` pairs; returns whether anything was improved.
    """
    agents, slots = choice.size, use.shape[1]
    owner = np.empty(cost.size, dtype=np.int64)
    for i in range(agents):
        owner[start[i] : start[i + 1]] = i
    improved = True
    any_improved = False
    after = np.empty(limit.size)
    short = np.empty(slots, dtype=np.int64)
    while improved and budget > 0:
        improved = False
        change = np.empty(cost.size)
        for o in range(cost.size):
            change[o] = cost[o] - cost[choice[owner[o]]]
        order = np.argsort(change, kind="mergesort")
        for a in order:
            if change[a] >= 0.0 or budget <= 0:
                break
            i = owner[a]
            after[:] = load
            _shift(choice[i], a, use, capacity, after)
            broken = 0
            for r in range(slots):
                c = capacity[a, r]
                if use[a, r] > 0.0 and after[c] > limit[c] + _SLACK:
                    short[broken] = c
                    broken += 1
            for b in order:
                if change[a] + change[b] >= -1e-14 * abs(change[a]):
                    break
                j = owner[b]
                now = choice[j]
                if j == i or b == now:
                    continue
                budget -= 1
                good = True
                for k in range(broken):
                    c = short[k]
                    left = after[c] - _use_of(now, c, use, capacity) + _use_of(b, c, use, capacity)
                    if left > limit[c] + _SLACK:
                        good = False
                        break
                if good and _allowed(b, now, use, capacity, limit, after):
                    _shift(choice[i], a, use, capacity, load)
                    _shift(now, b, use, capacity, load)
                    choice[i], choice[j] = a, b
                    improved = any_improved = True
                    break
                if budget <= 0:
                    break
            if improved:
                break
    return any_improved


@kernel
def _two_cheapest(
    i: int, start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray, limit: FloatArray, load: FloatArray
) -> tuple[float, int]:
    """Cheapest option that fits beside the loads, and how much dearer the next one is (inf: there is no other)."""
    pick = -1
    for o in range(start[i], start[i + 1]):
        if _allowed(o, -1, use, capacity, limit, load):
            if pick >= 0:
                return cost[o] - cost[pick], pick
            pick = o
    return np.inf, pick


@kernel
def place(
    order: IntArray, by_regret: bool, start: IntArray, cost: FloatArray, use: FloatArray, capacity: IntArray,
    limit: FloatArray, choice: IntArray, load: FloatArray,
) -> bool:
    """Give agents their cheapest option that still fits: in an order, or always whose next one is dearest; who finds
    none gets the cheapest, and False is returned."""
    complete = True
    if not by_regret:
        for i in order:
            _, pick = _two_cheapest(i, start, cost, use, capacity, limit, load)
            complete = complete and pick >= 0
            choice[i] = max(pick, -1) if pick >= 0 else start[i]
            for r in range(use.shape[1]):
                load[capacity[choice[i], r]] += use[choice[i], r]
        return complete
    waiting = [(0.0, 0)]
    waiting.pop()
    for i in order:
        regret, _ = _two_cheapest(i, start, cost, use, capacity, limit, load)
        waiting.append((-regret, i))
    heapq.heapify(waiting)
    while len(waiting) > 0:
        key, i = heapq.heappop(waiting)
        regret, pick = _two_cheapest(i, start, cost, use, capacity, limit, load)
        if -regret > key:
            heapq.heappush(waiting, (-regret, i))
            continue
        if pick < 0:
            complete, pick = False, start[i]
        choice[i] = pick
        for r in range(use.shape[1]):
            load[capacity[pick, r]] += use[pick, r]
    return complete


@kernel
def mixed(
    group: IntArray, weight: FloatArray, answers: npt.NDArray[np.int32], use: FloatArray, capacity: IntArray,
    prices: FloatArray, choice: IntArray, load: FloatArray,
) -> None:
    """Round a mixture of answers: one agent after the other picks what keeps the loads nearest to the mixture's.

    `weight` (G, A) are the mixtures of the groups, `answers` (A, N) options; `load` begins with 0.
    """
    slots, count = use.shape[1], weight.shape[1]
    expected = np.zeros(load.size)
    options = np.empty(count, dtype=np.int64)
    for i in range(choice.size):
        found = 0
        for a in range(count):
            share = weight[group[i], a]
            if share > 1e-9:
                o = np.int64(answers[a, i])
                for r in range(slots):
                    expected[capacity[o, r]] += share * use[o, r]
                known = False
                for k in range(found):
                    if options[k] == o:
                        known = True
                        break
                if not known:
                    options[found] = o
                    found += 1
        least, pick = np.inf, options[0]
        for k in range(found):
            o = options[k]
            off = 0.0
            for r in range(slots):
                c, u = capacity[o, r], use[o, r]
                off += prices[c] * u * (u + 2.0 * (load[c] - expected[c]))
            if off < least:
                least, pick = off, o
        choice[i] = pick
        for r in range(slots):
            load[capacity[pick, r]] += use[pick, r]
