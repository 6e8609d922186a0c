"""How fast a variant answers on a device: the measured row where there is one, else the roofline.

Efficiencies are computed from the measured rows: ``eta_bandwidth = tokens/s x bytes read per token / peak bandwidth``
(keys and values of the short contexts of benchmarks are left out), and ``eta_flops = FLOP/s of prompts / peak``.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgealloc.catalog.catalog import Catalog, default_catalog
from edgealloc.catalog.compression_rows import FrameworkEntry, ThroughputRow, frameworks, throughput_rows
from edgealloc.catalog.entries import DeviceEntry
from edgealloc.catalog.variants import Variant, variant
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.inference import Machine, Work, prefill_seconds, tokens_per_second

__all__ = [
    "Efficiency",
    "Rate",
    "ThroughputCheck",
    "efficiency",
    "framework_named",
    "rate",
    "runs",
    "throughput_errors",
]


@dataclass(frozen=True)
class Efficiency:
    """Parts of the peaks that a framework reaches; derived.

    Attributes
    ----------
    eta_bandwidth, eta_flops : float
        Medians of the rows that `basis` names; eta_flops at least what decoding was seen to reach.
    low, high : float
        Range of eta_bandwidth over these rows.
    rows : tuple of str
        Names of the rows.
    basis : str
        Which rows: the framework's on the same device with the same bits, on the same device, with the same bits, all.
    """

    eta_bandwidth: float
    eta_flops: float
    low: float
    high: float
    rows: tuple[str, ...]
    basis: str


@dataclass(frozen=True)
class Rate:
    """Speed and power of a variant on a device with a framework.

    Attributes
    ----------
    tokens_per_s : float
        Decoding at a short context.
    prefill_tokens_per_s : float
        Of a prompt of 128 tokens.
    joules_per_token : float or None
        Of decoding, ``power / tokens_per_s``; None where no power is known.
    machine : Machine
        With the efficiencies that give these rates: for other prompts, answers and contexts.
    work : Work
    origin : {"measured", "roofline"}
        Of `tokens_per_s`.
    basis : str
        The rows, and how the power is known.
    """

    tokens_per_s: float
    prefill_tokens_per_s: float
    joules_per_token: float | None
    machine: Machine
    work: Work
    origin: Literal["measured", "roofline"]
    basis: str


@dataclass(frozen=True)
class ThroughputCheck:
    """The roofline beside a measured row.

    Attributes
    ----------
    row : ThroughputRow
    measured : float
        Tokens per second.
    peak : float
        Roofline with all of the bandwidth: weights read once per token.
    eta_bandwidth : float
        measured / peak.
    predicted : float or None
        Roofline with the efficiency of the *other* rows of the framework; None where there is no other.
    basis : str
    """

    row: ThroughputRow
    measured: float
    peak: float
    eta_bandwidth: float
    predicted: float | None
    basis: str

    @property
    def error_percent(self) -> float | None:
        """Predicted less measured, in percent of measured."""
        return None if self.predicted is None else 100.0 * (self.predicted / self.measured - 1.0)


def framework_named(name: str) -> FrameworkEntry:
    """Find a framework; an unknown name raises a DataError with the nearest known ones.

    Returns
    -------
    FrameworkEntry
    """
    known = frameworks()
    if name not in known:
        raise DataError([Fault("framework", f"'{name}' is not known; {nearest(str(name), known)}")])
    return known[name]


def peak_flops(device: DeviceEntry, framework: FrameworkEntry) -> float:
    """Peak of the unit that a framework computes with.

    Raises
    ------
    DataError
        The catalog has no such rate for the device; the message says what to set.
    """
    if framework.unit == "npu":
        return float(device.require("npu_ops_per_s"))
    if framework.unit == "cpu" and not (device.device_class.endswith("cpu") and device.cpu_flops_per_s is None):
        return float(device.require("cpu_flops_per_s"))
    return device.flops_per_s


def runs(model: Variant, device: DeviceEntry, framework: str) -> bool:
    """Whether a framework reads the variant's format and has its unit on the device; memory is another question.

    Parameters
    ----------
    model : Variant
        The compact model.
    device : DeviceEntry
        Of the catalog.
    framework : str
        Name of the software.

    Examples
    --------
    >>> phone = default_catalog().device("snapdragon-8-gen-3")
    >>> runs(variant("llama3.2-1b", "Q4_K_M"), phone, "llama.cpp-cpu")
    True
    >>> runs(variant("llama3.2-1b", "awq-int4-g128"), phone, "llama.cpp-cpu")
    False
    """
    chosen = framework_named(framework)
    if model.label.form.family not in chosen.families:
        plain = model.label.form.name.lower() in ("f16", "bf16", "f32")
        if not (plain and "llama.cpp" in chosen.families):
            return False
    if chosen.unit == "npu":
        return device.npu_ops_per_s is not None
    if chosen.unit == "cpu":
        return device.device_class.endswith("cpu") or device.cpu_flops_per_s is not None
    return not device.device_class.endswith("cpu") and device.device_class != "phone"


def efficiency(
    framework: str,
    device: str | None = None,
    bits: float | None = None,
    catalog: Catalog | None = None,
    without: str | None = None,
) -> Efficiency:
    """Efficiency of a framework from its measured rows.

    Parameters
    ----------
    framework : str
    device : str, optional
        Rows of this device are preferred.
    bits : float, optional
        Then rows with these nominal bits.
    catalog : Catalog, optional
        Devices; default :func:`edgealloc.catalog.default_catalog`.
    without : str, optional
        Name of a row to leave out.

    Raises
    ------
    DataError
        An unknown framework, or one without rows.

    Examples
    --------
    >>> found = efficiency("tinychat")
    >>> round(found.eta_bandwidth, 2), round(found.low, 2), round(found.high, 2)
    (0.7, 0.31, 0.87)
    """
    known = default_catalog() if catalog is None else catalog
    chosen = framework_named(framework)
    wanted = chosen.like or framework
    rows = [row for row in throughput_rows() if row.framework == wanted and row.name != without]
    if not rows:
        raise DataError([Fault("framework", f"'{framework}' has no measured row; give your own efficiencies")])
    basis, near = _nearest(rows, device, bits)
    found = [_eta_bandwidth(row, known) for row in near]
    prompts = [row for row in rows if row.prefill_tokens_per_s is not None]
    eta_flops = chosen.eta_flops
    if prompts:
        eta_flops = statistics.median(_eta_prompt(row, known) for row in _nearest(prompts, device, bits)[1])
    floor = max(_eta_decode(row, known) for row in rows)
    return Efficiency(
        statistics.median(found),
        max(eta_flops, floor),
        min(found),
        max(found),
        tuple(row.name for row in near),
        basis if chosen.like is None else f"{basis} of {chosen.like}",
    )


def _nearest(rows: Sequence[ThroughputRow], device: str | None, bits: float | None) -> tuple[str, list[ThroughputRow]]:
    same_device = [row for row in rows if row.device == device]
    both = [row for row in same_device if _bits(row) == bits]
    same_bits = [row for row in rows if _bits(row) == bits]
    choices = (
        ("rows of this device and these bits", both),
        ("rows of this device", same_device),
        ("rows of these bits", same_bits),
        ("all rows", list(rows)),
    )
    return next((name, found) for name, found in choices if found)


def _variant(row: ThroughputRow) -> Variant:
    return _variant_of(row.model, row.label)


@functools.cache
def _variant_of(model: str, label: str) -> Variant:
    return variant(model, label)


@functools.cache
def _work_of(model: str, label: str) -> Work:
    return _variant_of(model, label).work()


def _bits(row: ThroughputRow) -> float:
    return _variant(row).bits


def _eta_bandwidth(row: ThroughputRow, catalog: Catalog) -> float:
    bandwidth = float(catalog.device(row.device).require("memory_bandwidth_bytes_per_s"))
    return row.decode_tokens_per_s * _work_of(row.model, row.label).read_bytes / bandwidth


def _eta_prompt(row: ThroughputRow, catalog: Catalog) -> float:
    peak = peak_flops(catalog.device(row.device), framework_named(row.framework))
    return (row.prefill_tokens_per_s or 0.0) * 2.0 * _work_of(row.model, row.label).active_params / peak


def _eta_decode(row: ThroughputRow, catalog: Catalog) -> float:
    peak = peak_flops(catalog.device(row.device), framework_named(row.framework))
    return row.decode_tokens_per_s * 2.0 * _work_of(row.model, row.label).active_params / peak


def rate(
    model: Variant, device: str | DeviceEntry, framework: str, context: float = 0.0, catalog: Catalog | None = None
) -> Rate:
    """Speed of a variant on a device: a measured row of exactly this, else the roofline.

    A row is of this variant if model, device, framework and label agree, or else format and zeros (the median of
    such rows). The machine's eta_bandwidth is then the row's own; otherwise that of :func:`efficiency`.

    Parameters
    ----------
    model : Variant
    device : str or DeviceEntry
        A name of the catalog, or an entry of your own.
    framework : str
    context : float
        At which `tokens_per_s` is told.
    catalog : Catalog, optional

    Raises
    ------
    DataError
        Unknown names; a framework that does not read the format (see :func:`runs`); a device without the needed rates.

    Examples
    --------
    >>> measured = rate(variant("llama2-7b", "awq-int4-g128"), "jetson-agx-orin-64gb", "tinychat")
    >>> measured.origin, round(measured.tokens_per_s, 2)
    ('measured', 38.55)
    >>> rate(variant("llama3.2-1b", "Q4_K_M"), "snapdragon-865-12gb", "llama.cpp-cpu").origin
    'roofline'
    """
    known = default_catalog() if catalog is None else catalog
    entry = known.device(device) if isinstance(device, str) else device
    chosen = framework_named(framework)
    if not runs(model, entry, framework):
        raise DataError(
            [
                Fault(
                    "framework",
                    f"'{framework}' does not run {model.name} on {entry.name}: its formats are "
                    f"{', '.join(chosen.families)}, its unit is the {chosen.unit}",
                )
            ]
        )
    bandwidth = float(entry.require("memory_bandwidth_bytes_per_s"))
    known_entry = known.devices.get(entry.name) == entry
    found = efficiency(framework, entry.name if known_entry else None, model.bits, known)
    work = model.work(supported=chosen.sparse_2_4 and model.label.sparsity.pattern == "2:4")
    rows = _measured(model, entry.name, framework) if known_entry else []
    eta_bandwidth, eta_flops = found.eta_bandwidth, found.eta_flops
    if rows:
        speed = statistics.median(row.decode_tokens_per_s for row in rows)
        eta_bandwidth = speed * work.read_bytes / bandwidth
        prompts = [_eta_prompt(row, known) for row in rows if row.prefill_tokens_per_s is not None]
        eta_flops = statistics.median(prompts) if prompts else eta_flops
    power, told = _power(entry, framework, known)
    machine = Machine(peak_flops(entry, chosen), bandwidth, eta_flops, eta_bandwidth, power or 0.0)
    speed = float(tokens_per_second(work, machine, context))
    basis = "; ".join(row.source for row in rows) if rows else f"{found.basis}: {', '.join(found.rows)}"
    return Rate(
        tokens_per_s=speed,
        prefill_tokens_per_s=128.0 / float(prefill_seconds(work, machine, 128)),
        joules_per_token=None if power is None else power / speed,
        machine=machine,
        work=work,
        origin="measured" if rows else "roofline",
        basis=f"{basis}; power: {told}",
    )


def _measured(model: Variant, device: str, framework: str) -> list[ThroughputRow]:
    rows = [
        row
        for row in throughput_rows()
        if (row.model, row.device, row.framework) == (model.base, device, framework)
        and _variant(row).label.same_weights(model.label)
    ]
    return [row for row in rows if row.label == model.label.text] or rows


def _power(device: DeviceEntry, framework: str, catalog: Catalog) -> tuple[float | None, str]:
    rows = [row for row in throughput_rows() if row.framework == framework and row.power_w is not None]
    own = [row for row in rows if row.device == device.name]
    if own:
        return statistics.median(row.power_w or 0.0 for row in own), "measured while answering"
    alike = [row for row in rows if catalog.device(row.device).device_class == device.device_class]
    if alike and device.device_class == "phone":
        names = ", ".join(dict.fromkeys(row.device for row in alike))
        return statistics.median(row.power_w or 0.0 for row in alike), f"as measured on {names} (assumption)"
    return device.power_w, "the device's power limit" if device.power_w is not None else "not known"


def throughput_errors(
    catalog: Catalog | None = None, rows: Sequence[ThroughputRow] | None = None
) -> list[ThroughputCheck]:
    """The roofline beside every measured row; each row is predicted from the others of its framework.

    Parameters
    ----------
    catalog : Catalog, optional
        Devices.
    rows : sequence of ThroughputRow, optional
        Default: all.

    Examples
    --------
    >>> check = next(one for one in throughput_errors() if one.row.name == "rtx-4090-llama2-7b-f16-tinychat")
    >>> round(check.peak, 1), round(check.eta_bandwidth, 2)
    (76.3, 0.85)
    """
    known = default_catalog() if catalog is None else catalog
    return [_check(row, known) for row in (throughput_rows() if rows is None else rows)]


def _check(row: ThroughputRow, catalog: Catalog) -> ThroughputCheck:
    device, model = catalog.device(row.device), _variant(row)
    bandwidth = float(device.require("memory_bandwidth_bytes_per_s"))
    work = model.work()
    predicted, basis = None, "no other row"
    others = [one for one in throughput_rows() if one.framework == row.framework and one.name != row.name]
    if others:
        found = efficiency(row.framework, row.device, model.bits, catalog, without=row.name)
        peak = peak_flops(device, framework_named(row.framework))
        machine = Machine(peak, bandwidth, found.eta_flops, found.eta_bandwidth)
        predicted, basis = float(tokens_per_second(work, machine)), found.basis
    top = bandwidth / work.read_bytes
    return ThroughputCheck(row, row.decode_tokens_per_s, top, row.decode_tokens_per_s / top, predicted, basis)
