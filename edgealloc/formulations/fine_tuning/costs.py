"""What a job costs under a method at a place: the one definition, for chosen options and for tables of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edgealloc.formulations.fine_tuning.problem import FineTuning

__all__ = ["OptionCosts", "option_costs"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BITS_PER_BYTE = 8.0


@dataclass(frozen=True, eq=False)
class OptionCosts:
    """Costs of options (job, method, place), arrays of the shape to which these broadcast.

    Attributes
    ----------
    compute_s, upload_s, download_s : ndarray
        inf where a rate is 0 and something must be sent.
    device_energy_j, server_energy_j : ndarray
    cost : ndarray
        What the option adds to the objective.
    """

    compute_s: FloatArray
    upload_s: FloatArray
    download_s: FloatArray
    device_energy_j: FloatArray
    server_energy_j: FloatArray
    cost: FloatArray

    @property
    def time_s(self) -> FloatArray:
        """Time to the target."""
        return np.asarray(self.compute_s + self.upload_s + self.download_s)


def option_costs(problem: FineTuning, job: IntArray, method: IntArray, place: IntArray) -> OptionCosts:
    r"""Costs of options.

    With W the FLOP to the target, :math:`R^\uparrow, R^\downarrow` the rates, and K rounds of a federation whose
    messages have m bytes:

    ==============  ============================================  ==========================================
    \               on the device (rate C, power P)               on server s (:math:`C_s`, :math:`P_s`)
    ==============  ============================================  ==========================================
    computing       :math:`W/C`                                   :math:`W/C_s`
    upload          :math:`8 K m/R^\uparrow`, in the home cell    :math:`8 \cdot \mathrm{data}/R^\uparrow_s`
    download        :math:`8 K m/R^\downarrow`, in the home cell  :math:`8 \cdot \mathrm{result}/R^\downarrow_s`
    device energy   :math:`P W/C + P_{tx} \cdot` upload           :math:`P_{tx} \cdot` upload
    server energy   0                                             :math:`P_s W/C_s`
    ==============  ============================================  ==========================================

    Parameters
    ----------
    problem : FineTuning
    job, method, place : int arrays
        They broadcast; place -1 is the device.
    """
    there = place >= 0
    cell = np.where(there, place, problem.home_cell[job])
    reached = cell >= 0
    server = np.where(reached, cell, 0)
    up, down, speed, power = (np.zeros(np.broadcast(job, method, place).shape) for _ in range(4))
    if problem.servers:
        up = np.where(reached, problem.uplink_bps[job, server], 0.0)
        down = np.where(reached, problem.downlink_bps[job, server], 0.0)
        speed = problem.server_flops_per_s[np.where(there, place, 0)]
        power = problem.server_power_w[np.where(there, place, 0)]
    messages = problem.rounds[job] * problem.message_bytes[job, method]
    sent = _BITS_PER_BYTE * np.where(there, problem.data_bytes[job], messages)
    taken = _BITS_PER_BYTE * np.where(there, problem.result_bytes[job, method], messages)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        compute = problem.work_flops[job, method] / np.where(there, speed, problem.device_flops_per_s[job])
        upload = np.where(sent > 0.0, sent / up, 0.0)
        download = np.where(taken > 0.0, taken / down, 0.0)
        radio = problem.transmit_power_w[job]
        device = np.where(there, 0.0, problem.device_power_w[job] * compute) + _weighted(radio, upload)
        at_server = np.where(there, power * compute, 0.0)
        cost = (
            _weighted(problem.weights.effective("delay", problem.jobs)[job], compute + upload + download)
            + _weighted(problem.weights.effective("energy", problem.jobs)[job], device + at_server)
            + problem.quality_weight[job] * (1.0 - problem.quality[job, method])
        )
    return OptionCosts(compute, upload, download, device, at_server, cost)


def _weighted(weight: FloatArray, amount: FloatArray) -> FloatArray:
    """A product in which a weight of 0 makes nothing of an infinite amount."""
    return np.asarray(np.where(weight > 0.0, weight * amount, 0.0))
