"""What is said about figures: statements that were judged on their data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrendResult"]


@dataclass(frozen=True)
class TrendResult:
    """A statement, whether it holds (None: not judged), and the numbers.

    Attributes
    ----------
    statement : str
        What the paper says.
    holds : bool or None
        Whether our numbers agree.
    found : str
        The numbers.
    """

    statement: str
    holds: bool | None
    found: str

    @property
    def verdict(self) -> str:
        """Whether it holds, in words."""
        return {True: "holds", False: "does not hold", None: "not judged"}[self.holds]

    def __str__(self) -> str:
        return f"{self.verdict}: {self.statement} ({self.found})"
