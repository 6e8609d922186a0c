"""A family's devices train one model together: the plan, and what to ask about it.

    python examples/pool_training.py
"""

from __future__ import annotations

from pathlib import Path

import edgealloc as ea

problem = ea.Scenario.load(Path(__file__).resolve().parent / "scenarios" / "smart_home.toml").problem()

# Who trains which layers? The page says how far from the best the plan can be at most.
solution = problem.solve(gap=0.05, time_limit_s=5)
print(solution)
print(solution.to_frame()[["device_name", "role", "layers", "utilisation", "memory_bytes", "energy_j"]])

# The four questions of Zeng et al.: participants, parallelism, arrangement, faults.
print(ea.participants(solution, time_limit_s=8))
print(ea.parallelisms(problem, time_limit_s=8))
print(ea.arrangements(solution))
report = ea.faults(solution, time_limit_s=8)
print(report)

# Faster or more frugal? Nothing lies below the lines that are proven.
print(ea.pareto_front(problem, points=5, time_limit_s=10))
