"""Tables and summary of a solution: numbers that must add up, and text for every shape of answer."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import Spec, build, sized, specs

import edgealloc as ea
from edgealloc.formulations.split_training import views


def by_hand(**changes: Any) -> ea.SplitTraining:
    """Two users on server 0 and one alone; round numbers everywhere."""
    fields: dict[str, Any] = {
        "layers": 4, "layer_flops": 1e12, "upload_bits": 1e6, "user_flops_per_cycle": 1000.0, "user_kappa": 0.0,
        "user_frequency_max_hz": 1e9, "power_max_w": 1.0, "samples": 100.0, "server_flops_per_cycle": 1e4,
        "server_frequency_max_hz": [1e9, 2e9], "bandwidth_max_hz": [2e6, 1e6], "server_joules_per_flop": 0.0,
        "gain": [[1e-9, 0.0], [1e-9, 0.0], [0.0, 0.0]], "noise_psd_w_per_hz": 1e-15,
        "weights": ea.Weights(1.0, 0.0, 0.0), "stability": ea.Stability("fu", lambda_min=1.0),
        "server_names": ["roof", "yard"],
    }
    return ea.SplitTraining(**{**fields, **changes})


def solved(problem: ea.SplitTraining) -> Any:
    return problem.solve("greedy").require()


def test_servers_table_by_hand() -> None:
    """Each of two users gets 1 MHz (1 Mbit/s at signal/noise 1) and 0.5 GHz, and sends three of four layers."""
    table = solved(by_hand()).servers_frame()
    assert table["server_name"].tolist() == ["roof", "yard"]
    assert table["users"].tolist() == [2, 0]
    assert table["layers_served"].tolist() == [6, 0]
    assert table["bandwidth_hz"].tolist() == pytest.approx([2e6, 0.0])
    assert table["bandwidth_share"].tolist() == pytest.approx([1.0, 0.0])
    assert table["server_frequency_share"].tolist() == pytest.approx([1.0, 0.0])
    assert table["mean_delay_s"][0] == pytest.approx(1.0 + 1.0 + 3 * 0.2)
    assert np.isnan(table["mean_delay_s"][1])
    assert table["bound_price_bandwidth_per_hz"].isna().all()
    assert table["price_bandwidth_per_hz"][0] > 0.0


def test_users_table_by_hand() -> None:
    table = solved(by_hand()).to_frame()
    assert table["server"].tolist() == [0, 0, -1]
    assert table["server_name"].tolist() == ["roof", "roof", "local"]
    assert table["rate_bits_per_s"].tolist() == pytest.approx([1e6, 1e6, 0.0])
    assert table["delay_s"].tolist() == pytest.approx([2.6, 2.6, 4.0])
    assert np.isnan(table["gain"][2])


@settings(derandomize=True, deadline=None, max_examples=25)
@given(specs(users=6, servers=3), st.integers(0, 2**32 - 1))
def test_tables_add_up(spec: Spec, seed: int) -> None:
    """Sums over servers and users agree with the costs, and the summary is text of printable lines."""
    problem = build(spec, np.random.default_rng(seed))
    solution = solved(problem)
    users, servers = solution.to_frame(), solution.servers_frame()
    assert len(users) == problem.users
    assert len(servers) == problem.servers
    assert users["objective"].sum() == pytest.approx(solution.objective)
    remote = users["server"] >= 0
    assert servers["users"].sum() == remote.sum()
    assert servers["objective"].sum() == pytest.approx(users["objective"][remote].sum())
    assert servers["energy_j"].sum() == pytest.approx(solution.costs.server_energy_j.sum())
    text = solution.summary()
    assert "nan" not in text
    assert f"{int(remote.sum())} offload" in text


def test_summary_says_what_matters() -> None:
    text = solved(by_hand()).summary()
    assert "2 offload, 1 train fully locally" in text
    assert "roof" in text
    assert "one more MHz" in text
    assert "slowest      user 2: 4 s (device 4 s), fully local" in text
    assert "0 |█" not in text
    assert "| █  ▄| 4 local layers" in text


def test_cuts_strictly_inside() -> None:
    """Only users that offload at neither end of their range count; an end is `layers` where that is allowed."""
    problem = by_hand(min_local_layers=1)
    solution = solved(problem)
    allocation = solution.allocation
    for cut, inside in ((1, 0), (2, 2), (3, 2)):
        moved = dataclasses.replace(allocation, local_layers=np.array([cut, cut, 4]))
        changed = dataclasses.replace(solution, allocation=moved, costs=problem.evaluate(moved))
        assert f"{inside} of 3 cuts strictly inside" in changed.summary()


@pytest.mark.parametrize(("users", "servers"), [(1, 1), (3, 12), (3, 13), (1, 40)])
def test_any_size(users: int, servers: int) -> None:
    text = solved(sized(1, users, servers, extreme=False)).summary()
    assert "slowest" in text
    assert ("per GHz" in text) == (servers <= views.SERVERS_SHOWN)


def test_nobody_offloads() -> None:
    solution = solved(by_hand(gain=np.zeros((3, 2))))
    assert "none is used" in solution.summary()
    assert solution.servers_frame()["users"].sum() == 0


def test_comparison_columns() -> None:
    columns = views.comparison_columns(solved(by_hand()).costs)
    assert columns["users_offloaded"] == 2.0
    assert columns["mean_delay_s"] == pytest.approx((2.6 + 2.6 + 4.0) / 3)
    assert set(columns) == {"mean_delay_s", "total_energy_j", "mean_instability", "users_offloaded"}


def test_a_hundred_thousand_users_take_no_time() -> None:
    """Everything is vectorised: all tables and the text in about a second."""
    problem = sized(2, 100_000, 50, 32, extreme=False)
    solution = solved(problem)
    start = time.perf_counter()
    solution.summary()
    solution.to_frame()
    solution.servers_frame()
    assert time.perf_counter() - start < 20.0


def test_no_allocation_has_no_table() -> None:
    infeasible = by_hand(stability=ea.Stability(), max_local_layers=3).solve("greedy")
    assert infeasible.status is ea.Status.INFEASIBLE
    assert views.summary_lines(infeasible.problem, infeasible) == []
    with pytest.raises(ea.InfeasibleError):
        infeasible.servers_frame()
