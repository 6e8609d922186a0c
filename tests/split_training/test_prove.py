"""The method "prove": small problems against enumeration, middle-sized ones against a MILP, threads, and time."""

from __future__ import annotations

import re
from dataclasses import fields

import milp_twin
import numpy as np
import pytest
from instances import count, sized
from limits_instances import sized_limited
from limits_twin import Barrier, LimitsTwin
from stopped_clock import StoppedClock

import edgealloc as ea


def scenario(users: int, servers: int, load: str, seed: int) -> ea.SplitTraining:
    return ea.Scenario.random(users=users, servers=servers, load=load, seed=seed).split_training()


#: Where moves of one and two users end above the optimum by 0.04 to 1 percent, and the tree has to find it.
TRAPS = [109, 134, 259, 312, 466, 567]


@pytest.mark.parametrize("seed", [*range(count(20)), *TRAPS])
def test_prove_is_exact_where_all_can_be_tried(seed: int) -> None:
    """Where a move of one user may not be enough, the tree still ends at the optimum of method "exact"."""
    rng = np.random.default_rng([seed, 31])
    users, servers, layers = int(rng.integers(3, 8)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    problem = sized(seed, users, servers, layers, extreme=False)
    exact = problem.solve("exact", gap=1e-9).require()
    proven = problem.solve("prove", gap=1e-9, threads=1, time_limit_s=None).require()
    assert proven.status == ea.Status.OPTIMAL
    assert proven.objective == pytest.approx(exact.objective, rel=1e-8)
    assert proven.bound is not None
    assert exact.objective is not None
    assert proven.bound <= exact.objective * (1.0 + 1e-12)


@pytest.mark.parametrize("load", ["proportional", "congested"])
@pytest.mark.parametrize(("users", "servers"), [(20, 3), (30, 4)])
def test_middle_sizes_are_proven(users: int, servers: int, load: str) -> None:
    """20 and 30 users to 1e-6, in both load families, by trees of a size that is searched in a second."""
    for seed in range(count(2)):
        solution = scenario(users, servers, load, seed).solve("prove", gap=1e-6, threads=1, time_limit_s=None)
        assert solution.status == ea.Status.OPTIMAL, (seed, solution.attempts)
        assert max((line.iteration for line in solution.history if line.stage == "branches"), default=0) < 500
        assert solution.gap is not None
        assert solution.gap <= 1e-6, seed
        assert solution.problem.relative_violation(solution.require().allocation) <= 1e-9, seed


MILP = {
    "proportional": scenario(20, 3, "proportional", 3),
    "congested": scenario(12, 3, "congested", 4),
    "limits": sized_limited(2, 10, 3, 6, feasible=True, rounds=False, exactly=False, deadlines=True, caps=True,
                            extreme=False),
}


@pytest.mark.parametrize("name", MILP)
def test_a_second_proof_agrees(name: str) -> None:
    """Outer approximation by HiGHS: neither bound is above the other's allocation, and ours has the twin's cost."""
    problem = MILP[name]
    ours = problem.solve("prove", gap=1e-6, threads=1, time_limit_s=None)
    theirs = milp_twin.prove(problem, gap=1e-4, seconds=1.5)
    assert ours.status == ea.Status.OPTIMAL, ours.attempts
    assert ours.bound is not None
    assert ours.objective is not None
    assert ours.allocation is not None
    assert ours.bound <= theirs.objective * (1.0 + 1e-9)
    assert theirs.bound <= ours.objective * (1.0 + 1e-9)
    place, cut = (np.asarray(part)[None, :] for part in (ours.allocation.server, ours.allocation.local_layers))
    priced = Barrier(LimitsTwin(problem).twin, place, cut).solve().cost[0]
    assert ours.objective == pytest.approx(priced, rel=1e-7)


#: Instances with something for the tree to do, without and with limits, and with users that can be exchanged.
THREADS = {
    "plain": sized(3, 14, 3, 6, extreme=False),
    "congested": scenario(25, 4, "congested", 0),
    "identical users": sized(5, 9, 3, 4, extreme=False, same_users=True),
    "limits": sized_limited(1, 10, 3, 6, feasible=True, rounds=False, exactly=False, deadlines=True, extreme=False),
    "caps and memory": sized_limited(2, 12, 3, 5, feasible=True, rounds=False, deadlines=False, caps=True,
                                     server_memory=True, extreme=False),
    "identical users and caps": sized_limited(4, 8, 3, 4, feasible=True, rounds=False, deadlines=True, caps=True,
                                              extreme=False, same_users=True),
    "rounds": sized_limited(3, 4, 2, 4, feasible=True, rounds=True, extreme=False),
}


@pytest.mark.parametrize("name", THREADS)
def test_threads_change_no_bit(name: str) -> None:
    """Objective, bound, prices and allocation are the same for one thread and two."""
    problem, gap = THREADS[name], 1e-3 if name == "rounds" else 1e-7
    one, two = (problem.solve("prove", gap=gap, threads=threads, time_limit_s=None) for threads in (1, 2))
    assert one.status == two.status == ea.Status.OPTIMAL, one.attempts
    assert (one.objective, one.bound, one.attempts) == (two.objective, two.bound, two.attempts)
    assert one.allocation is not None
    assert two.allocation is not None
    for field in fields(ea.Allocation):
        ours, theirs = (np.asarray(getattr(solved, field.name)) for solved in (one.allocation, two.allocation))
        assert ours.tobytes() == theirs.tobytes(), field.name
    for prices in ("prices", "bound_prices"):
        for key, value in getattr(one, prices).items():
            assert value.tobytes() == getattr(two, prices)[key].tobytes(), (prices, key)


@pytest.mark.parametrize(
    ("stage", "line"), [("start", 2), ("prices", 1), ("prices", 5), ("moves", 1), ("branches", 1), ("branches", 3)]
)
def test_time_limit_leaves_a_bound(stage: str, line: int, clock: StoppedClock) -> None:
    """Stopped early, or in the middle of the tree: an allocation, a bound below it, and word of how many nodes were
    worked."""
    problem = scenario(50, 5, "congested", 2)
    least = problem.solve("certified", gap=1e-3, time_limit_s=None).objective
    solution = problem.solve("prove", gap=0.0, threads=1, on_progress=clock.run_out_at(stage, line))
    assert solution.termination == ea.Termination.TIME_LIMIT
    assert solution.status == ea.Status.FEASIBLE
    assert solution.allocation is not None
    assert problem.relative_violation(solution.allocation) <= 1e-9
    assert solution.bound is not None
    bounds = [seen.bound for seen in solution.history if seen.bound is not None]
    assert bounds == sorted(bounds)
    assert solution.bound >= bounds[-1]
    assert solution.objective is not None
    assert least is not None
    assert solution.bound <= min(solution.objective, least)
    assert ("branches" in [seen.stage for seen in solution.history]) == (stage == "branches")
    worked = [word for word in solution.attempts if re.search(r"branch and bound: stopped after \d+ nodes", word)]
    assert len(worked) == (stage == "branches")
