"""Generated pages of the reference say all that the code has, and their examples are read by it."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from site_modules import site_module

import edgealloc as ea
from edgealloc.core.kinds import KINDS, problem_class
from edgealloc.scenarios.checks import salvage
from edgealloc.scenarios.kinds import kind_named
from edgealloc.scenarios.schema import Schema

CLI = site_module("cli_page")
API = site_module("api_pages")
SYMBOLS = site_module("symbol_page")
SCENARIOS = site_module("scenario_pages")
SITE = site_module("site_pages")

#: a line of an example that excludes another: "# key = value   # instead of other"
ALTERNATIVE = re.compile(r"^# (\w+) = (.+?)\s+# (?:instead of|with) ")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    made: dict[str, str] = SITE.generated_pages()
    return made


def test_every_generated_page_has_title_and_purpose(pages: Mapping[str, str]) -> None:
    for name, text in pages.items():
        assert re.match(r"# \S[^\n]*\n\n\*[A-Z][^*]+\.\*\n", text), name


# ---- command line ---------------------------------------------------------------------------------------------------


def test_every_option_is_told(pages: Mapping[str, str]) -> None:
    """Every command has its section, its examples and a row for each of its parameters."""
    text = pages["reference/cli.md"]
    sections = dict(re.findall(r"^## edgealloc (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(CLI.commands()) == set(CLI.EXAMPLES)
    for name, command in CLI.commands().items():
        for parameter in command.params:
            if parameter.name != "help":
                shown = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
                assert f"| `{shown}`" in sections[name], (name, shown)


@pytest.mark.parametrize("line", [line for lines in CLI.EXAMPLES.values() for line in lines])
def test_examples_are_read_by_the_command_line(line: str) -> None:
    assert line.startswith("edgealloc ")
    assert CLI.parsed(line)


# ---- symbols --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_and_limit_is_told(kind: str, pages: Mapping[str, str]) -> None:
    text = pages["reference/symbols.md"]
    for field in SYMBOLS.tables_of(kind).FIELDS:
        assert re.search(rf"^\| `{field.name}` (\$|\|)", text, re.MULTILINE), field.name
        assert field.text, field.name
    for limit in problem_class(kind).CONSTRAINTS:
        assert f"| `{limit.name}` | `" in text, limit.name


@pytest.mark.parametrize(
    ("symbol", "formula"),
    [
        ("psi_n", r"\psi_{n}"),
        ("C_n D_n", r"C_{n}\,D_{n}"),
        ("Mem_i", r"\mathrm{Mem}_{i}"),
        ("P_idle", r"P_{\mathrm{idle}}"),
        ("t_ivc", "t_{ivc}"),
        ("1-A", "1-A"),
        ("N_0", "N_{0}"),
    ],
)
def test_symbols_are_formulas(symbol: str, formula: str) -> None:
    assert SYMBOLS.latex(symbol) == formula


# ---- scenario files -------------------------------------------------------------------------------------------------


def said_keys(schema: Schema, text: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(table, key, value text) of every line of an example, alternatives included."""
    section: tuple[str, ...] = ()
    for line in text.splitlines():
        header = re.match(r"^\[\[?([\w.\-]+)\]\]?", line)
        alternative, key = ALTERNATIVE.match(line), re.match(r"^(\w+) = (.+)", line)
        if header:
            section = tuple(header[1].split("."))
            yield section, "", ""
        elif alternative:
            yield section, alternative[1], alternative[2]
        elif key:
            yield section, key[1], ""


@pytest.mark.parametrize("kind", KINDS)
def test_example_has_every_key(kind: str) -> None:
    """What can be said is said once at least, and alternatives hold values that their key may have."""
    schema = kind_named(kind).schema
    text = SCENARIOS.example_path(kind).read_text(encoding="utf-8")
    said = list(said_keys(schema, text))
    tables = {(*where, key) for where, key, _ in said} | {where for where, _, _ in said}
    for section, model in schema.sections.items():
        for key in model.model_fields:
            child = (*section, key)
            below = any(one[: len(child)] == child for one in tables)
            assert below, f"{'.'.join(child)} is missing in the example of {kind}"
    for section, key, value in said:
        if value:
            assert key in salvage(schema.sections[section], tomllib.loads(f"{key} = {value}")), (section, key)


@pytest.mark.parametrize("kind", KINDS)
def test_example_loads(kind: str) -> None:
    """It is a valid file, and it makes a problem of its kind."""
    problem = ea.Scenario.load(SCENARIOS.example_path(kind)).problem()
    assert problem.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_told(kind: str, pages: Mapping[str, str]) -> None:
    text = pages[f"reference/scenario_{kind.replace('-', '_')}.md"]
    for section, model in kind_named(kind).schema.sections.items():
        for key, info in model.model_fields.items():
            assert f"| `{key}` |" in text
            if (*section, key) not in kind_named(kind).schema.sections and key not in ("models", "devices"):
                assert info.description or key in ("catalog", "model"), (section, key)


# ---- API ------------------------------------------------------------------------------------------------------------


def test_every_public_name_is_on_a_page(pages: Mapping[str, str]) -> None:
    """Each name of `edgealloc.__all__` belongs to one topic and is documented there."""
    topics = [name for topic in API.TOPICS for name in topic.names]
    assert sorted(topics) == sorted(API.public_names())
    text = "\n".join(pages.values())
    for name in API.public_names():
        if name != "workflow":  # a module; its functions are told under their own names
            assert re.search(rf"^\.\. auto\w+:: edgealloc\.{name}$", text, re.MULTILINE), name
    assert "autofunction:: edgealloc.scenarios.workflow.deploy" in text


def test_every_engine_and_model_is_on_a_page(pages: Mapping[str, str]) -> None:
    """Every module of solvers and system shows all that it names, each object once."""
    root = Path(str(ea.__file__)).parent
    text = "\n".join(pages.values())
    for folder in ("solvers", "system"):
        for path in sorted((root / folder).glob("*.py")):
            module = f"edgealloc.{folder}.{path.stem}"
            names = getattr(importlib.import_module(module), "__all__", ()) if path.stem != "__init__" else ()
            for name in names:
                thing = getattr(importlib.import_module(module), name)
                homes = {f"{module}.{name}", f"edgealloc.{name}", f"{getattr(thing, '__module__', module)}.{name}"}
                homes |= {f"edgealloc.system.pathloss.{name}"}
                assert any(f":: {home}\n" in text for home in homes), f"{module}.{name}"
    shown = re.findall(r"^\.\. auto(?:class|function|data):: (\S+)", text, re.MULTILINE)
    assert len(shown) == len(set(shown))
