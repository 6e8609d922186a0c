"""Choices against looking at all of them: optima, bounds that are never above, and proofs that nothing fits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from choice_problems import exact_load, fleet, least_cost, small
from hypothesis import given, settings
from hypothesis import strategies as st
from stopped_clock import StoppedClock

from edgealloc.core.run import Progress, Run
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.solvers.choices import (
    Choices,
    ChoicesAnswer,
    choices_milp,
    greedy_choices,
    milp_choices,
    reduced,
    search_choices,
    solve_choices,
)
from edgealloc.solvers.milp import solve_milp

METHODS = {"certified": solve_choices, "search": search_choices, "milp": milp_choices}


def check(problem: Choices, answer: ChoicesAnswer, gap: float, error: float) -> None:
    """The answer is what looking at all choices says; its bound holds for what a tolerance of 1e-9 would take, too."""
    optimum, loose = least_cost(problem, 1e-12), least_cost(problem, 1e-9)
    size = max(1.0, float(np.abs(problem.cost).max()))
    if math.isinf(loose):
        assert answer.infeasible
        assert answer.bound == math.inf
        assert answer.nearest is not None
        assert answer.overload is not None
        assert answer.overload.max() > 0.0
        for c in range(problem.capacities):
            assert exact_load(problem, tuple(answer.nearest), c) <= 1.0 + answer.overload[c] + 1e-12
        return
    assert not answer.infeasible
    assert answer.bound <= loose
    if math.isinf(optimum):
        assert answer.choice is None
        return
    assert answer.choice is not None
    assert problem.fits(answer.choice)
    assert all(a <= o < b for a, o, b in zip(problem.start, answer.choice, problem.start[1:], strict=False))
    assert answer.objective == math.fsum(problem.cost[answer.choice])
    assert optimum <= answer.objective <= optimum + gap * abs(answer.objective) + error * size
    assert answer.objective - answer.bound <= gap * abs(answer.objective) + error * size
    if gap >= 1e-3 and error < 1e-6:
        assert answer.termination == Termination.GAP


@pytest.mark.parametrize(("method", "seeds"), [("certified", 150), ("search", 100), ("milp", 30)])
def test_by_brute_force(method: str, seeds: int) -> None:
    """Optimal to the gap, bounds never above the optimum, infeasible exactly where nothing fits."""
    for seed in range(seeds):
        gap = (0.0, 1e-3, 0.1)[seed % 3]
        problem = small(seed)
        check(problem, METHODS[method](problem, Run(gap=gap)), gap, 1e-6 if method == "milp" else 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_met_to_the_last_bit(method: str) -> None:
    """Ten tenths fill a capacity although they sum to a little more; eleven do not fit."""
    # HiGHS is told uses in multiples of about 1e-6: what differs by less is the same to it
    more = 1e-4 if method == "milp" else 1e-7
    for agents, fits in ((10, True), (11, False)):
        start = 2 * np.arange(agents + 1)
        use = np.tile([0.1, 0.1 + more], agents)[:, None]
        problem = Choices(start, np.tile([2.0, 1.0], agents), use, np.zeros((2 * agents, 1), dtype=int), 1)
        answer = METHODS[method](problem, Run(gap=0.0))
        assert answer.infeasible is not fits
        if fits:
            assert answer.objective == 20.0
            assert answer.bound == pytest.approx(20.0, rel=1e-6)
        else:
            assert answer.overload is not None
            assert answer.overload[0] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("excess", [0.5e-9, 2e-9])
def test_bounds_hold_within_a_callers_tolerance(excess: float) -> None:
    """A cheap choice that is too large by less than 4e-9 is not taken, and no bound excludes it; nor is it proven
    that nothing fits where it is the only one."""
    use = [[0.5 + excess / 2.0], [0.4]] * 2
    problem = Choices([0, 2, 4], [1.0, 5.0] * 2, use, [[0]] * 4, 1)
    for name, method in METHODS.items():
        answer = method(problem, Run(gap=0.0))
        assert answer.objective == 6.0 or name == "milp"
        assert answer.bound <= 2.0
    alone = Choices([0, 1, 2], [1.0, 1.0], use[::2], [[0]] * 2, 1)
    for method in METHODS.values():
        answer = method(alone, Run(gap=0.0))
        assert answer.choice is None
        assert not answer.infeasible


def test_prices_prove_a_shortage_that_no_agent_has_alone() -> None:
    """A hundred agents whose least uses sum to twice the capacity: proven at once, with what is short."""
    rng = np.random.default_rng(0)
    use = rng.uniform(0.02, 0.03, (300, 1))
    problem = Choices(3 * np.arange(101), rng.random(300), use, np.zeros((300, 1), dtype=int), 1)
    answer = solve_choices(problem, Run())
    assert answer.infeasible
    assert answer.overload is not None
    least = math.fsum(use.reshape(100, 3).min(axis=1)) - 1.0
    assert answer.overload[0] == pytest.approx(least, rel=1e-6)
    assert any("infeasible" in line for line in answer.attempts)


def test_shortage_that_only_whole_choices_have() -> None:
    """Three agents of 0.6 for two capacities: mixtures fit, choices do not."""
    use = [[0.6], [0.6]] * 3
    problem = Choices([0, 2, 4, 6], [0.0, 1.0] * 3, use, [[0], [1]] * 3, 2)
    for method in METHODS.values():
        answer = method(problem, Run())
        assert answer.infeasible
        assert answer.overload is not None
        assert answer.overload.sum() == pytest.approx(0.2)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), more=st.floats(0.0, 2.0))
def test_more_capacity_never_hurts(seed: int, more: float) -> None:
    """The optimum does not rise when all capacities grow, and what fitted still fits."""
    problem = small(seed)
    wider = Choices(problem.start, problem.cost, problem.use / (1.0 + more), problem.capacity, problem.capacities)
    before, after = solve_choices(problem, Run(gap=0.0)), solve_choices(wider, Run(gap=0.0))
    if before.choice is not None:
        assert wider.fits(before.choice)
        assert not after.infeasible
        assert after.objective <= before.objective
        assert after.bound <= before.objective


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), shift=st.floats(-1e3, 1e3), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_units_do_not_matter(seed: int, shift: float, scale: float) -> None:
    """Costs in another unit, and a constant for everybody, change the objective by as much."""
    problem = small(seed)
    other = Choices(problem.start, scale * (problem.cost + shift), problem.use, problem.capacity, problem.capacities)
    one, two = solve_choices(problem, Run(gap=0.0)), solve_choices(other, Run(gap=0.0))
    assert one.infeasible == two.infeasible
    if one.choice is not None:
        size = problem.agents * (float(np.abs(problem.cost).max()) + abs(shift))
        assert two.objective == pytest.approx(scale * (one.objective + shift * problem.agents), abs=1e-9 * scale * size)


@pytest.mark.parametrize("tight", [0.1, 0.5])
def test_threads_change_no_bit(tight: float) -> None:
    """More threads, the same choice, bound and prices."""
    problem = fleet(1200, 40, 4, tight)
    assert problem.options > 100_000
    answers = [solve_choices(problem, Run(gap=2e-3, threads=threads)) for threads in (1, 2, 5)]
    for answer in answers[1:]:
        assert answer.objective == answers[0].objective
        assert answer.bound == answers[0].bound
        assert np.array_equal(answer.choice, answers[0].choice)  # type: ignore[arg-type]
        assert np.array_equal(answer.prices, answers[0].prices)  # type: ignore[arg-type]


@pytest.mark.parametrize(("tight", "gap"), [(0.05, 3e-3), (0.3, 1e-3), (0.8, 1e-4)])
def test_many_agents_to_a_small_gap(tight: float, gap: float) -> None:
    """A thousand jobs are certified in a moment, and what is certified holds."""
    problem = fleet(1000, 14, 4, tight)
    answer = solve_choices(problem, Run(gap=gap))
    assert answer.termination == Termination.GAP
    assert answer.gap <= gap
    assert answer.choice is not None
    assert problem.fits(answer.choice)
    assert answer.prices is not None
    slack = 1.0 - problem.load(answer.choice)
    # capacities with a price are nearly full
    assert slack[answer.prices > 0.05 * answer.prices.max()].max(initial=0.0) < 0.05


def test_prices_prove_the_root_bound() -> None:
    """What is said to prove the bound does: the sum of everybody's best at the prices, less the prices."""
    problem = fleet(300, 6, 3, 0.3)
    answer = solve_choices(problem, Run(gap=1e-2))
    assert answer.prices is not None
    priced = problem.cost + (answer.prices[problem.capacity] * problem.use).sum(axis=1)
    proven = np.minimum.reduceat(priced, problem.start[:-1]).sum() - answer.prices.sum()
    assert answer.bound == pytest.approx(proven, rel=1e-6)


def test_time_limit_keeps_what_is_known() -> None:
    """No time at all: the bound of the cheapest options; little time: a choice and a bound that hold."""
    problem = fleet(16, 5, 3, 0.4)
    exact = solve_choices(problem, Run(gap=1e-6))
    for seconds in (1e-9, 0.02):
        for method in METHODS.values():
            answer = method(problem, Run(gap=0.0, time_limit_s=seconds))
            assert answer.bound <= exact.objective * (1.0 + 1e-9)
            assert answer.objective >= exact.bound
            assert not answer.infeasible


class Stop:
    """Raises KeyboardInterrupt at a report."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, _: Progress) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["certified", "search"])
def test_interruption_keeps_what_is_known(method: str) -> None:
    """Ctrl-C at any report: termination says so, and choice and bound hold."""
    problem = fleet(40, 6, 3, 0.2)
    exact = solve_choices(problem, Run(gap=1e-3))
    for at in (1, 2, 5):
        answer = METHODS[method](problem, Run(gap=0.0, on_progress=Stop(at)))
        assert answer.termination == Termination.INTERRUPTED
        assert exact.bound <= answer.objective
        assert answer.bound <= exact.objective
        assert math.isfinite(answer.bound)


def test_search_is_anytime(clock: StoppedClock) -> None:
    """Stopped in the middle, a search has a choice and a bound that grows with time."""
    problem = fleet(80, 10, 4, 0.15, seed=3)
    bounds = []
    for lines in (3, 20):
        clock.reset()
        answer = search_choices(problem, Run(gap=0.0, on_progress=clock.run_out_at("", lines)))
        assert answer.termination == Termination.TIME_LIMIT
        assert answer.choice is not None
        bounds.append(answer.bound)
        assert answer.bound <= answer.objective
    assert bounds[1] >= bounds[0] * (1.0 - 1e-9)


def test_a_judge_is_obeyed() -> None:
    """What the caller refuses is not returned, and the bound stays one of everything that fits."""
    problem = small(7)
    free = solve_choices(problem, Run(gap=0.0))
    assert free.choice is not None
    refused = free.choice

    def judge(choice: object) -> bool:
        return not np.array_equal(choice, refused)  # type: ignore[arg-type]

    answer = solve_choices(problem, Run(gap=0.0), judge=judge)
    assert answer.choice is None or not np.array_equal(answer.choice, refused)
    assert answer.bound <= free.objective
    assert not answer.infeasible


def test_a_start_is_used() -> None:
    """A choice to begin with is returned if time is up at once."""
    problem = fleet(100, 5, 3, 0.2)
    good = solve_choices(problem, Run(gap=3e-2))
    assert good.choice is not None
    answer = solve_choices(problem, Run(time_limit_s=1e-9), start=good.choice)
    assert answer.objective == good.objective


def test_reduced_keeps_the_optimum() -> None:
    """Nothing that is left out was needed, and what is left dominates nothing of its agent."""
    for seed in range(60):
        problem = small(seed)
        smaller, option = reduced(problem)
        assert least_cost(smaller, 1e-12) == least_cost(problem, 1e-12)
        assert np.array_equal(smaller.cost, problem.cost[option])
        assert np.array_equal(smaller.owner, problem.owner[option])
        for a in range(smaller.options):
            for b in range(smaller.options):
                if a != b and smaller.owner[a] == smaller.owner[b]:
                    less = all(
                        exact_load(smaller, (a,), c) <= exact_load(smaller, (b,), c) for c in range(smaller.capacities)
                    )
                    assert not (less and smaller.cost[a] <= smaller.cost[b])


@pytest.mark.parametrize("order", ["regret", "given", "need", "cost"])
def test_greedy_choices_fit(order: str) -> None:
    """A greedy choice fits or there is none; it costs no less than the optimum."""
    found = 0
    for seed in range(80):
        problem = small(seed)
        choice = greedy_choices(problem, order)
        optimum = least_cost(problem, 1e-12)
        if choice is not None:
            found += 1
            assert problem.fits(choice)
            assert problem.objective(choice) >= optimum
    assert found > 40
    with pytest.raises(DataError, match="no order 'regrets'"):
        greedy_choices(problem, "regrets")
    with pytest.raises(DataError, match="every agent once"):
        greedy_choices(problem, [0] * (problem.agents + 1))


def test_given_order_is_kept() -> None:
    """Who comes first gets the place."""
    two = Choices([0, 2, 4], [0.0, 1.0, 0.0, 2.0], [[1.0], [0.0]] * 2, [[0], [0]] * 2, 1)
    for order, expected in (([0, 1], [0, 3]), ([1, 0], [1, 2])):
        choice = greedy_choices(two, order)
        assert choice is not None
        assert choice.tolist() == expected


def test_model_is_the_problem() -> None:
    """The PuLP model alone has the brute-force optimum."""
    for seed in (1, 2, 5, 9):
        problem = small(seed)
        model, x = choices_milp(problem)
        result = solve_milp(model, gap=0.0)
        optimum = least_cost(problem, 1e-9)
        if math.isinf(optimum):
            assert result.values is None
        else:
            assert result.objective == pytest.approx(optimum, rel=1e-6, abs=1e-6)
            assert len(x) == problem.options


def test_nobody_and_nothing() -> None:
    """No agents, no capacities, one option each."""
    none = Choices([0], [], np.zeros((0, 1)), np.zeros((0, 1), dtype=int), 1)
    free = Choices([0, 2], [3.0, 1.0], np.zeros((2, 0)), np.zeros((2, 0), dtype=int), 0)
    forced = Choices([0, 1, 2], [3.0, -1.0], [[0.5], [0.5]], [[0], [0]], 1)
    for method in METHODS.values():
        assert method(none, Run()).objective == 0.0
        assert method(free, Run()).objective == 1.0
        answer = method(forced, Run())
        assert answer.objective == 2.0
        assert answer.bound == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"start": [0, 2, 2, 4]}, "start"),
        ({"start": [0, 1, 3]}, "start"),
        ({"start": [0.0, 2.0, 4.0]}, "start"),
        ({"cost": [1.0, 2.0, np.nan, 1.0]}, "cost"),
        ({"use": [[0.1], [0.2], [-0.3], [0.1]]}, "use"),
        ({"use": [[0.1], [0.2], [np.inf], [0.1]]}, "use"),
        ({"use": [0.1, 0.2, 0.3, 0.1]}, "use"),
        ({"capacity": [[0], [1], [0], [0]]}, "capacity"),
        ({"capacity": [[0], [-1], [0], [0]]}, "capacity"),
        ({"capacity": [[0.0], [0.0], [0.0], [0.0]]}, "capacity"),
        ({"use": [[0.1, 0.1]] * 4, "capacity": [[0, 0]] * 4}, "capacity"),
    ],
)
def test_bad_data(changes: dict[str, object], word: str) -> None:
    """Faulty arrays are refused by name."""
    data: dict[str, object] = {
        "start": [0, 2, 4], "cost": [1.0, 2.0, 3.0, 1.0], "use": [[0.1]] * 4, "capacity": [[0]] * 4,
    }
    with pytest.raises(DataError, match=word):
        Choices(**{**data, **changes}, capacities=1)
