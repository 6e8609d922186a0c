"""Names and units of limits, and the diagnosis of a problem that has none left to satisfy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Conflict", "Constraint", "Diagnosis"]


@dataclass(frozen=True)
class Constraint:
    """One row of a formulation's table of limits.

    Attributes
    ----------
    name : str
        Key in `violations`, `prices` and `diagnosis`; the problem's field where there is one.
    formula : str
        The limit in the paper's letters.
    unit : str
        Unit of a violation; prices are objective per this unit.
    priced : bool
        It has an entry in `prices`.
    """

    name: str
    formula: str
    unit: str
    priced: bool = False


@dataclass(frozen=True)
class Conflict:
    """One limit that cannot be met, where, by how much, and what would repair it.

    Attributes
    ----------
    constraint : str
    where : str
        "user 12 (phone-12)", "server 0", ...
    amount : float
        How much is missing, in `unit`.
    unit : str
    repair : str
        The change that mends it, in words.
    """

    constraint: str
    where: str
    amount: float
    unit: str
    repair: str

    def __str__(self) -> str:
        missing = f" by {self.amount:.6g} {self.unit}".rstrip() if self.amount else ""
        return f"{self.constraint} at {self.where}{missing}: {self.repair}"


@dataclass(frozen=True)
class Diagnosis:
    """Why a problem is infeasible, and the changes that make it feasible.

    Attributes
    ----------
    conflicts : tuple of Conflict
    changes : mapping
        Field -> new value: ``problem.replace(**diagnosis.changes)`` is feasible.
    """

    conflicts: tuple[Conflict, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Any:
        return iter(self.conflicts)

    def __len__(self) -> int:
        return len(self.conflicts)

    def text(self, at_most: int = 10) -> str:
        """One line per conflict, the first `at_most` of them."""
        lines = [f"  - {conflict}" for conflict in self.conflicts[:at_most]]
        if len(self.conflicts) > at_most:
            lines.append(f"  ... and {len(self.conflicts) - at_most} more of the same kind")
        return "\n".join(lines)
