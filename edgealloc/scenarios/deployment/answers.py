"""What a machine makes of a model: whether it runs, how fast, with how much energy; measured or by the roofline."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import DeviceEntry
from edgealloc.scenarios.deployment import facts
from edgealloc.scenarios.deployment.schema import ClassTable
from edgealloc.scenarios.deployment.variants import Compact
from edgealloc.system.inference import (
    Machine,
    Work,
    busy_seconds,
    decode_token_seconds,
    prefill_seconds,
    query_cost,
    service_seconds,
    tokens_per_second,
)

__all__ = ["Answer", "Host", "answer", "server_answer"]

FloatArray = npt.NDArray[np.float64]

#: Peak rate that stands in where a device's own numbers are measured, and no framework of the catalog runs there.
_HALF: Final = 0.5


@dataclass(frozen=True)
class Host:
    """A machine, and what is measured on it.

    Attributes
    ----------
    entry : DeviceEntry
    framework : str or None
        The software that answers; the usual one where None.
    power_w : float or None
        While it answers; as the catalog has it where None.
    speed, prompt_speed, energy_per_token : mapping
        Measured token/s and J/token by name of a variant, which count before everything else.
    """

    entry: DeviceEntry
    framework: str | None = None
    power_w: float | None = None
    speed: Mapping[str, float] = field(default_factory=dict)
    prompt_speed: Mapping[str, float] = field(default_factory=dict)
    energy_per_token: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a query of every class takes of a machine.

    Attributes
    ----------
    reason : str
        Why the machine cannot run the model at all; "" if it can.
    framework : str
        The software that answers.
    tokens_per_s : float
        Speed of answering at the longest context.
    power_w : float
    prefill_s, seconds, busy_s, energy_j : (C,)
        Time to the first token; to the last; of the machine (less than that where it answers several at a time);
        energy of the machine.
    origin : str
        "given", "measured" or "roofline".
    source : str
    """

    reason: str
    framework: str
    tokens_per_s: float
    power_w: float
    prefill_s: FloatArray
    seconds: FloatArray
    busy_s: FloatArray
    energy_j: FloatArray
    origin: str
    source: str

    @property
    def mark(self) -> str:
        """How well the speed is known, a key of `report.MARKS`."""
        return {"given": "file", "measured": "seen"}.get(self.origin, "derived")


@dataclass(frozen=True)
class _Speed:
    """A model on a machine, with what the user has measured worked in."""

    work: Work
    machine: Machine
    framework: str
    origin: str
    source: str


def _tokens(classes: Sequence[ClassTable]) -> tuple[FloatArray, FloatArray]:
    prompt = np.array([one.prompt_tokens for one in classes], dtype=np.float64)
    return prompt, np.array([one.answer_tokens for one in classes], dtype=np.float64)


def _speed(host: Host, model: Compact, batch: int = 1) -> _Speed | str:
    """Work and machine, or why the model does not run there.

    A measured speed sets the bandwidth that is reached, so that longer contexts still take longer; one of a batch is
    of all its queries together.
    """
    given = host.speed.get(model.name)
    chosen = facts.framework_for(host.entry, host.framework, model.model)
    if chosen is None and given is None:
        return facts.cannot_run(host.entry, host.framework, model.model)
    if chosen is None:
        bandwidth = float(host.entry.require("memory_bandwidth_bytes_per_s"))
        power = float(host.entry.require("power_w")) if host.power_w is None else host.power_w
        machine = Machine(host.entry.flops_per_s, bandwidth, _HALF, 1.0, power)
        found = _Speed(model.model.work(), machine, host.framework or "its own", "given", "given")
    else:
        known = facts.speed(model.model, host.entry, chosen.name, host.power_w)
        # names of single rows are many; `edgealloc.catalog.compression_facts.rate` tells them
        rows, _, told = known.basis.partition("; power: ")
        source = rows if known.origin == "measured" else rows.partition(":")[0]
        told = told if host.power_w is None else "as given"
        found = _Speed(known.work, known.machine, chosen.name, known.origin, f"{source}; power: {told}")
    if given is None:
        return found
    work, machine = found.work, found.machine
    machine = dataclasses.replace(
        machine,
        eta_bandwidth=given / batch * work.read_bytes / machine.bandwidth_bytes_per_s,
        # arithmetic must not stand in the way of what was measured
        eta_flops=max(machine.eta_flops, 2.0 * given * work.active_params / machine.flops_per_s),
    )
    return dataclasses.replace(found, machine=machine, origin="given", source="given")


def answer(host: Host, model: Compact, classes: Sequence[ClassTable]) -> Answer:
    """One query at a time on a device.

    Speeds that the user has measured count first, then the catalog's for this device, model, format and framework,
    then the roofline.
    """
    found, (prompt, length) = _speed(host, model), _tokens(classes)
    if isinstance(found, str):
        nothing = np.zeros(len(classes))
        return Answer(found, "", 0.0, 0.0, nothing, nothing, nothing, nothing, "roofline", found)
    cost = query_cost(found.work, found.machine, prompt, length)
    prefill = cost.prefill_s
    if model.name in host.prompt_speed:
        prefill = prompt / host.prompt_speed[model.name]
    power, joules = found.machine.power_w, host.energy_per_token.get(model.name)
    energy = power * prefill + (power * cost.decode_s if joules is None else joules * length)
    seconds = np.asarray(prefill + cost.decode_s)
    speed = float(tokens_per_second(found.work, found.machine, float((prompt + length).max())))
    return Answer("", found.framework, speed, power, prefill, seconds, seconds, energy, found.origin, found.source)


def server_answer(host: Host, model: Compact, classes: Sequence[ClassTable], batch: int, accelerators: int) -> Answer:
    """Queries in batches at a server, each of whose accelerators has its own copy of the model.

    A query is there for the whole decoding of its batch, and takes its part of it of the server's time.
    """
    found, (prompt, length) = _speed(host, model, batch), _tokens(classes)
    if isinstance(found, str):
        nothing = np.zeros(len(classes))
        return Answer(found, "", 0.0, 0.0, nothing, nothing, nothing, nothing, "roofline", found)
    service = np.asarray(service_seconds(found.work, found.machine, prompt, length, batch))
    busy = np.asarray(busy_seconds(found.work, found.machine, prompt, length, batch))
    prefill = np.asarray(prefill_seconds(found.work, found.machine, prompt))
    if model.name in host.prompt_speed:
        own = prompt / host.prompt_speed[model.name]
        service, busy, prefill = service - prefill + own, busy - prefill + own, own
    longest = float((prompt + length).max())
    speed = batch / float(decode_token_seconds(found.work, found.machine, longest, batch))
    power = found.machine.power_w
    return Answer(
        "", found.framework, speed, power, prefill, service, busy / accelerators, power * busy, found.origin,
        found.source,
    )  # fmt: skip
