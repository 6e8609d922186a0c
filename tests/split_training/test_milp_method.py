"""Method "milp": its model is a relaxation, its bound never above the optimum, whatever stops it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from instances import choose, chunks, instance, sized
from limits_instances import limited, sized_limited
from limits_twin import optimum
from twin import Twin

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.formulations.split_training import milp
from edgealloc.formulations.split_training.milp_model import AssociationModel
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.proof import list_all
from edgealloc.formulations.split_training.reduced import reduce
from edgealloc.formulations.split_training.resources import settle
from edgealloc.solvers.milp import MilpResult, solve_milp
from edgealloc.solvers.pricing import Pricing


def whole_model(problem: ea.SplitTraining) -> tuple[SplitPricing, AssociationModel]:
    """The first round's model with every option left in."""
    pricing, state = SplitPricing(reduce(problem), 1), Pricing()
    run = Run(gap=0.0, time_limit_s=math.inf)
    milp.root_prices(problem, pricing, state, run, [])
    assert state.prices is not None
    options = list_all(pricing, state.prices, math.inf, milp.MOST_BINARIES)
    assert options is not None
    pricing.kept = None  # no ceiling on coefficients
    return pricing, milp.model_of(pricing, state, options, run)


def solved_at(model: AssociationModel, server: Any, cut: Any) -> MilpResult:
    """The model's least cost at one assignment."""
    start = model.start(server, cut)
    for x in model.x:
        x.lowBound = x.upBound = start[x.name]
    try:
        return solve_milp(model.model, gap=0.0, tolerance=milp.TOLERANCE)
    finally:
        for x in model.x:
            x.lowBound, x.upBound = 0, 1


TRAITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deadlines": {},
    "exactly": {"exactly": True, "clock_scaled": True, "deadlines": False, "penalties": False},
    "deadlines and exactly": {"exactly": True, "clock_scaled": True},
}


@pytest.mark.parametrize("kind", list(TRAITS))
def test_model_is_a_relaxation_and_exact_at_its_tangents(kind: str) -> None:
    """At random assignments the model costs no more than the resources really do; with tangents at the multipliers of
    an assignment it costs as much."""
    looked = 0
    for seed in range(4):
        # soft deadlines, so that every assignment can be paid for
        limits = {"rounds": False, "feasible": True, "caps": False, "server_memory": False, "deadlines": True,
                  "penalties": True, "exactly": False} | TRAITS[kind]
        problem = sized(seed, 5, 3, 4) if kind == "plain" else sized_limited(seed, 5, 3, 4, **limits)
        pricing, model = whole_model(problem)
        rng = np.random.default_rng(seed)
        for _ in range(2):
            server, cut = choose(problem, rng)
            true = settle(pricing.data, server, cut)
            if not (true.kept and model.start(server, cut)):
                continue
            looked += 1
            before = solved_at(model, server, cut)
            assert before.bound is not None
            assert before.bound * model.scale <= true.cost * (1.0 + 1e-9) + model.guard(milp.TOLERANCE), seed
            model.add_tangents(true.price[:, :2], np.bincount(server + 1, minlength=4)[1:] > 0)
            after = solved_at(model, server, cut)
            assert after.objective is not None
            assert after.objective * model.scale <= true.cost * (1.0 + 1e-9) + model.guard(milp.TOLERANCE), seed
            assert after.objective * model.scale == pytest.approx(true.cost, rel=1e-5), seed
    assert looked >= 5


@pytest.mark.parametrize("seeds", chunks(24, 2), ids=str)
@pytest.mark.parametrize("kind", ["plain", "limited"])
def test_optimum_is_found_and_the_bound_below_it(kind: str, seeds: range) -> None:
    """Against enumeration, over all variants: the binaries are always branched on, because no gap is allowed."""
    for seed in seeds:
        problem = instance(seed) if kind == "plain" else limited(seed, rounds=False)
        best = problem.solve("exact", time_limit_s=None)
        solution = problem.solve("milp", gap=0.0, time_limit_s=None)
        if best.objective is None:
            assert solution.objective is None, seed
            continue
        assert solution.objective is not None, seed
        assert solution.bound is not None, seed
        assert solution.bound <= best.objective * (1.0 + 1e-10), seed
        assert solution.objective == pytest.approx(best.objective, rel=1e-3), seed
        assert solution.gap is not None
        assert solution.gap <= 2e-5, (seed, solution.attempts)
        assert not any("withdrawn" in line or "rejected" in line for line in solution.attempts), seed


@pytest.mark.parametrize("seeds", chunks(12, 2), ids=str)
def test_bound_below_the_twins_optimum(seeds: range) -> None:
    """The same against enumerations that share no code with the library."""
    for seed in seeds:
        limits = seed % 2 == 1
        problem = limited(seed, users=3, rounds=False) if limits else instance(seed, users=3)
        best = optimum(problem)[0] if limits else Twin(problem).optimum()
        solution = problem.solve("milp", gap=1e-4)
        if math.isinf(best):
            assert solution.objective is None, seed
            continue
        assert solution.bound is not None, seed
        assert solution.objective is not None, seed
        assert solution.bound <= best * (1.0 + 1e-8), seed
        assert best * (1.0 - 1e-8) <= solution.objective <= best * 1.003, seed


@pytest.mark.parametrize("seconds", [0.05, 0.6])
def test_bound_holds_under_a_time_limit(seconds: float) -> None:
    """However little was done: whole numbers, every limit kept, and bound <= what another method finds."""
    for seed in range(4):
        users = 20 + 3 * seed
        problem = sized(seed, users, 4, 8) if seed % 2 else sized_limited(
            seed, users, 3, rounds=False, feasible=True, penalties=True)
        other = problem.solve("certified", gap=1e-3, time_limit_s=5.0, threads=1)
        solution = problem.solve("milp", gap=0.0, time_limit_s=seconds)
        assert solution.bound is not None, seed
        assert other.objective is not None, seed
        assert solution.bound <= other.objective * (1.0 + 1e-9), seed
        assert solution.seconds <= seconds + 20.0, seed
        if solution.objective is not None:
            assert solution.bound <= solution.objective
            assert other.bound is not None
            assert other.bound <= solution.objective * (1.0 + 1e-9), seed


def test_highs_and_cbc_agree() -> None:
    """Two solvers, one model: the same optimum, and bounds below it."""
    for seed in range(3):
        pricing, model = whole_model(sized(seed, 4, 2, 4, extreme=False))
        highs, cbc = (solve_milp(model.model, solver=name, gap=1e-7) for name in ("highs", "cbc"))
        assert highs.objective is not None
        assert highs.bound is not None
        assert cbc.bound is not None
        assert cbc.objective == pytest.approx(highs.objective, rel=1e-5), seed
        assert cbc.bound <= highs.objective * (1.0 + 1e-6), seed
        assert highs.values is not None
        server, cut = model.assignment(highs.values)
        assert highs.bound * model.scale <= settle(pricing.data, server, cut).cost


def test_threads_change_no_bit() -> None:
    problem = sized(1, 8, 3, 4, extreme=False)
    one, three = (problem.solve("milp", gap=1e-4, time_limit_s=None, threads=t) for t in (1, 3))
    assert one.objective == three.objective
    assert one.bound == three.bound
    assert one.attempts == three.attempts


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds and models beyond its size: no allocation, no wrong bound, and what to use instead."""
    rounds = sized_limited(0, 4, 2, rounds=True, feasible=True)
    solution = rounds.solve("milp")
    assert (solution.allocation, solution.bound) == (None, None)
    assert any("certified" in line for line in solution.attempts)
    problem = sized(3, 10, 3, 6, extreme=False)
    monkeypatch.setattr(milp, "MOST_BINARIES", 5)
    solution = problem.solve("milp", gap=0.0)
    assert any("more than 5 binaries" in line for line in solution.attempts)
    assert solution.bound is not None  # of its relaxation


def test_ctrl_c_keeps_the_best_so_far() -> None:
    problem = sized(2, 8, 3, 4, extreme=False)

    def stop(line: Any) -> None:
        if line.stage == "milp":
            raise KeyboardInterrupt

    solution = problem.solve("milp", gap=0.0, on_progress=stop)
    assert solution.termination == Termination.INTERRUPTED
    assert solution.objective is not None
    assert solution.bound is not None


def test_warm_start_is_used_or_its_fault_named() -> None:
    problem = sized(4, 8, 2, 5, extreme=False)
    best = problem.solve("certified", gap=1e-6)
    again = problem.solve("milp", gap=1e-2, warm_start=best)
    assert again.objective is not None
    assert best.objective is not None
    assert again.objective <= best.objective * (1.0 + 1e-12)
    assert best.allocation is not None
    import dataclasses

    greedy = dataclasses.replace(best.allocation, bandwidth_hz=best.allocation.bandwidth_hz * 3.0)
    assert any("warm start" in line for line in problem.solve("milp", warm_start=greedy).attempts)


def test_no_option_and_no_association() -> None:
    """Infeasible problems get neither an allocation nor a claim that one exists."""
    for seed in range(6):
        problem = limited(seed, rounds=False, feasible=False)
        solution = problem.solve("milp", time_limit_s=5.0)
        assert solution.allocation is None
        assert solution.status in (ea.Status.INFEASIBLE, ea.Status.NO_SOLUTION)
