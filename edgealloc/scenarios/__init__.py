"""Scenarios: declared in files or drawn at random, checked, reported, and turned into problems."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["workflow"]


def __getattr__(name: str) -> Any:
    if name == "workflow":
        return importlib.import_module("edgealloc.scenarios.workflow")
    raise AttributeError(f"module 'edgealloc.scenarios' has no attribute '{name}'")
