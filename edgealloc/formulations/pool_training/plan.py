"""What is decided in pool training, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["JOULES_PER_KWH", "PARALLELISMS", "Plan", "PoolCosts"]

FloatArray = npt.NDArray[np.float64]

#: In the order of the paper's section III.
PARALLELISMS: Final = ("single", "data", "sequence", "tensor", "pipeline", "hybrid")
JOULES_PER_KWH: Final = 3.6e6


@dataclass(frozen=True)
class Plan:
    """Who trains what.

    Attributes
    ----------
    parallelism : str
        "single", "data", "sequence", "tensor", "pipeline" or "hybrid".
    stages : tuple of tuple of int
        Devices of every stage, in the order of the layers; within a stage in the order of their ring. Only pipeline
        and hybrid plans have more than one.
    layers : tuple of int
        Layers of every stage, each >= 1, in all those of the model.
    shares : tuple of tuple of int
        Units of work of every device, each >= 1: samples of the batch (single, data), tokens (sequence), attention
        heads (tensor) or samples of a micro-batch (pipeline, hybrid); they sum to the whole in every stage.

    Examples
    --------
    >>> Plan("pipeline", ((2,), (0,)), (9, 7), ((4,), (4,))).devices
    (2, 0)
    """

    parallelism: str
    stages: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]
    shares: tuple[tuple[int, ...], ...]

    @property
    def devices(self) -> tuple[int, ...]:
        """Everybody who takes part, in the order of the stages."""
        return tuple(device for stage in self.stages for device in stage)

    @property
    def first_layers(self) -> tuple[int, ...]:
        """First layer of every stage, and the number of layers at the end."""
        starts = [0]
        for count in self.layers:
            starts.append(starts[-1] + count)
        return tuple(starts)


@dataclass(frozen=True, eq=False)
class PoolCosts:
    """Costs of one training iteration under a plan.

    Attributes
    ----------
    objective : float
        ``w_t T + w_e E`` with the effective weights of the problem.
    time_s, energy_j : float
        Of an iteration, by the schedule.
    compute_energy_j, idle_energy_j, network_energy_j : float
        Parts of the energy: participants computing, participants waiting, bytes on links.
    busy_s, memory_bytes, sent_bytes : (D,)
        Computing time, peak memory and bytes sent of every device; 0 for those that do not take part.
    link_bytes : (L,)
        Bytes over every link.
    estimate_s : float
        The textbook closed formula of the parallelism; an estimate only.
    bound_s : float
        What the time cannot be below for this plan, by the bound of its parallelism.
    samples : int
        Samples of an iteration.
    """

    objective: float
    time_s: float
    energy_j: float
    compute_energy_j: float
    idle_energy_j: float
    network_energy_j: float
    busy_s: FloatArray
    memory_bytes: FloatArray
    sent_bytes: FloatArray
    link_bytes: FloatArray
    estimate_s: float
    bound_s: float
    samples: int

    @property
    def time_per_sample_s(self) -> float:
        """Seconds per training sample."""
        return self.time_s / self.samples

    @property
    def energy_per_sample_j(self) -> float:
        """Joules per training sample."""
        return self.energy_j / self.samples

    def co2_g(self, carbon_g_per_kwh: float) -> float:
        """Grams of CO2-equivalent of an iteration at a carbon intensity of the electricity (g/kWh).

        Parameters
        ----------
        carbon_g_per_kwh : float
            Carbon intensity in g CO2 per kWh.
        """
        return self.energy_j / JOULES_PER_KWH * carbon_g_per_kwh
