"""The most service per unit of delay and energy, with a proven upper bound (reconstructed; see docs).

    python examples/service_cost_ratio.py
"""

from __future__ import annotations

import edgealloc as ea

scenario = ea.Scenario.random(users=20, servers=4, model="llama3.2-1b", load="congested", seed=0)
problem = scenario.split_training()
print(ea.service_cost_ratio(problem))

# The value of a served user is an assumption, so look at several. The more a user is worth, the less it matters that
# cheap cuts are less stable. What baselines reach, Dinkelbach's method around them included, is far below the bound.
print()
print(f"{'value':>5} {'ratio':>8} {'bound':>8} {'greedy':>8} {'random':>8} {'local layers':>13}")
for value in (1.5, 2.0, 4.0, 8.0):
    best = ea.service_cost_ratio(problem, value).require()
    greedy, random = (ea.service_cost_ratio(problem, value, method=name).ratio for name in ("greedy", "random"))
    layers = best.to_frame()["local_layers"].mean()
    print(f"{value:>5} {best.ratio:>8.4f} {best.bound:>8.4f} {greedy:>8.4f} {random:>8.4f} {layers:>13.2f}")
