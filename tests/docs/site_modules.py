"""The modules that write pages of the site, for tests; none of them needs Sphinx."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

__all__ = ["site_module"]

_FOLDER = str(Path(__file__).resolve().parents[2] / "docs" / "_ext")


def site_module(name: str) -> Any:
    """A module of docs/_ext."""
    if _FOLDER not in sys.path:
        sys.path.append(_FOLDER)
    return importlib.import_module(name)
