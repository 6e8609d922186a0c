"""Names of devices, servers and variants of a deployment file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgealloc.scenarios.names import member_names, servers_called

if TYPE_CHECKING:
    from edgealloc.scenarios.deployment.schema import Document

__all__ = [
    "device_base",
    "device_names",
    "member_names",
    "server_groups",
    "server_names",
    "servers_called",
    "variant_name",
]


def variant_name(model: str, label: str, formats: int, name: str | None) -> str:
    """Name of a variant: its own where it is the only one of its table, else made of what it is.

    >>> variant_name("llama3.2-1b", "Q4_K_M", 2, None), variant_name("opt-1.3b", "f16", 1, "big")
    ('llama3.2-1b-Q4_K_M', 'big')
    """
    return name if name is not None and formats == 1 else f"{model}-{label}"


def device_base(i: int, groups: int) -> str:
    """Name of a group of devices that has none: "device", or "device-group-2" where there are several groups."""
    return "device" if groups == 1 else f"device-group-{i}"


def device_names(document: Document) -> tuple[str, ...]:
    """Names of all devices, in the order of the problem."""
    groups = document.devices
    return tuple(
        name
        for i, group in enumerate(groups)
        for name in member_names(group.name, None, group.count, device_base(i, len(groups)))
    )


def server_groups(document: Document) -> Iterable[tuple[str | None, str | None, int]]:
    """What `servers_called` looks names up in."""
    return [(one.name, one.device, one.count) for one in document.servers]


def server_names(document: Document) -> tuple[str, ...]:
    """Names of all servers, in the order of the problem."""
    return tuple(name for one in document.servers for name in member_names(one.name, one.device, one.count, "server"))
