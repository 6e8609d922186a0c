"""Time and energy of many plans of one problem: the schedule without its events, compiled.

The same maxima of sums in the same timetables as `schedule`, much faster. Searches rank plans by it; what they return
is priced by `PoolTraining.evaluate`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import anything_cached
from edgealloc.core.run import Run
from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.schedule import in_flight, messages_between
from edgealloc.formulations.pool_training.search.clock import fastest, new_clock
from edgealloc.formulations.pool_training.timetables import hand_over_ticks, ticks

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["FastCost", "Hop", "running_sums", "warm_up"]

IntArray = npt.NDArray[np.int64]

#: One hand-over: occupancy (s), latency (s), media, energy (J).
Hop = tuple[float, float, tuple[int, ...], float]


@cache
def _compile_clock() -> None:
    clock = new_clock(1, 1, 1, 1)
    clock.counts[2, 0] = 1
    fastest(clock, 1, 1, 0, 0, np.zeros(1, dtype=np.int64), math.inf)


def warm_up(run: Run, compile_kernels: Callable[[], None] = _compile_clock) -> None:
    """Compile what has to be compiled, once per machine, and start the run's clock after that.

    Parameters
    ----------
    run : Run
    compile_kernels : callable
        Calls every kernel that the method uses; those of `FastCost` by default.
    """
    if not anything_cached("pool_training"):
        run.report("compiling the kernels, once per machine")
    compile_kernels()
    run.restart_clock()


def running_sums(values: Sequence[float]) -> list[float]:
    """(Y + 1,) sums of the first y values."""
    return [0.0, *itertools.accumulate(float(one) for one in values)]


class FastCost:
    """Prices of the plans of one problem, with what they share computed once.

    Attributes
    ----------
    forward, backward, state, kept, gradient : (Y + 1,)
        Running sums over layers: FLOP per sample, bytes of states, activations per sample and gradients.
    per_second, per_joule : float
        Effective weights.
    free : (D,)
        Memory of every device without its overhead, a rounding above.
    """

    def __init__(self, problem: PoolTraining) -> None:
        self.problem = problem
        # the properties of the problem work this out anew at every call
        self.per_second, self.per_joule = problem.per_second, problem.per_joule
        self.forward = running_sums(problem.forward_flops)
        self.backward = running_sums(problem.backward_flops)
        self.state = running_sums(problem.state_bytes)
        self.kept = running_sums(problem.activation_bytes)
        self.gradient = running_sums(problem.gradient_bytes)
        self.speed: list[float] = problem.flops_per_s.tolist()
        self.busy: list[float] = problem.busy_power_w.tolist()
        self.idle: list[float] = problem.idle_power_w.tolist()
        slack = problem.memory_bytes * (1.0 + 1e-12) - problem.overhead_bytes
        self.free: list[float] = slack.tolist()
        self.work = self.forward[-1] + self.backward[-1]
        self._parts: dict[tuple[int, int], tuple[float, float]] = {}
        self._hops: dict[tuple[tuple[int, ...], ...], tuple[Hop, Hop]] = {}
        self._rings: dict[tuple[int, ...], tuple[float, float, tuple[int, ...], float]] = {}

    # ---- parts ------------------------------------------------------------------------------------------------------

    def hops(
        self, senders: tuple[int, ...], sent: tuple[int, ...], receivers: tuple[int, ...], taken: tuple[int, ...]
    ) -> tuple[Hop, Hop]:
        """Hand-over of a micro-batch's activations to the next stage, and of gradients back."""
        key = (senders, sent, receivers, taken)
        known = self._hops.get(key)
        if known is None:
            network = self.problem.network
            over = messages_between(senders, sent, receivers, taken, self.problem.boundary_bytes)
            back = [(j, i, size) for i, j, size in over]
            known = self._hops[key] = (
                (*network.phase(over), network.media_of(over), self._joules(over)),
                (*network.phase(back), network.media_of(back), self._joules(back)),
            )
        return known

    def _joules(self, messages: Sequence[tuple[int, int, float]]) -> float:
        per_byte = self.problem.network.joules_per_byte
        return sum(size * float(per_byte[i, j]) for i, j, size in messages)

    def ring(self, members: tuple[int, ...]) -> tuple[float, float, tuple[int, ...], float]:
        """All-reduce of N bytes on a ring takes ``a N + b`` seconds and ``e N`` joules: (a, b, media, e)."""
        known = self._rings.get(members)
        if known is None:
            g = len(members)
            if g < 2:
                known = (0.0, 0.0, (), 0.0)
            else:
                network = self.problem.network
                occupancy, latency = network.ring(members, [1.0 / g] * g)
                steps = [(i, j, 1.0) for i, j in zip(members, (*members[1:], members[0]), strict=True)]
                known = (2.0 * (g - 1) * occupancy, 2.0 * (g - 1) * latency, network.media_of(steps),
                         2.0 * (g - 1) / g * self._joules(steps))
            self._rings[members] = known
        return known

    def all_reduce(self, members: tuple[int, ...], size: float) -> tuple[float, float]:
        """Seconds and joules of an all-reduce."""
        if len(members) < 2 or size <= 0.0:
            return 0.0, 0.0
        per_byte, once, _, joules = self.ring(members)
        return per_byte * size + once, joules * size

    # ---- plans ------------------------------------------------------------------------------------------------------

    def objective(self, plan: Plan) -> float:
        """``w_t T + w_e E``; memory and deadline are not looked at."""
        time, energy = self.time_and_energy(plan)
        return self.per_second * time + self.per_joule * energy

    def fits(self, plan: Plan) -> bool:
        """Whether a plan keeps memory and deadline, by the code that `solve` re-checks it with."""
        from edgealloc.core.problem import FEASIBILITY_TOLERANCE

        return self.problem.relative_violation(plan) <= FEASIBILITY_TOLERANCE

    def time_and_energy(self, plan: Plan) -> tuple[float, float]:
        """T (s) and E (J) of an iteration."""
        if plan.parallelism in ("pipeline", "hybrid"):
            return self.pipeline(plan.parallelism, plan.stages, plan.first_layers, plan.shares)
        costs = self.problem.evaluate(plan)
        return costs.time_s, costs.energy_j

    def pipeline(
        self, parallelism: str, groups: Sequence[tuple[int, ...]], starts: Sequence[int],
        shares: Sequence[tuple[int, ...]],
    ) -> tuple[float, float]:
        """T (s) and E (J) of a pipeline of groups whose stage p holds layers ``starts[p]`` to ``starts[p+1] - 1``."""
        problem, stages = self.problem, len(groups)
        count = problem.micro_batches
        forward, backward = [0.0] * stages, [0.0] * stages
        energy = idle = 0.0
        for p in range(stages):
            a, b = starts[p], starts[p + 1]
            ahead, home = self.flops(a, b)
            for i, share in zip(groups[p], shares[p], strict=True):
                # the schedule's own expressions: who is first among equals can hang on the last bit of a duration
                forward[p] = max(forward[p], share * ahead / self.speed[i])
                backward[p] = max(backward[p], share * home / self.speed[i])
                energy += (self.busy[i] - self.idle[i]) * count * share / self.speed[i] * (ahead + home)
                idle += self.idle[i]
        pairs = [self.hops(groups[p], shares[p], groups[p + 1], shares[p + 1]) for p in range(stages - 1)]
        for over, back in pairs:
            energy += count * (over[3] + back[3])
        reduces = [(p, groups[p], self.gradient[starts[p + 1]] - self.gradient[starts[p]]
                    + (problem.tied_bytes if stages == 1 else 0.0))
                   for p in reversed(range(stages)) if len(groups[p]) > 1]
        if stages > 1 and problem.tied_bytes > 0.0:
            reduces.append((-1, (*groups[0], *groups[-1]), problem.tied_bytes))
        rings = []
        for p, ring, size in reduces:
            if size > 0.0:
                per_byte, once, used, joules = self.ring(ring)
                rings.append((per_byte * size + once, p, used))
                energy += joules * size
        time = self._seconds(in_flight(parallelism, stages, count), forward, backward, pairs, rings)
        return time, energy + idle * time

    def flops(self, a: int, b: int) -> tuple[float, float]:
        """FLOP per sample of layers a to b - 1, forward and backward, summed as the schedule does."""
        known = self._parts.get((a, b))
        if known is None:
            forward, backward = self.problem.forward_flops[a:b], self.problem.backward_flops[a:b]
            known = self._parts[a, b] = float(forward.sum()), float(backward.sum())
        return known

    def _seconds(
        self, limits: tuple[int, ...], forward: list[float], backward: list[float], pairs: list[tuple[Hop, Hop]],
        rings: list[tuple[float, int, tuple[int, ...]]],
    ) -> float:
        """Time of an iteration in the best of its timetables."""
        hops = [over for over, _ in pairs] + [back for _, back in pairs]
        media = [hop[2] for hop in hops]
        ahead, home = ticks(forward, backward)
        first, used = _rows(media)
        ring_first, ring_used = _rows([ring[2] for ring in rings])
        count, stages = self.problem.micro_batches, len(limits)
        media_count = self.problem.network.media
        clock = new_clock(stages, count, media_count, max(len(used), len(ring_used)))
        clock.seconds[:2] = forward, backward
        clock.counts[:3] = ahead, home, limits
        clock.hops[0, :len(hops)], clock.hops[1, :len(hops)] = [hop[0] for hop in hops], [hop[1] for hop in hops]
        clock.hops[2, :len(rings)] = [ring[0] for ring in rings]
        clock.lists[0, :len(first)], clock.lists[1, :len(ring_first)] = first, ring_first
        clock.lists[2, :len(rings)] = [ring[1] for ring in rings]
        clock.entries[0, :len(used)], clock.entries[1, :len(ring_used)] = used, ring_used
        ratios = np.array(hand_over_ticks(media), dtype=np.int64)
        return float(fastest(clock, stages, count, len(rings), media_count, ratios, math.inf)[0])


def _rows(lists: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Lists of different lengths as one, and where each begins."""
    return [0, *itertools.accumulate(len(one) for one in lists)], [entry for one in lists for entry in one]
