"""Docstrings say what a reader of the reference needs: every parameter, what comes back, what is raised, shapes."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from site_modules import site_module

API = site_module("api_pages")
SYMBOLS = site_module("symbol_page")

_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
_UNIT = re.compile(r"_(hz|w|s|j|m|g|db|dbm|w3|bits|bytes|flop|flops|bps|per_\w+|kwh)$")
#: words that begin the summary of a function that does something, rather than name what it returns
_ORDERS = {
    "Add", "Build", "Check", "Compile", "Compute", "Draw", "Find", "Improve", "Iterate", "Load", "Make", "Maximise",
    "Minimise", "Name", "Note", "Plot", "Print", "Read", "Register", "Run", "Save", "Solve", "Turn", "Write",
}  # fmt: skip
_OURS = ("DataError", "InfeasibleError", "SolverError", "MissingDependencyError")
#: what is known to fall short, with the reason; keep it empty
EXCEPTIONS: dict[str, str] = {}


def documented() -> Iterator[tuple[str, Any]]:
    for blocks in API.documented().values():
        for _, own in blocks:
            yield from own


def functions() -> Iterator[tuple[str, Any, tuple[type, ...]]]:
    """(name, function, base classes) of every callable of the reference."""
    for name, thing in documented():
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                if inspect.isfunction(function) and not member.startswith("_"):
                    yield f"{name}.{member}", function, thing.__mro__[1:]
        elif inspect.isroutine(thing):
            yield name, inspect.unwrap(thing), ()


FUNCTIONS = list(functions())
CLASSES = [(name, thing) for name, thing in documented() if inspect.isclass(thing)]


def sections(doc: str) -> tuple[str, dict[str, str]]:
    parts = _SECTION.split(doc)
    return parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))


def named(body: str) -> set[str]:
    """Names that a section of parameters or attributes describes."""
    heads = [line.split(" :")[0] for line in body.splitlines() if line and not line[0].isspace()]
    return {one.strip().lstrip("*") for head in heads for one in head.split(",")}


def spoken_of(name: str, doc: str) -> bool:
    """The name, or what it is without its unit, is a word of the text."""
    stem = _UNIT.sub("", name)
    words = {one.lower() for one in (name, stem, name.replace("_", " "), stem.replace("_", " "))}
    return any(re.search(rf"(?<![a-z0-9_]){re.escape(one)}s?(?![a-z0-9])", doc.lower()) for one in words)


@pytest.mark.parametrize(("name", "function", "bases"), FUNCTIONS, ids=[one[0] for one in FUNCTIONS])
def test_docstring_of_a_function(name: str, function: Any, bases: tuple[type, ...]) -> None:
    if name in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[name])
    doc = inspect.getdoc(function) or ""
    head, parts = sections(doc)
    assert head.strip(), "no summary"
    above = " ".join(inspect.getdoc(getattr(base, function.__name__, None)) or "" for base in bases)
    signature = inspect.signature(function)
    described = named(parts.get("Parameters", "")) | named(sections(above)[1].get("Parameters", ""))
    refers = re.search(r"arameters[^.]* (?:as|are those of) (?::func:)?`|; see `\w+\.\w+`", doc)
    for parameter in signature.parameters:
        told = parameter in ("self", "cls") or parameter in described or spoken_of(parameter, head + above)
        assert told or refers, f"says nothing of its parameter {parameter}"
    gone = named(parts.get("Parameters", "")) - set(signature.parameters)
    assert not gone, f"describes parameters that it does not have: {sorted(gone)}"
    order = head.split()[0] in _ORDERS and str(signature.return_annotation) not in ("None", "bool")
    assert not order or "Returns" in parts or "Yields" in parts or "return" in head, "does not say what it returns"
    for error in raised(function):
        assert error in parts.get("Raises", "") + head + above, f"does not say that it raises {error}"


def raised(function: Any) -> set[str]:
    """Errors of ours that the function itself raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    thrown = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    calls = [one.func if isinstance(one, ast.Call) else one for one in thrown]
    return {one.id for one in calls if isinstance(one, ast.Name)} & set(_OURS)


@pytest.mark.parametrize(("name", "cls"), CLASSES, ids=[one[0] for one in CLASSES])
def test_docstring_of_a_class(name: str, cls: Any) -> None:
    """Every field of a dataclass is described; an array says its shape or, by its name or in words, its unit."""
    fields = getattr(cls, "__dataclass_fields__", {})
    if name in EXCEPTIONS or not fields or issubclass(cls, Exception):
        return
    doc = inspect.getdoc(cls) or ""
    _, parts = sections(doc)
    above = "".join(inspect.getdoc(base) or "" for base in cls.__mro__[1:-1])
    attributes = parts.get("Attributes", "") + "\n" + parts.get("Parameters", "")
    inherited = sections(above)[1] if above else {}
    described = named(attributes) | named(inherited.get("Attributes", ""))
    tabled = set()
    if getattr(cls, "kind", None) in SYMBOLS.TITLES:  # fields of a problem are in its table of symbols
        tabled = {field.name for field in SYMBOLS.tables_of(cls.kind).FIELDS}
    for field in (one for one in fields.values() if "ClassVar" not in str(one.type)):
        if not field.name.startswith("_") and field.init:
            told = field.name in described | tabled or spoken_of(field.name, doc) or "Others" in described
            assert told, f"says nothing of its field {field.name}"
            if "Array" in str(field.type) and field.name not in tabled:
                lines = sections(doc)[0] + entry(attributes, field.name)  # or one shape for all, before them
                assert _UNIT.search(field.name) or "(" in lines, f"no shape or unit of {field.name}"


def entry(attributes: str, name: str) -> str:
    """What a section says about one name, its heading included."""
    chunks = re.split(r"\n(?=\S)", attributes)
    return next((one for one in chunks if name in named(one)), attributes)
