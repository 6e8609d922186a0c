r"""The stages of a certified solve, on one set of coefficients; see `certified` for what they are.

They work on a `SplitPricing` (assignments) and a `Pricing` (bound), which hold what is known whatever ends them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.compiled import anything_cached
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run
from edgealloc.formulations.split_training.moves import make_state, search
from edgealloc.formulations.split_training.options import without_option
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.proof import prove
from edgealloc.formulations.split_training.reduced import reduce, stiffer, without_deadlines
from edgealloc.formulations.split_training.resources import Settled, optimal_allocation, settle
from edgealloc.solvers.bundle import Bundle
from edgealloc.solvers.pricing import Priced, Pricing, maximise_bound

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.allocation import Allocation
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = [
    "bound_prices",
    "compile_kernels",
    "kept_allocation",
    "offer_warm_start",
    "one_blas_thread",
    "stages",
    "warm_up",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

START_ROUNDS: Final = 4
ROUNDS: Final = 4


def one_blas_thread() -> Any:
    """BLAS threads beside our own would fight for the same processors."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


def warm_up(run: Run) -> None:
    """Compile what has to be compiled, once per machine, and start the run's clock after that."""
    if not anything_cached("split_training"):
        run.report("compiling the kernels, once per machine")
    compile_kernels()
    run.restart_clock()


def offer_warm_start(problem: SplitTraining, pricing: SplitPricing, run: Run, attempts: list[str]) -> None:
    """Start from the caller's association and cuts, unless they break a limit."""
    if run.warm_start is not None:
        if problem.relative_violation(run.warm_start) <= FEASIBILITY_TOLERANCE:
            pricing.offer(run.warm_start.server, run.warm_start.local_layers)
        else:
            attempts.append("warm start violates a limit and was not used")


def kept_allocation(problem: SplitTraining, pricing: SplitPricing) -> Allocation | None:
    """The best assignment that keeps every limit, with its best resources; None without one."""
    if pricing.kept is None:
        return None
    best = pricing.kept
    allocation = optimal_allocation(problem, best.server, best.cut, data=pricing.data)
    if pricing.data.timed and problem.relative_violation(allocation) > FEASIBILITY_TOLERANCE:
        # a deadline that is kept by a hair costs more than an elastic one: make it stiffer
        allocation = optimal_allocation(problem, best.server, best.cut, data=stiffer(pricing.data))
    return allocation


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
    pricing = SplitPricing(reduce(tiny), 1)
    state, quiet = Pricing(), Run(gap=0.0, time_limit_s=math.inf)
    stages(tiny, pricing, state, quiet, [], branch=False)
    prove(pricing, state, quiet, [], 0.0)
    optimal_allocation(tiny, pricing.best[0].server, pricing.best[0].cut, data=pricing.data)


def stages(
    problem: SplitTraining, pricing: SplitPricing, state: Pricing, run: Run, attempts: list[str], *, branch: bool,
    stubborn: bool = False,
) -> None:
    """All stages, until the gap is proven; `pricing` and `state` hold what is known also if an exception ends them.

    `branch` says whether to branch at all, `stubborn` whether to go on with that until time is up.
    """
    if without_option(pricing.data) >= 0:
        state.bound = math.inf
        return
    offer_warm_start(problem, pricing, run, attempts)
    bundle = _start(pricing, state, run)
    bundle.failures = attempts  # what its masters could not solve is to be told
    for _ in range(ROUNDS):
        # prices stop rising at a thousandth of the gap: when moves close most of it, they are asked again
        before = state.gap()
        if state.gap() > run.gap and not bundle.failed:
            maximise_bound(pricing, state, bundle, run)
        run.check_time()
        if state.gap() > run.gap:
            _search(pricing, state, run)
        if state.gap() <= run.gap or state.gap() > 0.2 * before:
            break
    if branch and state.gap() > run.gap:
        prove(pricing, state, run, attempts, run.gap, stubborn=stubborn)


def _start(pricing: SplitPricing, state: Pricing, run: Run) -> Bundle:
    """Prices that support what users would pick at them, by damped substitution; all answers feed the bundle."""
    data = pricing.data
    server = np.where(data.user["low"] <= data.user["high"], np.argmax(data.gain, axis=1), -1).astype(np.int64)
    cut = np.where(server >= 0, (data.user["low"] + data.user["high"]) // 2, data.factor.size - 1).astype(np.int64)
    unlinked = (server >= 0) & (data.gain.max(axis=1) <= 0.0)
    server[unlinked], cut[unlinked] = -1, data.factor.size - 1
    settled = pricing.offer(server, cut)  # whatever happens next, there is something to return
    prices = _supporting(pricing, pricing.best[0].server, pricing.best[0].cut, settled, None)
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
        target = _supporting(pricing, answer.choices.server, answer.choices.cut, None, prices)
        size = np.abs(prices)
        free = prices > 0.0
        damped = np.sqrt(size * np.clip(target, size / 9.0, size * 9.0))
        prices = np.clip(np.where(free, damped, target), pricing.low, pricing.high)
    bundle = Bundle(prices, pricing.groups, pricing.low, pricing.high)
    for point, answer in asked:
        bundle.add(answer.value, answer.use, at=point)
    return bundle


def _supporting(
    pricing: SplitPricing, server: IntArray, cut: IntArray, settled: Settled | None, before: FloatArray | None
) -> FloatArray:
    """Multipliers (K,) per whole capacity of an assignment; idle servers get a price well below the others'."""
    data, capacities = pricing.data, pricing.capacities
    settled = settle(data, server, cut) if settled is None else settled
    if data.timed and not settled.kept and float(data.user["time_weight"].min()) > 0.0:
        # what elastic deadlines would pay for resources is no sensible place to start
        settled = settle(without_deadlines(data), server, cut)
    divided = np.tile(np.arange(4) < 2, data.server.size)[pricing.active]  # bandwidth and clock, not users and bytes
    prices = capacities.per_whole(settled.price)
    busy = (prices > 0.0) & divided
    typical = float(np.exp(np.log(prices[busy]).mean())) if busy.any() else 1e-6 * float(
        np.where(np.isfinite(local := data.user["local_cost"]), local, 0.0).sum() + 1e-300)
    idle = np.full(prices.size, 0.1 * typical) if before is None else np.abs(before) / 3.0
    # users and bytes beyond a limit have the price of an elastic limit, which is no sensible place to start
    crowd = np.where(prices > 0.0, np.minimum(prices, typical), 0.0 if before is None else before / 3.0)
    return np.clip(np.where(busy, prices, np.where(divided, np.maximum(idle, 1e-9 * typical), crowd)),
                   np.maximum(pricing.low, 0.0), pricing.high)


def _search(pricing: SplitPricing, state: Pricing, run: Run) -> None:
    """Local search from the best recovered assignments."""
    for start, found in enumerate(list(pricing.best)):
        moved = make_state(pricing.data, found.server, found.cut)
        # a move that saves less than a thousandth of what is open is not worth its evaluation
        least = max(1e-13 * abs(found.cost), 1e-3 * (found.cost - state.bound) if found.kept else 0.0)
        try:
            search(pricing.data, moved, least=least, out_of_time=lambda: run.seconds_left <= 0.0)
        finally:
            # also when Ctrl-C ends the search half-way: between two kernels the state is whole
            pricing.offer(moved.server, moved.cut, moved.price)
        state.objective = pricing.objective
        run.report("moves", start, state.objective, state.bound)
        if state.gap() <= run.gap:
            return
        run.check_time()


def bound_prices(pricing: SplitPricing, state: Pricing) -> dict[str, FloatArray]:
    """The multipliers that prove the bound, by constraint name, per unit."""
    if state.prices is None:
        return {}
    price = pricing.capacities.per_unit(state.prices)
    names = ("bandwidth_hz", "server_frequency_hz", "users_per_server", "server_memory_bytes")
    size = pricing.capacities.size
    return {name: price[:, column].copy() for column, name in enumerate(names) if np.isfinite(size[:, column]).any()}
