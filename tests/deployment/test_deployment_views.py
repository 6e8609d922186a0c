"""Frames, facts and pages of deployments: sums against the costs, wishes and reasons against loops over all options."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from deployment_oracle import FLEET, by_hand, every_option, random_deployment, rollout_of

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.formulations.deployment.views import near_limits, runs_nothing
from edgealloc.formulations.deployment.wishes import FREE, FULL, NOTHING, fleet_use, wishes

#: Everything fits everywhere.
PLAIN: dict[str, Any] = {
    "device_memory_bytes": 1e12, "runs": True, "deadline_s": None, "accuracy_floor": 0.0, "hallucination_ceiling": 1.0,
    "device_load_limit": math.inf, "energy_limit_j": None, "hallucination_limit": None, "error_limit": None,
    "inaccessible_limit": None,
}
#: And servers that everybody reaches.
SERVED: dict[str, Any] = {**PLAIN, "query_rate_per_s": 0.01, "load_limit": 0.9, "airtime_limit": None,
                          "uplink_bps": 1e6, "downlink_bps": 1e6}


def _fixed(problem: ea.Deployment, run: ea.Run) -> ea.Outcome:
    return ea.Outcome(run.warm_start)


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method of these tests is gone after them."""
    monkeypatch.setitem(registry._REGISTERED, "deployment",
                        {"fixed": ea.Method("fixed", "the rollout that is given", slow=True, run=_fixed)})


def fitting(problem: ea.Deployment, seed: int) -> ea.Rollout | None:
    """A random rollout that keeps every limit, by trying."""
    numbers = np.random.default_rng(seed)
    lists = [[one for one in every_option(problem, i) if one.fits] for i in range(problem.devices)]
    if not all(lists):
        return None
    for _ in range(40):
        one = rollout_of([options[int(numbers.integers(len(options)))].choice for options in lists])
        if by_hand(problem, one)[1]:
            return one
    return None


@lru_cache
def cases(servers: int = 2, count: int = 30) -> tuple[Any, ...]:
    """Solutions of random rollouts."""
    found = []
    for seed in range(count):
        # without servers little is feasible by chance
        problem = random_deployment(seed, servers=servers, **{} if servers else PLAIN)
        one = fitting(problem, seed)
        if one is not None:
            found.append((problem, one))
    assert len(found) > 4
    return tuple(found)


def solved(servers: int = 2, count: int = 30) -> list[Any]:
    return [problem.solve("fixed", warm_start=one).require() for problem, one in cases(servers, count)]


# ---- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [0, 2])
def test_frames_sum_to_the_costs(servers: int) -> None:
    """Contributions of devices are the objective; what servers carry is what their devices send."""
    for solution in solved(servers):
        problem, costs, allocation = solution.problem, solution.costs, solution.allocation
        frame, servers_frame = solution.to_frame(), solution.servers_frame()
        assert frame["objective"].sum() == pytest.approx(costs.objective, rel=1e-9)
        rate = frame["query_rate_per_s"].to_numpy()
        for column, mean in (("delay_s", costs.mean_delay_s), ("energy_j", costs.mean_energy_j),
                             ("accuracy", costs.accuracy), ("hallucination", costs.hallucination),
                             ("offloaded_share", costs.offloaded_share)):
            assert np.nansum(rate * frame[column]) / rate.sum() == pytest.approx(mean, abs=1e-12)
        assert frame["accessible"].mean() == costs.accessibility
        for i, row in frame.iterrows():
            v = allocation.variant[i]
            assert row["variant_name"] == (problem.variant_names[v] if v >= 0 else "")
            assert row["tokens_per_s"] == (problem.tokens_per_s[i, v] if v >= 0 else 0.0)
            for c, name in enumerate(problem.class_names):
                asked = problem.query_rate_per_s[i, c] > 0.0
                by = problem.server_names[allocation.server[i]] if allocation.offload[i, c] else "device"
                assert row[f"{name}_answered_by"] == (by if asked else "")
                assert math.isnan(row[f"{name}_delay_s"]) != asked
        assert len(servers_frame) == servers
        for s, row in servers_frame.iterrows():
            mine = allocation.server == s
            assert row["devices"] == mine.sum()
            sent = problem.query_rate_per_s[mine] * allocation.offload[mine]
            assert row["query_rate_per_s"] == pytest.approx(sent.sum())
            assert row["load"] == pytest.approx((sent * problem.busy_s[s]).sum())
            assert row["power_w"] == pytest.approx((sent * problem.server_energy_j[s]).sum())
            if sent.sum() > 0.0:
                wait = (sent * problem.busy_s[s]).sum() * row["load"] / (1.0 - row["load"])
                assert row["queue_s"] == pytest.approx(wait / sent.sum())
            assert math.isnan(row["bound_price_load"])


def test_prices_of_links_are_differences() -> None:
    """One more bit/s on the link that a device uses saves what its row says."""
    checked = 0
    for solution in solved():
        problem, frame = solution.problem, solution.to_frame()
        for i, row in frame.iterrows():
            s = solution.allocation.server[i]
            if s < 0 or row["price_per_uplink_bps"] == 0.0:
                continue
            rates = np.array(problem.uplink_bps)
            step = 1e-5 * rates[i, s]
            rates[i, s] += step
            faster = problem.replace(uplink_bps=rates).evaluate(solution.allocation)
            saved = (solution.objective - faster.objective) / step
            assert saved == pytest.approx(row["price_per_uplink_bps"], rel=1e-3)
            checked += 1
    assert checked > 2


# ---- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [0, 2])
def test_the_page_says_what_matters(servers: int) -> None:
    for solution in solved(servers):
        text = str(solution)
        problem, allocation = solution.problem, solution.allocation
        for word in ("of the objective", "a query", "accuracy", "hallucination rate", "of usable speed", "cheapest"):
            assert word in text
        for v in set(allocation.variant.tolist()):
            assert (problem.variant_names[v] if v >= 0 else "nothing installed") in text
        for name in problem.class_names:
            assert name in text
        assert max(len(line) for line in text.splitlines()) <= 200
        assert len(text.splitlines()) <= 60
        for name in FLEET:
            limit = getattr(problem, name)
            if limit is not None:
                assert fleet_use(solution.costs)[name] <= limit + 1e-9
                assert "% used" in text or limit == 0.0


def test_devices_that_run_nothing_are_named_and_served() -> None:
    """A device without memory is named, with the server that answers for it."""
    problem = random_deployment(3, 4, classes=1, **SERVED | {
        "device_memory_bytes": np.array([8e9, 8e9, 0.0, 8e9]), "memory_bytes": 1e9,
        "device_names": ["ann", "bob", "cy", "di"]})
    assert runs_nothing(problem).tolist() == [2]
    assert any("can run no variant: device 2 (cy); 1 of them can be served" in line for line in problem.facts())
    one = rollout_of([(0, -1, (False,)), (1, -1, (False,)), (-1, 1, (True,)), (1, -1, (False,))])
    text = str(problem.solve("fixed", warm_start=one))
    assert "1 device can run no variant: device 2 (cy)" in text
    assert "served by server 1 (1)" in text
    alone = problem.replace(query_rate_per_s=np.array([[0.01], [0.01], [0.0], [0.01]]))
    one = rollout_of([(0, -1, (False,)), (1, -1, (False,)), (-1, -1, (False,)), (1, -1, (False,))])
    assert "nobody, nothing is asked (1)" in str(alone.solve("fixed", warm_start=one))


def test_many_rows_are_counted() -> None:
    problem = random_deployment(0, 60, variants=20, classes=1, servers=20, **SERVED)
    devices = np.arange(60)
    text = str(problem.solve("fixed", warm_start=ea.Rollout(devices % 20, devices % 20, np.ones((60, 1), dtype=bool))))
    assert "and 12 devices with 4 other variants" in text
    assert "and 8 more servers in use" in text
    assert "none" in text


def test_tight_limits_are_named() -> None:
    """Limits of devices that are used to 95 % and more, the tightest first; deadlines as they are promised."""
    problem = random_deployment(1, 2, classes=1, servers=1, **SERVED | {
        "device_memory_bytes": np.array([3.1e9, 8e9]), "memory_bytes": 3e9, "load_limit": 0.5, "prompt_bytes": 0.0,
        "answer_bytes": 0.0, "round_trip_s": 0.0, "busy_s": 2.0, "service_s": None})
    one = rollout_of([(0, -1, (False,)), (-1, 0, (True,))])
    # at a load of one half, a query of 2 s is promised in 4 s
    problem = problem.replace(deadline_s=np.array([[1e3], [4.0 / 0.99]]))
    found = near_limits(problem, one, problem.evaluate(one))
    assert [(i, name) for _, i, name, _ in found] == [(1, "deadline_s"), (0, "device_memory_bytes")]
    assert found[0][0] == pytest.approx(0.99)
    assert found[1][0] == pytest.approx(3.0 / 3.1)
    assert "device 1: deadline 99.0 % used (4 s of 4.04 s, class 0)" in str(problem.solve("fixed", warm_start=one))


def test_facts_count_options() -> None:
    for seed in range(12):
        problem = random_deployment(seed)
        text = "\n".join(problem.facts())
        every = [every_option(problem, i) for i in range(problem.devices)]
        sure = [[one for one in options if (one.fits and one.load <= problem.load_limit[one.choice[1]] * (1 + 1e-9))
                 or (one.fits and one.choice[1] < 0)] for options in every]
        if problem.airtime_limit is not None:
            sure = [[one for one in options if one.choice[1] < 0
                     or one.airtime <= problem.airtime_limit[one.choice[1]] * (1 + 1e-9)] for options in sure]
        lost = sum(not options for options in sure)
        local = sum(any(not any(one.choice[2]) for one in options) for options in sure)
        assert f"{lost} have no option at all" in text
        assert f"{local} device{'s' * (local != 1)} can answer everything asked" in text


# ---- what devices would rather do -----------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [0, 2])
def test_wishes_against_loops(servers: int) -> None:
    """The cheapest change of one device alone, and what stands against it, by trying every option with all others."""
    judged = 0
    for solution in solved(servers, 20):
        problem, now = solution.problem, solution.allocation
        wish = wishes(problem, now)
        own = [(int(now.variant[i]), int(now.server[i]), tuple(now.offload[i].tolist()))
               for i in range(problem.devices)]
        for i in range(problem.devices):
            table = {}
            for one in every_option(problem, i):
                moved = rollout_of([*own[:i], one.choice, *own[i + 1:]])
                table[one.choice] = (*by_hand(problem, moved), one.fits)
            best = min(cost for cost, _, _ in table.values())
            assert wish.saving[i] == pytest.approx(max(solution.objective - best, 0.0), abs=1e-8)
            v, mask, s = wish.wanted.at(i)
            wanted = (v, s, tuple(bool(mask >> c & 1) for c in range(problem.classes)))
            assert table[wanted][0] == pytest.approx(best)
            reason = wish.reason(i)
            if reason == NOTHING:
                continue
            judged += 1
            _, whole, single = table[wanted]
            assert (reason == FREE) == whole
            if single:
                assert reason == FREE or reason.endswith(FULL)
            assert bool(wish.objection(i, v, mask, s)) == (reason != FREE)
        assert sum(wish.held().values()) == problem.devices
    assert judged > 5


def test_best_alone_is_the_cheapest_of_what_fits() -> None:
    for solution in solved(2, 20):
        problem = solution.problem
        wish = wishes(problem, solution.allocation)
        scale = float(problem.weights.delay) / problem.query_rate_per_s.sum()
        for i in range(problem.devices):
            costs = [one.cost + scale * (one.load**2 / (1.0 - one.load)) for one in every_option(problem, i)
                     if one.fits and (one.choice[1] < 0 or (one.load <= problem.load_limit[one.choice[1]] * (1 + 1e-9)
                                      and (problem.airtime_limit is None or one.airtime <= problem.airtime_limit[
                                          one.choice[1]] * (1 + 1e-9))))]
            assert wish.alone_cost[i] == pytest.approx(min(costs, default=math.inf))
