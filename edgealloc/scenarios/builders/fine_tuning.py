"""From a checked scenario to the arrays of a FineTuning problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog, ModelEntry
from edgealloc.core.weights import Weights
from edgealloc.formulations.fine_tuning.costs import option_costs
from edgealloc.formulations.fine_tuning.problem import FineTuning
from edgealloc.scenarios.builders.draws import drawn, stream
from edgealloc.scenarios.builders.weights import chosen_weights
from edgealloc.scenarios.fine_tuning.names import job_names, server_names, servers_called
from edgealloc.scenarios.fine_tuning.schema import Document, JobGroup, ServerGroup
from edgealloc.scenarios.fine_tuning.settings import (
    UNKNOWN,
    Quality,
    group_batch,
    group_model,
    group_tokens,
    known_quality,
    method_places,
    method_tables,
    steps_of,
    tunings,
)
from edgealloc.system.tuning import (
    Tuning,
    message_bytes,
    not_applicable,
    result_bytes,
    trainable_params,
    tuning_memory,
    tuning_step_flops,
)

__all__ = ["Setting", "build", "fastest_options", "group_samples", "settings", "usable_bytes"]

FloatArray = npt.NDArray[np.float64]

#: jobs whose options are looked at together, to spare memory
_BLOCK: Final = 4096
#: groups of jobs that have streams of random numbers of their own
_MOST_GROUPS: Final = 1_000_000


@dataclass(frozen=True)
class Setting:
    """What the jobs of a group have in common under a method.

    Attributes
    ----------
    tuning : Tuning
    reason : str
        Why the method cannot train the model at all; "" if it can.
    trainable : int
        Parameters that are trained.
    memory : dict
        Peak memory of training by component, bytes.
    step_flops : float
        FLOP of a step.
    result_bytes : float
        What a server returns.
    quality : Quality
    on_device, on_server : bool
        Where it can run.
    """

    tuning: Tuning
    reason: str
    trainable: int
    memory: dict[str, float]
    step_flops: float
    result_bytes: float
    quality: Quality
    on_device: bool
    on_server: bool

    @property
    def memory_bytes(self) -> float:
        """All components together."""
        return sum(self.memory.values())


def settings(document: Document, catalog: Catalog) -> list[list[Setting]]:
    """The settings of every group of jobs, method by method."""
    return [
        [_setting(document, catalog, i, k, tuning) for k, tuning in enumerate(tunings(document))]
        for i in range(len(document.jobs))
    ]


def _setting(document: Document, catalog: Catalog, i: int, k: int, tuning: Tuning) -> Setting:
    group = document.jobs[i]
    entry = catalog.model(group_model(document, group))
    shape = entry.transformer()
    batch, tokens = group_batch(document, group), group_tokens(document, group)
    reason = not_applicable(shape, tuning)
    if reason:
        return Setting(tuning, reason, 0, {}, 0.0, 0.0, UNKNOWN, False, False)
    options: dict[str, Any] = {"convention": document.model.convention, "family": entry.family}
    overhead = document.model.memory_overhead
    memory = tuning_memory(shape, tuning, batch, tokens, overhead_bytes=overhead, **options)
    on_device, on_server = method_places(method_tables(document)[k], group)
    return Setting(
        tuning=tuning,
        reason="",
        trainable=trainable_params(shape, tuning, entry.family),
        memory={name: float(value) for name, value in memory.parts().items()},
        step_flops=float(tuning_step_flops(shape, tuning, batch, tokens, **options)),
        result_bytes=float(result_bytes(shape, tuning, entry.family)),
        quality=known_quality(document, i, k, tuning),
        on_device=on_device,
        on_server=on_server,
    )


def build(document: Document, catalog: Catalog, source: str, weights: Weights | None = None) -> FineTuning:
    """The problem of a scenario.

    Parameters
    ----------
    document, catalog
        As `check_document` returns them.
    source : str
        Name that appears in tables.
    weights : Weights, optional
        Instead of the document's; a reference is filled in if they have none.
    """
    parts = [_jobs(document, catalog, i, row) for i, row in enumerate(settings(document, catalog))]
    jobs: dict[str, Any] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    problem = FineTuning(
        **jobs,
        **_servers(document, catalog),
        method_names=tuple(tuning.name for tuning in tunings(document)),
        job_names=job_names(document),
        server_names=server_names(document),
        source=source,
    )
    return problem.replace(weights=chosen_weights(document.weights, weights, lambda: fastest_options(problem)))


# ---- jobs -----------------------------------------------------------------------------------------------------------


def group_samples(document: Document, i: int) -> FloatArray | None:
    """Sequences of training data of every job of a group; None where the file does not say."""
    group = document.jobs[i]
    if group.samples is None:
        return None
    return drawn(group.samples, group.count, document.seed, "jobs.samples", i)


def _jobs(document: Document, catalog: Catalog, i: int, row: list[Setting]) -> dict[str, FloatArray]:
    """Fields of the problem for the jobs of a group."""
    group, size, limits = document.jobs[i], document.jobs[i].count, document.limits
    samples = group_samples(document, i)
    tables = method_tables(document)
    steps = np.stack(
        [steps_of(document, group, tables[k], one.tuning, samples).count for k, one in enumerate(row)], axis=1
    )
    quality = np.array([one.quality.value for one in row])
    data = group.data
    if data is None:
        each = group_tokens(document, group) * document.model.bytes_per_token
        data_bytes = np.zeros(size) if samples is None else samples * each
    else:
        data_bytes = np.full(size, data)
    columns: dict[str, Any] = {
        **_hardware(document, catalog, i),
        "transmit_power_w": document.radio.transmit_power if group.transmit_power is None else group.transmit_power,
        "data_bytes": data_bytes,
        "rounds": group.rounds,
        "quality_floor": limits.quality_floor if group.quality_floor is None else group.quality_floor,
        # where nobody knows a quality the term would be the same for every method
        "quality_weight": document.weights.quality if quality.any() else 0.0,
        "deadline_s": _first(group.deadline, limits.deadline),
        "energy_limit_j": _first(group.battery, limits.battery),
    }
    result = {key: np.broadcast_to(np.asarray(value, dtype=np.float64), (size,)) for key, value in columns.items()}
    by_method: dict[str, Any] = {
        "memory_bytes": [one.memory_bytes for one in row],
        "work_flops": steps * np.array([one.step_flops for one in row]),
        "message_bytes": _messages(catalog.model(group_model(document, group)), group, row, steps),
        "result_bytes": [one.result_bytes for one in row],
        "quality": quality,
    }
    result |= {
        key: np.broadcast_to(np.asarray(value, dtype=np.float64), (size, len(row))) for key, value in by_method.items()
    }
    for key in ("on_device", "on_server"):
        result[key] = np.broadcast_to(np.array([getattr(one, key) for one in row]), (size, len(row)))
    for key, field, single in (("uplink", "uplink_bps", "uplink_to"), ("downlink", "downlink_bps", "downlink_from")):
        result[field] = _rates(document, i, key, single)
    return result


def _first(*limits: float | None) -> float:
    """The first limit that is given; infinite where none is."""
    return next((float(one) for one in limits if one is not None), np.inf)


def _messages(entry: ModelEntry, group: JobGroup, row: list[Setting], steps: FloatArray) -> FloatArray:
    """(N, K) bytes of an update in a round; methods without gradients send something per step."""
    messages = np.zeros(steps.shape)
    if group.rounds:
        shape = entry.transformer()
        for k, one in enumerate(row):
            if one.reason:
                continue
            each, where = np.unique(np.ceil(steps[:, k] / group.rounds), return_inverse=True)
            sizes = np.array([message_bytes(shape, one.tuning, int(count), entry.family) for count in each])
            messages[:, k] = sizes[where]
    return messages


def usable_bytes(group: JobGroup, memory_bytes: float) -> float:
    """Memory that training may use on a device: a share of what the system does not keep for itself."""
    return group.memory_share * (memory_bytes - group.memory_reserved)


def _hardware(document: Document, catalog: Catalog, i: int) -> dict[str, FloatArray]:
    """Rate, memory and power of the device of every job of a group."""
    group, size = document.jobs[i], document.jobs[i].count
    names = [None] if group.device is None else list(group.device)
    kind = np.zeros(size, dtype=np.int64)
    if len(names) > 1:
        shares = np.array(list((group.device or {}).values()))
        steps = np.cumsum(shares) / shares.sum()
        kind = np.minimum(
            np.searchsorted(steps, stream(document.seed, "jobs.device", i).random(size), side="right"), len(names) - 1
        )
    rows = []
    for name in names:
        rate, memory, power = group.flops_per_s, group.memory, group.power
        if name is not None:
            entry = catalog.device(name)
            rate = group.utilisation * entry.flops_per_s if rate is None else rate
            memory = float(entry.require("memory_bytes")) if memory is None else memory
            power = float(entry.require("power_w")) if power is None else power
        rows.append((float(rate or 0.0), usable_bytes(group, float(memory or 0.0)), float(power or 0.0)))
    found = np.array(rows)[kind]
    fields = ("device_flops_per_s", "device_memory_bytes", "device_power_w")
    return {field: found[:, c] for c, field in enumerate(fields)}


def _rates(document: Document, i: int, key: str, single: str) -> FloatArray:
    """(N, S) rates between the jobs of a group and every server."""
    group = document.jobs[i]
    size, names = group.count, server_names(document)
    rates = np.zeros((size, len(names)))
    own = getattr(group, key)
    general = getattr(document.radio, key) if own is None else own
    if general is not None and names:
        rates[:] = drawn(general, size * len(names), document.seed, f"jobs.{key}", i).reshape(size, len(names))
    called = [(one.name, one.device, one.count) for one in document.servers]
    for name, rate in getattr(group, single).items():
        for s in servers_called(name, called):
            # a stream of its own for every server, so that another line of the file leaves it alone
            number = i + _MOST_GROUPS * (1 + s)
            rates[:, s] = drawn(rate, size, document.seed, f"jobs.{key}", number)
    return rates


# ---- servers --------------------------------------------------------------------------------------------------------


def _servers(document: Document, catalog: Catalog) -> dict[str, Any]:
    if not document.servers:
        return {}
    columns = [_server(group, catalog) for group in document.servers]
    counts = [group.count for group in document.servers]
    return {key: np.repeat([column[key] for column in columns], counts) for key in columns[0]}


def _server(group: ServerGroup, catalog: Catalog) -> dict[str, float]:
    """What a server gives to each of the jobs that it trains at the same time, and what it has for all."""
    entry = None if group.device is None else catalog.device(group.device)
    rate, memory, power = group.flops_per_s, group.memory, group.power
    slots = group.accelerators if group.slots is None else group.slots
    if entry is not None:
        rate = group.accelerators * group.utilisation * entry.flops_per_s if rate is None else rate
        memory = group.accelerators * float(entry.require("memory_bytes")) if memory is None else memory
        power = float(entry.require("power_w")) if power is None else power
    return {
        "server_flops_per_s": float(rate or 0.0) / slots,
        "server_power_w": group.accelerators * float(power or 0.0) / slots,
        "server_memory_bytes": group.memory_share * float(memory or 0.0),
        "server_busy_s": slots * _first(group.horizon),
        "airtime_s": _first(group.airtime),
    }


# ---- weights --------------------------------------------------------------------------------------------------------


def fastest_options(problem: FineTuning) -> tuple[float, float]:
    """(seconds, joules) of the fastest option of every job, on average.

    What the weights are relative to: with delay = energy = 1 the time of such a job is worth as much as its energy.
    Limits do not count, neither of memory nor of quality, so that they leave the weights alone; a method that cannot
    run somewhere, and a server out of reach, do.
    """
    method = np.arange(problem.tunings)[None, :, None]
    place = np.arange(-1, problem.servers)[None, None, :]
    seconds, joules = [], []
    for first in range(0, problem.jobs, _BLOCK):
        job = np.arange(first, min(first + _BLOCK, problem.jobs))
        costs = option_costs(problem, job[:, None, None], method, place)
        may = np.where(place < 0, problem.on_device[job][:, :, None], problem.on_server[job][:, :, None])
        time = np.where(may, costs.time_s, np.inf).reshape(len(job), -1)
        best = time.argmin(axis=1)
        rows = np.arange(len(job))
        seconds.append(time[rows, best])
        energy = np.broadcast_to(costs.device_energy_j + costs.server_energy_j, costs.time_s.shape)
        joules.append(energy.reshape(len(job), -1)[rows, best])
    time, energy = np.concatenate(seconds), np.concatenate(joules)
    known = np.isfinite(time)
    return (float(time[known].mean()), float(energy[known].mean())) if known.any() else (1.0, 1.0)
