"""Whether any plan fits into the memories, the plan that lacks least, and what must be added where it lacks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Conflict, Diagnosis
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.weights import Weights
from edgealloc.formulations.pool_training.costs import memory_bytes, work_units
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import in_flight, schedule
from edgealloc.formulations.pool_training.sharing import equal_shares
from edgealloc.units import format_count, format_si

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["diagnose", "diagnosis", "least_missing", "memory_caps"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Seconds that the search for a repair of a deadline may take.
_SEARCH_S: Final = 10.0


def memory_caps(problem: PoolTraining, parallelism: str, slack: float = 1e-12) -> IntArray:
    """Most units of work that the memory of every device allows (D,), for parallelisms with one stage.

    Units are samples (single, data), tokens (sequence) or heads (tensor); 0 where not even one fits. Memories, and the
    units that fit, are raised by a share `slack`.
    """
    free = problem.memory_bytes * (1.0 + slack) - problem.overhead_bytes
    whole = float(problem.state_bytes.sum()) - problem.tied_state_bytes
    kept = float(problem.activation_bytes.sum())
    if parallelism == "tensor":
        replicated = float(problem.replicated_activation_bytes.sum())
        units, fixed = problem.heads, problem.batch * replicated
        each = (whole + problem.batch * (kept - replicated)) / units
    elif parallelism == "sequence":
        units, fixed, each = problem.tokens, whole, problem.batch * kept / problem.tokens
    else:
        units, fixed, each = problem.batch, whole, kept
    room = (free - fixed) * (1.0 + slack)
    with np.errstate(divide="ignore", invalid="ignore"):
        caps = np.where(room >= 0.0, np.floor(room / each) if each > 0.0 else units, 0.0)
    return np.clip(caps, 0, units).astype(np.int64)


def diagnose(problem: PoolTraining) -> Diagnosis | None:
    """The diagnosis if no plan of any allowed parallelism can fit into memory, by a test that is never wrong.

    Plans of one stage fit if and only if the units that fit sum to the whole. A pipeline needs, in the best case, one
    micro-batch in flight (hybrid: one sample of it) on every device; if the longest pieces of the model that the
    devices can then hold do not sum to the model, there is none. What passes the test may still fit nowhere: the
    certified method finds that out.
    """
    for parallelism in problem.parallelisms:
        if parallelism in ("pipeline", "hybrid"):
            if _longest_pieces(problem, parallelism).sum() >= problem.layers:
                return None
            continue
        caps = memory_caps(problem, parallelism)
        units = work_units(problem, parallelism)
        if (caps.max() if parallelism == "single" else caps.sum()) >= units:
            return None
    return diagnosis(problem)


def _longest_pieces(problem: PoolTraining, parallelism: str) -> IntArray:
    """Most consecutive layers that every device can hold in the best place of a pipeline (D,)."""
    samples = 1 if parallelism == "hybrid" else problem.micro_batch
    need = problem.state_bytes + samples * problem.activation_bytes
    sums = np.concatenate([[0.0], np.cumsum(need)])
    longest = np.zeros(problem.devices, dtype=np.int64)
    free = (problem.memory_bytes - problem.overhead_bytes) * (1.0 + 1e-12)
    for length in range(1, problem.layers + 1):
        pieces = sums[length:] - sums[:-length]
        if length == problem.layers:
            pieces = pieces - problem.tied_state_bytes
        longest[free >= pieces.min()] = length
    return longest


def least_missing(problem: PoolTraining) -> tuple[Plan, FloatArray]:
    """A plan that lacks little memory in all, and the bytes that every device lacks for it (D,).

    Looked at are, for every number of participants, those with the most memory: in one-stage plans with shares in
    proportion to it; in pipelines in the order of the problem and of falling and rising memory (the last stages keep
    fewer activations) with the cheapest partition of the layers. Where nothing lacks the plan keeps all memory
    limits; a plan that lacks something need not be the one that lacks least.
    """
    best: tuple[float, Plan] | None = None
    for plan in _candidates(problem):
        lacks = float(np.maximum(memory_bytes(problem, plan) - problem.memory_bytes, 0.0).sum())
        if best is None or lacks < best[0]:
            best = (lacks, plan)
    if best is None:  # a hybrid-only pool whose micro-batch is shared: one stage of one device always exists
        raise AssertionError("no plan has the right form")
    return best[1], np.maximum(memory_bytes(problem, best[1]) - problem.memory_bytes, 0.0)


def _candidates(problem: PoolTraining) -> Iterator[Plan]:
    order = sorted(range(problem.devices), key=lambda i: (-(problem.memory_bytes - problem.overhead_bytes)[i], i))
    whole = float(problem.state_bytes.sum()) - problem.tied_state_bytes
    for parallelism in problem.parallelisms:
        for count in range(1, problem.devices + 1):
            chosen = order[:count]
            if parallelism in ("pipeline", "hybrid"):
                if count <= problem.layers:
                    for arranged in (sorted(chosen), chosen, chosen[::-1]):
                        yield _pipeline(problem, parallelism, arranged)
                continue
            if parallelism == "single":
                if count == 1:
                    yield Plan("single", ((chosen[0],),), (problem.layers,), ((problem.batch,),))
                continue
            units = work_units(problem, parallelism)
            if count <= units:
                free = problem.memory_bytes[chosen] - problem.overhead_bytes[chosen]
                room = free if parallelism == "tensor" else free - whole
                yield Plan(parallelism, (tuple(chosen),), (problem.layers,), (_proportional(units, room),))


def _proportional(units: int, room: FloatArray) -> tuple[int, ...]:
    """Whole shares in proportion to the room, at least one each."""
    weight = np.maximum(room, 0.0)
    if not weight.sum() > 0.0:
        return equal_shares(units, len(room))
    ideal = (units - len(room)) * weight / weight.sum()
    shares = np.floor(ideal).astype(np.int64) + 1
    for k in np.argsort(shares - 1 - ideal, kind="stable")[: units - int(shares.sum())]:
        shares[k] += 1
    return tuple(int(one) for one in shares)


def _pipeline(problem: PoolTraining, parallelism: str, order: Sequence[int]) -> Plan:
    """The partition of the layers over devices in the given order that lacks the fewest bytes in all."""
    stages, layers = len(order), problem.layers
    limits = in_flight(parallelism, stages, problem.micro_batches)
    states = np.concatenate([[0.0], np.cumsum(problem.state_bytes)])
    kept = np.concatenate([[0.0], np.cumsum(problem.activation_bytes)])
    free = problem.memory_bytes - problem.overhead_bytes
    lacks = np.full(layers + 1, math.inf)
    lacks[0] = 0.0
    choices: list[IntArray] = []
    for p, device in enumerate(order):
        # need[a, b]: bytes of layers a .. b-1 on this device
        need = (states[None, :] - states[:, None]) + limits[p] * problem.micro_batch * (kept[None, :] - kept[:, None])
        need -= problem.tied_state_bytes if stages == 1 else 0.0
        missing = np.maximum(need - free[device], 0.0)
        missing[np.tril_indices(layers + 1)] = math.inf
        total = lacks[:, None] + missing
        choices.append(np.argmin(total, axis=0))
        lacks = total.min(axis=0)
    counts, end = [], layers
    for choice in reversed(choices):
        start = int(choice[end])
        counts.append(end - start)
        end = start
    return Plan(parallelism, tuple((i,) for i in order), tuple(reversed(counts)), ((problem.micro_batch,),) * stages)


def _fastest_known(problem: PoolTraining, plan: Plan) -> Plan:
    """The fastest of a plan and of those with which searches begin, of all that memory allows."""
    # they are built on this module
    from edgealloc.formulations.pool_training.search.fastcost import FastCost
    from edgealloc.formulations.pool_training.search.starts import starting_plans

    hurried = problem.replace(weights=Weights(1.0, 0.0, 0.0), deadline_s=None)
    cost = FastCost(hurried)
    best, least = plan, cost.time_and_energy(plan)[0]
    with contextlib.suppress(TimeUpError):
        for one in starting_plans(hurried, cost, Run(time_limit_s=_SEARCH_S)):
            seconds = cost.time_and_energy(one)[0]
            if seconds < least and (memory_bytes(problem, one) <= problem.memory_bytes).all():
                best, least = one, seconds
    return best


def diagnosis(problem: PoolTraining, plan: Plan | None = None) -> Diagnosis:
    """What must be changed for a plan to keep all limits: missing bytes of its devices, and the deadline.

    Parameters
    ----------
    problem : PoolTraining
        Known to be infeasible.
    plan : Plan, optional
        The plan to make room for; by default that of `least_missing` or, where only the deadline is missed, the
        fastest that heuristics find.

    Returns
    -------
    Diagnosis
        ``problem.replace(**diagnosis.changes)`` allows the plan.
    """
    if plan is None:
        plan, lacks = least_missing(problem)
        if problem.deadline_s is not None and not lacks.any():
            plan = _fastest_known(problem, plan)
    lacks = np.maximum(memory_bytes(problem, plan) - problem.memory_bytes, 0.0)
    conflicts: list[Conflict] = []
    changes: dict[str, Any] = {}
    if lacks.any():
        raised = problem.memory_bytes + lacks * (1.0 + 1e-12)
        for i in np.flatnonzero(lacks):
            there, needed = (format_si(float(amount[i]), "B") for amount in (problem.memory_bytes, raised))
            conflicts.append(Conflict("memory_bytes", problem.device_label(int(i)), float(lacks[i]), "B",
                                      f"give it {needed} instead of {there} for a {plan.parallelism} plan of "
                                      f"{format_count(len(plan.devices), 'device')}"))
        changes["memory_bytes"] = raised
    if problem.deadline_s is not None:
        seconds = schedule(problem, plan).time_s
        if seconds > problem.deadline_s:
            conflicts.append(Conflict("deadline_s", "the iteration", seconds - problem.deadline_s, "s",
                                      f"allow {seconds:.6g} s, which a {plan.parallelism} plan of "
                                      f"{format_count(len(plan.devices), 'device')} takes"))
            changes["deadline_s"] = seconds
    return Diagnosis(tuple(conflicts), changes)
