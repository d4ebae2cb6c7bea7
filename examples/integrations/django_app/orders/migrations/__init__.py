"""The orders table."""
