"""What every store promises, on Django's connections; they are Django's, so that no store is opened twice."""

from __future__ import annotations

from sagaz_durable.testing.store_conformance import StoreConformance


class TestDjangoStores(StoreConformance):
    async def test_a_store_says_that_it_is_djangos(self, store):
        assert (store.kind, store.embedded) == ("django", False)
