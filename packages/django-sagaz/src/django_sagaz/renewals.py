"""Renewing the leases of runs whose own thread is busy with a plain step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections

from django_sagaz.databases import commit_by_themselves
from django_sagaz.engines import open_store
from django_sagaz.project import Project
from django_sagaz.runners import Directly, immediately
from sagaz_integration_core.errors import StoreUnavailable
from sagaz_integration_core.lifecycle import SagazRuntime
from sagaz_integration_core.protocols import SagaStore

__all__ = ["Renewals"]

logger = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds for which closing waits for a renewal that is under way."""


class Renewals:
    """A thread with a database connection of its own, there as long as a step keeps a run's thread busy.

    It connects when the first lease is due, and ends soon after the last step.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._alias = project.alias or DEFAULT_DB_ALIAS
        self._lock = threading.Lock()
        self._watched: dict[object, SagazRuntime] = {}
        self._thread: threading.Thread | None = None
        self._look = threading.Event()

    @contextmanager
    def during(self, runtime: SagazRuntime) -> Iterator[None]:
        """Renew the leases of a runtime that cannot, because this thread makes a call for it.

        In a ``TestCase`` nobody else sees its runs: they can neither be renewed nor be taken over.
        """
        if self._project.is_private:
            yield
            return
        call = object()
        with self._lock:
            self._watched[call] = runtime
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sagaz-renewals", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            del self._watched[call]

    def close(self) -> None:
        """End, unless a step still needs it; then after that."""
        thread = self._thread
        self._look.set()
        if thread is not None and not self._watched:
            thread.join(_PATIENCE)

    def _work(self) -> None:
        commit_by_themselves()
        store = open_store(self._alias, Directly(), notify=False)
        try:
            while self._goes_on():
                for runtime in tuple(self._watched.values()):
                    _renew(runtime, store)
        finally:
            connections.close_all()

    def _goes_on(self) -> bool:
        """Wait until it is time to look, and tell whether there is anything to look at."""
        self._look.wait(self._project.settings.renew_seconds / 2)
        self._look.clear()
        with self._lock:
            if not self._watched:
                self._thread = None
            return self._thread is not None


def _renew(runtime: SagazRuntime, store: SagaStore) -> None:
    try:
        immediately(runtime.leases.renew_overdue(store))
    except StoreUnavailable as error:
        logger.warning("Leases could not be renewed while a step runs, trying again: %s", error)
    except Exception:
        # The thread must not end: no other one would be started.
        logger.exception("Leases could not be renewed while a step runs, trying again")
