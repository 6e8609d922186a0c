"""What several keys of a pool-training file can get wrong together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgealloc.catalog import Catalog
from edgealloc.errors import Fault, nearest
from edgealloc.formulations.pool_training.plan import PARALLELISMS
from edgealloc.scenarios.checks import Keys, check_catalog_model, faulty_entry, near, salvage, salvaged_list
from edgealloc.scenarios.names import member_names
from edgealloc.scenarios.pool_training.names import ACCESS_POINT, SWITCH, directed, reachable
from edgealloc.scenarios.pool_training.schema import (
    DeviceGroup,
    LimitsSection,
    LinkTable,
    ModelSection,
    NetworkSection,
    WeightsSection,
)
from edgealloc.units import format_si

__all__ = ["MOST_DEVICES", "check_pool_training"]

#: pairs of devices have a route each; more than this is no pool any more
MOST_DEVICES = 2000


def check_pool_training(raw: Mapping[str, Any], folder: Path, catalog: Catalog, faults: list[Fault]) -> None:
    """Add what only several keys can get wrong together."""
    del folder
    model = salvage(ModelSection, raw.get("model"))
    groups = salvaged_list(DeviceGroup, raw.get("devices"))
    _check_model(model, catalog, faults)
    given = raw.get("devices")
    for i, group in enumerate(groups):
        keys = given[i] if isinstance(given, (list, tuple)) and isinstance(given[i], Mapping) else {}
        _check_device(f"devices.{i}", group, keys, catalog, faults)
    owner = _check_names(groups, faults)
    network = raw.get("network")
    _check_network(network if isinstance(network, Mapping) else {}, owner, faults)
    weights = salvage(WeightsSection, raw.get("weights", {}))
    if weights.get("delay") == 0.0 and weights.get("energy") == 0.0:
        faults.append(Fault("weights.delay", "is 0, and so is weights.energy; give one of them a weight"))
    limits = salvage(LimitsSection, raw.get("limits", {}))
    allowed = limits.get("parallelisms")
    if allowed is not None:
        if not allowed:
            faults.append(Fault("limits.parallelisms", f"is empty; give some of {', '.join(PARALLELISMS)}"))
        faults += [
            Fault("limits.parallelisms", f"'{one}' is no parallelism; {nearest(one, PARALLELISMS)}")
            for one in allowed
            if one not in PARALLELISMS
        ]


def _check_model(model: Keys, catalog: Catalog, faults: list[Fault]) -> None:
    shape = check_catalog_model(model, catalog, faults)
    batch, parts = model.get("batch"), model.get("micro_batches")
    if batch is not None and parts is not None and batch % parts:
        divisors = [k for k in range(1, min(batch, 10_000) + 1) if batch % k == 0]
        some = ", ".join(map(str, divisors[:12])) + (", ..." if len(divisors) > 12 else "")
        faults.append(
            Fault("model.micro_batches", f"is {parts}; it must divide the batch of {batch} evenly: one of {some}")
        )
    tokens, name = model.get("tokens"), model.get("name")
    if shape is not None and tokens is not None and shape.position_rows:
        most = catalog.model(str(name)).max_context
        if tokens > most:
            faults.append(Fault("model.tokens", f"is {tokens}; '{name}' has {most} learned positions"))


def _check_device(where: str, group: Keys, given: Mapping[str, Any], catalog: Catalog, faults: list[Fault]) -> None:
    if "device" not in group:
        return  # at fault already
    name = group["device"]
    if name is None:
        wanted = ("name", "flops_per_s", "memory", "busy_power")
        faults += [
            Fault(
                f"{where}.{key}",
                "is missing: a device without a catalog entry needs it (`edgealloc catalog devices` lists them)",
            )
            for key in wanted
            if group.get(key, "faulty") is None
        ]
        memory, power, idle = group.get("memory"), group.get("busy_power"), None
        if "utilisation" in given:
            faults.append(
                Fault(f"{where}.utilisation", "is given, but flops_per_s is a measured rate already; leave it out")
            )
    elif name not in catalog.devices:
        if not faulty_entry("devices", name, faults):
            faults.append(Fault(f"{where}.device", f"'{name}' is not in the catalog; {near(name, catalog.devices)}"))
        return
    else:
        entry = catalog.device(name)
        memory, power = group.get("memory"), group.get("busy_power")
        for key, value, known in (("memory", memory, entry.memory_bytes), ("busy_power", power, entry.power_w)):
            if value is None and known is None and key in group:
                faults.append(
                    Fault(f"{where}.{key}", f"is missing: the catalog has no number for '{name}'; give it here")
                )
        memory = entry.memory_bytes if memory is None else memory
        power, idle = entry.power_w if power is None else power, entry.idle_power_w
        if "utilisation" in given and given.get("flops_per_s") is not None:
            faults.append(
                Fault(
                    f"{where}.utilisation",
                    "is given beside flops_per_s, which is a measured rate of training already; give one of the two",
                )
            )
    if "idle_share" in given and (given.get("idle_power") is not None or idle is not None):
        other = (
            "idle_power" if given.get("idle_power") is not None else f"the idle power that the catalog has of '{name}'"
        )
        faults.append(Fault(f"{where}.idle_share", f"is given beside {other}; leave it out"))
    own = group.get("idle_power")
    if own is not None and power is not None and own > power:
        faults.append(
            Fault(f"{where}.idle_power", f"is {own:g} W, above the power while training, {power:g} W; lower it")
        )
    reserved = group.get("memory_reserved")
    if memory is not None and reserved is not None and "memory" in group and reserved >= memory:
        faults.append(
            Fault(
                f"{where}.{'memory' if reserved == 0.0 else 'memory_reserved'}",
                "is 0 B: a device without memory holds nothing of the model; give its memory, or leave it out"
                if reserved == 0.0
                else f"is {format_si(reserved, 'B')} of {format_si(memory, 'B')}: nothing is left for training",
            )
        )


def _check_names(groups: list[Keys], faults: list[Fault]) -> dict[str, int] | None:
    """Names of all devices and the group of each; None where some cannot be known."""
    owner: dict[str, int] = {}
    known = True
    for i, group in enumerate(groups):
        if not {"name", "device", "count"} <= set(group):
            known = False
            continue
        if len(owner) + group["count"] > MOST_DEVICES:
            faults.append(Fault(f"devices.{i}.count", f"makes more than {MOST_DEVICES} devices; a pool is smaller"))
            return None
        for name in member_names(group["name"], group["device"], group["count"], "device"):
            if name in owner:
                faults.append(
                    Fault(
                        f"devices.{i}.name",
                        f"'{name}' is the name of a device of devices.{owner[name]}, too; give each its own",
                    )
                )
                break
            owner[name] = i
    return owner if known and owner else None


def _check_network(raw: Mapping[str, Any], owner: dict[str, int] | None, faults: list[Fault]) -> None:
    names = None if owner is None else list(owner)
    network = salvage(NetworkSection, raw)
    kind = network.get("kind")
    if kind is None:
        return
    explicit = kind == "links"
    links = salvaged_list(LinkTable, raw.get("links"))
    if explicit and raw.get("links") is None:
        faults.append(
            Fault("network.links", "is missing: with kind = 'links' give [[network.links]] tables with a and b")
        )
    if not explicit:
        for key in ("links", "relays"):
            if raw.get(key):
                faults.append(
                    Fault(f"network.{key}", f"is given, but the network is of kind '{kind}'; use kind = 'links' for it")
                )
        if network.get("rate", "faulty") is None:
            faults.append(Fault("network.rate", f"is missing ({_RATE[kind]}, such as '100 Mbit/s')"))
    if network.get("access_point") and kind != "wifi":
        faults.append(Fault("network.access_point", f"is true, but the network is of kind '{kind}'; leave it out"))
    relays = list(network.get("relays", ())) if explicit else [SWITCH] if kind == "switch" else []
    if network.get("access_point") and kind == "wifi":
        relays.append(ACCESS_POINT)
    for k, relay in enumerate(relays):
        if owner is not None and relay in owner:
            field = f"network.relays.{k}" if explicit else f"devices.{owner[relay]}.name"
            faults.append(
                Fault(field, f"'{relay}' is the name of a device and of a relay; give one of them another name")
            )
        if relay in relays[:k]:
            faults.append(Fault(f"network.relays.{k}", f"'{relay}' is given twice"))
    if explicit and raw.get("links") is not None:
        _check_links(network, links, names, relays, faults)


_RATE = {
    "wifi": "bit/s of the channel",
    "switch": "bit/s of a port",
    "line": "bit/s of each link",
    "mesh": "bit/s of each link",
}


def _check_links(
    network: Keys, links: list[Keys], names: list[str] | None, relays: list[str], faults: list[Fault]
) -> None:
    sound = names is not None
    seen: dict[tuple[str, str], int] = {}
    for k, link in enumerate(links):
        where = f"network.links.{k}"
        for key in ("a", "b"):
            if key not in link:
                sound = False
            elif names is not None and link[key] not in names and link[key] not in relays:
                sound = False
                known = [*names, *relays]
                faults.append(
                    Fault(f"{where}.{key}", f"'{link[key]}' is no device and no relay; {_ends(link[key], known)}")
                )
        if link.get("rate", "faulty") is None and network.get("rate", "faulty") is None:
            faults.append(Fault(f"{where}.rate", "is missing, and [network] has none for all links; give bit/s"))
        if not {"a", "b", "one_way"} <= set(link):
            sound = False
            continue
        if link["a"] == link["b"]:
            faults.append(Fault(f"{where}.b", f"is '{link['b']}', the other end; a link joins two"))
        for pair in directed([link]):
            if pair in seen and seen[pair] != k:
                faults.append(
                    Fault(
                        where,
                        f"joins '{pair[0]}' to '{pair[1]}' as network.links.{seen[pair]} does; put one link with "
                        "the sum of their rates",
                    )
                )
                break
            seen[pair] = k
    if not sound or names is None:
        return
    pairs = directed(links)
    start = names[0]
    there = reachable(start, pairs)
    back = reachable(start, [(b, a) for a, b in pairs])
    for lost, said in (
        ([one for one in names if one not in there], f"cannot be reached from '{start}'"),
        ([one for one in names if one in there and one not in back], f"cannot reach '{start}'"),
    ):
        if lost:
            some = ", ".join(f"'{one}'" for one in lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
            faults.append(Fault("network.links", f"{some} {said}; link them, or leave them out of [[devices]]"))


def _ends(name: str, known: list[str]) -> str:
    text = nearest(name, known)
    return text if len(text) < 200 else f"there are {len(known)} of them, such as '{known[0]}'"
