"""Dong et al., Fine-Tuning and Deploying Large Language Models Over Edges, 2024, arXiv 2408.10691."""
