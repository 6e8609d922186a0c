"""Compiled kernels: where their machine code is kept, and that nothing depends on being able to keep it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgealloc import compiled

KERNEL = """
from edgealloc.compiled import cache_folder, kernel

@kernel
def half(x: float) -> float:
    '''x/2.'''
    return x / 2.0

print(half(3.0), half(0.0) / 1.0, cache_folder())
"""


def run(folder: Path, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run KERNEL in a fresh process with its own cache folder, from a file because numba wants to find the source."""
    script = home / "kernel_script.py"
    script.write_text(KERNEL, encoding="utf-8")
    environment = {**os.environ, "EDGEALLOC_CACHE_DIR": str(folder), **more}
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment)


def test_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    """EDGEALLOC_CACHE_DIR chooses the place; a second process finds the code there and compiles nothing new."""
    cache = tmp_path / "cache"
    first = run(cache, tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split()[:2] == ["1.5", "0.0"]
    assert str(cache) in first.stdout
    kept = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}
    assert kept
    assert run(cache, tmp_path).stdout == first.stdout
    assert {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")} == kept


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """A file where the folder should be: kernels are compiled anew, and the answer is the same."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file", encoding="utf-8")
    result = run(blocked, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["1.5", "0.0", "None"]


def test_no_home_is_no_error(tmp_path: Path) -> None:
    """Even where there is no usable home folder, import and kernels work."""
    nowhere = str(tmp_path / "blocked" / "home")
    (tmp_path / "blocked").write_text("a file", encoding="utf-8")
    gone = {"EDGEALLOC_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": nowhere, "LOCALAPPDATA": ""}
    result = run(Path(), tmp_path, **gone)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["1.5", "0.0", "None"]


def test_the_key_covers_every_kernel(tmp_path: Path) -> None:
    """The folder's name changes with any file whose kernels a formulation can see, because inlined kernels are not
    seen by numba's own cache; kernels of other formulations do not matter."""
    package = Path(compiled.__file__).parent
    marked = {path for path in package.rglob("*.py") if b"@kernel" in path.read_bytes()}
    users = {path for path in package.rglob("*.py") if b"import kernel" in path.read_bytes()}
    assert users <= marked
    assert len(marked) >= 3
    assert compiled._sources_hash("split_training") == compiled._sources_hash("split_training")
    assert compiled._sources_hash("split_training") != compiled._sources_hash("")
    assert compiled._formulation("edgealloc.formulations.split_training.oracle") == "split_training"
    assert compiled._formulation("edgealloc.system.responses") == compiled._formulation("__main__") == ""


SHARED = """
import sys
sys.path.insert(0, sys.argv[1])
import edgealloc
from edgealloc.system.responses import radio_cost as kernel
print(kernel(1e6, 1e9, 1.0, 0.0))
print(edgealloc.__file__)
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""


def test_installations_of_the_same_sources_share_code(tmp_path: Path) -> None:
    """What one has compiled another one loads, wherever it is and however old its files are."""
    package = Path(compiled.__file__).parent
    printed = []
    for name in ("one", "two"):
        shutil.copytree(package, tmp_path / name / "edgealloc", copy_function=shutil.copyfile,
                        ignore=shutil.ignore_patterns("__pycache__"))
        done = subprocess.run(
            [sys.executable, "-c", SHARED, str(tmp_path / name)], capture_output=True, text=True, check=False,
            cwd=tmp_path, env={**os.environ, "EDGEALLOC_CACHE_DIR": str(tmp_path / "cache")},
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.split("\n"))
    assert [Path(line[1]).parent.parent for line in printed] == [tmp_path / "one", tmp_path / "two"]
    assert [line[2] for line in printed] == ["0 1", "1 0"]
    assert printed[0][0] == printed[1][0]


def test_what_a_kernel_uses_is_covered_by_the_key() -> None:
    """Constants and functions that a kernel takes from other modules are compiled in: these modules are hashed."""
    package = Path(compiled.__file__).parent
    used = 0
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "@kernel" not in text:
            continue
        covered = compiled._sources(compiled._formulation(".".join(("edgealloc", *path.relative_to(package).parts))))
        tree = ast.parse(text)
        comes_from = {
            name.asname or name.name: node.module
            for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module for name in node.names
        }
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and "kernel" in map(ast.unparse, function.decorator_list):
                inside = {name.id for part in function.body for name in ast.walk(part) if isinstance(name, ast.Name)}
                for name in inside & comes_from.keys():
                    if comes_from[name].startswith("edgealloc"):
                        source = package.parent.joinpath(*comes_from[name].split(".")).with_suffix(".py")
                        assert source in covered, (path.name, function.name, name)
                        used += 1
    assert used > 50


def test_kernels_keep_ieee_arithmetic() -> None:
    """No fast mathematics: infinities and nan survive, and division by zero gives them instead of raising."""

    @compiled.kernel
    def parts(x: float, y: float) -> tuple[float, float, float]:
        """x/y, x - x and (x + y) - y, as written."""
        return x / y, x - x, (x + y) - y

    ratio, zero, lost = parts(1.0, 0.0)
    assert ratio == np.inf
    assert zero == 0.0
    assert lost == 1.0
    assert parts(1e-30, 1.0)[2] == 0.0
    assert np.isnan(parts(np.inf, 1.0)[1])


def test_kernels_are_plain_functions_in_python() -> None:
    """The decorated function keeps its name, text and a plain Python version, for readers and debuggers."""
    from edgealloc.system.responses import radio_cost

    assert radio_cost.__name__ == "radio_cost"
    assert radio_cost.__doc__
    plain = radio_cost.py_func  # type: ignore[attr-defined]
    assert plain(1e6, 1e9, 1.0, 0.0) == radio_cost(1e6, 1e9, 1.0, 0.0)
