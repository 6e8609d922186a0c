"""What several keys of a deployment file can get wrong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgealloc.catalog import Catalog
from edgealloc.catalog.compression_facts import Variant
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.formulations.deployment.validate import MOST_CLASSES
from edgealloc.scenarios.checks import Keys, faulty_entry, near, salvage, salvaged_list
from edgealloc.scenarios.deployment import facts
from edgealloc.scenarios.deployment.names import device_base, member_names, servers_called, variant_name
from edgealloc.scenarios.deployment.schema import (
    ClassTable,
    DeviceGroup,
    NetworkSection,
    ServerGroup,
    VariantTable,
    WeightsSection,
)
from edgealloc.units import format_si

__all__ = ["MOST_DEVICES", "check_deployment"]

#: options are counted in devices x variants x sets of classes; more than this is no fleet of one file any more
MOST_DEVICES: Final = 1_000_000
_TERMS: Final = ("delay", "energy", "hallucination", "accuracy", "accessibility")


@dataclass
class _Parts:
    """The good keys of a file, and where faults go."""

    variants: list[Keys]
    classes: list[Keys]
    groups: list[Keys]
    servers: list[Keys]
    network: Keys
    said: Mapping[str, Any]
    catalog: Catalog
    faults: list[Fault]

    def fault(self, where: str, message: str) -> None:
        self.faults.append(Fault(where, message))

    @property
    def class_names(self) -> list[str]:
        return [str(one["name"]) for one in self.classes if "name" in one]


def check_deployment(raw: Mapping[str, Any], folder: Path, catalog: Catalog, faults: list[Fault]) -> None:
    """Add what only several keys can get wrong together."""
    del folder
    said = {**_table(raw.get("sources")), **_table(raw.get("assumptions"))}
    parts = _Parts(
        salvaged_list(VariantTable, raw.get("variants")), salvaged_list(ClassTable, raw.get("classes")),
        salvaged_list(DeviceGroup, raw.get("devices")), salvaged_list(ServerGroup, raw.get("servers", ())),
        salvage(NetworkSection, raw.get("network", {})), said, catalog, faults,
    )  # fmt: skip
    names = _check_variants(parts)
    _check_classes(parts)
    _check_servers(parts)
    _check_names(parts)
    for i, group in enumerate(parts.groups):
        _check_group(parts, i, group, names)
    weights = salvage(WeightsSection, raw.get("weights", {}))
    if all(weights.get(term) == 0.0 for term in _TERMS):
        parts.fault("weights.delay", "is 0, and so are all other weights; give one of them a weight")


def _table(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


# ---- variants, classes ----------------------------------------------------------------------------------------------


def _check_variants(parts: _Parts) -> dict[str, Variant] | None:
    """All variants by name; None where some cannot be known."""
    found: dict[str, Variant] = {}
    owner: dict[str, int] = {}
    complete = bool(parts.variants)
    for k, table in enumerate(parts.variants):
        where = f"variants.{k}"
        sound = "model" in table and _check_model(parts, f"{where}.model", table["model"])
        forms = table.get("formats")
        if forms is not None and not forms:
            parts.fault(f"{where}.formats", "is empty; give formats such as ['f16', 'Q4_K_M']")
        if forms is not None and len(forms) > 1:
            for key in ("name", "size", "perplexity"):
                if table.get(key) is not None:
                    parts.fault(f"{where}.{key}", f"is given for {len(forms)} formats; give each format a table")
        complete = complete and bool(forms)
        for n, text in enumerate(forms or ()):
            model = _variant(parts, f"{where}.formats.{n}", table["model"], text) if sound else None
            if model is None or "name" not in table:
                complete = False
                continue
            own = variant_name(model.base, model.label.text, len(forms or ()), table["name"])
            if own in owner:
                parts.fault(
                    f"{where}.name", f"'{own}' is the name of one of variants.{owner[own]}, too; give each its own"
                )
            owner[own], found[own] = k, model
            _check_published(parts, where, table, model)
        _check_shares(parts, where, "variants", table)
    return found if complete else None


def _variant(parts: _Parts, where: str, name: str, label: str) -> Variant | None:
    try:
        return facts.compact(parts.catalog.model(name), label)
    except DataError as error:
        parts.faults += [Fault(where, fault.message) for fault in error.faults]
        return None


def _check_model(parts: _Parts, where: str, name: str) -> bool:
    """It is a decoder of the catalog."""
    if name not in parts.catalog.models:
        if not faulty_entry("models", name, parts.faults):
            parts.fault(where, f"'{name}' is not in the catalog; {near(name, parts.catalog.models)}")
        return False
    entry = parts.catalog.model(name)
    if entry.kind != "decoder":
        parts.fault(where, f"'{name}' is no decoder and writes no answers; choose another")
        return False
    try:
        entry.transformer()
    except DataError as error:
        parts.faults += [Fault(where, f"'{name}': {fault}") for fault in error.faults]
        return False
    return True


def _check_published(parts: _Parts, where: str, table: Keys, model: Variant) -> None:
    """Accuracy and hallucination are given, or follow from what has been published."""
    for key in ("accuracy", "hallucination"):
        if table.get(key, "faulty") is not None:
            continue
        asked = dict.fromkeys(one.get("benchmark") or facts.DEFAULT_BENCHMARK for one in parts.classes)
        benchmarks = [one for one in asked if one in facts.BENCHMARKS] if key == "accuracy" else [""]
        missing = [one for one in benchmarks if facts.published(model, key, one) is None]
        if missing:
            words = f"accuracy at {' and '.join(missing)}" if key == "accuracy" else "hallucination rate"
            rated = facts.published_models(key, missing[0])
            other = "another format" if model.base in rated else f"one of: {', '.join(rated)}"
            parts.fault(
                f"{where}.{key}",
                f"is missing: no {words} of '{model.name}' follows from what has been published; give a share in "
                f"[0, 1] and say where it is from, or choose {other}",
            )


def _check_shares(parts: _Parts, where: str, general: str, table: Keys) -> None:
    """Shares by class name classes, and say where they are from."""
    for key in ("accuracy", "hallucination"):
        given = table.get(key)
        if given is None:
            continue
        for name in given:
            if name and parts.class_names and name not in parts.class_names:
                parts.fault(f"{where}.{key}.{name}", f"'{name}' is no class; {nearest(name, parts.class_names)}")
        missing = [] if "" in given else [name for name in parts.class_names if name not in given]
        if missing:
            parts.fault(f"{where}.{key}", f"has no share for {', '.join(missing)}; give one for every class")
        if not {f"{where}.{key}", f"{general}.{key}"} & set(parts.said):
            parts.fault(
                f"{where}.{key}",
                f'is given, but not where it is from: put "{where}.{key}" = "..." under [sources], or under '
                "[assumptions] if nobody has measured it",
            )


def _check_classes(parts: _Parts) -> None:
    if len(parts.classes) > MOST_CLASSES:
        parts.fault("classes", f"has {len(parts.classes)} tables; give up to {MOST_CLASSES} classes")
    owner: dict[str, int] = {}
    for c, name in enumerate(one.get("name") for one in parts.classes):
        if name is not None and owner.setdefault(name, c) != c:
            parts.fault(f"classes.{c}.name", f"'{name}' is the name of classes.{owner[name]}, too; give each its own")
    rates = [one.get("rate") for one in parts.classes]
    asked = any(any(group.get("queries", {"?": 1.0}).values()) for group in parts.groups)
    if rates and not any(rate is None or rate > 0.0 for rate in rates) and not asked:
        parts.fault("classes.0.rate", "is 0, and so are all others; somebody must ask something")
    for c, one in enumerate(parts.classes):
        benchmark = one.get("benchmark")
        if benchmark is not None and benchmark not in facts.BENCHMARKS:
            parts.fault(f"classes.{c}.benchmark", f"'{benchmark}' is not known; {nearest(benchmark, facts.BENCHMARKS)}")
        for where, model in _models(parts):
            if {"prompt_tokens", "answer_tokens"} <= set(one) and model in parts.catalog.models:
                _check_context(parts, c, one, where, model)


def _models(parts: _Parts) -> list[tuple[str, str]]:
    """(path, model) of everything that answers."""
    found = [(f"variants.{k}.model", one["model"]) for k, one in enumerate(parts.variants) if "model" in one]
    return found + [(f"servers.{i}.model", one["model"]) for i, one in enumerate(parts.servers) if "model" in one]


def _check_context(parts: _Parts, c: int, table: Keys, where: str, model: str) -> None:
    most, tokens = parts.catalog.model(model).max_context, table["prompt_tokens"] + table["answer_tokens"]
    if tokens > most:
        parts.fault(
            f"classes.{c}.prompt_tokens",
            f"and answer_tokens are {tokens} together; '{model}' ({where}) reads and writes at most {most}",
        )


# ---- servers and names ----------------------------------------------------------------------------------------------


def _check_servers(parts: _Parts) -> None:
    for i, group in enumerate(parts.servers):
        where = f"servers.{i}"
        _check_shares(parts, where, "servers", group)
        model = None
        if {"model", "format"} <= set(group) and _check_model(parts, f"{where}.model", group["model"]):
            model = _variant(parts, f"{where}.format", group["model"], group["format"])
        if model is not None:
            _check_published(parts, where, group, model)
        there = "device" in group and _check_device(parts, where, group, group["device"])
        framework = _framework(parts, where, group)
        if not there or model is None or framework == "faulty":
            continue
        reason = facts.cannot_run(parts.catalog.device(group["device"]), framework, model)
        if reason and group.get("speed") is None:
            parts.fault(f"{where}.format", f"{reason}; choose another")
        else:
            _check_room(parts, where, group, model)


def _check_device(parts: _Parts, where: str, group: Keys, device: str) -> bool:
    """Memory, bandwidth and power are known, in the catalog or here."""
    if device not in parts.catalog.devices:
        if not faulty_entry("devices", device, parts.faults):
            parts.fault(f"{where}.device", f"'{device}' is not in the catalog; {near(device, parts.catalog.devices)}")
        return False
    entry = parts.catalog.device(device)
    for key, known in (("memory", entry.memory_bytes), ("power", entry.power_w)):
        if known is None and group.get(key, "faulty") is None:
            parts.fault(f"{where}.{key}", f"is missing: the catalog has no number for '{device}'; give it here")
    if entry.memory_bandwidth_bytes_per_s is None:
        parts.fault(
            f"{where}.device",
            f"'{device}' has no memory_bandwidth_bytes_per_s, which speed follows from; give it under "
            f"[catalog.devices.{device}]",
        )
        return False
    return True


def _framework(parts: _Parts, where: str, group: Keys) -> str | None:
    """The named framework, None for the usual one, or "faulty"."""
    name: str | None = group.get("framework", "faulty")
    if name is not None and name != "faulty" and name not in facts.framework_names():
        parts.fault(f"{where}.framework", f"'{name}' is not known; {nearest(name, facts.framework_names())}")
        return "faulty"
    return name


def _check_room(parts: _Parts, where: str, group: Keys, model: Variant) -> None:
    """The model of a server fits beside the contexts of a batch."""
    context = _longest(parts)
    if context is None or not {"memory", "memory_share", "batch"} <= set(group):
        return
    room = group["memory"] or parts.catalog.device(group["device"]).memory_bytes
    if room is None:
        return
    has = group["memory_share"] * room
    most = facts.room(model, has, context)
    if not most:
        parts.fault(
            f"{where}.model",
            f"'{model.name}' takes {format_si(model.memory_bytes(context), 'B')} with a context of {context} tokens, "
            f"of {format_si(has, 'B')} that it may have; choose a smaller model or format",
        )
    elif group["batch"] > most:
        parts.fault(
            f"{where}.batch",
            f"is {group['batch']}; beside the model there is room for {most} contexts of {context} tokens",
        )


def _longest(parts: _Parts) -> int | None:
    """Tokens of the longest prompt and answer; None where some are not known."""
    keys = ("prompt_tokens", "answer_tokens")
    if not parts.classes or not all(set(keys) <= set(one) for one in parts.classes):
        return None
    return max(sum(int(one[key]) for key in keys) for one in parts.classes)


def _check_names(parts: _Parts) -> None:
    for what, groups in (("devices", parts.groups), ("servers", parts.servers)):
        owner: dict[str, int] = {}
        for i, group in enumerate(groups):
            if not {"name", "count"} <= set(group):
                continue
            if len(owner) + group["count"] > MOST_DEVICES:
                text = f"makes more than {MOST_DEVICES} {what}; split them into several files"
                parts.fault(f"{what}.{i}.count", text)
                break
            device = group.get("device") if what == "servers" else None
            otherwise = device_base(i, len(groups)) if what == "devices" else "server"
            for name in member_names(group["name"], device, group["count"], otherwise):
                if owner.setdefault(name, i) != i:
                    parts.fault(
                        f"{what}.{i}.name",
                        f"'{name}' is the name of one of {what}.{owner[name]}, too; give each its own",
                    )
                    break


# ---- devices --------------------------------------------------------------------------------------------------------


def _check_group(parts: _Parts, i: int, group: Keys, names: dict[str, Variant] | None) -> None:
    where = f"devices.{i}"
    devices = [name for name in group.get("device", ()) if _check_device(parts, where, group, name)]
    if "memory" in group and group.get("memory_reserved"):
        known = [parts.catalog.device(name).memory_bytes for name in devices]
        sizes = [group["memory"]] if group["memory"] is not None else [one for one in known if one is not None]
        if sizes and group["memory_reserved"] >= min(sizes):
            parts.fault(
                f"{where}.memory_reserved",
                f"is {format_si(group['memory_reserved'], 'B')} of {format_si(min(sizes), 'B')}: nothing is left for a "
                "model",
            )
    framework = _framework(parts, where, group)
    for key in ("variants", "speed", "prompt_speed", "energy_per_token"):
        for name in group.get(key) or ():
            if names is not None and name not in names:
                parts.fault(f"{where}.{key}.{name}", f"'{name}' is no variant of this file; {near(name, names)}")
    for name in group.get("variants") or ():
        if framework == "faulty" or name not in (names or {}) or name in group.get("speed", {}):
            continue
        for device in devices:
            reason = facts.cannot_run(parts.catalog.device(device), framework, (names or {})[name])
            if reason:
                parts.fault(f"{where}.variants.{name}", f"{reason}; leave it out, or choose another framework")
    for name in group.get("queries", ()):
        if parts.class_names and name not in parts.class_names:
            parts.fault(f"{where}.queries.{name}", f"'{name}' is no class; {nearest(name, parts.class_names)}")
    _check_network(parts, where, group)


def _check_network(parts: _Parts, where: str, group: Keys) -> None:
    known = all({"name", "device", "count"} <= set(one) for one in parts.servers)
    called = [(one["name"], one["device"], one["count"]) for one in parts.servers] if known else []
    for key in ("uplink_to", "downlink_from"):
        for name in group.get(key, ()):
            if known and not servers_called(name, called):
                names = [own or device or "server" for own, device, _ in called]
                text = nearest(name, names) if names else "there are no [[servers]]"
                parts.fault(f"{where}.{key}.{name}", f"'{name}' is no server; {text}")
    for key, single in (("uplink", "uplink_to"), ("downlink", "downlink_from")):
        missing = group.get(key, "faulty") is None and parts.network.get(key, "faulty") is None
        if parts.servers and missing and isinstance(group.get(single), Mapping) and not group[single]:
            parts.fault(
                f"network.{key}", f"is missing, and {where} has no {key} of its own; give a rate such as '20 Mbit/s'"
            )
