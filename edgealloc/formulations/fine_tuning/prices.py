"""What more of a speed or a rate would be worth, as jobs are assigned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.fine_tuning.assignment import DEVICE, Assignment
from edgealloc.formulations.fine_tuning.costs import option_costs

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["marginal_prices"]

FloatArray = npt.NDArray[np.float64]


def marginal_prices(problem: FineTuning, allocation: Assignment) -> dict[str, FloatArray]:
    r"""Objective saved per unit: minus the derivative of the objective by a speed or a rate, at the same assignment.

    Time and energy of computing fall as :math:`1/C`, those of an upload as :math:`1/R`, so that a job that computes
    for t seconds saves :math:`(w_t + w_e P)\, t / C` per FLOP/s.

    Returns
    -------
    dict
        "device_flops_per_s" (N,), "server_flops_per_s" (S,), "uplink_bps" and "downlink_bps" (N,): of the server that
        the job uses.
    """
    chosen = problem.check_allocation(allocation)
    jobs, place = np.arange(problem.jobs), chosen.place
    costs = option_costs(problem, jobs, chosen.method, place)
    per_second = problem.weights.effective("delay", problem.jobs)
    per_joule = problem.weights.effective("energy", problem.jobs)
    own = place == DEVICE
    device = (per_second + per_joule * problem.device_power_w) * costs.compute_s / problem.device_flops_per_s
    server: FloatArray = np.zeros(problem.servers)
    up, down = np.zeros(problem.jobs), np.zeros(problem.jobs)
    if problem.servers:
        at = np.where(own, 0, place)
        saved = (per_second + per_joule * problem.server_power_w[at]) * costs.compute_s / problem.server_flops_per_s[at]
        np.add.at(server, place[~own], saved[~own])
        cell = np.maximum(np.where(own, problem.home_cell, place), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            sending = (per_second + per_joule * problem.transmit_power_w) * costs.upload_s
            up = np.where(costs.upload_s > 0.0, sending / problem.uplink_bps[jobs, cell], 0.0)
            taking = per_second * costs.download_s
            down = np.where(costs.download_s > 0.0, taking / problem.downlink_bps[jobs, cell], 0.0)
    return {"device_flops_per_s": np.where(own, device, 0.0), "server_flops_per_s": server,
            "uplink_bps": up, "downlink_bps": down}
