"""Explanations: the gap adds up from parts that are not negative, and cuts are held by what was built to hold them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instances import chunks, instance
from limits_instances import limited, sized_limited

import edgealloc as ea
from edgealloc.cli.common import plain
from edgealloc.formulations.split_training.explain import Explanation
from edgealloc.formulations.split_training.explain_cuts import FORCES
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.reduced import reduce
from edgealloc.formulations.split_training.resources import optimal_allocation


def explained(problem: ea.SplitTraining, method: str = "certified", **options: Any) -> Explanation | None:
    """None where the method found nothing."""
    solution = problem.solve(method, **{"gap": 1e-4, "time_limit_s": None, **options})
    if solution.allocation is None:
        return None
    explanation = solution.explain()
    assert isinstance(explanation, Explanation)
    return explanation


def size_of(e: Explanation) -> float:
    """Sum of all magnitudes in the identity: what rounding is relative to."""
    return float(abs(e.totals["objective"]) * (1.0 + e.totals["price_share"]) + np.abs(e.users["priced_cost"]).sum())


def check_attribution(e: Explanation) -> None:
    totals, scale = e.totals, size_of(e)
    parts = [totals[name] for name in ("reduced_costs", "capacity_losses", "resource_losses")]
    assert min(parts) >= 0.0
    assert sum(parts) == pytest.approx(totals["objective"] - totals["price_bound"], abs=1e-9 * scale)
    users, servers = e.to_frame(), e.servers_frame()
    assert (users["reduced_cost"] >= 0.0).all()
    assert (servers["capacity_loss"] >= 0.0).all()
    assert users["reduced_cost"].sum() == pytest.approx(totals["reduced_costs"])
    assert servers["capacity_loss"].sum() == pytest.approx(totals["capacity_losses"])
    assert sum(e.held.values()) == len(users)
    assert (users["open_options"] <= users["options"]).all()
    weights = e.split_frame().groupby("user")["weight"].sum()
    assert weights.to_numpy() == pytest.approx(np.ones(len(weights)), abs=1e-4)
    assert set(weights.index) == set(users.index[users["split"]])


@cache
def drawn(seed: int) -> list[ea.SplitTraining]:
    return [instance(seed), limited(seed, feasible=True), sized_limited(seed, 9, 2, 5, feasible=True)]


@cache
def explained_drawn(seed: int, which: int, method: str = "certified") -> Explanation | None:
    """One of `drawn`, solved and explained once for all the claims about it."""
    return explained(drawn(seed)[which], method, time_limit_s=None)


@pytest.mark.parametrize("seeds", chunks(6, 2))
def test_parts_of_the_gap_add_up(seeds: range) -> None:
    """objective - D(prices) is the sum of its parts, none of them negative, for methods with and without a proof."""
    for seed in seeds:
        for which in range(len(drawn(seed))):
            for method in ("certified", "greedy"):
                e = explained_drawn(seed, which, method)
                if e is not None:
                    check_attribution(e)
                    if method == "greedy":
                        assert not e.proven


@pytest.mark.parametrize("seeds", chunks(6, 2))
def test_price_bound_is_the_oracles(seeds: range) -> None:
    """D at the bound's prices is what the oracle of the method says; branching can only have proved more."""
    for seed in seeds:
        for which, problem in enumerate(drawn(seed)):
            if problem.delay == "max":
                continue
            e = explained_drawn(seed, which)
            assert e is not None
            assert e.proven
            bound_prices = e.solution.bound_prices
            pricing = SplitPricing(reduce(problem), 1)
            price = np.zeros((problem.servers, 4))
            for column, name in enumerate(("bandwidth_hz", "server_frequency_hz", "users_per_server",
                                           "server_memory_bytes")):
                price[:, column] = bound_prices.get(name, 0.0)
            prices = pricing.capacities.per_whole(price)
            dual = pricing.ask(prices).total - prices.sum()
            # the search for a deadline's multiplier ends at 1e-6 of the time, and the value is quadratic in that
            assert e.totals["price_bound"] == pytest.approx(dual, rel=1e-9, abs=1e-9 * size_of(e))
            assert e.solution.bound is not None
            assert e.solution.bound >= dual - 1e-9 * size_of(e)


@pytest.mark.parametrize("seeds", chunks(6, 2))
def test_a_step_costs_at_least_what_its_forces_say(seeds: range) -> None:
    """Prices are those of the chosen cuts, so no step can be cheaper; the forces add up to the step."""
    for seed in seeds:
        for which, problem in enumerate(drawn(seed)):
            e = explained_drawn(seed, which)
            assert e is not None
            users, allocation = e.to_frame(), e.solution.allocation
            assert allocation is not None
            base = problem.evaluate(optimal_allocation(problem, allocation.server, allocation.local_layers)).objective
            for name, step in (("more", 1), ("less", -1)):
                parts = users[[f"{name}_{force}" for force in FORCES]].to_numpy()
                total = users[f"{name}_total"].to_numpy()
                known = np.isfinite(total)
                assert parts[known].sum(axis=1) == pytest.approx(total[known], rel=1e-9)
                for n in range(problem.users):
                    cut = int(allocation.local_layers[n]) + step
                    if allocation.server[n] < 0 or not problem.cuts.low[n] <= cut <= problem.cuts.high[n]:
                        continue
                    cuts = np.array(allocation.local_layers)
                    cuts[n] = cut
                    moved = optimal_allocation(problem, allocation.server, cuts)
                    if problem.relative_violation(moved) > 1e-9:
                        continue
                    change = problem.evaluate(moved).objective - base
                    felt = total[n] - users[f"{name}_memory_price"][n]
                    assert felt <= change + 1e-8 * abs(base), (seed, n, name)
                    if users["verdict"][n] in ("balanced", "own weight"):
                        assert change >= -1e-8 * abs(base)


def test_forces_of_a_crowd_are_marginal_costs() -> None:
    """Where a user hardly moves the prices, the priced step is the exact one."""
    problem = ea.Scenario.random(users=150, servers=2, seed=3).split_training()
    e = explained(problem, "certified", gap=1e-3)
    assert e is not None
    allocation, users = e.solution.allocation, e.to_frame()
    assert allocation is not None
    base = problem.evaluate(optimal_allocation(problem, allocation.server, allocation.local_layers)).objective
    inside = (allocation.server >= 0) & (allocation.local_layers < problem.cuts.high)
    for n in np.flatnonzero(inside)[:10]:
        cuts = np.array(allocation.local_layers)
        cuts[n] += 1
        change = problem.evaluate(optimal_allocation(problem, allocation.server, cuts)).objective - base
        moved = abs(users.loc[n, "more_server_time"]) + abs(users.loc[n, "more_clock_price"])
        assert users.loc[n, "more_total"] == pytest.approx(change, abs=0.05 * moved)


# ---- verdicts where the answer is known -----------------------------------------------------------------------------


def by_hand(**changes: Any) -> ea.SplitTraining:
    """Two equal users of one server; a layer costs 1 s on the device and 0.1 s on the whole server."""
    fields: dict[str, Any] = {
        "layers": 8, "layer_flops": 1e12, "upload_bits": 1e6, "user_flops_per_cycle": 1000.0, "user_kappa": 0.0,
        "user_frequency_max_hz": 1e9, "power_max_w": 1.0, "samples": 100.0, "server_flops_per_cycle": 1e4,
        "server_frequency_max_hz": 1e9, "bandwidth_max_hz": 2e6, "server_joules_per_flop": 0.0,
        "gain": [[1e-9], [1e-9]], "noise_psd_w_per_hz": 1e-15, "weights": ea.Weights(1.0, 0.0, 0.0),
        "stability": ea.Stability("fu", lambda_min=1.0), "max_local_layers": 7,
    }
    return ea.SplitTraining(**{**fields, **changes})


#: A server so slow that every layer belongs on the device.
SLOW: dict[str, Any] = {"server_flops_per_cycle": 10.0}


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, "limit: privacy (min_local_layers)"),
        ({"min_local_layers": 3}, "limit: privacy (min_local_layers)"),
        ({"min_local_layers": 0}, "limit: no local layer left"),
        (SLOW, "limit: max_local_layers"),
        ({**SLOW, "max_local_layers": 8}, "fully local: cheaper than any server"),
        ({**SLOW, "max_local_layers": None, "stability": ea.Stability("liu-zhao")},
         "limit: stability has no finite value fully local"),
        ({**SLOW, "device_memory_bytes": 5e9, "memory_bytes_per_layer": 1e9}, "limit: device memory"),
        ({**SLOW, "stability_limit": 0.0101}, "limit: stability limit"),
        ({"server_memory_bytes": 3e9, "server_memory_bytes_per_layer": 1e9}, "limit: server memory"),
        ({"gain": [[0.0], [0.0]], "max_local_layers": 8}, "fully local: no server possible"),
        # joules are spent on the server alone: only the deadline keeps layers off the slow device
        ({"weights": ea.Weights(0.1, 1.0, 0.0), "server_joules_per_flop": 1e-11, "deadline_s": 5.5},
         "limit: deadline"),
    ],
)
def test_what_was_built_to_hold_the_cuts_holds_them(changes: dict[str, Any], held: str) -> None:
    e = explained(by_hand(**changes), "exact")
    assert e is not None
    assert e.held == {held: 2}
    assert held in e.text()


def test_balance_of_stability_against_the_server() -> None:
    """A slow server pushes layers to the device, instability pushes them back: a cut in between."""
    problem = by_hand(**SLOW, weights=ea.Weights(1.0, 0.0, 3e4), stability=ea.Stability("fu", lambda_min=0.1))
    e = explained(problem, "exact")
    assert e is not None
    users = e.to_frame()
    assert ((users["local_layers"] > 1) & (users["local_layers"] < 7)).all()
    assert (users["verdict"] == "balanced").all()
    assert (users["against_more"] == "stability").all()
    assert users["against_less"].isin(["server time", "clock price"]).all()
    assert (users["more_total"] > 0.0).all()
    assert (users["less_total"] > 0.0).all()
    assert users["more_device_time"].to_numpy() == pytest.approx(np.ones(2))


def test_a_round_is_held_by_its_end() -> None:
    """As the deadline above, with the end of the synchronous round in its place."""
    problem = by_hand(weights=ea.Weights(1.0, 3.0, 0.0), server_joules_per_flop=1e-12, delay="max")
    e = explained(problem, "edge-only")
    assert e is not None
    check_attribution(e)
    users = e.to_frame()
    # time is paid by the round (nearly) alone: seconds of device and server show up as "deadline"
    assert (users["more_device_time"] <= 1e-6).all()
    assert (users["more_deadline"] > 0.1).all()
    assert not any("limit: deadline" in text for text in e.held)


def test_a_bad_cut_would_move() -> None:
    e = explained(by_hand(**SLOW), "edge-only")
    assert e is not None
    assert e.held == {"would move: one layer more": 2}
    assert (e.to_frame()["saved_by_a_layer"] > 0.0).all()


def test_full_server_keeps_a_user_local() -> None:
    problem = by_hand(users_per_server=1, max_local_layers=8)
    e = explained(problem, "exact")
    assert e is not None
    assert e.held["fully local: users per server"] == 1
    assert e.servers_frame()["users_share"].tolist() == [1.0]


# ---- text and forms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("users", "servers"), [(1, 1), (6, 2), (300, 25)])
def test_text_fits_a_terminal_page(users: int, servers: int) -> None:
    problem = ea.Scenario.random(users=users, servers=servers, seed=2).split_training()
    e = problem.solve(gap=1e-2).explain()
    lines = e.text().splitlines()
    assert len(lines) <= 60
    assert str(e) == e.text()
    assert "nothing here is proven" not in e.text()
    assert len(e.to_frame()) == users
    assert len(e.servers_frame()) == servers


def test_split_users_are_few_and_shared_out() -> None:
    """No more users are split than there are capacities, and the mixture uses what there is."""
    problem = ea.Scenario.random(users=60, servers=3, load="congested", seed=1).split_training()
    e = problem.solve(gap=1e-6, time_limit_s=None).explain()
    assert isinstance(e, Explanation)
    assert e.totals["split_users"] <= 2 * problem.servers
    assert e.totals["imbalance"] < 0.02
    assert e.totals["open_options"] < e.totals["options"]


def test_without_proof_it_says_so() -> None:
    problem = ea.Scenario.random(users=8, servers=2, seed=1).split_training()
    text = problem.solve("greedy").explain().text()
    assert "nothing here is proven" in text
    assert "certified" in text
    assert "bound's prices" not in text


def test_bound_without_prices() -> None:
    """Enumeration proves an optimum, but no prices prove it."""
    e = explained(by_hand(), "exact")
    assert e is not None
    assert not e.proven
    assert e.totals["bound"] is not None
    assert "without prices" in e.text()


def test_record_and_a_loaded_solution(tmp_path: Path) -> None:
    solution = limited(3, feasible=True).solve()
    record = solution.explain().record()
    json.dumps(plain(record), allow_nan=False)
    loaded = ea.Solution.load(solution.save(tmp_path / "s.npz"))
    assert loaded.explain().text() == solution.explain().text()


def test_nothing_to_explain() -> None:
    problem = by_hand(gain=[[0.0], [1e-9]])
    with pytest.raises(ea.InfeasibleError):
        problem.solve().explain()
