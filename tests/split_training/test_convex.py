"""The cone solver's resources against scipy on the plain formulas, and against the exact resource solve."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from instances import instance, sized
from scipy.optimize import minimize, minimize_scalar

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.formulations.split_training import baselines, convex, convex_cones
from edgealloc.formulations.split_training.resources import optimal_allocation

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


# ---- a twin that shares nothing: golden section and simplex search on the formulas of the paper -------------


def _scalar_minimum(cost: Any, low: float, high: float) -> float:
    """Minimum over [low, high] in the logarithm."""
    ends = [cost(low), cost(high)]
    if low < high:
        found = minimize_scalar(lambda z: cost(np.exp(z)), bounds=(np.log(low), np.log(high)), method="bounded",
                                options={"xatol": 1e-11})
        ends.append(found.fun)
    return float(min(ends))


def _share_minimum(cost: Any, count: int, limit: float, whole: bool) -> float:
    """Minimum over shares of `limit`, all of it or (not `whole`) with a rest that nobody uses."""
    free = count - 1 if whole else count

    def at(z: FloatArray) -> float:
        e = np.exp(np.append(z, 0.0) - max(z.max(initial=0.0), 0.0))
        return float(cost((e / e.sum() * limit)[:count]))

    if free == 0:
        return at(np.zeros(0))
    found = minimize(at, np.zeros(free), method="BFGS")
    for _ in range(3):
        found = minimize(at, found.x, method="Nelder-Mead",
                         options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 10_000, "maxfev": 10_000})
    return float(found.fun)


def least_objective(problem: ea.SplitTraining, server: IntArray, cut: IntArray) -> float:
    """Least objective over power, bandwidth and clocks at an association and cuts."""
    time, energy, stability = (problem.weights.effective(t, problem.users) for t in ("delay", "energy", "stability"))
    total = float((stability * problem.stability.value(cut / problem.layers, problem.samples)).sum())
    for n in range(problem.users):
        flops = cut[n] * problem.layer_flops[n] + (problem.head_flops[n] if server[n] < 0 else 0.0)
        total += flops / problem.user_flops_per_cycle[n] * _scalar_minimum(
            lambda f, n=n: time[n] / f + energy[n] * problem.user_kappa[n] * f**2,
            max(float(problem.user_frequency_min_hz[n]), 1.0), float(problem.user_frequency_max_hz[n]))
        if server[n] >= 0:
            total += (time[n] + energy[n] * problem.idle_power_w[n]) * problem.fixed_delay_s[n, server[n]]

    def radio(n: int, m: int, b: float) -> float:
        def cost(p: float) -> float:
            rate = b * np.log1p(p * problem.gain[n, m] / (problem.noise_psd_w_per_hz * b)) / np.log(2.0)
            delay = problem.upload_bits[n] / rate
            joules = (p / problem.amplifier_efficiency[n] + problem.circuit_power_w[n]) * delay
            return float(time[n] * delay * problem.count_upload_delay + energy[n] * joules)

        high = float(problem.power_max_w[n])
        return _scalar_minimum(cost, max(float(problem.power_min_w[n]), 1e-9 * high), high)

    for m in range(problem.servers):
        users = np.flatnonzero(server == m)
        if not users.size:
            continue
        total += _share_minimum(lambda b, m=m, users=users: sum(map(radio, users, [m] * len(users), b)),
                                users.size, float(problem.bandwidth_max_hz[m]), whole=True)
        flops = (problem.layers - cut[users]) * problem.layer_flops[users] + problem.head_flops[users]
        cycles = flops / problem.server_flops_per_cycle[m]
        waiting = (time[users] + energy[users] * problem.idle_power_w[users]) * cycles
        scaled = problem.server_kappa is not None
        per_square = energy[users] * problem.server_kappa[m] * cycles if scaled else np.zeros(users.size)
        total += _share_minimum(lambda f, w=waiting, q=per_square: (w / np.maximum(f, 1e-300) + q * f**2).sum(),
                                users.size, float(problem.server_frequency_max_hz[m]), whole=not scaled)
        if not scaled:
            total += float((energy[users] * problem.server_joules_per_flop[m] * flops).sum())
    return total


def start(problem: ea.SplitTraining, seed: int = 0) -> ea.Allocation:
    """Random association, smallest cuts, equal shares."""
    server = baselines.ASSOCIATION_RULES["random"](problem, Run(seed=seed))
    cut = baselines.CUT_RULES["smallest"](problem, server, baselines.can_split(problem))
    return baselines.equal_allocation(problem, server, cut)


# ---- claims ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_scipy(seed: int) -> None:
    """Every variant: the objective is the twin's to 1e-7."""
    problem = instance(seed, users=4, servers=2, extreme=False)
    begin = start(problem, seed)
    solution = problem.solve("convex", warm_start=begin).require()
    assert solution.status is ea.Status.LOCALLY_SOLVED
    assert solution.bound is None
    twin = least_objective(problem, begin.server, begin.local_layers)
    assert solution.objective == pytest.approx(twin, rel=1e-7)


@pytest.mark.parametrize(("seed", "users"), [(0, 30), (1, 30), (2, 30), (3, 30), (4, 100), (5, 100)])
def test_agrees_with_the_exact_resource_solve(seed: int, users: int) -> None:
    problem = sized(seed, users, 4, extreme=False)
    begin = start(problem, seed)
    solution = problem.solve("convex", warm_start=begin).require()
    exact = problem.evaluate(optimal_allocation(problem, begin.server, begin.local_layers)).objective
    assert solution.status is ea.Status.LOCALLY_SOLVED
    assert solution.objective == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("floor", [0.001, 0.05, 1.0])
@pytest.mark.parametrize("counted", [True, False])
def test_power_floor_and_upload_delay(floor: float, counted: bool) -> None:
    """A floor on the power, up to one that leaves no choice, with and without the upload delay."""
    base = sized(3, 4, 1, extreme=False, free_energy=False, upload_counts=True)
    problem = base.replace(power_min_w=floor * base.power_max_w, count_upload_delay=counted)
    begin = start(problem)
    solution = problem.solve("convex", warm_start=begin).require()
    assert solution.objective == pytest.approx(
        least_objective(problem, begin.server, begin.local_layers), rel=1e-7)


def test_signals_far_below_the_noise() -> None:
    """Gains at which the cone of the power limit is degenerate (signal/noise 1e-8 to 1)."""
    gain = np.array([[1e-21], [1e-18], [1e-16], [1e-13]])
    problem = sized(4, 4, 1, extreme=False).replace(gain=gain)
    begin = start(problem)
    solution = problem.solve("convex", warm_start=begin).require()
    exact = problem.evaluate(optimal_allocation(problem, begin.server, begin.local_layers)).objective
    assert solution.objective == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("seed", range(15))
def test_extreme_data_is_solved_or_admitted(seed: int) -> None:
    """Gains of 1e-20 to 1 on one server may defeat every solver; then the status says so, and nothing is exceeded."""
    problem = instance(seed, users=3, servers=2, extreme=True)
    begin = start(problem, seed)
    outcome = convex.run(problem, Run(warm_start=begin))
    exact = problem.evaluate(optimal_allocation(problem, begin.server, begin.local_layers)).objective
    objective = problem.evaluate(outcome.allocation).objective
    assert problem.relative_violation(outcome.allocation) <= 1e-12
    assert objective >= exact * (1.0 - 1e-9)
    assert outcome.converged == (outcome.termination is ea.Termination.CONVERGED)
    if outcome.converged:
        assert objective == pytest.approx(exact, rel=1e-6)


def test_association_and_cuts_come_from_certified() -> None:
    problem = sized(7, 6, 2, extreme=False)
    certified = problem.solve("certified", gap=1e-4).require()
    solution = problem.solve("convex", gap=1e-4).require()
    for name in ("server", "local_layers"):
        assert (getattr(solution.allocation, name) == getattr(certified.allocation, name)).all()
    assert solution.objective == pytest.approx(certified.objective, rel=1e-7)
    assert "certified" in solution.attempts[0]
    assert solution.bound is None


def test_a_warm_start_that_no_resources_can_mend_is_refused() -> None:
    problem = sized(2, 3, 2, extreme=False, dead_links=False)
    begin = start(problem)
    with pytest.raises(ea.DataError, match=r"warm_start.*server"):
        problem.replace(gain=np.zeros_like(problem.gain), stability=ea.Stability("fu", lambda_min=1.0),
                        max_local_layers=None, stability_limit=None, device_memory_bytes=None,
                        memory_bytes_fixed=0.0, memory_bytes_per_layer=0.0, memory_bytes_head=0.0,
                        ).solve("convex", warm_start=begin)


def test_time_limit_and_interruption_keep_what_is_done() -> None:
    """Servers that were not reached keep equal shares: feasible, and no worse than the start."""
    problem = sized(5, 12, 3, extreme=False)
    begin = start(problem)
    late = convex.run(problem, Run(warm_start=begin, time_limit_s=1e-9))
    assert late.termination is ea.Termination.TIME_LIMIT
    assert not late.converged

    calls = 0

    def stop(_: ea.Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    stopped = convex.run(problem, Run(warm_start=begin, on_progress=stop))
    assert stopped.termination is ea.Termination.INTERRUPTED
    values = [problem.evaluate(one.allocation).objective for one in (late, stopped)]
    assert problem.relative_violation(stopped.allocation) <= 1e-9
    assert values[1] < values[0] <= problem.evaluate(begin).objective * (1.0 + 1e-12)


def test_every_fallback_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two Clarabel iterations nothing is solved, SCS steps in, and `attempts` names both."""
    problem = sized(6, 3, 1, extreme=False)
    begin = start(problem)
    weak = ("Clarabel", "CLARABEL", {"max_iter": 2})
    monkeypatch.setattr(convex_cones, "SOLVERS", (weak, convex_cones.SOLVERS[-1]))
    outcome = convex.run(problem, Run(warm_start=begin))
    assert any("Clarabel" in line and "SCS" in line for line in outcome.attempts)
    monkeypatch.setattr(convex_cones, "SOLVERS", (weak,))
    outcome = convex.run(problem, Run(warm_start=begin))
    assert outcome.termination is ea.Termination.NUMERICAL
    assert not outcome.converged
    assert problem.relative_violation(outcome.allocation) == 0.0
