"""Limits: violations are found where they are, infeasibility is proven and told, and the repair works."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instances import build, choose, instance, sized, specs
from twin import Twin

import edgealloc as ea
from edgealloc.formulations.split_training.limits import CONSTRAINTS
from edgealloc.formulations.split_training.resources import optimal_allocation


def feasible(**traits: Any) -> tuple[ea.SplitTraining, ea.Allocation]:
    problem = sized(2, 4, 2, 5, extreme=False, dead_links=False, min_local=1, max_local="split", **traits)
    server, cut = choose(problem, np.random.default_rng(0))
    return problem, optimal_allocation(problem, server, cut)


def changed(allocation: ea.Allocation, name: str, index: int, value: float) -> ea.Allocation:
    array = np.array(getattr(allocation, name))
    array[index] = value
    return replace(allocation, **{name: array})


def only(problem: ea.SplitTraining, allocation: ea.Allocation, name: str) -> float:
    """The violation of `name`, all others being 0 to rounding."""
    found = problem.violations(allocation)
    assert {key for key, amount in found.items() if amount > 1e-6} == {name}, found
    assert problem.relative_violation(allocation) > 1e-9
    return found[name]


def test_a_feasible_allocation_violates_nothing() -> None:
    """Every answer of the resource solve keeps every limit to 1e-12, and the table's names are the keys."""
    for seed in range(60):
        problem = instance(seed)
        allocation = optimal_allocation(problem, *choose(problem, np.random.default_rng(seed)))
        found = problem.violations(allocation)
        assert set(found) <= {one.name for one in CONSTRAINTS}
        optional = {"stability_limit", "device_memory_bytes", "deadline_s", "users_per_server", "server_memory_bytes"}
        always = {one.name for one in CONSTRAINTS} - optional
        assert always <= set(found)
        assert problem.relative_violation(allocation) <= 1e-12, found


@pytest.mark.parametrize(
    ("name", "field"), [("bandwidth_hz", "bandwidth_max_hz"), ("server_frequency_hz", "server_frequency_max_hz")]
)
def test_shared_capacities(name: str, field: str) -> None:
    """An excess of a server's sum is found, in Hz; a negative share is no way out."""
    problem, allocation = feasible()
    m = int(allocation.server[0])
    others = getattr(allocation, name)[(allocation.server == m) & (np.arange(4) != 0)].sum()
    capacity = float(getattr(problem, field)[m])
    over = changed(allocation, name, 0, capacity - float(others) + 1000.0)
    assert only(problem, over, name) == pytest.approx(1000.0, rel=1e-4)
    negative = changed(allocation, name, 0, -5.0)
    assert problem.violations(negative)[name] > 0.0
    assert problem.relative_violation(negative) > 1e-9


def test_ranges_of_power_and_clock() -> None:
    problem, allocation = feasible(power_floor=True, clock_floor=True)
    high = float(problem.power_max_w[1])
    assert only(problem, changed(allocation, "power_w", 1, high + 0.25), "power_w") == pytest.approx(0.25)
    low = float(problem.power_min_w[1])
    assert low > 0.0
    assert only(problem, changed(allocation, "power_w", 1, 0.5 * low), "power_w") == pytest.approx(0.5 * low)
    top = float(problem.user_frequency_max_hz[2])
    too_fast = changed(allocation, "user_frequency_hz", 2, top + 1e6)
    assert only(problem, too_fast, "user_frequency_hz") == pytest.approx(1e6)
    bottom = float(problem.user_frequency_min_hz[2])
    too_slow = changed(allocation, "user_frequency_hz", 2, 0.5 * bottom)
    assert only(problem, too_slow, "user_frequency_hz") == pytest.approx(0.5 * bottom)


def test_cuts_and_servers() -> None:
    """A cut out of range, a server for a fully local user, none for a split one, and a dead link."""
    problem, allocation = feasible(stability_limit=False, device_memory=False)
    assert only(problem, changed(allocation, "local_layers", 0, 0), "local_layers") == 1.0
    nowhere = changed(allocation, "server", 0, -1)
    assert only(problem, nowhere, "server") == 1.0
    local = changed(allocation, "local_layers", 0, problem.layers)
    assert problem.violations(local)["server"] == 1.0
    assert problem.violations(local)["local_layers"] == 1.0
    gain = np.array(problem.gain)
    gain[0, allocation.server[0]] = 0.0
    assert only(problem.replace(gain=gain), allocation, "server") == 1.0


def test_stability_limit_and_memory() -> None:
    problem, allocation = feasible(stability_limit=False, device_memory=False)
    unstable = problem.evaluate(allocation).instability
    limited = problem.replace(stability_limit=unstable * np.array([1.0, 0.5, 1.0, 1.0]))
    assert only(limited, allocation, "stability_limit") == pytest.approx(0.5 * unstable[1])
    need = 1e8 + 2e8 * allocation.local_layers
    small = problem.replace(
        device_memory_bytes=need - np.array([0.0, 0.0, 1e6, 0.0]), memory_bytes_fixed=1e8, memory_bytes_per_layer=2e8
    )
    assert only(small, allocation, "device_memory_bytes") == pytest.approx(1e6)
    assert max(small.replace(device_memory_bytes=need).violations(allocation).values()) <= 1e-3


def test_a_limit_met_exactly_is_met() -> None:
    """The cut whose instability or memory equals the limit to the last bit is allowed."""
    problem, _ = feasible(stability_limit=False, device_memory=False)
    for cut in (1, 2, 3):
        value = problem.stability.value(cut / problem.layers, problem.samples)
        limited = problem.replace(stability_limit=value)
        assert (limited.cuts.high == cut).all()
        below = limited.replace(stability_limit=np.nextafter(value, 0.0))
        assert (below.cuts.high == (cut - 1 if cut > 1 else -1)).all()  # -1: no cut is left
        memory = problem.replace(
            device_memory_bytes=1e8 + cut * 2e8, memory_bytes_fixed=1e8, memory_bytes_per_layer=2e8
        )
        assert (memory.cuts.high == cut).all()


def break_limits(problem: ea.SplitTraining, rng: np.random.Generator) -> ea.SplitTraining:
    """Take every option from some users, by one or several limits at once."""
    users = rng.random(problem.users) < 0.6
    users[rng.integers(problem.users)] = True
    how = set(rng.choice(["stability", "memory", "gain", "local"], rng.integers(1, 4)).tolist())
    changes: dict[str, Any] = {}
    lowest = problem.stability.value(problem.min_local_layers / problem.layers, problem.samples)
    if "stability" in how:
        old = np.full(problem.users, 1e9) if problem.stability_limit is None else problem.stability_limit
        changes["stability_limit"] = np.where(users & np.isfinite(lowest), 0.5 * lowest, old)
    if "memory" in how:
        old = 1e12 if problem.device_memory_bytes is None else problem.device_memory_bytes
        changes["memory_bytes_fixed"] = np.full(problem.users, 1e8)
        changes["device_memory_bytes"] = np.where(users, 1e7, np.maximum(old, 1e12))
    if "gain" in how:
        changes["gain"] = np.where(users[:, None], 0.0, problem.gain)
    if "local" in how and not problem.stability.finite_when_local:
        changes["min_local_layers"] = np.where(users, problem.layers, problem.min_local_layers)
        changes["max_local_layers"] = np.full(problem.users, problem.layers)
    return problem.replace(**changes)


@given(spec=specs(), seed=st.integers(0, 2**32 - 1))
def test_infeasible_is_proven_told_and_repaired(spec: Any, seed: int) -> None:
    """INFEASIBLE if and only if enumeration finds nothing; then every conflict has words and a repair,
    `require` raises with them, and ``problem.replace(**diagnosis.changes)`` can be solved."""
    rng = np.random.default_rng(seed)
    problem = break_limits(build(spec, rng), rng)
    solution = problem.solve(gap=1e-2, threads=1)
    twin = Twin(problem)
    options = [
        twin.cut_allowed(n, problem.layers)
        or ((problem.gain[n] > 0.0).any() and any(twin.cut_allowed(n, c) for c in range(problem.layers)))
        for n in range(problem.users)
    ]
    assert (solution.status == ea.Status.INFEASIBLE) == (not all(options))
    if all(options):
        assert solution.objective is not None
        return
    assert solution.allocation is None
    assert solution.objective is None
    assert solution.diagnosis is not None
    with pytest.raises(ea.InfeasibleError) as caught:
        solution.require()
    names = {one.name for one in CONSTRAINTS}
    for conflict in solution.diagnosis:
        assert conflict.constraint in names
        assert conflict.where.startswith("user ")
        assert conflict.repair
    assert str(next(iter(solution.diagnosis))) in str(caught.value)
    assert "No allocation satisfies every limit" in str(solution)
    repaired = problem.replace(**solution.diagnosis.changes)
    again = repaired.solve(gap=1e-2, threads=1)
    assert again.objective is not None, again
    assert np.isfinite(again.objective)


def test_every_method_says_infeasible() -> None:
    """Whatever the method, an infeasible problem gets the same diagnosis; nothing raises."""
    problem, _ = feasible(stability_limit=False)
    broken = problem.replace(stability_limit=1e-9)
    for name in problem.methods():
        solution = broken.solve(name)
        assert solution.status == ea.Status.INFEASIBLE, name
        assert solution.diagnosis is not None
        assert len(solution.diagnosis) >= problem.users


def test_tighter_limits_trim_only() -> None:
    """A limit takes cuts away and changes no cost: the limited optimum is the enumerated one of the cuts
    left."""
    for seed in range(8):
        problem = sized(seed, 3, 2, 5, extreme=False, stability_limit=True, device_memory=True)
        solution = problem.solve(gap=0.0, threads=1)
        assert solution.objective == pytest.approx(Twin(problem).optimum(), rel=1e-8), seed
