"""Links upward: how lower floors name what lives above them, without importing it."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["resolve"]


def resolve(path: str) -> Any:
    """Import what "module:name" says: how lower floors name what lives above them."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
