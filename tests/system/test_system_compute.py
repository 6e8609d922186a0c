"""Computing: delay, energy and the best clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgealloc.system import compute


def test_delay_and_energy_are_power_times_time() -> None:
    """E = kappa f^3 t: 6e12 FLOP at 2 GHz x 1500 FLOP/cycle take 2 s and, at 8 W, 16 J."""
    assert float(compute.compute_delay_s(6e12, 2e9, 1500.0)) == pytest.approx(2.0)
    assert float(compute.compute_energy_j(6e12, 2e9, 1500.0, 1e-27)) == pytest.approx(16.0)
    assert compute.compute_delay_s([0.0, 1.0], 0.0, 1.0).tolist() == [0.0, np.inf]


def test_data_sheet_constants() -> None:
    """At f_max the calibrated kappa gives back P_max, and both server models agree there."""
    kappa = float(compute.kappa_from_power(70.0, 1.59e9))
    assert kappa * 1.59e9**3 == pytest.approx(70.0)
    width = float(compute.flops_per_cycle(65.13e12, 1.59e9, 0.4))
    per_flop = float(compute.joules_per_flop(70.0, 1.59e9, width))
    assert per_flop == pytest.approx(70.0 / (0.4 * 65.13e12))
    assert float(compute.shared_energy_j(1e15, per_flop)) == pytest.approx(
        float(compute.compute_energy_j(1e15, 1.59e9, width, kappa))
    )


def test_best_clock_limits() -> None:
    """No price on energy: f_max; no price on time: f_min; an interior point: 1 GHz by hand."""
    clock = compute.optimal_clock_hz(
        [1.0, 1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 1.0, 0.0, 1.0], [1e-27, 0.0, 1e-27, 1e-27, 1e-27], 1e8, 3e9
    )
    np.testing.assert_allclose(clock, [3e9, 3e9, 1e8, 3e9, 1e9], rtol=1e-14)


@settings(deadline=None, derandomize=True)
@given(
    st.floats(1e-200, 1e200),
    st.floats(1e-200, 1e200),
    st.floats(-300.0, 0.0),
    st.floats(1e-3, 1e9),
    st.floats(1.0, 1e6),
    st.floats(0.0, 1.0),
)
def test_best_clock_beats_every_other(
    w_t: float, w_e: float, log_kappa: float, low: float, ratio: float, where: float
) -> None:
    """No clock in the box costs less, for weights and kappas over hundreds of decades (compared in logs)."""
    kappa = 10.0**log_kappa
    best = float(compute.optimal_clock_hz(w_t, w_e, kappa, low, low * ratio))
    assert low <= best <= low * ratio
    other = low * ratio**where

    def log_cost(f: float) -> float:
        return float(np.logaddexp(np.log(w_t) - np.log(f), np.log(w_e) + np.log(kappa) + 2 * np.log(f)))

    assert log_cost(best) <= log_cost(other) + 1e-9
