r"""A proximal bundle method for the maximum of a sum of concave piecewise functions of few prices.

.. math:: \max_{l \le \pi \le u}\; D(\pi) = \sum_g v_g(\pi) - \sum_k \pi_k,

where every v_g is concave and an oracle returns its value and a supergradient. Each answer gives one cut per group,
``v_g(pi) <= a + s.pi``, and the next trial point maximises the cut model minus a proximal term around the best point so
far (a small quadratic programme, solved by Clarabel). The metric of that term is 1/(2 pi): what a sum of ``sqrt(pi)``
responses has as its Hessian at its own maximum, so that a step length of 1 is already about right and prices move by
relative amounts.

Small example, free of phones and servers: maximise min(1 + pi, 4 - pi) - pi/2 written as one group with two pieces.

>>> import numpy as np
>>> def oracle(pi):  # one group: min(1 + 1.5 pi, 4 - pi/2), minus pi by definition
...     pieces = [(1.0, 1.5), (4.0, -0.5)]
...     a, s = min(pieces, key=lambda piece: piece[0] + piece[1] * pi[0])
...     return np.array([a + s * pi[0]]), np.array([[s]])
>>> bundle = Bundle(np.array([1.0]), groups=1)
>>> for _ in range(20):
...     value, use = oracle(bundle.trial)
...     improved = bundle.add(value, use)
...     if bundle.predicted < 1e-9:
...         break
...     bundle.propose()
>>> round(bundle.best_value, 6), np.round(bundle.best, 6).tolist()
(1.75, [1.5])
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Bundle"]

FloatArray = npt.NDArray[np.float64]


#: Upper ends of prices beyond this multiple of the best value are left out of the master.
_FAR: Final = 10.0


class Bundle:
    """State of the method; the caller owns the loop: ask the oracle at `trial`, `add` the answer, `propose`.

    Parameters
    ----------
    start : (K,)
        First trial point, >= 0, in units in which every capacity is 1.
    groups : int
        G, number of terms.
    low, high : (K,), optional
        Range of the prices; 0 and inf by default.

    Attributes
    ----------
    best, best_value
        Best point so far (the centre) and D there.
    trial
        Where the oracle is to be asked next.
    failed, failures
        Whether the last master could not be solved, and what Clarabel said each time.
    predicted : float
        How much the model promises beyond `best_value` at `trial`; near 0 at the optimum.
    """

    #: a cut that has been slack for this many masters is dropped
    PATIENCE = 12

    def __init__(
        self, start: FloatArray, groups: int, low: FloatArray | None = None, high: FloatArray | None = None
    ) -> None:
        self.resources = start.size
        self.low: FloatArray = np.zeros(start.size) if low is None else low
        self.high: FloatArray = np.full(start.size, np.inf) if high is None else high
        self.groups = groups
        self.trial: FloatArray = np.array(start, dtype=np.float64)
        self.best: FloatArray = self.trial.copy()
        self.best_value = -math.inf
        self.predicted = math.inf
        self.tightness = 1.0
        self.failed = False
        self.failures: list[str] = []
        self._nulls = 0
        self._group = np.empty(0, dtype=np.int64)
        self._intercept = np.empty(0)
        self._slope = np.empty((0, self.resources))
        self._idle = np.empty(0, dtype=np.int64)
        self._answer = np.empty(0, dtype=np.int64)
        self._weight = np.empty(0)
        self._answers = 0

    def add(self, value: FloatArray, use: FloatArray, at: FloatArray | None = None) -> bool:
        """Take the oracle's answer at `trial` (or at another point).

        Parameters
        ----------
        value : (G,)
        use : (G, K)
            Supergradients: how much of every capacity each group uses.
        at : (K,), optional

        Returns
        -------
        bool
            Whether the point became the new best.
        """
        point = self.trial if at is None else at
        total = float(value.sum() - point.sum())
        self._group = np.concatenate([self._group, np.arange(self.groups)])
        self._intercept = np.concatenate([self._intercept, value - use @ point])
        self._slope = np.concatenate([self._slope, use])
        self._idle = np.concatenate([self._idle, np.zeros(self.groups, dtype=np.int64)])
        self._answer = np.concatenate([self._answer, np.full(self.groups, self._answers)])
        self._answers += 1
        actual = total - self.best_value
        if at is None and math.isfinite(self.predicted) and self.predicted > 0.0:
            quality = actual / self.predicted
            if quality >= 0.1:
                if quality >= 0.5:
                    self.tightness = max(0.5 * self.tightness, 1e-3)
                self._nulls = 0
            else:
                self._nulls += 1
                if quality < -1.0 or self._nulls % 4 == 0:
                    self.tightness = min(2.0 * self.tightness, 1e4)
        if actual > 0.0 or not math.isfinite(self.best_value):
            self.best, self.best_value = point.copy(), total
            return True
        return False

    def propose(self) -> None:
        """Solve the master and set `trial` and `predicted`; `failed` if Clarabel gave up twice."""
        import clarabel
        from scipy import sparse

        count, k, g = self._group.size, self.resources, self.groups
        scale = max(abs(self.best_value), 1e-300)
        centre = self.best / scale
        # prices that were far too high may have to fall by orders of magnitude: the metric is limited there
        size = np.abs(centre)
        floor = max(1e-3 * float(size.mean()), 1e-6)
        metric = self.tightness * 0.5 / np.maximum(size, floor)
        quadratic = sparse.csc_matrix(sparse.diags(np.concatenate([metric, np.zeros(g)])))
        linear = np.concatenate([1.0 - metric * centre, -np.ones(g)])
        picks = sparse.csc_matrix((np.ones(count), (np.arange(count), self._group)), shape=(count, g))
        unit = sparse.eye(k, format="csr")
        below = np.flatnonzero(np.isfinite(self.low))
        # an upper end far away only spoils the scaling: the proximal term keeps the trial from it, and it is clipped
        above = np.flatnonzero(self.high < _FAR * scale)
        box = sparse.vstack([-unit[below], unit[above]])
        rows = sparse.csc_matrix(sparse.vstack([
            sparse.hstack([sparse.csc_matrix(-self._slope), picks]),
            sparse.hstack([box, sparse.csc_matrix((box.shape[0], g))]),
        ]))
        limits = np.concatenate([self._intercept / scale, -self.low[below] / scale, self.high[above] / scale])
        for careful in (False, True):
            settings = clarabel.DefaultSettings()
            settings.verbose = False
            settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9 if careful else 1e-11
            if careful:
                settings.max_step_fraction = 0.9
            solver = clarabel.DefaultSolver(
                quadratic, linear, rows, limits, [clarabel.NonnegativeConeT(limits.size)], settings
            )
            result = solver.solve()
            point = np.asarray(result.x[:k])
            solved = str(result.status) in ("Solved", "AlmostSolved") and bool(np.isfinite(point).all())
            if solved:
                break
            self.failures.append(f"bundle master: Clarabel said {result.status}")
        self.failed = not solved
        if self.failed:
            self.predicted = 0.0
            return
        self.trial = np.clip(point * scale, self.low, self.high)
        self.predicted = self.model(self.trial) - self.best_value
        self._weight = np.maximum(np.asarray(result.z[:count]), 0.0)
        busy = self._weight > 1e-8
        self._idle = np.where(busy, 0, self._idle + 1)
        if count > 4 * (g + k):
            self._keep(self._idle <= self.PATIENCE)

    def mixture(self) -> FloatArray:
        """(G, answers so far): the convex combination of past answers that the last master's multipliers make.

        Its average use of every capacity is what the master balances against the prices: near the optimum it fits,
        while the answer at any single price may send everybody to one place.
        """
        mixed = np.zeros((self.groups, self._answers))
        np.add.at(mixed, (self._group[: self._weight.size], self._answer[: self._weight.size]), self._weight)
        total = mixed.sum(axis=1, keepdims=True)
        mixed[total[:, 0] <= 0.0, -1] = 1.0
        return np.asarray(mixed / np.where(total > 0.0, total, 1.0), dtype=np.float64)

    def model(self, point: FloatArray) -> float:
        """Upper model of D at a point: least cut of every group."""
        heights = self._intercept + self._slope @ point
        least = np.full(self.groups, np.inf)
        np.minimum.at(least, self._group, heights)
        return float(least.sum() - point.sum())

    def _keep(self, mask: npt.NDArray[np.bool_]) -> None:
        self._group, self._intercept = self._group[mask], self._intercept[mask]
        self._slope, self._idle, self._answer = self._slope[mask], self._idle[mask], self._answer[mask]
        self._weight = self._weight[mask]
