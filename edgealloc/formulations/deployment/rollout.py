"""What is decided in deployment, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NONE", "DeploymentCosts", "Rollout"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: No variant is installed; nothing is offloaded to any server.
NONE = -1


@dataclass(frozen=True, eq=False)
class Rollout:
    """Which variant every device gets, and which classes of queries it sends to which server.

    Attributes
    ----------
    variant : (N,) of int
        Index into the variants of the problem; -1: nothing is installed.
    server : (N,) of int
        Who answers what is offloaded; -1 for a device that offloads nothing.
    offload : (N, C) of bool
        Classes that are sent to the server; False for classes that a device is never asked.
    """

    variant: IntArray
    server: IntArray
    offload: BoolArray


@dataclass(frozen=True, eq=False)
class DeploymentCosts:
    """Costs per query, arrays (N, C), 0 for classes that are never asked; loads of devices (N,) and servers (S,).

    Attributes
    ----------
    objective : float
        ``mean over queries of (w_t t + w_e e + w_h h + w_a (1 - a)) + w_x (share of devices without access)``.
    network_s, answer_s, queue_s : (N, C)
        Parts of the delay: messages and round trip; answering, on the device or on an idle server; what other queries
        of a busy server add.
    device_energy_j, server_energy_j : (N, C)
        What a query draws from the device (answering, or sending) and at the server.
    answer_accuracy, answer_hallucination : (N, C)
        Of whoever answers.
    share : (N, C)
        Share of the fleet's queries; they add up to 1.
    offloaded : (N, C) of bool
    accessible : (N,) of bool
        Devices with a variant that is fast enough to use.
    memory_bytes : (N,)
        Of the variant that is installed.
    device_load : (N,)
        Share of the time that a device is busy with its own answers.
    server_load, airtime : (S,)
        Share of the time that a server is busy, and that its cell transmits.
    """

    objective: float
    network_s: FloatArray
    answer_s: FloatArray
    queue_s: FloatArray
    device_energy_j: FloatArray
    server_energy_j: FloatArray
    answer_accuracy: FloatArray
    answer_hallucination: FloatArray
    share: FloatArray
    offloaded: BoolArray
    accessible: BoolArray
    memory_bytes: FloatArray
    device_load: FloatArray
    server_load: FloatArray
    airtime: FloatArray

    @property
    def delay_s(self) -> FloatArray:
        """(N, C) time to the end of an answer."""
        return np.asarray(self.network_s + self.answer_s + self.queue_s)

    @property
    def energy_j(self) -> FloatArray:
        """(N, C) energy of a query, on the device and at the server."""
        return np.asarray(self.device_energy_j + self.server_energy_j)

    def _mean(self, amount: FloatArray) -> float:
        # a class that is never asked weighs nothing, even where its delay would be endless
        return float(np.where(self.share > 0.0, self.share * amount, 0.0).sum())

    @property
    def mean_delay_s(self) -> float:
        """Delay of the average query."""
        return self._mean(self.delay_s)

    @property
    def mean_energy_j(self) -> float:
        """Energy of the average query."""
        return self._mean(self.energy_j)

    @property
    def accuracy(self) -> float:
        """Accuracy of the average answer."""
        return self._mean(self.answer_accuracy)

    @property
    def error(self) -> float:
        """Share of wrong answers: 1 - accuracy, exactly 0 where everything is right."""
        return self._mean(1.0 - self.answer_accuracy)

    @property
    def hallucination(self) -> float:
        """Hallucination rate of the average answer."""
        return self._mean(self.answer_hallucination)

    @property
    def accessibility(self) -> float:
        """Share of the devices that run a variant at a usable speed."""
        return float(self.accessible.mean())

    @property
    def inaccessible(self) -> float:
        """Share of the devices that do not."""
        return float((~self.accessible).mean())

    @property
    def offloaded_share(self) -> float:
        """Share of the queries that a server answers."""
        return self._mean(self.offloaded.astype(np.float64))
