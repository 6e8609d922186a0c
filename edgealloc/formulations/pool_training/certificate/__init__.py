"""Lower bounds on all plans, and the certified method."""
