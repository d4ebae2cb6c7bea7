"""The sagas of this project, where django-sagaz looks for them."""

from __future__ import annotations

from benchmarks import sagas


class NoopSaga(sagas.NoopSaga):
    """The one that all workers run."""


class QuietSaga(sagas.QuietSaga):
    """The one that tells nobody."""


class WaitingSaga(sagas.WaitingSaga):
    """The one that waits for a signal."""
