"""Claims about the defects of the literal problem: each is shown by its numbers, at the paper's size and beyond it."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

import edgealloc as ea
from edgealloc.reproduce.liu_zhao_2024.defects import Amount, Defect, defects, markdown, text

NAMES = ("cut", "power", "local", "tuned", "association", "penalty", "noise", "equalities", "shares", "work", "size")


def by_name(problem: ea.SplitTraining | None = None, seed: int = 0) -> dict[str, Defect]:
    return {defect.name: defect for defect in defects(problem, seed)}


@pytest.fixture(scope="module")
def paper() -> dict[str, Defect]:
    """At the paper's size."""
    began = time.process_time()
    found = by_name()
    assert time.process_time() - began < 60.0  # a few seconds, and what compiling takes
    return found


def test_all_defects_are_there(paper: dict[str, Defect]) -> None:
    assert tuple(paper) == NAMES


def test_cut(paper: dict[str, Defect]) -> None:
    cut = paper["cut"]
    assert cut.value("users") == cut.value("users with one layer on the device") == 50.0
    assert cut.value("kappa of devices") == 1e-27
    assert cut.value("kappa of servers") == 1e-26
    assert cut.value("cost of a layer on the device over one on the server, smallest") > 10.0
    assert cut.value("the same with server kappas of 1e-25, smallest") > 1.0
    assert cut.value("increase of the optimum if all cuts were 2 or more, proven to be at least") > 0.0
    # with the FLOP per cycle of a real phone the balance turns for somebody
    needed = cut.value("FLOP per cycle at which a layer costs as much on the device, smallest")
    assert cut.value("FLOP per cycle of a device") < needed
    assert needed < cut.value("FLOP per cycle of a real phone (snapdragon-8-gen-2 at 35 %)")


def test_power(paper: dict[str, Defect]) -> None:
    power = paper["power"]
    assert power.value("users at the lowest power") == 50.0
    levels = ["p_max", "10 mW", "100 µW", "1 µW"]
    objective = [power.value(f"objective at {level}") for level in levels]
    energy = [power.value(f"energy of an upload at {level}, mean") for level in levels]
    seconds = [power.value(f"time of an upload at {level}, mean") for level in levels]
    infimum = power.value("infimum s N0 ln 2 / g of the energy as p -> 0, mean")
    assert objective == sorted(objective, reverse=True)
    assert len(set(objective)) == 4
    assert energy == sorted(energy, reverse=True)
    assert energy[-1] > infimum
    assert energy[-1] == pytest.approx(infimum, rel=1e-5)
    assert seconds[-1] > 90.0 * seconds[-2] > 8000.0 * seconds[-3]
    assert seconds[1] > power.value("delay that is counted, mean")
    assert "give power_min_w > 0" in power.consequence


def test_stability(paper: dict[str, Defect]) -> None:
    assert math.isinf(paper["local"].value("objective with one user at alpha = Y"))
    assert math.isinf(paper["local"].value("stability bound at alpha = 1, mean samples")) is False
    # (1 - 1/32) / (1 - 31/32)
    assert paper["local"].value("the same, times that at alpha = 1") == pytest.approx(31.0)
    assert paper["tuned"].value("layers that are trained, per user") == 32.0
    assert paper["tuned"].value("layers that the stability term counts, mean") == 1.0
    assert math.isinf(paper["tuned"].value("instability at the fraction that is trained"))


def test_association(paper: dict[str, Defect]) -> None:
    association = paper["association"]
    assert association.value("moves of one user to another server") == 50.0 * 9.0
    for label in ("moves of one user that keep all sums", "exchanges of two users that keep all sums",
                  "moves that keep all sums if sums may be lower"):
        assert association.value(label) == 0.0
    values = [
        association.value(label)
        for label in (
            "proven lower bound",
            "objective after moves priced with new shares",
            "objective there, best shares",
            "objective at the server of best gain, equal shares",
        )
    ]
    assert values == sorted(values)
    assert association.value("gained by them") > 0.0
    assert association.value("users on another server then") >= 1.0


def test_moves_are_really_impossible() -> None:
    """The same count by sums alone: after a move with fixed shares two servers are off by the share."""
    problem = ea.Scenario.random(9, 3, preset="paper", seed=4).split_training()
    server = problem.gain.argmax(axis=1)
    load = np.bincount(server, minlength=3)
    share = problem.bandwidth_max_hz[server] / load[server]
    possible = 0
    for n in range(9):
        for m in set(range(3)) - {int(server[n])}:
            moved = server.copy()
            moved[n] = m
            total = np.bincount(moved, share, 3)
            busy = np.bincount(moved, minlength=3) > 0
            possible += np.allclose(total[busy], problem.bandwidth_max_hz[busy], rtol=1e-9)
    assert by_name(problem)["association"].value("moves of one user that keep all sums") == possible == 0


def test_penalty(paper: dict[str, Defect]) -> None:
    assert paper["penalty"].value("sum chi (1 - chi) at the association found") == 0.0
    assert paper["penalty"].value("sum chi (1 - chi) with everybody spread evenly") == pytest.approx(50.0 * 0.9)
    assert math.isinf(paper["penalty"].value("an objective over the first of these"))


def test_noise(paper: dict[str, Defect]) -> None:
    noise = paper["noise"]
    band = 10.0 * math.log10(20e6)
    assert noise.value("noise over the band, as a density per Hz") == pytest.approx(-134.0 + band)
    assert noise.value("noise over the band, as the noise of the whole band") == pytest.approx(-134.0)
    assert noise.value("noise over the band, thermal, -174 dBm/Hz") == pytest.approx(-174.0 + band)
    assert noise.value("above thermal noise, as a density") == pytest.approx(40.0)
    assert noise.value("band over which thermal noise is sigma^2") == pytest.approx(1e4)
    median = "upload alone on a whole server at full power, {}, median"
    assert noise.value(median.format("as the noise of the whole band")) < noise.value(
        median.format("thermal, -174 dBm/Hz")
    ) < noise.value(median.format("as a density per Hz"))


def test_equalities_and_shares(paper: dict[str, Defect]) -> None:
    equal = paper["equalities"]
    assert equal.value("energy of the servers, at most") < equal.value("energy of the servers, exactly")
    assert equal.value("clock in use with at most") < 100.0
    assert equal.value("servers on which another Hz of clock costs more than it saves") >= 1.0
    assert equal.value("objective, exactly") > equal.value("objective at the same association, at most")
    shares = paper["shares"]
    power = shares.value("power that their users are charged for, sum")
    assert power < 0.5 * shares.value("power of busy servers at their whole clock, sum")


def test_workload(paper: dict[str, Defect]) -> None:
    work = paper["work"]
    batch, d, h = 512, 768, 1024
    assert work.value("work of a layer by the formula") == 72 * batch * d * h**2 + 12 * batch * d**2 * h
    assert work.value("work of a layer per token") == 72 * h**2 + 12 * d * h
    assert work.value("the same if the formula were per token") > 50.0
    size = paper["size"]
    # blocks of 12 h^2 weights and their biases and norms, an embedding and a head of 32000 x h
    assert size.value("parameters by the paper's sizes") == pytest.approx(32 * 12 * h**2 + 2 * 32000 * h, rel=2e-3)
    assert size.value("parameters of the released LLaMA-7B") > 10.0 * size.value("parameters by the paper's sizes")
    assert size.value("device memory of one layer, shortest sequences") > size.value(
        "half of it, which the preset 'physical' leaves to training"
    )


@pytest.mark.parametrize(("users", "servers", "seed"), [(8, 2, 1), (20, 5, 2), (100, 10, 3)])
def test_other_sizes_have_them_too(users: int, servers: int, seed: int) -> None:
    problem = ea.Scenario.random(users, servers, preset="paper", seed=seed).split_training()
    found = by_name(problem)
    assert found["cut"].value("users with one layer on the device") == users
    assert found["power"].value("users at the lowest power") == users
    assert found["association"].value("moves of one user that keep all sums") == 0.0
    assert found["equalities"].value("objective at the same association, at most") <= (
        found["equalities"].value("objective, exactly") * (1.0 + 1e-9)
    )


def test_the_seed_is_that_of_the_preset() -> None:
    own = ea.Scenario.random(50, 10, preset="paper", seed=3).split_training()
    assert defects(seed=3) == defects(own)
    assert defects(seed=3) != defects(seed=4)


def test_other_problems_are_refused() -> None:
    with pytest.raises(ea.DataError, match="not the literal one"):
        defects(ea.Scenario.random(4, 2).split_training())


def test_pages(paper: dict[str, Defect]) -> None:
    found = list(paper.values())
    page, table = text(found), markdown(found)
    for defect in found:
        for amount in defect.numbers:
            assert amount.shown in page
            assert str(amount).replace("*", "\\*") in table
        for part in (defect.claim, defect.consequence, defect.what_we_do):
            assert part in page
            assert part in table
    lines = table.splitlines()
    assert len(lines) == 2 + len(found)
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}


def test_amounts_for_people() -> None:
    assert Amount("a", 20e6, "Hz").shown == "20 MHz"
    assert Amount("a", math.inf).shown == "infinite"
    assert Amount("a", 12.5, "%").shown == "12.5 %"
    assert str(Amount("a", 450.0)) == "a: 450"
    with pytest.raises(KeyError):
        Defect("n", "c", (), "s", "w").value("a")
