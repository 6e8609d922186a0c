r"""Fleets with too many options to list: prices by the parts of options, and the engine for those near the best.

With limits of the fleet's means every variant counts, and variants x servers x sets of classes are hundreds of options
for every device. At given prices nobody has to look at them all: a device's best is

.. math:: \min_O \left( \min_v \text{local}_{v,O}(\pi) + \min_s \text{sent}_{s,O}(\pi) \right),

and a server's best load is where the slope of its queue is the price: with the price :math:`\pi_s` of its whole limit
L, :math:`\rho = 1 - 1/\sqrt{1 + \pi_s \Lambda/(w_t L)}`. So the bound at any prices is one of the whole problem, and
the bundle method finds good ones (`solvers.pricing`). Then the engine is given the options that cost least at these
prices; a rollout with another one costs at least the bound and what the cheapest of those costs more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Progress, Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.deployment.agents import DeviceChoices
from edgealloc.formulations.deployment.baselines import greedy
from edgealloc.formulations.deployment.costs import queueing
from edgealloc.formulations.deployment.options import FLEET
from edgealloc.formulations.deployment.rollout import Rollout
from edgealloc.solvers.bundle import Bundle
from edgealloc.solvers.choices.data import RELAXED
from edgealloc.solvers.pricing import GUARD, Priced, Pricing, maximise_bound, relative_gap

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["MOST_OPTIONS", "run_wide"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: More options than this are not listed.
MOST_OPTIONS: Final = 3_000_000
#: Groups of devices with cuts of their own in the bundle.
_GROUPS: Final = 16
_ITERATIONS: Final = 100
#: Options near the best that are listed for all devices together, at first, and the least for one of them.
_NEAR: Final = 1_000_000
_AT_LEAST: Final = 8
#: How many times as many are listed when the gap stays open, and how often.
_MORE: Final = 3
_TRIES: Final = 3
#: Of the gap asked for, what the engine must reach among the options listed.
_SHARE: Final = 0.4
#: Prices go up to this multiple of what all devices' dearest options cost together.
_FAR: Final = 1e4
#: Of the time, what prices may take.
_PRICES: Final = 0.5
#: Devices whose options are looked at together: keeps the tables in cache.
_CHUNK: Final = 64


class _Parts:
    """Costs and uses of the parts of options as tables, for prices (K,) in the order of `DeviceChoices.limited`."""

    def __init__(self, devices: DeviceChoices, objective: float) -> None:
        problem, options = devices.problem, devices.problem.options
        self.problem, self.limited, self.objective = problem, devices.limited, objective
        self.groups = _GROUPS + 1
        self.group = np.arange(problem.devices) * _GROUPS // problem.devices
        kept = devices.kept.copy()
        sent_allowed = options.sent_allowed.copy()
        self.local_use: list[tuple[int, FloatArray]] = []
        self.sent_use: list[tuple[int, FloatArray]] = []
        for k, (name, _) in enumerate(self.limited):
            if name in FLEET:
                limit = float(getattr(problem, name))
                local, sent = options.local_use[name], options.sent_use[name]
                if limit > 0.0:
                    self.local_use.append((k, local / limit))
                    self.sent_use.append((k, np.where(sent_allowed, sent, 0.0) / limit))
                else:
                    kept &= local <= 0.0
                    sent_allowed &= sent <= 0.0
        self.local_cost = np.where(kept, options.local_cost, np.inf)
        self.sent_cost = np.where(sent_allowed, options.sent_cost, np.inf)
        self.load = np.where(sent_allowed, options.sent_load, 0.0) / problem.load_limit[:, None]
        self.airtime: FloatArray | None = None
        self.aired = [(k, s) for k, (name, s) in enumerate(self.limited) if name == "airtime_limit"]
        if self.aired:
            assert problem.airtime_limit is not None
            limits = np.where(problem.airtime_limit > 0.0, problem.airtime_limit, np.inf)[:, None]
            amount = np.where(sent_allowed, options.sent_airtime, 0.0)
            self.sent_cost = np.where((amount > 0.0) & (problem.airtime_limit <= 0.0)[:, None], np.inf, self.sent_cost)
            self.airtime = amount / limits
        self.scale = problem.queue_weight
        #: Prices beyond this are those of a fleet that does not fit.
        self.highest = _FAR * max(1e-9, sum(float(np.where(np.isfinite(cost), np.abs(cost), 0.0).max(
            axis=(1, 2), initial=0.0).sum()) for cost in (self.local_cost, self.sent_cost)))

    def priced(self, prices: FloatArray, rows: slice = slice(None)) -> tuple[FloatArray, FloatArray]:
        """(n, 1 + V, 2^C) and (n, 1 + S, 2^C) parts at prices; the first server is nowhere."""
        local = self.local_cost[rows].copy()
        for k, use in self.local_use:
            local += prices[k] * use[rows]
        servers = self.problem.servers
        sent = np.full((local.shape[0], 1 + servers, local.shape[2]), np.inf)
        sent[:, 0, 0] = 0.0
        if servers:
            there = sent[:, 1:]
            there[:] = self.sent_cost[rows] + prices[:servers, None] * self.load[rows]
            if self.airtime is not None:
                price = np.zeros(servers)
                for k, s in self.aired:
                    price[s] = prices[k]
                there += price[:, None] * self.airtime[rows]
            for k, use in self.sent_use:
                there += prices[k] * use[rows]
        return local, sent

    def ask(self, prices: FloatArray) -> Priced:
        """Everybody's best options at prices, and the best loads of the servers."""
        problem, devices = self.problem, np.arange(self.problem.devices)
        local, sent = self.priced(prices)
        variant, server = local.argmin(axis=1), sent.argmin(axis=1)
        whole = (np.take_along_axis(local, variant[:, None], axis=1)
                 + np.take_along_axis(sent, server[:, None], axis=1))[:, 0]
        mask = whole.argmin(axis=1)
        best, v, s = whole[devices, mask], variant[devices, mask], server[devices, mask] - 1
        count, size = self.groups, prices.size
        value = np.bincount(self.group, weights=best, minlength=count).astype(np.float64)
        use = np.zeros((count, size))
        for k, table in self.local_use:
            use[:, k] += np.bincount(self.group, weights=table[devices, v, mask], minlength=count)
        away = np.flatnonzero(s >= 0)
        at = (away, s[away], mask[away])
        for k, table in self.sent_use:
            use[:, k] += np.bincount(self.group[away], weights=table[at], minlength=count)
        np.add.at(use, (self.group[away], s[away]), self.load[at])
        if self.airtime is not None:
            number = np.full(problem.servers, -1)
            for k, one in self.aired:
                number[one] = k
            limited = number[s[away]] >= 0
            np.add.at(use, (self.group[away][limited], number[s[away]][limited]), self.airtime[at][limited])
        queues, room = self.queues(prices[: problem.servers])
        value[-1] += queues.sum()
        use[-1, : problem.servers] += room
        terms = np.concatenate([best, queues])
        # answers may exceed limits by a rounding
        total = math.fsum(terms) - RELAXED * float(prices.sum())
        return Priced(total, value, use, float(np.abs(terms).sum()), None)

    def queues(self, prices: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(S,) what queues cost at the best loads, and the room that they leave, as shares of the limits, paid for."""
        limit = self.problem.load_limit
        load = limit
        if self.scale > 0.0:
            load = np.minimum(1.0 - 1.0 / np.sqrt(1.0 + prices / (limit * self.scale)), limit)
        room = 1.0 - load / limit
        return self.scale * queueing(load) + prices * room, room

    def recover(self, choices: Any, prices: FloatArray) -> float:  # noqa: ARG002
        """What is known already: rollouts come from the engine."""
        return self.objective

    def recover_mixture(self, mixture: FloatArray) -> float:  # noqa: ARG002
        """Likewise."""
        return self.objective

    def near(self, prices: FloatArray, count: int) -> tuple[tuple[IntArray, IntArray, IntArray, IntArray], float]:
        """The options of every device that cost least at prices, `count` or a few more of each, as
        `DeviceChoices.parts`; and by how much all others cost more than a device's best, at least."""
        found: list[tuple[IntArray, ...]] = []
        beyond = math.inf
        for begin in range(0, self.problem.devices, _CHUNK):
            local, sent = self.priced(prices, slice(begin, begin + _CHUNK))
            # (n, 2^C, 1 + V, 1 + S): the order of `DeviceChoices.parts`
            whole = local.transpose(0, 2, 1)[:, :, :, None] + sent.transpose(0, 2, 1)[:, :, None]
            flat = whole.reshape(whole.shape[0], -1)
            if count < flat.shape[1]:
                limit = np.partition(flat, count - 1, axis=1)[:, count - 1]
            else:
                limit = np.full(flat.shape[0], np.finfo(np.float64).max)
            chosen = (flat <= limit[:, None]) & np.isfinite(flat)
            rest = np.where(chosen, np.inf, flat).min(axis=1) - flat.min(axis=1)
            beyond = min(beyond, float(rest.min()))
            device, mask, variant, server = np.nonzero(chosen.reshape(whole.shape))
            found.append((device + begin, mask, variant, server - 1))
        device, mask, variant, server = (np.concatenate(one) for one in zip(*found, strict=True))
        return (device, mask, variant, server), beyond


def run_wide(problem: Deployment, run: Run) -> Outcome | None:
    """The best rollout to within the gap, with a proof; None if the options near the best fit nobody."""
    from edgealloc.formulations.deployment.certified import Rounds, certify

    devices = DeviceChoices(problem)
    attempts: list[str] = []
    best, objective = _start(problem, run, attempts)
    parts = _Parts(devices, objective)
    state = Pricing(objective=objective)
    asked = parts.ask(np.zeros(len(devices.limited)))
    worth = max(abs(asked.total), 1e-9)
    size = len(devices.limited)
    bundle = Bundle(np.full(size, 1e-3 * worth), parts.groups, np.zeros(size), np.full(size, parts.highest))
    ended = Termination.STAGES_EXHAUSTED
    try:
        inner = Run(gap=run.gap, time_limit_s=_PRICES * run.seconds_left, threads=run.threads,
                    on_progress=lambda line: run.report(line.stage, line.iteration, line.objective, line.bound))
        maximise_bound(parts, state, bundle, inner, iterations=_ITERATIONS)
    except TimeUpError:
        pass
    except KeyboardInterrupt:
        ended = Termination.INTERRUPTED
    if state.prices is None:
        return Outcome(best, termination=Termination.TIME_LIMIT if ended != Termination.INTERRUPTED else ended,
                       attempts=tuple(attempts))
    bound, count = state.bound, max(_NEAR // problem.devices, _AT_LEAST)

    def relay(line: Progress) -> None:
        known = objective if line.objective is None else min(objective, line.objective)
        run.report(f"near the best: {line.stage}", line.iteration, known, min(bound, known))

    for turn in range(_TRIES):
        if ended == Termination.INTERRUPTED or relative_gap(objective, bound) <= run.gap or run.seconds_left <= 0.0:
            break
        listed, beyond = parts.near(state.prices, count)
        few = DeviceChoices(problem, listed)
        inner = Run(gap=_SHARE * run.gap / (1 + turn), time_limit_s=max(run.seconds_left, 1e-3), seed=run.seed,
                    threads=run.threads, on_progress=relay)
        rounds = Rounds(few, inner, certify)
        answer = rounds.solve(None if best is None else few.choice(best))
        if answer.choice is not None and answer.objective < objective:
            best, objective = few.rollout(answer.choice), answer.objective
        # what is left out costs at least what the prices prove, and the difference
        floor = state.bound + beyond * (1.0 - 1e-9) - GUARD * worth
        bound = max(bound, min(math.inf if answer.infeasible else answer.bound, floor, objective))
        if answer.termination == Termination.INTERRUPTED:
            ended = answer.termination
        if answer.infeasible and best is None and turn == _TRIES - 1:
            return None
        count *= _MORE
    if relative_gap(objective, bound) <= run.gap:
        ended = Termination.GAP
    elif ended != Termination.INTERRUPTED and run.seconds_left <= 0.0:
        ended = Termination.TIME_LIMIT
    return Outcome(best, bound=min(bound, objective), termination=ended, bound_prices=devices.prices(state.prices),
                   attempts=tuple(attempts))


def _start(problem: Deployment, run: Run, attempts: list[str]) -> tuple[Rollout | None, float]:
    """The better one of the caller's rollout and a greedy one, where they keep the limits."""
    best: Rollout | None = None
    objective = math.inf
    for name, one in (("warm start", run.warm_start), ("greedy start", greedy(problem, run).allocation)):
        if one is None:
            continue
        if problem.relative_violation(one) > FEASIBILITY_TOLERANCE:
            attempts.append(f"{name} violates a limit and was not used")
            continue
        cost = problem.evaluate(one).objective
        if cost < objective:
            best, objective = one, cost
    return best, objective
