"""Participants, parallelism and arrangement against every plan of small pools."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tiny_pools import ENUMERATED, FIXED, all_plans, compositions, fixed, pipeline, tiny_pool

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.formulations.pool_training.questions.questions import excluding


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods of these tests are gone after them."""
    monkeypatch.setitem(registry._REGISTERED, "pool-training", {one.name: one for one in (ENUMERATED, FIXED)})


def best_of(problem: ea.PoolTraining, plans: list[ea.Plan]) -> float:
    return min((problem.evaluate(plan).objective for plan in plans if problem.relative_violation(plan) <= 1e-9),
               default=np.inf)


@pytest.mark.parametrize("seed", range(5))
def test_participants_are_worth_what_enumeration_says(seed: int) -> None:
    """With an exact method the value of a device is the difference of two optima; left out ones are worth nothing."""
    memory = [[64e9] * 3, [1.5e9, 2.2e9, 1.5e9], [1.5e9, 1.5e9, 4e8], [2.5e9, 2e9, 1.2e9], [1.6e9] * 3][seed]
    problem = tiny_pool(3, 4, ["star", "line", "shared"][seed % 3], seed, memory_bytes=memory,
                        parallelisms=("single", "data", "pipeline"))
    every = list(all_plans(problem))
    answer = ea.participants(problem, method="all-plans", gap=0.0)
    optimum = best_of(problem, every)
    assert answer.objective == pytest.approx(optimum, rel=1e-12)
    for one in answer.members:
        without = best_of(problem, [plan for plan in every if one.device not in plan.devices])
        low, high = answer.value(one)
        assert one.chosen == (one.device in answer.plan.devices)
        assert low <= without - optimum + 1e-9 * optimum or one.indispensable
        assert high >= (without - optimum) * (1.0 - 1e-9)
        if one.chosen:
            assert (without == np.inf) == one.indispensable
            if without < np.inf:
                assert low == pytest.approx(high, abs=1e-9 * optimum)
        else:
            with_it = best_of(problem, [plan for plan in every if one.device in plan.devices])
            if one.plan_with is None:
                assert "memory lacks" in one.why or with_it == np.inf
            else:
                assert one.device in one.plan_with.devices
                assert one.objective_with is not None
                assert one.objective_with >= with_it * (1.0 - 1e-9)
                # here the neighbourhood is nearly everything
                assert one.objective_with == pytest.approx(with_it, rel=0.1)
            if "memory lacks" in one.why:
                assert with_it == np.inf
    assert len(answer.to_frame()) == 3
    assert str(answer).startswith("who")


def test_a_better_plan_found_on_the_way_is_taken() -> None:
    """Solving without a device may show that the plan was not the best: the answer is about the better one."""
    problem = tiny_pool(3, 3, parallelisms=("single", "pipeline"))
    worst = max(all_plans(problem), key=lambda plan: problem.evaluate(plan).objective)
    answer = ea.participants(fixed(problem, worst), method="all-plans", gap=0.0)
    assert answer.objective == pytest.approx(best_of(problem, list(all_plans(problem))), rel=1e-12)
    assert {one.device for one in answer.members if one.chosen} == set(answer.plan.devices)


def test_a_better_plan_beside_is_taken() -> None:
    """Where one more device helps, what looks for reasons to leave it out says so: it is in the plan then."""
    problem = tiny_pool(2, 4, flops_per_s=[1e12, 9e12], batch=8, parallelisms=("single", "pipeline"))
    alone = ea.Plan("single", ((0,),), (4,), ((8,),))
    answer = ea.participants(fixed(problem, alone), method="fixed")
    assert 1 in answer.plan.devices
    assert answer.objective < problem.evaluate(alone).objective
    assert "-" not in "".join(one.why.split("costs")[-1].split("%")[0] for one in answer.members)


def test_excluding_leaves_the_way_through() -> None:
    """An excluded device takes no part but relays; even where nothing needs memory."""
    problem = tiny_pool(3, 3, "line", parallelisms=("single", "pipeline"))
    less = excluding(problem, 1)
    plan = pipeline(problem, (0, 2), (1, 2))
    assert less.relative_violation(plan) == 0.0
    assert less.evaluate(plan).objective == problem.evaluate(plan).objective
    weightless = problem.replace(state_bytes=0.0, activation_bytes=0.0, replicated_activation_bytes=0.0,
                                 overhead_bytes=0.0)
    assert excluding(weightless, 1).relative_violation(pipeline(problem, (0, 1), (1, 2))) >= 1.0


def test_parallelisms_have_their_own_optimum() -> None:
    problem = tiny_pool(3, 3, seed=2, memory_bytes=[3e9, 1.5e9, 1.5e9],
                        parallelisms=("single", "data", "sequence", "tensor", "pipeline"))
    answer = ea.parallelisms(problem, method="all-plans", gap=0.0)
    assert tuple(answer.solutions) == problem.parallelisms
    for name, solution in answer.solutions.items():
        expected = best_of(problem, [plan for plan in all_plans(problem) if plan.parallelism == name])
        assert (np.inf if solution.objective is None else solution.objective) == pytest.approx(expected, rel=1e-12)
    best = answer.best
    assert best is not None
    assert best.objective == pytest.approx(best_of(problem, list(all_plans(problem))), rel=1e-12)
    assert len(answer.to_frame()) == 5
    text = str(answer)
    assert text.splitlines()[3].startswith(best.allocation.parallelism if best.allocation is not None else "-")


def test_parallelism_that_fits_nowhere_is_listed() -> None:
    problem = tiny_pool(3, 3, memory_bytes=1.5e9, parallelisms=("single", "pipeline"))
    answer = ea.parallelisms(problem, method="all-plans")
    assert answer.solutions["single"].allocation is None
    assert "fits nowhere" in str(answer)
    assert np.isnan(answer.to_frame()["objective"].to_numpy()[0])


@pytest.mark.parametrize("topology", ["star", "line", "shared"])
def test_arrangements_of_a_pipeline(topology: str) -> None:
    """Best and worst of all orders, each with its best layers, against enumeration."""
    problem = tiny_pool(3, 5, topology, 4, parallelisms=("pipeline",))
    solution = fixed(problem, pipeline(problem, (2, 0, 1), (2, 2, 1)))
    answer = ea.arrangements(solution)
    by_order = [best_of(problem, [pipeline(problem, order, layers) for layers in compositions(5, 3)])
                for order in itertools.permutations(range(3))]
    assert answer.tried == answer.fitting == 6
    assert answer.every_order
    assert answer.objective_best == pytest.approx(min(by_order), rel=1e-9)
    # partitions are searched for, not proven: the worst order may look a little worse than it is
    assert max(by_order) * (1.0 - 1e-9) <= answer.objective_worst <= 1.05 * max(by_order)
    assert answer.objective_as_given == pytest.approx(by_order[0], rel=0.05)
    assert answer.as_given is not None
    assert answer.as_given.stages == ((0,), (1,), (2,))
    assert len(answer.to_frame()) == 3


def test_arrangements_of_a_ring() -> None:
    """Rings: every order up to where it starts; on a line the best goes there and back."""
    problem = tiny_pool(4, 3, "line", 1, parallelisms=("data",))
    plan = ea.Plan("data", ((0, 2, 1, 3),), (3,), ((1, 1, 1, 1),))
    answer = ea.arrangements(fixed(problem, plan))
    values = [problem.evaluate(ea.Plan("data", ((0, *tail),), (3,), ((1, 1, 1, 1),))).objective
              for tail in itertools.permutations((1, 2, 3))]
    assert answer.tried == 6
    assert answer.every_order
    assert answer.objective_best == pytest.approx(min(values))
    assert answer.objective_worst == pytest.approx(max(values))
    assert answer.as_given is not None
    assert answer.as_given.stages == ((0, 1, 2, 3),)


def test_some_orders_of_many() -> None:
    problem = tiny_pool(7, 7, parallelisms=("pipeline",))
    solution = fixed(problem, pipeline(problem, tuple(range(7)), (1,) * 7))
    answer = ea.arrangements(solution, orders=20, seed=3)
    assert answer.tried == 20
    assert not answer.every_order
    assert answer.objective_best <= answer.objective_as_given <= answer.objective_worst
    again = ea.arrangements(solution, orders=20, seed=3)
    assert again.best == answer.best
    with pytest.raises(ea.DataError, match="orders"):
        ea.arrangements(solution, orders=0)


def test_one_participant() -> None:
    problem = tiny_pool(2, 3)
    answer = ea.arrangements(fixed(problem, ea.Plan("single", ((1,),), (3,), ((4,),))))
    assert answer.tried == 1
    assert answer.every_order
    assert "all there are" in str(answer)


def test_everything_at_once() -> None:
    problem = tiny_pool(3, 3, seed=5, memory_bytes=1.5e9, failure_probability=1e-3,
                        parallelisms=("single", "data", "pipeline"))
    report = ea.plan_pool(problem, method="all-plans", outage_s=10.0)
    assert report.solution.objective == pytest.approx(best_of(problem, list(all_plans(problem))), rel=1e-12)
    assert report.participants.plan == report.solution.allocation
    assert report.faults.outage_s == 10.0
    text = str(report)
    for word in ("who  ", "how  ", "arrangement", "recovery", "mean  "):
        assert word in text


def test_what_fits_nowhere_is_refused_with_the_missing_bytes() -> None:
    problem = tiny_pool(2, 3, memory_bytes=5e8)
    for question in (ea.plan_pool, ea.participants, ea.arrangements, ea.faults):
        with pytest.raises(ea.InfeasibleError, match="memory_bytes at device 0"):
            question(problem)


def test_interruption_keeps_answers() -> None:
    problem = tiny_pool(3, 3, memory_bytes=1.5e9, parallelisms=("single", "data", "pipeline"))

    def stop(line: ea.Progress) -> None:
        if line.stage.startswith(("without", "pipeline")):
            raise KeyboardInterrupt

    who = ea.participants(problem, method="all-plans", on_progress=stop)
    assert who.interrupted
    assert "interrupted" in str(who)
    how = ea.parallelisms(problem, method="all-plans", on_progress=stop)
    assert how.interrupted
    assert list(how.solutions) == ["single", "data"]
