r"""Method "exact": the best of all plans of a small pool, proven by looking at them or showing that they are worse.

**One stage.** A plan of one stage is a set of devices, their order on a ring and shares of the work. The ring settles
what the network costs, the shares what computing costs, so for single, data and tensor plans every ring meets every
time-energy trade-off of the shares (`sharing.share_options`, which are all that can be best). In sequence plans the
shares decide what passes round the ring, too: all of them are priced, many at a time.

**Pipelines** (and hybrids) are built from the last stage to the first, stage by stage: group and its order, layers,
shares. A suffix that begins at layer y, with label :math:`H` (`partition`), its counterpart :math:`A` with the all-
reduces of its groups, and dynamic energy :math:`E` is given up if

.. math::

    T \ge \max\{ H + \tau,\; A + \tau_f,\; M \tau \}, \qquad \tau = \frac{b W_{<y}}{\sum_{i \text{ unused}} C_i}

(all unused devices together compute the layers that are left, :math:`\tau_f` their forward part) with the energy of
the suffix, of the rest at the most frugal unused device, and of everybody waiting shows that it cannot beat the best
plan known, or misses the deadline. Where the network is one medium, H and A are at least what the hand-overs (and all-
reduces) of the suffix need on it. Complete pipelines are simulated. The first incumbents are those of the heuristics.

Bounds are widened and the answer's bound is lowered by more than the rounding of either.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

from edgealloc.core.method import Outcome
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.formulations.pool_training.exact_pipelines import PipelineSearch
from edgealloc.formulations.pool_training.exact_stages import search_stages
from edgealloc.formulations.pool_training.feasibility import diagnosis
from edgealloc.formulations.pool_training.search.fastcost import FastCost, warm_up
from edgealloc.formulations.pool_training.search.incumbent import Incumbent
from edgealloc.formulations.pool_training.search.starts import starting_plans

if TYPE_CHECKING:
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["MOST_PLANS", "count_plans", "run"]

#: More plans than this of one parallelism are refused; bounds leave few of them to simulate.
MOST_PLANS: Final = 20_000_000
#: Roundings of bounds and objectives are far below this share.
GUARD: Final = 1e-11


def count_plans(problem: PoolTraining, parallelism: str) -> int:
    """How many plans of a parallelism there are, whether they fit into memory or not.

    Shares of data and tensor plans are not counted: their trade-offs are found without counting through.
    """
    devices, layers = problem.devices, problem.layers
    if parallelism == "single":
        return devices
    if parallelism in ("data", "tensor", "sequence"):
        units = problem.heads if parallelism == "tensor" else problem.tokens
        if parallelism == "data":
            units = problem.batch
        return sum(
            math.comb(devices, g) * math.factorial(g - 1) * (math.comb(units - 1, g - 1) if parallelism == "sequence"
                                                             else 1)
            for g in range(1, min(devices, units) + 1)
        )
    # ways[S][k]: sizes and shares of S groups of k devices in all
    most = 1 if parallelism == "pipeline" else min(devices, problem.micro_batch)
    group = [0, *(math.comb(problem.micro_batch - 1, g - 1) for g in range(1, most + 1))]
    ways, total = [1] + [0] * devices, 0
    for stages in range(1, min(devices, layers) + 1):
        ways = [sum(ways[k - g] * group[g] for g in range(1, min(k, most) + 1)) for k in range(devices + 1)]
        total += math.comb(layers - 1, stages - 1) * sum(math.perm(devices, k) * ways[k] for k in range(devices + 1))
    return total


def run(problem: PoolTraining, run: Run) -> Outcome:
    """Search all plans. Time-out and Ctrl-C return the best plan so far, unproven.

    Raises
    ------
    DataError
        Some allowed parallelism has more than `MOST_PLANS` plans.
    """
    for parallelism in problem.parallelisms:
        count = count_plans(problem, parallelism)
        if count > MOST_PLANS:
            raise DataError(
                f"method 'exact' would have to look at {count:.2g} {parallelism} plans of {problem.devices} devices; "
                f"it takes up to {MOST_PLANS:.0e}. Use 'certified', which proves its gap, or leave '{parallelism}' "
                "out of `parallelisms`"
            )
    cost = FastCost(problem)
    best = Incumbent(problem, cost, run)
    termination, ended = Termination.STAGES_EXHAUSTED, False
    try:
        warm_up(run)
        for plan in itertools.chain([run.warm_start] if run.warm_start else [], starting_plans(problem, cost, run)):
            best.offer(plan)
        for parallelism in problem.parallelisms:
            if parallelism in ("pipeline", "hybrid"):
                PipelineSearch(problem, cost, best, parallelism).search()
            else:
                search_stages(problem, cost, best, run, parallelism)
            run.report(parallelism, objective=best.value)
        ended = True
        if best.plan is not None:
            run.report("proven", objective=best.value, bound=best.value * (1.0 - GUARD))
            termination = Termination.GAP
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.GAP if ended else Termination.INTERRUPTED
    if best.plan is None:
        if not ended:
            return Outcome(termination=termination, attempts=("stopped before the first plan that keeps all limits",))
        found = diagnosis(problem)
        if not found.conflicts:  # memory allows a plan, the deadline does not allow any
            return Outcome(termination=termination, attempts=("no plan keeps all limits",))
        return Outcome(diagnosis=found, termination=termination)
    return Outcome(best.plan, bound=best.value * (1.0 - GUARD) if ended else None, termination=termination,
                   attempts=() if ended else ("stopped before all plans were looked at",))
