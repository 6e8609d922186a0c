"""All pipelines of devices or groups, from the last stage to the first, as far as bounds cannot rule them out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.sharing import share_options

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["PipelineSearch", "Suffix", "whole_shares"]


class Suffix(NamedTuple):
    """The last stages of a pipeline.

    `height` and `reduced` are the labels H and A of the text of `exact`; `joules` is dynamic energy, `idle_w` the
    power of all its devices waiting. If the network is one medium, `handed_s` is how long all hand-overs use it, and
    `summed_s` all all-reduces of groups, which come after them; else 0.
    """

    groups: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    height: float
    reduced: float
    joules: float
    idle_w: float
    handed_s: float
    summed_s: float


class PipelineSearch:
    """Depth-first search over the pipelines of one parallelism."""

    def __init__(self, problem: PoolTraining, cost: FastCost, best: Incumbent, parallelism: str) -> None:
        self.problem, self.cost, self.best, self.parallelism = problem, cost, best, parallelism
        self.most = 1 if parallelism == "pipeline" else problem.micro_batch
        self.per_flop = [(cost.busy[i] - cost.idle[i]) / cost.speed[i] for i in range(problem.devices)]

        # on a common channel all transfers take turns
        self.one_medium = float(problem.network.media == 1)

    def search(self) -> None:
        """Offer the best pipeline.

        Raises
        ------
        TimeUpError
        """
        nothing = Suffix((), (), (self.problem.layers,), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        self._before(nothing, frozenset(range(self.problem.devices)))

    def _before(self, suffix: Suffix, unused: frozenset[int]) -> None:
        """Try every stage in front of a suffix, bounded before its shares are known and again after."""
        cost, end = self.cost, suffix.starts[0]
        count = self.problem.micro_batches
        ahead = len(suffix.groups)
        limit = min(count, 2 * ahead + 1 if self.parallelism == "hybrid" else ahead + 1)
        for size in range(1, min(len(unused), self.most) + 1):
            for group in itertools.permutations(sorted(unused), size):
                rest = unused.difference(group)
                speed = sum(cost.speed[i] for i in group)
                frugal = min(self.per_flop[i] for i in group)
                for start in range(end - 1, -1, -1):
                    self.best.tick()
                    if start > 0 and not rest:
                        continue
                    flops = cost.forward[end] - cost.forward[start] + cost.backward[end] - cost.backward[start]
                    least = self.problem.micro_batch * flops / speed
                    spent = suffix.joules + self.problem.batch * flops * frugal
                    idle = suffix.idle_w + sum(cost.idle[i] for i in group)
                    height = max(count * least, least + suffix.height, suffix.handed_s)
                    if self._beyond(height, suffix.reduced, spent, idle, start, rest):
                        continue
                    alone = ahead == 0 and start == 0
                    shares = self._shares(group, start, end, limit, alone)
                    if shares is None:
                        break  # more layers need more memory
                    for one in shares:
                        self._with(suffix, group, one, start, rest)

    def _shares(
        self, group: tuple[int, ...], start: int, end: int, limit: int, alone: bool
    ) -> Iterator[tuple[int, ...]] | None:
        """Shares of a micro-batch that fit into memory; None where neither these layers nor more of them fit."""
        cost, whole = self.cost, self.problem.micro_batch
        state, kept = cost.state[end] - cost.state[start], limit * (cost.kept[end] - cost.kept[start])
        state -= self.problem.tied_state_bytes if alone else 0.0
        caps = [whole if state + whole * kept <= cost.free[i] else
                int((cost.free[i] - state) / kept * (1.0 + 1e-12)) if state <= cost.free[i] and kept > 0.0 else
                0 for i in group]
        if min(caps) < 1 or sum(caps) < whole:
            # a single stage holds the tied table once and may fit where a little less does not
            return iter(()) if end == self.problem.layers and self.problem.tied_state_bytes > 0.0 else None
        if alone:
            flops = cost.work * self.problem.batch / whole
            seconds = [flops / cost.speed[i] for i in group]
            return (option[2] for option in share_options(
                whole, seconds, [flops * self.per_flop[i] for i in group], caps))
        return whole_shares(whole, caps)

    def _with(
        self, suffix: Suffix, group: tuple[int, ...], shares: tuple[int, ...], start: int, rest: frozenset[int]
    ) -> None:
        cost, count, end = self.cost, self.problem.micro_batches, suffix.starts[0]
        ahead, home = cost.forward[end] - cost.forward[start], cost.backward[end] - cost.backward[start]
        slowest = max(share / cost.speed[i] for i, share in zip(group, shares, strict=True))
        forward, time = slowest * ahead, slowest * (ahead + home)
        joules = suffix.joules + count * (ahead + home) * sum(
            share * self.per_flop[i] for i, share in zip(group, shares, strict=True))
        height, reduced, handed, summed = count * time, suffix.reduced, suffix.handed_s, suffix.summed_s
        if suffix.groups:
            over, back = cost.hops(group, shares, suffix.groups[0], suffix.shares[0])
            height = max(height, time + over[0] + over[1] + back[0] + back[1] + suffix.height)
            reduced = suffix.reduced + forward + over[0] + over[1]
            joules += count * (over[3] + back[3])
            handed += self.one_medium * count * (over[0] + back[0])
        if len(group) > 1:
            size = cost.gradient[end] - cost.gradient[start]
            alone = start == 0 and not suffix.groups
            seconds, spent = cost.all_reduce(group, size + (self.problem.tied_bytes if alone else 0.0))
            reduced = max(reduced, count * time + seconds)
            joules += spent
            summed += self.one_medium * seconds
        else:
            reduced = max(reduced, count * time)
        new = Suffix((group, *suffix.groups), (shares, *suffix.shares), (start, *suffix.starts), height, reduced,
                     joules, suffix.idle_w + sum(cost.idle[i] for i in group), handed, summed)
        if self._beyond(max(height, handed), max(reduced, handed + summed), joules, new.idle_w, start, rest):
            return
        if start > 0:
            self._before(new, rest)
            return
        time, energy = cost.pipeline(self.parallelism, new.groups, new.starts, new.shares)
        if not self.best.beyond(time, energy):
            layers = tuple(b - a for a, b in itertools.pairwise(new.starts))
            self.best.take(Plan(self.parallelism, new.groups, layers, new.shares), time, energy)

    def _beyond(
        self, height: float, reduced: float, joules: float, idle_w: float, start: int, rest: frozenset[int]
    ) -> bool:
        """Whether no pipeline that ends like this can be better than the best known."""
        cost, problem = self.cost, self.problem
        time = max(height, reduced)
        if start > 0:
            speed = sum(cost.speed[i] for i in rest)
            forward = problem.micro_batch * cost.forward[start] / speed
            both = forward + problem.micro_batch * cost.backward[start] / speed
            time = max(height + both, reduced + forward, problem.micro_batches * both)
            flops = cost.forward[start] + cost.backward[start]
            joules += problem.batch * flops * min(self.per_flop[i] for i in rest)
            idle_w += min(cost.idle[i] for i in rest)
        return self.best.beyond(time, joules + idle_w * time)


def whole_shares(total: int, caps: list[int]) -> Iterator[tuple[int, ...]]:
    """All ways to share out `total` with at least 1 and at most `caps` for everybody."""
    if len(caps) == 1:
        if 1 <= total <= caps[0]:
            yield (total,)
        return
    for first in range(max(1, total - sum(caps[1:])), min(caps[0], total - len(caps) + 1) + 1):
        for rest in whole_shares(total - first, caps[1:]):
            yield (first, *rest)
