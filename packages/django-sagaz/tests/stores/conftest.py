"""The stores over Django's connections, one for each kind of database."""

from __future__ import annotations

import pytest
from places import ALIASES, place

from django_sagaz._stores.factory import open_store
from django_sagaz._stores.runners import DatabaseThread


def _general(alias):
    """The store for databases in general, on one that has a store of its own."""
    return pytest.param((alias, True), marks=place(alias).marks, id=f"{alias}-orm")


def _own(alias):
    return pytest.param((alias, False), marks=place(alias).marks, id=alias)


@pytest.fixture(params=[*map(_own, ALIASES), _general("pg")])
async def store(request, transactional_db):
    alias, general = request.param
    if general:
        # Its models cannot be imported earlier.
        from django_sagaz._stores.orm.store import ORMStore

        store = ORMStore(alias, DatabaseThread())
    else:
        store = open_store(alias, DatabaseThread(), listen=True)
    await store.open()
    yield store
    await store.close()


@pytest.fixture(params=[pytest.param(alias, marks=place(alias).marks) for alias in ("pg", "maria")])
async def stores(request, transactional_db):
    """Two stores over the ORM, as two processes have them."""
    # Its models cannot be imported earlier.
    from django_sagaz._stores.orm.store import ORMStore

    stores = [ORMStore(request.param, DatabaseThread()) for _ in range(2)]
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()
