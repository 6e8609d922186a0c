"""What a faster server, a faster link or less load would be worth, as devices are equipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.deployment.costs import queueing_slope
from edgealloc.formulations.deployment.rollout import Rollout

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["marginal_prices"]

FloatArray = npt.NDArray[np.float64]

_BITS_PER_BYTE = 8.0


def marginal_prices(problem: Deployment, allocation: Rollout) -> dict[str, FloatArray]:
    r"""Objective saved per unit: minus the derivative of the objective at the same rollout.

    A server that is :math:`1 + \epsilon` times as fast divides `busy_s` and `service_s` by it. With the load
    :math:`\rho`, the delay :math:`f(\rho) = \rho^2/(1-\rho)` that queries add to each other, and the total rate
    :math:`\Lambda`, it saves

    .. math::

        \frac{w_t}{\Lambda} \left( \sum \lambda\, \mathrm{service} + \rho f'(\rho) \right) \epsilon .

    An upload of t seconds at a rate R saves :math:`(w_t + w_e P_{tx})\, t / R` per bit/s, a download
    :math:`w_t\, t / R`, times the share of the queries.

    Returns
    -------
    dict
        "server_speed" (S,): per relative speed-up; "server_load" (S,): per unit of load that is taken away from the
        server (its queue alone); "uplink_bps" and "downlink_bps" (N,): of the link that the device uses.
    """
    chosen = problem.check_allocation(allocation)
    none = np.zeros(problem.devices)
    if problem.servers == 0:
        return {"server_speed": np.zeros(0), "server_load": np.zeros(0), "uplink_bps": none, "downlink_bps": none}
    per_second, per_joule = problem.delay_weight, problem.energy_weight
    devices, at = np.arange(problem.devices), np.maximum(chosen.server, 0)
    rate = np.where(chosen.offload, problem.query_rate_per_s, 0.0)

    def at_servers(amount: FloatArray) -> FloatArray:
        total = np.bincount(at, weights=(rate * amount[at]).sum(axis=1), minlength=problem.servers)
        return np.asarray(total, dtype=np.float64)

    load, serving = at_servers(problem.busy_s), at_servers(problem.service_s)
    slope = queueing_slope(load)
    queue = load * slope
    share = rate / problem.total_rate_per_s

    def per_bps(size: FloatArray, table: FloatArray, worth: FloatArray | float) -> FloatArray:
        there = table[devices, at]
        bits = _BITS_PER_BYTE * (share * size).sum(axis=1)
        return np.asarray(np.divide(worth * bits, there**2, out=np.zeros(problem.devices), where=bits > 0.0))

    none = np.zeros(problem.servers)
    return {
        "server_speed": per_second * (serving + queue) / problem.total_rate_per_s if per_second > 0.0 else none,
        "server_load": per_second * slope / problem.total_rate_per_s if per_second > 0.0 else none,
        "uplink_bps": per_bps(problem.prompt_bytes, problem.uplink_bps,
                              per_second + per_joule * problem.transmit_power_w),
        "downlink_bps": per_bps(problem.answer_bytes, problem.downlink_bps, per_second),
    }
