"""From a checked scenario to the arrays of a PoolTraining problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog
from edgealloc.core.weights import Weights
from edgealloc.formulations.pool_training.network import Topology
from edgealloc.formulations.pool_training.problem import PoolTraining
from edgealloc.scenarios.builders.weights import chosen_weights
from edgealloc.scenarios.names import member_names
from edgealloc.scenarios.pool_training.names import ACCESS_POINT, SWITCH
from edgealloc.scenarios.pool_training.schema import DeviceGroup, Document, NetworkSection
from edgealloc.system.layers import LayerLoads, layer_loads

__all__ = ["build", "device_names", "fastest_alone", "loads", "overhead_bytes", "topology", "usable_bytes"]

FloatArray = npt.NDArray[np.float64]


def build(document: Document, catalog: Catalog, source: str, weights: Weights | None = None) -> PoolTraining:
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
    model = document.model
    shape = catalog.model(model.name).transformer()
    names = device_names(document)
    each = loads(document, catalog)
    columns = [_device(group, catalog) for group in document.devices]
    devices: dict[str, Any] = {
        field: np.repeat([column[field] for column in columns], [group.count for group in document.devices])
        for field in columns[0]
    }
    # a limit that the file leaves out is left to the problem's default
    allowed: dict[str, Any] = (
        {} if document.limits.parallelisms is None else {"parallelisms": document.limits.parallelisms}
    )
    problem = PoolTraining(
        **devices,
        overhead_bytes=overhead_bytes(document, each),
        device_names=names,
        topology=topology(document.network, names),
        layers=len(each.forward_flops),
        forward_flops=each.forward_flops,
        backward_flops=each.backward_flops,
        state_bytes=each.state_bytes,
        gradient_bytes=each.gradient_bytes,
        checkpoint_bytes=each.checkpoint_bytes,
        activation_bytes=each.activation_bytes,
        replicated_activation_bytes=each.replicated_activation_bytes,
        key_value_bytes=each.key_value_bytes,
        boundary_bytes=each.boundary_bytes,
        tied_bytes=each.tied_bytes,
        tied_state_bytes=each.tied_state_bytes,
        batch=model.batch,
        micro_batches=model.micro_batches,
        tokens=model.tokens,
        heads=shape.heads,
        **allowed,
        deadline_s=document.limits.deadline,
        carbon_g_per_kwh=document.carbon_g_per_kwh,
        source=source,
    )
    return problem.replace(weights=chosen_weights(document.weights, weights, lambda: fastest_alone(problem)[1:]))


def loads(document: Document, catalog: Catalog) -> LayerLoads:
    """Work and bytes of every layer of the model."""
    model = document.model
    return layer_loads(
        catalog.model(model.name).transformer(),
        model.tokens,
        training=model.training,
        lora_rank=model.lora_rank,
        lora_targets=model.lora_targets,
        states=model.optimizer_states,
        fused_attention=model.fused_attention,
        recompute=model.recompute,
        bytes_per_element=model.precision,
        count_head=model.count_head,
    )


def overhead_bytes(document: Document, each: LayerLoads) -> float:
    """Framework and buffers and, with recomputation, one layer of one micro-batch while it is computed again."""
    model = document.model
    return model.memory_overhead + model.batch // model.micro_batches * each.working_bytes


# ---- devices ------------------------------------------------------------------------------------------------------


def device_names(document: Document) -> tuple[str, ...]:
    """Names of all devices, in the order of the problem."""
    return tuple(
        name for group in document.devices for name in member_names(group.name, group.device, group.count, "device")
    )


def usable_bytes(group: DeviceGroup, catalog: Catalog) -> float:
    """Memory that training may use on a device: a share of what the system does not keep for itself."""
    memory = group.memory
    if memory is None:
        memory = float(catalog.device(str(group.device)).require("memory_bytes"))
    return group.memory_share * (memory - group.memory_reserved)


def _device(group: DeviceGroup, catalog: Catalog) -> dict[str, float]:
    """Rate, memory, powers of a device of a group."""
    entry = None if group.device is None else catalog.device(group.device)
    rate, busy, idle = group.flops_per_s, group.busy_power, group.idle_power
    if entry is not None:
        rate = group.utilisation * entry.flops_per_s if rate is None else rate
        busy = float(entry.require("power_w")) if busy is None else busy
        idle = entry.idle_power_w if idle is None else idle
    return {
        "flops_per_s": float(rate or 0.0),
        "memory_bytes": usable_bytes(group, catalog),
        "busy_power_w": float(busy or 0.0),
        "idle_power_w": group.idle_share * float(busy or 0.0) if idle is None else float(idle),
        "failure_probability": group.failure_probability,
    }


# ---- network ------------------------------------------------------------------------------------------------------


def topology(network: NetworkSection, names: tuple[str, ...]) -> Topology:
    """The network as directed links."""
    common = (network.rate or 0.0, network.latency, network.joules_per_byte)
    if network.kind == "links":
        return _linked(network, names)
    if network.kind == "switch":
        return Topology.star(names, *common, relay=SWITCH)
    if network.kind == "line":
        return Topology.line(names, *common)
    if network.kind == "mesh":
        return Topology.mesh(names, *common)
    if not network.access_point:
        return Topology.shared(names, *common)
    hub = len(names)
    ends = [end for i in range(hub) for end in ((i, hub), (hub, i))]
    return Topology(
        nodes=(*names, ACCESS_POINT),
        ends=ends,
        rate_bits_per_s=common[0],
        latency_s=common[1],
        medium=np.zeros(len(ends), dtype=np.int64),
        joules_per_byte=common[2],
    )


def _linked(network: NetworkSection, names: tuple[str, ...]) -> Topology:
    nodes = (*names, *network.relays)
    index = {name: k for k, name in enumerate(nodes)}
    media: dict[Any, int] = {}
    rows: list[tuple[int, int, float, float, int, float, float]] = []
    for k, link in enumerate(network.links):
        pair = (index[link.a], index[link.b])
        for way, (a, b) in enumerate([pair] if link.one_way else [pair, pair[::-1]]):
            rows.append(
                (
                    a,
                    b,
                    float((network.rate if link.rate is None else link.rate) or 0.0),
                    network.latency if link.latency is None else link.latency,
                    media.setdefault((k, way) if link.medium is None else link.medium, len(media)),
                    link.metric,
                    network.joules_per_byte if link.joules_per_byte is None else link.joules_per_byte,
                )
            )
    return Topology(
        nodes=nodes,
        ends=[row[:2] for row in rows],
        rate_bits_per_s=[row[2] for row in rows],
        latency_s=[row[3] for row in rows],
        medium=np.array([row[4] for row in rows], dtype=np.int64),
        metric=[row[5] for row in rows],
        joules_per_byte=[row[6] for row in rows],
    )


# ---- weights ------------------------------------------------------------------------------------------------------


def fastest_alone(problem: PoolTraining) -> tuple[int, float, float]:
    """(device, seconds, joules) of an iteration on the fastest device alone, whatever its memory.

    What the weights are relative to: with delay = energy = 1, halving the time of that device is worth as much as
    halving its energy. Of equally fast devices the one that takes least energy counts.
    """
    work = problem.batch * float((problem.forward_flops + problem.backward_flops).sum())
    seconds = work / problem.flops_per_s
    joules = problem.busy_power_w * seconds
    i = int(np.lexsort((joules, seconds))[0])
    return i, float(seconds[i]), float(joules[i])
