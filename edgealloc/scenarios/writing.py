"""Scenarios written as TOML that a person can go on editing."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.files import write_atomically
from edgealloc.errors import DataError
from edgealloc.scenarios.kinds import kind_named
from edgealloc.scenarios.quantities import written
from edgealloc.scenarios.schema import Schema

if TYPE_CHECKING:
    from edgealloc.scenarios.scenario import Scenario

__all__ = ["toml_text", "write_toml"]

_HEADER: Final = re.compile(r"^\[\[?([A-Za-z0-9_.\-]+)\]\]?$")
#: a list of two to four plain values, which tomli_w spreads over as many lines
_SHORT_LIST: Final = re.compile(r"\[\n((?: +[^\[\]\n]+,\n){2,4}) *\]")
_KEY: Final = re.compile(r"^([A-Za-z0-9_\-]+) = ")


def write_toml(scenario: Scenario, path: Path, *, comments: bool = True) -> Path:
    """Write a scenario; see `Scenario.save`."""
    if path.suffix.lower() != ".toml":
        raise DataError(f"cannot write {path}: scenarios are written as TOML; give a name that ends in .toml")
    if path.is_dir():
        raise DataError(f"cannot write {path}: it is a folder")
    data = scenario.mapping()
    gain_file = data.get("radio", {}).get("gain_file")
    if gain_file is not None and not Path(gain_file).is_absolute():
        # the name is relative to the scenario file, which may move to another folder
        target = os.path.relpath(scenario.folder / gain_file, path.parent)
        data["radio"]["gain_file"] = Path(target).as_posix()
    text = toml_text(data, comments=comments)
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))
    return path


def toml_text(data: Mapping[str, Any], *, comments: bool = True) -> str:
    """TOML of a declaration, quantities with handy units where these read back as the same float."""
    import tomli_w

    schema = kind_named(data["problem"]).schema

    text = _SHORT_LIST.sub(_one_line, tomli_w.dumps(_readable(data, (), schema)))
    return _commented(text, schema) if comments else text


def _readable(value: Any, path: tuple[str, ...], schema: Schema) -> Any:
    if isinstance(value, Mapping):
        if path[:1] == ("catalog",):
            return {key: _readable(one, ("catalog",), schema) for key, one in value.items()}
        return {key: _readable(one, (*path, key), schema) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_readable(one, path, schema) for one in value]
    if isinstance(value, float) and len(path) > 1:
        unit = schema.field_unit(path[:-1], path[-1])
        if math.isinf(value):
            return schema.field_word(path[:-1], path[-1]) or value
        if unit and unit != "dB":
            return written(value, unit)
    return value


def _one_line(match: re.Match[str]) -> str:
    return "[" + " ".join(match[1].split()).rstrip(",") + "]"


def _commented(text: str, schema: Schema) -> str:
    """Put what a key means above it, once per table."""
    lines: list[str] = []
    section: tuple[str, ...] = ()
    said: set[tuple[str, ...]] = set()
    for line in text.splitlines():
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None:
            section = tuple(header[1].split("."))
            title = schema.sections[section].__doc__ if section in schema.sections else None
            if title and section not in said:
                lines.append(f"# {title.splitlines()[0]}")
                said.add(section)
        elif key is not None and (*section, key[1]) not in said:
            meaning = schema.described(section, key[1])
            said.add((*section, key[1]))
            if meaning:
                lines.append(f"# {meaning}")
        lines.append(line)
    return "\n".join(lines) + "\n"
