"""Claims about preset "paper": the numbers of Liu & Zhao, section 6, as a document; and that nothing else changed."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import edgealloc as ea
from edgealloc.cli import app
from edgealloc.scenarios.builders.draws import drawn

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"


def problem_of(**options: Any) -> ea.SplitTraining:
    return ea.Scenario.random(preset="paper", **options).split_training()


def values_of(problem: ea.SplitTraining) -> dict[str, Any]:
    """Every field as an array or a text."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(problem):
        value = getattr(problem, field.name)
        if field.name == "weights":
            value = np.array([value.delay, value.energy, value.stability, *(value.reference or {}).values()])
        found[field.name] = np.asarray(value) if isinstance(value, (np.ndarray, float, int)) else repr(value)
    return found


def same(a: ea.SplitTraining, b: ea.SplitTraining) -> bool:
    """Bit for bit."""
    return all(np.array_equal(one, two) for one, two in zip(values_of(a).values(), values_of(b).values(), strict=True))


def fingerprint(problem: ea.SplitTraining) -> float:
    """One number that every entry of every array moves by far more than rounding does."""
    total = 0.0
    for value in values_of(problem).values():
        if isinstance(value, np.ndarray):
            finite = np.where(np.isfinite(value), value, -1.0).ravel()
            total += float((finite / max(np.abs(finite).max(), 1e-300)) @ np.cos(np.arange(finite.size)))
    return total


def within(values: Any, low: float, high: float) -> None:
    """Every draw is in the range, and their mean is where that of a uniform draw is, within five deviations."""
    values = np.asarray(values)
    assert values.min() >= low
    assert values.max() <= high
    deviation = (high - low) / math.sqrt(12.0 * values.size)
    assert abs(values.mean() - 0.5 * (low + high)) <= 5.0 * deviation + 1e-12 * high


def test_every_draw_is_in_the_papers_range() -> None:
    users, servers = 4000, 2000
    problem = problem_of(users=users, servers=servers, seed=5)
    assert (problem.users, problem.servers, problem.layers) == (users, servers, 32)
    within(problem.user_frequency_max_hz, 0.5e9, 1e9)
    within(problem.server_frequency_max_hz, 1e9, 3e9)
    within(problem.power_max_w, 1.0, 2.0)
    cores = problem.user_flops_per_cycle  # D = 1 FLOP per cycle and core
    assert set(cores) == {4.0, 5.0, 6.0}
    within(cores, 4, 6)
    assert problem.server_flops_per_cycle.min() >= 2560.0
    assert problem.server_flops_per_cycle.max() <= 2.0 * 5120.0
    assert problem.server_flops_per_cycle.mean() == pytest.approx(3840.0 * 1.5, rel=0.02)
    assert (problem.bandwidth_max_hz == 20e6).all()
    tokens = problem.upload_bits / (512 * 1024 * 2 * 8)
    assert (tokens == np.round(tokens)).all()
    within(tokens, 512, 1024)
    assert {512.0, 1024.0} <= set(tokens)
    assert problem.noise_psd_w_per_hz == pytest.approx(10 ** (-13.4) * 1e-3, rel=1e-12)
    assert problem.resource_sense == "exactly"
    assert not problem.count_upload_delay
    assert (problem.head_flops == 0.0).all()
    assert problem.server_joules_per_flop is None
    assert (problem.power_min_w > 0.0).all()
    assert (problem.weights.delay, problem.weights.energy, problem.weights.stability) == (1.0, 1.0, 1.0)


def test_the_work_of_a_layer_is_the_papers_formula_exactly() -> None:
    """psi = 72 B d h^2 + 12 B d^2 h in whole numbers, for the d of each user."""
    problem = problem_of(users=200, servers=3, seed=1)
    for work, bits in zip(problem.layer_flops.tolist(), problem.upload_bits.tolist(), strict=True):
        d = int(bits) // (512 * 1024 * 2 * 8)
        assert int(work) == 72 * 512 * d * 1024**2 + 12 * 512 * d**2 * 1024


def test_gains_are_the_path_loss_and_nothing_else() -> None:
    problem = problem_of(users=30, servers=4)
    km = np.hypot(*(problem.user_xy_m[:, None] - problem.server_xy_m[None]).transpose(2, 0, 1)) / 1000.0
    loss = 128.1 + 37.6 * np.log10(np.maximum(km, 0.035))
    np.testing.assert_allclose(-10.0 * np.log10(problem.gain), loss, rtol=1e-9)


def test_one_layer_and_the_lowest_power_are_best() -> None:
    """The best cut is 1 for everybody, and so is the lowest power: by a certified solution and by enumeration."""
    for seed in range(3):
        problem = problem_of(users=50, servers=10, seed=seed)
        best = problem.solve(gap=5e-3).allocation
        assert best is not None
        assert (best.local_layers == 1).all()
        np.testing.assert_allclose(best.power_w, problem.power_min_w, rtol=1e-12)
    tiny = problem_of(users=2, servers=2, seed=1).replace(layers=4)
    exact = tiny.solve("exact", gap=1e-9).allocation
    assert exact is not None
    assert (exact.local_layers == 1).all()
    np.testing.assert_allclose(exact.power_w, tiny.power_min_w, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"users": 50, "servers": 10, "seed": 3}, {"batch": 64, "tokens": 700}])
def test_saved_and_loaded_bit_for_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    scenario = ea.Scenario.random(preset="paper", **options)
    file = scenario.save(tmp_path / "paper.toml")
    assert same(scenario.problem(), ea.Scenario.load(file).problem())
    assert ea.Scenario.load(file).document == scenario.document
    page = file.read_text("utf-8")
    assert 'clock = ["500 MHz", "1 GHz"]' in page
    assert "cores = [2560, 5120]" in page


def test_every_number_has_a_source_or_is_an_assumption() -> None:
    """The check's table: the paper's numbers cite it, ours say why, and every such text is about a number that is
    there."""
    scenario = ea.Scenario.random(50, 10, preset="paper")
    rows = {row.path: row for row in scenario.table()}
    assert rows["users.clock"].mark == "cited"
    assert rows["users.clock"].source == "Liu & Zhao, section 6"
    assert rows["users.clock"].shown == "500 MHz to 1 GHz"
    assert rows["servers.cores"].value == [2560, 5120]
    assert rows["servers.kappa"].mark == "assumption"
    assert rows["servers.kappa"].shown == "1e-26 W*s^3"
    assert {row.mark for row in rows.values()} <= {"cited", "assumption", "choice", "seen", "user", "derived"}
    # the normalisers are one assumption about three numbers
    named = {*scenario.document.sources, *scenario.assumptions()} - {"weights.reference"}
    assert named <= set(rows)
    assert not set(scenario.document.sources) & set(scenario.assumptions())
    other = {row.path: row for row in ea.Scenario.random(7, 2, preset="paper", batch=4).table()}
    assert other["users.count"].mark == "choice"
    assert other["model.batch"].mark == "choice"


def test_the_power_that_the_kappas_mean_is_the_one_they_claim() -> None:
    scenario = ea.Scenario.random(5, 2, preset="paper")
    problem, reasons = scenario.problem(), scenario.assumptions()
    assert problem.user_kappa[0] * 1e9**3 == pytest.approx(1.0)
    assert "1 W at 1 GHz" in reasons["users.kappa"]
    assert problem.server_kappa[0] * 3e9**3 == pytest.approx(270.0)
    assert "270 W at 3 GHz" in reasons["servers.kappa"]


def test_draws_have_streams_of_their_own() -> None:
    """A range in place of a number changes that field alone; the same seed draws the same."""
    scenario = ea.Scenario.random(20, 3, preset="paper", seed=2)
    problem = scenario.problem()
    changed = scenario.changed({"users.0.kappa": [1e-28, 1e-27], "servers.0.clock": "2 GHz"}).problem()
    for field in ("user_frequency_max_hz", "user_flops_per_cycle", "power_max_w", "samples", "gain", "layer_flops",
                  "server_flops_per_cycle"):
        assert np.array_equal(getattr(problem, field), getattr(changed, field)), field
    within(changed.user_kappa, 1e-28, 1e-27)
    assert (changed.server_frequency_max_hz == 2e9).all()
    other = problem_of(users=20, servers=3, seed=3)
    for field in ("user_frequency_max_hz", "power_max_w", "server_flops_per_cycle", "upload_bits"):
        assert not np.array_equal(getattr(problem, field), getattr(other, field)), field
    assert np.array_equal(drawn((2, 2), 3, 0, "users.cores", 0), [2.0, 2.0, 2.0])


#: Written down before ranges, sources and the preset existed. (Bits of powers differ between processors.)
UNCHANGED = {
    "random": -0.5756619746000045,
    "congested": -1.1410392588172282,
    "campus": -4.403275567142589,
    "deadlines": -0.9978282928494344,
}


def test_other_scenarios_give_the_same_numbers_as_ever() -> None:
    problems = {
        "random": ea.Scenario.random(50, 5).problem(),
        "congested": ea.Scenario.random(12, 4, load="congested", seed=7, batch=4).problem(),
        "campus": ea.Scenario.load(EXAMPLES / "campus.toml").problem(),
        "deadlines": ea.Scenario.load(EXAMPLES / "deadlines.toml").problem(),
    }
    assert {name: fingerprint(problem) for name, problem in problems.items()} == pytest.approx(UNCHANGED, rel=1e-10)


def test_time_shared_servers_by_their_numbers() -> None:
    """Energy per FLOP of a device without a name: kappa F^3 at its whole clock over its rate; accelerators cancel."""
    scenario = ea.Scenario.random(4, 2, preset="paper").changed(
        {"servers.0.energy": "time-shared", "servers.0.accelerators": 2, "servers.0.utilisation": 0.5,
         "servers.0.clock": 2e9, "servers.0.cores": 1000, "servers.0.flops_per_cycle": 2.0}
    )  # fmt: skip
    problem = scenario.problem()
    np.testing.assert_allclose(problem.server_joules_per_flop, 1e-26 * 2e9**3 / (0.5 * 2000.0 * 2e9))
    np.testing.assert_allclose(problem.server_flops_per_cycle, 2 * 0.5 * 2000.0)


def test_lengths_that_differ_reach_memory_and_downlink() -> None:
    """Where tokens are drawn, memory of the device, delay of the download and work are each user's own."""
    scenario = ea.Scenario.random(6, 2).changed({"model.tokens": [100, 900]})
    problem = scenario.problem()
    one = problem.upload_bits / problem.upload_bits[0]
    assert len(set(one)) > 1
    np.testing.assert_allclose(problem.fixed_delay_s, np.repeat((problem.upload_bits / 200e6)[:, None], 2, axis=1))
    assert (np.diff(problem.memory_bytes_per_layer[np.argsort(one)]) >= 0.0).all()
    served = scenario.changed({"limits.server_memory": True}).problem()
    longest = ea.Scenario.random(6, 2, tokens=900).changed({"limits.server_memory": True}).problem()
    assert np.array_equal(served.server_memory_bytes_per_layer, longest.server_memory_bytes_per_layer)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"users.0.clock": ["1 GHz", "0.5 GHz"]}, "users.0.clock", "first of the pair must not be above"),
        ({"users.0.clock": ["1 GHz"]}, "users.0.clock", "a pair [low, high]"),
        ({"users.0.clock": [1, "x"]}, "users.0.clock", "high end of [1, 'x']"),
        ({"users.0.cores": [4, 5.5]}, "users.0.cores", "high end of [4, 5.5]: is 5.5; it must be a whole number"),
        ({"users.0.cores": 0}, "users.0.cores", ">= 1"),
        ({"model.tokens": [512, 1024.5]}, "model.tokens", "whole number"),
        ({"users.0.power_max": [0.001, 2]}, "users.0.power_max", "below radio.power_min"),
        ({"users.0.kappa": "1 W"}, "users.0.kappa", "'1e-27 W*s^3'"),
        ({"users.0.kappa": None}, "users.0.kappa", "without a catalog device"),
        ({"users.0.flops": 1e9}, "users.0.flops", "none is given"),
        ({"servers.0.power": 5}, "servers.0.power", "none is given"),
        ({"servers.0.device": "t4", "servers.0.kappa": None, "servers.0.cores": None}, "servers.0.flops_per_cycle",
         "beside device"),
        ({"users.0.kappa": None, "users.0.cores": None, "users.0.flops_per_cycle": None}, "users.0.device",
         "is missing (`edgealloc catalog devices`"),
        ({"limits.device_memory": True}, "users.0.memory", "without a catalog device"),
    ],
)
def test_faults_name_the_key(changes: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(ea.DataError) as caught:
        ea.Scenario.random(5, 2, preset="paper").changed(changes)
    found = {fault.field: fault.message for fault in caught.value.faults}
    assert set(found) == {field}
    assert said in found[field]


def test_what_the_problem_says_of_drawn_numbers_names_the_key() -> None:
    scenario = ea.Scenario.random(5, 2, preset="paper").changed({"users.0.clock_min": "0.9 GHz"})
    with pytest.raises(ea.DataError, match=re.escape("users.0.clock_min")):
        scenario.problem()


def test_arguments_of_the_preset() -> None:
    with pytest.raises(ea.DataError, match="preset 'paper' has the paper's servers"):
        ea.Scenario.random(preset="paper", load="congested")
    with pytest.raises(ea.DataError, match="did you mean 'paper'"):
        ea.Scenario.random(preset="papper")
    named = ea.Scenario.random(3, 2, preset="paper", model="gpt2-small", deadline="1 h", users_per_server=2)
    problem = named.problem()
    assert problem.layers == 12
    assert (problem.deadline_s == 3600.0).all()
    assert (problem.users_per_server == 2).all()


def test_new_and_check(tmp_path: Path) -> None:
    """The preset from the command line, and its page of numbers with ranges and sources."""
    file = str(tmp_path / "paper.toml")
    done = CliRunner().invoke(app, ["new", file, "--preset", "paper", "--users", "6", "--servers", "2", "--seed", "3"])
    assert done.exit_code == 0, done.stderr
    assert same(ea.Scenario.load(file).problem(), problem_of(users=6, servers=2, seed=3))
    page = CliRunner().invoke(app, ["check", file]).stdout
    assert re.search(r"users.clock +500 MHz to 1 GHz +cited +Liu & Zhao, section 6", page)
    assert re.search(r"servers.kappa +1e-26 W\*s\^3 +assumption", page)
    assert "read in the source beside it" in page
    assert "feasible" in page
