"""
How fast the proof closes
=========================

*How fast do objective and proven bound meet?*

Most methods show how their objective falls and leave open how far it could fall. Here the bound rises to meet it:
no allocation lies below the red line. The first picture is the library's own. The second follows the certified gap
of three sites of different size on one axis: more users take longer for every step.
"""

import matplotlib.pyplot as plt
import numpy as np

import edgealloc as ea

problem = ea.Scenario.random(users=40, servers=4, load="congested", seed=2).split_training()
solution = problem.solve("prove", gap=1e-6, time_limit_s=4)
solution.plot("convergence")

# %%
# Each `Progress` of ``solution.history`` has seconds, objective and bound; draw them as you like.

SIZES = {(20, 2): ("#D55E00", "o"), (100, 4): ("#0072B2", "s"), (500, 8): ("#009E73", "^")}
figure, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for (users, servers), (colour, marker) in SIZES.items():
    site = ea.Scenario.random(users=users, servers=servers, load="congested", seed=2).split_training()
    history = site.solve(gap=1e-6, time_limit_s=3).history
    lines = [one for one in history if one.objective is not None and one.bound is not None]
    seconds = np.array([one.seconds for one in lines])
    objective = np.minimum.accumulate([one.objective for one in lines])
    bound = np.maximum.accumulate([one.bound for one in lines])
    gap = np.maximum(1.0 - bound / objective, 1e-9)
    ax.step(seconds, gap, where="post", color=colour, marker=marker, markersize=4,
            label=f"{users} users, {servers} servers")
ax.axhline(1e-6, color="#666666", linestyle=":", label="asked for")
ax.set(xscale="log", yscale="log", xlabel="time [s]", ylabel="certified relative gap", title="The gap that is proven")
ax.grid(color="#DDDDDD")
ax.legend()
plt.show()
