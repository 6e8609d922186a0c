"""Scenario files of deployment: devices, variants of models, classes of queries, edge servers."""
