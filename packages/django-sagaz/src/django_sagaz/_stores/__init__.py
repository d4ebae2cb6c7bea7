"""The stores over Django's own connections."""
