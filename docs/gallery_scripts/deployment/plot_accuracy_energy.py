"""
Accuracy against energy: the front of a deployment
==================================================

*How much energy does the next percent of accuracy cost?*

Every dot is a plan for the whole fleet - a variant for every device, and what it sends away - of which none is
better in both. The shaded region is proven to be out of reach.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

problem = ea.Scenario.random_deployment(devices=40, servers=1, seed=2).deployment()
front = ea.pareto_front(problem, x="energy", y="accuracy", points=10, gap=1e-2, time_limit_s=6)

figure, ax = plt.subplots(figsize=(8.4, 4.8), layout="constrained")
front.plot(ax)
plt.show()

# %%
# Every point is a solution with all that belongs to one.

print(front)
