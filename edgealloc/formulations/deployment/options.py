r"""Everything that a device can do: a variant on it (or none), classes that it sends away, and the server they go to.

A device's costs are a sum of two parts: of what its variant answers, which depends on (variant, classes sent), and of
what is sent, which depends on (server, classes sent). So are its shares of the limits of the fleet. Tables hold the two
parts; `agents` multiplies them out after it has left out variants that others make needless.

Sets of classes are numbers: bit c of a mask is set if class c is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.formulations.deployment.costs import QueryCosts, local_costs, sent_costs

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["FLEET", "LOCAL_REASONS", "SENT_REASONS", "Options"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Why a variant cannot answer a class, and why a server cannot, in the order in which it is said.
LOCAL_REASONS: Final = ("runs", "device_memory_bytes", "accuracy_floor", "hallucination_ceiling", "deadline_s")
SENT_REASONS: Final = ("out of reach", "accuracy_floor", "hallucination_ceiling", "deadline_s")
#: Limits of the fleet's means.
FLEET: Final = ("energy_limit_j", "hallucination_limit", "error_limit", "inaccessible_limit")
_TOLERANCE: Final = 1.0 + FEASIBILITY_TOLERANCE


@dataclass(frozen=True, eq=False)
class Options:
    """Costs of the two parts of every option, and what rules them out.

    Variants are counted from 1 in tables with V + 1 entries: 0 is nothing installed. What exceeds a limit by no more
    than what an answer may exceed it by is allowed.
    """

    problem: Deployment

    # ---- of one query -----------------------------------------------------------------------------------------------

    @cached_property
    def local(self) -> QueryCosts:
        """(N, V, C) costs of a query that a variant answers."""
        problem = self.problem
        return local_costs(problem, np.arange(problem.devices)[:, None, None],
                           np.arange(problem.variants)[None, :, None], np.arange(problem.classes)[None, None, :])

    @cached_property
    def sent(self) -> QueryCosts:
        """(N, S, C) costs of a query that an idle server answers."""
        problem = self.problem
        return sent_costs(problem, np.arange(problem.devices)[:, None, None],
                          np.arange(problem.servers)[None, :, None], np.arange(problem.classes)[None, None, :])

    @cached_property
    def promised_s(self) -> FloatArray:
        """(N, S, C) delay of a query at a server that is as busy as it may be: what deadlines are compared with."""
        problem = self.problem
        limit = problem.load_limit / (1.0 - problem.load_limit)
        return np.asarray(self.sent.network_s + self.sent.answer_s + (problem.busy_s * limit[:, None])[None])

    @cached_property
    def local_out(self) -> dict[str, BoolArray]:
        """(N, V, C) classes that variants cannot answer for each of `LOCAL_REASONS`, alone."""
        problem, costs = self.problem, self.local
        big = problem.memory_bytes > problem.device_memory_bytes[:, None] * _TOLERANCE
        out = {
            "runs": ~problem.runs[:, :, None], "device_memory_bytes": big[:, :, None],
            **self._quality(costs, problem.deadline_s[:, None, :], costs.answer_s),
        }
        return {name: np.broadcast_to(out[name], costs.cost.shape) for name in LOCAL_REASONS}

    @cached_property
    def sent_out(self) -> dict[str, BoolArray]:
        """(N, S, C) classes that servers cannot answer for each of `SENT_REASONS`, alone."""
        problem, costs = self.problem, self.sent
        out = {
            "out of reach": ~np.isfinite(costs.network_s),
            **self._quality(costs, problem.deadline_s[:, None, :], self.promised_s),
        }
        return {name: np.broadcast_to(out[name], costs.cost.shape) for name in SENT_REASONS}

    def _quality(self, costs: QueryCosts, deadline: FloatArray, delay: FloatArray) -> dict[str, BoolArray]:
        problem = self.problem
        floor, ceiling = problem.accuracy_floor[:, None, :], problem.hallucination_ceiling[:, None, :]
        return {
            "accuracy_floor": costs.accuracy < floor - FEASIBILITY_TOLERANCE,
            "hallucination_ceiling": costs.hallucination > ceiling + FEASIBILITY_TOLERANCE,
            "deadline_s": delay > deadline * _TOLERANCE,
        }

    # ---- of a device: sums over the classes that are sent, or not ----------------------------------------------------

    @cached_property
    def masks(self) -> BoolArray:
        """(2^C, C) whether a class is in a set."""
        classes = self.problem.classes
        return np.asarray((np.arange(2**classes)[:, None] >> np.arange(classes)) & 1, dtype=np.bool_)

    @cached_property
    def asked(self) -> BoolArray:
        """(N, 2^C) sets of classes that a device can send: of those that it is asked."""
        never = self.problem.query_rate_per_s <= 0.0
        return np.asarray(~(never[:, None, :] & self.masks[None]).any(axis=2))

    @cached_property
    def accessible(self) -> BoolArray:
        """(N, 1 + V) whether a device with the variant has access."""
        problem = self.problem
        good = (problem.runs & (problem.memory_bytes <= problem.device_memory_bytes[:, None] * _TOLERANCE)
                & (problem.tokens_per_s >= problem.usable_tokens_per_s))
        return np.concatenate([np.zeros((problem.devices, 1), dtype=np.bool_), good], axis=1)

    @cached_property
    def device_load(self) -> FloatArray:
        """(N, 1 + V, 2^C) share of the time that a device is busy with what it does not send."""
        return self._kept(self.problem.query_rate_per_s, self.local.answer_s)

    @cached_property
    def local_allowed(self) -> BoolArray:
        """(N, 1 + V, 2^C) variants that may answer what is not sent; nothing installed answers nothing."""
        problem = self.problem
        bad = np.logical_or.reduce(list(self.local_out.values())) & (problem.query_rate_per_s > 0.0)[:, None, :]
        none = np.broadcast_to((problem.query_rate_per_s > 0.0)[:, None, :], (problem.devices, 1, problem.classes))
        stays = ~self.masks
        failing = (np.concatenate([none, bad], axis=1)[:, :, None, :] & stays[None, None]).any(axis=3)
        # what does not fit cannot even be installed
        installed = self.installable[:, :, None]
        return np.asarray(~failing & installed & self.asked[:, None, :]
                          & (self.device_load <= problem.device_load_limit * _TOLERANCE))

    @cached_property
    def installable(self) -> BoolArray:
        """(N, 1 + V) variants that run on a device and fit its memory; nothing always does."""
        problem = self.problem
        fits = problem.runs & (problem.memory_bytes <= problem.device_memory_bytes[:, None] * _TOLERANCE)
        return np.concatenate([np.ones((problem.devices, 1), dtype=np.bool_), fits], axis=1)

    @cached_property
    def local_cost(self) -> FloatArray:
        """(N, 1 + V, 2^C) contribution to the objective of what is not sent, and of access."""
        problem = self.problem
        missing = np.where(self.accessible, 0.0, problem.inaccessible_weight / problem.devices)
        return self._kept(problem.query_share, self.local.cost) + missing[:, :, None]

    @cached_property
    def local_use(self) -> dict[str, FloatArray]:
        """(N, 1 + V, 2^C) contribution to every mean of the fleet, by `FLEET`."""
        problem, share = self.problem, self.problem.query_share
        shape = self.local_cost.shape
        missing = np.where(self.accessible, 0.0, 1.0 / problem.devices)[:, :, None]
        return {
            "energy_limit_j": self._kept(share, self.local.energy_j),
            "hallucination_limit": self._kept(share, self.local.hallucination),
            "error_limit": self._kept(share, 1.0 - self.local.accuracy),
            "inaccessible_limit": np.broadcast_to(missing, shape),
        }

    @cached_property
    def sent_load(self) -> FloatArray:
        """(N, S, 2^C) share of the time of a server that the queries sent take."""
        return self._sent(self.problem.query_rate_per_s, self.problem.busy_s[None])

    @cached_property
    def sent_airtime(self) -> FloatArray:
        """(N, S, 2^C) share of the time of a cell that they take."""
        return self._sent(self.problem.query_rate_per_s, self.sent.airtime_s)

    @cached_property
    def sent_allowed(self) -> BoolArray:
        """(N, S, 2^C) what may be sent to a server by a device that is alone; the empty set is not sent anywhere."""
        problem = self.problem
        bad = np.logical_or.reduce(list(self.sent_out.values()))
        failing = (bad[:, :, None, :] & self.masks[None, None]).any(axis=3)
        alone = self.sent_load <= problem.load_limit[:, None] * _TOLERANCE
        if problem.airtime_limit is not None:
            alone &= self.sent_airtime <= problem.airtime_limit[:, None] * _TOLERANCE
        something = np.arange(2**problem.classes) > 0
        return np.asarray(~failing & self.asked[:, None, :] & alone & something)

    @cached_property
    def sent_cost(self) -> FloatArray:
        """(N, S, 2^C) contribution to the objective of what is sent, without queues; inf out of reach."""
        return self._sent(self.problem.query_share, self.sent.cost)

    @cached_property
    def sent_use(self) -> dict[str, FloatArray]:
        """(N, S, 2^C) contribution to every mean of the fleet, by `FLEET`."""
        share = self.problem.query_share
        return {
            "energy_limit_j": self._sent(share, self.sent.energy_j),
            "hallucination_limit": self._sent(share, self.sent.hallucination),
            "error_limit": self._sent(share, 1.0 - self.sent.accuracy),
            "inaccessible_limit": np.zeros(self.sent_cost.shape),
        }

    @cached_property
    def possible(self) -> BoolArray:
        """(N, 2^C) sets that a device can send, with some variant and some server, if it were alone."""
        nowhere = np.arange(2**self.problem.classes) == 0
        return np.asarray(self.local_allowed.any(axis=1) & (self.sent_allowed.any(axis=1) | nowhere))

    def _kept(self, weight: FloatArray, amount: FloatArray) -> FloatArray:
        """(N, 1 + V, 2^C) weighted sums of amounts (N, V, C) over the classes that stay; nothing installed: 0."""
        problem = self.problem
        result = np.zeros((problem.devices, 1 + problem.variants, self.masks.shape[0]))
        for c in range(problem.classes):
            result[:, 1:, ~self.masks[:, c]] += _weighted(weight[:, None, c], amount[:, :, c])[:, :, None]
        return result

    def _sent(self, weight: FloatArray, amount: FloatArray) -> FloatArray:
        """(N, S, 2^C) weighted sums of amounts (N, S, C) over the classes that are sent."""
        problem = self.problem
        result = np.zeros((problem.devices, problem.servers, self.masks.shape[0]))
        for c in range(problem.classes):
            result[:, :, self.masks[:, c]] += _weighted(weight[:, None, c], amount[:, :, c])[:, :, None]
        return result


def _weighted(weight: FloatArray, amount: FloatArray) -> FloatArray:
    """A product in which a class that is never asked costs nothing, whatever an answer would take."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(weight > 0.0, weight * amount, 0.0))
