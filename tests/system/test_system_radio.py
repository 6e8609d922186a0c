"""Radio: rate, noise, path loss and sampled gains against literal numbers, limits and statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgealloc.errors import DataError
from edgealloc.system import pathloss
from edgealloc.system.radio import PATH_LOSS_MODELS, noise_psd_w_per_hz, rate_bits_per_s, sample_gain


def test_rate_at_literal_ratios() -> None:
    """10 MHz at ratios 1, 3 and 1023 carry 10, 20 and 100 Mbit/s; without bandwidth, power or gain
    nothing."""
    noise = 2.0**-68
    power = np.array([1.0, 3.0, 1023.0]) * noise * 1e7 / 2.0**-40
    np.testing.assert_allclose(rate_bits_per_s(1e7, power, 2.0**-40, noise), [1e7, 2e7, 1e8], rtol=1e-14)
    assert rate_bits_per_s([0.0, 1e6, 1e6], [1.0, 0.0, 1.0], [1e-10, 1e-10, 0.0], 4e-21).tolist() == [
        0.0,
        0.0,
        0.0,
    ]


def test_rate_keeps_its_digits_at_extreme_ratios() -> None:
    """A ratio of 1e-20 gives g p/(N0 ln 2); a bandwidth of 1e-300 Hz does not overflow."""
    assert float(rate_bits_per_s(1e6, 1e-20, 1.0, 1e-6)) == pytest.approx(1e-14 / math.log(2), rel=1e-14)
    expected = 1e-300 * (math.log2(1e21) + 300 * math.log2(10))
    assert float(rate_bits_per_s(1e-300, 1.0, 1.0, 1e-21)) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, derandomize=True)
@given(
    st.floats(1e-3, 1e9),
    st.floats(1e-6, 1e2),
    st.floats(-20.0, 0.0),
    st.floats(1.001, 100.0),
)
def test_rate_grows_and_is_concave_in_bandwidth(b: float, p: float, log_gain: float, factor: float) -> None:
    """r(b) increases, r(b)/b decreases (concave through the origin), r <= g p/(N0 ln 2)."""
    g, n0 = 10.0**log_gain, noise_psd_w_per_hz()
    low, high = float(rate_bits_per_s(b, p, g, n0)), float(rate_bits_per_s(b * factor, p, g, n0))
    assert 0.0 < low <= high * (1 + 1e-12)
    assert high / (b * factor) <= low / b * (1 + 1e-12)
    assert high <= g * p / n0 / math.log(2) * (1 + 1e-12)


def test_noise_density() -> None:
    """-174 dBm/Hz is 3.981e-21 W/Hz; 10 dB of noise figure is ten times that."""
    assert noise_psd_w_per_hz() == pytest.approx(3.98107e-21, rel=1e-5)
    assert noise_psd_w_per_hz(10.0) == pytest.approx(3.98107e-20, rel=1e-5)


def test_path_loss_by_hand() -> None:
    """Values worked out on paper with the default heights."""
    # UMi 2 GHz: breakpoint 4 * 9 * 0.5 * 2e9/3e8 = 120 m; at 100 m d3 = sqrt(1e4 + 8.5^2) = 100.3606
    near = 32.4 + 21 * math.log10(100.3606) + 20 * math.log10(2)
    assert float(pathloss.umi_los_db(100.0, 2e9)) == pytest.approx(near, abs=1e-4)
    # at 500 m, d3 = 500.0722: beyond it
    far = 32.4 + 40 * math.log10(500.0722) + 6.0206 - 9.5 * math.log10(120**2 + 72.25)
    assert float(pathloss.umi_los_db(500.0, 2e9)) == pytest.approx(far, abs=1e-3)
    assert float(pathloss.umi_nlos_db(500.0, 2e9)) == pytest.approx(
        22.4 + 35.3 * math.log10(500.0722) + 21.3 * math.log10(2), abs=1e-3
    )
    # UMa 2 GHz: breakpoint 4 * 24 * 0.5 * 20/3 = 320 m; at 1 km d3 = 1000.276
    assert float(pathloss.uma_los_db(1000.0, 2e9)) == pytest.approx(
        28 + 40 * math.log10(1000.276) + 6.0206 - 9 * math.log10(320**2 + 23.5**2), abs=1e-3
    )
    assert float(pathloss.uma_nlos_db(1000.0, 2e9)) == pytest.approx(
        13.54 + 39.08 * math.log10(1000.276) + 6.0206, abs=1e-3
    )
    # InH 1 GHz, base station and user at the same height: d3 = 10 m
    assert float(pathloss.inh_los_db(10.0, 1e9, 1.0, 1.0)) == pytest.approx(49.7)
    assert float(pathloss.inh_nlos_db(10.0, 1e9, 1.0, 1.0)) == pytest.approx(55.6)
    assert float(pathloss.legacy_macro_db(100.0)) == pytest.approx(90.5)


def test_line_of_sight_probability_by_hand() -> None:
    """1 close by; the formula at 100 m; tall users see more; the indoor pieces."""
    assert pathloss.umi_los_probability([0.0, 18.0]).tolist() == [1.0, 1.0]
    assert float(pathloss.umi_los_probability(100.0)) == pytest.approx(0.18 + math.exp(-100 / 36) * 0.82)
    assert float(pathloss.uma_los_probability(100.0)) == pytest.approx(0.18 + math.exp(-100 / 63) * 0.82)
    tall = (0.18 + math.exp(-100 / 63) * 0.82) * (1 + 1.25 * math.exp(-100 / 150))
    assert float(pathloss.uma_los_probability(100.0, 23.0)) == pytest.approx(tall)
    expected = [1.0, 1.0, math.exp(-44 / 70.8), 0.54 * math.exp(-51 / 211.7)]
    np.testing.assert_allclose(pathloss.inh_los_probability([0.0, 5.0, 49.0, 100.0]), expected)


@pytest.mark.parametrize("name", sorted(PATH_LOSS_MODELS))
@pytest.mark.parametrize("carrier_hz", [0.7e9, 3.5e9, 28e9])
def test_models_are_monotone_and_ordered(name: str, carrier_hz: float) -> None:
    """Loss grows with distance, NLOS loses at least as much, the two slopes join to 0.2 dB, probability in
    [0, 1]."""
    model = PATH_LOSS_MODELS[name]
    top = min(model.max_distance_m, 5000.0)
    d = np.geomspace(model.min_distance_m, top, 4001)
    los = model.los_db(d, carrier_hz, model.bs_height_m, model.ue_height_m)
    nlos = model.nlos_db(d, carrier_hz, model.bs_height_m, model.ue_height_m)
    step = np.diff(los)
    assert step.min() > -0.2
    assert step.max() < 0.3
    assert np.all(nlos >= los)
    assert np.all(np.diff(nlos) >= -1e-9)
    probability = model.los_probability(d, model.ue_height_m)
    assert np.all((probability >= 0.0) & (probability <= 1.0))


def test_sampled_gain_statistics() -> None:
    """Shadowing has the stated spread, Rayleigh has mean 1 and median ln 2; options do not shift the other
    draws."""
    d = np.full(100_000, 500.0)
    plain = sample_gain("legacy-macro", d, 2e9, np.random.default_rng(1), shadowing=False, fading="none")
    np.testing.assert_allclose(10 * np.log10(plain), -(128.1 + 37.6 * math.log10(0.5)), rtol=1e-12)
    shadowed = sample_gain("legacy-macro", d, 2e9, np.random.default_rng(1), fading="none")
    spread_db = 10 * np.log10(shadowed / plain)
    assert float(spread_db.std()) == pytest.approx(8.0, rel=0.02)
    faded = sample_gain("legacy-macro", d, 2e9, np.random.default_rng(1), shadowing=False)
    assert float((faded / plain).mean()) == pytest.approx(1.0, abs=0.02)
    assert float(np.median(faded / plain)) == pytest.approx(math.log(2.0), rel=0.02)
    both = sample_gain("legacy-macro", d, 2e9, np.random.default_rng(1))
    np.testing.assert_allclose(both, shadowed * faded / plain, rtol=1e-10)


def test_sampled_state_frequency() -> None:
    """Without spread a gain is one of two values; the share of the larger one is the probability."""
    d = np.full((400, 100), 100.0)
    gain = sample_gain("3gpp-umi", d, 3.5e9, np.random.default_rng(0), shadowing=False, fading="none")
    assert gain.shape == d.shape
    assert len(np.unique(gain)) == 2
    share = float((gain == gain.max()).mean())
    assert share == pytest.approx(float(pathloss.umi_los_probability(100.0)), abs=0.01)


def test_sampled_gain_is_clipped() -> None:
    """Distances below the minimum count as the minimum, and no gain exceeds 1."""
    rng = np.random.default_rng
    at_zero = sample_gain("3gpp-uma", [0.0], 2e9, rng(0))
    assert at_zero.tolist() == sample_gain("3gpp-uma", [10.0], 2e9, rng(0)).tolist()
    assert sample_gain("3gpp-inh", [1.0], 2e9, rng(0), antenna_gain_db=200.0).tolist() == [1.0]


def test_faults_name_the_fix() -> None:
    """Every fault is reported at once, with a suggestion for a name."""
    with pytest.raises(DataError, match="3gpp-umi"):
        sample_gain("3gpp-um", [1.0], 1e9, np.random.default_rng(0))
    with pytest.raises(DataError) as caught:
        sample_gain("3gpp-umi", [-1.0], 0.0, np.random.default_rng(0), fading="rice")  # type: ignore[arg-type]
    assert {fault.field for fault in caught.value.faults} == {"distance_m", "carrier_hz", "fading"}
