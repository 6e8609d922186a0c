"""
What if a device drops out?
===========================

*Can training go on when a device leaves, how much slower, and how long does it take to move what only it had?*

For every participant the pool is planned anew without it. Left, the time of an iteration afterwards, against the
dashed line of today. Right, how long moving the states takes, to go on and when the device is back.
"""

import edgealloc as ea

scenario = ea.Scenario.random_pool(devices=6, network="switch", seed=1)
problem = scenario.pool_training(weights=ea.Weights(delay=1, energy=0))
plan = problem.solve(gap=0.03, time_limit_s=1.5)
report = ea.faults(plan, time_limit_s=3)
report.plot()

# %%
# The report names what must move from where to where, and how often copies are worth making.

print(report)
