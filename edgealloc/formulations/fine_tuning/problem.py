"""FineTuning: which method fine-tunes every job, and where (Dong et al., arXiv 2408.10691)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Constraint, Diagnosis
from edgealloc.core.links import resolve
from edgealloc.core.method import Method
from edgealloc.core.problem import Problem
from edgealloc.core.solution import Explanation, Solution
from edgealloc.core.tables import Column
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, Fault
from edgealloc.formulations.fine_tuning.assignment import DEVICE, Assignment, FineTuningCosts
from edgealloc.formulations.fine_tuning.costs import OptionCosts, option_costs
from edgealloc.formulations.fine_tuning.methods import METHODS
from edgealloc.formulations.fine_tuning.options import Options
from edgealloc.formulations.fine_tuning.validate import checked_fields
from edgealloc.units import format_count

__all__ = ["FineTuning"]

_HERE: Final = "edgealloc.formulations.fine_tuning"

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class FineTuning(Problem[Assignment, FineTuningCosts]):
    r"""Fine-tuning jobs x methods x places (Dong et al. 2024, arXiv 2408.10691; mathematics ours).

    N jobs (a user's device, a model, data, a quality to reach) choose one of K fine-tuning methods each, and a place:
    the job's own device or one of S servers:

    .. math::

        \min \sum_i w_t T_i + w_e E_i + w_q (1 - q_i)
        \quad \text{s.t.} \quad M_{i k_i} \le \mathrm{Mem}_i \text{ or } \sum_{i: p_i = s} M_{i k_i} \le \mathrm{Mem}_s,

    seconds of computing and of transmission of every server, and every job's quality floor, deadline and battery. What
    an option costs is in `costs.option_costs`; `FIELDS` in `validate` is the symbol table. Arrays are copied and
    read-only; a number stands for every entry, and an array (K,) for every job.

    Parameters
    ----------
    device_flops_per_s, device_memory_bytes, device_power_w, transmit_power_w : (N,)
        The device of every job: effective rate (FLOP/s), memory for training (B), power while it computes and power
        while it sends (W).
    data_bytes : (N,)
        Training data, sent to a server that trains the job.
    rounds : (N,)
        Rounds of a federation that a job takes part in if it is trained on its device; 0: none. Its messages go through
        the server with the fastest uplink, the job's home cell.
    quality_floor, quality_weight : (N,)
        Least quality, and objective per unit of quality lost.
    deadline_s, energy_limit_j : (N,), optional
        Longest time to the target; most energy that the device itself may draw. inf: no limit.
    memory_bytes, work_flops : (N, K)
        Peak memory of training, and work to the target, all steps together.
    message_bytes, result_bytes : (N, K)
        Update that a federation sends up, and down, per round; what a server returns at the end.
    quality : (N, K)
        In [0, 1]; 0 where nothing is known.
    on_device, on_server : (N, K) of bool
        Where a method can run at all.
    server_flops_per_s, server_power_w : (S,)
        What a server gives to one job, and its power meanwhile.
    server_memory_bytes, server_busy_s, airtime_s : (S,), optional
        Memory for all jobs of a server together; seconds of computing (slots x horizon) and of transmission in its
        cell. inf: no limit.
    uplink_bps, downlink_bps : (N, S)
        Rates; 0: out of reach.
    weights : Weights
        Of the time (1/s) and the energy (1/J) of every job; stability is not used.
    job_names, method_names, server_names, source : optional

    Raises
    ------
    DataError
        With every fault of the input at once. Feasibility is not judged here: `solve` does, with a diagnosis.
    """

    device_flops_per_s: Any
    device_memory_bytes: Any
    device_power_w: Any
    transmit_power_w: Any = 0.0
    data_bytes: Any = 0.0
    rounds: Any = 0
    quality_floor: Any = 0.0
    quality_weight: Any = 0.0
    deadline_s: Any = None
    energy_limit_j: Any = None
    memory_bytes: Any
    work_flops: Any
    message_bytes: Any = 0.0
    result_bytes: Any = 0.0
    quality: Any = 0.0
    on_device: Any = True
    on_server: Any = True
    server_flops_per_s: Any = ()
    server_power_w: Any = 0.0
    server_memory_bytes: Any = None
    server_busy_s: Any = None
    airtime_s: Any = None
    uplink_bps: Any = 0.0
    downlink_bps: Any = 0.0
    weights: Weights = dataclasses.field(default_factory=lambda: Weights(1.0, 0.0, 0.0))
    job_names: Any = None
    method_names: Any = None
    server_names: Any = None
    source: str = ""

    kind: ClassVar[str] = "fine-tuning"
    METHODS: ClassVar[tuple[Method, ...]] = METHODS
    CONSTRAINTS: ClassVar[tuple[Constraint, ...]] = (
        Constraint("device_memory_bytes", "M_ik <= Mem_i on the device", "B"),
        Constraint("quality_floor", "q_ik >= q_min", "1"),
        Constraint("deadline_s", "T_i <= T_max", "s"),
        Constraint("energy_limit_j", "energy of the device <= E_max", "J"),
        Constraint("server_memory_bytes", "sum of M_ik over the jobs of s <= Mem_s", "B", priced=True),
        Constraint("server_busy_s", "sum of W_ik/C_s over the jobs of s <= its seconds", "s", priced=True),
        Constraint("airtime_s", "sum of transmissions in the cell of s <= its seconds", "s", priced=True),
    )
    PLOTS: ClassVar[tuple[str, ...]] = ("placement", "quality", "load")
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mean_delay_s", "mean time s", "mean time to the target [s]"),
        Column("total_energy_j", "energy J", "total energy [J]"),
        Column("mean_quality", "quality", "mean quality"),
        Column("on_device", "on device", "share of jobs on devices", ".1%"),
    )
    TABLES: ClassVar[tuple[str, str]] = ("jobs", "servers")
    ANSWERS: ClassVar[str] = "which method trains every job, and where"

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in checked_fields(given).items():
            object.__setattr__(self, name, value)

    # ---- sizes and derived data -----------------------------------------------------------------------------------

    @property
    def jobs(self) -> int:
        """N."""
        return int(self.device_flops_per_s.shape[0])

    @property
    def tunings(self) -> int:
        """K, fine-tuning methods."""
        return int(self.memory_bytes.shape[1])

    @property
    def servers(self) -> int:
        """S."""
        return int(self.server_flops_per_s.shape[0])

    @cached_property
    def home_cell(self) -> IntArray:
        """(N,) server with the fastest uplink, the first of equals; -1 where none is in reach."""
        if self.servers == 0:
            return np.full(self.jobs, -1, dtype=np.int64)
        home = self.uplink_bps.argmax(axis=1)
        return np.where(self.uplink_bps.max(axis=1) > 0.0, home, -1).astype(np.int64)

    @cached_property
    def options(self) -> Options:
        """Every option of every job, with its costs and whether it is allowed."""
        return Options(self)

    def job_label(self, i: int) -> str:
        """ "job 3 (alice)".

        Parameters
        ----------
        i : int
            Number of the job.
        """
        own = self.job_names[i]
        return own if own == f"job {i}" else f"job {i} ({own})"

    # ---- the definition of the objective --------------------------------------------------------------------------

    def _chosen(self, allocation: Assignment) -> OptionCosts:
        return option_costs(self, np.arange(self.jobs), allocation.method, allocation.place)

    def evaluate(self, allocation: Assignment) -> FineTuningCosts:
        """Costs of an assignment.

        Parameters
        ----------
        allocation : Assignment
            Need not keep the limits.

        Returns
        -------
        FineTuningCosts
        """
        chosen = self.check_allocation(allocation)
        costs = self._chosen(chosen)
        jobs, place = np.arange(self.jobs), chosen.place
        memory = self.memory_bytes[jobs, chosen.method]
        cell = np.where(place >= 0, place, self.home_cell)
        return FineTuningCosts(
            objective=float(costs.cost.sum()),
            compute_s=costs.compute_s, upload_s=costs.upload_s, download_s=costs.download_s,
            device_energy_j=costs.device_energy_j, server_energy_j=costs.server_energy_j,
            quality=self.quality[jobs, chosen.method], memory_bytes=memory,
            server_memory_bytes=self._summed(place, memory), server_busy_s=self._summed(place, costs.compute_s),
            airtime_s=self._summed(cell, costs.upload_s + costs.download_s),
            on_device=float((place == DEVICE).mean()),
        )

    def _summed(self, server: IntArray, amount: FloatArray) -> FloatArray:
        """(S,) sums of what the jobs of every server use; -1 is no server."""
        there = server >= 0
        total = np.bincount(server[there], weights=amount[there], minlength=self.servers)
        return np.asarray(total, dtype=np.float64)

    # ---- limits ---------------------------------------------------------------------------------------------------

    def _excess(self, allocation: Assignment) -> dict[str, tuple[FloatArray, FloatArray]]:
        """What exceeds every limit, and the limit: by job or by server."""
        chosen = self.check_allocation(allocation)
        costs = self.evaluate(chosen)
        own = chosen.place == DEVICE
        limits: dict[str, tuple[FloatArray, Any]] = {
            "device_memory_bytes": (np.where(own, costs.memory_bytes, 0.0), self.device_memory_bytes),
            "deadline_s": (costs.time_s, self.deadline_s),
            "energy_limit_j": (costs.device_energy_j, self.energy_limit_j),
            "server_memory_bytes": (costs.server_memory_bytes, self.server_memory_bytes),
            "server_busy_s": (costs.server_busy_s, self.server_busy_s),
            "airtime_s": (costs.airtime_s, self.airtime_s),
        }
        result: dict[str, tuple[FloatArray, FloatArray]] = {}
        for name in (one.name for one in self.CONSTRAINTS):
            if name == "quality_floor":
                # shares of 1: relative to 1, so that a floor of 0 is no special case
                result[name] = (np.maximum(self.quality_floor - costs.quality, 0.0), np.ones(self.jobs))
                continue
            amount, limit = limits[name]
            limit = np.full(amount.shape, np.inf) if limit is None else limit
            result[name] = (np.where(amount > limit, amount - np.minimum(limit, amount), 0.0), limit)
        return result

    def violations(self, allocation: Assignment) -> dict[str, float]:
        """Worst violation of every limit in its SI unit, 0 where it holds."""
        return {name: float(excess.max(initial=0.0)) for name, (excess, _) in self._excess(allocation).items()}

    def relative_violation(self, allocation: Assignment) -> float:
        """Worst violation over all limits, each relative to its limit; bytes where there is no memory count whole."""
        worst = 0.0
        for name, (excess, limit) in self._excess(allocation).items():
            smallest = 1.0 if name.endswith("bytes") else 1e-300
            broken = excess > 0.0
            worst = max(worst, float((excess[broken] / np.maximum(limit[broken], smallest)).max(initial=0.0)))
        return worst

    def diagnose(self) -> Diagnosis | None:
        """Jobs that no option fits even if they are alone, and what would mend it; None if there are none."""
        found: Diagnosis | None = resolve(f"{_HERE}.feasibility:diagnose")(self)
        return found

    def check_allocation(self, allocation: Assignment) -> Assignment:
        """The assignment with integer arrays, or a DataError that says what is wrong with it.

        Raises
        ------
        DataError
            Wrong shape, an unknown method or place, a method where it cannot run, a server out of reach.
        """
        if not isinstance(allocation, Assignment):
            raise DataError(f"an edgealloc.Assignment is needed, not a {type(allocation).__name__}")
        faults: list[Fault] = []
        parts = {}
        for name, low, high in (("method", 0, self.tunings - 1), ("place", DEVICE, self.servers - 1)):
            value = np.asarray(getattr(allocation, name))
            if value.shape != (self.jobs,) or value.dtype.kind not in "iu":
                faults.append(Fault(name, f"has shape {value.shape} and type {value.dtype}; give whole numbers, one "
                                          f"for each of {self.jobs} jobs"))
                continue
            bad = np.flatnonzero((value < low) | (value > high))
            if bad.size:
                faults.append(Fault(f"{name}[{bad[0]}]", f"is {value[bad[0]]}; it must be in [{low}, {high}]"))
            parts[name] = value.astype(np.int64)
        if faults:
            raise DataError(faults, "Assignment")
        chosen = Assignment(parts["method"], parts["place"])
        jobs = np.arange(self.jobs)
        may = np.where(chosen.place == DEVICE, self.on_device[jobs, chosen.method], self.on_server[jobs, chosen.method])
        costs = self._chosen(chosen)
        for i in np.flatnonzero(~may):
            where = "on devices" if chosen.place[i] == DEVICE else "on servers"
            name = self.method_names[chosen.method[i]]
            faults.append(Fault(f"method[{i}]", f"is {name}, which {self.job_label(int(i))} cannot run {where}"))
        for i in np.flatnonzero(may & ~np.isfinite(costs.upload_s + costs.download_s)):
            there = "its federation" if chosen.place[i] == DEVICE else self.server_names[chosen.place[i]]
            faults.append(Fault(f"place[{i}]", f"puts {self.job_label(int(i))} where it cannot reach {there}"))
        if faults:
            raise DataError(faults, "Assignment")
        return chosen

    # ---- prices, tables, pictures: their code lives beside, linked by name ----------------------------------------

    def prices(self, allocation: Assignment) -> dict[str, FloatArray]:
        """Objective saved per extra FLOP/s of every device and server and bit/s of every job's link, as assigned."""
        result: dict[str, FloatArray] = resolve(f"{_HERE}.prices:marginal_prices")(self, allocation)
        return result

    def agents_table(self, solution: Solution[Assignment, FineTuningCosts]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:jobs_table")(self, *solution.found())
        return result

    def servers_table(self, solution: Solution[Assignment, FineTuningCosts]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:servers_table")(self, solution)
        return result

    def sizes(self) -> Mapping[str, int]:
        return {"jobs": self.jobs, "methods": self.tunings, "servers": self.servers}

    def facts(self) -> list[str]:
        lines: list[str] = resolve(f"{_HERE}.views:facts")(self)
        return lines

    def summary_lines(self, solution: Solution[Assignment, FineTuningCosts]) -> list[str]:
        result: list[str] = resolve(f"{_HERE}.views:summary_lines")(self, solution)
        return result

    def explain(self, solution: Solution[Assignment, FineTuningCosts]) -> Explanation:
        result: Explanation = resolve(f"{_HERE}.explain:explain")(self, solution)
        return result

    def describe(self) -> str:
        """One line: sizes and what is modelled."""
        name = f" '{self.source}'" if self.source else ""
        limits = [text for text, there in (
            ("quality floors", bool((self.quality_floor > 0.0).any())),
            ("deadlines", bool(np.isfinite(self.deadline_s).any())),
            ("batteries", bool(np.isfinite(self.energy_limit_j).any())),
            ("federation", bool((self.rounds > 0).any())),
        ) if there]
        return (f"fine-tuning{name}: {format_count(self.jobs, 'job')}, {format_count(self.tunings, 'method')}, "
                f"{format_count(self.servers, 'server')}{'; ' if limits else ''}{', '.join(limits)}")

    def plot_solution(self, solution: Solution[Assignment, FineTuningCosts], what: str, ax: Any) -> Any:
        return resolve(f"{_HERE}.plots:plot")(self, solution, what, ax)
