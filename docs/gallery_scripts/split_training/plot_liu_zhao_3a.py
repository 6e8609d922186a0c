"""
Figure 3a of Liu & Zhao, with the optimum drawn in
==================================================

*How does the energy fall as its weight grows, and how far is each method from the optimum?*

Total energy for the algorithm of the paper, fp-cccp, and for its baselines, in a small edition: three samples of 6
users on 2 servers, whose intervals are wide. Left is what the paper plots. Right is what no paper could plot
without a bound: how far every method is above the proven optimum.
"""

import tempfile

from edgealloc.reproduce.liu_zhao_2024.figures import run_figure

METHODS = ["fp-cccp", "certified", "alpha-only", "resource-only"]
result = run_figure("3a", samples=3, users=6, servers=2, values=[1, 4, 10], methods=METHODS, gap=1e-4)
result.plot()

# %%
# The result also says which trends of the paper hold here, and which choices are ours.

print(result.text(assumptions=False))

# %%
# Picture and tables go into a folder of yours; ``edgealloc figure 3a --out figures`` does the same on the command
# line.

for path in result.save(tempfile.mkdtemp()):
    print(path.name)
