r"""Method "certified": prices, recovery, exact moves, and a proof.

1. Start prices: a few rounds of "everybody picks at the prices; the prices become the multipliers of what was picked".
2. Bound: the bundle method of `solvers.pricing` over the prices, users in groups; every answer of the oracle is turned into
   a feasible allocation by solving its resources exactly.
3. Moves: local search at exact cost from the best allocations (`moves`).
4. Closing: where few options can still be optimal, all of their combinations (`closing`).

The bound is valid in floating point: see `system.responses` and `solvers.pricing`.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import anything_cached
from edgealloc.core.method import Outcome
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.split_training.closing import close
from edgealloc.formulations.split_training.moves import assignment_total, make_state, search, total_cost
from edgealloc.formulations.split_training.oracle import Answers, Oracle
from edgealloc.formulations.split_training.reduced import Reduced, reduce
from edgealloc.formulations.split_training.resources import optimal_allocation, server_prices
from edgealloc.solvers.bundle import Bundle
from edgealloc.solvers.pricing import Priced, Pricing, maximise_bound

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["SplitPricing", "run"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Up to this many users every one has cuts of its own in the bundle; beyond, users share `GROUPS` of them.
OWN_CUTS: Final = 64
GROUPS: Final = 10
START_ROUNDS: Final = 4
ROUNDS: Final = 4
#: Local search starts from this many of the best recovered assignments.
SEARCH_FROM: Final = 3


class SplitPricing:
    """SplitTraining as the pricing engine sees it: K = 2M capacities, bandwidths first, then clocks."""

    def __init__(self, data: Reduced, threads: int) -> None:
        self.data = data
        self.users, self.servers = data.gain.shape
        self.oracle = Oracle(data, threads)
        self.groups = self.users if self.users <= OWN_CUTS else GROUPS
        self._group = (np.arange(self.users) * self.groups) // self.users
        self.best: list[tuple[float, IntArray, IntArray]] = []
        self._seen: set[bytes] = set()
        self._past: list[tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]] = []
        # a low-discrepancy number per user, to draw from a mixture evenly within every part of a group
        self._draw = (np.arange(self.users) * 0.6180339887498949 + 0.5) % 1.0

    def ask(self, prices: FloatArray) -> Priced:
        """Every user's best option at prices (2M,) per whole capacity."""
        m = self.servers
        per_hertz_b, per_hertz_f = prices[:m] / self.data.bandwidth, prices[m:] / self.data.clock
        answers = self.oracle.ask(per_hertz_b, per_hertz_f)
        self._past.append((answers.server.astype(np.int16), answers.cut.astype(np.int16)))
        remote = np.flatnonzero(answers.server >= 0)
        cell = self._group[remote] * m + answers.server[remote]
        size = self.groups * m
        band = np.bincount(cell, answers.band[remote], size).reshape(self.groups, m) / self.data.bandwidth
        clock = np.bincount(cell, answers.share[remote], size).reshape(self.groups, m) / self.data.clock
        value = np.bincount(self._group, weights=answers.value, minlength=self.groups).astype(np.float64)
        total = math.fsum(answers.value)  # every value is >= 0: their sum is the magnitude too
        return Priced(total, value, np.hstack([band, clock]), total, answers)

    def recover(self, choices: Answers, prices: FloatArray) -> float:
        """Exact resources for what everybody chose."""
        self.offer(choices.server, choices.cut, prices[: self.servers] / self.data.bandwidth)
        return self.objective

    def recover_mixture(self, mixture: FloatArray) -> float:
        """Every user takes one of its past choices, in the proportions of its group (its likeliest, if it is one alone)."""
        if self.groups == self.users:
            pick = np.argmax(mixture, axis=1)
        else:
            steps = np.cumsum(mixture, axis=1)
            steps[:, -1] = 1.0
            pick = np.empty(self.users, dtype=np.int64)
            for group in range(self.groups):
                mine = self._group == group
                pick[mine] = np.searchsorted(steps[group], self._draw[mine], side="right")
        server, cut = np.empty(self.users, dtype=np.int64), np.empty(self.users, dtype=np.int64)
        for past in np.unique(pick):
            mine = pick == past
            server[mine], cut[mine] = self._past[past][0][mine], self._past[past][1][mine]
        self.offer(server, cut)
        return self.objective

    def offer(self, server: IntArray, cut: IntArray, guess: FloatArray | None = None) -> None:
        """Keep an assignment if it is among the best and new."""
        if self._new(server, cut):
            self._insert(assignment_total(self.data, server, cut, guess), server, cut)

    def keep(self, cost: float, server: IntArray, cut: IntArray) -> None:
        """Insert an assignment of known cost into the best few, if it is new."""
        if self._new(server, cut):
            self._insert(cost, server, cut)

    def _new(self, server: IntArray, cut: IntArray) -> bool:
        key = hashlib.blake2b(server.tobytes() + cut.tobytes(), digest_size=16).digest()
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _insert(self, cost: float, server: IntArray, cut: IntArray) -> None:
        self.best.append((cost, server.copy(), cut.copy()))
        self.best.sort(key=lambda entry: entry[0])
        del self.best[SEARCH_FROM:]

    @property
    def objective(self) -> float:
        """Best objective so far."""
        return self.best[0][0] if self.best else math.inf


def run(problem: SplitTraining, run: Run) -> Outcome:
    """Solve with a proof; see the module's text. Time limit and Ctrl-C return the best so far with its gap."""
    data = reduce(problem)
    pricing = SplitPricing(data, run.threads)
    state = Pricing()
    attempts: list[str] = []
    try:
        if not anything_cached():
            run.report("compiling the kernels, once per machine")
        compile_kernels()
        run.restart_clock()
        _stages(problem, data, pricing, state, run, attempts)
    except TimeUpError:
        state.termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        state.termination = Termination.INTERRUPTED
    state.objective = pricing.objective
    if state.gap() <= run.gap:
        state.termination = Termination.GAP
    return _outcome(problem, data, pricing, state, attempts)


@cache
def compile_kernels() -> None:
    """Compile (or load) every kernel by a tiny problem, so that no run's clock counts it."""
    from edgealloc.formulations.split_training.problem import SplitTraining

    tiny = SplitTraining(
        layers=2, layer_flops=1e9, upload_bits=1e6, user_flops_per_cycle=1.0, user_kappa=1e-27,
        user_frequency_max_hz=1e9, power_max_w=0.1, samples=100.0, server_flops_per_cycle=10.0,
        server_frequency_max_hz=1e9, bandwidth_max_hz=1e6, server_joules_per_flop=1e-10,
        gain=[[1e-9, 2e-9], [2e-9, 1e-9], [1e-9, 1e-9]], noise_psd_w_per_hz=1e-20,
    )
    data = reduce(tiny)
    pricing = SplitPricing(data, 1)
    _stages(tiny, data, pricing, Pricing(), Run(gap=0.0, time_limit_s=math.inf), [])
    optimal_allocation(tiny, pricing.best[0][1], pricing.best[0][2], data=data)


def _stages(
    problem: SplitTraining, data: Reduced, pricing: SplitPricing, state: Pricing, run: Run, attempts: list[str]
) -> None:
    from threadpoolctl import threadpool_limits

    if run.warm_start is not None:
        usable = problem.relative_violation(run.warm_start) <= 1e-9
        if usable:
            pricing.offer(run.warm_start.server, run.warm_start.local_layers)
        else:
            attempts.append("warm start violates a limit and was not used")
    # BLAS threads beside our own would fight for the same processors
    with threadpool_limits(limits=1, user_api="blas"):
        bundle = _start(data, pricing, state, run)
        bundle.failures = attempts  # what its masters could not solve is to be told
        for _ in range(ROUNDS):
            # prices stop rising at a thousandth of the gap: when moves close most of it, they are asked again
            before = state.gap()
            if state.gap() > run.gap and not bundle.failed:
                maximise_bound(pricing, state, bundle, run)
            run.check_time()
            if state.gap() > run.gap:
                _search(data, pricing, state, run)
            if state.gap() <= run.gap or state.gap() > 0.2 * before:
                break
        if state.gap() > run.gap:
            _close(data, pricing, state, run)


def _start(data: Reduced, pricing: SplitPricing, state: Pricing, run: Run) -> Bundle:
    """Prices that support what users would pick at them, by damped substitution; all answers feed the bundle."""
    server = np.where(data.user["low"] <= data.user["high"], np.argmax(data.gain, axis=1), -1).astype(np.int64)
    cut = np.where(server >= 0, (data.user["low"] + data.user["high"]) // 2, data.factor.size - 1).astype(np.int64)
    unlinked = (server >= 0) & (data.gain.max(axis=1) <= 0.0)
    server[unlinked], cut[unlinked] = -1, data.factor.size - 1
    pricing.offer(server, cut)  # whatever happens next, there is something to return
    prices = _supporting(data, server, cut, None)
    asked: list[tuple[FloatArray, Priced]] = []
    for round_ in range(START_ROUNDS):
        run.check_time()
        answer = pricing.ask(prices)
        state.take(answer, prices)
        asked.append((prices, answer))
        state.objective = pricing.recover(answer.choices, prices)
        run.report("start", round_, state.objective, state.bound)
        if state.gap() <= run.gap:
            break
        target = _supporting(data, answer.choices.server, answer.choices.cut, prices)
        prices = np.sqrt(prices * np.clip(target, prices / 9.0, prices * 9.0))
    bundle = Bundle(prices, pricing.groups)
    for point, answer in asked:
        bundle.add(answer.value, answer.use, at=point)
    return bundle


def _supporting(data: Reduced, server: IntArray, cut: IntArray, before: FloatArray | None) -> FloatArray:
    """Multipliers per whole capacity of an assignment; idle servers get a price well below the others'."""
    price_b, price_f = server_prices(data, server, cut)
    prices = np.concatenate([price_b * data.bandwidth, price_f * data.clock])
    busy = prices > 0.0
    typical = float(np.exp(np.log(prices[busy]).mean())) if busy.any() else 1e-6 * float(
        np.where(np.isfinite(local := data.user["local_cost"]), local, 0.0).sum() + 1e-300)
    idle = np.full(prices.size, 0.1 * typical) if before is None else before / 3.0
    return np.where(busy, prices, np.maximum(idle, 1e-9 * typical))


def _search(data: Reduced, pricing: SplitPricing, state: Pricing, run: Run) -> None:
    """Local search from the best recovered assignments."""
    for start, (cost, server, cut) in enumerate(list(pricing.best)):
        moved = make_state(data, server, cut)
        # a move that saves less than a thousandth of what is open is not worth its evaluation
        least = max(1e-13 * abs(cost), 1e-3 * (cost - state.bound))
        try:
            search(data, moved, least=least, out_of_time=lambda: run.seconds_left <= 0.0)
        finally:
            # also when Ctrl-C ends the search half-way: between two kernels the state is whole
            pricing.keep(float(total_cost(data, moved)), moved.server, moved.cut)
        state.objective = pricing.objective
        run.report("moves", start, state.objective, state.bound)
        if state.gap() <= run.gap:
            return
        run.check_time()


def _close(data: Reduced, pricing: SplitPricing, state: Pricing, run: Run) -> None:
    """Enumerate what the bound leaves open, if that is little."""
    if state.prices is None or not pricing.best:
        return
    cost, server, cut = pricing.best[0]
    servers = pricing.servers
    result = close(
        data, state.prices[:servers] / data.bandwidth, state.prices[servers:] / data.clock, state.bound, cost, server,
        cut, out_of_time=lambda: run.seconds_left <= 0.0,
    )
    if result.cost < cost:
        pricing.keep(result.cost, result.server, result.cut)
    if result.complete:
        state.bound = max(state.bound, result.bound)
    state.objective = pricing.objective
    run.report("closing", result.steps, state.objective, state.bound)
    if not result.complete:
        run.check_time()


def _outcome(
    problem: SplitTraining, data: Reduced, pricing: SplitPricing, state: Pricing, attempts: list[str]
) -> Outcome:
    allocation = None
    if pricing.best:
        _, server, cut = pricing.best[0]
        allocation = optimal_allocation(problem, server, cut, data=data)
    proven = state.prices is not None and math.isfinite(state.bound)
    prices = {}
    if proven and state.prices is not None:
        m = pricing.servers
        prices = {"bandwidth_hz": state.prices[:m] / data.bandwidth,
                  "server_frequency_hz": state.prices[m:] / data.clock}
    return Outcome(allocation=allocation, bound=state.bound if proven else None, termination=state.termination,
                   bound_prices=prices, attempts=tuple(attempts))
