"""
Gap and time, from eight users to five thousand
===============================================

How long does it take until an answer is proven to be within 0.01 % of the optimum, as the site grows? Markers are random
sites of two loads. The bound is that of a convex relaxation, which is tight where servers have many users; the gaps of
small sites are closed by branch and bound. Times are those of the machine that built this page.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

SIZES = ((8, 2), (20, 3), (50, 5), (150, 8), (500, 10), (1500, 15), (5000, 20))
LOADS = {"proportional": ("#0072B2", "o"), "congested": ("#D55E00", "s")}

figure, (upper, lower) = plt.subplots(2, 1, figsize=(7.0, 6.0), layout="constrained", sharex=True)
for load, (colour, marker) in LOADS.items():
    found = []
    for users, servers in SIZES:
        problem = ea.Scenario.random(users=users, servers=servers, load=load, seed=0).split_training()
        solution = problem.solve(gap=1e-4, time_limit_s=15)
        found.append((users, solution.gap, solution.seconds))
    users, gap, seconds = zip(*found, strict=True)
    upper.plot(users, gap, color=colour, marker=marker, label=f"{load} load")
    lower.plot(users, seconds, color=colour, marker=marker)
upper.axhline(1e-4, color="#666666", linestyle=":", label="asked for")
upper.set(xscale="log", yscale="log", ylim=(1e-6, 1e-2), ylabel="certified relative gap", title="How far off, at most")
lower.set(xscale="log", yscale="log", xlabel="users", ylabel="time [s]", title="How long it took")
lower.set_xticks([one for one, _ in SIZES], [str(one) for one, _ in SIZES])
lower.minorticks_off()
for ax in (upper, lower):
    ax.grid(color="#DDDDDD")
upper.legend()
plt.show()
