"""A Django application with an order, a saga and a task."""
