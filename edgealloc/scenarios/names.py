"""Names of the members of a group of a scenario file, and the servers that a name in a file stands for."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["member_names", "servers_called"]


def member_names(name: str | None, device: str | None, count: int, otherwise: str) -> list[str]:
    """Names of the members of a group: its own or its device's, numbered from 1 if there are several.

    >>> member_names("truck", "l4", 2, "server")
    ['truck-1', 'truck-2']
    """
    base = name or device or otherwise
    return [base] if count == 1 else [f"{base}-{k}" for k in range(1, count + 1)]


def servers_called(name: str, groups: Iterable[tuple[str | None, str | None, int]]) -> list[int]:
    """Indices of the servers that a name stands for: one of them, or all of a group.

    Parameters
    ----------
    name : str
    groups : iterable of (name, device, count)

    >>> servers_called("truck", [("truck", None, 2), (None, "t4", 1)])
    [0, 1]
    """
    found: list[int] = []
    first = 0
    for own, device, count in groups:
        members = member_names(own, device, count, "server")
        if name == (own or device or "server"):
            found += range(first, first + count)
        elif name in members:
            found.append(first + members.index(name))
        first += count
    return found
