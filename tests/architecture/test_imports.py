"""The import graph, read from the sources: imports run downward, and each package sees only what it may."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "edgealloc"

#: What each part of the package may import, from the roof down; its own modules go without saying. An entry with a
#: dot allows that module alone.
MAY_IMPORT: dict[str, set[str]] = {
    "cli": {
        "edgealloc",
        "reproduce",
        "comparison",
        "sweeps",
        "scenarios",
        "catalog",
        "formulations",
        "core",
        "system",
        "units",
        "errors",
    },
    "reproduce": {
        "edgealloc",
        "comparison",
        "sweeps",
        "scenarios",
        "catalog",
        "formulations",
        "core",
        "system",
        "units",
        "errors",
    },
    "sweeps": {"comparison", "scenarios", "core", "units", "errors"},
    "comparison": {"core", "units", "errors"},
    "fronts": {"formulations", "core", "errors"},
    "scenarios": {"catalog", "formulations", "core", "system", "units", "errors"},
    "catalog": {"system", "units", "errors"},
    "formulations": {"core", "system", "solvers", "compiled", "units", "errors"},
    # engines know the clock and how a run ends, and nothing else of what is above them
    "solvers": {"core.run", "core.status", "compiled", "units", "errors"},
    "system": {"compiled", "units", "errors"},
    "core": {"units", "errors"},
    "compiled": set(),
    "units": set(),
    "errors": set(),
}
FORMULATIONS = sorted(p.name for p in (PACKAGE / "formulations").iterdir() if (p / "__init__.py").is_file())


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree: ast.AST, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, wherever it stands: in functions and under TYPE_CHECKING too.

    `from package import name` counts as `package.name` where that is a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in known else str(node.module)


def part_of(module: str) -> str:
    """ "edgealloc.core.run" -> "core"; the package itself -> "edgealloc"."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "edgealloc"


def test_every_part_has_a_floor() -> None:
    """A new part of the package must be given its floor here, and every floor names parts of the house."""
    parts = {part_of(module) for module in SOURCES} - {"edgealloc"}
    assert parts <= set(MAY_IMPORT)
    for part, below in MAY_IMPORT.items():
        assert part not in below
        assert {one.split(".")[0] for one in below} <= set(MAY_IMPORT) | {"edgealloc"}


def test_floors_have_no_cycle() -> None:
    """The table itself runs downward: no part can reach itself (solvers see two leaf modules of core alone)."""
    leaves = {"core.run", "core.status"}
    edges = {part: below - {"edgealloc"} - leaves for part, below in MAY_IMPORT.items()}
    while edges:
        free = {part for part, below in edges.items() if not below & set(edges)}
        assert free, f"a cycle among {sorted(edges)}"
        edges = {part: below for part, below in edges.items() if part not in free}
    assert "solvers" not in MAY_IMPORT["core"] | MAY_IMPORT["system"]


@pytest.mark.parametrize("module", SOURCES)
def test_imports_run_downward(module: str) -> None:
    """Every import of ours names a part that the importing part may see."""
    if module == "edgealloc":
        return  # the public names; see test_public.py
    part = part_of(module)
    for line, name in imported(parse(SOURCES[module]), SOURCES):
        if name != "edgealloc" and not name.startswith("edgealloc."):
            continue
        other, allowed = part_of(name), MAY_IMPORT[part]
        exact = name.removeprefix("edgealloc.")
        assert other == part or other in allowed or exact in allowed, f"{module}:{line} imports {name}"


@pytest.mark.parametrize("kind", FORMULATIONS)
def test_formulations_do_not_see_each_other(kind: str) -> None:
    """No formulation imports another: what they share belongs in core, system or solvers."""
    own = f"edgealloc.formulations.{kind}"
    for module, path in SOURCES.items():
        if module == own or module.startswith(own + "."):
            for line, name in imported(parse(path), SOURCES):
                foreign = name.startswith("edgealloc.formulations") and not (name + ".").startswith(own + ".")
                assert not foreign, f"{module}:{line} imports {name}"


def test_core_names_formulations_by_text_only() -> None:
    """Core and comparison work for every formulation and import none."""
    for module, path in SOURCES.items():
        if part_of(module) in ("core", "comparison", "solvers", "system"):
            for line, name in imported(parse(path), SOURCES):
                assert not name.startswith("edgealloc.formulations"), f"{module}:{line}"


def test_imports_are_absolute() -> None:
    for path in SOURCES.values():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}"


def test_only_compiled_knows_numba() -> None:
    for module, path in SOURCES.items():
        if module != "edgealloc.compiled":
            names = {name.split(".")[0] for _, name in imported(parse(path), SOURCES)}
            assert "numba" not in names, module


def test_nothing_is_printed() -> None:
    """The library logs; tables of the command line go through typer."""
    for module, path in SOURCES.items():
        for node in ast.walk(parse(path)):
            printing = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            assert not printing, f"{module}:{getattr(node, 'lineno', 0)}"


def test_no_file_is_too_long() -> None:
    """About 500 lines is a sign to split; 600 is the end."""
    long = {
        str(path.relative_to(ROOT)): n
        for path in SOURCES.values()
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 600
    }
    assert not long


def test_doors_lead_into_the_package() -> None:
    """`formulations` and `solvers` at the top level are relative links to the packages of the same name."""
    for name in ("formulations", "solvers"):
        door = ROOT / name
        assert door.is_symlink(), f"{name} is no link"
        assert not Path(door.readlink()).is_absolute()
        assert door.resolve() == (PACKAGE / name).resolve()


def test_nothing_goes_through_the_doors() -> None:
    """Through a door the same class would exist twice, so no code of ours imports `formulations` or `solvers`."""
    folders = [ROOT / name for name in ("edgealloc", "tests", "examples", "benchmarks", "docs")]
    for path in (path for folder in folders for path in sorted(folder.rglob("*.py"))):
        for line, name in imported(parse(path), {}):
            assert name.split(".")[0] not in ("formulations", "solvers"), f"{path}:{line}"
