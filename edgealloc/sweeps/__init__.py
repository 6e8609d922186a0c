"""Sweeps: every value of a parameter x every sample x every method, as one tidy table with confidence intervals."""
