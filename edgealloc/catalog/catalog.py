"""The catalog: named models, devices and radio facts, and a user's own entries laid over them."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from edgealloc.catalog import tables
from edgealloc.catalog.entries import DeviceEntry, Entry, ModelEntry, RadioEntry
from edgealloc.catalog.reading import read_entry, read_user_device, read_user_model
from edgealloc.errors import DataError, Fault, nearest

if TYPE_CHECKING:
    from edgealloc.catalog.variants import Variant

__all__ = ["Catalog", "default_catalog"]

E = TypeVar("E", bound=Entry)


class Catalog:
    """Models, devices and radio facts by name; immutable.

    Parameters
    ----------
    models, devices, radio : iterable of entries

    Examples
    --------
    >>> catalog = default_catalog()
    >>> catalog.model("gpt2-small").params
    124439808
    >>> own = catalog.extended(devices={"my-phone": {"like": "snapdragon-8-gen-3", "memory_bytes": "24 GB"}})
    >>> own.device("my-phone").mark("memory_bytes"), own.device("my-phone").mark("power_w")
    ('user', 'recall')
    """

    __slots__ = ("_devices", "_models", "_radio")

    def __init__(
        self, models: Iterable[ModelEntry], devices: Iterable[DeviceEntry], radio: Iterable[RadioEntry] = ()
    ) -> None:
        self._models = {entry.name: entry for entry in models}
        self._devices = {entry.name: entry for entry in devices}
        self._radio = {entry.name: entry for entry in radio}

    @property
    def models(self) -> Mapping[str, ModelEntry]:
        """Model entries by name, read-only."""
        return MappingProxyType(self._models)

    @property
    def devices(self) -> Mapping[str, DeviceEntry]:
        """Device entries by name, read-only."""
        return MappingProxyType(self._devices)

    @property
    def radio(self) -> Mapping[str, RadioEntry]:
        """Radio facts by name, read-only."""
        return MappingProxyType(self._radio)

    def model(self, name: str) -> ModelEntry:
        """Find a model; an unknown name raises a DataError with the nearest known ones.

        Returns
        -------
        ModelEntry
        """
        return _find(self._models, name, "model")

    def device(self, name: str) -> DeviceEntry:
        """Find a device; an unknown name raises a DataError with the nearest known ones.

        Returns
        -------
        DeviceEntry
        """
        return _find(self._devices, name, "device")

    def radio_fact(self, name: str) -> RadioEntry:
        """Find a radio fact; an unknown name raises a DataError with the nearest known ones.

        Returns
        -------
        RadioEntry
        """
        return _find(self._radio, name, "radio fact")

    def extended(
        self,
        models: Mapping[str, Mapping[str, object]] | None = None,
        devices: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Catalog:
        """Lay a user's entries over this catalog.

        Parameters
        ----------
        models, devices : mapping of name to mapping, optional
            A known name changes the fields that are given and keeps the others with their marks; a new name
            is a new entry, complete or ``{"like": "KNOWN NAME", ...changes}``. Numbers are SI, or texts
            with a unit ("8 GB", "4.3 TFLOP/s"). A new device needs ``flops_per_s``; its clock is 1 GHz (an
            assumption) unless given. A new model needs layers, hidden, heads, ffn and vocab; parameters are
            counted.

        Returns
        -------
        Catalog
            A new one; given fields have the mark "user".

        Raises
        ------
        DataError
            Every fault of every entry, unknown fields with the nearest known ones.
        """
        faults: list[Fault] = []
        new_models = _overlay(self._models, models, read_user_model, faults)
        new_devices = _overlay(self._devices, devices, read_user_device, faults)
        if faults:
            raise DataError(faults)
        return Catalog(new_models.values(), new_devices.values(), self._radio.values())

    def variants(self, base: str | None = None, labels: Iterable[str] | None = None) -> list[Variant]:
        """Compact variants of a model, or of every model with a published quality.

        Parameters
        ----------
        base : str, optional
            A model of this catalog.
        labels : iterable of str, optional
            Such as "Q4_K_M", "awq-int4-g128", "wanda-2:4"; see :func:`edgealloc.catalog.variants.variants`.

        Raises
        ------
        DataError
            An unknown base or label.
        """
        from edgealloc.catalog.variants import variants  # it reads rows that name models of the default catalog

        return variants(base, labels, self._models)

    def rows(self, section: str, name: str | None = None) -> list[dict[str, str]]:
        """Rows of text for a table, every number with its mark; see :mod:`edgealloc.catalog.tables`.

        Parameters
        ----------
        section : {"models", "devices", "radio"}
        name : str, optional
            One entry: a row per field (field, value, mark) instead of a row per entry.
        """
        entries = self._section(section)
        if name is None:
            return tables.overview(entries.values())
        return tables.details(_find(entries, name, section.rstrip("s")))

    def records(self, section: str, name: str | None = None) -> list[dict[str, Any]]:
        """Plain values for machines (JSON), each entry with a ``marks`` dict of field to mark.

        Parameters
        ----------
        section : str
            "devices", "models" or "radio".
        name : str, optional
            Of one entry; all of them by default.
        """
        entries = self._section(section)
        wanted = entries.values() if name is None else [_find(entries, name, section.rstrip("s"))]
        return [tables.record(entry) for entry in wanted]

    def _section(self, section: str) -> Mapping[str, Entry]:
        sections: dict[str, Mapping[str, Entry]] = {
            "models": self._models,
            "devices": self._devices,
            "radio": self._radio,
        }
        return _find(sections, section, "section of the catalog")

    def __repr__(self) -> str:
        sizes = f"{len(self._models)} models, {len(self._devices)} devices, {len(self._radio)} radio facts"
        return f"Catalog({sizes})"


T = TypeVar("T")


def _find(entries: Mapping[str, T], name: str, what: str) -> T:
    if name not in entries:
        raise DataError(
            [
                Fault(
                    what.split(maxsplit=1)[0],
                    f"'{name}' is not a known {what}; {nearest(str(name), entries)}",
                )
            ]
        )
    return entries[name]


def _overlay(
    known: Mapping[str, E],
    given: Mapping[str, Mapping[str, object]] | None,
    read: Callable[[str, Mapping[str, object], Mapping[str, E]], E],
    faults: list[Fault],
) -> dict[str, E]:
    result = dict(known)
    for name, data in (given or {}).items():
        try:
            # Later entries may be like earlier ones of the same file.
            result[name] = read(name, data, result)
        except DataError as error:
            faults.extend(error.faults)
    return result


@functools.cache
def default_catalog() -> Catalog:
    """The catalog that comes with the package; read once.

    Examples
    --------
    >>> default_catalog().device("jetson-orin-nano-8gb").mark("fp32_flops_per_s")
    'derived'
    """
    return Catalog(_load(ModelEntry, "models"), _load(DeviceEntry, "devices"), _load(RadioEntry, "radio"))


def _load(cls: type[E], section: str) -> list[E]:
    text = (
        importlib.resources.files("edgealloc.catalog").joinpath("data", f"{section}.json").read_text("utf-8")
    )
    return [read_entry(cls, data) for data in json.loads(text)[section]]
