"""The fields of Deployment as one table (symbol, shape, unit, range), and the check of a whole input by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edgealloc.core.fields import Field, checked, checked_flags, checked_names, plain, positive, read_only
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, Fault

__all__ = ["AXES", "FIELDS", "FLAGS", "MOST_CLASSES", "NAMES", "checked_fields"]

#: Ways to divide more classes between device and server would be too many to list.
MOST_CLASSES: Final = 8

_SHARES: Final = "give shares: 0.9 for 90 %"
FIELDS: Final[tuple[Field, ...]] = (
    Field("device_memory_bytes", "Mem_i", "B", "device", "memory that a device has for a model"),
    Field("transmit_power_w", "P_tx", "W", "device", "power of a device while it sends", default=0.0),
    Field("query_rate_per_s", "lambda_ic", "1/s", "device x class", "queries of a class that a device is asked"),
    Field("deadline_s", "T_max", "s", "device x class", "longest delay of a query", open_low=True, optional=True,
          endless=True),
    Field("accuracy_floor", "a_min", "1", "device x class", "least accuracy of whoever answers", high=1.0, default=0.0,
          hint=_SHARES),
    Field("hallucination_ceiling", "h_max", "1", "device x class", "highest hallucination rate of whoever answers",
          high=1.0, default=1.0, hint=_SHARES),
    Field("memory_bytes", "M_v", "B", "variant", "memory that a variant takes on a device"),
    Field("tokens_per_s", "r_iv", "token/s", "device x variant", "speed at which a variant answers", default=0.0),
    Field("local_delay_s", "t_ivc", "s", "device x variant x class", "time of an answer on the device"),
    Field("local_energy_j", "e_ivc", "J", "device x variant x class", "energy of an answer on the device",
          default=0.0),
    Field("accuracy", "a_vc", "1", "variant x class", "accuracy of a variant", high=1.0, default=0.0, hint=_SHARES),
    Field("hallucination", "h_vc", "1", "variant x class", "hallucination rate of a variant", high=1.0, default=0.0,
          hint=_SHARES),
    positive("busy_s", "b_sc", "s", "server x class", "time of a server that a query takes"),
    Field("service_s", "t_sc", "s", "server x class", "time of an answer by an idle server; as `busy_s` unless given",
          optional=True),
    Field("server_energy_j", "e_sc", "J", "server x class", "energy of an answer at a server", default=0.0),
    Field("server_accuracy", "a_sc", "1", "server x class", "accuracy of a server's model", high=1.0, default=1.0,
          hint=_SHARES),
    Field("server_hallucination", "h_sc", "1", "server x class", "hallucination rate of a server's model", high=1.0,
          default=0.0, hint=_SHARES),
    Field("load_limit", "L_s", "1", "server", "largest share of the time that a server may be busy", open_low=True,
          high=0.999, default=0.9, hint="a server that is always busy never catches up"),
    Field("airtime_limit", "A_s", "1", "server", "largest share of the time that a server's cell may transmit",
          optional=True, endless=True),
    Field("uplink_bps", "R_up", "bit/s", "device x server", "rate from a device to a server; 0: out of reach",
          default=0.0),
    Field("downlink_bps", "R_down", "bit/s", "device x server", "rate from a server to a device; 0: out of reach",
          default=0.0),
    Field("round_trip_s", "rtt_is", "s", "device x server", "latency of the network, there and back", default=0.0),
    Field("prompt_bytes", "", "B", "class", "what is sent with a query of a class", default=0.0),
    Field("answer_bytes", "", "B", "class", "what is sent back", default=0.0),
    Field("usable_tokens_per_s", "r_min", "token/s", "scalar", "speed from which a variant is of use", default=0.0),
    Field("device_load_limit", "L_dev", "1", "scalar", "largest share of the time that a device may be busy",
          open_low=True, default=1.0, endless=True),
    Field("energy_limit_j", "E", "J", "scalar", "most energy of the average query", optional=True),
    Field("hallucination_limit", "H", "1", "scalar", "highest hallucination rate of the average answer", high=1.0,
          optional=True, hint=_SHARES),
    Field("error_limit", "1-A", "1", "scalar", "most wrong answers: 1 - accuracy of the average answer", high=1.0,
          optional=True, hint=_SHARES),
    Field("inaccessible_limit", "X", "1", "scalar", "most devices without a variant that is of use", high=1.0,
          optional=True, hint=_SHARES),
    Field("hallucination_weight", "w_h", "1", "scalar", "objective per unit of the hallucination rate", default=0.0),
    Field("error_weight", "w_a", "1", "scalar", "objective per unit of wrong answers", default=0.0),
    Field("inaccessible_weight", "w_x", "1", "scalar", "objective per unit of devices without access", default=0.0),
)
#: What is true or false: name -> meaning.
FLAGS: Final[dict[str, str]] = {"runs": "a device's software and hardware can run a variant"}
AXES: Final[dict[str, str]] = {
    "device": "(devices,)", "variant": "(variants,)", "class": "(classes,)", "server": "(servers,)",
    "device x class": "(devices, classes)", "device x variant": "(devices, variants)",
    "variant x class": "(variants, classes)", "server x class": "(servers, classes)",
    "device x server": "(devices, servers)", "device x variant x class": "(devices, variants, classes)",
    "scalar": "a number",
}
#: Fields of names, and what they name.
NAMES: Final[dict[str, str]] = {
    "device_names": "device", "variant_names": "variant", "class_names": "class", "server_names": "server",
}


def checked_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Checked, read-only values of every field, by name.

    Raises
    ------
    DataError
        With every fault found.
    """
    faults: list[Fault] = []
    result: dict[str, Any] = {"source": str(values["source"])}
    sizes = _sizes(values)
    for name, what in NAMES.items():
        if values[name] is None:
            result[name] = tuple(f"{what} {k}" for k in range(sizes[what]))
        else:
            result[name] = checked_names(name, values[name], what, sizes[what], faults) or ()
    for field in FIELDS:
        shape = _shape(field.shape, sizes)
        given = values[field.name]
        if "server" in field.shape and sizes["server"] == 0:
            result[field.name] = None if field.optional and given is None else read_only(np.zeros(shape))
            continue
        if given is None and field.optional and field.endless:
            given = math.inf
        result[field.name] = checked(field, given, shape, AXES[field.shape], faults)
    if result["service_s"] is None:
        result["service_s"] = result["busy_s"]
    axes = "device x variant"
    result["runs"] = checked_flags("runs", values["runs"], _shape(axes, sizes), AXES[axes],
                                   "one for every variant, or one for every device and variant", faults)
    for what in ("device", "variant", "class"):
        if sizes[what] == 0:
            faults.append(Fault(AXES[what][1:-2], f"there is no {what}; give at least one"))
    if sizes["class"] > MOST_CLASSES:
        faults.append(Fault("classes", f"there are {sizes['class']} classes of queries; give up to {MOST_CLASSES}"))
    rates = result["query_rate_per_s"]
    if rates is not None and rates.size and not (rates > 0.0).any():
        faults.append(Fault("query_rate_per_s", "is 0 for every device and class; somebody must ask something"))
    weights = values["weights"]
    if not isinstance(weights, Weights):
        faults.append(Fault("weights", f"is a {type(weights).__name__}; give an edgealloc.Weights"))
    else:
        result["weights"] = weights
        for term in ("delay", "energy"):
            if np.size(getattr(weights, term)) != 1:
                faults.append(Fault(f"weights.{term}", f"has {np.size(getattr(weights, term))} entries; queries weigh "
                                                       "the same, so give a number"))
    if faults:
        raise DataError(faults, "Deployment")
    return result


def _shape(axes: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return () if axes == "scalar" else tuple(sizes[axis] for axis in axes.split(" x "))


def _sizes(values: Mapping[str, Any]) -> dict[str, int]:
    """Devices, variants, classes and servers, from whatever has entries for them.

    An array with fewer axes than its field stands for every entry of the first ones.
    """
    sizes = {"device": 1, "variant": 1, "class": 1, "server": 0}
    shapes = [(field.shape.split(" x "), np.shape(plain(values[field.name]))) for field in FIELDS
              if field.shape != "scalar"]
    shapes.append((["device", "variant"], np.shape(plain(values["runs"]))))
    for axes, shape in shapes:
        for axis, length in zip(axes[::-1], shape[::-1], strict=False):
            sizes[axis] = max(sizes[axis], length)
    if np.shape(plain(values["busy_s"])) == () and not _is_empty(values["busy_s"]):
        sizes["server"] = max(sizes["server"], 1)
    for name, what in NAMES.items():
        given = values[name]
        if given is not None and not isinstance(given, str) and hasattr(given, "__len__"):
            sizes[what] = max(sizes[what], len(given))
    return sizes


def _is_empty(value: Any) -> bool:
    return value is None or np.size(plain(value)) == 0
