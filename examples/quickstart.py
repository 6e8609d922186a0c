"""The README's five lines, and what to do with the answer.

    python examples/quickstart.py
"""

from __future__ import annotations

import edgealloc as ea

scenario = ea.Scenario.random(users=50, servers=5, model="llama3.2-1b", load="proportional", seed=0)
problem = scenario.split_training(weights=ea.Weights(delay=1, energy=1, stability=1))
solution = problem.solve()
print(solution)
print(ea.compare(problem, methods=["certified", "greedy", "random"]))

print(solution.to_frame().head())  # one row per user, SI units in the column names
print(solution.servers_frame())  # load and both kinds of price per server

# What would twice the bandwidth be worth? The price says so for a little more, a new solve for much more.
wider = problem.replace(bandwidth_max_hz=2 * problem.bandwidth_max_hz).solve()
print(f"objective {solution.objective:.4g} -> {wider.objective:.4g} with twice the bandwidth")
