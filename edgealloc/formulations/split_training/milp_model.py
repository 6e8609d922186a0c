r"""The outer-approximation model of method "milp": association and cut as binaries, costs of shares by tangents.

Per option o = (n, m, alpha) left a binary x_o, per link (n, m) a share b of the band and F of the clock (both of the
whole, in [0, 1]) and a cost eta of each, all costs in units of `scale`:

.. math::

    \min \sum_o c_o x_o + \sum_{nm} (\eta^r_{nm} + \eta^s_{nm}) \quad\text{s.t.}\quad
    \sum_{o \in n} x_o = 1,\; \sum_n b_{nm} \le 1,\; \sum_n F_{nm} \le 1,\;
    b_{nm}, F_{nm} \le z_{nm} = \sum_\alpha x_{nm\alpha},

    \eta^r_{nm} \ge V^r_{nm}(\lambda_m) z_{nm} - \lambda_m b_{nm}, \qquad
    \eta^s_{nm} \ge \sum_\alpha V^s_{nm\alpha}(\mu_m) x_{nm\alpha} - \mu_m F_{nm},

with rows for users and bytes per server. V is the least cost of an option that *buys* its share at a price: the
kernels' rigorous lower bound. So every price gives a valid row, the rows at all prices give the convex cost itself,
and with finitely many the model is a relaxation. With a deadline band and clock do not separate: one
:math:`\eta \ge \sum_\alpha v_{nm\alpha}(\lambda, \mu) x - \lambda b - \mu F` holds the whole cost of the link.

Where the clock must be handed out whole, the F of a server sum to 1 if it serves somebody; its price may be negative.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.ascent import Options
from edgealloc.formulations.split_training.options import (
    ROUGH,
    job_bytes,
    job_response,
    link_response,
    own_cost,
    timed_option,
)
from edgealloc.formulations.split_training.reduced import Reduced

__all__ = ["AssociationModel"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Coefficients below this are rounded to the safe side, because solvers drop what is below 1e-9.
_TINY: Final = 1e-7
#: A tangent with a steeper slope than this is left out: it would only hold at shares of next to nothing.
_STEEP: Final = 1e6
#: Prices that differ by less than this share give the same tangent.
_SAME: Final = 1e-4
#: Memory that a server may be over its limit by, as everywhere.
_SLACK: Final = 1e-9


class AssociationModel:
    """The PuLP model of some options; rows are added as prices become known.

    Parameters
    ----------
    data : Reduced
    options : Options
        What every user may choose, in order of users, then servers.
    scale : float
        Objective per unit of the model: the mean cost of a user, so that coefficients are about 1.
    ceiling : float
        Cost in units of `scale` that no better solution has; larger coefficients are cut down to it.

    Attributes
    ----------
    model : pulp.LpProblem
    """

    def __init__(self, data: Reduced, options: Options, scale: float, ceiling: float) -> None:
        import pulp

        self._pulp = pulp
        self.data, self.options, self.scale, self.ceiling = data, options, scale, ceiling
        self.model = pulp.LpProblem("split_training", pulp.LpMinimize)
        self.owner = np.repeat(np.arange(options.first.size - 1), np.diff(options.first))
        self.timed = np.isfinite(data.user["deadline"])
        self._largest = np.zeros(options.server.size)  # largest coefficient of every option's columns
        self._steepest = 0.0  # sum over links of the steepest slopes
        self._seen: list[list[tuple[float, float]]] = [[] for _ in range(data.server.size)]
        self._add_columns()
        self._add_rows()

    # ---- building ------------------------------------------------------------------------------------------------

    def _add_columns(self) -> None:
        pulp, make, size = self._pulp, self.model.add_variable, self.options.server.size
        self.x = [make(f"x{o}", 0, 1, pulp.LpInteger) for o in range(size)]
        #: options of every link (n, m), and its columns: z, b, F, cost of the radio (or of all), cost of the clock
        self.links: list[tuple[int, int, list[int]]] = [
            (n, m, list(group))
            for (n, m), group in itertools.groupby(
                range(size), key=lambda o: (int(self.owner[o]), int(self.options.server[o])))
            if m >= 0
        ]
        objective: dict[Any, float] = {}
        for o in range(size):
            n, m, cut = int(self.owner[o]), int(self.options.server[o]), int(self.options.cut[o])
            if m < 0 or not self.timed[n]:
                cost = min(own_cost(self.data, n, m, cut) / self.scale, self.ceiling)
                self._largest[o] = cost
                objective[self.x[o]] = cost
        self.columns: list[tuple[Any, Any, Any, Any, Any]] = []
        for i, (n, _, group) in enumerate(self.links):
            z = self.x[group[0]] if len(group) == 1 else make(f"z{i}", 0, 1)
            radio, work = make(f"r{i}", 0), None if self.timed[n] else make(f"s{i}", 0)
            self.columns.append((z, make(f"b{i}", 0, 1), make(f"f{i}", 0, 1), radio, work))
            objective[radio] = 1.0
            if work is not None:
                objective[work] = 1.0
        self.model.setObjective(pulp.LpAffineExpression(objective))

    def _row(self, terms: dict[Any, float], sense: int, rhs: float) -> None:
        pulp = self._pulp
        self.model.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, None, rhs))

    def _add_rows(self) -> None:
        pulp, data = self._pulp, self.data
        for n in range(self.options.first.size - 1):
            own = self.x[self.options.first[n] : self.options.first[n + 1]]
            self._row(dict.fromkeys(own, 1.0), pulp.LpConstraintEQ, 1.0)
        for (_, _, group), (z, b, f, *_) in zip(self.links, self.columns, strict=True):
            if len(group) > 1:
                self._row({z: 1.0, **dict.fromkeys([self.x[o] for o in group], -1.0)}, pulp.LpConstraintEQ, 0.0)
            for share in (b, f):
                self._row({share: 1.0, z: -1.0}, pulp.LpConstraintLE, 0.0)
        for m in range(data.server.size):
            mine = [i for i, link in enumerate(self.links) if link[1] == m]
            if mine:
                self._add_server(m, mine)

    def _add_server(self, m: int, links: list[int]) -> None:
        pulp, server = self._pulp, self.data.server[m]
        z, b, f = ([self.columns[i][k] for i in links] for k in range(3))
        self._row(dict.fromkeys(b, 1.0), pulp.LpConstraintLE, 1.0)
        if server["whole"] > 0.0 and server["kappa"] > 0.0:
            used = self.model.add_variable(f"used{m}", 0, 1)
            self._row({**dict.fromkeys(f, 1.0), used: -1.0}, pulp.LpConstraintEQ, 0.0)
            for one in z:
                self._row({one: 1.0, used: -1.0}, pulp.LpConstraintLE, 0.0)
            self._row({used: 1.0, **dict.fromkeys(z, -1.0)}, pulp.LpConstraintLE, 0.0)
        else:
            self._row(dict.fromkeys(f, 1.0), pulp.LpConstraintLE, 1.0)
        if np.isfinite(server["users"]):
            self._row(dict.fromkeys(z, 1.0), pulp.LpConstraintLE, float(server["users"]))
        if np.isfinite(server["bytes"]):
            room, need = max(float(server["bytes"]), 1e-300), {}
            for i in links:
                n, _, group = self.links[i]
                for o in group:
                    share = job_bytes(self.data, n, int(self.options.cut[o])) / room
                    if share > 1.0 + _SLACK:
                        self.x[o].upBound = 0
                    elif share > _TINY:
                        need[self.x[o]] = share
            if need:
                self._row(need, pulp.LpConstraintLE, 1.0 + _SLACK)

    # ---- tangents ------------------------------------------------------------------------------------------------

    def add_tangents(self, price: FloatArray, servers: npt.NDArray[np.bool_] | None = None) -> int:
        """Rows at prices (M, 2) per Hz of bandwidth and clock, of the servers chosen; returns how many were new."""
        data, added = self.data, 0
        new = np.zeros(data.server.size, dtype=bool)
        for m in range(data.server.size):
            pair = (float(price[m, 0]), float(price[m, 1]))
            wanted = servers is None or bool(servers[m])
            if wanted and np.isfinite(pair).all() and not any(_alike(pair, other) for other in self._seen[m]):
                self._seen[m].append(pair)
                new[m] = True
        for i, (n, m, group) in enumerate(self.links):
            if not new[m]:
                continue
            band, clock = float(price[m, 0]), float(price[m, 1])
            slopes = (band * data.server[m]["bandwidth"] / self.scale, clock * data.server[m]["clock"] / self.scale)
            cuts = [int(self.options.cut[o]) for o in group]
            z, b, f, radio, work = self.columns[i]
            if self.timed[n]:
                whole, theta = [], 0.0
                for cut in cuts:
                    value, _, _, theta = timed_option(data, n, m, cut, band, clock, theta, ROUGH)
                    whole.append(value)
                added += self._tangent(group, whole, {radio: 1.0}, ((b, slopes[0]), (f, slopes[1])))
                continue
            value = link_response(data, n, m, band, 0.0)[0]
            added += self._tangent(group, [value], {radio: 1.0}, ((b, slopes[0]),), z)
            values = [job_response(data, n, m, cut, clock, 0.0)[0] for cut in cuts]
            added += self._tangent(group, values, {work: 1.0}, ((f, slopes[1]),))
        return added

    def _tangent(
        self, group: list[int], values: list[float], terms: dict[Any, float], shares: tuple[tuple[Any, float], ...],
        together: Any = None,
    ) -> bool:
        """eta + sum of slope share - sum of value x >= 0, with values rounded down where slopes are dropped."""
        level = np.array(values) / self.scale
        for share, slope in shares:
            if abs(slope) > _STEEP:
                return False
            if abs(slope) < _TINY:
                level = level - max(slope, 0.0)  # shares are at most 1, and a negative price only raises the cost
            else:
                terms[share] = slope
                self._steepest += abs(slope)
        # no better solution costs more than the ceiling, and at most its whole share is bought
        most = self.ceiling + sum(max(slope, 0.0) for _, slope in shares)
        level = np.minimum(level, most)
        # rounded down: what a share at a negative price brings in can be more than the option costs
        level = np.where(np.abs(level) > _TINY, level, np.where(level < 0.0, -_TINY, 0.0))
        if level.max() <= 0.0 and all(slope >= 0.0 for _, slope in shares):
            return False
        columns = [self.x[o] for o in group] if together is None else [together]
        terms.update({column: -float(v) for column, v in zip(columns, level, strict=True) if v != 0.0})
        self._largest[group] = np.maximum(self._largest[group], np.abs(level))
        self._row(terms, self._pulp.LpConstraintGE, 0.0)
        return True

    # ---- use -----------------------------------------------------------------------------------------------------

    def guard(self, tolerance: float) -> float:
        """What a solver's tolerances may have added to its bound, in the objective's unit.

        A solver proves its bound for points that keep rows, bounds and integrality to `tolerance` only. Made whole,
        such a point moves every column by about that, and so the objective by no more than `tolerance` times the sum
        over columns of their largest coefficients; four times that is taken off.
        """
        size = float(self._largest.sum()) + self._steepest + 3.0 * len(self.links) + self.options.first.size
        return 4.0 * tolerance * size * self.scale

    def drop(self, options: npt.NDArray[np.intp]) -> None:
        """Options that no better solution takes."""
        for o in options:
            self.x[o].upBound = 0

    def forbid(self, server: IntArray, cut: IntArray) -> None:
        """This very choice is out."""
        chosen = self._chosen(server, cut)
        self._row(dict.fromkeys([self.x[o] for o in chosen], 1.0), self._pulp.LpConstraintLE, len(chosen) - 1.0)

    def start(self, server: IntArray, cut: IntArray) -> dict[str, float]:
        """Binaries of an assignment; nothing if one of its options was left out."""
        chosen = set(self._chosen(server, cut))
        if len(chosen) < server.size:
            return {}
        return {x.name: float(o in chosen) for o, x in enumerate(self.x)}

    def _chosen(self, server: IntArray, cut: IntArray) -> list[int]:
        options = self.options
        return np.flatnonzero((options.server == server[self.owner]) & (options.cut == cut[self.owner])).tolist()

    def assignment(self, values: Any) -> tuple[IntArray, IntArray]:
        """Server and cut (N,) of a solution of the model."""
        taken = np.flatnonzero(np.array([values[x.name] for x in self.x]) > 0.5)
        return self.options.server[taken].astype(np.int64), self.options.cut[taken].astype(np.int64)


def _alike(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(abs(a - b) <= _SAME * max(abs(a), abs(b)) for a, b in zip(one, other, strict=True))
