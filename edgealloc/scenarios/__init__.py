"""Scenarios: what exists (people, devices, servers, radio), in a file or drawn, checked and made a problem."""
