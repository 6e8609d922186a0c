"""
Who is served by whom
=====================

*Which server trains the upper layers of which phone, and how many layers stay on the phone?*

A campus with 200 phones and four edge servers. The lines are the association. The larger a phone's dot, the more
layers it keeps; phones are not always served by the nearest server, as that one may be slow or full. The second
picture counts the cuts.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

# %%
# A scenario is a file or, as here, a mapping of the same form. What is not said comes from the catalog, with its
# source.

PHONE = {"utilisation": 0.35, "memory_share": 0.5, "samples": [300, 3000], "min_local_layers": 1}
SERVER = {
    "accelerators": 1, "utilisation": 0.3, "power": "170 W", "bandwidth": "100 MHz", "energy": "time-shared",
}
CAMPUS = {
    "problem": "split-training",
    "version": 1,
    "name": "campus",
    "seed": 7,
    "model": {"name": "llama3.2-1b", "training": "frozen", "lora_rank": 16, "batch": 2, "tokens": 512},
    "area": {"size": "400 m"},
    "radio": {"path_loss": "umi", "carrier": "3.5 GHz", "shadowing": True, "noise_figure_db": 5,
              "power_max": "23 dBm", "amplifier_efficiency": 0.4, "downlink_rate": "200 Mbit/s"},
    "users": [
        {"name": "phone of 2020", "count": 100, "device": "snapdragon-865", **PHONE},
        {"name": "phone of 2023", "count": 100, "device": "snapdragon-8-gen-3", **PHONE},
    ],
    "servers": [
        {"name": "library", "positions": [[100, 100]], "device": "l4", **SERVER},
        {"name": "gym", "positions": [[300, 300]], "device": "l4", **SERVER},
        {"name": "canteen", "positions": [[300, 100]], "device": "t4", **SERVER},
        {"name": "lab", "positions": [[100, 300]], "device": "jetson-agx-orin-64gb", **SERVER,
         "accelerators": 4, "power": "75 W"},
    ],
}

problem = ea.Scenario.from_mapping(CAMPUS).split_training(weights=ea.Weights(delay=1, energy=1, stability=1))
solution = problem.solve(gap=1e-4)

figure, ax = plt.subplots(figsize=(8.4, 6.2), layout="constrained")
solution.plot("map", ax)
plt.show()

# %%
# The page of the answer says what is proven: nothing can be better than the lower bound.

print(solution)

# %%
# How many layers do phones keep, by server?

figure, ax = plt.subplots(figsize=(8.4, 4.0), layout="constrained")
solution.plot("cuts", ax)
plt.show()
