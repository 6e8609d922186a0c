r"""Method "fp-cccp": the two-step algorithm of Liu & Zhao (arXiv 2409.20247, section 5).

1. Cuts and resources at the present association by fractional programming, the cut relaxed (`fp_model`); then the cuts
   are rounded, each to the neighbour that is cheaper at its shares.
2. The association at the present cuts: a linear program over relaxed binaries with an exact penalty, by the
   convex-concave procedure from several starts (`solvers.cccp`).

Repeated until the association stays. The printed step 2 holds every share fixed, so that nobody can move to a server
whose bandwidth is handed out already (docs/liu_zhao_2024.md). Here a user costs on every server what it would cost
there with the share that it would buy at that server's prices (the multipliers of its present users), those shares may
exceed a server by a margin, since all shares are set anew afterwards, and a new association is taken only if it is
cheaper once they are; otherwise half as many users may move, and then the margin grows. Rounded cuts, too, are taken
only if they are cheaper. So the objective, limits that are broken counted at a high price, never rises.

``count_upload_delay=False`` is the algorithm as printed; with True the term 1/r is added, which is convex already.
Nothing is proven: the answer is a stationary point (status LOCALLY_SOLVED), to be read against a certified bound.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.errors import SolverError
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.baselines import ASSOCIATION_RULES, can_split
from edgealloc.formulations.split_training.fp_model import RelaxedModel
from edgealloc.formulations.split_training.options import ROUGH, job_bytes, timed_option
from edgealloc.formulations.split_training.reduced import Reduced, reduce
from edgealloc.formulations.split_training.resources import Settled, optimal_allocation, settle
from edgealloc.formulations.split_training.stages import one_blas_thread, warm_up
from edgealloc.solvers.cccp import BinaryProgram, minimise_binaries

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["run"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Relative fall of the relaxed objective at which step 1 has settled, and of the objective at which all has.
_SETTLED: Final = 1e-5
#: How far the shares that users would buy may exceed a server: more and more, because whoever comes to a server with
#: few users would buy much of it at its low price.
_MARGINS: Final = (0.5, 2.0, 8.0)
_ITERATIONS: Final = 50
_STARTS: Final = 4


def run(problem: SplitTraining, run: Run) -> Outcome:
    """Alternate the two steps until the association stays.

    Parameters
    ----------
    problem : SplitTraining
        Step 1 knows no deadlines, caps or server memory: they are minded where rounded cuts and associations are
        compared, and by the exact resources. Synchronous rounds are planned as if every delay counted. So with these
        limits nothing feasible may be found where something is.
    run : Run
        `warm_start` gives the first association and cuts, if it keeps every limit; by default everybody is on the
        server of best rate and cut in the middle.

    Returns
    -------
    Outcome
        Without a bound; `converged` if the association settled, and the last cuts by fractional programming had.
    """
    state = _State(problem, run)
    termination, converged = Termination.ITERATIONS, False
    try:
        warm_up(run)
        with one_blas_thread():
            state.begin()
            for k in range(1, _ITERATIONS + 1):
                state.step_cuts()
                moved = state.step_association()
                run.report("cccp", k, state.feasible_objective)
                if not moved:
                    converged = state.cuts_ended == "converged"
                    if state.cuts_ended != "iterations":
                        termination = Termination.CONVERGED if converged else Termination.NUMERICAL
                    break
    except TimeUpError:
        termination = Termination.TIME_LIMIT
    except KeyboardInterrupt:
        termination = Termination.INTERRUPTED
    except SolverError as error:
        state.attempts.append(str(error))
        termination = Termination.NUMERICAL
    return Outcome(
        allocation=state.best, termination=termination, converged=converged, attempts=tuple(state.attempts)
    )


class _State:
    """The present association and cuts, and the best allocation so far."""

    best: Allocation | None
    model: RelaxedModel | None

    def __init__(self, problem: SplitTraining, run: Run) -> None:
        self.problem, self.run = problem, run
        # rounds: see `run`
        self.model_problem = problem if problem.delay == "sum" else problem.replace(delay="sum")
        self.objective, self.best, self.excess = math.inf, None, math.inf
        self.attempts: list[str] = []
        self.model = None
        self.cuts_ended = "converged"  # how the last step 1 did

    def begin(self) -> None:
        """First association and cuts."""
        problem, cuts = self.model_problem, self.model_problem.cuts
        self.data = reduce(problem)
        self.split = can_split(problem)
        start = self.run.warm_start
        if start is not None and self.problem.relative_violation(start) > FEASIBILITY_TOLERANCE:
            self.attempts.append("warm start violates a limit and was not used")
            start = None
        middle = np.where(self.split, (cuts.low + cuts.high + 1) // 2, problem.layers)
        self.relaxed = np.where(self.split, 0.5 * (cuts.low + cuts.high), 0.0)
        if start is not None:
            self.server = np.array(start.server)
            self.cut = np.where(self.server >= 0, start.local_layers, middle)
            self.relaxed = np.where(self.server >= 0, start.local_layers, self.relaxed)
        else:
            self.server = np.where(self.split, ASSOCIATION_RULES["best-rate"](problem, self.run), -1)
            self.cut = middle
        self.radius = problem.users  # how many users may move at once
        self.offer()

    def offer(self) -> None:
        """Keep the present association and cuts, with exact resources, if they are the best so far: first of all by
        the limits that they keep."""
        allocation = optimal_allocation(self.problem, self.server, self._cuts_at(self.server))
        value, excess = self.problem.evaluate(allocation).objective, self.problem.relative_violation(allocation)
        excess = excess if excess > FEASIBILITY_TOLERANCE else 0.0
        if self.best is None or (excess, value) < (self.excess, self.objective):
            self.objective, self.best, self.excess = value, allocation, excess

    @property
    def feasible_objective(self) -> float | None:
        """Of the best so far, None if it breaks a limit."""
        return self.objective if self.excess <= 0.0 else None

    # ---- step 1 ------------------------------------------------------------------------------------------------

    def step_cuts(self) -> None:
        """Fractional programming at the present association, and the cuts rounded."""
        remote = self.server >= 0
        self.cuts_ended = "converged"
        if not remote.any():
            return
        interrupted = False

        def watch(iteration: int, _value: float) -> bool:
            nonlocal interrupted
            try:
                self.run.report("fp", iteration, self.feasible_objective)
            except KeyboardInterrupt:
                interrupted = True
            return interrupted or self.run.seconds_left <= 0.0

        self.model = self.model or RelaxedModel(self.model_problem)
        self.run.check_time()
        relaxed, found = self.model.minimise(
            self.server, self.relaxed, tolerance=_SETTLED, on_iteration=watch,
            seconds_left=lambda: self.run.seconds_left,
        )
        # reduced accuracy does not matter: what comes of it is settled anew
        told = (one for one in found.attempts if not one.endswith("inaccurate"))
        self.attempts = list(dict.fromkeys([*self.attempts, *told]))
        self.cuts_ended = found.status
        self.relaxed = np.where(remote, relaxed, self.relaxed)
        cut = np.where(remote, self._rounded(self.relaxed), self.cut)
        if self._settle(self.server, cut).cost < self._settle(self.server, self.cut).cost:
            self.cut = cut
            self.offer()
        if interrupted:
            raise KeyboardInterrupt
        self.run.check_time()

    def _rounded(self, relaxed: FloatArray) -> IntArray:
        """Each cut up or down, whichever is cheaper with the resources for the nearest ones."""
        problem, remote = self.model_problem, self.server >= 0
        low, high = problem.cuts.low, np.maximum(problem.cuts.high, problem.cuts.low)
        down, up, near = (
            np.where(self.split, np.clip(rule(relaxed), low, high), problem.layers).astype(np.int64)
            for rule in (np.floor, np.ceil, np.round)
        )
        at = optimal_allocation(problem, self.server, np.where(remote, near, problem.layers))

        def cost(cut: IntArray) -> FloatArray:
            return problem.evaluate(
                Allocation(self.server, np.where(remote, cut, problem.layers), at.power_w, at.bandwidth_hz,
                           at.user_frequency_hz, at.server_frequency_hz)
            ).user_objective

        return np.where(cost(up) < cost(down), up, down)

    # ---- step 2 ------------------------------------------------------------------------------------------------

    def step_association(self) -> bool:
        """Move users by the convex-concave procedure; whether a cheaper association was found."""
        problem = self.model_problem
        settled = self._settle(self.server, self.cut)
        program = _Association(problem, self.data, self.cut, self.split, settled, self.server)
        self.run.check_time()
        for margin in _MARGINS:
            radius = min(2 * self.radius, self.server.size)
            while radius >= 1:
                found = minimise_binaries(
                    program.near(self.server, radius, margin), starts=_STARTS, seed=self.run.seed,
                    check=self.run.check_time,
                )
                if found.x is not None:
                    server = program.servers(found.x)
                    if (server == self.server).all():
                        break
                    cost = self._settle(server, self.cut, settled.price).cost
                    if cost < settled.cost * (1.0 - 0.1 * _SETTLED):
                        self.server, self.radius = server, radius
                        self.offer()
                        return True
                radius //= 2
        return False

    def _cuts_at(self, server: IntArray) -> IntArray:
        return np.where(server >= 0, self.cut, self.model_problem.layers)

    def _settle(self, server: IntArray, cut: IntArray, guess: FloatArray | None = None) -> Settled:
        return settle(self.data, server, np.where(server >= 0, cut, self.model_problem.layers), guess)


class _Association:
    """Step 2 at given cuts: cost and shares of every user on every server at present prices, fully local included."""

    def __init__(
        self, problem: SplitTraining, data: Reduced, cut: IntArray, split: npt.NDArray[np.bool_], settled: Settled,
        server: IntArray,
    ) -> None:
        n, m = problem.users, problem.servers
        self.shape = (n, m + 1)
        cost, band, clock, memory = (np.zeros(self.shape) for _ in range(4))
        self.allowed = np.zeros(self.shape, dtype=np.bool_)
        price = settled.price
        for user in range(n):
            for site in np.flatnonzero(problem.gain[user] > 0.0) if split[user] else ():
                value, share_b, share_f, _ = timed_option(
                    data, user, int(site), cut[user], price[site, 0], price[site, 1], 0.0, ROUGH
                )
                memory[user, site] = job_bytes(data, user, cut[user])
                cost[user, site] = value + price[site, 2] + price[site, 3] * memory[user, site]
                band[user, site] = share_b / problem.bandwidth_max_hz[site]
                clock[user, site] = share_f / problem.server_frequency_max_hz[site]
                self.allowed[user, site] = math.isfinite(value)
        alone = np.asarray(data.user["local_cost"])
        self.allowed[:, m] = np.isfinite(alone)
        cost[:, m] = np.where(self.allowed[:, m], alone, 0.0)
        # An option that costs more than all do now, even if given a whole server, makes nothing better: without it the
        # costs are of a size.
        worth = settled.price[:, 0] * problem.bandwidth_max_hz + settled.price[:, 1] * problem.server_frequency_max_hz
        here = np.arange(n), np.where(server >= 0, server, m)
        possible = self.allowed[here]
        self.allowed &= cost <= settled.cost + np.append(np.maximum(worth, 0.0), 0.0)
        self.allowed[here] = possible
        self.cost, self.band, self.clock, self.memory = np.where(self.allowed, cost, 0.0), band, clock, memory
        self.problem = problem

    def near(self, server: IntArray, radius: int, margin: float) -> BinaryProgram:
        """The program in which at most `radius` users leave their place, and shares exceed a server by `margin`."""
        from scipy import sparse

        problem, (n, columns) = self.problem, self.shape
        m = columns - 1
        each = sparse.kron(sparse.eye_array(n), np.ones((1, columns)))
        rows: list[Any] = [each]
        low, high = [np.ones(n)], [np.ones(n)]

        def capacity(use: FloatArray, limit: FloatArray) -> None:
            # row of server j: the entries (n, j)
            user, site = np.nonzero(use[:, :m])
            entries = (use[user, site], (site, user * columns + site))
            rows.append(sparse.coo_array(entries, shape=(m, n * columns)))
            low.append(np.full(m, -np.inf))
            high.append(limit)

        roomy = np.full(m, 1.0 + margin)
        capacity(self.band, roomy)
        capacity(self.clock, roomy)
        if problem.users_per_server is not None:
            capacity(self.allowed.astype(np.float64), np.asarray(problem.users_per_server, dtype=np.float64))
        if problem.server_memory_bytes is not None:
            largest = np.maximum(problem.server_memory_bytes, 1.0)
            capacity(self.memory[:, :m] / largest, np.ones(m))
        if radius < n:
            stay = np.zeros((1, n * columns))
            stay[0, np.arange(n) * columns + np.where(server >= 0, server, m)] = 1.0
            rows.append(sparse.csr_array(stay))
            low.append(np.array([float(n - radius)]))
            high.append(np.array([np.inf]))
        return BinaryProgram(
            self.cost.ravel(), sparse.vstack(rows), np.concatenate(low), np.concatenate(high),
            self.allowed.ravel().astype(np.float64),
        )

    def servers(self, x: FloatArray) -> IntArray:
        """Association of a binary point, -1 for fully local."""
        chosen = x.reshape(self.shape).argmax(axis=1)
        return np.where(chosen == self.shape[1] - 1, -1, chosen).astype(np.int64)
