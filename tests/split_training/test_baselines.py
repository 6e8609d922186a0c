"""Baselines: each rule against its definition, and every allocation against the limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import Spec, build, chunks, instance, sized, specs
from scipy.optimize import minimize_scalar
from twin import Twin

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.formulations.split_training import baselines
from edgealloc.formulations.split_training.reduced import radio_weights
from edgealloc.formulations.split_training.resources import optimal_allocation
from edgealloc.formulations.split_training.shares import equal_division, hand_out, solve_q

ALL = tuple(baselines.BASELINES)


def one_user(**changes: object) -> ea.SplitTraining:
    """A user with round numbers: 1 s per layer on the device, signal/noise 1 at 1 W in the whole band of 1 MHz."""
    fields: dict[str, object] = {
        "layers": 4, "layer_flops": 1e12, "upload_bits": 1e6, "user_flops_per_cycle": 1000.0, "user_kappa": 0.0,
        "user_frequency_max_hz": 1e9, "power_max_w": 1.0, "samples": 100.0, "server_flops_per_cycle": 1e4,
        "server_frequency_max_hz": 1e9, "bandwidth_max_hz": 1e6, "server_joules_per_flop": 0.0, "gain": [[1e-9]],
        "noise_psd_w_per_hz": 1e-15, "weights": ea.Weights(1.0, 0.0, 0.0),
    }
    return ea.SplitTraining(**{**fields, **changes})  # type: ignore[arg-type]


def decided(problem: ea.SplitTraining, method: str) -> ea.Allocation:
    allocation = problem.solve(method).require().allocation
    assert allocation is not None
    return allocation


def test_greedy_by_hand() -> None:
    """Upload 1 s at 1 Mbit/s, 0.1 s per server layer, 1 s per device layer: cut 1, at 1 + 1 + 0.3 s."""
    solution = one_user().solve("greedy").require()
    assert decided(one_user(), "greedy").local_layers.tolist() == [1]
    assert solution.objective == pytest.approx(2.3, rel=1e-12)
    assert solution.bound is None
    assert solution.status is ea.Status.FEASIBLE


def test_greedy_stays_local_where_the_upload_costs_more() -> None:
    """With 10 s of upload, four local layers (4 s) are cheaper than one (1 + 10 + 0.3 s)."""
    problem = one_user(upload_bits=1e7, stability=ea.Stability("fu", lambda_min=1.0))
    solution = problem.solve("greedy").require()
    assert decided(problem, "greedy").server.tolist() == [-1]
    assert solution.objective == pytest.approx(4.0, rel=1e-12)


def test_best_rate_takes_band_and_gain_into_account() -> None:
    """Server 1 has a quarter of the gain but ten times the band: rate 10 log2(1 + 1/40) > log2(1 + 1) fails,
    with a signal of 100 times the noise it holds."""
    changes = {"server_flops_per_cycle": [1e4, 1e4], "bandwidth_max_hz": [1e6, 1e7]}
    weak = one_user(gain=[[1e-9, 2.5e-10]], **changes)
    strong = one_user(gain=[[1e-7, 2.5e-8]], **changes)
    assert decided(weak, "greedy").server.tolist() == [0]
    assert decided(strong, "greedy").server.tolist() == [1]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(specs(), st.integers(0, 2**32 - 1))
def test_every_baseline_is_feasible(spec: Spec, seed: int) -> None:
    """No limit is exceeded by a single bit (equal shares) or by 1e-9 of it (optimised), whatever the data."""
    problem = build(spec, np.random.default_rng(seed))
    for name in ALL:
        outcome = baselines.run_baseline(name, problem, Run(seed=seed % 7))
        by_rule = baselines.BASELINES[name].resources in ("equal", "random")
        tolerance = 0.0 if by_rule else 1e-9
        assert problem.relative_violation(outcome.allocation) <= tolerance
        assert np.isfinite(problem.evaluate(outcome.allocation).objective)


@pytest.mark.parametrize("resources", ["equal", "random"])
@settings(derandomize=True, deadline=None, max_examples=25)
@given(specs(), st.integers(0, 2**32 - 1))
def test_best_cut_is_the_best_of_all(resources: str, spec: Spec, seed: int) -> None:
    """At the division of everybody associated, the twin's plain formula finds no cheaper cut for any user."""
    problem, run = build(spec, np.random.default_rng(seed)), Run(seed=seed % 5)
    twin = Twin(problem)
    server = baselines.ASSOCIATION_RULES["best-rate"](problem, run)
    split = baselines.can_split(problem)
    division = baselines.RESOURCE_RULES[resources].division(problem, run)
    chosen = baselines.CUT_RULES["best"](problem, server, division, run)
    everybody = hand_out(problem, server, np.where(split, problem.cuts.low, problem.layers), division)
    for n in range(problem.users):

        def cost(cut: int, n: int = n, a: ea.Allocation = everybody) -> float:
            m = int(a.server[n]) if cut < problem.layers else -1
            return twin.cost(n, m, cut, *(float(x[n]) for x in (
                a.power_w, a.bandwidth_hz, a.user_frequency_hz, a.server_frequency_hz)))

        last = problem.layers + 1 if split[n] else problem.layers
        allowed = [cut for cut in range(last) if split[n] and twin.cut_allowed(n, cut)] or [problem.layers]
        assert int(chosen[n]) in allowed
        assert cost(int(chosen[n])) <= min(map(cost, allowed)) * (1.0 + 1e-9)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(specs(users=3, servers=1), st.integers(0, 2**32 - 1), st.floats(1.0, 9.0))
def test_best_power_is_a_minimum(spec: Spec, seed: int, log_band: float) -> None:
    """Golden section over log p finds nothing better than the closed form, at any gain and bandwidth."""
    problem = build(spec, np.random.default_rng(seed))
    n = np.flatnonzero(problem.gain[:, 0] > 0.0)
    band = np.full(n.size, 10.0**log_band)
    power = baselines.best_power_w(problem, n, problem.gain[n, 0], band)
    assert (power >= problem.power_min_w[n]).all()
    assert (power <= problem.power_max_w[n]).all()
    per_second, per_joule = radio_weights(problem)
    for k, user in enumerate(n):
        noise = problem.noise_psd_w_per_hz * band[k] / problem.gain[user, 0]

        def cost(log_p: float, user: int = int(user), noise: float = float(noise)) -> float:
            p = np.exp(log_p)
            return float((per_second[user] + per_joule[user] * p) / np.log1p(p / noise))

        high = float(problem.power_max_w[user])
        low = max(float(problem.power_min_w[user]), 1e-12 * high)
        rivals = [cost(np.log(low)), cost(np.log(high))]
        if low < high:
            rivals.append(float(minimize_scalar(cost, bounds=(np.log(low), np.log(high)), method="bounded").fun))
        assert cost(np.log(max(float(power[k]), 1e-300))) <= min(rivals) * (1.0 + 1e-9)


@pytest.mark.parametrize("log_t", [-600.0, -80.0, -20.0, -3.0, 0.0, 3.0, 40.0, 600.0])
def test_solution_of_q(log_t: float) -> None:
    """x e^x - e^x + 1 = T to 1e-13, from T where the textbook form loses every digit to T beyond all floats."""
    x = float(solve_q(np.array([log_t]))[0])
    small, exact = np.log(0.5 + x / 3.0 + x * x / 8.0) + 2.0 * np.log(x), x + np.log(max(x + np.expm1(-x), 1e-300))
    value = small if x < 1e-3 else exact
    assert value == pytest.approx(log_t, rel=1e-13, abs=1e-13)


def test_cut_rules() -> None:
    """edge-only takes the smallest allowed cut, local-only the largest, fully local where that is allowed."""
    for seed in range(12):
        problem = instance(seed, users=6)
        split, cuts = baselines.can_split(problem), problem.cuts
        edge = decided(problem, "edge-only")
        assert (edge.local_layers == np.where(split, cuts.low, problem.layers)).all()
        largest = decided(problem, "local-only")
        assert (largest.local_layers == np.where(cuts.local, problem.layers, cuts.high)).all()


def test_users_without_a_link_stay_local() -> None:
    problem = one_user(gain=[[1e-9], [0.0]], stability=ea.Stability("fu", lambda_min=1.0))
    for name in ALL:
        assert decided(problem, name).server[1] == -1


def test_random_association_is_uniform_over_links_and_seeded() -> None:
    problem = sized(0, 3000, 4, dead_links=True, extreme=False)
    draw = baselines.ASSOCIATION_RULES["random"]
    server = draw(problem, Run(seed=1))
    assert (problem.gain[np.arange(problem.users), server] > 0.0).all()
    expected = ((problem.gain > 0.0) / (problem.gain > 0.0).sum(axis=1, keepdims=True)).sum(axis=0)
    assert np.abs(np.bincount(server, minlength=4) - expected).max() < 5.0 * np.sqrt(expected.max())
    assert (draw(problem, Run(seed=1)) == server).all()
    assert (draw(problem, Run(seed=2)) != server).any()


def test_optimised_resources_beat_equal_and_random_shares() -> None:
    for seed in range(8):
        problem, run = instance(seed, users=6), Run(seed=seed)
        server = baselines.ASSOCIATION_RULES["best-rate"](problem, run)
        cut = baselines.CUT_RULES["smallest"](problem, server, equal_division(problem), run)
        objective = {}
        for name in ("equal", "random", "optimal"):
            rule = baselines.RESOURCE_RULES[name]
            found = rule.allocate(problem, server, cut, rule.division(problem, run), run).allocation
            objective[name] = problem.evaluate(found).objective
        assert objective["optimal"] <= min(objective.values()) * (1.0 + 1e-12)


def test_a_further_baseline_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(baselines.BASELINES, "mine", baselines.Baseline("random", "largest", "random"))
    problem = sized(1, 5, 2)
    outcome = baselines.run_baseline("mine", problem, Run())
    assert problem.relative_violation(outcome.allocation) == 0.0


# ---- random rules -------------------------------------------------------------------------------------------


def test_random_cuts_are_uniform_over_the_allowed_ones() -> None:
    """Five allowed cuts, fully local one of them, each drawn by about a fifth of 4000 users."""
    problem = one_user(gain=np.full((4000, 1), 1e-9), min_local_layers=0, stability=ea.Stability("fu", lambda_min=1.0))
    drawn = decided(problem, "resource-only").local_layers
    assert np.abs(np.bincount(drawn, minlength=5) - 800).max() < 5.0 * np.sqrt(800)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(specs(), st.integers(0, 2**32 - 1))
def test_random_resources_keep_away_from_the_ends(spec: Spec, seed: int) -> None:
    """A server in use is handed out whole; power and device clock lie within a tenth of their maximum and it."""
    problem, run = build(spec, np.random.default_rng(seed)), Run(seed=seed % 7)
    division = baselines.RESOURCE_RULES["random"].division(problem, run)
    server = baselines.ASSOCIATION_RULES["random"](problem, run)
    a = hand_out(problem, server, np.where(baselines.can_split(problem), problem.cuts.low, problem.layers), division)
    exactly = problem.replace(resource_sense="exactly")
    assert exactly.relative_violation(a) <= 1e-12
    assert problem.relative_violation(a) == 0.0
    on = a.server >= 0
    assert (a.power_w[on] >= 0.1 * problem.power_max_w[on] * (1.0 - 1e-12)).all()
    assert (a.user_frequency_hz >= 0.1 * problem.user_frequency_max_hz * (1.0 - 1e-12)).all()
    assert np.isfinite(problem.evaluate(a).objective)


def test_random_shares_are_spread_like_a_mixed_dirichlet_draw() -> None:
    """Two users on one server: the first one's share has mean 1/2 and, being mixed, never comes near 0 or 1."""
    problem = one_user(gain=[[1e-9], [1e-9]])
    share = np.empty(400)
    for seed in range(400):
        a = decided_at(problem, "random", seed)
        share[seed] = a.bandwidth_hz[0] / problem.bandwidth_max_hz[0]
    assert share.mean() == pytest.approx(0.5, abs=0.05)
    assert 0.15 < share.std() < 0.3
    assert 0.0 < share.min() < 0.15
    assert 0.85 < share.max() < 1.0


def decided_at(problem: ea.SplitTraining, resources: str, seed: int) -> ea.Allocation:
    """Everybody on server 0 at the smallest cut."""
    division = baselines.RESOURCE_RULES[resources].division(problem, Run(seed=seed))
    return hand_out(problem, np.zeros(problem.users, dtype=np.int64), problem.cuts.low, division)


@pytest.mark.parametrize("name", ["random", "rucaa", "alpha-only", "resource-only"])
def test_seeds(name: str) -> None:
    """The same seed gives the same bits, another one another allocation."""
    problem = sized(3, 20, 3, extreme=False)
    first, again, other = (problem.solve(name, seed=seed).require().allocation for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    same, differs = [], []
    for field in dataclasses.fields(first):
        bits = [np.asarray(getattr(a, field.name)).tobytes() for a in (first, again, other)]
        same.append(bits[0] == bits[1])
        differs.append(bits[0] != bits[2])
    assert all(same)
    assert any(differs)


def test_alpha_only_keeps_the_random_resources() -> None:
    """Where nobody trains alone, its shares, powers and clocks are those drawn, and its cuts answer to them."""
    problem = sized(5, 12, 3, fu=False, extreme=False)
    server = baselines.ASSOCIATION_RULES["best-rate"](problem, Run(seed=4))
    division = baselines.RESOURCE_RULES["random"].division(problem, Run(seed=4))
    drawn = hand_out(problem, server, np.where(baselines.can_split(problem), 1, problem.layers), division)
    got = problem.solve("alpha-only", seed=4).require().allocation
    assert got is not None
    for name in ("server", "power_w", "bandwidth_hz", "user_frequency_hz", "server_frequency_hz"):
        assert np.array_equal(getattr(got, name), getattr(drawn, name)), name


@pytest.mark.parametrize("seeds", chunks(24, 3), ids=str)
def test_no_baseline_beats_the_optimum(seeds: range) -> None:
    """The twin's optimum by enumeration is a lower bound for all of them."""
    for seed in seeds:
        problem = instance(seed, users=3, servers=2, layers=4)
        optimum = Twin(problem).optimum()
        for name in ALL:
            objective = problem.solve(name, seed=seed).require().objective
            assert objective is not None
            assert objective >= optimum * (1.0 - 1e-9), (seed, name)


def test_names_of_the_sister_paper_repeat_rules() -> None:
    problem = sized(2, 9, 3)
    for one, other in (("rucaa", "random"), ("gucaa", "greedy")):
        assert problem.solve(one, seed=3).objective == problem.solve(other, seed=3).objective
        assert baselines.BASELINES[one] == baselines.BASELINES[other]


# ---- aauco and gucro ----------------------------------------------------------------------------------------


def shared_equally(problem: ea.SplitTraining, place: tuple[int, ...]) -> float:
    """Objective of an association (-1: fully local) at equal shares and best cuts, by `evaluate` on every cut."""
    server = np.array(place)
    best = np.full(problem.users, np.inf)
    for cut in range(problem.layers):
        trial = baselines.equal_allocation(problem, server, np.where(server >= 0, cut, problem.layers))
        allowed = (server >= 0) & (problem.cuts.low <= cut) & (cut <= problem.cuts.high)
        best[allowed] = np.minimum(best, problem.evaluate(trial).user_objective)[allowed]
    alone = baselines.equal_allocation(problem, server, np.full(problem.users, problem.layers))
    local = problem.evaluate(alone).user_objective
    return float(np.where(server < 0, local, best).sum())


def places(problem: ea.SplitTraining, n: int) -> list[int]:
    """Where user n may be put."""
    split = bool(baselines.can_split(problem)[n])
    there = [m for m in range(problem.servers) if split and problem.gain[n, m] > 0.0]
    return there + ([-1] if problem.cuts.local[n] else [])


@pytest.mark.parametrize("seeds", chunks(15, 3), ids=str)
def test_no_single_move_improves_aauco(seeds: range) -> None:
    """Every user on every other server, and alone, everybody's cut chosen anew: nothing is cheaper."""
    for seed in seeds:
        problem = instance(seed, users=5)
        solution = problem.solve("aauco").require()
        allocation = solution.allocation
        assert allocation is not None
        assert solution.objective is not None
        assert solution.objective == pytest.approx(shared_equally(problem, tuple(allocation.server)), rel=1e-9)
        for n in range(problem.users):
            for m in places(problem, n):
                moved = allocation.server.copy()
                moved[n] = m
                assert shared_equally(problem, tuple(moved)) >= solution.objective * (1.0 - 1e-9), (seed, n, m)


def test_aauco_is_no_worse_than_greedy_and_deterministic() -> None:
    for seed in range(10):
        problem = sized(seed, 30, 4)
        greedy, first, second = (problem.solve(name).objective for name in ("greedy", "aauco", "aauco"))
        assert greedy is not None
        assert first is not None
        assert first <= greedy * (1.0 + 1e-9)
        assert first == second


def test_aauco_stops_in_time_with_what_it_has() -> None:
    problem = sized(1, 200, 4, extreme=False)
    stopped = problem.solve("aauco", time_limit_s=1e-6).require()
    assert stopped.termination is ea.Termination.TIME_LIMIT
    assert stopped.objective == pytest.approx(problem.solve("greedy").objective, rel=1e-9)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    for name in ALL:
        stopped = problem.solve(name, on_progress=interrupt).require()
        assert stopped.termination is ea.Termination.INTERRUPTED, name


def test_gucro_settles_and_beats_greedy_and_edge_only_resources() -> None:
    """It starts from greedy's association and cuts with optimal resources, and only improves."""
    for seed in range(10):
        problem = instance(seed, users=6)
        solution = problem.solve("gucro").require()
        greedy = problem.solve("greedy").require()
        assert solution.status is ea.Status.LOCALLY_SOLVED
        assert solution.objective is not None
        assert greedy.objective is not None
        assert greedy.allocation is not None
        start = optimal_allocation(problem, greedy.allocation.server, greedy.allocation.local_layers)
        assert solution.objective <= problem.evaluate(start).objective * (1.0 + 1e-12)
        assert solution.objective <= greedy.objective * (1.0 + 1e-9)
