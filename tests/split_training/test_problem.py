"""The problem as data: what is taken, what is refused and how it is said, copies, shapes, and `evaluate` at
its edges."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from instances import choose, instance, sized

import edgealloc as ea
from edgealloc.formulations.split_training.resources import optimal_allocation
from edgealloc.formulations.split_training.validate import FIELDS

GOOD: dict[str, Any] = {
    "layers": 4,
    "layer_flops": 1e12,
    "upload_bits": 1e7,
    "user_flops_per_cycle": 500.0,
    "user_kappa": 1e-27,
    "user_frequency_max_hz": 1e9,
    "power_max_w": 0.2,
    "samples": 100,
    "server_flops_per_cycle": 1e4,
    "server_frequency_max_hz": 2e9,
    "bandwidth_max_hz": 2e7,
    "server_joules_per_flop": 1e-11,
    "gain": np.full((3, 2), 1e-10),
    "noise_psd_w_per_hz": 4e-21,
}
REQUIRED = sorted(GOOD)
ARRAYS = [field for field in FIELDS if field.shape != "scalar"]
EXPECTED_SHAPE = {"user": (3,), "server": (2,), "link": (3, 2), "scalar": ()}


def faults(**changes: Any) -> list[str]:
    """The faults of the good input with some changes, as texts; None takes a field away."""
    fields = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    with pytest.raises(ea.DataError) as caught:
        ea.SplitTraining(**fields)
    assert str(caught.value).startswith("SplitTraining: ")
    return [str(fault) for fault in caught.value.faults]


def test_numbers_stand_for_everybody() -> None:
    """Scalars broadcast; results are read-only float64 (int64 for layers), and the caller's arrays are
    copied."""
    gain = np.full((3, 2), 1e-10)
    problem = ea.SplitTraining(**{**GOOD, "gain": gain})
    gain[:] = 0.0
    assert (problem.gain == 1e-10).all()
    assert (problem.users, problem.servers) == (3, 2)
    for field in FIELDS:
        value = getattr(problem, field.name)
        if value is None or field.shape == "scalar":
            continue
        assert value.shape == EXPECTED_SHAPE[field.shape], field.name
        assert value.dtype == (np.int64 if field.integer else np.float64), field.name
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 1
    with pytest.raises(FrozenInstanceError):
        problem.layers = 5  # type: ignore[misc]
    assert problem != ea.SplitTraining(**GOOD)  # identity, not comparison of arrays


@pytest.mark.parametrize("field", ARRAYS, ids=lambda field: field.name)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0], ids=str)
def test_one_bad_entry_is_named(field: Any, bad: float) -> None:
    """nan, inf or a negative number anywhere: the fault names field, index, value, unit and allowed range; inf
    means "no limit" where a field says so."""
    if field.endless and bad == np.inf:
        return
    start = {"gain": 1e-10, "user_frequency_max_hz": 1e9, "max_local_layers": 3.0, "min_local_layers": 1.0}
    array = np.full(EXPECTED_SHAPE[field.shape], start.get(field.name, 1.0))
    where = (1,) if array.ndim == 1 else (2, 1)
    array[where] = bad
    extra: dict[str, Any] = {"server_joules_per_flop": ...} if field.name == "server_kappa" else {}
    (text,) = faults(**{field.name: array, **extra})
    assert text.startswith(f"{field.name}[{', '.join(map(str, where))}]: is {bad:g}"), text
    assert "must be" in text
    assert field.unit == "1" or field.unit in text


@pytest.mark.parametrize("field", ARRAYS, ids=lambda field: field.name)
def test_wrong_shape_is_named(field: Any) -> None:
    """A wrong number of entries: the fault names the shape given and the one needed."""
    shape = (5,) if field.shape != "link" else (3, 3)
    value = np.full(shape, 1e-10)
    if field.name == "gain":
        value = np.full(3, 1e-10)
    found = faults(**{field.name: value})
    assert any(text.startswith(f"{field.name}: has shape {value.shape}") for text in found), found


@pytest.mark.parametrize("field", [f for f in FIELDS if f.open_low], ids=lambda field: field.name)
def test_zero_where_it_must_be_positive(field: Any) -> None:
    extra: dict[str, Any] = {"server_joules_per_flop": ...} if field.name == "server_kappa" else {}
    (text,) = faults(**{field.name: 0.0, **extra})
    assert text.startswith(field.name)
    assert "is 0" in text


@pytest.mark.parametrize("name", [name for name in REQUIRED if name != "layers"])
def test_missing_is_told(name: str) -> None:
    """None for a required field is a fault, not a traceback from somewhere inside."""
    found = faults(**{name: None})
    assert any(name in text for text in found), found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "layers: is 0"),
        ({"layers": 2.5}, "layers: is 2.5"),
        ({"layers": True}, "layers: is True"),
        ({"layers": "four"}, "layers: is 'four'"),
        ({"gain": 1e-10}, "gain: has shape"),
        ({"gain": np.zeros((0, 2))}, "gain: has shape"),
        ({"gain": np.full((3, 2), 1.5)}, "not decibel"),
        ({"gain": np.full((3, 2), -90.0)}, "not decibel"),
        ({"gain": np.full((3, 2), 1e-40)}, "0 for no link"),
        ({"gain": "strong"}, "gain: is 'strong'"),
        ({"gain": [[1e-10, 1e-10], [1e-10]]}, "gain: is"),
        ({"samples": "many"}, "samples: is 'many'"),
        ({"min_local_layers": 1.5}, "an integer in"),
        ({"min_local_layers": 5}, "the model has 4 layers"),
        ({"max_local_layers": 9}, "the model has 4 layers"),
        ({"min_local_layers": 3, "max_local_layers": 2}, "min_local_layers[0]: is 3"),
        ({"power_min_w": 0.3}, "power_min_w[0]: is 0.3 W, above power_max_w[0] = 0.2 W"),
        ({"user_frequency_min_hz": 2e9}, "user_frequency_min_hz[0]"),
        ({"amplifier_efficiency": 1.2}, "amplifier_efficiency[0]: is 1.2"),
        ({"server_kappa": 1e-27}, "both given"),
        ({"server_joules_per_flop": ...}, "neither given"),
        ({"memory_bytes_per_layer": 1e8}, "device_memory_bytes: is absent"),
        ({"weights": (1, 1, 1)}, "give an edgealloc.Weights"),
        ({"weights": ea.Weights(delay=0.0)}, "weights.delay: is 0 for user 0"),
        ({"weights": ea.Weights(energy=np.ones(5))}, "weights.energy: has 5 entries for 3 users"),
        ({"stability": "fu"}, "give an edgealloc.Stability"),
        ({"count_upload_delay": "yes"}, "give True or False"),
        ({"count_upload_delay": False}, "power_min_w[0]: is 0 W while count_upload_delay is False"),
        ({"count_upload_delay": False, "power_min_w": 0.1, "weights": ea.Weights(energy=0.0)}, "weights.energy: is 0"),
        ({"user_names": ["a"]}, "user_names: has 1 names for 3 users"),
        ({"server_xy_m": np.zeros((3, 2))}, "server_xy_m: has shape (3, 2)"),
        ({"user_xy_m": np.full((3, 2), np.nan)}, "user_xy_m"),
    ],
)
def test_each_fault_has_its_words(changes: dict[str, Any], message: str) -> None:
    """Every kind of fault is told in the terms of the input, and alone."""
    (text,) = faults(**changes)
    assert message in text, text


def test_all_faults_at_once() -> None:
    """One DataError carries every fault, each on its own line, and is a ValueError too."""
    bad = {
        "layer_flops": -1.0,
        "samples": np.nan,
        "gain": np.full((3, 2), 2.0),
        "power_max_w": [1.0, 2.0],
        "noise_psd_w_per_hz": 0.0,
        "bandwidth_max_hz": 0.0,
        "weights": 3,
        "layers": 0,
        "user_names": ["a"],
    }
    found = faults(**bad)
    assert len(found) == len(bad)
    for name in bad:
        assert any(text.startswith(name) for text in found), name
    with pytest.raises(ValueError, match="9 faults"):
        ea.SplitTraining(**{**GOOD, **bad})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delay": -1.0}, "weights.delay"),
        ({"energy": np.nan}, "weights.energy"),
        ({"stability": np.array([1.0, -2.0])}, "weights.stability[1]"),
        ({"reference": {"delai": 1.0}}, "did you mean"),
        ({"reference": {"delay": 0.0}}, "weights.reference.delay"),
    ],
)
def test_weights_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ea.DataError) as caught:
        ea.Weights(**changes)
    assert message in str(caught.value)


def test_replace_makes_a_checked_copy() -> None:
    """`replace` validates as a whole, leaves the original alone and knows its fields."""
    problem = ea.SplitTraining(**GOOD)
    other = problem.replace(bandwidth_max_hz=1e6, stability_limit=0.5)
    assert (problem.bandwidth_max_hz == 2e7).all()
    assert problem.stability_limit is None
    assert (other.bandwidth_max_hz == 1e6).all()
    with pytest.raises(ea.DataError, match="power_max_w"):
        problem.replace(power_max_w=-1.0)
    with pytest.raises(ea.DataError, match="did you mean 'bandwidth_max_hz'"):
        problem.replace(bandwith_max_hz=1e6)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("server", [0, 0], "shape"),
        ("server", [0, 0, 2], "outside -1..1"),
        ("server", [0, 0, -2], "outside"),
        ("local_layers", [1.0, 1.5, 1.0], "not whole"),
        ("power_w", [0.1, np.nan, 0.1], "not finite"),
        ("bandwidth_hz", [1e6, np.inf, 1e6], "not finite"),
    ],
)
def test_allocations_are_checked(field: str, value: list[float], message: str) -> None:
    """A faulty allocation is a DataError that names its field, wherever it is handed in."""
    problem = ea.SplitTraining(**GOOD)
    fields: dict[str, Any] = {
        "server": [0, 0, 1],
        "local_layers": [1, 1, 1],
        "power_w": [0.1] * 3,
        "bandwidth_hz": [1e6] * 3,
        "user_frequency_hz": [1e9] * 3,
        "server_frequency_hz": [1e8] * 3,
    }
    problem.evaluate(ea.Allocation(**fields))  # lists will do
    faulty = ea.Allocation(**{**fields, field: value})
    for call in (problem.evaluate, problem.violations, problem.prices):
        with pytest.raises(ea.DataError, match=f"allocation.{field}.*{message}"):
            call(faulty)
    with pytest.raises(ea.DataError, match=r"edgealloc\.Allocation is needed"):
        problem.evaluate({"server": [0, 0, 1]})  # type: ignore[arg-type]


def test_costs_that_do_not_exist_are_infinite() -> None:
    """No bandwidth, no power, no clock or no link: inf, without a warning; nothing local is nan."""
    problem = ea.SplitTraining(**{**GOOD, "gain": np.array([[1e-10, 0.0]] * 3)})
    base = optimal_allocation(problem, np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64))
    parts: dict[str, Any] = {name: np.array(getattr(base, name)) for name in base.__dataclass_fields__}
    for name in ("power_w", "bandwidth_hz", "user_frequency_hz", "server_frequency_hz"):
        changed = parts[name].copy()
        changed[1] = 0.0
        costs = problem.evaluate(ea.Allocation(**{**parts, name: changed}))
        assert np.isinf(costs.user_objective).tolist() == [False, True, False], name
        assert costs.objective == np.inf
    dead = problem.evaluate(ea.Allocation(**{**parts, "server": np.array([0, 1, 0])}))
    assert np.isinf(dead.user_objective).tolist() == [False, True, False]


def test_parts_add_up() -> None:
    """Delay, energy and the objective are the sums of their parts."""
    for seed in range(40):
        problem = instance(seed)
        costs = problem.evaluate(optimal_allocation(problem, *choose(problem, np.random.default_rng(seed))))
        upload = costs.upload_delay_s if problem.count_upload_delay else 0.0
        delay = costs.device_delay_s + upload + costs.server_delay_s + costs.fixed_delay_s
        energy = costs.device_energy_j + costs.upload_energy_j + costs.server_energy_j + costs.idle_energy_j
        assert costs.delay_s == pytest.approx(delay, rel=1e-14)
        assert costs.energy_j == pytest.approx(energy, rel=1e-14)
        assert costs.total_energy_j == pytest.approx(float(energy.sum()))
        assert costs.mean_delay_s == pytest.approx(float(np.mean(delay)))


def test_weights_scale_the_objective() -> None:
    """Doubling every weight doubles objective, bound and prices; halving the reference does the same."""
    problem = sized(1, 4, 2, 4, extreme=False, weights_per_user=False, reference=False)
    weights = problem.weights
    twice = ea.Weights(2.0 * weights.delay, 2.0 * weights.energy, 2.0 * weights.stability)
    half = {"delay": 0.5, "energy": 0.5, "stability": 0.5}
    reference = ea.Weights(weights.delay, weights.energy, weights.stability, half)
    plain = problem.solve(gap=0.0)
    for changed in (twice, reference):
        solution = problem.replace(weights=changed).solve(gap=0.0)
        assert solution.objective == pytest.approx(2.0 * (plain.objective or 0.0), rel=1e-12)
        assert solution.bound == pytest.approx(2.0 * (plain.bound or 0.0), rel=1e-9)
        assert solution.prices["bandwidth_hz"] == pytest.approx(2.0 * plain.prices["bandwidth_hz"], rel=1e-9)


def test_order_of_users_and_servers_does_not_matter() -> None:
    """Renumbering users and servers renumbers the answer and changes no cost."""
    problem = sized(3, 4, 3, 4, extreme=False)
    rng = np.random.default_rng(0)
    users, servers = rng.permutation(4), rng.permutation(3)
    changes: dict[str, Any] = {}
    for field in FIELDS:
        value = getattr(problem, field.name)
        if value is not None and field.shape != "scalar":
            index = {"user": users, "server": servers, "link": np.ix_(users, servers)}[field.shape]
            changes[field.name] = value[index]
    weights = problem.weights
    delay, energy, stability = (
        np.broadcast_to(term, 4)[users] for term in (weights.delay, weights.energy, weights.stability)
    )
    changes["weights"] = ea.Weights(delay, energy, stability, weights.reference)
    other = problem.replace(**changes)
    ours, theirs = problem.solve(gap=0.0), other.solve(gap=0.0)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-10)


def test_describe_and_labels() -> None:
    """The one-line description names sizes and variant; users have labels with their names."""
    problem = ea.SplitTraining(**GOOD, user_names=["a", "b", "c"], source="yard")
    text = problem.describe()
    for part in ("'yard'", "3 users", "2 servers", "4 layers", "time-shared", "liu-zhao"):
        assert part in text
    assert problem.user_label(1) == "user 1 (b)"
    assert "not counted" in problem.replace(count_upload_delay=False, power_min_w=0.1).describe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "certifed"}, "did you mean 'certified'"),
        ({"gap": -1.0}, "gap"),
        ({"gap": np.nan}, "gap"),
        ({"time_limit_s": 0.0}, "time_limit_s"),
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
        ({"warm_start": "greedy"}, "Allocation is needed"),
    ],
)
def test_options_of_solve_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ea.DataError, match=message):
        ea.SplitTraining(**GOOD).solve(**options)
