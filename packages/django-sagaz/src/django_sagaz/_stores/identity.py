"""The id that a store was given with its tables."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import IntegrityError, transaction

from django_sagaz._stores.errors import translated
from sagaz_integration_core.contract.schema import SCHEMA_VERSION

__all__ = ["read_store_id"]


def read_store_id(connection: Any) -> str:
    """Return the store's random id; it is made anew when ``flush``, as in a ``TransactionTestCase``, has deleted it."""
    with translated(connection):
        found = _read(connection)
        if found is None:
            _write(connection)
            found = _read(connection)
    return str(found)


def _read(connection: Any) -> str | None:
    from django_sagaz.models import StoreInfo

    row = StoreInfo.objects.using(connection.alias).filter(key="store_id").first()
    return None if row is None else row.value


def _write(connection: Any) -> None:
    from django_sagaz.models import StoreInfo

    version = str(SCHEMA_VERSION)
    values = {"schema_version": version, "schema_compatible": version, "store_id": uuid.uuid4().hex}
    for key, value in values.items():
        try:
            with transaction.atomic(connection.alias):
                StoreInfo.objects.using(connection.alias).create(key=key, value=value)
        except IntegrityError:
            # Another process was faster.
            continue
