"""Plain sagaz: on one long-lived loop thread (the floor), and with its own ``run_saga_sync``, a loop per call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sagaz

from benchmarks.contenders.inline._callers import calling, loop_thread
from benchmarks.harness.model import Measure, Place
from benchmarks.sagas import QuietSaga


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it with the storage that the options name."""
    if place.options.get("per_call"):
        from sagaz.integrations.django import run_saga_sync

        sagaz.configure(sagaz.SagaConfig(metrics=False, logging=False))
        with calling(lambda: run_saga_sync(QuietSaga(), {"order_id": "A1"})) as measure:
            yield measure
        return
    with loop_thread() as run:
        storage = None
        if place.postgres:
            from sagaz.core.storage.postgresql import PostgreSQLSagaStorage

            storage = PostgreSQLSagaStorage(place.postgres)
            run(storage.__aenter__)
        listeners = bool(place.options.get("defaults"))
        sagaz.configure(sagaz.SagaConfig(storage=storage, metrics=listeners, logging=listeners))
        try:
            with calling(lambda: run(lambda: QuietSaga().run({"order_id": "A1"}))) as measure:
                yield measure
        finally:
            if storage is not None:
                run(lambda: storage.__aexit__(None, None, None))
