"""Networks, plans and questions that make no sense are refused with what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pools import plain_pool

import edgealloc as ea

POOL = plain_pool(3)
STAR = ea.Topology.star(3, 1e8)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ea.Topology(("a", "b"), [("a", "b")], 1e6), "topology.ends"),
        (lambda: ea.Topology(("a", "b"), [(0, 1.5)], 1e6), "topology.ends"),
        (lambda: ea.Topology(("a", "b", "c"), [(0, 1, 2), (2, 1, 0)], 1e6), "topology.ends"),
        (lambda: ea.Topology(("a", "b"), None, 1e6), "topology.ends"),
        (lambda: ea.Topology("ab", [(0, 1)], 1e6), "sequence of names"),  # type: ignore[arg-type]
        (lambda: ea.Topology(("a", "b"), [(0, 1)], 1e6, medium=[[0], [1, 2]]), "topology.medium"),
        (lambda: ea.Topology.star(3, "fast"), "topology.rate_bits_per_s"),
        (lambda: ea.Topology.star(3, [1e6, 1e6]), "one for each of the 3 devices"),
        (lambda: ea.Topology.mesh(0, 1e6), "devices: is 0"),
        (lambda: ea.Topology.line(2.0, 1e6), "devices: is 2.0"),  # type: ignore[arg-type]
        (lambda: ea.Topology.of_graph(STAR.graph(), 3), "device_names: is 3"),  # type: ignore[arg-type]
        (lambda: STAR.scaled("2"), "factor"),  # type: ignore[arg-type]
        (lambda: STAR.without([9]), "names node 9"),
        (lambda: POOL.replace(parallelisms=5), "parallelisms: is 5"),
        (lambda: POOL.replace(batch=1_000_000_007, micro_batches=4), "must divide"),
    ],
)
def test_networks_that_make_no_sense(make: Callable[[], Any], said: str) -> None:
    """Never a numpy error."""
    with pytest.raises(ea.DataError, match=said):
        make()


@pytest.mark.parametrize(
    "plan",
    [
        ea.Plan("pipeline", (0, 1), (1, 1), (1, 1)),  # type: ignore[arg-type]
        ea.Plan("pipeline", (("a",), (1,)), (1, 1), ((1,), (1,))),  # type: ignore[arg-type]
        ea.Plan("pipeline", ((0.5,), (1,)), (1, 1), ((1,), (1,))),  # type: ignore[arg-type]
        ea.Plan("pipeline", None, None, None),  # type: ignore[arg-type]
        ea.Plan("pipeline", ((0,), (1,)), (1, "1"), ((1,), (1,))),  # type: ignore[arg-type]
        ea.Plan("pipeline", ((0,), (1,)), (1, 1), ((1,), (float("nan"),))),  # type: ignore[arg-type]
    ],
)
def test_plans_of_no_whole_numbers(plan: ea.Plan) -> None:
    """Half a device is none."""
    with pytest.raises(ea.DataError, match="plan"):
        POOL.evaluate(plan)


@pytest.mark.parametrize("ask", [ea.faults, ea.participants, ea.arrangements, ea.parallelisms, ea.plan_pool,
                                 ea.pareto_front])
def test_questions_about_something_else(ask: Callable[[Any], Any]) -> None:
    """What is no pool is named."""
    with pytest.raises(ea.DataError, match=f"{ask.__name__}: is given a int"):
        ask(5)


@pytest.mark.parametrize("ask", [ea.parallelisms, ea.plan_pool, ea.pareto_front])
def test_questions_that_take_problems_only(ask: Callable[[Any], Any]) -> None:
    """The way from a solution to its problem is said."""
    with pytest.raises(ea.DataError, match=r"solution\.problem"):
        ask(POOL.solve("single-best"))


def test_a_missed_deadline_is_moved_no_farther_than_heuristics_need() -> None:
    """The repair is the fastest plan that is easily found, not the first that memory allows."""
    problem = ea.Scenario.random_pool(4, "bert-base-uncased", seed=1).pool_training(ea.Weights(1.0, 0.0, 0.0))
    quick = min(problem.solve(name).require().costs.time_s for name in ("hybrid", "greedy"))  # type: ignore[union-attr]
    late = problem.replace(deadline_s=1e-3 * quick).solve("certified")
    assert late.diagnosis is not None
    assert late.diagnosis.changes["deadline_s"] <= quick * (1.0 + 1e-9)
