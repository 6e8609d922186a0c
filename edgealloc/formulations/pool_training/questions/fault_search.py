"""Builds a FaultReport: solves the pool without each device, prices the moves, chooses who keeps copies."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from edgealloc.core.run import Progress
from edgealloc.core.solution import Solution
from edgealloc.core.status import Termination
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.formulations.pool_training.plan import Plan, PoolCosts
from edgealloc.formulations.pool_training.questions.faults import Backup, FaultReport, Loss
from edgealloc.formulations.pool_training.questions.given import problem_of
from edgealloc.formulations.pool_training.questions.recovery import (
    Holding,
    Moves,
    best_repair,
    holdings,
    moves_between,
    pools_without,
    renumbered,
    size_bytes,
    sole_holdings,
)
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["faults"]

_NOTHING = Moves((), 0.0, 0.0, 0.0, 0.0)


class _Options(TypedDict):
    """Options of `Problem.solve` that are the same for every pool."""

    gap: float
    seed: int
    threads: int | None


def faults(
    given: PoolTraining | Solution[Plan, PoolCosts],
    *,
    replication: bool = True,
    storage: str | int | None = None,
    every: int | None = None,
    iterations: int = 1000,
    outage_s: float | None = None,
    method: str | None = None,
    gap: float = 1e-2,
    time_limit_s: float | None = 60.0,
    seed: int = 0,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> FaultReport:
    """What the loss of each device would mean for a plan, and what faults cost on average.

    For every participant the pool is planned anew without it (the device is gone with its links, relays stay), from
    the repaired plan on; the states that somebody then lacks are moved from a device that has them, or from a backup.

    Parameters
    ----------
    given : PoolTraining or Solution
        A problem is solved first.
    replication : bool
        Devices that hold something alone keep a copy in the memory of another device, where one has room.
    storage : str or int, optional
        Name or number of a device on whose disk snapshots are kept where there is no replica; its room is not
        checked. None: without a replica nothing is kept, and a loss starts the training anew.
    every : int, optional
        Iterations between two backups; the best interval by default.
    iterations : int
        Of the whole training.
    outage_s : float, optional
        How long a lost device stays away; 100 iterations of the plan by default.
    method, gap, time_limit_s, seed, threads, on_progress
        As for `solve`; the time is that of all searches together.

    Returns
    -------
    FaultReport

    Raises
    ------
    DataError
        Faulty options, or failure probabilities of the plan's devices that sum to 1 or more.
    InfeasibleError, SolverError
        There is no plan to begin with.

    Notes
    -----
    All devices go back to the same iteration: everybody keeps a snapshot of its own states on its disk, which costs
    nothing here. Planning and starting anew take no time.
    """
    started = time.perf_counter()
    limit = math.inf if time_limit_s is None else time_limit_s
    options: _Options = {"gap": gap, "seed": seed, "threads": threads}
    problem = problem_of(given, "faults")
    store = _checked(problem, storage, every, iterations, outage_s)
    if isinstance(given, Solution):
        solution = given
    else:
        solution = problem.solve(method, time_limit_s=None if math.isinf(limit) else 0.4 * limit,
                               on_progress=on_progress, **options)
    plan, costs = solution.found()
    search = method or (solution.method if solution.method in problem.methods() else problem.DEFAULT_METHOD)
    concerned = _concerned(problem, plan)
    chance = float(problem.failure_probability[concerned].sum())
    if chance >= 1.0:
        raise DataError([Fault("failure_probability", f"sums to {chance:g} over the devices of the plan; at most one "
                                                      "is lost in an iteration, so that it must be below 1")])
    backup = _keepers(problem, plan, costs, replication, store)
    waiting = float(problem.idle_power_w[list(plan.devices)].sum())
    losses: list[Loss] = []
    interrupted = False
    for number, device in enumerate(concerned):
        left = limit - (time.perf_counter() - started)
        share = None if math.isinf(left) else max(left / (len(concerned) - number), 1e-3)
        try:
            losses.append(_loss(problem, plan, device, backup, search, share, options, on_progress, started))
        except KeyboardInterrupt:
            interrupted = True
            break
    report = FaultReport(problem, plan, costs, tuple(losses), backup, iterations,
                         100.0 * costs.time_s if outage_s is None else float(outage_s), waiting, interrupted)
    best = iterations if interrupted else _best_interval(report)
    chosen = dataclasses.replace(backup, best_every=best, every=best if every is None else every)
    return dataclasses.replace(report, backup=chosen)


def _checked(problem: PoolTraining, storage: Any, every: Any, iterations: Any, outage_s: Any) -> int | None:
    """The number of the storage device; all faulty options at once."""
    found: list[Fault] = []
    for name, value in (("every", every), ("iterations", iterations)):
        if (name != "every" or value is not None) and (isinstance(value, bool) or not isinstance(value, int)
                                                       or value < 1):
            found.append(Fault(name, f"is {value!r}; give an integer >= 1"))
    if outage_s is not None and not (isinstance(outage_s, (int, float)) and 0.0 <= outage_s < math.inf):
        found.append(Fault("outage_s", f"is {outage_s!r}; give seconds >= 0"))
    store = None
    if isinstance(storage, str):
        names = [str(name) for name in problem.device_names]
        if storage in names:
            store = names.index(storage)
        else:
            found.append(Fault("storage", f"is no device: '{storage}'; {nearest(storage, names)}"))
    elif storage is not None:
        if isinstance(storage, bool) or not isinstance(storage, (int, np.integer)) or not (
            0 <= storage < problem.devices
        ):
            found.append(Fault("storage", f"is {storage!r}; give the name of a device or its number, 0 to "
                                          f"{problem.devices - 1}"))
        else:
            store = int(storage)
    if found:
        raise DataError(found, "faults")
    return store


def _concerned(problem: PoolTraining, plan: Plan) -> list[int]:
    """Participants in the order of the plan, then devices that pass its traffic on."""
    ends = problem.topology.ends
    passed = {int(node) for i, j in problem.schedule(plan).traffic for link in problem.network.route(i, j)
              for node in ends[link] if node < problem.devices}
    return [*plan.devices, *sorted(passed - set(plan.devices))]


# ---- backups --------------------------------------------------------------------------------------------------------


def _keepers(problem: PoolTraining, plan: Plan, costs: PoolCosts, replication: bool, store: int | None) -> Backup:
    """Who keeps a copy for whom: the largest first, each where there is room and the network is least loaded."""
    alone: dict[int, list[Holding]] = {}
    for one in sole_holdings(problem, plan):
        alone.setdefault(one.device, []).append(one)
    sizes = {device: size_bytes(problem, pieces) for device, pieces in alone.items()}
    network = problem.network
    room = problem.memory_bytes - np.where(costs.memory_bytes > 0.0, costs.memory_bytes, problem.overhead_bytes)
    use, kept = np.zeros(network.media), np.zeros(problem.devices)
    keepers: dict[int, int] = {}
    messages = []
    for device in sorted(sizes, key=lambda i: (-sizes[i], i)):
        size = sizes[device]
        options = [k for k in range(problem.devices) if k != device and room[k] >= size] if replication else []
        if not options and store is not None and store != device:
            options = [store]
        if not options:
            continue
        loads = {k: max(float(use[m]) + size * s for m, s in network.airtime(device, k).items()) for k in options}
        keeper = min(options, key=lambda k: (loads[k], float(network.latency_s[device, k]), k))
        for medium, seconds in network.airtime(device, keeper).items():
            use[medium] += size * seconds
        room[keeper] -= size
        kept[keeper] += size
        keepers[device] = keeper
        messages.append((device, keeper, size))
    seconds = sum(network.phase(messages))
    waiting = float(problem.idle_power_w[list(plan.devices)].sum())
    joules = sum(size * float(network.joules_per_byte[i, k]) for i, k, size in messages) + waiting * seconds
    kind = "none" if not keepers else "replica" if replication else "storage"
    return Backup(kind, keepers, tuple(sorted(set(alone) - set(keepers))), 1, 1, seconds, joules, kept)


def _best_interval(report: FaultReport) -> int:
    """Young's interval for this objective, as the better of its whole neighbours."""
    backup, most = report.backup, report.iterations
    problem = report.problem
    chance = sum(loss.probability for loss in report.losses)
    again = 0.0
    for loss in report.losses:
        if loss.rolls_back and not loss.starts_anew:
            again += loss.probability * (report.costs if loss.costs is None else loss.costs).objective
    price = (1.0 - chance) * (problem.per_second * backup.seconds + problem.per_joule * backup.joules)
    if not backup.keepers or not again:
        return most
    ideal = math.sqrt(2.0 * price / again)
    options = {min(max(one, 1), most) for one in (math.floor(min(ideal, most)), math.ceil(min(ideal, most)))}
    return min(sorted(options), key=report.expected_objective)


# ---- one loss -------------------------------------------------------------------------------------------------------


def _loss(
    problem: PoolTraining, plan: Plan, device: int, backup: Backup, method: str, limit_s: float | None,
    options: _Options, on_progress: Callable[[Progress], None] | None, started: float,
) -> Loss:
    began = time.perf_counter()
    name = problem.device_names[device]

    def relay(line: Progress) -> None:
        if on_progress is not None:
            on_progress(dataclasses.replace(line, stage=f"without {name}: {line.stage}",
                                            seconds=time.perf_counter() - started))

    pools = pools_without(problem, device)
    best: tuple[PoolTraining, tuple[int, ...], Plan, PoolCosts] | None = None
    bounds: list[float | None] = []
    proven, why = True, "no other device is there" if not pools else ""
    for number, (pool, kept) in enumerate(pools):
        left = None if limit_s is None else max((limit_s - (time.perf_counter() - began)) / (len(pools) - number), 1e-3)
        start = best_repair(problem, pool, kept, plan, device)
        solution = pool.solve(method, warm_start=start, time_limit_s=left, on_progress=relay, **options)
        if solution.termination is Termination.INTERRUPTED:
            raise KeyboardInterrupt
        proven = proven and solution.diagnosis is not None
        bounds.append(math.inf if solution.diagnosis is not None else solution.bound)
        for found in (solution.allocation, start):
            if found is not None:
                costs = pool.evaluate(found)
                if best is None or costs.objective < best[3].objective:
                    best = (pool, kept, found, costs)
        if solution.diagnosis is not None and not why:
            why = _first_conflict(solution)
    probability = float(problem.failure_probability[device])
    sole = [one for one in sole_holdings(problem, plan) if one.device == device]
    keeper = backup.keepers.get(device)
    copies = [dataclasses.replace(one, device=keeper) for one in sole] if keeper is not None else []
    if best is None:
        # the pool waits; the device, when it is back, gets what it had from whoever has it
        here = [one for one in holdings(problem, plan) if one.device != device]
        back = moves_between(problem, problem.network, here, holdings(problem, plan), copies)
        joules = back.joules + _idle_w(problem, plan.devices) * back.seconds
        return Loss(device, probability, None, None, None, proven, _NOTHING, back, 0.0, 0.0, back.seconds, joules,
                    bool(sole), why)
    pool, kept, found, costs = best
    number_of = {old: new for new, old in enumerate(kept)}
    whole = renumbered(found, dict(enumerate(kept)))
    if whole is None:
        raise AssertionError("every device of the smaller pool has a number in the larger one")

    def there(pieces: Sequence[Holding]) -> list[Holding]:
        return [dataclasses.replace(one, device=number_of[one.device]) for one in pieces if one.device in number_of]

    moves = moves_between(pool, pool.network, there(holdings(problem, plan)), holdings(pool, found), there(copies))
    moves = dataclasses.replace(moves, messages=tuple((kept[i], kept[j], size) for i, j, size in moves.messages))
    back = moves_between(problem, problem.network, holdings(problem, whole), holdings(problem, plan))
    lower = None if any(one is None for one in bounds) else min([*(one for one in bounds if one is not None),
                                                                costs.objective])
    return Loss(
        device, probability, whole, costs, lower, False, moves, back,
        moves.seconds, moves.joules + _idle_w(problem, whole.devices) * moves.seconds,
        back.seconds, back.joules + _idle_w(problem, plan.devices) * back.seconds,
        bool(sole) or moves.from_backup_bytes > 0.0 or moves.unsaved_bytes > 0.0)


def _idle_w(problem: PoolTraining, devices: Sequence[int]) -> float:
    return float(problem.idle_power_w[list(devices)].sum())


def _first_conflict(solution: Solution[Plan, PoolCosts]) -> str:
    diagnosis = solution.diagnosis
    if diagnosis is None or not diagnosis.conflicts:
        return ""
    amounts: dict[tuple[str, str], float] = {}
    for one in diagnosis.conflicts:
        amounts[(one.constraint, one.unit)] = amounts.get((one.constraint, one.unit), 0.0) + one.amount
    return ", ".join(f"{format_si(amount, unit)} of {name} missing" if unit == "B" else
                     f"{name} exceeded by {format_si(amount, unit)}" for (name, unit), amount in amounts.items())
