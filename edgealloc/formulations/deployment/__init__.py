"""Which compact model to ship to which device, and what to offload (Zhang et al., arXiv 2411.09148)."""
