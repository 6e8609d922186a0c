"""Solutions on disk: one .npz of plain arrays with a JSON manifest inside; nothing is ever unpickled.

The manifest is a tree of JSON values in which an array is ``{"$array": key}`` and a dataclass ``{"$type": tag, ...}``;
only the tags of `TYPES` are built again.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgealloc.core.files import write_atomically
from edgealloc.core.kinds import problem_class
from edgealloc.core.links import resolve
from edgealloc.core.solution import Solution
from edgealloc.core.status import Status, Termination
from edgealloc.errors import DataError

__all__ = ["SCHEMA_VERSION", "TYPES", "load_solution", "save_solution"]

SCHEMA_VERSION: Final = 1
FORMAT: Final = "edgealloc-solution"

#: tag -> "module:class" of every dataclass a manifest may hold.
TYPES: Final[dict[str, str]] = {
    "weights": "edgealloc.core.weights:Weights",
    "stability": "edgealloc.system.stability:Stability",
    "progress": "edgealloc.core.run:Progress",
    "diagnosis": "edgealloc.core.constraints:Diagnosis",
    "conflict": "edgealloc.core.constraints:Conflict",
    "split-training": "edgealloc.formulations.split_training.problem:SplitTraining",
    "split-training/allocation": "edgealloc.formulations.split_training.allocation:Allocation",
    "pool-training": "edgealloc.formulations.pool_training.problem:PoolTraining",
    "pool-training/plan": "edgealloc.formulations.pool_training.plan:Plan",
    "pool-training/topology": "edgealloc.formulations.pool_training.network:Topology",
    "fine-tuning": "edgealloc.formulations.fine_tuning.problem:FineTuning",
    "fine-tuning/assignment": "edgealloc.formulations.fine_tuning.assignment:Assignment",
    "deployment": "edgealloc.formulations.deployment.problem:Deployment",
    "deployment/rollout": "edgealloc.formulations.deployment.rollout:Rollout",
}


def _tag(value: Any) -> str:
    name = f"{type(value).__module__}:{type(value).__qualname__}"
    for tag, path in TYPES.items():
        if path == name:
            return tag
    raise TypeError(f"{name} cannot be saved; add it to edgealloc.core.storage.TYPES")


def _encode(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        key = f"a{len(arrays)}"
        arrays[key] = np.array([str(one) for one in value]) if value.dtype == object else value
        return {"$array": key}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        return _encode(value.item(), arrays)
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {"$map": {str(key): _encode(one, arrays) for key, one in value.items()}}
    if isinstance(value, (tuple, list)):
        return [_encode(one, arrays) for one in value]
    if dataclasses.is_dataclass(value):
        fields = {f.name: _encode(getattr(value, f.name), arrays) for f in dataclasses.fields(value) if f.init}
        return {"$type": _tag(value), "fields": fields}
    raise TypeError(f"cannot save a {type(value).__name__}")


def _decode(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(one, arrays) for one in value)
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        return arrays[value["$array"]]
    if "$float" in value:
        return float(value["$float"])
    if "$map" in value:
        return {key: _decode(one, arrays) for key, one in value["$map"].items()}
    cls = resolve(TYPES[value["$type"]])
    return cls(**{key: _decode(one, arrays) for key, one in value["fields"].items()})


def save_solution(solution: Solution[Any, Any], path: Path) -> Path:
    """Write a solution; see `Solution.save`. Returns the path, with .npz appended if it had no such suffix."""
    if path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    skipped = {"problem", "costs", "violations"}
    manifest = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "kind": solution.problem.kind,
        "problem": _encode(solution.problem, arrays),
        "solution": {
            field.name: _encode(getattr(solution, field.name), arrays)
            for field in dataclasses.fields(solution)
            if field.name not in skipped
        },
    }
    arrays["manifest"] = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)

    def write(stream: Any) -> None:
        # numpy's stubs read **arrays as keyword options; the call is the documented one
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    write_atomically(path, write)
    return path


def load_solution(path: Path) -> Solution[Any, Any]:
    """Read a solution; see `Solution.load`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        manifest = json.loads(arrays["manifest"].tobytes().decode())
        known = manifest["format"] == FORMAT
        version = int(manifest["schema_version"])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # zip, zlib, numpy and json each have their own ways to reject bytes
        raise DataError(f"{path} is not a saved edgealloc solution ({error})") from error
    if not known or version > SCHEMA_VERSION:
        raise DataError(f"{path} has format '{manifest['format']}' version {version}; this edgealloc reads "
                        f"'{FORMAT}' up to version {SCHEMA_VERSION}: upgrade edgealloc")
    try:
        problem = _decode(manifest["problem"], arrays)
        if not isinstance(problem, problem_class(manifest["kind"])):
            raise DataError(f"{path}: the problem stored is no {manifest['kind']}")
        values = {key: _decode(value, arrays) for key, value in manifest["solution"].items()}
        allocation = values["allocation"]
        if allocation is not None:
            allocation = values["allocation"] = problem.check_allocation(allocation)
        values["status"] = Status(values["status"])
        values["termination"] = Termination(values["termination"])
        return Solution(
            problem=problem,
            costs=None if allocation is None else problem.evaluate(allocation),
            violations={} if allocation is None else problem.violations(allocation),
            **values,
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
