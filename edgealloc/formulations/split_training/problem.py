"""SplitTraining: the joint choice of server, cut, power, bandwidth and clocks of Liu & Zhao (arXiv 2409.20247)."""

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
from edgealloc.formulations.split_training.allocation import Allocation, Costs
from edgealloc.formulations.split_training.limits import (
    CONSTRAINTS,
    AllowedCuts,
    allowed_cuts,
    diagnose,
    excesses,
    too_late,
)
from edgealloc.formulations.split_training.methods import METHODS
from edgealloc.formulations.split_training.validate import checked_fields
from edgealloc.system.stability import Stability
from edgealloc.units import format_count

__all__ = ["SplitTraining"]

_HERE: Final = "edgealloc.formulations.split_training"

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitTraining(Problem[Allocation, Costs]):
    r"""Split fine-tuning of a transformer between N users and M edge servers.

    User n trains layers 1..alpha_n on its device, uploads the cut-layer activations to server m_n, and the server
    trains the remaining layers and the head (Liu & Zhao, MobiHoc 2024, arXiv 2409.20247, problem P1, with the upload
    delay, the head, <= instead of =, and time-shared servers added; docs/split_training.md lists every difference):

    .. math::

        \min \sum_n w_t T_n + w_e E_n + w_s \mathrm{AS}(\alpha_n/Y, k_n)
        \quad \text{s.t.} \quad \sum_{n: m_n = m} b_n \le b_m,\; \sum_{n: m_n = m} F_n \le F_m,

    bounds on power, clocks and cuts, and the optional limits. Arrays are copied and read-only; a number stands for
    every user or server. `FIELDS` in `validate` is the symbol table with units and ranges.

    Parameters
    ----------
    layers : int
        Y, layers of the model.
    layer_flops, head_flops, upload_bits : (N,)
        Work per layer and of the head (FLOP), activations to upload (bit), all per training step.
    user_flops_per_cycle, user_kappa, user_frequency_min_hz, user_frequency_max_hz : (N,)
        Device: FLOP/cycle, power kappa f^3 (W s^3), range of the clock (Hz).
    power_min_w, power_max_w : (N,)
        Range of the transmit power (W).
    samples : (N,)
        k_n, fine-tuning samples.
    min_local_layers, max_local_layers : (N,), optional
        Range of the cut; 1 (privacy) and, by default, `layers` where the stability model is finite there, else
        ``layers - 1``. A cut of `layers` is fully local.
    server_flops_per_cycle, server_frequency_max_hz, bandwidth_max_hz : (M,)
    server_kappa or server_joules_per_flop : (M,)
        Clock-scaled (power kappa F^3 of a share F) or time-shared (constant J/FLOP) servers.
    gain : (N, M)
        Linear channel gains in [0, 1]; 0 = no link.
    noise_psd_w_per_hz : float
    fixed_delay_s : (N, M)
        Download and propagation.
    amplifier_efficiency, circuit_power_w, idle_power_w : (N,)
        Radio and idle power of the device.
    weights : Weights
    stability : Stability
    count_upload_delay : bool
        False reproduces the paper literally: the upload costs energy only.
    resource_sense : {"at_most", "exactly"}
        "exactly": a server that serves somebody hands out all of its bandwidth and clock (the paper's equalities; they
        bite where servers are clock-scaled), one that serves nobody spends nothing.
    delay : {"sum", "max"}
        "max": synchronous rounds, :math:`w_t \max_n T_n` in place of :math:`\sum_n w_t T_n`.
    stability_limit, device_memory_bytes : (N,), optional
        Limits; the memory needs `memory_bytes_fixed`, `memory_bytes_per_layer` and, for fully local users,
        `memory_bytes_head`.
    deadline_s, deadline_penalty_per_s : (N,), optional
        Longest time of a step, the upload always counted; with a penalty Theta the deadline is soft and costs
        ``Theta max(0, T_n - D_n)``. inf: no deadline; no softness.
    users_per_server : (M,), optional
    server_memory_bytes : (M,), optional
        Holds ``server_memory_bytes_fixed + (layers - alpha) server_memory_bytes_per_layer`` of every user served.
    user_names, server_names, user_xy_m, server_xy_m, source : optional
        For tables and maps.

    Raises
    ------
    DataError
        With every fault of the input at once. Feasibility is not judged here: `solve` does, with a diagnosis.
    """

    layers: int
    layer_flops: Any
    head_flops: Any = 0.0
    upload_bits: Any
    user_flops_per_cycle: Any
    user_kappa: Any
    user_frequency_min_hz: Any = 0.0
    user_frequency_max_hz: Any
    power_min_w: Any = 0.0
    power_max_w: Any
    samples: Any
    min_local_layers: Any = 1
    max_local_layers: Any = None
    server_flops_per_cycle: Any
    server_frequency_max_hz: Any
    bandwidth_max_hz: Any
    server_kappa: Any = None
    server_joules_per_flop: Any = None
    gain: Any
    noise_psd_w_per_hz: float
    fixed_delay_s: Any = 0.0
    amplifier_efficiency: Any = 1.0
    circuit_power_w: Any = 0.0
    idle_power_w: Any = 0.0
    weights: Weights = dataclasses.field(default_factory=Weights)
    stability: Stability = dataclasses.field(default_factory=lambda: Stability("liu-zhao"))
    count_upload_delay: bool = True
    stability_limit: Any = None
    device_memory_bytes: Any = None
    memory_bytes_fixed: Any = 0.0
    memory_bytes_per_layer: Any = 0.0
    memory_bytes_head: Any = 0.0
    deadline_s: Any = None
    deadline_penalty_per_s: Any = None
    users_per_server: Any = None
    server_memory_bytes: Any = None
    server_memory_bytes_fixed: Any = 0.0
    server_memory_bytes_per_layer: Any = 0.0
    resource_sense: str = "at_most"
    delay: str = "sum"
    user_names: Any = None
    server_names: Any = None
    user_xy_m: Any = None
    server_xy_m: Any = None
    source: str = ""

    kind: ClassVar[str] = "split-training"
    METHODS: ClassVar[tuple[Method, ...]] = METHODS
    CONSTRAINTS: ClassVar[tuple[Constraint, ...]] = CONSTRAINTS
    PLOTS: ClassVar[tuple[str, ...]] = ("map", "cuts", "loads", "costs")
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mean_delay_s", "mean delay s", "mean delay [s]"),
        Column("total_energy_j", "energy J", "total energy [J]"),
        Column("mean_instability", "instability", "mean instability"),
        Column("users_offloaded", "offloaded", "users offloaded", ".0f"),
    )
    TABLES: ClassVar[tuple[str, str]] = ("users", "servers")
    ANSWERS: ClassVar[str] = "who cuts where, on which server, with what"

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in checked_fields(given).items():
            object.__setattr__(self, name, value)

    # ---- sizes and derived data -----------------------------------------------------------------------------------

    @property
    def users(self) -> int:
        """N."""
        return int(self.gain.shape[0])

    @property
    def servers(self) -> int:
        """M."""
        return int(self.gain.shape[1])

    @cached_property
    def cuts(self) -> AllowedCuts:
        """Cuts left to every user by privacy, stability limit and device memory."""
        return allowed_cuts(self)

    def user_label(self, n: int) -> str:
        """ "user 3 (phone-3)".

        Parameters
        ----------
        n : int
            Number of the user.
        """
        return f"user {n} ({self.user_names[n]})" if self.user_names else f"user {n}"

    # ---- the definition of the objective ----------------------------------------------------------------------------

    def evaluate(self, allocation: Allocation) -> Costs:
        """Costs of an allocation by the model of Liu & Zhao, section 3, with the extensions of docs/split_training.md.

        Parameters
        ----------
        allocation : Allocation
            Need not be feasible; a cost that does not exist (no bandwidth, no clock) is inf.

        Returns
        -------
        Costs
        """
        a = self.check_allocation(allocation)
        local = a.server < 0
        m = np.where(local, 0, a.server)
        n = np.arange(self.users)
        remote = ~local
        device_flops = a.local_layers * self.layer_flops + np.where(local, self.head_flops, 0.0)
        server_flops = np.where(local, 0.0, (self.layers - a.local_layers) * self.layer_flops + self.head_flops)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            device_delay = _ratio(device_flops, a.user_frequency_hz * self.user_flops_per_cycle)
            device_energy = self.user_kappa * a.user_frequency_hz**2 * device_flops / self.user_flops_per_cycle
            snr = a.power_w * self.gain[n, m] / (self.noise_psd_w_per_hz * a.bandwidth_hz)
            rate = np.where(a.bandwidth_hz > 0.0, a.bandwidth_hz * np.log1p(snr) / np.log(2.0), 0.0)
            upload_delay = np.where(remote, _ratio(self.upload_bits, rate), 0.0)
            radio_power = a.power_w / self.amplifier_efficiency + self.circuit_power_w
            upload_energy = np.where(remote, _weighted(radio_power, upload_delay), 0.0)
            cycles = server_flops / self.server_flops_per_cycle[m]
            server_delay = _ratio(cycles, a.server_frequency_hz)
            if self.server_joules_per_flop is not None:
                server_energy = self.server_joules_per_flop[m] * server_flops
            else:
                server_energy = self.server_kappa[m] * a.server_frequency_hz**2 * cycles
            fixed = np.where(remote, self.fixed_delay_s[n, m], 0.0)
            idle_energy = _weighted(self.idle_power_w, server_delay + fixed)
            delay = device_delay + server_delay + fixed + (upload_delay if self.count_upload_delay else 0.0)
            energy = device_energy + upload_energy + server_energy + idle_energy
            instability = self.stability.value(a.local_layers / self.layers, self.samples)
            per_second = self.weights.effective("delay", self.users)
            objective = _weighted(self.weights.effective("energy", self.users), energy)
            objective = objective + _weighted(self.weights.effective("stability", self.users), instability)
            longest = 0.0
            if self.delay == "max":
                longest = float((per_second * delay).max())
            else:
                objective = _weighted(per_second, delay) + objective
            lateness = np.zeros(self.users)
            if self.deadline_s is not None:
                limited = np.isfinite(self.deadline_s)
                elapsed = device_delay + upload_delay + server_delay + fixed
                lateness = np.where(limited, np.maximum(elapsed - np.where(limited, self.deadline_s, 0.0), 0.0), 0.0)
            if self.deadline_penalty_per_s is not None:
                soft = np.isfinite(self.deadline_penalty_per_s)
                objective = objective + np.where(soft, np.where(soft, self.deadline_penalty_per_s, 0.0) * lateness, 0.0)
        return Costs(
            device_delay_s=device_delay, upload_delay_s=upload_delay, server_delay_s=server_delay,
            fixed_delay_s=fixed, delay_s=delay, device_energy_j=device_energy, upload_energy_j=upload_energy,
            server_energy_j=server_energy, idle_energy_j=idle_energy, energy_j=energy, instability=instability,
            lateness_s=lateness, user_objective=objective, round_objective=longest,
        )

    # ---- limits ---------------------------------------------------------------------------------------------------

    def violations(self, allocation: Allocation) -> dict[str, float]:
        """Worst violation of every limit in its SI unit, 0 where it holds; see `CONSTRAINTS` for names and units."""
        return {name: amount for name, amount, _ in excesses(self, self.check_allocation(allocation))}

    def relative_violation(self, allocation: Allocation) -> float:
        """Worst violation over all limits, each relative to its limit (whole numbers count as they are)."""
        return max(share for _, _, share in excesses(self, self.check_allocation(allocation)))

    def diagnose(self) -> Diagnosis | None:
        """Users that no option is left for, and what would help them; None if there are none.

        Without deadlines, caps on users and server memory every share can be small, and a problem is infeasible if and
        only if some user has no option. With them a problem may be infeasible all the same: the certified methods
        find that out.
        """
        found = diagnose(self)
        coupled = (
            self.deadline_s is not None or self.users_per_server is not None or self.server_memory_bytes is not None
        )
        if coupled and (found is not None or too_late(self).size):
            found = resolve(f"{_HERE}.conflicts:complete")(self, found)
        return found

    def check_allocation(self, allocation: Allocation) -> Allocation:
        """The allocation as arrays of the right type, or a DataError that names the field.

        Raises
        ------
        DataError
            Wrong type, shape, non-finite numbers, or a server that does not exist.
        """
        if not isinstance(allocation, Allocation):
            raise DataError(f"an edgealloc.Allocation is needed, not a {type(allocation).__name__}")
        faults: list[Fault] = []
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(Allocation):
            kind = np.int64 if field.name in ("server", "local_layers") else np.float64
            raw = np.asarray(getattr(allocation, field.name))
            if raw.shape != (self.users,):
                faults.append(Fault(f"allocation.{field.name}", f"has shape {raw.shape}; it must be ({self.users},)"))
                continue
            if not np.isfinite(raw).all():
                faults.append(Fault(f"allocation.{field.name}", "holds values that are not finite"))
                continue
            array = raw.astype(kind)
            if kind is np.int64 and (array != raw).any():
                faults.append(Fault(f"allocation.{field.name}", "holds values that are not whole"))
            array.setflags(write=False)
            fields[field.name] = array
        if "server" in fields and ((fields["server"] < -1) | (fields["server"] >= self.servers)).any():
            faults.append(Fault("allocation.server", f"names a server outside -1..{self.servers - 1}"))
        if "local_layers" in fields and ((fields["local_layers"] < 0) | (fields["local_layers"] > self.layers)).any():
            faults.append(Fault("allocation.local_layers", f"holds cuts outside 0..{self.layers}"))
        if faults:
            raise DataError(faults)
        return Allocation(**fields)

    # ---- prices, tables, pictures: their code lives beside, linked by name -----------------------------------

    def prices(self, allocation: Allocation) -> dict[str, FloatArray]:
        """Objective saved per extra unit of each priced limit at the association and cuts of `allocation`."""
        result: dict[str, FloatArray] = resolve(f"{_HERE}.resources:marginal_prices")(
            self, self.check_allocation(allocation)
        )
        return result

    def agents_table(self, solution: Solution[Allocation, Costs]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:users_table")(self, *solution.found())
        return result

    def servers_table(self, solution: Solution[Allocation, Costs]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:servers_table")(self, solution)
        return result

    def comparison_columns(self, allocation: Allocation, costs: Costs) -> Mapping[str, float]:
        del allocation
        result: Mapping[str, float] = resolve(f"{_HERE}.views:comparison_columns")(costs)
        return result

    def sizes(self) -> Mapping[str, int]:
        return {"users": self.users, "servers": self.servers, "layers": self.layers}

    def facts(self) -> list[str]:
        low, high = self.cuts.low.min(), self.cuts.high.max()
        return [
            f"cuts left to the users by privacy, memory and stability: {low} to {high} of {self.layers} layers on the "
            "device"
        ]

    def unjudged(self) -> tuple[bool, str]:
        """Users compete for what a deadline, cap or memory of a server leaves, which `diagnose` does not solve."""
        late = self.deadline_s is not None and self.deadline_penalty_per_s is None
        if late or self.users_per_server is not None or self.server_memory_bytes is not None:
            return False, (
                "no user is stuck by itself: each has a server and a cut that satisfy its own limits; whether all of "
                "them fit together\nunder the deadlines, caps and memory of the servers is for `edgealloc solve` to "
                "find out"
            )
        return True, "feasible: every user has a server and a cut that satisfy every limit"

    def summary_lines(self, solution: Solution[Allocation, Costs]) -> list[str]:
        result: list[str] = resolve(f"{_HERE}.views:summary_lines")(self, solution)
        return result

    def explain(self, solution: Solution[Allocation, Costs]) -> Explanation:
        result: Explanation = resolve(f"{_HERE}.explain:explain")(self, solution)
        return result

    def describe(self) -> str:
        """One line: sizes and what is modelled."""
        energy = "time-shared" if self.server_joules_per_flop is not None else "clock-scaled"
        upload = "" if self.count_upload_delay else ", upload delay not counted"
        upload += ", longest delay counts" if self.delay == "max" else ""
        soft = self.deadline_penalty_per_s is not None and np.isfinite(self.deadline_penalty_per_s).any()
        limits = [
            ("soft deadlines" if soft else "deadlines") if self.deadline_s is not None else "",
            "user caps" if self.users_per_server is not None else "",
            "server memory" if self.server_memory_bytes is not None else "",
            "resources handed out whole" if self.resource_sense == "exactly" else "",
        ]
        limited = ", ".join(one for one in limits if one)
        name = f" '{self.source}'" if self.source else ""
        return (f"split training{name}: {format_count(self.users, 'user')}, {format_count(self.servers, 'server')}, "
                f"{format_count(self.layers, 'layer')}, {energy} servers, "
                f"{self.stability.model} stability{upload}{'; with ' + limited if limited else ''}")

    def plot_solution(self, solution: Solution[Allocation, Costs], what: str, ax: Any) -> Any:
        return resolve(f"{_HERE}.plots:plot")(self, solution, what, ax)


def _ratio(work: FloatArray, speed: FloatArray) -> FloatArray:
    """work/speed with 0/0 = 0: no work takes no time, whatever the speed."""
    return np.where(work > 0.0, work / np.where(work > 0.0, speed, 1.0), 0.0)


def _weighted(weight: FloatArray, amount: FloatArray) -> FloatArray:
    """weight * amount, where an infinite amount stays infinite even at weight 0: it is no option at all."""
    return np.where(np.isinf(amount), np.inf, weight * amount)
