"""Names of jobs and servers, and the servers that a name in a file stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgealloc.scenarios.names import member_names, servers_called

if TYPE_CHECKING:
    from edgealloc.scenarios.fine_tuning.schema import Document

__all__ = ["job_base", "job_names", "member_names", "server_names", "servers_called"]


def job_base(i: int, groups: int) -> str:
    """Name of a group of jobs that has none: "job", or "job-group-2" where there are several groups."""
    return "job" if groups == 1 else f"job-group-{i}"


def job_names(document: Document) -> tuple[str, ...]:
    """Names of all jobs, in the order of the problem."""
    groups = document.jobs
    return tuple(
        name
        for i, group in enumerate(groups)
        for name in member_names(group.name, None, group.count, job_base(i, len(groups)))
    )


def server_names(document: Document) -> tuple[str, ...]:
    """Names of all servers, in the order of the problem."""
    return tuple(
        name for group in document.servers for name in member_names(group.name, group.device, group.count, "server")
    )
