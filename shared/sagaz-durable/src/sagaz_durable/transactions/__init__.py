"""Rows inserted inside a caller's own transaction, through the caller's own connection."""
