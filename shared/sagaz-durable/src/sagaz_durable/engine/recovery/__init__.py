"""What becomes of a step that fails behind a pivot, and of what only a person can decide."""
