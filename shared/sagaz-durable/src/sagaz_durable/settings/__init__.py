"""The settings: what each may be, and where it comes from."""
