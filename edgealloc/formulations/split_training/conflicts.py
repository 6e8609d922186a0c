r"""Why limits that bind users together cannot all be kept, and what would mend it.

Deadlines, caps on users and server memory can contradict each other although every user has an option. To decide that,
the same machinery minimises nothing but the excess: 1 per deadline doubled, per user too many, per memory doubled
(`lateness_only`). A proven bound above zero is a proof of infeasibility; the best assignment found is the cheapest
repair in that measure.

The *conflicting set* is found by deletion: a limit is dropped for good if what remains is still proven infeasible.
What is left cannot lose any member without becoming feasible (or undecided): it is irreducible.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Conflict, Diagnosis
from edgealloc.core.run import Run, TimeUpError
from edgealloc.formulations.split_training.limits import (
    diagnose,
    fastest_s,
    hard_deadlines,
    server_memory_need,
    too_late,
)
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.reduced import lateness_only, reduce
from edgealloc.formulations.split_training.resources import optimal_allocation, settle
from edgealloc.formulations.split_training.stages import stages
from edgealloc.formulations.split_training.views import server_label
from edgealloc.solvers.pricing import Pricing

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["Verdict", "complete", "explain_conflict", "judge"]

IntArray = npt.NDArray[np.int64]

#: Excess, in the measure above, from which on a proof counts: well above rounding.
PROVEN: Final = 1e-7
#: Proofs spent on making the conflicting set small, and the seconds of all of them.
MOST_PROOFS: Final = 200
MOST_SECONDS: Final = 20.0
#: What "without this limit" means for a resource that cannot be left out.
PLENTY: Final = 1e4
#: Added to a repaired limit, relative, so that rounding does not undo the repair.
SLACK: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is known about feasibility.

    Attributes
    ----------
    feasible : bool or None
        None: undecided.
    server, cut : (N,) int
        The assignment of least excess found.
    """

    feasible: bool | None
    server: IntArray
    cut: IntArray


@dataclass(frozen=True)
class _Limit:
    """One limit that can be dropped: a field of the problem and an index, with its name in `CONSTRAINTS`."""

    field: str
    index: int
    constraint: str
    unit: str


_FIELDS: Final = (
    ("min_local_layers", "local_layers", "layers"), ("device_memory_bytes", "device_memory_bytes", "B"),
    ("stability_limit", "stability_limit", ""), ("server_memory_bytes", "server_memory_bytes", "B"),
    ("users_per_server", "users_per_server", "users"), ("server_frequency_max_hz", "server_frequency_hz", "Hz"),
    ("bandwidth_max_hz", "bandwidth_hz", "Hz"), ("deadline_s", "deadline_s", "s"),
)


def judge(problem: SplitTraining, run: Run) -> Verdict:
    """Decide whether all limits can be kept, as far as the time left allows."""
    data = lateness_only(reduce(problem if problem.delay == "sum" else problem.replace(delay="sum")))
    pricing, state = SplitPricing(data, run.threads), Pricing()
    quiet = Run(gap=0.1 * PROVEN, time_limit_s=max(run.seconds_left, 1e-3), threads=run.threads)
    with contextlib.suppress(TimeUpError):
        stages(problem, pricing, state, quiet, [], branch=True)
    if not pricing.best:  # somebody has no option at all
        nobody = np.full(problem.users, -1, dtype=np.int64)
        return Verdict(
            False if state.bound == math.inf else None, nobody, np.full(problem.users, problem.layers, dtype=np.int64)
        )
    best = pricing.best[0]
    feasible = None
    # `lateness_only` counts 1 for being there at all
    if state.bound > 1.0 + PROVEN:
        feasible = False
    elif best.cost < 1.0 + 0.01 * PROVEN:
        feasible = True
    return Verdict(feasible, best.server, best.cut)


def explain_conflict(problem: SplitTraining, verdict: Verdict, run: Run, attempts: list[str]) -> Diagnosis:
    """The diagnosis of a problem that `judge` found infeasible."""
    changes, wanted = _repair(problem, verdict)
    budget = Run(gap=run.gap, time_limit_s=min(max(run.seconds_left, 1.0), MOST_SECONDS), threads=run.threads)
    limits = _limits(problem)
    conflict, complete = _irreducible(problem, limits, budget)
    if not complete:
        attempts.append("time was up while the conflicting set was made small: it may name more limits than needed")
    rows = [_row(problem, verdict, one, wanted.get((one.field, one.index))) for one in conflict]
    named = {(one.field, one.index) for one in conflict}
    extra = [one for one in limits if (one.field, one.index) in wanted and (one.field, one.index) not in named]
    rows += [_row(problem, verdict, one, wanted[one.field, one.index]) for one in extra]
    return Diagnosis(tuple(rows), changes)


def complete(problem: SplitTraining, diagnosis: Diagnosis | None) -> Diagnosis | None:
    """A diagnosis of single users whose repair mends the whole problem: what is left to mend after it is added."""
    repaired = problem if diagnosis is None else problem.replace(**diagnosis.changes)
    run = Run(gap=0.0, time_limit_s=MOST_SECONDS, threads=1)
    verdict = judge(repaired, run)
    if verdict.feasible is not False:
        return diagnosis
    more = explain_conflict(repaired, verdict, run, [])
    if diagnosis is None:
        return more
    return Diagnosis((*diagnosis.conflicts, *more.conflicts), {**diagnosis.changes, **more.changes})


def _repair(problem: SplitTraining, verdict: Verdict) -> tuple[dict[str, Any], dict[tuple[str, int], float]]:
    """Changes under which an allocation of the assignment of least excess keeps everything: (fields, new value by
    limit)."""
    summed = problem if problem.delay == "sum" else problem.replace(delay="sum")
    allocation = optimal_allocation(summed, verdict.server, verdict.cut, data=reduce(summed))
    changes: dict[str, Any] = {}
    wanted: dict[tuple[str, int], float] = {}

    def raise_to(field: str, index: int, value: float) -> None:
        changes.setdefault(field, np.array(getattr(problem, field)))[index] = value
        wanted[field, index] = value

    response = summed.evaluate(allocation).response_s
    if problem.deadline_s is not None:
        for n in np.flatnonzero(hard_deadlines(problem) & (response > problem.deadline_s)):
            raise_to("deadline_s", int(n), float(response[n]) * (1.0 + SLACK))
    remote = verdict.server >= 0
    if problem.users_per_server is not None:
        load = np.bincount(verdict.server[remote], minlength=problem.servers)
        for m in np.flatnonzero(load > problem.users_per_server):
            raise_to("users_per_server", int(m), float(load[m]))
    if problem.server_memory_bytes is not None:
        need = server_memory_need(problem, verdict.cut)
        total = np.bincount(verdict.server[remote], weights=need[remote], minlength=problem.servers)
        for m in np.flatnonzero(total > problem.server_memory_bytes):
            raise_to("server_memory_bytes", int(m), float(total[m]) * (1.0 + SLACK))
    return changes, wanted


def _limits(problem: SplitTraining) -> list[_Limit]:
    """Every limit that can take part in a conflict, those that are rarely to blame first."""
    found = []
    for field, constraint, unit in _FIELDS:
        value = getattr(problem, field)
        if value is None:
            continue
        active = np.isfinite(np.asarray(value, dtype=np.float64))
        if field == "deadline_s":
            active = hard_deadlines(problem)
        elif field == "users_per_server":
            active = np.asarray(value) < problem.users
        elif field == "min_local_layers":
            active = np.asarray(value) > 0
        found += [_Limit(field, int(i), constraint, unit) for i in np.flatnonzero(active)]
    return found


def _without(problem: SplitTraining, dropped: list[_Limit]) -> SplitTraining:
    """The problem with some limits out of the way."""
    changes: dict[str, Any] = {}
    for one in dropped:
        values = changes.setdefault(one.field, np.array(getattr(problem, one.field), dtype=np.float64))
        if one.field in ("server_memory_bytes", "deadline_s"):
            values[one.index] = np.inf
        elif one.field == "users_per_server":
            values[one.index] = problem.users
        elif one.field == "min_local_layers":
            values[one.index] = 0
        elif one.field in ("device_memory_bytes", "stability_limit"):
            values[one.index] = 1e300
        else:
            values[one.index] *= PLENTY
    return problem.replace(**changes) if changes else problem


def _irreducible(problem: SplitTraining, limits: list[_Limit], run: Run) -> tuple[list[_Limit], bool]:
    """Limits none of which can be dropped, by deletion in ever smaller blocks: (set, whether time allowed to
    finish)."""
    kept = list(limits)
    proofs = 0

    def conflicts(candidate: list[_Limit]) -> bool:
        nonlocal proofs
        proofs += 1
        chosen = set(candidate)
        relaxed = _without(problem, [one for one in limits if one not in chosen])
        return diagnose(relaxed) is not None or bool(too_late(relaxed).size) or judge(relaxed, run).feasible is False

    for field, _, _ in _FIELDS:  # whole kinds of limits first
        candidate = [one for one in kept if one.field != field]
        if len(candidate) == len(kept):
            continue
        if run.seconds_left <= 0.0 or proofs >= MOST_PROOFS:
            return kept, False
        if conflicts(candidate):
            kept = candidate
    size = max(1, len(kept) // 2)
    while True:
        start = 0
        while start < len(kept):
            if run.seconds_left <= 0.0 or proofs >= MOST_PROOFS:
                return kept, False
            candidate = kept[:start] + kept[start + size :]
            if candidate and conflicts(candidate):
                kept = candidate
            else:
                start += size
        if size == 1:
            return kept, True
        size = max(1, size // 2)


def _row(problem: SplitTraining, verdict: Verdict, limit: _Limit, value: float | None) -> Conflict:
    """A limit in words: what it is raised to, or that it is one of those that contradict each other."""
    per_user = limit.field in ("min_local_layers", "device_memory_bytes", "stability_limit", "deadline_s")
    where = problem.user_label(limit.index) if per_user else server_label(problem, limit.index)
    current = float(np.asarray(getattr(problem, limit.field))[limit.index])
    unit = f" {limit.unit}".rstrip()
    if value is not None:
        text = f"raise {limit.field} from {current:.6g}{unit} to {value:.6g}{unit}"
        if limit.field == "deadline_s":
            alone = float(fastest_s(problem, limit.index)[0])
            if alone > current:
                text += f"; even alone on the best server, at full power and clock, a step takes {alone:.6g} s"
        return Conflict(limit.constraint, where, value - current, limit.unit, text)
    text = f"{limit.field} = {current:.6g}{unit} is part of the conflict"
    if limit.field in ("bandwidth_max_hz", "server_frequency_max_hz"):
        enough = _enough(problem, verdict, limit)
        if enough is not None:
            text += f"; {enough:.6g}{unit} would keep the deadlines of the users of this server"
    return Conflict(limit.constraint, where, 0.0, limit.unit, text)


def _enough(problem: SplitTraining, verdict: Verdict, limit: _Limit) -> float | None:
    """How much of a resource keeps the hard deadlines of its server's users in the assignment of least excess; None:
    nothing does."""
    mine = verdict.server == limit.index
    if problem.deadline_s is None or not mine.any():
        return None
    current = np.array(getattr(problem, limit.field))
    # only this server's deadlines count
    deadline = np.where(mine, problem.deadline_s, np.inf)
    summed = problem.replace(delay="sum", deadline_s=deadline, users_per_server=None, server_memory_bytes=None,
                             server_memory_bytes_fixed=0.0, server_memory_bytes_per_layer=0.0)

    def keeps(factor: float) -> bool:
        changed = current.copy()
        changed[limit.index] *= factor
        other = summed.replace(**{limit.field: changed})
        return settle(reduce(other), verdict.server, verdict.cut).kept

    low, high = 1.0, PLENTY
    if not keeps(high):
        return None
    if keeps(low):
        return None
    while high > low * (1.0 + 1e-4):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return float(current[limit.index] * high)
