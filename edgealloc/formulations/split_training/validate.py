"""The fields of SplitTraining as one table (symbol, shape, unit, range), and the check of a whole input by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.fields import Field, as_array, checked, checked_count, checked_names, positive
from edgealloc.core.weights import TERMS, Weights
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.stability import Stability

__all__ = ["CHOICES", "FIELDS", "checked_fields"]

#: below this a link is noise in any band; 0 says "no link" and is what should be written
SMALLEST_GAIN: Final = 1e-30


FIELDS: Final[tuple[Field, ...]] = (
    positive("layer_flops", "psi_n", "FLOP", "user", "work of one layer, forward and backward, per step"),
    Field("head_flops", "psi_head", "FLOP", "user", "work of head and loss per step", default=0.0),
    positive("upload_bits", "s_n", "bit", "user", "cut-layer activations uploaded per step"),
    positive("user_flops_per_cycle", "C_n D_n", "FLOP/cycle", "user", "device work per clock cycle"),
    Field("user_kappa", "kappa_n", "W*s^3", "user", "device power is kappa f^3"),
    Field("user_frequency_min_hz", "f_min", "Hz", "user", "lowest device clock", default=0.0),
    positive("user_frequency_max_hz", "f_max", "Hz", "user", "highest device clock"),
    Field("power_min_w", "p_min", "W", "user", "lowest transmit power", default=0.0),
    positive("power_max_w", "p_max", "W", "user", "highest transmit power"),
    positive("samples", "k_n", "1", "user", "fine-tuning samples of the user"),
    Field(
        "min_local_layers",
        "alpha_min",
        "1",
        "user",
        "fewest layers on the device (privacy wants >= 1)",
        default=1.0,
        integer=True,
    ),
    Field(
        "max_local_layers",
        "alpha_max",
        "1",
        "user",
        "most layers on the device; layers = may be fully local",
        optional=True,
        integer=True,
    ),
    positive("server_flops_per_cycle", "C_m D_m", "FLOP/cycle", "server", "server work per clock cycle"),
    positive("server_frequency_max_hz", "F_m", "Hz", "server", "server clock to be shared"),
    positive("bandwidth_max_hz", "b_m", "Hz", "server", "uplink bandwidth to be shared"),
    Field(
        "server_kappa",
        "kappa_m",
        "W*s^3",
        "server",
        "clock-scaled server: power of a share F is kappa F^3",
        optional=True,
    ),
    Field(
        "server_joules_per_flop",
        "e_m",
        "J/FLOP",
        "server",
        "time-shared server: constant energy per FLOP",
        optional=True,
    ),
    Field(
        "gain",
        "g_nm",
        "1",
        "link",
        "linear channel gain, 0 = no link",
        high=1.0,
        smallest=SMALLEST_GAIN,
        hint=f"gains are linear power ratios: 0 for no link, else {SMALLEST_GAIN:g} to 1 (not decibel)",
    ),
    positive("noise_psd_w_per_hz", "N_0", "W/Hz", "scalar", "noise density"),
    Field("fixed_delay_s", "d_nm", "s", "link", "download and propagation delay", default=0.0),
    Field(
        "amplifier_efficiency",
        "eta_pa",
        "1",
        "user",
        "radiated over consumed transmit power",
        high=1.0,
        open_low=True,
        default=1.0,
    ),
    Field("circuit_power_w", "P_circuit", "W", "user", "radio circuit power while uploading", default=0.0),
    Field("idle_power_w", "P_idle", "W", "user", "device power while the server works", default=0.0),
    Field("stability_limit", "AS_max", "1", "user", "largest instability allowed", open_low=True, optional=True),
    Field("device_memory_bytes", "Mem_n", "B", "user", "device memory for training", optional=True),
    Field("memory_bytes_fixed", "", "B", "user", "memory used whatever the cut", default=0.0),
    Field("memory_bytes_per_layer", "", "B", "user", "memory per local layer", default=0.0),
    Field("memory_bytes_head", "", "B", "user", "memory of head and logits, if fully local", default=0.0),
    Field(
        "deadline_s",
        "D_n",
        "s",
        "user",
        "longest time of a step, upload always counted",
        open_low=True,
        optional=True,
        endless=True,
    ),
    Field(
        "deadline_penalty_per_s",
        "Theta_n",
        "1/s",
        "user",
        "soft deadline: objective per second late; inf = hard",
        open_low=True,
        optional=True,
        endless=True,
    ),
    Field("users_per_server", "U_m", "1", "server", "most users of a server", optional=True, integer=True),
    Field(
        "server_memory_bytes",
        "Mem_m",
        "B",
        "server",
        "server memory for the layers of its users",
        optional=True,
        endless=True,
    ),
    Field("server_memory_bytes_fixed", "", "B", "user", "server memory used whatever the cut", default=0.0),
    Field("server_memory_bytes_per_layer", "", "B", "user", "server memory per layer trained there", default=0.0),
)

#: What an array's axes stand for.
AXES: Final[dict[str, str]] = {"user": "(users,)", "server": "(servers,)", "link": "(users, servers)", "scalar": "()"}

#: Fields that are one of a few words.
CHOICES: Final[dict[str, tuple[str, ...]]] = {"resource_sense": ("at_most", "exactly"), "delay": ("sum", "max")}

_METADATA: Final = ("user_names", "server_names", "user_xy_m", "server_xy_m")


def checked_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check and normalise the arguments of SplitTraining.

    Parameters
    ----------
    values : mapping
        Every field of the dataclass by name, as given.

    Returns
    -------
    dict
        The same keys with read-only float64 (int64 for layer counts) arrays, scalars broadcast.

    Raises
    ------
    DataError
        With every fault found: field, index, value, unit, allowed range.
    """
    faults: list[Fault] = []
    result: dict[str, Any] = {"layers": checked_count("layers", values["layers"], faults)}
    users, servers = _sizes(values, faults)
    shapes: dict[str, tuple[int, ...]] = {
        "user": (users,), "server": (servers,), "link": (users, servers), "scalar": (),
    }
    unusable = {fault.field for fault in faults}
    for field in FIELDS:
        if field.name not in unusable:
            result[field.name] = checked(field, values[field.name], shapes[field.shape], AXES[field.shape], faults)
    result.update(_checked_metadata(values, users, servers, faults))
    for name, cls in (("weights", Weights), ("stability", Stability)):
        if not isinstance(values[name], cls):
            faults.append(Fault(name, f"is a {type(values[name]).__name__}; give an edgealloc.{cls.__name__}"))
    if not isinstance(values["count_upload_delay"], (bool, np.bool_)):
        faults.append(Fault("count_upload_delay", f"is {values['count_upload_delay']!r}; give True or False"))
    for name, words in CHOICES.items():
        if values[name] not in words:
            faults.append(Fault(name, f"is {values[name]!r}; {nearest(str(values[name]), words)}"))
    if isinstance(values["weights"], Weights):
        for term in TERMS:
            size = np.size(getattr(values["weights"], term))
            if size not in (1, users):
                faults.append(Fault(f"weights.{term}", f"has {size} entries for {users} users"))
    faulty = {fault.field.partition("[")[0].partition(".")[0] for fault in faults}
    _check_together(values, result, faults, faulty)
    if faults:
        raise DataError(faults, "SplitTraining")
    return result


def _sizes(values: Mapping[str, Any], faults: list[Fault]) -> tuple[int, int]:
    """N and M from the gains; if those are unusable, from the other fields, so that their faults are found too."""
    gain = as_array(values["gain"], "gain", faults)
    if gain is not None and gain.ndim == 2 and 0 not in gain.shape:
        return int(gain.shape[0]), int(gain.shape[1])
    if gain is not None:
        faults.append(Fault("gain", f"has shape {gain.shape}; it must be (users, servers), at least (1, 1)"))
    sizes = {"user": 1, "server": 1}
    for field in FIELDS:
        if field.shape in sizes:
            try:
                sizes[field.shape] = max(sizes[field.shape], int(np.size(values[field.name])))
            except (TypeError, ValueError):
                continue  # not an array at all: said where the field is checked
    return sizes["user"], sizes["server"]


def _checked_metadata(values: Mapping[str, Any], users: int, servers: int, faults: list[Fault]) -> dict[str, Any]:
    result: dict[str, Any] = {"source": str(values["source"])}
    for name in _METADATA:
        value, noun = values[name], name.split("_")[0]
        count = users if noun == "user" else servers
        result[name] = None
        if value is None:
            continue
        if name.endswith("_names"):
            result[name] = checked_names(name, value, noun, count, faults, unique=False)
        else:
            array = as_array(value, name, faults)
            if array is not None and (array.shape != (count, 2) or not np.isfinite(array).all()):
                faults.append(Fault(name, f"has shape {array.shape}; it must be ({count}, 2) finite metres"))
            elif array is not None:
                array.setflags(write=False)
                result[name] = array
    return result


def _first(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(mask)[0])


def _check_together(
    values: Mapping[str, Any], result: dict[str, Any], faults: list[Fault], faulty: set[str]
) -> None:
    """Faults that only two fields together can have, wherever both are right by themselves."""
    def sound(*names: str) -> bool:
        return not faulty & set(names)

    layers = result["layers"]
    for low, high, unit in (("user_frequency_min_hz", "user_frequency_max_hz", " Hz"),
                            ("power_min_w", "power_max_w", " W"),
                            ("min_local_layers", "max_local_layers", "")):
        if not sound(low, high) or result[high] is None:
            continue
        crossed = result[low] > result[high]
        if crossed.any():
            n = _first(crossed)
            faults.append(Fault(f"{low}[{n}]", f"is {result[low][n]:g}{unit}, above {high}[{n}] = "
                                               f"{result[high][n]:g}{unit}"))
    for name in ("min_local_layers", "max_local_layers"):
        if sound(name, "layers") and result[name] is not None and (result[name] > layers).any():
            n = _first(result[name] > layers)
            faults.append(Fault(f"{name}[{n}]", f"is {result[name][n]}; the model has {layers} layers"))
    if sound("server_kappa", "server_joules_per_flop") and (
            (result["server_kappa"] is None) == (result["server_joules_per_flop"] is None)):
        given = "neither" if result["server_kappa"] is None else "both"
        faults.append(Fault("server_kappa, server_joules_per_flop", f"{given} given; give exactly one: server_kappa "
                            "for clock-scaled shares, server_joules_per_flop for time-shared servers"))
    memory = ("memory_bytes_fixed", "memory_bytes_per_layer", "memory_bytes_head")
    if sound("device_memory_bytes", *memory) and result["device_memory_bytes"] is None and any(
            result[name].any() for name in memory):
        faults.append(Fault("device_memory_bytes", "is absent although memory_bytes_* are given; give the limit, or "
                            "leave all of them out"))
    server_memory = ("server_memory_bytes_fixed", "server_memory_bytes_per_layer")
    if sound("server_memory_bytes", *server_memory) and result["server_memory_bytes"] is None and any(
            result[name].any() for name in server_memory):
        faults.append(
            Fault(
                "server_memory_bytes",
                "is absent although server_memory_bytes_* are given; give the limit, or leave both of them out",
            )
        )
    if sound("deadline_s", "deadline_penalty_per_s") and result["deadline_s"] is None and (
            result["deadline_penalty_per_s"] is not None):
        faults.append(Fault("deadline_penalty_per_s", "is given without deadline_s, which it makes soft"))
    if values["delay"] == "max":
        _check_round(values, result, faults, faulty)
    if sound("weights", "count_upload_delay", "power_min_w", "circuit_power_w", "gain"):
        _check_weights(values, result, faults)


def _check_round(values: Mapping[str, Any], result: dict[str, Any], faults: list[Fault], faulty: set[str]) -> None:
    """What a synchronous round needs: one delay weight for all, and delays that are all counted the same way."""
    weights = values["weights"]
    if isinstance(weights, Weights) and np.unique(np.asarray(weights.delay)).size > 1:
        faults.append(
            Fault(
                "weights.delay",
                "differs between users while delay is 'max': a round has one length and one weight; give one number",
            )
        )
    if not values["count_upload_delay"]:
        faults.append(
            Fault(
                "count_upload_delay",
                "is False while delay is 'max'; a round ends when its last upload and "
                "last layer are done: leave it True",
            )
        )
    if not faulty & {"deadline_penalty_per_s"} and result["deadline_penalty_per_s"] is not None:
        faults.append(Fault("deadline_penalty_per_s", "is given while delay is 'max'; rounds take hard deadlines only: "
                            "leave it out"))


def _check_weights(values: Mapping[str, Any], result: dict[str, Any], faults: list[Fault]) -> None:
    """Weights under which something has no best value."""
    weights: Weights = values["weights"]
    users = result["gain"].shape[0]
    time, energy = weights.effective("delay", users), weights.effective("energy", users)
    if (time <= 0.0).any():
        n = _first(time <= 0.0)
        faults.append(Fault("weights.delay", f"is 0 for user {n}; it must be > 0, or no clock has a best value"))
    if not values["count_upload_delay"]:
        if (energy <= 0.0).any():
            n = _first(energy <= 0.0)
            faults.append(Fault("weights.energy", f"is 0 for user {n} while count_upload_delay is False: its upload "
                                "would cost nothing, and no bandwidth has a best value; give energy > 0"))
        endless = (energy > 0.0) & (result["power_min_w"] <= 0.0) & (result["circuit_power_w"] <= 0.0)
        if endless.any():
            n = _first(endless)
            faults.append(Fault(f"power_min_w[{n}]", "is 0 W while count_upload_delay is False: energy falls for ever "
                                "as power goes to 0, so there is no best power; give power_min_w > 0"))
