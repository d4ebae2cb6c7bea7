"""The Django project that is told of orders and payments by webhooks."""
