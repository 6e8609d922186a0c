"""
What if a server fails, or one is added?
========================================

*Who moves where when a server fails, and what does that cost?*

Each picture is another world, proven to be within 0.01 % of its optimum: as it is, without each one of the servers,
and with a fifth one. Black rings are users who now have another server than before. Losing one of the two strong
servers costs more than twice as much as losing one of the others, and a fifth one would gain 2 %.
"""

import matplotlib.pyplot as plt
import numpy as np

import edgealloc as ea

COLOURS = np.array(["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"])

# %%
# Five servers are declared. A server without a channel to anybody (gain 0) is as good as not there, so that all
# worlds share the same users and the same channels.

everything = ea.Scenario.random(users=120, servers=5, load="congested", seed=11).split_training()
FIFTH = 4


def without(*lost):
    """The world without some servers."""
    gain = everything.gain.copy()
    gain[:, list(lost)] = 0.0
    return everything.replace(gain=gain)


now = without(FIFTH).solve(gap=1e-4)
worlds = {"as it is": now}
worlds |= {f"without server {m}": without(m, FIFTH).solve(gap=1e-4) for m in range(FIFTH)}
worlds["with server 4 as well"] = everything.solve(gap=1e-4)

# %%
# Every solution has a certified gap of 0.01 % at most: differences that are larger are differences of the worlds.

figure, axes = plt.subplots(2, 3, figsize=(10.5, 7.2), layout="constrained", sharex=True, sharey=True)
users, servers = everything.user_xy_m, everything.server_xy_m
for ax, (name, solution) in zip(axes.flat, worlds.items(), strict=True):
    server = solution.allocation.server
    moved = server != now.allocation.server
    there = solution.problem.gain.any(axis=0)
    for n in np.flatnonzero(server >= 0):
        ax.plot(*np.stack([users[n], servers[server[n]]]).T, color=COLOURS[server[n]], alpha=0.3, linewidth=0.7)
    ax.scatter(*users.T, s=22, c=np.where(server >= 0, COLOURS[server], "#BBBBBB"), zorder=2,
               edgecolors=np.where(moved, "black", "none"), linewidths=1.1)
    ax.scatter(*servers[there].T, s=130, c=COLOURS[there], marker="s", edgecolors="black", zorder=3)
    ax.scatter(*servers[~there].T, s=90, c="#BBBBBB", marker="x", zorder=3)
    change = f"objective {100.0 * (solution.objective / now.objective - 1.0):+.1f} %, {int(moved.sum())} users move"
    ax.set_title(f"{name}\n{change if solution is not now else f'objective {now.objective:.1f}'}", fontsize=10)
    ax.set_aspect("equal")
figure.supxlabel("x [m]")
figure.supylabel("y [m]")
plt.show()
