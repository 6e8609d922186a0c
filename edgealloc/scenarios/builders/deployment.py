"""From a checked scenario to the arrays of a Deployment problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog, DeviceEntry
from edgealloc.core.weights import Weights
from edgealloc.formulations.deployment.problem import Deployment
from edgealloc.scenarios.builders.draws import drawn, stream
from edgealloc.scenarios.builders.weights import chosen_weights
from edgealloc.scenarios.deployment.answers import Answer, Host, answer, server_answer
from edgealloc.scenarios.deployment.names import device_names, server_groups, server_names, servers_called
from edgealloc.scenarios.deployment.schema import DeviceGroup, Document
from edgealloc.scenarios.deployment.variants import Compact, longest_context, served, variants

__all__ = ["build", "device_kinds", "fastest_answers", "group_answers", "server_answers", "usable_bytes"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: groups of devices that have streams of random numbers of their own
_MOST_GROUPS: Final = 1_000_000


def build(document: Document, catalog: Catalog, source: str, weights: Weights | None = None) -> Deployment:
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
    models = variants(document, catalog)
    context = longest_context(document.classes)
    parts = [_devices(document, catalog, i, models) for i in range(len(document.devices))]
    devices: dict[str, Any] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    limits, network, given = document.limits, document.network, document.weights
    problem = Deployment(
        **devices,
        **_servers(document, catalog),
        memory_bytes=[one.memory_bytes(context) for one in models],
        accuracy=np.stack([one.by_class("accuracy") for one in models]),
        hallucination=np.stack([one.by_class("hallucination") for one in models]),
        deadline_s=[np.inf if one.deadline is None else one.deadline for one in document.classes],
        accuracy_floor=[one.accuracy_floor for one in document.classes],
        hallucination_ceiling=[one.hallucination_ceiling for one in document.classes],
        prompt_bytes=[
            one.prompt_tokens * network.bytes_per_token if one.prompt is None else one.prompt
            for one in document.classes
        ],
        answer_bytes=[
            one.answer_tokens * network.bytes_per_token if one.answer is None else one.answer
            for one in document.classes
        ],
        usable_tokens_per_s=document.metrics.usable_speed,
        device_load_limit=limits.device_load,
        energy_limit_j=None if limits.energy is None or np.isinf(limits.energy) else limits.energy,
        hallucination_limit=limits.hallucination,
        error_limit=None if limits.accuracy is None else 1.0 - limits.accuracy,
        inaccessible_limit=None if limits.accessibility is None else 1.0 - limits.accessibility,
        hallucination_weight=given.hallucination,
        error_weight=given.accuracy,
        inaccessible_weight=given.accessibility,
        device_names=device_names(document),
        variant_names=tuple(one.name for one in models),
        class_names=tuple(one.name for one in document.classes),
        server_names=server_names(document),
        source=source,
    )
    return problem.replace(weights=chosen_weights(given, weights, lambda: fastest_answers(problem)))


# ---- devices --------------------------------------------------------------------------------------------------------


def device_kinds(document: Document, i: int) -> tuple[list[str], IntArray]:
    """Catalog devices of a group, and which one each of its members is."""
    group, names = document.devices[i], list(document.devices[i].device)
    if len(names) == 1:
        return names, np.zeros(group.count, dtype=np.int64)
    steps = np.cumsum(list(group.device.values()))
    drawn_at = stream(document.seed, "devices.device", i).random(group.count)
    return names, np.minimum(np.searchsorted(steps / steps[-1], drawn_at, side="right"), len(names) - 1)


def usable_bytes(group: DeviceGroup, memory_bytes: float) -> float:
    """Memory that a model may have on a device: a share of what the system does not keep for itself."""
    return group.memory_share * (memory_bytes - group.memory_reserved)


def group_answers(
    document: Document, catalog: Catalog, i: int, models: Sequence[Compact]
) -> list[tuple[DeviceEntry, list[Answer]]]:
    """What every catalog device of a group makes of every variant."""
    group = document.devices[i]
    rows = []
    for name in group.device:
        entry = catalog.device(name)
        host = Host(entry, group.framework, group.power, group.speed, group.prompt_speed, group.energy_per_token)
        rows.append((entry, [answer(host, one, document.classes) for one in models]))
    return rows


def _devices(document: Document, catalog: Catalog, i: int, models: tuple[Compact, ...]) -> dict[str, Any]:
    """Fields of the problem for the devices of a group."""
    group, size, network = document.devices[i], document.devices[i].count, document.network
    _, kind = device_kinds(document, i)
    rows = group_answers(document, catalog, i, models)
    wanted = [group.variants is None or one.name in group.variants for one in models]
    memory = [
        usable_bytes(group, float(entry.require("memory_bytes")) if group.memory is None else group.memory)
        for entry, _ in rows
    ]
    rates = np.array([group.queries.get(one.name, one.rate) for one in document.classes])
    activity = drawn(group.activity, size, document.seed, "devices.activity", i)
    power = network.transmit_power if group.transmit_power is None else group.transmit_power
    trip = network.round_trip if group.round_trip is None else group.round_trip
    return {
        "device_memory_bytes": np.array(memory)[kind],
        "transmit_power_w": np.full(size, power),
        "query_rate_per_s": activity[:, None] * rates[None],
        "runs": np.array([[not one.reason and want for one, want in zip(row, wanted, strict=True)]
                          for _, row in rows])[kind],
        "tokens_per_s": np.array([[one.tokens_per_s for one in row] for _, row in rows])[kind],
        "local_delay_s": np.array([[one.seconds for one in row] for _, row in rows])[kind],
        "local_energy_j": np.array([[one.energy_j for one in row] for _, row in rows])[kind],
        "uplink_bps": _rates(document, i, "uplink", "uplink_to"),
        "downlink_bps": _rates(document, i, "downlink", "downlink_from"),
        "round_trip_s": np.full((size, len(server_names(document))), trip),
    }  # fmt: skip


def _rates(document: Document, i: int, key: str, single: str) -> FloatArray:
    """(N, S) rates between the devices of a group and every server."""
    group = document.devices[i]
    size, servers = group.count, len(server_names(document))
    rates = np.zeros((size, servers))
    own = getattr(group, key)
    general = getattr(document.network, key) if own is None else own
    if general is not None and servers:
        rates[:] = drawn(general, size * servers, document.seed, f"devices.{key}", i).reshape(size, servers)
    for name, rate in getattr(group, single).items():
        for s in servers_called(name, server_groups(document)):
            # a stream of its own for every server, so that another line of the file leaves it alone
            rates[:, s] = drawn(rate, size, document.seed, f"devices.{key}", i + _MOST_GROUPS * (1 + s))
    return rates


# ---- servers --------------------------------------------------------------------------------------------------------


def server_answers(document: Document, catalog: Catalog) -> list[tuple[Compact, Answer]]:
    """What every group of servers answers with, and what a query takes of it."""
    found = []
    for group, one in zip(document.servers, served(document, catalog), strict=True):
        host = Host(
            catalog.device(group.device),
            group.framework,
            group.power,
            {} if group.speed is None else {one.name: group.speed},
            {} if group.prompt_speed is None else {one.name: group.prompt_speed},
        )
        found.append((one, server_answer(host, one, document.classes, group.batch, group.accelerators)))
    return found


def _servers(document: Document, catalog: Catalog) -> dict[str, Any]:
    if not document.servers:
        return {}
    counts = [group.count for group in document.servers]
    rows = server_answers(document, catalog)
    columns: dict[str, list[Any]] = {
        "busy_s": [one.busy_s for _, one in rows],
        "service_s": [one.seconds for _, one in rows],
        "server_energy_j": [one.energy_j for _, one in rows],
        "server_accuracy": [model.by_class("accuracy") for model, _ in rows],
        "server_hallucination": [model.by_class("hallucination") for model, _ in rows],
        "load_limit": [group.load_limit for group in document.servers],
        "airtime_limit": [np.inf if group.airtime is None else group.airtime for group in document.servers],
    }
    return {key: np.repeat(np.array(column), counts, axis=0) for key, column in columns.items()}


# ---- weights --------------------------------------------------------------------------------------------------------


def fastest_answers(problem: Deployment) -> tuple[float, float]:
    """(seconds, joules) of the fastest answer to every query, on average.

    What the weights are relative to. Limits do not count, neither of memory nor of accuracy, so that they leave the
    weights alone; a variant that a device cannot run, a server out of reach, and queues do not come in either.
    """
    options = problem.options
    local = np.where(problem.runs[:, :, None], options.local.answer_s, np.inf)
    time = np.concatenate([local, options.sent.network_s + options.sent.answer_s], axis=1)
    energy = np.concatenate([options.local.energy_j, options.sent.energy_j], axis=1)
    best = time.argmin(axis=1)[:, None, :]
    seconds = np.take_along_axis(time, best, axis=1)[:, 0]
    joules = np.take_along_axis(energy, best, axis=1)[:, 0]
    share = np.where(np.isfinite(seconds), problem.query_share, 0.0)
    if not share.any():
        return 1.0, 1.0
    with np.errstate(invalid="ignore"):
        means = [np.where(share > 0.0, share * one, 0.0).sum() / share.sum() for one in (seconds, joules)]
    return float(means[0]), float(means[1])
