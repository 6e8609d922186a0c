"""Names of the relays of a pool, and who reaches whom, before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["ACCESS_POINT", "SWITCH", "directed", "reachable"]

#: relays that a network brings along
SWITCH = "switch"
ACCESS_POINT = "access-point"


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
