"""
Time or energy: the front of a pool
===================================

*Fast or frugal: what does a faster iteration cost in energy?*

Every dot is a plan of which none is better in both time and energy, labelled with its number of devices. The shaded
region is proven empty: no plan of any kind lies there, whatever its parallelism. What is white between the dots and
the shade is all that a better plan could still gain.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

problem = ea.Scenario.random_pool(devices=6, network="switch", seed=1).pool_training()
front = ea.pareto_front(problem, points=8, gap=0.02, time_limit_s=6)

figure, ax = plt.subplots(figsize=(8.4, 4.6), layout="constrained")
front.plot(ax)
plt.show()

# %%

print(front)
