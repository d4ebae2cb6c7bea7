"""Requests with an ``Idempotency-Key``: executed once, answered alike as often as they come, in any framework."""
