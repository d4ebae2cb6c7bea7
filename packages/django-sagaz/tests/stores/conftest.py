"""The core's own tests of stores, on Django's connections."""

from __future__ import annotations

import pytest
from places import ALIASES, place

from django_sagaz.engines import open_store
from django_sagaz.runners import DatabaseThread


@pytest.fixture(params=[place(alias) for alias in ALIASES])
async def store(request, transactional_db):
    store = open_store(request.param, DatabaseThread(), listen=True)
    await store.open()
    yield store
    await store.close()
