"""What is kept as JSON and comes back equal, and why a value is refused."""
