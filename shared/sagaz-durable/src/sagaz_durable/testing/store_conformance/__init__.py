"""The cases that every `SagaStore` passes, as a class for pytest to inherit from.

A store's author writes a fixture named ``store``, which yields one that is open and empty, and a class::

    import pytest
    from sagaz_durable.testing.store_conformance import Reopening, StoreConformance

    @pytest.fixture
    async def store(tmp_path):
        store = MyStore(tmp_path)
        await store.open()
        yield store
        await store.close()

    class TestMyStore(StoreConformance, Reopening): ...

The fixture may stand beside the class, in a ``conftest.py`` or in the class, and may have parameters: each case is then
executed with each of them. Cases and fixtures are executed on asyncio, by the plugin that pytest gets with anyio. What
some of them are given is made by hypothesis.

`Reopening` has the cases of stores that refuse every use after `close`, and can be opened again; leave it out for one
whose connections are somebody else's. It is used together with `StoreConformance`.
"""

from __future__ import annotations

import pytest

from sagaz_durable.testing.store_conformance.attempts import Attempts
from sagaz_durable.testing.store_conformance.claims import Claims
from sagaz_durable.testing.store_conformance.decisions import Decisions
from sagaz_durable.testing.store_conformance.erasure import Erasures
from sagaz_durable.testing.store_conformance.events import Events
from sagaz_durable.testing.store_conformance.insertion import Insertion
from sagaz_durable.testing.store_conformance.journal import Journal, Recoveries
from sagaz_durable.testing.store_conformance.listings import Listings
from sagaz_durable.testing.store_conformance.removal import Removal
from sagaz_durable.testing.store_conformance.request_keys import RequestKeys
from sagaz_durable.testing.store_conformance.runs_that_wait.kept import KeptSignals
from sagaz_durable.testing.store_conformance.runs_that_wait.signals import Signals
from sagaz_durable.testing.store_conformance.runs_that_wait.waits import Waits
from sagaz_durable.testing.store_conformance.suspects import Suspects
from sagaz_durable.testing.store_conformance.values import Values
from sagaz_durable.testing.store_conformance.waiting import Reopening, Waiting
from sagaz_durable.testing.store_conformance.webhooks import Webhooks

__all__ = ["Reopening", "StoreConformance"]


@pytest.mark.anyio
class StoreConformance(
    Insertion,
    Values,
    Claims,
    Journal,
    Attempts,
    Suspects,
    Listings,
    Waiting,
    Waits,
    Recoveries,
    Signals,
    KeptSignals,
    Decisions,
    Removal,
    Erasures,
    RequestKeys,
    Webhooks,
    Events,
):
    """Everything that `SagaStore` promises; each case is given the fixture ``store``."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Have asynchronous cases and fixtures executed on asyncio, and on nothing else."""
        return "asyncio"
