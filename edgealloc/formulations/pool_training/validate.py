"""The fields of PoolTraining as one table (symbol, shape, unit, range), and the check of a whole input by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgealloc.core.fields import Field, checked, checked_count, checked_names, positive, short
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.formulations.pool_training.network import Network, Topology
from edgealloc.formulations.pool_training.plan import PARALLELISMS
from edgealloc.units import format_count

__all__ = ["FIELDS", "checked_fields"]

FIELDS: Final[tuple[Field, ...]] = (
    positive("flops_per_s", "C_i", "FLOP/s", "device", "effective rate of a device"),
    Field("memory_bytes", "Mem_i", "B", "device", "memory for training"),
    Field("busy_power_w", "P_busy", "W", "device", "power while computing"),
    Field("idle_power_w", "P_idle", "W", "device", "power of a participant while it waits"),
    Field("overhead_bytes", "", "B", "device", "memory of framework and buffers", default=0.0),
    Field("failure_probability", "q_i", "1", "device", "chance to drop out during an iteration", high=1.0, default=0.0),
    Field("forward_flops", "f_y", "FLOP", "layer", "forward pass of a layer, per sample"),
    Field("backward_flops", "b_y", "FLOP", "layer", "backward pass of a layer, per sample"),
    Field("state_bytes", "sigma_y", "B", "layer", "weights, gradients and optimiser states of a layer"),
    Field("gradient_bytes", "g_y", "B", "layer", "gradients that replicas of a layer exchange"),
    Field("checkpoint_bytes", "", "B", "layer", "what a device that takes over a layer must receive"),
    Field("activation_bytes", "a_y", "B", "layer", "activations kept from forward to backward, per sample"),
    Field("replicated_activation_bytes", "", "B", "layer",
          "part of them that every tensor-parallel device keeps in whole, per sample", default=0.0),
    Field("key_value_bytes", "", "B", "layer", "keys and values of a layer, per sample", default=0.0),
    Field("boundary_bytes", "d h beta", "B", "scalar", "activations between two layers, per sample"),
    Field("tied_bytes", "", "B", "scalar", "gradient of a table that first and last layer share", default=0.0),
    Field("tied_state_bytes", "", "B", "scalar", "its states, counted in both layers", default=0.0),
    Field("deadline_s", "T_max", "s", "scalar", "longest time of an iteration", open_low=True, optional=True),
    Field("carbon_g_per_kwh", "", "g/kWh", "scalar", "carbon intensity of the electricity", optional=True),
)
#: What an array's axes stand for.
AXES: Final[dict[str, str]] = {"device": "(devices,)", "layer": "(layers,)", "scalar": "()"}
#: Whole numbers >= 1.
COUNTS: Final = ("layers", "batch", "micro_batches", "tokens", "heads")


def checked_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check and normalise the arguments of PoolTraining.

    Parameters
    ----------
    values : mapping
        Every field of the dataclass by name, as given.

    Returns
    -------
    dict
        The same keys with read-only arrays, numbers broadcast; "network" in addition.

    Raises
    ------
    DataError
        With every fault found: field, index, value, unit, allowed range.
    """
    faults: list[Fault] = []
    result: dict[str, Any] = {"source": str(values["source"])}
    for name in COUNTS:
        result[name] = checked_count(name, values[name], faults)
    sizes = {"device": max((_size(values[f.name]) for f in FIELDS if f.shape == "device"), default=1)}
    # one number may stand for every device that is named
    count = None if sizes["device"] == 1 else sizes["device"]
    names = checked_names("device_names", values["device_names"], "device", count, faults)
    if names is not None:
        sizes["device"] = max(sizes["device"], len(names))
    shapes = {"device": (sizes["device"],), "layer": (result["layers"],), "scalar": ()}
    for field in FIELDS:
        result[field.name] = checked(field, values[field.name], shapes[field.shape], AXES[field.shape], faults)
    result["parallelisms"] = _parallelisms(values["parallelisms"], faults)
    weights = values["weights"]
    if not isinstance(weights, Weights):
        faults.append(Fault("weights", f"is a {type(weights).__name__}; give an edgealloc.Weights"))
    else:
        _check_weights(weights, faults)
    result["device_names"], result["topology"] = names, None
    nodes = len(getattr(values["topology"], "nodes", ()))
    if names is None and sizes["device"] == 1 and nodes > 1 and not any(np.ndim(values[f.name]) for f in FIELDS
                                                                        if f.shape == "device"):
        faults.append(Fault("flops_per_s", f"is one number, so how many of the {nodes} nodes of the topology are "
                                           "devices is not said; give one entry per device, or device_names"))
    topology = _topology(values["topology"], names, sizes["device"], faults)
    if topology is not None:
        result["topology"] = topology
        if names is None:
            result["device_names"] = topology.nodes[: sizes["device"]]
        result["network"] = _network(topology, result["device_names"], sizes["device"], faults)
    _check_together(result, faults)
    if faults:
        raise DataError(faults, "PoolTraining")
    return result


def _size(value: Any) -> int:
    try:
        return int(np.size(value))
    except (TypeError, ValueError):
        return 1


def _parallelisms(value: Any, faults: list[Fault]) -> tuple[str, ...]:
    if not isinstance(value, (str, Sequence, set, frozenset)):
        faults.append(Fault("parallelisms", f"is {short(value)}; give some of {', '.join(PARALLELISMS)}"))
        return PARALLELISMS
    wanted = (value,) if isinstance(value, str) else tuple(value)
    unknown = [one for one in wanted if one not in PARALLELISMS]
    if unknown or not wanted:
        faults.append(Fault("parallelisms", f"holds {unknown[0]!r}; {nearest(str(unknown[0]), PARALLELISMS)}"
                            if unknown else f"is empty; give some of {', '.join(PARALLELISMS)}"))
    return tuple(one for one in PARALLELISMS if one in wanted)


def _check_weights(weights: Weights, faults: list[Fault]) -> None:
    for term in ("delay", "energy"):
        size = np.size(getattr(weights, term))
        if size != 1:
            faults.append(Fault(f"weights.{term}", f"has {size} entries; an iteration has one time and one energy: "
                                                   "give a number"))
    if not any(np.any(np.asarray(getattr(weights, term)) > 0.0) for term in ("delay", "energy")):
        faults.append(Fault("weights", "delay and energy are both 0; give one of them a weight"))


def _topology(value: Any, names: tuple[str, ...] | None, devices: int, faults: list[Fault]) -> Topology | None:
    if isinstance(value, Topology):
        topology = value
    else:
        try:
            topology = Topology.of_graph(value, names)
        except DataError as error:
            faults.extend(error.faults)
            return None
    if len(topology.nodes) < devices:
        faults.append(Fault("topology.nodes", f"has {len(topology.nodes)} nodes for {devices} devices"))
        return None
    if topology.relays is not None and len(topology.nodes) - topology.relays != devices:
        faults.append(Fault("topology", f"has {format_count(len(topology.nodes) - topology.relays, 'device')} and "
                                        f"{format_count(topology.relays, 'relay')}, while {devices} devices are given"))
        return None
    if names is not None and topology.nodes[: len(names)] != names:
        k = next(k for k, name in enumerate(names) if k >= len(topology.nodes) or topology.nodes[k] != name)
        faults.append(Fault(f"topology.nodes[{k}]", f"is '{topology.nodes[k]}' where device_names has '{names[k]}'; "
                                                    "the devices must come first, in the same order"))
        return None
    return topology


def _network(topology: Topology, names: tuple[str, ...], devices: int, faults: list[Fault]) -> Network:
    network = Network(topology, devices)
    if network.unreachable:
        i, j = network.unreachable[0]
        cut_off = [k for k in range(devices) if not network.connected(0, k) or not network.connected(k, 0)]
        named = ", ".join(f"'{names[k]}'" for k in cut_off[:5]) + (" ..." if len(cut_off) > 5 else "")
        apart = f"; cut off from '{names[0]}': {named}" if cut_off else ""
        faults.append(Fault("topology", f"there is no route from '{names[i]}' to '{names[j]}'{apart}; connect them, or "
                                        "leave them out of the pool"))
    return network


def _check_together(result: dict[str, Any], faults: list[Fault]) -> None:
    faulty = {fault.field.partition("[")[0] for fault in faults}
    if not faulty & {"batch", "micro_batches"} and result["batch"] % result["micro_batches"]:
        batch = result["batch"]
        divisors = [k for k in range(1, min(batch, 1000) + 1) if batch % k == 0]
        faults.append(Fault("micro_batches", f"is {result['micro_batches']}; it must divide the batch of {batch}: "
                                             f"one of {', '.join(map(str, divisors))}{' ...' * (batch > 1000)}"))
    pair = ("replicated_activation_bytes", "activation_bytes")
    if not faulty & set(pair) and (result[pair[0]] > result[pair[1]]).any():
        y = int(np.flatnonzero(result[pair[0]] > result[pair[1]])[0])
        faults.append(Fault(f"{pair[0]}[{y}]", f"is {result[pair[0]][y]:g} B, above activation_bytes[{y}] = "
                                               f"{result[pair[1]][y]:g} B, of which it is a part"))
    if not faulty & {"idle_power_w", "busy_power_w"} and (result["idle_power_w"] > result["busy_power_w"]).any():
        i = int(np.flatnonzero(result["idle_power_w"] > result["busy_power_w"])[0])
        faults.append(Fault(f"idle_power_w[{i}]", f"is {result['idle_power_w'][i]:g} W, above busy_power_w[{i}] = "
                                                  f"{result['busy_power_w'][i]:g} W"))
    if not faulty & {"forward_flops", "backward_flops"} and not (
        result["forward_flops"] + result["backward_flops"]
    ).sum() > 0.0:
        faults.append(Fault("forward_flops, backward_flops", "are all 0: there is nothing to compute"))
    if not faulty & {"tied_state_bytes", "state_bytes"}:
        ends = min(result["state_bytes"][0], result["state_bytes"][-1])
        if result["tied_state_bytes"] > ends:
            faults.append(Fault("tied_state_bytes", f"is {result['tied_state_bytes']:g} B, above the states of the "
                                                    f"first or last layer ({ends:g} B), both of which contain it"))
