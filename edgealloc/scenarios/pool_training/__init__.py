"""Scenario files of pool training: trusted devices on a network that train one model together."""
