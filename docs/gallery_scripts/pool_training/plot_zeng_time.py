"""
Four parallelisms on Jetson boards (Zeng et al.)
================================================

*Which parallelism is fastest on four boards, and does more bandwidth change that?*

Time per sample over that of one board, for the parallelisms that the paper compares and for the certified best
plan, at two rates of the links, with GPUs and with CPUs. Below one is faster than a single board. Hatched plans
would run out of memory. Tensor parallelism, which talks most, is slower than one board at the low rate; pipelines
are nearly as good as the best plan.
"""

import tempfile

from edgealloc.reproduce.zeng_2024.figures import run_figure

result = run_figure("time", "nano", values=[100, 1000], models=["t5-base"], gap=0.05, time_limit_s=2)
result.plot()

# %%
# Trends of the paper, as found here, and the choices that are ours:

print(result.text(assumptions=False))

# %%
# Picture and rows go into a folder of yours.

for path in result.save(tempfile.mkdtemp()):
    print(path.name)
