"""sagaz's own storage interfaces over a store, for code that is written for sagaz itself."""

from __future__ import annotations

from sagaz_durable._upstream.outbox_storage import StoreOutboxStorage
from sagaz_durable._upstream.saga_storage import StoreSagaStorage

__all__ = ["StoreOutboxStorage", "StoreSagaStorage"]
