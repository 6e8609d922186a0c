"""Deployment: which compact model every device gets, and what it offloads (Zhang et al., arXiv 2411.09148)."""

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
from edgealloc.formulations.deployment.costs import QueryCosts, local_costs, queueing, sent_costs
from edgealloc.formulations.deployment.methods import METHODS
from edgealloc.formulations.deployment.options import FLEET, Options
from edgealloc.formulations.deployment.rollout import NONE, DeploymentCosts, Rollout
from edgealloc.formulations.deployment.validate import checked_fields
from edgealloc.units import format_count

__all__ = ["Deployment"]

_HERE: Final = "edgealloc.formulations.deployment"

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Deployment(Problem[Rollout, DeploymentCosts]):
    r"""Devices x compact models x offloading (Zhang et al. 2024, arXiv 2411.09148; mathematics ours).

    N devices get one of V variants of a model each (quantised, pruned or distilled), or none. Queries of C classes of
    complexity are answered by that variant or sent to one of S servers:

    .. math::

        \min \; \frac{1}{\Lambda} \sum_{i,c} \lambda_{ic} \left( w_t t_{ic} + w_e e_{ic} + w_h h_{ic}
        + w_a (1 - a_{ic}) \right) + w_x X

    with the rates :math:`\lambda_{ic}` of queries and their sum :math:`\Lambda`, the delay t, energy e, hallucination
    rate h and accuracy a of an answer, and the share X of devices without a variant of usable speed. A server shares
    its time between the queries that are there: at a load of :math:`\rho_s = \sum \lambda b` seconds per second a query
    of b seconds takes :math:`b \rho_s/(1-\rho_s)` longer than alone (`costs.queueing`).

    Subject to: memory and time of every device, a deadline, an accuracy floor and a hallucination ceiling per class,
    load and airtime of every server, and limits of the fleet's mean energy, hallucination rate, errors and X (the
    epsilon-constraint form of the same trade-off). Deadlines are promises that do not depend on what others do: they
    are compared with the delay at a server that is as busy as `load_limit` allows. `FIELDS` in `validate` is the symbol
    table. Arrays are copied and read-only; a number stands for every entry, and an array with fewer axes than named
    here for every entry of the first ones: (C,) for (N, C).

    Parameters
    ----------
    device_memory_bytes, transmit_power_w : (N,)
        Memory for a model (B); power of the radio while it sends (W).
    query_rate_per_s : (N, C)
        Queries per second; 0: never asked.
    deadline_s : (N, C), optional
        Longest delay, with the largest load that the server may have. inf: no limit.
    accuracy_floor, hallucination_ceiling : (N, C)
        Least accuracy, and highest hallucination rate, of whoever answers.
    memory_bytes : (V,)
        Of a variant on a device, at the context that answers need.
    runs : (N, V) of bool
        Whether a device's software and hardware can run a variant.
    tokens_per_s : (N, V)
        Speed, compared with `usable_tokens_per_s` for access.
    local_delay_s, local_energy_j : (N, V, C)
        Of an answer on the device.
    accuracy, hallucination : (V, C)
        Of a variant, in [0, 1].
    busy_s, service_s : (S, C)
        Server time that a query takes, and delay of a query on an idle server (longer where a server answers in
        batches; `busy_s` unless given).
    server_energy_j, server_accuracy, server_hallucination : (S, C)
        Of an answer at a server.
    load_limit, airtime_limit : (S,)
        Largest share of the time that a server may be busy (below 1), and that its cell may transmit (optional).
    uplink_bps, downlink_bps, round_trip_s : (N, S)
        Rates (0: out of reach), and latency there and back.
    prompt_bytes, answer_bytes : (C,)
        Messages.
    usable_tokens_per_s, device_load_limit : float
        Speed from which a variant counts as access; largest share of the time that a device may be busy with answers.
    energy_limit_j, hallucination_limit, error_limit, inaccessible_limit : float, optional
        Limits of the means: energy per query, hallucination rate, 1 - accuracy, share of devices without access.
    weights : Weights
        Of the delay (1/s) and the energy (1/J) of a query, the same for all; stability is not used.
    hallucination_weight, error_weight, inaccessible_weight : float
        :math:`w_h, w_a, w_x`.
    device_names, variant_names, class_names, server_names, source : optional

    Raises
    ------
    DataError
        With every fault of the input at once. Feasibility is not judged here: `solve` does, with a diagnosis.
    """

    device_memory_bytes: Any
    transmit_power_w: Any = 0.0
    query_rate_per_s: Any
    deadline_s: Any = None
    accuracy_floor: Any = 0.0
    hallucination_ceiling: Any = 1.0
    memory_bytes: Any
    runs: Any = True
    tokens_per_s: Any = 0.0
    local_delay_s: Any
    local_energy_j: Any = 0.0
    accuracy: Any = 0.0
    hallucination: Any = 0.0
    busy_s: Any = ()
    service_s: Any = None
    server_energy_j: Any = 0.0
    server_accuracy: Any = 1.0
    server_hallucination: Any = 0.0
    load_limit: Any = 0.9
    airtime_limit: Any = None
    uplink_bps: Any = 0.0
    downlink_bps: Any = 0.0
    round_trip_s: Any = 0.0
    prompt_bytes: Any = 0.0
    answer_bytes: Any = 0.0
    usable_tokens_per_s: Any = 0.0
    device_load_limit: Any = 1.0
    energy_limit_j: Any = None
    hallucination_limit: Any = None
    error_limit: Any = None
    inaccessible_limit: Any = None
    weights: Weights = dataclasses.field(default_factory=lambda: Weights(1.0, 0.0, 0.0))
    hallucination_weight: Any = 0.0
    error_weight: Any = 0.0
    inaccessible_weight: Any = 0.0
    device_names: Any = None
    variant_names: Any = None
    class_names: Any = None
    server_names: Any = None
    source: str = ""

    kind: ClassVar[str] = "deployment"
    METHODS: ClassVar[tuple[Method, ...]] = METHODS
    CONSTRAINTS: ClassVar[tuple[Constraint, ...]] = (
        Constraint("device_memory_bytes", "M_v <= Mem_i", "B"),
        Constraint("device_load_limit", "sum of lambda_ic t_ivc over what is not sent <= L_dev", "1"),
        Constraint("deadline_s", "t_ic at a server as busy as allowed <= T_max", "s"),
        Constraint("accuracy_floor", "a_ic >= a_min", "1"),
        Constraint("hallucination_ceiling", "h_ic <= h_max", "1"),
        Constraint("load_limit", "sum of lambda_ic b_sc over what is sent to s <= L_s", "1", priced=True),
        Constraint("airtime_limit", "share of the time of transmissions in the cell of s <= A_s", "1", priced=True),
        Constraint("energy_limit_j", "mean energy of a query <= E", "J", priced=True),
        Constraint("hallucination_limit", "mean hallucination rate <= H", "1", priced=True),
        Constraint("error_limit", "1 - mean accuracy <= 1 - A", "1", priced=True),
        Constraint("inaccessible_limit", "share of devices without access <= X", "1", priced=True),
    )
    FRONT: ClassVar[str] = f"{_HERE}.front:pareto_front"
    PLOTS: ClassVar[tuple[str, ...]] = ("quality", "offloading", "coverage", "load")
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mean_delay_s", "delay s", "mean delay of a query [s]"),
        Column("mean_energy_j", "energy J", "mean energy of a query [J]"),
        Column("accuracy", "accuracy", "mean accuracy of an answer", ".1%"),
        Column("hallucination", "halluc.", "mean hallucination rate", ".1%"),
        Column("accessibility", "access", "share of devices with a usable variant", ".1%"),
        Column("offloaded_share", "offloaded", "share of queries answered by servers", ".1%"),
    )
    TABLES: ClassVar[tuple[str, str]] = ("devices", "servers")
    ANSWERS: ClassVar[str] = "which variant every device gets, and which queries it offloads where"

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in checked_fields(given).items():
            object.__setattr__(self, name, value)

    # ---- sizes and derived data -----------------------------------------------------------------------------------

    @property
    def devices(self) -> int:
        """N."""
        return int(self.device_memory_bytes.shape[0])

    @property
    def variants(self) -> int:
        """V."""
        return int(self.memory_bytes.shape[0])

    @property
    def classes(self) -> int:
        """C."""
        return int(self.prompt_bytes.shape[0])

    @property
    def servers(self) -> int:
        """S."""
        return int(self.load_limit.shape[0])

    @cached_property
    def total_rate_per_s(self) -> float:
        """Queries per second of the whole fleet."""
        return float(self.query_rate_per_s.sum())

    @cached_property
    def query_share(self) -> FloatArray:
        """(N, C) share of the fleet's queries."""
        return np.asarray(self.query_rate_per_s / self.total_rate_per_s)

    @cached_property
    def delay_weight(self) -> float:
        """Objective per second of the average query."""
        return float(self.weights.effective("delay", 1)[0])

    @cached_property
    def energy_weight(self) -> float:
        """Objective per joule of the average query."""
        return float(self.weights.effective("energy", 1)[0])

    @cached_property
    def queue_weight(self) -> float:
        """Objective per second per second that queries of a server wait for each other (`costs.queueing`)."""
        return self.delay_weight / self.total_rate_per_s

    @cached_property
    def options(self) -> Options:
        """What every device can do, with its costs and whether it is allowed."""
        return Options(self)

    def device_label(self, i: int) -> str:
        """ "device 3 (alice)".

        Parameters
        ----------
        i : int
            Number of the device.
        """
        own = str(self.device_names[i])
        return own if own == f"device {i}" else f"device {i} ({own})"

    # ---- the definition of the objective --------------------------------------------------------------------------

    def _answers(self, chosen: Rollout) -> QueryCosts:
        """(N, C) costs of a query of every device and class, without queues; 0 for what is never asked."""
        device, query = np.arange(self.devices)[:, None], np.arange(self.classes)[None, :]
        # 0 where there is none: then nothing is answered there
        local = local_costs(self, device, np.maximum(chosen.variant, 0)[:, None], query)
        if self.servers == 0:
            parts = {name: getattr(local, name) for name in _PARTS}
        else:
            sent = sent_costs(self, device, np.maximum(chosen.server, 0)[:, None], query)
            parts = {name: np.where(chosen.offload, getattr(sent, name), getattr(local, name)) for name in _PARTS}
        asked = self.query_rate_per_s > 0.0
        return QueryCosts(**{name: np.where(asked, value, 0.0) for name, value in parts.items()})

    def evaluate(self, allocation: Rollout) -> DeploymentCosts:
        """Costs of a rollout.

        Parameters
        ----------
        allocation : Rollout
            Need not keep the limits; a server with a load of 1 or more never answers.

        Returns
        -------
        DeploymentCosts
        """
        chosen = self.check_allocation(allocation)
        answers = self._answers(chosen)
        asked = self.query_rate_per_s > 0.0
        server = np.maximum(chosen.server, 0)
        busy = np.where(chosen.offload, self.busy_s[server], 0.0) if self.servers else np.zeros(asked.shape)
        load = self._at_servers(chosen, (self.query_rate_per_s * busy).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(load < 1.0, load / (1.0 - load), np.inf)
            wait = np.where(busy > 0.0, busy * factor[server][:, None], 0.0) if self.servers else np.zeros(asked.shape)
        accessible = self.options.accessible[np.arange(self.devices), chosen.variant + 1]
        cost = float((self.query_share * answers.cost).sum())
        if self.delay_weight > 0.0 and self.servers:
            cost += self.delay_weight * float(queueing(load).sum()) / self.total_rate_per_s
        cost += self.inaccessible_weight * float((~accessible).mean())
        own = asked & ~chosen.offload
        return DeploymentCosts(
            objective=cost,
            network_s=answers.network_s, answer_s=answers.answer_s, queue_s=wait,
            device_energy_j=answers.device_energy_j, server_energy_j=answers.server_energy_j,
            answer_accuracy=answers.accuracy, answer_hallucination=answers.hallucination,
            share=self.query_share, offloaded=chosen.offload, accessible=accessible,
            memory_bytes=np.where(chosen.variant >= 0, self.memory_bytes[np.maximum(chosen.variant, 0)], 0.0),
            device_load=np.where(own, self.query_rate_per_s * answers.answer_s, 0.0).sum(axis=1),
            server_load=load,
            airtime=self._at_servers(chosen, (self.query_rate_per_s * answers.airtime_s).sum(axis=1)),
        )

    def _at_servers(self, chosen: Rollout, amount: FloatArray) -> FloatArray:
        """(S,) sums over the devices that use every server."""
        there = chosen.server >= 0
        total = np.bincount(chosen.server[there], weights=amount[there], minlength=self.servers)
        return np.asarray(total, dtype=np.float64)

    # ---- limits ---------------------------------------------------------------------------------------------------

    def _excess(self, allocation: Rollout) -> dict[str, tuple[FloatArray, FloatArray]]:
        """What exceeds every limit, and what it is relative to."""
        chosen = self.check_allocation(allocation)
        costs = self.evaluate(chosen)
        asked = self.query_rate_per_s > 0.0
        promised = costs.network_s + costs.answer_s
        if self.servers:
            at = np.maximum(chosen.server, 0)
            most = (self.load_limit / (1.0 - self.load_limit))[at][:, None]
            promised = promised + np.where(chosen.offload, self.busy_s[at] * most, 0.0)
        one = np.ones(asked.shape)
        return {
            "device_memory_bytes": _over(costs.memory_bytes, self.device_memory_bytes),
            "device_load_limit": _over(costs.device_load, self.device_load_limit),
            "deadline_s": _over(np.where(asked, promised, 0.0), self.deadline_s),
            # shares of 1: relative to 1, so that a floor of 0 is no special case
            "accuracy_floor": (np.where(asked, np.maximum(self.accuracy_floor - costs.answer_accuracy, 0.0), 0.0), one),
            "hallucination_ceiling": (
                np.where(asked, np.maximum(costs.answer_hallucination - self.hallucination_ceiling, 0.0), 0.0), one),
            "load_limit": _over(costs.server_load, self.load_limit),
            "airtime_limit": _over(costs.airtime, self.airtime_limit),
            "energy_limit_j": _over(costs.mean_energy_j, self.energy_limit_j),
            "hallucination_limit": _over(costs.hallucination, self.hallucination_limit),
            "error_limit": _over(costs.error, self.error_limit),
            "inaccessible_limit": _over(costs.inaccessible, self.inaccessible_limit),
        }

    def violations(self, allocation: Rollout) -> dict[str, float]:
        """Worst violation of every limit in its SI unit, 0 where it holds."""
        return {name: float(excess.max(initial=0.0)) for name, (excess, _) in self._excess(allocation).items()}

    def relative_violation(self, allocation: Rollout) -> float:
        """Worst violation over all limits, each relative to its limit; bytes where there is no memory count whole, and
        so do shares where nothing is allowed."""
        worst = 0.0
        for name, (excess, limit) in self._excess(allocation).items():
            broken = excess > 0.0
            least = 1.0 if name.endswith("bytes") else 1e-300
            worst = max(worst, float((excess[broken] / np.maximum(limit[broken], least)).max(initial=0.0)))
        return worst

    def diagnose(self) -> Diagnosis | None:
        """Devices that no option fits even if they are alone, and what would mend it; None if there are none."""
        found: Diagnosis | None = resolve(f"{_HERE}.feasibility:diagnose")(self)
        return found

    def check_allocation(self, allocation: Rollout) -> Rollout:
        """The rollout with arrays of the right kind, or a DataError that says what is wrong with it.

        Raises
        ------
        DataError
            Wrong shape, an unknown variant or server, a variant that a device cannot run, a device without a variant
            that keeps a class, a class that is sent though it is never asked, a server without anything sent to it or
            out of reach.
        """
        if not isinstance(allocation, Rollout):
            raise DataError(f"an edgealloc.Rollout is needed, not a {type(allocation).__name__}")
        faults: list[Fault] = []
        parts: dict[str, IntArray] = {}
        for name, high in (("variant", self.variants - 1), ("server", self.servers - 1)):
            value = np.asarray(getattr(allocation, name))
            if value.shape != (self.devices,) or value.dtype.kind not in "iu":
                faults.append(Fault(name, f"has shape {value.shape} and type {value.dtype}; give whole numbers, one "
                                          f"for each of {self.devices} devices"))
                continue
            bad = np.flatnonzero((value < NONE) | (value > high))
            if bad.size:
                faults.append(Fault(f"{name}[{bad[0]}]", f"is {value[bad[0]]}; it must be in [{NONE}, {high}]"))
            parts[name] = value.astype(np.int64)
        offload = np.asarray(allocation.offload)
        if offload.shape != (self.devices, self.classes) or offload.dtype != np.bool_:
            faults.append(Fault("offload", f"has shape {offload.shape} and type {offload.dtype}; give true or false "
                                           f"for each of {self.devices} devices and {self.classes} classes"))
        if not faults:
            faults = self._faults(parts["variant"], parts["server"], offload)
        if faults:
            raise DataError(faults, "Rollout")
        return Rollout(parts["variant"], parts["server"], offload)

    def _faults(self, variant: IntArray, server: IntArray, offload: BoolArray) -> list[Fault]:
        """What is wrong with a rollout of the right shapes."""
        asked, devices = self.query_rate_per_s > 0.0, np.arange(self.devices)
        sends, label = offload.any(axis=1), self.device_label
        faults = [
            Fault(f"offload[{i}, {c}]", f"is True, but {label(int(i))} is never asked {self.class_names[c]}")
            for i, c in np.argwhere(offload & ~asked)
        ]
        faults += [Fault(f"server[{i}]", f"is {self.server_names[server[i]]}, but {label(int(i))} sends nothing; "
                                         "give -1") for i in np.flatnonzero(~sends & (server >= 0))]
        faults += [Fault(f"server[{i}]", f"is -1, but {label(int(i))} sends queries; give a server")
                   for i in np.flatnonzero(sends & (server < 0))]
        keeps = (asked & ~offload).any(axis=1)
        faults += [Fault(f"variant[{i}]", f"is -1, but {label(int(i))} answers queries itself; give a variant")
                   for i in np.flatnonzero(keeps & (variant < 0))]
        installed = np.maximum(variant, 0)
        faults += [Fault(f"variant[{i}]", f"is {self.variant_names[variant[i]]}, which {label(int(i))} cannot run")
                   for i in np.flatnonzero((variant >= 0) & ~self.runs[devices, installed])]
        if self.servers and not faults:
            at = np.maximum(server, 0)
            reached = (self.uplink_bps[devices, at] > 0.0) & (self.downlink_bps[devices, at] > 0.0)
            faults += [Fault(f"server[{i}]", f"is {self.server_names[server[i]]}, which {label(int(i))} cannot reach")
                       for i in np.flatnonzero((server >= 0) & ~reached)]
        return faults

    # ---- prices, tables, pictures: their code lives beside, linked by name ----------------------------------------

    def prices(self, allocation: Rollout) -> dict[str, FloatArray]:
        """Objective saved per unit of speed of every server and bit/s of every device's link, at this rollout."""
        result: dict[str, FloatArray] = resolve(f"{_HERE}.prices:marginal_prices")(self, allocation)
        return result

    def agents_table(self, solution: Solution[Rollout, DeploymentCosts]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:devices_table")(self, *solution.found())
        return result

    def servers_table(self, solution: Solution[Rollout, DeploymentCosts]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = resolve(f"{_HERE}.views:servers_table")(self, solution)
        return result

    def sizes(self) -> Mapping[str, int]:
        return {"devices": self.devices, "variants": self.variants, "classes": self.classes, "servers": self.servers}

    def facts(self) -> list[str]:
        lines: list[str] = resolve(f"{_HERE}.views:facts")(self)
        return lines

    def summary_lines(self, solution: Solution[Rollout, DeploymentCosts]) -> list[str]:
        result: list[str] = resolve(f"{_HERE}.views:summary_lines")(self, solution)
        return result

    def explain(self, solution: Solution[Rollout, DeploymentCosts]) -> Explanation:
        result: Explanation = resolve(f"{_HERE}.explain:explain")(self, solution)
        return result

    def describe(self) -> str:
        """One line: sizes and what is modelled."""
        name = f" '{self.source}'" if self.source else ""
        limits = [text for text, there in (
            ("deadlines", bool(np.isfinite(self.deadline_s).any())),
            ("accuracy floors", bool((self.accuracy_floor > 0.0).any())),
            ("hallucination ceilings", bool((self.hallucination_ceiling < 1.0).any())),
            ("limits of the fleet", any(getattr(self, one) is not None for one in FLEET)),
        ) if there]
        return (f"deployment{name}: {format_count(self.devices, 'device')}, {format_count(self.variants, 'variant')}, "
                f"{format_count(self.classes, 'class')}, {format_count(self.servers, 'server')}"
                f"{'; ' if limits else ''}{', '.join(limits)}")

    def plot_solution(self, solution: Solution[Rollout, DeploymentCosts], what: str, ax: Any) -> Any:
        return resolve(f"{_HERE}.plots:plot")(self, solution, what, ax)


_PARTS: Final = tuple(field.name for field in dataclasses.fields(QueryCosts))


def _over(amount: FloatArray | float, limit: Any) -> tuple[FloatArray, FloatArray]:
    """What exceeds a limit, and the limit; None is no limit."""
    amount = np.asarray(amount, dtype=np.float64)
    limit = np.broadcast_to(np.inf if limit is None else np.asarray(limit, dtype=np.float64), amount.shape)
    with np.errstate(invalid="ignore"):
        return np.where(amount > limit, amount - np.minimum(limit, amount), 0.0), limit
