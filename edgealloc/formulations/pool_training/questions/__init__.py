"""What a planner asks beyond one plan: who, which, where, what after a fault, time against energy."""
