"""The only place that knows numba: one typed decorator for compiled kernels, and where their machine code is kept.

Kernels are pure functions of arrays and floats. They release the interpreter lock, so that orchestration can run them
in a thread pool: results then do not depend on the number of threads, and no thread pool of numba's own (whose default
is not safe to enter from several threads) is started.

numba's on-disk cache does not notice an edit in a kernel or constant of another file that is compiled in, so the cache
folder of a formulation is keyed by a hash of the sources of its kernels, of the shared ones and of what they import (an
edit in one formulation leaves the others compiled); and a folder that cannot be written must not be an error at import.

In that folder the code of a kernel is found by its module's name and not, as numba would, by the path of the file:
compiling takes minutes, and every installation of the same sources on a machine shares what one has compiled.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

__all__ = ["anything_cached", "cache_folder", "kernel"]

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE: Final = Path(__file__).parent
_MARK: Final = b"@kernel"
_IMPORTS: Final = re.compile(rb"^from (edgealloc\.[\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)
_CONSTANT: Final = re.compile(rb"\b[A-Z][A-Z0-9_]+\b")


def _formulation(module: str) -> str:
    """The formulation that a module belongs to, or "" (no formulation sees another, but all see what is shared)."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["edgealloc", "formulations"] and len(parts) > 2 else ""


@cache
def _sources(formulation: str) -> tuple[Path, ...]:
    """Files with a kernel of a formulation ("": of none) and, from there on, what they import that is compiled in:
    other files with kernels, and constants (`core` has none that a kernel computes with)."""
    texts, own = {}, set()
    for path in _PACKAGE.rglob("*.py"):
        parts = path.relative_to(_PACKAGE).parts
        if parts[0] != "core" and (parts[0] != "formulations" or parts[1] == formulation):
            texts[path] = path.read_bytes()
            if _MARK in texts[path] and (parts[0] == "formulations") == bool(formulation):
                own.add(path)
    found, asked = set(own), list(own)
    while asked:
        for module, names in _IMPORTS.findall(texts[asked.pop()]):
            path = _PACKAGE.parent.joinpath(*module.decode().split(".")).with_suffix(".py")
            marked = _MARK in texts.get(path, b"")
            if path in texts and path not in found and (marked or _CONSTANT.search(names)):
                found.add(path)
                if marked:
                    asked.append(path)
    return tuple(sorted(found))


def _sources_hash(formulation: str) -> str:
    """Hash of all these sources, of numba's version and of the machine."""
    digest = hashlib.sha256(f"{numba.__version__} {platform.python_version()} {platform.machine()}".encode())
    for path in _sources(formulation):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_home() -> Path:
    chosen = os.environ.get("EDGEALLOC_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return (Path(base) if base else Path.home() / ".cache") / "edgealloc"


@cache
def cache_folder(formulation: str = "") -> Path | None:
    """Folder for the compiled kernels of a formulation; None (compile anew in every process) if it cannot be written.

    ``EDGEALLOC_CACHE_DIR`` chooses another place than the user's cache folder. "" is for what is in no formulation.
    """
    try:
        folder = _cache_home() / f"kernels-{formulation or 'shared'}-{_sources_hash(formulation)}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:
        log.info("kernels are compiled anew in every process: no cache folder (%s)", error)
        return None
    return folder


def anything_cached(formulation: str) -> bool:
    """Whether kernels of this version of a formulation have been compiled on this machine before."""
    folder = cache_folder(formulation)
    return folder is not None and any(folder.rglob("*.nbi"))


class _ByModule:
    """Tells numba where the code of a kernel of this package is: one of the "locators" that it asks in turn."""

    def __init__(self, function: Callable[..., Any], path: str) -> None:
        self._py_file = path
        self._line = function.__code__.co_firstlineno
        self._folder = Path(numba.config.CACHE_DIR) / function.__module__

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> _ByModule | None:
        """A locator, or None for a function that is not in this package: the hash of sources does not cover it."""
        return cls(function, path) if Path(path).is_relative_to(_PACKAGE) else None

    def ensure_cache_path(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        """Folder of a module's kernels."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """Nothing: the folder's name has the hash of all sources already."""
        return ""

    def get_disambiguator(self) -> str:
        """What tells functions of one name in one module apart."""
        return str(self._line)


@contextmanager
def _cached_in(folder: Path) -> Iterator[None]:
    """While dispatchers are made here, numba keeps their code in `folder`."""
    files = FunctionCache._impl_class
    before = numba.config.CACHE_DIR, files._locator_classes
    numba.config.CACHE_DIR, files._locator_classes = str(folder), [_ByModule, *before[1]]
    try:
        yield
    finally:
        numba.config.CACHE_DIR, files._locator_classes = before


def kernel(function: F) -> F:
    """Compile `function` on first use: no Python objects, no interpreter lock, IEEE arithmetic in the written order."""
    folder = cache_folder(_formulation(function.__module__))
    with _cached_in(folder) if folder is not None else nullcontext():
        compiled = numba.njit(nogil=True, cache=folder is not None, error_model="numpy", fastmath=False)(function)
    return cast(F, compiled)
