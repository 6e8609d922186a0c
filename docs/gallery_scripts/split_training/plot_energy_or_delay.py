"""
Energy or delay: the trade-off, and where the cuts go
=====================================================

*What does a joule less cost in seconds, and where does the cut go meanwhile?*

Weights say what matters. As the weight of energy grows, phones and servers slow down: left, the front of delay and
energy, each dot proven to be within 0.1 % of the optimum. Right, how many users keep how many layers at each of
these weights: the darker, the more users. Along the way the cut moves, not only clocks and power.
"""

import matplotlib.pyplot as plt
import numpy as np

import edgealloc as ea

WEIGHTS = np.geomspace(0.05, 50.0, 13)
scenario = ea.Scenario.random(users=80, servers=4, model="llama3.2-1b", seed=4)

solutions = []
for weight in WEIGHTS:
    problem = scenario.split_training(weights=ea.Weights(delay=1, energy=float(weight), stability=1))
    solutions.append(problem.solve(gap=1e-3, warm_start=solutions[-1] if solutions else None))

# %%
# ``solution.costs`` has every part of delay and energy, per user.

delay = [one.costs.mean_delay_s for one in solutions]
energy = [one.costs.total_energy_j / problem.users for one in solutions]
counts = np.stack([np.bincount(one.allocation.local_layers, minlength=problem.layers + 1) for one in solutions], axis=1)

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
left.plot(energy, delay, color="#999999", zorder=1)
dots = left.scatter(energy, delay, c=np.log10(WEIGHTS), s=70, cmap="viridis", edgecolors="black", zorder=2)
left.set(xlabel="energy per user and step [J]", ylabel="mean delay of a step [s]", title="The front")
bar = figure.colorbar(dots, ax=left, label="weight of energy", ticks=[-1, 0, 1])
bar.ax.set_yticklabels(["0.1", "1", "10"])
left.grid(color="#DDDDDD")
edges = np.arange(problem.layers + 2) - 0.5
image = right.pcolormesh(np.arange(len(WEIGHTS) + 1) - 0.5, edges, counts, cmap="Blues")
right.set_xticks(range(0, len(WEIGHTS), 3), [f"{one:.2g}" for one in WEIGHTS[::3]])
right.set(xlabel="weight of energy", ylabel="local layers", title="Cuts")
figure.colorbar(image, ax=right, label="users")
plt.show()
