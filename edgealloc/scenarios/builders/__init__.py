"""One module per kind of problem: from a checked scenario to its arrays."""
