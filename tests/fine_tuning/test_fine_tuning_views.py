"""Frames, pages and explanations of fine-tuning: sums against the costs, reasons against loops over all options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fleets import by_hand, random_fleet_problem

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.formulations.fine_tuning.explain import explain
from edgealloc.formulations.fine_tuning.views import near_limits
from edgealloc.formulations.fine_tuning.wishes import FREE, FULL, NOTHING, wishes

PRICES = {"server_memory_bytes": 2e-8, "server_busy_s": 0.5, "airtime_s": 0.25}


def _fixed(problem: ea.FineTuning, run: ea.Run) -> ea.Outcome:
    """The assignment given; with seed 1 a bound by prices of servers that have limits, with seed 2 one without."""
    priced = {name: np.where(np.isfinite(getattr(problem, name)), price, 0.0) for name, price in PRICES.items()}
    return ea.Outcome(run.warm_start, bound=0.0 if run.seed else None, bound_prices=priced if run.seed == 1 else {})


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method of these tests is gone after them."""
    fixed = ea.Method("fixed", "the assignment that is given", slow=True, proves=True, run=_fixed)
    monkeypatch.setitem(registry._REGISTERED, "fine-tuning", {"fixed": fixed})


def feasible(problem: ea.FineTuning, seed: int = 0) -> ea.Assignment | None:
    """A random assignment that keeps every limit, by trying."""
    numbers = np.random.default_rng(seed)
    allowed = problem.options.allowed.reshape(problem.jobs, -1)
    if not allowed.any(axis=1).all():
        return None
    for _ in range(60):
        option = np.array([numbers.choice(np.flatnonzero(row)) for row in allowed])
        one = ea.Assignment(option // (1 + problem.servers), option % (1 + problem.servers) - 1)
        if by_hand(problem, one)[1]:
            return one
    return None


def solved(seed: int, jobs: int = 4, servers: int = 2, prove: int = 0, **changes: Any) -> Any:
    # without servers little is feasible by chance
    alone_they_fit: dict[str, Any] = {} if servers else {"device_memory_bytes": 13e9, "rounds": 0, "deadline_s": None}
    problem = random_fleet_problem(seed, jobs=jobs, servers=servers, **alone_they_fit | changes)
    one = feasible(problem, seed)
    return None if one is None else problem.solve("fixed", warm_start=one, seed=prove)


def cases(servers: int = 2, prove: int = 0, count: int = 25) -> list[Any]:
    found = [solved(seed, servers=servers, prove=prove) for seed in range(count)]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("servers", [0, 2])
def test_frames_sum_to_the_costs(servers: int) -> None:
    """Contributions of the jobs are the objective; what servers are used for is what their jobs take."""
    every = cases(servers)
    assert len(every) > 3
    for solution in every:
        problem, costs, allocation = solution.problem, solution.costs, solution.allocation
        frame, servers_frame = solution.to_frame(), solution.servers_frame()
        assert frame["objective"].sum() == pytest.approx(costs.objective, rel=1e-12)
        assert frame["energy_j"].sum() == pytest.approx(costs.total_energy_j)
        assert (frame["time_s"] == frame["compute_s"] + frame["upload_s"] + frame["download_s"]).all()
        assert len(servers_frame) == servers
        assert (frame["place"] == allocation.place).all()
        for i, row in frame.iterrows():
            assert row["method_name"] == problem.method_names[allocation.method[i]]
            own = allocation.place[i] < 0
            assert row["place_name"] == ("device" if own else problem.server_names[allocation.place[i]])
            limit = problem.device_memory_bytes if own else problem.server_memory_bytes
            assert row["memory_limit_bytes"] == limit[i if own else allocation.place[i]]
        for s, row in servers_frame.iterrows():
            mine = frame[frame["place"] == s]
            assert row["jobs"] == len(mine)
            assert row["memory_bytes"] == pytest.approx(mine["memory_bytes"].sum())
            assert row["busy_s"] == pytest.approx(mine["compute_s"].sum())
            assert row["energy_j"] == pytest.approx(mine["server_energy_j"].sum())
            assert row["price_per_flops"] == pytest.approx(mine["price_per_flops"].sum())
            for name in ("memory", "busy", "airtime"):
                assert math.isnan(row[f"{name}_share"]) or row[f"{name}_share"] <= 1.0 + 1e-9
            assert math.isnan(row["bound_price_memory_per_byte"])


def test_price_of_a_job_is_a_difference() -> None:
    """One more FLOP/s where a job is trained saves what the frame says."""
    solution = solved(3, jobs=3, device_memory_bytes=1e12, deadline_s=None, energy_limit_j=None, rounds=0,
                      quality_floor=0.0)
    problem, frame = solution.problem, solution.to_frame()
    for i, row in frame.iterrows():
        name, at = ("device_flops_per_s", i) if row["place"] < 0 else ("server_flops_per_s", row["place"])
        speed = np.array(getattr(problem, name))
        step = 1e-6 * speed[at]
        speed[at] += step
        faster = problem.replace(**{name: speed}).evaluate(solution.allocation)
        own = frame["objective"][i] - problem.replace(**{name: speed}).solve(
            "fixed", warm_start=solution.allocation).to_frame()["objective"][i]
        assert own / step == pytest.approx(row["price_per_flops"], rel=1e-4)
        assert faster.objective <= solution.objective


def test_the_page_says_what_matters() -> None:
    for solution in [*cases(), *cases(0)]:
        text = str(solution)
        problem = solution.problem
        for word in ("of the objective", "largest", "devices", "cheapest", "jobs have the cheapest option"):
            assert word in text
        for k in set(solution.allocation.method.tolist()):
            assert problem.method_names[k] in text
        assert max(len(line) for line in text.splitlines()) <= 200
    proven = str(cases(prove=1)[0])
    assert "per GB" in proven
    assert "prices that prove the bound" in proven
    assert "per GB" not in str(cases()[0])


def test_many_rows_are_counted() -> None:
    problem = random_fleet_problem(0, jobs=60, methods=20, servers=20, device_memory_bytes=1e12, uplink_bps=1e7,
                                   on_device=True, on_server=True, downlink_bps=1e7, deadline_s=None,
                                   energy_limit_j=None, quality_floor=0.0, server_memory_bytes=None,
                                   server_busy_s=None, airtime_s=None, rounds=0)
    jobs = np.arange(60)
    text = str(problem.solve("fixed", warm_start=ea.Assignment(jobs % 20, jobs % 21 - 1)))
    assert "by 4 other methods" in text
    assert "and 8 more servers in use" in text
    assert "no limit" in text


def test_tight_limits_are_named() -> None:
    """Limits that are used to 95 % and more, the tightest first."""
    base = solved(3, jobs=3, device_memory_bytes=1e12, deadline_s=None, energy_limit_j=None, rounds=0,
                  quality_floor=0.0)
    costs = base.costs
    problem = base.problem.replace(deadline_s=costs.time_s / np.array([0.99, 0.96, 0.5]),
                                   energy_limit_j=costs.device_energy_j / 0.97 + 1e-9)
    found = near_limits(problem, base.allocation, problem.evaluate(base.allocation))
    assert [one[1] for one in found if one[2] == "deadline_s"] == [0, 1]
    assert found[0][0] == pytest.approx(0.99)
    shares = [share for share, *_ in found]
    assert shares == sorted(shares, reverse=True)
    text = str(problem.solve("fixed", warm_start=base.allocation))
    assert "job 0: deadline 99.0 % used" in text


# ---- what jobs would rather do ------------------------------------------------------------------------------------


def alone(problem: ea.FineTuning, i: int) -> ea.FineTuning:
    """The problem of one job."""
    changes: dict[str, Any] = {}
    for name in ("device_flops_per_s", "device_memory_bytes", "device_power_w", "transmit_power_w", "data_bytes",
                 "rounds", "quality_floor", "quality_weight", "deadline_s", "energy_limit_j", "memory_bytes",
                 "work_flops", "message_bytes", "result_bytes", "quality", "on_device", "on_server", "uplink_bps",
                 "downlink_bps", "job_names"):
        changes[name] = getattr(problem, name)[i:i + 1]
    return problem.replace(**changes)


@pytest.mark.parametrize("servers", [0, 2])
def test_wishes_against_loops(servers: int) -> None:
    """Best alone, what sharing costs, and whether a cheaper option breaks something, by trying every option."""
    judged = 0
    for solution in cases(servers, count=20):
        problem, now = solution.problem, solution.allocation
        wish = wishes(problem, now)
        for i in range(problem.jobs):
            one = alone(problem, i)
            table = {}
            for k in range(problem.tunings):
                for place in range(-1, servers):
                    table[k, place] = by_hand(one, ea.Assignment(np.array([k]), np.array([place])))
            mine = table[int(now.method[i]), int(now.place[i])][0]
            fitting = {option: cost for option, (cost, fits) in table.items() if fits}
            assert wish.alone_cost[i] == pytest.approx(min(fitting.values()))
            assert wish.lost_to_sharing[i] == pytest.approx(mine - min(fitting.values()), abs=1e-9 * mine)
            k, place = wish.split(int(wish.wanted[i]))
            moved = ea.Assignment(np.where(np.arange(problem.jobs) == i, k, now.method),
                                  np.where(np.arange(problem.jobs) == i, place, now.place))
            reason = wish.reason(i)
            if reason == NOTHING:
                assert mine <= table[k, place][0] * (1.0 + 1e-9)
                continue
            judged += 1
            assert table[k, place][0] < mine
            assert (reason == FREE) == by_hand(problem, moved)[1]
            assert table[k, place][1] == (reason == FREE or reason.endswith(FULL))
            assert bool(wish.objection(i, k, place)) == (reason != FREE)
        assert sum(wish.held().values()) == problem.jobs
    assert judged > 5


@pytest.mark.parametrize("prove", [0, 1, 2])
def test_parts_of_the_gap_add_up(prove: int) -> None:
    """Objective less the bound by prices is the sum of the parts; that bound is right by enumeration of options."""
    for solution in cases(prove=prove, count=20):
        problem = solution.problem
        found = explain(problem, solution)
        totals = found.totals
        assert found.proven == (prove == 1)
        parts = totals["reduced_costs"] + totals["unused"]
        assert totals["objective"] - totals["price_bound"] == pytest.approx(parts, rel=1e-9, abs=1e-9)
        price = {name: np.where(np.isfinite(getattr(problem, name)), one, 0.0) * (prove == 1)
                 for name, one in PRICES.items()}
        bound = -sum(float((price[name] * np.where(price[name] > 0.0, getattr(problem, name), 0.0)).sum())
                     for name in PRICES)
        for i in range(problem.jobs):
            one = alone(problem, i)
            least = math.inf
            for k in range(problem.tunings):
                for place in range(-1, problem.servers):
                    choice = ea.Assignment(np.array([k]), np.array([place]))
                    cost, fits = by_hand(one, choice)
                    if fits:
                        use = one.evaluate(choice)
                        least = min(least, cost + float((price["server_memory_bytes"] * use.server_memory_bytes
                                                         + price["server_busy_s"] * use.server_busy_s
                                                         + price["airtime_s"] * use.airtime_s).sum()))
            bound += least
        assert totals["price_bound"] == pytest.approx(bound, rel=1e-9, abs=1e-9)
        assert found.to_frame()["reduced_cost"].sum() == pytest.approx(totals["reduced_costs"])
        assert found.servers_frame()["unused"].sum() == pytest.approx(totals["unused"])


@pytest.mark.parametrize("servers", [0, 2])
@pytest.mark.parametrize("prove", [0, 1])
def test_explanations_read_well(servers: int, prove: int) -> None:
    for solution in cases(servers, prove=prove, count=12):
        found = solution.explain()
        text = found.text()
        assert len(text.splitlines()) <= 60
        assert max(len(line) for line in text.splitlines()) <= 160
        for word in ("together: objective", "because of", "the dearest"):
            assert word in text
        assert ("no servers" in text) == (servers == 0)
        record = found.record()
        assert len(record["jobs"]) == solution.problem.jobs
        assert len(record["servers"]) == servers
        assert str(found) == text


def test_facts_count_options() -> None:
    for seed in range(10):
        problem = random_fleet_problem(seed)
        lines = problem.facts()
        allowed = problem.options.allowed
        assert lines[0].startswith(f"{int(allowed.sum())} of {allowed.size} options")
        nowhere = int((~allowed.any(axis=(1, 2))).sum())
        assert f"{nowhere} nowhere" in "\n".join(lines)
    assert len(random_fleet_problem(0, servers=0).facts()) == 3
