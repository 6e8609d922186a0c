"""What users see: public names, texts that name functions, docstrings, a light import, one version everywhere."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edgealloc as ea
from edgealloc.core.kinds import KINDS, problem_class
from edgealloc.core.links import resolve
from edgealloc.core.problem import Problem
from edgealloc.core.storage import TYPES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "edgealloc"
HEAVY = ("cvxpy", "pulp", "pandas", "matplotlib", "numba", "networkx", "scipy.optimize", "pydantic")
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(PACKAGE)], "edgealloc."))


@pytest.mark.parametrize("statement", ["import edgealloc", "import edgealloc as ea; ea.Weights(); ea.Status"])
def test_import_is_light(statement: str) -> None:
    """`import edgealloc` loads nothing heavy; names load when they are used."""
    code = f"import sys; {statement}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_public_names_resolve() -> None:
    """Every name of `__all__` exists, comes from where `_PUBLIC` says, and nothing public is left out."""
    table = ea._PUBLIC
    assert set(ea.__all__) == set(table) | {"__version__"}
    assert list(ea.__all__) == sorted(ea.__all__)
    for name, module in table.items():
        assert getattr(ea, name) is getattr(importlib.import_module(module), name)
        assert name in importlib.import_module(module).__all__, f"{module}.__all__ lacks {name}"
    assert dir(ea) == sorted(ea.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ea.nothing


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING are those of the lazy table, from the same modules."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {}
    for block in tree.body:
        if isinstance(block, ast.If):
            for node in block.body:
                assert isinstance(node, ast.ImportFrom)
                seen.update({alias.name: node.module for alias in node.names})
    assert seen == ea._PUBLIC


def test_texts_that_name_code_resolve() -> None:
    """Every "module:name" (methods, kinds, stored types) can be imported and is what it should be."""
    for kind, path in KINDS.items():
        cls = problem_class(kind)
        assert cls is resolve(path)
        assert issubclass(cls, Problem)
        assert cls.kind == kind
        assert cls.DEFAULT_METHOD in {method.name for method in cls.METHODS}
        for method in cls.METHODS:
            assert isinstance(method.run, str)
            assert callable(resolve(method.run)), method.name
            assert method.summary
            assert method.reference, method.name
    for tag, path in TYPES.items():
        assert inspect.isclass(resolve(path)), tag


def test_every_literal_path_resolves() -> None:
    """The same for every such text anywhere in the sources."""
    shape = re.compile(r"edgealloc(\.\w+)+:\w+")
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and shape.fullmatch(node.value):
                assert resolve(node.value) is not None, f"{path}:{node.lineno}"


def test_method_references_exist() -> None:
    """A method that refers to a page of the documentation refers to one that is there."""
    for kind in KINDS:
        for method in problem_class(kind).METHODS:
            for page in re.findall(r"docs/[\w./-]+\.md", method.reference):
                assert (ROOT / page).is_file(), f"{method.name}: {page}"


def test_method_names_are_unique() -> None:
    for kind in KINDS:
        names = [method.name for method in problem_class(kind).METHODS]
        assert len(names) == len(set(names))
        constraints = [one.name for one in problem_class(kind).CONSTRAINTS]
        assert len(constraints) == len(set(constraints))


@pytest.mark.parametrize("name", [name for name in ea.__all__ if name != "__version__"])
def test_public_names_are_documented(name: str) -> None:
    """Every public class, function and public member of our own has a docstring."""
    thing = getattr(ea, name)
    assert inspect.getdoc(thing), name
    if not inspect.isclass(thing):
        return
    for member, value in inspect.getmembers(thing):
        function = value.fget if isinstance(value, property) else value
        ours = str(getattr(function, "__module__", "")).startswith("edgealloc")
        if not member.startswith("_") and ours and (inspect.isroutine(function) or isinstance(value, property)):
            assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports_and_its_examples_run(module: str) -> None:
    """Each module can be imported, says what it is for, keeps its `__all__`, and its doctests hold."""
    loaded = importlib.import_module(module)
    for name in getattr(loaded, "__all__", ()):
        assert hasattr(loaded, name), f"{module}.{name}"
    if Path(str(loaded.__file__)).read_text(encoding="utf-8").strip():
        assert (loaded.__doc__ or "").strip(), f"{module} has no docstring"
    assert doctest.testmod(loaded).failed == 0


def test_examples_of_the_package_run() -> None:
    assert doctest.testmod(ea).failed == 0


def test_one_version_everywhere() -> None:
    """pyproject.toml, the package, CHANGELOG.md and CITATION.cff say the same version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == ea.__version__
    newest = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == ea.__version__
    assert re.search(
        rf"^version: \"?{re.escape(ea.__version__)}\"?$",
        (ROOT / "CITATION.cff").read_text(encoding="utf-8"),
        re.MULTILINE,
    )


def test_readme_has_the_commands() -> None:
    """The check takes them from the README: each in the bash block after its marker, on one line."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, end in (
        ("run", "edgealloc compare examples/scenarios/campus.toml"),
        ("test", "-m pytest"),
        ("docs", "make -C docs html PYTHON=../.venv/bin/python"),
    ):
        block = re.search(rf"^<!-- ci:{name} -->\n```bash\n(.+)\n```$", readme, re.MULTILINE)
        assert block is not None, name
        assert block[1].startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert block[1].endswith(end)
    for link in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", readme):
        assert (ROOT / link.split("#")[0]).exists(), f"README.md links to {link}"


def test_nothing_points_out_of_the_checkout() -> None:
    """No path of a developer's machine in anything that is published."""
    suspicious = re.compile(r"(?<![\w./])/(?:home|root|Users|work|tmp|opt)/\w")
    for pattern in (
        "edgealloc/**/*.py",
        "edgealloc/**/*.json",
        "docs/**/*.md",
        "examples/**/*",
        "*.md",
        "*.toml",
        "*.cff",
    ):
        for path in ROOT.glob(pattern):
            if path.is_file() and path.suffix not in (".png", ".npz"):
                found = suspicious.search(path.read_text(encoding="utf-8"))
                assert found is None, f"{path.relative_to(ROOT)}: {found}"
