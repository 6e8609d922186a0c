"""Method "alternating": every block against brute force, descent, and the proven bound."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from instances import Spec, build, choose, chunks, count, instance, sized
from limits_instances import limited, witness
from twin import Twin

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.formulations.split_training.alternating import TOLERANCE, Turns, best_cuts
from edgealloc.formulations.split_training.resources import optimal_allocation
from edgealloc.solvers.alternating import Block, alternate


def descent(problem: ea.SplitTraining, seed: int = 0) -> Any:
    """The alternation with everything that the engine knows about it."""
    turns = Turns(problem, Run(seed=seed))
    blocks = [Block("cuts", turns.cuts), Block("resources", turns.resources), Block("association", turns.association)]
    return alternate(blocks, turns.cost, turns.starts(), tolerance=TOLERANCE)


def combinations(problem: ea.SplitTraining, a: ea.Allocation) -> list[ea.Allocation]:
    """Every choice of cuts at the association and resources of `a`; fully local where the resources may be freed."""
    options = []
    for n in range(problem.users):
        low, high = int(problem.cuts.low[n]), int(problem.cuts.high[n])
        mine = list(range(low, high + 1)) if a.server[n] >= 0 else []
        may_leave = problem.cuts.local[n] and problem.resource_sense == "at_most"
        options.append(mine + ([problem.layers] if may_leave or a.server[n] < 0 else []))
    found = []
    for cuts in itertools.product(*options):
        on = (np.array(cuts) < problem.layers).astype(float)
        found.append(replace(
            a, local_layers=np.array(cuts), server=np.where(on > 0.0, a.server, -1), power_w=a.power_w * on,
            bandwidth_hz=a.bandwidth_hz * on, server_frequency_hz=a.server_frequency_hz * on,
        ))
    return found


# ---- blocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", chunks(20, 2), ids=str)
def test_cut_block_tries_all_cuts(seeds: range) -> None:
    """The twin's plain objective over every combination of cuts is least where the block says."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        problem = instance(seed, users=3, layers=4)
        twin = Twin(problem)
        a = witness(problem, *choose(problem, rng))
        got = twin.objective(best_cuts(problem, a))
        assert got <= min(twin.objective(one) for one in combinations(problem, a)) * (1.0 + 1e-9), seed


@pytest.mark.parametrize("traits", [
    {"rounds": True, "deadlines": False, "caps": False, "server_memory": False},
    {"deadlines": True, "penalties": True, "rounds": False, "caps": False, "server_memory": False},
    {"deadlines": True, "penalties": False, "caps": False, "server_memory": False},
    {"server_memory": True, "deadlines": False, "caps": False},
    {},
], ids=["rounds", "soft", "deadlines", "memory", "any"])
def test_cut_block_under_limits(traits: dict[str, Any]) -> None:
    """Of all combinations that keep the limits none is better; under a server's memory the block still keeps it, and is
    no worse than where it began."""
    for seed in range(6):
        problem = limited(seed, users=3, layers=4, feasible=True, **traits)
        if seed % 2:
            # where a second costs little, what is cheapest is often late
            problem = problem.replace(weights=replace(problem.weights, delay=1e-3 * np.asarray(problem.weights.delay)))
        rng = np.random.default_rng(seed)
        server, cut = choose(problem, rng)
        starts = [optimal_allocation(problem, server, cut)]
        if not problem.violations(witness(problem, server, cut)).get("deadline_s"):
            starts.append(witness(problem, server, cut))
        for a in starts:
            rivals = [one for one in combinations(problem, a) if problem.relative_violation(one) <= 1e-9]
            if not rivals:
                continue
            found = best_cuts(problem, a)
            least = min(problem.evaluate(one).objective for one in rivals)
            if problem.server_memory_bytes is None:
                assert problem.relative_violation(found) <= 1e-9, seed
                assert problem.evaluate(found).objective <= least * (1.0 + 1e-9), seed
            elif problem.relative_violation(a) <= 1e-9:
                assert problem.relative_violation(found) <= 1e-9, seed
                assert problem.evaluate(found).objective <= problem.evaluate(a).objective * (1.0 + 1e-9), seed


def test_what_broken_limits_cost() -> None:
    """The objective while limits are kept; more than a hundred times that when one is broken, and the more, the more it
    is."""
    for seed in range(10):
        problem = limited(seed, feasible=True, deadlines=True, penalties=False, rounds=False)
        solution = problem.solve("certified", gap=1e-2, threads=1)
        if solution.allocation is None:
            continue
        turns = Turns(problem, Run())
        assert turns.cost(solution.allocation) == solution.objective
        costs = []
        for slower in (10.0, 20.0):
            late = replace(solution.allocation, user_frequency_hz=problem.user_frequency_max_hz / slower,
                           server_frequency_hz=solution.allocation.server_frequency_hz / slower)
            if problem.violations(late)["deadline_s"] > 0.0:
                costs.append(turns.cost(late))
                assert costs[-1] > 100.0 * problem.evaluate(late).objective
                assert costs[-1] > problem.violations(late)["deadline_s"] * turns.data.user["penalty"].min()
        assert costs == sorted(set(costs))


def test_cut_block_finds_its_way_back_into_memory() -> None:
    """Three users at cut 1 need 9 GB of a server of 4 GB; at cut 3 they need 3."""
    problem = sized(1, 3, 1, 4, extreme=False, fu=False, min_local=1, max_local="split", stability_limit=False,
                    device_memory=False, dead_links=False)
    problem = problem.replace(server_memory_bytes=4e9, server_memory_bytes_per_layer=1e9)
    a = witness(problem, np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64))
    assert problem.violations(a)["server_memory_bytes"] == 5e9
    found = best_cuts(problem, a)
    assert problem.relative_violation(found) <= 1e-9
    rivals = [one for one in combinations(problem, a) if problem.relative_violation(one) <= 1e-9]
    least = min(problem.evaluate(one).objective for one in rivals)
    assert problem.evaluate(found).objective == pytest.approx(least, rel=1e-9)


def test_resource_block_is_the_twins_optimum() -> None:
    """Golden sections over prices and closed forms, written apart, find the same least cost."""
    for seed in range(6):
        problem = instance(seed, users=3)
        server, cut = choose(problem, np.random.default_rng(seed))
        turns = Turns(problem, Run())
        found = turns.resources(witness(problem, server, cut))
        assert problem.evaluate(found).objective == pytest.approx(Twin(problem).at(server, cut), rel=1e-7)


def test_resource_block_agrees_with_the_cone_solver() -> None:
    problem = sized(4, 4, 2, extreme=False)
    start = witness(problem, *choose(problem, np.random.default_rng(4)))
    found = Turns(problem, Run()).resources(start)
    second = problem.solve("convex", warm_start=start).require()
    assert problem.evaluate(found).objective == pytest.approx(second.objective, rel=1e-6)


@pytest.mark.parametrize("exactly", [False, True])
def test_association_block_leaves_no_single_move(exactly: bool) -> None:
    """With cuts held no user is better off on another server, or alone, at new shares; fully local users may come in
    with any cut."""
    for seed in range(10):
        problem = instance(seed, users=3, layers=3)
        if exactly:
            problem = problem.replace(resource_sense="exactly")
        turns = Turns(problem, Run())
        a = turns.association(turns.at(*choose(problem, np.random.default_rng(seed))))
        now = turns.cost(a)
        for n in range(problem.users):
            held = a.server[n] >= 0
            cuts = [int(a.local_layers[n])] if held else range(int(problem.cuts.low[n]), int(problem.cuts.high[n]) + 1)
            there = [(m, cut) for m in range(problem.servers) for cut in cuts if problem.gain[n, m] > 0.0]
            if problem.cuts.local[n]:
                there.append((-1, problem.layers))
            for m, cut in there:
                server, local_layers = a.server.copy(), a.local_layers.copy()
                server[n], local_layers[n] = m, cut
                moved = optimal_allocation(problem, server, local_layers)
                assert problem.evaluate(moved).objective >= now * (1.0 - 1e-9), (seed, n, m, cut)


# ---- the method ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", chunks(60, 3), ids=str)
def test_never_below_the_certified_bound(seeds: range) -> None:
    """LOCALLY_SOLVED without a bound of its own, and no objective below the proven one."""
    for seed in seeds:
        problem = instance(seed)
        solution = problem.solve("alternating", seed=seed, threads=1).require()
        assert solution.status is ea.Status.LOCALLY_SOLVED, seed
        assert solution.termination is ea.Termination.CONVERGED
        assert solution.bound is None
        proven = problem.solve("certified", gap=1e-2, time_limit_s=2.0, threads=1)
        assert solution.objective is not None
        assert proven.bound is not None
        assert solution.objective >= proven.bound * (1.0 - 1e-11), seed
        assert not any("rejected" in line or "failed" in line for line in solution.attempts), (seed, solution.attempts)


@pytest.mark.parametrize("seed", range(count(6)))
def test_descent_is_monotone(seed: int) -> None:
    """From every start objectives only fall, no block is rejected, and the best end is returned."""
    problem = instance(seed, users=6) if seed % 2 else limited(seed, feasible=True)
    found = descent(problem, seed)
    ends = []
    for start in found.history:
        assert all(after <= before for before, after in itertools.pairwise(start.objectives))
        ends.append(start.objectives[-1])
    assert found.objective == min(ends)
    assert all(block.failed == 0 for block in found.blocks)
    assert all(block.rejected == 0 for block in found.blocks)


@pytest.mark.parametrize("seeds", chunks(10, 2), ids=str)
def test_limits(seeds: range) -> None:
    """Deadlines, caps, memory, equalities and rounds: an answer keeps them all, or none is given and the limit is
    named; and never is one below the bound."""
    answers = 0
    for seed in seeds:
        problem = limited(seed, users=3, layers=4, feasible=True)
        solution = problem.solve("alternating", threads=1)
        if solution.objective is None:
            assert any("it breaks" in line for line in solution.attempts), (seed, solution.attempts)
            continue
        answers += 1
        assert solution.allocation is not None
        assert problem.relative_violation(solution.allocation) <= 1e-9
        proven = problem.solve("certified", gap=1e-2, time_limit_s=2.0, threads=1)
        if proven.bound is not None:
            assert solution.objective >= proven.bound * (1.0 - 1e-11), seed
    assert answers >= 0.9 * len(seeds)


def test_infeasible_problems_do_not_crash() -> None:
    for seed in range(5):
        problem = limited(seed, feasible=False)
        solution = problem.solve("alternating", threads=1)
        assert solution.objective is None
        assert solution.status in (ea.Status.NO_SOLUTION, ea.Status.INFEASIBLE)


def test_no_worse_than_its_starts() -> None:
    """Greedy, gucro, edge-only and the largest cuts are where it begins, or lie on the way."""
    for seed in range(5):
        problem = sized(seed, 12, 3, extreme=False)
        objective = problem.solve("alternating").objective
        assert objective is not None
        for name in ("greedy", "edge-only", "local-only"):
            other = problem.solve(name).objective
            assert other is not None
            assert objective <= other * (1.0 + 1e-9), (seed, name)


def test_warm_start() -> None:
    """It is where the descent begins; one that breaks a limit is named and not used."""
    problem = sized(6, 8, 3, extreme=False)
    best = problem.solve("certified", gap=1e-4).require()
    solution = problem.solve("alternating", warm_start=best)
    assert solution.objective is not None
    assert best.objective is not None
    assert best.allocation is not None
    assert solution.objective <= best.objective * (1.0 + 1e-12)
    broken = replace(best.allocation, bandwidth_hz=2.0 * best.allocation.bandwidth_hz)
    solution = problem.solve("alternating", warm_start=broken).require()
    assert "not used" in solution.attempts[0]


def test_same_seed_same_bits() -> None:
    problem = sized(7, 15, 3)
    first, second = (problem.solve("alternating", seed=3, threads=t).require() for t in (1, 2))
    assert first.objective == second.objective
    assert first.attempts == second.attempts
    assert first.allocation is not None
    assert second.allocation is not None
    assert first.allocation.bandwidth_hz.tobytes() == second.allocation.bandwidth_hz.tobytes()


def test_time_limit_and_interruption_keep_the_best() -> None:
    problem = sized(1, 60, 4, extreme=False)
    full = problem.solve("alternating").require()
    stopped = problem.solve("alternating", time_limit_s=1e-3).require()
    assert stopped.termination is ea.Termination.TIME_LIMIT
    assert stopped.status is ea.Status.FEASIBLE

    def interrupt(line: ea.Progress) -> None:
        if line.stage == "alternating" and line.iteration == 1:
            raise KeyboardInterrupt

    halfway = problem.solve("alternating", on_progress=interrupt).require()
    assert halfway.termination is ea.Termination.INTERRUPTED
    assert full.objective is not None
    assert halfway.objective is not None
    assert stopped.objective is not None
    assert full.objective <= halfway.objective <= stopped.objective
    reported = [line.objective for line in full.history if line.objective is not None]
    assert all(after <= before for before, after in itertools.pairwise(reported))


def test_the_smallest_problem() -> None:
    """One user, one server, one layer: nothing to alternate about."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        problem = build(Spec(users=1, servers=1, layers=1, min_local=0, max_local="split"), rng)
        assert problem.solve("alternating").require().objective == pytest.approx(
            problem.solve("certified").require().objective, rel=1e-9)
