"""The same problem as a MILP, written with PuLP."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.solvers.choices.data import RELAXED, Choices, ChoicesAnswer
from edgealloc.solvers.choices.part import Part, reduced
from edgealloc.solvers.choices.state import State
from edgealloc.solvers.milp import MilpResult, solve_milp
from edgealloc.solvers.pricing import GUARD

if TYPE_CHECKING:
    import pulp

__all__ = ["MOST_BINARIES", "choices_milp", "least_excess_milp", "milp_choices", "part_milp"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Larger models are not written: PuLP alone would take minutes.
MOST_BINARIES: Final = 200_000
#: Of the solver, for capacities of 1 and costs up to 1.
TOLERANCE: Final = 1e-9
#: Whether and where uses are rounded to multiples of `GRID`.
Rounded = Literal["down", "up", ""]
#: HiGHS is asked about multiples of this: it cuts off choices that fit where uses, or their sums and a capacity, differ
#: by less than some hundred times its tolerance (seen with 1.15, presolve or not, for every tolerance from 1e-10 on).
GRID: Final = 2.0**-20
#: For a choice that fits, where the model for bounds finds none.
STRICT: Final[tuple[Rounded, ...]] = ("", "up")
#: More agents than this have a finer grid, so that what all their roundings allow stays below 1e-3 of a capacity.
_GRID_AGENTS: Final = 1_000
#: An excess that HiGHS proves must be larger than this to count as a proof that nothing fits.
_SURE: Final = 1e-6


def choices_milp(
    problem: Choices, name: str = "choices", *, rounded: Rounded = ""
) -> tuple[pulp.LpProblem, dict[int, pulp.LpVariable]]:
    """Binary x_o per option: one per agent, and every capacity kept.

    Parameters
    ----------
    problem : Choices
    name : str
    rounded : {"", "down", "up"}
        Whether uses are rounded to multiples of `GRID`, which HiGHS can tell apart. Down: bounds hold for the problem,
        and what is found must be checked. Up: what is found fits, and bounds mean nothing.

    Returns
    -------
    model, variables
        The variable of option o is ``variables[o]``, named ``x_<agent>_<option of the agent>``.
    """
    owner, use, limit = problem.owner, problem.use, np.ones(problem.capacities)
    if rounded:
        use, limit = _rounded(use, limit, problem.agents, up=rounded == "up")
    return _model(name, owner, np.arange(problem.options) - problem.start[owner], problem.start, problem.cost,
                  use, problem.capacity, limit)


def _rounded(
    use: FloatArray, limit: FloatArray, agents: int, *, up: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Uses rounded down to a grid, and limits up to half way between its points: a relaxation; the reverse with `up`.
    """
    grid = GRID * min(1.0, 2.0 ** -math.ceil(math.log2(max(agents, 1) / _GRID_AGENTS)))
    if up:
        return np.ceil(use / grid) * grid, (np.floor(limit / grid) + 0.5) * grid
    return np.floor(use / grid) * grid, (np.ceil(limit / grid) + 0.5) * grid


def _model(
    name: str, agent: IntArray, number: IntArray, start: IntArray, cost: FloatArray, use: FloatArray,
    capacity: IntArray, limit: FloatArray, *, constant: float = 0.0, elastic: bool = False,
) -> tuple[Any, dict[int, Any]]:
    """The model of some options; with `elastic`, of the least sum of excesses instead of the least cost."""
    import pulp

    model = pulp.LpProblem(name, pulp.LpMinimize)
    x = {o: model.add_variable(f"x_{agent[o]}_{number[o]}", 0, 1, pulp.LpInteger) for o in range(cost.size)}
    rows: list[list[tuple[Any, float]]] = [[] for _ in range(limit.size)]
    for o, r in zip(*np.nonzero(use), strict=True):
        rows[capacity[o, r]].append((x[int(o)], float(use[o, r])))
    excess = [model.add_variable(f"excess_{c}", 0) for c in range(limit.size)] if elastic else []
    if elastic:
        model += pulp.lpSum(excess)
    else:
        model += pulp.LpAffineExpression([(x[o], float(cost[o])) for o in range(cost.size)], constant)
    for i in range(start.size - 1):
        model += pulp.lpSum(x[o] for o in range(start[i], start[i + 1])) == 1, f"one_{i}"
    for c, row in enumerate(rows):
        if row:
            terms = row if not elastic else [*row, (excess[c], -1.0)]
            model += pulp.LpAffineExpression(terms) <= float(limit[c]), f"capacity_{c}"
    return model, x


def _picked(part: Part, x: dict[int, Any], result: MilpResult) -> IntArray:
    assert result.values is not None
    chosen = np.array([result.values[x[o].name] > 0.5 for o in range(part.options)])
    return np.flatnonzero(chosen)


def part_milp(
    part: Part, state: State, run: Run, *, gap: float, share: float = 1.0, rounded: Rounded = "down"
) -> float:
    """Solve a part by HiGHS and offer what it finds; returns what it proves about the part, guarded.

    Capacities are larger by `RELAXED`, uses rounded down to a grid (see `GRID`), costs in units of the largest, and
    what the solver's tolerances leave open is taken off its bound. inf is its own word that the part has no choice.
    Other roundings are for choices that fit where that finds none; what they return is no bound.
    """
    scale = float(part.cost.max(initial=0.0)) or 1.0
    use, limit = part.use, part.limit
    if rounded:
        up = rounded == "up"
        use, limit = _rounded(use, limit if up else limit + RELAXED, part.agents, up=up)
    model, x = _model("part", part.agent[part.owner], part.option, part.start, part.cost / scale, use, part.capacity,
                      limit, constant=part.base / scale)
    result = solve_milp(model, gap=gap, threads=1, time_limit_s=_seconds(run, share), tolerance=TOLERANCE)
    state.attempts.append(f"HiGHS on {part.agents} agents with {part.options} options: {result.message}")
    if result.values is not None:
        choice = _picked(part, x, result)
        if not state.offer(part.whole(choice)):
            state.mend(part, choice, np.zeros(part.limit.size))
    if result.termination in (Termination.TIME_LIMIT, Termination.NUMERICAL):
        state.termination = result.termination
    if result.bound is None:
        return -math.inf
    guard = 2.0 * TOLERANCE * (part.agents + part.limit.size)
    return scale * (result.bound - guard) - 2.0 * GUARD * (part.size + abs(part.base))


def least_excess_milp(part: Part, state: State, run: Run) -> float:
    """The least sum of excesses that HiGHS proves for a part, 0 if that is within its tolerances; offers what it finds.

    A proof by numbers far above the tolerances, where "infeasible" would be the solver's word alone.
    """
    use, limit = _rounded(part.use, part.limit + RELAXED, part.agents)
    model, x = _model("excess", part.agent[part.owner], part.option, part.start, part.cost, use, part.capacity, limit,
                      elastic=True)
    result = solve_milp(model, gap=0.1, threads=1, time_limit_s=_seconds(run), tolerance=TOLERANCE)
    state.attempts.append(f"HiGHS on the least excess: {result.message}")
    if result.values is not None:
        state.offer(part.whole(_picked(part, x, result)))
    return result.bound if result.bound is not None and result.bound > _SURE else 0.0


def milp_choices(problem: Choices, run: Run) -> ChoicesAnswer:
    """Method "milp": the whole model by HiGHS, its answer re-checked and its bound guarded.

    Nothing but dominated options is left out, so that it is a check on the other methods. That nothing fits is said
    only if the least excess is proven to be above the solver's tolerances. Time limit and Ctrl-C give what is known.

    Parameters
    ----------
    problem : Choices
        Agents, options and capacities.
    run : Run
        Gap, clock and progress.
    """
    state = State(problem)
    try:
        _solve_whole(problem, state, run)
    except KeyboardInterrupt:
        state.termination = Termination.INTERRUPTED
    if state.gap() <= run.gap:
        state.termination = Termination.GAP
    return state.answer()


def _solve_whole(problem: Choices, state: State, run: Run) -> None:
    smaller, option = reduced(problem, run.threads)
    if smaller.options > MOST_BINARIES:
        state.attempts.append(f"no model was written: it would have {smaller.options} binaries, more than "
                              f"{MOST_BINARIES}")
        return
    least = smaller.cost[smaller.cheapest()]
    part = Part(
        np.arange(problem.agents), option, smaller.start, smaller.cost - np.repeat(least, np.diff(smaller.start)),
        smaller.use, smaller.capacity, np.ones(problem.capacities), problem.cheapest(), math.fsum(least),
        math.fsum(np.abs(least)),
    )
    state.prove(part.base - GUARD * part.size)
    bound = part_milp(part, state, run, gap=0.9 * run.gap)
    for rounded in STRICT:
        if state.choice is None and math.isfinite(bound) and run.seconds_left > 0.0:
            part_milp(part, state, run, gap=0.9 * run.gap, rounded=rounded)
    if bound == math.inf and state.choice is None:
        state.infeasible = least_excess_milp(part, state, run) > 0.0
    elif math.isfinite(bound):
        state.prove(bound)
    run.report("milp", objective=state.objective, bound=state.bound)


def _seconds(run: Run, share: float = 1.0) -> float | None:
    left = share * run.seconds_left
    return max(left, 1e-3) if math.isfinite(left) else None
