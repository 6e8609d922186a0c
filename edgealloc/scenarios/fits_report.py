"""The table of methods that fit on a device, as text, frame and picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.tuning import Tuning
from edgealloc.units import format_count, format_si

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["FitsReport", "MethodFit"]

#: components of memory -> heading
_PARTS: Final = {
    "weights": "weights", "gradient": "gradients", "optimizer": "optimiser", "activation": "activations",
    "logits": "logits", "overhead": "overhead",
}  # fmt: skip


@dataclass(frozen=True)
class MethodFit:
    """One method on the device.

    Attributes
    ----------
    tuning : Tuning
    reason : str
        Why it cannot train the model at all; "" if it can.
    memory : mapping
        Peak memory of training by component, bytes; empty where it cannot be used.
    trainable : int
        Parameters that are trained.
    limit_bytes : float
        What the device has for training.
    step_s : float
        Seconds of a step; nan where it cannot be used.
    remedy : str
        Where it does not fit: the nearest change that makes it fit.
    changes : mapping
        The same for machines: fields of `Tuning`, ``batch``, ``tokens`` or ``device`` -> value.
    """

    tuning: Tuning
    reason: str
    memory: Mapping[str, float]
    trainable: int
    limit_bytes: float
    step_s: float
    remedy: str = ""
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.tuning.name

    @property
    def fits(self) -> bool:
        """It can be used, and its memory is there."""
        return not self.reason and self.headroom_bytes >= 0.0

    @property
    def total_bytes(self) -> float:
        """All components together; nan where it cannot be used."""
        return sum(self.memory.values()) if self.memory else float("nan")

    @property
    def headroom_bytes(self) -> float:
        """Memory that is left; below 0: missing. nan where the method cannot be used."""
        return self.limit_bytes - self.total_bytes

    @property
    def verdict(self) -> str:
        """ "fits", or what is missing and what would help."""
        if self.reason:
            return f"cannot be used: {self.reason}"
        return "fits" if self.fits else f"{format_si(-self.headroom_bytes, 'B')} missing; {self.remedy}"


@dataclass(frozen=True)
class FitsReport:
    """What fits on a device; `print` shows the table.

    Attributes
    ----------
    model, device : str
    batch, tokens : int
        Sequences per step, and tokens of each.
    memory_bytes : float
        Of the device, in all.
    memory_share, utilisation : float
        Shares of memory and peak rate that training has.
    flops_per_s : float
        Effective rate.
    assumed : tuple of str
        What is assumed, in words.
    rows : tuple of MethodFit
    """

    model: str
    device: str
    batch: int
    tokens: int
    memory_bytes: float
    memory_share: float
    utilisation: float
    flops_per_s: float
    assumed: tuple[str, ...]
    rows: tuple[MethodFit, ...]

    @property
    def limit_bytes(self) -> float:
        """Memory for training, ``memory_share x memory_bytes``."""
        return self.memory_share * self.memory_bytes

    @property
    def fitting(self) -> tuple[str, ...]:
        """Names of the methods that fit."""
        return tuple(row.name for row in self.rows if row.fits)

    def __getitem__(self, name: str) -> MethodFit:
        for row in self.rows:
            if row.name == name:
                return row
        known = [row.name for row in self.rows]
        raise DataError([Fault("method", f"'{name}' is not in this table; {nearest(str(name), known)}")])

    def __iter__(self) -> Iterator[MethodFit]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    # ---- tables -----------------------------------------------------------------------------------------------------

    def records(self) -> list[dict[str, Any]]:
        """One mapping per method, SI units: what `to_frame` and ``--json`` show."""
        return [
            {
                "method": row.name,
                "fits": row.fits,
                "trainable_params": row.trainable,
                **{f"{part}_bytes": row.memory.get(part, float("nan")) for part in _PARTS},
                "total_bytes": row.total_bytes,
                "limit_bytes": row.limit_bytes,
                "headroom_bytes": row.headroom_bytes,
                "step_s": row.step_s,
                "verdict": row.verdict,
                "changes": dict(row.changes),
            }
            for row in self.rows
        ]

    def to_frame(self) -> pd.DataFrame:
        """One row per method, in SI units (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(self.records()).drop(columns="changes")

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        shown = [part for part in _PARTS if any(row.memory.get(part) for row in self.rows)]
        header = ["method", *(_PARTS[part] for part in shown), "in all", "headroom", "a step", ""]
        lines = []
        for row in self.rows:
            if row.reason:
                lines.append([row.name, *["-"] * (len(shown) + 3), row.verdict])
                continue
            values = [*(row.memory[part] for part in shown), row.total_bytes]
            sizes = [format_si(value, "B") if value else "-" for value in values]
            room = format_si(row.headroom_bytes, "B")
            lines.append([row.name, *sizes, room, format_si(row.step_s, "s"), row.verdict])
        return header, lines

    def headline(self) -> str:
        """Model, device, how many methods fit."""
        share = f"{format_si(self.limit_bytes, 'B')} ({self.memory_share:g} of {format_si(self.memory_bytes, 'B')})"
        rate = f"{format_si(self.flops_per_s, 'FLOP/s')} ({self.utilisation:g} of its peak rate)"
        return (
            f"{self.model} on {self.device}: {len(self.fitting)} of {format_count(len(self.rows), 'method')} fit\n"
            f"{share} for training, {rate}, {format_count(self.batch, 'sequence')} of "
            f"{format_count(self.tokens, 'token')} per step"
        )

    def text(self) -> str:
        """The table for people."""
        from edgealloc.core.tables import text_table

        lines = [self.headline(), "", text_table(*self._cells())]
        return "\n".join(lines + ([""] + [f"assumed: {one}" for one in self.assumed] if self.assumed else []))

    __str__ = text

    def to_markdown(self) -> str:
        """The table in Markdown."""
        from edgealloc.core.tables import markdown_table

        return markdown_table(*self._cells())

    def plot(self, ax: Any = None) -> Figure:
        """Memory of every method by component, against the device's memory (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; axes of a new figure by default.
        """
        from edgealloc.core.figures import COLOURS, GREY, new_figure, place_legend, style_axes

        rows = [row for row in self.rows if not row.reason][::-1]
        if ax is None:
            figure, ax = new_figure(width=8.0, height=1.4 + 0.3 * max(len(rows), 1))
        else:
            figure = ax.figure
        left = [0.0] * len(rows)
        for colour, (part, label) in zip(COLOURS, _PARTS.items(), strict=False):
            sizes = [row.memory[part] / 1e9 for row in rows]
            if any(sizes):
                ax.barh(range(len(rows)), sizes, left=left, color=colour, label=label, height=0.7)
            left = [a + b for a, b in zip(left, sizes, strict=True)]
        limit = self.limit_bytes / 1e9
        ax.axvline(limit, color="black", linestyle="--", linewidth=1.6, label=f"for training on {self.device}")
        ax.set_yticks(range(len(rows)), [row.name for row in rows])
        for label, row in zip(ax.get_yticklabels(), rows, strict=True):
            label.set_color("black" if row.fits else GREY)
        title = f"{self.model}, {self.batch} x {self.tokens} tokens: {len(self.fitting)} of {len(rows)} methods fit"
        style_axes(ax, title, "memory [GB]", grid="x")
        place_legend(ax)
        result: Figure = figure
        return result
