"""What tests are made of, for whoever uses sagaz-durable or writes a store for it; it needs pytest and anyio."""

from __future__ import annotations

import pytest

# Before any of them is imported: their bare asserts then tell what was compared, as those of one's own tests do.
pytest.register_assert_rewrite("sagaz_durable.testing.store_conformance")
