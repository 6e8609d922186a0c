"""Method fp-cccp: identities of its steps, descent, feasibility, and never below a certified bound."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from instances import chunks, instance, sized
from limits_instances import limited, sized_limited

import edgealloc as ea
from edgealloc.formulations.split_training.fp_model import RelaxedModel
from edgealloc.formulations.split_training.resources import optimal_allocation


@pytest.mark.parametrize("seeds", chunks(12, 4))
def test_feasible_and_above_the_bound(seeds: range) -> None:
    """Over all variants of the model: an allocation, accepted by the re-check, not below the certified bound."""
    for seed in seeds:
        problem = instance(seed)
        found, proof = problem.solve("fp-cccp"), problem.solve("certified")
        assert found.objective is not None, (seed, found.attempts)
        assert found.bound is None
        assert found.status is ea.Status.LOCALLY_SOLVED, (seed, found.attempts)
        assert proof.bound is not None
        assert found.objective >= proof.bound * (1 - 1e-9), seed


@pytest.mark.parametrize("upload_counts", [False, True])
def test_objective_falls_from_iteration_to_iteration(upload_counts: bool) -> None:
    """Literal and with upload delay: history of the outer iterations, and of fractional programming inside."""
    problem = sized(3, 6, 2, layers=12, upload_counts=upload_counts, power_floor=True, extreme=False)
    solution = problem.solve("fp-cccp")
    outer = [line.objective for line in solution.history if line.stage == "cccp" and line.objective is not None]
    assert outer
    assert all(after <= before for before, after in itertools.pairwise(outer))
    server = np.argmax(problem.gain, axis=1)
    _, found = RelaxedModel(problem).minimise(
        server,
        np.asarray((problem.cuts.low + problem.cuts.high) / 2, dtype=np.float64),
        tolerance=1e-6,
        on_iteration=lambda _k, _v: None,
    )
    inner = np.array(found.history)
    assert (np.diff(inner[1:]) <= 1e-6 * inner[1:-1]).all()


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_exact_resources_at_fixed_cuts(seed: int) -> None:
    """With association and cuts held, both steps are the same convex problem, though fractional programming meets it
    as products and ratios and by another solver."""
    problem = sized(
        seed,
        5,
        2,
        layers=8,
        extreme=False,
        clock_scaled=bool(seed % 2),
        dead_links=False,
        fu=seed % 3 == 0,
        upload_counts=seed % 4 != 3,
        power_floor=seed % 4 == 3,
        max_local="split",
        stability_limit=False,
        device_memory=False,
    )
    rng = np.random.default_rng(seed)
    cut = rng.integers(problem.min_local_layers, problem.layers)
    problem = problem.replace(min_local_layers=cut, max_local_layers=cut)
    server = np.argmax(problem.gain, axis=1)
    model = RelaxedModel(problem)
    _, found = model.minimise(server, cut.astype(float), tolerance=1e-9, on_iteration=lambda _k, _v: None)
    waiting = problem.weights.effective("delay", 5) + problem.weights.effective("energy", 5) * problem.idle_power_w
    fixed = float((waiting * problem.fixed_delay_s[np.arange(5), server]).sum())
    exact = problem.evaluate(optimal_allocation(problem, server, cut)).objective
    assert found.objective * model.reference_cost + fixed == pytest.approx(exact, rel=2e-5)


def test_converges_by_itself() -> None:
    """Not a timing: 16 users on 4 servers settle (50 do, in the README's test)."""
    problem = ea.Scenario.random(16, 4, seed=0).split_training()
    solution = problem.solve("fp-cccp", time_limit_s=None)
    assert solution.termination is ea.Termination.CONVERGED
    assert solution.objective is not None
    proof = problem.solve("certified")
    assert proof.bound is not None
    assert proof.bound <= solution.objective <= 1.05 * proof.bound


def test_time_limit_keeps_the_best() -> None:
    problem = ea.Scenario.random(20, 3, seed=0).split_training()
    solution = problem.solve("fp-cccp", time_limit_s=0.3)
    assert solution.termination in (ea.Termination.TIME_LIMIT, ea.Termination.CONVERGED)
    assert solution.objective is not None


def test_interrupt_keeps_the_best() -> None:
    problem = ea.Scenario.random(12, 2, seed=0).split_training()

    def stop(line: ea.Progress) -> None:
        if line.stage == "fp":
            raise KeyboardInterrupt

    solution = problem.solve("fp-cccp", on_progress=stop)
    assert solution.termination is ea.Termination.INTERRUPTED
    assert solution.objective is not None


def test_warm_start_is_not_made_worse() -> None:
    problem = ea.Scenario.random(12, 2, seed=1).split_training()
    start = problem.solve("certified")
    found = problem.solve("fp-cccp", warm_start=start)
    assert found.objective is not None
    assert start.objective is not None
    assert found.objective <= start.objective * (1 + 1e-9)


@pytest.mark.parametrize("seed", [16, 20, 35, 49, 71, 74, 103])
def test_an_association_that_breaks_a_limit_is_never_the_best(seed: int) -> None:
    """Caps and server memory: the first association breaks them and is cheap; what keeps them is returned."""
    problem = limited(seed)
    found = problem.solve("fp-cccp")
    assert found.objective is not None, found.attempts
    assert found.allocation is not None
    assert problem.relative_violation(found.allocation) <= 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_rounds_get_the_resources_of_rounds(seed: int) -> None:
    """Planned as if every delay counted, but with the resources that make the longest one short."""
    problem = sized_limited(seed, 4, 2, feasible=True, rounds=True, deadlines=False, caps=False, server_memory=False,
                            exactly=False)
    found = problem.solve("fp-cccp")
    assert found.allocation is not None
    again = optimal_allocation(problem, found.allocation.server, found.allocation.local_layers)
    assert found.objective == pytest.approx(problem.evaluate(again).objective, rel=1e-9)


def test_warm_start_with_fully_local_users() -> None:
    """Neither made worse, nor are the cuts of users that train alone forgotten."""
    for seed in range(3):
        problem = instance(seed, fu=True, max_local="layers", stability_limit=False, device_memory=False)
        start = problem.solve("local-only")
        assert start.allocation is not None
        assert (start.allocation.server < 0).any()
        found = problem.solve("fp-cccp", warm_start=start)
        assert found.objective is not None
        assert start.objective is not None
        assert found.objective <= start.objective * (1 + 1e-9)


def test_warm_start_that_breaks_a_limit_is_told() -> None:
    problem = sized(0, 3, 2, extreme=False, dead_links=False, max_local="split")
    start = problem.solve("edge-only").allocation
    assert start is not None
    broken = dataclasses.replace(start, bandwidth_hz=9.0 * start.bandwidth_hz)
    found = problem.solve("fp-cccp", warm_start=broken)
    assert "warm start violates a limit and was not used" in found.attempts
    assert found.objective == problem.solve("fp-cccp").objective


def test_a_cut_of_zero_is_left() -> None:
    """The majoriser of a product keeps a factor of 0 there: whoever stands at cut 0 must get away from it."""
    problem = sized(3, 5, 2, layers=8, extreme=False, dead_links=False, min_local=0, max_local="split",
                    stability_limit=False, device_memory=False)
    server, model = np.argmax(problem.gain, axis=1), RelaxedModel(problem)
    relaxed, _ = model.minimise(server, np.zeros(5), tolerance=1e-6, on_iteration=lambda _k, _v: None)
    assert relaxed.max() > 4.0


def test_what_fractional_programming_reached_in_time_counts() -> None:
    """Time is up within the first step 1: its last iterate is rounded and used."""
    problem = ea.Scenario.random(20, 3, seed=0).split_training()

    def stop(line: ea.Progress) -> None:
        if line.stage == "fp" and line.iteration == 3:
            raise KeyboardInterrupt

    solution = problem.solve("fp-cccp", on_progress=stop)
    first = problem.solve("fp-cccp", time_limit_s=1e-6)
    assert first.objective is not None
    assert solution.objective is not None
    assert solution.objective < first.objective
