"""What several keys of a split-training file can get wrong together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog
from edgealloc.errors import DataError, Fault
from edgealloc.formulations.split_training.validate import SMALLEST_GAIN
from edgealloc.scenarios.checks import Keys, check_catalog_model, faulty_entry, near, salvage, salvaged_list
from edgealloc.scenarios.files import read_gains
from edgealloc.scenarios.quantities import short
from edgealloc.scenarios.split_training.schema import (
    AreaSection,
    LimitsSection,
    ModelSection,
    RadioSection,
    ServerGroup,
    StabilitySection,
    UserGroup,
    WeightsSection,
)
from edgealloc.system.stability import Stability
from edgealloc.system.transformer import Transformer, require_uniform

__all__ = ["MOST_LINKS", "check_split_training"]

Gains = npt.NDArray[np.float64]

#: users x servers beyond which the gain matrix alone is a gigabyte
MOST_LINKS: Final = 125_000_000


def check_split_training(raw: Mapping[str, Any], folder: Path, catalog: Catalog, faults: list[Fault]) -> Gains | None:
    """What only several keys can get wrong together; returns the gain matrix if the file names one."""
    sections = _Sections(raw)
    shape = _check_model(sections.model, catalog, faults)
    _check_groups(sections, catalog, shape, faults)
    _check_radio(sections, faults)
    _check_stability(sections.stability, faults)
    _check_deadlines(sections, faults)
    _check_server_memory(raw, sections, faults)
    return _check_links(sections, folder, faults)


class _Sections:
    """The good keys of every section; a key that is faulty or absent without a default is missing here."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.model = salvage(ModelSection, raw.get("model"))
        self.area = salvage(AreaSection, raw.get("area", {}))
        self.radio = salvage(RadioSection, raw.get("radio"))
        self.stability = salvage(StabilitySection, raw.get("stability", {}))
        self.weights = salvage(WeightsSection, raw.get("weights", {}))
        self.limits = salvage(LimitsSection, raw.get("limits", {}))
        self.users = salvaged_list(UserGroup, raw.get("users"))
        self.servers = salvaged_list(ServerGroup, raw.get("servers"))


def _check_model(model: Keys, catalog: Catalog, faults: list[Fault]) -> Transformer | None:
    shape = check_catalog_model(model, catalog, faults)
    if shape is None:
        return None
    try:
        require_uniform(shape)
    except DataError as error:
        faults += [Fault("model.name", f"'{model['name']}': {fault}") for fault in error.faults]
        return None
    return shape


def _check_groups(sections: _Sections, catalog: Catalog, shape: Transformer | None, faults: list[Fault]) -> None:
    needs_memory = {
        "users": sections.limits.get("device_memory", True),
        "servers": sections.limits.get("server_memory", False),
    }
    for kind, groups in (("users", sections.users), ("servers", sections.servers)):
        needed = ("power", "memory") if needs_memory[kind] else ("power",)
        for i, group in enumerate(groups):
            where = f"{kind}.{i}"
            count, positions = group.get("count"), group.get("positions")
            if "count" in group and "positions" in group:
                if count is None and not positions:
                    faults.append(Fault(f"{where}.count", "is missing (how many; or a list of positions)"))
                elif count is not None and positions is not None and count != len(positions):
                    faults.append(
                        Fault(
                            f"{where}.count",
                            f"is {count}, but {len(positions)} positions are given; "
                            "drop one of the two, or make them agree",
                        )
                    )
            device = group.get("device", {})
            for name in [device] if isinstance(device, str) else list(device or ()):
                _check_device(needed, where, name, group, catalog, faults)
            _check_own_numbers(needed, where, group, faults)
            if shape is not None and kind == "users":
                _check_cuts(where, group, shape.layers, faults)
    energies = sorted({group["energy"] for group in sections.servers if "energy" in group})
    if len(energies) > 1:
        faults.append(
            Fault("servers", f"use both {' and '.join(energies)} energy; all servers must use the same model")
        )


def _check_device(
    needed: tuple[str, ...], where: str, name: str, group: Keys, catalog: Catalog, faults: list[Fault]
) -> None:
    if name not in catalog.devices:
        if not faulty_entry("devices", name, faults):
            faults.append(Fault(f"{where}.device", f"'{name}' is not in the catalog; {near(name, catalog.devices)}"))
        return
    entry = catalog.device(name)
    values = {"power": entry.power_w, "memory": entry.memory_bytes}
    for key in needed:
        if values[key] is None and group.get(key, "faulty") is None:
            faults.append(Fault(f"{where}.{key}", f"is missing: the catalog has no {key} for '{name}'; give it here"))


def _check_own_numbers(needed: tuple[str, ...], where: str, group: Keys, faults: list[Fault]) -> None:
    """A device is a catalog entry, or clock, FLOP per cycle and kappa; never half of each."""
    if "device" not in group:
        return  # at fault already
    own = [key for key in ("cores", "flops_per_cycle", "kappa") if group.get(key) is not None]
    if group["device"] is not None:
        faults += [
            Fault(
                f"{where}.{key}",
                "is given beside device; leave one of the two out (flops, clock and power change a catalog device)",
            )
            for key in own
        ]
        return
    changes = [key for key in ("flops", "power") if group.get(key) is not None]
    if not own:
        faults.append(
            Fault(
                f"{where}.device",
                "is missing (`edgealloc catalog devices` lists the names; or give clock, cores, flops_per_cycle and "
                "kappa instead)",
            )
        )
        return
    wanted = ("clock", "flops_per_cycle", "kappa", *(("memory",) if "memory" in needed else ()))
    faults += [
        Fault(f"{where}.{key}", "is missing: a group without a catalog device needs it")
        for key in wanted
        if group.get(key, "faulty") is None
    ]
    faults += [
        Fault(f"{where}.{key}", "changes a catalog device, but none is given; give flops_per_cycle and kappa alone")
        for key in changes
    ]


def _check_cuts(where: str, group: Keys, layers: int, faults: list[Fault]) -> None:
    low, high = group.get("min_local_layers"), group.get("max_local_layers")
    for key, value in (("min_local_layers", low), ("max_local_layers", high)):
        if value is not None and value > layers:
            faults.append(Fault(f"{where}.{key}", f"is {value}; the model has {layers} layers"))
    if low is not None and high is not None and low > high:
        faults.append(Fault(f"{where}.min_local_layers", f"is {low}, above max_local_layers = {high}"))


def _check_deadlines(sections: _Sections, faults: list[Fault]) -> None:
    """A price of being late needs a deadline; synchronous rounds take neither that price nor uncounted uploads."""
    limits, faulty = sections.limits, -1.0  # a deadline that is at fault already is one all the same
    somebody = False
    prices = [("limits.deadline_penalty", limits.get("deadline_penalty"))]
    for i, group in enumerate(sections.users):
        where, deadline, price = f"users.{i}", group.get("deadline", faulty), group.get("deadline_penalty")
        if deadline is None:
            deadline = limits.get("deadline", faulty)
        has_deadline = deadline is not None and bool(np.isfinite(deadline))
        somebody |= has_deadline
        prices.append((f"{where}.deadline_penalty", price))
        if price is not None and np.isfinite(price) and not has_deadline:
            faults.append(
                Fault(
                    f"{where}.deadline_penalty",
                    f"is {price:g}, but these users have no deadline to be late for; give them one "
                    "(deadline = '300 ms', here or under [limits]), or leave the penalty out",
                )
            )
    general = limits.get("deadline_penalty")
    if general is not None and np.isfinite(general) and sections.users and not somebody:
        faults.append(
            Fault(
                "limits.deadline_penalty",
                f"is {general:g}, but nobody has a deadline to be late for; give deadline = '300 ms' under [limits] "
                "or in a [[users]] table, or leave the penalty out",
            )
        )
    if sections.weights.get("delay_over_users") != "max":
        return
    for where, price in prices:
        if price is not None and np.isfinite(price):
            faults.append(
                Fault(
                    where,
                    f"is {price:g} while weights.delay_over_users is 'max': synchronous rounds take hard deadlines "
                    "only; leave the penalty out, or use 'sum'",
                )
            )
    if not sections.radio.get("count_upload_delay", True):
        faults.append(
            Fault(
                "radio.count_upload_delay",
                "is false while weights.delay_over_users is 'max': a round ends when its last upload is done; "
                "set it to true, or use 'sum'",
            )
        )


def _check_server_memory(raw: Mapping[str, Any], sections: _Sections, faults: list[Fault]) -> None:
    """Numbers that nothing would use until the limit is switched on; switched off by name, they may stay."""
    limits = sections.limits
    switch, servers = raw.get("limits", {}), raw.get("servers")
    if isinstance(switch, Mapping) and "server_memory" not in switch:
        given = [
            f"servers.{i}.{key}"
            for i, group in enumerate(servers if isinstance(servers, (list, tuple)) else ())
            if isinstance(group, Mapping)
            for key in ("memory", "memory_share")
            if group.get(key) is not None
        ]
        if limits.get("shared_base"):
            given.append("limits.shared_base")
        faults += [
            Fault(
                where,
                "is given, but nothing uses it: the memory of servers is not limited; set server_memory = true under "
                "[limits] (or false, to keep the number for later)",
            )
            for where in given
        ]
    if limits.get("shared_base") and sections.model.get("training") == "full":
        faults.append(
            Fault(
                "limits.shared_base",
                "is true, but model.training is 'full': every user changes all weights, so there is no frozen model to "
                "share; set it to false",
            )
        )


def _check_radio(sections: _Sections, faults: list[Fault]) -> None:
    radio, area = sections.radio, sections.area
    if not radio:
        return
    for first, second, need in (("path_loss", "gain_file", True), ("noise_figure_db", "noise_density", True)):
        if first in radio and second in radio:
            given = (radio[first] is not None) + (radio[second] is not None)
            if given == 2:
                faults.append(Fault(f"radio.{second}", f"is given beside {first}; give one of the two"))
            elif not given and need:
                faults.append(Fault(f"radio.{first}", f"is missing (give {first} or {second})"))
    top = radio.get("power_max")
    low = radio.get("power_min", 0.0)
    powers = [("radio.power_max", top)] + [
        (f"users.{i}.power_max", group.get("power_max")) for i, group in enumerate(sections.users)
    ]
    for where, power in powers:
        least = power[0] if isinstance(power, tuple) else power
        if least is not None and least < low:
            faults.append(Fault(where, f"is {least:g} W, below radio.power_min = {low:g} W"))
    if not radio.get("count_upload_delay", True) and low <= 0.0 and radio.get("circuit_power", 0.0) <= 0.0:
        faults.append(
            Fault(
                "radio.power_min",
                "is 0 W while count_upload_delay is false: energy falls for ever as power "
                "goes to 0, so there is no best power; give power_min > 0",
            )
        )
    size, radius = area.get("size"), area.get("radius")
    if size is not None and radius is not None:
        faults.append(Fault("area.radius", "is given beside size; give one of the two"))
    groups = [*sections.users, *sections.servers]
    placed = all(group.get("positions", "faulty") is not None for group in groups)
    if (
        radio.get("path_loss") is not None
        and not placed
        and "size" in area
        and "radius" in area
        and not (size or radius)
    ):
        faults.append(
            Fault(
                "area.size",
                "is missing: users or servers without positions are placed in an area; "
                "give size = '600 m' or radius = '300 m' under [area]",
            )
        )


def _check_stability(keys: Keys, faults: list[Fault]) -> None:
    if not {"model", "lipschitz", "lambda_min"} <= set(keys):
        return
    try:
        Stability(keys["model"], keys["lipschitz"], keys["lambda_min"])
    except DataError as error:
        faults += error.faults


def _total(groups: list[Keys]) -> int | None:
    total = 0
    for group in groups:
        if not ("count" in group and "positions" in group):
            return None
        total += len(group["positions"]) if group["positions"] is not None else group["count"] or 0
    return total or None


def _check_links(sections: _Sections, folder: Path, faults: list[Fault]) -> Gains | None:
    users, servers = _total(sections.users), _total(sections.servers)
    if users and servers and users * servers > MOST_LINKS:
        faults.append(
            Fault(
                "users",
                f"{users} users x {servers} servers are more links than the {MOST_LINKS} that fit into a gigabyte",
            )
        )
    name = sections.radio.get("gain_file")
    if name is None:
        return None
    try:
        gain = read_gains(folder / name, sections.radio.get("gain_unit", "linear"))
    except ValueError as error:
        faults.append(Fault("radio.gain_file", str(error)))
        return None
    wanted = (users or gain.shape[0], servers or gain.shape[1])
    if gain.shape != wanted:
        faults.append(
            Fault(
                "radio.gain_file",
                f"{short(name)} has shape {gain.shape}; it must be (users, servers) = {wanted}",
            )
        )
    with np.errstate(invalid="ignore"):
        bad = ~((gain == 0.0) | ((gain >= SMALLEST_GAIN) & (gain <= 1.0)))
    if bad.any():
        rows = np.argwhere(bad)
        n, m = (int(index) for index in rows[0])
        more = f" ({len(rows)} such entries)" if len(rows) > 1 else ""
        decibel = (
            " The values look like decibel: set gain_unit = 'dB'."
            if sections.radio.get("gain_unit") == "linear" and bool((gain[bad] < 0.0).any())
            else ""
        )
        faults.append(
            Fault(
                f"radio.gain_file[{n}, {m}]",
                f"is {gain[n, m]:g} in {short(name)}; gains are linear power "
                f"ratios, 0 for no link, else {SMALLEST_GAIN:g} to 1{more}.{decibel}",
            )
        )
    return gain
