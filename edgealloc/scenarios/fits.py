"""Which fine-tuning methods fit on a device: one model, one device, every method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from edgealloc.catalog import Catalog, DeviceEntry, ModelEntry, default_catalog
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.scenarios.fits_report import FitsReport, MethodFit
from edgealloc.system.transformer import Transformer
from edgealloc.system.tuning import (
    CONVENTIONS,
    TUNING_METHODS,
    WEIGHT_BYTES,
    Tuning,
    not_applicable,
    trainable_params,
    tuning_memory,
    tuning_named,
    tuning_step_flops,
)
from edgealloc.units import format_si, parse_quantity

__all__ = ["MEMORY_SHARES", "fits"]

#: Share of a device's memory that training may use, where nobody says: assumptions by class of device.
MEMORY_SHARES: Final[Mapping[str, float]] = {
    "phone": 0.5, "edge-gpu": 0.75, "edge-cpu": 0.75, "server-gpu": 0.9, "server-cpu": 0.9,
}  # fmt: skip
#: Share of the peak rate that training reaches, where nobody says: an assumption.
UTILISATION: Final = 0.35
#: a shorter sequence is no training on text any more
_LEAST_TOKENS: Final = 32


def fits(
    model: str | ModelEntry,
    device: str | DeviceEntry,
    *,
    methods: Iterable[str | Tuning] | None = None,
    batch: int = 1,
    tokens: int = 512,
    precision: str | None = None,
    checkpointing: bool | None = None,
    convention: str = "torch",
    memory_share: float | None = None,
    memory_overhead: float | str = 0.0,
    utilisation: float = UTILISATION,
    catalog: Catalog | None = None,
) -> FitsReport:
    """Which fine-tuning methods fit on a device, with what is left, how long a step takes, and what is missing.

    Parameters
    ----------
    model, device : str or catalog entry
        Names as `edgealloc catalog` lists them.
    methods : iterable of str or Tuning, optional
        Names of :data:`edgealloc.system.tuning.TUNING_METHODS`, or methods with options of one's own; all by default.
    batch, tokens : int
        Sequences per step, and tokens of each.
    precision : str, optional
        Of the base weights, for methods given by name: "fp32", "bf16", "int8" or "nf4".
    checkpointing : bool, optional
        Layers are computed again in the backward pass, for methods given by name.
    convention : {"torch", "peft", "textbook"}
        Which tensors count as kept for the backward pass, see :func:`edgealloc.system.tuning.tuning_memory`.
    memory_share : float, optional
        Share of the device's memory that training may use; by default :data:`MEMORY_SHARES`, an assumption.
    memory_overhead : float or str
        Framework and buffers, in bytes or with a unit.
    utilisation : float
        Share of the peak rate that training reaches; the default 0.35 is an assumption.
    catalog : Catalog, optional
        Instead of the package's.

    Returns
    -------
    FitsReport

    Raises
    ------
    DataError
        Unknown names with the nearest known ones, numbers out of range; all faults at once.

    Examples
    --------
    >>> import edgealloc as ea
    >>> report = ea.fits("opt-1.3b", "snapdragon-8-gen-3", methods=["full-adam", "lora", "mezo"])
    >>> report.fitting
    ('lora', 'mezo')
    """
    faults: list[Fault] = []
    known = default_catalog() if catalog is None else catalog
    entry = _found(model, ModelEntry, known.model, "model", faults)
    host = _found(device, DeviceEntry, known.device, "device", faults)
    shape = _collect(faults, entry.transformer) if entry is not None else None
    tunings = _tunings(methods, precision, checkpointing, faults)
    whole: tuple[tuple[str, Any], ...] = (("batch", batch), ("tokens", tokens))
    for name, value in whole:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            faults.append(Fault(name, f"is {value!r}; give a whole number >= 1"))
            continue
        learned = name == "tokens" and entry is not None and shape is not None and shape.position_rows
        if learned and value > entry.max_context:
            faults.append(Fault(name, f"is {value}; '{entry.name}' has {entry.max_context} learned positions"))
    if convention not in CONVENTIONS:
        faults.append(Fault("convention", f"is {convention!r}; {nearest(str(convention), CONVENTIONS)}"))
    for name, share in (("memory_share", memory_share), ("utilisation", utilisation)):
        if not (share is None and name == "memory_share") and not _is_share(share):
            faults.append(Fault(name, f"is {share!r}; give a share above 0 and at most 1"))
    overhead = _collect(faults, lambda: _bytes(memory_overhead))
    memory = None
    if host is not None:
        memory = _collect(faults, lambda: float(host.require("memory_bytes")))
    if faults or entry is None or host is None or shape is None or memory is None or overhead is None:
        raise DataError(faults, "fits")
    assumed = []
    if memory_share is None:
        memory_share = MEMORY_SHARES.get(host.device_class, 0.75)
        assumed.append(f"training may use {memory_share:g} of the memory (memory_share)")
    if utilisation == UTILISATION:
        assumed.append(f"training reaches {utilisation:g} of the peak rate (utilisation)")
    if overhead == 0.0:
        assumed.append("framework and buffers take nothing (memory_overhead)")
    case = _Case(shape, entry, known, batch, tokens, overhead, memory_share, memory_share * memory,
                 utilisation * host.flops_per_s, convention)  # fmt: skip
    return FitsReport(
        model=entry.name,
        device=host.name,
        batch=batch,
        tokens=tokens,
        memory_bytes=memory,
        memory_share=memory_share,
        utilisation=utilisation,
        flops_per_s=case.flops_per_s,
        assumed=tuple(assumed),
        rows=tuple(case.row(tuning, reason) for tuning, reason in tunings),
    )


# ---- what was given -------------------------------------------------------------------------------------------------


def _found(given: Any, cls: Any, find: Callable[[str], Any], what: str, faults: list[Fault]) -> Any:
    if isinstance(given, cls):
        return given
    if not isinstance(given, str):
        faults.append(Fault(what, f"is {given!r}; give a catalog name or an entry of the catalog"))
        return None
    return _collect(faults, lambda: find(given))


def _collect(faults: list[Fault], make: Callable[[], Any]) -> Any:
    try:
        return make()
    except DataError as error:
        faults += error.faults
        return None


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 < value <= 1.0


def _bytes(value: float | str) -> float:
    try:
        number = parse_quantity(value, "B")
    except ValueError as error:
        raise DataError([Fault("memory_overhead", str(error))]) from None
    if number < 0.0:
        raise DataError([Fault("memory_overhead", f"is {number:g} B; it must be >= 0")])
    return number


def _tunings(
    methods: Iterable[str | Tuning] | None, precision: str | None, checkpointing: bool | None, faults: list[Fault]
) -> list[tuple[Tuning, str]]:
    """Methods with their options, and why one of them cannot be had with these."""
    changes = {key: value for key, value in (("precision", precision), ("checkpointing", checkpointing))
               if value is not None}  # fmt: skip
    wanted: Iterable[Any] = TUNING_METHODS if methods is None else [methods] if isinstance(methods, str) else methods
    found: list[tuple[Tuning, str]] = []
    for one in wanted:
        if isinstance(one, Tuning):
            found.append((one, ""))
            continue
        if not isinstance(one, str):
            faults.append(Fault("methods", f"holds {one!r}; give names or edgealloc.system.tuning.Tuning"))
            continue
        plain = _collect(faults, partial(tuning_named, one))
        if plain is None:
            continue
        try:
            found.append((tuning_named(one, **changes), ""))
        except DataError as error:
            if precision is not None and precision not in WEIGHT_BYTES:
                faults.extend(error.faults)
                break
            found.append((plain, error.faults[0].message))
    if not found and not faults:
        faults.append(Fault("methods", "is empty; give some names, or leave it out for all methods"))
    return found


# ---- one device -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """One model on one device."""

    shape: Transformer
    entry: ModelEntry
    catalog: Catalog
    batch: int
    tokens: int
    overhead: float
    share: float
    limit: float
    flops_per_s: float
    convention: str

    @property
    def options(self) -> dict[str, Any]:
        return {"convention": self.convention, "family": self.entry.family}

    def memory(self, tuning: Tuning, batch: int, tokens: int) -> dict[str, float]:
        found = tuning_memory(self.shape, tuning, batch, tokens, overhead_bytes=self.overhead, **self.options)
        return {part: float(value) for part, value in found.parts().items()}

    def fit(self, tuning: Tuning, batch: int, tokens: int) -> bool:
        return sum(self.memory(tuning, batch, tokens).values()) <= self.limit

    def row(self, tuning: Tuning, reason: str) -> MethodFit:
        reason = reason or not_applicable(self.shape, tuning)
        if reason:
            return MethodFit(tuning, reason, {}, 0, self.limit, float("nan"))
        memory = self.memory(tuning, self.batch, self.tokens)
        work = float(tuning_step_flops(self.shape, tuning, self.batch, self.tokens, **self.options))
        trained = trainable_params(self.shape, tuning, self.entry.family)
        row = MethodFit(tuning, "", memory, trained, self.limit, work / self.flops_per_s)
        if row.fits:
            return row
        remedy, changes = self.remedy(tuning, row.total_bytes)
        return dataclasses.replace(row, remedy=remedy, changes=changes)

    def remedy(self, tuning: Tuning, need: float) -> tuple[str, dict[str, Any]]:
        """The nearest change that makes a method fit: what trains the same, a base of 4 bits, less text, a device."""
        plain, coarse = self._variants(tuning, ""), self._variants(_in_four_bits(tuning), "a base of 4 bits (nf4)")
        for variants in (plain, coarse):
            for kept, words in variants:
                if words and self.fit(kept, self.batch, self.tokens):
                    return f"fits with {words}", _differences(tuning, kept)
            for kept, words in variants:
                batch = _largest(self.batch - 1, partial(self.fit, kept, tokens=self.tokens))
                if batch:
                    return f"fits with batch {batch}{_also(words)}", {"batch": batch, **_differences(tuning, kept)}
        for kept, words in (*plain, *coarse):
            tokens = _largest(self.tokens - 1, partial(self.fit, kept, 1))
            if tokens >= _LEAST_TOKENS:
                one, first = ("", {}) if self.batch == 1 else ("batch 1 and ", {"batch": 1})
                found = {**first, "tokens": tokens, **_differences(tuning, kept)}
                return f"fits with {one}{tokens} tokens{_also(words)}", found
        hosts = [
            one
            for one in self.catalog.devices.values()
            if one.memory_bytes is not None and self._share_of(one) * one.memory_bytes >= need
        ]
        if not hosts:
            return f"needs {format_si(need, 'B')}, more than any device of the catalog has", {}
        host = min(hosts, key=lambda one: (one.memory_bytes or 0.0, one.flops_per_s))
        return f"fits on {host.name}", {"device": host.name}

    def _share_of(self, host: DeviceEntry) -> float:
        return max(self.share, MEMORY_SHARES.get(host.device_class, 0.75))

    @staticmethod
    def _variants(tuning: Tuning | None, words: str) -> list[tuple[Tuning, str]]:
        """A method, and with checkpointing if it can have it; nothing where there is no method."""
        if tuning is None:
            return []
        found = [(tuning, words)]
        if tuning.order and not tuning.checkpointing:
            both = f"{words} and checkpointing" if words else "checkpointing"
            found.append((dataclasses.replace(tuning, checkpointing=True), both))
        return found


def _in_four_bits(tuning: Tuning) -> Tuning | None:
    """The method on a base of 4 bits; None if it changes the base, or has one already."""
    if tuning.trains_base or tuning.precision == "nf4":
        return None
    return dataclasses.replace(tuning, precision="nf4")


def _differences(tuning: Tuning, other: Tuning) -> dict[str, Any]:
    fields = ("precision", "checkpointing")
    return {key: getattr(other, key) for key in fields if getattr(other, key) != getattr(tuning, key)}


def _also(words: str) -> str:
    return f", {words}" if words else ""


def _largest(most: int, good: Callable[[int], bool]) -> int:
    """The largest whole number from 1 to `most` that is good, 0 if none is; good ones come first."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if good(middle):
            low = middle
        else:
            high = middle - 1
    return low
