"""A fifth store, written from the contract's README with public names only: one file, for one process."""
