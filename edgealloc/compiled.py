"""The only place that knows numba: one typed decorator for compiled kernels, and where their machine code is kept.

Kernels are pure functions of arrays and floats. They release the interpreter lock, so that orchestration can run them
in a thread pool: results then do not depend on the number of threads, and no thread pool of numba's own (whose default
is not safe to enter from several threads) is started.

numba's on-disk cache does not notice an edit in a kernel of another file that is inlined, so the cache folder of a
formulation is keyed by a hash of the sources of its kernels and of the shared ones (an edit in one formulation leaves
the others compiled); and a folder that cannot be written must not be an error at import.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

__all__ = ["anything_cached", "cache_folder", "kernel"]

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE: Final = Path(__file__).parent
_MARK: Final = b"@kernel"


def _formulation(module: str) -> str:
    """The formulation that a module belongs to, or "" (no formulation sees another, but all see what is shared)."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["edgealloc", "formulations"] and len(parts) > 2 else ""


def _sources_hash(formulation: str) -> str:
    """Hash of every file with a kernel that `formulation` can see, of numba's version and of the machine."""
    digest = hashlib.sha256(f"{numba.__version__} {platform.python_version()} {platform.machine()}".encode())
    for path in sorted(_PACKAGE.rglob("*.py")):
        parts = path.relative_to(_PACKAGE).parts
        if parts[0] == "formulations" and parts[1] != formulation:
            continue
        text = path.read_bytes()
        if _MARK in text:
            digest.update(str(path.relative_to(_PACKAGE)).encode() + b"\0" + text)
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


def kernel(function: F) -> F:
    """Compile `function` on first use: no Python objects, no interpreter lock, IEEE arithmetic in the written order."""
    folder = cache_folder(_formulation(function.__module__))
    before = numba.config.CACHE_DIR
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)  # read by numba while the dispatcher is made
    try:
        compiled = numba.njit(nogil=True, cache=folder is not None, error_model="numpy", fastmath=False)(function)
    finally:
        numba.config.CACHE_DIR = before
    return cast(F, compiled)
