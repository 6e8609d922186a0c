"""What the four calls of the workflow return: tables of variants, on targets, in use, and beside a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.units import format_si, format_time

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.core.solution import Solution
    from edgealloc.formulations.deployment.problem import Deployment
    from edgealloc.scenarios.scenario import Scenario

__all__ = [
    "Compiled",
    "CompiledRow",
    "Deployed",
    "DeployedRow",
    "Offloaded",
    "OffloadedRow",
    "Optimised",
    "OptimisedRow",
]

R = TypeVar("R")

#: what a value that nobody knows is shown as
_UNKNOWN: Final = "-"


@dataclass(frozen=True)
class OptimisedRow:
    """A compact variant.

    Attributes
    ----------
    variant, model, format : str
    bits : float
        Nominal bits of a weight.
    size_bytes : float
    perplexity : float or None
        Of which text and by which source, `sources` tells.
    accuracy : mapping
        Benchmark -> share of right answers, or None.
    hallucination : float or None
        A proxy, named in `sources`.
    sources : mapping
        Quantity -> (mark, source): "seen" in a source, "recall" from memory, "derived", or "assumption".
    """

    variant: str
    model: str
    format: str
    bits: float
    size_bytes: float
    perplexity: float | None
    accuracy: Mapping[str, float | None]
    hallucination: float | None
    sources: Mapping[str, tuple[str, str]]

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "variant": self.variant, "model": self.model, "format": self.format, "bits": self.bits,
            "size_bytes": self.size_bytes, "perplexity": self.perplexity,
            **{f"accuracy_{name}": value for name, value in self.accuracy.items()},
            "hallucination": self.hallucination,
        }  # fmt: skip

    def cells(self) -> list[str]:
        """As a line of a table; what is assumed has a star."""
        shares = [_share(value, self.sources.get(name)) for name, value in self.accuracy.items()]
        told = _UNKNOWN if self.perplexity is None else f"{self.perplexity:.4g}"
        return [
            self.variant, f"{self.bits:g}", format_si(self.size_bytes, "B"), told, *shares,
            _share(self.hallucination, self.sources.get("hallucination")),
        ]  # fmt: skip

    def header(self) -> list[str]:
        """Headings of `cells`."""
        return ["variant", "bits", "size", "perplexity", *self.accuracy, "hallucination"]


@dataclass(frozen=True)
class CompiledRow:
    """A variant on a device.

    Attributes
    ----------
    variant, device : str
    runs : bool
        Software and memory allow it.
    framework : str
        The software that answers; "" if none can.
    memory_bytes, limit_bytes : float
        Of weights and context, and what the device has for them.
    tokens_per_s, joules_per_token : float
        nan where it cannot run.
    origin : str
        "given", "measured" or "roofline".
    source : str
    missing : str
        What stands in the way; "" if nothing.
    """

    variant: str
    device: str
    runs: bool
    framework: str
    memory_bytes: float
    limit_bytes: float
    tokens_per_s: float
    joules_per_token: float
    origin: str
    source: str
    missing: str

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def cells(self) -> list[str]:
        """As a line of a table."""
        known = self.framework != ""
        return [
            self.variant, self.device, "yes" if self.runs else "no", self.framework or _UNKNOWN,
            format_si(self.memory_bytes, "B"), format_si(self.limit_bytes, "B"),
            f"{self.tokens_per_s:.3g}" if known else _UNKNOWN,
            format_si(self.joules_per_token, "J") if known else _UNKNOWN, self.origin if known else _UNKNOWN,
            self.missing,
        ]  # fmt: skip

    def header(self) -> list[str]:
        """Headings of `cells`."""
        return ["variant", "device", "runs", "with", "memory", "of", "token/s", "a token", "origin", "missing"]


@dataclass(frozen=True)
class DeployedRow:
    """A variant in use on all devices that can run it.

    Attributes
    ----------
    variant : str
    energy_j, delay_s : float
        Of the average query on these devices; nan where no device runs it.
    hallucination, accuracy : float
        Of the average answer.
    accessibility : float
        Share of all devices that run it at a usable speed.
    objective : float
        Weighted sum; inf where no device runs it.
    """

    variant: str
    energy_j: float
    hallucination: float
    accuracy: float
    accessibility: float
    delay_s: float
    objective: float

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def cells(self) -> list[str]:
        """As a line of a table."""
        if self.objective == float("inf"):
            return [self.variant, *[_UNKNOWN] * 3, f"{self.accessibility:.1%}", _UNKNOWN, _UNKNOWN]
        return [
            self.variant, format_si(self.energy_j, "J"), f"{self.hallucination:.1%}", f"{self.accuracy:.1%}",
            f"{self.accessibility:.1%}", format_time(self.delay_s), f"{self.objective:.4g}",
        ]  # fmt: skip

    def header(self) -> list[str]:
        """Headings of `cells`."""
        return ["variant", "a query", "hallucination", "accuracy", "access", "delay", "objective"]


@dataclass(frozen=True)
class OffloadedRow:
    """A way to serve the queries.

    Attributes
    ----------
    strategy : str
        "offloading" (proven), "device-only" (but for what no device can answer), "edge-only" (as far as servers have
        room).
    found : bool
        Whether it keeps all limits.
    energy_j, hallucination, accuracy, accessibility, delay_s, offloaded, objective : float
        Means over the queries; nan where nothing was found.
    """

    strategy: str
    found: bool
    energy_j: float
    hallucination: float
    accuracy: float
    accessibility: float
    delay_s: float
    offloaded: float
    objective: float

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def cells(self) -> list[str]:
        """As a line of a table."""
        if not self.found:
            return [self.strategy, *[_UNKNOWN] * 6, "cannot serve all queries"]
        return [
            self.strategy, format_si(self.energy_j, "J"), f"{self.hallucination:.1%}", f"{self.accuracy:.1%}",
            f"{self.accessibility:.1%}", format_time(self.delay_s), f"{self.offloaded:.1%}", f"{self.objective:.4g}",
        ]  # fmt: skip

    def header(self) -> list[str]:
        """Headings of `cells`."""
        return ["strategy", "a query", "hallucination", "accuracy", "access", "delay", "at the edge", "objective"]


def _share(value: float | None, source: tuple[str, str] | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:.1%}{'*' if source is not None and source[0] == 'assumption' else ''}"


# ---- tables ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Report(Generic[R]):
    """A table of rows."""

    rows: tuple[R, ...]

    KEY: ClassVar[str] = "variant"

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> R:
        for row in self.rows:
            if getattr(row, self.KEY) == name:
                return row
        known = [getattr(row, self.KEY) for row in self.rows]
        raise DataError([Fault(self.KEY, f"'{name}' is not in this table; {nearest(str(name), known)}")])

    def records(self) -> list[dict[str, Any]]:
        """One mapping per row, SI units."""
        return [row.record() for row in self.rows]  # type: ignore[attr-defined]

    def to_frame(self) -> pd.DataFrame:
        """One row per row of the table, in SI units (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(self.records())

    def notes(self) -> Sequence[str]:
        """Lines under the table."""
        return ()

    def text(self) -> str:
        """The table for people."""
        from edgealloc.core.tables import text_table

        rows: Any = self.rows
        lines = [text_table(rows[0].header(), [row.cells() for row in rows]), *self.notes()]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True, eq=False)
class Optimised(_Report[OptimisedRow]):
    """Compact variants of models.

    Attributes
    ----------
    rows : tuple of OptimisedRow
    raw : mapping
        What a scenario file would say: its [[variants]], and [catalog] where there are own entries.
    """

    raw: Mapping[str, Any]

    def notes(self) -> Sequence[str]:
        """What the stars mean, and what the hallucination rate is."""
        from edgealloc.scenarios.deployment.facts import PROXY

        lines = [f"hallucination: a proxy, {PROXY}"]
        if any(mark == "assumption" for row in self.rows for mark, _ in row.sources.values()):
            lines.append("*: by assumption from the whole model's, divided by the ratio of perplexities")
        return lines


@dataclass(frozen=True, eq=False)
class Compiled(_Report[CompiledRow]):
    """Variants on devices: which run, how fast, and what is missing for the others.

    Attributes
    ----------
    rows : tuple of CompiledRow
    raw : mapping
        What a scenario file would say: [[variants]] and [[devices]].
    """

    raw: Mapping[str, Any]

    @property
    def running(self) -> tuple[str, ...]:
        """Variants that run on some device."""
        return tuple(dict.fromkeys(row.variant for row in self.rows if row.runs))


@dataclass(frozen=True, eq=False)
class Deployed(_Report[DeployedRow]):
    """The four metrics, and the delay, of every variant in use.

    Attributes
    ----------
    rows : tuple of DeployedRow
    best : str
        The variant with the least objective; "" if none runs anywhere.
    scenario : Scenario
        What a scenario file would say, without servers.
    """

    best: str
    scenario: Scenario

    def notes(self) -> Sequence[str]:
        """The best, and what is assumed."""
        said = f"best by the weights: {self.best}" if self.best else "no device can run any of them"
        return [said, *(f"assumed: {path}: {reason}" for path, reason in self.scenario.assumptions().items())]


@dataclass(frozen=True, eq=False)
class Offloaded(_Report[OffloadedRow]):
    """Who answers what with a server beside the devices, and what that gains.

    Attributes
    ----------
    rows : tuple of OffloadedRow
        "offloading", "device-only", "edge-only".
    classes : mapping
        Class of queries -> share of them that a server answers.
    installed : mapping
        Variant -> devices that get it; "" is nothing.
    problem : Deployment
    solution : Solution
        The proven answer.
    scenario : Scenario
        To be saved as a file.
    """

    KEY: ClassVar[str] = "strategy"

    classes: Mapping[str, float]
    installed: Mapping[str, int]
    problem: Deployment
    solution: Solution[Any, Any]
    scenario: Scenario

    def gain(self, strategy: str) -> float:
        """Part of the objective of a strategy that offloading saves; nan where that strategy cannot serve all."""
        return 1.0 - self["offloading"].objective / self[strategy].objective

    def notes(self) -> Sequence[str]:
        """Which classes go to the edge, what is installed, what it gains, and what is proven."""
        edge = ", ".join(f"{name} {share:.0%}" for name, share in self.classes.items())
        kept = ", ".join(f"{name or 'nothing'} on {count}" for name, count in self.installed.items())
        gains = [f"{self.gain(row.strategy):.1%} less than {row.strategy}" for row in self.rows[1:] if row.found]
        gap = self.solution.gap
        proven = "" if gap is None else f"proven within {100.0 * gap:.2g} % of the best there is"
        return [f"at the edge: {edge}", f"installed: {kept}", "; ".join([*gains, proven] if proven else gains)]
