"""The figure of start/concepts.md: what goes into an answer and what comes out of it.

    python docs/update_figures.py data-flow

Boxes are filled and arrows grey, so that the picture reads on a light page and on a dark one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["data_flow"]

WIDTH, HEIGHT = 100.0, 54.0
INK: Final = "#1b1b1b"
#: Readable on white and on black.
LINE: Final = "#8a8f98"
#: Light tints of Okabe & Ito's colours: input, problem, method, answer, what is read from it.
TINTS: Final = {"input": "#f6d9a8", "problem": "#bcdff3", "method": "#b9e3d3", "answer": "#f5c6ae", "read": "#e9e9ec"}


@dataclass(frozen=True)
class Box:
    """A box with a title and what is in it, centred at (x, y)."""

    x: float
    y: float
    width: float
    height: float
    tint: str
    title: str
    lines: tuple[str, ...] = ()
    code: str = ""


BOXES: Final = {
    "file": Box(10.5, 43.5, 19, 17, "input", "Scenario",
                ("devices, models, radio,", "limits, weights;", "each with a source"), "Scenario.load(...)"),
    "arrays": Box(10.5, 17.5, 19, 15, "input", "Plain arrays", ("your own model", "of the world,", "SI units")),
    "problem": Box(37.5, 30.5, 19, 20, "problem", "Problem",
                   ("checked, frozen arrays", "evaluate: objective", "violations: limits"),
                   "scenario.problem()"),
    "method": Box(62, 45, 18, 14, "method", "Method", ("certified, baselines,", "the papers', your own"),
                  "problem.solve(...)"),
    "solution": Box(62, 17, 18, 19, "answer", "Solution",
                    ("allocation and costs,", "lower bound and gap,", "two kinds of price"), "print(solution)"),
}
READ: Final = (
    ("tables", "to_frame()"),
    ("pictures", 'plot("map")'),
    ("why", "explain()"),
    ("prices", "prices, bound_prices"),
    ("bound, gap", "bound, gap"),
    ("a file", 'save("x.npz")'),
)


def _draw(ax: Axes, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    ax.add_patch(FancyBboxPatch(
        (box.x - box.width / 2, box.y - box.height / 2), box.width, box.height,
        boxstyle="round,pad=0,rounding_size=1.2", facecolor=TINTS[box.tint], edgecolor=LINE, linewidth=1.0, zorder=2))
    rows: list[tuple[str, dict[str, Any]]] = [(box.title, {"fontsize": 11.5, "fontweight": "bold"})]
    rows += [(line, {"fontsize": 8.8}) for line in box.lines]
    if box.code:
        rows.append((box.code, {"fontsize": 8.0, "family": "monospace"}))
    step = 3.3
    top = box.y + step * (len(rows) - 1) / 2
    for k, (text, style) in enumerate(rows):
        ax.text(box.x, top - step * k, text, ha="center", va="center", color=INK, zorder=3, **style)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
    ax.annotate("", xy=end, xytext=start, zorder=1,
                arrowprops={"arrowstyle": "-|>,head_width=0.32,head_length=0.62", "color": LINE, "linewidth": 2.0,
                            "connectionstyle": f"arc3,rad={bend}", "shrinkA": 0, "shrinkB": 0})


def data_flow(path: Path) -> Path:
    """Draw the figure to a file with a transparent background."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "edgealloc"}):
        figure = Figure(figsize=(8.0, 4.6))
        FigureCanvasAgg(figure)
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        ax.set_xlim(0.0, WIDTH)
        ax.set_ylim(0.0, HEIGHT)
        ax.axis("off")
        for box in BOXES.values():
            _draw(ax, box)
        for k, (title, code) in enumerate(READ):
            _draw(ax, Box(89.5, 48.5 - 8.4 * k, 19, 7.4, "read", title, (), code))
            _arrow(ax, (75.5, 48.5 - 8.4 * k), (79.8, 48.5 - 8.4 * k))
        spine = {"color": LINE, "linewidth": 2.0, "zorder": 1, "solid_capstyle": "round"}
        ax.plot([75.5, 75.5], [48.5, 6.5], **spine)
        ax.plot([71.0, 75.5], [17.0, 17.0], **spine)
        _arrow(ax, (20.2, 41.0), (27.8, 34.5))
        _arrow(ax, (20.2, 19.5), (27.8, 26.5))
        _arrow(ax, (47.2, 35.5), (52.8, 42.0))
        _arrow(ax, (62.0, 37.8), (62.0, 26.8))
        ax.text(63.2, 32.3, "re-checked\nby the\nproblem", ha="left", va="center", fontsize=8.6, color=LINE)
        _arrow(ax, (47.2, 25.5), (52.8, 20.5))
        figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
