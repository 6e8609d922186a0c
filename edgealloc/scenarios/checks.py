"""The check of a whole scenario: every key by itself, then what only several of them can get wrong together.

All faults end up in one DataError. So that a faulty key hides no other fault, cross checks work on whatever
keys of a section are good by themselves (`salvage`), not on the section as a whole.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from edgealloc.catalog import Catalog, default_catalog
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.scenarios.faults import close_word, document_faults
from edgealloc.scenarios.kinds import KINDS, kind_named
from edgealloc.scenarios.quantities import short
from edgealloc.scenarios.schema import CatalogSection, Heading
from edgealloc.system.memory import STATE_BYTES
from edgealloc.system.transformer import LORA_TARGETS, Transformer, lora_params_per_layer

__all__ = ["Keys", "check_catalog_model", "check_document", "faulty_entry", "near", "salvage", "salvaged_list"]

#: the good keys of a section; a key that is faulty or absent without a default is missing
Keys = dict[str, Any]


def check_document(raw: Mapping[str, Any], folder: Path, source: str) -> tuple[Heading, Catalog, Any]:
    """Check the content of a scenario file.

    Parameters
    ----------
    raw : mapping
        As read from the file.
    folder : Path
        Where relative names of files in it start.
    source : str
        Named in the error.

    Returns
    -------
    (document, catalog, extra)
        The document of the declared kind, the catalog with the file's own entries, and what else the kind's check
        returns (the gain matrix if the file names one).

    Raises
    ------
    DataError
        Every fault that can be found.
    """
    faults: list[Fault] = []
    document: Heading | None = None
    declared = {**raw, "problem": _declared_kind(raw, faults)}
    kind = kind_named(declared["problem"])
    try:
        document = kind.schema.document.model_validate(declared)
    except ValidationError as error:
        faults += document_faults(error, kind.schema)
    catalog = _own_catalog(raw, faults)
    extra = kind.check(raw, folder, catalog, faults)
    if faults or document is None:
        raise DataError(_unique(faults), source)
    return document, catalog, extra


def _declared_kind(raw: Mapping[str, Any], faults: list[Fault]) -> str:
    """The kind that a file declares; where it does not, a fault, and the kind that its tables look like."""
    name = raw.get("problem")
    if isinstance(name, str) and name in KINDS:
        return name
    expected = " or ".join(f"'{kind}'" for kind in KINDS)
    if "problem" not in raw:
        faults.append(Fault("problem", f"is missing (kind of problem: {expected})"))
    else:
        faults.append(Fault("problem", f"is {short(name)}; expected {expected}{close_word(name, expected)}"))
    tables = {kind: kind_named(kind).schema.document.model_fields for kind in KINDS}
    like = difflib.SequenceMatcher(None, str(name))

    def likeness(kind: str) -> tuple[int, float]:
        like.set_seq2(kind)
        return len(tables[kind].keys() & raw.keys()), like.ratio()

    return max(tables, key=likeness)


def _unique(faults: list[Fault]) -> list[Fault]:
    return list(dict.fromkeys(faults))


def salvaged_list(cls: type[BaseModel], raw: Any) -> list[Keys]:
    """The good keys of every table of a list."""
    return [salvage(cls, one) for one in raw] if isinstance(raw, (list, tuple)) else []


def salvage(cls: type[BaseModel], raw: Any) -> Keys:
    """The good keys of a table."""
    if not isinstance(raw, Mapping):
        return {}
    with contextlib.suppress(ValidationError):
        good = cls.model_validate(raw)
        return {name: getattr(good, name) for name in cls.model_fields}
    keys: Keys = {}
    for name, info in cls.model_fields.items():
        if name not in raw:
            if not info.is_required():
                keys[name] = info.get_default(call_default_factory=True)
            continue
        annotation: Any = info.annotation
        for one in info.metadata:
            annotation = Annotated[annotation, one]
        with contextlib.suppress(ValidationError):
            keys[name] = TypeAdapter(annotation).validate_python(raw[name])
    return keys


def _own_catalog(raw: Mapping[str, Any], faults: list[Fault]) -> Catalog:
    own = salvage(CatalogSection, raw.get("catalog", {}))
    catalog = default_catalog()
    for section in ("models", "devices"):
        try:
            catalog = catalog.extended(**{section: own.get(section) or {}})
        except DataError as error:
            faults += [Fault(f"catalog.{fault.field}", fault.message) for fault in error.faults]
            # names of faulty entries are known all the same: one fault each is enough
            for name, entry in (own.get(section) or {}).items():
                with contextlib.suppress(DataError):
                    catalog = catalog.extended(**{section: {name: entry}})
    return catalog


def faulty_entry(path: str, name: str, faults: list[Fault]) -> bool:
    """The file has an own entry of that name, which is at fault already."""
    return any(fault.field.startswith(f"catalog.{path}.{name}") for fault in faults)


def check_catalog_model(model: Keys, catalog: Catalog, faults: list[Fault]) -> Transformer | None:
    """Name, optimiser states and adapters of a [model]; its shape if there is one."""
    shape: Transformer | None = None
    name = model.get("name")
    if name is not None and name not in catalog.models:
        if not faulty_entry("models", name, faults):
            faults.append(Fault("model.name", f"'{name}' is not in the catalog; {near(name, catalog.models)}"))
    elif name is not None:
        try:
            shape = catalog.model(name).transformer()
        except DataError as error:
            faults += [Fault("model.name", f"'{name}': {fault}") for fault in error.faults]
    states = model.get("optimizer_states", "mixed-adam")
    if states not in STATE_BYTES:
        faults.append(Fault("model.optimizer_states", f"'{states}' is not known; {nearest(states, STATE_BYTES)}"))
    targets = model.get("lora_targets", ())
    for target in targets:
        if target not in LORA_TARGETS:
            faults.append(Fault("model.lora_targets", f"'{target}' is no matrix; {nearest(target, LORA_TARGETS)}"))
    if shape is not None and set(targets) <= set(LORA_TARGETS):
        try:
            lora_params_per_layer(shape, 1, targets)
        except DataError as error:
            faults += [Fault("model.lora_targets", fault.message) for fault in error.faults]
    return shape


def near(name: str, known: Mapping[str, Any]) -> str:
    """The nearest names; a long catalog is not listed in full."""
    text = nearest(name, known)
    return text if len(text) < 200 else "`edgealloc catalog` lists the names"
