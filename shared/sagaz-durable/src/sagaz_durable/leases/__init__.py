"""Whose a run is, and for how long: leases, what keeps them, and event loops that stand still."""
