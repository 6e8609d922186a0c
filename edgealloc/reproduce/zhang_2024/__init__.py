"""Zhang et al., Toward Democratized Generative AI in Next-Generation Mobile Edge Networks, 2024, arXiv 2411.09148."""
