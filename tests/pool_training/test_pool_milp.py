"""Method `milp`: its bound is never above the enumerated optimum, and its model is exact where it says so."""

from __future__ import annotations

import numpy as np
import pytest
from edge_pools import random_plan, tiny_pool
from pool_brute import Brute
from pools import draws, objective_of, random_pool

import edgealloc as ea
from edgealloc.formulations.pool_training.costs import memory_bytes
from edgealloc.formulations.pool_training.milp_model import PipelineModel
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.solvers.milp import solve_milp


@pytest.mark.parametrize("turn", range(2))
def test_bound_below_and_plan_above_the_optimum(turn: int) -> None:
    """Single devices and pipelines of tiny pools: ties, no memory, deadlines, time, energy and both."""
    gaps = []
    for seed in draws(14, turn, 2):
        problem = tiny_pool(seed, parallelisms=("single", "pipeline"))
        optimum, plan = Brute(problem).best()
        solution = problem.solve("milp", gap=1e-6)
        if plan is None:
            assert solution.objective is None, seed
            continue
        assert solution.objective is not None, seed
        assert solution.bound is not None, seed
        assert solution.bound <= optimum * (1.0 + 1e-12), seed
        assert solution.objective >= optimum * (1.0 - 1e-9), seed
        gaps.append((optimum - solution.bound) / optimum)
    assert np.median(gaps) < 0.1


def test_every_pipeline_is_a_point_of_the_model() -> None:
    """Fixed to a plan that fits, the model costs at most what the plan does; to one that does not, nothing."""
    looked = 0
    for seed in range(60):
        problem = tiny_pool(seed, devices=2 + seed % 3, layers=4, parallelisms=("pipeline",), deadline_s=None)
        plan = random_plan(problem, seed)
        costs = problem.evaluate(plan)
        fits = bool((memory_bytes(problem, plan) <= problem.memory_bytes * (1.0 + 1e-12)).all())
        model = PipelineModel(problem, FastCost(problem), costs.time_s, max(costs.objective, 1e-9), 2.0 * costs.time_s,
                              0.0)
        if not set(plan.devices) <= set(model.devices):
            assert not fits
            continue
        names = {variable.name: variable for variable in (*model.has.values(), *model.begin.values())}
        for name, value in model.start_of(plan).items():
            names[name].lowBound = names[name].upBound = value
        result = solve_milp(model.model, tolerance=1e-9)
        assert (result.objective is not None) == fits, seed
        if result.objective is not None:
            assert result.objective * model.unit <= costs.objective * (1.0 + 1e-7), seed
            assert result.values is not None
            assert model.plan_of(result.values) == plan
            looked += 1
    assert looked > 10


def test_time_alone_is_the_bound_of_the_plan() -> None:
    """On a mesh, without a tied table, the model's time is the bound of the plan."""
    problem = random_pool(3, 3, 6, "mesh", memory_bytes=1e11, tied_bytes=0.0, parallelisms=("pipeline",))
    plan = ea.Plan("pipeline", ((1,), (0,), (2,)), (2, 3, 1), ((problem.micro_batch,),) * 3)
    costs = problem.evaluate(plan)
    model = PipelineModel(problem, FastCost(problem), costs.time_s, costs.time_s, 2.0 * costs.time_s, 0.0)
    names = {variable.name: variable for variable in (*model.has.values(), *model.begin.values())}
    for name, value in model.start_of(plan).items():
        names[name].lowBound = names[name].upBound = value
    found = solve_milp(model.model, tolerance=1e-9).objective
    assert found == pytest.approx(costs.bound_s / costs.time_s, rel=1e-6)


def test_larger_pools_and_what_is_not_proven() -> None:
    """Close to the optimum of a pool that enumeration proves; hybrids are not in the model."""
    problem = random_pool(1, 4, 10, "star", parallelisms=("single", "pipeline"))
    solution, exact = problem.solve("milp"), objective_of(problem.solve("exact"))
    assert solution.bound is not None
    assert solution.bound <= exact * (1.0 + 1e-9)
    assert exact <= objective_of(solution) * (1.0 + 1e-9)
    assert objective_of(solution) <= exact * 1.05
    mixed = tiny_pool(4, devices=3, layers=3, deadline_s=None, memory_bytes=1e9)
    solution = mixed.solve("milp")
    assert solution.bound is None
    assert solution.objective is not None
    assert any("hybrid plans are not in the model" in line for line in solution.attempts)
    solution = mixed.replace(parallelisms=("single", "data", "sequence", "tensor", "pipeline")).solve("milp")
    assert solution.bound is not None
    assert solution.bound <= Brute(solution.problem).best()[0] * (1.0 + 1e-12)


def test_relaxed_links_of_many_devices() -> None:
    """Without pairs of devices the bound is still a bound."""
    problem = random_pool(2, 4, 8, "star", parallelisms=("single", "pipeline"), memory_bytes=4e9)
    from edgealloc.formulations.pool_training import milp_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(milp_model, "MOST_PAIRS", 0)
        solution = problem.solve("milp")
    optimum = objective_of(problem.solve("exact"))
    assert solution.bound is not None
    assert solution.bound <= optimum * (1.0 + 1e-9)
    assert solution.bound >= 0.5 * optimum


def test_stops() -> None:
    """Time limit and Ctrl-C."""
    problem = random_pool(3, 8, 32, "mesh", parallelisms=("pipeline",))
    solution = problem.solve("milp", time_limit_s=0.2)
    assert solution.termination == ea.Termination.TIME_LIMIT

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    assert problem.solve("milp", on_progress=stop).termination == ea.Termination.INTERRUPTED
