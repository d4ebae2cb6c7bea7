"""Contexts of a declared type: models that values are checked by, and what each step takes and returns."""
