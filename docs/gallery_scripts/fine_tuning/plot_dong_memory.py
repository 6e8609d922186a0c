"""
Memory by method and model, with device lines (Dong et al.)
===========================================================

*From which model on does every method leave the phone, the laptop, the workstation?*

Bars are the peak memory of training by component; lines are what devices have. The memory is computed from the
models' tensors, not fitted to anything.
"""

import tempfile

from edgealloc.reproduce.dong_2024.figures import run_figure

result = run_figure("memory", "short", models=["opt-1.3b", "llama2-7b"])
result.plot()

# %%

print(result.text(assumptions=False))

# %%
# The same command line draws all figures: ``edgealloc figure all --paper dong-2024 --out figures``.

for path in result.save(tempfile.mkdtemp()):
    print(path.name)
