"""
One iteration of a smart home
=============================

*Who computes what, when, if a home's devices train GPT-2 large together?*

Boards and phones on one Wi-Fi channel train all of its parameters, though no single one of them could hold them.
Rows are devices with their stage, the last row is the channel, and numbers are micro-batches. White in a row is
waiting. The long bar at the end is the table of tokens that the first and the last stage share: the exchange of its
gradients takes nearly half of the iteration. The second picture shows the stages on the network.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

BOARD = {"utilisation": 0.35, "memory_reserved": "1 GB", "memory_share": 0.9}
PHONE = {"utilisation": 0.25, "memory_reserved": "3 GB", "memory_share": 0.6, "idle_power": "1 W"}
HOME = {
    "problem": "pool-training",
    "version": 1,
    "name": "smart home",
    "model": {"name": "gpt2-large", "training": "full", "batch": 16, "micro_batches": 8, "tokens": 256, "precision": 2,
              "optimizer_states": "mixed-adam", "fused_attention": True, "memory_overhead": "300 MB"},
    "devices": [
        {"name": "camera-hub", "count": 2, "device": "jetson-orin-nano-8gb", "idle_power": "5 W", **BOARD},
        {"name": "robot", "device": "jetson-xavier-nx-8gb", "idle_power": "6 W", **BOARD},
        {"name": "phone-a", "device": "snapdragon-8-gen-3", **PHONE},
        {"name": "phone-b", "device": "apple-a17-pro", **PHONE},
        {"name": "pi", "count": 2, "device": "raspberry-pi-5-8gb", "idle_power": "3 W", **BOARD},
    ],
    "network": {"kind": "wifi", "rate": "400 Mbit/s", "latency": "2 ms", "joules_per_byte": 1e-7},
    "weights": {"delay": 1, "energy": 0.5},
}

problem = ea.Scenario.from_mapping(HOME).pool_training()
plan = problem.solve(gap=0.02, time_limit_s=2)

figure, ax = plt.subplots(figsize=(9.2, 4.2), layout="constrained")
plan.plot("gantt", ax)
plt.show()

# %%
# The page of the plan, with what more speed of a device or a link would be worth:

print(plan)

# %%

figure, ax = plt.subplots(figsize=(8.4, 5.2), layout="constrained")
plan.plot("topology", ax)
plt.show()
