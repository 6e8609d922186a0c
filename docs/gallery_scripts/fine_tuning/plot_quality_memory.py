"""
Quality against memory
======================

*How much quality does a method give up for the memory that it saves?*

Every marker is a job under a method: filled ones were chosen, open ones were possible, grey ones fit nowhere.
Dotted lines are the memories of the devices. The second picture asks for more quality, and looks at what that
costs.
"""

import matplotlib.pyplot as plt
import numpy as np

import edgealloc as ea

scenario = ea.Scenario.random_fleet(jobs=60, servers=3, seed=1)
solution = scenario.fine_tuning().solve(gap=1e-3, time_limit_s=3)

figure, ax = plt.subplots(figsize=(9.0, 4.8), layout="constrained")
solution.plot("quality", ax)
plt.show()

# %%
# Let quality weigh more and more: what does it cost in time and energy? Every point is solved with a proof.

WEIGHTS = [30, 300, 1000, 3000, 20000]
table = ea.sweep(scenario, "weights.quality", WEIGHTS, methods=["certified"], gap=1e-2, time_limit_s=2)
rows = table.to_frame()

figure, ax = plt.subplots(figsize=(7.0, 4.2), layout="constrained")
ax.plot(rows["mean_quality"], rows["mean_delay_s"] / 60, color="#999999", zorder=1)
dots = ax.scatter(rows["mean_quality"], rows["mean_delay_s"] / 60, c=np.log10(rows["value"]), s=80, cmap="viridis",
                  edgecolors="black", zorder=2)
bar = figure.colorbar(dots, ax=ax, label="weight of quality", ticks=[2, 3, 4])
bar.ax.set_yticklabels(["100", "1,000", "10,000"])
ax.set(xlabel="mean quality of the jobs", ylabel="mean time of a job [min]", title="What quality costs")
ax.grid(color="#DDDDDD")
plt.show()

# %%

print(rows[["value", "mean_quality", "mean_delay_s", "total_energy_j", "gap"]].to_string(index=False))
