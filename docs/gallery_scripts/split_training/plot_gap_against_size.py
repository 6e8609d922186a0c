"""
Time to a proof, from eight users to five thousand
==================================================

*How long does it take until an answer is proven to be within 1 %, 0.1 % or 0.01 % of the optimum, as the site
grows?*

Every solution keeps its history, which says when the gap fell below each. The bound is that of a convex relaxation,
which is tight where servers have many users; the last digits of small sites come from branch and bound. Times are
those of the machine that built this page.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

SIZES = ((8, 2), (20, 3), (50, 5), (150, 8), (500, 10), (5000, 15))
GAPS = {1e-2: "#56B4E9", 1e-3: "#0072B2", 1e-4: "#000000"}


def first_below(history, gap):
    """When the best objective and the best bound so far were first this close."""
    objective, bound = float("inf"), 0.0
    for line in history:
        objective = min(objective, objective if line.objective is None else line.objective)
        bound = max(bound, bound if line.bound is None else line.bound)
        if objective - bound <= gap * objective:
            return line.seconds
    return float("nan")

# %%
# Two loads: as much band and clock per user as usual, and a quarter of it.

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained", sharex=True, sharey=True)
for ax, load in zip(axes, ("proportional", "congested"), strict=True):
    histories = []
    for users, servers in SIZES:
        problem = ea.Scenario.random(users=users, servers=servers, load=load, seed=0).split_training()
        histories.append(problem.solve(gap=1e-4, time_limit_s=15).history)
    for gap, colour in GAPS.items():
        seconds = [first_below(one, gap) for one in histories]
        ax.plot([users for users, _ in SIZES], seconds, color=colour, marker="o", label=f"gap below {100 * gap:g} %")
    ax.set(xscale="log", yscale="log", xlabel="users", title=f"{load} load")
    ax.set_xticks([one for one, _ in SIZES], [str(one) for one, _ in SIZES])
    ax.minorticks_off()
    ax.grid(color="#DDDDDD")
axes[0].set_ylabel("time until it is proven [s]")
axes[0].legend()
plt.show()
