"""Searches for plans: starts, moves, annealing, partitions of the layers, and the fast price of a plan."""
