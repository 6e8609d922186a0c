"""
Optimise, compile, deploy, offload: the workflow in four calls
==============================================================

*From a base model to a served fleet in four calls, each of which prints as a table.*

Compress the model, see what runs on the device and how fast, rate it by energy, hallucination, accuracy and
accessibility, and let a server take what it should. Every call takes what the one before it returned.
"""

import matplotlib.pyplot as plt

from edgealloc import workflow

compact = workflow.optimise("llama3.2-3b", ["f16", "Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K"])
print(compact)

# %%
# What runs on sixty phones that give a model a third of their memory?

compiled = workflow.compile_target(compact, {"snapdragon-8-gen-3": 60}, memory_share=0.35)
print(compiled)

# %%
# How good are the answers, and what does a query cost?

deployed = workflow.deploy(compiled)
print(deployed)

# %%
# A small server in the corridor has a tenth of its time for the phones: what should go there?

server = {"device": "l4", "model": "qwen2.5-7b", "format": "int4-g128", "batch": 8, "load_limit": 0.1}
answer = workflow.offload(deployed, [server])
print(answer)

# %%
# Smaller is not always faster: weights of two bits cost this processor more to unpack than they save in reading. Bars
# are the speed on the phone, dots the accuracy of the answers.

rows = [row for row in compiled if row.runs]
accuracy = {row.variant: row.accuracy for row in deployed}
names = [row.variant.removeprefix("llama3.2-3b-") for row in rows]
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained", sharey=True)
left.barh(names, [row.tokens_per_s for row in rows], color="#0072B2")
left.set(xlabel="speed on the phone [token/s]", ylabel="format of the weights", title="Speed")
right.plot([accuracy[row.variant] for row in rows], names, "o", color="#D55E00", markersize=9)
right.set(xlabel="accuracy, mean over the queries", title="Quality")
left.invert_yaxis()
for ax in (left, right):
    ax.grid(axis="x", color="#DDDDDD")
    ax.set_axisbelow(True)
plt.show()
