"""
What fits where on a fleet
==========================

*Which method does every job of a fleet use, and does it run on its own device or on a server?*

Sixty jobs of phones and boards, three servers. Rows are places and colours are methods. What cannot be trained well
on its own device goes to a server, and the second picture shows which limits of the servers that fills: here it is
their memory.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

problem = ea.Scenario.random_fleet(jobs=60, servers=3, seed=1).fine_tuning()
solution = problem.solve(gap=1e-3, time_limit_s=3)

figure, ax = plt.subplots(figsize=(9.0, 3.4), layout="constrained")
solution.plot("placement", ax)
plt.show()

# %%

figure, ax = plt.subplots(figsize=(9.0, 3.6), layout="constrained")
solution.plot("load", ax)
plt.show()

# %%
# Why is every job where it is, and what would one more GB of a server be worth?

print(solution.explain().text())
