"""Which fine-tuning method runs where, for a fleet of jobs (Dong et al., arXiv 2408.10691)."""
