"""Deployment: costs against loops, limits, prices by finite differences, tables of options, bad input, files."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deployment_oracle import FLEET, by_hand, every_option, random_deployment, random_rollouts

import edgealloc as ea
from edgealloc import DataError, Deployment, Rollout, Weights
from edgealloc.formulations.deployment.costs import queueing, queueing_slope


def mask_of(rollout: Rollout) -> np.ndarray:
    """(N,) numbers of the sets of classes that are sent."""
    return np.asarray((rollout.offload * 2 ** np.arange(rollout.offload.shape[1])).sum(axis=1))


@pytest.mark.parametrize("servers", [0, 1, 3])
def test_costs_and_limits_are_those_of_loops(servers: int) -> None:
    """Objective, limits and means of random rollouts, and the sums of the options' tables."""
    judged = fitting = 0
    for seed in range(24):
        problem = random_deployment(seed, 1 + seed % 4, 1 + seed % 3, 1 + seed % 3, servers)
        for one in random_rollouts(problem, seed, 8):
            judged += 1
            objective, fits = by_hand(problem, one)
            fitting += fits
            costs = problem.evaluate(one)
            assert costs.objective == pytest.approx(objective, rel=1e-12, abs=1e-15)
            assert (problem.relative_violation(one) <= 1e-9) == fits, problem.violations(one)
            assert (max(problem.violations(one).values()) <= 1e-9) == fits
            if math.isfinite(objective):
                weighted = (float(problem.weights.delay) * costs.mean_delay_s + problem.energy_weight
                            * costs.mean_energy_j + problem.hallucination_weight * costs.hallucination
                            + problem.error_weight * costs.error + problem.inaccessible_weight * costs.inaccessible)
                assert weighted == pytest.approx(objective, rel=1e-9, abs=1e-12)
            options, devices, mask = problem.options, np.arange(problem.devices), mask_of(one)
            there = one.server >= 0
            parts = options.local_cost[devices, one.variant + 1, mask].sum()
            parts += options.sent_cost[devices[there], one.server[there], mask[there]].sum()
            if problem.delay_weight > 0.0:
                parts += problem.delay_weight * queueing(costs.server_load).sum() / problem.total_rate_per_s
            assert parts == pytest.approx(objective, rel=1e-12, abs=1e-15)
            means = dict(zip(FLEET, (costs.mean_energy_j, costs.hallucination, 1.0 - costs.accuracy,
                                     1.0 - costs.accessibility), strict=True))
            for name, mean in means.items():
                used = options.local_use[name][devices, one.variant + 1, mask].sum()
                used += options.sent_use[name][devices[there], one.server[there], mask[there]].sum()
                assert used == pytest.approx(mean, abs=1e-12)
            load = np.bincount(one.server[there], minlength=servers,
                               weights=options.sent_load[devices[there], one.server[there], mask[there]])
            assert load == pytest.approx(costs.server_load)
            assert options.device_load[devices, one.variant + 1, mask] == pytest.approx(costs.device_load)
    assert judged > 60
    assert fitting > 1


def test_options_are_what_a_lone_device_may_do() -> None:
    """Allowed exactly what keeps the limits of the device and, if it were alone, those of servers."""
    allowed = 0
    for seed in range(40):
        problem = random_deployment(seed, 2, 3, 2, 2, **dict.fromkeys(FLEET))
        options = problem.options
        mine = np.zeros((2, 4, 3, 4), dtype=bool)
        for i in range(2):
            for part in every_option(problem, i):
                v, s, sends = part.choice
                alone = s < 0 or (part.load <= problem.load_limit[s] * (1 + 1e-9) and (
                    problem.airtime_limit is None or part.airtime <= problem.airtime_limit[s] * (1 + 1e-9)))
                mine[i, v + 1, s + 1, sum(2**c for c in range(2) if sends[c])] = part.fits and alone
        nowhere = np.zeros((2, 1, 4), dtype=bool)
        nowhere[:, :, 0] = True
        theirs = options.local_allowed[:, :, None] & np.concatenate([nowhere, options.sent_allowed], axis=1)[:, None]
        assert np.array_equal(mine, theirs)
        assert np.array_equal(options.possible, theirs.any(axis=(1, 2)))
        allowed += int(mine.sum())
    assert allowed > 100


def test_the_queue_is_that_of_processor_sharing() -> None:
    """Of every class the wait is busy x rho/(1 - rho); they add up to rho^2/(1 - rho), whose slope is as stated."""
    problem = random_deployment(5, 3, 1, 2, 1, load_limit=0.9, uplink_bps=1e6, downlink_bps=1e6,
                                query_rate_per_s=[[0.1, 0.05], [0.02, 0.1], [0.01, 0.01]])
    rollout = Rollout(np.full(3, -1), np.zeros(3, dtype=int), np.ones((3, 2), dtype=bool))
    costs = problem.evaluate(rollout)
    rho = float(costs.server_load[0])
    assert rho == pytest.approx(float((problem.query_rate_per_s * problem.busy_s).sum()))
    assert costs.queue_s == pytest.approx(np.broadcast_to(problem.busy_s * rho / (1.0 - rho), (3, 2)))
    assert (costs.queue_s * problem.query_rate_per_s).sum() == pytest.approx(rho**2 / (1.0 - rho))
    loads = np.linspace(0.0, 0.95, 20)
    step = 1e-7
    slope = (queueing(loads + step) - queueing(loads)) / step
    assert queueing_slope(loads) == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert (np.diff(queueing(loads), 2) > 0.0).all()
    assert np.isinf(queueing(np.array([1.0, 1.5]))).all()


def test_prices_are_derivatives() -> None:
    """Every price by finite differences through `evaluate`."""
    checked = 0
    for seed in range(20):
        problem = random_deployment(seed, 4, 2, 2, 2, load_limit=0.9, weights=Weights(1.0, 0.1, 0.0),
                                    uplink_bps=np.random.default_rng(seed).uniform(1e4, 1e6, (4, 2)),
                                    downlink_bps=3e5, runs=True)
        (one,) = random_rollouts(problem, seed)
        costs = problem.evaluate(one)
        if costs.server_load.max() > 0.95:
            continue
        prices, objective = problem.prices(one), costs.objective
        assert set(prices) == {"server_speed", "server_load", "uplink_bps", "downlink_bps"}
        step = 1e-6
        for s in range(2):
            factor = np.ones((2, 1))
            factor[s] = 1.0 / (1.0 + step)
            faster = problem.replace(busy_s=problem.busy_s * factor, service_s=problem.service_s * factor)
            saved = (objective - faster.evaluate(one).objective) / step
            assert prices["server_speed"][s] == pytest.approx(saved, rel=1e-4, abs=1e-7)
            # its queue alone
            rho, rates = float(costs.server_load[s]), problem.total_rate_per_s
            less = (rho**2 / (1 - rho) - (rho - step) ** 2 / (1 - rho + step)) / rates / step
            assert prices["server_load"][s] == pytest.approx(less, rel=1e-4, abs=1e-4)
        for name in ("uplink_bps", "downlink_bps"):
            for i in range(4):
                if one.server[i] < 0:
                    assert prices[name][i] == 0.0
                    continue
                table = getattr(problem, name).copy()
                rate = table[i, one.server[i]]
                table[i, one.server[i]] *= 1.0 + step
                saved = (objective - problem.replace(**{name: table}).evaluate(one).objective) / (step * rate)
                assert prices[name][i] == pytest.approx(saved, rel=1e-3, abs=1e-8 / rate)
                checked += 1
    assert checked > 30
    alone = random_deployment(0, 2, 2, 2, 0, runs=True)
    (one,) = random_rollouts(alone, 0)
    assert alone.prices(one)["server_speed"].size == 0


def small(**changes: Any) -> Deployment:
    """Two phones, two variants, two classes, one server."""
    fields: dict[str, Any] = {
        "device_memory_bytes": [4e9, 8e9], "query_rate_per_s": [[0.01, 0.02], [0.03, 0.0]],
        "memory_bytes": [2e9, 6e9], "local_delay_s": 2.0, "accuracy": [[0.6, 0.5], [0.8, 0.7]],
        "busy_s": [[1.0, 2.0]], "uplink_bps": 1e6, "downlink_bps": 1e6,
    }
    return Deployment(**fields | changes)


def test_numbers_and_rows_are_broadcast() -> None:
    problem = small(deadline_s=[9.0, 10.0], accuracy_floor=0.4)
    assert (problem.devices, problem.variants, problem.classes, problem.servers) == (2, 2, 2, 1)
    assert problem.deadline_s.tolist() == [[9.0, 10.0]] * 2
    assert problem.local_delay_s.shape == (2, 2, 2)
    assert problem.server_accuracy.tolist() == [[1.0, 1.0]]
    assert np.array_equal(problem.service_s, problem.busy_s)
    assert problem.class_names == ("class 0", "class 1")
    assert problem.query_share.sum() == pytest.approx(1.0)
    assert problem.energy_limit_j is None
    with pytest.raises(ValueError, match="read-only"):
        problem.local_delay_s[0, 0, 0] = 1.0
    none = small(busy_s=(), uplink_bps=0.0, downlink_bps=0.0)
    assert none.servers == 0
    assert none.uplink_bps.shape == (2, 0)
    assert none.evaluate(Rollout(np.array([0, 1]), np.array([-1, -1]), np.zeros((2, 2), bool))).objective == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device_memory_bytes": [4e9, -1.0]}, "device_memory_bytes[1]: is -1 B; it must be in [0, inf) B"),
        ({"query_rate_per_s": [[0.1, -2.0]] * 2}, "query_rate_per_s[0, 1]: is -2 1/s"),
        ({"query_rate_per_s": 0.0}, "query_rate_per_s: is 0 for every device and class; somebody must ask something"),
        ({"query_rate_per_s": None}, "query_rate_per_s: is missing"),
        ({"accuracy": 91.0}, "accuracy[0, 0]: is 91; it must be in [0, 1]; give shares: 0.9 for 90 %"),
        ({"accuracy_floor": [0.5, 1.5]}, "accuracy_floor[0, 1]: is 1.5"),
        ({"deadline_s": 0.0}, "deadline_s[0, 0]: is 0 s; it must be in (0, inf] s"),
        ({"load_limit": 1.0}, "load_limit[0]: is 1; it must be in (0, 0.999]; a server that is always busy never"),
        ({"busy_s": [[0.0, 1.0]]}, "busy_s[0, 0]: is 0 s; it must be in (0, inf) s"),
        ({"local_delay_s": [[1.0, math.nan], [1.0, 1.0]]}, "local_delay_s[0, 0, 1]: is nan"),
        ({"uplink_bps": [[1.0], [2.0], [3.0]], "device_memory_bytes": [1.0, 2.0]}, "device_memory_bytes: has shape"),
        ({"runs": "yes"}, "runs: holds something that is neither true nor false"),
        ({"runs": [True, False, True], "memory_bytes": [1.0, 2.0]}, "memory_bytes: has shape (2,); it must be"),
        ({"weights": 1.0}, "weights: is a float; give an edgealloc.Weights"),
        ({"weights": Weights(np.ones(2), 0.0, 0.0)}, "weights.delay: has 2 entries; queries weigh the same"),
        ({"error_limit": 2.0}, "error_limit: is 2; it must be in [0, 1]"),
        ({"class_names": ["a", "a"]}, "class_names[1]: 'a' is the name of class 0, too"),
        ({"device_names": ["a"]}, "device_names: has 1 names for 2 devices"),
        ({"device_load_limit": 0.0}, "device_load_limit: is 0; it must be in (0, inf]"),
    ],
)
def test_bad_input_is_told_by_field_and_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        small(**changes)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(DataError) as caught:
        small(device_memory_bytes=-1.0, memory_bytes=-1.0, local_delay_s=-1.0, weights=None, accuracy=7.0)
    assert len(caught.value.faults) == 5
    with pytest.raises(DataError, match="there are 9 classes of queries; give up to 8"):
        small(query_rate_per_s=np.full((2, 9), 0.1), accuracy=0.5, busy_s=np.ones((1, 9)))


@pytest.mark.parametrize(
    ("variant", "server", "offload", "message"),
    [
        ([0], [-1, -1], [[0, 0], [0, 0]], "variant: has shape (1,) and type int64; give whole numbers, one for each of "
                                          "2 devices"),
        ([0.0, 1.0], [-1, -1], [[0, 0], [0, 0]], "variant: has shape (2,) and type float64"),
        ([0, 2], [-1, -1], [[0, 0], [0, 0]], "variant[1]: is 2; it must be in [-1, 1]"),
        ([0, 0], [-1, 1], [[0, 0], [1, 0]], "server[1]: is 1; it must be in [-1, 0]"),
        ([0, 0], [-1, 0], [[0, 0], [1, 1]], "offload[1, 1]: is True, but device 1 is never asked class 1"),
        ([0, 0], [0, -1], [[0, 0], [0, 0]], "server[0]: is server 0, but device 0 sends nothing; give -1"),
        ([0, 0], [-1, -1], [[1, 0], [0, 0]], "server[0]: is -1, but device 0 sends queries; give a server"),
        ([-1, 0], [0, -1], [[1, 0], [0, 0]], "variant[0]: is -1, but device 0 answers queries itself"),
        ([0, 1], [-1, -1], [[0, 0], [0, 0]], "variant[1]: is variant 1, which device 1 cannot run"),
        ([0, 0], [-1, 0], [[0, 0], [1, 0]], "server[1]: is server 0, which device 1 cannot reach"),
        ([0, 0], [-1, -1], [[0], [0]], "offload: has shape (2, 1) and type bool"),
    ],
)
def test_bad_rollouts_are_told(variant: list[Any], server: list[Any], offload: list[Any], message: str) -> None:
    problem = small(runs=[[True, True], [True, False]], uplink_bps=[[1e6], [0.0]])
    with pytest.raises(DataError, match=re.escape(message)):
        problem.evaluate(Rollout(np.array(variant), np.array(server), np.array(offload, dtype=bool)))


def test_what_is_no_rollout() -> None:
    with pytest.raises(DataError, match=re.escape("an edgealloc.Rollout is needed, not a dict")):
        small().evaluate({})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=re.escape("offload: has shape (2, 2) and type int64; give true or false")):
        small().evaluate(Rollout(np.zeros(2, int), np.full(2, -1), np.zeros((2, 2), int)))


def test_replace_checks_everything_again() -> None:
    problem = small()
    assert problem.replace(error_limit=0.2).error_limit == 0.2
    assert problem.error_limit is None
    with pytest.raises(DataError, match=re.escape("no field 'eror_limit'; did you mean 'error_limit'")):
        problem.replace(eror_limit=0.2)
    with pytest.raises(DataError, match="energy_limit_j"):
        problem.replace(energy_limit_j=-1.0)


def test_limits_of_zero_are_kept_exactly() -> None:
    """Shares that add up to 1 but for rounding are no wrong answers."""
    for seed in range(10):
        rate = np.random.default_rng(seed).uniform(0.001, 0.002, (7, 3))
        problem = Deployment(device_memory_bytes=np.ones(7), query_rate_per_s=rate, memory_bytes=[1.0], accuracy=1.0,
                             local_delay_s=1.0, error_limit=0.0, hallucination_limit=0.0, energy_limit_j=0.0,
                             inaccessible_limit=0.0)
        rollout = Rollout(np.zeros(7, int), np.full(7, -1), np.zeros((7, 3), bool))
        assert problem.relative_violation(rollout) == 0.0


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_solutions_are_saved_and_loaded(tmp_path: Path, suffix: str) -> None:
    """A solution comes back as it was, problem and rollout included."""
    problem = small(class_names=["chat", "code"], hallucination_weight=1.0, deadline_s=20.0)
    solution = problem.solve("greedy")
    path = solution.save(tmp_path / f"solution{suffix}")
    again = ea.Solution.load(path)
    assert again.objective == solution.objective
    assert isinstance(again.allocation, Rollout)
    assert solution.allocation is not None
    for name in ("variant", "server", "offload"):
        assert np.array_equal(getattr(again.allocation, name), getattr(solution.allocation, name))
    assert again.problem.class_names == ("chat", "code")
    assert again.problem.evaluate(again.allocation).objective == solution.objective
