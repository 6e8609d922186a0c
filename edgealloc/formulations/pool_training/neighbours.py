"""Local search around a pipeline: devices swapped, put in or left out, groups joined or split, layers moved."""

from __future__ import annotations

from collections.abc import Iterator

from edgealloc.formulations.pool_training.fastcost import FastCost
from edgealloc.formulations.pool_training.incumbent import Incumbent
from edgealloc.formulations.pool_training.partition import improved, partitions, pipeline_fits, score
from edgealloc.formulations.pool_training.pipelines import group_plan
from edgealloc.formulations.pool_training.plan import Plan

__all__ = ["improve"]

Groups = list[tuple[int, ...]]


def improve(cost: FastCost, best: Incumbent, plan: Plan, until_s: float) -> Plan | None:
    """The best plan reached from `plan` by single moves; everything better than `best` is offered to it.

    Parameters
    ----------
    until_s : float
        When to stop, in seconds of the run.

    Raises
    ------
    TimeUpError
    """
    if not _fits(cost, plan):
        return None
    value, plan = improved(cost, score(cost, plan), plan)
    best.offer(plan)
    moved = True
    while moved:
        moved = False
        for groups, layers in _moves(cost, plan):
            if best.run.seconds > until_s:
                return plan
            best.run.check_time()
            other = _best_with(cost, plan.parallelism, groups, layers)
            if other is None:
                continue
            now = score(cost, other)
            if now < value * (1.0 - 1e-9):
                value, plan = improved(cost, now, other)
                best.offer(plan)
                moved = True
                break
    return plan


def _fits(cost: FastCost, plan: Plan) -> bool:
    return pipeline_fits(cost, plan.parallelism, plan.stages, plan.first_layers, plan.shares)


def _best_with(cost: FastCost, parallelism: str, groups: Groups, layers: tuple[int, ...] | None) -> Plan | None:
    """A plan with these groups: with the layers given, or else with those of the dynamic program for a given order."""
    if layers is None:
        samples = cost.problem.micro_batch
        grouped = any(len(one) > 1 for one in groups)
        rough = group_plan(cost, parallelism, groups, (1,) * len(groups)) if grouped else None
        shares = [(samples,)] * len(groups) if rough is None else list(rough.shares)
        stages = groups if rough is None else list(rough.stages)
        if any(len(group) != len(share) for group, share in zip(stages, shares, strict=True)):
            return None
        found = partitions(cost, parallelism, stages, shares, 1)
        if not found:
            return None
        layers = found[0]
    plan = group_plan(cost, parallelism, groups, layers)
    return plan if plan is not None and _fits(cost, plan) else None


def _moves(cost: FastCost, plan: Plan) -> Iterator[tuple[Groups, tuple[int, ...] | None]]:
    """Groups after a move, with their layers where the number of stages stays."""
    problem, stages = cost.problem, list(plan.stages)
    unused = [i for i in range(problem.devices) if i not in set(plan.devices)]
    unused.sort(key=lambda i: (-cost.speed[i], i))
    hybrid = plan.parallelism == "hybrid"
    room = problem.micro_batch
    for p, group in enumerate(stages):
        for at in range(len(group)):
            for i in unused:
                yield _with(stages, p, (*group[:at], i, *group[at + 1:])), plan.layers
            for q in range(p + 1, len(stages)):
                for there in range(len(stages[q])):
                    swapped = _with(stages, p, (*group[:at], stages[q][there], *group[at + 1:]))
                    yield _with(swapped, q, (*stages[q][:there], group[at], *stages[q][there + 1:])), plan.layers
    for p, group in enumerate(stages):
        if len(stages) > 1:
            yield stages[:p] + stages[p + 1:], None
        if hybrid and len(group) > 1:
            for at in range(len(group)):
                yield _with(stages, p, (*group[:at], *group[at + 1:])), plan.layers
        if hybrid and len(group) < room:
            for i in unused:
                yield _with(stages, p, (*group, i)), plan.layers
        if hybrid:
            for q, other in enumerate(stages):
                if q != p and len(other) > 1 and len(group) < room:
                    for at in range(len(other)):
                        less = _with(stages, q, (*other[:at], *other[at + 1:]))
                        yield _with(less, p, (*group, other[at])), plan.layers
                if q != p and len(other) == 1 and len(group) < room:
                    joined = _with(stages, p, (*group, *other))
                    yield joined[:q] + joined[q + 1:], None
            if len(group) > 1 and len(stages) < problem.layers:
                for at in range(len(group)):
                    less = _with(stages, p, (*group[:at], *group[at + 1:]))
                    yield [*less[:p], (group[at],), *less[p:]], None
                    yield [*less[: p + 1], (group[at],), *less[p + 1:]], None
    if len(stages) < problem.layers:
        for i in unused:
            for p in range(len(stages) + 1):
                yield [*stages[:p], (i,), *stages[p:]], None


def _with(stages: Groups, p: int, group: tuple[int, ...]) -> Groups:
    return [*stages[:p], group, *stages[p + 1:]]
