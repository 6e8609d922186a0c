"""Scenario files of split training: users with phones, edge servers, a radio cell."""
