"""Baselines: each rule against its definition, and every allocation against the limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import Spec, build, instance, sized, specs
from scipy.optimize import minimize_scalar

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.formulations.split_training import baselines
from edgealloc.formulations.split_training.reduced import radio_weights
from edgealloc.formulations.split_training.shares import solve_q

ALL = ("edge-only", "local-only", "greedy", "random")


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
        tolerance = 0.0 if name in ("greedy", "random") else 1e-9
        assert problem.relative_violation(outcome.allocation) <= tolerance
        assert np.isfinite(problem.evaluate(outcome.allocation).objective)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(specs(), st.integers(0, 2**32 - 1))
def test_best_cut_is_the_best_of_all_by_evaluate(spec: Spec, seed: int) -> None:
    """At the equal shares of everybody associated, `evaluate` finds no cheaper cut for any user."""
    problem = build(spec, np.random.default_rng(seed))
    split = baselines.can_split(problem)
    server = baselines.ASSOCIATION_RULES["best-rate"](problem, Run())
    chosen = baselines.CUT_RULES["best"](problem, server, split)
    everybody = baselines.equal_allocation(problem, server, np.where(split, problem.cuts.low, problem.layers))
    costs = np.full((problem.layers + 1, problem.users), np.inf)
    for cut in range(problem.layers):
        allowed = split & (problem.cuts.low <= cut) & (cut <= problem.cuts.high)
        trial = dataclasses.replace(everybody, local_layers=np.where(split, cut, problem.layers))
        costs[cut, allowed] = problem.evaluate(trial).user_objective[allowed]
    zero = np.zeros(problem.users)
    alone = ea.Allocation(np.full(problem.users, -1), np.full(problem.users, problem.layers), zero, zero,
                          everybody.user_frequency_hz, zero)
    local = problem.cuts.local
    costs[problem.layers, local] = problem.evaluate(alone).user_objective[local]
    got = costs[chosen, np.arange(problem.users)]
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, costs.min(axis=0), rtol=1e-9)


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


def test_optimised_resources_beat_equal_shares() -> None:
    for seed in range(8):
        problem = instance(seed, users=6)
        server = baselines.ASSOCIATION_RULES["best-rate"](problem, Run())
        cut = baselines.CUT_RULES["smallest"](problem, server, baselines.can_split(problem))
        equal, optimal = (problem.evaluate(baselines.RESOURCE_RULES[rule](problem, server, cut)).objective
                          for rule in ("equal", "optimal"))
        assert optimal <= equal * (1.0 + 1e-12)


def test_a_further_baseline_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(baselines.BASELINES, "rucaa", baselines.Baseline("random", "largest", "equal"))
    problem = sized(1, 5, 2)
    outcome = baselines.run_baseline("rucaa", problem, Run())
    assert problem.relative_violation(outcome.allocation) == 0.0
