"""
Which fine-tuning methods fit on a phone?
=========================================

*What fills the memory of a phone or a board under fourteen fine-tuning methods, and what fits?*

Bars are the peak of a training step by component, counted tensor by tensor, against what a device has for training
(dashed). States of the optimiser are what full training dies of; activations are what is left with adapters;
methods without a backward pass need little more than the weights. Grey names do not fit.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

# %%
# The same model on a phone and on a board with half the memory:

figure, axes = plt.subplots(2, 1, figsize=(9.0, 8.4), layout="constrained", sharex=True)
for ax, device in zip(axes, ("snapdragon-8-gen-3", "jetson-orin-nano-8gb"), strict=True):
    ea.fits("opt-1.3b", device, batch=4, tokens=256).plot(ax)
axes[0].set_xlabel("")
plt.show()

# %%
# What is missing where a method does not fit, and what would help:

report = ea.fits("opt-1.3b", "jetson-orin-nano-8gb", batch=4, tokens=256)
print(report)
