"""Pages of what scenario files may say, one per kind, from the schemas that read them."""

from __future__ import annotations

import math
import types
import typing
from pathlib import Path
from typing import Any, Final

from page_text import cell, page, table

__all__ = ["EXAMPLES", "example_path", "pages", "value_words"]

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "reference" / "every_field"
_TITLES: Final[dict[str, str]] = {
    "split-training": "Split training",
    "pool-training": "Pool training",
    "fine-tuning": "Fine-tuning",
    "deployment": "Deployment",
}


def example_path(kind: str) -> Path:
    """The file of a kind that says everything that can be said."""
    return EXAMPLES / f"{kind.replace('-', '_')}.toml"


def _plain_words(one: Any) -> str | None:
    """What a value type of the schema accepts, in words; None if it is none of ours."""
    from edgealloc.scenarios import quantities as q

    if isinstance(one, q.EndlessQuantity):
        return f'{_plain_words(q.Quantity(one.unit, one.low, one.high, one.open_low))}, or `"{one.word}"`'
    if isinstance(one, q.Quantity):
        what = one.allowed.removesuffix(f" {one.unit}") if one.unit else one.allowed
        return f"{one.unit or 'number'} {what}" if what else one.unit
    if isinstance(one, q.WholeNumber):
        return f"whole number >= {one.low}" if one.high >= 2**53 else f"whole number from {one.low} to {one.high}"
    if isinstance(one, q.SpreadValue):
        return f"{_plain_words(one.item)}, or `[low, high]`"
    names = {
        "DecibelValue": "dB", "FlagValue": "true or false", "TextValue": "text",
        "MixtureValue": "text, or `{ name = share }`", "PointsValue": "list of `[x, y]` in m",
    }  # fmt: skip
    return names.get(type(one).__name__)


def value_words(annotation: Any, metadata: typing.Sequence[Any] = ()) -> str:
    """What a key accepts, in words."""
    for one in metadata:
        words = _plain_words(one)
        if words is not None:
            return words
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return value_words(arguments[0], annotation.__metadata__)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(value_words(one) for one in arguments if one is not types.NoneType))
    if origin is typing.Literal:
        return ", ".join(f'`"{one}"`' if isinstance(one, str) else f"`{one}`" for one in arguments)
    if origin is tuple:
        return f"list: {value_words(arguments[0])}"
    if origin is dict and any(type(one).__name__ == "PlainValidator" for one in metadata):
        return "share from 0 to 1, or `{ class = share }`"
    if origin is dict:
        return f"table by name: {value_words(arguments[1])}"
    return {float: "number", int: "whole number", str: "text", bool: "true or false"}.get(annotation, "table")


def _default_words(schema: Any, section: tuple[str, ...], key: str, info: Any) -> str:
    from edgealloc.scenarios.quantities import written

    if info.is_required():
        return "**required**"
    value = info.get_default(call_default_factory=True)
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        unit = schema.field_unit(section, key)
        if math.isinf(value):
            return f'`"{schema.field_word(section, key)}"`'
        told = written(value, unit) if unit and unit != "dB" and value else value
        return f'`"{told}"`' if isinstance(told, str) else f"`{told:g}`"
    if isinstance(value, (list, tuple)):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _heading(schema: Any, section: tuple[str, ...]) -> str:
    name = ".".join(section)
    if not section:
        return "The file itself"
    return f"`[[{name}]]`" if name in schema.lists else f"`[{name}]`"


def _section(schema: Any, section: tuple[str, ...]) -> str:
    model = schema.sections[section]
    rows = []
    for key, info in model.model_fields.items():
        child = (*section, key)
        if child in schema.sections:
            heading = _heading(schema, child).strip("`")
            meaning, words = f"see `{heading}`", "tables" if ".".join(child) in schema.lists else "table"
            rows.append([f"`{key}`", words, "**required**" if info.is_required() else "", meaning])
            continue
        words = value_words(info.annotation, info.metadata).replace("|", "\\|")
        rows.append([f"`{key}`", cell(words), _default_words(schema, section, key, info), cell(info.description or "")])
    doc = " ".join((model.__doc__ or "").split()) if section else "What every scenario file says, and its tables."
    if section == ("catalog",):
        doc += (
            " The fields are those of {py:class}`edgealloc.catalog.DeviceEntry` and "
            "{py:class}`edgealloc.catalog.ModelEntry`."
        )
    return f"## {_heading(schema, section)}\n\n{doc}\n\n{table(['key', 'value', 'default', 'meaning'], rows)}"


def _page(kind: str) -> str:
    from edgealloc.scenarios.kinds import kind_named

    schema = kind_named(kind).schema
    file = example_path(kind)
    intro = (
        'A quantity is a plain number in the SI unit given here, or a text with any unit of that kind (`"20 MHz"`, '
        '`"23 dBm"`, `"4 GB"`). Tables in double brackets may occur several times. A key that is not on this page is a '
        f"fault, and the message names the nearest one. `edgealloc new FILE --kind {kind}` writes a file to begin "
        "with, `edgealloc check FILE` says what is wrong with one and where each of its numbers is from. The "
        "formulation's fields in the library are in [symbols and limits](symbols.md)."
    )
    return page(
        f"Scenario file: {_TITLES[kind].lower()}",
        f"Every table and key that a {kind} scenario file may have, with units, defaults and an example of each.",
        intro + " At the end is [a file with every key](#a-file-with-every-key).",
        *(_section(schema, section) for section in schema.sections),
        "## A file with every key",
        f"Alternatives that exclude each other are behind `#`. {{download}}`Download <every_field/{file.name}>`",
        f"```{{literalinclude}} every_field/{file.name}\n:language: toml\n```",
    )


def pages() -> dict[str, str]:
    """The pages of all kinds by their paths."""
    from edgealloc.scenarios.kinds import KINDS

    return {f"reference/scenario_{kind.replace('-', '_')}.md": _page(kind) for kind in KINDS}
