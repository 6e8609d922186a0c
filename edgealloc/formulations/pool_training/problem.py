"""PoolTraining: trusted devices at the edge train one model together (Zeng et al., arXiv 2404.17766)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.constraints import Constraint, Diagnosis
from edgealloc.core.links import resolve
from edgealloc.core.method import Method
from edgealloc.core.problem import Problem
from edgealloc.core.solution import Solution
from edgealloc.core.tables import Column
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, Fault
from edgealloc.formulations.pool_training.costs import (
    energy_parts_j,
    estimate_s,
    memory_bytes,
    plan_bound_s,
    work_units,
)
from edgealloc.formulations.pool_training.methods import METHODS
from edgealloc.formulations.pool_training.network import Network
from edgealloc.formulations.pool_training.plan import PARALLELISMS, Plan, PoolCosts
from edgealloc.formulations.pool_training.schedule import Schedule, schedule
from edgealloc.formulations.pool_training.validate import checked_fields
from edgealloc.units import format_count, format_si

__all__ = ["PoolTraining"]

_HERE: Final = "edgealloc.formulations.pool_training"

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class PoolTraining(Problem[Plan, PoolCosts]):
    r"""Collaborative training of a transformer by a pool of D devices (Zeng et al. 2024, arXiv 2404.17766).

    Who takes part, which parallelism, which part of the work for whom, in which order on the network:

    .. math::

        \min \; w_t T + w_e E \quad \text{s.t.} \quad \text{memory of every device}, \; T \le T_{\max},

    over all plans of the allowed parallelisms, where T is the time of one iteration by the event schedule
    (`schedule`), and :math:`E = \sum_{i \in \text{plan}} P^{busy}_i T^{busy}_i + P^{idle}_i (T - T^{busy}_i)` plus the
    energy of the bytes sent. Devices that do not take part spend nothing. `FIELDS` in `validate` is the symbol table.

    Parameters
    ----------
    flops_per_s, memory_bytes, busy_power_w, idle_power_w : (D,)
        Effective rate (FLOP/s), memory (B) and power (W) of the devices.
    topology : Topology or networkx.Graph
        Links with rate and latency; the first D nodes, or those of `device_names`, are the devices.
    layers : int
        Y. The embedding is part of the first layer, the head part of the last.
    forward_flops, backward_flops : (Y,)
        FLOP per sample.
    state_bytes, gradient_bytes, checkpoint_bytes : (Y,)
        Weights, gradients and optimiser states in memory; gradients that replicas exchange in an iteration (without a
        tied table); what a device that takes over a layer must receive (B).
    activation_bytes, replicated_activation_bytes, key_value_bytes : (Y,)
        Per sample: kept from forward to backward; the part that tensor-parallel devices all keep in whole; keys and
        values (B).
    boundary_bytes : float
        Activations between two layers, per sample (B).
    tied_bytes, tied_state_bytes : float
        Gradient and states of a table that first and last layer share (B); the states are counted in both layers.
    batch, micro_batches : int
        Samples of an iteration and the parts in which a pipeline takes them.
    tokens, heads : int
        Units in which sequence and tensor parallelism share the work.
    parallelisms : tuple of str
        Those that may be used; all by default.
    overhead_bytes, failure_probability : (D,)
    deadline_s, carbon_g_per_kwh : float, optional
    weights : Weights
        Of delay (1/s) and energy (1/J) of an iteration; stability is not used.
    device_names, source : optional

    Raises
    ------
    DataError
        With every fault of the input at once. Feasibility is not judged here: `solve` does, with a diagnosis.
    """

    flops_per_s: Any
    memory_bytes: Any
    busy_power_w: Any
    idle_power_w: Any = 0.0
    overhead_bytes: Any = 0.0
    failure_probability: Any = 0.0
    topology: Any
    layers: int
    forward_flops: Any
    backward_flops: Any
    state_bytes: Any
    gradient_bytes: Any
    checkpoint_bytes: Any
    activation_bytes: Any
    replicated_activation_bytes: Any = 0.0
    key_value_bytes: Any = 0.0
    boundary_bytes: float
    tied_bytes: float = 0.0
    tied_state_bytes: float = 0.0
    batch: int
    micro_batches: int = 1
    tokens: int = 1
    heads: int = 1
    parallelisms: Any = PARALLELISMS
    deadline_s: Any = None
    carbon_g_per_kwh: Any = None
    weights: Weights = dataclasses.field(default_factory=lambda: Weights(1.0, 0.0, 0.0))
    device_names: Any = None
    source: str = ""

    kind: ClassVar[str] = "pool-training"
    METHODS: ClassVar[tuple[Method, ...]] = METHODS
    CONSTRAINTS: ClassVar[tuple[Constraint, ...]] = (
        Constraint("memory_bytes", "states + activations + overhead <= Mem_i", "B"),
        Constraint("deadline_s", "T <= T_max", "s"),
    )
    FRONT: ClassVar[str] = "edgealloc.formulations.pool_training.questions.pareto:pareto_front"
    PLOTS: ClassVar[tuple[str, ...]] = ("gantt", "memory", "memory-trace", "topology", "pareto")
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("parallelism", "parallelism", number=False),
        Column("time_s", "time s", "time of an iteration [s]"),
        Column("energy_j", "energy J", "energy of an iteration [J]"),
        Column("energy_per_sample_j", "J / sample", "energy of a sample [J]"),
        Column("devices_used", "devices", "devices that take part", ".0f"),
    )
    TABLES: ClassVar[tuple[str, str]] = ("devices", "links")
    ANSWERS: ClassVar[str] = "who trains which layers, when, and who waits for whom"

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in checked_fields(given).items():
            object.__setattr__(self, name if name != "network" else "_network", value)

    # ---- sizes and derived data -----------------------------------------------------------------------------------

    @property
    def devices(self) -> int:
        """D."""
        return int(self.flops_per_s.shape[0])

    @property
    def network(self) -> Network:
        """Routes between the devices and prices of messages."""
        network: Network = self._network  # type: ignore[attr-defined]
        return network

    @property
    def micro_batch(self) -> int:
        """Samples of a micro-batch."""
        return self.batch // self.micro_batches

    @property
    def per_second(self) -> float:
        """Effective weight of the time of an iteration (1/s)."""
        return float(self.weights.effective("delay", 1)[0])

    @property
    def per_joule(self) -> float:
        """Effective weight of the energy of an iteration (1/J)."""
        return float(self.weights.effective("energy", 1)[0])

    def device_label(self, i: int) -> str:
        """ "device 3 (phone-3)".

        Parameters
        ----------
        i : int
            Number of the device.
        """
        return f"device {i} ({self.device_names[i]})"

    # ---- the definition of the objective --------------------------------------------------------------------------

    def schedule(self, plan: Plan) -> Schedule:
        """One iteration under a plan, event by event."""
        return schedule(self, self.check_allocation(plan))

    def evaluate(self, allocation: Plan) -> PoolCosts:
        """Costs of one iteration under a plan, by its schedule.

        Parameters
        ----------
        allocation : Plan
            Need not keep the limits.

        Returns
        -------
        PoolCosts
        """
        plan = self.check_allocation(allocation)
        run = schedule(self, plan)
        compute, idle, radio = energy_parts_j(self, plan, run)
        sent, over_link = np.zeros(self.devices), np.zeros(self.topology.links)
        for (i, j), size in run.traffic.items():
            sent[i] += size
            over_link[list(self.network.route(i, j))] += size
        energy = compute + idle + radio
        bound = plan_bound_s(self, plan)
        return PoolCosts(
            objective=self.per_second * run.time_s + self.per_joule * energy,
            time_s=run.time_s, energy_j=energy, compute_energy_j=compute, idle_energy_j=idle, network_energy_j=radio,
            busy_s=run.busy_s, memory_bytes=run.peak_bytes(), sent_bytes=sent, link_bytes=over_link,
            estimate_s=estimate_s(self, plan), bound_s=run.time_s if bound is None else min(bound, run.time_s),
            samples=self.batch,
        )

    # ---- limits ---------------------------------------------------------------------------------------------------

    def _excess(self, allocation: Plan) -> tuple[FloatArray, float]:
        """Bytes above the memory of every device, and seconds above the deadline."""
        plan = self.check_allocation(allocation)
        memory = np.maximum(memory_bytes(self, plan) - self.memory_bytes, 0.0)
        late = 0.0 if self.deadline_s is None else max(schedule(self, plan, told=False).time_s - self.deadline_s, 0.0)
        return memory, late

    def violations(self, allocation: Plan) -> dict[str, float]:
        """Worst violation of every limit in its SI unit, 0 where it holds."""
        memory, late = self._excess(allocation)
        return {"memory_bytes": float(memory.max()), "deadline_s": late}

    def relative_violation(self, allocation: Plan) -> float:
        """Worst violation over all limits, each relative to its limit; bytes on a device without memory count whole."""
        memory, late = self._excess(allocation)
        shares = memory / np.maximum(self.memory_bytes, 1.0)
        return max(float(shares.max()), 0.0 if self.deadline_s is None else late / self.deadline_s)

    def diagnose(self) -> Diagnosis | None:
        """Why no plan can exist, where that can be seen without a search; None otherwise."""
        found: Diagnosis | None = resolve(f"{_HERE}.feasibility:diagnose")(self)
        return found

    def check_allocation(self, allocation: Plan) -> Plan:
        """The plan, or a DataError that says what is wrong with it.

        Raises
        ------
        DataError
            Unknown or forbidden parallelism, a device that does not exist or serves twice, layers or shares that do
            not add up.
        """
        if not isinstance(allocation, Plan):
            raise DataError(f"an edgealloc.Plan is needed, not a {type(allocation).__name__}")
        faults = _plan_faults(self, allocation)
        if faults:
            raise DataError(faults, "Plan")
        return Plan(
            allocation.parallelism,
            tuple(tuple(int(i) for i in stage) for stage in allocation.stages),
            tuple(int(count) for count in allocation.layers),
            tuple(tuple(int(one) for one in shares) for shares in allocation.shares),
        )

    # ---- prices, tables, pictures: their code lives beside, linked by name ----------------------------------------

    def prices(self, allocation: Plan) -> dict[str, FloatArray]:
        """Objective saved per extra FLOP/s of every device and bit/s of every link, under the same plan."""
        result: dict[str, FloatArray] = resolve(f"{_HERE}.prices:marginal_prices")(self, allocation)
        return result

    def agents_table(self, solution: Solution[Plan, PoolCosts]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:devices_table")(self, solution)
        return result

    def servers_table(self, solution: Solution[Plan, PoolCosts]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:links_table")(self, solution)
        return result

    def comparison_columns(self, allocation: Plan, costs: PoolCosts) -> Mapping[str, Any]:
        columns: Mapping[str, Any] = resolve(f"{_HERE}.views:comparison_columns")(allocation, costs)
        return columns

    def sizes(self) -> Mapping[str, int]:
        return {"devices": self.devices, "links": self.topology.links, "layers": self.layers, "batch": self.batch,
                "micro_batches": self.micro_batches}

    def facts(self) -> list[str]:
        states = float(self.state_bytes.sum()) - self.tied_state_bytes
        kept = self.batch * float(self.activation_bytes.sum())
        free = self.memory_bytes - self.overhead_bytes
        return [
            f"memory: {format_si(states, 'B')} of weights, gradients and optimiser states, {format_si(kept, 'B')} of "
            f"activations of a batch; free on the devices: {format_si(float(free.sum()), 'B')} in all, "
            f"{format_si(float(free.max()), 'B')} at most on one"
        ]

    def unjudged(self) -> tuple[bool, str]:
        """A plan that keeps the limits proves that there is one; `diagnose` cannot see every way to miss them."""
        plan: Plan = resolve(f"{_HERE}.feasibility:least_missing")(self)[0]
        if self.relative_violation(plan) == 0.0:
            members = format_count(len(plan.devices), "device")
            return True, f"feasible: a {plan.parallelism} plan of {members} keeps the limits"
        return super().unjudged()

    def summary_lines(self, solution: Solution[Plan, PoolCosts]) -> list[str]:
        result: list[str] = resolve(f"{_HERE}.views:summary_lines")(self, solution)
        return result

    def describe(self) -> str:
        """One line: sizes and what is modelled."""
        name = f" '{self.source}'" if self.source else ""
        relays = len(self.topology.nodes) - self.devices
        over = f" over {format_count(relays, 'relay')}" if relays else ""
        network = format_count(self.topology.links, "link") + over
        network = "one shared channel" if self.topology.media == 1 and self.topology.links > 1 else network
        limits = "" if self.deadline_s is None else f"; deadline {self.deadline_s:g} s"
        only = "" if self.parallelisms == PARALLELISMS else f"; only {', '.join(self.parallelisms)}"
        return (f"pool training{name}: {format_count(self.devices, 'device')}, {network}, "
                f"{format_count(self.layers, 'layer')}, batch {self.batch} in "
                f"{format_count(self.micro_batches, 'micro-batch')}{limits}{only}")

    def plot_solution(self, solution: Solution[Plan, PoolCosts], what: str, ax: Any) -> Any:
        return resolve(f"{_HERE}.plots:plot")(self, solution, what, ax)


def _not_whole(plan: Any) -> list[Fault]:
    """What is no tuple of whole numbers where there must be one."""
    whole = (int, np.integer)
    if not all(isinstance(one, (tuple, list)) for one in (plan.stages, plan.layers, plan.shares)):
        return [Fault("plan", "stages, layers and shares must be tuples, with an entry for each stage")]
    faults = [Fault(f"plan.layers[{p}]", f"is {count!r}; give a whole number") for p, count in enumerate(plan.layers)
              if not isinstance(count, whole)]
    for name, parts in (("stages", plan.stages), ("shares", plan.shares)):
        faults.extend(Fault(f"plan.{name}[{p}]", f"is {part!r}; give a tuple of whole numbers, one for each device")
                      for p, part in enumerate(parts)
                      if not isinstance(part, (tuple, list)) or not all(isinstance(one, whole) for one in part))
    return faults


def _plan_faults(problem: PoolTraining, plan: Plan) -> list[Fault]:
    """What is wrong with the form of a plan."""
    if plan.parallelism not in problem.parallelisms:
        return [Fault("plan.parallelism", f"is {plan.parallelism!r}; allowed here: {', '.join(problem.parallelisms)}")]
    faults = _not_whole(plan)
    if faults:
        return faults
    if not plan.stages or not len(plan.stages) == len(plan.layers) == len(plan.shares):
        return [Fault("plan", f"has {len(plan.stages)} stages, {len(plan.layers)} numbers of layers and "
                              f"{len(plan.shares)} lists of shares; there must be as many of each, at least one")]
    if plan.parallelism not in ("pipeline", "hybrid") and len(plan.stages) > 1:
        faults.append(Fault("plan.stages", f"has {len(plan.stages)} stages; {plan.parallelism} plans have one"))
    seen: set[int] = set()
    for p, stage in enumerate(plan.stages):
        if not stage:
            faults.append(Fault(f"plan.stages[{p}]", "is empty"))
        if plan.parallelism in ("single", "pipeline") and len(stage) > 1:
            faults.append(Fault(f"plan.stages[{p}]", f"has {len(stage)} devices; stages of {plan.parallelism} plans "
                                                     "have one"))
        for i in stage:
            if not 0 <= i < problem.devices:
                faults.append(Fault(f"plan.stages[{p}]", f"names device {i}; there are 0 to {problem.devices - 1}"))
            elif i in seen:
                faults.append(Fault(f"plan.stages[{p}]", f"names {problem.device_label(i)} a second time"))
            seen.add(i)
    staged = plan.parallelism in ("pipeline", "hybrid")
    whole = problem.micro_batch if staged else work_units(problem, plan.parallelism)
    for p, (stage, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)):
        if len(shares) != len(stage) or min(shares, default=1) < 1 or sum(shares) != whole:
            faults.append(Fault(f"plan.shares[{p}]", f"is {tuple(shares)}; give whole numbers >= 1 for {len(stage)} "
                                                     f"devices, {whole} in all"))
    if min(plan.layers) < 1 or sum(plan.layers) != problem.layers:
        faults.append(Fault("plan.layers", f"is {tuple(plan.layers)}; the numbers must be >= 1 and sum to "
                                           f"{problem.layers}"))
    return faults
