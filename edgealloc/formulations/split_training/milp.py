r"""Method "milp": association, cut and tangents of the shares as one mixed-integer linear programme, solved by HiGHS.

1. Prices: multipliers of a quick association (best rate, middle cut), improved by the bundle method. The bound that
   they prove is the bound of the model's linear relaxation, got without a simplex method.
2. Options whose reduced cost at these prices is beyond the best allocation known are left out: no better one takes
   them.
3. Rounds (outer approximation): a model with tangents at prices around those of step 1 (`milp_model`); exact resources
   for the association and cuts that HiGHS found; tangents at *their* multipliers, at which the model is exact; again.

**The bound.** The model is a relaxation, so that what HiGHS proves for it is a lower bound of the optimum, also when
time runs out: :math:`\min(U, s\,(\text{dual bound}) - g)` with U the best objective (beyond which options were left
out), s the model's unit and the guard g for HiGHS's tolerances (`AssociationModel.guard`): HiGHS holds rows, bounds and
integrality to 1e-9 only, and each column that is moved by as much changes the objective by no more than its largest
coefficient times 1e-9; four times the sum over all columns is taken off, some 1e-7 of the objective. The largest bound
of all rounds and of the prices is reported. HiGHS itself computes in floating point: methods "certified" and "prove"
are rigorous in that respect, too.

HiGHS runs on one thread, so that the result does not depend on `threads`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Status, Termination
from edgealloc.formulations.split_training.ascent import GUARD, Options
from edgealloc.formulations.split_training.milp_model import AssociationModel
from edgealloc.formulations.split_training.options import without_option
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.proof import list_all
from edgealloc.formulations.split_training.reduced import reduce, without_deadlines
from edgealloc.formulations.split_training.resources import settle
from edgealloc.formulations.split_training.stages import (
    bound_prices,
    kept_allocation,
    offer_warm_start,
    one_blas_thread,
    warm_up,
)
from edgealloc.solvers.bundle import Bundle
from edgealloc.solvers.milp import MilpResult, solve_milp
from edgealloc.solvers.pricing import Pricing, maximise_bound

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["MOST_BINARIES", "TOLERANCE", "model_of", "root_prices", "run"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: More binaries than this are not worth beginning with.
MOST_BINARIES: Final = 200_000
#: Primal, dual and integrality tolerance of HiGHS.
TOLERANCE: Final = 1e-9
#: Tangents lie at the root's prices times these, and for joint costs also at every pair of `_CROSS`.
_FACTORS: Final = np.exp(np.linspace(-0.8, 0.8, 13))
_CROSS: Final = (0.6, 1.0, 1.6)
#: HiGHS stops at this share of the gap asked for: the rest is for the tangents.
_SHARE: Final = 0.3
MOST_ROUNDS: Final = 40
#: Coefficients that are not bounded by an objective are cut down to this.
_CEILING: Final = 1e5


def run(problem: SplitTraining, run: Run) -> Outcome:
    """Solve by outer approximation; see the module's text. Time limit and Ctrl-C return the best so far with its gap.

    Synchronous rounds (``delay="max"``) and more than `MOST_BINARIES` options are refused by an outcome without an
    allocation, whose attempts say what to use.
    """
    if problem.delay != "sum":
        return Outcome(termination=Termination.STAGES_EXHAUSTED,
                       attempts=("'milp' knows no synchronous rounds (delay='max'); use 'certified'",))
    state, pricing = Pricing(), SplitPricing(reduce(problem), run.threads)
    attempts: list[str] = []
    try:
        warm_up(run)
        with one_blas_thread():
            root_prices(problem, pricing, state, run, attempts)
            if state.gap() > run.gap:
                _approximate(pricing, state, run, attempts)
            else:
                attempts.append("the bound of the linear relaxation proves the gap; no binaries were branched on")
    except TimeUpError:
        state.termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        state.termination = Termination.INTERRUPTED
    state.objective = pricing.objective
    if state.gap() <= run.gap:
        state.termination = Termination.GAP
    return _outcome(problem, pricing, state, attempts)


def _outcome(problem: SplitTraining, pricing: SplitPricing, state: Pricing, attempts: list[str]) -> Outcome:
    proven = math.isfinite(state.bound)
    return Outcome(
        allocation=kept_allocation(problem, pricing), bound=state.bound if proven else None,
        termination=state.termination, bound_prices=bound_prices(pricing, state) if proven else {},
        attempts=tuple(attempts),
    )


# ---- prices of the relaxation -------------------------------------------------------------------------------------


def root_prices(problem: SplitTraining, pricing: SplitPricing, state: Pricing, run: Run, attempts: list[str]) -> None:
    """The best prices of the linear relaxation, and allocations found on the way; `state` and `pricing` hold both."""
    data = pricing.data
    if without_option(data) >= 0:
        state.bound = math.inf
        attempts.append("some user is left no option that keeps its deadline; 'certified' says what would help")
        return
    offer_warm_start(problem, pricing, run, attempts)
    bundle = Bundle(_first_prices(pricing), pricing.groups, pricing.low, pricing.high)
    bundle.failures = attempts
    maximise_bound(pricing, state, bundle, run)


def _first_prices(pricing: SplitPricing) -> FloatArray:
    """Multipliers (K,) of everybody on its best link at the middle of its cuts; what is idle costs less."""
    data = pricing.data
    linked = (data.user["low"] <= data.user["high"]) & (data.gain.max(axis=1) > 0.0)
    server = np.where(linked, np.argmax(data.gain, axis=1), -1).astype(np.int64)
    cut = np.where(linked, (data.user["low"] + data.user["high"]) // 2, data.factor.size - 1).astype(np.int64)
    settled = pricing.offer(server, cut) or settle(data, server, cut)
    if data.timed and not settled.kept and float(data.user["time_weight"].min()) > 0.0:
        # what elastic deadlines would pay for resources is no sensible place to start
        settled = settle(without_deadlines(data), server, cut)
    price = settled.price.copy()
    price[:, 2:] = 0.0  # so is what users and bytes too many would pay
    prices = pricing.capacities.per_whole(price)
    divided = np.tile(np.arange(4) < 2, data.server.size)[pricing.active]
    busy = (prices > 0.0) & divided
    typical = float(np.exp(np.log(prices[busy]).mean())) if busy.any() else 1e-6 * abs(settled.cost) + 1e-300
    prices = np.where(divided & ~busy, 0.1 * typical, prices)
    return np.asarray(np.clip(prices, np.maximum(pricing.low, 0.0), pricing.high))


# ---- outer approximation ------------------------------------------------------------------------------------------


def _approximate(pricing: SplitPricing, state: Pricing, run: Run, attempts: list[str]) -> None:
    """Rounds of models until the gap is proven, nothing new comes, or time is up."""
    if state.prices is None or not math.isfinite(state.bound):
        return
    options = _options_left(pricing, state)
    if options is None:
        attempts.append(f"no model was built: it would have more than {MOST_BINARIES} binaries; use 'certified'")
        return
    model = model_of(pricing, state, options, run)
    least_broken = math.inf  # what assignments that were forbidden would cost at least
    for round_ in range(MOST_ROUNDS):
        run.check_time()
        kept = pricing.kept
        result = solve_milp(
            model.model, gap=_SHARE * run.gap, tolerance=TOLERANCE, threads=1, time_limit_s=_slice(run, round_),
            start=None if kept is None else model.start(kept.server, kept.cut),
        )
        _take_bound(pricing, state, model, result, least_broken)
        new = 0
        if result.values is not None:
            server, cut = model.assignment(result.values)
            found = pricing.offer(server, cut) or settle(pricing.data, server, cut)
            state.objective = pricing.objective
            if found.kept:
                busy = np.bincount(server + 1, minlength=pricing.servers + 1)[1:] > 0
                new = model.add_tangents(found.price[:, :2], busy)
            else:  # no resources keep its deadlines
                model.forbid(server, cut)
                least_broken, new = min(least_broken, found.cost), 1
            _drop_dear(pricing, state, model)
        run.report("milp", round_, state.objective, state.bound)
        if state.gap() <= run.gap:
            return
        if result.status == Status.INFEASIBLE and pricing.kept is None:
            attempts.append("HiGHS finds that no association keeps every limit; 'certified' proves it and says why")
            return
        if result.termination == Termination.NUMERICAL:
            attempts.append(f"HiGHS failed: {result.message}")
            state.termination = Termination.NUMERICAL
            return
        if result.termination != Termination.TIME_LIMIT and not new:
            return  # the model is exact where it is best: what is open is the guard and HiGHS's own gap
        if result.termination == Termination.TIME_LIMIT and run.seconds_left <= 0.0:
            raise TimeUpError
    state.termination = Termination.ITERATIONS


def _slice(run: Run, round_: int) -> float | None:
    """Seconds for a round: the first, whose tangents are rough, gets less than the next, and a rest is always left."""
    left = run.seconds_left
    return None if math.isinf(left) else max((0.85 if round_ else 0.3) * left, min(left, 1.0), 1e-3)


def _options_left(pricing: SplitPricing, state: Pricing) -> Options | None:
    """Options that an allocation better than the best one known may take; None if they are too many."""
    assert state.prices is not None
    best = pricing.objective
    room = math.inf
    if math.isfinite(best):
        room = (best - state.price_bound) * (1.0 + 1e-9) + GUARD * abs(best)
    return list_all(pricing, state.prices, room, MOST_BINARIES)


def model_of(pricing: SplitPricing, state: Pricing, options: Options, run: Run) -> AssociationModel:
    """The first round's model: tangents on a geometric grid around the root's prices."""
    data, users = pricing.data, pricing.users
    best = pricing.objective
    size = best if math.isfinite(best) else abs(state.bound)
    scale = max(size, 1e-300) / users
    ceiling = 1.01 * best / scale if math.isfinite(best) else _CEILING
    model = AssociationModel(data, options, scale, ceiling)
    assert state.prices is not None
    price = pricing.capacities.per_unit(state.prices)[:, :2]
    whole = price * np.stack([data.bandwidth, data.clock], axis=1)
    typical = float(np.abs(whole).mean()) or scale
    floor = 0.1 * typical / np.stack([data.bandwidth, data.clock], axis=1)
    base = np.where(price > 0.0, np.maximum(price, 1e-3 * floor), floor)
    model.add_tangents(price)
    pairs = [(a, a) for a in _FACTORS]
    if data.timed:
        pairs += [(a, b) for a in _CROSS for b in _CROSS if a != b]
    for pair in pairs:
        run.check_time()
        model.add_tangents(base * np.array(pair))
    free = (data.server["whole"] > 0.0) & (data.server["kappa"] > 0.0)
    if free.any():
        for factor in (-3.0, -1.0, -0.3, 0.0, 0.3, 1.0):
            steep = np.maximum(np.abs(price[:, 1]), floor[:, 1])
            model.add_tangents(np.stack([base[:, 0], factor * steep], axis=1), free)
    return model


def _take_bound(
    pricing: SplitPricing, state: Pricing, model: AssociationModel, result: MilpResult, least_broken: float
) -> None:
    """What a round proves: its dual bound less the guard, but nothing beyond what was left out of the model."""
    if result.bound is None:
        return
    proven = model.scale * result.bound * (1.0 - 1e-12) - model.guard(TOLERANCE)
    limit = min(pricing.objective, least_broken)
    if math.isfinite(limit):
        limit -= model.guard(TOLERANCE) if math.isinf(proven) else 0.0
    proven = min(proven, limit)
    if math.isfinite(proven):
        state.bound = max(state.bound, proven)


def _drop_dear(pricing: SplitPricing, state: Pricing, model: AssociationModel) -> None:
    """Leave out what a better objective has made too dear."""
    left = _options_left(pricing, state)
    if left is None:
        return
    keep = {(n, int(m), int(c)) for n in range(pricing.users)
            for m, c in zip(left.server[left.first[n]:left.first[n + 1]], left.cut[left.first[n]:left.first[n + 1]],
                            strict=True)}
    options = model.options
    model.drop(np.array([o for o in range(options.server.size)
                         if (int(model.owner[o]), int(options.server[o]), int(options.cut[o])) not in keep],
                        dtype=np.intp))
