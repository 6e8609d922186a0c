"""
Every baseline in one table, and your own in twenty lines
=========================================================

*How much does each simple rule lose?*

Bars are objectives, the line is the proven bound, and the numbers are the loss against the best. A method of your
own is one function: it says who goes where with which cut and resources, and the library re-checks and evaluates
what it returns like any other.
"""

import matplotlib.pyplot as plt
import numpy as np

import edgealloc as ea


def strongest_first(problem, run):
    """The best channels choose first; a server is full when it has its equal share of users."""
    server = np.full(problem.users, -1)
    room = np.full(problem.servers, -(-problem.users // problem.servers))
    for n, m in zip(*np.unravel_index(np.argsort(-problem.gain, axis=None), problem.gain.shape), strict=True):
        if server[n] < 0 and room[m] > 0:
            server[n] = m
            room[m] -= 1
    load = np.bincount(server, minlength=problem.servers)[server]
    return ea.Outcome(allocation=ea.Allocation(
        server=server, local_layers=problem.cuts.low, power_w=problem.power_max_w,
        bandwidth_hz=problem.bandwidth_max_hz[server] / load,
        user_frequency_hz=problem.user_frequency_max_hz,
        server_frequency_hz=problem.server_frequency_max_hz[server] / load,
    ))


ea.register_method("split-training", ea.Method("strongest-first", "best channels choose first", run=strongest_first))

# %%
# From now on it is in every table, sweep and figure.

problem = ea.Scenario.random(users=40, servers=4, seed=0).split_training()
methods = ["certified", "alternating", "aauco", "gucro", "greedy", "edge-only", "random", "alpha-only", "resource-only",
           "local-only", "strongest-first"]
table = ea.compare(problem, methods, gap=1e-4)

figure, ax = plt.subplots(figsize=(8.0, 4.8), layout="constrained")
table.plot(ax)
plt.show()

# %%

print(table)
