"""A fourth plugin, written from the contract's README with public names only: for bare ASGI and WSGI."""
