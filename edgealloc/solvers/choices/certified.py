r"""The certified and the exact method, and greedy choices.

`solve_choices`

1. everybody's cheapest option, if that fits;
2. prices (`prices`): a bound, and choices that are mended and improved (`kernels`) from everybody's best options at the
   prices and from mixtures of them; or a proof by prices that nothing fits;
3. options that cost too much at the prices to be in a better choice are left out, and all of that again for the core;
4. the core: exchanges of two agents, branch and bound (`search`), and HiGHS on what that leaves open (`milp`).

What is left out costs at least the best choice known at that time (less the gap asked for): the bound of the problem
is the lower of that and the core's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import anything_cached
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.solvers.choices.data import FITS, Choices, ChoicesAnswer
from edgealloc.solvers.choices.kernels import fill, pairs, place
from edgealloc.solvers.choices.milp import least_excess_milp, part_milp
from edgealloc.solvers.choices.part import Part, whole_part
from edgealloc.solvers.choices.prices import find_prices, prove_excess
from edgealloc.solvers.choices.search import decided_bound, search_part
from edgealloc.solvers.choices.smooth import smooth_prices
from edgealloc.solvers.choices.state import Judge, State
from edgealloc.solvers.pricing import GUARD

__all__ = ["ORDERS", "greedy_choices", "search_choices", "solve_choices", "warm_up"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Of the gap asked for: what is left out may lack so much of the best choice.
_SHARE: Final = 0.9
#: Rounds of prices and leaving out.
_ROUNDS: Final = 6
#: Nodes of the search before HiGHS is asked.
_NODES: Final = 300_000
#: Pairs of moves that are looked at.
_PAIRS: Final = 20_000_000
#: HiGHS is asked about cores of up to so many options, and about the least excess of small problems.
_HIGHS: Final = 60_000
_SMALL: Final = 3_000
_BY_PRICES: Final = "prices prove that capacities are exceeded by {:.3g} in all"
_BY_SEARCH: Final = "a search of all choices found none that fits"
ORDERS: Final = ("regret", "given", "need", "cost")


def solve_choices(
    problem: Choices, run: Run, *, judge: Judge | None = None, start: IntArray | None = None, highs: bool = True
) -> ChoicesAnswer:
    """The best choice to within `run.gap`, with a proof; see the module's text.

    Parameters
    ----------
    problem : Choices
    run : Run
        Gap, clock, threads (results do not depend on them) and progress. Time limit and Ctrl-C return what is known.
    judge : callable, optional
        Whether the caller accepts a choice that fits; what it refuses is not returned, and bounds hold all the same.
    start : (N,) of int, optional
        A choice to begin with.
    highs : bool
        False: what the search leaves open stays open. For uses of one capacity that differ by about `RELAXED`, near
        which HiGHS, whose tolerances are not much finer, cuts off choices that fit.

    Returns
    -------
    ChoicesAnswer
    """
    state = State(problem, judge, highs=highs)
    if start is not None:
        state.offer(np.asarray(start, dtype=np.int64))
    _ended(state, run, lambda: _certify(problem, state, run))
    return state.answer()


def search_choices(problem: Choices, run: Run) -> ChoicesAnswer:
    """The best choice by branch and bound alone: for small problems, or as long as time allows.

    The prices of the root bound everything; HiGHS is not asked. The answer has the best choice so far and a bound of
    all that is still open.

    Parameters
    ----------
    problem : Choices
        Agents, options and capacities.
    run : Run
        Gap, clock and progress.
    """
    state = State(problem)
    _ended(state, run, lambda: _search(problem, state, run))
    return state.answer()


def greedy_choices(problem: Choices, order: str | Sequence[int] | IntArray = "regret") -> IntArray | None:
    """Give one agent after the other its cheapest option that still fits.

    Parameters
    ----------
    problem : Choices
    order : str or sequence of int
        "regret": always the agent whose second choice that fits is dearest compared with its first; "given"; "need":
        largest least use first; "cost": dearest cheapest option first; or all agents in the order wanted.

    Returns
    -------
    (N,) of int, or None
        Options; None if somebody finds none that fits.

    Raises
    ------
    DataError
        An unknown order.

    Examples
    --------
    >>> two = Choices([0, 2, 4], [1.0, 2.0, 1.0, 9.0], [[1.0], [0.0], [1.0], [0.0]], [[0], [0], [0], [0]], 1)
    >>> greedy_choices(two).tolist(), greedy_choices(two, "given").tolist()
    ([1, 2], [0, 3])
    """
    agents = np.arange(problem.agents)
    if not isinstance(order, str):
        agents = np.asarray(order, dtype=np.int64)
        if not np.array_equal(np.sort(agents), np.arange(problem.agents)):
            raise DataError("greedy_choices: `order` must name every agent once")
    elif order not in ORDERS:
        raise DataError(f"greedy_choices: no order '{order}'; known: {', '.join(ORDERS)}")
    elif order in ("need", "cost") and problem.agents:
        key = problem.use.sum(axis=1) if order == "need" else problem.cost
        agents = np.argsort(-np.minimum.reduceat(key, problem.start[:-1]), kind="stable")
    if problem.capacities == 0 or problem.agents == 0:
        return problem.cheapest()
    sorted_ = np.lexsort((problem.cost, problem.owner))
    choice, load = np.empty(problem.agents, dtype=np.int64), np.zeros(problem.capacities)
    complete = place(agents, order == "regret" if isinstance(order, str) else False, problem.start,
                     problem.cost[sorted_], problem.use[sorted_], problem.capacity[sorted_],
                     np.ones(problem.capacities), choice, load)
    return sorted_[choice] if complete else None


# ---- stages ---------------------------------------------------------------------------------------------------------


def _ended(state: State, run: Run, work: Callable[[], None]) -> None:
    """Do the work, and note how it ended."""
    try:
        work()
    except TimeUpError:
        state.termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        state.termination = Termination.INTERRUPTED
    if state.gap() <= run.gap:
        state.termination = Termination.GAP


def _cheapest(problem: Choices, state: State) -> bool:
    """Everybody's cheapest option proves a bound, and is the best choice if it fits."""
    choice = problem.cheapest()
    fits = state.offer(choice) or problem.objective(choice) >= state.objective
    size = math.fsum(np.abs(problem.cost[choice]))
    state.prove(problem.objective(choice) - GUARD * size)
    state.prices = np.zeros(problem.capacities)
    return fits


def _certify(problem: Choices, state: State, run: Run) -> None:
    if _cheapest(problem, state):
        return
    part = whole_part(problem, run.threads)
    if part is None:
        _say_infeasible(problem, state, run, "some agent has no option that fits even alone")
        return
    if part.agents:
        _greedy(part, state)
    left, floor, prices = _shrink(problem, part, state, run)
    if left is not None:
        _core(left, prices, floor, state, run)


def _greedy(part: Part, state: State) -> None:
    choice, load = np.empty(part.agents, dtype=np.int64), np.zeros(part.limit.size)
    place(np.arange(part.agents), True, part.start, part.cost, part.use, part.capacity, part.limit, choice, load)
    state.mend(part, choice, np.zeros(part.limit.size))


def _shrink(
    problem: Choices, part: Part, state: State, run: Run
) -> tuple[Part | None, float, FloatArray]:
    """Rounds of prices and of leaving out: (what is open, None for nothing; what the rest costs at least; prices)."""
    floor, prices = math.inf, np.zeros(problem.capacities)
    for round_ in range(_ROUNDS):
        if part.agents == 0:
            bound = min(floor, decided_bound(part, state))
            if bound == math.inf:
                _say_infeasible(problem, state, run, "everybody has one option only")
            else:
                state.prove(bound)
            return None, floor, prices
        _, prices = find_prices(part, state, run, start=prices if round_ else None, floor=floor)
        if round_ == 0:
            state.prices = prices
        if not state.found() and not _find_feasible(problem, part, prices, state, run):
            return None, floor, prices
        if state.gap() <= run.gap:
            return None, floor, prices
        best, cutoff = state.objective, state.cutoff(_SHARE * run.gap)
        smaller = leave_out(part, prices, cutoff, run.threads)
        floor = min(floor, cutoff)
        if smaller is None:
            state.prove(floor)
            return None, floor, prices
        little = smaller.options > 0.8 * part.options
        part = smaller
        if part.agents:
            exchange(part, prices, state)
        if little and not state.objective < best and part.agents:
            break
    return part, floor, prices


def leave_out(part: Part, prices: FloatArray, cutoff: float, threads: int) -> Part | None:
    """The part without options that cost at least the cutoff at the prices, whatever the others do; None if no choice
    costs less."""
    if math.isinf(cutoff):
        return part
    answer = part.ask(prices, threads)
    guard = GUARD * (float(answer.value.sum()) + abs(cutoff) + abs(answer.bound))
    return part.only(answer.bound + part.priced(prices) * (1.0 - GUARD) - guard < cutoff)


def exchange(part: Part, prices: FloatArray, state: State) -> None:
    """Improve the best choice by moves of one and of two agents within a part."""
    if state.choice is None:
        return
    choice = _within(part, prices, state.choice)
    load = part.load(choice)
    data = (part.start, part.cost, part.use, part.capacity)
    if (load > part.limit + FITS).any():
        state.mend(part, choice, prices)
        load = part.load(choice)
        if (load > part.limit + FITS).any():
            return
    pairs(*data, part.limit, choice, load, _PAIRS)
    fill(*data, prices, part.limit, choice, load)
    state.offer(part.whole(choice))


def _within(part: Part, prices: FloatArray, choice: IntArray) -> IntArray:
    """A choice of the problem as one of a part; agents whose option was left out take their best at the prices."""
    result = part.ask(prices, 1).choice
    here = np.flatnonzero(part.option == choice[part.agent][part.owner])
    result[part.owner[here]] = here
    return result


def _find_feasible(problem: Choices, part: Part, prices: FloatArray, state: State, run: Run) -> bool:
    """No choice is known: find one, or prove that there is none; returns whether there is one now."""
    excess, ray = prove_excess(part, state, run)
    if state.found():
        return True
    if excess > 0.0:
        _say_infeasible(problem, state, run, _BY_PRICES.format(excess))
        return False
    searched = search_part(part, prices, ray, state, run, gap=0.0, nodes=_NODES)
    if state.found():
        return True
    if searched.complete and searched.bound == math.inf:
        _say_infeasible(problem, state, run, _BY_SEARCH)
        return False
    if searched.complete:
        state.attempts.append("what fits exceeds a capacity by a hair's breadth, or the caller refused it")
        return False
    run.check_time()
    if state.highs and part.options <= _HIGHS:
        if least_excess_milp(part, state, run) > 0.0:
            _say_infeasible(problem, state, run, "HiGHS proves an excess far above its tolerances")
            return False
        if state.found():
            return True
    state.attempts.append("no choice that fits was found, and none is proven not to exist")
    return False


def _say_infeasible(problem: Choices, state: State, run: Run, why: str) -> None:
    """Nothing fits: look for the choice that lacks least."""
    state.infeasible = True
    state.attempts.append(f"infeasible: {why}")
    part = whole_part(problem, run.threads, all_options=True)
    assert part is not None
    if part.agents:
        prove_excess(part, state, run, iterations=20)
        if state.highs and part.options <= _SMALL and run.seconds_left > 0.0:
            least_excess_milp(part, state, run)


def _core(part: Part, prices: FloatArray, floor: float, state: State, run: Run) -> None:
    """Branch and bound, and HiGHS on what that leaves open."""
    gap = _SHARE * run.gap
    searched = search_part(part, prices, None, state, run, gap=gap, nodes=_NODES)
    state.prove(min(floor, searched.bound))
    if searched.complete or state.gap() <= run.gap:
        return
    run.check_time()
    cutoff = state.cutoff(gap)
    smaller = leave_out(part, prices, cutoff, run.threads) if part.agents else part
    floor = min(floor, cutoff)
    if smaller is None:
        state.prove(floor)
    elif smaller.agents == 0:
        state.prove(min(floor, decided_bound(smaller, state)))
    elif not state.highs:
        state.attempts.append(f"{smaller.options} options are left open by the search")
    elif smaller.options <= _HIGHS:
        state.prove(min(floor, part_milp(smaller, state, run, gap=gap)))
    else:
        state.attempts.append(f"{smaller.options} options are left open, too many for HiGHS")
    run.report("core", 0, state.objective, state.bound)


def _search(problem: Choices, state: State, run: Run) -> None:
    if _cheapest(problem, state):
        return
    part = whole_part(problem, run.threads)
    if part is None:
        _say_infeasible(problem, state, run, "some agent has no option that fits even alone")
        return
    floor, prices, ray = math.inf, np.zeros(problem.capacities), None
    if part.agents:
        _, prices = find_prices(part, state, run)
        state.prices = prices
        if not state.found():
            excess, ray = prove_excess(part, state, run)
            if excess > 0.0:
                _say_infeasible(problem, state, run, _BY_PRICES.format(excess))
                return
        floor = state.cutoff(_SHARE * run.gap)
        left = leave_out(part, prices, floor, run.threads)
        if left is None:
            state.prove(floor)
            return
        part = left
    searched = search_part(part, prices, ray, state, run, gap=_SHARE * run.gap, nodes=2**62)
    bound = min(floor, searched.bound)
    if bound == math.inf:
        _say_infeasible(problem, state, run, _BY_SEARCH)
        return
    state.prove(bound)
    if not searched.complete:
        run.check_time()


# ---- once per machine -----------------------------------------------------------------------------------------------


def warm_up(run: Run) -> None:
    """Compile what has to be compiled, once per machine, and start the run's clock after that."""
    if not anything_cached(""):
        run.report("compiling the kernels, once per machine")
    _compile()
    run.restart_clock()


@cache
def _compile() -> None:
    """Go through every kernel with a tiny problem that the cheapest options, prices and greedy choices leave open."""
    cost = np.array([0.0, 3.0, 5.0, 0.0, 4.0, 5.0, 0.0, 4.0, 6.0])
    use = np.array([0.7, 0.4, 0.0, 0.6, 0.5, 0.0, 0.5, 0.3, 0.0])[:, None]
    tiny = Choices(np.array([0, 3, 6, 9]), cost, use, np.zeros((9, 1), dtype=np.int64), 1)
    quiet = Run(gap=0.0, time_limit_s=math.inf)
    for order in ORDERS:
        greedy_choices(tiny, order)
    state = State(tiny)
    part = whole_part(tiny, 1)
    assert part is not None
    first = part.ask(np.zeros(1), 1)
    smooth_prices(part, state, quiet, np.ones(1), first, math.inf, 1e-3)
    _, prices = find_prices(part, state, quiet)
    exchange(part, prices, state)
    search_part(part, prices, None, state, quiet, gap=0.0, nodes=1000)
