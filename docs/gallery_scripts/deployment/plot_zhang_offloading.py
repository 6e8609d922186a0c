"""
On the device, at the edge, or both (Zhang et al.)
==================================================

*Is it better to answer on the phone with a compact model, at a server with a large one, or by difficulty?*

The metrics of the paper - energy, hallucination, accuracy, accessibility - for each, with a certified mixture
beside them. The second picture asks which compression strategy changes which metric in which direction.
"""

import tempfile

from edgealloc.reproduce.zhang_2024.figures import run_figure

offloading = run_figure("offloading", "llama3")
offloading.plot()

# %%

strategies = run_figure("strategies", "llama3")
strategies.plot()

# %%

print(strategies.text(assumptions=False))

# %%

for path in offloading.save(tempfile.mkdtemp()):
    print(path.name)

# sphinx_gallery_thumbnail_number = 2
