"""Names of the devices of a pool, and who reaches whom, before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["ACCESS_POINT", "SWITCH", "directed", "group_names", "reachable"]

#: relays that a network brings along
SWITCH = "switch"
ACCESS_POINT = "access-point"


def group_names(name: str | None, device: str | None, count: int) -> list[str]:
    """Names of the devices of a group: its own or its catalog name, numbered from 1 if there are several.

    >>> group_names("pi", "raspberry-pi-5-8gb", 2)
    ['pi-1', 'pi-2']
    """
    base = name or device or "device"
    return [base] if count == 1 else [f"{base}-{k}" for k in range(1, count + 1)]


def reachable(start: str, links: Iterable[tuple[str, str]]) -> set[str]:
    """Nodes that messages from `start` get to over directed links, itself included."""
    after: dict[str, list[str]] = {}
    for a, b in links:
        after.setdefault(a, []).append(b)
    found, todo = {start}, [start]
    while todo:
        for node in after.get(todo.pop(), ()):
            if node not in found:
                found.add(node)
                todo.append(node)
    return found


def directed(links: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Both directions of every link, one of those that are one-way."""
    pairs: list[tuple[str, str]] = []
    for link in links:
        pairs.append((link["a"], link["b"]))
        if not link["one_way"]:
            pairs.append((link["b"], link["a"]))
    return pairs
