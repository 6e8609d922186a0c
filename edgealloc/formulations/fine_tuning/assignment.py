"""What is decided in fine-tuning, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DEVICE", "Assignment", "FineTuningCosts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Place of a job that is trained on its own device; servers are 0, 1, ...
DEVICE = -1


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which method trains every job, and where.

    Attributes
    ----------
    method : (N,) of int
        k_i, index into the methods of the problem.
    place : (N,) of int
        p_i: -1 for the job's own device, otherwise a server.
    """

    method: IntArray
    place: IntArray


@dataclass(frozen=True, eq=False)
class FineTuningCosts:
    """Costs per job, arrays (N,), use of the servers, arrays (S,), and totals.

    Attributes
    ----------
    objective : float
        ``sum of w_t T_i + w_e E_i + w_q (1 - q_i)``.
    compute_s, upload_s, download_s : (N,)
        Parts of the time to the target: computing; data, or the updates of a federation, on their way up; results, or
        the model of a federation, on their way down.
    time_s : (N,)
        Their sum.
    device_energy_j, server_energy_j : (N,)
        What the device draws for computing and sending, and what the server draws for computing.
    quality : (N,)
        q_i, quality that the method reaches.
    memory_bytes : (N,)
        Memory that the job takes where it is trained.
    server_memory_bytes, server_busy_s, airtime_s : (S,)
        Memory in use, seconds of computing and seconds of transmission at every server.
    on_device : float
        Share of the jobs that are trained on their devices.
    """

    objective: float
    compute_s: FloatArray
    upload_s: FloatArray
    download_s: FloatArray
    device_energy_j: FloatArray
    server_energy_j: FloatArray
    quality: FloatArray
    memory_bytes: FloatArray
    server_memory_bytes: FloatArray
    server_busy_s: FloatArray
    airtime_s: FloatArray
    on_device: float

    @property
    def time_s(self) -> FloatArray:
        """Time to the target of every job."""
        return np.asarray(self.compute_s + self.upload_s + self.download_s)

    @property
    def energy_j(self) -> FloatArray:
        """Energy of every job, on the device and at the server."""
        return np.asarray(self.device_energy_j + self.server_energy_j)

    @property
    def total_energy_j(self) -> float:
        """Energy of all jobs."""
        return float(self.energy_j.sum())

    @property
    def mean_delay_s(self) -> float:
        """Average time to the target."""
        return float(self.time_s.mean())

    @property
    def mean_quality(self) -> float:
        """Average quality."""
        return float(self.quality.mean())
