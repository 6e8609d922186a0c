"""The resource solve: its optimality conditions, and its prices as derivatives of the optimum."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from instances import choose, chunks, instance, sized
from twin import Twin

import edgealloc as ea
from edgealloc.formulations.split_training.resources import marginal_prices, optimal_allocation

FloatArray = npt.NDArray[np.float64]


def saturation(x: float) -> float:
    """x - 1 + exp(-x), by its series where it would cancel."""
    if x < 1e-2:
        return x * x / 2.0 - x**3 / 6.0 + x**4 / 24.0 - x**5 / 120.0 + x**6 / 720.0
    return x + float(np.expm1(-x))


def radio_point(twin: Twin, a: ea.Allocation, n: int) -> tuple[float, float, float, float, float]:
    """b, P, K1, K2 and cost of user n's upload."""
    terms = twin._radio_terms(np.array(n, dtype=float), np.array(a.server[n], dtype=float))
    k1, k2, high = float(terms[0]), float(terms[1]), float(terms[3])
    b = float(a.bandwidth_hz[n])
    received = float(a.power_w[n]) * high / float(twin.p.power_max_w[n])
    return b, received, k1, k2, (k1 + k2 * received) / (b * float(np.log1p(received / b)))


@pytest.mark.parametrize("seeds", chunks(150, 3), ids=str)
def test_kkt_of_bandwidth_and_power(seeds: range) -> None:
    """Within a server every user's marginal saving per hertz equals the price (more than it only at b =
    b_m), and d cost/d log p vanishes, or has the right sign at a bound of the power."""
    for seed in seeds:
        problem = instance(seed)
        server, cut = choose(problem, np.random.default_rng(seed))
        a, twin = optimal_allocation(problem, server, cut), Twin(problem)
        price = marginal_prices(problem, a)["bandwidth_hz"]
        for m in range(problem.servers):
            members = np.flatnonzero(server == m)
            assert (price[m] > 0.0) == bool(members.size), seed
            if members.size:
                assert a.bandwidth_hz[members].sum() == pytest.approx(problem.bandwidth_max_hz[m], rel=1e-12)
        for n in np.flatnonzero(server >= 0):
            b, received, k1, k2, cost = radio_point(twin, a, int(n))
            x = float(np.log1p(received / b))
            marginal = cost * saturation(x) / (x * b)
            assert marginal == pytest.approx(price[server[n]], rel=1e-6), (seed, n)
            toward = k2 * received / (k1 + k2 * received) - received / b / (1.0 + received / b) / x
            at_low = a.power_w[n] <= problem.power_min_w[n] * (1.0 + 1e-12)
            at_high = a.power_w[n] >= problem.power_max_w[n] * (1.0 - 1e-12)
            assert toward >= -1e-7 or at_high, (seed, n, toward)
            assert toward <= 1e-7 or at_low, (seed, n, toward)


@pytest.mark.parametrize("seeds", chunks(150, 3), ids=str)
def test_kkt_of_clocks(seeds: range) -> None:
    """Server shares: marginal saving equals the price, complementary to the sum; device clock: stationary
    or bound."""
    for seed in seeds:
        problem = instance(seed)
        server, cut = choose(problem, np.random.default_rng(seed))
        a, twin = optimal_allocation(problem, server, cut), Twin(problem)
        price = marginal_prices(problem, a)["server_frequency_hz"]
        for m in range(problem.servers):
            spare = float(problem.server_frequency_max_hz[m] - a.server_frequency_hz[server == m].sum())
            assert price[m] >= 0.0
            assert price[m] == 0.0 or spare <= 1e-9 * problem.server_frequency_max_hz[m], (seed, m)
        for n in np.flatnonzero(server >= 0):
            m, f = int(server[n]), float(a.server_frequency_hz[n])
            cycles = ((problem.layers - cut[n]) * problem.layer_flops[n] + problem.head_flops[n]) / (
                problem.server_flops_per_cycle[m]
            )
            waiting = (twin.w_t[n] + twin.w_e[n] * problem.idle_power_w[n]) * cycles / f**2
            kappa = 0.0 if problem.server_kappa is None else float(problem.server_kappa[m])
            marginal = waiting - 2.0 * twin.w_e[n] * kappa * f * cycles
            assert marginal == pytest.approx(price[m], rel=1e-6, abs=1e-8 * waiting), (seed, n)
        own = a.user_frequency_hz
        slope = -twin.w_t / own**2 + 2.0 * twin.w_e * problem.user_kappa * own
        scale = twin.w_t / own**2
        assert np.all((slope >= -1e-9 * scale) | (own >= problem.user_frequency_max_hz)), seed
        assert np.all((slope <= 1e-9 * scale) | (own <= problem.user_frequency_min_hz)), seed


def slope_of_optimum(
    problem: ea.SplitTraining, server: npt.NDArray[np.int64], cut: npt.NDArray[np.int64], field: str, i: int
) -> float:
    """Objective saved per extra unit of entry i of a field, integers held: right-hand, Richardson."""

    def objective(step: float) -> float:
        more = np.array(getattr(problem, field), dtype=float)
        more[i] *= 1.0 + step
        changed = problem.replace(**{field: more})
        return changed.evaluate(optimal_allocation(changed, server, cut)).objective

    value, before = float(getattr(problem, field)[i]), objective(0.0)
    near, far = ((before - objective(step)) / (step * value) for step in (1e-4, 2e-4))
    return 2.0 * near - far


@pytest.mark.parametrize("seeds", chunks(60, 3), ids=str)
@pytest.mark.parametrize(
    ("limit", "field"),
    [
        ("bandwidth_hz", "bandwidth_max_hz"),
        ("server_frequency_hz", "server_frequency_max_hz"),
        ("power_w", "power_max_w"),
        ("user_frequency_hz", "user_frequency_max_hz"),
    ],
)
def test_prices_are_derivatives(limit: str, field: str, seeds: range) -> None:
    """A price is the objective saved per extra unit of its limit, association and cuts held: right-hand finite
    differences (a bound may sit on another) agree to 1e-5."""
    for seed in seeds:
        problem = instance(seed)
        server, cut = choose(problem, np.random.default_rng(seed))
        base = optimal_allocation(problem, server, cut)
        prices, values = marginal_prices(problem, base)[limit], getattr(problem, field)
        assert prices.shape == values.shape
        for i in range(values.size):
            slope = slope_of_optimum(problem, server, cut, field, i)
            noise = 1e-8 * problem.evaluate(base).objective / float(values[i])
            assert prices[i] == pytest.approx(slope, rel=1e-5, abs=noise), (seed, i)


@pytest.mark.parametrize("seed", range(20))
def test_more_never_hurts_at_fixed_integers(seed: int) -> None:
    """More bandwidth, clock or gain never raises the optimum at a fixed association and cut."""
    problem = sized(seed, 5, 2)
    server, cut = choose(problem, np.random.default_rng(seed))
    before = problem.evaluate(optimal_allocation(problem, server, cut)).objective
    for field in ("bandwidth_max_hz", "server_frequency_max_hz", "gain"):
        more = np.minimum(getattr(problem, field) * 1.3, 1.0 if field == "gain" else np.inf)
        changed = problem.replace(**{field: more})
        after = changed.evaluate(optimal_allocation(changed, server, cut)).objective
        assert after <= before * (1.0 + 1e-12), field


def test_user_who_serves_himself_gets_all() -> None:
    """One user, one server, no energy: the whole band, all power and both clocks at their tops."""
    problem = sized(
        3,
        1,
        1,
        layers=3,
        extreme=False,
        free_energy=True,
        max_local="split",
        min_local=1,
        stability_limit=False,
        device_memory=False,
    )
    a = optimal_allocation(problem, np.array([0]), np.array([1]))
    assert a.bandwidth_hz[0] == pytest.approx(problem.bandwidth_max_hz[0], rel=1e-14)
    assert a.power_w[0] == problem.power_max_w[0]
    assert a.user_frequency_hz[0] == problem.user_frequency_max_hz[0]
    assert a.server_frequency_hz[0] == pytest.approx(problem.server_frequency_max_hz[0], rel=1e-14)


def test_equal_users_share_equally() -> None:
    """Ties: equal users at equal cuts get equal shares, to the last bits."""
    problem = sized(
        8,
        4,
        1,
        same_users=True,
        weights_per_user=False,
        dead_links=False,
        fixed_delay=False,
        stability_limit=False,
        device_memory=False,
        layers=4,
        min_local=1,
        max_local="split",
    )
    a = optimal_allocation(problem, np.zeros(4, dtype=np.int64), np.full(4, 2))
    for name in ("power_w", "bandwidth_hz", "user_frequency_hz", "server_frequency_hz"):
        values = getattr(a, name)
        assert values == pytest.approx(np.full(4, values[0]), rel=1e-13), name
