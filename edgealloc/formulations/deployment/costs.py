"""What a query costs, answered on the device or at a server: the one definition, for rollouts and for tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["QueryCosts", "local_costs", "queueing", "queueing_slope", "sent_costs"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BITS_PER_BYTE = 8.0


@dataclass(frozen=True, eq=False)
class QueryCosts:
    """Costs of one query, arrays of one shape; without the queue of a server.

    Attributes
    ----------
    network_s, answer_s : ndarray
        inf where a rate is 0 and something must be sent.
    device_energy_j, server_energy_j : ndarray
    accuracy, hallucination : ndarray
    airtime_s : ndarray
        Transmission, both ways; 0 on the device.
    cost : ndarray
        What the query adds to the objective, per query.
    """

    network_s: FloatArray
    answer_s: FloatArray
    device_energy_j: FloatArray
    server_energy_j: FloatArray
    accuracy: FloatArray
    hallucination: FloatArray
    airtime_s: FloatArray
    cost: FloatArray

    @property
    def energy_j(self) -> FloatArray:
        """On the device and at the server."""
        return np.asarray(self.device_energy_j + self.server_energy_j)


def local_costs(problem: Deployment, device: IntArray, variant: IntArray, query: IntArray) -> QueryCosts:
    """Costs of queries of a class that a variant on the device answers; the indices broadcast."""
    answer = problem.local_delay_s[device, variant, query]
    energy = problem.local_energy_j[device, variant, query]
    accuracy = np.broadcast_to(problem.accuracy[variant, query], answer.shape)
    hallucination = np.broadcast_to(problem.hallucination[variant, query], answer.shape)
    nothing = np.zeros(answer.shape)
    return QueryCosts(nothing, answer, energy, nothing, accuracy, hallucination, nothing,
                      _cost(problem, answer, energy, accuracy, hallucination))


def sent_costs(problem: Deployment, device: IntArray, server: IntArray, query: IntArray) -> QueryCosts:
    r"""Costs of queries of a class that a server answers, as if it were idle; the indices broadcast.

    .. math::

        t = \mathrm{rtt} + 8\,\mathrm{prompt}/R^\uparrow + 8\,\mathrm{answer}/R^\downarrow + \mathrm{service},
        \qquad e = P_{tx} \cdot 8\,\mathrm{prompt}/R^\uparrow + e_s .
    """
    shape = np.broadcast(device, server, query).shape
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        up = _sending(problem.prompt_bytes[query], problem.uplink_bps[device, server], shape)
        down = _sending(problem.answer_bytes[query], problem.downlink_bps[device, server], shape)
        radio = problem.transmit_power_w[device]
        # out of reach is out of reach, even for messages without a byte
        there = (problem.uplink_bps[device, server] > 0.0) & (problem.downlink_bps[device, server] > 0.0)
        network = np.where(there, up + down + problem.round_trip_s[device, server], np.inf)
        sending = np.where(radio > 0.0, radio * up, 0.0)
    answer = np.broadcast_to(problem.service_s[server, query], shape)
    at_server = np.broadcast_to(problem.server_energy_j[server, query], shape)
    accuracy = np.broadcast_to(problem.server_accuracy[server, query], shape)
    hallucination = np.broadcast_to(problem.server_hallucination[server, query], shape)
    return QueryCosts(network, answer, sending, at_server, accuracy, hallucination, up + down,
                      _cost(problem, network + answer, sending + at_server, accuracy, hallucination))


def queueing(load: FloatArray) -> FloatArray:
    r"""Delay that a server's queries add to each other, in seconds per second: :math:`\rho^2/(1-\rho)`; inf from 1 on.

    A server shares its time between the queries that are there (M/G/1 processor sharing: the mean stay depends on the
    distribution of the work only through its mean [Kleinrock 1976, section 4.4]), so that a query of `busy` seconds
    waits :math:`\mathrm{busy} \cdot \rho/(1-\rho)` longer than alone. With :math:`\rho = \sum \mathrm{rate} \cdot
    \mathrm{busy}` the sum over all queries is :math:`\rho^2/(1-\rho)`, whatever their classes: convex in the load.
    """
    with np.errstate(divide="ignore"):
        return np.where(load < 1.0, load**2 / np.where(load < 1.0, 1.0 - load, 1.0), np.inf)


def queueing_slope(load: FloatArray) -> FloatArray:
    r"""Derivative of `queueing` by the load: :math:`\rho (2 - \rho)/(1-\rho)^2`."""
    return np.where(load < 1.0, load * (2.0 - load) / np.where(load < 1.0, 1.0 - load, 1.0) ** 2, np.inf)


def _sending(amount: FloatArray, rate: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    bits = np.broadcast_to(_BITS_PER_BYTE * amount, shape)
    return np.where(bits > 0.0, bits / rate, 0.0)


def _cost(
    problem: Deployment, delay: FloatArray, energy: FloatArray, accuracy: FloatArray, hallucination: FloatArray
) -> FloatArray:
    """Weighted sum; a weight of 0 makes nothing of an infinite amount."""
    per_second, per_joule = problem.delay_weight, problem.energy_weight
    total = problem.hallucination_weight * hallucination + problem.error_weight * (1.0 - accuracy)
    for weight, amount in ((per_second, delay), (per_joule, energy)):
        if weight > 0.0:
            total = total + weight * amount
    return np.asarray(total)
