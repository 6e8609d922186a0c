"""Responses to a price: rigorous lower bounds, attained, over twenty decades of data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from instances import chunks, count

from edgealloc.system.responses import (
    best_received_power,
    radio_cost,
    radio_response,
    radio_slope,
    server_cost,
    server_response,
)

#: The bound is rigorous up to the rounding of the few operations that evaluate it.
ROUNDING = 1e-13


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(10.0 ** rng.uniform(math.log10(low), math.log10(high)))


def radio_case(rng: np.random.Generator) -> tuple[float, float, float, float, float, float]:
    """(price, cap, low, high, K1, K2): P from 1e-2 Hz (gain 1e-20) to 1e20 Hz (gain 1), every degenerate
    zero."""
    cap = log_uniform(rng, 1e3, 1e10)
    high = log_uniform(rng, 1e-2, 1e20)
    low = float(rng.choice([0.0, 0.0, high, high * log_uniform(rng, 1e-9, 1.0)]))
    k1 = log_uniform(rng, 1e-3, 1e10)
    k2 = float(rng.choice([0.0, k1 / high * log_uniform(rng, 1e-12, 1e12), k1 / cap * log_uniform(rng, 1e-12, 1e12)]))
    if low > 0.0 and k2 > 0.0 and rng.random() < 0.2:
        k1 = 0.0  # upload delay not counted, no circuit power
    at_cap = (k1 + k2 * high) / cap**2
    price = float(rng.choice([0.0, at_cap * log_uniform(rng, 1e-20, 1e20), at_cap * log_uniform(rng, 1e-3, 1e3)]))
    return price, cap, low, high, k1, k2


def exact_cost(b: float, received: float, k1: float, k2: float) -> float:
    return (k1 + k2 * received) / (b * math.log1p(received / b))


@pytest.mark.parametrize("seeds", chunks(3000, 3), ids=str)
def test_radio_value_is_below_every_point_and_attained(seeds: range) -> None:
    """value <= (K1 + K2 P)/(b x) + lambda b for every (b, P) of the box, and equal to it at the returned
    point."""
    rng = np.random.default_rng([seeds.start, 1])
    for case in range(len(seeds)):
        price, cap, low, high, k1, k2 = radio_case(rng)
        value, b, received = radio_response(price, cap, low, high, k1, k2)
        assert 0.0 < b <= cap, case
        assert low <= received <= high, case
        at_point = exact_cost(b, received, k1, k2) + price * b
        assert value <= at_point * (1.0 + ROUNDING), case
        assert value == pytest.approx(at_point, rel=1e-11), (case, price, cap, low, high, k1, k2)
        # sampled over the box, near the optimum, and on its corners and edges
        log_b = np.concatenate([rng.uniform(-40.0, 0.0, 40), rng.normal(0.0, 0.3, 40), np.zeros(10)])
        bands = np.minimum(np.exp(log_b) * np.where(np.arange(90) < 40, cap, b), cap)
        bands[-10:] = cap
        powers = np.clip(received * np.exp(rng.normal(0.0, 1.0, 90) * rng.choice([1e-3, 0.3, 5.0], 90)), low, high)
        powers[:20] = np.clip(high * np.exp(rng.uniform(-40, 0, 20)), low, high)
        powers[40:45], powers[45:50] = low, high
        for one_b, one_p in zip(bands, powers, strict=True):
            if one_p > 0.0 and math.log1p(one_p / one_b) > 0.0:
                assert value <= (exact_cost(one_b, one_p, k1, k2) + price * one_b) * (1.0 + ROUNDING), case


def test_radio_cost_and_slope_are_consistent() -> None:
    """The slope is the derivative of the cost in b at fixed power (central differences, 1e-6), and <= 0."""
    rng = np.random.default_rng(2)
    for _ in range(count(500)):
        _, cap, _, high, k1, k2 = radio_case(rng)
        b = cap * log_uniform(rng, 1e-3, 1.0)
        assert radio_cost(b, high, k1, k2) == pytest.approx(exact_cost(b, high, k1, k2), rel=1e-13)
        slope = radio_slope(b, high, k1, k2)
        assert slope <= 0.0
        x = math.log1p(high / b)
        if x > 1e-4:  # below, the cost is flat and differences are rounding
            h = 1e-4
            up, down = (exact_cost(b * (1.0 + s * h), high, k1, k2) for s in (1.0, -1.0))
            tolerance = 1e-11 * radio_cost(b, high, k1, k2) / (b * h)
            assert slope == pytest.approx((up - down) / (2.0 * b * h), rel=1e-6, abs=tolerance)


def test_best_power_is_stationary_or_at_a_bound() -> None:
    """At a given bandwidth no other power of the range costs less."""
    rng = np.random.default_rng(3)
    for _ in range(count(500)):
        _, cap, low, high, k1, k2 = radio_case(rng)
        best = best_received_power(cap, low, high, k1, k2)
        assert low <= best <= high
        cost = exact_cost(cap, best, k1, k2)
        for other in np.clip(best * np.exp(rng.normal(0.0, 1.0, 30) * rng.choice([1e-4, 1e-2, 3.0], 30)), low, high):
            if math.log1p(other / cap) > 0.0:
                assert cost <= exact_cost(cap, float(other), k1, k2) * (1.0 + ROUNDING)


@pytest.mark.parametrize("seeds", chunks(3000, 3), ids=str)
def test_server_value_is_below_every_share_and_attained(seeds: range) -> None:
    """value <= cycles (a/F + e + kappa F^2) + mu F for every F in (0, F_m], and equal to it at the returned
    share."""
    rng = np.random.default_rng([seeds.start, 4])
    for case in range(len(seeds)):
        cap = log_uniform(rng, 1e6, 1e11)
        cycles, weight = log_uniform(rng, 1e0, 1e16), log_uniform(rng, 1e-8, 1e8)
        natural = cap * log_uniform(rng, 1e-8, 1e8)
        kappa = float(rng.choice([0.0, weight / (2.0 * natural**3)]))
        energy = 0.0 if kappa > 0.0 else float(rng.choice([0.0, weight / cap * log_uniform(rng, 1e-6, 1e6)]))
        price = float(rng.choice([0.0, cycles * weight / cap**2 * log_uniform(rng, 1e-15, 1e15)]))
        value, share = server_response(price, cap, cycles, weight, energy, kappa)
        assert 0.0 < share <= cap, case
        at_share = cycles * (weight / share + energy + kappa * share**2) + price * share
        assert value == pytest.approx(at_share, rel=1e-11), (case, price, cap, cycles, weight, energy, kappa)
        assert server_cost(share, cycles, weight, energy, kappa) + price * share == pytest.approx(at_share, rel=1e-13)
        near = np.minimum(share * np.exp(rng.normal(0.0, 1.0, 50) * rng.choice([1e-4, 1e-2, 3.0], 50)), cap)
        for f in np.concatenate([near, [cap], cap * np.exp(rng.uniform(-40.0, 0.0, 20))]):
            assert value <= (cycles * (weight / f + energy + kappa * f**2) + price * f) * (1.0 + ROUNDING), case


def test_no_work_costs_nothing() -> None:
    """A cut of every layer without a head leaves the server nothing to do: no cost, no share."""
    assert server_response(1.0, 1e9, 0.0, 1.0, 0.0, 0.0) == (0.0, 0.0)
    assert server_response(1.0, 1e9, 0.0, 1.0, 0.0, 1e-27) == (0.0, 0.0)


def test_value_is_concave_and_rises_with_the_price() -> None:
    """The priced value, as a minimum of linear functions, is concave and nondecreasing in the price."""
    rng = np.random.default_rng(5)
    for _ in range(count(200)):
        _, cap, low, high, k1, k2 = radio_case(rng)
        scale = (k1 + k2 * high) / cap**2
        prices = np.sort(scale * 10.0 ** rng.uniform(-6.0, 6.0, 3))
        values = [radio_response(float(price), cap, low, high, k1, k2)[0] for price in prices]
        assert values[0] <= values[1] * (1.0 + ROUNDING) <= values[2] * (1.0 + 2.0 * ROUNDING)
        t = (prices[1] - prices[0]) / (prices[2] - prices[0])
        assert values[1] >= ((1.0 - t) * values[0] + t * values[2]) * (1.0 - ROUNDING)
