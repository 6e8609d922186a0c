r"""Methods "certified" and "prove": prices, recovery, exact moves, branch and bound, and a proof.

1. Start prices: a few rounds of "everybody picks at the prices; the prices become the multipliers of what was picked".
2. Bound: the bundle method of `solvers.pricing` over the prices, users in groups; every answer of the oracle is turned
into
   a feasible allocation by solving its resources exactly.
3. Moves: local search at exact cost from the best allocations (`moves`).
4. Branches: where a gap is left and the problem is small, branch and bound over what the bound leaves open (`proof`).

The bound is valid in floating point: see `system.responses` and `solvers.pricing`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgealloc.core.constraints import Diagnosis
from edgealloc.core.method import Outcome
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.split_training.conflicts import explain_conflict, judge
from edgealloc.formulations.split_training.moves import make_state, search
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.proof import prove, worth_trying
from edgealloc.formulations.split_training.reduced import reduce
from edgealloc.formulations.split_training.rounds import solve_rounds
from edgealloc.formulations.split_training.stages import (
    bound_prices,
    kept_allocation,
    one_blas_thread,
    stages,
    warm_up,
)
from edgealloc.solvers.pricing import Pricing

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["run", "run_prove", "solve"]


def run(problem: SplitTraining, run: Run) -> Outcome:
    """Solve with a proof; see the module's text. Time limit and Ctrl-C return the best so far with its gap."""
    return solve(problem, run, prove_it=False)


def run_prove(problem: SplitTraining, run: Run) -> Outcome:
    """`run`, and branch and bound however large the problem."""
    return solve(problem, run, prove_it=True)


def solve(problem: SplitTraining, run: Run, *, prove_it: bool) -> Outcome:
    """Methods "certified" and "prove": the latter branches however large the problem, and until the gap is proven."""
    if problem.delay == "max":
        return solve_rounds(problem, run)
    state, pricing = Pricing(), SplitPricing(reduce(problem), run.threads)
    attempts: list[str] = []
    diagnosis = None
    try:
        warm_up(run)
        with one_blas_thread():
            stages(problem, pricing, state, run, attempts, branch=prove_it or worth_trying(pricing),
                   stubborn=prove_it)
            if pricing.kept is None:
                diagnosis = find_feasible(problem, pricing, state, run, attempts, prove_it=prove_it)
    except TimeUpError:
        state.termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        state.termination = Termination.INTERRUPTED
    state.objective = pricing.objective
    if state.gap() <= run.gap:
        state.termination = Termination.GAP
    return _outcome(problem, pricing, state, attempts, diagnosis)


def find_feasible(
    problem: SplitTraining, pricing: SplitPricing, state: Pricing, run: Run, attempts: list[str], *, prove_it: bool
) -> Diagnosis | None:
    """Where every assignment seen breaks a limit: look for one that breaks none, or prove that there is none."""
    verdict = judge(problem, run)
    run.check_time()
    if verdict.feasible is False:
        return explain_conflict(problem, verdict, run, attempts)
    pricing.offer(verdict.server, verdict.cut)
    moved = make_state(pricing.data, verdict.server, verdict.cut)
    search(pricing.data, moved, least=0.0, out_of_time=lambda: run.seconds_left <= 0.0)
    pricing.offer(moved.server, moved.cut)
    if pricing.kept is None and verdict.feasible:
        # feasible by a hair: its multipliers are beyond what elastic limits cost
        pricing.keep_as_is(verdict.server, verdict.cut)
    if pricing.kept is None:
        attempts.append("no assignment that keeps every limit was found, and none is proven not to exist")
    elif worth_trying(pricing):
        state.objective = pricing.objective
        prove(pricing, state, run, attempts, run.gap, stubborn=prove_it)
    return None


def _outcome(
    problem: SplitTraining, pricing: SplitPricing, state: Pricing, attempts: list[str], diagnosis: Diagnosis | None
) -> Outcome:
    if diagnosis is not None:
        return Outcome(diagnosis=diagnosis, termination=Termination.STAGES_EXHAUSTED, attempts=tuple(attempts))
    proven = state.prices is not None and math.isfinite(state.bound)
    return Outcome(
        allocation=kept_allocation(problem, pricing), bound=state.bound if proven else None,
        termination=state.termination, bound_prices=bound_prices(pricing, state) if proven else {},
        attempts=tuple(attempts),
    )
