"""The cone solver's resources against scipy on the plain formulas, and against the exact resource solve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from instances import choose, count, instance, sized
from scipy.optimize import minimize, minimize_scalar

import edgealloc as ea
from edgealloc.core.run import Run
from edgealloc.formulations.split_training import baselines, convex, convex_cones
from edgealloc.formulations.split_training.reduced import reduce
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
    cut = np.where(baselines.can_split(problem), problem.cuts.low, problem.layers)
    return baselines.equal_allocation(problem, server, cut)


# ---- claims ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(count(6)))
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


@pytest.mark.parametrize("seed", range(count(10)))
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


# ---- deadlines, clocks handed out whole, synchronous rounds ---------------------------------------------------


def tightened(seed: int, *, users: int = 5, soft: bool = False, low: float = 0.8, **fields: Any) -> tuple[
        ea.SplitTraining, ea.Allocation]:
    """A problem with deadlines of `low` to 1.2 times the responses of the optimum without any, and a start."""
    rng = np.random.default_rng([seed, 77])
    rounds = {"upload_counts": True, "weights_per_user": False, "free_energy": False} if "delay" in fields else {}
    problem = sized(seed, users, 2, extreme=False, **rounds)
    server, cut = choose(problem, rng)
    costs = problem.evaluate(optimal_allocation(problem, server, cut))
    deadline = costs.response_s * rng.uniform(low, 1.2, users) * (2.0 if rounds else 1.0)
    deadline[rng.random(users) < 0.2] = np.inf
    fields["deadline_s"] = deadline
    if soft:
        penalty = costs.user_objective / costs.response_s * 10.0 ** rng.uniform(-2.0, 2.0, users)
        fields["deadline_penalty_per_s"] = np.where(rng.random(users) < 0.3, np.inf, np.maximum(penalty, 1e-300))
    return problem.replace(**fields), baselines.equal_allocation(problem, np.maximum(server, 0), cut)


def best_round_objective(problem: ea.SplitTraining, a: ea.Allocation) -> float:
    """Least objective near the round of an allocation: it is convex in the length, so a minimum inside is the least."""
    length = float(problem.evaluate(a).response_s.max())

    def objective(y: float) -> float:
        data = reduce(problem, round_s=length * float(np.exp(y)))
        found = optimal_allocation(problem, a.server, a.local_layers, data=data)
        bad = problem.relative_violation(found) > 1e-9
        return float("inf") if bad else problem.evaluate(found).objective

    found = minimize_scalar(objective, bounds=(-0.01, 0.02), method="bounded", options={"xatol": 1e-9})
    return min(float(found.fun), objective(0.0))


VARIANTS: dict[str, dict[str, Any]] = {
    "hard": {}, "soft": {"soft": True}, "exactly": {"resource_sense": "exactly"},
    "soft-exactly": {"soft": True, "resource_sense": "exactly"},
}


@pytest.mark.parametrize("seed", range(count(6)))
@pytest.mark.parametrize("variant", VARIANTS)
def test_deadlines_agree_with_the_exact_resource_solve(variant: str, seed: int) -> None:
    """The same objective to 1e-6, or both find that no resources keep the deadlines."""
    problem, begin = tightened(seed, **VARIANTS[variant])
    exact = optimal_allocation(problem, begin.server, begin.local_layers)
    outcome = convex.run(problem, Run(warm_start=begin, time_limit_s=np.inf))
    if problem.relative_violation(exact) > 1e-9:
        assert outcome.allocation is None
        assert outcome.termination is ea.Termination.STAGES_EXHAUSTED
        assert "infeasible" in outcome.attempts[-1]
        return
    assert outcome.converged, outcome.attempts
    assert problem.relative_violation(outcome.allocation) <= 1e-9
    objective = problem.evaluate(outcome.allocation).objective
    assert objective == pytest.approx(problem.evaluate(exact).objective, rel=1e-6)


@pytest.mark.parametrize("seed", range(count(5)))
@pytest.mark.parametrize("sense", ["at_most", "exactly"])
def test_rounds_agree_with_a_search_for_their_length(sense: str, seed: int) -> None:
    problem, begin = tightened(seed, delay="max", resource_sense=sense)
    problem = problem.replace(deadline_s=problem.deadline_s if seed % 2 else None)
    outcome = convex.run(problem, Run(warm_start=begin, time_limit_s=np.inf))
    if outcome.allocation is None:  # then not even the longest round that keeps the deadlines is possible
        data = reduce(problem, round_s=1e9 * float(np.nanmax(problem.evaluate(begin).response_s)))
        late = optimal_allocation(problem, begin.server, begin.local_layers, data=data)
        assert problem.relative_violation(late) > 1e-9
        assert outcome.termination is ea.Termination.STAGES_EXHAUSTED
        return
    assert outcome.converged, outcome.attempts
    assert problem.relative_violation(outcome.allocation) <= 1e-9
    objective = problem.evaluate(outcome.allocation).objective
    assert objective == pytest.approx(best_round_objective(problem, outcome.allocation), rel=1e-6)


def improved(problem: ea.SplitTraining, a: ea.Allocation) -> float:
    """What SLSQP makes of an allocation, in the logarithms of all resources; a round is a variable of its own."""
    names = ("user_frequency_hz", "power_w", "bandwidth_hz", "server_frequency_hz")
    n = problem.users
    top = np.concatenate([np.maximum(getattr(a, name), 1.0) for name in names])
    low = np.concatenate([problem.user_frequency_min_hz, problem.power_min_w, np.zeros(2 * n)])
    high = np.concatenate([problem.user_frequency_max_hz, problem.power_max_w, np.full(2 * n, np.inf)])

    def at(z: FloatArray) -> ea.Allocation:
        values = np.clip(np.exp(z[: 4 * n]) * top, low, high).reshape(4, n)
        return ea.Allocation(server=a.server, local_layers=a.local_layers, **dict(zip(names, values, strict=True)))

    def slack(z: FloatArray) -> FloatArray:
        found, rows = at(z), []
        for m in np.unique(a.server[a.server >= 0]):
            here = a.server == m
            rows.append(1.0 - found.bandwidth_hz[here].sum() / problem.bandwidth_max_hz[m])
            rows.append(1.0 - found.server_frequency_hz[here].sum() / problem.server_frequency_max_hz[m])
        response = problem.evaluate(found).response_s
        if problem.deadline_s is not None:
            rows.extend((1.0 - response / problem.deadline_s)[np.isfinite(problem.deadline_s)])
        if problem.delay == "max":
            rows.extend(1.0 - response / (length * np.exp(z[-1])))
        return np.array(rows)

    costs = problem.evaluate(a)
    length = float(costs.response_s.max())
    weight = float(problem.weights.effective("delay", n)[0]) if problem.delay == "max" else 0.0

    def objective(z: FloatArray) -> Any:
        total = float(problem.evaluate(at(z)).user_objective.sum()) + weight * length * float(np.exp(z[-1]))
        return total / float(costs.objective)

    begin = np.append(np.log(np.concatenate([np.maximum(getattr(a, name), 1e-300) for name in names]) / top), 0.0)
    with np.errstate(divide="ignore"):
        bounds = np.array([np.log(low / top), np.log(high / top)]).T
    bounds = np.vstack([np.clip(bounds, -700.0, 700.0), [-5.0, 5.0]])
    constraint: Any = {"type": "ineq", "fun": slack}
    found: Any = minimize(objective, begin, jac="3-point", method="SLSQP", bounds=list(map(tuple, bounds)),
                          constraints=constraint, options={"ftol": 1e-13, "maxiter": 200})
    assert np.append(slack(found.x), 0.0).min() > -1e-9
    return float(found.fun * costs.objective)


@pytest.mark.parametrize("seed", range(count(3)))
@pytest.mark.parametrize("delay", ["sum", "max"])
def test_agrees_with_slsqp(delay: str, seed: int) -> None:
    """A local method on `evaluate` itself, begun somewhere near: the problem is convex in the logarithms."""
    variant: dict[str, Any] = {"delay": "max"} if delay == "max" else {}
    problem, begin = tightened(seed, users=3, **variant)
    outcome = convex.run(problem, Run(warm_start=begin, time_limit_s=np.inf))
    if outcome.allocation is None:
        return
    a = outcome.allocation
    power = np.clip(1.2 * a.power_w, problem.power_min_w, problem.power_max_w)
    moved = replace(a, bandwidth_hz=0.95 * a.bandwidth_hz, server_frequency_hz=0.9 * a.server_frequency_hz,
                    power_w=power)
    assert problem.evaluate(a).objective == pytest.approx(improved(problem, moved), rel=1e-6)


def test_clocks_are_handed_out_whole() -> None:
    base = sized(8, 6, 2, extreme=False, clock_scaled=True, max_local="split", free_energy=False)
    problem = base.replace(resource_sense="exactly", server_kappa=100.0 * base.server_kappa)
    begin = start(problem)
    solution = problem.solve("convex", warm_start=begin).require()
    exact = problem.evaluate(optimal_allocation(problem, begin.server, begin.local_layers)).objective
    assert solution.objective == pytest.approx(exact, rel=1e-8)
    loose = problem.replace(resource_sense="at_most")
    less = loose.evaluate(optimal_allocation(loose, begin.server, begin.local_layers)).objective
    assert less < exact * (1.0 - 1e-3)  # the equality bites


def test_deadlines_out_of_reach_leave_no_allocation() -> None:
    problem, begin = tightened(1)
    hopeless = problem.replace(deadline_s=1e-3 * problem.evaluate(begin).response_s)
    outcome = convex.run(hopeless, Run(warm_start=begin))
    assert outcome.allocation is None
    assert outcome.diagnosis is None  # a solver's word is no proof
    assert "infeasible" in outcome.attempts[-1]


def test_out_of_time_nothing_that_misses_a_deadline_is_returned() -> None:
    problem, begin = tightened(1)
    tight = problem.replace(deadline_s=0.9 * problem.evaluate(begin).response_s)
    outcome = convex.run(tight, Run(warm_start=begin, time_limit_s=1e-9))
    assert outcome.allocation is None
    assert outcome.termination is ea.Termination.TIME_LIMIT


@pytest.mark.parametrize("limit", ["users_per_server", "server_memory_bytes"])
def test_a_warm_start_beyond_a_server_is_refused(limit: str) -> None:
    problem = sized(2, 4, 2, extreme=False, max_local="split")
    begin = start(problem)
    fields = {"users_per_server": 1} if limit == "users_per_server" else {
        "server_memory_bytes": 1.5, "server_memory_bytes_fixed": 1.0}
    with pytest.raises(ea.DataError, match=rf"warm_start.*{limit}"):
        problem.replace(**fields).solve("convex", warm_start=begin)


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
