"""Losses of devices: moves and times by hand, averages against a simulation, pools that fall apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_pools import ENUMERATED, fixed, pipeline, tiny_pool

import edgealloc as ea
from edgealloc.core import method as registry
from edgealloc.core.figures import save_figure
from edgealloc.formulations.pool_training.questions.recovery import Holding, moves_between, pools_without, repaired

#: Seconds per byte of a port of 100 Mbit/s, and latency of two ports.
BYTE, LATENCY = 8e-8, 2e-3


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods of these tests are gone after them."""
    from tiny_pools import FIXED

    table = {one.name: one for one in (ENUMERATED, FIXED)}
    monkeypatch.setitem(registry._REGISTERED, "pool-training", table)


def answered(monkeypatch: pytest.MonkeyPatch, answer: Callable[[ea.PoolTraining], ea.Plan | None]) -> None:
    """A method "answer" that returns what a function says."""
    def run(problem: ea.PoolTraining, run: ea.Run) -> ea.Outcome:
        plan = answer(problem)
        if plan is None:
            return ea.Outcome(diagnosis=problem.replace(memory_bytes=1.0).diagnose())
        return ea.Outcome(plan)

    table = registry._REGISTERED["pool-training"]
    monkeypatch.setitem(table, "answer", ea.Method("answer", "as told", run=run))


def by_hand(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[ea.PoolTraining, ea.Solution[Any, Any]]:
    """Two stages of two layers on devices 0 and 1 of three; without 0, device 2 takes its stage."""
    # three layers fit on every device, not four: the stage of a lost device cannot go to its neighbour
    problem = tiny_pool(3, 4, **{"memory_bytes": 1.95e9, "failure_probability": [0.01, 0.02, 0.5], **changes})
    others = {("device-1", "device-2"): ((1, 0), (2, 2)), ("device-0", "device-2"): ((0, 1), (1, 3))}

    def answer(pool: ea.PoolTraining) -> ea.Plan | None:
        told = others.get(tuple(pool.device_names))
        return pipeline(pool, (0, 1), (2, 2)) if told is None else pipeline(pool, *told)

    answered(monkeypatch, answer)
    return problem, problem.solve("answer").require()


def known(costs: ea.PoolCosts | None) -> ea.PoolCosts:
    assert costs is not None
    return costs


def test_three_devices_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, solution = by_hand(monkeypatch)
    report = ea.faults(solution, every=5, outage_s=0.0)
    first, second = report.losses
    # 0 and 1 keep each other's two layers of 250 MB: both ports of both are busy for 500 MB
    assert dict(report.backup.keepers) == {0: 1, 1: 0}
    assert report.backup.seconds == pytest.approx(5e8 * BYTE + LATENCY)
    assert report.backup.joules == pytest.approx(1e9 * 2e-8 + 4.0 * report.backup.seconds)
    assert report.backup.kept_bytes.tolist() == [5e8, 5e8, 0.0]
    # without 0: layers 0 and 1 go from 1, which has the copy, to 2
    assert first.plan == pipeline(problem, (2, 1), (2, 2))
    assert first.moves.messages == ((1, 2, 5e8),)
    assert first.moves.from_backup_bytes == 5e8
    assert first.recovery_s == pytest.approx(5e8 * BYTE + LATENCY)
    assert first.recovery_j == pytest.approx(10.0 + 4.0 * first.recovery_s)
    # when 0 is back, they go from 2 to 0
    assert first.back.messages == ((2, 0, 5e8),)
    assert first.back.from_backup_bytes == 0.0
    # without 1: layer 1 is with 0 already, 2 and 3 as a copy; 2 needs 1 to 3
    assert second.plan == pipeline(problem, (0, 2), (1, 3))
    assert second.moves.messages == ((0, 2, 7.5e8),)
    assert second.moves.from_backup_bytes == 5e8
    # back: layer 1 from 2 to 0 (0 has had no news of it), 2 and 3 from 2 to 1
    assert second.back.messages == ((2, 0, 2.5e8), (2, 1, 5e8))
    assert second.back_s == pytest.approx(7.5e8 * BYTE + LATENCY)
    # the average, by hand
    t, t0, t1 = known(solution.costs).time_s, known(first.costs).time_s, known(second.costs).time_s
    spent = (t + 0.97 * report.backup.seconds / 5 + 0.01 * (first.recovery_s + first.back_s + 2 * t0)
             + 0.02 * (second.recovery_s + second.back_s + 2 * t1))
    assert report.expected_time_s == pytest.approx(spent / 0.97, rel=1e-12)
    assert first.rolls_back
    assert not first.starts_anew


def test_without_backup_the_training_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    _, solution = by_hand(monkeypatch)
    report = ea.faults(solution, replication=False, iterations=101, outage_s=0.0)
    assert report.backup.kind == "none"
    assert report.backup.unprotected == (0, 1)
    assert all(loss.starts_anew for loss in report.losses)
    assert report.losses[0].moves.unsaved_bytes == 5e8
    first, second = report.losses
    spent = known(solution.costs).time_s + sum(
        q * (one.recovery_s + one.back_s + 50.0 * known(one.costs).time_s)
        for q, one in ((0.01, first), (0.02, second)))
    assert report.expected_time_s == pytest.approx(spent / 0.97)
    assert "the training starts anew" in str(report)


def test_storage_and_full_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots go to the disk of a device; the storage device's own states have no copy."""
    _, solution = by_hand(monkeypatch)
    report = ea.faults(solution, replication=False, storage="device-1")
    assert dict(report.backup.keepers) == {0: 1}
    assert report.backup.unprotected == (1,)
    assert [loss.starts_anew for loss in report.losses] == [False, True]
    # memory for the stages alone: copies find room on device 2 only, and only one of them
    need = known(solution.costs).memory_bytes.copy()
    need[2] = 3e8 + 4 * 3e8 + 3 * 2 * 6e7
    problem, tight = by_hand(monkeypatch, memory_bytes=need + np.array([1e6, 1e6, 0.0]))
    report = ea.faults(tight)
    assert set(report.backup.keepers.values()) == {2}
    assert problem.memory_bytes[2] - 3e8 >= report.backup.kept_bytes[2]
    other = ea.faults(tight, storage=1)
    assert len(other.backup.keepers) >= len(report.backup.keepers)


def simulated(report: ea.FaultReport, tries: int, seed: int) -> tuple[float, float]:
    """Mean time and energy of an iteration that counts, by playing the model."""
    rng = np.random.default_rng(seed)
    chances = np.array([loss.probability for loss in report.losses])
    drawn = np.searchsorted(np.cumsum(chances), rng.uniform(size=tries), side="right")
    since = done = 0
    seconds = joules = counted = 0.0
    for k in drawn:
        seconds += report.costs.time_s
        joules += report.costs.energy_j
        if k == len(chances):
            counted += 1.0
            since, done = since + 1, (done + 1) % report.iterations
            if since == report.backup.every:
                since = 0
                seconds += report.backup.seconds
                joules += report.backup.joules
            continue
        loss = report.losses[int(k)]
        seconds += loss.recovery_s + loss.back_s + report.outage_s
        joules += loss.recovery_j + loss.back_j
        costs = report.costs if loss.costs is None else loss.costs
        if loss.costs is None:
            joules += report.outage_s * report.waiting_w
        else:
            counted += report.outage_s / costs.time_s
            joules += report.outage_s / costs.time_s * costs.energy_j
        if loss.rolls_back:
            again = done if loss.starts_anew else since
            seconds += again * costs.time_s
            joules += again * costs.energy_j
    return seconds / counted, joules / counted


@pytest.mark.parametrize(("options", "alone"), [
    ({"every": 7, "outage_s": 20.0}, False),
    ({"every": 3, "replication": False, "storage": 1, "iterations": 40, "outage_s": 5.0}, False),
    ({"outage_s": 300.0}, True),
])
def test_average_is_that_of_a_simulation(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], alone: bool
) -> None:
    """The closed form against 200,000 tries; also where the others can do nothing but wait."""
    problem = tiny_pool(3, 4, memory_bytes=1.95e9, failure_probability=[0.03, 0.05, 0.0])

    def answer(pool: ea.PoolTraining) -> ea.Plan | None:
        if pool.devices < 3 and alone and "device-1" not in pool.device_names:
            return None
        return pipeline(pool, (0, 1), (2, 2))

    answered(monkeypatch, answer)
    report = ea.faults(problem.solve("answer"), **options)
    assert (report.losses[1].plan is None) == alone
    assert report.expected() == pytest.approx(simulated(report, 200_000, 1), rel=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_best_interval_is_the_best_of_all(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    problem, solution = by_hand(monkeypatch, seed=seed, weights=ea.Weights(1.0, 0.01 * seed, 0.0))
    report = ea.faults(solution, iterations=60)
    values = [report.expected_objective(every) for every in range(1, 61)]
    assert report.backup.best_every == report.backup.every == 1 + int(np.argmin(values))
    # Young's formula, written out
    price = 0.97 * (problem.per_second * report.backup.seconds + problem.per_joule * report.backup.joules)
    again = sum(loss.probability * known(loss.costs).objective for loss in report.losses)
    assert abs(report.backup.best_every - min(max(np.sqrt(2.0 * price / again), 1.0), 60.0)) <= 1.0


def test_no_faults_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, solution = by_hand(monkeypatch)
    problem = solution.problem.replace(failure_probability=0.0)
    assert solution.allocation is not None
    report = ea.faults(fixed(problem, solution.allocation), method="answer", iterations=10**6)
    assert report.expected_time_s == pytest.approx(known(solution.costs).time_s, rel=1e-4)
    assert report.backup.every == 10**6
    assert "failure_probability is 0" in str(report)


def test_replicas_need_no_backup() -> None:
    """Data parallelism: everybody has everything; nothing moves, nothing is done again."""
    problem = tiny_pool(3, 2, parallelisms=("data",), failure_probability=0.01)
    report = ea.faults(fixed(problem, ea.Plan("data", ((0, 1, 2),), (2,), ((1, 1, 2),))), method="all-plans")
    for loss in report.losses:
        assert loss.moves.messages == ()
        assert not loss.rolls_back
        assert loss.plan is not None
        assert loss.device not in loss.plan.devices
        assert loss.bound == pytest.approx(known(loss.costs).objective)
        for _, receiver, size in loss.back.messages:
            assert size == pytest.approx(2 * 2.5e8)  # who was not in the plan meanwhile has old states
            assert receiver not in loss.plan.devices
    assert report.backup.kind == "none"
    assert "not needed" in str(report)


def test_pieces_of_tensor_parallel_layers() -> None:
    """Half of the heads on each of two devices: a third one takes over from the backup exactly what was lost."""
    problem = tiny_pool(3, 1, checkpoint_bytes=8e8)
    before = [Holding(1, 0, 2, 4)]
    copies = [Holding(2, 0, 0, 2)]
    moved = moves_between(problem, problem.network, before, [Holding(1, 0, 1, 4), Holding(2, 0, 0, 1)], copies)
    assert moved.messages == ((2, 1, 2e8),)
    assert moved.from_backup_bytes == 4e8
    moved = moves_between(problem, problem.network, before, [Holding(2, 0, 0, 4)], copies)
    assert moved.messages == ((1, 2, 4e8),)
    assert moved.unsaved_bytes == 0.0
    assert moves_between(problem, problem.network, before, [Holding(0, 0, 0, 4)]).unsaved_bytes == 4e8


def test_sources_share_the_work() -> None:
    """Two layers that two devices have come one from each: the receiver's port is what is left to wait for."""
    problem = tiny_pool(3, 2, topology="mesh")
    have = [Holding(i, y, 0, 4) for i in (0, 1) for y in (0, 1)]
    moved = moves_between(problem, problem.network, have, [Holding(2, y, 0, 4) for y in (0, 1)])
    assert moved.messages == ((0, 2, 2.5e8), (1, 2, 2.5e8))
    assert moved.seconds == pytest.approx(2.5e8 * BYTE + 1e-3)


def test_a_line_falls_apart() -> None:
    """Without the middle of a line its ends are pools of their own; a relaying device matters without taking part."""
    problem = tiny_pool(3, 3, topology="line", parallelisms=("single", "pipeline"))
    pools = pools_without(problem, 1)
    assert [kept for _, kept in pools] == [(0,), (2,)]
    report = ea.faults(fixed(problem, pipeline(problem, (0, 2), (2, 1))), method="all-plans")
    assert [loss.device for loss in report.losses] == [0, 2, 1]
    relay = report.losses[-1]
    assert relay.plan is not None
    assert relay.plan.parallelism == "single"
    best = min(problem.evaluate(ea.Plan("single", ((i,),), (3,), ((4,),))).objective for i in (0, 2))
    assert known(relay.costs).objective == pytest.approx(best)
    assert relay.rolls_back  # half of the model is out of reach
    assert relay.starts_anew
    assert not report.to_frame()["participant"].to_numpy()[-1]


def test_nobody_else() -> None:
    problem = tiny_pool(1, 2, topology="mesh", failure_probability=0.1)
    report = ea.faults(problem, method="all-plans", outage_s=50.0, iterations=1)
    (loss,) = report.losses
    assert loss.plan is None
    assert loss.proven
    t = report.costs.time_s
    assert report.expected_time_s == pytest.approx((t + 0.1 * 50.0) / 0.9)


def test_model_that_fits_nowhere_else() -> None:
    """What is missing is said in bytes; that there is no plan is proven."""
    problem = tiny_pool(3, 4, memory_bytes=[1.9e9, 1.9e9, 1e8], failure_probability=0.01, parallelisms=("pipeline",))
    report = ea.faults(problem, method="all-plans")
    assert {loss.device for loss in report.losses} == {0, 1}
    assert all(loss.proven and loss.plan is None for loss in report.losses)
    assert "cannot be trained without it" in str(report)
    assert "B of memory_bytes missing" in str(report)
    assert np.isfinite(report.expected_time_s)


def test_repairs_keep_the_form() -> None:
    problem = tiny_pool(4, 6, batch=8)
    plan = pipeline(problem, (3, 0, 1), (2, 2, 2))
    layers = [(one.stages, one.layers) for one in repaired(problem, plan, 0)]
    assert layers == [(((3,), (1,)), counts) for counts in ((2, 4), (3, 3), (4, 2))]
    assert [one.layers for one in repaired(problem, plan, 3)] == [(4, 2)]
    assert [one.layers for one in repaired(problem, plan, 1)] == [(2, 4)]
    group = ea.Plan("hybrid", ((0, 1), (2,)), (3, 3), ((2, 2), (4,)))
    (option,) = repaired(problem, group, 1)
    assert option == ea.Plan("hybrid", ((0,), (2,)), (3, 3), ((4,), (4,)))
    for option in [*repaired(problem, plan, 0), *repaired(problem, group, 1)]:
        problem.check_allocation(option)


def test_interruption_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = tiny_pool(3, 3, failure_probability=0.01)
    solution = fixed(problem, pipeline(problem, (0, 1, 2), (1, 1, 1)))
    heard = []

    def stop(line: ea.Progress) -> None:
        heard.append(line.stage)
        if line.stage.startswith("without device-1"):
            raise KeyboardInterrupt

    report = ea.faults(solution, method="all-plans", on_progress=stop)
    assert report.interrupted
    assert [loss.device for loss in report.losses] == [0]
    assert np.isnan(report.expected_time_s)
    assert "interrupted" in str(report)


def test_faulty_options() -> None:
    problem = tiny_pool(3, 3)
    with pytest.raises(ea.DataError) as caught:
        ea.faults(problem, storage="device-x", every=0, iterations=2.5, outage_s=-1.0)  # type: ignore[arg-type]
    assert {fault.field for fault in caught.value.faults} == {"storage", "every", "iterations", "outage_s"}
    likely = problem.replace(failure_probability=0.5)
    with pytest.raises(ea.DataError, match="failure_probability"):
        ea.faults(fixed(likely, pipeline(likely, (0, 1, 2), (1, 1, 1))))


def test_picture_and_frame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, solution = by_hand(monkeypatch)
    report = ea.faults(solution)
    frame = report.to_frame()
    assert frame["slowdown"].to_numpy() == pytest.approx(
        [known(loss.costs).time_s / known(solution.costs).time_s for loss in report.losses])
    assert save_figure(report.plot(), tmp_path / "faults.png").stat().st_size > 5000
