"""One option under a deadline: its value against a general NLP solver, weak duality, and what is too slow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from instances import count, sized
from scipy.optimize import minimize

import edgealloc as ea
from edgealloc.formulations.split_training.options import EXACT, cut_range, respond, timed_option
from edgealloc.formulations.split_training.reduced import Reduced, reduce

FloatArray = npt.NDArray[np.float64]


class Option:
    """User 0 on server 0 at a cut and prices, from the numbers of the problem: its fastest time, and its priced cost
    as a general solver sees it, over log b, log p, log F and log f as parts of their limits."""

    def __init__(self, problem: ea.SplitTraining, cut: int, price_b: float, price_f: float) -> None:
        p: Any = problem
        self.w_t = float(p.weights.effective("delay", p.users)[0])
        self.w_e = float(p.weights.effective("energy", p.users)[0])
        self.price_b, self.price_f = price_b * p.bandwidth_max_hz[0], price_f * p.server_frequency_max_hz[0]
        self.device_s = cut * p.layer_flops[0] / (p.user_flops_per_cycle[0] * p.user_frequency_max_hz[0])
        self.device_j = self.device_s * p.user_kappa[0] * p.user_frequency_max_hz[0] ** 3
        work = (p.layers - cut) * p.layer_flops[0] + p.head_flops[0]
        self.server_s = work / (p.server_flops_per_cycle[0] * p.server_frequency_max_hz[0])
        self.fixed_j, self.server_j = 0.0, 0.0
        if p.server_joules_per_flop is not None:
            self.fixed_j = p.server_joules_per_flop[0] * work
        else:
            self.server_j = p.server_kappa[0] * p.server_frequency_max_hz[0] ** 3 * self.server_s
        self.nats_s = p.upload_bits[0] * math.log(2.0) / p.bandwidth_max_hz[0]
        self.snr = p.gain[0, 0] * p.power_max_w[0] / (p.noise_psd_w_per_hz * p.bandwidth_max_hz[0])
        self.power, self.circuit, self.idle = p.power_max_w[0], p.circuit_power_w[0], p.idle_power_w[0]
        self.efficiency, self.counted = p.amplifier_efficiency[0], 1.0 if p.count_upload_delay else 0.0
        self.wait_s = float(p.fixed_delay_s[0, 0])
        instability = p.stability.value(np.array([cut / p.layers]), p.samples[:1])
        self.constant = float(p.weights.effective("stability", p.users)[0] * instability[0])
        self.low = np.log(np.maximum([1e-9, p.power_min_w[0] / p.power_max_w[0], 1e-9,
                                      p.user_frequency_min_hz[0] / p.user_frequency_max_hz[0]], 1e-12))

    def parts(self, z: FloatArray) -> tuple[float, float, float]:
        """Upload, server and device seconds."""
        b, p, clock, f = np.exp(z)
        return self.nats_s / (b * math.log1p(self.snr * p / b)), self.server_s / clock, self.device_s / f

    def time(self, z: FloatArray) -> float:
        return sum(self.parts(z)) + self.wait_s

    def cost(self, z: FloatArray) -> float:
        """Priced cost without lateness."""
        b, p, clock, f = np.exp(z)
        upload, server, device = self.parts(z)
        energy = upload * (p * self.power / self.efficiency + self.circuit) + self.idle * (server + self.wait_s)
        energy += self.device_j * f**2 + self.server_j * clock**2 + self.fixed_j
        delay = self.counted * upload + server + device + self.wait_s
        return float(self.w_t * delay + self.w_e * energy + self.constant + self.price_b * b + self.price_f * clock)

    def cost_in(self, scale: float) -> Callable[[FloatArray], float]:
        return lambda z: self.cost(z) / scale

    @property
    def fastest_s(self) -> float:
        return self.time(np.zeros(4))

    def least(self, deadline: float, rng: np.random.Generator) -> float:
        """The best of a general solver from several starts at which the deadline is kept; inf if none converged."""
        scale = self.cost(np.zeros(4))
        found = math.inf
        limits: list[Any] = [{"type": "ineq", "fun": lambda z: 1.0 - self.time(z) / deadline}]
        for start in [np.full(4, -1e-3), np.full(4, -0.3), *(-rng.uniform(0.0, 3.0, 4) for _ in range(6))]:
            options: Any = {"ftol": 1e-15, "maxiter": 500}
            bounds = [(float(low), 0.0) for low in self.low]
            begin: Any = np.maximum(start, self.low)
            result: Any = minimize(self.cost_in(scale), begin, method="SLSQP", constraints=limits, bounds=bounds,
                                   options=options)
            late = self.time(result.x) / deadline - 1.0
            if late <= 1e-10:
                found = min(found, float(result.fun) * scale)
        return found


def drawn(seed: int, **traits: Any) -> tuple[ea.SplitTraining, Option, int, float, float, np.random.Generator]:
    """A random option at random prices, and no deadline yet."""
    rng = np.random.default_rng([seed, 77])
    problem = sized(seed, 3, 1, 5, **({"extreme": False, "dead_links": False, "max_local": "split"} | traits))
    cut = int(rng.integers(problem.cuts.low[0], problem.cuts.high[0] + 1))
    plain = Option(problem, cut, 0.0, 0.0)
    # as dear as a hundredth to a hundred times the user's own cost of a whole server
    price_b, price_f = plain.cost(np.zeros(4)) * 10.0 ** rng.uniform(-2.0, 2.0, 2)
    price_b /= problem.bandwidth_max_hz[0]
    price_f /= problem.server_frequency_max_hz[0]
    return problem, Option(problem, cut, price_b, price_f), cut, price_b, price_f, rng


def timed(problem: ea.SplitTraining, deadline: float, penalty: float = math.inf) -> Reduced:
    """Coefficients where user 0 has a deadline, and is the only one."""
    rest = [math.inf] * (problem.users - 1)
    soft = {"deadline_penalty_per_s": [penalty, *rest]} if math.isfinite(penalty) else {}
    return reduce(problem.replace(deadline_s=[deadline, *rest], **soft))


def free_time(data: Reduced, cut: int, price_b: float, price_f: float) -> float:
    """Time of the option where nobody presses."""
    return float(respond(data, 0, 0, cut, price_b, price_f, 0.0)[3])


@pytest.mark.parametrize("seed", range(count(40)))
def test_value_is_that_of_a_general_solver(seed: int) -> None:
    """The value by one multiplier is the least priced cost within the deadline: SLSQP finds it to 1e-8, and nothing
    below it."""
    problem, option, cut, price_b, price_f, rng = drawn(seed)
    free = min(free_time(reduce(problem), cut, price_b, price_f), 1e3 * option.fastest_s)
    deadline = option.fastest_s * (max(free / option.fastest_s, 1.02) / 1.01) ** rng.uniform(0.05, 1.1) * 1.01
    data = timed(problem, deadline)
    value, band, share, theta = timed_option(data, 0, 0, cut, price_b, price_f, 0.0, EXACT)
    assert 0.0 < band <= problem.bandwidth_max_hz[0] * (1.0 + 1e-12)
    assert 0.0 < share <= problem.server_frequency_max_hz[0] * (1.0 + 1e-12)
    found = option.least(deadline, rng)
    assert math.isfinite(found)
    assert value <= found * (1.0 + 1e-9)
    assert value == pytest.approx(found, rel=1e-8)
    if theta > 0.0:
        elapsed = respond(data, 0, 0, cut, price_b, price_f, theta)[3]
        assert elapsed == pytest.approx(deadline, rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_any_multiplier_is_a_lower_bound(seed: int) -> None:
    """Whatever theta, the priced cost at it is never above the value, and a rough search neither."""
    problem, option, cut, price_b, price_f, rng = drawn(seed)
    data = timed(problem, option.fastest_s * rng.uniform(1.02, 2.0))
    value, _, _, theta = timed_option(data, 0, 0, cut, price_b, price_f, 0.0, EXACT)
    top = float(data.user["penalty"][0])
    for other in [0.0, top, *(top * 10.0 ** rng.uniform(-14.0, 0.0, 30)), *(theta * rng.uniform(0.3, 3.0, 30))]:
        assert respond(data, 0, 0, cut, price_b, price_f, min(other, top))[0] <= value * (1.0 + 1e-12)
    for guess in (0.0, 1e-3 * theta, 30.0 * theta, top):
        rough = timed_option(data, 0, 0, cut, price_b, price_f, guess, 1e-6)[0]
        assert rough <= value * (1.0 + 1e-12)
        assert rough == pytest.approx(value, rel=1e-6)
        again = timed_option(data, 0, 0, cut, price_b, price_f, guess, EXACT)[0]
        assert again == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize("seed", range(10))
def test_a_slack_deadline_has_no_price(seed: int) -> None:
    """Where the option without a deadline is in time, theta is 0 and nothing changes."""
    problem, _, cut, price_b, price_f, _ = drawn(seed, upload_counts=True)
    plain = reduce(problem)
    value, band, share, elapsed = respond(plain, 0, 0, cut, price_b, price_f, 0.0)
    data = timed(problem, elapsed * (1.0 + 1e-9))
    assert timed_option(data, 0, 0, cut, price_b, price_f, 0.0, EXACT) == (value, band, share, 0.0)
    data = timed(problem, elapsed * (1.0 - 1e-6))
    assert timed_option(data, 0, 0, cut, price_b, price_f, 0.0, EXACT)[3] > 0.0


@pytest.mark.parametrize("seed", range(10))
def test_a_soft_deadline_costs_its_penalty_at_most(seed: int) -> None:
    """The multiplier is the smaller of the penalty and that of the hard deadline; with a small one, the value is the
    least cost with lateness paid per second."""
    problem, option, cut, price_b, price_f, rng = drawn(seed, upload_counts=True)
    free = free_time(reduce(problem), cut, price_b, price_f)
    deadline = option.fastest_s * (max(free / option.fastest_s, 1.1)) ** 0.5
    if free <= deadline * 1.01:
        return
    hard = timed_option(timed(problem, deadline), 0, 0, cut, price_b, price_f, 0.0, EXACT)
    for factor in (0.1, 0.9, 10.0):
        data = timed(problem, deadline, hard[3] * factor)
        value, _, _, theta = timed_option(data, 0, 0, cut, price_b, price_f, 0.0, EXACT)
        assert theta == pytest.approx(hard[3] * min(factor, 1.0), rel=1e-6)
        if factor > 1.0:
            assert value == pytest.approx(hard[0], rel=1e-10)
            continue
        assert value < hard[0]
        late = max(respond(data, 0, 0, cut, price_b, price_f, theta)[3], deadline)
        # paying per second late is the same as a hard deadline at the time it leads to, plus what lateness costs
        paid = option.least(late, rng) + hard[3] * factor * (late - deadline)
        assert value == pytest.approx(paid, rel=1e-8)


@pytest.mark.parametrize("seed", range(count(60)))
def test_cut_range_leaves_out_what_is_too_slow(seed: int) -> None:
    """Exactly the cuts whose fastest time exceeds the deadline are out, by NumPy on the problem's numbers."""
    rng = np.random.default_rng([seed, 78])
    problem = sized(seed, 3, 2, 8, dead_links=False, max_local="split")
    p: Any = problem
    n, m = int(rng.integers(3)), int(rng.integers(2))
    cuts = np.arange(problem.cuts.low[n], problem.cuts.high[n] + 1)
    snr = p.gain[n, m] * p.power_max_w[n] / (p.noise_psd_w_per_hz * p.bandwidth_max_hz[m])
    upload = p.upload_bits[n] * math.log(2.0) / (p.bandwidth_max_hz[m] * np.log1p(snr))
    work = (p.layers - cuts) * p.layer_flops[n] + p.head_flops[n]
    device = cuts * p.layer_flops[n] / (p.user_flops_per_cycle[n] * p.user_frequency_max_hz[n])
    server = work / (p.server_flops_per_cycle[m] * p.server_frequency_max_hz[m])
    fastest = device + server + upload + p.fixed_delay_s[n, m]
    edges = np.sort(fastest)
    for deadline in [0.5 * edges[0], *(edges * (1.0 + 1e-9)), *(edges * (1.0 - 1e-9)), *(edges[:-1] + edges[1:]) / 2.0]:
        limits = np.full(3, np.inf)
        limits[n] = deadline
        low, high = cut_range(reduce(problem.replace(deadline_s=limits)), n, m)
        assert list(range(low, high + 1)) == [int(c) for c, s in zip(cuts, fastest, strict=True) if s <= deadline]
        soft = problem.replace(deadline_s=limits, deadline_penalty_per_s=np.full(3, 5.0))
        assert cut_range(reduce(soft), n, m) == (problem.cuts.low[n], problem.cuts.high[n])
