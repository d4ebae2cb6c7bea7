"""The saga class of Django's users: sagaz's, with the way to start it at the commit."""

from __future__ import annotations

from typing import Any

from django_sagaz.transactions import run_deferred
from sagaz_durable import Saga as _Saga
from sagaz_durable.runtime.client import form_of

__all__ = ["Saga"]


class Saga(_Saga):
    """sagaz's ``Saga``, which can also be started with the transaction that is open."""

    @form_of(run_deferred)
    def run_deferred(self, *args: Any, **options: Any) -> str:
        """Start this saga at the commit, for a worker to run; see `django_sagaz.atomic_saga_start`."""
        return run_deferred(self, *args, **options)
