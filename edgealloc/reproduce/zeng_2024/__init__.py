"""Zeng et al., Big AI Models for Wireless Networks with Collaborative Edge Computing, 2024, arXiv 2404.17766."""
