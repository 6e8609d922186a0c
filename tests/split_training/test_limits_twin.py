"""The twin for limits against what it must agree with: the plain twin, a general solver on `evaluate`, weak
duality, closed forms at the edge of what is feasible, and enumeration without pruning."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from instances import choose, chunks, count, instance, sized
from limits_instances import limited, sized_limited, witness
from limits_twin import LimitsTwin, optimum
from scipy.optimize import minimize
from twin import Twin

import edgealloc as ea

FloatArray = npt.NDArray[np.float64]


@pytest.mark.parametrize("seeds", chunks(12, 2), ids=str)
def test_limits_that_do_not_bind_change_nothing(seeds: range) -> None:
    """With endless deadlines written as numbers, the barrier finds the optimum of the plain twin."""
    for seed in seeds:
        problem = instance(seed, users=3, servers=2, layers=4)
        loose = problem.replace(deadline_s=np.full(problem.users, 1e30), users_per_server=np.full(problem.servers, 9))
        assert optimum(loose)[0] == pytest.approx(Twin(problem).optimum(), rel=2e-9), seed


@pytest.mark.parametrize("seeds", chunks(10, 1), ids=str)
def test_the_optimum_is_reached(seeds: range) -> None:
    """Its allocation keeps every limit and has the value that is claimed, by the library's own definition."""
    for seed in seeds:
        problem = limited(seed)
        twin = LimitsTwin(problem)
        best = twin.optimum()
        if math.isinf(best.objective):
            continue
        value, allocation = twin.allocation(best.server, best.cut)
        assert allocation is not None
        assert value == pytest.approx(best.objective, rel=1e-8), seed
        assert problem.evaluate(allocation).objective == pytest.approx(best.objective, rel=1e-8), seed
        assert problem.relative_violation(allocation) <= 1e-12, seed


@pytest.mark.parametrize("feasible", [True, False])
def test_feasible_by_construction(feasible: bool) -> None:
    for seed in range(10):
        assert math.isfinite(optimum(limited(seed, feasible=feasible))[0]) == feasible, seed
    problem = sized_limited(0, 30, 3, 8, feasible=True)
    assert (problem.users, problem.servers, problem.layers) == (30, 3, 8)


@pytest.mark.parametrize("rounds", [False, True])
def test_pruning_loses_nothing(rounds: bool) -> None:
    """The least `at` over every association and every cut is the optimum."""
    for seed in range(count(2)):
        problem = sized_limited(seed, 2, 2, 3, rounds=rounds, deadlines=True, feasible=True)
        twin = LimitsTwin(problem)
        values = []
        for server in itertools.product(range(-1, 2), repeat=2):
            for cut in itertools.product(range(problem.layers + 1), repeat=2):
                values.append(twin.at(np.array(server), np.array(cut)))
        assert twin.optimum().objective == pytest.approx(min(values), rel=1e-8), seed


class General:
    """The continuous problem at an association and cuts for a general solver: `evaluate` is the objective, and
    what it returns the limits. Variables: log b, log p, log F (as parts of the whole), log f; and the round."""

    def __init__(self, problem: ea.SplitTraining, server: npt.NDArray[np.int64], cut: npt.NDArray[np.int64]) -> None:
        self.p, self.server, self.cut = problem, server, cut
        self.scale = problem.evaluate(witness(problem, server, cut)).objective
        self.at = np.maximum(server, 0)

    def allocation(self, z: FloatArray) -> ea.Allocation:
        b, p, clock, f = np.exp(np.clip(z[:-1], -60.0, 3.0)).reshape(4, -1)
        remote, data = self.server >= 0, self.p
        return ea.Allocation(
            server=self.server,
            local_layers=self.cut,
            power_w=np.where(remote, p * data.power_max_w, 0.0),
            bandwidth_hz=np.where(remote, b * data.bandwidth_max_hz[self.at], 0.0),
            user_frequency_hz=f * data.user_frequency_max_hz,
            server_frequency_hz=np.where(remote, clock * data.server_frequency_max_hz[self.at], 0.0),
        )

    def value(self, z: FloatArray) -> float:
        costs = self.p.evaluate(self.allocation(z))
        return float((costs.user_objective.sum() + (np.exp(z[-1]) if self.p.delay == "max" else 0.0)) / self.scale)

    def slacks(self, z: FloatArray) -> FloatArray:
        """Deadlines, sums and the round; the sums of the clock are equalities where they must be."""
        costs, data = self.p.evaluate(self.allocation(z)), self.p
        found = []
        if data.deadline_s is not None and data.deadline_penalty_per_s is None:
            keep = np.isfinite(data.deadline_s)
            found.append(1.0 - (costs.response_s / data.deadline_s)[keep])
        if data.delay == "max":
            found.append(1.0 - data.weights.effective("delay", data.users) * costs.delay_s / np.exp(z[-1]))
        found.append(1.0 - self.sums(z, 0))
        if data.resource_sense == "at_most":
            found.append(1.0 - self.sums(z, 2))
        return np.concatenate(found)

    def sums(self, z: FloatArray, row: int) -> FloatArray:
        shares = np.where(self.server >= 0, np.exp(np.clip(z[:-1], -60.0, 3.0)).reshape(4, -1)[row], 0.0)
        used = np.unique(self.server[self.server >= 0])
        return np.asarray(np.bincount(self.at, weights=shares, minlength=self.p.servers)[used])

    def solve(self, start: FloatArray) -> float:
        """Objective where SLSQP ends, inf if a limit is broken there."""
        data, n = self.p, self.p.users
        free = [(-25.0, 0.0)] * n
        power = [(float(np.log(max(low, 1e-20))), 0.0) for low in data.power_min_w / data.power_max_w]
        clock = [(float(np.log(max(low, 1e-12))), 0.0)
                 for low in data.user_frequency_min_hz / data.user_frequency_max_hz]
        limits: list[Any] = [{"type": "ineq", "fun": self.slacks}]
        if data.resource_sense == "exactly":
            limits.append({"type": "eq", "fun": lambda z: 1.0 - self.sums(z, 2)})
        bounds = [*free, *power, *free, *clock, (None, None)]
        result: Any = minimize(self.value, start, bounds=bounds, constraints=limits, method="SLSQP",
                               options={"ftol": 1e-13, "maxiter": 500})
        broken = -self.slacks(result.x).min(initial=0.0)
        if data.resource_sense == "exactly":
            broken = max(broken, float(np.abs(1.0 - self.sums(result.x, 2)).max(initial=0.0)))
        return float(result.fun) * self.scale if broken < 1e-8 else math.inf

    def starts(self, rng: np.random.Generator, count: int) -> list[FloatArray]:
        """Around the witness."""
        n, here = self.p.users, witness(self.p, self.server, self.cut)
        room = np.maximum(np.bincount(self.at, weights=self.server >= 0), 1.0)[self.at]
        weight = self.p.weights.effective("delay", n)
        longest = float(np.log((weight * self.p.evaluate(here).delay_s).max()))
        base = np.concatenate([np.log(0.9 / room), np.full(n, -0.2), np.log(0.9 / room), np.full(n, -0.2)])
        return [np.append(base + rng.normal(0.0, 0.2 * i, base.size), longest + 0.3) for i in range(count)]


GENERAL = {
    "deadlines": {"deadlines": True, "penalties": False, "rounds": False},
    "penalties": {"penalties": True, "deadlines": True},
    "rounds": {"rounds": True, "deadlines": False},
    "rounds with deadlines": {"rounds": True, "deadlines": True},
    "exactly": {"exactly": True, "clock_scaled": True, "rounds": False, "deadlines": True, "penalties": False},
}


@pytest.mark.parametrize("name", GENERAL)
@pytest.mark.parametrize("seed", range(count(1)))
def test_a_general_solver_finds_nothing_better(name: str, seed: int) -> None:
    """SLSQP on `evaluate` at a random association: never below, and as low (1e-4) from one of its starts."""
    problem = sized_limited(seed, 3, 2, 4, feasible=True, extreme=False, caps=False, server_memory=False,
                            **GENERAL[name])
    if problem.deadline_penalty_per_s is not None:  # all soft: the kink is in the objective
        problem = problem.replace(deadline_penalty_per_s=np.minimum(problem.deadline_penalty_per_s, 1e3))
    rng = np.random.default_rng(seed)
    twin = LimitsTwin(problem)
    best = twin.optimum()
    general = General(problem, best.server, best.cut)
    found = min(general.solve(start) for start in general.starts(rng, 4))
    assert found >= best.objective * (1.0 - 1e-7)
    assert found <= best.objective * (1.0 + 1e-4)


@pytest.mark.parametrize("seeds", chunks(6, 1), ids=str)
def test_prices_of_deadlines_prove_the_value(seeds: range) -> None:
    """Weak duality by code apart: the plain twin at delay weights raised by the multipliers of the barrier is a
    lower bound, and a tight one."""
    for seed in seeds:
        problem = limited(seed, deadlines=True, rounds=False, feasible=True)
        twin = LimitsTwin(problem)
        best = twin.optimum()
        price = twin.prices(best.server, best.cut)
        assert twin.bound_at(best.server, best.cut, price) == pytest.approx(best.objective, rel=1e-6), seed
        more = price * 1.3 + 1e-3 * price.max(initial=0.0)
        more = np.where(twin.binding, np.minimum(more, twin.penalty), 0.0)
        assert twin.bound_at(best.server, best.cut, more) <= best.objective * (1.0 + 1e-8), seed


@pytest.mark.parametrize("seed", range(count(4)))
def test_the_edge_of_the_feasible(seed: int) -> None:
    """One user alone on a server: feasible down to its fastest response, and not a millionth below."""
    problem = sized(seed, 1, 1, 4, dead_links=False, max_local="split")
    server, cut = choose(problem, np.random.default_rng(seed))
    fast = float(problem.evaluate(ea.Allocation(
        server=server, local_layers=cut, power_w=problem.power_max_w, bandwidth_hz=problem.bandwidth_max_hz,
        user_frequency_hz=problem.user_frequency_max_hz, server_frequency_hz=problem.server_frequency_max_hz,
    )).response_s[0])
    assert math.isfinite(LimitsTwin(problem.replace(deadline_s=fast * (1.0 + 1e-6))).at(server, cut))
    assert math.isinf(LimitsTwin(problem.replace(deadline_s=fast * (1.0 - 1e-6))).at(server, cut))


@pytest.mark.parametrize("seed", range(count(4)))
def test_the_shortest_round_is_the_edge_of_the_feasible(seed: int) -> None:
    """Where only time counts, the optimum of a round is the least common deadline that can be kept."""
    problem = sized(seed, 3, 1, 4, extreme=False, dead_links=False, max_local="split", weights_per_user=False,
                    free_energy=True, free_stability=True, reference=False)
    server, cut = choose(problem, np.random.default_rng(seed))
    value, allocation = LimitsTwin(problem.replace(delay="max")).allocation(server, cut)
    assert allocation is not None
    shortest = float(problem.evaluate(allocation).response_s.max())
    assert value == pytest.approx(float(np.max(problem.weights.delay)) * shortest, rel=1e-8)
    assert math.isfinite(LimitsTwin(problem.replace(deadline_s=shortest * (1.0 + 1e-6))).at(server, cut))
    assert math.isinf(LimitsTwin(problem.replace(deadline_s=shortest * (1.0 - 1e-6))).at(server, cut))
