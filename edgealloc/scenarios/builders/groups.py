"""The groups of users and servers of a scenario as arrays: devices by name from the catalog, or by their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog, DeviceEntry
from edgealloc.scenarios.builders.draws import drawn, stream
from edgealloc.scenarios.builders.limits import group_size
from edgealloc.scenarios.split_training.schema import Document, UserGroup

__all__ = ["server_columns", "user_columns"]

FloatArray = npt.NDArray[np.float64]


def user_columns(document: Document, catalog: Catalog) -> tuple[dict[str, FloatArray], tuple[str, ...]]:
    """What every user is and has, in SI units (N,), and the users' names."""
    columns: dict[str, list[FloatArray]] = {}
    names: list[str] = []
    for i, group in enumerate(document.users):
        size = group_size(group)
        values, kinds = _user_hardware(document, catalog, i)
        values |= {
            "clock_min": np.full(size, group.clock_min),
            "idle_power": np.full(size, group.idle_power),
            "power_max": drawn(
                document.radio.power_max if group.power_max is None else group.power_max,
                size,
                document.seed,
                "users.power_max",
                i,
            ),
            "samples": _samples(group, size, document.seed, i),
            "tokens": drawn(document.model.tokens, size, document.seed, "users.tokens", i),
            "min_local_layers": np.full(size, group.min_local_layers),
            "max_local_layers": np.full(size, np.nan if group.max_local_layers is None else group.max_local_layers),
        }
        for key, value in values.items():
            columns.setdefault(key, []).append(value)
        first = len(names)
        names += [f"{group.name or kind}-{first + k}" for k, kind in enumerate(kinds)]
    return {key: np.concatenate(parts) for key, parts in columns.items()}, tuple(names)


def _user_hardware(document: Document, catalog: Catalog, i: int) -> tuple[dict[str, FloatArray], list[str]]:
    """Clock, FLOP per cycle, kappa and memory of a group's devices, and what each user's device is called."""
    group, seed = document.users[i], document.seed
    size, limited = group_size(group), document.limits.device_memory
    own = None if group.clock is None else drawn(group.clock, size, seed, "users.clock", i)
    if group.device is None:
        clock = np.zeros(size) if own is None else own
        width = drawn(group.cores or 1, size, seed, "users.cores", i)
        width *= drawn(group.flops_per_cycle or 0.0, size, seed, "users.flops_per_cycle", i)
        hardware = {
            "clock": clock,
            "flops_per_cycle": group.utilisation * width,
            "kappa": drawn(group.kappa or 0.0, size, seed, "users.kappa", i),
            "memory": np.full(size, group.memory_share * (group.memory or 0.0) if limited else 0.0),
        }
        return hardware, ["user"] * size
    devices, kind = _draw_devices(group.device, size, stream(seed, "users.device", i))
    entries = [catalog.device(name) for name in devices]
    clock = _of_devices(entries, kind, "clock_hz", None) if own is None else own
    rate = _of_devices(entries, kind, "flops_per_s", group.flops)
    power = _of_devices(entries, kind, "power_w", group.power)
    memory = np.zeros(size)
    if limited:
        memory = group.memory_share * _of_devices(entries, kind, "memory_bytes", group.memory)
    hardware = {
        "clock": clock,
        "flops_per_cycle": group.utilisation * rate / clock,
        "kappa": power / clock**3,
        "memory": memory,
    }
    return hardware, [devices[k] for k in kind.tolist()]


def _samples(group: UserGroup, size: int, seed: int, i: int) -> FloatArray:
    """A given number as it is; drawn ones are whole."""
    samples = drawn(group.samples, size, seed, "users.samples", i)
    if isinstance(group.samples, tuple) and group.samples[0] != group.samples[1]:
        samples = np.maximum(np.round(samples), 1.0)
    return samples


def _of_devices(entries: list[DeviceEntry], kind: npt.NDArray[np.int64], field: str, given: float | None) -> FloatArray:
    """Per user: the number of the user's device, or the group's own where it gives one."""
    values = [float(entry.require(field)) if given is None else given for entry in entries]
    return np.array(values, dtype=np.float64)[kind]


def _draw_devices(
    mixture: dict[str, float], size: int, numbers: np.random.Generator
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Names of a group's devices, and which one each user has."""
    devices = list(mixture)
    shares = np.array([mixture[name] for name in devices])
    if len(devices) == 1:
        return devices, np.zeros(size, dtype=np.int64)
    steps = np.cumsum(shares) / shares.sum()
    return devices, np.minimum(np.searchsorted(steps, numbers.random(size), side="right"), len(devices) - 1)


def server_columns(document: Document, catalog: Catalog) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of the problem that say what every server is (M,), and the servers' names."""
    columns: dict[str, list[FloatArray]] = {}
    names: list[str] = []
    for i, group in enumerate(document.servers):
        size = group_size(group)
        values: dict[str, Any] = {"bandwidth_max_hz": group.bandwidth, **_server_hardware(document, catalog, i)}
        for key, value in values.items():
            columns.setdefault(key, []).append(np.broadcast_to(np.asarray(value, dtype=np.float64), (size,)))
        first = len(names)
        if group.name and size == 1:
            names.append(group.name)
        else:
            names += [f"{group.name or group.device or 'server'}-{first + k}" for k in range(size)]
    return {key: np.concatenate(parts) for key, parts in columns.items()}, tuple(names)


def _server_hardware(document: Document, catalog: Catalog, i: int) -> dict[str, Any]:
    """Rate, clock and energy of a group's servers: numbers, or arrays where they are drawn."""
    group, seed = document.servers[i], document.seed
    size = group_size(group)
    # a number stays a Python float, whose powers are rounded in their own way
    clock: Any = group.clock
    if isinstance(clock, tuple):
        clock = drawn(clock, size, seed, "servers.clock", i)
    shared = group.energy == "time-shared"
    if group.device is None:
        width = drawn(group.cores or 1, size, seed, "servers.cores", i)
        width *= drawn(group.flops_per_cycle or 0.0, size, seed, "servers.flops_per_cycle", i)
        kappa = drawn(group.kappa or 0.0, size, seed, "servers.kappa", i)
        width *= group.utilisation
        own = {"server_flops_per_cycle": group.accelerators * width, "server_frequency_max_hz": clock}
        if shared:
            return {**own, "server_joules_per_flop": kappa * clock**2 / width}
        return {**own, "server_kappa": group.accelerators * kappa}
    entry = catalog.device(group.device)
    clock = entry.clock_hz if clock is None else clock
    rate = entry.flops_per_s if group.flops is None else group.flops
    power = float(entry.require("power_w")) if group.power is None else group.power
    fields = {
        "server_flops_per_cycle": group.accelerators * group.utilisation * rate / clock,
        "server_frequency_max_hz": clock,
    }
    if shared:
        return {**fields, "server_joules_per_flop": power / (group.utilisation * rate)}
    return {**fields, "server_kappa": group.accelerators * power / clock**3}
