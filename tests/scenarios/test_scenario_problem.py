"""Claims about the problem that a scenario becomes: formulas, draws, references, repairs, the default
setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgealloc as ea
from edgealloc.scenarios.builders.split_training import reference_allocation, reference_amounts

CAMPUS = Path(__file__).parents[2] / "examples" / "scenarios" / "campus.toml"


def test_arrays_are_the_catalogs_numbers() -> None:
    """Rates, kappas and energies from the data sheets, by hand."""
    raw: dict[str, Any] = {
        "problem": "split-training", "version": 1, "model": {"name": "llama3.2-1b"},
        "radio": {"path_loss": "umi", "noise_density": "-170 dBm/Hz", "power_max": 0.2, "downlink_rate": 1e8},
        "users": [
            {"positions": [[0, 0]], "device": "apple-a17-pro", "utilisation": 0.5, "samples": 100},
            {"positions": [[9, 9]], "device": "apple-a17-pro", "flops": 1e12, "clock": 1e9, "power": 4,
             "memory": "4 GB", "memory_share": 0.25, "utilisation": 0.5, "samples": 100,
        "max_local_layers": 4}, ],
        "servers": [{"positions": [[5, 5]], "device": "t4", "accelerators": 2, "utilisation": 0.5,
    "bandwidth": 1e7}], }  # fmt: skip
    problem = ea.Scenario.from_mapping(raw).problem()
    assert problem.layers == 16
    np.testing.assert_allclose(problem.user_flops_per_cycle, [0.5 * 2.15e12 / 1.398e9, 500.0])
    np.testing.assert_allclose(problem.user_kappa, [8 / 1.398e9**3, 4e-27])
    np.testing.assert_allclose(problem.device_memory_bytes, [4e9, 1e9])
    np.testing.assert_allclose(problem.server_flops_per_cycle, [2 * 0.5 * 65.13e12 / 1.59e9])
    np.testing.assert_allclose(problem.server_joules_per_flop, [70 / (0.5 * 65.13e12)])
    np.testing.assert_array_equal(problem.max_local_layers, [15, 4])
    assert problem.noise_psd_w_per_hz == pytest.approx(1e-20)
    assert problem.upload_bits[0] == 8 * 2 * 512 * 2048 * 2
    np.testing.assert_allclose(problem.fixed_delay_s, problem.upload_bits[0] / 1e8)


def test_clock_scaled_servers_draw_all_their_power_at_full_share() -> None:
    raw = ea.Scenario.random(users=4, servers=1).mapping()
    raw["servers"] = [{"count": 1, "device": "t4", "accelerators": 3, "bandwidth": 1e7, "energy": "clock-scaled"}]
    problem = ea.Scenario.from_mapping(raw).problem()
    assert problem.server_joules_per_flop is None
    assert problem.server_kappa[0] * problem.server_frequency_max_hz[0] ** 3 == pytest.approx(3 * 70)


def test_seeds() -> None:
    """The same seed gives the same problem; another one other places, channels, devices and samples."""
    first, again, other = (ea.Scenario.random(seed=seed).problem() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.gain, again.gain)
    for field in ("gain", "samples", "user_kappa", "user_xy_m", "server_xy_m"):
        assert not np.array_equal(getattr(first, field), getattr(other, field)), field


def test_changing_one_part_leaves_the_other_draws_alone() -> None:
    scenario = ea.Scenario.random(seed=4)
    problem, changed = (
        scenario.problem(),
        scenario.changed({"users.0.samples": 7, "radio.carrier": "2 GHz"}).problem(),
    )
    np.testing.assert_array_equal(problem.user_xy_m, changed.user_xy_m)
    np.testing.assert_array_equal(problem.user_kappa, changed.user_kappa)
    assert (changed.samples == 7).all()


def test_places_are_in_the_area() -> None:
    scenario = ea.Scenario.random(users=300, servers=7)
    problem, size = scenario.problem(), scenario.document.area.size
    assert size is not None
    for xy in (problem.user_xy_m, problem.server_xy_m):
        assert ((xy >= 0) & (xy <= size)).all()
    disk = scenario.changed({"area": {"radius": 100}}).problem()
    assert (np.hypot(*(disk.user_xy_m - 100).T) <= 100).all()


def test_capacity_per_user_does_not_depend_on_the_size() -> None:
    """load="proportional" keeps bandwidth and FLOP/s per user; "congested" leaves a quarter."""

    def per_user(**options: Any) -> tuple[float, float]:
        p = ea.Scenario.random(**options).problem()
        speed = float((p.server_flops_per_cycle * p.server_frequency_max_hz).sum())
        return float(p.bandwidth_max_hz.sum()) / p.users, speed / p.users

    small, large = per_user(users=60, servers=6), per_user(users=900, servers=3)
    assert small[0] == pytest.approx(100e6 / 50)
    assert large == pytest.approx(small)
    assert per_user(users=60, servers=6, load="congested") == pytest.approx((small[0] / 4, small[1] / 4))


def test_faulty_arguments_come_together() -> None:
    with pytest.raises(ea.DataError) as caught:
        ea.Scenario.random(users=0, servers=True, load="heavy", seed=-1, preset="phys")
    assert {fault.field for fault in caught.value.faults} == {"users", "servers", "load", "seed", "preset"}
    with pytest.raises(ea.DataError, match="unknown key"):
        ea.Scenario.random(bach=3)
    with pytest.raises(ea.DataError, match="did you mean"):
        ea.Scenario.random(model="llama3.2-1bb")


def test_the_reference_is_what_it_says() -> None:
    """Best-gain server, middle cut, equal shares, full power and clock; averages over the users."""
    problem = ea.Scenario.random(users=30, servers=3).split_training()
    allocation = reference_allocation(problem)
    assert problem.violations(allocation)["bandwidth_hz"] <= 1e-6
    assert (allocation.local_layers == 8).all()
    bare = problem.replace(weights=ea.Weights())
    assert problem.weights.reference == reference_amounts(bare)
    assert float(problem.evaluate(allocation).user_objective.mean()) == pytest.approx(3.0)


def test_weights_and_overrides() -> None:
    scenario = ea.Scenario.random(users=5, servers=2)
    own = scenario.split_training(ea.Weights(2, 0, 1, reference={"delay": 1.0}), stability_limit=0.5)
    assert own.weights.delay == 2
    assert own.weights.reference == {"delay": 1.0}
    assert (own.stability_limit == 0.5).all()
    given = scenario.changed({"weights.reference": {"energy": 10.0}}).problem().weights.reference
    assert given is not None
    assert given["energy"] == 10.0
    assert given["delay"] == (scenario.problem().weights.reference or {})["delay"]


def test_own_catalog_entries() -> None:
    scenario = ea.Scenario.random(users=3, servers=1).changed(
        {"catalog": {"devices": {"mine": {"like": "t4", "power_w": "100 W"}}}, "servers.0.device": "mine",
         "servers.0.power": None}
    )  # fmt: skip
    assert scenario.problem().server_joules_per_flop[0] == pytest.approx(100 / (0.3 * 65.13e12))
    marks = {row.path: row.mark for row in scenario.table()}
    assert marks["devices.mine.power_w"] == "user"


@pytest.mark.parametrize("limit", ["stability", "memory", "memory-device", "cut"])
def test_the_repair_of_the_file_works(limit: str) -> None:
    """An infeasible limit is diagnosed, and the keys that the diagnosis names make the scenario feasible."""
    every: dict[str, dict[str, Any]] = {
        "stability": {"limits": {"stability_limit": 1e-4}},
        "memory": {"users.0.memory_share": 0.05},
        "memory-device": {"users.0.memory": "100 MB", "users.0.memory_share": 0.9},
        "cut": {"users.0.min_local_layers": 16},
    }
    scenario = ea.Scenario.random(users=12, servers=2).changed(every[limit])
    diagnosis = scenario.problem().diagnose()
    assert diagnosis is not None
    found = scenario.repair(diagnosis)
    assert found
    repaired = scenario.changed({change.path: change.value for change in found})
    assert repaired.problem().diagnose() is None


def test_campus_names_every_number() -> None:
    """Every number of the example is a choice, an assumption that is explained, or the catalog's with its
    mark."""
    scenario = ea.Scenario.load(CAMPUS)
    problem = scenario.problem()
    assert (problem.users, problem.servers, problem.layers) == (200, 4, 16)
    assert problem.server_names == ("library-l4", "gym-l4", "canteen-t4", "lab-orin")
    assert problem.diagnose() is None
    assert {row.mark for row in scenario.table()} <= {"choice", "assumption", "seen", "recall", "derived"}
    paths = {row.path for row in scenario.table()}
    for path in scenario.assumptions():
        section, _, key = path.partition(".")
        assert any(one.startswith(section) and one.endswith(f".{key}") for one in paths), path


@pytest.mark.parametrize("seed", range(10))
def test_a_fifth_of_the_default_cuts_are_inside(seed: int) -> None:
    """In the default setting the convex instability puts cuts strictly inside their range (models, section
    2.1)."""
    problem = ea.Scenario.random(seed=seed).split_training(weights=ea.Weights(delay=1, energy=1, stability=1))
    solution = problem.solve(time_limit_s=20)
    allocation, cuts = solution.require().allocation, problem.cuts
    assert allocation is not None
    inside = (allocation.server >= 0) & (allocation.local_layers > cuts.low) & (allocation.local_layers < cuts.high)
    assert inside.mean() >= 0.2
    assert (cuts.high == problem.layers - 1).all()  # memory cuts nothing off
