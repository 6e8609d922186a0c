"""PoolTraining: trusted edge devices train one model together (Zeng et al., arXiv 2404.17766)."""
