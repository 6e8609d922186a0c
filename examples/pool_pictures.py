"""The pictures of pool training, from the smart home.

    python examples/pool_pictures.py [FOLDER [SECONDS]]     (default: docs/images/pool_training, 60 for the front)
"""

from __future__ import annotations

import sys
from pathlib import Path

import edgealloc as ea
from edgealloc.core.figures import save_figure

HERE = Path(__file__).resolve().parent


def main(folder: Path, seconds: float = 60.0) -> None:
    """Plan the smart home and draw it, the front of time and energy in so many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    problem = ea.Scenario.load(HERE / "scenarios" / "smart_home.toml").problem()
    solution = problem.solve(gap=0.05, time_limit_s=seconds / 3)
    for what in ("gantt", "memory", "memory-trace", "topology", "convergence"):
        save_figure(solution.plot(what), folder / f"{what}.png")
    front = ea.pareto_front(problem, points=8, time_limit_s=seconds, warm_start=solution)
    save_figure(front.plot(), folder / "pareto.png")
    save_figure(ea.faults(solution, time_limit_s=seconds / 2).plot(), folder / "faults.png")


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "images" / "pool_training"
    main(where, *(float(one) for one in sys.argv[2:3]))
