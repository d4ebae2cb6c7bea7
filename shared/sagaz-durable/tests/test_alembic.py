"""Plain Alembic: what its autogenerate makes of a database that has the saga tables too."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pg import at

from sagaz_durable.alembic import exclude_sagaz_tables
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.schema import TABLES


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgres", "postgres, in a schema of their own"])
async def engine(request, tmp_path):
    """SQLAlchemy's engine for a database that has the tables."""
    if request.param == "sqlite":
        settings = Settings(storage_url=f"sqlite:///{tmp_path / 'shop.db'}")
        url = settings.storage_url
    else:
        address = request.getfixturevalue("postgres_url")
        schema = "sagas" if "schema" in request.param else None
        settings, url = Settings(storage_url=address, schema=schema, migrate=True), at(address, driver="psycopg")
    store = create_store(settings)
    await store.open()
    await store.close()
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


def changes(engine, metadata, include_object=None):
    """What autogenerate would do, as (operation, table)."""
    options = {"include_schemas": True, "include_object": include_object}
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return {(change[0], change[1].name) for change in found if change[0].endswith("_table")}


async def test_alembic_makes_the_applications_tables_and_leaves_ours(engine):
    metadata = sa.MetaData()
    sa.Table("shop_order", metadata, sa.Column("id", sa.Integer, primary_key=True))
    assert changes(engine, metadata, exclude_sagaz_tables) == {("add_table", "shop_order")}
    assert ("remove_table", "sagaz_run") in changes(engine, metadata)


async def test_alembic_leaves_our_tables_to_us_when_the_application_maps_them(engine):
    metadata = sa.MetaData()
    sa.Table("sagaz_run", metadata, sa.Column("saga_id", sa.Text, primary_key=True), schema=_schema(engine))
    with engine.connect() as connection:
        options = {"include_schemas": True, "include_object": exclude_sagaz_tables}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


async def test_alembic_leaves_sagaz_own_tables_unless_the_application_has_them(engine):
    with engine.begin() as connection:
        for name in ("sagas", "saga_outbox"):
            connection.execute(sa.text(f"CREATE TABLE {name} (id INTEGER NOT NULL PRIMARY KEY)"))
    metadata = sa.MetaData()
    sa.Table("sagas", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.Text))
    with engine.connect() as connection:
        options = {"include_schemas": True, "include_object": exclude_sagaz_tables}
        [change] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    assert (change[0], change[2], change[3].name) == ("add_column", "sagas", "title")


def _schema(engine):
    found = sa.inspect(engine)
    names = [None, *found.get_schema_names()]
    return next(schema for schema in names if all(found.has_table(table, schema=schema) for table in TABLES))
