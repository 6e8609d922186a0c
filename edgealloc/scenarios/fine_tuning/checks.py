"""What several keys of a fine-tuning file can get wrong together."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from edgealloc.catalog import Catalog
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.scenarios.checks import Keys, faulty_entry, near, salvage, salvaged_list
from edgealloc.scenarios.fine_tuning.names import job_base, member_names, servers_called
from edgealloc.scenarios.fine_tuning.schema import (
    JobGroup,
    MethodTable,
    ModelSection,
    RadioSection,
    ServerGroup,
    WeightsSection,
)
from edgealloc.scenarios.fine_tuning.settings import published_models, published_tasks, tuning_of
from edgealloc.system.transformer import Transformer
from edgealloc.system.tuning import STATE_PARTS, TUNING_METHODS, Tuning, not_applicable
from edgealloc.units import format_si

__all__ = ["MOST_JOBS", "check_fine_tuning"]

#: options are counted in jobs x methods x places; more than this is no fleet of one file any more
MOST_JOBS: Final = 1_000_000
_KEYS_OF_TUNING: Final = {"states": "optimizer_states"}


@dataclass
class _Parts:
    """The good keys of a file, and where faults go."""

    model: Keys
    methods: list[Keys]
    groups: list[Keys]
    servers: list[Keys]
    radio: Keys
    said: Mapping[str, Any]
    catalog: Catalog
    faults: list[Fault]
    tunings: list[Tuning | None] = field(default_factory=list)

    def fault(self, where: str, message: str) -> None:
        self.faults.append(Fault(where, message))


def check_fine_tuning(raw: Mapping[str, Any], folder: Path, catalog: Catalog, faults: list[Fault]) -> None:
    """Add what only several keys can get wrong together."""
    del folder
    methods = raw.get("methods")
    said = {**_table(raw.get("sources")), **_table(raw.get("assumptions"))}
    parts = _Parts(
        salvage(ModelSection, raw.get("model", {})), salvaged_list(MethodTable, methods),
        salvaged_list(JobGroup, raw.get("jobs")), salvaged_list(ServerGroup, raw.get("servers", ())),
        salvage(RadioSection, raw.get("radio", {})), said, catalog, faults,
    )  # fmt: skip
    if isinstance(methods, (list, tuple)) and not methods:
        parts.fault("methods", "is empty; leave it out for all methods, or give [[methods]] tables")
    _check_model(parts)
    _check_methods(parts)
    _check_servers(parts, raw.get("servers"))
    _check_names(parts)
    _check_applicable(parts, isinstance(methods, (list, tuple)))
    jobs = raw.get("jobs")
    for i, group in enumerate(parts.groups):
        given = jobs[i] if isinstance(jobs, Sequence) and isinstance(jobs[i], Mapping) else {}
        _check_group(parts, i, group, given)
    weights = salvage(WeightsSection, raw.get("weights", {}))
    if [weights.get(term) for term in ("delay", "energy", "quality")] == [0.0, 0.0, 0.0]:
        parts.fault("weights.delay", "is 0, and so are weights.energy and weights.quality; give one of them a weight")


def _table(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


# ---- model and methods ----------------------------------------------------------------------------------------------


def _check_model(parts: _Parts) -> None:
    states = parts.model.get("optimizer_states")
    if states is not None and states not in STATE_PARTS:
        parts.fault("model.optimizer_states", f"'{states}' is not known; {nearest(states, STATE_PARTS)}")
    if parts.model.get("name") is not None and "name" in parts.model:
        _shape(parts, "model.name", parts.model["name"])


def _shape(parts: _Parts, where: str, name: str) -> Transformer | None:
    """The shape of a model; a fault at `where` if there is none."""
    if name not in parts.catalog.models:
        if not faulty_entry("models", name, parts.faults):
            parts.fault(where, f"'{name}' is not in the catalog; {near(name, parts.catalog.models)}")
        return None
    try:
        return parts.catalog.model(name).transformer()
    except DataError as error:
        parts.faults += [Fault(where, f"'{name}': {fault}") for fault in error.faults]
        return None


def _check_methods(parts: _Parts) -> None:
    own = bool(parts.methods)
    if not own:
        parts.methods = [salvage(MethodTable, {"method": name}) for name in TUNING_METHODS]
    model = SimpleNamespace(**salvage(ModelSection, {}) | parts.model)
    if model.optimizer_states not in STATE_PARTS:
        model.optimizer_states = None
    seen: dict[str, int] = {}
    for k, table in enumerate(parts.methods):
        where = f"methods.{k}"
        tuning = None
        if table.get("method") is not None and table["method"] not in TUNING_METHODS:
            parts.fault(
                f"{where}.method", f"'{table['method']}' is no method; {nearest(table['method'], TUNING_METHODS)}"
            )
        elif set(MethodTable.model_fields) <= set(table):
            try:
                tuning = tuning_of(SimpleNamespace(**table), model)
            except DataError as error:
                parts.faults += [_of_method(where if own else "model", fault) for fault in error.faults]
        parts.tunings.append(tuning)
        name = table.get("name") or table.get("method")
        if name is not None and "name" in table and seen.setdefault(name, k) != k:
            parts.fault(f"{where}.name", f"'{name}' is the name of methods.{seen[name]}, too; give each its own")
        _check_said(parts, table.get("quality") is not None, f"{where}.quality", "methods.quality")


def _check_applicable(parts: _Parts, own: bool) -> None:
    """A method of the file can train the model of some job."""
    names = {group["model"] or parts.model.get("name") for group in parts.groups if "model" in group}
    shapes: list[Transformer] = []
    for name in names:
        if name is None or name not in parts.catalog.models:
            return  # at fault already
        with contextlib.suppress(DataError):
            shapes.append(parts.catalog.model(name).transformer())
    shapes = [shape for shape in shapes if not shape.encoder_decoder]
    for k, tuning in enumerate(parts.tunings if own and shapes else ()):
        reasons = [] if tuning is None else [not_applicable(shape, tuning) for shape in shapes]
        if reasons and all(reasons):
            parts.fault(f"methods.{k}", f"can train no job: {reasons[0]}; leave it out")


def _of_method(where: str, fault: Fault) -> Fault:
    """What a `Tuning` says of its fields, said of the keys of a table."""
    key = fault.field.split(".")[-1].split("[")[0]
    key = _KEYS_OF_TUNING.get(key, key)
    message = fault.message.replace("set states =", "set optimizer_states =")
    return Fault(f"{where}.{key}" if key in MethodTable.model_fields else where, message)


def _check_said(parts: _Parts, given: bool, *paths: str) -> None:
    """A quality needs a source, or the word assumption."""
    if given and not any(path in parts.said for path in paths):
        parts.fault(
            paths[0],
            f'is given, but not where it is from: put "{paths[-1]}" = "..." under [sources], or under [assumptions] if '
            "nobody has measured it",
        )


# ---- servers and names ----------------------------------------------------------------------------------------------


def _check_servers(parts: _Parts, raw: Any) -> None:
    for i, group in enumerate(parts.servers):
        given = raw[i] if isinstance(raw, Sequence) and isinstance(raw[i], Mapping) else {}
        _check_hardware(parts, f"servers.{i}", group, given, group.get("device"))


def _check_hardware(parts: _Parts, where: str, group: Keys, given: Mapping[str, Any], device: str | None) -> None:
    """Rate, memory and power are known: from a catalog device, or given."""
    if "device" not in group:
        return
    if device is None:
        wanted = (
            ("name", "flops_per_s", "memory", "power")
            if where.startswith("servers")
            else ("flops_per_s", "memory", "power")
        )
        for key in wanted:
            if group.get(key, "faulty") is None:
                parts.fault(
                    f"{where}.{key}",
                    "is missing: a device without a catalog entry needs it (`edgealloc catalog devices` lists them)",
                )
    elif device not in parts.catalog.devices:
        if not faulty_entry("devices", device, parts.faults):
            parts.fault(f"{where}.device", f"'{device}' is not in the catalog; {near(device, parts.catalog.devices)}")
        return
    else:
        entry = parts.catalog.device(device)
        for key, known in (("memory", entry.memory_bytes), ("power", entry.power_w)):
            if known is None and group.get(key, "faulty") is None:
                parts.fault(f"{where}.{key}", f"is missing: the catalog has no number for '{device}'; give it here")
    if "utilisation" in given and given.get("flops_per_s") is not None:
        parts.fault(
            f"{where}.utilisation",
            "is given beside flops_per_s, which is a measured rate of training already; give one of the two",
        )


def _server_groups(parts: _Parts) -> list[tuple[str | None, str | None, int]] | None:
    """(name, device, count) of the groups of servers; None where some cannot be known."""
    if not all({"name", "device", "count"} <= set(group) for group in parts.servers):
        return None
    return [(group["name"], group["device"], group["count"]) for group in parts.servers]


def _check_names(parts: _Parts) -> None:
    for what, groups in (("jobs", parts.groups), ("servers", parts.servers)):
        owner: dict[str, int] = {}
        for i, group in enumerate(groups):
            if not {"name", "count"} <= set(group):
                continue
            if len(owner) + group["count"] > MOST_JOBS:
                parts.fault(f"{what}.{i}.count", f"makes more than {MOST_JOBS} {what}; split them into several files")
                break
            device = group.get("device") if what == "servers" else None
            otherwise = job_base(i, len(groups)) if what == "jobs" else "server"
            for name in member_names(group["name"], device, group["count"], otherwise):
                if owner.setdefault(name, i) != i:
                    parts.fault(
                        f"{what}.{i}.name",
                        f"'{name}' is the name of one of {what}.{owner[name]}, too; give each its own",
                    )
                    break


# ---- jobs -----------------------------------------------------------------------------------------------------------


def _check_group(parts: _Parts, i: int, group: Keys, given: Mapping[str, Any]) -> None:
    where = f"jobs.{i}"
    for device in group.get("device") or (None,):
        _check_hardware(parts, where, group, given, device)
    _check_room(parts, where, group)
    _check_training(parts, where, group)
    _check_target(parts, where, group)
    _check_quality(parts, i, group)
    _check_radio(parts, where, group)
    if group.get("place") == "server" and not parts.servers:
        parts.fault(f"{where}.place", "is 'server', but there are no [[servers]]")


def _check_room(parts: _Parts, where: str, group: Keys) -> None:
    reserved = group.get("memory_reserved")
    if "memory" not in group or "device" not in group or not reserved:
        return
    known = [parts.catalog.device(one).memory_bytes for one in group["device"] or () if one in parts.catalog.devices]
    sizes = [group["memory"]] if group["memory"] is not None else [one for one in known if one is not None]
    if sizes and reserved >= min(sizes):
        parts.fault(
            f"{where}.memory_reserved",
            f"is {format_si(reserved, 'B')} of {format_si(min(sizes), 'B')}: nothing is left for training",
        )


def _check_training(parts: _Parts, where: str, group: Keys) -> None:
    """Model, tokens, and whether the methods can train it."""
    if not {"model", "tokens"} <= set(group):
        return
    key, name = (f"{where}.model", group["model"]) if group["model"] else ("model.name", parts.model.get("name"))
    if name is None:
        if "name" in parts.model:
            parts.fault(
                f"{where}.model",
                "is missing, and [model] has no name; give a catalog name (`edgealloc catalog models` lists them)",
            )
        return
    shape = _shape(parts, key, name) if group["model"] else None
    if shape is None:
        try:
            shape = parts.catalog.model(name).transformer()
        except DataError:
            return
    tokens, at = (
        (group["tokens"], f"{where}.tokens") if group["tokens"] else (parts.model.get("tokens"), "model.tokens")
    )
    most = parts.catalog.model(name).max_context
    if tokens is not None and shape.position_rows and tokens > most:
        parts.fault(at, f"is {tokens}; '{name}' has {most} learned positions")
    if shape.encoder_decoder:
        parts.fault(
            key, f"'{name}' has an encoder and a decoder, whose memory is not modelled; choose one of the others"
        )


def _check_target(parts: _Parts, where: str, group: Keys) -> None:
    names = {tuning.name for tuning in parts.tunings if tuning is not None}
    for key in ("steps_of", "quality"):
        for name in group.get(key, ()):
            if names and name not in names:
                parts.fault(f"{where}.{key}.{name}", f"'{name}' is no method of this file; {nearest(name, names)}")
    if {"samples", "steps", "data"} <= set(group) and group["samples"] is None:
        if group["steps"] is None and not _all_steps(parts, group):
            parts.fault(f"{where}.samples", "is missing: give samples (steps are epochs x samples / batch), or steps")
        elif group["data"] is None and parts.servers and group.get("place") != "device":
            parts.fault(f"{where}.samples", "is missing: give samples or data, the bytes that a server would be sent")


def _all_steps(parts: _Parts, group: Keys) -> bool:
    own = group.get("steps_of", {})
    return all((table.get("name") or table.get("method")) in own or table.get("steps") for table in parts.methods)


def _check_quality(parts: _Parts, i: int, group: Keys) -> None:
    where = f"jobs.{i}"
    for name in group.get("quality", ()):
        _check_said(parts, True, f"{where}.quality.{name}", f"jobs.quality.{name}", f"{where}.quality", "jobs.quality")
    if not {"task", "quality_model", "model"} <= set(group):
        return
    if group["task"] is None:
        if group["quality_model"] is not None:
            parts.fault(f"{where}.task", "is missing: quality_model says whose published qualities, task says which")
        return
    model = group["quality_model"] or group["model"] or parts.model.get("name")
    if model is None or (group["quality_model"] is None and model not in parts.catalog.models):
        return
    known = published_models()
    if model not in known:
        key = "task" if group["quality_model"] is None else "quality_model"
        parts.fault(
            f"{where}.{key}",
            f"nobody has published qualities of '{model}' that edgealloc knows; {nearest(model, known)}"
            + (" Give that as quality_model" if key == "task" else ""),
        )
    elif group["task"] not in published_tasks(model):
        tasks = published_tasks(model)
        parts.fault(
            f"{where}.task",
            f"'{group['task']}' has no published qualities of '{model}'; {nearest(group['task'], tasks)}",
        )


def _check_radio(parts: _Parts, where: str, group: Keys) -> None:
    groups = _server_groups(parts)
    for key in ("uplink_to", "downlink_from"):
        for name in group.get(key, ()):
            if groups is not None and not servers_called(name, groups):
                known = [own or device or "server" for own, device, _ in groups]
                text = nearest(name, known) if known else "there are no [[servers]]"
                parts.fault(f"{where}.{key}.{name}", f"'{name}' is no server; {text}")
    stays = group.get("place") == "device"
    if group.get("rounds") and not parts.servers:
        parts.fault(f"{where}.rounds", "is given, but there are no [[servers]] that a federation could go through")
    if not parts.servers or (stays and not group.get("rounds")):
        return
    for key, single in (("uplink", "uplink_to"), ("downlink", "downlink_from")):
        if group.get(key, "faulty") is None and parts.radio.get(key, "faulty") is None and group.get(single) == {}:
            parts.fault(
                f"radio.{key}", f"is missing, and {where} has no {key} of its own; give a rate such as '20 Mbit/s'"
            )
