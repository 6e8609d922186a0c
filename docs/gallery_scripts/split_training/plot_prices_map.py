"""
What a MHz is worth, and where
==============================

*Where should the next MHz of spectrum go, and where the next GHz of server clock?*

The proof of the bound prices both at every server: by so much the objective falls per unit, to first order. Small
dots are users, large ones are servers, and the numbers are their prices. Spectrum is worth most at the servers with
strong accelerators: they draw most users, who then share the same band. Weak servers have band to spare, and would
rather have clock.
"""

import matplotlib.pyplot as plt
import numpy as np

import edgealloc as ea

problem = ea.Scenario.random(users=300, servers=12, load="congested", seed=5).split_training()
solution = problem.solve(gap=1e-4)
users, servers = problem.user_xy_m, problem.server_xy_m

figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.9), layout="constrained", sharex=True, sharey=True)
for ax, name, unit, size in ((axes[0], "bandwidth_hz", "MHz", 1e6), (axes[1], "server_frequency_hz", "GHz", 1e9)):
    price = solution.bound_prices[name] * size
    serving = solution.allocation.server
    for n in np.flatnonzero(serving >= 0):
        ax.plot(*np.stack([users[n], servers[serving[n]]]).T, color="#DDDDDD", linewidth=0.6, zorder=1)
    ax.scatter(*users.T, s=9, color="#888888", zorder=2)
    dots = ax.scatter(*servers.T, s=520, c=price, cmap="viridis", edgecolors="black", zorder=3)
    figure.colorbar(dots, ax=ax, label=f"price [objective per {unit}]", shrink=0.85)
    for m, place in enumerate(servers):
        ax.annotate(f"{price[m]:.2g}", place, ha="center", va="center", fontsize=8, zorder=4,
                    color="black" if price[m] > 0.6 * price.max() else "white")
    ax.set(title=f"One more {unit}", xlabel="x [m]", ylabel="y [m]", aspect="equal")
plt.show()

# %%
# Is the price right? Give the dearest server five MHz more, and solve again. A price holds for a little more; the
# more there is of a resource, the less the next unit of it is worth.

limits = {"gap": 1e-5, "time_limit_s": 1.0}
band = solution.bound_prices["bandwidth_hz"] * 1e6
best = int(band.argmax())
wider = problem.replace(bandwidth_max_hz=problem.bandwidth_max_hz + 5e6 * (np.arange(problem.servers) == best))
before, after = problem.solve(**limits), wider.solve(**limits)
print(f"the price says {5 * band[best]:.2f} at most, solving again says {before.objective - after.objective:.2f}, "
      f"both of an objective of {before.objective:.1f} with a gap of {before.gap:.0e}")

# %%
# Prices of every server, beside its load:

table = solution.servers_frame()[["users", "bandwidth_share"]]
table["per_mhz"] = band
table["per_ghz"] = solution.bound_prices["server_frequency_hz"] * 1e9
print(table.round(3).to_string())
