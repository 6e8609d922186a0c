r"""Price oracle -> certified bound -> recovery: the engine of every problem in which agents couple by capacities only.

Each agent picks one option, and the options use K capacities. Pricing the capacities separates the agents,

.. math:: D(\pi) = \sum_g v_g(\pi) - \sum_k \pi_k \;\le\; \text{optimum} \quad \text{for every } \pi \ge 0,

(prices are per whole capacity; a capacity that must be used up has a price of either sign), so that any prices at
which the oracle was asked give a proven lower bound. This module
looks for the best prices with a bundle method and lets the problem recover a feasible point at each of them.

The rounding guard: every agent's value is good to a few units in the last place, and they are summed exactly, so
`GUARD` times the sum of all magnitudes is far above the rounding error and far below any gap of interest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.core.status import Termination
from edgealloc.solvers.bundle import Bundle

__all__ = ["GUARD", "Priced", "PricedProblem", "Pricing", "maximise_bound", "relative_gap"]

FloatArray = npt.NDArray[np.float64]

GUARD: Final = 1e-12
#: A feasible point is made of the master's mixture in every so manieth iteration, and in the last.
MIX_EVERY: Final = 3


@dataclass(frozen=True, eq=False)
class Priced:
    """An oracle's answer.

    Attributes
    ----------
    total : float
        Sum of the agents' values, exactly rounded (`math.fsum`): sums over many agents are where rounding gathers.
    value : (G,)
        v_g, the same by group, for the model.
    use : (G, K)
        Share of every capacity that the group's choices use: a supergradient of v_g.
    magnitude : float
        Sum of the absolute values of all terms that were added up, for the rounding guard.
    choices : object
        What the agents chose, for `recover`.
    """

    total: float
    value: FloatArray
    use: FloatArray
    magnitude: float
    choices: Any


class PricedProblem(Protocol):
    """What a formulation gives to the engine."""

    groups: int

    def ask(self, prices: FloatArray) -> Priced:
        """Answer at prices (K,) per whole capacity."""

    def recover(self, choices: Any, prices: FloatArray) -> float:
        """Try to make a feasible point of the choices; returns the best objective known so far (inf: none).

        Parameters
        ----------
        choices : object
            What `ask` chose.
        prices : array (K,)
            Prices of the K coupled sums, per whole capacity.
        """

    def recover_mixture(self, mixture: FloatArray) -> float:
        """Likewise of a mixture (G, answers) of all choices asked for so far, in the order in which they were asked."""


def relative_gap(objective: float, bound: float) -> float:
    """``(objective - bound) / |objective|``, 0 at least; inf before both are known.

    >>> relative_gap(2.0, 1.5), relative_gap(math.inf, 1.5)
    (0.25, inf)
    """
    if not (math.isfinite(objective) and math.isfinite(bound)):
        return math.inf
    return max(0.0, (objective - bound) / max(abs(objective), 1e-300))


@dataclass
class Pricing:
    """State of the engine, also when it was stopped half-way.

    Attributes
    ----------
    bound : float
        Best proven lower bound, -inf before the first answer.
    price_bound : float
        What the prices alone prove; `bound` may be raised above it by other means.
    prices : (K,) or None
        The prices that prove it.
    objective : float
        Best objective that `recover` reported.
    termination : Termination
    """

    bound: float = -math.inf
    price_bound: float = -math.inf
    prices: FloatArray | None = None
    objective: float = math.inf
    termination: Termination = Termination.STAGES_EXHAUSTED

    def take(self, answer: Priced, prices: FloatArray) -> bool:
        """Note an answer; returns whether it improved the bound.

        Parameters
        ----------
        answer : Priced
            What `ask` said.
        prices : array (K,)
            Prices of the K coupled sums, per whole capacity.
        """
        total = answer.total - math.fsum(prices)
        bound = total - GUARD * (answer.magnitude + float(np.abs(prices).sum()))
        self.bound = max(self.bound, bound)
        if bound > self.price_bound:
            self.price_bound, self.prices = bound, prices.copy()
            return True
        return False

    def gap(self) -> float:
        """Relative gap so far, inf before anything is known."""
        return relative_gap(self.objective, self.bound)


def maximise_bound(
    problem: PricedProblem, state: Pricing, bundle: Bundle, run: Run, *, iterations: int = 300
) -> None:
    """Improve `state` until the gap is the one asked for, the bound cannot rise, or time is up.

    Parameters
    ----------
    problem : PricedProblem
    state : Pricing
        Changed in place, so that an interruption loses nothing.
    bundle : Bundle
        Holds what was asked before; its `trial` is asked first.
    run : Run
        Gap, clock and progress. TimeUpError is raised by its clock and is the caller's to catch.
    iterations : int
        Rounds of questions, at most.
    """
    for iteration in range(iterations):
        run.check_time()
        prices = bundle.trial
        answer = problem.ask(prices)
        state.take(answer, prices)
        bundle.add(answer.value, answer.use)
        state.objective = problem.recover(answer.choices, prices)
        run.report("prices", iteration, state.objective, state.bound)
        if state.gap() <= run.gap:
            state.termination = Termination.GAP
            return
        bundle.propose()
        # Beyond a thousandth of what separates bound and objective, or of rounding, the bound has no more to give; a
        # poor objective says nothing about that, so it counts for a hundredth at most.
        separation = min(state.objective - state.bound, 1e-2 * abs(state.bound))
        done = bundle.failed or bundle.predicted <= max(1e-10 * abs(state.bound), 1e-3 * separation)
        if not bundle.failed and (done or iteration % MIX_EVERY == 0):
            state.objective = problem.recover_mixture(bundle.mixture())
            run.report("mixture", iteration, state.objective, state.bound)
            if state.gap() <= run.gap:
                state.termination = Termination.GAP
                return
        if bundle.failed:
            state.termination = Termination.NUMERICAL
            return
        if done:
            break
    else:
        state.termination = Termination.ITERATIONS
        return
    state.termination = Termination.STAGES_EXHAUSTED
