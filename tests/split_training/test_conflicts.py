"""Infeasible problems: proof, smallest conflicting set, and a repair that works."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from instances import chunks, sized
from limits_instances import limited, sized_limited
from limits_twin import LimitsTwin

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.formulations.split_training.conflicts import _irreducible, _limits, _without, judge


@pytest.mark.parametrize("seeds", chunks(12, 3), ids=str)
def test_the_repair_mends(seeds: range) -> None:
    """Out of reach by construction: proven infeasible, and the changes of the diagnosis leave an allocation."""
    for seed in seeds:
        problem = limited(seed, feasible=False)
        solution = problem.solve(gap=1e-3, threads=1, time_limit_s=None)
        assert solution.status == ea.Status.INFEASIBLE, (seed, solution.attempts)
        assert solution.allocation is None
        assert solution.diagnosis is not None, seed
        assert len(solution.diagnosis) > 0, seed
        repaired = problem.replace(**solution.diagnosis.changes)
        mended = repaired.solve(gap=1e-2, threads=1, time_limit_s=None)
        assert mended.allocation is not None, (seed, solution.diagnosis.text(), mended.attempts)
        assert repaired.relative_violation(mended.allocation) <= 1e-9, seed


def test_limits_that_clash_only_together() -> None:
    """Random limits that no single user is to blame for: where enumeration finds nothing, the repair mends it."""
    clashes = 0
    for seed in range(20):
        problem = limited(seed, deadlines=True, rounds=False)
        try:
            optimum = LimitsTwin(problem).optimum().objective
        except ArithmeticError:
            continue
        if math.isfinite(optimum):
            continue
        clashes += 1
        solution = problem.solve(threads=1, time_limit_s=None)
        assert solution.status == ea.Status.INFEASIBLE, (seed, solution.attempts)
        assert solution.diagnosis is not None, seed
        mended = problem.replace(**solution.diagnosis.changes).solve(gap=1e-2, threads=1, time_limit_s=None)
        assert mended.allocation is not None, (seed, solution.diagnosis.text())
    assert clashes >= 3


# ---- cases whose answer is known -------------------------------------------------------------------


def plain(users: int, servers: int, seed: int = 0) -> ea.SplitTraining:
    """No limits yet, and nobody trains fully locally."""
    return sized(seed, users, servers, 3, extreme=False, max_local="split", dead_links=False, clock_floor=False,
                 stability_limit=False, device_memory=False, min_local=0, fixed_delay=False)


def fastest(problem: ea.SplitTraining, n: int, m: int) -> float:
    """Response of user n with the whole of server m at its fastest cut."""
    best = math.inf
    for cut in range(int(problem.cuts.low[n]), int(problem.cuts.high[n]) + 1):
        costs = problem.evaluate(ea.Allocation(
            server=np.full(problem.users, m), local_layers=np.full(problem.users, cut),
            power_w=problem.power_max_w, bandwidth_hz=np.full(problem.users, problem.bandwidth_max_hz[m]),
            user_frequency_hz=problem.user_frequency_max_hz,
            server_frequency_hz=np.full(problem.users, problem.server_frequency_max_hz[m])))
        best = min(best, float(costs.response_s[n]))
    return best


def one_place() -> ea.SplitTraining:
    return plain(2, 1).replace(users_per_server=[1])


def two_places_for_three() -> ea.SplitTraining:
    return plain(3, 2).replace(users_per_server=[1, 1])


def memory_for_one() -> ea.SplitTraining:
    return plain(2, 1).replace(server_memory_bytes=[1e9], server_memory_bytes_fixed=0.6e9,
                               server_memory_bytes_per_layer=0.0)


def deadlines_feasible_alone() -> ea.SplitTraining:
    problem = plain(2, 1)
    return problem.replace(deadline_s=[1.01 * fastest(problem, n, 0) for n in range(2)])


def deadline_out_of_reach() -> ea.SplitTraining:
    problem = plain(2, 1)
    return problem.replace(deadline_s=[0.9 * fastest(problem, 0, 0), math.inf])


def one_linked_server() -> ea.SplitTraining:
    """Users 0 and 1 reach server 0 only, which has room for one; user 2 and server 1 have no part in it."""
    problem = plain(3, 2)
    gain = np.array(problem.gain)
    gain[:2, 1] = 0.0
    return problem.replace(gain=gain, users_per_server=[1, 3])


def fast_server_with_one_place() -> ea.SplitTraining:
    """Server 0 keeps both deadlines, server 1 neither; server 0 has one place."""
    problem = plain(2, 2)
    slow = np.array(problem.server_flops_per_cycle)
    slow[1] *= 1e-3
    few = np.array(problem.gain)
    few[:, 1] = few[:, 0] * 1e-3
    problem = problem.replace(server_flops_per_cycle=slow, gain=few, min_local_layers=0)
    alone = [4.0 * fastest(problem, n, 0) for n in range(2)]
    assert all(fastest(problem, n, 1) > alone[n] for n in range(2))
    return problem.replace(deadline_s=alone, users_per_server=[1, 2])


CASES: dict[str, tuple[Any, set[tuple[str, int]]]] = {
    "one place": (one_place, {("users_per_server", 0)}),
    "two places for three": (two_places_for_three, {("users_per_server", 0), ("users_per_server", 1)}),
    "memory for one": (memory_for_one, {("server_memory_bytes", 0)}),
    "deadlines feasible alone": (deadlines_feasible_alone, {("deadline_s", 0), ("deadline_s", 1)}),
    "deadline out of reach": (deadline_out_of_reach, {("deadline_s", 0)}),
    "one linked server": (one_linked_server, {("users_per_server", 0)}),
    "fast server with one place": (
        fast_server_with_one_place, {("users_per_server", 0), ("deadline_s", 0), ("deadline_s", 1)}),
}
#: What may stand beside them: resources that would keep the deadlines if they were plenty.
RESOURCES = {"bandwidth_max_hz", "server_frequency_max_hz"}


@pytest.mark.parametrize("name", CASES)
def test_the_conflicting_set_is_irreducible(name: str) -> None:
    """The set is the known one, resources aside; enumeration finds nothing within it, and something without any one
    of its limits."""
    problem = CASES[name][0]()
    limits = _limits(problem)
    kept, complete = _irreducible(problem, limits, Run(gap=0.0, time_limit_s=math.inf, threads=1))
    assert complete
    found = {(one.field, one.index) for one in kept}
    assert {one for one in found if one[0] not in RESOURCES} == CASES[name][1]
    if any(field == "deadline_s" for field, _ in found):
        assert RESOURCES & {field for field, _ in found}
    else:
        assert found == CASES[name][1]
    rest = [one for one in limits if one not in kept]
    assert math.isinf(LimitsTwin(_without(problem, rest)).optimum().objective)
    for one in kept:
        assert math.isfinite(LimitsTwin(_without(problem, [*rest, one])).optimum().objective), one


@pytest.mark.parametrize("name", CASES)
def test_the_diagnosis_names_what_is_known(name: str) -> None:
    """Every limit of the conflict has a row with its place; `require` raises with limit and repair."""
    problem = CASES[name][0]()
    solution = problem.solve(threads=1)
    assert solution.status == ea.Status.INFEASIBLE
    assert solution.diagnosis is not None
    rows = {(row.constraint, row.where) for row in solution.diagnosis}
    for field, index in CASES[name][1]:
        assert (field, f"{'user' if field == 'deadline_s' else 'server'} {index}") in rows
    mended = problem.replace(**solution.diagnosis.changes).solve(threads=1)
    assert mended.allocation is not None
    with pytest.raises(ea.InfeasibleError) as caught:
        solution.require()
    for field in solution.diagnosis.changes:
        assert f"raise {field} from" in str(caught.value)
    for row in solution.diagnosis:
        assert row.repair in str(caught.value)


def test_names_are_in_the_text() -> None:
    """Phones and servers by name where they have one."""
    problem = deadlines_feasible_alone().replace(user_names=["Ada's phone", "watch"], server_names=["roof"],
                                                 users_per_server=[1])
    solution = problem.solve(threads=1)
    assert solution.diagnosis is not None
    assert "server 0 (roof)" in solution.diagnosis.text()
    timed = deadlines_feasible_alone().replace(user_names=["Ada's phone", "watch"])
    diagnosis = timed.solve(threads=1).diagnosis
    assert diagnosis is not None
    for name in ("user 0 (Ada's phone)", "user 1 (watch)"):
        assert name in diagnosis.text()


def test_a_deadline_out_of_reach_says_how_fast_it_goes() -> None:
    problem = deadline_out_of_reach()
    diagnosis = problem.solve(threads=1).diagnosis
    assert diagnosis is not None
    row = next(row for row in diagnosis if row.constraint == "deadline_s")
    assert f"a step takes {fastest(problem, 0, 0):.6g} s" in row.repair
    assert row.amount >= fastest(problem, 0, 0) - problem.deadline_s[0]


@pytest.mark.parametrize("seed", range(5))
def test_judge_agrees_with_enumeration(seed: int) -> None:
    """The verdict on mixed limits, feasible or not, and the cap of a repair is the least that is possible."""
    run = Run(gap=0.0, time_limit_s=math.inf, threads=1)
    for feasible in (True, False):
        problem = sized_limited(seed, 3, 2, 4, feasible=feasible, rounds=False, extreme=False)
        assert judge(problem, run).feasible is feasible
    short = plain(4, 2, seed).replace(users_per_server=[1, 1])
    diagnosis = short.solve(threads=1).diagnosis
    assert diagnosis is not None
    assert int(np.sum(diagnosis.changes["users_per_server"])) == 4
