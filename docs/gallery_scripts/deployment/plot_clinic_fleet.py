"""
A clinic's fleet: which compact model goes where
================================================

*Which compact model does every device of a clinic get, and which queries go to the server in the house?*

Phones, tablets and bedside terminals ask a language model for phrases, summaries and calculations. The first
picture shows accuracy against size: filled variants were chosen, and lines reach from the hardest class of queries
to the simplest. The second one says who answers what: most simple queries stay on the devices, and calculations,
which want a better model, leave them. Bedside terminals can run nothing and send everything.
"""

import matplotlib.pyplot as plt

import edgealloc as ea

CLINIC = {
    "problem": "deployment",
    "version": 1,
    "name": "clinic",
    "seed": 3,
    "variants": [
        {"model": "qwen2.5-0.5b", "formats": ["Q8_0", "Q4_K_M"]},
        {"model": "llama3.2-1b", "formats": ["Q8_0", "Q4_K_M"]},
        {"model": "qwen2.5-1.5b", "formats": ["Q8_0", "Q4_K_M"]},
        {"model": "llama3.2-3b", "formats": ["Q4_K_M"]},
        {"model": "qwen2.5-3b", "formats": ["Q4_K_M", "Q2_K"]},
    ],
    "classes": [
        {"name": "phrase", "rate": "90/h", "prompt_tokens": 48, "answer_tokens": 24, "benchmark": "piqa"},
        {"name": "summary", "rate": "12/h", "prompt_tokens": 384, "answer_tokens": 128, "benchmark": "mmlu",
         "hallucination_ceiling": 0.2},
        {"name": "calculation", "rate": "3/h", "prompt_tokens": 192, "answer_tokens": 256, "benchmark": "gsm8k",
         "accuracy_floor": 0.7},
    ],
    "devices": [
        {"name": "nurse", "count": 70, "device": "snapdragon-8-gen-2", "memory_share": 0.35, "activity": [0.5, 2.0]},
        {"name": "doctor", "count": 30, "device": "apple-a17-pro", "memory_share": 0.35, "activity": [0.5, 3.0]},
        {"name": "tablet", "count": 25, "device": "snapdragon-865", "memory_share": 0.2, "activity": [1.0, 3.0]},
        {"name": "bedside", "count": 40, "device": "raspberry-pi-4b-8gb", "memory": "1 GB", "memory_share": 0.3,
         "activity": [0.1, 0.6]},
    ],
    "servers": [{"name": "cellar", "device": "a100-pcie-80gb", "model": "llama3.1-8b", "batch": 16, "power": "500 W",
                 "load_limit": 0.1}],
    "network": {"uplink": ["5 Mbit/s", "80 Mbit/s"], "downlink": ["10 Mbit/s", "150 Mbit/s"], "round_trip": "15 ms"},
    "metrics": {"usable_speed": "6 token/s"},
    "weights": {"delay": 0.2, "energy": 1, "hallucination": 10, "accuracy": 10, "accessibility": 1},
}

problem = ea.Scenario.from_mapping(CLINIC).deployment()
solution = problem.solve(gap=1e-3, time_limit_s=5)

figure, ax = plt.subplots(figsize=(9.4, 4.8), layout="constrained")
solution.plot("quality", ax)
plt.show()

# %%

figure, ax = plt.subplots(figsize=(9.4, 4.6), layout="constrained")
solution.plot("offloading", ax)
plt.show()

# %%
# Who has access to a model of usable speed at all?

figure, ax = plt.subplots(figsize=(9.4, 3.6), layout="constrained")
solution.plot("coverage", ax)
plt.show()

# %%

print(solution)

# sphinx_gallery_thumbnail_number = 2
