"""The pictures of the README, from the campus scenario.

    python examples/campus_pictures.py [FOLDER]       (default: docs/images)
"""

from __future__ import annotations

import sys
from pathlib import Path

import edgealloc as ea
from edgealloc.core.figures import save_figure

HERE = Path(__file__).resolve().parent
#: All quick methods: the paper's algorithm takes half a minute for 200 users.
METHODS = ["certified", "alternating", "aauco", "gucro", "greedy", "edge-only", "random", "alpha-only", "local-only"]


def main(folder: Path) -> None:
    """Solve the campus and draw it."""
    folder.mkdir(parents=True, exist_ok=True)
    problem = ea.Scenario.load(HERE / "scenarios" / "campus.toml").split_training()
    solution = problem.solve(gap=1e-5, time_limit_s=20)
    for what in ("map", "cuts", "loads", "costs", "convergence"):
        save_figure(solution.plot(what), folder / f"campus_{what}.png")
    save_figure(ea.compare(problem, METHODS).plot(), folder / "campus_compare.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "images")
