"""Scenario files: TOML, YAML or JSON to plain mappings, gain matrices from .npy or .csv, TOML written
back."""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError

__all__ = ["SUFFIXES", "read_gains", "read_mapping"]

SUFFIXES: Final = (".toml", ".yaml", ".yml", ".json")
#: beyond this, a "scenario" is somebody's data set, or nested aliases that would fill the memory
_MOST_VALUES: Final = 2_000_000
_LARGEST_FILE: Final = 200_000_000


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a file into a mapping with text keys.

    Parameters
    ----------
    path : path
        Ends in ``.toml``, ``.yaml``, ``.yml`` or ``.json``.

    Returns
    -------
    dict
        As the file says it; nothing is checked yet.

    Raises
    ------
    DataError
        No such file, a folder, unknown suffix, not UTF-8, broken syntax (with line and column), empty, or no
        mapping.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and not path.is_dir():
        raise DataError(f"{path}: the suffix '{path.suffix}' says nothing about the format; use {', '.join(SUFFIXES)}")
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"{path}: the file is empty; `edgealloc new` writes a complete one to start from")
    parse = {".toml": _parse_toml, ".json": _parse_json}.get(suffix, _parse_yaml)
    try:
        data = parse(text)
    except RecursionError:
        raise DataError(f"{path}: nested too deeply to be a scenario") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid {_format(suffix)}: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds a {type(data).__name__}, not a table of keys and values")
    try:
        result = _text_keys(data, [0], "")
    except RecursionError:
        raise DataError(f"{path}: nested too deeply to be a scenario") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return dict(result)


def _format(suffix: str) -> str:
    return {".toml": "TOML", ".json": "JSON"}.get(suffix, "YAML")


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise DataError(f"cannot read {path}: it is a folder, not a scenario file")
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError(f"cannot read {path}: larger than {_LARGEST_FILE // 10**6} MB; put gains into a .npy file")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}, line {line}); is it a binary file?") from None
    if "\0" in text:
        raise DataError(f"{path}: holds NUL bytes; is it a binary file?")
    return text


def _parse_toml(text: str) -> Any:
    return tomllib.loads(text)


def _parse_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
            raise ValueError(f"the key '{twice}' occurs twice in one object")
        return table

    return json.loads(text, object_pairs_hook=unique)


def _parse_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML lets the last of two equal keys win in silence; here that is a fault."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = loader.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)) or (key != "<<" and key in seen):
                mark = key_node.start_mark
                raise ValueError(
                    f"the key {key!r} occurs twice or is no text (line {mark.line + 1}, column {mark.column + 1})"
                )
            seen.add(key)
        loader.flatten_mapping(node)
        return dict(loader.construct_pairs(node, deep=True))

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        # A SafeLoader subclass: it builds plain data only.
        return yaml.load(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _text_keys(value: Any, count: list[int], where: str) -> Any:
    """Check that all keys are texts (YAML makes `on:` the key True), and that the whole has a sane size."""
    count[0] += 1
    if count[0] > _MOST_VALUES:
        raise ValueError("holds millions of values; put gains into a .npy or .csv file")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                hint = " (YAML reads yes, no, on and off as truth values: put the key in quotes)"
                raise ValueError(
                    f"{where or 'the file'} has the key {key!r}, which is no text"
                    f"{hint if isinstance(key, bool) else ''}"
                )
        return {key: _text_keys(one, count, f"{where}.{key}".lstrip(".")) for key, one in value.items()}
    if isinstance(value, list):
        return [_text_keys(one, count, where) for one in value]
    return value


def read_gains(path: Path, unit: str) -> npt.NDArray[np.float64]:
    """Read a gain matrix (users x servers) as linear power ratios.

    Parameters
    ----------
    path : Path
        .npy (never unpickled) or .csv (comma-separated, ``#`` starts a comment).
    unit : {"linear", "dB"}
        In dB, ``-inf`` is no link.

    Returns
    -------
    ndarray (users, servers)
        Linear power ratios.

    Raises
    ------
    ValueError
        Unreadable, no matrix, or not numbers. Values are not judged here.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            raw = np.load(path, allow_pickle=False)
            if not isinstance(raw, np.ndarray):
                raise ValueError("is an archive, not one array")
        elif suffix == ".csv":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # an empty file is said below, as a fault
                raw = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
        else:
            raise ValueError(f"has the suffix '{path.suffix}'; gains come from .npy or .csv")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; is it a binary file?") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    if raw.dtype.kind not in "fiu":
        raise ValueError(f"{path} holds {raw.dtype}, not real numbers")
    if raw.ndim != 2 or 0 in raw.shape:
        raise ValueError(f"{path} has shape {raw.shape}; it must be (users, servers)")
    gain = raw.astype(np.float64)
    with np.errstate(over="ignore"):
        return np.asarray(10.0 ** (gain / 10.0)) if unit == "dB" else gain
