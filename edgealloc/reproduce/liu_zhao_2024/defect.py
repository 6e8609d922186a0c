"""A defect of a paper's problem as a record: what is wrong, the numbers that show it, what follows; and as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgealloc.formulations.split_training.allocation import Allocation, Costs
from edgealloc.formulations.split_training.problem import SplitTraining
from edgealloc.units import format_si

__all__ = ["GAP", "Amount", "Case", "Defect", "markdown", "text"]

#: Relative gap of the proofs behind the numbers; equalities make servers all or nothing, so more can take minutes.
GAP: Final = 5e-2


@dataclass(frozen=True)
class Amount:
    """One number of a defect.

    Attributes
    ----------
    label : str
    value : float
        In the SI unit.
    unit : str
        "" for a plain number.
    """

    label: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.label}: {self.shown}"

    @property
    def shown(self) -> str:
        """The value for people."""
        if math.isinf(self.value):
            return "infinite"
        if self.unit in ("dB", "dBm", "W*s^3", "%", "days", "years"):
            return f"{self.value:.4g} {self.unit}"
        if self.unit:
            return format_si(self.value, self.unit, 4)
        return f"{self.value:.6g}"


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong with the literal problem.

    Attributes
    ----------
    name : str
        One word.
    claim : str
        What is wrong.
    numbers : tuple of Amount
        What shows it.
    consequence : str
        What follows for results obtained in this setting.
    what_we_do : str
        How edgealloc treats it.
    """

    name: str
    claim: str
    numbers: tuple[Amount, ...]
    consequence: str
    what_we_do: str

    def value(self, label: str) -> float:
        """The number with this label.

        Raises
        ------
        KeyError
            There is none.
        """
        return {one.label: one.value for one in self.numbers}[label]


@dataclass(frozen=True)
class Case:
    """A literal problem, an allocation that no move of one user or exchange of two improves, and a proven bound.

    Attributes
    ----------
    problem : SplitTraining
    allocation : Allocation
    costs : Costs
    bound : float
        The optimum is not below it.
    """

    problem: SplitTraining
    allocation: Allocation
    costs: Costs
    bound: float

    @property
    def objective(self) -> float:
        return float(self.costs.objective)


def text(found: Sequence[Defect]) -> str:
    """A page that a person can read."""
    lines = ["Defects of the literal problem of Liu & Zhao (arXiv 2409.20247, section 6)", ""]
    for i, defect in enumerate(found, start=1):
        width = max(len(one.label) for one in defect.numbers)
        lines += [
            f"{i}. {defect.name}: {defect.claim}",
            *(f"     {one.label:<{width}}  {one.shown}" for one in defect.numbers),
            f"   so    {defect.consequence}",
            f"   here  {defect.what_we_do}",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def markdown(found: Sequence[Defect]) -> str:
    """A Markdown table: defect, numbers, consequence, what is done here."""
    lines = ["| defect | by numbers | so | here |", "|---|---|---|---|"]
    for defect in found:
        cells = [
            f"**{defect.name}**. {defect.claim}",
            "<br>".join(str(one).replace("*", "\\*") for one in defect.numbers),
            defect.consequence,
            defect.what_we_do,
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
