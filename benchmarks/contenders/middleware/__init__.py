"""What a correlation id for each request costs."""
