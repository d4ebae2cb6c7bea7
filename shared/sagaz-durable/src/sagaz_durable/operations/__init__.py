"""What people and probes ask of runs and stores, and what people decide."""
