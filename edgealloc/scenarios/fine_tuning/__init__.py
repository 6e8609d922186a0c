"""Scenario files of fine-tuning: jobs on devices, edge servers, and the methods that may train them."""
