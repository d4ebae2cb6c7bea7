"""The saga class of Django's users: sagaz's, with the way to start it at the commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_sagaz.transactions import run_deferred
from sagaz_durable import NOTHING
from sagaz_durable import Saga as _Saga

__all__ = ["Saga"]


class Saga(_Saga):
    """sagaz's ``Saga``, which can also be started with the transaction that is open."""

    def run_deferred(self, context: Mapping[str, Any] = NOTHING, *, idempotency_key: str | None = None) -> str:
        """Start this saga at the commit, for a worker to run; see `django_sagaz.atomic_saga_start`."""
        return run_deferred(self, context, idempotency_key=idempotency_key)
