"""
Does it fit? Memory of every participant
========================================

*What fills the memory of the devices of a pool, and how much is left?*

Bars are the peak of one iteration: states of training, activations that wait for the backward pass, and the
framework; the frame is what the device lends. The second picture follows memory over the iteration: in a pipeline,
early stages keep more micro-batches in flight than late ones.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

scenario = ea.Scenario.random_pool(devices=6, model="gpt2-large", network="switch", seed=1)
problem = scenario.pool_training(weights=ea.Weights(delay=1, energy=0))
plan = problem.solve(gap=0.02, time_limit_s=2)

figure, ax = plt.subplots(figsize=(8.4, 4.2), layout="constrained")
plan.plot("memory", ax)
plt.show()

# %%

figure, ax = plt.subplots(figsize=(8.4, 4.2), layout="constrained")
plan.plot("memory-trace", ax)
plt.show()

# %%
# The same as numbers:

print(plan.to_frame()[["device_name", "role", "layers", "memory_bytes"]].to_string())
