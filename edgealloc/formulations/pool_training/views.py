"""A PoolTraining solution as tables and as text for a person to read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.tables import text_table
from edgealloc.formulations.pool_training.costs import memory_bytes
from edgealloc.formulations.pool_training.plan import Plan, PoolCosts
from edgealloc.formulations.pool_training.schedule import Schedule
from edgealloc.units import format_count, format_percent, format_price, format_si

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = [
    "SingleDevice", "best_single_device", "comparison_columns", "devices_table", "layer_range", "links_table",
    "medium_name", "memory_bar", "plan_words", "summary_lines",
]

FloatArray = npt.NDArray[np.float64]

#: What the units of `Plan.shares` are.
SHARE_UNITS: Final[Mapping[str, str]] = {
    "single": "samples", "data": "samples", "sequence": "tokens", "tensor": "heads", "pipeline": "samples",
    "hybrid": "samples",
}
#: The summary shows a table of at most this many participants, and names at most this many of those left out.
ROWS_SHOWN: Final = 24
NAMES_SHOWN: Final = 8
#: Characters of a bar of memory.
BAR: Final = 12


def comparison_columns(allocation: Plan, costs: PoolCosts) -> dict[str, str | float]:
    """What a table of methods shows of each, beside its objective (SI units in the names)."""
    return {
        "parallelism": allocation.parallelism,
        "time_s": costs.time_s,
        "energy_j": costs.energy_j,
        "energy_per_sample_j": costs.energy_per_sample_j,
        "devices_used": float(len(allocation.devices)),
    }


# ---- frames -----------------------------------------------------------------------------------------------------


def devices_table(problem: PoolTraining, solution: Solution[Plan, PoolCosts]) -> dict[str, Any]:
    """Columns of the per-device frame, each (D,).

    ``stage`` and ``first_layer`` are -1, and amounts 0, for devices that do not take part. ``work_share`` is the part
    of its stage's work that a device does; ``network_energy_j`` is that of the bytes it sends, to the end of their
    route; ``price_per_flops`` the objective saved by one more FLOP/s.
    """
    allocation, costs = solution.found()
    count = problem.devices
    stage, first = np.full(count, -1), np.full(count, -1)
    layers, share = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    part = np.zeros(count)
    for p, (group, shares) in enumerate(zip(allocation.stages, allocation.shares, strict=True)):
        members = list(group)
        stage[members], first[members], layers[members] = p, allocation.first_layers[p], allocation.layers[p]
        share[members] = shares
        part[members] = np.array(shares) / sum(shares)
    takes_part = stage >= 0
    idle = np.where(takes_part, problem.idle_power_w * np.maximum(costs.time_s - costs.busy_s, 0.0), 0.0)
    compute = problem.busy_power_w * costs.busy_s
    network = np.zeros(count)
    for (i, j), size in problem.schedule(allocation).traffic.items():
        network[i] += size * float(problem.network.joules_per_byte[i, j])
    return {
        "device": np.arange(count),
        "device_name": np.array(problem.device_names, dtype=object),
        "role": np.array([_role(allocation, int(p)) for p in stage], dtype=object),
        "stage": stage,
        "first_layer": first,
        "layers": layers,
        "share": share,
        "share_unit": np.array([SHARE_UNITS[allocation.parallelism] if p >= 0 else "" for p in stage], dtype=object),
        "work_share": part,
        "busy_s": costs.busy_s,
        "utilisation": costs.busy_s / costs.time_s if costs.time_s > 0.0 else np.zeros(count),
        "memory_bytes": costs.memory_bytes,
        "memory_capacity_bytes": problem.memory_bytes,
        "compute_energy_j": compute,
        "idle_energy_j": idle,
        "network_energy_j": network,
        "energy_j": compute + idle + network,
        "sent_bytes": costs.sent_bytes,
        "price_per_flops": np.asarray(solution.prices["flops_per_s"], dtype=np.float64),
    }


def _role(plan: Plan, stage: int) -> str:
    if stage < 0:
        return "not used"
    return {"single": "trains alone", "data": "replica", "sequence": "part of every sequence",
            "tensor": "part of every layer"}.get(plan.parallelism, f"stage {stage}")


def links_table(problem: PoolTraining, solution: Solution[Plan, PoolCosts]) -> Mapping[str, Any]:
    """Columns of the per-link frame, each (L,).

    ``airtime_share`` is the part of the iteration in which the medium of the link carries bytes, those of other links
    on the same medium included; ``price_per_bit_per_s`` the objective saved by one more bit/s.
    """
    topology, costs = problem.topology, solution.costs
    bytes_over = np.zeros(topology.links) if costs is None else costs.link_bytes
    airtime = 8.0 * bytes_over / topology.rate_bits_per_s
    on_medium = np.bincount(topology.medium, weights=airtime, minlength=problem.network.media)[topology.medium]
    names = np.array(topology.nodes, dtype=object)
    unknown = np.full(topology.links, math.nan)
    return {
        "link": np.arange(topology.links),
        "from": names[topology.ends[:, 0]],
        "to": names[topology.ends[:, 1]],
        "medium": topology.medium,
        "rate_bits_per_s": topology.rate_bits_per_s,
        "latency_s": topology.latency_s,
        "bytes": bytes_over,
        "airtime_s": airtime,
        "airtime_share": on_medium / costs.time_s if costs is not None and costs.time_s > 0.0 else unknown,
        "energy_j": bytes_over * topology.joules_per_byte,
        "price_per_bit_per_s": np.asarray(solution.prices.get("rate_bits_per_s", unknown), dtype=np.float64),
    }


def medium_name(problem: PoolTraining, medium: int) -> str:
    """ "hub → camera" for a link of its own, "shared channel" or "channel 2 (6 links)" for a shared one."""
    links = np.flatnonzero(problem.topology.medium == medium)
    if len(links) == 1:
        tail, head = problem.topology.ends[links[0]]
        return f"{problem.topology.nodes[tail]} → {problem.topology.nodes[head]}"
    ends = {tuple(sorted(problem.topology.ends[k].tolist())) for k in links}
    if len(ends) == 1:
        a, b = ends.pop()
        return f"{problem.topology.nodes[a]} ↔ {problem.topology.nodes[b]}"
    if problem.topology.media == 1:
        return "shared channel"
    return f"channel {medium} ({len(links)} links)"


# ---- one device alone -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SingleDevice:
    """Training on one device alone, the yardstick of collaborative training.

    Attributes
    ----------
    device : int
    time_s, energy_j : float
        Of an iteration.
    missing_bytes : float
        What its memory lacks; 0 where it could do it.
    """

    device: int
    time_s: float
    energy_j: float
    missing_bytes: float


def best_single_device(problem: PoolTraining) -> SingleDevice:
    """The device that would train best alone by the objective, whether or not "single" is allowed.

    Where the model fits no device it is the one that lacks fewest bytes.
    """
    work = problem.batch * float((problem.forward_flops + problem.backward_flops).sum())
    options = []
    for i in range(problem.devices):
        plan = Plan("single", ((i,),), (problem.layers,), ((problem.batch,),))
        seconds = work / float(problem.flops_per_s[i])
        joules = seconds * float(problem.busy_power_w[i])
        lacks = float(memory_bytes(problem, plan)[i] - problem.memory_bytes[i])
        # what `solve` accepts as rounding is none
        lacks = lacks if lacks > 1e-9 * float(problem.memory_bytes[i]) else 0.0
        options.append(SingleDevice(i, seconds, joules, lacks))
    return min(options, key=lambda one: (
        one.missing_bytes, problem.per_second * one.time_s + problem.per_joule * one.energy_j, one.device))


# ---- text -------------------------------------------------------------------------------------------------------


def layer_range(plan: Plan, stage: int) -> str:
    """ "layers 3 to 7" of a stage, "layer 3" for a single one."""
    first, count = plan.first_layers[stage], plan.layers[stage]
    return f"layer {first}" if count == 1 else f"layers {first} to {first + count - 1}"


def plan_words(problem: PoolTraining, plan: Plan) -> str:
    """A plan in one line: "pipeline: laptop (layers 0 to 7) > hub (layers 8 to 11)"."""
    names = problem.device_names

    def group(stage: tuple[int, ...], shares: tuple[int, ...]) -> str:
        if len(stage) == 1:
            return str(names[stage[0]])
        return " + ".join(f"{names[i]} {share}" for i, share in zip(stage, shares, strict=True))

    if plan.parallelism not in ("pipeline", "hybrid"):
        unit = "" if plan.parallelism == "single" else f" {SHARE_UNITS[plan.parallelism]}"
        return f"{plan.parallelism}: {group(plan.stages[0], plan.shares[0])}{unit}"
    return f"{plan.parallelism}: " + " > ".join(
        f"{group(stage, shares)} ({layer_range(plan, p)})"
        for p, (stage, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)))


def summary_lines(problem: PoolTraining, solution: Solution[Plan, PoolCosts]) -> list[str]:
    """The page of a solution after its status: plan, time, energy, comparison with one device, memory, network."""
    plan, costs = solution.allocation, solution.costs
    if plan is None or costs is None:
        return []
    run = problem.schedule(plan)
    lines = [*_plan_lines(problem, plan), ""]
    lines += [*_cost_lines(problem, plan, costs), *_single_lines(problem, plan, costs), ""]
    lines += [*_device_lines(problem, plan, costs, run), ""]
    return [*lines, *_network_lines(problem, solution, costs), *_price_lines(problem, solution)]


def _plan_lines(problem: PoolTraining, plan: Plan) -> list[str]:
    count = len(plan.devices)
    whole = f"{format_count(problem.layers, 'layer')}, batch {problem.batch}"
    said = {
        "single": f"one device trains the whole model ({whole})",
        "data": f"data parallelism: {count} devices have the whole model ({whole}) and share the samples of the batch",
        "sequence": f"sequence parallelism: {count} devices have the whole model ({whole}) and share the "
                    f"{problem.tokens} tokens of every sample",
        "tensor": f"tensor parallelism: {count} devices share every layer ({whole}) by its {problem.heads} heads",
    }.get(plan.parallelism, "")
    if not said:
        kind = "stages" if plan.parallelism == "pipeline" else f"stages of {count} devices in all"
        said = (f"{plan.parallelism} of {len(plan.stages)} {kind} ({whole} in {problem.micro_batches} micro-batches of "
                f"{problem.micro_batch})")
    lines = [f"plan         {said}"]
    idle = [str(problem.device_names[i]) for i in range(problem.devices) if i not in set(plan.devices)]
    if idle:
        more = f" and {len(idle) - NAMES_SHOWN} more" if len(idle) > NAMES_SHOWN else ""
        lines.append(f"left out     {len(idle)} of {format_count(problem.devices, 'device')}: "
                     f"{', '.join(idle[:NAMES_SHOWN])}{more}")
    return lines


def _cost_lines(problem: PoolTraining, plan: Plan, costs: PoolCosts) -> list[str]:
    lines = [f"time         {format_si(costs.time_s, 's')} an iteration, {format_si(costs.time_per_sample_s, 's')} a "
             "sample"]
    if problem.deadline_s is not None:
        lines[0] += f"; allowed are {format_si(problem.deadline_s, 's')}"
    error = 100.0 * (costs.estimate_s / costs.time_s - 1.0) if costs.time_s > 0.0 else 0.0
    lines.append(f"             the textbook formula says {format_si(costs.estimate_s, 's')} ({_signed(error)})")
    if plan.parallelism in ("pipeline", "hybrid"):
        lines[-1] += (f"; no schedule of these stages is faster than {format_si(costs.bound_s, 's')} "
                      f"({format_percent(costs.bound_s, costs.time_s)} of it)")
    parts = {"computing": costs.compute_energy_j, "waiting": costs.idle_energy_j, "network": costs.network_energy_j}
    shown = ", ".join(f"{name} {format_percent(part, costs.energy_j)}" for name, part in parts.items() if part > 0.0)
    lines.append(f"energy       {format_si(costs.energy_j, 'J')} an iteration{f' ({shown})' if shown else ''}, "
                 f"{format_si(costs.energy_per_sample_j, 'J')} a sample")
    if problem.carbon_g_per_kwh is not None:
        grams = costs.co2_g(problem.carbon_g_per_kwh)
        lines.append(f"CO2          {format_si(grams, 'g')} an iteration, {format_si(grams / costs.samples, 'g')} a "
                     f"sample at {problem.carbon_g_per_kwh:g} g/kWh")
    return lines


def _single_lines(problem: PoolTraining, plan: Plan, costs: PoolCosts) -> list[str]:
    alone = best_single_device(problem)
    name = problem.device_names[alone.device]
    if alone.missing_bytes > 0.0:
        return [f"one device   none could train this alone: even {name} lacks {format_si(alone.missing_bytes, 'B')} of "
                "memory"]
    took = f"{format_si(alone.time_s, 's')} and {format_si(alone.energy_j, 'J')}"
    if plan.devices == (alone.device,):
        return [f"one device   {name} alone is the plan; no plan of several devices found is better"]
    speed = alone.time_s / costs.time_s if costs.time_s > 0.0 else math.inf
    energy = costs.energy_j / alone.energy_j if alone.energy_j > 0.0 else math.inf
    return [f"one device   {name} alone would take {took} an iteration: the plan is {speed:.3g} times as fast with "
            f"{energy:.3g} times the energy"]


def _device_lines(problem: PoolTraining, plan: Plan, costs: PoolCosts, run: Schedule) -> list[str]:
    staged = plan.parallelism in ("pipeline", "hybrid")
    header = [*(["stage"] if staged else []), "device", "layers", SHARE_UNITS[plan.parallelism], "busy", "used",
              f"{'memory':<{BAR + 2}}", "", "of"]
    rows = []
    for p, (group, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)):
        for i, share in zip(group, shares, strict=True):
            first, count = plan.first_layers[p], plan.layers[p]
            layers = str(first) if count == 1 else f"{first} to {first + count - 1}"
            rows.append([
                *([str(p)] if staged else []), str(problem.device_names[i]), layers, str(share),
                format_si(float(run.busy_s[i]), "s"), format_percent(float(run.busy_s[i]), costs.time_s),
                memory_bar(float(costs.memory_bytes[i]), float(problem.memory_bytes[i])),
                format_si(float(costs.memory_bytes[i]), "B"), format_si(float(problem.memory_bytes[i]), "B"),
            ])
    shown = rows[:ROWS_SHOWN]
    lines = text_table(header, shown).splitlines()
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown)} more participants; `to_frame()` has all of them")
    return lines


def memory_bar(used: float, capacity: float) -> str:
    """A bar of text; only memory that is used in whole fills it.

    >>> memory_bar(3.0, 4.0)
    '[█████████···]'
    """
    share = used / capacity if capacity > 0.0 else math.inf
    filled = BAR if share >= 1.0 else min(int(share * BAR + 0.5), BAR - 1)
    return f"[{'█' * filled}{'·' * (BAR - filled)}]"


def _network_lines(problem: PoolTraining, solution: Solution[Plan, PoolCosts], costs: PoolCosts) -> list[str]:
    if not costs.link_bytes.any():
        return ["network      not used"]
    table = links_table(problem, solution)
    airtime = np.bincount(problem.topology.medium, weights=table["airtime_s"])
    busiest = int(airtime.argmax())
    total = float(costs.sent_bytes.sum())
    share = format_percent(float(airtime[busiest]), costs.time_s)
    return [f"network      {format_si(total, 'B')} an iteration; busiest is {medium_name(problem, busiest)}: it "
            f"carries bytes for {format_si(float(airtime[busiest]), 's')}, {share} of the iteration"]


def _price_lines(problem: PoolTraining, solution: Solution[Plan, PoolCosts]) -> list[str]:
    """What one more unit would save under the same plan: the worthiest device and link."""
    lines = []
    speed = np.asarray(solution.prices.get("flops_per_s", ()), dtype=np.float64)
    if speed.size and speed.max() > 0.0:
        i = int(speed.argmax())
        saved = format_price(float(speed[i]) * 1e9)
        lines.append(f"worth        one more GFLOP/s saves most on {problem.device_names[i]}: {saved} of the objective")
    rate = np.asarray(solution.prices.get("rate_bits_per_s", ()), dtype=np.float64)
    if rate.size and rate.max() > 0.0:
        k = int(rate.argmax())
        a, b = (problem.topology.nodes[end] for end in problem.topology.ends[k])
        lines.append(f"             one more Mbit/s saves most from {a} to {b}: {format_price(rate[k] * 1e6)}")
        if speed.size and not speed.max() > 0.0:
            lines[-1] = "worth" + lines[-1][5:]
    return lines


def _signed(percent: float) -> str:
    return "as it is" if abs(percent) < 0.05 else f"{percent:+.1f} %"
