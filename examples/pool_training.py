"""A family's devices train one model together: the plan, and what to ask about it.

    python examples/pool_training.py [SECONDS]      (for every question; default: 8)
"""

from __future__ import annotations

import sys
from pathlib import Path

import edgealloc as ea

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
problem = ea.Scenario.load(Path(__file__).resolve().parent / "scenarios" / "smart_home.toml").problem()

# Who trains which layers? The page says how far from the best the plan can be at most.
solution = problem.solve(gap=0.05, time_limit_s=seconds)
print(solution)
print(solution.to_frame()[["device_name", "role", "layers", "utilisation", "memory_bytes", "energy_j"]])

# The four questions of Zeng et al.: participants, parallelism, arrangement, faults.
print(ea.participants(solution, time_limit_s=seconds))
print(ea.parallelisms(problem, time_limit_s=seconds))
print(ea.arrangements(solution))
print(ea.faults(solution, time_limit_s=seconds))

# Faster or more frugal? Nothing lies below the lines that are proven.
print(ea.pareto_front(problem, points=5, time_limit_s=seconds))
