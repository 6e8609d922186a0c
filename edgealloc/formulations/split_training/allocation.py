"""What is decided, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Allocation", "Costs"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Allocation:
    """Decisions for every user, each of shape (N,).

    Attributes
    ----------
    server : int array
        m_n, the server of user n; -1 if and only if the user trains every layer itself.
    local_layers : int array
        alpha_n, how many layers are trained on the device (the cut).
    power_w, bandwidth_hz, user_frequency_hz, server_frequency_hz : float array
        p_n, b_n, f_n and F_n. Power, bandwidth and server clock are 0 and ignored where `server` is -1.
    """

    server: IntArray
    local_layers: IntArray
    power_w: FloatArray
    bandwidth_hz: FloatArray
    user_frequency_hz: FloatArray
    server_frequency_hz: FloatArray


@dataclass(frozen=True, eq=False)
class Costs:
    """Costs per user, arrays (N,), and their totals.

    Attributes
    ----------
    device_delay_s, upload_delay_s, server_delay_s, fixed_delay_s : array
        Parts of the delay; the upload is given here whether or not it counts.
    delay_s : array
        What the objective counts: with the upload only if `count_upload_delay`.
    device_energy_j, upload_energy_j, server_energy_j, idle_energy_j : array
        Parts of the energy.
    energy_j : array
    instability : array
        Average-replace-one stability AS of the fine-tuned part.
    lateness_s : array
        Time beyond the deadline, upload always counted; 0 where there is no deadline.
    user_objective : array
        Weighted sum per user, with the penalty of a soft deadline; without the delay where only the longest counts.
    round_objective : float
        Weight times the longest delay if ``delay="max"``, else 0.
    """

    device_delay_s: FloatArray
    upload_delay_s: FloatArray
    server_delay_s: FloatArray
    fixed_delay_s: FloatArray
    delay_s: FloatArray
    device_energy_j: FloatArray
    upload_energy_j: FloatArray
    server_energy_j: FloatArray
    idle_energy_j: FloatArray
    energy_j: FloatArray
    instability: FloatArray
    lateness_s: FloatArray
    user_objective: FloatArray
    round_objective: float = 0.0

    @property
    def objective(self) -> float:
        """Sum of `user_objective`, plus `round_objective`."""
        return float(self.user_objective.sum()) + self.round_objective

    @property
    def response_s(self) -> FloatArray:
        """What a deadline limits (N,): device, upload, server and fixed delay together."""
        return np.asarray(self.device_delay_s + self.upload_delay_s + self.server_delay_s + self.fixed_delay_s)

    @property
    def total_energy_j(self) -> float:
        """Energy of all users together, servers included."""
        return float(self.energy_j.sum())

    @property
    def mean_delay_s(self) -> float:
        """Average delay of a user."""
        return float(self.delay_s.mean())
