"""Explanations of rollouts: parts of the gap against the bound by enumeration, alternatives against their costs."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from deployment_oracle import FLEET, every_option, least_objective, random_deployment

import edgealloc as ea
from edgealloc.formulations.deployment.explain import explain

#: Servers that everybody reaches and that have little time.
CROWDED: dict[str, Any] = {
    "uplink_bps": 1e6, "downlink_bps": 1e6, "deadline_s": None, "accuracy_floor": 0.0, "hallucination_ceiling": 1.0,
}


@lru_cache
def cases(method: str) -> tuple[Any, ...]:
    """Small problems that have an answer by a method."""
    found = []
    for seed in range(16):
        problem = random_deployment(seed, **CROWDED if seed % 2 else {})
        solution = problem.solve(method)
        if solution.allocation is not None:
            found.append(solution)
    assert len(found) > 5
    return tuple(found)


def _price(solution: Any, name: str, s: int = 0) -> float:
    return float(np.asarray(solution.bound_prices[name]).ravel()[s]) if name in solution.bound_prices else 0.0


def by_enumeration(solution: Any) -> float:
    """The bound that the prices prove, by every option of every device and a fine grid of loads."""
    problem = solution.problem
    scale = float(problem.weights.delay) / float(problem.query_rate_per_s.sum())
    total = 0.0
    for i in range(problem.devices):
        least = math.inf
        for one in every_option(problem, i):
            s = one.choice[1]
            if not one.fits or (s >= 0 and one.load > problem.load_limit[s] * (1 + 1e-9)):
                continue
            if s >= 0 and problem.airtime_limit is not None and one.airtime > problem.airtime_limit[s] * (1 + 1e-9):
                continue
            cost = one.cost + sum(_price(solution, name) * one.means[name] for name in FLEET
                                  if getattr(problem, name) is not None)
            if s >= 0:
                cost += _price(solution, "load_limit", s) * one.load
                cost += _price(solution, "airtime_limit", s) * one.airtime
            least = min(least, cost)
        total += least
    for s in range(problem.servers):
        loads = np.linspace(0.0, float(problem.load_limit[s]), 200_001)
        total += float((scale * loads**2 / (1.0 - loads) - _price(solution, "load_limit", s) * loads).min())
        if _price(solution, "airtime_limit", s) > 0.0:
            total -= _price(solution, "airtime_limit", s) * float(problem.airtime_limit[s])
    for name in FLEET:
        limit = getattr(problem, name)
        if limit is not None:
            total -= _price(solution, name) * float(limit)
    return total


@pytest.mark.parametrize("method", ["certified", "greedy"])
def test_parts_of_the_gap_add_up(method: str) -> None:
    """Objective less the bound by prices is the sum of the parts; that bound is right, and never above the optimum."""
    for solution in cases(method):
        found = explain(solution.problem, solution)
        totals = found.totals
        assert found.proven == bool(solution.bound_prices)
        parts = totals["reduced_costs"] + totals["queues"] + totals["unused"]
        assert totals["objective"] - totals["price_bound"] == pytest.approx(parts, rel=1e-7, abs=1e-9)
        by_hand = by_enumeration(solution)
        # loads that nobody could send are left out of the sharper one
        assert totals["price_bound"] >= by_hand - 1e-7 * max(1.0, abs(by_hand))
        assert totals["price_bound"] <= totals["objective"] * (1.0 + 1e-9) + 1e-12
        assert found.to_frame()["reduced_cost"].sum() == pytest.approx(totals["reduced_costs"])
        assert found.servers_frame()["part_of_gap"].sum() <= totals["queues"] + totals["unused"] + 1e-9


def test_bounds_by_prices_are_bounds() -> None:
    for solution in cases("certified")[:10]:
        optimum = least_objective(solution.problem)
        assert explain(solution.problem, solution).totals["price_bound"] <= optimum + 1e-8 * max(1.0, abs(optimum))


def test_prices_of_the_certificate_prove_most_of_it() -> None:
    """With many devices the prices alone prove nearly all of the bound."""
    problem = random_deployment(2, 150, variants=4, classes=2, servers=3, **CROWDED | {
        "query_rate_per_s": 0.004, "device_memory_bytes": 8e9, "runs": True, "energy_limit_j": 20.0,
        "hallucination_limit": None, "error_limit": None, "inaccessible_limit": None, "airtime_limit": None,
        "load_limit": 0.6, "device_load_limit": math.inf, "weights": ea.Weights(1.0, 0.05, 0.0)})
    solution = problem.solve("certified", gap=1e-3).require()
    totals = explain(problem, solution).totals
    assert totals["objective"] - totals["price_bound"] < 0.01 * totals["objective"]


@pytest.mark.parametrize("method", ["certified", "greedy"])
def test_alternatives_cost_what_is_said(method: str) -> None:
    """Differences at the prices, by the oracle's costs of both options."""
    checked = 0
    for solution in cases(method)[:8]:
        problem = solution.problem
        found = explain(problem, solution)
        for i in range(problem.devices):
            table = {}
            for one in every_option(problem, i):
                v, s, sends = one.choice
                cost = one.cost + sum(_price(solution, name) * one.means[name] for name in FLEET
                                      if getattr(problem, name) is not None)
                if s >= 0:
                    cost += (_price(solution, "load_limit", s) * one.load
                             + _price(solution, "airtime_limit", s) * one.airtime)
                table[v, sum(2**c for c, sent in enumerate(sends) if sent), s] = cost
            now = found.wish.now.at(i)
            listed = found.alternatives(i, 100)
            assert [more for more, _, _ in listed] == sorted(more for more, _, _ in listed)
            for more, option, objection in listed:
                assert option != now
                assert more == pytest.approx(table[option] - table[now], rel=1e-6, abs=1e-9)
                assert bool(objection) == bool(found.wish.against(i, *option) or found.wish.crowded(i, *option))
                checked += 1
            if min(table.values()) < table[now] - 1e-9:
                assert listed[0][0] == pytest.approx(min(table.values()) - table[now])
    assert checked > 50


@pytest.mark.parametrize("method", ["certified", "greedy", "exact"])
def test_explanations_read_well(method: str) -> None:
    for solution in cases(method)[:6]:
        found = solution.explain()
        text = found.text()
        assert len(text.splitlines()) <= 60
        assert max(len(line) for line in text.splitlines()) <= 200
        for word in ("together: objective", "because of", "the dearest", "servers"):
            assert word in text
        assert ("no rollout that keeps the limits costs less" in text) == found.proven
        record = found.record()
        assert len(record["devices"]) == solution.problem.devices
        assert len(record["servers"]) == solution.problem.servers
        assert str(found) == text
        assert solution.problem.device_label(0) in found.device_text(0)


def test_without_servers() -> None:
    problem = random_deployment(5, servers=0, device_memory_bytes=1e12, runs=True, deadline_s=None, accuracy_floor=0.0,
                                hallucination_ceiling=1.0, device_load_limit=math.inf, energy_limit_j=None,
                                hallucination_limit=None, error_limit=None, inaccessible_limit=None)
    text = problem.solve("device-only").explain().text()
    assert "there are no servers" in text
