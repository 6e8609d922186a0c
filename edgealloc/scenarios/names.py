"""Names of the members of a group of a scenario file."""

from __future__ import annotations

__all__ = ["member_names"]


def member_names(name: str | None, device: str | None, count: int, otherwise: str) -> list[str]:
    """Names of the members of a group: its own or its device's, numbered from 1 if there are several.

    >>> member_names("truck", "l4", 2, "server")
    ['truck-1', 'truck-2']
    """
    base = name or device or otherwise
    return [base] if count == 1 else [f"{base}-{k}" for k in range(1, count + 1)]
