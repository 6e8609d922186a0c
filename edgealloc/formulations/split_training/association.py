"""The association of baseline "aauco": local search over single moves at equal shares, with everybody's best cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.formulations.split_training.reduced import device_clock
from edgealloc.formulations.split_training.rules import best_cut, best_rate, can_split, local_cost, split_cost
from edgealloc.formulations.split_training.shares import equal_division

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["StoppedError", "best_single_moves"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A move that saves less than this share of the objective is not worth making: it may be rounding.
LEAST: Final = 1e-12
#: Costs are capped here, so that sums and differences of them are numbers.
_DEAREST: Final = 1e290
#: So many numbers are kept of what users cost on a server with so many others.
_KEPT_NUMBERS: Final = 20_000_000


class StoppedError(Exception):
    """Time was up, or Ctrl-C, before a rule had done its work: what it had (N,) comes along, and why."""

    def __init__(self, server: IntArray, termination: Termination) -> None:
        super().__init__(str(termination))
        self.server, self.termination = server, termination


class _EqualShares:
    """Least costs of users on servers by how many share the server."""

    def __init__(self, problem: SplitTraining) -> None:
        self.problem = problem
        self.clock = device_clock(problem)
        self.local = local_cost(problem, self.clock)
        self._split = can_split(problem)
        self._columns: dict[tuple[int, int], FloatArray] = {}

    def column(self, m: int, load: int) -> FloatArray:
        """Cost (N,) of every user as one of `load` on server m; inf for those who cannot be there."""
        key = (m, max(load, 1))
        if key not in self._columns:
            if (len(self._columns) + 1) * self.problem.users > _KEPT_NUMBERS:
                self._columns.clear()
            self._columns[key] = self._compute(*key)
        return self._columns[key]

    def _compute(self, m: int, load: int) -> FloatArray:
        problem = self.problem
        n = np.flatnonzero(self._split & (problem.gain[:, m] > 0.0))
        cost = np.full(problem.users, np.inf)
        share = np.full(n.size, 1.0 / load)
        found, _ = split_cost(
            problem, n, np.full(n.size, m), share * problem.bandwidth_max_hz[m],
            share * problem.server_frequency_max_hz[m], None, self.clock[n],
        )
        cost[n] = np.minimum(found, _DEAREST)
        return cost


def best_single_moves(problem: SplitTraining, run: Run) -> IntArray:
    """Association that no single move improves at equal shares, from that of best rates; -1 for fully local.

    A server's bandwidth and clock are shared equally by whoever is on it and everybody has its best cut, so putting a
    user on a server, or taking it away, changes what all others there pay: each move counts that exactly. The best of
    all moves is made until none saves anything.

    Parameters
    ----------
    problem : SplitTraining
    run : Run
        Its clock is looked at before every move.

    Returns
    -------
    int array (N,)

    Raises
    ------
    StoppedError
        Time was up or Ctrl-C; it has the association so far.
    """
    start = best_rate(problem, run)
    cut = best_cut(problem, start, equal_division(problem), run)
    search = _Search(_EqualShares(problem), np.where(cut < problem.layers, start, -1))
    try:
        moves = 0
        while True:
            run.check_time()
            if moves % 50 == 0:
                run.report("association", moves)
            if not search.move():
                break
            moves += 1
    except TimeUpError:
        raise StoppedError(search.server, Termination.TIME_LIMIT) from None
    except KeyboardInterrupt:
        raise StoppedError(search.server, Termination.INTERRUPTED) from None
    return search.server


class _Search:
    """An association, and what every single move would change: (N, M + 1), the last column for fully local."""

    def __init__(self, costs: _EqualShares, server: IntArray) -> None:
        self.costs, self.server = costs, server
        servers = costs.problem.servers
        self.total = np.zeros(servers)  # what the users of a server pay together
        self.join = np.empty((server.size, servers + 1))  # what changes there when one more joins
        self.join[:, servers] = np.minimum(costs.local, _DEAREST)
        self.join[~np.isfinite(costs.local), servers] = np.inf
        self.leave = np.where(server < 0, -self.join[:, servers], 0.0)  # what changes at home when a user leaves
        for m in range(servers):
            self._refresh(m)

    def _refresh(self, m: int) -> None:
        members = np.flatnonzero(self.server == m)
        load = members.size
        fewer, now, more = (self.costs.column(m, size) for size in (load - 1, load, load + 1))
        self.total[m] = now[members].sum()
        self.join[:, m] = more + (more[members].sum() - self.total[m])
        self.leave[members] = fewer[members].sum() - fewer[members] - self.total[m]

    def move(self) -> bool:
        """Make the best move of all if it saves anything; whether it did."""
        servers = self.costs.problem.servers
        home = np.where(self.server < 0, servers, self.server)
        change = self.join + self.leave[:, None]
        change[np.arange(home.size), home] = np.inf
        n, to = divmod(int(change.argmin()), servers + 1)
        at_home = self.join[self.server < 0, servers].sum()
        if not change[n, to] < -LEAST * (abs(self.total.sum()) + abs(at_home)):
            return False
        old = int(home[n])
        self.server[n] = to if to < servers else -1
        self.leave[n] = -self.join[n, servers]
        for m in (old, to):
            if m < servers:
                self._refresh(m)
        return True
