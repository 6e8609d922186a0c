"""Files that are either written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgealloc.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_atomically", "write_csv"]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write(stream)` on a temporary file beside `path`, sync it and rename it: all or nothing."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp's 0600 would surprise whoever shares the folder
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def write_csv(frame: pd.DataFrame, path: str | Path, what: str) -> Path:
    """Write a frame as .csv, in full precision and all or nothing; `what` it is, for the error of another suffix."""
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise DataError(f"cannot write {what} to '{path}': give a name that ends in .csv")
    text = frame.to_csv(index=False)
    write_atomically(path, lambda stream: stream.write(text.encode()))
    return path
