"""What scenario files of every kind share: their heading, their own catalog entries, and how keys are described.

The descriptions of the fields are the documentation: `edgealloc new` writes them beside the values. Every
quantity is a plain SI number or a text with a unit.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from edgealloc.scenarios.quantities import Seed, Text, unit_of, word_of

__all__ = ["LAST_KEYS", "CatalogSection", "Heading", "Schema", "Section"]

#: keys of the heading that a file has at its end
LAST_KEYS: Final = ("catalog", "sources", "assumptions")


class Section(BaseModel):
    """A table of the file: unknown keys are faults, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CatalogSection(Section):
    """The file's own models and devices, as ``[catalog.devices.NAME]`` with the fields of the catalog."""

    models: dict[Text, dict[str, Any]] = Field(default_factory=dict, description="own models, or changes to known ones")
    devices: dict[Text, dict[str, Any]] = Field(
        default_factory=dict, description="own devices, or changes to known ones"
    )


def _version(value: Any) -> Any:
    """Version "1" is version 1, but `true`, which equals 1 in Python, is not."""
    return 1 if value in (1, "1") and value is not True else value if value != 1 else repr(value)


class Heading(Section):
    """What every scenario file says, whatever its kind."""

    problem: str = Field(description="kind of problem")
    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="version of this file format")
    name: Text = Field(default="", description="name of the scenario")
    description: Text = Field(default="", description="what it is about")
    seed: Seed = Field(default=0, description="seed of everything that is drawn: positions, channels, devices, samples")
    catalog: CatalogSection = Field(default_factory=CatalogSection)
    sources: dict[Text, Text] = Field(
        default_factory=dict, description="where numbers of this file were read: path = text"
    )
    assumptions: dict[Text, Text] = Field(
        default_factory=dict, description="which numbers are assumptions, and why: path = text"
    )


@dataclass(frozen=True)
class Schema:
    """The tables of one kind of file.

    Attributes
    ----------
    document : type
        The whole file.
    sections : mapping
        Path of a table without list indices -> the table; ``()`` is the document.
    lists : tuple of str
        Dotted paths of the tables that a file may hold several of (``[[users]]``).
    problem_keys : mapping
        Field of the problem -> keys of the file that it comes from, a group's before the general one.
    """

    document: type[Heading]
    sections: Mapping[tuple[str, ...], type[BaseModel]]
    lists: tuple[str, ...]
    problem_keys: Mapping[str, tuple[str, ...]]

    def described(self, section: tuple[str, ...], key: str) -> str:
        """What a key of a table means; "" if there is no such key."""
        model = self.sections.get(section)
        info = None if model is None else model.model_fields.get(key)
        return "" if info is None else info.description or ""

    def field_unit(self, section: tuple[str, ...], key: str) -> str | None:
        """SI unit of a key, "" for plain numbers, None if it is no quantity."""
        return unit_of(self._metadata(section, key))

    def field_word(self, section: tuple[str, ...], key: str) -> str | None:
        """What a key says for infinity ("none" for a deadline), None if it cannot be infinite."""
        return word_of(self._metadata(section, key))

    def _metadata(self, section: tuple[str, ...], key: str) -> list[Any]:
        model = self.sections.get(section)
        info = None if model is None else model.model_fields.get(key)
        if info is None:
            return []
        metadata: list[Any] = [*info.metadata]
        for part in (info.annotation, *typing.get_args(info.annotation)):
            metadata += getattr(part, "__metadata__", ())
        return metadata
