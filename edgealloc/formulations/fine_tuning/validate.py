"""The fields of FineTuning as one table (symbol, shape, unit, range), and the check of a whole input by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edgealloc.core.fields import Field, checked, checked_flags, checked_names, plain, positive, read_only
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, Fault

__all__ = ["FIELDS", "FLAGS", "checked_fields"]

FIELDS: Final[tuple[Field, ...]] = (
    positive("device_flops_per_s", "C_i", "FLOP/s", "job", "effective rate of the job's device"),
    Field("device_memory_bytes", "Mem_i", "B", "job", "memory of the device for training"),
    Field("device_power_w", "P_i", "W", "job", "power of the device while it computes"),
    Field("transmit_power_w", "P_tx", "W", "job", "power of the device while it sends", default=0.0),
    Field("data_bytes", "", "B", "job", "training data, sent to a server that trains the job", default=0.0),
    Field("rounds", "K_i", "1", "job", "rounds of a federation, if the job is trained on its device", integer=True,
          default=0.0),
    Field("quality_floor", "q_min", "1", "job", "least quality", high=1.0, default=0.0,
          hint="give shares: 0.9 for 90 %"),
    Field("quality_weight", "w_q", "1", "job", "objective per unit of quality lost", default=0.0),
    Field("deadline_s", "T_max", "s", "job", "longest time to the target", open_low=True, optional=True, endless=True),
    Field("energy_limit_j", "E_max", "J", "job", "energy that the device may draw", optional=True, endless=True),
    Field("memory_bytes", "M_ik", "B", "job x method", "peak memory of training the job with a method"),
    Field("work_flops", "W_ik", "FLOP", "job x method", "work to the target, all steps together"),
    Field("message_bytes", "m_ik", "B", "job x method", "update sent up, and down, in a round of a federation",
          default=0.0),
    Field("result_bytes", "", "B", "job x method", "what a server returns after training", default=0.0),
    Field("quality", "q_ik", "1", "job x method", "quality that a method reaches; 0: nothing is known", high=1.0,
          default=0.0, hint="give shares: 0.9 for 90 %"),
    positive("server_flops_per_s", "C_s", "FLOP/s", "server", "effective rate that a server gives to one job"),
    Field("server_power_w", "P_s", "W", "server", "power of a server while it computes for one job", default=0.0),
    Field("server_memory_bytes", "Mem_s", "B", "server", "memory of a server for all of its jobs", optional=True,
          endless=True),
    Field("server_busy_s", "", "s", "server", "seconds of computing that a server has: slots x horizon", optional=True,
          endless=True),
    Field("airtime_s", "", "s", "server", "seconds of transmission that a server's cell has", optional=True,
          endless=True),
    Field("uplink_bps", "R_up", "bit/s", "job x server", "rate from a device to a server; 0: out of reach",
          default=0.0),
    Field("downlink_bps", "R_down", "bit/s", "job x server", "rate from a server to a device; 0: out of reach",
          default=0.0),
)
#: What is true or false: name -> meaning.
FLAGS: Final[dict[str, str]] = {
    "on_device": "the method can run on the device",
    "on_server": "the method can run on servers",
}
AXES: Final[dict[str, str]] = {
    "job": "(jobs,)", "server": "(servers,)", "job x method": "(jobs, methods)", "job x server": "(jobs, servers)",
}


def checked_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check and normalise the arguments of FineTuning.

    Parameters
    ----------
    values : mapping
        Every field of the dataclass by name, as given.

    Returns
    -------
    dict
        The same keys with read-only arrays, numbers broadcast.

    Raises
    ------
    DataError
        With every fault found: field, index, value, unit, allowed range.
    """
    faults: list[Fault] = []
    result: dict[str, Any] = {"source": str(values["source"])}
    jobs, methods, servers = _sizes(values)
    result["job_names"] = _names("job_names", values["job_names"], "job", jobs, faults)
    result["method_names"] = _names("method_names", values["method_names"], "method", methods, faults)
    result["server_names"] = _names("server_names", values["server_names"], "server", servers, faults)
    shapes = {"job": (jobs,), "server": (servers,), "job x method": (jobs, methods), "job x server": (jobs, servers)}
    for field in FIELDS:
        given = values[field.name]
        if "server" in field.shape and servers == 0:
            result[field.name] = None if field.optional and given is None else read_only(np.zeros(shapes[field.shape]))
            continue
        if given is None and field.optional and field.endless:
            given = math.inf
        result[field.name] = checked(field, given, shapes[field.shape], AXES[field.shape], faults)
    for name in FLAGS:
        result[name] = checked_flags(name, values[name], (jobs, methods), AXES["job x method"],
                                     "one for every method, or one for every job and method", faults)
    for size, what in ((jobs, "job"), (methods, "method")):
        if size == 0:
            faults.append(Fault(f"{what}s", f"there is no {what}; give at least one"))
    weights = values["weights"]
    if not isinstance(weights, Weights):
        faults.append(Fault("weights", f"is a {type(weights).__name__}; give an edgealloc.Weights"))
    else:
        result["weights"] = weights
        _check_weights(weights, jobs, faults)
    if faults:
        raise DataError(faults, "FineTuning")
    return result


def _sizes(values: Mapping[str, Any]) -> tuple[int, int, int]:
    """Jobs, methods and servers, from whatever has entries for them."""
    jobs, methods, servers = [1], [1], [0]
    for field in FIELDS:
        shape = np.shape(plain(values[field.name]))
        if field.shape == "job":
            jobs += shape[:1]
        elif field.shape == "server":
            servers += shape[:1] or ((1,) if field.name == "server_flops_per_s" else ())
        elif shape:
            (methods if field.shape == "job x method" else servers).append(shape[-1])
            jobs += shape[:1] if len(shape) > 1 else ()
    for name in FLAGS:
        shape = np.shape(plain(values[name]))
        methods += shape[-1:]
        jobs += shape[:1] if len(shape) > 1 else ()
    for sizes, name in ((jobs, "job_names"), (methods, "method_names"), (servers, "server_names")):
        if values[name] is not None and not isinstance(values[name], str) and hasattr(values[name], "__len__"):
            sizes.append(len(values[name]))
    return max(jobs), max(methods), max(servers)


def _names(name: str, value: Any, what: str, count: int, faults: list[Fault]) -> tuple[str, ...]:
    """Unique names, by default "job 0", "job 1", ..."""
    if value is None:
        return tuple(f"{what} {k}" for k in range(count))
    return checked_names(name, value, what, count, faults) or ()


def _check_weights(weights: Weights, jobs: int, faults: list[Fault]) -> None:
    for term in ("delay", "energy"):
        size = np.size(getattr(weights, term))
        if size not in (1, jobs):
            faults.append(Fault(f"weights.{term}", f"has {size} entries for {jobs} jobs; give a number or one per job"))
