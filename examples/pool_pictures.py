"""The pictures of pool training, from the smart home.

    python examples/pool_pictures.py [FOLDER]       (default: docs/images/pool_training)
"""

from __future__ import annotations

import sys
from pathlib import Path

import edgealloc as ea
from edgealloc.core.figures import save_figure

HERE = Path(__file__).resolve().parent


def main(folder: Path) -> None:
    """Plan the smart home and draw it."""
    folder.mkdir(parents=True, exist_ok=True)
    problem = ea.Scenario.load(HERE / "scenarios" / "smart_home.toml").problem()
    solution = problem.solve(gap=0.05, time_limit_s=20)
    for what in ("gantt", "memory", "memory-trace", "topology", "convergence"):
        save_figure(solution.plot(what), folder / f"{what}.png")
    save_figure(ea.pareto_front(problem, points=8, time_limit_s=60, warm_start=solution).plot(), folder / "pareto.png")
    save_figure(ea.faults(solution, time_limit_s=30).plot(), folder / "faults.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "images" / "pool_training")
