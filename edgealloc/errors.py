"""The error tree: what can go wrong, said in the user's words.

``solve`` returns a :class:`~edgealloc.core.solution.Solution` even when a problem is infeasible or time is up;
these exceptions are for faulty input, missing optional packages and for callers who ask to be stopped
(:meth:`Solution.require`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "DataError",
    "EdgeallocError",
    "Fault",
    "InfeasibleError",
    "MissingDependencyError",
    "SolverError",
    "nearest",
]


#: Faults in the text of an error; a faulty array of thousands would fill the screen.
_SHOWN: Final = 50


class EdgeallocError(Exception):
    """Root of everything that edgealloc raises on purpose."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the input.

    Attributes
    ----------
    field : str
        Where: a dotted path in a file (``servers.0.bandwidth``) or an argument (``gain[3, 1]``).
    message : str
        What is wrong, with the value, and how to put it right.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class DataError(EdgeallocError, ValueError):
    """The input is faulty. Carries *every* fault that was found, not only the first.

    Parameters
    ----------
    faults : sequence of Fault, or str
        What is wrong; a plain string becomes one fault without a field.
    source : str, optional
        The file or object that was read, named in the message.
    """

    def __init__(self, faults: Sequence[Fault] | str, source: str = "") -> None:
        self.faults: tuple[Fault, ...] = (Fault("", faults),) if isinstance(faults, str) else tuple(faults)
        self.source = source
        where = f"{source}: " if source else ""
        if len(self.faults) == 1:
            text = f"{where}{self.faults[0]}"
        else:
            lines = [f"  - {fault}" for fault in self.faults[:_SHOWN]]
            if len(self.faults) > _SHOWN:
                lines.append(f"  ... and {len(self.faults) - _SHOWN} more, in `faults`")
            text = "\n".join([f"{where}{len(self.faults)} faults", *lines])
        super().__init__(text)


class InfeasibleError(EdgeallocError):
    """Proven: no allocation satisfies every limit. The message names the limits and a repair."""


class SolverError(EdgeallocError):
    """A method ended without an allocation (time, numerics), and the caller insisted on one."""


class MissingDependencyError(EdgeallocError, ImportError):
    """An optional package is absent; the message names what brings it.

    Parameters
    ----------
    package : str
    extra : str, optional
        The extra of edgealloc that has it; without one the package itself is to be installed (a user's own method).
    """

    def __init__(self, package: str, extra: str = "") -> None:
        wanted = f"'edgealloc[{extra}]'" if extra else package
        super().__init__(f"{package} is not installed; it comes with: pip install {wanted}")
        self.package = package
        self.extra = extra


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names look like `name`, for the end of an error message.

    >>> nearest("gredy", ["greedy", "random"])
    "did you mean 'greedy'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f"'{one}'" for one in close) + "?"
    return "known: " + ", ".join(names)
